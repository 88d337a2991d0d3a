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

	"golang.org/x/mod/sumdb/note"

	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/policy"
)

const passphrase = "correct horse battery"

// result is what a run of the program printed, and its exit code.
type result struct {
	out, errs string
	code      int
}

// run runs the program as a person at a terminal who types these passphrases, one
// after the other and then the last again. There is no network.
func run(t testing.TB, typed []string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := Run(t.Context(), args, Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, HTTP: &http.Client{},
		Now: func() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) },
		Passphrase: func(context.Context, string, bool) ([]byte, error) {
			pass := typed[0]
			if len(typed) > 1 {
				typed = typed[1:]
			}
			return []byte(pass), nil
		},
	})
	return result{out.String(), errs.String(), code}
}

// newHome makes a custodian's folder.
func newHome(t testing.TB, id string) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), id)
	r := run(t, []string{passphrase}, "custodian", "init", "--id", id, "--name", "N "+id, "--organisation", "O "+id,
		"--work-factor", "1", "--server", "http://127.0.0.1:1", "--home", home)
	if r.code != 0 {
		t.Fatal(r.errs)
	}
	return home
}

// content is what is in a folder, by name.
func content(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func TestPassphraseFile(t *testing.T) {
	home := newHome(t, "alba")
	file := filepath.Join(t.TempDir(), "pass")
	card := func(content string, mode os.FileMode) string {
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		env := Env{Stdout: &out, Stderr: &out, Passphrase: func(context.Context, string, bool) ([]byte, error) {
			t.Error("asked although there is a file")
			return nil, errors.New("no")
		}}
		Run(t.Context(), []string{"custodian", "card", "--home", home, "--passphrase-file", file}, env)
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
		if said := card(c.content, c.mode); !strings.Contains(said, c.want) {
			t.Errorf("%q, %v: %s", c.content, c.mode, said)
		}
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	home := newHome(t, "alba")
	before := content(t, home)
	args := []string{"custodian", "init", "--id", "alba", "--name", "N", "--organisation", "O", "--work-factor", "1"}
	if r := run(t, []string{passphrase}, append(args, "--home", home)...); r.code != 1 || !strings.Contains(r.errs, "file.exists:") {
		t.Fatalf("%d %s", r.code, r.errs)
	}
	if !maps.Equal(before, content(t, home)) {
		t.Fatal("the folder changed")
	}
	parent := t.TempDir()
	fresh := filepath.Join(parent, "new")
	args = append(args, "--home", fresh)
	if r := run(t, []string{"short"}, args...); r.code != 1 || !strings.Contains(r.errs, "custodian.weak_passphrase") {
		t.Error(r.errs)
	}
	if r := run(t, []string{passphrase, passphrase + "x"}, args...); r.code != 1 || !strings.Contains(r.errs, "custodian.passphrases_differ") {
		t.Error(r.errs)
	}
	if left := content(t, parent); len(left) > 0 {
		t.Fatal("half a folder is left", left)
	}
	if r := run(t, []string{passphrase}, args...); r.code != 0 || !strings.Contains(r.out, `"ceremony"`) {
		t.Error(r.errs)
	}
	for _, bad := range [][]string{{"--work-factor", "0"}, {"--work-factor", "23"}, {"--name", ""}} {
		if r := run(t, []string{passphrase}, append(slices.Concat(args, bad), "--home", filepath.Join(parent, "other"))...); r.code != 2 {
			t.Errorf("%v: %d %s", bad, r.code, r.errs)
		}
	}
	// The default costs a second of scrypt; who asks for less says so.
	c, _, err := newRoot(&program{}).Find([]string{"custodian", "init"})
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Flags().Lookup("work-factor"); f.DefValue != "18" {
		t.Error("the default work factor is", f.DefValue)
	}
	if c.Flags().Lookup("passphrase") != nil {
		t.Error("a passphrase on the command line can be read by other processes")
	}
}

// Before a custodian takes part in a ceremony they see who is in it, and compare
// its hash with the others.
func TestPlanIsShownBeforeItIsAgreedOn(t *testing.T) {
	plan := policy.CeremonyPlan{Version: 1, Nonce: strings.Repeat("0f", 32), Threshold: 2}
	var homes []string
	for i, id := range []string{"alba", "bruno", "chidi"} {
		homes = append(homes, newHome(t, id))
		var s policy.Seat
		if err := json.Unmarshal([]byte(run(t, []string{passphrase}, "custodian", "card", "--home", homes[i]).out), &s); err != nil {
			t.Fatal(err)
		}
		s.Index = i + 1
		plan.Receivers = append(plan.Receivers, s)
	}
	raw, err := plan.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, []string{passphrase}, "custodian", "ceremony", file, "--once", "--home", homes[0])
	if r.code != 1 || !strings.Contains(r.errs, "custodian.plan_not_agreed:") || !strings.Contains(r.errs, ceremony.Hash(raw)) ||
		!strings.Contains(r.errs, "3  chidi, N chidi, O chidi") {
		t.Fatalf("%d %s", r.code, r.errs)
	}
	if r := run(t, []string{passphrase}, "custodian", "ceremony", file, "--once", "--json", "--home", homes[0]); strings.Count(r.errs, "\n") != 1 {
		t.Error("--json prints more than one object:", r.errs)
	}
}

// TestWitnessCertificate: a witness without a sound certificate serves nothing.
func TestWitnessCertificate(t *testing.T) {
	home := newHome(t, "alba")
	_, vkey, err := note.GenerateKey(nil, "penname.example/log")
	if err != nil {
		t.Fatal(err)
	}
	if r := run(t, []string{passphrase}, "custodian", "witness", "init", "--home", home, "--name", "alba.witness.example",
		"--log-origin", "penname.example/log", "--log-vkey", vkey); r.code != 0 {
		t.Fatal(r.errs)
	}
	notOne := filepath.Join(home, "witness.json")
	for _, flags := range [][]string{{"--tls-cert", notOne, "--tls-key", notOne}, {"--tls-cert", notOne}, {"--tls-key", notOne}} {
		r := run(t, []string{passphrase}, append([]string{"custodian", "witness", "--home", home, "--listen", "127.0.0.1:0"}, flags...)...)
		if r.code != 1 || r.out != "" || !strings.HasPrefix(r.errs, "escrow: custodian.bad_certificate: ") {
			t.Errorf("%s: %+v", flags, r)
		}
	}
}
