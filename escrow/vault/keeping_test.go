package vault_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/refusal"
)

// The keeping side's own rights, tried past our code.
func TestV02KeepingSideOpensNothing(t *testing.T) {
	v := escrowtest.OwnVault(t)
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	token := v.Token(t, vault.SideKeeping)
	open := items(map[string]any{"ciphertext": half, "context": b64("label")})
	for path, body := range map[string]map[string]any{
		"decrypt/penname-record":             open,
		"decrypt/penname-link":               open,
		"encrypt/penname-record":             items(map[string]any{"plaintext": b64("x"), "context": b64("label")}),
		"hmac/penname-pseudonym":             {"input": b64("x")},
		"datakey/plaintext/penname-record":   {"context": b64("label")},
		"export/encryption-key/penname-link": {},
		"rewrap/penname-link":                open,
		"keys/penname-link/rotate":           {},
		"keys/penname-pseudonym/rotate":      {},
		"keys/penname-fingerprint/rotate":    {},
		"keys/penname-pseudonym/trim":        {"min_available_version": 1},
		"keys/penname-record/rotate":         {"managed_key_name": "x"},
		"keys/penname-record/config":         {"min_decryption_version": 1, "min_encryption_version": 1, "exportable": true},
		"keys/penname-record/trim":           {"min_available_version": 1, "x": 1},
		"rewrap/penname-record":              {"ciphertext": half, "context": b64("label")},
	} {
		if status, answer := v.Do(t, token, http.MethodPost, mount+path, body); status != http.StatusForbidden {
			t.Errorf("%s: status %d: %v", path, status, answer)
		}
	}
	// It makes the key of a group as it must be, and in no other way.
	safe := func(change string, value any) map[string]any {
		body := map[string]any{"type": "aes256-gcm96", "derived": "true", "exportable": "false", "allow_plaintext_backup": "false"}
		if body[change] = value; value == nil {
			delete(body, change)
		}
		return body
	}
	const groups = "penname-groups/"
	for path, bodies := range map[string][]map[string]any{
		"keys/penname-record-5": {safe("exportable", "true"), safe("exportable", true), safe("exportable", nil), safe("allow_plaintext_backup", "true"), safe("derived", "false"), safe("derived", nil),
			safe("type", "chacha20-poly1305"), safe("type", nil), safe("convergent_encryption", "true"), safe("auto_rotate_period", "1h"), safe("managed_key_id", "x")},
		"keys/penname-record-4/rotate":         {{"managed_key_name": "x"}},
		"keys/penname-record-4/config":         {{"min_decryption_version": 1, "min_encryption_version": 1, "exportable": true}, {"deletion_allowed": true}},
		"keys/penname-record-4/trim":           {{"min_available_version": 1, "x": 1}},
		"keys/penname-record-4/import":         {{"ciphertext": "x"}},
		"decrypt/penname-record-4":             {open},
		"encrypt/penname-record-4":             {items(map[string]any{"plaintext": b64("x"), "context": b64("label")})},
		"rewrap/penname-record-4":              {{"ciphertext": half, "context": b64("label")}},
		"datakey/plaintext/penname-record-4":   {{"context": b64("label")}},
		"export/encryption-key/penname-record": {{}},
		"restore/penname-record-5":             {{"backup": "x"}},
		"config/keys":                          {{"disable_upsert": false}},
	} {
		for _, body := range bodies {
			if status, answer := v.Do(t, token, http.MethodPost, groups+path, body); status != http.StatusForbidden {
				t.Errorf("%s %v: status %d: %v", path, body, status, answer)
			}
		}
	}
	if status, answer := v.Do(t, token, http.MethodPost, groups+"keys/penname-record-5", safe("type", "aes256-gcm96")); status/100 != 2 {
		t.Errorf("a key as it must be: status %d: %v", status, answer)
	}
	if status, _ := v.Do(t, token, http.MethodDelete, groups+"keys/penname-record-5", nil); status != http.StatusForbidden {
		t.Errorf("the key of a group was deleted: status %d", status)
	}
	for _, deletion := range []string{"keys/penname-record", "keys/penname-pseudonym"} {
		if status, _ := v.Do(t, token, http.MethodDelete, mount+deletion, nil); status != http.StatusForbidden {
			t.Errorf("%s was deleted: status %d", deletion, status)
		}
	}
}

func TestV01KeepingRefusesToStartWithOneRightTooMany(t *testing.T) {
	v := escrowtest.OwnVault(t)
	good := policyText(t, vault.SideKeeping)
	for name, c := range map[string]struct {
		policy string
		want   *refusal.Error
	}{
		"decrypt":                   {good + `path "penname-transit/decrypt/penname-record" { capabilities = ["update"] }`, vault.ErrTooBroad},
		"encrypt":                   {good + `path "penname-transit/encrypt/penname-record" { capabilities = ["update"] }`, vault.ErrTooBroad},
		"rotate the pens":           {good + `path "penname-transit/keys/penname-pseudonym/rotate" { capabilities = ["update"] }`, vault.ErrTooBroad},
		"any flag":                  {strings.Replace(good, `{ "min_decryption_version" = [], "min_encryption_version" = [] }`, `{ "*" = [] }`, 1), vault.ErrTooBroad},
		"a wildcard":                {good + `path "penname-transit/keys/*" { capabilities = ["read"] }`, vault.ErrTooBroad},
		"groups, and what is below": {strings.Replace(good, `path "penname-groups/keys/+" {`, `path "penname-groups/keys/*" {`, 1), vault.ErrTooBroad},
		"any key of a group":        {strings.Replace(good, `"exportable"             = ["false"]`, `"exportable" = []`, 1), vault.ErrTooBroad},
		"rotates no group":          {strings.Replace(good, `path "penname-groups/keys/+/rotate" {`, `path "penname-groups/keys/1/rotate" {`, 1), vault.ErrTooBroad},
		"opens groups":              {good + `path "penname-groups/decrypt/+" { capabilities = ["update"] }`, vault.ErrTooBroad},
		"exports one group":         {good + `path "penname-groups/export/encryption-key/penname-record-1" { capabilities = ["read"] }`, vault.ErrTooBroad},
		"nothing":                   {`path "sys/capabilities-self" { capabilities = ["update"] }`, vault.ErrTooNarrow},
	} {
		t.Run(name, func(t *testing.T) {
			v.Must(t, "POST", "sys/policies/acl/penname-keeping", map[string]any{"policy": c.policy})
			_, err := vault.OpenKeeping(t.Context(), v.Config(t, vault.SideKeeping))
			wantRefusal(t, err, c.want, "")
		})
	}
	v.Must(t, "POST", "sys/policies/acl/penname-keeping", map[string]any{"policy": good})
	v.Keeping(t)
}

// F16: the token is revoked before each step of a rotation: the side logs in
// again. F12, F13, F40: Vault fails at it, before it did the work and after, when what it
// wrote is kept: a clean refusal, and the same step succeeds when Vault is back.
func TestF16KeepingAtEachStep(t *testing.T) {
	const group, at, key = 5, "penname-groups/", "penname-record-5"
	v := escrowtest.OwnVault(t)
	issuing, disclosing := v.Sides(t)
	proxy := escrowtest.NewProxy(t, v.Address)
	config := v.Config(t, vault.SideKeeping)
	config.Address = proxy.URL
	k, err := vault.OpenKeeping(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Open(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	half, err := issuing.WrapHalfIn(t.Context(), group, "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	newest := func() int {
		t.Helper()
		_, n, err := k.Versions(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	steps := []struct {
		name, path string
		call       func() error
	}{
		{"Open", "keys/" + key, func() error { return k.Open(t.Context(), group) }},
		{"Rotate", "keys/" + key + "/rotate", func() error { return k.Rotate(t.Context(), group) }},
		{"Rewrap", "rewrap/" + key, func() error {
			moved, err := k.Rewrap(t.Context(), group, []keep.Half{{Label: "label", Wrapped: half}})
			if err == nil {
				half = moved[0]
			}
			return err
		}},
		{"Retire", "keys/" + key + "/trim", func() error { return k.Retire(t.Context(), group, newest()) }},
		{"Verify", "", func() error { return k.Verify(t.Context()) }},
	}
	for _, s := range steps {
		v.Revoke(t)
		if err := s.call(); err != nil {
			t.Errorf("%s with a revoked token: %v (%v)", s.name, err, errors.Unwrap(err))
		}
	}
	for _, s := range steps[:4] {
		for name, fault := range map[string]escrowtest.Fault{
			"sealed": escrowtest.Status(503, `{"errors":["sealed"]}`), "404": escrowtest.Status(404, `{}`), "400": escrowtest.Status(400, `{}`),
			"cut before": escrowtest.CutBefore, "cut after": escrowtest.CutAfter, "cut short": escrowtest.Truncate,
		} {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				if s.name == "Retire" { // there must be something to retire
					if err := steps[1].call(); err != nil {
						t.Fatal(err)
					}
					if err := steps[2].call(); err != nil {
						t.Fatal(err)
					}
				}
				proxy.BreakPath("/v1/"+at+s.path, fault)
				err := s.call()
				proxy.Break(nil)
				r := refusal.Of(err)
				// An answer to rotate or trim that is cut short says 200: it was done.
				if err != nil && (r == nil || r.Kind != refusal.Unavailable) {
					t.Fatalf("%v (%v)", err, errors.Unwrap(err))
				}
				if err == nil && name != "cut short" {
					t.Fatal("no refusal")
				}
				if err := s.call(); err != nil {
					t.Fatalf("again: %v (%v)", err, errors.Unwrap(err))
				}
				if got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half); err != nil || string(got) != "half" {
					t.Fatalf("the half was lost: %q, %v", got, err)
				}
			})
		}
	}
}

// BenchmarkRewrap is the rate of the keeping side beside that of Vault's batch
// endpoint with none of our code; see escrow/postgres for a whole rotation.
func BenchmarkRewrap(b *testing.B) {
	v := escrowtest.Vault(b)
	issuing, _ := v.Sides(b)
	k := v.Keeping(b)
	halves := make([]keep.Half, 512)
	for i := range halves {
		label := fmt.Sprint("label", i)
		wrapped, err := issuing.WrapHalf(b.Context(), label, make([]byte, 32))
		if err != nil {
			b.Fatal(err)
		}
		halves[i] = keep.Half{Label: label, Wrapped: wrapped}
	}
	b.Run("rewrap", func(b *testing.B) {
		for b.Loop() {
			if _, err := k.Rewrap(b.Context(), 0, halves); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*len(halves))/b.Elapsed().Seconds(), "values/s")
	})
	own(b, v, vault.SideKeeping, "rewrap/penname-record", map[string]any{"ciphertext": halves[0].Wrapped, "context": b64(halves[0].Label)}, nil)
}
