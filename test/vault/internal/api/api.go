package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Client talks to one Vault.
type Client struct {
	Token string // may be empty
	url   string
	http  *http.Client
}

// New returns a client for the Vault at a URL whose authority is in a file.
func New(url, caFile string) (*Client, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read %s: no certificate in it", caFile)
	}
	return &Client{url: url, http: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}}, nil
}

// Get reads a path and decodes the answer into out, unless that is nil.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, request{method: http.MethodGet, path: path}, out)
}

// Put writes to a path and decodes the answer into out. Both in and out may be
// nil.
func (c *Client) Put(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, request{method: http.MethodPut, path: path, body: in}, out)
}

type request struct {
	method, path string
	body         any
}

func (c *Client) do(ctx context.Context, r request, out any) error {
	status, body, err := c.send(ctx, r)
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if status >= 300 {
		return fmt.Errorf("%s %s: %d %s", r.method, r.path, status, complaint(body))
	}
	if out == nil || len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", r.method, r.path, err)
	}
	return nil
}

// Health is the state of a server as /sys/health tells it.
type Health struct {
	Initialized bool   `json:"initialized"`
	Sealed      bool   `json:"sealed"`
	Standby     bool   `json:"standby"`
	Version     string `json:"version"`
}

// Health asks for the state. An error means that nobody answers.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	_, body, err := c.send(ctx, request{method: http.MethodGet, path: "sys/health"})
	if err == nil {
		err = json.Unmarshal(body, &h)
	}
	return h, err
}

// Await asks until the state is as wanted.
func (c *Client) Await(ctx context.Context, what string, wanted func(Health) bool) error {
	for {
		h, err := c.Health(ctx)
		if err == nil && wanted(h) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until Vault is %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *Client) send(ctx context.Context, r request) (int, []byte, error) {
	var body bytes.Buffer
	if r.body != nil {
		if err := json.NewEncoder(&body).Encode(r.body); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.url+"/v1/"+r.path, &body)
	if err != nil {
		return 0, nil, err
	}
	if c.Token != "" {
		req.Header.Set("X-Vault-Token", c.Token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// complaint is what Vault says about a refused request.
func complaint(body []byte) string {
	var e struct {
		Errors []string `json:"errors"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return string(body)
	}
	return strings.Join(e.Errors, "; ")
}
