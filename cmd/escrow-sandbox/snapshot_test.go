package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penname/penname/deploy"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/vault"
)

// vaultCall is what Vault's administrator does by its API.
func vaultCall(ctx context.Context, v *sandbox.VaultServer, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, v.Address+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", v.RootToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("vault answered %d to %s: %s", res.StatusCode, path, out)
	}
	return out, err
}

// vaultWord is what the operator of Vault does: snapshot FILE, restore FILE,
// broaden (the disclosing side may encrypt), bootstrap.
func vaultWord(s *scene, ts *testscript.TestScript, args []string) error {
	ctx := context.Background()
	switch args[0] {
	case "snapshot":
		snapshot, err := vaultCall(ctx, s.Vault, http.MethodGet, "sys/storage/raft/snapshot", nil)
		return errors.Join(err, os.WriteFile(ts.MkAbs(args[1]), snapshot, 0o600))
	case "restore":
		snapshot, err := os.ReadFile(ts.MkAbs(args[1]))
		if err != nil {
			return err
		}
		return s.Vault.Restore(ctx, snapshot, s.Vault)
	case "broaden":
		policy, err := deploy.VaultPolicies.ReadFile("vault-policies/" + string(vault.SideDisclosing) + ".hcl")
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]string{"policy": string(policy) + `path "penname-transit/encrypt/*" { capabilities = ["update"] }`})
		if err != nil {
			return err
		}
		_, err = vaultCall(ctx, s.Vault, http.MethodPost, "sys/policies/acl/"+string(vault.SideDisclosing), body)
		return err
	case "bootstrap":
		changes, err := vault.Bootstrap(ctx, vault.Admin{Address: s.Vault.Address, Token: s.Vault.RootToken})
		fmt.Fprintln(ts.Stdout(), strings.Join(changes, "\n"))
		return err
	}
	return fmt.Errorf("unknown deed %q", args[0])
}
