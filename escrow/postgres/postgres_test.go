package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

// server is one PostgreSQL for all tests of the package.
var server *sandbox.Postgres

func TestMain(m *testing.M) {
	pg, err := sandbox.StartPostgres(context.Background(), "", "shared_preload_libraries=pg_stat_statements")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = pg
	code := m.Run()
	pg.Stop()
	os.Exit(code)
}

// database creates and migrates a database, and returns its administrator's
// address.
func database(t testing.TB) string {
	t.Helper()
	admin := emptyDatabase(t)
	if err := Migrate(t.Context(), admin); err != nil {
		t.Fatalf("%v: %v", err, cause(err))
	}
	return admin
}

var databases atomic.Int64

func emptyDatabase(t testing.TB, options ...string) string {
	t.Helper()
	name := fmt.Sprintf("penname_%d_%d", os.Getpid(), databases.Add(1))
	sql(t, server.DSN, `CREATE DATABASE `+name+` `+strings.Join(options, ` `))
	t.Cleanup(func() { sql(t, server.DSN, `DROP DATABASE `+name+` WITH (FORCE)`) })
	u, err := url.Parse(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// as is the address of the same database for another role.
func as(t testing.TB, admin, role string) string {
	t.Helper()
	dsn, err := Login(t.Context(), admin, role)
	if err != nil {
		t.Fatalf("%v: %v", err, cause(err))
	}
	return dsn
}

// rowKeyOfTests is a [RowKey] without a key service.
func rowKeyOfTests(context.Context, string, string) ([32]byte, string, error) {
	return [32]byte{1}, "wrapped", nil
}

func issuing(t testing.TB, admin string, o Options) *Issuing {
	t.Helper()
	o.RowKey = rowKeyOfTests
	s, err := OpenIssuing(t.Context(), as(t, admin, "penname_issuing"), o)
	if err != nil {
		t.Fatalf("%v: %v", err, cause(err))
	}
	t.Cleanup(s.Close)
	return s
}

func disclosing(t testing.TB, admin string, o Options) *Disclosing {
	t.Helper()
	o.RowKey = rowKeyOfTests
	d, err := OpenDisclosing(t.Context(), as(t, admin, "penname_disclosing"), o)
	if err != nil {
		t.Fatalf("%v: %v", err, cause(err))
	}
	t.Cleanup(d.Close)
	return d
}

// cause is what the operator's log would say.
func cause(err error) string {
	var all []string
	for u, ok := err.(interface{ Unwrap() error }); ok && u.Unwrap() != nil; u, ok = u.Unwrap().(interface{ Unwrap() error }) {
		all = append(all, u.Unwrap().Error())
	}
	return strings.Join(all, ": ")
}

// connect is a bare connection, closed with the test.
func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// sql runs statements on a connection of their own.
func sql(t testing.TB, dsn, statements string) {
	t.Helper()
	if err := try(t, dsn, statements); err != nil {
		t.Fatal(err)
	}
}

func try(t testing.TB, dsn, statements string) error {
	t.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if _, err := c.Exec(context.Background(), `SET search_path = penname`); err != nil {
		t.Fatal(err)
	}
	_, err = c.Exec(context.Background(), statements)
	return err
}

// value reads one value as the administrator.
func value[T any](t testing.TB, dsn, query string, args ...any) (v T) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background()) // at once: a loop of these would use up the server's connections
	if _, err := c.Exec(t.Context(), `SET search_path = penname`); err != nil {
		t.Fatal(err)
	}
	if err := c.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// update is a transaction of the log alone.
func (d *Disclosing) update(ctx context.Context, f func(translog.Tx) error) error {
	return d.transact(ctx, func(_ context.Context, tx pgx.Tx, _ bool) error { return f(newLogTx(tx)) })
}

func TestLogConforms(t *testing.T) {
	translogtest.TestStore(t, func(t *testing.T) (translog.Store, translogtest.Update) {
		d := disclosing(t, database(t), Options{})
		return d.Log, d.update
	})
}

// caseStore is the disclosing side as the suites want it.
type caseStore struct {
	Cases
	Bundles
	Erasures
	Log
	persons *Issuing
}

// noticeOf is the notice of a target as its person's page names it.
func noticeOf(c disclose.Case, target int) issue.Notice {
	t := c.Warrant.Targets[target]
	return issue.Notice{Pseudonym: t.Pseudonym, Platform: t.Platform, Leaf: c.RecordedLeaf}
}

func (s caseStore) ObjectFor(ctx context.Context, c disclose.Case, target int, sealed []byte, now time.Time) error {
	return s.persons.ObjectTo(ctx, noticeOf(c, target), sealed, now)
}

func (s caseStore) CodeFor(ctx context.Context, c disclose.Case, target int, hash [32]byte, now time.Time) error {
	return s.persons.MakeCode(ctx, noticeOf(c, target), hash, now)
}

func TestCasesConform(t *testing.T) {
	disclosetest.TestCases(t, func(t *testing.T) disclosetest.Store {
		admin := database(t)
		persons := issuing(t, admin, Options{}) // which leaves the row key
		d := disclosing(t, admin, Options{})
		return caseStore{d.Cases, d.Bundles, d.Erasures, d.Log, persons}
	})
}

func TestOrders(t *testing.T) {
	template := database(t)
	u, err := url.Parse(template)
	if err != nil {
		t.Fatal(err)
	}
	migrated := u.Path[1:]
	disclosetest.TestOrders(t, 5, func(t *testing.T) (disclosetest.Store, func()) {
		name := fmt.Sprintf("penname_%d_%d", os.Getpid(), databases.Add(1))
		sql(t, server.DSN, `CREATE DATABASE `+name+` TEMPLATE `+migrated)
		u.Path = "/" + name
		if err := Migrate(t.Context(), u.String()); err != nil { // grants on the database are no part of it
			t.Fatal(err, cause(err))
		}
		d, err := OpenDisclosing(t.Context(), as(t, u.String(), "penname_disclosing"), Options{RowKey: rowKeyOfTests})
		if err != nil {
			t.Fatal(err, cause(err))
		}
		return caseStore{d.Cases, d.Bundles, d.Erasures, d.Log, nil}, func() {
			d.Close()
			sql(t, server.DSN, `DROP DATABASE `+name+` WITH (FORCE)`)
		}
	})
}

func TestRegistryConforms(t *testing.T) {
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sign := func(r policy.PlatformRecord) (string, error) { return policy.SignPlatform(key, r) }
	disclosetest.TestPlatforms(t, sign, func(t *testing.T) (disclosetest.Store, disclose.Registry) {
		d := disclosing(t, database(t), Options{})
		return caseStore{d.Cases, d.Bundles, d.Erasures, d.Log, nil}, d.Platforms.Registry(nil, nil)
	})
}

func TestOpenIDStoreConforms(t *testing.T) {
	admin := database(t)
	openidtest.TestStore(t, func(t *testing.T) openid.Store { return issuing(t, admin, Options{}) })
}

// dialer is the network of net.Dialer.
func dialer(ctx context.Context, network, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func pathOf(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return ""
	}
	return u.Path
}

// Who leaves every platform at once leaves the rows of the grants as they are. What is
// written tells neither which grants end nor when, and not even how many pen names.
func TestN01LeftTogetherTellsOfNoGrant(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	var holders []token.Pseudonym
	for n := range 2 {
		holders = append(holders, pseudonym(t))
		for range 2 {
			row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Holder: holders[n], Body: []byte("{}"), Expires: day.AddDate(0, 0, n)}
			if err := s.Put(ctx, row); err != nil {
				t.Fatal(err, cause(err))
			}
		}
	}
	grants := func() string {
		return value[string](t, admin, `SELECT string_agg(xmin || ' ' || r::text, E'\n' ORDER BY id) FROM openid_rows r WHERE kind = 'grant'`)
	}
	before := grants()
	for n, holder := range holders {
		at := day.Add(time.Duration(n)*time.Hour + 1234567*time.Microsecond)
		for range 2 { // a second wish changes nothing
			if err := s.EndAt(ctx, map[token.Pseudonym]time.Time{holder: at}, nil, day.AddDate(0, 1, 0)); err != nil {
				t.Fatal(err, cause(err))
			}
		}
	}
	if after := grants(); after != before {
		t.Errorf("%s\nbecame\n%s", before, after)
	}
	if got := value[string](t, admin, `SELECT format('%s %s %s %s %s', count(*), count(DISTINCT writer), count(DISTINCT expires), count(DISTINCT octet_length(body)), max(holder))
		FROM openid_rows WHERE kind = 'left'`); got != "128 128 1 1 " {
		t.Errorf("rows, writers, expiries, lengths, holder: %s", got)
	}
	if got := value[string](t, admin, `SELECT string_agg(DISTINCT n::text, ' ') FROM (SELECT count(*) n FROM openid_rows WHERE kind = 'left' GROUP BY xmin) t`); got != "32" {
		t.Errorf("a wish wrote %s rows, which tells of how many sign-ins", got)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM openid_rows l JOIN openid_rows g ON g.id = l.id AND g.kind = 'grant' WHERE l.kind = 'left'`); n != 0 {
		t.Errorf("%d rows have the key of their grant", n)
	}
}

// What platforms are told of those who left together leaves the rows of the grants, and of
// the moments, as they are. The rows that it makes have nothing in common with them.
func TestN01ToldOneByOneTellsOfNoGrant(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	moments := map[token.Pseudonym]time.Time{}
	for n := range 3 {
		row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Holder: pseudonym(t), Body: []byte("{}"), Tell: n > 0, Expires: day.AddDate(0, 0, n)}
		if err := s.Put(ctx, row); err != nil {
			t.Fatal(err, cause(err))
		}
		moments[row.Holder] = day.Add(time.Duration(n) * time.Hour)
	}
	if err := s.EndAt(ctx, moments, nil, day.AddDate(0, 1, 0)); err != nil {
		t.Fatal(err, cause(err))
	}
	others := func() string {
		return value[string](t, admin, `SELECT string_agg(xmin || ' ' || r::text, E'\n' ORDER BY id) FROM openid_rows r WHERE kind <> 'logout'`)
	}
	before := others()
	for n, want := range []int{0, 1, 2, 2} { // the first one's platform is not told
		now := day.Add(time.Duration(n) * time.Hour)
		all, err := s.Logouts(ctx, func(ends time.Time) bool { return !ends.After(now) }, day, day.AddDate(0, 0, 9))
		if err != nil || len(all) != want {
			t.Fatalf("%d told of, want %d: %v", len(all), want, cause(err))
		}
		for _, row := range all {
			if row.Body = []byte(`{"tries":1}`); row.Version == 1 {
				err = s.Put(ctx, row)
			}
			if err != nil {
				t.Fatal(err, cause(err))
			}
		}
	}
	if after := others(); after != before {
		t.Errorf("%s\nbecame\n%s", before, after)
	}
	if got := value[string](t, admin, `SELECT format('%s %s %s %s', count(*), count(DISTINCT expires), count(DISTINCT octet_length(body)), max(holder)) FROM openid_rows WHERE kind = 'logout'`); got != "2 1 1 " {
		t.Errorf("rows, expiries, lengths, holder: %s", got)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM openid_rows l JOIN openid_rows o USING (id) WHERE l.kind = 'logout' AND o.kind <> 'logout'`); n != 0 {
		t.Errorf("%d rows have the key of another", n)
	}
	if _, err := s.Logouts(ctx, func(time.Time) bool { t.Error("looked at what is too old"); return false }, day.AddDate(0, 1, 0), day); err != nil {
		t.Error(err)
	}
}

// Grants that ended together do not look it: each row has a writer of its own,
// names nobody, and keeps the hour it had.
func TestN01EndedTogetherLooksLikeNothing(t *testing.T) {
	admin := database(t)
	s := issuing(t, admin, Options{})
	holder := pseudonym(t)
	for range 3 {
		row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Holder: holder, Body: []byte("{}"), Expires: day}
		if err := s.Put(t.Context(), row); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	if err := s.EndAll(t.Context(), holder, nil, day); err != nil {
		t.Fatal(err, cause(err))
	}
	if n := value[int](t, admin, `SELECT count(DISTINCT writer) FROM openid_rows WHERE ended AND holder = '' AND body = '' AND expires = $1 AND kind = 'grant'`, day); n != 3 {
		t.Errorf("%d of 3 rows are as they should be", n)
	}
	if err := try(t, as(t, admin, "penname_issuing"), `UPDATE openid_rows SET holder = 'pen1x'`); err == nil {
		t.Error("a row that ended names somebody")
	}
}

// TestMigrationSaysWhatItDid: a schema from nothing, and nothing.
func TestMigrationSaysWhatItDid(t *testing.T) {
	admin := emptyDatabase(t)
	want, err := SchemaVersion()
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{0, want} {
		var m Migration
		if err := m.Run(t.Context(), admin); err != nil || m.From != from || m.To != want {
			t.Errorf("from %d: %+v %v", from, m, err)
		}
	}
	down := "postgres://u@127.0.0.1:1/x"
	wantErr(t, "nobody is there", Migrate(t.Context(), down), ErrUnavailable)
}

// toVersion20 takes from a database what later versions add.
const toVersion20 = `DELETE FROM goose_db_version WHERE version_id > 20; DROP TABLE key_groups, groups_waiting; DROP TRIGGER waits ON erasures; DROP TRIGGER ends ON rotations; DROP FUNCTION group_moves, erasure_waits, rotation_ends; DROP INDEX records_of_group; ALTER TABLE records DROP COLUMN key_group CASCADE; ALTER TABLE rotations DROP COLUMN key_group CASCADE, DROP COLUMN step; ALTER TABLE erasures DROP COLUMN key_group; ALTER TABLE snapshots DROP COLUMN key_group CASCADE, DROP COLUMN step;
	DROP TABLE mails, addresses, passkeys, side_by_side; DROP VIEW suspensions_in_force, notices_now, first_notices_now, objections_now, notices_of; DROP TABLE first_notices, notice_first, objections, notice_codes;
	DROP TRIGGER persons_first ON cases; DROP FUNCTION tells_once, objection_moves, persons_first, store_objection, object_to, make_code, use_code;
	ALTER TABLE notices DROP COLUMN kind, DROP COLUMN until, DROP COLUMN target, DROP COLUMN about; ALTER TABLE approvals DROP COLUMN votes;
	ALTER TABLE cases DROP COLUMN targets, DROP COLUMN waiting, DROP COLUMN released, DROP COLUMN day, DROP COLUMN requester, DROP COLUMN receipt, DROP COLUMN validate_by, DROP COLUMN validated_leaf, DROP COLUMN lapsed_leaf, DROP COLUMN declined_leaf, DROP COLUMN answer_by;
	DROP TABLE statements, link_orders, case_targets, case_rounds, annulments, deletions, suspensions; DROP FUNCTION statement_moves, newest_leaf_is, last_decisions, target_moves, count_targets, round_moves, about_its_case, link_moves;`

// Cases of every state from before targets were decided one by one are after the migration
// what they were, and go on: they are decided, withdrawn, released, expire and are told.
func TestMigrationKeepsEveryCase(t *testing.T) {
	admin := database(t)
	d, ctx := disclosing(t, admin, Options{}), t.Context()
	var all []string
	filed := func(changes ...func(disclose.Case) (disclose.Change, error)) disclose.Case {
		t.Helper()
		c, leaf := disclosetest.Order(t, policy.Production, 2)
		c.Secret = [32]byte{} // no case had one
		c, err := d.Cases.File(ctx, c, leaf)
		if err != nil {
			t.Fatal(err, cause(err))
		}
		all = append(all, c.ID)
		for _, change := range changes {
			c = apply(t, d, c.ID, change)
		}
		return c
	}
	withdraw := func(c disclose.Case) {
		t.Helper()
		w, leaf := disclosetest.About(t, policy.Withdrawal, c, c.Authority)
		if _, err := d.Cases.File(ctx, w, leaf); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	waits, stops, ends, lost, lostReleased := filed(), filed(), filed(), filed(), filed(approve("bar"))
	authorised, released := filed(approve("bar")), filed(approve("bar"), release)
	filed(approve("bar"), release, notice(pseudonym(t)))
	filed(decline("bar"))
	filed(approve("bar"), expire)
	withdraw(filed(approve("bar")))
	f := futureOf(t, d)
	f.add(t, approvedLeaf(&lost, "bar"))
	f.add(t, releasedLeaf(&lostReleased))
	f.restore(t, nil)
	before, states := map[string]disclose.Case{}, map[disclose.State]bool{}
	for _, id := range all {
		c, err := d.Cases.Case(ctx, id)
		if err != nil {
			t.Fatal(err, cause(err))
		}
		before[id], states[c.State] = c, true
	}
	if len(states) != 8 {
		t.Fatalf("%v", states)
	}
	d.Close()
	sql(t, admin, toVersion20)
	var m Migration
	if err := m.Run(ctx, admin); err != nil || m.From != 20 {
		t.Fatal(m, err, cause(err))
	}
	d = disclosing(t, admin, Options{})
	for id, want := range before {
		if id == lost.ID { // nothing can come of it any more, and its status says so
			want.Targets = slices.Repeat([]disclose.CaseTarget{{State: disclose.TargetRefused, Code: disclose.ErrLost.Code}}, 2)
		}
		if have, err := d.Cases.Case(ctx, id); err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%s: %v: %+v %+v, want %+v %+v", want.State, err, have.Targets, have.Rounds, want.Targets, want.Rounds)
		}
	}
	consistent(t, d)

	apply(t, d, waits.ID, approve("bar"))
	for _, c := range []disclose.Case{waits, authorised} {
		apply(t, d, c.ID, release)
	}
	withdraw(stops)
	apply(t, d, ends.ID, expire)
	for _, c := range []disclose.Case{waits, authorised, released, lostReleased} {
		if c = apply(t, d, c.ID, notice(pseudonym(t))); c.State != disclose.Noticed || notices(t, admin, c) != 1 {
			t.Errorf("%s, %d told", c.State, notices(t, admin, c))
		}
	}
	for id, want := range map[string]disclose.TargetState{stops.ID: disclose.TargetWithdrawn, ends.ID: disclose.TargetExpired, waits.ID: disclose.TargetReleased, lost.ID: disclose.TargetRefused} {
		if c, err := d.Cases.Case(ctx, id); err != nil || c.Targets[0].State != want || c.Targets[1] != c.Targets[0] {
			t.Errorf("%s: %+v, %v", c.State, c.Targets, err)
		}
	}
	consistent(t, d)
}

// Sign-ins that were to end at a moment of their own when the database was brought to
// version 13 have ended; the others go on.
func TestMigrationEndsWhoLeft(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	var rows []openid.Row
	for range 2 {
		row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Holder: pseudonym(t), Body: []byte("{}"), Expires: day}
		if err := s.Put(ctx, row); err != nil {
			t.Fatal(err, cause(err))
		}
		rows = append(rows, row)
	}
	sql(t, admin, `ALTER TABLE openid_rows ADD COLUMN ends timestamptz; DELETE FROM goose_db_version WHERE version_id >= 13;
		DROP INDEX cases_by_state, erasures_pending, reviews_pending, openid_rows_left, openid_rows_logouts; `+toVersion20+`
		DROP TABLE handles, copies, exhibits, notes, platform_records, claims, claim_counts, claims_told; DROP FUNCTION platform_follows, payload, exhibit_moves, copy_goes, kept_until, take_claims; -- of later versions
		UPDATE openid_rows SET ends = '2026-11-22' WHERE holder = '`+s.holderTag(rows[0].Holder)+`'`)
	var m Migration
	if err := m.Run(ctx, admin); err != nil || m.From != 12 {
		t.Fatal(m, err, cause(err))
	}
	for i, row := range rows {
		if got, err := s.Get(ctx, row.Kind, row.ID); err != nil || got.Ended != (i == 0) {
			t.Errorf("%d: ended %v, %v", i, got.Ended, err)
		}
	}
}
