package world

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/cluster"
	"github.com/penname/penname/escrow/vault"
)

// On a cluster the service is processes of escrowd behind a proxy, with the configuration
// that an operator would write. This process has the parties outside, and does what the
// operator does with a database and a Vault before the service is there.

// trust has this process believe the cluster's certificates, and returns what ends that.
// Browsers, platforms and the escrow program here all go by the one transport.
func trust(c *cluster.Cluster) func() error {
	transport := http.DefaultTransport.(*http.Transport)
	before := transport.TLSClientConfig
	transport.TLSClientConfig = &tls.Config{RootCAs: c.Authorities}
	return func() error {
		transport.CloseIdleConnections()
		transport.TLSClientConfig = before
		return nil
	}
}

// secure serves by TLS whoever the cluster's nodes have to reach.
func (w *World) secure(ln net.Listener) net.Listener {
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{w.Cluster.Certificate}, NextProtos: []string{"http/1.1"}})
}

// prepare makes the database and the keys of the service, as an operator does.
func (f *founding) prepare(ctx context.Context, o Options) error {
	f.Postgres, f.Vault = sandbox.PostgresAt(f.Cluster.DSN), f.Cluster.Vault
	f.KeyService = "HashiCorp Vault on Raft, three nodes, by the proxy at " + f.Vault.Address
	if _, err := vault.Bootstrap(ctx, f.vaultAdmin()); err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, f.Postgres.DSN); err != nil {
		return err
	}
	for _, side := range []cluster.Kind{cluster.Issuing, cluster.Disclosing, cluster.Keeping} {
		dsn, err := postgres.Login(ctx, f.Postgres.DSN, "penname_"+string(side))
		if err == nil {
			err = os.WriteFile(f.Path(string(side)+".dsn"), []byte(dsn), 0o600)
		}
		if err == nil && side == cluster.Disclosing { // for the board, the rules and the registry
			if f.disclosing.Store, err = postgres.OpenDisclosing(ctx, dsn, o.Stores); err == nil {
				f.onClose(func() error { f.disclosing.Store.Close(); return nil })
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runOn registers the platforms, and starts the processes of escrowd.
func (f *founding) runOn(ctx context.Context) error {
	if err := f.registerPlatforms(ctx); err != nil {
		return err
	}
	return f.Cluster.Serve(ctx, func(n *cluster.Node) (string, error) { return f.configure(ctx, n) })
}

// configure writes what a process of escrowd is to run with.
func (f *founding) configure(ctx context.Context, n *cluster.Node) (string, error) {
	side := map[cluster.Kind]struct {
		section string
		role    vault.Side
	}{cluster.Issuing: {"issue", vault.SideIssuing}, cluster.Disclosing: {"disclose", vault.SideDisclosing}, cluster.Keeping: {"keep", vault.SideKeeping}}[n.Kind]
	login, err := vault.NewCredentials(ctx, f.vaultAdmin(), side.role, 10*time.Minute)
	if err != nil {
		return "", err
	}
	secretID := filepath.Join(n.Dir, "secret-id")
	if err := os.WriteFile(secretID, []byte(login.Secret), 0o600); err != nil {
		return "", err
	}
	var text strings.Builder
	set := func(pairs ...any) {
		for i := 0; i < len(pairs); i += 2 {
			fmt.Fprintf(&text, "%s = %q\n", pairs[i], pairs[i+1])
		}
	}
	set("origin", f.Origin, "bundle", f.Path("bundle.json"), "ca_file", f.Cluster.CAFile)
	fmt.Fprintf(&text, "requests_per_sender = 1000\n[%s]\n", side.section) // everybody comes by one address
	set("database_file", f.Path(string(n.Kind)+".dsn"))
	switch n.Kind {
	case cluster.Disclosing:
		set("log_key_file", f.Path("log.key"))
	case cluster.Issuing:
		cookie := f.Path("cookie.key")
		if err := os.WriteFile(cookie, []byte(hex.EncodeToString(f.issuing.CookieKeys[0][:])), 0o600); err != nil {
			return "", err
		}
		set("cookie_key_file", cookie)
		for _, name := range []string{"token", "token-rsa"} {
			fmt.Fprintf(&text, "[[issue.token_keys]]\nfile = %q\n", f.Path(name+".jwk"))
		}
	}
	fmt.Fprintf(&text, "[%s.vault]\n", side.section)
	set("address", f.Vault.Address, "ca_file", f.Cluster.CAFile, "role_id", login.RoleID, "secret_id_file", secretID)
	if n.Kind == cluster.Issuing {
		for _, p := range f.providers {
			secret := f.Path("identity-provider-" + p.id + ".secret")
			if err := os.WriteFile(secret, []byte(p.secret), 0o600); err != nil {
				return "", err
			}
			text.WriteString("[[issue.identity_providers]]\n")
			set("id", p.id, "name", p.name, "issuer", p.issuer, "client_id", p.client, "client_secret_file", secret)
			fmt.Fprintf(&text, "acr_values = [%q]\nscopes = [\"profile\", \"address\", \"email\"]\nprivate_networks = [%q]\n", sandbox.ACRVerified, f.Cluster.Host)
			text.WriteString("claims = {ages = true, country = \"address.country\", profession = \"profession\", organisation = \"organisation\"}\n")
		}
	}
	return text.String(), nil
}

// liftSecrecy: nobody moves the clock of a cluster, so the court says that secrecy ends
// now, and the service tells the troll by itself.
func (s *Story) liftSecrecy(ctx context.Context) error {
	lifted := s.Path("lifted.jws")
	if _, err := s.do(ctx, "warrant", "secrecy", s.Warrant, "--lift", "--grounds", "He was arrested.", "--key", s.Path("court.jwk"),
		"--bundle", s.Path("bundle.json"), "--out", lifted, "--force"); err != nil {
		return err
	}
	if _, err := s.do(ctx, "warrant", "file", lifted, "--server", s.Origin); err != nil {
		return err
	}
	return eventually(ctx, func() error {
		if err := s.comesBack(ctx, s.troll, s.Author.Name); err != nil {
			return err
		}
		return s.told(ctx)
	})
}

// eventually asks again each second, until the answer is nil: what the service does by
// itself it does within a minute.
func eventually(ctx context.Context, ask func() error) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for range 150 {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
	return ask()
}
