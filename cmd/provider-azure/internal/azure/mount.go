package azure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
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
	volume    *volume
	notBefore time.Time // of what is shared with other volumes
	forced    time.Time // of what the volume has itself
	refresh   bool      // the volume is mounted already

	mu    sync.Mutex
	stale time.Time // of the oldest read from memory; zero if there is none
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
	warn := func(text string) { p.warnOnce(ctx, req.Pod.Namespace+"/"+req.Class, text) }
	for _, w := range class.Warnings {
		warn(w)
	}
	s, err := p.enter(c)
	if err != nil {
		return nil, provider.At(provider.LoggingIn, err)
	}
	defer p.leave(s)
	m := &mount{
		caller: c, class: class, session: s, id: volumeID(req),
		notBefore: coalesce.NotBefore(req.NotBefore), forced: req.NotBefore,
	}
	m.refresh = p.open(m)
	defer p.shut(m)
	if m.vault, err = p.vaultOf(s, class.Vault); err != nil {
		return nil, err
	}
	known := coalesce.Known[readKey]{}
	parts, err := p.list(ctx, m, known)
	if err != nil {
		return nil, err
	}
	if err = p.readAll(ctx, m, parts); err != nil {
		return nil, err
	}
	render := p.render
	render.warn = warn
	resp, err := render.files(parts, req.Mode)
	if err != nil {
		return nil, provider.At(provider.Reading, err)
	}
	resp.Stale = m.stale
	for _, pt := range parts {
		known[pt.read] = pt.bundle.began
	}
	p.settle(m, known)
	return resp, nil
}

// warnOnce logs a text about a class when it is new.
func (p *Provider) warnOnce(ctx context.Context, about, text string) {
	if p.seen.First(about + "/" + text) {
		p.log.LogAttrs(ctx, slog.LevelWarn, text, slog.String("about", about))
	}
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
	if err := class.ParseObjects(); err != nil {
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
func (p *Provider) list(ctx context.Context, m *mount, known coalesce.Known[readKey]) (parts []*part, err error) {
	histories, err := p.histories(ctx, m, known)
	if err != nil {
		return nil, err
	}
	for i := range m.class.Objects {
		o := &m.class.Objects[i]
		key := m.keyOf(o)
		if o.History < 2 {
			key.version = o.Version
			parts = append(parts, &part{object: o, id: o.ID(), path: o.File, read: key})
			continue
		}
		for n, version := range histories[i] {
			index := strconv.Itoa(n)
			key.version = version
			parts = append(parts, &part{object: o, id: o.ID() + "/" + index, path: o.File + "/" + index, read: key})
		}
	}
	return parts, nil
}

// keyOf is the read of an object's latest version.
func (m *mount) keyOf(o *azureclass.Object) readKey {
	return readKey{vault: strings.ToLower(m.class.Vault), kind: o.Type, name: o.Name}
}

// histories reads the lists that the class needs, and chooses versions of each object
// in history mode. It notes the lists in known.
func (p *Provider) histories(ctx context.Context, m *mount, known coalesce.Known[readKey]) ([][]string, error) {
	chosen, lists := make([][]string, len(m.class.Objects)), make([]*bundle, len(m.class.Objects))
	group := firstFailure{}
	group.SetLimit(maxParallel)
	for i := range m.class.Objects {
		o := &m.class.Objects[i]
		if o.History < 2 {
			continue
		}
		key := m.keyOf(o)
		key.list = true
		group.run(ctx, i, func(ctx context.Context) (err error) {
			if lists[i], err = p.read(ctx, m, key); err != nil {
				return o.Failed(m.failure(err))
			}
			if chosen[i], err = history(o, lists[i].versions); err != nil {
				return provider.At(provider.Reading, o.Failed(err))
			}
			return nil
		})
	}
	if err := group.wait(); err != nil {
		return nil, err
	}
	for i, list := range lists {
		if list != nil {
			key := m.keyOf(&m.class.Objects[i])
			key.list = true
			known[key] = list.began
		}
	}
	return chosen, nil
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

// readAll makes each distinct request once, and fails if one of them does: by the first
// one in the order of the class, so that events say the same each time.
func (p *Provider) readAll(ctx context.Context, m *mount, parts []*part) error {
	first := map[readKey]*part{}
	group := firstFailure{}
	group.SetLimit(maxParallel)
	for i, pt := range parts {
		if first[pt.read] != nil {
			continue
		}
		first[pt.read] = pt
		group.run(ctx, i, func(ctx context.Context) (err error) {
			if pt.bundle, err = p.read(ctx, m, pt.read); err != nil {
				return pt.object.Failed(m.failure(err))
			}
			return nil
		})
	}
	if err := group.wait(); err != nil {
		return err
	}
	for _, pt := range parts {
		pt.bundle = first[pt.read].bundle
	}
	return nil
}

// read answers from what the volume has if that cannot change, from what others of the
// identity read just now, from Key Vault, or, if the class wants that and Azure does
// not answer, from memory.
func (p *Provider) read(ctx context.Context, m *mount, key readKey) (*bundle, error) {
	if b := p.pinned(m, key); b != nil {
		return b, nil
	}
	ahead, done := m.session.turns.take(key, !m.refresh)
	defer done()
	b, own, err := p.join(ctx, m, key, ahead)
	switch {
	case err == nil && !own:
		p.meter.coalesced.Inc()
	case err != nil:
		if b = p.lastFor(m, key, err); b != nil {
			return b, nil
		}
		m.session.forget(key, err)
		return nil, err
	}
	p.remember(m, key, b)
	return b, nil
}

// join asks Key Vault together with all who want the same. If one who came long before
// has waited for too long, those who have not begin again, once.
func (p *Provider) join(ctx context.Context, m *mount, key readKey, ahead <-chan struct{}) (b *bundle, own bool, err error) {
	do := func() (*bundle, bool, error) {
		return m.session.reads.Do(ctx, key, p.newerFor(m, key), func(ctx context.Context) (b *bundle, share bool, err error) {
			b, err = p.ask(ctx, m, key, ahead)
			return b, true, err
		})
	}
	began := time.Now()
	if b, own, err = do(); own || !isCrowded(err) || time.Since(began) > maxWait/2 {
		return b, own, err
	}
	return do()
}

// ask asks Key Vault, when it is time for that.
func (p *Provider) ask(ctx context.Context, m *mount, key readKey, ahead <-chan struct{}) (b *bundle, err error) {
	meeting := m.vault.meet(ctx, key.kind, ahead)
	defer meeting.end()
	err = m.vault.pace.do(ctx, ahead, func(ctx context.Context) (err error) {
		coalesce.Begin(ctx)
		meeting.begin()
		ctx, began := m.session.credential.begin(ctx)
		b, err = m.vault.get(ctx, key)
		if isUnauthorized(err) && m.session.credential.renew(began) {
			b, err = m.vault.get(ctx, key)
		}
		return err
	})
	return b, err
}

// files makes the reply. Of two objects with one path the last wins, as it always did.
func (r *renderer) files(parts []*part, mode fs.FileMode) (*provider.Response, error) {
	resp := &provider.Response{}
	index := map[string]int{}
	total := 0
	for _, pt := range parts {
		files, err := r.render(pt.object, pt.path, pt.bundle)
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

// failure says who asked which vault, and in which step.
func (m *mount) failure(err error) error {
	failed := &provider.Error{Step: provider.Reading}
	switch own, ok := errors.AsType[*provider.Error](err); {
	case ok:
		failed.Kind, failed.RetryAfter = own.Kind, own.RetryAfter
	case errors.Is(err, context.DeadlineExceeded):
		failed.Kind = provider.Timeout
		err = fmt.Errorf("no time is left to wait for Azure: %w", err)
	}
	if failed.Kind == provider.Timeout {
		err = fmt.Errorf("%w%s%s", err, m.vault.pace.recent(), m.session.credential.last.recent())
	}
	if _, ok := errors.AsType[*loginFailure](err); ok {
		failed.Step = provider.LoggingIn
	}
	failed.Err = fmt.Errorf("vault %s, as %s: %s", m.class.Vault, m.caller, m.caller.hide(err.Error()))
	return failed
}
