package provider

import (
	"io/fs"
	"strings"
	"testing"
)

func TestCheckFiles(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 255)
	for _, good := range [][]string{
		{"a"},
		{"a/b/c"},
		{".hidden"},
		{"...x/y"[1:]},
		{"a", "a.b", "a-b/c"},
		{"a/b", "a/c", "b"},
		{long},
		{strings.TrimSuffix(strings.Repeat("a/", 2048), "/")},
		{`win\dows`},
	} {
		if err := CheckFiles(files(good...)); (err == nil) == strings.HasPrefix(good[0], "..") {
			t.Errorf("%.60q: %v", good, err)
		}
	}
	for want, bad := range map[string][]string{
		"is empty":                   {""},
		"must be relative":           {"/a"},
		"names the volume itself":    {"."},
		`must not begin with ".."`:   {"..data"},
		"is not in clean form":       {"a/"},
		`want "b"`:                   {"a/../b"},
		`want "a"`:                   {"./a"},
		`want "a/b"`:                 {"a//b"},
		"longer than 255":            {long + "a"},
		"longer than 4096":           {strings.Repeat("a/", 2048) + "a"},
		"NUL":                        {"a\x00b"},
		`two files have the path`:    {"b", "a", "b"},
		`directory of "a/b"`:         {"a/b", "a.c", "a-d", "a"},
		`the directory of "x/y/z/w"`: {"x/y", "x/y.z", "x/y/z/w"},
	} {
		err := CheckFiles(files(bad...))
		if err == nil || !strings.Contains(err.Error(), want) || KindOf(err) != Invalid {
			t.Errorf("%.60q: %v (%v), want %q", bad, err, KindOf(err), want)
		}
	}
}

func TestCheckFilesModes(t *testing.T) {
	t.Parallel()
	for mode, ok := range map[fs.FileMode]bool{0: true, 0o777: true, 0o1000: false, fs.ModeSetuid | 0o755: false, fs.ModeDir: false} {
		if err := CheckFiles([]File{{Path: "a", Mode: mode}}); (err == nil) != ok {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

func files(paths ...string) []File {
	out := make([]File, len(paths))
	for i, p := range paths {
		out[i] = File{Path: p, Mode: 0o644}
	}
	return out
}
