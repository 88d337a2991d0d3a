package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/penname/penname/deploy"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
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
	keeping := v.Keeping(t)
	if err := keeping.Open(t.Context(), 3); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	there := seen{{Oldest: 1, Newest: 1}, {Group: 3, Oldest: 1, Newest: 1}}
	if err := vault.TakeSnapshot(t.Context(), admin, io.Discard, there); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	for _, more := range []keep.Used{{Group: 3, Oldest: 1, Newest: 2}, {Group: 4, Oldest: 1, Newest: 1}, {Oldest: 2, Newest: 2}} {
		if err := vault.TakeSnapshot(t.Context(), admin, io.Discard, append(there, more)); !errors.Is(err, keep.ErrRollback) {
			t.Errorf("a snapshot of an older Vault, without %v: %v", more, err)
		}
	}
	if !renewed(admin.Token) {
		t.Error("the token was not renewed")
	}
	for _, path := range []string{"penname-transit/keys/penname-pseudonym", "penname-groups/keys/penname-record-3/rotate", "sys/policies/acl/penname-issuing"} {
		if status, _ := v.Do(t, admin.Token, http.MethodGet, path, nil); status != http.StatusForbidden {
			t.Errorf("it reads %s: %d", path, status)
		}
	}
	// A token that cannot be renewed does as well, until it ends.
	admin.Token = token(map[string]any{"ttl": "1h", "renewable": false})
	if err := vault.TakeSnapshot(t.Context(), admin, io.Discard, there); err != nil {
		t.Error(err, errors.Unwrap(err))
	}
	if renewed(admin.Token) {
		t.Error("it was renewed")
	}
}

// seen is what a database knows of the record keys.
type seen []keep.Used

func (s seen) UsedVersions(context.Context, ...int) ([]keep.Used, error) { return s, nil }
