package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
)

// DefaultNetwork is the range that every address of a cluster comes from:
//
//	x.y.0.1       the host, as nodes and pods see it
//	x.y.0.10+n    node n
//	x.y.1.1       the service "kubernetes"
//	x.y.1.0/24    services
//	x.y.16+n.0/24 pods of node n
const DefaultNetwork = "10.197.0.0/16"

// MaxNodes is how many nodes a cluster can have. One machine carries few.
const MaxNodes = 9

// Cluster is one cluster, as chosen when it was brought up.
type Cluster struct {
	Run       folder.Folder `json:"run"`
	Bin       string        `json:"bin"` // folder of the Kubernetes binaries
	Network   netip.Prefix  `json:"network"`
	Count     int           `json:"nodes"`
	Admission []string      `json:"admission,omitempty"` // plugins beside the default ones
}

// Validate says what is wrong with the choice.
func (c Cluster) Validate() error {
	switch {
	case !c.Network.Addr().Is4() || c.Network.Bits() != 16 || c.Network != c.Network.Masked():
		return fmt.Errorf("network %s: want an IPv4 range of 16 bits such as %s", c.Network, DefaultNetwork)
	case !filepath.IsAbs(string(c.Run)):
		return fmt.Errorf("run folder %s: want an absolute path", c.Run)
	case c.Count < 1 || c.Count > MaxNodes:
		return fmt.Errorf("%d nodes: want 1 to %d", c.Count, MaxNodes)
	}
	for _, hidden := range []string{"/run", "/var/run", "/var/lib", "/var/log", "/etc", "/proc", "/sys", "/dev"} {
		if strings.HasPrefix(string(c.Run)+"/", hidden+"/") {
			return fmt.Errorf("run folder %s: the node has a %s of its own", c.Run, hidden)
		}
	}
	return nil
}

// Same says whether both were brought up with the same choices.
func (c Cluster) Same(o Cluster) bool {
	return c.Run == o.Run && c.Network == o.Network && c.Count == o.Count && slices.Equal(c.Admission, o.Admission)
}

func file(run folder.Folder) string {
	return run.Path("cluster.json")
}

// Save writes the choice into the run folder.
func (c Cluster) Save() error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file(c.Run), append(b, '\n'), 0o600)
}

// Load reads the choice from a run folder.
func Load(run folder.Folder) (Cluster, error) {
	c := Cluster{Count: 1} // what an older tool wrote has one node
	b, err := os.ReadFile(file(run))
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("read %s: %w", file(run), err)
	}
	return c, nil
}

func (c Cluster) addr(third, fourth byte) netip.Addr {
	b := c.Network.Addr().As4()
	b[2], b[3] = third, fourth
	return netip.AddrFrom4(b)
}

// Host is the address at which nodes and pods reach the machine around them.
func (c Cluster) Host() netip.Addr { return c.addr(0, 1) }

// Services is the range of service addresses.
func (c Cluster) Services() netip.Prefix { return netip.PrefixFrom(c.addr(1, 0), 24) }

// API is the address of the service "kubernetes".
func (c Cluster) API() netip.Addr { return c.addr(1, 1) }

// Server is the URL at which the host reaches the API server.
func (c Cluster) Server() string { return "https://" + c.Node(1).Addr().String() }

// Kubeconfig is the administrator's.
func (c Cluster) Kubeconfig() string { return c.Run.Path("kubeconfig") }

// PKI is a path among the cluster's certificates.
func (c Cluster) PKI(name string) string { return c.Run.Path("pki", name) }

// Logs is the path of a component's log.
func (c Cluster) Logs(name string) string { return c.Run.Path("log", name+".log") }

// Audit is the API server's log of requests, one JSON object per line.
func (c Cluster) Audit() string { return c.Logs("audit") }

// Cgroup is the name, below the root of every hierarchy, of the cgroup around
// those of the nodes.
func (c Cluster) Cgroup() string { return "strongroom-" + c.Run.ID() }

// Link is the host's end of the cable to the first node.
func (c Cluster) Link() string { return "sr-" + c.Run.ID() }

// Node returns a node by its number, from 1.
func (c Cluster) Node(n byte) Node { return Node{c, n} }

// Nodes returns all nodes, the one with the control plane first.
func (c Cluster) Nodes() []Node {
	var all []Node
	for n := byte(1); int(n) <= c.Count; n++ {
		all = append(all, c.Node(n))
	}
	return all
}
