package proof

import "time"

// The kinds of warrant. Regulation (EU) 2023/1543, Art. 3(1), (2): production
// and preservation; Art. 4(4), (5): validation, and emergencies before it; Art. 11:
// extension of a preservation.
const (
	Production    = "production"   // opens: custodians may release shares
	Emergency     = "emergency"    // opens before a judge has validated it
	Preservation  = "preservation" // keeps a record from erasure
	Extension     = "extension"    // keeps it longer
	SecrecyChange = "secrecy"      // sets a new end of the secrecy of an earlier warrant
	Withdrawal    = "withdrawal"   // stops an earlier warrant of the same authority
	Annulment     = "annulment"    // stops one of an authority below, or bars the use of what it opened
	Validation    = "validation"   // validates an earlier warrant, or joins in it
	Suspension    = "suspension"   // suspends pen names on a platform; opens nothing
	Ruling        = "ruling"       // answers what was asked or objected about an earlier warrant
	Link          = "link"         // names all pen names of one person to the requester; opens nothing else
	Redelivery    = "redelivery"   // opens again what a production ordered, for another key of its requester
)

// WarrantKind is what the log and its auditors must know of a kind of warrant.
// Package policy says the rest of it.
type WarrantKind struct {
	Name    string // empty: there is no such kind
	Decided bool   // custodians decide it; only a case of such a kind is authorised
	Opens   bool   // names may be opened; only a case of such a kind is released
	Targets bool   // names at least one pseudonym; a kind without names none
	Earlier bool   // is about an earlier warrant, whose case its leaf may name; no other leaf does
	Stops   bool   // ends that case, or can
	Part    bool   // may be about some targets of that case; names none of its own
	Holds   bool   // keeps records until a day that its leaf says
	As      string // it repeats an order of that kind: the rules judge it so, and its targets are counted there alone
	Timed   bool   // counts by a clock of hours: its leaves are dated to the second
}

// When is how a leaf of a warrant of this kind is dated, as [Leaf.On] takes it.
func (k WarrantKind) When(t time.Time) string {
	if k.Timed {
		return Second(t)
	}
	return Day(t)
}

var warrantKinds = []WarrantKind{
	{Name: Production, Decided: true, Opens: true, Targets: true},
	{Name: Emergency, Decided: true, Opens: true, Targets: true, Timed: true},
	{Name: Preservation, Targets: true, Holds: true},
	{Name: Extension, Targets: true, Earlier: true, Holds: true},
	{Name: SecrecyChange, Earlier: true},
	{Name: Withdrawal, Earlier: true, Stops: true, Part: true},
	{Name: Annulment, Earlier: true, Stops: true, Part: true},
	{Name: Validation, Earlier: true, Timed: true},
	{Name: Ruling, Earlier: true, Stops: true, Part: true},
	{Name: Suspension, Decided: true, Targets: true},
	{Name: Link, Decided: true, Targets: true},
	{Name: Redelivery, Decided: true, Opens: true, Targets: true, As: Production},
}

// WarrantKindOf returns the kind of that name, or the zero WarrantKind, which
// opens nothing, if there is none.
func WarrantKindOf(name string) WarrantKind {
	for _, k := range warrantKinds {
		if k.Name == name {
			return k
		}
	}
	return WarrantKind{}
}

// Annuls reports whether a recorded leaf says that the targets of an earlier case, or those of
// them that it marks, fall: an annulment does, and a ruling by which an objection is upheld,
// which alone marks any.
func (l Leaf) Annuls() bool {
	return l.Case != nil && (l.WarrantKind == Annulment || l.WarrantKind == Ruling && len(l.Which) > 0)
}
