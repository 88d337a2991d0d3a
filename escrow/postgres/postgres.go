// Package postgres is every line of SQL: the stores of the issuing side, of the
// disclosing side, of the keeping side, of the OpenID provider and of the public log.
//
//	Migrate       by a command, never by a service: schema, then grants.sql
//	OpenIssuing   role penname_issuing: issue.Store and openid.Store
//	OpenDisclosing role penname_disclosing: disclose.Cases, Records, Erasures and Bundles, translog.Store
//	OpenKeeping   role penname_keeping: keep.Rotations and Erasures
//
// The roles cannot do each other's work: PostgreSQL refuses, whatever the
// program asks (grants.sql). Append-only tables and the arrows of a case are
// held by triggers, too.
//
// A COMMIT whose answer is lost is an unknown, not a failure. Every write here
// can be repeated, and is: the second attempt waits for the first if it is
// still under way, and finds what it did by its key (fingerprint, pseudonym,
// warrant hash, index and bytes of a leaf). If that is impossible, the error is
// [ErrUnknown] and repeating the call is safe. What such an attempt left behind is
// not acknowledged or shown to anybody before a standby holds it: see confirm.
//
// Trusted for: keeping what was acknowledged, and the sides apart. Whoever controls
// the database can delete and roll back; the log's witnesses and
// [Disclosing.Check] find that. It opens nothing: what is sealed stays sealed.
// Rows of pen names and sign-ins say nothing of whose they are without a key that
// is not in the database (see [RowKey]): neither their order in a file nor the
// write-ahead log links two of them to a name.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Refusals at the start. The services must not run with any of them.
var (
	ErrDSN = refusal.New(refusal.Invalid, "database.dsn",
		"the database address cannot be used: give a postgres:// URL or keyword=value pairs")
	ErrNoDSN = refusal.New(refusal.Invalid, "database.no_dsn",
		"the file with the database address is empty: write a postgres:// URL or keyword=value pairs into it")
	ErrCA = refusal.New(refusal.Invalid, "database.ca",
		"the database's certificate is not signed by the authority in sslrootcert, or that file cannot be read: name the authority that signed it")
	ErrHostname = refusal.New(refusal.Invalid, "database.hostname",
		"the database's certificate is for another host name: use the name that is in it, or have one made for this name")
	ErrHost = refusal.New(refusal.Invalid, "database.host",
		"the database's host name is not known: correct the host in the address, or the name server")
	ErrPassword = refusal.New(refusal.Unauthenticated, "database.login",
		"the database did not accept the role and its password: correct them in the file with the address, or set the password anew with ALTER ROLE")
	ErrNoDatabase = refusal.New(refusal.Invalid, "database.no_database",
		"the server has no database of that name: correct the name in the address, or create it")
	ErrPooler = refusal.New(refusal.Invalid, "database.pooler",
		"a connection pooler stands before the database and changes what a session is: connect to the server itself, or through a proxy that only passes bytes on")
	ErrTLS = refusal.New(refusal.Invalid, "database.tls",
		"the database is on another machine and its certificate would not be checked: set sslmode=verify-full and sslrootcert")
	ErrStandby = refusal.New(refusal.Unavailable, "database.standby",
		"the database is a standby or read-only, and decisions are never made from a replica: connect to the primary")
	ErrSettings = refusal.New(refusal.Invalid, "database.settings",
		"the server runs with a setting that loses or leaks data: it needs fsync, full_page_writes and synchronous_commit on, track_commit_timestamp off, session_replication_role at origin, and the role settings of deploy/postgres/roles.sql")
	ErrRole = refusal.New(refusal.Invalid, "database.role",
		"the database role may do more or less than its side needs: log in as penname_issuing, penname_disclosing or penname_keeping, grant it nothing by hand, and run the migration")
	ErrSchemaOlder = refusal.New(refusal.Unavailable, "database.schema_older",
		"the database schema is older than this program, or not there: run the migration first")
	ErrSchemaIncomplete = refusal.New(refusal.Invalid, "database.schema_incomplete",
		"the schema lacks a trigger, a constraint or an index, or it is disabled, as after a restore that was not finished: restore the whole backup into an empty database, and look at what the restore said")
	ErrSchemaNewer = refusal.New(refusal.Unavailable, "database.schema_newer",
		"the database schema is newer than this program and does not say that it may go on: nothing was stored, run the program that the schema is for")
	ErrRowKey = refusal.New(refusal.Unavailable, "database.row_key",
		"the key that hides whose a row is cannot be had: it comes from the key service, see whether that answers")
	ErrMigrate = refusal.New(refusal.Unavailable, "database.migrate",
		"the migration failed and what it began was rolled back: connect as an owner of the database who may create roles, and run it again")
	ErrMigrateWaited = refusal.New(refusal.Unavailable, "database.migrate_waited",
		"the migration did not get a lock in its time, and holds none: the steps that it said are done stay done, so end the transaction that it waits for, or wait, and run it again")
)

// Refusals in service.
var (
	ErrUnavailable = refusal.New(refusal.Unavailable, "database.unavailable",
		"the database gave no answer: nothing was disclosed, try again")
	ErrNoStandby = refusal.New(refusal.Unavailable, "database.no_standby",
		"no standby confirms what the database stores: nothing is acknowledged or disclosed until one does. Look which machine of the database is away, or cannot follow")
	ErrBusy = refusal.New(refusal.Unavailable, "database.busy",
		"the database is busy: nothing was stored, try again later")
	ErrUnknown = refusal.New(refusal.Unavailable, "database.outcome_unknown",
		"the database went away while it stored this: repeat the request, which has no double effect")
	ErrForbidden = refusal.New(refusal.Unavailable, "database.forbidden",
		"the database does not let this side do this: nothing was stored, tell the operator")
	ErrRefused = refusal.New(refusal.Conflict, "database.rule",
		"the database holds a rule against this change: nothing was stored")
	ErrText = refusal.New(refusal.Invalid, "database.text",
		"a text holds a character that cannot be stored: send valid UTF-8 without NUL")
	ErrDamaged = refusal.New(refusal.Unavailable, "database.damaged",
		"the database does not agree with the log in it: stop, keep it as evidence, and restore what the witnesses have cosigned")
	ErrTooLarge = refusal.New(refusal.Invalid, "database.too_large",
		"the request is larger than what is stored: split it")
)

// Options of the openers. The zero value is right for a service, but for the row
// key: the issuing side needs one, and the disclosing side to read links.
type Options struct {
	RowKey     RowKey
	MaxConns   int32         // of the pool; 0: 16
	Wait       time.Duration // for a free connection, after which it is ErrBusy; 0: 4 s
	Answer     time.Duration // to one statement, after which it is ErrUnavailable; 0: 4 s
	Commit     time.Duration // for the answer to a COMMIT, after which it is ErrUnknown; 0: 4 s, of jobs 15 s
	ChecksOnly bool          // store nothing, read no row key: what needs it does not work

	Tracer pgx.QueryTracer // is told of each statement; nil: nobody is

	// Dial replaces the network, for tests of what a broken one does.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Limits. There is no statement_timeout: it would also cancel a COMMIT that waits
// for the standby, which then is visible and can be lost (ATTACKS, lesson 4). A
// request that finds the database frozen in one of these ways is answered within
// five seconds (FOUND G3).
const (
	lockTimeout = "3s"
	answerTime  = 4 * time.Second
	jobTime     = 15 * time.Second
	startTime   = 30 * time.Second // for the first connection, which nobody waits for
	idleTimeout = "30s"
)

// readRest bounds the rest between what sign-ins ask: a statement costs the server as much as
// ten of its rows, and two thirds of a sign-in are such statements.
const readRest = 5 * time.Millisecond

// db is a pool that passed the checks at the start.
type db struct {
	pool         *pgxpool.Pool
	wait, commit time.Duration                     // Options
	lengthy      time.Duration                     // Commit, of what no request waits for
	barriers     *coalesce.Group[string, struct{}] // by server

	build  *build
	looked *atomic.Pointer[time.Time] // when the schema was the right one
}

// Issuing is the database as the issuing side may use it. It is safe for
// concurrent use.
type Issuing struct {
	db
	rows       rowKey
	enrolments coalesce.Group[issue.Enrolment, bool] // true: stored, as a new person
	lookups    coalesce.Group[[]byte, *stored]       // by fingerprint
	standings  coalesce.Group[places, standing]
	gets       coalesce.Group[rowAt, *rowFound]
	writes     coalesce.Group[statement, int64] // of sign-ins: rows that each changed
	courts     courtQueue
	rests      int // restTimes
}

// Disclosing is the database as the disclosing side may use it, one store for
// each noun. It is safe for concurrent use.
type Disclosing struct {
	db
	Cases      Cases
	Records    Records
	Erasures   Erasures
	Bundles    Bundles
	Ceremonies Ceremonies
	Reviews    Reviews
	Platforms  Platforms
	Reminders  Reminders
	Log        Log
}

// OpenIssuing connects as penname_issuing and refuses a server, a role or a
// schema that it must not run with: see the refusals of this package.
func OpenIssuing(ctx context.Context, dsn string, o Options) (*Issuing, error) {
	d, err := open(ctx, dsn, "penname_issuing", o)
	if err != nil {
		return nil, err
	}
	s := &Issuing{db: d, rests: restTimes}
	if !o.ChecksOnly {
		err = s.openRows(ctx, o.RowKey)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.enrolments.Alone, s.lookups.Alone, s.standings.Rest, s.gets.Rest = true, true, readRest, readRest
	s.enrolments.Send, s.lookups.Send, s.standings.Send = s.enrolTogether, s.lookUp, s.stand
	s.lookups.Most, s.standings.Most, s.gets.Most, s.writes.Most = s.commit, s.commit, s.commit, s.commit
	s.gets.Send, s.writes.Send = s.getTogether, s.writeTogether
	return s, nil
}

// OpenDisclosing is [OpenIssuing] for penname_disclosing.
func OpenDisclosing(ctx context.Context, dsn string, o Options) (*Disclosing, error) {
	d, err := open(ctx, dsn, "penname_disclosing", o)
	if err != nil {
		return nil, err
	}
	s := &Disclosing{db: d}
	rows := &sharedRows{source: o.RowKey}
	s.Cases, s.Records, s.Erasures, s.Reminders = Cases{&s.db, rows, &coalesce.Group[refusedFiling, struct{}]{Alone: true, Items: 1024, Most: d.commit}}, Records{&s.db, rows}, Erasures{&s.db}, Reminders{&s.db, rows}
	s.Cases.refusals.Send = s.Cases.refuseTogether
	s.Bundles, s.Ceremonies, s.Reviews, s.Platforms, s.Log = Bundles{&s.db}, Ceremonies{&s.db}, Reviews{&s.db}, Platforms{&s.db}, Log{&s.db}
	return s, nil
}

// Close waits for running calls and closes the connections.
func (d *db) Close() { d.pool.Close() }

func open(ctx context.Context, dsn, role string, o Options) (db, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil || dsn == "" { // which would be this machine's default
		return db{}, badAddress(err)
	}
	c := cfg.ConnConfig
	if !private(c) {
		return db{}, ErrTLS
	}
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement // D01: never the simple protocol
	c.OnNotice, cfg.AfterConnect = noteGivenUp, pin
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	for name, value := range map[string]string{
		"search_path": schema, "application_name": role, "timezone": "UTC",
		"lock_timeout": lockTimeout, "idle_in_transaction_session_timeout": idleTimeout,
		"jit": "off", // it compiles for a second what takes a millisecond, once a table is large
		// The server takes tables of which it knows nothing yet for a few pages, and reads those from
		// end to end if a page by an index costs four times as much, as on a turning disk.
		"random_page_cost": "1.1",
	} {
		c.RuntimeParams[name] = value
	}
	if o.Dial != nil {
		c.DialFunc = o.Dial
	}
	if cfg.MaxConns = o.MaxConns; o.MaxConns == 0 {
		cfg.MaxConns = 16
	}
	c.Tracer = patience(cmp.Or(o.Answer, answerTime))
	if o.Tracer != nil {
		c.Tracer = multitracer.New(c.Tracer, o.Tracer)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return db{}, ErrDSN
	}
	d := db{pool: pool, wait: cmp.Or(o.Wait, startTime), commit: cmp.Or(o.Commit, answerTime), lengthy: cmp.Or(o.Commit, jobTime),
		barriers: &coalesce.Group[string, struct{}]{}, build: own, looked: &atomic.Pointer[time.Time]{}}
	d.barriers.Send, d.barriers.Most = d.emit, d.commit
	began := time.Now()
	if err = d.check(ctx, role); err == nil && o.ChecksOnly { // serving begins without a standby, and waits for it
		err = d.Ready(ctx)
	}
	if err != nil {
		pool.Close()
		return db{}, why(ctx, dsn, o, err)
	}
	d.wait = cmp.Or(o.Wait, answerTime)
	d.looked.Store(&began)
	return d, nil
}

// private reports whether every address the driver may try is this machine's,
// or is authenticated by name (D17).
func private(c *pgx.ConnConfig) bool {
	hosts := append([]*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	for _, h := range hosts {
		local := strings.HasPrefix(h.Host, "/") || strings.HasPrefix(h.Host, "@") || document.Localhost(h.Host)
		// pgx verifies the name itself for verify-full only; for verify-ca it
		// sets InsecureSkipVerify and checks the chain.
		if !local && (h.TLSConfig == nil || h.TLSConfig.InsecureSkipVerify || h.TLSConfig.ServerName == "") {
			return false
		}
	}
	return true
}

// check refuses to run on what D13, D15 and D16 name, and as another role.
func (d *db) check(ctx context.Context, role string) error {
	var user string
	var version int
	var super, read, same bool
	var wrong []string
	err := d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error { // it can only refuse
		return c.QueryRow(ctx, `
			SELECT current_user, current_setting('server_version_num')::int,
			  (SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
			     OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)
			     FROM pg_roles r WHERE rolname = session_user),
			  pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
			  -- A pooler gives each client a number of its own, and lets go of what a session is set to.
			  pg_backend_pid() = $1 AND current_setting('lock_timeout') = $2,
			  ARRAY(SELECT name FROM (VALUES
			    ('fsync', current_setting('fsync') = 'on'),
			    ('full_page_writes', current_setting('full_page_writes') = 'on'),
			    ('synchronous_commit', (SELECT reset_val IN ('on', 'remote_apply') FROM pg_settings WHERE name = 'synchronous_commit')), -- before pin
			    ('session_replication_role', current_setting('session_replication_role') = 'origin'), -- else no trigger guards
			    ('track_commit_timestamp', current_setting('track_commit_timestamp') = 'off'),
			    ('log_parameter_max_length', current_setting('log_parameter_max_length') = '0'),
			    ('log_parameter_max_length_on_error', current_setting('log_parameter_max_length_on_error') = '0'),
			    ('log_error_verbosity', current_setting('log_error_verbosity') = 'terse')) s (name, good) WHERE NOT good)`,
			int64(c.Conn().PgConn().PID()), lockTimeout).Scan(&user, &version, &super, &read, &same, &wrong)
	})
	switch {
	case err != nil:
		return atStart(err)
	case read:
		return ErrStandby
	case !same:
		return ErrPooler
	case user != role:
		return ErrRole.Because(fmt.Errorf("it should log in as %s", role))
	case super:
		return ErrRole.Because(errors.New(role + " has an attribute like SUPERUSER, or is a member of another role"))
	case version < 150000:
		return ErrSettings.Because(errors.New("server older than PostgreSQL 15"))
	case len(wrong) > 0:
		return ErrSettings.Because(errors.New(strings.Join(wrong, ", ")))
	}
	var changes []string
	err = d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		changes, err = d.changes(ctx, c)
		return err
	})
	if err != nil {
		return err
	}
	if err := d.checkGuards(ctx, changes); err != nil {
		return err
	}
	return d.checkGrants(ctx, role, changes)
}
