package vault

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/rotationtest"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// says is a handler that says always the same.
func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// trickle is a whole answer, a byte a second.
func trickle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for _, b := range []byte(kv2(map[string]any{"value": strings.Repeat("v", 1000)})) {
		if _, err := w.Write([]byte{b}); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
			return
		}
	}
}

type ailment struct {
	handler http.HandlerFunc
	says    string
}

func ailments() map[string]ailment {
	const throttled = `{"errors":["request path \"kv/app\": rate limit quota exceeded"]}`
	return map[string]ailment{
		"429":                         {says(429, throttled), "rate limit quota exceeded"},
		"429, Retry-After 5":          {says(429, throttled, "Retry-After", "5"), "rate limit quota exceeded"},
		"429, Retry-After 120":        {says(429, throttled, "Retry-After", "120"), "rate limit quota exceeded"},
		"500":                         {says(500, `{"errors":["internal error"]}`), "internal error"},
		"503":                         {says(503, `{"errors":["Vault is sealed"]}`), "Vault is sealed"},
		"a body that is cut off":      {says(200, `{"data":{"value":"v`, "Content-Length", "500"), "unexpected EOF"},
		"half JSON":                   {says(200, `{"data":{"value":"v`), "JSON"},
		"a byte a second":             {trickle, "deadline exceeded"},
		"a redirect to itself":        {func(w http.ResponseWriter, r *http.Request) { says(307, "", "Location", r.URL.String())(w, r) }, "redirect"},
		"an empty 200":                {says(200, ""), ""},
		"a connection that is closed": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"no answer":                   {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
	}
}

// TestOutages: for ten minutes Vault is of no use to 50 volumes of 10 accounts that are
// mounted, and to 5 that come, each in one of many ways. Nothing is lost, who waits is
// told why and soon enough, Vault is asked little, and everything goes on when it can.
func TestOutages(t *testing.T) {
	t.Parallel()
	for name, a := range ailments() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { checkOutage(t, a) })
		})
	}
}

func checkOutage(t *testing.T, a ailment) {
	const interval = time.Minute
	m, r := bubble(t)
	r.library.MinRetryWait, r.library.MaxRetryWait = time.Second, 1500*time.Millisecond // as the library has them
	seen := &rotationtest.Requests{}
	var ill atomic.Bool
	m.set(func() {
		m.front = func(w http.ResponseWriter, req *http.Request) bool {
			seen.Seen()
			if !ill.Load() {
				return false
			}
			a.handler(w, req)
			return true
		}
	})
	class := rotation.Class{UID: "c", Generation: 1, Provider: "vault", Parameters: map[string]string{"roleName": "app", "objects": "- {objectName: value, secretPath: kv/app, secretKey: value}"}}
	o := rotationtest.Outage{
		Node: rotationtest.NewNode(t, class, interval, r.Mount), VolumeOf: volumeOf, Requests: seen,
		Begin: func() { ill.Store(true); m.set(func() { m.value = "v1" }) }, End: func() { ill.Store(false) },
		Lasts: 10 * time.Minute, Patience: 5 * time.Minute,
	}
	f := o.Run(t)
	t.Log(f)
	switch {
	case f.Tries == 0 || !strings.Contains(f.Text, a.says) || !strings.Contains(f.Text, "kv/app") && !strings.Contains(f.Text, "login"):
		t.Errorf("%d first mounts failed; they were told %s", f.Tries, f.Text)
	case f.Slowest > 101*time.Second:
		t.Errorf("a first mount took %v", f.Slowest)
	case f.During > 300 || f.Peak > 60:
		t.Errorf("Vault was asked more than it should be: %v", f)
	}
}

func volumeOf(identity int, uid string) rotation.Volume {
	pod := podOf(fmt.Sprint("app-", identity), uid)
	return rotation.Volume{
		ID: provider.VolumeID("csi-" + uid), Target: "/t/" + uid, Pod: pod, Class: "web", GID: rotation.NoGroup,
		Tokens: provider.Tokens{"vault": {Value: provider.Secret(tokenFor(pod, accountUID))}},
	}
}
