package cloud

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

var errSignature = errors.New("the signature is of no known key")

// jwk is a public key as RFC 7517 writes it.
type jwk struct {
	Kty string `json:"kty"`
	Kid string `json:"kid,omitempty"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

type named struct {
	kid string
	key crypto.PublicKey
}

func parseJWKS(text []byte) ([]named, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	keys := make([]named, 0, len(set.Keys))
	for _, k := range set.Keys {
		key, err := k.public()
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.Kid, err)
		}
		keys = append(keys, named{kid: k.Kid, key: key})
	}
	return keys, nil
}

func (k jwk) public() (crypto.PublicKey, error) {
	switch k.Kty {
	case "RSA":
		n, err := base64.RawURLEncoding.DecodeString(k.N)
		if err != nil {
			return nil, err
		}
		e, err := base64.RawURLEncoding.DecodeString(k.E)
		if err != nil {
			return nil, err
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
	case "EC":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil {
			return nil, err
		}
		y, err := base64.RawURLEncoding.DecodeString(k.Y)
		if err != nil {
			return nil, err
		}
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	default:
		return nil, fmt.Errorf("unknown type %q", k.Kty)
	}
}

// Sign makes a token as the cluster or the authority would, by RS256 or ES256.
func Sign(key crypto.Signer, kid string, claims map[string]any) (string, error) {
	algorithm := "RS256"
	if _, ok := key.Public().(*ecdsa.PublicKey); ok {
		algorithm = "ES256"
	}
	header, err := json.Marshal(map[string]any{"typ": "JWT", "alg": algorithm, "kid": kid})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := signature(key, sum[:])
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func signature(key crypto.Signer, sum []byte) ([]byte, error) {
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return key.Sign(rand.Reader, sum, crypto.SHA256)
	}
	r, s, err := ecdsa.Sign(rand.Reader, private, sum)
	if err != nil {
		return nil, err
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
}

// claims are what is read of any token.
type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expires   int64    `json:"exp"`
	NotBefore int64    `json:"nbf"`
	Tenant    string   `json:"tid"`
	Client    string   `json:"appid"`
	Object    string   `json:"oid"`
}

// audience is one text or a list of them.
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// read takes a token apart without believing it.
func read(token string) (claims, error) {
	var body claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return body, fmt.Errorf("%d parts instead of three", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return body, err
	}
	return body, json.Unmarshal(text, &body)
}

// verify checks the signature alone.
func verify(token string, keys []named) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errSignature
	}
	var header struct{ Alg, Kid string }
	text, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil || json.Unmarshal(text, &header) != nil {
		return errSignature
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return errSignature
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	for _, k := range keys {
		if (k.kid == "" || k.kid == header.Kid) && signed(k.key, header.Alg, sum[:], signature) {
			return nil
		}
	}
	return errSignature
}

func signed(key crypto.PublicKey, algorithm string, sum, signature []byte) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return algorithm == "RS256" && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum, signature) == nil
	case *ecdsa.PublicKey:
		if algorithm != "ES256" || len(signature) != 64 {
			return false
		}
		return ecdsa.Verify(key, sum, new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	default:
		return false
	}
}

// JWKS writes public keys down, as an OpenID provider publishes them.
func JWKS(kid string, key crypto.PublicKey) (json.RawMessage, error) {
	k, err := jwkOf(key)
	if err != nil {
		return nil, err
	}
	k.Kid, k.Use = kid, "sig"
	return json.Marshal(map[string]any{"keys": []jwk{k}})
}

func jwkOf(key crypto.PublicKey) (jwk, error) {
	encode := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *rsa.PublicKey:
		return jwk{Kty: "RSA", N: encode(key.N.Bytes()), E: encode(big.NewInt(int64(key.E)).Bytes())}, nil
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			return jwk{}, err
		}
		half := (len(point) - 1) / 2
		return jwk{Kty: "EC", Crv: key.Params().Name, X: encode(point[1 : 1+half]), Y: encode(point[1+half:])}, nil
	default:
		return jwk{}, fmt.Errorf("no key vault holds a key of type %T", key)
	}
}
