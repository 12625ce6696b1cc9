package provider

import (
	"regexp"
	"strings"
)

// unstable is what is new in each answer to the same question: ids of requests, the time
// of an answer, and the port from which a connection was made. Kubelet makes an event of
// its own of each text that differs.
var unstable = regexp.MustCompile(strings.Join([]string{
	`(?i)[;,.]?\s*\b(?:x-ms-)?(?:client[-_ ]?)?(?:request|trace|correlation)[-_ ]?id["']?\s*[:=]\s*["']?(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-z]{16,})["']?`,
	`(?i)[;,.]?\s*\btimestamp["']?\s*[:=]\s*["']?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?["']?`,
	`:\d{1,5}(->)`,
}, "|"))

// stable is a text without what is new in each try. Who looks for that finds it in the
// provider's log.
func stable(text string) string { return unstable.ReplaceAllString(text, "$1") }

// told is what is said of an error on the wire: without what is new in each try, and of
// bounded length. A provider may say megabytes, which take long to search.
func told(text string) string {
	if len(text) > 4*maxErrorText {
		return stable(clip(text, maxErrorText))
	}
	return clip(stable(text), maxErrorText)
}
