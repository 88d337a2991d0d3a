package person

import (
	"errors"
	"net/http"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/mail"
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
	Wrong     string // what is wrong with what was typed
	Done      string
	Leaving   leaving
}

func (s *side) showAddress(w http.ResponseWriter, who session, c issue.Contact, status int, page addressPage) error {
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	page.Writes, page.Confirmed, page.Refused, page.Leaving = s.Writes, c.Confirmed.Reveal(), c.Refused, s.sessions.leaving(who, "/me/stay")
	if c.Waits(s.edge.Now()) {
		page.Pending = c.Pending.Reveal()
	}
	return s.edge.Render(w, status, "address.html", page)
}

func (s *side) address(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	c, err := s.Issuer.Store.Contact(r.Context(), who.Person)
	if err != nil {
		return err
	}
	done := r.URL.Query().Get("done")
	return s.showAddress(w, who, c, http.StatusOK, addressPage{Done: done})
}

func (s *side) enterAddress(w http.ResponseWriter, r *http.Request) error {
	typed := r.PostFormValue("address")
	return s.changeAddress(w, r, "sent", typed, func(who session) error {
		if !s.Writes {
			return errNoMail
		}
		return s.Issuer.EnterAddress(r.Context(), who.Person, typed)
	})
}

func (s *side) confirmAddress(w http.ResponseWriter, r *http.Request) error {
	return s.changeAddress(w, r, "confirmed", "", func(who session) error {
		return s.Issuer.ConfirmAddress(r.Context(), who.Person, r.PostFormValue("code"))
	})
}

func (s *side) removeAddress(w http.ResponseWriter, r *http.Request) error {
	return s.changeAddress(w, r, "removed", "", func(who session) error {
		return s.Issuer.RemoveAddress(r.Context(), who.Person)
	})
}

// changeAddress does it and leads back to the page. What the person can mend at once is said
// beside the form.
func (s *side) changeAddress(w http.ResponseWriter, r *http.Request, done, typed string, change func(session) error) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	err = change(who)
	if e := refusal.Of(err); errors.Is(err, mail.ErrAddress) || issue.OfCode(err) {
		c, cerr := s.Issuer.Store.Contact(r.Context(), who.Person)
		if cerr != nil {
			return cerr
		}
		return s.showAddress(w, who, c, http.StatusUnprocessableEntity, addressPage{Typed: typed, Wrong: e.Mend})
	}
	if err != nil {
		return err
	}
	select { // the outbox is looked at now
	case s.wrote <- struct{}{}:
	default:
	}
	http.Redirect(w, r, addressPath+"?done="+done, http.StatusSeeOther)
	return nil
}

// Wrote receives something when there is somebody to write to.
func (l *Live) Wrote() <-chan struct{} { return l.side.wrote }
