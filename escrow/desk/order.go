package desk

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/penname/penname/verifier/document"
)

// showOrders is the first page: what can be made, and where each order stands.
func (d *Desk) showOrders(w http.ResponseWriter, r *http.Request) {
	f := d.draft("/")
	p := page{Title: Say("Orders"), Problem: f.problem, At: "orders"}
	orders, err := d.Officer.Orders()
	if err != nil {
		p.Problem = d.problemOf(err)
	}
	p.Data = struct {
		Orders  []Order
		Folders []string
		Failed  bool
		Begun   []Next
	}{orders, d.Officer.Folders, err != nil, d.begunAt("/order/")}
	d.keep("/", &draft{})
	d.render(w, r, "orders", p)
}

// orderForms are the forms of an order that are on its own page.
var orderForms = []string{"", "/sign", "/signed"}

// showOrder is an order: the evidence, what was answered, the check, the signature, the case.
func (d *Desk) showOrder(w http.ResponseWriter, r *http.Request) {
	base := "/order/" + r.PathValue("order")
	o, err := d.Officer.Order(r.PathValue("order"))
	if o == nil {
		d.unshown(w, r, err)
		return
	}
	p := page{Title: titleOf(o), At: "orders"}
	var kept map[string]upload
	for _, form := range orderForms {
		f := d.draft(base + form)
		if p.Problem == nil {
			p.Problem = f.problem
		}
		if p.Said.English == "" {
			p.Said = f.said
		}
		if form == "/signed" {
			kept = f.files
		}
	}
	if err != nil {
		p.Problem = d.problemOf(err)
	}
	p.Data = struct {
		*Order
		Signs  bool
		Failed bool
		Files  map[string]upload
	}{o, d.Officer.Signs, err != nil, kept}
	d.render(w, r, "order", p)
}

// unshown says why an order, or something of it, cannot be shown; there is no such thing if err says
// so, or is nil.
func (d *Desk) unshown(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil || errors.Is(err, ErrNoOrder) {
		d.missing(w, r)
		return
	}
	d.render(w, r, "unshown", page{Title: Say("This cannot be shown now"), Problem: d.problemOf(err), At: "orders"})
}

func titleOf(o *Order) Text {
	if o.Number > 1 {
		return Say("Order from %s, number %d", o.Name, o.Number)
	}
	return Say("Order from %s", o.Name)
}

// settleOrder takes away what the page of an order says of presses before.
func (d *Desk) settleOrder(base string) {
	for _, form := range orderForms {
		if f := d.draft(base + form); f.problem != nil || f.said.English != "" || f.shown != "" {
			d.keep(base+form, &draft{values: f.values, files: f.files})
		}
	}
}

// doOrder does something with an order, and has its page say what came of it.
func (d *Desk) doOrder(r *http.Request, part string, do func(id string) (said string, err error)) string {
	id := r.PathValue("order")
	base := "/order/" + id
	if !anOrderForm.MatchString(base + "/sign") {
		return "/"
	}
	d.settleOrder(base)
	said, err := do(id)
	if err != nil {
		d.keep(base, &draft{problem: d.problemOf(err)})
		return base + "#problem"
	}
	d.keep(base, &draft{said: elsewhere(said)})
	return base + part
}

// checkOrder says everything for which filing would refuse an order.
func (d *Desk) checkOrder(ctx context.Context, r *http.Request) string {
	return d.doOrder(r, "#check", func(id string) (string, error) { return "", d.Officer.Check(ctx, id) })
}

// anewOrder has the answers be about the evidence that is there now.
func (d *Desk) anewOrder(_ context.Context, r *http.Request) string {
	return d.doOrder(r, "", func(id string) (string, error) { return "", d.Officer.Anew(id) })
}

// remakeOrder has the answers count, and not a draft that was changed by hand.
func (d *Desk) remakeOrder(_ context.Context, r *http.Request) string {
	return d.doOrder(r, "", d.Officer.Remake)
}

// fileOrder files a signed order.
func (d *Desk) fileOrder(ctx context.Context, r *http.Request) string {
	return d.doOrder(r, "", func(id string) (string, error) { return d.Officer.File(ctx, id) })
}

// putBackSigned puts aside what somebody else signed and is not meant.
func (d *Desk) putBackSigned(_ context.Context, r *http.Request) string {
	return d.doOrder(r, "", d.Officer.PutBack)
}

// takeSigned keeps what somebody else signed.
func (d *Desk) takeSigned(ctx context.Context, r *http.Request) string {
	form := "/order/" + r.PathValue("order") + "/signed"
	if !anOrderForm.MatchString(form) {
		return "/"
	}
	d.settleOrder(strings.TrimSuffix(form, "/signed"))
	f, err := d.typed(form, r)
	if err != nil {
		return form
	}
	content, faults := uploads(f, "signed")
	if d.faulty(form, f, faults) {
		return form
	}
	return d.doOrder(r, "", func(id string) (string, error) {
		said, err := d.Officer.Take(ctx, id, content)
		if err == nil {
			d.keep(form, &draft{})
		}
		return said, err
	})
}

// prepareOrder shows what would be signed.
func (d *Desk) prepareOrder(ctx context.Context, r *http.Request) string {
	return d.signedOrder(ctx, r, "")
}

// signOrder signs what was shown.
func (d *Desk) signOrder(ctx context.Context, r *http.Request) string {
	return d.signedOrder(ctx, r, r.PostForm.Get("agreed"))
}

func (d *Desk) signedOrder(ctx context.Context, r *http.Request, agreed string) string {
	id := r.PathValue("order")
	base, form := "/order/"+id, "/order/"+id+"/sign"
	if !anOrderForm.MatchString(form) {
		return "/"
	}
	d.settleOrder(base)
	done := d.confirmed(form, agreed, &draft{}, func(confirm func(string) error) (string, error) {
		return d.Officer.Sign(ctx, id, confirm)
	})
	switch now := d.draft(form); {
	case done:
		return base
	case now.shown != "":
		return form
	}
	return base + "#problem"
}

// showSign shows what will be signed, where something waits to be confirmed.
func (d *Desk) showSign(w http.ResponseWriter, r *http.Request) {
	base := "/order/" + r.PathValue("order")
	f := d.draft(base + "/sign")
	if f.shown == "" {
		d.redirect(w, r, base)
		return
	}
	d.render(w, r, "confirm", page{Title: Say("Sign this order?"), Problem: f.problem, At: "orders", Data: confirming{f.shown, f.agreement(f.shown), base + "/sign/sign", base}})
}

// asking is what a page shows of a step.
type asking struct {
	Order     *Order
	SignsFor  string // the only authority that the desk signs for; "": it signs nothing
	To, Back  string
	Number    int
	Questions []askedNow
}

// askedNow is a question of the page, with what stands in its field.
type askedNow struct {
	Question
	Value string
	Wrong *Text
	Kept  upload
}

// IsText reports whether it is answered in words of several lines.
func (q askedNow) IsText() bool { return q.Most > 200 }

// Short reports whether its choices are shown one below the other.
func (q askedNow) Short() bool { return q.Several || len(q.Choices) <= 8 }

func (d *Desk) showStep(w http.ResponseWriter, r *http.Request) {
	id, name := r.PathValue("order"), r.PathValue("step")
	base := "/order/" + id
	o, err := d.Officer.Order(id)
	if o == nil {
		d.unshown(w, r, err)
		return
	}
	form := base + "/ask/" + name
	f := d.draft(form)
	n := slices.IndexFunc(o.Steps, func(s Step) bool { return s.Name == name })
	if err != nil || n < 0 || o.Signed {
		if f.problem != nil && err == nil {
			d.keep(base, &draft{problem: f.problem})
		}
		d.redirect(w, r, base)
		return
	}
	data := asking{Order: o, To: form, Back: base, Number: n + 1}
	if d.Officer.Signs {
		data.SignsFor = d.Officer.Name
	}
	if n > 0 {
		data.Back = base + "/ask/" + o.Steps[n-1].Name
	}
	for _, q := range o.Steps[n].Questions {
		data.Questions = append(data.Questions, fillIn(q, f))
	}
	d.render(w, r, "step", page{Title: Say("Question %d", n+1), Problem: f.problem, At: "orders", Typing: form, Data: data})
}

// fileField is behind the name of a question whose answer is chosen as a file. A browser sends a
// field of that name even if nothing is chosen.
const fileField = ".file"

// fillIn is a question with what was typed and not taken, or else what was answered.
func fillIn(q Question, f *draft) askedNow {
	now := askedNow{q, q.Answer, nil, f.files[q.Name+fileField]}
	if q.Wrong != "" {
		now.Wrong = &Text{English: q.Wrong}
	}
	if len(f.values) > 0 {
		typed := f.values[q.Name]
		now.Value, now.Wrong = strings.Join(typed, ","), nil
		now.Choices = slices.Clone(q.Choices)
		for i, c := range now.Choices {
			now.Choices[i].Chosen = slices.Contains(typed, c.ID)
		}
	}
	if q.File && now.Value == "" && f.problem.At(q.Name) == nil {
		now.Value = q.Answer // of a file that was read, and is not kept
	}
	if now.Kept.Name != "" {
		now.Value = "" // what is typed there now counts instead
	}
	if wrong := f.problem.At(q.Name); wrong != nil {
		now.Wrong = wrong
	}
	return now
}

// answerStep takes what was typed into the questions of a step, and leads to the next one.
func (d *Desk) answerStep(_ context.Context, r *http.Request) string {
	id, step := r.PathValue("order"), r.PathValue("step")
	base := "/order/" + id
	form := base + "/ask/" + step
	if !anOrderForm.MatchString(form) {
		return "/"
	}
	d.settleOrder(base)
	f, err := d.typed(form, r)
	if err != nil {
		return form
	}
	if faults := d.twoAnswers(id, step, f, r); len(faults) > 0 {
		d.faulty(form, f, faults)
		return form + "#problem"
	}
	answers, files := make(map[string]string), make(map[string][]byte)
	for name, typed := range f.values {
		answers[name] = strings.Join(typed, ",")
	}
	for name, file := range f.files {
		question := strings.TrimSuffix(name, fileField)
		if strings.TrimSpace(answers[question]) != "" && !chosenNow(r, name) {
			delete(f.files, name) // it was chosen before, and something else is typed now
			continue
		}
		files[question] = file.Content
	}
	next, wrong, err := d.Officer.Answer(id, step, answers, files)
	if err != nil {
		f.problem = d.problemOf(err)
		d.keep(form, f)
		return form
	}
	if len(wrong) > 0 {
		return d.wrongAnswers(id, step, f, wrong)
	}
	d.keep(form, &draft{})
	if next == "" {
		return base
	}
	return base + "/ask/" + next
}

// twoAnswers are the questions to which a text was typed and a file chosen at once: neither is taken,
// and the text stays in its field. What stood in the field before is not typed.
func (d *Desk) twoAnswers(id, step string, f *draft, r *http.Request) (faults []fault) {
	o, err := d.Officer.Order(id)
	if o == nil || err != nil {
		return nil // whoever answers says why
	}
	for _, q := range o.questionsOf(step) {
		typed := strings.TrimSpace(f.values.Get(q.Name))
		if !q.File || !chosenNow(r, q.Name+fileField) || typed == "" || typed == strings.TrimSpace(q.Answer) {
			continue
		}
		delete(f.files, q.Name+fileField)
		faults = append(faults, faultAt(q.Name, Say("You typed an answer and chose a file, and neither was taken. Press again to answer with the text; or empty its field, and choose the file again.")))
	}
	return faults
}

// chosenNow reports whether a form comes with a file in that field.
func chosenNow(r *http.Request, field string) bool {
	_, chosen := sentOf(r).files[field]
	return chosen
}

// wrongAnswers keeps what was typed into a step, with what is wrong in it.
func (d *Desk) wrongAnswers(id, step string, f *draft, wrong map[string]string) string {
	form := "/order/" + id + "/ask/" + step
	o, err := d.Officer.Order(id)
	if o == nil {
		f.problem = d.problemOf(err)
		d.keep(form, f)
		return form + "#problem"
	}
	var faults []fault
	for _, q := range o.questionsOf(step) {
		if wrong[q.Name] != "" {
			faults = append(faults, faultAt(q.Name, elsewhere(sentence(labelOf(q.Text)+": "+wrong[q.Name]))))
		}
	}
	d.faulty(form, f, faults)
	return form + "#problem"
}

// labelOf is the beginning of a question, by which a person knows it.
func labelOf(text string) string {
	if end := strings.IndexAny(text, ":?,;("); end > 0 {
		return strings.TrimSpace(text[:end])
	}
	return text
}

// questionsOf are the questions of a step, in their order.
func (o *Order) questionsOf(step string) []Question {
	for _, s := range o.Steps {
		if s.Name == step {
			return s.Questions
		}
	}
	return nil
}

// postsOnPage is how many pieces of evidence a page shows, and maxGlance how much of each text, in
// bytes.
const (
	postsOnPage = 20
	maxGlance   = 4000
)

// cut is the beginning of a text, and whether it goes on.
func cut(text string, most int) (string, bool) {
	if len(text) <= most {
		return text, false
	}
	return strings.ToValidUTF8(text[:most], ""), true
}

func (d *Desk) showPosts(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil || from < 1 {
		from = 1
	}
	id := r.PathValue("order")
	p := page{Title: Say("The evidence"), At: "orders"}
	posts, err := d.Officer.Posts(id, from-1, postsOnPage)
	if err != nil {
		p.Problem = d.problemOf(err)
	}
	for _, post := range posts.Posts {
		for i, x := range post.Exhibits {
			post.Exhibits[i].Text, post.Exhibits[i].Cut = cut(x.Text, maxGlance)
		}
	}
	next := from + postsOnPage
	if next > posts.All {
		next = 0
	}
	p.Data = struct {
		Posts
		ID     string
		Next   int
		Failed bool
	}{posts, id, next, err != nil}
	d.render(w, r, "posts", p)
}

var aDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// published finds a piece of what was published, with what is in it.
func (d *Desk) published(r *http.Request) (x Exhibit, content []byte, ok bool, err error) {
	if !aDigest.MatchString(r.PathValue("sha256")) {
		return x, nil, false, nil
	}
	x, content, err = d.Officer.Exhibit(r.PathValue("order"), r.PathValue("sha256"))
	return x, content, x.SHA256 != "", err
}

func (d *Desk) showPublished(w http.ResponseWriter, r *http.Request) {
	x, content, ok, err := d.published(r)
	if !ok {
		d.unshown(w, r, err)
		return
	}
	p := page{Title: Say("What was published"), At: "orders"}
	var text textPart
	if err != nil {
		p.Problem = d.problemOf(err)
	} else if slices.Contains(drawn, x.Type) { // one that cannot be drawn is said here: a broken image says nothing
		if _, err = d.Picture(r.Context(), content); err != nil {
			p.Problem = d.problemOf(err)
		}
	} else if x.Type == "text/plain" {
		text.take(partsOf(document.Visible(string(content))), r.URL.Query().Get("part"))
	}
	p.Data = struct {
		Of      Exhibit
		Words   textPart
		ID      string
		Picture bool
		Leaves  Text // how long the page is on the screen
	}{x, text, r.PathValue("order"), err == nil && slices.Contains(drawn, x.Type), lasts(d.Idle)}
	d.leaves(w, "/order/"+r.PathValue("order")+"/evidence")
	d.render(w, r, "published", p)
}

func (d *Desk) pictureOfOrder(w http.ResponseWriter, r *http.Request) {
	x, content, ok, err := d.published(r)
	if !ok || !slices.Contains(drawn, x.Type) {
		d.missing(w, r)
		return
	}
	d.draw(w, r, content, err, "/order/"+r.PathValue("order")+"/evidence")
}
