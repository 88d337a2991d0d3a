package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
)

// Only a registrar says that an exhibit is missing, and only by that code.
func TestOnlyTheRegistrarSaysMissing(t *testing.T) {
	if err := missing(&registrar.Problem{Code: "exhibit.not_stored", Status: 404}); !errors.Is(err, exhibit.ErrMissing) {
		t.Error(err)
	}
	for _, other := range []error{nil, context.Canceled, registrar.ErrUnreachable.Because(context.Canceled), &registrar.Problem{Code: "http.not_found", Status: 404}, &registrar.Problem{Status: 503}} {
		if err := missing(other); !errors.Is(err, other) || errors.Is(err, exhibit.ErrMissing) {
			t.Error(other, err)
		}
	}
}

// What was published never gets into the custodian's folder, of which there are backups: by
// no name, and there is no passphrase to ask for before that is said.
func TestExhibitsStayOutOfTheCustodiansFolder(t *testing.T) {
	dir := t.TempDir()
	home := filepath.Join(dir, "alba")
	if err := os.MkdirAll(filepath.Join(home, "reviews"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": home, "inner": filepath.Join(home, "reviews")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for folder, want := range map[string]bool{
		"alba": true, "alba/": true, "alba/new/one": true, "alba/reviews": true, "x/../alba/new": true, "link": true, "link/new": true, "inner/new": true,
		"alba2": false, "exhibits/alba": false, "alba/../exhibits": false, ".": false,
	} {
		if within(dir+"/"+folder, home) != want {
			t.Error(folder, !want)
		}
	}
	r := run(t, []string{"no passphrase is asked for"}, "custodian", "review", "x", "--home", home, "--exhibits-to", dir+"/link/new")
	if r.code != 2 || !strings.Contains(r.errs, "--exhibits-to") {
		t.Error(r)
	}
}
