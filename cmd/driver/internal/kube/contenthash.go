package kube

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"sync"

	"github.com/strongroom/strongroom/cmd/driver/internal/secretdata"
)

// ContentHashAnnotation carries a keyed hash of the data of a filled Secret, for tools
// that start workloads again when it changes.
const ContentHashAnnotation = "secrets-store.csi.x-k8s.io/content-hash"

// minHashKey is the length of what cannot be guessed.
const minHashKey = 32

// hashKey is the key of content hashes. It comes from a file that kubelet writes, maybe
// later than this process starts. Once known it stays, so that no hash changes because
// kubelet took its time.
type hashKey struct {
	file string

	mu  sync.Mutex
	key []byte
}

// get returns no key if there is none.
func (k *hashKey) get() []byte {
	if k.file == "" {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil {
		k.key, _ = ReadHashKey(k.file) // main has said why not
	}
	return k.key
}

// ReadHashKey reads the key of content hashes from a file.
func ReadHashKey(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the key of content hashes: %w", err)
	}
	if key = bytes.TrimSpace(key); len(key) < minHashKey {
		return nil, fmt.Errorf("read the key of content hashes: %s has %d bytes, and must have %d or more that nobody can guess", file, len(key), minHashKey)
	}
	return key, nil
}

// annotations are those of the class, and the content hash if there is a key.
func (s *Secrets) annotations(namespace string, ofClass map[string]string, want secretdata.Secret) map[string]string {
	key := s.contentKey.get()
	if key == nil {
		return ofClass
	}
	all := map[string]string{}
	maps.Copy(all, ofClass)
	all[ContentHashAnnotation] = secretdata.Hash(key, namespace, want)
	return all
}
