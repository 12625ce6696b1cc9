package main

import (
	"fmt"
	"strings"
	"time"
)

func machineLine(t *strings.Builder) {
	fmt.Fprintf(t, "%s, and an Azure of tests over HTTPS that answers after %d ms, and to %d requests in a second.\n", machine(), scaleDelay, scaleQuota)
}

// loadTable has a column for each number of volumes.
func (s *scaling) loadTable(t *strings.Builder) {
	fmt.Fprintf(t, "\nPods of one class of %d secrets, 16 publishes in flight, then %d intervals of %s in which each volume is republished once. "+
		"A cell says: in an empty cluster / beside the objects of other nodes (ratio).\n\n", azureSecrets, scaleIntervals, scaleInterval)
	head, rule := "| what |", "|---|"
	for _, l := range s.alone {
		head, rule = head+fmt.Sprintf(" %d volumes |", l.volumes), rule+"---:|"
	}
	fmt.Fprintf(t, "%s\n%s\n", head, rule)
	for _, row := range loadRows() {
		fmt.Fprintf(t, "| %s |", row.what)
		for i := range s.alone {
			alone, beside := row.of(s.alone[i]), row.of(s.beside[i])
			fmt.Fprintf(t, " "+row.form+" / "+row.form+" (%s) |", alone, beside, besideRatio(beside, alone))
		}
		fmt.Fprintln(t)
	}
}

func besideRatio(beside, alone float64) string {
	if alone == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", beside/alone)
}

// loadRow is a figure of a number of volumes.
type loadRow struct {
	what, form string
	of         func(load) float64
}

func loadRows() []loadRow {
	each := func(d time.Duration, n int) float64 { return millis(d) / float64(n) }
	return []loadRow{
		{"resident memory of the driver, MB", "%.1f", func(l load) float64 { return mega(l.rss[0]) }},
		{"resident memory of the provider, MB", "%.1f", func(l load) float64 { return mega(l.rss[1]) }},
		{"publishes in a second", "%.0f", func(l load) float64 { return l.took.rate() }},
		{"CPU of the driver for a publish, ms", "%.2f", func(l load) float64 { return each(l.publish.driver, l.volumes) }},
		{"CPU of the provider for a publish, ms", "%.2f", func(l load) float64 { return each(l.publish.provider, l.volumes) }},
		{"API requests for a publish, the status object among them", "%.2f", func(l load) float64 { return l.publish.api.total() / float64(l.volumes) }},
		{"access tokens that the store gave for all publishes", "%.0f", func(l load) float64 { return float64(l.publish.tokens) }},
		{"reads of the store for all publishes", "%.0f", func(l load) float64 { return float64(l.publish.reads) }},
		{"calls of the provider in the intervals", "%.0f", func(l load) float64 { return l.hold.calls }},
		{"CPU of the driver in the intervals, for a call, ms", "%.2f", func(l load) float64 { return millis(l.hold.driver) / max(l.hold.calls, 1) }},
		{"CPU of the provider in the intervals, for a call, ms", "%.2f", func(l load) float64 { return millis(l.hold.provider) / max(l.hold.calls, 1) }},
		{"API requests in the intervals (aim 0)", "%.0f", func(l load) float64 { return l.hold.api.total() }},
		{"access tokens in the intervals (aim 0)", "%.0f", func(l load) float64 { return float64(l.hold.tokens) }},
		{"reads of the store in the intervals", "%.0f", func(l load) float64 { return float64(l.hold.reads) }},
	}
}

func (s *scaling) foreignTable(t *strings.Builder) {
	fmt.Fprintf(t, "\nThe objects of others, status objects as of %d nodes with %d volumes each.\n\n| what | objects | bytes of etcd for one |\n|---|---:|---:|\n",
		foreignNodes/s.less, podsOfForeign)
	for _, k := range s.foreign {
		fmt.Fprintf(t, "| %s | %d | %.0f |\n", k.kind, k.count, k.bytes/float64(k.count))
	}
}

func (s *scaling) coldTable(t *strings.Builder) {
	fmt.Fprintf(t, "\n%d pods at once, driver and provider started a moment ago, each class of %d secrets that no other class has.\n\n", coldPods, azureSecrets)
	head, rule := "| what |", "|---|"
	for _, c := range s.cold {
		head, rule = head+fmt.Sprintf(" classes: %d |", c.classes), rule+"---:|"
	}
	fmt.Fprintf(t, "%s\n%s\n", head, rule)
	line := func(what string, of func(coldStart) string) {
		fmt.Fprintf(t, "| %s |", what)
		for _, c := range s.cold {
			fmt.Fprintf(t, " %s |", of(c))
		}
		fmt.Fprintln(t)
	}
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
	line("until all are published", func(c coldStart) string { return seconds(c.took.wall) })
	line("of which the quota allows no less than", func(c coldStart) string {
		return seconds(time.Duration((c.classes*azureSecrets-1)/scaleQuota) * time.Second)
	})
	line("publish, p50", func(c coldStart) string { return seconds(c.took.quantile(0.5)) })
	line("publish, p99", func(c coldStart) string { return seconds(c.took.quantile(0.99)) })
	line("publishes tried by kubelet", func(c coldStart) string { return fmt.Sprint(c.attempts) })
	line("calls of the provider", func(c coldStart) string { return fmt.Sprintf("%.0f", c.calls) })
	line("access tokens", func(c coldStart) string { return fmt.Sprint(c.tokens) })
	line("reads of the store", func(c coldStart) string { return fmt.Sprint(c.reads) })
	line("of these and of requests without a token, refused with 429", func(c coldStart) string { return fmt.Sprint(c.throttled) })
	line("reads if each pod did its own", func(coldStart) string { return fmt.Sprint(coldPods * azureSecrets) })
	line("API requests for a publish, the status object among them", func(c coldStart) string { return fmt.Sprintf("%.2f", c.api.total()/coldPods) })
}

func (s *scaling) restartTable(t *strings.Builder) {
	fmt.Fprintf(t, "\nThe API server is killed and started again beside all these objects, with %d drivers of other nodes, each with %d volumes of %d classes.\n\n",
		fleetNodes/s.less, fleetVolumes, fleetVolumes)
	head, rule := "| what |", "|---|"
	for _, r := range s.restarts {
		head, rule = head+fmt.Sprintf(" nodes: %d |", r.nodes), rule+"---:|"
	}
	fmt.Fprintf(t, "%s\n%s\n", head, rule)
	line := func(what, form string, of func(restart) float64) {
		fmt.Fprintf(t, "| %s |", what)
		for _, r := range s.restarts {
			fmt.Fprintf(t, " "+form+" |", of(r))
		}
		fmt.Fprintln(t)
	}
	line("from its end until it answers, s", "%.1f", func(r restart) float64 { return r.ready.Seconds() })
	line("looked at afterwards for, s", "%.0f", func(r restart) float64 { return r.observed.Seconds() })
	line("CPU of the API server in all, s", "%.1f", func(r restart) float64 { return r.cpu.Seconds() })
	line("resident memory of the API server, MB", "%.0f", func(r restart) float64 { return mega(r.rss) })
	line("most that it was, MB", "%.0f", func(r restart) float64 { return mega(r.peak) })
	line("watches of classes at the end", "%.0f", func(r restart) float64 { return r.watches })
	line("watches that ended before", "%.0f", func(r restart) float64 { return r.refused })
	line("lists of one class", "%.0f", func(r restart) float64 { return r.lists })
	line("bytes of these", "%.0f", func(r restart) float64 { return r.listBytes })
	line("gets of a class", "%.0f", func(r restart) float64 { return r.gets })
	line("bytes of these", "%.0f", func(r restart) float64 { return r.getBytes })
	line("events of the watches", "%.0f", func(r restart) float64 { return r.watchEvents })
	line("bytes of these", "%.0f", func(r restart) float64 { return r.watchBytes })
	line("events of one edit of a class that no node uses", "%.0f", func(r restart) float64 { return r.editEvents })
	line("bytes of these", "%.0f", func(r restart) float64 { return r.editBytes })
	line("gets of the CSIDriver object", "%.0f", func(r restart) float64 { return r.drivers })
	line("writes of status objects (aim 0)", "%.0f", func(r restart) float64 { return r.writes })
}
