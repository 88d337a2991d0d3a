package postgres

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
	"github.com/penname/penname/verifier/proof"
)

// Refusals that come at once share a COMMIT. Each is logged once, however often it comes, and
// one that cannot be logged is refused alone.
func TestRefusalsShareACommit(t *testing.T) {
	const different, each = 100, 3
	admin := database(t)
	d := disclosing(t, admin, Options{})
	var wg sync.WaitGroup
	for n := range different {
		for range each {
			wg.Go(func() {
				if err := d.Cases.Refuse(t.Context(), "court", fmt.Sprint(n), proof.RefusedLeaf(day, "warrant.a")); err != nil {
					t.Error(err, cause(err))
				}
			})
		}
		wg.Go(func() {
			wantErr(t, "no word", d.Cases.Refuse(t.Context(), "court", fmt.Sprint(n), proof.RefusedLeaf(day, "No Word")), proof.ErrLeaf)
		})
		wg.Go(func() { // either is the first of the two days
			err := d.Cases.Refuse(t.Context(), "other", fmt.Sprint(n), proof.RefusedLeaf(day.AddDate(0, 0, -1), "warrant.a"))
			if err != nil {
				wantErr(t, "the day before", err, translog.ErrOrder)
			}
		})
	}
	wg.Wait()
	translogtest.CheckLog(t, d.Log)
	conn := connect(t, admin)
	logged := one[int](t, conn, `SELECT count(*) FROM penname.refusals WHERE code = 'warrant.a'`)
	if size := one[int](t, conn, `SELECT count(*) FROM penname.log_leaves`); size != logged || logged < different {
		t.Errorf("%d leaves of %d refusals", size, logged)
	}
	if n := one[int](t, conn, `SELECT count(DISTINCT leaf) FROM penname.refusals`); n != logged {
		t.Errorf("%d leaves for %d refusals", n, logged)
	}
	if n := one[int](t, conn, `SELECT count(DISTINCT xmin::text) FROM penname.log_leaves`); n > logged/2 {
		t.Errorf("%d transactions for %d refusals", n, logged)
	}
}

func filing(t *testing.T, warrant []byte, day time.Time) refusedFiling {
	t.Helper()
	leaf, err := translog.Prepare(proof.RefusedLeaf(day, "warrant.a"))
	if err != nil {
		t.Fatal(err)
	}
	return refusedFiling{warrant, "warrant.a", leaf}
}

// Of two that are the same, neither is told that it is logged if neither is.
func TestRefusalTwiceInOneGroup(t *testing.T) {
	d := disclosing(t, database(t), Options{})
	var warrants [2][32]byte
	warrants[1][0] = 1
	before, twice, again := filing(t, warrants[0][:], day), filing(t, warrants[1][:], day.AddDate(0, 0, -1)), filing(t, warrants[1][:], day)
	results, err := d.Cases.refuseTogether(t.Context(), []refusedFiling{before, twice, again})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	for _, r := range results[1:] {
		wantErr(t, "the day before", r.Err, translog.ErrOrder)
	}
	if results, err = d.Cases.refuseTogether(t.Context(), []refusedFiling{again, again, before}); err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	if tree := translogtest.CheckLog(t, d.Log); tree.N != 2 {
		t.Errorf("%d leaves", tree.N)
	}
}

// What the server refuses of one is no reason to refuse the others.
func TestRefusalThatTheServerRefusesIsAlone(t *testing.T) {
	d := disclosing(t, database(t), Options{})
	filings := []refusedFiling{filing(t, []byte("short"), day)}
	for n := range 3 {
		warrant := [32]byte{byte(n)}
		filings = append(filings, filing(t, warrant[:], day))
	}
	results, err := d.Cases.refuseTogether(t.Context(), filings)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	wantErr(t, "no hash of a warrant", results[0].Err, ErrRefused)
	for _, r := range results[1:] {
		if r.Err != nil {
			t.Error(r.Err, cause(r.Err))
		}
	}
	if tree := translogtest.CheckLog(t, d.Log); tree.N != 3 {
		t.Errorf("%d leaves", tree.N)
	}
}

// A thousand refusals take as many round trips as one: BEGIN; the lock, the size with the edge
// of the tree, and what is logged; leaves, hashes and rows; the barrier and COMMIT.
func TestRefusalsTakeFourRoundTrips(t *testing.T) {
	db := new(trips)
	d := disclosing(t, database(t), Options{Dial: db.dial, MaxConns: 1})
	later := time.Now().Add(time.Hour)
	d.looked.Store(&later) // which schema there is, is no part of it
	filings := func(from, to int) (all []refusedFiling) {
		for n := from; n < to; n++ {
			warrant := sha256.Sum256([]byte(fmt.Sprint(n)))
			all = append(all, filing(t, warrant[:], day))
		}
		return all
	}
	for round, all := range [][]refusedFiling{filings(0, 2), filings(2, 3), filings(3, 1000)} {
		before := db.count()
		if _, err := d.Cases.refuseTogether(t.Context(), all); err != nil {
			t.Fatal(err, cause(err))
		}
		if n := db.count() - before; round > 0 && n != 4 { // the first prepares the statements
			t.Errorf("%d round trips for %d refusals", n, len(all))
		}
	}
}
