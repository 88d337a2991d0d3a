package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

// answer is what a raw request got.
type answer struct {
	*http.Response
	body string
}

// send makes one request without following redirects.
func send(t *testing.T, method, address, contentType, body string, edit ...func(*http.Request)) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, e := range edit {
		e(req)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res, string(b)}
}

// code returns the code of a problem document, or fails.
func (a answer) code(t *testing.T) string {
	t.Helper()
	var p struct {
		Type, Title, Code string
		Status            int
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Code == "" || p.Title == "" || p.Status != a.StatusCode {
		t.Fatalf("not a problem document: %d %q", a.StatusCode, a.body)
	}
	return p.Code
}

// TestBadRequests: every endpoint answers bad input with a problem document
// that has a code and says how to mend it, and nothing is stored.
func TestBadRequests(t *testing.T) {
	tb := startForTest(t)
	warrants := tb.Origin + "/v1/warrants"
	const j = "application/json"
	for _, c := range []struct {
		name, method, path, contentType, body string
		status                                int
		code                                  string
	}{
		{"H01 undeclared method", "DELETE", "/v1/warrants", "", "", 405, "server.method_not_allowed"},
		{"H01 TRACE", "TRACE", "/", "", "", 405, "server.method_not_allowed"},
		{"H02 no content type", "POST", "/v1/warrants", "", `{}`, 415, "server.unsupported_media_type"},
		{"H02 form instead of JSON", "POST", "/v1/warrants", "application/x-www-form-urlencoded", `{}`, 415, "server.unsupported_media_type"},
		{"H03 body over the limit", "POST", "/v1/warrants", j, `{"warrant":"` + strings.Repeat("a", 17<<20) + `"}`, 413, "server.body_too_large"},
		{"H04 not JSON", "POST", "/v1/warrants", j, `{"warrant":`, 400, "server.malformed_body"},
		{"H04 unknown field", "POST", "/v1/warrants", j, `{"warrant":"a","evidence":[],"admin":true}`, 400, "server.malformed_body"},
		{"H04 repeated field", "POST", "/v1/warrants", j, `{"warrant":"a","warrant":"b","evidence":[]}`, 400, "server.malformed_body"},
		{"H04 trailing bytes", "POST", "/v1/warrants", j, `{"warrant":"a","evidence":[]}{}`, 400, "server.malformed_body"},
		{"H04 deep nesting", "POST", "/v1/warrants", j, strings.Repeat("[", 10000), 400, "server.malformed_body"},
		{"H04 array", "POST", "/v1/warrants", j, `[]`, 400, "server.malformed_body"},
		{"H04 invalid UTF-8", "POST", "/v1/warrants", j, "{\"warrant\":\"\xff\",\"evidence\":[]}", 400, "server.malformed_body"},
		{"L01 unsigned", "POST", "/v1/warrants", j, `{"warrant":"please","evidence":[]}`, 422, "warrant.unsigned"},
		{"no such case", "GET", "/v1/warrants/aaaaaaaaaaaaaaaaaaaaaaaaaa", "", "", 404, "warrant.no_case"},
		{"D11 NUL in a case id", "GET", "/v1/warrants/a%00b", "", "", 400, "database.text"},
		{"D11 bad UTF-8 in a case id", "GET", "/v1/warrants/%ff", "", "", 404, "warrant.no_case"},
		{"D01 SQL in a case id", "GET", "/v1/warrants/" + url.PathEscape("' OR 1=1 --"), "", "", 404, "warrant.no_case"},
		{"no such package", "GET", "/v1/warrants/none/package", "", "", 404, "warrant.no_case"},
		{"objections of no case", "GET", "/v1/warrants/none/objections", "", "", 404, "warrant.no_case"},
		{"D11 NUL in a case id, objections", "GET", "/v1/warrants/a%00b/objections", "", "", 400, "database.text"},
		{"no such code", "POST", "/v1/notices", j, `{"code":"aaaaaa-bbbbbb"}`, 404, "notice.unknown"},
		{"D01 SQL in a code", "POST", "/v1/notices", j, `{"code":"' OR 1=1 --"}`, 404, "notice.unknown"},
		{"H02 a code in a form", "POST", "/v1/notices", "application/x-www-form-urlencoded", "code=a", 415, "server.unsupported_media_type"},
		{"H03 a code over the limit", "POST", "/v1/notices", j, `{"code":"` + strings.Repeat("a", 2<<10) + `"}`, 413, "server.body_too_large"},
		{"H03 an objection over the limit", "POST", "/v1/objections", j, `{"code":"a","sealed":"` + strings.Repeat("a", 200<<10) + `"}`, 413, "server.body_too_large"},
		{"H04 an unknown field of an objection", "POST", "/v1/objections", j, `{"code":"a","sealed":"","case":"b"}`, 400, "server.malformed_body"},
		{"an objection without words", "POST", "/v1/objections", j, `{"code":"a","sealed":""}`, 400, "notice.objection_text"},
		{"an objection without a code", "POST", "/v1/objections", j, `{"code":"","sealed":"YQ=="}`, 404, "notice.unknown"},
		{"custodian without proof", "GET", "/v1/cases", "", "", 401, "custodian.unknown"},
		{"custodian without proof, one case", "GET", "/v1/cases/none", "", "", 401, "custodian.unknown"},
		{"custodian without proof, decision", "POST", "/v1/cases/none/decisions", j, `{"decision":"x"}`, 401, "custodian.unknown"},
		{"not signed in", "GET", "/me", "", "", 401, "session.signed_out"},
		{"R12 callback without a flow", "GET", "/enrol/callback/sandbox?code=x&state=y", "", "", 400, "proofing_failed.bad_state"},
		{"H13 encoded dots", "GET", "/log/%2e%2e/v1/bundle", "", "", 404, ""},
		{"H13 double slash", "GET", "//v1//bundle", "", "", 404, ""},
		{"H13 backslash", "GET", `/log/..%5cv1`, "", "", 404, ""},
		{"H25 no profiler", "GET", "/debug/pprof/", "", "", 404, "server.no_such_page"},
		{"no such page", "GET", "/nowhere", "", "", 404, "server.no_such_page"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := send(t, c.method, tb.Origin+c.path, c.contentType, c.body)
			if a.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %s", a.StatusCode, c.status, a.body)
			}
			if c.code != "" && a.code(t) != c.code {
				t.Fatalf("code %s, want %s", a.code(t), c.code)
			}
			if strings.Contains(a.body, "SQLSTATE") || strings.Contains(a.body, "goroutine") || strings.Contains(a.body, "127.0.0.1") {
				t.Errorf("H17: internal text in the answer: %s", a.body)
			}
		})
	}
	// Nothing was stored: ceremony, bundle and two platforms are there from the beginning.
	said, code := tb.Escrow(t.Context(), "log", "audit", "--bundle", tb.Path("bundle.json"), "--server", tb.Origin, "--json")
	if code != 0 || !strings.Contains(said, `"size": 4`) {
		t.Errorf("bad input was stored: %s", said)
	}
	if a := send(t, "GET", warrants+"/none", "", ""); a.Header.Get("Cache-Control") != "no-store" {
		t.Error("H16: an answer about a case may be cached")
	}
}

func TestH08ForwardedForDoesNotEvadeTheLimit(t *testing.T) {
	tb := startForTest(t)
	limited := false
	for i := range 200 {
		a := send(t, "POST", tb.Origin+"/v1/warrants", "application/json", `{`, func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", "198.51.100."+string(rune('0'+i%10)))
			r.Header.Set("X-Real-Ip", "198.51.100."+string(rune('0'+i%10)))
		})
		limited = limited || a.StatusCode == http.StatusTooManyRequests
	}
	if !limited {
		t.Fatal("200 filings from one connection were not limited")
	}
}

func TestH09ForwardedHostIgnored(t *testing.T) {
	tb := startForTest(t)
	a := send(t, "POST", tb.Origin+"/enrol", "application/x-www-form-urlencoded", "provider=sandbox", func(r *http.Request) {
		r.Header.Set("X-Forwarded-Host", "evil.example")
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("Forwarded", "host=evil.example;proto=https")
	})
	if a.StatusCode != http.StatusSeeOther || strings.Contains(a.Header.Get("Location"), "evil.example") {
		t.Fatalf("%d %s", a.StatusCode, a.Header.Get("Location"))
	}
}

func TestH11CrossSitePostRefused(t *testing.T) {
	tb := startForTest(t)
	for name, edit := range map[string]func(*http.Request){
		"Sec-Fetch-Site": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"Origin":         func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"null origin":    func(r *http.Request) { r.Header.Set("Origin", "null") },
	} {
		for _, path := range []string{"/enrol", "/sign-out", "/authorize/x", "/v1/warrants"} {
			a := send(t, "POST", tb.Origin+path, "application/x-www-form-urlencoded", "", edit)
			if a.StatusCode != http.StatusForbidden || a.code(t) != "server.cross_site" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s with %s: %d %s", path, name, a.StatusCode, a.body)
			}
		}
		// A platform's page may post what it could also link to. It is a question
		// to the person, never their answer.
		request := url.Values{
			"client_id": {tb.Town.ID}, "redirect_uri": {tb.Town.Origin + "/callback"}, "response_type": {"code"}, "scope": {"openid"},
			"code_challenge": {strings.Repeat("A", 43)}, "code_challenge_method": {"S256"}, "decision": {"allow"},
		}
		posted := send(t, "POST", tb.Origin+"/authorize", "application/x-www-form-urlencoded", request.Encode(), edit)
		if to := posted.Header.Get("Location"); posted.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/authorize/") {
			t.Fatalf("an authorization request with %s: %d %s", name, posted.StatusCode, posted.body)
		}
		a := send(t, "GET", tb.Origin+posted.Header.Get("Location"), "", "", edit)
		if a.StatusCode != http.StatusOK || !strings.Contains(a.body, "Prove my identity") {
			t.Errorf("an authorization request with %s: %d %s", name, a.StatusCode, a.body)
		}
	}
}

// TestH10FormsLeadToTheIdentityProvider: the policy of the pages lets the browser
// go where the button leads, and to no platform but the one that asks.
func TestH10FormsLeadToTheIdentityProvider(t *testing.T) {
	tb := startForTest(t)
	b := world.NewBrowser()
	if err := b.Open(t.Context(), tb.Town.Origin); err != nil {
		t.Fatal(err)
	}
	if err := b.Press(t.Context(), "Sign in with Penname", nil); err != nil {
		t.Fatal(err)
	}
	for path, mediaType := range map[string]string{"/style.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml"} {
		if a := send(t, "GET", tb.Origin+path, "", ""); a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != mediaType {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.Header.Get("Content-Type"))
		}
	}
	// N10: the identity provider learns from no referrer where somebody signs in.
	if got := send(t, "GET", b.Page.URL.String(), "", "").Header.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("the page of a sign-in has the referrer policy %q", got)
	}
	policy := func(address string) string {
		_, targets, _ := strings.Cut(send(t, "GET", address, "", "").Header.Get("Content-Security-Policy"), "form-action ")
		return targets
	}
	if got, want := strings.Fields(policy(tb.Origin)), []string{"'self'", tb.Identity, tb.SecondIdentity}; !sameElements(got, want) {
		t.Errorf("the first page: %s, want %s", got, want)
	}
	got := policy(b.Page.URL.String())
	if !strings.Contains(got, tb.Identity) || !strings.Contains(got, tb.Town.Origin) || strings.Contains(got, tb.School.Origin) {
		t.Errorf("the page of a sign-in: %s", got)
	}
}

func sameElements(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestH14NoOpenRedirect: after the proof of identity a person returns to a
// sign-in that waits, or to their own page, and nowhere else.
func TestH14NoOpenRedirect(t *testing.T) {
	tb := startForTest(t)
	for _, to := range []string{"https://evil.example/", "//evil.example", "/authorize/../me", "/authorize/x\r\nLocation: https://evil.example", `/\evil.example`} {
		b := world.NewBrowser()
		if err := b.Open(t.Context(), tb.Origin); err != nil {
			t.Fatal(err)
		}
		if err := b.Press(t.Context(), "Prove my identity", url.Values{"interaction": {to}}); err != nil {
			t.Fatal(err)
		}
		if err := b.Press(t.Context(), "Jo Hartley", nil); err != nil {
			t.Fatal(err)
		}
		if err := b.GoOn(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
		if got := b.Page.URL; got.Path != "/me" || !strings.HasPrefix(tb.Origin, "http://"+got.Host) {
			t.Errorf("%q led to %s", to, got)
		}
	}
}

// TestR13R17CallbackBelongsToOneBrowserOnce: another browser cannot use a
// callback, and the browser that can, can once.
func TestR13R17CallbackBelongsToOneBrowserOnce(t *testing.T) {
	tb := startForTest(t)
	b := world.NewBrowser()
	var callback *url.URL
	b.Client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == person.CallbackPath("sandbox") {
			callback = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}
	if err := b.Open(t.Context(), tb.Origin); err != nil {
		t.Fatal(err)
	}
	if err := b.Press(t.Context(), "Prove my identity", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Press(t.Context(), "Jo Hartley", nil); err != nil {
		t.Fatal(err)
	}
	if callback == nil {
		t.Fatal("no callback")
	}
	// A link to a made-up callback, which the browser follows with its cookies,
	// does not end the sign-in that waits.
	forged := *callback
	forged.RawQuery = "code=x&state=" + strings.Repeat("x", 43)
	if err := b.Open(t.Context(), forged.String()); err != nil {
		t.Fatal(err)
	}
	if err := b.Shows(http.StatusBadRequest, "proofing_failed.bad_state"); err != nil {
		t.Fatal(err)
	}
	stranger := world.NewBrowser()
	if err := stranger.Open(t.Context(), callback.String()); err != nil {
		t.Fatal(err)
	}
	if err := stranger.Shows(http.StatusBadRequest, "proofing_failed.bad_state"); err != nil {
		t.Fatal(err) // login CSRF (ATTACKS R13)
	}
	cookies := b.Client.Jar.Cookies(callback)
	replay := func() int {
		a := send(t, "GET", callback.String(), "", "", func(r *http.Request) {
			for _, c := range cookies {
				r.AddCookie(c)
			}
		})
		return a.StatusCode
	}
	results := make(chan int, 8)
	for range cap(results) {
		go func() { results <- replay() }()
	}
	ok := 0
	for range cap(results) {
		if <-results == http.StatusOK { // what was sealed
			ok++
		}
	}
	if ok != 1 {
		t.Fatalf("%d of %d parallel callbacks succeeded, want 1", ok, cap(results))
	}
	if got := replay(); got != http.StatusConflict {
		t.Fatalf("a callback used again: %d", got)
	}
}

func TestR18CallbackAfterTenMinutes(t *testing.T) {
	tb := startForTest(t)
	b := world.NewBrowser()
	if err := b.Open(t.Context(), tb.Origin); err != nil {
		t.Fatal(err)
	}
	if err := b.Press(t.Context(), "Prove my identity", nil); err != nil {
		t.Fatal(err)
	}
	tb.Clock.Advance(flowLifeForTest)
	if err := b.Press(t.Context(), "Jo Hartley", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Shows(http.StatusBadRequest, "proofing_failed.expired"); err != nil {
		t.Fatal(err)
	}
}

// TestH12CookiesAreSealed: a changed cookie is nobody's, and cookies of one kind
// are not taken for another.
func TestH12CookiesAreSealed(t *testing.T) {
	tb := startForTest(t)
	b := world.NewBrowser()
	if err := b.Enrol(t.Context(), tb.Origin, "Jo Hartley"); err != nil {
		t.Fatal(err)
	}
	me, err := url.Parse(tb.Origin + "/me")
	if err != nil {
		t.Fatal(err)
	}
	var cookie *http.Cookie
	for _, c := range b.Client.Jar.Cookies(me) {
		if strings.HasSuffix(c.Name, "session") {
			cookie = c
		}
	}
	if cookie == nil {
		t.Fatal("no session cookie")
	}
	get := func(c *http.Cookie) int {
		return send(t, "GET", me.String(), "", "", func(r *http.Request) { r.AddCookie(c) }).StatusCode
	}
	if got := get(cookie); got != http.StatusOK {
		t.Fatalf("the untouched cookie: %d", got)
	}
	for i := range len(cookie.Value) {
		changed := []byte(cookie.Value)
		changed[i] ^= 1
		if got := get(&http.Cookie{Name: cookie.Name, Value: string(changed)}); got != http.StatusUnauthorized {
			t.Fatalf("byte %d changed: %d", i, got)
		}
	}
	flowName := strings.TrimSuffix(cookie.Name, "session") + "flow"
	a := send(t, "GET", tb.Origin+"/enrol/callback/sandbox?code=x&state=y", "", "", func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: flowName, Value: cookie.Value})
	})
	if a.StatusCode != http.StatusBadRequest {
		t.Fatalf("a session cookie passed as a flow: %d", a.StatusCode)
	}
	tb.Clock.Advance(sessionLifeForTest)
	if got := get(cookie); got != http.StatusUnauthorized {
		t.Fatalf("after its half hour: %d", got)
	}
}

// TestCustodianRequests: a proof is for one request, by a custodian's key.
func TestCustodianRequests(t *testing.T) {
	tb := startForTest(t)
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := token.SignDPoP(key, "GET", tb.Origin+"/v1/cases", "", "", tb.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := send(t, "GET", tb.Origin+"/v1/cases", "", "", func(r *http.Request) { r.Header.Set("DPoP", stranger) })
	if a.StatusCode != http.StatusUnauthorized || a.code(t) != "custodian.unknown" {
		t.Errorf("a stranger's key: %d %s", a.StatusCode, a.body)
	}
	for name, proof := range map[string]string{"none": "", "garbage": "x.y.z", "alg none": "eyJhbGciOiJub25lIn0.e30."} {
		if a := send(t, "GET", tb.Origin+"/v1/cases", "", "", func(r *http.Request) { r.Header.Set("DPoP", proof) }); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
}

// TestH23LogLinesCannotBeForged: what a request says cannot break a log line.
func TestH23LogLinesCannotBeForged(t *testing.T) {
	logs := &syncBuffer{}
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: logs})
	if err != nil {
		t.Fatal(err)
	}
	send(t, "GET", tb.Origin+"/nowhere%0a%7B%22level%22:%22ERROR%22%7D%1b[31m", "", "", func(r *http.Request) {
		r.Header.Set("User-Agent", "forged-agent")
	})
	if err := tb.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines([]byte(logs.String())) {
		if !json.Valid(line) {
			t.Errorf("not one JSON object: %s", line)
		}
	}
	if strings.Contains(logs.String(), "\x1b") || strings.Contains(logs.String(), "forged-agent") {
		t.Error("request data reached the log")
	}
}

const (
	flowLifeForTest    = 11 * time.Minute
	sessionLifeForTest = 31 * time.Minute
)
