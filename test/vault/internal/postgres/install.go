package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/strongroom/strongroom/test/internal/ground/debian"
	"github.com/strongroom/strongroom/test/internal/ground/step"
)

// drop is where the settings are that Debian's PostgreSQL is installed with.
const drop = "/etc/postgresql-common/createcluster.d"

// Need installs PostgreSQL if it is missing, and returns the folder of its
// programs.
func Need(ctx context.Context, log *step.Log) (string, error) {
	if bin := find(); bin != "" {
		return bin, nil
	}
	restore, err := noCluster()
	if err != nil {
		return "", err
	}
	err = debian.Need(ctx, log, debian.Package{Name: "postgresql", Proof: "postgres"})
	if err = errors.Join(err, restore()); err != nil {
		return "", err
	}
	if bin := find(); bin != "" {
		return bin, nil
	}
	return "", errors.New("find PostgreSQL: the package is installed, but it has brought no /usr/lib/postgresql/*/bin/postgres")
}

// find returns the folder with the newest PostgreSQL, or one in the PATH, or
// nothing. Debian keeps its servers out of the PATH.
func find() string {
	names, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err == nil && len(names) > 0 {
		return filepath.Dir(names[len(names)-1])
	}
	name, err := exec.LookPath("postgres")
	if err != nil {
		return ""
	}
	if name, err = filepath.EvalSymlinks(name); err != nil {
		return ""
	}
	return filepath.Dir(name)
}

// noCluster keeps the package from making a database of the system and from
// starting a service for it, until restore is called.
func noCluster() (restore func() error, err error) {
	if os.Geteuid() != 0 { // nothing can be installed anyway
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(drop, 0o755); err != nil { //nolint:gosec // a folder of the system, as the package makes it
		return nil, fmt.Errorf("prepare the installation of PostgreSQL: %w", err)
	}
	file := filepath.Join(drop, "strongroom-test.conf")
	if err := os.WriteFile(file, []byte("create_main_cluster = false\n"), 0o644); err != nil { //nolint:gosec // others read it
		return nil, fmt.Errorf("prepare the installation of PostgreSQL: %w", err)
	}
	return func() error { return os.Remove(file) }, nil
}
