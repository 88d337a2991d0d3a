package postgres

import (
	"context"
	"errors"

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
//	glance    not: for what discloses nothing, or is followed by a write
//
// Without a synchronous standby the barrier writes nothing: what can be seen is on
// the primary's own disk.

// barrier is a write that means nothing, of a transaction that has written nothing
// else. It must be transactional: without a transaction number a COMMIT does not
// wait. No table is touched, so that it neither locks nor leaves dead rows.
const barrier = `SELECT pg_logical_emit_message(true, 'penname', ''::text)
	WHERE pg_current_xact_id_if_assigned() IS NULL AND current_setting('synchronous_standby_names') <> ''`

// confirm returns nil once a standby holds everything that could be seen when it was
// called. Those who call at the same time share a barrier, so that few connections
// wait however many callers do.
func (d *db) confirm(ctx context.Context) error {
	_, err := d.barriers.Do(ctx, struct{}{})
	return refused(ctx, err)
}

// emit is one barrier. Unlike a COMMIT that stores something it may be given up
// and repeated: it is confirmed or worth nothing.
func (d *db) emit(ctx context.Context, waiting []struct{}) ([]coalesce.Result[struct{}], error) {
	ctx, cancel := context.WithTimeout(ctx, d.commit)
	defer cancel()
	return make([]coalesce.Result[struct{}], len(waiting)), d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
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
// has refused a server that is configured to wait for less.
func pin(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SELECT set_config('synchronous_commit',
		CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)`)
	return err
}
