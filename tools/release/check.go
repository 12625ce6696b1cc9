package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	imagetar "github.com/google/go-containerregistry/pkg/v1/tarball"
	"sigs.k8s.io/yaml"
)

// Check looks at what is in Out, as somebody who has nothing else.
func (r *Release) Check(ctx context.Context) error {
	if err := r.checkSums(); err != nil {
		return err
	}
	binaries := map[string][]byte{} // by name and platform; all archives hold the same
	for _, a := range r.archives() {
		if err := r.checkArchive(ctx, &a, binaries); err != nil {
			return fmt.Errorf("%s: %w", a.file(), err)
		}
	}
	for i := range r.distributions {
		d := &r.distributions[i]
		if err := r.checkDistribution(d, binaries[d.key()]); err != nil {
			return fmt.Errorf("%s for %s: %w", d.Name, d.platform, err)
		}
	}
	if err := r.checkLayouts(); err != nil {
		return err
	}
	if err := r.checkManifests(); err != nil {
		return err
	}
	return r.checkChart()
}

func (d *distribution) key() string { return d.Name + " " + d.platform.String() }

// checkSums: each file has its line, and each line its file.
func (r *Release) checkSums() error {
	list, err := os.ReadFile(r.path(sums))
	if err != nil {
		return err
	}
	want := map[string]string{}
	for line := range strings.Lines(string(list)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		want[name] = sum
	}
	files, err := os.ReadDir(r.Out)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Name() == sums {
			continue
		}
		data, err := os.ReadFile(filepath.Join(r.Out, f.Name()))
		if err != nil {
			return err
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); want[f.Name()] != got {
			return fmt.Errorf("%s has the sum %s, and %s says %q", f.Name(), got, sums, want[f.Name()])
		}
		delete(want, f.Name())
	}
	if len(want) > 0 {
		return fmt.Errorf("%s names files that are not there: %q", sums, slices.Sorted(maps.Keys(want)))
	}
	return nil
}

// checkArchive: programs of the platform and the version, with their licences.
func (r *Release) checkArchive(ctx context.Context, a *archive, binaries map[string][]byte) error {
	files, err := readArchive(r.path("%s", a.file()))
	if err != nil {
		return err
	}
	for _, d := range a.contents {
		name := a.name + "/" + d.platform.exe(d.Name)
		data := files[name]
		if err := checkBinary(d, data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if other := binaries[d.key()]; other != nil && !bytes.Equal(other, data) {
			return fmt.Errorf("%s differs from that of another archive", name)
		}
		binaries[d.key()] = data
		if err := r.checkVersion(ctx, d, data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, m := range modules(d.info) {
			if !bytes.Contains(files[a.name+"/THIRD-PARTY.txt"], []byte("\n"+m.path+" "+m.version+"\n")) {
				return fmt.Errorf("THIRD-PARTY.txt says nothing about %s %s", m.path, m.version)
			}
		}
	}
	if len(files) != len(a.contents)+2 || len(files[a.name+"/LICENSE"]) == 0 {
		return fmt.Errorf("it holds %q", slices.Sorted(maps.Keys(files)))
	}
	return nil
}

func readArchive(path string) (map[string][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	if !strings.HasSuffix(path, ".zip") {
		var files []file
		files, err = untar(data)
		for _, f := range files {
			out[f.name] = f.data
		}
		return out, err
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	for _, f := range r.File {
		content, err := f.Open()
		if err != nil {
			return nil, err
		}
		if out[f.Name], err = io.ReadAll(content); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// checkBinary: what Go wrote into it is what it is said to be.
func checkBinary(d *distribution, data []byte) error {
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return err
	}
	got := map[string]string{}
	for _, s := range info.Settings {
		got[s.Key] = s.Value
	}
	if got["GOOS"] != d.platform.OS || got["GOARCH"] != d.platform.Arch || got["CGO_ENABLED"] != "0" {
		return fmt.Errorf("it is for %s-%s, with CGO_ENABLED=%s", got["GOOS"], got["GOARCH"], got["CGO_ENABLED"])
	}
	return nil
}

// checkVersion asks the program, if it runs here.
func (r *Release) checkVersion(ctx context.Context, d *distribution, data []byte) error {
	if !d.platform.native() {
		return nil
	}
	path := filepath.Join(r.Out, "..", "."+d.Name+".check")
	if err := os.WriteFile(path, data, 0o700); err != nil { //nolint:gosec // it is run
		return err
	}
	defer os.Remove(path) //nolint:errcheck // a temporary file
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("--version: %w: %s", err, out)
	}
	for _, want := range []string{r.Version, r.Commit} {
		// The Azure provider prints what the existing one does, which is no commit.
		if !strings.Contains(string(out), want) && (want == r.Version || strings.Contains(strings.ToLower(string(out)), "commit")) {
			return fmt.Errorf("--version says %q, and not %s", out, want)
		}
	}
	return nil
}

// checkDistribution: the list of modules is that of the binary, and the image holds it.
func (r *Release) checkDistribution(d *distribution, binary []byte) error {
	if err := r.checkBOM(d, binary); err != nil {
		return err
	}
	if d.Entrypoint == "" {
		return nil
	}
	img, err := imagetar.ImageFromPath(r.imagePath(d.Name, d.platform), nil)
	if err != nil {
		return err
	}
	return r.checkImage(img, d.platform.Arch, d.Entrypoint, binary)
}

func (r *Release) checkBOM(d *distribution, binary []byte) error {
	f, err := os.Open(r.bomPath(d))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	var bom cdx.BOM
	if err = cdx.NewBOMDecoder(f, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return err
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return err
	}
	listed := map[module]bool{}
	for _, c := range *bom.Components {
		listed[module{c.Name, c.Version}] = c.Licenses != nil && len(*c.Licenses) > 0
	}
	for _, m := range modules(info) {
		if !listed[m] {
			return fmt.Errorf("%s lists no %s %s with a licence", r.bomPath(d), m.path, m.version)
		}
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(binary)); (*bom.Metadata.Component.Hashes)[0].Value != sum || len(listed) != len(modules(info)) {
		return fmt.Errorf("%s is of another binary", r.bomPath(d))
	}
	return nil
}

var imageLine = regexp.MustCompile(`(?m)^\s*(?:- )?image: *"?([^"\s]+)"?$`)

// checkManifests: they name images of this release, and no others.
func (r *Release) checkManifests() error {
	overlays, err := r.overlays()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, program := range r.Programs {
		known[r.reference(program.Name)] = program.Entrypoint != ""
	}
	for _, overlay := range overlays {
		data, err := os.ReadFile(r.manifestPath(overlay))
		if err != nil {
			return err
		}
		images := imageLine.FindAllStringSubmatch(string(data), -1)
		if len(images) == 0 {
			return fmt.Errorf("%s names no image", r.manifestPath(overlay))
		}
		for _, image := range images {
			if !known[image[1]] {
				return fmt.Errorf("%s names %s, which is no image of this release", r.manifestPath(overlay), image[1])
			}
		}
	}
	return nil
}

// checkChart: the package has the versions, and names the images.
func (r *Release) checkChart() error {
	if _, err := os.Stat(filepath.Join(r.Source, "charts", r.Suite)); err != nil {
		return nil //nolint:nilerr // there is no chart
	}
	files, err := readArchive(r.chartPath())
	if err != nil {
		return err
	}
	var about struct{ Version, AppVersion string } // a commit of digits alone is in quotes
	if err := yaml.Unmarshal(files[r.Suite+"/Chart.yaml"], &about); err != nil {
		return fmt.Errorf("%s: Chart.yaml: %w", r.chartPath(), err)
	}
	if about.Version != r.chartVersion() || about.AppVersion != r.Version {
		return fmt.Errorf("%s: Chart.yaml has the versions %+v, want %s and %s", r.chartPath(), about, r.chartVersion(), r.Version)
	}
	if !bytes.Contains(files[r.Suite+"/values.yaml"], []byte("repository: "+r.Registry+"/")) {
		return fmt.Errorf("%s: the values name no image of %s", r.chartPath(), r.Registry)
	}
	return nil
}
