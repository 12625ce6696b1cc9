package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SecretProviderClass says which provider fetches the files of a volume, and with
// which parameters. A pod's CSI volume names a class of the pod's own namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=spc
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.provider`
// +kubebuilder:printcolumn:name="Interval",type=string,priority=1,JSONPath=`.spec.rotation.interval`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SecretProviderClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What to fetch, and from where.
	// +optional
	Spec SecretProviderClassSpec `json:"spec,omitempty"`
	// Always empty; kept for compatibility.
	// +optional
	Status SecretProviderClassStatus `json:"status,omitempty"`
}

// SecretProviderClassSpec is what the author of a class states. The API server refuses
// only what no driver ever mounted; see docs/adr/0024.
//
// +kubebuilder:validation:XValidation:rule="has(self.provider) && size(self.provider) > 0",reason=FieldValueRequired,fieldPath=".provider",message="spec.provider is needed: the name of the provider that fetches the files, vault for instance"
// +kubebuilder:validation:XValidation:rule="has(self.parameters) && size(self.parameters) > 0",reason=FieldValueRequired,fieldPath=".parameters",message="spec.parameters is needed: a provider is not asked without any"
type SecretProviderClassSpec struct {
	// The name of the provider, "vault" for instance. The driver looks for its socket
	// as <provider>.sock.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9_-]{0,30}$')",message="must consist of letters, digits, - and _, at most 30: the driver looks for a socket of that name"
	Provider Provider `json:"provider,omitempty"`
	// Parameters for the provider, whose documentation says what they mean. At least
	// one is needed to mount a volume.
	// +optional
	Parameters map[string]string `json:"parameters,omitempty"`
	// Kubernetes Secrets to fill from files of the volume while a pod mounts it.
	// +optional
	SecretObjects []*SecretObject `json:"secretObjects,omitempty"`
	// How volumes of the class are refreshed, where the driver's rotation is on.
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`
}

// Rotation says how volumes of a class are refreshed.
type Rotation struct {
	// Periodic, the default, refreshes a volume after each interval, earlier or later if
	// the provider says so, and when the class changes. Never keeps what was mounted
	// first; only the refresh annotation of the class makes an exception.
	// +optional
	Mode RotationMode `json:"mode,omitempty"`
	// The time between two refreshes of a volume, "10m" for instance, instead of the
	// driver's --rotation-poll-interval. From 5s to 8760h.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+[hms])+$') && duration(self) >= duration('5s') && duration(self) <= duration('8760h')",message="must be a duration from 5s to 8760h, such as 90s, 10m or 1h30m"
	Interval string `json:"interval,omitempty"`
}

// RotationMode says whether volumes of a class are refreshed.
//
// +kubebuilder:validation:Enum=Periodic;Never
type RotationMode string

// The modes of rotation.
const (
	RotationPeriodic RotationMode = "Periodic"
	RotationNever    RotationMode = "Never"
)

// RefreshAnnotation on a class, when it gets a new value, makes every node refresh the
// volumes of that class.
const RefreshAnnotation = "secrets-store.csi.x-k8s.io/refresh"

// Provider is the name of a provider.
type Provider string

// SecretObject describes one Kubernetes Secret made from files of the volume.
type SecretObject struct {
	// The name of the Secret, in the namespace of the class.
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// The type of the Secret, "Opaque" or "kubernetes.io/tls" for instance. A Secret is
	// made only when this is set.
	// +optional
	Type string `json:"type,omitempty"`
	// Labels to put on the Secret.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations to put on the Secret.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// Which file becomes which key of the Secret. A Secret is made only when there is
	// at least one.
	// +optional
	Data []*SecretObjectData `json:"data,omitempty"`
}

// SecretObjectData pairs a file of the volume with a key of a Secret.
type SecretObjectData struct {
	// The file's path, relative to the root of the volume. "*" stands for every file,
	// with dots instead of slashes as keys; keys that are listed by name win.
	// +optional
	ObjectName string `json:"objectName,omitempty"`
	// The key in the Secret's data; not used with "*".
	// +optional
	Key string `json:"key,omitempty"`
}

// SecretProviderClassStatus is never written.
type SecretProviderClassStatus struct{}

// SecretProviderClassList is a list of classes.
//
// +kubebuilder:object:root=true
type SecretProviderClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []SecretProviderClass `json:"items"`
}
