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

// stepKey is the key of their metadata that carries a Step.
const stepKey = "step"

// maxErrorText bounds an error on the wire, in bytes: it travels in a header.
const maxErrorText = 4096

// wireCode gives the code for a kind. Passing trouble is sent as Unknown, with
// the kind in the details: the upstream driver hands codes on to kubelet, and one
// that kubelet does not take for final makes that driver answer the next call for
// an empty directory with OK. (driver-contract 12.1)
func wireCode(kind Kind) codes.Code {
	switch kind {
	case Invalid:
		return codes.InvalidArgument
	case NotFound:
		return codes.NotFound
	case Denied:
		return codes.PermissionDenied
	case TooLarge:
		return codes.FailedPrecondition
	case Internal:
		return codes.Internal
	case Unknown, Unavailable, Throttled, Timeout, Busy:
	}
	return codes.Unknown
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
	st := status.New(wireCode(kind), told(strings.ToValidUTF8(err.Error(), "?")))
	info := &errdetails.ErrorInfo{Reason: kind.String(), Domain: errorDomain}
	details := []protoadapt.MessageV1{info}
	e, ok := errors.AsType[*Error](err)
	if ok && e.Step != Unstated {
		info.Metadata = map[string]string{stepKey: e.Step.String()}
	}
	if ok && e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if with, detailErr := st.WithDetails(details...); detailErr == nil {
		st = with
	}
	return st.Err()
}

// fromStatus is the driver's side: an error of any provider, with kind, without
// the words that gRPC puts before the text.
func fromStatus(err error) *Error {
	st := status.Convert(err)
	e := &Error{Kind: kindOfCode(st), RetryAfter: 0, Err: errors.New(told(st.Message()))}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				e.Kind, e.Step = KindNamed(d.GetReason()), stepNamed(d.GetMetadata()[stepKey])
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

// clip cuts text to at most n bytes and says so.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + fmt.Sprintf("... (%d bytes in all)", len(text))
}
