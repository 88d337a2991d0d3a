package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/penname/penname/policy"
)

func TestFolderHasNoSecretInClear(t *testing.T) {
	v := newVillage(t, "alba")
	c := v.open("alba")
	for _, name := range []string{signingFile, ceremonyFile} {
		secret, err := c.read(name)
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
	var card policy.Seat
	if err := json.Unmarshal([]byte(v.ok("alba", "card")), &card); err != nil || card.ID != "alba" || card.Organisation != "O alba" {
		t.Fatal(card, err)
	}
	public, err := c.key.Public().MarshalJSON()
	if err != nil || !sameJSON(public, card.Key) || strings.Contains(v.ok("alba", "card"), `"d"`) {
		t.Fatal("the card shows another key, or a secret", err)
	}
}

// Each row is refused with its code, and the folder is as it was.
func TestBadFolder(t *testing.T) {
	chmod := func(name string, mode os.FileMode) func(*village) {
		return func(v *village) {
			if err := os.Chmod(v.path("alba", name), mode); err != nil {
				v.t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(v *village)
		pass   string
		code   string
	}{
		"wrong passphrase":           {nil, "correct horse batterz", "custodian.wrong_passphrase"},
		"passphrase with a space":    {nil, passphrase + " ", "custodian.wrong_passphrase"},
		"no passphrase":              {nil, "", "custodian.no_passphrase"},
		"folder open to others":      {chmod(".", 0o755), passphrase, "custodian.home_open"},
		"identity readable by group": {chmod(identityFile, 0o640), passphrase, "file.readable_by_others"},
		"key readable by all":        {chmod(signingFile, 0o604), passphrase, "file.readable_by_others"},
		"identity changed": {func(v *village) {
			b := v.read(v.path("alba", identityFile))
			b[len(b)-1] ^= 1
			v.write("alba", identityFile, b)
		}, passphrase, "custodian.wrong_passphrase"},
		"identity of another folder": {func(v *village) { v.write("alba", identityFile, v.read(v.path("bruno", identityFile))) }, passphrase, "custodian.bad_secret"},
		"key of another folder":      {func(v *village) { v.write("alba", signingFile, v.read(v.path("bruno", signingFile))) }, passphrase, "custodian.bad_secret"},
		"key truncated": {func(v *village) {
			b := v.read(v.path("alba", signingFile))
			v.write("alba", signingFile, b[:len(b)-1])
		}, passphrase, "custodian.bad_secret"},
		"key in clear": {func(v *village) {
			c := v.open("alba")
			b, err := c.read(signingFile)
			if err != nil {
				v.t.Fatal(err)
			}
			v.write("alba", signingFile, b)
		}, passphrase, "custodian.bad_secret"},
		"another secret in its place": {func(v *village) { v.write("alba", signingFile, v.read(v.path("alba", ceremonyFile))) }, passphrase, "file.not_a_key"},
		"no identity":                 {func(v *village) { v.remove("alba", identityFile) }, passphrase, "file.unreadable"},
		"no folder":                   {func(v *village) { v.remove("alba", "custodian.json") }, passphrase, "custodian.bad_home"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVillage(t, "alba", "bruno")
			if c.damage != nil {
				c.damage(v)
			}
			before := v.files("alba")
			for _, args := range [][]string{{"card"}, {"list"}} {
				var errs bytes.Buffer
				p := &program{Env: Env{Stdout: &errs, Stderr: &errs, HTTP: &http.Client{Transport: v.board}, Now: time.Now,
					Passphrase: func(context.Context, string, bool) ([]byte, error) { return []byte(c.pass), nil }}}
				code := p.run(t.Context(), slices.Concat([]string{"custodian"}, args, []string{"--home", v.path("alba")}))
				if code != 1 || !strings.Contains(errs.String(), c.code+":") {
					t.Errorf("%v: %d %s", args, code, errs.String())
				}
				if strings.Contains(errs.String(), passphrase) || strings.Contains(errs.String(), "SECRET") || strings.Contains(errs.String(), `"d"`) {
					t.Error("the refusal quotes a secret")
				}
			}
			if !maps.Equal(before, v.files("alba")) {
				t.Error("something changed")
			}
		})
	}
}

func (v *village) write(id, name string, b []byte) {
	v.t.Helper()
	if err := os.WriteFile(v.path(id, name), b, 0o600); err != nil {
		v.t.Fatal(err)
	}
}

func (v *village) remove(id, name string) {
	v.t.Helper()
	if err := os.Remove(v.path(id, name)); err != nil {
		v.t.Fatal(err)
	}
}

func TestPassphraseFile(t *testing.T) {
	v := newVillage(t, "alba")
	file := v.path("pass")
	run := func(content string, mode os.FileMode) string {
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		p := &program{Env: Env{Stdout: &out, Stderr: &out, Passphrase: func(context.Context, string, bool) ([]byte, error) {
			t.Error("asked although there is a file")
			return nil, errors.New("no")
		}}}
		p.run(t.Context(), []string{"custodian", "card", "--home", v.path("alba"), "--passphrase-file", file})
		return out.String()
	}
	for _, c := range []struct {
		content string
		mode    os.FileMode
		want    string
	}{
		{passphrase + "\n", 0o600, `"id": "alba"`},
		{passphrase, 0o400, `"id": "alba"`},
		{passphrase, 0o644, "file.readable_by_others"},
		{"", 0o600, "custodian.no_passphrase"},
		{"\n", 0o600, "custodian.no_passphrase"},
		{passphrase + "\n\n", 0o600, "custodian.wrong_passphrase"},
	} {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		if said := run(c.content, c.mode); !strings.Contains(said, c.want) {
			t.Errorf("%q, %v: %s", c.content, c.mode, said)
		}
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	v := newVillage(t, "alba")
	before := v.files("alba")
	args := []string{"--id", "alba", "--name", "N", "--organisation", "O", "--work-factor", "1"}
	v.refused("file.exists", "alba", append([]string{"init"}, args...)...)
	if !maps.Equal(before, v.files("alba")) {
		t.Fatal("the folder changed")
	}
	init := func(pass ...string) string {
		var errs bytes.Buffer
		p := &program{Env: Env{Stdout: &errs, Stderr: &errs, Passphrase: func(context.Context, string, bool) ([]byte, error) {
			next := pass[0]
			pass = append(pass[1:], next)
			return []byte(next), nil
		}}}
		p.run(t.Context(), slices.Concat([]string{"custodian", "init", "--home", v.path("new")}, args))
		return errs.String()
	}
	if said := init("short"); !strings.Contains(said, "custodian.weak_passphrase") {
		t.Error(said)
	}
	if said := init(passphrase, passphrase+"x"); !strings.Contains(said, "custodian.passphrases_differ") {
		t.Error(said)
	}
	if leftovers, err := filepath.Glob(v.path(".penname-*")); err != nil || len(leftovers) > 0 || exists(v.path("new")) {
		t.Fatal("half a folder is left", leftovers, err)
	}
	if said := init(passphrase); !strings.Contains(said, `"ceremony"`) {
		t.Error(said)
	}
	for _, bad := range [][]string{{"--work-factor", "0"}, {"--work-factor", "23"}, {"--name", ""}} {
		if r := v.run("other", nil, slices.Concat([]string{"init"}, args, bad)...); r.code != 2 {
			t.Errorf("%v: %d %s", bad, r.code, r.errs)
		}
	}
	// The default costs a second of scrypt; who asks for less says so.
	c := (&program{}).custodianInit(new(string))
	if f := c.Flags().Lookup("work-factor"); f.DefValue != "18" {
		t.Error("the default work factor is", f.DefValue)
	}
	if c.Flags().Lookup("passphrase") != nil {
		t.Error("a passphrase on the command line can be read by other processes")
	}
}
