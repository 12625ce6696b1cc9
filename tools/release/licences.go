package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// licences are those of modules.
type licences map[module]licence

type licence struct {
	ids  []string // as SPDX calls them
	text string   // all files that speak of licences, notices too
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|copyright|patents|unlicense)([.-].*)?$`)

// readLicences reads the licences of all that is linked, from Go's module cache. A module
// whose licence is not known is an error.
func (r *Release) readLicences(ctx context.Context) error {
	dirs, err := r.moduleDirs(ctx)
	if err != nil {
		return err
	}
	r.licences = licences{}
	for _, d := range r.distributions {
		for _, m := range modules(d.info) {
			if _, ok := r.licences[m]; ok {
				continue
			}
			dir, ok := dirs[m.path]
			if !ok {
				return fmt.Errorf("%s is linked, and go list does not know it", m.path)
			}
			if r.licences[m], err = readLicence(dir); err != nil {
				return fmt.Errorf("%s: %w", m.path, err)
			}
		}
	}
	return nil
}

// moduleDirs says where the linked modules are on this machine.
func (r *Release) moduleDirs(ctx context.Context) (map[string]string, error) {
	root, err := r.goCommand(ctx, []string{"env", "GOROOT"})
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{"stdlib": strings.TrimSpace(string(root))}
	var paths []string
	for _, d := range r.distributions {
		for _, m := range modules(d.info)[1:] {
			paths = append(paths, m.path)
		}
	}
	slices.Sort(paths)
	if paths = slices.Compact(paths); len(paths) == 0 {
		return dirs, nil
	}
	out, err := r.goCommand(ctx, append([]string{"list", "-m", "-json"}, paths...))
	if err != nil {
		return nil, err
	}
	list := json.NewDecoder(bytes.NewReader(out))
	for {
		var m struct{ Path, Dir string }
		err := list.Decode(&m)
		if errors.Is(err, io.EOF) {
			return dirs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		dirs[m.Path] = m.Dir
	}
}

func readLicence(dir string) (licence, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return licence{}, err
	}
	var l licence
	for _, f := range files {
		if f.IsDir() || !licenceFile.MatchString(f.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return licence{}, err
		}
		for _, match := range licensecheck.Scan(text).Match {
			// What is no licence by itself has no name of SPDX's.
			if !match.IsURL && !strings.HasPrefix(match.ID, "GooglePatent") {
				l.ids = append(l.ids, match.ID)
			}
		}
		l.text += strings.TrimSpace(string(text)) + "\n"
	}
	if len(l.ids) == 0 {
		return licence{}, fmt.Errorf("no licence is found in %s", dir)
	}
	slices.Sort(l.ids)
	l.ids = slices.Compact(l.ids)
	return l, nil
}

// notices are the licences of what is linked into programs, each text once.
func (r *Release) notices(linked ...*distribution) []byte {
	users := map[string][]string{}
	for _, d := range linked {
		for _, m := range modules(d.info) {
			users[r.licences[m].text] = append(users[r.licences[m].text], m.path+" "+m.version)
		}
	}
	type group struct{ names, text string }
	var groups []group
	for text, names := range users {
		slices.Sort(names)
		groups = append(groups, group{strings.Join(slices.Compact(names), "\n"), text})
	}
	slices.SortFunc(groups, func(a, b group) int { return strings.Compare(a.names, b.names) })
	var out bytes.Buffer
	out.WriteString("What is linked into these programs, and its licences. stdlib is the library of Go. The source of each\n" +
		"module is what Go's module proxies serve under its name and version.\n")
	for _, g := range groups {
		fmt.Fprintf(&out, "\n%s\n%s\n\n%s", strings.Repeat("=", 80), g.names, g.text)
	}
	return out.Bytes()
}

// texts are the files that go with programs wherever they go.
func (r *Release) texts(linked ...*distribution) (map[string][]byte, error) {
	own, err := os.ReadFile(filepath.Join(r.Source, "LICENSE"))
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"LICENSE": own, "THIRD-PARTY.txt": r.notices(linked...)}, nil
}
