package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

// openedCase is a case from its filing to the opened name.
func openedCase(t *testing.T, tb *world.World) {
	t.Helper()
	st := filedCase(t, tb)
	st.Author = sandbox.People()[1]
	for _, id := range []string{"alba", "bruno"} {
		if err := st.Approve(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestFoundN4ARealVaultsRotatedFiles: the audit file of a real Vault is rotated as
// logrotate does it, by another name and a signal, by a copy, and packed. The check took
// one file only, and called a rotated one "not whole".
func TestFoundN4ARealVaultsRotatedFiles(t *testing.T) {
	tb := startVaultForTest(t)
	live := tb.Vault.Audit
	check := func(want string, files ...string) {
		t.Helper()
		args := []string{"log", "check", "--database-file", tb.Path("disclosing.dsn")}
		for _, f := range files {
			args = append(args, "--vault-audit", f)
		}
		var said strings.Builder
		if programs.Escrowd(t.Context(), args, &said, &said); !strings.Contains(said.String(), want) {
			t.Errorf("%d files: %q, want %q", len(files), said.String(), want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	openedCase(t, tb)
	must(os.Rename(live, live+".2"))
	must(tb.Vault.ReopenAudit(t.Context()))
	openedCase(t, tb)
	oldest, err := os.ReadFile(live + ".2")
	must(err)
	packed := live + ".2.gz"
	var text bytes.Buffer
	z := gzip.NewWriter(&text)
	_, err = z.Write(oldest)
	must(errors.Join(err, z.Close(), os.WriteFile(packed, text.Bytes(), 0o600)))
	must(os.Remove(live + ".2"))
	copied, err := os.ReadFile(live) // copytruncate
	must(err)
	must(os.WriteFile(live+".1", copied, 0o600))
	must(os.Truncate(live, 0))
	openedCase(t, tb)

	check("Vault opened 3 first halves, and the log authorised each of them", filepath.Join(filepath.Dir(live), "audit.log*"))
	check("entries in 3 files", live, live+".1", packed)
	check("entries in 3 files", packed, live, live+".1")
	check("it shows 2 first halves, where 3 were released", live, packed)
	check("vault.audit_gap", live, live+".1")

	// What was opened past the log is found in whichever file it is: more records than
	// there are targets.
	for _, who := range []int{0, 2, 3} {
		must(world.NewBrowser().Visit(t.Context(), tb.Town, sandbox.People()[who].Name))
	}
	for _, r := range readRecords(t, tb.Postgres.DSN) {
		_, err := escrowtest.UnwrapHalf(t.Context(), tb.Service.Disclosing.Keys, r.Label, r.FirstHalf)
		must(err)
	}
	must(os.Rename(live, live+".0"))
	must(tb.Vault.ReopenAudit(t.Context()))
	must(tb.Service.CarryOutErasures(t.Context())) // its question is in the new file
	check("log.opened_unlogged", live+"*")
}
