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
	state                                disclose.State
	authorised, released, expired, noted bool
	packed                               bool
}

// shapes walks [disclose.Life] from its beginning and returns every shape that a
// case can have.
func shapes() map[shape]bool {
	known := map[shape]bool{}
	var walk func(shape)
	walk = func(s shape) {
		if known[s] {
			return
		}
		known[s] = true
		for _, row := range disclose.Life {
			if !slices.Contains(row.From, s.state) {
				continue
			}
			next := s
			if row.To != "" {
				next.state = row.To
			}
			switch row.Event {
			case disclose.Lose: // one of the leaves that a case keeps, or another one
				walk(next)
				next.authorised = true
				walk(next)
				next.released = true
				walk(next)
				continue
			case disclose.Expire:
				if s.released {
					continue // disclose.Case.Restore
				}
			case disclose.Notify:
				if !s.released {
					continue // what was not released is told to nobody
				}
				lost := next // a restored backup may lack the package
				lost.noted, lost.packed = true, false
				walk(lost)
			case disclose.Release:
				next.packed = true
			}
			next.authorised = next.authorised || row.Leaf == proof.KindAuthorised
			next.released = next.released || row.Leaf == proof.KindReleased
			next.expired = next.expired || row.Leaf == proof.KindExpired
			next.noted = next.noted || row.Leaf == proof.KindNoticed
			walk(next)
		}
	}
	walk(shape{state: disclose.Recorded})
	return known
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
		  recorded_leaf, authorised_leaf, released_leaf, expired_leaf, noticed_leaf, package)
		VALUES ($1, $2, 'court', $1, 'production', '{}', '', $3, 1, $4, $5, $5, $5, $6, $7, $8, $9, $10, $11)`,
		c.ID, c.WarrantHash[:], c.Salt[:], string(s.state), day, leaf,
		leafIf(s.authorised, 1), leafIf(s.released, 2), leafIf(s.expired, 3), leafIf(s.noted, 4), pack)
	return c.ID, leaf, err
}

// The CHECKs of a case let through exactly what [disclose.Life] can make of one.
func TestTheSchemaKnowsTheShapesOfACase(t *testing.T) {
	r := newRowsOfCases(t, database(t))
	possible := shapes()
	for _, state := range append(slices.Clone(disclose.States), "open") {
		for bits := range 1 << 5 {
			s := shape{state, bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0, bits&16 != 0}
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
	legal := map[[2]disclose.State]bool{}
	for _, row := range disclose.Life {
		for _, from := range row.From {
			if row.To != "" {
				legal[[2]disclose.State{from, row.To}] = true
			}
		}
	}
	possible := shapes()
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
		err := exec(`INSERT INTO cases (id, warrant_hash, authority, warrant_id, kind, submission, bundle, salt, quorum, state, secrecy_ends, expires, approve_from, recorded_leaf)
			VALUES ('%s', '\x%x', 'c', 'w%s', 'production', '{}', '', '\x%x', 1, '%s', now(), now(), now(), 9990)`, c.ID, c.WarrantHash, to, c.Salt, to)
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
