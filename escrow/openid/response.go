package openid

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/penname/penname/verifier/refusal"
)

// Error codes that the library lacks.
const (
	invalidProof    goidc.ErrorCode = "invalid_dpop_proof"      // RFC 9449, 5 and 7.1
	unavailable     goidc.ErrorCode = "temporarily_unavailable" // RFC 6749, 4.1.2.1
	noScope         goidc.ErrorCode = "insufficient_scope"      // RFC 6750, 3.1
	consentRequired goidc.ErrorCode = "consent_required"        // OpenID Connect Core, 3.1.2.6
	inactive        goidc.ErrorCode = "inactive"                // never sent: the token is not for this caller
)

// fault is what is wrong with a request.
type fault struct {
	code goidc.ErrorCode
	says string // a constant that names the parameter; "": the text of the code
}

// invalid is a fault that has no code of its own.
func invalid(says string) fault { return fault{goidc.ErrorCodeInvalidRequest, says} }

func (f fault) text() string { return cmp.Or(f.says, errorTexts[f.code]) }

// errorTexts is the error_description of each code: constants, so that they carry nothing.
var errorTexts = map[goidc.ErrorCode]string{
	goidc.ErrorCodeAccessDenied:           "The person or the issuer refused.",
	goidc.ErrorCodeInvalidClient:          "Client authentication failed: client_id is not registered, or client_secret (in the body or by Authorization: Basic) or client_assertion is not current, or the client has registered another way; an assertion's aud is the issuer.",
	goidc.ErrorCodeInvalidGrant:           "code or refresh_token is not valid for this client, was used or has expired: sign the person in again.",
	goidc.ErrorCodeInvalidRequest:         "A parameter is missing, malformed, repeated or not allowed here: see the discovery document.",
	goidc.ErrorCodeInvalidScope:           "scope must contain openid; offline_access can be added, and anything else is ignored.",
	goidc.ErrorCodeInvalidToken:           "The access token is not valid, not active, or sent with the wrong scheme.",
	goidc.ErrorCodeUnauthorizedClient:     "The client may not do this.",
	goidc.ErrorCodeUnsupportedGrantType:   "grant_type is authorization_code or refresh_token.",
	goidc.ErrorCodeRequestURINotSupported: "request_uri is one from the pushed authorization request endpoint, and no other.",
	invalidTarget:                         "resource names no platform of this client's sector: send its client_id, or an address at one of its origins.",
	invalidProof:                          "The DPoP proof is missing, malformed, not for this request, not fresh, or was used; or its key was used at another platform: make one for each.",
	unavailable:                           "Try again later: nothing was disclosed.",
	noScope:                               "The access token lacks the scope openid.",
	"request_not_supported":               "request is not supported: push the parameters instead (RFC 9126).",
	"registration_not_supported":          "registration is not supported.",
	"unsupported_response_type":           "response_type is code.",
}

var errorStatus = map[goidc.ErrorCode]int{
	goidc.ErrorCodeInvalidClient: http.StatusUnauthorized,
	goidc.ErrorCodeInvalidToken:  http.StatusUnauthorized,
	noScope:                      http.StatusForbidden,
	unavailable:                  http.StatusServiceUnavailable,
}

// buffer holds an answer back.
type buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newBuffer() *buffer { return &buffer{header: http.Header{}, status: http.StatusOK} }

func (b *buffer) Header() http.Header         { return b.header }
func (b *buffer) WriteHeader(status int)      { b.status = status }
func (b *buffer) Write(p []byte) (int, error) { return b.body.Write(p) }

// answers is how the provider says no.
type answers struct{ cfg *Config }

// answer passes the library's answer on. Errors are reduced to a code of ours, so
// that no text of the library's leaves.
func (a answers) answer(w http.ResponseWriter, r *http.Request, x *exchange, held *buffer) {
	if x.outage != nil {
		a.apiError(w, r, fault{code: unavailable})
		return
	}
	if held.status < http.StatusBadRequest {
		if v := held.header.Get("Content-Type"); v != "" {
			w.Header().Set("Content-Type", v)
		}
		w.Header().Set("Cache-Control", "no-store") // RFC 6749, 5.1: both
		w.Header().Set("Pragma", "no-cache")
		w.WriteHeader(held.status)
		_, _ = w.Write(held.body.Bytes()) // the client is gone: nothing to do
		return
	}
	var e goidc.Error
	if json.Unmarshal(held.body.Bytes(), &e) != nil {
		e.Code = goidc.ErrorCodeInternalError
	}
	code := translate(x.endpoint, e)
	if code == inactive {
		a.refused(r, string(goidc.ErrorCodeAccessDenied))
		writeAPI(w, http.StatusOK, map[string]any{"active": false})
		return
	}
	a.apiError(w, r, fault{code, x.says(code, e.Description)})
}

// says names what the library has found wrong where the text of the code does not.
func (x *exchange) says(code goidc.ErrorCode, description string) string {
	switch {
	case code == goidc.ErrorCodeInvalidGrant && description == "invalid code_verifier":
		return "code_verifier is missing, is not that of code_challenge, or there was none."
	case code == goidc.ErrorCodeInvalidGrant && x.otherURI:
		return "redirect_uri is not that of the authorization request."
	case code == goidc.ErrorCodeInvalidRequest && x.endpoint == "/token": // all else was looked for before: checkToken
		return "DPoP is missing: the tokens of this client or of this sign-in are bound to a key (RFC 9449)."
	}
	return ""
}

// translate corrects the library's choice of error codes.
func translate(endpoint string, e goidc.Error) goidc.ErrorCode {
	switch {
	case e.Description == "invalid DPoP proof":
		return invalidProof
	case endpoint == "/introspect" && e.Code == goidc.ErrorCodeAccessDenied:
		return inactive // RFC 7662, 2.2: not for this protected resource
	case endpoint == userinfoPath && e.Code == goidc.ErrorCodeAccessDenied:
		return noScope
	case endpoint == userinfoPath && e.Code == goidc.ErrorCodeUnauthorizedClient:
		return invalidProof // the proof is missing
	case e.Code == goidc.ErrorCodeAccessDenied:
		return goidc.ErrorCodeUnauthorizedClient
	case e.Code == goidc.ErrorCodeExpiredToken:
		return goidc.ErrorCodeInvalidGrant
	}
	if _, known := errorTexts[e.Code]; !known {
		return unavailable // the library calls any failure of ours an internal error
	}
	return e.Code
}

// apiError answers with an error (RFC 6749, 5.2).
func (a answers) apiError(w http.ResponseWriter, r *http.Request, wrong fault) {
	code := wrong.code
	a.refused(r, string(code))
	status, ok := errorStatus[code]
	if !ok {
		status = http.StatusBadRequest
	}
	switch {
	case r.URL.Path == userinfoPath:
		if code == invalidProof {
			status = http.StatusUnauthorized
		}
		// RFC 9449, 7.2: a protected resource that takes both says so.
		w.Header().Add("WWW-Authenticate", `DPoP algs="EdDSA ES256", error="`+string(code)+`"`)
		w.Header().Add("WWW-Authenticate", `Bearer error="`+string(code)+`"`)
	case code == goidc.ErrorCodeInvalidClient:
		w.Header().Set("WWW-Authenticate", `Basic realm="penname"`) // RFC 6749, 5.2
	case code == unavailable:
		w.Header().Set("Retry-After", "5")
	}
	writeAPI(w, status, map[string]any{"error": code, "error_description": wrong.text()})
}

// writeAPI answers a platform (RFC 6749, 5.1: "Cache-Control: no-store").
func writeAPI(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, status, v)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // of maps of strings: only a lost client fails
}

// redirectError sends an error back to a platform whose redirect URI was checked.
func (a answers) redirectError(w http.ResponseWriter, r *http.Request, params url.Values, wrong fault) {
	a.refused(r, string(wrong.code))
	back := url.Values{"error": {string(wrong.code)}, "error_description": {wrong.text()}, "iss": {a.cfg.Issuer}}
	if state := params["state"]; len(state) == 1 && state[0] != "" {
		back.Set("state", state[0])
	}
	to, err := withQuery(params.Get("redirect_uri"), back)
	if err != nil { // it was compared with a valid one
		a.showError(w, r, ErrRedirectURI)
		return
	}
	if params.Get("response_mode") == formPost {
		a.postBack(w, r, params.Get("redirect_uri"), to, nil)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// withQuery adds parameters to those that an address has.
func withQuery(address string, add url.Values) (string, error) {
	u, err := url.Parse(address)
	if err != nil || len(add) == 0 {
		return address, err
	}
	query := u.Query()
	maps.Copy(query, add)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// responseParams are what an answer to the platform is made of.
var responseParams = []string{"code", "state", "iss", "error", "error_description"}

// postPage hands an answer to the platform (OAuth 2.0 Form Post Response Mode, 2). Its
// script is allowed by its hash; without scripts the person presses the button.
var postPage = template.Must(template.New("post").Parse(`<!doctype html>
<html lang="{{.Language}}"><meta charset="utf-8"><title>{{.Title}}</title>
<form method="post" action="{{.Action}}">{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}<button>{{.Continue}}</button></form>
<script>` + postScript + `</script></html>
`))

const postScript = `document.forms[0].submit()`

// postBack makes of a redirect to redirectURI a form that is posted there.
func (a answers) postBack(w http.ResponseWriter, r *http.Request, redirectURI, location string, cookies []string) {
	back, err := url.Parse(location)
	registered, err2 := url.Parse(redirectURI)
	if errors.Join(err, err2) != nil {
		a.showError(w, r, ErrRedirectURI)
		return
	}
	fields := map[string]string{}
	for _, name := range responseParams {
		if v := back.Query()[name]; len(v) > 0 {
			fields[name] = v[len(v)-1]
		}
	}
	hash := sha256.Sum256([]byte(postScript))
	h := w.Header()
	h["Set-Cookie"] = append(h.Values("Set-Cookie"), cookies...)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; script-src 'sha256-"+
		base64.StdEncoding.EncodeToString(hash[:])+"'; form-action "+registered.Scheme+":") // its callback may go on
	title, language := a.says(r, "Back to the platform")
	button, _ := a.says(r, "Continue")
	_ = postPage.Execute(w, map[string]any{"Action": template.URL(redirectURI), "Fields": fields, "Language": language, "Title": title, "Continue": button}) //nolint:gosec // a registered redirect URI; only a lost browser fails
}

// says is a text in the language of whoever asks, and which that is.
func (a answers) says(r *http.Request, english string) (text, language string) {
	if a.cfg.Text == nil {
		return english, "en"
	}
	return a.cfg.Text(r, english)
}

// renderError is the library's way to show what cannot be sent to the platform.
func (a answers) renderError(w http.ResponseWriter, r *http.Request, err error) error {
	var e goidc.Error
	x := exchangeOf(r.Context())
	switch {
	case x.outage != nil:
		a.showError(w, r, x.failure())
	case r.PathValue("id") != "" || r.PathValue("callback") != "":
		a.showError(w, r, ErrNotFound)
	case strings.HasPrefix(r.URL.Query().Get("request_uri"), parPrefix):
		a.showError(w, r, ErrRequestURI)
	case errors.As(err, &e) && e.Code != goidc.ErrorCodeInternalError:
		a.showError(w, r, ErrRequest)
	default:
		a.showError(w, r, ErrUnavailable)
	}
	return nil
}

// showError shows a refusal to the person.
func (a answers) showError(w http.ResponseWriter, r *http.Request, e *refusal.Error) {
	a.refused(r, e.Code)
	w.Header().Set("Cache-Control", "no-store")
	if a.cfg.ErrorPage != nil {
		a.cfg.ErrorPage(w, r, e)
		return
	}
	status := http.StatusBadRequest
	if e.Kind == refusal.Unavailable {
		status = http.StatusServiceUnavailable
	}
	http.Error(w, e.Error(), status)
}

// refused reports a refusal to the operator.
func (a answers) refused(r *http.Request, code string) {
	if a.cfg.Refused != nil {
		x := exchangeOf(r.Context())
		a.cfg.Refused(r.Context(), cmp.Or(x.endpoint, "/status"), code, x.outage)
	}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// quote returns s as JSON.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // cannot be: s is a string
		return ""
	}
	return string(b)
}
