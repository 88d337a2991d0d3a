package token

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/refusal"
)

func goodEvent() Event {
	return Event{Issuer: issuer, Audience: platform, ID: "event-1", IssuedAt: noon, Subject: pen(1), Type: EventErased}
}

func signedEvent(t testing.TB, e Event) string {
	t.Helper()
	raw, err := SignEvent(jose.JSONWebKey{Key: edKey("issuer"), KeyID: "ed"}, e)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// eventJSON is the payload of an event as RFC 8417 and 9493 have it.
func eventJSON(change func(claims object)) object {
	c := object{"iss": issuer, "aud": platform, "iat": noon.Unix(), "jti": "event-1",
		"sub_id": object{"format": "iss_sub", "iss": issuer, "sub": string(pen(1))}, "events": object{EventErased: object{}}}
	change(c)
	return c
}

func TestVerifyEvent(t *testing.T) {
	v := newVerifier(t)
	for _, kind := range eventTypes {
		e := goodEvent()
		e.Type = kind
		if got, err := v.VerifyEvent(t.Context(), signedEvent(t, e)); err != nil || *got != (Event{e.Issuer, e.Audience, e.ID, got.IssuedAt, e.Subject, e.Type}) || !got.IssuedAt.Equal(noon) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	header := object{"alg": "EdDSA", "kid": "ed", "typ": "secevent+jwt"}
	for name, c := range map[string]struct {
		raw  string
		want *refusal.Error
	}{
		"an ID token":         {forged(edKey("issuer"), edHeader(), goodClaims()), ErrEventTyp},
		"a logout token":      {forged(edKey("issuer"), object{"alg": "EdDSA", "kid": "ed", "typ": "logout+jwt"}, eventJSON(func(object) {})), ErrEventTyp},
		"another key":         {forged(edKey("thief"), header, eventJSON(func(object) {})), ErrEventSignature},
		"another issuer":      {forged(edKey("issuer"), header, eventJSON(func(c object) { c["iss"] = "https://other.example" })), ErrEventIssuer},
		"a subject elsewhere": {forged(edKey("issuer"), header, eventJSON(func(c object) { c["sub_id"].(object)["iss"] = "https://other.example" })), ErrEventIssuer},
		"another platform":    {forged(edKey("issuer"), header, eventJSON(func(c object) { c["aud"] = "other" })), ErrEventAudience},
		"two platforms":       {forged(edKey("issuer"), header, eventJSON(func(c object) { c["aud"] = []string{platform, "other"} })), ErrEventMalformed},
		"tomorrow":            {forged(edKey("issuer"), header, eventJSON(func(c object) { c["iat"] = noon.Add(time.Hour).Unix() })), ErrEventTime},
		"long ago":            {forged(edKey("issuer"), header, eventJSON(func(c object) { c["iat"] = noon.Add(-25 * time.Hour).Unix() })), ErrEventTime},
		"no jti":              {forged(edKey("issuer"), header, eventJSON(func(c object) { delete(c, "jti") })), ErrEventMalformed},
		"no event":            {forged(edKey("issuer"), header, eventJSON(func(c object) { c["events"] = object{} })), ErrEventMalformed},
		"two events":          {forged(edKey("issuer"), header, eventJSON(func(c object) { c["events"] = object{EventErased: object{}, EventRetired: object{}} })), ErrEventMalformed},
		"an unknown event":    {forged(edKey("issuer"), header, eventJSON(func(c object) { c["events"] = object{"https://other.example/x": object{}} })), ErrEventUnknown},
		"an e-mail address": {forged(edKey("issuer"), header, eventJSON(func(c object) { c["sub_id"] = object{"format": "email", "email": "a@b.example"} })),
			ErrEventMalformed},
		"nobody":  {forged(edKey("issuer"), header, eventJSON(func(c object) { c["sub_id"].(object)["sub"] = "pen1" })), ErrEventMalformed},
		"nothing": {"", ErrEventMalformed},
	} {
		if got, err := v.VerifyEvent(t.Context(), c.raw); got != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want.Code)
		}
	}
	v.SingleUse = NewMemoryReplayGuard(10, v.Now)
	raw := signedEvent(t, goodEvent())
	if _, err := v.VerifyEvent(t.Context(), raw); err != nil {
		t.Error(err)
	}
	if _, err := v.VerifyEvent(t.Context(), raw); !errors.Is(err, ErrEventReplayed) {
		t.Error(err)
	}
	if _, err := new(Verifier).VerifyEvent(t.Context(), raw); !errors.Is(err, ErrMisconfigured) {
		t.Error(err)
	}
}

// TestEventHandler: RFC 8935. What could not be acted on is asked for again, what is wrong
// is not, and what is not known is taken.
func TestEventHandler(t *testing.T) {
	var took []Event
	var fails error
	handler := newVerifier(t).EventHandler(func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer mine" },
		func(_ context.Context, e Event) error { took = append(took, e); return fails })
	unknown, other := goodEvent(), goodEvent()
	unknown.Type, other.Audience = "https://other.example/x", "other"
	for name, c := range map[string]struct {
		method, auth, media, body string
		fails                     error
		status, took              int
		err                       string
	}{
		"good":             {"POST", "Bearer mine", "application/secevent+jwt", signedEvent(t, goodEvent()), nil, 202, 1, ""},
		"not acted on":     {"POST", "Bearer mine", "application/secevent+jwt", signedEvent(t, goodEvent()), errors.New("down"), 503, 1, ""},
		"unknown":          {"POST", "Bearer mine", "application/secevent+jwt", signedEvent(t, unknown), nil, 202, 0, ""},
		"another platform": {"POST", "Bearer mine", "application/secevent+jwt", signedEvent(t, other), nil, 400, 0, "invalid_audience"},
		"a stranger":       {"POST", "Bearer other", "application/secevent+jwt", signedEvent(t, goodEvent()), nil, 400, 0, "authentication_failed"},
		"another type":     {"POST", "Bearer mine", "application/jwt", signedEvent(t, goodEvent()), nil, 400, 0, "invalid_request"},
		"too large":        {"POST", "Bearer mine", "application/secevent+jwt", strings.Repeat("x", 9<<10), nil, 400, 0, "invalid_request"},
		"a GET":            {"GET", "Bearer mine", "", "", nil, 405, 0, ""},
	} {
		took, fails = nil, c.fails
		r := httptest.NewRequest(c.method, "/events", strings.NewReader(c.body))
		r.Header.Set("Authorization", c.auth)
		r.Header.Set("Content-Type", c.media)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		var said struct {
			Err string `json:"err"`
		}
		_ = json.Unmarshal(w.Body.Bytes(), &said)
		if w.Code != c.status || len(took) != c.took || said.Err != c.err {
			t.Errorf("%s: %d %s, took %d", name, w.Code, w.Body, len(took))
		}
	}
}

// FuzzEvent: no input panics, every refusal is one of ours, and nothing is taken that the
// issuer did not sign.
func FuzzEvent(f *testing.F) {
	good := signedEvent(f, goodEvent())
	for _, seed := range []string{good, forged(edKey("issuer"), edHeader(), goodClaims()), "..", "{}", good[:len(good)-2]} {
		f.Add(seed)
	}
	v := newVerifier(f)
	fuzzing.Run(f, func(t *testing.T, raw string) {
		e, err := v.VerifyEvent(context.Background(), raw)
		if err == nil && raw != good {
			t.Errorf("accepted: %q", raw)
		}
		if err != nil && (refusal.Of(err) == nil || e != nil) {
			t.Errorf("%v with %v", err, e)
		}
	})
}
