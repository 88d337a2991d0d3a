package person

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Passkeys are of one record: the pages that delete, and those that advise it, say that they go.
func TestADeletionSaysThatPasskeysGo(t *testing.T) {
	s := newServiceOn(t, "localhost")
	b := s.in("laptop")
	b.adds("phone")
	b.shows("GET", s.origin+deletePath, nil, http.StatusOK, "Your passkeys go, too", "under the same pen names, without three days")
	b.shows("GET", s.origin+"/privacy", nil, http.StatusOK, "That removes your passkeys, too")
	b.shows("POST", s.origin+deletePath, url.Values{}, http.StatusOK)
	thief := s.browser()
	thief.stays = true
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, "Was it not you?", "Change your password there", "Do you want to come back?")
	thief.shows("GET", thief.proveWith(url.Values{"provider": {"post"}, "return": {"1"}}, jo).String(), nil, http.StatusOK, "Add a passkey only after that") // and it is so
	none := newService(t)
	none.in("laptop").shows("GET", none.origin+deletePath, nil, http.StatusOK, "!passkey")
}

// A word for a new pen name beside the choice of an old one is not dropped: nothing is done before
// the person says which they mean.
func TestAWordForANewPenNameIsNotDropped(t *testing.T) {
	s := several(t, 3)
	b := s.in("laptop")
	work := b.as("pocket", "new", "work")
	action := b.open("pocket")
	answer := url.Values{"decision": {"allow"}, "persona": {work}, "alias": {"football"}}
	b.shows("POST", s.origin+action, answer, http.StatusUnprocessableEntity, "<title>Error:", "You typed a word for a new one: which do you mean?", `href="#alias"`,
		`id="alias-wrong"`, `name="alias" value="football"`, `value="`+work+`" required checked`)
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "<strong>work</strong>", "!football")
	answer.Set("persona", anew)
	res, _ := b.do("POST", s.origin+action, answer)
	if sub := b.redeem("pocket", result(t, res).Get("code"))["sub"]; sub == work {
		t.Error("the old one")
	}
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "<strong>work</strong>", "<strong>football</strong>")
	answer = url.Values{"decision": {"allow"}, "persona": {work}, "alias": {" \u200b "}} // nothing that can be seen
	res, _ = b.do("POST", s.origin+b.open("pocket"), answer)
	if sub := b.redeem("pocket", result(t, res).Get("code"))["sub"]; sub != work {
		t.Errorf("%v", sub)
	}
}

// Who is refused a pen name is led back to those that there are, and no heading says that nothing
// was done above a text that says that it was.
func TestARefusedPenNameLeadsToTheOthers(t *testing.T) {
	s := several(t, 3)
	b := s.in("laptop")
	gone, kept := b.as("pocket", "new", "gone"), b.as("pocket", "new", "kept")
	for range 2 { // pressed twice
		b.do("POST", s.origin+"/me/retire", url.Values{"pen_name": {gone}, "sure": {"yes"}})
	}
	b.shows("POST", s.origin+"/me/retire", url.Values{"pen_name": {gone}, "sure": {"yes"}}, http.StatusNotFound, "<h1>There is no such pen name in use</h1>", "If you pressed it before, it is retired", `href="/me">To my own page`, "!This was not done")
	action := b.open("pocket")
	b.shows("POST", s.origin+action, url.Values{"decision": {"allow"}, "persona": {gone}}, http.StatusNotFound, `<a class="button" href="`+action+`">`, action+"?declined")
	b.shows("GET", s.origin+action, nil, http.StatusOK, kept)
}

// What a page that a button leads to says can be had in another language there, and what is shown
// once does not lead elsewhere.
func TestButtonsPagesKeepTheirPlaceInAnotherLanguage(t *testing.T) {
	s := several(t, 3)
	b := s.in("laptop")
	name := b.as("pocket", "new", "")
	for path, has := range map[string]string{"/me/retire": "Its sign-ins there end: none can be renewed", "/me/platform": "We end your sign-ins there"} {
		page := b.shows("POST", s.origin+path, url.Values{"pen_name": {name}}, http.StatusOK, has, "lasts ten minutes at most", "!at once. Your other pen names")
		res, page := b.switched(page, "cy", nil)
		if res.StatusCode != http.StatusOK || !strings.Contains(page, `<html lang="cy">`) || !strings.Contains(page, name) {
			t.Errorf("%s: %s %s", path, res.Status, page)
		}
		if _, page = b.switched(page, "en", nil); !strings.Contains(page, has) {
			t.Errorf("%s: not back: %s", path, page)
		}
	}
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, name, "!Retired on")
	b.shows("GET", s.origin+"/me?lang=cy", nil, http.StatusOK)
	for _, form := range []struct{ path, do string }{{"/me/platform", "sign-out"}, {"/me/sign-out-everywhere", ""}} {
		b.shows("POST", s.origin+form.path, url.Values{"pen_name": {name}, "do": {form.do}}, http.StatusOK, "dim ond unwaith", "!lang=en")
	}
}

// Whose account was taken reads what to do: that somebody else has it.
func TestWhoseAccountWasTakenReadsWhatToDo(t *testing.T) {
	s := newServiceOn(t, "localhost")
	s.in("laptop").adds("phone")
	owner := s.browser()
	owner.shows("GET", owner.prove("post", jo).String(), nil, http.StatusOK, waits, "Did you never add one?", "somebody else has your account at your identity provider", "Their address is not given here")
}

// The word for a device is forgotten with its sign-in: the list of what changed does not keep it.
func TestTheListOfChangesKeepsNoWordOfADevice(t *testing.T) {
	s := newService(t)
	s.in("the word of it")
	b := s.in("laptop")
	_, data := b.do("GET", s.origin+dataPath, nil)
	id := ""
	for part := range strings.SplitSeq(data, `{"id":"`) {
		if strings.Contains(part, "the word of it") {
			id = part
		}
	}
	id, _, _ = strings.Cut(id, `"`)
	b.shows("POST", s.origin+"/me/sign-out-device", url.Values{"device": {id}}, http.StatusOK, "That device is signed out here")
	b.shows("GET", s.origin+changesPath, nil, http.StatusOK, "A device was signed out from another one", "!the word of it", "!we do not keep them", `href="/privacy"`)
	if _, data = b.do("GET", s.origin+dataPath, nil); strings.Contains(data, "the word of it") || !strings.Contains(data, `"device_signed_out"`) {
		t.Error(data)
	}
}

// What the provider told us, and what is not sealed, is shown once, too; later the file has it.
func TestWhatIsVouchedForIsShown(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.stays = true
	b.shows("GET", b.prove("post", jo).String(), nil, http.StatusOK, "Check what was sealed", "It told us this besides", "<li>You are over 18</li>", `href="/me/data.json"`)
	b.stays = false
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "That file alone has what your identity provider vouches for", "!when you came", "No warrant opens when you signed in")
	if _, data := b.do("GET", s.origin+dataPath, nil); !strings.Contains(data, `"age_over_18":"true"`) {
		t.Error(data)
	}
}
