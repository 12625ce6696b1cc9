package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/strongroom/strongroom/provider/providertest/witness"

	"github.com/strongroom/strongroom/test/soak/internal/testimony"
)

// watch looks at one volume.
type watch struct {
	dir, report string
	pause       time.Duration
	now         func() time.Time
	said        testimony.Report
}

// data is the link to the generation that counts.
const data = "..data"

// look reads the volume once and judges it.
func (w *watch) look() {
	claim, err := w.read()
	if err == nil {
		err = w.judge(claim)
	}
	if err != nil {
		w.said.Violations = append(w.said.Violations, fmt.Sprintf("%s: volume %s of pod %s: %v",
			w.now().UTC().Format(time.RFC3339Nano), w.dir, w.said.Pod, err))
		return
	}
	w.said.Reads++
	if claim.Generation != w.said.Generation {
		w.said.Generations++
		w.said.Generation = claim.Generation
	}
	w.said.Behind = max(0, w.now().Sub(claim.Began().Add(claim.Period)))
	w.said.Longest = max(w.said.Longest, w.said.Behind)
}

// judge says what is wrong with a generation that is whole.
func (w *watch) judge(c witness.Claim) error {
	switch {
	case c.Pod != w.said.Pod || c.UID != w.said.UID:
		return fmt.Errorf("the content is that of pod %s with UID %s, not of UID %s", c.Pod, c.UID, w.said.UID)
	case c.Began().After(w.now()):
		return fmt.Errorf("generation %d was never published", c.Generation)
	case c.Generation < w.said.Generation:
		return fmt.Errorf("generation %d came after generation %d", c.Generation, w.said.Generation)
	}
	return nil
}

// read judges one generation as a whole. One that is removed while it is read has a
// successor, and is no violation; whatever else is missing is.
func (w *watch) read() (witness.Claim, error) {
	for {
		before, err := os.Readlink(filepath.Join(w.dir, data))
		if err != nil {
			return witness.Claim{}, err
		}
		claim, err := w.readIn(filepath.Join(w.dir, before))
		if !errors.Is(err, errMissing) {
			return claim, err
		}
		if now, again := os.Readlink(filepath.Join(w.dir, data)); again != nil || now == before {
			return claim, err
		}
	}
}

// errMissing says that not everything is there.
var errMissing = errors.New("something is missing")

// readIn reads all files through one descriptor of the generation: whatever becomes of
// the volume meanwhile, they belong together. Each must also be there by its own name.
func (w *watch) readIn(generation string) (witness.Claim, error) {
	root, err := os.OpenRoot(generation)
	if err != nil {
		return witness.Claim{}, missing(err)
	}
	defer func() { _ = root.Close() }()
	files := map[string][]byte{}
	if err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return missing(err)
		}
		files[path], err = root.ReadFile(path)
		return missing(err)
	}); err != nil {
		return witness.Claim{}, err
	}
	claim, err := witness.Check(files)
	if err != nil {
		return claim, missing(err)
	}
	for name := range files {
		if _, err := os.Stat(filepath.Join(w.dir, name)); err != nil {
			return claim, missing(err)
		}
	}
	return claim, nil
}

// missing marks what says that a file is not there.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, witness.ErrIncomplete) {
		return fmt.Errorf("%w: %w", errMissing, err)
	}
	return err
}
