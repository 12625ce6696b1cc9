package vault

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

func TestRenderValues(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		value string // JSON
		want  string
	}{
		"text":         {`"p4ss"`, `p4ss`},
		"empty text":   {`""`, ``},
		"lines":        {`"a\nb\n"`, "a\nb\n"},
		"quotes":       {`"\"<&>\""`, `"<&>"`},
		"unicode":      {`"é\u00e9\ud83d\ude00"`, "éé😀"},
		"int":          {`42`, `42`},
		"large int":    {`9007199254740993123`, `9007199254740993123`},
		"float":        {`1.50`, `1.50`},
		"exponent":     {`1E+2`, `1E+2`},
		"true":         {`true`, `true`},
		"null":         {`null`, `null`},
		"list":         {`[ 1, "a", null ]`, `[1,"a",null]`},
		"object":       {`{"b": "<&>", "a": {"z": 1.0, "y": []}}`, `{"a":{"y":[],"z":1.0},"b":"\u003c\u0026\u003e"}`},
		"empty object": {`{}`, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for version, body := range map[string]string{
				"KV 1": fmt.Sprintf(`{"data":{"k":%s,"x":1}}`, tt.value),
				"KV 2": fmt.Sprintf(`{"data":{"data":{"k":%s},"metadata":{"k":0}}}`, tt.value),
			} {
				got, err := renderBody(body, object(t, "- {objectName: o, secretPath: p, secretKey: k}"))
				if err != nil || string(got) != tt.want {
					t.Errorf("%s: %q, %v; want %q", version, got, err, tt.want)
				}
			}
		})
	}
}

func renderBody(body string, o *vaultclass.Object) ([]byte, error) {
	r, err := parseReply([]byte(body))
	if err != nil {
		return nil, err
	}
	return r.render(o)
}

func TestRenderKVDetection(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"data":{"data":"text","k":"outer"}}`:                         "outer",
		`{"data":{"data":{"k":"inner"},"k":"outer"}}`:                  "inner",
		`{"data":{"data":[],"k":"outer"}}`:                             "outer",
		`{"data":{"data":null,"k":"outer"}}`:                           "outer",
		`{"data":{"data":{"x":1},"k":"outer"}}`:                        "",
		`{"data":{"data":{"data":{"k":"too deep"}},"metadata":{}}}`:    "",
		`{"data":{"data":{"x":1},"metadata":{"k":"not reachable"}}}`:   "",
		`{"k":"raw endpoint"}`:                                         "raw endpoint",
		`{"data":{"k":"known"},"k":"dropped","other":{"k":"dropped"}}`: "known",
	} {
		got, err := renderBody(body, object(t, "- {objectName: o, secretPath: p, secretKey: k}"))
		if want == "" {
			checkFailure(t, err, provider.NotFound, "{p}", "k", "does not exist")
			continue
		}
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", body, got, err, want)
		}
	}
}

func TestRenderEncodings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		encoding, value, want string
		fails                 bool
	}{
		"none":            {"", `"aGk="`, "aGk=", false},
		"utf-8":           {"UTF-8", `"aGk="`, "aGk=", false},
		"base64":          {"base64", `"aGk="`, "hi", false},
		"base64 lines":    {"Base64", `"aG\r\nk="`, "hi", false},
		"base64 no pad":   {"base64", `"s3cr3tq"`, "", true},
		"base64 URL":      {"base64", `"-_-_"`, "", true},
		"base64 nothing":  {"base64", `""`, "", false},
		"hex":             {"hex", `"6869"`, "hi", false},
		"hex upper":       {"HEX", `"6A"`, "j", false},
		"hex odd":         {"hex", `"686"`, "", true},
		"hex of a number": {"hex", `6869`, "hi", false},
		"hex of garbage":  {"hex", `"s3cr3t"`, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := object(t, "- {objectName: o, secretPath: p, secretKey: k, encoding: '"+tt.encoding+"'}")
			got, err := renderBody(`{"data":{"k":`+tt.value+`}}`, o)
			if tt.fails {
				checkFailure(t, err, provider.Invalid, "{p}", "the value is not "+o.Decoding())
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestRenderWhole(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, want string }{
		"KV 2": {
			`{"mount_type":"kv","request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"b":"<","a":1.10},"metadata":{}},"wrap_info":null,"warnings":null,"auth":null,"extra":1}`,
			`{"request_id":"r","lease_id":"","lease_duration":0,"renewable":false,"data":{"data":{"a":1.10,"b":"\u003c"},"metadata":{}},"warnings":null,"mount_type":"kv"}`,
		},
		"lease with a warning": {
			`{"request_id":"r","lease_id":"database/creds/x/1","renewable":true,"lease_duration":3600,"data":{"username":"u"},"warnings":["w"]}`,
			`{"request_id":"r","lease_id":"database/creds/x/1","lease_duration":3600,"renewable":true,"data":{"username":"u"},"warnings":["w"]}`,
		},
		"wrap_info": {
			`{"request_id":"r","data":{},"wrap_info":{"token":"t","accessor":"a","ttl":60,"creation_time":"2024-01-02T03:04:05Z","creation_path":"p"}}`,
			`{"request_id":"r","lease_id":"","lease_duration":0,"renewable":false,"data":{},"warnings":null,"wrap_info":{"token":"t","accessor":"a","ttl":60,"creation_time":"2024-01-02T03:04:05Z","creation_path":"p","wrapped_accessor":""}}`,
		},
		"raw endpoint": {
			`{"keys":[{"kid":"1"}]}`,
			`{"request_id":"","lease_id":"","lease_duration":0,"renewable":false,"data":{"keys":[{"kid":"1"}]},"warnings":null}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := renderBody(tt.body, object(t, "- {objectName: o, secretPath: p}"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("whole response (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzRender(f *testing.F) {
	for _, body := range []string{
		`{"data":{"k":"v"}}`, `{"data":{"data":{"k":[1,{"a":null}]},"metadata":{}}}`, `{"keys":[]}`, `{"errors":["x"]}`,
		`{"auth":{"client_token":"t"},"wrap_info":{"ttl":1},"data":{}}`, `null`, ``, `[]`, `{"data":7}`, `{"errors":7,"k":1}`,
	} {
		f.Add([]byte(body), "k", "base64")
	}
	f.Fuzz(func(t *testing.T, body []byte, key, encoding string) {
		r, err := parseReply(body)
		if err != nil {
			return
		}
		r.warningsFrom(vaultclass.Read{Path: "/v1/p"})
		content, err := r.render(&vaultclass.Object{Name: "o", Path: "p", Key: key, Encoding: encoding})
		if err == nil && key == "" && !json.Valid(content) {
			t.Errorf("whole response is not JSON: %q", content)
		}
	})
}
