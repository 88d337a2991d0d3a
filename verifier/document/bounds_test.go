package document

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// What goes over a bound fails before it can be decoded; what is inside a string
// separates nothing.
func TestBounds(t *testing.T) {
	b := Bounds{Bytes: 60, Values: 4, Text: 12}
	for text, fits := range map[string]bool{
		`{"a":["b","c"]}`:                        true,
		`{"a":["b","c","d"]}`:                    false,
		`[[[[[`:                                  false,
		`["[{,:,[{\",:,["]`:                      false, // 13 bytes of text
		`["[{,:,\",:,"]`:                         true,
		`["\\","a","b"]`:                         true,
		`["\\","a","b","c","d"]`:                 false,
		`[123456789012]`:                         true,
		`[1234567890123]`:                        false,
		`["a","a"]` + strings.Repeat("\n", 13):   false,
		`["` + strings.Repeat(`","`, 1_000_000):  false,
		`["a"` + strings.Repeat(`         "`, 6): false,
	} {
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			got, err := io.ReadAll(b.Reader(r))
			if fits && (err != nil || string(got) != text) || !fits && !errors.Is(err, TooLarge) || len(got) > 60 {
				t.Errorf("%.60s: %d bytes, %v", text, len(got), err)
			}
		}
	}
}
