package kube

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	v1 "github.com/strongroom/strongroom/api/v1"
)

// managedLabel marks Secrets that a driver fills (driver-contract 6.2).
const managedLabel = "secrets-store.csi.k8s.io/managed"

// written is which Secret was written, and its version.
type written struct{ uid, version string }

// hash stands for the content of a Secret; its key is that of the process.
type hash [sha256.Size]byte

// write makes the Secret hold our content. It is not done if others changed something
// that must be looked at again.
func (f *fill) write(ctx context.Context) (done bool, err error) {
	base := f.st.synced.Status
	if base.SecretUID == "" {
		return f.post(ctx)
	}
	now, err := f.s.putSecret(ctx, f.secret(written{base.SecretUID, base.SecretResourceVersion}))
	switch {
	case apierrors.IsConflict(err):
		return f.edited(ctx)
	case apierrors.IsNotFound(err):
		return f.deleted(ctx)
	case err != nil:
		return false, f.putFailed(ctx, err)
	}
	return f.note(ctx, now)
}

// edited goes on where the Secret is not what the SyncedSecret says. A node may be
// about to note what it wrote, so there is a wait and a second look. If nobody noted
// anything, somebody edited the Secret, or a driver was killed.
func (f *fill) edited(ctx context.Context) (done bool, err error) {
	same, err := f.lookTwice(ctx)
	if !same || err != nil {
		return false, err
	}
	now, err := f.s.putSecret(ctx, f.secret(written{uid: f.st.synced.Status.SecretUID}))
	switch {
	case apierrors.IsConflict(err): // it has another UID
		return f.takeOver(ctx)
	case apierrors.IsNotFound(err):
		return f.deleted(ctx)
	case err != nil:
		return false, f.putFailed(ctx, err)
	}
	return f.note(ctx, now)
}

// lookTwice reads the SyncedSecret, now and a little later, and says whether it still
// notes the same Secret.
func (f *fill) lookTwice(ctx context.Context) (same bool, err error) {
	for again := range 2 {
		if again > 0 {
			pause(ctx, f.s.settle+f.jitter())
		}
		if same, err = f.lookAgain(ctx); !same || err != nil {
			return false, err
		}
	}
	return !f.behind(), nil
}

// lookAgain reads the SyncedSecret and says whether it still notes the same Secret.
func (f *fill) lookAgain(ctx context.Context) (same bool, err error) {
	before := f.st.synced
	if err := f.read(ctx); err != nil {
		return false, err
	}
	after := f.st.synced
	return after != nil && after.UID == before.UID && sameStatus(after.Status, before.Status) && f.st.hasOwner(f.owner.UID), nil
}

// deleted makes the Secret again, if it is still asked for.
func (f *fill) deleted(ctx context.Context) (done bool, err error) {
	if same, err := f.lookAgain(ctx); !same || err != nil {
		return false, err
	}
	return f.post(ctx)
}

// restore makes the Secret again with older content, if it was deleted: the node with
// the younger one may be gone. If that is not so, it will win again.
func (f *fill) restore(ctx context.Context) (done bool, err error) {
	now, err := f.s.postSecret(ctx, f.secret(written{}), false)
	switch {
	case apierrors.IsAlreadyExists(err):
		return true, nil
	case err != nil:
		return false, f.s.failed(f.request("create", "secrets"), err)
	}
	return f.note(ctx, now)
}

func (f *fill) post(ctx context.Context) (done bool, err error) {
	now, err := f.s.postSecret(ctx, f.secret(written{}), false)
	switch {
	case apierrors.IsAlreadyExists(err):
		return f.exists(ctx)
	case err != nil:
		return false, f.s.failed(f.request("create", "secrets"), err)
	}
	return f.note(ctx, now)
}

// exists goes on where there is a Secret that nobody noted.
func (f *fill) exists(ctx context.Context) (done bool, err error) {
	if same, err := f.lookTwice(ctx); !same || err != nil {
		return false, err
	}
	if f.st.synced.Status.SecretUID != "" {
		return false, nil // made again by another node, which will note it
	}
	return f.takeOver(ctx)
}

// secret is the whole Secret as it should be; at says which one it must replace.
func (f *fill) secret(at written) *corev1.Secret {
	labels := maps.Clone(f.copy.Object.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[managedLabel] = "true"
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.copy.Pod.Namespace, Name: f.want.Name,
			UID: types.UID(at.uid), ResourceVersion: at.version,
			Labels: labels, Annotations: f.annotations,
		},
		Type: corev1.SecretType(f.want.Type), Data: f.want.Data,
	}
	if f.st != nil {
		secret.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: v1.GroupVersion.String(), Kind: "SyncedSecret", Name: f.st.synced.Name, UID: f.st.synced.UID,
		}}
	}
	return secret
}

func (s *Secrets) hash(secret *corev1.Secret) hash {
	mac := hmac.New(sha256.New, s.hashKey)
	add := func(part []byte) {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(part))) // a hash takes everything
		_, _ = mac.Write(part)
	}
	texts := func(m map[string]string) {
		add(binary.BigEndian.AppendUint64(nil, uint64(len(m))))
		for _, key := range slices.Sorted(maps.Keys(m)) {
			add([]byte(key))
			add([]byte(m[key]))
		}
	}
	add([]byte(secret.Type))
	texts(secret.Labels)
	texts(secret.Annotations)
	for _, key := range slices.Sorted(maps.Keys(secret.Data)) {
		add([]byte(key))
		add(secret.Data[key])
	}
	return hash(mac.Sum(nil))
}

// onlyMetadata asks for an answer without content.
const onlyMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

func (s *Secrets) postSecret(ctx context.Context, secret *corev1.Secret, dryRun bool) (written, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	options := &metav1.CreateOptions{}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return answerOf(s.secrets.Post().Resource("secrets").Namespace(secret.Namespace).
		SetHeader("Accept", onlyMetadata).VersionedParams(options, metav1.ParameterCodec).Body(secret).Do(ctx))
}

func (s *Secrets) putSecret(ctx context.Context, secret *corev1.Secret) (written, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return answerOf(s.secrets.Put().Resource("secrets").Namespace(secret.Namespace).Name(secret.Name).
		SetHeader("Accept", onlyMetadata).Body(secret).Do(ctx))
}

func answerOf(result rest.Result) (written, error) {
	if err := result.Error(); err != nil { // Raw does not read the API server's reasons
		return written{}, err
	}
	var answer metav1.PartialObjectMetadata
	body, err := result.Raw()
	if err != nil || json.Unmarshal(body, &answer) != nil || answer.UID == "" {
		return written{}, errAnswer
	}
	return written{uid: string(answer.UID), version: answer.ResourceVersion}, nil
}

// errAnswer says nothing of what was answered.
var errAnswer = errors.New("the API server's answer cannot be read")
