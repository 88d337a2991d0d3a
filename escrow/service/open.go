package service

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/rules"
)

// Open makes the service that the configuration describes, which logs JSON to
// logs. Every doubt refuses. The service is closed with Close.
func (c *Config) Open(ctx context.Context, logs io.Writer) (_ *Service, err error) {
	p := Parts{Log: slog.New(slog.NewJSONHandler(logs, nil)), Now: time.Now, Origin: c.Origin, RulesMaxAge: c.rulesMaxAge(), config: c, digests: c.digests()}
	p.PerSender = float64(c.RequestsPerSender)
	if p.TrustedProxies, err = web.ParseProxies(c.TrustedProxies); err != nil {
		return nil, err
	}
	if p.Certificate, err = c.certificate(); err != nil {
		return nil, err
	}
	if p.Bundle, err = c.readBundle(); err != nil {
		return nil, err
	}
	if c.Disclose == nil {
		if p.PublicLog, err = c.publicLog(p.Bundle); err != nil {
			return nil, err
		}
		if err := p.refuseOtherRules(ctx); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if c.Issue != nil {
		if p.Issuing, err = c.Issue.open(ctx, c.Origin, p.Bundle); err != nil {
			return nil, err
		}
	}
	if c.Disclose != nil {
		if p.Disclosing, err = c.Disclose.open(ctx, p.Bundle); err != nil {
			return nil, err
		}
	}
	if c.Keep != nil {
		if p.Keeping, err = c.Keep.open(ctx); err != nil {
			return nil, err
		}
	}
	return New(ctx, p)
}

func (c *Config) readBundle() (*policy.Bundle, error) {
	raw, err := readPublic(c.Bundle)
	if err != nil {
		return nil, err
	}
	b, err := policy.ParseBundle(raw)
	if err == nil && (b.Registrar != c.Origin || c.Issue != nil && b.Issuer != c.Origin) {
		err = errConfigBundle
	}
	return b, err
}

func (c *Config) rulesMaxAge() time.Duration {
	return cmp.Or(time.Duration(c.RulesMaxAgeMinutes)*time.Minute, RulesMaxAge)
}

// publicLog is where a process that does not disclose follows the log, and gets
// bundles, which are served beside it.
func (c *Config) publicLog(b *policy.Bundle) (PublicLog, error) {
	address := cmp.Or(c.PublicLog, b.Registrar+registrar.PathLog)
	tiles, err := proof.Fetch(address)
	client := &registrar.Client{Server: strings.TrimSuffix(address, registrar.PathLog), HTTP: registrar.NewHTTP(), Now: time.Now}
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
		return nil, err
	}
	log, err := c.publicLog(b)
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
	return c.Keep.open(ctx)
}

func (c *issueConfig) open(ctx context.Context, origin string, b *policy.Bundle) (_ *Issuing, err error) {
	i := &Issuing{}
	if i.CookieKey, err = readCookieKey(c.CookieKey); err != nil {
		return nil, err
	}
	if i.TokenKeys, err = readTokenKeys(c.TokenKeys, b); err != nil {
		return nil, err
	}
	if i.Platforms, err = c.platforms(b); err != nil {
		return nil, err
	}
	keys, err := vault.OpenIssuing(ctx, c.Vault.config())
	if err != nil {
		return nil, err
	}
	i.Keys, i.Login = keys, keys.Login()
	dsn, err := secretfile.ReadText(c.Database)
	if err != nil {
		return nil, err
	}
	if err = i.OpenStore(ctx, dsn, postgres.Options{}); err != nil {
		return nil, err
	}
	for _, p := range c.IdentityProviders {
		one, err := p.provider(ctx, origin, i.Store)
		if err != nil {
			i.Store.Close()
			return nil, err
		}
		i.Providers = append(i.Providers, one)
	}
	return i, nil
}

func (c *discloseConfig) open(ctx context.Context, b *policy.Bundle) (_ *Disclosing, err error) {
	d := &Disclosing{}
	skey, err := secretfile.ReadText(c.LogKey)
	if err != nil {
		return nil, err
	}
	if d.Signer, err = translog.NewSigner(skey); err != nil {
		return nil, ErrSecretFile // the cause could quote the key
	}
	keys, err := vault.OpenDisclosing(ctx, c.Vault.config())
	if err != nil {
		return nil, err
	}
	d.Keys, d.Login = keys, keys.Login()
	dsn, err := secretfile.ReadText(c.Database)
	if err != nil {
		return nil, err
	}
	if err = d.OpenStore(ctx, dsn, postgres.Options{}); err != nil {
		return nil, err
	}
	// The rules cannot change in the dark: what runs is what was endorsed and logged.
	// Their witnesses are asked before the log is followed.
	stored := disclose.Rules{Bundles: d.Store.Bundles}
	inForce, err := stored.Current(ctx)
	if err == nil && inForce.Hash() != b.Hash() {
		err = errConfigRules.Because(errors.New("in force is " + inForce.Hash()))
	}
	if err != nil {
		d.Store.Close()
		return nil, err
	}
	return d, nil
}

func (c *keepConfig) open(ctx context.Context) (_ *Keeping, err error) {
	keys, err := vault.OpenKeeping(ctx, c.Vault.config())
	if err != nil {
		return nil, err
	}
	k := &Keeping{Keys: keys, Login: keys.Login()}
	dsn, err := secretfile.ReadText(c.Database)
	if err != nil {
		return nil, err
	}
	k.Store, err = postgres.OpenKeeping(ctx, dsn, postgres.Options{})
	if err != nil {
		return nil, err
	}
	return k, nil
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
