package person

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/penname/penname/escrow/web/pagetest"
)

// mended fails unless a page says what is wrong, above and at the field of that name, which has
// what was typed.
func mended(t *testing.T, page, field, typed, says string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	attr := func(n *html.Node, key string) (string, bool) {
		for _, a := range n.Attr {
			if a.Key == key {
				return a.Val, true
			}
		}
		return "", false
	}
	text := func(n *html.Node) (s string) {
		for d := range n.Descendants() {
			if d.Type == html.TextNode {
				s += d.Data
			}
		}
		return strings.TrimSpace(s)
	}
	ids, linked, title, summary := map[string]*html.Node{}, "", "", 0
	var at *html.Node
	for n := range root.Descendants() {
		if id, ok := attr(n, "id"); ok {
			ids[id] = n
		}
		if n.Data == "title" {
			title = text(n)
		}
		if role, _ := attr(n, "role"); role == "alert" {
			if _, focus := attr(n, "autofocus"); focus {
				summary++
				if _, can := attr(n, "tabindex"); !can || !strings.Contains(text(n), says) {
					t.Errorf("the summary says %q", text(n))
				}
				for d := range n.Descendants() {
					if to, ok := attr(d, "href"); ok {
						linked = strings.TrimPrefix(to, "#")
					}
				}
			}
		}
		name, _ := attr(n, "name")
		if invalid, _ := attr(n, "aria-invalid"); name == field && invalid == "true" {
			at = n
		}
	}
	if !strings.HasPrefix(title, "Error: ") || summary != 1 {
		t.Errorf("title %q, %d summaries", title, summary)
	}
	if at == nil {
		t.Fatalf("no field %q is said to be wrong: %s", field, page)
	}
	by, _ := attr(at, "aria-describedby")
	if id, _ := attr(at, "id"); id == "" || id != linked || ids[by] == nil || !strings.Contains(text(ids[by]), says) {
		t.Errorf("the field %q, to which %q leads, is described by %q", id, linked, by)
	}
	value, _ := attr(at, "value")
	if at.Data == "textarea" {
		value = text(at)
	}
	if value != typed {
		t.Errorf("the field has %q, and %q was typed", value, typed)
	}
}

// TestMistakesAreSaidAtTheField: of each form with a field, what was typed stays, and what is
// wrong with it stands at the field and above the page (GOV.UK Design System, error summary).
func TestMistakesAreSaidAtTheField(t *testing.T) {
	f := newFlowing(t)
	long := strings.Repeat("y", 65)
	empty := "\u200b\u2060" // an objection of no letters
	forms := f.forms()
	with := func(form url.Values, name, value string) url.Values {
		form.Set(name, value)
		return form
	}
	for name, c := range map[string]struct {
		path  string
		form  url.Values
		field string
		typed string
		says  string
	}{
		"address":            {addressPath, url.Values{"address": {"jo@example"}}, "address", "jo@example", "his is not an e-mail address"},
		"rename":             {"/me/rename", with(forms["call a pen name"].fields, "alias", long), "alias", long, "too long"},
		"rename, with marks": {"/me/rename", with(forms["retire"].fields, "alias", strings.Repeat("é", 33)), "alias", strings.Repeat("é", 33), "too long"},
		"device word":        {"/enrol", url.Values{"provider": {"post"}, "device": {long}}, "device", long, "too long"},
		"objection":          {"/me/objection", with(forms["send an objection"].fields, "text", empty), "text", empty, "bjection"},
		"no objection":       {"/me/objection", with(f.forms()["send an objection"].fields, "text", ""), "text", "", "bjection"},
		"objection, checked": {"/me/objection", with(forms["check an objection"].fields, "text", empty), "text", empty, "bjection"},
	} {
		t.Run(name, func(t *testing.T) {
			b := f.as(t, "laptop")
			mended(t, b.shows("POST", f.origin+c.path, c.form, http.StatusUnprocessableEntity), c.field, c.typed, c.says)
		})
	}
	t.Run("code", func(t *testing.T) {
		b := f.as(t, "laptop")
		b.shows("POST", f.origin+addressPath, url.Values{"address": {"jo@example.org"}}, http.StatusOK)
		mended(t, b.shows("POST", f.origin+addressPath+"/confirm", url.Values{"code": {"1234"}}, http.StatusUnprocessableEntity), "code", "1234", "hat is not the code")
	})
	t.Run("passkeys", func(t *testing.T) {
		s := newServiceOn(t, "localhost")
		b := s.in("laptop")
		at := s.origin + passkeysPath
		b.adds("phone")
		mended(t, b.shows("POST", at, url.Values{"word": {long}}, http.StatusUnprocessableEntity), "word", long, "too long")
		rename := url.Values{"passkey": {b.passkeyNamed("phone")}, "word": {long}}
		mended(t, b.shows("POST", at+"/rename", rename, http.StatusUnprocessableEntity), "word", long, "too long")
		b.shows("GET", at, nil, http.StatusOK, `value="phone"`, "!yyyy")
		// What stops it beside the word is said at the button.
		b.shows("POST", at, url.Values{"word": {"my <key>"}, "answer": {"{}"}}, http.StatusUnauthorized, "<title>Error: My passkeys", `autofocus><p id="mistakes">`, `href="#add"`, `id="add-wrong">No passkey was added.`, `<button id="add" aria-describedby="add-wrong">`, `value="my &lt;key&gt;"`, "!aria-invalid")
		s.pass(freshFor)
		b.shows("POST", at+"/rename", rename, http.StatusUnauthorized, "readonly>"+long+"</textarea>", errProveAgain.Code, "!phone")
	})
	t.Run("what a new pen name is called", func(t *testing.T) {
		b := f.as(t, "laptop")
		action := b.open("pocket")
		page := b.shows("POST", f.origin+action, url.Values{"decision": {"allow"}, "persona": {"new"}, "alias": {long}}, http.StatusUnprocessableEntity)
		mended(t, page, "alias", long, "too long")
		if !strings.Contains(page, `value="new" required checked`) {
			t.Error("the choice is lost")
		}
	})
}

// TestTheFocusGoesToWhatIsWrong, in a browser, without a script.
func TestTheFocusGoesToWhatIsWrong(t *testing.T) {
	pages, edge := everyPageOf(t, Provider{ID: "one", Name: "One", Proving: nowhere{}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		edge.ServeHTTP(justHeaders{w}, r)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte(pages[r.URL.Query().Get("page")]))
	}))
	t.Cleanup(server.Close)
	b := pagetest.Open(t)
	for _, state := range []string{"address.html wrong", "address.html waits", "name.html a name too long", "notice.html a text too long", "passkeys.html on the way", "passkeys.html a word too long", "passkeys.html another word too long", "word.html", "consent.html a name too long"} {
		if _, err := b.Look(server.URL+"/?page="+url.QueryEscape(state), pagetest.Views[0]); err != nil {
			t.Fatal(err)
		}
		if at, err := b.Focus(); err != nil || !strings.HasPrefix(at, "div There is a problem") || strings.HasSuffix(at, "which nothing marks") {
			t.Errorf("%s: the focus is at %q, %v", state, at, err)
		}
	}
}

// TestBackShowsNothingAfterSigningOut, in a browser: it keeps no page of somebody who was
// signed in.
func TestBackShowsNothingAfterSigningOut(t *testing.T) {
	s := newService(t)
	b := pagetest.Open(t)
	if _, err := b.Look(s.origin+"/", pagetest.Views[0]); err != nil {
		t.Fatal(err)
	}
	for _, step := range [][2]string{
		{"Prove my identity with Post Office", "Jo Hartley"}, {"Jo Hartley", "Check it now"}, {"Go on", "My devices"},
		{"What changed in my account", "You were enrolled"}, {"Sign out", "You are signed out here"},
	} {
		if err := b.Press(step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		page, err := b.Back()
		if err != nil {
			t.Fatal(err)
		}
		for _, shown := range []string{"You were enrolled", "My devices", "Jo Hartley"} {
			if strings.Contains(page, shown) {
				t.Errorf("Back shows %q: %s", shown, page)
			}
		}
	}
}
