package folder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCreateAndRemove(t *testing.T) {
	f := Folder(filepath.Join(t.TempDir(), "a", "b"))
	if f.Exists() {
		t.Fatal("a new folder exists")
	}
	for range 2 { // twice does no harm
		if err := f.Create(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(f.Path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(string(f))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v, want mode 0700", info, err)
	}
	for range 2 {
		if err := f.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(string(f)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
}

func TestForeignFolderStays(t *testing.T) {
	f := Folder(t.TempDir())
	if err := os.WriteFile(f.Path("precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Create(); err == nil {
		t.Error("took over a folder of somebody else")
	}
	if err := f.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.Path("precious")); err != nil {
		t.Error(err)
	}
}

func TestLock(t *testing.T) {
	f := Folder(t.TempDir())
	unlock, err := f.Lock(t.Context(), func() { t.Error("waited for nobody") })
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	waited := 0
	if _, err = f.Lock(short, func() { waited++ }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: %v", err)
	}
	if waited != 1 {
		t.Errorf("said %d times that it waits", waited)
	}
	unlock()
	unlock, err = f.Lock(t.Context(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestID(t *testing.T) {
	if a, b := Folder("/a").ID(), Folder("/b").ID(); a == b || len(a) != 8 {
		t.Errorf("ids %q and %q", a, b)
	}
}
