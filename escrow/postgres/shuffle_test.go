package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/token"
)

// fileOrder is the first column of a table in the order of its file: what
// pg_dump and COPY give.
func fileOrder(t *testing.T, conn *pgx.Conn, table string) []string {
	t.Helper()
	var out bytes.Buffer
	if _, err := conn.PgConn().CopyTo(t.Context(), &out, `COPY penname.`+table+` TO STDOUT`); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for line := range strings.Lines(out.String()) {
		key, _, _ := strings.Cut(line, "\t")
		keys = append(keys, key)
	}
	return keys
}

var shuffled = []string{"records", "persons", "pseudonyms", "erasures", "reviews", "sessions", "openid_rows", "openid_used", "openid_entries"}

// N01 and promise 1: after Shuffle neither the order of the rows, as a dump
// shows it, nor the transaction numbers in their headers tell which pseudonyms
// were made by one person, or when in the day.
func TestShuffleLeavesNoOrder(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	conn := connect(t, admin)
	sql(t, admin, `CREATE EXTENSION pageinspect SCHEMA public`)
	var made []string
	people := func(n int) {
		for range n {
			e := enrolment()
			if _, _, err := s.Enrol(ctx, e); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Ask(ctx, issue.Receipt{Label: e.Person.Label, Salt: [32]byte(random(32)), Day: day}); err != nil {
				t.Fatal(err)
			}
			hold := issue.Hold{Reference: strings.ToLower(rand.Text()[:12]), Mark: random(32), Whose: random(32), Day: day}
			if _, err := s.Hold(ctx, hold); err != nil {
				t.Fatal(err)
			}
			if _, err := s.BeginSession(ctx, e.Person, issue.NewSession("", day)); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				a := assignment(t)
				if _, err := s.Assign(ctx, a); err != nil {
					t.Fatal(err)
				}
				made = append(made, `\\x`+hex.EncodeToString(s.rows.place(string(a.Pseudonym), 0)))
				grant := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Body: []byte("{}"), Expires: day}
				if err := s.Put(ctx, grant); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Use(ctx, grant.ID, day); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Allocate(ctx, 1, int(grant.ID[0])<<16|int(grant.ID[1])<<8|int(grant.ID[2]), grant.ID, day); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	people(20)
	if got := fileOrder(t, conn, "pseudonyms"); !slices.Equal(got, made) {
		t.Fatal("control: without Shuffle the file is in the order of the making")
	}
	for range 2 { // and an hour later, with more people
		if err := s.Shuffle(ctx); err != nil {
			t.Fatal(err, cause(err))
		}
		for _, table := range shuffled {
			keys := fileOrder(t, conn, table)
			if len(keys) < 20 || !slices.IsSorted(keys) {
				t.Errorf("%s: %d rows, not in the order of their random keys", table, len(keys))
			}
			if n := value[int](t, admin, `SELECT count(DISTINCT xmin::text) FROM `+table); n != 1 {
				t.Errorf("%s: %d transaction numbers on one day", table, n)
			}
			// A dead row that is left in the file would tell the same.
			if n := value[int](t, admin, `SELECT count(*) FROM generate_series(0, pg_relation_size($1::text::regclass) / 8192 - 1) page,
				LATERAL public.heap_page_items(public.get_raw_page($1::text, page::int)) WHERE lp_len > 0`, "penname."+table); n != len(keys) {
				t.Errorf("%s: %d rows in the file, %d in the table", table, n, len(keys))
			}
		}
		people(10)
	}
}

// Days keep apart: a row of yesterday is not written again every hour.
func TestShuffleLeavesOtherDaysAlone(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	for i := range 4 {
		a := assignment(t)
		a.Day = day.AddDate(0, 0, i/2)
		if _, err := s.Assign(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	numbers := func() string {
		return value[string](t, admin, `SELECT string_agg(DISTINCT day || ' ' || xmin, ', ') FROM pseudonyms WHERE day = '2026-11-21'`)
	}
	if err := s.Shuffle(ctx); err != nil {
		t.Fatal(err)
	}
	first := numbers()
	a := assignment(t)
	a.Day = day.AddDate(0, 0, 1)
	if _, err := s.Assign(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := s.Shuffle(ctx); err != nil {
		t.Fatal(err)
	}
	if numbers() != first {
		t.Errorf("%s became %s", first, numbers())
	}
}

// Nobody is lost or turned away while it runs, and a backup that began before
// it sees every row that was there.
func TestShuffleWhileServing(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
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
