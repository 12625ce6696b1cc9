package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// series is one figure over time.
type series struct {
	what   string
	at     []time.Duration
	values []float64
}

// add appends one measurement to all series; what is new begins one.
func add(all []series, at time.Duration, f figures) []series {
	for what, value := range f {
		i := slices.IndexFunc(all, func(s series) bool { return s.what == what })
		if i < 0 {
			i = len(all)
			all = append(all, series{what: what})
		}
		all[i].at, all[i].values = append(all[i].at, at), append(all[i].values, value)
	}
	return all
}

// thirds are the medians of the three parts of a series, after its first fifth, in which
// pods come and caches fill.
func (s series) thirds() [3]float64 {
	_, rest := s.warm()
	var medians [3]float64
	for i := range medians {
		part := slices.Sorted(slices.Values(rest[i*len(rest)/3 : (i+1)*len(rest)/3]))
		medians[i] = part[len(part)/2]
	}
	return medians
}

func (s series) warm() (at []time.Duration, values []float64) {
	skip := len(s.values) / 5
	return s.at[skip:], s.values[skip:]
}

// slope is that of the line of least squares, in units an hour.
func (s series) slope() float64 {
	at, values := s.warm()
	var x, y, xx, xy float64
	for i := range at {
		h := at[i].Hours()
		x, y, xx, xy = x+h, y+values[i], xx+h*h, xy+h*values[i]
	}
	n := float64(len(at))
	if d := n*xx - x*x; d > 0 {
		return (n*xy - x*y) / d
	}
	return 0
}

// bound is how much a series may grow, with so many pods at a time.
func (s series) bound(pods int) float64 {
	switch k := kindOf(s.what); {
	case k.name == mounts:
		return float64(pods)
	case s.at[len(s.at)-1] < early:
		return k.rise
	default:
		return k.growth
	}
}

// fewest samples can be judged.
const fewest = 12

// judge makes a table of all series, and says which grew. Mounts may differ by the
// volumes of all pods: how many are there changes all the time.
func judge(all []series, pods int) (string, error) {
	var t strings.Builder
	var errs []error
	fmt.Fprintf(&t, "\n| what | beginning | middle | end | slope, per hour | growth, at most |\n|---|---:|---:|---:|---:|---:|\n")
	slices.SortFunc(all, func(a, b series) int { return strings.Compare(a.what, b.what) })
	for _, s := range all {
		if len(s.values) < fewest {
			errs = append(errs, fmt.Errorf("%s: %d samples are too few", s.what, len(s.values)))
			continue
		}
		bound := s.bound(pods)
		m := s.thirds()
		fmt.Fprintf(&t, "| %s | %.4g | %.4g | %.4g | %+.1f | %g |\n", s.what, m[0], m[1], m[2], s.slope(), bound)
		if m[2]-m[0] > bound {
			errs = append(errs, fmt.Errorf("%s grew from %.4g to %.4g, by more than %g", s.what, m[0], m[2], bound))
		}
	}
	if len(all) == 0 {
		errs = append(errs, errors.New("nothing was measured"))
	}
	return t.String(), errors.Join(errs...)
}
