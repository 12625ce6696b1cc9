package vault

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxPEM bounds what is read for one connection's trust; system bundles have a
// quarter of it.
const maxPEM = 1 << 20

// material is TLS settings with the contents of the files that they name.
type material struct {
	settings tlsSettings
	cas      [][]byte
	cert     []byte
	key      []byte
}

// digest names everything that makes a TLS connection what it is.
type digest [sha256.Size]byte

// load reads the files anew each time, so that a renewed certificate counts
// from the next connection on.
func (s tlsSettings) load(g *guard) (*material, error) {
	m := &material{settings: s}
	var err error
	if m.cas, err = s.loadCAs(g); err != nil {
		return nil, err
	}
	switch {
	case s.certPEM != "":
		m.cert, m.key = []byte(s.certPEM), []byte(s.keyPEM)
		return m, nil
	case s.certFile == "" && s.keyFile == "":
		return m, nil
	}
	if m.cert, err = readPEM(g, s.certFile, s.certConfined); err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	if m.key, err = readPEM(g, s.keyFile, s.certConfined); err != nil {
		return nil, fmt.Errorf("key of the client certificate: %w", err)
	}
	return m, nil
}

func (s tlsSettings) loadCAs(g *guard) ([][]byte, error) {
	switch {
	case s.caFile != "":
		ca, err := readPEM(g, s.caFile, s.caConfined)
		if err != nil {
			return nil, fmt.Errorf("CA certificates: %w", err)
		}
		return [][]byte{ca}, nil
	case s.caBytes != "":
		return [][]byte{[]byte(s.caBytes)}, nil
	case s.caDir != "":
		return readPEMDir(g, s.caDir, s.caConfined)
	}
	return nil, nil
}

func (m *material) digest() digest {
	h := sha256.New()
	s := m.settings
	for _, text := range []string{s.caFile, s.caBytes, s.caDir, s.serverName, s.certFile, s.keyFile} {
		hashPart(h, []byte(text))
	}
	hashPart(h, fmt.Append(nil, s.skipVerify, s.caConfined, s.certConfined))
	hashPart(h, m.cert)
	hashPart(h, m.key)
	for _, ca := range m.cas {
		hashPart(h, ca)
	}
	return digest(h.Sum(nil))
}

// hashPart adds a part to a hash of several: where one ends counts too.
func hashPart(h hash.Hash, part []byte) {
	_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
	h.Write(part)
}

func (m *material) config() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         m.settings.serverName,
		InsecureSkipVerify: m.settings.skipVerify, //nolint:gosec // the operator's or the class's explicit wish
	}
	if len(m.cas) > 0 {
		c.RootCAs = x509.NewCertPool()
	}
	for _, ca := range m.cas {
		if !c.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("CA certificates: a file or directory holds something that is no PEM certificate")
		}
	}
	if m.cert == nil {
		return c, nil
	}
	pair, err := tls.X509KeyPair(m.cert, m.key)
	if err != nil {
		return nil, errors.New("client certificate and key are no PEM, or do not match")
	}
	// Vault's list of acceptable CAs does not cover those of its cert auth method.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return c, nil
}

func readPEM(g *guard, name string, confined bool) ([]byte, error) {
	f, err := g.open(name, confined)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxPEM)
	}
	return b, err
}

// readPEMDir reads every file below dir. Directories behind links are not
// entered: those of a mounted Secret or ConfigMap hold what is linked beside them.
func readPEMDir(g *guard, dir string, confined bool) (pems [][]byte, err error) {
	if confined && g != nil && g.filesBelow != "" {
		if _, err = g.below(dir); err != nil {
			return nil, fmt.Errorf("CA directory %s: %w", dir, err)
		}
	}
	total := 0
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return skipHidden(dir, name, err)
		}
		if info, statErr := os.Stat(name); statErr == nil && info.IsDir() {
			return nil
		}
		b, err := readPEM(g, name, confined)
		if pems, total = append(pems, b), total+len(b); total > maxPEM {
			return fmt.Errorf("the files are larger than %d bytes", maxPEM)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("CA directory %s: %w", dir, err)
	}
	if len(pems) == 0 {
		return nil, fmt.Errorf("CA directory %s holds no file", dir)
	}
	return pems, nil
}

// skipHidden keeps out of the generations of a mounted Secret or ConfigMap.
func skipHidden(root, name string, err error) error {
	if err == nil && name != root && len(filepath.Base(name)) > 2 && filepath.Base(name)[:2] == ".." {
		return fs.SkipDir
	}
	return err
}
