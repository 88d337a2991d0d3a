package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/verifier/refusal"
)

// ErrPass is of housekeeping that did not get to its end.
var ErrPass = refusal.New(refusal.Unavailable, "database.pass",
	"a table was not put into order in time, because something held it all the while: nothing is lost, and the next hour goes on; see which transaction or VACUUM runs for long")

// What the hour's work costs those who come meanwhile: at most one batch, which is as large
// as can be done in batchTime, and the time that it waits for those who write before them.
// That is patience, and longer from try to try, up to the 40 ms of mix_some. Between two
// batches it rests.
const (
	batchTime  = 5 * time.Millisecond
	batchFirst = 20
	batchMost  = 1000
	restTimes  = 20 // as long as a batch took; a quarter of it if half of passTime is over
	patienceMS = 5  // more at each try
	busyRest   = 50 * time.Millisecond
	passTime   = 50 * time.Minute
	passEvery  = 45 * time.Minute // and the job comes every hour
)

// mixedTables are those whose rows are about people and pen names: the order of their rows,
// and when they were made within a day, is nobody's business.
var mixedTables = []string{"records", "persons", "pseudonyms", "handles", "notes", "erasures", "reviews", "sessions", "claims", "claim_counts", "claims_told",
	"addresses", "passkeys", "mails", "notice_codes", "objections", "openid_rows", "openid_used", "openid_entries"}

// Turn reports whether a pass is due, and that it is the caller's: of several processes one
// does the work of an hour. A pass that began in the future was of a server whose clock was wrong.
func (s *Issuing) Turn(ctx context.Context) (mine bool, err error) {
	err = s.settle(ctx, func(ctx context.Context, _ bool) error {
		n, err := s.exec(ctx, `INSERT INTO passes AS p (began) VALUES (now()) ON CONFLICT (one) DO UPDATE SET began = now() WHERE p.began <= now() - $1::interval OR p.began > now()`, passEvery)
		mine = n == 1
		return err
	})
	return mine, err
}

// A mixing is how far a pass came in a table.
type mixing struct {
	table, after string
	began        time.Time // by the clock of the database
	most         int       // rows at once
	tries        int       // for the next batch
}

// Shuffle removes what the files of the tables tell beside their values: the order in which
// rows of a day were made, and the numbers of the transactions that made them. It writes
// what is new, a few rows at a time; nobody waits for more than one of these batches. One
// that is interrupted is begun again by the next. What does not come to its end within
// passTime is [ErrPass].
func (s *Issuing) Shuffle(ctx context.Context) error {
	from := time.Now()
	var began time.Time
	if err := s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT now()`).Scan(&began)
	}); err != nil {
		return err
	}
	var failed error
	var queue []*mixing
	for _, table := range mixedTables {
		queue = append(queue, &mixing{table: table, began: began, most: batchFirst})
	}
	for len(queue) > 0 {
		m := queue[0]
		held, whole, err := s.mixSome(ctx, m)
		wait := held * time.Duration(s.rests)
		switch past := time.Since(from); {
		case whole:
			queue = queue[1:]
			continue
		case past > passTime:
			return ErrPass.Because(err)
		case errors.Is(err, ErrRefused): // keeps no other from its turn
			failed, queue = err, queue[1:]
			continue
		case errors.Is(err, ErrBusy):
			queue, wait = append(queue[1:], m), busyRest // the others first
		case err != nil:
			return err
		case past > passTime/2:
			wait /= 4
		}
		if !rest(ctx, wait) {
			return ErrUnavailable.Because(&serverError{cause: ctx.Err()})
		}
	}
	return failed
}

// mixSome does one batch. whole: there is nothing behind it.
func (s *Issuing) mixSome(ctx context.Context, m *mixing) (held time.Duration, whole bool, err error) {
	m.tries++
	most := m.most
	var after *string
	if m.after != "" {
		after = &m.after
	}
	var upto string
	var n int64
	// At a glance, though it writes: the rows are the same either way.
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT upto, n, held FROM mix_some($1, $2, $3, $4, $5)`, m.table, after, most, m.began, m.tries*patienceMS).Scan(&upto, &n, &held)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, true, nil
	}
	if err == nil {
		m.after, m.most, m.tries = upto, nextBatch(most, held), 0
	}
	return held, err == nil && n < int64(most), err
}

// nextBatch is how many rows take batchTime, if most took that long.
func nextBatch(most int, took time.Duration) int {
	switch {
	case took > batchTime:
		return max(1, most/2)
	case took < batchTime/2:
		return min(batchMost, most*2)
	}
	return most
}

func rest(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// DeleteExpired deletes sessions, claims and the protocol state that expired before now.
func (s *Issuing) DeleteExpired(ctx context.Context, now time.Time) error {
	for _, of := range [][2]string{{"sessions", "handle"}, {"claims", "place"}, {"claim_counts", "id"}, {"openid_entries", "slot"}, {"openid_used", "key"}, {"openid_rows", "id"}} {
		if err := s.deleteExpired(ctx, of[0], of[1], now); err != nil {
			return err
		}
	}
	return nil
}

// DeleteExpired deletes the used keys that expired before now.
func (d *Disclosing) DeleteExpired(ctx context.Context, now time.Time) error {
	return d.deleteExpired(ctx, "requests_used", "key", now)
}

// deleteExpired deletes a few rows at a time.
func (d *db) deleteExpired(ctx context.Context, table, key string, now time.Time) error {
	for most := batchFirst; ; {
		var n int64
		began := time.Now()
		err := d.settle(ctx, func(ctx context.Context, _ bool) (err error) {
			n, err = d.exec(ctx, `DELETE FROM `+table+` WHERE `+key+` = ANY (ARRAY(SELECT `+key+` FROM `+table+` WHERE expires < $1 ORDER BY expires LIMIT $2)) AND expires < $1`, now.UTC(), most)
			return err
		})
		if err != nil || n < int64(most) {
			return err
		}
		took := time.Since(began)
		if !rest(ctx, took) {
			return ErrUnavailable.Because(&serverError{cause: ctx.Err()})
		}
		most = nextBatch(most, took)
	}
}
