package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

var (
	_ disclose.Cases    = (*Disclosing)(nil)
	_ disclose.Records  = (*Disclosing)(nil)
	_ disclose.Bundles  = (*Disclosing)(nil)
	_ disclose.Erasures = (*Disclosing)(nil)
)

const (
	maxSubmission = 64 << 20  // bytes of JSON, as in the schema
	maxPackage    = 256 << 20 // bytes, as in the schema
	maxBundle     = 16 << 20  // bytes, as in the schema
	maxList       = 1000      // disclose.Cases: "at most 1000"
)

// caseSQL reads whole cases in one statement, and so from one snapshot.
const caseSQL = `
	SELECT c.id, c.warrant_hash, c.authority, c.warrant_id, c.submission, c.bundle, c.salt, c.quorum, c.state,
	  c.secrecy_ends, c.expires, c.approve_from, c.recorded_leaf, coalesce(c.authorised_leaf, 0), coalesce(c.released_leaf, 0), coalesce(c.noticed_leaf, 0), c.package,
	  (SELECT json_agg(json_build_object('Custodian', a.custodian, 'Approved', a.approved, 'Signed', a.signed, 'Leaf', a.leaf)
	     ORDER BY a.leaf) FROM approvals a WHERE a.case_id = c.id),
	  (SELECT json_agg(json_build_object('Pseudonym', n.pseudonym, 'Platform', n.platform, 'Authority', n.authority,
	     'FileNumber', n.file_number, 'LegalBasis', n.legal_basis, 'Requester', n.requester, 'Fields', n.fields,
	     'Leaf', n.leaf, 'Day', n.day || 'T00:00:00Z') ORDER BY n.pseudonym, n.platform) FROM notices n WHERE n.case_id = c.id)
	FROM cases c `

func scanCase(row pgx.CollectableRow) (c disclose.Case, err error) {
	var hash, submission, salt, approvals, notices []byte
	err = row.Scan(&c.ID, &hash, &c.Authority, &c.WarrantID, &submission, &c.Bundle, &salt, &c.Quorum, (*string)(&c.State),
		&c.SecrecyEnds, &c.Expires, &c.ApproveFrom, &c.RecordedLeaf, &c.AuthorisedLeaf, &c.ReleasedLeaf, &c.NoticedLeaf, &c.Package, &approvals, &notices)
	if err != nil {
		return c, err
	}
	copy(c.WarrantHash[:], hash)
	copy(c.Salt[:], salt)
	c.SecrecyEnds, c.Expires, c.ApproveFrom = c.SecrecyEnds.UTC(), c.Expires.UTC(), c.ApproveFrom.UTC()
	if err := json.Unmarshal(submission, &c.Submission); err != nil {
		return c, err
	}
	for raw, into := range map[*[]byte]any{&approvals: &c.Approvals, &notices: &c.Notices} {
		if *raw == nil {
			continue
		}
		if err := json.Unmarshal(*raw, into); err != nil {
			return c, err
		}
	}
	return c, nil
}

func readCases(ctx context.Context, q querier, where string, args ...any) ([]disclose.Case, error) {
	rows, err := q.Query(ctx, caseSQL+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanCase)
}

// File implements [disclose.Cases]. The log's lock comes before the look-up:
// two filings of one warrant never append two leaves.
func (d *Disclosing) File(ctx context.Context, c disclose.Case, leaf proof.Leaf) (disclose.Case, error) {
	submission, err := json.Marshal(c.Submission)
	if err != nil {
		return disclose.Case{}, ErrText.Because(err)
	}
	if len(submission) > maxSubmission {
		return disclose.Case{}, ErrTooLarge
	}
	err = d.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
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
		if err := decidedNow(ctx, tx, log, c.Bundle); err != nil {
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
		_, err = tx.Exec(ctx, `
			INSERT INTO cases (id, warrant_hash, authority, warrant_id, submission, bundle, salt, quorum, state,
			  secrecy_ends, expires, approve_from, recorded_leaf)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			c.ID, c.WarrantHash[:], c.Authority, c.WarrantID, submission, c.Bundle, c.Salt[:], c.Quorum, string(c.State),
			c.SecrecyEnds.UTC(), c.Expires.UTC(), c.ApproveFrom.UTC(), c.RecordedLeaf)
		if err != nil || c.Earlier == nil {
			return refused(ctx, err)
		}
		stopped := earlier[0]
		if err := stopped.Withdraw(); err != nil {
			return err
		}
		return storeCase(ctx, tx, earlier[0], stopped)
	})
	if err != nil {
		return disclose.Case{}, err
	}
	return c, nil
}

// decidedNow checks, under the log's lock, that no bundle but this one is in
// force: a leaf of a warrant behind that of a newer bundle would convict the log
// for ever.
func decidedNow(ctx context.Context, tx pgx.Tx, log *logTx, bundle string) error {
	var index *int64
	if err := tx.QueryRow(ctx, `SELECT max(leaf) FROM bundles`).Scan(&index); err != nil || index == nil {
		return refused(ctx, err)
	}
	raw, err := log.Leaf(ctx, *index)
	if err != nil {
		return err
	}
	if l, err := proof.ParseLeaf(raw); err != nil || l.Bundle != bundle {
		return policy.ErrWrongBundle.Because(err)
	}
	return nil
}

// Refuse implements [disclose.Cases].
func (d *Disclosing) Refuse(ctx context.Context, warrantHash [32]byte, leaf proof.Leaf) error {
	return d.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		log := newLogTx(tx)
		if _, err := log.LockSize(ctx); err != nil {
			return err
		}
		var logged bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM refusals WHERE warrant_hash = $1 AND code = $2)`,
			warrantHash[:], leaf.Code).Scan(&logged)
		if err != nil || logged {
			return refused(ctx, err)
		}
		index, err := translog.Sequence(ctx, log, leaf)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO refusals (warrant_hash, code, leaf) VALUES ($1, $2, $3)`, warrantHash[:], leaf.Code, index)
		return refused(ctx, err)
	})
}

// Case implements [disclose.Cases].
func (d *Disclosing) Case(ctx context.Context, id string) (disclose.Case, error) {
	var have []disclose.Case
	err := d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		have, err = readCases(ctx, c, `WHERE c.id = $1`, id)
		return err
	})
	switch {
	case err != nil:
		return disclose.Case{}, err
	case len(have) == 0:
		return disclose.Case{}, disclose.ErrNoCase
	}
	return have[0], nil
}

// List implements [disclose.Cases].
func (d *Disclosing) List(ctx context.Context, s disclose.State) (cases []disclose.Case, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		cases, err = readCases(ctx, c, `WHERE c.state = $1 ORDER BY c.recorded_leaf LIMIT $2`, string(s), maxList)
		return err
	})
	return cases, err
}

// Apply implements [disclose.Cases].
func (d *Disclosing) Apply(ctx context.Context, id string, change func(*disclose.Case) ([]disclose.Entry, error)) (disclose.Case, error) {
	var c disclose.Case
	var sent map[int64][]byte // the leaves of the last attempt, by index
	err := d.transact(ctx, func(ctx context.Context, tx pgx.Tx, doubt bool) (err error) {
		if c, err = lockCase(ctx, tx, id); err != nil {
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
		before := c
		before.Approvals = slices.Clone(c.Approvals)
		entries, err := change(&c)
		if err != nil {
			return err
		}
		sent = make(map[int64][]byte)
		for _, e := range entries {
			index, err := translog.Sequence(ctx, log, e.Leaf)
			if err != nil {
				return err
			}
			if sent[index], err = e.Leaf.Marshal(); err != nil {
				return err
			}
			if e.Index != nil {
				*e.Index = index
			}
		}
		return storeCase(ctx, tx, before, c)
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

// storeCase stores what an edit may change: state, leaves and package move
// forward, approvals and notices are appended. The schema refuses the rest.
func storeCase(ctx context.Context, tx pgx.Tx, before, c disclose.Case) error {
	if len(c.Package) > maxPackage {
		return ErrTooLarge
	}
	old, kept := len(before.Approvals), len(before.Notices)
	if c.ID != before.ID || c.WarrantHash != before.WarrantHash || c.Authority != before.Authority || c.WarrantID != before.WarrantID || c.Bundle != before.Bundle || c.Salt != before.Salt ||
		c.Quorum != before.Quorum || !c.SecrecyEnds.Equal(before.SecrecyEnds) || !c.Expires.Equal(before.Expires) ||
		!c.ApproveFrom.Equal(before.ApproveFrom) || c.RecordedLeaf != before.RecordedLeaf || len(c.Approvals) < old || len(c.Notices) < kept ||
		!slices.Equal(c.Approvals[:old], before.Approvals) {
		return ErrRefused.Because(errors.New("an edit of what is fixed"))
	}
	b := &pgx.Batch{}
	for _, a := range c.Approvals[old:] {
		if len(a.Signed) > maxSubmission {
			return ErrTooLarge
		}
		b.Queue(`INSERT INTO approvals (case_id, custodian, approved, signed, leaf) VALUES ($1, $2, $3, $4, $5)`,
			c.ID, a.Custodian, a.Approved, a.Signed, a.Leaf)
	}
	if c.State != before.State || c.AuthorisedLeaf != before.AuthorisedLeaf || c.ReleasedLeaf != before.ReleasedLeaf ||
		c.NoticedLeaf != before.NoticedLeaf || !bytes.Equal(c.Package, before.Package) {
		b.Queue(`
			UPDATE cases SET state = $2, authorised_leaf = nullif($3::bigint, 0), released_leaf = nullif($4::bigint, 0),
			  noticed_leaf = nullif($5::bigint, 0), package = $6
			WHERE id = $1 AND state = $7`,
			c.ID, string(c.State), c.AuthorisedLeaf, c.ReleasedLeaf, c.NoticedLeaf, c.Package, string(before.State))
	}
	for _, n := range c.Notices[kept:] {
		// A person reads it: the court by its name, as the bundle that decided has it.
		b.Queue(`
			INSERT INTO notices (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day)
			VALUES ($1, $2, $3, coalesce((
			  SELECT a ->> 'name' FROM bundles, json_array_elements(convert_from(bundle, 'UTF8')::json -> 'authorities') a
			  WHERE sha256(bundle) = decode($11, 'hex') AND a ->> 'id' = $4 LIMIT 1), $4), $5, $6, $7, $8, $9, $10)`,
			c.ID, string(n.Pseudonym), n.Platform, n.Authority, n.FileNumber, n.LegalBasis, n.Requester, n.Fields, n.Leaf, n.Day.UTC().Truncate(24*time.Hour), c.Bundle)
	}
	return refused(ctx, tx.SendBatch(ctx, b).Close())
}

// Link implements [disclose.Records]. Link and Record are read at a glance: what a
// token commits to was confirmed before the token was issued, the case that asks
// was read before, and what is packed is stored before it is handed over.
func (d *Disclosing) Link(ctx context.Context, p token.Pseudonym, platform string, commitment [32]byte) (link string, err error) {
	var same bool
	err = d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			SELECT link, commitment = $3 FROM pseudonyms WHERE pseudonym = $1 AND platform = $2
			ORDER BY commitment = $3 DESC LIMIT 1`, string(p), platform, commitment[:]).Scan(&link, &same)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = disclose.ErrDataNotHeld
	case err == nil && !same:
		err = disclose.ErrCommitment
	}
	if err != nil {
		return "", err
	}
	return link, nil
}

// Record implements [disclose.Records].
func (d *Disclosing) Record(ctx context.Context, label string) (seal.Record, error) {
	r := seal.Record{Label: label}
	var sealed []byte
	var erased bool
	err := d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT first_half, second_half, sealed, erased IS NOT NULL FROM records WHERE label = $1`, label).
			Scan(&r.FirstHalf, &r.SecondHalf, &sealed, &erased)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = disclose.ErrDataNotHeld
	case err == nil && erased:
		err = disclose.ErrDataErased
	}
	if err != nil {
		return seal.Record{}, err
	}
	var whole bool
	if r.Fields, whole = UnpackFields(sealed); !whole {
		return seal.Record{}, ErrDamaged
	}
	return r, nil
}

// Pending implements [disclose.Erasures].
func (d *Disclosing) Pending(ctx context.Context) (labels []string, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT label FROM erasures WHERE leaf IS NULL
			  AND (cleared IS NULL OR cleared < (SELECT coalesce(max(recorded_leaf), -1) FROM cases))
			ORDER BY label`)
		if err != nil {
			return err
		}
		labels, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return labels, err
}

// Holding implements [disclose.Erasures]. newest is read first: a case that
// comes between the two statements is returned and not counted.
func (d *Disclosing) Holding(ctx context.Context, now time.Time) (cases []disclose.Case, newest int64, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		if err := c.QueryRow(ctx, `SELECT coalesce(max(recorded_leaf), -1) FROM cases`).Scan(&newest); err != nil {
			return err
		}
		cases, err = readCases(ctx, c, `WHERE c.state IN ('recorded', 'authorised', 'lost') AND c.expires > $1 OR c.state = 'released'`, now.UTC())
		return err
	})
	return cases, newest, err
}

// Clear implements [disclose.Erasures].
func (d *Disclosing) Clear(ctx context.Context, labels []string, newest int64) error {
	return d.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := d.exec(ctx, `UPDATE erasures SET cleared = $2 WHERE label = ANY ($1::text[]) AND leaf IS NULL AND (cleared IS NULL OR cleared < $2)`, labels, newest)
		return err
	})
}

// Install implements [disclose.Bundles].
func (d *Disclosing) Install(ctx context.Context, bundle []byte, endorsements []string, leaf proof.Leaf) error {
	if len(bundle) > maxBundle {
		return ErrTooLarge
	}
	if endorsements == nil {
		endorsements = []string{}
	}
	return d.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		log := newLogTx(tx)
		if _, err := log.LockSize(ctx); err != nil {
			return err
		}
		inForce, _, err := currentBundle(ctx, tx)
		if err != nil && !errors.Is(err, disclose.ErrNoBundle) {
			return refused(ctx, err)
		}
		if bytes.Equal(inForce, bundle) {
			return nil
		}
		index, err := translog.Sequence(ctx, log, leaf)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO bundles (leaf, bundle, endorsements) VALUES ($1, $2, $3)`, index, bundle, endorsements)
		return refused(ctx, err)
	})
}

// Current implements [disclose.Bundles].
func (d *Disclosing) Current(ctx context.Context) (bundle []byte, endorsements []string, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		bundle, endorsements, err = currentBundle(ctx, c)
		return err
	})
	return bundle, endorsements, err
}

func currentBundle(ctx context.Context, q querier) (bundle []byte, endorsements []string, err error) {
	err = q.QueryRow(ctx, `SELECT bundle, endorsements FROM bundles ORDER BY leaf DESC LIMIT 1`).Scan(&bundle, &endorsements)
	if errors.Is(err, pgx.ErrNoRows) {
		err = disclose.ErrNoBundle
	}
	return bundle, endorsements, err
}
