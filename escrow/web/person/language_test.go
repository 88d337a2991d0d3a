package person

import (
	"go/ast"
	"go/parser"
	"go/token"
	"html/template"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/pagetest"
	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/languages/languagestest"
	"github.com/penname/penname/verifier/refusal"
)

// theirTexts are all texts that a person may read, by their English, with where each is said.
func theirTexts(t *testing.T) languagestest.Texts {
	t.Helper()
	texts := languagestest.Texts{}
	texts.OfTemplates(t, templates(t)...)
	for _, name := range append(languagestest.Sources(t, ".", ".."), "../../mail/message.go", "../../openid/response.go", "../../passkey/passkey.go") {
		textsOfGo(t, name, texts)
	}
	for _, name := range languagestest.Sources(t, ".", "..", "../../issue", "../../passkey", "../../openid", "../../mail", "../../../policy", "../../../verifier/identity") {
		for _, e := range refusals(t, name) {
			if toPeople(e.Code) && (e.Kind != refusal.Unavailable || e.Code == issue.ErrRecorded.Code) { // of an outage pages say the same
				texts[e.Mend] = name + ", " + e.Code
			}
		}
	}
	return texts
}

// toNoPage are refusals of package openid that are said to a platform's program, to the
// operator at the start, and to nobody.
var toNoPage = []string{"openid.client_assertion", "openid.config", "openid.bad_platform", "openid.taken"}

// toPeople reports whether the page of a refusal, or a form, says its text to a person: see
// web.wordsOf. Of the areas that speak to people toNoPage does not.
func toPeople(code string) bool {
	area, _, _ := strings.Cut(code, ".")
	switch {
	case slices.Contains([]string{"server.cross_site", "server.untrusted_proxy", "server.malformed_forwarded", "mail.bad_address", "review.too_late"}, code):
		return true
	case slices.Contains(toNoPage, code):
		return false
	}
	return slices.Contains([]string{"session", "proofing_failed", "openid", "issue", "person", "persona", "contact", "notice", "webauthn"}, area)
}

// closed are the variables and constants whose texts are said where a page is written.
var closed = []string{"undone", "twice", "unsure", "sealedTitles", "fieldTitles", "claimTitles", "notEnrolled", "notSignedIn", "notTaken", "notKept", "tooLong", "whichName", "askOperator", "tryLater", "notKnown", "waits", "texts"}

// textsOfGo adds what a source says: to Text and HTML of a language, in the closed sets, and
// in the words of refusals.
func textsOfGo(t *testing.T, name string, texts map[string]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	titles := false
	var all func(n ast.Node)
	all = func(n ast.Node) { // the values of maps, the titles of fields, and what stands alone
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				all(n.Value)
				return false
			case *ast.CompositeLit:
				if titles && n.Type == nil && len(n.Elts) == 2 {
					all(n.Elts[1])
					return false
				}
			case *ast.CallExpr:
				return false
			}
			if text, ok := languagestest.Literal(n); ok && text != "" {
				texts[text] = name
			}
			return true
		})
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			f, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || len(n.Args) == 0 {
				return true
			}
			at := map[string]int{"Text": 0, "HTML": 0, "Undone": 1, "UndoneOf": 2, "says": 1}
			if i, says := at[f.Sel.Name]; says && i < len(n.Args) {
				if text, ok := languagestest.Literal(n.Args[i]); ok {
					texts[text] = name
				}
			}
		case *ast.ValueSpec:
			if slices.Contains(closed, n.Names[0].Name) {
				titles = n.Names[0].Name == "sealedTitles"
				for _, v := range n.Values {
					all(v)
				}
			}
		case *ast.CompositeLit:
			if id, ok := n.Type.(*ast.Ident); ok && id.Name == "words" {
				all(n)
			}
		case *ast.AssignStmt:
			if f, ok := n.Lhs[0].(*ast.SelectorExpr); ok && f.Sel.Name == "Heading" {
				all(n.Rhs[0])
			}
		}
		return true
	})
}

// kinds are those of refusals, as sources name them.
var kinds = map[string]refusal.Kind{"Invalid": refusal.Invalid, "Unauthenticated": refusal.Unauthenticated, "Denied": refusal.Denied, "NotFound": refusal.NotFound,
	"Conflict": refusal.Conflict, "NotYet": refusal.NotYet, "Unavailable": refusal.Unavailable}

// refusals are those that a source declares.
func refusals(t *testing.T, name string) (all []*refusal.Error) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 3 {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || f.Sel.Name != "New" {
			return true
		}
		kind, ok := call.Args[0].(*ast.SelectorExpr)
		if !ok || kinds[kind.Sel.Name] == 0 {
			return true
		}
		code, _ := languagestest.Literal(call.Args[1])
		if mend, ok := languagestest.Literal(call.Args[2]); ok {
			all = append(all, refusal.New(kinds[kind.Sel.Name], code, mend))
		}
		return true
	})
	return all
}

func templates(t *testing.T) []string {
	t.Helper()
	return languagestest.Templates(t, "pages/*.html", "../pages/*.html")
}

// TestNoTextOutsideOfT: what a template says to people it says by t, which knows it in each
// language.
func TestNoTextOutsideOfT(t *testing.T) {
	languagestest.OutsideOfT(t, templates(t), "Penname", "Read this page in English")
}

var (
	tags  = regexp.MustCompile(`<[^>]*>`)
	verbs = regexp.MustCompile(`%(?:\[(\d)\])?([sd])`)
)

// argumentsOf are the arguments that a text takes, as %[1]s, sorted, each once.
func argumentsOf(text string) (all []string) {
	at := 0
	for _, m := range verbs.FindAllStringSubmatch(text, -1) {
		if at++; m[1] != "" {
			at, _ = strconv.Atoi(m[1])
		}
		all = append(all, "%["+strconv.Itoa(at)+"]"+m[2])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestEveryTextIsInEveryLanguage: each text that people may read stands in the file of each
// language, with the tags and arguments of the English; and no file has one that nobody reads.
func TestEveryTextIsInEveryLanguage(t *testing.T) {
	texts := theirTexts(t)
	texts.OfRecord(t, "../../..")
	texts.OfDesk(t, "../../..")
	if len(texts) < 300 {
		t.Fatalf("%d texts: the walk is broken", len(texts))
	}
	for _, l := range languages.Ours.Each() {
		for english, where := range texts {
			if l.Tag != languages.English && l.Texts[english] == "" && l.Counts[english] == nil {
				t.Errorf("%s.json lacks %q, which %s says", l.Tag, english, where)
			}
		}
		inHand := map[string][]string{}
		for english, text := range l.Texts {
			inHand[english] = append(inHand[english], text)
		}
		for english, forms := range l.Counts {
			for _, text := range forms {
				inHand[english] = append(inHand[english], text)
			}
		}
		for english, all := range inHand {
			if texts[english] == "" {
				t.Errorf("%s.json has %q, which nobody says", l.Tag, english)
			}
			for _, text := range all {
				have, want := tags.FindAllString(text, -1), tags.FindAllString(english, -1)
				slices.Sort(have)
				slices.Sort(want)
				if !slices.Equal(have, want) {
					t.Errorf("%s.json: the tags of %q are %q", l.Tag, english, have)
				}
				have, want = argumentsOf(text), argumentsOf(english)
				if l.Counts[english] != nil { // a form may say the count in a word
					have = append(have, want...)
					slices.Sort(have)
					have = slices.Compact(have)
				}
				if !slices.Equal(have, want) {
					t.Errorf("%s.json: the arguments of %q are %q", l.Tag, english, have)
				}
			}
		}
	}
}

// names are what stands in pages in every language.
var names = regexp.MustCompile(`\b(Penname|English|Alba Ferrand|X|Town Square|New Square|Elsewhere|Old Town|Bar Association|One|Two & Co|pen1[xy]\w*|xxxxxxxxxxx|work|phone|Jo Hartley|High Street|Town|Example Trust|You consent|https://authority\.example|on paper|jo@example\.(?:org|com)|jo@|abcdefghijkl|penname\.invalid|x|openid\.\w+|[a-z_]+\.[a-z_]+|no address|that is not the code|Read this page in English)\b`)

func readOutside(t *testing.T, page string) string {
	t.Helper()
	return languagestest.ReadOutside(t, page, names)
}

// TestNoEnglishInAnotherLanguage: with each text in brackets, nothing that people read stands
// outside of them but names, commands, and what courts and operators wrote, which says that it
// is English. The language is one more file, and nothing else.
func TestNoEnglishInAnotherLanguage(t *testing.T) {
	pages, _ := everyPageIn(t, languagestest.Bracketed(t, theirTexts(t)), "eo", Provider{ID: "one", Name: "One", Proving: nowhere{}}, Provider{ID: "two", Name: "Two & Co", Proving: nowhere{}})
	for state, page := range pages {
		if rest := readOutside(t, page); rest != "" {
			t.Errorf("%s: %.80q", state, rest)
		}
		if !strings.Contains(page, `<html lang="eo">`) {
			t.Errorf("%s is in another language", state)
		}
	}
}

// TestPagesAreSmallInEachLanguage: see pagetest.MaxBytes.
func TestPagesAreSmallInEachLanguage(t *testing.T) {
	one, other := Provider{ID: "one", Name: "One", Proving: nowhere{}}, Provider{ID: "two", Name: "Two & Co", Proving: nowhere{}}
	for _, l := range languages.Ours.Each() {
		largest, of := 0, ""
		pages, _ := everyPageIn(t, languages.Ours, l.Tag, one, other)
		for state, page := range pages {
			if len(page) > pagetest.MaxBytes {
				t.Errorf("%s, %s: %d bytes", state, l.Tag, len(page))
			}
			if len(page) > largest {
				largest, of = len(page), state
			}
		}
		t.Logf("%s: at most %d bytes, of %s", l.Tag, largest, of)
	}
}

// TestThePersonsLanguage: who chose one by a link reads it from then on, also on the way to a
// platform, where the switch leads to the same sign-in and does nothing else; a platform
// chooses for nobody by what it asks for; and mails are in the language in which the person
// entered their address.
func TestThePersonsLanguage(t *testing.T) {
	s, server, send := writing(t)
	b := s.in("laptop")
	action := b.open("pocket", "state", "s1", "lang", "cy")
	if page := b.shows("GET", s.origin+action, nil, http.StatusOK, "Sign in to Pocket", `href="`+action+`?lang=cy"`, `<html lang="en">`); strings.Contains(page, "Mewngofnodi") {
		t.Error(page)
	}
	b.shows("GET", s.origin+action+"?lang=cy", nil, http.StatusOK, "Mewngofnodi i Pocket", `href="`+action+`?lang=en"`, `<html lang="cy">`)
	b.shows("GET", s.origin+"/me", nil, http.StatusOK, "Fy ffugenwau", `<html lang="cy">`, "!My pen names")
	if _, page := b.do("GET", s.origin+"/nowhere", nil, "Accept", "text/html"); !strings.Contains(page, "Nid oes tudalen o’r fath") {
		t.Error(page)
	}
	if _, problem := b.do("GET", s.origin+"/nowhere", nil); !strings.Contains(problem, "there is nothing at this address") {
		t.Errorf("programs read English: %s", problem)
	}
	res, _ := b.do("POST", s.origin+action, url.Values{"decision": {"deny"}})
	if got := result(t, res); got.Get("error") != "access_denied" || got.Get("state") != "s1" {
		t.Errorf("after the switch: %v", got)
	}

	at := s.origin + addressPath
	b.shows("POST", at, url.Values{"address": {"jo@example"}}, http.StatusUnprocessableEntity, "Nid cyfeiriad e-bost yw hwn", `value="jo@example"`, `name="lang" value="en"`)
	b.shows("POST", at, url.Values{"address": {"jo@example.org"}}, http.StatusOK, "Mae cod ar ei ffordd")
	send()
	b.shows("POST", at+"/confirm", url.Values{"code": {newest(t, server, "jo@example.org")}}, http.StatusOK, "wedi’i gadarnhau")
	b.shows("GET", s.origin+"/me?lang=en", nil, http.StatusOK, "My pen names")
	b.shows("POST", at+"/remove", url.Values{}, http.StatusOK, "Your address is removed")
	send()
	all := server.Delivered()
	if len(all) != 2 || !strings.Contains(all[0].Text, "Content-Language: cy") || !strings.Contains(all[1].Text, "Content-Language: cy") {
		t.Errorf("mails: %v", all)
	}
}

// TestAPlatformWishesALanguage: ui_locales counts above what the browser asks for, and below
// what the person chose; it lasts as long as the sign-in.
func TestAPlatformWishesALanguage(t *testing.T) {
	s := newService(t)
	b := s.browser()
	action := b.open("pocket", "state", "s1", "ui_locales", "fr cy-GB en")
	b.shows("GET", s.origin+action, nil, http.StatusOK, "Mewngofnodi i Pocket")
	b.shows("GET", s.origin, nil, http.StatusOK, `<html lang="en">`)
	b.shows("GET", s.origin+action+"?lang=en", nil, http.StatusOK, "Sign in to Pocket")
	b.shows("GET", s.origin+action, nil, http.StatusOK, "Sign in to Pocket")
	if _, doc := b.do("GET", s.origin+"/.well-known/openid-configuration", nil); !strings.Contains(doc, `"ui_locales_supported":["en","cy"]`) {
		t.Error(doc)
	}
}

// BenchmarkPage writes one's own page with a notice, in each language.
func BenchmarkPage(b *testing.B) {
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	err = edge.AddPages(pageFiles, func(l *web.Language) template.FuncMap { return functions(l, []Provider{{ID: "one"}}, false) })
	if err != nil {
		b.Fatal(err)
	}
	page := mePage{Names: map[string]string{"town-square": "Town Square"}, PenNames: []issue.PenName{{Pseudonym: "pen1x", Platform: "town-square"}}, Notices: shown(toldAll())}
	for _, l := range languages.Ours.Each() {
		b.Run(l.Tag, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/me", nil)
			r.Header.Set("Accept-Language", l.Tag)
			for b.Loop() {
				if err := edge.Render(httptest.NewRecorder(), r, http.StatusOK, "me.html", page); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestRefusalsInAnotherLanguage: the page of each refusal that there is anywhere, with what was
// not done, says nothing in English but names of the protocol.
func TestRefusalsInAnotherLanguage(t *testing.T) {
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now, Languages: languagestest.Bracketed(t, theirTexts(t))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newSide(edge, Config{Providers: []Provider{{ID: "one", Proving: nowhere{}}}, TokenKeys: tokenKeys(t), Store: openidtest.NewMemory()}); err != nil {
		t.Fatal(err)
	}
	var failure error
	edge.Handle(http.MethodPost, "/me/retire", web.Form, web.Rate{}, func(http.ResponseWriter, *http.Request) error { return failure })
	folders, err := filepath.Glob("../../*")
	if err != nil {
		t.Fatal(err)
	}
	var sourceNames []string
	for _, folder := range append(folders, "..", ".", "../../../policy", "../../../verifier/identity", "../../../verifier/token", "../../../verifier/document") {
		found, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		sourceNames = append(sourceNames, found...)
	}
	tried := 0
	for _, name := range sourceNames {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, e := range refusals(t, name) {
			if slices.Contains(toNoPage, e.Code) {
				continue
			}
			for _, text := range []string{undone["POST /me/retire"], twice["POST /me/stay"]} {
				edge.Undone("POST /me/retire", text)
				failure = e
				for _, unsaved := range []string{"", "what they wrote"} {
					if unsaved != "" {
						facts := web.WithFacts{Err: e, Unsaved: unsaved}
						if strings.HasPrefix(e.Code, "proofing_failed.") && e.Kind != refusal.Unavailable { // see issue.Held
							facts.Reference, facts.From = "abcdefghijkl", time.Now()
						}
						failure = facts
					}
					r := httptest.NewRequest("POST", "/me/retire", strings.NewReader(""))
					r.Header.Set("Accept", "text/html")
					r.Header.Set("Accept-Language", "eo")
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					w := httptest.NewRecorder()
					edge.ServeHTTP(w, r)
					if rest := readOutside(t, w.Body.String()); rest != "" {
						t.Errorf("%s: %.80q", e.Code, rest)
					}
				}
			}
			tried++
		}
	}
	if tried < 200 {
		t.Errorf("%d refusals: the walk is broken", tried)
	}
}

// said are what {{said …}} says: each from a closed set, whose texts theirTexts knows.
var saidOf = []string{"$w.Heading", "$w.What", ".Detail", ".Title", ".Wrong", ".Text", "."}

// TestWhatIsSaidIsKnown: a text that stands in Go reaches a page from a set that is known here.
func TestWhatIsSaidIsKnown(t *testing.T) {
	for _, name := range templates(t) {
		for define, tree := range languagestest.Parsed(t, name) {
			languagestest.Walk(tree.Root, func(n parse.Node) {
				c, ok := n.(*parse.CommandNode)
				if !ok {
					return
				}
				if f, ok := c.Args[0].(*parse.IdentifierNode); ok && f.Ident == "said" && !slices.Contains(saidOf, c.Args[1].String()) {
					t.Errorf("%s, %s: {{%s}}: which texts are these?", name, define, c)
				}
			})
		}
	}
	for _, name := range languagestest.Sources(t, ".") {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || f.Sel.Name != "Text" && f.Sel.Name != "HTML" {
				return true
			}
			if of, ok := f.X.(*ast.Ident); !ok || of.Name != "l" {
				return true
			}
			if _, ok := languagestest.Literal(call.Args[0]); ok {
				return true
			}
			of := ""
			ast.Inspect(call.Args[0], func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && slices.Contains(closed, id.Name) {
					of = id.Name
				}
				return true
			})
			if of == "" {
				t.Errorf("%s: a text that is not written out", name)
			}
			return true
		})
	}
}

// The page that posts an answer to the platform is a page, too.
func TestTheWayBackIsInTheirLanguage(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.shows("GET", s.origin+"/?lang=cy", nil, http.StatusOK, "Siaradwch dan ffugenw")
	action := b.open("pocket", "state", "s1", "response_mode", "form_post")
	b.shows("POST", s.origin+action, url.Values{"decision": {"deny"}}, http.StatusOK, `<html lang="cy">`, "Yn ôl i’r platfform", "<button>Parhau</button>", "access_denied")
}
