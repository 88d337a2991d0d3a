package deploy_test

import (
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/court"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/escrow/web/record"
	"github.com/penname/penname/verifier/document"
)

const issuing, disclosing = "issuing", "disclosing"

// routes are what each side serves, "GET /jwks" or, with every method, "* /token".
func routes(t *testing.T) map[string][]string {
	t.Helper()
	edge := func() *web.Server {
		e, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	every, people, courts := edge(), edge(), edge()
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := person.Mount(people, person.Config{TokenKeys: []openid.Key{{JWK: key}},
		Providers: []person.Provider{{ID: "national", Issuer: "https://identity.example", ACRs: []string{"high"}}}}); err != nil {
		t.Fatal(err)
	}
	court.Mount(courts, court.Config{Registrar: &disclose.Registrar{Rules: &disclose.Rules{}}, Board: &disclose.Board{}})
	record.Mount(courts, nil)
	own := func(e *web.Server) (all []string) {
		for route := range e.Limits() {
			if _, shared := every.Limits()[route]; !shared {
				all = append(all, route)
			}
		}
		slices.Sort(all)
		return all
	}
	return map[string][]string{issuing: own(people), disclosing: own(courts)}
}

// example is an address of a route.
func example(route string) (method, path string) {
	method, path, _ = strings.Cut(route, " ")
	path = regexp.MustCompile(`:[a-z]+|\*$`).ReplaceAllString(path, "x")
	if method == "*" {
		method = http.MethodGet
	}
	return method, path
}

// TestFoundN1EachPathHasItsSide: the handbook, haproxy's file and nginx's carry each path to the side that
// serves it, as the sides themselves have it.
func TestFoundN1EachPathHasItsSide(t *testing.T) {
	// Which prefixes go to the disclosing side; all else goes to the issuing one.
	for file, form := range map[string]struct{ whole, prefix string }{
		"README.md":           {`(?m)^\| (.*) and below \| disclosing \|$`, "`(/[^`]*)`"},
		"haproxy/haproxy.cfg": {`(?m)^\s*acl disclosing path_beg (.*)$`, `(/\S*)`},
		"nginx/nginx.conf":    {`(?s)(location.*)`, `location (\S+) \{\s+proxy_ssl_name two[^}]+https://disclosing;`},
	} {
		found := regexp.MustCompile(form.whole).FindStringSubmatch(string(read(t, file)))
		if found == nil {
			t.Errorf("%s: no paths of the disclosing side", file)
			continue
		}
		var prefixes []string
		for _, m := range regexp.MustCompile(form.prefix).FindAllStringSubmatch(found[1], -1) {
			prefixes = append(prefixes, m[1])
		}
		for side, all := range routes(t) {
			if len(all) < 8 {
				t.Errorf("the %s side has %d routes only", side, len(all))
			}
			for _, route := range all {
				_, path := example(route)
				toCourts := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(path, p) })
				if toCourts != (side == disclosing) {
					t.Errorf("%s does not carry %s to the %s side", file, route, side)
				}
			}
		}
	}
}

// pathsLeadToSides asks for every route through the proxy that runs. A side that does not
// have the route would say so.
func pathsLeadToSides(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: http.DefaultTransport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for side, all := range routes(t) {
		for _, route := range all {
			method, path := example(route)
			req, err := http.NewRequest(method, "https://penname.example"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-For", "not an address") // the proxy writes its own
			req.Header.Set("Forwarded", "for=unknown")
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode == http.StatusMethodNotAllowed && strings.HasPrefix(route, "*") {
				continue // the side knows it
			}
			for _, wrong := range []string{"server.no_such_page", "server.untrusted_proxy", "server.malformed_forwarded"} {
				if strings.Contains(string(body), wrong) || res.StatusCode >= 500 {
					t.Errorf("%s of the %s side, through the proxy: %s %s", route, side, res.Status, body)
				}
			}
		}
	}
	// What a side takes, the proxy does: a filing of 15 MiB reaches it, and is refused there.
	res, err := client.Post("https://penname.example/v1/warrants", "application/json", strings.NewReader(strings.Repeat(" ", 15<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), "urn:penname:problem:") {
		t.Errorf("a filing of 15 MiB: %s %s %v", res.Status, body, err)
	}
}
