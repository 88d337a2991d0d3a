package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
)

// registry is a store with two records of town-square and one of market.
type registry struct {
	admin   string
	d       *Disclosing
	sign    disclosetest.Sign
	entries []disclose.PlatformEntry
	logged  []policy.LoggedPlatform
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{admin: database(t), sign: func(p policy.PlatformRecord) (string, error) { return policy.SignPlatform(key, p) }}
	r.d = disclosing(t, r.admin, Options{})
	r.append(t, disclosetest.NewPlatform(t, r.sign, "town-square"))
	r.append(t, disclosetest.NewPlatform(t, r.sign, "market"))
	r.append(t, r.next(t, 0, func(p *policy.PlatformRecord) { p.Name = "The Square" }))
	return r
}

func (r *registry) append(t *testing.T, e disclose.PlatformEntry) {
	t.Helper()
	after := int64(-1)
	if n := len(r.logged); n > 0 {
		after = r.logged[n-1].Leaf
	}
	l, err := r.d.Platforms.Append(t.Context(), e, proof.PlatformLeaf(day, e.Signed, e.Countersigned), after)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	r.entries, r.logged = append(r.entries, e), append(r.logged, l)
}

// next is an entry after the one with that place.
func (r *registry) next(t *testing.T, place int, edit func(*policy.PlatformRecord)) disclose.PlatformEntry {
	return disclosetest.NewPlatform(t, r.sign, r.entries[place].Record.ID, func(p *policy.PlatformRecord) {
		*p = r.entries[place].Record.Successor()
		edit(p)
	})
}

// Whoever writes into the database, past every check of the program, can store no
// record that is not the next one, with its own leaf and its own settings.
func TestGuardsOfTheRegistry(t *testing.T) {
	r := newRegistry(t)
	third := r.next(t, 2, func(*policy.PlatformRecord) {})
	gap := r.next(t, 2, func(p *policy.PlatformRecord) { p.Number = 4 })
	fork := r.next(t, 0, func(p *policy.PlatformRecord) { p.Number = 3 })
	sector := r.next(t, 2, func(p *policy.PlatformRecord) { p.Sector = "elsewhere" })
	again := disclosetest.NewPlatform(t, r.sign, "market", func(p *policy.PlatformRecord) { p.Name = "Another" })
	vouched := third
	vouched.Countersigned = []string{"an owner's", "a member's"}
	swapped := vouched
	swapped.Countersigned = []string{"a member's", "an owner's"}
	leaf := func(e disclose.PlatformEntry, edit func(*proof.Leaf)) string {
		l := proof.PlatformLeaf(day, e.Signed, e.Countersigned)
		edit(&l)
		raw, err := l.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	same := func(*proof.Leaf) {}
	for name, c := range map[string]struct {
		e      disclose.PlatformEntry
		leaf   string
		id     string
		client string
		want   string
	}{
		"the next one":             {e: third, leaf: leaf(third, same), id: "town-square"},
		"countersigned":            {e: vouched, leaf: leaf(vouched, same), id: "town-square"},
		"countersigned afterwards": {e: vouched, leaf: leaf(third, same), id: "town-square", want: "platform_records_logged"},
		"in another order":         {e: swapped, leaf: leaf(vouched, same), id: "town-square", want: "platform_records_logged"},
		"one left out":             {e: third, leaf: leaf(vouched, same), id: "town-square", want: "platform_records_logged"},
		"a gap":                    {e: gap, leaf: leaf(gap, same), id: "town-square", want: "platform_records_order"},
		"after an older one":       {e: fork, leaf: leaf(fork, same), id: "town-square", want: "platform_records_order"},
		"number 1 again":           {e: again, leaf: leaf(again, same), id: "market", want: "platform_records_order"},
		"another sector":           {e: sector, leaf: leaf(sector, same), id: "town-square", want: "platform_records_order"},
		"under another id":         {e: third, leaf: leaf(third, same), id: "market", want: "platform_records_signed"},
		"another redirect address": {e: third, leaf: leaf(third, same), id: "town-square", client: "swapped", want: "platform_records_signed"},
		"no record":                {e: disclose.PlatformEntry{Record: third.Record, Signed: "a.%%%.c", Client: third.Client}, leaf: leaf(third, same), id: "town-square", want: "platform_records_signed"},
		"a leaf of another record": {e: third, leaf: leaf(gap, same), id: "town-square", want: "platform_records_logged"},
		"a leaf of another day":    {e: third, leaf: leaf(third, func(l *proof.Leaf) { l.Day = "2026-11-22" }), id: "town-square", want: "platform_records_logged"},
		"a leaf of another kind":   {e: third, leaf: leaf(third, func(l *proof.Leaf) { l.Kind = proof.KindCeremony }), id: "town-square", want: "platform_records_logged"},
		"with no leaf":             {e: third, id: "town-square", want: "platform_records_logged"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, r.admin)
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(t.Context()) //nolint:errcheck // nothing is kept
			exec := func(sql string, args ...any) error { _, err := tx.Exec(t.Context(), sql, args...); return err }
			client := c.client
			if client == "" {
				client = string(c.e.Client)
			}
			err = exec(`SET LOCAL search_path = penname`)
			if err == nil && c.leaf != "" {
				err = exec(`INSERT INTO log_leaves (index, leaf) VALUES (3, $1)`, []byte(c.leaf))
			}
			if err != nil {
				t.Fatal(err)
			}
			err = exec(`INSERT INTO platform_records (id, number, signed, countersigned, client, leaf, day) VALUES ($1, $2, $3, $4, $5, 3, '2026-11-21')`,
				c.id, c.e.Record.Number, c.e.Signed, append([]string{}, c.e.Countersigned...), []byte(client))
			if _, constraint := sqlState(err); constraint != c.want || (err == nil) != (c.want == "") {
				t.Error(err)
			}
		})
	}
	consistent(t, r.d)
}

// Each side does with the registry what is its own; neither changes what is there. Who
// appends to it reads the settings of before, who keeps records reads nothing of it.
func TestWhoReadsTheSettingsOfAClient(t *testing.T) {
	r := newRegistry(t)
	const settings = `SELECT client FROM platform_records`
	for _, role := range []string{"penname_disclosing", "penname_issuing"} {
		if err := try(t, as(t, r.admin, role), settings); err != nil {
			t.Errorf("%s as %s: %v", settings, role, err)
		}
	}
	for role, forbidden := range map[string][]string{
		"penname_issuing": {`INSERT INTO platform_records (id) VALUES ('x')`},
		"penname_keeping": {settings, `SELECT id FROM platform_records`},
	} {
		for _, statement := range forbidden {
			if state, _ := sqlState(try(t, as(t, r.admin, role), statement)); state != "42501" {
				t.Errorf("%s as %s: %s", statement, role, state)
			}
		}
	}
	for _, statement := range []string{`UPDATE platform_records SET client = ''`, `DELETE FROM platform_records`, `TRUNCATE platform_records`} {
		if _, name := sqlState(try(t, r.admin, `SET search_path = penname; `+statement)); name != "append_only" {
			t.Errorf("%s: %s", statement, name)
		}
	}
}

// The issuing side reads all records, and again only what is new.
func TestTheIssuingSideReadsTheRegistry(t *testing.T) {
	r := newRegistry(t)
	s := issuing(t, r.admin, Options{})
	is := func(after int64, want ...int) {
		t.Helper()
		got, err := s.Platforms(t.Context(), after)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d records, %v", len(got), err)
		}
		for i, place := range want {
			if got[i].Signed != r.logged[place].Signed || got[i].Leaf != r.logged[place].Leaf || got[i].Day != r.logged[place].Day ||
				policy.ClientHash(got[i].Client) != r.entries[place].Record.Client {
				t.Errorf("%d: %+v", i, got[i])
			}
		}
	}
	is(-1, 0, 1, 2)
	is(r.logged[1].Leaf, 2)
	is(r.logged[2].Leaf)
	r.append(t, r.next(t, 1, func(p *policy.PlatformRecord) { p.Retired = true }))
	is(r.logged[2].Leaf, 3)
	is(-1, 0, 1, 2, 3)
	if newest, err := r.d.Platforms.Newest(t.Context()); err != nil || len(newest) != 2 || newest[0].Signed != r.logged[2].Signed || newest[1].Signed != r.logged[3].Signed {
		t.Errorf("%+v, %v", newest, err)
	}
}

// A database that came back from a backup without a record takes it again at the leaf
// that it has, so that no record stands in the log twice.
func TestALostRecordComesBackAtItsLeaf(t *testing.T) {
	r := newRegistry(t)
	lost := r.next(t, 1, func(p *policy.PlatformRecord) { p.Name = "The Market" })
	raw, err := proof.PlatformLeaf(day, lost.Signed, lost.Countersigned).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.d.Restore(t.Context(), 3, [][]byte{raw}, func(string) ([]byte, []string) { return nil, nil }); err != nil {
		t.Fatal(err, cause(err))
	}
	all, err := r.d.Lost(t.Context())
	if err != nil || len(all) != 1 || all[0].Kind != proof.KindPlatform {
		t.Fatalf("%+v, %v", all, err)
	}
	later, err := r.d.Platforms.Append(t.Context(), lost, proof.PlatformLeaf(day.AddDate(0, 0, 9), lost.Signed, lost.Countersigned), r.logged[2].Leaf)
	if err != nil || later.Leaf != 3 || later.Day != proof.Day(day) {
		t.Errorf("%+v, %v (%v)", later, err, cause(err))
	}
	if n, err := r.d.Log.Size(t.Context()); n != 4 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
	consistent(t, r.d)
}

// Check finds a record that was changed past the guards.
func TestCheckFindsAChangedRecord(t *testing.T) {
	r := newRegistry(t)
	swapped := strings.Replace(r.entries[1].Signed, ".", ".x", 1)
	sql(t, r.admin, fmt.Sprintf(`SET search_path = penname; SET session_replication_role = replica; UPDATE platform_records SET signed = '%s' WHERE id = 'market'`, swapped))
	wantErr(t, "changed", r.d.Check(t.Context()), ErrDamaged)
	sql(t, r.admin, `SET search_path = penname; SET session_replication_role = replica; DELETE FROM platform_records WHERE id = 'market'`)
	wantErr(t, "deleted", r.d.Check(t.Context()), ErrDamaged)
}
