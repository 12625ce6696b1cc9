package azure

import (
	"strings"
	"testing"
)

// TestUnknownIdentity: a library reads the reply of the metadata endpoint before us.
func TestUnknownIdentity(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.put(t, "db", "v1")
	const nobody = "aaaaaaaa-0000-0000-0000-00000000ffff"
	_, err := g.Mount(t.Context(), ask(podOf("u1"), oneSecret, "useVMManagedIdentity", "true", "userAssignedIdentityID", nobody))
	for _, want := range []string{nobody, "400 invalid_request: Identity not found", "give the identity to the virtual machine"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %v", want, err)
		}
	}
}

// TestCures: a code may begin with another one.
func TestCures(t *testing.T) {
	t.Parallel()
	for said, cure := range map[string]string{
		"AADSTS70021: No matching federated identity record found": "for the subject",
		"AADSTS700211: No matching federated identity record":      "for the issuer",
		"AADSTS700212: No matching federated identity record":      "must have the audience",
		"Forbidden KeyDisabled: Operation get is not allowed":      "enable the version",
		"CertificateNotFound: A certificate":                       "create the certificate",
	} {
		if text := withCure(said); !strings.Contains(text, cure) {
			t.Errorf("want %q in %q", cure, text)
		}
	}
}
