package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Cases implements [disclose.Cases].
type Cases struct {
	db       *db
	rows     *sharedRows
	refusals *coalesce.Group[refusedFiling, struct{}]
}

var _ disclose.Cases = Cases{}

const (
	maxSubmission = 64 << 20  // bytes of JSON, as in the schema
	maxPackage    = 256 << 20 // bytes, as in the schema
	maxBundle     = 16 << 20  // bytes, as in the schema
)

// Sets of states, as SQL has them.
const (
	recorded   = `'` + string(disclose.Recorded) + `'`
	authorised = `'` + string(disclose.Authorised) + `'`
	released   = `'` + string(disclose.Released) + `'`
	noticed    = `'` + string(disclose.Noticed) + `'`
	lostState  = `'` + string(disclose.Lost) + `'`
)

// caseSQL reads whole cases in one statement, and so from one snapshot; but not
// their packages, which are large.
const caseSQL = `
	SELECT c.id, c.warrant_hash, c.authority, c.warrant_id, c.kind, c.submission, c.bundle, c.salt, c.quorum, c.state,
	  c.secrecy_ends, c.expires, c.approve_from, c.validate_by, c.recorded_leaf, coalesce(c.authorised_leaf, 0), coalesce(c.released_leaf, 0),
	  coalesce(c.declined_leaf, 0), coalesce(c.expired_leaf, 0), coalesce(c.noticed_leaf, 0), coalesce(c.validated_leaf, 0), coalesce(c.lapsed_leaf, 0),
	  c.receipt, coalesce(c.requester, ''), c.compartments,
	  coalesce(f.days, 0), f.tell_by, coalesce(f.leaf, 0), coalesce(f.reached, false), f.approve_from, EXISTS (SELECT FROM first_notices n WHERE n.case_id = c.id),
	  (SELECT json_agg(json_build_object('Target', o.target, 'N', o.n, 'Lawyer', o.lawyer, 'Day', o.day, 'Suspends', o.suspends, 'Digest', encode(o.digest, 'hex'),
	     'Leaf', coalesce(o.leaf, 0), 'Outcome', coalesce(o.outcome, ''), 'Ruling', coalesce(o.ruling, 0)) ORDER BY o.target, o.n) FROM objections o WHERE o.case_id = c.id),
	  (SELECT json_agg(json_build_object('Custodian', a.custodian, 'Approved', a.approved, 'Signed', a.signed, 'Leaf', a.leaf,
	     'Bundle', coalesce(a.bundle, c.bundle), 'Votes', encode(a.votes, 'hex')) ORDER BY a.leaf) FROM approvals a WHERE a.case_id = c.id),
	  (SELECT json_agg(json_build_object('State', t.state, 'Code', t.code, 'Round', coalesce(t.round, 0)) ORDER BY t.target) FROM case_targets t WHERE t.case_id = c.id),
	  (SELECT json_agg(json_build_object('AuthorisedLeaf', r.authorised_leaf, 'ReleasedLeaf', coalesce(r.released_leaf, 0)) ORDER BY r.n) FROM case_rounds r WHERE r.case_id = c.id),
	  (SELECT array_agg(n.leaf ORDER BY n.leaf) FROM annulments n WHERE n.case_id = c.id), d.said, d.mac, d.leaf,
	  (SELECT json_agg(json_build_object('Custodian', s.custodian, 'Statement', encode(s.digest, 'hex')) ORDER BY s.n) FROM statements s WHERE s.case_id = c.id AND s.kind = 'recusal')
	FROM cases c LEFT JOIN deletions d ON d.case_id = c.id LEFT JOIN notice_first f ON f.case_id = c.id `

// scanCase reads a case and parses its warrant, here and nowhere else. One that
// cannot be parsed is left out: a case is believed for what the public log holds.
func scanCase(row pgx.CollectableRow) (c disclose.Case, err error) {
	var hash, submission, salt, receipt, compartments, approvals, targets, further, mac, recusals, objections []byte
	var validateBy, tellBy, approveFrom *time.Time
	var said *string
	var stated *int64
	var first disclose.Round
	err = row.Scan(&c.ID, &hash, &c.Authority, &c.WarrantID, &c.Kind, &submission, &c.Bundle, &salt, &c.Quorum, (*string)(&c.State),
		&c.SecrecyEnds, &c.Expires, &c.ApproveFrom, &validateBy, &c.RecordedLeaf, &first.AuthorisedLeaf, &first.ReleasedLeaf,
		&c.DeclinedLeaf, &c.ExpiredLeaf, &c.NoticedLeaf, &c.ValidatedLeaf, &c.LapsedLeaf,
		&receipt, &c.Requester, &compartments, &c.First.Days, &tellBy, &c.First.Leaf, &c.First.Reached, &approveFrom, &c.First.Shown, &objections, &approvals, &targets, &further, &c.Annulments, &said, &mac, &stated, &recusals)
	if err != nil {
		return c, err
	}
	copy(c.WarrantHash[:], hash)
	copy(c.Salt[:], salt)
	copy(c.Secret[:], receipt)
	c.SecrecyEnds, c.Expires, c.ApproveFrom = c.SecrecyEnds.UTC(), c.Expires.UTC(), c.ApproveFrom.UTC()
	for at, into := range map[*time.Time]*time.Time{validateBy: &c.ValidateBy, tellBy: &c.First.TellBy, approveFrom: &c.ApproveFrom} {
		if at != nil {
			*into = at.UTC()
		}
	}
	if c.Objections, err = readObjections(objections); err != nil {
		return c, err
	}
	if stated != nil {
		c.Deletion = &disclose.Deletion{Said: *said, MAC: [32]byte(mac), Leaf: *stated}
	}
	if err := json.Unmarshal(submission, &c.Submission); err != nil {
		return c, err
	}
	if w, err := policy.ParseUnverified(c.Submission.Warrant); err == nil {
		c.Warrant = w
	}
	if first.AuthorisedLeaf != 0 {
		c.Rounds = []disclose.Round{first}
	}
	for _, part := range []struct {
		json []byte
		into any
	}{{compartments, &c.Compartments}, {approvals, &c.Approvals}, {targets, &c.Targets}, {recusals, &c.Recusals}} {
		if part.json != nil {
			err = errors.Join(err, json.Unmarshal(part.json, part.into))
		}
	}
	var more []disclose.Round
	if further != nil {
		err = errors.Join(err, json.Unmarshal(further, &more))
	}
	c.Rounds = append(c.Rounds, more...)
	return c, err
}

func readCases(ctx context.Context, q querier, where string, args ...any) ([]disclose.Case, error) {
	rows, err := q.Query(ctx, caseSQL+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanCase)
}

// Together implements [disclose.Cases].
func (s Cases) Together(ctx context.Context) (context.Context, func() error) {
	return s.db.together(ctx)
}

// Earlier implements [disclose.Cases].
func (s Cases) Earlier(ctx context.Context, warrant [32]byte) (c disclose.Case, err error) {
	err = s.db.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		found, err := readCases(ctx, conn, `WHERE c.warrant_hash = $1`, warrant[:])
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
			if earlier, err = lockEarlier(ctx, tx, *c.Earlier); err != nil {
				return err
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
		if err := sameCounts(ctx, tx, c, leaf.Day); err != nil {
			return err
		}
		leaf := leaf // an attempt may be repeated
		var change disclose.Change
		if c.Earlier != nil {
			if len(earlier) != 1 {
				return disclose.ErrNoEarlier
			}
			if change, leaf, err = earlier[0].Later(c, leaf); err != nil {
				return err
			}
		}
		if c.RecordedLeaf, err = translog.Sequence(ctx, log, leaf); err != nil {
			return err
		}
		if err := insertCase(ctx, tx, c, submission, leaf.Day); err != nil || c.Earlier == nil {
			return err
		}
		change.Later.Leaf = c.RecordedLeaf
		after, err := earlier[0].After(change)
		if err != nil {
			return err
		}
		if err := answer(ctx, tx, after.ID, change.Later); err != nil {
			return err
		}
		return storeCase(ctx, tx, earlier[0], after, change)
	})
	if err != nil {
		return disclose.Case{}, err
	}
	return c, nil
}

func insertCase(ctx context.Context, tx pgx.Tx, c disclose.Case, submission []byte, day string) error {
	compartments, err := json.Marshal(c.Compartments)
	if err != nil {
		return ErrText.Because(err)
	}
	var validateBy *time.Time
	if !c.ValidateBy.IsZero() {
		validateBy = &c.ValidateBy
	}
	var answerBy *time.Time
	if by := c.AnswerBy(); !by.IsZero() {
		answerBy = &by
	}
	var receipt []byte
	if c.Secret != [32]byte{} {
		receipt = c.Secret[:]
	}
	b := &pgx.Batch{}
	b.Queue(`
		INSERT INTO cases (id, warrant_hash, authority, warrant_id, kind, submission, bundle, salt, quorum, state,
		  secrecy_ends, expires, approve_from, recorded_leaf, compartments, targets, day, requester, receipt, validate_by, answer_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, nullif($15::json::text, 'null')::json, $16, $17::date, nullif($18, ''), $19, $20, $21)`,
		c.ID, c.WarrantHash[:], c.Authority, c.WarrantID, c.Kind, submission, c.Bundle, c.Salt[:], c.Quorum, string(c.State),
		c.SecrecyEnds.UTC(), c.Expires.UTC(), c.ApproveFrom.UTC(), c.RecordedLeaf, compartments, len(c.Targets), day, c.Requester, receipt, validateBy, answerBy)
	if len(c.Targets) > 0 {
		states, codes := make([]string, len(c.Targets)), make([]string, len(c.Targets))
		for i, t := range c.Targets {
			states[i], codes[i] = string(t.State), t.Code
		}
		b.Queue(`
			INSERT INTO case_targets (case_id, target, state, code)
			SELECT $1, t.place - 1, t.state, t.code FROM unnest($2::text[], $3::text[]) WITH ORDINALITY t (state, code, place)`, c.ID, states, codes)
	}
	if c.First.Days > 0 {
		b.Queue(`INSERT INTO notice_first (case_id, days, tell_by) VALUES ($1, $2, $3)`, c.ID, c.First.Days, c.First.TellBy.UTC())
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil || len(c.Exhibits) == 0 {
		return refused(ctx, err)
	}
	return insertExhibits(ctx, tx, c)
}

// sameCounts checks, under the log's lock, that what counts for the authority and the
// requester is what it was when the warrant was decided: the day is the leaf's, so that
// anybody counts the same.
func sameCounts(ctx context.Context, tx pgx.Tx, c disclose.Case, day string) error {
	today, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return ErrText.Because(err)
	}
	filed, err := countFiled(ctx, tx, c.Authority, c.Requester, today, math.MaxInt64)
	switch {
	case err != nil:
		return refused(ctx, err)
	case c.Filed != nil && filed != *c.Filed:
		return disclose.ErrFiledMeanwhile
	case c.Daily > 0 && !policy.KindOf(c.Kind).Stops && filed.Today >= c.Daily:
		return disclose.ErrDailyNumber
	}
	return nil
}

// filedSQL: $1 is the authority, $2 the requester, $3 the day, $4 a leaf. Each count is read from an
// index of that day, or of 31 days, alone.
var filedSQL = `
	SELECT (SELECT count(*) FROM cases WHERE authority = $1 AND day = $3 AND recorded_leaf < $4 AND kind IN ` + kindsSQL(func(k policy.Kind) bool { return k.Clock != policy.ClockNone }) + `),
	  (SELECT coalesce(sum(targets), 0) FROM cases WHERE authority = $1 AND day BETWEEN $3 - 30 AND $3 AND recorded_leaf < $4 AND kind IN ` + countedKinds + `),
	  (SELECT coalesce(sum(targets), 0) FROM cases WHERE requester = $2 AND day BETWEEN $3 - 30 AND $3 AND recorded_leaf < $4 AND kind IN ` + countedKinds + `)`

func countFiled(ctx context.Context, q querier, authority, requester string, day time.Time, before int64) (f policy.Filed, err error) {
	rows, err := q.Query(ctx, filedSQL, authority, requester, day.UTC().Truncate(24*time.Hour), before)
	if err != nil {
		return f, err
	}
	return pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (f policy.Filed, err error) {
		return f, row.Scan(&f.Today, &f.Authority30, &f.Requester30)
	})
}

// Filed implements [disclose.Cases].
func (s Cases) Filed(ctx context.Context, authority, requester string, day time.Time, before int64) (f policy.Filed, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		f, err = countFiled(ctx, c, authority, requester, day, before)
		return err
	})
	return f, err
}

// lockEarlier locks the case of a warrant and reads it, as [lockCase] does.
func lockEarlier(ctx context.Context, tx pgx.Tx, warrant [32]byte) (have []disclose.Case, err error) {
	b := &pgx.Batch{}
	b.Queue(`SELECT id FROM cases WHERE warrant_hash = $1 FOR UPDATE`, warrant[:])
	b.Queue(caseSQL+`WHERE c.warrant_hash = $1`, warrant[:]).Query(func(rows pgx.Rows) (err error) {
		have, err = pgx.CollectRows(rows, scanCase)
		return err
	})
	return have, refused(ctx, tx.SendBatch(ctx, b).Close())
}

// refusedFiling is one that gets a leaf, once for each code.
type refusedFiling struct {
	warrant []byte
	code    string
	leaf    translog.Entry
}

// Refuse implements [disclose.Cases].
func (s Cases) Refuse(ctx context.Context, authority, warrantID string, leaf proof.Leaf) error {
	if err := ctx.Err(); err != nil {
		return refused(ctx, err)
	}
	entry, err := translog.Prepare(leaf)
	if err != nil {
		return err
	}
	warrant := sha256.Sum256([]byte(authority + "\x00" + warrantID)) // neither holds a zero byte
	_, err = s.refusals.Do(context.WithoutCancel(ctx), refusedFiling{warrant[:], leaf.Code, entry})
	if errors.Is(err, context.DeadlineExceeded) && refusal.Of(err) == nil { // those before it hang
		return ErrUnknown.Because(&serverError{unknown: true, cause: err})
	}
	return err
}

// refuseTogether stores those that come while others are stored in one transaction: anybody
// can make a refusal, and one alone would cost the log a COMMIT.
func (s Cases) refuseTogether(ctx context.Context, filings []refusedFiling) ([]coalesce.Result[struct{}], error) {
	return inHalves(ctx, s.db.commit, filings, func(ctx context.Context, filings []refusedFiling) ([]coalesce.Result[struct{}], error) {
		results := make([]coalesce.Result[struct{}], len(filings))
		err := s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
			clear(results)
			return appendRefusals(ctx, tx, filings, results)
		})
		return results, err
	}), nil
}

// appendRefusals appends a leaf for each filing that has none. One whose leaf does not fit
// changes nothing for the others.
func appendRefusals(ctx context.Context, tx pgx.Tx, filings []refusedFiling, results []coalesce.Result[struct{}]) error {
	log, b := newLogTx(tx), &pgx.Batch{}
	log.lock(b)
	warrants, codes := make([][]byte, len(filings)), make([]string, len(filings))
	for i, r := range filings {
		warrants[i], codes[i] = r.warrant, r.code
	}
	place := make(map[string]int) // among those that have no leaf, from 1; -1: it has one
	// OFFSET 0: row by row, by the index; a plan of when the table was empty would read all of it.
	b.Queue(`SELECT f.warrant, f.code FROM unnest($1::bytea[], $2::text[]) f (warrant, code),
		LATERAL (SELECT FROM refusals r WHERE r.warrant = f.warrant AND r.code = f.code OFFSET 0) r`, warrants, codes).Query(func(rows pgx.Rows) error {
		var warrant []byte
		var code string
		_, err := pgx.ForEachRow(rows, []any{&warrant, &code}, func() error { place[string(warrant)+code] = -1; return nil })
		return err
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return refused(ctx, err)
	}
	var fresh []int
	var entries []translog.Entry
	for i, r := range filings {
		if key := string(r.warrant) + r.code; place[key] == 0 {
			fresh, entries = append(fresh, i), append(entries, r.leaf)
			place[key] = len(fresh)
		}
	}
	log.pending = &pgx.Batch{}
	placed, err := translog.SequenceAll(ctx, log, entries)
	if err != nil {
		return err
	}
	for i, r := range filings { // what comes twice has one leaf, or none
		if n := place[string(r.warrant)+r.code]; n > 0 {
			results[i].Err = placed[n-1].Err
		}
	}
	warrants, codes = warrants[:0], codes[:0]
	var indices []int64
	for n, p := range placed {
		if r := filings[fresh[n]]; p.Err == nil {
			warrants, codes, indices = append(warrants, r.warrant), append(codes, r.code), append(indices, p.Index)
		}
	}
	if len(indices) == 0 {
		return nil
	}
	log.pending.Queue(`INSERT INTO refusals (warrant, code, leaf) SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[])`, warrants, codes, indices)
	return refused(ctx, tx.SendBatch(ctx, log.pending).Close())
}

// Case implements [disclose.Cases].
func (s Cases) Case(ctx context.Context, id string) (disclose.Case, error) {
	return readOne(ctx, s.db, scanCase, caseSQL+`WHERE c.id = $1`, id)
}

// Package implements [disclose.Cases].
func (s Cases) Package(ctx context.Context, id string, round int) ([]byte, error) {
	if round == 0 {
		return readOne(ctx, s.db, pgx.RowTo[[]byte], `SELECT package FROM cases WHERE id = $1`, id)
	}
	return readOne(ctx, s.db, pgx.RowTo[[]byte], `SELECT r.package FROM cases c LEFT JOIN case_rounds r ON r.case_id = c.id AND r.n = $2 WHERE c.id = $1`, id, round+1)
}

// latest: of a custodian's decisions under one bundle after another, the last.
const latest = `NOT EXISTS (SELECT FROM approvals l WHERE l.case_id = a.case_id AND l.custodian = a.custodian AND l.leaf > a.leaf)`

// isTold: all may know what was decided, because a leaf has opened it.
const isTold = `(a.votes IS NULL OR a.leaf < coalesce(greatest(c.declined_leaf, c.authorised_leaf,
	  (SELECT max(r.authorised_leaf) FROM case_rounds r WHERE r.case_id = c.id)), 0))`

const summarySQL = `
	SELECT c.id, c.kind, c.state, c.quorum,
	  (SELECT count(*) FROM approvals a WHERE a.case_id = c.id AND a.approved AND ` + isTold + ` AND ` + latest + `),
	  (SELECT count(*) FROM approvals a WHERE a.case_id = c.id AND NOT a.approved AND ` + isTold + ` AND ` + latest + `),
	  (SELECT count(*) FROM approvals a WHERE a.case_id = c.id AND NOT ` + isTold + ` AND ` + latest + `),
	  c.targets, c.waiting, c.released,
	  CASE WHEN c.lapsed_leaf IS NOT NULL AND c.released > 0 THEN 'lapsed' WHEN EXISTS (SELECT FROM annulments n WHERE n.case_id = c.id) THEN 'annulled' ELSE '' END,
	  c.recorded_leaf, c.bundle, c.secrecy_ends, c.expires, c.validate_by, c.validated_leaf IS NOT NULL, c.authority, c.approve_from, c.warrant_hash
	FROM cases c `

func scanSummary(row pgx.CollectableRow) (s disclose.Summary, err error) {
	var validateBy *time.Time
	var hash []byte
	err = row.Scan(&s.ID, &s.Kind, (*string)(&s.State), &s.Quorum, &s.Approved, &s.Declined, &s.Untold, &s.Targets, &s.Waiting, &s.Released, &s.Barred,
		&s.Leaf, &s.Bundle, &s.SecrecyEnds, &s.Expires, &validateBy, &s.Validated, &s.Authority, &s.ApproveFrom, &hash)
	copy(s.Warrant[:], hash)
	s.ApproveFrom = s.ApproveFrom.UTC()
	if s.SecrecyEnds, s.Expires = s.SecrecyEnds.UTC(), s.Expires.UTC(); validateBy != nil {
		s.ValidateBy = validateBy.UTC()
	}
	return s, err
}

// Summary implements [disclose.Cases].
func (s Cases) Summary(ctx context.Context, id string) (disclose.Summary, error) {
	return readOne(ctx, s.db, scanSummary, summarySQL+`WHERE c.id = $1`, id)
}

// readOne reads one row of one case, or is ErrNoCase.
func readOne[T any](ctx context.Context, d *db, scan pgx.RowToFunc[T], sql string, args ...any) (one T, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
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

// Kinds of warrants, as SQL has them.
var (
	decidedKinds = kindsSQL(func(k policy.Kind) bool { return k.Decided })
	openingKinds = kindsSQL(func(k policy.Kind) bool { return k.Opens })
	countedKinds = kindsSQL(func(k policy.Kind) bool { return k.Decided && k.As == "" })                   // a redelivery's targets were counted before
	closedKinds  = kindsSQL(func(k policy.Kind) bool { return k.Decided && !k.Opens })                     // decided, and open nothing
	endingKinds  = kindsSQL(func(k policy.Kind) bool { return k.Clock != policy.ClockNone && !k.Earlier }) // run out
)

// Which cases wait for a notice, or for their end: as [disclose.Queue.Due] has it, but for
// the time.
var (
	mayBeTold = `(c.released > 0 AND c.state IN (` + authorised + `, ` + released + `, ` + lostState + `) OR c.state = ` + authorised + ` AND c.kind IN ` + closedKinds + `)`
	mayEnd    = `((c.state IN (` + recorded + `, ` + authorised + `) OR c.state = ` + released + ` AND c.waiting > 0) AND c.kind IN ` + endingKinds + ` AND NOT (c.state = ` + authorised + ` AND c.kind IN ` + closedKinds + `))`
	mayLapse  = `(c.validated_leaf IS NULL AND c.lapsed_leaf IS NULL AND c.validate_by IS NOT NULL AND c.state IN (` + recorded + `, ` + authorised + `, ` + released + `, ` + noticed + `))`
)

// toldBefore is of cases whose persons are not told first, or have had their days at that time.
func toldBefore(now string) string {
	return `NOT EXISTS (SELECT FROM notice_first f WHERE f.case_id = c.id AND (f.leaf IS NULL OR f.approve_from > ` + now + `))`
}

// queueSQL is [disclose.Queue.Due] with its order. $1 is now, ($2, $3) the
// place; each has a partial index (cases_for_…).
var queueSQL = map[disclose.Queue]string{
	disclose.ForCustodians: `WHERE c.waiting > 0 AND c.state IN (` + recorded + `, ` + authorised + `, ` + released + `) AND c.kind IN ` + decidedKinds + `
	  AND c.expires > $1 AND (c.expires, c.recorded_leaf) > ($2, $3) ORDER BY c.expires, c.recorded_leaf LIMIT $4`,
	disclose.ForNotice: `WHERE ` + mayBeTold + ` AND c.secrecy_ends <= $1
	  AND (c.secrecy_ends, c.recorded_leaf) > ($2, $3) ORDER BY c.secrecy_ends, c.recorded_leaf LIMIT $4`,
	disclose.ForExpiry: `WHERE ` + mayEnd + ` AND c.expires <= $1
	  AND (c.expires, c.recorded_leaf) > ($2, $3) ORDER BY c.expires, c.recorded_leaf LIMIT $4`,
	disclose.ForTelling: `WHERE c.id IN (SELECT case_id FROM notice_first WHERE leaf IS NULL UNION SELECT case_id FROM objections WHERE suspends AND leaf IS NULL)
	  AND c.state = ` + recorded + ` AND c.expires > $1 AND (c.expires, c.recorded_leaf) > ($2, $3) ORDER BY c.expires, c.recorded_leaf LIMIT $4`,
	disclose.ForValidation: `WHERE ` + mayLapse + ` AND c.validate_by <= $1
	  AND (c.validate_by, c.recorded_leaf) > ($2, $3) ORDER BY c.validate_by, c.recorded_leaf LIMIT $4`,
}

// dueSQL is [disclose.Summary.Due] in UTC, NULL where there is none. The index
// cases_of_authority has the same expression.
var dueSQL = `least(
  CASE WHEN c.waiting > 0 AND c.state IN (` + recorded + `, ` + authorised + `, ` + released + `) AND c.kind IN ` + decidedKinds + `
    THEN date_trunc('second', c.approve_from AT TIME ZONE 'UTC') + CASE c.kind WHEN 'emergency' THEN interval '8 hours' ELSE interval '240 hours' END END,
  CASE WHEN c.validated_leaf IS NULL AND c.lapsed_leaf IS NULL AND c.state IN (` + recorded + `, ` + authorised + `, ` + released + `, ` + noticed + `)
    THEN date_trunc('second', c.validate_by AT TIME ZONE 'UTC') END,
  CASE WHEN c.kind IN ` + endingKinds + ` AND (c.state IN (` + recorded + `, ` + authorised + `) OR c.state = ` + released + ` AND c.waiting > 0)
    THEN date_trunc('second', c.expires AT TIME ZONE 'UTC') END,
  CASE WHEN c.kind IN ` + openingKinds + ` AND c.state IN (` + recorded + `, ` + authorised + `, ` + released + `, ` + lostState + `)
    THEN date_trunc('second', c.secrecy_ends AT TIME ZONE 'UTC') END)`

var ofSQL = `WHERE c.authority = $1 AND ` + dueSQL + ` IS NOT NULL AND (` + dueSQL + `, c.recorded_leaf) > ($2, $3) ORDER BY ` + dueSQL + `, c.recorded_leaf LIMIT $4`

// CasesOf implements [disclose.Cases].
func (s Cases) CasesOf(ctx context.Context, authority string, after disclose.Cursor, n int) (page []disclose.Summary, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, summarySQL+ofSQL, authority, after.Due.UTC(), after.Leaf, n)
		if err != nil {
			return err
		}
		page, err = pgx.CollectRows(rows, scanSummary)
		return err
	})
	return page, err
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
		var duties rowKey // likewise
		if len(change.Duties) > 0 {
			if duties, err = s.rows.get(ctx, s.db); err != nil {
				return err
			}
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
		sent = make(map[int64][]byte)
		indices, err := change.Append(func(leaf proof.Leaf) (index int64, err error) {
			if index, err = translog.Sequence(ctx, log, leaf); err == nil {
				sent[index], err = leaf.Marshal()
			}
			return index, err
		})
		if err != nil {
			return err
		}
		if c, err = c.After(change, indices...); err != nil {
			return err
		}
		if err := storeCase(ctx, tx, before, c, change); err != nil {
			return err
		}
		if err := pledge(ctx, tx, duties, c, change.Duties); err != nil || key == nil {
			return err
		}
		return suspend(ctx, tx, *key, c, change)
	})
	if err != nil {
		return disclose.Case{}, err
	}
	return c, nil
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

// storeCase stores what a change made of a case: states, leaves and packages move
// forward, approvals and notices are appended. The schema refuses the rest, and wants
// approvals before what they authorise, a round before the targets in it, and the case
// released before its targets are.
func storeCase(ctx context.Context, tx pgx.Tx, before, c disclose.Case, change disclose.Change) error {
	if len(change.Package) > maxPackage {
		return ErrTooLarge
	}
	b := &pgx.Batch{}
	for _, a := range c.Approvals[len(before.Approvals):] {
		if len(a.Signed) > maxSubmission {
			return ErrTooLarge
		}
		b.Queue(`INSERT INTO approvals (case_id, custodian, approved, signed, leaf, bundle, votes) VALUES ($1, $2, $3, $4, $5, nullif($6, ''), $7)`,
			c.ID, a.Custodian, a.Approved, a.Signed, a.Leaf, a.Bundle, []byte(a.Votes))
	}
	storeRounds(b, before, c, change)
	for _, leaf := range c.Annulments[len(before.Annulments):] {
		b.Queue(`INSERT INTO annulments (case_id, leaf) VALUES ($1, $2)`, c.ID, leaf)
	}
	storeTargets(b, before, c)
	if d := c.Deletion; d != nil && before.Deletion == nil {
		b.Queue(`INSERT INTO deletions (case_id, said, mac, leaf) VALUES ($1, $2, $3, $4)`, c.ID, d.Said, d.MAC[:], d.Leaf)
	}
	storeFirst(b, before, c, change)
	if err := storeNotice(ctx, tx, b, c, change.Notice); err != nil {
		return err
	}
	return refused(ctx, tx.SendBatch(ctx, b).Close())
}

// storeRounds stores the case as a whole, and its rounds: the first is in its row, and a
// further one comes before the case moves for it.
func storeRounds(b *pgx.Batch, before, c disclose.Case, change disclose.Change) {
	var first disclose.Round
	if len(c.Rounds) > 0 {
		first = c.Rounds[0]
	}
	var pack []byte
	switch {
	case change.Package == nil:
	case change.Round == 0:
		pack = change.Package
	default:
		b.Queue(`UPDATE case_rounds SET released_leaf = $3, package = $4 WHERE case_id = $1 AND n = $2 AND released_leaf IS NULL`,
			c.ID, change.Round+1, c.Rounds[change.Round].ReleasedLeaf, change.Package)
	}
	for n := max(1, len(before.Rounds)); n < len(c.Rounds); n++ {
		b.Queue(`INSERT INTO case_rounds (case_id, n, authorised_leaf) VALUES ($1, $2, $3)`, c.ID, n+1, c.Rounds[n].AuthorisedLeaf)
	}
	if rowOf(c) != rowOf(before) || pack != nil {
		b.Queue(`
			UPDATE cases SET state = $2, authorised_leaf = nullif($3::bigint, 0), released_leaf = nullif($4::bigint, 0),
			  expired_leaf = nullif($5::bigint, 0), noticed_leaf = nullif($6::bigint, 0), package = coalesce($7, package),
			  declined_leaf = nullif($9::bigint, 0), validated_leaf = nullif($10::bigint, 0), lapsed_leaf = nullif($11::bigint, 0),
			  secrecy_ends = $12, expires = $13
			WHERE id = $1 AND state = $8`,
			c.ID, string(c.State), first.AuthorisedLeaf, first.ReleasedLeaf, c.ExpiredLeaf, c.NoticedLeaf, pack, string(before.State),
			c.DeclinedLeaf, c.ValidatedLeaf, c.LapsedLeaf, c.SecrecyEnds.UTC(), c.Expires.UTC())
	}
}

// caseRow is what the row of a case says that a change may move.
type caseRow struct {
	state                                         disclose.State
	first                                         disclose.Round
	expired, noticed, declined, validated, lapsed int64
	secrecyEnds, expires                          int64
}

func rowOf(c disclose.Case) caseRow {
	r := caseRow{state: c.State, expired: c.ExpiredLeaf, noticed: c.NoticedLeaf, declined: c.DeclinedLeaf, validated: c.ValidatedLeaf, lapsed: c.LapsedLeaf,
		secrecyEnds: c.SecrecyEnds.UnixNano(), expires: c.Expires.UnixNano()}
	if len(c.Rounds) > 0 {
		r.first = c.Rounds[0]
	}
	return r
}

// storeTargets moves the targets that a change moved.
func storeTargets(b *pgx.Batch, before, c disclose.Case) {
	var targets, rounds []int
	var states, codes []string
	for i, t := range c.Targets {
		if t != before.Targets[i] {
			targets, rounds, states, codes = append(targets, i), append(rounds, t.Round), append(states, string(t.State)), append(codes, t.Code)
		}
	}
	if len(targets) > 0 {
		b.Queue(`
			UPDATE case_targets t SET state = m.state, code = m.code, round = nullif(m.round, 0)
			FROM unnest($2::int[], $3::text[], $4::text[], $5::int[]) m (target, state, code, round) WHERE t.case_id = $1 AND t.target = m.target`,
			c.ID, targets, states, codes, rounds)
	}
}
