package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/openid"
)

// grantsFor makes n sign-ins whose rows are new.
func grantsFor(t testing.TB, s *Issuing, n int) []openid.Row {
	t.Helper()
	var all []openid.Row
	for range n {
		row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Body: []byte("{}"), Expires: day}
		if err := s.Put(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

// waits reports when a connection waits for a lock.
func waits(t *testing.T, admin string, pid uint32) {
	t.Helper()
	for range 500 {
		if value[bool](t, admin, fmt.Sprintf(`SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %d AND NOT granted)`, pid)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it waits for no lock")
}

// A pass has a lock for one batch, which is a transaction of its own and bounded, and none
// between two.
func TestMixHoldsNoLockBetweenBatches(t *testing.T) {
	admin := database(t)
	s := issuing(t, admin, Options{MaxConns: 1})
	grantsFor(t, s, 70)
	written := func() int {
		return value[int](t, admin, `SELECT count(*) FROM openid_rows WHERE xmin = (SELECT xmin FROM openid_rows ORDER BY age(xmin) LIMIT 1)`)
	}
	m := &mixing{table: "openid_rows", began: time.Now(), most: 20}
	for _, want := range []int{20, 20, 20, 10} {
		m.most = 20
		_, whole, err := s.mixSome(t.Context(), m)
		if err != nil || whole != (want < 20) || written() != want {
			t.Fatalf("%d rows in the batch, want %d; whole: %v, %v", written(), want, whole, err)
		}
		if n := value[int](t, admin, `SELECT count(*) FROM pg_locks WHERE relation = 'penname.openid_rows'::regclass AND mode = 'ExclusiveLock'`); n != 0 {
			t.Fatal("the lock is still held")
		}
	}
	for most, took := range map[int]time.Duration{batchMost: batchTime + 1, 1: batchTime + 1, 20: 0, batchMost + 1: 0} {
		if next := nextBatch(most, took); next > batchMost || next < 1 || took > batchTime && next > max(1, most/2) {
			t.Errorf("%d rows after %d that took %v", next, most, took)
		}
	}
}

// Whoever has a row of the table locked, writes it or vacuums it is not waited for: the pass
// leaves the queue, in which others would stand behind it, goes on with the other tables, and
// comes back.
func TestMixLeavesTheQueue(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	grantsFor(t, s, 30)
	for range 3 {
		if _, _, err := s.Enrol(ctx, enrolment()); err != nil {
			t.Fatal(err)
		}
	}
	before := value[string](t, admin, `SELECT string_agg(xmin::text, ' ' ORDER BY label) FROM records`)
	for _, held := range []string{`SELECT FROM penname.openid_rows LIMIT 1 FOR UPDATE`, `UPDATE penname.openid_rows SET version = 1 WHERE id = (SELECT min(id::text)::bytea FROM penname.openid_rows)`, `LOCK TABLE penname.openid_rows IN SHARE UPDATE EXCLUSIVE MODE`} {
		other := connect(t, admin)
		if _, err := other.Exec(ctx, `BEGIN; `+held); err != nil {
			t.Fatal(err)
		}
		m := &mixing{table: "openid_rows", began: time.Now(), most: 20}
		if _, _, err := s.mixSome(ctx, m); !errors.Is(err, ErrBusy) {
			t.Fatal(held, err)
		}
		if n := value[int](t, admin, `SELECT count(*) FROM pg_locks WHERE relation = 'penname.openid_rows'::regclass AND mode = 'ExclusiveLock'`); n != 0 {
			t.Fatal("it is still in the queue")
		}
		done := make(chan error, 1)
		go func() { done <- s.Shuffle(ctx) }()
		for range 500 { // the other tables are done meanwhile
			if value[string](t, admin, `SELECT string_agg(xmin::text, ' ' ORDER BY label) FROM records`) != before {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if after := value[string](t, admin, `SELECT string_agg(xmin::text, ' ' ORDER BY label) FROM records`); after == before {
			t.Fatal("records were not put into order")
		} else {
			before = after
		}
		select {
		case err := <-done:
			t.Fatal("it did not try again: ", err)
		default:
		}
		if _, err := other.Exec(ctx, `COMMIT`); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err, cause(err))
		}
	}
}

// Who waits for a batch, by whatever statement, finds the rows as they are after it: none is
// missed because it was deleted and inserted.
func TestWhoWaitsForAMixFindsTheRows(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	sql(t, admin, `CREATE FUNCTION touch(i bytea) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN UPDATE penname.openid_rows SET version = version + 1 WHERE id = i; GET DIAGNOSTICS n = ROW_COUNT; RETURN n; END $$`)
	e := enrolment()
	if _, _, err := s.Enrol(ctx, e); err != nil {
		t.Fatal(err)
	}
	row := grantsFor(t, s, 1)[0]
	at := s.rowID(row.Kind, row.ID)
	for name, w := range map[string]struct {
		mode, sql string
		args      []any
	}{
		"new":       {"auto", `UPDATE penname.openid_rows SET version = version + 1 WHERE id = $1 RETURNING 1::bigint`, []any{at}},
		"prepared":  {"force_generic_plan", `UPDATE penname.openid_rows SET version = version + 1 WHERE id = $1 AND NOT ended RETURNING 1::bigint`, []any{at}},
		"locking":   {"force_generic_plan", `SELECT 1::bigint FROM penname.openid_rows WHERE id = $1 FOR UPDATE`, []any{at}},
		"function":  {"auto", `SELECT penname.touch($1)`, []any{at}},
		"reference": {"auto", `INSERT INTO penname.erasures (label, salt, day) VALUES ($1, sha256($2), '2026-11-21') ON CONFLICT (label) DO UPDATE SET day = excluded.day RETURNING 1::bigint`, []any{e.Person.Label, at}},
	} {
		mix, writer := connect(t, admin), connect(t, admin)
		if _, err := writer.Exec(ctx, `SET plan_cache_mode = `+w.mode); err != nil {
			t.Fatal(err)
		}
		write := func() (n int64, err error) {
			err = writer.QueryRow(ctx, w.sql, w.args...).Scan(&n)
			return n, err
		}
		if n, err := write(); name != "reference" && (err != nil || n != 1) { // its plan is made
			t.Fatal(name, n, err)
		}
		table := "openid_rows"
		if name == "reference" { // the foreign key looks for the record
			table = "records"
			sql(t, admin, `SET session_replication_role = replica; DELETE FROM penname.erasures`)
		}
		if _, err := mix.Exec(ctx, `BEGIN`); err != nil {
			t.Fatal(err)
		}
		if _, err := mix.Exec(ctx, `SELECT penname.mix_some($1, NULL, 1000, now(), 40)`, table); err != nil {
			t.Fatal(err)
		}
		type result struct {
			n   int64
			err error
		}
		done := make(chan result, 1)
		go func() { n, err := write(); done <- result{n, err} }()
		waits(t, admin, writer.PgConn().PID())
		if got, err := s.Get(ctx, row.Kind, row.ID); err != nil || got.ID != row.ID { // readers go on
			t.Error(name, err)
		}
		if _, err := mix.Exec(ctx, `COMMIT`); err != nil {
			t.Fatal(err)
		}
		if r := <-done; r.err != nil || r.n != 1 {
			t.Errorf("%s: %d rows, %v", name, r.n, r.err)
		}
	}
}

// Every write of every kind is stored once while rows are put into order all the time.
func TestWritesBesideTheHour(t *testing.T) {
	admin := database(t)
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	s.rests = 1
	stop, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var passes atomic.Int64
	wg.Go(func() {
		for stop.Err() == nil {
			if err := s.Shuffle(stop); err != nil && stop.Err() == nil {
				t.Error(err, cause(err))
				return
			}
			passes.Add(1)
		}
	})
	for name, begin := range writes(t, admin, s, d) {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				w := begin()
				if err := w.try(t.Context()); err != nil {
					t.Fatal(err, cause(err))
				}
				w.once(t)
			}
		})
	}
	cancel()
	wg.Wait()
	if passes.Load() < 3 {
		t.Error("there were no passes")
	}
	consistent(t, d)
}

// A pass that is killed at any batch lost nothing, and the next puts all into order.
func TestKilledPass(t *testing.T) {
	admin := database(t)
	s := issuing(t, admin, Options{})
	sql(t, admin, `CREATE EXTENSION pageinspect SCHEMA public`)
	var made []string
	for _, row := range grantsFor(t, s, 120) {
		made = append(made, fmt.Sprintf(`\\x%x`, s.rowID(row.Kind, row.ID)))
	}
	rows := `SELECT string_agg(encode(id, 'hex') || version || encode(body, 'hex') || encode(writer, 'hex'), ' ' ORDER BY id) FROM openid_rows`
	before := value[string](t, admin, rows)
	for kill := range 6 {
		ctx, cancel := context.WithCancel(t.Context())
		m := &mixing{table: "openid_rows", began: time.Now(), most: 20}
		for n := 0; ; n++ {
			if n == kill {
				sql(t, admin, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'penname_issuing'`)
				cancel()
			}
			m.most = 20
			if _, whole, err := s.mixSome(ctx, m); err != nil || whole {
				break
			}
		}
		cancel()
		if value[string](t, admin, rows) != before {
			t.Fatal("a row is another than before")
		}
	}
	if err := s.Shuffle(t.Context()); err != nil {
		t.Fatal(err, cause(err))
	}
	isOrdered(t, admin, "openid_rows", "id", made)
}

// Whatever puts rows into order, deletes none and changes none, whoever asks it to.
func TestD03NothingGoesByTheShuffle(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	for range 2 {
		if _, _, err := s.Enrol(ctx, enrolment()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Assign(ctx, assignment(t)); err != nil {
			t.Fatal(err)
		}
	}
	for statement, name := range map[string]string{
		`WITH gone AS (DELETE FROM records RETURNING *) INSERT INTO records (label, first_half, second_half, sealed, day) SELECT label, first_half, second_half, sealed, day + 1 FROM gone`: "append_only",
		`WITH gone AS (DELETE FROM records RETURNING *) INSERT INTO records SELECT * FROM gone LIMIT 1`:                                                                                     "append_only",
		`WITH gone AS (DELETE FROM pseudonyms RETURNING *) INSERT INTO pseudonyms (handle, link, hidden, day) SELECT handle, 'other', hidden, day FROM gone`:                                "append_only",
		`INSERT INTO erasures (label, salt, day, cleared) SELECT label, sha256('x'), day, 5 FROM records LIMIT 1`:                                                                           "erasures_fixed",
		`INSERT INTO reviews (id, account, several, state, day) VALUES ('aaaaaaaaaaaa', true, false, 'done', '2026-11-21')`:                                                                 "reviews_transition",
	} {
		if state, have := sqlState(try(t, admin, statement)); state != "23514" || have != name {
			t.Errorf("%s: %s %s", statement, state, have)
		}
	}
	for _, statement := range []string{`SELECT mix_some('passes', NULL, 5, now(), 5)`, `SELECT mix_some('cases', NULL, 5, now(), 5)`, `SELECT mix_some('no such', NULL, 5, now(), 5)`} {
		if state, _ := sqlState(try(t, as(t, admin, "penname_issuing"), statement)); state != "22023" {
			t.Errorf("%s: %s", statement, state)
		}
	}
	sql(t, admin, `WITH gone AS (DELETE FROM records RETURNING *) INSERT INTO records SELECT * FROM gone`)
}

// Of several processes one does the work of an hour.
func TestOneTurnAnHour(t *testing.T) {
	admin := database(t)
	var wg sync.WaitGroup
	var turns atomic.Int64
	for range 4 {
		s := issuing(t, admin, Options{})
		wg.Go(func() {
			mine, err := s.Turn(t.Context())
			if err != nil {
				t.Error(err)
			}
			if mine {
				turns.Add(1)
			}
		})
	}
	wg.Wait()
	if turns.Load() != 1 {
		t.Errorf("%d processes have the turn", turns.Load())
	}
	s := issuing(t, admin, Options{})
	if mine, err := s.Turn(t.Context()); err != nil || mine {
		t.Error("a second time within the hour", err)
	}
	sql(t, admin, `UPDATE passes SET began = began - interval '45 minutes'`)
	if mine, err := s.Turn(t.Context()); err != nil || !mine {
		t.Error("and not an hour later", err)
	}
	sql(t, admin, `UPDATE passes SET began = now() + interval '3 days'`)
	if mine, err := s.Turn(t.Context()); err != nil || !mine {
		t.Error("nor after a server whose clock was ahead", err)
	}
}

// What expired is deleted, whatever number of batches that takes, and nothing else is.
func TestDeleteExpiredInBatches(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	sql(t, admin, `INSERT INTO openid_used (key, expires, writer) SELECT sha256(i::text::bytea), '2026-11-21 10:00Z'::timestamptz + (i % 2) * interval '1 hour', substr(sha256(i::text::bytea), 1, 16) FROM generate_series(1, 3000) i`)
	if err := s.DeleteExpired(ctx, time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC)); err != nil {
		t.Fatal(err, cause(err))
	}
	if n, left := value[int](t, admin, `SELECT count(*) FROM openid_used`), value[int](t, admin, `SELECT count(*) FROM openid_used WHERE expires = '2026-11-21 11:00Z'`); n != 1500 || left != 1500 {
		t.Errorf("%d rows are left, %d of them in time", n, left)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.DeleteExpired(ctx, day.AddDate(1, 0, 0)); err == nil {
		t.Error("it does not end when it is told to")
	}
}

// A migration that is killed between two batches of rows that become fresh makes the rest of
// their day fresh when it is run again: also where what is left was written by one transaction.
func TestMigrationKilledWhileRowsBecomeFresh(t *testing.T) {
	admin := emptyDatabase(t)
	migrateTo(t, admin, 27)
	const first, all, batch = 150, 450, 200
	insert := func(from, to int) {
		t.Helper()
		sql(t, admin, fmt.Sprintf(`INSERT INTO penname.handles (place, owner, day) SELECT decode(lpad(to_hex(i), 32, '0'), 'hex'), substr(sha256('x'), 1, 16), '2026-11-21' FROM generate_series(%d, %d) i`, from, to))
	}
	insert(1, first)
	insert(first+1, all)
	// The second batch waits, and tries again, for as long as the test wants.
	sql(t, admin, `CREATE FUNCTION second_waits() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
		  IF EXISTS (SELECT FROM penname.handles WHERE fresh IS NOT NULL) THEN PERFORM pg_advisory_xact_lock(29); END IF;
		  RETURN NULL;
		END';
		CREATE TRIGGER second_waits BEFORE INSERT ON penname.handles FOR EACH STATEMENT EXECUTE FUNCTION second_waits()`)
	holder := connect(t, admin)
	if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_lock(29)`); err != nil {
		t.Fatal(err)
	}
	killed := make(chan error, 1)
	go func() { killed <- Migrate(t.Context(), admin) }()
	fresh := func() (n int) {
		t.Helper()
		if value[bool](t, admin, `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'handles'::regclass AND attname = 'fresh')`) {
			n = value[int](t, admin, `SELECT count(*) FROM handles WHERE fresh IS NOT NULL`)
		}
		return n
	}
	for n := 0; fresh() == 0; n++ {
		if n == 3000 {
			t.Fatal("no row became fresh")
		}
		time.Sleep(10 * time.Millisecond)
	}
	sql(t, admin, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '`+migrating+`' AND datname = current_database()`)
	wantErr(t, "killed", <-killed, ErrMigrate)
	if n := fresh(); n != batch {
		t.Fatalf("%d rows were fresh when it was killed", n)
	}
	sql(t, admin, `DROP TRIGGER second_waits ON penname.handles; DROP FUNCTION second_waits`)
	if err := Migrate(t.Context(), admin); err != nil {
		t.Fatal(err, cause(err))
	}
	if n := fresh(); n != all {
		t.Errorf("%d rows of %d are fresh", n, all)
	}
}

// What the program before had not put into order yet is fresh after the migration, and what it
// had is not; a grant that it ended is on the status lists.
func TestMigrationKeepsNoOrder(t *testing.T) {
	admin := emptyDatabase(t)
	migrateTo(t, admin, 27)
	insert := func(i int, day string) string {
		return fmt.Sprintf(`INSERT INTO handles (place, owner, day) SELECT substr(sha256('%d %[2]s ' || i::text::bytea), 1, 16), substr(sha256('x'), 1, 16), '%[2]s' FROM generate_series(1, 300) i`, i, day)
	}
	sql(t, admin, insert(0, "2026-11-20")) // one transaction number
	sql(t, admin, insert(1, "2026-11-21"))
	sql(t, admin, insert(2, "2026-11-21"))
	sql(t, admin, `INSERT INTO openid_rows (kind, id, version, body, expires, ended, writer) VALUES ('grant', sha256('a'), 2, '', '2026-11-21 10:00Z', true, substr(sha256('a'), 1, 16))`)
	if err := Migrate(t.Context(), admin); err != nil {
		t.Fatal(err, cause(err))
	}
	if n := value[string](t, admin, `SELECT string_agg(day || ' ' || (fresh IS NOT NULL) || ' ' || n, ', ' ORDER BY day) FROM (SELECT day, fresh, count(*) AS n FROM handles GROUP BY 1, 2) d`); n != "2026-11-20 false 300, 2026-11-21 true 600" {
		t.Error(n)
	}
	if !value[bool](t, admin, `SELECT bool_and(fresh IS NOT NULL) FROM openid_rows`) {
		t.Error("a grant that ended is on no status list")
	}
	if n := value[int](t, admin, `SELECT count(*) FROM pg_proc WHERE proname = 'freshen'`); n != 0 {
		t.Error("what the migration needed is there still")
	}
}

// What was in is put into order, whatever may come in: an erased record, which is under no
// version of a key, one that an older database brought back and nobody can open, and one of a
// group that was closed late. A new one of these does not come in.
func TestEveryRecordIsPutIntoOrder(t *testing.T) {
	h, ctx := newHouse(t, 3), t.Context()
	h.openGroups(t, 1)
	h.group = 1
	h.enrol(t)
	gone := h.enrol(t).Person.Label
	h.ask(t, gone)
	h.clear(t, gone)
	if err := h.keys.Rotate(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := h.keys.Retire(ctx, 0, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := h.keeper().Work(ctx); err != nil {
		t.Fatal(err, cause(err))
	}
	for range 2 { // a record that was erased is of no group, which was rotated
		if _, err := h.keeper().RotateGroup(ctx, 0); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	if err := h.k.CloseGroups(ctx, []int{1}, day.AddDate(0, 0, -1)); err != nil {
		t.Fatal(err, cause(err))
	}
	for name, insert := range map[string]string{
		"records_key_version": `INSERT INTO records (label, first_half, second_half, sealed, day) SELECT translate(label, 'abcdefgh', 'ijklmnop'), first_half, second_half, sealed, day FROM records WHERE key_group(first_half) = 0 AND erased IS NULL LIMIT 1`,
		"records_key_group":   `INSERT INTO records (label, first_half, second_half, sealed, day) SELECT translate(label, 'abcdefgh', 'ijklmnop'), first_half, second_half, sealed, day FROM records WHERE key_group(first_half) = 1 LIMIT 1`,
	} {
		if _, have := sqlState(try(t, h.admin, insert)); have != name {
			t.Errorf("%s, want %s", have, name)
		}
	}
	written := `SELECT count(DISTINCT xmin::text) FROM records`
	before := value[int](t, h.admin, written)
	if err := h.s.Shuffle(ctx); err != nil {
		t.Fatal(err, cause(err))
	}
	if after := value[int](t, h.admin, written); before == 1 || after != 1 {
		t.Errorf("%d transactions wrote the rows, %d before", after, before)
	}
}

// A rotation writes the pages of its group and no index: each record stays on its page, which
// has room for it.
func TestARotationStaysOnItsPages(t *testing.T) {
	h, ctx := newHouse(t, 0), t.Context()
	h.openGroups(t, 2)
	const each = 30
	for n := range 2 * each {
		h.group = 1 + n%2
		h.enrol(t)
	}
	if err := h.s.Shuffle(ctx); err != nil {
		t.Fatal(err, cause(err))
	}
	for range 3 {
		if _, err := h.keeper().RotateGroup(ctx, 1); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	h.k.pool.Reset() // a connection tells what it did when it ends
	var moved, onPage int64
	for tries := 0; moved < 3*each && tries < 1000; tries++ {
		if err := h.conn.QueryRow(ctx, `SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables WHERE relid = 'penname.records'::regclass`).Scan(&moved, &onPage); err != nil {
			t.Fatal(err)
		}
	}
	if moved != 3*each || onPage != moved {
		t.Errorf("%d of %d halves stayed on their page", onPage, moved)
	}
}

// A table that cannot be put into order keeps no other from its turn, and is said.
func TestARefusedTableKeepsNoOther(t *testing.T) {
	admin := database(t)
	s := issuing(t, admin, Options{})
	for range 2 {
		if _, _, err := s.Enrol(t.Context(), enrolment()); err != nil {
			t.Fatal(err)
		}
	}
	sql(t, admin, `ALTER TABLE records ADD CONSTRAINT none CHECK (false) NOT VALID`)
	if err := s.Shuffle(t.Context()); constraint(err) != "none" {
		t.Error(err)
	}
	if n := value[int](t, admin, `SELECT count(DISTINCT xmin::text) FROM persons`); n != 1 {
		t.Errorf("%d transactions wrote the rows of persons", n)
	}
}

// A sign-in that ended is not taken for a new one when it is put back, not even in the last
// hour of the day, in which its day and this hour end at the same moment.
func TestEndedIsPutBackAsItWas(t *testing.T) {
	admin := database(t)
	s := issuing(t, admin, Options{})
	grantsFor(t, s, 2)
	sql(t, admin, `UPDATE openid_rows SET ended = true, body = ''; UPDATE openid_rows SET fresh = date_trunc('hour', now(), 'UTC') + interval '1 hour'`)
	fresh := `SELECT string_agg(fresh::text, ' ' ORDER BY id) FROM openid_rows`
	before := value[string](t, admin, fresh)
	if err := s.Shuffle(t.Context()); err != nil {
		t.Fatal(err, cause(err))
	}
	if after := value[string](t, admin, fresh); after != before {
		t.Errorf("fresh until %s, before %s", after, before)
	}
}

// A record that was on its way under an older version when a rotation closed does not come in,
// although its statement began before.
func TestNoRecordComesInBehindAClose(t *testing.T) {
	admin := database(t)
	sql(t, admin, `INSERT INTO rotations (version, state, day) VALUES (2, 'moving', '2026-11-21')`)
	closing, entering := connect(t, admin), connect(t, admin)
	if _, err := closing.Exec(t.Context(), `SET search_path = penname; BEGIN; SELECT close_rotation(2, 0)`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := entering.Exec(t.Context(), `INSERT INTO penname.records (label, first_half, second_half, sealed, day) VALUES ('abcdefghijklmnopqrstuvwxyz', 'vault:v1:AAAA', 'x', 'x', '2026-11-21')`)
		done <- err
	}()
	waits(t, admin, entering.PgConn().PID())
	if _, err := closing.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if _, have := sqlState(<-done); have != "records_key_version" {
		t.Error(have)
	}
}
