package desk

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/verifier/document"
)

//go:embed pages
var files embed.FS

var style, _ = files.ReadFile("pages/style.css")

// page is what every page has.
type page struct {
	Title   Text
	Problem *problem
	Said    Text   // what was done
	At      string // the part of the desk that it is in
	To      string // where unlocking leads
	Away    bool   // it has no ways to other pages
	Enters  bool   // it leads to the desk by itself
	Data    any

	Base     string // the path of the desk
	ID, Name string // whose desk it is
	Parts    []part
	Others   []other // languages that it is shown in as well
	Same     string  // where a form leads back to the page
	desk     *Desk

	// Typing is the path of the form "typing", whose text the lock and the change of the language
	// take with them; "": nothing is typed on the page. Several: it is several forms in one, whose
	// buttons say which of them is pressed.
	Typing  string
	Several bool
}

// Now is the time of the page.
func (p page) Now() time.Time { return p.desk.Now() }

// Press is the number of a form of the page.
func (p page) Press() string { return p.desk.newPress() }

// functions are what templates are made with in each language: see [speaker.functions].
var functions = template.FuncMap{
	"visible": document.Visible, "printable": document.Printable,
	"nexts":     func(p page, list []Next) nexts { return nexts{p.Base, list, p} },
	"newpress":  page.Press,
	"leave":     func(base, to, press string) leaving { return leaving{base, to, press} },
	"partname":  func(path string) string { return cmp.Or(partNames[path], partNames[""]) },
	"codeOf":    func(code string) string { return codeWords[code] },
	"unchecked": func() []string { return custodian.Unchecked[:] },
	"add":       func(a, b int) int { return a + b },
	"trim":      strings.TrimSpace,
	"due":       due,
	"day":       func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"bdi": func(name any) template.HTML {
		return template.HTML("<bdi>" + template.HTMLEscapeString(document.Printable(fmt.Sprint(name))) + "</bdi>") //nolint:gosec // it is escaped
	},
	"code": func(name any) template.HTML {
		return template.HTML("<code>" + template.HTMLEscapeString(document.Printable(fmt.Sprint(name))) + "</code>") //nolint:gosec // it is escaped
	},
	"stepName":  func(step string) string { return stepWords[step][0] },
	"stepWhy":   func(step string) string { return stepWords[step][1] },
	"stepfield": func(form followUpForm, id string) followUpField { return followUpField{form, id} },
	"field":     func(form deedForm, id, name string, label any) input { return input{form, id, name, label} },
	"file": func(id string, label any, kept map[string]upload, p *problem) fileInput {
		return fileInput{id, id, label, kept[id], p.At(id)}
	},
	"fileof": func(form deedForm, id string, label any, kept map[string]upload) fileInput {
		return fileInput{id, form.Kind + ":" + id, label, kept[id], form.Problem.At(id)}
	},
}

// nexts is a list of what to do next.
type nexts struct {
	Base string
	List []Next
	Page page
}

// leaving throws away what was typed on a page.
type leaving struct{ Base, To, Press string }

// What is what is thrown away.
func (l leaving) What() Text {
	if strings.HasPrefix(l.To, "/order/") {
		return Say("what you answered in an order")
	}
	if id, ok := strings.CutPrefix(l.To, "/case/"); ok {
		id, _, _ = strings.Cut(id, "/")
		return Say("what you typed about case %s", id)
	}
	return Say(map[string]string{"/rules": "the bundle that you chose", "/seat": "what you typed at your seat", "/ceremony": "the plan that you chose, with its hash", "/seat/receive": "the files that you chose"}[l.To])
}

// codeWords say why there is no answer about a target, by the code that the registrar names.
var codeWords = map[string]string{
	"warrant.data_erased": "The person deleted what was sealed before this order: nothing is left to open, and nothing of it is answered.",
	"warrant.interrupted": "Part of this case was lost with the registrar's database: nothing more can be done with it, and the court has to order it anew.",
}

// partNames are the words of the links that lead to a part of the desk.
var partNames = map[string]string{"": "Go on with it", "/rules": "Go to the rules", "/ceremony": "Go to the key", "/witness": "Look at the witness", "/seat": "Go to your seat"}

// onThePage is how a time by UTC stands in a text.
const onThePage = "2006-01-02 15:04 UTC"

var aTime = regexp.MustCompile(`\b\d{4}-\d\d-\d\d \d\d:\d\d UTC\b`)

// inZone has both say each time of a text with what clocks in a time zone show, where that is
// something else.
func inZone(text string, zone *time.Location, both func(there, here string) string) string {
	return aTime.ReplaceAllStringFunc(text, func(s string) string {
		t, err := time.Parse(onThePage, s)
		if err != nil {
			return s
		}
		here := t.In(zone)
		if _, offset := here.Zone(); offset == 0 {
			return s
		}
		form := "15:04 MST"
		if here.Format(time.DateOnly) != t.Format(time.DateOnly) {
			form = "2006-01-02 15:04 MST"
		}
		return both(s, here.Format(form))
	})
}

// input is one field of a form.
type input struct {
	Form     deedForm
	ID, Name string
	Label    any // [template.HTML] of ours, or a string
}

// fileInput is a field for a file, with the one that was chosen before.
type fileInput struct {
	ID, Name string
	Label    any
	Kept     upload
	Wrong    *Text
}

// render writes a page. Who reads it sees what is in the page and nothing else: it has no script.
func (d *Desk) render(w http.ResponseWriter, r *http.Request, name string, p page) {
	l := d.speaks(r)
	p.Base, p.ID, p.Name, p.Parts, p.desk = d.prefix, d.owner.id, d.owner.name, d.owner.parts, d
	p.Others, p.Same = d.others(l, r, p.Typing)
	d.mu.Lock()
	if d.notice != nil {
		p.Problem, d.notice = d.notice, nil
	}
	d.mu.Unlock()
	var out bytes.Buffer
	if err := d.pages[l.Tag].ExecuteTemplate(&out, name, p); err != nil {
		d.deny(w, r, http.StatusInternalServerError, Say("This page cannot be shown. What you pressed before may have been done: look at the case again. Tell who gave you the program."))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(out.Bytes()) //nolint:errcheck // to somebody who left
}
