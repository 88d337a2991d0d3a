package service

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/refusal"
)

// A Job is what a service does by itself, again and again.
type Job struct {
	Name  string // as the service's log has it
	Every time.Duration
	What  string // for operators: one line
	Do    func(*Service, context.Context) error
	Wake  func(*Service) <-chan struct{} // has it done before its time, too; nil: nothing does
}

// Jobs is everything that a service does by itself. Each side does its part of a
// job; what a process has no side for, it leaves to another process.
var Jobs = []Job{
	{Name: "cases", Every: time.Minute, Do: (*Service).ServeCases,
		What: "tells persons before custodians decide where the rules want it, serves the notices that are due, ends the cases that ran out and the emergencies that nobody validated, and publishes a fresh checkpoint of the log"},
	{Name: "rules", Every: followRules, Do: (*Service).FollowRules,
		What: "follows the public log, and works under a new bundle once it is in force there"},
	{Name: "record", Every: 15 * time.Second, Do: (*Service).FollowRecord,
		What: "reads what is new in the public log, verifies it as anybody does, and makes the pages of the public record of it"},
	{Name: "platforms", Every: followPlatforms, Do: (*Service).LoadPlatforms,
		What: "takes what is new in the registry of platforms: who signs people in, and by which settings"},
	{Name: "erasures", Every: time.Hour, Do: (*Service).CarryOutErasures,
		What: "carries out the erasures that were asked for and that no case holds: together, so that no leaf of the log tells when somebody pressed the button; and asks the key service whether it is the one of before"},
	{Name: "logouts", Every: time.Minute, Do: (*Service).TellPlatforms, Wake: (*Service).signedOut,
		What: "tells platforms that want to know who signed out: at once where the person chose it, else each at its own moment, and again for a day where one does not answer"},
	{Name: "suspensions", Every: 5 * time.Second, Do: (*Service).CarryOutSuspensions,
		What: "ends the sign-ins of pen names that courts suspended at one platform, and has it told"},
	{Name: "mails", Every: 30 * time.Second, Do: (*Service).SendMails, Wake: (*Service).mailWanted,
		What: "sends what waits in the outbox: that something waits, to people who gave an address and to the parties of the configuration. It never gives one up: what a mail server does not take is tried again, in the end every four hours"},
	{Name: "reminders", Every: time.Minute, Do: (*Service).Remind,
		What: "looks for what waits for custodians, courts and requesters, and puts a reminder into the outbox: of everything at once, six a day at most"},
	{Name: "links", Every: time.Minute, Do: (*Service).AnswerLinks,
		What: "answers the orders to link that custodians decided: checks each by itself, and encrypts the pen names of that person to the requester"},
	{Name: "reviews", Every: time.Minute, Do: (*Service).CarryOutReviews,
		What: "ends the acceptances that were objected to, and lets those take effect whose time to object is over"},
	{Name: "filings", Every: time.Minute, Do: (*Service).LogUnrecorded,
		What: "says in its log how many filings were refused that no authority of the bundle signed"},
	{Name: "faults", Every: time.Minute, Do: (*Service).LogFaults,
		What: "says in its log what failed on its side when people came, and how often: of what they do it keeps no time of day"},
	{Name: "providers", Every: time.Minute, Do: (*Service).OpenProviders,
		What: "asks the identity providers again that have not answered since the start"},
	{Name: "memory", Every: time.Minute, Do: (*Service).DropFreedMemory,
		What: "overwrites what memory still holds of identities that are sealed"},
	{Name: "lifetimes", Every: 6 * time.Hour, Do: (*Service).WatchLifetimes,
		What: "renews the secret ids of Vault, and warns of what ends, is out of date or was not read again"},
	{Name: "exhibits", Every: time.Hour, Do: (*Service).DropExhibits,
		What: "drops what the posts of a case showed once its time to appeal is over"},
	{Name: "order", Every: time.Hour, Do: (*Service).HourlyRows,
		What: "gives rows an order that tells nothing, and drops expired state of sign-ins"},
}

// why is an error as the log of a service has it.
func why(err error) []any {
	attrs := []any{slog.Any("cause", err)}
	if e := refusal.Of(err); e != nil {
		attrs = append(attrs, slog.String("code", e.Code), slog.Any("because", e.Unwrap()))
	}
	return attrs
}

// repeat does a job now and then again after each interval, until ctx ends. A job
// that fails is logged and tried again: it never ends the service. People wake a job, so a
// line or a count of a woken run would tell when somebody came: only its regular runs are
// logged and counted.
func (s *Service) repeat(ctx context.Context, j Job) {
	t := time.NewTicker(j.Every)
	defer t.Stop()
	var wake <-chan struct{}
	if j.Wake != nil {
		wake = j.Wake(s)
	}
	for woken := false; ; {
		if woken {
			_ = j.Do(s, ctx)
		} else {
			s.done.begun(j.Name)
			err := j.Do(s, ctx)
			s.done.ended(j.Name, err)
			if err != nil && ctx.Err() == nil {
				s.Log.Error("a regular job failed and will be tried again", append([]any{slog.String("job", j.Name)}, why(err)...)...)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			woken = false
		case <-wake:
			woken = true
		}
	}
}

// ServeCases ends the emergencies that nobody validated, tells persons first where the rules
// want it, serves the notices that are due,
// ends the cases that ran out, and
// keeps the log's checkpoint fresh.
func (s *Service) ServeCases(ctx context.Context) error {
	if s.Registrar == nil {
		return nil
	}
	_, lerr := s.Registrar.Lapse(ctx)
	_, terr := s.Registrar.Tell(ctx)
	_, nerr := s.Registrar.Notify(ctx)
	_, xerr := s.Registrar.Expire(ctx)
	return errors.Join(lerr, terr, nerr, xerr, s.Publish(ctx))
}

// CarryOutErasures erases what people asked to have erased and no case stands
// against, each side its part. What is held is looked at again every time: the
// end of a hold completes it.
func (s *Service) CarryOutErasures(ctx context.Context) error {
	s.erasing.Lock()
	defer s.erasing.Unlock()
	var err error
	if s.Registrar != nil {
		_, err = s.Registrar.Clear(ctx)
	}
	if s.keeper == nil {
		return err
	}
	// Every hour, whether anything is to be done or not: by it a silence in Vault's audit
	// record shows ([vault.Audit.Whole]).
	if cerr := keep.Current(ctx, s.Keeping.Keys, s.Keeping.Store); cerr != nil {
		return errors.Join(err, cerr)
	}
	if rerr := s.RulesKnown(); rerr != nil {
		return errors.Join(err, rerr)
	}
	err = errors.Join(err, s.keeper.OpenGroups(ctx))
	erased, kerr := s.keeper.Work(ctx)
	if erased > 0 && s.publisher != nil {
		err = errors.Join(err, s.Publish(ctx))
	}
	return errors.Join(err, kerr)
}

// TellPlatforms sends the logout tokens that are due. Of those that a platform did not
// take, and of each reason of [openid.SetErrors], its log has a line when the day (UTC) is over: before, it would tell when somebody
// left that platform.
func (s *Service) TellPlatforms(ctx context.Context) error {
	if s.live.issuing == nil {
		return nil
	}
	if today := s.Now().UTC().Truncate(24 * time.Hour); today.After(s.untoldDay) {
		s.untoldDay = today
		for platform, n := range s.untold.take() {
			s.Log.Warn("a platform did not take logout tokens on the day before", slog.String("platform", platform), slog.Int64("attempts", n))
		}
		for said, n := range s.untoldWhy.take() {
			platform, why, _ := strings.Cut(said, " ")
			s.Log.Warn("a platform refused events on the day before", slog.String("platform", platform), slog.String("error", why), slog.Int64("attempts", n))
		}
	}
	all, err := s.live.issuing.TellPlatforms(ctx)
	for platform, told := range all {
		for outcome, n := range map[string]int{"delivered": told.Delivered, "refused": told.Refused, "failed": told.Failed, "given_up": told.GivenUp} {
			for range n {
				s.counted.logouts.add(s.Now(), outcome, true, 0)
			}
		}
		for range told.Refused + told.Failed + told.GivenUp {
			s.untold.add(platform)
		}
		for i, n := range told.Why {
			for range n {
				s.untoldWhy.add(platform + " " + openid.SetErrors[i])
			}
		}
	}
	return err
}

func (s *Service) signedOut() <-chan struct{} {
	if s.live.issuing == nil {
		return nil
	}
	return s.live.issuing.Ended()
}

// CarryOutSuspensions ends what courts suspended since the last time.
func (s *Service) CarryOutSuspensions(ctx context.Context) error {
	if s.live.issuing == nil {
		return nil
	}
	return s.live.issuing.Suspend(ctx)
}

// AnswerLinks answers the orders to link that wait. One that this side refuses is somebody's
// attempt: its log has the code.
func (s *Service) AnswerLinks(ctx context.Context) error {
	if s.linker == nil {
		return nil
	}
	refused, err := s.linker.Work(ctx)
	for _, r := range refused {
		s.Log.Error("an order to link was refused", why(r)...)
	}
	return err
}

// CarryOutReviews moves the reviews whose time has come, and publishes what that
// recorded.
func (s *Service) CarryOutReviews(ctx context.Context) error {
	if s.Reviews == nil {
		return nil
	}
	moved, err := s.Reviews.CarryOut(ctx)
	if moved > 0 {
		err = errors.Join(err, s.Publish(ctx))
	}
	return err
}

// LogUnrecorded writes one line with the number of filings since the last that
// were refused and left no leaf, by code. The codes are constants: a request
// chooses none.
func (s *Service) LogUnrecorded(ctx context.Context) error {
	attrs := []slog.Attr{}
	for code, n := range s.unrecorded.take() {
		attrs = append(attrs, slog.Int64(code, n))
	}
	if len(attrs) > 0 {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "filings refused without a record", attrs...)
	}
	return nil
}

// counter counts by name, of a code or a platform. It is safe for concurrent use.
type counter struct {
	mu     sync.Mutex
	counts map[string]int64
}

func (c *counter) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int64)
	}
	c.counts[name]++
}

// take returns the counts and begins again.
func (c *counter) take() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	c.counts = nil
	return counts
}

// LogFaults writes what failed on our side at routes of people since the last time.
func (s *Service) LogFaults(ctx context.Context) error {
	if s.web != nil {
		s.web.LogFaults(ctx)
	}
	return nil
}

func (s *Service) logRotation(r keep.Rotation, step string) {
	s.Log.Info("rotation of a record key", slog.String("step", step), slog.Int("group", r.Group), slog.Int("version", r.Version),
		slog.String("state", string(r.State)), slog.Int64("records", r.Records))
}

// HourlyRows is ShuffleRows for this process, where no other has done it within the hour.
func (s *Service) HourlyRows(ctx context.Context) error {
	if s.Issuing != nil {
		if mine, err := s.Issuing.Store.Turn(ctx); err != nil || !mine {
			return errors.Join(err, s.dropUsed(ctx))
		}
	}
	return s.ShuffleRows(ctx)
}

// ShuffleRows puts the rows of people and pen names into an order that does
// not tell when they came, and drops what expired: state of sign-ins, and which requests of
// custodians were used. It does a little at a time, so that nobody waits for it.
func (s *Service) ShuffleRows(ctx context.Context) error {
	var err error
	if s.Issuing != nil {
		err = errors.Join(s.Issuing.Store.DeleteExpired(ctx, s.Now()), s.Issuing.Store.Shuffle(ctx))
	}
	return errors.Join(err, s.dropUsed(ctx))
}

func (s *Service) dropUsed(ctx context.Context) error {
	if s.Disclosing == nil {
		return nil
	}
	return s.Disclosing.Store.DeleteExpired(ctx, s.Now())
}

// DropExhibits deletes the exhibits of cases whose time to appeal is over, and says of how
// many.
func (s *Service) DropExhibits(ctx context.Context) error {
	if s.Registrar == nil {
		return nil
	}
	cases, err := s.Registrar.DropExhibits(ctx)
	if cases > 0 {
		s.Log.Info("exhibits were dropped: the time to appeal is over", slog.Int("cases", cases))
	}
	return err
}
