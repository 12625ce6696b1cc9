package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func (r *Release) bomPath(d *distribution) string {
	return r.path("%s-%s-%s.cdx.json", d.Name, r.Version, d.platform)
}

// writeBOMs writes a list of the modules in each binary.
func (r *Release) writeBOMs(context.Context) error {
	for i := range r.distributions {
		d := &r.distributions[i]
		binary, err := os.ReadFile(d.file)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).
			EncodeVersion(r.bom(d, sha256.Sum256(binary)), cdx.SpecVersion1_6); err != nil {
			return err
		}
		if err := writeFile(r.bomPath(d), out.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (r *Release) bom(d *distribution, sum [sha256.Size]byte) *cdx.BOM {
	root := component(module{d.info.Main.Path, r.Version}, []string{"Apache-2.0"})
	root.PackageURL += "#" + strings.TrimPrefix(d.info.Path, d.info.Main.Path+"/")
	root.Type, root.Name = cdx.ComponentTypeApplication, d.Name
	root.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	root.Properties = &[]cdx.Property{{Name: "os", Value: d.platform.OS}, {Name: "arch", Value: d.platform.Arch}, {Name: "commit", Value: r.Commit}}
	var parts []cdx.Component
	var refs []string
	for _, m := range modules(d.info) {
		c := component(m, r.licences[m].ids)
		parts, refs = append(parts, c), append(refs, c.BOMRef)
	}
	bom := cdx.NewBOM()
	// A serial number has to be a UUID, and the same binary has the same one.
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-8%03x-8%03x-%x", sum[0:4], sum[4:6],
		uint16(sum[6]&0xf)<<8|uint16(sum[7]), uint16(sum[8]&0xf)<<8|uint16(sum[9]), sum[10:16])
	bom.Metadata = &cdx.Metadata{Timestamp: r.Date.UTC().Format(time.RFC3339), Component: &root}
	bom.Components = &parts
	// Go says what is linked, not what of it asks for what.
	bom.Dependencies = &[]cdx.Dependency{{Ref: root.BOMRef, Dependencies: &refs}}
	return bom
}

func component(m module, licences []string) cdx.Component {
	ref := "pkg:golang/" + m.path + "@" + url.QueryEscape(m.version)
	var choices cdx.Licenses
	for _, id := range licences {
		choices = append(choices, cdx.LicenseChoice{License: &cdx.License{ID: id}})
	}
	return cdx.Component{
		BOMRef: ref, PackageURL: ref, Type: cdx.ComponentTypeLibrary, Name: m.path, Version: m.version, Licenses: &choices,
	}
}
