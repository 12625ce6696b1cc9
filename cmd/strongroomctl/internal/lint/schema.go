package lint

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
)

// schema compares a class with the Go type of its kind: a field that the type does not have is
// refused by the API server, which kubectl, Helm and Flux all ask to be strict.
func (c *checker) schema() {
	c.fields(c.class.Node, reflect.TypeFor[v1.SecretProviderClass](), "")
}

// structure is whether the fields of a type are looked at: those of objects of Kubernetes itself
// are only looked at one level deep.
func structure(t reflect.Type, path string) bool {
	return t.Kind() == reflect.Struct && path != "status" && (strings.HasPrefix(t.PkgPath(), "github.com/strongroom/") || path == "metadata")
}

func (c *checker) fields(n *yaml.Node, t reflect.Type, path string) {
	known := map[string]reflect.Type{}
	jsonFields(t, known)
	seen := map[string]bool{}
	for _, p := range manifest.Pairs(n) {
		name := p.Key.Value
		at := join(path, name)
		if seen[name] {
			c.warn(p.Key, at, "the field stands here a second time, and the first one is lost: remove one of them")
		}
		seen[name] = true
		kind, ok := known[name]
		if !ok {
			c.unknown(p.Key, at, known)
			continue
		}
		c.value(p.Value, kind, at)
	}
}

func (c *checker) unknown(key *yaml.Node, at string, known map[string]reflect.Type) {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	text := "this field is unknown, and the API server refuses it"
	meant := nearest(key.Value, names)
	switch {
	case meant != "":
		text += fmt.Sprintf(": did you mean %s?", meant)
	case strings.HasPrefix(at, "spec.") && ofProviders(key.Value):
		text += ": move it below spec.parameters"
	case at == key.Value && known["spec"] != nil && specField(key.Value):
		text += ": move it below spec"
	default:
		text += ": remove it; it can have " + strings.Join(names, ", ")
		if strings.HasPrefix(at, "metadata.") {
			text = "this field is unknown, and the API server refuses it: remove it"
		}
	}
	c.fail(key, at, text)
}

func specField(name string) bool {
	fields := map[string]reflect.Type{}
	jsonFields(reflect.TypeFor[v1.SecretProviderClassSpec](), fields)
	return fields[name] != nil
}

// value checks the type of a value.
func (c *checker) value(n *yaml.Node, t reflect.Type, at string) {
	n = manifest.Deref(n)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.Tag == "!!null" {
		if strings.HasPrefix(at, "spec.") {
			c.warn(n, at, "there is no value: give one, or remove the field")
		}
		return
	}
	switch {
	case structure(t, at):
		if n.Kind != yaml.MappingNode {
			c.fail(n, at, "this must be a mapping of fields")
			return
		}
		c.fields(n, t, at)
	case t.Kind() == reflect.Slice && strings.HasPrefix(at, "spec."):
		c.list(n, t, at)
	case t.Kind() == reflect.Map:
		c.texts(n, at)
	case t.Kind() == reflect.String:
		c.text(n, at)
	}
}

func (c *checker) list(n *yaml.Node, t reflect.Type, at string) {
	if n.Kind != yaml.SequenceNode {
		c.fail(n, at, "this must be a list: begin each entry with \"- \"")
		return
	}
	for i, item := range n.Content {
		c.value(item, t.Elem(), fmt.Sprintf("%s[%d]", at, i))
	}
}

// texts checks a mapping of texts, such as the parameters.
func (c *checker) texts(n *yaml.Node, at string) {
	if n.Kind != yaml.MappingNode {
		c.fail(n, at, "this must be a mapping of names to texts")
		return
	}
	seen := map[string]bool{}
	for _, p := range manifest.Pairs(n) {
		field := join(at, p.Key.Value)
		if seen[p.Key.Value] {
			c.warn(p.Key, field, "the field stands here a second time, and the first one is lost: remove one of them")
		}
		seen[p.Key.Value] = true
		if manifest.Deref(p.Value).Tag == "!!null" {
			c.warn(p.Value, field, "there is no value: give one, or remove the field")
			continue
		}
		c.text(p.Value, field)
	}
}

func (c *checker) text(n *yaml.Node, at string) {
	n = manifest.Deref(n)
	_, ok := manifest.Text(n)
	switch {
	case ok:
	case n.Kind == yaml.ScalarNode:
		c.fail(n, at, fmt.Sprintf("%s is no text, and the API server refuses it: put it in quotes", clip(n.Value)))
	case at == "spec.parameters.objects":
		c.fail(n, at, "this must be a text, though it holds YAML: write \"objects: |\" and indent the list below")
	default:
		c.fail(n, at, "this must be a text")
	}
}

// jsonFields collects the fields of a type by their names in JSON.
func jsonFields(t reflect.Type, into map[string]reflect.Type) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && strings.Contains(options, "inline") {
			jsonFields(f.Type, into)
			continue
		}
		into[name] = f.Type
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func clip(text string) string {
	const limit = 60
	if len(text) <= limit {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%q...", strings.ToValidUTF8(text[:limit], ""))
}
