package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

// Suspensions are the bridge by which an order of a court reaches the issuing side: the
// disclosing side appends a row when it is authorised, under the row key that both sides
// have, and the issuing side reads those that are in force. There is no way back: what the
// issuing side does about one it keeps among its own rows.

// suspensionBlock is what rows of suspensions are padded to: all look the same.
const suspensionBlock = 256

// suspension is what a row hides.
type suspension struct {
	Name     token.Pseudonym `json:"n"`
	Platform string          `json:"p"`
	Day      string          `json:"d"` // on which it came into force
	Warrant  int64           `json:"w"` // leaf of the recorded warrant
}

func (k rowKey) suspensionPlace(name token.Pseudonym) []byte {
	return k.handle("suspension", []byte(name))[:16]
}

// suspends returns the row key for a case that suspends pen names, and else nil.
func (s Cases) suspends(ctx context.Context, c disclose.Case) (*rowKey, error) {
	if c.Kind != policy.Suspension || c.Warrant == nil {
		return nil, nil //nolint:nilnil // it suspends nobody
	}
	key, err := s.rows.get(ctx, s.db)
	return &key, err
}

// suspend appends a row for each target of a case that a change authorised.
func suspend(ctx context.Context, tx pgx.Tx, key rowKey, c disclose.Case, change disclose.Change) error {
	at := slices.IndexFunc(change.Steps, func(s disclose.Step) bool { return s.Event == disclose.Authorise })
	if at < 0 {
		return nil
	}
	b, round := &pgx.Batch{}, len(c.Rounds)
	for n, t := range c.Warrant.Targets {
		if n >= len(c.Targets) || c.Targets[n].Round != round {
			continue // it was not authorised now
		}
		text, err := json.Marshal(suspension{t.Pseudonym, t.Platform, change.Steps[at].Leaf.Day, c.RecordedLeaf})
		if err != nil {
			return ErrText.Because(err)
		}
		if len(text) > suspensionBlock-4 {
			return ErrTooLarge
		}
		place := key.suspensionPlace(t.Pseudonym)
		b.Queue(`INSERT INTO suspensions (leaf, target, case_id, place, hidden) VALUES ($1, $2, $3, $4, $5)`,
			c.Rounds[round-1].AuthorisedLeaf, n, c.ID, place, key.lock(place, text, suspensionBlock))
	}
	return refused(ctx, tx.SendBatch(ctx, b).Close())
}

// suspendedUntil is the day on which a case suspends last; nil: it suspends nobody.
func suspendedUntil(c disclose.Case) *time.Time {
	if c.Kind != policy.Suspension {
		return nil
	}
	until := c.Expires.UTC().Truncate(24 * time.Hour)
	return &until
}

// Suspensions implements [issue.Store]. At a glance: one that is there refuses, and one that
// comes now finds what was stored before it: see openid.Provider.Suspend.
func (s *Issuing) Suspensions(ctx context.Context, now time.Time, names ...token.Pseudonym) ([]issue.Suspension, error) {
	if len(names) == 0 {
		return nil, nil
	}
	places := make([][]byte, len(names))
	for i, name := range names {
		places[i] = s.rows.suspensionPlace(name)
	}
	return s.inForce(ctx, `place = ANY ($2::bytea[])`, now, places)
}

// SuspendedAfter implements [issue.Store].
func (s *Issuing) SuspendedAfter(ctx context.Context, now time.Time, leaf int64) ([]issue.Suspension, error) {
	return s.inForce(ctx, `leaf > $2`, now, leaf)
}

func (s *Issuing) inForce(ctx context.Context, where string, now time.Time, arg any) (all []issue.Suspension, err error) {
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		all = nil // the connection may have been lost
		rows, err := c.Query(ctx, `SELECT leaf, place, hidden FROM suspensions_in_force WHERE expires > $1 AND `+where+` ORDER BY leaf`, now.UTC(), arg)
		if err != nil {
			return err
		}
		one := issue.Suspension{}
		var place, hidden []byte
		_, err = pgx.ForEachRow(rows, []any{&one.InForce, &place, &hidden}, func() (err error) {
			one, err = s.rows.unlockSuspension(one.InForce, place, hidden)
			all = append(all, one)
			return err
		})
		return err
	})
	return all, err
}

// unlockSuspension opens the row of a suspension that came into force by that leaf.
func (k rowKey) unlockSuspension(leaf int64, place, hidden []byte) (one issue.Suspension, err error) {
	text, err := k.unlock(place, hidden)
	var said suspension
	if err != nil || json.Unmarshal(text, &said) != nil {
		return one, ErrDamaged
	}
	if one.Day, err = time.Parse(time.DateOnly, said.Day); err != nil {
		return one, ErrDamaged
	}
	one.InForce, one.Name, one.Platform, one.Leaf = leaf, said.Name, said.Platform, said.Warrant
	return one, nil
}
