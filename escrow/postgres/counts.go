package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
)

// What an operator watches is counted at a glance, by indexes alone. What people asked
// for counts from the next day (UTC) on: else whoever looks often sees when it was.

// PoolUse is how busy the connections of one side are.
type PoolUse struct {
	InUse, Idle, Most int32
	Waits             int64 // how often one was waited for since the start
}

// Pool says how busy the connections are. It asks nobody.
func (d *db) Pool() PoolUse {
	s := d.pool.Stat()
	return PoolUse{s.AcquiredConns(), s.IdleConns(), s.MaxConns(), s.EmptyAcquireCount()}
}

// Docket is what the disclosing side has to do.
type Docket struct {
	Cases          map[disclose.State]int64 // each state is there; of those authorised, what is to be released
	Suspensions    int64                    // orders to suspend that are in force, which stay authorised
	NoticesDue     int64                    // persons' secrecy is over, and they are not told yet
	NoticesOverdue int64                    // of those, since an hour or longer
	EndsOverdue    int64                    // cases that ran out an hour ago or longer, and have not ended
	LapsesOverdue  int64                    // emergencies that had to be validated an hour ago or longer, and have not lapsed
	TellsOverdue   int64                    // persons had to be told first, or count as not reached, an hour ago or longer, and were not
	Objections     int64                    // that suspend a case and were made before today, and that no court has ruled on
	Unanswered     int64                    // of those, in cases that run out within a week
	Reviews        int64                    // held enrolments on which reviewers have to decide
}

const (
	noticesDue         = "notices due"
	noticesOverdue     = "notices overdue"
	endsOverdue        = "ends overdue"
	suspensionsInForce = "in force"
	lapsesOverdue      = "lapses overdue"
	tellsOverdue       = "tells overdue"
	objectionsWait     = "objections"
	objectionsEnd      = "objections unanswered"
	reviewsPending     = "reviews pending"
)

// docketSQL: $1 is now, $2 an hour before, $3 the day.
var docketSQL = `
	SELECT state, count(*) FROM cases GROUP BY state
	UNION ALL SELECT '` + noticesDue + `', count(*) FROM cases c WHERE ` + mayBeTold + ` AND secrecy_ends <= $1
	UNION ALL SELECT '` + noticesOverdue + `', count(*) FROM cases c WHERE ` + mayBeTold + ` AND secrecy_ends <= $2
	UNION ALL SELECT '` + suspensionsInForce + `', count(*) FROM cases c WHERE c.state = ` + authorised + ` AND c.kind IN ` + closedKinds + `
	UNION ALL SELECT '` + endsOverdue + `', count(*) FROM cases c WHERE ` + mayEnd + ` AND expires <= $2
	UNION ALL SELECT '` + lapsesOverdue + `', count(*) FROM cases c WHERE ` + mayLapse + ` AND validate_by <= $2
	UNION ALL SELECT '` + tellsOverdue + `', count(*) FROM notice_first f JOIN cases c ON c.id = f.case_id WHERE f.leaf IS NULL AND c.state = ` + recorded + ` AND c.expires > $1 AND f.tell_by <= $2
	UNION ALL SELECT '` + objectionsWait + `', count(*) FROM objections o JOIN cases c ON c.id = o.case_id WHERE o.suspends AND o.outcome IS NULL AND o.day < $3 AND c.state = ` + recorded + `
	UNION ALL SELECT '` + objectionsEnd + `', count(*) FROM objections o JOIN cases c ON c.id = o.case_id WHERE o.suspends AND o.outcome IS NULL AND o.day < $3 AND c.state = ` + recorded + ` AND c.expires < $1 + interval '7 days'
	UNION ALL SELECT '` + reviewsPending + `', count(*) FROM reviews WHERE state IN ('held', 'objected') AND day < $3`

// Docket counts what the disclosing side has to do at that time.
func (d *Disclosing) Docket(ctx context.Context, now time.Time) (Docket, error) {
	found := Docket{Cases: make(map[disclose.State]int64)}
	for _, s := range disclose.States {
		found.Cases[s] = 0
	}
	now = now.UTC()
	err := d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, docketSQL, now, now.Add(-time.Hour), now.Truncate(24*time.Hour))
		if err != nil {
			return err
		}
		var what string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&what, &n}, func() error {
			switch what {
			case noticesDue:
				found.NoticesDue = n
			case noticesOverdue:
				found.NoticesOverdue = n
			case suspensionsInForce:
				found.Suspensions = n
			case endsOverdue:
				found.EndsOverdue = n
			case lapsesOverdue:
				found.LapsesOverdue = n
			case tellsOverdue:
				found.TellsOverdue = n
			case objectionsWait:
				found.Objections = n
			case objectionsEnd:
				found.Unanswered = n
			case reviewsPending:
				found.Reviews = n
			default:
				found.Cases[disclose.State(what)] = n
			}
			return nil
		})
		return err
	})
	found.Cases[disclose.Authorised] -= found.Suspensions
	return found, err
}

// $1 is today, $2 yesterday.
const pendingErasuresSQL = `SELECT count(*), count(*) FILTER (WHERE cleared IS NOT NULL AND day < $2) FROM erasures WHERE leaf IS NULL AND day < $1`

// PendingErasures counts the erasures that were asked for before today and are not
// carried out, and those of them that no case holds since two days or longer.
func (k *Keeping) PendingErasures(ctx context.Context, now time.Time) (pending, overdue int64, err error) {
	today := now.UTC().Truncate(24 * time.Hour)
	err = k.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, pendingErasuresSQL, today, today.AddDate(0, 0, -1)).Scan(&pending, &overdue)
	})
	return pending, overdue, err
}
