package service

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a container from scratch has no time zones

	"github.com/go-jose/go-jose/v4"
	"github.com/pelletier/go-toml/v2"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/spans"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// The refusals to start. Each names the setting; none repeats a value.
var (
	errConfigFile = refusal.New(refusal.Invalid, "config.no_file",
		"the configuration file cannot be read: name it with --config, and let the service's user read it; deploy/escrowd.toml is a complete one")
	errConfig = refusal.New(refusal.Invalid, "config.unreadable",
		"a line of the configuration is not TOML, or holds another kind of value than its setting is for: see deploy/escrowd.toml for a complete one")
	errConfigKey = refusal.New(refusal.Invalid, "config.unknown_key",
		"the configuration has a key that does not exist: correct its spelling or remove it")
	errConfigOrigin = refusal.New(refusal.Invalid, "config.insecure_origin",
		"origin, identity provider and Vault must be https addresses: plain http is for the sandbox only")
	errConfigMissing = refusal.New(refusal.Invalid, "config.missing",
		"a required setting is missing: see deploy/escrowd.toml for a complete configuration")
	// ErrSecretFile is returned when a secret file holds something else.
	ErrSecretFile = refusal.New(refusal.Invalid, "config.bad_secret_file",
		"a secret file does not hold what the setting needs: see deploy/escrowd.toml for each one's form")
	errConfigTLS = refusal.New(refusal.Invalid, "config.bad_certificate",
		"tls_cert and tls_key must be a PEM certificate, with its chain, and its key: renew or correct them")
	// ErrListen is returned when an address to listen on cannot be had.
	ErrListen = refusal.New(refusal.Unavailable, "config.cannot_listen",
		"the address to listen on cannot be used: stop what listens there, or name another")
	errInUse = refusal.New(refusal.Unavailable, "config.address_in_use",
		"a Penname with this certificate listens there: all is well if it is the one with this configuration; if it is another replica, name another port")
	errConfigTokenKey = refusal.New(refusal.Invalid, "config.token_key_not_in_bundle",
		"a token key is not among the bundle's issuer keys, so no court could check its tokens: have a bundle endorsed that names it, and install that first")
	errConfigLogout = refusal.New(refusal.Unavailable, "config.no_logout_address",
		"a platform does not take logout tokens at its backchannel_logout_uri, so it would not be told who signed out: correct the address with the platform, and name it in issue.platform_private_networks if it is in your own network")
	errConfigKeys = refusal.New(refusal.Unavailable, "config.no_keys_address",
		"a platform's keys cannot be fetched from its jwks_uri, so its requests would be refused: correct the address with the platform, and name it in issue.platform_private_networks if it is in your own network")
	errConfigPreset = refusal.New(refusal.Invalid, "config.unknown_preset",
		"an identity provider's preset is not one of this version: correct its name, or give issuer, scopes and acr_values without a preset")
	errConfigBundle = refusal.New(refusal.Invalid, "config.other_bundle",
		"the bundle does not name this service: its registrar, and on the issuing side its issuer, must be the configured origin")
	errConfigRulesAge = refusal.New(refusal.Invalid, "config.bad_rules_max_age",
		"rules_max_age_minutes must be between 1 and 1440: the public log is cosigned anew every minute")
	errConfigSender = refusal.New(refusal.Invalid, "config.bad_requests_per_sender",
		"requests_per_sender must be between 1 and 10000 a second: many people can come by one address, and one of them can be a flood")
	errConfigHost = refusal.New(refusal.Invalid, "config.certificate_for_another_host",
		"tls_cert is not for the host of origin, so browsers would refuse it: have one made for that host, or name the proxy that people reach first in trusted_proxies")
	errConfigChain = refusal.New(refusal.Invalid, "config.certificate_chain",
		"this machine knows no authority that signed tls_cert, and browsers may know none: put the whole chain into the file, the host's certificate first; with a private authority, this is for information")
	errConfigRules = refusal.New(refusal.Invalid, "config.bundle_not_in_force",
		"the bundle file is not what the custodians endorsed and the public log holds: name the file that was installed, or install this one with escrowd bundle install")
)

// Config is the one configuration file of `escrowd serve`, in TOML. A side that
// has no section does not run in this process. [ReadConfig] makes it.
type Config struct {
	Origin string `toml:"origin"` // https://…, as people and platforms see it
	Listen string `toml:"listen"`

	// Where metrics are served, and the authority of the certificates that may read them;
	// empty: nowhere, and in plain HTTP to this machine alone.
	MetricsListen   string `toml:"metrics_listen"`
	MetricsClientCA string `toml:"metrics_client_ca_file"`

	// Where the public record is served, host:port; empty: at Listen, with the rest.
	RecordListen string `toml:"record_listen"`

	TracesTo string `toml:"traces_to"` // spans.Check; empty: nothing is traced

	Contact  string `toml:"contact"`   // web.ParseContact
	TimeZone string `toml:"time_zone"` // parseZone; empty: UTC
	LogLevel string `toml:"log_level"` // of levels; empty: info

	// PEM file of certificate authorities that count beside this machine's, for identity
	// providers, witnesses and the public log; empty: none.
	CAFile string `toml:"ca_file"`

	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	Bundle  string `toml:"bundle"`

	// Where a process that does not disclose reads the public log, https://…/log;
	// empty: at the bundle's registrar. And for how long it acts without hearing
	// from it.
	PublicLog          string `toml:"public_log"`
	RulesMaxAgeMinutes int    `toml:"rules_max_age_minutes"` // 0: RulesMaxAge

	// The proxies whose word about the sender of a request is taken, and how many
	// requests a second one sender may make of a route that stores something.
	TrustedProxies    []string `toml:"trusted_proxies"` // addresses and networks
	RequestsPerSender int      `toml:"requests_per_sender"`

	Issue    *issueConfig    `toml:"issue"`
	Disclose *discloseConfig `toml:"disclose"`
	Keep     *keepConfig     `toml:"keep"`
	Mail     *mailConfig     `toml:"mail"` // nil: nobody is written to

	*source // that it was read from
}

type keepConfig struct {
	Database string      `toml:"database_file"` // file with the DSN of role penname_keeping
	Vault    vaultConfig `toml:"vault"`
}

type issueConfig struct {
	Database          string           `toml:"database_file"` // file with the DSN of role penname_issuing
	CookieKey         string           `toml:"cookie_key_file"`
	TokenKeys         []tokenKey       `toml:"token_keys"`
	Vault             vaultConfig      `toml:"vault"`
	IdentityProviders []providerConfig `toml:"identity_providers"`
	Legal             legalConfig      `toml:"legal"`
	Platforms         []any            `toml:"platforms"`                 // of before: see errPlatformsMoved
	EmailDomain       string           `toml:"email_domain"`              // openid.Config; empty: openid.NoDomain
	PlatformNetworks  []string         `toml:"platform_private_networks"` // identity.ParsePrivateNetworks, of the addresses that platforms give
}

var errConfigZone = refusal.New(refusal.Invalid, "config.bad_time_zone",
	"time_zone must be a name of the time zone database, such as Europe/London, or UTC")

// parseZone is the time zone of that name, of which people are told the time of day. It fails with
// errConfigZone.
func parseZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // else it would be the machine's
		return nil, errConfigZone
	}
	return zone, nil
}

// legalConfig is person.Legal.
type legalConfig struct {
	Controller string `toml:"controller"`
	Ground     string `toml:"ground"`
	Complaints string `toml:"complaints"` // these are for web.ParseContact
	Notice     string `toml:"privacy_notice"`
	Security   string `toml:"security"`
}

func (c legalConfig) parse() (l person.Legal, err error) {
	l.Controller, l.Ground = strings.TrimSpace(c.Controller), strings.TrimSpace(c.Ground)
	for to, s := range map[*web.Contact]string{&l.Complaints: c.Complaints, &l.Notice: c.Notice, &l.Security: c.Security} {
		if *to, err = web.ParseContact(s); err != nil {
			return l, person.ErrLegal
		}
	}
	return l, l.Check()
}

type tokenKey struct {
	File      string    `toml:"file"`
	NotBefore time.Time `toml:"not_before"`
	NotAfter  time.Time `toml:"not_after"`
}

type discloseConfig struct {
	Database string      `toml:"database_file"` // file with the DSN of role penname_disclosing
	LogKey   string      `toml:"log_key_file"`
	Vault    vaultConfig `toml:"vault"`
}

type vaultConfig struct {
	Address      string `toml:"address"`
	CAFile       string `toml:"ca_file"`
	RoleID       string `toml:"role_id"`
	SecretIDFile string `toml:"secret_id_file"`

	// Who mints the next secret id: vault.Config.
	RenewerRoleID       string `toml:"renewer_role_id"`
	RenewerSecretIDFile string `toml:"renewer_secret_id_file"`

	MinLeft time.Duration `toml:"-"` // likewise; not a setting
}

// providerConfig is one identity provider: identity.Provider says what the
// settings demand of it.
type providerConfig struct {
	ID              string   `toml:"id"`     // of its redirect URL: person.CallbackPath
	Name            string   `toml:"name"`   // on the button, if there are several
	Preset          string   `toml:"preset"` // identity.Preset, in whose place come the settings that are given
	Issuer          string   `toml:"issuer"`
	ClientID        string   `toml:"client_id"`
	ClientSecret    string   `toml:"client_secret_file"`  // neither this nor a client key: a public client
	ClientKey       string   `toml:"client_key_file"`     // secret JWK with its alg
	DecryptionKey   string   `toml:"decryption_key_file"` // secret JWK on P-256
	Scopes          []string `toml:"scopes"`
	ACRValues       []string `toml:"acr_values"`
	AMRValues       []string `toml:"amr_values"`
	TrustFrameworks []string `toml:"trust_frameworks"`
	MaxAgeMinutes   int      `toml:"max_age_minutes"`
	PrivateNetworks []string `toml:"private_networks"` // identity.ParsePrivateNetworks

	Claims identity.ClaimSources `toml:"claims"` // what it has verified besides
}

// ReadConfig reads and checks the file. It opens no connection. Its refusals, all
// of them joined, say which line is wrong, and repeat no value.
func ReadConfig(name string) (*Config, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, errConfigFile.Because(err)
	}
	raw = document.Decoded(raw)
	s := &source{file: name}
	var c Config
	var settings map[string]any
	if err := toml.Unmarshal(raw, &settings); err != nil {
		return nil, s.notTOML(err)
	}
	s.lines = linesOf(raw)
	if all := misfits("", settings, reflect.TypeFor[Config]()); all != nil {
		return nil, s.inOrder(all)
	}
	if err := toml.Unmarshal(raw, &c); err != nil {
		return nil, s.notTOML(err)
	}
	c.source = s
	return &c, s.inOrder(c.check())
}

// check returns what is wrong with the settings by themselves.
func (c *Config) check() []error {
	var f mistakes
	f.require("origin", c.Origin)
	f.https("origin", c.Origin)
	f.require("listen", c.Listen)
	f.require("bundle", c.Bundle)
	f.require("tls_cert", c.TLSCert)
	f.require("tls_key", c.TLSKey)
	f.https("public_log", c.PublicLog)
	if c.Issue == nil && c.Disclose == nil && c.Keep == nil {
		f.add("", errConfigMissing.Because(errors.New("neither [issue] nor [disclose] nor [keep]")))
	}
	if k := c.Keep; k != nil {
		f.require("keep.database_file", k.Database)
		f.vault("keep.vault", k.Vault)
	}
	if c.Issue != nil {
		c.Issue.check(&f)
	}
	if d := c.Disclose; d != nil {
		f.require("disclose.database_file", d.Database)
		f.require("disclose.log_key_file", d.LogKey)
		f.vault("disclose.vault", d.Vault)
	}
	if c.Mail != nil {
		c.Mail.check(&f)
	}
	if c.RulesMaxAgeMinutes < 0 || c.RulesMaxAgeMinutes > 24*60 {
		f.add("rules_max_age_minutes", errConfigRulesAge)
	}
	if c.RequestsPerSender < 0 || c.RequestsPerSender > 10_000 {
		f.add("requests_per_sender", errConfigSender)
	}
	if _, err := web.ParseProxies(c.TrustedProxies); err != nil {
		f.add("trusted_proxies", err)
	}
	if _, _, err := net.SplitHostPort(c.Listen); c.Listen != "" && err != nil {
		f.add("listen", errConfigMissing.Because(errors.New("it should be an address and a port, such as 0.0.0.0:8443")))
	}
	if _, err := web.ParseContact(c.Contact); err != nil {
		f.add("contact", err)
	}
	if _, err := parseZone(c.TimeZone); err != nil {
		f.add("time_zone", err)
	}
	if _, ok := levels[c.LogLevel]; !ok {
		f.add("log_level", errConfigLogLevel)
	}
	f.add("metrics_listen", c.checkMetrics())
	f.add("record_listen", c.checkRecord())
	if c.TracesTo != "" && !spans.Check(c.TracesTo) {
		f.add("traces_to", errConfigTraces)
	}
	return f
}

func (c *issueConfig) check(f *mistakes) {
	f.require("issue.database_file", c.Database)
	if _, err := c.Legal.parse(); err != nil {
		f.add("issue.legal", err)
	}
	f.require("issue.cookie_key_file", c.CookieKey)
	f.vault("issue.vault", c.Vault)
	if c.EmailDomain != "" && !openid.CheckEmailDomain(c.EmailDomain) {
		f.add("issue.email_domain", errEmailDomain)
	}
	if len(c.TokenKeys) == 0 {
		f.require("issue.token_keys", "")
	}
	for n, k := range c.TokenKeys {
		f.require(fmt.Sprintf("issue.token_keys[%d].file", n), k.File)
	}
	if len(c.IdentityProviders) == 0 {
		f.require("issue.identity_providers", "")
	}
	for n := range c.IdentityProviders {
		p, section := &c.IdentityProviders[n], fmt.Sprintf("issue.identity_providers[%d]", n)
		if !p.complete() {
			f.add(section+".preset", errConfigPreset.Because(errors.New("it should be "+strings.Join(identity.Presets(), " or "))))
			continue // what is missing could be in the preset that was meant
		}
		f.require(section+".id", p.ID)
		f.require(section+".client_id", p.ClientID)
		f.require(section+".acr_values", strings.Join(p.ACRValues, " ")) // the level that tokens name
		f.require(section+".issuer", p.Issuer)
		f.https(section+".issuer", p.Issuer)
	}
	if len(c.Platforms) > 0 {
		f.add("issue.platforms", errPlatformsMoved)
	}
	if at, err := person.CheckProviders(c.choices()); err != nil {
		f.add(fmt.Sprintf("issue.identity_providers[%d].id", at), err)
	}
}

// choices are the identity providers as people choose them.
func (c *issueConfig) choices() (all []person.Provider) {
	for _, p := range c.IdentityProviders {
		if p.ID != "" { // else it is missing
			all = append(all, person.Provider{ID: p.ID, Name: p.Name})
		}
	}
	return all
}

// mistakes are what is wrong with a configuration.
type mistakes []error

func (f *mistakes) add(setting string, err error) {
	if err != nil {
		*f = append(*f, of(setting, err))
	}
}

func (f *mistakes) require(setting, value string) {
	if value == "" {
		f.add(setting, errConfigMissing.Because(errors.New("it is missing")))
	}
}

func (f *mistakes) https(setting, value string) {
	if u, err := url.Parse(value); value != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		f.add(setting, errConfigOrigin)
	}
}

func (f *mistakes) vault(section string, v vaultConfig) {
	f.require(section+".address", v.Address)
	f.https(section+".address", v.Address)
	f.require(section+".role_id", v.RoleID)
	f.require(section+".secret_id_file", v.SecretIDFile)
	if v.RenewerRoleID+v.RenewerSecretIDFile != "" {
		f.require(section+".renewer_role_id", v.RenewerRoleID)
		f.require(section+".renewer_secret_id_file", v.RenewerSecretIDFile)
	}
}

// readPublic reads a file that is not secret.
func readPublic(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	return document.Decoded(b), nil
}

// readCookieKeys reads the key that seals cookies, and below it those of before, whose
// cookies still open.
func readCookieKeys(name string) (keys [][32]byte, err error) {
	s, err := secretfile.ReadText(name)
	if err != nil {
		return nil, err
	}
	for line := range strings.FieldsSeq(s) {
		b, err := hex.DecodeString(line)
		if err != nil || len(b) != 32 {
			return nil, ErrSecretFile.Because(errors.New(name + " should hold 64 hex digits, and may hold keys of before in lines below"))
		}
		keys = append(keys, [32]byte(b))
	}
	if len(keys) == 0 {
		return nil, ErrSecretFile.Because(errors.New(name + " should hold 64 hex digits"))
	}
	return keys, nil
}

// readTokenKeys checks that every key is in the bundle: evidence is verified
// with what the custodians endorsed, not with what the service publishes.
func readTokenKeys(files []tokenKey, b *policy.Bundle) ([]openid.Key, error) {
	var keys []openid.Key
	for n, f := range files {
		k, err := readJWK(f.File)
		if err == nil {
			err = endorsedKey(b, *k)
		}
		if err != nil {
			return nil, of(fmt.Sprintf("token_keys[%d]", n), of("file", err))
		}
		keys = append(keys, openid.Key{JWK: *k, NotBefore: f.NotBefore, NotAfter: f.NotAfter})
	}
	return keys, nil
}

func readJWK(name string) (*jose.JSONWebKey, error) {
	s, err := secretfile.ReadText(name)
	if err != nil {
		return nil, err
	}
	var k jose.JSONWebKey
	if err := json.Unmarshal([]byte(s), &k); err != nil || k.IsPublic() || !k.Valid() {
		return nil, ErrSecretFile.Because(errors.New(name + " should hold a secret JWK"))
	}
	return &k, nil
}

// endorsedKey checks that a token key is one of the bundle's issuer keys.
func endorsedKey(b *policy.Bundle, k jose.JSONWebKey) error {
	var endorsed jose.JSONWebKeySet
	if err := json.Unmarshal(b.IssuerKeys, &endorsed); err != nil {
		return errConfigTokenKey.Because(err)
	}
	if !slices.ContainsFunc(endorsed.Key(k.KeyID), func(e jose.JSONWebKey) bool { return samePublic(e, k.Public()) }) {
		return errConfigTokenKey.Because(errors.New("kid " + k.KeyID))
	}
	return nil
}

func samePublic(a, b jose.JSONWebKey) bool {
	x, errX := a.Thumbprint(crypto.SHA256)
	y, errY := b.Thumbprint(crypto.SHA256)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// certificate reads the certificate and its key. It refuses one that has expired,
// which no client would accept.
func (c *Config) certificate() (*tls.Certificate, error) {
	key, err := secretfile.ReadText(c.TLSKey)
	if err != nil {
		return nil, of("tls_key", err)
	}
	chain, err := readPublic(c.TLSCert)
	if err != nil {
		return nil, of("tls_cert", err)
	}
	pair, err := tls.X509KeyPair(chain, []byte(key))
	if err != nil { // which could quote the key
		return nil, c.wrongPair(chain, []byte(key))
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		return nil, of("tls_cert", errConfigTLS.Because(fmt.Errorf("%s ended on %s", c.TLSCert, end.UTC().Format(time.DateOnly))))
	}
	return &pair, nil
}

// wrongPair says why a certificate and a key are none, and quotes nothing of them.
func (c *Config) wrongPair(chain, key []byte) error {
	holds := func(pemFile []byte, what string) bool {
		for block, rest := pem.Decode(pemFile); block != nil; block, rest = pem.Decode(rest) {
			if strings.HasSuffix(block.Type, what) {
				return true
			}
		}
		return false
	}
	switch {
	case !holds(chain, "CERTIFICATE"):
		return of("tls_cert", errConfigTLS.Because(errors.New(c.TLSCert+" should hold a certificate in PEM")))
	case !holds(key, "PRIVATE KEY"):
		return of("tls_key", errConfigTLS.Because(errors.New(c.TLSKey+" should hold a private key in PEM")))
	}
	return of("tls_key", errConfigTLS.Because(fmt.Errorf("%s should hold the key of the first certificate in %s", c.TLSKey, c.TLSCert)))
}

// complete takes from the preset what is not given. It reports whether there is one
// of that name.
func (p *providerConfig) complete() bool {
	if p.Preset == "" {
		return true
	}
	known, ok := identity.Preset(p.Preset)
	p.Issuer = cmp.Or(p.Issuer, known.Issuer)
	if p.Scopes == nil {
		p.Scopes = known.Scopes
	}
	if p.ACRValues == nil {
		p.ACRValues = known.ACRValues
	}
	return ok
}

// provider is one identity provider. What it does not answer now it can answer later:
// only a configuration that time does not mend is refused.
func (p providerConfig) provider(ctx context.Context, origin string, used token.ReplayGuard, roots *x509.CertPool) (one person.Provider, err error) {
	demands, err := p.demands(origin, used)
	if err != nil {
		return one, err
	}
	demands.Roots = roots
	l := &late{now: time.Now, open: func(ctx context.Context) (person.Proving, error) {
		return identity.NewRelyingParty(ctx, demands, time.Now)
	}}
	one = person.Provider{ID: p.ID, Name: p.Name, ACRs: p.ACRValues, Issuer: p.Issuer, Later: l.get}
	if one.Proving, err = l.get(ctx); errors.Is(err, identity.ErrConfig) {
		return one, p.blamed(err)
	}
	return one, nil
}

// blamed says in a refusal of a provider which setting it is about.
func (p providerConfig) blamed(err error) error {
	setting := "issuer"
	switch e := refusal.Of(err); {
	case errors.Is(err, identity.ErrClient) && p.ClientKey != "":
		setting = "client_key_file"
	case errors.Is(err, identity.ErrClient) && p.ClientSecret != "":
		setting = "client_secret_file"
	case errors.Is(err, identity.ErrClient):
		setting = "client_id"
	case errors.Is(err, identity.ErrNoSuchLevel):
		setting = "acr_values"
	case errors.Is(err, identity.ErrConfig):
		setting = "" // its cause says it
	case e != nil && e.Unwrap() == nil:
		err = e.Because(errors.New(p.Issuer))
	}
	return of(setting, err)
}

func (p providerConfig) demands(origin string, used token.ReplayGuard) (identity.Provider, error) {
	d, _ := identity.Preset(p.Preset)
	d.Issuer, d.ClientID, d.RedirectURL, d.Scopes = p.Issuer, p.ClientID, origin+person.CallbackPath(p.ID), p.Scopes
	d.ACRValues, d.AMRValues, d.TrustFrameworks, d.MaxAge = p.ACRValues, p.AMRValues, p.TrustFrameworks, time.Duration(p.MaxAgeMinutes)*time.Minute
	d.SingleUse, d.Claims = used, p.Claims
	var err error
	if d.Private, err = identity.ParsePrivateNetworks(p.PrivateNetworks); err != nil {
		return d, of("private_networks", err)
	}
	if p.ClientSecret != "" {
		if d.ClientSecret, err = secretfile.ReadText(p.ClientSecret); err != nil {
			return d, of("client_secret_file", err)
		}
	}
	if p.ClientKey != "" {
		if d.ClientKey, err = readJWK(p.ClientKey); err != nil {
			return d, of("client_key_file", err)
		}
	}
	if p.DecryptionKey != "" {
		d.DecryptionKey, err = readJWK(p.DecryptionKey)
	}
	return d, of("decryption_key_file", err)
}
