package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/api/filters/imagetag"
	"sigs.k8s.io/kustomize/api/krusty"
	ktypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// overlays are the installations that are rendered: all but those of tests.
func (r *Release) overlays() ([]string, error) {
	dirs, err := os.ReadDir(filepath.Join(r.Source, "manifests/overlays"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, d := range dirs {
		if d.IsDir() && !strings.HasPrefix(d.Name(), "test") {
			out = append(out, d.Name())
		}
	}
	return out, err
}

func (r *Release) manifestPath(overlay string) string {
	return r.path("install-%s-%s.yaml", overlay, r.Version)
}

// renderManifests writes each overlay as one file, with the images of this release.
func (r *Release) renderManifests(context.Context) error {
	overlays, err := r.overlays()
	if err != nil {
		return err
	}
	for _, overlay := range overlays {
		resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).
			Run(filesys.MakeFsOnDisk(), filepath.Join(r.Source, "manifests/overlays", overlay))
		if err != nil {
			return fmt.Errorf("overlay %s: %w", overlay, err)
		}
		for _, program := range r.Programs {
			tag := ktypes.Image{Name: r.Suite + "/" + program.Name, NewName: r.Registry + "/" + program.Name, NewTag: r.Version}
			if err = resources.ApplyFilter(imagetag.LegacyFilter{ImageTag: tag}); err != nil {
				return fmt.Errorf("overlay %s: %w", overlay, err)
			}
		}
		data, err := resources.AsYaml()
		if err != nil {
			return fmt.Errorf("overlay %s: %w", overlay, err)
		}
		if err := writeFile(r.manifestPath(overlay), data); err != nil {
			return err
		}
	}
	return nil
}

var semantic = regexp.MustCompile(`^v\d+\.\d+\.\d+([-+].*)?$`)

// chartVersion is a semantic version in any case; Helm takes no other.
func (r *Release) chartVersion() string {
	if semantic.MatchString(r.Version) {
		return r.Version[1:]
	}
	return "0.0.0-dev-" + strings.ReplaceAll(r.Version, "_", "-")
}

func (r *Release) chartPath() string {
	return r.path("%s-%s.tgz", r.Suite, r.chartVersion())
}

// packageChart packages the chart with Helm, so that Helm judges it; and again with the
// date of the release, because Helm writes today's.
func (r *Release) packageChart(ctx context.Context) error {
	source := filepath.Join(r.Source, "charts", r.Suite)
	if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	dir := filepath.Join(r.work, "chart", r.Suite)
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return err
	}
	if err := r.nameImages(filepath.Join(dir, "values.yaml")); err != nil {
		return err
	}
	out := filepath.Join(r.work, "packaged")
	cmd := exec.CommandContext(ctx, r.Helm, "package", dir,
		"--version", r.chartVersion(), "--app-version", r.Version, "--destination", out)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s package: %w: %s", r.Helm, err, strings.TrimSpace(string(text)))
	}
	packed, err := os.ReadFile(filepath.Join(out, r.Suite+"-"+r.chartVersion()+".tgz"))
	if err != nil {
		return err
	}
	files, err := untar(packed)
	if err != nil {
		return err
	}
	sortFiles(files)
	data, err := tarball(files, r.Date, true)
	if err != nil {
		return err
	}
	return writeFile(r.chartPath(), data)
}

// nameImages lets the chart's defaults name the images of this release.
func (r *Release) nameImages(values string) error {
	data, err := os.ReadFile(values)
	if err != nil {
		return err
	}
	from := []byte("repository: " + r.Suite + "/")
	if !bytes.Contains(data, from) {
		return fmt.Errorf("no %q is in %s", from, values)
	}
	return writeFile(values, bytes.ReplaceAll(data, from, []byte("repository: "+r.Registry+"/")))
}

// untar reads an archive, compressed or not.
func untar(data []byte) ([]file, error) {
	var source io.Reader = bytes.NewReader(data)
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		var err error
		if source, err = gzip.NewReader(source); err != nil {
			return nil, err
		}
	}
	r := tar.NewReader(source)
	var out []file
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		out = append(out, file{h.Name, h.Mode & 0o777, content})
	}
}
