package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/note"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/refusal"
)

// databaseWord is what an operator, or somebody with the superuser's password, does:
// backup FILE, restore FILE, alter SQL past every trigger, or swap, which puts the
// neighbour where the newest person was. A power cut and its end are stop, start.
func databaseWord(s *scene, ts *testscript.TestScript, args []string) error {
	switch args[0] {
	case "stop":
		return s.Postgres.Kill()
	case "start":
		return s.Postgres.Restart(context.Background())
	case "swap":
		return s.swap(context.Background())
	case "backup":
		out, err := exec.Command("pg_dump", "--schema", "penname", "--dbname", s.Postgres.DSN).Output()
		if err != nil {
			return err
		}
		return os.WriteFile(ts.MkAbs(args[1]), out, 0o600)
	case "restore":
		cmd := exec.Command("psql", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--dbname", s.Postgres.DSN,
			"--command", "DROP SCHEMA penname CASCADE", "--file", ts.MkAbs(args[1]))
		cmd.Env = append(os.Environ(), "PGOPTIONS=-c client_min_messages=error")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	case "alter":
		conn, err := pgx.Connect(context.Background(), s.Postgres.DSN)
		if err != nil {
			return err
		}
		defer conn.Close(context.Background()) //nolint:errcheck // a test's connection
		_, err = conn.Exec(context.Background(), "SET search_path = penname; SET session_replication_role = replica; "+args[1])
		return err
	}
	return fmt.Errorf("unknown deed %q", args[0])
}

// swap is what an operator can do who has the database's superuser and every key
// that encrypts: the one record that there is becomes the neighbour's, freshly
// and correctly sealed under the same label. The tokens were issued before.
func (s *scene) swap(ctx context.Context) error {
	label, err := s.psql(`SELECT label FROM records WHERE erased IS NULL ORDER BY label LIMIT 1`)
	if err != nil {
		return err
	}
	pk, err := threshold.ParsePublicKey(s.Service.Bundle.ThresholdKey)
	if err != nil {
		return err
	}
	n := sandbox.People()[testPeople["neighbour"]]
	other, err := seal.Seal(ctx, label, map[string][]byte{
		"name": []byte(n.Name), "birthdate": []byte(n.Birthdate), "address": []byte(n.Address), "email": []byte(n.Email),
	}, seal.Custodians{Key: pk, Compartments: s.Service.Bundle.FieldsByCompartment()}, s.Service.Issuing.Keys.WrapHalf)
	if err != nil {
		return err
	}
	second, err := other.Pack(label)
	if err != nil {
		return err
	}
	_, err = s.psql(fmt.Sprintf(`UPDATE records SET first_half = '%s', second_half = '\x%x', sealed = '\x%x' WHERE label = '%s'`,
		other.FirstHalf, second, postgres.PackFields(other.Fields), label))
	return err
}

// keyOutage is a key service that can be out of reach.
type keyOutage struct {
	disclose.Keys
	down atomic.Bool
}

func (k *keyOutage) UnwrapHalves(ctx context.Context, halves []disclose.Wrapped) ([][]byte, error) {
	if k.down.Load() {
		return nil, keep.ErrUnavailable
	}
	return k.Keys.UnwrapHalves(ctx, halves)
}

func (k *keyOutage) OpenLinks(ctx context.Context, links []disclose.Wrapped) ([][]byte, error) {
	if k.down.Load() {
		return nil, keep.ErrUnavailable
	}
	return k.Keys.OpenLinks(ctx, links)
}

// keyService down | up: a real Vault is sealed and unsealed; the local keyring,
// which is in this process, is out of reach.
func keyServiceWord(s *scene, _ *testscript.TestScript, args []string) error {
	down := args[0] == "down"
	if s.Vault == nil {
		s.keys.down.Store(down)
		return nil
	}
	if !down {
		return s.Vault.Unseal(context.Background())
	}
	_, err := vaultCall(context.Background(), s.Vault, http.MethodPost, "sys/seal", nil)
	return err
}

// mirrorWord is what somebody does to a mirror of the log: tamper DIR flips one bit
// of the newest leaf, stranger DIR makes it a mirror of another log, which has
// the same leaves.
func mirrorWord(s *scene, ts *testscript.TestScript, args []string) error {
	dir := ts.MkAbs(args[1])
	switch args[0] {
	case "tamper":
		newest, err := filepath.Glob(filepath.Join(dir, "tile", "entries", "*.p", "*"))
		if err != nil || len(newest) != 1 {
			return fmt.Errorf("%d partial tiles: %w", len(newest), err)
		}
		b, err := os.ReadFile(newest[0])
		if err != nil {
			return err
		}
		b[len(b)-1] ^= 1
		return os.WriteFile(newest[0], b, 0o600)
	case "stranger":
		name := filepath.Join(dir, "checkpoint")
		signed, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		_, tree, _ := strings.Cut(string(signed), "\n")
		tree, _, _ = strings.Cut(tree, "\n\n")
		skey, _, err := translog.NewKey("another.example/log")
		if err != nil {
			return err
		}
		signer, err := note.NewSigner(skey)
		if err != nil {
			return err
		}
		signed, err = note.Sign(&note.Note{Text: "another.example/log\n" + tree + "\n"}, signer)
		if err != nil {
			return err
		}
		return os.WriteFile(name, signed, 0o600)
	}
	return fmt.Errorf("unknown deed %q", args[0])
}

// startWord starts the service a second time over what it stands on now.
func startWord(s *scene, _ *testscript.TestScript, _ []string) error {
	w := s.Service.Parts
	var err error
	if s.Vault != nil { // as any start, it logs in and verifies rights and keys
		i, d, k := *w.Issuing, *w.Disclosing, *w.Keeping
		w.Issuing, w.Disclosing, w.Keeping = &i, &d, &k
		err = s.OpenVault(context.Background(), &i, &d, &k)
	}
	if err == nil {
		_, err = service.New(context.Background(), w)
	}
	if e := refusal.Of(err); e != nil {
		return errors.New(e.Code + ": " + e.Mend)
	}
	return err
}

// decrypts counts in Vault's audit file the calls that opened first halves.
func decrypts(t *testing.T, v *sandbox.VaultServer) (n int) {
	t.Helper()
	text, err := os.ReadFile(v.Audit)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var entry struct {
			Type, Error string
			Request     struct{ Path string }
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Type == "response" && entry.Error == "" && strings.Contains(entry.Request.Path, "/decrypt/penname-record") {
			n++
		}
	}
	return n
}

// drill returns the fault, and what waits until it is there and returns how to
// mend it.
type drill func() (fails escrowtest.Fault, happened func() (mend func()))

// drillsOf is every way to break the way to Vault, by its name in the catalogue.
func drillsOf(t *testing.T, v *escrowtest.VaultFixture, proxy *escrowtest.Proxy) map[string]drill {
	none := func() {}
	made := func(f escrowtest.Fault) drill {
		return func() (escrowtest.Fault, func() func()) { return f, func() func() { return none } }
	}
	// real does something to Vault when the first half is asked for, and passes
	// the request on.
	real := func(do func() (mend func())) drill {
		return func() (escrowtest.Fault, func() func()) {
			mend := sync.OnceValue(do)
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				mend()
				next.ServeHTTP(w, r)
			}, mend
		}
	}
	letIn := func(cidrs ...string) {
		admin := v.Admin
		admin.BoundCIDRs = escrowtest.From(cidrs...)
		if _, err := vault.Bootstrap(t.Context(), admin); err != nil {
			t.Error(err)
		}
	}
	return map[string]drill{
		"F12 sealed": real(func() func() {
			v.Must(t, http.MethodPut, "sys/seal", nil)
			return func() {
				if err := v.Unseal(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}),
		"F12 standby":              made(escrowtest.Status(http.StatusTooManyRequests, `{}`)),
		"F12 internal error":       made(escrowtest.Status(http.StatusInternalServerError, `{"errors":["internal error"]}`)),
		"F12 slow":                 made(proxy.Hang),
		"F12 not JSON":             made(escrowtest.Status(http.StatusOK, `<html>`)),
		"F13 reply lost":           made(escrowtest.CutAfter),
		"F13 reply cut":            made(escrowtest.Truncate),
		"F14 audit device blocked": real(func() func() { return v.BlockAudit(t) }),
		"F14 audit device full":    real(func() func() { return v.FillAudit(t) }),
		"F16 token revoked":        real(func() func() { v.Revoke(t); return none }), // the side logs in again
		"F16 token revoked for good": real(func() func() {
			letIn("192.0.2.0/24")
			v.Revoke(t)
			return func() { letIn() }
		}),
	}
}

// TestI2DecryptsReconcile breaks the registrar's way to Vault at the moment of
// the release, in every way. The case stays authorised and nothing is handed
// out; once Vault is back the same case opens. Vault's own audit file then
// reconciles with the public log: no first half was decrypted before the case
// was authorised, and never more often than the registrar tried (F12, F13, F14,
// F16).
//
// Vault itself is sealed, its audit device blocked or full, the token revoked:
// the proxy in front of it says when. Only what Vault does not do on demand is
// made up there: a standby, an answer that is lost.
func TestI2DecryptsReconcile(t *testing.T) {
	tb := startVaultForTest(t)
	v := &escrowtest.VaultFixture{VaultServer: tb.Vault, Admin: vault.Admin{Address: tb.Vault.Address, Token: tb.Vault.RootToken}}
	proxy := escrowtest.NewProxy(t, tb.Vault.Address)
	c := sideConfig(t, tb, vault.SideDisclosing)
	c.Address, c.Timeout = proxy.URL, 2*time.Second
	keys, err := vault.OpenDisclosing(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	tb.Service.Registrar.Keys = keys
	authorised := 0
	var tried atomic.Int64 // by the registrar, at the proxy
	decryptsAt := func(f escrowtest.Fault) {
		proxy.Break(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if !strings.Contains(r.URL.Path, "/decrypt/penname-record") {
				next.ServeHTTP(w, r)
				return
			}
			tried.Add(1)
			f(w, r, next)
		})
	}
	for name, fault := range drillsOf(t, v, proxy) {
		t.Run(name, func(t *testing.T) {
			proxy.Break(nil)
			st := filedCase(t, tb)
			st.Author = sandbox.People()[1]
			if err := st.Approve(t.Context(), "alba"); err != nil {
				t.Fatal(err)
			}
			if n := decrypts(t, tb.Vault); n > int(tried.Load()) {
				t.Fatalf("%d decrypts before the case is authorised", n-int(tried.Load()))
			}
			fails, happened := fault()
			decryptsAt(fails)
			for _, verb := range []string{"review", "approve"} {
				tb.Escrow(t.Context(), tb.AsCustodian("bruno", verb, st.ID)...)
			}
			authorised++
			mend := happened()
			state := "authorised"
			if name == "F16 token revoked" {
				state = "released"
			}
			said, code := tb.Escrow(t.Context(), "warrant", "status", st.ID, "--server", tb.Origin)
			if code != 0 || !strings.Contains(said, state) {
				t.Fatalf("the case is not %s: %s", state, said)
			}
			if said, code := tb.Escrow(t.Context(), st.OpenArgs()...); state == "authorised" && (code != 1 || strings.Contains(said, st.Author.Name)) {
				t.Fatalf("exit %d: %s", code, said)
			}
			mend()
			decryptsAt(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
			if err := st.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := decrypts(t, tb.Vault); n > int(tried.Load()) || n < authorised {
				t.Errorf("%d decrypts in Vault's audit, %d tried by the registrar, %d cases authorised", n, tried.Load(), authorised)
			}
		})
	}
	proxy.Break(nil)
	if got := leaves(t, tb); got["decided"] != int64(authorised) || got["released"] != int64(authorised) {
		t.Errorf("the log has %v, for %d cases", got, authorised)
	}
	if err := checkAudit(t, tb, tb.Vault.Audit); err != nil {
		t.Errorf("Vault's audit file does not agree with the log: %v (%v)", err, errors.Unwrap(err))
	}
}

// checkAudit is what `escrowd log check --vault-audit` compares.
func checkAudit(t *testing.T, tb *world.World, files ...string) error {
	t.Helper()
	audit, err := vault.ReadAudit(t.Context(), files, time.Time{}, nil)
	if err != nil {
		return err
	}
	return service.CheckVaultAudit(t.Context(), tb.Service.Disclosing.Store, audit, time.Time{})
}

// TestI2VaultIsASecondWitness: somebody who holds the disclosing side's rights
// opens a first half past the registrar. The log knows nothing of it; Vault does.
func TestI2VaultIsASecondWitness(t *testing.T) {
	tb := startVaultForTest(t)
	check := func(when string, want error) {
		t.Helper()
		if err := checkAudit(t, tb, tb.Vault.Audit); !errors.Is(err, want) {
			t.Errorf("%s: %v (%v), want %v", when, err, errors.Unwrap(err), want)
		}
	}
	check("nothing was opened", nil)
	st := filedCase(t, tb)
	st.Author = sandbox.People()[1]
	records := readRecords(t, tb.Postgres.DSN)
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	open := func(r seal.Record) {
		t.Helper()
		if _, err := escrowtest.UnwrapHalf(t.Context(), tb.Service.Disclosing.Keys, r.Label, r.FirstHalf); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"alba", "bruno"} {
		if err := st.Approve(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("a case was opened", nil)
	open(records[0]) // as when an answer is lost: the log says what it is for
	check("and opened again", nil)
	whole, err := os.ReadFile(tb.Vault.Audit)
	if err != nil {
		t.Fatal(err)
	}
	// A file that does not have it is not whole.
	part := write(t, "part.log", "", 0o600)
	if err := checkAudit(t, tb, part); !errors.Is(err, vault.ErrAuditFile) {
		t.Errorf("an empty file: %v", err)
	}
	if err := world.NewBrowser().Visit(t.Context(), tb.Town, sandbox.People()[0].Name); err != nil {
		t.Fatal(err)
	}
	for _, r := range readRecords(t, tb.Postgres.DSN) {
		if r.Label != records[0].Label {
			open(r)
		}
	}
	check("a record that no court asked for", service.ErrUnlogged)
	// The same by Vault's administrator, of a record that a court asked for.
	if err := os.WriteFile(tb.Vault.Audit, whole, 0o600); err != nil { //nolint:gosec // Vault's own, put back
		t.Fatal(err)
	}
	check("put back", nil)
	v := &escrowtest.VaultFixture{VaultServer: tb.Vault}
	key, half := escrowtest.RecordKey("decrypt", records[0].FirstHalf)
	v.Must(t, http.MethodPost, key, map[string]any{
		"ciphertext": half, "context": base64.StdEncoding.EncodeToString([]byte(records[0].Label))})
	check("another token", service.ErrUnlogged)
}
