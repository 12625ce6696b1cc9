package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
)

// Group is the API group of classes.
const Group = "secrets-store.csi.x-k8s.io"

// Kind is that of classes.
const Kind = "SecretProviderClass"

// maxDepth bounds lists in lists, and mappings merged into mappings.
const maxDepth = 4

// maxText bounds one input.
const maxText = 64 << 20

// Position is a place in a file. Line and Column count from 1.
type Position struct {
	File         string
	Line, Column int
}

// Trouble is a document that cannot be read.
type Trouble struct {
	Position
	// Ours says that the document is, or may be, about a class.
	Ours bool
	Text string
}

// Open reads the classes of files, of all YAML and JSON below folders, and of in for "-".
func Open(in io.Reader, names []string) (classes []*Class, troubles []Trouble, err error) {
	for _, name := range names {
		files, err := expand(name)
		if err != nil {
			return nil, nil, err
		}
		for _, file := range files {
			text, err := load(in, file)
			if err != nil {
				return nil, nil, err
			}
			some, bad := Read(shown(file), text)
			classes, troubles = append(classes, some...), append(troubles, bad...)
		}
	}
	return classes, troubles, nil
}

func shown(file string) string {
	if file == "-" {
		return "stdin"
	}
	return file
}

func load(in io.Reader, file string) ([]byte, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxText+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", shown(file), err)
	case len(text) > maxText:
		return nil, fmt.Errorf("%s is larger than %d bytes", shown(file), maxText)
	}
	return text, nil
}

// expand lists the files of a folder, in their order; hidden ones are left out.
func expand(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return []string{name}, err
	}
	var files []string
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch hidden := strings.HasPrefix(d.Name(), ".") && path != name; {
		case err != nil:
			return err
		case d.IsDir() && hidden:
			return filepath.SkipDir
		case !d.IsDir() && !hidden && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

// Read finds the classes in a text of any number of documents. A document that cannot be read
// does not hide the others.
func Read(file string, text []byte) (classes []*Class, troubles []Trouble) {
	for _, part := range split(text) {
		r := &reader{file: file, source: part}
		r.read()
		classes, troubles = append(classes, r.classes...), append(troubles, r.troubles...)
	}
	return classes, troubles
}

// source is a part of a file.
type source struct {
	text  []byte
	lines []string
	shift int // lines of the file before it
}

// position is a place in the file. YAML also takes other characters for the end of a line than
// editors do, so it may count too many.
func (s *source) position(file string, line, column int) Position {
	return Position{file, s.shift + min(line, len(s.lines)), column}
}

// split cuts at lines with "---": in YAML these never mean anything else.
func split(text []byte) (parts []source) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	lines := strings.Split(string(text), "\n")
	begin := 0
	cut := func(end int) {
		some := slices.Clone(lines[begin:end])
		if first := strings.TrimSpace(strings.Join(some, "\n")); strings.HasPrefix(first, "{") {
			for i := range some {
				some[i] = plainJSON(some[i])
			}
		}
		parts = append(parts, source{[]byte(strings.Join(some, "\n")), some, begin})
	}
	for i, line := range lines {
		if line == "---" || strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "---\r") || strings.HasPrefix(line, "---\t") {
			cut(i)
			begin = i
		}
	}
	cut(len(lines))
	return parts
}

// plainJSON replaces what JSON has and the YAML library does not read: tabs between tokens, and
// the escapes of a slash and of a character in two halves.
func plainJSON(line string) string {
	var out strings.Builder
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\t':
			out.WriteByte(' ')
		case line[i] != '\\' || i+1 == len(line):
			out.WriteByte(line[i])
		case line[i+1] == '/':
			// The slash comes next.
		case line[i+1] == 'u' && pair(line[i:]) != 0:
			out.WriteRune(pair(line[i:]))
			i += len(`\ud83d\ude00`) - 1
		default:
			out.WriteString(line[i : i+2])
			i++
		}
	}
	return out.String()
}

// pair is the character that a text with two halves of one begins with, or 0.
func pair(text string) rune {
	var high, low rune
	if n, _ := fmt.Sscanf(text, `\u%04x\u%04x`, &high, &low); n == 2 {
		if r := utf16.DecodeRune(high, low); r != unicode.ReplacementChar {
			return r
		}
	}
	return 0
}

type reader struct {
	source
	file     string
	classes  []*Class
	troubles []Trouble
}

func (r *reader) read() {
	dec := yaml.NewDecoder(bytes.NewReader(r.text))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			r.unreadable(err)
			return
		}
		for _, n := range doc.Content {
			r.object(n, 0)
		}
	}
}

func (r *reader) unreadable(err error) {
	if r.empty() {
		return
	}
	t := Trouble{Position: Position{r.file, r.shift + 1, 1}, Ours: bytes.Contains(r.text, []byte(Kind))}
	var line int
	t.Text, line = plain(err)
	if line > 0 {
		t.Position = r.position(r.file, line, 1)
	}
	t.Text = "this is not YAML: " + t.Text
	if bytes.Contains(r.text, []byte("{{")) {
		t.Text += "; it looks like a template: give what helm template makes of it"
	}
	r.troubles = append(r.troubles, t)
}

// empty says whether there is nothing but comments and directives.
func (r *reader) empty() bool {
	for _, line := range r.lines {
		line = strings.TrimSpace(strings.TrimPrefix(line, "---"))
		if line != "" && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

// plain is an error of the YAML library without its head, and the line it names, or 0.
func plain(err error) (text string, line int) {
	text = strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: ")
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	return text, line
}

// object takes a class, or what is in a list.
func (r *reader) object(n *yaml.Node, depth int) {
	n = Deref(n)
	if n.Kind != yaml.MappingNode || depth > maxDepth {
		return
	}
	kind, version := text(n, "kind"), text(n, "apiVersion")
	group, _, _ := strings.Cut(version, "/")
	items := Field(n, "items")
	switch {
	case strings.HasSuffix(kind, "List") && items != nil && Deref(items).Kind == yaml.SequenceNode:
		for _, item := range Deref(items).Content {
			r.object(item, depth+1)
		}
	case kind == Kind || group == Group && strings.EqualFold(kind, Kind):
		r.classes = append(r.classes, &Class{
			Node: n, Name: text(Field(n, "metadata"), "name"), Namespace: text(Field(n, "metadata"), "namespace"),
			Kind: kind, Version: version, file: r.file, source: r.source,
		})
	}
}

func text(n *yaml.Node, field string) string {
	if f := Field(n, field); f != nil && Deref(f).Kind == yaml.ScalarNode {
		return Deref(f).Value
	}
	return ""
}
