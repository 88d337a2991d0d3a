package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// Cases implements [disclose.Cases].
type Cases struct {
	db   *db
	rows *sharedRows
}

var _ disclose.Cases = Cases{}

const (
	maxSubmission = 64 << 20  // bytes of JSON, as in the schema
	maxPackage    = 256 << 20 // bytes, as in the schema
	maxBundle     = 16 << 20  // bytes, as in the schema
)

// Sets of states, as SQL has them.
const (
	recorded    = `'` + string(disclose.Recorded) + `'`
	authorised  = `'` + string(disclose.Authorised) + `'`
	released    = `'` + string(disclose.Released) + `'`
	lostState   = `'` + string(disclose.Lost) + `'`
	mayBeClosed = `(` + recorded + `, ` + authorised + `)`
	mayBeTold   = `(` + released + `, ` + lostState + `)`
)

// caseSQL reads whole cases in one statement, and so from one snapshot; but not
// their packages, which are large.
const caseSQL = `
	SELECT c.id, c.warrant_hash, c.authority, c.warrant_id, c.kind, c.submission, c.bundle, c.salt, c.quorum, c.state,
	  c.secrecy_ends, c.expires, c.approve_from, c.recorded_leaf, coalesce(c.authorised_leaf, 0), coalesce(c.released_leaf, 0),
	  coalesce(c.expired_leaf, 0), coalesce(c.noticed_leaf, 0), c.compartments,
	  (SELECT json_agg(json_build_object('Custodian', a.custodian, 'Approved', a.approved, 'Signed', a.signed, 'Leaf', a.leaf, 'Bundle', coalesce(a.bundle, c.bundle))
	     ORDER BY a.leaf) FROM approvals a WHERE a.case_id = c.id)
	FROM cases c `

// scanCase reads a case and parses its warrant, here and nowhere else. One that
// cannot be parsed is left out: a case is believed for what the public log holds.
func scanCase(row pgx.CollectableRow) (c disclose.Case, err error) {
	var hash, submission, salt, approvals, compartments []byte
	err = row.Scan(&c.ID, &hash, &c.Authority, &c.WarrantID, &c.Kind, &submission, &c.Bundle, &salt, &c.Quorum, (*string)(&c.State),
		&c.SecrecyEnds, &c.Expires, &c.ApproveFrom, &c.RecordedLeaf, &c.AuthorisedLeaf, &c.ReleasedLeaf, &c.ExpiredLeaf, &c.NoticedLeaf, &compartments, &approvals)
	if err != nil {
		return c, err
	}
	copy(c.WarrantHash[:], hash)
	copy(c.Salt[:], salt)
	c.SecrecyEnds, c.Expires, c.ApproveFrom = c.SecrecyEnds.UTC(), c.Expires.UTC(), c.ApproveFrom.UTC()
	if err := json.Unmarshal(submission, &c.Submission); err != nil {
		return c, err
	}
	if w, err := policy.ParseUnverified(c.Submission.Warrant); err == nil {
		c.Warrant = w
	}
	if compartments != nil {
		if err := json.Unmarshal(compartments, &c.Compartments); err != nil {
			return c, err
		}
	}
	if approvals != nil {
		err = json.Unmarshal(approvals, &c.Approvals)
	}
	return c, err
}

func readCases(ctx context.Context, q querier, where string, args ...any) ([]disclose.Case, error) {
	rows, err := q.Query(ctx, caseSQL+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanCase)
}

// Earlier implements [disclose.Cases].
func (s Cases) Earlier(ctx context.Context, authority string, warrant [32]byte) (c disclose.Case, err error) {
	err = s.db.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		found, err := readCases(ctx, conn, `WHERE c.authority = $1 AND c.warrant_hash = $2`, authority, warrant[:])
		if err == nil && len(found) == 0 {
			return disclose.ErrNoEarlier
		}
		if err == nil {
			c = found[0]
		}
		return err
	})
	return c, err
}

// File implements [disclose.Cases]. The log's lock comes before the look-up:
// two filings of one warrant never append two leaves.
func (s Cases) File(ctx context.Context, c disclose.Case, leaf proof.Leaf) (disclose.Case, error) {
	submission, err := json.Marshal(c.Submission)
	if err != nil {
		return disclose.Case{}, ErrText.Because(err)
	}
	if len(submission) > maxSubmission {
		return disclose.Case{}, ErrTooLarge
	}
	c.Kind = leaf.WarrantKind
	err = s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		var earlier []disclose.Case
		if c.Earlier != nil { // a case before the log, as Apply locks them
			var err error
			if earlier, err = readCases(ctx, tx, `WHERE c.authority = $1 AND c.warrant_hash = $2 FOR UPDATE OF c`, c.Authority, c.Earlier[:]); err != nil {
				return refused(ctx, err)
			}
		}
		log := newLogTx(tx)
		if _, err := log.LockSize(ctx); err != nil {
			return err
		}
		have, err := readCases(ctx, tx, `WHERE c.authority = $1 AND c.warrant_id = $2`, c.Authority, c.WarrantID)
		if err != nil {
			return refused(ctx, err)
		}
		if len(have) == 1 {
			c = have[0]
			return nil
		}
		// A leaf of a warrant behind that of a newer bundle would convict the log for ever.
		switch hash, err := inForceHash(ctx, tx); {
		case err != nil:
			return err
		case hash != "" && hash != c.Bundle:
			return policy.ErrWrongBundle
		}
		if err := dailyNumber(ctx, tx, c, leaf.Day); err != nil {
			return err
		}
		if c.Earlier != nil {
			if len(earlier) != 1 {
				return disclose.ErrNoEarlier
			}
			leaf.Case = &earlier[0].RecordedLeaf
		}
		if c.RecordedLeaf, err = translog.Sequence(ctx, log, leaf); err != nil {
			return err
		}
		if err := insertCase(ctx, tx, c, submission); err != nil || c.Earlier == nil {
			return err
		}
		stopped, err := earlier[0].Withdraw()
		if err != nil {
			return err
		}
		return storeCase(ctx, tx, earlier[0], stopped, disclose.Change{})
	})
	if err != nil {
		return disclose.Case{}, err
	}
	return c, nil
}

func insertCase(ctx context.Context, tx pgx.Tx, c disclose.Case, submission []byte) error {
	compartments, err := json.Marshal(c.Compartments)
	if err != nil {
		return ErrText.Because(err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO cases (id, warrant_hash, authority, warrant_id, kind, submission, bundle, salt, quorum, state,
		  secrecy_ends, expires, approve_from, recorded_leaf, compartments)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, nullif($15::json::text, 'null')::json)`,
		c.ID, c.WarrantHash[:], c.Authority, c.WarrantID, c.Kind, submission, c.Bundle, c.Salt[:], c.Quorum, string(c.State),
		c.SecrecyEnds.UTC(), c.Expires.UTC(), c.ApproveFrom.UTC(), c.RecordedLeaf, compartments)
	if err != nil || len(c.Exhibits) == 0 {
		return refused(ctx, err)
	}
	return insertExhibits(ctx, tx, c)
}

// dailyNumber checks, under the log's lock, that the authority has not had its
// number of warrants recorded on that day. The day is the leaf's, so that anybody
// counts the same.
func dailyNumber(ctx context.Context, tx pgx.Tx, c disclose.Case, day string) error {
	if c.Daily == 0 || policy.KindOf(c.Kind).Stops {
		return nil
	}
	var raw []byte
	err := tx.QueryRow(ctx, `
		SELECT g.leaf FROM cases c JOIN log_leaves g ON g.index = c.recorded_leaf
		WHERE c.authority = $1 AND c.kind <> 'withdrawal' ORDER BY c.recorded_leaf DESC OFFSET $2 LIMIT 1`, c.Authority, c.Daily-1).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return refused(ctx, err)
	}
	if l, err := proof.ParseLeaf(raw); err != nil || l.Day == day {
		return disclose.ErrDailyNumber.Because(err)
	}
	return nil
}

// Refuse implements [disclose.Cases].
func (s Cases) Refuse(ctx context.Context, authority, warrantID string, leaf proof.Leaf) error {
	warrant := sha256.Sum256([]byte(authority + "\x00" + warrantID)) // neither holds a zero byte
	return s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		log := newLogTx(tx)
		if _, err := log.LockSize(ctx); err != nil {
			return err
		}
		var logged bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM refusals WHERE warrant = $1 AND code = $2)`,
			warrant[:], leaf.Code).Scan(&logged)
		if err != nil || logged {
			return refused(ctx, err)
		}
		index, err := translog.Sequence(ctx, log, leaf)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO refusals (warrant, code, leaf) VALUES ($1, $2, $3)`, warrant[:], leaf.Code, index)
		return refused(ctx, err)
	})
}

// Case implements [disclose.Cases].
func (s Cases) Case(ctx context.Context, id string) (disclose.Case, error) {
	return readOne(ctx, s.db, scanCase, caseSQL+`WHERE c.id = $1`, id)
}

// Package implements [disclose.Cases].
func (s Cases) Package(ctx context.Context, id string) ([]byte, error) {
	return readOne(ctx, s.db, pgx.RowTo[[]byte], `SELECT package FROM cases WHERE id = $1`, id)
}

// latest: of a custodian's decisions under one bundle after another, the last.
const latest = `NOT EXISTS (SELECT FROM approvals l WHERE l.case_id = a.case_id AND l.custodian = a.custodian AND l.leaf > a.leaf)`

const summarySQL = `
	SELECT c.id, c.kind, c.state, c.quorum,
	  (SELECT count(*) FROM approvals a WHERE a.case_id = c.id AND a.approved AND ` + latest + `),
	  (SELECT count(*) FROM approvals a WHERE a.case_id = c.id AND NOT a.approved AND ` + latest + `),
	  c.recorded_leaf, c.bundle, c.secrecy_ends, c.expires
	FROM cases c `

func scanSummary(row pgx.CollectableRow) (s disclose.Summary, err error) {
	err = row.Scan(&s.ID, &s.Kind, (*string)(&s.State), &s.Quorum, &s.Approved, &s.Declined, &s.Leaf, &s.Bundle, &s.SecrecyEnds, &s.Expires)
	s.SecrecyEnds, s.Expires = s.SecrecyEnds.UTC(), s.Expires.UTC()
	return s, err
}

// Summary implements [disclose.Cases].
func (s Cases) Summary(ctx context.Context, id string) (disclose.Summary, error) {
	return readOne(ctx, s.db, scanSummary, summarySQL+`WHERE c.id = $1`, id)
}

// readOne reads one row of one case, or is ErrNoCase.
func readOne[T any](ctx context.Context, d *db, scan pgx.RowToFunc[T], sql, id string) (one T, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, sql, id)
		if err != nil {
			return err
		}
		one, err = pgx.CollectExactlyOneRow(rows, scan)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = disclose.ErrNoCase
	}
	return one, err
}

// queueSQL is [disclose.Queue.Due] with its order. $1 is now, ($2, $3) the
// place; each has a partial index (cases_for_…).
var queueSQL = map[disclose.Queue]string{
	disclose.ForCustodians: `WHERE c.state = ` + recorded + ` AND c.kind IN ` + kindsSQL(func(k policy.Kind) bool { return k.Opens }) + ` AND c.expires > $1 AND c.approve_from <= $1
	  AND (c.expires, c.recorded_leaf) > ($2, $3) ORDER BY c.expires, c.recorded_leaf LIMIT $4`,
	disclose.ForNotice: `WHERE c.state IN ` + mayBeTold + ` AND c.released_leaf IS NOT NULL AND c.secrecy_ends <= $1
	  AND (c.secrecy_ends, c.recorded_leaf) > ($2, $3) ORDER BY c.secrecy_ends, c.recorded_leaf LIMIT $4`,
	disclose.ForExpiry: `WHERE c.state IN ` + mayBeClosed + ` AND c.kind IN ` + kindsSQL(func(k policy.Kind) bool { return k.Clock != policy.ClockNone }) + ` AND c.expires <= $1
	  AND (c.expires, c.recorded_leaf) > ($2, $3) ORDER BY c.expires, c.recorded_leaf LIMIT $4`,
}

// kindsSQL is the list of the kinds of which is holds: ('production'). An index
// serves a queue if its condition on kind holds for each of them.
func kindsSQL(is func(policy.Kind) bool) string {
	return `('` + strings.Join(policy.KindNames(is), `', '`) + `')`
}

// List implements [disclose.Cases].
func (s Cases) List(ctx context.Context, q disclose.Queue, now time.Time, after disclose.Cursor, n int) (page []disclose.Summary, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, summarySQL+queueSQL[q], now.UTC(), after.Due.UTC(), after.Leaf, n)
		if err != nil {
			return err
		}
		page, err = pgx.CollectRows(rows, scanSummary)
		return err
	})
	return page, err
}

// Apply implements [disclose.Cases].
func (s Cases) Apply(ctx context.Context, id string, decide func(disclose.Case) (disclose.Change, error)) (disclose.Case, error) {
	var c disclose.Case
	var sent map[int64][]byte // the leaves of the last attempt, by index
	err := s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, doubt bool) (err error) {
		if c, err = lockCase(ctx, tx, id); err != nil {
			return err
		}
		key, err := s.suspends(ctx, c) // before the log is locked: the key service may be slow
		if err != nil {
			return err
		}
		log := newLogTx(tx)
		// Under the lock, an attempt whose answer was lost has ended: its leaves
		// are where it put them, or it did not happen.
		if doubt && len(sent) > 0 {
			if landed, err := holds(ctx, log, sent); landed || err != nil {
				return err
			}
		}
		change, err := decide(c)
		if err != nil {
			return err
		}
		if change.InForce != "" {
			if _, err := log.LockSize(ctx); err != nil {
				return err
			}
			switch hash, err := inForceHash(ctx, tx); {
			case err != nil:
				return err
			case hash != change.InForce:
				return disclose.ErrRulesChanged
			}
		}
		before := c
		var indices []int64
		if indices, sent, err = appendLeaves(ctx, log, change); err != nil {
			return err
		}
		if c, err = c.After(change, indices...); err != nil {
			return err
		}
		if err := storeCase(ctx, tx, before, c, change); err != nil || key == nil {
			return err
		}
		return suspend(ctx, tx, *key, c, change)
	})
	if err != nil {
		return disclose.Case{}, err
	}
	return c, nil
}

// appendLeaves appends the leaves of a change and returns where they went, and
// their bytes by index.
func appendLeaves(ctx context.Context, log *logTx, change disclose.Change) (indices []int64, sent map[int64][]byte, err error) {
	sent = make(map[int64][]byte)
	for _, step := range change.Steps {
		if step.Leaf.Kind == "" {
			continue
		}
		index, err := translog.Sequence(ctx, log, step.Leaf)
		if err != nil {
			return nil, nil, err
		}
		if sent[index], err = step.Leaf.Marshal(); err != nil {
			return nil, nil, err
		}
		indices = append(indices, index)
	}
	return indices, sent, nil
}

// lockCase locks a case and reads it. In one statement, rows of other tables
// would be read from a snapshot older than the lock.
func lockCase(ctx context.Context, tx pgx.Tx, id string) (c disclose.Case, err error) {
	var have []disclose.Case
	b := &pgx.Batch{}
	b.Queue(`SELECT id FROM cases WHERE id = $1 FOR UPDATE`, id)
	b.Queue(caseSQL+`WHERE c.id = $1`, id).Query(func(rows pgx.Rows) (err error) {
		have, err = pgx.CollectRows(rows, scanCase)
		return err
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return c, refused(ctx, err)
	}
	if len(have) == 0 {
		return c, disclose.ErrNoCase
	}
	return have[0], nil
}

// holds reports whether the log has exactly these leaves at these places.
func holds(ctx context.Context, log *logTx, leaves map[int64][]byte) (bool, error) {
	for index, want := range leaves {
		have, err := log.Leaf(ctx, index)
		if errors.Is(err, translog.ErrNoLeaf) || err == nil && !bytes.Equal(have, want) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// storeCase stores what a change made of a case: state, leaves and package move
// forward, approvals and notices are appended. The schema refuses the rest.
func storeCase(ctx context.Context, tx pgx.Tx, before, c disclose.Case, change disclose.Change) error {
	if len(change.Package) > maxPackage {
		return ErrTooLarge
	}
	b := &pgx.Batch{}
	for _, a := range c.Approvals[len(before.Approvals):] {
		if len(a.Signed) > maxSubmission {
			return ErrTooLarge
		}
		b.Queue(`INSERT INTO approvals (case_id, custodian, approved, signed, leaf, bundle) VALUES ($1, $2, $3, $4, $5, nullif($6, ''))`,
			c.ID, a.Custodian, a.Approved, a.Signed, a.Leaf, a.Bundle)
	}
	if c.State != before.State || c.AuthorisedLeaf != before.AuthorisedLeaf || c.ReleasedLeaf != before.ReleasedLeaf || change.Package != nil {
		b.Queue(`
			UPDATE cases SET state = $2, authorised_leaf = nullif($3::bigint, 0), released_leaf = nullif($4::bigint, 0),
			  expired_leaf = nullif($5::bigint, 0), noticed_leaf = nullif($6::bigint, 0), package = coalesce($7, package)
			WHERE id = $1 AND state = $8`,
			c.ID, string(c.State), c.AuthorisedLeaf, c.ReleasedLeaf, c.ExpiredLeaf, c.NoticedLeaf, change.Package, string(before.State))
	}
	if n := change.Notice; n != nil {
		names, platforms := make([]string, len(n.To)), make([]string, len(n.To))
		for i, t := range n.To {
			names[i], platforms[i] = string(t.Pseudonym), t.Platform
		}
		// A person reads it: the court by its name, as the bundle that decided has it.
		b.Queue(`
			INSERT INTO notices (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, until)
			SELECT $1, t.pseudonym, t.platform, coalesce((
			  SELECT a ->> 'name' FROM bundles, json_array_elements(convert_from(bundle, 'UTF8')::json -> 'authorities') a
			  WHERE sha256(bundle) = decode($11, 'hex') AND a ->> 'id' = $4 LIMIT 1), $4), $5, $6, $7, $8::text[], $9::bigint, $10::date, $12, $13
			FROM unnest($2::text[], $3::text[]) t (pseudonym, platform)`,
			c.ID, names, platforms, n.Authority, n.FileNumber, n.LegalBasis, n.Requester, n.Fields, n.Leaf, n.Day.UTC().Truncate(24*time.Hour), c.Bundle,
			c.Kind, suspendedUntil(c))
	}
	return refused(ctx, tx.SendBatch(ctx, b).Close())
}
