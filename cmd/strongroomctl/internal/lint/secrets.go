package lint

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
	"github.com/strongroom/strongroom/internal/secretplan"
	"github.com/strongroom/strongroom/pkg/rotation"
)

// secrets has the driver's own code look at secretObjects. files is nil if it is not known what
// the volume has.
func (c *checker) secrets(v *volume) {
	nodes := manifest.Items(manifest.Field(manifest.Field(c.class.Node, "spec"), "secretObjects"))
	first := map[string]int{}
	for i, object := range c.decoded.Spec.SecretObjects {
		s := &secret{checker: c, node: nodes[i], path: fmt.Sprintf("spec.secretObjects[%d]", i), object: object, volume: v}
		s.run()
		name := strings.TrimSpace(object.SecretName)
		if before, ok := first[name]; ok && name != "" {
			c.warn(atOf(nodes[i], "secretName"), s.path+".secretName",
				fmt.Sprintf("secretObjects[%d] is secret %s, too, and only that one counts: put all keys into it", before, name))
			continue
		}
		first[name] = i
	}
}

// secret looks at one entry.
type secret struct {
	*checker
	node   *yaml.Node
	path   string
	object *v1.SecretObject
	volume *volume
}

func (s *secret) run() {
	object := rotation.SecretObject{Name: s.object.SecretName, Type: s.object.Type}
	for _, d := range s.object.Data {
		object.Data = append(object.Data, rotation.SecretKey{File: d.ObjectName, Key: d.Key})
	}
	for _, flaw := range secretplan.Check(object, s.files()) {
		s.flaw(flaw)
	}
	s.entries()
	s.metadata()
}

// files are those that an entry may name; nil if they are not known.
func (s *secret) files() []string {
	if s.volume == nil || !s.volume.whole {
		return nil
	}
	all, named := false, []string{}
	for _, d := range s.object.Data {
		name := strings.TrimSpace(d.ObjectName)
		all = all || name == secretplan.EveryFile
		if s.volume.maybe(name) != "" {
			named = append(named, name)
		}
	}
	if all {
		return append(s.volume.sure(), named...)
	}
	return s.volume.possible()
}

// flaw puts a flaw where it belongs.
func (s *secret) flaw(f secretplan.Flaw) {
	n, field, text := s.node, s.path, f.Err.Error()
	switch {
	case f.Entry >= 0:
		n, field = s.entry(f.Entry)
		which := "objectName"
		if strings.Contains(text, "cannot have the key") {
			which = "key"
		}
		n, field = atOf(n, which), field+"."+which
	case strings.Contains(text, "secretName"):
		n, field = atOf(n, "secretName"), field+".secretName"
	case strings.Contains(text, "type"):
		n, field = atOf(n, "type"), field+".type"
	}
	if strings.Contains(text, "is no file of the volume") {
		text += s.hint(f.Entry)
	}
	s.fail(n, field, text)
}

// hint says which file may be meant.
func (s *secret) hint(entry int) string {
	files := s.volume.sure()
	if meant := nearest(strings.TrimSpace(s.object.Data[entry].ObjectName), files); meant != "" {
		return fmt.Sprintf(": did you mean %q?", meant)
	}
	const most = 8
	if len(files) > most {
		return ": name one by the path that it has there"
	}
	return ": it has " + strings.Join(files, ", ")
}

func (s *secret) entry(i int) (*yaml.Node, string) {
	return manifest.Items(manifest.Field(s.node, "data"))[i], fmt.Sprintf("%s.data[%d]", s.path, i)
}

// entries warns of what passes but is hardly meant.
func (s *secret) entries() {
	first := map[string]int{}
	for i, d := range s.object.Data {
		n, field := s.entry(i)
		if strings.TrimSpace(d.ObjectName) == secretplan.EveryFile {
			if d.Key != "" {
				s.warn(atOf(n, "key"), field+".key", "a key means nothing with objectName \"*\": remove it")
			}
			continue
		}
		key := strings.TrimSpace(d.Key)
		if before, ok := first[key]; ok && key != "" {
			s.warn(atOf(n, "key"), field+".key", fmt.Sprintf("data[%d] has the key %s, too, and this one wins: remove one of them", before, key))
		}
		first[key] = i
		if s.volume != nil {
			if why := s.volume.maybe(d.ObjectName); why != "" {
				s.warn(atOf(n, "objectName"), field+".objectName", fmt.Sprintf("the volume has %s %s", strings.TrimSpace(d.ObjectName), why))
			}
		}
	}
}

const nameRule = "it is at most 63 letters, digits, -, _ and ., if need be after a domain and a slash"

// metadata checks labels and annotations as the API server does with those of a Secret.
func (s *secret) metadata() {
	for _, field := range []string{"labels", "annotations"} {
		for _, p := range manifest.Pairs(manifest.Field(s.node, field)) {
			at := s.path + "." + field + "." + p.Key.Value
			if wrong := validation.IsQualifiedName(p.Key.Value); field == "labels" && len(wrong) > 0 {
				s.fail(p.Key, at, "this cannot be the name of a label: "+nameRule)
			} else if wrong = validation.IsQualifiedName(strings.ToLower(p.Key.Value)); len(wrong) > 0 {
				s.fail(p.Key, at, "this cannot be the name of an annotation: "+nameRule)
			}
			if wrong := validation.IsValidLabelValue(manifest.Deref(p.Value).Value); field == "labels" && len(wrong) > 0 {
				s.fail(p.Key, at, "the value of a label is at most 63 letters, digits, -, _ and ., and begins and ends with a letter or digit")
			}
		}
	}
}
