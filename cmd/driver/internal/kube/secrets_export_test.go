package kube

import (
	"context"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// SetClock makes s believe in another time, and wait less for other nodes.
func (s *Secrets) SetClock(now func() time.Time, settle time.Duration) {
	s.now, s.settle = now, settle
}

// SetHashKeyFile makes s use the key of content hashes in a file.
func (s *Secrets) SetHashKeyFile(file string) { s.contentKey = &hashKey{file: file} }

// Probe asks whether the driver could make a Secret without its label.
func (s *Secrets) Probe(ctx context.Context, namespace string) error {
	f := &fill{s: s, copy: rotation.Copy{Pod: provider.Pod{Namespace: namespace}}}
	return f.probe(ctx, nil)
}
