package secretplan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// EveryFile stands for all files of the volume where a class names one.
const EveryFile = "*"

// CAKey is the key of the certificates that a user of a Secret for TLS is to trust.
const CAKey = corev1.ServiceAccountRootCAKey // ca.crt

// Plan is what a Kubernetes Secret is to be made of.
type Plan struct {
	Name, Type string
	// Files are paths by the key that each becomes.
	Files map[string]string
}

// Head checks all but the data, and takes spaces away.
func Head(object rotation.SecretObject) (Plan, error) {
	p := Plan{Name: strings.TrimSpace(object.Name), Type: strings.TrimSpace(object.Type)}
	switch {
	case p.Name == "":
		return p, errors.New("an entry of secretObjects has no secretName")
	case len(validation.IsDNS1123Subdomain(p.Name)) > 0:
		return p, fmt.Errorf("secretName %q cannot be the name of a secret: it is lower-case letters, digits, - and . only", p.Name)
	case object.Type == "":
		return p, fmt.Errorf("secret %s has no type in secretObjects: set one, Opaque for instance", p.Name)
	case len(object.Data) == 0:
		return p, fmt.Errorf("secret %s has no data in secretObjects: list files and keys, or objectName: \"*\"", p.Name)
	case p.Type == string(corev1.SecretTypeServiceAccountToken), p.Type == string(corev1.SecretTypeBootstrapToken):
		return p, fmt.Errorf("secret %s has type %s, which gives access to the cluster: the driver never fills those", p.Name, p.Type)
	case p.Type == "":
		p.Type = string(corev1.SecretTypeOpaque)
	}
	return p, nil
}

// Choose says which of the volume's files becomes which key.
func (p *Plan) Choose(pairs []rotation.SecretKey, files []string) error {
	chosen, all := map[string]string{}, false
	for _, pair := range pairs {
		if strings.TrimSpace(pair.File) == EveryFile {
			all = true
			continue
		}
		key, path, err := choose(pair, files)
		if err != nil {
			return err
		}
		chosen[key] = path
	}
	if all {
		if err := addRest(chosen, files); err != nil {
			return err
		}
	}
	p.Files = chosen
	if p.Type == string(corev1.SecretTypeTLS) {
		return tlsKeys(chosen)
	}
	return nil
}

func choose(pair rotation.SecretKey, files []string) (key, path string, err error) {
	path, key = strings.TrimSpace(pair.File), strings.TrimSpace(pair.Key)
	switch {
	case path == "":
		return "", "", errors.New("an entry of its data has no objectName")
	case !slices.Contains(files, path):
		return "", "", fmt.Errorf("objectName %q is no file of the volume", path)
	case len(validation.IsConfigMapKey(key)) > 0:
		return "", "", fmt.Errorf("objectName %q cannot have the key %q: %s", path, key, keyRule)
	}
	return key, path, nil
}

const keyRule = "a key is 1 to 253 letters, digits, -, _ or ., and does not begin with .."

// addRest makes a key of every file, unless that key was chosen by name.
func addRest(chosen map[string]string, files []string) error {
	rest := map[string]string{}
	for _, path := range files {
		key := strings.ReplaceAll(path, "/", ".")
		if _, listed := chosen[key]; listed {
			continue
		}
		if other, taken := rest[key]; taken {
			return fmt.Errorf("files %q and %q would both become the key %q: list one of them under another key", other, path, key)
		}
		if len(validation.IsConfigMapKey(key)) > 0 {
			return fmt.Errorf("file %q cannot become the key %q (%s): list files by name instead of \"*\"", path, key, keyRule)
		}
		rest[key] = path
	}
	maps.Copy(chosen, rest)
	return nil
}

// tlsKeys says whether these keys can make a Secret for TLS.
func tlsKeys(chosen map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(chosen)) {
		if key != corev1.TLSCertKey && key != corev1.TLSPrivateKeyKey && key != CAKey {
			return fmt.Errorf("key %q has no place in a secret of type %s: it can have %s, %s and %s",
				key, corev1.SecretTypeTLS, corev1.TLSCertKey, corev1.TLSPrivateKeyKey, CAKey)
		}
	}
	if chosen[corev1.TLSCertKey] == "" || chosen[corev1.TLSPrivateKeyKey] == "" {
		return fmt.Errorf("a secret of type %s needs both %s and %s", corev1.SecretTypeTLS, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return nil
}
