//go:build node

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/test/internal/plan"
)

// request is a line of the audit log.
type request struct {
	ID   string `json:"auditID"`
	Verb string `json:"verb"`
	User struct {
		Name string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource string `json:"resource"`
	} `json:"objectRef"`
}

func (r request) reads() bool { return slices.Contains([]string{"get", "list", "watch"}, r.Verb) }

// audited checks that the audit log has each request once: writes of everybody,
// reads of service accounts. A line is written a moment after the answer.
func (g *ground) audited() {
	g.Helper()
	const account = "system:serviceaccount:default:default"
	g.kubectl("create", "clusterrolebinding", "reader", "--clusterrole=view", "--serviceaccount=default:default")
	c, err := plan.Load(g.c.Run)
	if err != nil {
		g.Fatal(err)
	}
	ask := []string{
		"--kubeconfig=/dev/null", "--server=" + c.Server(), "--certificate-authority=" + c.PKI("ca.crt"),
		"--token=" + g.kubectl("create", "token", "default"), "get", "--raw",
	}
	g.await("the service account may read", func() bool {
		_, err := kubectl(g.Context(), c, append(ask, "/api/v1/namespaces/default/pods")...)
		return err == nil
	})
	g.kubectl(append(ask, "/api/v1/namespaces/default/pods?watch=1&timeoutSeconds=1")...)
	for _, want := range []string{"admin create pods", account + " list pods", account + " watch pods"} {
		g.await("the audit log has: "+want, func() bool { return g.requests()[want] > 0 })
	}
}

// requests counts what is in the audit log, by user, verb and resource.
func (g *ground) requests() map[string]int {
	g.Helper()
	file, err := os.Open(g.c.Audit())
	if err != nil {
		g.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	seen, count := map[string]bool{}, map[string]int{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			break // the last line is being written
		}
		if seen[r.ID] || r.reads() && !strings.HasPrefix(r.User.Name, "system:serviceaccount:") {
			g.Fatalf("twice in the audit log, or not to be there: %+v", r)
		}
		seen[r.ID] = true
		count[r.User.Name+" "+r.Verb+" "+r.Object.Resource]++
	}
	return count
}
