package document

import (
	"bytes"
	stdjson "encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

// FuzzCheckJSON compares with the standard library: what passes is valid for it,
// and names no member twice at the top.
func FuzzCheckJSON(f *testing.F) {
	f.Add([]byte(`{"iss":"https://penname.example","aud":["a"],"exp":1900000000,"cnf":{"jkt":"x"}}`))
	f.Add([]byte(`{"a":"\ud83d\ude00","b":[{"c":{}}]}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		if CheckJSON(b) != nil {
			return
		}
		var m map[string]stdjson.RawMessage
		if err := stdjson.Unmarshal(b, &m); err != nil {
			t.Fatalf("%q passes: %v", b, err)
		}
		var fork map[string]any // refuses duplicates by itself
		if err := json.Unmarshal(b, &fork); err != nil {
			t.Fatalf("%q passes: %v", b, err)
		}
		written, err := stdjson.Marshal(fork)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsRune(written, '\ufffd') && !bytes.Contains(bytes.ToLower(b), []byte("fffd")) && !bytes.ContainsRune(b, '\ufffd') {
			t.Fatalf("%q holds a replaced character", b)
		}
	})
}
