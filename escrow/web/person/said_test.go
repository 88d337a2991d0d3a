package person

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// What somebody did stands on the page that asks them to prove who they are, and once more on
// their own page after it.
func TestWhatWasDoneIsSaidAfterFiveMinutesToo(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	d := b.adds("phone")
	key := b.passkeyNamed("phone")
	for what, proves := range map[string]func(back string) string{
		"by a passkey": func(back string) string {
			return b.shows("POST", s.origin+"/passkey", b.byPasskey(d, "interaction", back), http.StatusOK)
		},
		"at the provider": func(back string) string {
			return b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "interaction": {back}}, jo))
		},
	} {
		s.pass(freshFor)
		const done = "It is called so from now on"
		b.shows("POST", s.origin+passkeysPath+"/rename", url.Values{"passkey": {key}, "word": {"my phone"}}, http.StatusUnauthorized, done, "Prove that it is you", "!my phone")
		if page := proves(passkeysPath); !strings.Contains(page, done) || !strings.Contains(page, "my phone") {
			t.Errorf("%s: %s", what, page)
		}
		b.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, "my phone", "!"+done)
	}
	// Another person who signs in there is told nothing of it.
	s.pass(freshFor)
	b.shows("POST", s.origin+passkeysPath+"/rename", url.Values{"passkey": {key}, "word": {"phone"}}, http.StatusUnauthorized)
	if page := b.follow(b.proveWith(url.Values{"provider": {"post"}, "interaction": {"/me"}}, jo+1)); strings.Contains(page, "called so") {
		t.Error(page)
	}
}

// A browser asks for anything where it saves a file: it gets the page that asks for a proof, and
// not an answer for programs. The page leads back to where the file is to be had.
func TestASavedFileAsksForAProof(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	for path, page := range map[string]string{dataPath: "/me", changesPath: changesPath, receiptFilePath: receiptPath} {
		if body := b.shows("GET", s.origin+page, nil, http.StatusOK); strings.Contains(body, " download") {
			t.Errorf("%s: a browser drops what answers a download and is no success", page)
		}
		s.pass(freshFor)
		for _, h := range [][]string{{"Accept", "*/*"}, {"Accept", "application/json", "Sec-Fetch-Mode", "navigate"}} {
			res, body := b.do("GET", s.origin+path, nil, h...)
			if res.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || res.Header.Get("Content-Disposition") != "" || !strings.Contains(body, `value="`+page+`"`) {
				t.Errorf("%s %q: %s %s", path, h, res.Status, body)
			}
		}
		b.follow(b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "interaction": {page}}, jo))
	}
}

// What is said of passkeys is said where there are any, and nothing that they make untrue.
func TestTextsOfPasskeys(t *testing.T) {
	with, without := newServiceOn(t, "localhost"), newService(t)
	for path, texts := range map[string][2]string{
		"/":              {"by your identity provider alone you wait three days", "your pen names stay the same, on a new device too"},
		"/accessibility": {"Passkeys need a script", "No page needs a script"},
	} {
		with.browser().shows("GET", with.origin+path, nil, http.StatusOK, texts[0], "!"+texts[1])
		without.browser().shows("GET", without.origin+path, nil, http.StatusOK, texts[1], "!"+texts[0])
	}
	with.browser().shows("GET", with.origin+"/privacy", nil, http.StatusOK, "<strong>Your passkeys</strong>")
	without.browser().shows("GET", without.origin+"/privacy", nil, http.StatusOK, "!passkeys")
	const old = "The same button signs you in later</dd>"
	b := with.browser()
	b.shows("GET", with.origin+b.open("pocket"), nil, http.StatusOK, "as long as you have no passkey", "!"+old)
	b = without.browser()
	b.shows("GET", without.origin+b.open("pocket"), nil, http.StatusOK, old, "!no passkey")

	const remove = "the page of your passkeys"
	for s, not := range map[*service]string{with: "", without: "!"} {
		b := s.in("laptop")
		b.shows("GET", s.origin+"/me", nil, http.StatusOK, not+"Does that device have a passkey of yours?")
		b.shows("GET", s.origin+changesPath, nil, http.StatusOK, not+remove)
		b.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, not+"If you lose them all")
		b.shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{}, http.StatusOK, not+remove)
		b.shows("POST", s.origin+"/sign-out", url.Values{}, http.StatusOK, not+"Did you add a passkey on this computer?", not+"come back here as you, unless you have a passkey")
	}
}
