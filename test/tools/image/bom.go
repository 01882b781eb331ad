package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const bomType = "application/vnd.cyclonedx+json"

// billOfMaterials lists the programs of an image and the modules that each was built from, as Go has recorded in them.
func billOfMaterials(name string, digest v1.Hash, about description, builds []build) ([]byte, error) {
	image := cdx.Component{
		BOMRef: name + "@" + digest.String(), Type: cdx.ComponentTypeContainer, Name: name, Version: about.Version,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: digest.Hex}},
	}
	var programs []cdx.Component
	var dependencies []cdx.Dependency
	var contents []string
	libraries := map[string]cdx.Component{}
	library := func(path, version string) string {
		url := "pkg:golang/" + path + "@" + version
		libraries[url] = cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: url}
		return url
	}
	for _, b := range builds {
		for _, binary := range b.Binaries {
			info, err := buildinfo.Read(bytes.NewReader(binary.Content))
			if err != nil {
				return nil, fmt.Errorf("%s for %s: %w", binary.Name, b.Platform, err)
			}
			sum := sha256.Sum256(binary.Content)
			ref := b.Platform.String() + "/" + path.Join(binDir, binary.Name)
			programs = append(programs, cdx.Component{
				BOMRef: ref, Type: cdx.ComponentTypeApplication, Name: binary.Name, Version: about.Version,
				Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
				Properties: &[]cdx.Property{{Name: "platform", Value: b.Platform.String()}},
			})
			contents = append(contents, ref)
			modules := []string{library("std", strings.TrimPrefix(info.GoVersion, "go")), library(info.Main.Path, about.Version)}
			for _, m := range info.Deps {
				if m.Replace != nil {
					m = m.Replace
				}
				modules = append(modules, library(m.Path, m.Version))
			}
			slices.Sort(modules)
			dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &modules})
		}
	}
	contents = append(contents, library(rootsModule()))
	dependencies = append(dependencies, cdx.Dependency{Ref: image.BOMRef, Dependencies: &contents})
	for _, url := range slices.Sorted(maps.Keys(libraries)) {
		programs = append(programs, libraries[url])
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &image, Timestamp: about.Created.Format(time.RFC3339)}
	bom.Components, bom.Dependencies = &programs, &dependencies
	var out bytes.Buffer
	err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	return out.Bytes(), err
}

// rootsModule is where the roots come from: they are no program's.
func rootsModule() (path, version string) {
	path = "golang.org/x/crypto/x509roots/fallback"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				version = m.Version
			}
		}
	}
	return path, version
}
