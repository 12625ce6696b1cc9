package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/provider"
)

// Print writes a result as the user wants it: value as JSON or YAML, or what table writes.
func (e *Env) Print(value any, table func(io.Writer) error) error {
	switch e.output {
	case "table":
		return table(e.Out)
	case "yaml":
		data, err := yaml.Marshal(value)
		if err != nil {
			return fmt.Errorf("write the result as YAML: %w", err)
		}
		_, err = e.Out.Write(data)
		return err
	default:
		enc := json.NewEncoder(e.Out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(value)
	}
}

// Table writes rows below a header, in columns. Without a header there is none.
func Table(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(header) > 0 {
		fmt.Fprintln(tw, strings.ToUpper(strings.Join(header, "\t")))
	}
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// Build is what the binary was made from.
type Build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// ReadBuild reads what Go and the linker wrote into the binary.
func ReadBuild() Build {
	return Build{
		Version: provider.BuildVersion(), Commit: provider.BuildSetting("vcs.revision"), Date: provider.BuildSetting("vcs.time"),
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// Text is the version on one line.
func (b Build) Text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "strongroomctl %s (commit %s, %s, %s)\n", b.Version, orNone(b.Commit), b.Go, b.Platform)
	return err
}

func orNone(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
