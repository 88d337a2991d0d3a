package person

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/penname/penname/escrow/web/pagetest"
)

func attrOf(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// switched presses the switch of a page with these words typed into its form, by name, and returns
// what follows.
func (b *browser) switched(page, lang string, typed url.Values) (*http.Response, string) {
	b.t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		b.t.Fatal(err)
	}
	var form *html.Node
	there, first := false, url.Values{}
	for n := range root.Descendants() {
		switch {
		case n.Data == "form" && attrOf(n, "id") == "typing":
			form = n
		case n.Data == "button" && attrOf(n, "form") == "typing" && attrOf(n, "name") == "lang" && attrOf(n, "value") == lang:
			there = true
		case n.Data == "button" && attrOf(n, "form") == "typing" && attrOf(n, "class") == "skip": // of the form's own it is the first
			first = url.Values{attrOf(n, "name"): {attrOf(n, "value")}}
		}
	}
	if form == nil || !there {
		b.t.Fatalf("no switch to %s that keeps what is typed: %s", lang, page)
	}
	send, button := url.Values{"lang": {lang}}, url.Values(nil)
	for n := range form.Descendants() {
		switch {
		case n.Data == "input" && attrOf(n, "type") == "hidden":
			send.Add(attrOf(n, "name"), attrOf(n, "value"))
		case n.Data == "textarea":
			text := ""
			for inner := range n.Descendants() {
				text += inner.Data
			}
			send.Add(attrOf(n, "name"), text)
		case n.Data == "button" && button == nil:
			button = url.Values{attrOf(n, "name"): {attrOf(n, "value")}}
		}
	}
	if first.Encode() != button.Encode() {
		b.t.Errorf("Enter in a field sends %v, and not %v as the form's first button", first, button)
	}
	for name, values := range typed {
		send[name] = values
	}
	return b.do("POST", b.origin+attrOf(form, "action"), send, "Accept", "text/html")
}

// TestWhatIsTypedOutlastsTheLanguage: who switches the language while they fill in a form has the
// same page in the other one, with what they typed and chose, and nothing is done.
func TestWhatIsTypedOutlastsTheLanguage(t *testing.T) {
	f := newFlowing(t)
	field := func(name, value string) *regexp.Regexp {
		return regexp.MustCompile(`name="` + name + `"[^>]* value="` + regexp.QuoteMeta(value) + `"|value="` + regexp.QuoteMeta(value) + `"[^>]* name="` + name + `"`)
	}
	text := func(s string) *regexp.Regexp { return regexp.MustCompile(regexp.QuoteMeta(s)) }
	for name, c := range map[string]struct {
		new   bool // a browser in which nobody is signed in
		page  func(b *browser) string
		typed url.Values
		has   []*regexp.Regexp
	}{
		"the first page": {true, func(b *browser) string { return b.shows("GET", f.origin, nil, http.StatusOK) },
			url.Values{"device": {"old <phone>"}}, []*regexp.Regexp{field("device", "old &lt;phone&gt;"), text("<h1>Siaradwch dan ffugenw")}},
		"on the way to a platform": {true, func(b *browser) string { return b.shows("GET", f.origin+b.open("purse"), nil, http.StatusOK) },
			url.Values{"device": {"phone"}}, []*regexp.Regexp{field("device", "phone"), text("<h1>Mewngofnodi i Purse")}},
		"a word that is wrong": {true, func(b *browser) string {
			return b.shows("POST", f.origin+"/enrol", url.Values{"provider": {"post"}, "device": {strings.Repeat("x", 65)}}, http.StatusUnprocessableEntity)
		},
			url.Values{"device": {strings.Repeat("x", 66)}}, []*regexp.Regexp{field("device", strings.Repeat("x", 66)), text(`aria-invalid="true"`), text("<title>Gwall: ")}},
		"the same, mended": {true, func(b *browser) string {
			return b.shows("POST", f.origin+"/enrol", url.Values{"provider": {"post"}, "interaction": {"/me"}, "device": {strings.Repeat("x", 65)}}, http.StatusUnprocessableEntity)
		},
			url.Values{"device": {"phone"}}, []*regexp.Regexp{field("device", "phone"), field("interaction", "/me"), text("<title>Gair ar gyfer")}},
		"which pen name": {false, func(b *browser) string { return b.shows("GET", f.origin+b.open("pocket"), nil, http.StatusOK) },
			url.Values{"persona": {"new"}, "alias": {"pêl-droed"}}, []*regexp.Regexp{field("alias", "pêl-droed"), regexp.MustCompile(`value="new" required checked`), text("<h1>Mewngofnodi i Pocket")}},
		"an old pen name": {false, func(b *browser) string { return b.shows("GET", f.origin+b.open("pocket"), nil, http.StatusOK) },
			url.Values{"persona": {f.name}, "alias": {"not now"}}, []*regexp.Regexp{field("alias", "not now"), regexp.MustCompile(`value="` + f.name + `" required checked`)}},
		"an address": {false, func(b *browser) string { return b.shows("GET", f.origin+addressPath, nil, http.StatusOK) },
			url.Values{"address": {"jo@example"}}, []*regexp.Regexp{field("address", "jo@example"), text("Fy nghyfeiriad")}},
		"what a pen name is called": {false, func(b *browser) string {
			return b.shows("GET", f.origin+namePath+"?pen_name="+f.name, nil, http.StatusOK)
		},
			url.Values{"alias": {"pêl-droed"}}, []*regexp.Regexp{field("alias", "pêl-droed"), text("Fy ffugenw ar")}},
		"an objection": {false, func(b *browser) string { return b.shows("GET", f.origin+f.notice(), nil, http.StatusOK) },
			url.Values{"text": {"I did\r\n<not>."}}, []*regexp.Regexp{text(">I did\n&lt;not&gt;.</textarea>"), text("Mae llys eisiau"), text("<details open>")}},
		"an objection that is checked": {false, func(b *browser) string {
			return b.shows("POST", f.origin+"/me/objection", f.forms()["check an objection"].fields, http.StatusOK)
		},
			nil, []*regexp.Regexp{text(`<textarea name="text" rows="12" readonly>I did &lt;b&gt;not&lt;/b&gt;.</textarea>`), text("Gwiriwch")}},
	} {
		t.Run(name, func(t *testing.T) {
			b := f.as(t, "laptop")
			before := f.state(b)
			if c.new {
				b = f.browser()
			}
			page := c.page(b)
			res, page := b.switched(page, "cy", c.typed)
			if res.StatusCode != http.StatusOK && !strings.Contains(page, "aria-invalid") || !strings.Contains(page, `<html lang="cy">`) {
				t.Fatalf("%s: %s", res.Status, page)
			}
			for _, want := range c.has {
				if !want.MatchString(page) {
					t.Errorf("no %s in %s", want, page)
				}
			}
			if c := res.Header.Values("Set-Cookie"); !strings.Contains(strings.Join(c, " "), "language=cy;") {
				t.Errorf("it is not remembered: %s", c)
			}
			if _, page = b.switched(page, "en", c.typed); !strings.Contains(page, `<html lang="en">`) {
				t.Errorf("not back: %s", page)
			}
			if after := f.state(b); after != before {
				t.Errorf("it did something: %s\nbefore %s", after, before)
			}
		})
	}
	t.Run("a code", func(t *testing.T) {
		b := f.as(t, "laptop")
		b.shows("POST", f.origin+addressPath, url.Values{"address": {"jo@example.org"}}, http.StatusOK)
		for range 9 { // a switch is no try
			if _, page := b.switched(b.shows("GET", f.origin+addressPath, nil, http.StatusOK), "cy", url.Values{"code": {"1234"}}); !field("code", "1234").MatchString(page) {
				t.Fatal(page)
			}
			b.shows("GET", f.origin+addressPath+"?lang=en", nil, http.StatusOK)
		}
	})
	t.Run("after five minutes", f.writesOn)
	t.Run("nobody chooses for another", func(t *testing.T) {
		b := f.as(t, "laptop")
		res, _ := b.do("POST", f.origin+addressPath, url.Values{"address": {"jo@example"}, "lang": {"cy"}}, "Sec-Fetch-Site", "cross-site")
		if got := res.Header.Values("Set-Cookie"); res.StatusCode != http.StatusForbidden || len(got) > 0 {
			t.Errorf("%s: %s", res.Status, got)
		}
		asks, _ := url.ParseQuery(request("pocket"))
		asks.Set("lang", "cy")
		if res, _ := f.browser().do("POST", f.origin+"/authorize", asks); strings.Contains(strings.Join(res.Header.Values("Set-Cookie"), " "), "language") {
			t.Error("a platform chose")
		}
	})
}

// writesOn: what somebody objects outlasts the language also when nothing else is shown any more.
func (f *flowing) writesOn(t *testing.T) {
	b := f.as(t, "laptop")
	page := b.shows("GET", f.origin+f.notice(), nil, http.StatusOK)
	f.pass(freshFor)
	res, page := b.switched(page, "cy", url.Values{"text": {"I did not."}})
	if res.StatusCode != http.StatusOK || !strings.Contains(page, ">I did not.</textarea>") || !strings.Contains(page, `<html lang="cy">`) || strings.Contains(page, "Northtown Court") {
		t.Errorf("%s: %s", res.Status, page)
	}
	if res, page = b.switched(page, "en", nil); res.StatusCode != http.StatusOK || !strings.Contains(page, "<h1>Your objection</h1>") {
		t.Errorf("%s: %s", res.Status, page)
	}
}

// TestEnterIsNoSwitch: in Chromium, Enter in a field presses the button of the form, and the
// switch keeps what was typed; also where passkeys' script listens.
func TestEnterIsNoSwitch(t *testing.T) {
	s := newServiceOn(t, "localhost", func(_ *testing.T, c *Config) { c.Providers, c.Writes = c.Providers[:1], true })
	b := pagetest.Open(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.AddAuthenticator()
	must(err)
	must(b.Open(s.origin, "Prove my identity"))
	must(b.Press("Cymraeg", "Siaradwch"))
	must(b.Type("device", "ffôn"))
	must(b.Press("English", "Speak under a pen name"))
	must(b.Has("device", "ffôn"))
	must(b.Type("device", "\r"))
	must(b.Shows("Jo Hartley"))
	must(b.Press("Jo Hartley", "Check what was sealed"))
	must(b.Press("Go on", "My pen names"))
	must(b.Shows("ffôn"))
	must(b.Open(s.origin+addressPath, "E-mail address"))
	must(b.Type("address", "jo@example.org\r"))
	must(b.Shows("A code is on its way"))
	must(b.Open(s.origin+passkeysPath, "Add a passkey"))
	must(b.Type("word", "my key"))
	must(b.Press("Cymraeg", "Fy allweddi mynediad"))
	must(b.Has("word", "my key"))
	must(b.Type("word", "\r"))
	must(b.Shows("my key"))
}
