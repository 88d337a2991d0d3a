package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/token"
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

// What was published of a case lies in one new folder at a time, and in none once it is answered.
func TestExhibitsOfACaseAreForgotten(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	x := token.Exhibit{Type: "text/plain", Digest: sha256.Sum256([]byte("words")), Length: 5}
	alba, bruno := seat{Custodian: &custodian.Custodian{}}, seat{Custodian: &custodian.Custodian{}}
	alba.ID, bruno.ID = "alba", "bruno"
	left := func(want int) {
		t.Helper()
		if all, err := os.ReadDir(os.TempDir()); err != nil || len(all) != want {
			t.Errorf("left: %v, %v", all, err)
		}
	}
	for _, of := range []string{alba.exhibitsOf("case"), alba.exhibitsOf("case"), alba.exhibitsOf("other"), bruno.exhibitsOf("case")} {
		to := exhibitFolder{of: of}
		if err := to.save(x, []byte("words")); err != nil {
			t.Fatal(err)
		}
	}
	left(3)
	if n := forget(alba.exhibitsOf("case")); n != 1 {
		t.Errorf("removed: %d", n)
	}
	left(2)
	if err := os.Mkdir(filepath.Join(os.TempDir(), "of somebody's"), 0o700); err != nil {
		t.Fatal(err)
	}
	if n := forget("") + forget("of") + forget("exhibits"); n != 2 { // no case, or all of them
		t.Errorf("removed: %d", n)
	}
	left(1)
}

// What cannot be said, and a day that is over, is refused before a passphrase is typed: nothing
// of an answer is kept then.
func TestWordsAreCheckedBeforeTheAnswer(t *testing.T) {
	answers := filepath.Join(t.TempDir(), "answers.csv")
	if err := os.WriteFile(answers, []byte("target,answers\n1,yes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"approve", "x", "--yes", "--answers", answers, "--text", "x\u202Ey"}, 1, "statement.bad_text"},
		{[]string{"refuse", "x", "--yes", "--reason", "incomplete", "--text", "x\u202Ey"}, 1, "character 2, is U+202E"},
		{[]string{"recuse", "x", "--yes", "--reason", strings.Repeat("x", 2001)}, 1, "it has 2001 characters"},
		{[]string{"away", "--yes", "--from", "2026-03-01", "--until", "2026-03-09"}, 1, "custodian.away_before"},
	} {
		home := filepath.Join(t.TempDir(), "nobody")
		if r := run(t, []string{"no passphrase is asked for"}, append([]string{"custodian"}, append(x.args, "--home", home)...)...); r.code != x.code || !strings.Contains(r.errs, x.says) {
			t.Errorf("%v: %+v", x.args, r)
		}
	}
}
