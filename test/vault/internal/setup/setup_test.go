package setup

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/test/vault/internal/api"
)

// fake answers requests from a table and notes what it was asked.
type fake struct {
	answers map[string]string // "METHOD path" -> body; a body "403" is refused
	asked   []string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/v1/")
	f.asked = append(f.asked, key)
	body := f.answers[key]
	if body == "403" {
		w.WriteHeader(http.StatusForbidden)
		body = `{"errors":["permission denied"]}`
	}
	_, _ = w.Write([]byte(body))
}

func start(t *testing.T, answers map[string]string) (*api.Client, *fake) {
	t.Helper()
	f := &fake{answers: answers}
	s := httptest.NewTLSServer(f)
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := api.New(s.URL, ca)
	if err != nil {
		t.Fatal(err)
	}
	return c, f
}

func TestEnginesOnce(t *testing.T) {
	c, f := start(t, map[string]string{"GET sys/mounts": `{"data":{"secret/":{}}}`})
	if err := Engines(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(f.asked, "PUT sys/mounts/kv") || slices.Contains(f.asked, "PUT sys/mounts/secret") {
		t.Errorf("asked %q", f.asked)
	}
}

func TestRefusal(t *testing.T) {
	c, _ := start(t, map[string]string{"GET sys/audit": "403"})
	err := Audit(t.Context(), c, "/audit.log")
	if want := "GET sys/audit: 403 permission denied"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestInitKeepsKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	c, _ := start(t, map[string]string{
		"GET sys/health": `{"initialized":false,"sealed":true}`,
		"PUT sys/init":   `{"keys_base64":["key"],"root_token":"root"}`,
	})
	want := Keys{Unseal: "key", Root: "root"}
	if k, err := Init(t.Context(), c, file); err != nil || k != want {
		t.Fatalf("Init = %v, %v", k, err)
	}
	if k, err := ReadKeys(file); err != nil || k != want {
		t.Errorf("ReadKeys = %v, %v", k, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("keys: %v %v, want mode 0600", info, err)
	}
}

func TestInitLost(t *testing.T) {
	c, _ := start(t, map[string]string{"GET sys/health": `{"initialized":true,"sealed":true}`})
	file := filepath.Join(t.TempDir(), "keys.json")
	if _, err := Init(t.Context(), c, file); !errors.Is(err, ErrLost) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(file, []byte(`{"unse`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(t.Context(), c, file); !errors.Is(err, ErrLost) {
		t.Errorf("half a file: %v", err)
	}
}

func TestUnsealWaits(t *testing.T) {
	health, err := json.Marshal(api.Health{Initialized: true, Standby: true})
	if err != nil {
		t.Fatal(err)
	}
	c, f := start(t, map[string]string{"GET sys/health": string(health)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Unseal(ctx, c, Keys{}); err == nil {
		t.Error("a standby counts as ready")
	}
	if slices.Contains(f.asked, "PUT sys/unseal") {
		t.Error("unsealed what was not sealed")
	}
}
