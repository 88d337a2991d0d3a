package token

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Types of events. The first is OpenID Continuous Access Evaluation Profile 1.0, 3.1; those
// that begin with EventPrefix are Penname's own.
const (
	EventSessionRevoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked" // all sign-ins of the pen name here have ended
	EventPrefix           = "https://penname.github.io/event-type/"
	EventConsentWithdrawn = EventPrefix + "consent-withdrawn" // likewise, and the person is asked before the next one
	EventErased           = EventPrefix + "erased"            // its person asked Penname to be deleted; a ban stays, as they can come back
	EventRetired          = EventPrefix + "retired"           // nobody signs in by this pen name any more
	EventSuspended        = EventPrefix + "suspended"         // by order of a court nobody signs in by it here until that ends, of which there is no event
)

// eventTypes are those that a reader knows.
var eventTypes = []string{EventSessionRevoked, EventConsentWithdrawn, EventErased, EventRetired, EventSuspended}

// eventLife is how old an event may be. What Penname repeats is signed anew, so that an
// older one was kept by somebody.
const eventLife = 24 * time.Hour

// Refusals of event tokens.
var (
	ErrEventMalformed = refusal.New(unauthenticated, "event.malformed", "The event token is not a compact JWS of a strict JSON object with iss, aud, iat, jti, sub_id and one event; send it exactly as the issuer made it.")
	ErrEventTyp       = refusal.New(unauthenticated, "event.wrong_typ", "The typ is not secevent+jwt: this is another kind of token; send event tokens alone.")
	ErrEventSignature = refusal.New(unauthenticated, "event.bad_signature", "No key of the issuer's key set verifies the event token; refresh the key set, or send the token exactly as the issuer made it.")
	ErrEventIssuer    = refusal.New(unauthenticated, "event.bad_issuer", "The event token, or whom it is about, is not of the configured issuer; compare the issuer's name letter by letter.")
	ErrEventAudience  = refusal.New(unauthenticated, "event.bad_audience", "The event token is not for this platform alone; send it to the platform that aud names.")
	ErrEventTime      = refusal.New(unauthenticated, "event.bad_iat", "The event token's iat is in the future or more than a day ago; check the clocks, or fetch the event again.")
	ErrEventUnknown   = refusal.New(invalid, "event.unknown", "The event is of no type that this reader knows; update the reader, or leave the event out of account.")
	ErrEventReplayed  = refusal.New(unauthenticated, "event.replayed", "This event came before and was taken; there is nothing to do.")
)

var eventRefusals = refusals{
	document.Malformed: ErrEventMalformed, document.WrongType: ErrEventTyp, document.AlgNotAllowed: ErrEventSignature, document.AlgKeyMismatch: ErrEventSignature,
	document.UntrustedKey: ErrEventSignature, document.UnknownKey: ErrEventSignature, document.AmbiguousKey: ErrEventSignature, document.KeyUse: ErrEventSignature,
	document.BadSignature: ErrEventSignature, document.CannotSign: ErrCannotSign,
}

var eventFormat = &document.Format{Types: []string{"secevent+jwt"}, MaxBytes: maxToken, Algorithms: document.IDTokenAlgorithms, Refusals: eventRefusals}

// Event is a Security Event Token (RFC 8417) about a pen name at one platform. It has no
// time of what happened (toe): platforms could compare it.
type Event struct {
	Issuer   string
	Audience string // the platform's client_id
	ID       string // the same for each repetition
	IssuedAt time.Time
	Subject  Pseudonym
	Type     string
}

// eventClaims are those of RFC 8417, 2.2. RFC 9493, 3.2.2, is on sub_id.
type eventClaims struct {
	Issuer   string                         `json:"iss"`
	Audience string                         `json:"aud"`
	ID       string                         `json:"jti"`
	IssuedAt int64                          `json:"iat"`
	Subject  eventSubject                   `json:"sub_id"`
	Events   map[string]map[string]struct{} `json:"events"`
}

type eventSubject struct {
	Format  string    `json:"format"`
	Issuer  string    `json:"iss"`
	Subject Pseudonym `json:"sub"`
}

// SignEvent makes an event token, or fails with [ErrCannotSign].
func SignEvent(key jose.JSONWebKey, e Event) (string, error) {
	claims, err := json.Marshal(eventClaims{Issuer: e.Issuer, Audience: e.Audience, ID: e.ID, IssuedAt: e.IssuedAt.Unix(),
		Subject: eventSubject{"iss_sub", e.Issuer, e.Subject}, Events: map[string]map[string]struct{}{e.Type: {}}})
	if err != nil {
		return "", err
	}
	return eventFormat.Sign(key, claims)
}

// VerifyEvent reads an event token for this platform: of Verifier it takes Issuer, Audience,
// Keys, Now, Leeway and SingleUse, which is to remember more than a day. It fails with one
// of the refusals of event tokens, [ErrKeysUnavailable] or [ErrReplayUnavailable].
// [ErrEventReplayed] is of an event that was taken before, and can be acknowledged.
//
// RFC 8417, 4: an ID token or a logout token is no event, and the other way around; typ
// tells them apart.
func (v *Verifier) VerifyEvent(ctx context.Context, raw string) (*Event, error) {
	if v.Issuer == "" || v.Audience == "" || v.Keys == nil {
		return nil, ErrMisconfigured
	}
	e, err := v.openEvent(ctx, raw)
	if err != nil || v.SingleUse == nil {
		return e, err
	}
	if err := useOnce(ctx, v.SingleUse, ErrEventReplayed, e.IssuedAt.Add(eventLife+v.Leeway), "event", e.Issuer, e.ID); err != nil {
		return nil, err
	}
	return e, nil
}

// openEvent verifies an event token but for its replay.
func (v *Verifier) openEvent(ctx context.Context, raw string) (*Event, error) {
	d, err := eventFormat.Open(raw)
	if err != nil {
		return nil, err
	}
	keys, err := v.Keys(ctx)
	if err != nil {
		return nil, ErrKeysUnavailable.Because(err)
	}
	if _, err := keys.verify(ctx, eventFormat, d); err != nil {
		return nil, err
	}
	var c eventClaims
	decode := json.Unmarshal(d.Payload, &c)
	if decode != nil || c.ID == "" || c.Subject.Format != "iss_sub" || len(c.Events) != 1 {
		return nil, ErrEventMalformed
	}
	name, err := ParsePseudonym(string(c.Subject.Subject))
	if err != nil {
		return nil, ErrEventMalformed
	}
	now, issued := time.Now(), time.Unix(c.IssuedAt, 0)
	if v.Now != nil {
		now = v.Now()
	}
	switch {
	case c.Issuer != v.Issuer || c.Subject.Issuer != v.Issuer:
		return nil, ErrEventIssuer
	case c.Audience != v.Audience:
		return nil, ErrEventAudience
	case issued.After(now.Add(v.Leeway)) || issued.Before(now.Add(-eventLife-v.Leeway)):
		return nil, ErrEventTime
	}
	for _, known := range eventTypes {
		if _, is := c.Events[known]; is {
			return &Event{c.Issuer, c.Audience, c.ID, issued, name, known}, nil
		}
	}
	return nil, ErrEventUnknown
}

// EventHandler takes events that are pushed (RFC 8935). authorized, optional, looks at the
// token that the platform's registration has Penname send. take acts on an event; if it
// fails, the event comes again. SingleUse is not asked, because an event counts as taken
// only when take is done: take must do no harm if one event comes twice.
func (v *Verifier) EventHandler(authorized func(*http.Request) bool, take func(context.Context, Event) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxToken))
		switch {
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		case authorized != nil && !authorized(r):
			sayEventError(w, "authentication_failed", "The token in Authorization is not the one that this platform registered.")
			return
		case err != nil || media != "application/secevent+jwt":
			eventError(w, ErrEventMalformed)
			return
		}
		e, err := v.openEvent(r.Context(), string(raw))
		if err == nil && take(r.Context(), *e) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if err != nil && !errors.Is(err, ErrEventUnknown) {
			eventError(w, err)
			return
		}
		w.WriteHeader(http.StatusAccepted) // 2.2; what is not known is not asked for again
	})
}

// eventError is RFC 8935, 2.3, or asks for the event once more.
func eventError(w http.ResponseWriter, err error) {
	e := refusal.Of(err)
	if e == nil || e.Kind == unavailable {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	code := "invalid_request"
	switch e {
	case ErrEventSignature:
		code = "invalid_key"
	case ErrEventIssuer:
		code = "invalid_issuer"
	case ErrEventAudience:
		code = "invalid_audience"
	}
	sayEventError(w, code, e.Mend)
}

// sayEventError is RFC 8935, 2.3. A sender that may not send is told so likewise (2.4).
func sayEventError(w http.ResponseWriter, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"err": code, "description": description}) // who is gone asks no more
}
