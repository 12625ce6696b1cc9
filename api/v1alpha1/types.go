package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/strongroom/strongroom/api/v1"
)

// SecretProviderClass says which provider fetches the files of a volume, and with
// which parameters. A pod's CSI volume names a class of the pod's own namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=spc
// +kubebuilder:deprecatedversion:warning="secrets-store.csi.x-k8s.io/v1alpha1 is deprecated. Use secrets-store.csi.x-k8s.io/v1 instead."
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.provider`
// +kubebuilder:printcolumn:name="Interval",type=string,priority=1,JSONPath=`.spec.rotation.interval`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SecretProviderClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What to fetch, and from where.
	// +optional
	Spec v1.SecretProviderClassSpec `json:"spec,omitempty"`
	// Never written; kept for compatibility.
	// +optional
	Status SecretProviderClassStatus `json:"status,omitempty"`
}

// SecretProviderClassStatus is never written.
type SecretProviderClassStatus struct {
	// Never written; kept for compatibility.
	// +optional
	ByPod []*ByPodStatus `json:"byPod,omitempty"`
}

// ByPodStatus names a pod.
type ByPodStatus struct {
	// The id of the pod that wrote the status.
	// +optional
	ID string `json:"id,omitempty"`
	// The namespace of that pod.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// SecretProviderClassList is a list of classes.
//
// +kubebuilder:object:root=true
type SecretProviderClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []SecretProviderClass `json:"items"`
}

// SecretProviderClassPodStatus records what the driver mounted into a pod from one
// class. The driver writes it and the pod owns it, so that it goes with the pod.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=secretproviderclasspodstatuses,shortName=spcps
// +kubebuilder:deprecatedversion
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
	Status v1.SecretProviderClassPodStatusStatus `json:"status,omitempty"`
}

// SecretProviderClassPodStatusList is a list of pod statuses.
//
// +kubebuilder:object:root=true
type SecretProviderClassPodStatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []SecretProviderClassPodStatus `json:"items"`
}
