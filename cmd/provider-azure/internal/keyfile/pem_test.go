package keyfile_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/keyfile"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// pems are a key and the certificates of a chain, each as PEM.
func pems(t *testing.T, template material.Template) (key string, certs []string) {
	t.Helper()
	chain := newChain(t, template)
	text, err := material.KeyPEM(chain.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chain.Certificates {
		certs = append(certs, string(keyfile.Certificate(c.Raw)))
	}
	return string(text), certs
}

func TestOrderPEM(t *testing.T) {
	t.Parallel()
	key, c := pems(t, material.Template{Key: "ec-p256", Intermediates: 1})
	other, _ := pems(t, material.Template{Key: "rsa-2048"})
	sealed := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	leaf, between, root := c[0], c[1], c[2]
	crlf := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	bare := func(text string) string { return strings.TrimSuffix(text, "\n") }
	for name, tc := range map[string]struct{ in, want string }{
		"in order":                  {key + leaf + between + root, key + leaf + between + root},
		"turned":                    {key + root + between + leaf, key + leaf + between + root},
		"key last":                  {root + leaf + between + key, leaf + between + root + key},
		"keys between":              {root + key + leaf + other + between, leaf + key + between + other + root},
		"an encrypted key":          {sealed + root + between + leaf, sealed + leaf + between + root},
		"a key of another":          {other + root + between + leaf, other + leaf + between + root},
		"no key":                    {root + between + leaf, leaf + between + root},
		"white space":               {"\n" + root + "\n \t\n" + key + between + "\n\n" + leaf + "\n\n", "\n" + leaf + "\n \t\n" + key + between + "\n\n" + root + "\n\n"},
		"no newline at the end":     {root + between + bare(leaf), leaf + between + bare(root)},
		"CRLF":                      {crlf(key + root + between + leaf), crlf(key + leaf + between + root)},
		"CRLF in one of them":       {root + between + crlf(leaf), bare(crlf(leaf)[:len(crlf(leaf))-2]) + "\n" + between + bare(root) + "\r\n"},
		"one certificate":           {key + leaf, key + leaf},
		"no certificate":            {key, key},
		"nothing":                   {"", ""},
		"nothing but a new line":    {"\n", "\n"},
		"one certificate and a key": {leaf + key, leaf + key},
	} {
		got, whole := keyfile.OrderPEM(tc.in)
		if diff := cmp.Diff(tc.want, got); diff != "" || !whole {
			t.Errorf("%s: whole is %t (-want +got):\n%s", name, whole, diff)
		}
	}
}

// TestOrderPEMAnyOrder: wherever the certificates and keys are, the certificates end in
// one order, and each key where it was.
func TestOrderPEMAnyOrder(t *testing.T) {
	t.Parallel()
	key, certs := pems(t, material.Template{Key: "ec-p256", Intermediates: 1})
	all := append([]string{key, "\n" + key}, certs...)
	for places := range permutations(len(all)) {
		var in, want strings.Builder
		next := 0
		for _, i := range places {
			in.WriteString(all[i])
			if i < 2 {
				want.WriteString(all[i])
			} else {
				want.WriteString(certs[next])
				next++
			}
		}
		if got, whole := keyfile.OrderPEM(in.String()); got != want.String() || !whole {
			t.Errorf("%v: whole is %t, got\n%s", places, whole, got)
		}
	}
}

// TestOrderPEMLeaves: what is not understood, or is not one chain, is not touched.
func TestOrderPEMLeaves(t *testing.T) {
	t.Parallel()
	key, c := pems(t, material.Template{Key: "ec-p256", Intermediates: 1})
	turned := c[2] + c[1] + c[0]
	for name, in := range map[string]string{
		"text before":           "Bag Attributes\n" + turned,
		"text between":          c[2] + "subject=CN = shop\n" + c[1] + c[0],
		"text after":            turned + "x",
		"a NUL":                 turned + "\x00",
		"not PEM":               "s3cret",
		"a block that ends not": turned + "-----BEGIN CERTIFICATE-----\nAAAA\n",
		"a block without begin": turned + "-----END CERTIFICATE-----\n",
		"two types":             turned + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"no base64":             "-----BEGIN PRIVATE KEY-----\n****\n-----END PRIVATE KEY-----\n" + turned,
		"a broken certificate":  "-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n" + turned,
		"one without end":       c[2] + "-----BEGIN CERTIFICATE-----\nAAAA\n" + c[1] + c[0],
		"no certificate":        turned + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"missing intermediate":  key + c[2] + c[0],
		"duplicate":             key + turned + c[1],
		"on one line":           strings.ReplaceAll(turned, "\n", " "),
	} {
		if got, whole := keyfile.OrderPEM(in); got != in || whole {
			t.Errorf("%s: whole is %t, got\n%s", name, whole, got)
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	key, c := pems(t, material.Template{Key: "ec-p256"})
	for name, tc := range map[string]struct{ in, certs, others string }{
		"key first":       {key + c[0] + c[1], c[0] + c[1], key},
		"key last":        {c[1] + c[0] + key, c[1] + c[0], key},
		"keys between":    {c[1] + key + c[0] + key, c[1] + c[0], key + key},
		"texts between":   {"a\n" + c[1] + "b\n" + key + "c", c[1], key},
		"only a key":      {key, "", key},
		"only a leaf":     {c[0], c[0], ""},
		"CRLF":            {strings.ReplaceAll(c[0]+key, "\n", "\r\n"), c[0], key},
		"no PEM":          {"s3cret", "", ""},
		"nothing":         {"", "", ""},
		"no last newline": {key + strings.TrimSpace(c[0]), c[0], key},
	} {
		certs, others := keyfile.Split([]byte(tc.in))
		if !bytes.Equal(certs, []byte(tc.certs)) || !bytes.Equal(others, []byte(tc.others)) {
			t.Errorf("%s: certificates\n%s\nothers\n%s", name, certs, others)
		}
	}
}
