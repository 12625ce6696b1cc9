package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// build makes the binaries of each platform.
func (r *Release) build(ctx context.Context) error {
	for _, p := range r.Platforms {
		programs := r.programs(p)
		if len(programs) == 0 {
			continue
		}
		if err := r.buildFor(ctx, p, programs); err != nil {
			return fmt.Errorf("for %s: %w", p, err)
		}
	}
	return nil
}

func (r *Release) buildFor(ctx context.Context, p Platform, programs []Program) error {
	begin := time.Now()
	dir := filepath.Join(r.work, p.String())
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", r.linkFlags(), "-o", dir + "/"}
	for _, program := range programs {
		args = append(args, program.Package)
	}
	// What would change the bytes is set, whatever the caller's environment says.
	_, err := r.goCommand(ctx, args, "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Arch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off")
	if err != nil {
		return err
	}
	for _, program := range programs {
		from := filepath.Join(dir, p.exe(filepath.Base(program.Package)))
		info, err := buildinfo.ReadFile(from)
		if err != nil {
			return err
		}
		r.distributions = append(r.distributions, distribution{program, p, from, info})
	}
	fmt.Printf("%s: %d programs in %.0f s\n", p, len(programs), time.Since(begin).Seconds())
	return nil
}

func (r *Release) linkFlags() string {
	flags := []string{"-s", "-w"}
	date := ""
	if r.Date.Unix() != 0 {
		date = r.Date.UTC().Format(time.RFC3339)
	}
	for _, v := range [][2]string{{"Version", r.Version}, {"Commit", r.Commit}, {"Date", date}} {
		if v[1] != "" {
			flags = append(flags, "-X", r.Stamp+".linked"+v[0]+"="+v[1])
		}
	}
	return strings.Join(flags, " ")
}

// goCommand runs go in the source, and returns what it prints.
func (r *Release) goCommand(ctx context.Context, args []string, env ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.Source
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// A distribution is one program for one platform.
type distribution struct {
	Program

	platform Platform
	file     string
	info     *buildinfo.BuildInfo
}

// A module is something that is linked into a program.
type module struct{ path, version string }

// modules are those of a binary, without the main one; Go's own library is among them.
func modules(info *buildinfo.BuildInfo) []module {
	out := []module{{"stdlib", strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")}}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		out = append(out, module{dep.Path, dep.Version})
	}
	return out
}
