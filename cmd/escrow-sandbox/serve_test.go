package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	escrowd "github.com/penname/penname/cmd/escrowd/command"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/policy"
)

// operator is a configuration file of the disclosing and the keeping side, with
// all that it names, against a world's PostgreSQL and real Vault.
type operator struct {
	t         *testing.T
	world     *world.World
	config    string
	client    *http.Client          // trusts the certificate
	secretIDs map[vault.Side]string // files, of sides and renewers
}

func newOperator(t *testing.T) *operator {
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Vault: true, Log: &syncBuffer{}, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	})
	target, err := url.Parse(tb.Vault.Address)
	if err != nil {
		t.Fatal(err)
	}
	behindTLS := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(target))
	t.Cleanup(behindTLS.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: behindTLS.Certificate().Raw})
	key, err := x509.MarshalPKCS8PrivateKey(behindTLS.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{t: t, world: tb, client: behindTLS.Client(), secretIDs: map[vault.Side]string{}}
	certificate := write(t, "tls.crt", string(ca), 0o644)
	o.config = write(t, "escrowd.toml", fmt.Sprintf(`origin = "https://penname.example"
listen = "127.0.0.1:0"
trusted_proxies = ["127.0.0.9"]
tls_cert = %q
tls_key = %q
bundle = %q
[disclose]
database_file = %q
log_key_file = %q
%s
[keep]
database_file = %q
%s`, certificate, write(t, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})), 0o600),
		o.rules(tb), tb.Path("disclosing.dsn"), tb.Path("log.key"), o.vaultSection("disclose", vault.SideDisclosing, behindTLS.URL, certificate),
		o.login(tb, "penname_keeping"), o.vaultSection("keep", vault.SideKeeping, behindTLS.URL, certificate)), 0o644)
	return o
}

func (o *operator) vaultSection(section string, side vault.Side, address, ca string) string {
	c := sideConfig(o.t, o.world, side)
	o.secretIDs[side] = c.SecretIDFile
	return fmt.Sprintf("[%s.Vault]\naddress = %q\nca_file = %q\nrole_id = %q\nsecret_id_file = %q\n", section, address, ca, c.RoleID, c.SecretIDFile)
}

func (o *operator) login(tb *world.World, role string) string {
	dsn, err := postgres.Login(o.t.Context(), tb.Postgres.DSN, role)
	if err != nil {
		o.t.Fatal(err)
	}
	return write(o.t, role+".dsn", dsn, 0o600)
}

// rules puts a bundle in force that names an https address, with changes, and returns
// its file.
func (o *operator) rules(tb *world.World, changes ...func(*policy.Bundle)) string {
	before, err := os.ReadFile(tb.Path("bundle.json"))
	if err != nil {
		o.t.Fatal(err)
	}
	var b policy.Bundle
	if err := json.Unmarshal(before, &b); err != nil {
		o.t.Fatal(err)
	}
	b.Registrar, b.Issuer = "https://penname.example", "https://penname.example"
	if b.Registry != nil {
		b.Registry.WaitingDays = policy.DefaultWaitingDays // which only a sandbox can do without
	}
	for _, change := range changes {
		change(&b)
	}
	inForce, err := policy.ParseBundle(before)
	if err != nil {
		o.t.Fatal(err)
	}
	b.Succeed(inForce)
	raw, err := b.Marshal()
	if err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(tb.Path("bundle.json"), raw, 0o600); err != nil {
		o.t.Fatal(err)
	}
	if err := tb.InstallBundle(o.t.Context(), raw); err != nil {
		o.t.Fatal(err)
	}
	return tb.Path("bundle.json")
}

// with is a run of escrowd serve with one thing of the configuration changed.
func (o *operator) with(old, new string, args ...string) (out, errs string, code int) {
	o.t.Helper()
	raw, err := os.ReadFile(o.config)
	if err != nil {
		o.t.Fatal(err)
	}
	if !strings.Contains(string(raw), old) {
		o.t.Fatalf("the configuration has no %q", old)
	}
	file := write(o.t, "changed.toml", strings.Replace(string(raw), old, new, 1), 0o644)
	var stdout, stderr bytes.Buffer
	code = escrowd.Run(o.t.Context(), append([]string{"serve", "--config", file}, args...), &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

// TestServe starts the service as an operator does: from a configuration file,
// over TLS, on a real Vault and PostgreSQL, until it is told to stop.
func TestServe(t *testing.T) {
	o := newOperator(t)
	if out, errs, code := o.with("", "", "--check"); code != 0 || !strings.HasPrefix(out, "ok         configuration\n") {
		t.Fatal(code, out, errs)
	}
	if out, errs, code := o.with(`listen = "127.0.0.1:0"`, "listen = \"127.0.0.1:0\"\nrecord_listen = \"127.0.0.1:0\"", "--check"); code != 0 || !strings.Contains(out, "\nok         record\n") {
		t.Error("the record on a listener of its own:", code, out, errs)
	}
	other := httptest.NewTLSServer(nil)
	defer other.Close()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, c := range []struct {
		old, new, says string
		args           []string
	}{
		{`tls_key = "`, `tls_key = "/none`, "file.unreadable: ", []string{"--check"}},
		{`tls.crt"`, `tls.key"`, "file.unreadable: ", []string{"--check"}}, // another folder
		{`log_key_file = "`, `log_key_file = "/none`, "file.unreadable: ", []string{"--check"}},
		{`role_id = "`, `role_id = "0`, "vault.login: ", []string{"--check"}},
		{`origin = "https://penname.example"`, `origin = "https://penname2.example"`, "config.other_bundle: ", []string{"--check"}},
		{`penname_keeping.dsn`, `penname_none.dsn`, "file.unreadable: ", []string{"--check"}},
		{"127.0.0.1:0", busy.Addr().String(), "config.cannot_listen: ", nil},
		// L3: --check tries what serving will need.
		{"127.0.0.1:0", busy.Addr().String(), "config.cannot_listen: ", []string{"--check"}},
		{`listen = "127.0.0.1:0"`, fmt.Sprintf("listen = \"127.0.0.1:0\"\nrecord_listen = %q", busy.Addr()), "config.cannot_listen: ", nil},
		{`listen = "127.0.0.1:0"`, fmt.Sprintf("listen = \"127.0.0.1:0\"\nrecord_listen = %q", busy.Addr()), "config.cannot_listen: ", []string{"--check"}},
		{`listen = "127.0.0.1:0"`, "listen = \"127.0.0.1:0\"\nrecord_listen = \"127.0.0.1\"", "config.bad_record_listen: ", []string{"--check"}},
		{`trusted_proxies = ["127.0.0.9"]`, "", "config.certificate_for_another_host: ", []string{"--check"}},
	} {
		out, errs, code := o.with(c.old, c.new, c.args...)
		last := errs[strings.LastIndex(strings.TrimRight(errs, "\n"), "\n")+1:]
		if c.args == nil && (code != 1 || out != "" || !strings.HasPrefix(last, "escrowd: "+c.says)) {
			t.Errorf("%s: %d %s%s", c.new, code, out, errs)
		}
		if c.args != nil && (code != 1 || !faulty(out, c.says) || !strings.HasPrefix(errs, "escrowd: config.faults: ")) {
			t.Errorf("%s: %d %s%s", c.new, code, out, errs)
		}
	}

	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	raw, err := os.ReadFile(o.config)
	if err != nil {
		t.Fatal(err)
	}
	address, stop := o.serve(write(t, "record.toml", fmt.Sprintf("record_listen = %q\n%s", free.Addr(), raw), 0o644))
	transport := o.client.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.ServerName = "example.com" // what httptest's certificate is for
	client := &http.Client{Transport: transport}
	res, err := client.Get("https://" + address + "/log/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Error("the checkpoint:", res.Status)
	}
	// The public record has a listener of its own, and is nowhere else.
	if body := shownSoon(t, client, "https://"+free.Addr().String()+"/record/"); !strings.Contains(body, "New rules came into force.") {
		t.Errorf("the record: %s", body)
	}
	if res, err = client.Get("https://" + address + "/record/"); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("the record at listen: %v %v", res, err)
	}
	res.Body.Close()
	transport.CloseIdleConnections()
	if code := stop(); code != 0 {
		t.Errorf("stopped: exit code %d", code)
	}
}

// shownSoon is a page that a job makes after the start.
func shownSoon(t *testing.T, client *http.Client, address string) string {
	t.Helper()
	body := ""
	for again := time.NewTicker(100 * time.Millisecond); t.Context().Err() == nil; <-again.C {
		res, err := client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if body = string(b); err != nil || res.StatusCode != http.StatusServiceUnavailable {
			break
		}
	}
	return body
}

// faulty reports whether --check says that a part has a fault of a kind.
func faulty(out, says string) bool {
	for line := range strings.Lines(out) {
		if _, said, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(line, "fault ") && strings.HasPrefix(said, says) {
			return true
		}
	}
	return false
}

// serve runs escrowd serve in this process and returns where it serves, and what stops
// it and returns its exit code.
func (o *operator) serve(config string) (address string, stop func() int) {
	o.t.Helper()
	ctx, cancel := context.WithCancel(o.t.Context())
	done := make(chan int, 1)
	logs, w := io.Pipe()
	go func() {
		done <- escrowd.Run(ctx, []string{"serve", "--config", config}, w, w)
		w.Close()
	}()
	var said strings.Builder
	lines := bufio.NewScanner(io.TeeReader(logs, &said))
	for address == "" && lines.Scan() {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			address = line.Address
		}
	}
	go io.Copy(io.Discard, logs) //nolint:errcheck // ends with the service
	if address == "" {
		cancel()
		o.t.Fatal(said.String())
	}
	stop = sync.OnceValue(func() int { cancel(); return <-done })
	o.t.Cleanup(func() { stop() })
	return address, stop
}

// proxyTo is a proxy before a world.
func proxyTo(t *testing.T, tb *world.World) http.Handler {
	t.Helper()
	target, err := url.Parse(tb.Origin)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	direct := proxy.Director
	proxy.Director = func(r *http.Request) { direct(r); r.Host = target.Host }
	return proxy
}

// publicLog serves a world's log over TLS, as another process sees it, and lets
// this process trust the certificate.
func publicLog(t *testing.T, tb *world.World) string {
	t.Helper()
	srv := httptest.NewTLSServer(proxyTo(t, tb))
	t.Cleanup(srv.Close)
	system := http.DefaultTransport.(*http.Transport)
	before := system.TLSClientConfig
	system.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
	t.Cleanup(func() { system.TLSClientConfig = before })
	return srv.URL + "/log"
}

// sideAlone is the configuration of a process with one section, which gets no
// further than to its first secret.
type sideAlone struct {
	t              *testing.T
	log, cert, key string
}

var sections = map[string]string{
	"issue": `[issue]
database_file = "/none"
cookie_key_file = "/none"
[[issue.token_keys]]
file = "/none"
[issue.vault]
address = "https://vault.example"
role_id = "r"
secret_id_file = "/none"
[[issue.identity_providers]]
id = "one"
issuer = "https://identity.example"
client_id = "penname"
acr_values = ["high"]
`,
	"keep": `[keep]
database_file = "/none"
[keep.vault]
address = "https://vault.example"
role_id = "r"
secret_id_file = "/none"
`,
}

// refuses runs serve --check and expects that refusal.
func (s *sideAlone) refuses(section string, bundle []byte, log, code string) {
	s.t.Helper()
	config := write(s.t, section+".toml", fmt.Sprintf("origin = \"https://penname.example\"\nlisten = \"127.0.0.1:0\"\ntls_cert = %q\ntls_key = %q\nbundle = %q\npublic_log = %q\n%s",
		s.cert, s.key, write(s.t, "bundle.json", string(bundle), 0o644), log, sections[section]), 0o644)
	var out, errs bytes.Buffer
	exit := escrowd.Run(s.t.Context(), []string{"serve", "--config", config, "--check"}, &out, &errs)
	if exit != 1 || !faulty(out.String(), code+": ") {
		s.t.Errorf("[%s]: not %s: %d %s%s", section, code, exit, out.String(), errs.String())
	}
}

// TestFoundA1OneSideAlone: a process that only issues, or only keeps, accepts no
// bundle but the one in force in the public log: not one that nobody endorsed, nor
// one that was replaced. What it accepts gets as far as the first secret file.
func TestFoundA1OneSideAlone(t *testing.T) {
	tb := startForTest(t)
	certificate := httptest.NewTLSServer(nil)
	defer certificate.Close()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	s := &sideAlone{t: t, log: publicLog(t, tb),
		cert: write(t, "tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate().Raw})), 0o644),
		key:  write(t, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})), 0o600)}
	o := &operator{t: t}
	rules := func() []byte {
		t.Helper()
		raw, err := os.ReadFile(o.rules(tb))
		if err != nil {
			t.Fatal(err)
		}
		if err := tb.Service.ServeCases(t.Context()); err != nil { // publishes
			t.Fatal(err)
		}
		return raw
	}
	first := rules()
	var draft policy.Bundle
	if err := json.Unmarshal(first, &draft); err != nil {
		t.Fatal(err)
	}
	stranger, _, err := escrowtest.ThresholdKey(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	text, err := stranger.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	draft.ThresholdKey = string(text)
	forged, err := draft.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for section, secret := range map[string]string{"issue": "file.unreadable", "keep": "vault.secret_id_file"} {
		s.refuses(section, first, s.log, secret)
		s.refuses(section, forged, s.log, "config.bundle_not_in_force")
	}
	rules() // newer ones come into force
	for section := range sections {
		s.refuses(section, first, s.log, "config.bundle_not_in_force")
	}
}
