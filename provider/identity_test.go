package provider

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func jwtOf(claims string) Token {
	return Token{Value: Secret("h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s")}
}

func TestCheckToken(t *testing.T) {
	t.Parallel()
	pod := Pod{Name: "web-0", Namespace: "shop", UID: "u1", ServiceAccount: "web"}
	const own = `"sub":"system:serviceaccount:shop:web"`
	for name, tt := range map[string]struct {
		token Token
		uid   string
		fails string // part of the error; none for success
	}{
		"its own":                {token: jwtOf(`{` + own + `,"exp":4102444800,"kubernetes.io":{"pod":{"uid":"u1"},"serviceaccount":{"uid":"s1"}}}`), uid: "s1"},
		"without claims of pods": {token: jwtOf(`{` + own + `}`)},
		"with padding":           {token: Token{Value: Secret("h." + base64.URLEncoding.EncodeToString([]byte(`{`+own+`}`)) + ".s")}},
		"expired":                {token: jwtOf(`{` + own + `,"exp":1}`), fails: "expired at 1970-01-01T00:00:01Z"},
		"expired, with a part":   {token: jwtOf(`{` + own + `,"exp":1.5e3}`), fails: "expired at"},
		"an odd end":             {token: jwtOf(`{` + own + `,"exp":1e300}`)},
		"another account":        {token: jwtOf(`{"sub":"system:serviceaccount:shop:api"}`), fails: "not one of system:serviceaccount:shop:web"},
		"another namespace":      {token: jwtOf(`{"sub":"system:serviceaccount:bank:web"}`), fails: "not one of"},
		"a longer name":          {token: jwtOf(`{"sub":"system:serviceaccount:shop:web2"}`), fails: "not one of"},
		"another pod":            {token: jwtOf(`{` + own + `,"kubernetes.io":{"pod":{"uid":"u2"}}}`), fails: "another pod than shop/web-0"},
		"no subject":             {token: jwtOf(`{}`), fails: "not one of"},
		"no JSON":                {token: jwtOf(`s3cr3t`), fails: "not a JSON web token"},
		"a list":                 {token: jwtOf(`[]`), fails: "not a JSON web token"},
		"two parts":              {token: Token{Value: "s3cr3t.s3cr3t"}, fails: "not a JSON web token"},
		"nothing":                {fails: "not a JSON web token"},
	} {
		uid, err := pod.CheckToken(tt.token)
		switch {
		case tt.fails == "" && (err != nil || uid != tt.uid):
			t.Errorf("%s: %q, %v", name, uid, err)
		case tt.fails != "" && (err == nil || KindOf(err) != Denied || !strings.Contains(err.Error(), tt.fails) || uid != ""):
			t.Errorf("%s: %q, %v", name, uid, err)
		}
	}
	told := jwtOf(`{` + own + `,"exp":4102444800}`)
	told.Expires = time.Now().Add(-time.Second)
	if _, err := pod.CheckToken(told); KindOf(err) != Denied {
		t.Errorf("what came with the token does not count: %v", err)
	}
}

// FuzzCheckToken: no token panics, none is quoted, and none counts for another account.
func FuzzCheckToken(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"system:serviceaccount:shop:web","exp":4102444800,"kubernetes.io":{"pod":{"uid":"u1"},"serviceaccount":{"uid":"s1"}}}`,
		`{"sub":"x","exp":"1"}`, `{"exp":-1e400}`, `{"kubernetes.io":[]}`, `null`, `"`, "",
	} {
		f.Add(seed)
	}
	pod := Pod{Name: "web-0", Namespace: "shop", UID: "u1", ServiceAccount: "web"}
	f.Fuzz(func(t *testing.T, claims string) {
		for _, token := range []Token{jwtOf(claims), {Value: Secret(claims)}} {
			uid, err := pod.CheckToken(token)
			if err == nil && !strings.Contains(claims, "web") && !strings.Contains(claims, `\`) {
				t.Errorf("accepted, with the UID %q: %s", uid, claims)
			}
		}
	})
}
