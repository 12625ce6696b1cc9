package vaultclass

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const oneObject = "- {objectName: db, secretPath: secret/data/app}"

// params returns a valid class with changes laid over it; "-" removes a key.
func params(changes map[string]string) map[string]string {
	p := map[string]string{"roleName": "app", "objects": oneObject}
	maps.Copy(p, changes)
	maps.DeleteFunc(p, func(_, v string) bool { return v == "-" })
	return p
}

func TestParseEveryParameter(t *testing.T) {
	t.Parallel()
	got, err := Parse(params(map[string]string{
		"vaultAddress":           "https://vault.example.com:8200",
		"vaultNamespace":         "team/a",
		"vaultAuthMountPath":     "k8s-eu",
		"audience":               "vault-eu",
		"vaultCACertPath":        "/ca.pem",
		"vaultCADirectory":       "/cas",
		"vaultTLSServerName":     "vault.internal",
		"vaultTLSClientCertPath": "/tls.crt",
		"vaultTLSClientKeyPath":  "/tls.key",
		"vaultSkipTLSVerify":     "false",
		"authMethod":             "jwt",
		"staleIfError":           "90s",
	}))
	if err != nil {
		t.Fatal(err)
	}
	skip := false
	want := &Class{
		Role: "app", Address: "https://vault.example.com:8200", Namespace: "team/a",
		AuthMethod: JWT, AuthMount: "k8s-eu", Audience: "vault-eu", StaleIfError: 90 * time.Second,
		TLS: TLS{
			CACert: "/ca.pem", CADirectory: "/cas", ServerName: "vault.internal",
			ClientCert: "/tls.crt", ClientKey: "/tls.key", SkipVerify: &skip,
		},
		Objects: []Object{{
			Name: "db", Path: "secret/data/app",
			Read: Read{Method: "GET", Path: "/v1/secret/data/app"},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("class (-want +got):\n%s", diff)
	}
}

func TestParseParameters(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change map[string]string
		want   string // in the error; empty for none
	}{
		"smallest":          {nil, ""},
		"no role for JWT":   {map[string]string{"roleName": "-", "authMethod": "jwt"}, "roleName is missing"},
		"no role needed":    {map[string]string{"roleName": "-", "authMethod": "approle"}, ""},
		"unknown method":    {map[string]string{"authMethod": "ldap"}, "use kubernetes, jwt, approle or cert"},
		"stale for ever":    {map[string]string{"staleIfError": "always"}, "staleIfError"},
		"stale backwards":   {map[string]string{"staleIfError": "-1m"}, "staleIfError"},
		"no role":           {map[string]string{"roleName": "-"}, "roleName is missing"},
		"empty role":        {map[string]string{"roleName": ""}, "roleName is missing"},
		"old mount":         {map[string]string{"vaultKubernetesMountPath": "k8s"}, ""},
		"both mounts":       {map[string]string{"vaultKubernetesMountPath": "a", "vaultAuthMountPath": "a"}, "mean the same"},
		"both mounts empty": {map[string]string{"vaultKubernetesMountPath": "", "vaultAuthMountPath": ""}, "mean the same"},
		"mount climbs":      {map[string]string{"vaultAuthMountPath": "../../sys"}, "below auth/"},
		"mount is nothing":  {map[string]string{"vaultAuthMountPath": "/"}, "below auth/"},
		"nested mount":      {map[string]string{"vaultAuthMountPath": "/team/k8s/"}, ""},
		"skip empty":        {map[string]string{"vaultSkipTLSVerify": ""}, "vaultSkipTLSVerify"},
		"skip yes":          {map[string]string{"vaultSkipTLSVerify": "yes"}, "vaultSkipTLSVerify"},
		"skip on":           {map[string]string{"vaultSkipTLSVerify": "on"}, "vaultSkipTLSVerify"},
		"skip 1":            {map[string]string{"vaultSkipTLSVerify": "1"}, ""},
		"skip t":            {map[string]string{"vaultSkipTLSVerify": "t"}, ""},
		"skip True":         {map[string]string{"vaultSkipTLSVerify": "True"}, ""},
		"lone cert":         {map[string]string{"vaultTLSClientCertPath": "/c"}, "belong together"},
		"lone key":          {map[string]string{"vaultTLSClientKeyPath": "/k"}, "belong together"},
		"bare host":         {map[string]string{"vaultAddress": "vault:8200"}, "must begin with https://"},
		"no host":           {map[string]string{"vaultAddress": "https://"}, "names no host"},
		"not a URL":         {map[string]string{"vaultAddress": "https://a b:x@/"}, "not a URL"},
		"unix":              {map[string]string{"vaultAddress": "unix:///run/agent.sock"}, ""},
		"relative unix":     {map[string]string{"vaultAddress": "unix://agent.sock"}, "absolute path"},
		"dead keys": {map[string]string{
			"kubernetesServiceAccountPath": "x", "vaultCAPem": "y", "secretProviderClass": "z",
		}, ""},
		"no objects":     {map[string]string{"objects": "-"}, "objects is missing or empty"},
		"empty objects":  {map[string]string{"objects": ""}, "objects is missing or empty"},
		"only a comment": {map[string]string{"objects": "# nothing"}, "objects is missing or empty"},
		"null objects":   {map[string]string{"objects": "~"}, "objects is missing or empty"},
		"empty list":     {map[string]string{"objects": "[]"}, "objects is missing or empty"},
		"mapping":        {map[string]string{"objects": "array: []"}, "must be a YAML list"},
		"scalar":         {map[string]string{"objects": "db"}, "must be a YAML list"},
		"no YAML":        {map[string]string{"objects": "- {a: b\n- ]"}, "line"},
		"too long":       {map[string]string{"objects": strings.Repeat("#", maxObjectsText+1)}, "is longer than"},
		"too many":       {map[string]string{"objects": strings.Repeat("- {}\n", maxObjects+1)}, "more than 1000 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(params(tt.change))
			checkError(t, err, tt.want)
		})
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && err == nil:
		t.Errorf("no error, want one with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("error %q does not contain %q", err, want)
	}
}

func TestParseOldMountSpelling(t *testing.T) {
	t.Parallel()
	got, err := Parse(params(map[string]string{"vaultKubernetesMountPath": "k8s"}))
	if err != nil || got.AuthMount != "k8s" {
		t.Errorf("AuthMount = %v, %v; want k8s", got, err)
	}
}

func TestParseReportsEverything(t *testing.T) {
	t.Parallel()
	_, err := Parse(map[string]string{"objects": "- {objectName: a}\n- {secretPath: b}"})
	for _, want := range []string{"roleName", `object "a" (line 1)`, "object 2 (line 2)"} {
		checkError(t, err, want)
	}
}

func TestParseBoundsTheError(t *testing.T) {
	t.Parallel()
	var objects strings.Builder
	for i := range 500 {
		fmt.Fprintf(&objects, "- objectName: n%d\n", i)
	}
	_, err := Parse(params(map[string]string{"objects": objects.String()}))
	checkError(t, err, "and 492 more")
}

func TestUnknownParameterThatLooksKnown(t *testing.T) {
	t.Parallel()
	got, err := Parse(params(map[string]string{"vaultNameSpace": "x", "vaultaddres": "y", "other": "z"}))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`unknown parameter "vaultNameSpace" is ignored: did you mean vaultNamespace?`,
		`unknown parameter "vaultaddres" is ignored: did you mean vaultAddress?`,
	}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
