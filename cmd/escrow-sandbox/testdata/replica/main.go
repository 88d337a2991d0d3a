// Command replica is one more process of a world, with all its sides. With the argument
// migrate it brings the world's database to its schema instead. TestOldAndNewSideBySide
// builds it from this source, and from this source with one more migration.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
)

// config is what a replica reads from its standard input.
type config struct {
	Dir, Origin, Admin string
	Identity, Vault    string
	Databases, Roles   map[vault.Side]string
	Secrets            map[vault.Side]string // files
}

func (c *config) vault(side vault.Side) vault.Config {
	return vault.Config{Address: c.Vault, RoleID: c.Roles[side], SecretIDFile: c.Secrets[side]}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err, errors.Unwrap(err))
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var c config
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		return err
	}
	if len(os.Args) > 1 && os.Args[1] == "migrate" {
		return (&postgres.Migration{Say: func(line string) { fmt.Fprintln(os.Stderr, line) }}).Run(ctx, c.Admin)
	}
	p, err := c.parts(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	s, err := service.New(ctx, *p)
	if err != nil {
		return err
	}
	ln, err := service.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	return s.Run(ctx, ln, service.Machine{})
}

func (c *config) parts(ctx context.Context) (*service.Parts, error) {
	var kept struct{ Secrets map[string]string }
	p := &service.Parts{Log: service.NewLog(os.Stderr, nil), Now: time.Now, Origin: c.Origin, PerSender: 10_000,
		Issuing: &service.Issuing{HTTP: identity.NewHTTP(identity.Guard{AllowLoopback: true})}, Disclosing: &service.Disclosing{}, Keeping: &service.Keeping{}}
	i, d, k := p.Issuing, p.Disclosing, p.Keeping
	var token, rsa openid.Key
	rules, rerr := os.ReadFile(filepath.Join(c.Dir, "bundle.json"))
	log, lerr := os.ReadFile(filepath.Join(c.Dir, "log.key"))
	if err := errors.Join(rerr, lerr, c.read("world.json", &kept), c.read("token.jwk", &token.JWK), c.read("token-rsa.jwk", &rsa.JWK)); err != nil {
		return nil, err
	}
	i.TokenKeys, i.CookieKeys = []openid.Key{token, rsa}, [][32]byte{sha256.Sum256([]byte(kept.Secrets["cookies"]))}
	issues, ierr := vault.OpenIssuing(ctx, c.vault(vault.SideIssuing))
	discloses, derr := vault.OpenDisclosing(ctx, c.vault(vault.SideDisclosing))
	keeps, kerr := vault.OpenKeeping(ctx, c.vault(vault.SideKeeping))
	if err := errors.Join(ierr, derr, kerr); err != nil {
		return nil, err
	}
	i.Keys, d.Keys, k.Keys = issues, discloses, keeps
	var err error
	if p.Bundle, err = policy.ParseBundle(rules); err != nil {
		return nil, err
	}
	if d.Signer, err = translog.NewSigner(strings.TrimSpace(string(log))); err != nil {
		return nil, err
	}
	if err := i.OpenStore(ctx, c.Databases[vault.SideIssuing], postgres.Options{}); err != nil {
		return nil, err
	}
	if err := d.OpenStore(ctx, c.Databases[vault.SideDisclosing], postgres.Options{}); err != nil {
		return nil, err
	}
	if k.Store, err = postgres.OpenKeeping(ctx, c.Databases[vault.SideKeeping], postgres.Options{}); err != nil {
		return nil, err
	}
	const id = "sandbox"
	party, err := identity.NewRelyingParty(ctx, identity.Provider{
		Issuer: c.Identity, ClientID: "penname", ClientSecret: kept.Secrets["identity provider "+id], RedirectURL: c.Origin + person.CallbackPath(id),
		Scopes: []string{"profile", "address", "email"}, ACRValues: []string{sandbox.ACRVerified}, SingleUse: i.Store, AllowLoopback: true,
	}, time.Now)
	i.Providers = []person.Provider{{ID: id, Name: "Sandbox Identity", ACRs: []string{sandbox.ACRVerified}, Proving: party}}
	return p, err
}

func (c *config) read(name string, into any) error {
	raw, err := os.ReadFile(filepath.Join(c.Dir, name))
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	return err
}
