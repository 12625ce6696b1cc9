package providertest

import (
	"fmt"
	"time"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest/witness"
)

// tooLarge is more than a driver takes with its default flags.
const tooLarge = 8 << 20

// spoilers are what an answer can be made into, by names.
func spoilers() map[string]func(files []provider.File) []provider.File {
	with := func(more ...provider.File) func([]provider.File) []provider.File {
		return func(files []provider.File) []provider.File { return append(files, more...) }
	}
	return map[string]func([]provider.File) []provider.File{
		"":         with(),
		"empty":    func([]provider.File) []provider.File { return nil },
		"oversize": with(provider.File{Path: "large", Contents: make([]byte, tooLarge)}),
		"dot":      with(provider.File{Path: "."}),
		"parent":   with(provider.File{Path: "../escaped"}),
		"conflict": with(provider.File{Path: "clash"}, provider.File{Path: "clash/below"}),
		"garbage":  with(provider.File{Path: "a\x00b\xff", Mode: 0o7777}),
	}
}

// Spoil makes answers bad: empty, oversize, dot, parent, conflict or garbage, until it is
// called with "".
func (f *Fake) Spoil(how string) error {
	spoil, ok := spoilers()[how]
	if !ok {
		return fmt.Errorf("answers cannot be spoiled as %q", how)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil = spoil
	return nil
}

// generations answers a class whose parameter of that name is a period: its objects are
// files that [witness.Check] can judge, and change once a period.
func generations(text string, names []string, req *provider.Request) (*provider.Response, error) {
	period, err := time.ParseDuration(text)
	if err != nil || period <= 0 {
		return nil, provider.Errorf(provider.Invalid, "parameter generations: %q is no period", text)
	}
	claim := witness.At(time.Now(), period, podOf(req), req.Pod.UID)
	files := witness.Files(claim, names)
	resp := &provider.Response{}
	for _, name := range names {
		resp.Files = append(resp.Files, provider.File{Path: name, Contents: files[name]})
		resp.Versions = append(resp.Versions, provider.Version{ID: "secret/" + name, Version: fmt.Sprint(claim.Generation)})
	}
	return resp, nil
}
