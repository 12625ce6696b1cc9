package vault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/lostconn"
	"github.com/strongroom/strongroom/provider"
)

// makePair returns a self-signed certificate and its key as PEM.
func makePair(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func get(t *testing.T, ts *transports, s tlsSettings, socket string) *transport {
	t.Helper()
	tr, err := ts.get(s, socket)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestTransportsAreSharedByEqualSettings(t *testing.T) {
	t.Parallel()
	cert, key := makePair(t)
	ca := writeFile(t, "ca.pem", cert)
	pair := [2]string{writeFile(t, "tls.crt", cert), writeFile(t, "tls.key", key)}
	ts := newTransports(http.ProxyFromEnvironment, nil)
	seen := map[*transport]string{}
	for name, s := range map[string]tlsSettings{
		"nothing":     {},
		"CA file":     {caFile: ca},
		"CA bytes":    {caBytes: string(cert)},
		"CA dir":      {caDir: filepath.Dir(ca)},
		"server name": {serverName: "a"},
		"other name":  {serverName: "b"},
		"skip verify": {skipVerify: true},
		"client pair": {certFile: pair[0], keyFile: pair[1]},
	} {
		first := get(t, ts, s, "")
		if first != get(t, ts, s, "") {
			t.Errorf("%s: equal settings have two transports", name)
		}
		if first == get(t, ts, s, "/run/x.sock") {
			t.Errorf("%s: a socket shares the transport of an address", name)
		}
		if other := seen[first]; other != "" {
			t.Errorf("%s and %s share a transport", name, other)
		}
		seen[first] = name
		if v := first.http.TLSClientConfig.MinVersion; v != tls.VersionTLS12 {
			t.Errorf("%s: minimum version %x", name, v)
		}
	}
}

func TestTransportFollowsItsFiles(t *testing.T) {
	t.Parallel()
	one, _ := makePair(t)
	two, _ := makePair(t)
	ca := writeFile(t, "ca.pem", one)
	ts := newTransports(nil, nil)
	before := get(t, ts, tlsSettings{caFile: ca}, "")
	if err := os.WriteFile(ca, two, 0o600); err != nil {
		t.Fatal(err)
	}
	if before == get(t, ts, tlsSettings{caFile: ca}, "") {
		t.Error("a new CA does not count")
	}
}

func TestTransportsAreBounded(t *testing.T) {
	t.Parallel()
	ts := newTransports(nil, nil)
	used := get(t, ts, tlsSettings{serverName: "used"}, "")
	for i := range 3 * maxTransports {
		get(t, ts, tlsSettings{serverName: fmt.Sprint(i)}, "")
		if used != get(t, ts, tlsSettings{serverName: "used"}, "") {
			t.Fatal("a transport in use was dropped")
		}
	}
	if n := len(ts.byID); n != maxTransports {
		t.Errorf("%d transports are kept", n)
	}
}

func TestClassesDoNotAffectEachOther(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	r := newRig(t, f, func(c *Config) { c.Flags.CACert = "" })
	for range 2 {
		_, err := r.mount(t, objectA)
		checkFailure(t, err, provider.Unavailable, "certificate")
		if _, err = r.mount(t, objectA, "vaultSkipTLSVerify", "true"); err != nil {
			t.Fatal(err)
		}
		if _, err = r.mount(t, objectA, "vaultCACertPath", f.caFile, "vaultTLSServerName", "example.com"); err != nil {
			t.Fatal(err)
		}
		_, err = r.mount(t, objectA, "vaultCACertPath", f.caFile, "vaultTLSServerName", "other.test")
		checkFailure(t, err, provider.Unavailable, "other.test")
	}
}

func TestClientCertificateIsShown(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	f.TLS.ClientAuth = tls.RequireAnyClientCert
	cert, key := makePair(t)
	r := newRig(t, f)
	_, err := r.mount(t, objectA)
	checkFailure(t, err, provider.Unavailable)
	if _, err := r.mount(t, objectA, "vaultTLSClientCertPath", writeFile(t, "c", cert), "vaultTLSClientKeyPath", writeFile(t, "k", key)); err != nil {
		t.Error(err)
	}
}

func TestCADirectoryOfAMountedSecret(t *testing.T) {
	t.Parallel()
	cert, _ := makePair(t)
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "..2024"), 0o700))
	must(os.WriteFile(filepath.Join(dir, "..2024", "ca.crt"), cert, 0o600))
	must(os.Symlink("..2024", filepath.Join(dir, "..data")))
	must(os.Symlink("..data/ca.crt", filepath.Join(dir, "ca.crt")))
	pems, err := readPEMDir(nil, dir, false)
	if err != nil || len(pems) != 1 {
		t.Errorf("%d files, %v; want the one certificate", len(pems), err)
	}
}

func TestTLSFilesThatAreWrong(t *testing.T) {
	t.Parallel()
	cert, key := makePair(t)
	_, otherKey := makePair(t)
	text := writeFile(t, "text", []byte("hello s3cr3t"))
	for name, tt := range map[string]struct {
		s    tlsSettings
		want string
	}{
		"absent":      {tlsSettings{caFile: "/nowhere/ca.pem"}, "no such file"},
		"no PEM":      {tlsSettings{caFile: text}, "no PEM"},
		"directory":   {tlsSettings{caFile: t.TempDir()}, "is not a file"},
		"device":      {tlsSettings{caFile: "/dev/zero"}, "is not a file"},
		"large":       {tlsSettings{caFile: writeFile(t, "large", make([]byte, maxPEM+1))}, "larger than"},
		"empty dir":   {tlsSettings{caDir: t.TempDir()}, "holds no file"},
		"absent dir":  {tlsSettings{caDir: "/nowhere"}, "/nowhere"},
		"no PEM dir":  {tlsSettings{caDir: filepath.Dir(text)}, "no PEM"},
		"large dir":   {tlsSettings{caDir: filepath.Dir(writeFile(t, "large", make([]byte, maxPEM+1)))}, "larger than"},
		"wrong key":   {tlsSettings{certFile: writeFile(t, "c", cert), keyFile: writeFile(t, "k", otherKey)}, "do not match"},
		"absent cert": {tlsSettings{certFile: "/nowhere/c", keyFile: writeFile(t, "k", key)}, "client certificate"},
		"absent key":  {tlsSettings{certFile: writeFile(t, "c", cert), keyFile: "/nowhere/k"}, "key of the client certificate"},
	} {
		_, err := newTransports(nil, nil).get(tt.s, "")
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: error %v does not contain %q", name, err, tt.want)
		}
	}
}

func TestLostConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lostconn.Check(t, get(t, newTransports(http.ProxyFromEnvironment, nil), tlsSettings{}, "").http)
	})
}
