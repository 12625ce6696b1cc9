package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// How long an answer about the CSIDriver object holds: an acceptable one long, since
// thousands of nodes ask; another one only as long as spares the API server.
const (
	goodFor = 10 * time.Minute
	badFor  = 15 * time.Second
)

// csiDriver is what matters of the CSIDriver object.
type csiDriver struct {
	turn            chan struct{} // holds a token while nobody asks
	asked           time.Time
	tokensInContext bool
	republishes     bool
	err             error
}

// TokensInContext says whether kubelet puts service account tokens into the volume
// context. If it does not, what is there was written by the pod's author.
func (c *Cluster) TokensInContext(ctx context.Context) (bool, error) {
	d := &c.driver
	if err := d.take(ctx); err != nil {
		return false, err
	}
	defer d.giveBack()
	err := c.refresh(ctx, func() bool { return d.tokensInContext })
	return d.tokensInContext, err
}

// Republishes returns an error unless kubelet is told to repeat publish calls, which
// bring fresh tokens and announce mounted volumes after a restart.
func (c *Cluster) Republishes(ctx context.Context) error {
	d := &c.driver
	if err := d.take(ctx); err != nil {
		return err
	}
	defer d.giveBack()
	if err := c.refresh(ctx, func() bool { return d.republishes }); err != nil {
		return err
	}
	if !d.republishes {
		return errors.New("CSIDriver " + c.driverName + " must have requiresRepublish: true")
	}
	return nil
}

// take waits for the turn, but not longer than ctx holds.
func (d *csiDriver) take(ctx context.Context) error {
	select {
	case <-d.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the csidriver object: %w", ctx.Err())
	}
}

func (d *csiDriver) giveBack() { d.turn <- struct{}{} }

func newCSIDriver() csiDriver {
	d := csiDriver{turn: make(chan struct{}, 1)}
	d.giveBack()
	return d
}

// refresh asks again if the last answer is too old; it needs the turn.
func (c *Cluster) refresh(ctx context.Context, good func() bool) error {
	d := &c.driver
	if d.holds(good()) {
		return d.err
	}
	object, err := c.csiDriverObject(ctx)
	if err != nil && ctx.Err() != nil { // who asked gave up, which says nothing to others
		return fmt.Errorf("get csidriver %s: %w", c.driverName, err)
	}
	first := d.asked.IsZero() || d.err != nil
	d.asked, d.err = time.Now(), nil
	switch {
	case err != nil && !first && !apierrors.IsNotFound(err):
		return nil // the last answer holds as long as there is no other
	case err != nil:
		d.err = fmt.Errorf("get csidriver %s: %w", c.driverName, err)
		return d.err
	}
	isTrue := func(b *bool) bool { return b != nil && *b }
	d.tokensInContext = len(object.Spec.TokenRequests) > 0 && !inSecrets(object)
	d.republishes = isTrue(object.Spec.RequiresRepublish)
	return nil
}

// holds says whether the last answer does still; it needs the turn.
func (d *csiDriver) holds(good bool) bool {
	most := badFor
	if d.err == nil && good {
		most = goodFor
	}
	return !d.asked.IsZero() && time.Since(d.asked) < most
}

func (c *Cluster) csiDriverObject(ctx context.Context) (*storagev1.CSIDriver, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	object := &storagev1.CSIDriver{}
	return object, c.client.Get(ctx, client.ObjectKey{Name: c.driverName}, object)
}

func inSecrets(object *storagev1.CSIDriver) bool {
	return object.Spec.ServiceAccountTokenInSecrets != nil && *object.Spec.ServiceAccountTokenInSecrets
}
