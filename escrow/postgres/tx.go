package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/verifier/refusal"
)

// serverError is what is kept of a driver's error: no message, no detail and no
// parameter, because those quote rows.
type serverError struct {
	state      string // SQLSTATE, or empty if the server did not answer
	constraint string
	unknown    bool // it may have been committed
	cause      error
}

func (f *serverError) Error() string {
	switch {
	case f.state == "":
		return "connection to the database"
	case f.constraint == "":
		return "SQLSTATE " + f.state
	}
	return "SQLSTATE " + f.state + ", constraint " + f.constraint
}

func (f *serverError) Unwrap() error { return f.cause }

// again reports whether the same call may succeed if repeated at once.
func (f *serverError) again() bool {
	return f.cause == nil && (f.unknown || f.state == "40001" || f.state == "40P01" || f.state == readOnlyState || f.state == "")
}

// refused turns a driver's error into a refusal that carries a [serverError]. Errors
// of others pass as they are.
func refused(ctx context.Context, err error) error {
	if err == nil || refusal.Of(err) != nil {
		return err
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		ended := ctx.Err()
		// The statement's own time, see patience, or that of a batch.
		if ended == nil && (pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded)) {
			ended = context.DeadlineExceeded
		}
		return ErrUnavailable.Because(&serverError{cause: ended})
	}
	f := &serverError{state: pg.Code, constraint: pg.ConstraintName}
	switch {
	case pg.Code == readOnlyState:
		return ErrStandby.Because(f)
	case pg.Code == "42501":
		return ErrForbidden.Because(f)
	case pg.Code == "22021", pg.Code == "22P05":
		return ErrText.Because(f)
	case pg.Code == "54000", pg.Code == "22001":
		return ErrTooLarge.Because(f)
	case strings.HasPrefix(pg.Code, "23"):
		return ErrRefused.Because(f)
	case pg.Code == "55P03", strings.HasPrefix(pg.Code, "40"), strings.HasPrefix(pg.Code, "53"):
		return ErrBusy.Because(f)
	case pg.Severity == "FATAL", pg.Severity == "PANIC": // the server closes the connection
		f.state = ""
	}
	return ErrUnavailable.Because(f)
}

// constraint returns the name of the constraint that err broke, or "".
func constraint(err error) string {
	var f *serverError
	if errors.As(err, &f) {
		return f.constraint
	}
	return ""
}

// acquire waits for a connection, no longer than the pool's limit. One to a server
// that takes no writes any more is dropped: another may lead to the primary.
func (d *db) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	for {
		conn, err := d.pool.Acquire(bounded)
		if err == nil && readOnly(conn) {
			d.release(conn)
			continue
		}
		if err != nil {
			return nil, d.unconnected(ctx, bounded, err)
		}
		if err := d.watch(ctx, conn); err != nil {
			d.release(conn)
			return nil, err
		}
		return conn, nil
	}
}

func (d *db) unconnected(ctx, bounded context.Context, err error) error {
	cause := causeOfConnect(err)
	switch {
	case errors.Is(cause, ErrStandby):
		return ErrStandby
	case cause != nil:
		return ErrUnavailable.Because(cause)
	case ctx.Err() != nil:
		return ErrUnavailable.Because(&serverError{cause: ctx.Err()})
	case bounded.Err() != nil:
		return ErrBusy.Because(&serverError{cause: bounded.Err()})
	}
	return refused(ctx, err)
}

// release gives a connection back, or closes it if it leads to a server that became
// read-only.
func (d *db) release(conn *pgxpool.Conn) {
	if readOnly(conn) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn.Conn().Close(ctx) // it is of no use either way
	}
	conn.Release()
}

// readOnlyState is read_only_sql_transaction.
const readOnlyState = "25006"

// readOnly reports what the server said last of itself: it tells a session by itself
// when one of these changes.
func readOnly(c *pgxpool.Conn) bool {
	wire := c.Conn().PgConn()
	return wire.ParameterStatus("in_hot_standby") == "on" || wire.ParameterStatus("default_transaction_read_only") == "on"
}

// settle repeats once, which must be idempotent, while the server asks for it
// or its answer is lost. once is told by doubt whether an earlier attempt may
// have been committed; from then on the caller's cancellation no longer counts,
// because the caller must learn what happened.
func (d *db) settle(ctx context.Context, once func(ctx context.Context, doubt bool) error) error {
	const attempts = 8
	doubt := false
	for n := 1; ; n++ {
		err := once(ctx, doubt)
		var f *serverError
		if err == nil || !errors.As(err, &f) {
			return err
		}
		if f.unknown && f.cause != nil { // all the time there is went by: who asked repeats it
			return ErrUnknown.Because(err)
		}
		if f.unknown && !doubt {
			doubt = true
			var cancel context.CancelFunc
			ctx, cancel = d.detached(ctx)
			defer cancel()
		}
		if n == attempts || !f.again() || !pause(ctx, n) {
			if doubt {
				return ErrUnknown.Because(err)
			}
			return err
		}
	}
}

// pause waits up to 2 ms, 4 ms, 8 ms … before the next attempt.
func pause(ctx context.Context, n int) bool {
	timer := time.NewTimer(rand.N(time.Millisecond << n)) //nolint:gosec // jitter
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// detached is ctx without its cancellation and with the deadline of a COMMIT:
// never cancel a COMMIT (ATTACKS, lesson 4).
func (d *db) detached(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := d.commit
	if isLengthy(ctx) {
		limit = d.lengthy
	}
	return context.WithTimeout(context.WithValue(context.WithoutCancel(ctx), timedKey{}, true), limit)
}

type (
	lengthyKey struct{} // see atLength
	timedKey   struct{} // of a context that has its own deadline
)

// atLength is for what takes as long as there are rows, and which no request waits
// for.
func atLength(ctx context.Context) context.Context { return context.WithValue(ctx, lengthyKey{}, true) }

func isLengthy(ctx context.Context) bool { return ctx.Value(lengthyKey{}) != nil }

// patience ends a statement that the server does not answer in time, as a frozen one
// does not: whoever waits for it then hears so within seconds. It implements
// pgx's tracers, whose context a statement runs under.
type patience time.Duration

type patienceKey struct{}

func (p patience) begin(ctx context.Context) context.Context {
	if isLengthy(ctx) || ctx.Value(timedKey{}) != nil {
		return ctx
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p))
	return context.WithValue(ctx, patienceKey{}, cancel)
}

func (patience) end(ctx context.Context) {
	if cancel, ok := ctx.Value(patienceKey{}).(context.CancelFunc); ok {
		cancel()
	}
}

// TraceQueryStart implements pgx.QueryTracer.
func (p patience) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return p.begin(ctx)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (p patience) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	p.end(ctx)
}

// TraceBatchStart implements pgx.BatchTracer.
func (p patience) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return p.begin(ctx)
}

// TraceBatchQuery implements pgx.BatchTracer.
func (patience) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (p patience) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) {
	p.end(ctx)
}

// TraceCopyFromStart implements pgx.CopyFromTracer.
func (p patience) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return p.begin(ctx)
}

// TraceCopyFromEnd implements pgx.CopyFromTracer.
func (p patience) TraceCopyFromEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	p.end(ctx)
}

// lost marks an error after which the server may have committed: any but an
// ERROR, which is the server saying that it did not. pgconn.SafeToRetry does not
// help: it is true for a COMMIT that was sent when the connection broke
// (TestF07LostAtEveryMessage). end is the context of the COMMIT.
func lost(end context.Context, err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Severity == "ERROR" || errors.Is(err, pgx.ErrTxCommitRollback) {
		return nil
	}
	return ErrUnavailable.Because(&serverError{unknown: true, cause: end.Err()})
}

// transact runs f in a transaction and commits. f may run several times; doubt
// is as in settle.
func (d *db) transact(ctx context.Context, f func(ctx context.Context, tx pgx.Tx, doubt bool) error) error {
	return d.settle(ctx, func(ctx context.Context, doubt bool) error {
		conn, err := d.acquire(ctx)
		if err != nil {
			return err
		}
		defer d.release(conn)
		// READ COMMITTED, with locks and constraints: safety does not rest on
		// SERIALIZABLE (ATTACKS, lesson 3).
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
		if err != nil {
			return refused(ctx, err)
		}
		if err = f(ctx, tx, doubt); err == nil {
			err = ctx.Err()
		}
		end, cancel := d.detached(ctx)
		defer cancel()
		if err != nil {
			tx.Rollback(end) //nolint:errcheck // the first error says more
			if ctx.Err() != nil && refusal.Of(err) == nil {
				return ErrUnavailable.Because(&serverError{cause: ctx.Err()})
			}
			return err
		}
		if err = commit(end, conn); err == nil && !givenUp(conn) {
			paid(ctx, serverOf(conn))
			return nil
		}
		if unknown := lost(end, err); unknown != nil {
			return unknown
		}
		tx.Rollback(end) //nolint:errcheck // the first error says more
		return refused(end, err)
	})
}

// commit ends the transaction in one round trip, behind the barrier: or the COMMIT of what
// found everything done waits for nobody. If the server refuses the barrier it leaves the
// COMMIT out.
func commit(ctx context.Context, conn *pgxpool.Conn) error {
	b := &pgx.Batch{}
	b.Queue(barrier)
	b.Queue(`COMMIT`).Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return pgx.ErrTxCommitRollback
		}
		return nil
	})
	return conn.SendBatch(ctx, b).Close()
}

// exec runs one statement as a transaction of its own and returns how many rows
// it changed. If that is none, because another attempt or another caller was
// first, a standby holds what they wrote. It is for use inside settle.
func (d *db) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	n, server, err := d.execAlone(ctx, sql, args...)
	if err == nil && n == 0 {
		if err := d.confirm(ctx, server); err != nil {
			return 0, ErrUnknown.Because(err)
		}
	}
	return n, err
}

func (d *db) execAlone(ctx context.Context, sql string, args ...any) (n int64, server string, err error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return 0, "", err
	}
	defer d.release(conn)
	if err := ctx.Err(); err != nil {
		return 0, "", ErrUnavailable.Because(&serverError{cause: err})
	}
	if tooLarge(args) {
		return 0, "", ErrTooLarge
	}
	end, cancel := d.detached(ctx)
	defer cancel()
	tag, err := conn.Exec(end, sql, args...)
	if err == nil && !givenUp(conn) {
		return tag.RowsAffected(), serverOf(conn), nil
	}
	if unknown := lost(end, err); unknown != nil {
		return 0, "", unknown
	}
	return 0, "", refused(end, err)
}

// statement is one that writes, and can be repeated.
type statement struct {
	sql  string
	args []any
}

// execTogether is exec of a statement that shares its COMMIT with those that others ask for
// meanwhile. They neither see nor wait for each other's rows.
func (s *Issuing) execTogether(ctx context.Context, one statement) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, ErrUnavailable.Because(&serverError{cause: err})
	}
	if tooLarge(one.args) {
		return 0, ErrTooLarge
	}
	n, err := s.writes.Do(context.WithoutCancel(ctx), one)
	if err != nil && refusal.Of(err) == nil { // it waited as long as a COMMIT may take, and may still be done
		err = ErrUnavailable.Because(&serverError{unknown: true, cause: err})
	}
	if err != nil {
		return 0, err
	}
	if n[0] == 0 {
		if err := s.confirm(ctx, ""); err != nil {
			return 0, ErrUnknown.Because(err)
		}
	}
	return n[0], nil
}

// writeTogether sends statements in one go. The server makes them one transaction, as there
// is no other between them (PostgreSQL, 55.2.4: pipelining). They write rows in the order of
// their keys, as every process does: or two with the same rows would wait for each other.
func (s *Issuing) writeTogether(ctx context.Context, all []statement) ([]coalesce.Result[int64], error) {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { // by kind and id, see rowWrite
		a, b := all[i].args, all[j].args
		return cmp.Or(strings.Compare(a[0].(string), b[0].(string)), bytes.Compare(a[1].([]byte), b[1].([]byte)))
	})
	sorted := make([]statement, len(all))
	for place, i := range order {
		sorted[place] = all[i]
	}
	written := inHalves(ctx, s.commit, sorted, s.batch)
	results := make([]coalesce.Result[int64], len(all))
	for place, i := range order {
		results[i] = written[place]
	}
	return results, nil
}

// inHalves does all in one transaction. If the server refuses it, it does none, and does not
// say whose was the reason: then each half is done alone, and so on, so that the others are
// done by few transactions. What has not begun after long is not done.
func inHalves[In, Out any](ctx context.Context, long time.Duration, all []In, together func(ctx context.Context, all []In) ([]coalesce.Result[Out], error)) []coalesce.Result[Out] {
	end, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	var do func(all []In) []coalesce.Result[Out]
	do = func(all []In) []coalesce.Result[Out] {
		err := end.Err()
		if err != nil {
			err = ErrBusy.Because(&serverError{cause: err})
		} else {
			var results []coalesce.Result[Out]
			if results, err = together(ctx, all); err == nil {
				return results
			}
		}
		var f *serverError
		if len(all) > 1 && errors.As(err, &f) && f.state != "" {
			return append(do(all[:len(all)/2]), do(all[len(all)/2:])...)
		}
		results := make([]coalesce.Result[Out], len(all))
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	return do(all)
}

// batch is one transaction of writeTogether.
func (s *Issuing) batch(ctx context.Context, all []statement) ([]coalesce.Result[int64], error) {
	if len(all) == 1 {
		n, _, err := s.execAlone(ctx, all[0].sql, all[0].args...)
		return []coalesce.Result[int64]{{Out: n}}, err
	}
	conn, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release(conn)
	b, results := &pgx.Batch{}, make([]coalesce.Result[int64], len(all))
	for i, one := range all {
		b.Queue(one.sql, one.args...).Exec(func(tag pgconn.CommandTag) error {
			results[i].Out = tag.RowsAffected()
			return nil
		})
	}
	end, cancel := s.detached(ctx)
	defer cancel()
	if err = conn.SendBatch(end, b).Close(); err == nil && !givenUp(conn) {
		return results, nil
	}
	if unknown := lost(end, err); unknown != nil {
		return nil, unknown
	}
	return nil, refused(end, err)
}

// tooLarge holds a message far below the 4 GB at which its length field would
// wrap (D02, CVE-2024-27304).
func tooLarge(args []any) bool {
	const limit = 16 << 20
	var n int
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		case [][]byte:
			for _, b := range v {
				n += len(b)
			}
		case []string:
			for _, s := range v {
				n += len(s)
			}
		}
	}
	return n > limit
}

// read is [db.glance], and what it found is held by a standby, or will be when what is read
// together is confirmed.
func (d *db) read(ctx context.Context, f func(ctx context.Context, c *pgxpool.Conn) error) error {
	return d.readIf(ctx, f, func() bool { return true })
}

// readIf is read of what needs to be held only if counts says so when it was found.
func (d *db) readIf(ctx context.Context, f func(ctx context.Context, c *pgxpool.Conn) error, counts func() bool) error {
	return d.settle(ctx, func(ctx context.Context, _ bool) error {
		server, err := d.look(ctx, f)
		if err != nil || !counts() || owes(ctx, server) {
			return err // also pgx.ErrNoRows: nothing was found
		}
		return d.confirm(ctx, server)
	})
}

// glance runs f, which only reads, again if the connection was lost. What it finds
// may be gone after a failover: each caller says why that does not matter.
func (d *db) glance(ctx context.Context, f func(ctx context.Context, c *pgxpool.Conn) error) error {
	return d.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := d.look(ctx, f)
		return err
	})
}

// look is one attempt of glance, and says on which server.
func (d *db) look(ctx context.Context, f func(ctx context.Context, c *pgxpool.Conn) error) (server string, err error) {
	conn, err := d.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer d.release(conn)
	if err := f(ctx, conn); err != nil {
		return "", refused(ctx, err)
	}
	if readOnly(conn) { // since this: what it knows may be old
		return "", ErrStandby.Because(&serverError{state: readOnlyState})
	}
	return serverOf(conn), nil
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
