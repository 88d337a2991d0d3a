package custodian

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
)

// Ceremony is a ceremony that the folder takes part in.
type Ceremony struct {
	Plan   []byte         // as it was agreed to: [policy.ParseCeremonyPlan]
	Status CeremonyStatus // by what this folder has heard; complete: its share is safe
}

// Ceremonies are those in the folder that still lead somewhere: which start from the key of the
// rules in force, that the folder has read, or make the first one; in which nobody was found at
// fault, and whose key is not in those rules yet. Nobody is asked.
func (c *Custodian) Ceremonies() (all []Ceremony, err error) {
	names, err := c.folder.files("ceremony-")
	if err != nil {
		return nil, err
	}
	before, err := c.rules()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".state") {
			continue
		}
		raw, err := c.folder.read(name)
		if err != nil {
			return nil, err
		}
		one, leads, err := goesOn(raw, before)
		if err != nil {
			return nil, err
		}
		if leads {
			all = append(all, one)
		}
	}
	return all, nil
}

// goesOn reads the state of a ceremony, and reports whether it leads somewhere under those rules.
func goesOn(raw []byte, before *policy.Bundle) (one Ceremony, leads bool, err error) {
	var state participationState
	if err := json.Unmarshal(raw, &state); err != nil {
		return one, false, ErrSecret
	}
	plan, err := policy.ParseCeremonyPlan(state.Plan)
	if err != nil {
		return one, false, err
	}
	from := ""
	if before != nil {
		from = before.ThresholdKey
	}
	if plan.Previous != from {
		return one, false, nil
	}
	view, err := ceremony.NewView(plan)
	if err != nil {
		return one, false, err
	}
	if err := view.AddAll(state.Messages); err != nil && view.Failure() == nil {
		return one, false, err
	}
	if view.Failure() != nil {
		return one, false, nil
	}
	one.Plan, one.Status = state.Plan, (&Participation{view: view}).status()
	if state.Done {
		one.Status.State = "complete"
	}
	return one, true, nil
}

// Lacks says what the folder lacks for the seat that its key has under the rules in force:
// [ErrNotInForce] the seat, [ErrNoShare] a share of their key, [ErrNoExhibitKey] a key for what
// was published. Nothing: it can do all that is asked of it.
func (c *Custodian) Lacks(inForce *policy.Bundle) (all []error, err error) {
	if id, _ := c.seat(inForce); id == "" {
		return []error{ErrNotInForce}, nil
	}
	pk, err := threshold.ParsePublicKey(inForce.ThresholdKey)
	if err != nil {
		return nil, err
	}
	shares, err := c.folder.shares()
	if err != nil {
		return nil, err
	}
	if _, err := oneOf(shares, pk); err != nil {
		all = append(all, ErrNoShare)
	}
	switch _, err := c.exhibitIdentity(); {
	case errors.Is(err, ErrNoExhibitKey):
		all = append(all, ErrNoExhibitKey)
	case err != nil:
		return nil, err
	}
	return all, nil
}

// StandsInFor is the custodian for whom the folder's key steps in under the rules; nil: it is no
// alternate's.
func (c *Custodian) StandsInFor(b *policy.Bundle) *policy.Custodian {
	id, alternate := c.seat(b)
	if alternate == "" {
		return nil
	}
	return b.Custodian(id)
}

// newcomers are those in force who were not custodians when the case was filed, to whom what was
// published is encrypted again: their ids, and what is encrypted to.
func (c *Custodian) newcomers(r *Review) (ids, recipients []string, err error) {
	if custodian, alternate := c.seat(r.inForce()); custodian == "" || alternate != "" {
		return nil, nil, ErrNotInForce
	}
	ids = []string{}
	add := func(id, recipient string) {
		if r.exhibits && id != c.ID && recipient != "" && !slices.Contains(r.since[0].Recipients(), recipient) {
			ids, recipients = append(ids, id), append(recipients, recipient)
		}
	}
	for _, seat := range r.inForce().Custodians {
		add(seat.ID, seat.Recipient)
		for _, a := range seat.Alternates {
			add(a.ID, a.Recipient)
		}
	}
	return ids, recipients, nil
}
