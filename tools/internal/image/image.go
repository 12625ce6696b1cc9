package image

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

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
	Title      string // the default is the binary's name
	Out        string // docker archive that Write makes
	// Labels are added to those that every image has.
	Labels map[string]string
	// Texts are further files, by their path below the root.
	Texts map[string][]byte
}

func (c *Config) validate() error {
	switch {
	case c.Binary == "":
		return errors.New("binary is required")
	case !filepath.IsAbs(c.Entrypoint):
		return fmt.Errorf("entrypoint %q is not an absolute path", c.Entrypoint)
	}
	if c.Title == "" {
		c.Title = filepath.Base(c.Binary)
	}
	return nil
}

// Write makes an image and writes it as an archive that docker, containerd and kind load.
func Write(cfg Config) error {
	if cfg.Out == "" {
		return errors.New("out is required")
	}
	tag, err := name.NewTag(cfg.Tag)
	if err != nil {
		return err
	}
	img, err := Build(cfg)
	if err != nil {
		return err
	}
	return Save(img, tag, cfg.Out)
}

// Save writes an image as such an archive.
func Save(img v1.Image, tag name.Tag, out string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o750); err != nil {
		return err
	}
	// Written beside the target and renamed, so that a broken run leaves no half image.
	part := out + ".part"
	defer os.Remove(part) //nolint:errcheck // gone after the rename
	if err := tarball.WriteToFile(part, tag, img); err != nil {
		return fmt.Errorf("write %s: %w", part, err)
	}
	return os.Rename(part, out)
}

// Build makes the image: one layer with the world around the binary, which seldom
// changes, and one with the binary.
func Build(cfg Config) (v1.Image, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	base, err := baseLayer(cfg.CAs)
	if err != nil {
		return nil, err
	}
	bin, err := binaryLayer(&cfg)
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
	maps.Copy(file.Config.Labels, cfg.Labels)
	return mutate.ConfigFile(img, file)
}
