package azure

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/strongroom/strongroom/internal/azuretest/material"
	"github.com/strongroom/strongroom/provider"
)

func ecKey(t *testing.T, signer crypto.Signer) *azkeys.JSONWebKey {
	t.Helper()
	point, err := signer.(*ecdsa.PrivateKey).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	half := len(point) / 2
	return &azkeys.JSONWebKey{Kty: to.Ptr(azkeys.KeyTypeEC), Crv: to.Ptr(azkeys.CurveNameP256), X: point[1 : 1+half], Y: point[1+half:]}
}

// mustPublic is checked against openssl where keyfile is tested.
func mustPublic(t *testing.T, k *azkeys.JSONWebKey) []byte {
	t.Helper()
	made, err := publicKey(k)
	if err != nil || !bytes.HasPrefix(made, []byte("-----BEGIN PUBLIC KEY-----\n")) {
		t.Fatalf("error %v, got %s", err, made)
	}
	return made
}

// TestPublicKey: kinds of keys, and members that are missing. (azure-contract 5.15, 17.12)
func TestPublicKey(t *testing.T) {
	t.Parallel()
	s := newStuff(t)
	signer, err := material.NewKey("rsa-2048")
	if err != nil {
		t.Fatal(err)
	}
	key := signer.(*rsa.PrivateKey)
	n, e := key.N.Bytes(), big.NewInt(int64(key.E)).Bytes()
	kind := func(k azkeys.KeyType) *azkeys.KeyType { return &k }
	ec := *s.public.key
	hsm, other, bare, blank := ec, ec, ec, ec
	hsm.Kty, other.Crv, bare.Crv, blank.X = kind(azkeys.KeyTypeECHSM), to.Ptr(azkeys.CurveNameP256K), nil, nil
	for name, c := range map[string]struct {
		key  *azkeys.JSONWebKey
		want string // of the error
	}{
		"RSA":          {&azkeys.JSONWebKey{Kty: kind(azkeys.KeyTypeRSA), N: n, E: e}, ""},
		"RSA-HSM":      {&azkeys.JSONWebKey{Kty: kind(azkeys.KeyTypeRSAHSM), N: n, E: e}, ""},
		"EC":           {&ec, ""},
		"EC-HSM":       {&hsm, ""},
		"P-256K":       {&other, `the curve "P-256K" is not one of`},
		"no curve":     {&bare, `the curve "" is not one of`},
		"no x":         {&blank, "not a point of its curve"},
		"oct":          {&azkeys.JSONWebKey{Kty: kind(azkeys.KeyTypeOct), K: []byte("s3cret")}, `a key of type "oct" has no public part: use an RSA or EC key`},
		"oct-HSM":      {&azkeys.JSONWebKey{Kty: kind(azkeys.KeyTypeOctHSM)}, `"oct-HSM" has no public part`},
		"another type": {&azkeys.JSONWebKey{Kty: kind("rsa" + azkeys.KeyType(strings.Repeat("x", 99)))}, `"rsaxxxxxxxxxxxxxxxxx" has no public part`},
		"no type":      {&azkeys.JSONWebKey{N: n, E: e}, "names no type of the key"},
		"no modulus":   {&azkeys.JSONWebKey{Kty: kind(azkeys.KeyTypeRSA), E: e}, "has no modulus"},
		"no exponent":  {&azkeys.JSONWebKey{Kty: kind(azkeys.KeyTypeRSA), N: n}, "has no modulus, or a modulus or an exponent that is not usual"},
		"none":         {nil, "names no type of the key"},
	} {
		_, err := (&renderer{}).render(object(t, "objectType", "key"), "db", &bundle{key: c.key})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || provider.KindOf(err) != provider.Invalid || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret")):
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
	}
}
