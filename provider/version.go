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
	"strings"
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

// BuildVersion is the version of the main module that the binary was built from.
func BuildVersion() string {
	info, _ := debug.ReadBuildInfo()
	return version(info)
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
