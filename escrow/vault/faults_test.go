package vault_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/vault"
)

// broken opens the disclosing side behind a proxy, with a value to open.
func broken(t *testing.T, v *escrowtest.VaultFixture, timeout time.Duration) (*escrowtest.Proxy, *vault.Disclosing, string) {
	t.Helper()
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := escrowtest.NewProxy(t, v.Address)
	config := v.Config(t, vault.SideDisclosing)
	config.Address = proxy.URL
	config.Timeout = timeout
	disclosing, err := vault.OpenDisclosing(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return proxy, disclosing, half
}

// TestF12 and F13: whatever breaks at the moment of the decryption, nothing is
// disclosed, Vault decrypts at most once for one call, and the same call
// succeeds when Vault is back.
func TestF12VaultBrokenAtTheDecryption(t *testing.T) {
	v := escrowtest.Vault(t)
	proxy, disclosing, half := broken(t, v, 1500*time.Millisecond)
	garbage := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Write([]byte("\x15\x03\x01\x00\x02\x02\x28")) // a TLS alert where HTTP is expected
			conn.Close()
		}
	}
	status := func(code int) escrowtest.Fault { return escrowtest.Status(code, `{"errors":["the half is aGFsZg=="]}`) }
	for _, c := range []struct {
		name     string
		fault    escrowtest.Fault
		decrypts int // that Vault does
	}{
		{"F12 sealed", status(503), 0},
		{"F12 standby", status(429), 0},
		{"F12 disaster recovery standby", status(472), 0},
		{"F12 performance standby", status(473), 0},
		{"F12 500", status(500), 0},
		{"F12 502", status(502), 0},
		{"F12 504", status(504), 0},
		{"F12 404: the mount is gone", status(404), 0},
		{"F12 412", status(412), 0},
		{"F12 418", status(418), 0},
		{"F12 201", status(201), 0},
		{"F12 204", escrowtest.Status(204, ""), 0},
		{"F12 400 without results", status(400), 0},
		{"F12 slow", proxy.Hang, 0},
		{"F12 connection reset", escrowtest.CutBefore, 0},
		{"F12 TLS broken", garbage, 0},
		{"F13 reply lost", escrowtest.CutAfter, 1},
		{"F13 reply cut short", escrowtest.Truncate, 1},
		{"F13 reply too late", proxy.HangAfter, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := v.Decrypts(t)
			proxy.BreakPath("/v1/penname-transit/decrypt/penname-record", c.fault)
			got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half)
			wantRefusal(t, err, keep.ErrUnavailable, "")
			if got != nil {
				t.Error("an error and a half")
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if text := fmt.Sprintf("%v %+v", e, e); strings.Contains(text, "aGFsZg==") || strings.Contains(text, half) {
					t.Errorf("the refusal tells what Vault answered: %s", text)
				}
			}
			if n := v.Decrypts(t) - before; n != c.decrypts {
				t.Errorf("Vault decrypted %d times, want %d", n, c.decrypts)
			}
			proxy.Break(nil)
			if got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half); err != nil || string(got) != "half" {
				t.Errorf("after the fault: %q, %v", got, err)
			}
			// The audit file counts the lost one as well: one release, two decrypts.
			if n := v.Decrypts(t) - before; n != c.decrypts+1 {
				t.Errorf("Vault decrypted %d times in all, want %d", n, c.decrypts+1)
			}
		})
	}
}

func TestF12VaultGoneAtStart(t *testing.T) {
	v := escrowtest.Vault(t)
	proxy := escrowtest.NewProxy(t, v.Address)
	config := v.Config(t, vault.SideIssuing)
	config.Address, config.Timeout = proxy.URL, time.Second
	for _, path := range []string{"auth/approle/login", "auth/token/lookup-self", "sys/internal/ui/resultant-acl", "sys/capabilities-self", "penname-transit/keys/penname-link"} {
		for _, fault := range []escrowtest.Fault{escrowtest.Status(503, `{}`), escrowtest.CutBefore, escrowtest.CutAfter, escrowtest.Truncate, proxy.Hang} {
			proxy.BreakPath("/v1/"+path, fault)
			issuing, err := vault.OpenIssuing(t.Context(), config)
			if wantRefusal(t, err, keep.ErrUnavailable, ""); issuing != nil {
				t.Errorf("%s broken: a side that was not verified", path)
			}
		}
		// An answer that says nothing is not consent.
		for _, body := range []string{`{}`, `{"data":{}}`, `{"data":null}`} {
			proxy.BreakPath("/v1/"+path, escrowtest.Status(200, body))
			if issuing, err := vault.OpenIssuing(t.Context(), config); err == nil || issuing != nil {
				t.Errorf("%s answers %s: accepted", path, body)
			}
		}
	}
}

// TestF13 reconciles: with n calls of which the replies are lost, the audit
// file shows n decrypts more than were received.
func TestF13LostRepliesAreCountedInTheAuditFile(t *testing.T) {
	v := escrowtest.Vault(t)
	proxy, disclosing, half := broken(t, v, 5*time.Second)
	before := v.Decrypts(t)
	received := 0
	for i := range 10 {
		proxy.Break(nil)
		if i%2 == 0 {
			proxy.BreakPath("/v1/penname-transit/decrypt/penname-record", escrowtest.CutAfter)
		}
		if _, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half); err == nil {
			received++
		}
	}
	if n := v.Decrypts(t) - before; n != 10 || received != 5 {
		t.Errorf("%d decrypts in the audit file and %d received, want 10 and 5", n, received)
	}
}

// TestF14: "requests and responses must be logged before the client receives
// any secret material" (Vault, audit devices). A device that takes no more
// stops Vault: nothing is disclosed, and the same calls succeed once it takes
// entries again.
func TestF14AuditDevice(t *testing.T) {
	for name, stop := range map[string]func(*escrowtest.VaultFixture, testing.TB) func(){
		"blocked": (*escrowtest.VaultFixture).BlockAudit, "full": (*escrowtest.VaultFixture).FillAudit,
	} {
		t.Run(name, func(t *testing.T) {
			v := escrowtest.OwnVault(t)
			iconfig, dconfig := v.Config(t, vault.SideIssuing), v.Config(t, vault.SideDisclosing)
			iconfig.Timeout, dconfig.Timeout = 2*time.Second, 2*time.Second
			issuing, err := vault.OpenIssuing(t.Context(), iconfig)
			if err != nil {
				t.Fatal(err)
			}
			disclosing, err := vault.OpenDisclosing(t.Context(), dconfig)
			if err != nil {
				t.Fatal(err)
			}
			half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
			if err != nil {
				t.Fatal(err)
			}
			cause := map[string]string{"blocked": "deadline", "full": "500"}[name]
			free := stop(v, t)
			got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half)
			if wantRefusal(t, err, keep.ErrUnavailable, cause); got != nil {
				t.Error("an error and a half")
			}
			_, err = issuing.WrapHalf(t.Context(), "label", []byte("half"))
			wantRefusal(t, err, keep.ErrUnavailable, cause)
			_, err = issuing.MAC(t.Context(), "pseudonym", []byte("person"))
			wantRefusal(t, err, keep.ErrUnavailable, cause)
			_, err = vault.OpenDisclosing(t.Context(), dconfig)
			wantRefusal(t, err, keep.ErrUnavailable, cause)
			if n := v.Decrypts(t); n != 0 {
				t.Errorf("%d decrypts that Vault logged", n)
			}
			free()
			if got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half); err != nil || string(got) != "half" {
				t.Errorf("the device takes entries again: %q, %v", got, err)
			}
			if n := v.Decrypts(t); n != 1 {
				t.Errorf("%d decrypts that Vault logged, want the last", n)
			}
		})
	}
}

func TestF16TokenRevokedAtEachStep(t *testing.T) {
	v := escrowtest.OwnVault(t)
	iconfig, dconfig := v.Config(t, vault.SideIssuing), v.Config(t, vault.SideDisclosing)
	issuing, err := vault.OpenIssuing(t.Context(), iconfig)
	if err != nil {
		t.Fatal(err)
	}
	disclosing, err := vault.OpenDisclosing(t.Context(), dconfig)
	if err != nil {
		t.Fatal(err)
	}
	var half, link string
	steps := []struct {
		name string
		call func(context.Context) error
	}{
		{"WrapHalf", func(ctx context.Context) error {
			wrapped, err := issuing.WrapHalf(ctx, "label", []byte("half"))
			half = cmp.Or(wrapped, half)
			return err
		}},
		{"WrapLink", func(ctx context.Context) error {
			wrapped, err := issuing.WrapLink(ctx, "pen1", []byte("link"))
			link = cmp.Or(wrapped, link)
			return err
		}},
		{"MAC", func(ctx context.Context) error {
			_, err := issuing.MAC(ctx, "pseudonym", []byte("person"))
			return err
		}},
		{"UnwrapHalf", func(ctx context.Context) error {
			got, err := escrowtest.UnwrapHalf(ctx, disclosing, "label", half)
			if err == nil && !bytes.Equal(got, []byte("half")) {
				t.Errorf("opened %q", got)
			}
			return err
		}},
		{"OpenLink", func(ctx context.Context) error {
			_, err := escrowtest.OpenLink(ctx, disclosing, "pen1", link)
			return err
		}},
		{"Verify issuing", issuing.Verify},
		{"Verify disclosing", disclosing.Verify},
	}
	for _, s := range steps {
		v.Revoke(t)
		if err := s.call(t.Context()); err != nil {
			t.Errorf("%s with a revoked token: %v (%v)", s.name, err, errors.Unwrap(err))
		}
	}
	// Many at once log in once more, not many times.
	v.Revoke(t)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if _, err := issuing.WrapHalf(t.Context(), fmt.Sprint("label", i), []byte("half")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(v.Accessors(t)); n != 1 {
		t.Errorf("%d tokens after one revocation, want 1", n)
	}
	// Without a secret id there is no way back: a clean refusal, in each step.
	for _, side := range []vault.Side{vault.SideIssuing, vault.SideDisclosing} {
		_, list := v.Do(t, v.RootToken, "LIST", "auth/approle/role/"+string(side)+"/secret-id", nil)
		for _, accessor := range list["data"].(map[string]any)["keys"].([]any) {
			v.Must(t, "POST", "auth/approle/role/"+string(side)+"/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": accessor})
		}
	}
	v.Revoke(t)
	for _, s := range steps {
		wantRefusal(t, s.call(t.Context()), vault.ErrLogin, "")
	}
}

// F16: Vault ended the token before the clock that this side goes by says so,
// and when it is about to renew it.
func TestF16TokenEndsEarly(t *testing.T) {
	v := escrowtest.OwnVault(t)
	issuing, _ := v.Sides(t)
	half, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}
	v.Must(t, http.MethodPost, "auth/approle/role/penname-disclosing", map[string]any{"token_ttl": "2s"})
	clock := &clock{now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)} // stands still
	config := v.Config(t, vault.SideDisclosing)
	config.Now = clock.Now
	disclosing, err := vault.OpenDisclosing(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	v.Must(t, http.MethodPost, "auth/approle/role/penname-disclosing", map[string]any{"token_ttl": "20m"})
	opens := func(when string) {
		t.Helper()
		before := v.Decrypts(t)
		if got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half); err != nil || string(got) != "half" {
			t.Errorf("%s: %q, %v (%v)", when, got, err, errors.Unwrap(err))
		}
		if n := v.Decrypts(t) - before; n != 1 {
			t.Errorf("%s: Vault decrypted %d times", when, n)
		}
	}
	for len(v.Accessors(t)) > 2 { // until Vault has ended it: those of Sides are left
	}
	opens("expired")
	v.Revoke(t)
	clock.advance(14 * time.Minute)
	opens("revoked when it is to be renewed")

	// No way back in, for now: a clean refusal, at a call and at a renewal, and
	// the same call succeeds when there is one.
	v.Admin.BoundCIDRs = escrowtest.From("192.0.2.0/24")
	if _, err := vault.Bootstrap(t.Context(), v.Admin); err != nil {
		t.Fatal(err)
	}
	v.Revoke(t)
	for range 2 {
		got, err := escrowtest.UnwrapHalf(t.Context(), disclosing, "label", half)
		if wantRefusal(t, err, vault.ErrLogin, ""); got != nil {
			t.Error("an error and a half")
		}
		clock.advance(14 * time.Minute)
	}
	v.Admin.BoundCIDRs = escrowtest.From()
	if _, err := vault.Bootstrap(t.Context(), v.Admin); err != nil {
		t.Fatal(err)
	}
	opens("let in again")
}
