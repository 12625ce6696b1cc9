package azure

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/internal/azuretest/material"
	"github.com/strongroom/strongroom/provider"
)

// objectOf parses one object as a class has it.
func objectOf(pairs ...string) (*azureclass.Object, error) {
	entry := "objectName: db"
	for i := 0; i+1 < len(pairs); i += 2 {
		entry += fmt.Sprintf(", %s: %q", pairs[i], pairs[i+1])
	}
	class, err := azureclass.Parse(map[string]string{
		"keyvaultName": "shop", "tenantID": tenant, "usePodIdentity": "true",
		"objects": "array:\n- |\n  {" + entry + "}\n",
	})
	if err != nil {
		return nil, err
	}
	if err := class.ParseObjects(); err != nil {
		return nil, err
	}
	return &class.Objects[0], nil
}

func object(t *testing.T, pairs ...string) *azureclass.Object {
	t.Helper()
	o, err := objectOf(pairs...)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// stuff is a certificate in all the forms that a vault gives it in.
type stuff struct {
	chain                 material.Chain
	key                   string
	certs                 []string // as PEM, leaf first
	pem, pfx              bundle   // secrets of certificates; out of order
	plain, public, cert   bundle
	pfxText, publicText   string
	orderedText, fileText string // what becomes of the PKCS#12 file
}

func newStuff(t *testing.T) *stuff {
	t.Helper()
	chain, err := material.NewChain(material.Template{Name: "shop.test", Key: "ec-p256", Intermediates: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := &stuff{chain: chain}
	for i := range chain.Certificates {
		one := material.Chain{Certificates: chain.Certificates[i : i+1]}
		s.certs = append(s.certs, text(t, one))
	}
	s.key = text(t, material.Chain{Key: chain.Key})
	turned, err := chain.Ordered(2, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.fileText = text(t, turned)
	s.orderedText = text(t, chain)
	file, err := turned.PFX(material.AES, "")
	if err != nil {
		t.Fatal(err)
	}
	s.pfxText = base64.StdEncoding.EncodeToString(file)
	s.pem = bundle{version: "1", value: s.fileText, contentType: typePEM, backed: true}
	s.pfx = bundle{version: "1", value: s.pfxText, contentType: typePKCS12, backed: true}
	s.plain = bundle{version: "1", value: "v1"}
	s.cert = bundle{version: "1", cert: chain.Certificates[0].Raw}
	s.public = bundle{version: "1", key: ecKey(t, chain.Key)}
	s.publicText = string(mustPublic(t, s.public.key))
	return s
}

func text(t *testing.T, chain material.Chain) string {
	t.Helper()
	made, err := chain.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return string(made)
}

const (
	refused = "(refused in the class)"
	wrong   = "(not encoded so)"
)

// TestMatrix: every type, format and encoding, in both letter cases, of everything that
// a vault can hold. (azure-contract 17.7)
func TestMatrix(t *testing.T) {
	t.Parallel()
	s := newStuff(t)
	file, err := base64.StdEncoding.DecodeString(s.pfxText)
	if err != nil {
		t.Fatal(err)
	}
	in64, in16 := &bundle{value: "djE="}, &bundle{value: "763121"}
	for _, row := range []struct {
		kind, format         string
		what                 *bundle
		plain, base64, hexed string
	}{
		{"secret", "pem", &s.plain, "v1", wrong, wrong},
		{"secret", "pfx", &s.plain, "v1", wrong, wrong},
		{"secret", "pem", in64, "djE=", "v1", wrong},
		{"secret", "pfx", in64, "djE=", "v1", wrong},
		{"secret", "pem", in16, "763121", wrong, "v1!"},
		{"secret", "pfx", in16, "763121", wrong, "v1!"},
		{"secret", "pem", &s.pem, s.fileText, wrong, wrong},
		{"secret", "pfx", &s.pem, s.fileText, wrong, wrong},
		{"secret", "pem", &s.pfx, s.orderedText, wrong, wrong},
		{"secret", "pfx", &s.pfx, s.pfxText, string(file), wrong},
		{"key", "pem", &s.public, s.publicText, refused, refused},
		{"key", "pfx", &s.public, refused, refused, refused},
		{"cert", "pem", &s.cert, s.certs[0], refused, refused},
		{"cert", "pfx", &s.cert, refused, refused, refused},
	} {
		for _, format := range map[string][]string{"pem": {"", "pem", "PEM"}, "pfx": {"pfx", "Pfx"}}[row.format] {
			for encoding, want := range map[string]string{
				"": row.plain, "base64": row.base64, "Base64": row.base64, "hex": row.hexed, "HEX": row.hexed,
				"utf-8": unless(row.kind == "secret", row.plain), "UTF-8": unless(row.kind == "secret", row.plain),
			} {
				got := outcome(t, row.what, "objectType", row.kind, "objectFormat", format, "objectEncoding", encoding)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s %q %q of %.20q (-want +got):\n%s", row.kind, format, encoding, row.plain, diff)
				}
			}
		}
	}
}

func unless(is bool, text string) string {
	if is {
		return text
	}
	return refused
}

// outcome is the file, or why there is none.
func outcome(t *testing.T, b *bundle, pairs ...string) string {
	t.Helper()
	o, err := objectOf(pairs...)
	if err != nil {
		return refused
	}
	files, err := (&renderer{orderChain: true}).render(o, o.File, b)
	switch {
	case err != nil && err.Error() == "the value is not "+o.Encoding+", as objectEncoding says":
		return wrong
	case err != nil:
		return err.Error()
	case len(files) != 1 || files[0].path != "db":
		return fmt.Sprintf("%d files", len(files))
	}
	return string(files[0].content)
}

// files are paths and contents, for comparing.
func asPairs(files []file) (pairs [][2]string) {
	for _, f := range files {
		pairs = append(pairs, [2]string{f.path, string(f.content)})
	}
	return pairs
}

// TestSeparateFiles: what there is beside the file of a certificate's secret, in which
// order. (azure-contract 5.12-5.14, 17.11)
func TestSeparateFiles(t *testing.T) {
	t.Parallel()
	s := newStuff(t)
	fileCerts, ordered := s.certs[2]+s.certs[0]+s.certs[1], s.certs[0]+s.certs[1]+s.certs[2]
	onlyKey, onlyCert, nothing := s.pem, s.pem, s.pem
	onlyKey.value, onlyCert.value, nothing.value = s.key, s.certs[0], "s3cret"
	keyless, err := s.chain.WithoutKey().PFX(material.TripleDES, "")
	if err != nil {
		t.Fatal(err)
	}
	noKey := s.pfx
	noKey.value = base64.StdEncoding.EncodeToString(keyless)
	secret := []string{"objectType", "secret", "objectAlias", "tls/web"}
	for name, c := range map[string]struct {
		object []string
		what   *bundle
		want   [][2]string
	}{
		"PEM":           {secret, &s.pem, [][2]string{{"tls/web.crt", fileCerts}, {"tls/web.key", s.key}, {"tls/web", s.fileText}}},
		"PKCS#12":       {secret, &s.pfx, [][2]string{{"tls/web.crt", ordered}, {"tls/web.key", s.key}, {"tls/web", s.orderedText}}},
		"only key":      {secret, &onlyKey, [][2]string{{"tls/web.crt", ""}, {"tls/web.key", s.key}, {"tls/web", s.key}}},
		"only cert":     {secret, &onlyCert, [][2]string{{"tls/web.crt", s.certs[0]}, {"tls/web.key", ""}, {"tls/web", s.certs[0]}}},
		"PFX, no key":   {secret, &noKey, [][2]string{{"tls/web.crt", ordered}, {"tls/web.key", ""}, {"tls/web", ordered}}},
		"no PEM at all": {secret, &nothing, [][2]string{{"tls/web.crt", ""}, {"tls/web.key", ""}, {"tls/web", "s3cret"}}},
		"PFX as it is":  {append(secret, "objectFormat", "pfx"), &s.pfx, [][2]string{{"tls/web", s.pfxText}}},
		"PEM for pfx":   {append(secret, "objectFormat", "pfx"), &s.pem, [][2]string{{"tls/web.crt", fileCerts}, {"tls/web.key", s.key}, {"tls/web", s.fileText}}},
		"not backed":    {secret, &bundle{value: s.fileText, contentType: typePEM}, [][2]string{{"tls/web", s.fileText}}},
		"a certificate": {[]string{"objectType", "cert"}, &s.cert, [][2]string{{"db", s.certs[0]}}},
		"a public key":  {[]string{"objectType", "key"}, &s.public, [][2]string{{"db", s.publicText}}},
		"a file of a history": {
			secret, &s.pem,
			[][2]string{{"tls/web/1.crt", fileCerts}, {"tls/web/1.key", s.key}, {"tls/web/1", s.fileText}},
		},
	} {
		o := object(t, c.object...)
		path := o.File
		if strings.Contains(name, "history") {
			path += "/1"
		}
		files, failed := (&renderer{orderChain: true, separate: true}).render(o, path, c.what)
		if diff := cmp.Diff(c.want, asPairs(files)); failed != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, failed, diff)
		}
	}
	_, err = (&renderer{separate: true}).render(object(t, "objectType", "secret", "objectEncoding", "base64"), "db", &s.pem)
	if err == nil || err.Error() != "the value is not base64, as objectEncoding says" {
		t.Errorf("PEM as base64: %v", err)
	}
}

// TestMountSeparate: all files of an object have its id and version, and its mode.
func TestMountSeparate(t *testing.T) {
	t.Parallel()
	s := newStuff(t)
	r := &renderer{orderChain: true, separate: true}
	o := object(t, "objectType", "secret", "filePermission", "0400")
	resp, err := r.files([]*part{{object: o, id: o.ID(), path: o.File, bundle: &s.pfx}}, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	version := provider.Version{ID: "secret/db", Version: "1"}
	want := &provider.Response{
		Files: []provider.File{
			{Path: "db.crt", Mode: 0o400, Contents: []byte(strings.Join(s.certs, ""))},
			{Path: "db.key", Mode: 0o400, Contents: []byte(s.key)},
			{Path: "db", Mode: 0o400, Contents: []byte(s.orderedText)},
		},
		Versions: []provider.Version{version, version, version},
	}
	if diff := cmp.Diff(want, resp); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
}

// TestOrders: which of the flags orders what, and who hears of it when it cannot be.
func TestOrders(t *testing.T) {
	t.Parallel()
	s := newStuff(t)
	broken, err := s.chain.Ordered(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	file, err := broken.PFX(material.AES, "")
	if err != nil {
		t.Fatal(err)
	}
	halfPFX, halfPEM, noPEM := s.pfx, s.pem, s.pem
	halfPFX.value, halfPEM.value, noPEM.value = base64.StdEncoding.EncodeToString(file), text(t, broken), "s3cret\n"+s.fileText
	plain := s.pem
	plain.backed = false
	for name, c := range map[string]struct {
		chain, pem bool
		what       *bundle
		want       string
		warnings   int
	}{
		"PFX, on":            {true, false, &s.pfx, s.orderedText, 0},
		"PFX, off":           {false, true, &s.pfx, s.fileText, 0},
		"PFX, no chain":      {true, false, &halfPFX, text(t, broken), 1},
		"PFX, no chain, off": {false, false, &halfPFX, text(t, broken), 0},
		"PEM, on":            {false, true, &s.pem, s.orderedText, 0},
		"PEM, off":           {true, false, &s.pem, s.fileText, 0},
		"PEM, no chain":      {false, true, &halfPEM, halfPEM.value, 1},
		"PEM, other texts":   {false, true, &noPEM, noPEM.value, 1},
		"PEM, not of a cert": {true, true, &plain, s.fileText, 0},
		"plain":              {true, true, &s.plain, "v1", 0},
	} {
		var said []string
		r := &renderer{orderChain: c.chain, orderPEM: c.pem, warn: func(text string) { said = append(said, text) }}
		files, err := r.render(object(t, "objectType", "secret"), "db", c.what)
		if diff := cmp.Diff([][2]string{{"db", c.want}}, asPairs(files)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		if len(said) != c.warnings || strings.Contains(strings.Join(said, ""), "s3cret") || c.warnings > 0 && !strings.Contains(said[0], "secret/db") {
			t.Errorf("%s: warnings %q, want %d", name, said, c.warnings)
		}
		r.warn = nil // which nobody has to hear
		if again, err := r.render(object(t, "objectType", "secret"), "db", c.what); err != nil || string(again[0].content) != c.want {
			t.Errorf("%s, without anybody to warn: %v", name, err)
		}
	}
}

// TestContentTypes: only a certificate's secret has one that matters. (azure-contract
// 5.4, 5.5, 17.8)
func TestContentTypes(t *testing.T) {
	t.Parallel()
	s := newStuff(t)
	long := strings.Repeat("ü", 100)
	for contentType, want := range map[string]string{
		typePEM: "", typePKCS12: "", "": `content type "" of`, "text/plain": `content type "text/plain" of`,
		"application/x-pem-file; charset=utf-8": "neither application/x-pem-file nor application/x-pkcs12",
		"Application/X-PEM-File":                "neither", "a\nb\x00": `content type "a\nb\x00" of`, long: `content type "` + long[:60] + `" of`,
	} {
		for _, format := range []string{"pem", "pfx"} {
			b := s.pem
			if b.contentType = contentType; contentType == typePKCS12 {
				b.value = s.pfxText
			}
			_, err := (&renderer{orderChain: true, separate: true}).render(object(t, "objectType", "secret", "objectFormat", format), "db", &b)
			if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || provider.KindOf(err) != provider.Invalid) {
				t.Errorf("%q: error %v, want %s", contentType, err, want)
			}
			b.backed = false
			files, err := (&renderer{separate: true}).render(object(t, "objectType", "secret", "objectFormat", format), "db", &b)
			if err != nil || len(files) != 1 || string(files[0].content) != b.value {
				t.Errorf("%q, not backed: error %v, %d files", contentType, err, len(files))
			}
		}
	}
}

// TestEncodings are the edges of base64 and hex; an error shows nothing of the value.
// (azure-contract 5.17, 17.14)
func TestEncodings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ encoding, value, want string }{
		{"base64", "", ""},
		{"base64", "djE=", "v1"},
		{"base64", "dj\nE=\r\n", "v1"},
		{"base64", "djEh", "v1!"},
		{"base64", "+/+/", "\xfb\xff\xbf"},
		{"base64", "djE", wrong},
		{"base64", "djE=djE=", wrong},
		{"base64", " djE=", wrong},
		{"base64", "djE= ", wrong},
		{"base64", "-_-_", wrong},
		{"base64", "s3cret!", wrong},
		{"hex", "", ""},
		{"hex", "7631", "v1"},
		{"hex", "fFFf", "\xff\xff"},
		{"hex", "763", wrong},
		{"hex", "7631\n", wrong},
		{"hex", "0x7631", wrong},
		{"hex", "s3cret", wrong},
		{"utf-8", "\xff\x00\n", "\xff\x00\n"},
		{"", "ü", "ü"},
	} {
		if got := outcome(t, &bundle{value: c.value}, "objectType", "secret", "objectEncoding", c.encoding); got != c.want {
			t.Errorf("%q as %q: got %q, want %q", c.value, c.encoding, got, c.want)
		}
	}
}

// TestBrokenFile: the error of a file that cannot be read shows nothing of it.
func TestBrokenFile(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "s3cret", base64.StdEncoding.EncodeToString([]byte("s3cret s3cret")), "MIIB"} {
		b := &bundle{value: value, contentType: typePKCS12, backed: true}
		_, err := (&renderer{orderChain: true}).render(object(t, "objectType", "secret"), "db", b)
		if err == nil || provider.KindOf(err) != provider.Invalid || strings.Contains(err.Error(), "s3c") || strings.Contains(err.Error(), "MIIB") {
			t.Errorf("%q: %v", value, err)
		}
	}
}
