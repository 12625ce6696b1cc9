package material

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"software.sslmate.com/src/go-pkcs12"
)

// Encryption says how a PKCS#12 file is protected.
type Encryption string

// What there is.
const (
	// TripleDES is 3DES with a SHA-1 MAC, which is what Key Vault writes.
	TripleDES Encryption = "3des"
	// RC2 is RC2-40 for certificates and 3DES for the key, with a SHA-1 MAC.
	RC2 Encryption = "rc2"
	// AES is PBES2 with AES-256 and a SHA-256 MAC.
	AES Encryption = "aes"
	// Plain has neither encryption nor a MAC.
	Plain Encryption = "plain"
)

// PFX is the chain as a PKCS#12 file by Go. The certificates are in the order of the
// chain; the attributes name the first one as the key's, whichever it is.
func (c Chain) PFX(e Encryption, password string) ([]byte, error) {
	encoder, ok := map[Encryption]*pkcs12.Encoder{
		TripleDES: pkcs12.LegacyDES, RC2: pkcs12.LegacyRC2, AES: pkcs12.Modern2023, Plain: pkcs12.Passwordless, "": pkcs12.LegacyDES,
	}[e]
	switch {
	case !ok:
		return nil, fmt.Errorf("unknown encryption %q of a PKCS#12 file", e)
	case c.Key == nil:
		return encoder.EncodeTrustStore(c.Certificates, password)
	case len(c.Certificates) == 0:
		return nil, errors.New("go writes no PKCS#12 file without a certificate")
	}
	return encoder.Encode(c.Key, c.Certificates[0], c.Certificates[1:], password)
}

// OpenSSLPFX is the chain as a PKCS#12 file by the program openssl, which may be given
// more arguments. With a key, the leaf must be the first certificate.
func (c Chain) OpenSSLPFX(ctx context.Context, e Encryption, password string, more ...string) ([]byte, error) {
	ciphers, ok := map[Encryption][]string{
		TripleDES: {"-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"},
		RC2:       {"-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-RC2-40", "-macalg", "sha1"},
		AES:       {"-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256"},
		Plain:     {"-keypbe", "NONE", "-certpbe", "NONE", "-nomac"},
	}[e]
	if !ok {
		return nil, fmt.Errorf("unknown encryption %q of a PKCS#12 file", e)
	}
	text, err := c.PEM()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "material-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // it is below the temporary folder, and what cannot go stays there
	in, out := filepath.Join(folder, "in.pem"), filepath.Join(folder, "out.pfx")
	if err := os.WriteFile(in, text, 0o600); err != nil {
		return nil, err
	}
	args := append([]string{"pkcs12", "-export", "-in", in, "-out", out, "-passout", "pass:" + password}, ciphers...)
	if c.Key == nil {
		args = append(args, "-nokeys")
	}
	if len(c.Certificates) == 0 {
		args = append(args, "-nocerts")
	}
	args = append(args, more...)
	command := exec.CommandContext(ctx, "openssl", args...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("openssl pkcs12: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return os.ReadFile(out)
}
