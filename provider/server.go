package provider

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"

	"github.com/strongroom/strongroom/provider/v1alpha1"
	"github.com/strongroom/strongroom/provider/volumes/v1"
)

const protocolVersion = "v1alpha1"

// mountTimeout bounds one Mount call; it is below kubelet's 2 minutes.
const mountTimeout = 100 * time.Second

// server puts a Provider on the wire: decode, deadline, panic guard, one log line,
// checks, encode.
type server struct {
	v1alpha1.UnimplementedCSIDriverProviderServer

	name, version string
	provider      Provider
	log           *slog.Logger
	observe       func(kind string, took time.Duration)
}

var _ v1alpha1.CSIDriverProviderServer = (*server)(nil)

// Version implements the protocol's Version call: it announces what the provider
// has a use for.
func (s *server) Version(context.Context, *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	resp := &v1alpha1.VersionResponse{Version: protocolVersion, RuntimeName: s.name, RuntimeVersion: s.version}
	if p, ok := s.provider.(Audiencer); ok {
		resp.Audiences = p.Audiences()
	}
	if p, ok := s.provider.(VersionUser); ok {
		resp.UsesCurrentVersions = p.UsesVersions()
	}
	return resp, nil
}

// Mount implements the protocol's Mount call.
func (s *server) Mount(ctx context.Context, wire *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, mountTimeout)
	defer cancel()
	req, err := decodeRequest(wire)
	if err != nil {
		req = &Request{}
	}
	var resp *v1alpha1.MountResponse
	if err == nil {
		resp, err = s.mount(ctx, req)
	}
	s.report(ctx, req, time.Since(start), err)
	return resp, asStatus(err)
}

func (s *server) mount(ctx context.Context, req *Request) (wire *v1alpha1.MountResponse, err error) {
	defer func() {
		if cause := recover(); cause != nil { // the cause's text may hold a value; the stack does not
			s.log.LogAttrs(ctx, slog.LevelError, "mount panicked", slog.String("stack", string(debug.Stack())))
			wire, err = nil, Errorf(Internal, "provider %s panicked: see its log for the stack, and report it", s.name)
		}
	}()
	resp, err := s.provider.Mount(ctx, req)
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, Errorf(Internal, "provider %s answered nothing", s.name)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return encodeResponse(resp, req.Mode)
}

func (s *server) report(ctx context.Context, req *Request, took time.Duration, err error) {
	attrs := []slog.Attr{
		slog.String("namespace", req.Pod.Namespace), slog.String("pod", req.Pod.Name),
		slog.String("class", req.Class), slog.Duration("took", took),
	}
	if err != nil {
		s.observe(KindOf(err).String(), took)
		attrs = append(attrs, slog.String("kind", KindOf(err).String()), slog.String("err", clip(err.Error(), maxErrorText)))
		s.log.LogAttrs(ctx, slog.LevelError, "mount failed", attrs...)
		return
	}
	s.observe("OK", took)
	s.log.LogAttrs(ctx, slog.LevelInfo, "mount", attrs...)
}

// volumesServer serves what only some providers have a use for.
type volumesServer struct {
	volumes.UnimplementedVolumesServer

	provider Unmounter
	log      *slog.Logger
}

var _ volumes.VolumesServer = (*volumesServer)(nil)

// Unmounted implements the call of that name.
func (s *volumesServer) Unmounted(ctx context.Context, req *volumes.UnmountedRequest) (*volumes.UnmountedResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, asStatus(Errorf(Invalid, "the volume id is missing"))
	}
	ctx, cancel := context.WithTimeout(ctx, mountTimeout)
	defer cancel()
	s.log.LogAttrs(ctx, slog.LevelDebug, "unmounted", slog.String("volume", req.GetVolumeId()))
	s.provider.Unmounted(ctx, VolumeID(req.GetVolumeId()))
	return &volumes.UnmountedResponse{}, nil
}

// interceptors are around every call.
func (s *server) interceptors() []grpc.UnaryServerInterceptor {
	guarded := guard(s.log)
	o, ok := s.provider.(Observer)
	if !ok {
		return []grpc.UnaryServerInterceptor{guarded}
	}
	told := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		began := time.Now()
		resp, err := next(ctx, req)
		o.Called(info.FullMethod, time.Since(began), err)
		return resp, err
	}
	return []grpc.UnaryServerInterceptor{guarded, told, guarded} // of the observer too
}

// guard turns a panic in any handler into an error instead of the process's end.
func guard(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
		defer func() {
			if recover() != nil {
				log.LogAttrs(ctx, slog.LevelError, "call panicked",
					slog.String("method", info.FullMethod), slog.String("stack", string(debug.Stack())))
				err = asStatus(Errorf(Internal, "%s panicked", info.FullMethod))
			}
		}()
		return next(ctx, req)
	}
}
