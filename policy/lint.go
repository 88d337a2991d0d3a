package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
)

// Finding is one thing that a bundle may say and that its makers hardly mean: it forgets
// somebody, contradicts itself, or ends soon.
type Finding struct {
	Code string `json:"code"` // "unused_class", stable
	Says string `json:"says"` // what is so, and what it leads to
}

// EndsSoon is how long before its end a key is a finding: new rules take their time.
const EndsSoon = 60 * day

// Lint looks for what [ParseBundle] lets pass and who reads a bundle should know before
// they endorse it, at a time. None of it makes a bundle unsafe to read.
func (b *Bundle) Lint(at time.Time) []Finding {
	l := linter{b: b}
	for _, look := range []func(){l.classes, l.offences, l.parties, l.powers, l.required, func() { l.keys(at) }, l.clocks, l.rules} {
		look()
	}
	return l.found
}

type linter struct {
	b     *Bundle
	found []Finding
}

func (l *linter) find(code, format string, args ...any) {
	l.found = append(l.found, Finding{code, fmt.Sprintf(format, args...)})
}

// classes: each has an offence, an authority that may ask, and a field to ask for.
func (l *linter) classes() {
	for _, c := range l.b.OffenceClasses {
		if c.Speech {
			continue
		}
		if !slices.ContainsFunc(l.b.Authorities, func(a Authority) bool { return slices.Contains(a.OffenceClasses, c.ID) }) {
			l.find("class_without_authority", "nobody may ask about the class %s: no authority is competent for it", c.ID)
		}
		if len(l.b.Offences) > 0 && !slices.ContainsFunc(l.b.Offences, func(o Offence) bool { return o.Class == c.ID }) {
			l.find("class_without_offence", "no offence of the catalogue is of the class %s, so no order can be", c.ID)
		}
		if len(c.Fields) == 0 {
			l.find("class_without_fields", "nothing may be asked for about the class %s", c.ID)
		}
	}
	if !slices.ContainsFunc(l.b.OffenceClasses, func(c OffenceClass) bool { return c.Speech }) {
		l.find("no_speech_class", "no class is lawful speech, so a court cannot name criticism as what it is, and no rule can refuse it by that")
	}
}

// offences: somebody competent for its class is of a kind that may ask, and its maximum
// reaches the least that its class wants.
func (l *linter) offences() {
	for _, o := range l.b.Offences {
		class := l.b.OffenceClass(o.Class)
		if class == nil {
			continue // a parsed bundle has it
		}
		if o.MaxPenaltyMonths < class.MinPenaltyMonths {
			l.find("offence_below_class", "the law threatens %d months for %s and its class %s wants at least %d: every order about it is refused", o.MaxPenaltyMonths, o.ID, class.ID, class.MinPenaltyMonths)
		}
		if !slices.ContainsFunc(l.b.Authorities, func(a Authority) bool {
			return slices.Contains(o.Authorities, a.Kind) && slices.Contains(a.OffenceClasses, o.Class)
		}) {
			l.find("offence_without_authority", "nobody may ask about %s: no authority competent for %s is one of %s", o.ID, o.Class, strings.Join(o.Authorities, ", "))
		}
		if len(o.Fields) == 0 && !class.Speech {
			l.find("offence_without_fields", "nothing may be asked for about %s", o.ID)
		}
		for _, q := range o.Quorums {
			if q.Quorum > len(l.b.Custodians) {
				l.find("quorum_above_custodians", "%s wants %d of %d custodians from %d pen names on: all of them count", o.ID, q.Quorum, len(l.b.Custodians), q.Targets)
			}
		}
	}
}

// parties: who decides does not ask, under another name either.
func (l *linter) parties() {
	for _, c := range l.b.Custodians {
		for _, o := range l.b.Organisations {
			if o.ID != c.OrganisationID && document.Fold(o.Name) == document.Fold(c.Organisation) {
				l.find("custodian_may_request", "the organisation %s has the name of custodian %s and another id: its people could ask for what it decides", o.ID, c.ID)
			}
		}
	}
	mayAsk := func(o Organisation) bool {
		return !slices.ContainsFunc(l.b.Custodians, func(c Custodian) bool { return c.OrganisationID == o.ID })
	}
	if len(l.b.Organisations) > 0 && !slices.ContainsFunc(l.b.Organisations, mayAsk) {
		l.find("no_requester", "every organisation is a custodian's, so nobody can be a requester: list the police, or the courts")
	}
}

// powers: an order that turns out wrong can be annulled by somebody.
func (l *linter) powers() {
	switch {
	case l.b.Version < 5:
		return
	case !slices.ContainsFunc(l.b.Authorities, func(a Authority) bool { return len(a.Over) > 0 }):
		l.find("no_annulment", "no authority is over another, so there is nobody who can annul an order")
		return
	}
	for _, a := range l.b.Authorities {
		if len(a.Over) == 0 && !slices.ContainsFunc(l.b.Authorities, func(o Authority) bool { return slices.Contains(o.Over, a.ID) }) {
			l.find("nobody_over", "no authority is over %s: nobody but itself can stop its orders", a.ID)
		}
	}
}

// required: what must be among those who approve does not hang on one body.
func (l *linter) required() {
	for _, r := range l.b.Required {
		var able []Custodian
		for _, c := range l.b.Custodians {
			if r.Role != "" && c.Role == r.Role {
				able = append(able, c)
			}
		}
		if len(able) == 1 && len(able[0].Alternates) == 0 {
			l.find("role_of_one", "custodian %s alone has the role %s, and no alternate: no case%s is decided while they are away", able[0].ID, r.Role, strings.TrimPrefix(r.about(), " a case"))
		}
	}
}

// keys: an authority without a key that signs a while longer is about to be silent.
func (l *linter) keys(at time.Time) {
	for _, c := range l.b.anchors {
		switch {
		case !at.Before(c.NotAfter):
			l.find("certificate_authority_ended", "the certificate authority %s is over: nobody signs by it any more", CertificateLine(c))
		case c.NotAfter.Sub(at) < EndsSoon:
			l.find("certificate_authority_ends_soon", "the certificate authority %s ends soon: put its next one beside it", CertificateLine(c))
		}
	}
	for _, a := range l.b.Authorities {
		if len(a.Keys) == 0 {
			continue // its certificates say until when
		}
		var last time.Time
		for _, k := range a.Keys {
			if k.Until.After(last) {
				last = k.Until
			}
		}
		switch {
		case !at.Before(last):
			l.find("keys_ended", "the last key of %s ended on %s: it signs nothing any more", a.ID, last.Format(time.DateOnly))
		case last.Sub(at) < EndsSoon:
			l.find("keys_end_soon", "the last key of %s ends on %s: put its next one beside it", a.ID, last.Format(time.DateOnly))
		}
	}
}

// clocks: what is waited for can come in time.
func (l *linter) clocks() {
	if l.b.MinSecrecyDays > l.b.MaxSecrecyDays {
		l.find("secrecy_contradicts", "secrecy under %d days counts as none and over %d is refused: no order is secret", l.b.MinSecrecyDays, l.b.MaxSecrecyDays)
	}
	for _, a := range l.b.Authorities {
		if l.b.Version >= 5 && len(l.b.remediesOf(a.Jurisdiction)) == 0 {
			l.find("no_remedy", "no remedy is named against an order of %s (%s): whoever is told of it does not read what they can do", a.ID, a.Jurisdiction)
		}
	}
	for _, r := range l.b.rules {
		if days := r.notice; days+proof.TellWithin >= l.b.MaxValidityDays {
			l.find("notice_over_validity", "rule %s gives %d days to object, which begin up to %d days later, and an order is valid for at most %d: it can expire before anybody may approve", r.id, days, proof.TellWithin, l.b.MaxValidityDays)
		}
	}
	if l.b.MaxSecrecyDays > 366 {
		l.find("long_secrecy", "an order can be secret for %d days: the persons hear of it more than a year later", l.b.MaxSecrecyDays)
	}
}

// rules: the prohibitions of this release are there, and say what they say there; each
// other rule can apply to an order that the parties of this bundle can make.
func (l *linter) rules() {
	asThere := make(map[string]bool)
	own, _ := placed(l.b.Policies)
	base, _ := placed(DefaultRules())
	for _, r := range base {
		if !strings.HasPrefix(r.text, "forbid") {
			continue
		}
		switch i := slices.IndexFunc(own, func(o placedRule) bool { return o.id == r.id }); {
		case i < 0:
			l.find("prohibition_missing", "the rule %s of this version is not there: %s", r.id, r.said["title"])
		case own[i].text != r.text:
			l.find("prohibition_changed", "the rule %s does not forbid what it forbids in this version: %s", r.id, r.said["title"])
		default:
			asThere[r.id] = true
		}
	}
	for _, r := range l.unreached() {
		if !asThere[r.id] {
			l.find("unreachable_rule", "rule %s applies to no order that the authorities of these rules can make about the classes of these rules: %s", r.id, r.Title)
		}
	}
}

// unreached are the rules that no imaginable order meets.
func (l *linter) unreached() []rule {
	left := slices.Clone(l.b.rules)
	for o := range l.b.imaginable() {
		request, entities := o.request(len(o.authority.ValidatedBy) == 0)
		left = slices.DeleteFunc(left, func(r rule) bool {
			_, said := cedar.Authorize(ruleSet{r}, entities, request)
			return len(said.Reasons) > 0 || len(said.Errors) > 0
		})
		if len(left) == 0 {
			break
		}
	}
	return left
}

// imaginable are orders that differ in what a rule can tell apart. Each authority, kind and
// offence, and each class without one, below its least penalty too, meets haste and
// secrecy; many pen names, flags, roles, another jurisdiction and who asks come one at a time.
func (b *Bundle) imaginable() iter.Seq[*order] {
	offences := append(slices.Clone(b.Offences), Offence{Class: "unlisted"})
	for _, c := range b.OffenceClasses {
		offences = append(offences, Offence{Class: c.ID, MaxPenaltyMonths: c.MinPenaltyMonths, Fields: c.Fields}, Offence{Class: c.ID, MaxPenaltyMonths: max(0, c.MinPenaltyMonths-1)})
	}
	issued := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	one := make([]Target, 1)
	return func(yield func(*order) bool) {
		for n := range 1 << 2 {
			for _, odd := range oddities {
				for _, kind := range kinds {
					for i := range b.Authorities {
						a := &b.Authorities[i]
						for _, o := range offences {
							w := &Warrant{Kind: kind.Name, Authority: a.ID, Jurisdiction: a.Jurisdiction, OffenceID: o.ID, OffenceClass: o.Class,
								MaxPenaltyMonths: o.MaxPenaltyMonths, IssuedAt: issued, Fields: o.Fields, Targets: one, Deadline: TenDays, Secrecy: Secrecy{Ends: issued}}
							if n&1 > 0 {
								w.Secrecy.Ends = issued.AddDate(0, 0, b.MaxSecrecyDays)
							}
							if n&2 > 0 {
								w.Deadline = EightHours
							}
							odd(b, w, a)
							if !yield(b.order(w, a, Facts{}, issued)) {
								return
							}
						}
					}
				}
			}
		}
	}
}

// oddities are what makes an order unlike others of its kind.
var oddities = []func(*Bundle, *Warrant, *Authority){
	func(*Bundle, *Warrant, *Authority) {},
	func(b *Bundle, w *Warrant, _ *Authority) { w.Fields = b.Fields },
	func(b *Bundle, w *Warrant, _ *Authority) { w.Targets = make([]Target, b.MaxTargets) },
	func(_ *Bundle, w *Warrant, _ *Authority) { w.Jurisdiction = "ZZ" },
	func(_ *Bundle, w *Warrant, _ *Authority) { w.Flags = []string{FlagJournalist} },
	func(_ *Bundle, w *Warrant, _ *Authority) { w.Flags = []string{FlagPrivileged} },
	func(_ *Bundle, w *Warrant, a *Authority) {
		w.Requester = Requester{Name: a.Name, Organisation: a.Name, OrganisationID: a.OrganisationID}
	},
	func(b *Bundle, w *Warrant, _ *Authority) {
		c := b.Custodians[0]
		w.Requester = Requester{Name: c.Name, Organisation: c.Organisation, OrganisationID: c.OrganisationID}
	},
	func(_ *Bundle, w *Warrant, _ *Authority) { w.Targets = []Target{{Role: RoleWitness}} },
	func(_ *Bundle, w *Warrant, _ *Authority) { w.Targets = []Target{{Role: RoleVictim}} },
	func(_ *Bundle, w *Warrant, _ *Authority) { w.Targets = []Target{{Role: RoleChild}} },
	func(_ *Bundle, w *Warrant, _ *Authority) { w.Recognises = &ForeignOrder{Country: "ZZ"} },
}
