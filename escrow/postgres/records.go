package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/seal"
)

// Records implements [disclose.Records]. It reads at a glance: what a token commits to
// was confirmed before the token was issued, the case that asks was read before,
// and what is packed is stored before it is handed over.
type Records struct {
	db   *db
	rows *sharedRows
}

var _ disclose.Records = Records{}

// Links implements [disclose.Records].
func (s Records) Links(ctx context.Context, targets []disclose.Target) (links []disclose.Found[[]string], err error) {
	for _, t := range targets {
		if !storable(string(t.Pseudonym)) || !storable(t.Platform) {
			return nil, ErrText
		}
	}
	key, err := s.rows.get(ctx, s.db)
	if err != nil {
		return nil, err
	}
	links = make([]disclose.Found[[]string], len(targets))
	seen := make([]int, len(targets)) // rows, those of other platforms too: there are none
	for first := 0; ; first += rowsAtOnce {
		var handles [][]byte
		var whose []int
		for i, t := range targets {
			for n := first; n < first+rowsAtOnce && seen[i] == first; n++ {
				handles, whose = append(handles, key.place(string(t.Pseudonym), n)), append(whose, i)
			}
		}
		if len(handles) == 0 {
			break
		}
		err := s.linksAt(ctx, handles, func(at int, link string, hidden []byte) error {
			i := whose[at]
			seen[i]++
			n, err := key.unlockName(handles[at], hidden)
			switch {
			case err != nil: // somebody changed the row
				links[i].Err = disclose.ErrCommitment
			case n.platform == targets[i].Platform:
				links[i].Value = append(links[i].Value, link)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return links, nil
}

// linksAt reads those of the rows that exist.
func (s Records) linksAt(ctx context.Context, handles [][]byte, row func(at int, link string, hidden []byte) error) error {
	return s.db.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT asked.place - 1, p.link, p.hidden FROM unnest($1::bytea[]) WITH ORDINALITY asked (handle, place) JOIN pseudonyms p USING (handle)
			ORDER BY asked.place`, handles)
		if err != nil {
			return err
		}
		type found struct {
			at     int
			link   string
			hidden []byte
		}
		all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (f found, err error) {
			return f, r.Scan(&f.at, &f.link, &f.hidden)
		})
		if err != nil {
			return err // the connection may have been lost: row was not called
		}
		for _, f := range all {
			if err := row(f.at, f.link, f.hidden); err != nil {
				return err
			}
		}
		return nil
	})
}

// Records implements [disclose.Records].
func (s Records) Records(ctx context.Context, labels []string) (records []disclose.Found[seal.Record], err error) {
	if len(labels) == 0 {
		return nil, nil
	}
	err = s.db.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT a.label, r.first_half, r.second_half, r.sealed, r.erased IS NOT NULL
			FROM unnest($1::text[]) WITH ORDINALITY a (label, place) LEFT JOIN records r USING (label) ORDER BY a.place`, labels)
		if err != nil {
			return err
		}
		records, err = pgx.CollectRows(rows, scanRecord)
		return err
	})
	return records, err
}

// scanRecord reads a record, or why it cannot be had.
func scanRecord(row pgx.CollectableRow) (found disclose.Found[seal.Record], err error) {
	var label string
	var firstHalf *string
	var secondHalf, sealed []byte
	var erased bool
	if err := row.Scan(&label, &firstHalf, &secondHalf, &sealed, &erased); err != nil {
		return found, err
	}
	switch {
	case firstHalf == nil:
		found.Err = disclose.ErrDataNotHeld
		return found, nil
	case erased:
		found.Err = disclose.ErrDataErased
		return found, nil
	}
	fields, whole := UnpackFields(sealed)
	custody, also := seal.UnpackCustody(label, secondHalf)
	if !whole || !also {
		found.Err = ErrDamaged
		return found, nil
	}
	found.Value = seal.Record{Label: label, FirstHalf: *firstHalf, Custody: custody, Fields: fields}
	return found, nil
}
