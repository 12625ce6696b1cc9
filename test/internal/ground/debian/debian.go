package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/test/internal/ground/step"
)

// Package is a Debian package and a proof that what it brings is there: a
// command, or a file with an absolute path.
type Package struct {
	Name  string
	Proof string
}

// Need installs the packages whose proof is missing.
func Need(ctx context.Context, log *step.Log, packages ...Package) error {
	missing := lacking(packages)
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("these programs are missing and there is no apt-get to install them, do it by hand: %s", list)
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("only root can install what is missing: apt-get install %s", list)
	}
	return log.Do("install Debian packages: "+list, func() error { return install(ctx, missing) })
}

func lacking(packages []Package) []string {
	var missing []string
	for _, p := range packages {
		if !there(p.Proof) {
			missing = append(missing, p.Name)
		}
	}
	return missing
}

func there(proof string) bool {
	if filepath.IsAbs(proof) {
		_, err := os.Stat(proof)
		return err == nil
	}
	if _, err := exec.LookPath(proof); err == nil {
		return true
	}
	_, err := os.Stat(filepath.Join("/usr/sbin", proof)) // not in every user's PATH
	return err == nil
}

// install asks for new package lists only if the present ones do not do.
func install(ctx context.Context, names []string) error {
	if apt(ctx, append([]string{"install", "-y", "--no-install-recommends"}, names...)) == nil {
		return nil
	}
	if err := apt(ctx, []string{"update"}); err != nil {
		return err
	}
	return apt(ctx, append([]string{"install", "-y", "--no-install-recommends"}, names...))
}

func apt(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}
