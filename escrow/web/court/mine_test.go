package court

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
	"github.com/penname/penname/verifier/proof"
)

// used remembers what was used.
type used struct {
	mu   sync.Mutex
	seen map[[32]byte]bool
}

func (u *used) Use(_ context.Context, id [32]byte, _ time.Time) (bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := !u.seen[id]
	u.seen[id] = true
	return first, nil
}

// authoritySide is the disclosing side under rules with two courts.
type authoritySide struct {
	world    *openingtest.World
	store    *disclosetest.Memory
	srv      *httptest.Server
	client   *registrar.Client
	tribunal jose.JSONWebKey
	now      time.Time
}

func newAuthoritySide(t *testing.T) *authoritySide {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	origin := "http://" + srv.Listener.Addr().String()
	tribunal, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	w := openingtest.New(t, func(b *policy.Bundle) {
		b.Registrar, b.Issuer = origin, origin
		other := b.Authorities[0]
		other.ID, other.Name, other.Keys = "tribunal", "Tribunal", slices.Clone(other.Keys)
		public, err := json.Marshal(tribunal.Public())
		if err != nil {
			t.Fatal(err)
		}
		other.Keys[0].JWK = public
		b.Authorities = append(b.Authorities, other)
	})
	store, now := new(disclosetest.Memory), openingtest.Now
	raw, err := w.Bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Install(t.Context(), raw, nil, proof.BundleLeaf(now, w.Bundle.Hash()), ""); err != nil {
		t.Fatal(err)
	}
	rules := &disclose.Rules{Bundles: store, Logged: func(context.Context, string) (*policy.Bundle, error) { return w.Bundle, nil }}
	clock := func() time.Time { return now }
	edge, err := web.New(web.Config{Origin: origin, Log: slog.New(slog.DiscardHandler), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	Mount(edge, Config{Registrar: &disclose.Registrar{Cases: store, Rules: rules, Now: clock}, Board: &disclose.Board{}, SingleUse: &used{seen: map[[32]byte]bool{}}})
	srv.Config.Handler = edge
	srv.Start()
	t.Cleanup(srv.Close)
	return &authoritySide{w, store, srv, &registrar.Client{Server: origin, HTTP: srv.Client(), Now: clock}, tribunal, now}
}

// An authority lists its own cases, with its key, a page at a time, and nobody else does.
func TestAnAuthorityListsItsCases(t *testing.T) {
	s := newAuthoritySide(t)
	w, store, srv, c, tribunal, now, origin := s.world, s.store, s.srv, s.client, s.tribunal, s.now, s.client.Server

	own := make(map[string]string) // hashes of warrants
	for i := range 60 {
		filed, leaf := disclosetest.Order(t, policy.Production, 1)
		if i%10 == 9 {
			filed.Authority = "tribunal"
		}
		filed.Bundle, filed.ApproveFrom = w.Bundle.Hash(), now.Add(-time.Duration(i)*time.Hour)
		if _, err := store.File(t.Context(), filed, leaf); err != nil {
			t.Fatal(err)
		}
		if filed.Authority == "court" {
			own[filed.ID] = fmt.Sprintf("%x", filed.WarrantHash)
		}
	}
	var asks string // the case in which a custodian asks something
	for asks = range own {
		break
	}
	if err := store.Say(t.Context(), disclose.Statement{Digest: [32]byte{1}, Kind: opening.Question, Custodian: "alba", Case: asks},
		func(disclose.Case, []disclose.Statement) error { return nil }); err != nil {
		t.Fatal(err)
	}
	seen, last := 0, time.Time{}
	for from, more := "", true; more; {
		page, err := c.Mine(t.Context(), w.Key("court"), "court", from, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.Cases {
			if own[one.Case] != one.Warrant || one.Next == nil || one.Next.At.Before(last) || one.Kind != policy.Production || one.Authority != "court" || (one.Waits == registrar.WaitsQuestion) != (one.Case == asks) {
				t.Errorf("%+v", one)
			}
			seen, last = seen+1, one.Next.At
		}
		from, more = page.Next, page.Next != ""
	}
	if seen != len(own) || seen != 54 {
		t.Errorf("%d of %d cases", seen, len(own))
	}
	if page, err := c.Mine(t.Context(), tribunal, "tribunal", "", nil); err != nil || len(page.Cases) != 6 {
		t.Error(len(page.Cases), err)
	}

	for name, ask := range map[string]func() error{
		"another authority's key": func() error { _, err := c.Mine(t.Context(), tribunal, "court", "", nil); return err },
		"a custodian's key":       func() error { _, err := c.Mine(t.Context(), w.Key("alba"), "court", "", nil); return err },
		"nobody's key":            func() error { _, err := c.Mine(t.Context(), w.Key("stranger"), "nobody", "", nil); return err },
		"a place that is none":    func() error { _, err := c.Mine(t.Context(), w.Key("court"), "court", "soon", nil); return err },
		"for another registrar": func() error {
			return inquire(t, srv, w, policy.Inquiry{At: now, Audience: "https://other.example", Authority: "court"})
		},
		"two minutes old": func() error {
			return inquire(t, srv, w, policy.Inquiry{At: now.Add(-10 * time.Minute), Audience: origin, Authority: "court"})
		},
		"of tomorrow": func() error {
			return inquire(t, srv, w, policy.Inquiry{At: now.AddDate(0, 0, 1), Audience: origin, Authority: "court"})
		},
		"about one case": func() error {
			return inquire(t, srv, w, policy.Inquiry{At: now, Audience: origin, Authority: "court", Case: "a"})
		},
		"the same one once more": func() error {
			return errorsOf(inquire(t, srv, w, policy.Inquiry{At: now, Audience: origin, Authority: "court", ID: "x"}), inquire(t, srv, w, policy.Inquiry{At: now, Audience: origin, Authority: "court", ID: "x"}))
		},
	} {
		if err := ask(); code(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// errorsOf is the second error where the first one is none.
func errorsOf(first, second error) error {
	if first != nil {
		return nil
	}
	return second
}

// inquire sends an inquiry that the court signed.
func inquire(t *testing.T, srv *httptest.Server, w *openingtest.World, q policy.Inquiry) error {
	t.Helper()
	signed, err := policy.SignInquiry(w.Key("court"), q)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(registrar.Inquiry{Inquiry: signed})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+registrar.PathMine, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	said := &registrar.Problem{}
	if err := json.NewDecoder(res.Body).Decode(said); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode < 400 {
		return nil
	}
	return said
}
