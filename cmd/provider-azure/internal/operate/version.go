package operate

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/strongroom/strongroom/provider"
)

// PrintVersion writes what scripts read from the existing provider. The date
// is that of the commit.
func PrintVersion(w io.Writer) error {
	build := struct {
		Version   string `json:"version"`
		BuildDate string `json:"buildDate"`
	}{Version: provider.BuildVersion(), BuildDate: provider.BuildSetting("vcs.time")}
	text, err := json.Marshal(build)
	if err != nil {
		return fmt.Errorf("encode the version: %w", err)
	}
	_, err = fmt.Fprintln(w, string(text))
	return err
}
