package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/cmd/driver/internal/secretdata"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// The pace of filling Secrets.
const (
	firstRepeat = 5*time.Minute - 10*time.Second
	lastRepeat  = 6 * time.Hour
	// sure is how long a Secret is taken to hold what this node wrote.
	sure = 2 * time.Second
	// settle is how long another node gets to note what it wrote.
	settle = 300 * time.Millisecond
	// fillTries bounds the tries of one call against others that write, too.
	fillTries = 8
	// maxSkew is how far in the future a fetch may lie; what is beyond counts for nothing,
	// or a node with a wrong clock would keep all others from writing.
	maxSkew = time.Hour
)

// Secrets fills Kubernetes Secrets for the pods of one node. It has no right to read
// them: what must be known of them stands in the SyncedSecret of the same name. Nodes
// that fill one Secret agree by two rules. A Secret is replaced under the version that
// the SyncedSecret notes, so a write that is late fails. And content is not written over
// content that was fetched later.
type Secrets struct {
	client  client.Client
	secrets rest.Interface // writes Secrets, and gets no content in return
	node    string
	hashKey []byte
	now     func() time.Time
	settle  time.Duration

	contentKey *hashKey

	states  states
	owners  owners
	refused memory[error] // by namespace: what is not allowed there
	probed  memory[bool]  // by namespace: whether a policy guards Secrets of others
	// worked tells, by namespace, that the driver could write, and since when it is said
	// to have no right to.
	worked memory[time.Time]
}

var _ rotation.Secrets = (*Secrets)(nil)

// NewSecrets returns the Secrets of a node. It makes no request.
func NewSecrets(cfg Config) (*Secrets, error) {
	config, scheme, err := cfg.api()
	if err != nil {
		return nil, err
	}
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make the API client: %w", err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper(), HTTPClient: http})
	if err != nil {
		return nil, fmt.Errorf("make the API client: %w", err)
	}
	secrets, err := secretClient(config, http, scheme)
	if err != nil {
		return nil, fmt.Errorf("make the client for secrets: %w", err)
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Secrets{
		client: c, secrets: secrets, node: cfg.Node, hashKey: key, now: time.Now, settle: settle,
		contentKey: &hashKey{file: cfg.ContentHashKeyFile},
		states:     newStates(), owners: newOwners(), refused: newMemory[error](), probed: newMemory[bool](),
		worked: newMemory[time.Time](),
	}, nil
}

func secretClient(config *rest.Config, http *http.Client, scheme *runtime.Scheme) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	config.APIPath = "/api"
	config.GroupVersion = &corev1.SchemeGroupVersion
	config.ContentType = runtime.ContentTypeProtobuf
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.RESTClientForConfigAndClient(config, http)
}

// Fill makes a Secret hold what c says.
func (s *Secrets) Fill(ctx context.Context, c rotation.Copy) (time.Duration, error) {
	now := s.now()
	s.sweep(now)
	want, err := secretdata.Build(c.Object, c.Files)
	if err != nil {
		return 0, &rotation.Refusal{Reason: rotation.SecretInvalid, Err: err}
	}
	if err, ok := s.refused.get(c.Pod.Namespace, now); ok {
		return 0, err
	}
	f := &fill{s: s, copy: c, want: want, fetched: c.Fetched.UTC().Truncate(time.Microsecond)}
	f.annotations = s.annotations(c.Pod.Namespace, c.Object.Annotations, want)
	f.hash = s.hash(f.secret(written{}))
	return f.run(ctx)
}

// sweep forgets what has not been used for long.
func (s *Secrets) sweep(now time.Time) {
	s.states.sweep(now)
	s.owners.sweep(now)
	s.refused.sweep(now)
	s.probed.sweep(now)
	s.worked.sweep(now)
}

// fill is one call of Fill.
type fill struct {
	s           *Secrets
	copy        rotation.Copy
	want        secretdata.Secret
	fetched     time.Time // as a SyncedSecret can hold it
	hash        hash      // of annotations, too
	annotations map[string]string
	owner       metav1.OwnerReference
	seen        bool // the pod was looked at in this call
	st          *state
	look        bool // what is known of the SyncedSecret must not be relied on
	looked      bool // it was read in this call
	changed     bool // the Secret did not hold what this node wrote
	written     bool
}

// errPodGone ends a call whose pod needs no Secret any more.
var errPodGone = errors.New("the pod is gone")

func (f *fill) run(ctx context.Context) (time.Duration, error) {
	if err := f.findOwner(ctx); err != nil {
		return f.end(err)
	}
	st, done, err := f.s.states.take(ctx, f.copy.Pod.Namespace+"/"+f.want.Name, f.s.now())
	if err != nil {
		return 0, provider.Errorf(provider.Timeout, "wait for another pod's turn at %s: %w", f, err)
	}
	defer done()
	f.st = st
	if st.synced != nil && st.synced.Spec.SecretProviderClassName != f.copy.Class {
		st.synced = nil // that of another class; whether it still is, a look tells
	}
	if st.sure(f.hash, f.s.now()) && st.hasOwner(f.owner.UID) {
		return f.end(nil)
	}
	f.look = f.copy.Repeat || st.synced != nil && f.behind()
	return f.end(f.fill(ctx))
}

// fill tries until the Secret is as it should be.
func (f *fill) fill(ctx context.Context) error {
	for try := range fillTries {
		done, err := f.try(ctx)
		if done || err != nil {
			return err
		}
		pause(ctx, mathrand.N(20*time.Millisecond<<try)) //nolint:gosec // jitter needs no secrecy
	}
	return provider.Errorf(provider.Busy, "fill %s: others kept changing it or its syncedsecret", f)
}

// try is not done if something changed under it.
func (f *fill) try(ctx context.Context) (done bool, err error) {
	if done, err = f.claim(ctx); !done || err != nil {
		return false, err
	}
	switch {
	case f.holds():
		return true, nil
	case f.behind() && f.copy.Repeat:
		return f.restore(ctx)
	case f.behind():
		return true, nil
	}
	return f.write(ctx)
}

// holds says whether the Secret held our content a moment ago, under the SyncedSecret
// that there is now.
func (f *fill) holds() bool {
	noted := f.st.synced.Status
	return f.st.sure(f.hash, f.s.now()) && noted.SecretUID != "" && f.st.agrees(f.hash, noted.FetchTime)
}

// behind says whether the Secret holds other content that was fetched later. Content
// that this node wrote before, and another one replaced since, stays behind however often
// it is fetched: or nodes whose stores disagree would take turns.
func (f *fill) behind() bool {
	at := f.st.synced.Status.FetchTime
	if at == nil || f.st.agrees(f.hash, at) || at.After(f.s.now().Add(maxSkew)) {
		return false
	}
	replaced := f.st.hash == f.hash && f.st.agreed != nil && at.After(f.st.agreed.Time)
	return replaced || at.After(f.fetched)
}

// end says when to repeat the call.
func (f *fill) end(err error) (time.Duration, error) {
	if err != nil && !errors.Is(err, errPodGone) {
		return 0, err
	}
	if f.written {
		f.s.worked.put(f.copy.Pod.Namespace, time.Time{}, f.s.now().Add(worksFor))
	}
	delay := firstRepeat
	switch {
	case f.st == nil:
	case f.copy.Repeat && f.changed:
		f.st.delay = min(2*f.st.delay, lastRepeat)
		delay = f.st.delay
	case f.copy.Repeat && f.written:
		f.st.delay = firstRepeat
	default:
		delay = f.st.delay
	}
	return delay - mathrand.N(delay/6), nil //nolint:gosec // jitter needs no secrecy
}

// String names the Secret.
func (f *fill) String() string {
	return fmt.Sprintf("secret %s/%s", f.copy.Pod.Namespace, f.want.Name)
}
