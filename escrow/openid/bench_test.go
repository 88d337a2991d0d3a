package openid_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
)

// A sign-in is four requests: authorize, the person's answer, token, and the
// platform's reading of the ID token, which is not measured here.
func BenchmarkSignIn(b *testing.B) {
	for name, build := range map[string]func(testing.TB, ...func(*rig)) *rig{"in process": newLocalRig, "over loopback": newRig} {
		b.Run(name, func(b *testing.B) {
			r := build(b)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if a := r.post("/token", r.redemption(r.square, r.code(r.square))); a.status != http.StatusOK {
						b.Error(a.body)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sign-ins/s")
		})
	}
}

// inTurns does one sign-in at each of two providers, again and again, so that both see the
// same machine, and reports the first's figure and how much of the second's that is.
func inTurns(b *testing.B, ours, peer *rig) {
	b.Helper()
	var took [2]time.Duration
	for b.Loop() {
		for i, r := range []*rig{ours, peer} {
			began := time.Now()
			r.tokens()
			took[i] += time.Since(began)
		}
	}
	b.ReportMetric(float64(b.N)/took[0].Seconds(), "sign-ins/s")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
}

// BenchmarkSignInByAlgorithm is a sign-in without a network, one at a time, with the
// algorithm in the ID token, beside one with EdDSA.
func BenchmarkSignInByAlgorithm(b *testing.B) {
	with := func(alg jose.SignatureAlgorithm) *rig {
		return newLocalRig(b, func(r *rig) {
			r.cfg.Keys = []openid.Key{{JWK: key(b, "k1", jose.EdDSA)}}
			if alg != jose.EdDSA {
				r.cfg.Keys = append(r.cfg.Keys, openid.Key{JWK: key(b, "k2", alg)})
			}
			square := r.square
			square.IDTokenAlg = alg
			fixed, err := openid.Fixed(square)
			if err != nil {
				b.Fatal(err)
			}
			r.cfg.Platforms = fixed
		})
	}
	peer := with(jose.EdDSA)
	for _, alg := range []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256} {
		b.Run(string(alg), func(b *testing.B) { inTurns(b, with(alg), peer) })
	}
}

// BenchmarkSignInsSustained is a sign-in while half of the entries of every status list are
// taken, which is when one list more is used, beside one with empty lists.
func BenchmarkSignInsSustained(b *testing.B) {
	inTurns(b, newLocalRig(b, func(r *rig) { r.store = halfTaken{r.store} }), newLocalRig(b))
}

// halfTaken is a store in which every other entry of the lists is taken.
type halfTaken struct{ openid.Store }

func (h halfTaken) Put(ctx context.Context, row openid.Row) error {
	for range row.Entries {
		if rand.IntN(2) == 0 {
			return openid.ErrTaken
		}
	}
	return h.Store.Put(ctx, row)
}

// BenchmarkIntrospect is one introspection by the platform that the token was issued to.
func BenchmarkIntrospect(b *testing.B) {
	r := newLocalRig(b)
	access, _ := r.tokens()["access_token"].(string)
	b.ReportAllocs()
	for b.Loop() {
		a := r.post("/introspect", form(url.Values{}, "token", access, "client_id", r.square.ID, "client_secret", secret))
		if a.status != http.StatusOK || a.json(b)["active"] != true {
			b.Fatal(a.body)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "introspections/s")
}

// BenchmarkEvents is events that are pushed, and events that are polled and confirmed a
// hundred at a time, beside plain requests by the same client that carry the same bytes.
func BenchmarkEvents(b *testing.B) {
	for _, alg := range []jose.SignatureAlgorithm{jose.EdDSA, jose.RS256} {
		b.Run(string(alg), func(b *testing.B) { benchmarkEvents(b, alg) })
	}
}

func benchmarkEvents(b *testing.B, alg jose.SignatureAlgorithm) {
	const round = 100
	var body atomic.Pointer[[]byte]
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		body.Store(&raw)
		w.WriteHeader(http.StatusAccepted)
	}))
	b.Cleanup(echo.Close)
	r := newRig(b, func(r *rig) {
		r.square.Localhost, r.square.Events, r.forum.Events = true, &openid.Stream{Push: echo.URL + "/events"}, &openid.Stream{}
		r.square.IDTokenAlg, r.forum.IDTokenAlg = alg, alg
		r.cfg.HTTP = identity.NewHTTP(identity.Guard{AllowLoopback: true})
		fixed, err := openid.Fixed(r.square, r.forum)
		if err != nil {
			b.Fatal(err)
		}
		r.cfg.Platforms = fixed
	})
	b.Cleanup(r.cfg.HTTP.CloseIdleConnections)
	told := func(b *testing.B, pl openid.Platform) {
		var names []openid.Known
		for i := range round {
			names = append(names, openid.Known{Name: pseudonym(fmt.Sprint(i), pl.ID), Platforms: []openid.Platform{pl}})
		}
		if err := r.provider.Tell(b.Context(), openid.EventErased, names...); err != nil {
			b.Fatal(err)
		}
	}
	plain := func(b *testing.B, body []byte) {
		res, err := r.cfg.HTTP.Post(echo.URL, "application/secevent+jwt", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		res.Body.Close()
	}
	b.Run("push", func(b *testing.B) {
		eventsBeside(b, round, func() { told(b, r.square) }, func() {
			if got := r.tell()[r.square.ID]; got.Delivered != round {
				b.Fatalf("%+v", got)
			}
		}, func() {
			same := *body.Load()
			var wg sync.WaitGroup
			for range 4 { // as many lanes as one platform has
				wg.Go(func() {
					for range round / 4 {
						plain(b, same)
					}
				})
			}
			wg.Wait()
		})
	})
	b.Run("poll", func(b *testing.B) {
		var answer answer
		eventsBeside(b, round, func() { told(b, r.forum) }, func() {
			answer = r.ask("Bearer "+r.assertion(nil), map[string]any{"returnImmediately": true})
			ids := slices.Collect(maps.Keys(answer.json(b)["sets"].(map[string]any)))
			if left, _ := r.polls(map[string]any{"ack": ids}); len(ids) != round || len(left) != 0 {
				b.Fatalf("%d, then %d", len(ids), len(left))
			}
		}, func() { plain(b, []byte(answer.body)) })
	})
}

// eventsBeside reports how many events are told a second, and that to the peer's.
func eventsBeside(b *testing.B, round int, prepare, tell, peer func()) {
	b.Helper()
	var took [2]time.Duration
	for b.Loop() {
		prepare()
		for i, do := range []func(){tell, peer} {
			began := time.Now()
			do()
			took[i] += time.Since(began)
		}
	}
	b.ReportMetric(float64(b.N*round)/took[0].Seconds(), "events/s")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
}
