package identity

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/identity/oidcprovider"
	"github.com/penname/penname/verifier/token"
)

// startRealOP starts npm's oidc-provider and returns its issuer.
func startRealOP(t *testing.T) string { return oidcprovider.Start(t, ourRedirect, "") }

// browse goes to authURL as a browser would, answers the interaction page as
// person, and returns the parameters that the provider sends back.
func browse(t *testing.T, authURL, person string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), ourRedirect) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	for target := authURL; ; {
		resp, err := browser.Get(target)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if to := resp.Header.Get("Location"); strings.HasPrefix(to, ourRedirect) {
			u, err := url.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			return u.Query()
		}
		page := resp.Request.URL
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(page.Path, "/interaction/") || page.RawQuery != "" {
			t.Fatalf("the provider answered %s at %s: %s", resp.Status, page.Path, body)
		}
		page.RawQuery = url.Values{"person": {person}}.Encode()
		target = page.String()
	}
}

// The relying party against an implementation that shares no line with it: the
// lying provider of the other tests could share our mistakes.
func TestRealProvider(t *testing.T) {
	issuer := startRealOP(t)
	party := func(t *testing.T, client string, edit ...func(*Provider)) *RelyingParty {
		t.Helper()
		p := Provider{Issuer: issuer, ClientID: client, ClientSecret: oidcprovider.Secret, RedirectURL: ourRedirect,
			Scopes: []string{"profile", "address", "email"}, ACRValues: []string{ourACR}, AMRValues: []string{"mfa"}, MaxAge: time.Hour, AllowLoopback: true}
		for _, e := range edit {
			e(&p)
		}
		rp, err := NewRelyingParty(t.Context(), p, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(rp.Close)
		return rp
	}
	for _, client := range []string{"penname-RS256", "penname-PS256", "penname-ES256", "penname-EdDSA"} {
		t.Run(client, func(t *testing.T) {
			rp := party(t, client)
			f, authURL := rp.Begin()
			q := browse(t, authURL, "alice")
			if q.Get("iss") != issuer {
				t.Error("the provider did not send iss")
			}
			id, err := rp.Finish(t.Context(), f, q)
			accepted(t, id, err)
			if id.Address.Reveal() != "1 High Street\nAnytown" || id.Email.Reveal() != "alice@mail.example" || id.Birthdate.Reveal() != "1980-02-29" || id.ACR != ourACR {
				t.Error("fields are missing")
			}
			// The forbidden twin: the same answer again.
			id, err = rp.Finish(t.Context(), f, q)
			refused(t, id, err, ErrPKCEFailed)
		})
	}
	const client = "penname-ES256"
	t.Run("claims", func(t *testing.T) {
		rp := party(t, client, func(p *Provider) {
			p.Claims = ClaimSources{Ages: true, Country: "employer.country", Profession: "profession", Organisation: "employer.name"}
		})
		f, authURL := rp.Begin()
		id, err := rp.Finish(t.Context(), f, browse(t, authURL, "alice"))
		accepted(t, id, err)
		if id.Claims != (Claims{"true", "true", "FR", "Teacher", "Large School"}) {
			t.Errorf("known: %v", id.Claims.Known().Names())
		}
	})
	t.Run("code of another flow", func(t *testing.T) {
		rp := party(t, client)
		_, victims := rp.Begin()
		stolen := browse(t, victims, "alice")
		mine, authURL := rp.Begin()
		q := browse(t, authURL, "bert")
		q.Set("code", stolen.Get("code"))
		id, err := rp.Finish(t.Context(), mine, q)
		refused(t, id, err, ErrPKCEFailed)
	})
	t.Run("insufficient assurance", func(t *testing.T) {
		rp := party(t, client)
		f, authURL := rp.Begin()
		id, err := rp.Finish(t.Context(), f, browse(t, authURL, "bert"))
		refused(t, id, err, ErrAssurance)
	})
	t.Run("declined", func(t *testing.T) {
		rp := party(t, client)
		f, authURL := rp.Begin()
		id, err := rp.Finish(t.Context(), f, browse(t, authURL, "nobody"))
		refused(t, id, err, ErrDeclined)
	})
	t.Run("wrong secret", func(t *testing.T) {
		rp := party(t, client, func(p *Provider) { p.ClientSecret = "wrong" })
		f, authURL := rp.Begin()
		id, err := rp.Finish(t.Context(), f, browse(t, authURL, "alice"))
		refused(t, id, err, ErrUnavailable)
	})
	t.Run("only the name", func(t *testing.T) {
		rp := party(t, client, func(p *Provider) { p.Scopes = nil })
		f, authURL := rp.Begin()
		id, err := rp.Finish(t.Context(), f, browse(t, authURL, "alice"))
		accepted(t, id, err)
		if len(id.Fields()) != 2 {
			t.Error("more than name and birthdate was kept")
		}
	})
}

// TestR14TwoRealProviders: people come by either, and an answer of one is never
// taken for the other's, whichever of the two is sent it.
func TestR14TwoRealProviders(t *testing.T) {
	var parties [2]*RelyingParty
	used := token.NewMemoryReplayGuard(100, time.Now)
	for i := range parties {
		var err error
		parties[i], err = NewRelyingParty(t.Context(), Provider{Issuer: startRealOP(t), ClientID: "penname-ES256", ClientSecret: oidcprovider.Secret,
			RedirectURL: ourRedirect, ACRValues: []string{ourACR}, SingleUse: used, AllowLoopback: true}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(parties[i].Close)
	}
	for i, mine := range parties {
		other := parties[1-i]
		begun, authURL := mine.Begin()
		answer := browse(t, authURL, "alice")
		_, otherURL := other.Begin()
		foreign := browse(t, otherURL, "alice")
		foreign.Set("state", begun.State) // what an attacker can do who runs the other provider
		id, err := mine.Finish(t.Context(), begun, foreign)
		refused(t, id, err, ErrMixup)
		id, err = other.Finish(t.Context(), begun, answer)
		refused(t, id, err, ErrMixup)
		id, err = mine.Finish(t.Context(), begun, answer)
		accepted(t, id, err)
		id, err = mine.Finish(t.Context(), begun, answer)
		refused(t, id, err, ErrUsed)
	}
}
