package desk

import (
	"context"
	"net/http"
)

// routes are all that the desk answers, below its prefix.
func (d *Desk) routes() {
	d.mux = http.NewServeMux()
	d.mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Write(style) //nolint:errcheck // to somebody who left
	})
	d.mux.HandleFunc("/", d.missing)
	d.mux.HandleFunc("GET /language/{tag}", d.speak)
	d.mux.HandleFunc("POST /language/{tag}", d.speak)
	d.always("/unlock", d.unlock)
	d.always("/lock", func(_ context.Context, r *http.Request) string {
		d.typing(r)
		d.relock()
		return "/"
	})
	if d.Officer != nil {
		d.officerRoutes()
	} else {
		d.custodianRoutes()
	}
}

// pathOf is the path of a form, or of the page that it is on.
type pathOf func(*http.Request) string

// deed does what a form says, and returns the path that it leads to.
type deed func(context.Context, *http.Request) (to string)

// fixed is a path that is the same for every request.
func fixed(path string) pathOf { return func(*http.Request) string { return path } }

// page serves a page to whom the desk is unlocked.
func (d *Desk) page(pattern string, h http.HandlerFunc) { d.mux.HandleFunc("GET "+pattern, d.open(h)) }

// act serves a form that holds nothing that was typed.
func (d *Desk) act(pattern string, back pathOf, do deed) {
	d.press(pattern, func(r *http.Request) string {
		d.note(ErrOldButton)
		return back(r)
	}, do)
}

// press serves a form that acts once; old says what becomes of one that is not known any more.
func (d *Desk) press(pattern string, old pathOf, do deed) {
	d.mux.HandleFunc("POST "+pattern, d.once(old, do, false))
}

// always serves a form of which every press acts: to do it twice is to do it once. What is typed into
// it is kept nowhere.
func (d *Desk) always(pattern string, do deed) {
	once := d.once(fixed("/"), do, true)
	d.mux.HandleFunc("POST "+pattern, func(w http.ResponseWriter, r *http.Request) {
		r.PostForm.Set("press", d.newPress())
		once(w, r)
	})
}

// fill serves a form whose draft has the path of the form. What is typed into it is kept even if
// it is of a page that is not known any more.
func (d *Desk) fill(pattern string, form pathOf, do deed) {
	d.press(pattern, func(r *http.Request) string {
		path := form(r)
		if d.owner.form(path) {
			if len(said(path, r)) > 0 {
				d.typed(path, r) //nolint:errcheck // what can be kept is
			}
			d.refuse(path, ErrOldPage)
		}
		return path
	}, do)
}

// signed serves a form that agrees to what the draft of another shows.
func (d *Desk) signed(pattern string, form pathOf, do deed) {
	d.press(pattern, func(r *http.Request) string {
		path := form(r)
		if d.owner.form(path) {
			d.refuse(path, ErrOldPage)
		}
		return path
	}, do)
}

// note has the page that is shown next say why the last press did nothing; nil: it says it where it
// was pressed.
func (d *Desk) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.notice = nil; err != nil {
		d.notice = d.problemOf(err)
	}
}

// refuse notes why the last press of a form did nothing.
func (d *Desk) refuse(form string, err error) {
	d.note(nil)
	f := d.draft(form)
	f.problem, f.shown = d.problemOf(err), ""
	d.keep(form, f)
}

// missing says that there is no such page.
func (d *Desk) missing(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	d.render(w, r, "missing", page{Title: Say("There is no such page"), Data: d.Officer != nil})
}
