package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// checkImage: the entry point is the binary, and of the architecture that the image has.
func (r *Release) checkImage(img v1.Image, arch, entrypoint string, binary []byte) error {
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	if config.Architecture != arch || !slices.Equal(config.Config.Entrypoint, []string{entrypoint}) ||
		config.Config.Labels["org.opencontainers.image.version"] != r.Version {
		return fmt.Errorf("the image is for %s, starts %q, and has the labels %q", config.Architecture, config.Config.Entrypoint, config.Config.Labels)
	}
	contents := mutate.Extract(img)
	defer contents.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(contents)
	if err != nil {
		return err
	}
	files, err := untar(data)
	if err != nil {
		return err
	}
	held := map[string][]byte{}
	for _, f := range files {
		held[f.name] = f.data
	}
	program := held[strings.TrimPrefix(entrypoint, "/")]
	if binary != nil && !bytes.Equal(program, binary) {
		return errors.New("the image holds another binary than the archive")
	}
	if len(held["licenses/THIRD-PARTY.txt"]) == 0 || len(held["licenses/LICENSE"]) == 0 {
		return errors.New("the image holds no licences")
	}
	return checkMachine(program, arch)
}

func checkMachine(program []byte, arch string) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		return fmt.Errorf("the image is for %s, and its program for %s", arch, f.Machine)
	}
	return nil
}

// checkLayouts: the archives for all platforms hold an image for each.
func (r *Release) checkLayouts() error {
	for _, program := range r.Programs {
		if program.Entrypoint == "" {
			continue
		}
		var want []string
		for _, p := range r.Platforms {
			if p.OS == "linux" {
				want = append(want, p.Arch)
			}
		}
		if len(want) == 0 {
			continue
		}
		if err := r.checkLayout(program, want); err != nil {
			return fmt.Errorf("%s: %w", r.layoutPath(program.Name), err)
		}
	}
	return nil
}

func (r *Release) checkLayout(program Program, want []string) error {
	dir, err := os.MkdirTemp("", "release-layout-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	if err = unpack(r.layoutPath(program.Name), dir); err != nil {
		return err
	}
	index, err := r.openLayout(dir)
	if err != nil {
		return err
	}
	list, err := index.IndexManifest()
	if err != nil {
		return err
	}
	var got []string
	for _, m := range list.Manifests {
		got = append(got, m.Platform.Architecture)
		img, err := index.Image(m.Digest)
		if err != nil {
			return err
		}
		if err := r.checkImage(img, m.Platform.Architecture, program.Entrypoint, nil); err != nil {
			return err
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("it holds images for %q, want %q", got, want)
	}
	return nil
}

// openLayout returns the one index of a layout, which has the version as its name.
func (r *Release) openLayout(dir string) (v1.ImageIndex, error) {
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	list, err := top.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(list.Manifests) != 1 || list.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != r.Version {
		return nil, fmt.Errorf("its index lists %v", list.Manifests)
	}
	return top.ImageIndex(list.Manifests[0].Digest)
}

func unpack(archive, dir string) error {
	files, err := readArchive(archive)
	if err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
