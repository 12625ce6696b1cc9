package config

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/test/internal/ground/pki"
	"github.com/strongroom/strongroom/test/internal/plan"
)

// client is somebody who talks to the API server.
type client struct {
	file   string // of the kubeconfig
	name   string
	groups []string
}

// credentials writes the authority, every certificate and every kubeconfig.
func credentials(c plan.Cluster) error {
	ca, err := pki.NewAuthority("strongroom test cluster")
	if err != nil {
		return err
	}
	if err = writePair(c.PKI("ca"), ca.Pair); err != nil {
		return err
	}
	accounts, err := ca.Issue(pki.Subject{Name: "service accounts"})
	if err != nil {
		return err
	}
	if err := writePair(c.PKI("sa"), accounts); err != nil {
		return err
	}
	if err := servers(c, ca); err != nil {
		return err
	}
	for _, cl := range clients(c) {
		if err := kubeconfig(c, ca, cl); err != nil {
			return err
		}
	}
	return nil
}

func clients(c plan.Cluster) []client {
	all := []client{
		{c.Kubeconfig(), "admin", []string{"system:masters"}},
		{c.PKI("controllers.kubeconfig"), "system:kube-controller-manager", nil},
		{c.PKI("scheduler.kubeconfig"), "system:kube-scheduler", nil},
	}
	for _, n := range c.Nodes() {
		all = append(all, client{n.Dir("kubeconfig"), "system:node:" + n.Name(), []string{"system:nodes"}})
	}
	return all
}

// servers issues the certificates of the API server and of the kubelets, and
// the one with which the API server calls a kubelet.
func servers(c plan.Cluster, ca *pki.Authority) error {
	domain := "kubernetes.default.svc.cluster.local"
	hosts := []string{"localhost", "127.0.0.1", c.API().String(), c.Node(1).Addr().String(), domain}
	for i, r := range domain {
		if r == '.' && i <= len("kubernetes.default.svc") {
			hosts = append(hosts, domain[:i])
		}
	}
	subjects := map[string]pki.Subject{
		c.PKI("apiserver"):      {Name: "kube-apiserver", Hosts: hosts},
		c.PKI("kubelet-client"): {Name: "kube-apiserver", Groups: []string{"system:masters"}},
	}
	for _, n := range c.Nodes() {
		subjects[n.Dir("kubelet")] = pki.Subject{Name: n.Name(), Hosts: []string{n.Name(), n.Addr().String()}}
	}
	for path, s := range subjects {
		p, err := ca.Issue(s)
		if err != nil {
			return err
		}
		if err := writePair(path, p); err != nil {
			return err
		}
	}
	return nil
}

func kubeconfig(c plan.Cluster, ca *pki.Authority, cl client) error {
	p, err := ca.Issue(pki.Subject{Name: cl.name, Groups: cl.groups})
	if err != nil {
		return err
	}
	b64 := base64.StdEncoding.EncodeToString
	return write(cl.file, fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: strongroom
contexts: [{name: strongroom, context: {cluster: strongroom, user: %q}}]
clusters: [{name: strongroom, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: %q, user: {client-certificate-data: %s, client-key-data: %s}}]
`, cl.name, c.Server(), b64(ca.Cert), cl.name, b64(p.Cert), b64(p.Key)))
}

func writePair(path string, p pki.Pair) error {
	if err := write(path+".crt", string(p.Cert)); err != nil {
		return err
	}
	return write(path+".key", string(p.Key))
}

// write makes a file that only its owner reads, and the folder it is in.
func write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.TrimPrefix(text, "\n")), 0o600)
}
