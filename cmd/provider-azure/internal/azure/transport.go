package azure

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxReply bounds what is read of a reply. A secret has at most 25 KB, a page of a list
// some more.
const maxReply = 4 << 20

// A connection of HTTP/2 on which nothing is heard for pingAfter is tried, and dropped if
// there is no answer within pingTimeout.
const (
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// newTransport is one for all: what Azure's certificates are checked against is the
// same for every class.
func newTransport() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nothing replaces it
	t.MaxIdleConnsPerHost = 16
	t.MaxResponseHeaderBytes = 64 << 10
	// Or a connection that the network has forgotten would be used for many minutes.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	proxied := t.Proxy
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		if host := r.URL.Hostname(); host == metadataHost { // it answers only who asks directly
			return nil, nil
		}
		return proxied(r)
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// metadataHost is the address of the metadata endpoint of a virtual machine.
const metadataHost = "169.254.169.254"

// bounded lets nobody fill the memory with a reply.
type bounded struct{ client *http.Client }

// Do implements [policy.Transporter].
func (b bounded) Do(req *http.Request) (*http.Response, error) {
	resp, err := b.client.Do(req) //nolint:gosec // vaults are where classes say
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxReply}
	}
	return resp, err
}

var errTooLong = errors.New("the reply is longer than any that is expected of Azure")

type boundedBody struct {
	io.ReadCloser

	left int
}

// Read implements [io.Reader].
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	b.left -= n
	if b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}
