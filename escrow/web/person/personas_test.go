package person

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

const banSecret = "q1w2e3r4t5y6u7i8o9p0-_aAsSdDfFgGhHjJkKlLzZx"

// several is a service at whose platform pocket a person may have that many pen names. Its
// site, which is of the same sector, has a secret.
func several(t *testing.T, most int, options ...func(*testing.T, *Config)) *service {
	return newService(t, append(options, func(_ *testing.T, c *Config) {
		for i := range c.Platforms {
			if c.Platforms[i].ID == "pocket" {
				c.Platforms[i].Sector, c.Platforms[i].Personas = "pocket.example", most
			}
		}
		c.Platforms = append(c.Platforms, openid.Platform{ID: "site", Name: "Pocket's Site", Sector: "pocket.example", Personas: 5,
			RedirectURIs: []string{"https://pocket.example/back"}, SecretHashes: []openid.SecretHash{openid.HashSecret(banSecret)}, Events: &openid.Stream{}})
	})...)
}

// polled are the events that the site asks for: pen name and type.
func (s *service) polled(t *testing.T) (told []string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.origin+"/events", strings.NewReader(`{"returnImmediately":true}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("site", banSecret)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Sets map[string]string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err)
	}
	for _, raw := range answer.Sets {
		var e struct {
			Subject struct {
				Sub string `json:"sub"`
			} `json:"sub_id"`
			Events map[string]struct{} `json:"events"`
		}
		document.ReadUnverified(raw, &e)
		for kind := range e.Events {
			told = append(told, e.Subject.Sub+" "+kind)
		}
	}
	return told
}

// as signs in to a platform under a pen name, or under a new one that is called so.
func (b *browser) as(platform, persona, alias string, pairs ...string) string {
	b.t.Helper()
	res, body := b.do("POST", b.origin+b.open(platform, pairs...), url.Values{"decision": {"allow"}, "persona": {persona}, "alias": {alias}})
	if res.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("%s %s: %s %s", persona, alias, res.Status, body)
	}
	return b.redeem(platform, result(b.t, res).Get("code"))["sub"].(string)
}

// report is what the site reports of a pen name.
func (s *service) report(t *testing.T, name, state string) {
	t.Helper()
	res, body := s.browser().do("POST", s.origin+"/bans", url.Values{"client_id": {"site"}, "client_secret": {banSecret}, "sub": {name}, "state": {state}})
	if res.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("%s %s: %s %s", name, state, res.Status, body)
	}
}

// A person has several pen names at a platform that allows them, calls them as they like
// and picks one at each sign-in. Another one than is allowed there is not to be had.
func TestPersonasArePickedAndCalled(t *testing.T) {
	s := several(t, 2)
	b := s.in("laptop")
	b.shows("GET", s.origin+"/authorize?"+request("pocket"), nil, http.StatusOK, "you can have 2 pen names here", `value="new"`)
	work := b.as("pocket", "new", "work")
	football := b.as("pocket", "new", "football")
	if work == football || b.as("pocket", work, "") != work || b.as("pocket", football, "") != football {
		t.Errorf("%s and %s", work, football)
	}
	page := b.shows("GET", s.origin+"/authorize?"+request("pocket"), nil, http.StatusOK, "<strong>work</strong>", "<strong>football</strong>", `!value="new"`, "There is no room for a new one")
	if !regexp.MustCompile(`value="`+football+`" required checked`).MatchString(page) || strings.Count(page, " checked") != 1 {
		t.Errorf("the one that was used last is not chosen beforehand: %s", page)
	}
	b.shows("POST", s.origin+b.open("pocket"), url.Values{"decision": {"allow"}, "persona": {"new"}}, http.StatusConflict, issue.ErrNoRoom.Code)
	b.shows("POST", s.origin+"/me/rename", url.Values{"pen_name": {work}, "alias": {"  office  "}}, http.StatusOK)
	b.shows("POST", s.origin+"/me/platform", url.Values{"pen_name": {work}}, http.StatusOK, "There you are <strong>office</strong>, <code>"+work)
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "<strong>office</strong>", "<strong>football</strong>", work, football, "!<strong>work</strong>")
	// Where one is allowed there is nothing to pick.
	if b.allow("purse", b.open("purse"))["sub"] == work {
		t.Error("one pen name at two platforms")
	}
	b.shows("GET", s.origin+"/authorize?"+request("purse"), nil, http.StatusOK, "you have one pen name here", `!name="persona"`)
}

// Two tabs, on two devices and through two processes, that ask for a new pen name at once
// get no more than are allowed.
func TestPersonasAreNoMoreThanAllowed(t *testing.T) {
	s := several(t, 3)
	b, other := s.in("laptop"), s.in("phone")
	names := map[string]bool{b.as("pocket", "new", ""): true}
	var mu sync.Mutex
	for range 3 {
		var wg sync.WaitGroup
		for n := range 6 {
			tab, at := []*browser{b, other}[n%2], []string{s.origin, s.replica}[n/3]
			action := tab.open("pocket")
			wg.Go(func() {
				res, _ := tab.do("POST", at+action, url.Values{"decision": {"allow"}, "persona": {"new"}})
				if res.StatusCode != http.StatusSeeOther {
					return
				}
				sub := b.redeem("pocket", result(t, res).Get("code"))["sub"].(string)
				mu.Lock()
				names[sub] = true
				mu.Unlock()
			})
		}
		wg.Wait()
	}
	if len(names) != 3 {
		t.Errorf("%d pen names: %v", len(names), names)
	}
}

// Nobody picks what is not theirs, in whatever form it is named.
func TestPersonaOfSomebodyElseIsRefused(t *testing.T) {
	s := several(t, 2)
	b, kim := s.in("laptop"), s.browser()
	kim.follow(kim.prove("post", 1))
	mine, theirs, elsewhere := b.as("pocket", "new", ""), kim.as("pocket", "new", "kim's"), b.allow("purse", b.open("purse"))["sub"].(string)
	for _, forged := range []string{theirs, elsewhere, strings.ToUpper(mine), mine + " ", mine + "\x00", "1", "-1", "256", "new ", "NEW", "<script>"} {
		b.shows("POST", s.origin+b.open("pocket"), url.Values{"decision": {"allow"}, "persona": {forged}}, http.StatusNotFound, issue.ErrPersonaUnknown.Code)
		for _, path := range []string{"/me/rename", "/me/retire"} {
			if forged != elsewhere {
				b.shows("POST", s.origin+path, url.Values{"pen_name": {forged}, "alias": {"x"}, "sure": {"yes"}}, http.StatusNotFound, issue.ErrPersonaUnknown.Code)
			}
		}
	}
	kim.shows("GET", s.origin+"/me", nil, http.StatusOK, "kim&#39;s", "!Retired on")
	b.shows("POST", s.origin+"/me/retire", url.Values{"pen_name": {elsewhere}, "sure": {"yes"}}, http.StatusConflict, issue.ErrKeepsOne.Code)
}

// What a person calls a pen name is shown as text, on one line, and nobody else ever has it:
// no platform, and no copy of the database.
func TestHostileAliasIsText(t *testing.T) {
	s := several(t, 2)
	b := s.in("laptop")
	name := b.as("pocket", "new", "<script>alert(1)</script>\u202e\n\x00\u0007 a b")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "<strong>&lt;script&gt;alert(1)&lt;/script&gt; a b</strong>", "!<script>alert")
	b.shows("POST", s.origin+"/me/rename", url.Values{"pen_name": {name}, "alias": {strings.Repeat("\U0001f600", 17)}}, http.StatusUnprocessableEntity, "too long")
	b.shows("POST", s.origin+"/me/rename", url.Values{"pen_name": {name}, "alias": {strings.Repeat("\U0001f600", 16)}}, http.StatusOK)
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "<strong>"+strings.Repeat("\U0001f600", 16)+"</strong>")
	b.shows("POST", s.origin+"/me/rename", url.Values{"pen_name": {name}, "alias": {""}}, http.StatusOK)
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "!\U0001f600", name)
}

// A retired pen name signs nobody in again: not by its page, not silently, not by a sign-in
// that was under way, and not renewed. Its place is free after 90 days.
func TestRetiredPenNameIsNeverUsedAgain(t *testing.T) {
	s := several(t, 2)
	b := s.in("laptop")
	kept := b.as("pocket", "new", "kept")
	res, _ := b.do("POST", s.origin+b.open("pocket", "scope", "openid"), url.Values{"decision": {"allow"}, "persona": {"new"}, "alias": {"gone"}})
	gone := b.redeem("pocket", result(t, res).Get("code"))["sub"].(string)
	waiting := b.open("pocket")
	b.shows("POST", s.origin+"/me/retire", url.Values{"pen_name": {gone}}, http.StatusOK, "Nobody signs in at Pocket, Pocket&#39;s Site as <strong>gone</strong>", "after 90 days", "The platform is told now that you retired")
	res, _ = b.ask("pocket", "prompt", "none")
	if told := s.polled(t); result(t, res).Get("code") == "" || len(told) != 0 {
		t.Error("to be asked has retired it", told)
	}
	b.shows("POST", s.origin+"/me/retire", url.Values{"pen_name": {gone}, "sure": {"yes"}}, http.StatusOK)
	if told := s.polled(t); !slices.Contains(told, gone+" "+token.EventRetired) || strings.Contains(strings.Join(told, ""), kept) {
		t.Errorf("the platform was told %v", told)
	}
	b.shows("POST", s.origin+waiting, url.Values{"decision": {"allow"}, "persona": {gone}}, http.StatusNotFound, issue.ErrPersonaUnknown.Code)
	b.shows("POST", s.origin+"/me/retire", url.Values{"pen_name": {gone}, "sure": {"yes"}}, http.StatusNotFound, issue.ErrPersonaUnknown.Code)
	for _, do := range []string{"", "sign-out", "withdraw"} {
		b.shows("POST", s.origin+"/me/platform", url.Values{"pen_name": {gone}, "do": {do}}, http.StatusNotFound, errNoPenName.Code)
	}
	res, _ = b.ask("pocket", "prompt", "none")
	if got := result(t, res); got.Get("error") != "consent_required" {
		t.Errorf("silently: %v", got)
	}
	b.shows("GET", s.origin+"/authorize?"+request("pocket"), nil, http.StatusOK, kept, "!"+gone, `!value="new"`)
	s.pass(issue.CoolDown*24*time.Hour - 25*time.Hour)
	b = s.in("laptop")
	b.shows("GET", s.origin+"/authorize?"+request("pocket"), nil, http.StatusOK, `!value="new"`)
	s.pass(25 * time.Hour)
	b = s.in("laptop")
	fresh := b.as("pocket", "new", "fresh")
	if fresh == gone || fresh == kept {
		t.Errorf("%s again", fresh)
	}
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "Retired on", gone, fresh, kept)
}

// A form that names no pen name cannot sign in under a retired one, and is no fault of ours: it
// is refused as what it is.
func TestFormWithoutAPenNameIsRefused(t *testing.T) {
	s := several(t, 2)
	b := s.in("laptop")
	gone := b.as("pocket", "new", "")
	b.as("pocket", "new", "")
	b.shows("POST", s.origin+"/me/retire", url.Values{"pen_name": {gone}, "sure": {"yes"}}, http.StatusOK)
	faults := map[string]bool{}
	s.live.side.edge.Refused = func(route string, codes []string, fault bool) { faults[route+" "+strings.Join(codes, " ")] = fault }
	b.shows("POST", s.origin+b.open("pocket"), url.Values{"decision": {"allow"}, "persona": {""}}, http.StatusNotFound, issue.ErrPersonaUnknown.Code)
	if fault, noted := faults["* /authorize "+issue.ErrPersonaUnknown.Code]; !noted || fault || len(faults) != 1 {
		t.Errorf("noted as %v", faults)
	}
}

// A ban holds: a pen name that its platform reports keeps its place, also if it was retired
// before the report, until the platform lifts it.
func TestBanIsNotLeftByRetiring(t *testing.T) {
	s := several(t, 2)
	b := s.in("laptop")
	first, second := b.as("pocket", "new", ""), b.as("pocket", "new", "")
	s.report(t, first, "banned")
	s.report(t, first, "banned")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "The platform reports that it has banned this pen name")
	b.shows("GET", s.origin+"/authorize?"+request("pocket"), nil, http.StatusOK, "The platform reports that it has banned it")
	for _, name := range []string{first, second} {
		b.shows("POST", s.origin+"/me/retire", url.Values{"pen_name": {name}, "sure": {"yes"}}, http.StatusOK)
	}
	s.pass(30 * 24 * time.Hour)
	s.report(t, second, "banned") // in the cool-down
	s.pass(200 * 24 * time.Hour)
	b = s.in("laptop")
	refused := func() {
		t.Helper()
		b.shows("POST", s.origin+b.open("pocket"), url.Values{"decision": {"allow"}, "persona": {"new"}}, http.StatusConflict, issue.ErrNoRoom.Code)
	}
	refused()
	s.report(t, second, "lifted")
	third := b.as("pocket", "new", "")
	refused()
	s.report(t, first, "lifted")
	if fourth := b.as("pocket", "new", ""); fourth == third {
		t.Error("no fourth pen name")
	}
}

// Only the client itself reports, only of its own sector, and learns nothing by it.
func TestBansAreReportedByThePlatformAlone(t *testing.T) {
	s := several(t, 2)
	b := s.in("laptop")
	name, elsewhere := b.as("pocket", "new", ""), b.allow("purse", b.open("purse"))["sub"].(string)
	unknown, err := token.NewPseudonym(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	for what, form := range map[string]url.Values{
		"a wrong secret": {"client_id": {"site"}, "client_secret": {"x"}, "sub": {name}, "state": {"banned"}},
		"no secret":      {"client_id": {"site"}, "sub": {name}, "state": {"banned"}},
		"an app":         {"client_id": {"pocket"}, "sub": {name}, "state": {"banned"}},
		"nobody":         {"sub": {name}, "state": {"banned"}},
		"no pen name":    {"client_id": {"site"}, "client_secret": {banSecret}, "sub": {"Jo"}, "state": {"banned"}},
		"two pen names":  {"client_id": {"site"}, "client_secret": {banSecret}, "sub": {name, name}, "state": {"banned"}},
		"no state":       {"client_id": {"site"}, "client_secret": {banSecret}, "sub": {name}},
		"another state":  {"client_id": {"site"}, "client_secret": {banSecret}, "sub": {name}, "state": {"warned"}},
	} {
		if res, body := b.do("POST", s.origin+"/bans", form); res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusUnauthorized || strings.Contains(body, name) {
			t.Errorf("%s: %s %s", what, res.Status, body)
		}
	}
	s.report(t, elsewhere, "banned") // of another sector: answered alike
	s.report(t, string(unknown), "banned")
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "!banned this pen name")
	s.report(t, name, "banned")
	if page := b.shows("GET", s.origin+"/me", nil, http.StatusOK, name); strings.Count(page, "banned this pen name") != 1 {
		t.Error(page)
	}
}

// Without a page the pen name that was allowed last is used, whomever the platform hints at:
// an answer that told its person's own pen names from a stranger's would link them. Nor does
// a hint choose beforehand on the page: one press by habit would say whose it is.
func TestSilentSignInUsesThePersonaAllowedLast(t *testing.T) {
	s := several(t, 2)
	b := s.in("laptop")
	one, two := b.as("pocket", "new", ""), b.as("pocket", "new", "")
	silent := func(b *browser, pairs ...string) url.Values {
		t.Helper()
		res, _ := b.ask("pocket", append(pairs, "prompt", "none")...)
		return result(t, res)
	}
	if got := b.redeem("pocket", silent(b).Get("code"))["sub"]; got != two {
		t.Errorf("%v", got)
	}
	b.as("pocket", one, "")
	if got := b.redeem("pocket", silent(b).Get("code"))["sub"]; got != one {
		t.Errorf("%v", got)
	}
	kim := s.browser()
	kim.follow(kim.prove("post", 1))
	theirs := kim.as("pocket", "new", "")
	for _, hint := range []string{"", one, two, theirs, "pen1nobody", "jo@school.example"} {
		if got := b.redeem("pocket", silent(b, "login_hint", hint).Get("code"))["sub"]; got != one {
			t.Errorf("%s: %v", hint, got)
		}
	}
	other := s.in("phone")
	for _, hint := range []string{"", one, two, theirs} {
		if got := silent(other, "login_hint", hint); got.Get("error") != "consent_required" {
			t.Errorf("%s: %v", hint, got)
		}
	}
	for _, hint := range []string{one, two, theirs} {
		if _, page := other.ask("pocket", "prompt", "select_account", "login_hint", hint); !strings.Contains(page, two) || strings.Contains(page, " checked") {
			t.Errorf("the hint %s picks: %s", hint, page)
		}
		if _, page := b.ask("pocket", "prompt", "select_account", "login_hint", hint); !strings.Contains(page, `value="`+one+`" required checked`) || strings.Count(page, " checked") != 1 {
			t.Errorf("the hint %s picks: %s", hint, page)
		}
	}
}

// The moment of a proof is told to one pen name, also of two at one platform.
func TestAuthTimeLinksNoPersonas(t *testing.T) {
	s := several(t, 2)
	b := s.in("laptop")
	res, _ := b.do("POST", s.origin+b.proven("pocket", "max_age", "3600"), url.Values{"decision": {"allow"}, "persona": {"new"}})
	one := b.redeem("pocket", result(t, res).Get("code"))["sub"].(string)
	b.shows("POST", s.origin+b.open("pocket", "max_age", "3600"), url.Values{"decision": {"allow"}, "persona": {"new"}}, http.StatusOK, "Prove my identity")
	if again := b.as("pocket", one, "", "max_age", "3600"); again != one {
		t.Errorf("%s, %s", one, again)
	}
}

// A logout ends the sign-in of the pen name that this session used last, and says which. Of
// another one, whosever the platform names, it ends nothing that the person does not choose.
func TestLogoutEndsOnePersona(t *testing.T) {
	s := several(t, 2)
	b := s.in("laptop")
	sign := func(persona string) tokens {
		res, _ := b.do("POST", s.origin+b.open("pocket", "scope", "openid offline_access"), url.Values{"decision": {"allow"}, "persona": {persona}})
		return b.tokens("pocket", result(t, res).Get("code"))
	}
	renews := func(of tokens) bool {
		res, _ := b.do("POST", b.origin+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {of.Refresh}, "client_id": {"pocket"}})
		return res.StatusCode == http.StatusOK
	}
	one, two := sign("new"), sign("new")
	names := func(hint string, holds ...string) (page string) {
		return b.shows("GET", s.origin+"/logout?"+url.Values{"client_id": {"pocket"}, "logout_hint": {hint}}.Encode(), nil, http.StatusOK, holds...)
	}
	sub := func(of tokens) string {
		var claims struct {
			Sub string `json:"sub"`
		}
		document.ReadUnverified(of.ID, &claims)
		return claims.Sub
	}
	const chooses = "Whose sign-ins there should end?"
	kim := s.browser()
	kim.follow(kim.prove("post", 1))
	for _, hint := range []string{sub(one), kim.as("pocket", "new", "")} {
		names(hint, chooses, sub(one), sub(two), `value="" checked`)
		b.shows("POST", s.origin+"/logout/answer?client_id=pocket", url.Values{"decision": {"stay"}, "pen_name": {""}}, http.StatusOK, "You are still signed in here", "!What has ended")
	}
	b.shows("POST", s.origin+"/logout/answer?client_id=pocket", url.Values{"decision": {"stay"}, "pen_name": {kim.as("pocket", "new", "")}}, http.StatusNotFound, errNoPenName.Code)
	refreshed := sign(sub(two)) // a refresh token serves once
	if !renews(one) {
		t.Error("what nobody chose has ended")
	}
	one = sign(sub(one))
	two = refreshed
	for _, hint := range []string{"", sub(one)} {
		names(hint, "!"+chooses, `name="pen_name" value="`+sub(one)+`"`, "!"+sub(two))
	}
	b.shows("POST", s.origin+"/logout/answer?client_id=pocket", url.Values{"decision": {"stay"}, "pen_name": {sub(one)}}, http.StatusOK, "What has ended")
	if renews(one) || !renews(two) {
		t.Error("the one that left is renewed, or the other one is not")
	}
}

// A platform that took over from another one is told nothing before the person says yes, and
// knows them then by the same pen name, with its ban.
func TestSuccessorAsksFirst(t *testing.T) {
	s := several(t, 1)
	b := s.in("laptop")
	name := b.allow("pocket", b.open("pocket"))["sub"].(string)
	s.report(t, name, "banned")
	all := s.open()
	for i := range all {
		if all[i].ID == "pocket" {
			all[i].Closed = openid.ErrRetired
		}
	}
	all = append(all, openid.Platform{ID: "wallet", Name: "Wallet", Sector: "pocket.example", Succeeds: "pocket", Registered: s.now(), Native: true, RedirectURIs: []string{"http://127.0.0.1/back", "https://wallet.example/back"}})
	if err := s.live.SetPlatforms(all); err != nil {
		t.Fatal(err)
	}
	action := b.open("wallet")
	b.shows("GET", s.origin+action, nil, http.StatusOK, "Wallet takes over from Pocket", "under a pen name that Pocket knew you by", "wallet.example", "Wallet reports that it has banned this pen name", name)
	res, _ := b.do("POST", s.origin+action, url.Values{"decision": {"deny"}})
	if got := result(t, res); got.Get("error") != "access_denied" || got.Get("code") != "" {
		t.Errorf("%v", got)
	}
	if got := b.allow("wallet", b.open("wallet"))["sub"]; got != name {
		t.Errorf("%v", got)
	}
	b.shows("GET", s.origin+b.open("wallet"), nil, http.StatusOK, name, "!takes over")
	s.in("phone").shows("GET", s.origin+"/authorize?"+request("wallet"), nil, http.StatusOK, "Wallet takes over from Pocket")
	b.shows("POST", s.origin+"/me/platform", url.Values{"pen_name": {name}, "do": {"withdraw"}}, http.StatusOK)
	b.shows("GET", s.origin+b.open("wallet"), nil, http.StatusOK, "Wallet takes over from Pocket")
	// Whoever was not there before has nothing that could be taken over.
	kim := s.browser()
	kim.follow(kim.prove("post", 1))
	_, page := kim.ask("wallet")
	if strings.Contains(page, "takes over") {
		t.Error(page)
	}
	s.pass(24 * time.Hour)
	kim = s.browser()
	kim.follow(kim.prove("post", 1))
	kim.allow("wallet", kim.open("wallet"))
	s.pass(13 * time.Hour)
	kim = s.browser()
	kim.follow(kim.prove("post", 1))
	if _, page := kim.ask("wallet"); strings.Contains(page, "takes over") || !strings.Contains(page, "<code>pen1") {
		t.Error(page)
	}
}

// open are the platforms of the first process.
func (s *service) open() []openid.Platform {
	return append([]openid.Platform(nil), *s.live.side.platforms.Load()...)
}
