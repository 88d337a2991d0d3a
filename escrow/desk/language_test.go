package desk

import (
	"context"
	"html"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/languages/languagestest"
	"github.com/penname/penname/verifier/opening"
)

// TestNoTextOutsideOfT: what a template says to people it says by t, which knows it in each language.
func TestNoTextOutsideOfT(t *testing.T) {
	languagestest.OutsideOfT(t, languagestest.Templates(t, "pages/*.html"), "aria-invalid=\"true\" aria-describedby=\"\x00-wrong\"") // attributes alone
}

// into is a desk that speaks a language, as if it had been chosen.
func (a *at) into(all *languages.All, tag string) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Languages, a.pages, a.language = all, spoken(all), all.Tagged(tag)
}

// names are what stands in pages in every language: what people, files and places are called, and
// what strangers wrote.
var names = regexp.MustCompile(`\b(?:UTC|Alba|Ferrand|alba|aldo|Aldo|Bar|Bruno|bruno|court|The Court|A <court>|TC 1|order\.jws|/kept/one|pen1\w@?\w?|Dexter Crallow|` + anID + `|\d{4}-\d\d-\d\dT?|English|https://\S+|case|U \d+|CET|Which|post|Done|objection of the person|x)\b|<img src=x>|<img[^>]*|‹[^›]*›|</?[a-z]+[^<>]*>|&?[a-z_]+\.[a-z_]+`)

// ofPages are the pages of each desk, in states in which they say much.
func ofPages(t *testing.T) map[*at][]string {
	t.Helper()
	kept := Options{Custodian: (&fake{}).custodian()}
	kept.Custodian.Queue = func(context.Context, string, bool) (Queue, error) {
		return Queue{Others: 2, Next: "1", Cases: []Waiting{
			{Case: anID, Kind: "production", Due: Say("due %s%s", "2026-12-01 10:30 UTC", Say(", %d hours left", 3)), Decided: Decided(registrar.CaseStatus{Quorum: 2, Approvals: 1, Declined: 1, Decided: 3}), Authority: "court", PenNames: 1},
			{Case: anID, Emergency: true, Due: Say("due %s%s", "2026-12-01 10:30 UTC", Say(", which is past")), Decided: Decided(registrar.CaseStatus{Quorum: 2, Approvals: 3, Decided: 3}), Says: elsewhere("newer rules stop it")}}}, nil
	}
	a := enteredBy(t, kept)
	a.unlock()
	a.post("/seat/away", url.Values{"from": {""}})
	a.post("/case/"+anID+"/ask", url.Values{"text": {""}})
	unknown := entered(t, &fake{unread: custodian.ErrOtherBundle, of: "Bruno"})
	unknown.unlock()
	locked := entered(t, &fake{})
	now := time.Now()
	b := &bureau{now: now, order: &Signed{Hash: aHash, Kind: "production", FileNumber: "TC 1", File: "order.jws"}, list: func(string) (OwnCases, error) {
		own := func(in time.Duration, what string) OwnCase {
			return OwnCase{CaseStatus: registrar.CaseStatus{Case: anID, Kind: "emergency", State: "recorded", Quorum: 2, Next: &opening.Deadline{At: now.Add(in), What: what}}, Now: []string{StepValidate}}
		}
		return OwnCases{Next: "1", Cases: []OwnCase{own(time.Hour, opening.DeadlineValidation), own(-72*time.Hour, opening.DeadlineAnswer), own(30*time.Second, opening.DeadlineHold)}}, nil
	}}
	of := bureauAt(t, b, time.Hour)
	of.post(officers+"/open", url.Values{"folder": {"/kept/one"}})
	of.post(officers+"/secrecy", url.Values{"order": {aHash}})
	of.post(officers+"/withdraw", url.Values{"order": {aHash}, "text": {"x"}})
	clerk := atClerk(t, newClerkOf())
	clerk.post("/order/"+anOrderID+"/sign", url.Values{})
	return map[*at][]string{
		a:       {"/", "/?all=1", "/rules", "/ceremony", "/witness", "/seat", "/case/" + anID, "/case/" + anID + "/nothing", "/nothing"},
		unknown: {"/", "/seat"},
		locked:  {"/"},
		of:      bureauPages[:len(bureauPages)-1],
		clerk:   {"/", "/order/" + anOrderID, "/order/" + anOrderID + "/ask/kind", "/order/" + anOrderID + "/evidence", "/order/" + anOrderID + "/sign"},
	}
}

// TestNoEnglishInAnotherLanguage: with each text in brackets, nothing that people read stands outside
// of them but names, codes, commands, and what says that it is English.
func TestNoEnglishInAnotherLanguage(t *testing.T) {
	texts := languagestest.Texts{}
	texts.OfDesk(t, "../..")
	texts.OfRecord(t, "../..") // kinds and states
	texts["Nobody who speaks this language has checked these texts yet. What counts is the English text."] = "web"
	texts["Without a word."] = "a test"
	made, tried := languagestest.Bracketed(t, texts), 0
	for a, paths := range ofPages(t) {
		a.into(made, "eo")
		for _, path := range paths {
			res, body := a.do(http.MethodGet, path, nil)
			if res.StatusCode == http.StatusSeeOther {
				continue
			}
			tried++
			if !strings.Contains(body, `<html lang="eo">`) {
				t.Errorf("%s is in another language: %.200s", path, body)
			}
			if rest := languagestest.ReadOutside(t, body, names); rest != "" {
				t.Errorf("%s: %.80q", path, rest)
			}
		}
	}
	if tried < 25 {
		t.Errorf("%d pages", tried)
	}
}

// TestLanguageIsChosen: the link at the top changes the language, also while the desk is locked, and
// nothing that was typed is lost by that; what was said of it is said in the other language.
func TestLanguageIsChosen(t *testing.T) {
	a := entered(t, &fake{})
	link := func(path, tag string) string {
		t.Helper()
		_, body := a.do(http.MethodGet, path, nil)
		m := regexp.MustCompile(`(?:<a href|<button form="typing" class="link" formaction)="([^"]+)"(?: formnovalidate)? lang="` + tag + `"`).FindStringSubmatch(body)
		if m == nil {
			t.Fatalf("%s leads to no %s: %s", path, tag, body)
		}
		return strings.TrimPrefix(html.UnescapeString(m[1]), a.prefix)
	}
	follow := func(path, tag, want string) string {
		t.Helper()
		res, _ := a.do(http.MethodGet, link(path, tag), nil)
		if to := strings.TrimPrefix(res.Header.Get("Location"), a.prefix); res.StatusCode != http.StatusSeeOther || to != path {
			t.Fatalf("%s %q", res.Status, to)
		}
		_, body := a.do(http.MethodGet, path, nil)
		has(t, body, `<html lang="`+tag+`">`, want)
		return body
	}
	follow("/seat", "cy", "Datgloi’r ddesg")
	follow("/seat", "en", "Unlock the desk")
	a.unlock()
	ask := "/case/" + anID + "/ask"
	a.do(http.MethodPost, ask, url.Values{"press": {a.newPress()}, "text": {"which post?"}})
	a.post("/seat/away", url.Values{"from": {"2026-12-30"}, "until": {""}})
	follow("/seat", "cy", `value="2026-12-30"`)
	has(t, follow("/seat", "en", `value="2026-12-30"`), "Choose the day on which you are back.", "Something is missing or contradicts itself: nothing was signed or sent")
	has(t, follow("/seat", "cy", `value="2026-12-30"`), "Dewiswch y diwrnod y byddwch yn ôl.", "Mae rhywbeth ar goll neu’n ei wrth-ddweud ei hun")
	a.mu.Lock()
	typed := a.drafts[ask].values.Get("text")
	a.mu.Unlock()
	if typed != "which post?" {
		t.Errorf("%q is kept", typed)
	}
	follow("/?all=1", "en", "Cases that wait")
}

// TestLanguageAtTheStart: the one that it was started in, else the one that the browser asks for, else
// English.
func TestLanguageAtTheStart(t *testing.T) {
	cy := languages.Ours.Tagged("cy")
	for name, c := range map[string]struct {
		start  *languages.Language
		accept string
		tag    string
	}{
		"nobody says":     {nil, "", "en"},
		"the browser":     {nil, "cy-GB, en;q=0.5", "cy"},
		"an unknown one":  {nil, "de", "en"},
		"the start":       {cy, "en", "cy"},
		"English, it was": {languages.Ours.Tagged("en"), "cy", "en"},
	} {
		a := enteredBy(t, Options{Custodian: (&fake{}).custodian(), Language: c.start})
		_, body := a.do(http.MethodGet, "/", nil, header("Accept-Language", c.accept))
		if !strings.Contains(body, `<html lang="`+c.tag+`">`) {
			t.Errorf("%s: %.200s", name, body)
		}
		file, err := a.LinkFile()
		if err != nil {
			t.Fatal(err)
		}
		in := "en"
		if c.start != nil {
			in = c.start.Tag
		}
		if content, err := os.ReadFile(file); err != nil || !strings.Contains(string(content), `<html lang="`+in+`">`) {
			t.Errorf("%s: %v %s", name, err, content)
		}
		cookie := a.cookie
		a.cookie = nil // somebody else
		res, body := a.do(http.MethodGet, "/", nil)
		if res.StatusCode != http.StatusForbidden || res.Header.Get("Content-Language") != "en" || !strings.HasPrefix(body, "This browser has not opened the desk") {
			t.Errorf("%s: %s %s %s", name, res.Status, res.Header.Get("Content-Language"), body)
		}
		if res, _ := a.do(http.MethodGet, "/language/cy?to=/", nil); res.StatusCode != http.StatusForbidden {
			t.Error(name, res.Status)
		}
		a.cookie = cookie
		if res, _ := a.do(http.MethodGet, "/language/cy?to=/", nil, header("Sec-Fetch-Site", "cross-site")); res.StatusCode != http.StatusForbidden {
			t.Error(name, res.Status)
		}
		for _, path := range []string{"/language/de?to=/", "/language/"} {
			if res, _ := a.do(http.MethodGet, path, nil); res.StatusCode != http.StatusNotFound {
				t.Error(name, path, res.Status)
			}
		}
		for _, to := range []string{"https://elsewhere.example/", "//elsewhere.example", `/\elsewhere.example`} {
			if res, _ := a.do(http.MethodGet, "/language/cy?to="+url.QueryEscape(to), nil); res.Header.Get("Location") != a.prefix+"/" {
				t.Error(to, res.Header.Get("Location"))
			}
		}
	}
}

// TestLanguageOfTheSurroundings: what a program's surroundings ask for counts if it is one of ours.
func TestLanguageOfTheSurroundings(t *testing.T) {
	for _, c := range []struct{ all, messages, lang, want string }{
		{"", "", "", ""}, {"", "", "C.UTF-8", ""}, {"", "", "cy_GB.UTF-8", "cy"}, {"", "cy", "en_GB.UTF-8", "cy"}, {"en_GB", "cy", "cy", "en"},
		{"", "", "de_DE", ""}, {"POSIX", "", "cy_GB", ""}, {"", "", "cy_GB@euro", "cy"}, {"", "", "cy@x", "cy"},
	} {
		got := LanguageOf(func(name string) string {
			return map[string]string{"LC_ALL": c.all, "LC_MESSAGES": c.messages, "LANG": c.lang}[name]
		})
		if tag := tagOf(got); tag != c.want {
			t.Errorf("%+v: %q", c, tag)
		}
	}
}

func tagOf(l *languages.Language) string {
	if l == nil {
		return ""
	}
	return l.Tag
}

// TestTextFromElsewhere: a text that no language knows is no markup, and says that it is English;
// likewise one within another.
func TestTextFromElsewhere(t *testing.T) {
	en, cy := speaker{languages.Ours.Tagged("en")}, speaker{languages.Ours.Tagged("cy")}
	plain := func(s string) string { return s }
	for _, c := range []struct {
		text   Text
		en, cy string
	}{
		{elsewhere("a <b>bold</b> one"), "a &lt;b&gt;bold&lt;/b&gt; one", `<span lang="en">a &lt;b&gt;bold&lt;/b&gt; one</span>`},
		{Say("Pen name %d: %s", 1, elsewhere("<i>")), "Pen name 1: &lt;i&gt;", `Ffugenw 1: <span lang="en">&lt;i&gt;</span>`},
		{Say("Case %s", "<i>"), "Case &lt;i&gt;", "Achos &lt;i&gt;"},
		{Say("In %s: %s", lasts(48*time.Hour), elsewhere(opening.DeadlineHold)), "In 48 hours: the hold ends", "Ymhen 48 awr: daw’r gadwraeth i ben"},
		{lasts(24 * 3 * time.Hour), "3 days", "3 diwrnod"},
		{Text{}, "", ""},
	} {
		if got := string(en.say(c.text, plain)); got != c.en {
			t.Errorf("%+v: %s", c.text, got)
		}
		if got := string(cy.say(c.text, plain)); got != c.cy {
			t.Errorf("%+v: %s", c.text, got)
		}
	}
}
