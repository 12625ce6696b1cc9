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

// Do sends a request, with the body in as JSON unless it is nil, and decodes
// the answer into out unless that is nil.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	status, body, err := c.send(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if status >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, status, complaint(body))
	}
	if out == nil || len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
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
	_, body, err := c.send(ctx, http.MethodGet, "sys/health", nil)
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

func (c *Client) send(ctx context.Context, method, path string, in any) (int, []byte, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+"/v1/"+path, &body)
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
	defer res.Body.Close()
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
