package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
)

// pair is a database with a synchronous standby, at one address: that of the
// server that takes writes.
type pair struct {
	*sandbox.Pair
	address atomic.Value // string
}

func startPair(e *testscript.Env) (*pair, error) {
	both, err := sandbox.StartPair(context.Background())
	if err != nil {
		return nil, err
	}
	e.Defer(func() { both.Stop() }) //nolint:errcheck // the script is over
	p := &pair{Pair: both}
	return p, p.moveTo(both.Primary)
}

func (p *pair) moveTo(server *sandbox.Postgres) error {
	u, err := url.Parse(server.DSN)
	if err == nil {
		p.address.Store(u.Host)
	}
	return err
}

// options are those of a service, with less patience for the standby.
func (p *pair) options() postgres.Options {
	return postgres.Options{Commit: time.Second, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, p.address.Load().(string))
	}}
}

// standbyWord is what happens to it: promote also ends the primary.
func standbyWord(s *scene, _ *testscript.TestScript, args []string) error {
	switch args[0] {
	case "cut":
		s.pair.Cut()
		return nil
	case "back":
		s.pair.Mend()
		c, err := pgx.Connect(context.Background(), s.Postgres.DSN)
		if err != nil {
			return err
		}
		defer c.Close(context.Background())                                                                //nolint:errcheck // it said what it had to
		_, err = c.Exec(context.Background(), `SELECT pg_logical_emit_message(true, 'sandbox', ''::text)`) // waits for the standby
		return err
	case "promote":
		if err := errors.Join(s.pair.Promote(context.Background()), s.pair.Primary.Kill(), s.pair.moveTo(s.pair.Standby)); err != nil {
			return err
		}
		s.Postgres = s.pair.Standby
		dsn, err := postgres.Login(context.Background(), s.Postgres.DSN, "penname_disclosing")
		return errors.Join(err, os.WriteFile(s.Path("disclosing.dsn"), []byte(dsn), 0o600))
	}
	return fmt.Errorf("unknown event %q", args[0])
}
