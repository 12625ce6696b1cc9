package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// errorDomain marks the error details that carry a Kind.
const errorDomain = "provider.strongroom"

// maxErrorText bounds an error on the wire, in bytes: it travels in a header.
const maxErrorText = 4096

// wireCodes gives the code for each kind. Passing trouble is sent as Unknown, with
// the kind in the details: the upstream driver hands codes on to kubelet, and one
// that kubelet does not take for final makes that driver answer the next call for
// an empty directory with OK. (driver-contract 12.1)
var wireCodes = [...]codes.Code{
	Unknown: codes.Unknown, Invalid: codes.InvalidArgument, NotFound: codes.NotFound, Denied: codes.PermissionDenied,
	Unavailable: codes.Unknown, Throttled: codes.Unknown, Timeout: codes.Unknown, Busy: codes.Unknown,
	TooLarge: codes.FailedPrecondition, Internal: codes.Internal,
}

// asStatus is the provider's side.
func asStatus(err error) error {
	if err == nil {
		return nil
	}
	kind := KindOf(err)
	if kind == Unknown && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		kind = Timeout
	}
	if kind < 0 || int(kind) >= len(wireCodes) {
		kind = Unknown
	}
	st := status.New(wireCodes[kind], clip(strings.ToValidUTF8(err.Error(), "?"), maxErrorText))
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: kind.String(), Domain: errorDomain}}
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if with, detailErr := st.WithDetails(details...); detailErr == nil {
		st = with
	}
	return st.Err()
}

// fromStatus is the driver's side: an error of any provider, with kind, without
// the words that gRPC puts before the text.
func fromStatus(err error) error {
	st := status.Convert(err)
	e := &Error{Kind: kindOfCode(st), RetryAfter: 0, Err: errors.New(clip(st.Message(), maxErrorText))}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				e.Kind = kindNamed(d.GetReason())
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = min(max(0, d.GetRetryDelay().AsDuration()), time.Hour)
		}
	}
	return e
}

func kindOfCode(st *status.Status) Kind {
	switch st.Code() {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return Invalid
	case codes.NotFound:
		return NotFound
	case codes.PermissionDenied, codes.Unauthenticated:
		return Denied
	case codes.Unavailable, codes.Aborted:
		return Unavailable
	case codes.ResourceExhausted:
		if isOverLimit(st.Message()) {
			return TooLarge
		}
		return Throttled
	case codes.DeadlineExceeded, codes.Canceled:
		return Timeout
	case codes.Internal, codes.Unimplemented, codes.DataLoss:
		return Internal
	case codes.OK, codes.Unknown, codes.AlreadyExists:
		return Unknown
	}
	return Unknown
}

// isOverLimit knows gRPC's words for an answer over the receiver's limit; there is
// no code for it.
func isOverLimit(text string) bool { return strings.Contains(text, "message larger than max") }

func kindNamed(name string) Kind {
	for kind, n := range kindNames {
		if n == name {
			return Kind(kind)
		}
	}
	return Unknown
}

// clip cuts text to at most n bytes and says so.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + fmt.Sprintf("... (%d bytes in all)", len(text))
}
