package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/penname/penname/deploy"
	"github.com/penname/penname/escrow/sandbox"
)

// machines are the nodes, with the address that the files of deploy/cluster have for each,
// and the ports of it.
var machines = []struct {
	kind  Kind
	name  string
	host  string
	ports []string // the first is Node.Address
}{
	{Etcd, "etcd-1", "10.0.0.11", []string{"2379", "2380"}},
	{Etcd, "etcd-2", "10.0.0.12", []string{"2379", "2380"}},
	{Etcd, "etcd-3", "10.0.0.13", []string{"2379", "2380"}},
	{Vault, "vault-1", "10.0.0.21", []string{"8200", "8201"}},
	{Vault, "vault-2", "10.0.0.22", []string{"8200", "8201"}},
	{Vault, "vault-3", "10.0.0.23", []string{"8200", "8201"}},
	{Haproxy, "haproxy", "10.0.0.10", []string{"443", "5432", "8200"}},
	{Postgres, "db-1", "10.0.0.11", []string{"5432", "8008"}},
	{Postgres, "db-2", "10.0.0.12", []string{"5432", "8008"}},
	{Postgres, "db-3", "10.0.0.13", []string{"5432", "8008"}},
	{Pgbouncer, "pgbouncer", "10.0.0.10", []string{"6432"}},
	{Issuing, "issuing-1", "10.0.0.11", []string{"8441", "9464"}},
	{Issuing, "issuing-2", "10.0.0.12", []string{"8441", "9464"}},
	{Disclosing, "disclosing-1", "10.0.0.21", []string{"8451", "9464"}},
	{Disclosing, "disclosing-2", "10.0.0.22", []string{"8451", "9464"}},
	{Keeping, "keeping-1", "10.0.0.21", []string{"8461", "9464"}},
	{Keeping, "keeping-2", "10.0.0.22", []string{"8461", "9464"}},
}

// programs are where they are, and who runs PostgreSQL.
type programs struct {
	etcd, patroni, haproxy, pgbouncer, vault string
	postgres                                 string              // folder
	as                                       *syscall.Credential // nil: ourselves
}

func (c *Cluster) programs(ctx context.Context) (p programs, err error) {
	var missing []string
	path := strings.Split(os.Getenv("PATH"), ":")
	find := func(name string) string {
		for _, dir := range append(path, "/usr/sbin", "/sbin") {
			file := filepath.Join(dir, name)
			if info, serr := os.Stat(file); serr == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
				return file
			}
		}
		missing = append(missing, name)
		return ""
	}
	p.etcd, p.patroni, p.haproxy, p.pgbouncer = find("etcd"), find("patroni"), find("haproxy"), find("pgbouncer")
	if len(missing) > 0 {
		return p, ErrMissing.Because(errors.New(strings.Join(missing, ", ")))
	}
	if p.vault, err = sandbox.VaultBinary(ctx, c.o.Progress); err != nil {
		return p, err
	}
	if p.postgres, err = sandbox.PostgresBinaries(ctx); err != nil {
		return p, ErrMissing.Because(err)
	}
	if os.Geteuid() == 0 {
		p.as, err = sandbox.Unprivileged()
	}
	return p, err
}

// files makes what a node has of a file of deploy/cluster.
type files struct {
	certificate, key []byte
	addresses        []string // pairs, for strings.NewReplacer
}

// lay makes the nodes, their folders and their files.
func (c *Cluster) lay(p programs) error {
	if err := c.network.open(c.o.Isolated); err != nil {
		return err
	}
	c.Host = c.network.here()
	for _, m := range machines {
		n := &Node{Name: m.name, Kind: m.kind, host: c.network.host(), network: &c.network, until: c.until,
			Dir: filepath.Join(c.Dir, m.name), Log: filepath.Join(c.Dir, m.name+".log")}
		for i, ofFiles := range m.ports {
			port, err := c.network.port(ofFiles)
			if err != nil {
				return err
			}
			here := net.JoinHostPort(n.host, port)
			if c.files.addresses = append(c.files.addresses, m.host+":"+ofFiles, here); i == 0 {
				n.Address = here
			}
			if ofFiles == "8008" || ofFiles == "9464" {
				n.second = here
			}
		}
		c.nodes = append(c.nodes, n)
		if err := os.MkdirAll(n.Dir, 0o700); err != nil {
			return err
		}
	}
	if err := c.certify(); err != nil {
		return err
	}
	c.secrets = map[string]string{"POSTGRES-PASSWORD@": rand.Text(), "REPLICATOR-PASSWORD@": rand.Text(), "REWINDER-PASSWORD@": rand.Text(), "MONITOR-PASSWORD@": rand.Text()}
	for _, n := range c.nodes {
		if err := c.furnish(n, p); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return c.front()
}

// front is how the cluster is reached by its proxy.
func (c *Cluster) front() error {
	proxy := c.Node("haproxy")
	at := func(ofFiles string) string {
		port, _ := c.network.port(ofFiles) // lay had it
		return net.JoinHostPort(proxy.host, port)
	}
	c.Origin = "https://" + at("443")
	query := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.CAFile}}
	dsn := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", c.secrets["POSTGRES-PASSWORD@"]), Host: at("5432"), Path: "/postgres", RawQuery: query.Encode()}
	c.DSN = dsn.String()
	c.vaultAddress = "https://" + at("8200")
	return nil
}

// furnish gives a node its files, and says how it is run and when it works.
func (c *Cluster) furnish(n *Node, p programs) error {
	data := filepath.Join(n.Dir, "data")
	config := filepath.Join(n.Dir, "config")
	run := func(as *syscall.Credential, program string, args ...string) {
		n.command = func() (*exec.Cmd, error) {
			cmd := exec.Command(program, args...)
			cmd.Env = []string{"HOME=" + n.Dir, "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
			return cmd, nil
		}
	}
	get := func(address string) func(context.Context) error {
		return func(ctx context.Context) error { return c.answers(ctx, address) }
	}
	connects := func(ctx context.Context) error { return c.connects(ctx, n.Address) }
	var as *syscall.Credential
	switch n.Kind {
	case Etcd:
		run(nil, p.etcd, "--config-file", config)
		n.up = get("https://" + n.Address + "/health")
	case Postgres:
		as = p.as
		run(as, p.patroni, config)
		n.up = get("https://" + n.second + "/health")
	case Vault:
		n.up, n.open = connects, func(ctx context.Context) error { return c.openVault(ctx, n) }
		config += ".hcl"
		run(nil, p.vault, "server", "-config="+config)
	case Haproxy:
		run(nil, p.haproxy, "-db", "-f", config)
		n.up = connects
	case Pgbouncer:
		as = p.as // it runs as nobody's root
		run(as, p.pgbouncer, config)
		n.up = connects
	default:
		return c.keyOf(n, nil)
	}
	if err := c.write(n, p, config, data); err != nil {
		return err
	}
	return c.keyOf(n, as)
}

// sources are the files by kind.
var sources = map[Kind]string{Etcd: "etcd.yml", Postgres: "patroni.yml", Vault: "vault.hcl", Haproxy: "haproxy.cfg", Pgbouncer: "pgbouncer.ini"}

// write makes the node's configuration of the file of deploy/cluster.
func (c *Cluster) write(n *Node, p programs, config, data string) error {
	raw, err := fs.ReadFile(deploy.Cluster, "cluster/"+sources[n.Kind])
	if err != nil {
		return err
	}
	machine := strings.NewReplacer("etcd-", "db-").Replace(n.Name) // they share machines
	pairs := c.files.addresses
	for ofFiles, here := range c.network.ports {
		pairs = append(pairs, "ADDRESS@:"+ofFiles, fmt.Sprintf("%s:%d", n.host, here), "port "+ofFiles, fmt.Sprintf("port %d", here),
			"port="+ofFiles, fmt.Sprintf("port=%d", here), "listen_port = "+ofFiles, fmt.Sprintf("listen_port = %d", here))
	}
	key := filepath.Join(n.Dir, "cluster.key")
	pairs = append(pairs, "NODE@", machine, "ADDRESS@", n.host, "host=10.0.0.10", "host="+c.Node("haproxy").host, "dbname=penname", "dbname=postgres", "10.0.0.0/24", "127.0.0.0/8",
		"/etc/penname/ca.pem", c.CAFile, "/etc/penname/cluster.crt", filepath.Join(c.Dir, "cluster.crt"), "/etc/haproxy/penname.pem", filepath.Join(n.Dir, "penname.pem"),
		"/etc/penname/etcd/cluster.key", key, "/etc/penname/postgres/cluster.key", key, "/etc/vault.d/cluster.key", key, "/etc/pgbouncer/cluster.key", key,
		"/var/lib/etcd/penname", data, "/opt/vault/data", data, "/var/lib/postgresql/15/penname", data,
		"/usr/lib/postgresql/15/bin", p.postgres, "/var/lib/postgresql/penname.pgpass", filepath.Join(n.Dir, "pgpass"), "/etc/pgbouncer/userlist.txt", filepath.Join(n.Dir, "userlist.txt"),
		"unix_socket_directories: /var/run/postgresql", "unix_socket_directories: ''", // a path may have 107 bytes, and ours is longer
		"\tuser haproxy\n\tgroup haproxy\n", "") // it runs as who started it
	for placeholder, secret := range c.secrets {
		pairs = append(pairs, placeholder, secret)
	}
	text := strings.NewReplacer(pairs...).Replace(string(raw))
	switch n.Kind {
	case Vault: // which does not make it
		err = os.MkdirAll(data, 0o700)
	case Haproxy:
		err = os.WriteFile(filepath.Join(n.Dir, "penname.pem"), append(append([]byte{}, c.files.certificate...), c.files.key...), 0o600)
	case Pgbouncer:
		err = os.WriteFile(filepath.Join(n.Dir, "userlist.txt"), fmt.Appendf(nil, "\"monitor\" %q\n", c.secrets["MONITOR-PASSWORD@"]), 0o600)
	}
	return errors.Join(err, os.WriteFile(config, []byte(text), 0o600))
}

// keyOf gives a node the key of the certificate, and its folder to whom it runs as.
func (c *Cluster) keyOf(n *Node, as *syscall.Credential) error {
	err := os.WriteFile(filepath.Join(n.Dir, "cluster.key"), c.files.key, 0o600)
	if err != nil || as == nil {
		return err
	}
	files, err := os.ReadDir(n.Dir)
	for _, f := range files {
		err = errors.Join(err, os.Chown(filepath.Join(n.Dir, f.Name()), int(as.Uid), int(as.Gid)))
	}
	return errors.Join(err, os.Chown(n.Dir, int(as.Uid), int(as.Gid)))
}

// openVault initialises the first Vault, and unseals each.
func (c *Cluster) openVault(ctx context.Context, n *Node) error {
	keys := filepath.Join(c.Dir, "vault-keys.json")
	if n.Name != "vault-1" {
		if err := c.until(ctx, func(context.Context) error { _, err := os.Stat(keys); return err }); err != nil {
			return err
		}
	}
	v, err := sandbox.OpenVaultNode(ctx, "https://"+n.Address, keys, "audit.log", c.client)
	if err != nil || n.Name != "vault-1" || c.Vault != nil {
		return err
	}
	c.Vault = sandbox.VaultAt(c.vaultAddress, v.RootToken, c.client)
	return v.Stabilise(ctx, time.Second)
}

// answers asks for an address, to which 200 has to be the answer.
func (c *Cluster) answers(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s says %d: %s", address, resp.StatusCode, text)
	}
	return err
}

func (c *Cluster) connects(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// certify makes an authority and one certificate for all nodes, and a client that has it.
func (c *Cluster) certify() error {
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Penname cluster"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	signed, err := x509.CreateCertificate(rand.Reader, root, root, authority.Public(), authority)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.ParseIP(c.Host), net.ParseIP("127.0.0.1")}}
	for _, n := range c.nodes {
		leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(n.host))
	}
	made, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), authority)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	c.files.certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made})
	c.files.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	pair, err := tls.X509KeyPair(c.files.certificate, c.files.key)
	if err != nil {
		return err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
	c.Authorities = x509.NewCertPool()
	c.Authorities.AppendCertsFromPEM(ca)
	c.Certificate = pair
	c.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.Authorities, Certificates: []tls.Certificate{pair}}, DisableKeepAlives: true}}
	c.CAFile = filepath.Join(c.Dir, "ca.pem")
	// Other users read both: PostgreSQL runs as one.
	return errors.Join(os.WriteFile(c.CAFile, ca, 0o644), os.WriteFile(filepath.Join(c.Dir, "cluster.crt"), c.files.certificate, 0o644)) //nolint:gosec // certificates
}
