package custodian

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
)

func TestFolderHasNoSecretInClear(t *testing.T) {
	v := newCircle(t, "alba")
	c := v.open("alba")
	for _, name := range []string{signingFile, ceremonyFile, exhibitFile} {
		secret, err := c.folder.read(name)
		if err != nil || len(secret) < 32 {
			t.Fatal(name, err)
		}
		for file, content := range v.files("alba") {
			if strings.Contains(content, string(secret[2:])) {
				t.Errorf("%s holds %s", file, name)
			}
			if !strings.HasSuffix(file, ".json") && !strings.HasPrefix(content, "age-encryption.org/v1\n") {
				t.Errorf("%s is not an age file", file)
			}
		}
	}
	// identity.age is what the age program opens with the passphrase.
	by, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := decrypt(v.read(v.path("alba", identityFile)), by); err != nil || !bytes.HasPrefix(text, []byte("AGE-SECRET-KEY-1")) {
		t.Fatal(err)
	}
	info, err := os.Stat(v.path("alba"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatal(info.Mode(), err)
	}
	// The card is the public half of them.
	card := v.card("alba", 0)
	if card.ID != "alba" || card.Organisation != "O alba" {
		t.Fatal(card)
	}
	shown, err := json.Marshal(card)
	if err != nil {
		t.Fatal(err)
	}
	public, err := c.key.Public().MarshalJSON()
	if err != nil || !sameJSON(public, card.Key) || strings.Contains(string(shown), `"d"`) {
		t.Fatal("the card shows another key, or a secret", err)
	}
}

// Each row is refused with its code, and the folder is as it was.
func TestBadFolder(t *testing.T) {
	chmod := func(name string, mode os.FileMode) func(*circle) {
		return func(v *circle) {
			if err := os.Chmod(v.path("alba", name), mode); err != nil {
				v.t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(v *circle)
		pass   string
		code   string
	}{
		"wrong passphrase":           {nil, "correct horse batterz", "custodian.wrong_passphrase"},
		"passphrase with a space":    {nil, passphrase + " ", "custodian.wrong_passphrase"},
		"no passphrase":              {nil, "", "custodian.no_passphrase"},
		"folder open to others":      {chmod(".", 0o755), passphrase, "custodian.home_open"},
		"identity readable by group": {chmod(identityFile, 0o640), passphrase, "file.readable_by_others"},
		"key readable by all":        {chmod(signingFile, 0o604), passphrase, "file.readable_by_others"},
		"identity changed": {func(v *circle) {
			b := v.read(v.path("alba", identityFile))
			b[len(b)-1] ^= 1
			v.write("alba", identityFile, b)
		}, passphrase, "custodian.wrong_passphrase"},
		"identity of another folder": {func(v *circle) { v.write("alba", identityFile, v.read(v.path("bruno", identityFile))) }, passphrase, "custodian.bad_secret"},
		"key of another folder":      {func(v *circle) { v.write("alba", signingFile, v.read(v.path("bruno", signingFile))) }, passphrase, "custodian.bad_secret"},
		"key truncated": {func(v *circle) {
			b := v.read(v.path("alba", signingFile))
			v.write("alba", signingFile, b[:len(b)-1])
		}, passphrase, "custodian.bad_secret"},
		"key in clear": {func(v *circle) {
			c := v.open("alba")
			b, err := c.folder.read(signingFile)
			if err != nil {
				v.t.Fatal(err)
			}
			v.write("alba", signingFile, b)
		}, passphrase, "custodian.bad_secret"},
		"another secret in its place": {func(v *circle) { v.write("alba", signingFile, v.read(v.path("alba", ceremonyFile))) }, passphrase, "file.not_a_key"},
		"no identity":                 {func(v *circle) { v.remove("alba", identityFile) }, passphrase, "file.unreadable"},
		"no folder":                   {func(v *circle) { v.remove("alba", "custodian.json") }, passphrase, "custodian.bad_home"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newCircle(t, "alba", "bruno")
			if c.damage != nil {
				c.damage(v)
			}
			before := v.files("alba")
			_, err := Home{Dir: v.path("alba"), Passphrase: typed(c.pass)}.Open(t.Context())
			said := v.expect(c.code, err)
			for cause := err; cause != nil; cause = errors.Unwrap(cause) {
				said += cause.Error()
			}
			if strings.Contains(said, passphrase) || strings.Contains(said, "SECRET") || strings.Contains(said, `"d"`) {
				t.Error("the refusal quotes a secret")
			}
			if !maps.Equal(before, v.files("alba")) {
				t.Error("something changed")
			}
		})
	}
}

func (v *circle) write(id, name string, b []byte) {
	v.t.Helper()
	if err := os.WriteFile(v.path(id, name), b, 0o600); err != nil {
		v.t.Fatal(err)
	}
}

func (v *circle) remove(id, name string) {
	v.t.Helper()
	if err := os.Remove(v.path(id, name)); err != nil {
		v.t.Fatal(err)
	}
}

// TestChangePassphrase: the new one opens the folder and the old one does not;
// whatever is refused or fails changes nothing.
func TestChangePassphrase(t *testing.T) {
	const next = "a lamp in the northern window"
	v := newCircle(t, "alba")
	file := func(name, pass string) string {
		if err := os.WriteFile(v.path(name), []byte(pass+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return v.path(name)
	}
	oldFile, newFile := file("old.txt", passphrase), file("new.txt", next)
	change := func(d disk, old, next string) error {
		h := Home{Dir: v.path("alba"), Passphrase: PassphraseFile(old), disk: d}
		return h.ChangePassphrase(t.Context(), PassphraseFile(next), 1)
	}
	before := v.files("alba")
	for code, files := range map[string][2]string{
		"custodian.wrong_passphrase": {newFile, newFile},
		"custodian.weak_passphrase":  {oldFile, file("short.txt", "short")},
		"custodian.no_passphrase":    {oldFile, file("empty.txt", "")},
		"file.unreadable":            {oldFile, v.path("none")},
	} {
		v.expect(code, change(nil, files[0], files[1]))
	}
	if err := change(brokenDisk{plainDisk{}}, oldFile, newFile); err == nil {
		t.Error("the disk is full, and nobody says so")
	}
	if err := os.Remove(v.path("alba", identityFile+".new")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if !maps.Equal(before, v.files("alba")) {
		t.Fatal("what was refused changed the folder")
	}

	if err := change(nil, oldFile, newFile); err != nil {
		t.Fatal(err)
	}
	after := v.files("alba")
	for name := range after {
		if before[name] == "" {
			t.Errorf("%s is left behind", name)
		}
		if (after[name] == before[name]) == (name == identityFile) {
			t.Errorf("%s: only %s changes", name, identityFile)
		}
	}
	info, err := os.Stat(v.path("alba", identityFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	for pass, want := range map[string]bool{passphrase: false, next: true} {
		by, err := age.NewScryptIdentity(pass)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decrypt(v.read(v.path("alba", identityFile)), by); (err == nil) != want {
			t.Errorf("%q opens it: %v", pass, err == nil)
		}
	}
}

// brokenDisk writes new files and puts none in its place.
type brokenDisk struct{ disk }

func (brokenDisk) Rename(string, string) error { return secretfile.ErrUnwritable }

// I1: a folder opens with its passphrase however a file or a keyboard spells it, and
// with one that it was made with before there was one form for all.
func TestFoundI1APassphraseIsOneHoweverItIsSpelled(t *testing.T) {
	typed := func(pass string) Passphrase {
		return func(context.Context, string, bool) ([]byte, error) { return []byte(pass), nil }
	}
	open := func(dir string, pass string) error {
		_, err := Home{Dir: dir, Passphrase: typed(pass)}.unlock(t.Context())
		return err
	}
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := (Home{Dir: dir, Passphrase: typed("correct horse Jos\u00e9\r\n")}).Create(t.Context(), Identity{ID: "alba", Name: "N", Organisation: "O"}, 1); err != nil {
		t.Fatal(err)
	}
	for _, spelling := range []string{"correct horse Jos\u00e9", "correct horse Jos\u00e9\n", "correct horse Jose\u0301", "\ufeffcorrect horse Jos\u00e9\r\n", "correct\u00a0horse Jos\u00e9"} {
		if err := open(dir, spelling); err != nil {
			t.Errorf("%q: %v", spelling, err)
		}
	}
	for _, other := range []string{"correct horse jos\u00e9", "correct horse Jose", "correct horse Jos\u00e9\n\n"} {
		if err := open(dir, other); !errors.Is(err, ErrPassphrase) {
			t.Errorf("%q: %v", other, err)
		}
	}
	for before, now := range map[string]string{
		"correct horse Jose\u0301": "correct horse Jose\u0301", // as the keyboard of another system
		"correct horse\r":          "correct horse\n",          // a file from it
		"a\ttab and a horse":       "a\ttab and a horse\n",
	} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := newFolder(dir, []byte(before), 1, osDisk{}); err != nil {
			t.Fatal(err)
		}
		if err := open(dir, now); err != nil {
			t.Errorf("a folder of before, %q: %v", before, err)
		}
	}
	if _, err := (Home{Dir: filepath.Join(t.TempDir(), "no"), Passphrase: typed("a\ttab and a horse")}).Create(t.Context(), Identity{ID: "alba", Name: "N", Organisation: "O"}, 1); !errors.Is(err, ErrPassphraseText) {
		t.Error(err)
	}
}

// A folder of before has no key for exhibits until a card is made, which keeps it then.
func TestAFolderGetsAKeyForExhibitsOnce(t *testing.T) {
	v := newCircle(t, "alba")
	before := v.card("alba", 0).Recipient
	if _, err := document.ParseRecipient(before); err != nil {
		t.Fatal(err)
	}
	if again := v.card("alba", 0).Recipient; again != before {
		t.Error("another key on the second card")
	}
	c := v.open("alba")
	identity, err := c.exhibitIdentity()
	if err != nil {
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	if err := exhibit.Seal(&sealed, []string{before}, strings.NewReader("words")); err != nil {
		t.Fatal(err)
	}
	opened, err := exhibit.Open(&sealed, identity)
	if err != nil {
		t.Fatal(err)
	}
	if words, err := io.ReadAll(opened); err != nil || string(words) != "words" {
		t.Error(string(words), err)
	}
	if err := os.Remove(v.path("alba", exhibitFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.exhibitIdentity(); !errors.Is(err, ErrNoExhibitKey) {
		t.Error(err)
	}
	made := v.card("alba", 0).Recipient
	if _, err := document.ParseRecipient(made); err != nil || made == before {
		t.Error("a lost key came back, or none was made", err)
	}
}
