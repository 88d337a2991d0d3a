package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

var (
	_ issue.Store = (*Issuing)(nil)
)

// Enrol implements [issue.Store]. The second of two calls waits for the first,
// and finds its row. From the first statement on the caller's cancellation no longer
// counts, because the caller must learn what happened.
func (s *Issuing) Enrol(ctx context.Context, e issue.Enrolment) (p issue.Person, first bool, err error) {
	if err := ctx.Err(); err != nil {
		return issue.Person{}, false, refused(ctx, err)
	}
	stored, err := s.enrolments.Do(context.WithoutCancel(ctx), e)
	if err != nil {
		return issue.Person{}, false, err
	}
	if stored[0] {
		return e.Person, true, nil
	}
	ctx, cancel := s.detached(ctx)
	defer cancel()
	p, err = s.Person(ctx, e.Fingerprint, e.Birth)
	if errors.Is(err, issue.ErrPersonUnknown) {
		err = issue.ErrAlreadyEnrolled // then the conflict was the likeness
	}
	// The row is ours if the answer to an earlier attempt was lost.
	if first = p == e.Person; err != nil || first {
		return p, first, err
	}
	if again, err := s.Asked(ctx, p.Label); err != nil || !again {
		return p, false, err
	}
	err = s.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.insert(ctx, sameAgain, issue.ChangeSealed, e)
		return err
	})
	if err != nil {
		return issue.Person{}, false, err
	}
	p, err = s.Person(ctx, e.Fingerprint, e.Birth) // whose record it is, of those who came at once
	return p, false, err
}

// enrolTogether stores those who come at once by one statement: both rows of
// each, or none. It says true if all are new, and else everybody looks for
// themself. If the server refuses the statement, it does not say whose row was
// the reason: then each goes alone.
func (s *Issuing) enrolTogether(ctx context.Context, es []issue.Enrolment) ([]coalesce.Result[bool], error) {
	var n int64
	err := s.settle(ctx, func(ctx context.Context, _ bool) (err error) {
		n, err = s.insert(ctx, newPersons, issue.ChangeEnrolled, es...)
		return err
	})
	results := make([]coalesce.Result[bool], len(es))
	var f *serverError
	switch {
	case err == nil:
		for i := range results {
			results[i].Out = n == int64(len(es))
		}
		return results, nil
	case len(es) == 1 || !errors.Is(err, ErrTooLarge) && (!errors.As(err, &f) || f.state == ""):
		return nil, err
	}
	var wg sync.WaitGroup
	for i := range es {
		wg.Go(func() {
			alone, err := s.enrolTogether(ctx, es[i:i+1])
			if results[i].Err = err; err == nil {
				results[i] = alone[0]
			}
		})
	}
	wg.Wait()
	return results, nil
}

// Whose the records are: new persons, or one who asked to be deleted and is back.
const (
	newPersons = `
		INSERT INTO persons (id, label, fingerprint, likeness, birth, marks, day, digest)
		SELECT id, label, fingerprint, likeness, birth, marks, day, digest FROM e ON CONFLICT DO NOTHING`
	sameAgain = ` -- by whichever of their accounts
		UPDATE persons SET label = e.label, digest = e.digest FROM e JOIN persons p ON p.fingerprint = e.fingerprint AND p.birth = e.birth
		WHERE persons.id = p.id AND EXISTS (SELECT FROM erasures WHERE erasures.label = persons.label)`
)

// insert stores persons and their records, with what they are noted as, and returns how many
// it stored.
func (s *Issuing) insert(ctx context.Context, persons string, as issue.ChangeKind, es ...issue.Enrolment) (int64, error) {
	// In one order everywhere, or two statements wait for each other.
	es = slices.SortedFunc(slices.Values(es), func(a, b issue.Enrolment) int { return bytes.Compare(a.Fingerprint, b.Fingerprint) })
	var ids, prints, likes, births, marks, digests, seconds, sealed, places, histories [][]byte
	var labels, firsts []string
	var days []time.Time
	for _, e := range es {
		labels, ids, digests = append(labels, e.Person.Label), append(ids, e.Person.ID[:]), append(digests, e.Person.Digest[:])
		prints, likes, births, marks = append(prints, e.Fingerprint), append(likes, e.Likeness), append(births, e.Birth), append(marks, e.Marks)
		second, err := e.Record.Pack(e.Person.Label)
		if err != nil {
			return 0, err
		}
		firsts, seconds, sealed = append(firsts, e.Record.FirstHalf), append(seconds, second), append(sealed, PackFields(e.Record.Fields))
		days = append(days, e.Day.UTC())
		place, history := s.rows.lockHistory(e.Person.Label, newHistory(issue.Change{Day: e.Day, Kind: as}))
		places, histories = append(places, place), append(histories, history)
	}
	n, err := s.exec(ctx, `
		WITH e AS (SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::text[], $9::bytea[], $10::bytea[], $11::date[], $12::bytea[], $13::bytea[])
		  e (label, id, digest, fingerprint, likeness, birth, marks, first_half, second_half, sealed, day, place, history)),
		person AS (`+persons+` RETURNING persons.label),
		noted AS (INSERT INTO sessions (handle, hidden, expires) SELECT place, history, $14 FROM e WHERE label IN (SELECT label FROM person))
		INSERT INTO records (label, first_half, second_half, sealed, day)
		SELECT label, first_half, second_half, sealed, day FROM e WHERE label IN (SELECT label FROM person)`,
		labels, ids, digests, prints, likes, births, marks, firsts, seconds, sealed, days, places, histories, never)
	if name := constraint(err); name == "records_key_version" || name == "records_key_group" {
		err = issue.ErrOlderKey.Because(err)
	}
	return n, err
}

// Ask implements [issue.Store].
func (s *Issuing) Ask(ctx context.Context, r issue.Receipt) (issue.Receipt, error) {
	place := s.rows.historyPlace(r.Label)
	err := s.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if err := alone(ctx, tx, place); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `INSERT INTO erasures (label, salt, day) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, r.Label, r.Salt[:], r.Day.UTC())
		if err != nil {
			return refused(ctx, err)
		}
		if tag.RowsAffected() == 1 {
			_, err = tx.Exec(ctx, `DELETE FROM sessions WHERE handle = $1`, place)
			return refused(ctx, err)
		}
		var salt []byte
		err = tx.QueryRow(ctx, `SELECT salt, day FROM erasures WHERE label = $1`, r.Label).Scan(&salt, &r.Day)
		copy(r.Salt[:], salt)
		return refused(ctx, err)
	})
	return r, err
}

// Asked implements [issue.Store].
func (s *Issuing) Asked(ctx context.Context, label string) (asked bool, err error) {
	// At a glance: "yes" refuses, and what is not there needs no standby.
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM erasures WHERE label = $1)`, label).Scan(&asked)
	})
	return asked, err
}

// Person implements [issue.Store].
func (s *Issuing) Person(ctx context.Context, fingerprint, birth []byte) (issue.Person, error) {
	found, err := s.lookups.Do(ctx, fingerprint)
	switch {
	case err != nil:
		return issue.Person{}, refused(ctx, err)
	case found[0] == nil:
		return issue.Person{}, issue.ErrPersonUnknown
	case !bytes.Equal(found[0].birth, birth):
		return issue.Person{}, issue.ErrRecycledSubject
	}
	return found[0].Person, nil
}

// PersonOf implements [issue.Store].
func (s *Issuing) PersonOf(ctx context.Context, id [16]byte) (p issue.Person, err error) {
	var digest []byte
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT label, digest FROM persons WHERE id = $1`, id[:]).Scan(&p.Label, &digest)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return issue.Person{}, issue.ErrPersonUnknown
	}
	p.ID = id
	copy(p.Digest[:], digest)
	return p, err
}

// stored is a row of persons, as far as this side reads it.
type stored struct {
	issue.Person
	birth []byte
}

// lookUp returns the persons with these fingerprints, nil where there is none.
func (s *Issuing) lookUp(ctx context.Context, fingerprints [][]byte) ([]coalesce.Result[*stored], error) {
	ctx, cancel := s.detached(ctx)
	defer cancel()
	var found map[string]*stored
	err := s.readIf(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		found = make(map[string]*stored) // the connection may have been lost
		rows, err := c.Query(ctx, `SELECT fingerprint, id, label, digest, birth FROM persons WHERE fingerprint = ANY ($1::bytea[])`, fingerprints)
		if err != nil {
			return err
		}
		var fingerprint, id, label, digest, birth []byte
		_, err = pgx.ForEachRow(rows, []any{&fingerprint, &id, &label, &digest, &birth}, func() error {
			found[string(fingerprint)] = &stored{issue.Person{ID: [16]byte(id), Label: string(label), Digest: [32]byte(digest)}, birth}
			return nil
		})
		return err
	}, func() bool { return len(found) > 0 })
	if err != nil {
		return nil, err
	}
	results := make([]coalesce.Result[*stored], len(fingerprints))
	for i, fingerprint := range fingerprints {
		results[i].Out = found[string(fingerprint)]
	}
	return results, nil
}

// Assign implements [issue.Store].
func (s *Issuing) Assign(ctx context.Context, a issue.Assignment) ([32]byte, error) {
	switch {
	case !storable(string(a.Pseudonym)), !storable(a.Platform):
		return [32]byte{}, ErrText
	case !nameSyntax.MatchString(string(a.Pseudonym)), a.Platform == "", len(a.Platform) > 255:
		return [32]byte{}, ErrRefused
	}
	mine := name{a.Commitment, a.Platform}
	for n := 0; ; n++ {
		at, same := s.rows.place(string(a.Pseudonym), n), false
		hidden := s.rows.lock(at, mine.pack(), nameBlock)
		err := s.settle(ctx, func(ctx context.Context, _ bool) error {
			stored, err := s.exec(ctx, `INSERT INTO pseudonyms (handle, link, hidden, day) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, at, a.Link, hidden, a.Day.UTC())
			if same = stored == 1; err != nil || same {
				return err
			}
			there, err := s.namesAt(ctx, [][]byte{at}) // a record that the person had before, or this one
			same = err == nil && len(there) == 1 && there[0].Commitment == a.Commitment
			return err
		})
		if err != nil || same {
			return a.Commitment, err
		}
	}
}

// nameSyntax is what a row of a pen name is made for.
var nameSyntax = regexp.MustCompile(`^pen1[a-z0-9]{20,60}$`)

// storable reports whether PostgreSQL would take text.
func storable(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }

// namesAt opens those of the rows that exist, by their place among handles. What
// it does not know is whose they are.
func (s *Issuing) namesAt(ctx context.Context, handles [][]byte) (names map[int]issue.PenName, err error) {
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		names = make(map[int]issue.PenName)
		rows, err := c.Query(ctx, `
			SELECT asked.place - 1, p.hidden, p.day FROM unnest($1::bytea[]) WITH ORDINALITY asked (handle, place) JOIN pseudonyms p USING (handle)`, handles)
		if err != nil {
			return err
		}
		var at int
		var hidden []byte
		var day time.Time
		_, err = pgx.ForEachRow(rows, []any{&at, &hidden, &day}, func() error {
			n, err := s.rows.unlockName(handles[at], hidden)
			names[at] = issue.PenName{Platform: n.platform, Since: day, Commitment: n.commitment}
			return err
		})
		return err
	})
	return names, err
}

// rowsAtOnce is how many rows of a pen name are asked for at a time: nearly all have one.
const rowsAtOnce = 2

// Assigned implements [issue.Store]. At a glance: whoever issues something for a
// pseudonym stores a grant after this, and its COMMIT covers what was read here.
// The page that only shows it shows what is derived again after a failover.
func (s *Issuing) Assigned(ctx context.Context, candidates []token.Pseudonym) (names []issue.PenName, err error) {
	found := make([][]issue.PenName, len(candidates))
	for first := 0; ; first += rowsAtOnce {
		var handles [][]byte
		var whose []int
		for i, p := range candidates {
			for n := first; n < first+rowsAtOnce && len(found[i]) == first; n++ {
				handles, whose = append(handles, s.rows.place(string(p), n)), append(whose, i)
			}
		}
		if len(handles) == 0 {
			return slices.Concat(found...), nil
		}
		there, err := s.namesAt(ctx, handles)
		if err != nil {
			return nil, err
		}
		for at := range handles {
			if n, ok := there[at]; ok {
				n.Pseudonym = candidates[whose[at]]
				found[whose[at]] = append(found[whose[at]], n)
			}
		}
	}
}

// Notices implements [issue.Store], in the order of the log.
func (s *Issuing) Notices(ctx context.Context, pseudonyms []token.Pseudonym) (notices []issue.Notice, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, until, about, state, code, deleted, 0, NULL::timestamptz, NULL::timestamptz
			FROM notices_now WHERE pseudonym = ANY ($1::text[]) UNION ALL
			SELECT pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, until, about, state, code, false, days, approve_from, expires
			FROM first_notices_now WHERE pseudonym = ANY ($1::text[]) ORDER BY leaf, pseudonym, platform`, texts(pseudonyms))
		if err != nil {
			return err
		}
		notices, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (n issue.Notice, err error) {
			var until, objectBy, expires *time.Time
			var about *string
			var days int
			err = row.Scan((*string)(&n.Pseudonym), &n.Platform, &n.Authority, &n.FileNumber, &n.LegalBasis,
				&n.Requester, &n.Fields, &n.Leaf, &n.Day, &n.Kind, &until, &about, &n.State, &n.Barred, &n.Deleted, &days, &objectBy, &expires)
			if until != nil {
				n.Until = until.UTC()
			}
			if days > 0 {
				n.First = &issue.First{Days: days, Expires: expires.UTC()}
				if objectBy != nil {
					n.First.ObjectBy = objectBy.UTC()
				}
			}
			if about != nil && err == nil {
				n.About = new(policy.Told)
				err = json.Unmarshal([]byte(*about), n.About)
			}
			return n, err
		})
		if err != nil || len(notices) == 0 {
			return err
		}
		return addObjections(ctx, c, notices, pseudonyms)
	})
	return notices, err
}

// addObjections adds to notices what was objected, in its order.
func addObjections(ctx context.Context, c *pgxpool.Conn, notices []issue.Notice, pseudonyms []token.Pseudonym) error {
	rows, err := c.Query(ctx, `
		SELECT pseudonym, platform, leaf, lawyer, day, suspends, coalesce(outcome, ''), coalesce(ruling, 0), coalesce(said, '')
		FROM objections_now WHERE pseudonym = ANY ($1::text[]) ORDER BY leaf, n`, texts(pseudonyms))
	if err != nil {
		return err
	}
	var name, platform string
	var leaf int64
	var o issue.Objection
	_, err = pgx.ForEachRow(rows, []any{&name, &platform, &leaf, &o.Lawyer, &o.Day, &o.Suspends, &o.Outcome, &o.Ruling, &o.Said}, func() error {
		for i := range notices {
			if n := &notices[i]; string(n.Pseudonym) == name && n.Platform == platform && n.Leaf == leaf {
				n.Objections = append(n.Objections, o)
			}
		}
		return nil
	})
	return err
}

// ObjectTo implements [issue.Store].
func (s *Issuing) ObjectTo(ctx context.Context, n issue.Notice, sealed []byte, now time.Time) error {
	return s.objects(ctx, `SELECT object_to($1, $2, $3, $4, $5)`, string(n.Pseudonym), n.Platform, n.Leaf, sealed, now.UTC())
}

// MakeCode implements [issue.Store].
func (s *Issuing) MakeCode(ctx context.Context, n issue.Notice, hash [32]byte, now time.Time) error {
	return s.objects(ctx, `SELECT make_code($1, $2, $3, $4, $5)`, string(n.Pseudonym), n.Platform, n.Leaf, hash[:], now.UTC())
}

func texts(pseudonyms []token.Pseudonym) []string {
	s := make([]string, len(pseudonyms))
	for i, p := range pseudonyms {
		s[i] = string(p)
	}
	return s
}
