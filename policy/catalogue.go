package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penname/penname/verifier/document"
)

// Offence is one entry of the catalogue: an offence, or a civil wrong, as the law of the
// bundle's courts knows it. A warrant names one; what the law threatens is taken from here
// and never from the warrant.
type Offence struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Statute string `json:"statute"` // "Online Safety Act 2023, s. 181"

	MaxPenaltyMonths int      `json:"max_penalty_months"`     // of the statute; 0: no custody, or a civil wrong
	Class            string   `json:"class"`                  // id of its OffenceClass
	Authorities      []string `json:"authorities"`            // kinds of authority that may ask
	Fields           []string `json:"fields"`                 // what may be asked for, of those of its class
	Compartments     []string `json:"compartments,omitempty"` // what may be opened; none: all that Fields lie in
	NoCopy           bool     `json:"no_copy,omitempty"`      // as of its class

	// Quorums raise the quorum for many pen names: of the warrant as it was filed, or of all
	// that its authority, or its requester, has filed in 30 days.
	Quorums []TargetQuorum `json:"quorums,omitempty"`
}

// TargetQuorum is from how many targets on at least how many custodians must approve; all
// of them where there are fewer.
type TargetQuorum struct {
	Targets int `json:"targets"`
	Quorum  int `json:"quorum"`
}

// Offence returns the entry of the catalogue with this id, or nil.
func (b *Bundle) Offence(id string) *Offence {
	return find(b.Offences, func(o *Offence) bool { return o.ID == id })
}

// checkCatalogue checks each entry against its class, the fields and their compartments.
func (b *Bundle) checkCatalogue() error {
	seen := make(map[string]bool)
	for i := range b.Offences {
		o := &b.Offences[i]
		err := b.checkOffence(o)
		if err == nil && seen[o.ID] {
			err = errors.New("it is listed twice")
		}
		if err != nil {
			return about("offence", o.ID, ErrBundleCatalogue.Because(err))
		}
		seen[o.ID] = true
	}
	return nil
}

// Differs says, in sentences, what an order states of its offence otherwise than the catalogue
// does. That refuses nothing: custodians are shown both.
func (b *Bundle) Differs(w *Warrant) (notes []string) {
	o := b.Offence(w.OffenceID)
	if o == nil {
		return nil
	}
	if w.MaxPenaltyMonths != o.MaxPenaltyMonths {
		notes = append(notes, fmt.Sprintf("max_penalty_months: the order states %d, the catalogue of the rules %d for %s", w.MaxPenaltyMonths, o.MaxPenaltyMonths, o.ID))
	}
	if !strings.Contains(strings.ToLower(w.Offence), strings.ToLower(o.Title)) {
		notes = append(notes, fmt.Sprintf("offence: the order does not have the words of the catalogue of the rules, where %s is %q", o.ID, o.Title))
	}
	return notes
}

func (b *Bundle) checkOffence(o *Offence) error {
	class := b.OffenceClass(o.Class)
	switch {
	case !word(o.ID), document.Blank(o.Title, o.Statute), !document.Displayable(o.Title+o.Statute, 400), strings.Contains(o.Title+o.Statute, "\n"):
		return errors.New("id, title and statute are words that a leaf and a person can show")
	case class == nil:
		return fmt.Errorf("class: there is no class %q", o.Class)
	case o.MaxPenaltyMonths < 0, o.MaxPenaltyMonths > 1200:
		return errors.New("max_penalty_months is between 0 and 1200")
	case len(o.Authorities) == 0, !distinctWords(o.Authorities):
		return errors.New("authorities: name the kinds of authority that may ask, each once")
	case !distinctWords(o.Fields), !subset(o.Fields, among(class.Fields)):
		return errors.New("fields are of those of the class, each once")
	case class.NoCopy && !o.NoCopy:
		return errors.New("no_copy: nobody may copy what its class is about")
	}
	for i, id := range o.Compartments {
		if find(b.Compartments, func(c *Compartment) bool { return c.ID == id }) == nil || slices.Contains(o.Compartments[:i], id) {
			return fmt.Errorf("compartments: there is no compartment %q, or it is named twice", id)
		}
	}
	if !b.opens(o, o.Fields) {
		return errors.New("fields: one of them lies in no compartment of the offence")
	}
	before := TargetQuorum{}
	for _, q := range o.Quorums {
		if q.Targets <= before.Targets || q.Quorum <= before.Quorum || q.Quorum > 255 {
			return errors.New("quorums rise in both numbers, to at most 255 custodians")
		}
		before = q
	}
	return nil
}

// opens reports whether all of the fields lie in compartments that an offence names.
func (b *Bundle) opens(o *Offence, fields []string) bool {
	for _, c := range b.Compartments {
		if len(o.Compartments) > 0 && !slices.Contains(o.Compartments, c.ID) && slices.ContainsFunc(fields, func(f string) bool { return slices.Contains(c.Fields, f) }) {
			return false
		}
	}
	return true
}

// quorum is what so many targets want, of n custodians; 0: nothing more.
func (o *Offence) quorum(targets, n int) (least int) {
	for _, q := range o.Quorums {
		if targets >= q.Targets {
			least = min(q.Quorum, n)
		}
	}
	return least
}
