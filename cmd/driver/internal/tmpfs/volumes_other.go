//go:build !linux

package tmpfs

import (
	"errors"
	"io/fs"
	"log/slog"

	"github.com/strongroom/strongroom/pkg/rotation"
)

var errUnsupported = errors.New("volumes need Linux")

// Volumes is not supported on this operating system.
type Volumes struct{}

var _ rotation.Files = (*Volumes)(nil)

// New returns Volumes that refuse every call.
func New(*slog.Logger) *Volumes { return &Volumes{} }

// Look implements [rotation.Files].
func (*Volumes) Look(string) (rotation.State, error) { return rotation.Absent, errUnsupported }

// Replace implements [rotation.Files].
func (*Volumes) Replace(string, rotation.Generation) (bool, error) { return false, errUnsupported }

// Remove implements [rotation.Files].
func (*Volumes) Remove(string) error { return errUnsupported }

func sameGroup(fs.FileInfo, int) bool { return true }
