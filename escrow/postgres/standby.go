package postgres

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/coalesce"
)

// What can be seen is not yet safe. Where a synchronous standby is configured, a
// COMMIT waits until it holds the transaction. Whatever ends the wait early (our
// limit, a lost connection, pg_cancel_backend, a restart) makes the transaction
// visible on the primary all the same; when the standby is promoted, it never
// was (ATTACKS, lesson 4). So nothing that was found counts before a write of
// our own, behind it in the write-ahead log, was confirmed by the standby:
//
//	exec      changed a row: its own COMMIT was confirmed. Changed none: confirm
//	transact  a transaction that wrote nothing writes the barrier before its COMMIT
//	read      confirm, after it has read
//	together  confirms once what several have read, before anything comes of it
//	glance    not: for what discloses nothing, or is followed by a write
//
// The write must be on the server that was read: what one shows that is then given up, the next
// may never have held, whatever that confirms.
//
// Without a synchronous standby the barrier writes nothing: what can be seen is on
// the primary's own disk.

// barrier is a write that means nothing, of a transaction that has written nothing
// else. It must be transactional: without a transaction number a COMMIT does not
// wait. No table is touched, so that it neither locks nor leaves dead rows.
const barrier = `SELECT pg_logical_emit_message(true, 'penname', ''::text)
	WHERE pg_current_xact_id_if_assigned() IS NULL AND current_setting('synchronous_standby_names') <> ''`

// confirm returns nil once a standby holds everything that could be seen on that server when it
// was called; "" is whichever takes writes. Those who call at the same time share a barrier, so
// that few connections wait however many callers do.
func (d *db) confirm(ctx context.Context, server string) error {
	_, err := d.barriers.Do(ctx, server)
	return refused(ctx, err)
}

// errMoved is why what was read is read again: it was on a server that is gone.
var errMoved = ErrUnavailable.Because(&serverError{})

// owed is what was read together, and is not confirmed yet.
type owed struct {
	mu     sync.Mutex
	server string // it was read on; "": nothing was
	moved  bool   // on several
}

type owedKey struct{}

// together is [disclose.Cases].Together.
func (d *db) together(ctx context.Context) (context.Context, func() error) {
	o := &owed{}
	return context.WithValue(ctx, owedKey{}, o), func() error {
		o.mu.Lock()
		server, moved := o.server, o.moved
		o.mu.Unlock()
		switch {
		case moved:
			return errMoved
		case server == "":
			return nil
		}
		if err := d.confirm(ctx, server); err != nil {
			return err
		}
		paid(context.WithValue(ctx, owedKey{}, o), server)
		return nil
	}
}

// atOnce is of what is confirmed by itself, whatever else is read together.
func atOnce(ctx context.Context) context.Context { return context.WithValue(ctx, owedKey{}, nil) }

// owes notes that something was read on a server, and reports whether that is confirmed
// with more.
func owes(ctx context.Context, server string) bool {
	o, ok := ctx.Value(owedKey{}).(*owed)
	if ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.moved = o.moved || o.server != "" && o.server != server
		o.server = server
	}
	return ok
}

// paid notes that a COMMIT on a server was confirmed: so is what was read there before.
func paid(ctx context.Context, server string) {
	if o, ok := ctx.Value(owedKey{}).(*owed); ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.server == server {
			o.server = ""
		}
	}
}

// emit is one barrier. Unlike a COMMIT that stores something it may be given up
// and repeated: it is confirmed or worth nothing.
func (d *db) emit(ctx context.Context, waiting []string) ([]coalesce.Result[struct{}], error) {
	ctx, cancel := context.WithTimeout(ctx, d.commit)
	defer cancel()
	results := make([]coalesce.Result[struct{}], len(waiting))
	return results, d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		for i, server := range waiting {
			if results[i].Err = nil; server != "" && server != serverOf(c) {
				results[i].Err = errMoved
			}
		}
		_, err := c.Exec(ctx, barrier)
		if err == nil && givenUp(c) {
			err = errGivenUp
		}
		return err
	})
}

var errGivenUp = errors.New("the server gave up waiting for the standby")

const givenUpKey = "penname: given up"

// noteGivenUp remembers that the server ended the wait of a COMMIT: it says so in a
// warning and reports success ("The transaction has already committed locally,
// but might not have been replicated to the standby"). The warning is known by the
// routine that gives it, since its text is translated.
func noteGivenUp(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine == "SyncRepWaitForLSN" {
		c.CustomData()[givenUpKey] = true
	}
}

// givenUp reports whether the last COMMIT on the connection was not confirmed.
func givenUp(c *pgxpool.Conn) bool {
	data := c.Conn().PgConn().CustomData()
	_, yes := data[givenUpKey]
	delete(data, givenUpKey)
	return yes
}

// pin keeps the session's COMMITs waiting for the standby's disk (on) or for more
// (remote_apply), whatever the server's files or the role are told later. [db.check]
// has refused a server that is configured to wait for less. It notes which server this is.
func pin(ctx context.Context, c *pgx.Conn) error {
	var server string
	err := c.QueryRow(ctx, `SELECT concat_ws(' ', pg_postmaster_start_time(), inet_server_addr(), inet_server_port())
		FROM set_config('synchronous_commit',
		CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)`).Scan(&server)
	c.PgConn().CustomData()[serverKey] = server
	return err
}

const serverKey = "penname: server"

// serverOf tells the servers apart that connections lead to, and each from what it is after a
// restart.
func serverOf(c *pgxpool.Conn) string {
	server, _ := c.Conn().PgConn().CustomData()[serverKey].(string)
	return server
}
