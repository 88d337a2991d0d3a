package disclose

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// errMoved: a target of a round was taken back while the package was made.
var errMoved = errors.New("a target of the round moved")

// release makes the package of each round of an authorised case that has none. Vault is
// asked for nothing before the leaf that authorised the round is under a cosigned checkpoint.
// A round that cannot be released keeps back no other; why the first of them cannot is
// returned with the case.
func (r *Registrar) release(ctx context.Context, c Case) (_ Case, failed error) {
	const attempts = 3
	for round := range c.Rounds {
		for n := 1; ; n++ {
			released, err := under(func() (Case, error) { return r.releaseRound(ctx, c, round) })
			if errors.Is(err, errMoved) && n < attempts {
				if c, err = r.Cases.Case(ctx, c.ID); err != nil {
					return c, err
				}
				continue
			}
			if err == nil {
				c = released
			}
			failed = cmp.Or(failed, err)
			break
		}
	}
	return c, failed
}

// releaseRound makes one package, of the targets that the round still authorises. A target
// whose record cannot be opened is refused, and does not keep back the others; if none can,
// the round stays as it is.
func (r *Registrar) releaseRound(ctx context.Context, c Case, round int) (Case, error) {
	which := c.of(round)
	if len(which) == 0 || c.Rounds[round].ReleasedLeaf != 0 {
		return c, nil
	}
	if err := c.mayRelease(r.Now()); err != nil {
		return c, err
	}
	since, err := r.Rules.Since(ctx, c.Bundle)
	if err != nil {
		return c, err
	}
	if err := policy.Stopped(since[1:], c.RecordedLeaf, c.Authority, c.named()); err != nil {
		return c, err
	}
	p, err := r.certified(ctx, c, round, decidedByTarget(since[0]))
	if err != nil {
		return c, err
	}
	if !policy.KindOf(c.Warrant.Kind).Answered {
		return c, ErrNothingToOpen
	}
	if err := c.supported(which, since); err != nil {
		return c, err
	}
	read, confirm := r.Cases.Together(ctx)
	p.Known, err = r.knownOf(read, c, since)
	var left []int
	var broken map[int]error
	if err == nil {
		left, broken, err = r.brokenOff(read, c, which)
	}
	if err := cmp.Or(confirm(), err); err != nil {
		return c, err
	}
	failed, err := r.packTargets(ctx, c, left, &p)
	if err != nil {
		return c, err
	}
	maps.Copy(broken, failed)
	if c.Kind == policy.Link {
		if p.Targets[0].Linked, err = r.linked(ctx, c, p); err != nil {
			return c, err
		}
	}
	packed, err := json.Marshal(p)
	if err != nil {
		return c, err
	}
	return r.Cases.Apply(ctx, c.ID, func(now Case) (Change, error) {
		return now.release(round, which, broken, packed, since, r.Now())
	})
}

// linked is what the issuing side answers to an order to link, of which p has everything
// else: the pen names of the person of its one target, which that side alone can make. It
// believes none of what it is given, see issue.Linker, and encrypts them to the requester, so
// that this side does not learn them.
func (r *Registrar) linked(ctx context.Context, c Case, p opening.Package) ([]byte, error) {
	if r.Link == nil {
		return nil, ErrNothingToOpen
	}
	packed, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(opening.Delivery{Rounds: []opening.Round{{Package: packed}}, Approvals: c.signedApprovals()})
	if err != nil {
		return nil, err
	}
	return r.Link(ctx, c.ID, order)
}

// mayRelease is why nothing of the case is released now, or nil.
func (c *Case) mayRelease(now time.Time) error {
	_, refused := c.State.May(Release)
	switch {
	case refused != nil:
		return refused
	case !now.Before(c.Expires):
		return policy.ErrExpired
	case c.lapsed(now):
		return ErrLapsed
	}
	return c.mayGoOn(now)
}

// release is what the package of a round does, which opens those of which that are not broken.
func (c Case) release(round int, which []int, broken map[int]error, packed []byte, since []*policy.Bundle, now time.Time) (Change, error) {
	if c.Rounds[round].ReleasedLeaf != 0 {
		return Change{}, nil // another process was first: its package stands
	}
	if err := c.mayRelease(now); err != nil {
		return Change{}, err // while the package was made
	}
	if !slices.Equal(c.of(round), which) {
		return Change{}, errMoved
	}
	out := slices.DeleteFunc(slices.Clone(which), func(i int) bool { return broken[i] != nil })
	var marks proof.Marks
	if decidedByTarget(since[0]) {
		marks = c.marks(func(i int) bool { return slices.Contains(out, i) })
	}
	leaf := proof.ReleasedLeaf(now, c.RecordedLeaf, sha256.Sum256(packed), marks).On(policy.KindOf(c.Kind).When(now))
	ch := Change{InForce: since[len(since)-1].Hash(), Package: packed, Round: round, Steps: []Step{{Event: Release, Leaf: leaf, Which: out}}}
	for _, i := range which {
		if err := broken[i]; err != nil {
			ch.Steps = append(ch.Steps, Step{Event: Break, Which: []int{i}, Code: codeOf(err)})
		}
	}
	// What is broken is settled before the case is said to be released.
	slices.Reverse(ch.Steps)
	return ch, nil
}

// certified is a package with the proofs that the warrant was recorded, and that the
// custodians decided on the targets of a round.
func (r *Registrar) certified(ctx context.Context, c Case, round int, byTarget bool) (p opening.Package, err error) {
	p = opening.Package{Version: 1, Case: c.ID, Submission: c.Submission, Salt: c.Salt[:]}
	if !byTarget {
		p.Authorised, err = r.loggedAs(ctx, c.Rounds[round].AuthorisedLeaf, func(have proof.Leaf) proof.Leaf {
			return proof.AuthorisedLeaf(time.Time{}, c.RecordedLeaf).On(have.Day)
		})
	} else {
		receipt := c.DeletionReceipt()
		p.Receipt = receipt[:]
		leaves := c.DecidedLeaves()
		for _, decided := range c.Rounds[:round+1] {
			leaf, lerr := r.loggedAs(ctx, decided.AuthorisedLeaf, func(have proof.Leaf) proof.Leaf { return leaves[decided.AuthorisedLeaf].On(have.When()) })
			if err = lerr; err != nil {
				return p, err
			}
			p.Decided = append(p.Decided, leaf)
		}
	}
	if err == nil {
		p.Recorded, err = r.recorded(ctx, c)
	}
	return p, err
}

// packTargets opens the records of those targets and packs them, and returns of which it
// could not, and why. It is an error if it could of none.
func (r *Registrar) packTargets(ctx context.Context, c Case, which []int, p *opening.Package) (broken map[int]error, err error) {
	targets, err := c.targets(which)
	if err != nil {
		return nil, err
	}
	opened, err := r.openTargets(ctx, targets, p.Known.Platforms)
	if err != nil {
		return nil, err
	}
	broken = make(map[int]error)
	var whole []openedTarget
	var places []int
	for n, t := range opened {
		if t.Err != nil {
			broken[which[n]] = t.Err
			continue
		}
		whole, places = append(whole, t.Value), append(places, which[n])
	}
	for part := range slices.Chunk(places, halvesAtOnce) {
		packed, failed, err := r.pack(ctx, c, whole[:len(part)])
		if err != nil {
			return nil, err
		}
		whole = whole[len(part):]
		for n, i := range part {
			if failed[n] != nil {
				broken[i] = failed[n]
				continue
			}
			if len(p.Decided) > 0 { // else they all are there, in order
				if packed[n].Index = i; len(packed[n].Halves) > 0 {
					if packed[n].Locked, err = opening.Lock(c.key(i), packed[n].Halves); err != nil {
						return nil, err
					}
					packed[n].Halves = nil
				}
			}
			p.Targets = append(p.Targets, packed[n])
		}
	}
	for _, i := range which {
		// All or nothing where targets are not decided one by one.
		if broken[i] != nil && (len(p.Targets) == 0 || len(p.Decided) == 0) {
			return nil, broken[i]
		}
	}
	return broken, nil
}

// halvesAtOnce is how many clear halves there are at a time.
const halvesAtOnce = 300

// pack re-encrypts the first halves of the fields that the warrant names, and of
// no other, to the requester; failed says why it could not of a target. Clear halves live
// in this function only, each until it is encrypted.
func (r *Registrar) pack(ctx context.Context, c Case, targets []openedTarget) (packed []opening.PackageTarget, failed []error, err error) {
	packed, failed = make([]opening.PackageTarget, len(targets)), make([]error, len(targets))
	if !policy.KindOf(c.Kind).Opens { // no field, and so no half
		for i, t := range targets {
			packed[i].OpenedTarget = t.OpenedTarget
		}
		return packed, failed, nil
	}
	wrapped := make([]Wrapped, len(targets))
	for i, t := range targets {
		wrapped[i] = Wrapped{t.Label, t.record.FirstHalf}
	}
	halves, failed, err := r.halves(ctx, wrapped)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		for _, half := range halves {
			clear(half)
		}
	}()
	for i, t := range targets {
		if failed[i] != nil {
			continue
		}
		named := t.record.Named(c.Warrant.Fields)
		p := opening.PackageTarget{OpenedTarget: t.OpenedTarget, Fields: named.Fields}
		p.Withheld = named.Withheld
		if p.Halves, err = sealHalves(c, t.Label, halves[i]); err != nil {
			return nil, nil, err
		}
		packed[i] = p
	}
	return packed, failed, nil
}

// halves unwraps first halves: all at once, and one by one where one of them is damaged.
// What every single one is refused for is about the key service, and an error.
func (r *Registrar) halves(ctx context.Context, wrapped []Wrapped) (halves [][]byte, failed []error, err error) {
	failed = make([]error, len(wrapped))
	if halves, err = r.Keys.UnwrapHalves(ctx, wrapped); err == nil || ofAll(err) || len(wrapped) == 1 {
		return halves, failed, err
	}
	halves = make([][]byte, len(wrapped))
	opened := false
	for i, w := range wrapped {
		one, oneErr := r.Keys.UnwrapHalves(ctx, []Wrapped{w})
		switch {
		case ofAll(oneErr) && oneErr != nil:
			return nil, nil, oneErr
		case oneErr != nil:
			failed[i] = oneErr
		default:
			halves[i], opened = one[0], true
		}
	}
	if !opened {
		return nil, nil, err
	}
	return halves, failed, nil
}

// sealHalves encrypts what a first half gives for the fields of the warrant to
// the requester, and clears the half.
func sealHalves(c Case, label string, half []byte) ([]byte, error) {
	defer clear(half)
	clearHalves, err := json.Marshal(seal.FirstHalves(half, label, c.Warrant.Fields))
	if err != nil {
		return nil, err
	}
	defer clear(clearHalves)
	return seal.SealTo(c.Warrant.Requester.DeliveryKey, seal.HalvesInfo(c.WarrantHash, label), clearHalves)
}

// Deliver hands an [opening.Delivery] over, as JSON in one ciphertext to the
// warrant's delivery key: only what was released, and only once each RELEASED leaf,
// which holds the hash of its package, is under a cosigned checkpoint. Whoever knows
// the id may ask: without the key they learn the state of the case, not even what
// kind of warrant it is.
func (r *Registrar) Deliver(ctx context.Context, id string) ([]byte, error) {
	c, err := r.Cases.Case(ctx, id)
	if err != nil {
		return nil, err
	}
	if c.lapsed(r.Now()) && c.LapsedLeaf == 0 { // the job comes every minute
		lapsed, err := r.Cases.Apply(ctx, id, func(c Case) (Change, error) { return c.Lapse(r.Now()) })
		if err != nil && !errors.Is(err, ErrCaseClosed) {
			return nil, err
		}
		if err == nil {
			c = lapsed
		}
	}
	released := c.count(TargetReleased) > 0
	_, refused := c.State.May(Release)
	switch {
	case c.State == Lost:
		return nil, ErrLost
	case c.State == Recorded && !r.Now().Before(c.Expires):
		return nil, policy.ErrExpired
	case c.State == Authorised:
		now, err := r.release(ctx, c)
		if err != nil && now.count(TargetReleased) == 0 {
			return nil, err
		}
		c = now // what was released is handed over meanwhile
	case refused != nil && !released:
		return nil, refused
	}
	d, err := r.delivery(ctx, c)
	if err != nil {
		return nil, err
	}
	return sealDelivery(c, d)
}

// keys are those of the released targets of a round whose use nothing forbids.
func (c *Case) keys(round int) map[int][]byte {
	keys := make(map[int][]byte)
	for i, t := range c.Targets {
		if t.State == TargetReleased && t.Code == "" && t.Round == round+1 {
			key := c.key(i)
			keys[i] = key[:]
		}
	}
	return keys
}

// key locks the halves of one target of a case (opening.Lock).
func (c *Case) key(target int) [32]byte { return c.derived(fmt.Sprint("halves ", target)) }

// DeletionReceipt is what the requester finds in each package, and proves their statement
// of deletion with.
func (c *Case) DeletionReceipt() [32]byte { return c.derived("receipt") }

// derived is a secret of a case for one purpose, HMAC-SHA-256 by [Case].Secret.
func (c *Case) derived(purpose string) (key [32]byte) {
	h := hmac.New(sha256.New, c.Secret[:])
	h.Write([]byte(purpose))
	return [32]byte(h.Sum(nil))
}

// delivery is what was released of a case, in the order of the leaves. Of a round that may
// not be used any more nothing is handed over, whether it was before or not.
func (r *Registrar) delivery(ctx context.Context, c Case) (d opening.Delivery, err error) {
	ctx, confirm := r.Cases.Together(ctx)
	defer func() { err = cmp.Or(confirm(), err) }()
	// To whom it goes is in the warrant that the log holds, not in the row.
	recorded, err := r.recorded(ctx, c)
	if err != nil {
		return d, err
	}
	d.Approvals = c.signedApprovals()
	byTarget := slices.ContainsFunc(c.Approvals, func(a Approval) bool { return a.Votes != nil })
	for n, round := range c.Rounds {
		keys := c.keys(n)
		if round.ReleasedLeaf == 0 || len(keys) == 0 {
			continue
		}
		packed, err := r.Cases.Package(ctx, c.ID, n)
		if err != nil {
			return d, err
		}
		if packed == nil {
			return d, ErrLost // and noticed since
		}
		leaf, err := r.loggedAs(ctx, round.ReleasedLeaf, func(have proof.Leaf) proof.Leaf {
			return c.ReleasedLeaf(n, sha256.Sum256(packed), byTarget).On(have.When())
		})
		if err != nil {
			return d, err
		}
		if !byTarget {
			d.Package, d.Released = packed, leaf
			return d, nil
		}
		d.Rounds = append(d.Rounds, opening.Round{Package: packed, Released: leaf, Keys: keys})
	}
	if len(d.Rounds) == 0 {
		if c.Barred() == "" {
			return d, ErrLost // its rounds are not known any more
		}
		receipt := c.DeletionReceipt()
		d.Approvals, d.Barred = nil, &opening.Barred{Recorded: recorded, Receipt: receipt[:]}
	}
	slices.SortFunc(d.Rounds, func(a, b opening.Round) int { return cmp.Compare(a.Released.Index, b.Released.Index) })
	d.States = c.states()
	bars := slices.Clone(c.Annulments)
	if c.LapsedLeaf != 0 {
		bars = append(bars, c.LapsedLeaf)
	}
	for _, index := range bars {
		leaf, err := r.logged(ctx, index)
		if err != nil {
			return d, err
		}
		d.Bars = append(d.Bars, leaf)
	}
	return d, nil
}

// deliveryUnit is what the length of a delivery is a multiple of: those of most
// cases are of one length, whatever is in them.
const deliveryUnit = 64 << 10

// sealDelivery encrypts a delivery to the requester, filled up with spaces, which
// JSON allows.
func sealDelivery(c Case, d opening.Delivery) ([]byte, error) {
	clearText, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	if over := len(clearText) % deliveryUnit; over > 0 {
		clearText = append(clearText, bytes.Repeat([]byte(" "), deliveryUnit-over)...)
	}
	return seal.SealTo(c.Warrant.Requester.DeliveryKey, seal.DeliveryInfo(c.ID), clearText)
}

// StateDeletion files the requester's statement that what was delivered is deleted, proven
// with HMAC-SHA-256 by the receipt in the package, and logs that it was made. It is kept and
// shown as their statement: nobody can check it. The same again changes nothing.
func (r *Registrar) StateDeletion(ctx context.Context, id, said string, mac [32]byte) (Case, error) {
	return r.Cases.Apply(ctx, id, func(c Case) (Change, error) { return c.StateDeletion(said, mac, r.Now()) })
}

const maxStatement = 16 << 10 // bytes, as in the schema

// StateDeletion is what the statement does: see [Registrar.StateDeletion].
func (c Case) StateDeletion(said string, mac [32]byte, now time.Time) (Change, error) {
	_, refused := c.State.May(Delete)
	proven := opening.DeletionMAC(c.DeletionReceipt(), said)
	switch {
	case refused != nil:
		return Change{}, refused
	case c.count(TargetReleased) == 0:
		return Change{}, ErrNothingDelivered
	case c.Secret == [32]byte{}, said == "", len(said) > maxStatement, !hmac.Equal(proven[:], mac[:]):
		return Change{}, ErrReceipt
	case c.Deletion != nil && c.Deletion.Said == said:
		return Change{}, nil
	case c.Deletion != nil:
		return Change{}, ErrStated
	}
	return Change{Deletion: &Deletion{Said: said, MAC: mac}, Steps: []Step{{Event: Delete, Leaf: proof.DeletedLeaf(now, c.RecordedLeaf)}}}, nil
}
