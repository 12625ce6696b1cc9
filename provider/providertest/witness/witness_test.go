package witness

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

const period = 5 * time.Second

func files(at time.Duration, pod string) map[string][]byte {
	return Files(At(time.Unix(1_000_000_000, 0).Add(at), period, "shop/"+pod, "u-"+pod), []string{"b", "a", "c"})
}

func TestWhole(t *testing.T) {
	t.Parallel()
	c, err := Check(files(7*time.Second, "web"))
	want := Claim{Pod: "shop/web", UID: "u-web", Generation: 200_000_001, Period: period}
	if err != nil || c != want {
		t.Errorf("%+v, %v, want %+v", c, err, want)
	}
	if began := c.Began(); !began.Equal(time.Unix(1_000_000_005, 0)) {
		t.Errorf("began at %s", began)
	}
	if !maps.EqualFunc(files(0, "web"), files(period-1, "web"), bytes.Equal) {
		t.Error("content changes within a generation")
	}
}

// Whatever is not one generation as it was made is found.
func TestNotWhole(t *testing.T) {
	t.Parallel()
	next, other := files(period, "web"), files(0, "api")
	for what, c := range map[string]struct {
		change func(f map[string][]byte)
		want   string
	}{
		"no file":          {func(f map[string][]byte) { clear(f) }, "there are no files"},
		"a file missing":   {func(f map[string][]byte) { delete(f, "b") }, "and it has"},
		"one file more":    {func(f map[string][]byte) { f["d"] = f["a"] }, "and it has"},
		"empty":            {func(f map[string][]byte) { f["a"] = nil }, "has no first line"},
		"header cut short": {func(f map[string][]byte) { f["a"] = f["a"][:20] }, "has no first line"},
		"a byte less":      {func(f map[string][]byte) { f["a"] = f["a"][:len(f["a"])-1] }, "not what its sum says"},
		"a byte changed":   {func(f map[string][]byte) { f["c"][len(f["c"])-1]++ }, "not what its sum says"},
		"files swapped":    {func(f map[string][]byte) { f["a"], f["b"] = f["b"], f["a"] }, "not what its sum says"},
		"zeroes":           {func(f map[string][]byte) { clear(f["a"]) }, "has no first line"},
		"two generations":  {func(f map[string][]byte) { f["b"] = next["b"] }, "the others claim"},
		"another pod's":    {func(f map[string][]byte) { f["b"] = other["b"] }, "the others claim"},
		"something else":   {func(f map[string][]byte) { f["a"] = []byte("secret\n") }, "no claim"},
		"no generation":    {func(f map[string][]byte) { clear(f); f["a"] = []byte("{}\n") }, "is none"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := map[string][]byte{}
			for name, content := range files(0, "web") {
				f[name] = slices.Clone(content)
			}
			c.change(f)
			if _, err := Check(f); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
