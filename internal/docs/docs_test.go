package docs

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commands judges how the blocks of a page say whether a test runs them. Blocks that hold
// no commands have another word after the fence: yaml, text, json, go.
func (p *page) commands() {
	for _, at := range p.indented() {
		p.fault(at, "a block that is one by its indentation: put it between fences, which say what it is")
	}
	for _, b := range p.blocks {
		word, _, _ := strings.Cut(b.info, " ")
		reason, notRun := strings.CutPrefix(b.info, "sh not-run: ")
		switch {
		case b.info == "":
			p.fault(b.line, "a fence that does not say what is in its block: sh run, sh not-run: REASON, or yaml, text, json, go")
		case !slices.Contains([]string{"sh", "bash", "shell", "console", "zsh"}, word):
		case b.indent > 0:
			p.fault(b.line, "commands that are indented: test/blocks finds fences in the first column only")
		case b.info != "sh run" && (!notRun || len(strings.Fields(reason)) < 2):
			p.fault(b.line, "this block does not say whether a test runs it: ```sh run, or ```sh not-run: REASON")
		}
	}
}

// runs says whether commands of the page are meant to be run by a test.
func (p *page) runs() bool {
	return slices.ContainsFunc(p.blocks, func(b block) bool { return b.info == "sh run" })
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	suites := readAll(t, "../../test/bats/*.bats")
	for name, p := range pages(t) {
		p.commands()
		for _, f := range p.faults {
			t.Error(f)
		}
		named := regexp.MustCompile(`(^|[\s="'(])` + regexp.QuoteMeta(name) + `($|[\s"')])`)
		if p.runs() && !slices.ContainsFunc(suites, func(s string) bool { return strings.Contains(s, "test/blocks") && named.MatchString(s) }) {
			t.Errorf("%s has commands that are marked as run, but no suite in test/bats gives it to test/blocks", name)
		}
	}
}

// kind takes one archive, and says nothing about others that it is given.
func TestKindLoadsOneArchive(t *testing.T) {
	t.Parallel()
	several := regexp.MustCompile(`kind load image-archive\s+\S*(\*|\.\.\.|\w\s+\w+\S*\.tar)`)
	for name, p := range pages(t) {
		for _, b := range p.blocks {
			if found := several.FindString(strings.Join(b.body, "\n")); found != "" {
				t.Errorf("%s:%d: %s: only the first one would be loaded", name, b.line, found)
			}
		}
	}
	if !several.MatchString("kind load image-archive bin/images/*.tar") || !several.MatchString("kind load image-archive a.tar b.tar") {
		t.Error("the pattern does not find what it is for")
	}
}

func readAll(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	texts := make([]string, 0, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// follow returns where in the repository a link of a page leads, and its fragment. Links
// that leave the repository lead nowhere; they are judged by their form alone, because a
// test has no network.
func (p *page) follow(link line) (target, fragment string) {
	u, err := url.Parse(link.text)
	switch {
	case err != nil:
		p.fault(link.number, "%v", err)
		return "", ""
	case u.Scheme == "https" && strings.Contains(u.Host, "."):
		return "", ""
	case u.Scheme != "" || u.Host != "" || strings.HasPrefix(u.Path, "/"):
		p.fault(link.number, "%s is neither https nor relative", link.text)
		return "", ""
	case u.Path == "":
		return p.path, u.Fragment
	}
	return path.Join(path.Dir(p.path), u.Path), u.Fragment
}

func TestLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	outside := map[string]bool{}
	for _, p := range all {
		for _, link := range p.links() {
			if strings.HasPrefix(link.text, "https://") {
				outside[link.text] = true
			}
			target, fragment := p.follow(link)
			if target == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil || strings.HasPrefix(target, "../") {
				p.fault(link.number, "%s leads to %s, which there is not", link.text, target)
				continue
			}
			if to := all[target]; fragment != "" && to != nil && !slices.Contains(to.anchors(), fragment) {
				p.fault(link.number, "%s has no heading for #%s", target, fragment)
			}
		}
		for _, f := range p.faults {
			t.Error(f)
		}
	}
	for link := range outside {
		t.Logf("not asked for, a test has no network: %s", link)
	}
}

// Whoever reads in the order of the index finds every page. A link to a directory leads
// to each page in it.
func TestEveryPageIsReachable(t *testing.T) {
	t.Parallel()
	const index = "docs/README.md"
	all := pages(t)
	if all[index] == nil {
		t.Fatalf("there is no %s", index)
	}
	seen, queue := map[string]bool{index: true}, []string{index}
	for len(queue) > 0 {
		p := all[queue[0]]
		queue = queue[1:]
		for _, name := range p.leadsTo(all) {
			if !seen[name] {
				seen[name] = true
				queue = append(queue, name)
			}
		}
	}
	for name := range all {
		if strings.HasPrefix(name, "docs/") && !seen[name] {
			t.Errorf("no way leads from %s to %s", index, name)
		}
	}
	if p := all["README.md"]; !slices.ContainsFunc(p.links(), func(l line) bool { return l.text == index }) {
		t.Errorf("README.md does not lead to %s", index)
	}
}

// leadsTo are the pages that the links of a page lead to.
func (p *page) leadsTo(all map[string]*page) []string {
	var names []string
	for _, link := range p.links() {
		target, _ := p.follow(link)
		for name := range all {
			if target != "" && (name == target || path.Dir(name) == target) {
				names = append(names, name)
			}
		}
	}
	return names
}

// The checks find what they are for.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"unmarked":        {"```sh\nls\n```\n", "does not say whether a test runs it"},
		"without reason":  {"```sh not-run: no\nls\n```\n", "does not say whether a test runs it"},
		"another shell":   {"```bash run\nls\n```\n", "does not say whether a test runs it"},
		"without a word":  {"```\nls\n```\n", "does not say what is in its block"},
		"indented":        {"text\n\n    ls\n", "by its indentation"},
		"in a list":       {"- item\n\n      ls\n", "by its indentation"},
		"fence in a list": {"- item\n\n  ```sh run\n  ls\n  ```\n", "first column"},
		"open":            {"```yaml\na: b\n", "does not end"},
		"good":            {"1. a\n\n   b\n\n```sh run\nls\n```\n\n```sh not-run: needs a cloud\nls\n```\n\n~~~text\n```sh\n~~~\n", ""},
	} {
		p := parse("page.md", c.text)
		p.commands()
		got := strings.Join(p.faults, "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	p := parse("docs/page.md", "# A `b`: c\n## A b c\n[x](../y.md#z) `[n](no)`\n[two\nlines](#a-b-c-1)\n[h](http://a.b)\n")
	if got := p.anchors(); !slices.Equal(got, []string{"a-b-c", "a-b-c-1"}) {
		t.Error(got)
	}
	if got := p.links(); !slices.Equal(got, []line{{3, "../y.md#z"}, {4, "#a-b-c-1"}, {6, "http://a.b"}}) {
		t.Error(got)
	}
	if target, fragment := p.follow(p.links()[0]); target != "y.md" || fragment != "z" {
		t.Error(target, fragment)
	}
	if p.follow(p.links()[2]); len(p.faults) != 1 {
		t.Error(p.faults)
	}
}

// What a page names as a path of the repository is there. Overlays that a page has its
// reader make are not.
func TestNamedPathsExist(t *testing.T) {
	t.Parallel()
	shape := regexp.MustCompile("`((?:api|charts|cmd|docs|examples|internal|manifests|pkg|test|tools)/[a-zA-Z0-9_./-]+)`")
	named := 0
	for name, p := range pages(t) {
		for _, l := range p.prose {
			for _, m := range shape.FindAllStringSubmatch(l.text, -1) {
				named++
				if _, err := os.Stat(filepath.Join(root, m[1])); err != nil && !strings.HasPrefix(m[1], "manifests/overlays/") {
					t.Errorf("%s:%d: there is no %s", name, l.number, m[1])
				}
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d paths found", named)
	}
}
