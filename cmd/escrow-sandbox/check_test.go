package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	escrowd "github.com/penname/penname/cmd/escrowd/command"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// setup is a configuration of all three sides, with all that it names, against a world's
// PostgreSQL, witnesses and real Vault, and an identity provider over TLS.
type setup struct {
	*operator
	folder   string
	text     string           // of the good configuration
	provider *httptest.Server // of identities
	listen   string           // where it would serve
}

func newSetup(t *testing.T) *setup {
	s := &setup{operator: newOperator(t), folder: t.TempDir()}
	tokenKey, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.world.Service.ServeCases(t.Context()); err != nil { // publishes the rules of operator
		t.Fatal(err)
	}
	bundle := s.rules(s.world, func(b *policy.Bundle) {
		if b.IssuerKeys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{tokenKey.Public()}}); err != nil {
			t.Fatal(err)
		}
	})
	secret, err := json.Marshal(tokenKey)
	if err != nil {
		t.Fatal(err)
	}
	s.provider = httptest.NewUnstartedServer(nil)
	issuer := "https://" + s.provider.Listener.Addr().String()
	s.provider.Config.Handler = sandbox.NewProvider(issuer, sandbox.Client{ID: "penname", Secret: "open sesame", RedirectURI: "https://penname.example/enrol/callback/national"}, sandbox.People(), time.Now).Handler()
	s.provider.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn) // of who does not know its authority
	s.provider.StartTLS()
	t.Cleanup(s.provider.Close)

	cert, key := s.certificate("penname.example", time.Now().AddDate(1, 0, 0))
	providerCA := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.provider.Certificate().Raw}))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listen = free.Addr().String()
	free.Close()
	before, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	_, sides, _ := strings.Cut(string(before), "[disclose]\n")
	vaultCA, vaultAddress := s.setting("ca_file"), s.setting("address")
	s.text = fmt.Sprintf(`# the set-up of a test
origin = "https://penname.example"
listen = %q
metrics_listen = "127.0.0.1:0"
rules_max_age_minutes = 10
tls_cert = %s
tls_key = %s
ca_file = %s
bundle = %q

[issue]
database_file = %q
cookie_key_file = %s
platform_private_networks = ["127.0.0.1"]

[[issue.token_keys]]
file = %s

%s
[[issue.identity_providers]]
id = "national"
name = "National ID"
issuer = %q
client_id = "penname"
client_secret_file = %s
acr_values = [%q]
private_networks = ["127.0.0.1"]

[[issue.identity_providers]]
id = "again"
name = "National ID, again"
issuer = %q
client_id = "penname"
client_secret_file = %s
acr_values = [%q]
private_networks = ["127.0.0.1"]

[disclose]
%s`, s.listen, s.file("tls.crt", cert, 0o644), s.file("tls.key", key, 0o600), s.file("authorities.pem", cert+providerCA, 0o644), bundle,
		s.login(s.world, "penname_issuing"), s.file("cookie.key", strings.Repeat("ab", 32), 0o600), s.file("token.jwk", string(secret), 0o600),
		s.vaultSection("issue", vault.SideIssuing, vaultAddress, vaultCA),
		issuer, s.file("client.secret", "open sesame", 0o600), sandbox.ACRVerified,
		issuer, s.file("client.secret", "open sesame", 0o600), sandbox.ACRVerified, sides)
	for id, settings := range map[string][]string{
		"town-square":  {"--redirect-uri", "https://town.example/callback", "--backchannel-logout-uri", s.logoutAddress()},
		"school-forum": {"--redirect-uri", "https://forum.example/callback"},
	} {
		args := append([]string{"platform", "edit", id, "--registry-key", s.world.Path("registry.jwk"), "--database-file", s.login(s.world, "penname_disclosing")}, settings...)
		if out, errs, code := s.run(args...); code != 0 {
			t.Fatal(out, errs)
		}
	}
	if err := s.world.Service.Publish(t.Context()); err != nil { // or the world does, in the middle of a check
		t.Fatal(err)
	}
	return s
}

// logoutAddress is a platform's, which is never sent a token here.
func (s *setup) logoutAddress() string {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	s.t.Cleanup(server.Close)
	return server.URL + "/out"
}

// file puts a file into the set-up's folder, and returns its name in quotes.
func (s *setup) file(name, content string, mode os.FileMode) string {
	s.t.Helper()
	name = filepath.Join(s.folder, name)
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		s.t.Fatal(err)
	}
	return strconv.Quote(name)
}

// certificate is one that signs itself, with its key, in PEM.
func (s *setup) certificate(host string, ends time.Time) (cert, key string) {
	s.t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: ends.AddDate(-2, 0, 0), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pair.Public(), pair)
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// dsn puts the address of the database, changed, into a file.
func (s *setup) dsn(name, role string, change func(*url.URL)) string {
	s.t.Helper()
	raw, err := os.ReadFile(s.login(s.world, role))
	if err != nil {
		s.t.Fatal(err)
	}
	u, err := url.Parse(string(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	change(u)
	return s.file(name, u.String(), 0o600)
}

// broken is one set-up with one thing wrong.
type broken struct {
	name       string
	key, value string // the first line of the section that begins so gets another value; none: it is gone
	also       [2]string
	line       string // instead: in the place of that line
	section    string // "": from the beginning
	code       string
	at         string // the line that is wrong begins so; "": key
	should     string // what is said of what it should be
	faults     int    // how many parts have one; 0: 1
	starts     bool   // serve would start all the same, and wait or go without
	do, undo   func()
}

// change returns the configuration with one thing changed, and the line that is wrong,
// counted from 1.
func (s *setup) change(b broken) (text string, line int) {
	s.t.Helper()
	lines := strings.Split(s.text, "\n")
	from := 0
	if b.section != "" {
		from = s.find(lines, 0, b.section)
	}
	at := s.find(lines, from, b.key)
	switch {
	case b.line != "":
		lines[at] = b.line
	case b.value == "":
		lines[at] = "# nothing"
	default:
		lines[at] = b.key + b.value
	}
	if b.also[0] != "" {
		lines[s.find(lines, at, b.also[0])] = b.also[0] + b.also[1]
	}
	text = strings.Join(lines, "\n")
	if b.at != "" {
		at = s.find(strings.Split(text, "\n"), from, b.at)
	}
	return text, at + 1
}

func (s *setup) find(lines []string, from int, begins string) int {
	s.t.Helper()
	for n := from; n < len(lines); n++ {
		if strings.HasPrefix(lines[n], begins) {
			return n
		}
	}
	s.t.Fatalf("no line begins with %q", begins)
	return 0
}

// files is what the set-up's files hold, secret ids among them.
func (s *setup) files() string {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.folder, "*"))
	if err != nil || len(names) < 30 {
		s.t.Fatal(len(names), err)
	}
	names = slices.AppendSeq(names, maps.Values(s.secretIDs))
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintln(h, name, sha256.Sum256(b))
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func (s *setup) run(args ...string) (out, errs string, code int) {
	var stdout, stderr bytes.Buffer
	code = escrowd.Run(s.t.Context(), args, &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

// TestBrokenSetups: whatever is wrong with a set-up, --check says which line of which
// file and what it should be, goes on with the rest, and nothing is served or written. What
// serve cannot live without, it refuses with the same line.
func TestBrokenSetups(t *testing.T) {
	s := newSetup(t)
	good, err := strconv.Unquote(s.file("good.toml", s.text, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	all := s.breaks()
	before := s.files()
	began := time.Now()
	out, errs, code := s.run("serve", "--config", good, "--check")
	if code != 0 || strings.Contains(out, "fault") || !strings.Contains(out, "\nok         issue.identity_provider.national\n") || !strings.Contains(out, "\nok         logout at town-square\n") {
		t.Fatal(code, out, errs)
	}
	if !strings.Contains(out, "\nok         issue.platforms (2 open)\n") {
		t.Error(out)
	}
	t.Logf("--check of a good set-up with all sides: %d parts in %s\n%s", strings.Count(out, "\n"), time.Since(began), out)
	if len(all) < 30 {
		t.Errorf("only %d set-ups", len(all))
	}
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) { s.refuses(t, b) })
	}
	if err := os.Remove(filepath.Join(s.folder, "broken.toml")); err != nil {
		t.Fatal(err)
	}
	if after := s.files(); before != after {
		t.Error("a file was written")
	}
}

// tree is the published one: origin, size and root. The world has it cosigned anew now
// and then.
func (s *setup) tree(t *testing.T) string {
	_, checkpoint := ask(t, s.world.Origin+"/log/checkpoint")
	tree, _, _ := strings.Cut(string(checkpoint), "\n\n")
	return tree
}

func (s *setup) refuses(t *testing.T, b broken) {
	text, line := s.change(b)
	file := filepath.Join(s.folder, "broken.toml")
	s.file("broken.toml", text, 0o644)
	if b.do != nil {
		b.do()
		defer b.undo()
	}
	before := s.tree(t)
	out, errs, code := s.run("serve", "--config", file, "--check", "--json")
	if after := s.tree(t); before != after {
		t.Error("something was logged: " + after)
	}
	var all []service.Finding
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 1 {
		t.Fatal(code, err, out, errs)
	}
	said, found := false, []string{}
	for _, f := range all {
		if f.Mark == service.Fault {
			found = append(found, f.String())
		}
		said = said || f.Mark == service.Fault && f.Code == b.code && f.File == file && f.Line == line && strings.Contains(f.Cause+f.Mend, b.should)
	}
	if len(found) != max(b.faults, 1) {
		t.Errorf("%d faults: %s", len(found), strings.Join(found, "\n"))
	}
	if !said {
		t.Errorf("not %s in line %d (%s): %s", b.code, line, b.should, strings.Join(found, "\n"))
	}
	if strings.Contains(out+errs, "open sesame") || strings.Contains(out+errs, strings.Repeat("ab", 32)) {
		t.Error("a secret is repeated:", out, errs)
	}
	if b.starts {
		return
	}
	_, errs, code = s.run("serve", "--config", file)
	if place := fmt.Sprintf("(%s:%d: ", file, line); code != 1 || !strings.Contains(errs, "escrowd: "+b.code+": ") || !strings.Contains(errs, place) {
		t.Errorf("serve says not %s %s: %d %s", b.code, place, code, errs)
	}
	if conn, err := net.Dial("tcp", s.listen); err == nil && b.do == nil {
		conn.Close()
		t.Error("somebody listens")
	}
}

func (s *setup) breaks() []broken {
	return append(append(s.brokenFile(), s.brokenMaterial()...), append(s.brokenDatabase(), append(s.brokenVault(), s.brokenOutside()...)...)...)
}

// brokenFile are wrong by the configuration file alone.
func (s *setup) brokenFile() []broken {
	return []broken{
		{name: "a setting that there is not", key: "listen = ", value: `"127.0.0.1:1"` + "\nlistn = 1", code: "config.unknown_key", at: "listn", should: "there are bundle, ca_file,"},
		{name: "a setting that there is not in a section", key: "cookie_key_file", line: `cookie_key = "/x"`, code: "config.unknown_key", should: "cookie_key_file"},
		{name: "a text without quotes", key: "tls_cert = ", value: "penname.crt", code: "config.unreadable", should: "unexpected character"},
		{name: "a number for a text", key: "listen = ", value: "8443", code: "config.unreadable", should: "a text in quotes"},
		{name: "a text for a number", key: "rules_max_age_minutes = ", value: `"4"`, code: "config.unreadable", should: "a whole number"},
		{name: "a text for a list", key: "acr_values = ", value: `"high"`, code: "config.unreadable", should: "a list of texts"},
		{name: "a section for sections", key: "[[issue.token_keys]]", line: "[issue.token_keys]", code: "config.unreadable", at: "[issue.token_keys]", should: "double brackets"},
		{name: "a bracket too few", key: "[[issue.identity_providers]]", line: "[issue.identity_providers", code: "config.unreadable", at: "[issue.identity_providers", should: "expected ']'"},
		{name: "a setting twice", key: "listen = ", value: `"127.0.0.1:1"` + "\nlisten = \"127.0.0.1:2\" # again", code: "config.unreadable", at: `listen = "127.0.0.1:2"`, should: "already defined"},
		{name: "a setting of a section that is missing", key: "role_id", code: "config.missing", at: "[issue.Vault]", should: "issue.vault.role_id: it is missing"},
		{name: "a setting that is missing", key: "bundle = ", code: "config.missing", at: "# the set-up", should: "bundle: it is missing"},
		{name: "an origin without TLS", key: "origin = ", value: `"http://penname.example"`, code: "config.insecure_origin", should: "https"},
		{name: "an identity provider without TLS", key: "issuer = ", value: `"http://id.example"`, code: "config.insecure_origin", should: "https"},
		{name: "a proxy by its name", key: "metrics_listen = ", value: `"127.0.0.1:0"` + "\ntrusted_proxies = [\"proxy.example\"]", code: "config.bad_trusted_proxies", at: "trusted_proxies", should: "addresses and networks only"},
		{name: "metrics for everybody", key: "metrics_listen = ", value: `"0.0.0.0:9464"`, code: "config.metrics_not_loopback", should: "loopback"},
		{name: "two identity providers of one id", key: `id = "again"`, line: `id = "national" # twice`, code: "identity.bad_providers", at: `id = "national" # twice`, should: "an id of its own"},
		{name: "platforms, as they were configured before", key: "[disclose]", line: "[[issue.platforms]]\nid = \"town-square\"\n\n[disclose]", code: "config.platforms_moved", at: "[[issue.platforms]]", should: "escrowd platform add"},
		{name: "an address without a port", key: "listen = ", value: `"127.0.0.1"`, code: "config.missing", should: "an address and a port"},
	}
}

// brokenMaterial are files that do not hold what they should.
func (s *setup) brokenMaterial() []broken {
	oldCert, oldKey := s.certificate("penname.example", time.Now().AddDate(0, 0, -3))
	otherCert, otherKey := s.certificate("other.example", time.Now().AddDate(1, 0, 0))
	stranger, err := document.NewKey()
	if err != nil {
		s.t.Fatal(err)
	}
	jwk, err := json.Marshal(stranger)
	if err != nil {
		s.t.Fatal(err)
	}
	skey, _, err := translog.NewKey("other.example/log")
	if err != nil {
		s.t.Fatal(err)
	}
	inForce, err := os.ReadFile(s.world.Path("bundle.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	elsewhere := bytes.Replace(inForce, []byte(`"registrar":"https://penname.example"`), []byte(`"registrar":"https://other.example"`), 1)
	older := regexp.MustCompile(`"max_targets":\d+`).ReplaceAll(inForce, []byte(`"max_targets":601`))
	if bytes.Equal(elsewhere, inForce) || bytes.Equal(older, inForce) {
		s.t.Fatal("the bundle has another form")
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { busy.Close() })
	return []broken{
		{name: "a port that is in use", key: "listen = ", value: strconv.Quote(busy.Addr().String()), code: "config.cannot_listen", should: "in use"},
		{name: "a key that is not there", key: "tls_key = ", value: `"/nowhere/tls.key"`, code: "file.unreadable", should: "no such file"},
		{name: "a key that others may read", key: "tls_key = ", value: s.file("open.key", otherKey, 0o644), code: "file.readable_by_others", should: "chmod 600"},
		{name: "a key of another certificate", key: "tls_key = ", value: s.file("other.key", otherKey, 0o600), code: "config.bad_certificate", should: "should hold the key of the first certificate"},
		{name: "certificate and key swapped", key: "tls_cert = ", value: s.file("swapped.crt", otherKey, 0o600), also: [2]string{"tls_key = ", s.file("swapped.key", otherCert, 0o600)}, code: "config.bad_certificate", should: "should hold a certificate in PEM"},
		{name: "a certificate that has ended", key: "tls_cert = ", value: s.file("old.crt", oldCert, 0o644), also: [2]string{"tls_key = ", s.file("old.key", oldKey, 0o600)}, code: "config.bad_certificate", should: "ended on"},
		{name: "a certificate of another host", key: "tls_cert = ", value: s.file("other.crt", otherCert, 0o644), also: [2]string{"tls_key = ", s.file("other.key", otherKey, 0o600)}, code: "config.certificate_for_another_host", should: "is for other.example, and should be for penname.example", starts: true},
		{name: "a bundle that is no JSON", key: "bundle = ", value: s.file("bad.json", "{\n\"version\": 2,\n}", 0o644), code: "bundle.malformed", should: "bad.json:3: it is not JSON"},
		{name: "a bundle of another service", key: "bundle = ", value: s.file("elsewhere.json", string(elsewhere), 0o644), code: "config.other_bundle", should: "has registrar https://other.example, and origin is https://penname.example"},
		{name: "a bundle that nobody endorsed", key: "bundle = ", value: s.file("changed.json", string(older), 0o644), code: "config.bundle_not_in_force", should: "in force is"},
		{name: "authorities that are none", key: "ca_file = ", value: s.file("none.pem", "none", 0o644), code: "file.no_authorities", should: "none.pem"},
		{name: "a cookie key that is short", key: "cookie_key_file = ", value: s.file("short.key", "abab", 0o600), code: "config.bad_secret_file", should: "64 hex digits"},
		{name: "a token key that is not in the bundle", key: "file = ", value: s.file("stranger.jwk", string(jwk), 0o600), code: "config.token_key_not_in_bundle", should: "kid "},
		{name: "a token key that is none", key: "file = ", value: s.file("none.jwk", "none", 0o600), code: "config.bad_secret_file", should: "a secret JWK"},
		{name: "the key of another log", key: "log_key_file = ", value: s.file("other-log.key", skey, 0o600), code: "log.config", should: "other.example/log"},
	}
}

func (s *setup) brokenDatabase() []broken {
	issuing := func(name string, change func(*url.URL)) string { return s.dsn(name, "penname_issuing", change) }
	return []broken{
		{name: "a wrong password", key: "database_file = ", value: issuing("password.dsn", func(u *url.URL) { u.User = url.UserPassword("penname_issuing", "wrong") }), code: "database.login", should: "password.dsn"},
		{name: "a database that there is not", key: "database_file = ", value: issuing("name.dsn", func(u *url.URL) { u.Path = "/nowhere" }), code: "database.no_database", should: "name.dsn"},
		{name: "a database without a schema", key: "database_file = ", value: issuing("empty.dsn", func(u *url.URL) { u.Path = "/template1" }), code: "database.schema_older", should: "run the migration"},
		{name: "a database that does not answer", key: "database_file = ", value: issuing("away.dsn", func(u *url.URL) { u.Host = "127.0.0.1:1" }), code: "database.unavailable", should: "connection refused"},
		{name: "a host that nobody knows", key: "database_file = ", value: issuing("host.dsn", func(u *url.URL) { u.Host, u.RawQuery = "db.invalid", "sslmode=verify-full" }), code: "database.host", should: "correct the host"},
		{name: "a database on another machine without TLS", key: "database_file = ", value: issuing("plain.dsn", func(u *url.URL) { u.Host, u.RawQuery = "192.0.2.1", "sslmode=disable" }), code: "database.tls", should: "verify-full"},
		{name: "the role of another side", key: "database_file = ", value: s.dsn("swapped.dsn", "penname_issuing", func(*url.URL) {}), section: "[disclose]", code: "database.role", should: "should log in as penname_disclosing"},
		{name: "a secret file with no address in it", key: "database_file = ", value: s.file("none.dsn", "\n", 0o600), code: "database.no_dsn", should: "none.dsn"},
	}
}

func (s *setup) brokenVault() []broken {
	used := s.file("used.secret-id", "", 0o600)
	name, err := strconv.Unquote(used)
	if err != nil {
		s.t.Fatal(err)
	}
	s.credentials(s.admin(), vault.SideIssuing, name)
	token, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	(&escrowtest.VaultFixture{VaultServer: s.world.Vault}).Do(s.t, string(token), http.MethodPost, "sys/wrapping/unwrap", nil)
	keeping := sideConfig(s.t, s.world, vault.SideKeeping)
	return []broken{
		{name: "a Vault that nobody answers for", key: "address = ", value: `"https://127.0.0.1:1"`, code: "keys.unavailable", should: "no connection to Vault"},
		{name: "a Vault of an unknown authority", key: "ca_file = ", section: "[issue.Vault]", value: s.file("other-ca.pem", firstOf(s.certificate("vault.example", time.Now().AddDate(1, 0, 0))), 0o644), code: "keys.unavailable", should: "does not verify"},
		{name: "a role id that there is not", key: "role_id = ", value: `"0"`, code: "vault.login", should: "penname-issuing"},
		{name: "a secret id that was used", key: "secret_id_file = ", value: used, code: "vault.wrap_used", should: "spent"},
		{name: "a secret id that is not there", key: "secret_id_file = ", value: `"/nowhere/secret-id"`, code: "vault.secret_id_file", should: "no such file"},
		{name: "a role with another policy", key: "role_id = ", value: strconv.Quote(keeping.RoleID), also: [2]string{"secret_id_file = ", strconv.Quote(keeping.SecretIDFile)}, code: "vault.too_narrow", should: "the policy penname-issuing is not attached"},
	}
}

func firstOf(a, _ string) string { return a }

// brokenOutside are the fault of whom the service asks.
func (s *setup) brokenOutside() []broken {
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"issuer": "https://other.example", "authorization_endpoint": "https://other.example/a", "token_endpoint": "https://other.example/t", "jwks_uri": "https://other.example/k"}`)
	}))
	s.t.Cleanup(other.Close)
	down := &s.world.Witnesses["bruno"].Down
	own, err := os.ReadFile(filepath.Join(s.folder, "tls.crt"))
	if err != nil {
		s.t.Fatal(err)
	}
	return []broken{
		{name: "an identity provider that nobody knows", key: "issuer = ", value: `"https://id.invalid"`, code: "proofing_failed.idp_unavailable", should: "host name is not known", starts: true},
		{name: "an identity provider of an unknown authority", key: "ca_file = ", value: s.file("without.pem", string(own), 0o644), code: "proofing_failed.bad_certificate", at: "issuer = ", should: "ca_file", starts: true, faults: 2},
		{name: "an identity provider under another name", key: "issuer = ", value: strconv.Quote(other.URL), code: "proofing_failed.issuer_mismatch", should: "exactly as it names itself", starts: true},
		{name: "a client secret that is wrong", key: "client_secret_file = ", value: s.file("wrong.secret", "open barley", 0o600), code: "proofing_failed.bad_client", should: "client_secret_file", starts: true},
		{name: "a level that the provider has not", key: "acr_values = ", value: `["urn:none"]`, code: "proofing_failed.no_such_level", should: "acr_values", starts: true},
		{name: "a private network that is a cloud's", key: "private_networks = ", value: `["169.254.0.0/16"]`, code: "identity.bad_private_networks", should: "link-local"},
		{name: "a platform network that is a cloud's", key: "platform_private_networks = ", value: `["169.254.0.0/16"]`, code: "identity.bad_private_networks", should: "link-local"},
		{name: "a witness that is down", key: "bundle = ", value: strconv.Quote(s.world.Path("bundle.json")), code: "log.witness", should: "answered 503", starts: true,
			do: func() { down.Store(true) }, undo: func() { down.Store(false) }},
	}
}

// TestStatus asks a running service how it is, in the words of --check, while all is well
// and while its database is down; and says what to do where nobody answers.
func TestStatus(t *testing.T) {
	s := newSetup(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	record, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	record.Close()
	file, err := strconv.Unquote(s.file("status.toml", strings.Replace(s.text, `metrics_listen = "127.0.0.1:0"`, fmt.Sprintf("metrics_listen = %q\nrecord_listen = %q", free.Addr(), record.Addr()), 1), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	if _, errs, code := s.run("status", "--config", file); code != 1 || !strings.HasPrefix(errs, "escrowd: status.no_answer: ") || !strings.Contains(errs, file+":4: metrics_listen: ") {
		t.Error("nobody serves:", code, errs)
	}
	_, stop := s.serve(file)
	var out string
	for _, part := range []string{"issue.database", "issue.identity_provider.national", "disclose.keys", "rules", "certificate: until 20", "secret id of penname-keeping: until 20"} {
		var errs string
		var code int
		if out, errs, code = s.run("status", "--config", file); code != 0 || !strings.Contains(out, "\nok         "+part) {
			t.Errorf("no %s: %d %s%s", part, code, out, errs)
		}
	}
	for _, says := range []string{"https://penname.example, version ", "\nwarning    keep.snapshot: keys.no_fresh_snapshot: ", "\n0          erasures that are asked for\n", "\n0          notices that are due\n"} {
		if !strings.Contains(out, says) {
			t.Errorf("no %q in %s", says, out)
		}
	}
	if out, errs, code := s.run("serve", "--config", file, "--check"); code != 0 || !strings.Contains(out, "\nok         record\n") {
		t.Error("--check while it serves:", code, out, errs)
	}
	// The file of the next replica is a copy: with both addresses, and with one.
	copied, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	foreign := httptest.NewServer(nil)
	defer foreign.Close()
	for text, want := range map[string][]string{
		string(copied): {"\nfault      address: config.cannot_listen: ", "\nfault      metrics: config.cannot_listen: ", "\nfault      record: config.cannot_listen: ", "in use by a Penname that runs with another configuration"},
		strings.Replace(string(copied), free.Addr().String(), "127.0.0.1:0", 1): {"\nwarning    address: config.address_in_use: ", "\nok         metrics\n", "\nwarning    record: config.address_in_use: "},
		// An address of the record that it does not have, and that something else holds.
		strings.Replace(string(copied), record.Addr().String(), strings.TrimPrefix(foreign.URL, "http://"), 1): {"\nfault      record: config.cannot_listen: "},
	} {
		next, err := strconv.Unquote(s.file("next.toml", text, 0o644))
		if err != nil {
			t.Fatal(err)
		}
		out, errs, _ := s.run("serve", "--config", next, "--check")
		for _, line := range want {
			if !strings.Contains(out, line) {
				t.Errorf("a copy: no %q in %s%s", line, out, errs)
			}
		}
	}
	if err := s.world.Postgres.Kill(); err != nil {
		t.Fatal(err)
	}
	out, errs, code := s.run("status", "--config", file, "--json")
	var status service.Status
	if err := json.Unmarshal([]byte(out), &status); err != nil || code != 1 || !strings.Contains(errs, service.ErrFaults.Code) {
		t.Fatal(code, err, out, errs)
	}
	for _, f := range status.Parts {
		if want := strings.HasSuffix(f.Part, ".database"); want != (f.Mark == service.Fault) && f.Part != "keep.snapshot" {
			t.Errorf("the database is down: %s", f)
		}
	}
	if err := s.world.Postgres.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := stop(); code != 0 {
		t.Error("stopped:", code)
	}
	without, err := strconv.Unquote(s.file("without.toml", strings.Replace(s.text, `metrics_listen = "127.0.0.1:0"`, "", 1), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	if _, errs, code := s.run("status", "--config", without); code != 1 || !strings.HasPrefix(errs, "escrowd: config.missing: ") || !strings.Contains(errs, "metrics_listen: it is missing") {
		t.Error("nothing says where:", code, errs)
	}
}

// N1: a private authority could be named in SSL_CERT_FILE alone, which took the place of
// the machine's own.
func TestFoundN1PrivateAuthorities(t *testing.T) {
	s := newSetup(t)
	srv := httptest.NewUnstartedServer(proxyTo(t, s.world))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	if err := s.world.Service.ServeCases(t.Context()); err != nil { // publishes
		t.Fatal(err)
	}
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	with := s.file("with.pem", own, 0o644)
	with, err := strconv.Unquote(with)
	if err != nil {
		t.Fatal(err)
	}
	audit := []string{"log", "audit", "--bundle", s.world.Path("bundle.json"), "--server", srv.URL}
	if said, code := s.world.Escrow(t.Context(), audit...); code != 1 || !strings.Contains(said, "escrow: proof.unreachable: ") || !strings.Contains(said, "is named with --ca-file") {
		t.Error("an auditor who trusts nobody:", code, said)
	}
	if said, code := s.world.Escrow(t.Context(), append(audit, "--ca-file", with)...); code != 0 {
		t.Error("an auditor who names the authority:", code, said)
	}
	if said, code := s.world.Escrow(t.Context(), append(audit, "--ca-file", s.world.Path("bundle.json"))...); code != 1 || !strings.Contains(said, "escrow: file.no_authorities: ") {
		t.Error("a file of none:", code, said)
	}

	// A process of one side reads the log of another.
	head, keep, _ := strings.Cut(s.text, "[issue]\n")
	_, keep, _ = strings.Cut(keep, "[keep]\n")
	head = strings.Replace(head, "\nbundle = ", fmt.Sprintf("\npublic_log = %q\nbundle = ", srv.URL+"/log"), 1)
	for _, c := range []struct{ authorities, says string }{
		{s.file("provider.pem", firstOf(s.certificate("x.example", time.Now().AddDate(1, 0, 0))), 0o644), "public_log: "}, {strconv.Quote(with), ""},
	} {
		old := "ca_file = " + strconv.Quote(filepath.Join(s.folder, "authorities.pem"))
		file, err := strconv.Unquote(s.file("keep.toml", strings.Replace(head, old, "ca_file = "+c.authorities, 1)+"[keep]\n"+keep, 0o644))
		if err != nil {
			t.Fatal(err)
		}
		out, errs, code := s.run("serve", "--config", file, "--check")
		if c.says == "" && (code != 0 || !strings.Contains(out, "\nok         rules\n")) || c.says != "" && (code != 1 || !faulty(out, "rules.unknown: ") || !strings.Contains(out, c.says) || !strings.Contains(out, "failed to verify certificate")) {
			t.Error(c.authorities, code, out, errs)
		}
	}
}
