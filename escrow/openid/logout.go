package openid

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// OpenID Connect RP-Initiated Logout 1.0. A platform sends the person here once it has
// signed them out itself. Nothing ends on its word: an ID token that it shows says
// which platform it is, and is no credential.

const (
	logoutPath = "/logout"
	logoutForm = logoutPath + "/answer" // where the page's form posts to
)

// Refusals of a request to log out whose answer cannot be sent to the platform.
var (
	ErrLogout = refusal.New(refusal.Invalid, "openid.logout",
		"The platform's request to sign you out is not as it must be: id_token_hint is an ID token from here, of the client that client_id names, and post_logout_redirect_uri is one that this client has registered.")
	ErrLogoutClient = refusal.New(refusal.NotFound, "openid.logout_client",
		"The client_id, or the client of the id_token_hint, is not registered here, or no longer.")
	ErrLogoutUnnamed = refusal.New(refusal.Invalid, "openid.logout_unnamed",
		"post_logout_redirect_uri is sent without id_token_hint and without client_id: one of them must say whose it is.")
)

// LeaveRequest is what the page of a logout gets to know.
type LeaveRequest struct {
	Platform Platform        // the zero Platform if the request names none
	Action   string          // where the page's form posts to
	Answer   bool            // the request is such a post
	Hint     token.Pseudonym // who signed out there, by the platform's id_token_hint or logout_hint; "": it does not say, as in an Answer
	Returns  bool            // the person is led back to the platform afterwards. Else the page has the last word
}

// Leave asks whether the person wants to be signed out here too, and does what they
// answer. done says that nothing is left to ask or to say, and that nothing was written to
// w but cookies: the provider redirects.
type Leave func(w http.ResponseWriter, r *http.Request, req LeaveRequest) (done bool, err error)

// logout serves both addresses. A platform's page may post to the first one (section
// 2), which is then read as a GET: it is never the person's answer.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) {
	r, x := begin(r, logoutPath)
	params := r.URL.Query()
	answer := r.URL.Path == logoutForm
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		if mediaType(r) != formType || x.parseForm(r) != nil {
			p.showError(w, r, x.orElse(ErrRequest))
			return
		}
		if !answer {
			params = r.PostForm
		}
	}
	if len(r.URL.RawQuery) > maxRequest || slices.ContainsFunc(logoutParams, func(name string) bool { return len(params[name]) > 1 }) {
		p.showError(w, r, ErrRequest)
		return
	}
	pl, who, err := p.leaving(r, params)
	if err != nil {
		p.showError(w, r, x.orElse(refusalOf(err)))
		return
	}
	again := url.Values{}
	for _, name := range []string{"post_logout_redirect_uri", "state"} {
		if v := params.Get(name); v != "" {
			again.Set(name, v)
		}
	}
	if pl.ID != "" {
		again.Set("client_id", pl.ID)
	}
	done, err := p.cfg.Leave(w, r, LeaveRequest{Platform: pl, Action: logoutForm + "?" + again.Encode(), Answer: answer, Hint: who,
		Returns: again.Has("post_logout_redirect_uri")})
	switch {
	case err != nil:
		p.showError(w, r, refusalOf(err))
	case done:
		http.Redirect(w, r, leftTo(params), http.StatusSeeOther)
	}
}

// logoutParams are those that are used. ui_locales is not.
var logoutParams = []string{"id_token_hint", "client_id", "logout_hint", "post_logout_redirect_uri", "state"}

// leaving returns the platform of a request and the pen name that signed out there, if it
// names them. Nothing ends on that word but what the person's own is. Section 3: the OP "MUST
// NOT perform post-logout redirection … if the post_logout_redirect_uri value supplied
// does not exactly match one of the previously registered" ones.
func (p *Provider) leaving(r *http.Request, params url.Values) (pl Platform, who token.Pseudonym, err error) {
	id := params.Get("client_id")
	if who, err = token.ParsePseudonym(params.Get("logout_hint")); err != nil {
		who = "" // section 2: "A hint", which may be in another form
	}
	if hint := params.Get("id_token_hint"); hint != "" {
		subject, audience, ok := p.checks.keys.Load().about(hint, p.cfg.Issuer)
		if !ok || id != "" && id != audience {
			return pl, "", ErrLogout
		}
		id, who = audience, token.Pseudonym(subject)
	}
	if id != "" {
		if pl, err = p.platform(r.Context(), id); err != nil {
			return pl, "", ErrLogoutClient
		}
	}
	if params.Get("post_logout_redirect_uri") != "" && id == "" {
		return pl, "", ErrLogoutUnnamed
	}
	if uri := params.Get("post_logout_redirect_uri"); uri != "" && !slices.Contains(pl.PostLogoutRedirectURIs, uri) {
		return pl, "", ErrLogout
	}
	return pl, who, nil
}

// leftTo is where the person goes on.
func leftTo(params url.Values) string {
	add := url.Values{}
	if state := params.Get("state"); state != "" {
		add.Set("state", state)
	}
	to, err := withQuery(params.Get("post_logout_redirect_uri"), add)
	if err != nil || params.Get("post_logout_redirect_uri") == "" {
		return "/"
	}
	return to
}
