package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// checkedAtOnce is how many leaves, with all that belongs to them, are checked at a time.
const checkedAtOnce = 4096

// Check compares every case, decision, bundle and refusal with its leaf in the
// log, every leaf with its row, and every hash and the newest checkpoint with
// the leaves (invariants I7 and I8). It is nil or [ErrDamaged], whose cause
// names the first leaf that is wrong. A leaf that [Disclosing.Restore] recorded
// as lost needs no row: [Disclosing.Lost] names it.
//
// It finds a row that was deleted, changed or taken back to an older version. It
// does NOT find that the database as a whole is older than what was published:
// that is for the publisher, who asks the witnesses. It reads everything from
// one snapshot, at a glance: minutes for millions of leaves, and holds one stretch of them.
func (d *Disclosing) Check(ctx context.Context) error { return d.checkBy(ctx, checkedAtOnce) }

func (d *Disclosing) checkBy(ctx context.Context, stretch int64) error {
	return d.glance(atLength(ctx), func(ctx context.Context, c *pgxpool.Conn) error {
		tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return err
		}
		defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it only read
		var size int64
		if err := tx.QueryRow(ctx, sizeSQL).Scan(&size); err != nil {
			return err
		}
		k := &checking{tx: tx}
		if err := k.suspensions(ctx); err != nil {
			return err
		}
		for k.next < size || k.to == 0 {
			k.from, k.to = k.next, k.next+stretch
			if k.from == 0 {
				k.from = math.MinInt64 // what is before the log is of no leaf
			}
			if k.to >= size {
				k.to = math.MaxInt64 // nor is what comes after it
			}
			if err := k.checkStretch(ctx); err != nil {
				return err
			}
		}
		return k.checkpoint(ctx)
	})
}

// checking is a check at some stretch of the log.
type checking struct {
	tx       pgx.Tx
	from, to int64                // leaves of the stretch, to excluded
	want     map[int64]proof.Leaf // what the rows of the stretch say must be in their leaves
	next     int64                // leaf to be checked
	edge     [64]tlog.Hash        // of the tree of the leaves before next: by level, the last hash
}

func (k *checking) checkStretch(ctx context.Context) error {
	k.want = make(map[int64]proof.Leaf)
	if err := k.rowsByLeaf(ctx); err != nil {
		return err
	}
	lost, err := k.lostLeaves(ctx)
	if err != nil {
		return err
	}
	first := k.next
	hashes, err := k.checkLeaves(ctx, lost)
	if err != nil {
		return err
	}
	return k.checkHashes(ctx, first, hashes)
}

// add notes what a row says of a leaf, if that is in the stretch.
func (k *checking) add(index *int64, l proof.Leaf) error {
	if index == nil || *index < k.from || *index >= k.to {
		return nil
	}
	if _, twice := k.want[*index]; twice {
		return damaged("leaf %d has two rows", *index)
	}
	k.want[*index] = l
	return nil
}

// each calls row for each row that a query selects, which is asked for the stretch: see in.
func (k *checking) each(ctx context.Context, sql string, dest []any, row func() error) error {
	rows, err := k.tx.Query(ctx, sql, k.from, k.to)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, dest, row)
	return err
}

// in is of a row of which one of these leaves is in the stretch. Each has an index.
func in(leaves ...string) string {
	for i, leaf := range leaves {
		leaves[i] = leaf + ` >= $1 AND ` + leaf + ` < $2`
	}
	return `(` + strings.Join(leaves, ` OR `) + `)`
}

func damaged(format string, args ...any) error {
	return ErrDamaged.Because(fmt.Errorf(format, args...))
}

// undated: a row does not tell the day of its leaf.
var undated time.Time

// rowsByLeaf notes, for each leaf that a row points to, what the row says must be in it.
func (k *checking) rowsByLeaf(ctx context.Context) error {
	if err := k.rowsOfEachCase(ctx); err != nil {
		return err
	}
	var leaf int64
	var bundle, salt, digest []byte
	var text, signed string
	var countersigned, reviewed []string
	for _, of := range []struct {
		sql  string
		dest []any
		row  func() error
	}{
		{`SELECT leaf, sha256(transcript) FROM ceremony_transcripts WHERE ` + in(`leaf`), []any{&leaf, &digest}, func() error {
			return k.add(&leaf, proof.CeremonyLeaf(undated, [32]byte(digest)))
		}},
		{`SELECT leaf, signed, countersigned FROM platform_records WHERE ` + in(`leaf`), []any{&leaf, &signed, &countersigned}, func() error {
			return k.add(&leaf, proof.PlatformLeaf(undated, signed, countersigned))
		}},
		{`SELECT leaf, outcome, salt, signed FROM review_outcomes WHERE ` + in(`leaf`), []any{&leaf, &text, &salt, &reviewed}, func() error {
			return k.add(&leaf, proof.ReviewedLeaf(undated, text, [32]byte(salt), reviewed))
		}},
		{`SELECT leaf, bundle FROM bundles WHERE ` + in(`leaf`), []any{&leaf, &bundle}, func() error {
			h := sha256.Sum256(bundle)
			return k.add(&leaf, proof.BundleLeaf(undated, hex.EncodeToString(h[:])))
		}},
		{`SELECT leaf, label, salt FROM erasures WHERE ` + in(`leaf`), []any{&leaf, &text, &salt}, func() error {
			return k.add(&leaf, proof.ErasedLeaf(undated, [32]byte(salt), text))
		}},
		// A row that came back from a backup (D08).
		{`SELECT e.leaf FROM erasures e JOIN records r USING (label) WHERE r.erased IS NULL AND ` + in(`e.leaf`), []any{&leaf}, func() error {
			return damaged("leaf %d: the record that it says was erased is back", leaf)
		}},
		{`SELECT leaf, code FROM refusals WHERE ` + in(`leaf`), []any{&leaf, &text}, func() error {
			return k.add(&leaf, proof.RefusedLeaf(undated, text))
		}},
	} {
		if err := k.each(ctx, of.sql, of.dest, of.row); err != nil {
			return err
		}
	}
	return nil
}

// suspensions: what suspends a pen name is a target that its case authorised by that very leaf.
func (k *checking) suspensions(ctx context.Context) error {
	var leaf int64
	err := k.tx.QueryRow(ctx, `SELECT leaf FROM suspensions s FULL JOIN (
		SELECT t.case_id, t.target, coalesce(r.authorised_leaf, c.authorised_leaf) leaf FROM cases c JOIN case_targets t ON t.case_id = c.id
		LEFT JOIN case_rounds r ON r.case_id = c.id AND r.n = t.round WHERE c.kind = 'suspension' AND t.round IS NOT NULL) a USING (case_id, target, leaf)
		WHERE s.case_id IS NULL OR a.case_id IS NULL LIMIT 1`).Scan(&leaf)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return damaged("leaf %d: whom it suspends and whom its case authorised differ", leaf)
}

// rowsOfEachCase notes what cases say, and what became of them.
func (k *checking) rowsOfEachCase(ctx context.Context) error {
	var recorded, authorised, released, expired, noticed, lapsed *int64
	var salt, submission, digest []byte
	var text, kind string
	var quorum, days int
	var byTarget bool
	// What is large is read for its own leaf alone.
	err := k.each(ctx, `SELECT recorded_leaf, authorised_leaf, released_leaf, expired_leaf, noticed_leaf, lapsed_leaf, bundle, kind, quorum, salt,
		CASE WHEN `+in(`recorded_leaf`)+` THEN submission END, CASE WHEN `+in(`released_leaf`)+` THEN sha256(package) END,
		EXISTS (SELECT FROM approvals a WHERE a.case_id = c.id AND a.votes IS NOT NULL), coalesce((SELECT days FROM notice_first f WHERE f.case_id = c.id), 0) FROM cases c
		WHERE `+in(`recorded_leaf`, `authorised_leaf`, `released_leaf`, `expired_leaf`, `noticed_leaf`, `lapsed_leaf`),
		[]any{&recorded, &authorised, &released, &expired, &noticed, &lapsed, &text, &kind, &quorum, &salt, &submission, &digest, &byTarget, &days}, func() error {
			if submission != nil {
				var s policy.Submission
				if err := json.Unmarshal(submission, &s); err != nil {
					return damaged("leaf %d: the submission of its case is not one", *recorded)
				}
				facets := proof.Facets{WarrantKind: kind, Quorum: quorum, NoticeDays: days, Bundle: text, Salt: [32]byte(salt), Warrant: s.Warrant}
				if err := k.add(recorded, proof.RecordedLeaf(undated, facets)); err != nil {
					return err
				}
			}
			if byTarget {
				authorised, released = nil, nil // rowsByTarget
			}
			packed := proof.ReleasedLeaf(undated, *recorded, [32]byte{}, nil)
			packed.Package = hex.EncodeToString(digest) // none if the package is lost
			return errors.Join(
				k.add(authorised, proof.AuthorisedLeaf(undated, *recorded)),
				k.add(released, packed),
				k.add(expired, proof.ExpiredLeaf(undated, *recorded)),
				k.add(lapsed, proof.LapsedLeaf(undated, *recorded, nil, 0)),
				k.add(noticed, proof.NoticedLeaf(undated, *recorded, [32]byte(salt))))
		})
	if err != nil {
		return err
	}

	var leaf int64
	var custodian, signed string
	var approved bool
	err = k.each(ctx, `SELECT a.leaf, a.custodian, a.approved, a.signed, c.recorded_leaf, c.salt FROM approvals a JOIN cases c ON c.id = a.case_id WHERE a.votes IS NULL AND `+in(`a.leaf`),
		[]any{&leaf, &custodian, &approved, &signed, &recorded, &salt}, func() error {
			code := ""
			if !approved {
				code = "declined" // the row does not tell why
			}
			return k.add(&leaf, proof.ApprovalLeaf(undated, *recorded, custodian, code, [32]byte(salt), []byte(signed)))
		})
	if err != nil {
		return err
	}
	if err := k.rowsByTarget(ctx); err != nil {
		return err
	}
	var reached bool
	err = k.each(ctx, `SELECT f.leaf, f.reached, c.recorded_leaf FROM notice_first f JOIN cases c ON c.id = f.case_id WHERE `+in(`f.leaf`), []any{&leaf, &reached, &recorded}, func() error {
		return k.add(&leaf, proof.ToldLeaf(undated, *recorded, reached))
	})
	if err != nil {
		return err
	}
	err = k.each(ctx, `SELECT o.leaf, c.recorded_leaf FROM objections o JOIN cases c ON c.id = o.case_id WHERE `+in(`o.leaf`), []any{&leaf, &recorded}, func() error {
		return k.add(&leaf, proof.ObjectedLeaf(undated, *recorded))
	})
	if err != nil {
		return err
	}
	return k.each(ctx, `SELECT d.leaf, c.recorded_leaf FROM deletions d JOIN cases c ON c.id = d.case_id WHERE `+in(`d.leaf`), []any{&leaf, &recorded}, func() error {
		return k.add(&leaf, proof.DeletedLeaf(undated, *recorded))
	})
}

// rowsByTarget notes what cases that are decided target by target say: their decisions, what
// opened them, and each round that was released.
func (k *checking) rowsByTarget(ctx context.Context) error {
	rows, err := k.tx.Query(ctx, caseSQL+`WHERE c.id IN (SELECT case_id FROM approvals WHERE `+in(`leaf`)+` UNION SELECT id FROM cases WHERE `+in(`authorised_leaf`, `released_leaf`, `declined_leaf`)+`
		UNION SELECT case_id FROM case_rounds WHERE `+in(`authorised_leaf`, `released_leaf`)+`)
		AND EXISTS (SELECT FROM approvals a WHERE a.case_id = c.id AND a.votes IS NOT NULL)`, k.from, k.to)
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
			if err := k.add(&a.Leaf, leaf); err != nil {
				rows.Close()
				return err
			}
		}
		for index, leaf := range c.DecidedLeaves() {
			if err := k.add(&index, leaf); err != nil {
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
			if round.ReleasedLeaf < max(k.from, 1) || round.ReleasedLeaf >= k.to {
				continue
			}
			var digest []byte
			err := k.tx.QueryRow(ctx, `SELECT sha256(CASE WHEN $2 = 1 THEN c.package ELSE r.package END) FROM cases c LEFT JOIN case_rounds r ON r.case_id = c.id AND r.n = $2
				WHERE c.id = $1`, c.ID, n+1).Scan(&digest)
			if err != nil {
				return err
			}
			leaf := c.ReleasedLeaf(n, [32]byte{}, true)
			leaf.Package = hex.EncodeToString(digest) // none if the package is lost
			if err := k.add(&round.ReleasedLeaf, leaf); err != nil {
				return err
			}
		}
	}
	return nil
}

// lostLeaves are those that may be without a row, or with a row that lacks its
// package.
func (k *checking) lostLeaves(ctx context.Context) (map[int64]bool, error) {
	lost := make(map[int64]bool)
	var leaf int64
	err := k.each(ctx, `SELECT leaf FROM lost_leaves WHERE `+in(`leaf`), []any{&leaf}, func() error { lost[leaf] = true; return nil })
	return lost, err
}

// checkLeaves compares the leaves with the rows and returns the hashes that are stored with them.
func (k *checking) checkLeaves(ctx context.Context, lost map[int64]bool) (hashes []tlog.Hash, err error) {
	before := tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(ids))
		for i, id := range ids {
			level, _ := tlog.SplitStoredHashIndex(id)
			hashes[i] = k.edge[level]
		}
		return hashes, nil
	})
	var index int64
	var raw []byte
	err = k.each(ctx, `SELECT index, leaf FROM log_leaves WHERE `+in(`index`)+` ORDER BY index`, []any{&index, &raw}, func() error {
		if index != k.next {
			return damaged("leaf %d is missing", k.next)
		}
		made, err := tlog.StoredHashesForRecordHash(index, tlog.RecordHash(raw), before)
		if err != nil {
			return err
		}
		copy(k.edge[:], made)
		hashes = append(hashes, made...)
		k.next++
		have, err := proof.ParseLeaf(raw)
		if err != nil {
			return damaged("leaf %d is not one", index)
		}
		row, ok := k.want[index]
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
		delete(k.want, index)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for index := range k.want {
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

// checkHashes compares the stored hashes of the leaves from first on with what they should be.
func (k *checking) checkHashes(ctx context.Context, first int64, want []tlog.Hash) error {
	start := tlog.StoredHashCount(first)
	end := start + int64(len(want))
	if k.to == math.MaxInt64 {
		end = k.to
	}
	rows, err := k.tx.Query(ctx, `SELECT id, hash FROM log_hashes WHERE id >= $1 AND id < $2 ORDER BY id`, start, end)
	if err != nil {
		return err
	}
	var id int64
	var raw []byte
	next := start
	_, err = pgx.ForEachRow(rows, []any{&id, &raw}, func() error {
		switch at := next - start; {
		case at >= int64(len(want)):
			return damaged("hash %d has no leaf", id)
		case id != next:
			return damaged("hash %d is missing", next)
		case !bytes.Equal(raw, want[at][:]):
			level, n := tlog.SplitStoredHashIndex(id)
			return damaged("hash %d is not that of leaf %d", id, (n+1)<<level-1)
		}
		next++
		return nil
	})
	if err == nil && next-start < int64(len(want)) {
		err = damaged("hash %d is missing", next)
	}
	return err
}

// checkpoint compares the newest checkpoint with the hashes, which are those of the leaves.
func (k *checking) checkpoint(ctx context.Context) error {
	size, signed, err := lastCheckpoint(ctx, k.tx)
	if err != nil || signed == nil {
		return err
	}
	head, err := translog.Head(signed)
	if err != nil || head.N != size || size > k.next {
		return damaged("the checkpoint of size %d is not of this log", size)
	}
	reader := tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) { return readHashes(ctx, k.tx, ids) })
	root, err := tlog.TreeHash(size, reader)
	if err == nil && root != head.Hash {
		err = damaged("the checkpoint of size %d has another root", size)
	}
	return err
}
