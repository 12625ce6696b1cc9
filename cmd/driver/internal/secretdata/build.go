package secretdata

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// everyFile stands for all files of the volume where a class names one.
const everyFile = "*"

// Secret is what a Kubernetes Secret is to hold.
type Secret struct {
	Name, Type string
	// Data may share memory with the files.
	Data map[string][]byte
}

// Build makes what object asks for. Its errors stay until the class or the files change.
func Build(object rotation.SecretObject, files []provider.File) (Secret, error) {
	s, err := head(object)
	if err != nil {
		return Secret{}, err
	}
	sources, err := choose(object.Data, files)
	if err == nil && s.Type == string(corev1.SecretTypeTLS) {
		s.Data, err = tlsData(sources)
	} else if err == nil {
		s.Data = raw(sources)
	}
	if err == nil {
		err = checkSize(s.Data)
	}
	if err != nil {
		return Secret{}, fmt.Errorf("make the data of secret %s: %w", s.Name, err)
	}
	return s, nil
}

// head checks all but the data, and takes spaces away.
func head(object rotation.SecretObject) (Secret, error) {
	s := Secret{Name: strings.TrimSpace(object.Name), Type: strings.TrimSpace(object.Type)}
	switch {
	case s.Name == "":
		return s, errors.New("an entry of secretObjects has no secretName")
	case len(validation.IsDNS1123Subdomain(s.Name)) > 0:
		return s, fmt.Errorf("secretName %q cannot be the name of a secret: it is lower-case letters, digits, - and . only", s.Name)
	case object.Type == "":
		return s, fmt.Errorf("secret %s has no type in secretObjects: set one, Opaque for instance", s.Name)
	case len(object.Data) == 0:
		return s, fmt.Errorf("secret %s has no data in secretObjects: list files and keys, or objectName: \"*\"", s.Name)
	case s.Type == string(corev1.SecretTypeServiceAccountToken), s.Type == string(corev1.SecretTypeBootstrapToken):
		return s, fmt.Errorf("secret %s has type %s, which gives access to the cluster: the driver never fills those", s.Name, s.Type)
	case s.Type == "":
		s.Type = string(corev1.SecretTypeOpaque)
	}
	return s, nil
}

// choose says which file becomes which key.
func choose(pairs []rotation.SecretKey, files []provider.File) (map[string]provider.File, error) {
	byPath := make(map[string]provider.File, len(files))
	for _, f := range files {
		byPath[f.Path] = f
	}
	chosen, all := map[string]provider.File{}, false
	for _, pair := range pairs {
		path, key := strings.TrimSpace(pair.File), strings.TrimSpace(pair.Key)
		if path == everyFile {
			all = true
			continue
		}
		f, found := byPath[path]
		switch {
		case path == "":
			return nil, errors.New("an entry of its data has no objectName")
		case !found:
			return nil, fmt.Errorf("objectName %q is no file of the volume", path)
		case len(validation.IsConfigMapKey(key)) > 0:
			return nil, fmt.Errorf("objectName %q cannot have the key %q: %s", path, key, keyRule)
		}
		chosen[key] = f
	}
	if all {
		return chosen, addRest(chosen, files)
	}
	return chosen, nil
}

const keyRule = "a key is 1 to 253 letters, digits, -, _ or ., and does not begin with .."

// addRest makes a key of every file, unless that key was chosen by name.
func addRest(chosen map[string]provider.File, files []provider.File) error {
	rest := map[string]provider.File{}
	for _, f := range files {
		key := strings.ReplaceAll(f.Path, "/", ".")
		if _, listed := chosen[key]; listed {
			continue
		}
		if other, taken := rest[key]; taken {
			return fmt.Errorf("files %q and %q would both become the key %q: list one of them under another key", other.Path, f.Path, key)
		}
		if len(validation.IsConfigMapKey(key)) > 0 {
			return fmt.Errorf("file %q cannot become the key %q (%s): list files by name instead of \"*\"", f.Path, key, keyRule)
		}
		rest[key] = f
	}
	maps.Copy(chosen, rest)
	return nil
}

func raw(sources map[string]provider.File) map[string][]byte {
	data := make(map[string][]byte, len(sources))
	for key, f := range sources {
		data[key] = f.Contents
	}
	return data
}

func checkSize(data map[string][]byte) error {
	size := 0
	for _, value := range data {
		size += len(value)
	}
	if size > corev1.MaxSecretSize {
		return fmt.Errorf("it would have %d bytes, and a secret can have %d: list fewer files", size, corev1.MaxSecretSize)
	}
	return nil
}
