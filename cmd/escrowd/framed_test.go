package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
)

// TestSwappedRecordFramesNobody is promise 5 against the operator: it has the
// database's superuser and every key that encrypts, and puts the neighbour's
// identity, freshly and correctly sealed, where the troll's was. The token was
// issued before, and commits to what was sealed then.
func TestSwappedRecordFramesNobody(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := &story{testbed: tb}
	troll := newBrowser()
	if err := st.visit(ctx, troll, tb.town, "Dexter Crallow"); err != nil {
		t.Fatal(err)
	}
	if _, err := st.say(ctx, troll, tb.town, "I will come for you tonight."); err != nil {
		t.Fatal(err)
	}
	var err error
	if st.threat, err = tb.town.last(); err != nil {
		t.Fatal(err)
	}
	if st.evidence, err = st.saveEvidence("evidence-threat.jws", st.threat); err != nil {
		t.Fatal(err)
	}

	db, err := pgx.Connect(ctx, tb.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx) //nolint:errcheck // a test's connection
	var label string
	if err := db.QueryRow(ctx, `SELECT label FROM penname.records`).Scan(&label); err != nil {
		t.Fatal(err)
	}
	pk, err := threshold.ParsePublicKey(tb.service.bundle.ThresholdKey)
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.Seal(ctx, label, map[string][]byte{
		"name": []byte("Bartholomew Okwuosa"), "birthdate": []byte("1959-01-30"),
		"address": []byte("16 Lapwing Close"), "email": []byte("b.okwuosa@mail.example"),
	}, pk, tb.service.issuing.keys.WrapHalf)
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(other.Fields))
	var sealed [][]byte
	for _, n := range names {
		sealed = append(sealed, other.Fields[n])
	}
	for _, sql := range []string{`SET session_replication_role = replica`} { // the superuser's way round every trigger
		if _, err := db.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	tag, err := db.Exec(ctx, `UPDATE penname.records SET first_half = $2, second_half = $3, fields = $4, sealed = $5 WHERE label = $1`,
		label, other.FirstHalf, other.SecondHalf, names, sealed)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%v %v", tag, err)
	}

	if err := st.file(ctx); err == nil || !strings.Contains(err.Error(), "warrant.commitment_mismatch") {
		t.Fatalf("a warrant against a swapped record was filed: %v", err)
	}
}
