package world

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/token"
)

// Whoever presses a button twice comes back with an answer that was taken: there is a way on.
func TestAnAnswerThatWasTakenLeadsOn(t *testing.T) {
	p := &Platform{ID: "square", Name: "Square", sessions: map[string]*token.Token{"x": {}}}
	ask := func(cookie string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/callback?state=x", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		return w
	}
	if w := ask("square-state=x"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "pressed twice") || !strings.Contains(w.Body.String(), `action="/login"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask("square-state=x; square=x"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
