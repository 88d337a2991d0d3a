package openid

import (
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
