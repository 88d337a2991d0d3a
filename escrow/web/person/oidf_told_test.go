package person

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// clientTold is told of logouts, with one token for each of its sessions.
var clientTold = party{id: "suite-told", auth: "client_secret_basic"}

// toldPlatform is where logout tokens of clientTold arrive.
type toldPlatform struct {
	*httptest.Server
	requests chan *http.Request // with their forms read
}

func newToldPlatform(t *testing.T) *toldPlatform {
	p := &toldPlatform{requests: make(chan *http.Request, 10)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Cache-Control", "no-store")
		p.requests <- r
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *toldPlatform) register(_ *testing.T, c *Config) {
	pl := suitePlatforms()[0]
	pl.ID, pl.BackchannelLogoutURI, pl.BackchannelLogoutSessionRequired, pl.Localhost = clientTold.id, p.URL+"/backchannel_logout", true, true
	c.Platforms, c.HTTP = append(c.Platforms, pl), p.Client()
}

// tellingModules are the plan backchannel.
var tellingModules = []module{
	{id: "oidcc-backchannel-logout-discovery-endpoint-verification", plan: bcLogout, run: func(o *oidf) {
		doc := o.https()
		o.allHTTPS(doc)
		o.want(doc["backchannel_logout_supported"] == true, "backchannel_logout_supported")
		o.want(doc["backchannel_logout_session_supported"] == true, "backchannel_logout_session_supported")
		o.want(doc["end_session_endpoint"] != nil, "end_session_endpoint is missing")
	}},
	{id: "oidcc-backchannel-rp-initiated-logout", plan: bcLogout, run: func(o *oidf) {
		a, claims := o.signedIn(clientTold)
		o.leave(endSession(a.text("id_token")))
		if _, err := o.live.TellPlatforms(o.t.Context()); err != nil {
			o.stop("nobody was told: %v", err)
		}
		select {
		case r := <-o.told.requests:
			o.logoutToken(r, claims)
		default:
			o.stop("nobody was told")
		}
		silent := o.request(clientTold, "prompt", "none", "state", strings.Repeat("s", 128))
		o.authError(o.signIn(silent), silent, "interaction_required", "login_required", "account_selection_required", "consent_required")
	}},
}

// logoutToken holds a back-channel request to OpenID Connect Back-Channel Logout 1.0, 2.4
// and 2.5, and to the ID token of the session that ended.
func (o *oidf) logoutToken(r *http.Request, id map[string]any) {
	o.want(r.Method == http.MethodPost && r.URL.Path == "/backchannel_logout" && r.URL.RawQuery == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"), "it is not posted as a form")
	for name := range r.PostForm {
		if name != "logout_token" {
			o.note(warning, "the request has %s", name)
		}
	}
	_, claims := o.idToken(r.PostForm.Get("logout_token"), clientTold, url.Values{}) // without a nonce
	events, _ := claims["events"].(map[string]any)
	event, there := events["http://schemas.openid.net/event/backchannel-logout"].(map[string]any)
	o.want(there && len(event) == 0, "events is %v", claims["events"])
	o.want(claims["jti"] != nil && claims["nonce"] == nil, "jti is %v, nonce is %v", claims["jti"], claims["nonce"])
	o.want(claims["sub"] == id["sub"], "sub is not that of the ID token")
	o.want(id["sid"] != nil && claims["sid"] == id["sid"], "sid is not that of the ID token")
}

// leave presses the button of the page to which a platform leads, and holds what follows
// to the request: the person is led back if it says so.
func (o *oidf) leave(request url.Values) {
	_, body := o.do("GET", o.origin+"/logout?"+request.Encode(), nil, "Accept", "text/html")
	_, rest, ok := strings.Cut(body, `action="/logout/answer`)
	query, _, _ := strings.Cut(rest, `"`)
	if !ok {
		o.stop("the page does not ask: %s", body)
	}
	_, rest, _ = strings.Cut(rest, `name="pen_name" value="`)
	name, _, _ := strings.Cut(rest, `"`)
	res, body := o.do("POST", o.origin+"/logout/answer"+strings.ReplaceAll(query, "&amp;", "&"), url.Values{"decision": {"leave"}, "pen_name": {name}}, "Accept", "text/html")
	at, err := res.Location()
	switch {
	case !request.Has("post_logout_redirect_uri"):
		o.want(err != nil && res.StatusCode == http.StatusOK && strings.Contains(body, "You are signed out here"), "no page of somebody signed out: %s", res.Status)
		o.note(review, "the page says: You are signed out here")
	case err != nil:
		o.stop("not led back: %s %s", res.Status, body)
	default:
		q := at.Query()
		o.want(strings.HasPrefix(at.String(), suiteLeft), "led to %s", at)
		o.want(q.Get("state") == request.Get("state") && q.Has("state") == request.Has("state"), "state does not come back as it was sent")
		for name := range q {
			if name != "state" {
				o.note(warning, "led back with %s", name)
			}
		}
	}
}
