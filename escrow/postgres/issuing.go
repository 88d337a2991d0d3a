package postgres

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

var (
	_ issue.Store    = (*Issuing)(nil)
	_ issue.Erasures = (*Issuing)(nil)
)

// Enrol implements [issue.Store]: one statement, which stores both rows or
// none. Who comes second waits for the first, and finds its row.
func (s *Issuing) Enrol(ctx context.Context, e issue.Enrolment) (p issue.Person, first bool, err error) {
	fields := slices.Sorted(maps.Keys(e.Record.Fields))
	sealed := make([][]byte, len(fields))
	for i, name := range fields {
		sealed[i] = e.Record.Fields[name]
	}
	insert := func(ctx context.Context, person string) (bool, error) {
		n, err := s.exec(ctx, `
			WITH person AS (`+person+` RETURNING label)
			INSERT INTO records (label, first_half, second_half, fields, sealed, day)
			SELECT label, $7, $8, $9, $10, $6 FROM person`,
			e.Person.ID[:], e.Person.Label, e.Fingerprint, e.Likeness, e.Birth, e.Day.UTC(),
			e.Record.FirstHalf, e.Record.SecondHalf, fields, sealed, e.Person.Digest[:])
		if constraint(err) == "records_key_version" {
			err = issue.ErrOlderKey.Because(err)
		}
		return n == 1, err
	}
	err = s.settle(ctx, func(ctx context.Context, _ bool) error {
		stored, err := insert(ctx, `
			  INSERT INTO persons (id, label, fingerprint, likeness, birth, day, digest)
			  VALUES ($1, $2, $3, $4, $5, $6, $11) ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		if stored {
			p, first = e.Person, true
			return nil
		}
		p, err = s.person(ctx, e.Fingerprint, e.Birth)
		if errors.Is(err, issue.ErrPersonUnknown) {
			return issue.ErrAlreadyEnrolled // then the conflict was the likeness
		}
		if err != nil {
			return err
		}
		// The row is ours if the answer to an earlier attempt was lost.
		if first = p == e.Person; first {
			return nil
		}
		if again, err := s.Asked(ctx, p.Label); err != nil || !again {
			return err
		}
		_, err = insert(ctx, `
			  UPDATE persons SET label = $2, digest = $11
			  WHERE fingerprint = $3 AND $1::bytea IS NOT NULL AND $4::bytea IS NOT NULL AND birth = $5
			    AND EXISTS (SELECT FROM erasures e WHERE e.label = persons.label)`)
		if err != nil {
			return err
		}
		p, err = s.person(ctx, e.Fingerprint, e.Birth) // whose record it is, of those who came at once
		return err
	})
	if err != nil {
		return issue.Person{}, false, err
	}
	return p, first, nil
}

// Ask implements [issue.Erasures].
func (s *Issuing) Ask(ctx context.Context, r issue.Receipt) (issue.Receipt, error) {
	err := s.settle(ctx, func(ctx context.Context, _ bool) error {
		n, err := s.exec(ctx, `INSERT INTO erasures (label, salt, day) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, r.Label, r.Salt[:], r.Day.UTC())
		if err != nil || n == 1 {
			return err
		}
		return s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			var salt []byte
			err := c.QueryRow(ctx, `SELECT salt, day FROM erasures WHERE label = $1`, r.Label).Scan(&salt, &r.Day)
			copy(r.Salt[:], salt)
			return err
		})
	})
	return r, err
}

// Asked implements [issue.Erasures].
func (s *Issuing) Asked(ctx context.Context, label string) (asked bool, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM erasures WHERE label = $1)`, label).Scan(&asked)
	})
	return asked, err
}

// Person implements [issue.Store].
func (s *Issuing) Person(ctx context.Context, fingerprint, birth []byte) (issue.Person, error) {
	return s.person(ctx, fingerprint, birth)
}

func (s *Issuing) person(ctx context.Context, fingerprint, birth []byte) (p issue.Person, err error) {
	var id, digest, stored []byte
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT id, label, digest, birth FROM persons WHERE fingerprint = $1`, fingerprint).Scan(&id, &p.Label, &digest, &stored)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return issue.Person{}, issue.ErrPersonUnknown
	case err != nil:
		return issue.Person{}, err
	case !bytes.Equal(stored, birth):
		return issue.Person{}, issue.ErrRecycledSubject
	}
	p.ID, p.Digest = [16]byte(id), [32]byte(digest)
	return p, nil
}

// Assign implements [issue.Store].
func (s *Issuing) Assign(ctx context.Context, a issue.Assignment) ([32]byte, error) {
	err := s.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.exec(ctx, `
			INSERT INTO pseudonyms (pseudonym, platform, link, commitment, day)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			string(a.Pseudonym), a.Platform, a.Link, a.Commitment[:], a.Day.UTC())
		return err
	})
	if err != nil {
		return [32]byte{}, err
	}
	return a.Commitment, nil
}

// Assigned implements [issue.Store].
func (s *Issuing) Assigned(ctx context.Context, candidates []token.Pseudonym) (names []issue.PenName, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT p.pseudonym, p.platform, p.day, p.commitment
			FROM unnest($1::text[]) WITH ORDINALITY asked (pseudonym, place) JOIN pseudonyms p USING (pseudonym)
			ORDER BY asked.place, p.day, p.commitment`, texts(candidates))
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (n issue.PenName, err error) {
			var commitment []byte
			err = row.Scan((*string)(&n.Pseudonym), &n.Platform, &n.Since, &commitment)
			copy(n.Commitment[:], commitment)
			return n, err
		})
		return err
	})
	return names, err
}

// Notices implements [issue.Store], in the order of the log.
func (s *Issuing) Notices(ctx context.Context, pseudonyms []token.Pseudonym) (notices []issue.Notice, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day
			FROM notices WHERE pseudonym = ANY ($1::text[]) ORDER BY leaf, pseudonym, platform`, texts(pseudonyms))
		if err != nil {
			return err
		}
		notices, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (n issue.Notice, err error) {
			err = row.Scan((*string)(&n.Pseudonym), &n.Platform, &n.Authority, &n.FileNumber, &n.LegalBasis,
				&n.Requester, &n.Fields, &n.Leaf, &n.Day)
			return n, err
		})
		return err
	})
	return notices, err
}

// Shuffle removes what the files of the tables tell beside their values: the
// order in which rows were made, and the numbers of the transactions that made
// them. Call it every hour; sign-ins wait while it orders a table.
func (s *Issuing) Shuffle(ctx context.Context) error {
	run := func(sql string, args ...any) error {
		return s.settle(ctx, func(ctx context.Context, _ bool) error {
			_, err := s.exec(ctx, sql, args...)
			return err
		})
	}
	if err := run(`SELECT mix()`); err != nil {
		return err
	}
	for _, table := range []string{"records", "persons", "pseudonyms", "openid_rows", "openid_used", "openid_entries"} {
		if err := run(`SELECT sort($1)`, table); err != nil {
			return err
		}
	}
	return nil
}

func texts(pseudonyms []token.Pseudonym) []string {
	s := make([]string, len(pseudonyms))
	for i, p := range pseudonyms {
		s[i] = string(p)
	}
	return s
}
