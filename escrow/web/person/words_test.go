package person

import (
	"context"
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
)

// L2: a page that refuses says to a person what happened, whether it was done, what to
// do and whom to ask, and no word that is meant for programs.
func TestFoundL2PagesSpeakToAPerson(t *testing.T) {
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	down := refusal.New(refusal.Unavailable, "database.unavailable", "the database gave no answer: nothing was disclosed, try again")
	rules := func() (*policy.Bundle, error) { return nil, down }
	if _, err := Mount(edge, Config{Providers: []Provider{{ID: "post", Proving: nowhere{}}}, TokenKeys: tokenKeys(t), Store: openidtest.NewMemory(), Rules: rules}); err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, body string) string {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Accept", "text/html,application/xhtml+xml")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		edge.ServeHTTP(w, r)
		return w.Body.String()
	}
	for name, c := range map[string]struct {
		page string
		says []string
	}{
		"an outage":           {ask("POST", "/enrol", ""), []string{"does not work at the moment", "You are not signed in, and nothing about you was stored", "Try again in a few minutes", "write to the operator", "database.unavailable"}},
		"nothing to delete":   {ask("POST", "/me/delete", ""), []string{"Please sign in"}},
		"a wrong address":     {ask("GET", "/nowhere", ""), []string{"There is no such page", "typing mistake"}},
		"much too much":       {ask("POST", "/authorize", strings.Repeat("a", 100<<10)), []string{"sign-in cannot go on", "tell the platform"}},
		"parameters by heaps": {ask("GET", "/?"+strings.Repeat("a=1&", 100), ""), []string{"does not understand"}},
	} {
		for _, says := range c.says {
			if !strings.Contains(c.page, says) {
				t.Errorf("%s: does not say %q: %s", name, says, c.page)
			}
		}
		for _, program := range []string{"split the targets", "That did not work", "Nothing about you was disclosed", "nothing was disclosed", "the body", "JSON"} {
			if strings.Contains(c.page, program) {
				t.Errorf("%s: says %q: %s", name, program, c.page)
			}
		}
	}
}

// The refusals that somebody at a page meets say there why.
func TestRefusalsOfPenNamesSayWhy(t *testing.T) {
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	var failure error
	edge.Handle(http.MethodPost, "/me/retire", web.Form, web.Rate{}, func(http.ResponseWriter, *http.Request) error { return failure })
	for _, e := range []*refusal.Error{issue.ErrPersonaUnknown, issue.ErrNoRoom, issue.ErrKeepsOne, errNoPenName, errWithdrawn, errNoDevice, errSignedOut, issue.ErrDeleted} {
		failure = e
		r := httptest.NewRequest("POST", "/me/retire", strings.NewReader(""))
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		edge.ServeHTTP(w, r)
		if page := html.UnescapeString(w.Body.String()); !strings.Contains(page, e.Mend[1:]) {
			t.Errorf("%s: %s", e.Code, page)
		}
	}
}

// L2: deleting with the database down says that nothing was deleted; where the answer
// was lost, that it may have been; where only the rest failed, that it was.
func TestFoundL2DeletingSaysWhatWasDone(t *testing.T) {
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	var failure error
	edge.Handle(http.MethodPost, "/me/delete", web.Form, web.Rate{}, func(http.ResponseWriter, *http.Request) error { return failure })
	edge.Undone("POST /me/delete", undone["POST /me/delete"])
	for says, err := range map[string]error{
		"Nothing was deleted":       refusal.New(refusal.Unavailable, "database.unavailable", ""),
		"It may have been done":     refusal.New(refusal.Unavailable, "database.outcome_unknown", ""),
		"Your deletion is recorded": issue.ErrRecorded.Because(errors.New("cut")),
	} {
		failure = err
		for accept, want := range map[string]string{"text/html": says, "application/json": says} {
			r := httptest.NewRequest("POST", "/me/delete", strings.NewReader(url.Values{}.Encode()))
			r.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			edge.ServeHTTP(w, r)
			if body := w.Body.String(); !strings.Contains(strings.ToLower(body), strings.ToLower(want)) || says != "Nothing was deleted" && strings.Contains(body, "Nothing was deleted") {
				t.Errorf("%s: %s", says, body)
			}
		}
	}
}

// H1: what stores something holds each sender to a rate; L5: HEAD is GET without the
// body, and answers no proof of identity.
func TestFoundH1AndL5OfPages(t *testing.T) {
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Mount(edge, Config{Providers: []Provider{{ID: "post", Proving: nowhere{}}}, TokenKeys: tokenKeys(t), Store: openidtest.NewMemory(),
		Rules: func() (*policy.Bundle, error) { return &policy.Bundle{}, nil }}); err != nil {
		t.Fatal(err)
	}
	reads := map[string]bool{"* /jwks": true, "* /.well-known/openid-configuration": true, "* /.well-known/oauth-authorization-server": true, "* /status/*": true}
	for route, rated := range edge.Rated() {
		method, path, _ := strings.Cut(route, " ")
		if stores := method == "POST" || method == "*" && !reads[route] || strings.Contains(path, "callback"); stores != rated {
			t.Errorf("%s has a rate: %v", route, rated)
		}
		if method != "GET" && !reads[route] || strings.HasSuffix(path, "*") {
			continue
		}
		path = strings.Replace(path, ":provider", "post", 1)
		get, head := httptest.NewRecorder(), httptest.NewRecorder()
		edge.ServeHTTP(get, httptest.NewRequest("GET", path, nil))
		edge.ServeHTTP(head, httptest.NewRequest("HEAD", path, nil))
		if head.Code != get.Code || head.Code == http.StatusMethodNotAllowed {
			t.Errorf("%s: HEAD is %d, GET %d", path, head.Code, get.Code)
		}
	}
}

// G2: an identity provider that answers later is refused until then, and used from
// then on.
func TestFoundG2AProviderThatAnswersLater(t *testing.T) {
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	down := error(identity.ErrTimeout)
	later := func(context.Context) (Proving, error) { return nowhere{}, down }
	s, err := newSide(edge, Config{Providers: []Provider{{ID: "post", Issuer: "https://post.example", Later: later}}, TokenKeys: tokenKeys(t), Store: openidtest.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.provider(t.Context(), "post"); !errors.Is(err, identity.ErrTimeout) {
		t.Error(err)
	}
	down = nil
	p, err := s.provider(t.Context(), "post")
	if err != nil || p.Proving == nil {
		t.Error(err)
	}
	w := httptest.NewRecorder()
	edge.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	for _, origin := range []string{"https://post.example", "https://id.example"} {
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, origin) {
			t.Errorf("forms may not lead to %s: %s", origin, policy)
		}
	}
}
