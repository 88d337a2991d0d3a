package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// ErrUnlogged is returned when Vault opened what the public log did not authorise.
var ErrUnlogged = refusal.New(refusal.Denied, "log.opened_unlogged",
	"Vault opened a first half that no authorised case in this database accounts for: if the database was restored to an older backup, reconcile it first and check again; else revoke the disclosing side's secret ids, tell the custodians, and find out who held them")

// ErrMinted is returned when secret ids were minted or used as renewals do not.
var ErrMinted = refusal.New(refusal.Denied, "log.secret_ids",
	"a secret id was used from two addresses, or more were minted at one address than renewals need: a machine whose address changed, or a second service with files of its own, does that too; if it was none of yours, make new secret ids for that side and its renewer, destroy all others, and find out who had them")

// CheckVaultAudit holds Vault's own record against the public log (ATTACKS I2, F13):
// what Vault opened, the log must have authorised, and what was released Vault must have
// opened. since is what audit was read with: cases that were over before that day are
// left out. It fails with [ErrUnlogged], or with [vault.ErrAuditFile] if what must be in
// the record is not. Whether the record is whole, [vault.Audit.Whole] says.
func CheckVaultAudit(ctx context.Context, store *postgres.Disclosing, audit vault.Audit, since time.Time) error {
	size, err := store.Log.Size(ctx)
	if err != nil {
		return err
	}
	var leaves []proof.Leaf
	for from := int64(0); from < size; from = int64(len(leaves)) {
		raw, err := store.Log.Leaves(ctx, from, min(from+1000, size))
		if err != nil {
			return err
		}
		for _, b := range raw {
			leaf, err := proof.ParseLeaf(b)
			if err != nil {
				return err
			}
			leaves = append(leaves, leaf)
		}
	}
	c := casesOf(leaves, since)
	if err := c.exceeded(audit); err != nil {
		return err
	}
	return c.missing(audit)
}

// CheckSecretIDs holds Vault's own record against the rhythm in
// which a service renews its secret ids: at each address one for a role when half of the life
// of the one before is over, used from there and nowhere else. Whoever has stolen a
// renewer's secret id must mint to live on, and shows. What was minted and never
// logged in, as by a renewal that crashed, is no use to anybody and does not count.
//
// It returns how many were minted by renewers and how many by people's tokens, which
// are for people to know. It fails with [ErrMinted].
func CheckSecretIDs(audit vault.Audit) (renewed, byHand int, err error) {
	for _, id := range audit.SecretIDs {
		switch {
		case id.ByRenewer:
			renewed++
		case !id.At.IsZero():
			byHand++
		}
	}
	return renewed, byHand, inRhythm(audit.SecretIDs)
}

// inRhythm checks ids, which are in the order of their minting.
func inRhythm(ids []vault.UsedSecretID) error {
	type place struct {
		role    vault.Side
		address string
	}
	last := make(map[place]vault.UsedSecretID)
	for _, id := range ids {
		if len(id.From) > 1 {
			return ErrMinted.Because(fmt.Errorf("one of %s from %s", id.Role, strings.Join(id.From, " and ")))
		}
		if !id.ByRenewer || !id.LoggedIn {
			continue
		}
		at := place{id.Role, id.From[0]}
		// It is renewed when half of its life is over; a tenth is for clocks and slow
		// answers, and leaves no room for two between two renewals.
		if before, ok := last[at]; ok && id.At.Sub(before.At) < before.Life/2-before.Life/10 {
			return ErrMinted.Because(fmt.Errorf("for %s at %s, on %s and on %s", id.Role, at.address, before.At.UTC().Format(time.RFC3339), id.At.UTC().Format(time.RFC3339)))
		}
		last[at] = id
	}
	return nil
}

// clockSkew is how far Vault's clock may be behind ours at midnight.
const clockSkew = 5 * time.Minute

// cases is what the log says of cases that were not over before a day.
type cases struct {
	authorised map[string]int // targets, by day
	released   int            // targets of cases that were authorised and released since
}

// casesOf reads the log. A half is opened after its case is authorised and before it is
// released, so a case that was released before since says nothing of what Vault did
// from then on, and one that was authorised before may have been opened before.
func casesOf(leaves []proof.Leaf, since time.Time) cases {
	from := ""
	if !since.IsZero() {
		from = proof.Day(since)
	}
	type target struct {
		index    int64
		position int
	}
	// each hands on the targets of a case that a leaf of one of those kinds is about;
	// before format 5 of the bundle all. A link and a suspension open no half.
	each := func(is func(proof.Kind) bool, do func(l proof.Leaf, t target)) {
		for _, l := range leaves {
			if l.Case == nil || *l.Case < 0 || *l.Case >= int64(len(leaves)) || !is(l.Kind) {
				continue
			}
			recorded := leaves[*l.Case]
			if kind := proof.WarrantKindOf(recorded.WarrantKind); kind.Decided && !kind.Opens {
				continue
			}
			for i := range recorded.Targets {
				if len(l.Which) == 0 || l.Which.Has(i) {
					do(l, target{*l.Case, i})
				}
			}
		}
	}
	released := make(map[target]string) // day
	each(func(k proof.Kind) bool { return k == proof.KindReleased }, func(l proof.Leaf, t target) { released[t] = l.Day })
	c := cases{authorised: make(map[string]int)}
	each(func(k proof.Kind) bool { return k == proof.KindAuthorised || k == proof.KindDecided }, func(l proof.Leaf, t target) {
		day, done := released[t]
		if done && day < from {
			return
		}
		if c.authorised[l.Day]++; done && l.Day >= from {
			c.released++
		}
	})
	return c
}

// exceeded compares. The log names days and no records, Vault's record names no
// records either, but tells them apart: up to each day, Vault opened no more records
// than the cases authorised by then have targets. A call that was repeated because its
// answer was lost opens the same record again. A device that was enabled again hashes anew,
// so that records count from there on.
func (c cases) exceeded(audit vault.Audit) error {
	if audit.Exported > 0 {
		return ErrUnlogged.Because(fmt.Errorf("the record key was exported or backed up %d times", audit.Exported))
	}
	records, began := make(map[string]bool), audit.Began
	for _, o := range audit.Opened {
		for len(began) > 0 && !began[0].After(o.At) {
			began = began[1:]
			clear(records)
		}
		if o.Stranger {
			return ErrUnlogged.Because(fmt.Errorf("at %s, with another token than the disclosing side's", o.At.UTC().Format(time.RFC3339)))
		}
		records[o.Record] = true
		allowed, today := 0, proof.Day(o.At.Add(clockSkew))
		for day, targets := range c.authorised {
			if day <= today {
				allowed += targets
			}
		}
		if len(records) > allowed {
			return ErrUnlogged.Because(fmt.Errorf("by %s: %d records, where the log has authorised %d", o.At.UTC().Format(time.RFC3339), len(records), allowed))
		}
	}
	return nil
}

// missing fails if Vault's record lacks what must be in it.
func (c cases) missing(audit vault.Audit) error {
	if len(audit.Opened) < c.released {
		return vault.ErrAuditFile.Because(fmt.Errorf("it shows %d first halves, where %d were released: it is not whole", len(audit.Opened), c.released))
	}
	return nil
}
