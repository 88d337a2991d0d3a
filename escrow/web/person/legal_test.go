package person

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/web"
)

// TestLegalIsHonest: the pages say what the operator told, and of the rest that they did not;
// each page leads there; security.txt has what RFC 9116 requires, and is absent where nobody
// is named.
func TestLegalIsHonest(t *testing.T) {
	s := newService(t)
	b := s.browser()
	b.shows("GET", s.origin+"/", nil, http.StatusOK, `href="/privacy"`, `href="/accessibility"`)
	b.shows("GET", s.origin+"/privacy", nil, http.StatusOK, "has not said here who they are", "has not said here on what legal ground", "has not named one here", "Scrambled marks")
	b.shows("GET", s.origin+"/accessibility", nil, http.StatusOK, "What was not tried")
	b.shows("GET", s.origin+securityPath, nil, http.StatusNotFound)

	told := newService(t, func(_ *testing.T, c *Config) {
		c.Legal = Legal{Controller: "Example Trust <1>\n1 High Street", Ground: "You consent.", Security: web.Contact{Text: "security@penname.example", Link: "mailto:security@penname.example"},
			Complaints: web.Contact{Text: "https://authority.example", Link: "https://authority.example"}}
	})
	b = told.browser()
	b.shows("GET", told.origin+"/privacy", nil, http.StatusOK, "Example Trust &lt;1&gt;\n1 High Street", "You consent.", `href="https://authority.example"`, "!has not said", "!has not named")
	text := b.shows("GET", told.origin+securityPath, nil, http.StatusOK, "Contact: mailto:security@penname.example\n", "Preferred-Languages: en, cy\n", "Canonical: "+told.origin+securityPath+"\n")
	_, expires, _ := strings.Cut(text, "Expires: ")
	expires, _, _ = strings.Cut(expires, "\n")
	if at, err := time.Parse(time.RFC3339, expires); err != nil || at.Before(told.now().AddDate(0, 1, 0)) || at.After(told.now().AddDate(1, 0, 0)) {
		t.Errorf("expires %s: %v", expires, err)
	}
	for _, l := range []Legal{{Controller: strings.Repeat("x", maxLegal+1)}, {Security: web.Contact{Text: "the night watch"}}} {
		if l.Check() == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}
