// Package mail writes to people and organisations that something waits for them, and
// nothing else: no case, no pen name, no court. Who is written to has a duty in an outbox,
// put there in the transaction that causes it ([Outbox]); [Sender] carries duties out.
//
// Trusted for: telling the mail server addresses, and nothing else of anybody. Whoever reads
// the mail on its way learns that the address is of somebody who uses Penname. A mail is sent
// at least once: twice if the mail server accepted it and its answer was lost, with the same
// Message-ID.
package mail

import (
	"context"
	"time"
)

// Kind is what a mail is about. All mails of a kind in one language are equal but for their
// address and, of [Confirm], the code.
type Kind string

// The kinds.
const (
	Notice      Kind = "notice"       // something waits on the person's page
	NoticeFirst Kind = "notice_first" // the same, in the same words
	Confirm     Kind = "confirm"      // is this address yours?
	Changed     Kind = "changed"      // it is not written to any more
	Recovery    Kind = "recovery"     // somebody asks to sign in without a passkey
	Keys        Kind = "keys"         // a passkey came or went, or a recovery signed somebody in
	Reminder    Kind = "reminder"     // something waits for a party of the bundle
)

// Letter is a duty that is due.
type Letter struct {
	ID       [16]byte
	Kind     Kind
	Party    string  // of a reminder
	To       Address // of anything else; "": the person has none
	Language string  // of its person, BCP 47; "": English
	Code     string  // of [Confirm]
	Mark     []byte  // of To, for the outbox that handed it out
	Damaged  bool    // what the row hides does not open: it waits for the operator
	Tries    int     // with this one
	Held     time.Time
}

// Outcome is what ended a duty.
type Outcome string

// The outcomes.
const (
	Accepted  Outcome = "accepted"   // by the mail server
	NoAddress Outcome = "no_address" // there was none
	Refused   Outcome = "refused"    // by the mail server, for good
)

// Outbox is where duties wait. Each side has its own part of it: duties to people are sent
// by the issuing side, which has their addresses, and reminders by the disclosing side. What
// a function returned without error survives a crash. It is safe for use by several senders
// at once.
type Outbox struct {
	// Take returns the duty that is due first, with one try more, and holds it back from other
	// senders until then; false if none is due. A sender that dies leaves it due again.
	Take func(ctx context.Context, now, until time.Time) (Letter, bool, error)
	// Postpone leaves a duty that was taken for a later time. Like Done, it does nothing if
	// somebody else ended or took it meanwhile.
	Postpone func(ctx context.Context, l Letter, until time.Time) error
	// Done ends it.
	Done func(ctx context.Context, l Letter, o Outcome, now time.Time) error
	// Waiting counts the duties that wait since an earlier hour: what people did just now does
	// not show. What waits longer than 30 days for a person may be left out, and is tried still.
	Waiting func(ctx context.Context, now time.Time) (Waiting, error)
}

// Waiting is what waits in a part of an outbox.
type Waiting struct {
	Mails   int64
	Oldest  time.Time // since when, to the hour; zero: none does
	Refused int64     // reminders that a mail server refused for good, of the last 60 days
}
