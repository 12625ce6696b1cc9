// Package v1 holds the custom resources of the Secrets Store CSI driver as Go
// types. It only describes them and depends on nothing but k8s.io/apimachinery.
//
// +kubebuilder:object:generate=true
// +groupName=secrets-store.csi.x-k8s.io
package v1
