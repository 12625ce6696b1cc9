package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/strongroom/strongroom/tools/internal/image"
)

// reference is the name under which an image is known where it is loaded.
func (r *Release) reference(program string) string {
	return r.Registry + "/" + program + ":" + r.Version
}

func (r *Release) imagePath(program string, p Platform) string {
	return r.path("image-%s-%s-%s.tar", program, r.Version, p)
}

func (r *Release) layoutPath(program string) string {
	return r.path("image-%s-%s.oci.tar", program, r.Version)
}

// makeImages writes, for each program that is one, an archive for each platform and one
// with all of them.
func (r *Release) makeImages(context.Context) error {
	for _, program := range r.Programs {
		if program.Entrypoint == "" {
			continue
		}
		if err := r.makeImage(program); err != nil {
			return fmt.Errorf("%s: %w", program.Name, err)
		}
	}
	return nil
}

func (r *Release) makeImage(program Program) error {
	tag, err := name.NewTag(r.reference(program.Name))
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	made := 0
	for i := range r.distributions {
		d := &r.distributions[i]
		if d.Name != program.Name || d.platform.OS != "linux" {
			continue
		}
		img, err := r.image(d)
		if err != nil {
			return err
		}
		if err := image.Save(img, tag, r.imagePath(d.Name, d.platform)); err != nil {
			return err
		}
		platform := &v1.Platform{OS: d.platform.OS, Architecture: d.platform.Arch}
		img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
		made++
	}
	if made == 0 {
		return nil
	}
	return r.saveLayout(index, tag, r.layoutPath(program.Name))
}

func (r *Release) image(d *distribution) (v1.Image, error) {
	texts, err := r.texts(d)
	if err != nil {
		return nil, err
	}
	below := map[string][]byte{}
	for name, data := range texts {
		below["licenses/"+name] = data
	}
	return image.Build(image.Config{
		Binary: d.file, Entrypoint: d.Entrypoint, User: "0", Arch: d.platform.Arch, CAs: r.CAs, Title: d.Name, Texts: below,
		Labels: map[string]string{
			"org.opencontainers.image.version":  r.Version,
			"org.opencontainers.image.revision": r.Commit,
			"org.opencontainers.image.created":  r.Date.UTC().Format(time.RFC3339),
		},
	})
}

// saveLayout writes an index as an archive of an OCI layout.
func (r *Release) saveLayout(index v1.ImageIndex, tag name.Tag, out string) error {
	dir, err := os.MkdirTemp(r.work, "layout-")
	if err != nil {
		return err
	}
	top, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	// containerd takes the name from the first annotation, others from the second.
	err = top.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          strings.Replace(tag.Name(), name.DefaultRegistry+"/", "docker.io/", 1),
		"org.opencontainers.image.ref.name": tag.TagStr(),
	}))
	if err != nil {
		return err
	}
	var files []file
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path) //nolint:gosec // made here
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files = append(files, file{filepath.ToSlash(rel), 0o644, data})
		return err
	})
	if err != nil {
		return err
	}
	sortFiles(files)
	data, err := tarball(files, r.Date, false)
	if err != nil {
		return err
	}
	return writeFile(out, data)
}
