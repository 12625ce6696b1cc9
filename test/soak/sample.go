package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// every is the longest time between the begins of two samples, samples are so many that
	// a short run takes.
	every   = 5 * time.Second
	samples = 40
	// early is the end of the time in which memory still rises, since the first pods came.
	early = 5 * time.Minute
)

// program is one whose metrics are read, in all its pods.
type program struct{ name, label, value, port string }

func programs() []program {
	return []program{
		{"driver", "app", "secrets-store-csi-driver", "8095"},
		{"scripted provider", "app", "e2e-provider", "8081"},
		{"provider-vault", "app.kubernetes.io/name", "vault-csi-provider", "8080"},
		{"provider-azure", "app", "csi-secrets-store-provider-azure", "8898"},
	}
}

// kind is something that must not grow, with the metric that tells it.
type kind struct {
	name, metric string
	unit         float64
	growth       float64 // at most, while pods come and go
	rise         float64 // that at most in a run that is over early
	rest         float64 // at most, of what came when pods did and stays
}

func kinds() []kind {
	return []kind{
		{"goroutines", "go_goroutines", 1, 20, 20, 20},
		{"descriptors", "process_open_fds", 1, 15, 15, 15},
		{"resident MB", "process_resident_memory_bytes", 1e6, 10, 20, 25},
	}
}

// mounts has no metric: the kernel tells.
const mounts = "mounts of CSI volumes"

// figures are numbers at one time, by what and where.
type figures map[string]float64

// measure reads everything once.
func (s *soak) measure(ctx context.Context) (figures, error) {
	f := figures{}
	for _, n := range s.nodes {
		volumes, err := n.volumes()
		if err != nil {
			return nil, err
		}
		f[mounts+", "+n.name] = float64(len(volumes))
	}
	for _, p := range programs() {
		var pods corev1.PodList
		if err := s.api.List(ctx, &pods, client.InNamespace("kube-system"), client.MatchingLabels{p.label: p.value}); err != nil {
			return nil, fmt.Errorf("list the pods of %s: %w", p.name, err)
		}
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp != nil {
				continue
			}
			if err := s.read(ctx, f, p, &pod); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// read adds what a pod says about itself.
func (s *soak) read(ctx context.Context, f figures, p program, pod *corev1.Pod) error {
	page, err := s.pages.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, p.port, "metrics", nil).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("read the metrics of %s: %w", pod.Name, err)
	}
	values := parse(string(page))
	for _, k := range kinds() {
		value, ok := values[k.metric]
		if !ok {
			return fmt.Errorf("%s has no metric %s", pod.Name, k.metric)
		}
		f[fmt.Sprintf("%s of the %s, %s", k.name, p.name, pod.Spec.NodeName)] = value / k.unit
	}
	return nil
}

// parse finds the metrics without labels.
func parse(page string) map[string]float64 {
	values := map[string]float64{}
	for line := range strings.Lines(page) {
		if fields := strings.Fields(line); len(fields) == 2 {
			if v, err := strconv.ParseFloat(fields[1], 64); err == nil {
				values[fields[0]] = v
			}
		}
	}
	return values
}

// kindOf is the kind of a figure; mounts have no bounds.
func kindOf(what string) kind {
	for _, k := range kinds() {
		if strings.HasPrefix(what, k.name) {
			return k
		}
	}
	return kind{name: mounts}
}

// within says what is more than it was, by more than its bound.
func (f figures) within(before figures) error {
	var errs []error
	for _, what := range slices.Sorted(maps.Keys(before)) {
		now, ok := f[what]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%s: nobody tells", what))
		case now > before[what]+kindOf(what).rest:
			errs = append(errs, fmt.Errorf("%s: %.4g, was %.4g before any pod", what, now, before[what]))
		}
	}
	return errors.Join(errs...)
}

// comparison is Markdown.
func comparison(before, after figures) string {
	var t strings.Builder
	fmt.Fprintf(&t, "\n| what | before any pod | after the last |\n|---|---:|---:|\n")
	for _, what := range slices.Sorted(maps.Keys(before)) {
		fmt.Fprintf(&t, "| %s | %.4g | %.4g |\n", what, before[what], after[what])
	}
	return t.String()
}

// sample measures until ctx ends, and judges whether anything grew.
func (s *soak) sample(ctx context.Context) error {
	begin := time.Now()
	var all []series
	for ctx.Err() == nil {
		at := time.Now()
		if f, err := s.measure(ctx); err == nil {
			all = add(all, at.Sub(begin), f)
		} else if ctx.Err() == nil {
			s.log.Say("no sample: %v", err) // too few are no result
		}
		wait(ctx, time.Until(at.Add(min(every, s.lasts/samples))))
	}
	text, err := judge(all, s.pods)
	fmt.Print(text)
	return err
}
