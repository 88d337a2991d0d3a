package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	escrowd "github.com/penname/penname/cmd/escrowd/command"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/vault"
)

func (o *operator) admin() vault.Admin {
	return vault.Admin{Address: o.world.Vault.Address, Token: o.world.Vault.RootToken}
}

// credentials puts a new secret id of a role, wrapped, into a file.
func (o *operator) credentials(a vault.Admin, role vault.Side, file string) (roleID string) {
	o.t.Helper()
	c, err := vault.NewCredentials(o.t.Context(), a, role, time.Minute)
	if err == nil {
		err = os.WriteFile(file, []byte(c.Secret), 0o600)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return c.RoleID
}

// C2: with a wrapped secret id and the database down at the start, nobody is accused,
// and the next start works, and the one after a crash.
func TestFoundC2TheDatabaseIsDownAtTheStart(t *testing.T) {
	o := newOperator(t)
	for side, file := range o.secretIDs {
		o.credentials(o.admin(), side, file)
	}
	if err := o.world.Postgres.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, errs, code := o.with("", ""); code != 1 || !strings.Contains(errs, "escrowd: database.") {
			t.Errorf("%d: %s", code, errs)
		}
	}
	if err := o.world.Postgres.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if out, errs, code := o.with("", "", "--check"); code != 0 || !strings.Contains(out, "\nok         secret id of penname-keeping: until 20") {
			t.Errorf("%d: %s%s", code, out, errs)
		}
	}
	// Somebody else was faster: said, with the side.
	file := o.secretIDs[vault.SideKeeping]
	o.credentials(o.admin(), vault.SideKeeping, file)
	v := &escrowtest.VaultFixture{VaultServer: o.world.Vault}
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v.Do(t, string(token), http.MethodPost, "sys/wrapping/unwrap", nil)
	if out, errs, code := o.with("", "", "--check"); code != 1 || !faulty(out, "vault.wrap_used: ") || !strings.Contains(out, "keep.vault.secret_id_file: penname-keeping: ") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
}

// TestVaultBootstrapBindsSides: the sides that are bound to addresses get a renewer, and
// the same command again changes nothing.
func TestVaultBootstrapBindsSides(t *testing.T) {
	tb := startVaultForTest(t)
	args := []string{"vault", "bootstrap", "--address", tb.Vault.Address, "--token-file", write(t, "token", tb.Vault.RootToken, 0o600), "--keeping-from", "127.0.0.1/32"}
	for _, want := range []string{"# wrote the AppRole penname-keeping\n# wrote the AppRole penname-keeping-renewer\n", "# nothing to change\n"} {
		var out, errs bytes.Buffer
		code := escrowd.Run(t.Context(), args, &out, &errs)
		changes, sections, _ := strings.Cut(out.String(), "\n[issue.vault]\n")
		if code != 0 || changes != want || strings.Count(sections, "renewer_role_id ") != 1 {
			t.Errorf("%d: %q, not %q; %s", code, out.String(), want, errs.String())
		}
	}
}

// putCertificate replaces the certificate that is served, and returns its serial number.
func (o *operator) putCertificate() *big.Int {
	o.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	secret, kerr := x509.MarshalPKCS8PrivateKey(key)
	kerr = errors.Join(kerr, os.WriteFile(o.setting("tls_key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	cerr := os.WriteFile(o.setting("tls_cert"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	if err := errors.Join(err, kerr, cerr); err != nil {
		o.t.Fatal(err)
	}
	return c.SerialNumber
}

// setting is the value of a key of the configuration.
func (o *operator) setting(key string) string {
	o.t.Helper()
	raw, err := os.ReadFile(o.config)
	if err != nil {
		o.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "\n"+key+" = ")
	line, _, _ := strings.Cut(rest, "\n")
	value, err := strconv.Unquote(line)
	if err != nil {
		o.t.Fatalf("%s: %v", key, err)
	}
	return value
}

// served is the serial number of the certificate at an address.
func served(t *testing.T, address string) *big.Int {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only its number is looked at
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber
}

// C3: the service manager is told when the service is ready, reloads and stops, as
// Type=notify-reload has it, and a reload on SIGHUP ends no connection.
func TestFoundC3TheServiceManagerIsTold(t *testing.T) {
	for name, socket := range map[string]string{"in a folder": filepath.Join(t.TempDir(), "notify"), "abstract": "@penname-test-" + rand.Text()} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			t.Setenv("NOTIFY_SOCKET", socket)
			told := func(want string) (rest string) {
				t.Helper()
				text := make([]byte, 4096)
				if err := ln.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				n, err := ln.Read(text)
				state, rest, _ := strings.Cut(string(text[:n]), "\n")
				if err != nil || state != want {
					t.Fatalf("told %q, not %s: %v", text[:n], want, err)
				}
				return rest
			}
			address, stop := o.serve(o.config)
			told("READY=1")
			transport := o.client.Transport.(*http.Transport).Clone()
			transport.TLSClientConfig.ServerName = "example.com"
			client := &http.Client{Transport: transport}
			get := func() {
				t.Helper()
				res, err := client.Get("https://" + address + "/healthz")
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, res.Body) //nolint:errcheck // empty
				res.Body.Close()
			}
			get()
			serial := o.putCertificate()
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			usec, err := strconv.ParseInt(strings.TrimPrefix(told("RELOADING=1"), "MONOTONIC_USEC="), 10, 64)
			if err != nil || usec <= 0 {
				t.Errorf("the time of the reload: %d, %v", usec, err)
			}
			told("READY=1")
			if now := served(t, address); now.Cmp(serial) != 0 {
				t.Errorf("certificate %d is served, not %d", now, serial)
			}
			get() // on the connection that there was
			transport.CloseIdleConnections()
			if code := stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			told("STOPPING=1")
		})
	}
}

// shortLivedEnv makes the test binary the service, from the configuration file that it
// names, with secret ids that live for yearLife.
const shortLivedEnv = "PENNAME_TEST_SHORT_LIVED"

// yearLife stands for the ninety days of a secret id.
const yearLife = 8 * time.Second

func shortLivedProcess() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := service.ReadConfig(os.Getenv(shortLivedEnv))
	if err != nil {
		return err
	}
	c.Disclose.Vault.MinLeft, c.Keep.Vault.MinLeft = yearLife/90, yearLife/90
	for i := range service.Jobs {
		if service.Jobs[i].Name == "lifetimes" {
			service.Jobs[i].Every = yearLife / 40
		}
	}
	s, err := c.Open(ctx, os.Stderr)
	if err != nil {
		return fmt.Errorf("%w (%w)", err, errors.Unwrap(err))
	}
	defer s.Close()
	ln, err := service.Listen(c.Listen)
	if err != nil {
		return err
	}
	s.Log.Info("serving", "address", ln.Addr().String())
	return s.Run(ctx, ln, service.Machine{})
}

// year is a service that runs for one, in processes that come and go.
type year struct {
	*operator
	mu   sync.Mutex
	logs bytes.Buffer // of all processes
}

// run starts a process and returns when it serves, and where.
func (y *year) run() (p *exec.Cmd, address string) {
	y.t.Helper()
	p = exec.Command(os.Args[0])
	p.Env = append(os.Environ(), shortLivedEnv+"="+y.config)
	errs, err := p.StderrPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() {
		p.Process.Kill() //nolint:errcheck // it may have ended
		p.Wait()         //nolint:errcheck // killed
	})
	serving := make(chan string, 1)
	go func() {
		defer close(serving)
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			y.mu.Lock()
			y.logs.Write(append(lines.Bytes(), '\n'))
			y.mu.Unlock()
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				serving <- line.Address
			}
		}
	}()
	address, ok := <-serving
	if !ok {
		y.t.Fatalf("a process did not start: %s", y.said())
	}
	y.get(address)
	return p, address
}

func (y *year) said() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.logs.String()
}

func (y *year) get(address string) {
	y.t.Helper()
	transport := y.client.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.ServerName = "example.com"
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get("https://" + address + "/log/checkpoint")
	if err != nil {
		y.t.Fatalf("%v: %s", err, y.said())
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		y.t.Errorf("the checkpoint: %s", res.Status)
	}
}

// bind lets secret ids live for yearLife, and gives each side a renewer. All of them come
// wrapped.
func (y *year) bind() {
	y.t.Helper()
	a := y.admin()
	a.BoundCIDRs, a.SecretIDTTL = escrowtest.From("127.0.0.1/32"), yearLife
	if _, err := vault.Bootstrap(y.t.Context(), a); err != nil {
		y.t.Fatal(err, errors.Unwrap(err))
	}
	raw, err := os.ReadFile(y.config)
	if err != nil {
		y.t.Fatal(err)
	}
	text, folder := string(raw), y.t.TempDir()
	for _, side := range []vault.Side{vault.SideDisclosing, vault.SideKeeping} {
		y.secretIDs[side.Renewer()] = filepath.Join(folder, string(side.Renewer())+".secret-id")
		y.credentials(a, side, y.secretIDs[side])
		roleID := y.credentials(a, side.Renewer(), y.secretIDs[side.Renewer()])
		file := fmt.Sprintf("secret_id_file = %q\n", y.secretIDs[side])
		text = strings.Replace(text, file, file+fmt.Sprintf("renewer_role_id = %q\nrenewer_secret_id_file = %q\n", roleID, y.secretIDs[side.Renewer()]), 1)
	}
	if err := os.WriteFile(y.config, []byte(text), 0o600); err != nil {
		y.t.Fatal(err)
	}
}

// TestFoundC1AYearWithoutHands: a service that stands on a real Vault runs for a year,
// of which eight seconds stand for ninety days, and nobody touches it: its secret ids
// came wrapped, it is restarted while it serves, it crashes, Vault is sealed for a while,
// every token is revoked. Then the audit device's file is in rhythm; and it is not once
// a thief mints with the renewer's secret id.
//
// PENNAME_YEARS is how many years, 1 if it is not set.
func TestFoundC1AYearWithoutHands(t *testing.T) {
	years, err := strconv.Atoi(os.Getenv("PENNAME_YEARS"))
	if err != nil {
		years = 1
	}
	y := &year{operator: newOperator(t)}
	y.bind()
	v := &escrowtest.VaultFixture{VaultServer: y.world.Vault}
	now, address := y.run()
	var recovered []time.Duration
	events := []func(){
		func() { // a rolling restart
			next, at := y.run()
			if err := errors.Join(now.Process.Signal(syscall.SIGTERM), now.Wait()); err != nil {
				t.Errorf("a process that was told to stop: %v", err)
			}
			now, address = next, at
		},
		func() { v.Revoke(t) },
		func() { // a crash
			began := time.Now()
			if err := now.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			now.Wait() //nolint:errcheck // killed
			now, address = y.run()
			recovered = append(recovered, time.Since(began))
		},
		func() {
			v.Must(t, http.MethodPut, "sys/seal", nil)
			if err := v.Unseal(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	}
	every := time.NewTicker(yearLife / 4) // twice between two renewals
	defer every.Stop()
	for began, i := time.Now(), 0; time.Since(began) < time.Duration(years)*yearLife*365/90; i++ {
		<-every.C
		events[i%len(events)]()
		y.get(address)
	}
	for _, code := range []string{"vault.login", "vault.wrap_", "vault.secret_id_ends", "vault.too_"} {
		if strings.Contains(y.said(), code) {
			t.Errorf("%s: %s", code, y.said())
		}
	}
	renewed, err := checkSecretIDs(y.t.Context(), y.world.Vault.Audit)
	if err != nil || renewed < years*4*6 {
		t.Errorf("%d renewals, %v (%v)", renewed, err, errors.Unwrap(err))
	}
	slices.Sort(recovered)
	t.Logf("%d secret ids renewed in %d years; from kill -9 to serving, with the TLS handshake and an answer: %s (median of %d), %s (longest)",
		renewed, years, recovered[len(recovered)/2].Round(time.Millisecond), len(recovered), recovered[len(recovered)-1].Round(time.Millisecond))
	y.thief(v)
}

func checkSecretIDs(ctx context.Context, file string) (renewed int, err error) {
	audit, err := vault.ReadAudit(ctx, []string{file}, time.Time{}, nil)
	if err == nil {
		renewed, _, err = service.CheckSecretIDs(audit)
	}
	return renewed, err
}

// thief has a copy of a renewer's secret id, at the service's own address.
func (y *year) thief(v *escrowtest.VaultFixture) {
	y.t.Helper()
	secret, err := os.ReadFile(y.secretIDs[vault.SideDisclosing.Renewer()])
	if err != nil {
		y.t.Fatal(err)
	}
	login := func(role vault.Side, secret any) string {
		y.t.Helper()
		id := v.Must(y.t, http.MethodGet, "auth/approle/role/"+string(role)+"/role-id", nil)["role_id"]
		status, answer := v.Do(y.t, "", http.MethodPost, "auth/approle/login", map[string]any{"role_id": id, "secret_id": secret})
		if status != http.StatusOK {
			y.t.Fatalf("the thief does not get in: %d %v", status, answer)
		}
		return fmt.Sprint(answer["auth"].(map[string]any)["client_token"])
	}
	token := login(vault.SideDisclosing.Renewer(), strings.TrimSpace(string(secret)))
	_, minted := v.Do(y.t, token, http.MethodPost, "auth/approle/role/penname-disclosing/secret-id", map[string]any{})
	check := func(when string, want error) {
		y.t.Helper()
		if _, err := checkSecretIDs(y.t.Context(), y.world.Vault.Audit); !errors.Is(err, want) {
			y.t.Errorf("%s: %v (%v)", when, err, errors.Unwrap(err))
		}
	}
	check("a thief minted, which is no use yet", nil)
	login(vault.SideDisclosing, minted["data"].(map[string]any)["secret_id"])
	check("and logged in", service.ErrMinted)
	var out, errs bytes.Buffer
	code := escrowd.Run(y.t.Context(), []string{"log", "check", "--database-file", y.world.Path("disclosing.dsn"), "--vault-audit", y.world.Vault.Audit}, &out, &errs)
	if code != 1 || !strings.Contains(errs.String(), "log.secret_ids") || !strings.Contains(errs.String(), "for penname-disclosing at 127.0.0.1") {
		y.t.Errorf("%d: %s%s", code, out.String(), errs.String())
	}
}

// snapshot takes one of Vault by the operator's command.
func (o *operator) snapshot(file, says string, want int, args ...string) {
	o.t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"vault", "snapshot", file, "--address", o.world.Vault.Address, "--token-file",
		write(o.t, "token", o.world.Vault.RootToken, 0o600), "--database-file", o.login(o.world, "penname_keeping")}, args...)
	if code := escrowd.Run(o.t.Context(), args, &out, &errs); code != want || !strings.Contains(out.String()+errs.String(), says) {
		o.t.Errorf("%d: %s%s", code, out.String(), errs.String())
	}
}

// TestLossOfVault: everything that Vault had is lost. A snapshot that was taken by the
// operator's command is restored into a new one: the MACs that make pen names and find
// people again are the same, and what was sealed opens. While no fresh snapshot is known
// the service says so.
func TestLossOfVault(t *testing.T) {
	o := newOperator(t)
	issuing, err := vault.OpenIssuing(t.Context(), sideConfig(t, o.world, vault.SideIssuing))
	if err != nil {
		t.Fatal(err)
	}
	type state struct{ pseudonym, fingerprint string }
	look := func(i *vault.Issuing) (s state) {
		t.Helper()
		for purpose, to := range map[string]*string{"pseudonym": &s.pseudonym, "fingerprint": &s.fingerprint} {
			macs, err := i.MAC(t.Context(), purpose, []byte("somebody on town-square"))
			if err != nil {
				t.Fatal(err)
			}
			*to = fmt.Sprintf("%x", macs)
		}
		return s
	}
	before := look(issuing)

	k := o.world.Service.Keeping
	now := time.Now()
	fresh := func(want error) {
		t.Helper()
		if err := keep.SnapshotFresh(t.Context(), k.Store.NewestSnapshot, now); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	fresh(keep.ErrNoSnapshot)
	file := filepath.Join(t.TempDir(), "vault.snap")
	snapshot := func(says string, want int, args ...string) { t.Helper(); o.snapshot(file, says, want, args...) }
	snapshot("vault.snapshot: ", 1, "--token-file", write(t, "token", "hvs.none", 0o600))
	if _, err := os.Stat(file); err == nil {
		t.Error("half a snapshot was left")
	}
	snapshot("with the keys of 32 groups and what rotations made up to step 0", 0)
	snapshot("file.exists: ", 1)
	fresh(nil)
	if _, err := k.Keeper(time.Now, nil).Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh(nil)
	now = now.AddDate(0, 0, 2)
	fresh(keep.ErrNoSnapshot) // it lacks the keys that everything is under now
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	snapshot("with the keys of 32 groups and what rotations made up to step 99", 0)
	fresh(nil)
	sealed, err := issuing.WrapHalf(t.Context(), "label", []byte("half"))
	if err != nil {
		t.Fatal(err)
	}

	// The loss: the server and its disk.
	lost := o.world.Vault
	if err := lost.Stop(); err != nil {
		t.Fatal(err)
	}
	next, err := sandbox.StartVault(t.Context(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Stop()
	saved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Restore(t.Context(), saved, lost); err != nil {
		t.Fatal(err)
	}
	o.world.Vault = next
	// New secret ids: the snapshot has old ones, but the lost server's may have been renewed since.
	again, err := vault.OpenIssuing(t.Context(), sideConfig(t, o.world, vault.SideIssuing))
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if after := look(again); after != before {
		t.Errorf("pen names or people are others: %v, where %v was", after, before)
	}
	opening, err := vault.OpenDisclosing(t.Context(), sideConfig(t, o.world, vault.SideDisclosing))
	if err != nil {
		t.Fatal(err)
	}
	if half, err := escrowtest.UnwrapHalf(t.Context(), opening, "label", sealed); err != nil || string(half) != "half" {
		t.Errorf("%q, %v", half, err)
	}
	if err := keep.Current(t.Context(), opening, k.Store); err != nil {
		t.Error(err)
	}
}
