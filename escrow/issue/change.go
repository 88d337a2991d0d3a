package issue

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/penname/penname/verifier/token"
)

// What changed in a person's account is kept by day, for them alone. What concerns one pen
// name is kept with that pen name, and what concerns the person alone in rows that nobody can
// tell to be one person's: so a copy of the database shows of no two pen names that something
// happened to them together.

// ChangeKind says what changed.
type ChangeKind string

// What concerns the person alone: see [Issuer.Changed].
const (
	ChangeEnrolled         ChangeKind = "enrolled"
	ChangeSealed           ChangeKind = "sealed_anew" // they had asked to be deleted, and came back
	ChangeAddressGiven     ChangeKind = "address_given"
	ChangeAddressConfirmed ChangeKind = "address_confirmed"
	ChangeAddressRemoved   ChangeKind = "address_removed"
	ChangePasskeyAdded     ChangeKind = "passkey_added"   // the detail is what the person calls it
	ChangePasskeyRenamed   ChangeKind = "passkey_renamed" // likewise, from now on
	ChangePasskeyRemoved   ChangeKind = "passkey_removed" // likewise
	ChangeRecoveryAsked    ChangeKind = "recovery_asked"
	ChangeRecoveryCancel   ChangeKind = "recovery_cancelled"
	ChangeRecovered        ChangeKind = "recovered"
	ChangeDeviceOut        ChangeKind = "device_signed_out"
	ChangeAllOut           ChangeKind = "signed_out_everywhere"
	ChangeClaims           ChangeKind = "claims_taken_anew"
	ChangeRefusedAccount   ChangeKind = "account_refused" // they said that somebody else is not them
	ChangeMore             ChangeKind = "more"            // on that day than are kept
)

// What concerns one pen name.
const (
	ChangeMade      ChangeKind = "made"
	ChangeRenamed   ChangeKind = "renamed"
	ChangeLeft      ChangeKind = "left"
	ChangeWithdrawn ChangeKind = "withdrawn"
	ChangeRetired   ChangeKind = "retired"
	ChangeObjected  ChangeKind = "objected" // by the person or, if the detail says so, by a lawyer
)

// PersonChanges are all kinds of changes that concern the person alone, for the pages that
// have a text for each.
var PersonChanges = []ChangeKind{ChangeEnrolled, ChangeSealed, ChangeAddressGiven, ChangeAddressConfirmed, ChangeAddressRemoved,
	ChangePasskeyAdded, ChangePasskeyRenamed, ChangePasskeyRemoved, ChangeRecoveryAsked, ChangeRecoveryCancel, ChangeRecovered,
	ChangeDeviceOut, ChangeAllOut, ChangeClaims, ChangeRefusedAccount, ChangeMore}

// Lets reports whether it is about who is let in: no number of other changes hides it.
func (k ChangeKind) Lets() bool {
	switch k {
	case ChangePasskeyAdded, ChangePasskeyRemoved, ChangeRecoveryAsked, ChangeRecoveryCancel, ChangeRecovered:
		return true
	}
	return false
}

// NameChanges are all those that concern one pen name.
var NameChanges = []ChangeKind{ChangeMade, ChangeRenamed, ChangeLeft, ChangeWithdrawn, ChangeRetired, ChangeObjected}

// Bounds of what is kept.
const (
	ChangeDays  = 400 // that a change of the person is kept
	ChangesADay = 32  // of the person: the last one says that there were more; see ChangeKind.Lets
)

// Change is one thing that changed.
type Change struct {
	Day     time.Time       `json:"day"` // UTC midnight: no time that is finer is kept
	Kind    ChangeKind      `json:"kind"`
	Detail  string          `json:"detail,omitempty"` // at most MaxWord bytes of UTF-8
	Sector  string          `json:"platform,omitempty"`
	PenName token.Pseudonym `json:"pen_name,omitempty"`
}

// Lawyer is the detail of an objection that a lawyer made with the code of a notice.
const Lawyer = "lawyer"

// Changed notes that something changed today that concerns p alone. Call it when it has
// happened. It notes nothing of somebody who asked to be deleted.
func (s *Issuer) Changed(ctx context.Context, p Person, kind ChangeKind, detail string) error {
	return s.Store.Change(ctx, p, Change{Day: day(s.Now()), Kind: kind, Detail: detail})
}

// ChangedName notes that something changed today that concerns one pen name alone: it was
// renamed, left, or consent was withdrawn. Twice on a day is once.
func (s *Issuer) ChangedName(ctx context.Context, name token.Pseudonym, kind ChangeKind) error {
	return s.Store.ChangeName(ctx, name, kind, day(s.Now()))
}

// Changes returns what changed in p's account, the newest first: of the person for
// ChangeDays, of each of these pen names, with their notes, the last that are kept, and the
// objections in these notices.
func (s *Issuer) Changes(ctx context.Context, p Person, names []PenName, notices []Notice) ([]Change, error) {
	all, err := s.Store.Changes(ctx, p, day(s.Now()))
	if err != nil {
		return nil, err
	}
	slices.Reverse(all)
	past, err := s.Store.ChangesOfNames(ctx, Pseudonyms(names)...)
	if err != nil {
		return nil, err
	}
	add := func(of PenName, day time.Time, kind ChangeKind, detail string) {
		all = append(all, Change{Day: day, Kind: kind, Detail: detail, Sector: of.Platform, PenName: of.Pseudonym})
	}
	for i, n := range names {
		if !n.Retired.IsZero() {
			add(n, n.Retired, ChangeRetired, "")
		}
		for _, c := range slices.Backward(past[i]) {
			add(n, c.Day, c.Kind, "")
		}
		add(n, n.Since, ChangeMade, "")
	}
	for _, n := range notices {
		of := PenName{Pseudonym: n.Pseudonym, Platform: n.Platform}
		if i := slices.IndexFunc(names, func(have PenName) bool { return have.Pseudonym == n.Pseudonym }); i >= 0 {
			of = names[i]
		}
		for _, o := range n.Objections {
			detail := ""
			if o.Lawyer {
				detail = Lawyer
			}
			add(of, day(o.Day), ChangeObjected, detail)
		}
	}
	slices.SortStableFunc(all, func(a, b Change) int {
		return cmp.Or(b.Day.Compare(a.Day), cmp.Compare(len(a.PenName), len(b.PenName))) // of a day, what concerns the person first
	})
	return all, nil
}

// ChangeOf is what a store notes of a change of p's address; "": nothing.
func (c Contact) ChangeOf(was Contact) ChangeKind {
	switch {
	case c.Pending != "" && (c.Pending != was.Pending || c.Code != was.Code):
		return ChangeAddressGiven
	case c.Confirmed != "" && c.Pending == "" && (was.Pending != "" || c.Confirmed != was.Confirmed):
		return ChangeAddressConfirmed
	case c.Confirmed == "" && c.Pending == "" && (was.Confirmed != "" || was.Pending != ""):
		return ChangeAddressRemoved
	}
	return ""
}
