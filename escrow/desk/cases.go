package desk

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// Cases is what an officer does with a case that was filed: `escrow warrant list`, status,
// withdraw, extend, secrecy, validate, answer, rule, redeliver and deleted, with the same checks.
type Cases struct {
	Signs bool // the desk has a key that signs: without it nobody is shown a list
	Opens bool // it has the key that a package is opened with
	List  func(ctx context.Context, from string) (OwnCases, error)
	Read  func(ctx context.Context, id string) (*OwnCase, error)
	// Signed is what is here of signed warrants that a step of a case can be about, the newest first,
	// and why files could not be read.
	Signed func(step string, c *OwnCase) (all []Signed, unread []error)
	Follow func(ctx context.Context, s FollowUp, confirm func(shown string) error) (said string, err error)

	// What was signed for steps and is not filed, as the files say, what files one as it is, and what
	// has it wait no more, by its case and its hash.
	Unfiled func() []Unfiled
	File    func(ctx context.Context, id, hash string) (said string, err error)
	Drop    func(id, hash string) (said string, err error)
}

// ErrFiledElsewhere is of a step that was filed, and that the registrar says is about another case.
var ErrFiledElsewhere = refusal.New(refusal.Conflict, "desk.filed_elsewhere",
	"it is signed and filed, and it is NOT about the case on whose page it was made: the registrar says that it is about the one that the cause names; look there what it did, and do here what is still to be done")

// Unfiled is a file that was signed for a step of a case, and that is not filed.
type Unfiled struct {
	Case, Kind, Digest string // of the [FollowUp]
	Order, Hash, File  string // Hash is the SHA-256 of what was signed, hex; Order of what it is about
	Refused            string // why the registrar refused it, in English; "": it did not, or that is not known
	Filed              string // the case that it is; "": it is not filed; else not all of what was published is
	Says               []Said
}

// unfiled are those of a case; "": all.
func (d *Desk) unfiled(id string) (all []Unfiled) {
	if d.Officer.Cases.Unfiled == nil {
		return nil
	}
	return slices.DeleteFunc(d.Officer.Cases.Unfiled(), func(u Unfiled) bool { return id != "" && u.Case != id })
}

// withUnfiled does something with what was signed for a case before.
func (d *Desk) withUnfiled(do func(ctx context.Context, id, hash string) (said string, err error)) deed {
	return func(ctx context.Context, r *http.Request) string {
		id, hash := r.PathValue("case"), r.PathValue("hash")
		if !caseID.MatchString(id) || !aDigest.MatchString(hash) {
			return "/"
		}
		said, err := do(ctx, id, hash)
		f := &draft{said: elsewhere(said)}
		if err != nil {
			f.problem = d.problemOf(err)
		}
		d.keep("/case/"+id, f)
		return "/case/" + id
	}
}

// OwnCases is a page of the cases of an authority that have a date to come, what is due first in
// front.
type OwnCases struct {
	Cases []OwnCase
	Next  string // where the next page begins; "": there is none

	Unread []error // why files of the folder of cases could not be read
}

// OwnCase is a case as its authority sees it.
type OwnCase struct {
	registrar.CaseStatus
	Order   *Signed  // that it was filed with; nil: it is not here, or nobody knows which it is
	Now     []string // the kinds of [FollowUp] that wait for the officer, the most urgent first
	Later   []string // the other ones that are possible
	Hints   []Text   // what somebody else has to do, whom the officer asks
	Unfiled bool     // something that was signed for it waits to be filed, or to be thrown away
	Kept    []string // folders of this machine with what was delivered, as far as the desk knows

	// When it was read by itself, and by a key that may:
	Exhibits   string
	Said       []custodian.Said
	Objections []Objection
	Unread     []error // why some of it could not be read
}

// Signed is a signed warrant in a folder of this machine.
type Signed struct {
	Hash, Kind, FileNumber, File string // Hash is the SHA-256 of the JWS, hex
	Authority                    string // its name
	Issued, Expires              time.Time
	Targets                      []string // PENNAME@PLATFORM
}

// Objection is one, in words.
type Objection struct {
	Digest string
	Target int    // the place of who objected in the order
	Says   string // it, whatever becomes of it
	Words  string // it, and what became of it
	Ruled  bool
}

// FollowUp is what an officer does about a case, with what was typed for it.
type FollowUp struct {
	Case, Kind string   // one of those below
	Order      string   // hash of the signed warrant that it is about
	Text       string   // grounds, the answer, what was deleted
	Targets    []string // that it is about; none: all
	Digest     string   // of a question or an objection
	Upheld     bool
	Days       int
	Until      string // YYYY-MM-DD; "": now
	Key, Name  string // a requester's new delivery key, and who that is
}

// The kinds of a [FollowUp].
const (
	StepOpen      = "open" // a page of its own
	StepDeleted   = "deleted"
	StepValidate  = "validate"
	StepAnswer    = "answer"
	StepRule      = "rule"
	StepWithdraw  = "withdraw"
	StepAnnul     = "annul"
	StepExtend    = "extend"
	StepSecrecy   = "secrecy"
	StepRedeliver = "redeliver"
)

// stepWords are what a step is called, and why somebody takes it.
var stepWords = map[string][2]string{
	StepOpen:      {"Open it", "The custodians have agreed: the package is checked and opened with the requester's key, on this machine."},
	StepDeleted:   {"State that it is deleted", "State that what was delivered is deleted: once its use is forbidden, or when it is not needed any more. It is stated once."},
	StepValidate:  {"Validate the emergency", "Nobody has validated it yet. If nobody does in time, it lapses."},
	StepAnswer:    {"Answer the question", "A custodian asks something before deciding."},
	StepRule:      {"Rule on the objection", "Somebody whom the order is about, or their lawyer, has objected."},
	StepWithdraw:  {"Withdraw it", "Take the order back, wholly or for some pen names, before they are released."},
	StepAnnul:     {"Annul it", "The order of a court below falls, wholly or for some pen names. What was released already may not be used any more."},
	StepExtend:    {"Let the hold last longer", "A preservation of your own lasts longer, while it still lasts."},
	StepSecrecy:   {"Change its secrecy", "Secrecy ends on another day, or now. The persons concerned are told when it ends."},
	StepRedeliver: {"Deliver it to another key", "The requester has lost the key that opens the package: the order is repeated, for another key."},
}

// followUps are the kinds of a [FollowUp] that a form is for.
var followUps = []string{StepDeleted, StepValidate, StepAnswer, StepRule, StepWithdraw, StepAnnul, StepExtend, StepSecrecy, StepRedeliver}

// caseRoutes are the pages of cases at an officer's desk.
func (d *Desk) caseRoutes() {
	d.page("/cases", d.ownCases)
	d.page("/case", d.findCase)
	d.page("/case/{case}", d.ownCase)
	d.page("/case/{case}/{step}", d.showFollowUp)
	d.page("/case/{case}/{step}/sign", d.showFollowUpSigned)
	form := func(r *http.Request) string { return "/case/" + r.PathValue("case") + "/" + r.PathValue("step") }
	d.fill("/case/{case}/{step}", form, d.prepareFollowUp)
	d.signed("/case/{case}/{step}/sign", form, d.signFollowUp)
	d.act("/case/{case}/{step}/leave", fixed("/cases"), func(_ context.Context, r *http.Request) string {
		d.drop(form(r))
		return "/cases"
	})
	whole, cases := func(r *http.Request) string { return "/case/" + r.PathValue("case") }, d.Officer.Cases
	d.act("/case/{case}/unfiled/{hash}/file", whole, d.withUnfiled(cases.File))
	d.act("/case/{case}/unfiled/{hash}/drop", whole, d.withUnfiled(func(_ context.Context, id, hash string) (string, error) { return cases.Drop(id, hash) }))
}

// isFollowUpForm reports whether that path is of a form for a step.
func isFollowUpForm(path string) bool {
	id, step, ok := strings.Cut(strings.TrimPrefix(path, "/case/"), "/")
	return ok && caseID.MatchString(id) && slices.Contains(followUps, step)
}

// begunAt is what was typed into the forms of cases, or of orders, below that path, and is not done
// yet: it is in the memory of the desk alone.
func (d *Desk) begunAt(path string) (all []Next) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for form, f := range d.drafts {
		below, ok := strings.CutPrefix(form, path)
		if !ok || !typedIn(f.values) {
			continue
		}
		switch id, step, _ := strings.Cut(below, "/"); {
		case path == "/case/" && slices.Contains(followUps, step):
			all = append(all, Next{Text: Say("Case %s, and nothing of it is signed yet: %s", id, elsewhere(stepWords[step][0])), To: form, Begun: true})
		case strings.HasPrefix(step, "ask/"):
			all = append(all, Next{Text: Say("You answered a question of an order, and the answer was not taken."), To: form, Begun: true})
		}
	}
	slices.SortFunc(all, func(a, b Next) int { return strings.Compare(a.To, b.To) })
	return all
}

// Past reports whether the next date of the case is past.
func (c OwnCase) Past(now time.Time) bool {
	return c.Next != nil && !c.Next.Met && !c.Next.At.After(now)
}

// ForbiddenWhy is why what was delivered may not be used; "": it may, or nothing was.
func (c OwnCase) ForbiddenWhy() string {
	if c.Barred == nil {
		return ""
	}
	return c.CaseStatus.Forbidden()
}

// Where is where the case stands as a whole, as its Standing says it.
func (c OwnCase) Where() Text {
	state := elsewhere(c.State)
	switch authorised := slices.ContainsFunc(c.Targets, func(t registrar.TargetStatus) bool { return t.State == "authorised" }); {
	case c.Quorum == 0 && c.State == "recorded":
		return Say("%s: in effect; nobody has to decide about it", state)
	case c.Quorum == 0:
		return state
	case !c.SuspendedUntil.IsZero():
		state = Say("suspended until %s", c.SuspendedUntil.UTC().Format(time.DateOnly))
	case c.State == "authorised" && len(c.Targets) > 0 && !authorised: // until the persons are told
		state = Say("suspension ended")
	}
	return Say("%s: %s", state, Decided(c.CaseStatus))
}

// Decided says how many custodians have decided about a case, and how as far as that is told, as
// its Custodians says it.
func Decided(s registrar.CaseStatus) Text {
	untold := s.Decided - s.Approvals - s.Declined
	if untold > 0 && s.Approvals+s.Declined == 0 {
		return Say("%d decided, %d must approve", untold, s.Quorum)
	}
	text := Say("%d of %d custodians approved", s.Approvals, s.Quorum)
	if s.Approvals > s.Quorum {
		text = Say("%d custodians approved, where %d must", s.Approvals, s.Quorum)
	}
	if s.Declined > 0 {
		text = Say("%s, %d declined", text, s.Declined)
	}
	if untold > 0 {
		text = Say("%s, %d decided since", text, untold)
	}
	return text
}

// Met says that a date does not run any more. That an order runs out is met too once nothing is left
// of it that could.
func (c OwnCase) Met(d opening.Deadline) Text {
	switch {
	case d.What != opening.DeadlineExpiry:
		return Say("Done: %s", elsewhere(d.What))
	case c.State == "expired":
		return Say("The warrant has run out.")
	}
	return Say("No longer counts: %s", elsewhere(d.What))
}

// Title is what the person knows the case by.
func (c OwnCase) Title() Text {
	if c.Order != nil {
		return Say("%s", c.Order.FileNumber)
	}
	return Say("case %s", c.Case)
}

// ownCases lists what is due, the overdue first.
func (d *Desk) ownCases(w http.ResponseWriter, r *http.Request) {
	p := page{Title: Say("My cases"), At: "cases"}
	data := struct {
		OwnCases
		Now            time.Time
		Signs, Failed  bool
		Overdue, Waits int
		First          bool
		Unfiled        []Unfiled
		Begun          []Next
		Files          []*problem // that could not be read
	}{Now: d.Now(), Unfiled: d.unfiled(""), Begun: d.begunAt("/case/"), Signs: d.Officer.Cases.Signs, First: r.URL.Query().Get("from") == ""}
	if data.Signs {
		all, err := d.Officer.Cases.List(r.Context(), r.URL.Query().Get("from"))
		if data.OwnCases = all; err != nil {
			p.Problem, data.Failed = d.problemOf(err), true
		}
	}
	data.Files = d.problemsOf(data.Unread)
	late := func(c OwnCase) int {
		if c.Past(data.Now) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(data.Cases, func(a, b OwnCase) int { return cmp.Compare(late(a), late(b)) })
	for i, c := range data.Cases {
		data.Cases[i].Unfiled = slices.ContainsFunc(data.Unfiled, func(u Unfiled) bool { return u.Case == c.Case })
		if c.Past(data.Now) {
			data.Overdue++
		}
		if len(c.Now)+len(c.Hints) > 0 {
			data.Waits++
		}
	}
	p.Data = data
	d.render(w, r, "cases", p)
}

// problemsOf are those of [Desk.problemOf].
func (d *Desk) problemsOf(all []error) (said []*problem) {
	for _, err := range all {
		said = append(said, d.problemOf(err))
	}
	return said
}

// findCase leads to the page of a case whose id was typed.
func (d *Desk) findCase(w http.ResponseWriter, r *http.Request) {
	typed := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("id")))
	if caseID.MatchString(typed) {
		d.redirect(w, r, "/case/"+typed)
		return
	}
	p := page{Title: Say("Find a case"), At: "cases", Data: typed}
	if r.URL.Query().Has("id") {
		p.Problem = &problem{Text: Say("That is not the id of a case."), Fields: []fault{faultAt("id", Say("An id of a case has 26 small letters and digits, as filing printed it."))}}
	}
	d.render(w, r, "find", p)
}

// ownCase shows where a case and each of its targets stands, and until when what is to be done.
func (d *Desk) ownCase(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("case")
	if !caseID.MatchString(id) {
		d.missing(w, r)
		return
	}
	whole := d.draft("/case/" + id)
	p := page{Title: Say("Case %s", id), Problem: whole.problem, Said: whole.said, At: "cases"}
	c, err := d.Officer.Cases.Read(r.Context(), id)
	if err != nil && p.Problem == nil {
		p.Problem = d.problemOf(err)
	}
	data := struct {
		ID      string
		Case    *OwnCase
		Now     time.Time
		Unread  []*problem
		Targets []target
		Unfiled []Unfiled
	}{ID: id, Case: c, Now: d.Now(), Unfiled: d.unfiled(id)}
	if c != nil {
		c.Unfiled = len(data.Unfiled) > 0
		if c.Order != nil {
			p.Title = Say("Case %s", c.Order.FileNumber)
		}
		data.Unread = d.problemsOf(c.Unread)
		data.Targets = targetsOf(c)
	}
	p.Data = data
	d.render(w, r, "owncase", p)
}

// target is where one target of a case stands, in words.
type target struct{ Name, State, Code, Mend string }

// targetWords are the states of a target.
var targetWords = map[string]string{
	"waiting": "the custodians decide", "held": "held, nobody has to decide", "authorised": "the custodians have agreed; it is released in a moment, or when the persons were told",
	"released": "released: it can be opened", "refused": "refused", "declined": "the custodians declined it", "withdrawn": "withdrawn", "stopped": "stopped by a higher court",
	"lapsed": "lapsed: nobody validated the emergency in time", "expired": "the order ran out before it was released",
	"barred": "released, and may not be used", "deleted": "released, and stated to be deleted",
}

func targetsOf(c *OwnCase) (all []target) {
	for i, t := range c.Targets {
		state := t.State
		if state == "waiting" && c.Quorum == 0 {
			state = "held"
		}
		switch {
		case state == "released" && c.Deleted != nil:
			state = "deleted"
		case state == "released" && c.Barred != nil:
			state = "barred"
		}
		said := target{State: cmp.Or(targetWords[state], state), Code: t.Code, Mend: t.Mend}
		if c.Order != nil && i < len(c.Order.Targets) && len(c.Order.Targets) == len(c.Targets) {
			said.Name = c.Order.Targets[i]
		}
		all = append(all, said)
	}
	return all
}

// followUpForm is what the page of a step shows.
type followUpForm struct {
	ID, Step, Words string
	Case            *OwnCase
	Order           *Signed
	Orders          []Signed   // to choose from, where it is not known
	More            int        // of them that are not shown
	Files           []*problem // that could not be read
	Objector        string     // the only pen name of which an objection is open; "": there are more, or none
	Values          url.Values
	Problem         *problem
	To              string
}

// Is reports whether a value was chosen in a field.
func (f followUpForm) Is(field, value string) bool { return slices.Contains(f.Values[field], value) }

// Ends reports whether something ends by the step, for all pen names or for some.
func (f followUpForm) Ends() bool { return slices.Contains(endings, f.Step) }

// Ticked reports whether a pen name is chosen: it was, or who objected has it.
func (f followUpForm) Ticked(penName string) bool {
	return f.Is("target", penName) || len(f.Values) == 0 && penName == f.Objector
}

// endings are the steps by which an order ends for pen names; a ruling, if it upholds an objection.
var endings = []string{StepWithdraw, StepAnnul, StepRule}

// objector is the pen name of who objected, if of one alone an objection is open.
func (c *OwnCase) objector(o *Signed) (penName string) {
	for _, x := range c.Objections {
		if x.Ruled || o == nil || x.Target >= len(o.Targets) {
			continue
		}
		if penName != "" && penName != o.Targets[x.Target] {
			return ""
		}
		penName = o.Targets[x.Target]
	}
	return penName
}

// followUpField is a field of the page of a step.
type followUpField struct {
	Form followUpForm
	ID   string
}

// maxOrders is how many signed warrants a page lists to choose from.
const maxOrders = 100

// aboutOrder reports whether a step is about a signed warrant that has to be at hand.
func aboutOrder(step string) bool { return step != StepDeleted }

// showFollowUp shows the form of a step.
func (d *Desk) showFollowUp(w http.ResponseWriter, r *http.Request) {
	id, step := r.PathValue("case"), r.PathValue("step")
	if !caseID.MatchString(id) || !slices.Contains(followUps, step) {
		d.missing(w, r)
		return
	}
	path := "/case/" + id + "/" + step
	f := d.draft(path)
	p := page{Title: elsewhere(stepWords[step][0]), Problem: f.problem, At: "cases"}
	data := followUpForm{ID: id, Step: step, Words: stepWords[step][1], Values: f.values, Problem: f.problem, To: path}
	c, err := d.Officer.Cases.Read(r.Context(), id)
	if err != nil && p.Problem == nil {
		p.Problem = d.problemOf(err)
	}
	if data.Case = c; c != nil {
		data.Order = c.Order
	}
	if data.Order == nil && aboutOrder(step) {
		all, unread := d.Officer.Cases.Signed(step, c)
		data.Files = d.problemsOf(unread)
		chosen := cmp.Or(r.URL.Query().Get("order"), f.values.Get("order"))
		if i := slices.IndexFunc(all, func(o Signed) bool { return o.Hash == chosen }); i >= 0 {
			data.Order = &all[i]
		}
		data.Orders, data.More = all[:min(len(all), maxOrders)], max(0, len(all)-maxOrders)
	}
	if step == StepRule && c != nil {
		data.Objector = c.objector(data.Order)
	}
	if data.Order != nil || !aboutOrder(step) {
		p.Typing = path
	}
	p.Data = data
	d.render(w, r, "followup", p)
}

// showFollowUpSigned shows what will be signed of a step, where something waits to be confirmed.
func (d *Desk) showFollowUpSigned(w http.ResponseWriter, r *http.Request) {
	id, step := r.PathValue("case"), r.PathValue("step")
	if !caseID.MatchString(id) || !slices.Contains(followUps, step) {
		d.missing(w, r)
		return
	}
	form := "/case/" + id + "/" + step
	f := d.draft(form)
	if f.shown == "" {
		d.redirect(w, r, form)
		return
	}
	title, lead, button := Say("Sign and file this?"), Say("Nothing is signed yet. Read it, and sign it if it is what you mean."), Say("Sign and file it")
	if step == StepDeleted {
		title, lead, button = Say("State this?"), Say("Nothing is stated yet. Read it, and state it if it is what you mean."), Say("State it")
	}
	d.render(w, r, "agree", page{Title: title, Problem: f.problem, At: "cases", Data: agreeing{confirming{f.shown, f.agreement(f.shown), form + "/sign", form}, lead, button}})
}

func (d *Desk) prepareFollowUp(ctx context.Context, r *http.Request) string {
	return d.take(ctx, r, "")
}

func (d *Desk) signFollowUp(ctx context.Context, r *http.Request) string {
	return d.take(ctx, r, r.PostForm.Get("agreed"))
}

// take takes a step, if agreed is what it was shown; "": shows it.
func (d *Desk) take(ctx context.Context, r *http.Request, agreed string) string {
	id, step := r.PathValue("case"), r.PathValue("step")
	if !caseID.MatchString(id) || !slices.Contains(followUps, step) {
		return "/"
	}
	whole, form := "/case/"+id, "/case/"+id+"/"+step
	d.keep(whole, &draft{})
	f := d.draft(form)
	if agreed == "" {
		var err error
		if f, err = d.typed(form, r); err != nil {
			return form + "#problem"
		}
	}
	s, faults := followUpOf(id, step, f.values, d.Now())
	if d.faulty(form, f, faults) {
		return form + "#problem"
	}
	elsewhere, signed := false, false
	done := d.confirmed(form, agreed, f, func(confirm func(string) error) (string, error) {
		said, err := d.Officer.Cases.Follow(ctx, s, confirm)
		elsewhere = errors.Is(err, ErrFiledElsewhere)
		signed = err != nil && agreed != "" && slices.ContainsFunc(d.unfiled(id), func(u Unfiled) bool { return u.Kind == step && u.Digest == s.Digest })
		return said, err
	})
	now := d.draft(form)
	switch {
	case done || elsewhere || signed && now.shown == "": // what waits to be filed stands on the page of the case
		d.keep(whole, &draft{said: now.said, problem: now.problem})
		d.keep(form, &draft{})
		return whole
	case now.shown != "":
		return form + "/sign"
	}
	return form + "#problem"
}

// followUpOf reads what was typed for a step, and says what is missing of it.
func followUpOf(id, step string, typed url.Values, now time.Time) (s FollowUp, faults []fault) {
	get := func(field string) string { return strings.TrimSpace(typed.Get(field)) }
	missing := func(field string, text Text) {
		if get(field) == "" {
			faults = append(faults, faultAt(field, text))
		}
	}
	s = FollowUp{Case: id, Kind: step, Order: get("order"), Text: get("text"), Digest: get("digest"), Key: get("key"), Name: get("name")}
	if aboutOrder(step) && s.Order == "" {
		faults = append(faults, faultAt("order", Say("Choose the signed order that it is about.")))
	}
	switch step {
	case StepAnswer:
		missing("digest", Say("Choose the question that you answer."))
	case StepRule:
		missing("digest", Say("Choose the objection that you rule on."))
		missing("outcome", Say("Say what becomes of the objection."))
		s.Upheld = get("outcome") == "upheld"
	case StepExtend:
		var err error
		if s.Days, err = strconv.Atoi(get("days")); err != nil || s.Days < 1 || s.Days > 366 {
			faults = append(faults, faultAt("days", Say("Say by how many days it lasts longer, in digits.")))
		}
	case StepSecrecy:
		missing("when", Say("Say when secrecy ends."))
		if get("when") == "on" {
			missing("until", Say("Say on which day secrecy ends."))
			if s.Until = get("until"); s.Until != "" {
				switch ends, err := time.Parse(time.DateOnly, s.Until); {
				case err != nil:
					faults = append(faults, faultAt("until", Say("Write the day as year-month-day, for example 2027-03-01.")))
				case !ends.After(now):
					faults = append(faults, faultAt("until", Say("That day is past, and secrecy that is over cannot come back: name a later day, or say that it ends now.")))
				}
			}
		}
	case StepRedeliver:
		missing("key", Say("Paste the new key, which begins with pendk1."))
	}
	if slices.Contains(endings, step) && (step != StepRule || s.Upheld) {
		switch get("which") {
		case "all":
			if len(typed["target"]) > 0 && step != StepRule { // where the desk itself ticks who objected
				faults = append(faults, faultAt("which", Say("You say that it is about all of them, and tick some: do one of both.")))
			}
		case "these":
			if s.Targets = typed["target"]; len(s.Targets) == 0 {
				faults = append(faults, faultAt("which", Say("Choose the pen names, or say that it is about all of them.")))
			}
		default:
			faults = append(faults, faultAt("which", Say("Say whether it is about all pen names, or about some alone.")))
		}
	}
	if step == StepDeleted {
		missing("text", Say("Say what was deleted, and when."))
		return s, faults
	}
	if step == StepAnswer {
		missing("text", Say("Write the answer."))
		return s, faults
	}
	missing("text", Say("Write why, in your words."))
	return s, faults
}
