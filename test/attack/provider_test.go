//go:build attack

package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider/v1alpha1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// answer is what the odd provider says to a call; raw, if set, instead of a message.
type answer func(ctx context.Context) (resp *v1alpha1.MountResponse, raw []byte, err error)

// odd is a provider that may say anything.
type odd struct {
	v1alpha1.UnimplementedCSIDriverProviderServer

	answer atomic.Pointer[answer]
	calls  atomic.Int32
}

func (o *odd) set(a answer) { o.answer.Store(&a) }

func (o *odd) Version(context.Context, *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	return &v1alpha1.VersionResponse{Version: "v1alpha1", RuntimeName: oddName, RuntimeVersion: "0"}, nil
}

func (o *odd) Mount(ctx context.Context, _ *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	o.calls.Add(1)
	resp, raw, err := (*o.answer.Load())(ctx)
	if raw != nil {
		return nil, &rawAnswer{raw}
	}
	return resp, err
}

// rawAnswer goes around the generated code as an error.
type rawAnswer struct{ data []byte }

func (*rawAnswer) Error() string { return "raw" }

// codec writes bytes as they are, in place of a message.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) ([]byte, error) {
	if raw, ok := v.(*rawAnswer); ok {
		return raw.data, nil
	}
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no message", v)
	}
	return proto.Marshal(m)
}

func (codec) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", v)
	}
	return proto.Unmarshal(data, m)
}

func unwrapRaw(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if raw, ok := errors.AsType[*rawAnswer](err); ok {
		return raw, nil
	}
	return resp, err
}

// serve starts an odd provider on the lane's node; stop ends it and keeps its socket.
func (l *lane) serve(t *testing.T, o *odd) (stop func()) {
	t.Helper()
	return l.serveServer(t, o)
}

// serveServer does so with any provider.
func (l *lane) serveServer(t *testing.T, p v1alpha1.CSIDriverProviderServer) (stop func()) {
	t.Helper()
	socket := l.listen(t)
	s := grpc.NewServer(grpc.Creds(insecure.NewCredentials()), grpc.ForceServerCodec(codec{}), grpc.UnaryInterceptor(unwrapRaw))
	v1alpha1.RegisterCSIDriverProviderServer(s, p)
	go func() { _ = s.Serve(socket) }()
	t.Cleanup(s.Stop)
	return s.Stop
}

// listen takes the odd provider's socket; the file stays when it is closed.
func (l *lane) listen(t *testing.T) net.Listener {
	t.Helper()
	path := l.node.ProviderSocket(oddName)
	_ = os.Remove(path)
	var config net.ListenConfig
	socket, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	socket.(*net.UnixListener).SetUnlinkOnClose(false)
	t.Cleanup(func() { _ = socket.Close() })
	return socket
}

func (l *lane) oddVolume(t *testing.T) stand.Volume {
	t.Helper()
	v := l.volume()
	v.Class = oddName
	prepare(t, l, v)
	return v
}

func good(context.Context) (*v1alpha1.MountResponse, []byte, error) {
	resp := &v1alpha1.MountResponse{}
	for name, contents := range files() {
		resp.Files = append(resp.Files, &v1alpha1.File{Path: name, Mode: 0o644, Contents: []byte(contents)})
		resp.ObjectVersion = append(resp.ObjectVersion, &v1alpha1.ObjectVersion{Id: name, Version: "v1"})
	}
	return resp, nil, nil
}

// with is the good answer with more files in it, or changed.
func with(change func(*v1alpha1.MountResponse)) answer {
	return func(ctx context.Context) (*v1alpha1.MountResponse, []byte, error) {
		resp, _, _ := good(ctx)
		change(resp)
		return resp, nil, nil
	}
}

func and(path string, mode int32) answer {
	return with(func(resp *v1alpha1.MountResponse) {
		resp.Files = append(resp.Files, &v1alpha1.File{Path: path, Mode: mode, Contents: []byte("x")})
	})
}

// refused are answers that must not be taken for a volume.
func refused() map[string]answer {
	answers := map[string]answer{
		"no files":    with(func(resp *v1alpha1.MountResponse) { resp.Files = nil }),
		"an error":    with(func(resp *v1alpha1.MountResponse) { resp.Error = &v1alpha1.Error{Code: "Oops"} }),
		"a conflict":  and("foo/bar", 0o644),
		"a duplicate": and("foo", 0o644),
		"oversize": with(func(resp *v1alpha1.MountResponse) {
			resp.Files[0].Contents = make([]byte, 5<<20)
		}),
		"a negative mode": and("more", -1),
		"a set-user-id":   and("more", 0o4755),
		"garbage": func(context.Context) (*v1alpha1.MountResponse, []byte, error) {
			return nil, []byte("\xff\xfe garbage"), nil
		},
		"half a message":   halfMessage,
		"an empty message": func(context.Context) (*v1alpha1.MountResponse, []byte, error) { return nil, []byte{}, nil },
		"a path too long":  and(strings.Repeat("a/", 2050)+"a", 0o644),
		"a name too long":  and(strings.Repeat("a", 256), 0o644),
		"a zero byte":      and("a\x00b", 0o644),
	}
	for _, path := range []string{"", ".", "..", "/etc/passwd", "../../../x", "a/../b", "..data", "..data/x", "..2026", "a//b", "./a", "a/"} {
		answers["path "+path] = and(path, 0o644)
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		answers["code "+code.String()] = func(context.Context) (*v1alpha1.MountResponse, []byte, error) {
			return nil, nil, status.Error(code, "told to fail")
		}
	}
	return answers
}

func halfMessage(ctx context.Context) (*v1alpha1.MountResponse, []byte, error) {
	resp, _, _ := good(ctx)
	data, err := proto.Marshal(resp)
	return nil, data[:len(data)-10], err
}

// TestProvider has a provider that misbehaves and then recovers.
func TestProvider(t *testing.T) {
	bothWays(t, func(t *testing.T, l *lane) {
		o := &odd{}
		stop := l.serve(t, o)
		for name, a := range refused() {
			t.Run(name, func(t *testing.T) {
				o.set(a)
				v := l.oddVolume(t)
				if err := l.driver.Publish(t.Context(), v); status.Code(err) == codes.OK {
					t.Error("publish was answered with OK")
				}
				l.is(t, v, stand.Nothing)
				o.set(good)
				l.publish(t, v)
				o.set(a) // a mounted volume does not care
				if err := l.driver.Publish(t.Context(), v); err != nil && status.Code(err) != codes.Aborted {
					t.Errorf("republish: %v", err)
				}
				l.is(t, v, stand.Whole)
				l.unpublish(t, v)
			})
		}
		t.Run("a hang", func(t *testing.T) { l.hang(t, o) })
		stop()
		t.Run("an end in the middle", l.endInTheMiddle)
		t.Run("a dead socket", l.deadSocket)
		t.Run("no socket", l.noSocket)
		t.Run("a socket that says nothing", l.silentSocket)
	})
}

// hang gives up as kubelet does after its two minutes, only sooner.
func (l *lane) hang(t *testing.T, o *odd) {
	o.set(func(ctx context.Context) (*v1alpha1.MountResponse, []byte, error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	v := l.oddVolume(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := l.driver.Publish(ctx, v); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("publish: %v, want a deadline that is exceeded", err)
	}
	l.is(t, v, stand.Nothing)
	o.set(good)
	l.publish(t, v)
	l.unpublish(t, v)
}

// recovers publishes while the provider is away, and again when it is back.
func (l *lane) recovers(t *testing.T, v stand.Volume) {
	t.Helper()
	err := l.driver.Publish(t.Context(), v)
	if code := status.Code(err); code != codes.Unavailable && code != codes.DeadlineExceeded {
		t.Errorf("publish: %v, want one that kubelet repeats", err)
	}
	l.returns(t, v)
}

// returns publishes a volume of which nothing is there when its provider is back.
func (l *lane) returns(t *testing.T, v stand.Volume) {
	t.Helper()
	l.is(t, v, stand.Nothing)
	o := &odd{}
	o.set(good)
	l.serve(t, o)
	l.publish(t, v)
	l.unpublish(t, v)
}

func (l *lane) endInTheMiddle(t *testing.T) {
	o := &odd{}
	stop := l.serve(t, o)
	o.set(func(ctx context.Context) (*v1alpha1.MountResponse, []byte, error) {
		go stop()
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	l.recovers(t, l.oddVolume(t))
}

func (l *lane) deadSocket(t *testing.T) {
	if err := l.listen(t).Close(); err != nil {
		t.Fatal(err)
	}
	l.recovers(t, l.oddVolume(t))
}

func (l *lane) noSocket(t *testing.T) {
	if err := os.Remove(l.node.ProviderSocket(oddName)); err != nil {
		t.Fatal(err)
	}
	l.recovers(t, l.oddVolume(t))
}

func (l *lane) silentSocket(t *testing.T) {
	socket := l.listen(t)
	go func() {
		for {
			if _, err := socket.Accept(); err != nil {
				return
			}
		}
	}()
	v := l.oddVolume(t)
	l.restart(t) // which has no connection yet
	l.recovers(t, v)
}
