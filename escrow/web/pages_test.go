package web

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

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

// TestFieldsHaveAnEdge: what shows where a field is stands out from the page (WCAG 2.2, 1.4.11:
// 3:1). It is of a colour that TestContrast holds to more.
func TestFieldsHaveAnEdge(t *testing.T) {
	css, err := pageFiles.ReadFile("pages/style.css")
	if err != nil {
		t.Fatal(err)
	}
	edge := regexp.MustCompile(`input, textarea \{[^}]*border: 2px solid var\(--(hint|ink|accent)\)`)
	if !edge.Match(css) {
		t.Error("a field's edge is too pale")
	}
}

// A page's forms lead to the identity provider and to the one platform it is
// about: neither are others named, nor is an app locked out.
func TestH10FormsLeadOnlyWhereTheyMust(t *testing.T) {
	for want, uris := range map[string][]string{
		"'self' https://id.example":                                        nil,
		"'self' https: https://id.example":                                 {"https://square.example/a?b=1", "https://square.example:8443/c"}, // its callback may go on
		"'self' com.example.pocket: http://127.0.0.1:* https://id.example": {"com.example.pocket:/back", "http://127.0.0.1/back"},
		"'self' http: http://127.0.0.1:5000 https://id.example":            {"http://[::1]/back", "http://127.0.0.1:5000/back"},
	} {
		policy := contentPolicy([]string{"https://id.example"}, uris)
		if _, got, _ := strings.Cut(policy, "form-action "); got != want {
			t.Errorf("%v: %s", uris, got)
		}
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Error(policy)
		}
	}
}

// TestHeadersOfOWASP: what the OWASP Secure Headers Project lists stands in each answer, but
// for what it would break: Clear-Site-Data ends sessions at every host of the operator.
func TestHeadersOfOWASP(t *testing.T) {
	s, err := New(Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/style.css", "/none"} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		for name, want := range map[string]string{
			"Strict-Transport-Security": "max-age=63072000", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "frame-ancestors 'none'", "X-Permitted-Cross-Domain-Policies": "none", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy": "geolocation=()", "Cache-Control": "",
		} {
			if got := w.Header().Get(name); got == "" || !strings.Contains(got, want) {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
		if csp := w.Header().Get("Content-Security-Policy"); strings.Contains(csp, "unsafe-") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: %s", path, csp)
		}
		for _, name := range []string{"Server", "X-Powered-By"} {
			if got := w.Header().Get(name); got != "" {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
	}
}
