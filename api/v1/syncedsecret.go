package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SyncedSecret stands behind one Kubernetes Secret that the driver fills, of the same
// name. It holds no value. It is owned by what uses the Secret, the controllers of pods
// or pods that have none, and owns the Secret: when the last user goes, both go.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=syncedsecrets,shortName=ssec
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="Class",type=string,JSONPath=`.spec.secretProviderClassName`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.nodeName`
// +kubebuilder:printcolumn:name="Fetched",type=date,JSONPath=`.status.fetchTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SyncedSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Which class fills the Secret.
	Spec SyncedSecretSpec `json:"spec"`
	// What was written last.
	// +optional
	Status SyncedSecretStatus `json:"status,omitempty"`
}

// SyncedSecretSpec is the claim of a class to a Secret.
type SyncedSecretSpec struct {
	// The class that fills the Secret; another one is refused as long as this object exists.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the class that fills a Secret cannot be changed: delete this object, and the Secret goes with it"
	SecretProviderClassName string `json:"secretProviderClassName"`
}

// SyncedSecretStatus says what was written into the Secret last, and by whom.
type SyncedSecretStatus struct {
	// The UID of the Secret. One with another UID was not made by the driver, and is left
	// alone.
	// +optional
	SecretUID string `json:"secretUID,omitempty"`
	// The resource version of the Secret after the last write that changed it.
	// +optional
	SecretResourceVersion string `json:"secretResourceVersion,omitempty"`
	// When the fetch of the content began that is in the Secret. Content that was fetched
	// earlier is not written over it.
	// +optional
	FetchTime *metav1.MicroTime `json:"fetchTime,omitempty"`
	// The node that wrote it.
	// +optional
	NodeName string `json:"nodeName,omitempty"`
}

// SyncedSecretList is a list of synced Secrets.
//
// +kubebuilder:object:root=true
type SyncedSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []SyncedSecret `json:"items"`
}
