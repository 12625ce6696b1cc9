package azure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/provider"
)

const (
	// maxFiles bounds the content of one volume.
	maxFiles = 16 << 20
	// maxParallel bounds the reads of one volume that are under way.
	maxParallel = 8
)

// mount is one call of the driver.
type mount struct {
	caller    *caller
	class     *azureclass.Class
	session   *session
	vault     *vault
	id        provider.VolumeID
	notBefore time.Time
	refresh   bool // the volume is mounted already
}

// part is a version of an object with the path of its file.
type part struct {
	object *azureclass.Object
	id     string
	path   string
	read   readKey
	bundle *bundle
}

// Mount implements [provider.Provider].
func (p *Provider) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	class, c, err := p.parse(req)
	if err != nil {
		return nil, err
	}
	for _, w := range class.Warnings {
		p.log.LogAttrs(ctx, slog.LevelDebug, w, slog.String("namespace", req.Pod.Namespace), slog.String("class", req.Class))
	}
	s, err := p.enter(c)
	if err != nil {
		return nil, provider.At(provider.LoggingIn, err)
	}
	defer p.leave(s)
	m := &mount{caller: c, class: class, session: s, id: volumeID(req), notBefore: time.Now().Add(-sharing)}
	if req.NotBefore.After(m.notBefore) {
		m.notBefore = req.NotBefore
	}
	m.refresh = p.isMounted(m.id)
	if c.token.Value != "" {
		s.credential.trust(m.id, c.token)
	}
	if m.vault, err = p.vaultOf(s, class.Vault); err != nil {
		return nil, err
	}
	parts, err := p.list(ctx, m)
	if err != nil {
		return nil, err
	}
	if err = p.readAll(ctx, m, parts); err != nil {
		return nil, err
	}
	resp, err := p.files(parts, req.Mode)
	if err != nil {
		return nil, provider.At(provider.Reading, err)
	}
	p.settle(m, parts)
	return resp, nil
}

// parse judges in the order that users of the existing provider know. (azure-contract 4.7)
func (p *Provider) parse(req *provider.Request) (*azureclass.Class, *caller, error) {
	switch {
	case req.Pod.Name == "":
		return nil, nil, provider.Errorf(provider.Invalid, "pod name is not set: the CSIDriver object must have podInfoOnMount")
	case req.Pod.Namespace == "":
		return nil, nil, provider.Errorf(provider.Invalid, "pod namespace is not set: the CSIDriver object must have podInfoOnMount")
	}
	class, err := azureclass.Parse(req.Parameters)
	if err != nil {
		return nil, nil, provider.Errorf(provider.Invalid, "%w", err)
	}
	c, err := p.admit(req, class)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(class.ParseObjects()); err != nil {
		return nil, nil, provider.Errorf(provider.Invalid, "%w", err)
	}
	if err := class.CheckVault(); err != nil {
		return nil, nil, provider.Errorf(provider.Invalid, "%w", err)
	}
	return class, c, nil
}

func volumeID(req *provider.Request) provider.VolumeID {
	if req.Volume != "" {
		return req.Volume
	}
	return provider.VolumeID(req.Pod.UID + "/" + req.Class)
}

// list finds out which versions there are to read: one for most objects, several in
// history mode. (azure-contract 5.24-5.31)
func (p *Provider) list(ctx context.Context, m *mount) (parts []*part, err error) {
	for i := range m.class.Objects {
		o := &m.class.Objects[i]
		key := readKey{m.class.Vault, o.Type, o.Name, o.Version}
		if o.History < 2 {
			parts = append(parts, &part{object: o, id: o.ID(), path: o.File, read: key})
			continue
		}
		all, _, err := m.session.lists.Do(ctx, listKey{m.class.Vault, o.Type, o.Name}, m.notBefore, func(ctx context.Context) ([]listed, bool, error) {
			all, err := m.vault.versions(ctx, o.Type, o.Name)
			return all, err == nil, err
		})
		if err != nil {
			return nil, provider.At(provider.Reading, o.Failed(m.failure(err)))
		}
		chosen, err := history(o, all)
		if err != nil {
			return nil, provider.At(provider.Reading, o.Failed(err))
		}
		for n, version := range chosen {
			index := strconv.Itoa(n)
			key.version = version
			parts = append(parts, &part{object: o, id: o.ID() + "/" + index, path: o.File + "/" + index, read: key})
		}
	}
	return parts, nil
}

// history chooses as many versions as the class asks for, from the one that it names on.
func history(o *azureclass.Object, all []listed) (chosen []string, err error) {
	start := 0
	if o.Version != "" {
		start = -1
		for i, l := range all {
			if l.version == o.Version {
				start = i
			}
		}
	}
	if start < 0 || len(all) == 0 {
		return nil, provider.Errorf(provider.NotFound, "there is no such version that is enabled, so there is no history to write")
	}
	for _, l := range all[start:min(len(all), start+o.History)] {
		chosen = append(chosen, l.version)
	}
	return chosen, nil
}

// readAll makes each distinct request once, and fails if one of them does.
func (p *Provider) readAll(ctx context.Context, m *mount, parts []*part) error {
	first := map[readKey]*part{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxParallel)
	for _, pt := range parts {
		if first[pt.read] != nil {
			continue
		}
		first[pt.read] = pt
		group.Go(func() (err error) {
			if pt.bundle, err = p.read(ctx, m, pt.read); err != nil {
				return provider.At(provider.Reading, pt.object.Failed(m.failure(err)))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, pt := range parts {
		pt.bundle = first[pt.read].bundle
	}
	return nil
}

// read answers from what others of the identity read just now, or from Key Vault.
func (p *Provider) read(ctx context.Context, m *mount, key readKey) (*bundle, error) {
	b, own, err := m.session.reads.Do(ctx, key, p.newerFor(m, key), func(ctx context.Context) (*bundle, bool, error) {
		if err := m.vault.pace.wait(ctx, m.refresh); err != nil {
			return nil, false, err
		}
		began := time.Now()
		b, err := m.vault.get(ctx, key.kind, key.name, key.version)
		if err != nil {
			return nil, false, err
		}
		b.began = began
		return &b, true, nil
	})
	if err == nil && !own {
		p.meter.coalesced.Inc()
	}
	return b, err
}

// newerFor is when a read must have begun that the volume can have: a refresh wants one
// that the volume does not know yet.
func (p *Provider) newerFor(m *mount, key readKey) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.volumes[m.id]
	if v == nil || v.session != m.session {
		return m.notBefore
	}
	if known, ok := v.known[key]; ok && !known.Before(m.notBefore) {
		return known.Add(1)
	}
	return m.notBefore
}

// isMounted says whether the volume has files already.
func (p *Provider) isMounted(id provider.VolumeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.volumes[id] != nil
}

// settle notes what a volume has.
func (p *Provider) settle(m *mount, parts []*part) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.volumes[m.id]
	if v == nil {
		v = &volume{}
		p.volumes[m.id] = v
	} else if v.session != m.session {
		delete(v.session.volumes, m.id)
		v.session.credential.distrust(m.id)
	}
	v.session, v.known = m.session, map[readKey]time.Time{}
	for _, pt := range parts {
		v.known[pt.read] = pt.bundle.began
	}
	m.session.volumes[m.id] = struct{}{}
}

// files makes the reply. Of two objects with one path the last wins, as it always did.
func (p *Provider) files(parts []*part, mode fs.FileMode) (*provider.Response, error) {
	resp := &provider.Response{}
	index := map[string]int{}
	total := 0
	for _, pt := range parts {
		files, err := p.render.render(pt.object, pt.path, pt.bundle)
		if err != nil {
			return nil, pt.object.Failed(err)
		}
		for _, f := range files {
			if total += len(f.content); total > maxFiles {
				return nil, provider.Errorf(provider.TooLarge, "the files of the volume exceed %d bytes", maxFiles)
			}
			made := provider.File{Path: f.path, Mode: modeOf(pt.object, mode), Contents: f.content}
			if i, ok := index[f.path]; ok {
				resp.Files[i] = made
			} else {
				index[f.path] = len(resp.Files)
				resp.Files = append(resp.Files, made)
			}
			resp.Versions = append(resp.Versions, provider.Version{ID: pt.id, Version: pt.bundle.version})
		}
	}
	return resp, nil
}

func modeOf(o *azureclass.Object, otherwise fs.FileMode) fs.FileMode {
	if o.Mode != 0 {
		return o.Mode
	}
	return otherwise
}

// failure gives an error of the SDK a kind, and says who asked which vault.
func (m *mount) failure(err error) error {
	kind, wait, text := explain(err)
	who := string(m.caller.mode)
	if m.caller.clientID != "" {
		who += " with client id " + m.caller.clientID
	}
	return &provider.Error{Kind: kind, RetryAfter: wait, Err: fmt.Errorf("vault %s, as %s: %s", m.class.Vault, who, text)}
}
