// Package escrowtest is what the tests of several packages share: a real
// PostgreSQL and a real Vault, a proxy that breaks connections on purpose, and
// the conformance suites of ports, which are run against every implementation.
//
// Servers are started once per test process and end with it, however it ends.
package escrowtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/vault"
)

// SkipOrFail ends a test whose surroundings are missing: on a laptop it is
// skipped, with CI=true it fails, so that a skip cannot hide there.
func SkipOrFail(t testing.TB, reason any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needed in CI: %v", reason)
	}
	t.Skipf("skipped, because not CI: %v", reason)
}

// One server of a kind for the whole process; nothing else is shared.
var (
	sharedPostgres = sync.OnceValues(func() (string, error) {
		if dsn := os.Getenv("PENNAME_TEST_DATABASE_URL"); dsn != "" {
			return dsn, nil
		}
		pg, err := sandbox.StartPostgres(context.Background(), "") // ends with this process
		if err != nil {
			return "", cmp.Or(cause(err), err)
		}
		return pg.DSN, nil
	})
	sharedVault = sync.OnceValues(func() (*VaultFixture, error) { return startVault(context.Background()) })
)

func cause(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

// Postgres returns the superuser's URL of a fresh, empty database, which is
// dropped at the end of the test. The server is that of
// PENNAME_TEST_DATABASE_URL, if set, else that of sandbox.StartPostgres.
// Roles belong to the server, not to the database: create them only if absent.
func Postgres(t testing.TB) string {
	t.Helper()
	admin, err := sharedPostgres()
	if err != nil {
		SkipOrFail(t, err)
	}
	u, err := url.Parse(admin)
	if err != nil || u.Scheme == "" {
		t.Fatal("the administrator's DSN is not a postgres:// URL")
	}
	name := "penname_test_" + strings.ToLower(rand.Text())
	exec := func(sql string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		conn, err := pgx.Connect(ctx, admin)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, sql)
		return err
	}
	if err := exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	u.Path = "/" + name
	return u.String()
}

// VaultFixture is a real Vault server that is bootstrapped.
type VaultFixture struct {
	*sandbox.VaultServer
	Admin vault.Admin
}

// Vault returns the Vault server that all tests of this process share. A test
// that changes it puts it back.
func Vault(t testing.TB) *VaultFixture {
	t.Helper()
	v, err := sharedVault()
	if err != nil {
		SkipOrFail(t, cmp.Or(cause(err), err))
	}
	return v
}

// OwnVault returns a Vault server for this test alone, which may seal, break
// and refill it.
func OwnVault(t testing.TB) *VaultFixture {
	t.Helper()
	v, err := startVault(t.Context())
	if err != nil {
		SkipOrFail(t, cmp.Or(cause(err), err))
	}
	t.Cleanup(func() { v.Stop() })
	return v
}

func startVault(ctx context.Context) (*VaultFixture, error) {
	server, err := sandbox.StartVault(ctx, "", os.Stderr)
	if err != nil {
		return nil, err
	}
	v := &VaultFixture{server, vault.Admin{Address: server.Address, Token: server.RootToken}}
	_, err = vault.Bootstrap(ctx, v.Admin)
	return v, err
}

// From binds every side, and its renewer, to these addresses; none is anywhere.
func From(cidrs ...string) map[vault.Side][]string {
	cidrs = append([]string{}, cidrs...)
	return map[vault.Side][]string{vault.SideIssuing: cidrs, vault.SideDisclosing: cidrs, vault.SideKeeping: cidrs}
}

// Config returns how a side logs in, with a new secret id in a file of the
// test's.
func (v *VaultFixture) Config(t testing.TB, side vault.Side) vault.Config {
	t.Helper()
	c, err := vault.NewCredentials(t.Context(), v.Admin, side, 0)
	if err != nil {
		t.Fatal(err)
	}
	return vault.Config{Address: v.Address, RoleID: c.RoleID, SecretIDFile: SecretFile(t, c.Secret)}
}

// Renewed is Config with a renewer, for a Vault whose sides are bound to addresses.
func (v *VaultFixture) Renewed(t testing.TB, side vault.Side) vault.Config {
	t.Helper()
	c, renewer := v.Config(t, side), v.Config(t, side.Renewer())
	c.RenewerRoleID, c.RenewerSecretIDFile = renewer.RoleID, renewer.SecretIDFile
	return c
}

// Sides opens both sides and closes them at the end of the test.
func (v *VaultFixture) Sides(t testing.TB) (*vault.Issuing, *vault.Disclosing) {
	t.Helper()
	issuing, err := vault.OpenIssuing(t.Context(), v.Config(t, vault.SideIssuing))
	if err != nil {
		t.Fatal(err, cause(err))
	}
	disclosing, err := vault.OpenDisclosing(t.Context(), v.Config(t, vault.SideDisclosing))
	if err != nil {
		t.Fatal(err, cause(err))
	}
	t.Cleanup(func() {
		issuing.Close(context.Background())
		disclosing.Close(context.Background())
	})
	return issuing, disclosing
}

// SecretFile writes a secret into a file with mode 0600.
func SecretFile(t testing.TB, secret string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret-id")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Do sends a raw request to Vault, past all of our own code, and returns the
// status and the decoded answer.
func (v *VaultFixture) Do(t testing.TB, token, method, path string, body any) (int, map[string]any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, v.Address+"/v1/"+path, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	req.Header.Set("X-Vault-Request", "true")
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := map[string]any{}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 0 && json.Unmarshal(raw, &answer) != nil {
		answer["text"] = string(raw)
	}
	return resp.StatusCode, answer
}

// Must is Do as Vault's root; it fails the test unless the status is 2xx.
func (v *VaultFixture) Must(t testing.TB, method, path string, body any) map[string]any {
	t.Helper()
	status, answer := v.Do(t, v.RootToken, method, path, body)
	if status/100 != 2 {
		t.Fatalf("%s %s: status %d: %v", method, path, status, answer)
	}
	data, _ := answer["data"].(map[string]any)
	return data
}

// Token logs in as a side and returns its token, for raw requests.
func (v *VaultFixture) Token(t testing.TB, side vault.Side) string {
	t.Helper()
	c, err := vault.NewCredentials(t.Context(), v.Admin, side, 0)
	if err != nil {
		t.Fatal(err)
	}
	status, answer := v.Do(t, "", http.MethodPost, "auth/approle/login", map[string]string{"role_id": c.RoleID, "secret_id": c.Secret})
	if status != http.StatusOK {
		t.Fatalf("login: status %d: %v", status, answer)
	}
	return fmt.Sprint(answer["auth"].(map[string]any)["client_token"])
}

// Decrypts counts in the audit file the calls that Vault let decrypt: what an
// auditor compares with the log's leaves.
func (v *VaultFixture) Decrypts(t testing.TB) (calls int) {
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
			t.Fatalf("audit file: %v", err)
		}
		if entry.Type == "response" && entry.Error == "" && strings.Contains(entry.Request.Path, "/decrypt/") {
			calls++
		}
	}
	return calls
}

// Accessors lists those of the tokens that the AppRoles gave out.
func (v *VaultFixture) Accessors(t testing.TB) (found []string) {
	t.Helper()
	all, _ := v.Must(t, "LIST", "auth/token/accessors", nil)["keys"].([]any)
	for _, accessor := range all {
		status, token := v.Do(t, v.RootToken, http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
		if status == http.StatusOK && token["data"].(map[string]any)["path"] == "auth/approle/login" {
			found = append(found, fmt.Sprint(accessor))
		}
	}
	return found
}

// Revoke revokes every token that the AppRoles gave out.
func (v *VaultFixture) Revoke(t testing.TB) {
	t.Helper()
	for _, accessor := range v.Accessors(t) {
		status, answer := v.Do(t, v.RootToken, http.MethodPost, "auth/token/revoke-accessor", map[string]any{"accessor": accessor})
		// One that ran out since they were listed is gone already.
		if status >= http.StatusBadRequest && !strings.Contains(fmt.Sprint(answer), "token not found") {
			t.Errorf("POST auth/token/revoke-accessor: %d %v", status, answer)
		}
	}
}

// FillAudit leaves Vault with one audit device, a file on a full disk. free
// makes room and puts the device of before back.
func (v *VaultFixture) FillAudit(t testing.TB) (free func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.Symlink("/dev/full", file); err != nil {
		t.Fatal(err)
	}
	v.Must(t, http.MethodPut, "sys/audit/only", map[string]any{"type": "file", "options": map[string]string{"file_path": file, "mode": "0000", "skip_test": "true"}})
	v.Do(t, v.RootToken, http.MethodDelete, "sys/audit/file", nil) // done, and the answer cannot be logged
	if status, _ := v.Do(t, v.RootToken, http.MethodGet, "sys/mounts", nil); status != http.StatusInternalServerError {
		t.Fatalf("with no audit device that takes anything: status %d", status)
	}
	return func() {
		t.Helper()
		if err := os.Remove(file); err != nil { // Vault opens it again after a failed write
			t.Fatal(err)
		}
		v.onlyFileAudit(t)
	}
}

// BlockAudit leaves Vault with one audit device, a socket whose reader does not
// read and whose buffer is full. free reads, and puts the device of before back.
func (v *VaultFixture) BlockAudit(t testing.TB) (free func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	drain := sync.OnceFunc(func() { close(read) })
	t.Cleanup(func() {
		listener.Close()
		drain()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				<-read
				io.Copy(io.Discard, conn)
			}()
		}
	}()
	v.Must(t, http.MethodPut, "sys/audit/only", map[string]any{"type": "socket", "options": map[string]string{"address": path, "socket_type": "unix", "write_timeout": "10m"}})
	v.Must(t, http.MethodDelete, "sys/audit/file", nil)
	for silent := 0; silent < 2; { // until Vault no longer answers, and was not just slow
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.Address+"/v1/sys/mounts", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", v.RootToken)
		resp, err := http.DefaultTransport.RoundTrip(req)
		cancel()
		if err != nil {
			silent++
			continue
		}
		resp.Body.Close()
		silent = 0
	}
	return func() {
		t.Helper()
		drain()
		v.onlyFileAudit(t)
	}
}

// onlyFileAudit puts the audit device back that the server started with.
func (v *VaultFixture) onlyFileAudit(t testing.TB) {
	t.Helper()
	v.Must(t, http.MethodPut, "sys/audit/file", map[string]any{"type": "file", "options": map[string]string{"file_path": v.Audit, "mode": "0600"}})
	v.Must(t, http.MethodDelete, "sys/audit/only", nil)
}
