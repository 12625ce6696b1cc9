package providertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/provider"
)

const (
	valueCanary = "c4n4ry\nv4lue\"x"
	tokenCanary = "c4n4ry-t0ken"
)

func request(objects ...string) *provider.Request {
	var list strings.Builder
	list.WriteString("array:\n")
	for _, name := range objects {
		list.WriteString("- |\n  objectName: " + name + "\n")
	}
	return &provider.Request{
		Pod:        provider.Pod{Name: "web-0", Namespace: "shop", UID: "u-1", ServiceAccount: "web"},
		Tokens:     provider.Tokens{"fake": {Value: tokenCanary}},
		Class:      "db",
		Parameters: map[string]string{"objects": list.String()},
		Mode:       0o644,
		Volume:     "csi-1",
	}
}

// suiteOf is a suite for a fake behind p.
func suiteOf(f *Fake, p provider.Provider) Suite {
	f.Put("foo", Object{Contents: valueCanary, Version: "v1"})
	f.Put("key", Object{Contents: "x", Version: "v1", Mode: 0o400})
	unavailable := provider.Errorf(provider.Unavailable, "told to fail")
	return Suite{
		Open:     func(context.Context, *slog.Logger) (provider.Provider, error) { return p, nil },
		Good:     map[string]*provider.Request{"one": request("foo"), "two": request("key", "foo")},
		Bad:      map[string]*provider.Request{"no objects": request(), "no YAML": {Parameters: map[string]string{"objects": "{"}, Mode: 0o644}},
		Missing:  map[string]*provider.Request{"one of two": request("foo", "nothing")},
		Canaries: []string{valueCanary},
		Break:    func() func() { f.Fail(unavailable); return func() { f.Fail(nil) } },
		Hang:     func() func() { f.Delay(time.Hour); return func() { f.Delay(0) } },
		Panic:    func() func() { f.Panic(valueCanary); return func() { f.Panic("") } },
	}
}

func TestFakeConforms(t *testing.T) {
	t.Parallel()
	f := NewFake()
	f.RequireTokens([]string{"fake"})
	f.Announce([]string{"fake"}, true)
	Conform(t, suiteOf(f, f))
}

// Hooks are a matter of choice; so are powers.
func TestSuiteWithoutHooks(t *testing.T) {
	t.Parallel()
	f := NewFake()
	s := suiteOf(f, struct{ provider.Provider }{f})
	s.Break, s.Hang, s.Panic = nil, nil, nil
	var skipped []string
	for _, c := range checks() {
		if err := s.run(t.Context(), c); errors.Is(err, errNoHook) {
			skipped = append(skipped, c.name)
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if diff := cmp.Diff([]string{"a hanging backend", "a broken backend", "a panic", "unmounted"}, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}

func TestSuiteIsChecked(t *testing.T) {
	t.Parallel()
	f := NewFake()
	for want, change := range map[string]func(*Suite){
		"Open is required":              func(s *Suite) { s.Open = nil },
		"at least one good request":     func(s *Suite) { s.Good = nil },
		"a canary has less than 6":      func(s *Suite) { s.Canaries = []string{"v"} },
		"open the provider: no":         func(s *Suite) { s.Open = openWith(nil, errors.New("no")) },
		"there is no provider":          func(s *Suite) { s.Open = openWith(nil, nil) },
		`request "none": provider "con`: func(s *Suite) { s.Good["none"] = request("none") },
	} {
		s := suiteOf(f, f)
		change(&s)
		err := s.check()
		if err == nil {
			err = s.run(t.Context(), checks()[0])
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func openWith(p provider.Provider, err error) provider.OpenFunc {
	return func(context.Context, *slog.Logger) (provider.Provider, error) { return p, err }
}

// spoiled is a fake whose answers are changed on the way out.
type spoiled struct {
	*Fake

	spoil func(ctx context.Context, req *provider.Request, a *answered)
}

type answered struct {
	resp *provider.Response
	err  error
}

func (s *spoiled) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	a := &answered{}
	a.resp, a.err = s.Fake.Mount(ctx, req)
	s.spoil(ctx, req, a)
	return a.resp, a.err
}

// file and version spoil what is fine otherwise.
func file(change func(*provider.File)) func(context.Context, *provider.Request, *answered) {
	return func(_ context.Context, _ *provider.Request, a *answered) {
		if a.err == nil {
			change(&a.resp.Files[0])
		}
	}
}

func version(change func(resp *provider.Response, v *provider.Version)) func(context.Context, *provider.Request, *answered) {
	return func(_ context.Context, _ *provider.Request, a *answered) {
		if a.err == nil {
			change(a.resp, &a.resp.Versions[0])
		}
	}
}

func failure(change func(error) error) func(context.Context, *provider.Request, *answered) {
	return func(_ context.Context, _ *provider.Request, a *answered) {
		if a.err != nil {
			a.resp, a.err = nil, change(a.err)
		}
	}
}

// fault is one way to be bad, which the check that is for it finds.
type fault struct {
	check, want string
	spoil       func(context.Context, *provider.Request, *answered)
}

func faultyAnswers() map[string]fault {
	var counter atomic.Int64
	var mu sync.Mutex
	var lent []provider.File
	sum := sha256.Sum256([]byte(valueCanary))
	return map[string]fault{
		"no files": {"good requests are answered", "without files", func(_ context.Context, _ *provider.Request, a *answered) {
			a.resp = &provider.Response{Versions: []provider.Version{{}}}
		}},
		"path upwards":   {"good requests are answered", `must not begin with ".."`, file(func(f *provider.File) { f.Path = "../x" })},
		"path of itself": {"good requests are answered", "names the volume itself", file(func(f *provider.File) { f.Path = "." })},
		"mode":           {"good requests are answered", "is not within 0 to 0777", file(func(f *provider.File) { f.Mode = fs.ModeSetuid | 0o755 })},
		"nil":            {"good requests are answered", "answered nothing", func(_ context.Context, _ *provider.Request, a *answered) { a.resp, a.err = nil, nil }},

		"no versions":       {"versions name states and reveal nothing", "without object versions", version(func(r *provider.Response, _ *provider.Version) { r.Versions = nil })},
		"empty version":     {"versions name states and reveal nothing", "neither may be empty", version(func(_ *provider.Response, v *provider.Version) { v.Version = "" })},
		"same ids":          {"versions name states and reveal nothing", "two versions have the id", version(func(r *provider.Response, v *provider.Version) { r.Versions = append(r.Versions, *v) })},
		"unstable version":  {"versions name states and reveal nothing", "nothing changed but the versions", version(func(_ *provider.Response, v *provider.Version) { v.Version = fmt.Sprint(counter.Add(1)) })},
		"version of value":  {"versions name states and reveal nothing", "reveals a value as it is", version(func(_ *provider.Response, v *provider.Version) { v.Version = "=" + valueCanary })},
		"id of value":       {"versions name states and reveal nothing", "reveals a value as it is", version(func(_ *provider.Response, v *provider.Version) { v.ID = valueCanary })},
		"hash of value":     {"versions name states and reveal nothing", "reveals a value as its plain SHA-256", version(func(_ *provider.Response, v *provider.Version) { v.Version = hex.EncodeToString(sum[:]) })},
		"value in hex":      {"versions name states and reveal nothing", "reveals a value in hexadecimal", version(func(_ *provider.Response, v *provider.Version) { v.Version = hex.EncodeToString([]byte(valueCanary)) })},
		"answers that vary": {"equal answers side by side", "has other contents then", file(func(f *provider.File) { f.Contents = fmt.Append(nil, counter.Add(1)) })},
		"lent memory": {"answers do not change later", "an answer changed after it was given", func(_ context.Context, _ *provider.Request, a *answered) {
			mu.Lock()
			defer mu.Unlock()
			lent = append(lent[:0], a.resp.Files...)
			a.resp.Files = lent
		}},
	}
}

func faultyFailures() map[string]fault {
	return map[string]fault{
		"bad class fails otherwise": {"bad classes are invalid", "is of kind Unknown", failure(func(error) error { return errors.New("no") })},
		"bad class succeeds":        {"bad classes are invalid", "succeeds", func(_ context.Context, _ *provider.Request, a *answered) { *a = half() }},
		"what is missing is left":   {"all or nothing", "succeeds", func(_ context.Context, _ *provider.Request, a *answered) { *a = half() }},
		"missing is unavailable":    {"all or nothing", "is of kind Unavailable", failure(func(error) error { return provider.Errorf(provider.Unavailable, "no") })},
		"panics at odd input": {"odd parameters do no harm", "panics", func(_ context.Context, r *provider.Request, _ *answered) {
			_ = r.Parameters["objects"][1]
		}},
		"value in an error": {"all or nothing", "an error shows canary 0 with escapes", failure(func(err error) error {
			return provider.Errorf(provider.NotFound, "%q: %w", valueCanary, err)
		})},
		"token in an error": {"bad classes are invalid", `an error shows the token "fake"`, failure(func(err error) error {
			return provider.Errorf(provider.Invalid, "token %s: %w", tokenCanary, err)
		})},
		"ignores the end": {"an ended call returns", "has not returned", func(_ context.Context, _ *provider.Request, a *answered) {
			tooLong(a.err)
		}},
		"goes on": {"a hanging backend", "calls go on after", func(_ context.Context, _ *provider.Request, a *answered) {
			tooLong(a.err)
		}},
		"broken means bad class": {"a broken backend", "is of kind Invalid", failure(func(error) error {
			return provider.Errorf(provider.Invalid, "no")
		})},
	}
}

func TestBadProvidersAreFound(t *testing.T) {
	t.Parallel()
	for _, faults := range []map[string]fault{faultyAnswers(), faultyFailures()} {
		for name, tc := range faults {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := NewFake()
				expect(t, suiteOf(f, &spoiled{f, tc.spoil}), tc.check, tc.want)
			})
		}
	}
}

// tooLong goes on after a call has ended.
func tooLong(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		<-time.After(soon + time.Second)
	}
}

// half is an answer without what is missing.
func half() answered {
	return answered{resp: &provider.Response{
		Files:    []provider.File{{Path: "foo", Contents: []byte("x")}},
		Versions: []provider.Version{{ID: "foo", Version: "v1"}},
	}}
}

func expect(t *testing.T, s Suite, name, want string) {
	t.Helper()
	for _, c := range checks() {
		if c.name != name {
			continue
		}
		if err := s.run(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		return
	}
	t.Errorf("there is no check %q", name)
}

// talker logs what it must not.
type talker struct {
	*Fake

	log *slog.Logger
}

func (p *talker) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	p.log.LogAttrs(ctx, slog.LevelDebug-4, "mount", slog.String("token", string(req.Tokens["fake"].Value)))
	return p.Fake.Mount(ctx, req)
}

func TestTalkativeProviderIsFound(t *testing.T) {
	t.Parallel()
	f := NewFake()
	s := suiteOf(f, nil)
	s.Open = func(_ context.Context, log *slog.Logger) (provider.Provider, error) { return &talker{f, log}, nil }
	for _, name := range []string{"good requests are answered", "an ended call returns", "answers over the limit"} {
		expect(t, s, name, `the log shows the token "fake" of request "one"`)
	}
}

// clumsy is bad at its optional powers.
type clumsy struct {
	*Fake

	calls atomic.Int64
}

func (p *clumsy) Audiences() []string {
	return []string{"fake", "fake"}[:1+p.calls.Add(1)%2]
}

func (p *clumsy) Unmounted(_ context.Context, v provider.VolumeID) { panic(v) }

func TestClumsyProviderIsFound(t *testing.T) {
	t.Parallel()
	f := NewFake()
	s := suiteOf(f, &clumsy{Fake: f})
	expect(t, s, "announcements", "announced")
	expect(t, s, "unmounted", "panicked at 5")
	s.Panic = func() func() { return func() {} }
	expect(t, s, "a panic", "the hook makes nothing panic")
	s.Break, s.Hang = s.Panic, s.Panic
	expect(t, s, "a broken backend", "succeeds")
	expect(t, s, "a hanging backend", "succeeds")
}

func TestOversizeCheckCanFail(t *testing.T) {
	t.Parallel()
	f := NewFake()
	s := suiteOf(f, f)
	f.Fail(errors.New("no"))
	expect(t, s, "answers over the limit", "is of kind Unknown")
}
