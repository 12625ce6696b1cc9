package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// versionOf names an object's state by a keyed hash over its configuration and
// content, so that neither can be guessed from it. The bytes that are hashed are
// those of the existing provider: a move from one to the other is no rotation.
// Without a key there are no versions.
func versionOf(key []byte, o *vaultclass.Object, content []byte) (string, error) {
	if len(key) == 0 {
		return "", nil
	}
	config, err := json.Marshal(struct {
		ObjectName     string
		SecretPath     string
		SecretKey      string
		Method         string
		SecretArgs     json.RawMessage
		FilePermission uint32
		Encoding       string
	}{o.Name, o.Path, o.Key, o.Method, o.Args, uint32(o.Mode), o.Encoding})
	if err != nil {
		return "", provider.Errorf(provider.Internal, "make the version: %w", err)
	}
	h := hmac.New(sha256.New, key)
	h.Write(config)
	h.Write(content)
	return base64.URLEncoding.EncodeToString(h.Sum(nil)), nil
}
