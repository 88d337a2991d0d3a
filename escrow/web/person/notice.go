package person

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// notice is one as its person sees it.
type notice struct {
	issue.Notice
	Name string `json:"-"` // of the platform

	Draft string `json:"-"` // what they wrote and could not send
	Wrong string `json:"-"` // and why not
}

// maxObjections is how many objections one notice takes.
const maxObjections = 3

// MayObject reports whether the notice takes an objection: not where nothing was done and
// nothing will be, and not where nobody knows to whom it would be encrypted.
func (n notice) MayObject() bool {
	over := n.First != nil && !slices.Contains([]string{"waiting", "authorised", "released"}, n.State)
	return !over && n.About != nil && len(n.About.Objection.Recipients) > 0 && len(n.Objections) < maxObjections
}

// drafted is an objection that could not be sent.
type drafted struct {
	notice      issue.Notice
	text, wrong string
}

func (d drafted) of(n issue.Notice) bool {
	return d.wrong != "" && d.notice.Leaf == n.Leaf && d.notice.Pseudonym == n.Pseudonym && d.notice.Platform == n.Platform
}

// noticeOf is the notice that a form names, if it is one of the person's.
func (s *side) noticeOf(r *http.Request) (who session, n issue.Notice, err error) {
	if who, err = s.who(r); err != nil {
		return who, n, err
	}
	names, err := s.Issuer.PenNames(r.Context(), who.Person, s.sectors())
	if err != nil {
		return who, n, err
	}
	all, err := s.Issuer.Store.Notices(r.Context(), issue.Pseudonyms(names))
	if err != nil {
		return who, n, err
	}
	i := slices.IndexFunc(all, func(n issue.Notice) bool {
		return string(n.Pseudonym) == r.PostFormValue("pen_name") && n.Platform == r.PostFormValue("platform") && strconv.FormatInt(n.Leaf, 10) == r.PostFormValue("leaf")
	})
	if i < 0 || !(notice{Notice: all[i]}).MayObject() {
		return who, n, policy.ErrNoNotice
	}
	return who, all[i], nil
}

// objectTo stores what a person objects. It is encrypted here: a page without a script sends
// what was typed.
func (s *side) objectTo(w http.ResponseWriter, r *http.Request) error {
	who, n, err := s.noticeOf(r)
	if err != nil {
		return err
	}
	text := r.PostFormValue("text")
	if err := policy.CheckObjection(text); err != nil {
		return s.showMe(w, r, who, http.StatusUnprocessableEntity, drafted{n, text, refusal.Of(err).Mend})
	}
	sealed, err := exhibit.SealText(n.About.Objection.Recipients, text)
	if err != nil {
		return err
	}
	if err := s.Issuer.Store.ObjectTo(r.Context(), n, sealed, s.edge.Now()); err != nil {
		return err
	}
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	http.Redirect(w, r, "/me?welcome=objection#disclosed", http.StatusSeeOther)
	return nil
}

// lawyerPage shows a one-time code, once.
type lawyerPage struct {
	Code, Origin string
	Until        time.Time
}

func (s *side) codeFor(w http.ResponseWriter, r *http.Request) error {
	who, n, err := s.noticeOf(r)
	if err != nil {
		return err
	}
	code, now := newCode(), s.edge.Now()
	if err := s.Issuer.Store.MakeCode(r.Context(), n, policy.NoticeCode(code), now); err != nil {
		return err
	}
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	return s.edge.Render(w, http.StatusOK, "lawyer.html", lawyerPage{code, s.edge.Origin, now.AddDate(0, 0, policy.NoticeCodeDays)})
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
