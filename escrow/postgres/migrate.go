package postgres

import (
	"cmp"
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	deploy "github.com/penname/penname/deploy/postgres"
)

const (
	schema = "penname"
	// lockAtMost is how long a migration waits for a lock on what requests use: while it
	// waits, whoever comes later waits behind it.
	lockAtMost = 50 * time.Millisecond
	migrateFor = 10 * time.Minute  // Migration.Wait
	migrating  = "escrowd migrate" // as pg_stat_activity has it
	sayEvery   = 10 * time.Second  // while a step is not done

	lockNotAvailable, deadlockDetected = "55P03", "40P01"
)

// Migration brings a database to the schema of this program, and is what it did.
type Migration struct {
	From  int64    `json:"from"` // version of the schema before; 0: there was none
	To    int64    `json:"to"`
	Roles []string `json:"new_roles"` // login roles that it made, which have no password yet

	Wait time.Duration     `json:"-"` // for the lock of one transaction, after which it is ErrMigrateWaited; 0: 10 min
	Say  func(line string) `json:"-"` // told how it goes; nil: nobody is

	build *build // nil: this program
}

// Migrate is [Migration.Run] for who does not ask what was done.
func Migrate(ctx context.Context, adminDSN string) error { return new(Migration).Run(ctx, adminDSN) }

// Run brings the database of adminDSN to the schema of this program: it
// applies deploy/postgres/roles.sql, the migrations and the grants, and changes
// nothing where they are applied. Two at once run one after the other (D14).
// It may be ended at any moment, and goes on when it is run again.
//
// The services go on meanwhile. What changes what they use waits 50 ms for its
// lock, gives up, and tries again after a pause, until Wait is over. What makes an index
// or moves rows holds no lock that a request waits for, and takes what time it takes.
//
// adminDSN names a superuser, or an owner of the database for whom a superuser
// applied roles.sql. A database that a newer program migrated stays as it is, and is
// [ErrSchemaNewer] if this program may not run on it; one that cannot be reached says so; everything else is
// [ErrMigrateWaited] or [ErrMigrate].
func (m *Migration) Run(ctx context.Context, adminDSN string) error {
	if m.build == nil {
		m.build = own
	}
	r, err := m.begin(ctx, adminDSN)
	if err != nil {
		return err
	}
	defer r.admin.Close(context.WithoutCancel(ctx))
	if err = r.alone(ctx); err == nil {
		err = r.run(ctx)
	}
	if err != nil && !errors.Is(err, ErrSchemaNewer) && !errors.Is(err, ErrMigrateWaited) {
		err = ErrMigrate.Because(err)
	}
	return err
}

// run is a Run that reached the database.
type run struct {
	*Migration
	cfg   *pgx.ConnConfig // of the administrator
	admin *pgx.Conn
	step  string
	mu    sync.Mutex // held while Say is called
}

// begin connects, and reads which schema there is.
func (m *Migration) begin(ctx context.Context, adminDSN string) (*run, error) {
	cfg, admin, err := connectOnce(ctx, adminDSN)
	return &run{Migration: m, cfg: cfg, admin: admin}, err
}

// connectOnce is for who waits for no lock for long, and takes no place of a service's.
func connectOnce(ctx context.Context, dsn string) (*pgx.ConnConfig, *pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil || dsn == "" {
		return nil, nil, badAddress(err)
	}
	if !private(cfg) {
		return nil, nil, ErrTLS
	}
	cfg.RuntimeParams["lock_timeout"] = inMilliseconds(lockAtMost)
	cfg.RuntimeParams["application_name"] = migrating
	c, err := pgx.ConnectConfig(ctx, cfg)
	if cause := causeOfConnect(err); cause != nil {
		return nil, nil, cause
	} else if err != nil {
		return nil, nil, ErrUnavailable.Because(err)
	}
	return cfg, c, nil
}

func inMilliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// alone waits for another migration of the same database. It asks again and again: a
// session that waits inside the server has a snapshot, for which CREATE INDEX
// CONCURRENTLY of the other would wait. The lock ends with the connection.
func (r *run) alone(ctx context.Context) error {
	return r.insist(ctx, "another migration of this database", func(ctx context.Context) error {
		var had bool
		err := r.admin.QueryRow(ctx, `SELECT pg_try_advisory_lock(7165016317)`).Scan(&had)
		if err == nil && !had {
			return &pgconn.PgError{Code: lockNotAvailable}
		}
		return err
	})
}

func (r *run) run(ctx context.Context) error {
	steps, err := r.pending(ctx)
	if mine, verr := r.build.version(); err != nil || verr != nil || r.From > mine { // the grants, too, are the later program's
		return errors.Join(err, verr)
	}
	before, err := r.logins(ctx)
	if err != nil {
		return err
	}
	if err = r.insist(ctx, "roles", func(ctx context.Context) error { return inOne(ctx, r.admin, deploy.Roles) }); err != nil {
		return err
	}
	if r.Roles, err = r.logins(ctx); err != nil {
		return err
	}
	r.Roles = slices.DeleteFunc(r.Roles, func(role string) bool { return slices.Contains(before, role) })

	// The owner of the schema is not the administrator: a mistake in a function
	// that runs as its owner then reaches no further than the schema.
	owner := r.cfg.Copy()
	owner.RuntimeParams["role"] = "penname_owner"
	owner.RuntimeParams["search_path"] = schema
	owner.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Code == "00000" { // RAISE NOTICE of a step that moves rows
			r.say(n.Message)
		}
	}
	if err := r.migrate(ctx, owner, steps); err != nil {
		return err
	}
	return r.insist(ctx, "grants", func(ctx context.Context) error {
		c, err := pgx.ConnectConfig(ctx, owner)
		if err != nil {
			return err
		}
		defer c.Close(context.WithoutCancel(ctx))
		return inOne(ctx, c, takeEverything+r.build.grants)
	})
}

// takeEverything is before what grants.sql gives, in the same transaction: a service
// sees the grants of before or those of now. Neither waits for who reads or writes.
const takeEverything = `
	REVOKE ALL ON ALL TABLES IN SCHEMA penname FROM PUBLIC, penname_issuing, penname_disclosing, penname_keeping;
	REVOKE ALL ON ALL SEQUENCES IN SCHEMA penname FROM PUBLIC, penname_issuing, penname_disclosing, penname_keeping;
	REVOKE ALL ON ALL FUNCTIONS IN SCHEMA penname FROM PUBLIC, penname_issuing, penname_disclosing, penname_keeping;
	REVOKE ALL ON SCHEMA penname FROM PUBLIC, penname_issuing, penname_disclosing, penname_keeping;
	GRANT USAGE ON SCHEMA penname TO penname_issuing, penname_disclosing, penname_keeping;
	`

// inOne runs statements as one transaction.
func inOne(ctx context.Context, c *pgx.Conn, statements string) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, statements)
		return err
	})
}

// logins are those of the sides' login roles that there are.
func (r *run) logins(ctx context.Context) ([]string, error) {
	rows, err := r.admin.Query(ctx, `SELECT rolname FROM pg_roles WHERE rolname IN ('penname_issuing', 'penname_disclosing', 'penname_keeping') ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// A Step is a migration that is still to be applied.
type Step struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Since   int64  `json:"programs_since"` // programs of that schema or a later one may run beside it; its own version: no older one
	Lock    string `json:"lock_at_most"`   // how long each of its statements waits for a lock that requests wait for

	text string
}

var sinceOf = regexp.MustCompile(`INSERT INTO side_by_side \([a-z, ]+\) VALUES \((\d+), (\d+)`)

// steps are the migrations after a version.
func (b *build) steps(after int64) (steps []Step, err error) {
	names, err := fs.Glob(b.migrations, "*.sql")
	for _, name := range names {
		s := Step{Name: name, Lock: lockAtMost.String()}
		if _, err := fmt.Sscanf(name, "%d_", &s.Version); err != nil {
			return nil, err
		}
		if s.Version <= after {
			continue
		}
		text, err := fs.ReadFile(b.migrations, name)
		if err != nil {
			return nil, err
		}
		s.text, s.Since = string(text), s.Version
		if m := sinceOf.FindStringSubmatch(s.text); m != nil && m[1] == strconv.FormatInt(s.Version, 10) {
			s.Since, _ = strconv.ParseInt(m[2], 10, 64)
		}
		steps = append(steps, s)
	}
	return steps, err
}

// pending are the steps from the schema that there is to this program's.
func (r *run) pending(ctx context.Context) ([]Step, error) {
	err := r.admin.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM penname.goose_db_version WHERE is_applied`).Scan(&r.From)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000") { // no such table, no such schema
		r.From, err = 0, nil
	}
	if err != nil {
		return nil, err
	}
	steps, err := r.build.steps(r.From)
	if err != nil {
		return nil, err
	}
	if r.To, err = r.build.version(); err == nil && r.From > r.To { // a later program's, on which this one may run or not
		_, err = changesSince(ctx, r.admin, r.To)
		r.To = r.From
	}
	return steps, err
}

// migrate applies the steps, each in a transaction of its own or, where its file says NO
// TRANSACTION, each statement.
func (r *run) migrate(ctx context.Context, owner *pgx.ConnConfig, steps []Step) error {
	db := stdsql.OpenDB(patientConnector{stdlib.GetConnector(*owner), r})
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, r.build.migrations)
	if err != nil {
		return err
	}
	if r.From == 0 { // nobody uses it
		_, err = provider.Up(ctx)
		return err
	}
	for _, s := range steps {
		begun := time.Now()
		r.step = s.Name
		apply := func(ctx context.Context) error { _, err := provider.UpTo(ctx, s.Version); return err }
		if strings.Contains(s.text, "+goose NO TRANSACTION") { // its statements are repeated, each by itself
			err = apply(ctx)
		} else {
			err = r.insist(ctx, s.Name, apply)
		}
		if err != nil {
			return err
		}
		r.say(fmt.Sprintf("%s: done in %s", s.Name, time.Since(begun).Round(time.Millisecond)))
	}
	return nil
}

// patientConnector makes patient connections.
type patientConnector struct {
	driver.Connector
	run *run
}

// Connect implements [driver.Connector].
func (p patientConnector) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &patientConn{Conn: c.(*stdlib.Conn), run: p.run}, nil
}

// A patientConn repeats a statement that is a transaction of its own until it had its lock.
type patientConn struct {
	*stdlib.Conn
	run *run
}

// aside is a statement that makes or drops an index while rows are written. It waits for
// every transaction that began before it, and nobody waits for it: so it waits long.
var aside = regexp.MustCompile(`^\s*(CREATE( UNIQUE)? INDEX|DROP INDEX|REINDEX INDEX) CONCURRENTLY `)

// ExecContext implements [driver.ExecerContext].
func (c *patientConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	if c.run.From == 0 || len(args) > 0 || c.Conn.Conn().PgConn().TxStatus() != 'I' { // goose's own, or of a transaction
		return c.Conn.ExecContext(ctx, query, args)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(query), "\n")
	err = c.run.insist(ctx, c.run.step+": "+first, func(ctx context.Context) error {
		lock := lockAtMost
		if aside.MatchString(query) {
			lock = cmp.Or(c.run.Wait, migrateFor)
			if err := dropHalves(ctx, c.Conn.Conn()); err != nil {
				return err
			}
		}
		_, err := c.Conn.Conn().Exec(ctx, `SET lock_timeout = `+inMilliseconds(lock))
		if err == nil {
			result, err = c.Conn.ExecContext(ctx, query, args)
		}
		return err
	})
	return result, err
}

// dropHalves drops what a statement that was ended in the middle left: an index that is not
// valid is of no use, and IF NOT EXISTS would keep it.
func dropHalves(ctx context.Context, c *pgx.Conn) error {
	rows, err := c.Query(ctx, `SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid
		WHERE relnamespace = 'penname'::regnamespace AND relkind = 'i' AND NOT indisvalid`)
	if err != nil {
		return err
	}
	halves, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, index := range halves {
		if err == nil {
			_, err = c.Exec(ctx, `DROP INDEX CONCURRENTLY IF EXISTS `+index)
		}
	}
	return err
}

// insist repeats a transaction until it had its locks, for as long as it may wait.
func (r *run) insist(ctx context.Context, what string, step func(context.Context) error) error {
	begun, wait := time.Now(), cmp.Or(r.Wait, migrateFor)
	defer r.sayNowAndThen(ctx, what)()
	for n := 1; ; n++ {
		err := step(ctx)
		var pg *pgconn.PgError
		if err == nil || !errors.As(err, &pg) || pg.Code != lockNotAvailable && pg.Code != deadlockDetected {
			return err
		}
		if time.Since(begun) >= wait {
			return ErrMigrateWaited.Because(fmt.Errorf("%s: no lock in %d attempts; %s", what, n, r.oldest(ctx)))
		}
		if n == 1 {
			r.say(fmt.Sprintf("%s: waits for a lock; %s", what, r.oldest(ctx)))
		}
		longest := min(time.Duration(n)*2*lockAtMost, time.Second)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(longest/2 + rand.N(longest/2)): //nolint:gosec // jitter
		}
	}
}

// sayNowAndThen says that a step is not done yet, until the function that it returns is called.
func (r *run) sayNowAndThen(ctx context.Context, what string) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		begun := time.Now()
		ticks := time.NewTicker(sayEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticks.C:
				r.say(fmt.Sprintf("%s: not done after %s; %s", what, now.Sub(begun).Round(time.Second), r.oldest(ctx)))
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (r *run) say(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Say != nil {
		r.Say(line)
	}
}

// oldest says which transactions of others are the oldest: a step waits for one of them.
func (r *run) oldest(ctx context.Context) string {
	c, err := pgx.ConnectConfig(ctx, r.cfg)
	if err != nil {
		return "nobody says for whom"
	}
	defer c.Close(context.WithoutCancel(ctx))
	var all string
	err = c.QueryRow(ctx, `SELECT coalesce(string_agg(said, ', ' ORDER BY xact_start), 'there is none any more') FROM (
		SELECT xact_start, format('process %s of %s (%s) since %s s', pid, usename, state, round(extract(epoch FROM clock_timestamp() - xact_start))) said
		FROM pg_stat_activity WHERE datname = current_database() AND application_name <> $1 AND xact_start IS NOT NULL
		ORDER BY xact_start LIMIT 3) a`, migrating).Scan(&all)
	if err != nil {
		return "nobody says for whom"
	}
	return "the oldest transactions of others: " + all
}

// A Plan is what [Migration.Run] would do.
type Plan struct {
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	Since int64  `json:"programs_since"` // programs of that schema or a later one may go on
	Steps []Step `json:"steps"`
}

// Plan only reads. Its errors are those of [Migration.Run].
func (m *Migration) Plan(ctx context.Context, adminDSN string) (p Plan, err error) {
	m.build = own
	r, err := m.begin(ctx, adminDSN)
	if err != nil {
		return p, err
	}
	defer r.admin.Close(context.WithoutCancel(ctx))
	if p.Steps, err = r.pending(ctx); err != nil && !errors.Is(err, ErrSchemaNewer) {
		err = ErrMigrate.Because(err)
	}
	p.From, p.To, p.Since = r.From, r.To, r.From
	for _, s := range p.Steps {
		p.Since = max(p.Since, s.Since)
	}
	return p, err
}
