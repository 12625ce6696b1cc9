// Package v1alpha1 is the generated wire protocol between driver and provider. It
// holds no hand-written code; package provider turns it into Go types.
package v1alpha1
