//go:build unix

package kube_test

import (
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/pkg/rotation"
)

const (
	adopt   = "secrets-store.csi.x-k8s.io/adopt"
	managed = "secrets-store.csi.k8s.io/managed"
)

// foreign is a Secret of somebody else.
func foreign(namespace, name string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{"password": []byte(value)},
	}
}

// A Secret that the driver did not make is left alone: one that was there before, and
// one that took the place of the driver's.
func (l secretLab) foreign(t *testing.T) {
	l.namespace(t, "foreign")
	defer l.collecting(t, "foreign")()
	c := newClock()
	d := l.start(t, "node-1", c)
	ask := copyOf(l.pod(t, "foreign", "p", "rs"), text(1), c.Now())
	ours := ask
	ours.Object.Name = "ours"
	d.fill(t, ours)
	l.remove(t, l.secret(t, "foreign", "ours"))
	for _, ask := range []rotation.Copy{ask, ours, repeat(ours)} {
		before := foreign("foreign", ask.Object.Name)
		if !ask.Repeat {
			l.create(t, before)
		}
		before = l.secret(t, "foreign", ask.Object.Name)
		c.add(time.Minute)
		if _, err := d.Fill(t.Context(), ask); err == nil { // it may be the driver's own: garbage collection will tell
			t.Error("no error")
		}
		c.add(time.Minute)
		d.refused(t, ask, rotation.SecretNotManaged, "secret foreign/"+ask.Object.Name+" exists", "or delete it",
			"install the admission policy", "kubectl annotate secret -n foreign "+ask.Object.Name+" "+adopt+"=db")
		if after := l.secret(t, "foreign", ask.Object.Name); after.ResourceVersion != before.ResourceVersion {
			t.Errorf("%s was written", ask.Object.Name)
		}
	}
	l.remove(t, l.secret(t, "foreign", "s"))
	d.fill(t, ask)
	l.holds(t, "foreign", "s", text(1))
}

// installPolicy keeps the driver from Secrets of others in namespaces with a label.
func (l secretLab) installPolicy(t *testing.T) {
	t.Helper()
	has := func(object, key string) string {
		return object + ".metadata.?" + key
	}
	rule := admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
		Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
	}}
	l.create(t, &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "test"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{rule}},
			MatchConditions:  []admissionv1.MatchCondition{{Name: "driver", Expression: `request.userInfo.username == "driver"`}},
			Validations: []admissionv1.Validation{
				{Expression: has("object", "labels") + `["` + managed + `"].orValue("") == "true"`},
				{Expression: `oldObject == null || ` + has("oldObject", "labels") + `["` + managed + `"].orValue("") == "true" || ` +
					has("oldObject", "annotations") + `["` + adopt + `"].orValue("") != ""`},
				{Expression: `namespaceObject.metadata.?labels["sync"].orValue("") == "enabled"`},
			},
		},
	})
	l.create(t, &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "test"},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "test", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"guarded": "yes"}}},
		},
	})
}

// guardedNamespace waits until the policy works in it.
func (l secretLab) guardedNamespace(t *testing.T, name, sync string) {
	t.Helper()
	l.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"guarded": "yes", "sync": sync}}})
	config := l.startAs(t, "driver", "probe", newClock())
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if config.denied(t, name) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the policy does not work")
		}
	}
}

// denied says whether the driver is kept from making a Secret without its label.
func (d *driver) denied(t *testing.T, namespace string) bool {
	t.Helper()
	err := d.Probe(t.Context(), namespace)
	return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'test'")
}

func (l secretLab) policy(t *testing.T) {
	l.installPolicy(t)
	l.guardedNamespace(t, "guarded", "enabled")
	l.guardedNamespace(t, "forbidden", "no")
	c := newClock()
	d := l.start(t, "node-1", c)
	ask := copyOf(l.pod(t, "guarded", "p", "rs"), text(1), c.Now())
	for name, change := range map[string]func(*corev1.Secret){
		"upstream": func(s *corev1.Secret) { s.Labels = map[string]string{managed: "true"} },
		"adopted":  func(s *corev1.Secret) { s.Annotations = map[string]string{adopt: "db"} },
	} {
		before := foreign("guarded", name)
		change(before)
		before.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "x", UID: "y"}}
		l.create(t, before)
		ask.Object.Name = name
		d.fill(t, ask)
		l.holds(t, "guarded", name, text(1))
		after, synced := l.secret(t, "guarded", name), l.synced(t, "guarded", name)
		if after.UID != before.UID || len(after.OwnerReferences) != 1 || after.OwnerReferences[0].UID != synced.UID ||
			synced.Status.SecretUID != string(after.UID) || after.Annotations[adopt] != "" {
			t.Errorf("%s: %+v, %+v", name, after.ObjectMeta, synced.Status)
		}
	}
	l.create(t, foreign("guarded", "other"))
	ask.Object.Name = "other"
	d.refused(t, ask, rotation.SecretNotManaged, "kubectl annotate secret -n guarded other "+adopt+"=db")
	l.holds(t, "guarded", "other", value)
	l.policyUnlabelled(t, d, ask)
	elsewhere := copyOf(l.pod(t, "forbidden", "p", "rs"), text(1), c.Now())
	d.refused(t, elsewhere, rotation.SyncNotAllowed, "in namespace forbidden: policy test denies it")
	l.policyKilled(t)
}

// The driver's own Secret lost its label, so the policy keeps the driver from it.
func (l secretLab) policyUnlabelled(t *testing.T, d *driver, ask rotation.Copy) {
	t.Helper()
	ask.Object.Name = "mine"
	d.fill(t, ask)
	secret := l.secret(t, "guarded", "mine")
	secret.Labels = nil
	if err := l.api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	d.clock.add(time.Hour)
	d.refused(t, repeat(ask), rotation.SecretNotManaged, "kubectl annotate secret")
	secret.Annotations = map[string]string{adopt: "db"}
	if err := l.api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	d.clock.add(time.Hour)
	d.fill(t, repeat(ask))
	if l.secret(t, "guarded", "mine").Labels[managed] != "true" {
		t.Error("the label is missing")
	}
}

// Where the policy works, a Secret of a killed driver is taken at once.
func (l secretLab) policyKilled(t *testing.T) {
	t.Helper()
	c := newClock()
	d := l.start(t, "node-1", c)
	ask := copyOf(l.pod(t, "guarded", "web", "web"), text(1), c.Now())
	d.wire.cutAt = 5 // the Secret is there, and not noted
	if _, err := d.Fill(t.Context(), ask); err == nil {
		t.Fatal("no error")
	}
	before := l.secret(t, "guarded", "s")
	l.finishes(t, l.start(t, "node-1", c), ask)
	if l.secret(t, "guarded", "s").UID != before.UID {
		t.Error("the secret was made again")
	}
}

// Without rights a call says which, and the next ones ask nothing for a while.
func (l secretLab) noRights(t *testing.T) {
	l.namespace(t, "rights")
	c := newClock()
	ask := copyOf(l.pod(t, "rights", "p", "rs"), text(1), c.Now())
	for user, says := range map[string]string{
		"nobody": "get pods in namespace rights: the driver has no right", "halfway": "create secrets in namespace rights: the driver has no right",
	} {
		d := l.startAs(t, user, "node-1", c)
		d.refused(t, ask, rotation.SyncNotAllowed, says, "manifests/components/sync-secrets", "secrets-store.csi.x-k8s.io/sync=enabled")
		d.wire.requests()
		c.add(50 * time.Second)
		d.refused(t, ask, rotation.SyncNotAllowed, says)
		if got := d.wire.requests(); got != "" {
			t.Errorf("%s: asked for %s", user, got)
		}
		c.add(2 * time.Minute)
		d.refused(t, ask, rotation.SyncNotAllowed, says)
		if got := d.wire.requests(); got == "" {
			t.Errorf("%s: asked for nothing in three minutes", user)
		}
	}
	var list corev1.SecretList
	if err := l.api.List(t.Context(), &list, client.InNamespace("rights")); err != nil || len(list.Items) > 0 {
		t.Errorf("%v, %d secrets", err, len(list.Items))
	}
}
