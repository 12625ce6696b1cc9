package vaultclass

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// Fields returns the fields of a reply's data, which KV version 2 wraps once more.
func Fields(data map[string]any) map[string]any {
	if inner, ok := data["data"].(map[string]any); ok {
		return inner
	}
	return data
}

// Bytes is a text as it is, anything else as compact JSON.
func Bytes(value any) ([]byte, error) {
	if text, ok := value.(string); ok {
		return []byte(text), nil
	}
	return json.Marshal(value)
}

// errEncoding says nothing of the value, as the decoders' own errors do.
var errEncoding = errors.New("the value is not in the encoding that the class says")

// Decode undoes the encoding of a value.
func (o *Object) Decode(text []byte) (out []byte, err error) {
	switch o.Decoding() {
	case Base64:
		out, err = base64.StdEncoding.DecodeString(string(text))
	case Hex:
		out, err = hex.DecodeString(string(text))
	default:
		return text, nil
	}
	if err != nil {
		return nil, errEncoding
	}
	return out, nil
}
