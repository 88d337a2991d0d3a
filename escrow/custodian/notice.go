package custodian

import (
	"fmt"
	"time"

	"github.com/penname/penname/policy"
)

// offence is what the warrant is about, with the penalty that the law threatens beside the
// one that the court states, for a person.
func (r *Review) offence() string {
	w := r.Warrant
	if o := r.since[0].Offence(w.OffenceID); o != nil {
		return fmt.Sprintf("offence: %s: %s (%s), at most %d months by the statute; the court states %d", o.ID, o.Title, o.Statute, o.MaxPenaltyMonths, w.MaxPenaltyMonths)
	}
	return fmt.Sprintf("offence class: %s%s, at most %d months", w.OffenceClass, after(": ", r.Offence), w.MaxPenaltyMonths)
}

// notice notes what a custodian weighs beside the words: who else signed, what is unusual,
// and by when something happens.
func (r *Review) notice(d policy.Decision) {
	w, b := d.Warrant, r.since[0]
	say := func(format string, args ...any) { r.Notices = append(r.Notices, fmt.Sprintf(format, args...)) }
	for _, raw := range r.file.Submission.Countersigned { // which Decide has verified
		if by, err := policy.ParseUnverified(raw); err == nil {
			say("%s has signed it as well, on %s", by.Authority, by.IssuedAt.Format(time.DateOnly))
		}
	}
	if f := w.Recognises; f != nil {
		say("it gives effect to an order of another state: of %s (%s), file %s, sha256 %s", f.Authority, f.Country, f.FileNumber, f.SHA256)
	}
	if w.DatedBack != "" {
		say("it is dated back: issued on %s, recorded on %s", w.IssuedAt.Format(time.DateOnly), r.recorded.Format(time.DateOnly))
	}
	if b.WithoutSecrecy(*w) && w.Secrecy.Ends.After(w.IssuedAt) {
		say("its secrecy is shorter than the %d days that count, so there is none: the person is told first", b.MinSecrecyDays)
	}
	if w.Kind == policy.Emergency && !d.Validated {
		until := r.recorded.Add(time.Duration(b.ValidationHours) * time.Hour)
		say("an emergency that nobody has validated yet: it must be by %s, or it lapses in public and what was delivered must not be used", until.Format(time.RFC3339))
	}
	if d.OverDaily {
		say("the authority is over its number of warrants of a day: every custodian must approve")
	}
	if n := max(d.Quorum, r.quorum); n > d.Quorum {
		say("%d custodians must approve each target: the registrar says that what was filed before asks for more than the %d that this warrant needs alone", n, d.Quorum)
	} else if policy.KindOf(w.Kind).Decided {
		say("%d custodians must approve each target", n)
	}
	for _, t := range r.file.Deadlines {
		met := ""
		if t.Met {
			met = ", met"
		}
		say("by %s, as the registrar says: %s%s", t.At.UTC().Format(time.RFC3339), t.What, met)
	}
}

// counts says what was filed before, and holds it against what the folder has seen itself.
func (r *Review) counts() {
	f := r.file.Filed
	if f == nil {
		return
	}
	said := fmt.Sprintf("filed before, as the registrar says and nobody else can: %d warrants of this authority on that day, and in 30 days %d targets of this authority and %d for this requester; this folder has itself reviewed %d and %d of them",
		f.Today, f.Authority30, f.Requester30, r.ownAuthority, r.ownRequester)
	if f.Authority30 < r.ownAuthority || f.Requester30 < r.ownRequester {
		said += ", which is more: ask the registrar why before you approve"
	}
	r.Notices = append(r.Notices, said)
}
