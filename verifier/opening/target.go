package opening

import (
	"errors"
	"slices"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// place puts each sealed record to its target, once. Whatever is released must be what the
// leaf of its round says, and no more.
func (o *Opening) place(d Delivery) error {
	positions := o.positions()
	if len(d.States) > 0 && len(d.States) != len(o.Targets) {
		return ErrPackage
	}
	for n := range o.rounds {
		r := &o.rounds[n]
		if r.which == nil && len(r.Targets) != len(o.Targets) || r.which != nil && len(r.Targets) != r.which.Count() {
			return ErrPackage
		}
		for i := range r.Targets {
			sealed := &r.Targets[i]
			if r.which == nil {
				sealed.Index = i
			}
			if sealed.Index < 0 || sealed.Index >= len(o.Targets) || o.Targets[sealed.Index].Sealed != nil {
				return ErrPackage
			}
			want := o.Warrant.Targets[sealed.Index]
			if sealed.Pseudonym != want.Pseudonym || sealed.Platform != want.Platform {
				return ErrPackage
			}
			if r.which != nil && !r.which.Has(positions[sealed.Index]) {
				return ErrNotLogged
			}
			if key, handed := r.keys[sealed.Index]; handed && len(sealed.Locked) > 0 {
				var err error
				if sealed.Halves, err = unlock(key, sealed.Locked); err != nil {
					return ErrPackage.Because(err)
				}
			}
			o.Targets[sealed.Index].Sealed = sealed
		}
	}
	return nil
}

// positions are where the targets of the warrant stand in the recorded leaf.
func (o *Opening) positions() []int {
	targets := make([]proof.Target, len(o.Warrant.Targets))
	for i, t := range o.Warrant.Targets {
		targets[i] = proof.Target{Pseudonym: string(t.Pseudonym), Platform: t.Platform}
	}
	return proof.Positions(o.recorded, [32]byte(o.rounds[0].Salt), targets)
}

// bar checks the leaves that forbid the use of what was released, and marks the targets that
// they are about. Where that is all that was released it is their refusal.
func (o *Opening) bar(bars []LoggedLeaf, since []*policy.Bundle) error {
	logs, err := Logs(since...)
	if err != nil {
		return err
	}
	positions := o.positions()
	var last *refusal.Error
	for _, l := range bars {
		leaf, why, err := checkBar(logs, l, o.Certificate.Recorded)
		if err != nil {
			return err
		}
		last = why
		for i := range o.Targets {
			if len(leaf.Which) == 0 || leaf.Which.Has(positions[i]) {
				o.Targets[i].Barred = why
			}
		}
	}
	if last != nil && !slices.ContainsFunc(o.Targets, func(t Target) bool { return t.Sealed != nil && t.Barred == nil }) {
		return last
	}
	return nil
}

// checkBar verifies a leaf that forbids the use of what was released of the case with that
// recorded leaf, and returns as what it is refused.
func checkBar(logs []*proof.Log, l LoggedLeaf, recorded int64) (leaf proof.Leaf, why *refusal.Error, err error) {
	if leaf, err = proof.ParseLeaf(l.Bytes); err != nil {
		return leaf, nil, err
	}
	kind, why := proof.KindLapsed, ErrLapsed
	if leaf.Kind == proof.KindRecorded {
		kind, why = proof.KindRecorded, ErrAnnulled
		if !leaf.Annuls() {
			return leaf, nil, ErrPackage // a withdrawal stops what was not released yet, and no more
		}
	}
	leaf, _, err = checkLeaf(logs, l, kind, &recorded)
	return leaf, why, err
}

// barredWholly is the refusal of a delivery that hands nothing over, because nothing of the
// case may be used any more.
func barredWholly(d Delivery, since []*policy.Bundle) error {
	logs, err := Logs(since...)
	if err != nil {
		return err
	}
	if _, _, err := CheckRecorded(logs, d.Barred.Recorded); err != nil {
		return err
	}
	var why error = ErrPackage
	for _, l := range d.Bars {
		_, refused, err := checkBar(logs, l, d.Barred.Recorded.Index)
		if err != nil {
			return err
		}
		why = refused
	}
	return why
}

// verifyApprovals checks each approval: signed by a custodian of one of the
// bundles, over this warrant in this case, and one for each bundle and custodian. For each
// released target it keeps those that approve it under a key for which there are enough, and
// holds them against the decisions that the log opened.
func (o *Opening) verifyApprovals(all []string, since []*policy.Bundle, quorum int) error {
	o.Signers = make(map[string]*policy.Bundle)
	for _, b := range since {
		o.Signers[b.Hash()] = b
	}
	seen := make(map[[2]string]bool)
	var given []decision
	for _, signed := range all {
		a, err := VerifyApproval(signed, since...)
		if err != nil {
			return err
		}
		who := [2]string{a.Custodian, a.Signers()}
		if a.Case != o.Case || a.LeafIndex != o.Certificate.Recorded || a.WarrantHash != o.Certificate.Warrant || a.Bundle != since[0].Hash() || seen[who] {
			return ErrPackage
		}
		seen[who] = true
		votes, err := a.Votes(len(o.Targets))
		if err != nil {
			return err
		}
		if since[0].Version >= perTarget && a.Decision == Approve && len(a.Answers) == 0 {
			return ErrApprovalUnanswered
		}
		given = append(given, decision{a, votes, hexDigest([]byte(signed))})
	}
	positions, required := o.positions(), since[0].RequiredFor(o.Warrant.OffenceClass, o.Warrant.OffenceID)
	for n := range o.rounds {
		r := &o.rounds[n]
		opened, err := r.decisions(given, positions)
		if err != nil {
			return err
		}
		for i := range r.Targets {
			t := &o.Targets[r.Targets[i].Index]
			logged, refused := given, ErrPackage // the rules wanted more than the key needs
			if r.which != nil {
				logged, refused = opened, ErrNotLogged
			}
			if !t.choose(logged, given, r.Targets[i].Index, since, o.Signers, quorum, required) {
				return refused
			}
		}
	}
	return nil
}

// decision is a custodian's signed decision with the votes in it.
type decision struct {
	*Approval
	votes  []string
	digest string // hex SHA-256 of the JWS
}

// decisions are those of given that the leaves of the round open, as they were signed.
func (r round) decisions(given []decision, positions []int) (opened []decision, err error) {
	for _, o := range r.opened {
		i := slices.IndexFunc(given, func(d decision) bool { return d.digest == o.Signed })
		if i < 0 {
			continue // a refusal, or of rules under which nobody can open any more
		}
		d := given[i]
		if d.Custodian != o.Custodian {
			return nil, ErrNotLogged
		}
		for target, vote := range d.votes {
			if (vote == Approve) != o.Votes.Has(positions[target]) {
				return nil, ErrNotLogged.Because(errors.New("the log opens another vote than was signed"))
			}
		}
		opened = append(opened, d)
	}
	return opened, nil
}

// choose keeps the approvals of the target under the newest key for which there are enough
// that the log has, with those among them whom the rules require: the last of each custodian. Those who step in later count for no quorum,
// and their shares open as well.
func (t *Target) choose(logged, given []decision, target int, since []*policy.Bundle, signers map[string]*policy.Bundle, quorum int, required []policy.Required) bool {
	under := func(all []decision, key string) (approvals []*Approval) {
		for _, d := range all {
			if d.votes[target] == Approve && signers[d.Signers()].ThresholdKey == key {
				approvals = append(slices.DeleteFunc(approvals, func(a *Approval) bool { return a.Custodian == d.Custodian }), d.Approval)
			}
		}
		return approvals
	}
	for _, b := range slices.Backward(since) {
		counted := under(logged, b.ThresholdKey)
		var seats []policy.Custodian
		for _, a := range counted {
			if c := signers[a.Signers()].Custodian(a.Custodian); c != nil {
				seats = append(seats, *c)
			}
		}
		if len(counted) >= quorum && len(policy.Unmet(required, seats)) == 0 {
			t.Approvals, t.Key = under(given, b.ThresholdKey), b.ThresholdKey
			return true
		}
	}
	return false
}
