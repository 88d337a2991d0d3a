package postgres

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/verifier/proof"
)

// BenchmarkEnrol is Enrol beside a bare INSERT of the same bytes into one
// table, both from many goroutines and each in its own transaction.
func BenchmarkEnrol(b *testing.B) {
	admin := database(b)
	s := issuing(b, admin, Options{MaxConns: 16})
	var alone float64
	b.Run("bare INSERT", func(b *testing.B) {
		sql(b, admin, `CREATE TABLE bare (label text PRIMARY KEY, a bytea, b bytea[]); GRANT INSERT ON bare TO penname_issuing`)
		defer sql(b, admin, `DROP TABLE bare`)
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				e := enrolment()
				var sealed [][]byte
				for _, field := range e.Record.Fields {
					sealed = append(sealed, field)
				}
				if _, err := s.pool.Exec(context.Background(), `INSERT INTO bare VALUES ($1, $2, $3)`,
					e.Person.Label, append(e.Fingerprint, e.Record.SecondHalf...), sealed); err != nil {
					b.Error(err)
				}
			}
		})
		alone = float64(b.N) / b.Elapsed().Seconds()
		b.ReportMetric(alone, "rows/s")
	})
	b.Run("enrol", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, _, err := s.Enrol(context.Background(), enrolment()); err != nil {
					b.Error(err, cause(err))
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/alone, "ratio")
	})
}

// BenchmarkBytesPerPerson is what one sealed person costs on disk, with the
// indexes: really sealed, with four fields and with the two that are required.
func BenchmarkBytesPerPerson(b *testing.B) {
	keys, _, _ := sandbox.NewKeyring([32]byte(random(32)))
	pk, _, err := escrowtest.ThresholdKey(2, 3)
	if err != nil {
		b.Fatal(err)
	}
	for name, fields := range map[string]map[string][]byte{
		"two fields": {"name": []byte("Jo Teacher"), "birthdate": []byte("1988-02-29")},
		"four fields": {"name": []byte("Jo Teacher"), "birthdate": []byte("1988-02-29"),
			"address": []byte("12 High Street, Ambridge, AM1 1AA"), "email": []byte("jo@example.org")},
	} {
		b.Run(name, func(b *testing.B) {
			admin := database(b)
			s := issuing(b, admin, Options{})
			const people = 1000
			for range people {
				e := enrolment()
				if e.Record, err = seal.Seal(b.Context(), e.Person.Label, fields, seal.Custodians{Key: pk}, keys.WrapHalf); err != nil {
					b.Fatal(err)
				}
				if _, _, err := s.Enrol(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Shuffle(b.Context()); err != nil {
				b.Fatal(err)
			}
			n := value[int](b, admin, `SELECT pg_total_relation_size('persons') + pg_total_relation_size('records')`)
			for b.Loop() {
			}
			b.ReportMetric(float64(n)/people, "B/person")
			b.ReportMetric(float64(n)/people/1024, "ratio") // to 1 KiB
		})
	}
}

// BenchmarkBytesPerPenName is what a pen name costs on disk, with the index: once,
// because a sign-in adds nothing.
func BenchmarkBytesPerPenName(b *testing.B) {
	admin := database(b)
	s := issuing(b, admin, Options{})
	const names = 2000
	for range names {
		a := assignment(b)
		a.Link = "vault:v1:" + base64.StdEncoding.EncodeToString(random(118)) // 90 bytes, as Vault wraps them
		if _, err := s.Assign(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Shuffle(b.Context()); err != nil {
		b.Fatal(err)
	}
	n := value[int](b, admin, `SELECT pg_total_relation_size('pseudonyms')`)
	for b.Loop() {
	}
	b.ReportMetric(float64(n)/names, "B/pen-name")
	b.ReportMetric(float64(n)/names/1024, "ratio") // to 1 KiB
}

// BenchmarkAppend lets 1, 64 and 1,024 callers append to the log as the registrar does for a
// filing that it refuses: a leaf, its hashes and the row that it is about, durable when the
// call returns. With PENNAME_PEERS=1 Tessera's POSIX driver appends leaves of the same size
// for as many callers, in turns; the ratio is of the medians. Beside the clock stands what a
// leaf takes of the processors, here and in the database, or in Tessera's process.
func BenchmarkAppend(b *testing.B) {
	const rounds, long = 5, time.Second
	peer := tesseraPeer(b)
	for _, callers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			admin := database(b)
			d := disclosing(b, admin, Options{})
			leaf := proof.RefusedLeaf(day, "warrant.unknown_authority")
			raw, err := leaf.Marshal()
			if err != nil {
				b.Fatal(err)
			}
			var whole, beside, took, tookBeside []float64
			for range rounds {
				var n atomic.Int64
				before := used(b, "self", "postgres")
				var wg sync.WaitGroup
				began := time.Now()
				for caller := range callers {
					wg.Go(func() {
						for i := 0; time.Since(began) < long; i++ {
							if err := d.Cases.Refuse(b.Context(), "court", fmt.Sprint(len(whole), " ", caller, " ", i), leaf); err != nil {
								b.Error(err, cause(err))
								return
							}
							n.Add(1)
						}
					})
				}
				wg.Wait()
				whole = append(whole, float64(n.Load())/time.Since(began).Seconds())
				took = append(took, float64((used(b, "self", "postgres")-before).Microseconds())/float64(n.Load()))
				if peer != nil {
					rate, each := peer(callers, long, len(raw))
					beside, tookBeside = append(beside, rate), append(tookBeside, each)
				}
			}
			for b.Loop() { // measured above
			}
			b.ReportMetric(median(whole), "leaves/s")
			b.ReportMetric(median(took), "cpu-µs/leaf")
			b.ReportMetric(value[float64](b, admin, `SELECT (count(*) / count(DISTINCT xmin::text))::float8 FROM log_leaves`), "leaves/COMMIT")
			if peer != nil {
				b.ReportMetric(median(tookBeside), "~tessera-cpu-µs/leaf")
				b.ReportMetric(median(beside), "~tessera/s")
				b.ReportMetric(median(whole)/median(beside), "ratio")
				b.ReportMetric(2, "aim-min")
			}
		})
	}
}

// tesseraPeer builds and starts the peer of .ci/tessera, whose log is on the same disk as the
// database's, and returns what has it measured: leaves a second, and µs of the processors for
// each; nil without PENNAME_PEERS.
func tesseraPeer(b *testing.B) func(callers int, long time.Duration, size int) (rate, took float64) {
	if os.Getenv("PENNAME_PEERS") == "" {
		return nil
	}
	dir := b.TempDir()
	build := exec.CommandContext(b.Context(), "go", "build", "-o", dir+"/tessera", ".")
	build.Dir = "../../.ci/tessera"
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatal(err, string(out))
	}
	program := exec.CommandContext(b.Context(), dir+"/tessera", dir)
	in, err := program.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := program.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := program.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		program.Wait() //nolint:errcheck // it was killed if anything went wrong
	})
	return func(callers int, long time.Duration, size int) (rate, took float64) {
		before := used(b, "tessera")
		fmt.Fprintln(in, callers, long.Milliseconds(), size)
		if _, err := fmt.Fscanln(out, &rate); err != nil {
			b.Fatal("no answer of the peer: ", err)
		}
		return rate, float64((used(b, "tessera") - before).Microseconds()) / rate / long.Seconds()
	}
}

// used is what the processors did for programs, see [sandbox.Processors].
func used(b *testing.B, names ...string) (took time.Duration) {
	b.Helper()
	all, err := sandbox.Processors()
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		took += all[name]
	}
	return took
}

// BenchmarkShuffle is the hourly shuffle of 5,000 people.
func BenchmarkShuffle(b *testing.B) {
	s := issuing(b, database(b), Options{})
	for range 5000 {
		if _, _, err := s.Enrol(b.Context(), enrolment()); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := s.Shuffle(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
