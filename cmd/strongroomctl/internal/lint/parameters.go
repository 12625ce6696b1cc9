package lint

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/internal/vaultclass"
)

const objects = "objects"

// parameters has the provider's own parser look at them, and returns the files that the volume
// would have; nil if that is not known.
func (c *checker) parameters() *volume {
	params := c.decoded.Spec.Parameters
	if len(params) == 0 {
		c.fail(c.node("spec", "parameters"), "spec.parameters", "the class has no parameters: a volume cannot be mounted without")
		return nil
	}
	switch c.decoded.Spec.Provider {
	case "vault":
		return c.vault(params)
	case "azure":
		return c.azure(params)
	}
	return nil
}

// problem is what a parser found.
type problem struct {
	param  string
	object int
	field  string
	text   string
}

func (c *checker) vault(params map[string]string) *volume {
	class, wrong, warnings := vaultclass.Check(params)
	for _, p := range wrong {
		c.judge(Error, problem{p.Param, p.Object, p.Field, p.Text})
	}
	for _, p := range warnings {
		if slices.Contains(vaultParams(), p.Param) {
			c.judge(Warning, problem{p.Param, p.Object, p.Field, p.Text})
		}
	}
	c.unknownParams(vaultParams(), vaultFields())
	v := &volume{whole: len(wrong) == 0}
	for i, o := range class.Objects {
		v.files = append(v.files, file{path: o.Name, object: i, field: "objectName"})
	}
	c.conflicts(v)
	return v
}

func (c *checker) azure(params map[string]string) *volume {
	class, wrong, warnings := azureclass.Check(params)
	for _, p := range wrong {
		c.judge(Error, problem{p.Param, p.Object, p.Field, p.Text})
	}
	for _, p := range warnings {
		if !strings.HasPrefix(p.Text, "unknown parameter") {
			c.judge(Warning, problem{p.Param, p.Object, p.Field, p.Text})
		}
	}
	c.unknownParams(azureParams(), azureFields())
	c.unknownAzureFields()
	v := &volume{whole: len(wrong) == 0}
	for i := range class.Objects {
		v.addAzure(&class.Objects[i], i)
	}
	c.conflicts(v)
	return v
}

func (c *checker) judge(severity Severity, p problem) {
	value := c.param(p.param)
	if _, ok := manifest.Text(value); value != nil && !ok {
		return // which has been said
	}
	at, field := c.locate(p)
	text := p.text
	if m := regexp.MustCompile(`^(objects: yaml: )?(.*?)line (\d+): `).FindStringSubmatch(text); m != nil && p.param == objects && p.object < 0 {
		// The line is that of the text in the class.
		line, _ := strconv.Atoi(m[3])
		at = c.class.Within(value, line, 1)
		text = m[2] + text[len(m[0]):]
		if m[1] != "" {
			text = "this is not YAML: " + text
		}
	}
	if meant := nearest(p.field, vaultFields()); severity == Warning && meant != "" && strings.HasPrefix(text, "unknown field") {
		text += fmt.Sprintf(": did you mean %s?", meant)
	}
	c.report(at, Finding{Severity: severity, Field: field, Message: text})
}

// param is the value of a parameter.
func (c *checker) param(name string) *yaml.Node {
	return manifest.Deref(manifest.Field(manifest.Field(manifest.Field(c.class.Node, "spec"), "parameters"), name))
}

// locate finds the place of a problem, as near as the text of the class allows.
func (c *checker) locate(p problem) (manifest.Position, string) {
	field := join("spec.parameters", p.param)
	value := c.param(p.param)
	key := c.node("spec", "parameters", p.param)
	if value == nil || p.param != objects {
		return c.class.At(key), field
	}
	root, err := manifest.Parse(value)
	if syntax, ok := errors.AsType[*manifest.SyntaxError](err); ok {
		return c.class.Within(value, max(syntax.Line, 1), 1), field
	}
	array := manifest.Field(root, "array")
	list := manifest.Items(root)
	if array != nil {
		list, field = manifest.Items(array), field+".array"
	}
	if p.object < 0 || p.object >= len(list) {
		return c.class.At(key), join("spec.parameters", p.param)
	}
	item := list[p.object]
	field = fmt.Sprintf("%s[%d]", field, p.object)
	if manifest.Deref(item).Kind == yaml.ScalarNode {
		return c.locateInText(value, item, problem{field: p.field, param: field})
	}
	return c.class.Within(value, atOf(item, p.field).Line, atOf(item, p.field).Column), join2(field, p.field)
}

// locateInText is for an entry that is a text with YAML in it.
func (c *checker) locateInText(outer, item *yaml.Node, p problem) (manifest.Position, string) {
	inner, err := manifest.Parse(item)
	if syntax, ok := errors.AsType[*manifest.SyntaxError](err); ok {
		return c.class.WithinText(outer, item, max(syntax.Line, 1), 1), p.param
	}
	if inner.Line == 0 {
		return c.class.Within(outer, item.Line, item.Column), p.param
	}
	n := atOf(inner, p.field)
	return c.class.WithinText(outer, item, n.Line, n.Column), join2(p.param, p.field)
}

// atOf is the key of a field, or else the mapping.
func atOf(n *yaml.Node, field string) *yaml.Node {
	if key := manifest.Key(n, field); key != nil && field != "" {
		return key
	}
	return n
}

func join2(path, field string) string {
	if field == "" {
		return path
	}
	return path + "." + field
}

// unknownParams warns of what the provider ignores.
func (c *checker) unknownParams(known, fields []string) {
	params := manifest.Field(manifest.Field(c.class.Node, "spec"), "parameters")
	for _, p := range manifest.Pairs(params) {
		name := p.Key.Value
		if slices.Contains(known, name) {
			continue
		}
		at := "spec.parameters." + name
		meant := nearest(name, known)
		switch {
		case meant != "":
			c.warn(p.Key, at, fmt.Sprintf("the provider ignores this parameter: did you mean %s?", meant))
		case slices.Contains(fields, name):
			c.warn(p.Key, at, "the provider ignores this parameter: it is a field of an entry of objects")
		case specField(name):
			c.warn(p.Key, at, "the provider ignores this parameter: move it below spec")
		default:
			c.warn(p.Key, at, fmt.Sprintf("the provider %s has no such parameter and ignores it: remove it, unless another tool reads it", c.decoded.Spec.Provider))
		}
	}
}

// unknownAzureFields warns of fields that the parser, as the existing one, passes over.
func (c *checker) unknownAzureFields() {
	value := c.param(objects)
	if value == nil || value.Kind != yaml.ScalarNode {
		return
	}
	root, err := manifest.Parse(value)
	if err != nil {
		return // it has been said
	}
	for _, p := range manifest.Pairs(root) {
		if p.Key.Value != "array" {
			c.report(c.class.Within(value, p.Key.Line, p.Key.Column), Finding{
				Severity: Warning, Field: "spec.parameters.objects." + p.Key.Value, Message: "the provider ignores this field: there is array only",
			})
		}
	}
	for i, item := range manifest.Items(manifest.Field(root, "array")) {
		inner, err := manifest.Parse(item)
		if err != nil {
			continue
		}
		for _, p := range manifest.Pairs(inner) {
			if slices.Contains(azureFields(), p.Key.Value) {
				continue
			}
			text := "the provider ignores this field"
			if meant := nearest(p.Key.Value, azureFields()); meant != "" {
				text += fmt.Sprintf(": did you mean %s?", meant)
			} else {
				text += ": remove it; it can have " + strings.Join(azureFields(), ", ")
			}
			c.judge(Warning, problem{objects, i, p.Key.Value, text})
		}
	}
}
