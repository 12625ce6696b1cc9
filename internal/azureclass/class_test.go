package azureclass

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const oneObject = "array:\n- |\n  objectName: db\n  objectType: secret\n"

// params are those of a class that is right, with changes: "-" removes one.
func params(change map[string]string) map[string]string {
	p := map[string]string{"keyvaultName": "shop", "tenantID": "t", "objects": oneObject}
	maps.Copy(p, change)
	maps.DeleteFunc(p, func(_, v string) bool { return v == "-" })
	return p
}

// parse does all steps in the order in which a provider does.
func parse(p map[string]string) (*Class, error) {
	c, err := Parse(p)
	if err != nil {
		return nil, err
	}
	if err := c.CheckLogin(); err != nil {
		return nil, err
	}
	if err := c.ParseObjects(); err != nil {
		return nil, err
	}
	return c, c.CheckVault()
}

func TestParseEverything(t *testing.T) {
	t.Parallel()
	got, err := parse(params(map[string]string{
		"keyvaultName": " shop-eu ", "tenantID": " contoso.example ", "cloudName": "AzureStackCloud", "cloudEnvFileName": "/clouds/a.json",
		"clientID": " c ", "usePodIdentity": "false", "useVMManagedIdentity": "F",
		"objects": `
array:
  - |
    objectName: db
    objectType: secret
    objectAlias: db/password
    objectVersion: 0123
    objectEncoding: BASE64
    filePermission: 0440
  - "{objectName: tls, objectType: secret, objectFormat: PFX, objectVersionHistory: 3, objectVersion: latest}"
  - "{objectName: k, objectType: key, filePermission: 0755, comment: x}"
  - "{objectName: c, objectType: cert}"
`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := &Class{
		Vault: "shop-eu", Tenant: "contoso.example", Cloud: "AzureStackCloud", CloudFile: "/clouds/a.json",
		Mode: WorkloadIdentity, ClientID: "c",
		Objects: []Object{
			{Name: "db", File: "db/password", Type: Secret, Version: "0123", Format: PEM, Encoding: Base64, Mode: 0o440},
			{Name: "tls", File: "tls", Type: Secret, History: 3, Format: PFX, Encoding: UTF8},
			{Name: "k", File: "k", Type: Key, Format: PEM, Encoding: UTF8, Mode: 0o755},
			{Name: "c", File: "c", Type: Cert, Format: PEM, Encoding: UTF8},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Class{})); diff != "" {
		t.Errorf("class (-want +got):\n%s", diff)
	}
}

func TestParseModes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change map[string]string
		mode   Mode
		client string
		err    string
	}{
		"nothing":              {nil, ServicePrincipal, "", ""},
		"client":               {map[string]string{"clientID": "c"}, WorkloadIdentity, "c", ""},
		"node":                 {map[string]string{"useVMManagedIdentity": "true"}, VMIdentity, "", ""},
		"node, user assigned":  {map[string]string{"useVMManagedIdentity": "1", "userAssignedIdentityID": "u"}, VMIdentity, "u", ""},
		"node beside a client": {map[string]string{"useVMManagedIdentity": "TRUE", "clientID": "c"}, VMIdentity, "", ""},
		"pod":                  {map[string]string{"usePodIdentity": "t", "clientID": "c"}, PodIdentity, "", ""},
		"proxy":                {map[string]string{"useAzureTokenProxy": "true", "clientID": "c"}, TokenProxy, "c", ""},
		"proxy without client": {map[string]string{"useAzureTokenProxy": "true"}, "", "", "clientID"},
		"two":                  {map[string]string{"usePodIdentity": "true", "useVMManagedIdentity": "true"}, "", "", "only one identity mode"},
		"no bool":              {map[string]string{"usePodIdentity": "yes"}, "", "", "usePodIdentity"},
	} {
		got, err := parse(params(tt.change))
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want one with %q", name, err, tt.err)
			}
		case err != nil || got.Mode != tt.mode || got.ClientID != tt.client:
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func entry(text string) map[string]string {
	return map[string]string{"objects": "array: [\"{" + text + "}\"]"}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change map[string]string
		want   string // none for success
	}{
		"no vault":          {map[string]string{"keyvaultName": "-"}, "keyvaultName is not set"},
		"old tenant":        {map[string]string{"tenantID": " ", "tenantId": "t"}, ""},
		"no tenant":         {map[string]string{"tenantID": "-"}, "tenantId is not set"},
		"no objects":        {map[string]string{"objects": "-"}, "objects is not set"},
		"a list":            {map[string]string{"objects": "- a"}, "failed to yaml unmarshal objects"},
		"a mapping":         {map[string]string{"objects": "array: [{objectName: a}]"}, "failed to yaml unmarshal objects"},
		"no entry":          {map[string]string{"objects": "array: []"}, "no entry"},
		"null":              {map[string]string{"objects": "array: ~"}, "no entry"},
		"bad entry":         {map[string]string{"objects": "array: ['objectName: a', ': [']"}, "failed to get objectType"},
		"entry no YAML":     {map[string]string{"objects": "array: ['a: [']"}, "at index 0"},
		"history a text":    {entry("objectName: a, objectType: secret, objectVersionHistory: x"), "at index 0"},
		"format":            {entry("objectName: a, objectType: secret, objectFormat: der"), "invalid objectFormat"},
		"pfx of a key":      {entry("objectName: a, objectType: key, objectFormat: PFX"), "only for objectType secret"},
		"encoding of cert":  {entry("objectName: a, objectType: cert, objectEncoding: hex"), "only for objectType secret"},
		"encoding":          {entry("objectName: a, objectType: secret, objectEncoding: utf16"), "invalid objectEncoding"},
		"no name":           {entry("objectType: secret"), "must not be empty"},
		"absolute":          {entry("objectName: a, objectType: secret, objectAlias: /a"), "relative"},
		"dots":              {entry("objectName: a, objectType: secret, objectAlias: a..b"), "'..'"},
		"type":              {entry("objectName: a, objectType: certificate"), "failed to get objectType:certificate, objectName:a, objectVersion:: invalid objectType"},
		"permission octal":  {entry("objectName: a, objectType: secret, filePermission: '0o644'"), "invalid filePermission"},
		"permission 9":      {entry("objectName: a, objectType: secret, filePermission: '0900'"), "invalid filePermission"},
		"permission sticky": {entry("objectName: a, objectType: secret, filePermission: '01777'"), "invalid filePermission"},
		"short vault":       {map[string]string{"keyvaultName": "ab"}, "failed to get vault"},
		"dot in vault":      {map[string]string{"keyvaultName": "a.example"}, "failed to get vault"},
		// What is wrong twice is told in this order.
		"vault before tenant":  {map[string]string{"keyvaultName": "-", "tenantID": "-"}, "keyvaultName is not set"},
		"bool before vault":    {map[string]string{"keyvaultName": "-", "usePodIdentity": "x"}, "usePodIdentity"},
		"objects before name":  {map[string]string{"keyvaultName": "a.b", "objects": "-"}, "objects is not set"},
		"tenant before object": {map[string]string{"tenantID": "-", "objects": "-"}, "tenantId is not set"},
	} {
		_, err := parse(params(tt.change))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v does not contain %q", name, err, tt.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	c, err := parse(params(map[string]string{"keyvaultname": "x", "resourceGroup": "y", "objects": `array: ["{objectName: a, objectType: secret}", "{objectName: a, objectType: key}"]`}))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(c.Warnings, "\n")
	if !strings.Contains(text, "keyvaultName") || !strings.Contains(text, "same file") || len(c.Warnings) != 2 {
		t.Errorf("warnings:\n%s", text)
	}
}

func FuzzObjects(f *testing.F) {
	f.Add(oneObject)
	f.Add("array: ['{objectName: a, objectType: key}']")
	f.Add("array: [~, '', 1]")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(params(map[string]string{"objects": text}))
		if err == nil && len(c.Objects) == 0 {
			t.Error("no object and no error")
		}
		sameVerdict(t, params(map[string]string{"objects": text}))
	})
}

// sameVerdict fails unless Check finds something wrong exactly where the provider does.
func sameVerdict(t *testing.T, params map[string]string) {
	t.Helper()
	c, err := Parse(params)
	if err == nil {
		err = errors.Join(CheckCloud(c.Cloud), c.CheckLogin(), c.ParseObjects(), c.CheckVault())
	}
	if _, wrong, _ := Check(params); (err == nil) != (len(wrong) == 0) {
		t.Errorf("the provider says %v, Check %+v", err, wrong)
	}
}

// FuzzParse has any two parameters in a class that is right otherwise.
func FuzzParse(f *testing.F) {
	for _, seed := range [][4]string{
		{"keyvaultName", "shop-1", "cloudName", "AzureChinaCloud"},
		{"keyvaultName", "evil.example/", "tenantID", "x"},
		{"usePodIdentity", "True", "useVMManagedIdentity", " true "},
		{"useVMManagedIdentity", "yes", "userAssignedIdentityID", "a"},
		{"clientID", "c", "staleIfError", "1h"},
		{"staleIfError", "-1s", "tenantId", "y"},
		{"cloudEnvFileName", "../../etc/passwd", "cloudName", "AzureStackCloud"},
		{"useAzureTokenProxy", "true", "clientID", "\x00"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, key, value, other, another string) {
		sameVerdict(t, params(map[string]string{key: value, other: another}))
		c, err := Parse(params(map[string]string{key: value, other: another}))
		if err != nil {
			return
		}
		if c.StaleIfError < 0 || c.Mode == "" {
			t.Errorf("%+v", c)
		}
		_ = c.CheckLogin()
		if c.CheckVault() == nil && (c.Vault == "" || strings.ContainsFunc(c.Vault, func(r rune) bool { return strings.ContainsRune("/.:@?#%\\ ", r) || r < ' ' || r > '~' })) {
			t.Errorf("a vault named %q could be another host", c.Vault)
		}
	})
}
