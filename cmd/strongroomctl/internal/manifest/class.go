package manifest

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/yaml"

	v1 "github.com/strongroom/strongroom/api/v1"
)

// Class is a class as a text has it.
type Class struct {
	Node                           *yaml.Node
	Kind, Version, Namespace, Name string

	file   string
	source source
}

// String names the class.
func (c *Class) String() string {
	switch {
	case c.Name == "":
		return "a class without a name"
	case c.Namespace == "":
		return c.Name
	}
	return c.Namespace + "/" + c.Name
}

// Decode reads the class as the API server would. What has the wrong type is left out.
func (c *Class) Decode() *v1.SecretProviderClass {
	class := &v1.SecretProviderClass{}
	class.Name, class.Namespace = c.Name, c.Namespace
	spec := Field(c.Node, "spec")
	class.Spec.Provider = v1.Provider(text(spec, "provider"))
	for _, p := range Pairs(Field(Field(c.Node, "metadata"), "annotations")) {
		if value, ok := Text(p.Value); ok {
			put(&class.Annotations, p.Key.Value, value)
		}
	}
	for _, p := range Pairs(Field(spec, "parameters")) {
		if value, ok := Text(p.Value); ok {
			put(&class.Spec.Parameters, p.Key.Value, value)
		}
	}
	if r := Field(spec, "rotation"); r != nil {
		class.Spec.Rotation = &v1.Rotation{Mode: v1.RotationMode(text(r, "mode")), Interval: text(r, "interval")}
	}
	for _, n := range Items(Field(spec, "secretObjects")) {
		class.Spec.SecretObjects = append(class.Spec.SecretObjects, secretObject(n))
	}
	return class
}

func put(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
}

func secretObject(n *yaml.Node) *v1.SecretObject {
	o := &v1.SecretObject{SecretName: text(n, "secretName"), Type: text(n, "type")}
	for field, m := range map[string]*map[string]string{"labels": &o.Labels, "annotations": &o.Annotations} {
		for _, p := range Pairs(Field(n, field)) {
			if value, ok := Text(p.Value); ok {
				put(m, p.Key.Value, value)
			}
		}
	}
	for _, d := range Items(Field(n, "data")) {
		o.Data = append(o.Data, &v1.SecretObjectData{ObjectName: text(d, "objectName"), Key: text(d, "key")})
	}
	return o
}

// At is where a node of the class stands.
func (c *Class) At(n *yaml.Node) Position {
	if n == nil {
		n = c.Node
	}
	return c.source.position(c.file, n.Line, n.Column)
}

// Within is where a place of the text of a scalar stands in the file; line and column count
// from 1. In a text whose lines are not those of the file, that is the scalar itself.
func (c *Class) Within(scalar *yaml.Node, line, column int) Position {
	l, col := within(c.source.lines, Deref(scalar), line, column)
	return c.source.position(c.file, l, col)
}

// WithinText is as [Class.Within], for a scalar in the text of a scalar.
func (c *Class) WithinText(outer, inner *yaml.Node, line, column int) Position {
	outer = Deref(outer)
	l, col := within(strings.Split(outer.Value, "\n"), Deref(inner), line, column)
	return c.Within(outer, l, col)
}

// within finds a place of a scalar's text among the lines that the scalar was read from.
func within(lines []string, scalar *yaml.Node, line, column int) (l, col int) {
	if scalar.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		if strings.Contains(strings.TrimRight(scalar.Value, "\n"), "\n") || scalar.Style&yaml.DoubleQuotedStyle != 0 {
			return scalar.Line, scalar.Column
		}
		quote := 0
		if scalar.Style&yaml.SingleQuotedStyle != 0 {
			quote = 1
		}
		return scalar.Line, scalar.Column + quote + column - 1
	}
	values := strings.Split(scalar.Value, "\n")
	at := scalar.Line + line // the text begins on the line after its mark
	if line < 1 || line > len(values) || at > len(lines) {
		return scalar.Line, scalar.Column
	}
	source, value := strings.TrimRight(lines[at-1], "\r"), strings.TrimRight(values[line-1], "\r")
	if !strings.HasSuffix(source, value) { // folded
		return scalar.Line, scalar.Column
	}
	return at, len([]rune(source)) - len([]rune(value)) + column
}

// Pair is a field of a mapping.
type Pair struct{ Key, Value *yaml.Node }

// Pairs are the fields of a mapping, with those that are merged into it.
func Pairs(n *yaml.Node) []Pair { return pairs(n, 0) }

func pairs(n *yaml.Node, depth int) (all []Pair) {
	n = Deref(n)
	if n == nil || n.Kind != yaml.MappingNode || depth > maxDepth {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := Deref(n.Content[i])
		if key.Tag != "!!merge" {
			continue
		}
		from := []*yaml.Node{n.Content[i+1]}
		if list := Deref(n.Content[i+1]); list.Kind == yaml.SequenceNode {
			from = list.Content
		}
		for _, f := range from {
			all = append(all, pairs(f, depth+1)...)
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := Deref(n.Content[i]); key.Tag != "!!merge" {
			all = append(all, Pair{key, n.Content[i+1]})
		}
	}
	return all
}

// Field is the value of a field, nil if there is none. Of two the last counts.
func Field(n *yaml.Node, name string) (value *yaml.Node) {
	for _, p := range Pairs(n) {
		if p.Key.Value == name {
			value = p.Value
		}
	}
	return value
}

// Key is the key of a field, nil if there is none.
func Key(n *yaml.Node, name string) (key *yaml.Node) {
	for _, p := range Pairs(n) {
		if p.Key.Value == name {
			key = p.Key
		}
	}
	return key
}

// Items are the entries of a list.
func Items(n *yaml.Node) []*yaml.Node {
	if n = Deref(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// Deref is what an alias stands for.
func Deref(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// Text is the value of a scalar if kubectl takes it for a text: yes and 0400 without quotes are
// none, though the YAML of today says otherwise of the first.
func Text(n *yaml.Node) (string, bool) {
	n = Deref(n)
	if n == nil || n.Kind != yaml.ScalarNode {
		return "", false
	}
	if n.Style != 0 {
		return n.Value, true
	}
	var value any
	if err := kyaml.Unmarshal([]byte(n.Value), &value); err != nil {
		return n.Value, n.Tag == "!!str"
	}
	_, ok := value.(string)
	return n.Value, ok
}

// Parse reads the YAML that is the text of a scalar.
func Parse(scalar *yaml.Node) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(Deref(scalar).Value), &doc); err != nil {
		text, line := plain(err)
		return nil, &SyntaxError{line, text}
	}
	if len(doc.Content) == 0 {
		return &doc, nil
	}
	return Deref(doc.Content[0]), nil
}

// SyntaxError is a text that is not YAML.
type SyntaxError struct {
	Line int // 0 if it is not known
	Text string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }
