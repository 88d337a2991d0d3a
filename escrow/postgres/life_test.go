package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/verifier/proof"
)

// shape is what the schema asks of a state: which leaves are there, and whether
// the package is.
type shape struct {
	state                                        disclose.State
	authorised, released, expired, noted, lapsed bool
	packed                                       bool
}

// lives is everything that [disclose.Life] and [disclose.TargetLife] can make of a case of two
// targets: its shapes, and its steps from one state to another.
type lives struct {
	shapes  map[shape]bool
	arrows  map[[2]disclose.State]bool
	targets map[[2]disclose.TargetState]bool
	seen    map[string]bool
}

func walkedLife() lives {
	l := lives{map[shape]bool{}, map[[2]disclose.State]bool{}, map[[2]disclose.TargetState]bool{}, map[string]bool{}}
	l.walk(disclose.Case{State: disclose.Recorded, RecordedLeaf: 1, ValidateBy: day, Targets: slices.Repeat([]disclose.CaseTarget{{State: disclose.TargetWaiting}}, 2)}, false)
	return l
}

func (l *lives) walk(c disclose.Case, packed bool) {
	var first disclose.Round
	if len(c.Rounds) > 0 {
		first = c.Rounds[0]
	}
	l.shapes[shape{c.State, first.AuthorisedLeaf != 0, first.ReleasedLeaf != 0, c.ExpiredLeaf != 0, c.NoticedLeaf != 0, c.LapsedLeaf != 0, packed}] = true
	if key := fmt.Sprint(c, packed); l.seen[key] {
		return
	} else {
		l.seen[key] = true
	}
	for _, row := range disclose.Life {
		if slices.Contains(row.From, c.State) {
			l.step(c, packed, row, nil)
			if slices.Contains([]disclose.Event{disclose.Authorise, disclose.Fail, disclose.Withdraw, disclose.Annul, disclose.Release, disclose.Break}, row.Event) {
				l.step(c, packed, row, []int{0})
				l.step(c, packed, row, []int{1})
			}
		}
	}
}

// step walks on by one event, unless the registrar does not let it happen so.
func (l *lives) step(c disclose.Case, packed bool, row disclose.Transition, which []int) {
	released := slices.ContainsFunc(c.Targets, func(t disclose.CaseTarget) bool { return t.State == disclose.TargetReleased })
	kinds := row.Leaf
	switch row.Event {
	case disclose.Expire:
		if released {
			return // it is closed
		}
	case disclose.Close, disclose.Notify:
		if !released {
			return // it expires, and nobody is told
		}
	case disclose.Break:
		if which == nil || c.Targets[0].State != c.Targets[1].State {
			return // another target of the round is released
		}
	case disclose.Lapse:
		if c.LapsedLeaf != 0 {
			return
		}
	case disclose.Approve, disclose.Decline, disclose.Extend, disclose.ChangeSecret, disclose.Validate, disclose.Delete:
		return // they move nothing, but for what no shape shows
	case disclose.Lose: // one of the leaves that a case keeps, or another one
		kinds = []proof.Kind{proof.KindApproved, proof.KindAuthorised, proof.KindReleased}
	}
	for _, kind := range kinds {
		for round := range max(1, len(c.Rounds)) {
			var indices []int64
			if kind != "" {
				indices = []int64{5}
			}
			after, err := c.After(disclose.Change{Round: round, Later: &disclose.Later{Leaf: 5},
				Steps: []disclose.Step{{Event: row.Event, Leaf: proof.Leaf{Kind: kind}, Which: which, Code: "warrant.data_erased"}}}, indices...)
			if err != nil || len(after.Rounds) > 2 {
				continue
			}
			after.DeclinedLeaf, after.Annulments = 0, nil // no shape shows them
			if after.State != c.State || row.Event == disclose.Lose {
				l.arrows[[2]disclose.State{c.State, after.State}] = true
			}
			for i, t := range after.Targets {
				if t.State != c.Targets[i].State {
					l.targets[[2]disclose.TargetState{c.Targets[i].State, t.State}] = true
				}
			}
			l.walk(after, packed || row.Event == disclose.Release && round == 0)
			if row.Event == disclose.Notify {
				l.walk(after, false) // a restored backup may lack the package
			}
		}
	}
}

// rowsOfCases writes cases past every trigger, and past the log: what is tested
// is what the schema lets through.
type rowsOfCases struct {
	conn *pgx.Conn
	next int // free leaf
}

func newRowsOfCases(t *testing.T, admin string) *rowsOfCases {
	t.Helper()
	r := &rowsOfCases{conn: connect(t, admin)}
	for _, statement := range []string{`SET search_path = penname`, `SET session_replication_role = replica`,
		`INSERT INTO log_leaves (index, leaf) SELECT i, convert_to('{}', 'UTF8') FROM generate_series(0, 9999) i`} {
		if _, err := r.conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// insert writes a case of that shape, and returns its id and its recorded leaf.
func (r *rowsOfCases) insert(t *testing.T, s shape) (id string, leaf int, err error) {
	t.Helper()
	c, _ := newCase(1)
	leaf, r.next = r.next, r.next+10
	leafIf := func(is bool, n int) any {
		if is {
			return leaf + n
		}
		return nil
	}
	var pack []byte
	if s.packed {
		pack = []byte("package")
	}
	_, err = r.conn.Exec(t.Context(), `
		INSERT INTO cases (id, warrant_hash, authority, warrant_id, kind, submission, bundle, salt, quorum, state, secrecy_ends, expires, approve_from,
		  recorded_leaf, authorised_leaf, released_leaf, expired_leaf, noticed_leaf, lapsed_leaf, package, targets, day, validate_by)
		VALUES ($1, $2, 'court', $1, 'production', '{}', '', $3, 1, $4, $5, $5, $5, $6, $7, $8, $9, $10, $11, $12, 1, '2026-11-21', $5)`,
		c.ID, c.WarrantHash[:], c.Salt[:], string(s.state), day, leaf,
		leafIf(s.authorised, 1), leafIf(s.released, 2), leafIf(s.expired, 3), leafIf(s.noted, 4), leafIf(s.lapsed, 7), pack)
	return c.ID, leaf, err
}

// The CHECKs of a case let through exactly what [disclose.Life] can make of one.
func TestTheSchemaKnowsTheShapesOfACase(t *testing.T) {
	r := newRowsOfCases(t, database(t))
	possible := walkedLife().shapes
	for _, state := range append(slices.Clone(disclose.States), "open") {
		for bits := range 1 << 6 {
			s := shape{state, bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0, bits&32 != 0, bits&16 != 0}
			_, _, err := r.insert(t, s)
			if code, _ := sqlState(err); possible[s] != (err == nil) || err != nil && code != "23514" {
				t.Errorf("%+v: possible %v, %v", s, possible[s], err)
			}
		}
	}
}

// The trigger lets a case move as [disclose.Life] says, from every state to every
// other, and no other way.
func TestTheTriggerKnowsTheLifeOfACase(t *testing.T) {
	admin := database(t)
	r := newRowsOfCases(t, admin)
	exec := func(format string, args ...any) error {
		_, err := r.conn.Exec(t.Context(), fmt.Sprintf(format, args...))
		return err
	}
	known := walkedLife()
	possible, legal := known.shapes, known.arrows
	for from := range possible {
		for _, to := range disclose.States {
			if err := exec(`SET session_replication_role = replica`); err != nil {
				t.Fatal(err)
			}
			id, leaf, err := r.insert(t, from)
			if err != nil {
				t.Fatalf("%+v: %v", from, err)
			}
			// What the other rules ask for is there: only the arrow is in question.
			for _, statement := range []string{
				`INSERT INTO approvals (case_id, custodian, approved, signed, leaf) VALUES ('%[1]s', 'bar', true, 's', %[2]d + 6)`,
				`INSERT INTO lost_leaves (leaf) VALUES (%[2]d + 5)`,
				`UPDATE log_leaves SET leaf = convert_to('{"case":%[2]d,"warrant_kind":"withdrawal"}', 'UTF8') WHERE index IN (%[2]d + 5, 9999)`,
				`SET session_replication_role = DEFAULT`,
			} {
				if err := exec(statement+`/* %[1]s %[2]d */`, id, leaf); err != nil {
					t.Fatal(err)
				}
			}
			err = exec(`UPDATE cases SET state = '%s' WHERE id = '%s'`, to, id)
			_, name := sqlState(err)
			if refused := name == "cases_transition"; refused == legal[[2]disclose.State{from.state, to}] {
				t.Errorf("%s → %s: legal %v, %v", from.state, to, !refused, err)
			}
		}
	}
	for _, to := range disclose.States {
		c, _ := newCase(1)
		err := exec(`INSERT INTO cases (id, warrant_hash, authority, warrant_id, kind, submission, bundle, salt, quorum, state, secrecy_ends, expires, approve_from, recorded_leaf, day)
			VALUES ('%s', '\x%x', 'c', 'w%s', 'production', '{}', '', '\x%x', 1, '%s', now(), now(), now(), 9990, '2026-11-21')`, c.ID, c.WarrantHash, to, c.Salt, to)
		if _, name := sqlState(err); (name == "cases_transition") == (to == disclose.Recorded) {
			t.Errorf("begins as %s: %v", to, err)
		}
	}
	for table, events := range map[string][]disclose.Event{"approvals": {disclose.Approve, disclose.Decline}, "notices": {disclose.Notify}} {
		var want []string
		for _, row := range disclose.Life {
			for _, from := range row.From {
				if row.To != "" {
					from = row.To // the state is written first
				}
				if slices.Contains(events, row.Event) && !slices.Contains(want, string(from)) {
					want = append(want, string(from))
				}
			}
		}
		have := value[string](t, admin, `SELECT encode(tgargs, 'escape') FROM pg_trigger WHERE tgname = 'case_is_in' AND tgrelid = $1::regclass`, table)
		states := strings.Fields(strings.TrimSuffix(have, `\000`))
		if slices.Sort(states); !slices.Equal(states, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s in the states %v, want %v", table, states, want)
		}
	}
}
