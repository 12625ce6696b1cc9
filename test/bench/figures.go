package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// calls are the figures of one number of calls in flight.
type calls struct {
	publish, republish, unpublish            sample
	recorded                                 []float64 // status objects a second, by round
	requestsPerPublish, requestsPerRepublish perCall
	askedPerRepublish                        float64
	cpuPerPublish, cpuPerRepublish           processors
}

func (c calls) recordedRate() float64 {
	slices.Sort(c.recorded)
	return c.recorded[len(c.recorded)/2]
}

// figures is what a run found out.
type figures struct {
	start                    started
	one, sixteen             calls
	gets, creates            float64
	queueName                string
	queuePeak                float64
	refresh                  refreshed
	syncedOne, syncedSixteen synced
	idle, loaded             int // KiB
	idleBeside, loadedBeside int
	shared                   shared
	leased                   leased
	azure                    azureShared
}

// row compares a figure with what is aimed at and with what the upstream driver
// v1.6.0 did, both 0 if there is none.
type row struct {
	what          string
	here          float64
	form          string
	aim, upstream float64
	lower         bool // is better
}

func (f figures) rows() []row {
	rate, ms, mb, count := "%.0f/s", "%.2f ms", "%.1f MB", "%.2f"
	var rows []row
	add := func(what, form string, here, aim, upstream float64) {
		rows = append(rows, row{what, here, form, aim, upstream, form != rate})
	}
	timed := func(what string, s sample, aims, upstream [3]float64) {
		add(what+", rate", rate, s.rate(), aims[0], upstream[0])
		add(what+", p50", ms, millis(s.quantile(0.5)), aims[1], upstream[1])
		add(what+", p99", ms, millis(s.quantile(0.99)), aims[2], upstream[2])
	}
	none := [3]float64{}
	timed("publish, 16 in flight", f.sixteen.publish, [3]float64{1000, 10, 50}, [3]float64{22, 800, 0})
	timed("publish, 1 in flight", f.one.publish, none, none)
	add("until every status object exists, 16 in flight", rate, f.sixteen.recordedRate(), 300, 22)
	add("API server alone, gets of the class, 16 in flight", rate, f.gets, 0, 0)
	add("API server alone, creates of a status object, 16 in flight", rate, f.creates, 0, 0)
	add("API requests per publish: "+f.sixteen.requestsPerPublish.String(), count, f.sixteen.requestsPerPublish.total(), 0, 0)
	add("processor time per publish, 16 in flight: "+f.sixteen.cpuPerPublish.String(), ms, millis(f.sixteen.cpuPerPublish.total()), 0, 0)
	timed("republish, 16 in flight", f.sixteen.republish, [3]float64{5000, 0, 0}, [3]float64{10, 0, 0})
	timed("republish, 1 in flight", f.one.republish, none, none)
	add("processor time per republish, 16 in flight: "+f.sixteen.cpuPerRepublish.String(), ms, millis(f.sixteen.cpuPerRepublish.total()), 0, 0)
	add("API requests per republish (aim 0)", count, f.sixteen.requestsPerRepublish.total(), 0, 2)
	add("provider calls per republish (aim 0)", count, f.sixteen.askedPerRepublish, 0, 1)
	add("republish past the interval, 16 in flight, rate", rate, f.refresh.republish.rate(), 5000, 10)
	add("provider calls per republish past the interval, those of the clock among them", count, f.refresh.askedPerRepublish, 0, 1)
	add("API requests per republish past the interval (aim 0)", count, f.refresh.requestsPerRepublish.total(), 0, 2)
	add("refresh, nothing new, 8 in flight, rate", rate, f.refresh.same.rate, 0, 10)
	add("refresh, nothing new, 8 in flight, mean", ms, f.refresh.same.mean, 0, 0)
	add("API requests per refresh, nothing new: "+f.refresh.same.requests.String(), count, f.refresh.same.requests.total(), 0, 2)
	add("refresh, new content, 8 in flight, rate", rate, f.refresh.changed.rate, 0, 0)
	add("refresh, new content, 8 in flight, mean", ms, f.refresh.changed.mean, 0, 0)
	add("API requests per refresh, new content: "+f.refresh.changed.requests.String(), count, f.refresh.changed.requests.total(), 0, 0)
	timed("publish with a Secret, 16 in flight", f.syncedSixteen.publish, none, none)
	add("API requests per publish with a Secret: "+f.syncedSixteen.requests.String(), count, f.syncedSixteen.requests.total(), 0, 0)
	timed("publish with a Secret, 1 in flight", f.syncedOne.publish, none, none)
	timed("unpublish, 16 in flight", f.sixteen.unpublish, none, none)
	timed("unpublish, 1 in flight", f.one.unpublish, none, none)
	add("resident memory, idle", mb, mega(f.idle), 30, 42)
	add("resident memory, with the volumes", mb, mega(f.loaded), 38, 51)
	add("resident memory, idle beside Secrets of others", mb, mega(f.idleBeside), 30, 0)
	add("resident memory, with the volumes beside Secrets of others", mb, mega(f.loadedBeside), 38, 91)
	return rows
}

// table is Markdown.
func (f figures) table(o options) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%s. %d volumes of 2 files, median of %d rounds, %d Secrets of others of 4 KiB.\n",
		machine(), o.volumes, o.rounds, o.secrets)
	if f.queueName == "" {
		fmt.Fprintln(&t, "Peak of the queue of records: the driver has no metric of it.")
	} else {
		fmt.Fprintf(&t, "Peak of the queue of records: %.0f (%s).\n", f.queuePeak, f.queueName)
	}
	fmt.Fprintf(&t, "\n| what | here | aim | better than the aim by | upstream v1.6.0 | better than upstream by |\n|---|---:|---:|---:|---:|---:|\n")
	for _, r := range f.rows() {
		fmt.Fprintf(&t, "| %s | %s | %s | %s | %s | %s |\n",
			r.what, fmt.Sprintf(r.form, r.here), r.text(r.aim), r.ratio(r.aim), r.text(r.upstream), r.ratio(r.upstream))
	}
	return t.String()
}

// vaultTable is Markdown.
func (f figures) vaultTable() string {
	var t strings.Builder
	s, l := f.shared, f.leased
	fmt.Fprintf(&t, "\n%s, a real Vault and PostgreSQL too. %d pods of one service account, two keys of one KV path, 16 in flight, "+
		"then %d intervals of %s; counted in Vault's audit log.\n\n", machine(), vaultPods, vaultIntervals, vaultInterval)
	fmt.Fprintf(&t, "| what | here | aim | upstream |\n|---|---:|---:|---:|\n")
	line := func(what, here, aim, upstream string) {
		fmt.Fprintf(&t, "| %s | %s | %s | %s |\n", what, here, aim, upstream)
	}
	line("publish, cold, rate", fmt.Sprintf("%.0f/s", s.publish.rate()), "200/s", "4-5/s")
	line("publish, cold, p50", fmt.Sprintf("%.1f ms", millis(s.publish.quantile(0.5))), "-", "3200 ms")
	line("publish, cold, p99", fmt.Sprintf("%.1f ms", millis(s.publish.quantile(0.99))), "-", "-")
	line("logins", fmt.Sprint(s.logins), "1", "100")
	line("reads, cold", fmt.Sprint(s.reads), "1", "100")
	line(fmt.Sprintf("logins in %d intervals", vaultIntervals), fmt.Sprint(s.loginsLater), "0", "-")
	line(fmt.Sprintf("reads in %d intervals", vaultIntervals), fmt.Sprint(s.readsLater), fmt.Sprint(vaultIntervals), fmt.Sprint(vaultIntervals*vaultPods))
	line("resident memory of the provider, idle", fmt.Sprintf("%.1f MB", mega(s.idle)), "-", "-")
	line(fmt.Sprintf("resident memory of the provider, %d pods", vaultPods), fmt.Sprintf("%.1f MB", mega(s.hundred)), "-", "44 MB")
	line(fmt.Sprintf("resident memory of the provider, %d pods", manyVaultPods), fmt.Sprintf("%.1f MB", mega(s.large)), "45 MB", "-")
	fmt.Fprintf(&t, "\n%d pods with PostgreSQL accounts, default_ttl 20 s, max_ttl 60 s, for %s; each pod logs in every %s.\n\n", leasedPods, leasedTime, loginEvery)
	fmt.Fprintf(&t, "| what | count |\n|---|---:|\n")
	for _, c := range []struct {
		what  string
		count any
	}{
		{"logins to Vault", l.logins},
		{"leases created", l.created},
		{"leases renewed (refused)", fmt.Sprintf("%d (%d)", l.renewed, l.failedRenewals)},
		{"leases revoked (refused)", fmt.Sprintf("%d (%d)", l.revoked, l.failedRevokes)},
		{"logins to PostgreSQL", l.tries},
		{"of which failed (aim 0)", l.failures},
		{fmt.Sprintf("leases left %s after the pods were gone (aim 0 after %s)", l.gone.Round(100*time.Millisecond), goneWithin), l.left},
	} {
		fmt.Fprintf(&t, "| %s | %v |\n", c.what, c.count)
	}
	return t.String()
}

func (r row) text(value float64) string {
	if value == 0 {
		return "-"
	}
	return fmt.Sprintf(r.form, value)
}

// ratio is above 1 where the figure here is the better one.
func (r row) ratio(value float64) string {
	switch {
	case value == 0 || r.here == 0:
		return "-"
	case r.lower:
		return fmt.Sprintf("%.2f x", value/r.here)
	}
	return fmt.Sprintf("%.2f x", r.here/value)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mega(kib int) float64 { return float64(kib) * 1024 / 1e6 }

// machine says in general terms where this ran.
func machine() string {
	var name unix.Utsname
	release := "unknown"
	if unix.Uname(&name) == nil {
		release, _, _ = strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	}
	memory := ""
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int
		if _, err := fmt.Sscanf(string(info), "MemTotal: %d kB", &kib); err == nil {
			memory = fmt.Sprintf(", %d GiB of memory", (kib+1<<19)>>20)
		}
	}
	return fmt.Sprintf("%d cores (%s)%s, Linux %s, client, driver, provider and API server on the same machine",
		runtime.NumCPU(), runtime.GOARCH, memory, release)
}
