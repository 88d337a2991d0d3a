package service

import (
	"context"
	"fmt"
	"os"
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

// CheckVaultAudit holds Vault's own record, the file of an audit device, against
// the public log (ATTACKS I2, F13): what Vault opened, the log must have
// authorised, and what was released Vault must have opened. It returns how many
// first halves Vault opened. It fails with [ErrUnlogged], or with
// [vault.ErrAuditFile] if the file is not whole.
func CheckVaultAudit(ctx context.Context, store *postgres.Disclosing, file string) (int, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, vault.ErrAuditFile.Because(err)
	}
	defer f.Close()
	opened, exported, err := vault.ReadAudit(f)
	if err != nil {
		return 0, err
	}
	size, err := store.Log.Size(ctx)
	if err != nil {
		return 0, err
	}
	var leaves []proof.Leaf
	for from := int64(0); from < size; from = int64(len(leaves)) {
		raw, err := store.Log.Leaves(ctx, from, min(from+1000, size))
		if err != nil {
			return 0, err
		}
		for _, b := range raw {
			leaf, err := proof.ParseLeaf(b)
			if err != nil {
				return 0, err
			}
			leaves = append(leaves, leaf)
		}
	}
	return len(opened), compareAudit(leaves, opened, exported)
}

// CheckSecretIDs holds the file of an audit device of Vault against the rhythm in which
// a service renews its secret ids: at each address one for a role when half of the life
// of the one before is over, used from there and nowhere else. Whoever has stolen a
// renewer's secret id must mint to live on, and shows. What was minted and never
// logged in, as by a renewal that crashed, is no use to anybody and does not count.
//
// It returns how many were minted by renewers and how many by people's tokens, which
// are for people to know. It fails with [ErrMinted], or with [vault.ErrAuditFile].
func CheckSecretIDs(file string) (renewed, byHand int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, vault.ErrAuditFile.Because(err)
	}
	defer f.Close()
	ids, err := vault.ReadSecretIDs(f)
	if err != nil {
		return 0, 0, err
	}
	for _, id := range ids {
		switch {
		case id.ByRenewer:
			renewed++
		case !id.At.IsZero():
			byHand++
		}
	}
	return renewed, byHand, inRhythm(ids)
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

// compareAudit compares. The log names days and no records, Vault's audit file
// names no records either, but tells them apart: up to each day, Vault opened
// no more records than the cases authorised by then have targets. A call that
// was repeated because its answer was lost opens the same record again.
func compareAudit(leaves []proof.Leaf, opened []vault.Opened, exported int) error {
	if exported > 0 {
		return ErrUnlogged.Because(fmt.Errorf("the record key was exported or backed up %d times", exported))
	}
	authorised := make(map[string]int) // targets, by day
	released := 0
	for _, l := range leaves {
		if l.Case == nil || *l.Case < 0 || *l.Case >= int64(len(leaves)) {
			continue
		}
		switch targets := leaves[*l.Case].Targets; l.Kind {
		case proof.KindAuthorised:
			authorised[l.Day] += targets
		case proof.KindReleased:
			released += targets
		}
	}
	records := make(map[string]bool)
	for _, o := range opened {
		if o.Stranger {
			return ErrUnlogged.Because(fmt.Errorf("at %s, with another token than the disclosing side's", o.At.UTC().Format(time.RFC3339)))
		}
		records[o.Record] = true
		allowed, today := 0, proof.Day(o.At.Add(clockSkew))
		for day, targets := range authorised {
			if day <= today {
				allowed += targets
			}
		}
		if len(records) > allowed {
			return ErrUnlogged.Because(fmt.Errorf("by %s: %d records, where the log has authorised %d", o.At.UTC().Format(time.RFC3339), len(records), allowed))
		}
	}
	if len(opened) < released {
		return vault.ErrAuditFile.Because(fmt.Errorf("it shows %d first halves, where %d were released: it is not whole", len(opened), released))
	}
	return nil
}
