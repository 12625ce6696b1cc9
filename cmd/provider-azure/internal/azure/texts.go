package azure

import (
	"regexp"
	"strings"
	"sync"
)

const (
	// maxSeries bounds the series of a metric with free texts as labels.
	maxSeries = 500
	// maxLabel bounds such a text, in bytes.
	maxLabel = 160
)

// texts bounds the sets of labels in which there are free texts.
type texts struct {
	mu   sync.Mutex
	seen map[string]struct{}
}

func newTexts() *texts { return &texts{seen: map[string]struct{}{}} }

// admit says whether there may be a series with these labels.
func (t *texts) admit(labels []string) bool {
	key := strings.Join(labels, "\x00")
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.seen[key]; !ok && len(t.seen) >= maxSeries {
		return false
	}
	t.seen[key] = struct{}{}
	return true
}

// What is new in every error: ids of requests, times, addresses, ports, durations.
var unstable = regexp.MustCompile(strings.Join([]string{
	`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`,
	`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?`,
	`\[[0-9a-fA-F:.%]{2,60}\](:\d{1,5})?`,
	`\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(:\d{1,5})?`,
	`\b[0-9a-fA-F]{16,}\b`,
	`\b(\d+(\.\d+)?(h|ms|m|s|µs|ns))+\b`,
}, "|"))

// stable is a text as a label can have it: short, and without what is never the same.
func stable(text string) string { return short(unstable.ReplaceAllString(oneLine(text), "*")) }

func short(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxLabel)], "") }
