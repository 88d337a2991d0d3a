package postgres

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/vault"
)

// BenchmarkRotation moves all records to a new key, with real Vault and
// PostgreSQL, and prints records per second beside what Vault's batch endpoint
// does alone, in turns, the ratio of the medians, and what a record takes of the processors by
// program.
func BenchmarkRotation(b *testing.B) {
	const records, batch = 4000, 500
	v := escrowtest.OwnVault(b)
	issuing, _ := v.Sides(b)
	h := newHouse(b, 0)
	for range records {
		e := enrolment()
		var err error
		if e.Record.FirstHalf, err = issuing.WrapHalf(b.Context(), e.Person.Label, random(32)); err != nil {
			b.Fatal(err)
		}
		if _, _, err := h.s.Enrol(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	k := &keep.Keeper{Keys: v.Keeping(b), Past: h.k, Rotations: h.k, Erasures: h.k, Now: time.Now, Batch: batch}
	if err := k.Keys.Open(b.Context(), 1); err != nil { // which no rotation takes a version from
		b.Fatal(err)
	}
	var path string
	items := make([]any, batch)
	for i := range items {
		label := enrolment().Person.Label
		half, err := issuing.WrapHalfIn(b.Context(), 1, label, random(32))
		if err != nil {
			b.Fatal(err)
		}
		var wrapped string
		path, wrapped = escrowtest.RecordKey("rewrap", half)
		items[i] = map[string]string{"ciphertext": wrapped, "context": base64.StdEncoding.EncodeToString([]byte(label))}
	}
	token := v.Token(b, vault.SideKeeping)
	var alone, whole []float64 // in turns
	took := map[string][]float64{}
	for b.Loop() {
		began, before := time.Now(), used(b, "vault")
		for range records / batch {
			if status, answer := v.Do(b, token, http.MethodPost, path, map[string]any{"batch_input": items}); status != http.StatusOK {
				b.Fatal(status, answer)
			}
		}
		alone = append(alone, records/time.Since(began).Seconds())
		took["~vault-batch"] = append(took["~vault-batch"], float64((used(b, "vault")-before).Microseconds())/records)
		programs := []string{"self", "postgres", "vault"}
		var each [3]time.Duration
		for i, name := range programs {
			each[i] = used(b, name)
		}
		began = time.Now()
		r, err := k.RotateGroup(b.Context(), 0)
		whole = append(whole, records/time.Since(began).Seconds())
		for i, name := range programs {
			took[name] = append(took[name], float64((used(b, name)-each[i]).Microseconds())/records)
		}
		if err != nil || r.Records != records {
			b.Fatal(r.Records, err, cause(err))
		}
	}
	b.ReportMetric(median(whole), "records/s")
	for name, all := range took {
		b.ReportMetric(median(all), name+"-cpu-µs/record")
	}
	b.ReportMetric(median(alone), "~vault-batch/s")
	b.ReportMetric(median(whole)/median(alone), "ratio")
	b.ReportMetric(0.8, "aim-min")
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

var erasurePeople = flag.Int("erasure-people", 10_000, "how many people BenchmarkErasure has")

// BenchmarkErasure erases one of very many people at a time, with real Vault and PostgreSQL,
// from the cleared request to the destroyed key version: milliseconds, and bytes of the
// write-ahead log. People came over a year, each day's into 32 groups, and lie as the pass of
// their day wrote them: of ten thousand each has a page of its own, of a million they are
// together. A page that is changed for the first time after a checkpoint goes into the
// write-ahead log as a whole; later, only the change does.
func BenchmarkErasure(b *testing.B) {
	const tried = 8 // groups
	v := escrowtest.OwnVault(b)
	issuing, _ := v.Sides(b)
	h := newHouse(b, 0)
	groups := max(*erasurePeople/keep.GroupSize, tried)
	k := &keep.Keeper{Keys: v.Keeping(b), Past: h.k, Rotations: h.k, Erasures: h.k, Now: func() time.Time { return day }}
	label := func(n int) string {
		sum := sha256.Sum256([]byte(strconv.Itoa(n)))
		return strings.NewReplacer("0", "w", "1", "x", "8", "y", "9", "z").Replace(hex.EncodeToString(sum[:])[:26])
	}
	var numbers []int
	var halves []string
	for group := groups - tried; group < groups; group++ { // the last is asked for before each act
		if err := k.Keys.Open(b.Context(), group+1); err != nil {
			b.Fatal(err)
		}
		for n := group; n < *erasurePeople; n += groups {
			half, err := issuing.WrapHalfIn(b.Context(), group+1, label(n), random(32))
			if err != nil {
				b.Fatal(err)
			}
			numbers, halves = append(numbers, n), append(halves, half)
		}
	}
	for _, statement := range []string{`SET session_replication_role = replica`,
		`INSERT INTO key_groups (number, opened) SELECT n, '2026-11-01' FROM generate_series(1, ` + strconv.Itoa(groups) + `) n`,
		`INSERT INTO records (label, first_half, second_half, sealed, day, key_group)
		 SELECT label, half, decode(repeat(md5(label), 14), 'hex'), decode(repeat(md5(label), 32), 'hex'), day, key_group(half) FROM (
		   SELECT translate(substr(encode(sha256(n::text::bytea), 'hex'), 1, 26), '0189', 'wxyz') AS label, coalesce(half, 'g' || 1 + n % ` + strconv.Itoa(groups) + ` || ':vault:v1:' || repeat(md5(n::text), 3)) AS half,
		     '2025-11-21'::date + 365 * (n % ` + strconv.Itoa(groups) + ` / 32 * 32 + n / ` + strconv.Itoa(groups) + ` % 32) / ` + strconv.Itoa(groups+32) + ` AS day
		   FROM generate_series(0, ` + strconv.Itoa(*erasurePeople) + ` - 1) n LEFT JOIN unnest($1::int[], $2::text[]) w (of, half) ON of = n) p
		 ORDER BY day, key_group(half), label`,
		`RESET session_replication_role`, `VACUUM ANALYZE records`} {
		var args []any
		if strings.Contains(statement, "$1") {
			args = []any{numbers, halves}
		}
		if _, err := h.conn.Exec(b.Context(), statement, args...); err != nil {
			b.Fatal(err)
		}
	}
	next := groups - tried // whoever is erased next: of another group than the one before
	erase := func(b *testing.B, before string) (took time.Duration, wal int64) {
		victim := label(next)
		if next++; next%groups == 0 {
			next += groups - tried
		}
		h.ask(b, victim)
		h.clear(b, victim)
		if _, err := h.conn.Exec(b.Context(), before); err != nil {
			b.Fatal(err)
		}
		from, began := one[string](b, h.conn, `SELECT pg_current_wal_insert_lsn()::text`), time.Now()
		if n, err := k.Work(b.Context()); err != nil || n != 1 {
			b.Fatal(n, err, cause(err))
		}
		return time.Since(began), one[int64](b, h.conn, `SELECT (pg_current_wal_insert_lsn() - $1::pg_lsn)::bigint`, from)
	}
	for _, when := range []string{"after a checkpoint", "later"} {
		before := `CHECKPOINT`
		if when == "later" {
			before = `SELECT`
			for range tried {
				erase(b, before)
			}
		}
		b.Run(when, func(b *testing.B) {
			var wal int64
			took := time.Duration(0)
			for b.Loop() {
				t, w := erase(b, before)
				took, wal = took+t, wal+w
			}
			b.ReportMetric(took.Seconds()*1000/float64(b.N), "ms/erasure")
			b.ReportMetric(float64(wal)/float64(b.N)/1e6, "MB-WAL/erasure")
		})
	}
}
