package service

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

// A part is one of what a service stands on, opened in this order.
type part struct {
	name  string   // as /readyz has it
	needs []string // parts without which it is not tried
	open  func(*opening, context.Context) error
}

// opening is a start, or the check of one.
type opening struct {
	Parts
	checking  bool // what is tried besides is tried, and nothing is stored
	publisher *translog.Publisher

	lookUpMX func(ctx context.Context, name string) ([]*net.MX, error)
}

// parts are what this configuration needs. Their refusals say the setting.
func (c *Config) parts() []part {
	var all []part
	if c.CAFile != "" {
		all = append(all, part{"authorities", nil, func(o *opening, _ context.Context) (err error) {
			o.Authorities, err = registrar.Authorities(c.CAFile)
			return of("ca_file", err)
		}})
	}
	if c.TracesTo != "" {
		all = append(all, part{"traces", []string{"authorities"}, (*opening).openTraces})
	}
	all = append(all,
		part{"certificate", nil, (*opening).openCertificate},
		part{"bundle", nil, (*opening).openBundle})
	if c.MetricsClientCA != "" {
		all = append(all, part{"metrics.client_ca", nil, func(o *opening, _ context.Context) (err error) {
			o.metricsCA, err = c.metricsCA()
			return of("metrics_client_ca_file", err)
		}})
	}
	if c.Disclose == nil {
		all = append(all, part{"rules", []string{"authorities", "bundle"}, (*opening).openPublicLog})
	}
	if i := c.Issue; i != nil {
		all = append(all, i.parts(c.Origin)...)
	}
	if d := c.Disclose; d != nil {
		all = append(all, d.parts()...)
	}
	if k := c.Keep; k != nil {
		all = append(all, k.parts()...)
	}
	if m := c.Mail; m != nil {
		all = append(all, part{"mail", []string{"authorities"}, func(o *opening, ctx context.Context) error { return m.open(ctx, o) }})
	}
	for n := range all {
		all[n].open = c.place(all[n].open)
	}
	return all
}

// place adds to a part's refusals where the setting stands.
func (c *Config) place(open func(*opening, context.Context) error) func(*opening, context.Context) error {
	return func(o *opening, ctx context.Context) error { return c.placed(open(o, ctx)) }
}

func (c *Config) opening(log *slog.Logger) *opening {
	o := &opening{Parts: Parts{Log: log, Now: time.Now, Origin: c.Origin, RulesMaxAge: c.rulesMaxAge(), PerSender: float64(c.RequestsPerSender), config: c}, lookUpMX: net.DefaultResolver.LookupMX}
	if c.Issue != nil {
		o.Issuing = &Issuing{EmailDomain: c.Issue.EmailDomain}
	}
	if c.Disclose != nil {
		o.Disclosing = &Disclosing{}
	}
	if c.Keep != nil {
		o.Keeping = &Keeping{}
	}
	return o
}

// Open makes the service that the configuration describes, which logs JSON to
// logs. Every doubt refuses. The service is closed with Close.
func (c *Config) Open(ctx context.Context, logs io.Writer) (_ *Service, err error) {
	level := &slog.LevelVar{}
	level.Set(levels[c.LogLevel])
	o := c.opening(NewLog(logs, level))
	o.level, o.digests = level, c.digests()
	if o.TrustedProxies, err = web.ParseProxies(c.TrustedProxies); err != nil {
		return nil, err
	}
	if o.Contact, err = web.ParseContact(c.Contact); err != nil {
		return nil, err
	}
	if o.Zone, err = parseZone(c.TimeZone); err != nil {
		return nil, err
	}
	if c.Issue != nil {
		if o.Issuing.Legal, err = c.Issue.Legal.parse(); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	for _, part := range c.parts() {
		if err = part.open(o, ctx); err != nil {
			return nil, err
		}
	}
	return New(ctx, o.Parts)
}

func (o *opening) openCertificate(context.Context) (err error) {
	if o.Certificate, err = o.config.certificate(); err == nil && o.checking {
		err = o.checkCertificate()
	}
	return err
}

func (o *opening) openBundle(context.Context) (err error) {
	o.Bundle, err = o.config.readBundle()
	return of("bundle", err)
}

func (o *opening) openPublicLog(ctx context.Context) (err error) {
	setting := "public_log"
	if o.config.PublicLog == "" {
		setting = "origin" // which serves it
	}
	if o.PublicLog, err = o.config.publicLog(o.Bundle, o.Authorities); err != nil {
		return of(setting, err)
	}
	if o.checking {
		err = o.otherRules(ctx)
	} else {
		err = o.refuseOtherRules(ctx)
	}
	if errors.Is(err, errConfigRules) {
		setting = "bundle"
	}
	return of(setting, err)
}

func (c *Config) readBundle() (*policy.Bundle, error) {
	raw, err := readPublic(c.Bundle)
	if err != nil {
		return nil, err
	}
	b, err := policy.ParseBundle(raw)
	switch {
	case err != nil:
		return nil, inFile(c.Bundle, raw, err)
	case b.Registrar != c.Origin:
		return nil, errConfigBundle.Because(fmt.Errorf("%s has registrar %s, and origin is %s", c.Bundle, b.Registrar, c.Origin))
	case c.Issue != nil && b.Issuer != c.Origin:
		return nil, errConfigBundle.Because(fmt.Errorf("%s has issuer %s, and origin is %s", c.Bundle, b.Issuer, c.Origin))
	}
	return b, nil
}

// inFile says in a refusal in which file something is wrong, and in which line if it
// is no JSON.
func inFile(name string, raw []byte, err error) error {
	e := refusal.Of(err)
	if e == nil {
		return err
	}
	var syntax *json.SyntaxError
	var whatever any
	switch cause := e.Unwrap(); {
	case raw != nil && errors.As(json.Unmarshal(raw, &whatever), &syntax):
		return e.Because(fmt.Errorf("%s:%d: it is not JSON", name, document.Line(raw, syntax.Offset)))
	case cause == nil:
		return e.Because(errors.New(name))
	default:
		return e.Because(fmt.Errorf("%s: %w", name, cause))
	}
}

func (c *Config) rulesMaxAge() time.Duration {
	return cmp.Or(time.Duration(c.RulesMaxAgeMinutes)*time.Minute, RulesMaxAge)
}

// publicLog is where a process that does not disclose follows the log, and gets
// bundles, which are served beside it.
func (c *Config) publicLog(b *policy.Bundle, roots *x509.CertPool) (PublicLog, error) {
	address := cmp.Or(c.PublicLog, b.Registrar+registrar.PathLog)
	through := registrar.NewHTTP(roots)
	tiles, err := proof.Fetch(address, through.Transport)
	client := &registrar.Client{Server: strings.TrimSuffix(address, registrar.PathLog), HTTP: through, Now: time.Now}
	return PublicLog{Tiles: tiles, Bundles: client.BundleByHash}, err
}

// OpenKeeping opens the keeping side alone, for a rotation beside the service,
// which must be reached: nothing rotates under rules that are not in force. Its
// store is to be closed.
func (c *Config) OpenKeeping(ctx context.Context) (*Keeping, error) {
	if c.Keep == nil {
		return nil, errConfigMissing.Because(errors.New("[keep]"))
	}
	b, err := c.readBundle()
	if err != nil {
		return nil, c.placed(of("bundle", err))
	}
	roots, err := registrar.Authorities(c.CAFile)
	if err != nil {
		return nil, c.placed(of("ca_file", err))
	}
	log, err := c.publicLog(b, roots)
	if err != nil {
		return nil, err
	}
	history, err := rules.New(b, log.Tiles, log.Bundles)
	if err != nil {
		return nil, err
	}
	if _, err := history.Follow(ctx, time.Now(), c.rulesMaxAge()); err != nil {
		return nil, err
	}
	o := c.opening(nil)
	for _, part := range c.Keep.parts() {
		if err := part.open(o, ctx); err != nil {
			o.Close()
			return nil, c.placed(err)
		}
	}
	return o.Keeping, nil
}

func (c *issueConfig) parts(origin string) []part {
	all := []part{
		{"issue.cookie_key", nil, func(o *opening, _ context.Context) (err error) {
			o.Issuing.CookieKeys, err = readCookieKeys(c.CookieKey)
			return of("issue.cookie_key_file", err)
		}},
		{"issue.token_keys", []string{"bundle"}, func(o *opening, _ context.Context) (err error) {
			o.Issuing.TokenKeys, err = readTokenKeys(c.TokenKeys, o.Bundle)
			return of("issue", err)
		}},
		{"issue.platform_networks", []string{"authorities"}, func(o *opening, _ context.Context) error {
			private, err := identity.ParsePrivateNetworks(c.PlatformNetworks)
			o.Issuing.HTTP = identity.NewHTTP(identity.Guard{Private: private, Roots: o.Authorities})
			return of("issue.platform_private_networks", err)
		}},
		{"issue.keys", nil, func(o *opening, ctx context.Context) error {
			keys, err := vault.OpenIssuing(ctx, c.Vault.config())
			if err == nil {
				o.Issuing.Keys, o.Issuing.Login = keys, keys.Login()
			}
			return of("issue.vault", c.Vault.blamed(err))
		}},
		{"issue.database", nil, func(o *opening, ctx context.Context) error {
			return of("issue.database_file", withDSN(c.Database, func(dsn string) error {
				return o.Issuing.OpenStore(ctx, dsn, o.stores())
			}))
		}},
	}
	for n, p := range c.IdentityProviders {
		all = append(all, part{"issue.identity_provider." + p.ID, []string{"authorities"}, func(o *opening, ctx context.Context) error {
			one, err := p.provider(ctx, origin, o.Issuing.Store, o.Authorities)
			if err == nil && o.checking {
				err = p.blamed(checkProvider(ctx, one))
			}
			if err == nil {
				o.Issuing.Providers = append(o.Issuing.Providers, one)
			}
			return of(fmt.Sprintf("issue.identity_providers[%d]", n), err)
		}})
	}
	return all
}

func (c *discloseConfig) parts() []part {
	return []part{
		{"disclose.log_key", []string{"bundle"}, func(o *opening, _ context.Context) (err error) {
			o.Disclosing.Signer, err = readLogKey(c.LogKey, o.Bundle)
			return of("disclose.log_key_file", err)
		}},
		{"disclose.keys", nil, func(o *opening, ctx context.Context) error {
			keys, err := vault.OpenDisclosing(ctx, c.Vault.config())
			if err == nil {
				o.Disclosing.Keys, o.Disclosing.Login = keys, keys.Login()
			}
			return of("disclose.vault", c.Vault.blamed(err))
		}},
		{"disclose.database", nil, func(o *opening, ctx context.Context) error {
			return of("disclose.database_file", withDSN(c.Database, func(dsn string) error {
				stores := o.stores()
				stores.Tracer = o.Traces.Database()
				return o.Disclosing.OpenStore(ctx, dsn, stores)
			}))
		}},
		// The rules cannot change in the dark: what runs is what was endorsed and logged.
		// Their witnesses are asked before the log is followed.
		{"rules", []string{"bundle", "disclose.database"}, func(o *opening, ctx context.Context) error {
			stored := disclose.Rules{Bundles: o.Disclosing.Store.Bundles}
			inForce, err := stored.Current(ctx)
			if err == nil && inForce.Hash() != o.Bundle.Hash() {
				err = errConfigRules.Because(fmt.Errorf("in force is %s, and %s is %s", inForce.Hash(), o.config.Bundle, o.Bundle.Hash()))
			}
			return of("bundle", err)
		}},
	}
}

func (c *keepConfig) parts() []part {
	return []part{
		{"keep.keys", nil, func(o *opening, ctx context.Context) error {
			keys, err := vault.OpenKeeping(ctx, c.Vault.config())
			if err == nil {
				o.Keeping.Keys, o.Keeping.Login = keys, keys.Login()
			}
			return of("keep.vault", c.Vault.blamed(err))
		}},
		{"keep.database", nil, func(o *opening, ctx context.Context) error {
			return of("keep.database_file", withDSN(c.Database, func(dsn string) (err error) {
				o.Keeping.Store, err = postgres.OpenKeeping(ctx, dsn, o.stores())
				return err
			}))
		}},
	}
}

// readLogKey checks that it is the key of the bundle's log.
func readLogKey(name string, b *policy.Bundle) (note.Signer, error) {
	skey, err := secretfile.ReadText(name)
	if err != nil {
		return nil, err
	}
	signer, err := translog.NewSigner(skey)
	if err != nil { // which could quote the key
		return nil, ErrSecretFile.Because(errors.New(name + " should hold what escrowd log keygen writes"))
	}
	log, err := b.TrustedLog()
	if err == nil && (signer.Name() != log.Origin || signer.KeyHash() != log.Key.KeyHash()) {
		err = translog.ErrConfig.Because(fmt.Errorf("%s should hold the key %s+%08x of the bundle's log, and holds %s+%08x", name, log.Origin, log.Key.KeyHash(), signer.Name(), signer.KeyHash()))
	}
	return signer, err
}

// stores is how databases are opened: who checks a configuration does not wait for long.
func (o *opening) stores() postgres.Options {
	if o.checking {
		return postgres.Options{ChecksOnly: true, Wait: readyTime}
	}
	return postgres.Options{}
}

// withDSN opens a database at the address in a secret file, which a refusal names.
func withDSN(file string, open func(dsn string) error) error {
	dsn, err := secretfile.ReadText(file)
	if err != nil {
		return err
	}
	return inFile(file, nil, open(dsn))
}

// blamed says in a refusal of Vault which setting it is about.
func (v vaultConfig) blamed(err error) error {
	setting, renewer := "address", ""
	if vault.OfRenewer(err) {
		renewer = "renewer_"
	}
	is := func(refusals ...error) bool {
		return slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) })
	}
	switch {
	case is(vault.ErrCA), is(vault.ErrCertificate) && v.CAFile != "":
		setting = "ca_file"
	case is(vault.ErrSecretFile, vault.ErrWrapUsed, vault.ErrWrapBroken, vault.ErrEndsSoon):
		setting = renewer + "secret_id_file"
	case is(vault.ErrLogin): // Vault does not say which
		return either(renewer+"role_id", renewer+"secret_id_file", refusal.Of(err))
	case is(vault.ErrRootToken, vault.ErrTooBroad, vault.ErrTooNarrow, vault.ErrDenied):
		setting = renewer + "role_id"
	case is(vault.ErrSkipVerify, vault.ErrEnvToken, vault.ErrEnvironment, vault.ErrSealed):
		setting = "" // it is not the configuration
	}
	return of(setting, err)
}

// OpenStore opens the database of the issuing side, which has its keys.
func (i *Issuing) OpenStore(ctx context.Context, dsn string, o postgres.Options) (err error) {
	o.RowKey = issue.RowKey(i.Keys)
	i.Store, err = postgres.OpenIssuing(ctx, dsn, o)
	return err
}

// OpenStore opens the database of the disclosing side, which has its keys.
func (d *Disclosing) OpenStore(ctx context.Context, dsn string, o postgres.Options) (err error) {
	o.RowKey = disclose.RowKey(d.Keys)
	d.Store, err = postgres.OpenDisclosing(ctx, dsn, o)
	return err
}

// OpenDisclosingStore opens the database as role penname_disclosing, at the address in
// a secret file, for who reads no links. It is to be closed.
func OpenDisclosingStore(ctx context.Context, dsnFile string) (*postgres.Disclosing, error) {
	dsn, err := secretfile.ReadText(dsnFile)
	if err != nil {
		return nil, err
	}
	return postgres.OpenDisclosing(ctx, dsn, postgres.Options{})
}

func (v vaultConfig) config() vault.Config {
	return vault.Config{Address: v.Address, CAFile: v.CAFile, RoleID: v.RoleID, SecretIDFile: v.SecretIDFile,
		RenewerRoleID: v.RenewerRoleID, RenewerSecretIDFile: v.RenewerSecretIDFile, MinLeft: v.MinLeft}
}
