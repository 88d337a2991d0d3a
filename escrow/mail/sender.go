package mail

import (
	"context"
	"errors"
	"time"
)

// held is how long a duty is kept from other senders, longer than a try takes.
const held = 10 * time.Minute

// Bounds of the time between two tries of one mail.
const (
	firstPause = time.Minute
	longest    = 4 * time.Hour
)

// atOnce is how many mails go in one run: the next begins at once.
const atOnce = 500

// Sender carries out the duties of an outbox. It never gives up: a duty is accepted, refused for
// good by the server, or waits.
type Sender struct {
	Outbox  Outbox
	Send    func(ctx context.Context, to Address, message []byte) error // [Server.Send]; nil: nothing can be sent
	Party   func(party string) Address                                  // of a reminder
	From    Address
	Origin  string
	Now     func() time.Time
	Refused func(l Letter, why error) // optional: told of each that a server refused for good
	Damaged func(l Letter)            // optional: told of each that cannot be read, at every try
}

// Work sends what is due. A fault of the server ends the run: whoever else is written to
// would wait for it as well. Nothing that a run leaves is lost.
func (s *Sender) Work(ctx context.Context) error {
	for range atOnce {
		now := s.Now()
		l, ok, err := s.Outbox.Take(ctx, now, now.Add(held))
		if err != nil || !ok {
			return err
		}
		if l.Kind == Reminder && s.Party != nil && !l.Damaged {
			l.To = s.Party(l.Party)
		}
		if err := s.carryOut(ctx, l, now); err != nil {
			return err
		}
	}
	return nil
}

// carryOut does what one duty asks for, and stores what came of it: also when ctx ends
// meanwhile, or it would be done twice.
func (s *Sender) carryOut(ctx context.Context, l Letter, now time.Time) error {
	store, cancel := context.WithTimeout(context.WithoutCancel(ctx), held/2)
	defer cancel()
	switch {
	case l.Damaged:
		if s.Damaged != nil {
			s.Damaged(l)
		}
		return s.Outbox.Postpone(store, l, now.Add(time.Hour))
	case l.To == "":
		return s.Outbox.Done(store, l, NoAddress, now)
	}
	err := error(ErrServer.Because(errors.New("no mail server is configured")))
	if s.Send != nil {
		err = s.Send(ctx, l.To, Message(l, s.From, s.Origin, now))
	}
	switch {
	case err == nil:
		return s.Outbox.Done(store, l, Accepted, s.Now())
	case errors.Is(err, ErrRefused):
		if s.Refused != nil {
			s.Refused(l, err)
		}
		return s.Outbox.Done(store, l, Refused, s.Now())
	case errors.Is(err, ErrLater):
		return s.Outbox.Postpone(store, l, now.Add(pause(l.Tries)))
	}
	return errors.Join(err, s.Outbox.Postpone(store, l, now.Add(pause(l.Tries))))
}

// pause is the time after so many tries: a minute, two, four, and so on up to four hours.
func pause(tries int) time.Duration {
	if tries > 8 { // 2^8 minutes are more than four hours
		return longest
	}
	return min(firstPause<<max(0, tries-1), longest)
}
