package person

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/token"
)

// TestSealedIsShownOnce: whoever enrols sees what was sealed, in the answer to the very proof
// and nowhere afterwards: not by Back, not at their next sign-in, not on their own page.
func TestSealedIsShownOnce(t *testing.T) {
	s := newService(t)
	b := s.browser()
	action := b.open("pocket", "state", "s")
	callback := b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}}, jo)
	b.stays = true
	b.shows("GET", callback.String(), nil, http.StatusOK, "Check it now", "Jo Hartley", "14 March 1986", `href="`+action+`">Go on`, "/me/receipt")
	for what, body := range map[string]string{
		"Back":            b.shows("GET", callback.String(), nil, http.StatusOK, "Sign in to Pocket"),
		"the sign-in":     b.shows("GET", b.origin+action, nil, http.StatusOK, "Sign in to Pocket"),
		"their own page":  b.shows("GET", b.origin+"/me", nil, http.StatusOK),
		"another sign-in": b.shows("GET", b.prove("post", jo).String(), nil, http.StatusOK, "same person as before"),
		"the receipt":     b.shows("GET", b.origin+"/me/receipt", nil, http.StatusOK),
	} {
		if strings.Contains(body, "Hartley") || strings.Contains(body, "1986") {
			t.Errorf("%s shows what was sealed", what)
		}
	}
}

// TestReceipt: the file is signed by a token key that the service publishes, of today, for the
// person's record, which stays the same; whoever is signed out gets none.
func TestReceipt(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.shows("GET", s.origin+"/me/receipt.jws", nil, http.StatusUnauthorized)
	b.enrols(b.prove("post", jo))
	_, jwks := b.do("GET", s.origin+"/jwks", nil)
	keys, err := token.ParseKeySet([]byte(jwks))
	if err != nil {
		t.Fatal(err)
	}
	receipt := func() token.Receipt {
		res, file := b.do("GET", s.origin+"/me/receipt.jws", nil)
		r, err := token.VerifyReceipt(strings.TrimSpace(file), s.origin, keys)
		if err != nil || res.Header.Get("Content-Type") != "application/jose" || !strings.Contains(res.Header.Get("Content-Disposition"), "penname-receipt.jws") {
			t.Fatalf("%v %v %s", err, res.Header, file)
		}
		return r
	}
	first := receipt()
	if want := s.now().UTC().Truncate(24 * time.Hour); !first.Day.Equal(want) {
		t.Errorf("of %s, want %s", first.Day, want)
	}
	b.shows("GET", s.origin+"/me/receipt", nil, http.StatusOK, first.Record, "It has no name on it")
	again := s.browser()
	b = again
	b.follow(b.prove("post", jo))
	if r := receipt(); r.Record != first.Record {
		t.Errorf("another record of the same person: %s, then %s", first.Record, r.Record)
	}
	other := s.browser()
	b = other
	b.enrols(b.prove("bank", 2)) // the MP
	if r := receipt(); r.Record == first.Record {
		t.Error("one record for two people")
	}
}

// TestNoLinkForgesAMessage: a page says what the person did, once, and never what a link says.
func TestNoLinkForgesAMessage(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.enrols(b.prove("post", jo))
	for _, forged := range []string{"back", "device", "objected", "renamed", "retired", "objection&notice=x"} {
		if body := b.shows("GET", s.origin+"/me?welcome="+forged, nil, http.StatusOK); strings.Contains(body, `role="status">`) && !strings.Contains(body, `role="status">In `) {
			t.Errorf("welcome=%s: %s", forged, body)
		}
	}
	b.shows("GET", b.prove("post", jo).String(), nil, http.StatusOK, "You are the same person as before")
	if body := b.shows("GET", s.origin+"/me", nil, http.StatusOK); strings.Contains(body, "same person as before") {
		t.Error("it is said twice")
	}
}

// TestMyOwnPage: platforms are links, a court's reach is said, and the data can be saved.
func TestMyOwnPage(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.shows("GET", s.origin+dataPath, nil, http.StatusUnauthorized)
	b.enrols(b.prove("post", jo))
	for _, platform := range []string{"pocket", "purse"} {
		res, _ := b.do("POST", b.origin+b.open(platform), url.Values{"decision": {"allow"}})
		result(t, res)
	}
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "What a court could learn", "date of birth", dataPath)
	res, body := b.do("GET", s.origin+dataPath, nil)
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") || !strings.Contains(res.Header.Get("Content-Disposition"), "penname-data.json") || !strings.Contains(body, `"pen_name"`) {
		t.Errorf("%v %s", res.Header, body)
	}
}

func TestHomeIsWherePeopleFindAPlatform(t *testing.T) {
	for want, uris := range map[string][]string{
		"https://town.example/":  {"town.example:/back", "http://127.0.0.1/back", "https://town.example/signed/in?x=1"},
		"http://127.0.0.1:8081/": {"http://127.0.0.1:8081/callback"}, // the sandbox's
		"":                       {"town.example:/back", "http://127.0.0.1/back"},
	} {
		if got := home(openid.Platform{RedirectURIs: uris}); got != want {
			t.Errorf("%s: %q, want %q", uris, got, want)
		}
	}
}

// TestSealedAnewIsShown: whoever comes back after a deletion sees what is sealed now, has
// another record, and no device from before.
func TestSealedAnewIsShown(t *testing.T) {
	s := newService(t)
	b := s.in("old phone")
	before := receiptRecord(t, b)
	b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "device": {"laptop"}}, jo))
	b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusOK, "Your receipt of the deletion", "escrow log receipt")
	b.stays = true
	b.shows("GET", b.proveWith(url.Values{"provider": {"post"}, "return": {"1"}}, jo).String(), nil, http.StatusOK, "Your identity was sealed anew", "Jo Hartley", "save its receipt")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "this one", "!old phone", "!laptop")
	if receiptRecord(t, b) == before {
		t.Error("the record of before")
	}
}

func receiptRecord(t *testing.T, b *browser) string {
	t.Helper()
	page := b.shows("GET", b.origin+"/me/receipt", nil, http.StatusOK)
	_, record, _ := strings.Cut(page, "<dt>Record</dt><dd><code>")
	record, _, _ = strings.Cut(record, "<")
	return record
}

// TestPressedTwiceSaysNothingFalse: whoever presses again, when the first press has signed them
// out or has ended something, is not told that nothing was done.
func TestPressedTwiceSaysNothingFalse(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	b.shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{}, http.StatusOK)
	b.shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{}, http.StatusUnauthorized, "Did you press it before?", "!Not all your sign-ins")
	b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}}, jo))
	b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusOK, "Your receipt of the deletion")
	b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusUnauthorized, "Then your request was recorded", "!Nothing was deleted: your record")
	b = s.browser()
	b.enrols(b.prove("bank", 2))
	action := b.open("pocket", "state", "s")
	res, _ := b.do("POST", b.origin+action, url.Values{"decision": {"allow"}})
	result(t, res)
	s.pass(11 * time.Second)
	b.shows("GET", b.origin+action, nil, http.StatusNotFound, "you may be signed in: look at the platform", "!You are not signed in at the platform")
	b.shows("POST", b.origin+"/me/sign-out-device", url.Values{"device": {"00"}}, http.StatusNotFound, "signed out before", "!may still be signed in")
	b.shows("GET", b.origin+CallbackPath("post")+"?code=x&state=y", nil, http.StatusBadRequest, "nothing was sealed", "!may have been enrolled")
}
