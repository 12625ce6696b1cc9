package secretdata

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/strongroom/strongroom/internal/secretplan"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// Secret is what a Kubernetes Secret is to hold.
type Secret struct {
	Name, Type string
	// Data may share memory with the files.
	Data map[string][]byte
}

// Build makes what object asks for. Its errors stay until the class or the files change.
func Build(object rotation.SecretObject, files []provider.File) (Secret, error) {
	plan, err := secretplan.Head(object)
	if err != nil {
		return Secret{}, err
	}
	s := Secret{Name: plan.Name, Type: plan.Type}
	if err = plan.Choose(object.Data, paths(files)); err == nil {
		s.Data, err = data(plan, files)
	}
	if err == nil {
		err = checkSize(s.Data)
	}
	if err != nil {
		return Secret{}, fmt.Errorf("make the data of secret %s: %w", s.Name, err)
	}
	return s, nil
}

func paths(files []provider.File) []string {
	all := make([]string, len(files))
	for i, f := range files {
		all[i] = f.Path
	}
	return all
}

func data(plan secretplan.Plan, files []provider.File) (map[string][]byte, error) {
	byPath := make(map[string]provider.File, len(files))
	for _, f := range files {
		byPath[f.Path] = f
	}
	sources := make(map[string]provider.File, len(plan.Files))
	for key, path := range plan.Files {
		sources[key] = byPath[path]
	}
	if plan.Type == string(corev1.SecretTypeTLS) {
		return tlsData(sources)
	}
	return raw(sources), nil
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
