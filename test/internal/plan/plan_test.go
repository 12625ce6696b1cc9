package plan

import (
	"net/netip"
	"testing"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
)

func cluster(run, network string) Cluster {
	return Cluster{Run: folder.Folder(run), Network: netip.MustParsePrefix(network), Count: 2}
}

func TestAddresses(t *testing.T) {
	c := cluster("/var/tmp/x", DefaultNetwork)
	for what, p := range map[string][2]string{
		"host":     {c.Host().String(), "10.197.0.1"},
		"API":      {c.API().String(), "10.197.1.1"},
		"services": {c.Services().String(), "10.197.1.0/24"},
		"node 1":   {c.Node(1).AddrPrefix().String(), "10.197.0.11/24"},
		"node 2":   {c.Node(2).AddrPrefix().String(), "10.197.0.12/24"},
		"pods 1":   {c.Node(1).Pods().String(), "10.197.17.0/24"},
		"pods 2":   {c.Node(2).Pods().String(), "10.197.18.0/24"},
		"server":   {c.Server(), "https://10.197.0.11"},
	} {
		if p[0] != p[1] {
			t.Errorf("%s is %s, want %s", what, p[0], p[1])
		}
	}
	if all := c.Nodes(); len(all) != 2 || !all[0].First() || all[1].First() || all[1].Name() != "node-2" {
		t.Errorf("nodes %v", all)
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

func TestValidateCount(t *testing.T) {
	c := cluster("/x", DefaultNetwork)
	for count, good := range map[int]bool{-1: false, 0: false, 1: true, MaxNodes: true, MaxNodes + 1: false, 257: false} {
		c.Count = count
		if err := c.Validate(); (err == nil) != good {
			t.Errorf("%d nodes: %v", count, err)
		}
	}
}

// Whatever two nodes have outside of their namespaces must differ.
func TestNodesApart(t *testing.T) {
	one, two := cluster("/x", DefaultNetwork).Node(1), cluster("/x", DefaultNetwork).Node(2)
	for what, p := range map[string][2]string{
		"folder": {one.Dir(), two.Dir()},
		"cgroup": {one.Cgroup(), two.Cgroup()},
		"pid":    {one.Pid(), two.Pid()},
	} {
		if p[0] == p[1] {
			t.Errorf("both have %s %s", what, p[0])
		}
	}
	if one.Pods().Overlaps(two.Pods()) {
		t.Errorf("pods %s and %s", one.Pods(), two.Pods())
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
	if c.Count++; got.Same(c) {
		t.Error("more nodes count as the same")
	}
	c.Count--
	if c.Admission = nil; got.Same(c) {
		t.Error("other plugins count as the same")
	}
	if want := "NodeRestriction,OwnerReferencesPermissionEnforcement"; got.Plugins() != want {
		t.Errorf("plugins %s", got.Plugins())
	}
}
