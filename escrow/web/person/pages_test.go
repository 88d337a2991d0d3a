package person

import (
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/escrow/passkey"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/pagetest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/token"
)

// everyPage renders each page in each of its states, with these identity
// providers.
func everyPage(t *testing.T, providers ...Provider) map[string]string {
	t.Helper()
	rendered, _ := everyPageOf(t, providers...)
	return rendered
}

func everyPageOf(t *testing.T, providers ...Provider) (map[string]string, *web.Server) {
	t.Helper()
	return everyPageIn(t, languages.Ours, languages.English, providers...)
}

// ofPasskeys are the states of pages that come with passkeys and recoveries.
func ofPasskeys() map[string]any {
	recovered := leaving{Stay: "/me/stay", Recovery: &issue.Recovery{Began: postedAt, Used: postedAt}}
	recovering := leaving{Stay: "/me/stay", Asks: true, Recovery: &issue.Recovery{Began: postedAt}}
	again := leaving{Stay: "/me/stay", Asks: true, Recovery: &issue.Recovery{Began: postedAt, Used: postedAt}}
	return map[string]any{
		"prove.html": provePage{"/me/receipt", "", leaving{Stay: "/me/stay"}}, "prove.html recovering": provePage{"/me", flashStored("x"), recovering}, "prove.html sent": provePage{"/me", flashSent, leaving{Stay: "/me/stay"}},
		"passkeys.html": passkeysPage{Here: true, Most: 8, Leaving: leaving{Stay: "/me/stay"}}, "passkeys.html on the way": passkeysPage{Here: true, Most: 8, Back: "/authorize/x", Typed: "phone", At: "word", Mistakes: oneMistake("add", passkey.ErrKnown.Mend)}, "passkeys.html a word too long": passkeysPage{Here: true, Most: 8, Typed: strings.Repeat("x", 80), At: "word", Mistakes: oneMistake("word", tooLong), Leaving: leaving{Stay: "/me/stay"}},
		"passkeys.html another word too long": passkeysPage{Here: true, Most: 8, Typed: strings.Repeat("x", 80), At: "word-2", Mistakes: oneMistake("word-2", tooLong), Passkeys: []ownPasskey{{"a", "phone", postedAt, 1}, {"b", "", postedAt, 2}}, Leaving: leaving{Stay: "/me/stay"}},
		"passkeys.html with some":             passkeysPage{Here: true, Most: 8, Done: flashAdded, Passkeys: []ownPasskey{{"a", "phone", postedAt, 1}, {"b", "", postedAt, 2}}, Leaving: recovering},
		"passkeys.html full":                  passkeysPage{Here: true, Most: 2, Done: flashRenamed, Passkeys: []ownPasskey{{"a", "phone", postedAt, 1}, {"b", "work", postedAt, 2}}}, "passkeys.html elsewhere": passkeysPage{Most: 8, Done: flashGone},
		"passkey-last.html": removePage{ownPasskey{"a", "phone", postedAt, 1}, leaving{Stay: "/me/stay"}}, "waits.html": waitsPage{From: postedAt, Until: postedAt, Lapsed: true}, "waits.html on the way": waitsPage{From: postedAt, Until: postedAt, Back: "/authorize/x", SignIn: "/authorize/x"},
		"consent.html recovering": consentPage{Leaving: recovering, Platform: "Town Square", SignedIn: true, PenName: "pen1x"},
		"me.html recovering":      mePage{Leaving: recovering}, "me.html recovered by somebody": mePage{Leaving: recovered}, "me.html recovered by somebody who asks again": mePage{Leaving: again},
		"me.html put out": mePage{Welcome: flashPutOut}, "prove.html put out": provePage{"/me", flashPutOut, leaving{Stay: "/me/stay"}}, "passkeys.html the first": passkeysPage{Here: true, Most: 8, Done: flashAddedFirst},
		"prove.html a wrong code": provePage{addressPath, flashWrongCode, leaving{Stay: "/me/stay"}}, "prove.html no code": provePage{addressPath, flashCodeOver, leaving{Stay: "/me/stay"}},
		"consent.html stale": consentPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "Town Square", SignedIn: true, Stale: true, There: true, Username: true, Email: true, Claims: &claimsPage{Hidden: true, Asked: []askedClaim{{Name: "country", May: true}}}}, "consent.html stale, of several": consentPage{Platform: "Town Square", Stale: true},
		"leave.html stale":  leavePage{Action: "/logout/answer", Platform: "Town Square", Ends: lastUsed, Unnamed: true},
		"me.html recovered": mePage{Welcome: flashRecovered}, "me.html cancelled": mePage{Welcome: flashCancelled}, "home.html stale": map[string]any{"SignedIn": true, "Stale": true, "Leaving": recovering},
		"refused.html passkey": registrar.Problem{Title: passkey.ErrUnknown.Mend, Code: passkey.ErrUnknown.Code, Back: "/authorize/x"}, "refused.html prove again": registrar.Problem{Title: errProveAgain.Mend, Code: errProveAgain.Code}, "refused.html no passkey": registrar.Problem{Title: issue.ErrNoPasskey.Mend, Code: issue.ErrNoPasskey.Code},
	}
}

// everyPageIn renders each page in each of its states in a language.
func everyPageIn(t *testing.T, all *languages.All, tag string, providers ...Provider) (map[string]string, *web.Server) {
	t.Helper()
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now, Languages: all})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSide(edge, Config{Providers: providers, TokenKeys: tokenKeys(t), Store: openidtest.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"town-square": "Town Square"}
	mine := []issue.PenName{{Pseudonym: "pen1x", Platform: "town-square"}}
	home := func(in bool) map[string]any {
		return map[string]any{"Typed": "", "SignedIn": in, "Platforms": []openid.Platform{{ID: "town-square", Name: "Town Square"}},
			"Opinions": in, "Custodians": []policy.Custodian{{Organisation: "Bar Association"}}, "Quorum": 2}
	}
	rendered := map[string]string{}
	states := ofFlows(names, mine)
	maps.Copy(states, ofPasskeys())
	maps.Copy(states, ofMuch())
	maps.Copy(states, map[string]any{
		"home.html": home(false), "home.html signed in": home(true), "home.html alone": map[string]any{"Typed": "", "SignedIn": false},
		"consent.html": consentPage{Platform: "Town Square", Hosts: "town.example", Court: policy.DefaultFields(), Alike: []string{"Elsewhere"}}, "consent.html signed in": consentPage{Platform: "Town Square", SignedIn: true, Offline: true, PenName: "pen1x", Hosts: "town.example", Court: policy.DefaultFields(), Alike: []string{"Old Town"}, Leaving: leaving{Stay: "/authorize/x"}},
		"consent.html since": consentPage{Platform: "Town Square", SignedIn: true, Since: true},
		"consent.html names": consentPage{Platform: "Town Square", SignedIn: true, Username: true, Email: true}, "consent.html names again": consentPage{Platform: "Town Square", SignedIn: true, Username: true, Email: true, PenName: "pen1x", Handle: "xxxxxxxxxxx", Address: "pen1x@penname.invalid"},
		"consent.html anew": consentPage{Platform: "Town Square", Anew: true}, "consent.html last minutes": consentPage{Platform: "Town Square", SignedIn: true, Leaving: leaving{Minutes: 7}},
		"privacy.html": legalPage{Waits: &waitsFor{"/authorize/x", "Town Square"}}, "privacy.html told": legalPage{Legal: Legal{Controller: "Example Trust\n1 High Street", Ground: "You consent.", Complaints: web.Contact{Text: "https://authority.example", Link: "https://authority.example"}, Notice: web.Contact{Text: "on paper"}}},
		"accessibility.html": legalPage{},
		"me.html":            mePage{}, "sealed.html": newSealedPage(map[string][]byte{"name": []byte("Jo Hartley"), "birthdate": []byte("1986-03-14"), "address": []byte("1 High Street\nTown")}, identity.Claims{1: identity.Private("true"), 2: identity.Private("GB")}, "/me", false), "sealed.html anew": newSealedPage(map[string][]byte{"name": []byte("Jo Hartley")}, identity.Claims{}, "/authorize/x", true),
		"receipt.html":           receiptPage{Receipt: token.Receipt{Issuer: "https://penname.example", Record: "abcdefghijklmnopqrstuvwxya." + strings.Repeat("0f", 32), Day: time.Now()}, Signed: strings.Repeat("x", 400)},
		"me.html with pen names": mePage{PenNames: mine, Names: names},
		"me.html noticed":        mePage{Welcome: "back", PenNames: mine, Names: names, Notices: shown(issue.Notice{Platform: "town-square", Fields: []string{"name", "address"}})},
		"notice.html noticed":    noticePage{shown(issue.Notice{Platform: "town-square", Fields: []string{"name", "address"}})[0], leaving{Stay: "/me/stay"}}, "notice.html suspended": noticePage{shown(issue.Notice{Platform: "town-square", Kind: "suspension"})[0], leaving{Stay: "/me/stay"}},
		"me.html with devices": mePage{Welcome: "device", PenNames: mine, Names: names, Devices: []device{{ID: "a", Word: "phone", This: true}, {ID: "b", Day: time.Now()}},
			Silent: map[string]*silent{"pen1x": {Used: true}}, Leaving: leaving{Stay: "/me/stay"}},
		"out.html": map[string]bool{"AtOnce": false}, "out.html at once": map[string]bool{"AtOnce": true}, "return.html": returnPage{}, "leave.html": leavePage{Action: "/logout/answer", Platform: "Town Square", Names: []issue.PenName{{Pseudonym: "pen1x", Alias: "work"}}, Ends: "pen1x"}, "leave.html of nobody": leavePage{Action: "/logout/answer"},
		"leave.html of several": leavePage{Action: "/logout/answer", Platform: "Town Square", Names: []issue.PenName{{Pseudonym: "pen1x", Alias: "work"}, {Pseudonym: "pen1y"}}},
		"left.html":             leftPage{Platform: "Town Square"}, "left.html told": leftPage{Platform: "Town Square", Told: true, Here: true}, "left.html of nobody": leftPage{}, "left.html twice": leftPage{Before: true},
		"refused.html not fresh": registrar.Problem{Title: errNotFresh.Mend, Code: errNotFresh.Code}, "refused.html no device": registrar.Problem{Title: errNoDevice.Mend, Code: errNoDevice.Code},
		"delete.html": deletePage{}, "delete.html proven": deletePage{Proven: true}, "deleted.html": issue.Receipt{Label: "x"},
		"refused.html": registrar.Problem{Title: errProvider.Mend, Code: errProvider.Code}, "refused.html signed out": registrar.Problem{Title: errSignedOut.Mend, Code: errSignedOut.Code},
		"refused.html held": registrar.Problem{Title: issue.ErrAlreadyEnrolled.Mend, Code: issue.ErrAlreadyEnrolled.Code, Reference: "abcdefghijkl", From: "2026-12-06"},
		"me.html claimed":   mePage{Claims: []acceptance{{Reference: "abcdefghijkl"}}}, "me.html objected": mePage{Welcome: "objected"},
		"consent.html several":          consentPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "Town Square", SignedIn: true, Choice: choice{Asked: true, Most: 2, Now: "pen1x", Names: []issue.PenName{{Pseudonym: "pen1x", Alias: "work", Handle: "xxxxxxxxxxx", Banned: true}, {Pseudonym: "pen1y"}}}},
		"consent.html first of several": consentPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "Town Square", SignedIn: true, Choice: choice{Asked: true, Most: 2, Room: true}},
		"consent.html takes over":       consentPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "New Square", Before: "Town Square", Hosts: "new.example", SignedIn: true, PenName: "pen1x", Banned: true},
		"me.html with several":          mePage{Welcome: "renamed", Names: names, PenNames: []issue.PenName{{Pseudonym: "pen1x", Platform: "town-square", Alias: "work", Banned: true}, {Pseudonym: "pen1y", Platform: "town-square", Retired: time.Now()}}},
		"me.html retired":               mePage{Welcome: "retired", PenNames: mine, Names: names},
		"retire.html":                   retirePage{Name: issue.PenName{Pseudonym: "pen1x", Alias: "work"}, Platform: "Town Square", Leaving: leaving{Stay: "/me/stay"}, CoolDown: issue.CoolDown},
		"refused.html no room":          registrar.Problem{Title: issue.ErrNoRoom.Mend, Code: issue.ErrNoRoom.Code}, "refused.html not mine": registrar.Problem{Title: issue.ErrPersonaUnknown.Mend, Code: issue.ErrPersonaUnknown.Code}, "refused.html only one": registrar.Problem{Title: issue.ErrKeepsOne.Mend, Code: issue.ErrKeepsOne.Code},
		"suspended.html": suspendedPage{Leaving: leaving{Stay: "/authorize/x"}, Action: "/authorize/x", Platform: "Town Square", At: "town-square", Names: []issue.PenName{{Pseudonym: "pen1x", Alias: "work", Suspended: []issue.Suspension{{Platform: "town-square"}}}}},
		"suspended.html told": suspendedPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "Town Square", At: "town-square", Names: []issue.PenName{
			{Pseudonym: "pen1x", Suspended: []issue.Suspension{{Platform: "town-square", Notice: &issue.Notice{Authority: "Northtown Court"}}}}, {Pseudonym: "pen1y", Suspended: []issue.Suspension{{Platform: "town-square"}, {Platform: "elsewhere"}}}}},
		"consent.html suspended":            consentPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "Town Square", SignedIn: true, Choice: choice{At: "town-square", Asked: true, Most: 2, Names: []issue.PenName{{Pseudonym: "pen1x", Suspended: []issue.Suspension{{Platform: "town-square"}}}, {Pseudonym: "pen1y"}}}},
		"me.html suspended":                 mePage{Names: names, PenNames: []issue.PenName{{Pseudonym: "pen1x", Platform: "town-square", Suspended: []issue.Suspension{{Platform: "town-square", Notice: &issue.Notice{}}, {Platform: "town-square"}}}}, Notices: shown(issue.Notice{Platform: "town-square", Kind: "suspension"})},
		"notice.html ended":                 noticePage{shown(issue.Notice{Platform: "town-square", Kind: "suspension", State: "stopped"})[0], leaving{Stay: "/me/stay"}},
		"notice.html taken back":            noticePage{shown(issue.Notice{Platform: "town-square", Kind: "suspension", State: "withdrawn"})[0], leaving{Stay: "/me/stay"}},
		"notice.html annulled":              noticePage{shown(issue.Notice{Platform: "town-square", Kind: "production", Barred: "warrant.annulled", Deleted: true, Requester: "Thornley Police"})[0], leaving{Stay: "/me/stay"}},
		"notice.html lapsed":                noticePage{shown(issue.Notice{Platform: "town-square", Kind: "emergency", Barred: "warrant.lapsed"})[0], leaving{Stay: "/me/stay"}},
		"notice.html linked":                noticePage{shown(issue.Notice{Platform: "town-square", Kind: "link"})[0], leaving{Stay: "/me/stay"}},
		"notice.html told first":            noticePage{shown(toldFirst)[0], leaving{Stay: "/me/stay"}},
		"notice.html told first, not begun": noticePage{notBegun()[0], leaving{Stay: "/me/stay"}},
		"home.html told first":              map[string]any{"SignedIn": true, "Waiting": shown(toldFirst)},
		"notice.html told first, late":      noticePage{shown(issue.Notice{Platform: "town-square", Kind: "production", State: "waiting", First: &issue.First{Days: 10, ObjectBy: postedAt}})[0], leaving{Stay: "/me/stay"}},
		"notice.html three objections":      noticePage{shown(objected())[0], leaving{Stay: "/me/stay"}},
		"refused.html not stored":           registrar.Problem{Title: errSignedOut.Mend, Code: errSignedOut.Code, Unsaved: "<b>I</b> did not"},
		"notice.html told first, over":      noticePage{shown(issue.Notice{Platform: "town-square", Kind: "production", State: "stopped", First: &issue.First{Days: 10}})[0], leaving{Stay: "/me/stay"}},
		"notice.html a text too long":       noticePage{notice{Notice: toldFirst, Name: "Town Square", Draft: "<b>I</b>", Wrong: policy.ErrObjectionText.Mend}, leaving{Stay: "/me/stay"}},
		"me.html told first":                mePage{Welcome: flashStored("x"), Names: names, PenNames: mine, Notices: shown(toldFirst, toldAll())},
		"notice.html told all":              noticePage{shown(toldAll())[0], leaving{Stay: "/me/stay"}},
		"lawyer.html":                       lawyerPage{Code: "abcdef-234567", Origin: "https://penname.example"},
		"refused.html suspended":            registrar.Problem{Title: issue.ErrSuspended.Mend, Code: issue.ErrSuspended.Code},
		"consent.html claims":               consentPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "Town Square", SignedIn: true, Claims: &claimsPage{Rare: true, Before: true, Least: issue.Shared, Asked: []askedClaim{{Name: "age_over_16", Value: "true"}, {Name: "country"}, {Name: "profession", Value: "teacher", May: true}}}},
		"consent.html claims locked":        consentPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "Town Square", SignedIn: true, Claims: &claimsPage{Locked: true, Least: issue.Shared, Asked: []askedClaim{{Name: "profession"}}}},
		"consent.html claimed":              consentPage{Platform: "Town Square", SignedIn: true, Claimed: true},
		"consent.html claimed, stale":       consentPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "Town Square", SignedIn: true, Claimed: true, Stale: true, There: true},
		"address.html":                      addressPage{Writes: true, Leaving: leaving{Stay: "/me/stay"}}, "address.html no mail": addressPage{Confirmed: "jo@example.org"},
		"address.html waits": addressPage{Writes: true, Confirmed: "jo@example.org", Pending: "jo@example.com", Mistakes: oneMistake("code", tooLong)}, "address.html sent": addressPage{Writes: true, Pending: "jo@example.com", Said: flashSent},
		"address.html refused": addressPage{Writes: true, Confirmed: "jo@example.org", Refused: true, Said: flashConfirmed}, "address.html wrong": addressPage{Writes: true, Typed: "jo@", At: "email", Mistakes: oneMistake("email", tooLong)},
		"refused.html no mail":  registrar.Problem{Title: errNoMail.Mend, Code: errNoMail.Code},
		"refused.html platform": registrar.Problem{Title: "x", Code: "openid.redirect_uri"},
	})
	for state, data := range states {
		w := httptest.NewRecorder()
		name, _, _ := strings.Cut(state, " ")
		r := httptest.NewRequest("GET", "/me", nil)
		r.Header.Set("Accept-Language", tag)
		if err := s.edge.Render(w, r, 200, name, data); err != nil {
			t.Fatal(err)
		}
		rendered[state] = w.Body.String()
	}
	return rendered, edge
}

// ofFlows are pages that people see when they do not go straight on.
func ofFlows(names map[string]string, mine []issue.PenName) map[string]any {
	return map[string]any{
		"name.html":                        namePage{PenName: mine[0], Platforms: "Town Square", Leaving: leaving{Stay: "/me/stay"}},
		"name.html of several":             namePage{PenName: issue.PenName{Pseudonym: "pen1x", Alias: "work", Handle: "xxxxxxxxxxx"}, Platforms: "Town Square", Several: true, Typed: "work", Leaving: leaving{Stay: "/me/stay"}},
		"name.html a name too long":        namePage{PenName: mine[0], Platforms: "Town Square", Typed: strings.Repeat("x", 80), Mistakes: oneMistake("alias", tooLong), Leaving: leaving{Stay: "/me/stay"}},
		"notice.html an objection to mend": noticePage{notice{Notice: toldFirst, Name: "Town Square", Draft: "<b>I</b>"}, leaving{Stay: "/me/stay"}},
		"me.html a sign-in waits":          mePage{Waits: &waitsFor{"/authorize/x", "Town Square"}},
		"home.html a sign-in waits":        map[string]any{"Typed": "", "SignedIn": false, "Waits": &waitsFor{"/authorize/x", "Town Square"}},
		"changes.html":                     changesPage{Days: byDay(everyChange()), More: true, Kept: issue.ChangeDays},
		"changes.html none":                changesPage{Kept: issue.ChangeDays},
		"signed-out.html":                  nil,
		"word.html":                        proofForm{Keeps: true, Typed: strings.Repeat("x", 80), Mistakes: oneMistake("device", tooLong)},
		"word.html for a platform":         proofForm{Back: "/authorize/x", Keeps: true, Typed: strings.Repeat("x", 80), Mistakes: oneMistake("device", tooLong)},
		"check.html":                       checkPage{Notice: notice{Notice: toldFirst, Name: "Town Square"}, Text: "X & X\nX"},
		"notice.html stale":                noticePage{notice{Notice: toldFirst, Name: "Town Square", Draft: "<b>I</b>", Stale: true}, leaving{Stay: "/me/stay", Typing: true}},
		"notice.html stale, to mend":       noticePage{notice{Notice: toldFirst, Name: "Town Square", Draft: "<b>I</b>", Stale: true, Wrong: policy.ErrObjectionText.Mend}, leaving{Stay: "/me/stay", Typing: true}},
		"check.html stale":                 checkPage{Notice: notice{Notice: toldFirst, Name: "Town Square", Stale: true}, Text: "X & X\nX", Leaving: leaving{Typing: true}},
		"check.html sent":                  checkPage{Notice: notice{Notice: toldFirst, Name: "Town Square"}, Text: "X", Sent: true},
		"consent.html a name too long":     consentPage{Leaving: leaving{Stay: "/authorize/x"}, Platform: "Town Square", SignedIn: true, Mistakes: oneMistake("alias", tooLong), Choice: choice{Asked: true, Most: 2, Room: true, Typed: strings.Repeat("x", 80), Wrong: tooLong, Now: anew, Names: []issue.PenName{{Pseudonym: "pen1x"}}}},
		"consent.html a name typed":        consentPage{Platform: "Town Square", Choice: choice{Typed: "my <b>choir</b>"}},
		"refused.html of another":          registrar.Problem{Title: errAnother.Mend, Code: errAnother.Code, Back: "/me", Unsaved: "jo@example.org"},
		"refused.html led back":            registrar.Problem{Title: errSignedOut.Mend, Code: errSignedOut.Code, Back: addressPath},
	}
}

// everyChange is one of each kind.
func everyChange() (all []shownChange) {
	day := today(time.Now())
	for i, kind := range issue.PersonChanges {
		all = append(all, shownChange{Change: issue.Change{Day: day.AddDate(0, 0, -i/2), Kind: kind, Detail: "phone"}}, shownChange{Change: issue.Change{Day: day.AddDate(0, 0, -i/2), Kind: kind}})
	}
	for _, kind := range issue.NameChanges {
		all = append(all, shownChange{issue.Change{Day: day.AddDate(-1, 0, 0), Kind: kind, PenName: "pen1x", Detail: issue.Lawyer}, "Town Square", "work"})
	}
	return all
}

// TestEveryChangeHasAText: what changed is said in words, each kind in its own.
func TestEveryChangeHasAText(t *testing.T) {
	page := everyPage(t, Provider{ID: "one", Name: "One", Proving: nowhere{}})["changes.html"]
	said := map[string]bool{}
	for line := range strings.SplitSeq(page, "<li>") {
		if text, _, ok := strings.Cut(line, "</li>"); ok {
			if text, _, _ = strings.Cut(text, "\n<span"); strings.TrimSpace(text) == "" {
				t.Errorf("nothing is said: %q", line)
			}
			said[text] = true
		}
	}
	if n := len(issue.PersonChanges) + len(issue.NameChanges); len(said) < n {
		t.Errorf("%d texts for %d kinds", len(said), n)
	}
}

// TestPagesInABrowser: each page, in each state, with the headers that it has in life, holds
// what axe-core can tell of WCAG 2.2 AA and best practices, is no wider than a phone or at
// 400 %, is small, and loads nothing from elsewhere.
func TestPagesInABrowser(t *testing.T) {
	one, other := Provider{ID: "one", Name: "One", Proving: nowhere{}}, Provider{ID: "two", Name: "Two & Co", Proving: nowhere{}}
	pages, edge := everyPageOf(t, one, other)
	for _, l := range languages.Ours.Each()[1:] {
		translated, _ := everyPageIn(t, languages.Ours, l.Tag, one, other)
		for state, page := range translated {
			pages[state+", "+l.Tag] = page
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Query().Get("page")]
		if !ok {
			edge.ServeHTTP(w, r)
			return
		}
		edge.ServeHTTP(justHeaders{w}, r)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte(page))
	}))
	t.Cleanup(server.Close)
	addresses := map[string]string{}
	for state := range pages {
		addresses[state] = server.URL + "/?page=" + url.QueryEscape(state)
	}
	pagetest.Open(t).Hold(t, addresses)
}

// justHeaders takes the headers of an answer, and drops the rest.
type justHeaders struct{ http.ResponseWriter }

func (justHeaders) WriteHeader(int) {}

func (justHeaders) Write(b []byte) (int, error) { return len(b), nil }

// What has become of an order since the person was told of it stands on their page.
func TestThePageSaysWhatBecameOfAnOrder(t *testing.T) {
	pages := everyPage(t, Provider{ID: "one", Name: "One", Proving: nowhere{}})
	for state, want := range map[string][2]string{
		"noticed":    {"You can challenge the order", "must not be used"},
		"annulled":   {"A higher court has annulled this order. What they learned must not be used.", "You can challenge the order"},
		"lapsed":     {"no court confirmed in time", "You can challenge the order"},
		"ended":      {"it has ended: a higher court annulled the order", "You can challenge the order"},
		"taken back": {"it has ended: the court took it back", "You can challenge the order"},
		"suspended":  {"unless a court ends it before", "it has ended"},
	} {
		if page := pages["notice.html "+state]; !strings.Contains(page, want[0]) || strings.Contains(page, want[1]) {
			t.Errorf("%s: %s", state, page)
		}
	}
	if !strings.Contains(pages["notice.html annulled"], "Thornley Police states that what they got is deleted") || strings.Contains(pages["notice.html lapsed"], "is deleted") {
		t.Error("the statement of deletion")
	}
}

// languageOf is that of a page, by what it shows: "me.html linked, cy".
func languageOf(state string) string {
	for _, l := range languages.Ours.Each() {
		if strings.HasSuffix(state, ", "+l.Tag) {
			return l.Tag
		}
	}
	return languages.English
}

// What a program can tell of WCAG 2.2, level AA, and that the pages keep to the
// policy that forbids scripts and styles of their own.
func TestPagesAreAccessible(t *testing.T) {
	attr := func(n *html.Node, key string) string {
		for _, a := range n.Attr {
			if a.Key == key {
				return a.Val
			}
		}
		return ""
	}
	text := func(n *html.Node) (s string) {
		for d := range n.Descendants() {
			if d.Type == html.TextNode {
				s += d.Data
			}
		}
		return strings.TrimSpace(s)
	}
	one, other := Provider{ID: "one", Proving: nowhere{}}, Provider{ID: "two", Name: "Two & Co", Proving: nowhere{}}
	pages := everyPage(t, one)
	one.Name = "One"
	for state, page := range everyPage(t, one, other) {
		pages[state+", two providers"] = page
	}
	for _, l := range languages.Ours.Each()[1:] {
		translated, _ := everyPageIn(t, languages.Ours, l.Tag, one, other)
		for state, page := range translated {
			pages[state+", "+l.Tag] = page
		}
	}
	for state, page := range pages {
		root, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		count, ids, level, focusable := map[string]int{}, map[string]bool{}, 0, 0
		for n := range root.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			count[n.Data]++
			bad := ""
			switch id := attr(n, "id"); {
			case id != "" && ids[id]:
				bad = "4.1.2: the id is there twice"
			case n.Data == "script" && (attr(n, "src") != "/passkey.js" || n.FirstChild != nil || count["script"] > 1):
				bad = "a script that is not the one of passkeys"
			case attr(n, "style") != "" || n.Data == "style" || attr(n, "autofocus") != "":
				bad = "forbidden here"
			case n.Data == "html" && attr(n, "lang") != languageOf(state):
				bad = "3.1.1: language"
			case (n.Data == "title" || n.Data == "button" || n.Data == "a" || n.Data == "h1" || n.Data == "h2" || n.Data == "h3") && text(n) == "" && attr(n, "aria-hidden") != "true":
				bad = "2.4.6, 4.1.2: without words"
			case n.Data == "svg" && attr(n, "aria-hidden") != "true":
				bad = "1.1.1: a picture that is not said in words beside it"
			case n.Data == "form" && attr(n, "method") != "post":
				bad = "H21: a form that changes something by GET"
			case n.Data == "input" && attr(n, "type") != "hidden" && (n.Parent.Data != "label" || text(n.Parent) == ""):
				bad = "3.3.2: a field without a label"
			case regexp.MustCompile(`^h[1-6]$`).MatchString(n.Data):
				if next := int(n.Data[1] - '0'); next > level+1 {
					bad = "1.3.1: a level of headings is left out"
				} else {
					level = next
				}
			}
			if n.Data == "a" || n.Data == "button" {
				if focusable++; focusable == 1 && attr(n, "href") != "#main" {
					bad = "2.4.1: the first stop is not the way past the header"
				}
			}
			ids[attr(n, "id")] = true
			if bad != "" {
				t.Errorf("%s: <%s>: %s", state, n.Data, bad)
			}
		}
		for name, want := range map[string]int{"title": 1, "h1": 1, "main": 1, "header": 1, "footer": 1, "nav": 1} {
			if count[name] != want {
				t.Errorf("%s: %d <%s>", state, count[name], name)
			}
		}
		if !ids["main"] {
			t.Errorf("%s: the way past the header leads nowhere", state)
		}
	}
}

// A platform's page names what it is told beside the pen name, and only that; a person's
// own page shows the short name that is theirs.
func TestPagesNameHandleAndAddress(t *testing.T) {
	pages := everyPage(t, Provider{ID: "one", Proving: nowhere{}})
	for state, want := range map[string][]string{
		"consent.html signed in":   {},
		"consent.html names":       {"A short name", "An address that nobody can write to", "your real e-mail address"},
		"consent.html names again": {"A short name", "<code>xxxxxxxxxxx</code>", "An address that nobody can write to", "your real e-mail address", "<code>pen1x@penname.invalid</code>"},
		"me.html with pen names":   {},
		"name.html":                {},
		"name.html of several":     {"<code>xxxxxxxxxxx</code>"},
	} {
		for _, text := range []string{"A short name", "An address that nobody can write to", "your real e-mail address", "<code>xxxxxxxxxxx</code>", "<code>pen1x@penname.invalid</code>"} {
			if strings.Contains(pages[state], text) != slices.Contains(want, text) {
				t.Errorf("%s: %q: %v", state, text, !slices.Contains(want, text))
			}
		}
	}
}

// Whoever is asked sees where the platform is, and what a court and the identity provider
// could learn, also before they prove who they are.
func TestConsentPageSaysWhoLearnsWhat(t *testing.T) {
	pages := everyPage(t, Provider{ID: "one", Proving: nowhere{}})
	for _, state := range []string{"consent.html", "consent.html signed in"} {
		before, _, _ := strings.Cut(pages[state], "<form")
		for _, says := range []string{"<dt>Town Square is at</dt><dd>town.example</dd>", "your name, date of birth, postal address, e-mail address. Each warrant says which pen names it is for, and you are told in the end", "that you use Penname, and when"} {
			if strings.Count(before, says) != 1 {
				t.Errorf("%s: does not say once, and before it asks: %s", state, says)
			}
		}
	}
	for state, learns := range map[string]string{"consent.html names": "that you are a real person, and how thoroughly your identity was verified</dd>", "consent.html since": "how thoroughly your identity was verified, and when you last proved who you are</dd>"} {
		if !strings.Contains(pages[state], learns) {
			t.Errorf("%s: does not say %q", state, learns)
		}
	}
	for _, state := range []string{"consent.html", "consent.html anew"} {
		if !strings.Contains(pages[state], "verified once, and sealed") {
			t.Errorf("%s: does not say what becomes of the name", state)
		}
	}
	if in := pages["consent.html signed in"]; !strings.Contains(in, "Old Town. Together with Town Square, it sees what you do with it") || strings.Contains(in, "verified once") {
		t.Error(in)
	}
}

// A platform that was told something before is shown so, and each claim as what it says.
func TestConsentPageSaysWhatIsWithheld(t *testing.T) {
	page := everyPage(t, Provider{ID: "one", Proving: nowhere{}})["consent.html claims"]
	for _, says := range []string{"may ask for, with what it was told before. Somebody", "<p>You are over 16. This is not told.</p>", "<p>Country: nothing is told", "Your profession: teacher, as of"} {
		if !strings.Contains(page, says) {
			t.Errorf("does not say %q: %s", says, page)
		}
	}
}

// Both ways to leave say what one platform sees that has two of somebody's pen names.
func TestLeavingSaysWhatCanBeCompared(t *testing.T) {
	pages := everyPage(t, Provider{ID: "one", Proving: nowhere{}})
	for _, state := range []string{"me.html with several", "delete.html proven"} {
		for _, says := range []string{"at two platforms or at one: both fail together", "A platform where you have several sees them end together"} {
			if !strings.Contains(pages[state], says) {
				t.Errorf("%s: does not say %q", state, says)
			}
		}
	}
}

// ASVS 7.4.4: a page for somebody who is signed in has the way out on it, and says when
// it will end.
func TestPagesOfSomebodySignedInLeadOut(t *testing.T) {
	in := map[string]bool{"consent.html signed in": true, "consent.html since": true, "consent.html last minutes": true, "consent.html claimed": true, "consent.html claimed, stale": true, "consent.html names": true, "consent.html names again": true, "delete.html": true, "delete.html proven": true,
		"consent.html several": true, "consent.html recovering": true, "consent.html stale": true, "consent.html claims locked": true, "consent.html first of several": true, "consent.html takes over": true, "consent.html claims": true, "retire.html": true,
		"suspended.html": true, "suspended.html told": true, "consent.html suspended": true,
		"consent.html a name too long": true, "changes.html": true, "changes.html none": true, "check.html": true, "check.html stale": true, "check.html sent": true}
	for state, page := range everyPage(t, Provider{ID: "one", Proving: nowhere{}}) {
		want := in[state] || strings.HasPrefix(state, "me.html") || strings.HasPrefix(state, "name.html") || strings.HasPrefix(state, "notice.html") || strings.HasPrefix(state, "address.html") || strings.HasPrefix(state, "prove.html") || strings.HasPrefix(state, "passkey")
		for _, part := range []string{`action="/sign-out"><button class="quiet">Sign out</button>`, "Half an hour after the last page that you opened here it ends by itself"} {
			if strings.Contains(page, part) != want {
				t.Errorf("%s: %q: %v", state, part, !want)
			}
		}
	}
}

// What a cookie is where there is TLS; what it withstands is tested over HTTP, in
// cmd/escrow-sandbox.
func TestH12CookieFlags(t *testing.T) {
	s, err := newSessions([][32]byte{{1}}, "https://penname.example", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(w http.ResponseWriter) error{
		"set":   func(w http.ResponseWriter) error { s.set(w, "session", sessionLife, []byte("{}")); return nil },
		"clear": func(w http.ResponseWriter) error { s.clear(w, httptest.NewRequest("GET", "/", nil)); return nil },
	} {
		w := httptest.NewRecorder()
		if err := set(w); err != nil {
			t.Fatal(err)
		}
		c := w.Result().Cookies()[0]
		if c.Name != "__Host-penname-session" || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// nowhere is a provider that no page of a test begins at.
type nowhere struct{ Proving }

func (nowhere) Origin() string { return "https://id.example" }

func tokenKeys(t testing.TB) []openid.Key {
	t.Helper()
	k, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return []openid.Key{{JWK: k}}
}

// With one provider there is nothing to choose; of several each has its name.
func TestProvidersAreChosenByName(t *testing.T) {
	alone := everyPage(t, Provider{ID: "one", Name: "One", Proving: nowhere{}})
	both := everyPage(t, Provider{ID: "one", Name: "One", Proving: nowhere{}}, Provider{ID: "two", Name: "Two & Co", Proving: nowhere{}})
	for _, page := range []string{"home.html", "consent.html", "refused.html signed out"} {
		if strings.Count(alone[page], ">Prove my identity</button>") != 1 || strings.Contains(alone[page], "with One") {
			t.Errorf("%s with one provider: %s", page, alone[page])
		}
		for _, button := range []string{"value=\"one\">Prove my identity with One</button>", "value=\"two\">Prove my identity with Two &amp; Co</button>"} {
			if strings.Count(both[page], button) != 1 {
				t.Errorf("%s with two: no %s", page, button)
			}
		}
	}
	if page := "refused.html"; strings.Contains(both[page], "Prove my identity") {
		t.Errorf("%s: a button that does not mend it", page)
	}
}

// R1: every route of the issuing side says what it takes of a body, and a form
// or a query of many parameters is refused before it is taken apart.
func TestFoundR1EveryRouteHasALimit(t *testing.T) {
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Mount(edge, Config{Providers: []Provider{{ID: "post", Proving: nowhere{}}}, TokenKeys: tokenKeys(t), Store: openidtest.NewMemory(),
		Rules: func() (*policy.Bundle, error) { return &policy.Bundle{}, nil }}); err != nil {
		t.Fatal(err)
	}
	limits := edge.Limits()
	if len(limits) < 20 {
		t.Errorf("%d routes", len(limits))
	}
	for route, limit := range limits {
		method, _, _ := strings.Cut(route, " ")
		most := int64(64 << 10)
		if route == "POST /me/objection" { // 8,000 characters of any script
			most = 100 << 10
		}
		if limit.Bytes > most || (limit.Bytes == 0) != (method == http.MethodGet) {
			t.Errorf("%s takes %+v", route, limit)
		}
	}
	many := strings.Repeat("a&", 1000)
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodGet, "/authorize?"+many, nil), httptest.NewRequest(http.MethodGet, "/?"+many, nil),
		httptest.NewRequest(http.MethodPost, "/enrol", strings.NewReader(many)), httptest.NewRequest(http.MethodPost, "/par", strings.NewReader(many)),
		httptest.NewRequest(http.MethodPost, "/token", strings.NewReader("a="+strings.Repeat("a", 1<<20))),
	} {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		if edge.ServeHTTP(w, r); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", r.URL.Path, w.Code)
		}
	}
}

// shown are notices as their person sees them.
func shown(all ...issue.Notice) (seen []notice) {
	for _, n := range all {
		seen = append(seen, asSeen(n, "Town Square", postedAt))
	}
	return seen
}

var postedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// toldFirst is a notice of what is to be done.
var toldFirst = issue.Notice{Pseudonym: "pen1x", Platform: "town-square", Kind: "production", State: "waiting", Authority: "Northtown Court", FileNumber: "7/2026", LegalBasis: "the law",
	Requester: "Thornley Police", Fields: []string{"name"}, Leaf: 9, Day: postedAt, First: &issue.First{Days: 10, ObjectBy: postedAt.AddDate(0, 0, 14)},
	About: &policy.Told{Offence: "Defamation", Statute: "Defamation Act 2013, s 1", Posts: []policy.ToldPost{{URL: "https://town.example/p/1", At: postedAt}},
		Remedies: []policy.Remedy{{What: "Appeal", To: "the appeal court", Days: 21, Address: "https://court.example"}}, Objection: policy.ToldObjection{Recipients: []string{"age1pq1x"}, KeepDays: 90}}}

// toldAll is a notice of what was done, with all that one can say.
func toldAll() issue.Notice {
	n := toldFirst
	about := *n.About
	about.Opened, about.Secrecy, about.SecretUntil = postedAt.AddDate(0, 0, 3), "the investigation would have failed", postedAt.AddDate(0, 2, 0)
	about.Agreed = []policy.ToldAgreed{{Name: "Alba Ferrand, Bar Association"}, {Name: "Noor, Press Council", Alternate: true}}
	about.Order = &policy.ToldOrder{Grounds: "She wrote it.", Necessity: "No other way.", Proportionality: "Grave.", SHA256: "aa"}
	n.First, n.About, n.State = nil, &about, "released"
	n.Objections = []issue.Objection{{Day: postedAt, Suspends: true, Outcome: "dismissed", Said: "The post is a threat.", Ruling: 12}, {Lawyer: true, Day: postedAt.AddDate(0, 0, 3)}}
	return n
}

// A person reads what happened, what is known of them, what they can do and whom to ask.
func TestANoticeSaysWhatAPersonCanDo(t *testing.T) {
	pages := everyPage(t, Provider{ID: "one", Name: "One", Proving: nowhere{}})
	for state, wants := range map[string][]string{
		"told first": {"<h1>A court wants your pen name on Town Square opened", "This is no appeal to the court itself", "3 objections are left", "within 21 days from the day you were told: until 22 March 2026", "Nothing is done before 15 March 2026", "Northtown Court, file 7/2026", "Defamation (Defamation Act 2013, s 1)",
			"of 1 March 2026: <code>https://town.example/p/1</code>", "What they would learn", "Appeal: to the appeal court, within 21 days", "https://court.example", "Check it, then send it", "Make a code for my lawyer"},
		"told first, not begun": {"You have 10 days to object, which have not begun: they begin when the mail", "Your objection is stored", `id="stored"`, "<title>Your objection is stored"},
		"told first, late":      {"The days to object were over on 1 March 2026"},
		"three objections":      {"three objections to this order", "The days to object were over, so it stops nothing"},
		"told first, over":      {"It was not done, and will not be: a court stopped the order"},
		"a text too long":       {"&lt;b&gt;I&lt;/b&gt;</textarea>", "Your objection was NOT stored. An objection is a text of 1 to 8,000 characters, for example", "<details open>", "<title>Error: Your objection was NOT stored", `href="#text"`, `id="wrong"`},
		"told all": {"Opened on</dt><dd>4 March 2026", "Alba Ferrand, Bar Association; Noor, Press Council (in the place of another)", "The investigation would have failed. It was secret until 1 May 2026",
			"She wrote it.", "You objected on 1 March 2026.", "A court did not agree. The court says: &ldquo;The post is a threat.&rdquo;", "Your lawyer objected", "Your name had been opened already, so it stops nothing. The custodians can read it, and so can Thornley Police, who has to show it to the court", "Object, or say that you appeal"},
	} {
		for _, want := range wants {
			if page := pages["notice.html "+state]; !strings.Contains(page, want) {
				t.Errorf("%s does not say %q: %s", state, want, page)
			}
		}
	}
	const first = `<strong>A court wants your pen name on Town Square opened: object before 15 March 2026.</strong> <a href="/me/notice?leaf=9&amp;pen_name=pen1x&amp;platform=town-square">Read what it says, and object`
	for page, want := range map[string]string{"home.html told first": first, "me.html told first": first,
		"refused.html not stored": "readonly>&lt;b&gt;I&lt;/b&gt; did not</textarea>"} {
		if !strings.Contains(pages[page], want) {
			t.Errorf("%s does not say %q: %s", page, want, pages[page])
		}
	}
	for _, state := range []string{"told first, over", "noticed", "three objections"} {
		if strings.Contains(pages["notice.html "+state], "Check it, then send it") {
			t.Errorf("%s takes an objection", state)
		}
	}
}

// notBegun is a notice whose days do not count yet, of somebody who objected just now.
func notBegun() []notice {
	all := shown(issue.Notice{Platform: "town-square", Kind: "production", State: "waiting", First: &issue.First{Days: 10}})
	all[0].Mailed, all[0].Stored = true, true
	return all
}

// objected is a notice that takes no more objections.
func objected() issue.Notice {
	n := toldFirst
	n.Objections = []issue.Objection{{Day: postedAt, Suspends: true}, {Day: postedAt}, {Lawyer: true, Day: postedAt}}
	return n
}

// What waits is above what is over, the most urgent first; what is over, the newest first.
func TestWhatWaitsIsAbove(t *testing.T) {
	later, notYet, older := toldFirst, toldFirst, toldAll()
	later.First, notYet.First, older.Leaf = &issue.First{Days: 20, ObjectBy: postedAt.AddDate(0, 0, 30)}, &issue.First{Days: 3}, 3
	page := mePage{Notices: shown(older, notYet, later, toldAll(), toldFirst)}
	var waits []int
	for _, n := range page.Waiting() {
		waits = append(waits, n.First.Days)
	}
	if past := page.Past(); !slices.Equal(waits, []int{10, 20, 3}) || len(past) != 2 || past[0].Leaf != 9 {
		t.Errorf("%v %v", waits, past)
	}
}

// TestTheWayBackStandsBeforeTheSignOut: on a page that asks before something is done, what does it
// and what leaves it alone stand together, and the button that signs out stands apart.
func TestTheWayBackStandsBeforeTheSignOut(t *testing.T) {
	asked := 0
	for state, page := range everyPage(t, Provider{ID: "one", Name: "One", Proving: nowhere{}}) {
		back, out := strings.Index(page, "No, go back"), strings.Index(page, `action="/sign-out"`)
		if back < 0 {
			continue
		}
		if asked++; out < back {
			t.Errorf("%s: %d, sign-out at %d", state, back, out)
		}
	}
	if asked < 4 {
		t.Errorf("%d pages ask", asked)
	}
}
