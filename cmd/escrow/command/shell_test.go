package command

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
)

// TestExitCodes: what the program says to whoever calls it wrongly, names what
// is not there, or finds nobody: one line, and a code that a script can trust.
func TestExitCodes(t *testing.T) {
	here := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		name = filepath.Join(here, name)
		if err := os.WriteFile(name, []byte("{}"), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	open, shut := file("open", 0o644), file("shut", 0o600)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<html>\n<h1>Bad gateway</h1>", http.StatusBadGateway)
	}))
	defer broken.Close()
	down := httptest.NewServer(nil)
	down.Close()
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"nosuch", 2, `there is no command "escrow nosuch"`},
		{"warant", 2, "did you mean escrow warrant?"},
		{"warrant nosuch", 2, "escrow warrant --help explains annul, answer, check, deleted, extend, file, keygen, list, new, objections, open, redeliver, rule, secrecy, sign, status"},
		{"warrant", 2, "say which: escrow warrant --help explains"},
		{"custodian nosuch", 2, `there is no command "escrow custodian nosuch"`},
		{"custodian witness nosuch", 2, `there is no command "escrow custodian witness nosuch"`},
		{"log nosuch", 2, "audit, export, list, mirror, monitor, notices, receipt, show, split, statistics"},
		{"key nosuch", 2, "new"},
		{"help nosuch", 2, `there is no command "escrow nosuch"`},
		{"help warrant nosuch", 2, `there is no command "escrow warrant nosuch"`},
		{"completion nosuch", 2, "bash, fish, powershell, zsh"},
		{"log audit --nosuch", 2, "unknown flag: --nosuch: escrow log audit --help lists the flags"},
		{"log audit x", 2, "the usage is escrow log audit [flags]; for example: escrow log audit --bundle"},
		{"warrant keygen", 2, "the usage is escrow warrant keygen FILE [flags]; for example: escrow warrant keygen requester.key"},
		{"warrant sign x", 2, "--key is needed"},
		{"warrant status x", 2, "--server is needed"},
		{"log audit", 2, "--bundle is needed"},
		{"log receipt x", 1, "(open x: no such file or directory)"},
		{"warrant keygen " + shut, 1, "file.exists: "},
		{"warrant keygen " + here + "/none/key", 1, "file.unwritable: "},
		{"warrant sign x --key " + here + "/none", 1, "file.unreadable: "},
		{"warrant sign x --key " + open, 1, "file.readable_by_others: "},
		{"warrant sign x --key " + here, 1, here + " is not a file)"},
		{"warrant sign x --key " + shut, 1, "file.not_a_key: "},
		{"log audit --bundle " + here, 1, "is a directory)"},
		{"log audit --bundle " + open, 1, "bundle."},
		{"warrant status x --server nonsense", 1, "server.insecure: "},
		{"warrant status x --server http://example.org", 1, "server.insecure: "},
		{"warrant status x --server " + down.URL, 1, "connection refused)"},
		{"warrant status x --server " + broken.URL, 1, "(status 502 without a problem document)"},
		{"log split a b", 2, "--bundle is needed"},
		{"log list", 2, "--bundle is needed"},
		{"log list --kind nosuch", 2, `there is no entry of kind "nosuch"`},
		{"log show", 2, "the usage is escrow log show N [flags]; for example: escrow log show 42"},
		{"log show x --bundle b", 2, "N is the number of an entry"},
		{"log stats --by week --bundle b", 2, "--by is year or month"},
		{"log export", 2, "the usage is escrow log export DIR [flags]; for example: escrow log export /srv/log-site"},
		{"log export x --bundle " + here + "/none", 1, "file.unreadable: "},
		{"log monitor x", 2, "say --once, as cron does, or --every 5m"},
		{"log monitor x --once", 2, "--bundle is needed"},
		{"log split a --bundle b", 2, "the usage is escrow log split A B [flags]; for example: escrow log split alba.checkpoint"},
		{"log split a b --bundle " + here + "/none", 1, "file.unreadable: "},
		{"custodian list --home " + here + "/none", 1, "custodian.bad_home: "},
		{"custodian passphrase --home " + here + "/none", 1, "custodian.bad_home: "},
		{"custodian passphrase --work-factor 23", 2, "--work-factor is between"},
		{"desk --home " + here + "/none --no-browser", 1, "custodian.bad_home: "},
		{"desk --lock-after 0s", 2, "--lock-after is at least 1s"},
		{"desk --lock-after 2h --stop-after 1h", 2, "--stop-after is not shorter"},
		{"desk clerk --lock-after 0s", 2, "--lock-after is at least 1s"},
		{"desk clerk", 2, "--bundle is needed"},
		{"desk clerk --bundle b", 2, "--server is needed"},
		{"desk clerk --bundle b --server https://x.example --key k --pkcs11 p", 2, "name two keys"},
		{"desk clerk --bundle b --server https://x.example --certificate c", 2, "--key is needed"},
		{"desk clerk --bundle b --server https://x.example --evidence " + here, 2, "--cases is needed with --evidence"},
		{"desk clerk --bundle b --server https://x.example --cases " + here + "/none", 1, "file.unreadable: "},
		{"desk clerk --bundle b --server https://x.example --evidence " + here + " --cases " + here, 1, "desk.cases_place: "},
		{"desk police --bundle " + here + "/none --server https://x.example", 1, "file.unreadable: "},
		{"", 0, ""}, {"--version", 0, ""}, {"help warrant", 0, ""}, {"completion fish", 0, ""}, {"log audit --help", 0, ""},
	} {
		for _, asJSON := range []bool{false, true} {
			args := strings.Fields(c.args)
			if asJSON {
				args = append(args, "--json")
			}
			checkRun(t, args, c.code, c.says, asJSON)
		}
	}
}

func checkRun(t *testing.T, args []string, want int, says string, asJSON bool) {
	t.Helper()
	var out, errs bytes.Buffer
	env := System()
	env.Stdin, env.Stdout, env.Stderr = strings.NewReader(""), &out, &errs
	code := Run(t.Context(), args, env)
	switch {
	case code != want:
		t.Errorf("%v: exit code %d, not %d: %s", args, code, want, errs.String())
		return
	case code == 0 && (out.Len() == 0 || errs.Len() > 0), code != 0 && out.Len() > 0:
		t.Errorf("%v: exit code %d, with %q on standard output and %q on standard error", args, code, out.String(), errs.String())
	case code == 0:
		return
	}
	said := errs.String()
	if strings.Count(said, "\n") != 1 {
		t.Errorf("%v: not one line: %s", args, said)
	}
	if asJSON {
		var p registrar.Problem
		if err := json.Unmarshal(errs.Bytes(), &p); err != nil || p.Code == "" || p.Title == "" {
			t.Errorf("%v: no JSON: %s", args, said)
		}
		said = "escrow: " + p.Error()
	}
	if !strings.HasPrefix(said, "escrow: ") || !strings.Contains(said, says) {
		t.Errorf("%v: %s does not say %q", args, said, says)
	}
}

// Ctrl-C while a passphrase is asked for, or while the registrar is slow: 130,
// as a shell says it.
func TestInterrupted(t *testing.T) {
	home := newHome(t, "alba")
	ctx, cancel := context.WithCancel(t.Context())
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { cancel() }))
	defer slow.Close()
	for _, args := range [][]string{
		{"warrant", "status", "x", "--server", slow.URL}, // the first one cancels
		{"custodian", "card", "--home", home},
	} {
		var errs bytes.Buffer
		env := System()
		env.Stdout, env.Stderr = &errs, &errs
		env.Passphrase = func(ctx context.Context, _ string, _ bool) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if code := Run(ctx, args, env); code != 130 || !strings.HasPrefix(errs.String(), "escrow: interrupted: ") {
			t.Errorf("%v: %d %s", args, code, errs.String())
		}
	}
}

// TestHelp: every command says what it does and shows an example of its own.
func TestHelp(t *testing.T) {
	n := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if n++; c.Short == "" || len(c.Commands()) == 0 && !strings.HasPrefix(c.Example, "  "+c.CommandPath()) {
			t.Errorf("%s: no short text, or no example of its own", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&program{}))
	if n < 20 {
		t.Errorf("only %d commands were looked at", n)
	}
}

// The shell offers files where a command takes one, and the reasons to decline.
func TestCompletion(t *testing.T) {
	complete := func(args ...string) string {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), append([]string{"__complete"}, args...), Env{Stdout: &out, Stderr: &errs}); code != 0 {
			t.Fatal(errs.String())
		}
		return out.String()
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"custodian", "refuse", "x", "--reason", "dis"}, "disproportionate\n"},
		{[]string{"log", ""}, "receipt\t"},
		{[]string{"log", ""}, "monitor\t"},
		{[]string{"log", "list", "--kind", "la"}, "lapsed\n"},
		{[]string{"log", "stats", "--by", "m"}, "month\n"},
		{[]string{"log", "show", ""}, ":4\n"},       // none
		{[]string{"log", "split", ""}, ":0\n"},      // files
		{[]string{"warrant", "file", ""}, ":0\n"},   // files
		{[]string{"warrant", "status", ""}, ":4\n"}, // none
		{[]string{"custodian", "list", "--home", ""}, ":16\n"},
		{[]string{"desk", "--home", ""}, ":16\n"},
		{[]string{"des"}, "desk\t"},
		{[]string{"desk", "cl"}, "clerk\t"},
		{[]string{"desk", "clerk", "--cases", ""}, ":16\n"},
	} {
		if said := complete(c.args...); !strings.Contains(said, c.want) {
			t.Errorf("%v: %q", c.args, said)
		}
	}
}

// Progress is for a person who watches: in a file or a pipe it would be noise.
func TestProgressOnlyAtATerminal(t *testing.T) {
	for _, c := range []struct{ terminal, json, want bool }{{false, false, false}, {true, false, true}, {true, true, false}} {
		var errs bytes.Buffer
		p := &program{Env: Env{Stderr: &errs, Terminal: c.terminal}, json: c.json}
		p.leaves(1, 2)
		if (errs.Len() > 0) != c.want {
			t.Errorf("%+v: %q", c, errs.String())
		}
	}
	if shell.Terminal(&bytes.Buffer{}) {
		t.Error("a buffer is no terminal")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if shell.Terminal(null) {
		t.Error("/dev/null is no terminal")
	}
}

// Typed, a new passphrase is asked for twice, as such.
func TestChangePassphraseTyped(t *testing.T) {
	home := newHome(t, "alba")
	var asked []bool
	typed := []string{passphrase, "new words here", "other words here"}
	var errs bytes.Buffer
	env := Env{Stdout: &errs, Stderr: &errs, Now: time.Now, Passphrase: func(_ context.Context, _ string, fresh bool) ([]byte, error) {
		asked = append(asked, fresh)
		return []byte(typed[len(asked)-1]), nil
	}}
	code := Run(t.Context(), []string{"custodian", "passphrase", "--home", home, "--work-factor", "1"}, env)
	if code != 1 || !strings.Contains(errs.String(), "custodian.passphrases_differ") || len(asked) != 3 || asked[0] || !asked[1] || !asked[2] {
		t.Error(code, errs.String(), asked)
	}
}

// The draft that the help of escrow warrant sign shows is one, and what is
// signed to a file is not printed as well.
func TestExampleDraftIsSigned(t *testing.T) {
	dir := t.TempDir()
	key, out := filepath.Join(dir, "court.jwk"), filepath.Join(dir, "warrant.jws")
	k, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := secretfile.Create(key, raw); err != nil {
		t.Fatal(err)
	}
	sign := func(draft string, args ...string) result {
		var said, errs bytes.Buffer
		env := Env{Stdin: strings.NewReader(draft), Stdout: &said, Stderr: &errs, Now: time.Now}
		code := Run(t.Context(), append([]string{"warrant", "sign", "-", "--key", key}, args...), env)
		return result{said.String(), errs.String(), code}
	}
	if r := sign(exampleDraft); r.code != 0 || strings.Count(r.out, ".") != 2 {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	r := sign(exampleDraft, "--out", out)
	signed, err := os.ReadFile(out)
	if err != nil || r.code != 0 || strings.Contains(r.out, string(signed)) || !strings.HasPrefix(r.out, "signed: "+out) {
		t.Errorf("%d %s%s %v", r.code, r.out, r.errs, err)
	}
	// Another warrant, which each signature makes, does not take its place by itself.
	if r := sign(exampleDraft, "--out", out); r.code != 1 || !strings.Contains(r.errs, "file.exists: ") {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	if kept, err := os.ReadFile(out); err != nil || !bytes.Equal(kept, signed) {
		t.Error("it was overwritten", err)
	}
	if r := sign(exampleDraft, "--out", out, "--force"); r.code != 0 || r.errs != "" {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	// Secrecy that is over before it begins may be meant, or a wrong year: it is said.
	over := strings.Replace(exampleDraft, "2027-01-21", "2026-01-21", 1)
	if r := sign(over); r.code != 0 || !strings.Contains(r.errs, "it ends before it begins. Whoever it names is told") || strings.Count(r.out, ".") != 2 {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	if r := sign(over, "--json"); r.code != 0 || r.errs != "" || !strings.Contains(r.out, `"note": "this warrant has no secrecy`) {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	for _, c := range []struct{ old, new, says string }{
		{`"kind"`, `"knid"`, "(line 2, character 11, knid)"},
		{`"2027-01-21T00:00:00Z"`, `"21 January"`, ", secrecy.ends)"},
		{`"fields": ["name"]`, `"fields": "name"`, "(line 12, character 13, fields)"},
		{`},`, `}`, "(at byte "},
		{`"authority": "county-court"`, `"authority": ""`, "(bad id or authority)"},
	} {
		if r := sign(strings.Replace(exampleDraft, c.old, c.new, 1)); r.code != 1 || !strings.Contains(r.errs, "warrant.bad_draft: ") || !strings.Contains(r.errs, c.says) {
			t.Errorf("%s: %d %s", c.new, r.code, r.errs)
		}
	}
}
