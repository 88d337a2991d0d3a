package person

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// flowing is a service whose people have what every page needs: it writes to them, they may
// have several pen names, and an order waits that concerns jo.
type flowing struct {
	*service
	t      *testing.T
	orders *objecting
	name   string // jo's pen name at Pocket
}

func newFlowing(t *testing.T) *flowing {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	about := *toldFirst.About
	about.Objection.Recipients = []string{id.Recipient().String()}
	o := &objecting{notice: toldFirst}
	o.notice.About, o.notice.Platform = &about, "pocket"
	s := newServiceOn(t, "localhost", func(_ *testing.T, c *Config) {
		c.Writes = true
		for i := range c.Platforms {
			c.Platforms[i].Personas = 3
		}
		o.Store, c.Issuer.Store = c.Issuer.Store, o
	})
	o.notice.First = &issue.First{Days: 10, ObjectBy: today(s.now()).AddDate(0, 0, 10)}
	f := &flowing{s, t, o, ""}
	b := s.in("laptop")
	res, _ := b.do("POST", s.origin+b.open("pocket"), url.Values{"decision": {"allow"}, "persona": {"new"}})
	f.name, _ = b.redeem("pocket", result(t, res).Get("code"))["sub"].(string)
	return f
}

// notice is where jo reads the order.
func (f *flowing) notice() string {
	n := notice{Notice: f.orders.notice}
	n.Pseudonym = token.Pseudonym(f.name)
	return n.Page()
}

// as leads a row that begins with somebody signed in on a device of that word.
func (f *flowing) as(t *testing.T, word string) *browser {
	f.service.t = t
	return f.in(word)
}

// ofSession is what stands in forms for the session.
var ofSession = regexp.MustCompile(`name="session" value="([^"]+)"`)

// state is what the person's own pages say of what was done.
func (f *flowing) state(b *browser) string {
	f.t.Helper()
	names, err := f.issuer.Store.ChangesOfNames(b.t.Context(), token.Pseudonym(f.name))
	if err != nil {
		b.t.Fatal(err)
	}
	data := f.in("reader")
	_, body := data.do("GET", f.origin+dataPath, nil)
	address := data.shows("GET", f.origin+addressPath, nil, http.StatusOK)
	_, body, _ = strings.Cut(body, `"pen_names"`)
	body, _, _ = strings.Cut(body, `"devices"`)
	_, address, _ = strings.Cut(address, "<h1>")
	address, _, _ = strings.Cut(address, `action="/sign-out"`)
	return fmt.Sprint(len(names[0]), len(f.orders.stored), body, ofSession.ReplaceAllString(address, ""))
}

// declines goes to the identity provider and says no there.
func (b *browser) declines(form url.Values) *url.URL {
	b.t.Helper()
	there, _ := b.do("POST", b.origin+"/enrol", form)
	back, _ := b.do("POST", there.Request.URL.String(), url.Values{"person": {""}})
	callback, err := back.Location()
	if err != nil || callback.Query().Get("error") != "access_denied" {
		b.t.Fatal(back.Status, callback)
	}
	return callback
}

// led fails unless a page leads to a proof of identity, and then back to a path.
func (b *browser) led(page, path string) {
	b.t.Helper()
	if !strings.Contains(page, `name="interaction" value="`+path+`"`) {
		b.t.Errorf("does not lead back to %s: %s", path, page)
		return
	}
	res, _ := b.do("GET", b.proveWith(url.Values{"provider": {"post"}, "interaction": {path}}, jo).String(), nil)
	if res.StatusCode != http.StatusOK || res.Request.URL.Path != path {
		b.t.Errorf("led to %s (%s), not back to %s", res.Request.URL.Path, res.Status, path)
	}
}

// form is one that a page of somebody signed in has.
type formOfPage struct {
	path   string
	fields url.Values
	back   string // the page that it stands on
	typed  string // what comes back to copy
	once   string // what is said to somebody who presses twice, the second time
}

func (f *flowing) forms() map[string]formOfPage {
	n := f.orders.notice
	notice := url.Values{"pen_name": {f.name}, "platform": {n.Platform}, "leaf": {fmt.Sprint(n.Leaf)}}
	with := func(v url.Values, pairs ...string) url.Values {
		all := url.Values{}
		for name, value := range v {
			all[name] = value
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			all.Set(pairs[i], pairs[i+1])
		}
		return all
	}
	name := url.Values{"pen_name": {f.name}}
	return map[string]formOfPage{
		"call a pen name":      {"/me/rename", with(name, "alias", "football"), "/me", "football", "It is called so from now on"},
		"retire":               {"/me/retire", name, "/me", "", "You cannot take it back"},
		"leave a platform":     {"/me/platform", name, "/me", "", "That stays yours"},
		"sign out there":       {"/me/platform", with(name, "do", "sign-out"), "/me", "", "You are signed out there"},
		"withdraw":             {"/me/platform", with(name, "do", "withdraw"), "/me", "", "Your consent is withdrawn"},
		"sign out a device":    {"/me/sign-out-device", url.Values{"device": {"00"}}, "/me", "", "was signed out before"},
		"sign out everywhere":  {"/me/sign-out-everywhere", url.Values{}, "/me", "", "Did you press it before?"},
		"delete":               {deletePath, url.Values{}, deletePath, "", "Then your request was recorded"},
		"give an address":      {addressPath, url.Values{"address": {"jo@example.org"}}, addressPath, "jo@example.org", "A code is on its way"},
		"type a code":          {addressPath + "/confirm", url.Values{"code": {"12345678"}}, addressPath, "", "hat is not the code"},
		"remove an address":    {addressPath + "/remove", url.Values{}, addressPath, "", "We have no address of yours"},
		"say it is not me":     {"/me/object", url.Values{"reference": {"abcdefghijkl"}}, "/me", "", "here is nothing to object to"},
		"check an objection":   {"/me/objection", with(notice, "text", "I did <b>not</b>.", "do", "check"), "/me", "I did &lt;b&gt;not&lt;/b&gt;.", "It is not sent yet"},
		"send an objection":    {"/me/objection", with(notice, "text", "I did <b>not</b>."), "/me", "I did &lt;b&gt;not&lt;/b&gt;.", "Your objection is stored"},
		"make a lawyer's code": {"/me/lawyer", notice, "/me", "", "A code for your lawyer"},
		"stay":                 {"/me/stay", url.Values{}, "/me", "", "My pen names"},

		"add a passkey":       {passkeysPath, url.Values{"answer": {"{}"}, "word": {"phone"}}, passkeysPath, "phone", "No passkey was added"},
		"call a passkey":      {passkeysPath + "/rename", url.Values{"passkey": {"00"}, "word": {"phone"}}, passkeysPath, "phone", "Nothing was changed"},
		"remove a passkey":    {passkeysPath + "/remove", url.Values{"passkey": {"00"}}, passkeysPath, "", "If you pressed it before, it is removed"},
		"remove the last one": {passkeysPath + "/remove", url.Values{"passkey": {"00"}, "sure": {"yes"}}, passkeysPath, "", "If you pressed it before, it is removed"},
		"cancel a recovery":   {"/me/recovery/cancel", url.Values{}, "/me", "", "nly a passkey can cancel it"},
	}
}

// TestFlowsDoNotBreak: whatever somebody does between a page and its button, nothing happens
// that they did not want, nothing is announced that did not happen, what they typed comes back,
// and each page leads on to where they were.
func TestFlowsDoNotBreak(t *testing.T) {
	f := newFlowing(t)
	for name, form := range f.forms() {
		f.endsMeanwhile(t, name, form)
	}
	f.pagesLeadBack(t)
	f.consentWaits(t)
	f.declining(t)
	f.linksForgeNothing(t)
	f.certainOnes(t)
	f.objectionIsChecked(t)
	// What ends something comes last.
	f.pressedTwice(t)
	f.deletionAndReturn(t)
}

// endsMeanwhile are a form's page and what ends its session before the button is pressed.
func (f *flowing) endsMeanwhile(t *testing.T, name string, form formOfPage) {
	for event, end := range map[string]func(b *browser){
		"a slow reader":             func(*browser) { f.pass(sessionLife + time.Second) },
		"signed out in another tab": func(b *browser) { b.shows("POST", f.origin+"/sign-out", url.Values{}, http.StatusOK) },
		"signed out on another device": func(b *browser) {
			f.in("other").shows("POST", f.origin+"/me/sign-out-everywhere", url.Values{}, http.StatusOK)
		},
	} {
		t.Run(name+" × "+event, func(t *testing.T) {
			b := f.as(t, "laptop")
			before := f.state(b)
			end(b)
			says := []string{"Prove my identity", errSignedOut.Code, form.doubt()}
			if form.typed != "" {
				says = append(says, "readonly>"+form.typed+"</textarea>", "NOT stored")
			}
			page := b.shows("POST", f.origin+form.path, form.fields, http.StatusUnauthorized, says...)
			b.led(page, form.back)
			if after := f.state(b); after != before {
				t.Errorf("it did something: %s\nbefore %s", after, before)
			}
		})
	}
	t.Run(name+" × somebody else in another tab", func(t *testing.T) {
		b := f.as(t, "laptop")
		mine := b.shows("GET", f.origin+form.back, nil, http.StatusOK)
		before := f.state(b)
		b.follow(b.proveWith(url.Values{"provider": {"bank"}}, 2))
		fields, status, says := url.Values{}, http.StatusNotFound, []string{}
		for name, value := range form.fields {
			fields[name] = value
		}
		switch {
		case bound[form.path]: // what it does is done to whoever is signed in
			fields.Set("session", of(t, mine, form.path))
			status, says = http.StatusConflict, append(says, errAnother.Code, "omebody signed in here anew", "Nothing was changed.", form.doubt(), `href="`+form.back+`"`)
		case form.path == "/me/object":
			status = http.StatusConflict
		case form.path == "/me/stay":
			status = http.StatusOK
		case form.path == passkeysPath:
			status = http.StatusUnauthorized
		}
		if form.typed != "" && form.path != passkeysPath { // there it stays in its field
			says = append(says, "readonly>"+form.typed+"</textarea>")
		}
		b.shows("POST", f.origin+form.path, fields, status, says...)
		b.shows("GET", f.origin+"/me", nil, http.StatusOK, "My pen names", "!"+f.name)
		b.shows("GET", f.origin+addressPath, nil, http.StatusOK, "We have no address of yours")
		if after := f.state(b); after != before {
			t.Errorf("it did something: %s\nbefore %s", after, before)
		}
	})
}

// doubt is what a refusal that is certain does not say, after "!".
func (f formOfPage) doubt() string {
	if text := undone["POST "+f.path]; !strings.Contains(text, "NOT stored") {
		return "!" + text
	}
	return "!Doing it twice"
}

// bound are the forms that name nothing of the person: two people may share a browser.
var bound = map[string]bool{"/me/recovery/cancel": true, deletePath: true, "/me/sign-out-everywhere": true, addressPath: true, addressPath + "/confirm": true, addressPath + "/remove": true}

// of is what stands in a form of a page for its session. One that is not there now, as that of
// a code, is like the others of the page.
func of(t *testing.T, page, path string) string {
	t.Helper()
	if _, form, ok := strings.Cut(page, `action="`+path+`"`); ok {
		page, _, _ = strings.Cut(form, "</form>")
	}
	m := ofSession.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("the form %s does not say of which session it is: %s", path, page)
	}
	return m[1]
}

// pagesLeadBack: whoever is no longer signed in is led back to the page that they wanted.
func (f *flowing) pagesLeadBack(t *testing.T) {
	for path, back := range map[string]string{"/me": "/me", dataPath: "/me", changesPath: changesPath, deletePath: deletePath, addressPath: addressPath, passkeysPath: passkeysPath, "/me/receipt": "/me/receipt", "/me/receipt.jws": "/me/receipt"} {
		t.Run(path+" × session end", func(t *testing.T) {
			b := f.as(t, "laptop")
			f.pass(sessionLife + time.Second)
			b.led(b.shows("GET", f.origin+path, nil, http.StatusUnauthorized, "Please sign in"), back)
		})
		t.Run(path+" × Back after signing out", func(t *testing.T) {
			b := f.as(t, "laptop")
			res, body := b.do("GET", f.origin+path, nil)
			if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s, Cache-Control %q: a browser may keep it", res.Status, res.Header.Get("Cache-Control"))
			}
			b.shows("POST", f.origin+"/sign-out", url.Values{}, http.StatusOK, "You are signed out here", "Is this not your own computer?", "!"+f.name)
			if _, after := b.do("GET", f.origin+path, nil, "Accept", "text/html"); after == body || strings.Contains(after, f.name) || !strings.Contains(after, "Please sign in") {
				t.Errorf("Back shows %s", after)
			}
		})
	}
}

// consentWaits: whoever reads something else meanwhile finds the way back to the sign-in.
func (f *flowing) consentWaits(t *testing.T) {
	t.Run("consent × how it works", func(t *testing.T) {
		b := f.as(t, "laptop")
		action := b.open("pocket")
		way := `href="` + action + `"`
		for _, path := range []string{"/", "/privacy", "/accessibility", "/me"} {
			b.shows("GET", f.origin+path, nil, http.StatusOK, "You were signing in to Pocket", way)
		}
		b.shows("GET", f.origin+action, nil, http.StatusOK, "Sign in to Pocket</button>")
		f.browser().shows("GET", f.origin, nil, http.StatusOK, "!You were signing in")
		res, _ := b.do("POST", f.origin+action, url.Values{"decision": {"allow"}, "persona": {f.name}})
		result(t, res)
		b.shows("GET", f.origin, nil, http.StatusOK, "!You were signing in")
	})
	t.Run("consent × how it works, without a session", func(t *testing.T) {
		b := f.browser()
		b.t = t
		action := b.open("purse")
		b.shows("GET", f.origin, nil, http.StatusOK, "You were signing in to Purse", `href="`+action+`"`)
		res, _ := b.do("POST", f.origin+action, url.Values{"decision": {"deny"}})
		result(t, res)
		b.shows("GET", f.origin, nil, http.StatusOK, "!You were signing in")
	})
	t.Run("consent × a slow reader", func(t *testing.T) {
		b := f.as(t, "laptop")
		b.open("pocket")
		f.pass(waitingLife + time.Minute)
		b.shows("GET", f.origin, nil, http.StatusOK, "!You were signing in")
	})
	t.Run("consent × session end, with a name that was typed", func(t *testing.T) {
		b := f.as(t, "laptop")
		action := b.open("pocket")
		b.shows("POST", f.origin+"/sign-out", url.Values{}, http.StatusOK)
		b.shows("POST", f.origin+action, url.Values{"decision": {"allow"}, "persona": {"new"}, "alias": {"my choir"}}, http.StatusOK, "Prove my identity", "my choir", "!You are signed in")
	})
	t.Run("consent × two tabs, answered in one", func(t *testing.T) {
		b := f.as(t, "laptop")
		one, two := b.open("pocket"), b.open("purse")
		res, _ := b.do("POST", f.origin+one, url.Values{"decision": {"deny"}})
		result(t, res)
		b.shows("GET", f.origin, nil, http.StatusOK, "You were signing in to Purse", `href="`+two+`"`)
	})
}

// declining: from everywhere a no leads somewhere, and a platform that waits hears it.
func (f *flowing) declining(t *testing.T) {
	denied := func(t *testing.T, res *http.Response) {
		t.Helper()
		if got := result(t, res); got.Get("error") != "access_denied" || got.Get("state") != "s" {
			t.Errorf("the platform hears %v", got)
		}
	}
	t.Run("identity provider × declining, on the way to a platform", func(t *testing.T) {
		b := f.as(t, "laptop")
		res, _ := b.do("GET", b.declines(url.Values{"provider": {"post"}, "interaction": {b.open("pocket", "state", "s")}}).String(), nil)
		denied(t, res)
	})
	for _, back := range []string{deletePath, addressPath, changesPath, "/me/receipt", "/me"} {
		t.Run("identity provider × declining, on the way to "+back, func(t *testing.T) {
			b := f.as(t, "laptop")
			b.shows("GET", b.declines(url.Values{"provider": {"post"}, "interaction": {back}, "fresh": {"1"}}).String(), nil, http.StatusBadRequest, identity.ErrDeclined.Code, `href="`+back+`"`, "!?declined")
		})
	}
	t.Run("a word that is too long × declining", func(t *testing.T) {
		b := f.browser()
		b.t = t
		action := b.open("pocket", "state", "s")
		b.shows("POST", f.origin+"/enrol", url.Values{"provider": {"post"}, "interaction": {action}, "device": {strings.Repeat("x", 65)}}, http.StatusUnprocessableEntity, action+"?declined")
		res, _ := b.do("GET", f.origin+action+"?declined", nil)
		denied(t, res)
	})
	t.Run("consent × declining twice", func(t *testing.T) {
		b := f.as(t, "laptop")
		action := b.open("pocket", "state", "s")
		for range 2 {
			res, _ := b.do("POST", f.origin+action, url.Values{"decision": {"deny"}})
			denied(t, res)
		}
	})
	t.Run("objection × declining", func(t *testing.T) {
		b := f.as(t, "laptop")
		form := f.forms()["check an objection"]
		b.shows("POST", f.origin+form.path, form.fields, http.StatusOK, `value="change"`, `href="/me"`)
		if len(f.orders.stored) != 0 {
			t.Error("it was stored")
		}
	})
}

// linksForgeNothing: no parameter of an address makes a page say or do anything.
func (f *flowing) linksForgeNothing(t *testing.T) {
	said := func(b *browser, path string) string {
		res, body := b.do("GET", f.origin+path, nil, "Accept", "text/html")
		_, body, _ = strings.Cut(body, `<main id="main">`)
		return res.Status + body
	}
	for _, path := range []string{"/", "/me", addressPath, deletePath, changesPath, "/me/receipt", "/privacy", "/accessibility"} {
		t.Run(path+" × a forged link", func(t *testing.T) {
			b := f.as(t, "laptop")
			said(b, path) // what is said once
			plain := said(b, path)
			for _, query := range []string{"done=confirmed", "done=sent", "welcome=device", "said=objected", "m=renamed", "wrong=x", "waits=/authorize/x", "typed=x", "declined", "error=access_denied", "session=x", "sure=yes", "do=withdraw", "when=now"} {
				if forged := said(b, path+"?"+query); forged != plain {
					t.Errorf("?%s: %s\nplain: %s", query, forged, plain)
				}
			}
		})
	}
	for name, form := range f.forms() {
		t.Run(name+" × a link to its button", func(t *testing.T) {
			b := f.as(t, "laptop")
			before := f.state(b)
			b.do("GET", f.origin+form.path+"?"+form.fields.Encode(), nil)
			if after := f.state(b); after != before {
				t.Errorf("it did something: %s", after)
			}
			b.shows("GET", f.origin+"/me", nil, http.StatusOK, "My pen names")
		})
	}
	t.Run("sign out × a link to its button", func(t *testing.T) {
		b := f.as(t, "laptop")
		for _, path := range []string{"/sign-out", "/sign-out?decision=leave", "/logout", "/logout/answer"} {
			b.do("GET", f.origin+path, nil)
			b.shows("GET", f.origin+"/me", nil, http.StatusOK, "My pen names")
		}
	})
}

// objectionIsChecked: what is written is looked at before it is sent, and sent once.
func (f *flowing) objectionIsChecked(t *testing.T) {
	t.Run("objection × changed, sent, Back, sent again", func(t *testing.T) {
		b := f.as(t, "laptop")
		form := f.forms()["check an objection"]
		at := f.origin + form.path
		b.shows("POST", at, form.fields, http.StatusOK, "It is not sent yet", "I did &lt;b&gt;not&lt;/b&gt;.", "Send the objection")
		form.fields.Set("do", "change")
		b.shows("POST", at, form.fields, http.StatusOK, "I did &lt;b&gt;not&lt;/b&gt;.</textarea>", "<details open>", "!NOT stored", "!Error:")
		form.fields.Del("do")
		for range 2 {
			b.shows("POST", at, form.fields, http.StatusOK, "Your objection is stored")
		}
		form.fields.Set("do", "check")
		b.shows("POST", at, form.fields, http.StatusOK, "It is sent already", "!Send the objection")
		if len(f.orders.stored) != 1 {
			t.Errorf("%d are stored", len(f.orders.stored))
		}
		b.shows("GET", f.origin+changesPath, nil, http.StatusOK, "You objected to an order about your pen name on Pocket")
	})
}

// certainOnes: a form that is refused before anything is done says so, and no more.
func (f *flowing) certainOnes(t *testing.T) {
	for name, form := range f.forms() {
		t.Run(name+" × a refusal that is certain", func(t *testing.T) {
			b := f.as(t, "laptop")
			before, at := f.state(b), f.origin+form.path
			page := b.shows("POST", at, url.Values{"session": {"another"}}, http.StatusConflict, errAnother.Code, form.doubt())
			if form.path != "/me/objection" && !strings.Contains(page, "Nothing was changed.") {
				t.Errorf("another session: %s", page)
			}
			if res, page := b.do("POST", at, form.fields, "Accept", "text/html", "Sec-Fetch-Site", "cross-site"); res.StatusCode != http.StatusForbidden || strings.Contains(page, form.doubt()[1:]) {
				t.Errorf("from another site: %s", page)
			}
			f.pass(freshFor)
			_, page = b.do("POST", at, form.fields, "Accept", "text/html")
			for _, code := range []string{errProveAgain.Code, errNotFresh.Code} {
				if strings.Contains(page, code) && (strings.Contains(page, form.doubt()[1:]) || form.path != "/me/objection" && !strings.Contains(page, "Nothing was changed.")) {
					t.Errorf("after five minutes: %s", page)
				}
			}
			if after := f.state(b); form.path != "/me/objection" && form.path != "/me/sign-out-everywhere" && after != before {
				t.Errorf("it did something: %s\nbefore %s", after, before)
			}
			f.orders.stored, f.orders.notice.Objections = nil, nil
		})
	}
}

// pressedTwice: a second press does nothing more, and what is said of it is true.
func (f *flowing) pressedTwice(t *testing.T) {
	forms := f.forms()
	for _, name := range []string{"call a pen name", "sign out there", "withdraw", "give an address", "type a code", "remove an address", "sign out a device", "say it is not me", "make a lawyer's code", "stay", "add a passkey", "call a passkey", "remove a passkey", "remove the last one", "cancel a recovery", "sign out everywhere"} {
		t.Run(name+" × pressed twice", func(t *testing.T) {
			form := forms[name]
			b := f.as(t, "laptop")
			b.do("POST", f.origin+form.path, form.fields, "Accept", "text/html")
			_, body := b.do("POST", f.origin+form.path, form.fields, "Accept", "text/html")
			if !strings.Contains(body, form.once) {
				t.Errorf("the second press says %s", body)
			}
		})
	}
	t.Run("retire × pressed twice", func(t *testing.T) {
		b := f.as(t, "laptop")
		res, _ := b.do("POST", f.origin+b.open("purse"), url.Values{"decision": {"allow"}, "persona": {"new"}})
		name, _ := b.redeem("purse", result(t, res).Get("code"))["sub"].(string)
		form := url.Values{"pen_name": {name}, "sure": {"yes"}}
		b.shows("POST", f.origin+"/me/retire", form, http.StatusOK)
		b.shows("POST", f.origin+"/me/retire", form, http.StatusNotFound, issue.ErrPersonaUnknown.Code, "If you pressed it before, it is retired.", "!may be in use as before")
	})
	t.Run("sign out × pressed twice", func(t *testing.T) {
		b := f.as(t, "laptop")
		for range 2 {
			b.shows("POST", f.origin+"/sign-out", url.Values{}, http.StatusOK, "You are signed out here")
		}
	})
	t.Run("sign out this device × from the list of another tab", func(t *testing.T) {
		b := f.as(t, "the very laptop")
		_, body := b.do("GET", f.origin+dataPath, nil)
		_, id, _ := strings.Cut(body, `"devices"`)
		for part := range strings.SplitSeq(id, "{") {
			if strings.Contains(part, "the very laptop") && strings.Contains(part, `"this":true`) {
				_, id, _ = strings.Cut(part, `"id":"`)
				id, _, _ = strings.Cut(id, `"`)
			}
		}
		b.shows("POST", f.origin+"/me/sign-out-device", url.Values{"device": {id}}, http.StatusOK, "You are signed out here")
		b.signedOut("this device")
	})
	t.Run("what was pressed × is in the list once a day", func(t *testing.T) {
		b := f.as(t, "laptop")
		page := b.shows("GET", f.origin+changesPath, nil, http.StatusOK, "What you call your pen name on Pocket was noted, or changed", "Your consent was withdrawn on Pocket", "You got a pen name on Pocket", "You were enrolled", "An address for notices was entered")
		if n := strings.Count(page, "What you call your pen name on Pocket was noted, or changed"); n != 1 {
			t.Errorf("%d times", n)
		}
		if strings.Contains(page, "jo@example.org") {
			t.Error("an address stands in it")
		}
	})
}

// deletionAndReturn: a no to the return holds, a yes seals once, and what was before is gone.
func (f *flowing) deletionAndReturn(t *testing.T) {
	t.Run("deletion × pressed twice, and return", func(t *testing.T) {
		b := f.as(t, "laptop")
		b.shows("POST", f.origin+deletePath, url.Values{}, http.StatusOK, "Your receipt of the deletion")
		page := b.shows("POST", f.origin+deletePath, url.Values{}, http.StatusUnauthorized, "Then your request was recorded", "!Nothing was deleted:")
		if !strings.Contains(page, "Prove my identity") {
			t.Error(page)
		}
		action := b.open("pocket", "state", "s")
		b.shows("GET", b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}}, jo).String(), nil, http.StatusOK, "You asked us to delete you", action+"?declined")
		res, _ := b.do("GET", f.origin+action+"?declined", nil)
		if got := result(t, res); got.Get("error") != "access_denied" {
			t.Errorf("%v", got)
		}
		b.shows("GET", b.proveWith(url.Values{"provider": {"post"}, "interaction": {changesPath}}, jo).String(), nil, http.StatusOK, "You asked us to delete you", `href="/"`, "!?declined")
		before := f.records()
		callback := b.proveWith(url.Values{"provider": {"post"}, "return": {"1"}, "interaction": {changesPath}}, jo)
		b.stays = true
		b.shows("GET", callback.String(), nil, http.StatusOK, "Your identity was sealed anew", `href="`+changesPath+`"`)
		b.shows("GET", callback.String(), nil, http.StatusOK, "What changed in my account", "your identity was sealed anew", "!You were enrolled", "!An address for notices") // Back, and once more
		if n := f.records() - before; n != 1 {
			t.Errorf("%d records were sealed", n)
		}
	})
}
