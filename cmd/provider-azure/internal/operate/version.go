package operate

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/strongroom/strongroom/provider"
)

// PrintVersion writes what scripts read from the existing provider. Of the build Go
// knows the time of the commit.
func PrintVersion(w io.Writer) error {
	build := struct {
		Version   string `json:"version"`
		BuildDate string `json:"buildDate"`
	}{Version: provider.BuildVersion()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				build.BuildDate = s.Value
			}
		}
	}
	text, err := json.Marshal(build)
	if err != nil {
		return fmt.Errorf("encode the version: %w", err)
	}
	_, err = fmt.Fprintln(w, string(text))
	return err
}
