package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the checkout, as seen from here.
const root = "../.."

// page is a Markdown file, by its path in the repository.
type page struct {
	path   string
	prose  []line // what is not in fences
	blocks []block
	faults []string
}

type line struct {
	number int
	text   string
}

// block is what stands between two fences.
type block struct {
	line   int
	info   string // what follows the opening fence
	indent int
	body   []string
}

func (p *page) fault(line int, format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf("%s:%d: %s", p.path, line, fmt.Sprintf(format, args...)))
}

var (
	fence    = regexp.MustCompile("^( *)(`{3,}|~{3,}) *(.*?) *$")
	listItem = regexp.MustCompile(`^ *(?:[-*+]|\d+[.)]) +`)
)

// parse takes a page apart.
func parse(path, text string) *page {
	p := &page{path: path}
	var open *block
	closing := ""
	for i, content := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		mark := fence.FindStringSubmatch(content)
		switch {
		case open == nil && mark != nil:
			open, closing = &block{line: i + 1, info: mark[3], indent: len(mark[1])}, mark[2]
		case open == nil:
			p.prose = append(p.prose, line{i + 1, content})
		case mark != nil && mark[3] == "" && strings.HasPrefix(mark[2], closing):
			p.blocks = append(p.blocks, *open)
			p.prose = append(p.prose, line{i + 1, "```"}) // where the block stood
			open = nil
		default:
			open.body = append(open.body, content)
		}
	}
	if open != nil {
		p.fault(open.line, "this block does not end")
	}
	return p
}

// indented lists the lines on which a block begins that is one by its indentation alone.
func (p *page) indented() []int {
	var found []int
	content, blank, inside := 0, true, false
	for _, l := range p.prose {
		indent := len(l.text) - len(strings.TrimLeft(strings.ReplaceAll(l.text, "\t", "    "), " "))
		switch {
		case strings.TrimSpace(l.text) == "":
			blank = true
			continue
		case blank && indent >= content+4:
			if !inside {
				found = append(found, l.number)
			}
			inside = true
		case listItem.MatchString(l.text):
			content, inside = len(listItem.FindString(l.text)), false
		case blank && indent < content:
			content, inside = 0, false
		default:
			inside = false
		}
		blank = false
	}
	return found
}

var inlineCode = regexp.MustCompile("`[^`\n]*`")

// links are the targets of a page's links, each with the line on which it begins.
func (p *page) links() []line {
	var text strings.Builder
	for _, l := range p.prose {
		text.WriteString(inlineCode.ReplaceAllString(l.text, "``") + "\n")
	}
	var found []line
	for _, form := range []*regexp.Regexp{
		regexp.MustCompile(`\[[^\]]*\]\(([^()\s]+)\)`),
		regexp.MustCompile(`(?m)^ *\[[^\]]+\]: +(\S+)`),
	} {
		for _, at := range form.FindAllStringSubmatchIndex(text.String(), -1) {
			index := strings.Count(text.String()[:at[0]], "\n")
			found = append(found, line{p.prose[index].number, text.String()[at[2]:at[3]]})
		}
	}
	return found
}

var (
	heading  = regexp.MustCompile(`^#{1,6} +(.*?) *#*$`)
	linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	unslug   = regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)
)

// anchors are the fragments that a link to the page can have, as GitHub makes them.
func (p *page) anchors() []string {
	var list []string
	seen := map[string]int{}
	for _, l := range p.prose {
		m := heading.FindStringSubmatch(l.text)
		if m == nil {
			continue
		}
		slug := unslug.ReplaceAllString(strings.ToLower(linkText.ReplaceAllString(m[1], "$1")), "")
		slug = strings.ReplaceAll(slug, " ", "-")
		if n := seen[slug]; n > 0 {
			list = append(list, fmt.Sprintf("%s-%d", slug, n))
		} else {
			list = append(list, slug)
		}
		seen[slug]++
	}
	return list
}

// pages are all Markdown files of the repository, by path.
func pages(t *testing.T) map[string]*page {
	t.Helper()
	all := map[string]*page{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "testdata", "node_modules"}, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(path[len(root)+1:])
		all[name] = parse(name, string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d pages found", len(all))
	}
	return all
}
