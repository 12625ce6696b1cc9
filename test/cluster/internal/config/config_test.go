package config

import (
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/plan"
)

func TestWrite(t *testing.T) {
	c := plan.Cluster{Run: folder.Folder(t.TempDir()), Network: netip.MustParsePrefix(plan.DefaultNetwork), Count: 2}
	if err := Write(c); err != nil {
		t.Fatal(err)
	}
	cert := certificate(t, c.PKI("apiserver.crt"))
	for _, host := range []string{
		"10.197.1.1", "10.197.0.11", "127.0.0.1", "kubernetes", "kubernetes.default",
		"kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	} {
		if err := cert.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	for _, n := range c.Nodes() {
		kubelet, err := os.ReadFile(n.Dir("kubelet.yaml"))
		if err != nil || !strings.Contains(string(kubelet), `cgroupRoot: "/`+n.Cgroup()+`"`) {
			t.Errorf("kubelet's settings: %v\n%s", err, kubelet)
		}
		if err := certificate(t, n.Dir("kubelet.crt")).VerifyHostname(n.Addr().String()); err != nil {
			t.Error(err)
		}
	}
	onlyOwner(t, string(c.Run))
}

// onlyOwner checks that keys cannot be read by other users of the machine.
func onlyOwner(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDefaultAudiences(t *testing.T) {
	s := APIServer(plan.Cluster{Run: "/x", Bin: "/bin", Network: netip.MustParsePrefix(plan.DefaultNetwork)})
	if slices.ContainsFunc(s.Args, func(a string) bool { return strings.Contains(a, "audience") }) {
		t.Error("the API server's audiences are not the default ones")
	}
}

func certificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
