package imports

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a page says is shown by a test is shown by one that there is: every Go test and
// every target that it names exists, every name in double quotes is that of a bats test,
// and every page, file and folder that it links to or names is there.
func TestSecurityPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	have := readTests(t)
	for what, missing := range map[string][]string{
		"Go test":   unknown(string(text), `\b((?:Test|Fuzz)[A-Z]\w*)`, have.gotests),
		"bats test": unknown(withoutCode(string(text)), `"([^"]+)"`, have.bats),
		"target":    unknown(string(text), "`(?:[A-Z_]+=\\S+ )*make ([a-z0-9-]+)", have.targets),
		"file":      unknown(string(text), `\b((?:[a-z0-9-]+/)?[a-z0-9-]+\.bats)\b`, have.files),
	} {
		for _, name := range missing {
			t.Errorf("docs/security.md names the %s %q, which there is not", what, name)
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`).FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join("../../docs", m[1])); err != nil {
			t.Errorf("docs/security.md leads to %s, which there is not", m[1])
		}
	}
}

// withoutCode leaves out what stands between backticks, and ends of lines.
func withoutCode(text string) string {
	text = regexp.MustCompile("(?s)```.*?```|`[^`]*`").ReplaceAllString(text, "")
	return strings.Join(strings.Fields(text), " ")
}

// unknown are the names that a pattern finds in a text, and that are not known. It fails
// to find nothing at all.
func unknown(text, pattern string, known map[string]bool) (missing []string) {
	all := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return []string{"(none is named)"}
	}
	for _, m := range all {
		if !known[m[1]] {
			missing = append(missing, m[1])
		}
	}
	return missing
}

// tests are what can be named.
type tests struct{ gotests, bats, targets, files map[string]bool }

func readTests(t *testing.T) tests {
	t.Helper()
	all := tests{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == ".git" || name == "bin") {
			return filepath.SkipDir
		}
		switch {
		case strings.HasSuffix(name, "_test.go"):
			return note(path, `(?m)^func ((?:Test|Fuzz)\w+)\(`, all.gotests)
		case strings.HasSuffix(name, ".bats"):
			all.files[name], all.files["bats/"+name] = true, true
			return note(path, `(?m)^@test "(.*)" \{$`, all.bats)
		case name == "Makefile":
			return note(path, `(?m)^([a-z0-9-]+):`, all.targets)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func note(path, pattern string, names map[string]bool) error {
	text, err := os.ReadFile(path)
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		names[m[1]] = true
	}
	return err
}
