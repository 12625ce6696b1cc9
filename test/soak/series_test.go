package main

import (
	"strings"
	"testing"
	"time"
)

// grows samples a figure for half an hour.
func grows(what string, value func(at time.Duration) float64) []series {
	var all []series
	for at := time.Duration(0); at <= 30*time.Minute; at += every {
		all = add(all, at, figures{what: value(at)})
	}
	return all
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		what  string
		value func(at time.Duration) float64
		want  string
	}{
		"flat":              {"goroutines of the driver, node-1", func(time.Duration) float64 { return 40 }, ""},
		"warms up":          {"goroutines of the driver, node-1", func(at time.Duration) float64 { return min(100, 20*at.Minutes()) }, ""},
		"goes up and down":  {"descriptors of the driver, node-1", func(at time.Duration) float64 { return 30 + float64(int(at.Seconds())%40) }, ""},
		"leaks goroutines":  {"goroutines of the driver, node-1", func(at time.Duration) float64 { return 40 + 2*at.Minutes() }, "goroutines of the driver, node-1 grew"},
		"leaks descriptors": {"descriptors of the driver, node-1", func(at time.Duration) float64 { return 40 + 2*at.Minutes() }, "descriptors of the driver, node-1 grew"},
		"leaks memory":      {"resident MB of the driver, node-1", func(at time.Duration) float64 { return 20 + at.Minutes() }, "resident MB of the driver, node-1 grew"},
		"leaks mounts":      {mounts + ", node-1", func(at time.Duration) float64 { return 40 + 2*at.Minutes() }, mounts + ", node-1 grew"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := judge(grows(c.what, c.value), 20)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if !strings.Contains(text, c.what) {
				t.Errorf("the table has no %q:\n%s", c.what, text)
			}
		})
	}
}

// In a short run memory still rises; goroutines do not, unless they leak.
func TestJudgeEarly(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ perMinute, tooMuch float64 }{
		"resident MB of the driver, node-1": {30, 40},
		"goroutines of the driver, node-1":  {10, 40},
	} {
		for slope, grew := range map[float64]bool{c.perMinute: false, c.tooMuch: true} {
			var all []series
			for at := time.Duration(0); at <= time.Minute; at += 1500 * time.Millisecond {
				all = add(all, at, figures{what: 20 + slope*at.Minutes()})
			}
			if _, err := judge(all, 20); (err != nil) != grew {
				t.Errorf("%s, %v a minute: %v", what, slope, err)
			}
		}
	}
}

func TestTooLittleIsNoResult(t *testing.T) {
	t.Parallel()
	if _, err := judge(nil, 20); err == nil {
		t.Error("nothing is a result")
	}
	if _, err := judge(add(nil, 0, figures{mounts: 1}), 20); err == nil {
		t.Error("one sample is a result")
	}
}

func TestSlope(t *testing.T) {
	t.Parallel()
	s := grows("x", func(at time.Duration) float64 { return 7 + 3*at.Hours() })[0]
	if got := s.slope(); got < 2.999 || got > 3.001 {
		t.Errorf("%f, want 3", got)
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	before := figures{mounts + ", node-1": 3, "goroutines of the driver, node-1": 30}
	if err := (figures{mounts + ", node-1": 3, "goroutines of the driver, node-1": 50}).within(before); err != nil {
		t.Error(err)
	}
	for want, after := range map[string]figures{
		mounts + ", node-1: 4":                 {mounts + ", node-1": 4, "goroutines of the driver, node-1": 30},
		"goroutines of the driver, node-1: 51": {mounts + ", node-1": 3, "goroutines of the driver, node-1": 51},
		"nobody tells":                         {mounts + ", node-1": 3},
	} {
		if err := after.within(before); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	v := parse("# HELP go_goroutines x\n# TYPE go_goroutines gauge\ngo_goroutines 12\nprocess_resident_memory_bytes 2.5e+07\nlabelled{a=\"b\"} 3\n")
	if v["go_goroutines"] != 12 || v["process_resident_memory_bytes"] != 2.5e7 {
		t.Errorf("%v", v)
	}
}
