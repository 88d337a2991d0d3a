package vault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/refusal"
)

// lookUp returns how long what a file holds lives, by Vault's word to its root.
func lookUp(t *testing.T, v *escrowtest.VaultFixture, role vault.Side, file string) time.Duration {
	t.Helper()
	secret, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := v.Must(t, "POST", "auth/approle/role/"+string(role)+"/secret-id/lookup", map[string]any{"secret_id": strings.TrimSpace(string(secret))})
	begins, berr := time.Parse(time.RFC3339, fmt.Sprint(found["creation_time"]))
	ends, eerr := time.Parse(time.RFC3339, fmt.Sprint(found["expiration_time"]))
	if err := errors.Join(berr, eerr); err != nil {
		t.Fatal(err)
	}
	return ends.Sub(begins).Round(time.Second)
}

// short makes what v gives out from now on live that long.
func short(t *testing.T, v *escrowtest.VaultFixture, life time.Duration) {
	t.Helper()
	v.Admin.BoundCIDRs, v.Admin.SecretIDTTL = escrowtest.From("127.0.0.1/32"), life
	if _, err := vault.Bootstrap(t.Context(), v.Admin); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
}

// C1: Vault ended after 768 hours what was to live for 2160.
func TestFoundC1SecretIDsLiveAsLongAsIsAsked(t *testing.T) {
	v := escrowtest.OwnVault(t)
	if life := lookUp(t, v, vault.SideIssuing, v.Config(t, vault.SideIssuing).SecretIDFile); life != 2160*time.Hour {
		t.Errorf("a secret id lives %s", life)
	}
	v.Must(t, "POST", "sys/auth/approle/tune", map[string]any{"max_lease_ttl": "768h"})
	if life := lookUp(t, v, vault.SideIssuing, v.Config(t, vault.SideIssuing).SecretIDFile); life != 768*time.Hour {
		t.Fatalf("no longer the fault that this is about: %s", life)
	}
	changes, err := vault.Bootstrap(t.Context(), v.Admin)
	if err != nil || strings.Join(changes, "; ") != "let secret ids live as long as is asked" {
		t.Errorf("%q, %v", changes, err)
	}

	// What a person made to live for less does not start a service.
	v.Admin.SecretIDTTL = 23 * time.Hour
	if _, err := vault.Bootstrap(t.Context(), v.Admin); err != nil {
		t.Fatal(err)
	}
	for _, side := range []vault.Side{vault.SideIssuing, vault.SideDisclosing, vault.SideKeeping} {
		wantRefusal(t, openSide(t, v.Config(t, side), side), vault.ErrEndsSoon, string(side)+": on 20")
	}
	v.Admin.SecretIDTTL = 25 * time.Hour
	if _, err := vault.Bootstrap(t.Context(), v.Admin); err != nil {
		t.Fatal(err)
	}
	config := v.Config(t, vault.SideIssuing)
	if err := openSide(t, config, vault.SideIssuing); err != nil {
		t.Error(err)
	}
	config.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	wantRefusal(t, openSide(t, config, vault.SideIssuing), vault.ErrEndsSoon, "penname-issuing: on 20")
}

func openSide(t *testing.T, c vault.Config, side vault.Side) (err error) {
	t.Helper()
	switch side {
	case vault.SideIssuing:
		_, err = vault.OpenIssuing(t.Context(), c)
	case vault.SideDisclosing:
		_, err = vault.OpenDisclosing(t.Context(), c)
	default:
		_, err = vault.OpenKeeping(t.Context(), c)
	}
	return err
}

// C1: secret ids are renewed at half of their lives, and those that were replaced
// open nothing any more. Two processes that share the files renew once.
func TestFoundC1SecretIDsAreRenewed(t *testing.T) {
	v := escrowtest.OwnVault(t)
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	const life = 4 * time.Second
	short(t, v, life)
	config := v.Renewed(t, vault.SideDisclosing)
	config.MinLeft = time.Second
	var sides []*vault.Disclosing
	for range 2 {
		d, err := vault.OpenDisclosing(t.Context(), config)
		if err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
		sides = append(sides, d)
	}
	first, err := os.ReadFile(config.SecretIDFile)
	if err != nil {
		t.Fatal(err)
	}
	began, seen := time.Now(), map[string]bool{}
	for every := time.NewTicker(50 * time.Millisecond); time.Since(began) < 3*life; <-every.C {
		var both sync.WaitGroup
		for _, d := range sides {
			both.Go(func() {
				if err := d.Login().Renew(t.Context()); err != nil {
					t.Error(err, errors.Unwrap(err))
				}
			})
		}
		both.Wait()
		now, err := os.ReadFile(config.SecretIDFile)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(now)] = true
		for _, id := range sides[0].Login().SecretIDs() {
			if !id.Renewed || time.Until(id.Ends) < life/4 {
				t.Fatalf("%s ends in %s", id.Role, time.Until(id.Ends))
			}
		}
	}
	if n := len(seen); n < 5 || n > 7 {
		t.Errorf("%d secret ids in %s", n, 3*life)
	}
	v.Revoke(t) // so that both log in
	for _, d := range sides {
		if got, err := escrowtest.UnwrapHalf(t.Context(), d, "label", half); err != nil || string(got) != "half" {
			t.Errorf("%q, %v", got, err)
		}
	}
	stolen := config
	stolen.RenewerRoleID, stolen.SecretIDFile = "", escrowtest.SecretFile(t, string(first))
	_, err = vault.OpenDisclosing(t.Context(), stolen)
	wantRefusal(t, err, vault.ErrLogin, "penname-disclosing")
}

// C1: a renewer mints for its side, from its addresses, and does nothing else.
func TestFoundC1ARenewerRenewsOnly(t *testing.T) {
	v := escrowtest.OwnVault(t)
	short(t, v, 48*time.Hour)
	config := v.Renewed(t, vault.SideIssuing)
	if err := openSide(t, config, vault.SideIssuing); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	token := v.Token(t, vault.SideIssuing.Renewer())
	role := "auth/approle/role/penname-"
	denied(t, v, token, []attempt{
		{"POST", role + "disclosing/secret-id", map[string]any{}},
		{"POST", role + "issuing/secret-id", map[string]any{"ttl": "1h"}},
		{"POST", role + "issuing/secret-id", map[string]any{"cidr_list": "0.0.0.0/0"}},
		{"POST", role + "issuing/secret-id", map[string]any{"metadata": `{"a":"b"}`}},
		{"POST", role + "issuing/custom-secret-id", map[string]any{"secret_id": "chosen"}},
		{"POST", role + "issuing", map[string]any{"token_ttl": "24h"}},
		{"LIST", role + "issuing/secret-id", nil},
		{"POST", mount + "encrypt/penname-record", items(map[string]any{"plaintext": b64("x"), "context": b64("x")})},
		{"POST", mount + "decrypt/penname-record", items(map[string]any{"ciphertext": "vault:v1:x", "context": b64("x")})},
	})
	if status, answer := v.Do(t, token, "POST", role+"issuing/secret-id", map[string]any{}); status != http.StatusOK {
		t.Errorf("the renewer does not mint: %d %v", status, answer)
	}
	denied(t, v, v.Token(t, vault.SideIssuing), []attempt{
		{"POST", role + "issuing/secret-id", map[string]any{}},
		{"POST", role + "issuing-renewer/secret-id", map[string]any{}},
	})

	// One that may do more, or from anywhere, is not used.
	good := policyText(t, vault.SideIssuing.Renewer())
	v.Must(t, "POST", "sys/policies/acl/penname-issuing-renewer", map[string]any{"policy": good + `path "auth/approle/role/penname-disclosing/secret-id" { capabilities = ["update"] }`})
	wantRefusal(t, openSide(t, config, vault.SideIssuing), vault.ErrTooBroad, "penname-issuing-renewer: rule for auth/approle/role/penname-disclosing/secret-id")
	v.Must(t, "POST", "sys/policies/acl/penname-issuing-renewer", map[string]any{"policy": good})
	v.Must(t, "POST", role+"issuing-renewer", map[string]any{"token_bound_cidrs": []string{}, "secret_id_bound_cidrs": []string{}})
	wantRefusal(t, openSide(t, config, vault.SideIssuing), vault.ErrTooBroad, "bound to no address")
	v.Must(t, "POST", role+"issuing-renewer", map[string]any{"token_bound_cidrs": []string{"192.0.2.1/32"}, "secret_id_bound_cidrs": []string{"192.0.2.1/32"}})
	wantRefusal(t, openSide(t, config, vault.SideIssuing), vault.ErrLogin, "penname-issuing-renewer")
}

// wrappedFile is a file with a wrapping token.
func wrappedFile(t *testing.T, v *escrowtest.VaultFixture, side vault.Side, life time.Duration) vault.Config {
	t.Helper()
	c, err := vault.NewCredentials(t.Context(), v.Admin, side, life)
	if err != nil {
		t.Fatal(err)
	}
	return vault.Config{Address: v.Address, RoleID: c.RoleID, SecretIDFile: escrowtest.SecretFile(t, c.Secret)}
}

// C2: with a wrapped secret id, a crash and any number of restarts need no hand. Who
// else spent the token is noticed, and which side's it was is said; a start that was
// interrupted while it spent it accuses nobody.
func TestFoundC2AWrappedSecretIDSurvivesRestarts(t *testing.T) {
	v := escrowtest.Vault(t)
	proxy := escrowtest.NewProxy(t, v.Address)
	config := wrappedFile(t, v, vault.SideKeeping, time.Minute)
	config.Address = proxy.URL
	open := func(want *refusal.Error, cause string) {
		t.Helper()
		err := openSide(t, config, vault.SideKeeping)
		if want != nil {
			wantRefusal(t, err, want, cause)
		} else if err != nil {
			t.Error(err, errors.Unwrap(err))
		}
	}
	// Vault is away before anything is spent: the next start goes on.
	proxy.Break(escrowtest.CutBefore)
	open(keep.ErrUnavailable, "penname-keeping")
	proxy.BreakPath("/v1/sys/wrapping/unwrap", escrowtest.CutBefore)
	open(keep.ErrUnavailable, "penname-keeping")
	proxy.Break(nil)
	// It was spent, and the process crashed before it did anything else.
	proxy.BreakPath("/v1/auth/approle/login", escrowtest.CutBefore)
	open(keep.ErrUnavailable, "penname-keeping")
	proxy.Break(nil)
	for range 3 {
		open(nil, "")
	}

	// The answer was lost.
	config = wrappedFile(t, v, vault.SideKeeping, time.Minute)
	config.Address = proxy.URL
	proxy.BreakPath("/v1/sys/wrapping/unwrap", escrowtest.CutAfter)
	open(keep.ErrUnavailable, "penname-keeping")
	proxy.Break(nil)
	open(vault.ErrWrapBroken, "penname-keeping")

	// Somebody else spent it.
	config = wrappedFile(t, v, vault.SideKeeping, time.Minute)
	token, err := os.ReadFile(config.SecretIDFile)
	if err != nil {
		t.Fatal(err)
	}
	v.Do(t, string(token), "POST", "sys/wrapping/unwrap", nil)
	for range 2 {
		open(vault.ErrWrapUsed, "penname-keeping")
	}
}

// C2: several processes that start at once on one file all get in.
func TestFoundC2ProcessesShareAWrappedSecretID(t *testing.T) {
	v := escrowtest.Vault(t)
	config := wrappedFile(t, v, vault.SideIssuing, time.Minute)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			i, err := vault.OpenIssuing(t.Context(), config)
			if err != nil {
				t.Error(err, errors.Unwrap(err))
				return
			}
			i.Close(context.Background())
		})
	}
	all.Wait()
	info, err := os.Stat(config.SecretIDFile)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	// One starts when another has spent the token and not put down what it got.
	proxy := escrowtest.NewProxy(t, v.Address)
	config = wrappedFile(t, v, vault.SideIssuing, time.Minute)
	slow, second := config, make(chan error, 1)
	slow.Address = proxy.URL
	proxy.BreakPath("/v1/sys/wrapping/unwrap", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		go func() { second <- openSide(t, config, vault.SideIssuing) }()
		select {
		case err := <-second:
			second <- err
		case <-time.After(200 * time.Millisecond): // it waits
		}
	})
	if err := openSide(t, slow, vault.SideIssuing); err != nil {
		t.Error(err, errors.Unwrap(err))
	}
	if err := <-second; err != nil {
		t.Error(err, errors.Unwrap(err))
	}
}

// C3: a secret id that somebody replaces by hand is taken while the service runs; one
// that does not log in is not.
func TestFoundC3ASecretIDIsReplacedWhileTheServiceRuns(t *testing.T) {
	v := escrowtest.Vault(t)
	config := v.Config(t, vault.SideIssuing)
	side, err := vault.OpenIssuing(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	put := func(secret string) {
		t.Helper()
		if err := os.WriteFile(config.SecretIDFile, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := side.Login().SecretIDs()[0]
	put("00000000-0000-0000-0000-000000000000")
	wantRefusal(t, side.Login().Reload(t.Context()), vault.ErrLogin, "penname-issuing")
	if _, err := side.WrapHalf(t.Context(), "label", []byte("half")); err != nil {
		t.Error(err)
	}
	next, err := vault.NewCredentials(t.Context(), v.Admin, vault.SideIssuing, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	put(next.Secret)
	if err := side.Login().Reload(t.Context()); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if after := side.Login().SecretIDs()[0]; !after.Begins.After(before.Begins) || after.Renewed {
		t.Errorf("%v, where %v was before", after, before)
	}
}
