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

var _ issue.Store = (*Issuing)(nil)

// Enrol implements [issue.Store]: one statement, which stores both rows or
// none. Who comes second waits for the first, and finds its row.
func (s *Issuing) Enrol(ctx context.Context, e issue.Enrolment) (p issue.Person, first bool, err error) {
	fields := slices.Sorted(maps.Keys(e.Record.Fields))
	sealed := make([][]byte, len(fields))
	for i, name := range fields {
		sealed[i] = e.Record.Fields[name]
	}
	err = s.settle(ctx, func(ctx context.Context, _ bool) error {
		n, err := s.exec(ctx, `
			WITH person AS (
			  INSERT INTO persons (id, label, fingerprint, likeness, birth, day, digest)
			  VALUES ($1, $2, $3, $4, $5, $6, $11) ON CONFLICT DO NOTHING RETURNING label)
			INSERT INTO records (label, first_half, second_half, fields, sealed, day)
			SELECT label, $7, $8, $9, $10, $6 FROM person`,
			e.Person.ID[:], e.Person.Label, e.Fingerprint, e.Likeness, e.Birth, e.Day.UTC(),
			e.Record.FirstHalf, e.Record.SecondHalf, fields, sealed, e.Person.Digest[:])
		if err != nil {
			return err
		}
		if n == 1 {
			p, first = e.Person, true
			return nil
		}
		p, err = s.person(ctx, e.Fingerprint, e.Birth)
		// The row is ours if the answer to an earlier attempt was lost.
		first = p == e.Person
		if errors.Is(err, issue.ErrPersonUnknown) {
			return issue.ErrAlreadyEnrolled // then the conflict was the likeness
		}
		return err
	})
	if err != nil {
		return issue.Person{}, false, err
	}
	return p, first, nil
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
func (s *Issuing) Assign(ctx context.Context, a issue.Assignment) (commitment [32]byte, err error) {
	err = s.settle(ctx, func(ctx context.Context, _ bool) error {
		n, err := s.exec(ctx, `
			INSERT INTO pseudonyms (pseudonym, platform, link, commitment, day)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			string(a.Pseudonym), a.Platform, a.Link, a.Commitment[:], a.Day.UTC())
		if err != nil {
			return err
		}
		if n == 1 {
			commitment = a.Commitment
			return nil
		}
		return s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			var stored []byte
			err := c.QueryRow(ctx, `SELECT commitment FROM pseudonyms WHERE pseudonym = $1`, string(a.Pseudonym)).Scan(&stored)
			copy(commitment[:], stored)
			return err
		})
	})
	if err != nil {
		return [32]byte{}, err
	}
	return commitment, nil
}

// Assigned implements [issue.Store].
func (s *Issuing) Assigned(ctx context.Context, candidates []token.Pseudonym) (names []issue.PenName, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT p.pseudonym, p.platform, p.day, p.commitment
			FROM unnest($1::text[]) WITH ORDINALITY asked (pseudonym, place) JOIN pseudonyms p USING (pseudonym)
			ORDER BY asked.place`, texts(candidates))
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
