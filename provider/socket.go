package provider

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// listen makes the provider's socket at path. A stale socket or one of an older
// process is replaced in one step, so that a client finds either the old or the
// new listener. With gid >= 0 the socket is for root and that group, else for root
// (or whoever runs the provider) alone.
func listen(ctx context.Context, path string, gid int) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("listen on %s: a %s is in the way, remove it", path, describe(info))
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: remove an old socket: %w", path, err)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", fresh)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	socket := l.(*net.UnixListener) //nolint:forcetypeassert // network "unix"
	socket.SetUnlinkOnClose(false)  // by then the path may be a successor's
	if err := openTo(fresh, gid); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), socket.Close())
	}
	if err := os.Rename(fresh, path); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), socket.Close())
	}
	return socket, nil
}

// unlink removes the socket file if it is still the one that was made.
func unlink(path string, made fs.FileInfo) {
	if now, err := os.Lstat(path); err == nil && os.SameFile(now, made) {
		_ = os.Remove(path)
	}
}

func openTo(path string, gid int) error {
	if gid < 0 {
		return os.Chmod(path, 0o600)
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return fmt.Errorf("give the socket to group %d: %w", gid, err)
	}
	return os.Chmod(path, 0o660) //nolint:gosec // the group is whom it is for
}

func describe(info fs.FileInfo) string {
	if info.IsDir() {
		return "directory"
	}
	return "file"
}
