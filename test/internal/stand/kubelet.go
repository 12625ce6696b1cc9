package stand

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// insistence is how long kubelet is played; the real one never gives up.
const insistence = 30 * time.Second

// final says whether kubelet takes an error for the end of a publish: it then forgets
// the volume and begins anew. After any other it repeats the same request.
func final(err error) bool {
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return false
	default:
		return true
	}
}

// PublishAsKubelet prepares and publishes a volume until that succeeds.
func (d *Driver) PublishAsKubelet(ctx context.Context, v Volume) error {
	return insist(ctx, func(ctx context.Context) error {
		if err := v.Prepare(); err != nil {
			return err
		}
		err := d.Publish(ctx, v)
		if err != nil && final(err) {
			if forget := v.Forget(); forget != nil {
				return fmt.Errorf("%w, and after it: %w", err, forget)
			}
		}
		return err
	})
}

// UnpublishAsKubelet unpublishes a volume until that succeeds. It forgets nothing.
func (d *Driver) UnpublishAsKubelet(ctx context.Context, v Volume) error {
	return insist(ctx, func(ctx context.Context) error { return d.Unpublish(ctx, v) })
}

func insist(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, insistence)
	defer cancel()
	for {
		err := call(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it never succeeded: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
