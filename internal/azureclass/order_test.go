package azureclass

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// objectOf is a class with one object of so many fields.
func objectOf(fields ...string) map[string]string { return entry(strings.Join(fields, ", ")) }

// outcome is what becomes of a class: one object, or an error with these words.
type outcome struct {
	change map[string]string
	err    string
	check  func(*Class) bool
}

func (o outcome) judge(t *testing.T, name string) {
	t.Helper()
	c, err := parse(params(o.change))
	switch {
	case o.err != "" && (err == nil || !strings.Contains(err.Error(), o.err)):
		t.Errorf("%s: error %v, want one with %q", name, err, o.err)
	case o.err == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case o.err == "" && o.check != nil && !o.check(c):
		t.Errorf("%s: %+v", name, c)
	}
}

// (azure-contract 3.10, 17.5)
func TestPermissions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]fs.FileMode{
		"0644": 0o644, "644": 0o644, "0755": 0o755, "'0440'": 0o440, "1": 0o1, "0777": 0o777, "''": 0, "' 0600 '": 0o600, "~": 0,
		"0o644": 0, "0900": 0, "9": 0, "-1": 0, "01777": 0, "rw": 0, "'0'": 0, "0000": 0, "0x1ff": 0, "1e2": 0, "'6 4'": 0, "00000000000000000000644": 0o644,
	} {
		c, err := parse(params(objectOf("objectName: a", "objectType: secret", "filePermission: "+text)))
		empty := text == "''" || text == "~"
		switch {
		case want == 0 && !empty:
			if err == nil || !strings.Contains(err.Error(), "invalid filePermission") || !strings.Contains(err.Error(), "objectName:a") {
				t.Errorf("%s: %v", text, err)
			}
		case err != nil || c.Objects[0].Mode != want:
			t.Errorf("%s: %v, %+v", text, err, c)
		}
	}
}

// (azure-contract 4.5, 17.6)
func TestFileNames(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]string{
		"db/password": "", "a.b": "", ".hidden": "", "a b": "", "ä": "", "a/.b/c": "",
		"/etc/passwd": "relative", "..": "'..'", "../a": "'..'", "a/../b": "'..'", "a..b": "'..'", "a/b..": "'..'", "...": "'..'",
		"a/": "clean form", "a//b": "clean form", "./a": "clean form", ".": "the volume itself",
	} {
		outcome{
			change: objectOf("objectName: x", "objectType: secret", fmt.Sprintf("objectAlias: '%s'", name)), err: err,
			check: func(c *Class) bool { return c.Objects[0].File == name },
		}.judge(t, name)
	}
}

// (azure-contract 2.9, 2.10, 17.2)
func TestBools(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "false", " ": "false", "1": "true", "t": "true", "T": "true", "TRUE": "true", "true": "true", "True": "true", " true ": "true",
		"0": "false", "f": "false", "F": "false", "FALSE": "false", "false": "false", "False": "false",
		"yes": "", "on": "", "tRUE": "", "2": "", "null": "", "\"true\"": "",
	} {
		for param, mode := range map[string]Mode{"usePodIdentity": PodIdentity, "useVMManagedIdentity": VMIdentity, "useAzureTokenProxy": TokenProxy} {
			o := outcome{change: map[string]string{param: text, "clientID": "c"}, check: func(c *Class) bool { return (c.Mode == mode) == (want == "true") }}
			if want == "" {
				o.err = "failed to parse " + param
			}
			o.judge(t, param+" "+text)
		}
	}
	pairs := []string{"usePodIdentity", "useVMManagedIdentity", "useAzureTokenProxy"}
	for i, one := range pairs {
		for _, other := range pairs[i+1:] {
			outcome{change: map[string]string{one: "1", other: "t"}, err: "only one identity mode"}.judge(t, one+other)
		}
	}
}

// Each parameter absent, empty, with blanks around it and in another case.
// (azure-contract 2, 17.2)
func TestSpellings(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]outcome{
		"blanks":                     {change: map[string]string{"keyvaultName": "\t shop\n", "tenantID": " t ", "clientID": " c "}, check: func(c *Class) bool { return c.Vault+c.Tenant+c.ClientID == "shoptc" }},
		"an empty vault":             {change: map[string]string{"keyvaultName": " "}, err: "keyvaultName is not set"},
		"a vault in another case":    {change: map[string]string{"keyvaultName": "-", "keyVaultName": "shop"}, err: "keyvaultName is not set"},
		"both tenants":               {change: map[string]string{"tenantID": "new", "tenantId": "old"}, check: func(c *Class) bool { return c.Tenant == "new" }},
		"the old tenant":             {change: map[string]string{"tenantID": "-", "tenantId": " old "}, check: func(c *Class) bool { return c.Tenant == "old" }},
		"an empty new tenant":        {change: map[string]string{"tenantID": " ", "tenantId": "old"}, check: func(c *Class) bool { return c.Tenant == "old" }},
		"a tenant in no case":        {change: map[string]string{"tenantID": "-", "tenantid": "t"}, err: "tenantId is not set"},
		"objects of blanks":          {change: map[string]string{"objects": " \n\t"}, err: "objects is not set"},
		"an empty cloud":             {change: map[string]string{"cloudName": " "}, check: func(c *Class) bool { return c.Cloud == "" }},
		"user assigned, not the VM":  {change: map[string]string{"userAssignedIdentityID": "u"}, check: func(c *Class) bool { return c.Mode == ServicePrincipal && c.ClientID == "" }},
		"an empty client":            {change: map[string]string{"clientID": " "}, check: func(c *Class) bool { return c.Mode == ServicePrincipal }},
		"the VM with a client":       {change: map[string]string{"useVMManagedIdentity": "true", "clientID": "c", "userAssignedIdentityID": " u "}, check: func(c *Class) bool { return c.ClientID == "u" }},
		"a stale age":                {change: map[string]string{"staleIfError": " 10m "}, check: func(c *Class) bool { return c.StaleIfError.Minutes() == 10 }},
		"a stale age that is none":   {change: map[string]string{"staleIfError": "10"}, err: "failed to parse staleIfError"},
		"a stale age below zero":     {change: map[string]string{"staleIfError": "-1s"}, err: "failed to parse staleIfError"},
		"what others read, too":      {change: map[string]string{"resourceGroup": "g", "subscriptionId": "s", "keyvaultname": "x"}, check: func(c *Class) bool { return c.Vault == "shop" }},
		"latest":                     {change: objectOf("objectName: a", "objectType: secret", "objectVersion: ' latest '"), check: func(c *Class) bool { return c.Objects[0].Version == "" }},
		"a version that is a number": {change: objectOf("objectName: a", "objectType: secret", "objectVersion: 0123"), check: func(c *Class) bool { return c.Objects[0].Version == "0123" }},
		"a history below zero":       {change: objectOf("objectName: a", "objectType: secret", "objectVersionHistory: -5"), check: func(c *Class) bool { return c.Objects[0].History == -5 }},
		"a history that is too long": {change: objectOf("objectName: a", "objectType: secret", "objectVersionHistory: 2147483648"), err: "at index 0"},
		"an unknown field":           {change: objectOf("objectName: a", "objectType: secret", "secret: x", "objectname: y"), check: func(c *Class) bool { return c.Objects[0].Name == "a" }},
		"no name, but a file":        {change: objectOf("objectAlias: a", "objectType: secret"), err: "objectName must not be empty"},
		"a name of blanks":           {change: objectOf("objectName: '  '", "objectAlias: a", "objectType: secret"), err: "objectName must not be empty"},
		"an object that is null":     {change: map[string]string{"objects": "array: ['~']"}, err: "must not be empty"},
		"a scalar":                   {change: map[string]string{"objects": "array"}, err: "failed to yaml unmarshal objects"},
		"bad YAML in the third":      {change: map[string]string{"objects": "array: ['{objectName: a, objectType: secret}', '{objectName: b, objectType: key}', '{']"}, err: "at index 2"},
		"an item that is a list":     {change: map[string]string{"objects": "array: ['- a']"}, err: "at index 0"},
	} {
		o.judge(t, name)
	}
}

// The matrix of types, formats and encodings, in both cases. (azure-contract 4.1-4.4, 17.7)
func TestFormats(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"secret", "key", "cert", "Secret", "certificate", "''"} {
		for _, format := range []string{"''", "pem", "PEM", "pfx", "PFX", "der"} {
			for _, encoding := range []string{"''", "utf-8", "UTF-8", "base64", "BASE64", "Hex", "utf8"} {
				outcome{
					change: objectOf("objectName: a", "objectType: "+kind, "objectFormat: "+format, "objectEncoding: "+encoding),
					err:    firstWrong(kind, format, encoding),
				}.judge(t, kind+" "+format+" "+encoding)
			}
		}
	}
}

// firstWrong is what is told of these three.
func firstWrong(kind, format, encoding string) string {
	switch {
	case format == "der":
		return `invalid objectFormat: "der", should be pem or pfx`
	case strings.EqualFold(format, "pfx") && kind != Secret:
		return "objectFormat pfx is only for objectType secret"
	case encoding != "''" && kind != Secret:
		return "objectEncoding is only for objectType secret"
	case encoding == "utf8":
		return `invalid objectEncoding: "utf8", should be utf-8, base64 or hex`
	case !slices.Contains([]string{Secret, Key, Cert}, kind):
		return "invalid objectType"
	}
	return ""
}

// TestWrapper: what is wrong with an object is told in the words that operators look
// for. (azure-contract 4.6)
func TestWrapper(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"objectFormat: x", "objectEncoding: x", "objectAlias: /x", "filePermission: x"} {
		outcome{
			change: objectOf("objectName: a", "objectType: secret", "objectVersion: 9", field),
			err:    "failed to get objectType:secret, objectName:a, objectVersion:9: ",
		}.judge(t, field)
	}
	o := Object{Type: Key, Name: "k"}
	if text := o.Failed(fmt.Errorf("x")).Error(); text != "failed to get objectType:key, objectName:k, objectVersion:: x" {
		t.Error(text)
	}
}
