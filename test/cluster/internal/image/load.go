package image

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Load imports a docker archive into the containerd behind a socket.
func Load(ctx context.Context, socket, archive string) error {
	cmd := exec.CommandContext(ctx, "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("load image %s: %w: %s", filepath.Base(archive), err, out)
	}
	return nil
}
