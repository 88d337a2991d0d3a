package service

import (
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
	"log/slog"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

// lines are those of a log, as they come.
type lines chan map[string]any

func (l lines) Write(b []byte) (int, error) {
	var line map[string]any
	err := json.Unmarshal(b, &line)
	l <- line
	return len(b), err
}

// until waits for a line with these values, however the others look.
func (l lines) until(t *testing.T, want map[string]any) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	var seen []map[string]any
	for {
		select {
		case line := <-l:
			seen = append(seen, line)
			fits := true
			for key, value := range want {
				fits = fits && line[key] == value
			}
			if fits {
				return
			}
		case <-deadline:
			t.Fatalf("no line %v, but %v", want, seen)
		}
	}
}

func readAgain(what string) map[string]any {
	return map[string]any{"msg": "read again", "what": what}
}

func refusedAgain(what, code string) map[string]any {
	return map[string]any{"level": "ERROR", "what": what, "code": code}
}

// reloading is an issuing side whose files are followed. Behind its identity provider
// and its store there is nothing.
type reloading struct {
	t      *testing.T
	s      *Service
	log    lines
	hangup chan os.Signal
	folder string
	edge   *web.Server
	bundle atomic.Pointer[policy.Bundle]
}

type nowhere struct{ person.Proving }

func (nowhere) Origin() string { return "https://identity.example" }

func newReloading(t *testing.T) *reloading {
	t.Helper()
	r := &reloading{t: t, log: make(lines, 1000), hangup: make(chan os.Signal, 1), folder: t.TempDir()}
	r.bundle.Store(&policy.Bundle{})
	first := r.newKey("first.jwk")
	r.putCertificate(".", 1, time.Now().AddDate(0, 3, 0))
	r.put("s", "a secret id")
	r.put("escrowd.toml", r.config(`{file = "first.jwk"}`))
	c, err := ReadConfig(filepath.Join(r.folder, "escrowd.toml"))
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	level := &slog.LevelVar{}
	r.s = &Service{Parts: Parts{Log: NewLog(r.log, level), level: level, Now: time.Now, config: c, digests: c.digests(), Issuing: &Issuing{TokenKeys: []openid.Key{{JWK: first}}}}, counted: newCounted()}
	if r.s.Certificate, err = c.certificate(); err != nil {
		t.Fatal(err)
	}
	if r.edge, err = web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	r.s.web = r.edge
	r.s.live.certificate.Store(r.s.Certificate)
	r.s.live.seen, r.s.live.digests = c, r.s.digests
	r.s.live.tokenKeys.Store(&r.s.Issuing.TokenKeys)
	r.s.live.rules = func() (*policy.Bundle, error) { return r.bundle.Load(), nil }
	r.s.live.until = func(context.Context, int64) ([]*policy.Bundle, error) { return []*policy.Bundle{r.bundle.Load()}, nil }
	r.s.live.holds, r.s.live.following = func(int64, string) bool { return true }, newFollowing()
	r.s.live.issuing, err = person.Mount(r.edge, person.Config{
		Providers: []person.Provider{{ID: "national", Proving: nowhere{}}}, TokenKeys: r.s.Issuing.TokenKeys, Store: openidtest.NewMemory(), Rules: r.s.live.rules,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.s.followFiles(ctx, Machine{Hangup: r.hangup}); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return r
}

// config is a whole one, with platforms and token keys. Files are named from the folder.
func (r *reloading) config(tokenKeys string) string {
	text := `origin = "https://penname.example"
listen = "127.0.0.1:0"
tls_cert = "tls.crt"
tls_key = "tls.key"
bundle = "bundle.json"
[issue]
database_file = "d"
cookie_key_file = "c"
token_keys = [` + tokenKeys + `]
[issue.vault]
address = "https://vault.example"
role_id = "r"
secret_id_file = "s"
[[issue.identity_providers]]
id = "national"
issuer = "https://identity.example"
client_id = "penname"
acr_values = ["high"]
`
	for _, key := range []string{"tls_cert = \"", "tls_key = \"", "secret_id_file = \"", "file = \""} {
		text = strings.ReplaceAll(text, "\n"+key, "\n"+key+r.folder+"/")
		text = strings.ReplaceAll(text, "{"+key, "{"+key+r.folder+"/")
	}
	return text
}

// put replaces a file as careful programs do.
func (r *reloading) put(name, text string) {
	r.t.Helper()
	next := filepath.Join(r.t.TempDir(), "next")
	err := os.WriteFile(next, []byte(text), 0o600)
	if err = errors.Join(err, os.Rename(next, filepath.Join(r.folder, name))); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloading) newKey(name string) jose.JSONWebKey {
	r.t.Helper()
	k, err := document.NewKey()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.endorsed(name, k)
}

func (r *reloading) endorsed(name string, k jose.JSONWebKey) jose.JSONWebKey {
	r.t.Helper()
	secret, err := k.MarshalJSON()
	if err != nil {
		r.t.Fatal(err)
	}
	r.put(name, string(secret))
	next := *r.bundle.Load()
	var set jose.JSONWebKeySet
	if len(next.IssuerKeys) > 0 {
		err = json.Unmarshal(next.IssuerKeys, &set)
	}
	set.Keys = append(set.Keys, k.Public())
	all, merr := json.Marshal(set)
	if err = errors.Join(err, merr); err != nil {
		r.t.Fatal(err)
	}
	next.IssuerKeys = all
	r.bundle.Store(&next)
	return k
}

// putCertificate writes one with that serial number, and its key.
func (r *reloading) putCertificate(folder string, serial int64, ends time.Time) {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	secret, merr := x509.MarshalPKCS8PrivateKey(key)
	if err = errors.Join(err, merr); err != nil {
		r.t.Fatal(err)
	}
	r.put(filepath.Join(folder, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	r.put(filepath.Join(folder, "tls.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func (r *reloading) serves(serial int64) {
	r.t.Helper()
	var c *tls.Certificate = r.s.live.certificate.Load()
	if c.Leaf.SerialNumber.Int64() != serial {
		r.t.Errorf("certificate %d is served, not %d", c.Leaf.SerialNumber, serial)
	}
}

// C3: a renewed certificate is served without a restart, however it comes to its place:
// renamed, as certbot does it, or behind a link that is swapped, as Kubernetes does it.
// One that cannot be used changes nothing, and its code is in the log.
func TestFoundC3ARenewedCertificateIsServed(t *testing.T) {
	r := newReloading(t)
	r.putCertificate(".", 2, time.Now().AddDate(0, 3, 0))
	r.log.until(t, readAgain("certificate"))
	r.serves(2)
	r.put("tls.crt", "nothing")
	r.log.until(t, refusedAgain("certificate", "config.bad_certificate"))
	r.serves(2)
	r.putCertificate(".", 3, time.Now().Add(-time.Minute))
	r.log.until(t, refusedAgain("certificate", "config.bad_certificate"))
	r.serves(2)
	// It is said once, and in the status until it is mended.
	r.hangup <- syscall.SIGHUP
	for line := range r.log {
		if line["what"] == "certificate" {
			t.Error("again:", line)
		} else if line["what"] == "log level" {
			break
		}
	}
	if f := r.s.nextStart(); len(f) != 1 || !strings.HasPrefix(f[0].String(), "warning    certificate at the next start: config.bad_certificate: ") {
		t.Error(f)
	}
	r.putCertificate(".", 4, time.Now().AddDate(0, 3, 0))
	r.log.until(t, readAgain("certificate"))
	if f := r.s.nextStart(); len(f) != 0 {
		t.Error(f)
	}

	// …/tls.crt -> ..data/tls.crt, ..data -> ..1
	for _, version := range []string{"..1", "..2", "..3"} {
		if err := os.Mkdir(filepath.Join(r.folder, version), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.putCertificate("..1", 11, time.Now().AddDate(0, 3, 0))
	r.putCertificate("..2", 12, time.Now().AddDate(0, 3, 0))
	r.putCertificate("..3", 13, time.Now().AddDate(0, 3, 0))
	swap := func(target, name string) {
		t.Helper()
		next := filepath.Join(r.folder, "next")
		if err := errors.Join(os.Symlink(target, next), os.Rename(next, filepath.Join(r.folder, name))); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", "..data")
	swap("..data/tls.key", "tls.key")
	swap("..data/tls.crt", "tls.crt")
	r.log.until(t, readAgain("certificate"))
	r.serves(11)
	for serial, version := range []string{"..2", "..3"} {
		swap(version, "..data")
		r.log.until(t, readAgain("certificate"))
		r.serves(int64(12 + serial))
	}
	// Behind the link, in the folder that it leads to.
	r.putCertificate("..3", 14, time.Now().AddDate(0, 3, 0))
	r.log.until(t, readAgain("certificate"))
	r.serves(14)
}

// C3: SIGHUP reads everything again, also what did not change.
func TestFoundC3HangupReadsEverythingAgain(t *testing.T) {
	r := newReloading(t)
	r.hangup <- os.Interrupt // any signal: the program chooses which
	for _, what := range []string{"certificate", "token keys", "secret ids"} {
		r.log.until(t, readAgain(what))
	}
}

// knows tells whether the OpenID provider knows a platform.
func (r *reloading) knows(platform string) bool {
	w := httptest.NewRecorder()
	r.edge.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://penname.example/authorize?client_id="+platform, nil))
	return !slices.ContainsFunc([]*refusal.Error{openid.ErrUnknownPlatform, openid.ErrUnsound, openid.ErrRetired, openid.ErrStopped}, func(e *refusal.Error) bool { return strings.Contains(w.Body.String(), e.Mend) })
}

// C3: platforms come and go while the service runs, and one that is not sound stops no other.
func TestFoundC3PlatformsFollowTheRegistry(t *testing.T) {
	r := newReloading(t)
	g := newRegistering(t)
	r.bundle.Store(g.bundle)
	asked := 0
	var pending []postgres.Registered
	r.s.changed = func(_ context.Context, after int64) (new []postgres.Registered, err error) {
		asked++
		for _, one := range pending {
			if one.Leaf > after {
				new = append(new, one)
			}
		}
		return new, nil
	}
	leaf := int64(0)
	put := func(p openid.Platform, change ...func(*policy.PlatformRecord, *postgres.Registered)) {
		t.Helper()
		leaf++
		pending = append(pending, g.put(p, append(change, func(_ *policy.PlatformRecord, s *postgres.Registered) { s.Leaf = leaf })...))
		if err := r.s.LoadPlatforms(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if r.knows("town-square") {
		t.Fatal("it is known before it is there")
	}
	all := ways(t, newPublicKey(t))
	square, forum := all[0], all[1]
	square.IDTokenAlg = ""
	put(square)
	if !r.knows("town-square") || r.knows("school-forum") {
		t.Error("the new platform cannot be signed in to")
	}
	r.log.until(t, map[string]any{"msg": "platforms were read", "open": 1.0, "refused": 0.0})
	put(forum, func(_ *policy.PlatformRecord, s *postgres.Registered) {
		s.Client = []byte(`{"redirect_uris":["https://evil.example/"]}`)
	})
	r.log.until(t, map[string]any{"level": "ERROR", "platform": "school-forum", "code": "platform.other_settings"})
	if !r.knows("town-square") || r.knows("school-forum") {
		t.Error("one bad platform")
	}
	if at := r.s.live.registered.Load().findings(); len(at) != 2 || at[1].Code != "platform.other_settings" {
		t.Errorf("%+v", at)
	}
	put(forum)
	if !r.knows("school-forum") {
		t.Error("it was mended")
	}
	put(square, func(record *policy.PlatformRecord, _ *postgres.Registered) { record.Retired = true })
	if r.knows("town-square") || !r.knows("school-forum") {
		t.Error("a platform that has retired can still sign people in")
	}
	// Nothing new costs one look; custodians stop a platform by a bundle alone.
	before := r.s.live.registered.Load()
	if err := r.s.LoadPlatforms(t.Context()); err != nil || r.s.live.registered.Load() != before {
		t.Errorf("%v: read again for nothing", err)
	}
	r.bundle.Store(g.rules(g.bundle, nil, policy.Stop{Platform: "school-forum"}))
	if err := r.s.LoadPlatforms(t.Context()); err != nil || r.knows("school-forum") {
		t.Errorf("%v: a stopped platform can sign people in", err)
	}
	r.s.changed = func(context.Context, int64) ([]postgres.Registered, error) {
		return nil, errors.New("the database is away")
	}
	if err := r.s.LoadPlatforms(t.Context()); err == nil {
		t.Error("an outage is silent")
	}
}

// A record that the registry key signed counts once the public log holds it, at the leaf
// that the database names. Until then the one before stays in force.
func TestPlatformsThatTheLogDoesNotHold(t *testing.T) {
	r, g := newReloading(t), newRegistering(t)
	r.bundle.Store(g.bundle)
	now, looks, log := time.Now(), 0, map[int64]string{}
	r.s.Now = func() time.Time { return now }
	r.s.live.holds = func(leaf int64, digest string) bool { return log[leaf] == digest }
	r.s.live.look = func(context.Context) error { looks++; return nil }
	var stored []postgres.Registered
	r.s.changed = func(_ context.Context, after int64) ([]postgres.Registered, error) {
		return slices.DeleteFunc(slices.Clone(stored), func(one postgres.Registered) bool { return one.Leaf <= after }), nil
	}
	put := func(leaf int64, p openid.Platform) string {
		t.Helper()
		one := g.put(p, func(_ *policy.PlatformRecord, s *postgres.Registered) { s.Leaf = leaf })
		stored = append(stored, one)
		return proof.PlatformDigest(one.Signed, one.Countersigned)
	}
	load := func() {
		t.Helper()
		if err := r.s.LoadPlatforms(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all := ways(t, newPublicKey(t))
	square, forum := all[0], all[1]
	square.IDTokenAlg = ""
	first := put(1, square)
	load()
	if r.knows("town-square") {
		t.Error("without a leaf")
	}
	r.log.until(t, map[string]any{"level": "ERROR", "platform": "town-square", "code": "platform.not_in_log"})
	log[2] = first
	now = now.Add(lookAgain)
	if load(); r.knows("town-square") || looks != 2 {
		t.Errorf("with another leaf, after %d looks", looks)
	}
	log[1] = "the digest of another record"
	if load(); r.knows("town-square") || looks != 2 {
		t.Errorf("with another record's leaf, after %d looks", looks)
	}
	r.s.live.look = func(context.Context) error { log[1] = first; return nil }
	now = now.Add(lookAgain)
	if load(); !r.knows("town-square") {
		t.Error("the log holds it now")
	}
	// A newer record, and a new platform.
	r.s.live.look = func(context.Context) error { return rules.ErrUnknown }
	square.Name = "Thieves' Square"
	renamed := put(3, square)
	put(4, forum)
	if err := r.s.LoadPlatforms(t.Context()); !errors.Is(err, rules.ErrUnknown) {
		t.Error("an outage of the log is silent:", err)
	}
	at := r.s.live.registered.Load()
	if !r.knows("town-square") || at.all[slices.IndexFunc(at.all, func(p openid.Platform) bool { return p.ID == "town-square" })].Name != "Town Square" {
		t.Error("in doubt the record before does not stay")
	}
	r.log.until(t, map[string]any{"level": "WARN", "platform": "town-square", "code": "platform.not_in_log"})
	if f := at.findings(); len(f) != 3 || f[0].Cause != "1 open, 1 refused" || f[1].Part != "platform school-forum" || f[2].Part != "platform town-square" || f[2].Code != "platform.not_in_log" || f[2].Mark != Warning {
		t.Errorf("%+v", f)
	}
	log[3] = renamed
	load()
	if at := r.s.live.registered.Load(); len(at.findings()) != 2 || len(at.behind) > 0 || at.all[slices.IndexFunc(at.all, func(p openid.Platform) bool { return p.ID == "town-square" })].Name != "Thieves' Square" {
		t.Errorf("%+v", at.findings())
	}
}

// C3: a configuration that cannot be read changes nothing, and one with changes for the
// next start says so.
func TestFoundC3ConfigurationThatCannotBeRead(t *testing.T) {
	r := newReloading(t)
	keys := `{file = "first.jwk"}`
	r.put("escrowd.toml", "this is no TOML")
	r.log.until(t, refusedAgain("configuration", "config.unreadable"))
	r.put("escrowd.toml", strings.Replace(r.config(keys), "127.0.0.1:0", "127.0.0.1:1", 1))
	r.log.until(t, map[string]any{"level": "WARN", "msg": "the configuration has changes that take effect at the next start"})
}

// What is not as before is the configuration: it says so, and what to do.
func TestPlatformsHaveMoved(t *testing.T) {
	_, err := ReadConfig(write(t, "escrowd.toml", sample(t)+"\n[[issue.platforms]]\nid = \"town-square\"\n", 0o644))
	if !errPlatformsMoved.Is(refusalOf(err)) || !strings.Contains(errors.Unwrap(refusalOf(err)).Error(), "issue.platforms") {
		t.Errorf("%v", err)
	}
}

// What a running service does not read again, and files of authorities, keys and database
// addresses are of that, is said when it changes.
func TestChangesForTheNextStartAreSaid(t *testing.T) {
	r := newReloading(t)
	r.put("authorities.pem", "one")
	text := "ca_file = \"" + r.folder + "/authorities.pem\"\n" + r.config(`{file = "first.jwk"}`)
	said := map[string]any{"level": "WARN", "msg": "the configuration has changes that take effect at the next start"}
	r.put("escrowd.toml", text)
	r.log.until(t, said)
	r.put("escrowd.toml", "# a remark is none\n"+text)
	r.putCertificate(".", 4, time.Now().AddDate(0, 3, 0))
	r.log.until(t, readAgain("certificate"))
	for _, text := range []string{"another", "", "one"} {
		select {
		case line := <-r.log:
			t.Errorf("before %q: %v", text, line)
		default:
		}
		r.put("authorities.pem", text)
		r.log.until(t, said)
	}
}

// C3: the next token key is taken while the service runs.
func TestFoundC3TokenKeysAreReadAgain(t *testing.T) {
	r := newReloading(t)
	published := func() (kids []string) {
		w := httptest.NewRecorder()
		r.edge.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://penname.example/jwks", nil))
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
			t.Fatal(err)
		}
		for _, k := range set.Keys {
			kids = append(kids, k.KeyID)
		}
		return kids
	}
	first := published()
	next := r.newKey("next.jwk")
	both := `{file = "first.jwk", not_after = 2099-01-01T00:00:00Z}, {file = "next.jwk", not_before = 2098-12-01T00:00:00Z, not_after = 2099-06-01T00:00:00Z}`
	r.put("escrowd.toml", r.config(both))
	r.log.until(t, readAgain("token keys"))
	if kids := published(); len(kids) != 2 || !slices.Contains(kids, next.KeyID) {
		t.Errorf("published are %v", kids)
	}
	if all := r.s.Lifetimes(); all[len(all)-1].What != "last token key" || all[len(all)-1].Ends.Year() != 2099 {
		t.Errorf("%v", all)
	}
	// Not endorsed, and of another algorithm.
	r.bundle.Store(&policy.Bundle{})
	r.endorsed("first.jwk", (*r.s.live.tokenKeys.Load())[0].JWK)
	r.put("escrowd.toml", r.config(`{file = "next.jwk"}`))
	r.log.until(t, refusedAgain("token keys", "config.token_key_not_in_bundle"))
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r.endorsed("p256.jwk", jose.JSONWebKey{Key: p256, KeyID: "p256"})
	r.put("escrowd.toml", r.config(`{file = "p256.jwk"}`))
	r.log.until(t, refusedAgain("token keys", "openid.config"))
	if kids := published(); len(kids) != 2 || !slices.Contains(kids, first[0]) {
		t.Errorf("published are %v", kids)
	}
}

// C3: what ends is said long before, each time the job looks.
func TestFoundC3AnEndIsSaidLongBefore(t *testing.T) {
	r := newReloading(t)
	for i, c := range []struct {
		left time.Duration
		soon bool
	}{{90 * 24 * time.Hour, false}, {time.Hour, false}, {15 * time.Minute, true}} {
		// It began an hour ago. Read between its two files, it is read twice.
		serial := int64(2 + i)
		r.putCertificate(".", serial, time.Now().Add(c.left))
		for r.s.live.certificate.Load().Leaf.SerialNumber.Int64() != serial {
			r.log.until(t, readAgain("certificate"))
		}
		if err := r.s.WatchLifetimes(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.soon {
			r.log.until(t, map[string]any{"level": "WARN", "msg": "ends soon", "what": "certificate"})
			continue
		}
		for len(r.log) > 0 {
			if line := <-r.log; line["msg"] != "read again" {
				t.Errorf("with %s left: %v", c.left, line)
			}
		}
	}
}

// What ends is a metric, of no person, case or platform.
func TestFoundC1DaysLeftAreAMetric(t *testing.T) {
	r := newReloading(t)
	w := httptest.NewRecorder()
	r.s.Metrics().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/metrics", nil))
	var days float64
	for line := range strings.Lines(w.Body.String()) {
		if _, err := fmt.Sscanf(line, `penname_days_left{what="certificate"} %g`, &days); err == nil {
			break
		}
	}
	if want := time.Until(time.Now().AddDate(0, 3, 0)).Hours() / 24; w.Code != http.StatusOK || math.Abs(days-want) > 0.1 {
		t.Errorf("%d: %g days, want %g: %s", w.Code, days, want, w.Body)
	}
}

// The metrics are where the configuration says, and nowhere else.
func TestMetricsHaveAListenerOfTheirOwn(t *testing.T) {
	r := newReloading(t)
	free, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Parts: Parts{Log: r.s.Log, Now: time.Now, config: &Config{MetricsListen: free.Addr().String()}}, web: r.edge}
	if err := s.Run(t.Context(), free, Machine{}); !errors.Is(err, ErrListen) {
		t.Fatalf("the address is taken: %v", err)
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.edge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("metrics for everybody: %d", w.Code)
	}
}
