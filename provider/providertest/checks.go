package providertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// atOnce is how many calls are made side by side.
const atOnce = 16

// soon bounds what ought to take no time at all.
const soon = 5 * time.Second

// each asks all requests, in the order of their names.
func (s *subject) each(ctx context.Context, requests map[string]*provider.Request, judge func(*provider.Response, error) error) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		if err := judge(s.mount(ctx, requests[name])); err != nil {
			errs = append(errs, fmt.Errorf("request %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// works says whether good requests are answered.
func works(_ *provider.Response, err error) error { return err }

// checkGood: paths and modes are what a volume can have, already as the provider
// gives them.
func (s *subject) checkGood(ctx context.Context) error {
	err := s.each(ctx, s.Good, works)
	for _, a := range s.tap.answers() {
		err = errors.Join(err, provider.CheckFiles(a.was.Files))
	}
	return err
}

func (s *subject) checkVersions(ctx context.Context) error {
	first := map[int]*provider.Response{}
	for range 2 {
		i := 0
		err := s.each(ctx, s.Good, func(resp *provider.Response, err error) error {
			before := first[i]
			first[i], i = resp, i+1
			if err != nil || before == nil {
				return err
			}
			if !slices.Equal(before.Versions, resp.Versions) {
				return errors.New("nothing changed but the versions")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var errs []error
	for _, a := range s.tap.answers() {
		errs = append(errs, s.checkVersionsOf(&a.was))
	}
	return errors.Join(errs...)
}

// checkVersionsOf looks at an answer as the provider gave it: the wire has no two
// versions with one id.
func (s *subject) checkVersionsOf(resp *provider.Response) error {
	values := slices.Clone(s.Canaries)
	for _, f := range resp.Files {
		if text := strings.TrimSpace(string(f.Contents)); len(text) >= minValue {
			values = append(values, text, string(f.Contents))
		}
	}
	seen := map[string]bool{}
	for _, v := range resp.Versions {
		switch {
		case v.ID == "" || v.Version == "":
			return fmt.Errorf("version %q of object %q: neither may be empty", v.Version, v.ID)
		case seen[v.ID]:
			return fmt.Errorf("two versions have the id %q", v.ID)
		}
		seen[v.ID] = true
		for _, value := range values {
			if how := revealed(v.ID, value) + revealed(v.Version, value); how != "" {
				return fmt.Errorf("a version reveals a value%s", how)
			}
		}
	}
	return nil
}

func (s *subject) checkConcurrency(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	answers := map[string]*provider.Response{}
	var all sync.WaitGroup
	for name, req := range s.Good {
		for range atOnce {
			all.Go(func() {
				resp, err := s.mount(ctx, req)
				mu.Lock()
				defer mu.Unlock()
				if before := answers[name]; err == nil && before != nil {
					err = differ(before, resp)
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("request %q: %w", name, err))
					return
				}
				answers[name] = resp
			})
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// checkKept: what was answered stays as it was while others are answered. A provider
// that lends its own memory fails it; one that does so only side by side is for the
// race detector.
func (s *subject) checkKept(ctx context.Context) error {
	for range 2 {
		if err := s.each(ctx, s.Good, works); err != nil {
			return err
		}
	}
	var errs []error
	for _, a := range s.tap.answers() {
		if err := differ(&a.was, a.given); err != nil {
			errs = append(errs, fmt.Errorf("an answer changed after it was given: %w", err))
		}
	}
	return errors.Join(errs...)
}

// failsWith judges requests that must fail with one of the kinds.
func failsWith(kinds ...provider.Kind) func(*provider.Response, error) error {
	return func(_ *provider.Response, err error) error {
		switch {
		case err == nil:
			return errors.New("succeeds")
		case !slices.Contains(kinds, provider.KindOf(err)):
			return fmt.Errorf("is of kind %v, want one of %v: %w", provider.KindOf(err), kinds, err)
		}
		return nil
	}
}

func (s *subject) checkBad(ctx context.Context) error {
	return s.each(ctx, s.Bad, failsWith(provider.Invalid))
}

func (s *subject) checkMissing(ctx context.Context) error {
	return s.each(ctx, s.Missing, failsWith(provider.NotFound, provider.Denied))
}

// checkOdd replaces what authors of classes and pods write, one thing at a time. Any
// answer will do that comes.
func (s *subject) checkOdd(ctx context.Context) error {
	var errs []error
	for name, req := range s.Good {
		for what, odd := range oddities(req) {
			_, before, _ := s.tap.counts()
			_, err := s.mount(ctx, odd)
			if _, after, _ := s.tap.counts(); after != before {
				errs = append(errs, fmt.Errorf("request %q with %s: panics", name, what))
			}
			if provider.KindOf(err) == provider.Timeout {
				errs = append(errs, fmt.Errorf("request %q with %s: %w", name, what, err))
			}
		}
	}
	return errors.Join(errs...)
}

// oddities are variants of a request, by what is odd about them.
func oddities(req *provider.Request) map[string]*provider.Request {
	all := map[string]*provider.Request{}
	add := func(what string, change func(*provider.Request)) {
		odd := *req
		odd.Parameters = maps.Clone(req.Parameters)
		change(&odd)
		all[what] = &odd
	}
	add("no tokens", func(r *provider.Request) { r.Tokens = nil })
	add("no secrets", func(r *provider.Request) { r.Secrets = nil })
	add("no pod", func(r *provider.Request) { r.Pod = provider.Pod{} })
	add("no parameters", func(r *provider.Request) { r.Parameters = nil })
	for key := range req.Parameters {
		add("parameter "+key+" missing", func(r *provider.Request) { delete(r.Parameters, key) })
		for what, value := range map[string]string{
			"empty": "", "NUL": "\x00", "a number": "-1", "null": "null", "brackets": strings.Repeat("[", 10_000),
			"a list of null": "[null]", "a list of lists": "[[[]]]", "YAML aliases": "a: &a [1]\nb: [*a, *a, *a]\n",
			"lines": strings.Repeat("- a: b\n", 1_000), "long": strings.Repeat("a", 1<<17),
		} {
			add("parameter "+key+" "+what, func(r *provider.Request) { r.Parameters[key] = value })
		}
	}
	return all
}

// checkEnded: a call that nobody waits for any longer returns.
func (s *subject) checkEnded(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	for _, req := range s.Good {
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			_, err := s.tap.Mount(ctx, req)
			s.note(err)
		}()
		select {
		case <-returned:
		case <-time.After(soon):
			return fmt.Errorf("a call with an ended context has not returned after %v", soon)
		}
	}
	return nil
}

func (s *subject) checkHang(ctx context.Context) error {
	if s.Hang == nil {
		return errNoHook
	}
	mend := sync.OnceFunc(s.Hang())
	defer mend()
	for name, req := range s.Good {
		short, cancel := context.WithTimeout(ctx, time.Second) // time to reach the provider, on a busy machine
		_, err := s.mount(short, req)
		cancel()
		if err = failsWith(provider.Timeout)(nil, err); err != nil {
			return fmt.Errorf("request %q: %w", name, err)
		}
	}
	if err := s.eventually(ctx, soon, s.idle); err != nil {
		return err
	}
	mend()
	return s.eventually(ctx, callTimeout, func(ctx context.Context) error { return s.each(ctx, s.Good, works) })
}

func (s *subject) idle(context.Context) error {
	if n, _, _ := s.tap.counts(); n > 0 {
		return fmt.Errorf("%d calls go on after their contexts have ended", n)
	}
	return nil
}

func (s *subject) checkBreak(ctx context.Context) error {
	if s.Break == nil {
		return errNoHook
	}
	mend := sync.OnceFunc(s.Break())
	defer mend()
	err := s.each(ctx, s.Good, failsWith(provider.Unavailable, provider.Throttled, provider.Timeout))
	mend()
	return errors.Join(err, s.eventually(ctx, callTimeout, func(ctx context.Context) error { return s.each(ctx, s.Good, works) }))
}

func (s *subject) checkPanic(ctx context.Context) error {
	if s.Panic == nil {
		return errNoHook
	}
	mend := sync.OnceFunc(s.Panic())
	defer mend()
	err := s.each(ctx, s.Good, failsWith(provider.Internal))
	if _, panics, _ := s.tap.counts(); panics == 0 {
		err = errors.Join(err, errors.New("the hook makes nothing panic"))
	}
	mend()
	return errors.Join(err, s.each(ctx, s.Good, works))
}

// checkOversize: the answer does not fit, the error says so, and others are served.
func (s *subject) checkOversize(ctx context.Context) error {
	small, err := s.connect(1)
	if err != nil {
		return err
	}
	defer func() { _ = small.Close() }()
	for name, req := range s.Good {
		_, err := small.Mount(ctx, subjectName, req)
		s.note(err)
		if err = failsWith(provider.TooLarge)(nil, err); err != nil {
			return fmt.Errorf("request %q: %w", name, err)
		}
	}
	return s.each(ctx, s.Good, works)
}

// checkAnnouncements: what a provider announces is clear, and enough for it.
func (s *subject) checkAnnouncements(ctx context.Context) error {
	audiences := slices.Sorted(slices.Values(s.tap.Audiences()))
	if unique := slices.Compact(slices.Clone(audiences)); len(unique) != len(audiences) {
		return fmt.Errorf("audiences %q are announced twice", audiences)
	}
	if again := slices.Sorted(slices.Values(s.tap.Audiences())); !slices.Equal(again, audiences) {
		return fmt.Errorf("audiences %q are announced, then %q", audiences, again)
	}
	return s.each(ctx, s.Good, works)
}

// checkUnmounted: calls for volumes that are known, gone already or never were.
func (s *subject) checkUnmounted(ctx context.Context) error {
	if _, ok := s.tap.provider.(provider.Unmounter); !ok {
		return errNoHook
	}
	err := s.each(ctx, s.Good, works)
	ids := []provider.VolumeID{"csi-conform", "csi-conform", "csi-never-mounted"}
	for _, req := range s.Good {
		ids = append(ids, req.Volume)
	}
	ids = slices.DeleteFunc(ids, func(v provider.VolumeID) bool { return v == "" })
	for _, v := range ids {
		s.client.Unmounted(ctx, subjectName, v)
	}
	if _, panics, gone := s.tap.counts(); panics > 0 || gone != len(ids) {
		err = errors.Join(err, fmt.Errorf("of %d volumes that are gone, the provider took note of %d and panicked at %d", len(ids), gone, panics))
	}
	return errors.Join(err, s.each(ctx, s.Good, works))
}

// eventually asks until it is true, or returns the last error after a while.
func (s *subject) eventually(ctx context.Context, patience time.Duration, is func(context.Context) error) error {
	deadline := time.Now().Add(patience)
	for {
		err := is(ctx)
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}
