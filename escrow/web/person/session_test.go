package person

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/identity"
)

// TestFoundP2CookiesHaveOneLength: whatever the assurance level and the time, so that
// who watches the line does not tell one person's visits by the length.
func TestFoundP2CookiesHaveOneLength(t *testing.T) {
	s, err := newSessions([][32]byte{{1}}, "https://penname.example", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	lengths, full := map[int]bool{}, session{}
	for i := range 20 { // more platforms than are remembered
		scopes := scopesDigest(strings.Repeat("age_over_18 ", 20))
		full.allow(allowed{fmt.Sprintf("%064d", i), scopes, 255, identity.AllClaims, false, 1 << 33})
		full.used(fmt.Sprintf("%064d", i), scopes)
	}
	for _, v := range []session{
		{Person: issue.Person{Label: strings.Repeat("a", 26)}, ACR: "high", Proven: time.Unix(0, 0), Expires: time.Unix(1, 0)},
		{Person: issue.Person{ID: [16]byte{255, 200}, Label: strings.Repeat("b", 26), Digest: [32]byte{100, 200}}, ACR: "https://id.example/assurance/substantial", Proven: time.Unix(0, 123456789), Expires: time.Unix(1, 120),
			Session: issue.Session{Word: strings.Repeat(`"`, issue.MaxWord)}, Key: make([]byte, 32), Told: strings.Repeat("t", 64) + "#255", For: "/authorize/" + strings.Repeat("x", 43), Allowed: full.Allowed,
			Whose: make([]byte, 32), Derived: issue.Derived{Platform: strings.Repeat("p", 64), MACs: make([]byte, 64)}},
	} {
		w := httptest.NewRecorder()
		v.Ends = s.now().Add(time.Hour)
		if err := s.keep(w, v); err != nil {
			t.Fatal(err)
		}
		if n := len(w.Header().Get("Set-Cookie")); n > 2200 {
			t.Errorf("%d bytes", n)
		}
		lengths[len(w.Result().Cookies()[0].Value)] = true
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(w.Result().Cookies()[0])
		var back session
		if !s.get(r, "session", &back) || back.ACR != v.ACR {
			t.Errorf("came back as %+v", back)
		}
	}
	if len(lengths) != 1 {
		t.Errorf("lengths %v", lengths)
	}
}

// ASVS 7.4.5: the operator can end all sessions, by another key; and can replace the key
// without ending any, if the one of before stays below it.
func TestReplacedCookieKeySignsEverybodyOut(t *testing.T) {
	for _, c := range []struct {
		keys [][32]byte
		want bool
	}{{[][32]byte{{1}}, true}, {[][32]byte{{2}}, false}, {[][32]byte{{2}, {1}}, true}, {[][32]byte{{2}, {3}}, false}} {
		key, want := c.keys, c.want
		before, err := newSessions([][32]byte{{1}}, "https://penname.example", time.Now)
		if err != nil {
			t.Fatal(err)
		}
		after, err := newSessions(key, "https://penname.example", time.Now)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		if err := before.keep(w, session{Ends: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(w.Result().Cookies()[0])
		if _, in := after.person(r); in != want {
			t.Errorf("keys %v: signed in %v", key, in)
		}
		w = httptest.NewRecorder()
		if err := after.keep(w, session{Ends: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		r = httptest.NewRequest("GET", "/", nil)
		r.AddCookie(w.Result().Cookies()[0])
		if _, in := before.person(r); in != (key[0] == [32]byte{1}) {
			t.Errorf("keys %v: the first is not what seals", key)
		}
	}
}
