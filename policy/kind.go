package policy

import (
	"strings"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
)

// The kinds of warrant.
const (
	Production   = proof.Production
	Preservation = proof.Preservation
	Extension    = proof.Extension
	Withdrawal   = proof.Withdrawal
)

// Clock says what time does to a recorded warrant.
type Clock int

const (
	// ClockNone is of a kind that takes effect when it is recorded. It has no
	// deadline and no secrecy.
	ClockNone Clock = iota
	// ClockHold keeps every record that the warrant names from erasure until it
	// expires.
	ClockHold
	// ClockOpen lets names be opened until the warrant expires. The persons are told
	// of what was opened when secrecy ends.
	ClockOpen
)

// Kind is everything that depends on the kind of a warrant. To add one, write a
// row here and in verifier/proof, and its action into rules/vocabulary.cedarschema
// and the rule that permits it.
type Kind struct {
	// WarrantKind is what the leaf and the statistics know of it. A kind that
	// opens needs a delivery key and the fields to open; no other kind has them.
	// A kind that is about an earlier warrant must name it.
	proof.WarrantKind

	Follows bool  // may name an earlier warrant that it is not about: which it follows up
	Clock   Clock // what starts when it is recorded
	Served  bool  // this release's registrar records it

	// reasons reports whether w states what this kind must give as reasons.
	reasons func(w *Warrant, b *Bundle) bool
}

var kinds = []Kind{
	{WarrantKind: proof.WarrantKindOf(Production), Follows: true, Clock: ClockOpen, Served: true, reasons: orderReasons},
	{WarrantKind: proof.WarrantKindOf(Preservation), Clock: ClockHold, Served: true, reasons: orderReasons},
	{WarrantKind: proof.WarrantKindOf(Extension), Clock: ClockHold, reasons: orderReasons},
	{WarrantKind: proof.WarrantKindOf(Withdrawal), Clock: ClockNone, Served: true, reasons: withdrawalReasons},
}

// KindOf returns the kind of that name. If there is none it is the zero Kind,
// whose name is empty: it opens nothing and is not served.
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
func orderReasons(w *Warrant, _ *Bundle) bool {
	return !document.Blank(w.FileNumber, w.LegalBasis, w.Offence, w.Grounds, w.Necessity, w.Proportionality)
}

// withdrawalReasons: no rule asks a withdrawal for its offence class, but its
// leaf shows it.
func withdrawalReasons(w *Warrant, b *Bundle) bool {
	return !document.Blank(w.FileNumber, w.Grounds) && b.OffenceClass(w.OffenceClass) != nil
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
