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
	"time"

	_ "embed"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/verifier/refusal"
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

// A build is what a program knows of the schema.
type build struct {
	migrations     fs.FS
	guards, grants string
}

// own is this program's.
var own = &build{sub(migrations), guards, grants}

func sub(all fs.FS) fs.FS {
	migrations, err := fs.Sub(all, "migrations")
	if err != nil {
		panic(err) // the path is a constant
	}
	return migrations
}

// version is the newest that it knows.
func (b *build) version() (version int64, err error) {
	names, err := fs.Glob(b.migrations, "*.sql")
	if err == nil {
		_, err = fmt.Sscanf(slices.Max(names), "%d_", &version)
	}
	return version, err
}

// SchemaVersion is the version of the schema that this program was made for. It works with
// newer ones, too, as far as they say so: see [Issuing.CheckSchema].
func SchemaVersion() (int64, error) { return own.version() }

// CheckSchema returns nil if this program may work with the schema of the database, else
// [ErrSchemaOlder] or [ErrSchemaNewer] (D13).
//
// It may if the schema is its own, or if each migration that came after says that it may:
// a migration that programs of before can live with writes so into side_by_side, in the
// transaction that changes the schema. One that says nothing is refused. This is held
// against mistakes of whoever releases or operates; the owner of the database can write
// there what they like, as everywhere.
func (d *db) CheckSchema(ctx context.Context) error {
	return d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := d.changes(ctx, c)
		return err
	})
}

// changes are what migrations after this program's say that they changed of its guards and
// grants, as side_by_side has it.
func (d *db) changes(ctx context.Context, q querier) (all []string, err error) {
	want, err := d.build.version()
	if err != nil {
		return nil, notMine(ErrSchemaOlder, err.Error())
	}
	return changesSince(ctx, q, want)
}

// MayRun returns nil if a program that was made for a schema may work with the database as it
// is, [ErrSchemaOlder] if it has to be migrated first, and [ErrSchemaNewer] if it may not. It
// is how a program judges another one, before that takes its place; one of a side's role is
// enough.
func MayRun(ctx context.Context, dsn string, schema int64) error {
	_, c, err := connectOnce(ctx, dsn)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	_, err = changesSince(ctx, c, schema)
	return err
}

// changesSince are what migrations after a schema say that they changed, or why a program of
// that schema may not run.
func changesSince(ctx context.Context, q querier, want int64) (all []string, err error) {
	rows, err := q.Query(ctx, `SELECT version_id, since, changes FROM penname.goose_db_version
		LEFT JOIN penname.side_by_side ON version = version_id WHERE is_applied AND version_id >= $1 ORDER BY 1`, want)
	if err != nil {
		return nil, schemaError(ctx, err)
	}
	var version int64
	var since *int64
	var changes []string
	there, newer := false, ""
	_, err = pgx.ForEachRow(rows, []any{&version, &since, &changes}, func() error {
		switch {
		case version == want:
			there = true
			return nil
		case since == nil:
			newer = fmt.Sprintf("schema %d does not say which programs may run on it, so none of schema %d may", version, want)
		case *since > want:
			newer = fmt.Sprintf("schema %d is for programs of schema %d and later, not of %d", version, *since, want)
		case slices.ContainsFunc(changes, func(c string) bool { return !strings.HasPrefix(c, "+ ") && !strings.HasPrefix(c, "- ") }):
			newer = fmt.Sprintf("schema %d says of its changes what programs of schema %d do not understand", version, want)
		}
		all = append(all, changes...)
		return nil
	})
	switch {
	case err != nil:
		return nil, schemaError(ctx, err)
	case !there:
		return nil, notMine(ErrSchemaOlder, fmt.Sprintf("version %d is not there", want))
	case newer != "":
		return nil, notMine(ErrSchemaNewer, newer)
	}
	return all, nil
}

// schemaError is err of reading which schema there is.
func schemaError(ctx context.Context, err error) error {
	var f *serverError
	if err = refused(ctx, err); errors.As(err, &f) && (f.state == "42P01" || f.state == "42501") { // no such table, or nothing granted yet
		return ErrSchemaOlder.Because(f)
	}
	return err
}

// notMine refuses a schema. It may come after an attempt whose outcome is unknown: see
// [db.settle].
func notMine(refusal *refusal.Error, why string) error {
	return refusal.Because(otherSchema{why, &serverError{cause: errors.New(why)}})
}

type otherSchema struct {
	why string
	*serverError
}

func (o otherSchema) Error() string { return o.why }
func (o otherSchema) Unwrap() error { return o.serverError }

// change applies what migrations say that they changed: of guards, or of what a role may.
// A change is "+ " or "- " and a line of guards.txt, or a role and what it may.
func change(known map[string]bool, changes []string, role string) {
	for _, c := range changes {
		sign, line, _ := strings.Cut(c, " ")
		if role != "" {
			var is bool
			if line, is = strings.CutPrefix(line, role+" "); !is {
				continue
			}
		} else if strings.HasPrefix(line, "penname_") {
			continue
		}
		if sign == "+" {
			known[line] = true
		} else {
			delete(known, line)
		}
	}
}

// watchSchema is how often a service looks which schema there is.
const watchSchema = time.Second

// watch refuses to work on a schema that this program does not know, from a second after
// it came.
func (d *db) watch(ctx context.Context, c *pgxpool.Conn) error {
	looked := d.looked.Load()
	if looked == nil || time.Since(*looked) < watchSchema { // nil: the check at the start is still to come
		return nil
	}
	now := time.Now()
	_, err := d.changes(ctx, c)
	if err == nil {
		d.looked.Store(&now)
	}
	return err
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
func (d *db) checkGuards(ctx context.Context, changes []string) error {
	have, err := d.listed(ctx, guardsThere)
	if err != nil {
		return err
	}
	for _, guard := range slices.Sorted(maps.Keys(d.build.guarded(changes))) {
		if !slices.Contains(have, guard) {
			return ErrSchemaIncomplete.Because(errors.New(guard))
		}
	}
	return nil
}

// guarded are the guards of this program's schema, and of what changed since.
func (b *build) guarded(changes []string) map[string]bool {
	all := make(map[string]bool)
	for guard := range strings.Lines(b.guards) {
		all[strings.TrimSpace(guard)] = true
	}
	change(all, changes, "")
	return all
}

var (
	grantLine  = regexp.MustCompile(`^GRANT (.+) ON (FUNCTION )?([a-z_]+)(\([a-z\[\], ]*\))? TO ([a-z_, ]+);$`)
	grantWhats = regexp.MustCompile(`([A-Z]+)(?: \(([a-z_, ]+)\))?(?:, |$)`)
)

// granted reads from grants.sql what a role may do: "cases.state UPDATE",
// "openid_rows DELETE", "mix EXECUTE"; and from what changed since.
func (b *build) granted(role string, changes []string) (map[string]bool, error) {
	may := make(map[string]bool)
	for lines := bufio.NewScanner(strings.NewReader(b.grants)); lines.Scan(); {
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
	change(may, changes, role)
	return may, nil
}

// checkGrants compares what the role may do in the database with grants.sql, and with
// what changed since.
func (d *db) checkGrants(ctx context.Context, role string, changes []string) error {
	want, err := d.build.granted(role, changes)
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
