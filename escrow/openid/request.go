package openid

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Paths, all under the issuer.
const (
	discoveryPath = "/.well-known/openid-configuration"
	metadataPath  = "/.well-known/oauth-authorization-server" // RFC 8414, 3: the same document
	authorizePath = "/authorize"
	userinfoPath  = "/userinfo"
	parPrefix     = "urn:ietf:params:oauth:request_uri:" // RFC 9126, 2.2
)

// Handler serves the provider. Mount it at the issuer's origin for these paths;
// it answers 404 to any other, and 405 to another method:
//
//	GET       /.well-known/openid-configuration, /.well-known/oauth-authorization-server,
//	          /jwks, /status/{list}
//	GET, POST /authorize, /authorize/{id}, /userinfo, /logout
//	POST      /par, /token, /introspect, /revoke, /bans, /logout/answer, /events
//	OPTIONS   /token, /userinfo, /revoke, for scripts of platforms: see cross
func (p *Provider) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{discoveryPath, metadataPath} {
		mux.HandleFunc("GET "+path, p.discovery.serve)
	}
	mux.HandleFunc("GET /jwks", p.serveKeys)
	mux.HandleFunc("GET /status/{list}", p.serveStatus)
	mux.HandleFunc("GET "+authorizePath, p.authorize)
	mux.HandleFunc("POST "+authorizePath, p.authorize)
	mux.HandleFunc("GET "+authorizePath+"/{id}", p.interact)
	mux.HandleFunc("POST "+authorizePath+"/{id}", p.interact)
	if p.cfg.Leave != nil {
		mux.HandleFunc("GET "+logoutPath, p.logout)
		mux.HandleFunc("POST "+logoutPath, p.logout)
		mux.HandleFunc("POST "+logoutForm, p.logout)
	}
	mux.HandleFunc("POST "+eventsPath, p.poll)
	for _, path := range []string{"/par", "/introspect"} {
		mux.HandleFunc("POST "+path, p.api)
	}
	if p.cfg.Ban != nil {
		mux.HandleFunc("POST "+bansPath, p.api)
	}
	for _, path := range []string{"/token", "/revoke", userinfoPath} {
		mux.HandleFunc("POST "+path, p.cross(p.api))
		mux.HandleFunc("OPTIONS "+path, p.cross(preflight))
	}
	mux.HandleFunc("GET "+userinfoPath, p.cross(p.api))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range defaultHeaders {
			if w.Header().Get(name) == "" {
				w.Header().Set(name, value)
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// defaultHeaders are set where the server around the handler has no policy of
// its own. RFC 9700, 4.16 is on clickjacking, 4.2 on leaks by Referer.
var defaultHeaders = map[string]string{
	"X-Content-Type-Options":  "nosniff",
	"X-Frame-Options":         "DENY",
	"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	"Referrer-Policy":         "no-referrer",
}

// exchange is what the hooks that the library calls in one request need from
// each other and from the checks before. It travels in the request's context, as
// the library passes nothing else on.
type exchange struct {
	endpoint     string
	clientID     string   // whom the checks took the caller for; the library may take it for nobody else
	client       Platform // clientID's; the zero Platform is of none that is registered, which the library says once it has looked at the credentials
	sound        Platform // the last one that was looked up, see platform
	secretInBody bool
	published    []jose.JSONWebKey // keys of clientID's assertion that are not in its registration: see checkAssertion
	resource     string            // the platform that the access token is to be for, if the request names one
	proof        *token.DPoPProof  // verified, not yet checked for replay
	code         string            // the new authorization code
	version      int64             // of the row of the session, as it was read
	session      Row               // with the answer, to be stored with the grant
	family       string            // of the refresh token that was presented
	hint         string            // the subject of an id_token_hint
	locale       string            // of the pages, that the platform would like: see localeOf
	formPost     string            // the redirect URI, if the answer is to be posted there: response_mode
	presented    string            // the refresh token itself
	successor    string            // what it was replaced by a moment ago
	mayAgain     bool              // a refresh token of this client may come twice
	again        bool              // it did, at the same time
	scope        string            // of the access token, or that the new one is to have; "": all of the grant
	reported     token.Pseudonym   // whom a platform reports, and as what: see ban.go
	banned       bool
	usedID       string         // of the proof or assertion that this request has used up
	redirectURI  string         // at the token endpoint
	otherURI     bool           // which is not that of the authorization request
	posted       bool           // the authorization request came as a POST
	onward       bool           // the answer leads on to the interaction, see ask
	answer       []byte         // that a sign-in was answered with a moment ago
	denied       []byte         // by what the person refused it: see pressed
	outage       error          // the store or another port failed
	unconfirmed  *refusal.Error // the outage is none: Subject.Confirm refused
	down         bool           // so the page said already: see manager.put
}

// parseForm reads a form. A body that the server around could not take is an
// outage, not the sender's fault.
func (x *exchange) parseForm(r *http.Request) error {
	err := r.ParseForm()
	if e := refusal.Of(err); e != nil && e.Kind == refusal.Unavailable {
		x.outage = e
	}
	return err
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// begin attaches an exchange to a request.
func begin(r *http.Request, endpoint string) (*http.Request, *exchange) {
	x := &exchange{endpoint: endpoint}
	return r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)), x
}

// authorize checks an authorization request before the library sees it, and
// passes on only what it was checked for, always as GET: what a platform's page
// posts here can then not be taken for the person's answer.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	r, x := begin(r, authorizePath)
	raw := r.URL.RawQuery
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		if mediaType(r) != formType || r.URL.RawQuery != "" || x.parseForm(r) != nil {
			p.showError(w, r, x.orElse(ErrRequest))
			return
		}
		raw, x.posted = r.PostForm.Encode(), true
	}
	params, err := url.ParseQuery(raw)
	if err != nil || len(raw) > maxRequest || len(params["client_id"]) > 1 || len(params["redirect_uri"]) > 1 {
		p.showError(w, r, ErrRequest)
		return
	}
	if params.Get("client_id") == "" {
		p.showError(w, r, ErrNoClientID)
		return
	}
	pl, err := p.platform(r.Context(), params.Get("client_id"))
	if err != nil {
		p.showError(w, r, x.orElse(p.closed(r.Context(), params.Get("client_id"))))
		return
	}
	pass := url.Values{"client_id": {pl.ID}}
	switch uri := params.Get("request_uri"); {
	case len(params["request_uri"]) > 1 && !pl.allows(params.Get("redirect_uri")):
		p.showError(w, r, ErrRequest)
		return
	case len(params["request_uri"]) == 1 && strings.HasPrefix(uri, parPrefix):
		pass.Set("request_uri", uri)
	case uri != "" && !pl.allows(params.Get("redirect_uri")):
		p.showError(w, r, ErrRequestURI)
		return
	case !pl.allows(params.Get("redirect_uri")):
		p.showError(w, r, ErrRedirectURI)
		return
	default:
		wrong := cmp.Or(checkRequest(params, pl), p.checkHint(x, params, pl.ID), p.checkResource(r.Context(), x, params, pl))
		if pl.RequirePAR {
			wrong = invalid("request_uri is missing: this client's requests must be pushed (RFC 9126).")
		}
		if wrong != (fault{}) {
			p.redirectError(w, r, params, wrong)
			return
		}
		if params.Get("response_mode") == formPost {
			x.formPost = params.Get("redirect_uri")
		}
		p.copyRequest(pass, params, pl)
		x.locale = p.localeOf(params)
	}
	get := r.Clone(r.Context())
	get.Method, get.Body, get.Form, get.PostForm = http.MethodGet, http.NoBody, nil, nil
	get.URL.RawQuery = pass.Encode()
	get.RequestURI = get.URL.RequestURI()
	p.servePage(w, get, x)
}

// interact passes a request to the interaction on to the page.
func (p *Provider) interact(w http.ResponseWriter, r *http.Request) {
	r, x := begin(r, authorizePath)
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	p.servePage(w, r, x)
}

// servePage lets the library answer a browser. The answer is held back until the
// session is stored: a page whose form would lead nowhere is not shown.
func (p *Provider) servePage(w http.ResponseWriter, r *http.Request, x *exchange) {
	held := newBuffer()
	p.library.ServeHTTP(held, r)
	if x.outage != nil {
		p.showError(w, r, x.failure())
		return
	}
	if back := held.header.Get("Location"); x.formPost != "" && !x.onward && held.status == http.StatusSeeOther {
		p.postBack(w, r, x.formPost, back, held.header.Values("Set-Cookie"))
		return
	}
	cookies := w.Header().Values("Set-Cookie") // of the server around
	maps.Copy(w.Header(), held.header)
	if len(cookies) > 0 {
		w.Header()["Set-Cookie"] = slices.Concat(cookies, held.header.Values("Set-Cookie"))
	}
	w.WriteHeader(held.status)
	_, _ = w.Write(held.body.Bytes()) // the browser is gone: nothing to do
}

// requestParams are the parameters of an authorization request that are used. The others,
// login_hint among them, are dropped unread (RFC 6749, 3.1: "MUST ignore unrecognized
// request parameters"), so they cannot reach the store: they could name a person.
var requestParams = []string{
	"response_type", "redirect_uri", "state", "nonce", "code_challenge", "code_challenge_method",
	"prompt", "max_age", "dpop_jkt",
}

// checks are the provider's own, which come before the library's.
type checks struct {
	cfg        *Config
	keys       *keys
	algorithms []jose.SignatureAlgorithm // of the keys: that of access tokens first, RS256 last
	now        func() time.Time
	published  *published
}

// copyRequest copies the parameters of a platform's request that are used.
func (k checks) copyRequest(to, from url.Values, pl Platform) {
	for _, name := range requestParams {
		if v := from.Get(name); v != "" {
			to.Set(name, v)
		}
	}
	// OpenID Connect Core, 3.1.2.1: "Scope values used that are not understood by an
	// implementation SHOULD be ignored." The token response says which ones were granted.
	to.Set("scope", pl.granted(from.Get("scope")))
	// The same section: acr_values are a wish; the library refuses what it does not know.
	unknown := func(acr string) bool { return !slices.Contains(k.cfg.ACRs, acr) }
	if acrs := slices.DeleteFunc(strings.Fields(from.Get("acr_values")), unknown); len(acrs) > 0 {
		to.Set("acr_values", strings.Join(acrs, " "))
	}
}

// localeOf is the first of ui_locales in which there are pages (OpenID Connect Core, 3.1.2.1:
// "represented as a space-separated list of BCP47 … language tag values, ordered by
// preference"), also if it is of another region; "": none. Nothing else of it is kept.
func (k checks) localeOf(v url.Values) string {
	for wanted := range strings.FieldsSeq(v.Get("ui_locales")) {
		for _, locale := range k.cfg.Locales {
			if lower := strings.ToLower(wanted); lower == locale || strings.HasPrefix(lower, locale+"-") {
				return locale
			}
		}
	}
	return ""
}

// formPost is a response_mode (OAuth 2.0 Form Post Response Mode, 2).
const formPost = "form_post"

// checkRequest returns what is wrong with an authorization request of a platform, if
// anything. It does not look at the client and the redirect URI.
func checkRequest(v url.Values, pl Platform) fault {
	prompts := strings.Fields(v.Get("prompt"))
	prompt := func(s string) bool { return s == "none" || s == "login" || s == "consent" || s == "select_account" }
	if wrong := repeated(v); wrong != (fault{}) {
		return wrong
	}
	switch {
	case v.Has("request"):
		return fault{code: "request_not_supported"} // OpenID Connect Core, 3.1.2.6
	case v.Get("request_uri") != "":
		return fault{code: goidc.ErrorCodeRequestURINotSupported} // never fetched
	case v.Has("registration"):
		return fault{code: "registration_not_supported"}
	case v.Get("response_type") == "":
		return invalid("response_type is missing: send code.")
	case v.Get("response_type") != "code":
		return fault{code: "unsupported_response_type"}
	case v.Get("response_mode") != "" && v.Get("response_mode") != "query" && v.Get("response_mode") != formPost:
		return invalid("response_mode is query or form_post.")
	case !slices.Contains(strings.Fields(v.Get("scope")), goidc.ScopeOpenID.ID):
		return fault{code: goidc.ErrorCodeInvalidScope}
	case slices.ContainsFunc(prompts, not(prompt)), slices.Contains(prompts, "none") && len(prompts) > 1:
		return invalid("prompt is none alone, or of login, consent and select_account.")
	case v.Has("max_age") && !digits(v.Get("max_age")):
		return invalid("max_age is a number of seconds, of at most nine digits.")
	case len(v.Get("nonce")) > maxNonce:
		return invalid("nonce is too long: at most 512 bytes.")
	case v.Get("dpop_jkt") != "" && !sha256b64.MatchString(v.Get("dpop_jkt")):
		return invalid("dpop_jkt is not the SHA-256 thumbprint of a key (RFC 9449, 10).")
	}
	return checkChallenge(v, pl)
}

// checkChallenge holds a request to PKCE with S256 (RFC 7636). RFC 9700, 2.1.1: "Public
// clients MUST use PKCE", and for confidential ones "the nonce parameter and the
// respective Claim in the ID Token" will do.
func checkChallenge(v url.Values, pl Platform) fault {
	challenge, method := v.Get("code_challenge"), v.Get("code_challenge_method")
	if challenge+method == "" {
		switch {
		case pl.public():
			return invalid("code_challenge is missing: a client without a secret must use PKCE with S256.")
		case pl.RequireDPoP:
			return invalid("code_challenge is missing: this client must use PKCE with S256.")
		case v.Get("nonce") == "":
			return invalid("code_challenge or nonce is missing: send one of them, the first with S256.")
		}
		return fault{}
	}
	switch {
	// RFC 7636, 4.3: the method "defaults to plain if not present in the request", and plain is refused.
	case method != "S256":
		return invalid("code_challenge_method must be S256.")
	case !sha256b64.MatchString(challenge):
		return invalid("code_challenge is not the base64url of a SHA-256.")
	}
	return fault{}
}

// checkHint takes the subject of an id_token_hint that was issued here to this
// platform, however long ago: a hint says whom the platform expects, and is no
// credential. The library refuses one that has expired (OpenID Connect Core, 3.1.2.1).
func (k checks) checkHint(x *exchange, v url.Values, platform string) fault {
	if !v.Has("id_token_hint") {
		return fault{}
	}
	subject, audience, ok := k.keys.Load().about(v.Get("id_token_hint"), k.cfg.Issuer)
	if x.hint = subject; !ok || audience != platform {
		return invalid("id_token_hint is not an ID token that was issued here to this client.")
	}
	return fault{}
}

func not[T any](f func(T) bool) func(T) bool { return func(v T) bool { return !f(v) } }

func digits(s string) bool {
	return s != "" && len(s) <= 9 && strings.Trim(s, "0123456789") == ""
}

// repeated refuses a parameter that is used and comes more than once (RFC 6749, 3.1:
// "Request and response parameters MUST NOT be included more than once"). Of several it
// names the first by the alphabet.
func repeated(v url.Values) fault {
	first := ""
	for name, values := range v {
		if _, used := repeatedTexts[name]; used && len(values) > 1 && (first == "" || name < first) {
			first = name
		}
	}
	if first == "" {
		return fault{}
	}
	return invalid(repeatedTexts[first])
}

// repeatedTexts say so of each parameter that is used.
var repeatedTexts = func() map[string]string {
	texts := map[string]string{}
	for _, name := range slices.Concat(requestParams, clientParams, tokenParams, []string{"scope", "response_mode", "acr_values", "id_token_hint", "request", "request_uri"}) {
		texts[name] = name + " is sent more than once."
	}
	return texts
}()

// inAddress reports whether a query has a parameter that is used, or cannot be read.
func inAddress(query string) bool {
	v, err := url.ParseQuery(query)
	for name := range v {
		if _, used := repeatedTexts[name]; used {
			return true
		}
	}
	return err != nil
}

// tokenParams are those of the endpoints that take tokens.
var tokenParams = []string{"grant_type", "code", "code_verifier", "refresh_token", "token", "token_type_hint", "access_token"}

const formType = "application/x-www-form-urlencoded"

func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return t
}

// api serves the endpoints that platforms call. Its own checks come first, the
// library's answer is held back and translated.
func (p *Provider) api(w http.ResponseWriter, r *http.Request) {
	r, x := begin(r, r.URL.Path)
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	wrong := p.checkAPI(r, x)
	if x.outage != nil {
		wrong = fault{code: unavailable}
	}
	if wrong != (fault{}) {
		p.apiError(w, r, wrong)
		return
	}
	held := newBuffer()
	p.library.ServeHTTP(held, r)
	if x.endpoint == bansPath && held.status == http.StatusOK && x.outage == nil {
		p.ban(w, r, x)
		return
	}
	if x.again {
		held = newBuffer()
		p.library.ServeHTTP(held, r)
	}
	p.answer(w, r, x, held)
}

// checkAPI returns what is wrong with a request before the library sees it, if anything.
func (k checks) checkAPI(r *http.Request, x *exchange) fault {
	if inAddress(r.URL.RawQuery) { // RFC 6749, 2.3.1: secrets "MUST NOT be included in the request URI"
		return invalid("Parameters go into the body, not into the address.")
	}
	bare := *r.URL // RFC 6749, 3.2: "MUST ignore unrecognized request parameters"
	bare.RawQuery, r.URL = "", &bare
	if r.Method == http.MethodPost {
		switch {
		case mediaType(r) != formType && (x.endpoint != userinfoPath || mediaType(r) != ""):
			return invalid("Content-Type must be application/x-www-form-urlencoded.")
		case x.parseForm(r) != nil:
			return invalid("The body is not a form, or is too large.")
		}
		if wrong := repeated(r.PostForm); wrong != (fault{}) {
			return wrong
		}
	}
	if x.endpoint == userinfoPath {
		return k.checkUserinfo(r, x)
	}
	if wrong := cmp.Or(k.checkClient(r, x), k.checkProof(r, x, "")); wrong != (fault{}) {
		return wrong
	}
	switch {
	case x.endpoint == "/par":
		return k.checkPushed(r, x)
	case x.endpoint == "/token":
		return k.checkToken(r, x)
	case x.endpoint == bansPath:
		return checkBan(r, x)
	case r.PostForm.Get("token") == "":
		return invalid("token is missing.")
	case x.endpoint == "/introspect" && strings.Count(r.PostForm.Get("token"), ".") == 2 && !k.keys.Load().dated(r.PostForm.Get("token")):
		r.PostForm.Set("token", "-") // after the client was authenticated, the answer is "inactive"
	}
	return fault{}
}

// checkToken looks for what a token request must have. An unknown grant_type is the
// library's to refuse.
func (k checks) checkToken(r *http.Request, x *exchange) fault {
	v := r.PostForm
	x.redirectURI = v.Get("redirect_uri")
	if v.Has("scope") { // as in copyRequest
		if x.scope = x.client.granted(v.Get("scope")); !x.client.renews(x) {
			x.scope = withoutOffline(x.scope)
		}
		v.Set("scope", x.scope)
	}
	switch {
	case v.Get("grant_type") == string(goidc.GrantAuthorizationCode) && v.Get("code") == "":
		return invalid("code is missing.")
	case v.Get("grant_type") == string(goidc.GrantRefreshToken) && v.Get("refresh_token") == "":
		return invalid("refresh_token is missing.")
	}
	wrong := k.checkResource(r.Context(), x, v, x.client)
	v.Del("resource")
	return wrong
}

// checkPushed checks a pushed authorization request, and passes on only what it was
// checked for.
func (k checks) checkPushed(r *http.Request, x *exchange) fault {
	if r.PostForm.Has("request_uri") { // RFC 9126, 2.1: "MUST NOT provide"
		return invalid("request_uri cannot be pushed.")
	}
	pl := x.client
	if wrong := cmp.Or(checkRequest(r.PostForm, pl), k.checkHint(x, r.PostForm, x.clientID), k.checkResource(r.Context(), x, r.PostForm, pl)); wrong != (fault{}) {
		return wrong
	}
	switch jkt := r.PostForm.Get("dpop_jkt"); {
	case pl.ID != "" && !pl.allows(r.PostForm.Get("redirect_uri")): // byte by byte, as the library does not
		return invalid("redirect_uri is missing or not registered for this client: send it exactly as it is registered.")
	case jkt != "" && x.proof != nil && x.proof.JKT != jkt: // RFC 9449, 10.1
		return invalid("dpop_jkt is not the key of the DPoP proof.")
	}
	if r.PostForm.Get("response_mode") == formPost {
		x.formPost = r.PostForm.Get("redirect_uri")
	}
	form := url.Values{}
	for _, name := range clientParams {
		if v := r.PostForm.Get(name); v != "" {
			form.Set(name, v)
		}
	}
	k.copyRequest(form, r.PostForm, pl)
	x.locale = k.localeOf(r.PostForm)
	r.PostForm = form
	return fault{}
}

var clientParams = []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"}

// checkClient notes how the platform authenticates and refuses what is ambiguous.
func (k checks) checkClient(r *http.Request, x *exchange) fault {
	id, secret, basic := r.BasicAuth()
	if basic {
		// RFC 6749, 2.3.1: both are form-encoded first; the library does not decode them.
		var err, err2 error
		id, err = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if errors.Join(err, err2) != nil {
			return fault{goidc.ErrorCodeInvalidClient, "Authorization: id and secret are form-encoded before they are joined (RFC 6749, 2.3.1)."}
		}
		r.SetBasicAuth(id, secret)
	} else if r.Header.Get("Authorization") != "" {
		return fault{goidc.ErrorCodeInvalidClient, "Authorization must be Basic."}
	}
	x.clientID, x.secretInBody = r.PostForm.Get("client_id"), r.PostForm.Has("client_secret")
	ways := 0
	for _, used := range []bool{basic, x.secretInBody, r.PostForm.Has("client_assertion")} {
		if used {
			ways++
		}
	}
	assertion := r.PostForm.Get("client_assertion")
	switch {
	case ways > 1: // RFC 6749, 2.3: "The client MUST NOT use more than one authentication method in each request."
		return invalid("The client authenticates in two ways at once: use one.")
	case basic:
		x.clientID = id
	case assertion != "":
		if wrong := k.claimant(x, assertion); wrong != (fault{}) {
			return wrong
		}
	}
	pl, err := k.platform(r.Context(), x.clientID)
	x.client = pl
	switch {
	case err != nil: // the library says so
	case pl.public() && cmp.Or(secret, r.PostForm.Get("client_secret"), assertion) != "":
		// The library would not look at it.
		return fault{goidc.ErrorCodeInvalidClient, "This client has neither a secret nor a key: it sends its client_id alone."}
	case assertion != "":
		return k.checkAssertion(r, x, pl, assertion)
	}
	return fault{}
}

// checkProof verifies a DPoP proof but for its replay (RFC 9449, 4.3). Without a
// proof the library decides whether one was due.
func (k checks) checkProof(r *http.Request, x *exchange, accessToken string) fault {
	switch proofs := r.Header.Values("DPoP"); {
	case len(proofs) > 1: // "There is not more than one DPoP HTTP request header field." The library would see none.
		return fault{code: invalidProof}
	case len(proofs) == 1:
		var err error
		x.proof, err = token.VerifyDPoP(proofs[0], token.DPoPWant{
			Method: r.Method, URL: k.cfg.Issuer + r.URL.Path, AccessToken: accessToken, Now: k.now(), MaxAge: proofLifetime,
		})
		if errors.Is(err, token.ErrProofAlg) {
			return fault{invalidProof, "The DPoP proof's alg must be EdDSA or ES256, by these names: make its key for ES256 if your library calls EdDSA Ed25519."}
		}
		if err != nil {
			return fault{code: invalidProof}
		}
	}
	return fault{}
}

// checkUserinfo holds the token to its scheme: the library takes any (attack P25).
func (k checks) checkUserinfo(r *http.Request, x *exchange) fault {
	badToken := fault{code: goidc.ErrorCodeInvalidToken}
	auth := r.Header.Values("Authorization")
	if raw := r.PostForm.Get("access_token"); raw != "" && len(auth) == 0 { // RFC 6750, 2.2
		auth = []string{"Bearer " + raw}
		r.Header.Set("Authorization", auth[0])
	} else if raw != "" {
		return invalid("access_token is sent in two ways at once: use one.")
	}
	if len(auth) != 1 {
		return badToken
	}
	scheme, raw, _ := strings.Cut(auth[0], " ")
	var c struct {
		Scope        string `json:"scope"`
		Confirmation struct {
			JKT string `json:"jkt"`
		} `json:"cnf"`
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || !decodePart(parts[1], &c) || !k.keys.Load().dated(raw) {
		return badToken
	}
	x.scope = c.Scope // the library looks at the signature
	// RFC 9449, 7.1: the scheme is DPoP for a bound token, and only for such a one.
	if bound := c.Confirmation.JKT != ""; bound != strings.EqualFold(scheme, "DPoP") || !bound && !strings.EqualFold(scheme, "Bearer") {
		return badToken
	}
	return k.checkProof(r, x, raw)
}

// failure is the refusal to show when there was an outage.
func (x *exchange) failure() *refusal.Error {
	return cmp.Or(x.unconfirmed, ErrUnavailable.Because(x.outage))
}

// orElse is the refusal to show when a lookup failed: unavailable if that was not
// the caller's fault.
func (x *exchange) orElse(e *refusal.Error) *refusal.Error {
	if x.outage != nil {
		return x.failure()
	}
	return e
}
