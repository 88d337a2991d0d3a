package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
)

// saidSQL reads what custodians said; a question with the ruling that answers it.
const saidSQL = `
	SELECT s.digest, s.signed, s.kind, s.custodian, coalesce(s.case_id, ''), s.starts, s.ends, coalesce(s.keep_days, 0),
	  (SELECT r.submission FROM cases r WHERE r.recorded_leaf = s.answer),
	  coalesce((SELECT convert_from(g.leaf, 'UTF8')::json ->> 'day' FROM log_leaves g WHERE g.index = s.answer), '')
	FROM statements s `

func scanStatement(row pgx.CollectableRow) (s disclose.Statement, err error) {
	var digest, submission []byte
	var from, until *time.Time
	if err = row.Scan(&digest, &s.Signed, &s.Kind, &s.Custodian, &s.Case, &from, &until, &s.KeepDays, &submission, &s.AnsweredOn); err != nil {
		return s, err
	}
	if submission != nil {
		var ruling policy.Submission
		if err := json.Unmarshal(submission, &ruling); err != nil {
			return s, err
		}
		s.Answer, s.Revocation = ruling.Warrant, &ruling.Revocation
	}
	s.Digest = [32]byte(digest)
	if from != nil && until != nil {
		s.From, s.Until = from.UTC(), until.UTC()
	}
	return s, nil
}

func readStatements(ctx context.Context, q querier, where string, args ...any) ([]disclose.Statement, error) {
	rows, err := q.Query(ctx, saidSQL+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanStatement)
}

const ofCase = `WHERE s.case_id = $1 ORDER BY s.n`

// Say implements [disclose.Cases].
func (s Cases) Say(ctx context.Context, said disclose.Statement, may func(disclose.Case, []disclose.Statement) error) error {
	return s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		c, err := lockCase(ctx, tx, said.Case)
		if err != nil {
			return err
		}
		before, err := readStatements(ctx, tx, ofCase, said.Case)
		if err != nil {
			return refused(ctx, err)
		}
		for _, b := range before {
			if b.Digest == said.Digest {
				return nil
			}
		}
		if err := may(c, before); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO statements (digest, kind, custodian, case_id, signed, keep_days) VALUES ($1, $2, $3, $4, $5, $6)`,
			said.Digest[:], said.Kind, said.Custodian, said.Case, said.Signed, said.KeepDays)
		return refused(ctx, err)
	})
}

// Said implements [disclose.Cases].
func (s Cases) Said(ctx context.Context, id string) (said []disclose.Statement, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		said, err = readStatements(ctx, c, ofCase, id)
		return err
	})
	return said, err
}

// Stands implements [disclose.Cases].
func (s Cases) Stands(ctx context.Context, ids []string, custodian string) (map[string]disclose.Stand, error) {
	stands := make(map[string]disclose.Stand)
	err := s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT c.id, EXISTS (SELECT FROM statements s WHERE s.case_id = c.id AND s.kind = 'recusal' AND s.custodian = $2),
			  CASE WHEN a.custodian IS NULL THEN '' ELSE coalesce(a.bundle, c.bundle) END, coalesce(a.approved, false),
			  EXISTS (SELECT FROM objections o WHERE o.case_id = c.id AND o.suspends AND o.outcome IS NULL),
			  f.case_id IS NOT NULL, f.approve_from
			FROM cases c LEFT JOIN notice_first f ON f.case_id = c.id LEFT JOIN approvals a ON a.case_id = c.id AND a.custodian = $2 AND `+latest+` WHERE c.id = ANY($1)`, ids, custodian)
		if err != nil {
			return err
		}
		var id string
		var is disclose.Stand
		var from *time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &is.Recused, &is.Bundle, &is.Approved, &is.Objected, &is.First, &from}, func() error {
			if is.From = (time.Time{}); from != nil {
				is.From = *from
			}
			if is != (disclose.Stand{}) {
				stands[id] = is
			}
			return nil
		})
		return err
	})
	return stands, err
}

// Asked implements [disclose.Cases].
func (s Cases) Asked(ctx context.Context, ids []string) (map[string]disclose.Asked, error) {
	asked := make(map[string]disclose.Asked)
	err := s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT c.id, (SELECT count(*) FROM statements s WHERE s.case_id = c.id AND s.kind = 'question' AND s.answer IS NULL),
			  (SELECT count(*) FROM objections o WHERE o.case_id = c.id AND o.outcome IS NULL), f.case_id IS NOT NULL, f.approve_from
			FROM cases c LEFT JOIN notice_first f ON f.case_id = c.id WHERE c.id = ANY($1)`, ids)
		if err != nil {
			return err
		}
		var id string
		var n disclose.Asked
		var from *time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &n.Questions, &n.Objections, &n.First, &from}, func() error {
			if n.From = (time.Time{}); from != nil {
				n.From = *from
			}
			if n != (disclose.Asked{}) {
				asked[id] = n
			}
			return nil
		})
		return err
	})
	return asked, err
}

// Announce implements [disclose.Cases].
func (s Cases) Announce(ctx context.Context, said disclose.Statement, now time.Time, most int) error {
	return s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('absence ' || $1::text, 0))`, said.Custodian); err != nil {
			return refused(ctx, err)
		}
		var same bool
		var open int
		err := tx.QueryRow(ctx, `SELECT coalesce(bool_or(digest = $2), false), count(*) FILTER (WHERE ends > $3) FROM statements WHERE kind = 'absence' AND custodian = $1`,
			said.Custodian, said.Digest[:], now.UTC()).Scan(&same, &open)
		switch {
		case err != nil:
			return refused(ctx, err)
		case same:
			return nil
		case open >= most:
			return disclose.ErrManyQuestions
		}
		_, err = tx.Exec(ctx, `INSERT INTO statements (digest, kind, custodian, signed, starts, ends) VALUES ($1, $2, $3, $4, $5, $6)`,
			said.Digest[:], said.Kind, said.Custodian, said.Signed, said.From.UTC(), said.Until.UTC())
		return refused(ctx, err)
	})
}

// Absences implements [disclose.Cases].
func (s Cases) Absences(ctx context.Context, now time.Time) (away []disclose.Statement, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		away, err = readStatements(ctx, c, `WHERE s.kind = 'absence' AND s.ends > $1 ORDER BY s.starts, s.n`, now.UTC())
		return err
	})
	return away, err
}

// answer says by which ruling a question of a case is answered.
func answer(ctx context.Context, tx pgx.Tx, id string, later *disclose.Later) error {
	if later == nil || later.Ruling == nil || later.Ruling.Outcome != policy.Answered {
		return nil
	}
	digest, err := hex.DecodeString(later.Ruling.Digest)
	if err != nil {
		return errors.Join(disclose.ErrNoQuestion, err)
	}
	tag, err := tx.Exec(ctx, `UPDATE statements SET answer = $3 WHERE case_id = $1 AND digest = $2 AND kind = 'question' AND answer IS NULL`, id, digest, later.Leaf)
	if err == nil && tag.RowsAffected() == 0 {
		return disclose.ErrNoQuestion
	}
	return refused(ctx, err)
}
