package web

import (
	"net/http"
	"strings"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/refusal"
)

// words are what the page of a refusal says to a person, beside whether it was done
// (Problem.Detail): what happened, what to do, and whom to ask. The texts of most
// refusals are for programs and operators, and say nothing to a person.
type words struct {
	Heading, What string
	Do            []string
}

// forPeople are the areas of codes whose texts speak to the person at the page.
var forPeople = map[string]bool{"session": true, "proofing_failed": true, "openid": true, "issue": true, "person": true, "persona": true, "contact": true, "notice": true, "webauthn": true}

const (
	askOperator = "If it stays so, write to the operator of this service and give them the code below."
	tryLater    = "Try again in a few minutes."
)

func wordsOf(p registrar.Problem) words {
	area, _, _ := strings.Cut(p.Code, ".")
	outage := p.Status >= http.StatusInternalServerError
	if p.Unsaved != "" {
		p.Unsaved = ""
		w := wordsOf(p)
		if w.Heading = "What you wrote was NOT stored"; p.Code == OutcomeUnknown {
			w.Heading, w.Do = "What you wrote may not be stored", []string{askOperator} // whether to try again, Detail says
		}
		return w
	}
	switch {
	case p.Code == "session.signed_out":
		return words{"Please sign in", p.Title, nil}
	case p.Reference != "":
		return words{"Your enrolment is held", p.Title, nil}
	case p.Code == recorded:
		return words{"Your deletion is recorded", p.Title, []string{tryLater, askOperator}}
	case strings.HasPrefix(p.Code, "openid.logout"):
		return words{"This sign-out cannot go on", "The platform that sent you here asked for it in a way that Penname does not accept.",
			[]string{"You may still be signed in here: sign out on your own page.", "For whoever runs the platform:", p.Title}}
	case p.Code == "openid.platform_retired" || p.Code == "openid.platform_stopped":
		return words{"Nobody can sign in there", p.Title, []string{"The pen name that you have there stays yours: your own page shows it."}}
	case p.Code == "openid.platform_unsound":
		return words{"Nobody can sign in there now", p.Title, []string{askOperator}}
	case area == "openid" && !outage:
		return words{"This sign-in cannot go on", p.Title, []string{"Go back to the platform that sent you here and start again. If that does not help, tell the platform: it is not your fault."}}
	case area == "proofing_failed" && outage:
		return words{"Your identity could not be checked now", "The identity provider, which says who you are, does not answer as it should.", []string{tryLater, askOperator}}
	case area == "proofing_failed":
		return words{"Your identity could not be checked", p.Title, []string{"If this makes no sense to you, write to the operator of this service and give them the code below."}}
	case outage:
		return words{"This does not work at the moment", "A part of Penname does not answer. It is not your fault.", []string{tryLater, askOperator}}
	case p.Code == errTooMany.Code:
		return words{"Too much at once", "Many requests came from your address within a second. Others may share it with you.", []string{"Wait a moment and try again."}}
	case p.Code == errTooSlow.Code:
		return words{"Your line was too slow", "What your browser sent did not arrive in time.", []string{"Try again, perhaps over another network."}}
	case p.Code == errNoRoute.Code:
		return words{"There is no such page", "There is nothing at this address.", []string{"Look for a typing mistake, or begin at the first page."}}
	case p.Code == errCrossSite.Code, p.Code == errProxy.Code, p.Code == errForwarded.Code:
		return words{"Press the button here", p.Title, []string{askOperator}}
	case p.Code == "persona.unknown":
		return words{"There is no such pen name in use", p.Title, []string{askOperator}}
	case forPeople[area], p.Code == tooLate:
		return words{"This was not done", p.Title, []string{askOperator}}
	}
	return words{"This was not done", "The page, or a link to it, sent something that Penname does not understand.", []string{"Go back and try again.", askOperator}}
}

// notKnown is Problem.Detail where it is not known whether it was done.
const notKnown = "It may have been done, and it may not: do it again to be sure. Doing it twice does no harm."

// Undone says what has not happened when a route, as Limits names it, refuses.
func (s *Server) Undone(route, text string) { s.undone[route] = text }

// UndoneOf says it of one code, in place of [Server.Undone].
func (s *Server) UndoneOf(route, code, text string) { s.undone[route+" "+code] = text }

// detailOf is Problem.Detail of a refusal of a request.
func (s *Server) detailOf(method, path string, e *refusal.Error) string {
	if e.Code == recorded { // says so itself
		return ""
	}
	for _, route := range []string{method + " " + path, "* " + path} {
		if text, ok := s.undone[route+" "+e.Code]; ok {
			return text
		}
		switch text, ok := s.undone[route]; {
		case ok && e.Code == OutcomeUnknown:
			return notKnown
		case ok:
			return text
		}
	}
	return ""
}

// Unheard are the codes of refusals of which no handler heard.
var Unheard = []string{errTooMany.Code, errCrossSite.Code, errTooSlow.Code, errTooLarge.Code, errParameters.Code, errBusy.Code, errProxy.Code, errForwarded.Code}

// tooLate is the code of an objection to a decision that is in force (issue.ErrTooLate): the
// others of a review are for reviewers.
const tooLate = "review.too_late"

// OutcomeUnknown is the code of a transaction whose answer was lost (postgres.ErrOutcomeUnknown).
const OutcomeUnknown = "database.outcome_unknown"

// recorded is the code of a deletion whose rest failed (issue.ErrRecorded).
const recorded = "person.deletion_recorded"
