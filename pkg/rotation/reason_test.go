package rotation

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// troubleshooting is the page that explains every reason.
const troubleshooting = "../../docs/troubleshooting.md"

// Every reason has a word of its own that suits a label, and survives being remembered.
func TestWords(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[A-Z][A-Za-z]{3,29}$`)
	seen := map[string]Reason{}
	for _, r := range Reasons() {
		e := r.Explain()
		if !form.MatchString(e.Word) || e.Cause == "" || e.Cure == "" {
			t.Errorf("%d: %+v", r, e)
		}
		if other, twice := seen[e.Word]; twice {
			t.Errorf("%d and %d are both %s", r, other, e.Word)
		}
		seen[e.Word] = r
		text, err := r.MarshalText()
		var again Reason
		if err != nil || again.UnmarshalText(text) != nil || again != r {
			t.Errorf("%s read again is %s, %v", r, again, err)
		}
	}
	if len(seen) != int(SyncNotAllowed) {
		t.Errorf("%d reasons, the last is %d", len(seen), SyncNotAllowed)
	}
	unknown := SyncNotAllowed
	if err := unknown.UnmarshalText([]byte("OfAnotherVersion")); err != nil || unknown != ProviderFailed {
		t.Errorf("%s, %v", unknown, err)
	}
}

// Whatever a provider or the node says, its error has a reason, and the right one.
func TestReasonOf(t *testing.T) {
	t.Parallel()
	at := func(step provider.Step, kind provider.Kind) error {
		return provider.At(step, provider.Errorf(kind, "x"))
	}
	for _, tc := range []struct {
		phase Phase
		err   error
		want  Reason
	}{
		{Classing, at(provider.Unstated, provider.NotFound), ClassNotFound},
		{Classing, at(provider.Unstated, provider.Denied), APIServerFailed},
		{Classing, at(provider.Unstated, provider.Unavailable), APIServerFailed},
		{Looking, errors.New("x"), MountFailed},
		{Looking, busy("/t"), VolumeBusy},
		{Writing, errors.New("x"), WriteFailed},
		{Writing, provider.Errorf(provider.TooLarge, "x"), VolumeTooLarge},
		{Fetching, errors.New("x"), ProviderFailed},
		{Fetching, at(provider.Connecting, provider.Unavailable), ProviderUnavailable},
		{Fetching, at(provider.Connecting, provider.Timeout), ProviderUnavailable},
		{Fetching, at(provider.Connecting, provider.Unknown), ProviderUnavailable},
		{Fetching, at(provider.Connecting, provider.Invalid), ClassInvalid},
		{Fetching, at(provider.LoggingIn, provider.Denied), LoginFailed},
		{Fetching, at(provider.LoggingIn, provider.NotFound), LoginFailed},
		{Fetching, at(provider.LoggingIn, provider.Unavailable), StoreUnavailable},
		{Fetching, at(provider.LoggingIn, provider.Invalid), ClassInvalid},
		{Fetching, at(provider.Reading, provider.Denied), StoreDenied},
		{Fetching, at(provider.Reading, provider.NotFound), ObjectNotFound},
		{Fetching, at(provider.Reading, provider.Timeout), StoreUnavailable},
		{Fetching, at(provider.Reading, provider.Throttled), StoreThrottled},
		{Fetching, at(provider.Reading, provider.TooLarge), VolumeTooLarge},
		{Fetching, at(provider.Unstated, provider.Internal), ProviderFault},
		{Fetching, at(provider.Unstated, provider.Busy), VolumeBusy},
		{Fetching, &Refusal{OverrideRefused, at(provider.Unstated, provider.Invalid)}, OverrideRefused},
		{Writing, &Refusal{DriverFault, at(provider.Unstated, provider.Internal)}, DriverFault},
		{Fetching, notVerified(provider.Errorf(provider.Invalid, "x")), VolumeInvalid},
		{Fetching, notVerified(provider.Errorf(provider.Unavailable, "x")), APIServerFailed},
	} {
		if got := reasonOf(tc.phase, fmt.Errorf("wrapped: %w", tc.err)); got != tc.want {
			t.Errorf("phase %d, kind %v: %s, want %s", tc.phase, provider.KindOf(tc.err), got, tc.want)
		}
	}
}

// names are those of pods and classes: as people choose them, and as long as they can be.
func names() map[string][2]string {
	return map[string][2]string{
		"realistic": {"payments-production", "checkout-frontend-7d9c5b6f4-x2x8z"},
		"longest":   {strings.Repeat("n", 63), "begin-" + strings.Repeat("p", 253-10) + "-end"},
	}
}

// opens fails the test unless the first 200 characters of a text have cause and cure, and
// what else is asked for.
func opens(t *testing.T, text string, r Reason, parts ...string) {
	t.Helper()
	first := []rune(text)
	first = first[:min(len(first), 200)]
	for _, part := range append(parts, r.Explain().Cause, r.Explain().Cure) {
		if !strings.Contains(string(first), part) {
			t.Errorf("%s: the first 200 characters have no %q: %s", r, part, string(first))
		}
	}
}

// An event of kubelet names what failed, the reason, cause and cure in its first 200
// characters, whatever a provider says, and what it says comes after.
func TestErrorsForKubeletOpenWithWhatMatters(t *testing.T) {
	t.Parallel()
	long := provider.Errorf(provider.Denied, "%s", strings.Repeat("details ", 500))
	for length, name := range names() {
		namespace, pod := name[0], name[1]
		object := namespace + "/" + pod
		if length == "longest" {
			object = namespace[:40]
		}
		for _, r := range Reasons() {
			err := FailedMount(provider.Pod{Namespace: namespace, Name: pod}, r, long)
			opens(t, err.Error(), r, "failed to mount secrets store objects for pod "+object, r.String())
			if !errors.Is(err, long) || !strings.HasSuffix(err.Error(), long.Error()) {
				t.Errorf("%s: the error itself is gone: %v", r, err)
			}
		}
		for _, r := range []Reason{ClassNotFound, APIServerFailed, DriverFault} {
			opens(t, Failed("failed to get "+ClassName{namespace, pod}.short(), r, long).Error(), r, object, r.String())
		}
	}
}

// So do the events of the driver, whose word stands beside their text.
func TestEventsOpenWithWhatMatters(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("details ", 500)
	for length, name := range names() {
		class := ClassName{name[0], name[1]}
		object := class.Namespace + "/" + class.Name
		if length == "longest" {
			object = class.Namespace[:40]
		}
		k := &known{class: class, memory: memory{Pod: provider.Pod{Namespace: name[0], Name: name[1]}}}
		for _, r := range Reasons() {
			for _, count := range []int{1, 1000} {
				s := &sufferers{example: k, text: long, count: count, of: 1000}
				opens(t, s.notice(cause{class: class, reason: r}, name[1]).Text, r, "secretproviderclass "+object)
				opens(t, s.notice(cause{class: class, reason: r, about: name[1]}, name[1]).Text, r, "secret "+object)
			}
		}
	}
}

// The events that are made one by one do so in words of their own.
func TestOtherEventsOpenWithWhatMatters(t *testing.T) {
	t.Parallel()
	for length, name := range names() {
		v := Volume{Pod: provider.Pod{Namespace: name[0], Name: name[1]}, Class: name[1], Attributes: map[string]string{"a": ""}}
		object := name[0] + "/" + name[1]
		if length == "longest" {
			object = name[0][:40]
		}
		r := &Volumes{notices: make(chan news, 3), known: map[string]*known{"/t": {}}, cfg: Config{Mounts: pinned{}}}
		r.announce(v)
		r.lookForSubPaths("/t", v)
		r.tellExpiry(&known{class: v.className(), memory: memory{Expires: time.Now()}}, time.Now())
		opens(t, (<-r.notices).Text, OverrideRefused, object)
		for _, cure := range []string{"mount the whole volume", "renew it at its store"} {
			if text := (<-r.notices).Text; !strings.Contains(text[:min(len(text), 200)], object) || !strings.Contains(text[:min(len(text), 200)], cure) {
				t.Errorf("%q", text)
			}
		}
	}
}

type pinned struct{ Mounts }

func (pinned) Pinned(string) bool { return true }

// Every reason has a section of the page, with what one sees, why, how to check and what
// to do; and no section explains what there is not.
func TestTroubleshootingExplainsEveryReason(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(troubleshooting)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, section := range strings.Split(string(text), "\n### `")[1:] {
		word, body, _ := strings.Cut(section, "`\n")
		body, _, _ = strings.Cut(body, "\n## ")
		sections[word] = body
	}
	for _, r := range Reasons() {
		body, ok := sections[r.String()]
		delete(sections, r.String())
		if !ok {
			t.Errorf("docs/troubleshooting.md has no heading ### `%s`", r)
			continue
		}
		for _, part := range []string{"**You see**", r.Explain().Cause, "**Why**", "**Check**", "**Cure**"} {
			if !strings.Contains(strings.Join(strings.Fields(body), " "), part) {
				t.Errorf("section %s does not say %q", r, part)
			}
		}
	}
	for word := range sections {
		t.Errorf("docs/troubleshooting.md explains %s, which there is not", word)
	}
}

// Events and conditions are made with the word of a Reason, and nobody makes a Reason of
// a number.
func TestNoOtherWords(t *testing.T) {
	t.Parallel()
	made := 0
	for _, root := range []string{"../../cmd/driver", "../../pkg"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				made += checkNode(t, path, n)
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if made != 2 {
		t.Errorf("events and conditions are made at %d places, not at 2", made)
	}
}

// checkNode looks at what makes an event, a condition or a Reason.
func checkNode(t *testing.T, path string, n ast.Node) (made int) {
	t.Helper()
	switch n := n.(type) {
	case *ast.CallExpr:
		if f := nameOf(n.Fun); (f == "rotation.Reason" || f == ".Reason") && filepath.Base(path) != "reason.go" {
			t.Errorf("%s makes a Reason of something else", path)
		}
	case *ast.CompositeLit:
		if kind := nameOf(n.Type); kind != "corev1.Event" && kind != "metav1.Condition" {
			return 0
		}
		for _, e := range n.Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok && nameOf(pair.Key) == ".Reason" {
				checkWord(t, path, pair.Value)
				made++
			}
		}
	}
	return made
}

func checkWord(t *testing.T, path string, word ast.Expr) {
	t.Helper()
	call, ok := word.(*ast.CallExpr)
	if !ok || !strings.HasSuffix(nameOf(call.Fun), ".String") {
		t.Errorf("%s: an event or a condition has another reason than the word of a Reason", path)
	}
}

// nameOf is the last two parts of a name.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return "." + e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name + "." + e.Sel.Name
		}
		return "." + e.Sel.Name
	}
	return ""
}
