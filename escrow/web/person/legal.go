package person

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/refusal"
)

// ErrLegal is returned for a text about the operator that no page can show.
var ErrLegal = refusal.New(refusal.Invalid, "config.bad_legal",
	"controller and ground are texts of up to 1,000 bytes; complaints, privacy_notice and security are a line of text, mailto: or https://, and security is no mere text")

// Legal is what the pages say of who runs the service and by what right, in the operator's
// words. Of what is empty they say that the operator has not told.
type Legal struct {
	Controller string      // who is responsible, with an address (Regulation (EU) 2016/679, Art. 13(1)(a))
	Ground     string      // on what legal ground identities are kept (Art. 13(1)(c))
	Complaints web.Contact // the authority to complain to (Art. 13(2)(d))
	Notice     web.Contact // the operator's own privacy notice
	Security   web.Contact // whom to tell of a hole: see securityText
}

const maxLegal = 1000 // bytes of a text

// Check fails with ErrLegal.
func (l Legal) Check() error {
	if len(l.Controller) > maxLegal || len(l.Ground) > maxLegal || l.Security.Text != "" && l.Security.Link == "" {
		return ErrLegal
	}
	return nil
}

// legalPage has beside the operator's words the sign-in that waits, if there is one.
type legalPage struct {
	Legal
	Waits *waitsFor
}

func (s *side) privacy(w http.ResponseWriter, r *http.Request) error {
	return s.edge.Render(w, r, http.StatusOK, "privacy.html", legalPage{s.Legal, s.signInWaiting(r)})
}

func (s *side) accessibility(w http.ResponseWriter, r *http.Request) error {
	return s.edge.Render(w, r, http.StatusOK, "accessibility.html", legalPage{Waits: s.signInWaiting(r)})
}

// securityLife is how long what security.txt says counts (RFC 9116, 2.5.5: less than a year is
// recommended).
const securityLife = 90 * 24 * time.Hour

// securityText says whom to tell of a hole (RFC 9116). Where the operator names nobody there
// is none.
func (s *side) securityText(w http.ResponseWriter, _ *http.Request) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Contact: %s\nExpires: %s\nPreferred-Languages: %s\nCanonical: %s\n", s.Legal.Security.Link,
		today(s.edge.Now()).Add(securityLife).Format(time.RFC3339), strings.Join(s.edge.Speaks(), ", "), s.edge.Origin+securityPath)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte(b.String()))
	return err
}

const securityPath = "/.well-known/security.txt"
