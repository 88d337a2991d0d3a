package postgres

import (
	"context"
	"slices"

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
func (s Records) Links(ctx context.Context, targets []disclose.Target) (links [][]string, err error) {
	for _, t := range targets {
		if !storable(string(t.Pseudonym)) || !storable(t.Platform) {
			return nil, ErrText
		}
	}
	key, err := s.rows.get(ctx, s.db)
	if err != nil {
		return nil, err
	}
	links = make([][]string, len(targets))
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
			if err != nil {
				return disclose.ErrCommitment // somebody changed the row
			}
			if n.platform == targets[i].Platform {
				links[i] = append(links[i], link)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if missing := slices.IndexFunc(links, func(l []string) bool { return l == nil }); missing >= 0 {
		return links[:missing], disclose.ErrDataNotHeld
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
func (s Records) Records(ctx context.Context, labels []string) ([]seal.Record, error) {
	if len(labels) == 0 {
		return nil, nil
	}
	var label string
	var firstHalf *string
	var secondHalf, sealed []byte
	var erased bool
	return readWhile(ctx, s.db, []any{&label, &firstHalf, &secondHalf, &sealed, &erased}, func() (seal.Record, error) {
		switch {
		case firstHalf == nil:
			return seal.Record{}, disclose.ErrDataNotHeld
		case erased:
			return seal.Record{}, disclose.ErrDataErased
		}
		fields, whole := UnpackFields(sealed)
		custody, also := seal.UnpackCustody(label, secondHalf)
		if !whole || !also {
			return seal.Record{}, ErrDamaged
		}
		return seal.Record{Label: label, FirstHalf: *firstHalf, Custody: custody, Fields: fields}, nil
	}, `
		SELECT a.label, r.first_half, r.second_half, r.sealed, r.erased IS NOT NULL
		FROM unnest($1::text[]) WITH ORDINALITY a (label, place) LEFT JOIN records r USING (label) ORDER BY a.place`, labels)
}

// readWhile reads rows, at a glance, up to the first that row refuses, and returns that refusal.
func readWhile[T any](ctx context.Context, d *db, dest []any, row func() (T, error), sql string, args ...any) (all []T, refusal error) {
	err := d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		all, refusal = nil, nil // the connection may have been lost
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, dest, func() error {
			if refusal != nil {
				return nil
			}
			one, err := row()
			if refusal = err; err == nil {
				all = append(all, one)
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, refusal
}
