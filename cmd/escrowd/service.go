package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
)

// wiring is what a service is made of, whoever supplies it: the configuration
// file in production, the sandbox in `escrowd dev`.
type wiring struct {
	log    *slog.Logger
	now    func() time.Time
	origin string
	bundle *policy.Bundle

	issuing    *issuingSide    // nil: this process does not issue
	disclosing *disclosingSide // nil: this process does not disclose
	keeping    *keepingSide    // nil: this process does not keep
}

type keepingSide struct {
	store *postgres.Keeping
	keys  keep.Keys
}

type issuingSide struct {
	store        *postgres.Issuing
	keys         issuingKeys
	relyingParty *identity.RelyingParty
	cookieKey    [32]byte
	tokenKeys    []openid.Key
	platforms    []openid.Platform
}

type disclosingSide struct {
	store  *postgres.Disclosing
	keys   disclosingKeys
	signer note.Signer // of the public log
}

// service is a running Penname, or one side of it.
type service struct {
	wiring
	web       *web.Server
	registrar *disclose.Registrar
	board     *disclose.Board
	publisher *translog.Publisher
	keeper    *keep.Keeper
	wishes    chan struct{} // somebody asked to be deleted
	keeps     sync.Mutex
}

func newService(ctx context.Context, w wiring) (*service, error) {
	if err := w.current(ctx); err != nil {
		return nil, err
	}
	s := &service{wiring: w, wishes: make(chan struct{}, 1)}
	c := web.Config{Origin: w.origin, Log: w.log, Now: w.now, OnErase: func() {
		select {
		case s.wishes <- struct{}{}:
		default: // one is under way to be seen
		}
	}}
	if i := w.issuing; i != nil {
		if err := s.wireIssuing(&c, i); err != nil {
			return nil, err
		}
	}
	if d := w.disclosing; d != nil {
		if err := s.wireDisclosing(ctx, &c, d); err != nil {
			return nil, err
		}
	}
	if k := w.keeping; k != nil {
		s.keeper = &keep.Keeper{Keys: k.keys, Past: k.store, Rotations: k.store, Erasures: k.store, Now: s.now, Progress: s.logRotation}
	}
	var err error
	if s.web, err = web.New(c); err == nil && s.publisher != nil {
		err = s.agree(ctx)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *service) wireIssuing(c *web.Config, i *issuingSide) error {
	custodians, err := threshold.ParsePublicKey(s.bundle.ThresholdKey)
	if err != nil {
		return err
	}
	c.Issuer = &issue.Issuer{Keys: i.keys, Store: i.store, Erasures: i.store, Custodians: custodians, Now: s.now}
	c.RelyingParty, c.CookieKey, c.Once, c.OpenIDStore = i.relyingParty, i.cookieKey, i.store, i.store
	platforms, err := openid.Fixed(i.platforms...)
	if err != nil {
		return err
	}
	c.OpenID = openid.Config{Issuer: s.origin, Keys: i.tokenKeys, Platforms: platforms, Now: s.now}
	c.Custodians, c.Quorum = s.bundle.Custodians, s.bundle.Threshold
	for _, p := range i.platforms {
		c.Platforms = append(c.Platforms, web.Platform{ID: p.ID, Name: p.Name})
	}
	return nil
}

func (s *service) wireDisclosing(ctx context.Context, c *web.Config, d *disclosingSide) error {
	log, err := s.bundle.TrustedLog()
	if err != nil {
		return err
	}
	var witnesses []translog.WitnessClient
	for _, w := range s.bundle.Log.Witnesses {
		if w.URL != "" {
			witnesses = append(witnesses, translog.WitnessClient{URL: w.URL, VKey: w.VKey})
		}
	}
	if s.publisher, err = translog.New(ctx, d.store.Log, d.signer, log, witnesses, s.now); err != nil {
		return err
	}
	s.publisher.OnWitness = func(witness string, err error) {
		s.log.Warn("a witness did not cosign", slog.String("witness", witness), slog.Any("cause", err))
	}
	s.registrar = &disclose.Registrar{
		Keys: guarded{d.keys, d.store}, Cases: d.store.Cases, Records: d.store.Records, Erasures: d.store.Erasures, Log: s.publisher, Now: s.now,
		Rules: &disclose.Rules{Bundles: d.store.Bundles, Ceremonies: d.store.Ceremonies, Now: s.now},
	}
	s.board = &disclose.Board{Ceremonies: d.store.Ceremonies, Now: s.now}
	c.Board, c.Registrar, c.LogTiles = s.board, s.registrar, s.publisher.Handler()
	if c.Once == nil {
		c.Once = d.store
	}
	return nil
}

// Run serves until ctx ends, then drains. A nil certificate means plain HTTP,
// which only a loopback listener may do.
func (s *service) Run(ctx context.Context, ln net.Listener, certificate *tls.Certificate) error {
	srv := &http.Server{
		Handler: s.web, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn), // its lines name people's addresses
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	if certificate != nil {
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}}
		ln = tls.NewListener(ln, srv.TLSConfig)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return srv.Shutdown(drain)
	})
	g.Go(func() error { s.every(ctx, time.Minute, nil, s.heartbeat); return nil })
	g.Go(func() error { s.every(ctx, time.Minute, s.wishes, s.keep); return nil })
	g.Go(func() error { s.every(ctx, time.Minute, nil, s.forget); return nil })
	g.Go(func() error { s.every(ctx, time.Hour, nil, s.tidy); return nil })
	return g.Wait()
}

// every runs job now and then again after each interval, or when called, until
// ctx ends. A job that fails is logged and tried again: it never ends the
// service.
func (s *service) every(ctx context.Context, interval time.Duration, call <-chan struct{}, job func(context.Context) error) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		if err := job(ctx); err != nil && ctx.Err() == nil {
			attrs := []any{slog.Any("cause", err)}
			if e := refusal.Of(err); e != nil {
				attrs = append(attrs, slog.String("code", e.Code), slog.Any("because", e.Unwrap()))
			}
			s.log.Error("a regular job failed and will be tried again", attrs...)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-call:
		}
	}
}

// heartbeat serves the notices that are due, ends the cases that ran out, and
// keeps the log's checkpoint fresh.
func (s *service) heartbeat(ctx context.Context) error {
	if s.registrar == nil {
		return nil
	}
	_, nerr := s.registrar.Notify(ctx)
	_, xerr := s.registrar.Expire(ctx)
	_, perr := s.publisher.Publish(ctx)
	return errors.Join(nerr, xerr, perr)
}

// keep carries out the wishes to be deleted that no case stands against, each
// side its part; the other part may be another process's. What is held is looked
// at again every minute: the end of a hold completes it.
func (s *service) keep(ctx context.Context) error {
	s.keeps.Lock()
	defer s.keeps.Unlock()
	var err error
	if s.registrar != nil {
		_, err = s.registrar.Clear(ctx)
	}
	if s.keeper == nil {
		return err
	}
	erased, kerr := s.keeper.Work(ctx)
	if erased > 0 && s.publisher != nil {
		_, perr := s.publisher.Publish(ctx)
		err = errors.Join(err, perr)
	}
	return errors.Join(err, kerr)
}

func (s *service) logRotation(r keep.Rotation, step string) {
	s.log.Info("rotation of the record key", slog.String("step", step), slog.Int("version", r.Version),
		slog.String("state", string(r.State)), slog.Int64("records", r.Records))
}

// tidy puts the rows of people and pen names into an order that tells nothing
// of when they came, and forgets protocol state that has expired.
func (s *service) tidy(ctx context.Context) error {
	var err error
	if s.issuing != nil {
		err = errors.Join(s.issuing.store.Shuffle(ctx), s.issuing.store.DeleteExpired(ctx, s.now()))
	}
	if s.disclosing != nil {
		err = errors.Join(err, s.disclosing.store.DeleteExpired(ctx, s.now()))
	}
	return err
}
