package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Config says what goes into an image and where the image goes.
type Config struct {
	Binary     string // static executable on this machine
	Entrypoint string // its path in the image
	Tag        string
	User       string
	Arch       string
	CAs        string // certificate bundle on this machine
	Title      string
	Out        string
}

func main() {
	var cfg Config
	flag.StringVar(&cfg.Binary, "binary", "", "static binary to put into the image")
	flag.StringVar(&cfg.Entrypoint, "entrypoint", "", "absolute path of the binary in the image")
	flag.StringVar(&cfg.Tag, "tag", "", "repository:tag of the image")
	flag.StringVar(&cfg.User, "user", "65532", "user id that the binary runs as")
	flag.StringVar(&cfg.Arch, "arch", runtime.GOARCH, "architecture of the binary")
	flag.StringVar(&cfg.CAs, "cas", "/etc/ssl/certs/ca-certificates.crt", "CA certificates to put into the image")
	flag.StringVar(&cfg.Title, "title", "", "title label (default: the binary's name)")
	flag.StringVar(&cfg.Out, "out", "", "tar file to write")
	flag.Parse()
	if err := run(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func (c *Config) validate() error {
	switch {
	case c.Binary == "":
		return errors.New("--binary is required")
	case !filepath.IsAbs(c.Entrypoint):
		return fmt.Errorf("--entrypoint %q is not an absolute path", c.Entrypoint)
	case c.Out == "":
		return errors.New("--out is required")
	case c.Tag == "":
		return errors.New("--tag is required")
	}
	if c.Title == "" {
		c.Title = filepath.Base(c.Binary)
	}
	return nil
}

func run(cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	tag, err := name.NewTag(cfg.Tag)
	if err != nil {
		return err
	}
	img, err := build(cfg)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(cfg.Out), 0o750); err != nil {
		return err
	}
	// Written beside the target and renamed, so that a broken run leaves no half image.
	part := cfg.Out + ".part"
	defer os.Remove(part) //nolint:errcheck // gone after the rename
	if err := tarball.WriteToFile(part, tag, img); err != nil {
		return fmt.Errorf("write %s: %w", part, err)
	}
	return os.Rename(part, cfg.Out)
}

// build makes the image: one layer with the world around the binary, which seldom
// changes, and one with the binary.
func build(cfg Config) (v1.Image, error) {
	base, err := baseLayer(cfg.CAs)
	if err != nil {
		return nil, err
	}
	bin, err := binaryLayer(cfg.Binary, cfg.Entrypoint)
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, base, bin)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = cfg.Arch, "linux"
	file.Created = v1.Time{Time: epoch()}
	file.Config = v1.Config{
		Entrypoint: []string{cfg.Entrypoint},
		User:       cfg.User,
		WorkingDir: "/",
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/" + caPath},
		Labels: map[string]string{
			"org.opencontainers.image.title":    cfg.Title,
			"org.opencontainers.image.source":   "https://github.com/strongroom/strongroom",
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(img, file)
}
