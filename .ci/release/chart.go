package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

var chartVersion = regexp.MustCompile(`(?m)^version: .*$`)

// chart packs the chart as Helm does, of the release's version.
func (r *release) chart() (err error) {
	f, err := os.Create(filepath.Join(r.out, "penname-"+r.plain()+".tgz"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	packed := gzip.NewWriter(f)
	w := tar.NewWriter(packed)
	const from = "deploy/helm/penname"
	err = filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if filepath.Base(name) == "Chart.yaml" {
			b = chartVersion.ReplaceAll(b, fmt.Appendf(nil, "version: %s\nappVersion: %s", r.plain(), r.version))
		}
		if err := w.WriteHeader(&tar.Header{Name: "penname" + name[len(from):], Mode: 0o644, Size: int64(len(b)), ModTime: r.at, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	return errors.Join(err, w.Close(), packed.Close())
}
