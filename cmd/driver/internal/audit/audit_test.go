package audit

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

func entry() rotation.Entry {
	return rotation.Entry{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Trigger: rotation.OnInterval, Class: "c", Provider: "vault", Changed: true,
		Pod:      provider.Pod{Name: "p", Namespace: "ns", UID: "u", ServiceAccount: "sa"},
		Versions: []provider.Version{{ID: "secret/a", Version: "2"}},
	}
}

func read(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	failed := entry()
	failed.Err, failed.Changed, failed.Versions = provider.Errorf(provider.Denied, "no"), false, nil
	same := entry()
	same.Changed, same.Secret = false, "db"
	for _, e := range []rotation.Entry{entry(), failed, same} {
		l.Note(e)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	const who = `"namespace":"ns","pod":"p","uid":"u","serviceAccount":"sa","class":"c","provider":"vault"`
	want := []string{
		`{"time":"2026-01-02T03:04:05Z","trigger":"interval","result":"delivered",` + who + `,"objects":[{"id":"secret/a","version":"2"}]}`,
		`{"time":"2026-01-02T03:04:05Z","trigger":"interval","result":"failed",` + who + `,"kind":"Denied","error":"no"}`,
		`{"time":"2026-01-02T03:04:05Z","trigger":"interval","result":"unchanged",` + who + `,"secret":"db","objects":[{"id":"secret/a","version":"2"}]}`,
	}
	if diff := cmp.Diff(want, read(t, path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A file that was moved away gets no more lines; a new one is begun.
func TestMovedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.Note(entry())
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.looked = time.Time{} // the last look was long ago
	l.Note(entry())
	for _, p := range []string{path, path + ".1"} {
		lines := read(t, p)
		if len(lines) != 1 || !json.Valid([]byte(lines[0])) {
			t.Errorf("%s: %q", p, lines)
		}
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	if _, err := Open(filepath.Join(t.TempDir(), "no", "audit.log"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
}
