package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/strongroom/strongroom/api/v1"
)

// Report is what is told about a pod. It holds no value of a secret.
type Report struct {
	Pod     string   `json:"pod"`
	Node    string   `json:"node,omitempty"`
	Phase   string   `json:"phase"`
	Volumes []Volume `json:"volumes"`
	Events  []Event  `json:"events,omitempty"`
	Unread  []string `json:"unread,omitempty"`
}

// Volume is one that the driver mounts.
type Volume struct {
	Name     string     `json:"name"`
	Class    string     `json:"class"`
	Provider string     `json:"provider,omitempty"`
	Mounted  bool       `json:"mounted"`
	Fresh    string     `json:"fresh"` // the state of the condition Ready: True, False or Unknown
	Error    string     `json:"error,omitempty"`
	Since    *time.Time `json:"since,omitempty"`   // of that state
	Changed  *time.Time `json:"changed,omitempty"` // when the record of what is mounted last changed
	Next     string     `json:"nextRefresh"`
	Objects  []Object   `json:"objects"`
	Secrets  []Secret   `json:"secrets,omitempty"`
}

// Object is one of the store, as it is mounted.
type Object struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

// Secret is a Kubernetes Secret that the class fills.
type Secret struct {
	Name    string     `json:"name"`
	Type    string     `json:"type"`
	State   string     `json:"state"`
	Fetched *time.Time `json:"fetched,omitempty"`
	Node    string     `json:"node,omitempty"`
}

// Event is one of the pod or of a class, about its volumes.
type Event struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
	Object string    `json:"object"`
	Text   string    `json:"text"`
}

// Explain makes a report of facts.
func Explain(f *Facts) Report {
	r := Report{
		Pod: f.Pod.Namespace + "/" + f.Pod.Name, Node: f.Pod.Spec.NodeName, Phase: string(f.Pod.Status.Phase),
		Volumes: []Volume{}, Unread: f.Unread, Events: f.told(),
	}
	for _, v := range f.Pod.Spec.Volumes {
		if f.uses(v) {
			r.Volumes = append(r.Volumes, f.volume(v))
		}
	}
	return r
}

func (f *Facts) volume(v corev1.Volume) Volume {
	class, known := f.Classes[classOf(v)]
	out := Volume{Name: v.Name, Class: classOf(v), Provider: string(class.Spec.Provider), Fresh: string(metav1.ConditionUnknown), Objects: []Object{}, Next: f.next(&class)}
	status := f.status(v)
	if status == nil {
		out.Error = f.lastFailure(v.Name)
		switch {
		case out.Error != "":
		case slices.Contains(f.Unseen, unseenStatuses):
			out.Error = "whether it is mounted is not known, because pod statuses could not be read"
		case !known && !slices.Contains(f.Unseen, unseenClass+out.Class):
			out.Error = "there is no secretproviderclass " + f.Pod.Namespace + "/" + out.Class
		}
	} else {
		out.recorded(status)
	}
	for _, o := range class.Spec.SecretObjects {
		if o != nil {
			out.Secrets = append(out.Secrets, f.secret(o, &class, status))
		}
	}
	return out
}

// recorded takes over what the driver wrote down.
func (v *Volume) recorded(status *v1.SecretProviderClassPodStatus) {
	v.Mounted = status.Status.Mounted
	for _, o := range status.Status.Objects {
		v.Objects = append(v.Objects, Object{o.ID, o.Version})
	}
	v.Changed = lastWrite(&status.ObjectMeta)
	c := meta.FindStatusCondition(status.Status.Conditions, v1.ReadyCondition)
	if c == nil {
		return
	}
	v.Fresh, v.Since = string(c.Status), &c.LastTransitionTime.Time
	if c.Status != metav1.ConditionTrue {
		v.Error = c.Reason + ": " + c.Message
	}
}

// lastWrite is when an object was written last.
func lastWrite(m *metav1.ObjectMeta) *time.Time {
	last := m.CreationTimestamp.Time
	for _, entry := range m.ManagedFields {
		if entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	return &last
}

// status is the record of a volume of this pod, and not of an earlier one of its name.
func (f *Facts) status(v corev1.Volume) *v1.SecretProviderClassPodStatus {
	path := fmt.Sprintf("/pods/%s/volumes/kubernetes.io~csi/%s/mount", f.Pod.UID, v.Name)
	for i := range f.Statuses {
		s := &f.Statuses[i]
		ours := slices.ContainsFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == f.Pod.UID })
		target := strings.ReplaceAll(s.Status.TargetPath, `\`, "/")
		if ours && (strings.HasSuffix(target, path) || target == "" && s.Status.SecretProviderClassName == classOf(v)) {
			return s
		}
	}
	return nil
}

// next says when a volume is refreshed again, as far as it can be known from outside: a refresh
// that changes nothing leaves no trace.
func (f *Facts) next(class *v1.SecretProviderClass) string {
	d := f.driver()
	rotation := class.Spec.Rotation
	switch {
	case d == nil:
		return "not known: no driver was found"
	case !d.Rotates():
		return "never: the driver runs without --enable-secret-rotation"
	case rotation != nil && rotation.Mode == v1.RotationNever:
		return "only when the class is told to, because its spec.rotation.mode is Never"
	case rotation != nil && rotation.Interval != "":
		return "within " + rotation.Interval + ", which is spec.rotation.interval of the class, or earlier if the provider asks for it"
	}
	return "within " + d.Interval() + ", which is --rotation-poll-interval of the driver, or earlier if the provider asks for it"
}

// lastFailure is the latest event that says why a volume is not mounted.
func (f *Facts) lastFailure(volume string) string {
	var last Event
	for _, e := range f.told() {
		if e.Reason == "FailedMount" && (strings.Contains(e.Text, `"`+volume+`"`) || last.Text == "") && !e.Time.Before(last.Time) {
			last = e
		}
	}
	return last.Text
}

func (f *Facts) secret(o *v1.SecretObject, class *v1.SecretProviderClass, status *v1.SecretProviderClassPodStatus) Secret {
	s := Secret{Name: strings.TrimSpace(o.SecretName), Type: strings.TrimSpace(o.Type)} // as the driver reads them
	synced, ok := f.Synced[s.Name]
	var condition *metav1.Condition
	if status != nil {
		condition = meta.FindStatusCondition(status.Status.Conditions, v1.SyncedCondition)
	}
	switch {
	case o.Type == "":
		s.State = "not filled: the class gives it no type"
	case ok && synced.Spec.SecretProviderClassName != class.Name:
		s.State = "filled by class " + synced.Spec.SecretProviderClassName + ", and not by this one"
	case condition != nil && condition.Status == metav1.ConditionFalse && strings.Contains(condition.Message, s.Name):
		s.State = condition.Reason + ": " + condition.Message
	case !ok:
		s.State = "not filled"
	case synced.Status.FetchTime == nil:
		s.State = "being filled"
	default:
		s.State, s.Fetched, s.Node = "filled", &synced.Status.FetchTime.Time, synced.Status.NodeName
	}
	return s
}

// told are the events about volumes, the latest last.
func (f *Facts) told() []Event {
	var all []Event
	for _, e := range f.Events {
		if e.InvolvedObject.Kind == "Pod" && e.InvolvedObject.UID != f.Pod.UID {
			continue // of an earlier pod of that name
		}
		if e.Reason != "FailedMount" && !strings.HasPrefix(e.Source.Component, "csi-secrets-store-") {
			continue
		}
		at := e.LastTimestamp.Time
		if at.IsZero() {
			at = e.EventTime.Time
		}
		all = append(all, Event{Time: at.UTC(), Reason: e.Reason, Object: strings.ToLower(e.InvolvedObject.Kind) + " " + e.InvolvedObject.Name, Text: e.Message})
	}
	slices.SortStableFunc(all, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return all
}
