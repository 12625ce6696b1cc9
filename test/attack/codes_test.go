//go:build attack

package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider/v1alpha1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// failing is a provider that answers each class with the code that its parameters name,
// for as long as it is ill.
type failing struct {
	v1alpha1.UnimplementedCSIDriverProviderServer

	ill atomic.Bool

	mu      sync.Mutex
	content content
	refused map[codes.Code]int
}

func (f *failing) Version(context.Context, *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	return &v1alpha1.VersionResponse{Version: "v1alpha1", RuntimeName: oddName, RuntimeVersion: "0"}, nil
}

func (f *failing) Mount(_ context.Context, req *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	var parameters struct{ Code string }
	if err := json.Unmarshal([]byte(req.GetAttributes()), &parameters); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	code, err := strconv.Atoi(parameters.Code)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ill.Load() {
		return f.content.answer(), nil
	}
	f.refused[codes.Code(code)]++
	if code == int(codes.OK) {
		return &v1alpha1.MountResponse{}, nil // which is no answer
	}
	return nil, status.Error(codes.Code(code), "told to fail")
}

// holds makes f answer with c, or with errors, from now on.
func (f *failing) holds(c content, ill bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content, f.refused = c, map[codes.Code]int{}
	f.ill.Store(ill)
}

func (f *failing) refusals(code codes.Code) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused[code]
}

// answer is what a provider says that holds c.
func (c content) answer() *v1alpha1.MountResponse {
	resp := &v1alpha1.MountResponse{}
	for name, contents := range c.files {
		resp.Files = append(resp.Files, &v1alpha1.File{Path: name, Mode: 0o644, Contents: []byte(contents)})
		resp.ObjectVersion = append(resp.ObjectVersion, &v1alpha1.ObjectVersion{Id: name, Version: c.version})
	}
	return resp
}

// toldToKubelet is the code that kubelet gets for each one of a provider's, and what it
// makes of it: after those that it takes for final it forgets the volume.
func toldToKubelet() map[codes.Code]codes.Code {
	return map[codes.Code]codes.Code{
		codes.OK:                 codes.InvalidArgument, // without files
		codes.Canceled:           codes.DeadlineExceeded,
		codes.Unknown:            codes.Unknown,
		codes.InvalidArgument:    codes.InvalidArgument,
		codes.DeadlineExceeded:   codes.DeadlineExceeded,
		codes.NotFound:           codes.NotFound,
		codes.AlreadyExists:      codes.Unknown,
		codes.PermissionDenied:   codes.PermissionDenied,
		codes.ResourceExhausted:  codes.ResourceExhausted,
		codes.FailedPrecondition: codes.InvalidArgument,
		codes.Aborted:            codes.Unavailable,
		codes.OutOfRange:         codes.InvalidArgument,
		codes.Unimplemented:      codes.Internal,
		codes.Internal:           codes.Internal,
		codes.Unavailable:        codes.Unavailable,
		codes.DataLoss:           codes.Internal,
		codes.Unauthenticated:    codes.PermissionDenied,
	}
}

// alone is a lane of a test that needs the driver in one way only.
func alone(t *testing.T, flags ...string) *lane {
	t.Helper()
	t.Parallel()
	g, err := the()
	if err != nil {
		t.Fatal(err)
	}
	return newLane(t, g, way{flags: flags})
}

// TestEveryCode: whatever code a provider answers with, kubelet is told which and why, a
// mounted volume keeps its files, kubelet hears nothing but OK about it, and it is
// refreshed once the provider answers again.
func TestEveryCode(t *testing.T) {
	l := alone(t, rotating()...)
	f := &failing{}
	l.serveServer(t, f)
	f.holds(first(), true)
	volumes := map[codes.Code]stand.Volume{}
	for code, want := range toldToKubelet() {
		v := l.volume()
		v.Class = fmt.Sprint("code-", int(code))
		key := client.ObjectKey{Namespace: namespace, Name: v.Class}
		if err := l.cluster.StoreClass(t.Context(), key, oddName, map[string]string{"code": strconv.Itoa(int(code))}); err != nil {
			t.Fatal(err)
		}
		prepare(t, l, v)
		volumes[code] = v
		l.isTold(t, v, code, want)
		l.is(t, v, stand.Nothing)
	}
	f.holds(first(), false)
	for _, v := range volumes {
		l.publish(t, v)
	}
	f.holds(second(), true)
	for code, v := range volumes {
		l.becomes(t, "refreshed in vain, with code "+code.String(), func(context.Context) error {
			if f.refusals(code) == 0 {
				return fmt.Errorf("code %v: the provider was not asked", code)
			}
			return nil
		})
		if err := l.driver.Publish(t.Context(), v); err != nil {
			t.Errorf("%v: republish: %v", code, err)
		}
		l.is(t, v, stand.Whole)
	}
	f.holds(second(), false)
	for _, v := range volumes {
		l.becomes(t, "refreshed", func(context.Context) error { return v.Shows(second().files) })
		l.unpublish(t, v)
	}
}

// isTold publishes what a provider refuses with a code.
func (l *lane) isTold(t *testing.T, v stand.Volume, code, want codes.Code) {
	t.Helper()
	err := l.driver.Publish(t.Context(), v)
	if status.Code(err) != want {
		t.Errorf("%v became %v, want %v: %v", code, status.Code(err), want, err)
	}
	texts := []string{"failed to mount secrets store objects for pod " + namespace + "/" + v.Pod + ": ", v.Class + `: provider "odd": `}
	if code != codes.OK {
		texts = append(texts, "told to fail")
	}
	for _, text := range texts {
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%v: %v, want %q in it", code, err, text)
		}
	}
}

// TestManyFiles mounts 10,000 files, and exchanges them all. They are more than a volume
// may have, each having a page of its own, unless the driver is told otherwise.
func TestManyFiles(t *testing.T) {
	l := alone(t, rotating()...)
	f := &failing{}
	l.serveServer(t, f)
	v := l.volume()
	v.Class = "many-files"
	if err := l.cluster.StoreClass(t.Context(), client.ObjectKey{Namespace: namespace, Name: v.Class}, oddName, map[string]string{"code": "0"}); err != nil {
		t.Fatal(err)
	}
	prepare(t, l, v)
	for _, version := range []string{"v1", "v2"} {
		many := stand.Files{}
		for n := range 10_000 {
			many[fmt.Sprintf("file-%d", n)] = fmt.Sprintf("%s of file %d", version, n)
		}
		f.holds(content{version, many}, false)
		if version == "v1" {
			l.isTooMuch(t, v)
			l.config.Flags = append(l.config.Flags, "--max-volume-bytes=67108864")
			l.restart(t)
		}
		begin := time.Now()
		if version == "v1" {
			if err := l.driver.Publish(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		l.becomesIn(t, 2*time.Minute, "of version "+version, func(context.Context) error { return v.Shows(many) })
		t.Logf("10,000 files of version %s: %v", version, time.Since(begin))
	}
	l.unpublish(t, v)
}

// isTooMuch publishes more than a volume may have.
func (l *lane) isTooMuch(t *testing.T, v stand.Volume) {
	t.Helper()
	err := l.driver.Publish(t.Context(), v)
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "raise --max-volume-bytes") {
		t.Errorf("publish: %v, want ResourceExhausted and the name of the flag", err)
	}
	l.is(t, v, stand.Nothing)
}
