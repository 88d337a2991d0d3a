package desk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"path"
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
func (d *Desk) begun() bool { return d.Begun() > 0 }

// Begun is into how many forms something was typed, or a file chosen, that is not done yet. It is
// gone when the desk ends.
func (d *Desk) Begun() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.drafts {
		_, is := f.files[made]
		if typedIn(f.values) || len(f.files) > 0 && !is {
			n++
		}
	}
	return n
}

// typed takes what a request says into the draft of the form that was pressed, and what it says of
// others on the page into theirs. A file that was chosen before stays until another one is. The
// error is of a file of this form that was too long; the draft says it.
func (d *Desk) typed(form string, r *http.Request) (*draft, error) {
	said := said(form, r)
	now := said[form]
	if now == nil {
		now = &draft{values: url.Values{}, files: map[string]upload{}}
	}
	now.alsoOf(d.draft(form))
	d.keep(form, now)
	delete(said, form)
	for other, f := range said {
		d.beside(other, f)
	}
	for _, field := range sentOf(r).long {
		if to, field := belongs(form, field); to == form {
			err := tooLong{strings.TrimSuffix(field, fileField)}
			now.problem = d.problemOf(err)
			d.keep(form, now)
			return now, err
		}
	}
	return now, nil
}

// alsoOf takes the files that were chosen before, where no other one was.
func (f *draft) alsoOf(before *draft) {
	for name, file := range before.files {
		if _, chosen := f.files[name]; !chosen {
			f.files[name] = file
		}
	}
}

// typing takes what stands in the forms of a page that was left by a button which is of none of
// them: what was said of the last press of each stays.
func (d *Desk) typing(r *http.Request) {
	form := r.URL.Query().Get("form")
	if !d.owner.form(form) {
		return
	}
	for to, f := range said(form, r) {
		d.beside(to, f)
	}
}

// beside keeps what was typed into a form that was not pressed.
func (d *Desk) beside(form string, f *draft) {
	if !d.owner.form(form) {
		return
	}
	now := d.draft(form)
	if len(f.files) == 0 && filled(now.values).Encode() == filled(f.values).Encode() {
		return
	}
	f.alsoOf(now)
	f.values, f.problem, f.said = filled(f.values), now.problem, now.said // what was shown was of what was typed before
	d.keep(form, f)
}

// filled are the values that are not empty.
func filled(values url.Values) url.Values {
	some := url.Values{}
	for name, all := range values {
		if slices.ContainsFunc(all, func(one string) bool { return one != "" }) {
			some[name] = all
		}
	}
	return some
}

// belongs is the form that a field of a page is of, and what it is called there: "ask:text" is the
// text of the form "ask" beside the one that was pressed.
func belongs(form, field string) (of, name string) {
	if beside, name, ok := strings.Cut(field, ":"); ok {
		return path.Join(path.Dir(form), beside), name
	}
	return form, field
}

// said is what a request says, by the forms that it is typed into.
func said(form string, r *http.Request) map[string]*draft {
	all := make(map[string]*draft)
	of := func(field string) (*draft, string) {
		to, name := belongs(form, field)
		if all[to] == nil {
			all[to] = &draft{values: url.Values{}, files: map[string]upload{}}
		}
		return all[to], name
	}
	for field, values := range r.PostForm {
		if field != "press" && field != "agreed" {
			f, name := of(field)
			f.values[name] = values
		}
	}
	for field, file := range sentOf(r).files {
		f, name := of(field)
		f.files[name] = file
	}
	return all
}

// sent is what a form sends beside its values.
type sent struct {
	files map[string]upload // that were chosen, by their fields
	long  []string          // the fields of those that were too long, and are not kept
}

type sentKey struct{}

// sentOf is what the form of a request sent.
func sentOf(r *http.Request) sent {
	s, _ := r.Context().Value(sentKey{}).(sent)
	return s
}

// digest names all that a form says.
func digest(r *http.Request) string {
	s := sentOf(r)
	return (&draft{values: r.PostForm, files: s.files}).agreement(r.URL.Path + " " + strings.Join(s.long, " "))
}

// tooLong is of a file that is not kept, in that field.
type tooLong struct{ field string }

func (tooLong) Error() string { return ErrTooLong.Error() }

func (tooLong) Unwrap() error { return ErrTooLong }

// What a form may send, in bytes: MaxBody is kept of it, which is a bundle with the transcript of its
// ceremony, and as much as maxSent is read, so that what stands behind a file that is too long is not
// lost with it.
const (
	MaxBody = 33 << 20
	maxSent = 4 << 30
)

// read reads a form, whose files the request that it returns has.
func read(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "multipart/form-data" {
		r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
		return r, r.ParseForm()
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxSent)
	parts, err := r.MultipartReader()
	if err != nil {
		return r, err
	}
	r.PostForm = url.Values{}
	s, left := sent{files: map[string]upload{}}, MaxBody
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return r.WithContext(context.WithValue(r.Context(), sentKey{}, s)), nil
		}
		if err != nil {
			return r, err
		}
		content, err := io.ReadAll(io.LimitReader(part, int64(left)+1))
		if err != nil {
			return r, err
		}
		field, file := part.FormName(), part.FileName()
		_, about, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if _, chooses := about["filename"]; chooses && file == "" {
			continue // and nothing was chosen
		}
		switch rest := left - len(content) - len(field); {
		case rest < 0 && file == "":
			return r, ErrTooLong
		case rest < 0:
			if _, err := io.Copy(io.Discard, part); err != nil {
				return r, err
			}
			s.long = append(s.long, field)
		case file == "":
			left = rest
			r.PostForm.Add(field, string(content))
		case len(content) > 0:
			left = rest
			s.files[field] = upload{file, content}
		}
	}
}

// press is a form that was shown, and where the first press of it led.
type press struct {
	begun bool
	said  string // the digest of what was pressed first; "": nothing else is that
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
// path that it led to. What is not of a shown form leads to old, and so does what says something
// else than the first press, once that is done. What is secret is not even kept as a digest.
func (d *Desk) once(old func(r *http.Request) string, act func(ctx context.Context, r *http.Request) (to string), secret bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		says := digest(r)
		d.mu.Lock()
		p := d.presses[r.PostForm.Get("press")]
		first := p != nil && !p.begun
		if first {
			p.begun, p.said, d.notice = true, says, nil
			if !secret {
				d.missed = !d.unlocked
			}
			d.running++
			d.working.Add(1)
		}
		again := p != nil && p.said == says
		d.mu.Unlock()
		if !again {
			if p != nil {
				<-p.done // which would take what is kept now for what it was about
			}
			d.redirect(w, r, old(r))
			return
		}
		if first {
			go func() {
				defer d.working.Done()
				defer d.ran()
				defer d.did(p, secret)
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

// did has whoever waits for a press go where it led.
func (d *Desk) did(p *press, secret bool) {
	if secret {
		d.mu.Lock()
		p.said = ""
		d.mu.Unlock()
	}
	close(p.done)
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
	d.mu.Lock()
	missed := d.missed
	d.mu.Unlock()
	d.render(w, r, "locked", page{Title: Say("Unlock the desk"), Problem: f.problem, Said: f.said, To: to, Away: true, Data: unlocking{d.owner.secret, d.owner.unlocks, d.begun(), missed}})
}

// unlocking is what a page says of what opens the desk.
type unlocking struct {
	Secret string
	Text   Text
	Begun  bool // something that was typed is kept
	Missed bool // the last press came when the desk was locked
}

// unlock opens the keys with the passphrase that was typed, which is kept nowhere.
func (d *Desk) unlock(ctx context.Context, r *http.Request) string {
	pass, to := []byte(r.PostForm.Get("passphrase")), r.PostForm.Get("to")
	defer clear(pass)
	d.mu.Lock()
	held, was := d.held, d.unlocked
	d.mu.Unlock()
	if err := d.owner.unlock(ctx, pass); err != nil {
		d.relock() // it may have been unlocked, in another tab
		p, said := d.problemOf(err), Text{}
		if was {
			said = Say("The desk was open in another tab: it is locked now. What ran there was broken off.")
		}
		if d.owner.secret != "" {
			p.Fields = []fault{faultAt("passphrase", p.Text)}
		}
		d.keep("unlock", &draft{problem: p, said: said})
		return d.place(to)
	}
	d.mu.Lock()
	if held.Err() == nil {
		d.unlocked, d.missed = true, false
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
	if long := (tooLong{}); errors.As(err, &long) {
		p.Fields = []fault{faultAt(long.field, p.Text)}
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
