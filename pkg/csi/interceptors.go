package csi

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// request is what may be logged of a call: never its context, secrets or tokens.
type request interface {
	GetVolumeId() string
	GetTargetPath() string
}

// logged writes one line for each call: at debug level, or as an error.
func (s *Server) logged(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	start := time.Now()
	resp, err := next(ctx, req)
	level := slog.LevelDebug
	if err != nil && status.Code(err) != codes.Unimplemented {
		level = slog.LevelError
	}
	if !s.cfg.Log.Enabled(ctx, level) {
		return resp, err
	}
	attrs := []slog.Attr{slog.String("method", info.FullMethod), slog.Duration("took", time.Since(start))}
	if r, ok := req.(request); ok {
		attrs = append(attrs, slog.String("volume", r.GetVolumeId()), slog.String("path", r.GetTargetPath()))
	}
	if err != nil {
		attrs = append(attrs, slog.String("code", status.Code(err).String()), slog.String("err", status.Convert(err).Message()))
	}
	s.cfg.Log.LogAttrs(ctx, level, "call", attrs...)
	return resp, err
}

// guarded turns a panic into an error: one bad volume must not end the others.
func (s *Server) guarded(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if recover() != nil { // the cause's text may hold a value; the stack does not
			s.cfg.Log.LogAttrs(ctx, slog.LevelError, "call panicked", slog.String("method", info.FullMethod), slog.String("stack", string(debug.Stack())))
			resp, err = nil, asStatus(rotation.Failed(info.FullMethod, rotation.DriverFault, provider.Errorf(provider.Internal, "the call panicked")))
		}
	}()
	return next(ctx, req)
}
