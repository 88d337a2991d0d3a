// Package postgrestest fills a database with many people, for tests and figures of growth.
package postgrestest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options say who is made.
type Options struct {
	People int
	Seed   byte      // the same seed, the same rows
	Day    time.Time // the last on which somebody came
	Days   int       // on which people came, that one included; 0: three years

	// Open makes the key of a group into which people come from now on, and Wrap wraps a half
	// with it, of 32 bytes. nil: nobody comes, and nobody of those leaves.
	Open func(ctx context.Context, group int) error
	Wrap func(ctx context.Context, group int, label string, half []byte) (string, error)

	Progress func(table string, done, of int) // after each chunk; nil: nobody is told

	first int // group that is made
}

// chunk is how many rows one statement stores.
const chunk = 50_000

// Fill stores people past no constraint and no trigger, as the role of the issuing side, to whose
// address issuing leads. admin is the administrator's. Their rows have the shapes, lengths and shares of real ones, and random
// bytes where those are sealed or keyed, so that nothing of them opens.
//
// It leaves each table as the work of each hour does: in the order of its keys, with nothing that
// is still to be mixed.
func Fill(ctx context.Context, admin, issuing string, o Options) error {
	if o.Days == 0 {
		o.Days = 3 * 365
	}
	o.Day = o.Day.UTC().Truncate(24 * time.Hour)
	if err := o.group(ctx, admin); err != nil {
		return err
	}
	again, err := mixed(ctx, admin)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	failed := make([]error, len(together))
	for i, tables := range together {
		wg.Go(func() {
			conn, err := pgx.Connect(ctx, issuing)
			if err != nil {
				failed[i] = err
				return
			}
			defer conn.Close(context.WithoutCancel(ctx))
			for _, t := range tables {
				if err := t.fill(ctx, conn, o); err != nil {
					failed[i] = errors.Join(failed[i], fmt.Errorf("%s: %w", t.name, err))
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(append(failed, again())...)
}

// As the keeping side has them (escrow/keep/groups.go).
const openAtOnce, groupSize = 32, 256

// groupFrom is the first of the groups that were open on the n-th day: those who came before
// filled the others.
func (o Options) groupFrom(n int) int {
	return o.first + n*o.People/o.Days/(openAtOnce*groupSize)*openAtOnce
}

// group makes the groups of all days behind those that there are. They were open earlier than
// those, which the guard refuses.
func (o *Options) group(ctx context.Context, admin string) error {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, `SELECT coalesce(max(number), 0) + 1 FROM penname.key_groups`).Scan(&o.first); err != nil {
		return err
	}
	last := o.groupFrom(o.Days - 1)
	for n := range openAtOnce {
		if o.Open == nil {
			break
		}
		if err := o.Open(ctx, last+n); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, `SET session_replication_role = replica`); err != nil {
		return err
	}
	for n := range o.Days {
		if n > 0 && o.groupFrom(n) == o.groupFrom(n-1) {
			continue
		}
		day := o.Day.AddDate(0, 0, n+1-o.Days)
		_, err := conn.Exec(ctx, `UPDATE penname.key_groups SET closed = $2 WHERE number >= $1 AND closed IS NULL`, o.first, day)
		if err == nil {
			_, err = conn.Exec(ctx, `INSERT INTO penname.key_groups (number, opened) SELECT $1::int + n, $2 FROM generate_series(0, $3::int - 1) n`, o.groupFrom(n), day, openAtOnce)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mixed has rows come in as those that were mixed already, until again is called.
func mixed(ctx context.Context, admin string) (again func() error, err error) {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return nil, err
	}
	each := func(fresh func(table string) (value string)) error {
		for _, tables := range together {
			for _, t := range tables {
				if _, err := conn.Exec(ctx, `ALTER TABLE penname.`+t.name+` ALTER fresh SET DEFAULT `+fresh(t.name)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := each(func(string) string { return `NULL` }); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return func() error {
		err := each(func(table string) string { // as the migration has it
			unit := `day`
			if strings.HasPrefix(table, `openid`) {
				unit = `hour`
			}
			return `date_trunc('` + unit + `', now(), 'UTC') + interval '1 ` + unit + `'`
		})
		return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}, nil
}

// together are the tables by the connection that fills them, the large ones apart. The labels of
// persons are those of records: both are made of the same numbers.
var together = [][]table{
	{
		{name: "records", columns: "label, first_half, second_half, sealed, day", per1000: 1000, row: func(w *row) {
			n, of := w.n*w.o.Days/w.rows, w.n*w.o.Days%w.rows // those of a day by their groups
			w.put([]byte(w.label()))
			w.put(w.half(w.o.groupFrom(n) + of*openAtOnce/w.rows))
			w.put(w.bytes(232))
			w.put(w.bytes(520))
			w.date(w.o.Day.AddDate(0, 0, n+1-w.o.Days))
		}},
	},
	{
		{name: "pseudonyms", columns: "handle, link, hidden, day", per1000: 3000, row: func(w *row) {
			w.put(w.key(16))
			w.put(w.wrapped(118))
			w.put(w.bytes(92))
			w.date(w.day())
		}},
	},
	{
		{name: "persons", columns: "fingerprint, likeness, birth, id, label, digest, marks, day", per1000: 1000, row: func(w *row) {
			w.put(w.key(32))
			w.put(w.bytes(32))
			w.put(w.bytes(32))
			w.put(w.bytes(16))
			w.put([]byte(w.label()))
			w.put(w.bytes(32))
			w.put(w.bytes(96))
			w.date(w.day())
		}},
		{name: "handles", columns: "place, owner, day", per1000: 1000, row: func(w *row) {
			w.put(w.key(16))
			w.put(w.bytes(16))
			w.date(w.day())
		}},
		{name: "notes", columns: "place, hidden, day", per1000: 300, row: func(w *row) {
			w.put(w.key(16))
			w.put(w.bytes(156))
			w.date(w.day())
		}},
		{name: "addresses", columns: "place, hidden, day", per1000: 100, row: func(w *row) {
			w.put(w.key(16))
			w.put(w.bytes(1052))
			w.date(w.day())
		}},
		{name: "claims_told", columns: "place, value, day", per1000: 200, row: func(w *row) {
			w.put(w.key(32))
			w.put(w.bytes(16))
			w.date(w.day())
		}},
		{name: "sessions", columns: "handle, hidden, expires", per1000: 200, row: func(w *row) {
			w.put(w.key(32))
			w.put(w.bytes(124))
			w.time(w.o.Day.AddDate(0, 0, 1+w.IntN(2)))
		}},
		{name: "openid_rows", columns: "id, kind, holder, version, body, expires, ended, writer", per1000: 300, row: func(w *row) {
			w.put(w.key(32))
			w.put([]byte("grant"))
			w.put([]byte(hex.EncodeToString(w.bytes(32))))
			w.put(binary.BigEndian.AppendUint64(nil, 1))
			w.put(w.bytes(1052))
			w.time(w.soon())
			w.put([]byte{0})
			w.put(w.bytes(16))
		}},
		{name: "openid_entries", columns: "slot, place, grant_id, expires", per1000: 300, row: func(w *row) {
			w.put(w.key(32))
			w.put(w.bytes(48))
			w.put(w.bytes(32))
			w.time(w.soon())
		}},
		{name: "openid_used", columns: "key, expires, writer", per1000: 100, row: func(w *row) {
			w.put(w.key(32))
			w.time(w.soon())
			w.put(w.bytes(16))
		}},
		{name: "claims", per1000: 100},
	},
}

// table is one of which each thousand people have so many rows.
type table struct {
	name, columns string
	per1000       int
	row           func(*row) // writes the n-th; nil: they are stored by take_claims alone
}

func (t table) fill(ctx context.Context, conn *pgx.Conn, o Options) error {
	w := &row{o: o, rows: o.People * t.per1000 / 1000, Rand: rand.New(rand.NewChaCha8([32]byte{0: o.Seed, 1: byte(len(t.name)), 2: t.name[0], 3: t.name[len(t.name)-1]}))} //nolint:gosec // the same every time
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // the first error says more
	// Plans are made while a table is empty, and kept.
	if _, err := tx.Exec(ctx, `SET LOCAL search_path = penname; SET LOCAL enable_seqscan = off`); err != nil {
		return err
	}
	for w.n < w.rows {
		last := min(w.n+chunk, w.rows)
		if t.row == nil {
			err = w.takeClaims(ctx, tx, last)
		} else {
			err = t.copy(ctx, conn, w, last)
		}
		if err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(t.name, w.n, w.rows)
		}
	}
	return tx.Commit(ctx)
}

// copy stores the rows up to last, in COPY's binary format.
func (t table) copy(ctx context.Context, conn *pgx.Conn, w *row, last int) error {
	from, to := io.Pipe()
	go func() {
		w.to = bufio.NewWriterSize(to, 1<<16)
		w.to.WriteString("PGCOPY\n\xff\r\n\x00")         //nolint:errcheck // Flush says it
		binary.Write(w.to, binary.BigEndian, [2]int32{}) //nolint:errcheck // likewise
		for ; w.n < last; w.n++ {
			w.start(t.columns)
			t.row(w)
		}
		binary.Write(w.to, binary.BigEndian, int16(-1)) //nolint:errcheck // likewise
		to.CloseWithError(errors.Join(w.to.Flush(), w.failed))
	}()
	_, err := conn.PgConn().CopyFrom(ctx, from, `COPY `+t.name+` (`+t.columns+`) FROM STDIN (FORMAT binary)`)
	from.CloseWithError(err)
	return err
}
