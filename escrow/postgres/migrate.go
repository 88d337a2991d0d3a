package postgres

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	_ "embed"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	deploy "github.com/penname/penname/deploy/postgres"
)

const (
	schema = "penname"
	// Rows of the catalogue do not wait for each other: they fail with "tuple
	// concurrently updated". The number is arbitrary.
	oneAtATime = `BEGIN; SELECT pg_advisory_xact_lock(7165016317); `
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed grants.sql
var grants string

// guards names every trigger, constraint and index of the schema, one a line, in order.
// TestFoundN2GuardsAreListed writes it.
//
//go:embed guards.txt
var guards string

// Migration is what a migration did.
type Migration struct {
	From  int64    `json:"from"` // version of the schema before; 0: there was none
	To    int64    `json:"to"`
	Roles []string `json:"new_roles"` // login roles that it made, which have no password yet
}

// Migrate is [Migration.Run] for who does not ask what was done.
func Migrate(ctx context.Context, adminDSN string) error { return new(Migration).Run(ctx, adminDSN) }

// Run brings the database of adminDSN to the schema of this program: it
// applies deploy/postgres/roles.sql, the migrations and the grants, and changes
// nothing where they are applied. Two at once run one after the other (D14).
//
// adminDSN names a superuser, or an owner of the database for whom a superuser
// applied roles.sql. A database that a newer program migrated is
// [ErrSchemaNewer]; one that cannot be reached says so; everything else is [ErrMigrate].
func (m *Migration) Run(ctx context.Context, adminDSN string) error {
	cfg, err := pgx.ParseConfig(adminDSN)
	if err != nil || adminDSN == "" {
		return badAddress(err)
	}
	if !private(cfg) {
		return ErrTLS
	}
	admin, err := pgx.ConnectConfig(ctx, cfg)
	if cause := causeOfConnect(err); cause != nil {
		return cause
	} else if err != nil {
		return ErrUnavailable.Because(err)
	}
	defer admin.Close(context.WithoutCancel(ctx))
	before, err := logins(ctx, admin)
	if err == nil {
		_, err = admin.Exec(ctx, oneAtATime+deploy.Roles+` COMMIT`)
	}
	if err == nil {
		m.Roles, err = logins(ctx, admin)
	}
	if err != nil {
		return ErrMigrate.Because(err)
	}
	m.Roles = slices.DeleteFunc(m.Roles, func(role string) bool { return slices.Contains(before, role) })

	err = migrateTo(cfg, func(p *goose.Provider) error {
		var err error
		if m.From, m.To, err = p.GetVersions(ctx); err != nil {
			return err
		} else if m.From > m.To {
			return ErrSchemaNewer
		}
		_, err = p.Up(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return grant(ctx, cfg)
}

// logins are those of the sides' login roles that there are.
func logins(ctx context.Context, admin *pgx.Conn) ([]string, error) {
	rows, err := admin.Query(ctx, `SELECT rolname FROM pg_roles WHERE rolname IN ('penname_issuing', 'penname_disclosing', 'penname_keeping') ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// migrateTo lets up bring the schema to a version, as its owner. From then on cfg is the
// owner's.
func migrateTo(cfg *pgx.ConnConfig, up func(*goose.Provider) error) error {
	// The owner of the schema is not the administrator: a mistake in a function
	// that runs as its owner then reaches no further than the schema.
	cfg.RuntimeParams["role"] = "penname_owner"
	cfg.RuntimeParams["search_path"] = schema
	sources, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return ErrMigrate.Because(err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // seconds, attempts
	if err != nil {
		return ErrMigrate.Because(err)
	}
	owner := stdlib.OpenDB(*cfg)
	defer owner.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, owner, sources, goose.WithSessionLocker(locker))
	if err == nil {
		err = up(provider)
	}
	if err != nil && !errors.Is(err, ErrSchemaNewer) {
		err = ErrMigrate.Because(err)
	}
	return err
}

// grant takes everything from everybody and gives what grants.sql says, in one
// transaction.
func grant(ctx context.Context, cfg *pgx.ConnConfig) error {
	owner, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return ErrMigrate.Because(err)
	}
	defer owner.Close(context.WithoutCancel(ctx))
	_, err = owner.Exec(ctx, oneAtATime+`
		REVOKE ALL ON ALL TABLES IN SCHEMA penname FROM PUBLIC, penname_issuing, penname_disclosing, penname_keeping;
		REVOKE ALL ON ALL SEQUENCES IN SCHEMA penname FROM PUBLIC, penname_issuing, penname_disclosing, penname_keeping;
		REVOKE ALL ON ALL FUNCTIONS IN SCHEMA penname FROM PUBLIC, penname_issuing, penname_disclosing, penname_keeping;
		REVOKE ALL ON SCHEMA penname FROM PUBLIC, penname_issuing, penname_disclosing, penname_keeping;
		GRANT USAGE ON SCHEMA penname TO penname_issuing, penname_disclosing, penname_keeping;
		`+grants+`
		COMMIT`)
	if err != nil {
		return ErrMigrate.Because(err)
	}
	return nil
}

// SchemaVersion is the version of the schema that this program works with.
func SchemaVersion() (version int64, err error) {
	sources, err := fs.Glob(migrations, "migrations/*.sql")
	if err == nil {
		_, err = fmt.Sscanf(slices.Max(sources), "migrations/%d_", &version)
	}
	return version, err
}

// CheckSchema returns nil if the database has exactly the schema of this
// program, else [ErrSchemaOlder] or [ErrSchemaNewer] (D13).
func (d *db) CheckSchema(ctx context.Context) error {
	var have int64
	want, err := SchemaVersion()
	if err != nil {
		return ErrSchemaOlder.Because(err)
	}
	err = d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&have)
	})
	var f *serverError
	switch {
	case errors.As(err, &f) && (f.state == "42P01" || f.state == "42501"): // no such table, or nothing granted yet
		return ErrSchemaOlder.Because(f)
	case err != nil:
		return err
	case have < want:
		return ErrSchemaOlder
	case have > want:
		return ErrSchemaNewer
	}
	return nil
}

// guardsThere selects what guards names.
const guardsThere = `
	WITH tables AS (SELECT oid, relname FROM pg_class WHERE relnamespace = 'penname'::regnamespace)
	SELECT format('trigger %s of %s', tgname, relname) FROM pg_trigger JOIN tables ON tables.oid = tgrelid
	  WHERE NOT tgisinternal AND tgenabled = 'O'
	UNION ALL SELECT format('constraint %s of %s', conname, relname) FROM pg_constraint c JOIN tables ON tables.oid = conrelid
	  WHERE contype IN ('c', 'f', 'p', 'u') AND convalidated AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgconstraint = c.oid AND tgenabled <> 'O')
	UNION ALL SELECT format('index %s', relname) FROM pg_index JOIN tables ON tables.oid = indexrelid
	  WHERE indisvalid AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)`

// listed is what a query selects, one text a row.
func (d *db) listed(ctx context.Context, query string) (all []string, err error) {
	err = d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, query)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return all, err
}

// checkGuards refuses a database in which something is missing that keeps it whole, as
// after a restore that stopped, or that disabled triggers and stopped (FOUND N2).
func (d *db) checkGuards(ctx context.Context) error {
	have, err := d.listed(ctx, guardsThere)
	if err != nil {
		return err
	}
	for guard := range strings.Lines(guards) {
		if guard = strings.TrimSpace(guard); !slices.Contains(have, guard) {
			return ErrSchemaIncomplete.Because(errors.New(guard))
		}
	}
	return nil
}

var (
	grantLine  = regexp.MustCompile(`^GRANT (.+) ON (FUNCTION )?([a-z_]+)(\([a-z\[\], ]*\))? TO ([a-z_, ]+);$`)
	grantWhats = regexp.MustCompile(`([A-Z]+)(?: \(([a-z_, ]+)\))?(?:, |$)`)
)

// granted reads from grants.sql what a role may do: "cases.state UPDATE",
// "openid_rows DELETE", "mix EXECUTE".
func granted(role string) (map[string]bool, error) {
	may := make(map[string]bool)
	for lines := bufio.NewScanner(strings.NewReader(grants)); lines.Scan(); {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "--") {
			continue
		}
		g := grantLine.FindStringSubmatch(line)
		if g == nil {
			return nil, errors.New("grants.sql: a line is not one GRANT")
		}
		if !slices.Contains(strings.Split(g[5], ", "), role) {
			continue
		}
		for _, what := range grantWhats.FindAllStringSubmatch(g[1], -1) {
			if what[2] == "" {
				may[g[3]+" "+what[1]] = true
				continue
			}
			for column := range strings.SplitSeq(what[2], ", ") {
				may[g[3]+"."+column+" "+what[1]] = true
			}
		}
	}
	return may, nil
}

// checkGrants compares what the role may do in the database with grants.sql.
func (d *db) checkGrants(ctx context.Context, role string) error {
	want, err := granted(role)
	if err != nil {
		return ErrRole.Because(err)
	}
	have, err := d.listed(ctx, `
			WITH tables AS (SELECT oid, relname FROM pg_class
			  WHERE relnamespace = 'penname'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f'))
			SELECT relname || '.' || attname || ' ' || p FROM tables
			  JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped,
			  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) p
			  WHERE has_column_privilege(tables.oid, attnum, p)
			UNION ALL SELECT relname || ' ' || p FROM tables, unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER']) p
			  WHERE has_table_privilege(tables.oid, p)
			UNION ALL SELECT proname || ' EXECUTE' FROM pg_proc
			  WHERE pronamespace = 'penname'::regnamespace AND has_function_privilege(oid, 'EXECUTE')
			UNION ALL SELECT 'schema CREATE' WHERE has_schema_privilege('penname', 'CREATE')
			UNION ALL SELECT 'database ' || p FROM unnest(ARRAY['CREATE', 'TEMPORARY']) p
			  WHERE has_database_privilege(current_database(), p)`)
	if err != nil {
		return err
	}
	for _, p := range have {
		if !want[p] {
			return ErrRole.Because(errors.New("too much: " + p))
		}
		delete(want, p)
	}
	for _, p := range slices.Sorted(maps.Keys(want)) {
		return ErrRole.Because(errors.New("missing: " + p))
	}
	return nil
}
