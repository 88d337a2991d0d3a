package person

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// notice is one as its person sees it.
type notice struct {
	issue.Notice
	Name string `json:"-"` // of the platform

	Open   bool   `json:"-"` // an objection made now stops it
	Mailed bool   `json:"-"` // they are written to
	Stored bool   `json:"-"` // they have just objected
	Draft  string `json:"-"` // what they wrote and have not sent
	Wrong  string `json:"-"` // and why it could not be
	Stale  bool   `json:"-"` // they proved too long ago who they are: nothing of it is shown but what they sent
}

// noticePath is where a person reads all of a notice.
const noticePath = "/me/notice"

// Page is the address of that page.
func (n notice) Page() string {
	return noticePath + "?" + url.Values{"leaf": {strconv.FormatInt(n.Leaf, 10)}, "pen_name": {string(n.Pseudonym)}, "platform": {n.Platform}}.Encode()
}

// asSeen is a notice on a page made at now.
func asSeen(n issue.Notice, platform string, now time.Time) notice {
	shown := notice{Notice: n, Name: platform}
	shown.Open = shown.Waits() && (n.First.ObjectBy.IsZero() || now.Before(n.First.ObjectBy))
	return shown
}

// maxObjections is how many objections one notice takes.
const maxObjections = 3

// ID is of the notice on its page.
func (n notice) ID() string { return fmt.Sprintf("notice-%d-%s", n.Leaf, n.Pseudonym) }

// Waits reports whether an order waits for the custodians, so that the person can stop it.
func (n notice) Waits() bool { return n.First != nil && n.State == "waiting" }

// Takes reports whether the notice is of an order that can be objected to: not where nothing
// was done and nothing will be, and not where nobody knows to whom it would be encrypted.
func (n notice) Takes() bool {
	over := n.First != nil && !slices.Contains([]string{"waiting", "authorised", "released"}, n.State)
	return !over && n.About != nil && len(n.About.Objection.Recipients) > 0
}

// Left is how many more objections it takes.
func (n notice) Left() int { return max(0, maxObjections-len(n.Objections)) }

// MayObject reports whether the notice takes an objection.
func (n notice) MayObject() bool { return n.Takes() && n.Left() > 0 }

// Held reports whether an objection keeps the order from going on.
func (n notice) Held() bool {
	return slices.ContainsFunc(n.Objections, func(o issue.Objection) bool { return o.Suspends && o.Outcome == "" })
}

// Late reports whether an objection came when what was ordered was done already, and not
// only when the days were over.
func (n notice) Late(o issue.Objection) bool {
	return n.First == nil && !(n.About != nil && o.Day.Before(n.About.Opened))
}

// LastDay is the last of the days within which something can be done against the order.
func (n notice) LastDay(days int) time.Time { return n.Day.AddDate(0, 0, days) }

// Waiting are the notices of orders that wait, the most urgent first.
func (p mePage) Waiting() (all []notice) { return waiting(p.Notices) }

func waiting(notices []notice) []notice {
	all := slices.DeleteFunc(slices.Clone(notices), func(n notice) bool { return !n.Waits() })
	slices.SortStableFunc(all, func(a, b notice) int {
		if x, y := a.First.ObjectBy.IsZero(), b.First.ObjectBy.IsZero(); x != y {
			return map[bool]int{true: 1, false: -1}[x]
		}
		return a.First.ObjectBy.Compare(b.First.ObjectBy)
	})
	return all
}

// Past are the others, the newest first.
func (p mePage) Past() []notice {
	all := slices.DeleteFunc(slices.Clone(p.Notices), notice.Waits)
	slices.Reverse(all)
	return all
}

// Mistakes are what the person can mend at the notice.
func (n notice) Mistakes() []mistake { return oneMistake("text", n.Wrong) }

// noticePage is one notice, with what its person can do about it.
type noticePage struct {
	Shown   notice
	Leaving leaving
}

func (s *side) notice(w http.ResponseWriter, r *http.Request) error {
	who, asked, err := s.lately(w, r)
	if err != nil || asked {
		return err
	}
	n, err := s.noticeOf(r, who)
	if err != nil {
		return err
	}
	if n.Stored = who.Flash == flashStored(n.ID()); n.Stored {
		who.Flash = ""
	}
	return s.showNotice(w, r, who, n, http.StatusOK)
}

// showNotice shows a notice, with what was typed there and not sent.
func (s *side) showNotice(w http.ResponseWriter, r *http.Request, who session, n notice, status int) error {
	contact, err := s.Issuer.Store.Contact(r.Context(), who.Person)
	if err == nil {
		err = s.sessions.keep(w, who)
	}
	if err != nil {
		return err
	}
	n.Mailed = s.Writes && contact.Confirmed.Reveal() != ""
	again, leaving := n.Page(), s.sessions.leaving(who, "/me/stay")
	if n.Draft != "" { // it is nowhere else
		again = ""
	}
	leaving.Typing = n.MayObject()
	return s.edge.RenderAgain(w, r, again, status, "notice.html", noticePage{n, leaving})
}

// seen is a notice as its person sees it now.
func (s *side) seen(ctx context.Context, n issue.Notice) notice {
	name := n.Platform
	if p, err := s.platform(ctx, n.Platform); err == nil {
		name = p.Name
	}
	return asSeen(n, name, s.edge.Now())
}

// noticeOf is the notice that a link or a form names, if it is one of the person's.
func (s *side) noticeOf(r *http.Request, who session) (n notice, err error) {
	names, err := s.Issuer.PenNames(r.Context(), who.Person, s.sectors())
	if err != nil {
		return n, err
	}
	all, err := s.Issuer.Store.Notices(r.Context(), issue.Pseudonyms(names))
	if err != nil {
		return n, err
	}
	i := slices.IndexFunc(all, func(n issue.Notice) bool {
		return string(n.Pseudonym) == r.FormValue("pen_name") && n.Platform == r.FormValue("platform") && strconv.FormatInt(n.Leaf, 10) == r.FormValue("leaf")
	})
	if i < 0 {
		return n, policy.ErrNoNotice
	}
	return s.seen(r.Context(), all[i]), nil
}

// mayObject is why a notice takes no objection, or nil.
func (n notice) mayObject() error {
	switch {
	case !n.Takes():
		return policy.ErrNoNotice
	case n.Left() == 0:
		return policy.ErrObjections
	}
	return nil
}

// objectTo stores what a person objects. It is encrypted here: a page without a script sends
// what was typed, which a refusal shows again: it may be nowhere else.
func (s *side) objectTo(w http.ResponseWriter, r *http.Request) error {
	text := strings.ReplaceAll(r.PostFormValue("text"), "\r\n", "\n") // HTML, 4.10.21.8: a form sends each line break as two characters
	if err := s.objection(w, r, text); err != nil {
		return web.WithFacts{Err: err, Unsaved: text}
	}
	return nil
}

func (s *side) objection(w http.ResponseWriter, r *http.Request, text string) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	n, err := s.noticeOf(r, who)
	if err != nil {
		return err
	}
	do, wrong := r.PostFormValue("do"), policy.CheckObjection(text)
	if s.edge.Switches(w, r) || do == "stay" {
		if do = r.PostFormValue("at"); do != "check" {
			do, wrong = "change", nil
		}
	}
	n.Stale = !s.sessions.fresh(who)
	if n.Draft = text; wrong != nil {
		n.Wrong = refusal.Of(wrong).Mend
		return s.showNotice(w, r, who, n, http.StatusUnprocessableEntity)
	}
	switch do {
	case "check":
		if err := n.mayObject(); err != nil && !who.sent(n.digest(text)) {
			return err
		}
		return s.check(w, r, who, n, text)
	case "change":
		return s.showNotice(w, r, who, n, http.StatusOK)
	}
	sent := n.digest(text)
	if !who.sent(sent) { // else the button was pressed twice, or the page sent again
		if err := n.mayObject(); err != nil {
			return err
		}
		sealed, err := exhibit.SealText(n.About.Objection.Recipients, text)
		if err != nil {
			return err
		}
		if err := s.Issuer.Store.ObjectTo(r.Context(), n.Notice, sealed, s.edge.Now()); err != nil {
			return err
		}
		who.send(sent)
	}
	return s.saysAt(w, r, who, flashStored(n.ID()), n.Page()+"#stored")
}

// digest stands for an objection: see session.sent.
func (n notice) digest(text string) [32]byte {
	return sha256.Sum256([]byte(n.Platform + " " + n.ID() + " " + text))
}

// checkPage shows an objection before it is sent: it cannot be taken back.
type checkPage struct {
	Notice  notice
	Sent    bool // it is sent already
	Text    string
	Leaving leaving
}

func (s *side) check(w http.ResponseWriter, r *http.Request, who session, n notice, text string) error {
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	page := checkPage{n, who.sent(n.digest(text)), text, s.sessions.leaving(who, "/me/stay")}
	page.Leaving.Typing = !page.Sent
	return s.edge.RenderAgain(w, r, "", http.StatusOK, "check.html", page)
}

// lawyerPage shows a one-time code, once.
type lawyerPage struct {
	Code, Origin string
	Until        time.Time
}

func (s *side) codeFor(w http.ResponseWriter, r *http.Request) error {
	who, err := s.freshly(r)
	if err != nil {
		return err
	}
	n, err := s.noticeOf(r, who)
	if err == nil {
		err = n.mayObject()
	}
	if err != nil {
		return err
	}
	code, now := newCode(), s.edge.Now()
	if err := s.Issuer.Store.MakeCode(r.Context(), n.Notice, policy.NoticeCode(code), now); err != nil {
		return err
	}
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	return s.edge.RenderAgain(w, r, "", http.StatusOK, "lawyer.html", lawyerPage{code, s.edge.Origin, now.AddDate(0, 0, policy.NoticeCodeDays)})
}

// newCode returns a one-time code of 130 random bits, in groups of which none is lost on the
// telephone.
func newCode() string {
	letters := strings.ToLower(rand.Text())
	var groups []string
	for part := range slices.Chunk([]byte(letters), 6) {
		groups = append(groups, string(part))
	}
	return strings.Join(groups, "-")
}
