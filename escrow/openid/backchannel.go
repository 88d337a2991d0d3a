package openid

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/json"
	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// OpenID Connect Back-Channel Logout 1.0. A platform that gave an address is told there,
// server to server, that a pen name signed out: by a logout token, which package openid
// signs as it signs the platform's ID tokens.
//
//	Provider.End          makes a row of [KindLogout] of each grant that it ends
//	Provider.Tell         makes one of an event of a pen name: see events.go
//	Provider.EndQuietly   makes none: each grant has its moment, which is sealed
//	Provider.EraseQuietly likewise, and an event has the moment of its pen name
//	Store.Logouts         makes one of each grant and event whose moment has come
//	TellPlatforms         a job of each node: claims a row, sends, and ends the row
//	Provider.poll         what is not sent but fetched: see poll.go
//
// A row is claimed by one write that says when it may be claimed again, so no two nodes
// send one token at the same time, and what a node that died did not send or did not
// note is sent once more. Rows that are made at the moment of one pen name tell nobody
// of the others that left together, and a row's key and body tell nothing without the
// row key: see package postgres.

const (
	logoutEvent         = "http://schemas.openid.net/event/backchannel-logout"
	logoutTokenLifetime = 2 * time.Minute // section 2.4: "preferably … at most two minutes in the future"

	logoutSending   = 10 * time.Second // the longest that one token may take
	logoutFirstWait = 2 * time.Minute  // after the first attempt; then twice as long each time
	logoutMostWait  = 4 * time.Hour
	logoutTrying    = 24 * time.Hour // then it is given up

	logoutLanes    = 4                // tokens that one platform is sent at a time
	logoutLaneTime = 20 * time.Second // of one round, for one platform

	logoutLooks = 5 * time.Minute // how often a node looks whose moment has come

	// What came to its moment while no node looked is spread, or the end of an outage
	// would tell of all at once: with each look one in six.
	logoutMissed = 3 * logoutLooks
	logoutSpread = 6

	logoutLookBack = 7 * day // after an outage of Penname that was no longer, everybody is still told
	logoutKept     = logoutLookBack + 2*day
)

var logoutFormat = &document.Format{Types: []string{"logout+jwt"}, MaxBytes: 8 << 10, Algorithms: document.IDTokenAlgorithms,
	Refusals: map[document.Fault]*refusal.Error{document.Malformed: ErrUnavailable}}

// logoutClaims are those of section 2.4, in which a nonce "MUST NOT" be.
type logoutClaims struct {
	Issuer   string              `json:"iss"`
	Subject  token.Pseudonym     `json:"sub"`
	Audience string              `json:"aud"`
	IssuedAt int64               `json:"iat"`
	Expiry   int64               `json:"exp"`
	ID       string              `json:"jti"`
	Events   map[string]struct{} `json:"events"`
	Session  string              `json:"sid,omitempty"`
}

// logoutBody is what a row of KindLogout holds. It begins as the body of the grant.
type logoutBody struct {
	Platform string `json:"platform"`
	Session  string `json:"sid,omitempty"`
	Event    Event  `json:"event,omitempty"` // "": the grant ended
	ID       string `json:"jti,omitempty"`   // of the event token that it is told by: see claim
	Tries    int    `json:"tries,omitempty"`
	Next     int64  `json:"next,omitempty"`  // Unix seconds: not before
	Until    int64  `json:"until,omitempty"` // when it is given up
}

// Told is what became of logout tokens in one round.
type Told struct {
	Delivered int // answered 200 or 204
	Refused   int // answered 400, and given up
	Failed    int // not answered, or in another way: it is tried again
	GivenUp   int // likewise, for the last time

	Why [len(SetErrors)]int // of the last three, how many the platform gave which of SetErrors for
}

func (t *Told) add(more Told) {
	t.Delivered, t.Refused, t.Failed, t.GivenUp = t.Delivered+more.Delivered, t.Refused+more.Refused, t.Failed+more.Failed, t.GivenUp+more.GivenUp
	for i, n := range more.Why {
		t.Why[i] += n
	}
}

// logout is one token to be sent or fetched, and the rows that it settles. The first row is the one
// that is claimed, and ended last: as long as it is claimed, none of the others is sent.
type logout struct {
	logoutTo
	to      Platform
	rows    []Row
	tries   int  // of the first row: it is the one with the most
	claimed bool // until later
}

// logoutTo is whom a token is for, and what it ends.
type logoutTo struct {
	platform string // id
	holder   token.Pseudonym
	sid      string // "": all that the platform has under the pen name
	event    Event  // "": it gets a logout token
	jti      string // of an event that it was told of before, and did not confirm
}

// Ended receives something when a sign-in has ended at once, or a round was too short for
// all: then [Provider.TellPlatforms] has something to do before its minute is over.
func (p *Provider) Ended() <-chan struct{} { return p.ended }

// TellPlatforms sends the logout tokens that are due, and returns what became of them, by
// platform. A platform that does not answer keeps no other waiting: each is sent its own
// at the same time, and this round of one that fails is over. Call it every minute, on
// any number of nodes; one node calls it once at a time.
func (p *Provider) TellPlatforms(ctx context.Context) (map[string]Told, error) {
	all, err := p.logouts(ctx, p.due(p.now()), "")
	if err != nil {
		return nil, err
	}
	if p.cfg.HTTP == nil {
		all = nil // nothing is sent, and what is fetched has had its moments looked for
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	told, errs := map[string]Told{}, []error(nil)
	end, stop := context.WithTimeout(ctx, logoutLaneTime)
	defer stop()
	for platform, due := range all {
		due = slices.DeleteFunc(due, (*logout).polled)
		for lane := range min(logoutLanes, len(due)) {
			wg.Go(func() {
				var sum Told
				var err error
				for i := lane; i < len(due) && end.Err() == nil && err == nil && sum.Failed+sum.GivenUp == 0; i += logoutLanes {
					var one Told
					one, err = p.tell(ctx, due[i])
					sum.add(one)
				}
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
				sum.add(told[platform])
				told[platform] = sum
			})
		}
	}
	wg.Wait()
	if end.Err() != nil && ctx.Err() == nil {
		p.hurry() // some are left
	}
	p.polled.take(told)
	return told, errors.Join(errs...)
}

// hurry has TellPlatforms called soon.
func (p *Provider) hurry() {
	select {
	case p.ended <- struct{}{}:
	default: // said already
	}
}

// logouts are the tokens that are due, by platform. A token ends all sessions that a
// platform has under a pen name, unless the platform asks for one of each.
// Moments that have come are looked for if due is not nil: see [Store.Logouts]. With only,
// those of one platform alone: the store cannot tell whose a row is, as that is sealed.
func (p *Provider) logouts(ctx context.Context, due func(ends time.Time) bool, only string) (map[string][]*logout, error) {
	now := p.now()
	rows, err := p.store.Logouts(ctx, due, now.UTC().Truncate(day).Add(leftKept-logoutLookBack), logoutForgotten(now))
	if err != nil {
		return nil, err
	}
	all, known := map[string][]*logout{}, map[logoutTo]*logout{}
	for _, row := range rows {
		var b logoutBody
		if err := json.Unmarshal(row.Body, &b); err != nil {
			return nil, err
		}
		if only != "" && b.Platform != only {
			continue
		}
		to, err := p.platform(ctx, b.Platform)
		switch {
		case errors.Is(err, goidc.ErrNotFound), err == nil && !to.hears(b.Event): // it is gone, or is not to be told
			if err = p.settle(ctx, row); err != nil {
				return nil, err
			}
			continue
		case err != nil: // it is not known at the moment
			continue
		}
		one := logoutTo{platform: to.ID, holder: row.Holder, event: b.Event}
		switch {
		case b.Event != "":
			one.jti = b.ID
		case to.BackchannelLogoutURI == "":
			one.event, one.jti = EventSignedOut, b.ID
		case to.BackchannelLogoutSessionRequired:
			one.sid = b.Session
		}
		l := known[one]
		if l == nil {
			l = &logout{to: to, logoutTo: one}
			known[one], all[to.ID] = l, append(all[to.ID], l)
		}
		l.rows, l.claimed = append(l.rows, row), l.claimed || now.Unix() < b.Next
		if last := len(l.rows) - 1; b.Tries > l.tries {
			l.rows[0], l.rows[last], l.tries = l.rows[last], l.rows[0], b.Tries
		}
	}
	for platform, due := range all {
		all[platform] = slices.DeleteFunc(due, func(l *logout) bool { return l.claimed && !l.polled() })
	}
	return all, nil
}

// due tells of which moments of [Provider.EndQuietly] the time has come: of all those of
// the last minutes, and of some that were missed. nil: this node looked a moment ago.
func (p *Provider) due(now time.Time) func(ends time.Time) bool {
	if last := p.looked.Load(); last != nil && now.Sub(*last) >= 0 && now.Sub(*last) < logoutLooks {
		return nil
	}
	p.looked.Store(&now)
	drawn := map[time.Time]bool{} // one pen name, one moment
	return func(ends time.Time) bool {
		switch late := now.Sub(ends); {
		case late < 0:
			return false
		case late < logoutMissed:
			return true
		}
		if _, ok := drawn[ends]; !ok {
			drawn[ends] = below(logoutSpread) == 0
		}
		return drawn[ends]
	}
}

// tell claims a token, sends it and ends its rows.
func (p *Provider) tell(ctx context.Context, l *logout) (told Told, err error) {
	within, cancel := context.WithTimeout(ctx, logoutSending) // counted from before the claim
	defer cancel()
	last, err := p.claim(within, l)
	if errors.Is(err, ErrStale) {
		return told, nil // another node has it
	}
	if err != nil {
		return told, err
	}
	status, why, err := p.send(within, l)
	if err != nil {
		return told, err
	}
	if why >= 0 {
		told.Why[why]++
	}
	switch {
	case status == http.StatusOK, status == http.StatusNoContent, // section 2.8
		status == http.StatusAccepted && l.event != "": // RFC 8935, 2.2
		told.Delivered++
	case status == http.StatusBadRequest && !mends(why): // "the request … was invalid or the logout failed"
		told.Refused++
	case last:
		told.GivenUp++
	default:
		told.Failed++
		return told, nil
	}
	for _, row := range slices.Backward(l.rows) {
		if err := p.settle(ctx, row); err != nil {
			return told, err
		}
	}
	return told, nil
}

// claim takes the rows of a token until they may be tried again, and reports whether they
// never will. Of a logout token that is the first row. An event token keeps its jti for
// each attempt (RFC 8417, 2.2), so all its rows get it in one write: a node that saw some of
// them without it would tell of those as another event. What happens later has another.
func (p *Provider) claim(ctx context.Context, l *logout) (last bool, err error) {
	rows := l.rows[:1]
	if l.event != "" {
		l.jti, rows = cmp.Or(l.jti, random()), l.rows
	}
	now := p.now()
	for i := range rows {
		var b logoutBody
		if err := json.Unmarshal(rows[i].Body, &b); err != nil {
			return false, err
		}
		wait := min(logoutFirstWait<<min(b.Tries, 16), logoutMostWait)
		b.Next = now.Add(wait + time.Duration(below(int64(wait/2)))).Unix()
		b.Until, b.Tries, b.ID = cmp.Or(b.Until, now.Add(logoutTrying).Unix()), b.Tries+1, l.jti
		if rows[i].Body, err = json.Marshal(b); err != nil {
			return false, err
		}
		last = last || b.Next >= b.Until
	}
	return last, p.store.Claim(ctx, rows)
}

// settle ends a row of which nothing is left to be told.
func (p *Provider) settle(ctx context.Context, row Row) error {
	row.Ended = true
	if err := p.store.Put(ctx, row); !errors.Is(err, ErrStale) {
		return err
	}
	return nil
}

// send posts a logout token (section 2.5) or an event token (RFC 8935, 2.1) and returns
// the status of the answer, or 0 if there is none, and what it says of an event: see
// setError. What else the answer says is not read.
func (p *Provider) send(ctx context.Context, l *logout) (status, why int, err error) {
	raw, err := p.sign(l)
	if err != nil {
		return 0, noError, err
	}
	to, body, contentType := l.to.BackchannelLogoutURI, url.Values{"logout_token": {raw}}.Encode(), formType
	if l.event != "" {
		to, body, contentType = l.to.Events.Push, raw, eventType
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		return 0, noError, err
	}
	req.Header.Set("Content-Type", contentType)
	if l.event != "" {
		req.Header.Set("Accept", "application/json")
		if l.to.Events.Bearer != "" {
			req.Header.Set("Authorization", "Bearer "+l.to.Events.Bearer)
		}
	}
	resp, err := p.cfg.HTTP.Do(req)
	if err != nil {
		return 0, noError, nil //nolint:nilerr // the platform's, and its address is in it
	}
	defer resp.Body.Close()
	if l.event == "" || resp.StatusCode != http.StatusBadRequest {
		return resp.StatusCode, noError, nil
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxSetError))
	if err != nil {
		return 0, noError, nil //nolint:nilerr // likewise
	}
	return resp.StatusCode, setError(said), nil
}

// sign makes the token that a platform is told by, signed as its ID tokens are.
func (p *Provider) sign(l *logout) (string, error) {
	now := p.now()
	key, ok := p.keys.Load().current(now, cmp.Or(l.to.IDTokenAlg, p.algorithms[len(p.algorithms)-1]))
	if !ok {
		return "", ErrUnavailable
	}
	if l.event != "" {
		return token.SignEvent(key.JWK, token.Event{Issuer: p.cfg.Issuer, Audience: l.to.ID, ID: l.jti, IssuedAt: now, Subject: l.holder, Type: l.event.uri()})
	}
	claims, err := json.Marshal(logoutClaims{Issuer: p.cfg.Issuer, Subject: l.holder, Audience: l.to.ID, Session: l.sid, ID: random(),
		IssuedAt: now.Unix(), Expiry: now.Add(logoutTokenLifetime).Unix(), Events: map[string]struct{}{logoutEvent: {}}})
	if err != nil {
		return "", err
	}
	return logoutFormat.Sign(key.JWK, claims)
}

// logoutForgotten is when the rows of what is to be told now may be forgotten: the same
// for all of a day.
func logoutForgotten(now time.Time) time.Time { return now.UTC().Truncate(day).Add(logoutKept) }

// below is a random number from 0 to n-1.
func below(n int64) int64 {
	i, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		panic(err) // never: crypto/rand
	}
	return i.Int64()
}
