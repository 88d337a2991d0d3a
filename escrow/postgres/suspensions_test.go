package postgres

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// suspending files a case that suspends these pen names at a platform.
func suspending(t *testing.T, d *Disclosing, platform string, names ...token.Pseudonym) disclose.Case {
	t.Helper()
	c, leaf := newCaseUnder(t, d, 1)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := policy.Warrant{ID: c.WarrantID, Authority: c.Authority, Kind: policy.Suspension, Jurisdiction: "GB", IssuedAt: day, Expiry: c.Expires, Secrecy: policy.Secrecy{Ends: c.SecrecyEnds}}
	c.Targets = slices.Repeat([]disclose.CaseTarget{{State: disclose.TargetWaiting}}, len(names))
	for _, name := range names {
		w.Targets = append(w.Targets, policy.Target{Pseudonym: name, Platform: platform})
	}
	if c.Submission.Warrant, err = policy.SignWarrant(jose.JSONWebKey{KeyID: "court", Algorithm: "EdDSA", Use: "sig", Key: key}, w); err != nil {
		t.Fatal(err, cause(err))
	}
	c.WarrantHash, leaf.WarrantKind = policy.Hash(c.Submission.Warrant), policy.Suspension
	leaf.Commitment = proof.Commit(c.Salt, "warrant", []byte(c.Submission.Warrant))
	if c, err = d.Cases.File(t.Context(), c, leaf); err != nil {
		t.Fatal(err, cause(err))
	}
	return c
}

// named are the pen names of suspensions with their platforms.
func named(all []issue.Suspension) (names []string) {
	for _, one := range all {
		names = append(names, string(one.Name)+" "+one.Platform)
	}
	return names
}

// bothSides are stores of one row key: the issuing side has begun.
func bothSides(t *testing.T) (admin string, s *Issuing, d *Disclosing) {
	t.Helper()
	admin = database(t)
	return admin, issuing(t, admin, Options{}), disclosing(t, admin, Options{})
}

// A suspension is in force for the issuing side from the transaction on that authorises it,
// for the pen names and the platform that it names, until it runs out or its court takes it
// back; and each comes once behind the last that was read.
func TestSuspensionIsInForceWhileItsCaseIs(t *testing.T) {
	_, s, d := bothSides(t)
	ctx := t.Context()
	mine, other, third := pseudonym(t), pseudonym(t), pseudonym(t)
	c := suspending(t, d, "town-square", mine, other)
	inForce := func(what string, now time.Time, want ...string) {
		t.Helper()
		if all, err := s.Suspensions(ctx, now, third, mine); err != nil || !slices.Equal(named(all), want) {
			t.Errorf("%s: %v, %v", what, named(all), err)
		}
	}
	inForce("recorded", day)
	c = apply(t, d, c.ID, approve("bar"))
	inForce("authorised", day, string(mine)+" town-square")
	again := apply(t, d, suspending(t, d, "school-forum", mine).ID, approve("bar"))
	inForce("at another platform too", day, string(mine)+" town-square", string(mine)+" school-forum")
	inForce("one second before the end", c.Expires.Add(-time.Second), string(mine)+" town-square", string(mine)+" school-forum")
	inForce("run out", c.Expires)

	all, err := s.SuspendedAfter(ctx, day, 0)
	if err != nil || len(all) != 3 || !slices.Equal(named(all[:2]), []string{string(mine) + " town-square", string(other) + " town-square"}) {
		t.Fatalf("%v, %v", named(all), err)
	}
	if one := all[0]; one.Leaf != c.RecordedLeaf || one.InForce != c.Rounds[0].AuthorisedLeaf || !one.Day.Equal(day) {
		t.Errorf("%+v", one)
	}
	if all, err = s.SuspendedAfter(ctx, day, c.Rounds[0].AuthorisedLeaf); err != nil || !slices.Equal(named(all), []string{string(mine) + " school-forum"}) {
		t.Errorf("behind the first: %v, %v", named(all), err)
	}

	withdrawal, leaf := withdrawalOf(t, d, again)
	if _, err := d.Cases.File(ctx, withdrawal, leaf); err != nil {
		t.Fatal(err, cause(err))
	}
	inForce("one was taken back", day, string(mine)+" town-square")
}

// A copy of the rows names no pen name and no platform, has one length, and only two orders
// about one pen name share a value.
func TestRowsOfSuspensionsSayNothing(t *testing.T) {
	admin, _, d := bothSides(t)
	mine, other := pseudonym(t), pseudonym(t)
	apply(t, d, suspending(t, d, "town-square", mine, other).ID, approve("bar"))
	apply(t, d, suspending(t, d, strings.Repeat("p", 64), mine).ID, approve("bar"))
	rows := value[[]string](t, admin, `SELECT array_agg(encode(v, 'escape')) FROM (SELECT place v FROM suspensions UNION ALL SELECT hidden FROM suspensions) x`)
	if len(rows) != 6 || len(slices.Compact(slices.Sorted(slices.Values(rows)))) != 5 {
		t.Errorf("values: %q", rows)
	}
	for _, said := range []string{string(mine)[4:14], string(other)[4:14], "square", "pppp"} {
		if strings.Contains(strings.Join(rows, "\n"), said) {
			t.Errorf("%q is in a row", said)
		}
	}
	if n := value[int](t, admin, `SELECT count(DISTINCT octet_length(hidden)) FROM suspensions`); n != 1 {
		t.Errorf("%d lengths", n)
	}
}

// Nobody is suspended without a case of that kind that a quorum authorised, and the issuing
// side does not learn by which case.
func TestNobodyIsSuspendedWithoutACase(t *testing.T) {
	admin, s, d := bothSides(t)
	mine := pseudonym(t)
	waiting, production := suspending(t, d, "town-square", mine), file(t, d, 1)
	insert := func(c disclose.Case) error {
		at := s.rows.suspensionPlace(mine)
		_, err := connect(t, as(t, admin, "penname_disclosing")).Exec(t.Context(), `INSERT INTO penname.suspensions (leaf, target, case_id, place, hidden) VALUES ($1, 0, $2, $3, $4)`,
			c.RecordedLeaf, c.ID, at, s.rows.lock(at, []byte(`{"d":"2026-11-21"}`), suspensionBlock))
		return err
	}
	if state, name := sqlState(insert(waiting)); state != "23514" || name != "suspensions_case_state" {
		t.Errorf("no quorum: %s %s", state, name)
	}
	apply(t, d, production.ID, approve("bar"))
	if err := insert(production); err != nil {
		t.Fatal(err)
	}
	if all, err := s.SuspendedAfter(t.Context(), day, 0); err != nil || len(all) != 0 {
		t.Errorf("by a production: %v, %v", named(all), err)
	}
	for _, statement := range []string{`SELECT case_id FROM suspensions`, `SELECT place FROM suspensions`, `INSERT INTO suspensions DEFAULT VALUES`, `DELETE FROM suspensions`} {
		if state, _ := sqlState(try(t, as(t, admin, "penname_issuing"), statement)); state != "42501" {
			t.Errorf("%s: %s", statement, state)
		}
	}
}

// A row that no leaf of its case put in force is found, and so is one that is gone; and a case
// that was said to be authorised, which its log does not hold.
func TestSuspensionsWithoutTheirLeafAreFound(t *testing.T) {
	for what, statement := range map[string]string{
		"by the leaf that recorded it": `INSERT INTO suspensions SELECT 0, 0, case_id, place, hidden FROM suspensions`,
		"of a target that waits":       `INSERT INTO suspensions SELECT leaf, 1, case_id, place, hidden FROM suspensions`,
		"of another case":              `INSERT INTO suspensions SELECT leaf, 2, (SELECT id FROM cases WHERE state = 'recorded'), place, hidden FROM suspensions`,
		"gone":                         `DELETE FROM suspensions`,
		"authorised by nobody":         `UPDATE cases SET state = 'authorised', authorised_leaf = recorded_leaf + 1 WHERE state = 'recorded'`,
	} {
		t.Run(what, func(t *testing.T) {
			admin, _, d := bothSides(t)
			apply(t, d, suspending(t, d, "town-square", pseudonym(t)).ID, approve("bar"))
			suspending(t, d, "town-square", pseudonym(t))
			saveCheckpoint(t, d)
			consistent(t, d)
			sql(t, admin, `SET session_replication_role = replica; `+statement)
			err := d.Check(t.Context())
			wantErr(t, what, err, ErrDamaged)
			t.Log(cause(err))
		})
	}
}
