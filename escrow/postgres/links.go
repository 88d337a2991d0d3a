package postgres

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
)

// linkBlock is what orders to link are padded to.
const linkBlock = 4096

// maxLinkOrder is an order with its evidence, sealed, as in the schema.
const maxLinkOrder = 256 << 20

func (k rowKey) linkPlace(caseID string) []byte { return k.handle("link", []byte(caseID)) }

// Link is [disclose.Registrar].Link: it leaves an order once, and returns what the issuing
// side answered.
func (s Cases) Link(ctx context.Context, caseID string, order []byte) (answer []byte, err error) {
	key, err := s.rows.get(ctx, s.db)
	if err != nil {
		return nil, err
	}
	ask := key.lock(key.linkPlace(caseID), order, linkBlock)
	if len(ask) > maxLinkOrder {
		return nil, ErrTooLarge
	}
	var refused *string
	err = s.db.settle(ctx, func(ctx context.Context, _ bool) error {
		if err := s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			return c.QueryRow(ctx, `SELECT answer, refused FROM link_orders WHERE case_id = $1`, caseID).Scan(&answer, &refused)
		}); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		_, err := s.db.exec(ctx, `INSERT INTO link_orders (case_id, ask) VALUES ($1, $2) ON CONFLICT DO NOTHING`, caseID, ask)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case refused != nil:
		return nil, disclose.ErrLinkRefused.Because(errors.New(*refused))
	case answer == nil:
		return nil, disclose.ErrLinkWaits
	}
	return answer, nil
}

// LinkOrders implements [issue.Store].
func (s *Issuing) LinkOrders(ctx context.Context) (orders []issue.LinkOrder, err error) {
	err = s.read(atLength(ctx), func(ctx context.Context, c *pgxpool.Conn) error {
		orders = nil // the connection may have been lost
		rows, err := c.Query(ctx, `SELECT case_id, ask FROM link_orders WHERE ask IS NOT NULL ORDER BY case_id`)
		if err != nil {
			return err
		}
		var one issue.LinkOrder
		var ask []byte
		_, err = pgx.ForEachRow(rows, []any{&one.Case, &ask}, func() error {
			order, err := s.rows.unlock(s.rows.linkPlace(one.Case), ask)
			if one.Order = bytes.Clone(order); err != nil {
				one.Order = nil // somebody wrote it who has not the key: that order is refused
			}
			orders = append(orders, one)
			return nil
		})
		return err
	})
	return orders, err
}

// AnswerLink implements [issue.Store]. Of two processes that answer one, the first counts.
func (s *Issuing) AnswerLink(ctx context.Context, caseID string, answer []byte, refused string) error {
	return s.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.exec(ctx, `UPDATE link_orders SET ask = NULL, answer = $2, refused = nullif($3, '') WHERE case_id = $1 AND ask IS NOT NULL`, caseID, answer, refused)
		return err
	})
}

// Labelled implements [issue.Store].
func (s *Issuing) Labelled(ctx context.Context, label string) (p issue.Person, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		var id, digest []byte
		err := c.QueryRow(ctx, `SELECT id, label, digest FROM persons WHERE label = $1`, label).Scan(&id, &p.Label, &digest)
		copy(p.ID[:], id)
		copy(p.Digest[:], digest)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = issue.ErrLinkNobody
	}
	return p, err
}
