package desk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// draft is what was typed into a form and not done yet, with what became of the last press. It
// is in the memory of this process alone.
type draft struct {
	values  url.Values
	files   map[string]upload // by the name of their field
	problem *problem          // why the last press did nothing; nil: it did, or there was none
	shown   string            // what is signed if it is confirmed; "": nothing waits for that
	said    Text              // what was done, once it was
}

// upload is a file that somebody chose.
type upload struct {
	Name    string
	Content []byte
}

// problem is what a page says at its top, and where.
type problem struct {
	Text
	Code, Cause string
	Fields      []fault
}

// Only is the field that the whole problem is about; "": none.
func (p *problem) Only() string {
	if len(p.Fields) == 1 && p.Fields[0].Text.English == p.English {
		return p.Fields[0].Field
	}
	return ""
}

// Others are what is wrong in fields, beside what the page says anyway.
func (p *problem) Others() []fault {
	if p.Only() != "" {
		return nil
	}
	return p.Fields
}

// fault is what is wrong in one field.
type fault struct {
	Field string
	Text  Text
}

// faultAt is what is wrong in a field.
func faultAt(field string, text Text) fault { return fault{field, text} }

// At is what is wrong in a field; nil: nothing that is known.
func (p *problem) At(field string) *Text {
	if p == nil {
		return nil
	}
	for _, f := range p.Fields {
		if f.Field == field {
			return &f.Text
		}
	}
	return nil
}

// maxDrafts is how many forms with something typed in them are kept. A custodian has a few cases
// open at a time.
const maxDrafts = 1024

// draft returns what is kept of a form.
func (d *Desk) draft(form string) *draft {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.drafts[form]
	if f == nil {
		f = &draft{values: url.Values{}}
	}
	copied := *f
	return &copied
}

// keyFile is the field of the file that may hold a secret key, which no draft keeps.
const keyFile = "delivery_key" + fileField

// keep keeps what is known of a form in place of what was, without a file that may be a secret key.
func (d *Desk) keep(form string, f *draft) {
	if _, chosen := f.files[keyFile]; chosen {
		without := *f
		without.files = maps.Clone(f.files)
		delete(without.files, keyFile)
		f = &without
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(f.values) == 0 && len(f.files) == 0 && f.problem == nil && f.shown == "" && f.said.English == "" {
		delete(d.drafts, form)
		return
	}
	if len(d.drafts) >= maxDrafts && d.drafts[form] == nil {
		for other := range d.drafts {
			delete(d.drafts, other)
			break
		}
	}
	kept := *f
	d.drafts[form] = &kept
}

// drop throws away what was typed into a form, and into those below it, whatever became of it.
func (d *Desk) drop(form string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path := range d.drafts {
		if path == form || strings.HasPrefix(path, form+"/") {
			delete(d.drafts, path)
		}
	}
}

// leave throws away what was typed into the forms of a page.
func (d *Desk) leave(page string) deed {
	return func(context.Context, *http.Request) string {
		d.drop(page)
		return page
	}
}

// begun reports whether something was typed or chosen at the desk and is not done yet.
func (d *Desk) begun() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.drafts {
		if typedIn(f.values) || len(f.files) > 0 {
			return true
		}
	}
	return false
}

// typed takes what a request says into the draft of a form. A file that was chosen before stays
// until another one is.
func (d *Desk) typed(form string, r *http.Request) (*draft, error) {
	f := d.draft(form)
	files := map[string]upload{}
	for name, before := range f.files {
		files[name] = before
	}
	if r.MultipartForm != nil {
		for name, chosen := range r.MultipartForm.File {
			if len(chosen) == 0 || chosen[0].Size == 0 {
				continue
			}
			file, err := chosen[0].Open()
			if err != nil {
				return f, err
			}
			content, err := io.ReadAll(file)
			if err = errors.Join(err, file.Close()); err != nil {
				return f, err
			}
			files[name] = upload{chosen[0].Filename, content}
		}
	}
	now := &draft{values: url.Values{}, files: files}
	for name, values := range r.PostForm {
		if name != "press" && name != "agreed" {
			now.values[name] = values
		}
	}
	d.keep(form, now)
	return now, nil
}

// press is a form that was shown, and where the first press of it led.
type press struct {
	begun bool
	done  chan struct{}
	to    string
}

// maxPresses is how many forms that were shown are known.
const maxPresses = 4096

// newPress is the number of a form that is shown now.
func (d *Desk) newPress() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.order) == maxPresses {
		delete(d.presses, d.order[0])
		d.order = d.order[1:]
	}
	number := secret()
	d.presses[number], d.order = &press{done: make(chan struct{})}, append(d.order, number)
	return number
}

// patience bounds what one press does: a case with thousands of exhibits is read in minutes.
const patience = 30 * time.Minute

// once has each form that was shown act once, however often it is sent and whether or not its
// browser waits for the answer: a browser breaks off the first of two presses. act returns the
// path that it led to, and one that was not of a shown form leads back to old.
func (d *Desk) once(old func(r *http.Request) string, act func(ctx context.Context, r *http.Request) (to string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		p := d.presses[r.PostForm.Get("press")]
		first := p != nil && !p.begun
		if first {
			p.begun = true
			d.running++
			d.working.Add(1)
		}
		d.mu.Unlock()
		if p == nil {
			d.redirect(w, r, old(r))
			return
		}
		if first {
			go func() {
				defer d.working.Done()
				defer d.ran()
				defer close(p.done)
				p.to = "/" // whatever happens
				ctx, done := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
				defer done()
				ctx, over := d.untilLocked(ctx)
				defer over()
				defer context.AfterFunc(d.ended, done)()
				p.to = act(ctx, r)
			}()
		}
		select {
		case <-p.done:
			d.redirect(w, r, p.to)
		case <-r.Context().Done():
		}
	}
}

// ran ends what once began: the time without use begins then.
func (d *Desk) ran() {
	d.mu.Lock()
	d.running--
	d.mu.Unlock()
	d.used()
}

// redirect leads to a path of the desk, as the answer to a form.
func (d *Desk) redirect(w http.ResponseWriter, r *http.Request, to string) {
	http.Redirect(w, r, d.prefix+to, http.StatusSeeOther)
}

// open serves a page to whom the desk is unlocked, and others the form that unlocks it, which
// leads back there.
func (d *Desk) open(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		unlocked := d.unlocked
		d.mu.Unlock()
		if unlocked {
			ctx, done := d.untilLocked(r.Context())
			defer done()
			h(w, r.WithContext(ctx))
			return
		}
		d.locked(w, r, strings.TrimPrefix(r.URL.RequestURI(), d.prefix))
	}
}

// locked shows the form that unlocks the desk, and leads to a path of it then.
func (d *Desk) locked(w http.ResponseWriter, r *http.Request, to string) {
	f := d.draft("unlock")
	d.render(w, r, "locked", page{Title: Say("Unlock the desk"), Problem: f.problem, To: to, Away: true, Data: unlocking{d.owner.secret, d.owner.unlocks, d.begun()}})
}

// unlocking is what a page says of what opens the desk.
type unlocking struct {
	Secret string
	Text   Text
	Begun  bool // something that was typed is kept
}

// unlock opens the keys with the passphrase that was typed, which is kept nowhere.
func (d *Desk) unlock(ctx context.Context, r *http.Request) string {
	pass, to := []byte(r.PostForm.Get("passphrase")), r.PostForm.Get("to")
	defer clear(pass)
	d.mu.Lock()
	held := d.held
	d.mu.Unlock()
	if err := d.owner.unlock(ctx, pass); err != nil {
		d.relock() // it may have been unlocked, in another tab
		p := d.problemOf(err)
		if d.owner.secret != "" {
			p.Fields = []fault{faultAt("passphrase", p.Text)}
		}
		d.keep("unlock", &draft{problem: p})
		return d.place(to)
	}
	d.mu.Lock()
	if held.Err() == nil {
		d.unlocked = true
		delete(d.drafts, "unlock")
	}
	d.mu.Unlock()
	if held.Err() != nil { // it was locked meanwhile
		d.owner.lock()
		d.keep("unlock", &draft{problem: d.problemOf(ErrLocked)})
	}
	return d.place(to)
}

// place is a path of the desk that a form named, or the first page.
func (d *Desk) place(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(u.Path, "\\") {
		return "/"
	}
	return u.RequestURI()
}

// problemOf is why something was not done.
func (d *Desk) problemOf(err error) *problem {
	said := d.Explain(err)
	p := &problem{Text: Text{English: said.Title, sentence: true}, Code: said.Code, Cause: said.Cause}
	for _, rule := range said.Rules {
		p.Cause = strings.TrimSpace(p.Cause + " rule " + rule)
	}
	return p
}

// errShown is why something that was to be confirmed first was not done: it is shown now.
var errShown = errors.New("it is shown first")

// agreement names what was shown, with all that was typed and chosen for it, so that a form can
// say what it agrees to: what is signed is made of both, whether or not the page says it all.
func (f *draft) agreement(shown string) string {
	h := sha256.New()
	part := func(s string) { fmt.Fprintf(h, "%d %s", len(s), s) }
	part(shown)
	part(f.values.Encode()) // sorted
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		part(name)
		part(string(f.files[name].Content))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// confirmed does what a draft says in two presses: the first shows what will be signed, and the
// second, which says what it agrees to, signs that and nothing else. act returns what was done.
func (d *Desk) confirmed(form, agreed string, f *draft, act func(confirm func(shown string) error) (said string, err error)) (ok bool) {
	shown := ""
	said, err := act(func(what string) error {
		if agreed != "" && agreed == f.agreement(what) {
			return nil
		}
		shown = what
		return errShown
	})
	next := &draft{values: f.values, files: f.files}
	switch {
	case errors.Is(err, errShown):
		if next.shown = shown; agreed != "" {
			next.problem = d.problemOf(ErrChanged)
		}
	case err != nil:
		next.problem = d.problemOf(err)
	default:
		next = &draft{said: elsewhere(said)}
	}
	d.keep(form, next)
	return err == nil
}

// faulty keeps in a draft what is wrong in its fields, and reports whether anything is.
func (d *Desk) faulty(form string, f *draft, faults []fault) bool {
	if len(faults) == 0 {
		return false
	}
	f.problem = d.problemOf(ErrIncomplete)
	f.problem.Fields = slices.Clone(faults)
	d.keep(form, f)
	return true
}
