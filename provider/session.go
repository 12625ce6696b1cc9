package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/strongroom/strongroom/provider/v1alpha1"
)

const (
	openTimeout   = 1500 * time.Millisecond // for one socket to answer
	greetPatience = time.Second             // how long mounts wait for Version, once for each connection
	maxVersion    = 64 << 10                // bytes of an answer to Version
	maxHeaderList = 1 << 20                 // bytes of headers, which carry the text of an error
)

// session is one connection to one provider process. It never connects again, so
// what the provider announced on it holds for as long as it can be used.
type session struct {
	conn   *grpc.ClientConn
	socket *socket
	born   time.Time
	// greeted is closed when Version has answered or failed.
	greeted chan struct{}
	// says is what the provider announced; nil until it did.
	says atomic.Pointer[announcement]
	// deaf: the provider has no use for Unmounted.
	deaf atomic.Bool
	// doubted: somebody is finding out whether it still answers.
	doubted atomic.Bool
	// calls under way; the link's lock guards it.
	calls int
}

// socket knows that its connection ended before gRPC has drawn its conclusions.
type socket struct {
	net.Conn

	broken atomic.Bool
}

// Read implements [net.Conn].
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil {
		s.broken.Store(true)
	}
	return n, err
}

// Close implements [net.Conn].
func (s *socket) Close() error {
	s.broken.Store(true)
	return s.Conn.Close()
}

// open connects to the socket at path and waits until something there speaks gRPC:
// a process that is stuck may still have connections accepted for it.
func open(ctx context.Context, name, path string, maxResponse int) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	raw, err := dialSocket(ctx, path)
	if err != nil {
		return nil, err
	}
	s := &session{socket: &socket{Conn: raw}, born: time.Now(), greeted: make(chan struct{})}
	if s.conn, err = grpc.NewClient("passthrough:///"+name, s.options(maxResponse)...); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	s.conn.Connect()
	for state := s.conn.GetState(); state != connectivity.Ready; state = s.conn.GetState() {
		if state == connectivity.TransientFailure || !s.conn.WaitForStateChange(ctx, state) {
			s.close()
			return nil, fmt.Errorf("connect to %s: what listens there does not answer as a provider does", path)
		}
	}
	return s, nil
}

func (s *session) options(maxResponse int) []grpc.DialOption {
	var used atomic.Bool
	once := func(context.Context, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errors.New("the connection has ended")
		}
		return s.socket, nil
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"), // providers check it (driver-contract 2.3)
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithMaxHeaderListSize(maxHeaderList),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0), // an idle provider is to be found alive
		grpc.WithContextDialer(once),
	}
}

// usable says whether a new call has a chance.
func (s *session) usable() bool {
	return !s.socket.broken.Load() && s.conn.GetState() == connectivity.Ready
}

// close ends the session; nothing can be done about an error.
func (s *session) close() {
	_ = s.conn.Close()
	_ = s.socket.Close()
}

// greet notes what the provider announces, and returns the protocol version that it
// says it speaks.
func (s *session) greet(ctx context.Context) (version string, err error) {
	resp, err := v1alpha1.NewCSIDriverProviderClient(s.conn).Version(ctx,
		&v1alpha1.VersionRequest{Version: protocolVersion}, grpc.MaxCallRecvMsgSize(maxVersion))
	if err != nil {
		return "", err
	}
	s.says.Store(&announcement{audiences: resp.GetAudiences(), versions: resp.GetUsesCurrentVersions()})
	return resp.GetVersion(), nil
}

// announced returns what the provider announces. It waits for that only while the
// connection is young: a provider that has not answered by then is a plain one, and
// an answer that comes late counts from then on.
func (s *session) announced(ctx context.Context) *announcement {
	if left := time.Until(s.born.Add(greetPatience)); left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-s.greeted:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return s.says.Load()
}

// announcement is what a provider said that it has a use for; nil is a plain one.
type announcement struct {
	audiences []string
	versions  bool
}

// wanted is the part of req that the provider has a use for.
func (a *announcement) wanted(req *Request) *Request {
	part := *req
	if a == nil || !a.versions {
		part.Current = nil
	}
	if a != nil && len(a.audiences) > 0 {
		part.Tokens = make(Tokens, len(a.audiences))
		for _, audience := range a.audiences {
			if token, ok := req.Tokens[audience]; ok {
				part.Tokens[audience] = token
			}
		}
	}
	return &part
}

func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", path)
}
