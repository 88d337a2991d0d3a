package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/verifier/document"
)

// describes begins the name of the answer that describes a piece of evidence, by its digest.
const describes = "description."

// severally is how several choices are named in a line.
const severally = " Several, separated by commas"

// questionNames are the names of all questions, but for those that describe a post.
var questionNames = []string{"kind", "authority", "offence", "file_number", "legal_basis", "grounds", "necessity", "proportionality", "fields", "secrecy", "secrecy_reason",
	"organisation", "contact", "delivery_key", "unusual", "jointly", "roles", "earlier", "recognises", "recognises_country", "recognises_file_number", "recognises_order",
	"issued_at", "dated_back"}

// asked are the questions in the order in which they are asked. Each stands on the answers
// before it, and is none where there is nothing to ask.
var asked = []func(i *Interview) []*Question{
	(*Interview).askKind, (*Interview).askAuthority, (*Interview).askOffence, (*Interview).askReasons, (*Interview).askFields, (*Interview).askSecrecy,
	(*Interview).askSecrecyReason, (*Interview).askRequester, (*Interview).askUnusual, (*Interview).askJointly, (*Interview).askRoles, (*Interview).askEarlier,
	(*Interview).askRecognises, (*Interview).askDated,
}

// What each kind of order that begins with evidence is for.
var orderTitles = map[string]string{
	Production:   "say who is behind the pen names",
	Emergency:    "say it at once, before a judge has signed: danger to life or limb",
	Preservation: "keep the records from erasure until an order follows; opens nothing",
	Suspension:   "nobody signs in by the pen names at their platform; opens nothing",
	Link:         "name all pen names of the person behind one",
}

func (i *Interview) kind() Kind { return KindOf(i.w.Kind) }

func (i *Interview) askKind() []*Question {
	q := &Question{Name: "kind", Text: "What is ordered?", Default: Production}
	for _, k := range kinds {
		if k.Evidence && k.As == "" && k.Since <= i.Bundle.Version && (!k.One || len(i.w.Targets) == 1) {
			q.Choices = append(q.Choices, Choice{k.Name, orderTitles[k.Name]})
		}
	}
	return []*Question{q.chosen(func(ids []string) error {
		if i.w.Kind = ids[0]; i.w.Kind == Emergency {
			i.w.Deadline = EightHours
		}
		return nil
	})}
}

func (i *Interview) askAuthority() []*Question {
	set := func(ids []string) error {
		i.w.Authority, i.w.Jurisdiction = ids[0], i.Bundle.Authority(ids[0]).Jurisdiction
		return nil
	}
	q := &Question{Name: "authority", Text: "Which authority orders it?"}
	for _, a := range i.Bundle.Authorities {
		q.Choices = append(q.Choices, Choice{a.ID, a.Name})
	}
	if len(q.Choices) == 1 {
		set([]string{q.Choices[0].ID}) //nolint:errcheck // it never fails
		return nil
	}
	return []*Question{q.chosen(set)}
}

// askOffence asks for one of the catalogue of which this authority may ask.
func (i *Interview) askOffence() []*Question {
	by := i.Bundle.Authority(i.w.Authority)
	q := &Question{Name: "offence", Text: "Which offence?", Typed: " Its number, its id, or words of it"}
	for _, o := range i.Bundle.Offences {
		class := i.Bundle.OffenceClass(o.Class)
		if !class.Speech && (class.Emergency || i.w.Kind != Emergency) && slices.Contains(o.Authorities, by.Kind) && slices.Contains(by.OffenceClasses, o.Class) {
			q.Choices = append(q.Choices, Choice{o.ID, o.Title + ", " + o.Statute})
		}
	}
	if len(q.Choices) == 0 {
		q.About = []string{"The catalogue has no offence for which " + by.Name + " may ask: interrupt, and begin again with another authority."}
	}
	return []*Question{q.chosen(func(ids []string) error {
		o := i.Bundle.Offence(ids[0])
		i.w.OffenceID, i.w.OffenceClass, i.w.MaxPenaltyMonths, i.w.Offence = o.ID, o.Class, o.MaxPenaltyMonths, o.Title+" ("+o.Statute+")"
		return nil
	})}
}

// catalogue says what follows from the offence, and is not asked.
func (i *Interview) catalogue() []string {
	o, class := i.Bundle.Offence(i.w.OffenceID), i.Bundle.OffenceClass(i.w.OffenceClass)
	lines := []string{
		fmt.Sprintf("%s: %s; class %s (%s); at most %d months.", o.Title, o.Statute, class.ID, class.Title, o.MaxPenaltyMonths),
		"May ask: " + strings.Join(o.Authorities, ", ") + ". May be opened: " + strings.Join(o.Fields, ", ") + ". Answer within: " + strings.ReplaceAll(i.w.Deadline, "_", " ") + ".",
	}
	if class.NoticeFirst {
		lines = append(lines, fmt.Sprintf("The person is told first and has at least %d days to object; it is never secret.", int(toldFirst/day)))
	}
	if who := i.Bundle.Countersigners(&i.w); len(who) > 0 {
		lines = append(lines, "Has to be signed as well by: "+strings.Join(who, ", and by ")+".")
	}
	return lines
}

func (i *Interview) askReasons() []*Question {
	all := []*Question{
		i.text("file_number", "File number", "TC 118 of 2026", 200, &i.w.FileNumber),
		i.text("legal_basis", "Legal basis: the law that lets the authority order this", "Investigatory Powers Act 2016, Part 3", 4000, &i.w.LegalBasis),
		i.text("grounds", "Facts and grounds: what happened, and why this pen name", "The post of 3 March threatens to kill the complainant.", 4000, &i.w.Grounds),
		i.text("necessity", "Necessity: why is there no other way?", "No other way to find its author is known.", 4000, &i.w.Necessity),
		i.text("proportionality", "Proportionality: why no less would do", "One pen name, and only who holds it.", 4000, &i.w.Proportionality),
	}
	all[0].About, all[2].Typed = i.catalogue(), "; @FILE takes them from a file"
	if !i.Bundle.ForbidsCopies(&i.w) {
		return all
	}
	for n, t := range i.w.Targets {
		i.w.Targets[n].Descriptions = make(map[string]string)
		for _, digest := range append([]string{t.Evidence}, t.Further...) {
			p := i.about[slices.IndexFunc(i.about, func(p piece) bool { return p.digest == digest })]
			var text string
			q := i.text(describes+digest, "What does the post show, in the court's words? Nobody may copy it, and custodians read this instead: "+document.Visible(p.post.URL),
				"A picture of the abuse of a child.", 4000, &text)
			take := q.take
			q.take = func(answer string) error {
				err := take(answer)
				if err == nil {
					i.w.Targets[n].Descriptions[digest] = text
				}
				return err
			}
			all = append(all, q)
		}
	}
	return all
}

func (i *Interview) askFields() []*Question {
	if !i.kind().Opens {
		return nil
	}
	o := i.Bundle.Offence(i.w.OffenceID)
	q := &Question{Name: "fields", Text: "What is to be opened?", Typed: severally, Several: true}
	for _, f := range o.Fields {
		if i.Bundle.opens(o, []string{f}) {
			q.Choices = append(q.Choices, Choice{ID: f})
		}
	}
	set := func(ids []string) error { i.w.Fields = ids; return nil }
	if len(q.Choices) == 1 {
		set([]string{q.Choices[0].ID}) //nolint:errcheck // it never fails
		return nil
	}
	q.Example = "1, or " + q.Choices[0].ID + "," + q.Choices[1].ID
	return []*Question{q.chosen(set)}
}

// none is the answer that nothing of it is so.
const none = "none"

func (i *Interview) askSecrecy() []*Question {
	today := i.Now.UTC().Truncate(day)
	i.w.Secrecy = Secrecy{Ends: today}
	if class := i.Bundle.OffenceClass(i.w.OffenceClass); class.NoticeFirst {
		return nil
	}
	q := &Question{Name: "secrecy", Text: "Secret until which day (YYYY-MM-DD), or for how many days? none: the person is told before anything is opened",
		Example: "90, or " + today.AddDate(0, 0, min(90, i.Bundle.MaxSecrecyDays)).Format(time.DateOnly) + ", or " + none}
	q.take = func(answer string) error {
		ends, err := time.Parse(time.DateOnly, answer)
		if days, nerr := strconv.Atoi(answer); nerr == nil && days > 0 && days <= 10_000 {
			ends, err = today.AddDate(0, 0, days), nil
		}
		least := today.AddDate(0, 0, i.Bundle.MinSecrecyDays+1) // it is signed later than now
		tooLong := fmt.Sprintf("the bundle allows %d days at most", i.Bundle.MaxSecrecyDays)
		switch {
		case answer == none:
			return nil
		case err != nil && len(answer) > 0 && strings.Trim(answer, "0123456789") == "" && strings.Trim(answer, "0") != "": // more than anybody means
			return q.wrong(tooLong)
		case err != nil:
			return q.wrong("it is a day, a number of days or the word " + none)
		case ends.Before(least):
			return q.wrong(fmt.Sprintf("secrecy of less than %d days counts as none under the bundle: name %s or later, or say %s", i.Bundle.MinSecrecyDays, least.Format(time.DateOnly), none))
		case ends.After(i.Now.AddDate(0, 0, i.Bundle.MaxSecrecyDays)):
			return q.wrong(tooLong)
		}
		i.w.Secrecy.Ends = ends
		return nil
	}
	return []*Question{q}
}

func (i *Interview) askSecrecyReason() []*Question {
	if !i.w.Secrecy.Ends.After(i.Now) {
		return nil
	}
	return []*Question{i.text("secrecy_reason", "Why is it secret?", "The suspect could destroy evidence.", 4000, &i.w.Secrecy.Reason)}
}

// askRequester asks who gets the answer, where custodians decide.
func (i *Interview) askRequester() (all []*Question) {
	if !i.kind().Decided {
		return nil
	}
	q := &Question{Name: "organisation", Text: "Which organisation asks, and gets the answer?"}
	for _, o := range i.Bundle.Organisations {
		if !slices.ContainsFunc(i.Bundle.Custodians, func(c Custodian) bool { return c.OrganisationID == o.ID }) {
			q.Choices = append(q.Choices, Choice{o.ID, o.Name})
		}
	}
	all = append(all, q.chosen(func(ids []string) error {
		n := slices.IndexFunc(i.Bundle.Organisations, func(o Organisation) bool { return o.ID == ids[0] })
		i.w.Requester.OrganisationID, i.w.Requester.Organisation = ids[0], i.Bundle.Organisations[n].Name
		return nil
	}), i.text("contact", "Who there is responsible? Rank and name", "DS R. Amari", 200, &i.w.Requester.Name))
	if !i.kind().Answered {
		return all
	}
	k := &Question{Name: "delivery_key", Text: "Their delivery key: the text beginning with pendk1 that they gave you, or a file with it",
		Example: "requester.pub, or pendk1.…", File: true}
	k.take = func(answer string) error {
		key := answer
		if !strings.HasPrefix(key, "pendk1.") {
			var err error
			if key, err = i.DeliveryKey(answer); err != nil {
				return k.wrong("the file cannot be read, or holds no delivery key")
			}
		}
		if document.CheckDeliveryKey(key) != nil {
			return k.wrong("it is no whole delivery key")
		}
		i.w.Requester.DeliveryKey = key
		return nil
	}
	return append(all, k)
}

// What is asked only where it is so.
const (
	isJoint = "jointly"
	isRole  = "roles"
	isAfter = "earlier"
	isOther = "recognises"
	isDated = "dated_back"
)

func (i *Interview) askUnusual() []*Question {
	q := &Question{Name: "unusual", Text: "Is any of these so?", Typed: severally, Default: none, Several: true, Example: "none, or roles,journalist",
		Choices: []Choice{{none, "nothing of this"}, {isRole, "somebody is no suspect, but a witness, a victim or a child"},
			{FlagJournalist, "a pen name is a journalist's"}, {FlagPrivileged, "a pen name is that of somebody bound to secrecy: lawyer, doctor, cleric, member of parliament"}}}
	for _, p := range i.about {
		for _, s := range p.post.AuthorSuggests {
			if said := "The platform says that an account suggests: " + s; !slices.Contains(q.About, said) {
				q.About = append(q.About, said)
			}
		}
	}
	if len(i.Bundle.Authorities) > 1 {
		q.Choices = append(q.Choices, Choice{isJoint, "another authority orders it together with this one"})
	}
	if i.kind().Follows {
		q.Choices = append(q.Choices, Choice{isAfter, "it follows an earlier warrant of this authority, which kept the record or opened something of it"})
	}
	q.Choices = append(q.Choices, Choice{isOther, "it gives effect to the order of another state"})
	if i.w.Kind != Emergency {
		q.Choices = append(q.Choices, Choice{isDated, "it was issued on an earlier day"})
	}
	return []*Question{q.chosen(func(ids []string) error {
		if len(ids) > 1 && slices.Contains(ids, none) {
			return q.wrong("none goes with no other")
		}
		i.unusual, i.w.Flags = ids, nil
		for _, flag := range []string{FlagJournalist, FlagPrivileged} {
			if slices.Contains(ids, flag) {
				i.w.Flags = append(i.w.Flags, flag)
			}
		}
		return nil
	})}
}

func (i *Interview) is(unusual string) bool { return slices.Contains(i.unusual, unusual) }

func (i *Interview) askJointly() []*Question {
	if !i.is(isJoint) {
		return nil
	}
	q := &Question{Name: "jointly", Text: "Which authorities sign it as well?", Typed: severally, Several: true}
	for _, a := range i.Bundle.Authorities {
		if a.ID != i.w.Authority {
			q.Choices = append(q.Choices, Choice{a.ID, a.Name})
		}
	}
	return []*Question{q.chosen(func(ids []string) error { i.w.Jointly = ids; return nil })}
}

func (i *Interview) askRoles() []*Question {
	if !i.is(isRole) {
		return nil
	}
	q := &Question{Name: "roles", Text: "Who is no suspect? NUMBER=witness, victim or child, of the pen names above, separated by commas", Example: "1=victim", About: i.Evidence()[1:]}
	q.take = func(answer string) error {
		seen := make(map[int]bool)
		for part := range strings.SplitSeq(answer, ",") {
			number, role, _ := strings.Cut(strings.TrimSpace(part), "=")
			n, err := strconv.Atoi(number)
			switch {
			case err != nil || n < 1 || n > len(i.w.Targets):
				return q.wrong(fmt.Sprintf("the numbers are 1 to %d", len(i.w.Targets)))
			case !slices.Contains([]string{RoleWitness, RoleVictim, RoleChild}, role):
				return q.wrong("the roles are witness, victim and child")
			case seen[n]:
				return q.wrong(fmt.Sprintf("number %d has two roles", n))
			}
			seen[n] = true
			i.w.Targets[n-1].Role = role
		}
		return nil
	}
	return []*Question{q}
}

func (i *Interview) askEarlier() []*Question {
	if !i.is(isAfter) {
		return nil
	}
	q := &Question{Name: "earlier", Text: "The signed file of the earlier warrant", Example: "preserved.jws", File: true}
	q.take = func(answer string) error {
		raw, err := i.Read(answer)
		if err != nil {
			return q.wrong("the file cannot be read")
		}
		signed := strings.TrimSpace(string(raw))
		w, err := ParseUnverified(signed)
		switch {
		case err != nil:
			return q.wrong("the file is no signed warrant")
		case !slices.Contains(i.kind().Earliers, w.Kind):
			return q.wrong("an order follows a " + strings.Join(i.kind().Earliers, ", ") + ", and that is none")
		case w.Authority != i.w.Authority:
			return q.wrong("another authority issued it, and each follows up its own orders alone")
		}
		i.w.Earlier = hexHash(signed)
		return nil
	}
	return []*Question{q}
}

func (i *Interview) askRecognises() []*Question {
	if !i.is(isOther) {
		return nil
	}
	r := &ForeignOrder{}
	i.w.Recognises = r
	country := &Question{Name: "recognises_country", Text: "Of which state? Two capital letters (ISO 3166-1)", Example: "FR"}
	country.take = func(answer string) error {
		if r.Country = answer; !countryPattern.MatchString(answer) || strings.HasPrefix(i.w.Jurisdiction, answer) {
			return country.wrong("it is the code of another state")
		}
		return nil
	}
	order := &Question{Name: "recognises_order", Text: "The file of that order, as it was received", Example: "order.pdf", File: true}
	order.take = func(answer string) error {
		raw, err := i.Read(answer)
		if err != nil {
			return order.wrong("the file cannot be read")
		}
		r.SHA256 = hexHash(string(raw))
		return nil
	}
	return []*Question{i.text("recognises", "Which authority of another state ordered it?", "Tribunal judiciaire de Paris", 200, &r.Authority), country,
		i.text("recognises_file_number", "Under which file number there?", "23/00417", 200, &r.FileNumber), order}
}

func (i *Interview) askDated() []*Question {
	if !i.is(isDated) {
		return nil
	}
	yesterday := i.Now.UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	q := &Question{Name: "issued_at", Text: "On which day was it issued (YYYY-MM-DD)?", Example: yesterday}
	q.take = func(answer string) error {
		at, err := time.Parse(time.DateOnly, answer)
		switch {
		case err != nil || !at.Before(i.Now.UTC().Truncate(day)):
			return q.wrong("it is a day before today")
		case !expiryOf(i.Bundle, i.w.Kind, at).After(i.Now):
			return q.wrong("an order of that day has run out since")
		}
		if i.w.IssuedAt = at; !i.w.Secrecy.Ends.After(i.Now) {
			i.w.Secrecy.Ends = at
		}
		return nil
	}
	return []*Question{q, i.text("dated_back", "Why is it filed so late?", "The clerk of the court was ill.", 4000, &i.w.DatedBack)}
}
