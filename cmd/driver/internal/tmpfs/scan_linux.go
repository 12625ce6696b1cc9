package tmpfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// Scan finds the volumes of this driver that are mounted, by the notes that kubelet
// keeps of each CSI volume. What cannot be read is skipped and told in the error.
// It also clears what a killed process left half made.
func (v *Volumes) Scan() ([]rotation.Found, error) {
	errs := []error{clearStaging(v.cfg.Staging)}
	notes, err := filepath.Glob(filepath.Join(v.cfg.Pods, "*", "volumes", "kubernetes.io~csi", "*", "vol_data.json"))
	errs = append(errs, err)
	var all []rotation.Found
	for _, note := range notes {
		ours, err := v.isOurs(note)
		if err != nil || !ours {
			errs = append(errs, err)
			continue
		}
		found, err := v.Look(filepath.Join(filepath.Dir(note), "mount"))
		if err != nil || found.State == rotation.Absent {
			errs = append(errs, err)
			continue
		}
		all = append(all, found)
		errs = append(errs, v.count(found.Target))
	}
	return all, errors.Join(errs...)
}

func (v *Volumes) isOurs(note string) (bool, error) {
	text, err := os.ReadFile(note)
	if err != nil {
		return false, fmt.Errorf("read kubelet's note of a volume: %w", err)
	}
	var data struct {
		Driver string `json:"driverName"`
	}
	if err = json.Unmarshal(text, &data); err != nil {
		return false, fmt.Errorf("read kubelet's note %s: %w", note, err)
	}
	return data.Driver == v.cfg.Driver, nil
}

func (v *Volumes) count(target string) error {
	root, err := openVolume(target)
	if err != nil {
		return err
	}
	defer closeQuietly(root)
	info, err := statfs(root)
	if err != nil {
		return fmt.Errorf("count the bytes of volume %s: %w", target, err)
	}
	v.budget.found(target, int64(info.Blocks-info.Bfree)*info.Bsize) //nolint:gosec // fits
	return nil
}
