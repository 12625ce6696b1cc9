package lint

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
)

// checker looks at one class.
type checker struct {
	class   *manifest.Class
	decoded *v1.SecretProviderClass
	found   []Finding
}

func (c *checker) run() {
	if !c.head() {
		return
	}
	c.schema()
	c.provider()
	files := c.parameters()
	c.rotation()
	c.secrets(files)
}

func (c *checker) report(at manifest.Position, f Finding) {
	f.File, f.Line, f.Column, f.Class = at.File, at.Line, at.Column, c.class.String()
	c.found = append(c.found, f)
}

func (c *checker) fail(n *yaml.Node, field, text string) {
	c.report(c.class.At(n), Finding{Severity: Error, Field: field, Message: text})
}

func (c *checker) warn(n *yaml.Node, field, text string) {
	c.report(c.class.At(n), Finding{Severity: Warning, Field: field, Message: text})
}

// node is the value of a field of the class, or, if it is not there, the nearest that is around.
func (c *checker) node(path ...string) *yaml.Node {
	n := c.class.Node
	for _, name := range path {
		key, value := manifest.Key(n, name), manifest.Field(n, name)
		if value == nil {
			return n
		}
		n = value
		if manifest.Deref(value).Kind != yaml.MappingNode {
			return key
		}
	}
	return n
}

// head looks at what says which kind of object it is.
func (c *checker) head() bool {
	group, version, _ := strings.Cut(c.class.Version, "/")
	switch {
	case c.class.Version == "":
		c.fail(nil, "apiVersion", "apiVersion is missing: set it to "+manifest.Group+"/v1")
		return false
	case group != manifest.Group && nearest(group, []string{manifest.Group}) == "":
		return false // a kind of somebody else
	case group != manifest.Group || version != "v1" && version != "v1alpha1":
		c.fail(c.node("apiVersion"), "apiVersion", clip(c.class.Version)+" is unknown: set it to "+manifest.Group+"/v1")
		return false
	case c.class.Kind != manifest.Kind:
		c.fail(c.node("kind"), "kind", clip(c.class.Kind)+" is unknown: it is written "+manifest.Kind)
		return false
	}
	meta := manifest.Field(c.class.Node, "metadata")
	switch name := c.class.Name; {
	case name == "" && manifest.Field(meta, "generateName") == nil:
		c.fail(c.node("metadata"), "metadata.name", "the class has no name: pods name it in secretProviderClass")
	case name != "" && len(validation.IsDNS1123Subdomain(name)) > 0:
		c.fail(c.node("metadata", "name"), "metadata.name", clip(name)+" cannot be a name: it is lower-case letters, digits, - and . only")
	}
	return true
}

func (c *checker) provider() {
	ours := []string{"vault", "azure"}
	n := c.node("spec", "provider")
	p := string(c.decoded.Spec.Provider)
	meant := nearest(p, ours)
	switch {
	case p == "":
		c.fail(n, "spec.provider", "the class names no provider: set vault or azure, or that of another one")
	case !regexp.MustCompile(`^[a-zA-Z0-9_-]{1,30}$`).MatchString(p):
		c.fail(n, "spec.provider", clip(p)+" cannot be the name of a provider: it is letters, digits, - and _ only, 30 at most")
	case meant != "" && meant != p:
		c.warn(n, "spec.provider", fmt.Sprintf("provider %q is none of ours: did you mean %s?", p, meant))
	}
}

// rotation checks what the CRD checks.
func (c *checker) rotation() {
	r := c.decoded.Spec.Rotation
	if r == nil {
		return
	}
	if r.Mode != "" && r.Mode != v1.RotationPeriodic && r.Mode != v1.RotationNever {
		c.fail(c.node("spec", "rotation", "mode"), "spec.rotation.mode", clip(string(r.Mode))+" is unknown: use Periodic or Never")
	}
	if r.Interval == "" {
		return
	}
	d, err := time.ParseDuration(r.Interval)
	const least, most, length = 5 * time.Second, 8760 * time.Hour, 32
	shape := regexp.MustCompile(`^([0-9]+[hms])+$`).MatchString(r.Interval) && len(r.Interval) <= length
	if err != nil || !shape || d < least || d > most {
		c.fail(c.node("spec", "rotation", "interval"), "spec.rotation.interval", clip(r.Interval)+" must be a duration from 5s to 8760h, such as 90s, 10m or 1h30m")
	}
	if r.Mode == v1.RotationNever {
		c.warn(c.node("spec", "rotation", "interval"), "spec.rotation.interval", "an interval means nothing with mode Never: remove one of them")
	}
}
