package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
)

// watched is a database with many cases, erasures and reviews, past triggers.
func watched(t testing.TB, n int) (admin string, d *Disclosing, k *Keeping) {
	t.Helper()
	admin = database(t)
	d, k = disclosing(t, admin, Options{}), keeping(t, admin, Options{})
	fill(t, admin, n/2, disclose.Noticed, 10)
	fill(t, admin, n/2-9, disclose.Released, 400)
	fill(t, admin, 5, disclose.Recorded, 30)
	fill(t, admin, 4, disclose.Released, 1) // their secrecy ends on the next day
	conn := connect(t, admin)
	for _, statement := range []string{`SET search_path = penname`, `SET session_replication_role = replica`} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	const label = `substr(translate(md5(i::text) || md5(i::text), '0189', 'ghij'), 1, 26)`
	for _, statement := range []string{
		// Carried out; asked for two days ago and today, held and not.
		`INSERT INTO erasures (label, salt, day, cleared, leaf, version) SELECT ` + label + `, sha256(i::text::bytea), $1, 1, 1000000 + i, 1 FROM generate_series(1, $2::int) i`,
		`INSERT INTO erasures (label, salt, day, cleared) SELECT ` + label + `, sha256(i::text::bytea), $1::date + (i % 3 - 2), CASE WHEN i <= 1000003 THEN 1 END FROM generate_series(1000001, 1000006) i WHERE $2 > 0`,
		`INSERT INTO reviews (id, account, several, state, day) SELECT substr(` + label + `, 1, 12), false, false, 'done', $1 FROM generate_series(1, $2::int) i`,
		`INSERT INTO reviews (id, mark, whose, account, several, state, due, day) SELECT substr(` + label + `, 1, 12), sha256(i::text::bytea), sha256(i::text::bytea), false, false,
		   CASE i % 3 WHEN 0 THEN 'held' WHEN 1 THEN 'objected' ELSE 'waiting' END, $1, $1::date - CASE WHEN i > 1000003 THEN 1 ELSE 0 END FROM generate_series(1000001, 1000006) i WHERE $2 > 0`,
	} {
		if _, err := conn.Exec(t.Context(), statement, day, n); err != nil {
			t.Fatal(err)
		}
	}
	sql(t, admin, `VACUUM ANALYZE penname.cases, penname.erasures, penname.reviews`)
	return admin, d, k
}

// What operators watch is counted, by indexes and never by reading whole tables, and
// what people asked for today is not in it.
func TestCountsOfManyRowsReadNoTable(t *testing.T) {
	admin, d, k := watched(t, onFile())
	n := int64(onFile())
	now := day.AddDate(0, 0, 1).Add(30 * time.Minute) // secrecy of four is over since half an hour
	found, err := d.Docket(t.Context(), now)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	if found.Cases[disclose.Noticed] != n/2 || found.Cases[disclose.Released] != n/2-5 || found.Cases[disclose.Recorded] != 5 || len(found.Cases) != len(disclose.States) {
		t.Error(found.Cases)
	}
	if found.NoticesDue != 4 || found.NoticesOverdue != 0 {
		t.Errorf("%d due, %d overdue", found.NoticesDue, found.NoticesOverdue)
	}
	for _, c := range []struct {
		now                                 time.Time
		reviews, overdue, erasures, erasing int64
	}{
		{day.Add(23 * time.Hour), 2, 0, 4, 1},
		{day.Add(24*time.Hour + time.Minute), 4, 0, 6, 2},
		{day.Add(26 * time.Hour), 4, 4, 6, 2},
		{day.Add(72 * time.Hour), 4, 4, 6, 3},
	} {
		found, err := d.Docket(t.Context(), c.now)
		if err != nil || found.Reviews != c.reviews || found.NoticesOverdue != c.overdue {
			t.Errorf("%v: %+v, %v", c.now, found, err)
		}
		if pending, overdue, err := k.PendingErasures(t.Context(), c.now); err != nil || pending != c.erasures || overdue != c.erasing {
			t.Errorf("%v: %d erasures, %d overdue, %v", c.now, pending, overdue, err)
		}
	}
	plan := connect(t, admin)
	if _, err := plan.Exec(t.Context(), `SET search_path = penname`); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]any{docketSQL: {now, now, now}, pendingErasuresSQL: {now, now}} {
		rows, err := plan.Query(t.Context(), `EXPLAIN `+name, args...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, "Seq Scan") {
				t.Error(line)
			}
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
	}
}

// BenchmarkCounts is what one look at the database costs.
func BenchmarkCounts(b *testing.B) {
	_, d, k := watched(b, 100_000)
	for b.Loop() {
		if _, err := d.Docket(b.Context(), day); err != nil {
			b.Fatal(err, cause(err))
		}
		if _, _, err := k.PendingErasures(b.Context(), day); err != nil {
			b.Fatal(err, cause(err))
		}
	}
}
