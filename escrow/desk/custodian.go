package desk

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

// Custodian is what a custodian does at the desk: the functions of `escrow custodian`. They are
// called by several goroutines, and all but Unlock, Lock and Case are [ErrLocked] without the
// keys. What takes confirm is done once that agrees to what it shows, word for word, and its
// error is returned.
type Custodian struct {
	Who     custodian.Identity
	Unlock  func(ctx context.Context, passphrase []byte) error
	Lock    func() // drops the keys, and what was read with them
	Queue   func(ctx context.Context, from string, every bool) (Queue, error)
	Review  func(ctx context.Context, id string) error        // checks a case and reads what was published; Case has it then
	Case    func(id string) *Case                             // nil: it was not reviewed since the desk was unlocked
	Exhibit func(id, file string) (content []byte, err error) // that a review of the case saved
	Do      func(ctx context.Context, a Deed, confirm func(shown string) error) (said string, err error)
	// Answered is what the folder has signed in a case, whether or not it was reviewed here.
	Answered func(id string) (Answered, error)
	Endorse  func(ctx context.Context, bundle, transcript []byte, confirm func(shown string) error) (endorsement string, err error)
	// Ceremony does what can be done now. plan says who is in it, where agreed is missing.
	Ceremony func(ctx context.Context, file []byte, agreed string) (said, plan string, err error)
	Witness  func(ctx context.Context) (Witness, error) // what is known comes with an error, too
	Reasons  map[string]string                          // to decline, with what they mean
	Approves func(kind string) string
	Seat
}

// Queue is a page of the cases that wait for custodians, the most urgent first.
type Queue struct {
	Cases  []Waiting
	Others int    // that do not wait for this one
	Next   string // where the next page begins; "": there is none
}

// Waiting is a case of a queue, in words.
type Waiting struct {
	Case, Kind, Authority   string
	Due, Decided, Did, Says Text // Due with its time by UTC, which pages show by this machine's clock too

	Emergency, Past bool
	PenNames        int
}

// Case is a case as it was reviewed last.
type Case struct {
	Review *custodian.Review
	Failed error // the first check that it did not pass; nil: it passed all

	Recused bool // the custodian said that they do not judge it
}

// Answered is the last answer that a folder signed in a case.
type Answered struct {
	Kind   string // Approve or Refuse; "": none
	At     time.Time
	Signed string // what was signed, in words
	Words  string // that were agreed to with it, of the custodian; "": none, or the desk does not know them
	Older  bool   // under rules that newer ones follow: the same answer can be signed anew
}

// Deed is what a custodian does in a case.
type Deed struct {
	Case, Kind string // one of Deeds
	Answers    []custodian.Answer
	Reason     string // of the list
	Text       string // in words
}

// The kinds of a [Deed].
const (
	Approve = "approve"
	Refuse  = "refuse"
	Ask     = "ask"
	Recuse  = "recuse"
	Reseal  = "reseal" // encrypts what was published again, and decides nothing
	Again   = "again"  // sends what was signed once more, with the words that were agreed to; confirm is asked where these are not known
)

// Witness is what the folder's witness does, in words.
type Witness struct {
	Name, Origin string
	Size         int64
	At           time.Time // of the newest checkpoint, or of the start after it
	Running      bool
	Evidence     []string
	Behind       int64 // entries that the log has and the witness has not cosigned for a while
}

var (
	caseID    = regexp.MustCompile(`^[a-z2-7]{26}$`)
	anExhibit = regexp.MustCompile(`^[0-9a-f]{64}\.[a-z0-9]{1,5}$`)
)

// secretOfFolder is what is typed to open the folder of a custodian.
const secretOfFolder = "Passphrase"

// custodianRoutes are what a custodian's desk answers.
func (d *Desk) custodianRoutes() {
	c := d.Custodian
	d.owner = owner{id: c.Who.ID, name: c.Who.Name, secret: secretOfFolder, unlocks: Say("It opens with the passphrase of your folder, on this machine."), unlock: c.Unlock, lock: c.Lock, form: isCustodianForm,
		parts: []part{{"queue", "/", Say("Cases")}, {"rules", "/rules", Say("Rules")}, {"ceremony", "/ceremony", Say("Key")}, {"witness", "/witness", Say("Witness")}, {"seat", "/seat", Say("Seat")}}}
	d.page("/{$}", d.queue)
	d.page("/case/{case}", d.showCase)
	d.page("/case/{case}/{kind}", d.showDeed)
	d.page("/case/{case}/exhibit/{file}", d.showExhibit)
	d.page("/case/{case}/exhibit/{file}/picture.png", d.picture)
	d.page("/case/{case}/exhibit/{file}/download", d.download)
	d.page("/rules", d.showRules)
	d.page("/rules/sign", d.showEndorsed)
	d.page("/ceremony", d.showCeremony)
	d.page("/witness", d.showWitness)

	ofCase := func(r *http.Request) string { return "/case/" + r.PathValue("case") }
	ofDeed := func(r *http.Request) string { return ofCase(r) + "/" + r.PathValue("kind") }
	d.act("/case/{case}/review", ofCase, d.review)
	d.act("/case/{case}/leave", ofCase, func(_ context.Context, r *http.Request) string {
		id := r.PathValue("case")
		if caseID.MatchString(id) {
			d.drop("/case/" + id)
		}
		return "/"
	})
	d.act("/rules/leave", fixed("/rules"), d.leave("/rules"))
	d.act("/seat/leave", fixed("/seat"), d.leave("/seat"))
	d.fill("/case/{case}/{kind}", ofDeed, d.prepare)
	d.signed("/case/{case}/{kind}/sign", ofDeed, d.sign)
	d.fill("/rules", fixed("/rules"), d.endorse)
	d.signed("/rules/sign", fixed("/rules"), d.endorseSign)
	d.fill("/ceremony", fixed("/ceremony"), d.ceremony)
	d.fill("/ceremony/on/{hash}", fixed("/ceremony"), d.goOn)
	d.act("/ceremony/leave", fixed("/ceremony"), d.leave("/ceremony"))
	d.seatRoutes()
}

func isCustodianForm(path string) bool {
	id, kind, ok := strings.Cut(strings.TrimPrefix(path, "/case/"), "/")
	return path == "/rules" || path == "/ceremony" || isSeatForm(path) || ok && caseID.MatchString(id) && slices.Contains(kinds, kind)
}

func (d *Desk) queue(w http.ResponseWriter, r *http.Request) {
	f := d.draft("/")
	p := page{Title: Say("Cases that wait"), Problem: f.problem, At: "queue"}
	every, nobody := r.URL.Query().Get("all") != "", false
	q, err := d.Custodian.Queue(r.Context(), r.URL.Query().Get("from"), every)
	if err != nil {
		if p.Problem = d.problemOf(err); p.Problem.Code == unseated {
			nobody, p.Problem = true, nil // to whom nothing is listed, however often they ask
		}
	}
	next, unknown := d.Custodian.Next(r.Context())
	data := struct {
		Queue
		Every, Failed bool
		Nobody        bool   // the rules in force do not name this custodian
		Now, Later    []Next // beside cases
		Unknown       *problem
	}{Queue: q, Every: every, Failed: err != nil, Nobody: nobody}
	for _, n := range next {
		if n.Urgent {
			data.Now = append(data.Now, n)
		} else {
			data.Later = append(data.Later, n)
		}
	}
	data.Later = append(data.Later, d.unfinished()...)
	if unknown != nil && err == nil {
		data.Unknown = d.problemOf(unknown)
	}
	p.Data = data
	d.keep("/", &draft{})
	d.render(w, r, "queue", p)
}

// unseated is the code of a registrar's answer to who is no custodian of the rules in force.
const unseated = "custodian.unknown"

// review checks a case. It is kept in the folder, as `escrow custodian review` keeps it.
func (d *Desk) review(ctx context.Context, r *http.Request) string {
	id := r.PathValue("case")
	if !caseID.MatchString(id) {
		return "/"
	}
	d.typing(r)
	f := d.draft("/case/" + id)
	f.problem, f.said = nil, Text{}
	if err := d.Custodian.Review(ctx, id); err != nil {
		f.problem = d.problemOf(err)
	}
	d.keep("/case/"+id, f)
	return "/case/" + id
}

// kinds are those of a deed, in the order of their forms.
var kinds = []string{Approve, Refuse, Ask, Recuse, Reseal, Again}

// deedForm is what a page shows of one form of a case.
type deedForm struct {
	Kind, To string
	Values   map[string][]string
	Problem  *problem
	Press    string
}

// Is reports whether a value was typed into a field.
func (f deedForm) Is(field, value string) bool {
	return len(f.Values[field]) > 0 && f.Values[field][0] == value
}

// Value is what was typed into a field.
func (f deedForm) Value(field string) string {
	if len(f.Values[field]) == 0 {
		return ""
	}
	return f.Values[field][0]
}

func (d *Desk) showCase(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("case")
	if !caseID.MatchString(id) {
		d.missing(w, r)
		return
	}
	whole := d.draft("/case/" + id)
	p := page{Title: Say("Case %s", id), Problem: whole.problem, Said: whole.said, At: "queue"}
	data := struct {
		ID       string
		Case     *Case
		Answered Answered
		Why      *problem
		Forms    map[string]deedForm
		Kept     bool // something was typed for the case
		Reasons  []string
		Means    map[string]string
		Asked    string
	}{ID: id, Case: d.Custodian.Case(id), Forms: map[string]deedForm{}, Reasons: custodian.Reasons(), Means: d.Custodian.Reasons}
	for _, kind := range kinds {
		f := d.draft("/case/" + id + "/" + kind)
		data.Forms[kind] = deedForm{kind, "/case/" + id + "/" + kind, f.values, f.problem, d.newPress()}
		data.Kept = data.Kept || typedIn(f.values)
		if p.Problem == nil && f.problem != nil {
			p.Problem = f.problem
		}
	}
	if c := data.Case; c != nil {
		p.Typing, p.Several = "/case/"+id+"/"+Ask, true
		if data.Asked = d.Custodian.Approves(c.Review.Warrant.Kind); c.Failed != nil {
			data.Why = d.problemOf(c.Failed)
		}
	}
	var err error
	if data.Answered, err = d.Custodian.Answered(id); err != nil && p.Problem == nil {
		p.Problem = d.problemOf(err)
	}
	p.Data = data
	d.render(w, r, "case", p)
}

// showDeed shows what will be signed, where something waits to be confirmed.
func (d *Desk) showDeed(w http.ResponseWriter, r *http.Request) {
	id, kind := r.PathValue("case"), r.PathValue("kind")
	f := d.draft("/case/" + id + "/" + kind)
	if !caseID.MatchString(id) || !slices.Contains(kinds, kind) {
		d.missing(w, r)
		return
	}
	if f.shown == "" {
		d.redirect(w, r, "/case/"+id)
		return
	}
	c := confirming{f.shown, f.agreement(f.shown), "/case/" + id + "/" + kind + "/sign", "/case/" + id + "#" + kind}
	if kind == Reseal {
		d.render(w, r, "agree", page{Title: Say("Encrypt it again?"), Problem: f.problem, At: "queue", Data: agreeing{c, Say("Nothing is encrypted or signed yet."), Say("Encrypt and sign it")}})
		return
	}
	if kind == Again {
		d.render(w, r, "agree", page{Title: Say("Send it again?"), Problem: f.problem, At: "queue", Data: agreeing{c, Say("Nothing is sent yet."), Say("Send it again")}})
		return
	}
	d.render(w, r, "confirm", page{Title: Say("Sign this?"), Problem: f.problem, At: "queue", Data: c})
}

// confirming is what a page shows of what will be signed.
type confirming struct{ Shown, Agreed, To, Back string }

// prepare shows what a form of a case would sign.
func (d *Desk) prepare(ctx context.Context, r *http.Request) string { return d.do(ctx, r, "") }

// sign signs what was shown.
func (d *Desk) sign(ctx context.Context, r *http.Request) string {
	return d.do(ctx, r, r.PostForm.Get("agreed"))
}

// do does what a form of a case says, if agreed is what it was shown; "": shows it.
func (d *Desk) do(ctx context.Context, r *http.Request, agreed string) string {
	id, kind := r.PathValue("case"), r.PathValue("kind")
	if !caseID.MatchString(id) || !slices.Contains(kinds, kind) {
		return "/"
	}
	page, form := "/case/"+id, "/case/"+id+"/"+kind
	d.settle(page)
	f := d.draft(form)
	if agreed == "" {
		var err error
		if f, err = d.typed(form, r); err != nil {
			return page
		}
	}
	if err := d.mayDo(id, kind, agreed, f); err != nil {
		f.problem, f.shown = d.problemOf(err), ""
		d.keep(form, f)
		return page + "#problem"
	}
	a := Deed{Case: id, Kind: kind, Reason: f.values.Get("reason"), Text: f.values.Get("text")}
	var faults []fault
	switch kind {
	case Approve:
		c := d.Custodian.Case(id)
		if c == nil {
			f.problem = d.problemOf(ErrUnread)
			d.keep(form, f)
			return page
		}
		a.Answers, faults = d.answers(c.Review, f.values.Get)
	case Again: // with the words that were agreed to when it was signed, and with none that were typed since
		a.Text = ""
	case Refuse:
		if err := custodian.CheckReason(a.Reason); err != nil {
			faults = append(faults, faultAt("refuse-reason", Say("Choose a reason of the list.")))
		}
	}
	faults = append(faults, d.wordsOf(kind, a.Text)...)
	if d.faulty(form, f, faults) {
		return page + "#problem"
	}
	done := d.confirmed(form, agreed, f, func(confirm func(string) error) (string, error) {
		return d.Custodian.Do(ctx, a, confirm)
	})
	now := d.draft(form)
	switch {
	case done:
		if d.keep(form, &draft{}); kind == Recuse { // who answers nothing in the case any more
			d.drop(page)
		}
		d.keep(page, &draft{said: now.said})
		if kind == Approve || kind == Refuse || kind == Again { // which is final
			for _, other := range []string{Approve, Refuse, Recuse} {
				d.keep(page+"/"+other, &draft{})
			}
		}
		return page
	case now.shown != "":
		return form
	}
	return page + "#problem"
}

// mayDo says why nothing can come of a form of a case: the case was answered, or what was to be
// signed does not wait for that any more.
func (d *Desk) mayDo(id, kind, agreed string, f *draft) error {
	if kind == Approve || kind == Refuse || kind == Recuse {
		switch answered, err := d.Custodian.Answered(id); {
		case err != nil:
			return err
		case answered.Kind != "" && (kind == Recuse || !answered.Older):
			return custodian.ErrYouAnswered
		}
	}
	if agreed != "" && f.shown == "" && !typedIn(f.values) {
		return ErrNothingWaits
	}
	return nil
}

// settle takes away what a page says of presses before, and leaves what was typed.
func (d *Desk) settle(page string) {
	for _, kind := range kinds {
		if f := d.draft(page + "/" + kind); f.problem != nil {
			f.problem = nil
			d.keep(page+"/"+kind, f)
		}
	}
	if f := d.draft(page); f.problem != nil || f.said.English != "" {
		d.keep(page, &draft{})
	}
}

// wordsOf checks what was typed in words: a question and a recusal need some.
func (d *Desk) wordsOf(kind, text string) []fault {
	if text == "" && (kind == Approve || kind == Refuse || kind == Reseal || kind == Again) {
		return nil
	}
	if err := opening.CheckText(text); err != nil {
		p := d.problemOf(err)
		if p.Cause == "" {
			return []fault{faultAt(kind+"-text", p.Text)}
		}
		return []fault{faultAt(kind+"-text", Say("%s (%s)", p.Text, elsewhere(p.Cause)))}
	}
	return nil
}

// answers are what was typed about the targets of a case, with what is wrong in them.
func (d *Desk) answers(r *custodian.Review, typed func(string) string) (all []custodian.Answer, faults []fault) {
	bad := make(map[int]bool)
	wrong := func(i int, field string, text Text) {
		bad[i] = true
		faults = append(faults, faultAt("t"+strconv.Itoa(i)+field, Say("Pen name %d: %s", i+1, text)))
	}
	for i, t := range r.Targets {
		if !t.Waits() {
			continue
		}
		field := "t" + strconv.Itoa(i)
		a := custodian.Answer{Target: strconv.Itoa(i + 1), Reason: typed(field + "reason")}
		if !r.Answerable(i) { // it can be declined
			if a.Reason == "" {
				wrong(i, "reason", Say("it cannot be approved: choose a reason, which declines it."))
			}
			all = append(all, a)
			continue
		}
		for q := range t.Questions {
			said := typed(field + "q" + strconv.Itoa(q))
			if said == "" {
				wrong(i, "q"+strconv.Itoa(q), Say("answer yes or no: %s", elsewhere(t.Questions[q])))
			}
			a.Says = append(a.Says, said)
		}
		switch vote := typed(field + "vote"); {
		case vote == "":
			wrong(i, "vote", Say("say whether you approve it."))
		case vote == opening.Yes && slices.Contains(a.Says, opening.No):
			wrong(i, "vote", Say("you answered no to a question, which declines it: choose no here, and a reason."))
		case vote == opening.Yes && a.Reason != "":
			wrong(i, "reason", Say("you approve it, and chose a reason to decline it: leave one out."))
		case vote == opening.No && a.Reason == "":
			wrong(i, "reason", Say("you decline it: choose a reason."))
		}
		all = append(all, a)
	}
	for i, err := range r.Wrong(all) {
		if !bad[i] {
			wrong(i, "vote", d.problemOf(err).Text)
		}
	}
	return all, faults
}

// uploads are the files of a draft that are chosen, and what is wrong where one is missing.
func uploads(f *draft, needed string) (content []byte, faults []fault) {
	if content = f.files[needed].Content; len(content) == 0 {
		faults = []fault{faultAt(needed, Say("Choose the file."))}
	}
	return content, faults
}

func (d *Desk) showRules(w http.ResponseWriter, r *http.Request) {
	f := d.draft("/rules")
	p := page{Title: Say("Endorse rules"), Problem: f.problem, At: "rules", Typing: "/rules"}
	p.Data = struct {
		Files map[string]upload
		Said  Text
		Waits bool // what was chosen was shown, and is not signed
	}{f.files, f.said, f.shown != ""}
	d.render(w, r, "rules", p)
}

// showEndorsed shows what will be endorsed, where something waits to be confirmed.
func (d *Desk) showEndorsed(w http.ResponseWriter, r *http.Request) {
	f := d.draft("/rules")
	if f.shown == "" {
		d.redirect(w, r, "/rules")
		return
	}
	d.render(w, r, "confirm", page{Title: Say("Endorse this?"), Problem: f.problem, At: "rules", Data: confirming{f.shown, f.agreement(f.shown), "/rules/sign", "/rules"}})
}

// endorse shows a bundle of rules that somebody chose, and what it changes.
func (d *Desk) endorse(ctx context.Context, r *http.Request) string {
	f, err := d.typed("/rules", r)
	if err != nil {
		return "/rules"
	}
	return d.endorsed(ctx, f, "")
}

// endorseSign signs the bundle that was shown, or leaves it.
func (d *Desk) endorseSign(ctx context.Context, r *http.Request) string {
	f := d.draft("/rules")
	return d.endorsed(ctx, f, r.PostForm.Get("agreed"))
}

func (d *Desk) endorsed(ctx context.Context, f *draft, agreed string) string {
	bundle, faults := uploads(f, "bundle")
	if d.faulty("/rules", f, faults) {
		return "/rules#problem"
	}
	var transcript []byte // nil: that of the folder
	if given := f.files["transcript"].Content; len(given) > 0 {
		transcript = given
	}
	if d.confirmed("/rules", agreed, f, func(confirm func(string) error) (string, error) {
		return d.Custodian.Endorse(ctx, bundle, transcript, confirm)
	}) {
		now := d.draft("/rules")
		now.files = map[string]upload{made: {Name: d.owner.id + ".endorsement", Content: []byte(now.said.English + "\n")}}
		d.keep("/rules", now)
	}
	if d.draft("/rules").shown != "" {
		return "/rules/sign"
	}
	return "/rules"
}

func (d *Desk) showCeremony(w http.ResponseWriter, r *http.Request) {
	f := d.draft("/ceremony")
	p := page{Title: Say("Make or move the key"), Problem: f.problem, At: "ceremony", Typing: "/ceremony"}
	all, err := d.Custodian.Ceremonies()
	if err != nil && p.Problem == nil {
		p.Problem = d.problemOf(err)
	}
	p.Data = struct {
		Files        map[string]upload
		Agreed, Plan string
		Said         Text
		GoingOn      []Ceremony
	}{f.files, f.values.Get("hash"), f.shown, f.said, all}
	d.render(w, r, "ceremony", p)
}

// ceremony does what can be done now in the ceremony of a plan, which is shown before it is
// agreed on.
func (d *Desk) ceremony(ctx context.Context, r *http.Request) string {
	f, err := d.typed("/ceremony", r)
	if err != nil {
		return "/ceremony"
	}
	file, faults := uploads(f, "plan")
	if d.faulty("/ceremony", f, faults) {
		return "/ceremony#problem"
	}
	return d.takePart(ctx, f, file, f.values.Get("hash"))
}

// takePart does what can be done now in the ceremony of a plan.
func (d *Desk) takePart(ctx context.Context, f *draft, file []byte, agreed string) string {
	said, plan, err := d.Custodian.Ceremony(ctx, file, agreed)
	if f.said, f.shown = elsewhere(said), plan; err != nil {
		switch f.problem = d.problemOf(err); {
		case errors.Is(err, custodian.ErrNotAgreed) && agreed == "":
			f.problem = nil // which is how it begins: the page says what comes next
		case plan != "":
			f.problem.Fields = []fault{faultAt("hash", Say("This is not the hash of the plan above: nothing was agreed to or kept. Compare it with the others letter by letter."))}
		}
	}
	d.keep("/ceremony", f)
	return "/ceremony"
}

// goOn goes on with a ceremony that the folder takes part in: its plan was agreed to before, so that
// a hash that is typed is of another one, and stays.
func (d *Desk) goOn(ctx context.Context, r *http.Request) string {
	f, err := d.typed("/ceremony", r)
	if err == nil {
		var all []Ceremony
		all, err = d.Custodian.Ceremonies()
		for _, c := range all {
			if c.Hash != r.PathValue("hash") {
				continue
			}
			if f.files["plan"].Name == "" {
				f.files["plan"] = upload{"the plan that you agreed to, " + c.Hash, c.Plan}
			}
			return d.takePart(ctx, f, c.Plan, "")
		}
	}
	f.problem = d.problemOf(cmp.Or(err, error(ErrNothingWaits)))
	d.keep("/ceremony", f)
	return "/ceremony"
}

func (d *Desk) showWitness(w http.ResponseWriter, r *http.Request) {
	p := page{Title: Say("Your witness"), At: "witness"}
	s, err := d.Custodian.Witness(r.Context())
	if err != nil {
		p.Problem = d.problemOf(err)
	}
	p.Data = struct {
		Witness
		There bool
	}{s, s.Name != ""}
	d.render(w, r, "witness", p)
}

// exhibitOf finds a piece of what was published of a case that was reviewed, by the name of its
// file, with the target and the post that it is of.
func (d *Desk) exhibitOf(r *http.Request) (x custodian.Exhibit, post custodian.Post, ok bool) {
	c := d.Custodian.Case(r.PathValue("case"))
	if c == nil || !anExhibit.MatchString(r.PathValue("file")) {
		return x, post, false
	}
	for _, t := range c.Review.Targets {
		for _, p := range t.Posts {
			for _, x := range p.Exhibits {
				if x.File == r.PathValue("file") && c.Review.Shows(p, x) {
					return x, p, true
				}
			}
		}
	}
	return x, post, false
}

// drawn are the types that a picture of is shown.
var drawn = []string{"image/gif", "image/jpeg", "image/png", "image/webp"}

// How much of a text one page shows: a browser lays out no million lines.
const (
	partBytes = 32 << 10
	partLines = 500
)

// partsOf cuts a text, as document.Visible shows it, into what pages show of it: whole letters, and
// where it can be whole words, and whole names of what hides.
func partsOf(text string) (all []string) {
	for len(text) > 0 {
		end, lines := min(len(text), partBytes), 0
		for i := range end {
			if text[i] == '\n' {
				if lines++; lines == partLines {
					end = i + 1
					break
				}
			}
		}
		if end < len(text) && text[end-1] != '\n' {
			for back := 0; back < utf8.UTFMax && end > 1 && !utf8.RuneStart(text[end]); back++ {
				end--
			}
			if gap := strings.LastIndexAny(text[:end], "\n ›"); gap > end-1<<10 && gap > 0 {
				_, size := utf8.DecodeRuneInString(text[gap:])
				end = gap + size
			}
		}
		all, text = append(all, text[:end]), text[end:]
	}
	return all
}

// shownExhibit is what the page of one piece of what was published shows.
type shownExhibit struct {
	custodian.Exhibit
	Words   textPart
	Post    custodian.Post
	ID      string
	Picture bool
	Leaves  Text // how long the page is on the screen
}

// textPart is a part of a text, as a page shows it.
type textPart struct {
	Text           string
	Part, Of       int // from 1
	Before, Behind int // the parts around it; 0: there is none
}

func (d *Desk) showExhibit(w http.ResponseWriter, r *http.Request) {
	x, post, ok := d.exhibitOf(r)
	if !ok {
		d.missing(w, r)
		return
	}
	p := page{Title: Say("What was published"), At: "queue"}
	shown := shownExhibit{Exhibit: x, Post: post, ID: r.PathValue("case"), Picture: slices.Contains(drawn, x.Type), Leaves: lasts(d.Idle)}
	if shown.Picture || x.Type == "text/plain" {
		content, err := d.Custodian.Exhibit(shown.ID, x.File)
		if shown.Picture && err == nil { // one that cannot be drawn is said here: a broken image says nothing
			_, err = d.Picture(r.Context(), content)
		}
		if err != nil {
			p.Problem, shown.Picture = d.problemOf(err), false
		}
		if x.Type == "text/plain" {
			shown.Words.take(partsOf(document.Visible(string(content))), r.URL.Query().Get("part"))
		}
	}
	p.Data = shown
	d.leaves(w, "/case/"+shown.ID)
	d.render(w, r, "exhibit", p)
}

// take takes the part of a text that was asked for, or else the first.
func (x *textPart) take(parts []string, asked string) {
	if x.Of = len(parts); x.Of == 0 {
		return
	}
	n, err := strconv.Atoi(asked)
	if err != nil || n < 1 || n > x.Of {
		n = 1
	}
	x.Part, x.Text, x.Before = n, parts[n-1], n-1
	if n < x.Of {
		x.Behind = n + 1
	}
}

// picture serves a picture that was drawn anew: nothing of what was published but its points.
func (d *Desk) picture(w http.ResponseWriter, r *http.Request) {
	x, _, ok := d.exhibitOf(r)
	if !ok || !slices.Contains(drawn, x.Type) {
		d.missing(w, r)
		return
	}
	content, err := d.Custodian.Exhibit(r.PathValue("case"), x.File)
	d.draw(w, r, content, err, "/case/"+r.PathValue("case"))
}

// policyOfPicture is that of a picture that was drawn anew. It is of the desk's origin, so that it
// can leave for a page of it where it is shown alone.
const policyOfPicture = "sandbox allow-same-origin; default-src 'none'"

// draw serves a picture that was read, unless that failed. Where it is shown alone, it leaves the
// screen for another page of the desk.
func (d *Desk) draw(w http.ResponseWriter, r *http.Request, content []byte, err error, to string) {
	if err == nil {
		content, err = d.Picture(r.Context(), content)
	}
	if err != nil {
		d.deny(w, r, http.StatusUnprocessableEntity, d.problemOf(err).Text)
		return
	}
	d.leaves(w, to)
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Content-Security-Policy", policyOfPicture)
	w.Write(content) //nolint:errcheck // to somebody who left
}

// download hands over a piece of what was published as it is, for no browser to show.
func (d *Desk) download(w http.ResponseWriter, r *http.Request) {
	x, _, ok := d.exhibitOf(r)
	if !ok {
		d.missing(w, r)
		return
	}
	content, err := d.Custodian.Exhibit(r.PathValue("case"), x.File)
	if err != nil {
		d.deny(w, r, http.StatusUnprocessableEntity, d.problemOf(err).Text)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+x.File+`"`) // a digest and an ending: see anExhibit
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	w.Write(content) //nolint:errcheck // to somebody who left
}

// Class is how a queue shows a case.
func (w Waiting) Class() string {
	switch {
	case w.Emergency:
		return "urgent"
	case w.Past:
		return "past"
	}
	return ""
}
