package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/transport"
	"k8s.io/klog/v2"

	"github.com/strongroom/strongroom/provider"
)

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 1 << 20
	maxMessage     = 500
)

// Config says how to reach the API server; [InCluster] makes one.
type Config struct {
	// Server is the address of the API server, https://HOST:PORT.
	Server string
	// TokenFile and CAFile are read again when they change.
	TokenFile, CAFile string
	// Namespace is that of the provider.
	Namespace string
}

// accountDir is where Kubernetes has the credentials of a pod.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// InCluster is the Config of a pod. Its namespace is POD_NAMESPACE or what
// Kubernetes wrote beside the token.
func InCluster(getenv func(string) string) (Config, error) {
	return inCluster(getenv, accountDir)
}

func inCluster(getenv func(string) string, dir string) (Config, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return Config{}, errors.New("find the API server: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: " +
			"the provider runs in a pod of the cluster")
	}
	cfg := Config{
		Server:    "https://" + net.JoinHostPort(host, port),
		TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.crt"),
		Namespace: getenv("POD_NAMESPACE"),
	}
	if cfg.Namespace != "" {
		return cfg, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, "namespace"))
	cfg.Namespace = strings.TrimSpace(string(text))
	if err != nil || cfg.Namespace == "" {
		return Config{}, fmt.Errorf("find the provider's namespace: POD_NAMESPACE is not set, and there is none in %s: %w", dir, err)
	}
	return cfg, nil
}

// LogTo sends what Kubernetes' libraries log to log. It is for main, once.
func LogTo(log *slog.Logger) { klog.SetSlogLogger(log) }

// Client asks the API server as the provider's service account.
type Client struct {
	server    *url.URL
	http      *http.Client
	namespace string
}

// New makes a Client. It asks nothing yet.
func New(cfg Config) (*Client, error) {
	server, err := url.Parse(cfg.Server)
	switch {
	case err != nil || server.Host == "":
		return nil, fmt.Errorf("address of the API server %q: want https://HOST:PORT", cfg.Server)
	case cfg.Namespace == "":
		return nil, errors.New("the provider's namespace is required")
	case cfg.TokenFile == "" || cfg.CAFile == "":
		return nil, errors.New("the files of the token and of the CA are required")
	}
	rt, err := transport.New(&transport.Config{
		UserAgent:       "strongroom-provider-vault/" + provider.BuildVersion(),
		BearerTokenFile: cfg.TokenFile,
		TLS:             transport.TLSConfig{CAFile: cfg.CAFile, ReloadCAFiles: true},
		// The environment names the proxy of Vault. The API server is in the cluster.
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	})
	if err != nil {
		return nil, fmt.Errorf("reach the API server with the pod's service account: %w: mount its token, "+
			"as manifests/components/provider-vault does", err)
	}
	return &Client{server: server, http: &http.Client{Transport: rt}, namespace: cfg.Namespace}, nil
}

// refusal is an answer of the API server that is not what was asked for.
type refusal struct {
	code       int
	message    string
	retryAfter time.Duration
}

func (r *refusal) Error() string { return r.message }

// codeOf is the HTTP status of a refusal, or 0.
func codeOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.code
	}
	return 0
}

// ask is a request to the API server.
type ask struct {
	method string
	path   []string // segments, not escaped
	object any      // nil for none
}

// call sends a request and reads the answer into out.
func (c *Client) call(ctx context.Context, a ask, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := c.request(ctx, a)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return plain(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return plain(err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refused(resp, body)
	}
	if json.Unmarshal(body, out) != nil { // the error could quote the answer
		return errors.New("the answer of the API server is not the JSON that was asked for")
	}
	return nil
}

func (c *Client) request(ctx context.Context, a ask) (*http.Request, error) {
	var body io.Reader
	if a.object != nil {
		text, err := json.Marshal(a.object)
		if err != nil {
			return nil, errors.New("encode the request")
		}
		body = bytes.NewReader(text)
	}
	escaped := make([]string, len(a.path))
	for i, segment := range a.path {
		escaped[i] = url.PathEscape(segment)
	}
	req, err := http.NewRequestWithContext(ctx, a.method, c.server.JoinPath(escaped...).String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if a.object != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// plain takes out of an error what differs from one time to the next, such as the
// local port, so that a text says the same as long as the cause is the same.
func plain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		return fmt.Errorf("%s %s: %w", op.Op, op.Addr, op.Err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func refused(resp *http.Response, body []byte) error {
	var status struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &status) // a proxy's error is none
	r := &refusal{code: resp.StatusCode, message: status.Message}
	if r.message == "" {
		r.message = "the API server answered " + resp.Status
	}
	if len(r.message) > maxMessage {
		r.message = strings.ToValidUTF8(r.message[:maxMessage], "") + "..."
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		r.retryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	return r
}
