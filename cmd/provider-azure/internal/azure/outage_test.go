package azure

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/rotationtest"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// watched notes each request.
type watched struct {
	bounded

	seen *rotationtest.Requests
}

// Do implements [policy.Transporter].
func (w watched) Do(req *http.Request) (*http.Response, error) {
	w.seen.Seen()
	return w.bounded.Do(req)
}

type ailment struct {
	fault cloud.Fault
	says  string
}

func ailments() map[string]ailment {
	const body = `{"value": "v1", "id": "https://shop.vault.azure.test/secrets/db/1", "attributes": {"enabled": true}}`
	return map[string]ailment{
		"429":                         {cloud.Fault{Status: 429}, "429"},
		"429, Retry-After 5":          {cloud.Fault{Status: 429, RetryAfter: "5"}, "429"},
		"429, Retry-After 120":        {cloud.Fault{Status: 429, RetryAfter: "120"}, "429"},
		"500":                         {cloud.Fault{Status: 500}, "500"},
		"503":                         {cloud.Fault{Status: 503}, "503"},
		"a body that is cut off":      {cloud.Fault{Status: 200, Body: body, Cut: true}, "unexpected EOF"},
		"half JSON":                   {cloud.Fault{Status: 200, Body: body[:len(body)/2]}, "cannot be understood"},
		"a byte a second":             {cloud.Fault{Status: 200, Body: strings.Repeat(body, 20), Drip: true}, "no time was left"},
		"a redirect to itself":        {cloud.Fault{Status: 307, Location: "https://shop.vault.azure.test/secrets/db/?api-version=7.4"}, "307"},
		"an empty 200":                {cloud.Fault{Status: 200, Body: " "}, ""},
		"a connection that is closed": {cloud.Fault{Reset: true}, "EOF"},
		"no answer":                   {cloud.Fault{Hang: true}, "no time was left"},
	}
}

// TestOutages: for ten minutes a vault is of no use to 50 volumes of 10 identities that
// are mounted, and to 5 that come, each in one of many ways. Nothing is lost, who waits is
// told why and soon enough, the vault is asked little, and everything goes on when it can.
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
	g := newBubble(t)
	g.put(t, "db", "v1")
	g.admitAll(t, rotationtest.Identities)
	seen := &rotationtest.Requests{}
	g.transport = watched{bounded{&http.Client{Transport: g.Transport, CheckRedirect: newTransport().CheckRedirect}}, seen}
	a.fault.Where = "vault"
	class := rotation.Class{UID: "c", Generation: 1, Provider: "azure", Parameters: ask(podOf("any"), oneSecret).Parameters}
	o := rotationtest.Outage{
		Node: rotationtest.NewNode(t, class, interval, g.Mount), VolumeOf: volumeOf, Requests: seen,
		Begin: func() { g.put(t, "db", "v2"); g.AddFault(a.fault) }, End: g.ClearFaults,
		Lasts: 10 * time.Minute, Patience: 5 * time.Minute,
	}
	f := o.Run(t)
	t.Log(f)
	switch {
	case f.Tries == 0 || !strings.Contains(f.Text, a.says) || !strings.Contains(f.Text, "db"):
		t.Errorf("%d first mounts failed; they were told %s", f.Tries, f.Text)
	case f.Slowest > 101*time.Second:
		t.Errorf("a first mount took %v", f.Slowest)
	case f.During > 600 || f.Peak > 60:
		t.Errorf("the vault was asked more than it should be: %v", f)
	}
}

// admitAll lets so many applications read the vault.
func (g *ground) admitAll(t *testing.T, n int) {
	t.Helper()
	if err := g.Change(func(s *cloud.State) error {
		for i := range n {
			s.Tenants[0].Applications = append(s.Tenants[0].Applications, cloud.Application{ClientID: application(i), Secrets: []string{password}})
			s.Vaults[0].Access[application(i)] = cloud.Access{cloud.Secrets: {"get"}}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func application(n int) string { return fmt.Sprintf("bbbbbbbb-0000-0000-0000-%012d", n) }

func volumeOf(identity int, uid string) rotation.Volume {
	pod := podOf(uid)
	pod.ServiceAccount = fmt.Sprint("web-", identity)
	return rotation.Volume{
		ID: provider.VolumeID("csi-" + uid), Target: "/t/" + uid, Pod: pod, Class: "web", GID: rotation.NoGroup,
		Secrets: map[string]provider.Secret{"clientid": provider.Secret(application(identity)), "ClientSecret": password},
	}
}
