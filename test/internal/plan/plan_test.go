package plan

import (
	"net/netip"
	"testing"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
)

func cluster(run, network string) Cluster {
	return Cluster{Run: folder.Folder(run), Network: netip.MustParsePrefix(network)}
}

func TestAddresses(t *testing.T) {
	c := cluster("/var/tmp/x", DefaultNetwork)
	for what, p := range map[string][2]string{
		"host":     {c.Host().String(), "10.197.0.1"},
		"API":      {c.API().String(), "10.197.1.1"},
		"services": {c.Services().String(), "10.197.1.0/24"},
		"node 1":   {c.Node(1).AddrPrefix().String(), "10.197.0.11/24"},
		"pods 1":   {c.Node(1).Pods().String(), "10.197.17.0/24"},
		"pods 2":   {c.Node(2).Pods().String(), "10.197.18.0/24"},
		"server":   {c.Server(), "https://10.197.0.11"},
	} {
		if p[0] != p[1] {
			t.Errorf("%s is %s, want %s", what, p[0], p[1])
		}
	}
	if len(c.Link()) > 15 {
		t.Errorf("the kernel refuses %q as a name", c.Link())
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name, run, network string
		good               bool
	}{
		{"default", folder.Default, DefaultNetwork, true},
		{"relative", "x", DefaultNetwork, false},
		{"hidden by the node", "/var/lib/x", DefaultNetwork, false},
		{"hidden itself", "/run", DefaultNetwork, false},
		{"only looks hidden", "/runs/x", DefaultNetwork, true},
		{"small", "/x", "10.1.0.0/24", false},
		{"not masked", "/x", "10.1.2.0/16", false},
		{"IPv6", "/x", "fd00::/16", false},
	} {
		if err := cluster(c.run, c.network).Validate(); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	c := cluster(t.TempDir(), DefaultNetwork)
	c.Admission = []string{"OwnerReferencesPermissionEnforcement"}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(c.Run)
	if err != nil || !got.Same(c) {
		t.Errorf("loaded %+v, %v", got, err)
	}
	if c.Admission = nil; got.Same(c) {
		t.Error("other plugins count as the same")
	}
	if want := "NodeRestriction,OwnerReferencesPermissionEnforcement"; got.Plugins() != want {
		t.Errorf("plugins %s", got.Plugins())
	}
}
