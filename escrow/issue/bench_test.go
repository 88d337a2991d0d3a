package issue_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/identity"
)

// databunker is what Databunker, a vault for personal data, reached on the same
// kind of machine: users created a second.
const databunker = 885

// BenchmarkEnrol is Enrol on a real Vault and a real PostgreSQL, by many callers
// at once. Beside it, in turns, so that all see the same machine: Vault's batch
// endpoint alone with the same operations, and bare INSERTs of rows of the same
// size alone, from as many callers, and the seal alone. The ratio is of the processor time of
// all programs for one person: the sum of the three to that of Enrol.
func BenchmarkEnrol(b *testing.B) {
	w := newWorld(b)
	for _, callers := range []int{64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			const rounds = 7
			parts := []func(caller int) int{w.enrol(b), w.vaultAlone(b), w.insertAlone(b), w.sealAlone(b)}
			rates, took := make([][]float64, len(parts)), make([][]float64, len(parts))
			for b.Loop() {
				for range rounds {
					for i, f := range parts {
						n := callers
						if i == 1 {
							n = 4 // batches at once: more do not make Vault faster
						}
						before := worked(b)
						done, perSecond := rate(n, 400*time.Millisecond, f)
						rates[i], took[i] = append(rates[i], perSecond), append(took[i], float64((worked(b)-before)/time.Microsecond)/done)
					}
				}
			}
			median := func(all []float64) float64 { slices.Sort(all); return all[len(all)/2] }
			sum := 0.0
			for i, part := range []string{"enrol", "vault-alone", "insert-alone", "seal-alone"} {
				µs := median(took[i])
				if b.ReportMetric(µs, "~µs-"+part); i > 0 {
					b.ReportMetric(median(rates[i]), "~"+part+"/s")
					sum += µs
				}
			}
			b.ReportMetric(median(rates[0]), "enrolments/s")
			b.ReportMetric(median(rates[0])/databunker, "~x-databunker")
			b.ReportMetric(sum/median(took[0]), "ratio")
			b.ReportMetric(0.9, "aim-min")
		})
	}
}

// worked is how long processors worked so far for all programs that do this.
func worked(b *testing.B) (all time.Duration) {
	b.Helper()
	took, err := sandbox.Processors()
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range took {
		all += t
	}
	return all
}

// rate runs f from many callers for d and returns what all did, in all and a second. f
// returns how many it did.
func rate(callers int, d time.Duration, f func(caller int) int) (done, perSecond float64) {
	var n atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for c := range callers {
		wg.Go(func() {
			for time.Since(began) < d {
				n.Add(int64(f(c)))
			}
		})
	}
	wg.Wait()
	return float64(n.Load()), float64(n.Load()) / time.Since(began).Seconds()
}

type world struct {
	issuer *issue.Issuer
	vault  *escrowtest.VaultFixture
	pool   *pgxpool.Pool // of the administrator, for the bare table
	people atomic.Int64
}

func newWorld(b *testing.B) *world {
	w := &world{vault: escrowtest.Vault(b)}
	keys, _ := w.vault.Sides(b)
	dsn := escrowtest.Postgres(b)
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	check(postgres.Migrate(b.Context(), dsn))
	login, err := postgres.Login(b.Context(), dsn, "penname_issuing")
	check(err)
	store, err := postgres.OpenIssuing(b.Context(), login, postgres.Options{RowKey: issue.RowKey(keys)})
	check(err)
	b.Cleanup(store.Close)
	custodians, _, err := escrowtest.ThresholdKey(2, 3)
	check(err)
	config, err := pgxpool.ParseConfig(dsn)
	check(err)
	config.MaxConns = 16 // as many as the store has
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	w.pool, err = pgxpool.NewWithConfig(b.Context(), config)
	check(err)
	b.Cleanup(w.pool.Close)
	_, err = w.pool.Exec(b.Context(), `CREATE TABLE bare (label text PRIMARY KEY, row bytea NOT NULL)`)
	check(err)
	w.issuer = &issue.Issuer{Keys: keys, Store: store, Custodians: func() (seal.Custodians, error) { return seal.Custodians{Key: custodians}, nil }, Now: time.Now}
	return w
}

func (w *world) person() identity.Identity {
	n := w.people.Add(1)
	return identity.Identity{
		Issuer: "https://id.example", Subject: identity.Private(fmt.Sprint("subject ", n)),
		Name: identity.Private(fmt.Sprint("Jo Teacher ", n)), Birthdate: "1988-02-29",
		Address: "12 High Street, Ambridge, AM1 1AA", Email: "jo@example.org",
	}
}

func (w *world) enrol(b *testing.B) func(int) int {
	return func(int) int {
		if _, first, err := w.issuer.Enrol(context.Background(), w.person()); err != nil || !first {
			b.Error(first, err)
		}
		return 1
	}
}

// vaultAlone asks Vault for 256 enrolments: six batches of MACs and one of
// wrapped halves, each of 256 items and prepared before.
func (w *world) vaultAlone(b *testing.B) func(int) int {
	const size = 256
	text := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	macs, halves := make([]any, size), make([]any, size)
	for i := range size {
		macs[i] = map[string]string{"input": text(64)}
		halves[i] = map[string]string{"plaintext": text(32), "context": base64.StdEncoding.EncodeToString([]byte(seal.NewLabel()))}
	}
	token := w.vault.Token(b, vault.SideIssuing)
	send := func(path string, body map[string]any) {
		if status, answer := w.vault.Do(b, token, http.MethodPost, "penname-transit/"+path, body); status != http.StatusOK {
			b.Errorf("status %d: %v", status, answer)
		}
	}
	return func(int) int {
		for range 6 {
			send("hmac/penname-fingerprint", map[string]any{"batch_input": macs, "key_version": "1"})
		}
		send("encrypt/penname-record", map[string]any{"batch_input": halves})
		return size
	}
}

// insertAlone stores one row of the size that an enrolment has, each in its own
// transaction.
func (w *world) insertAlone(b *testing.B) func(int) int {
	record, err := seal.Seal(b.Context(), seal.NewLabel(), w.person().Fields(), custodiansOf(b, w.issuer), w.issuer.Keys.WrapHalf)
	if err != nil {
		b.Fatal(err)
	}
	size := 3*32 + 16 + 32 + len(record.FirstHalf) + len(record.SecondHalf) // MACs, id, digest, halves
	for name, sealed := range record.Fields {
		size += len(name) + len(sealed)
	}
	return func(int) int {
		row := make([]byte, size)
		rand.Read(row)
		if _, err := w.pool.Exec(context.Background(), `INSERT INTO bare VALUES ($1, $2)`, seal.NewLabel(), row); err != nil {
			b.Error(err)
		}
		return 1
	}
}

// sealAlone is what one enrolment encrypts in this process.
func (w *world) sealAlone(b *testing.B) func(int) int {
	wrap := func(context.Context, string, []byte) (string, error) { return "wrapped", nil }
	return func(int) int {
		if _, err := seal.Seal(context.Background(), seal.NewLabel(), w.person().Fields(), custodiansOf(b, w.issuer), wrap); err != nil {
			b.Error(err)
		}
		return 1
	}
}

func custodiansOf(b testing.TB, i *issue.Issuer) seal.Custodians {
	b.Helper()
	pk, err := i.Custodians()
	if err != nil {
		b.Fatal(err)
	}
	return pk
}
