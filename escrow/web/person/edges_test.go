package person

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/identity"
)

// signsIn leads a proof of identity on to a platform, and returns what it gets.
func (b *browser) signsIn(callback *url.URL, action string) url.Values {
	b.t.Helper()
	b.shows("GET", callback.String(), nil, http.StatusOK, `action="`+action+`"`, "Sign in to")
	res, _ := b.do("POST", b.origin+action, url.Values{"decision": {"allow"}})
	return result(b.t, res)
}

// TestTwoTabs: sign-ins at two platforms at once, in one browser, do not disturb each
// other, in whatever order they end.
func TestTwoTabs(t *testing.T) {
	s := newService(t)
	b := s.browser()
	one, two := b.open("pocket", "state", "one"), b.open("purse", "state", "two")
	first := b.proveWith(url.Values{"provider": {"post"}, "interaction": {one}}, jo)
	second := b.proveWith(url.Values{"provider": {"post"}, "interaction": {two}}, jo)
	if got := b.signsIn(first, one); got.Get("code") == "" || got.Get("state") != "one" {
		t.Errorf("the first tab: %v", got)
	}
	if got := b.signsIn(second, two); got.Get("code") == "" || got.Get("state") != "two" {
		t.Errorf("the second tab: %v", got)
	}
	// As many tabs as a cookie has room for: the oldest is forgotten, and told so.
	var callbacks []*url.URL
	for range 6 {
		callbacks = append(callbacks, b.proveWith(url.Values{"provider": {"post"}, "device": {"a word for the device, of forty bytes or"}}, jo))
	}
	b.refused(callbacks[0], http.StatusBadRequest, identity.ErrBadState.Code)
	for _, newest := range callbacks[4:] {
		b.welcomed(newest, "You are the same person as before")
	}
}

// TestBack: whoever goes back to the identity provider and presses there again is led on
// to the sign-in that waits; whoever goes back to a page that was answered is told so.
func TestBack(t *testing.T) {
	s := newService(t)
	b := s.browser()
	action := b.open("pocket", "state", "s")
	callback := b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}}, jo)
	b.shows("GET", callback.String(), nil, http.StatusOK, "Sign in to Pocket")
	b.shows("GET", callback.String(), nil, http.StatusOK, "Sign in to Pocket") // led on
	other := s.browser()
	other.shows("GET", callback.String(), nil, http.StatusBadRequest, identity.ErrBadState.Code)
	res, _ := b.do("POST", b.origin+action, url.Values{"decision": {"allow"}})
	if got := result(t, res); got.Get("code") == "" || got.Get("state") != "s" {
		t.Errorf("%v", got)
	}
	s.pass(11 * time.Second)
	b.shows("GET", b.origin+action, nil, http.StatusNotFound, "start again from the platform")
	b.shows("POST", b.origin+action, url.Values{"decision": {"allow"}}, http.StatusNotFound, "start again from the platform")
}

// TestASlowReader: who takes too long at the identity provider is led back to the
// platform; who reads on at a page of ours is not cut off while it is looked at again.
func TestASlowReader(t *testing.T) {
	s := newService(t)
	b := s.browser()
	action := b.open("pocket", "state", "s")
	callback := b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}}, jo)
	s.pass(identity.FlowTTL + time.Second)
	b.shows("GET", callback.String(), nil, http.StatusBadRequest, identity.ErrExpired.Code, `href="`+action+`"`, action+"?declined")
	res, _ := b.do("GET", b.origin+action+"?declined", nil)
	if got := result(t, res); got.Get("error") != "access_denied" || got.Get("state") != "s" {
		t.Errorf("%v", got)
	}
}

// TestEveryPageLeadsBack: from each page between a platform and its answer the person can
// give up, and the platform hears access_denied.
func TestEveryPageLeadsBack(t *testing.T) {
	s := newService(t)
	back := func(what string, res *http.Response) {
		t.Helper()
		if got := result(t, res); got.Get("error") != "access_denied" || got.Get("state") != "s" || got.Get("iss") != s.origin {
			t.Errorf("%s: %v", what, got)
		}
	}
	deny := url.Values{"decision": {"deny"}}
	b := s.browser()
	res, _ := b.do("POST", b.origin+b.open("pocket", "state", "s"), deny)
	back("before a proof", res)

	action := b.open("pocket", "state", "s")
	b.shows("GET", b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}}, jo).String(), nil, http.StatusOK, `value="deny"`)
	res, _ = b.do("POST", b.origin+action, deny)
	back("the consent", res)

	held := s.browser() // somebody alike is enrolled by another provider: held for review
	action = held.open("pocket", "state", "s")
	held.shows("GET", held.proveWith(url.Values{"provider": {"bank"}, "interaction": {action}}, jo).String(), nil, http.StatusConflict, action+"?declined")
	res, _ = held.do("GET", held.origin+action+"?declined", nil)
	back("held", res)

	b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}}, jo))
	b.shows("POST", b.origin+deletePath, url.Values{}, http.StatusOK, "Your request is recorded")
	action = b.open("pocket", "state", "s")
	b.shows("GET", b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}}, jo).String(), nil, http.StatusOK, "You asked us to delete you", action+"?declined")
	res, _ = b.do("GET", b.origin+action+"?declined", nil)
	back("deleted", res)
}

// TestPostedFromAnotherSite: a platform's page may post its request. The person is known
// on the way on, and nothing that was posted is taken for their answer.
func TestPostedFromAnotherSite(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	asked, err := url.ParseQuery(request("pocket", "state", "s"))
	if err != nil {
		t.Fatal(err)
	}
	asked.Set("decision", "allow")
	elsewhere := []string{"Origin", "https://pocket.example", "Sec-Fetch-Site", "cross-site", "Accept", "text/html"}
	strangers := s.browser() // SameSite=Lax: of this request no cookie comes
	res, _ := strangers.do("POST", b.origin+"/authorize", asked, elsewhere...)
	if res.StatusCode != http.StatusOK || res.Request.Method != http.MethodGet || res.Request.URL.Path == "/authorize" {
		t.Fatalf("%s %s %s", res.Status, res.Request.Method, res.Request.URL)
	}
	b.shows("GET", res.Request.URL.String(), nil, http.StatusOK, "Sign in to Pocket</button>", "!Prove my identity")
	// The person's own pages take nothing from elsewhere.
	for _, path := range []string{res.Request.URL.Path, "/enrol", "/me/delete", "/sign-out"} {
		if res, _ := b.do("POST", b.origin+path, url.Values{"decision": {"allow"}}, elsewhere...); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

// TestO26PagesOfASignIn: no page of a sign-in can be framed, none tells where it was, and
// the answer to a form keeps nothing of it (RFC 9700, 4.2, 4.12 and 4.16).
func TestO26PagesOfASignIn(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	action := b.open("pocket")
	pages := map[string]*http.Response{}
	pages["consent"], _ = b.do("GET", b.origin+action, nil, "Accept", "text/html")
	pages["consent of a stranger"], _ = s.browser().do("GET", b.origin+action, nil, "Accept", "text/html")
	pages["refused"], _ = b.do("GET", b.origin+"/authorize?client_id=nobody", nil, "Accept", "text/html")
	pages["logout"], _ = b.do("GET", b.origin+"/logout?client_id=pocket", nil, "Accept", "text/html")
	pages["posted back"], _ = b.do("POST", b.origin+b.open("pocket", "response_mode", "form_post"), url.Values{"decision": {"allow"}})
	for what, res := range pages {
		policy := res.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "base-uri 'none'") || res.Header.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(res.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("O26/%s: %v", what, res.Header)
		}
	}
	if res, _ := b.do("POST", b.origin+action, url.Values{"decision": {"allow"}}); res.StatusCode != http.StatusSeeOther || res.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("O26: %s %v", res.Status, res.Header)
	}
}

// TestO27PagesShowNothingOfTheRequest, where a page refuses as where one asks.
func TestO27PagesShowNothingOfTheRequest(t *testing.T) {
	s := newService(t)
	b := s.browser()
	const script = `"><script>alert(1)</script>`
	for what, path := range map[string]string{
		"client_id": "/authorize?" + request(script), "redirect_uri": "/authorize?" + request("pocket", "redirect_uri", "http://127.0.0.1/"+script), "request_uri": "/authorize?" + url.Values{"client_id": {"pocket"}, "request_uri": {script}}.Encode(),
		"error_hint":  "/authorize?" + request("pocket", "error_hint", script, "error_description", script, "login_hint", script, "ui_locales", script, "display", script),
		"interaction": "/authorize/" + url.PathEscape(script), "callback": CallbackPath("post") + "?" + url.Values{"error": {script}, "error_description": {script}, "state": {script}}.Encode(),
		"logout": "/logout?" + url.Values{"id_token_hint": {script}}.Encode(), "logout, state": "/logout?" + url.Values{"client_id": {"pocket"}, "state": {script}}.Encode(),
	} {
		res, body := b.do("GET", b.origin+path, nil, "Accept", "text/html")
		if strings.Contains(body, "alert(1)") || strings.Contains(strings.ToLower(body), "<script") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			t.Errorf("O27/%s: %s %s", what, res.Status, body)
		}
	}
}
