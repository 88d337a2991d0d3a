package issue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// An order to link names one pen name and asks for all of its person. Only this side can make
// them, and only from the person's id; only the disclosing side can tell which record a pen
// name belongs to. So the one leaves the order for the other:
//
//	disclosing  custodians decided, the leaf that says so is cosigned → opens the one link →
//	            leaves warrant, evidence, proofs, decisions and the record's label
//	here        a job verifies all of it by itself ([opening.VerifyOrder], under the rules that
//	            the public log says were in force) → the person of that label → their pen names
//	            → encrypted to the delivery key of the warrant, which this side cannot open
//	disclosing  releases it as the package of the case, with its leaf; the person is told as
//	            of any opening
//
// The label is not believed: with the rest of the record it gives what the token in the
// evidence commits to, and the pen name of the order must be among those of its person. What
// is not cosigned, or was decided by too few, is refused here, whoever leaves it.
//
// No key holds this back: whoever controls this side, with its database and its role in the
// key service, can make all pen names of any person whose id is in the table, order or not.
// That it happens on an order alone is a decision that this code carries out, and custodians'
// shares play no part in it. The person's other pen names are not looked for in any table of
// their own, and nothing about them is stored but the ciphertext.

// Why an order to link is not carried out, beside what package opening says.
var (
	ErrLinkNobody = refusal.New(refusal.NotFound, "link.nobody",
		"nobody is enrolled under the record of this pen name any more: its person asked to be deleted, and there is nothing to link")
	ErrLinkOther = refusal.New(refusal.Denied, "link.other_person",
		"the record that the order came with is not of the person of its pen name: nothing was linked; keep the order as evidence, and see who can write the database")
)

// LinkOrder is an order that waits: the JSON of an [opening.Delivery] of which nothing is
// released yet.
type LinkOrder struct {
	Case  string
	Order []byte
}

// Linker answers orders to link. All fields are required.
type Linker struct {
	Issuer *Issuer
	// Since returns the bundle with a hash and those that came into force after it, by the
	// public log.
	Since func(ctx context.Context, bundle string) ([]*policy.Bundle, error)
	// Platforms returns the ids of all registered platforms, by sector.
	Platforms func() map[string][]string
}

// linkedUnit is what the length of an answer is a multiple of, in bytes: nearly all are of
// one length, however many pen names somebody has.
const linkedUnit = 64 << 10

// Work answers the orders that wait, and returns of each that it refused why. What cannot be
// told at the moment, as where the rules in force are not known, is left for the next time,
// and holds up no other order; err says why of each of them.
func (l *Linker) Work(ctx context.Context) (refused []error, err error) {
	orders, err := l.Issuer.Store.LinkOrders(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range orders {
		answer, failed := l.answer(ctx, o)
		code := ""
		if e := refusal.Of(failed); e != nil && e.Kind != refusal.Unavailable {
			refused, code, failed = append(refused, e), e.Code, nil
		}
		if failed == nil {
			failed = l.Issuer.Store.AnswerLink(ctx, o.Case, answer, code)
		}
		err = errors.Join(err, failed)
	}
	return refused, err
}

// answer is the list of pen names that an order asks for, encrypted to its delivery key.
func (l *Linker) answer(ctx context.Context, o LinkOrder) ([]byte, error) {
	var d opening.Delivery
	if err := json.Unmarshal(o.Order, &d); err != nil {
		return nil, opening.ErrPackage.Because(err)
	}
	hash, err := opening.CaseBundle(d)
	if err != nil {
		return nil, err
	}
	since, err := l.Since(ctx, hash)
	if err != nil {
		return nil, err
	}
	lawful, err := opening.VerifyOrder(d, since...)
	if err != nil {
		return nil, err
	}
	w := lawful.Warrant
	switch {
	case lawful.Case != o.Case:
		return nil, opening.ErrPackage
	case !l.Issuer.Now().Before(w.Expiry):
		return nil, policy.ErrExpired
	}
	if err := policy.Stopped(since[1:], lawful.Certificate.Recorded, w.Authority, w.Targets); err != nil {
		return nil, err
	}
	label := lawful.Targets[0].Sealed.Label
	linked, err := l.linked(ctx, label, w.Targets[0].Pseudonym)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(linked)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if over := len(text) % linkedUnit; over > 0 {
		text = append(text, bytes.Repeat([]byte(" "), linkedUnit-over)...)
	}
	return seal.SealTo(w.Requester.DeliveryKey, seal.LinkedInfo(lawful.WarrantHash, label), text)
}

// linked are the pen names of the person of a record, at every platform where they have one;
// that of the order must be among them.
func (l *Linker) linked(ctx context.Context, label string, of token.Pseudonym) (linked opening.Linked, err error) {
	p, err := l.Issuer.Store.Labelled(ctx, label)
	if err != nil {
		return nil, err
	}
	platforms := l.Platforms()
	var sectors []string
	for sector := range platforms {
		sectors = append(sectors, sector)
	}
	slices.Sort(sectors)
	names, err := l.Issuer.PenNames(ctx, p, sectors)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		linked = append(linked, opening.LinkedName{PenName: n.Pseudonym, Platforms: platforms[n.Platform]})
	}
	if !slices.ContainsFunc(linked, func(n opening.LinkedName) bool { return n.PenName == of }) {
		return nil, ErrLinkOther
	}
	return linked, nil
}
