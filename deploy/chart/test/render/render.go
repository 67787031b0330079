// Package render renders the chart as helm does, and decodes what comes out.
package render

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Release is the name under which the chart is rendered, and Namespace the place.
const (
	Release   = "gas"
	Namespace = "restore"
)

// Chart returns the folder of the chart. It is found from the folder of a test in this module.
func Chart() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		chart := filepath.Join(dir, "gas")
		if _, err := os.Stat(filepath.Join(chart, "Chart.yaml")); err == nil {
			return chart, nil
		}
	}
	return "", errors.New("the chart is not above this folder")
}

// Values reads a file of values: ci/NAME.yaml in the chart.
func Values(name string) (map[string]any, error) {
	chart, err := Chart()
	if err != nil {
		return nil, err
	}
	return chartutil.ReadValuesFile(filepath.Join(chart, "ci", name+".yaml"))
}

// Sets returns the names of all files of values in ci.
func Sets() ([]string, error) {
	chart, err := Chart()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(chart, "ci", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no values in ci: %w", err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
	}
	return names, nil
}

// Document is one object that the chart made.
type Document struct {
	// File is the template.
	File string
	YAML []byte
}

// All renders the chart with these values, checked by its schema. NOTES.txt is a document too.
func All(values map[string]any) ([]Document, error) {
	dir, err := Chart()
	if err != nil {
		return nil, err
	}
	return Folder(dir, Release, values)
}

// Folder renders the chart in a folder.
func Folder(dir, release string, values map[string]any) ([]Document, error) {
	chart, err := loader.LoadDir(dir)
	if err != nil {
		return nil, err
	}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"}
	all, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: release, Namespace: Namespace, Revision: 1, IsInstall: true}, caps)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	var docs []Document
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(file, ".txt") {
			docs = append(docs, Document{file, []byte(files[file])})
			continue
		}
		r := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(files[file])))
		for {
			doc, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if content(doc) {
				docs = append(docs, Document{file, doc})
			}
		}
	}
	return docs, nil
}

// content reports whether a document has more than comments.
func content(doc []byte) bool {
	for line := range bytes.Lines(doc) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return true
		}
	}
	return false
}

// Objects decodes each document into the type that its kind has in the scheme. A field that the
// type does not have is an error, and so is a kind that the scheme does not know.
func Objects(docs []Document, decoder runtime.Decoder) ([]runtime.Object, error) {
	var objects []runtime.Object
	var errs []error
	for _, d := range docs {
		if strings.HasSuffix(d.File, ".txt") {
			continue
		}
		o, _, err := decoder.Decode(d.YAML, nil, nil)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w in\n%s", d.File, err, d.YAML))
			continue
		}
		objects = append(objects, o)
	}
	return objects, errors.Join(errs...)
}
