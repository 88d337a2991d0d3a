package desk

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/escrow/custodian"
)

// Seat is what a custodian does beside cases and rules: the rest of `escrow custodian`. Like the
// functions of [Custodian], each is [ErrLocked] without the keys.
type Seat struct {
	Next       func(ctx context.Context) ([]Next, error) // what waits beside cases, the most urgent first
	Standing   func(ctx context.Context) (Standing, error)
	Away       func(ctx context.Context, from, until time.Time, confirm func(shown string) error) (said string, err error)
	Deputise   func(ctx context.Context, alternate string, confirm func(shown string) error) (file []byte, err error)
	Receive    func(ctx context.Context, file, bundle []byte, confirm func(shown string) error) (said string, err error)
	Card       func() ([]byte, error)
	Passphrase func(ctx context.Context, old, fresh, again []byte) error
	Ceremonies func() ([]Ceremony, error) // that the folder takes part in, and which lead somewhere
}

// Next is something to do that is no case, in words.
type Next struct {
	Text   Text
	To     string // the path of the desk where it is done; "": nowhere at the desk
	Urgent bool
	Begun  bool // it is in the memory of the desk, and can be thrown away
}

// Standing is who a custodian is under the rules in force.
type Standing struct {
	Absences   []string // announced, that are not over, in words
	Alternates []Alternate
	For        string // whom the custodian steps in for; "": nobody
}

// Alternate is somebody to whom a custodian can hand their share over.
type Alternate struct{ ID, Name, Organisation string }

// Ceremony is a ceremony that the folder takes part in.
type Ceremony struct {
	Hash     string // of its plan
	Plan     []byte
	Says     string // how far it is
	Complete bool   // the share is safe; the rules in force do not have the key yet
}

// The forms of a seat. Of those that show first what they do, a second press does it.
const (
	seatAway       = "away"
	seatDeputise   = "deputise"
	seatReceive    = "receive"
	seatCard       = "card"
	seatPassphrase = "passphrase"
)

var (
	seatForms = []string{seatAway, seatDeputise, seatReceive, seatCard, seatPassphrase}
	seatShows = []string{seatAway, seatDeputise, seatReceive}
)

// made is the name in a draft of a file that was made for the custodian to give to somebody.
const made = "made"

func isSeatForm(path string) bool {
	form, ok := strings.CutPrefix(path, "/seat/")
	return ok && slices.Contains(seatForms, form)
}

// unfinished is what was begun at the desk and not done yet: it is in its memory alone.
func (d *Desk) unfinished() (all []Next) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for form, f := range d.drafts {
		id, _, ofCase := strings.Cut(strings.TrimPrefix(form, "/case/"), "/")
		var said Text
		to := ""
		switch {
		case ofCase && strings.HasPrefix(form, "/case/") && typedIn(f.values) && !d.recused(id):
			said, to = Say("You began to answer case %s, and signed nothing yet.", id), "/case/"+id
		case form == "/rules" && len(f.files["bundle"].Content) > 0:
			said, to = Say("You chose a bundle of rules, and did not endorse it yet."), form
		case strings.HasPrefix(form, "/seat/") && (typedIn(f.values) || len(f.files["share"].Content) > 0):
			said, to = Say("You began something at your seat, and did not finish it."), "/seat"
		}
		if to != "" && !slices.ContainsFunc(all, func(n Next) bool { return n.To == to }) {
			all = append(all, Next{Text: said, To: to, Begun: true})
		}
	}
	slices.SortFunc(all, func(a, b Next) int { return strings.Compare(a.To, b.To) })
	return all
}

// recused reports whether an open case is one that the custodian does not judge.
func (d *Desk) recused(id string) bool {
	c := d.Custodian.Case(id)
	return c != nil && c.Recused
}

// typedIn reports whether anything was typed.
func typedIn(values url.Values) bool {
	for _, v := range values {
		if len(v) > 0 && v[0] != "" {
			return true
		}
	}
	return false
}

func (d *Desk) seatRoutes() {
	d.page("/seat", d.showSeat)
	d.page("/seat/{form}", d.showSeatForm)
	d.page("/seat/{form}/file", func(w http.ResponseWriter, r *http.Request) { d.madeFile(w, r, "/seat/"+r.PathValue("form")) })
	d.page("/rules/file", func(w http.ResponseWriter, r *http.Request) { d.madeFile(w, r, "/rules") })
	for _, form := range seatShows {
		path := "/seat/" + form
		d.fill(path, fixed(path), func(ctx context.Context, r *http.Request) string { return d.seat(ctx, r, form, "") })
		d.signed(path+"/sign", fixed(path), func(ctx context.Context, r *http.Request) string {
			return d.seat(ctx, r, form, r.PostForm.Get("agreed"))
		})
	}
	d.act("/seat/receive/leave", fixed("/seat"), func(_ context.Context, r *http.Request) string {
		d.typed("/seat/leave", r) //nolint:errcheck // what else stands on the page
		d.drop("/seat/receive")
		return "/seat#receive"
	})
	d.act("/seat/card", fixed("/seat/card"), d.card)
	// What is typed into it is kept nowhere.
	d.mux.HandleFunc("POST /seat/passphrase", d.once(func(*http.Request) string {
		why := ErrTypeAgain
		if d.draft("/seat/passphrase").said.English != "" {
			why = ErrChangedBefore
		}
		d.refuse("/seat/passphrase", why)
		return "/seat/passphrase"
	}, d.passphrase, true))
}

// seatPage is what the page of a seat shows.
type seatPage struct {
	Standing
	Failed bool // it is not known
	Forms  map[string]deedForm
	Said   map[string]Text // by form, what was done
	Made   map[string]upload
	Files  map[string]upload // that were chosen to be received
	Today  string
}

func (d *Desk) showSeat(w http.ResponseWriter, r *http.Request) {
	p := page{Title: Say("Your seat"), At: "seat", Typing: "/seat/" + seatAway, Several: true}
	data := seatPage{Forms: map[string]deedForm{}, Said: map[string]Text{}, Made: map[string]upload{}, Today: d.Now().UTC().Format(time.DateOnly)}
	for _, form := range seatForms {
		f := d.draft("/seat/" + form)
		data.Forms[form] = deedForm{form, "/seat/" + form, f.values, f.problem, d.newPress()}
		data.Said[form] = f.said
		if one, ok := f.files[made]; ok {
			data.Made[form] = one
		}
		if form == seatReceive {
			data.Files = f.files
		}
		if p.Problem == nil {
			p.Problem = f.problem
		}
	}
	var err error
	if data.Standing, err = d.Custodian.Standing(r.Context()); err != nil {
		data.Failed = true
		if p.Problem == nil {
			p.Problem = d.problemOf(err)
		}
	}
	p.Data = data
	d.render(w, r, "seat", p)
}

// agreeing is what a page shows of something that is done, and not signed.
type agreeing struct {
	confirming
	Lead, Button Text
}

// showSeatForm shows what will be done, where something waits to be confirmed.
func (d *Desk) showSeatForm(w http.ResponseWriter, r *http.Request) {
	form := r.PathValue("form")
	if !slices.Contains(seatForms, form) {
		d.missing(w, r)
		return
	}
	path := "/seat/" + form
	f := d.draft(path)
	if f.shown == "" {
		to := "/seat#" + form
		if f.problem != nil {
			to = "/seat#problem"
		}
		d.redirect(w, r, to)
		return
	}
	p := page{Title: Say("Sign this?"), Problem: f.problem, At: "seat"}
	c := confirming{f.shown, f.agreement(f.shown), path + "/sign", "/seat#" + form}
	switch form {
	case seatDeputise:
		p.Title, p.Data = Say("Hand your share over?"), agreeing{c, Say("Nothing is made yet. Nothing is signed by it."), Say("Make the file")}
	case seatReceive:
		p.Title, p.Data = Say("Begin with these rules?"), agreeing{c, Say("Nothing is kept yet."), Say("Begin with them, and take the share")}
	default:
		p.Data = c
		d.render(w, r, "confirm", p)
		return
	}
	d.render(w, r, "agree", p)
}

// seat does what a form of a seat says, if agreed is what it was shown; "": shows it.
func (d *Desk) seat(ctx context.Context, r *http.Request, form, agreed string) string {
	path := "/seat/" + form
	d.settleSeat()
	f := d.draft(path)
	if agreed == "" {
		var err error
		if f, err = d.typed(path, r); err != nil {
			f.problem = d.problemOf(err)
			d.keep(path, f)
			return "/seat#problem"
		}
	}
	var act func(confirm func(string) error) (string, error)
	var faults []fault
	var out []byte
	switch form {
	case seatAway:
		var days [2]time.Time
		days, faults = daysOf(f)
		act = func(confirm func(string) error) (string, error) {
			return d.Custodian.Away(ctx, days[0], days[1], confirm)
		}
	case seatDeputise:
		to := f.values.Get("alternate")
		if to == "" {
			faults = []fault{faultAt("alternate", Say("Choose to whom."))}
		}
		act = func(confirm func(string) error) (said string, err error) {
			out, err = d.Custodian.Deputise(ctx, to, confirm)
			return "", err
		}
	case seatReceive:
		var file []byte
		file, faults = uploads(f, "share")
		act = func(confirm func(string) error) (string, error) {
			return d.Custodian.Receive(ctx, file, f.files["bundle"].Content, confirm)
		}
	}
	if d.faulty(path, f, faults) {
		return "/seat#problem"
	}
	done := d.confirmed(path, agreed, f, act)
	now := d.draft(path)
	if done && out != nil {
		now.said = Say("Made, for %s alone.", f.values.Get("alternate"))
		now.files = map[string]upload{made: {Name: f.values.Get("alternate") + ".share", Content: out}}
		d.keep(path, now)
	}
	if now.problem != nil {
		now.problem.Fields = seatFaults(now.problem)
		d.keep(path, now)
	}
	return path
}

// settleSeat takes away why presses before did nothing, and leaves what was typed.
func (d *Desk) settleSeat() {
	for _, form := range seatForms {
		if f := d.draft("/seat/" + form); f.problem != nil {
			f.problem = nil
			d.keep("/seat/"+form, f)
		}
	}
}

// daysOf are the days of an absence as they were typed, by UTC.
func daysOf(f *draft) (days [2]time.Time, faults []fault) {
	for i, field := range []string{"from", "until"} {
		var err error
		if days[i], err = time.Parse(time.DateOnly, f.values.Get(field)); err != nil {
			faults = append(faults, faultAt(field, [...]Text{Say("Choose the first day away."), Say("Choose the day on which you are back.")}[i]))
		}
	}
	return days, faults
}

// seatFaults is the field that a refusal is about.
func seatFaults(p *problem) []fault {
	field := map[string]string{
		custodian.ErrAwayDays.Code: "until", custodian.ErrAwayBefore.Code: "from", custodian.ErrNoAlternate.Code: "alternate", custodian.ErrHandedOver.Code: "share",
		custodian.ErrPassphrase.Code: "old", custodian.ErrWeakPassphrase.Code: "fresh", custodian.ErrNoPassphrase.Code: "fresh", custodian.ErrPassphraseText.Code: "fresh",
		"custodian.passphrases_differ": "again",
	}[p.Code]
	if field == "" {
		return p.Fields
	}
	return []fault{faultAt(field, p.Text)}
}

// card shows the card of the folder. It makes keys that are missing for it.
func (d *Desk) card(_ context.Context, r *http.Request) string {
	d.settleSeat()
	d.typed("/seat/card", r) //nolint:errcheck // what else stands on the page
	f := &draft{}
	if card, err := d.Custodian.Card(); err != nil {
		f.problem = d.problemOf(err)
	} else {
		f.files = map[string]upload{made: {Name: d.owner.id + ".json", Content: append(card, '\n')}}
		f.said = elsewhere(string(card))
	}
	d.keep("/seat/card", f)
	return "/seat/card"
}

// passphrase changes what opens the folder. Nothing of what was typed is kept.
func (d *Desk) passphrase(ctx context.Context, r *http.Request) string {
	d.settleSeat()
	typed := make(map[string][]byte)
	for _, field := range []string{"old", "fresh", "again"} {
		typed[field] = []byte(r.PostForm.Get(field))
		defer clear(typed[field])
	}
	f := &draft{said: Say("The folder opens with the new passphrase, and with no other. Copies of it that were made before open with the old one still: destroy them.")}
	if err := d.Custodian.Passphrase(ctx, typed["old"], typed["fresh"], typed["again"]); err != nil {
		if errors.Is(err, ErrLocked) {
			err = ErrTypeAgain
		}
		f = &draft{problem: d.problemOf(err)}
		f.problem.Fields = seatFaults(f.problem)
	}
	d.keep("/seat/passphrase", f)
	return "/seat/passphrase"
}

// madeFile hands over a file that a form made, for no browser to show.
func (d *Desk) madeFile(w http.ResponseWriter, r *http.Request, form string) {
	f, ok := d.draft(form).files[made]
	if !ok {
		d.missing(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	w.Write(f.Content) //nolint:errcheck // to somebody who left
}
