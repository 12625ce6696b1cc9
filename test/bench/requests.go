package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// requests are counts of the API server: of requests for classes, status objects,
// Secrets, pods and events.
type requests map[request]float64

// request is a sort of requests.
type request struct{ verb, resource, code string }

func (b *bench) requests(ctx context.Context) (requests, error) {
	page, err := b.apiMetrics(ctx)
	return parseRequests(page), err
}

// apiMetrics is the API server's page of metrics.
func (b *bench) apiMetrics(ctx context.Context) (string, error) {
	config := rest.CopyConfig(b.cluster.Config)
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	api, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return "", fmt.Errorf("make a client of the API server's metrics: %w", err)
	}
	text, err := api.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("read the API server's metrics: %w", err)
	}
	return string(text), nil
}

// total adds up a metric over all series that have these labels, written as name="value".
func total(page, name string, labels ...string) float64 {
	sum := 0.0
	for line := range strings.Lines(page) {
		series, ok := strings.CutPrefix(strings.TrimSpace(line), name+"{")
		if !ok || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(series, l) }) {
			continue
		}
		if n, err := strconv.ParseFloat(series[strings.LastIndex(series, " ")+1:], 64); err == nil {
			sum += n
		}
	}
	return sum
}

func parseRequests(page string) requests {
	resource := regexp.MustCompile(`resource="(secretproviderclass\w*|syncedsecrets|secrets|pods|events)"`)
	verb, code := regexp.MustCompile(`verb="(\w+)"`), regexp.MustCompile(`code="(\d+)"`)
	counts := requests{}
	lines := bufio.NewScanner(strings.NewReader(page))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "apiserver_request_total{") {
			continue
		}
		of, m, status := resource.FindStringSubmatch(line), verb.FindStringSubmatch(line), code.FindStringSubmatch(line)
		n, err := strconv.ParseFloat(line[strings.LastIndex(line, " ")+1:], 64)
		// Watches are counted when they end, and this program's are among them.
		if of == nil || m == nil || status == nil || err != nil || m[1] == "WATCH" || m[1] == "DELETECOLLECTION" {
			continue
		}
		counts[request{m[1], of[1], status[1]}] += n
	}
	return counts
}

// perCall are requests of one call, by verb.
type perCall map[string]float64

func (r requests) since(before requests, calls int) perCall {
	p := perCall{}
	for sort, n := range r {
		if n > before[sort] {
			p[sort.verb] += (n - before[sort]) / float64(calls)
		}
	}
	return p
}

// each says what there was since, for those who wonder why.
func (r requests) each(before requests) string {
	var text []string
	for sort, n := range r {
		if n > before[sort] {
			text = append(text, fmt.Sprintf("%.0f %s %s: %s", n-before[sort], sort.verb, sort.resource, sort.code))
		}
	}
	slices.Sort(text)
	return strings.Join(text, ", ")
}

func (p perCall) total() float64 {
	sum := 0.0
	for _, n := range p {
		sum += n
	}
	return sum
}

func (p perCall) String() string {
	if len(p) == 0 {
		return "0"
	}
	text := make([]string, 0, len(p))
	for _, verb := range slices.Sorted(maps.Keys(p)) {
		text = append(text, fmt.Sprintf("%.2f %s", p[verb], verb))
	}
	return fmt.Sprintf("%.2f (%s)", p.total(), strings.Join(text, ", "))
}
