package provider

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestBuildOf(t *testing.T) {
	t.Parallel()
	here := build{GoVersion: runtime.Version(), Compiler: "gc", Platform: runtime.GOOS + "/" + runtime.GOARCH, MinDriver: "v0.0.21"}
	for name, tc := range map[string]struct {
		version, modified string
		want              func(*build)
	}{
		"release":   {"v1.12.3", "false", func(b *build) { b.Major, b.Minor, b.Patch, b.GitTreeState = "1", "12", "3", "clean" }},
		"candidate": {"v2.0.0-rc.1", "true", func(b *build) { b.Major, b.Minor, b.Patch, b.GitTreeState = "2", "0", "0", "dirty" }},
		"checkout":  {"(devel)", "", func(*build) {}},
	} {
		info := &debug.BuildInfo{
			Main: debug.Module{Version: tc.version},
			Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: tc.modified},
			},
		}
		want := here
		want.GitVersion, want.GitCommit, want.BuildDate = tc.version, "abc", "2026-01-02T03:04:05Z"
		tc.want(&want)
		if diff := cmp.Diff(want, buildOf(info)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	here.GitVersion = "(devel)"
	if diff := cmp.Diff(here, buildOf(nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLinked(t *testing.T) {
	t.Parallel()
	info := &debug.BuildInfo{
		Main:     debug.Module{Path: "example.com/x", Version: "(devel)"},
		Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "vcs.revision", Value: "old"}, {Key: "vcs.modified", Value: "true"}},
	}
	for name, tc := range map[string]struct {
		version, commit, date string
		want                  build
	}{
		"nothing": {"", "abc", "", build{GitVersion: "(devel)", GitCommit: "old", GitTreeState: "dirty"}},
		"all": {"v1.2.3", "abc", "2026-01-02T03:04:05Z", build{
			Major: "1", Minor: "2", Patch: "3", GitVersion: "v1.2.3", GitCommit: "abc", GitTreeState: "clean", BuildDate: "2026-01-02T03:04:05Z",
		}},
		"dirty":   {"v1.2.3-4-gabc-dirty", "abc", "", build{Major: "1", Minor: "2", Patch: "3", GitVersion: "v1.2.3-4-gabc-dirty", GitCommit: "abc", GitTreeState: "dirty"}},
		"tarball": {"v1.2.3", "", "", build{Major: "1", Minor: "2", Patch: "3", GitVersion: "v1.2.3"}},
	} {
		got := buildOf(linked(info, tc.version, tc.commit, tc.date))
		got.GoVersion, got.Compiler, got.Platform, got.MinDriver = "", "", "", ""
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(info.Settings) != 3 || info.Settings[1].Value != "old" {
		t.Errorf("what Go wrote was changed: %v", info.Settings)
	}
	if got := linked(nil, "v1", "", ""); version(got) != "v1" {
		t.Errorf("without build information: %q", version(got))
	}
}

func TestPrintVersion(t *testing.T) {
	t.Parallel()
	want := build{Major: "1", GitVersion: "v1.0.0-\"odd\": {}", Platform: "linux/amd64", MinDriver: "v0.0.21"}
	for format, read := range map[string]func([]byte, any) error{
		"json": json.Unmarshal, "json-pretty": json.Unmarshal, "yaml": func(text []byte, out any) error { return yaml.UnmarshalStrict(text, out) },
	} {
		var out strings.Builder
		var got build
		if err := want.print(&out, format); err != nil {
			t.Fatal(err)
		}
		if err := read([]byte(out.String()), &got); err != nil || got != want {
			t.Errorf("%s: %v: %s", format, err, out.String())
		}
		if lines := strings.Count(out.String(), "\n"); lines != map[string]int{"json": 1, "json-pretty": 13, "yaml": 11}[format] {
			t.Errorf("%s has %d lines: %s", format, lines, out.String())
		}
	}
	if err := want.print(&strings.Builder{}, "xml"); err == nil || !strings.Contains(err.Error(), `"xml": want json, json-pretty or yaml`) {
		t.Error(err)
	}
}
