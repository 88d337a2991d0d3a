package integration

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/penname/penname/verifier/document"
)

var (
	checkRequestURI   = check{"request.request_uri", "RFC 9126, 1"}
	checkClientID     = check{"request.client_id", "RFC 6749, 4.1.1"}
	checkSecret       = check{"request.secret", "RFC 6749, 2.3.1"}
	checkVerifier     = check{"request.code_verifier", "RFC 7636, 4.5"}
	checkScope        = check{"request.scope", "OpenID Connect Core 1.0, 3.1.2.1"}
	checkResponseType = check{"request.response_type", "RFC 9700, 2.1.2"}
	checkResponseMode = check{"request.response_mode", "OAuth 2.0 Form Post Response Mode, 2"}
	checkRedirect     = check{"request.redirect_uri", "RFC 9700, 2.1 and 2.6"}
	checkState        = check{"request.state", "RFC 6749, 10.10 and 10.12"}
	checkNonce        = check{"request.nonce", "OpenID Connect Core 1.0, 15.5.2"}
	checkChallenge    = check{"request.code_challenge", "RFC 9700, 2.1.1; RFC 7636, 4.2"}
	checkUnknown      = check{"request.parameters", "RFC 6749, 3.1"}
	checkCookies      = check{"cookies", "RFC 6265bis, 5.6.7"}
)

// randomLength is how many characters a value of 128 random bits has in base64. RFC
// 6749, 10.10: the probability of guessing it "MUST be less than or equal to 2^(-128)".
const randomLength = 22

// known are the parameters of an authorization request that some standard defines.
var known = strings.Fields("client_id response_type scope redirect_uri state nonce response_mode code_challenge code_challenge_method " +
	"prompt max_age display ui_locales claims_locales id_token_hint login_hint acr_values claims request request_uri registration resource dpop_jkt authorization_details")

// judgeRequest judges one authorization request.
func (e *examination) judgeRequest(j journey) {
	p := j.params
	if p.Get("client_id") == "" {
		e.wrong(checkClientID, "The request has no client_id: the issuer cannot know whose it is.", "Set it to the one that the issuer's operator gave you.")
	}
	if p.Has("code_verifier") {
		e.wrong(checkVerifier, "The PKCE verifier is in the address, for everybody to read: whoever steals the code can use it.", "Take it out of the request: it belongs into the call of the token endpoint.")
	}
	if p.Has("client_secret") {
		e.wrong(checkSecret, "The client's secret is in the address, for everybody to read.", "Take it out of the request and have it replaced: it belongs into the call of the token endpoint.")
	}
	if p.Has("request_uri") {
		e.ok(checkRequestURI, "The request was pushed to the issuer: the browser carries a reference only, and nothing of the request can be seen here.")
		return
	}
	e.judgeScope(strings.Fields(p.Get("scope")))
	if p.Get("response_type") != "code" {
		e.wrong(checkResponseType, "The response_type is "+quote(p.Get("response_type"))+", not code: tokens would pass through the address.", "Set the response_type to code (the authorization code flow).")
	} else {
		e.ok(checkResponseType, "The response_type is code.")
	}
	e.judgeMode(p)
	e.judgeRedirect(p)
	e.judgeState(p)
	e.judgeChallenge(p)
	var strange []string
	for name := range p {
		if !slices.Contains(known, name) && name != "client_secret" && name != "code_verifier" { // those are judged before
			strange = append(strange, name)
		}
	}
	if slices.Sort(strange); len(strange) > 0 {
		e.warn(checkUnknown, "The request has parameters that no standard has in it: "+quote(strings.Join(strange, ", "))+". The issuer ignores them.", "Take them out, unless another issuer needs them.")
	}
}

func (e *examination) judgeScope(scopes []string) {
	unknown := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return e.issuer.Scopes == nil || slices.Contains(e.issuer.Scopes, s) })
	switch {
	case !slices.Contains(scopes, "openid"):
		e.wrong(checkScope, "The scope lacks openid: the issuer gives no ID token.", "Set the scope to openid.")
	case len(unknown) > 0:
		e.warn(checkScope, "The issuer does not list these scopes: "+quote(strings.Join(unknown, ", "))+". It gives nothing for them.", "Take them out, and do not rely on what they would give.")
	default:
		e.ok(checkScope, "The scope has openid.")
	}
}

func (e *examination) judgeMode(p url.Values) {
	switch mode := p.Get("response_mode"); {
	case mode == "", mode == "query", mode == "form_post" && (e.issuer.Modes == nil || slices.Contains(e.issuer.Modes, mode)):
		e.ok(checkResponseMode, "The answer comes back as the issuer can send it.")
	default:
		e.wrong(checkResponseMode, "The response_mode is "+quote(mode)+", which does not fit the code flow here.", "Leave response_mode out, or set it to query or form_post.")
	}
}

func (e *examination) judgeRedirect(p url.Values) {
	u, err := url.Parse(p.Get("redirect_uri"))
	switch {
	case p.Get("redirect_uri") == "":
		e.wrong(checkRedirect, "The request has no redirect_uri.", "Set it to the address of the platform's callback, as it is registered.")
	case err != nil || u.Scheme == "" || u.Fragment != "":
		e.wrong(checkRedirect, "The redirect_uri is not an absolute address without a fragment.", "Set it to the address of the platform's callback, as it is registered.")
	case u.Scheme == "http" && !document.Localhost(u.Hostname()):
		e.wrong(checkRedirect, "The redirect_uri is not https: codes can be read on the way.", "Serve the callback by https and have that address registered.")
	default:
		e.ok(checkRedirect, "The redirect_uri is an address that codes may be sent to.")
	}
}

func (e *examination) judgeState(p url.Values) {
	switch state := p.Get("state"); {
	case state == "" && p.Get("code_challenge") == "":
		e.wrong(checkState, "The request has no state: anybody can have a person signed in as somebody else by a link.", "Turn on state in the client library, and compare it with the cookie when the answer comes.")
	case state == "":
		e.warn(checkState, "The request has no state; PKCE protects it if the issuer enforces it.", "Turn on state in the client library.")
	case len(state) < randomLength:
		e.warn(checkState, "The state is short and may be guessed.", "Make it of 128 random bits or more.")
	default:
		e.ok(checkState, "The request has a state that is long enough.")
	}
}

func (e *examination) judgeChallenge(p url.Values) {
	nonce, challenge, method := p.Get("nonce"), p.Get("code_challenge"), p.Get("code_challenge_method")
	switch {
	case challenge != "" && method != "S256":
		e.wrong(checkChallenge, "PKCE is used without S256: the issuer refuses plain.", "Set code_challenge_method to S256.")
	case challenge != "" && len(challenge) != 43:
		e.wrong(checkChallenge, "The code_challenge is not the base64url of a SHA-256.", "Let the client library make it: 43 characters, without padding.")
	case challenge != "":
		e.ok(checkChallenge, "PKCE is used, with S256.")
	case nonce != "":
		e.warn(checkChallenge, "PKCE is not used. A client with a secret may do without it, because a nonce is sent; one without a secret is refused.", "Turn on PKCE with S256 in the client library.")
	default:
		e.wrong(checkChallenge, "The request has neither PKCE nor a nonce: the issuer refuses it, since a stolen code could be used.", "Turn on PKCE with S256 in the client library, or else a nonce.")
	}
	switch {
	case nonce == "" && challenge != "":
		e.ok(checkNonce, "No nonce is sent, and none is needed with PKCE.")
	case nonce != "" && len(nonce) < randomLength:
		e.warn(checkNonce, "The nonce is short and may be guessed.", "Make it of 128 random bits or more.")
	case nonce != "":
		e.ok(checkNonce, "The request has a nonce.")
	}
}

// judgeFresh compares two sign-ins of two browsers.
func (e *examination) judgeFresh(one, two journey) {
	if two.asks == nil {
		e.warn(checkStart, "A second sign-in at once, in another browser, does not begin.", "See whether the platform limits sign-ins by address.")
		return
	}
	same := func(name string) bool { v := one.params.Get(name); return v != "" && v == two.params.Get(name) }
	fresh := func(name string) bool { return one.params.Get(name) != "" && !same(name) }
	const mend = "Make it anew from random bits for each sign-in."
	switch {
	case same("state") && (fresh("nonce") || fresh("code_challenge")):
		// RFC 9700, 2.1: PKCE and nonce protect from forged answers as well.
		e.warn(checkState, "Two browsers were given the same state; only what is new each time, PKCE or nonce, protects them.", mend)
	case same("state"):
		e.wrong(checkState, "Two browsers were given the same state: it protects nobody.", mend)
	}
	for _, c := range []check{checkNonce, checkChallenge, checkRequestURI} {
		if name := strings.TrimPrefix(c.name, "request."); same(name) {
			e.wrong(c, "Two browsers were given the same "+name+": it protects nobody.", mend)
		}
	}
}

// judgeCookies judges what binds the answer to the browser in which the sign-in began.
// The answer comes from another site: by a link, with which SameSite=Lax cookies are
// sent, or by a form, with which only SameSite=None ones are.
func (e *examination) judgeCookies(j journey) {
	if len(j.browser.cookies) == 0 {
		e.wrong(checkCookies, "No cookie is set before the sign-in leaves the platform: an answer that belongs to another browser cannot be told.", "Keep state and PKCE verifier in a session that a cookie names (or in the browser's storage, if a script signs in).")
		return
	}
	var kept []cookie
	for _, c := range j.browser.cookies {
		if why, mend := c.dropped(); why != "" {
			e.wrong(checkCookies, "The cookie "+quote(c.Name)+" "+why+": browsers drop it.", mend)
			continue
		}
		kept = append(kept, c)
	}
	if len(kept) == 0 {
		return
	}
	callback, err := url.Parse(e.report.RedirectURI)
	if err == nil && callback.Host != "" && !slices.ContainsFunc(kept, func(c cookie) bool { return c.reaches(callback) }) {
		e.wrong(checkCookies, "No cookie of the sign-in is sent to the callback: it is on another host or path than the cookies.", "Begin the sign-in on the host of the callback, and set the cookie with Path=/.")
		return
	}
	posted := j.params.Get("response_mode") == "form_post"
	loopback := j.last.at.Scheme == "http"
	survives := false
	for _, c := range kept {
		name := quote(c.Name)
		if c.SameSite == http.SameSiteNoneMode || !posted && c.SameSite != http.SameSiteStrictMode {
			survives = true // the others are not sent with the answer
		}
		if !c.Secure && !loopback {
			e.wrong(checkCookies, "The cookie "+name+" lacks Secure: it is sent without TLS too.", "Set Secure on it.")
		}
		if !c.HttpOnly {
			e.warn(checkCookies, "The cookie "+name+" lacks HttpOnly: any script of the page can read it.", "Set HttpOnly on it, unless a script needs it.")
		}
	}
	switch {
	case survives:
		e.ok(checkCookies, "A cookie comes back with the answer.")
	case posted:
		e.wrong(checkCookies, "The answer is posted from the issuer's site, and no cookie has SameSite=None: the platform will not know the browser.", "Set SameSite=None and Secure on the cookie of the sign-in, or leave response_mode=form_post out.")
	default:
		e.wrong(checkCookies, "Every cookie has SameSite=Strict: none is sent when the browser comes back from the issuer.", "Set SameSite=Lax on the cookie of the sign-in.")
	}
}
