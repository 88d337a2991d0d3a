package document

import (
	"bytes"
	stdjson "encoding/json"
	"testing"
	"unicode/utf8"

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

// FuzzCanonical holds Canonical to the same text read as a tree and written again, which
// sorts members and takes the last of those with one name.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{"b":1,"a":[],"":{}}`, `[{"b":[1,{"z":null,"a":true}],"a":"<&>\u2028\u003c\/\b\f\u0000\u007f"}]`, `{"a":1,"b":2,"\u0061":3}`, `"é\ud83d\ude00\ud800"`,
		`{"é":1.50,"e":-0,"f":1E5,"z":",","y":"]}","x":"\\"}`, "{\"\xe2\x80\xa8\" : [ [ ] , { } ] }", `{"a":{"a":2,"a":{}}}`,
		`"line\n\t\"\\\r\b\f"`, `["\/","\u000a\n","\\u000a","\\\u0041"]`,
	} {
		f.Add([]byte(seed))
	}
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		dec := stdjson.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		var tree any
		if !utf8.Valid(b) || !stdjson.Valid(b) || dec.Decode(&tree) != nil {
			return
		}
		var want bytes.Buffer
		enc := stdjson.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(tree); err != nil {
			t.Fatal(err)
		}
		got, err := Canonical(stdjson.RawMessage(b))
		if err == TooComplex {
			return
		}
		if err != nil || string(got)+"\n" != want.String() {
			t.Fatalf("%q is written as %q, want %q: %v", b, got, want.String(), err)
		}
	})
}
