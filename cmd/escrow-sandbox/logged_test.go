package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/policy"
)

// watchedKeys calls ask before it opens a first half.
type watchedKeys struct {
	disclose.Keys
	ask func() error
}

func (k watchedKeys) UnwrapHalves(ctx context.Context, halves []disclose.Wrapped) ([][]byte, error) {
	if err := k.ask(); err != nil {
		return nil, err
	}
	return k.Keys.UnwrapHalves(ctx, halves)
}

// TestI2ARowIsNoWarrant: whoever controls the database writes into an authorised
// case what a court never signed, or says that another leaf authorised it. The
// registrar used to ask the key service for a first half on the word of the row,
// and to encrypt it to the attacker.
func TestI2ARowIsNoWarrant(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := filedCase(t, tb)
	st.Author = sandbox.People()[1]
	honest := tb.Service.Registrar.Keys
	var asked atomic.Int64
	tb.Service.Registrar.Keys = watchedKeys{honest, func() error { asked.Add(1); return disclose.ErrNotLogged }}
	for _, id := range []string{"alba", "bruno"} {
		if err := st.Approve(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	c, err := tb.Service.Registrar.Cases.Case(ctx, st.ID)
	if err != nil || c.State != disclose.Authorised || asked.Load() != 1 {
		t.Fatalf("%s, asked %d times, %v", c.State, asked.Load(), err)
	}

	// The attacker's order for the same post, signed by no court of the bundle.
	draft, err := st.Draft("mine.json", st.Post, st.Evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		t.Fatal(err)
	}
	signed := st.Path("mine.jws")
	if err := st.SignUnchecked(draft, "unknown-court.jwk", signed); err != nil {
		t.Fatal(err)
	}
	mine, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	text := func(warrant string) []byte {
		b, err := json.Marshal(policy.Submission{Warrant: warrant, Evidence: c.Submission.Evidence})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	db, err := pgx.Connect(ctx, tb.Postgres.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx) //nolint:errcheck // a test's connection
	write := func(submission []byte, authorised int64) {
		t.Helper()
		if _, err := db.Exec(ctx, `SET session_replication_role = replica`); err != nil { // past every trigger
			t.Fatal(err)
		}
		if _, err := db.Exec(ctx, `UPDATE penname.cases SET submission = $2, authorised_leaf = $3 WHERE id = $1`, c.ID, submission, authorised); err != nil {
			t.Fatal(err)
		}
	}
	for name, attack := range map[string]func(){
		"another warrant":                  func() { write(text(strings.TrimSpace(string(mine))), c.Rounds[0].AuthorisedLeaf) },
		"authorised by a custodian's leaf": func() { write(text(c.Submission.Warrant), c.RecordedLeaf+1) },
	} {
		attack()
		if err := st.Refused(ctx, "warrant.not_as_logged", st.OpenArgs()...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if asked.Load() != 1 {
			t.Errorf("%s: the key service was asked", name)
		}
		write(text(c.Submission.Warrant), c.Rounds[0].AuthorisedLeaf)
	}
	tb.Service.Registrar.Keys = honest
	if err := st.Open(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestI17ExpiryWinsOverRelease: the warrant expires while the key service
// thinks. The package used to be released all the same.
func TestI17ExpiryWinsOverRelease(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := filedCase(t, tb)
	var asked atomic.Int64
	tb.Service.Registrar.Keys = watchedKeys{tb.Service.Registrar.Keys, func() error {
		if asked.Add(1) == 1 {
			tb.Clock.Advance(40 * 24 * time.Hour)
		}
		return nil
	}}
	for _, id := range []string{"alba", "bruno"} {
		if err := st.Approve(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if asked.Load() != 1 {
		t.Fatalf("the key service was asked %d times", asked.Load())
	}
	if err := st.Refused(ctx, "warrant.expired", st.OpenArgs()...); err != nil {
		t.Error(err)
	}
	if err := tb.Service.ServeCases(ctx); err != nil {
		t.Fatal(err)
	}
	if got := leaves(t, tb); got["decided"] != 1 || got["released"] != 0 {
		t.Errorf("the log has %v", got)
	}
}
