package azure

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/azuretest/cloudtest"
	"github.com/strongroom/strongroom/provider"
)

// versionID is the id of the n-th version, of which the order says nothing of its age.
func versionID(n int) string { return fmt.Sprintf("%032x", (n*7919)%65536+1) }

// putVersions adds versions 1 to n, each a second younger than the one before.
func (g *ground) putVersions(t *testing.T, n int, change func(n int, v *cloud.Version)) {
	t.Helper()
	for i := 1; i <= n; i++ {
		v := cloud.Version{ID: versionID(i), Created: int64(1_700_000_000 + i), Content: cloud.Secret(fmt.Sprint("v", i), "")}
		if change != nil {
			change(i, &v)
		}
		if _, err := g.Put(cloud.Place{Vault: "shop", Kind: cloud.Secrets, Name: "db"}, v); err != nil {
			t.Fatal(err)
		}
	}
}

type historyCase struct {
	versions int
	change   func(n int, v *cloud.Version)
	fields   string // of the object, beside its name
	page     int
	want     []int // versions, by index; of db itself if it is one that is negative
	kind     provider.Kind
	says     string
}

func historyCases() map[string]historyCase {
	disabled := func(which ...int) func(int, *cloud.Version) {
		return func(n int, v *cloud.Version) { v.Disabled = slices.Contains(which, n) }
	}
	return map[string]historyCase{
		"none":                    {versions: 4, fields: "", want: []int{-4}},
		"0":                       {versions: 4, fields: "objectVersionHistory: 0", want: []int{-4}},
		"1":                       {versions: 4, fields: "objectVersionHistory: 1", want: []int{-4}},
		"below zero":              {versions: 4, fields: "objectVersionHistory: -2", want: []int{-4}},
		"2 of 1":                  {versions: 1, fields: "objectVersionHistory: 2", want: []int{1}},
		"2 of 2":                  {versions: 2, fields: "objectVersionHistory: 2", want: []int{2, 1}},
		"3 of 2":                  {versions: 2, fields: "objectVersionHistory: 3", want: []int{2, 1}},
		"3 of 4":                  {versions: 4, fields: "objectVersionHistory: 3", want: []int{4, 3, 2}},
		"3 of 9":                  {versions: 9, fields: "objectVersionHistory: 3", want: []int{9, 8, 7}},
		"from latest":             {versions: 4, fields: "objectVersionHistory: 2, objectVersion: latest", want: []int{4, 3}},
		"from a pinned one":       {versions: 5, fields: "objectVersionHistory: 2, objectVersion: '" + versionID(3) + "'", want: []int{3, 2}},
		"from the oldest":         {versions: 5, fields: "objectVersionHistory: 3, objectVersion: '" + versionID(1) + "'", want: []int{1}},
		"from an unknown one":     {versions: 2, fields: "objectVersionHistory: 2, objectVersion: '" + versionID(99) + "'", kind: provider.NotFound, says: "no such version"},
		"from one that is off":    {versions: 3, change: disabled(2), fields: "objectVersionHistory: 2, objectVersion: '" + versionID(2) + "'", kind: provider.NotFound, says: "no such version"},
		"off in between":          {versions: 5, change: disabled(4, 2), fields: "objectVersionHistory: 3", want: []int{5, 3, 1}},
		"the latest is off":       {versions: 3, change: disabled(3), fields: "objectVersionHistory: 2", want: []int{2, 1}},
		"all are off":             {versions: 2, change: disabled(1, 2), fields: "objectVersionHistory: 2", kind: provider.NotFound, says: "no such version"},
		"no object":               {versions: 0, fields: "objectVersionHistory: 2", kind: provider.NotFound, says: "no such version"},
		"pages of one":            {versions: 6, page: 1, fields: "objectVersionHistory: 3", want: []int{6, 5, 4}},
		"pages":                   {versions: 60, fields: "objectVersionHistory: 4", want: []int{60, 59, 58, 57}},
		"a version alone":         {versions: 3, fields: "objectVersion: '" + versionID(2) + "'", want: []int{-2}},
		"latest alone":            {versions: 3, fields: "objectVersion: latest", want: []int{-3}},
		"without a time":          {versions: 3, change: func(n int, v *cloud.Version) { timeless(n == 3, v) }, fields: "objectVersionHistory: 3", want: []int{2, 1, 3}},
		"without attributes":      {versions: 3, change: func(n int, v *cloud.Version) { bare(n == 2, v) }, fields: "objectVersionHistory: 3", want: []int{3, 1}},
		"not valid yet, and over": {versions: 3, change: func(n int, v *cloud.Version) { v.NotBefore, v.Expires = 4_000_000_000, 1 }, fields: "objectVersionHistory: 2", want: []int{3, 2}},
	}
}

// timeless takes the time of creation from a version, bare all attributes.
func timeless(yes bool, v *cloud.Version) {
	if yes {
		v.Content["attributes"] = map[string]any{"enabled": true}
	}
}

func bare(yes bool, v *cloud.Version) {
	if yes {
		v.Content["attributes"] = nil
	}
}

// TestHistory: N versions are N files, from the one named on. (azure-contract 5.24-5.32, 17.15)
func TestHistory(t *testing.T) {
	t.Parallel()
	for name, tt := range historyCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGround(t)
			g.putVersions(t, tt.versions, tt.change)
			if err := g.Change(func(s *cloud.State) error {
				s.Vaults[0].PageSize = tt.page
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			objects := `array: ["{objectName: db, objectType: secret, objectAlias: a/b, ` + tt.fields + `}"]`
			resp, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf("u1"), objects)))
			if tt.says != "" {
				if provider.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "failed to get objectType:secret, objectName:db,") {
					t.Errorf("kind %v: %v", provider.KindOf(err), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.response(), resp); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
}

func (c *historyCase) response() *provider.Response {
	resp := &provider.Response{}
	for i, n := range c.want {
		index := fmt.Sprint("/", i)
		if n < 0 {
			n, index = -n, ""
		}
		resp.Files = append(resp.Files, provider.File{Path: "a/b" + index, Mode: 0o644, Contents: []byte(fmt.Sprint("v", n))})
		resp.Versions = append(resp.Versions, provider.Version{ID: "secret/db" + index, Version: versionID(n)})
	}
	return resp
}

// TestHistoryOfOneTime: versions of one second are always in the same order.
func TestHistoryOfOneTime(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.putVersions(t, 20, func(_ int, v *cloud.Version) { v.Created = 1_700_000_000 })
	var before map[string]string
	for i := range 5 {
		got := g.must(t, g.asPrincipal(ask(podOf(fmt.Sprint(i)), `array: ["{objectName: db, objectType: secret, objectVersionHistory: 10}"]`)))
		if before != nil && !maps.Equal(before, got) || len(got) != 10 {
			t.Errorf("%v, and before %v", got, before)
		}
		before = got
	}
}

// TestManyHistories: lists are read together as objects are, each once.
func TestManyHistories(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		const objects = 2 * maxParallel
		var items []string
		for i := range objects {
			name := fmt.Sprint("db", i)
			g.put(t, name, "v1")
			for _, alias := range []string{"a", "b"} {
				items = append(items, fmt.Sprintf("%q", fmt.Sprintf("{objectName: %s, objectType: secret, objectVersionHistory: 2, objectAlias: %s%d}", name, alias, i)))
			}
		}
		g.AddFault(cloud.Fault{Where: "vault", Millis: 1000})
		begin := time.Now()
		got := g.must(t, g.asPrincipal(ask(podOf("u1"), "array: ["+strings.Join(items, ", ")+"]")))
		if took := time.Since(begin); took > objects/2*time.Second {
			t.Errorf("took %v: one after the other", took)
		}
		if n := g.Counters().Count(cloud.Read{Op: "list"}); n != objects || len(got) != 2*objects {
			t.Errorf("%d lists and %d files of %d objects, each there twice", n, len(got), objects)
		}
	})
}

// TestHistoryNeedsList: the right to list is another one, and only a history needs it.
func TestHistoryNeedsList(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.putVersions(t, 3, nil)
	if err := g.Change(func(s *cloud.State) error {
		s.Vaults[0].Access[principal] = cloud.Access{cloud.Secrets: {"get"}}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := g.must(t, g.asPrincipal(ask(podOf("u1"), oneSecret))); got["db"] != "v3" {
		t.Errorf("%v", got)
	}
	_, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf("u2"), `array: ["{objectName: db, objectType: secret, objectVersionHistory: 2}"]`)))
	for _, want := range []string{"objectName:db", principal, "ForbiddenByPolicy", "list", "vault shop"} {
		if provider.KindOf(err) != provider.Denied || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %v", want, err)
		}
	}
	if n := g.Counters().Count(cloud.Read{Op: "list"}); n != 1 {
		t.Errorf("%d lists", n)
	}
}

// TestHistoryAtPort443: Azure names the port in the address of a next page, also if it
// is the usual one.
func TestHistoryAtPort443(t *testing.T) {
	t.Parallel()
	g := groundOf(t, func(tb testing.TB, c cloud.Config) *cloudtest.Running {
		tb.Helper()
		c.Port = 443
		return cloudtest.Start(tb, c)
	})
	g.putVersions(t, 60, nil)
	got := g.must(t, g.asPrincipal(ask(podOf("u1"), `array: ["{objectName: db, objectType: secret, objectVersionHistory: 2}"]`)))
	if got["db/0"] != "v60" || got["db/1"] != "v59" {
		t.Errorf("%v", got)
	}
}

// TestPagesAreTriedAgain: of a list a page that is refused is asked for again, four times
// in all, and not what was read before it.
func TestPagesAreTriedAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		times, requests int
		kind            provider.Kind
	}{
		"once":     {times: 1, requests: 3 + 1},
		"thrice":   {times: 3, requests: 3 + 3},
		"for ever": {requests: 1 + maxTries, kind: provider.Throttled},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newBubble(t)
			g.putVersions(t, 9, nil)
			if err := g.Change(func(s *cloud.State) error {
				s.Vaults[0].PageSize = 4
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			g.must(t, g.asPrincipal(ask(podOf("first"), oneSecret)))
			g.ClearCounters()
			g.AddFault(cloud.Fault{Where: "vault", Status: 429, RetryAfter: "1", Skip: 1, Times: tt.times})
			history := `array: ["{objectName: db, objectType: secret, objectVersionHistory: 3}"]`
			_, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf("u1"), history)))
			if n := g.Counters().Count(cloud.Read{Op: "list"}); provider.KindOf(err) != tt.kind || n != tt.requests {
				t.Errorf("%s: %d requests, want %d; kind %v: %v", name, n, tt.requests, provider.KindOf(err), err)
			}
		})
	}
}
