package openingtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// Shown is what the registrar shows of each target.
func (c *Case) shown(i int) opening.OpenedTarget {
	hidden := c.sealed[i].Named(nil)
	t := c.Warrant.Targets[i]
	return opening.OpenedTarget{Pseudonym: t.Pseudonym, Platform: t.Platform, Label: hidden.Label, LinkSalt: c.linkSalts[i][:], Custody: hidden.Custody, Withheld: hidden.Withheld}
}

// CaseFile is what the registrar shows to custodians.
func (c *Case) CaseFile() opening.CaseFile {
	f := opening.CaseFile{Case: c.ID, Submission: c.Submission, Bundle: c.Bundle.Hash(), Salt: c.Salt[:], Leaf: c.Prove(c.Recorded), Approvals: []string{}}
	for i := range c.sealed {
		f.Targets = append(f.Targets, c.shown(i))
	}
	return f
}

// Question is the one that these custodians are asked.
const Question = "Does each of these posts show this offence, Threats to kill?"

// Answer is what one of the custodians of the world signs who approves some targets and
// declines the others.
func (c *Case) Answer(custodian string, approved ...int) opening.Approval {
	c.t.Helper()
	hash := policy.Hash(c.Submission.Warrant)
	a := opening.Approval{Case: c.ID, Custodian: custodian, WarrantHash: hexDigest(c.Submission.Warrant), Bundle: c.Bundle.Hash(), LeafIndex: c.Recorded,
		CheckpointSize: int64(len(c.leaves)), Decision: opening.Decline, Reason: "press_freedom", Questions: []string{Question}, At: Now}
	for i := range c.Warrant.Targets {
		a.Answers = append(a.Answers, opening.Answer{Target: i, Says: []string{opening.No}, Vote: opening.Decline, Reason: "press_freedom"})
	}
	for _, i := range approved {
		a.Decision, a.Reason = opening.Approve, ""
		a.Answers[i] = opening.Answer{Target: i, Says: []string{opening.Yes}, Vote: opening.Approve}
		t := c.shown(i)
		for _, compartment := range t.Needed(c.Warrant.Fields) {
			share, err := t.DecryptShare(t.Label, compartment, c.pk, c.Shares[custodian])
			check(c.t, err)
			clear, err := share.MarshalBinary()
			check(c.t, err)
			sealed, err := t.SealShare(c.Warrant.Requester.DeliveryKey, hash, compartment, custodian, clear)
			check(c.t, err)
			a.Shares = append(a.Shares, opening.EncryptedShare{Target: i, Compartment: compartment, Ciphertext: sealed})
		}
	}
	return a
}

// Decide signs an answer and logs it.
func (c *Case) Decide(a opening.Approval) string {
	c.t.Helper()
	signed, err := opening.SignApproval(c.Key(a.Custodian), a)
	check(c.t, err)
	votes, err := a.Votes(len(c.Warrant.Targets))
	check(c.t, err)
	d := proof.Decision{Custodian: a.Custodian, Votes: proof.NewMarks(len(votes)), Signed: []byte(signed)}
	for i, vote := range votes {
		if vote == opening.Approve {
			d.Votes.Set(c.positions[i])
		}
	}
	c.Forge(signed, d)
	return signed
}

// Forge logs a decision for what was signed, whatever that is.
func (c *Case) Forge(signed string, d proof.Decision) {
	c.opened = append(c.opened, d.Open(c.Salt, c.Append(proof.DecisionLeaf(Now, c.Recorded, c.Salt, d))))
	c.approvals = append(c.approvals, signed)
}

// Marks are some targets as leaves name them.
func (c *Case) Marks(targets ...int) proof.Marks {
	m := proof.NewMarks(len(c.Warrant.Targets))
	for _, i := range targets {
		m.Set(c.positions[i])
	}
	return m
}

// Authorise logs that these targets have reached their quorum, and opens the decisions since.
func (c *Case) Authorise(targets ...int) {
	c.decided = append(c.decided, c.Append(proof.DecidedLeaf(c.Clock, c.Recorded, c.Marks(targets...), c.opened).On(policy.KindOf(c.Warrant.Kind).When(c.Clock))))
	c.opened = nil
}

// Package is that of one round.
func (c *Case) Package(targets ...int) opening.Package {
	c.t.Helper()
	p := opening.Package{Version: 1, Case: c.ID, Submission: c.Submission, Salt: c.Salt[:], Recorded: c.Prove(c.Recorded), Receipt: make([]byte, 32)}
	rand.Read(p.Receipt)
	for _, l := range c.decided {
		p.Decided = append(p.Decided, c.Prove(l))
	}
	for _, i := range targets {
		named := c.sealed[i].Named(c.Warrant.Fields)
		t := opening.PackageTarget{OpenedTarget: c.shown(i), Index: i, Fields: named.Fields}
		t.Withheld = named.Withheld
		halves, err := json.Marshal(seal.FirstHalves(c.halves[i], named.Label, c.Warrant.Fields))
		check(c.t, err)
		t.Halves, err = seal.SealTo(c.Warrant.Requester.DeliveryKey, seal.HalvesInfo(policy.Hash(c.Submission.Warrant), named.Label), halves)
		check(c.t, err)
		p.Targets = append(p.Targets, t)
	}
	return p
}

// Release logs a package, of these targets, as a round.
func (c *Case) Release(p opening.Package, targets ...int) opening.Round {
	c.t.Helper()
	packed, err := json.Marshal(p)
	check(c.t, err)
	leaf := c.Append(proof.ReleasedLeaf(c.Clock, c.Recorded, sha256.Sum256(packed), c.Marks(targets...)).On(policy.KindOf(c.Warrant.Kind).When(c.Clock)))
	return opening.Round{Package: packed, Released: c.Prove(leaf)}
}

// Deliver is what the requester gets.
func (c *Case) Deliver(rounds ...opening.Round) opening.Delivery {
	return opening.Delivery{Rounds: rounds, Approvals: c.approvals}
}
