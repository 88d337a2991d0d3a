package postgres

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// D03, D04, D05: neither side gets past the days of a person, or past what they object, by SQL.
func TestD05NothingGoesOnBeforeThePersons(t *testing.T) {
	admin := database(t)
	persons, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	c, leaf := disclosetest.FirstOrder(t, 2)
	c, err := d.Cases.File(ctx, c, leaf)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	c = apply(t, d, c.ID, disclosetest.Shows)
	if err := persons.ObjectTo(ctx, noticeOf(c, 0), []byte("sealed"), disclosetest.Day); err != nil {
		t.Fatal(err, cause(err))
	}
	hand := connect(t, as(t, admin, "penname_disclosing"))
	for statement, want := range map[string]string{
		`UPDATE penname.notice_first SET leaf = $2, reached = true, approve_from = now() WHERE case_id = $1`:             "notice_first_once", // the recorded leaf is no told one
		`UPDATE penname.cases SET state = 'authorised', authorised_leaf = $2 WHERE id = $1`:                              "cases_quorum",
		`UPDATE penname.objections SET outcome = 'dismissed', ruling = $2, said = '' WHERE case_id = $1`:                 "objections_leaf",
		`UPDATE penname.objections SET leaf = $2 WHERE case_id = $1`:                                                     "objections_leaf",
		`INSERT INTO penname.first_notices (case_id) SELECT $1 WHERE $2::bigint IS NULL OR true`:                         "",
		`INSERT INTO penname.notice_first (case_id, days, tell_by) SELECT $1, 1, now() WHERE $2::bigint IS NULL OR true`: "notice_first_pkey",
	} {
		_, err := hand.Exec(ctx, statement, c.ID, c.RecordedLeaf)
		if _, name := sqlState(err); err == nil || want != "" && name != want {
			t.Errorf("%s: %v", statement, err)
		}
	}
	for at, want := range map[int]string{-1: "notice_first_once", 0: ""} { // before the order was recorded nobody was told of it
		told, err := proof.ToldLeaf(disclosetest.Day.AddDate(0, 0, at), c.RecordedLeaf, true).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		tx, err := hand.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = tx.Exec(ctx, `INSERT INTO penname.log_leaves (index, leaf) SELECT max(index) + 1, $1 FROM penname.log_leaves`, told); err == nil {
			_, err = tx.Exec(ctx, `UPDATE penname.notice_first SET leaf = (SELECT max(index) FROM penname.log_leaves), reached = true, approve_from = $2 WHERE case_id = $1`,
				c.ID, disclosetest.Day.AddDate(0, 0, at+11))
		}
		if _, name := sqlState(err); name != want || (want == "") != (err == nil) {
			t.Errorf("told %d days after the recorded leaf: %v", at, err)
		}
		if err := tx.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
	}
	owner := connect(t, admin)
	for _, statement := range []string{`DELETE FROM penname.objections`, `DELETE FROM penname.notice_first`, `UPDATE penname.first_notices SET day = day`, `DELETE FROM penname.first_notices`,
		`UPDATE penname.objections SET suspends = false`, `UPDATE penname.objections SET sealed = 'other'`, `UPDATE penname.notice_first SET days = 1`,
		`TRUNCATE penname.objections`, `TRUNCATE penname.first_notices`, `TRUNCATE penname.notice_first CASCADE`, `TRUNCATE penname.notice_codes`} {
		if _, err := owner.Exec(ctx, statement); err == nil {
			t.Errorf("%s: done", statement)
		}
	}
	issues := connect(t, as(t, admin, "penname_issuing"))
	for _, statement := range []string{`SELECT case_id FROM penname.notice_first`, `SELECT sealed FROM penname.objections`, `SELECT hash FROM penname.notice_codes`,
		`SELECT case_id FROM penname.notices_of`, `SELECT penname.use_code('', '', now())`, `SELECT penname.store_objection('', 0, false, '', now())`} {
		if _, err := issues.Exec(ctx, statement); err == nil {
			t.Errorf("the issuing side: %s", statement)
		}
	}
	if err := persons.ObjectTo(ctx, noticeOf(disclose.Case{Warrant: c.Warrant, RecordedLeaf: c.RecordedLeaf + 1}, 0), []byte("x"), disclosetest.Day); !errors.Is(err, policy.ErrNoNotice) {
		t.Errorf("to an order of which nobody was told: %v", err)
	}
	apply(t, d, c.ID, disclosetest.Tells(true))
	if err := d.Check(ctx); err != nil {
		t.Error(err, cause(err))
	}
}

// What a person reads: what is to be done, and what they objected.
func TestAPersonReadsTheirFirstNotice(t *testing.T) {
	admin := database(t)
	persons, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	c, leaf := disclosetest.FirstOrder(t, 2)
	c, err := d.Cases.File(ctx, c, leaf)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	c = apply(t, d, c.ID, disclosetest.Shows)
	name := c.Warrant.Targets[1].Pseudonym
	read := func() (n []string, first bool, objected int) {
		t.Helper()
		all, err := persons.Notices(ctx, []token.Pseudonym{name})
		if err != nil || len(all) != 1 || all[0].First == nil || all[0].First.Days != 10 || !all[0].First.Expires.Equal(c.Expires) {
			t.Fatalf("%+v, %v", all, err)
		}
		return []string{all[0].State, all[0].Authority}, !all[0].First.ObjectBy.IsZero(), len(all[0].Objections)
	}
	if n, begun, objected := read(); n[0] != "waiting" || begun || objected != 0 {
		t.Error(n, begun, objected)
	}
	c = apply(t, d, c.ID, disclosetest.Tells(true))
	if err := persons.ObjectTo(ctx, noticeOf(c, 1), []byte("sealed"), disclosetest.Day); err != nil {
		t.Fatal(err, cause(err))
	}
	if n, begun, objected := read(); n[0] != "waiting" || !begun || objected != 1 {
		t.Error(n, begun, objected)
	}
	c = apply(t, d, c.ID, func(c disclose.Case) (disclose.Change, error) {
		return disclose.Change{Steps: []disclose.Step{{Event: disclose.Object, Leaf: proof.ObjectedLeaf(disclosetest.Day, c.RecordedLeaf)}}}, nil
	})
	w, about := disclosetest.About(t, policy.Ruling, c, c.Authority, 1)
	w.Warrant.Ruling = &policy.RulingOn{Digest: digestOf(c.Objections[0]), Outcome: policy.Upheld}
	w.Warrant.Grounds = "It is true."
	if _, err := d.Cases.File(ctx, w, about); err != nil {
		t.Fatal(err, cause(err))
	}
	all, err := persons.Notices(ctx, []token.Pseudonym{name})
	if err != nil || all[0].State != "stopped" || all[0].Objections[0].Outcome != policy.Upheld || all[0].Objections[0].Said != "It is true." || all[0].Objections[0].Ruling == 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

func digestOf(o disclose.Objection) string { return hex.EncodeToString(o.Digest[:]) }
