package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/verifier/proof"
)

// Ceremonies implements [disclose.Ceremonies].
type Ceremonies struct{ db *db }

var _ disclose.Ceremonies = Ceremonies{}

// Open implements [disclose.Ceremonies].
func (s Ceremonies) Open(ctx context.Context, plan []byte) error {
	hash := sha256.Sum256(plan)
	return s.db.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.db.exec(ctx, `INSERT INTO ceremonies (plan_hash, plan) VALUES ($1, $2) ON CONFLICT DO NOTHING`, hash[:], plan)
		return err
	})
}

// Ceremony implements [disclose.Ceremonies].
func (s Ceremonies) Ceremony(ctx context.Context, plan string) (c disclose.Ceremony, err error) {
	hash, err := hex.DecodeString(plan)
	if err != nil {
		return c, disclose.ErrNoCeremony
	}
	err = s.db.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		c, err = readCeremony(ctx, conn, hash)
		return err
	})
	return c, err
}

// readCeremony reads a ceremony in one statement, and so from one snapshot.
func readCeremony(ctx context.Context, q querier, hash []byte) (c disclose.Ceremony, err error) {
	var rounds, senders, signed []string
	err = q.QueryRow(ctx, `
		SELECT c.plan, t.transcript, coalesce(t.leaf, 0),
		  array(SELECT round  FROM ceremony_messages m WHERE m.plan_hash = c.plan_hash ORDER BY n),
		  array(SELECT sender FROM ceremony_messages m WHERE m.plan_hash = c.plan_hash ORDER BY n),
		  array(SELECT signed FROM ceremony_messages m WHERE m.plan_hash = c.plan_hash ORDER BY n)
		FROM ceremonies c LEFT JOIN ceremony_transcripts t USING (plan_hash) WHERE c.plan_hash = $1`, hash,
	).Scan(&c.Plan, &c.Transcript, &c.Leaf, &rounds, &senders, &signed)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, disclose.ErrNoCeremony
	}
	for i := range signed {
		c.Said = append(c.Said, disclose.Said{Round: rounds[i], Sender: senders[i], Signed: signed[i]})
	}
	return c, err
}

// Apply implements [disclose.Ceremonies]. The log's lock is its lock
// too: messages of ceremonies are rare.
func (s Ceremonies) Apply(ctx context.Context, plan string, change func(*disclose.Ceremony) (*proof.Leaf, error)) (c disclose.Ceremony, err error) {
	hash, err := hex.DecodeString(plan)
	if err != nil {
		return c, disclose.ErrNoCeremony
	}
	var wanted []disclose.Said // what an attempt whose answer was lost had to say
	err = s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, doubt bool) error {
		log := newLogTx(tx)
		if _, err := log.LockSize(ctx); err != nil {
			return err
		}
		if c, err = readCeremony(ctx, tx, hash); err != nil {
			return refused(ctx, err)
		}
		if n := len(wanted); doubt && n > 0 && len(c.Said) >= n && c.Said[n-1] == wanted[n-1] {
			return nil // it was committed
		}
		have, open := len(c.Said), c.Transcript == nil
		leaf, err := change(&c)
		if err != nil {
			return err
		}
		wanted = c.Said
		for i, s := range c.Said[have:] {
			_, err := tx.Exec(ctx, `INSERT INTO ceremony_messages (plan_hash, n, round, sender, signed) VALUES ($1, $2, $3, $4, $5)`,
				hash, have+i+1, s.Round, s.Sender, s.Signed)
			if err != nil {
				return refused(ctx, err)
			}
		}
		if !open || c.Transcript == nil {
			return nil
		}
		if c.Leaf, err = translog.Sequence(ctx, log, *leaf); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO ceremony_transcripts (plan_hash, transcript, leaf) VALUES ($1, $2, $3)`, hash, c.Transcript, c.Leaf)
		return refused(ctx, err)
	})
	return c, err
}

// Logged implements [disclose.Ceremonies].
func (s Ceremonies) Logged(ctx context.Context, transcript string) (logged bool, err error) {
	hash, err := hex.DecodeString(transcript)
	if err != nil {
		return false, nil
	}
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ceremony_transcripts WHERE sha256(transcript) = $1)`, hash).Scan(&logged)
	})
	return logged, err
}
