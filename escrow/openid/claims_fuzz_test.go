package openid_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
)

// A platform asks for exactly the claims that stand in its scope and in its registration,
// whatever else it sends: the claims parameter (OpenID Connect Core, 5.5) asks for none.
func FuzzClaimsRequest(f *testing.F) {
	r := newRig(f)
	some := openid.Platform{ID: "some", Name: "Some", RedirectURIs: []string{"https://some.example/cb"}, SecretHashes: r.social.SecretHashes, Claims: []string{"age_over_18", "country"}}
	registered, err := openid.Fixed(r.square, r.social, some)
	if err != nil {
		f.Fatal(err)
	}
	r.cfg.Platforms = registered
	var asked []openid.SignInRequest
	p, err := openid.New(r.cfg, r.store, func(_ http.ResponseWriter, _ *http.Request, req openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
		asked = append(asked, req)
		return openid.Subject{}, openid.Denied, nil
	})
	if err != nil {
		f.Fatal(err)
	}
	handler := p.Handler()
	f.Add("openid age_over_18", "")
	f.Add("openid "+strings.Join(identity.ClaimNames[:], " "), `{"id_token":{"verified_claims":{"claims":{"profession":{"essential":true}}}},"userinfo":{"country":null}}`)
	f.Add("openid country country\tage_over_16\x00 AGE_OVER_18 profession,organisation", `{"userinfo":{"age_over_18":{"value":true}`)
	f.Add("age_over_18", `["age_over_18"]`)
	fuzzing.Run(f, func(t *testing.T, scope, claims string) {
		for _, pl := range []openid.Platform{r.square, r.social, some} {
			asked = nil
			req := httptest.NewRequest(http.MethodGet, "/authorize?"+r.request(pl, "scope", scope, "claims", claims).Encode(), nil)
			req.Header.Set("Sec-Fetch-Dest", "document")
			handler.ServeHTTP(httptest.NewRecorder(), req)
			for _, got := range asked {
				want := identity.ClaimsNamed(strings.Fields(scope)...) & identity.ClaimsNamed(pl.Claims...)
				if got.Claims != want {
					t.Errorf("%s, %q: asks for %v, not %v", pl.ID, scope, got.Claims.Names(), want.Names())
				}
			}
			if isOpenID := strings.Contains(" "+scope+" ", " openid "); isOpenID && len(asked) != 1 {
				t.Errorf("%s, %q: asked %d times", pl.ID, scope, len(asked))
			}
		}
	})
}
