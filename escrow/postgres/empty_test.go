package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/token"
)

// In a database that was empty a moment ago nobody reads tables from end to end: plans are made
// then, and kept until the server looks at how much there is.
func TestEmptyTablesAreReadByTheirIndexes(t *testing.T) {
	const people = 200
	admin := database(t)
	s := issuing(t, admin, Options{MaxConns: 1})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, cause(err))
		}
	}
	for n := range people {
		e := enrolment()
		_, _, err := s.Enrol(t.Context(), e)
		must(err)
		a := assignment(t)
		_, err = s.Assign(t.Context(), a)
		must(err)
		q := issue.Question{Person: e.Person, Session: issue.NewSession("", day), Names: []token.Pseudonym{a.Pseudonym}}
		_, err = s.Standing(t.Context(), day, q)
		must(err)
		session, grant := openid.Row{Kind: openid.KindSession, ID: [32]byte(random(32)), Body: []byte(`{}`), Expires: day}, freshGrant()
		must(s.Put(t.Context(), session))
		session.Version = 1
		must(s.Answer(t.Context(), session, grant))
		grant, err = s.Get(t.Context(), grant.Kind, grant.ID)
		must(err)
		grant.Entries = []openid.Entry{{Index: 2 * n, Expires: day}, {Index: 2*n + 1, Expires: day}}
		must(s.Put(t.Context(), grant))
	}
	s.Close() // a session that ends says what it read
	conn := connect(t, admin)
	for written := 0; written < people; { // soon after
		must(conn.QueryRow(t.Context(), `SELECT n_tup_upd FROM pg_stat_user_tables WHERE schemaname = 'penname' AND relname = 'openid_rows'`).Scan(&written))
	}
	rows, err := conn.Query(t.Context(), `SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE schemaname = 'penname' AND seq_tup_read >= $1`, 2*people)
	must(err)
	var table string
	var read int64
	_, err = pgx.ForEachRow(rows, []any{&table, &read}, func() error {
		t.Errorf("%s: %d rows read from end to end", table, read)
		return nil
	})
	must(err)
}
