package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"golang.org/x/sync/errgroup"

	"github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
)

// testbed is `escrowd dev`: a whole world in one process, on loopback only.
//
//	escrowd          the service, all three sides
//	identity         an identity provider with test people
//	town, school     two platforms
//	alba, bruno, …   three custodians with their folders and witnesses
//	dir              what users outside the service hold: keys, bundle, folders
type testbed struct {
	dir      string
	log      *slog.Logger
	clock    *clock
	keyName  string // which key service holds the first halves
	origin   string
	identity string
	town     *platform
	school   *platform
	service  *service

	postgres *sandbox.Postgres
	dsn      string               // PostgreSQL's administrator
	stores   postgres.Options     // how the sides open it
	database string               // folder of PostgreSQL's files, empty if it was there before
	vault    *sandbox.VaultServer // nil with the local keyring
	witness  map[string]*outage   // by custodian
	group    *errgroup.Group
	cancel   context.CancelFunc
	closers  []func() error
}

// outage is a handler that can be down: what happens when witnesses are is part
// of the walkthroughs.
type outage struct {
	http.Handler
	down atomic.Bool
}

func (o *outage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	o.Handler.ServeHTTP(w, r)
}

// clock can be moved: the end of secrecy is months away.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// custodians of the sandbox: three organisations, two of which must agree.
var custodians = []policy.Custodian{
	{ID: "alba", Name: "Alba Ferrand", Organisation: "Bar Association", Index: 1},
	{ID: "bruno", Name: "Bruno Keller", Organisation: "Data Protection Authority", Index: 2},
	{ID: "chidi", Name: "Chidi Eze", Organisation: "Press Council", Index: 3},
}

const quorum = 2

// devOptions are the flags of `escrowd dev`.
type devOptions struct {
	listen    string // loopback, checked
	vault     bool
	logOutput io.Writer
	progress  io.Writer
	postgres  []string          // further settings of PostgreSQL
	server    *sandbox.Postgres // instead of one of its own
	stores    postgres.Options  // how the sides open it
	people    []sandbox.Person  // of the identity provider; nil for the sandbox's
	behind    time.Duration     // how far the clock is behind when it starts
}

// startTestbed starts everything; Close stops it.
func startTestbed(ctx context.Context, o devOptions) (_ *testbed, err error) {
	if err := sandbox.RequireLoopback(o.listen); err != nil {
		return nil, err
	}
	t := &testbed{clock: &clock{}, witness: map[string]*outage{}, log: slog.New(slog.NewJSONHandler(o.logOutput, nil))}
	t.clock.Advance(-o.behind)
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t.cancel = cancel
	t.group, run = errgroup.WithContext(run)
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.dir, err = os.MkdirTemp("", "penname-sandbox-"); err != nil {
		return nil, err
	}
	t.closers = append(t.closers, func() error { return os.RemoveAll(t.dir) })
	w, err := t.wire(ctx, run, o)
	if err != nil {
		return nil, err
	}
	ln := w.listener
	if t.service, err = newService(ctx, w.wiring); err != nil {
		return nil, err
	}
	if err := t.installBundle(ctx, w.bundleRaw); err != nil {
		return nil, err
	}
	t.group.Go(func() error { return t.service.Run(run, ln, nil) })
	for _, p := range []*platform{t.town, t.school} {
		if err := p.connect(ctx, w.secrets[p.id]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Close stops the service first, then what it stands on.
func (t *testbed) Close() error {
	t.cancel()
	err := t.group.Wait()
	for _, c := range slices.Backward(t.closers) {
		err = errors.Join(err, c())
	}
	return err
}

// world is the wiring of the testbed's service with what only the start needs.
type world struct {
	wiring
	listener  net.Listener
	secrets   map[string]string // of the platforms
	bundleRaw []byte
}

func (t *testbed) listen(address string) (net.Listener, string, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", errListen.Because(err)
	}
	return ln, "http://" + ln.Addr().String(), nil
}

// serve runs a handler of the testbed's surroundings on a loopback port.
func (t *testbed) serve(run context.Context, ln net.Listener, h http.Handler) {
	t.group.Go(func() error { return command.Serve(run, ln, h) })
}

func (t *testbed) wire(ctx, run context.Context, o devOptions) (w *world, err error) {
	w = &world{secrets: map[string]string{}}
	if w.listener, t.origin, err = t.listen(o.listen); err != nil {
		return nil, err
	}
	w.wiring = wiring{log: t.log, now: t.clock.Now, origin: t.origin}

	pg := o.server
	if pg == nil {
		if pg, err = sandbox.StartPostgres(ctx, "", o.postgres...); err != nil {
			return nil, err
		}
	}
	if t.stores = o.stores; t.stores.Wait == 0 {
		t.stores.Wait = 30 * time.Second // the machine may be compiling
	}
	t.postgres, t.dsn, t.database = pg, pg.DSN, pg.Dir
	t.closers = append(t.closers, pg.Stop)
	i, d, k := &issuingSide{}, &disclosingSide{}, &keepingSide{}
	if err := t.openStores(ctx, i, d, k); err != nil {
		return nil, err
	}
	if err := t.keyService(ctx, o, i, d, k); err != nil {
		return nil, err
	}
	w.keeping = k
	if err := t.startIdentityProvider(ctx, run, o, i); err != nil {
		return nil, err
	}
	return w, t.makeParties(ctx, run, w, i, d)
}

// openStores migrates the database and opens it as each side.
func (t *testbed) openStores(ctx context.Context, i *issuingSide, d *disclosingSide, k *keepingSide) error {
	if err := postgres.Migrate(ctx, t.dsn); err != nil {
		return err
	}
	issuing, err := postgres.Login(ctx, t.dsn, "penname_issuing")
	if err != nil {
		return err
	}
	if i.store, err = postgres.OpenIssuing(ctx, issuing, t.stores); err != nil {
		return err
	}
	t.closers = append(t.closers, func() error { i.store.Close(); return nil })
	disclosing, err := postgres.Login(ctx, t.dsn, "penname_disclosing")
	if err != nil {
		return err
	}
	if err := os.WriteFile(t.path("disclosing.dsn"), []byte(disclosing), 0o600); err != nil {
		return err
	}
	if d.store, err = postgres.OpenDisclosing(ctx, disclosing, t.stores); err != nil {
		return err
	}
	t.closers = append(t.closers, func() error { d.store.Close(); return nil })
	keeping, err := postgres.Login(ctx, t.dsn, "penname_keeping")
	if err != nil {
		return err
	}
	if k.store, err = postgres.OpenKeeping(ctx, keeping, t.stores); err != nil {
		return err
	}
	t.closers = append(t.closers, func() error { k.store.Close(); return nil })
	return nil
}

// keyService is the local keyring, which starts at once, or a real Vault.
func (t *testbed) keyService(ctx context.Context, o devOptions, i *issuingSide, d *disclosingSide, k *keepingSide) error {
	if !o.vault {
		issuing, disclosing, keeping := sandbox.NewKeyring(sandbox.NewSecret())
		t.keyName = issuing.String()
		i.keys, d.keys, k.keys = issuing, disclosing, keeping
		return nil
	}
	v, err := sandbox.StartVault(ctx, "", o.progress)
	if err != nil {
		return err
	}
	t.vault, t.keyName = v, "HashiCorp Vault at "+v.Address
	t.closers = append(t.closers, v.Stop)
	admin := vault.Admin{Address: v.Address, Token: v.RootToken}
	if _, err := vault.Bootstrap(ctx, admin); err != nil {
		return err
	}
	return t.openVault(ctx, i, d, k)
}

// openVault logs every side in, with a secret id of its own.
func (t *testbed) openVault(ctx context.Context, i *issuingSide, d *disclosingSide, k *keepingSide) error {
	admin := vault.Admin{Address: t.vault.Address, Token: t.vault.RootToken}
	configFor := func(side vault.Side) (vault.Config, error) {
		c, err := vault.NewCredentials(ctx, admin, side, time.Minute)
		if err != nil {
			return vault.Config{}, err
		}
		file := filepath.Join(t.dir, string(side)+".secret-id")
		return vault.Config{Address: t.vault.Address, RoleID: c.RoleID, SecretIDFile: file}, os.WriteFile(file, []byte(c.Secret), 0o600)
	}
	issuing, err := configFor(vault.SideIssuing)
	if err != nil {
		return err
	}
	if i.keys, err = vault.OpenIssuing(ctx, issuing); err != nil {
		return err
	}
	disclosing, err := configFor(vault.SideDisclosing)
	if err != nil {
		return err
	}
	if d.keys, err = vault.OpenDisclosing(ctx, disclosing); err != nil {
		return err
	}
	keeping, err := configFor(vault.SideKeeping)
	if err != nil {
		return err
	}
	k.keys, err = vault.OpenKeeping(ctx, keeping)
	return err
}

func (t *testbed) startIdentityProvider(ctx, run context.Context, o devOptions, i *issuingSide) error {
	ln, origin, err := t.listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	t.identity = origin
	people := o.people
	if people == nil {
		people = sandbox.People()
	}
	client := sandbox.Client{ID: "penname", Secret: rand.Text(), RedirectURI: t.origin + "/enrol/callback"}
	t.serve(run, ln, sandbox.NewProvider(origin, client, people, t.clock.Now).Handler())
	i.relyingParty, err = identity.NewRelyingParty(ctx, identity.Provider{
		Issuer: origin, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: client.RedirectURI,
		Scopes: []string{"profile", "address", "email"}, ACRValues: []string{sandbox.ACRVerified}, AllowLoopback: true,
	}, t.clock.Now)
	return err
}

// makeParties makes the keys of everybody outside the service and the bundle
// that names them.
func (t *testbed) makeParties(ctx, run context.Context, w *world, i *issuingSide, d *disclosingSide) error {
	tokenKey, err := document.NewKey()
	if err != nil {
		return err
	}
	issuerKeys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{tokenKey.Public()}})
	if err != nil {
		return err
	}
	rand.Read(i.cookieKey[:])
	i.tokenKeys = []openid.Key{{JWK: tokenKey}}
	u, err := url.Parse(t.origin)
	if err != nil {
		return err
	}
	logOrigin := u.Host + "/log"
	skey, vkey, err := translog.NewKey(logOrigin)
	if err != nil {
		return err
	}
	if d.signer, err = translog.NewSigner(skey); err != nil {
		return err
	}
	if err := os.WriteFile(t.path("log.key"), []byte(skey+"\n"), 0o600); err != nil {
		return err
	}
	b := policy.Bundle{
		Version: 1, Registrar: t.origin, Issuer: t.origin, IssuerKeys: issuerKeys,
		Log:       policy.Log{Origin: logOrigin, VKey: vkey, Quorum: quorum},
		Threshold: quorum, Policies: policy.DefaultRules(),
		Fields: []string{"name", "birthdate", "address", "email"}, OffenceClasses: offenceClasses(),
		MaxTargets: 600, MaxSecrecyDays: 366, MaxValidityDays: 90,
	}
	if err := t.makeCustodians(ctx, run, &b, d.store.Ceremonies); err != nil {
		return err
	}
	if err := t.makeCourts(&b); err != nil {
		return err
	}
	for _, p := range []struct {
		into     **platform
		id, name string
	}{{&t.town, "town-square", "Town Square"}, {&t.school, "school-forum", "School Forum"}} {
		if *p.into, err = t.makePlatform(run, &b, p.id, p.name, issuerKeys, w, i); err != nil {
			return err
		}
	}
	if w.bundleRaw, err = b.Marshal(); err != nil {
		return err
	}
	if w.bundle, err = policy.ParseBundle(w.bundleRaw); err != nil {
		return err
	}
	w.issuing, w.disclosing = i, d
	return os.WriteFile(t.path("bundle.json"), w.bundleRaw, 0o600)
}

func offenceClasses() []policy.OffenceClass {
	identify := []string{"name", "birthdate", "address"}
	return []policy.OffenceClass{
		{ID: "threats-to-life", Title: "Threats to kill or to cause serious harm", MinPenaltyMonths: 36, Fields: identify, Emergency: true},
		{ID: "stalking", Title: "Stalking and serious harassment", MinPenaltyMonths: 36, Fields: identify},
		{ID: "criticism", Title: "Criticism, insult or unwelcome opinion", Speech: true},
	}
}

// makeCourts makes a court that is in the bundle, one that is not, and the
// police's delivery key.
func (t *testbed) makeCourts(b *policy.Bundle) error {
	key, err := writeKey(t.path("court.jwk"))
	if err != nil {
		return err
	}
	if _, err := writeKey(t.path("unknown-court.jwk")); err != nil {
		return err
	}
	public, err := key.Public().MarshalJSON()
	if err != nil {
		return err
	}
	now := t.clock.Now()
	b.Authorities = []policy.Authority{{
		ID: "county-court", Name: "Thornley County Court", Kind: "court", Jurisdiction: "GB",
		Keys:           []policy.Key{{JWK: public, From: now.AddDate(0, -1, 0).UTC().Truncate(time.Second), Until: now.AddDate(2, 0, 0).UTC().Truncate(time.Second)}},
		OffenceClasses: []string{"threats-to-life", "stalking", "criticism"},
	}}
	delivery, err := seal.GenerateDeliveryKey()
	if err != nil {
		return err
	}
	secret, err := delivery.Reveal()
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(t.path("requester.key"), []byte(secret), 0o600),
		os.WriteFile(t.path("requester.pub"), []byte(delivery.Public()), 0o600))
}

func (t *testbed) makePlatform(run context.Context, b *policy.Bundle, id, name string, issuerKeys []byte, w *world, i *issuingSide) (*platform, error) {
	key, err := document.NewKey()
	if err != nil {
		return nil, err
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	if err != nil {
		return nil, err
	}
	ln, origin, err := t.listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b.Platforms = append(b.Platforms, policy.Platform{ID: id, Name: name, Keys: keys})
	w.secrets[id] = rand.Text()
	i.platforms = append(i.platforms, openid.Platform{
		ID: id, Name: name, RedirectURIs: []string{origin + "/callback"}, SecretHash: sha256.Sum256([]byte(w.secrets[id])),
	})
	p := &platform{id: id, name: name, origin: origin, evidenceKey: key, issuer: t.origin, issuerKeys: issuerKeys, now: t.clock.Now}
	t.serve(run, ln, p.handler())
	return p, nil
}

// installBundle has every custodian endorse the rules on their own side, and
// puts them in force.
func (t *testbed) installBundle(ctx context.Context, raw []byte) error {
	var endorsements []string
	for _, c := range custodians {
		out, code := t.escrow(ctx, t.asCustodian(c.ID, "endorse", t.path("bundle.json"))...)
		if code != 0 {
			return errors.New(out)
		}
		endorsements = append(endorsements, strings.TrimSpace(out))
	}
	return t.service.registrar.Rules.Install(ctx, raw, endorsements)
}

func writeKey(name string) (jose.JSONWebKey, error) {
	k, err := document.NewKey()
	if err != nil {
		return k, err
	}
	b, err := k.MarshalJSON()
	if err != nil {
		return k, err
	}
	return k, os.WriteFile(name, b, 0o600)
}

func (t *testbed) path(parts ...string) string {
	return filepath.Join(append([]string{t.dir}, parts...)...)
}

// asCustodian are the arguments of `escrow custodian` in a custodian's name.
func (t *testbed) asCustodian(id string, args ...string) []string {
	return slices.Concat([]string{"custodian"}, args, []string{
		"--home", t.path("custodians", id), "--passphrase-file", passphraseFile(t.path("custodians", id))})
}

// escrow runs the escrow program as its users do, and returns what it printed:
// standard output if it succeeded, standard error if not.
func (t *testbed) escrow(ctx context.Context, args ...string) (string, int) {
	var out, errs strings.Builder
	env := command.System()
	env.Stdin, env.Stdout, env.Stderr, env.Now = strings.NewReader(""), &out, &errs, t.clock.Now
	code := command.Run(ctx, args, env)
	if code != 0 {
		return strings.TrimSpace(errs.String()), code
	}
	return strings.TrimSpace(out.String()), 0
}
