package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A file of an archive.
type file struct {
	name string
	mode int64
	data []byte
}

func sortFiles(files []file) {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
}

// tarball is the same bytes for the same files and date.
func tarball(files []file, date time.Time, compress bool) ([]byte, error) {
	var out bytes.Buffer
	var sink io.WriteCloser = plain{&out}
	if compress {
		sink = gzip.NewWriter(&out)
	}
	w := tar.NewWriter(sink)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: date, Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := sink.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

func zipped(files []file, date time.Time) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: date.UTC()}
		h.SetMode(os.FileMode(f.mode)) //nolint:gosec // permission bits
		entry, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := entry.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// An archive is a set of programs for one platform.
type archive struct {
	name     string
	platform Platform
	contents []*distribution
}

// archives are those of the release: one of all programs for each Linux, and one of each
// program that is for everywhere.
func (r *Release) archives() []archive {
	var out []archive
	for _, p := range r.Platforms {
		all := archive{name: r.Suite + "-" + r.Version + "-" + p.String(), platform: p}
		for i := range r.distributions {
			d := &r.distributions[i]
			if d.platform != p {
				continue
			}
			all.contents = append(all.contents, d)
			if d.Everywhere {
				out = append(out, archive{d.Name + "-" + r.Version + "-" + p.String(), p, []*distribution{d}})
			}
		}
		if p.OS == "linux" {
			out = append(out, all)
		}
	}
	return out
}

// file is the archive's file; what is in it is below a directory of its name.
func (a *archive) file() string {
	if a.platform.OS == "windows" {
		return a.name + ".zip"
	}
	return a.name + ".tar.gz"
}

func (r *Release) makeArchives(context.Context) error {
	for _, a := range r.archives() {
		files, err := r.archiveFiles(&a)
		if err != nil {
			return err
		}
		var data []byte
		if a.platform.OS == "windows" {
			data, err = zipped(files, r.Date)
		} else {
			data, err = tarball(files, r.Date, true)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.file(), err)
		}
		if err := writeFile(r.path("%s", a.file()), data); err != nil {
			return err
		}
	}
	return nil
}

func (r *Release) archiveFiles(a *archive) ([]file, error) {
	texts, err := r.texts(a.contents...)
	if err != nil {
		return nil, err
	}
	var files []file
	for name, data := range texts {
		files = append(files, file{a.name + "/" + name, 0o644, data})
	}
	for _, d := range a.contents {
		data, err := os.ReadFile(d.file)
		if err != nil {
			return nil, err
		}
		files = append(files, file{a.name + "/" + d.platform.exe(d.Name), 0o755, data})
	}
	sortFiles(files)
	return files, nil
}

func writeFile(path string, data []byte) error {
	return os.WriteFile(path, data, 0o644) //nolint:gosec // everybody may read a release
}

const sums = "SHA256SUMS"

// writeSums writes what sha256sum -c reads.
func (r *Release) writeSums(context.Context) error {
	files, err := os.ReadDir(r.Out)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(r.Out, f.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%x  %s\n", sha256.Sum256(data), f.Name())
	}
	return writeFile(r.path(sums), out.Bytes())
}
