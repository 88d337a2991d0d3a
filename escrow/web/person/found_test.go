package person

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const jo = 0 // of the people whom the identity providers know

// in is a browser in which jo signed in, on a device of that word.
func (s *service) in(word string) *browser {
	s.t.Helper()
	b := s.browser()
	b.follow(b.proveWith(url.Values{"provider": {"post"}, "device": {word}}, jo))
	return b
}

// follow opens an address and returns the page where it leads.
func (b *browser) follow(to *url.URL) string {
	b.t.Helper()
	res, body := b.do("GET", to.String(), nil)
	if res.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %s %s", res.Request.URL.Path, res.Status, body)
	}
	return body
}

// shows fails unless a page has that status and holds, or lacks after "!", each text.
func (b *browser) shows(method, address string, form url.Values, status int, texts ...string) string {
	b.t.Helper()
	res, body := b.do(method, address, form, "Accept", "text/html")
	if res.StatusCode != status {
		b.t.Errorf("%s %s: %s, want %d", method, address, res.Status, status)
	}
	for _, text := range texts {
		if text, not := strings.CutPrefix(text, "!"); strings.Contains(body, text) == not {
			b.t.Errorf("%s %s: %q: %v\n%s", method, address, text, !not, body)
		}
	}
	return body
}

// signedOut fails if anything of a person can be seen or done with the browser's
// cookie, at either replica.
func (b *browser) signedOut(what string) {
	b.t.Helper()
	for _, origin := range []string{b.origin, b.replica} {
		for _, page := range []string{"GET /me", "GET /me/delete", "POST /me/delete", "POST /me/stay", "POST /me/sign-out-everywhere", "POST /me/sign-out-device", "GET /me/address", "POST /me/address", "POST /me/address/confirm", "POST /me/address/remove"} {
			method, path, _ := strings.Cut(page, " ")
			var form url.Values
			if method == "POST" {
				form = url.Values{"device": {"x"}}
			}
			if res, body := b.do(method, origin+path, form); res.StatusCode != http.StatusUnauthorized || !strings.Contains(body, errSignedOut.Code) {
				b.t.Errorf("%s: %s: %s %s", what, page, res.Status, body)
			}
		}
		b.shows("GET", origin, nil, http.StatusOK, "!My pen names</a></p>", "Prove my identity")
	}
	action := b.open("pocket")
	if b.shows("POST", b.origin+action, url.Values{"decision": {"allow"}}, http.StatusOK, "Prove my identity", "!pen1") == "" {
		b.t.Errorf("%s: no page", what)
	}
}

// copied is a browser with the same cookies.
func (b *browser) copied() *browser {
	b.t.Helper()
	thief := b.browser()
	at, err := url.Parse(b.origin)
	if err != nil {
		b.t.Fatal(err)
	}
	thief.client.Jar.SetCookies(at, b.client.Jar.Cookies(at))
	return thief
}

const verifier = "a-code-verifier-of-at-least-forty-three-characters"

// ask sends an authorization request, changed by pairs, as a person's whole window
// does, and returns the answer.
func (b *browser) ask(platform string, pairs ...string) (*http.Response, string) {
	b.t.Helper()
	return b.do("GET", b.origin+"/authorize?"+request(platform, pairs...), nil, "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate")
}

func request(platform string, pairs ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	v := url.Values{"client_id": {platform}, "redirect_uri": {"http://127.0.0.1/back"}, "response_type": {"code"}, "scope": {"openid"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

var formAction = regexp.MustCompile(`action="(/authorize/[^"]+)"`)

// open begins a sign-in at a platform, and returns where its page posts to.
func (b *browser) open(platform string, pairs ...string) string {
	b.t.Helper()
	_, body := b.ask(platform, pairs...)
	m := formAction.FindStringSubmatch(body)
	if m == nil {
		b.t.Fatalf("no page: %s", body)
	}
	return m[1]
}

// result is what the platform gets: a code, or an error.
func result(t testing.TB, res *http.Response) url.Values {
	t.Helper()
	back, err := res.Location()
	if err != nil || back.Path != "/back" {
		t.Fatalf("%s: no answer to the platform", res.Status)
	}
	return back.Query()
}

// allow presses the button of the consent page, and returns the claims of the ID token.
func (b *browser) allow(platform, action string) map[string]any {
	b.t.Helper()
	res, body := b.do("POST", b.origin+action, url.Values{"decision": {"allow"}})
	if strings.Contains(body, "Prove my identity") {
		b.t.Fatal("asked to prove their identity")
	}
	return b.redeem(platform, result(b.t, res).Get("code"))
}

func (b *browser) redeem(platform, code string) map[string]any {
	b.t.Helper()
	claims := map[string]any{}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(b.tokens(platform, code).ID, ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return claims
}

type tokens struct {
	ID      string `json:"id_token"`
	Refresh string `json:"refresh_token"`
}

// tokens redeems a code.
func (b *browser) tokens(platform, code string) (got tokens) {
	b.t.Helper()
	_, body := b.do("POST", b.origin+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"http://127.0.0.1/back"},
		"code_verifier": {verifier}, "client_id": {platform}})
	if err := json.Unmarshal([]byte(body), &got); err != nil || strings.Count(got.ID, ".") != 2 {
		b.t.Fatalf("no tokens: %s", body)
	}
	return got
}

// D1: whoever has the phone can do nothing with it at Penname from the moment that its
// owner signs out everywhere.
func TestFoundD1SignOutEverywhereEndsThePhone(t *testing.T) {
	s := newService(t)
	phone, laptop := s.in("phone"), s.in("laptop")
	action := phone.open("pocket")
	for _, when := range []string{"", "now"} {
		phone.shows("GET", s.replica+"/me", nil, http.StatusOK, "My pen names")
		laptop.shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{"when": {when}}, http.StatusOK, "You are signed out everywhere")
		phone.shows("POST", s.origin+action, url.Values{"decision": {"allow"}}, http.StatusOK, "Prove my identity")
		phone.signedOut("the phone")
		laptop.signedOut("the laptop")
		phone, laptop = s.in("phone"), s.in("laptop") // who proves to be her, signs in
		action = phone.open("pocket")
	}
	neighbour := s.browser()
	neighbour.follow(neighbour.prove("post", 2))
	laptop.shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{}, http.StatusOK)
	neighbour.shows("GET", s.origin+"/me", nil, http.StatusOK, "My pen names")
}

// D1: a copy of the cookie does not outlive what its owner ended: by signing out, on
// another device, or by proving their identity again.
func TestFoundD1CopiedCookieEndsWithItsSession(t *testing.T) {
	s := newService(t)
	var thieves []*browser
	for what, end := range map[string]func(b *browser){
		"signed out":   func(b *browser) { b.shows("POST", s.origin+"/sign-out", url.Values{}, http.StatusOK) },
		"proven again": func(b *browser) { b.follow(b.prove("post", jo)) },
		"ended elsewhere": func(*browser) {
			other := s.in("other")
			id := regexp.MustCompile(`value="([0-9a-f]{32})"><button class="quiet">Sign out ended elsewhere`).FindStringSubmatch(other.shows("GET", s.origin+"/me", nil, http.StatusOK))
			if id == nil {
				t.Fatal("the device is not listed")
			}
			other.shows("POST", s.origin+"/me/sign-out-device", url.Values{"device": {id[1]}}, http.StatusOK, "That device is signed out here", "!Sign out ended elsewhere")
			other.shows("POST", s.origin+"/me/sign-out-device", url.Values{"device": {id[1]}}, http.StatusNotFound, errNoDevice.Code)
			other.shows("POST", s.origin+"/sign-out", url.Values{}, http.StatusOK)
		},
	} {
		b := s.in(what)
		thief := b.copied()
		thief.shows("GET", s.origin+"/me", nil, http.StatusOK, "My pen names")
		end(b)
		thief.signedOut(what)
		thieves = append(thieves, thief)
	}
	s.in("owner").shows("POST", s.origin+deletePath, url.Values{}, http.StatusOK, "Your receipt")
	for _, thief := range thieves { // the receipt is its owner's
		thief.shows("POST", s.origin+deletePath, url.Values{}, http.StatusUnauthorized, errSignedOut.Code, "!Your receipt")
	}
}

// D1: the list shows words and days, of one's own devices and nobody else's.
func TestFoundD1DevicesByTheirWords(t *testing.T) {
	s := newService(t)
	s.in("  old\u202e <b>phone</b>\x00 " + strings.Repeat("é", 20))
	s.in("")
	neighbour := s.browser()
	neighbour.follow(neighbour.proveWith(url.Values{"provider": {"post"}, "device": {"their tablet"}}, 2))
	b := s.in("laptop")
	page := b.shows("GET", s.origin+"/me", nil, http.StatusOK, "laptop</strong>", "this one", "old &lt;b&gt;phone&lt;/b&gt; ééé",
		"A device without a word", "signed in on "+s.now().UTC().Format("2 January 2006"), "!their tablet", "!\u202e", "!"+strings.Repeat("é", 30))
	if clock := regexp.MustCompile(`\d\d?:\d\d|UTC|GMT`).FindString(page); clock != "" {
		t.Errorf("a time of day: %s", clock)
	}
	b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}}, jo))
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "laptop</strong>") // a new proof on a device that has its word
}

// records is how many sealed records there are.
func (s *service) records() (n int) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.admin)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.t.Context())
	if err := conn.QueryRow(s.t.Context(), `SELECT count(*) FROM penname.records`).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// D2: whoever finds the laptop open cannot delete its owner: that takes a proof of
// identity that is minutes old.
func TestFoundD2DeletingNeedsAProofMadeNow(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	const button = "Delete my identity</button>"
	b.shows("GET", s.origin+deletePath, nil, http.StatusOK, button)
	s.pass(freshFor + time.Second)
	b.shows("GET", s.origin+deletePath, nil, http.StatusOK, "!"+button, "Prove my identity")
	page := b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusUnauthorized, errNotFresh.Code, "Nothing was deleted", `name="fresh"`, `value="`+deletePath+`"`)
	if strings.Contains(page, "receipt") {
		t.Error("a receipt")
	}
	b.shows("GET", s.origin+"/me", nil, http.StatusUnauthorized, "Prove that it is you", "!Sign out everywhere")
	after := b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "interaction": {deletePath}}, jo))
	if !strings.Contains(after, button) {
		t.Errorf("after the proof: %s", after)
	}
	b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusOK, "Your request is recorded")
	b.signedOut("deleted")
}

// D3: after a deletion, Back and one press do not enrol anybody without a word.
func TestFoundD3ComingBackIsSaid(t *testing.T) {
	s := newService(t)
	b, phone := s.in("laptop"), s.in("phone")
	b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusOK, "Your request is recorded")
	phone.shows("GET", s.origin+"/me", nil, http.StatusUnauthorized, errSignedOut.Code)
	phone.shows("POST", s.origin+phone.open("pocket"), url.Values{"decision": {"allow"}}, http.StatusOK, "Prove my identity", "!pen1")
	before := s.records()
	b.shows("GET", s.origin+deletePath, nil, http.StatusUnauthorized, "Prove my identity") // Back
	page := b.follow(b.prove("post", jo))                                                  // and one press
	for _, text := range []string{"You asked us to delete you", "your identity is sealed anew", `name="return" value="1"`} {
		if !strings.Contains(page, text) {
			t.Errorf("%q is not on the page: %s", text, page)
		}
	}
	if n := s.records(); n != before {
		t.Errorf("%d records, there were %d", n, before)
	}
	b.signedOut("not back yet")
	b.stays = true // where they see what is sealed now
	b.shows("GET", b.proveWith(url.Values{"provider": {"post"}, "return": {"1"}}, jo).String(), nil, http.StatusOK, "You are the same person as before")
	b.stays = false
	if n := s.records(); n != before+1 {
		t.Errorf("%d records, want %d", n, before+1)
	}
	b.welcomed(b.prove("post", jo), "You are the same person as before")
}

// D4: the pages say what ends when, and it is so.
func TestFoundD4WhatEndsWhen(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK,
		"This ends your sign-in here, on this device, at once", "Platforms keep you signed in as before",
		"Either signs all your devices out here at once", "From then on no platform can renew a sign-in", "lasts ten minutes at most")
	for when, texts := range map[string][]string{
		"":    {"Each platform finds out by itself", "lasts for ten minutes at most"},
		"now": {"within a minute", "ten minutes from now at most"},
	} {
		b.shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{"when": {when}}, http.StatusOK, append(texts,
			"all your devices are signed out now, this one too", "A platform that does not ask us lets a device in for as long as it likes", "!half an hour")...)
		b.signedOut("signed out everywhere")
		b = s.in("laptop")
	}
}

// D5: a session lasts from page to page, is announced before it ends, and one press
// keeps it, more often than the ten times of WCAG 2.2.1; after twelve hours it ends, and
// that is said before, too.
func TestFoundD5WarnedAndExtended(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	const warning, stay = `<div role="alert"><div class="leaving">`, `action="/me/stay"><button name="decision" value="stay">Stay signed in</button>`
	for range 23 {
		s.pass(29 * time.Minute)
		b.shows("POST", s.origin+"/me/stay", url.Values{}, http.StatusUnauthorized, "You are signed in.", warning, stay)
	}
	s.pass(29 * time.Minute)
	page := b.shows("GET", s.origin+"/me", nil, http.StatusUnauthorized, "In 24 minutes you are signed out here", "!"+warning)
	if strings.Contains(page, "<script") || strings.Contains(page, "http-equiv") {
		t.Error("the warning needs a script, or takes the page away")
	}
	s.pass(23 * time.Minute)
	b.shows("GET", s.origin+"/me", nil, http.StatusUnauthorized, "In 1 minute you are signed out here")
	s.pass(time.Minute)
	b.signedOut("after twelve hours")

	b = s.in("laptop")
	s.pass(29 * time.Minute)
	b.shows("GET", s.origin+"/me", nil, http.StatusUnauthorized, "You are signed in.") // another page does it as well
	s.pass(29 * time.Minute)
	action := b.open("pocket")
	b.shows("GET", s.origin+action, nil, http.StatusOK, warning, `action="`+action+`"><button name="decision" value="stay">Stay signed in</button>`)
	s.pass(29 * time.Minute)
	b.shows("POST", s.origin+action, url.Values{"decision": {"stay"}}, http.StatusOK, "Sign in to Pocket", warning)
	s.pass(31 * time.Minute)
	b.signedOut("half an hour after the last page")

	// The page brings the warning by itself, five minutes before.
	css, err := os.ReadFile("../pages/style.css")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("animation: leaving 1ms %ds forwards", int((sessionLife-5*time.Minute)/time.Second)); !strings.Contains(string(css), want) {
		t.Errorf("the style sheet lacks %q", want)
	}
}

// E1: max_age and prompt=login ask again since the request (OpenID Connect Core,
// 3.1.2.1), auth_time is the moment of the proof (2), and whoever reads slowly is not
// asked twice.
func TestFoundE1ProofSinceTheRequest(t *testing.T) {
	const prove = "Prove my identity"
	s := newService(t)
	b := s.in("laptop")
	s.pass(40 * time.Second)
	for _, demand := range [][]string{{"max_age", "30"}, {"max_age", "0"}, {"prompt", "login"}, {"prompt", "login", "max_age", "3600"}} {
		action := b.open("pocket", demand...)
		b.shows("GET", s.origin+action, nil, http.StatusOK, prove, `name="fresh"`, "asks that you prove it now")
		b.shows("POST", s.origin+action, url.Values{"decision": {"allow"}}, http.StatusOK, prove)
		// A proof that the person was not asked for anew does not do, nor one for another sign-in.
		b.follow(b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}}, jo))
		b.shows("GET", s.origin+action, nil, http.StatusOK, prove)
		proven := s.now()
		if page := b.follow(b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}, "fresh": {"1"}}, jo)); strings.Contains(page, prove) {
			t.Fatalf("%v: asked again: %s", demand, page)
		}
		s.pass(125 * time.Second) // a slow reader
		b.shows("GET", s.origin+action, nil, http.StatusOK, "!"+prove)
		claims := b.allow("pocket", action)
		at, told := claims["auth_time"].(float64)
		if asked := strings.Contains(fmt.Sprint(demand), "max_age"); told != asked || asked && time.Unix(int64(at), 0).Sub(proven).Abs() > 5*time.Second {
			t.Errorf("%v: auth_time %v, the proof was at %d, the click at %d", demand, claims["auth_time"], proven.Unix(), s.now().Unix())
		}
	}
	b = s.in("laptop")
	s.pass(40 * time.Second)
	b.shows("GET", s.origin+b.open("pocket", "max_age", "60"), nil, http.StatusOK, prove) // nobody was told of that one
	b.shows("GET", s.origin+b.open("pocket"), nil, http.StatusOK, "!"+prove)
}

// E1 and promise 1: the moment of a proof is told to one platform. Two that were told
// the same one would see that two pen names are one person's.
func TestFoundE1AuthTimeLinksNoPenNames(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	first := b.allow("pocket", b.proven("pocket", "max_age", "3600"))
	again := b.allow("pocket", b.open("pocket", "max_age", "3600"))
	if first["auth_time"] == nil || first["auth_time"] != again["auth_time"] {
		t.Errorf("one platform is told %v and %v", first["auth_time"], again["auth_time"])
	}
	action := b.open("purse", "max_age", "3600")
	b.shows("POST", s.origin+action, url.Values{"decision": {"allow"}}, http.StatusOK, "Prove my identity")
	s.pass(2 * time.Second)
	b.follow(b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}, "fresh": {"1"}}, jo))
	if other := b.allow("purse", action); other["auth_time"] == nil || other["auth_time"] == first["auth_time"] {
		t.Errorf("two platforms are told %v and %v", first["auth_time"], other["auth_time"])
	}
	// Nor does a proof that the person makes for one do for the other, though nobody was told.
	action = b.proven("pocket", "max_age", "0")
	b.shows("POST", s.origin+b.open("purse", "max_age", "3600"), url.Values{"decision": {"allow"}}, http.StatusOK, "Prove my identity")
	if b.allow("pocket", action)["auth_time"] == nil {
		t.Error("the platform that the proof was made for is not told")
	}
}

// proven begins a sign-in at a platform, and proves who the person is for it.
func (b *browser) proven(platform string, pairs ...string) (action string) {
	b.t.Helper()
	action = b.open(platform, pairs...)
	b.follow(b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}, "fresh": {"1"}}, jo))
	return action
}

// E1 and N01: whether a platform was told the moment of a proof changes no answer to another
// one, nor to another pen name at the same one. What differed for one person and not for the
// others would say whose two pen names are.
func TestFoundE1WhoWasToldChangesNoAnswerToOthers(t *testing.T) {
	s := several(t, 2)
	first := s.in("laptop")
	one, two := first.as("pocket", "new", ""), first.as("pocket", "new", "")
	play := func(told bool) (answers []string) {
		b, asks := s.in("laptop"), []string(nil)
		if told {
			asks = []string{"max_age", "3600"}
		}
		silent := func(platform string, pairs ...string) {
			res, _ := b.ask(platform, append(pairs, "prompt", "none")...)
			got := result(t, res)
			if got.Get("code") != "" {
				got.Set("error", "none")
			}
			answers = append(answers, platform+" "+strings.Join(pairs, " ")+": "+got.Get("error"))
		}
		// The platform asks for the target's pen name alone.
		action := b.proven("pocket", asks...)
		if res, body := b.do("POST", s.origin+action, url.Values{"decision": {"allow"}, "persona": {one}}); res.StatusCode != http.StatusSeeOther {
			t.Fatal(body)
		}
		b.allow("purse", b.open("purse"))
		silent("purse", "max_age", "3600")
		silent("purse", "max_age", "1")
		silent("purse")
		b.as("pocket", two, "")
		silent("pocket", "max_age", "3600")
		silent("pocket", "max_age", "3600", "scope", "openid offline_access")
		silent("pocket")
		for _, platform := range []string{"purse", "pocket"} { // with a page
			_, page := b.ask(platform, "max_age", "3600")
			answers = append(answers, fmt.Sprint(platform, " proves anew: ", strings.Contains(page, "Prove my identity")))
		}
		// A proof for another platform ends what this one may have, whoever is told of it.
		b.allow("purse", b.proven("purse", asks...))
		silent("pocket")
		silent("pocket", "max_age", "3600")
		b.as("pocket", two, "")
		silent("pocket")
		silent("pocket", "max_age", "3600")
		return answers
	}
	control, target := play(false), play(true)
	if !slices.Equal(target, control) || !slices.Contains(target, "purse max_age 3600: login_required") || !slices.Contains(target, "pocket max_age 3600: login_required") || !slices.Contains(target, "pocket : none") {
		t.Errorf("who was told is answered\n%s\nand who was not\n%s", strings.Join(target, "\n"), strings.Join(control, "\n"))
	}
	// Whoever was told before is told again, without a page: it is nothing new to them.
	b := s.in("laptop")
	b.allow("purse", b.proven("purse", "max_age", "3600"))
	res, _ := b.ask("purse", "prompt", "none", "max_age", "3600")
	if got := result(t, res); got.Get("code") == "" {
		t.Errorf("%v", got)
	}
}

// E2: prompt=none succeeds in a whole window, while the session lasts in which the
// person agreed to exactly that, and their page shows it.
func TestFoundE2SilentSignIn(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	silent := func(b *browser, platform string, pairs ...string) url.Values {
		t.Helper()
		res, body := b.ask(platform, append(pairs, "prompt", "none")...)
		if strings.Contains(body, "<form") {
			t.Errorf("a page: %s", body)
		}
		return result(t, res)
	}
	refused := func(b *browser, code, platform string, pairs ...string) {
		t.Helper()
		if got := silent(b, platform, pairs...); got.Get("error") != code || got.Get("code") != "" || got.Get("iss") != s.origin {
			t.Errorf("%s %v: %v, want %s", platform, pairs, got, code)
		}
	}
	refused(s.browser(), "login_required", "pocket")
	refused(b, "consent_required", "pocket")
	name := b.allow("pocket", b.open("pocket"))["sub"]
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "it can sign you in on this device without asking you", "It has not done so yet")
	back := silent(b, "pocket", "state", "s")
	if got := b.redeem("pocket", back.Get("code")); got["sub"] != name || back.Get("state") != "s" {
		t.Errorf("%v, want %v", got["sub"], name)
	}
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "it can sign you in on this device without asking you", "!It has not done so yet", "It has done so")
	refused(b, "consent_required", "pocket", "scope", "openid offline_access")
	refused(b, "consent_required", "purse")
	refused(b, "login_required", "pocket", "max_age", "0")
	another := s.in("another device")
	another.shows("GET", s.origin+"/me", nil, http.StatusOK, "!without asking you")
	refused(another, "consent_required", "pocket")
	for what, headers := range map[string][]string{
		"a frame": {"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate"}, "a script": {"Sec-Fetch-Dest", "empty", "Sec-Fetch-Mode", "cors"},
		"a picture": {"Sec-Fetch-Dest", "image", "Sec-Fetch-Mode", "no-cors"}, "a browser that does not say": nil,
	} {
		res, _ := b.do("GET", s.origin+"/authorize?"+request("pocket", "prompt", "none"), nil, headers...)
		if got := result(t, res); got.Get("error") != "login_required" {
			t.Errorf("%s: %v", what, got)
		}
	}
	s.pass(40 * time.Minute)
	refused(b, "login_required", "pocket")
	b = s.in("laptop")
	b.allow("pocket", b.open("pocket"))
	s.in("another").shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{}, http.StatusOK)
	refused(b, "login_required", "pocket")
}

// TestLogoutFromAPlatform: the person is asked, and leaves that platform, or here too;
// other platforms notice nothing.
func TestLogoutFromAPlatform(t *testing.T) {
	s := newService(t)
	for _, decision := range []string{"stay", "leave"} {
		b := s.in("laptop")
		stays := func(platform string) string {
			res, _ := b.do("POST", b.origin+b.open(platform, "scope", "openid offline_access"), url.Values{"decision": {"allow"}})
			return b.tokens(platform, result(t, res).Get("code")).Refresh
		}
		renew := func(platform, refresh string) int {
			res, _ := b.do("POST", b.origin+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {platform}})
			return res.StatusCode
		}
		here, there := stays("pocket"), stays("purse")
		leaves := regexp.MustCompile(`name="pen_name" value="([^"]+)"`).FindStringSubmatch(
			b.shows("GET", b.origin+"/logout?client_id=pocket", nil, http.StatusOK, "Pocket says that you signed out there", `action="/logout/answer?client_id=pocket"`))
		says := map[string]string{"stay": "You are still signed in here", "leave": "You are signed out here"}[decision]
		b.shows("POST", b.origin+"/logout/answer?client_id=pocket", url.Values{"decision": {decision}, "pen_name": {leaves[1]}}, http.StatusOK, "Penname", says,
			"Your sign-in at Pocket: it cannot be renewed", "Your other platforms keep you signed in as before", "no way to tell Pocket")
		if left, other := renew("pocket", here), renew("purse", there); left != http.StatusBadRequest || other != http.StatusOK {
			t.Errorf("%s: the platform that was left renews: %d, another: %d", decision, left, other)
		}
		status := map[string]int{"stay": http.StatusOK, "leave": http.StatusUnauthorized}[decision]
		b.shows("GET", b.origin+"/me", nil, status)
		if decision == "leave" { // the browser shows the answer to a second press alone
			b.shows("POST", b.origin+"/logout/answer?client_id=pocket", url.Values{"decision": {decision}}, http.StatusOK, "You are not signed in here")
		}
	}
	s.browser().shows("GET", s.origin+"/logout?client_id=pocket", nil, http.StatusOK, "Prove my identity") // the first page
}
