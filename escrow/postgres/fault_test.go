package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// network is one that breaks once, at a chosen message of the client.
type network struct {
	mu    sync.Mutex
	armed bool
	skip  int  // messages that still pass
	after bool // the server gets the message and answers, and the answer is lost
	stay  bool // no new connection until mended
	down  bool
}

var errCut = errors.New("connection reset by test")

func (n *network) dial(ctx context.Context, netw, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, errCut
	}
	c, err := new(net.Dialer).DialContext(ctx, netw, addr)
	return &cutConn{Conn: c, n: n}, err
}

func (n *network) arm(skip int, after, stay bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.armed, n.skip, n.after, n.stay = true, skip, after, stay
}

// mend returns whether the cut happened.
func (n *network) mend() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	hit := !n.armed
	n.armed, n.down = false, false
	return hit
}

type cutConn struct {
	net.Conn
	n *network
}

func (c *cutConn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	switch {
	case c.n.down:
		c.Conn.Close()
		return 0, errCut
	case !c.n.armed:
		return c.Conn.Write(b)
	case c.n.skip > 0:
		c.n.skip--
		return c.Conn.Write(b)
	}
	c.n.armed, c.n.down = false, c.n.stay
	defer c.Conn.Close()
	if !c.n.after {
		return 0, errCut
	}
	if _, err := c.Conn.Write(b); err != nil {
		return 0, err
	}
	c.Conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	c.Conn.Read(make([]byte, 1<<16)) // the server has done it
	return len(b), nil
}

// checkpoint is an unsigned one of the log as it is.
func checkpoint(t testing.TB, d *Disclosing) (size int64, signed []byte) {
	t.Helper()
	size, err := d.Log.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) { return d.Log.ReadHashes(t.Context(), ids) }))
	if err != nil {
		t.Fatal(err)
	}
	c := torchwood.Checkpoint{Origin: "log.example", Tree: tlog.Tree{N: size, Hash: root}}
	return size, []byte(c.String() + "\n— log.example AAAAAAAA\n")
}

func saveCheckpoint(t testing.TB, d *Disclosing) {
	t.Helper()
	size, signed := checkpoint(t, d)
	if err := d.Log.SaveCheckpoint(t.Context(), size, signed); err != nil {
		t.Fatal(err, cause(err))
	}
}

// write is one write of one store: try runs it, and once checks that exactly
// one effect is there.
type write struct {
	try  func(ctx context.Context) error
	once func(t *testing.T)
}

// allWrites makes every write of both stores, each on new keys.
type allWrites struct {
	*testing.T
	admin string
	s     *Issuing
	d     *Disclosing
}

func writes(t *testing.T, admin string, s *Issuing, d *Disclosing) map[string]func() write {
	w := allWrites{t, admin, s, d}
	all := w.ofPeople()
	maps.Copy(all, w.ofSessions())
	maps.Copy(all, w.ofChanges())
	maps.Copy(all, w.ofPasskeys())
	maps.Copy(all, w.ofRecoveries())
	maps.Copy(all, w.ofAccounts())
	maps.Copy(all, w.ofNotices())
	maps.Copy(all, w.ofSignIns())
	maps.Copy(all, w.ofGrants())
	maps.Copy(all, w.ofLeaving())
	maps.Copy(all, w.ofCases())
	maps.Copy(all, w.ofOrders())
	maps.Copy(all, w.ofLog())
	return all
}

func (w allWrites) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err, cause(err))
	}
}

func is(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// leaves checks that the log grew by n since now.
func (w allWrites) leaves(n int64) func(t *testing.T) {
	d, ctx, must := w.d, context.Background(), w.must
	before, err := d.Log.Size(ctx)
	must(err)
	return func(t *testing.T) {
		t.Helper()
		after, err := d.Log.Size(ctx)
		must(err)
		is(t, "leaves appended", after-before, n)
	}
}

func (w allWrites) put(prepare func() openid.Row, version int64) func() write {
	s, ctx, must := w.s, context.Background(), w.must
	return func() write {
		row := prepare()
		return write{
			try: func(ctx context.Context) error { return s.Put(ctx, row) },
			once: func(t *testing.T) {
				got, err := s.Get(ctx, row.Kind, row.ID)
				must(err)
				is(t, "version", got.Version, version)
				is(t, "body", string(got.Body), string(row.Body))
				is(t, "ended", got.Ended, row.Ended)
			},
		}
	}
}

func (w allWrites) enrol(n int) func() write {
	s, d, ctx, must := w.s, w.d, context.Background(), w.must
	return func() write {
		es := make([]issue.Enrolment, n)
		for i := range es {
			es[i] = enrolment()
		}
		return write{
			try: func(ctx context.Context) error {
				errs := make([]error, n)
				var wg sync.WaitGroup
				for i, e := range es {
					wg.Go(func() {
						p, first, err := s.Enrol(ctx, e)
						if errs[i] = err; err == nil && (p != e.Person || !first) {
							errs[i] = fmt.Errorf("another person, or not the first: %v", first)
						}
					})
				}
				wg.Wait()
				return errors.Join(errs...)
			},
			once: func(t *testing.T) {
				for _, e := range es {
					p, err := s.Person(ctx, e.Fingerprint, e.Birth)
					must(err)
					is(t, "person", p, e.Person)
					_, err = oneRecord(ctx, d, p.Label)
					must(err)
				}
			},
		}
	}
}

// decision is an approval in a case of that quorum, which appends n leaves.
func (w allWrites) decision(quorum int, n int64) func() write {
	t, d, ctx, must, leaves := w.T, w.d, context.Background(), w.must, w.leaves
	return func() write {
		c := file(t, d, quorum)
		grew := leaves(n)
		return write{
			try: func(ctx context.Context) error {
				got, err := d.Cases.Apply(ctx, c.ID, approve("ombudsman"))
				if err == nil && len(got.Approvals) != 1 {
					return fmt.Errorf("%d approvals returned", len(got.Approvals))
				}
				return err
			},
			once: func(t *testing.T) {
				grew(t)
				got, err := d.Cases.Case(ctx, c.ID)
				must(err)
				is(t, "approvals", len(got.Approvals), 1)
				is(t, "authorised", got.State == disclose.Authorised, quorum == 1)
			},
		}
	}
}

// ofPeople are the writes of enrolment.
func (w allWrites) ofPeople() map[string]func() write {
	t, admin, s, ctx, must, enrol := w.T, w.admin, w.s, context.Background(), w.must, w.enrol
	return map[string]func() write{
		"Enrol":          enrol(1),
		"Enrol/together": enrol(5), // the first goes alone, the others share the next
		"Assign": func() write {
			a := assignment(t)
			return write{
				try: func(ctx context.Context) error { _, err := s.Assign(ctx, a); return err },
				once: func(t *testing.T) {
					names, err := s.Assigned(ctx, []token.Pseudonym{a.Pseudonym})
					must(err)
					is(t, "commitment", names[0].Commitment, a.Commitment)
				},
			}
		},
		"Reserve": func() write {
			a := assignment(t)
			return write{
				try: func(ctx context.Context) error { _, err := s.Reserve(ctx, a.Platform, a.Pseudonym, day); return err },
				once: func(t *testing.T) {
					handles, err := s.Reserved(ctx, []issue.PenName{{Pseudonym: a.Pseudonym, Platform: a.Platform}})
					must(err)
					is(t, "handle", handles[0], a.Pseudonym.Handle(token.MinHandle))
				},
			}
		},
		"Shuffle": func() write {
			n := value[int](t, admin, `SELECT count(*) FROM persons`)
			return write{try: s.Shuffle, once: func(t *testing.T) {
				is(t, "persons", value[int](t, admin, `SELECT count(*) FROM persons`), n)
			}}
		},
	}
}

func freshGrant() openid.Row {
	return openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Body: []byte(`{"a":1}`), Expires: day}
}

// ofSignIns are the writes of the OpenID provider.
func (w allWrites) ofSignIns() map[string]func() write {
	t, s, ctx, must, put, fresh := w.T, w.s, context.Background(), w.must, w.put, freshGrant
	stored := func() openid.Row {
		row := fresh()
		must(s.Put(ctx, row))
		row.Version, row.Body = 1, []byte(`{"a":2}`)
		return row
	}
	return map[string]func() write{
		"Put/insert":  put(fresh, 1),
		"Put/replace": put(stored, 2),
		"Put/end": put(func() openid.Row {
			row := stored()
			row.Body, row.Ended = nil, true
			return row
		}, 2),
		"EndAt": func() write {
			row := fresh()
			row.Holder = pseudonym(t)
			must(s.Put(ctx, row))
			return write{
				try: func(ctx context.Context) error {
					return s.EndAt(ctx, map[token.Pseudonym]time.Time{row.Holder: day}, nil, day)
				},
				once: func(t *testing.T) {
					got, err := s.Get(ctx, row.Kind, row.ID)
					must(err)
					is(t, "ends", got.Ends, day)
				},
			}
		},
		"Logouts": func() write {
			row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Holder: pseudonym(t), Tell: true, Body: []byte("{}"), Expires: day}
			must(s.Put(ctx, row))
			must(s.EndAt(ctx, map[token.Pseudonym]time.Time{row.Holder: day}, nil, day.AddDate(0, 1, 0)))
			return write{
				try: func(ctx context.Context) error {
					_, err := s.Logouts(ctx, func(ends time.Time) bool { return ends.Equal(day) }, day, day)
					return err
				},
				once: func(t *testing.T) {
					all, err := s.Logouts(ctx, nil, day, day)
					must(err)
					all = slices.DeleteFunc(all, func(r openid.Row) bool { return r.Holder != row.Holder })
					is(t, "logouts", len(all), 1)
					is(t, "version", all[0].Version, int64(1))
				},
			}
		},
		"EndAll": func() write {
			row := fresh()
			row.Holder = pseudonym(t)
			must(s.Put(ctx, row))
			return write{
				try: func(ctx context.Context) error { return s.EndAll(ctx, row.Holder, nil, day) },
				once: func(t *testing.T) {
					got, err := s.Get(ctx, row.Kind, row.ID)
					must(err)
					is(t, "ended", got.Ended, true)
					is(t, "version", got.Version, int64(2))
				},
			}
		},
		"Use": func() write {
			key := [32]byte(random(32))
			return write{
				try: func(ctx context.Context) error {
					if first, err := s.Use(ctx, key, day); err != nil || !first {
						return errors.Join(err, errors.New("was not first"))
					}
					return nil
				},
				once: func(t *testing.T) {
					first, err := s.Use(ctx, key, day)
					must(err)
					is(t, "first again", first, false)
				},
			}
		},
	}
}

// ofGrants are those writes that store a grant with what belongs to it.
func (w allWrites) ofGrants() map[string]func() write {
	t, s, ctx, must, fresh := w.T, w.s, context.Background(), w.must, freshGrant
	return map[string]func() write{
		"Put/entries": func() write {
			n, grant := int(random(1)[0])<<16|int(random(1)[0])<<8|int(random(1)[0]), fresh()
			must(s.Put(ctx, grant))
			grant.Version, grant.Entries = 1, []openid.Entry{{List: n, Index: 1, Expires: day}, {List: n, Index: 2, Expires: day}}
			return write{
				try: func(ctx context.Context) error { return s.Put(ctx, grant) },
				once: func(t *testing.T) {
					other := fresh()
					other.Entries = grant.Entries[1:]
					if err := s.Put(ctx, other); !errors.Is(err, openid.ErrTaken) {
						t.Errorf("given again: %v", err)
					}
				},
			}
		},
		"Claim": func() write {
			holder := pseudonym(t)
			for range 2 {
				row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Holder: holder, Tell: true, Body: []byte("{}"), Expires: day}
				must(s.Put(ctx, row))
			}
			must(s.EndAll(ctx, holder, nil, day))
			theirs := func() []openid.Row {
				all, err := s.Logouts(ctx, nil, day, day)
				must(err)
				return slices.DeleteFunc(all, func(r openid.Row) bool { return r.Holder != holder })
			}
			rows := theirs()
			return write{
				try: func(ctx context.Context) error { return s.Claim(ctx, rows) },
				once: func(t *testing.T) {
					for _, row := range theirs() {
						is(t, "version", row.Version, int64(2))
					}
				},
			}
		},
		"Answer": func() write {
			session, grant := fresh(), fresh()
			session.Kind = openid.KindSession
			must(s.Put(ctx, session))
			session.Version, session.Body = 1, []byte(`{"answer":1}`)
			return write{
				try: func(ctx context.Context) error { return s.Answer(ctx, session, grant) },
				once: func(t *testing.T) {
					stored, err := s.Get(ctx, session.Kind, session.ID)
					must(err)
					is(t, "answered", string(stored.Body), string(session.Body))
					_, err = s.Get(ctx, grant.Kind, grant.ID)
					must(err)
				},
			}
		},
	}
}

// ofSessions are the writes of people's sessions.
func (w allWrites) ofSessions() map[string]func() write {
	s, ctx, must := w.s, context.Background(), w.must
	return map[string]func() write{
		"BeginSession": func() write {
			p, session := enrolment().Person, issue.NewSession("phone", day)
			return write{
				try: func(ctx context.Context) error {
					_, err := s.BeginSession(ctx, p, session)
					return err
				},
				once: func(t *testing.T) {
					sessions, err := s.Sessions(ctx, p, day)
					must(err)
					is(t, "there", slices.ContainsFunc(sessions, func(o issue.Session) bool { return o.ID == session.ID }), true)
				},
			}
		},
		"EndSession": func() write {
			p := enrolment().Person
			session, err := s.BeginSession(ctx, p, issue.NewSession("", day))
			must(err)
			return write{
				try: func(ctx context.Context) error { return s.EndSession(ctx, session) },
				once: func(t *testing.T) {
					live, _, err := s.Live(ctx, p, session)
					must(err)
					is(t, "live", live, false)
				},
			}
		},
		"EndSessions": func() write {
			p := enrolment().Person
			session, err := s.BeginSession(ctx, p, issue.NewSession("", day))
			must(err)
			return write{
				try: func(ctx context.Context) error { return s.EndSessions(ctx, p) },
				once: func(t *testing.T) {
					live, _, err := s.Live(ctx, p, session)
					must(err)
					is(t, "live", live, false)
				},
			}
		},
	}
}

// ofChanges are those of what changed in an account.
func (w allWrites) ofChanges() map[string]func() write {
	s, ctx, must := w.s, context.Background(), w.must
	of := func(change func(context.Context, issue.Person) error) func() write {
		return func() write {
			p := enrolment().Person
			return write{
				try: func(ctx context.Context) error { return change(ctx, p) },
				once: func(t *testing.T) {
					all, err := s.Changes(ctx, p, day)
					must(err)
					is(t, "noted", len(all), 1)
				},
			}
		}
	}
	return map[string]func() write{
		"Change": of(func(ctx context.Context, p issue.Person) error {
			return s.Change(ctx, p, issue.Change{Day: day, Kind: issue.ChangeClaims})
		}),
		"EndSessions, noted": of(func(ctx context.Context, p issue.Person) error {
			return s.EndSessions(ctx, p, issue.Change{Day: day, Kind: issue.ChangeAllOut})
		}),
		"ChangeName": func() write {
			name := pseudonym(w.T)
			return write{
				try: func(ctx context.Context) error { return s.ChangeName(ctx, name, issue.ChangeLeft, day) },
				once: func(t *testing.T) {
					all, err := s.ChangesOfNames(ctx, name)
					must(err)
					is(t, "noted", len(all[0]), 1)
				},
			}
		},
	}
}

// ofLeaving are those of somebody who leaves.
func (w allWrites) ofLeaving() map[string]func() write {
	t, s, ctx, must := w.T, w.s, context.Background(), w.must
	return map[string]func() write{
		"EndAt, with an event": func() write {
			e := openid.Row{Kind: openid.KindLogout, ID: [32]byte(random(32)), Holder: pseudonym(t), Body: []byte("{}")}
			return write{
				try: func(ctx context.Context) error {
					return s.EndAt(ctx, map[token.Pseudonym]time.Time{e.Holder: day}, []openid.Row{e}, day.AddDate(0, 1, 0))
				},
				once: func(t *testing.T) {
					all, err := s.Logouts(ctx, func(ends time.Time) bool { return ends.Equal(day) }, day, day)
					must(err)
					n := 0
					for _, row := range all {
						if row.Holder == e.Holder {
							n++
						}
					}
					is(t, "told of", n, 1)
				},
			}
		},
		"Withdraw": func() write {
			p := enrolment().Person
			return write{
				try: func(ctx context.Context) error { return s.Withdraw(ctx, p, "here", day.Add(time.Hour)) },
				once: func(t *testing.T) {
					at, err := s.Withdrawn(ctx, p, "here", day)
					must(err)
					is(t, "withdrawn", at.UTC(), day.Add(time.Hour))
				},
			}
		},
	}
}

// ofCases are the writes of cases.
func (w allWrites) ofCases() map[string]func() write {
	t, d, ctx, must, leaves, decision := w.T, w.d, context.Background(), w.must, w.leaves, w.decision
	return map[string]func() write{
		"File": func() write {
			c, leaf := newCaseUnder(t, d, 2)
			grew := leaves(1)
			return write{
				try: func(ctx context.Context) error { _, err := d.Cases.File(ctx, c, leaf); return err },
				once: func(t *testing.T) {
					grew(t)
					got, err := d.Cases.Case(ctx, c.ID)
					must(err)
					is(t, "salt", got.Salt, c.Salt)
				},
			}
		},
		"File/withdrawal": func() write {
			stopped := file(t, d, 2)
			c, leaf := withdrawalOf(t, d, stopped)
			grew := leaves(1)
			return write{
				try: func(ctx context.Context) error { _, err := d.Cases.File(ctx, c, leaf); return err },
				once: func(t *testing.T) {
					grew(t)
					got, err := d.Cases.Case(ctx, stopped.ID)
					must(err)
					is(t, "state", got.State, disclose.Withdrawn)
				},
			}
		},
		"Refuse": func() write {
			id := hex.EncodeToString(random(16))
			grew := leaves(1)
			return write{
				try: func(ctx context.Context) error {
					return d.Cases.Refuse(ctx, "court", id, proof.Leaf{Version: 1, Kind: proof.KindRefused, Day: "2026-11-21", Code: "warrant.expired"})
				},
				once: grew,
			}
		},
		"Apply":        decision(2, 1),
		"Apply/quorum": decision(1, 2),
	}
}

// ofOrders are the writes of orders that are decided target by target.
func (w allWrites) ofOrders() map[string]func() write {
	t, s, d, ctx, must := w.T, w.s, w.d, context.Background(), w.must
	order := func(kind string) disclose.Case {
		c, leaf := disclosetest.Order(t, kind, 2)
		underCurrent(t, d, &c, &leaf)
		if kind == policy.Emergency {
			c.ValidateBy = day
		}
		c, err := d.Cases.File(ctx, c, leaf)
		must(err)
		apply(t, d, c.ID, disclosetest.Votes("bar", 0))
		return c
	}
	asks := func(ctx context.Context, c disclose.Case) error {
		_, err := d.Cases.Link(ctx, c.ID, []byte("order"))
		if errors.Is(err, disclose.ErrLinkWaits) {
			return nil
		}
		return err
	}
	applies := func(c disclose.Case, leaves int64, change func(disclose.Case) (disclose.Change, error), once func(*testing.T, disclose.Case)) write {
		grew := w.leaves(leaves)
		return write{
			try: func(ctx context.Context) error { _, err := d.Cases.Apply(ctx, c.ID, change); return err },
			once: func(t *testing.T) {
				grew(t)
				got, err := d.Cases.Case(ctx, c.ID)
				must(err)
				once(t, got)
			},
		}
	}
	return map[string]func() write{
		"Link": func() write {
			c := order(policy.Link)
			return write{
				try: func(ctx context.Context) error { return asks(ctx, c) },
				once: func(t *testing.T) {
					is(t, "orders", value[int](t, w.admin, `SELECT count(*) FROM link_orders WHERE ask IS NOT NULL AND case_id = $1`, c.ID), 1)
				},
			}
		},
		"AnswerLink": func() write {
			c := order(policy.Link)
			must(asks(ctx, c))
			return write{
				try: func(ctx context.Context) error { return s.AnswerLink(ctx, c.ID, []byte("names"), "") },
				once: func(t *testing.T) {
					answer, err := d.Cases.Link(ctx, c.ID, nil)
					must(err)
					is(t, "answer", string(answer), "names")
				},
			}
		},
		"Suspend": func() write {
			name := pseudonym(t)
			return applies(suspending(t, d, "town-square", name), 2, approve("bar"), func(t *testing.T, _ disclose.Case) {
				all, err := s.Suspensions(ctx, day, name)
				must(err)
				is(t, "suspensions", len(all), 1)
			})
		},
		"StateDeletion": func() write {
			c := apply(t, d, order(policy.Production).ID, disclosetest.Packs(0))
			states := func(c disclose.Case) (disclose.Change, error) {
				return c.StateDeletion("It is deleted.", opening.DeletionMAC(c.DeletionReceipt(), "It is deleted."), day)
			}
			return applies(c, 1, states, func(t *testing.T, c disclose.Case) { is(t, "stated", c.Deletion != nil, true) })
		},
		"Lapse": func() write {
			lapse := func(c disclose.Case) (disclose.Change, error) {
				if c.LapsedLeaf != 0 {
					return disclose.Change{}, errDecided
				}
				return c.Lapse(day)
			}
			return applies(order(policy.Emergency), 1, lapse, func(t *testing.T, c disclose.Case) { is(t, "state", c.State, disclose.Lapsed) })
		},
	}
}

// ofLog are the writes of rules and of the log.
func (w allWrites) ofLog() map[string]func() write {
	t, admin, d, ctx, must, leaves := w.T, w.admin, w.d, context.Background(), w.must, w.leaves
	return map[string]func() write{
		"Install": func() write {
			bundle := []byte(fmt.Sprintf(`{"a":"%x"}`, random(8)))
			grew := leaves(1)
			return write{
				try: func(ctx context.Context) error { return install(ctx, d, bundle, nil) },
				once: func(t *testing.T) {
					grew(t)
					got, _, err := d.Bundles.Current(ctx)
					must(err)
					is(t, "bundle", string(got), string(bundle))
				},
			}
		},
		"Restore": func() write {
			c := file(t, d, 1)
			f := futureOf(t, d)
			f.add(t, approvedLeaf(&c, "bar"))
			f.add(t, leafOf(&c, proof.KindAuthorised))
			grew := leaves(2)
			return write{
				try: func(ctx context.Context) error { return d.Restore(ctx, f.from, f.leaves(t, f.from), nil) },
				once: func(t *testing.T) {
					grew(t)
					got, err := d.Cases.Case(ctx, c.ID)
					must(err)
					is(t, "state", got.State, disclose.Lost)
					is(t, "authorised", got.Rounds[0].AuthorisedLeaf, f.from+1)
				},
			}
		},
		"SaveCheckpoint": func() write {
			file(t, d, 1)
			size, signed := checkpoint(t, d)
			rows := value[int](t, admin, `SELECT count(*) FROM log_checkpoints`)
			return write{
				try: func(ctx context.Context) error { return d.Log.SaveCheckpoint(ctx, size, signed) },
				once: func(t *testing.T) {
					is(t, "checkpoints", value[int](t, admin, `SELECT count(*) FROM log_checkpoints`), rows+1)
				},
			}
		},
	}
}

// shuffleFirst orders writes by name, with Shuffle in front: it has a message for each few rows
// that the others stored.
func shuffleFirst(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "Shuffle":
		return -1
	case b == "Shuffle":
		return 1
	}
	return strings.Compare(a, b)
}

// F07 and F40: the connection is lost at every message that a write sends, once
// before the server got it and once after it did. The outcome is the same as
// without the loss: the write is there exactly once, and its caller is told so.
func TestF07LostAtEveryMessage(t *testing.T) {
	admin := database(t)
	n := new(network)
	s, d := issuing(t, admin, Options{Dial: n.dial, MaxConns: 2}), disclosing(t, admin, Options{Dial: n.dial, MaxConns: 2})
	s.rests = 0
	all := writes(t, admin, s, d)
	for _, name := range slices.SortedFunc(maps.Keys(all), shuffleFirst) {
		begin := all[name]
		t.Run(name, func(t *testing.T) {
			for _, after := range []bool{false, true} {
				skip := 0
				for ; ; skip++ {
					w := begin()
					n.arm(skip, after, false)
					err := w.try(t.Context())
					hit := n.mend()
					if err != nil {
						t.Fatalf("message %d, after=%v: %v: %v", skip, after, err, cause(err))
					}
					w.once(t)
					if !hit {
						break
					}
				}
				if skip == 0 {
					t.Fatal("nothing was cut")
				}
			}
		})
	}
	if err := d.Check(t.Context()); err != nil {
		t.Fatal(err, cause(err))
	}
}

// F40: the database goes away in the middle and stays away. The caller is told
// that it is unavailable, or that the outcome is unknown; repeating the call
// when it is back has one effect.
func TestF40AwayAndBack(t *testing.T) {
	admin := database(t)
	n := new(network)
	s, d := issuing(t, admin, Options{Dial: n.dial, MaxConns: 2}), disclosing(t, admin, Options{Dial: n.dial, MaxConns: 2})
	unknown := 0
	for name, begin := range writes(t, admin, s, d) {
		if name == "Shuffle" { // repeated within the hour anyway
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, after := range []bool{false, true} {
				for skip := 0; ; skip++ {
					w := begin()
					n.arm(skip, after, true)
					err := w.try(t.Context())
					hit := n.mend()
					if !hit && err == nil {
						break
					}
					if !hit || err == nil && !after {
						t.Fatalf("message %d: %v", skip, err)
					}
					if err != nil {
						if r := refusal.Of(err); r == nil || r.Kind != refusal.Unavailable {
							t.Fatalf("message %d, after=%v: %v", skip, after, err)
						}
						if errors.Is(err, ErrUnknown) {
							unknown++
						}
						// "Again" of a caller who lost the answer: these say that it was done.
						if err := w.try(t.Context()); err != nil && !(errors.Is(err, ErrUnknown) || after && told(name, err)) {
							t.Fatalf("again, message %d, after=%v: %v: %v", skip, after, err, cause(err))
						}
					}
					w.once(t)
				}
			}
		})
	}
	if unknown == 0 {
		t.Error("no outcome was unknown")
	}
	consistent(t, d)
}

// told reports whether a write's second call by a new caller, after the first
// was stored, rightly says that it was done before.
func told(name string, err error) bool {
	switch name {
	case "Put/insert", "Put/replace", "Put/end", "Put/entries", "Answer", "Claim":
		return errors.Is(err, openid.ErrStale)
	case "Apply", "Apply/quorum", "Suspend", "Lapse":
		return errors.Is(err, errDecided)
	case "AddPasskey", "CountPasskey", "SetContact", "TakeClaims":
		return errors.Is(err, errNotNow)
	case "Object":
		return errors.Is(err, issue.ErrTooLate)
	}
	return name == "Use"
}

// F08: a request that is cancelled while it commits is committed, or is not;
// it is never reported as failed and there, and the COMMIT is not cancelled.
func TestF08CancelledAtEveryMessage(t *testing.T) {
	admin := database(t)
	cancelAt := &cancelling{}
	s, d := issuing(t, admin, Options{Dial: cancelAt.dial, MaxConns: 2}), disclosing(t, admin, Options{Dial: cancelAt.dial, MaxConns: 2})
	for name, begin := range writes(t, admin, s, d) {
		if name == "Shuffle" { // several transactions
			continue
		}
		t.Run(name, func(t *testing.T) {
			for skip := 0; ; skip++ {
				w := begin()
				ctx, cancel := context.WithCancel(t.Context())
				cancelAt.arm(skip, cancel)
				err := w.try(ctx)
				hit := cancelAt.disarm()
				cancel()
				if err != nil { // then nothing was stored, and a second try is the first
					if err := w.try(t.Context()); err != nil {
						t.Fatalf("message %d: stored, but reported as failed: %v", skip, err)
					}
				}
				w.once(t)
				if !hit {
					break
				}
			}
		})
	}
	consistent(t, d)
}

// cancelling cancels a context when the client sends a chosen message.
type cancelling struct {
	mu     sync.Mutex
	skip   int
	cancel context.CancelFunc
}

func (c *cancelling) dial(ctx context.Context, netw, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, netw, addr)
	return &cancelConn{conn, c}, err
}

func (c *cancelling) arm(skip int, cancel context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skip, c.cancel = skip, cancel
}

func (c *cancelling) disarm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	hit := c.cancel == nil
	c.cancel = nil
	return hit
}

type cancelConn struct {
	net.Conn
	c *cancelling
}

func (c *cancelConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	if c.c.cancel != nil {
		if c.c.skip == 0 {
			c.c.cancel()
			c.c.cancel = nil
		}
		c.c.skip--
	}
	return n, err
}

// D19: 40001 and 40P01 are repeated, within bounds and without a double effect.
func TestD19SerialisationFailures(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	c := file(t, d, 2)
	sql(t, admin, `
		CREATE SEQUENCE storm;
		CREATE FUNCTION storm() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = penname AS $$
		BEGIN
		  IF nextval('storm') <= 4 THEN
		    RAISE EXCEPTION 'storm' USING ERRCODE = (ARRAY['40001', '40P01'])[1 + abs(currval('storm')) % 2];
		  END IF;
		  RETURN NEW;
		END $$;
		CREATE TRIGGER storm BEFORE INSERT ON approvals FOR EACH ROW EXECUTE FUNCTION storm()`)
	got := apply(t, d, c.ID, approve("ombudsman"))
	if n, err := d.Log.Size(t.Context()); n != 2 || err != nil || len(got.Approvals) != 1 {
		t.Errorf("after four failures: %d leaves, %d approvals, %v", n, len(got.Approvals), err)
	}
	sql(t, admin, `ALTER SEQUENCE storm RESTART MINVALUE -100000 START -100000`)
	before := value[int](t, admin, `SELECT nextval('storm')`)
	_, err := d.Cases.Apply(t.Context(), c.ID, approve("bar"))
	wantErr(t, "an endless storm", err, ErrBusy)
	if n := value[int](t, admin, `SELECT nextval('storm')`) - before - 1; n != 8 {
		t.Errorf("%d attempts, want 8", n)
	}
	if n, err := d.Log.Size(t.Context()); n != 2 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
	consistent(t, d)
}

// D20: an exhausted pool is a refusal in bounded time, and a panic inside a
// transaction gives its connection and its locks back.
func TestD20PoolExhausted(t *testing.T) {
	d := disclosing(t, database(t), Options{MaxConns: 1})
	c := file(t, d, 2)
	d.wait = 200 * time.Millisecond // only now: the first connection may take its time
	_, err := d.Cases.Apply(t.Context(), c.ID, func(disclose.Case) (disclose.Change, error) {
		_, err := d.Cases.Case(t.Context(), c.ID)
		wantErr(t, "no free connection", err, ErrBusy)
		wantErr(t, "no free connection", d.Cases.Refuse(t.Context(), c.Authority, c.WarrantID, proof.RefusedLeaf(day, "warrant.expired")), ErrBusy)
		return disclose.Change{}, errDecided
	})
	wantErr(t, "Apply", err, errDecided)

	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		d.Cases.Apply(t.Context(), c.ID, func(disclose.Case) (disclose.Change, error) { panic("in a pipeline") })
	}()
	d.wait = 5 * time.Second
	apply(t, d, c.ID, approve("ombudsman"))
	if err := d.read(t.Context(), func(ctx context.Context, c *pgxpool.Conn) error { return c.Ping(ctx) }); err != nil {
		t.Error(err)
	}
}

// A database that is not there is a refusal, and its text holds no address.
func TestUnreachableDatabase(t *testing.T) {
	_, err := OpenDisclosing(t.Context(), "postgres://user:pass-word@127.0.0.1:1/none", Options{Wait: time.Second})
	wantErr(t, "open", err, ErrUnavailable)
}
