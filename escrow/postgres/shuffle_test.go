package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/verifier/token"
)

// fileOrder is the key of a table in the order of its file: what
// pg_dump and COPY give.
func fileOrder(t *testing.T, conn *pgx.Conn, table, key string) []string {
	t.Helper()
	var out bytes.Buffer
	if _, err := conn.PgConn().CopyTo(t.Context(), &out, `COPY penname.`+table+` (`+key+`) TO STDOUT`); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for line := range strings.Lines(out.String()) {
		keys = append(keys, strings.TrimSpace(line))
	}
	return keys
}

// isOrdered checks that a table's file tells nothing of the order in which its rows were made,
// but that of their random keys.
func isOrdered(t *testing.T, admin, table, key string, made []string) {
	t.Helper()
	file := fileOrder(t, connect(t, admin), table, key)
	if len(file) != len(made) {
		t.Fatalf("%s: %d rows of %d", table, len(file), len(made))
	}
	places := map[string]int{}
	for i, key := range file {
		places[key] = i
	}
	var sum, next float64 // of the squares of the differences in rank; neighbours of before that still are
	for i, key := range made {
		d := float64(places[key] - i)
		if sum += d * d; i > 0 && places[key] == places[made[i-1]]+1 {
			next++
		}
	}
	// By lot the correlation (Spearman's) is 0, and 1/sqrt(n) its standard deviation; of all
	// neighbours, one remains.
	n := float64(len(made))
	if rho := 1 - 6*sum/(n*(n*n-1)); math.Abs(rho) > 6/math.Sqrt(n) || next > 14 {
		t.Errorf("%s: the file is in the order of the making: %.2f, %v neighbours of %v", table, rho, next, n)
	}
	// What wrote a row last depends on its key.
	if n := value[int](t, admin, `SELECT count(*) FROM (SELECT age(xmin) AS age, lag(age(xmin)) OVER (ORDER BY `+key+`) AS before FROM `+table+`) rows WHERE age > before`); n != 0 {
		t.Errorf("%s: %d rows were written earlier than one with a smaller key", table, n)
	}
	// A dead row that is left in the file would tell the same.
	sql(t, admin, `VACUUM `+table)
	if n := value[int](t, admin, `SELECT count(*) FROM generate_series(0, pg_relation_size($1::text::regclass) / 8192 - 1) page,
		LATERAL public.heap_page_items(public.get_raw_page($1::text, page::int)) WHERE lp_len > 0`, "penname."+table); n != len(made) {
		t.Errorf("%s: %d rows in the file, %d in the table", table, n, len(made))
	}
}

// over makes rows be of the day (the hour) before.
func over(t *testing.T, admin string, tables ...string) {
	t.Helper()
	for _, table := range tables {
		sql(t, admin, `SET session_replication_role = replica; UPDATE penname.`+table+` SET fresh = now() - interval '2 minutes' WHERE fresh IS NOT NULL`)
	}
}

// N01 and promise 1: after Shuffle neither the order of the rows, as a dump
// shows it, nor the transaction numbers in their headers tell which pseudonyms
// were made by one person, or when in the day.
func TestShuffleLeavesNoOrder(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	conn := connect(t, admin)
	sql(t, admin, `CREATE EXTENSION pageinspect SCHEMA public`)
	made := map[string][]string{}
	bytea := func(b []byte) string { return `\\x` + hex.EncodeToString(b) }
	note := func(table, key string) { made[table] = append(made[table], key) }
	people := func(n int) {
		for range n {
			e := enrolment()
			if _, _, err := s.Enrol(ctx, e); err != nil {
				t.Fatal(err)
			}
			note("records", e.Person.Label)
			note("persons", bytea(e.Fingerprint))
			if _, err := s.Ask(ctx, issue.Receipt{Label: e.Person.Label, Salt: [32]byte(random(32)), Day: day}); err != nil {
				t.Fatal(err)
			}
			note("erasures", e.Person.Label)
			hold := issue.Hold{Reference: strings.ToLower(rand.Text()[:12]), Mark: random(32), Whose: random(32), Day: day}
			if _, err := s.Hold(ctx, hold); err != nil {
				t.Fatal(err)
			}
			note("reviews", hold.Reference)
			if _, err := s.BeginSession(ctx, e.Person, issue.NewSession("", day)); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				a := assignment(t)
				if _, err := s.Assign(ctx, a); err != nil {
					t.Fatal(err)
				}
				note("pseudonyms", bytea(s.rows.place(string(a.Pseudonym), 0)))
				grant := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Body: []byte("{}"), Expires: day}
				if err := s.Put(ctx, grant); err != nil {
					t.Fatal(err)
				}
				note("openid_rows", bytea(s.rowID(grant.Kind, grant.ID)))
				if _, err := s.Use(ctx, grant.ID, day); err != nil {
					t.Fatal(err)
				}
				note("openid_used", bytea(s.rows.handle("used", grant.ID[:])))
				list := int(grant.ID[0])<<16 | int(grant.ID[1])<<8 | int(grant.ID[2])
				if _, err := openidtest.Allocate(ctx, s, 1, list, grant.ID, day); err != nil {
					t.Fatal(err)
				}
				slot, _ := s.slot(1, list)
				note("openid_entries", bytea(slot))
			}
		}
	}
	people(20)
	if got := fileOrder(t, conn, "pseudonyms", "handle"); !slices.Equal(got, made["pseudonyms"]) {
		t.Fatal("control: without Shuffle the file is in the order of the making")
	}
	keys := map[string]string{"records": "label", "persons": "fingerprint", "pseudonyms": "handle", "erasures": "label", "reviews": "id", "openid_rows": "id", "openid_used": "key", "openid_entries": "slot"}
	for range 3 { // and an hour later, with more people
		if err := s.Shuffle(ctx); err != nil {
			t.Fatal(err, cause(err))
		}
		for table, key := range keys {
			isOrdered(t, admin, table, key, made[table])
		}
		people(10)
	}
}

// Days keep apart: a row of yesterday is written once more when its day is over, and not
// again every hour; until then with all of its day. One that is changed later is new.
func TestShuffleLeavesOtherDaysAlone(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	enrol := func(n int) {
		for range n {
			if _, _, err := s.Enrol(ctx, enrolment()); err != nil {
				t.Fatal(err)
			}
		}
	}
	numbers := func(where string) string {
		return value[string](t, admin, `SELECT string_agg(label || ' ' || xmin, ', ' ORDER BY label) FROM records WHERE `+where)
	}
	shuffle := func() {
		if err := s.Shuffle(ctx); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	enrol(5)
	shuffle()
	first := numbers("true")
	sql(t, admin, `SET session_replication_role = replica; UPDATE penname.records SET fresh = now() - interval '30 seconds'`)
	enrol(5)
	shuffle()
	if n := value[int](t, admin, `SELECT count(*) FROM records WHERE fresh IS NOT NULL`); n != 10 || numbers("true") == first {
		t.Errorf("%d rows of 10 are fresh: who came at the last moment is not there yet", n)
	}
	over(t, admin, "records")
	shuffle()
	if n := value[int](t, admin, `SELECT count(*) FROM records WHERE fresh IS NOT NULL`); n != 0 {
		t.Fatalf("%d rows are fresh, and their day is over", n)
	}
	first = numbers("true")
	enrol(5)
	shuffle()
	if got := numbers("fresh IS NULL"); got != first {
		t.Errorf("%s became %s", first, got)
	}
	fresh := func(n int, what string) {
		t.Helper()
		if got := value[int](t, admin, `SELECT count(*) FROM records WHERE fresh = date_trunc('day', now(), 'UTC') + interval '1 day'`); got != n {
			t.Errorf("%d rows are fresh of 5 new ones and %s", got, what)
		}
	}
	sql(t, admin, `INSERT INTO rotations (version, state, day) VALUES (2, 'moving', '2026-11-21')`)
	sql(t, admin, `UPDATE records SET first_half = 'vault:v2:AAAA' WHERE label = (SELECT min(label) FROM records WHERE fresh IS NULL)`)
	fresh(5, "one that a rotation moved, in the order of labels")
	sql(t, admin, `ALTER TABLE records DISABLE TRIGGER no_change; UPDATE records SET first_half = '', second_half = '', sealed = '', erased = '2026-11-21' WHERE label = (SELECT max(label) FROM records WHERE fresh IS NULL)`)
	fresh(6, "one that was erased")
}

// Nobody is lost or turned away while it runs, and a backup that began before
// it sees every row that was there.
func TestShuffleWhileServing(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	s.rests = 1 // or it never reaches them
	for range 30 {
		if _, _, err := s.Enrol(ctx, enrolment()); err != nil {
			t.Fatal(err)
		}
	}
	backup := connect(t, admin)
	if _, err := backup.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1`); err != nil { // pg_dump's snapshot, before it locks a table
		t.Fatal(err)
	}
	var enrolled atomic.Int64
	var wg sync.WaitGroup
	stop, cancel := context.WithCancel(ctx)
	for range 4 {
		wg.Go(func() {
			for stop.Err() == nil {
				e, a := enrolment(), assignment(t)
				if _, first, err := s.Enrol(ctx, e); err != nil || !first {
					t.Error(first, err, cause(err))
				}
				if _, err := s.Assign(ctx, a); err != nil {
					t.Error(err, cause(err))
				}
				if _, err := oneRecord(ctx, d, e.Person.Label); err != nil {
					t.Error(err, cause(err))
				}
				if names, err := s.Assigned(ctx, []token.Pseudonym{a.Pseudonym}); err != nil || len(names) != 1 {
					t.Error(err, cause(err))
				}
				enrolled.Add(1)
			}
		})
	}
	for range 5 {
		if err := s.Shuffle(ctx); err != nil {
			t.Error(err, cause(err))
		}
	}
	cancel()
	wg.Wait()
	want := int(enrolled.Load())
	if n := value[int](t, admin, `SELECT count(*) FROM persons`); n != want+30 {
		t.Errorf("%d persons, want %d", n, want+30)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM records JOIN persons USING (label)`); n != want+30 {
		t.Errorf("%d records, want %d", n, want+30)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM pseudonyms`); n != want {
		t.Errorf("%d pseudonyms, want %d", n, want)
	}
	var seen int
	if err := backup.QueryRow(ctx, `SELECT count(*) FROM penname.persons`).Scan(&seen); err != nil || seen != 30 {
		t.Errorf("the backup sees %d of 30 persons, %v", seen, err)
	}
}
