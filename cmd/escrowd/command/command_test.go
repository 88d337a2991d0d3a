package command

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/postgres"
)

// TestExitCodes: what the operator's program says to whoever calls it wrongly,
// or names what is not there: one line, and a code that a script can trust.
func TestExitCodes(t *testing.T) {
	here := t.TempDir()
	good, open := filepath.Join(here, "owner.dsn"), filepath.Join(here, "open.dsn")
	for name, mode := range map[string]os.FileMode{good: 0o600, open: 0o644} {
		if err := os.WriteFile(name, []byte("postgres://nobody@127.0.0.1:1/x?connect_timeout=1"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"nosuch", 2, `there is no command "escrowd nosuch"`},
		{"srve", 2, "did you mean escrowd serve?"},
		{"bundle nosuch", 2, `there is no command "escrowd bundle nosuch": escrowd bundle --help explains draft, install, write`},
		{"bundle", 2, "say which: escrowd bundle --help explains draft, install, write"},
		{"vault nosuch", 2, "escrowd vault --help explains bootstrap"},
		{"vault build", 2, `there is no command "escrowd vault build"`},
		{"dev", 2, `there is no command "escrowd dev"`},
		{"log nosuch", 2, "check, keygen, reconcile"},
		{"keys nosuch", 2, "rotate"},
		{"ceremony nosuch", 2, "bundle, open, plan, publish, serve"},
		{"help nosuch", 2, `there is no command "escrowd nosuch"`},
		{"help bundle nosuch", 2, `there is no command "escrowd bundle nosuch"`},
		{"completion nosuch", 2, "bash, fish, powershell, zsh"},
		{"completion", 2, "say which"},
		{"serve --confg x", 2, "unknown flag: --confg: escrowd serve --help lists the flags"},
		{"serve now", 2, "the usage is escrowd serve [flags]; for example: escrowd serve --config"},
		{"status --client-cert x", 2, "--client-cert and --client-key go together"},
		{"status --client-key x", 2, "--client-cert and --client-key go together"},
		{"bundle install one", 2, "the usage is escrowd bundle install BUNDLE ENDORSEMENTS"},
		{"bundle install a b", 2, "--database-file is needed"},
		{"migrate", 2, "--database-file is needed"},
		{"migrate --database-file x --wait 0s", 2, "--wait has to be a second at least"},
		{"migrate --database-file x --wait -1m", 2, "--wait has to be a second at least"},
		{"platform add x --name X --redirect-uri https://x.example/,https://y.example/", 2, "--redirect-uri takes one address: give it once for each"},
		{"platform edit x --redirect-uri https://x.example/,app.example:/", 2, "--redirect-uri takes one address"},
		{"platform add x --name X --redirect-uri https://x.example/a,b", 2, "--database-file is needed"},
		{"platform add x --name X --redirect-uri https://x.example/ --kind keys", 2, "--kind keys needs --jwks or --jwks-uri"},
		{"platform add x --name X --redirect-uri https://x.example/ --kind spa --secret-sha256 0", 2, "--secret-sha256 is for a platform with a secret"},
		{"platform add x --name X --redirect-uri https://x.example/ --jwks k --secret-out s", 2, "--secret-out is for a platform with a secret"},
		{"platform add x --name X --redirect-uri https://x.example/ --kind web --jwks k", 2, "--jwks and --jwks-uri are for --kind keys and --kind api, not for web"},
		{"platform add x --name X --redirect-uri https://x.example/ --jwks k --jwks-uri https://x.example/k", 2, "--jwks and --jwks-uri: say one"},
		{"platform edit x --jwks k --jwks-uri https://x.example/k", 2, "--jwks and --jwks-uri: say one"},
		{"platform add x --name X --redirect-uri https://x.example/ --secret-sha256 0 --secret-out s", 2, "--secret-sha256 and --secret-out: say one"},
		{"platform add x --name X --kind api", 2, "--origin is needed"},
		{"platform add x --name X --kind api --redirect-uri https://x.example/", 2, "--redirect-uri is not for --kind api"},
		{"platform edit x --username=nein", 2, `invalid argument "nein" for "--username" flag: it should be true or false: escrowd platform edit --help`},
		{"platform rotate-secret x --forget-old --secret-out s", 2, "--secret-out is not for --forget-old"},
		{"platform rotate-secret x --old-until 2020-01-01", 2, "--old-until is a day that is still to come"},
		{"platform rotate-secret x --old-until 1.1.2099", 2, "--old-until is a day like 2026-12-31"},
		{"migrate --database-file " + good, 1, "database.unavailable: "},
		{"log check", 2, "--database-file is needed"},
		{"log check --database-file x --since 2026-11-01", 2, "--since is a day like 2026-11-01, and goes with --vault-audit"},
		{"log check --database-file x --vault-audit y --since November", 2, "--since is a day like 2026-11-01"},
		{"log reconcile", 2, "--from is needed"},
		{"log reconcile --from x --bundle y", 2, "--database-file is needed"},
		{"vault bootstrap", 2, "--address is needed"},
		{"vault bootstrap --address https://none.invalid --token-file none --issuing-from foo", 2, `--issuing-from: "foo" is neither an address nor a network`},
		{"vault bootstrap --address https://none.invalid --token-file none --keeping-from any,10.0.0.1", 2, `--keeping-from: "any" is neither`},
		{"vault bootstrap --address https://none.invalid --token-file none --keeping-from=", 2, "--keeping-from: no address is named"},
		{"ceremony plan", 2, "--threshold is needed"},
		{"ceremony publish 3f29", 2, "--database-file is needed"},
		{"ceremony serve", 2, "--database-file is needed"},
		{"ceremony serve --listen localhost:0", 2, "--database-file is needed"},
		{"ceremony serve --listen 0.0.0.0:0", 1, "config.bad_secret_file: "},
		{"ceremony serve --listen :0 --tls-cert none --tls-key none", 1, "config.bad_secret_file: "},
		{"migrate --database-file " + here + "/none", 1, "file.unreadable: "},
		{"migrate --database-file " + open, 1, "file.readable_by_others: "},
		{"migrate --database-file " + good, 1, "escrowd: "},
		{"bundle install /none y --database-file " + good, 1, "(open /none: no such file or directory)"},
		{"ceremony bundle /none", 1, "(open /none: no such file or directory)"},
		{"serve --config /none", 1, "config.no_file: "},
		{"serve --config " + here, 1, "config.no_file: "},
		{"keys rotate --config /none", 1, "config.no_file: "},
		{"", 0, ""}, {"--version", 0, ""}, {"help bundle", 0, ""}, {"completion bash", 0, ""}, {"bundle --help", 0, ""},
	} {
		for _, json := range []bool{false, true} {
			args := strings.Fields(c.args)
			if json {
				args = append(args, "--json")
			}
			checkRun(t, args, c.code, c.says, json)
		}
	}
}

func checkRun(t *testing.T, args []string, want int, says string, asJSON bool) {
	t.Helper()
	var out, errs bytes.Buffer
	code := Run(t.Context(), args, &out, &errs)
	if code != want {
		t.Errorf("%v: exit code %d, not %d: %s", args, code, want, errs.String())
		return
	}
	if (code == 0) != (errs.Len() == 0) || (code != 0) != (out.Len() == 0) {
		t.Errorf("%v: exit code %d, with %q on standard output and %q on standard error", args, code, out.String(), errs.String())
	}
	if code == 0 {
		return
	}
	if strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("%v: not one line: %s", args, errs.String())
	}
	said := errs.String()
	if asJSON {
		var p struct{ Code, Title, Cause string }
		if err := json.Unmarshal(errs.Bytes(), &p); err != nil || p.Code == "" || p.Title == "" {
			t.Errorf("%v: no JSON: %s", args, said)
		}
		said = "escrowd: " + p.Code + ": " + p.Title + " (" + p.Cause + ")"
	}
	if !strings.Contains(said, says) {
		t.Errorf("%v: %s does not say %q", args, said, says)
	}
}

// An interrupted command was not done: 130, as a shell says it.
func TestInterrupted(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(dsn, []byte("postgres://nobody@127.0.0.1:1/x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := Run(ctx, []string{"migrate", "--database-file", dsn}, &out, &errs); code != 130 || !strings.Contains(errs.String(), "escrowd: interrupted: ") {
		t.Errorf("%d: %s", code, errs.String())
	}
}

// TestHelp: every command says what it does and shows an example that it takes.
func TestHelp(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || len(c.Commands()) == 0 && !strings.HasPrefix(c.Example, "  "+c.CommandPath()) {
			t.Errorf("%s: no short text, or no example of its own", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}

// TestUnit: what the unit starts is a command of this version, and systemd finds
// little that the service may do beyond its work.
func TestUnit(t *testing.T) {
	unit := filepath.Join("..", "..", "..", "deploy", "systemd", "penname@.service")
	raw, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	started := 0
	for line := range strings.Lines(string(raw)) {
		args, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart=/usr/local/bin/escrowd ")
		if !ok {
			continue
		}
		started++
		c, rest, err := newRoot().Find(strings.Fields(args))
		if err != nil || !c.Runnable() || c.ParseFlags(rest) != nil {
			t.Errorf("%s: %v", line, err)
		}
		if strings.Contains(args, "--check") {
			t.Error("--check checks and stops")
		}
	}
	config, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "escrowd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "StateDirectory=penname/%j"} {
		if !strings.Contains(string(raw), "\n"+setting+"\n") {
			t.Errorf("the unit has no %s", setting)
		}
	}
	if files := strings.Count(string(config), `secret_id_file`); strings.Count(string(config), `"/var/lib/penname/`) != files {
		t.Error("a secret id lies where the unit cannot replace it")
	}
	if started != 1 {
		t.Errorf("%d programs are started", started)
	}
	if analyze, err := exec.LookPath("systemd-analyze"); err == nil {
		if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", unit).CombinedOutput(); err != nil {
			t.Errorf("exposed by more than 2.0 of 10: %v\n%s", err, out)
		}
	}
}

// TestMigrateSaysWhatWasDone: a first migration, a later one, and one of nothing.
func TestMigrateSaysWhatWasDone(t *testing.T) {
	for _, c := range []struct {
		did  postgres.Migration
		want string
	}{
		{postgres.Migration{To: 15, Roles: []string{"penname_issuing", "penname_keeping"}},
			"the schema is up to date: made, version 15\nmade the roles penname_issuing, penname_keeping, which have no password yet: give each one its own"},
		{postgres.Migration{From: 12, To: 15}, "the schema is up to date: from version 12 to 15"},
		{postgres.Migration{From: 15, To: 15}, "the schema is up to date: version 15, as before"},
	} {
		if got := done(c.did); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
