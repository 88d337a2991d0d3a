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
type Records struct{ db *db }

var _ disclose.Records = Records{}

// Links implements [disclose.Records].
func (s Records) Links(ctx context.Context, targets []disclose.Target) ([]string, error) {
	if len(targets) == 0 {
		return nil, nil
	}
	pseudonyms, platforms, commitments := make([]string, len(targets)), make([]string, len(targets)), make([][]byte, len(targets))
	for i, t := range targets {
		pseudonyms[i], platforms[i], commitments[i] = string(t.Pseudonym), t.Platform, t.Commitment[:]
	}
	var link *string
	var same *bool
	return readWhile(ctx, s.db, []any{&link, &same}, func() (string, error) {
		switch {
		case link == nil:
			return "", disclose.ErrDataNotHeld
		case !*same:
			return "", disclose.ErrCommitment
		}
		return *link, nil
	}, `
		SELECT p.link, p.same FROM unnest($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY t (pseudonym, platform, commitment, place)
		LEFT JOIN LATERAL (
		  SELECT link, p.commitment = t.commitment AS same FROM pseudonyms p
		  WHERE p.pseudonym = t.pseudonym AND p.platform = t.platform ORDER BY 2 DESC LIMIT 1) p ON true
		ORDER BY t.place`, pseudonyms, platforms, commitments)
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
