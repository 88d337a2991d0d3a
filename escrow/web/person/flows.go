package person

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/refusal"
)

// A person does not go through these pages in a straight line: they have two tabs, go back,
// read for too long, press twice, and somebody else signs in meanwhile. What they typed is then
// given back to them, and they are led back to where they were.

var errAnother = refusal.New(refusal.Conflict, "session.another",
	"since that page was opened somebody signed in here anew, you or another person, so nothing was done: look whose page this is, and do it again there")

// ledBack is a handler of somebody who is signed in. Whoever no longer is gets what they typed
// into some fields back, and is led to a proof of identity and then to the page at back; likewise
// whoever has to prove again who they are. A form
// of a page that was opened in another session does nothing: two people may share a browser.
func (s *side) ledBack(back string, h web.Handler, typed ...string) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		form := ""
		if r.Method == http.MethodPost {
			form = r.PostFormValue("session")
		}
		who, in := s.sessions.person(r)
		err := error(errAnother)
		if form == "" || !in || form == formOf(who) {
			err = h(w, r)
		}
		if err == nil || len(typed) == 0 && !leadsBack(err) {
			return err
		}
		return s.givenBack(r, err, back, typed)
	}
}

func leadsBack(err error) bool {
	return errors.Is(err, errSignedOut) || errors.Is(err, errAnother) || errors.Is(err, errProveAgain)
}

// givenBack is an error with what somebody typed, and where they go on.
func (s *side) givenBack(r *http.Request, err error, back string, typed []string) error {
	facts := web.WithFacts{Err: err}
	errors.As(err, &facts)
	if leadsBack(err) {
		facts.Back = back
	}
	for _, field := range typed {
		if facts.Unsaved == "" {
			facts.Unsaved = strings.TrimSpace(r.PostFormValue(field))
		}
	}
	return facts
}

// formOf stands in forms for the session in which their page was opened.
func formOf(who session) string {
	sum := sha256.Sum256(append([]byte("form"), who.ID[:]...))
	return hex.EncodeToString(sum[:8])
}

// waitingSignIn is one at a platform whose page somebody saw last in this browser, in a sealed
// cookie: whoever reads how it works meanwhile finds the way back, and no link makes a page say
// that one waits.
type waitingSignIn struct {
	Action   string    `json:"a"`
	Platform string    `json:"p"` // its id
	Until    time.Time `json:"u"`
}

// A sign-in waits for half an hour at most (package openid). The cookie is smaller than the
// others, and comes beside that of the session in one header: see cookieBlock.
const (
	waitingLife  = 30 * time.Minute
	waitingBlock = 256
)

// waits remembers the sign-in whose page is shown next, or forgets it when it was answered.
func (s *side) waits(w http.ResponseWriter, r *http.Request, req openid.SignInRequest, answered bool) error {
	var before waitingSignIn
	there := s.sessions.get(r, "waiting", &before)
	if answered {
		if there && before.Action == req.Action {
			s.sessions.forget(w, "waiting")
		}
		return nil
	}
	text, err := textOf(waitingSignIn{req.Action, req.Platform.ID, s.edge.Now().Add(waitingLife)})
	if err != nil || len(text) > waitingBlock {
		return err // then the way back is the browser's
	}
	s.sessions.seal(w, "waiting", waitingLife, text, waitingBlock)
	return nil
}

// waitsFor is a sign-in that waits, as pages lead back to it.
type waitsFor struct{ Action, Platform string }

// signInWaiting is the sign-in that waits in this browser, or nil.
func (s *side) signInWaiting(r *http.Request) *waitsFor {
	var v waitingSignIn
	if !s.sessions.get(r, "waiting", &v) || !s.edge.Now().Before(v.Until) {
		return nil
	}
	p, err := s.platform(r.Context(), v.Platform)
	if err != nil || p.Closed != nil {
		return nil
	}
	return &waitsFor{v.Action, p.Name}
}

// mistake is something in what a person typed that they can mend at once. It is said at its
// field, and above the page, where the focus goes.
type mistake struct {
	Field string // its id
	Text  string
}

// oneMistake is none where there is no text.
func oneMistake(field, text string) []mistake {
	if text == "" {
		return nil
	}
	return []mistake{{field, text}}
}

// wrongAt is what is wrong at a field; "": nothing.
func wrongAt(all []mistake, field string) string {
	for _, m := range all {
		if m.Field == field {
			return m.Text
		}
	}
	return ""
}

// tooLong is said of a word for a device, or a name of a pen name.
const tooLong = "this is too long: use 64 letters at most, and fewer where they have accents"

// wrongWord is what is wrong with what was typed as a word; "": nothing.
func wrongWord(typed string) string {
	if len(printable(typed)) > issue.MaxWord {
		return tooLong
	}
	return ""
}
