package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres/postgrestest"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
	"github.com/penname/penname/verifier/token"
)

// peopled is a database with so many people, and a case and ten leaves for each of them: more
// than there ever are, so that whatever reads all of them shows.
func peopled(t *testing.T, people int) (admin string) {
	t.Helper()
	admin = database(t)
	if err := postgrestest.Fill(t.Context(), admin, as(t, admin, "penname_issuing"), postgrestest.Options{People: people, Day: day}); err != nil {
		t.Fatal(err)
	}
	d, n := disclosing(t, admin, Options{}), 0
	for n < people {
		if err := d.transact(t.Context(), func(ctx context.Context, tx pgx.Tx, _ bool) error {
			log := newLogTx(tx)
			for range 1000 {
				n++
				if _, err := translog.Sequence(ctx, log, translogtest.Leaf(n)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	for state, share := range map[disclose.State]int{disclose.Recorded: 100, disclose.Released: 100, disclose.Noticed: 1} {
		fill(t, admin, people/share, state, 400)
	}
	conn := connect(t, admin)
	const label = `substr(translate(md5(i::text) || md5(i::text), '0189', 'ghij'), 1, 26)`
	for _, statement := range []string{`SET search_path = penname`, `SET session_replication_role = replica`,
		`INSERT INTO case_targets (case_id, target, state, round) SELECT id, 0, CASE state WHEN 'recorded' THEN 'waiting' ELSE 'released' END, CASE state WHEN 'recorded' THEN NULL ELSE 1 END FROM cases`,
		`INSERT INTO approvals (case_id, custodian, approved, signed, leaf) SELECT id, 'bar', true, 'signed', -1000000 + recorded_leaf FROM cases`,
		`INSERT INTO notices (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, target)
		 SELECT id, 'pen1' || id, 'town-square', 'court', '1', '1', 'police', '{name}', recorded_leaf, day, 'production', 0 FROM cases`,
		`INSERT INTO notice_first (case_id, days, tell_by, leaf, reached, approve_from) SELECT id, 7, day, recorded_leaf, true, day FROM cases`,
		`INSERT INTO first_notices (case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, target)
		 SELECT case_id, pseudonym, platform, authority, file_number, legal_basis, requester, fields, leaf, day, kind, target FROM notices`,
		`INSERT INTO objections (case_id, target, n, lawyer, day, suspends, digest, keep_days) SELECT id, 0, 1, false, day, false, warrant_hash, 90 FROM cases`,
		`INSERT INTO erasures (label, salt, day, cleared, leaf, version, fresh) SELECT ` + label + `, sha256(i::text::bytea), '2026-01-01', 1, 1000000 + i, 1, NULL FROM generate_series(1, (SELECT count(*) FROM cases)::int) i`,
		`INSERT INTO erasures (label, salt, day, cleared, fresh) SELECT ` + label + `, sha256(i::text::bytea), '2026-01-01', CASE i % 2 WHEN 0 THEN 1 END, NULL FROM generate_series(1000001, 1000300) i`,
		`INSERT INTO reviews (id, account, several, state, day) SELECT substr(` + label + `, 1, 12), false, false, 'done', '2026-01-01' FROM generate_series(1, (SELECT count(*) FROM cases)::int) i`,
		`INSERT INTO mails (id, kind, case_id, target, hidden, day, since, due) SELECT substr(warrant_hash, 1, 16), 'notice', id, 0, decode(repeat('00', 412), 'hex'), day, day, day FROM cases`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	for _, statement := range []string{`VACUUM ANALYZE`, flush} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	flushed(t, d.pool)
	return admin
}

// flush has a session count at once what it read; else it does so seconds later.
const flush = `SELECT pg_stat_force_next_flush()`

func flushed(t *testing.T, pools ...*pgxpool.Pool) {
	t.Helper()
	for _, p := range pools {
		for _, c := range p.AcquireAllIdle(t.Context()) {
			_, err := c.Exec(t.Context(), flush)
			if c.Release(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// reads are what people, platforms, courts and custodians ask both stores for.
func reads(t *testing.T, admin string, s *Issuing, d *Disclosing) map[string]func(ctx context.Context) error {
	e, a, c := enrolment(), assignment(t), file(t, d, 1)
	session := issue.NewSession("", day)
	names := []token.Pseudonym{a.Pseudonym}
	row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Holder: a.Pseudonym, Body: []byte("{}"), Expires: day.AddDate(1, 0, 0)}
	w := allWrites{t, admin, s, d}
	if _, _, err := s.Enrol(t.Context(), e); err != nil {
		t.Fatal(err, cause(err))
	}
	_, err := s.Assign(t.Context(), a)
	w.must(err)
	w.must(s.Put(t.Context(), row))
	all := map[string]func(ctx context.Context) error{
		"Person":      func(ctx context.Context) error { _, err := s.Person(ctx, e.Fingerprint, e.Birth); return err },
		"Labelled":    func(ctx context.Context) error { _, err := s.Labelled(ctx, e.Person.Label); return err },
		"Asked":       func(ctx context.Context) error { _, err := s.Asked(ctx, e.Person.Label); return err },
		"Assigned":    func(ctx context.Context) error { _, err := s.Assigned(ctx, names); return err },
		"Notices":     func(ctx context.Context) error { _, err := s.Notices(ctx, names); return err },
		"Alike":       func(ctx context.Context) error { _, err := s.Alike(ctx, random(32), random(32)); return err },
		"Review":      func(ctx context.Context) error { _, err := s.Review(ctx, random(32)); return err },
		"Acceptances": func(ctx context.Context) error { _, err := s.Acceptances(ctx, random(32)); return err },
		"Contact":     func(ctx context.Context) error { _, err := s.Contact(ctx, e.Person); return err },
		"Claims":      func(ctx context.Context) error { _, err := s.Claims(ctx, e.Person); return err },
		"Sharing":     func(ctx context.Context) error { _, err := s.Sharing(ctx, random(32)); return err },
		"ToldClaims":  func(ctx context.Context) error { _, err := s.ToldClaims(ctx, [][]byte{random(32)}); return err },
		"Sessions":    func(ctx context.Context) error { _, err := s.Sessions(ctx, e.Person, day); return err },
		"Live":        func(ctx context.Context) error { _, _, err := s.Live(ctx, e.Person, session); return err },
		"Withdrawn":   func(ctx context.Context) error { _, err := s.Withdrawn(ctx, e.Person, "here", day); return err },
		"Get":         func(ctx context.Context) error { _, err := s.Get(ctx, row.Kind, row.ID); return err },
		"Noted":       func(ctx context.Context) error { _, err := s.Noted(ctx, names...); return err },
		"Suspensions": func(ctx context.Context) error { _, err := s.Suspensions(ctx, day, names...); return err },
		"Reserved": func(ctx context.Context) error {
			_, err := s.Reserved(ctx, []issue.PenName{{Pseudonym: a.Pseudonym, Platform: a.Platform}})
			return err
		},
		"ObjectTo": func(ctx context.Context) error {
			s.ObjectTo(ctx, issue.Notice{Pseudonym: a.Pseudonym, Platform: a.Platform}, random(32), day) //nolint:errcheck // there is no such notice
			return nil
		},

		"Links":   func(ctx context.Context) error { _, err := oneLink(ctx, d, a.Pseudonym, a.Platform); return err },
		"Records": func(ctx context.Context) error { _, err := oneRecord(ctx, d, e.Person.Label); return err },
		"Case":    func(ctx context.Context) error { _, err := d.Cases.Case(ctx, c.ID); return err },
		"Summary": func(ctx context.Context) error { _, err := d.Cases.Summary(ctx, c.ID); return err },
		"Earlier": func(ctx context.Context) error { _, err := d.Cases.Earlier(ctx, c.WarrantHash); return err },
		"Package": func(ctx context.Context) error { _, err := d.Cases.Package(ctx, c.ID, 0); return err },
		"Said":    func(ctx context.Context) error { _, err := d.Cases.Said(ctx, c.ID); return err },
		"Stands":  func(ctx context.Context) error { _, err := d.Cases.Stands(ctx, []string{c.ID}, "bar"); return err },
		"Mailed": func(ctx context.Context) error {
			_, err := d.Cases.Mailed(ctx, c.ID, disclose.LetterNotice)
			return err
		},
		"Coded":    func(ctx context.Context) error { d.Cases.Coded(ctx, [32]byte{}, day); return nil }, //nolint:errcheck // there is no such code
		"Exhibits": func(ctx context.Context) error { _, err := d.Cases.Exhibits(ctx, c.ID); return err },
		"Filed": func(ctx context.Context) error {
			_, err := d.Cases.Filed(ctx, "another court", "police", day, math.MaxInt64)
			return err
		},
		"CasesOf": func(ctx context.Context) error {
			_, err := d.Cases.CasesOf(ctx, "court", disclose.Cursor{}, 50)
			return err
		},
		"Proof": func(ctx context.Context) error { _, err := d.Log.Leaves(ctx, 7, 8); return err },
	}
	for _, q := range slices.Collect(maps.Keys(queueSQL)) {
		all[fmt.Sprint("List/", q)] = func(ctx context.Context) error {
			_, err := d.Cases.List(ctx, q, day, disclose.Cursor{}, 50)
			return err
		}
	}
	return all
}

// jobs are what a service asks the stores for by itself (service.Jobs), where nothing is due: what
// it reads then, it reads again and again.
func jobs(t *testing.T, admin string, s *Issuing, d *Disclosing, k *Keeping) map[string]func(ctx context.Context) error {
	now := day.AddDate(0, 0, 10)
	ids := value[[][]byte](t, admin, `SELECT array_agg(id) FROM mails`)
	sealed := make([][]byte, len(ids))
	for i, id := range ids { // all mails of courts ended
		var err error
		if sealed[i], err = s.rows.lockMail(id, hiddenMail{Outcome: mail.NoAddress}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.pool.Exec(t.Context(), `UPDATE mails SET hidden = n.hidden FROM unnest($1::bytea[], $2::bytea[]) n (id, hidden) WHERE mails.id = n.id`, ids, sealed); err != nil {
		t.Fatal(err)
	}
	for _, table := range mixedTables { // and all is in order
		sql(t, admin, `SET session_replication_role = replica; UPDATE `+table+` SET fresh = NULL`)
	}
	for _, once := range []func(context.Context) error{ // what is due now
		func(ctx context.Context) error { return s.DeleteExpired(ctx, now) },
		func(ctx context.Context) error { _, _, err := s.Outbox().Take(ctx, now, now); return err },
	} {
		if err := once(t.Context()); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	all := map[string]func(ctx context.Context) error{
		"order": s.Shuffle,
		"turn":  func(ctx context.Context) error { _, err := s.Turn(ctx); return err },
		"expired": func(ctx context.Context) error {
			return errors.Join(s.DeleteExpired(ctx, now), d.DeleteExpired(ctx, now))
		},
		"mails": func(ctx context.Context) error {
			_, _, err := s.Outbox().Take(ctx, now.Add(time.Minute), now)
			return err
		},
		"reminders": func(ctx context.Context) error { _, _, err := d.Reminders.Outbox().Take(ctx, now, now); return err },
		"logouts": func(ctx context.Context) error {
			_, err := s.Logouts(ctx, func(time.Time) bool { return true }, now, now)
			return err
		},
		"lists":       func(ctx context.Context) error { _, err := s.Revoked(ctx, day); return err },
		"suspensions": func(ctx context.Context) error { _, err := s.SuspendedAfter(ctx, now, 0); return err },
		"links":       func(ctx context.Context) error { _, err := s.LinkOrders(ctx); return err },
		"reviews": func(ctx context.Context) error {
			_, err := d.Reviews.List(ctx, []disclose.ReviewState{disclose.ReviewWaiting}, 50)
			return err
		},
		"exhibits": func(ctx context.Context) error { _, err := d.Cases.DropExhibits(ctx, now); return err },
		"newest":   func(ctx context.Context) error { _, err := d.Erasures.Newest(ctx); return err },
		"clear":    func(ctx context.Context) error { return d.Erasures.Clear(ctx, []string{"none"}, 1) },
		"holding":  func(ctx context.Context) error { _, err := d.Erasures.Holding(ctx, now, 0, 50); return err },
		"erasures": func(ctx context.Context) error { _, _, err := k.PendingErasures(ctx, now); return err },
	}
	maps.Copy(all, keyJobs(s, d, k, value[int](t, admin, `SELECT max(number) FROM penname.key_groups`)))
	for _, role := range slices.Collect(maps.Keys(waitsSQL)) {
		all[fmt.Sprint("waits/", role)] = func(ctx context.Context) error {
			_, _, err := d.Reminders.Waits(ctx, disclose.Party{Role: role, ID: "nobody"}, now)
			return err
		}
	}
	return all
}

// readRows is how many rows the sessions of these pools read until now, by table: one by one of
// the whole table, and by an index.
func readRows(t *testing.T, admin *pgx.Conn, pools ...*pgxpool.Pool) (whole, indexed map[string]int64) {
	t.Helper()
	flushed(t, pools...)
	rows, err := admin.Query(t.Context(), `SELECT relname, seq_tup_read, coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE schemaname = 'penname' AND n_live_tup >= 1000`)
	if err != nil {
		t.Fatal(err)
	}
	whole, indexed = map[string]int64{}, map[string]int64{}
	var table string
	var all, some int64
	if _, err := pgx.ForEachRow(rows, []any{&table, &all, &some}, func() error { whole[table], indexed[table] = all, some; return nil }); err != nil {
		t.Fatal(err)
	}
	return whole, indexed
}

// What one person, court or custodian does reads no table from end to end, and no more rows by
// an index than they have themselves, however many others there are; nor does what is done each
// hour about erasures and keys. It used to: an order to link, and who came back after a
// deletion, read every person, and each hour every erasure that ever was.
func TestNothingThatOneDoesReadsEverybody(t *testing.T) {
	const people, most = 10_000, 400
	admin := peopled(t, people)
	s, d, k := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), keeping(t, admin, Options{})
	for _, p := range []*pgxpool.Pool{s.pool, d.pool, k.pool} {
		var jit string
		if err := p.QueryRow(t.Context(), `SHOW jit`).Scan(&jit); err != nil || jit != "off" {
			t.Error("it compiles statements: ", jit, err)
		}
	}
	conn := connect(t, admin)
	all := writes(t, admin, s, d)
	delete(all, "Shuffle") // see jobs
	delete(all, "Restore") // which is nobody's
	for name, read := range reads(t, admin, s, d) {
		all[name] = func() write { return write{try: read} }
	}
	for name, job := range jobs(t, admin, s, d, k) {
		all["job "+name] = func() write { return write{try: job} }
	}
	more := map[string]int64{"job groups to open": people / 4} // as many as are in the groups that are open
	all["Enrol/again"] = func() write {
		e := enrolment()
		_, _, err := s.Enrol(t.Context(), e)
		if err == nil {
			_, err = s.Ask(t.Context(), issue.Receipt{Label: e.Person.Label, Salt: [32]byte(random(32)), Day: day})
		}
		if err != nil {
			t.Fatal(err, cause(err))
		}
		return write{try: func(ctx context.Context) error { _, _, err := s.Enrol(ctx, enrolmentLike(e)); return err }}
	}
	for name, prepare := range all {
		act := prepare()
		before, byIndex := readRows(t, conn, s.pool, d.pool, k.pool)
		if len(before) < 20 {
			t.Fatalf("%d large tables", len(before))
		}
		if err := act.try(t.Context()); err != nil {
			t.Error(name, err, cause(err))
		}
		after, indexed := readRows(t, conn, s.pool, d.pool, k.pool)
		for table, n := range after {
			if n > before[table] || indexed[table] > byIndex[table]+max(most, more[name]) {
				t.Errorf("%s reads %d rows of %s, and %d by its indexes", name, n-before[table], table, indexed[table]-byIndex[table])
			}
		}
	}
}

// keyJobs are those about erasures and keys.
func keyJobs(s *Issuing, d *Disclosing, k *Keeping, group int) map[string]func(ctx context.Context) error {
	r := keep.Rotation{Group: group, Version: 2}
	return map[string]func(ctx context.Context) error{
		"erasures of before": func(ctx context.Context) error { _, err := k.Again(ctx, "h", 100); return err },
		"erasures waiting":   func(ctx context.Context) error { _, err := k.Waiting(ctx, -1, 100); return err },
		"pending":            func(ctx context.Context) error { _, err := d.Erasures.Pending(ctx, "h", 100); return err },
		"cleared":            func(ctx context.Context) error { _, err := k.Cleared(ctx, "h", 100); return err },
		"rotations":          func(ctx context.Context) error { _, err := k.Under(ctx); return err },
		"versions":           func(ctx context.Context) error { _, err := k.UsedVersions(ctx, group); return err },
		"versions to open":   func(ctx context.Context) error { _, err := d.UsedVersions(ctx, group); return err },
		"groups":             func(ctx context.Context) error { _, err := k.Groups(ctx, group, 100); return err },
		"groups to open":     func(ctx context.Context) error { _, _, _, err := k.OpenGroups(ctx, day); return err },
		"groups that are":    func(ctx context.Context) error { _, err := s.OpenGroups(ctx, day); return err },
		"records below":      func(ctx context.Context) error { _, err := k.Below(ctx, group, 2); return err },
		"records of a group": func(ctx context.Context) error { _, err := k.Older(ctx, r, 1, 500); return err },
		"snapshot":           func(ctx context.Context) error { _, err := k.NextSnapshot(ctx, day); return err },
		"newest snapshot":    func(ctx context.Context) error { _, _, err := k.NewestSnapshot(ctx); return err },
	}
}

// distributed are the tables that grow with people, and the column by which Citus would spread
// each. All others are of cases, rules and the log, and stay where the log is.
var distributed = map[string]string{
	"persons": "fingerprint", "records": "label", "erasures": "label", "pseudonyms": "handle", "handles": "place", "notes": "place", "addresses": "place", "passkeys": "place",
	"sessions": "handle", "claims": "place", "claim_counts": "id", "claims_told": "place", "mails": "id",
	"openid_rows": "id", "openid_used": "key", "openid_entries": "slot",
}

// TestWhatStandsAgainstCitus holds the handbook to the schema: unique indexes of a table that is
// spread without its column, and foreign keys from it to one that is not.
func TestWhatStandsAgainstCitus(t *testing.T) {
	conn := connect(t, database(t))
	rows, err := conn.Query(t.Context(), `
		SELECT c.relname, x.relname || ' is unique', array_agg(a.attname::text) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
		  JOIN pg_attribute a ON a.attrelid = i.indexrelid WHERE c.relnamespace = 'penname'::regnamespace AND i.indisunique GROUP BY 1, 2
		UNION ALL
		SELECT c.relname, f.conname || ' refers to ' || r.relname, ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey))
		  FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class r ON r.oid = f.confrelid WHERE f.contype = 'f' AND c.relnamespace = 'penname'::regnamespace`)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	var table, what string
	var columns []string
	if _, err := pgx.ForEachRow(rows, []any{&table, &what, &columns}, func() error {
		if by, spread := distributed[table]; spread && !slices.Contains(columns, by) {
			found = append(found, what)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	handbook, err := os.ReadFile("../../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(handbook), "### Ready for Citus\n")
	section, _, _ = strings.Cut(section, "\n#")
	for table, by := range distributed {
		if !strings.Contains(section, "`"+table+"` by `"+by+"`") {
			t.Errorf("the handbook does not say: `%s` by `%s`", table, by)
		}
	}
	var said []string
	for _, m := range regexp.MustCompile("`([a-z_]+)` (is unique|refers to `[a-z_]+`)").FindAllStringSubmatch(section, -1) {
		said = append(said, strings.ReplaceAll(m[1]+" "+m[2], "`", ""))
	}
	slices.Sort(said)
	if !slices.Equal(found, said) {
		t.Errorf("against it stand %q, and the handbook says %q", found, said)
	}
}

// BenchmarkPartitions compares pen names in one table with those in sixteen, by the hash of the
// handle: a row stored and a row looked up, each in a transaction of its own, and a vacuum after
// one row in a hundred was written again. With -million of fifteen million, which is five million people.
func BenchmarkPartitions(b *testing.B) {
	rows := 300_000
	if *million {
		rows = 15_000_000
	}
	admin := database(b)
	conn := connect(b, admin)
	exec := func(statement string, args ...any) time.Duration {
		began := time.Now()
		if _, err := conn.Exec(b.Context(), statement, args...); err != nil {
			b.Fatal(statement, err)
		}
		return time.Since(began)
	}
	exec(`SET search_path = penname`)
	exec(`CREATE TABLE partitioned (LIKE pseudonyms INCLUDING CONSTRAINTS, PRIMARY KEY (handle)) PARTITION BY HASH (handle)`)
	for i := range 16 {
		exec(fmt.Sprintf(`CREATE TABLE partitioned_%[1]d PARTITION OF partitioned FOR VALUES WITH (MODULUS 16, REMAINDER %[1]d)`, i))
	}
	tables := []string{"pseudonyms", "partitioned"}
	for _, table := range tables {
		exec(`INSERT INTO `+table+` SELECT decode(lpad(to_hex(i * 134), 8, '0'), 'hex') || substr(sha256(i::text::bytea), 1, 12), 'vault:v1:' || repeat('a', 160), decode(repeat('00', 92), 'hex'), $2 FROM generate_series(1, $1::bigint) i`, rows, day)
		exec(`VACUUM ANALYZE ` + table)
	}
	took := map[string][]time.Duration{}
	for range 2000 { // in turns
		for _, table := range tables {
			at := random(16)
			took["store "+table] = append(took["store "+table], exec(`INSERT INTO `+table+` VALUES ($1, 'vault:v1:a', $2, $3)`, at, random(92), day))
			took["look up "+table] = append(took["look up "+table], exec(`SELECT hidden FROM `+table+` WHERE handle = ANY (ARRAY[$1::bytea, $2])`, at, random(16)))
		}
	}
	for _, table := range tables {
		name := table
		if table == "partitioned" {
			name += "_0"
		}
		depth := value[int64](b, admin, `SELECT pg_relation_size('`+name+`_pkey')`)
		exec(`ALTER TABLE ` + table + ` DISABLE TRIGGER USER`)
		exec(`UPDATE ` + table + ` SET day = day + 1 WHERE get_byte(handle, 15) < 3`)
		vacuumed := exec(`VACUUM ` + table)
		for _, what := range []string{"store ", "look up "} {
			slices.Sort(took[what+table])
			slices.Sort(took[what+tables[0]])
			b.Run(what+table, func(b *testing.B) {
				for b.Loop() {
				}
				all, first := took[what+table], took[what+tables[0]]
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "µs-p99")
				b.ReportMetric(float64(all[len(all)/2].Microseconds()), "~median")
				b.ReportMetric(float64(all[len(all)/2])/float64(first[len(first)/2]), "ratio")
			})
		}
		b.Run("vacuum "+table, func(b *testing.B) {
			for b.Loop() {
			}
			b.ReportMetric(vacuumed.Seconds(), "s")
			b.ReportMetric(float64(depth)/(1<<20), "~MB-of-an-index")
		})
	}
}
