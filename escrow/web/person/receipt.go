package person

import (
	"net/http"

	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// sealedPage shows once what was sealed of somebody who enrolled just now, or came back.
type sealedPage struct {
	SignIn string // at a platform, that waits
	Sealed []sealedField
	To     string // where they go on
	Anew   bool   // they come back after a deletion

	Vouched []askedClaim // what the provider vouches for besides, which is not sealed
}

type sealedField struct{ Title, Text string }

// sealedTitles are the fields of [identity.Identity.Fields], in the order of the page.
var sealedTitles = []struct{ field, title string }{{"name", "Name"}, {"birthdate", "Date of birth"}, {"address", "Postal address"}, {"email", "E-mail address"}}

func newSealedPage(fields map[string][]byte, vouched identity.Claims, to string, anew bool) sealedPage {
	page := sealedPage{To: to, SignIn: flow{Back: to}.SignIn(), Anew: anew}
	for _, t := range sealedTitles {
		if text := string(fields[t.field]); text != "" {
			page.Sealed = append(page.Sealed, sealedField{t.title, text})
		}
	}
	for at, name := range identity.ClaimNames {
		if value := vouched[at].Reveal(); value != "" {
			page.Vouched = append(page.Vouched, askedClaim{Name: name, Value: value})
		}
	}
	return page
}

const (
	receiptPath     = "/me/receipt"
	receiptFilePath = "/me/receipt.jws"
)

// receiptPage is a receipt as a sheet to print.
type receiptPage struct {
	Leaving leaving
	Receipt token.Receipt
	Signed  string
}

// receiptOf signs which sealed record whoever is signed in has.
func (s *side) receiptOf(w http.ResponseWriter, r *http.Request) (page receiptPage, done bool, err error) {
	who, done, err := s.lately(w, r)
	if err == nil && !done {
		err = s.sessions.keep(w, who)
	}
	if err != nil || done {
		return page, done, err
	}
	page.Leaving = s.sessions.leaving(who, "/me/stay")
	page.Receipt, page.Signed, err = s.openid.Receipt(who.Person.Reference())
	return page, false, err
}

func (s *side) receipt(w http.ResponseWriter, r *http.Request) error {
	page, done, err := s.receiptOf(w, r)
	if err != nil || done {
		return err
	}
	return s.edge.Render(w, r, http.StatusOK, "receipt.html", page)
}

func (s *side) receiptFile(w http.ResponseWriter, r *http.Request) error {
	page, done, err := s.receiptOf(w, r)
	if err != nil || done {
		return err
	}
	w.Header().Set("Content-Type", "application/jose") // RFC 7515, 9.2.1
	w.Header().Set("Content-Disposition", `attachment; filename="penname-receipt.jws"`)
	_, err = w.Write([]byte(page.Signed + "\n"))
	return err
}
