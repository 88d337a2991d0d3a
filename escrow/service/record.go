package service

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/web"
	publicrecord "github.com/penname/penname/escrow/web/record"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/record"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

var errConfigRecord = refusal.New(refusal.Invalid, "config.bad_record_listen",
	"record_listen must be an address and a port, such as 0.0.0.0:8444, other than listen and metrics_listen, of a process with [disclose]: only that one reads the public log from its own database")

// How many records of platforms, and how many bytes of them, are read at once.
const (
	registryAtOnce = 100
	registryBytes  = 8 << 20
)

// newRecord is the public record of what the disclosing side has published. Nothing that it
// reads there is believed before it was verified, as anybody does.
func newRecord(store *postgres.Disclosing) *record.Record {
	pages := func(ctx context.Context, after int64) ([]policy.LoggedPlatform, bool, error) {
		return store.Platforms.After(ctx, after, "", registryAtOnce, registryBytes)
	}
	return record.New(translog.Tiles(store.Log), store.Bundles.Bundle, rules.RecordsOf(pages))
}

// FollowRecord makes pages of what is new in the public log.
func (s *Service) FollowRecord(ctx context.Context) error {
	if s.record == nil {
		return nil
	}
	// Other witnesses may have come into force: the job that follows the rules says so if they
	// cannot be told.
	_ = s.rules.follow(ctx)
	err := s.record.Follow(ctx, s.rules.history.Log(), nil)
	if errors.Is(err, translog.ErrNotYet) {
		return nil // nothing was published yet
	}
	return err
}

// checkRecord returns what is wrong with record_listen.
func (c *Config) checkRecord() error {
	if c.RecordListen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.RecordListen); err != nil || c.Disclose == nil || sameAddress(c.RecordListen, c.Listen) || sameAddress(c.RecordListen, c.MetricsListen) {
		return errConfigRecord
	}
	return nil
}

// sameAddress reports whether two addresses are one, and not a port that the system chooses.
func sameAddress(a, b string) bool { return a == b && !strings.HasSuffix(a, ":0") }

// serveRecord serves the public record on a listener of its own.
func (s *Service) serveRecord(ctx context.Context, g *errgroup.Group) error {
	c := s.web.Config
	c.Ready = nil
	edge, err := web.New(c)
	if err != nil {
		return err
	}
	publicrecord.Mount(edge, s.record.Page)
	ln, err := Listen(s.config.RecordListen)
	if err != nil {
		return err
	}
	if s.Certificate != nil {
		ln = tls.NewListener(ln, serverTLS(s.live.certificate.Load))
	}
	g.Go(func() error { return Serve(ctx, ln, edge) })
	return nil
}
