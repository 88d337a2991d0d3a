package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/spans"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/court"
	"github.com/penname/penname/escrow/web/person"
	publicrecord "github.com/penname/penname/escrow/web/record"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/record"
	"github.com/penname/penname/verifier/rules"
)

// Parts is what a service is made of, whoever supplies it: the configuration
// file in production, and the sandbox.
type Parts struct {
	Log    *slog.Logger
	Now    func() time.Time
	Origin string         // https://…, as people and platforms see it
	Bundle *policy.Bundle // where trust begins: the rules in force when the process starts

	TrustedProxies []netip.Prefix // see web.Config
	PerSender      float64        // likewise; 0: web.DefaultPerSender
	Contact        web.Contact    // likewise
	Zone           *time.Location // likewise; nil: UTC

	Authorities *x509.CertPool // of the certificates of identity providers, witnesses and the public log; nil: those of this machine

	PublicLog   PublicLog     // not needed by a process that discloses: it reads its own
	RulesMaxAge time.Duration // 0: RulesMaxAge

	Certificate *tls.Certificate // of the listener; nil: plain HTTP, which only a loopback listener may do

	Issuing    *Issuing    // nil: this process does not issue
	Disclosing *Disclosing // nil: this process does not disclose
	Keeping    *Keeping    // nil: this process does not keep
	Mail       *Mail       // nil: there is no mail server

	Traces *spans.Tracer // nil: nothing is traced

	config    *Config             // that they were made from, which is read again; nil: nothing is
	level     *slog.LevelVar      // of Log; nil: it is fixed
	digests   map[string][32]byte // of what was read: see reload.go
	metricsCA *x509.CertPool      // whose certificates may read the metrics; nil: this machine may
	history   *rules.History      // of the public log, from Bundle on; nil: not opened yet
}

// Issuing is what the issuing side stands on.
type Issuing struct {
	Store *postgres.Issuing
	Keys  interface { // its work, and which versions of the record keys there are
		issue.Keys
		WrapHalfIn(ctx context.Context, group int, label string, k1 []byte) (string, error)
		keep.Versions
	}
	Login      *vault.Login // by which Keys is reached; nil: it is no Vault
	Providers  []person.Provider
	CookieKeys [][32]byte
	TokenKeys  []openid.Key
	HTTP       *http.Client // that calls the addresses that platforms give

	EmailDomain string // openid.Config
	Legal       person.Legal
}

// Disclosing is what the disclosing side stands on.
type Disclosing struct {
	Store *postgres.Disclosing
	Keys  interface { // likewise
		disclose.Keys
		keep.Versions
	}
	Login  *vault.Login // likewise
	Signer note.Signer  // of the public log
}

// Keeping is what the keeping side stands on.
type Keeping struct {
	Store *postgres.Keeping
	Keys  keep.Keys
	Login *vault.Login // likewise
}

// Keeper is the keeping side at work. progress is told each step of a rotation.
func (k *Keeping) Keeper(now func() time.Time, progress func(r keep.Rotation, step string)) *keep.Keeper {
	return &keep.Keeper{Keys: k.Keys, Past: k.Store, Rotations: k.Store, Erasures: k.Store, Now: now, Progress: progress}
}

// Close closes the connections to the database, and sends what is left of traces.
func (p *Parts) Close() {
	p.Traces.Close()
	if p.Issuing != nil && p.Issuing.Store != nil {
		p.Issuing.Store.Close()
	}
	if p.Disclosing != nil && p.Disclosing.Store != nil {
		p.Disclosing.Store.Close()
	}
	if p.Keeping != nil && p.Keeping.Store != nil {
		p.Keeping.Store.Close()
	}
}

// Service is a Penname that can run, or one or two sides of it.
type Service struct {
	Parts
	Registrar *disclose.Registrar // nil unless this process discloses
	Board     *disclose.Board     // likewise
	Reviews   *disclose.Reviews   // likewise

	web        *web.Server
	live       live
	rules      *rulesInForce
	publisher  *translog.Publisher
	record     *record.Record // nil unless this process discloses
	keeper     *keep.Keeper
	linker     *issue.Linker // nil unless this process issues
	erasing    sync.Mutex
	looked     int       // the last group of which WatchLifetimes looked for lost records
	since      time.Time // when it began to serve
	counted    *counted
	done       done
	sightings  sightings
	unrecorded counter // filings that left no leaf
	untold     counter // logout tokens that a platform did not take, since untoldDay began
	untoldWhy  counter // likewise of events, with the reason that it gave
	untoldDay  time.Time
	post       postbag
	changed    func(ctx context.Context, after int64) ([]postgres.Registered, error) // of the registry; see postgres.Issuing
}

// New puts a service together. It refuses parts that stand on an older state
// than what was published or seen: see checks.go.
func New(ctx context.Context, p Parts) (*Service, error) {
	if err := p.refuseOlderKeys(ctx); err != nil {
		return nil, err
	}
	s := &Service{Parts: p, counted: newCounted()}
	s.live.certificate.Store(p.Certificate)
	s.live.metricsCA.Store(p.metricsCA)
	s.live.seen, s.live.digests = p.config, p.digests
	var err error
	edge := web.Config{Origin: p.Origin, Log: p.Log, Now: p.Now, TrustedProxies: p.TrustedProxies, PerSender: p.PerSender, Contact: p.Contact, Zone: p.Zone, Ready: s.Ready,
		Answered: s.answered, Refused: s.refused}
	if p.Traces != nil {
		edge.Traced = s.traced
	}
	if s.web, err = web.New(edge); err != nil {
		return nil, err
	}
	if i := p.Issuing; i != nil {
		s.countCalls(sideIssue, i.Keys)
		if err := s.wireIssuing(i); err != nil {
			return nil, err
		}
	}
	if d := p.Disclosing; d != nil {
		s.countCalls(sideDisclose, d.Keys)
		if err := s.wireDisclosing(ctx, d); err != nil {
			return nil, err
		}
		s.PublicLog = PublicLog{Tiles: translog.Tiles(d.Store.Log), Bundles: d.Store.Bundles.Bundle}
	}
	history, err := s.open()
	if err != nil {
		return nil, err
	}
	s.rules = &rulesInForce{history: history, maxAge: s.rulesMaxAge(), now: p.Now, adopt: s.adopt, look: s.look}
	s.live.rules, s.live.holds, s.live.until, s.live.look = s.rules.InForce, history.HoldsRecord, history.Until, s.look
	s.live.following = newFollowing()
	if k := p.Keeping; k != nil {
		s.countCalls(sideKeep, k.Keys)
		s.keeper = k.Keeper(s.Now, s.logRotation)
		if err := s.keeper.OpenGroups(ctx); err != nil { // the hour tries again, and people come into those of before
			s.Log.Warn("the groups of tomorrow could not be opened", why(err)...)
		}
	}
	s.wireMail()
	if s.publisher != nil {
		if err := s.refuseOlderLog(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.refuseOtherRules(ctx); err != nil {
		return nil, err
	}
	for _, first := range []func(context.Context) error{s.rules.follow, s.LoadPlatforms} {
		if err := first(ctx); err != nil && !inDoubt(err) {
			return nil, err
		}
	}
	return s, nil
}

func (s *Service) wireIssuing(i *Issuing) (err error) {
	s.live.tokenKeys.Store(&i.TokenKeys)
	if i.Store != nil {
		s.changed = i.Store.Platforms
	}
	issuer := &issue.Issuer{Keys: groupedKeys{i.Keys, i, s.Now}, Store: i.Store, Custodians: s.custodians, Now: s.Now}
	s.live.issuing, err = person.Mount(s.web, person.Config{
		Issuer:    issuer,
		Providers: i.Providers, CookieKeys: i.CookieKeys, Rules: func() (*policy.Bundle, error) { return s.rules.InForce() },
		TokenKeys: i.TokenKeys, Store: i.Store, HTTP: i.HTTP, EmailDomain: i.EmailDomain, Legal: i.Legal, Writes: s.Mail != nil, Localhost: OnThisMachine(s.Origin),
	})
	if errors.Is(err, openid.ErrConfig) {
		err = of("issue.token_keys", err)
	}
	if err == nil {
		s.linker = &issue.Linker{Issuer: issuer, Since: s.rulesSince, Platforms: s.live.issuing.Sectors}
	}
	return s.config.placed(err)
}

func (s *Service) wireDisclosing(ctx context.Context, d *Disclosing) error {
	log, err := s.Bundle.TrustedLog()
	if err != nil {
		return err
	}
	if s.publisher, err = translog.New(ctx, d.Store.Log, d.Signer, log, s.witnesses(s.Bundle), s.Now); err != nil {
		return err
	}
	s.publisher.OnWitness = func(witness string, err error) {
		s.done.doubted(err)
		s.Log.Warn("a witness did not cosign", slog.String("witness", witness), slog.Any("cause", err))
	}
	s.Registrar = &disclose.Registrar{
		Keys: rollbackCheckedKeys{d.Keys, d.Keys, d.Store}, Cases: d.Store.Cases, Records: d.Store.Records, Erasures: d.Store.Erasures, Log: s.publisher, Now: s.Now,
		Rules:      &disclose.Rules{Bundles: d.Store.Bundles, Ceremonies: d.Store.Ceremonies, Now: s.Now, Logged: s.logged},
		Unrecorded: s.unrecorded.add, Link: d.Store.Cases.Link,
	}
	registry := d.Store.Platforms.Registry(s.Registrar.Rules, s.Now)
	s.Registrar.Registry = &registry
	s.Reviews = &disclose.Reviews{List: d.Store.Reviews.List, Apply: d.Store.Reviews.Apply, InForce: s.Registrar.Rules.InForce, Now: s.Now}
	s.Board = &disclose.Board{Ceremonies: d.Store.Ceremonies, Now: s.Now}
	s.record = newRecord(d.Store)
	if s.config == nil || s.config.RecordListen == "" {
		publicrecord.Mount(s.web, s.record.Page)
	}
	court.Mount(s.web, court.Config{Registrar: s.Registrar, Board: s.Board, SingleUse: d.Store, LogTiles: s.publisher.Handler()})
	return nil
}

// witnesses are those that can be asked.
func (p *Parts) witnesses(b *policy.Bundle) (witnesses []translog.WitnessClient) {
	for _, w := range b.Log.Witnesses {
		if w.URL != "" {
			witnesses = append(witnesses, translog.WitnessClient{URL: w.URL, VKey: w.VKey, HTTP: registrar.NewHTTP(p.Authorities)})
		}
	}
	return witnesses
}

// NewMessageBoard is the custodians' message board alone, for the first key
// ceremony: there is no service yet, which needs a bundle, which needs the key.
// trustedProxies are as in [Config].
func NewMessageBoard(origin string, board *disclose.Board, trustedProxies []string, log *slog.Logger) (http.Handler, error) {
	proxies, err := web.ParseProxies(trustedProxies)
	if err != nil {
		return nil, err
	}
	edge, err := web.New(web.Config{Origin: origin, Log: log, Now: board.Now, TrustedProxies: proxies})
	if err != nil {
		return nil, err
	}
	court.MountBoard(edge, board)
	return edge, nil
}

// Run serves on ln and does the regular jobs until ctx ends, then drains. What the
// configuration names is read again when it changes: see reload.go. The log has a line
// when it begins, and one when it ended.
func (s *Service) Run(ctx context.Context, ln net.Listener, m Machine) error {
	began := time.Now()
	collectLess()
	err := s.run(ctx, ln, m)
	s.web.LogFaults(context.WithoutCancel(ctx))
	ended := []any{slog.Duration("ran", time.Since(began).Round(time.Second))}
	if err != nil {
		s.Log.Error("stopped", append(ended, why(err)...)...)
	} else {
		s.Log.Info("stopped", append(ended, slog.Any("why", context.Cause(ctx)))...)
	}
	return err
}

// serverTLS is how people and platforms reach the service: by TLS 1.3, or 1.2 with the cipher
// suites that RFC 9325, 4.2, recommends and the FAPI 2.0 Security Profile, 5.2.2, permits.
func serverTLS(certificate func() *tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(), nil },
	}
}

func (s *Service) run(ctx context.Context, ln net.Listener, m Machine) error {
	if s.Certificate != nil {
		ln = tls.NewListener(ln, serverTLS(s.live.certificate.Load))
	}
	g, ctx := errgroup.WithContext(ctx)
	s.since = s.Now()
	if s.config != nil && s.config.MetricsListen != "" {
		metrics, err := s.listenForMetrics(s.config)
		if err != nil {
			return s.config.placed(of("metrics_listen", err))
		}
		g.Go(func() error { return Serve(ctx, metrics, s.Metrics()) })
	}
	if s.config != nil && s.config.RecordListen != "" && s.record != nil {
		if err := s.serveRecord(ctx, g); err != nil {
			return s.config.placed(of("record_listen", err))
		}
	}
	s.sayServing(ln.Addr())
	g.Go(func() error { return Serve(ctx, ln, s.web) })
	for _, j := range Jobs {
		g.Go(func() error { s.repeat(ctx, j); return nil })
	}
	if s.config != nil {
		g.Go(func() error { s.followFiles(ctx, m); return nil })
	}
	s.tell(m, Ready)
	g.Go(func() error { <-ctx.Done(); s.tell(m, Stopping); return nil })
	return g.Wait()
}

// Listener opens the address to listen on.
func (c *Config) Listener() (net.Listener, error) {
	ln, err := Listen(c.Listen)
	return ln, c.placed(of("listen", err))
}

// Listen opens a TCP address, host:port. It fails with ErrListen.
func Listen(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, ErrListen.Because(err)
	}
	return ln, nil
}

// Serve serves h on ln until ctx ends, then lets what is under way finish within
// ten seconds. It is the one HTTP server of the service and of the sandbox. How slow a
// transfer may be is for h to say: WriteTimeout is only where it says nothing.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn), // its lines name people's addresses
		ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
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
	return g.Wait()
}
