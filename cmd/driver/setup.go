package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/strongroom/strongroom/pkg/csi"
	"github.com/strongroom/strongroom/provider"
)

// makeSocketDir makes the directories of provider sockets. With a group they are
// for root and that group, so that providers need not run as root.
func makeSocketDir(dirs []string, gid int) error {
	for _, dir := range dirs {
		err := os.MkdirAll(dir, 0o755) //nolint:gosec // sockets in it have modes of their own
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrExist) {
			continue // a directory that this driver is not given is only searched
		}
		if err != nil {
			return fmt.Errorf("make provider directory: %w", err)
		}
		if gid < 0 {
			continue
		}
		if err := os.Chown(dir, 0, gid); err != nil {
			return fmt.Errorf("give provider directory to group %d: %w", gid, err)
		}
		if err := os.Chmod(dir, 0o770); err != nil { //nolint:gosec // the group makes sockets in it
			return fmt.Errorf("open provider directory to group %d: %w", gid, err)
		}
	}
	return nil
}

// stagingDir is a directory of the driver's own, beside its socket.
func stagingDir(endpoint string) string {
	network, address, err := csi.ParseEndpoint(endpoint)
	if err != nil || network != "unix" {
		return filepath.Join(os.TempDir(), "strongroom-staging")
	}
	return filepath.Join(filepath.Dir(address), "staging")
}

func userAgent() string {
	return "strongroom-driver/" + provider.BuildVersion() + " (" + runtime.GOOS + "/" + runtime.GOARCH + ")"
}

func printVersion(w io.Writer) {
	_ = json.NewEncoder(w).Encode(map[string]string{ //nolint:errchkjson // strings only
		"BuildVersion": provider.BuildVersion(), "GitCommit": provider.BuildSetting("vcs.revision"), "BuildDate": provider.BuildSetting("vcs.time"),
	})
}
