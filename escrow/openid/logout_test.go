package openid_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/openid"
)

// leaver is the page of a logout. Who answers "leave" or is not signed in is done.
type leaver struct {
	asked openid.LeaveRequest
	out   bool
}

func (l *leaver) page(w http.ResponseWriter, r *http.Request, req openid.LeaveRequest) (bool, error) {
	l.asked = req
	if l.out || req.Answer && r.PostFormValue("decision") == "leave" {
		return true, nil
	}
	fmt.Fprintf(w, `<form method="post" action="%s">`, req.Action)
	return false, nil
}

const leftAt = "https://square.example/bye?x=1"

// newLeavingRig is a provider with logout. Town Square has an address to come back to.
func newLeavingRig(t *testing.T) (*rig, *leaver) {
	l := &leaver{}
	r := newRig(t, func(r *rig) {
		r.cfg.Leave = l.page
		r.square.PostLogoutRedirectURIs = []string{leftAt}
		fixed, err := openid.Fixed(r.square, r.forum, r.app)
		if err != nil {
			t.Fatal(err)
		}
		r.cfg.Platforms = fixed
	})
	return r, l
}

func TestLogoutComesBack(t *testing.T) {
	r, l := newLeavingRig(t)
	if doc := r.get("/.well-known/openid-configuration").json(t); doc["end_session_endpoint"] != r.issuer+"/logout" {
		t.Error(doc["end_session_endpoint"])
	}
	hint := r.tokens()["id_token"].(string)
	for name, params := range map[string]url.Values{
		"by hint":   {"id_token_hint": {hint}, "post_logout_redirect_uri": {leftAt}, "state": {"s 1"}, "logout_hint": {canary}},
		"by client": {"client_id": {r.square.ID}, "post_logout_redirect_uri": {leftAt}, "state": {"s 1"}},
		"by both":   {"client_id": {r.square.ID}, "id_token_hint": {hint}, "post_logout_redirect_uri": {leftAt}, "state": {"s 1"}},
	} {
		for _, ask := range []func() answer{func() answer { return r.get("/logout?" + params.Encode()) }, func() answer { return r.post("/logout", params) }} {
			asked := ask()
			_, rest, _ := strings.Cut(asked.body, `action="`)
			action, _, _ := strings.Cut(rest, `"`)
			if asked.status != http.StatusOK || l.asked.Platform.ID != r.square.ID || l.asked.Answer || strings.Contains(action, hint) || strings.Contains(action, canary) {
				t.Fatalf("%s: %d %s", name, asked.status, asked.body)
			}
			back := r.post(action, url.Values{"decision": {"leave"}})
			if to := back.redirected(t); !strings.HasPrefix(back.header.Get("Location"), "https://square.example/bye?") || to.Get("state") != "s 1" || to.Get("x") != "1" {
				t.Errorf("%s: %v", name, back.header)
			}
		}
	}
	l.out = true
	if back := r.get("/logout"); back.status != http.StatusSeeOther || back.header.Get("Location") != "/" {
		t.Errorf("nobody signed in, nothing asked: %d %v", back.status, back.header)
	}
	// A platform's page posts the answer in the person's place: it is read as a question.
	l.out = false
	if a := r.post("/logout", url.Values{"decision": {"leave"}}); a.status != http.StatusOK || l.asked.Answer {
		t.Errorf("answered by a platform: %d", a.status)
	}
}

// TestO29PostLogoutRedirectURIs: nobody is led anywhere that is not registered by the
// platform that is proven or named.
func TestO29PostLogoutRedirectURIs(t *testing.T) {
	r, _ := newLeavingRig(t)
	tokens := r.tokens()
	hint := tokens["id_token"].(string)
	parts := strings.Split(hint, ".")
	for name, params := range map[string]url.Values{
		"unregistered":        {"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://evil.example/"}},
		"query added":         {"id_token_hint": {hint}, "post_logout_redirect_uri": {leftAt + "&y=2"}},
		"prefix":              {"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://square.example/bye"}},
		"a redirect_uri":      {"id_token_hint": {hint}, "post_logout_redirect_uri": {r.square.RedirectURIs[0]}},
		"of nobody":           {"post_logout_redirect_uri": {leftAt}},
		"of another client":   {"client_id": {r.forum.ID}, "post_logout_redirect_uri": {leftAt}},
		"hint of another":     {"client_id": {r.forum.ID}, "id_token_hint": {hint}},
		"hint changed":        {"id_token_hint": {parts[0] + "." + parts[1] + "x." + parts[2]}},
		"hint signed by none": {"id_token_hint": {parts[0] + "." + parts[1] + "."}},
		"an access token":     {"id_token_hint": {tokens["access_token"].(string)}},
		"no token":            {"id_token_hint": {"x"}},
	} {
		want := openid.ErrLogout
		if name == "of nobody" {
			want = openid.ErrLogoutUnnamed
		}
		wantPage(t, r.get("/logout?"+params.Encode()), want)
		wantPage(t, r.post("/logout", params), want)
		if a := r.post("/logout/answer?"+params.Encode(), url.Values{"decision": {"leave"}}); a.status < 400 || a.header.Get("Location") != "" {
			t.Errorf("O29/%s: answered: %d %v", name, a.status, a.header)
		}
	}
	wantPage(t, r.get("/logout?client_id=nobody"), openid.ErrLogoutClient)
	wantPage(t, r.get("/logout?state=a&state=b"), openid.ErrRequest)
	for _, uri := range []string{"http://square.example/", "https://*.example/", "javascript:alert(1)", "https://square.example/#x"} {
		bad := r.square
		bad.PostLogoutRedirectURIs = []string{uri}
		if _, err := openid.Fixed(bad); err == nil {
			t.Errorf("%s can be registered", uri)
		}
	}
}
