package vault

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/vaultclass"
)

func TestVersionVectors(t *testing.T) {
	t.Parallel()
	for want, tt := range map[string]struct{ object, content string }{
		"38DJtUBJLWG2410xtPR4QWunabzrDWbyhz4GouSMgwQ=": {
			"- {objectName: db-pass, secretPath: secret/data/app, secretKey: password}", "s3cr3t",
		},
		"0sSQwKaj2gSfbJXXUVn6OQ49BysGFbHCusIjRAa-HnY=": {
			"- {objectName: cert, secretPath: pki/issue/web, method: PUT, filePermission: 0640, secretArgs: {ttl: 1h, common_name: a.example.test}}", "{}",
		},
	} {
		got, err := versionOf([]byte(strings.Repeat("k", 32)), object(t, tt.object), []byte(tt.content))
		if err != nil || got != want {
			t.Errorf("version of %s is %s, %v; want %s", tt.object, got, err, want)
		}
	}
}

func TestVersionDependsOnEverything(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, text := range []string{
		"objectName: a, secretPath: p", "objectName: b, secretPath: p", "objectName: a, secretPath: v1/p",
		"objectName: a, secretPath: p, secretKey: k", "objectName: a, secretPath: p, method: GET",
		"objectName: a, secretPath: p, secretArgs: {}", "objectName: a, secretPath: p, filePermission: 0644",
		"objectName: a, secretPath: p, encoding: utf-8",
	} {
		for _, content := range []string{"x", "y"} {
			v, err := versionOf([]byte("key"), object(t, "- {"+text+"}"), []byte(content))
			if err != nil || seen[v] != "" {
				t.Errorf("%s with %s has the version of %s, %v", text, content, seen[v], err)
			}
			seen[v] = text
		}
	}
}

// object parses a list with one object.
func object(t testing.TB, text string) *vaultclass.Object {
	t.Helper()
	c, err := vaultclass.Parse(map[string]string{"roleName": "r", "objects": text})
	if err != nil {
		t.Fatal(err)
	}
	return &c.Objects[0]
}
