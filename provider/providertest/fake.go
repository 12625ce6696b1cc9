package providertest

import (
	"context"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/provider"
)

// Object is an object of the fake's store.
type Object struct {
	Contents string
	Version  string
	// Mode of the file; 0 is the default of the request.
	Mode fs.FileMode
}

// Call is one call of a Fake.
type Call struct {
	Time   time.Time         `json:"time"`
	Volume provider.VolumeID `json:"volume"`
	Pod    string            `json:"pod"`
}

const maxLog = 100_000 // calls that are kept

// hint is what responses say about when to call again.
type hint struct{ refresh, validity time.Duration }

// Fake is a provider with a store in memory. The class parameter objects lists what
// a volume holds, as the fixture of the upstream driver does:
//
//	objects: |
//	  array:
//	  - |
//	    objectName: foo
//
// If a class has the parameter generations as well, they are no objects of the store but
// files that say of themselves what they are: see package witness. Its methods may be called at any time.
type Fake struct {
	mu        sync.Mutex
	objects   map[string]Object
	required  []string
	keys      map[string]string // of nodePublishSecretRef, by the pods that need them
	audiences []string
	versions  bool
	delay     time.Duration
	errs      map[string]error // by the pods that get them
	hints     map[string]hint  // by the pods that get them
	panics    string
	spoil     func([]provider.File) []provider.File
	calls     int
	log       []Call
	gone      []provider.VolumeID
}

var (
	_ provider.Provider    = (*Fake)(nil)
	_ provider.Audiencer   = (*Fake)(nil)
	_ provider.VersionUser = (*Fake)(nil)
	_ provider.Unmounter   = (*Fake)(nil)
)

// NewFake returns a Fake that holds the objects foo and fookey.
func NewFake() *Fake {
	f := &Fake{errs: map[string]error{}, hints: map[string]hint{}, keys: map[string]string{}}
	f.Rotate(false)
	return f
}

// Rotate sets foo to what it is before or after a rotation.
func (f *Fake) Rotate(rotated bool) {
	foo := Object{Contents: "secret", Version: "v1"}
	if rotated {
		foo = Object{Contents: "rotated", Version: "v2"}
	}
	key := "-----BEGIN PUBLIC KEY-----\nThis is mock key\n-----END PUBLIC KEY-----"
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects = map[string]Object{"foo": foo, "fookey": {Contents: key, Version: "v1"}}
}

// Put adds or replaces an object.
func (f *Fake) Put(name string, o Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[name] = o
}

// Delete removes an object; a class that names it can then not be mounted.
func (f *Fake) Delete(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, name)
}

// Fail makes every call fail with err, until it is nil again: then none fails that was
// made to.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	clear(f.errs)
	f.mu.Unlock()
	f.Break("", err)
}

// Break makes the calls for some pods fail with err, until it is nil again. Pods are a
// pattern of [path.Match] for NAMESPACE/NAME; "" is all of them.
func (f *Fake) Break(pods string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.errs, pods)
	if err != nil {
		f.errs[pods] = err
	}
}

// Hint makes responses for some pods, as [Fake.Break] has them, ask for another call
// after refresh, and say that they are valid for validity; 0 is neither.
func (f *Fake) Hint(pods string, refresh, validity time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.hints, pods)
	if refresh > 0 || validity > 0 {
		f.hints[pods] = hint{refresh, validity}
	}
}

// of picks what was told about a pod; what was told about all of them comes last.
func of[T any](told map[string]T, pod string) (is T) {
	for _, pods := range slices.Backward(slices.Sorted(maps.Keys(told))) {
		if ok, _ := path.Match(pods, pod); ok || pods == "" {
			return told[pods]
		}
	}
	return is
}

// Log lists the calls so far.
func (f *Fake) Log() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// Delay makes every call take d, or until its context ends.
func (f *Fake) Delay(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = d
}

// RequireTokens makes every call fail that lacks a token for one of the audiences.
func (f *Fake) RequireTokens(audiences []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.required = audiences
}

// RequireSecret makes calls for some pods, as [Fake.Break] has them, fail whose
// nodePublishSecretRef lacks a key; an empty key ends that.
func (f *Fake) RequireSecret(pods, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[pods] = key
}

// Announce sets what the fake tells a driver that connects from now on: the
// audiences it wants, and whether it uses current versions. At first it is nothing.
func (f *Fake) Announce(audiences []string, versions bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.audiences, f.versions = slices.Clone(audiences), versions
}

// Panic makes every call panic with text, until that is empty again.
func (f *Fake) Panic(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.panics = text
}

// Gone lists the volumes that were unmounted.
func (f *Fake) Gone() []provider.VolumeID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.gone)
}

// Audiences implements [provider.Audiencer].
func (f *Fake) Audiences() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.audiences)
}

// UsesVersions implements [provider.VersionUser].
func (f *Fake) UsesVersions() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.versions
}

// Unmounted implements [provider.Unmounter].
func (f *Fake) Unmounted(_ context.Context, v provider.VolumeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = append(f.gone, v)
}

// Calls counts the calls so far.
func (f *Fake) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Mount implements [provider.Provider].
func (f *Fake) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	names, err := namesOf(req.Parameters["objects"])
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.calls++
	if len(f.log) < maxLog {
		f.log = append(f.log, Call{Time: time.Now(), Volume: req.Volume, Pod: podOf(req)})
	}
	delay := f.delay
	f.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
	if err = ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err = f.refuse(req); err != nil {
		return nil, err
	}
	resp, err := f.answer(names, req)
	if err == nil && f.spoil != nil {
		resp.Files = f.spoil(resp.Files)
	}
	return resp, err
}

// answer needs f.mu.
func (f *Fake) answer(names []string, req *provider.Request) (*provider.Response, error) {
	if period := req.Parameters["generations"]; period != "" {
		return generations(period, names, req)
	}
	return f.read(names, of(f.hints, podOf(req)))
}

func podOf(req *provider.Request) string { return req.Pod.Namespace + "/" + req.Pod.Name }

// refuse fails as the fake was told to; it needs f.mu.
func (f *Fake) refuse(req *provider.Request) error {
	switch {
	case f.panics != "":
		panic(f.panics)
	case of(f.errs, podOf(req)) != nil:
		return of(f.errs, podOf(req))
	}
	if key := of(f.keys, podOf(req)); key != "" && req.Secrets[key] == "" {
		return provider.Errorf(provider.Invalid, "nodePublishSecretRef has no key %q", key)
	}
	return f.checkTokens(req.Tokens)
}

func (f *Fake) checkTokens(tokens provider.Tokens) error {
	missing := slices.Clone(f.required)
	missing = slices.DeleteFunc(missing, func(a string) bool { return tokens[a].Value != "" })
	if len(missing) > 0 {
		return provider.Errorf(provider.Invalid, "no service account token for audience %s", strings.Join(missing, ", "))
	}
	return nil
}

func (f *Fake) read(names []string, h hint) (*provider.Response, error) {
	resp := &provider.Response{Refresh: h.refresh}
	if h.validity > 0 {
		resp.Expires = time.Now().Add(h.validity)
	}
	for _, name := range names {
		o, ok := f.objects[name]
		if !ok {
			return nil, provider.Errorf(provider.NotFound, "object %q does not exist", name)
		}
		resp.Files = append(resp.Files, provider.File{Path: name, Mode: o.Mode, Contents: []byte(o.Contents)})
		resp.Versions = append(resp.Versions, provider.Version{ID: "secret/" + name, Version: o.Version})
	}
	return resp, nil
}

func namesOf(objects string) ([]string, error) {
	var list struct {
		Array []string `json:"array"`
	}
	if err := yaml.Unmarshal([]byte(objects), &list); err != nil {
		return nil, provider.Errorf(provider.Invalid, "parse parameter objects: %w", err)
	}
	names := make([]string, 0, len(list.Array))
	for i, text := range list.Array {
		var entry struct {
			Name string `json:"objectName"`
		}
		if err := yaml.Unmarshal([]byte(text), &entry); err != nil {
			return nil, provider.Errorf(provider.Invalid, "parse item %d of parameter objects: %w", i, err)
		}
		if entry.Name == "" {
			return nil, provider.Errorf(provider.Invalid, "item %d of parameter objects has no objectName", i)
		}
		names = append(names, entry.Name)
	}
	if len(names) == 0 {
		return nil, provider.Errorf(provider.Invalid, "parameter objects names no object")
	}
	return names, nil
}
