package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// minDriver is the first driver that writes files by itself.
const minDriver = "v0.0.21"

// build is what -version prints.
type build struct {
	Major        string `json:"major"`
	Minor        string `json:"minor"`
	Patch        string `json:"patch"`
	GitVersion   string `json:"gitVersion"`
	GitCommit    string `json:"gitCommit"`
	GitTreeState string `json:"gitTreeState"`
	BuildDate    string `json:"buildDate"`
	GoVersion    string `json:"goVersion"`
	Compiler     string `json:"compiler"`
	Platform     string `json:"platform"`
	MinDriver    string `json:"minDriverVersion"`
}

// What the linker is told with -X, as make does: the version, the commit and its time.
// They are empty otherwise.
//
//nolint:gochecknoglobals // the linker writes into variables only
var linkedVersion, linkedCommit, linkedDate string

// BuildInfo is what Go wrote into the binary, as [debug.ReadBuildInfo] has it. Where
// the linker was told a version, commit or time, these take the place of Go's: of
// Main.Version and of the settings vcs.revision, vcs.time and vcs.modified.
func BuildInfo() *debug.BuildInfo {
	info, _ := debug.ReadBuildInfo()
	return linked(info, linkedVersion, linkedCommit, linkedDate)
}

func linked(info *debug.BuildInfo, version, commit, date string) *debug.BuildInfo {
	out := &debug.BuildInfo{}
	if info != nil {
		*out = *info
	}
	if version == "" {
		return out
	}
	out.Main.Version = version
	out.Settings = slices.DeleteFunc(slices.Clone(out.Settings), func(s debug.BuildSetting) bool {
		return strings.HasPrefix(s.Key, "vcs.")
	})
	add := func(key, value string) {
		out.Settings = append(out.Settings, debug.BuildSetting{Key: key, Value: value})
	}
	if commit != "" {
		add("vcs.revision", commit)
		add("vcs.modified", strconv.FormatBool(strings.HasSuffix(version, "-dirty")))
	}
	if date != "" {
		add("vcs.time", date)
	}
	return out
}

// BuildVersion is the version that the binary was built as: that of its main module,
// unless the linker was told another.
func BuildVersion() string { return version(BuildInfo()) }

// BuildCollector is the metric strongroom_build_info, always 1, whose labels tell the build.
func BuildCollector() prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "strongroom_build_info", Help: "Always 1; the labels say what this program was built from.",
	}, []string{"version", "commit", "goversion"})
	info.WithLabelValues(BuildVersion(), BuildSetting("vcs.revision"), runtime.Version()).Set(1)
	return info
}

// BuildSetting is one of the settings of [BuildInfo], vcs.revision for instance, or empty.
func BuildSetting(key string) string {
	for _, s := range BuildInfo().Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func version(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

var numbers = regexp.MustCompile(`^v(\d+)\.(\d+)\.(\d+)`)

// buildOf reads what Go wrote into the binary; of the time it knows that of the
// commit. What it does not know is empty.
func buildOf(info *debug.BuildInfo) build {
	b := build{
		GitVersion: version(info), GoVersion: runtime.Version(), Compiler: runtime.Compiler,
		Platform: runtime.GOOS + "/" + runtime.GOARCH, MinDriver: minDriver,
	}
	if parts := numbers.FindStringSubmatch(b.GitVersion); parts != nil {
		b.Major, b.Minor, b.Patch = parts[1], parts[2], parts[3]
	}
	if info == nil {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.GitCommit = s.Value
		case "vcs.time":
			b.BuildDate = s.Value
		case "vcs.modified":
			b.GitTreeState = map[string]string{"true": "dirty", "false": "clean"}[s.Value]
		}
	}
	return b
}

// yaml writes the same, a line for each member: a quoted string is one of YAML too.
func (b build) yaml() string {
	var lines []string
	for field, value := range reflect.ValueOf(b).Fields() {
		lines = append(lines, fmt.Sprintf("%s: %q", field.Tag.Get("json"), value.String()))
	}
	return strings.Join(lines, "\n")
}

// print writes a build as json, json-pretty or yaml.
func (b build) print(w io.Writer, format string) error {
	text, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode the version: %w", err)
	}
	var out bytes.Buffer
	switch format {
	case "json":
		out.Write(text)
	case "json-pretty":
		err = json.Indent(&out, text, "", "  ")
	case "yaml":
		out.WriteString(b.yaml())
	default:
		return fmt.Errorf("output %q: want json, json-pretty or yaml", format)
	}
	if err != nil {
		return fmt.Errorf("encode the version: %w", err)
	}
	_, err = fmt.Fprintln(w, out.String())
	return err
}
