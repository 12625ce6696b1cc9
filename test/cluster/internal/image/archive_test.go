package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestArchive(t *testing.T) {
	l, err := pack([]entry{
		{name: "bin/", mode: 0o755},
		{name: "bin/prog", mode: 0o755, data: []byte("x")},
		{name: "bin/link", link: "prog"},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "i.tar")
	if err = (image{tag: "a/b:c", command: []string{"prog"}, layer: l}).write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := contents(t, b)
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(files["config.json"], &config); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(files["layer.tar"])
	if want := "sha256:" + hex.EncodeToString(sum[:]); len(config.RootFS.DiffIDs) != 1 || config.RootFS.DiffIDs[0] != want {
		t.Errorf("layers %v, want %s", config.RootFS.DiffIDs, want)
	}
	if inner := contents(t, files["layer.tar"]); string(inner["bin/prog"]) != "x" || len(inner) != 3 {
		t.Errorf("the layer holds %v", inner)
	}
}

func contents(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
