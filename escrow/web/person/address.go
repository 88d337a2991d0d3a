package person

import (
	"cmp"
	"net/http"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/refusal"
)

// addressPath is where people give an address for notices.
const addressPath = "/me/address"

var errNoMail = refusal.New(refusal.NotFound, "contact.no_mail",
	"this Penname sends no mail, so there is nothing to enter: look at your own page from time to time")

// addressPage is a person's address, for them alone. What was typed stays in the form.
type addressPage struct {
	Writes    bool   // else nobody is written to
	Confirmed string // "": none
	Refused   bool   // the mail server refused mail to it for good
	Pending   string // waits for its code
	Typed     string
	At        string // the field into which it was typed
	Mistakes  []mistake
	Said      flash // what they just did
	Leaving   leaving
}

// Wrong is what is wrong at a field; "": nothing.
func (p addressPage) Wrong(field string) string { return wrongAt(p.Mistakes, field) }

// TypedAt is what was typed into a field.
func (p addressPage) TypedAt(field string) string {
	if p.At != field {
		return ""
	}
	return p.Typed
}

func (s *side) showAddress(w http.ResponseWriter, r *http.Request, who session, c issue.Contact, status int, page addressPage) error {
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	page.Writes, page.Confirmed, page.Refused, page.Leaving = s.Writes, c.Confirmed.Reveal(), c.Refused, s.sessions.leaving(who, "/me/stay")
	if c.Waits(s.edge.Now()) {
		page.Pending = c.Pending.Reveal()
	} else if wrong := page.Wrong("code"); wrong != "" { // there is no field for it: it was the last try
		page.Typed, page.At, page.Mistakes = "", "", oneMistake("email", wrong)
	}
	return s.edge.RenderAgain(w, r, addressPath, status, "address.html", page)
}

func (s *side) address(w http.ResponseWriter, r *http.Request) error {
	who, asked, err := s.lately(w, r)
	if err != nil || asked {
		return err
	}
	c, err := s.Issuer.Store.Contact(r.Context(), who.Person)
	if err != nil {
		return err
	}
	page := addressPage{Said: who.Flash}
	for code, said := range codeMistakes {
		if page.Said == said {
			page.Said, page.Mistakes = "", oneMistake("code", code.Mend)
		}
	}
	who.Flash = ""
	return s.showAddress(w, r, who, c, http.StatusOK, page)
}

// codeMistakes is what is said of a code that somebody typed too long after their proof: when they
// are asked for another one, and once more at the field.
var codeMistakes = map[*refusal.Error]flash{issue.ErrCodeWrong: flashWrongCode, issue.ErrCodeOver: flashCodeOver}

// addressAfterProof asks for a proof before the page shows what is wrong with what was typed.
func (s *side) addressAfterProof(w http.ResponseWriter, r *http.Request, who session, err error, typed string) error {
	said, ofCode := codeMistakes[refusal.Of(err)]
	if !ofCode {
		return web.WithFacts{Err: cmp.Or(err, error(errProveAgain)), Unsaved: typed}
	}
	who.Flash = said
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	return s.askToProve(w, r, who, addressPath)
}

func (s *side) enterAddress(w http.ResponseWriter, r *http.Request) error {
	typed := r.PostFormValue("address")
	return s.changeAddress(w, r, s.freshly, flashSent, "email", typed, func(who session) error {
		if !s.Writes {
			return errNoMail
		}
		return s.Issuer.EnterAddress(r.Context(), who.Person, typed, s.edge.Language(r))
	})
}

func (s *side) confirmAddress(w http.ResponseWriter, r *http.Request) error {
	return s.changeAddress(w, r, s.who, flashConfirmed, "code", r.PostFormValue("code"), func(who session) error {
		return s.Issuer.ConfirmAddress(r.Context(), who.Person, r.PostFormValue("code"))
	})
}

func (s *side) removeAddress(w http.ResponseWriter, r *http.Request) error {
	return s.changeAddress(w, r, s.freshly, flashRemoved, "", "", func(who session) error {
		return s.Issuer.RemoveAddress(r.Context(), who.Person)
	})
}

// changeAddress does it and leads back to the page. What the person can mend at once is said
// at its field. By whose says who may: an address is where a recovery is told, so that one is
// entered or removed only soon after a proof; a code is typed when the mail comes.
func (s *side) changeAddress(w http.ResponseWriter, r *http.Request, whose func(*http.Request) (session, error), done flash, field, typed string, change func(session) error) error {
	switched := field != "" && s.edge.Switches(w, r)
	who, err := whose(r)
	if err != nil {
		return err
	}
	if !switched {
		err = change(who)
	}
	if e := refusal.Of(err); switched || issue.OfContact(err) {
		if !s.sessions.fresh(who) {
			return s.addressAfterProof(w, r, who, err, typed)
		}
		c, cerr := s.Issuer.Store.Contact(r.Context(), who.Person)
		if cerr != nil {
			return cerr
		}
		page := addressPage{Typed: typed, At: field}
		if switched {
			return s.showAddress(w, r, who, c, http.StatusOK, page)
		}
		page.Mistakes = oneMistake(field, e.Mend)
		return s.showAddress(w, r, who, c, http.StatusUnprocessableEntity, page)
	}
	if err != nil {
		return err
	}
	s.written()
	return s.saysAt(w, r, who, done, addressPath)
}

// written has the outbox looked at now.
func (s *side) written() {
	select {
	case s.wrote <- struct{}{}:
	default:
	}
}

// Wrote receives something when there is somebody to write to.
func (l *Live) Wrote() <-chan struct{} { return l.side.wrote }
