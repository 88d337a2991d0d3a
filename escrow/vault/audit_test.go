package vault_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/vault"
)

// The audit file of a real Vault says what was opened, of which record, and by
// whom: in a batch and alone, with some items failing, and past our code.
func TestI2ReadAudit(t *testing.T) {
	v := escrowtest.OwnVault(t)
	issuing, disclosing := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := issuing.WrapHalf(t.Context(), "other", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	added := func(what string, want, records, strangers, exports int) {
		t.Helper()
		audit, err := vault.ReadAudit(t.Context(), []string{v.Audit}, time.Time{}, nil)
		if err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
		opened, exported := audit.Opened, audit.Exported
		different, foreign := map[string]bool{}, 0
		for _, o := range opened[seen:] {
			different[o.Record] = true
			if o.Stranger {
				foreign++
			}
		}
		if n := len(opened) - seen; n != want || len(different) != records || foreign != strangers || exported != exports {
			t.Errorf("%s: %d opened, of %d records, %d by strangers, %d exports; want %d, %d, %d, %d",
				what, n, len(different), foreign, exported, want, records, strangers, exports)
		}
		seen = len(opened)
	}
	unwrap := func(label, wrapped string) {
		t.Helper()
		if _, err := escrowtest.UnwrapHalf(t.Context(), disclosing, label, wrapped); err != nil {
			t.Fatal(err)
		}
	}
	added("sealed", 0, 0, 0, 0)
	unwrap("label", half)
	unwrap("label", half)
	unwrap("other", other)
	added("opened", 3, 2, 0, 0)
	// With the key of a group, too, and of several groups at once.
	keeping := v.Keeping(t)
	if err := keeping.Open(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	grouped, err := issuing.WrapHalfIn(t.Context(), 5, "third", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	unwrap("third", grouped)
	added("of a group", 1, 1, 0, 0)
	if _, err := disclosing.UnwrapHalves(t.Context(), []disclose.Wrapped{{Name: "third", Text: grouped}, {Name: "label", Text: half}}); err != nil {
		t.Fatal(err)
	}
	added("of two groups", 2, 2, 0, 0)

	const decrypt = mount + "decrypt/penname-record"
	good := map[string]any{"ciphertext": half, "context": b64("label")}
	wrong := map[string]any{"ciphertext": half, "context": b64("wrong")}
	v.Do(t, v.Token(t, vault.SideDisclosing), http.MethodPost, decrypt, map[string]any{"batch_input": []any{good, wrong}})
	added("in a batch that hides which item failed", 2, 2, 0, 0)
	v.Do(t, v.RootToken, http.MethodPost, decrypt, wrong)
	v.Do(t, v.Token(t, vault.SideIssuing), http.MethodPost, decrypt, good)
	v.Do(t, v.RootToken, http.MethodGet, mount+"backup/penname-record", nil)
	added("what Vault refused", 0, 0, 0, 0)
	v.Must(t, http.MethodPost, decrypt, good)
	added("by root", 1, 1, 1, 0)
	v.Must(t, http.MethodPost, "sys/remount", map[string]any{"from": "penname-transit", "to": "elsewhere"})
	for {
		if status, _ := v.Do(t, v.RootToken, http.MethodPost, "elsewhere/decrypt/penname-record", good); status == http.StatusOK {
			break
		}
	}
	added("in a mount that was moved", 1, 1, 1, 0)
	v.Must(t, http.MethodPost, "elsewhere/keys/penname-record/config", map[string]any{"exportable": true, "allow_plaintext_backup": true})
	v.Must(t, http.MethodGet, "elsewhere/export/encryption-key/penname-record/latest", nil)
	v.Must(t, http.MethodGet, "elsewhere/backup/penname-record", nil)
	added("the key itself", 0, 0, 0, 2)
	v.Must(t, http.MethodPost, "penname-groups/keys/penname-record-5/config", map[string]any{"exportable": true})
	v.Must(t, http.MethodGet, "penname-groups/export/encryption-key/penname-record-5", nil)
	added("the key of a group", 0, 0, 0, 3)

	raw := filepath.Join(t.TempDir(), "raw.log")
	v.Must(t, http.MethodPut, "sys/audit/raw", map[string]any{"type": "file", "options": map[string]string{"file_path": raw, "log_raw": "true"}})
	v.Must(t, http.MethodPost, "elsewhere/decrypt/penname-record", good)
	_, err = vault.ReadAudit(t.Context(), []string{raw}, time.Time{}, nil)
	wantRefusal(t, err, vault.ErrAuditFile, "in clear")
	for _, junk := range []string{"{", "[]", "{}", "not json", `{"type":"request"}`} {
		if err := os.WriteFile(raw, []byte(junk+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := vault.ReadAudit(t.Context(), []string{raw}, time.Time{}, nil)
		wantRefusal(t, err, vault.ErrAuditFile, "not an entry")
	}
}
