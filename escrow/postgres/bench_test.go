package postgres

import (
	"context"
	"encoding/base64"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
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

// BenchmarkAppend is the log alone: one leaf in a transaction, and a thousand.
func BenchmarkAppend(b *testing.B) {
	d := disclosing(b, database(b), Options{})
	ctx := context.Background()
	n := 0
	for name, batch := range map[string]int{"1 a transaction": 1, "1000 a transaction": 1000} {
		b.Run(name, func(b *testing.B) {
			leaves := 0
			for b.Loop() {
				if err := d.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
					log := newLogTx(tx)
					for range batch {
						n++
						if _, err := translog.Sequence(ctx, log, translogtest.Leaf(n)); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					b.Fatal(err)
				}
				leaves += batch
			}
			b.ReportMetric(float64(leaves)/b.Elapsed().Seconds(), "leaves/s")
		})
	}
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
