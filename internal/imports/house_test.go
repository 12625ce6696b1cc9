package imports

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every package has one comment, in doc.go, and a name that is a noun of its own.
func TestPackageComments(t *testing.T) {
	banned := []string{"util", "utils", "common", "helper", "helpers", "types", "errors", "models"}
	for _, p := range packages(t) {
		if p.ours() == "" || len(p.GoFiles) == 0 {
			continue
		}
		if slices.Contains(banned, p.Name) {
			t.Errorf("package %s has a name that says nothing", p.ImportPath)
		}
		var commented []string
		for _, file := range p.GoFiles {
			if hasComment(t, filepath.Join(p.Dir, file)) {
				commented = append(commented, file)
			}
		}
		if !slices.Equal(commented, []string{"doc.go"}) {
			t.Errorf("package %s has its comment in %q, want doc.go alone", p.ImportPath, commented)
		}
	}
}

func hasComment(t *testing.T, file string) bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return f.Doc.Text() != ""
}

// modFile is what go mod edit -json says.
type modFile struct {
	Module  struct{ Path string }
	Require []struct {
		Path     string
		Indirect bool
	}
	Tool    []struct{ Path string }
	Replace []any
	Exclude []any
}

func readMod(t *testing.T, dir string) modFile {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit in %s: %v", dir, err)
	}
	var m modFile
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Whoever imports this module must get what is tested here, so nothing is replaced;
// and every library that is used is explained.
func TestGoMod(t *testing.T) {
	doc, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"../..", "../../tools", "../../tools/lint", "../../tools/helm"} {
		m := readMod(t, dir)
		if len(m.Replace)+len(m.Exclude) > 0 {
			t.Errorf("go.mod of %s replaces or excludes modules", m.Module.Path)
		}
		for _, r := range m.Require {
			if !r.Indirect && !strings.Contains(string(doc), "`"+r.Path+"`") {
				t.Errorf("docs/dependencies.md says nothing about %s, which %s requires", r.Path, m.Module.Path)
			}
		}
		for _, tool := range m.Tool {
			if !strings.Contains(string(doc), "`"+tool.Path+"`") {
				t.Errorf("docs/dependencies.md says nothing about the tool %s", tool.Path)
			}
		}
	}
}

// What is linked into our programs has a licence that goes with ours.
func TestLicences(t *testing.T) {
	good := regexp.MustCompile(`(?i)Apache License|Permission is hereby granted, free of charge|Redistribution and use in source and binary forms|Permission to use, copy, modify, and(/or)? distribute|Mozilla Public License`)
	bad := regexp.MustCompile(`(?i)Business Source License|Server Side Public License`)
	gnu := regexp.MustCompile(`(?i)GNU (Affero |Lesser )?General Public License,? version`)
	seen := map[string]bool{}
	for _, p := range packages(t) {
		if p.Module == nil || p.Module.Main || seen[p.Module.Path] {
			continue
		}
		seen[p.Module.Path] = true
		text := licence(t, p.Module.Dir)
		// The Mozilla licence names the GNU licences as secondary ones.
		isGNU := gnu.MatchString(text) && !strings.Contains(text, "Mozilla Public License")
		if !good.MatchString(text) || bad.MatchString(text) || isGNU {
			t.Errorf("%s has no licence that is known to be good", p.Module.Path)
		}
	}
	if len(seen) == 0 {
		t.Error("no module was looked at")
	}
	own, err := os.ReadFile("../../LICENSE")
	if err != nil || !strings.Contains(string(own), "Apache License") {
		t.Errorf("LICENSE is not the Apache licence (%v)", err)
	}
}

func licence(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`(?i)^(licen[cs]e|copying)`)
	var text strings.Builder
	for _, e := range entries {
		if !name.MatchString(e.Name()) || e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text.Write(data)
	}
	return text.String()
}
