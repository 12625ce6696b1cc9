package cloud

import (
	"crypto"
	"crypto/sha1" //nolint:gosec // the thumbprint of a certificate is a SHA-1 sum
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// Place is where an object is.
type Place struct {
	Vault string
	Kind  Kind
	Name  string
}

func (p Place) String() string { return p.Vault + "/" + string(p.Kind) + "/" + p.Name }

// Secret is the content of an ordinary secret.
func Secret(value, contentType string) map[string]any {
	content := map[string]any{"value": value}
	if contentType != "" {
		content["contentType"] = contentType
	}
	return content
}

// Key is the content of a key. Kty is RSA, RSA-HSM, EC or EC-HSM.
func Key(public crypto.PublicKey, hsm bool) (map[string]any, error) {
	k, err := jwkOf(public)
	if err != nil {
		return nil, err
	}
	if hsm {
		k.Kty += "-HSM"
	}
	text, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	key := map[string]any{}
	if err := json.Unmarshal(text, &key); err != nil {
		return nil, err
	}
	key["key_ops"] = []string{"sign", "verify"}
	if strings.HasPrefix(k.Kty, "RSA") {
		key["key_ops"] = []string{"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}
	}
	return map[string]any{"key": key}, nil
}

// Put adds a version, which is then the latest, and returns its id. A deleted object
// comes back with it.
func (c *Cloud) Put(at Place, v Version) (string, error) {
	c.stamp(&v)
	err := c.Change(func(s *State) error {
		vault, ok := s.Vault(at.Vault)
		if !ok {
			return fmt.Errorf("put %s: there is no such vault", at)
		}
		if !slices.Contains(kinds(), at.Kind) {
			return fmt.Errorf("put %s: there are no objects of kind %q", at, at.Kind)
		}
		object, ok := vault.object(at.Kind, at.Name)
		if !ok {
			if vault.Objects[at.Kind] == nil {
				vault.Objects[at.Kind] = map[string]*Object{}
			}
			object = &Object{}
			vault.Objects[at.Kind][at.Name] = object
		}
		object.Deleted = false
		object.Versions = append(object.Versions, v)
		return nil
	})
	return v.ID, err
}

// PutSecret adds a version of an ordinary secret.
func (c *Cloud) PutSecret(vault, name, value string) (string, error) {
	return c.Put(Place{vault, Secrets, name}, Version{Content: Secret(value, "")})
}

// The two types of content that the secret of a certificate can have.
const (
	PEM = "application/x-pem-file"
	PFX = "application/x-pkcs12"
)

// Certificate is a certificate as a vault keeps it: a certificate, a key and a secret,
// all of one name and version.
type Certificate struct {
	Chain material.Chain
	// Secret is the value of the secret and Type its content type, PEM or PFX.
	Secret, Type string
}

// PutCertificate adds a version of a certificate, its key and its secret.
func (c *Cloud) PutCertificate(vault, name string, certificate Certificate) (string, error) {
	if len(certificate.Chain.Certificates) == 0 {
		return "", fmt.Errorf("put certificate %s/%s: the chain is empty", vault, name)
	}
	leaf := certificate.Chain.Certificates[0]
	sum := sha1.Sum(leaf.Raw) //nolint:gosec // see the import
	id := hexID()
	version := Version{ID: id, NotBefore: leaf.NotBefore.Unix(), Expires: leaf.NotAfter.Unix()}
	version.Content = map[string]any{
		"cer": base64.StdEncoding.EncodeToString(leaf.Raw), "x5t": base64.RawURLEncoding.EncodeToString(sum[:]),
		"policy": map[string]any{
			"id":           c.url(vault, Certificates, name+"/policy"),
			"secret_props": map[string]any{"contentType": certificate.Type},
			"x509_props":   map[string]any{"subject": leaf.Subject.String()},
			"issuer":       map[string]any{"name": "Unknown"},
		},
	}
	if _, err := c.Put(Place{vault, Certificates, name}, version); err != nil {
		return "", err
	}
	version.Managed, version.Content = true, Secret(certificate.Secret, certificate.Type)
	if _, err := c.Put(Place{vault, Secrets, name}, version); err != nil {
		return "", err
	}
	content, err := Key(leaf.PublicKey, false)
	if err != nil {
		return "", fmt.Errorf("put certificate %s/%s: %w", vault, name, err)
	}
	version.Content = content
	return c.Put(Place{vault, Keys, name}, version)
}

// SetEnabled enables or disables one version, or all if version is empty.
func (c *Cloud) SetEnabled(at Place, version string, enabled bool) error {
	return c.Change(func(s *State) error {
		object, err := at.in(s)
		if err != nil {
			return err
		}
		found := false
		for i := range object.Versions {
			if version == "" || strings.EqualFold(object.Versions[i].ID, version) {
				object.Versions[i].Disabled, found = !enabled, true
				object.Versions[i].Updated = c.config.Now().Unix()
			}
		}
		if !found {
			return fmt.Errorf("enable or disable %s: there is no version %q", at, version)
		}
		return nil
	})
}

// Delete deletes an object; its versions come back with the next Put.
func (c *Cloud) Delete(at Place) error {
	return c.Change(func(s *State) error {
		object, err := at.in(s)
		if err == nil {
			object.Deleted = true
		}
		return err
	})
}

func (p Place) in(s *State) (*Object, error) {
	vault, ok := s.Vault(p.Vault)
	if !ok {
		return nil, fmt.Errorf("%s: there is no such vault", p)
	}
	object, ok := vault.object(p.Kind, p.Name)
	if !ok {
		return nil, fmt.Errorf("%s: there is no such object", p)
	}
	return object, nil
}
