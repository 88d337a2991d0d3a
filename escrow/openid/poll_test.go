package openid

import (
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

// FuzzPoll: a poll request that is read says the same when it is written and read again, and
// acknowledges nothing twice under one name.
func FuzzPoll(f *testing.F) {
	for _, seed := range []string{`{}`, `{"maxEvents":1,"returnImmediately":true,"ack":["a"],"setErrs":{"b":{"err":"x"}}}`, `{"ack":["a"],"ack":[]}`, `[]`, `{"maxEvents":-1}`, `{"maxEvents":1e99}`} {
		f.Add([]byte(seed))
	}
	fuzzing.Run(f, func(t *testing.T, body []byte) {
		q, ok := parsePoll(body)
		if !ok {
			return
		}
		again, err := json.Marshal(map[string]any{"ack": q.Ack})
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := parsePoll(again); !ok || len(p.Ack) != len(q.Ack) || q.MaxEvents != nil && *q.MaxEvents < 0 {
			t.Errorf("%q", body)
		}
	})
}

// FuzzSetError: whatever a platform answers is one of the codes, and an event is tried again
// only if the answer is JSON that says one of the three.
func FuzzSetError(f *testing.F) {
	for _, seed := range []string{`{"err":"invalid_key","description":"x"}`, `{"err":"access_denied"}`, `{"err":"x","err":"invalid_key"}`, `[]`, ``, `{"err":null}`, `{"ERR":"invalid_key"}`} {
		f.Add([]byte(seed))
	}
	fuzzing.Run(f, func(t *testing.T, said []byte) {
		why := setError(said)
		if why < 0 || why >= len(SetErrors) {
			t.Fatalf("%q: %d", said, why)
		}
		var e map[string]any
		err := json.Unmarshal(said, &e)
		text, _ := e["err"].(string)
		if mended := err == nil && slices.Contains(SetErrors[:setErrorsMended], text); mends(why) && !mended {
			t.Errorf("%q is tried again", said)
		}
		if again := setError([]byte(`{"err":"` + SetErrors[why] + `"}`)); again != why {
			t.Errorf("%q: %d, and then %d", said, why, again)
		}
	})
}
