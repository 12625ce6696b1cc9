package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
)

// image is an image of one layer.
type image struct {
	tag        string
	entrypoint []string
	command    []string
	layer      []byte
}

// write makes a docker archive, as "docker save" would.
func (i image) write(path string) error {
	config, err := i.config()
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config": "config.json", "RepoTags": []string{i.tag}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return err
	}
	archive, err := pack([]entry{
		{name: "config.json", data: config},
		{name: "layer.tar", data: i.layer},
		{name: "manifest.json", data: manifest},
	})
	if err != nil {
		return fmt.Errorf("write image %s: %w", i.tag, err)
	}
	return os.WriteFile(path, archive, 0o600)
}

func (i image) config() ([]byte, error) {
	sum := sha256.Sum256(i.layer)
	return json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"Entrypoint": i.entrypoint,
			"Cmd":        i.command,
			"Env":        []string{"PATH=/bin"},
		},
		"rootfs": map[string]any{
			"type":     "layers",
			"diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])},
		},
	})
}

// entry is a file of an archive: a regular one, a link or a folder.
type entry struct {
	name string
	mode int64
	link string
	data []byte
}

func (e entry) write(w *tar.Writer) error {
	h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data)), Typeflag: tar.TypeReg}
	switch {
	case e.link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
	case e.data == nil:
		h.Typeflag = tar.TypeDir
	case e.mode == 0:
		h.Mode = 0o644
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(w, bytes.NewReader(e.data))
	return err
}

// pack makes a tar.
func pack(entries []entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := e.write(w); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
