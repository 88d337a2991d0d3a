package token

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

// FuzzExhibit: of whatever bytes, read in whatever pieces, one of the types is said or one
// of the refusals; what was said is what Check takes, and nothing else is.
func FuzzExhibit(f *testing.F) {
	types := ExhibitTypes()
	for i, head := range []string{"", "text \xe2\x80\x93 and \U0001F600", "\xe2\x80", "a\x00b", "%PDF-1.7", "GIF89a", "\xff\xd8\xff\xe0", "\x89PNG\r\n\x1a\n", "RIFF\x00\x00\x00\x00WEBPVP8 ",
		"RIFF\x00\x00\x00\x00WAVE", "\x00\x00\x00\x18ftypmp42", "ID3\x04", "\xff\xfb\x90\x00", "OggS\x00", "\x1aE\xdf\xa3", "PK\x03\x04", "<svg onload=alert(1)>"} {
		for n := range types { // each mark under its own type and under others
			if (n+i)%3 == 0 {
				f.Add([]byte(head), uint8(n))
			}
		}
	}
	f.Add([]byte("text \xe2\x80\x93 \U0001F600"), uint8(len(types)))
	fuzzing.Run(f, func(t *testing.T, content []byte, n uint8) {
		mediaType := "image/svg+xml"
		if int(n) < len(types) {
			mediaType = types[n]
		}
		x, err := NewExhibit(mediaType, bytes.NewReader(content))
		slow, slowErr := NewExhibit(mediaType, iotest.OneByteReader(bytes.NewReader(content)))
		if x != slow || !errors.Is(slowErr, err) {
			t.Fatalf("read at once: %v, %v; byte by byte: %v, %v", x, err, slow, slowErr)
		}
		if err != nil {
			if x != (Exhibit{}) || refusalCode(err) == "" {
				t.Fatalf("%v, %v", x, err)
			}
			return
		}
		if mediaType == "text/plain" && (!utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0) {
			t.Fatalf("%q is a text", content)
		}
		if err := x.Check(content); err != nil {
			t.Fatal(err)
		}
		for _, other := range [][]byte{nil, append(bytes.Clone(content), 0), content[:len(content)-1], append([]byte{content[0] ^ 1}, content[1:]...)} {
			if err := x.Check(other); !errors.Is(err, ErrExhibitMismatch) {
				t.Fatalf("%q for %q: %v", other, content, err)
			}
		}
	})
}
