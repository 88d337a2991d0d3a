package person

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
)

// almost is 71:59.
const almost = issue.RecoveryWait - time.Minute

// A stolen account at the provider takes nothing from somebody who has a passkey: nobody is
// signed in for 72 hours, the person is told, and can cancel it.
func TestRecoveryIsToldAndCancelled(t *testing.T) {
	s, server, send := writingOn(t, "localhost")
	b, at := s.in("laptop"), s.origin+addressPath
	b.allow("pocket", b.open("pocket"))
	b.shows("POST", at, url.Values{"address": {"jo@example.org"}}, http.StatusOK)
	send()
	b.shows("POST", at+"/confirm", url.Values{"code": {newest(t, server, "jo@example.org")}}, http.StatusOK)
	d := b.adds("phone")
	send()
	for len(s.live.Wrote()) > 0 {
		<-s.live.Wrote()
	}

	thief := s.browser()
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits, "Nothing of yours was shown", "!pen1", "!Pocket")
	thief.signedOut("waits")
	action := thief.open("pocket")
	thief.shows("GET", thief.proveWith(url.Values{"provider": {"post"}, "interaction": {action}}, jo).String(), nil, http.StatusOK, waits, action+"?declined", "!pen1")
	thief.shows("GET", thief.prove("bank", jo).String(), nil, http.StatusConflict, issue.ErrAlreadyEnrolled.Code) // nor by another account
	select {
	case <-s.live.Wrote():
	default:
		t.Error("the outbox is not looked at at once")
	}
	mails := len(server.Delivered())
	send()
	all := server.Delivered()
	if len(all) != mails+1 || all[mails].To != "jo@example.org" || !strings.Contains(all[mails].Text, "Cancel it") || strings.Contains(all[mails].Text, "pen1") {
		t.Errorf("%d mails: %v", len(all)-mails, all[mails:])
	}

	// Every page of somebody signed in by a passkey says so; one by the provider does not have the button.
	const cancel, says = `action="/me/recovery/cancel"`, "without a passkey"
	in := s.browser()
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, mine, cancel, says)
	for _, path := range []string{"", "/me", addressPath, passkeysPath, deletePath, "/me/receipt", in.open("pocket")} {
		in.shows("GET", s.origin+path, nil, http.StatusOK, cancel, says)
	}
	thief.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusUnauthorized, errSignedOut.Code)
	shared := in.copied() // in which another person signs in afterwards
	page := in.shows("GET", s.origin+"/me", nil, http.StatusOK)
	shared.follow(shared.prove("post", jo+1))
	theirs := shared.adds("theirs")
	shared.shows("POST", s.origin+"/me/recovery/cancel", url.Values{"session": {of(t, page, "/me/recovery/cancel")}}, http.StatusConflict, errAnother.Code, "Nothing was changed. If you pressed it before, it is cancelled.", "!It may still wait")
	in = s.browser()
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, mine, cancel, says)
	shared.shows("POST", s.origin+passkeysPath+"/remove", url.Values{"passkey": {shared.passkeyNamed("theirs")}, "sure": {"yes"}}, http.StatusOK)
	shared.shows("POST", s.origin+"/passkey", shared.byPasskey(theirs), http.StatusUnauthorized)
	in.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusOK, "It is cancelled", "!"+cancel)
	in.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusOK, "!"+cancel) // pressed twice
	s.pass(issue.RecoveryWait)
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits) // it begins once more
	thief.signedOut("cancelled")
}

// 71:59 and 72:00, and seven days; a proof meanwhile begins nothing anew.
func TestRecoveryWaits72Hours(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	name := b.allow("pocket", b.open("pocket"))["sub"].(string)
	d := b.adds("phone")
	lost := s.browser()
	proves := func(texts ...string) {
		t.Helper()
		lost.shows("GET", lost.prove("post", jo).String(), nil, http.StatusOK, texts...)
	}
	begun := s.now()
	first := lost.shows("GET", lost.prove("post", jo).String(), nil, http.StatusOK, waits)
	moments := func(page string) string {
		_, after, _ := strings.Cut(page, "<dl><dt>From")
		return after[:strings.Index(after, "</dl>")]
	}
	zone, err := time.LoadLocation("Europe/London") // newServiceOn
	if err != nil {
		t.Fatal(err)
	}
	if from := begun.Add(issue.RecoveryWait).In(zone); !strings.Contains(moments(first), from.Format("2 January 2006 at 15:")) || !strings.Contains(moments(first), from.Format(" MST<")) {
		t.Errorf("not by the clocks of London: %s", moments(first))
	}
	s.pass(36 * time.Hour)
	if again := lost.shows("GET", lost.prove("post", jo).String(), nil, http.StatusOK, waits); moments(again) != moments(first) {
		t.Errorf("it began anew: %s, then %s", moments(first), moments(again))
	}
	s.pass(begun.Add(almost).Sub(s.now()))
	proves(waits)
	lost.signedOut("71:59")
	s.pass(begun.Add(issue.RecoveryWait).Sub(s.now()))
	proves(mine, "You are signed in without a passkey", "Your old passkeys still sign in whoever has them", name)
	b = s.browser()
	b.shows("POST", s.origin+"/passkey", b.byPasskey(d), http.StatusOK, mine) // which is so
	lost.shows("GET", s.origin+passkeysPath, nil, http.StatusOK, "phone")
	b.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusOK, "They are signed out here") // and whoever used it is signed out
	lost.signedOut("cancelled after it was used")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, mine)

	begun = s.now()
	proves(waits)
	s.pass(begun.Add(issue.RecoveryWait + issue.RecoveryOpen - time.Second).Sub(s.now()))
	proves(mine)
	lost.shows("POST", s.origin+"/sign-out", url.Values{}, http.StatusOK)
	s.pass(2 * time.Second)
	proves(waits, "!that has lapsed") // it was used, and waits anew
	s.pass(issue.RecoveryWait + issue.RecoveryOpen + time.Second)
	callback := lost.prove("post", jo).String() // it lapsed, and waits anew
	for _, when := range []string{"now", "Back, or loaded again"} {
		if page := lost.shows("GET", callback, nil, http.StatusOK, waits, "that has lapsed", "!hreflang"); !strings.Contains(page, "To the first page") {
			t.Errorf("%s: %s", when, page)
		}
	}
	proves(waits, "!that has lapsed")
	lost.signedOut("lapsed")
}

// In a browser in which somebody is signed in their identity is a proof like another; of
// somebody else who is signed in there it is not.
func TestAProofOfWhoIsSignedInIsNoRecovery(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	b.adds("phone")
	s.pass(freshFor)
	b.shows("GET", b.proveWith(url.Values{"provider": {"post"}, "fresh": {"1"}, "interaction": {"/me"}}, jo).String(), nil, http.StatusOK, mine)
	other := s.browser()
	other.follow(other.prove("post", jo+1))
	other.shows("GET", other.prove("post", jo).String(), nil, http.StatusOK, waits)
	other.shows("GET", s.origin+"/me", nil, http.StatusOK, mine) // as themself
	// An ended session does not count, whatever cookie there is.
	copied := b.copied()
	b.shows("POST", s.origin+"/me/sign-out-everywhere", url.Values{}, http.StatusOK)
	copied.shows("GET", copied.prove("post", jo).String(), nil, http.StatusOK, waits)
	// Nor does the form of those who come back after a deletion go round it.
	copied.shows("GET", copied.proveWith(url.Values{"provider": {"post"}, "return": {"1"}}, jo).String(), nil, http.StatusOK, waits)
	copied.signedOut("return")
}

// renews reports whether the tokens of a sign-in at a platform can be renewed.
func (b *browser) renews(platform, refresh string) bool {
	b.t.Helper()
	res, _ := b.do("POST", b.origin+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {platform}})
	return res.StatusCode == http.StatusOK
}

// Whoever was let in by a recovery is neither hidden by one more that they begin, nor by a passkey
// that they add; one press ends their sessions, and their sign-ins at platforms.
func TestASecondRecoveryHidesNobody(t *testing.T) {
	for name, hides := range map[string]func(thief *browser){
		"another browser": func(thief *browser) {
			other := thief.browser()
			other.shows("GET", other.prove("post", jo).String(), nil, http.StatusOK, waits)
		},
		"another browser, and a passkey": func(thief *browser) {
			other := thief.browser()
			other.shows("GET", other.prove("post", jo).String(), nil, http.StatusOK, waits)
			thief.adds("theirs")
		},
		"one more that is cancelled by their passkey, and one more": func(thief *browser) {
			thief.adds("theirs")
			other := thief.browser()
			other.shows("GET", other.prove("post", jo).String(), nil, http.StatusOK, waits)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServiceOn(t, "localhost")
			d := s.in("laptop").adds("phone")
			thief := s.browser()
			thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
			s.pass(issue.RecoveryWait)
			thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, mine)
			res, _ := thief.do("POST", s.origin+thief.open("pocket", "scope", "openid offline_access"), url.Values{"decision": {"allow"}})
			at := thief.tokens("pocket", result(t, res).Get("code"))
			hides(thief)
			s.pass(time.Minute)
			thief.shows("GET", s.origin+"/me", nil, http.StatusOK, mine)

			in := s.browser()
			page := in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, mine, "Somebody was signed in on", "Sign them out", "!Cancel it")
			if asks := name != "another browser, and a passkey"; strings.Contains(page, "They are not signed in by that before") != asks {
				t.Errorf("says that somebody asks: %v", !asks)
			}
			in.shows("POST", s.origin+"/me/recovery/cancel", url.Values{"session": {of(t, page, "/me/recovery/cancel")}}, http.StatusOK, "They are signed out here", "!/me/recovery/cancel", "!Nobody is signed in by it")
			thief.signedOut("cancelled")
			if thief.renews("pocket", at.Refresh) {
				t.Error("their sign-in at a platform goes on")
			}
		})
	}
}

// Whoever cancels what let nobody in loses no sign-in at a platform by it.
func TestACancelledRecoveryEndsNothingAtPlatforms(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	res, _ := b.do("POST", s.origin+b.open("pocket", "scope", "openid offline_access"), url.Values{"decision": {"allow"}})
	at := b.tokens("pocket", result(t, res).Get("code"))
	b.adds("phone")
	phone := b.copied()
	thief := s.browser()
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	b.shows("POST", s.origin+"/me/recovery/cancel", url.Values{}, http.StatusOK, "It is cancelled", "your other devices are signed out here")
	phone.signedOut("cancelled elsewhere")
	if !b.renews("pocket", at.Refresh) {
		t.Error("their own sign-in at a platform ended")
	}
}

// Nobody stays in by a recovery for longer than its owner is told of it: a proof at the provider
// meanwhile makes no day of the half day.
func TestARecoveredSessionIsNotMadeLonger(t *testing.T) {
	s := newServiceOn(t, "localhost")
	d := s.in("laptop").adds("phone")
	thief := s.browser()
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	s.pass(issue.RecoveryWait)
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, mine)
	for range 24 {
		s.pass(29 * time.Minute)
		thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, mine)
	}
	in := s.browser()
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, "Somebody was signed in on")
	s.pass(25 * time.Minute)
	in.shows("POST", s.origin+"/passkey", in.byPasskey(d), http.StatusOK, "!Somebody was signed in on")
	thief.signedOut("twelve hours")
}
