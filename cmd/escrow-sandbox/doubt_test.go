package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox/cluster"
	"github.com/penname/penname/escrow/sandbox/world"
)

// doubtOnCluster: without a standby that confirms and without a Vault that leads, each side
// says so of each part by its code, also to who comes by the proxy, and goes on by itself
// when they are back.
func doubtOnCluster(t *testing.T, c *cluster.Cluster, w *world.World) {
	leader, err := c.DatabaseLeader(t.Context())
	if err != nil {
		t.Fatal(said(err))
	}
	var frozen []*cluster.Node
	for _, n := range append(c.Of(cluster.Postgres), c.Of(cluster.Vault)[:2]...) {
		if n != leader {
			n.Freeze()
			frozen = append(frozen, n)
		}
	}
	for kind, side := range map[cluster.Kind]string{cluster.Issuing: "issue", cluster.Disclosing: "disclose", cluster.Keeping: "keep"} {
		for _, n := range c.Of(kind) {
			says(t, c, "https://"+n.Address, map[string]string{side + ".database": "database.no_standby", side + ".keys": "keys.unavailable"})
		}
	}
	says(t, c, c.Origin, map[string]string{"issue.database": "database.no_standby", "issue.keys": "keys.unavailable"})
	// The other side, by its own refusal: "custodian.unknown" needs neither of the two.
	if said, code := w.Escrow(t.Context(), "warrant", "status", strings.Repeat("a", 26), "--server", c.Origin, "--ca-file", c.CAFile, "--json"); code != 1 || strings.Contains(said, "server.unreachable") {
		t.Error(code, said)
	}
	for _, n := range frozen {
		n.Thaw()
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(said(err))
	}
}

// says waits until who answers at an address says of its parts what is wanted.
func says(t *testing.T, c *cluster.Cluster, address string, want map[string]string) {
	t.Helper()
	client := &http.Client{Timeout: 8 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.Authorities}}}
	defer client.CloseIdleConnections()
	var found struct {
		Ready bool
		Parts map[string]string
	}
	for range 20 {
		resp, err := client.Get(address + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&found)
		resp.Body.Close()
		if err != nil || found.Ready != (resp.StatusCode == http.StatusOK) {
			t.Fatal(address, err, resp.Status, found)
		}
		same := !found.Ready
		for part, code := range want {
			same = same && found.Parts[part] == code
		}
		if same {
			return
		}
		time.Sleep(500 * time.Millisecond) //nolint:forbidigo // it is asked by HTTP
	}
	t.Errorf("%s says %v, not %v", address, found, want)
}

// poolerOnCluster: the sides refuse pgbouncer in each of its modes, whether it lets them set
// up their sessions or not; who only watches may come by it.
func poolerOnCluster(t *testing.T, c *cluster.Cluster, w *world.World) {
	pool := c.Of(cluster.Pgbouncer)[0]
	raw, err := os.ReadFile(w.Path("disclosing.dsn"))
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := url.Parse(string(raw))
	if err != nil {
		t.Fatal(err)
	}
	direct, err := postgres.OpenDisclosing(t.Context(), dsn.String(), postgres.Options{})
	if err != nil {
		t.Fatal(said(err))
	}
	direct.Close()
	dsn.Host, dsn.Path = pool.Address, "/penname"
	password, _ := dsn.User.Password()
	config, users := filepath.Join(pool.Dir, "config"), filepath.Join(pool.Dir, "userlist.txt")
	before := map[string]string{}
	for _, name := range []string{config, users} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = string(text)
	}
	restart := func(mode, ignored string) {
		t.Helper()
		pool.Kill()
		text := strings.Replace(before[config], "pool_mode = transaction", "pool_mode = "+mode, 1)
		text = strings.Replace(text, "ignore_startup_parameters = ", "ignore_startup_parameters = "+ignored, 1)
		err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.WriteFile(users, fmt.Appendf(nil, "%s%q %q\n", before[users], dsn.User.Username(), password), 0o600), pool.Start(t.Context()))
		if err != nil {
			t.Fatal(said(err))
		}
	}
	for _, mode := range []string{"session", "transaction", "statement"} {
		for _, ignored := range []string{"", "search_path,lock_timeout,idle_in_transaction_session_timeout,"} {
			restart(mode, ignored)
			s, err := postgres.OpenDisclosing(t.Context(), dsn.String(), postgres.Options{})
			if err == nil {
				s.Close()
			}
			// Where it takes the settings and drops them, a session can break before it is looked at.
			if !errors.Is(err, postgres.ErrPooler) && (ignored == "" || !errors.Is(err, postgres.ErrUnavailable)) {
				t.Errorf("pool_mode %s, ignoring %q: %s", mode, ignored, said(err))
			}
		}
	}
	restart("transaction", "")
	admin, err := pgx.Connect(t.Context(), c.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context()) //nolint:errcheck // likewise
	if _, err := admin.Exec(t.Context(), `GRANT pg_monitor TO monitor; GRANT CONNECT ON DATABASE postgres TO monitor`); err != nil {
		t.Fatal(err)
	}
	dsn.User = url.UserPassword("monitor", strings.Fields(strings.ReplaceAll(before[users], `"`, ""))[1])
	cfg, err := pgx.ParseConfig(dsn.String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // it said what it had to
	var sessions int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity`).Scan(&sessions); err != nil || sessions == 0 {
		t.Error(sessions, err)
	}
}
