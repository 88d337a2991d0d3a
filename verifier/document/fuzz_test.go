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

// FuzzValue holds Value to what package json reads from the same text.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":"b"}`, ` { "a" : "b" , "c" : null , "d":[1,{"e":"}"},"]"], "f\u0022":-1.5e3,"":{} } `, "{\t\"a\"\n:\r1}",
		`{"a":"\\","b":"\"","c":"\u00e9\ud83d\ude00"}`, `{"a":[[],[]],"b":{"c":{"d":"{"}},"e":true}`, `{"a":1 ,"b":2 }`,
	} {
		f.Add([]byte(seed))
	}
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		if CheckJSON(b) != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil {
			t.Skip() // a number that is out of bounds
		}
		got := 0
		whole := Value(bytes.TrimSpace(b))
		if !whole.Object(func(name string, v Value) bool {
			got++
			if string(want[name]) != string(v) {
				t.Errorf("%q is %q, want %q", name, v, want[name])
			}
			var text *string
			isText := json.Unmarshal([]byte(v), &text) == nil && text != nil
			if s, ok := v.Text(); ok != isText || ok && s != *text {
				t.Errorf("%q is the text %q %v", name, s, ok)
			}
			return true
		}) {
			t.Error("not an object")
		}
		if got != len(want) {
			t.Errorf("%d members, want %d", got, len(want))
		}
	})
}
