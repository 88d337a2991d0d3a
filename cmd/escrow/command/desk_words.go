package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/policy"
)

// saysOf is what a warrant says, in words.
func saysOf(b *policy.Bundle, w *policy.Warrant) (all []desk.Said) {
	add := func(name, text string) {
		if text != "" {
			all = append(all, desk.Said{Name: name, Text: text})
		}
	}
	add("Kind", w.Kind)
	authority := w.Authority
	if a := b.Authority(w.Authority); a != nil {
		authority = a.Name + " (" + a.ID + ")"
	}
	add("Authority", authority)
	add("Signed as well by", strings.Join(w.Jointly, ", "))
	add("File number", w.FileNumber)
	add("Offence", w.Offence)
	add("Legal basis", w.LegalBasis)
	add("Facts and grounds", w.Grounds)
	add("Necessity", w.Necessity)
	add("Proportionality", w.Proportionality)
	for n, t := range w.Targets {
		if n == 20 {
			add("Pen names", fmt.Sprintf("and %d more", len(w.Targets)-n))
			break
		}
		text := fmt.Sprintf("%s on %s", t.Pseudonym, t.Platform)
		if t.Evidence != "" {
			text += fmt.Sprintf(", posts in evidence: %d", 1+len(t.Further))
		}
		if t.Role != "" {
			text += ", a " + t.Role
		}
		add(fmt.Sprintf("Pen name %d", n+1), text)
	}
	add("To be opened", strings.Join(w.Fields, ", "))
	if policy.KindOf(w.Kind).Opens {
		add("Answer within", strings.ReplaceAll(w.Deadline, "_", " "))
	}
	if !b.WithoutSecrecy(*w) {
		add("Secret until", w.Secrecy.Ends.UTC().Format(time.DateOnly)+after(w.Secrecy.Reason))
	}
	if w.Requester.Organisation != "" {
		add("The answer goes to", w.Requester.Name+", "+w.Requester.Organisation)
	}
	add("Flags", strings.Join(w.Flags, ", "))
	if r := w.Recognises; r != nil {
		add("Gives effect to", fmt.Sprintf("%s (%s), %s", r.Authority, r.Country, r.FileNumber))
	}
	add("Filed late, because", w.DatedBack)
	return all
}

func after(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// nextOf says what is to be done with a signed order now, and what comes of it.
func (s *officerSeat) nextOf(o order, w *policy.Warrant, filed string) (lines []string) {
	kind := policy.KindOf(w.Kind)
	if filed == "" {
		return nil
	}
	if w.Kind == policy.Emergency {
		lines = append(lines, "Have it validated before the time that stands above, or it lapses. The court that validates it runs: escrow warrant validate "+o.signed())
	}
	switch class := s.bundle.OffenceClass(w.OffenceClass); {
	case !kind.Decided:
		lines = append(lines, "It is in effect. Nobody has to decide about it.")
	case class != nil && class.NoticeFirst || s.bundle.WithoutSecrecy(*w):
		lines = append(lines, "The person is told first and can object. When that time is over, custodians read the order on their own machines and decide.")
	default:
		lines = append(lines, "Custodians read the order on their own machines and decide. There is nothing for you to do until then, unless one of them asks you a question.")
	}
	switch {
	case kind.Answered && kind.Decided:
		lines = append(lines, "Once enough of them approved, whoever has the delivery key that the order names can open the answer, and nobody else.")
	case w.Kind == policy.Preservation:
		lines = append(lines, "Make the order that follows before the hold ends, from the same evidence: to its last question say that it follows an earlier warrant, and name "+o.signed()+".")
	}
	return lines
}

// deskLeft is how much time is left, as left says it.
func deskLeft(d time.Duration) desk.Text {
	switch {
	case d <= 0:
		return desk.Say(", which is past")
	case d < 72*time.Hour:
		return desk.Say(", %d hours left", int(d.Hours()))
	}
	return desk.Say(", %d days left", int(d.Hours()/24))
}

// deskStandIns says who may answer for a custodian, as standIns does.
func deskStandIns(c seat) desk.Text {
	var all []string
	for _, a := range c.Alternates(c.inForce) {
		all = append(all, a.ID)
	}
	if len(all) == 0 {
		return desk.Say("The rules in force name no alternate of yours: nobody answers for you, and as many of the others must approve as before.")
	}
	return desk.Say("By the rules in force these may answer for you, and count as you, once your share is handed over: %s.", strings.Join(all, ", "))
}

// deskDue says when something has to happen, and what, as due says it in the list.
func (w waiting) deskDue(now time.Time) desk.Text {
	at := w.Due.UTC().Format("2006-01-02 15:04") + " UTC"
	if w.What == "" {
		return desk.Say("due %s%s", at, deskLeft(w.Due.Sub(now)))
	}
	return desk.Say("due %s%s: %s", at, deskLeft(w.Due.Sub(now)), desk.Text{English: w.What})
}

// deskDid says what this folder did about it, as did says it in the list.
func (w waiting) deskDid() desk.Text {
	switch {
	case !w.Answered.IsZero():
		return desk.Say("you answered on %s", w.Answered.Format(time.DateOnly))
	case !w.Reviewed.IsZero():
		return desk.Say("you reviewed it on %s", w.Reviewed.Format(time.DateOnly))
	}
	return desk.Text{}
}

// deskSays is why it does not wait for who asks, as says says it in the list.
func (w waiting) deskSays() desk.Text {
	s := desk.Text{English: waitsWords[w.Waits]}
	switch {
	case !w.ApproveFrom.IsZero():
		return desk.Say("%s: approve from %s", s, w.ApproveFrom.UTC().Format(time.DateOnly))
	case w.Waits == "early":
		return desk.Say("%s, and were not told yet: approve when they had their days", s)
	}
	return s
}
