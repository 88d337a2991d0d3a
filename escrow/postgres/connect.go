package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penname/penname/verifier/refusal"
)

// badAddress says why an address was not taken. The error quotes it, and is dropped.
func badAddress(err error) error {
	switch {
	case err == nil:
		return ErrNoDSN
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return ErrCA
	}
	return ErrDSN
}

// causeOfConnect tells why there is no connection, where an operator can mend it;
// else it is nil. It looks at types and SQLSTATEs, never at texts.
func causeOfConnect(err error) error {
	var (
		pg       *pgconn.PgError
		not      *pgconn.NotPreferredError
		connect  *pgconn.ConnectError
		name     *net.DNSError
		hostname x509.HostnameError
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &not), errors.As(err, &connect) && strings.Contains(connect.Error(), "read only connection"):
		return ErrStandby
	case errors.As(err, &hostname):
		return ErrHostname
	case errors.As(err, &unknown), errors.As(err, &invalid):
		return ErrCA
	case errors.As(err, &name) && name.IsNotFound:
		return ErrHost
	case !errors.As(err, &pg):
		return nil
	}
	switch pg.Code {
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return ErrPassword
	case "3D000": // invalid_catalog_name
		return ErrNoDatabase
	case "08P01", // protocol_violation: it knows no such setting of a session
		"26000", "42P05": // invalid_sql_statement_name, duplicate_prepared_statement: the session is shared
		return ErrPooler
	}
	return nil
}

// atStart is err as the operator who starts a service is told it: in service the
// same is [ErrUnavailable], because nobody else can mend it.
func atStart(err error) error {
	if e := refusal.Of(err); e != nil && ErrUnavailable.Is(e) {
		if mendable := refusal.Of(e.Unwrap()); mendable != nil {
			return mendable
		}
	}
	return err
}

// why is err of opening with what the system says of the connection, without an address,
// which is not kept in service (FOUND L1).
func why(ctx context.Context, dsn string, o Options, err error) error {
	if o.Dial != nil || !errors.Is(err, ErrUnavailable) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, c, cause := connectOnce(ctx, dsn)
	var system syscall.Errno
	if errors.As(cause, &system) {
		return ErrUnavailable.Because(system)
	}
	if c != nil {
		c.Close(ctx) // it was to see whether it opens
	}
	return err
}

// Ready returns nil if the database answers, and takes writes, and a standby that it waits
// for confirms them; else a refusal, within seconds.
func (d *db) Ready(ctx context.Context) error {
	if err := d.answers(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, standbyTime)
	defer cancel()
	if err := d.confirm(ctx, ""); errors.Is(err, ErrUnavailable) { // who answered a moment ago waits for somebody
		return ErrNoStandby.Because(err)
	} else if err != nil {
		return err
	}
	return nil
}

// standbyTime is how long a standby may take: a request would have waited a little longer.
const standbyTime = 3 * time.Second

func (d *db) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	conn, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer d.release(conn)
	var read bool
	if err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'`).Scan(&read); err != nil {
		return refused(ctx, err)
	}
	if read {
		return ErrStandby
	}
	return nil
}
