package service

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/escrow/postgres"
)

// sightings are what was seen when somebody last asked the parts of the service for the
// metrics. One look serves everybody for as long as sightFor, and however often
// metrics are read, the parts are asked no oftener.
type sightings struct {
	mu   sync.Mutex
	at   time.Time
	seen sighting
}

const (
	sightFor = 15 * time.Second
	sightEnd = readyTime + 500*time.Millisecond // whoever has not answered then is not waited for
)

func (w *sightings) now(s *Service) sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := s.Now(); w.at.IsZero() || now.Sub(w.at).Abs() >= sightFor {
		w.seen = s.sight()
		w.at = now
	}
	return w.seen
}

// sighting is what the parts of the service say at a time. What did not say it in time
// is not there.
type sighting struct {
	parts    map[string]answer
	cosigned time.Time // the newest tree that is known; zero: none
	docket   *postgres.Docket
	erasures *erasures
	snapshot *snapshot
	mails    map[string]mail.Waiting // by side
}

type answer struct {
	ready bool
	took  time.Duration
}

type erasures struct{ pending, overdue int64 }

type snapshot struct {
	day   time.Time // zero: there is none
	fresh bool
}

// sight asks all parts at once, and returns within sightEnd whatever they do.
func (s *Service) sight() sighting {
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	seen, parts := sighting{parts: map[string]answer{}}, s.parts()
	asked := []func(context.Context) func(*sighting){s.seeCheckpoint, s.seeDocket, s.seeErasures, s.seeSnapshot, s.seeMails}
	for name, ready := range parts {
		seen.parts[name] = answer{took: sightEnd}
		asked = append(asked, func(ctx context.Context) func(*sighting) {
			began := time.Now()
			err := ready(ctx)
			took := time.Since(began)
			return func(seen *sighting) { seen.parts[name] = answer{err == nil, took} }
		})
	}
	said := make(chan func(*sighting), len(asked)) // what comes too late stays in it
	for _, ask := range asked {
		go func() { said <- ask(ctx) }()
	}
	end := time.NewTimer(sightEnd)
	defer end.Stop()
	for range asked {
		select {
		case see := <-said:
			see(&seen)
		case <-end.C:
			return seen
		}
	}
	return seen
}

func nothing(*sighting) {}

func (s *Service) seeCheckpoint(context.Context) func(*sighting) {
	at := s.rules.history.Cosigned()
	return func(seen *sighting) { seen.cosigned = at }
}

func (s *Service) seeDocket(ctx context.Context) func(*sighting) {
	if s.Disclosing == nil {
		return nothing
	}
	found, err := s.Disclosing.Store.Docket(ctx, s.Now())
	if err != nil {
		return nothing // the part says that it is in doubt
	}
	return func(seen *sighting) { seen.docket = &found }
}

func (s *Service) seeErasures(ctx context.Context) func(*sighting) {
	if s.Keeping == nil {
		return nothing
	}
	pending, overdue, err := s.Keeping.Store.PendingErasures(ctx, s.Now())
	if err != nil {
		return nothing // likewise
	}
	return func(seen *sighting) { seen.erasures = &erasures{pending, overdue} }
}

func (s *Service) seeSnapshot(ctx context.Context) func(*sighting) {
	if s.Keeping == nil || s.Keeping.Login == nil {
		return nothing
	}
	var found snapshot
	err := keep.SnapshotFresh(ctx, func(ctx context.Context) (keep.Snapshot, time.Time, error) {
		newest, missing, err := s.Keeping.Store.NewestSnapshot(ctx)
		found.day = newest.Day
		return newest, missing, err
	}, s.Now())
	if err != nil && !errors.Is(err, keep.ErrNoSnapshot) {
		return nothing // likewise
	}
	found.fresh = err == nil
	return func(seen *sighting) { seen.snapshot = &found }
}

func (seen sighting) collect(to sink, now time.Time) {
	for name, a := range seen.parts {
		to.gauge(partReady, flag(a.ready), name)
		to.gauge(partAnswer, math.Ceil(a.took.Seconds()*10)/10, name) // a connection that a person's request left open answers sooner
	}
	if !seen.cosigned.IsZero() {
		to.gauge(checkpointAge, now.Sub(seen.cosigned).Seconds())
	}
	if d := seen.docket; d != nil {
		for state, n := range d.Cases {
			to.gauge(casesByState, float64(n), string(state))
		}
		to.gauge(casesByState, float64(d.Suspensions), "suspension")
		to.gauge(noticesDue, float64(d.NoticesDue))
		to.gauge(noticesOverdue, float64(d.NoticesOverdue))
		to.gauge(endsOverdue, float64(d.EndsOverdue))
		to.gauge(lapsesOverdue, float64(d.LapsesOverdue))
		to.gauge(tellsOverdue, float64(d.TellsOverdue))
		to.gauge(objectionsWait, float64(d.Objections))
		to.gauge(objectionsEnd, float64(d.Unanswered))
		to.gauge(reviewsPending, float64(d.Reviews))
	}
	if e := seen.erasures; e != nil {
		to.gauge(erasuresPending, float64(e.pending))
		to.gauge(erasuresOverdue, float64(e.overdue))
	}
	for side, w := range seen.mails {
		age := 0.0
		if !w.Oldest.IsZero() {
			age = now.Sub(w.Oldest).Seconds()
		}
		to.gauge(mailsWaiting, float64(w.Mails), side)
		to.gauge(mailsOldest, age, side)
		if side == sideDisclose {
			to.gauge(remindersRefused, float64(w.Refused))
		}
	}
	if k := seen.snapshot; k != nil {
		to.gauge(snapshotFresh, flag(k.fresh))
		if !k.day.IsZero() {
			to.gauge(snapshotAge, now.Sub(k.day).Seconds())
		}
	}
}
