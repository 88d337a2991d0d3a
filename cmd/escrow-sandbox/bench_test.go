package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/verifier/token"
)

// BenchmarkService is the whole service over HTTP: browsers, identity provider,
// platforms, custodians, witnesses, PostgreSQL and the key service share the
// machine with it. Beside each figure stands a limit of the same run.
func BenchmarkService(b *testing.B) {
	back := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer back.Close()
	for _, keys := range []string{"keyring", "vault"} {
		b.Run(keys, func(b *testing.B) {
			var clients []world.Client
			for _, alg := range []string{"EdDSA", "RS256"} {
				clients = append(clients, world.Client{ID: strings.ToLower(alg), Name: "Client " + alg, RedirectURIs: []string{strings.Replace(back.URL, "127.0.0.1", "localhost", 1)}, IDTokenAlg: alg})
			}
			tb, err := world.Start(b.Context(), programs, world.Options{Listen: "127.0.0.1:0", Vault: keys == "vault", Log: io.Discard, Progress: io.Discard, People: crowd(), PerSender: 10_000, Clients: clients})
			if err != nil {
				b.Fatal(err)
			}
			defer tb.Close()
			st := &world.Case{World: tb}
			b.Run("enrolments", func(b *testing.B) { benchmarkEnrolments(b, st) })
			b.Run("sign-ins", func(b *testing.B) { benchmarkSignIns(b, st) })
			b.Run("sign-ins RS256 beside EdDSA", func(b *testing.B) { benchmarkAlgorithms(b, st) })
			b.Run("introspections", func(b *testing.B) { benchmarkIntrospections(b, st) })
		})
	}
}

const enrolling = 20_000 // people at the identity provider, besides the sandbox's

func crowd() []sandbox.Person {
	people := sandbox.People()
	for n := range enrolling {
		people = append(people, sandbox.Person{Subject: fmt.Sprint("crowd-", n), Name: fmt.Sprint("One of Many ", n), Birthdate: "1990-01-01",
			Address: "12 High Street\nAmbridge\nAM1 1AA", Email: "many@mail.example", ACR: sandbox.ACRVerified})
	}
	return people
}

var nextPerson atomic.Int64

// signUpNext enrols the next of the crowd. It returns a browser that is signed in.
func signUpNext(ctx context.Context, w *world.World) (*world.Browser, error) {
	n := nextPerson.Add(1)
	if n > enrolling {
		return nil, errors.New("the identity provider has no more people")
	}
	b := world.NewBrowser()
	if err := proveAs(ctx, w, b, n-1); err != nil {
		return nil, err
	}
	return b, b.Shows(http.StatusOK, "Welcome")
}

// proveAs proves the identity of one of the crowd at Penname, past the page with all their
// names: they enrol, or come back.
func proveAs(ctx context.Context, w *world.World, b *world.Browser, n int64) error {
	var at *url.URL
	b.Client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/authorize" && strings.HasPrefix(r.URL.String(), w.Identity) {
			at = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}
	if err := b.Open(ctx, w.Origin); err != nil {
		return err
	}
	if err := b.Press(ctx, "Prove my identity", nil); err != nil {
		return err
	}
	if at == nil {
		return errors.New("not sent to the identity provider")
	}
	form := url.Values{"person": {fmt.Sprint("crowd-", n)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.Do(req)
}

// bareHTTP is how many exchanges of n requests each with a handler that does
// nothing are made a second, by as many callers.
func bareHTTP(callers, n int) float64 {
	nothing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2000)) }))
	defer nothing.Close()
	return perSecond(callers, callers*20, func() error {
		for range n {
			res, err := http.Get(nothing.URL)
			if err != nil {
				return err
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		return nil
	})
}

// perSecond does f n times from many callers.
func perSecond(callers, n int, f func() error) float64 {
	began := time.Now()
	var left atomic.Int64
	var wg sync.WaitGroup
	left.Store(int64(n))
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					panic(err)
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(began).Seconds()
}

func measure(b *testing.B, unit string, limit float64, callers int, f func() error) {
	b.ResetTimer()
	rate := perSecond(callers, b.N, func() error {
		if err := f(); err != nil && !b.Failed() {
			b.Error(err)
		}
		return nil
	})
	b.ReportMetric(rate, unit)
	b.ReportMetric(limit, "~limit/s")
	b.ReportMetric(rate/limit, "ratio")
}

// Beside it: the same number of HTTP requests, seven, with nothing behind them.
func benchmarkEnrolments(b *testing.B, s *world.Case) {
	measure(b, "enrolments/s", bareHTTP(16, 7), 16, func() error {
		_, err := signUpNext(context.Background(), s.World)
		return err
	})
}

// signedUp are the browsers of as many people, who each have a pen name nowhere yet.
func signedUp(b *testing.B, s *world.Case, people int) chan *world.Browser {
	browsers := make(chan *world.Browser, people)
	for range people {
		who, err := signUpNext(b.Context(), s.World)
		if err != nil {
			b.Fatal(err)
		}
		browsers <- who
	}
	return browsers
}

// A sign-in is a platform's page, the request, the person's consent, the code,
// the platform's redemption and its check of the token. Beside it: seven bare
// HTTP requests.
func benchmarkSignIns(b *testing.B, s *world.Case) {
	const callers = 16
	browsers := signedUp(b, s, callers)
	measure(b, "sign-ins/s", bareHTTP(callers, 7), callers, func() error {
		who := <-browsers
		defer func() { browsers <- who }()
		return signInAgain(s.World, who)
	})
}

// signInAgain signs a person in at Town Square, whether or not they are.
func signInAgain(w *world.World, who *world.Browser) error {
	login, err := http.NewRequest(http.MethodPost, w.Town.Origin+"/login", nil)
	if err != nil {
		return err
	}
	if err := who.Do(login); err != nil {
		return err
	}
	if err := who.Press(context.Background(), "Sign in to "+w.Town.Name, nil); err != nil {
		return err
	}
	return who.Shows(http.StatusOK, "You are signed in as pen1")
}

// signInAt signs a person in at a client, which redeems the code and checks the ID token.
func signInAt(ctx context.Context, w *world.World, c world.Client, who *world.Browser) (access string, err error) {
	verifier := oauth2.GenerateVerifier()
	config := oauth2.Config{ClientID: c.ID, ClientSecret: c.Secret, RedirectURL: c.RedirectURIs[0], Scopes: []string{"openid"},
		Endpoint: oauth2.Endpoint{AuthURL: w.Origin + "/authorize", TokenURL: w.Origin + "/token"}}
	if err := who.Open(ctx, config.AuthCodeURL("a-state-that-nobody-looks-at", oauth2.S256ChallengeOption(verifier))); err != nil {
		return "", err
	}
	if err := who.Press(ctx, "Sign in to "+c.Name, nil); err != nil {
		return "", err
	}
	tokens, err := config.Exchange(ctx, who.Page.URL.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return "", err
	}
	raw, _ := tokens.Extra("id_token").(string)
	_, err = (&token.Verifier{Issuer: w.Origin, Audience: c.ID, Keys: keysOf(w), Status: neverWithdrawn{}, Now: w.Clock.Now, Leeway: time.Minute}).Verify(ctx, raw)
	return tokens.AccessToken, err
}

func keysOf(w *world.World) func(context.Context) (*token.KeySet, error) {
	return func(context.Context) (*token.KeySet, error) { return token.ParseKeySet(w.Town.IssuerKeys) }
}

type neverWithdrawn struct{}

func (neverWithdrawn) Withdrawn(context.Context, string, int) (bool, error) { return false, nil }

// benchmarkAlgorithms signs people in at two clients in turns, a few dozen at one and then
// at the other, so that both see the same machine.
func benchmarkAlgorithms(b *testing.B, s *world.Case) {
	const callers, turn = 16, 48
	browsers := signedUp(b, s, callers)
	var took [2]float64
	turns := 0
	b.ResetTimer()
	for done := 0; done < b.N; done += turn {
		turns++
		for i, c := range s.Clients() {
			rate := perSecond(callers, turn, func() error {
				who := <-browsers
				defer func() { browsers <- who }()
				if _, err := signInAt(context.Background(), s.World, c, who); err != nil && !b.Failed() {
					b.Error(err)
				}
				return nil
			})
			took[i] += turn / rate
		}
	}
	b.ReportMetric(float64(turns*turn)/took[1], "sign-ins/s")
	b.ReportMetric(float64(turns*turn)/took[0], "~EdDSA/s")
	b.ReportMetric(took[0]/took[1], "ratio")
}

// An introspection is one HTTP request of a platform, which asks whether an access token is
// still good. Beside it: one bare HTTP request.
func benchmarkIntrospections(b *testing.B, s *world.Case) {
	who, err := signUpNext(b.Context(), s.World)
	if err != nil {
		b.Fatal(err)
	}
	c := s.Clients()[0]
	access, err := signInAt(b.Context(), s.World, c, who)
	if err != nil {
		b.Fatal(err)
	}
	form := url.Values{"token": {access}, "client_id": {c.ID}, "client_secret": {c.Secret}}
	measure(b, "introspections/s", bareHTTP(16, 1), 16, func() error {
		res, err := http.PostForm(s.Origin+"/introspect", form)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		said, err := io.ReadAll(res.Body)
		if err == nil && !strings.Contains(string(said), `"active":true`) {
			err = fmt.Errorf("%d %s", res.StatusCode, said)
		}
		return err
	})
}

// threatened has one of the crowd post a threat on Town Square, which is in evidence then.
func threatened(b testing.TB, s *world.Case) {
	who, err := signUpNext(b.Context(), s.World)
	if err != nil {
		b.Fatal(err)
	}
	if err := who.Visit(b.Context(), s.Town, ""); err != nil {
		b.Fatal(err)
	}
	if s.Post, err = who.Say(b.Context(), s.Town, "I will come for you tonight."); err != nil {
		b.Fatal(err)
	}
	if s.Evidence, err = s.SaveEvidence(fmt.Sprintf("evidence-%s.jws", s.Post.Author), s.Post); err != nil {
		b.Fatal(err)
	}
	s.Author = sandbox.Person{Name: "One of Many", Birthdate: "1990-01-01", Email: "many@mail.example"}
}

func approveBy(s *world.Case, n int) func(context.Context) error {
	return func(ctx context.Context) error { return s.Approve(ctx, world.Custodians[n].ID) }
}
