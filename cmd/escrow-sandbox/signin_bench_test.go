package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/verifier/identity/oidcprovider"
)

const (
	signingIn = 16  // people at once
	signIns   = 480 // in a round
	rounds    = 5
	node      = "node"
)

// back is where both providers lead people back to. Nobody serves it.
const back = "http://localhost:9/callback"

// BenchmarkSignIn is sign-ins of people whose identity is proved and who have a session, 16 at
// once: authorization request with PKCE, the page, the button that consents, the code, its
// redemption, and the check of the ID token. Each person goes from one platform to another and
// back. Penname has PostgreSQL and a real Vault. With PENNAME_PEERS=1 npm's oidc-provider, all in
// memory, does the same for the same generator, in turns.
//
// Beside the rate stands what the processors did for one sign-in, by process, in µs. Service and
// generator are one process: what the generator takes is what that process takes in a round of the peer.
func BenchmarkSignIn(b *testing.B) {
	var clients []world.Client
	for _, id := range []string{"one", "two"} {
		clients = append(clients, world.Client{ID: id, Name: "Platform " + id, RedirectURIs: []string{back}, IDTokenAlg: "EdDSA"})
	}
	w, err := world.Start(b.Context(), programs, world.Options{Listen: "127.0.0.1:0", Vault: true, Log: io.Discard, Progress: io.Discard, People: crowd()[:len(sandbox.People())+signingIn], PerSender: 100_000, Clients: clients})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	})
	origin, err := url.Parse(w.Origin)
	if err != nil {
		b.Fatal(err)
	}
	ours := &provider{issuer: w.Origin}
	for n := range signingIn {
		who := world.NewBrowser()
		if err := proveAs(b.Context(), w, who, int64(n)); err != nil {
			b.Fatal(err)
		}
		ours.people = append(ours.people, newPerson(who.Client.Jar.Cookies(origin)))
	}
	for _, c := range w.Clients() {
		ours.clients = append(ours.clients, oauth2.Config{ClientID: c.ID, ClientSecret: c.Secret})
	}
	ours.prepare(b)
	all := []*provider{ours}
	if os.Getenv("PENNAME_PEERS") == "1" {
		peer := &provider{issuer: oidcprovider.Peer(b, back), clients: []oauth2.Config{{ClientID: "one", ClientSecret: oidcprovider.Secret}, {ClientID: "two", ClientSecret: oidcprovider.Secret}}}
		for n := range signingIn {
			who := newPerson(nil)
			who.number = strconv.Itoa(n)
			peer.people = append(peer.people, who)
		}
		peer.prepare(b)
		all = append(all, peer)
	}
	for _, p := range all {
		p.round(b) // nobody counts this one
		p.rates, p.took = nil, nil
	}
	// What autovacuum does in the first minutes of a database.
	admin, err := pgx.Connect(b.Context(), w.Postgres.DSN)
	if err != nil {
		b.Fatal(err)
	}
	if _, err = admin.Exec(b.Context(), `VACUUM ANALYZE`); err != nil {
		b.Fatal(err)
	}
	if err = admin.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("beside oidc-provider", func(b *testing.B) { inRounds(b, all) })
}

// provider is an OpenID provider and those who use it.
type provider struct {
	issuer   string
	document struct {
		Authorize string `json:"authorization_endpoint"`
		Token     string `json:"token_endpoint"`
		Keys      string `json:"jwks_uri"`
	}
	keys    map[string]ed25519.PublicKey
	clients []oauth2.Config
	people  []*personAt

	rates []float64
	took  []map[string]float64 // µs of processor time for a sign-in, by program
}

// prepare reads what a client reads once, and signs everybody in everywhere.
func (p *provider) prepare(b testing.TB) {
	b.Helper()
	var set struct {
		Keys []struct{ Kid, Crv, X string }
	}
	if err := errors.Join(getJSON(p.issuer+"/.well-known/openid-configuration", &p.document), getJSON(p.document.Keys, &set)); err != nil {
		b.Fatal(err)
	}
	p.keys = map[string]ed25519.PublicKey{}
	for _, k := range set.Keys {
		if x, err := base64.RawURLEncoding.DecodeString(k.X); err == nil && k.Crv == "Ed25519" {
			p.keys[k.Kid] = x
		}
	}
	for i := range p.clients {
		p.clients[i].RedirectURL, p.clients[i].Scopes = back, []string{"openid"}
		p.clients[i].Endpoint = oauth2.Endpoint{AuthURL: p.document.Authorize, TokenURL: p.document.Token, AuthStyle: oauth2.AuthStyleInHeader}
	}
	for _, who := range p.people {
		for range p.clients {
			if err := p.signIn(who); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func getJSON(address string, to any) error {
	res, err := http.Get(address)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(to)
}

var formAction = regexp.MustCompile(`<form method="post" action="([^"]*)">\s*(<input name="person">)?\s*<button name="decision" value="allow">`)

// signIn signs a person in at their next client, which redeems the code and checks the ID token.
func (p *provider) signIn(who *personAt) error {
	c, verifier, state, nonce := p.clients[who.next%len(p.clients)], oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	who.next++
	at := c.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce), oauth2.SetAuthURLParam("prompt", "consent"))
	var form url.Values
	for !strings.HasPrefix(at, back) {
		res, page, err := who.do(at, "", form)
		if err != nil {
			return err
		}
		here, err := url.Parse(at)
		if err != nil {
			return err
		}
		to := res.Header.Get("Location")
		if form = nil; to == "" {
			button := formAction.FindStringSubmatch(page)
			if res.StatusCode != http.StatusOK || button == nil {
				return fmt.Errorf("%s answered %d: %.900s", here.Path, res.StatusCode, page)
			}
			if form = (url.Values{"decision": {"allow"}}); button[2] != "" {
				form.Set("person", who.number)
			}
			to = button[1]
		}
		next, err := here.Parse(to)
		if err != nil {
			return err
		}
		at = next.String()
	}
	answer, err := url.Parse(at)
	if err != nil {
		return err
	}
	if q := answer.Query(); q.Get("state") != state || q.Get("iss") != p.issuer || q.Get("code") == "" {
		return fmt.Errorf("led back with %s", answer.RawQuery)
	}
	return p.redeem(who, c, answer.Query().Get("code"), verifier, nonce)
}

func (p *provider) redeem(who *personAt, c oauth2.Config, code, verifier, nonce string) error {
	secret := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ClientID) + ":" + url.QueryEscape(c.ClientSecret)))
	_, answer, err := who.do(p.document.Token, secret, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier}})
	if err != nil {
		return err
	}
	var tokens struct {
		ID string `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(answer), &tokens); err != nil {
		return err
	}
	return p.check(tokens.ID, c.ClientID, nonce)
}

// check checks an ID token (OpenID Connect Core, 3.1.3.7).
func (p *provider) check(raw, client, nonce string) error {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return fmt.Errorf("no ID token: %.40s", raw)
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub, Aud, Nonce string
		Exp                  int64
	}
	var signature []byte
	for i, to := range []any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(text, to)
		}
		if err != nil {
			return err
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	switch key := p.keys[header.Kid]; {
	case header.Alg != "EdDSA", key == nil, !ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), signature):
		return errors.New("an ID token with another signature")
	case claims.Iss != p.issuer, claims.Aud != client, claims.Nonce != nonce, claims.Sub == "", claims.Exp < time.Now().Unix():
		return errors.New("an ID token of another sign-in")
	}
	return nil
}

// round is so many sign-ins of everybody at once.
func (p *provider) round(b *testing.B) {
	people := make(chan *personAt, len(p.people))
	for _, who := range p.people {
		people <- who
	}
	before := processors(b)
	p.rates = append(p.rates, perSecond(len(p.people), signIns, func() error {
		who := <-people
		defer func() { people <- who }()
		if err := p.signIn(who); err != nil && !b.Failed() {
			b.Error(err)
		}
		return nil
	}))
	took := map[string]float64{}
	for program, until := range processors(b) {
		took[program] = float64((until-before[program])/time.Microsecond) / signIns
	}
	p.took = append(p.took, took)
}

func processors(b *testing.B) map[string]time.Duration {
	b.Helper()
	took, err := sandbox.Processors()
	if err != nil {
		b.Fatal(err)
	}
	return took
}

// inRounds has the first provider and, in turns, the others sign people in, and reports the median
// of its rate, of the ratio to the second, and of the processor time.
func inRounds(b *testing.B, all []*provider) {
	for b.Loop() { // one round of all more for each
		for range rounds {
			for _, p := range all {
				p.round(b)
			}
		}
	}
	ours := all[0]
	b.ReportMetric(median(ours.rates), "sign-ins/s")
	for _, program := range []string{"self", "postgres", "vault"} {
		b.ReportMetric(median(each(ours.took, func(took map[string]float64) float64 { return took[program] })), "~µs-"+program)
	}
	if len(all) < 2 {
		return
	}
	peer := all[1]
	var ratios []float64
	for i, rate := range ours.rates {
		ratios = append(ratios, rate/peer.rates[i])
	}
	b.ReportMetric(median(peer.rates), "~peer/s")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(1.5, "aim-min")
	b.ReportMetric(median(each(peer.took, func(took map[string]float64) float64 { return took[node] })), "~µs-node")
	b.ReportMetric(median(each(peer.took, func(took map[string]float64) float64 { return took["self"] })), "~µs-generator")
}

func each[T any](all []T, of func(T) float64) (values []float64) {
	for _, one := range all {
		values = append(values, of(one))
	}
	return values
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
