package stand

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/strongroom/strongroom/provider"
	"golang.org/x/sys/unix"
)

// Notes are what a volume remembers, as far as a test needs to know it.
type Notes struct {
	Versions []provider.Version `json:"versions"`
	// Recorded says that the cluster knows of these versions.
	Recorded bool `json:"recorded"`
}

const maxMemory = 1 << 16 // the kernel's limit for an attribute

// Remembers returns what the volume remembers; nil if there is none.
func (v Volume) Remembers() (*Notes, error) {
	text := make([]byte, maxMemory)
	n, err := unix.Getxattr(filepath.Join(v.Target(), "..data"), "trusted.strongroom", text)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODATA) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what volume %s remembers: %w", v.ID(), err)
	}
	m := &Notes{}
	if err := json.Unmarshal(text[:n], m); err != nil {
		return nil, fmt.Errorf("parse what volume %s remembers: %w", v.ID(), err)
	}
	return m, nil
}
