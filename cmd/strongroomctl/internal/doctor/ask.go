package doctor

import (
	"context"
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mostPages is how many pods are asked by name: one tells as much as a thousand that fail alike.
const mostPages = 20

// Right is one to do something to objects, in a namespace or everywhere.
type Right struct{ Verb, Group, Resource, Sub, Name, Namespace string }

func (r Right) String() string {
	text := r.Verb + " " + r.Resource
	if r.Sub != "" {
		text += "/" + r.Sub
	}
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Namespace != "" {
		text += " in namespace " + r.Namespace
	}
	return text
}

const group = "secrets-store.csi.x-k8s.io"

func rightsTo(group, resource string, verbs ...string) []Right {
	all := make([]Right, len(verbs))
	for i, verb := range verbs {
		all[i] = Right{Verb: verb, Group: group, Resource: resource}
	}
	return all
}

// needed are the rights without which the driver cannot work.
func needed(driverName string) []Right {
	all := rightsTo(group, "secretproviderclasses", "get", "list", "watch")
	all = append(all, rightsTo(group, "secretproviderclasspodstatuses", "get", "create", "update")...)
	all = append(all, rightsTo("", "events", "create")...)
	all = append(all, rightsTo("", "pods", "get")...)
	return append(all, Right{Verb: "get", Group: "storage.k8s.io", Resource: "csidrivers", Name: driverName})
}

// tooMuch are rights that the driver must not have: with them, the token of a node reads Secrets.
func tooMuch() []Right {
	all := rightsTo("", "secrets", "get", "list", "watch", "patch", "delete")
	return append(all, Right{Verb: "create", Resource: "serviceaccounts", Sub: "token"})
}

// filling are those to fill Secrets of a namespace, or of all if it is "".
func filling(namespace string) []Right {
	all := rightsTo("", "secrets", "create", "update")
	all = append(all, rightsTo(group, "syncedsecrets", "get", "create", "update")...)
	for i := range all {
		all[i].Namespace = namespace
	}
	return all
}

// rights asks the API server what the driver may do.
func (r *reader) rights(ctx context.Context) {
	d := r.Driver()
	if d == nil {
		return
	}
	all := append(needed(d.Name()), tooMuch()...)
	all = append(all, filling("")...)
	for _, namespace := range r.fillingNamespaces() {
		all = append(all, filling(namespace)...)
	}
	tasks := make([]func(context.Context), len(all))
	for i, right := range all {
		tasks[i] = func(ctx context.Context) { r.right(ctx, right) }
	}
	for begin := 0; begin < len(tasks); begin += mostPages {
		together(ctx, tasks[begin:min(begin+mostPages, len(tasks))]...)
	}
}

// fillingNamespaces are those with classes that list Secrets, not too many.
func (r *reader) fillingNamespaces() []string {
	var names []string
	seen := map[string]bool{}
	for i := range r.Classes {
		if name := r.Classes[i].Namespace; fills(&r.Classes[i]) && !seen[name] && len(names) < mostPages {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

func (r *reader) right(ctx context.Context, right Right) {
	d := r.Driver()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:   d.User(),
		Groups: []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + d.Set.Namespace},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: right.Verb, Group: right.Group, Resource: right.Resource, Subresource: right.Sub, Name: right.Name, Namespace: right.Namespace,
		},
	}}
	err := r.api.Create(ctx, review)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if !unreadOf(r.Unread, rightsText) {
			r.Unread = append(r.Unread, Unread{rightsText, err})
		}
		return
	}
	r.Rights[right] = review.Status.Allowed
}

const rightsText = "rights of the driver (create subjectaccessreviews)"

func unreadOf(all []Unread, what string) bool {
	for _, u := range all {
		if u.What == what {
			return true
		}
	}
	return false
}

// pages asks pods of the driver: those that are not ready why, and some which providers they reach.
func (r *reader) pages(ctx context.Context) {
	d := r.Driver()
	if d == nil {
		return
	}
	pods := r.podsOf(&d.Set)
	var tasks []func(context.Context)
	for _, pod := range pods {
		if !ready(pod) && pod.Status.PodIP != "" && len(tasks) < mostPages {
			tasks = append(tasks, func(ctx context.Context) { r.readyPage(ctx, pod, d.Port("health-addr", "9808")) })
		}
	}
	if r.unexplained() {
		for _, pod := range pods[:min(len(pods), mostPages)] {
			tasks = append(tasks, func(ctx context.Context) { r.metricsPage(ctx, pod, d.Port("metrics-addr", "8095")) })
		}
	}
	together(ctx, tasks...)
}

// unexplained says whether a class has a provider that no DaemonSet offers.
func (r *reader) unexplained() bool {
	for i := range r.Classes {
		if name := string(r.Classes[i].Spec.Provider); name != "" && !r.offered(name) {
			return true
		}
	}
	return false
}

func (r *reader) readyPage(ctx context.Context, pod *corev1.Pod, port string) {
	text, err := r.api.Page(ctx, pod, port, "readyz")
	if err != nil {
		text = "its /readyz cannot be read: " + err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Unready[pod.Name] = strings.TrimSpace(text)
}

// metricsPage notes which providers have answered. A page that is not to be had says nothing.
func (r *reader) metricsPage(ctx context.Context, pod *corev1.Pod, port string) {
	text, err := r.api.Page(ctx, pod, port, "metrics")
	if err != nil {
		r.unread("metrics of pod "+pod.Name, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range regexp.MustCompile(`(?m)^strongroom_provider_up\{[^}]*provider="([^"]+)"[^}]*\} 1$`).FindAllStringSubmatch(text, -1) {
		r.Up[m[1]] = true
	}
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func ownedBy(set *appsv1.DaemonSet) func(metav1.OwnerReference) bool {
	return func(o metav1.OwnerReference) bool { return o.UID == set.UID }
}
