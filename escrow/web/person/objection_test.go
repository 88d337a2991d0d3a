package person

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// objecting is a store with one notice, which keeps what is objected.
type objecting struct {
	issue.Store
	notice issue.Notice
	stored [][]byte
	lost   error // in place of the next answer
}

func (o *objecting) Notices(_ context.Context, names []token.Pseudonym) ([]issue.Notice, error) {
	if len(names) == 0 {
		return nil, nil
	}
	n := o.notice
	n.Pseudonym = names[0]
	return []issue.Notice{n}, nil
}

func (*objecting) MakeCode(context.Context, issue.Notice, [32]byte, time.Time) error { return nil }

func (o *objecting) ObjectTo(_ context.Context, n issue.Notice, sealed []byte, now time.Time) error {
	o.stored = append(o.stored, sealed)
	o.notice.Objections = append(o.notice.Objections, issue.Objection{Day: today(now), Suspends: true})
	lost := o.lost
	o.lost = nil
	return lost
}

// What a person objects is stored once, and they see that it is; what is not stored they get
// back, and read why.
func TestAnObjectionIsStoredOrGivenBack(t *testing.T) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	about := *toldFirst.About
	about.Objection.Recipients = []string{id.Recipient().String()}
	o := &objecting{notice: toldFirst}
	o.notice.About, o.notice.Platform = &about, "purse"
	s := newService(t, func(_ *testing.T, c *Config) { o.Store, c.Issuer.Store = c.Issuer.Store, o })
	o.notice.First = &issue.First{Days: 10, ObjectBy: today(s.now()).AddDate(0, 0, 10)}
	b := s.in("laptop")
	name, _ := b.allow("purse", b.open("purse"))["sub"].(string)
	form := func(text string) url.Values {
		return url.Values{"pen_name": {name}, "platform": {"purse"}, "leaf": {"9"}, "text": {text}}
	}
	at := s.origin + "/me/objection"
	b.shows("GET", s.origin, nil, http.StatusOK, "A court wants your pen name on Purse opened: object before")
	b.shows("POST", at, form("\u200b\u2060"), http.StatusUnprocessableEntity, "<title>Error: Your objection was NOT stored", `id="wrong"`)

	// The browser sends each line break as two characters.
	full := strings.Repeat("x\r\n", policy.MaxObjectionText/2-1) + "xx"
	for range 2 { // pressed twice
		b.shows("POST", at, form(full), http.StatusOK, `id="stored"`, "Your objection is stored", "2 objections are left", "!NOT stored")
	}
	if len(o.stored) != 1 || exhibit.OpenText(o.stored[0], id.String()) != strings.ReplaceAll(full, "\r\n", "\n") {
		t.Errorf("%d stored", len(o.stored))
	}
	o.lost = refusal.New(refusal.Unavailable, web.OutcomeUnknown, "")
	b.shows("POST", at, form("two"), http.StatusServiceUnavailable, "What you wrote may not be stored", "whether it shows there before you send it again", "readonly>two</textarea>", "!twice does no harm", "!Try again")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "One objection is left")
	b.shows("POST", at, form("three"), http.StatusOK, "three objections to this order")
	b.shows("POST", at, form("four"), http.StatusConflict, "<title>What you wrote was NOT stored", "three objections to this order", "readonly>four</textarea>", "!does not understand")
	b.shows("POST", s.origin+"/me/lawyer", form(""), http.StatusConflict, "No new code is good", "three objections")

	s.pass(31 * time.Minute)
	b.shows("POST", at, form("I was <b>slow</b>."), http.StatusUnauthorized, "<title>What you wrote was NOT stored", "Your objection was NOT stored", "readonly>I was &lt;b&gt;slow&lt;/b&gt;.</textarea>", "Prove my identity")
	if len(o.stored) != 3 {
		t.Errorf("%d stored", len(o.stored))
	}
}

// Where no mail is sent, none is offered, and nothing is said of a code.
func TestNoMailIsOfferedWhereThereIsNone(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "This Penname sends no mail", "!You can give an address", "!/me/address")
	b.shows("GET", s.origin+addressPath, nil, http.StatusOK, "This Penname sends no mail", "!You can give")
	b.shows("POST", s.origin+addressPath, url.Values{"address": {"jo@example.org"}}, http.StatusNotFound, "sends no mail", "!A code may have been sent")
}
