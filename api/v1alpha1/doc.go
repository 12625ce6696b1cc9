// Package v1alpha1 describes the deprecated version of the custom resources, which
// the API server still serves. Programs use package v1; this one only feeds the
// generated CRDs.
//
// +kubebuilder:object:generate=true
// +groupName=secrets-store.csi.x-k8s.io
package v1alpha1
