package keyfile_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// make writes the golden files. What is expected is what openssl reads from the file,
// and, in the right order, what it makes of the certificates as they were signed.
func (g *golden) make(t *testing.T) {
	t.Helper()
	chain, err := g.chain()
	if err != nil {
		t.Fatal(err)
	}
	inFile, err := chain.Ordered(g.places...)
	if err != nil {
		t.Fatal(err)
	}
	if g.keyless {
		inFile = inFile.WithoutKey()
	}
	file, err := g.write(t, inFile)
	if err != nil {
		t.Fatal(err)
	}
	g.put(t, ".pfx", append([]byte(base64.StdEncoding.EncodeToString(file)), '\n'))
	if g.fails != "" {
		return
	}
	keys := blocks(t, openssl(t, file, "pkcs12", "-legacy", "-passin", "pass:", "-noenc", "-nocerts"), "pkey")
	certs := blocks(t, openssl(t, file, "pkcs12", "-legacy", "-passin", "pass:", "-nokeys"), "x509")
	plain := append(bytes.Clone(keys), certs...)
	g.put(t, ".pem", plain)
	ordered := bytes.Clone(keys)
	for _, i := range g.ordered {
		ordered = append(ordered, openssl(t, chain.Certificates[i].Raw, "x509", "-inform", "DER")...)
	}
	if g.ordered != nil && !bytes.Equal(ordered, plain) {
		g.put(t, ".ordered.pem", ordered)
	}
}

func (g *golden) write(t *testing.T, chain material.Chain) ([]byte, error) {
	t.Helper()
	if g.openssl {
		return chain.OpenSSLPFX(t.Context(), g.by, g.password, g.more...)
	}
	return chain.PFX(g.by, g.password)
}

func (g *golden) put(t *testing.T, ending string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("testdata", g.name+ending), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// blocks has openssl write each block of a text anew, without what stands between them.
func blocks(t *testing.T, text []byte, command string) (out []byte) {
	t.Helper()
	for _, part := range strings.SplitAfter(string(text), "-----END ") {
		if _, block, ok := strings.Cut(part, "-----BEGIN "); ok {
			kind, _, _ := strings.Cut(block, "-----")
			out = append(out, openssl(t, []byte("-----BEGIN "+block+kind+"-----\n"), command)...)
		}
	}
	return out
}
