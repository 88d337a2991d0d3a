package disclose

import (
	"context"
	"time"
)

// Letter is what a person is written to about. The mail says none of it, only that
// something waits on their page.
type Letter string

// The letters.
const (
	LetterNotice Letter = "notice"       // they are told of what was done
	LetterFirst  Letter = "notice_first" // before it is done
)

// Duty is one to write to the person behind a target. It waits in the outbox from the
// transaction on in which it is a part of a change, until a mail server has accepted it, has
// refused it for good, or the person turns out to have no address. Nothing waits for it.
type Duty struct {
	Letter Letter
	Target int      // its place in the warrant
	Labels []string // of all records that the person had under the pen name
	Since  time.Time
}

// Mailed is what became of a duty.
type Mailed struct {
	Outcome MailOutcome
	At      time.Time // since when it is so, to the minute; zero while it waits
}

// MailOutcome is what may become of a duty.
type MailOutcome string

// The outcomes. Accepted is by the mail server: whether anybody read it nobody can tell.
const (
	MailWaiting   MailOutcome = "waiting"
	MailAccepted  MailOutcome = "accepted"
	MailNoAddress MailOutcome = "no_address"
	MailRefused   MailOutcome = "refused"
)

// Duties are those to write a letter to the persons behind targets of a case, by their
// places in the warrant. A pen name of which no link opens has a duty too, which ends without
// an address; an error is about the key service or the database, and to be tried again.
func (r *Registrar) Duties(ctx context.Context, c Case, letter Letter, which []int) ([]Duty, error) {
	if len(which) == 0 {
		return nil, nil
	}
	targets, err := c.targets(which)
	if err != nil {
		return nil, err
	}
	links, err := r.allLinks(ctx, targets, nil)
	if err != nil {
		return nil, err
	}
	duties := make([]Duty, len(which))
	for i, theirs := range links {
		duties[i] = Duty{Letter: letter, Target: which[i], Since: r.Now()}
		for _, opened := range theirs.Value {
			if len(opened) > 64 {
				duties[i].Labels = append(duties[i].Labels, string(opened[64:]))
			}
		}
	}
	return duties, nil
}
