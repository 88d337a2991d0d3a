package document

import (
	"bytes"
	"testing"

	"github.com/go-jose/go-jose/v4/json"
)

// FuzzValue holds Value to what package json reads from the same text.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":"b"}`, ` { "a" : "b" , "c" : null , "d":[1,{"e":"}"},"]"], "f\u0022":-1.5e3,"":{} } `, "{\t\"a\"\n:\r1}",
		`{"a":"\\","b":"\"","c":"\u00e9\ud83d\ude00"}`, `{"a":[[],[]],"b":{"c":{"d":"{"}},"e":true}`, `{"a":1 ,"b":2 }`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
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
