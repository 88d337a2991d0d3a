package policy

import (
	"strings"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
)

// The kinds of warrant.
const (
	Production    = proof.Production
	Emergency     = proof.Emergency
	Preservation  = proof.Preservation
	Extension     = proof.Extension
	SecrecyChange = proof.SecrecyChange
	Withdrawal    = proof.Withdrawal
	Annulment     = proof.Annulment
	Validation    = proof.Validation
	Suspension    = proof.Suspension
	Ruling        = proof.Ruling
	Link          = proof.Link
	Redelivery    = proof.Redelivery
)

// Clock says what time does to a recorded warrant.
type Clock int

const (
	// ClockNone is of a kind that takes effect when it is recorded. It has no
	// deadline and no secrecy of its own.
	ClockNone Clock = iota
	// ClockHold keeps every record that the warrant names from erasure until it
	// expires.
	ClockHold
	// ClockOpen lets what the warrant orders be done until it expires, once custodians
	// have approved. The persons are told of it when secrecy ends.
	ClockOpen
)

// Kind is everything that depends on the kind of a warrant. To add one, write a
// row here and in verifier/proof, and its action into rules/vocabulary.cedarschema
// and the rule that permits it.
type Kind struct {
	// WarrantKind is what the leaf and the statistics know of it. A kind that
	// opens needs the fields to open; no other kind has them. A kind that is about an
	// earlier warrant must name it; one that may be about a part of it can name some of
	// its targets, and none of its own.
	proof.WarrantKind

	Since    int      // version of the bundle from which on there is such a kind
	Earliers []string // kinds of the earlier warrant that it is about, or may follow up
	Follows  bool     // may name an earlier warrant that it is not about: which it follows up; must, if it repeats that (As)
	Clock    Clock    // what starts when it is recorded
	Answered bool     // an answer goes to the requester: it needs a delivery key; no other kind has one
	Evidence bool     // needs the platform's evidence of each target; no other kind has any
	One      bool     // names one target and no more
	More     bool     // needs one custodian more than the threshold

	// reasons are the members, as JSON pointers, in which w does not state what this kind must
	// give as reasons.
	reasons func(w *Warrant, b *Bundle) []string
}

var standing = []string{Production, Emergency, Preservation, Suspension, Link, Redelivery}

var kinds = []Kind{
	{WarrantKind: proof.WarrantKindOf(Production), Since: 1, Follows: true, Earliers: []string{Production, Emergency, Preservation, Extension}, Clock: ClockOpen,
		Answered: true, Evidence: true, reasons: orderReasons},
	{WarrantKind: proof.WarrantKindOf(Emergency), Since: 5, Follows: true, Earliers: []string{Production, Emergency, Preservation, Extension}, Clock: ClockOpen,
		Answered: true, Evidence: true, reasons: orderReasons},
	{WarrantKind: proof.WarrantKindOf(Preservation), Since: 1, Clock: ClockHold, Evidence: true, reasons: orderReasons},
	{WarrantKind: proof.WarrantKindOf(Extension), Since: 1, Earliers: []string{Preservation}, Clock: ClockHold, reasons: orderReasons},
	{WarrantKind: proof.WarrantKindOf(SecrecyChange), Since: 5, Earliers: standing, reasons: noteReasons},
	{WarrantKind: proof.WarrantKindOf(Withdrawal), Since: 1, Earliers: standing, reasons: noteReasons},
	{WarrantKind: proof.WarrantKindOf(Annulment), Since: 5, Earliers: standing, reasons: noteReasons},
	{WarrantKind: proof.WarrantKindOf(Validation), Since: 5, Earliers: []string{Emergency}, reasons: noteReasons},
	{WarrantKind: proof.WarrantKindOf(Ruling), Since: 5, Earliers: []string{Production, Emergency, Suspension, Link}, reasons: rulingReasons},
	{WarrantKind: proof.WarrantKindOf(Suspension), Since: 5, Clock: ClockOpen, Evidence: true, reasons: orderReasons},
	{WarrantKind: proof.WarrantKindOf(Link), Since: 5, Clock: ClockOpen, Answered: true, Evidence: true, One: true, More: true, reasons: orderReasons},
	{WarrantKind: proof.WarrantKindOf(Redelivery), Since: 5, Follows: true, Earliers: []string{Production}, Clock: ClockOpen, Answered: true, Evidence: true, reasons: orderReasons},
}

// KindOf returns the kind of that name. If there is none it is the zero Kind,
// whose name is empty: it opens nothing.
func KindOf(name string) Kind {
	for _, k := range kinds {
		if k.Name == name {
			return k
		}
	}
	return Kind{}
}

// orderReasons: Regulation (EU) 2023/1543, Art. 5(2) and (5): the order is
// necessary and proportionate and says on what grounds.
func orderReasons(w *Warrant, _ *Bundle) []string {
	return blank([][2]string{{"/file_number", w.FileNumber}, {"/legal_basis", w.LegalBasis}, {"/offence", w.Offence},
		{"/grounds", w.Grounds}, {"/necessity", w.Necessity}, {"/proportionality", w.Proportionality}})
}

// blank are the members in whose text nothing can be read.
func blank(members [][2]string) (at []string) {
	for _, m := range members {
		if document.Blank(m[1]) {
			at = append(at, m[0])
		}
	}
	return at
}

// noteReasons are of a warrant about an earlier one: no rule asks it for its offence
// class, but its leaf shows it.
func noteReasons(w *Warrant, b *Bundle) []string {
	at := blank([][2]string{{"/file_number", w.FileNumber}, {"/grounds", w.Grounds}})
	if b.OffenceClass(w.OffenceClass) == nil {
		at = append(at, "/offence_class")
	}
	return at
}

func rulingReasons(w *Warrant, b *Bundle) []string {
	at := noteReasons(w, b)
	if w.Ruling == nil {
		at = append(at, "/ruling")
	}
	return at
}

// KindNames returns the names of the kinds of which is holds, in the order of the
// table.
func KindNames(is func(Kind) bool) []string {
	var names []string
	for _, k := range kinds {
		if is(k) {
			names = append(names, k.Name)
		}
	}
	return names
}

// kindNames is for people: "production, preservation, extension or withdrawal".
func kindNames() string {
	names := KindNames(func(Kind) bool { return true })
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
