package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// storeNotice puts what persons are told on their pages. A person reads it: the court and the
// requester by their names, as the bundle that decided has it.
func storeNotice(ctx context.Context, tx pgx.Tx, b *pgx.Batch, c disclose.Case, n *disclose.Notice) error {
	if n == nil {
		return nil
	}
	abouts, err := tellAbout(ctx, tx, c, n)
	if err != nil {
		return err
	}
	table := "notices"
	if n.First {
		table = "first_notices"
	}
	names, platforms := make([]string, len(n.To)), make([]string, len(n.To))
	for i, t := range n.To {
		names[i], platforms[i] = string(t.Pseudonym), t.Platform
	}
	b.Queue(`
		INSERT INTO `+table+` (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, until, target, about)
		SELECT $1, t.pseudonym, t.platform, coalesce((
		  SELECT a ->> 'name' FROM bundles, json_array_elements(convert_from(bundle, 'UTF8')::json -> 'authorities') a
		  WHERE sha256(bundle) = decode($11, 'hex') AND a ->> 'id' = $4 LIMIT 1), $4), $5, $6, coalesce((
		  SELECT o ->> 'name' FROM bundles, json_array_elements(convert_from(bundle, 'UTF8')::json -> 'organisations') o
		  WHERE sha256(bundle) = decode($11, 'hex') AND o ->> 'id' = $7 LIMIT 1), $7), $8::text[], $9::bigint, $10::date, $12, $13, t.target, t.about
		FROM unnest($2::text[], $3::text[], $14::smallint[], $15::text[]) t (pseudonym, platform, target, about)`,
		c.ID, names, platforms, n.Authority, n.FileNumber, n.LegalBasis, n.Requester, n.Fields, n.Leaf, n.Day.UTC().Truncate(24*time.Hour), c.Bundle,
		c.Kind, suspendedUntil(c), n.Which, abouts)
	return nil
}

// tellAbout is what is told beside the columns, for each target; nil where the bundle that
// decided, or the warrant, is not to be had.
func tellAbout(ctx context.Context, tx pgx.Tx, c disclose.Case, n *disclose.Notice) ([]*string, error) {
	abouts := make([]*string, len(n.Which))
	var raw []byte
	err := tx.QueryRow(ctx, `SELECT (SELECT bundle FROM bundles WHERE sha256(bundle) = decode($1, 'hex'))`, c.Bundle).Scan(&raw)
	if err != nil {
		return nil, refused(ctx, err)
	}
	bundle, err := policy.ParseBundle(raw)
	if err != nil || c.Warrant == nil {
		return abouts, nil //nolint:nilerr // a case is told of all the same
	}
	for at, i := range n.Which {
		told := c.Told(bundle, i)
		if round := c.Targets[i].Round; round > 0 && !n.First {
			if told.Opened, err = openedOn(ctx, tx, c.Rounds[round-1]); err != nil {
				return nil, err
			}
		}
		text, err := json.Marshal(told)
		if err != nil {
			return nil, ErrText.Because(err)
		}
		abouts[at] = new(string)
		*abouts[at] = string(text)
	}
	return abouts, nil
}

// openedOn is the day on which a round was released, or put in force.
func openedOn(ctx context.Context, tx pgx.Tx, r disclose.Round) (time.Time, error) {
	index := r.ReleasedLeaf
	if index == 0 {
		index = r.AuthorisedLeaf
	}
	var raw []byte
	if err := tx.QueryRow(ctx, `SELECT (SELECT leaf FROM log_leaves WHERE index = $1)`, index).Scan(&raw); err != nil {
		return time.Time{}, refused(ctx, err)
	}
	leaf, err := proof.ParseLeaf(raw)
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // the check of the database says so
	}
	day, err := time.Parse(time.DateOnly, leaf.Day)
	return day, err
}

// storeFirst notes that persons were told, what was logged of their objections, and what a
// court ruled.
func storeFirst(b *pgx.Batch, before, c disclose.Case, change disclose.Change) {
	if c.First.Leaf != before.First.Leaf {
		b.Queue(`UPDATE notice_first SET leaf = $2, reached = $3, approve_from = $4 WHERE case_id = $1 AND leaf IS NULL`,
			c.ID, c.First.Leaf, c.First.Reached, c.ApproveFrom.UTC())
	}
	for i, o := range c.Objections {
		was := before.Objections[i]
		if o.Leaf != was.Leaf {
			b.Queue(`UPDATE objections SET leaf = $4 WHERE case_id = $1 AND target = $2 AND n = $3`, c.ID, o.Target, o.N, o.Leaf)
		}
		if o.Outcome != was.Outcome {
			b.Queue(`UPDATE objections SET outcome = $4, ruling = $5, said = $6 WHERE case_id = $1 AND target = $2 AND n = $3`,
				c.ID, o.Target, o.N, o.Outcome, o.Ruling, change.Later.Grounds)
		}
	}
}

// readObjections reads them as [caseSQL] has them.
func readObjections(text []byte) (all []disclose.Objection, err error) {
	if text == nil {
		return nil, nil
	}
	var rows []struct {
		disclose.Objection
		Day, Digest string
	}
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, err
	}
	for _, row := range rows {
		o := row.Objection
		if o.Day, err = time.Parse(time.DateOnly, row.Day); err != nil {
			return nil, err
		}
		if _, err := hex.Decode(o.Digest[:], []byte(row.Digest)); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// Objections implements [disclose.Cases].
func (s Cases) Objections(ctx context.Context, id string) ([]disclose.Objected, error) {
	c, err := s.Case(ctx, id)
	if err != nil || len(c.Objections) == 0 {
		return nil, err
	}
	all := make([]disclose.Objected, 0, len(c.Objections))
	err = s.db.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		all = all[:0]
		rows, err := conn.Query(ctx, `SELECT target, n, sealed FROM objections WHERE case_id = $1 AND sealed IS NOT NULL
			ORDER BY outcome IS NOT NULL, target, n LIMIT $2`, id, disclose.MaxObjectionTexts)
		if err != nil {
			return err
		}
		texts := make(map[[2]int][]byte)
		var target, n int
		var sealed []byte
		_, err = pgx.ForEachRow(rows, []any{&target, &n, &sealed}, func() error {
			texts[[2]int{target, n}] = append([]byte(nil), sealed...)
			return nil
		})
		if err != nil {
			return err
		}
		ruled, err := rulings(ctx, conn, id)
		for _, o := range c.Objections {
			said := ruled[o.Ruling] // of none there is none
			said.Objection, said.Sealed = o, texts[[2]int{o.Target, o.N}]
			all = append(all, said)
		}
		return err
	})
	return all, err
}

// rulings are those on objections in a case, by their leaf.
func rulings(ctx context.Context, conn *pgxpool.Conn, id string) (map[int64]disclose.Objected, error) {
	rows, err := conn.Query(ctx, `SELECT r.recorded_leaf, r.submission, convert_from(g.leaf, 'UTF8')::json ->> 'day'
		FROM objections o JOIN cases r ON r.recorded_leaf = o.ruling JOIN log_leaves g ON g.index = o.ruling WHERE o.case_id = $1`, id)
	if err != nil {
		return nil, err
	}
	ruled := make(map[int64]disclose.Objected)
	var leaf int64
	var submission []byte
	var day string
	_, err = pgx.ForEachRow(rows, []any{&leaf, &submission, &day}, func() error {
		ruled[leaf] = disclose.Objected{RuledOn: day, Ruled: new(policy.Submission)}
		return json.Unmarshal(submission, ruled[leaf].Ruled)
	})
	return ruled, err
}

// refusedObjection is what a function of the database refuses with.
func refusedObjection(code string) error {
	for _, e := range []*refusal.Error{policy.ErrNoNotice, policy.ErrObjections} {
		if e.Code == code {
			return e
		}
	}
	return nil
}

// objects stores an objection by a function of the database, once: a repeated attempt whose
// answer was lost finds the same words.
func (d *db) objects(ctx context.Context, sql string, args ...any) error {
	var code string
	err := d.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		return refused(ctx, tx.QueryRow(ctx, sql, args...).Scan(&code))
	})
	if err != nil {
		return err
	}
	if refused := refusedObjection(code); refused != nil {
		return refused
	}
	return nil
}

// Object implements [disclose.Cases].
func (s Cases) Object(ctx context.Context, code [32]byte, sealed []byte, now time.Time) error {
	return s.db.objects(ctx, `SELECT use_code($1, $2, $3)`, code[:], sealed, now.UTC())
}

// Coded implements [disclose.Cases]: of the notice after something was done, if there is one.
func (s Cases) Coded(ctx context.Context, code [32]byte, now time.Time) (found policy.Coded, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		var about *string
		var until *time.Time
		rows, err := c.Query(ctx, `
			SELECT n.authority, n.file_number, n.pseudonym, n.platform, n.legal_basis, n.requester, n.fields, n.kind, n.about, coalesce(t.state, ''),
			  CASE WHEN t.state = 'waiting' AND n.first THEN f.days ELSE 0 END, CASE WHEN t.state = 'waiting' AND n.first THEN f.approve_from END
			FROM notice_codes k JOIN (
			    SELECT case_id, target, authority, file_number, pseudonym, platform, legal_basis, requester, fields, kind, about, false AS first FROM notices UNION ALL
			    SELECT case_id, target, authority, file_number, pseudonym, platform, legal_basis, requester, fields, kind, about, true FROM first_notices) n
			    ON n.case_id = k.case_id AND n.target = k.target
			  LEFT JOIN notice_first f ON f.case_id = k.case_id LEFT JOIN case_targets t ON t.case_id = k.case_id AND t.target = k.target
			WHERE k.hash = $1 AND k.until >= ($2::timestamptz AT TIME ZONE 'UTC')::date ORDER BY n.first LIMIT 1`, code[:], now.UTC())
		if err != nil {
			return err
		}
		_, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (struct{}, error) {
			return struct{}{}, row.Scan(&found.Authority, &found.FileNumber, &found.PenName, &found.Platform, &found.LegalBasis, &found.Requester, &found.Fields, &found.Kind, &about, &found.State, &found.Days, &until)
		})
		if err == pgx.ErrNoRows { //nolint:errorlint // CollectExactlyOneRow returns it bare
			return policy.ErrNoNotice
		}
		if until != nil {
			found.Until = until.UTC()
		}
		if err == nil && about != nil {
			err = json.Unmarshal([]byte(*about), &found.Told)
		}
		return err
	})
	return found, err
}
