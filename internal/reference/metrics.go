package reference

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Listed are the labels of metrics in the tables of one section of a page, by name.
// Names is a regular expression without groups that can be got.
func Listed(page, section, names string) (map[string]string, error) {
	_, text, ok := strings.Cut(page, "\n## "+section+"\n")
	if !ok {
		return nil, fmt.Errorf("the page has no section %q", section)
	}
	listed := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `(" + names + ")` \\| ([a-z_, ]*?) ?\\| (?:counter|gauge|histogram) \\|")
	for _, found := range row.FindAllStringSubmatch(text, -1) {
		listed[found[1]] = found[2]
	}
	return listed, nil
}

// Labels are those of a collector's metrics, by name.
func Labels(c prometheus.Collector) (map[string]string, error) {
	const most = 100
	descs := make(chan *prometheus.Desc, most)
	c.Describe(descs)
	close(descs)
	labels := map[string]string{}
	shape := regexp.MustCompile(`fqName: "([^"]+)".* variableLabels: \{([^}]*)\}`)
	for d := range descs {
		parts := shape.FindStringSubmatch(d.String())
		if parts == nil {
			return nil, fmt.Errorf("%s is not understood", d)
		}
		labels[parts[1]] = strings.ReplaceAll(parts[2], ",", ", ")
	}
	return labels, nil
}
