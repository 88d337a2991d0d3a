package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// Check compares every case, decision, bundle and refusal with its leaf in the
// log, every leaf with its row, and every hash and the newest checkpoint with
// the leaves (invariants I7 and I8). It is nil or [ErrDamaged], whose cause
// names the first leaf that is wrong. A leaf that [Disclosing.Restore] recorded
// as lost needs no row: [Disclosing.Lost] names it.
//
// It finds a row that was deleted, changed or taken back to an older version. It
// does NOT find that the database as a whole is older than what was published:
// that is for the publisher, who asks the witnesses. It reads everything from
// one snapshot, at a glance: minutes for millions of leaves, and 32 bytes of memory for each.
func (d *Disclosing) Check(ctx context.Context) error {
	return d.glance(atLength(ctx), func(ctx context.Context, c *pgxpool.Conn) error {
		tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return err
		}
		defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it only read
		rows, err := rowsByLeaf(ctx, tx)
		if err != nil {
			return err
		}
		lost, err := lostLeaves(ctx, tx)
		if err != nil {
			return err
		}
		hashes, err := checkLeaves(ctx, tx, rows, lost)
		if err != nil {
			return err
		}
		return checkHashes(ctx, tx, hashes)
	})
}

func damaged(format string, args ...any) error {
	return ErrDamaged.Because(fmt.Errorf(format, args...))
}

// undated: a row does not tell the day of its leaf.
var undated time.Time

// rowsByLeaf returns, for each leaf that a row points to, what the row says must
// be in it.
func rowsByLeaf(ctx context.Context, tx pgx.Tx) (map[int64]proof.Leaf, error) {
	want := make(map[int64]proof.Leaf)
	add := func(index *int64, l proof.Leaf) error {
		if index == nil {
			return nil
		}
		if _, twice := want[*index]; twice {
			return damaged("leaf %d has two rows", *index)
		}
		want[*index] = l
		return nil
	}
	each := func(sql string, dest []any, row func() error) error {
		rows, err := tx.Query(ctx, sql)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, dest, row)
		return err
	}

	if err := rowsOfEachCase(ctx, tx, each, add); err != nil {
		return nil, err
	}
	var leaf int64
	var bundle, salt, digest []byte
	var text, signed string
	var countersigned, reviewed []string
	err := errors.Join(
		each(`SELECT leaf, sha256(transcript) FROM ceremony_transcripts`, []any{&leaf, &digest}, func() error {
			return add(&leaf, proof.CeremonyLeaf(undated, [32]byte(digest)))
		}),
		each(`SELECT leaf, signed, countersigned FROM platform_records`, []any{&leaf, &signed, &countersigned}, func() error {
			return add(&leaf, proof.PlatformLeaf(undated, signed, countersigned))
		}))
	if err != nil {
		return nil, err
	}
	err = each(`SELECT leaf, outcome, salt, signed FROM review_outcomes`, []any{&leaf, &text, &salt, &reviewed}, func() error {
		return add(&leaf, proof.ReviewedLeaf(undated, text, [32]byte(salt), reviewed))
	})
	if err != nil {
		return nil, err
	}
	err = each(`SELECT leaf, bundle FROM bundles`, []any{&leaf, &bundle}, func() error {
		h := sha256.Sum256(bundle)
		return add(&leaf, proof.BundleLeaf(undated, hex.EncodeToString(h[:])))
	})
	if err != nil {
		return nil, err
	}
	err = each(`SELECT leaf, label, salt FROM erasures WHERE leaf IS NOT NULL`, []any{&leaf, &text, &salt}, func() error {
		return add(&leaf, proof.ErasedLeaf(undated, [32]byte(salt), text))
	})
	if err != nil {
		return nil, err
	}
	// A row that came back from a backup (D08).
	err = each(`SELECT e.leaf FROM erasures e JOIN records r USING (label) WHERE e.leaf IS NOT NULL AND r.erased IS NULL`, []any{&leaf}, func() error {
		return damaged("leaf %d: the record that it says was erased is back", leaf)
	})
	if err != nil {
		return nil, err
	}
	// What suspends a pen name is a target that its case authorised by that very leaf.
	err = each(`SELECT leaf FROM suspensions s FULL JOIN (
		SELECT t.case_id, t.target, coalesce(r.authorised_leaf, c.authorised_leaf) leaf FROM cases c JOIN case_targets t ON t.case_id = c.id
		LEFT JOIN case_rounds r ON r.case_id = c.id AND r.n = t.round WHERE c.kind = 'suspension' AND t.round IS NOT NULL) a USING (case_id, target, leaf)
		WHERE s.case_id IS NULL OR a.case_id IS NULL`, []any{&leaf}, func() error {
		return damaged("leaf %d: whom it suspends and whom its case authorised differ", leaf)
	})
	if err != nil {
		return nil, err
	}
	err = each(`SELECT leaf, code FROM refusals`, []any{&leaf, &text}, func() error {
		return add(&leaf, proof.RefusedLeaf(undated, text))
	})
	return want, err
}

// rowsOfEachCase adds what cases say, and what became of them.
func rowsOfEachCase(ctx context.Context, tx pgx.Tx, each func(sql string, dest []any, row func() error) error, add func(*int64, proof.Leaf) error) error {
	var recorded, authorised, released, expired, noticed, lapsed *int64
	var salt, submission, digest []byte
	var text, kind string
	var quorum, days int
	var byTarget bool
	err := each(`SELECT recorded_leaf, authorised_leaf, released_leaf, expired_leaf, noticed_leaf, lapsed_leaf, bundle, kind, quorum, salt, submission, sha256(package),
		EXISTS (SELECT FROM approvals a WHERE a.case_id = c.id AND a.votes IS NOT NULL), coalesce((SELECT days FROM notice_first f WHERE f.case_id = c.id), 0) FROM cases c`,
		[]any{&recorded, &authorised, &released, &expired, &noticed, &lapsed, &text, &kind, &quorum, &salt, &submission, &digest, &byTarget, &days}, func() error {
			var s policy.Submission
			if err := json.Unmarshal(submission, &s); err != nil {
				return damaged("leaf %d: the submission of its case is not one", *recorded)
			}
			if byTarget {
				authorised, released = nil, nil // rowsByTarget
			}
			packed := proof.ReleasedLeaf(undated, *recorded, [32]byte{}, nil)
			packed.Package = hex.EncodeToString(digest) // none if the package is lost
			return errors.Join(
				add(recorded, proof.RecordedLeaf(undated, proof.Facets{WarrantKind: kind, Quorum: quorum, NoticeDays: days, Bundle: text, Salt: [32]byte(salt), Warrant: s.Warrant})),
				add(authorised, proof.AuthorisedLeaf(undated, *recorded)),
				add(released, packed),
				add(expired, proof.ExpiredLeaf(undated, *recorded)),
				add(lapsed, proof.LapsedLeaf(undated, *recorded, nil, 0)),
				add(noticed, proof.NoticedLeaf(undated, *recorded, [32]byte(salt))))
		})
	if err != nil {
		return err
	}

	var leaf int64
	var custodian, signed string
	var approved bool
	err = each(`SELECT a.leaf, a.custodian, a.approved, a.signed, c.recorded_leaf, c.salt FROM approvals a JOIN cases c ON c.id = a.case_id WHERE a.votes IS NULL`,
		[]any{&leaf, &custodian, &approved, &signed, &recorded, &salt}, func() error {
			code := ""
			if !approved {
				code = "declined" // the row does not tell why
			}
			return add(&leaf, proof.ApprovalLeaf(undated, *recorded, custodian, code, [32]byte(salt), []byte(signed)))
		})
	if err != nil {
		return err
	}
	if err := rowsByTarget(ctx, tx, add); err != nil {
		return err
	}
	var reached bool
	err = each(`SELECT f.leaf, f.reached, c.recorded_leaf FROM notice_first f JOIN cases c ON c.id = f.case_id WHERE f.leaf IS NOT NULL`, []any{&leaf, &reached, &recorded}, func() error {
		return add(&leaf, proof.ToldLeaf(undated, *recorded, reached))
	})
	if err != nil {
		return err
	}
	err = each(`SELECT o.leaf, c.recorded_leaf FROM objections o JOIN cases c ON c.id = o.case_id WHERE o.leaf IS NOT NULL`, []any{&leaf, &recorded}, func() error {
		return add(&leaf, proof.ObjectedLeaf(undated, *recorded))
	})
	if err != nil {
		return err
	}
	return each(`SELECT d.leaf, c.recorded_leaf FROM deletions d JOIN cases c ON c.id = d.case_id`, []any{&leaf, &recorded}, func() error {
		return add(&leaf, proof.DeletedLeaf(undated, *recorded))
	})
}

// rowsByTarget adds what cases that are decided target by target say: their decisions, what
// opened them, and each round that was released.
func rowsByTarget(ctx context.Context, tx pgx.Tx, add func(*int64, proof.Leaf) error) error {
	rows, err := tx.Query(ctx, caseSQL+`WHERE EXISTS (SELECT FROM approvals a WHERE a.case_id = c.id AND a.votes IS NOT NULL)`)
	if err != nil {
		return err
	}
	var released []disclose.Case
	for rows.Next() {
		c, err := scanCase(rows)
		if err != nil {
			rows.Close()
			return err
		}
		for _, a := range c.Approvals {
			leaf, err := c.DecisionLeaf(a)
			if err != nil {
				leaf = proof.Leaf{} // it is no decision, and fits no leaf
			}
			if err := add(&a.Leaf, leaf); err != nil {
				rows.Close()
				return err
			}
		}
		for index, leaf := range c.DecidedLeaves() {
			if err := add(&index, leaf); err != nil {
				rows.Close()
				return err
			}
		}
		c.Submission, c.Approvals = policy.Submission{}, nil // which are large
		released = append(released, c)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, c := range released {
		for n, round := range c.Rounds {
			if round.ReleasedLeaf == 0 {
				continue
			}
			var digest []byte
			err := tx.QueryRow(ctx, `SELECT sha256(CASE WHEN $2 = 1 THEN c.package ELSE r.package END) FROM cases c LEFT JOIN case_rounds r ON r.case_id = c.id AND r.n = $2
				WHERE c.id = $1`, c.ID, n+1).Scan(&digest)
			if err != nil {
				return err
			}
			leaf := c.ReleasedLeaf(n, [32]byte{}, true)
			leaf.Package = hex.EncodeToString(digest) // none if the package is lost
			if err := add(&round.ReleasedLeaf, leaf); err != nil {
				return err
			}
		}
	}
	return nil
}

// lostLeaves are those that may be without a row, or with a row that lacks its
// package.
func lostLeaves(ctx context.Context, tx pgx.Tx) (map[int64]bool, error) {
	rows, err := tx.Query(ctx, `SELECT leaf FROM lost_leaves`)
	if err != nil {
		return nil, err
	}
	lost := make(map[int64]bool)
	var leaf int64
	_, err = pgx.ForEachRow(rows, []any{&leaf}, func() error { lost[leaf] = true; return nil })
	return lost, err
}

// checkLeaves compares the leaves with the rows and returns the record hashes.
func checkLeaves(ctx context.Context, tx pgx.Tx, want map[int64]proof.Leaf, lost map[int64]bool) ([]tlog.Hash, error) {
	rows, err := tx.Query(ctx, `SELECT index, leaf FROM log_leaves ORDER BY index`)
	if err != nil {
		return nil, err
	}
	var hashes []tlog.Hash
	var index int64
	var raw []byte
	_, err = pgx.ForEachRow(rows, []any{&index, &raw}, func() error {
		if index != int64(len(hashes)) {
			return damaged("leaf %d is missing", len(hashes))
		}
		hashes = append(hashes, tlog.RecordHash(raw))
		have, err := proof.ParseLeaf(raw)
		if err != nil {
			return damaged("leaf %d is not one", index)
		}
		row, ok := want[index]
		if lost[index] {
			if !ok {
				return nil
			}
			row = lostRow(row, have)
		}
		if !ok {
			return damaged("leaf %d (%s) has no row", index, have.Kind)
		}
		if !fits(row, have) {
			return damaged("leaf %d (%s) and its row differ", index, have.Kind)
		}
		delete(want, index)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for index := range want {
		return nil, damaged("a row's leaf %d is missing", index)
	}
	return hashes, nil
}

// lostRow is the row of a leaf that a backup lacked: it tells of which case that is and
// which place it has in its life. Which targets it is about, the decisions that it opens and
// its package are in the leaf alone.
func lostRow(row, have proof.Leaf) proof.Leaf {
	switch {
	case row.Kind == proof.KindReleased && row.Package == "":
		row.Package, row.Which = have.Package, have.Which
	case have.Kind == proof.KindDecided && (row.Kind == proof.KindAuthorised || row.Kind == proof.KindDecided):
		row.Kind, row.Which, row.Opened = have.Kind, have.Which, have.Opened
	}
	return row
}

// fits reports whether have is the leaf that its row makes. What a row does not
// tell is taken from the leaf: the day, why a custodian declined, and of a
// warrant the facets, which are in the commitment to it.
func fits(row, have proof.Leaf) bool {
	row = row.On(have.When())
	switch row.Kind {
	case proof.KindDeclined:
		row.Code = have.Code
	case proof.KindRefused:
		row.Rules = have.Rules
	case proof.KindLapsed:
		row.Fields, row.Targets = have.Fields, have.Targets // as the warrant and the targets had them then
	case proof.KindRecorded:
		if have.Quorum == 0 {
			row.Quorum = 0 // of the first release, or of a kind that opens nothing
		}
		row.Case, row.Which, row.Jurisdiction, row.OffenceClass = have.Case, have.Which, have.Jurisdiction, have.OffenceClass
		row.Offence, row.Data, row.Validated, row.HoldEnds = have.Offence, have.Data, have.Validated, have.HoldEnds
		row.SecrecyEnds, row.Targets, row.TargetCommitments = have.SecrecyEnds, have.Targets, have.TargetCommitments
	}
	return reflect.DeepEqual(row, have)
}

// checkHashes compares the stored hashes and the newest checkpoint with the
// record hashes of the leaves.
func checkHashes(ctx context.Context, tx pgx.Tx, records []tlog.Hash) error {
	rows, err := tx.Query(ctx, `SELECT id, hash FROM log_hashes ORDER BY id`)
	if err != nil {
		return err
	}
	var id int64
	var raw []byte
	stored := make([]tlog.Hash, 0, 2*len(records))
	_, err = pgx.ForEachRow(rows, []any{&id, &raw}, func() error {
		if id != int64(len(stored)) {
			return damaged("hash %d is missing", len(stored))
		}
		stored = append(stored, tlog.Hash(raw))
		return nil
	})
	if err != nil {
		return err
	}
	reader := tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(ids))
		for i, id := range ids {
			if id >= int64(len(stored)) {
				return nil, damaged("hash %d is missing", id)
			}
			hashes[i] = stored[id]
		}
		return hashes, nil
	})
	var next int64
	for n, record := range records {
		hashes, err := tlog.StoredHashesForRecordHash(int64(n), record, reader)
		if err != nil {
			return damaged("the hashes of leaf %d are missing", n)
		}
		for _, h := range hashes {
			if next >= int64(len(stored)) || stored[next] != h {
				return damaged("hash %d is not that of leaf %d", next, n)
			}
			next++
		}
	}
	if next != int64(len(stored)) {
		return damaged("hash %d has no leaf", next)
	}
	_, size, signed, err := lastCheckpoint(ctx, tx)
	if err != nil || signed == nil {
		return err
	}
	head, err := translog.Head(signed)
	if err != nil || head.N != size || size > int64(len(records)) {
		return damaged("the checkpoint of size %d is not of this log", size)
	}
	if root, err := tlog.TreeHash(size, reader); err != nil || root != head.Hash {
		return damaged("the checkpoint of size %d has another root", size)
	}
	return nil
}
