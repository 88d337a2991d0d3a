package vault_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/penname/penname/deploy"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/vault"
)

// TestSnapshotToken: the policy of the token that takes snapshots is enough for one, and
// for nothing else, and each snapshot renews the token, which so outlives its period.
func TestSnapshotToken(t *testing.T) {
	v := escrowtest.OwnVault(t)
	policy, err := deploy.VaultPolicies.ReadFile("vault-policies/penname-snapshot.hcl")
	if err != nil {
		t.Fatal(err)
	}
	v.Must(t, http.MethodPost, "sys/policies/acl/penname-snapshot", map[string]any{"policy": string(policy)})
	token := func(more map[string]any) string {
		t.Helper()
		more["policies"], more["no_default_policy"] = []string{"penname-snapshot"}, true
		status, made := v.Do(t, v.RootToken, http.MethodPost, "auth/token/create-orphan", more)
		if status != http.StatusOK {
			t.Fatal(status, made)
		}
		return fmt.Sprint(made["auth"].(map[string]any)["client_token"])
	}
	renewed := func(token string) bool {
		t.Helper()
		_, ok := v.Must(t, http.MethodPost, "auth/token/lookup", map[string]any{"token": token})["last_renewal_time"]
		return ok
	}
	admin := v.Admin
	admin.Token = token(map[string]any{"period": "720h"})
	if s, err := vault.TakeSnapshot(t.Context(), admin, io.Discard, time.Now()); err != nil || s.Version != 1 {
		t.Fatal(err, errors.Unwrap(err))
	}
	if !renewed(admin.Token) {
		t.Error("the token was not renewed")
	}
	for _, path := range []string{"penname-transit/keys/penname-pseudonym", "sys/policies/acl/penname-issuing"} {
		if status, _ := v.Do(t, admin.Token, http.MethodGet, path, nil); status != http.StatusForbidden {
			t.Errorf("it reads %s: %d", path, status)
		}
	}
	// A token that cannot be renewed does as well, until it ends.
	admin.Token = token(map[string]any{"ttl": "1h", "renewable": false})
	if _, err := vault.TakeSnapshot(t.Context(), admin, io.Discard, time.Now()); err != nil {
		t.Error(err, errors.Unwrap(err))
	}
	if renewed(admin.Token) {
		t.Error("it was renewed")
	}
}
