package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SecretProviderClassPodStatus records what the driver mounted into a pod from one
// class. The driver writes it and the pod owns it, so that it goes with the pod.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=secretproviderclasspodstatuses,shortName=spcps
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.status.podName`
// +kubebuilder:printcolumn:name="Class",type=string,JSONPath=`.status.secretProviderClassName`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.metadata.annotations['internal\.secrets-store\.csi\.k8s\.io/node-name']`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SecretProviderClassPodStatus struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is mounted.
	// +optional
	Status SecretProviderClassPodStatusStatus `json:"status,omitempty"`
}

// SecretProviderClassPodStatusStatus is the state of one mounted volume.
type SecretProviderClassPodStatusStatus struct {
	// The name of the pod.
	// +optional
	PodName string `json:"podName,omitempty"`
	// The name of the class.
	// +optional
	SecretProviderClassName string `json:"secretProviderClassName,omitempty"`
	// Whether the volume was mounted; the driver only ever writes true.
	// +optional
	Mounted bool `json:"mounted,omitempty"`
	// The volume's path on the node.
	// +optional
	TargetPath string `json:"targetPath,omitempty"`
	// The objects of the store that the volume holds, ordered by id.
	// +optional
	Objects []SecretProviderClassObject `json:"objects,omitempty"`
	// Ready is true while the volume is kept fresh, and Synced while its Secrets are. They
	// are written when they change and not otherwise.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// The types of conditions of a pod status.
const (
	// ReadyCondition is False, with the phase of the failure as its reason, when the
	// volume could not be refreshed. Its files are those that were mounted before.
	ReadyCondition = "Ready"
	// SyncedCondition is there for classes with secretObjects.
	SyncedCondition = "Synced"
)

// SecretProviderClassObject names the state of one object of the store.
type SecretProviderClassObject struct {
	// What the provider calls the object.
	// +optional
	ID string `json:"id,omitempty"`
	// The object's version when it was fetched; it reveals nothing about the value.
	// +optional
	Version string `json:"version,omitempty"`
}

// SecretProviderClassPodStatusList is a list of pod statuses.
//
// +kubebuilder:object:root=true
type SecretProviderClassPodStatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []SecretProviderClassPodStatus `json:"items"`
}
