package desk

import (
	"context"
	"net/http"
	"regexp"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// Officer is what a clerk of a court, a prosecutor and the police do at the desk: the functions of
// `escrow warrant` and `escrow opening`. They are called by several goroutines, and what changes
// something is [ErrLocked] while the desk is locked. What takes confirm is done once that agrees
// to what it shows, word for word, and its error is returned.
type Officer struct {
	ID, Name string   // of the authority, as the rules have it, or of who has no key of one
	Signs    bool     // there is a key of an authority
	Folders  []string // of evidence, as the desk was started with them
	Secret   string   // what is typed to unlock the key, in a word or two; "": nothing
	Unlocks  Text     // where the key is, and what opens it, for a person
	Unlock   func(ctx context.Context, secret []byte) error
	Lock     func() // drops the keys, and what was read with them
	Cases    Cases
	Openings Openings

	Orders  func() ([]Order, error)
	Order   func(id string) (*Order, error)
	Posts   func(id string, from, most int) (Posts, error) // from 0
	Exhibit func(id, sha256 string) (x Exhibit, content []byte, err error)
	// Answer takes the answers to a step, keeps those that are right, and says what is wrong with
	// others, by the names of the questions. next is the step that is asked then; "": none is left.
	Answer  func(id, step string, answers map[string]string, files map[string][]byte) (next string, wrong map[string]string, err error)
	Anew    func(id string) error                      // has the answers be about the evidence that is there now
	Remake  func(id string) (said string, err error)   // makes the draft of the answers, in place of one that was changed by hand
	Check   func(ctx context.Context, id string) error // the order has the verdict then
	Sign    func(ctx context.Context, id string, confirm func(shown string) error) (said string, err error)
	Take    func(ctx context.Context, id string, signed []byte) (said string, err error) // what somebody else signed
	PutBack func(id string) (said string, err error)                                     // puts aside what was taken, while it is not filed
	File    func(ctx context.Context, id string) (said string, err error)
}

// ErrNoOrder is of an order that is not on this desk.
var ErrNoOrder = refusal.New(refusal.NotFound, "desk.no_order",
	"there is no such order here: nothing was done; its folder was moved, or the desk was started without it (--evidence)")

// Order is an order in the making, from a folder of evidence.
type Order struct {
	ID           string
	Folder, Name string // of the evidence
	Number       int    // of those about this evidence, from 1
	Draft, File  string // names of the draft and of the signed warrant

	Begun, Drafted, Signed bool

	OtherFile string // a file that has the name of its signed one, or of its files, and is not of it

	Astray bool // its evidence is in no folder of this desk; Folder is where it was, if that is known

	Case, Said string // once it is filed: the case, and where it stood then

	// Of one that is shown alone.
	Evidence []string // what the evidence is about, in lines
	Steps    []Step   // up to the first that is left
	Other    bool     // what was answered is about other evidence than is there now
	Byhand   bool     // the draft was not made by questions
	Edited   bool     // it was, and was changed by hand since: what it says counts
	Says     []Said   // what it says
	Verdict  *Verdict // nil: it was not checked since it changed
	SignedBy []string // that have to sign it too, before it is filed
	Next     []string // what comes of it, once it is filed
}

// Complete reports whether no question is left.
func (o *Order) Complete() bool {
	return o.Byhand || len(o.Steps) > 0 && o.Steps[len(o.Steps)-1].Done
}

// Left is the first step that is left; "": none is.
func (o *Order) Left() string {
	if n := len(o.Steps); n > 0 && !o.Steps[n-1].Done {
		return o.Steps[n-1].Name
	}
	return ""
}

// Said is one thing that an order says.
type Said struct{ Name, Text string }

// Step is questions that are asked on one page.
type Step struct {
	Name      string // of its first question
	Done      bool   // all of it is answered, rightly
	Questions []Question
}

// Question is one question of a step, with what was answered.
type Question struct {
	Name, Text, Example string
	About               []string
	Choices             []Choice
	Several             bool // of the choices
	Most                int  // characters of a text; 0: it is none
	File                bool // an answer names a file, or is chosen as one
	Answer              string
	Given               bool
	Wrong               string // what is wrong with the answer
}

// Choice is one of several answers.
type Choice struct {
	ID, Title string
	Chosen    bool
}

// Verdict is what a check found.
type Verdict struct {
	At                          time.Time
	Faults                      []Fault
	Custodians, NoticeDays      int
	SignedBy, Notes, NotChecked []string
	SignsFor                    string // the only authority that the desk signs for, where the order is of another
}

// Fault is one thing for which filing would refuse an order. Step is the question that it is
// about; "": none.
type Fault struct{ Place, Text, Step string }

// Posts are some pieces of evidence.
type Posts struct {
	All   int
	Posts []Post
}

// Post is a piece of evidence. Nothing of it is verified.
type Post struct {
	Number                         int
	SHA256, Platform, PenName, URL string
	At                             time.Time
	Proof                          bool // of the author's key; else it is the platform's word alone
	Suggests                       []string
	Exhibits                       []Exhibit
}

// Exhibit is something that was published.
type Exhibit struct {
	Type, SHA256, Text string
	Length             int64
	Missing            string // why it cannot be shown
	Cut                bool   // the text goes on
}

var anOrderForm = regexp.MustCompile(`^/order/[0-9a-f]{16}/(ask/[a-z_]+|sign|signed)$`)

// officerRoutes are what an officer's desk answers.
func (d *Desk) officerRoutes() {
	o := d.Officer
	d.owner = owner{id: o.ID, name: o.Name, secret: o.Secret, unlocks: o.Unlocks, unlock: o.Unlock, lock: o.Lock, form: isOfficerForm,
		parts: []part{{"orders", "/", Say("Orders")}, {"cases", "/cases", Say("My cases")}, {"openings", "/openings", Say("Openings")}}}
	d.orderRoutes()
	d.caseRoutes()
	d.openingRoutes()
}

// isOfficerForm reports whether an officer's desk has a form of that path.
func isOfficerForm(path string) bool {
	return anOrderForm.MatchString(path) || isFollowUpForm(path) || isOpeningForm(path)
}

// orderRoutes are those of the guided order.
func (d *Desk) orderRoutes() {
	ofOrder := func(r *http.Request) string { return "/order/" + r.PathValue("order") }
	under := func(name string) pathOf { return func(r *http.Request) string { return ofOrder(r) + name } }
	ofStep := func(r *http.Request) string { return ofOrder(r) + "/ask/" + r.PathValue("step") }
	d.page("/{$}", d.showOrders)
	d.page("/order/{order}", d.showOrder)
	d.page("/order/{order}/evidence", d.showPosts)
	d.page("/order/{order}/evidence/{sha256}", d.showPublished)
	d.page("/order/{order}/evidence/{sha256}/picture.png", d.pictureOfOrder)
	d.page("/order/{order}/ask/{step}", d.showStep)
	d.page("/order/{order}/sign", d.showSign)
	d.page("/order/{order}/signed", func(w http.ResponseWriter, r *http.Request) { d.redirect(w, r, ofOrder(r)+"#signed") })
	d.fill("/order/{order}/ask/{step}", ofStep, d.answerStep)
	d.act("/order/{order}/anew", ofOrder, d.anewOrder)
	d.act("/order/{order}/remake", ofOrder, d.remakeOrder)
	d.act("/order/{order}/check", ofOrder, d.checkOrder)
	d.act("/order/{order}/sign", ofOrder, d.prepareOrder)
	d.signed("/order/{order}/sign/sign", under("/sign"), d.signOrder)
	d.fill("/order/{order}/signed", under("/signed"), d.takeSigned)
	d.act("/order/{order}/back", ofOrder, d.putBackSigned)
	d.act("/order/{order}/file", ofOrder, d.fileOrder)
	d.act("/order/{order}/ask/{step}/leave", fixed("/"), func(_ context.Context, r *http.Request) string {
		d.drop(ofStep(r))
		return "/"
	})
}

// StepOf is the step in which a question is asked; "": in none.
func (o *Order) StepOf(question string) string {
	for _, s := range o.Steps {
		for _, q := range s.Questions {
			if q.Name == question {
				return s.Name
			}
		}
	}
	return ""
}
