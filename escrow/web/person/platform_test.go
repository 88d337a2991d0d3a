package person

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

// TestLeaveOnePlatform: signing out at a platform ends what it has, and nobody else's, and has
// every device asked again, once, as withdrawing consent does; the pen name stays.
func TestLeaveOnePlatform(t *testing.T) {
	s := newService(t)
	laptop, phone := s.in("laptop"), s.in("phone")
	navigates := []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"}
	silent := func(b *browser, platform string) string {
		t.Helper()
		res, _ := b.do("GET", s.origin+"/authorize?"+request(platform, "prompt", "none"), nil, navigates...)
		return result(t, res).Get("error")
	}
	name := laptop.allow("pocket", laptop.open("pocket"))["sub"]
	phone.allow("pocket", phone.open("pocket"))
	laptop.allow("purse", laptop.open("purse"))
	stays := func(platform string) string {
		res, _ := laptop.do("POST", s.origin+laptop.open(platform, "scope", "openid offline_access"), url.Values{"decision": {"allow"}})
		return laptop.tokens(platform, result(t, res).Get("code")).Refresh
	}
	renews := func(platform, refresh string) int {
		res, _ := laptop.do("POST", s.origin+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {platform}})
		return res.StatusCode
	}
	laptop.shows("GET", s.origin+"/me", nil, http.StatusOK, `href="`+namePath+"?pen_name="+name.(string)+`">Rename or leave`)
	laptop.shows("GET", s.origin+namePath+"?pen_name="+name.(string), nil, http.StatusOK, "sign out there, or withdraw consent", "!Retire this pen name")
	laptop.shows("GET", s.origin+namePath+"?pen_name=pen1x", nil, http.StatusNotFound, "persona.")
	laptop.shows("POST", s.origin+"/me/platform", url.Values{"pen_name": {name.(string)}}, http.StatusOK, "Leave Pocket", name.(string), "It has not asked to be told", "Your other platforms learn nothing")
	for do, says := range map[string]string{"sign-out": "You are signed out there", "withdraw": "Your consent is withdrawn"} {
		here, there := stays("pocket"), stays("purse")
		s.pass(time.Second)
		phone.allow("pocket", phone.open("pocket"))
		laptop.allow("pocket", laptop.open("pocket"))
		s.pass(time.Second)
		laptop.shows("POST", s.origin+"/me/platform", url.Values{"pen_name": {name.(string)}, "do": {do}}, http.StatusOK, says, "Before the next sign-in there we ask you")
		if left, other := renews("pocket", here), renews("purse", there); left != http.StatusBadRequest || other != http.StatusOK {
			t.Errorf("%s: renews there %d, elsewhere %d", do, left, other)
		}
		for _, b := range []*browser{laptop, phone} {
			if got := silent(b, "pocket"); got != "consent_required" {
				t.Errorf("%s: afterwards %q", do, got)
			}
			b.shows("GET", s.origin+"/me", nil, http.StatusOK, name.(string))
		}
		s.pass(time.Second)
	}
	laptop.allow("purse", laptop.open("purse"))
	if got := silent(laptop, "purse"); got != "" {
		t.Errorf("at another platform: %s", got)
	}
	s.pass(time.Second)
	if again := phone.allow("pocket", phone.open("pocket"))["sub"]; again != name {
		t.Errorf("%v, was %v", again, name)
	}
	if phones, laptops := silent(phone, "pocket"), silent(laptop, "pocket"); phones != "" || laptops != "consent_required" {
		t.Errorf("asked anew on the phone: %q there, %q on the laptop", phones, laptops)
	}
}

// TestLeaveOnePlatformRefuses: nobody but who is signed in, and only where they have a pen name.
func TestLeaveOnePlatformRefuses(t *testing.T) {
	s := newService(t)
	b := s.in("laptop")
	for _, name := range []string{"pocket", "unknown", ""} {
		for _, do := range []string{"sign-out", "withdraw"} {
			b.shows("POST", s.origin+"/me/platform", url.Values{"pen_name": {name}, "do": {do}}, http.StatusNotFound, errNoPenName.Code)
		}
	}
	s.browser().shows("POST", s.origin+"/me/platform", url.Values{"pen_name": {"pocket"}}, http.StatusUnauthorized, errSignedOut.Code)
	res, _ := b.do("POST", s.origin+"/me/platform", url.Values{"pen_name": {"pocket"}, "do": {"withdraw"}}, "Sec-Fetch-Site", "cross-site", "Origin", "https://other.example")
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %d", res.StatusCode)
	}
}
