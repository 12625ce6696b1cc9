package vaultclass

import (
	"fmt"
	"slices"
	"testing"
)

func TestCheck(t *testing.T) {
	_, wrong, warnings := Check(map[string]string{
		"staleIfError": "soon", "vaultAdress": "x",
		"objects": "- objectName: a\n  secretPath: kv/a\n  method: get\n- objectName: a\n  secretpath: kv/b\n  colour: red\n",
	})
	got := []string{}
	for _, p := range slices.Concat(wrong, warnings) {
		got = append(got, fmt.Sprintf("%s %d %s %d", p.Param, p.Object, p.Field, p.Line))
	}
	want := []string{
		"staleIfError -1  0", "objects 0 method 1", "objects 1 secretpath 4", "objects 1 secretPath 4", "objects 1 objectName 0",
		"roleName -1  0", "vaultAdress -1  0", "objects 1 colour 4",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestDecode(t *testing.T) {
	for _, tc := range []struct{ encoding, in, want string }{
		{"", "a", "a"}, {"Base64", "YQ==", "a"}, {"hex", "61", "a"}, {"hex", "secret", ""}, {"base64", "secret!", ""},
	} {
		o := Object{Encoding: tc.encoding}
		got, err := o.Decode([]byte(tc.in))
		if string(got) != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("%s of %q is %q (%v), want %q", tc.encoding, tc.in, got, err, tc.want)
		}
	}
}

func TestBytes(t *testing.T) {
	data := map[string]any{"data": map[string]any{"n": map[string]any{"b": 1, "a": nil}}, "metadata": 1}
	got, err := Bytes(Fields(data)["n"])
	if want := `{"a":null,"b":1}`; string(got) != want || err != nil {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
	if Fields(map[string]any{"data": "text"})["data"] != "text" {
		t.Error("a field that is called data is gone")
	}
}
