package tmpfs

import (
	"errors"
	"log/slog"
)

// Config configures Volumes.
type Config struct {
	// Driver is the name of the CSI driver; volumes of others are left alone.
	Driver string
	// Pods is kubelet's directory of pods, where Scan looks for volumes.
	Pods string
	// Staging is a directory of the driver's own, for where the kernel or a security
	// policy refuses detached mounts.
	Staging string
	// MaxVolume and MaxNode bound the content of one volume and of all, in bytes; 0 is
	// no bound.
	MaxVolume, MaxNode int64
	Log                *slog.Logger
}

func (c *Config) check() error {
	switch {
	case c.Driver == "", c.Pods == "", c.Staging == "":
		return errors.New("driver name, directory of pods and staging directory are required")
	case c.MaxVolume < 0, c.MaxNode < 0:
		return errors.New("limits of bytes must not be negative")
	case c.Log == nil:
		return errors.New("log is required")
	}
	return nil
}
