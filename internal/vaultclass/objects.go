package vaultclass

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits that no class in earnest reaches: etcd ends at 1.5 MiB.
const (
	maxObjectsText = 1 << 20
	maxObjects     = 1000
	maxNodes       = 100_000
)

// The fields of an object.
const (
	fieldName       = "objectName"
	fieldPath       = "secretPath"
	fieldKey        = "secretKey"
	fieldMethod     = "method"
	fieldArgs       = "secretArgs"
	fieldPermission = "filePermission"
	fieldEncoding   = "encoding"
	// fieldVersion was a field once; classes that still have it work.
	fieldVersion = "objectVersion"
)

func parseObjects(text string, p *problems) (objects []Object, warnings []Problem) {
	items := objectNodes(text, p)
	for i, item := range items {
		o, ignored, wrong := parseObject(item)
		where := fmt.Sprintf("object %q (line %d): ", clip(o.Name), item.Line)
		if o.Name == "" {
			where = fmt.Sprintf("object %d (line %d): ", i+1, item.Line)
		}
		at := func(f flaw) Problem {
			return Problem{Param: paramObjects, Object: i, Field: f.field, Line: item.Line, Text: f.text, Where: where}
		}
		for _, f := range wrong {
			p.list = append(p.list, at(f))
		}
		for _, f := range ignored {
			warnings = append(warnings, at(f))
		}
		objects = append(objects, o)
	}
	checkUnique(objects, p)
	return objects, warnings
}

// objectNodes returns the entries of the list, none if there is a problem.
func objectNodes(text string, p *problems) []*yaml.Node {
	if len(text) > maxObjectsText {
		p.addf(paramObjects, "%s is longer than %d bytes", paramObjects, maxObjectsText)
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		p.addf(paramObjects, "%s: %v", paramObjects, err)
		return nil
	}
	if budget := maxNodes; overBudget(&doc, &budget) {
		p.addf(paramObjects, "%s has more than %d values, aliases expanded", paramObjects, maxNodes)
		return nil
	}
	var list yaml.Node
	if len(doc.Content) > 0 {
		list = *deref(doc.Content[0])
	}
	switch {
	case list.Kind == yaml.SequenceNode && len(list.Content) > maxObjects:
		p.addf(paramObjects, "%s has more than %d entries", paramObjects, maxObjects)
	case list.Kind == yaml.SequenceNode && len(list.Content) > 0:
		return list.Content
	case list.Kind == yaml.SequenceNode || list.IsZero() || list.Tag == "!!null":
		p.addf(paramObjects, "%s is missing or empty: list at least one object", paramObjects)
	default:
		p.addf(paramObjects, "%s must be a YAML list whose entries begin with \"- %s:\", not one of another shape", paramObjects, fieldName)
	}
	return nil
}

// overBudget says whether n has more values than the budget, counting those
// behind an alias each time: a few aliases of aliases can mean billions.
func overBudget(n *yaml.Node, budget *int) bool {
	if *budget--; *budget < 0 {
		return true
	}
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return overBudget(n.Alias, budget)
	}
	for _, c := range n.Content {
		if overBudget(c, budget) {
			return true
		}
	}
	return false
}

func deref(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func parseObject(item *yaml.Node) (o Object, ignored, wrong []flaw) {
	if deref(item).Kind != yaml.MappingNode {
		return o, nil, []flaw{{"", "must be a mapping of fields such as " + fieldName + " and " + fieldPath}}
	}
	var f fields
	if err := item.Decode(&f); err != nil {
		return o, nil, []flaw{{"", err.Error()}}
	}
	ignored, wrong = f.unknown()
	o, mistyped := f.object()
	wrong = append(wrong, mistyped...)
	if len(mistyped) == 0 {
		wrong = append(wrong, o.check()...)
	}
	if o.Key == "" && o.Encoding != "" {
		ignored = append(ignored, flaw{fieldEncoding, fieldEncoding + " has no meaning without " + fieldKey})
	}
	return o, ignored, wrong
}

func checkUnique(objects []Object, p *problems) {
	count := map[string]int{}
	second := -1
	var twice []string
	for i, o := range objects {
		if count[o.Name]++; o.Name != "" && count[o.Name] == 2 {
			twice = append(twice, o.Name)
			if second < 0 {
				second = i
			}
		}
	}
	if len(twice) > 0 {
		p.list = append(p.list, Problem{
			Param: paramObjects, Object: second, Field: fieldName,
			Text: fmt.Sprintf("%s must be unique, but these are not: %s", fieldName, strings.Join(twice, ", ")),
		})
	}
}
