package openid

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

// Security Event Tokens (RFC 8417), for platforms that registered a stream: they are told
// of a pen name there, by push (RFC 8935) or when they ask (RFC 8936). What is told, when,
// and how often it is tried is as of logout tokens: see backchannel.go. A platform that has
// a logout address is told there who signed out, and of all else by its stream.

// Event is what happened to a pen name at a platform.
type Event string

// The events.
const (
	EventSignedOut Event = "signed-out"        // its sign-ins there have ended
	EventWithdrawn Event = "consent-withdrawn" // likewise, and the person is asked before the next one
	EventErased    Event = "erased"            // its person asked to be deleted
	EventRetired   Event = "retired"           // nobody signs in by it any more
	EventSuspended Event = "suspended"         // by order of a court nobody signs in by it there until that ends
)

// uri is the event's type. Of the field's types one has the very meaning: an account that
// is purged (RISC) does not come back, and a pen name does, with its bans.
func (e Event) uri() string {
	if e == EventSignedOut {
		return token.EventSessionRevoked
	}
	return token.EventPrefix + string(e)
}

const eventType = "application/secevent+jwt"

// Stream is how a platform is told of events.
type Stream struct {
	Push   string `json:"push,omitempty"`   // https address where they are posted; "": the platform asks for them
	Bearer string `json:"bearer,omitempty"` // the platform's token that is sent with each (RFC 6750, 2.1); "": none
}

// SetErrors are the codes by which a platform says what is wrong with an event (RFC 8935,
// 2.4), and last what stands for any other.
var SetErrors = [...]string{"authentication_failed", "access_denied", "invalid_key", "invalid_request", "invalid_issuer", "invalid_audience", "other"}

const (
	setErrorsMended = 3       // the first of SetErrors: the same event can be taken once the platform, or its settings, are mended
	noError         = -1      // a platform said nothing is wrong
	maxSetError     = 4 << 10 // bytes of what it says
)

// mends reports whether an event that was refused is tried again.
func mends(why int) bool { return why >= 0 && why < setErrorsMended }

// setError is which of SetErrors a platform gives: nothing of its own words is kept.
func setError(said []byte) (why int) {
	var e struct {
		Err string `json:"err"`
	}
	if document.CheckJSON(said) == nil && json.Unmarshal(said, &e) == nil {
		if i := slices.Index(SetErrors[:], e.Err); i >= 0 {
			return i
		}
	}
	return len(SetErrors) - 1
}

// bearerSyntax is RFC 6750, 2.1, and long enough not to be guessed: the digest of the
// settings is public.
var bearerSyntax = regexp.MustCompile(`^[A-Za-z0-9._~+/-]{22,512}=*$`)

func (s Stream) sound(p Platform) bool {
	return (s.Push == "" || p.fetchable(s.Push)) && (s.Bearer == "" || s.Push != "" && bearerSyntax.MatchString(s.Bearer))
}

// hears reports whether p is told of an event; "" is that a sign-in ended.
func (p Platform) hears(e Event) bool {
	return p.Events != nil || e == "" && p.BackchannelLogoutURI != ""
}

// polled reports whether the platform asks for it.
func (l *logout) polled() bool { return l.event != "" && l.to.Events.Push == "" }

// Known is a pen name, and the platforms that know somebody by it.
type Known struct {
	Name      token.Pseudonym
	Platforms []Platform
}

// Tell tells the platforms of pen names, at once, that something happened. Several tells may
// be compared: see [Provider.EraseQuietly].
func (p *Provider) Tell(ctx context.Context, e Event, names ...Known) error {
	rows, err := events(e, names, func(string) [32]byte { return hashOf("event", random()) })
	for _, row := range rows {
		if row.Expires = logoutForgotten(p.now()); err == nil {
			err = p.store.Put(ctx, row)
		}
	}
	p.hurry()
	return err
}

// Suspend ends what a pen name has at one platform, at once: its grants there, and those by
// which a platform of the sector gets access tokens for that one. The platform is told, once
// for each order, which any text names; "": it is not told any more. It is not told when the
// order ends: the person may sign in again then.
//
// What keeps the pen name from signing in there again meanwhile is [Subject].Confirm.
func (p *Provider) Suspend(ctx context.Context, name token.Pseudonym, at Platform, order string) error {
	theirs := func(body []byte) bool {
		var b grantBody
		return json.Unmarshal(body, &b) != nil || b.Platform == at.ID || b.Resource == at.ID
	}
	if err := p.store.EndAll(ctx, name, theirs, logoutForgotten(p.now())); err != nil {
		return err
	}
	p.lists.invalidate()
	if order == "" {
		return nil
	}
	rows, err := events(EventSuspended, []Known{{name, []Platform{at}}}, func(of string) [32]byte { return hashOf("suspended", of+"\x00"+order) })
	for _, row := range rows {
		if row.Expires = logoutForgotten(p.now()); err == nil {
			if err = p.store.Put(ctx, row); errors.Is(err, ErrStale) {
				err = nil // it is told already, or was
			}
		}
	}
	p.hurry()
	return err
}

// EraseQuietly is [Provider.EndQuietly] for somebody who asked to be deleted: their
// platforms are told so as well, each at its own moment, once a day at most. Those where
// they have signed in again before that are not.
func (p *Provider) EraseQuietly(ctx context.Context, names ...Known) error {
	today := p.now().UTC().Format(time.DateOnly)
	rows, err := events(EventErased, names, func(of string) [32]byte { return hashOf("event", of+"\x00"+today) })
	if err != nil {
		return err
	}
	var holders []token.Pseudonym
	for _, known := range names {
		holders = append(holders, known.Name)
	}
	return p.endQuietly(ctx, holders, rows)
}

// events are the rows of an event, of each platform that hears of it. id makes theirs, of a
// text that no two have in common.
func events(e Event, names []Known, id func(of string) [32]byte) (rows []Row, err error) {
	for _, known := range names {
		for _, pl := range known.Platforms {
			if !pl.hears(e) {
				continue
			}
			body, err := json.Marshal(logoutBody{Platform: pl.ID, Event: e})
			if err != nil {
				return nil, err
			}
			rows = append(rows, Row{Kind: KindLogout, ID: id(pl.ID + "\x00" + string(known.Name) + "\x00" + string(e)), Holder: known.Name, Body: body})
		}
	}
	return rows, nil
}
