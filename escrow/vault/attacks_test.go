package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/deploy"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/refusal"
)

var (
	_ issue.Keys    = (*vault.Issuing)(nil)
	_ disclose.Keys = (*vault.Disclosing)(nil)
)

const mount = "penname-transit/"

// b64 is a value as Transit takes it.
func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// items is a batch of one.
func items(fields map[string]any) map[string]any {
	return map[string]any{"batch_input": []any{fields}}
}

// wantRefusal checks the code, and that the operator's cause names what is
// wrong.
func wantRefusal(t *testing.T, err error, want *refusal.Error, cause string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v (%v), want %s", err, errors.Unwrap(err), want.Code)
	}
	if got := fmt.Sprint(errors.Unwrap(err)); cause != "" && !strings.Contains(got, cause) {
		t.Errorf("the cause %q does not name %q", got, cause)
	}
}

func open(t *testing.T, v *escrowtest.VaultFixture, side vault.Side) error {
	t.Helper()
	if side == vault.SideIssuing {
		_, err := vault.OpenIssuing(t.Context(), v.Config(t, side))
		return err
	}
	_, err := vault.OpenDisclosing(t.Context(), v.Config(t, side))
	return err
}

func policyText(t *testing.T, side vault.Side) string {
	t.Helper()
	text, err := fs.ReadFile(deploy.VaultPolicies, "vault-policies/"+string(side)+".hcl")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestV01RefusesToStartWithOneRightTooMany(t *testing.T) {
	v := escrowtest.OwnVault(t)
	v.Must(t, "POST", "sys/policies/acl/extra", map[string]any{"policy": `path "secret/x" { capabilities = ["read"] }`})
	record := `path "penname-transit/keys/penname-record" { capabilities = ["read"] }`
	for _, side := range []vault.Side{vault.SideIssuing, vault.SideDisclosing} {
		good := policyText(t, side)
		for name, c := range map[string]struct {
			policy string
			want   *refusal.Error
			cause  string
		}{
			"one more path":           {good + `path "penname-transit/keys/penname-record/rotate" { capabilities = ["update"] }`, vault.ErrTooBroad, "penname-transit/keys/penname-record/rotate"},
			"a wildcard":              {good + `path "penname-transit/*" { capabilities = ["read"] }`, vault.ErrTooBroad, "penname-transit/"},
			"a segment wildcard":      {good + `path "penname-transit/+/penname-link" { capabilities = ["read"] }`, vault.ErrTooBroad, "wildcard"},
			"list the keys":           {good + `path "penname-transit/keys" { capabilities = ["list"] }`, vault.ErrTooBroad, "penname-transit/keys"},
			"a right elsewhere":       {good + `path "secret/x" { capabilities = ["read"] }`, vault.ErrTooBroad, "secret/x"},
			"one more capability":     {strings.Replace(good, record, strings.Replace(record, `"read"`, `"read", "update"`, 1), 1), vault.ErrTooBroad, "penname-transit/keys/penname-record"},
			"create, not only update": {strings.Replace(good, `["update"]`, `["create", "update"]`, 1), vault.ErrTooBroad, "penname-record"},
			"any parameter":           {strings.Replace(good, `  allowed_parameters  = { "batch_input" = [] }`, "", 1), vault.ErrTooBroad, "penname-record"},
			"one parameter more":      {strings.Replace(good, `{ "batch_input" = [] }`, `{ "batch_input" = [], "nonce" = [] }`, 1), vault.ErrTooBroad, "penname-record"},
			"a path too few":          {strings.Replace(good, record, "", 1), vault.ErrTooNarrow, "penname-record"},
			"a path denied":           {good + strings.Replace(record, `"read"`, `"deny"`, 1), vault.ErrTooBroad, "penname-record"},
			"everything":              {`path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`, vault.ErrTooBroad, "wildcard"},
		} {
			t.Run(string(side)+"/"+name, func(t *testing.T) {
				if c.policy == good {
					t.Fatal("the case changes nothing")
				}
				v.Must(t, "POST", "sys/policies/acl/"+string(side), map[string]any{"policy": c.policy})
				wantRefusal(t, open(t, v, side), c.want, c.cause)
			})
		}
		v.Must(t, "POST", "sys/policies/acl/"+string(side), map[string]any{"policy": good})

		role := "auth/approle/role/" + string(side)
		for name, change := range map[string]map[string]any{
			"another policy":     {"token_policies": []string{string(side), "extra"}},
			"the default policy": {"token_no_default_policy": false},
			"the other side's":   {"token_policies": []string{string(vault.SideIssuing), string(vault.SideDisclosing)}},
		} {
			t.Run(string(side)+"/"+name, func(t *testing.T) {
				v.Must(t, "POST", role, change)
				wantRefusal(t, open(t, v, side), vault.ErrTooBroad, "policies")
				v.Must(t, "POST", role, map[string]any{"token_policies": []string{string(side)}, "token_no_default_policy": true})
			})
		}
		for name, change := range map[string]map[string]any{
			"a token of a month":         {"token_ttl": "720h", "token_max_ttl": "720h"},
			"a token of half an hour":    {"token_ttl": "30m"},
			"a token renewed for ever":   {"token_period": "10m"},
			"a token that is not stored": {"token_type": "batch"},
		} {
			t.Run(string(side)+"/"+name, func(t *testing.T) {
				v.Must(t, "POST", role, change)
				wantRefusal(t, open(t, v, side), vault.ErrTooBroad, "the token")
				if _, err := vault.Bootstrap(t.Context(), v.Admin); err != nil {
					t.Error(err)
				}
			})
		}
		if err := open(t, v, side); err != nil {
			t.Errorf("put back, it starts: %v (%v)", err, errors.Unwrap(err))
		}
	}
}

// TestV02 and V03 hold without any of our code: Vault itself says no.
func TestV02IssuingTokenCannotDecrypt(t *testing.T) {
	v := escrowtest.Vault(t)
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	denied(t, v, v.Token(t, vault.SideIssuing), []attempt{
		{"POST", "decrypt/penname-record", items(map[string]any{"ciphertext": half, "context": b64("label")})},
		{"POST", "decrypt/penname-record", map[string]any{"ciphertext": half, "context": b64("label")}},
		{"POST", "decrypt/penname-link", items(map[string]any{"ciphertext": half, "context": b64("label")})},
		{"POST", "rewrap/penname-record", items(map[string]any{"ciphertext": half, "context": b64("label")})},
		{"POST", "datakey/plaintext/penname-record", map[string]any{"context": b64("label")}},
	})
}

func TestV03DisclosingTokenCannotDoAnythingElse(t *testing.T) {
	v := escrowtest.Vault(t)
	denied(t, v, v.Token(t, vault.SideDisclosing), []attempt{
		{"POST", "encrypt/penname-record", items(map[string]any{"plaintext": b64("x"), "context": b64("label")})},
		{"POST", "encrypt/penname-link", items(map[string]any{"plaintext": b64("x"), "context": b64("label")})},
		{"POST", "hmac/penname-pseudonym", map[string]any{"batch_input": []any{map[string]any{"input": b64("x")}}, "key_version": "1"}},
		{"POST", "hmac/penname-fingerprint", map[string]any{"input": b64("x"), "key_version": "1"}},
		{"POST", "hmac/penname-record", map[string]any{"input": b64("x")}},
		{"GET", "keys/penname-pseudonym", nil},
	})
}

type attempt struct {
	method, path string
	body         any
}

// denied also tries what neither side may ever do.
func denied(t *testing.T, v *escrowtest.VaultFixture, token string, more []attempt) {
	t.Helper()
	for _, key := range []string{"penname-record", "penname-link", "penname-fingerprint", "penname-pseudonym"} {
		more = append(more,
			attempt{"POST", "keys/" + key + "/rotate", nil}, attempt{"DELETE", "keys/" + key, nil},
			attempt{"POST", "keys/" + key + "/config", map[string]any{"deletion_allowed": true, "exportable": true}},
			attempt{"POST", "keys/" + key + "/trim", map[string]any{"min_available_version": 1}},
			attempt{"GET", "export/encryption-key/" + key, nil}, attempt{"GET", "export/hmac-key/" + key, nil},
			attempt{"GET", "backup/" + key, nil}, attempt{"POST", "restore/" + key, map[string]any{"backup": "x"}})
	}
	more = append(more, attempt{"POST", "config/keys", map[string]any{"disable_upsert": false}}, attempt{"GET", "keys?list=true", nil},
		attempt{"LIST", "keys", nil}, attempt{"POST", "keys/new", nil})
	for _, a := range more {
		if status, answer := v.Do(t, token, a.method, mount+a.path, a.body); status != http.StatusForbidden {
			t.Errorf("%s %s: status %d, want 403: %v", a.method, a.path, status, answer)
		}
	}
	for _, path := range []string{"sys/policies/acl/penname-issuing", "sys/audit", "auth/approle/role/penname-issuing/role-id", "sys/raw/logical", "sys/storage/raft/snapshot"} {
		if status, _ := v.Do(t, token, "GET", path, nil); status != http.StatusForbidden {
			t.Errorf("GET %s: status %d, want 403", path, status)
		}
	}
}

// remake replaces a key by one made with other flags.
func remake(t *testing.T, v *escrowtest.VaultFixture, key string, flags map[string]any) {
	t.Helper()
	v.Must(t, "POST", mount+"keys/"+key+"/config", map[string]any{"deletion_allowed": true})
	v.Must(t, "DELETE", mount+"keys/"+key, nil)
	if flags != nil {
		v.Must(t, "POST", mount+"keys/"+key, flags)
	}
}

// V04, of a group: whoever first uses a key looks at it, and uses none that is not safe.
func TestV04NoSideUsesAnUnsafeKeyOfAGroup(t *testing.T) {
	v := escrowtest.OwnVault(t)
	issuing, disclosing := v.Sides(t)
	keeping := v.Keeping(t)
	for i, c := range []struct {
		flag       string
		made, then map[string]any
	}{
		{"exportable", map[string]any{"derived": true, "exportable": true}, nil},
		{"allow_plaintext_backup", map[string]any{"derived": true, "allow_plaintext_backup": true}, nil},
		{"derived", map[string]any{}, nil},
		{"convergent_encryption", map[string]any{"derived": true, "convergent_encryption": true}, nil},
		{"type", map[string]any{"derived": true, "type": "chacha20-poly1305"}, nil},
		{"deletion_allowed", map[string]any{"derived": true}, map[string]any{"deletion_allowed": true}},
	} {
		group := i + 1
		key := fmt.Sprint("penname-groups/keys/penname-record-", group)
		v.Must(t, "POST", key, c.made)
		if c.then != nil {
			v.Must(t, "POST", key+"/config", c.then)
		}
		text := keep.InGroup(group, "vault:v1:AAAA")
		_, wraps := issuing.WrapHalfIn(t.Context(), group, "label", []byte("half"))
		_, opens := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", text)
		_, moves := keeping.Rewrap(t.Context(), group, []keep.Half{{Label: "label", Wrapped: text}})
		_, _, asks := issuing.Versions(t.Context(), group)
		for _, err := range []error{wraps, opens, moves, asks, keeping.Open(t.Context(), group), keeping.Rotate(t.Context(), group), keeping.Retire(t.Context(), group, 1)} {
			wantRefusal(t, err, vault.ErrUnsafeKey, c.flag)
		}
	}
}

func TestV04RefusesToStartOnAnUnsafeKey(t *testing.T) {
	v := escrowtest.OwnVault(t)
	aes := map[string]any{"type": "aes256-gcm96", "derived": true}
	with := func(name string, value any) map[string]any {
		m := map[string]any{name: value}
		for k, v := range aes {
			if _, ok := m[k]; !ok {
				m[k] = v
			}
		}
		return m
	}
	for _, c := range []struct {
		flag, key string
		made      map[string]any // nil: the key is missing
		then      map[string]any // keys/…/config
	}{
		{"V04 exportable", "penname-record", with("exportable", true), nil},
		{"V04 exportable", "penname-link", with("exportable", true), nil},
		{"V04 exportable", "penname-pseudonym", map[string]any{"type": "hmac", "key_size": 32, "exportable": true}, nil},
		{"V04 allow_plaintext_backup", "penname-record", with("allow_plaintext_backup", true), nil},
		{"V04 deletion_allowed", "penname-record", aes, map[string]any{"deletion_allowed": true}},
		{"V04 derived", "penname-record", with("derived", false), nil},
		{"V04 type", "penname-link", with("type", "chacha20-poly1305"), nil},
		{"V04 auto_rotate_period", "penname-fingerprint", map[string]any{"type": "hmac", "key_size": 32, "auto_rotate_period": "24h"}, nil},
		{"V04 missing", "penname-record", nil, nil},
		{"V21 type", "penname-fingerprint", map[string]any{"type": "aes256-gcm96"}, nil}, // one key to encrypt and to authenticate
		{"V22 convergent_encryption", "penname-record", with("convergent_encryption", true), nil},
	} {
		t.Run(c.flag+" "+c.key, func(t *testing.T) {
			remake(t, v, c.key, c.made)
			if c.then != nil {
				v.Must(t, "POST", mount+"keys/"+c.key+"/config", c.then)
			}
			_, flag, _ := strings.Cut(c.flag, " ")
			wantRefusal(t, open(t, v, vault.SideIssuing), vault.ErrUnsafeKey, flag)
			if c.key == "penname-record" || c.key == "penname-link" {
				wantRefusal(t, open(t, v, vault.SideDisclosing), vault.ErrUnsafeKey, flag)
			}
			// Bootstrap mends what Vault lets it mend, and leaves the rest.
			_, err := vault.Bootstrap(t.Context(), v.Admin)
			if flag == "missing" || flag == "deletion_allowed" {
				if err != nil {
					t.Errorf("bootstrap did not mend it: %v", err)
				}
			} else {
				wantRefusal(t, err, vault.ErrUnsafeKey, flag)
			}
			if flag != "missing" {
				remake(t, v, c.key, nil)
			}
			if _, err := vault.Bootstrap(t.Context(), v.Admin); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("V04 latest_version penname-pseudonym", func(t *testing.T) {
		issuing, _ := v.Sides(t)
		before, err := issuing.MAC(t.Context(), "pseudonym", []byte("person"))
		if err != nil {
			t.Fatal(err)
		}
		v.Must(t, "POST", mount+"keys/penname-pseudonym/rotate", nil)
		wantRefusal(t, open(t, v, vault.SideIssuing), vault.ErrUnsafeKey, "latest_version")
		// Who is running goes on with version 1: nobody is renamed.
		after, err := issuing.MAC(t.Context(), "pseudonym", []byte("person"))
		if err != nil || string(after[0]) != string(before[0]) {
			t.Errorf("a rotation renamed somebody: %v", err)
		}
	})
}

func TestV05AssociatedDataIsBound(t *testing.T) {
	v := escrowtest.Vault(t)
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	token := v.Token(t, vault.SideDisclosing)
	for name, c := range map[string]struct {
		fields map[string]any
		status int
	}{
		"as wrapped":      {map[string]any{"ciphertext": half, "context": b64("label")}, 200},
		"associated_data": {map[string]any{"ciphertext": half, "context": b64("label"), "associated_data": b64("label")}, 400},
		"another context": {map[string]any{"ciphertext": half, "context": b64("other")}, 400},
		"no context":      {map[string]any{"ciphertext": half}, 400},
	} {
		if status, answer := v.Do(t, token, "POST", mount+"decrypt/penname-record", items(c.fields)); status != c.status {
			t.Errorf("%s: status %d, want %d: %v", name, status, c.status, answer)
		}
	}
}

func TestV06VersionBelowMinimumIsArchived(t *testing.T) {
	v := escrowtest.OwnVault(t)
	issuing, disclosing := v.Sides(t)
	old, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	v.Must(t, "POST", mount+"keys/penname-record/rotate", nil)
	fresh, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrapped := range []string{old, fresh} {
		if half, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", wrapped); err != nil || string(half) != "half" {
			t.Errorf("after a rotation both versions open: %q, %v", half, err)
		}
	}
	// A rotation of the record key is ordinary: both sides still start.
	if err := errors.Join(open(t, v, vault.SideIssuing), open(t, v, vault.SideDisclosing)); err != nil {
		t.Error(err)
	}
	v.Must(t, "POST", mount+"keys/penname-record/config", map[string]any{"min_decryption_version": 2})
	_, err = escrowtest.UnwrapHalf(t.Context(), disclosing, "label", old)
	wantRefusal(t, err, keep.ErrArchived, "")
	if half, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", fresh); err != nil || string(half) != "half" {
		t.Errorf("the version that is allowed opens: %q, %v", half, err)
	}
}

// Vault reads v0 as v1, for values of its first release: that a value has one
// form only is our own check, in the conformance suite.
func TestV07VaultItselfRefusesJunk(t *testing.T) {
	v := escrowtest.Vault(t)
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	token := v.Token(t, vault.SideDisclosing)
	for _, junk := range []string{"", "vault:v0:", strings.Replace(half, ":v1:", ":v999999:", 1), "vault:v1:%%%"} {
		if status, _ := v.Do(t, token, "POST", mount+"decrypt/penname-record", items(map[string]any{"ciphertext": junk, "context": b64("label")})); status != 400 {
			t.Errorf("%q: status %d, want 400", junk, status)
		}
	}
}

// A batch of which a part failed is a success for nobody but those whose part
// did not fail; an answer that does not fit the question is for nobody.
func TestV08PartialFailureIsNotSuccess(t *testing.T) {
	v := escrowtest.Vault(t)
	issuing, _ := v.Sides(t)
	proxy := escrowtest.NewProxy(t, v.Address)
	config := v.Config(t, vault.SideDisclosing)
	config.Address = proxy.URL
	disclosing, err := vault.OpenDisclosing(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	iconfig := v.Config(t, vault.SideIssuing)
	iconfig.Address = proxy.URL
	wrapping, err := vault.OpenIssuing(t.Context(), iconfig)
	if err != nil {
		t.Fatal(err)
	}
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]*refusal.Error{
		`{"data":{"batch_results":[]}}`: keep.ErrUnavailable,
		`{"data":{"batch_results":[{"plaintext":"aGFsZg=="},{"plaintext":"aGFsZg=="}]}}`:    keep.ErrUnavailable,
		`{"data":{"batch_results":[{"plaintext":""}]}}`:                                     keep.ErrUnavailable,
		`{"data":{"batch_results":[{}]}}`:                                                   keep.ErrUnavailable,
		`{"data":{"batch_results":[null]}}`:                                                 keep.ErrUnavailable,
		`{"data":{"plaintext":"aGFsZg=="}}`:                                                 keep.ErrUnavailable,
		`{"data":{"batch_results":[{"plaintext":"aGFsZg"}]}}`:                               keep.ErrUnavailable,
		`{"data":{"batch_results":[{"reference":"0","plaintext":"aGFsZg==","error":"x"}]}}`: keep.ErrDecryptFailed,
		`{"data":{"batch_results":[{"reference":"0","plaintext":"aGFsZg"}]}}`:               keep.ErrUnavailable,
		`{"data":{"batch_results":[{"reference":"0"}]}}`:                                    keep.ErrUnavailable,
		`{"data":{"batch_results":[{"ciphertext":"vault:v1:aGFsZg==","hmac":"vault:v1:"}]`:  keep.ErrUnavailable,
		`[]`: keep.ErrUnavailable, ``: keep.ErrUnavailable, `null`: keep.ErrUnavailable,
	} {
		for _, status := range []int{200, 400} {
			proxy.Break(escrowtest.Status(status, body))
			got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half)
			if wantRefusal(t, err, want, ""); got != nil {
				t.Errorf("status %d with %q: an error and a half", status, body)
			}
		}
	}
	for _, body := range []string{
		`{"data":{"batch_results":[{"ciphertext":""}]}}`, `{"data":{"batch_results":[{"error":"x"}]}}`,
		`{"data":{"batch_results":[{"ciphertext":"aGFsZg=="}]}}`, `{"data":{"batch_results":[{"hmac":"vault:v1:aGFsZg=="}]}}`,
		`{"data":{"batch_results":[{"hmac":"vault:v2:` + b64(strings.Repeat("x", 32)) + `"}]}}`,
	} {
		proxy.Break(escrowtest.Status(200, strings.Replace(body, "[{", `[{"reference":"0",`, 1)))
		_, err := wrapping.WrapHalf(t.Context(), "label", []byte("half"))
		wantRefusal(t, err, keep.ErrUnavailable, "")
		_, err = wrapping.MAC(t.Context(), "pseudonym", []byte("person"))
		wantRefusal(t, err, keep.ErrUnavailable, "")
	}
}

// Results in another order than their items are nobody's: two people would have
// got each other's pen name. So is one without a reference.
func TestFoundO1BatchResultsOfOthers(t *testing.T) {
	v := escrowtest.Vault(t)
	proxy := escrowtest.NewProxy(t, v.Address)
	config := v.Config(t, vault.SideIssuing)
	config.Address = proxy.URL
	issuing, err := vault.OpenIssuing(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	macs := func() ([][]byte, error) {
		return issuing.MAC(t.Context(), "pseudonym", []byte("one person"), []byte("another"))
	}
	honest, err := macs()
	if err != nil || len(honest) != 2 {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]map[string]any){
		"in another order":   func(results []map[string]any) { slices.Reverse(results) },
		"the same one twice": func(results []map[string]any) { results[1] = results[0] },
		"no reference":       func(results []map[string]any) { delete(results[0], "reference") },
	} {
		proxy.BreakPath("/v1/"+mount+"hmac/penname-pseudonym", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Set("Accept-Encoding", "identity")
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			var body struct {
				Data struct {
					Results []map[string]any `json:"batch_results"`
				} `json:"data"`
			}
			if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil || len(body.Data.Results) != 2 {
				t.Error(name, err)
				return
			}
			change(body.Data.Results)
			json.NewEncoder(w).Encode(body) //nolint:errcheck // the client sees it
		})
		if got, err := macs(); got != nil {
			t.Errorf("%s: believed, %v", name, err)
		} else {
			wantRefusal(t, err, keep.ErrUnavailable, "")
		}
	}
}

func TestV09MistypedKeyNameMakesNoKey(t *testing.T) {
	v := escrowtest.Vault(t)
	body := items(map[string]any{"plaintext": b64("x"), "context": b64("label")})
	if status, _ := v.Do(t, v.Token(t, vault.SideIssuing), "POST", mount+"encrypt/penname-recrod", body); status != 403 {
		t.Errorf("issuing token: status %d, want 403", status)
	}
	if status, _ := v.Do(t, v.RootToken, "POST", mount+"encrypt/penname-recrod", body); status != 400 {
		t.Errorf("even root: status %d, want 400: disable_upsert", status)
	}
	if status, _ := v.Do(t, v.RootToken, "GET", mount+"keys/penname-recrod", nil); status != 404 {
		t.Errorf("the key was made: status %d", status)
	}
}

func TestV10CallerSuppliedNonceIsNotUsed(t *testing.T) {
	v := escrowtest.Vault(t)
	token := v.Token(t, vault.SideIssuing)
	nonce := base64.StdEncoding.EncodeToString(make([]byte, 12))
	if status, _ := v.Do(t, token, "POST", mount+"encrypt/penname-record", map[string]any{
		"batch_input": []any{map[string]any{"plaintext": b64("x"), "context": b64("label")}}, "nonce": nonce}); status != 403 {
		t.Errorf("nonce beside the batch: status %d, want 403", status)
	}
	seen := map[string]bool{}
	for range 2 {
		status, answer := v.Do(t, token, "POST", mount+"encrypt/penname-record",
			items(map[string]any{"plaintext": b64("x"), "context": b64("label"), "nonce": nonce}))
		if status == 400 {
			continue // refused is as good
		}
		data, _ := json.Marshal(answer["data"])
		var batch struct {
			Results []struct{ Ciphertext string } `json:"batch_results"`
		}
		if err := json.Unmarshal(data, &batch); err != nil || len(batch.Results) != 1 {
			t.Fatalf("status %d: %v", status, answer)
		}
		text := batch.Results[0].Ciphertext
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "vault:v1:"))
		if err != nil || seen[text] || strings.HasPrefix(string(raw), string(make([]byte, 12))) {
			t.Errorf("the caller's nonce was used: %q, %v", text, err)
		}
		seen[text] = true
	}
}

func TestV11WrappedSecretIDUnwrapsOnce(t *testing.T) {
	v := escrowtest.Vault(t)
	wrapped := func(side vault.Side, ttl time.Duration) vault.Config {
		c, err := vault.NewCredentials(t.Context(), v.Admin, side, ttl)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(c.Secret, "hvs.") || strings.Contains(fmt.Sprintf("%v %+v %#v", c, c, c), c.Secret) {
			t.Errorf("not wrapped, or printed: %v", c)
		}
		return vault.Config{Address: v.Address, RoleID: c.RoleID, SecretIDFile: escrowtest.SecretFile(t, c.Secret)}
	}
	config := wrapped(vault.SideIssuing, time.Minute)
	token, err := os.ReadFile(config.SecretIDFile)
	if err != nil {
		t.Fatal(err)
	}
	first, err := vault.OpenIssuing(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	stolen := config // on its way, somebody took a copy
	stolen.SecretIDFile = escrowtest.SecretFile(t, string(token))
	_, err = vault.OpenIssuing(t.Context(), stolen)
	wantRefusal(t, err, vault.ErrWrapUsed, "")
	// The first one keeps the secret id for its next log-in.
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := first.WrapHalf(t.Context(), "label", []byte("half")); err != nil {
		t.Error(err)
	}
	// A wrapping token for another role is not even spent.
	other := wrapped(vault.SideDisclosing, time.Minute)
	_, err = vault.OpenIssuing(t.Context(), other)
	wantRefusal(t, err, vault.ErrWrapUsed, "")
	if _, err := vault.OpenDisclosing(t.Context(), other); err != nil {
		t.Errorf("the token was spent by the wrong side: %v", err)
	}
	// A token that wraps something else.
	_, answer := v.Do(t, v.RootToken, "POST", "auth/token/create", map[string]any{"policies": []string{"default"}})
	other.SecretIDFile = escrowtest.SecretFile(t, fmt.Sprint(answer["auth"].(map[string]any)["client_token"]))
	_, err = vault.OpenDisclosing(t.Context(), other)
	wantRefusal(t, err, vault.ErrWrapUsed, "")
}

func TestV12SecretIDOfAnotherRole(t *testing.T) {
	v := escrowtest.Vault(t)
	issuing, disclosing := v.Config(t, vault.SideIssuing), v.Config(t, vault.SideDisclosing)
	crossed := issuing
	crossed.RoleID = disclosing.RoleID
	_, err := vault.OpenDisclosing(t.Context(), crossed)
	wantRefusal(t, err, vault.ErrLogin, "")
	// A whole pair of the other side logs in, and is not what the side needs.
	_, err = vault.OpenIssuing(t.Context(), disclosing)
	wantRefusal(t, err, vault.ErrTooNarrow, "penname-issuing")
	// An accessor works only under its own role (GO-2023-1900).
	made := v.Must(t, "POST", "auth/approle/role/penname-issuing/secret-id", map[string]any{})
	for _, op := range []string{"lookup", "destroy"} {
		status, answer := v.Do(t, v.RootToken, "POST", "auth/approle/role/penname-disclosing/secret-id-accessor/"+op,
			map[string]any{"secret_id_accessor": made["secret_id_accessor"]})
		if status == http.StatusOK || answer["data"] != nil {
			t.Errorf("%s of another role's accessor: status %d: %v", op, status, answer)
		}
	}
	issuing.SecretIDFile = escrowtest.SecretFile(t, fmt.Sprint(made["secret_id"]))
	if _, err := vault.OpenIssuing(t.Context(), issuing); err != nil {
		t.Errorf("the secret id was destroyed through another role: %v", err)
	}
}

func TestV13TokenExpiresMidCase(t *testing.T) {
	v := escrowtest.Vault(t)
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := escrowtest.NewProxy(t, v.Address)
	clock := &clock{now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	config := v.Config(t, vault.SideDisclosing)
	config.Address, config.Now = proxy.URL, clock.Now
	disclosing, err := vault.OpenDisclosing(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	count := func(path string) (n int) {
		for _, r := range proxy.Seen() {
			if r.URL.Path == "/v1/"+path {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		after          time.Duration
		logins, renews int
	}{
		{0, 1, 0},
		{13 * time.Minute, 1, 0}, // less than two thirds of 20 minutes
		{time.Minute, 1, 1},      // more: renewed
		{21 * time.Minute, 2, 1}, // gone: logged in again
		{14 * time.Minute, 2, 2},
	} {
		clock.advance(step.after)
		if got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half); err != nil || string(got) != "half" {
			t.Fatalf("after %v: %q, %v", step.after, got, err)
		}
		if l, r := count("auth/approle/login"), count("auth/token/renew-self"); l != step.logins || r != step.renews {
			t.Errorf("after %v: %d log-ins and %d renewals, want %d and %d", step.after, l, r, step.logins, step.renews)
		}
	}
	// Renewal fails, log-in fails: the token is used until it ends, then no more.
	proxy.Break(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasPrefix(r.URL.Path, "/v1/auth/") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
	clock.advance(15 * time.Minute)
	if got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half); err != nil || string(got) != "half" {
		t.Errorf("the token is good for five more minutes: %q, %v", got, err)
	}
	clock.advance(6 * time.Minute)
	_, err = escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half)
	wantRefusal(t, err, keep.ErrUnavailable, "")
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestV14PathTricksGainNothing(t *testing.T) {
	v := escrowtest.Vault(t)
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	token := v.Token(t, vault.SideIssuing)
	body := items(map[string]any{"ciphertext": half, "context": b64("label")})
	for _, path := range []string{
		"encrypt/../decrypt/penname-record", "encrypt/%2e%2e/decrypt/penname-record", "encrypt/penname-record/../../decrypt/penname-record",
		"./decrypt/penname-record", "decrypt//penname-record", "DECRYPT/penname-record", "decrypt/penname-record/", "decrypt/Penname-Record",
		"encrypt/penname-record%2f..%2f..%2fdecrypt%2fpenname-record",
	} {
		status, answer := v.Do(t, token, "POST", mount+path, body)
		if text, _ := json.Marshal(answer); status/100 == 2 || strings.Contains(string(text), b64("half")) {
			t.Errorf("%s: status %d: %s", path, status, text)
		}
	}
	for _, method := range []string{"LIST", "SCAN", "PATCH", "HEAD"} {
		for _, path := range []string{"keys", "keys/", "decrypt", "keys/penname-record/"} {
			if status, _ := v.Do(t, token, method, mount+path, nil); status/100 == 2 {
				t.Errorf("%s %s: status %d", method, path, status)
			}
		}
	}
	// CVE-2025-5999: a policy name in another case must not become root or ours.
	status, answer := v.Do(t, v.RootToken, "POST", "auth/approle/role/case", map[string]any{"token_policies": []string{"ROOT", " root"}})
	if status/100 == 2 {
		id := v.Must(t, "GET", "auth/approle/role/case/role-id", nil)["role_id"]
		secret := v.Must(t, "POST", "auth/approle/role/case/secret-id", map[string]any{})["secret_id"]
		status, answer = v.Do(t, "", "POST", "auth/approle/login", map[string]any{"role_id": id, "secret_id": secret})
	}
	if status/100 == 2 && strings.Contains(fmt.Sprint(answer["auth"].(map[string]any)["token_policies"]), "root") {
		t.Errorf("an AppRole gave a root token: %v", answer["auth"])
	}
	v.Must(t, "DELETE", "auth/approle/role/case", nil)
}

// TestV16 is Vault's part of the privacy canary: what we send is in none of the
// files that Vault writes, in no encoding of ours.
func TestV16NothingInClearInAuditLogOrStorage(t *testing.T) {
	v := escrowtest.OwnVault(t)
	issuing, disclosing := v.Sides(t)
	const canary, label, pseudonym = "CanaryPerson1234567890ABCDEF", "canarylabel4567890", "pen1canarypseudonym"
	half, err := issuing.WrapHalf(t.Context(), label, []byte(canary))
	if err != nil {
		t.Fatal(err)
	}
	link, err := issuing.WrapLink(t.Context(), pseudonym, []byte(canary))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := issuing.MAC(t.Context(), "pseudonym", []byte(canary))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := issuing.MAC(t.Context(), "fingerprint", []byte(canary)); err != nil {
		t.Fatal(err)
	}
	if _, err := escrowtest.UnwrapHalf(t.Context(), disclosing, label, half); err != nil {
		t.Fatal(err)
	}
	if _, err := escrowtest.OpenLink(t.Context(), disclosing, pseudonym, link); err != nil {
		t.Fatal(err)
	}
	escrowtest.UnwrapHalf(t.Context(), disclosing, "wrong", half) // a failure is audited as well
	var needles []string
	for _, secret := range []string{canary, label, pseudonym, string(sums[0])} {
		needles = append(needles, secret)
		for shift := range 3 { // base64 at each alignment, without the ends that its neighbours change
			text := b64(strings.Repeat("\x00", shift) + secret)
			needles = append(needles, text[4:len(text)-4])
		}
	}
	files, bytes := 0, 0
	err = filepath.WalkDir(filepath.Dir(v.Audit), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, needle := range needles {
			if strings.Contains(string(text), needle) {
				t.Errorf("%s holds %q", filepath.Base(path), needle)
			}
		}
		files, bytes = files+1, bytes+len(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := v.Decrypts(t); n != 3 || files < 4 || bytes < 1<<16 {
		t.Errorf("searched %d files of %d bytes with %d decrypts: that is not what Vault wrote", files, bytes, n)
	}
	// The search finds what is there: the key names are in clear.
	text, err := os.ReadFile(v.Audit)
	if err != nil || !strings.Contains(string(text), "penname-transit/decrypt/penname-record") {
		t.Errorf("the audit file does not say what was done: %v", err)
	}
}

func TestV17WrongAuthorityOrNoVerification(t *testing.T) {
	v := escrowtest.Vault(t)
	target, err := url.Parse(v.Address)
	if err != nil {
		t.Fatal(err)
	}
	reached := 0
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { reached++; r.SetURL(target) }}
	server := httptest.NewUnstartedServer(proxy)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	config := v.Config(t, vault.SideIssuing)
	config.Address = server.URL

	_, err = vault.OpenIssuing(t.Context(), config) // the system's authorities do not know it
	wantRefusal(t, err, keep.ErrUnavailable, "certificate")
	config.CAFile = caFile(t, selfSigned(t))
	_, err = vault.OpenIssuing(t.Context(), config)
	wantRefusal(t, err, keep.ErrUnavailable, "certificate")
	if reached != 0 {
		t.Errorf("%d requests reached a server that is not verified", reached)
	}
	config.CAFile = escrowtest.SecretFile(t, "not a certificate")
	_, err = vault.OpenIssuing(t.Context(), config)
	wantRefusal(t, err, vault.ErrCA, "")
	config.CAFile = filepath.Join(t.TempDir(), "missing")
	_, err = vault.OpenIssuing(t.Context(), config)
	wantRefusal(t, err, vault.ErrCA, "")

	config.CAFile = caFile(t, server.Certificate().Raw)
	if _, err := vault.OpenIssuing(t.Context(), config); err != nil {
		t.Errorf("with the right authority: %v (%v)", err, errors.Unwrap(err))
	}
	for _, value := range []string{"1", "true", "false"} {
		t.Setenv("VAULT_SKIP_VERIFY", value)
		_, err = vault.OpenIssuing(t.Context(), config)
		wantRefusal(t, err, vault.ErrSkipVerify, "")
	}
}

func caFile(t *testing.T, der []byte) string {
	return escrowtest.SecretFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestV17PlainHTTPOnLoopbackOnly(t *testing.T) {
	config := vault.Config{RoleID: "role", SecretIDFile: escrowtest.SecretFile(t, "secret"), Timeout: time.Second}
	for _, address := range []string{"", "vault", "http://vault.example:8200", "http://localhost:8200", "http://127.0.0.1.evil.example", "http://10.0.0.1:8200",
		"ftp://127.0.0.1", "unix:///run/vault.sock", "https://user:pass@vault.example", "https://vault.example/path", "https://vault.example?x=1", "https://", "//vault.example"} {
		config.Address = address
		_, err := vault.OpenIssuing(t.Context(), config)
		wantRefusal(t, err, vault.ErrAddress, "")
		_, err = vault.Bootstrap(t.Context(), vault.Admin{Address: address})
		wantRefusal(t, err, vault.ErrAddress, "")
	}
}

// An address without TLS of a Vault with TLS is refused, and not taken for an outage.
func TestV17TLSIsSpokenThere(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	admin := vault.Admin{Address: "http://" + server.Listener.Addr().String()}
	_, err := vault.Bootstrap(t.Context(), admin)
	wantRefusal(t, err, vault.ErrAddress, "use https")
	_, err = vault.NewCredentials(t.Context(), admin, vault.SideIssuing, 0)
	wantRefusal(t, err, vault.ErrAddress, "use https")
	err = vault.TakeSnapshot(t.Context(), admin, io.Discard, seen{{Oldest: 1, Newest: 1}})
	wantRefusal(t, err, vault.ErrAddress, "use https")
}

func TestV18RedirectToAnotherHostIsNotFollowed(t *testing.T) {
	v := escrowtest.Vault(t)
	reached := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached++ }))
	defer other.Close()
	proxy := escrowtest.NewProxy(t, v.Address)
	config := v.Config(t, vault.SideDisclosing)
	config.Address = proxy.URL
	disclosing, err := vault.OpenDisclosing(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, place := range []string{other.URL, proxy.URL + "/elsewhere"} {
			proxy.Break(escrowtest.Redirect(status, place))
			_, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half)
			wantRefusal(t, err, vault.ErrRedirect, "")
			if refusal.Of(err).Kind != refusal.Unavailable {
				t.Errorf("status %d: kind %v", status, refusal.Of(err).Kind)
			}
			_, err = vault.OpenDisclosing(t.Context(), config) // at the log-in, where the secret id is
			wantRefusal(t, err, vault.ErrRedirect, "")
		}
	}
	if reached != 0 {
		t.Errorf("%d requests went to another host", reached)
	}
}

func TestV19SealedAndStandby(t *testing.T) {
	v := escrowtest.OwnVault(t)
	issuing, disclosing := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	v.Must(t, "PUT", "sys/seal", nil)
	_, err = escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half)
	wantRefusal(t, err, keep.ErrUnavailable, "503")
	_, err = issuing.MAC(t.Context(), "pseudonym", []byte("person"))
	wantRefusal(t, err, keep.ErrUnavailable, "503")
	_, err = vault.OpenIssuing(t.Context(), vault.Config{Address: v.Address, RoleID: "role", SecretIDFile: escrowtest.SecretFile(t, "secret")})
	wantRefusal(t, err, keep.ErrUnavailable, "503")
	_, err = vault.Bootstrap(t.Context(), v.Admin)
	wantRefusal(t, err, keep.ErrUnavailable, "503")
	// Who can have it unsealed is told; who is served is not.
	wantRefusal(t, err, vault.ErrSealed, "503")
	_, err = vault.NewCredentials(t.Context(), v.Admin, vault.SideIssuing, 0)
	wantRefusal(t, err, vault.ErrSealed, "503")
	_, _, err = issuing.Versions(t.Context(), 0)
	wantRefusal(t, err, vault.ErrSealed, "503")
	err = vault.TakeSnapshot(t.Context(), v.Admin, io.Discard, seen{{Oldest: 1, Newest: 1}})
	wantRefusal(t, err, vault.ErrSealed, "503")
	_, err = vault.OpenIssuing(t.Context(), vault.Config{Address: v.Address, RoleID: "role", SecretIDFile: escrowtest.SecretFile(t, "secret")})
	wantRefusal(t, err, vault.ErrSealed, "503")
	_, err = issuing.MAC(t.Context(), "pseudonym", []byte("person"))
	if wantRefusal(t, err, keep.ErrUnavailable, "sealed"); refusal.Of(err).Code != keep.ErrUnavailable.Code {
		t.Errorf("who is served hears %s", refusal.Of(err).Code)
	}
	if err := v.Unseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half); err != nil || string(got) != "half" {
		t.Errorf("unsealed again: %q, %v", got, err)
	}
	// 429 standby or over quota, 472 and 473 disaster recovery and performance
	// standby: TestF12 has them all.
}

func TestV20RootTokenIsRefused(t *testing.T) {
	v := escrowtest.Vault(t)
	config := v.Config(t, vault.SideIssuing)
	t.Setenv("VAULT_TOKEN", v.RootToken)
	_, err := vault.OpenIssuing(t.Context(), config)
	wantRefusal(t, err, vault.ErrEnvToken, "")
	os.Unsetenv("VAULT_TOKEN")

	// Vault gives root tokens by no AppRole; one that came another way is seen.
	proxy := escrowtest.NewProxy(t, v.Address)
	config.Address = proxy.URL
	for path, body := range map[string]string{
		"/v1/auth/token/lookup-self":        `{"data":{"policies":["root"],"ttl":0}}`,
		"/v1/sys/internal/ui/resultant-acl": `{"data":{"root":true}}`,
	} {
		proxy.BreakPath(path, escrowtest.Status(200, body))
		_, err = vault.OpenIssuing(t.Context(), config)
		wantRefusal(t, err, vault.ErrRootToken, "")
	}
	// The other variables of the environment have no effect.
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_AGENT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_NAMESPACE", "elsewhere")
	t.Setenv("VAULT_HEADERS", `{"X-Evil":"1"}`)
	t.Setenv("VAULT_HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("VAULT_PROXY_ADDR", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("VAULT_CLIENT_TIMEOUT", "1ns")
	t.Setenv("VAULT_WRAP_TTL", "5m") // would leave every answer in Vault, wrapped
	t.Setenv("VAULT_MAX_RETRIES", "5")
	t.Setenv("VAULT_RATE_LIMIT", "0.0001:1")
	proxy.Break(nil)
	if _, err := vault.OpenIssuing(t.Context(), config); err != nil {
		t.Errorf("the environment had an effect: %v (%v)", err, errors.Unwrap(err))
	}
	for _, r := range proxy.Seen() {
		if r.Header.Get("X-Evil") != "" || r.Header.Get("X-Vault-Namespace") != "" {
			t.Errorf("%s carries a header from the environment", r.URL.Path)
		}
	}
	for name, value := range map[string]string{"VAULT_CACERT": "/missing", "VAULT_CLIENT_TIMEOUT": "soon", "VAULT_HEADERS": `{"X-Secret":`} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			_, err := vault.OpenIssuing(t.Context(), config)
			wantRefusal(t, err, vault.ErrEnvironment, "")
			_, err = vault.Bootstrap(t.Context(), v.Admin)
			wantRefusal(t, err, vault.ErrEnvironment, "")
		})
	}
}

func TestV21NoKeyServesTwoPurposes(t *testing.T) {
	v := escrowtest.Vault(t)
	for _, key := range []string{"penname-fingerprint", "penname-pseudonym"} {
		status, _ := v.Do(t, v.RootToken, "POST", mount+"encrypt/"+key, map[string]any{"plaintext": b64("x")})
		if status != 400 {
			t.Errorf("%s encrypts: status %d", key, status)
		}
	}
	// Transit would compute an HMAC with an encryption key: no role may ask it to.
	for _, side := range []vault.Side{vault.SideIssuing, vault.SideDisclosing} {
		for _, key := range []string{"penname-record", "penname-link"} {
			if status, _ := v.Do(t, v.Token(t, side), "POST", mount+"hmac/"+key, map[string]any{"input": b64("x")}); status != 403 {
				t.Errorf("%s authenticates with %s: status %d", side, key, status)
			}
		}
	}
}

// A log-in is sent without a token: an auth plugin that keeps what it sees
// (CVE-2026-4525) sees none of ours, not even when we log in again.
func TestV23LogInCarriesNoToken(t *testing.T) {
	v := escrowtest.OwnVault(t)
	proxy := escrowtest.NewProxy(t, v.Address)
	config := v.Config(t, vault.SideIssuing)
	config.Address = proxy.URL
	issuing, err := vault.OpenIssuing(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	v.Revoke(t)
	if err := issuing.Close(t.Context()); err != nil && !errors.Is(err, vault.ErrDenied) {
		t.Fatal(err)
	}
	if _, err := issuing.WrapHalf(t.Context(), "label", []byte("half")); err != nil {
		t.Fatal(err)
	}
	logins := 0
	for _, r := range proxy.Seen() {
		if r.URL.Path == "/v1/auth/approle/login" {
			logins++
			if _, ok := r.Header["X-Vault-Token"]; ok {
				t.Error("a log-in carries a token")
			}
		} else if r.Header.Get("X-Vault-Token") == "" {
			t.Errorf("%s carries none", r.URL.Path)
		}
		if r.Header.Get("X-Vault-Request") != "true" {
			t.Errorf("%s is not marked as ours", r.URL.Path)
		}
	}
	if logins < 2 {
		t.Errorf("%d log-ins, want a second one", logins)
	}
}

func TestV24TruncatedOrExtendedTokenIsRefused(t *testing.T) {
	v := escrowtest.Vault(t)
	token := v.Token(t, vault.SideIssuing)
	body := items(map[string]any{"plaintext": b64("x"), "context": b64("label")})
	if status, _ := v.Do(t, token, "POST", mount+"encrypt/penname-record", body); status != 200 {
		t.Fatalf("the token as it is: status %d", status)
	}
	for n := range len(token) {
		if status, _ := v.Do(t, token[:n], "POST", mount+"encrypt/penname-record", body); status != 403 {
			t.Errorf("the first %d bytes of %d: status %d, want 403", n, len(token), status)
		}
	}
	for _, tail := range []string{"A", "=", "==", ".", ".x", " x", token, strings.Repeat("A", 4096)} {
		if status, _ := v.Do(t, token+tail, "POST", mount+"encrypt/penname-record", body); status/100 == 2 {
			t.Errorf("extended by %q: status %d", tail[:min(8, len(tail))], status)
		}
	}
}

func TestSecretFileMustBePrivate(t *testing.T) {
	v := escrowtest.Vault(t)
	config := v.Config(t, vault.SideIssuing)
	good := config.SecretIDFile
	secret, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o666} {
		if err := os.Chmod(good, mode); err != nil {
			t.Fatal(err)
		}
		_, err := vault.OpenIssuing(t.Context(), config)
		wantRefusal(t, err, vault.ErrSecretFile, "")
	}
	for name, text := range map[string]string{"empty": "", "blank": " \n", "two": string(secret) + "\n" + string(secret)} {
		config.SecretIDFile = escrowtest.SecretFile(t, text)
		_, err := vault.OpenIssuing(t.Context(), config)
		if wantRefusal(t, err, vault.ErrSecretFile, ""); strings.Contains(fmt.Sprint(err, errors.Unwrap(err)), string(secret)) {
			t.Errorf("%s: the refusal tells the secret", name)
		}
	}
	for _, path := range []string{"", t.TempDir(), filepath.Join(t.TempDir(), "missing"), "/dev/null"} {
		config.SecretIDFile = path
		_, err := vault.OpenIssuing(t.Context(), config)
		wantRefusal(t, err, vault.ErrSecretFile, "")
	}
	config.SecretIDFile = escrowtest.SecretFile(t, string(secret)+"\n") // a line end is no part of it
	if _, err := vault.OpenIssuing(t.Context(), config); err != nil {
		t.Error(err)
	}
	config.SecretIDFile = escrowtest.SecretFile(t, "00000000-0000-0000-0000-000000000000")
	_, err = vault.OpenIssuing(t.Context(), config)
	wantRefusal(t, err, vault.ErrLogin, "")
}

func TestBootstrapIsIdempotentAndPutsBackWhatWasChanged(t *testing.T) {
	v := escrowtest.OwnVault(t) // bootstrapped once
	again := func(want ...string) {
		t.Helper()
		changes, err := vault.Bootstrap(t.Context(), v.Admin)
		if err != nil || strings.Join(changes, "; ") != strings.Join(want, "; ") {
			t.Errorf("changed %q, want %q; %v (%v)", changes, want, err, errors.Unwrap(err))
		}
	}
	again()
	v.Must(t, "POST", mount+"config/keys", map[string]any{"disable_upsert": false})
	again("forbade implicit creation of keys in penname-transit")
	v.Must(t, "POST", "penname-groups/config/keys", map[string]any{"disable_upsert": false})
	again("forbade implicit creation of keys in penname-groups")
	// A mount that has values written in clear, and hands headers through (V16, V23).
	v.Must(t, "POST", "sys/mounts/penname-transit/tune", map[string]any{"audit_non_hmac_response_keys": []string{"plaintext"}, "audit_non_hmac_request_keys": []string{"context"}})
	v.Must(t, "POST", "sys/auth/approle/tune", map[string]any{"audit_non_hmac_request_keys": []string{"secret_id"}, "passthrough_request_headers": []string{"X-Any"}})
	again("emptied audit_non_hmac_request_keys of sys/mounts/penname-transit", "emptied audit_non_hmac_response_keys of sys/mounts/penname-transit",
		"emptied audit_non_hmac_request_keys of sys/auth/approle", "emptied passthrough_request_headers of sys/auth/approle")
	again()
	v.Must(t, "POST", "sys/policies/acl/penname-issuing", map[string]any{"policy": `path "*" { capabilities = ["read"] }`})
	again("wrote the policy penname-issuing")
	v.Must(t, "POST", "auth/approle/role/penname-disclosing", map[string]any{"token_ttl": "23h", "token_num_uses": 7})
	again("wrote the AppRole penname-disclosing")
	v.Must(t, "DELETE", "auth/approle/role/penname-issuing", nil)
	again("wrote the AppRole penname-issuing")
	v.Must(t, "POST", mount+"keys/penname-link/config", map[string]any{"deletion_allowed": true})
	again("forbade deletion of the key penname-link")
	v.Admin.BoundCIDRs = escrowtest.From("127.0.0.0/8")
	roles := []string{"wrote the AppRole penname-issuing", "wrote the AppRole penname-disclosing", "wrote the AppRole penname-keeping",
		"wrote the AppRole penname-issuing-renewer", "wrote the AppRole penname-disclosing-renewer", "wrote the AppRole penname-keeping-renewer"}
	again(roles...)
	again()
	// Who names no addresses takes none away, and puts back what somebody else took.
	bound := v.Admin.BoundCIDRs
	v.Admin.BoundCIDRs, v.Admin.SecretIDTTL = nil, 24*time.Hour
	again(roles...)
	v.Admin.SecretIDTTL = 0
	again(roles...)
	v.Must(t, "POST", "auth/approle/role/penname-issuing", map[string]any{"secret_id_bound_cidrs": []string{}})
	v.Must(t, "DELETE", "auth/approle/role/penname-issuing-renewer", nil)
	again(roles[0], roles[3])
	v.Admin.BoundCIDRs = bound
	again()
	v.Admin.BoundCIDRs = map[vault.Side][]string{vault.SideDisclosing: {}}
	again(roles[1])
	v.Admin.BoundCIDRs = bound
	again(roles[1])
	v.Sides(t)
	token := v.Token(t, vault.SideIssuing)
	v.Admin.BoundCIDRs = escrowtest.From("192.0.2.0/24")
	again(roles...)
	wantRefusal(t, open(t, v, vault.SideIssuing), vault.ErrLogin, "")

	// Something else in the place of the mount.
	v.Must(t, "DELETE", "sys/auth/approle", nil)
	v.Must(t, "POST", "sys/auth/approle", map[string]any{"type": "userpass"})
	_, err := vault.Bootstrap(t.Context(), v.Admin)
	wantRefusal(t, err, vault.ErrBootstrap, "userpass")
	v.Must(t, "DELETE", "sys/auth/approle", nil)
	v.Must(t, "POST", "sys/auth/approle", map[string]any{"type": "approle"})
	v.Admin.BoundCIDRs = nil
	if _, err := vault.Bootstrap(t.Context(), v.Admin); err != nil {
		t.Fatal(err)
	}

	for _, token := range []string{"", "wrong", token} {
		admin := v.Admin
		admin.Token = token
		changes, err := vault.Bootstrap(t.Context(), admin)
		if wantRefusal(t, err, vault.ErrBootstrap, ""); len(changes) != 0 {
			t.Errorf("changed %q", changes)
		}
		_, err = vault.NewCredentials(t.Context(), admin, vault.SideIssuing, 0)
		wantRefusal(t, err, vault.ErrBootstrap, "")
	}
}
