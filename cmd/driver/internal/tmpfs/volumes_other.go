//go:build !linux

package tmpfs

import (
	"errors"
	"io/fs"
	"os"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

var errUnsupported = errors.New("volumes need Linux")

// Volumes is not supported on this operating system.
type Volumes struct{}

var _ rotation.Files = (*Volumes)(nil)

// New refuses.
func New(Config) (*Volumes, error) { return nil, errUnsupported }

// Bytes is 0.
func (*Volumes) Bytes() int64 { return 0 }

// Look implements [rotation.Files].
func (*Volumes) Look(string) (rotation.Found, error) { return rotation.Found{}, errUnsupported }

// Replace implements [rotation.Files].
func (*Volumes) Replace(string, rotation.Generation) (bool, error) { return false, errUnsupported }

// Read implements [rotation.Mounts].
func (*Volumes) Read(string) ([]provider.File, error) { return nil, errUnsupported }

// Pinned implements [rotation.Mounts].
func (*Volumes) Pinned(string) bool { return false }

// Remember implements [rotation.Notes].
func (*Volumes) Remember(string, []byte) error { return errUnsupported }

// Remove implements [rotation.Files].
func (*Volumes) Remove(string) error { return errUnsupported }

// Scan implements [rotation.Notes].
func (*Volumes) Scan() ([]rotation.Found, error) { return nil, errUnsupported }

func remember(*os.Root, string, []byte) error { return nil }

func sameGroup(fs.FileInfo, int) bool { return true }
