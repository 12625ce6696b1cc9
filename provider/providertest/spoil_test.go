package providertest

import (
	"testing"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest/witness"
)

// A class with the parameter generations gets files that can be judged.
func TestGenerations(t *testing.T) {
	t.Parallel()
	f, req := NewFake(), request("a", "b")
	req.Parameters["generations"] = "1h"
	resp, err := f.Mount(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, file := range resp.Files {
		files[file.Path] = file.Contents
	}
	c, err := witness.Check(files)
	if err != nil || c.Pod != "shop/web-0" || c.UID != "u-1" || len(files) != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	req.Parameters["generations"] = "soon"
	if _, err = f.Mount(t.Context(), req); provider.KindOf(err) != provider.Invalid {
		t.Errorf("%v, want the kind Invalid", err)
	}
}

// What an answer can be spoiled into is no good answer any more.
func TestSpoil(t *testing.T) {
	t.Parallel()
	for how := range spoilers() {
		f := NewFake()
		if err := f.Spoil(how); err != nil {
			t.Fatal(err)
		}
		resp, err := f.Mount(t.Context(), request("foo"))
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, file := range resp.Files {
			size += len(file.Contents)
		}
		good := len(resp.Files) > 0 && size < 4<<20 && provider.CheckFiles(resp.Files) == nil
		if good != (how == "") {
			t.Errorf("spoiled as %q the answer has %d files with %d bytes", how, len(resp.Files), size)
		}
	}
	if err := NewFake().Spoil("rotten"); err == nil {
		t.Error("an answer can be spoiled as rotten")
	}
}
