package testimony

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Report is what one observer has seen so far.
type Report struct {
	Pod         string    `json:"pod"` // NAMESPACE/NAME
	UID         string    `json:"uid"`
	Written     time.Time `json:"written"`
	Reads       int       `json:"reads"`       // of the whole volume
	Generation  int64     `json:"generation"`  // that was seen last
	Generations int       `json:"generations"` // that differ
	// Behind is how long ago the generation ended that is in the volume, if it has, and
	// Longest the most that was seen.
	Behind     time.Duration `json:"behind"`
	Longest    time.Duration `json:"longest"`
	Violations []string      `json:"violations,omitempty"`
}

// Write replaces the file of the report's pod in dir.
func (r *Report) Write(dir string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, r.UID+".json")
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return os.Rename(path+".new", path)
}

// Resume makes r what was reported about its pod before; without a report it stays.
func (r *Report) Resume(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, r.UID+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, r)
	}
	if err != nil {
		return fmt.Errorf("read what was reported before: %w", err)
	}
	return nil
}

// Read returns the reports in a folder by the UIDs of the pods. A folder that does not
// exist has none.
func Read(dir string) (map[string]Report, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	all := map[string]Report{}
	var errs []error
	for _, path := range paths {
		var r Report
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read the report %s: %w", path, err))
			continue
		}
		all[r.UID] = r
	}
	return all, errors.Join(errs...)
}
