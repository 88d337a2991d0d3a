package custodian

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

// minute is how a person is told a time, by UTC.
const minute = "2006-01-02 15:04 UTC"

// offence is what the warrant is about, with the penalty that the law threatens beside the
// one that the court states, for a person.
func (r *Review) offence() string {
	w := r.Warrant
	if o := r.since[0].Offence(w.OffenceID); o != nil {
		return fmt.Sprintf("offence: %s: %s (%s), at most %d months by the statute; the court states %d", o.ID, o.Title, o.Statute, o.MaxPenaltyMonths, w.MaxPenaltyMonths)
	}
	return fmt.Sprintf("offence class: %s%s, at most %d months", w.OffenceClass, after(": ", r.Offence), w.MaxPenaltyMonths)
}

// asked is what a warrant asks for, in words.
func asked(w *policy.Warrant) string {
	switch w.Kind {
	case policy.Suspension:
		return "suspension of each pen name until " + w.Expiry.UTC().Format(time.DateOnly) + ", and no name"
	case policy.Link:
		return "all pen names of one person, and no name"
	}
	return strings.Join(w.Fields, ", ")
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
	if e := r.repeated(w); e != nil {
		say("it repeats the order of %s, entry %d of the public log, word for word, to be delivered to another key of the same requester: to %s in place of %s; the targets are counted once, with that order",
			e.IssuedAt.Format(time.DateOnly), r.file.Earlier.Leaf.Index, keyName(w.Requester.DeliveryKey), keyName(e.Requester.DeliveryKey))
	}
	if w.DatedBack != "" {
		say("it is dated back: issued on %s, recorded on %s", w.IssuedAt.Format(time.DateOnly), r.recorded.Format(time.DateOnly))
	}
	if b.WithoutSecrecy(*w) && w.Secrecy.Ends.After(w.IssuedAt) {
		say("its secrecy is shorter than the %d days that count, so there is none: the person is told first", b.MinSecrecyDays)
	}
	if name := b.RequesterName(w.Requester); name != w.Requester.Organisation {
		say("the order calls the requester's organisation %q, and the rules know it as %s", document.Visible(w.Requester.Organisation), name)
	}
	until := r.recorded.Add(time.Duration(b.ValidationHours) * time.Hour)
	switch later := slices.ContainsFunc(r.file.Deadlines, func(t opening.Deadline) bool { return t.Met && t.What == opening.DeadlineValidated }); {
	case w.Kind != policy.Emergency || d.Validated:
	case later:
		say("an emergency that has been validated since, as the registrar says")
	default:
		say("an emergency that nobody has validated yet: it must be by %s, or it lapses in public and what was delivered must not be used", until.UTC().Format(minute))
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
		if !t.Met {
			say("by %s, as the registrar says: %s", t.At.UTC().Format(minute), t.What)
		}
	}
}

// repeated is the order that a redelivery repeats, which Decide has held against it; nil: w is
// none.
func (r *Review) repeated(w *policy.Warrant) *policy.Warrant {
	if policy.KindOf(w.Kind).As == "" || r.file.Earlier == nil {
		return nil
	}
	e, err := policy.ParseUnverified(r.file.Earlier.Warrant)
	if err != nil {
		return nil
	}
	return e
}

// keyName is how people tell delivery keys apart: by the SHA-256 of their text.
func keyName(key string) string { return "sha256 " + digest([]byte(key))[:16] }

// counts says what was filed before, and holds it against what the folder has seen itself.
func (r *Review) counts() {
	f := r.file.Filed
	if f == nil {
		return
	}
	limit := 0
	if a := r.since[0].Authority(r.Warrant.Authority); a != nil {
		limit = a.DailyWarrants
	}
	r.Notices = append(r.Notices,
		fmt.Sprintf("filed before by this authority: orders on that day: %d, of %d a day before every custodian has to approve; targets in 30 days: %d", f.Today, limit, f.Authority30),
		fmt.Sprintf("filed before for this requester: targets in 30 days: %d (the registrar says this and the line before, and nobody else can)", f.Requester30))
	said := fmt.Sprintf("of these targets this folder has itself reviewed %d by this authority and %d for this requester", r.ownAuthority, r.ownRequester)
	if f.Authority30 < r.ownAuthority || f.Requester30 < r.ownRequester {
		said += ", which is more: ask the registrar why before you approve"
	}
	r.Notices = append(r.Notices, said)
}
