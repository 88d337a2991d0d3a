package service

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pelletier/go-toml/v2"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/secretfile"
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
		"the configuration cannot be read as TOML: see deploy/escrowd.toml for a complete one")
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
	errConfigTokenKey = refusal.New(refusal.Invalid, "config.token_key_not_in_bundle",
		"a token key is not among the bundle's issuer keys, so no court could check its tokens: have a bundle endorsed that names it, and install that first")
	errConfigPlatform = refusal.New(refusal.Invalid, "config.bad_platform",
		"a platform needs an id, a name, https redirect URIs and exactly one of secret_sha256 (hex, of a random secret), jwks_file (public keys, Ed25519 or P-256) and native, and must be in the bundle")
	errConfigPreset = refusal.New(refusal.Invalid, "config.unknown_preset",
		"an identity provider's preset is not one of this version: see deploy/escrowd.toml for their names, or give issuer, scopes and acr_values without a preset")
	errConfigBundle = refusal.New(refusal.Invalid, "config.other_bundle",
		"the bundle does not name this service: its registrar, and on the issuing side its issuer, must be the configured origin")
	errConfigRulesAge = refusal.New(refusal.Invalid, "config.bad_rules_max_age",
		"rules_max_age_minutes must be between 1 and 1440: the public log is cosigned anew every minute")
	errConfigSender = refusal.New(refusal.Invalid, "config.bad_requests_per_sender",
		"requests_per_sender must be between 1 and 10000 a second: many people can come by one address, and one of them can be a flood")
	errConfigHost = refusal.New(refusal.Invalid, "config.certificate_for_another_host",
		"tls_cert is not for the host of origin, so browsers would refuse it: have one made for that host, or name the proxy that people reach first in trusted_proxies")
	errConfigRules = refusal.New(refusal.Invalid, "config.bundle_not_in_force",
		"the bundle file is not what the custodians endorsed and the public log holds: name the file that was installed, or install this one with escrowd bundle install")
)

// Config is the one configuration file of `escrowd serve`, in TOML. A side that
// has no section does not run in this process. [ReadConfig] makes it.
type Config struct {
	Origin string `toml:"origin"` // https://…, as people and platforms see it
	Listen string `toml:"listen"`

	// Where metrics are served, of plain HTTP and to this machine alone; empty: nowhere.
	MetricsListen string `toml:"metrics_listen"`

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

	file string // that it was read from
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
	Platforms         []platformConfig `toml:"platforms"`
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
}

// platformConfig is one platform. Exactly one of SecretSHA256, JWKSFile and
// Native says how it authenticates.
type platformConfig struct {
	ID                     string   `toml:"id"`
	Name                   string   `toml:"name"`
	RedirectURIs           []string `toml:"redirect_uris"`
	PostLogoutRedirectURIs []string `toml:"post_logout_redirect_uris"`
	SecretSHA256           string   `toml:"secret_sha256"`
	JWKSFile               string   `toml:"jwks_file"`
	Native                 bool     `toml:"native"`
	Origins                []string `toml:"origins"`      // whose scripts may call, beside those of redirect_uris
	IDTokenAlg             string   `toml:"id_token_alg"` // EdDSA, ES256 or RS256; empty: openid.Platform.IDTokenAlg
	RequirePAR             bool     `toml:"require_par"`
	RequireDPoP            bool     `toml:"require_dpop"`
}

// ReadConfig reads and checks the file. It opens no connection. Its refusals
// name the setting, and never its value.
func ReadConfig(name string) (*Config, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, errConfigFile.Because(err)
	}
	var c Config
	d := toml.NewDecoder(bytes.NewReader(document.Decoded(raw))).DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		var unknown *toml.StrictMissingError
		if errors.As(err, &unknown) {
			row, _ := unknown.Errors[0].Position()
			return nil, errConfigKey.Because(fmt.Errorf("line %d: %s", row, strings.Join(unknown.Errors[0].Key(), ".")))
		}
		return nil, errConfig.Because(err)
	}
	c.file = name
	return &c, c.check()
}

func (c *Config) check() error {
	required := map[string]string{"origin": c.Origin, "listen": c.Listen, "bundle": c.Bundle, "tls_cert": c.TLSCert, "tls_key": c.TLSKey}
	addresses := map[string]string{"origin": c.Origin}
	if c.PublicLog != "" {
		addresses["public_log"] = c.PublicLog
	}
	if c.Issue == nil && c.Disclose == nil && c.Keep == nil {
		return errConfigMissing.Because(errors.New("neither [issue] nor [disclose] nor [keep]"))
	}
	if k := c.Keep; k != nil {
		required["keep.database_file"] = k.Database
		k.Vault.require("keep.vault", required)
		addresses["keep.vault.address"] = k.Vault.Address
	}
	if i := c.Issue; i != nil {
		required["issue.database_file"], required["issue.cookie_key_file"] = i.Database, i.CookieKey
		i.Vault.require("issue.vault", required)
		addresses["issue.vault.address"] = i.Vault.Address
		if len(i.TokenKeys) == 0 {
			required["issue.token_keys"] = ""
		}
		if len(i.IdentityProviders) == 0 {
			required["issue.identity_providers"] = ""
		}
		for n := range i.IdentityProviders {
			p := &i.IdentityProviders[n]
			if !p.complete() {
				return errConfigPreset.Because(errors.New(p.ID))
			}
			section := fmt.Sprintf("issue.identity_providers[%d]", n)
			required[section+".id"], required[section+".client_id"] = p.ID, p.ClientID
			required[section+".acr_values"] = strings.Join(p.ACRValues, " ") // the level that tokens name
			addresses[section+".issuer"] = p.Issuer
		}
	}
	if d := c.Disclose; d != nil {
		required["disclose.database_file"], required["disclose.log_key_file"] = d.Database, d.LogKey
		d.Vault.require("disclose.vault", required)
		addresses["disclose.vault.address"] = d.Vault.Address
	}
	var missing []string
	for key, value := range required {
		if value == "" {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return errConfigMissing.Because(errors.New(strings.Join(missing, ", ")))
	}
	for key, a := range addresses {
		u, err := url.Parse(a)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return errConfigOrigin.Because(errors.New(key))
		}
	}
	if c.RulesMaxAgeMinutes < 0 || c.RulesMaxAgeMinutes > 24*60 {
		return errConfigRulesAge
	}
	if c.RequestsPerSender < 0 || c.RequestsPerSender > 10_000 {
		return errConfigSender
	}
	if _, err := web.ParseProxies(c.TrustedProxies); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return errConfigMissing.Because(errors.New("listen: host:port"))
	}
	return c.checkMetrics()
}

func (v vaultConfig) require(section string, required map[string]string) {
	required[section+".address"], required[section+".role_id"], required[section+".secret_id_file"] = v.Address, v.RoleID, v.SecretIDFile
	if v.RenewerRoleID+v.RenewerSecretIDFile != "" {
		required[section+".renewer_role_id"], required[section+".renewer_secret_id_file"] = v.RenewerRoleID, v.RenewerSecretIDFile
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

func readCookieKey(name string) (key [32]byte, err error) {
	s, err := secretfile.ReadText(name)
	if err != nil {
		return key, err
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(key) {
		return key, ErrSecretFile.Because(errors.New("cookie_key_file: 64 hex digits"))
	}
	return [32]byte(b), nil
}

// readTokenKeys checks that every key is in the bundle: evidence is verified
// with what the custodians endorsed, not with what the service publishes.
func readTokenKeys(files []tokenKey, b *policy.Bundle) ([]openid.Key, error) {
	var keys []openid.Key
	for _, f := range files {
		k, err := readJWK(f.File, "token_keys")
		if err != nil {
			return nil, err
		}
		if err := endorsedKey(b, *k); err != nil {
			return nil, err
		}
		keys = append(keys, openid.Key{JWK: *k, NotBefore: f.NotBefore, NotAfter: f.NotAfter})
	}
	return keys, nil
}

func readJWK(name, setting string) (*jose.JSONWebKey, error) {
	s, err := secretfile.ReadText(name)
	if err != nil {
		return nil, err
	}
	var k jose.JSONWebKey
	if err := json.Unmarshal([]byte(s), &k); err != nil || k.IsPublic() || !k.Valid() {
		return nil, ErrSecretFile.Because(errors.New(setting + ": a secret JWK"))
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
		return nil, err
	}
	chain, err := readPublic(c.TLSCert)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, []byte(key))
	if err != nil {
		return nil, errConfigTLS // the cause could quote the key
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		return nil, errConfigTLS.Because(errors.New("it ended on " + end.UTC().Format(time.DateOnly)))
	}
	return &pair, nil
}

// platforms checks that every platform is in the bundle: otherwise its evidence
// could not be verified by anybody.
func (c *issueConfig) platforms(b *policy.Bundle) ([]openid.Platform, error) {
	var all []openid.Platform
	for _, p := range c.Platforms {
		one, err := p.platform()
		if err != nil {
			return nil, errConfigPlatform.Because(fmt.Errorf("%s: %w", p.ID, err))
		}
		if b.Platform(p.ID) == nil {
			return nil, errConfigPlatform.Because(errors.New(p.ID + ": not in the bundle"))
		}
		all = append(all, one)
	}
	if _, err := openid.Fixed(all...); err != nil {
		return nil, errConfigPlatform.Because(errors.New("an id twice"))
	}
	return all, nil
}

func (p platformConfig) platform() (openid.Platform, error) {
	one := openid.Platform{ID: p.ID, Name: p.Name, RedirectURIs: p.RedirectURIs, Native: p.Native, RequirePAR: p.RequirePAR, RequireDPoP: p.RequireDPoP,
		Origins: p.Origins, PostLogoutRedirectURIs: p.PostLogoutRedirectURIs, IDTokenAlg: jose.SignatureAlgorithm(p.IDTokenAlg)}
	if p.SecretSHA256 != "" {
		sum, err := hex.DecodeString(p.SecretSHA256)
		if err != nil || len(sum) != len(one.SecretHash) {
			return one, errors.New("secret_sha256")
		}
		one.SecretHash = [32]byte(sum)
	}
	if p.JWKSFile != "" {
		raw, err := readPublic(p.JWKSFile)
		if err != nil {
			return one, err
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(raw, &set); err != nil || len(set.Keys) == 0 {
			return one, errors.New("jwks_file")
		}
		one.JWKS = set.Keys
	}
	if p.Name == "" {
		return one, errors.New("name")
	}
	// Plain http to this machine is for apps; openid refuses it to any other.
	if !p.Native && slices.ContainsFunc(slices.Concat(p.RedirectURIs, p.PostLogoutRedirectURIs), func(uri string) bool { return !strings.HasPrefix(uri, "https://") }) {
		return one, errors.New("redirect_uris")
	}
	_, err := openid.Fixed(one)
	return one, err
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
func (p providerConfig) provider(ctx context.Context, origin string, used token.ReplayGuard) (one person.Provider, err error) {
	demands, err := p.demands(origin, used)
	if err != nil {
		return one, err
	}
	l := &late{now: time.Now, open: func(ctx context.Context) (person.Proving, error) {
		return identity.NewRelyingParty(ctx, demands, time.Now)
	}}
	one = person.Provider{ID: p.ID, Name: p.Name, ACRs: p.ACRValues, Issuer: p.Issuer, Later: l.get}
	if one.Proving, err = l.get(ctx); errors.Is(err, identity.ErrConfig) {
		return one, refusal.Of(err).Because(errors.Join(errors.New(p.ID), errors.Unwrap(err))) // which of them
	}
	return one, nil
}

func (p providerConfig) demands(origin string, used token.ReplayGuard) (identity.Provider, error) {
	d, _ := identity.Preset(p.Preset)
	d.Issuer, d.ClientID, d.RedirectURL, d.Scopes = p.Issuer, p.ClientID, origin+person.CallbackPath(p.ID), p.Scopes
	d.ACRValues, d.AMRValues, d.TrustFrameworks, d.MaxAge = p.ACRValues, p.AMRValues, p.TrustFrameworks, time.Duration(p.MaxAgeMinutes)*time.Minute
	d.SingleUse = used
	var err error
	if d.Private, err = identity.ParsePrivateNetworks(p.PrivateNetworks); err != nil {
		return d, err
	}
	if p.ClientSecret != "" {
		if d.ClientSecret, err = secretfile.ReadText(p.ClientSecret); err != nil {
			return d, err
		}
	}
	if p.ClientKey != "" {
		if d.ClientKey, err = readJWK(p.ClientKey, "client_key_file"); err != nil {
			return d, err
		}
	}
	if p.DecryptionKey != "" {
		d.DecryptionKey, err = readJWK(p.DecryptionKey, "decryption_key_file")
	}
	return d, err
}
