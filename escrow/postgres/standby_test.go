package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// pair is a primary with its synchronous standby, and the stores on whichever of
// the two takes writes. A COMMIT is given up after 300 ms.
type pair struct {
	*sandbox.Pair
	admin string // of the primary

	issuing    *Issuing
	disclosing *Disclosing
	keeping    *Keeping

	mu      sync.Mutex
	address string // of the server that is dialled
}

func newPair(t *testing.T) *pair {
	t.Helper()
	both, err := sandbox.StartPair(t.Context())
	if err != nil {
		t.Fatal(err, cause(err))
	}
	t.Cleanup(func() { both.Stop() }) //nolint:errcheck // the test is over
	if err := Migrate(t.Context(), both.Primary.DSN); err != nil {
		t.Fatal(err, cause(err))
	}
	p := &pair{Pair: both, admin: both.Primary.DSN}
	p.dialInstead(t, both.Primary)
	o := Options{Dial: p.dial, Commit: 300 * time.Millisecond}
	p.issuing, p.disclosing = issuing(t, p.admin, o), disclosing(t, p.admin, o)
	if p.keeping, err = OpenKeeping(t.Context(), as(t, p.admin, "penname_keeping"), o); err != nil {
		t.Fatal(err, cause(err))
	}
	t.Cleanup(p.keeping.Close)
	return p
}

func (p *pair) dialInstead(t *testing.T, server *sandbox.Postgres) {
	t.Helper()
	u, err := url.Parse(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address = u.Host
}

func (p *pair) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	p.mu.Lock()
	address := p.address
	p.mu.Unlock()
	return dialer(ctx, network, address)
}

// back returns when the standby holds everything again.
func (p *pair) back(t *testing.T) {
	t.Helper()
	p.Mend()
	sql(t, p.admin, barrier)
}

// failOver makes the standby the server. What it lacks is gone.
func (p *pair) failOver(t *testing.T) {
	t.Helper()
	if err := errors.Join(p.Promote(t.Context()), p.Primary.Kill()); err != nil {
		t.Fatal(err, cause(err))
	}
	p.dialInstead(t, p.Standby)
}

// inDoubt checks that nothing was acknowledged.
func inDoubt(t *testing.T, what string, err error) {
	t.Helper()
	if r := refusal.Of(err); r == nil || r.Kind != refusal.Unavailable {
		t.Errorf("%s, with no standby: %v (%v), want unavailable or unknown", what, err, cause(err))
	}
}

// B1: with the standby cut off, nothing is acknowledged by anybody who finds what
// an attempt left behind: neither to the caller, whose attempt was given up, nor to
// one who repeats it. When the standby is back a repeat has one effect.
func TestFoundB1NothingIsAcknowledgedThatNoStandbyHolds(t *testing.T) {
	p := newPair(t)
	for name, begin := range p.everyWrite(t) {
		t.Run(name, func(t *testing.T) {
			w := begin()
			p.Cut()
			inDoubt(t, "first", w.try(t.Context()))
			if err := w.try(t.Context()); !errors.Is(err, errDecided) { // a refusal of the test's own
				inDoubt(t, "again", err)
			}
			p.back(t)
			if err := w.try(t.Context()); err != nil && !told(name, err) {
				t.Errorf("with the standby back: %v: %v", err, cause(err))
			}
			w.once(t)
		})
	}
	consistent(t, p.disclosing)
}

// everyWrite is [writes] with those of the wishes to be deleted, of the message
// board and of the keeping side.
func (p *pair) everyWrite(t *testing.T) map[string]func() write {
	all := writes(t, p.admin, p.issuing, p.disclosing)
	delete(all, "Shuffle") // moves rows, and acknowledges nothing
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, cause(err))
		}
	}
	enrolled := func() issue.Enrolment {
		e := enrolment()
		_, _, err := p.issuing.Enrol(t.Context(), e)
		must(err)
		return e
	}
	all["Ask"] = func() write {
		r := issue.Receipt{Label: enrolled().Person.Label, Salt: [32]byte(random(32)), Day: day}
		return write{
			try: func(ctx context.Context) error {
				got, err := p.issuing.Ask(ctx, r)
				if err == nil && got != r {
					return errors.New("another receipt")
				}
				return err
			},
			once: func(t *testing.T) {
				if asked, err := p.issuing.Asked(t.Context(), r.Label); err != nil || !asked {
					t.Errorf("asked: %v, %v", asked, err)
				}
			},
		}
	}
	all["Erase"] = func() write {
		r := issue.Receipt{Label: enrolled().Person.Label, Salt: [32]byte(random(32)), Day: day}
		_, err := p.issuing.Ask(t.Context(), r)
		must(err)
		must(p.disclosing.Erasures.Clear(t.Context(), []string{r.Label}, 1<<40))
		return write{
			try: func(ctx context.Context) error {
				erased, err := p.keeping.Erase(ctx, keep.Erasure{Label: r.Label, Salt: r.Salt}, proof.Leaf{Version: 1, Kind: proof.KindErased, Day: "2026-11-21", Commitment: r.Commitment()})
				if err == nil && !erased {
					return errors.New("not erased")
				}
				return err
			},
			once: func(t *testing.T) {
				_, err := oneRecord(t.Context(), p.disclosing, r.Label)
				wantErr(t, "the record", err, disclose.ErrDataErased)
			},
		}
	}
	all["OpenCeremony"] = func() write {
		plan := random(40)
		hash := fmt.Sprintf("%x", sha256.Sum256(plan))
		return write{
			try: func(ctx context.Context) error { return p.disclosing.Ceremonies.Open(ctx, plan) },
			once: func(t *testing.T) {
				if _, err := p.disclosing.Ceremonies.Ceremony(t.Context(), hash); err != nil {
					t.Error(err)
				}
			},
		}
	}
	all["ApplyCeremony"] = func() write {
		id := openCeremony(t, p.disclosing)
		return write{
			try: func(ctx context.Context) error {
				_, err := p.disclosing.Ceremonies.Apply(ctx, id, func(c *disclose.Ceremony) (*proof.Leaf, error) {
					if len(c.Said) > 0 {
						return nil, nil
					}
					return speak("agree", "alba")(c)
				})
				return err
			},
			once: func(t *testing.T) {
				if c, err := p.disclosing.Ceremonies.Ceremony(t.Context(), id); err != nil || len(c.Said) != 1 {
					t.Errorf("%d messages, %v", len(c.Said), err)
				}
			},
		}
	}
	return all
}

// B1: what may be shown, signed, published, unlocked or destroyed on the strength of
// a look at the database is not looked at before a standby holds it.
func TestFoundB1NothingIsShownThatNoStandbyHolds(t *testing.T) {
	p := newPair(t)
	s, d, k := p.issuing, p.disclosing, p.keeping
	e, c := enrolment(), file(t, d, 1)
	if err := install(t.Context(), d, []byte("{}"), nil); err != nil {
		t.Fatal(err, cause(err))
	}
	id := openCeremony(t, d)
	saveCheckpoint(t, d)
	p.Cut()
	_, _, err := s.Enrol(t.Context(), e)
	inDoubt(t, "enrol", err)
	_, err = d.Cases.Apply(t.Context(), c.ID, approve("ombudsman"))
	inDoubt(t, "approve", err)
	reads := map[string]func(ctx context.Context) error{
		"a person, who is signed in":        func(ctx context.Context) error { _, err := s.Person(ctx, e.Fingerprint, e.Birth); return err },
		"notices":                           func(ctx context.Context) error { _, err := s.Notices(ctx, nil); return err },
		"a status list":                     func(ctx context.Context) error { _, err := s.Revoked(ctx, time.Now()); return err },
		"a case, of which a name is opened": func(ctx context.Context) error { _, err := d.Cases.Case(ctx, c.ID); return err },
		"a package":                         func(ctx context.Context) error { _, err := d.Cases.Package(ctx, c.ID, 0); return err },
		"cases that wait": func(ctx context.Context) error {
			_, err := d.Cases.List(ctx, disclose.ForCustodians, day, disclose.Cursor{}, 10)
			return err
		},
		"the rules":                          func(ctx context.Context) error { _, _, err := d.Bundles.Current(ctx); return err },
		"the log, to be cosigned":            func(ctx context.Context) error { _, err := d.Log.Size(ctx); return err },
		"its checkpoint":                     func(ctx context.Context) error { _, _, err := d.Log.Checkpoint(ctx); return err },
		"the message board":                  func(ctx context.Context) error { _, err := d.Ceremonies.Ceremony(ctx, id); return err },
		"records moved, keys are to destroy": func(ctx context.Context) error { _, err := k.Older(ctx, keep.Rotation{Version: 1}, 1, 1); return err },
		"wishes that are cleared":            func(ctx context.Context) error { _, err := k.Cleared(ctx, "", 10); return err },
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) { inDoubt(t, name, read(t.Context())) })
	}
	p.back(t)
	for name, read := range reads {
		if err := read(t.Context()); err != nil {
			t.Errorf("%s, with the standby back: %v: %v", name, err, cause(err))
		}
	}
}

// B1: after a failover everything that was acknowledged is there. What was not is
// not, and whoever repeats it is the first.
func TestFoundB1AcknowledgedSurvivesTheFailover(t *testing.T) {
	p := newPair(t)
	s, d, ctx := p.issuing, p.disclosing, t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, cause(err))
		}
	}
	life := func(must func(error)) (issue.Enrolment, issue.Assignment, openid.Row) {
		e, a := enrolment(), assignment(t)
		g := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Holder: a.Pseudonym, Body: []byte("{}"), Expires: day}
		for range 2 {
			_, _, err := s.Enrol(ctx, e)
			must(err)
			_, err = s.Assign(ctx, a)
			must(err)
			_, err = s.Ask(ctx, issue.Receipt{Label: e.Person.Label, Salt: [32]byte(random(32)), Day: day})
			must(err)
			if err = s.Put(ctx, g); !errors.Is(err, openid.ErrStale) {
				must(err)
			}
		}
		return e, a, g
	}
	held, holder, grant := life(must)
	opened, waiting := file(t, d, 1), file(t, d, 1)
	apply(t, d, opened.ID, approve("ombudsman"))
	apply(t, d, opened.ID, release)
	saveCheckpoint(t, d)

	p.Cut()
	lost, _, again := life(func(err error) { t.Helper(); inDoubt(t, "a life", err) })
	late, leaf := newCaseUnder(t, d, 1)
	for range 2 {
		_, err := d.Cases.File(ctx, late, leaf)
		inDoubt(t, "file", err)
		_, err = d.Cases.Apply(ctx, opened.ID, notice(holder.Pseudonym))
		if !errors.Is(err, disclose.ErrCaseClosed) { // the second: it was noticed
			inDoubt(t, "notice", err)
		}
		if _, err = d.Cases.Apply(ctx, waiting.ID, approve("ombudsman")); !errors.Is(err, errDecided) {
			inDoubt(t, "approve", err)
		}
		_, err = d.Cases.Case(ctx, waiting.ID)
		inDoubt(t, "a look at the case", err)
	}
	p.failOver(t)

	if person, err := s.Person(ctx, held.Fingerprint, held.Birth); err != nil || person != held.Person {
		t.Errorf("an acknowledged person is lost: %v", err)
	}
	if names, err := s.Assigned(ctx, []token.Pseudonym{holder.Pseudonym}); err != nil || len(names) != 1 {
		t.Errorf("an acknowledged pen name is lost: %v", err)
	}
	if row, err := s.Get(ctx, grant.Kind, grant.ID); err != nil || row.Version != 1 {
		t.Errorf("an acknowledged grant is lost: %v", err)
	}
	if c, err := d.Cases.Case(ctx, opened.ID); err != nil || c.State != disclose.Released {
		t.Errorf("a released case is %q: %v", c.State, err)
	}
	if pack, err := d.Cases.Package(ctx, opened.ID, 0); err != nil || len(pack) == 0 {
		t.Errorf("its package is lost: %v", err)
	}
	if size, _, err := d.Log.Checkpoint(ctx); err != nil || size != 5 {
		t.Errorf("the published log has %d leaves: %v", size, err)
	}
	if _, first, err := s.Enrol(ctx, lost); err != nil || !first {
		t.Errorf("who was not acknowledged is there: %v, %v", first, err)
	}
	must(s.Put(ctx, again))
	apply(t, d, waiting.ID, approve("ombudsman"))
	if c, err := d.Cases.File(ctx, late, leaf); err != nil || c.Salt != late.Salt {
		t.Error(err, cause(err))
	}
	consistent(t, d)
}

// B1: a server that is told to end the wait of a COMMIT reports success. It counts
// as an unknown.
func TestFoundB1AWaitThatTheServerEndsIsNoSuccess(t *testing.T) {
	p := newPair(t)
	p.issuing.commit = 2 * time.Second
	p.Cut()
	outcome := make(chan error)
	go func() {
		_, _, err := p.issuing.Enrol(t.Context(), enrolment())
		outcome <- err
	}()
	admin := connect(t, p.admin)
	for {
		if _, err := admin.Exec(t.Context(), `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-outcome:
			inDoubt(t, "cancelled by an administrator", err)
			return
		default:
		}
	}
}

// B1: nobody is told "on", and then has a server that waits for less: a role or a
// server that does is refused, and one that is told so later changes no session.
func TestFoundB1NoSettingUndoesTheWait(t *testing.T) {
	admin := database(t)
	const role = "penname_disclosing"
	alter := func(value string) {
		sql(t, admin, `ALTER ROLE `+role+` IN DATABASE `+pathOf(admin)[1:]+` SET synchronous_commit = '`+value+`'`)
	}
	for _, value := range []string{"off", "local", "remote_write"} {
		alter(value)
		_, err := OpenDisclosing(t.Context(), as(t, admin, role), Options{})
		wantErr(t, value, err, ErrSettings)
	}
	for _, value := range []string{"on", "remote_apply"} {
		alter(value)
		d := disclosing(t, admin, Options{})
		for range 2 {
			var now string
			err := d.read(t.Context(), func(ctx context.Context, c *pgxpool.Conn) error {
				return c.QueryRow(ctx, `SELECT current_setting('synchronous_commit')`).Scan(&now)
			})
			if err != nil || now == "off" {
				t.Errorf("the session has %q, of %q: %v", now, value, err)
			}
			alter("off")
			d.pool.Reset() // every session is a new one
		}
	}
}

// A side without a standby answers nobody, and says so: that the server itself answers is no
// comfort.
func TestReadyNamesTheStandbyThatIsAway(t *testing.T) {
	p := newPair(t)
	ready := map[string]interface{ Ready(context.Context) error }{"issuing": p.issuing, "disclosing": p.disclosing, "keeping": p.keeping}
	for side, s := range ready {
		if err := s.Ready(t.Context()); err != nil {
			t.Errorf("%s: %v: %v", side, err, cause(err))
		}
	}
	p.Cut()
	for side, s := range ready {
		if err := s.Ready(t.Context()); !errors.Is(err, ErrNoStandby) {
			t.Errorf("%s, with the standby cut off: %v: %v", side, err, cause(err))
		}
	}
	dsn := as(t, p.admin, "penname_disclosing")
	if _, err := OpenDisclosing(t.Context(), dsn, Options{Dial: p.dial, ChecksOnly: true, Commit: 300 * time.Millisecond}); !errors.Is(err, ErrNoStandby) {
		t.Errorf("a check: %v: %v", err, cause(err))
	}
	p.back(t)
	for side, s := range ready {
		if err := s.Ready(t.Context()); err != nil {
			t.Errorf("%s, with the standby back: %v: %v", side, err, cause(err))
		}
	}
}
