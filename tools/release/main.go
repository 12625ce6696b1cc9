package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// run makes a release in a new directory, looks at it as a user would, and puts it in
// the place of what was there.
func run(ctx context.Context, args []string) error {
	r, err := parse(args)
	if err != nil {
		return err
	}
	if err := replaceable(r.Out); err != nil {
		return err
	}
	part := r.Out + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	final := r.Out
	r.Out = part
	begin := time.Now()
	if err := r.Make(ctx); err != nil {
		return err
	}
	fmt.Printf("made in %.0f s; checking\n", time.Since(begin).Seconds())
	if err := r.Check(ctx); err != nil {
		return fmt.Errorf("%s is faulty: %w", part, err)
	}
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	if err := os.Rename(part, final); err != nil {
		return err
	}
	fmt.Printf("%s of %s is in %s: made and checked in %.0f s\n", r.Suite, r.Version, final, time.Since(begin).Seconds())
	return nil
}

// replaceable says whether a directory may go: there is none, it is empty, or it is a
// release, which has checksums and no directories.
func replaceable(dir string) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(dir, sums))
	if err != nil || slices.ContainsFunc(files, fs.DirEntry.IsDir) {
		return fmt.Errorf("%s is no release, and would be replaced by one: set RELEASE to a directory of its own", dir)
	}
	return nil
}

// ours is what this repository releases.
func ours() *Release {
	return &Release{
		Suite: "strongroom", Stamp: "github.com/strongroom/strongroom/provider",
		Programs: []Program{
			{Name: "driver", Package: "./cmd/driver", Entrypoint: "/secrets-store-csi"},
			{Name: "provider-azure", Package: "./cmd/provider-azure", Entrypoint: "/provider-azure"},
			{Name: "provider-vault", Package: "./cmd/provider-vault", Entrypoint: "/provider-vault"},
			{Name: "strongroomctl", Package: "./cmd/strongroomctl", Everywhere: true},
		},
	}
}

const allPlatforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

// A tag of an image is the narrowest place that a version has to fit into.
var tagged = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

func parse(args []string) (*Release, error) {
	r := ours()
	fs := flag.NewFlagSet("release", flag.ExitOnError)
	var date, platforms string
	fs.StringVar(&r.Source, "source", ".", "the checkout")
	fs.StringVar(&r.Out, "out", "bin/release", "directory that is made")
	fs.StringVar(&r.Version, "version", "", "the version, v0.1.0 for instance")
	fs.StringVar(&r.Commit, "commit", "", "commit that it is made from")
	fs.StringVar(&date, "date", "", "time of that commit, as in 2026-01-02T03:04:05Z; of all files, too")
	fs.StringVar(&r.Registry, "registry", "strongroom", "what the names of images begin with")
	fs.StringVar(&platforms, "platforms", allPlatforms, "for which to build")
	fs.StringVar(&r.CAs, "cas", "/etc/ssl/certs/ca-certificates.crt", "CA certificates that images get")
	fs.StringVar(&r.Helm, "helm", "bin/tools/helm", "the program that packages the chart")
	_ = fs.Parse(args) // it exits
	if !tagged.MatchString(r.Version) {
		return nil, fmt.Errorf("version %q cannot be a tag of an image: set VERSION, v0.1.0 for instance", r.Version)
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("arguments are not understood: %q", fs.Args())
	}
	if date != "" {
		var err error
		if r.Date, err = time.Parse(time.RFC3339, date); err != nil {
			return nil, fmt.Errorf("date: %w", err)
		}
	}
	if r.Date.Unix() < 0 {
		r.Date = time.Unix(0, 0).UTC()
	}
	return r, r.setPlatforms(platforms)
}

func (r *Release) setPlatforms(list string) error {
	for text := range strings.SplitSeq(list, ",") {
		goos, arch, _ := strings.Cut(text, "/")
		p := Platform{goos, arch}
		if !slices.Contains(strings.Split(allPlatforms, ","), text) || slices.Contains(r.Platforms, p) {
			return fmt.Errorf("platforms %q: want one or more of %s, each once", list, allPlatforms)
		}
		r.Platforms = append(r.Platforms, p)
	}
	return nil
}

// A Release is what is to be made, from what, and where.
type Release struct {
	Suite         string // name of the archive that holds all programs
	Source, Out   string
	Version       string
	Commit        string
	Date          time.Time
	Registry      string
	Platforms     []Platform
	Programs      []Program
	Stamp         string // package whose variables linkedVersion, linkedCommit and linkedDate are set
	CAs, Helm     string
	work          string // binaries, below OS-ARCH
	licences      licences
	distributions []distribution
}

// Program is a main package. One with an Entrypoint becomes an image, and one that is for
// Everywhere is built for systems other than Linux, and gets archives of its own.
type Program struct {
	Name, Package, Entrypoint string
	Everywhere                bool
}

// Platform is what Go calls GOOS and GOARCH.
type Platform struct{ OS, Arch string }

func (p Platform) String() string { return p.OS + "-" + p.Arch }

func (p Platform) native() bool { return p.OS == runtime.GOOS && p.Arch == runtime.GOARCH }

// exe is the name of a program's file.
func (p Platform) exe(name string) string {
	if p.OS == "windows" {
		return name + ".exe"
	}
	return name
}

// programs are those that are built for a platform.
func (r *Release) programs(p Platform) []Program {
	var out []Program
	for _, program := range r.Programs {
		if p.OS == "linux" || program.Everywhere {
			out = append(out, program)
		}
	}
	return out
}

// path of a file of the release.
func (r *Release) path(format string, args ...any) string {
	return filepath.Join(r.Out, fmt.Sprintf(format, args...))
}

// Make makes everything in Out.
func (r *Release) Make(ctx context.Context) error {
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	r.work = work
	if err := os.MkdirAll(r.Out, 0o755); err != nil { //nolint:gosec // everybody may read a release
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"build", r.build},
		{"read licences", r.readLicences},
		{"list what is in the binaries", r.writeBOMs},
		{"make images", r.makeImages},
		{"make archives", r.makeArchives},
		{"render manifests", r.renderManifests},
		{"package the chart", r.packageChart},
		{"write checksums", r.writeSums},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}
