package image

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	caPath = "etc/ssl/certs/ca-certificates.crt"

	passwd = "root:x:0:0:root:/root:/sbin/nologin\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n" +
		"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group = "root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n"
)

// epoch is the time of everything in an image, so that equal input gives equal bytes.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// An entry is a directory when data is nil.
type entry struct {
	path string
	mode int64
	uid  int
	data []byte
}

func baseLayer(cas string) (v1.Layer, error) {
	pem, err := os.ReadFile(cas)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: install the package ca-certificates", cas)
	}
	if err != nil {
		return nil, err
	}
	return layer([]entry{
		{path: "etc", mode: 0o755},
		{path: "etc/group", mode: 0o644, data: []byte(group)},
		{path: "etc/passwd", mode: 0o644, data: []byte(passwd)},
		{path: "etc/ssl", mode: 0o755},
		{path: "etc/ssl/certs", mode: 0o755},
		{path: caPath, mode: 0o644, data: pem},
		{path: "home", mode: 0o755},
		{path: "home/nonroot", mode: 0o700, uid: 65532},
		{path: "root", mode: 0o700},
		{path: "tmp", mode: 0o1777},
	})
}

func binaryLayer(cfg *Config) (v1.Layer, error) {
	data, err := os.ReadFile(cfg.Binary)
	if err != nil {
		return nil, err
	}
	if err := checkStatic(cfg.Binary, data); err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(path.Clean(cfg.Entrypoint), "/")
	entries := append(parents(name), entry{path: name, mode: 0o755, data: data})
	made := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(cfg.Texts)) {
		for _, dir := range parents(file) {
			if !made[dir.path] {
				entries = append(entries, dir)
			}
			made[dir.path] = true
		}
		entries = append(entries, entry{path: file, mode: 0o644, data: cfg.Texts[file]})
	}
	return layer(entries)
}

// parents are the directories above a path.
func parents(name string) []entry {
	var entries []entry
	for i, c := range name {
		if c == '/' {
			entries = append(entries, entry{path: name[:i], mode: 0o755})
		}
	}
	return entries
}

// checkStatic refuses what could not start in an image that holds no C library.
func checkStatic(file string, data []byte) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s is not a Linux executable: %w", file, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static: build it with CGO_ENABLED=0", file)
		}
	}
	return nil
}

func layer(entries []entry) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.path, Mode: e.mode, Uid: e.uid, Gid: e.uid,
			Size: int64(len(e.data)), ModTime: epoch(), Format: tar.FormatPAX,
		}
		if e.data == nil {
			h.Typeflag, h.Name = tar.TypeDir, e.path+"/"
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithCompressedCaching)
}
