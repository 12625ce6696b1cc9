package imports

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// negated is a command that is to fail, without a word about what if it does not.
var negated = regexp.MustCompile(`^\t+! [^|]*(\|[^|]+)*$`)

// unheard are the lines of a suite that negate a command and are not the last of their
// function: bash ends no test because of them, so they can say what they want.
func unheard(text string) (lines []int) {
	all := strings.Split(text, "\n")
	for i, line := range all[:len(all)-1] {
		if negated.MatchString(line) && !strings.HasPrefix(strings.TrimSpace(all[i+1]), "}") {
			lines = append(lines, i+1)
		}
	}
	return lines
}

func TestBatsNegations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../test/bats/*.ba*")
	if err != nil || len(files) < 10 {
		t.Fatalf("the suites: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range unheard(string(text)) {
			t.Errorf("%s:%d: this cannot fail a test where it stands: end it with || false", file, line)
		}
	}
	for text, want := range map[string]int{
		"\t! a\n\tb\n": 1, "\t! a | b\n\tc\n": 1, "\t! a\n}\n": 0, "\t! a || false\n\tb\n": 0, "\t! a | b || return\n\tc\n": 0,
	} {
		if got := unheard(text); len(got) != want {
			t.Errorf("%q: lines %v, want %d", text, got, want)
		}
	}
}
