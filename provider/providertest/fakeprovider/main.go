package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

func main() {
	addr := flag.String("control-addr", ":8080", "address of the HTTP control")
	name := "e2e-provider"
	fake := providertest.NewFake()
	provider.Main(name, func(ctx context.Context, log *slog.Logger) (provider.Provider, error) {
		s := &http.Server{Addr: *addr, Handler: control(fake), ReadHeaderTimeout: 5 * time.Second}
		context.AfterFunc(ctx, func() { _ = s.Close() })
		go func() {
			if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
				log.Error("control", slog.String("err", err.Error()))
			}
		}()
		return fake, nil
	})
}

// control lists what a test can tell the fake. The first two are those of the
// fixture of the upstream driver.
func control(f *providertest.Fake) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, do func(r *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
	handle("/rotation", func(r *http.Request) error {
		f.Rotate(r.FormValue("rotated") == "true")
		return nil
	})
	handle("/validate-token-requests", func(r *http.Request) error {
		f.RequireTokens(strings.FieldsFunc(r.FormValue("audience"), func(c rune) bool { return c == ',' }))
		return nil
	})
	handle("/require-secret", func(r *http.Request) error {
		f.RequireSecret(r.FormValue("pod"), r.FormValue("key"))
		return nil
	})
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, f.Calls()) })
	mux.HandleFunc("GET /unmounted", func(w http.ResponseWriter, _ *http.Request) {
		for _, v := range f.Gone() {
			_, _ = fmt.Fprintln(w, v)
		}
	})
	handle("PUT /announce", func(r *http.Request) error {
		query := r.URL.Query()
		f.Announce(query["audience"], query.Get("versions") == "true")
		return nil
	})
	handle("PUT /object", func(r *http.Request) error { return put(f, r) })
	handle("DELETE /object", func(r *http.Request) error {
		f.Delete(r.URL.Query().Get("name"))
		return nil
	})
	handle("PUT /fail", func(r *http.Request) error { return fail(f, r) })
	handle("DELETE /fail", func(r *http.Request) error {
		if pods := r.URL.Query().Get("pod"); pods != "" {
			f.Break(pods, nil)
			return nil
		}
		f.Fail(nil)
		return nil
	})
	mux.HandleFunc("GET /log", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(f.Log()) })
	handle("PUT /hint", func(r *http.Request) error {
		refresh, err := duration(r, "refresh")
		validity, validErr := duration(r, "expires")
		f.Hint(r.URL.Query().Get("pod"), refresh, validity)
		return errors.Join(err, validErr)
	})
	handle("PUT /spoil", func(r *http.Request) error { return f.Spoil(r.URL.Query().Get("as")) })
	handle("PUT /delay", func(r *http.Request) error {
		d, err := time.ParseDuration(r.URL.Query().Get("for"))
		f.Delay(d)
		return err
	})
	return mux
}

// put takes the contents from the body, the rest from the query.
func put(f *providertest.Fake, r *http.Request) error {
	contents, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	mode := uint64(0)
	if text := query.Get("mode"); text != "" {
		if mode, err = strconv.ParseUint(text, 8, 32); err != nil {
			return err
		}
	}
	f.Put(query.Get("name"), providertest.Object{Contents: string(contents), Version: query.Get("version"), Mode: fs.FileMode(mode)})
	return nil
}

// fail takes the kind, and optionally the pods that alone fail as a pattern for
// NAMESPACE/NAME, the step and what the store asks callers to wait.
func fail(f *providertest.Fake, r *http.Request) error {
	query := r.URL.Query()
	kind := provider.KindNamed(query.Get("kind"))
	wait, err := duration(r, "retry-after")
	e := &provider.Error{Kind: kind, RetryAfter: wait, Err: fmt.Errorf("told to fail with %s", kind)}
	if query.Get("step") == "login" {
		e.Step = provider.LoggingIn
	}
	f.Break(query.Get("pod"), e)
	return err
}

// duration reads one of the query; none is 0.
func duration(r *http.Request, name string) (time.Duration, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	return time.ParseDuration(text)
}
