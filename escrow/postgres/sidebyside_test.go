package postgres

import (
	"testing"
	"testing/fstest"
)

// buildOf is a program of this source with other migrations: of those files, and those
// of this program up to a version.
func buildOf(t testing.TB, upTo int64, more map[string]string) *build {
	t.Helper()
	b := &build{migrations: fstest.MapFS{}, guards: guards, grants: grants}
	steps, err := own.steps(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if s.Version <= upTo {
			b.migrations.(fstest.MapFS)[s.Name] = &fstest.MapFile{Data: []byte(s.text)}
		}
	}
	for name, text := range more {
		b.migrations.(fstest.MapFS)[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return b
}

// migrateTo brings a database to a version, without grants.
func migrateTo(t testing.TB, admin string, version int64) {
	t.Helper()
	b := buildOf(t, version, nil)
	b.grants = ""
	if err := (&Migration{build: b}).Run(t.Context(), admin); err != nil {
		t.Fatal(err, cause(err))
	}
}
