package vaultclass

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parseOne(text string) (*Class, error) {
	return Parse(params(map[string]string{"objects": text}))
}

func TestParseEveryField(t *testing.T) {
	t.Parallel()
	got, err := parseOne(`
- objectName: "certs/web"
  secretPath: "/pki/issue/web?b=2&a=1"
  secretKey: "certificate"
  method: "PUT"
  secretArgs: {ttl: 1h, common_name: a.example.test, n: 9007199254740993, on: true, list: [1, x], deep: {k: null}}
  encoding: "Base64"
  filePermission: 0440
  objectVersion: "dead"
`)
	if err != nil {
		t.Fatal(err)
	}
	args := `{"common_name":"a.example.test","deep":{"k":null},"list":[1,"x"],"n":9007199254740993,"on":true,"ttl":"1h"}`
	want := []Object{{
		Name: "certs/web", Path: "/pki/issue/web?b=2&a=1", Key: "certificate", Method: "PUT",
		Args: []byte(args), Encoding: "Base64", Mode: 0o440,
		Read: Read{Method: "PUT", Path: "/v1/pki/issue/web", Query: "a=1&b=2", Args: args},
	}}
	if diff := cmp.Diff(want, got.Objects); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if got.Objects[0].Decoding() != Base64 || len(got.Warnings) != 0 {
		t.Errorf("decoding %s, warnings %v", got.Objects[0].Decoding(), got.Warnings)
	}
}

func TestParseObjectErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fields string // beside objectName a and secretPath b
		want   string
	}{
		"plain":                {"", ""},
		"wrong case":           {"secretkey: x", `field "secretkey" is unknown: did you mean secretKey?`},
		"letter missing":       {"secretKe: x", "did you mean secretKey?"},
		"letter added":         {"methods: x", "did you mean method?"},
		"letter wrong":         {"encodinG: x", "did you mean encoding?"},
		"letter and case":      {"SecretArg: {}", "did you mean secretArgs?"},
		"unknown field":        {"comment: x", ""},
		"quoted permission":    {`filePermission: "0644"`, "a number without quotes"},
		"permission too large": {"filePermission: 01777", "between 0 and 0777"},
		"decimal by mistake":   {"filePermission: 644", "decimal 644"},
		"negative permission":  {"filePermission: -1", "between 0 and 0777"},
		"permission list":      {"filePermission: [1]", "a number without quotes"},
		"key is a map":         {"secretKey: {a: b}", "secretKey must be text"},
		"args are text":        {"secretArgs: hunter2", "secretArgs must be a mapping"},
		"args with deep keys":  {"secretArgs: {a: {1: hunter2}}", "keys must be text"},
		"args not finite":      {"secretArgs: {a: .inf}", "numbers finite"},
		"bad encoding":         {"secretKey: k, encoding: base46", "use utf-8, base64 or hex"},
		"pointless encoding":   {"encoding: base46", ""},
		"lower method":         {"method: put", "must be upper case: PUT"},
		"own method":           {"method: FETCH", ""},
		"no method":            {"method: 'A B'", "not an HTTP method"},
		"repeated field":       {"method: GET, method: GET", "already defined"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseOne("- {objectName: a, secretPath: b, " + tt.fields + "}")
			checkError(t, err, tt.want)
			if tt.want != "" && !strings.Contains(err.Error(), "(line 1)") {
				t.Errorf("error %q names no line", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q shows a value of secretArgs", err)
			}
		})
	}
}

func TestParseObjectNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"db": true, "dir/file": true, "a.b": true, ".hidden": true, "a..b": true, "ü": true,
		"": false, "/abs": false, "a//b": false, "./a": false, "a/": false, "..": false, ".": false,
		"../a": false, "a/../b": false, "..data": false,
		strings.Repeat("x", 255): true, strings.Repeat("x", 256): false,
		strings.Repeat("abc/", 1023) + "abcd": true, strings.Repeat("abc/", 1024) + "a": false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("checkName(%.40q) = %v, want ok = %v", name, err, ok)
		}
	}
}

func TestParseUniqueNames(t *testing.T) {
	t.Parallel()
	entry := func(name string) string { return "- {objectName: " + name + ", secretPath: p}\n" }
	_, err := parseOne(entry("a") + entry("b") + entry("a") + entry("c") + entry("b") + entry("a"))
	checkError(t, err, "these are not: a, b")
}

func TestParsePermission(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]fs.FileMode{
		"0640": 0o640, "0o640": 0o640, "416": 0o640, "0": 0, "~": 0, "0777": 0o777,
	} {
		got, err := parseOne("- {objectName: a, secretPath: b, filePermission: " + text + "}")
		if err != nil || got.Objects[0].Mode != want {
			t.Errorf("filePermission %s: %v, %v; want %o", text, got, err, want)
		}
	}
}

func TestParseArgsPresence(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "secretArgs: ~": "", "secretArgs: {}": "{}", "secretArgs: {1: x}": `{"1":"x"}`} {
		got, err := parseOne("- {objectName: a, secretPath: b, " + text + "}")
		if err != nil || got.Objects[0].Read.Args != want || string(got.Objects[0].Args) != want {
			t.Errorf("%q: %+v, %v; want args %q", text, got, err, want)
		}
	}
}

func TestParseAnchorsAndMerges(t *testing.T) {
	t.Parallel()
	got, err := parseOne(`
- &first {objectName: a, secretPath: &p secret/data/x, secretKey: k}
- {<<: *first, objectName: b}
- {objectName: c, secretPath: *p}
- {objectName: 7, secretPath: true}
`)
	if err != nil {
		t.Fatal(err)
	}
	var names, paths []string
	for _, o := range got.Objects {
		names, paths = append(names, o.Name+"/"+o.Key), append(paths, o.Path)
	}
	if diff := cmp.Diff([]string{"a/k", "b/k", "c/", "7/"}, names); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"secret/data/x", "secret/data/x", "secret/data/x", "true"}, paths); diff != "" {
		t.Error(diff)
	}
}

func TestParseWarnings(t *testing.T) {
	t.Parallel()
	got, err := parseOne("- {objectName: a, secretPath: b, comment: x, encoding: hex}")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`object "a" (line 1): unknown field "comment" is ignored`,
		`object "a" (line 1): encoding has no meaning without secretKey`,
	}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestParseEntriesOfOtherShapes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"- text", "- [a]", "- ~", "- 'objectName: a'"} {
		_, err := parseOne(text)
		checkError(t, err, "object 1 (line 1): must be a mapping")
	}
}

func TestReadPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v1/x":                "/v1/x",
		"v1/x":                 "/v1/x",
		"/x":                   "/v1/x",
		"x":                    "/v1/x",
		"v2/foo":               "/v1/v2/foo",
		"1/foo":                "/v1/1/foo",
		"v1":                   "/v1/v1",
		"a/b/":                 "/v1/a/b",
		"a//b":                 "/v1/a/b",
		"a/./b":                "/v1/a/b",
		"a/../b":               "/v1/b",
		"a b":                  "/v1/a b",
		"a%2Fb":                "/v1/a%2Fb",
		"secret?version=2":     "/v1/secret ? version=2",
		"secret?":              "/v1/secret",
		"s?b=2&a=1&a=0":        "/v1/s ? a=1&a=0&b=2",
		"s?a=x y":              "/v1/s ? a=x+y",
		"s?a=?":                "/v1/s ? a=%3F",
		"":                     "error: secretPath is missing",
		"/":                    "error: does not name anything below /v1/",
		"..":                   "error: does not name anything below /v1/",
		"../sys/seal":          "error: does not name anything below /v1/",
		"v1/../../v1x":         "error: does not name anything below /v1/",
		"a?x=%zz":              "error: malformed query",
		"/v1/../v1/sys/health": "/v1/sys/health",
	} {
		read, err := newRead(&Object{Path: path})
		if wantErr, ok := strings.CutPrefix(want, "error: "); ok {
			checkError(t, err, wantErr)
			continue
		}
		got := read.Path
		if read.Query != "" {
			got += " ? " + read.Query
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", path, got, err, want)
		}
	}
}

func TestEqualReads(t *testing.T) {
	t.Parallel()
	got, err := parseOne(`
- {objectName: a, secretPath: pki/x, secretArgs: {b: 1, a: 2}}
- {objectName: b, secretPath: /v1/pki//x, method: GET, secretArgs: {a: 2, b: 1}}
- {objectName: c, secretPath: pki/x, secretArgs: {a: 2, b: 2}}
- {objectName: d, secretPath: pki/x}
- {objectName: e, secretPath: pki/x, method: PUT}
`)
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[Read]bool{}
	for _, o := range got.Objects {
		distinct[o.Read] = true
	}
	if got.Objects[0].Read != got.Objects[1].Read || len(distinct) != 4 {
		t.Errorf("%d distinct reads: %v", len(distinct), distinct)
	}
}

func TestParseAliasBombs(t *testing.T) {
	t.Parallel()
	bomb := "- {objectName: a, secretPath: p, secretArgs: {a: &a [x, x, x, x, x, x, x, x, x, x]"
	for c := 'b'; c <= 'l'; c++ {
		ref := "*" + string(c-1) + " "
		bomb += ", " + string(c) + ": &" + string(c) + " [" + strings.Repeat(ref+", ", 9) + ref + "]"
	}
	_, err := parseOne(bomb + "}}")
	checkError(t, err, "aliases expanded")
	_, err = parseOne("- &a {objectName: a, secretPath: p, secretArgs: *a }")
	checkError(t, err, "aliases expanded")
}
