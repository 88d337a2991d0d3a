package world

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/spans"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
)

// founding is a world while it is made, with what only the start needs.
type founding struct {
	*World
	issuing    service.Issuing
	disclosing service.Disclosing
	keeping    service.Keeping
	draft      policy.Bundle // without custodians and key, until their ceremony
	platforms  []registration
	asked      map[string]bool // the ids of clients that are new, or asked for in another way than before
	told       io.Writer
	providers  []provider // of the identity of people, as a configuration has them
}

// found makes the world's service, and returns the listener that it is to serve.
func (f *founding) found(ctx context.Context, o Options) (ln net.Listener, err error) {
	if f.Cluster != nil {
		f.Origin = f.Cluster.Origin
	} else if ln, f.Origin, err = f.listen("penname", o.Listen); err != nil {
		return nil, err
	}
	defer func(opened net.Listener) {
		if err != nil && opened != nil {
			opened.Close() // the first error says more
		}
	}(ln)
	if o.Front != nil {
		f.Origin = o.Front(f.Origin)
	}
	if err := f.makeKeys(); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		into     **Platform
		id, name string
	}{{&f.Town, TownSquare, "Town Square"}, {&f.School, SchoolForum, "School Forum"}} {
		if *p.into, err = f.makePlatform(p.id, p.name); err != nil {
			return nil, err
		}
	}
	f.asked = f.addClients(o.Clients)
	for _, c := range f.kept.Clients {
		p, err := f.client(c)
		if err != nil {
			return nil, err
		}
		f.platforms = append(f.platforms, p)
	}
	if err := f.openParts(ctx, o); err != nil {
		return nil, err
	}
	if err := f.startIdentityProviders(ctx, o); err != nil {
		return nil, err
	}
	f.rules = &disclose.Rules{Bundles: f.disclosing.Store.Bundles, Ceremonies: f.disclosing.Store.Ceremonies, Now: f.Clock.Now}
	b, err := f.makeRules(ctx, o.Rules)
	if err != nil {
		return nil, err
	}
	if f.Cluster != nil {
		return nil, f.runOn(ctx)
	}
	zone, err := time.LoadLocation("Europe/London") // where Thornley is
	if err != nil {
		return nil, err
	}
	f.Service, err = service.New(ctx, service.Parts{Log: f.Log, Now: f.Clock.Now, Zone: zone, Origin: f.Origin, Bundle: b, PerSender: o.PerSender, Traces: o.Traces,
		Issuing: &f.issuing, Disclosing: &f.disclosing, Keeping: &f.keeping})
	if err != nil {
		return nil, err
	}
	return ln, nil
}

// makeRules lets courts and custodians make the first rules, or takes those of before.
func (f *founding) makeRules(ctx context.Context, change func(*policy.Bundle)) (*policy.Bundle, error) {
	if f.Resumed {
		for _, c := range Custodians {
			if _, err := f.serveWitness(c); err != nil {
				return nil, err
			}
		}
		raw, err := os.ReadFile(f.Path("bundle.json"))
		if err != nil {
			return nil, err
		}
		return policy.ParseBundle(raw)
	}
	if err := f.makeCourts(); err != nil {
		return nil, err
	}
	raw, err := f.makeCustodians(ctx)
	if err == nil && change != nil {
		raw, err = f.changeRules(raw, change)
	}
	if err != nil {
		return nil, err
	}
	b, err := policy.ParseBundle(raw)
	if err != nil {
		return nil, err
	}
	return b, f.InstallBundle(ctx, raw)
}

// changeRules makes Dir/bundle.json another one.
func (f *founding) changeRules(raw []byte, change func(*policy.Bundle)) ([]byte, error) {
	var b policy.Bundle
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, err
	}
	change(&b)
	raw, err := b.Marshal()
	if err != nil {
		return nil, err
	}
	return raw, os.WriteFile(f.Path("bundle.json"), raw, 0o600)
}

// openParts starts what the service stands on, and opens it.
func (f *founding) openParts(ctx context.Context, o Options) error {
	if f.Cluster != nil {
		return f.prepare(ctx, o)
	}
	if err := f.startPostgres(ctx, o); err != nil {
		return err
	}
	if err := f.startKeyService(ctx, o); err != nil {
		return err
	}
	return f.openStores(ctx, o.Stores, o.Traces)
}

func (f *founding) startPostgres(ctx context.Context, o Options) (err error) {
	dir := ""
	if f.keeps {
		dir = f.Path("postgres")
	}
	if f.Postgres = o.Server; o.Server == nil {
		if f.Postgres, err = sandbox.StartPostgres(ctx, dir, o.Postgres...); err != nil {
			return err
		}
	}
	f.onClose(f.Postgres.Stop)
	if dir != "" && f.Postgres.Dir != dir {
		return sandbox.ErrUnreachable
	}
	return nil
}

// openStores migrates the database and opens it as each side.
func (f *founding) openStores(ctx context.Context, o postgres.Options, traces *spans.Tracer) (err error) {
	if err := postgres.Migrate(ctx, f.Postgres.DSN); err != nil {
		return err
	}
	// Closed after what uses them, and before the database stops.
	f.onClose(func() error {
		(&service.Parts{Issuing: &f.issuing, Disclosing: &f.disclosing, Keeping: &f.keeping}).Close()
		return nil
	})
	dsn, err := postgres.Login(ctx, f.Postgres.DSN, "penname_issuing")
	if err != nil {
		return err
	}
	if err := f.issuing.OpenStore(ctx, dsn, o); err != nil {
		return err
	}
	if dsn, err = postgres.Login(ctx, f.Postgres.DSN, "penname_disclosing"); err != nil {
		return err
	}
	if err := os.WriteFile(f.Path("disclosing.dsn"), []byte(dsn), 0o600); err != nil {
		return err
	}
	disclosing := o
	disclosing.Tracer = traces.Database()
	if err := f.disclosing.OpenStore(ctx, dsn, disclosing); err != nil {
		return err
	}
	if dsn, err = postgres.Login(ctx, f.Postgres.DSN, "penname_keeping"); err != nil {
		return err
	}
	f.keeping.Store, err = postgres.OpenKeeping(ctx, dsn, o)
	return err
}

// startKeyService starts the local keyring, which is there at once, or a real
// Vault.
func (f *founding) startKeyService(ctx context.Context, o Options) error {
	if !o.Vault {
		issuing, disclosing, keeping, err := sandbox.KeptKeyring(f.Path("keyring.json"))
		if err != nil {
			return err
		}
		f.KeyService = issuing.String()
		f.issuing.Keys, f.disclosing.Keys, f.keeping.Keys = issuing, disclosing, keeping
		return nil
	}
	dir := ""
	if f.keeps {
		dir = f.Path("vault")
	}
	v, err := sandbox.StartVault(ctx, dir, o.Progress)
	if err != nil {
		return err
	}
	f.Vault, f.KeyService = v, "HashiCorp Vault at "+v.Address
	f.onClose(v.Stop)
	if _, err := vault.Bootstrap(ctx, f.vaultAdmin()); err != nil {
		return err
	}
	return f.OpenVault(ctx, &f.issuing, &f.disclosing, &f.keeping)
}

func (w *World) vaultAdmin() vault.Admin {
	a := vault.Admin{Address: w.Vault.Address, Token: w.Vault.RootToken}
	if w.Cluster != nil {
		a.CAFile = w.Cluster.CAFile
	}
	return a
}

// OpenVault logs every side in to the world's Vault, each with a secret id of
// its own.
func (w *World) OpenVault(ctx context.Context, i *service.Issuing, d *service.Disclosing, k *service.Keeping) error {
	login := func(side vault.Side) (vault.Config, error) {
		c, err := vault.NewCredentials(ctx, w.vaultAdmin(), side, time.Minute)
		if err != nil {
			return vault.Config{}, err
		}
		file := w.Path(string(side) + ".secret-id")
		return vault.Config{Address: w.Vault.Address, RoleID: c.RoleID, SecretIDFile: file}, os.WriteFile(file, []byte(c.Secret), 0o600)
	}
	issuing, err := login(vault.SideIssuing)
	if err != nil {
		return err
	}
	issues, err := vault.OpenIssuing(ctx, issuing)
	if err != nil {
		return err
	}
	i.Keys, i.Login = issues, issues.Login()
	disclosing, err := login(vault.SideDisclosing)
	if err != nil {
		return err
	}
	discloses, err := vault.OpenDisclosing(ctx, disclosing)
	if err != nil {
		return err
	}
	d.Keys, d.Login = discloses, discloses.Login()
	keeping, err := login(vault.SideKeeping)
	if err != nil {
		return err
	}
	keeps, err := vault.OpenKeeping(ctx, keeping)
	if err != nil {
		return err
	}
	k.Keys, k.Login = keeps, keeps.Login()
	return nil
}

func (f *founding) startIdentityProviders(ctx context.Context, o Options) (err error) {
	people := o.People
	if people == nil {
		people = sandbox.People()
	}
	if f.Identity, err = f.startIdentityProvider(ctx, "sandbox", "Sandbox Identity", people); err != nil {
		return err
	}
	f.SecondIdentity, err = f.startIdentityProvider(ctx, "registry", "Sandbox Registry", people)
	return err
}

// provider is an identity provider as it is named to the service.
type provider struct{ id, name, issuer, client, secret string }

func (f *founding) startIdentityProvider(ctx context.Context, id, name string, people []sandbox.Person) (issuer string, err error) {
	client := sandbox.Client{ID: "penname", Secret: f.secret("identity provider " + id), RedirectURI: f.Origin + person.CallbackPath(id)}
	issuer, err = f.serveAs("identity provider "+id, func(origin string) (http.Handler, error) {
		return sandbox.NewProvider(origin, client, people, f.Clock.Now).Handler(), nil
	})
	if f.providers = append(f.providers, provider{id, name, issuer, client.ID, client.Secret}); err != nil || f.Cluster != nil {
		return issuer, err
	}
	party, err := identity.NewRelyingParty(ctx, identity.Provider{
		Issuer: issuer, ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: client.RedirectURI,
		Scopes: []string{"profile", "address", "email"}, ACRValues: []string{sandbox.ACRVerified}, SingleUse: f.issuing.Store, AllowLoopback: true,
		Claims: identity.ClaimSources{Ages: true, Country: "address.country", Profession: "profession", Organisation: "organisation"},
	}, f.Clock.Now)
	if err != nil {
		return "", err
	}
	f.issuing.Providers = append(f.issuing.Providers, person.Provider{ID: id, Name: name, ACRs: []string{sandbox.ACRVerified}, Proving: party})
	return issuer, nil
}

// makeKeys makes the service's own keys, and the draft of a bundle that names
// them.
func (f *founding) makeKeys() error {
	var public jose.JSONWebKeySet
	for _, key := range [...]struct {
		name string
		alg  jose.SignatureAlgorithm
	}{{"token", jose.EdDSA}, {"token-rsa", jose.RS256}} { // in this order: the first signs where nobody asks for another
		k, err := f.keyFor(key.name, key.alg)
		if err != nil {
			return err
		}
		f.issuing.TokenKeys = append(f.issuing.TokenKeys, openid.Key{JWK: k})
		public.Keys = append(public.Keys, k.Public())
	}
	issuerKeys, err := json.Marshal(public)
	if err != nil {
		return err
	}
	f.issuing.HTTP = identity.NewHTTP(identity.Guard{AllowLoopback: true})
	registry, err := f.registry()
	if err != nil {
		return err
	}
	f.issuing.CookieKeys = [][32]byte{sha256.Sum256([]byte(f.secret("cookies")))}
	u, err := url.Parse(f.Origin)
	if err != nil {
		return err
	}
	logOrigin := u.Host + "/log"
	skey, vkey, err := f.logKey(logOrigin)
	if err != nil {
		return err
	}
	if f.disclosing.Signer, err = translog.NewSigner(skey); err != nil {
		return err
	}
	f.draft = policy.Bundle{
		Registrar: f.Origin, Issuer: f.Origin, IssuerKeys: issuerKeys,
		Registry:      registry,
		Log:           policy.Log{Origin: logOrigin, VKey: vkey, Quorum: Quorum},
		Organisations: []policy.Organisation{police}, MaxTargets: 600, MaxSecrecyDays: 366, MaxValidityDays: 90,
	}
	law, err := policy.ProfileNamed(profile)
	if err != nil {
		return err
	}
	law.Fill(&f.draft)
	for _, r := range []policy.Reviewer{{ID: "rita", Name: "Rita Ashgrove"}, {ID: "sami", Name: "Sami Tollgate"}} {
		key, err := f.key(r.ID)
		if err != nil {
			return err
		}
		if r.Key, err = key.Public().MarshalJSON(); err != nil {
			return err
		}
		f.draft.Reviewers = append(f.draft.Reviewers, r)
	}
	return nil
}

// logKey is the key of the public log in Dir/log.key, which is made if there is none.
// Of one that was there the verifier key is in the bundle, and here empty.
func (f *founding) logKey(origin string) (skey, vkey string, err error) {
	if f.Resumed {
		raw, err := os.ReadFile(f.Path("log.key"))
		return strings.TrimSpace(string(raw)), "", err
	}
	if skey, vkey, err = translog.NewKey(origin); err != nil {
		return "", "", err
	}
	return skey, vkey, os.WriteFile(f.Path("log.key"), []byte(skey+"\n"), 0o600)
}

// courts are the authorities of the world, and the file of each one's key. The court of appeal
// is over the two others, the harbour court orders twice a day at most, and what the prosecutor
// orders the county court has to validate.
var courts = []struct {
	key string
	policy.Authority
}{
	{"court", policy.Authority{ID: "county-court", Name: "Thornley County Court", Kind: "court"}},
	{"appeal", policy.Authority{ID: "appeal-court", Name: "Thornley Court of Appeal", Kind: "court", Over: []string{"county-court", "harbour-court"}}},
	{"harbour", policy.Authority{ID: "harbour-court", Name: "Thornley Harbour Court", Kind: "court", DailyWarrants: 2}},
	{"prosecutor", policy.Authority{ID: "prosecutor", Name: "Thornley Public Prosecutor", Kind: "public_prosecutor", ValidatedBy: []string{"county-court"}}},
}

// profile is the law of the sandbox: policy/bundles has it, with cases beside it.
const profile = "sandbox"

// police are who asks the court. Courts and custodians have organisations of their own.
var police = policy.Organisation{ID: "thornley-police", Name: "Thornley Police"}

// makeCourts makes the courts that are in the bundle, one that is not, and the
// police's delivery key.
func (f *founding) makeCourts() error {
	if _, err := f.key("unknown-court"); err != nil {
		return err
	}
	var classes []string
	for _, c := range f.draft.OffenceClasses {
		classes = append(classes, c.ID)
	}
	now := f.Clock.Now()
	for _, c := range courts {
		key, err := f.key(c.key)
		if err != nil {
			return err
		}
		public, err := key.Public().MarshalJSON()
		if err != nil {
			return err
		}
		a := c.Authority
		a.Jurisdiction, a.OffenceClasses = "GB", classes
		a.Keys = []policy.Key{{JWK: public, From: now.AddDate(0, -1, 0).UTC().Truncate(time.Second), Until: now.AddDate(2, 0, 0).UTC().Truncate(time.Second)}}
		f.draft.Authorities = append(f.draft.Authorities, a)
	}
	delivery, err := seal.GenerateDeliveryKey()
	if err != nil {
		return err
	}
	secret, err := delivery.Reveal()
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(f.Path("requester.key"), []byte(secret), 0o600),
		os.WriteFile(f.Path("requester.pub"), []byte(delivery.Public()), 0o600))
}

// asks are the claims that the world's platforms may ask for, and do.
var asks = map[string][]string{TownSquare: {"age_over_18"}, SchoolForum: {"age_over_18", "profession", "organisation"}}

func (f *founding) makePlatform(id, name string) (*Platform, error) {
	key, err := f.key("evidence-" + id)
	if err != nil {
		return nil, err
	}
	p := &Platform{ID: id, Name: name, EvidenceKey: key, Claims: asks[id], Issuer: f.Origin, IssuerKeys: f.draft.IssuerKeys, Now: f.Clock.Now}
	if p.Origin, err = f.serveAs(id, func(string) (http.Handler, error) { return p.Handler(), nil }); err != nil {
		return nil, err
	}
	f.platforms = append(f.platforms, registration{openid.Platform{ID: id, Name: name, RedirectURIs: []string{p.Origin + "/callback"},
		SecretHashes: []openid.SecretHash{openid.HashSecret(f.secret(id))}, Username: true, Claims: asks[id]}, key})
	return p, nil
}

// operate runs the operator's program, which has to succeed.
func (f *founding) operate(ctx context.Context, args ...string) error {
	var out, errs strings.Builder
	if f.programs.Escrowd(ctx, args, &out, &errs) != 0 {
		return errors.New(strings.TrimSpace(errs.String()))
	}
	return nil
}
