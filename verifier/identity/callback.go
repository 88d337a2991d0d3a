package identity

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

const (
	maxParameters = 16
	maxParameter  = 4096 // bytes, name or value
)

// Callback returns the parameters of the identity provider's answer, which for
// the code flow is the query of a GET (OAuth 2.0 Multiple Response Type
// Encoding Practices, 5). A POST, a body, an empty query (an answer in the
// fragment never reaches us) or one that is not well formed is ErrMalformed.
func Callback(r *http.Request) (url.Values, error) {
	if r.Method != http.MethodGet || r.ContentLength != 0 {
		return nil, ErrMalformed.Because(errors.New("wrong response mode"))
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(q) == 0 {
		return nil, ErrMalformed.Because(errors.New("no well-formed query"))
	}
	return q, checkParameters(q)
}

// checkParameters refuses an answer that could be read in two ways.
func checkParameters(q url.Values) error {
	if len(q) > maxParameters {
		return ErrMalformed.Because(errors.New("too many parameters"))
	}
	for name, values := range q {
		// RFC 6749, 3.1: "Request and response parameters MUST NOT be included
		// more than once."
		if len(values) != 1 || len(name) > maxParameter || len(values[0]) > maxParameter {
			return ErrMalformed.Because(errors.New("a parameter is repeated or too long"))
		}
	}
	// Tokens and JARM responses belong to response types we did not ask for.
	for _, foreign := range []string{"id_token", "access_token", "token_type", "response"} {
		if q.Has(foreign) {
			return ErrMalformed.Because(errors.New("parameters of another response type"))
		}
	}
	if q.Has("code") == q.Has("error") || q.Has("code") && q.Get("code") == "" {
		return ErrMalformed.Because(errors.New("neither one code nor one error"))
	}
	return nil
}

// authorisationErrors are the codes of RFC 6749, 4.1.2.1 and OpenID Connect
// Core, 3.1.2.6. Only these are written to a log; error_description never is.
var authorisationErrors = []string{
	"access_denied", "account_selection_required", "consent_required", "interaction_required", "invalid_request",
	"invalid_scope", "login_required", "server_error", "temporarily_unavailable", "unauthorized_client",
	"unmet_authentication_requirements", "unsupported_response_type",
}

// checkCallback refuses an answer that does not belong to the flow f, or comes
// too late for it.
func (rp *RelyingParty) checkCallback(f Flow, q url.Values) error {
	if err := checkParameters(q); err != nil {
		return err
	}
	// A flow without its secrets would match an answer without them.
	if f.State == "" || f.Nonce == "" || f.CodeVerifier == "" || !same(f.State, q.Get("state")) {
		return ErrBadState
	}
	// RFC 9207, 2.4: the client MUST compare iss with the issuer that the flow
	// was begun with, and reject an answer without it from a server that
	// announces it.
	if f.Issuer != rp.provider.Issuer || (q.Has("iss") && q.Get("iss") != f.Issuer) || (rp.issExpected && !q.Has("iss")) {
		return ErrMixup
	}
	if age := rp.now().Sub(f.Started); age < -skew || age > FlowTTL {
		return ErrExpired
	}
	return nil
}

// codeOf returns the code of an answer that was checked.
func codeOf(q url.Values) (string, error) {
	if q.Has("error") {
		if e := q.Get("error"); slices.Contains(authorisationErrors, e) {
			return "", ErrDeclined.Because(errors.New(e))
		}
		return "", ErrDeclined
	}
	return q.Get("code"), nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
