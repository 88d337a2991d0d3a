package web

import (
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/policy"
)

// everyPage renders each page in each of its states.
func everyPage(t *testing.T) map[string]string {
	t.Helper()
	p, err := newPages()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"town-square": "Town Square"}
	mine := []issue.PenName{{Pseudonym: "pen1x", Platform: "town-square"}}
	home := func(in bool) map[string]any {
		return map[string]any{"SignedIn": in, "Platforms": []Platform{{"town-square", "Town Square"}},
			"Custodians": []policy.Custodian{{Organisation: "Bar Association"}}, "Quorum": 2}
	}
	rendered := map[string]string{}
	for state, data := range map[string]any{
		"home.html": home(false), "home.html signed in": home(true), "home.html alone": map[string]any{"SignedIn": false},
		"consent.html": consentPage{Platform: "Town Square"}, "consent.html signed in": consentPage{Platform: "Town Square", SignedIn: true, Offline: true, PenName: "pen1x"},
		"me.html": mePage{Welcome: "new"}, "me.html with pen names": mePage{PenNames: mine, Names: names},
		"me.html noticed":               mePage{Welcome: "back", PenNames: mine, Names: names, Notices: []issue.Notice{{Platform: "town-square", Fields: []string{"name", "address"}}}},
		"me.html signed out everywhere": mePage{Welcome: "out", PenNames: mine, Names: names},
		"delete.html":                   nil, "deleted.html": issue.Receipt{Label: "x"},
		"refused.html": problem{Title: errNoRoute.Mend, Code: errNoRoute.Code}, "refused.html signed out": problem{Title: errSignedOut.Mend, Code: errSignedOut.Code},
		"refused.html platform": problem{Title: "x", Code: "openid.redirect_uri"},
	} {
		w := httptest.NewRecorder()
		name, _, _ := strings.Cut(state, " ")
		if err := p.render(w, 200, name, data); err != nil {
			t.Fatal(err)
		}
		rendered[state] = w.Body.String()
	}
	return rendered
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
	for state, page := range everyPage(t) {
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
			case attr(n, "style") != "" || n.Data == "script" || n.Data == "style" || attr(n, "autofocus") != "":
				bad = "forbidden here"
			case n.Data == "html" && attr(n, "lang") != "en":
				bad = "3.1.1: language"
			case (n.Data == "title" || n.Data == "button" || n.Data == "a" || n.Data == "h1" || n.Data == "h2" || n.Data == "h3") && text(n) == "":
				bad = "2.4.6, 4.1.2: without words"
			case n.Data == "svg" && attr(n, "aria-hidden") != "true":
				bad = "1.1.1: a picture that is not said in words beside it"
			case n.Data == "form" && attr(n, "method") != "post":
				bad = "H21: a form that changes something by GET"
			case n.Data == "input" && attr(n, "type") != "hidden":
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

// WCAG 2.2, 1.4.3: at least 4.5:1, in both colour schemes.
func TestContrast(t *testing.T) {
	css, err := pageFiles.ReadFile("pages/style.css")
	if err != nil {
		t.Fatal(err)
	}
	schemes := regexp.MustCompile(`:root \{([^}]*)\}`).FindAllStringSubmatch(string(css), -1)
	if len(schemes) != 2 {
		t.Fatalf("%d colour schemes", len(schemes))
	}
	for i, scheme := range schemes {
		luminance := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]+)`).FindAllStringSubmatch(scheme[1], -1) {
			hex := m[2]
			if len(hex) == 3 {
				hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
			}
			for j, weight := range []float64{0.2126, 0.7152, 0.0722} {
				v, err := strconv.ParseUint(hex[2*j:2*j+2], 16, 8)
				if err != nil {
					t.Fatal(err)
				}
				c := float64(v) / 255
				if c <= 0.04045 {
					c /= 12.92
				} else {
					c = math.Pow((c+0.055)/1.055, 2.4)
				}
				luminance[m[1]] += weight * c
			}
		}
		for _, pair := range [][2]string{
			{"ink", "paper"}, {"ink", "soft"}, {"hint", "paper"}, {"hint", "soft"}, {"accent", "paper"}, {"accent", "soft"}, {"on-accent", "accent"}, {"danger", "paper"},
		} {
			l := []float64{luminance[pair[0]], luminance[pair[1]]}
			slices.Sort(l)
			if ratio := (l[1] + 0.05) / (l[0] + 0.05); ratio < 4.5 {
				t.Errorf("scheme %d: %s on %s: %.2f:1", i, pair[0], pair[1], ratio)
			}
		}
	}
}

// A page's forms lead to the identity provider and to the one platform it is
// about: neither are others named, nor is an app locked out.
func TestH10FormsLeadOnlyWhereTheyMust(t *testing.T) {
	s := &Server{identity: "https://id.example"}
	for want, uris := range map[string][]string{
		"'self' https://id.example":                                        nil,
		"'self' https://id.example https://square.example":                 {"https://square.example/a?b=1", "https://square.example/c"},
		"'self' https://id.example https://square.example:8443":            {"https://square.example:8443/a"},
		"'self' com.example.pocket: http://127.0.0.1:* https://id.example": {"com.example.pocket:/back", "http://127.0.0.1/back"},
		"'self' http: http://127.0.0.1:5000 https://id.example":            {"http://[::1]/back", "http://127.0.0.1:5000/back"},
	} {
		policy := s.contentPolicy(uris)
		if _, got, _ := strings.Cut(policy, "form-action "); got != want {
			t.Errorf("%v: %s", uris, got)
		}
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Error(policy)
		}
	}
}

// What a cookie is where there is TLS; what it withstands is tested over HTTP, in
// cmd/escrow-sandbox.
func TestH12CookieFlags(t *testing.T) {
	s, err := newSessions([32]byte{1}, true, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(w http.ResponseWriter) error{
		"set":   func(w http.ResponseWriter) error { return s.set(w, "session", sessionLife, session{}) },
		"clear": func(w http.ResponseWriter) error { s.clear(w, "session"); return nil },
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
