package postgres

import (
	"flag"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
)

// fill writes n cases past triggers and log, all in one state, filed by one court over ten
// years; they expire and their secrecy ends after that many days.
func fill(t testing.TB, admin string, n int, state disclose.State, days int) {
	t.Helper()
	conn := connect(t, admin)
	for _, statement := range []string{`SET search_path = penname`, `SET session_replication_role = replica`} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	at := func(is bool, leaf string) string {
		if is {
			return leaf
		}
		return `NULL::bigint`
	}
	released := state == disclose.Released || state == disclose.Noticed
	_, err := conn.Exec(t.Context(), `
		INSERT INTO cases (id, warrant_hash, authority, warrant_id, kind, submission, bundle, salt, quorum, state, secrecy_ends, expires, approve_from,
		  recorded_leaf, authorised_leaf, released_leaf, noticed_leaf, package, targets, waiting, released, day)
		SELECT substr(translate(md5(k) || md5(k), '0189', 'ghij'), 1, 26), sha256(k::bytea), 'court', k, 'production', '{}', '', sha256(k::bytea), 2, $1, $2, $2, $3::timestamptz,
		  -10 * i, `+at(released, `-10 * i + 1`)+`, `+at(released, `-10 * i + 2`)+`, `+at(state == disclose.Noticed, `-10 * i + 3`)+`,
		  CASE WHEN $1 = 'released' THEN 'x'::bytea END, 1, ($1 = 'recorded')::int, ($1 IN ('released', 'noticed'))::int, $3::timestamptz::date - (i % 3650)::int
		FROM (SELECT i + coalesce((SELECT count(*) FROM cases), 0) AS i FROM generate_series(1, $4::int) i) n, LATERAL (SELECT 'case ' || i) k (k)`,
		string(state), day.AddDate(0, 0, days), day, n)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `ANALYZE cases`); err != nil {
		t.Fatal(err)
	}
}

func onFile() int {
	if testing.Short() {
		return 4000
	}
	return 100_000
}

// What cannot wait stands in front, however many cases are on file: lists used to
// end after the thousand oldest, and the newest was never shown and never served.
func TestFoundR2NothingStarvesBehindAHundredThousandCases(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	now := day.Add(time.Hour)
	r := &disclose.Registrar{Cases: d.Cases, Now: func() time.Time { return now }}
	fill(t, admin, onFile()/2, disclose.Recorded, 30)
	fill(t, admin, onFile()/2, disclose.Released, 400)

	urgent, leaf := newCase(1)
	urgent.Expires = day.Add(8 * time.Hour)
	if _, err := d.Cases.File(t.Context(), urgent, leaf); err != nil {
		t.Fatal(err, cause(err))
	}
	seen := 0
	for from, page := (disclose.Cursor{}), 0; ; page++ {
		waiting, next, err := r.Waiting(t.Context(), from)
		if err != nil {
			t.Fatal(err, cause(err))
		}
		if page == 0 && (waiting[0].ID != urgent.ID || waiting[1].ID == urgent.ID) {
			t.Fatalf("the case of eight hours is not the first of %d", len(waiting))
		}
		seen += len(waiting)
		if from = next; next == (disclose.Cursor{}) {
			break
		}
	}
	if seen != onFile()/2+1 {
		t.Errorf("%d cases on all pages, want %d", seen, onFile()/2+1)
	}

	if mine, err := d.Cases.CasesOf(t.Context(), "court", disclose.Cursor{}, 50); err != nil || len(mine) != 50 || mine[0].ID != urgent.ID {
		t.Fatalf("the case of eight hours is not the first of the court's own: %v", err)
	}

	due := readable(t, d, 1)
	apply(t, d, due.ID, approve("bar"))
	apply(t, d, due.ID, release)
	now = day.AddDate(0, 4, 0)
	if n, err := r.Notify(t.Context()); n != 1 || err != nil {
		t.Fatalf("%d noticed, %v", n, err)
	}
	if got, err := d.Cases.Case(t.Context(), due.ID); err != nil || got.State != disclose.Noticed || notices(t, admin, due) != 1 {
		t.Errorf("%s, %v", got.State, err)
	}
}

var million = flag.Bool("million", false, "measure cases among a million that are on file, too")

// manyOnFile are how many cases are on file while one is measured.
func manyOnFile() []int {
	if *million {
		return []int{100, 100_000, 1_000_000}
	}
	return []int{100, 100_000}
}

// BenchmarkCase takes one case from its filing to its release. A third of those on file wait.
func BenchmarkCase(b *testing.B) {
	amongOnFile(b, "cases/s", func(n int) int { return n / 3 }, func(b *testing.B, d *Disclosing) {
		c := readable(b, d, 1)
		apply(b, d, c.ID, approve("bar"))
		apply(b, d, c.ID, release)
	})
}

// amongOnFile measures do among those on file, of which so many wait. The ratio is to the time that it takes among a
// hundred.
func amongOnFile(b *testing.B, unit string, wait func(n int) int, do func(b *testing.B, d *Disclosing)) {
	alone := 0.0
	for _, n := range manyOnFile() {
		b.Run(fmt.Sprint(n, " cases on file"), func(b *testing.B) {
			admin := database(b)
			d := disclosing(b, admin, Options{})
			fill(b, admin, wait(n), disclose.Recorded, 30)
			fill(b, admin, (n-wait(n))/2, disclose.Released, 400)
			fill(b, admin, (n-wait(n))/2, disclose.Noticed, 400)
			best := time.Hour // of all, so that a busy machine counts less
			for b.Loop() {
				began := time.Now()
				do(b, d)
				best = min(best, time.Since(began))
			}
			each := best.Seconds()
			if alone == 0 {
				alone = each
			}
			b.ReportMetric(1/each, unit)
			b.ReportMetric(each/alone, "ratio")
			b.ReportMetric(1.2, "aim-max")
		})
	}
}

func fifty(int) int { return 50 }

// BenchmarkList lists the same fifty cases that wait.
func BenchmarkList(b *testing.B) {
	amongOnFile(b, "lists/s", fifty, func(b *testing.B, d *Disclosing) {
		r := &disclose.Registrar{Cases: d.Cases, Now: func() time.Time { return day.Add(time.Hour) }}
		if waiting, _, err := r.Waiting(b.Context(), disclose.Cursor{}); err != nil || len(waiting) != 50 {
			b.Fatal(len(waiting), err, cause(err))
		}
	})
}

// BenchmarkOf lists the first fifty cases of a court, of which all on file is.
func BenchmarkOf(b *testing.B) {
	amongOnFile(b, "lists/s", fifty, func(b *testing.B, d *Disclosing) {
		if mine, err := d.Cases.CasesOf(b.Context(), "court", disclose.Cursor{}, 50); err != nil || len(mine) != 50 {
			b.Fatal(len(mine), err, cause(err))
		}
	})
}

// BenchmarkFiled counts what a court, of which all on file is, filed on a day of ten years and in
// the month that ends with it, as each filing does twice.
func BenchmarkFiled(b *testing.B) {
	amongOnFile(b, "counts/s", fifty, func(b *testing.B, d *Disclosing) {
		if filed, err := d.Cases.Filed(b.Context(), "court", "police", day, math.MaxInt64); err != nil || filed.Today > filed.Authority30 {
			b.Fatal(filed, err, cause(err))
		}
	})
}

// Each queue, and the count of what was filed, is read from its index, however many cases are
// on file.
func TestEveryQueueHasItsIndex(t *testing.T) {
	admin := database(t)
	for _, state := range []disclose.State{disclose.Recorded, disclose.Released, disclose.Noticed} {
		fill(t, admin, 4000, state, 400)
	}
	conn := connect(t, admin)
	if _, err := conn.Exec(t.Context(), `SET search_path = penname; SET plan_cache_mode = force_generic_plan`); err != nil {
		t.Fatal(err)
	}
	reads := func(what, sql string, args []any, indexes ...string) {
		t.Helper()
		rows, err := conn.Query(t.Context(), `EXPLAIN `+sql, args...)
		if err != nil {
			t.Fatal(what, err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		plan := strings.Join(lines, "\n")
		if err != nil || strings.Contains(plan, "Seq Scan on cases") {
			t.Errorf("%s: %v\n%s", what, err, plan)
		}
		for _, index := range indexes {
			if !strings.Contains(plan, " "+index+" ") {
				t.Errorf("%s: not by %s\n%s", what, index, plan)
			}
		}
	}
	for q, index := range map[disclose.Queue]string{disclose.ForCustodians: "cases_for_custodians", disclose.ForNotice: "cases_for_notice",
		disclose.ForExpiry: "cases_for_expiry", disclose.ForTelling: "notice_first_untold", disclose.ForValidation: "cases_for_validation"} {
		reads(index, summarySQL+queueSQL[q], []any{day, time.Time{}, int64(-1), 1000}, index)
	}
	reads("of an authority", summarySQL+ofSQL, []any{"court", time.Time{}, int64(-1), 50}, "cases_of_authority")
	reads("filed", filedSQL, []any{"court", "police", day, int64(math.MaxInt64)}, "cases_filed_by", "cases_filed_for")
}
