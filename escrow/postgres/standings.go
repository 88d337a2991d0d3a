package postgres

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/proof"
)

// places are the rows that tell how somebody who is signed in stands.
type places struct {
	label           string
	end, generation []byte   // of the session
	recovery        []byte   // place of one
	names           [][]byte // rowsAtOnce of each name
	notes           [][]byte // notePlaces
	suspensions     [][]byte // of each name
	whose           []byte
}

// standing is what was found, by table and key. Callers who asked together share it.
type standing map[standingKey][]standingRow

type standingKey struct{ table, key string }

type standingRow struct {
	hidden []byte
	day    *time.Time // of a pen name, or when an acceptance is due
	leaf   *int64     // of a suspension
	until  *time.Time // likewise
	id     *string    // of a review
}

// Standing implements [issue.Store]. At a glance: what ends a session is there or needs no
// standby; a suspension refuses; of pen names see Assigned. What is noted, or waits for the
// person, is held by a standby before it is shown, as Noted and Acceptances have it.
func (s *Issuing) Standing(ctx context.Context, now time.Time, q issue.Question) (issue.Standing, error) {
	asked := places{label: q.Person.Label, end: s.rows.endPlace(q.Session.ID), generation: s.rows.generationPlace(q.Person, q.Session.Generation),
		recovery: s.rows.recoveryPlace(q.Person), notes: s.rows.notePlaces(q.Names), whose: q.Whose}
	for _, name := range q.Names {
		for n := range rowsAtOnce {
			asked.names = append(asked.names, s.rows.place(string(name), n))
		}
		asked.suspensions = append(asked.suspensions, s.rows.suspensionPlace(name))
	}
	shared, err := s.standings.Do(ctx, asked)
	if err != nil {
		return issue.Standing{}, refused(ctx, err)
	}
	found := shared[0]
	has := func(table string, key []byte) bool { return len(found[standingKey{table, string(key)}]) > 0 }
	st := issue.Standing{Live: !has("sessions", asked.end) && !has("sessions", asked.generation), Asked: has("erasures", []byte(q.Person.Label)),
		Noted: make([]map[issue.NoteKind][]byte, len(q.Names))}
	for i, place := range asked.notes {
		for _, row := range found[standingKey{"notes", string(place)}] {
			text, err := s.rows.unlock(place, row.hidden)
			if err != nil {
				return issue.Standing{}, err
			}
			addNote(st.Noted, i, text)
		}
	}
	for _, row := range found[standingKey{"sessions", string(asked.recovery)}] {
		if st.Recovery, err = s.rows.unlockRecovery(asked.recovery, row.hidden); err != nil {
			return issue.Standing{}, err
		}
	}
	if st.Assigned, err = s.assignedOf(ctx, q, asked, found); err != nil {
		return issue.Standing{}, err
	}
	for _, place := range asked.suspensions {
		for _, row := range found[standingKey{"suspensions", string(place)}] {
			one, err := s.rows.unlockSuspension(*row.leaf, place, row.hidden)
			if err != nil {
				return issue.Standing{}, err
			}
			if row.until.After(now) {
				st.Suspensions = append(st.Suspensions, one)
			}
		}
	}
	slices.SortStableFunc(st.Suspensions, func(a, b issue.Suspension) int { return cmp.Compare(a.InForce, b.InForce) })
	for _, row := range found[standingKey{"reviews", string(q.Whose)}] {
		st.Acceptances = append(st.Acceptances, issue.Review{Reference: *row.id, Whose: q.Whose, Outcome: proof.Accepted, From: *row.day})
	}
	slices.SortFunc(st.Acceptances, func(a, b issue.Review) int { return strings.Compare(a.Reference, b.Reference) })
	return st, nil
}

// assignedOf are the names that exist. If one has as many rows as were looked for it may have
// more, and all are asked for again.
func (s *Issuing) assignedOf(ctx context.Context, q issue.Question, asked places, found standing) (names []issue.PenName, err error) {
	for i, name := range q.Names {
		rows := 0
		for _, at := range asked.names[i*rowsAtOnce:][:rowsAtOnce] {
			for _, row := range found[standingKey{"pseudonyms", string(at)}] {
				n, err := s.rows.unlockName(at, row.hidden)
				if err != nil {
					return nil, err
				}
				names = append(names, issue.PenName{Pseudonym: name, Platform: n.platform, Since: *row.day, Commitment: n.commitment})
				rows++
			}
		}
		if rows == rowsAtOnce {
			return s.Assigned(ctx, q.Names)
		}
	}
	return names, nil
}

// stand answers for many people at once: each page asks.
func (s *Issuing) stand(ctx context.Context, all []places) ([]coalesce.Result[standing], error) {
	ctx, cancel := s.detached(ctx)
	defer cancel()
	var labels []string
	var sessions, names, notes, suspensions, whose [][]byte
	for _, p := range all {
		labels, sessions = append(labels, p.label), append(sessions, p.end, p.generation, p.recovery)
		names, notes, suspensions = append(names, p.names...), append(notes, p.notes...), append(suspensions, p.suspensions...)
		if p.whose != nil {
			whose = append(whose, p.whose)
		}
	}
	var found standing
	shown := false
	err := s.readIf(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		found, shown = make(standing), false // the connection may have been lost
		rows, err := c.Query(ctx, `
			SELECT 'erasures', convert_to(label, 'UTF8'), NULL::bytea, NULL::date, NULL::bigint, NULL::timestamptz, NULL::text FROM erasures WHERE label = ANY ($1::text[])
			UNION ALL SELECT 'sessions', handle, hidden, NULL, NULL, NULL, NULL FROM sessions WHERE handle = ANY ($2::bytea[])
			UNION ALL SELECT 'pseudonyms', handle, hidden, day, NULL, NULL, NULL FROM pseudonyms WHERE handle = ANY ($3::bytea[])
			UNION ALL SELECT 'notes', place, hidden, NULL, NULL, NULL, NULL FROM notes WHERE place = ANY ($4::bytea[])
			UNION ALL SELECT 'suspensions', place, hidden, NULL, leaf, expires, NULL FROM suspensions_in_force WHERE place = ANY ($5::bytea[])
			UNION ALL SELECT 'reviews', whose, NULL, due, NULL, NULL, id FROM reviews WHERE whose = ANY ($6::bytea[]) AND state = 'waiting' AND NOT objected`,
			labels, sessions, names, notes, suspensions, whose)
		if err != nil {
			return err
		}
		var table string
		var key []byte
		var row standingRow
		_, err = pgx.ForEachRow(rows, []any{&table, &key, &row.hidden, &row.day, &row.leaf, &row.until, &row.id}, func() error {
			at := standingKey{table, string(key)}
			one := row
			one.hidden = slices.Clone(row.hidden)
			found[at], shown = append(found[at], one), shown || table == "notes" || table == "reviews"
			return nil
		})
		return err
	}, func() bool { return shown })
	if err != nil {
		return nil, err
	}
	results := make([]coalesce.Result[standing], len(all))
	for i := range results {
		results[i].Out = found
	}
	return results, nil
}
