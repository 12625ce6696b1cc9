package provider_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/v1alpha1"
)

// startPlain serves p and returns a client for it.
func startPlain(t *testing.T, p *plain) *provider.Client {
	t.Helper()
	dir := t.TempDir()
	servePlain(t, dir, p)
	return client(t, dir)
}

func TestEveryCode(t *testing.T) {
	t.Parallel()
	var code codes.Code
	p := &plain{mount: func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		return nil, status.Error(code, "as told")
	}}
	c := startPlain(t, p)
	for i, want := range []provider.Kind{
		codes.Canceled: provider.Timeout, codes.Unknown: provider.Unknown, codes.InvalidArgument: provider.Invalid,
		codes.DeadlineExceeded: provider.Timeout, codes.NotFound: provider.NotFound, codes.AlreadyExists: provider.Unknown,
		codes.PermissionDenied: provider.Denied, codes.ResourceExhausted: provider.Throttled, codes.FailedPrecondition: provider.Invalid,
		codes.Aborted: provider.Unavailable, codes.OutOfRange: provider.Invalid, codes.Unimplemented: provider.Internal,
		codes.Internal: provider.Internal, codes.Unavailable: provider.Unavailable, codes.DataLoss: provider.Internal,
		codes.Unauthenticated: provider.Denied, 17: provider.Unknown, 99: provider.Unknown,
	} {
		if code = codes.Code(i); code == codes.OK || code > codes.Unauthenticated && want != provider.Unknown {
			continue
		}
		before, _ := p.seen()
		_, err := c.Mount(context.Background(), "acme", fullRequest())
		if provider.KindOf(err) != want || !strings.Contains(err.Error(), `provider "acme": as told`) {
			t.Errorf("%v: %v (%v), want %v", code, err, provider.KindOf(err), want)
		}
		tries := 1
		if code == codes.Unavailable {
			tries = 3
		}
		if after, _ := p.seen(); len(after)-len(before) != tries {
			t.Errorf("%v: %d tries, want %d", code, len(after)-len(before), tries)
		}
	}
}

// A provider that says when to come again is not asked before.
func TestRetryInfoIsHeeded(t *testing.T) {
	t.Parallel()
	for delay, want := range map[time.Duration]time.Duration{7 * time.Second: 7 * time.Second, 1000 * time.Hour: time.Hour} {
		p := &plain{mount: func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
			st, _ := status.New(codes.Unavailable, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
			return nil, st.Err()
		}}
		_, err := startPlain(t, p).Mount(context.Background(), "acme", fullRequest())
		e, ok := errors.AsType[*provider.Error](err)
		if requests, _ := p.seen(); !ok || e.RetryAfter != want || len(requests) != 1 {
			t.Errorf("%v after %d tries", err, len(requests))
		}
	}
}

func TestHostileReplies(t *testing.T) {
	t.Parallel()
	var reply *v1alpha1.MountResponse
	c := startPlain(t, &plain{mount: func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		return reply, nil
	}})
	file := func(paths ...string) *v1alpha1.MountResponse {
		r := plainReply()
		r.Files = nil
		for _, p := range paths {
			r.Files = append(r.Files, &v1alpha1.File{Path: p, Mode: 420})
		}
		return r
	}
	mode := func(m int32) *v1alpha1.MountResponse {
		r := plainReply()
		r.Files[0].Mode = m
		return r
	}
	for name, tc := range map[string]struct {
		reply *v1alpha1.MountResponse
		want  provider.Kind
	}{
		"nothing":          {&v1alpha1.MountResponse{}, provider.Invalid},
		"no versions":      {&v1alpha1.MountResponse{Files: plainReply().GetFiles()}, provider.Invalid},
		"no files":         {&v1alpha1.MountResponse{ObjectVersion: plainReply().GetObjectVersion()}, provider.Invalid},
		"error code":       {&v1alpha1.MountResponse{Error: &v1alpha1.Error{Code: strings.Repeat("x", 1<<19)}}, provider.Unknown},
		"itself":           {file("."), provider.Invalid},
		"parent":           {file("../a"), provider.Invalid},
		"data":             {file("..data"), provider.Invalid},
		"absolute":         {file("/etc/shadow"), provider.Invalid},
		"no path":          {file(""), provider.Invalid},
		"NUL":              {file("a\x00"), provider.Invalid},
		"twice":            {file("a", "b", "a"), provider.Invalid},
		"conflict":         {file("a", "a/b"), provider.Invalid},
		"conflict, hidden": {file("a", "a.b", "a/b"), provider.Invalid},
		"not clean":        {file("a//b"), provider.Invalid},
		"long":             {file(strings.Repeat("a/", 100000)), provider.Invalid},
		"setuid":           {mode(0o4755), provider.Invalid},
		"negative mode":    {mode(math.MinInt32), provider.Invalid},
		"large mode":       {mode(math.MaxInt32), provider.Invalid},
		"oversize":         {&v1alpha1.MountResponse{Files: []*v1alpha1.File{{Contents: make([]byte, 2<<20)}}}, provider.TooLarge},
		"empty with files": {&v1alpha1.MountResponse{Files: plainReply().GetFiles(), Empty: true}, provider.Invalid},
		"odd expiry":       {&v1alpha1.MountResponse{Empty: true, ExpiresAt: &timestamppb.Timestamp{Seconds: math.MaxInt64, Nanos: -1}}, provider.Invalid},
	} {
		reply = tc.reply
		resp, err := c.Mount(context.Background(), "acme", fullRequest())
		if err == nil || resp != nil || provider.KindOf(err) != tc.want || len(err.Error()) > 5000 {
			t.Errorf("%s: %.200v (%v), want %v", name, err, provider.KindOf(err), tc.want)
		}
	}
	reply = plainReply()
	mountFull(t, c)
}

// many tiny files are what makes checks expensive.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	reply := plainReply()
	reply.Files = nil
	for i := range 100_000 {
		reply.Files = append(reply.Files, &v1alpha1.File{Path: fmt.Sprintf("%x/%x", i%1000, i), Mode: 420})
	}
	dir := t.TempDir()
	servePlain(t, dir, &plain{mount: func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) { return reply, nil }})
	c := clientWith(t, func(cfg *provider.ClientConfig) { cfg.Dirs, cfg.MaxResponse = []string{dir}, 4<<20 })
	if resp := mountFull(t, c); len(resp.Files) != 100_000 {
		t.Errorf("%d files", len(resp.Files))
	}
}

// What answers is gRPC, and not the protocol.
func TestGarbageOnTheWire(t *testing.T) {
	t.Parallel()
	for name, garbage := range map[string][]byte{
		"cut off":       {0x1a, 0xff},
		"wrong type":    {0x08, 0x01, 0x1a, 0x01},
		"bad UTF-8":     append([]byte{0x1a, 0x03, 0x0a, 0x01}, 0xff),
		"endless group": bytes.Repeat([]byte{0x0b}, 20000),
	} {
		dir := t.TempDir()
		g := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			answer := &emptypb.Empty{}
			answer.ProtoReflect().SetUnknown(garbage)
			return stream.SendMsg(answer)
		}))
		go func() { _ = g.Serve(listen(t, dir)) }()
		_, err := eventuallyAsked(t, client(t, dir))
		if kind := provider.KindOf(err); kind != provider.Internal {
			t.Errorf("%s: %v (%v)", name, err, kind)
		}
		g.Stop()
	}
}

func listen(t *testing.T, dir string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", filepath.Join(dir, "acme.sock"))
	if err != nil {
		t.Error(err)
	}
	return l
}

// eventuallyAsked waits for the socket to be there.
func eventuallyAsked(t *testing.T, c *provider.Client) (answer string, err error) {
	t.Helper()
	eventually(t, func() error {
		answer, err = ask(c, "acme")
		if provider.KindOf(err) == provider.Unavailable {
			return err
		}
		return nil
	})
	return answer, err
}

// silent accepts connections and says what it is told, which is not gRPC.
func silent(t *testing.T, dir, says string) {
	t.Helper()
	l := listen(t, dir)
	var conns []net.Conn
	var mu sync.Mutex
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, says)
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
}

// full is a socket at which somebody listens who accepts nothing, until no more
// connections fit into its backlog.
func full(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "acme.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		conn, err := net.Dial("unix", path) //nolint:noctx // it does not wait
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the backlog does not fill")
}

func dead(t *testing.T, dir string) {
	t.Helper()
	l := listen(t, dir)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// stuck are the ways in which a socket can be there and be of no use.
func stuck() map[string]func(t *testing.T, dir string) {
	return map[string]func(t *testing.T, dir string){
		"dead":      dead,
		"silent":    func(t *testing.T, dir string) { t.Helper(); silent(t, dir, "") },
		"not gRPC":  func(t *testing.T, dir string) { t.Helper(); silent(t, dir, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"full":      full,
		"a file":    func(t *testing.T, dir string) { t.Helper(); put(t, filepath.Join(dir, "acme.sock")) },
		"a missing": func(t *testing.T, dir string) { t.Helper(); remove(t, dir) },
	}
}

func put(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
}

// A socket that does not answer, in the directory that is searched first, hides no
// provider that does.
func TestStuckSocketsHideNothing(t *testing.T) {
	t.Parallel()
	for name, make := range stuck() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			legacy, dir := t.TempDir(), t.TempDir()
			make(t, legacy)
			serve(t, dir, answer("alive"))
			start := time.Now()
			if err := asked(client(t, legacy, dir), "alive"); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// Where nothing answers, the error says so, soon, also to those who had to wait for
// others who got it.
func TestStuckSocketsAlone(t *testing.T) {
	t.Parallel()
	start := time.Now()
	var all sync.WaitGroup
	for name, make := range stuck() {
		dir := t.TempDir()
		make(t, dir)
		c := client(t, dir)
		for range 20 { // more than may be in flight
			all.Go(func() {
				_, err := ask(c, "acme")
				if provider.KindOf(err) != provider.Unavailable || !strings.Contains(err.Error(), `error connecting to provider "acme"`) {
					t.Errorf("%s: %v (%v)", name, err, provider.KindOf(err))
				}
			})
		}
	}
	all.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// Who waits for a connection leaves when told to, and the others still get theirs.
func TestWaitingForAConnectionHonoursItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	silent(t, dir, "")
	c := client(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := c.Mount(ctx, "acme", fullRequest()); err == nil {
				t.Error("no error")
			}
		})
	}
	cancel()
	start := time.Now()
	all.Wait()
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}

// At most so many calls are in flight, and waiting for a place ends with the context.
func TestConcurrencyBound(t *testing.T) {
	t.Parallel()
	dir, entered := t.TempDir(), make(chan struct{}, 100)
	serve(t, dir, mountFunc(func(ctx context.Context, _ *provider.Request) (*provider.Response, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	c := clientWith(t, func(cfg *provider.ClientConfig) { cfg.Dirs, cfg.Concurrency = []string{dir}, 2 })
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { _, _ = c.Mount(ctx, "acme", fullRequest()) })
		<-entered
	}
	short, end := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer end()
	_, err := c.Mount(short, "acme", fullRequest())
	if provider.KindOf(err) != provider.Timeout || !strings.Contains(err.Error(), "2 calls are in flight") || len(entered) != 0 {
		t.Errorf("%v; %d more came through", err, len(entered))
	}
	cancel()
	all.Wait()
}

// A call that a dying provider cut off is made again with its successor.
func TestProviderDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	dir, entered := t.TempDir(), make(chan struct{}, 10)
	stop := servePlain(t, dir, &plain{mount: func(ctx context.Context, _ *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	c := client(t, dir)
	done := make(chan error, 8)
	for range cap(done) {
		go func() { done <- asked(c, "successor") }()
	}
	<-entered
	stop()
	serve(t, dir, answer("successor"))
	for range cap(done) {
		if err := <-done; err != nil && !strings.Contains(err.Error(), "provider not found") { // between the two
			t.Error(err)
		}
	}
}

// relay forwards bytes between a socket and another until it is frozen.
func relay(t *testing.T, from, to string) (freeze func()) {
	t.Helper()
	l := listen(t, from)
	frozen := make(chan struct{})
	t.Cleanup(func() { _ = l.Close() })
	forward := func(dst, src net.Conn) {
		buf := make([]byte, 1<<16)
		for {
			n, err := src.Read(buf)
			select {
			case <-frozen:
				return
			default:
			}
			if err != nil {
				_ = dst.Close()
				return
			}
			_, _ = dst.Write(buf[:n])
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			next, err := (&net.Dialer{}).DialContext(context.Background(), "unix", filepath.Join(to, "acme.sock"))
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _, _ = conn.Close(), next.Close() })
			go forward(conn, next)
			go forward(next, conn)
		}
	}()
	return func() {
		close(frozen)
		_ = l.Close()
	}
}

// A provider that is stuck keeps its connection. Once it left a call unanswered, its
// successor is found.
func TestProviderHangsAndIsReplaced(t *testing.T) {
	t.Parallel()
	dir, behind := t.TempDir(), t.TempDir()
	serve(t, behind, answer("first"))
	freeze := relay(t, dir, behind)
	c := clientWith(t, func(cfg *provider.ClientConfig) { cfg.Dirs, cfg.Timeout = []string{dir}, time.Second })
	if err := asked(c, "first"); err != nil {
		t.Fatal(err)
	}
	freeze()
	serve(t, dir, answer("second"))
	if _, err := ask(c, "acme"); provider.KindOf(err) != provider.Timeout {
		t.Errorf("%v (%v)", err, provider.KindOf(err))
	}
	eventually(t, func() error { return asked(c, "second") })
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir, mountFunc(func(ctx context.Context, _ *provider.Request) (*provider.Response, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	c := client(t, dir)
	done := make(chan error)
	go func() { done <- asked(c, "x") }()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("a call outlived the client")
	}
	if _, err := ask(c, "acme"); provider.KindOf(err) != provider.Unavailable {
		t.Errorf("after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// Not parallel to others, which have goroutines of their own.
func TestNoGoroutineIsLeftBehind(t *testing.T) { //nolint:paralleltest // as it says
	dir := t.TempDir()
	for i := range 5 {
		stop := serve(t, dir, powers{mountFunc: answer(fmt.Sprint(i)), gone: make(chan provider.VolumeID, 1)})
		c := client(t, dir)
		if err := asked(c, fmt.Sprint(i)); err != nil {
			t.Error(err)
		}
		c.Unmounted(context.Background(), "acme", "csi-1")
		stop()
		if _, err := ask(c, "acme"); err == nil {
			t.Error("the provider still answers")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, func() error {
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
			return err
		}
		for stack := range strings.SplitSeq(stacks.String(), "\n\n") {
			if strings.Contains(stack, "google.golang.org/grpc") || strings.Contains(stack, "strongroom/provider.(*") {
				return fmt.Errorf("left behind: %s", stack)
			}
		}
		return nil
	})
}
