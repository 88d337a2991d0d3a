package person

import (
	"bytes"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/passkey"
	"github.com/penname/penname/escrow/passkey/passkeytest"
	"github.com/penname/penname/verifier/refusal"
)

// begun begins a ceremony, and returns what to ask an authenticator for.
func (b *browser) begun(path string) []byte {
	b.t.Helper()
	res, body := b.do("POST", b.origin+path, url.Values{}, "Accept", "application/json")
	if res.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %s %s", path, res.Status, body)
	}
	return []byte(body)
}

// adds makes a device with a passkey of whoever is signed in.
func (b *browser) adds(word string) *passkeytest.Device {
	b.t.Helper()
	d := passkeytest.New(b.origin, -7)
	answer := d.Create(b.begun(passkeysPath + "/begin"))
	b.shows("POST", b.origin+passkeysPath, url.Values{"answer": {answer}, "word": {word}}, http.StatusOK, "Your passkey is added", word)
	return d
}

// byPasskey is what a browser sends that shows a passkey; pairs are fields of its form.
func (b *browser) byPasskey(d *passkeytest.Device, pairs ...string) url.Values {
	b.t.Helper()
	form := url.Values{"answer": {d.Get(b.begun("/passkey/begin"))}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

const (
	mine  = "<h1>My pen names</h1>"
	waits = "You are not signed in yet"
)

func TestAPasskeyIsTheWayBackIn(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	b.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, "You have none yet", "Your first one signs all your other devices out here", "Add a passkey", "data-without", `<script src="/passkey.js" defer></script>`)
	d := b.adds("key ring")
	b.shows("POST", s.origin+"/sign-out", url.Values{}, http.StatusOK)
	home := b.shows("GET", s.origin, nil, http.StatusOK, "Sign in with a passkey")
	if strings.Index(home, "Sign in with a passkey") > strings.Index(home, "Prove my identity") {
		t.Error("the identity provider comes first")
	}
	b.shows("POST", s.origin+"/passkey", b.byPasskey(d), http.StatusOK, mine, "My passkeys")

	// In another browser, on the way to a platform: it is the same pen name as ever.
	first := b.allow("pocket", b.open("pocket"))
	other := s.browser()
	action := other.open("pocket", "max_age", "600")
	page := other.shows("GET", s.origin+action, nil, http.StatusOK, "Sign in with a passkey", `name="interaction" value="`+action+`"`)
	if strings.Contains(page, "pen1") {
		t.Error("a pen name is shown before the proof")
	}
	before := s.now().Unix()
	other.shows("POST", s.origin+"/passkey", other.byPasskey(d, "interaction", action), http.StatusOK, "Sign in to Pocket", first["sub"].(string))
	claims := other.allow("pocket", action)
	if claims["sub"] != first["sub"] || claims["acr"] != first["acr"] || claims["acr"] == nil {
		t.Errorf("%v, and by the provider %v", claims, first)
	}
	if at, ok := claims["auth_time"].(float64); !ok || int64(at) < before-1 {
		t.Errorf("auth_time %v, shown at %d", claims["auth_time"], before)
	}
}

// What stands in a browser without a script is all but passkeys, and pages without one have
// no script allowed.
func TestOnlyPagesWithPasskeysHaveAScript(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	script := func(address string) bool {
		t.Helper()
		res, body := b.do("GET", address, nil, "Accept", "text/html")
		policy := res.Header.Get("Content-Security-Policy")
		allowed, has := strings.Contains(policy, "script-src 'self'; connect-src 'self'; default-src 'none'"), strings.Contains(body, "<script")
		if allowed != has || strings.Contains(policy, "unsafe") || strings.Count(body, "<script") > 1 || strings.Contains(body, "onclick") {
			t.Errorf("%s: %s %s", address, policy, body)
		}
		return has
	}
	for path, want := range map[string]bool{"/": false, "/me": false, passkeysPath: true, deletePath: false, addressPath: false, "/privacy": false} {
		if script(s.origin+path) != want {
			t.Errorf("%s has a script: %v", path, !want)
		}
	}
	res, body := b.do("GET", s.origin+"/passkey.js", nil)
	if ct := res.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/javascript") || len(body) > 5000 {
		t.Errorf("%s, %d bytes", ct, len(body))
	}
	b = s.browser()
	for _, path := range []string{"/", "/me", b.open("pocket")} {
		if !script(s.origin + path) {
			t.Errorf("%s offers no passkey", path)
		}
	}
	if page := b.shows("GET", s.origin, nil, http.StatusOK, "data-begin"); !regexp.MustCompile(`<form[^>]*data-begin="/passkey/begin" hidden>`).MatchString(page) {
		t.Error("without a script the button shows")
	}
}

// Where the origin is an address there are none, and no page offers any.
func TestNoPasskeysWhereTheHostIsAnAddress(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	b.shows("GET", s.origin, nil, http.StatusOK, "!passkey")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "!passkey")
	b.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, "There are no passkeys at this address", "!data-begin")
	b.shows("POST", s.origin+"/passkey/begin", url.Values{}, http.StatusNotFound, errNoPasskeys.Code)
	b.shows("POST", s.origin+passkeysPath+"/begin", url.Values{}, http.StatusNotFound, errNoPasskeys.Code)
	b.shows("POST", s.origin+"/passkey", url.Values{}, http.StatusNotFound, errNoPasskeys.Code)
}

// W02, W09, W10, W11, W12: what only a store knows.
func TestW02W09W10W11W12PasskeysThatAreRefused(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	d := b.adds("phone")
	in := s.browser()
	used := in.byPasskey(d)
	in.shows("POST", s.origin+"/passkey", used, http.StatusOK, mine)
	in.shows("POST", s.origin+"/passkey", used, http.StatusUnauthorized, passkey.ErrChallenge.Code) // W02: once
	late := in.byPasskey(d)
	s.pass(passkey.Life)
	in.shows("POST", s.origin+"/passkey", late, http.StatusUnauthorized, passkey.ErrChallenge.Code) // W02: five minutes
	thief := s.browser()
	thief.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusUnauthorized, passkey.ErrChallenge.Code, "You are not signed in by this") // W02: of another browser
	thief.shows("GET", s.origin+"/me", nil, http.StatusUnauthorized, errSignedOut.Code)

	stranger := passkeytest.New(s.origin, -7)
	stranger.User = d.User
	thief.shows("POST", s.origin+"/passkey", thief.byPasskey(stranger), http.StatusUnauthorized, passkey.ErrUnknown.Code) // W10

	// W11: two people with a credential each; what one signs does not go as the other's.
	other := s.browser()
	other.follow(other.prove("post", jo+1))
	theirs := other.adds("theirs")
	for name, forged := range map[string]struct {
		id, user []byte
		want     *refusal.Error
	}{
		"my credential, the user handle of the other":  {d.ID, theirs.User, passkey.ErrOwner},
		"the credential of the other, my key":          {theirs.ID, theirs.User, passkey.ErrSignature},
		"the credential of the other, my user handle":  {theirs.ID, d.User, passkey.ErrOwner},
		"my credential, in the session of the other":   {d.ID, d.User, nil},
		"the credential of the other with nobody's id": {append([]byte{1}, theirs.ID[1:]...), theirs.User, passkey.ErrUnknown},
	} {
		as := *d
		as.ID, as.User = forged.id, forged.user
		b, want := s.browser(), forged.want
		if want == nil { // it is the sign-in of its own person, whoever sat there before
			other.shows("POST", s.origin+"/passkey", other.byPasskey(&as), http.StatusOK, mine)
			other.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, "phone", "!theirs")
			continue
		}
		b.shows("POST", s.origin+"/passkey", b.byPasskey(&as), http.StatusUnauthorized, want.Code, "You are not signed in by this")
		if page := b.shows("GET", s.origin+"/me", nil, http.StatusUnauthorized, errSignedOut.Code); t.Failed() {
			t.Fatal(name, page)
		}
	}

	// W12: a second person brings a credential that is there, with a key of their own.
	other = s.browser()
	other.follow(other.prove("post", jo+2))
	copied := passkeytest.New(s.origin, -7)
	copied.ID = d.ID
	other.shows("POST", s.origin+passkeysPath, url.Values{"answer": {copied.Create(other.begun(passkeysPath + "/begin"))}, "word": {"my word"}},
		http.StatusUnauthorized, passkey.ErrKnown.Mend[1:], `role="alert"`, "You have none yet", `value="my word"`)
	other.shows("POST", s.origin+"/passkey", other.byPasskey(copied), http.StatusUnauthorized, "webauthn.")

	// W09: a security key that counts, and its copy.
	d.Counts, d.Counter = true, 7
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, mine)
	twin := *d
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, mine)
	thief.shows("POST", s.origin+"/passkey", thief.byPasskey(&twin), http.StatusUnauthorized, passkey.ErrCounter.Code)
	thief.shows("GET", s.origin+"/me", nil, http.StatusUnauthorized, errSignedOut.Code)

	for name, form := range map[string]url.Values{"nothing": {}, "no JSON": {"answer": {"x"}}, "an answer that adds": {"answer": {d.Create(in.begun(passkeysPath + "/begin"))}}} {
		if res, body := in.do("POST", s.origin+"/passkey", form, "Accept", "text/html"); res.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "webauthn.") {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	// And an answer that signs in adds nothing.
	in.shows("POST", s.origin+passkeysPath, url.Values{"answer": {d.Get(in.begun("/passkey/begin"))}}, http.StatusUnauthorized, "No passkey was added")
}

var passkeyForm = regexp.MustCompile(`action="/me/passkeys/remove"><input type="hidden" name="passkey" value="([0-9a-f]+)"><button class="quiet">Remove ([^<]*)<`)

// named is the form value of the passkey with that word.
func (b *browser) passkeyNamed(word string) string {
	b.t.Helper()
	for _, m := range passkeyForm.FindAllStringSubmatch(b.shows("GET", b.origin+passkeysPath, nil, http.StatusOK), -1) {
		if m[2] == word {
			return m[1]
		}
	}
	b.t.Fatalf("no passkey %s", word)
	return ""
}

func TestPasskeysOfAPerson(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	var first *passkeytest.Device
	for n := range issue.MaxPasskeys {
		if d := b.adds("device " + strconv.Itoa(n)); n == 0 {
			first = d
		} else if !bytes.Equal(d.User, first.User) {
			t.Error("one person has two user handles")
		}
	}
	b.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, "You have 8, and no more are kept", "!data-begin")
	d := passkeytest.New(s.origin, -7)
	b.shows("POST", s.origin+passkeysPath, url.Values{"answer": {d.Create(b.begun(passkeysPath + "/begin"))}}, http.StatusUnauthorized, "You have eight passkeys here")

	b.shows("POST", s.origin+passkeysPath+"/rename", url.Values{"passkey": {b.passkeyNamed("device 3")}, "word": {"  the  <b>phone "}}, http.StatusOK, "It is called so from now on", "the &lt;b&gt;phone")
	other := s.browser()
	other.follow(other.prove("post", jo+1))
	for _, path := range []string{"/rename", "/remove"} { // of somebody else
		other.shows("POST", s.origin+passkeysPath+path, url.Values{"passkey": {b.passkeyNamed("device 1")}}, http.StatusNotFound, issue.ErrNoPasskey.Code)
	}
	for n := 1; n < issue.MaxPasskeys; n++ {
		word := "device " + strconv.Itoa(n)
		if n == 3 {
			word = "the &lt;b&gt;phone"
		}
		gone := b.passkeyNamed(word)
		b.shows("POST", s.origin+passkeysPath+"/remove", url.Values{"passkey": {gone}}, http.StatusOK, "That passkey is removed", "!value=\""+gone)
		b.shows("POST", s.origin+passkeysPath+"/remove", url.Values{"passkey": {gone}}, http.StatusNotFound, issue.ErrNoPasskey.Code, "If you pressed it before, it is removed.", "!may still be there") // pressed twice
		b.shows("POST", s.origin+passkeysPath+"/rename", url.Values{"passkey": {gone}, "word": {"x"}}, http.StatusNotFound, issue.ErrNoPasskey.Code, "Nothing was changed.", "!may be called as before")
	}
	last := url.Values{"passkey": {b.passkeyNamed("device 0")}}
	s.pass(freshFor)
	b.shows("POST", s.origin+passkeysPath+"/remove", last, http.StatusUnauthorized, "Prove that it is you", `value="`+passkeysPath+`"`)
	b.shows("POST", s.origin+passkeysPath+"/begin", url.Values{}, http.StatusUnauthorized, errProveAgain.Code)
	b.shows("POST", s.origin+"/passkey", b.byPasskey(first, "interaction", passkeysPath), http.StatusOK, "<h1>My passkeys</h1>")
	b.shows("POST", s.origin+passkeysPath+"/remove", last, http.StatusOK, "It is the only one that you have here", "nobody waits three days", `name="sure"`)
	b.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, "device 0")
	last.Set("sure", "yes")
	b.shows("POST", s.origin+passkeysPath+"/remove", last, http.StatusOK, "That passkey is removed", "You have none yet")
	in := s.browser()
	in.shows("POST", s.origin+"/passkey", in.byPasskey(first), http.StatusUnauthorized, passkey.ErrUnknown.Code)
	in.welcomed(in.prove("post", jo), "Welcome back") // by the provider, as before
}

// What is somebody's shows only within five minutes of a proof; a passkey is one, and leads back
// to where they were. Until then a page that was shown still takes what they press.
func TestProofWithinFiveMinutes(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	d := b.adds("phone")
	b.allow("pocket", b.open("pocket"))
	own := []string{"/me", changesPath, dataPath, "/me/receipt", "/me/receipt.jws", addressPath, passkeysPath}
	for _, path := range own {
		b.shows("GET", s.origin+path, nil, http.StatusOK, "!Prove that it is you")
	}
	b.shows("POST", s.origin+"/passkey", b.byPasskey(d), http.StatusOK, mine)
	s.pass(freshFor - time.Second)
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "pen1")
	s.pass(2 * time.Second)
	for _, path := range own {
		page := b.shows("GET", s.origin+path, nil, http.StatusUnauthorized, "Prove that it is you", "Sign in with a passkey", "Prove my identity", `name="interaction" value="`+pageOf(path)+`"`, "!pen1", "!Signed</dt>")
		if strings.Index(page, "Sign in with a passkey") > strings.Index(page, "Prove my identity") {
			t.Errorf("%s: the identity provider comes first", path)
		}
	}
	if res, body := b.do("GET", s.origin+"/me", nil, "Accept", "application/json"); res.StatusCode != http.StatusUnauthorized || !strings.Contains(body, errProveAgain.Code) {
		t.Errorf("%s %s", res.Status, body)
	}
	b.shows("POST", s.origin+"/me/stay", url.Values{}, http.StatusUnauthorized, "You are signed in.")
	b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusUnauthorized, errNotFresh.Code, "Nothing was deleted")
	b.shows("GET", s.origin+b.open("pocket"), nil, http.StatusOK, "Sign in to Pocket", "the pen name that you have there", "!pen1") // a sign-in goes on
	b.shows("POST", s.origin+"/passkey", b.byPasskey(d, "interaction", "/me/receipt"), http.StatusOK, "<h1>My receipt</h1>")
	s.pass(freshFor)
	after := b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "interaction": {addressPath}}, jo)) // who is signed in proves it there as well
	if !strings.Contains(after, "<h1>My address for notices</h1>") {
		t.Error(after)
	}
	for _, path := range []string{"//evil.example", "/me/../x", "/logout", "https://evil.example", "/me/sign-out-everywhere"} {
		res, _ := b.do("POST", s.origin+"/passkey", b.byPasskey(d, "interaction", path))
		if res.Request.URL.Path != "/me" {
			t.Errorf("%s led to %s", path, res.Request.URL)
		}
	}
}

// Whoever asked to be deleted is signed in by no passkey, and gets none back by coming back.
func TestPasskeysOfSomebodyDeleted(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	d := b.adds("phone")
	b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusOK, "Your request is recorded")
	b.shows("POST", s.origin+"/passkey", b.byPasskey(d), http.StatusUnauthorized, passkey.ErrUnknown.Code)
	back := s.browser()
	back.shows("GET", back.proveWith(url.Values{"provider": {"post"}, "return": {"1"}}, jo).String(), nil, http.StatusOK)
	back.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, "You have none yet")
	back.shows("POST", s.origin+"/passkey", back.byPasskey(d), http.StatusUnauthorized, passkey.ErrUnknown.Code)
	if again := back.adds("phone"); !bytes.Equal(again.User, d.User) {
		t.Error("another user handle: the device would keep a dead passkey beside it")
	}
}

// A crash between the wish to be deleted and what follows it leaves a passkey that signs
// nobody in.
func TestPasskeyOfAWishThatWasNotCarriedOut(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	d := b.adds("phone")
	p, _, there, err := s.issuer.Store.PasskeyOf(t.Context(), d.ID)
	if err != nil || !there {
		t.Fatal(there, err)
	}
	if _, err := s.issuer.Store.Ask(t.Context(), issue.Receipt{Label: p.Label, Day: today(s.now())}); err != nil {
		t.Fatal(err)
	}
	in := s.browser()
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, "You asked us to delete you")
	in.signedOut("deleted")
}
