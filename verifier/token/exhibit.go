package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// Limits of what evidence may declare, in bytes.
const (
	MaxExhibit     = 20 << 20 // a piece of any type
	MaxTextExhibit = 1 << 20  // a text
)

// Exhibit is one piece of what was published: a text in UTF-8, a picture, a sound, a
// film, or the page as PDF.
type Exhibit struct {
	Type   string   // media type, one of ExhibitTypes, without parameters
	Digest [32]byte // SHA-256 of the bytes as published
	Length int64    // bytes, at least one
}

// Name is the digest in lower case hexadecimal: of the file in a folder of exhibits too.
func (x Exhibit) Name() string { return hex.EncodeToString(x.Digest[:]) }

// exhibitTypes are all that are taken, with how their bytes begin; a text has no such mark.
// Nothing that runs (HTML, SVG) and nothing that holds other files: what a custodian opens
// must be what they see.
var exhibitTypes = map[string]func(head []byte) bool{
	"text/plain":      nil,
	"application/pdf": mark(0, "%PDF-"),                             // ISO 32000-2, 7.5.2
	"image/gif":       either(mark(0, "GIF87a"), mark(0, "GIF89a")), // GIF89a, 17
	"image/jpeg":      mark(0, "\xff\xd8\xff"),                      // ITU-T T.81, B.1.1.3
	"image/png":       mark(0, "\x89PNG\r\n\x1a\n"),                 // PNG, 5.2
	"image/webp":      both(mark(0, "RIFF"), mark(8, "WEBPVP8")),    // RFC 9649, 2.4
	"audio/mp4":       mark(4, "ftyp"),                              // ISO/IEC 14496-12, 4.3
	"audio/mpeg":      either(mark(0, "ID3"), mpegFrame),            // ISO/IEC 11172-3, 2.4.1.3
	"audio/ogg":       mark(0, "OggS\x00"),                          // RFC 3533, 6
	"audio/wav":       both(mark(0, "RIFF"), mark(8, "WAVE")),       // RFC 2361, 3
	"video/mp4":       mark(4, "ftyp"),                              // ISO/IEC 14496-12, 4.3
	"video/webm":      mark(0, "\x1a\x45\xdf\xa3"),                  // RFC 8794, 11.2.1
}

// headBytes is how much of a piece the marks look at.
const headBytes = 16

func mark(at int, s string) func([]byte) bool {
	return func(head []byte) bool { return len(head) >= at && bytes.HasPrefix(head[at:], []byte(s)) }
}

func either(a, b func([]byte) bool) func([]byte) bool {
	return func(head []byte) bool { return a(head) || b(head) }
}

func both(a, b func([]byte) bool) func([]byte) bool {
	return func(head []byte) bool { return a(head) && b(head) }
}

// mpegFrame is the header of a frame of layer III, with a bit rate and a sampling rate.
func mpegFrame(head []byte) bool {
	return len(head) >= 4 && head[0] == 0xff && head[1]&0xe6 == 0xe2 && head[2]&0xf0 != 0xf0 && head[2]&0x0c != 0x0c
}

// ExhibitTypes are the media types that an exhibit may have, sorted.
func ExhibitTypes() []string { return slices.Sorted(maps.Keys(exhibitTypes)) }

// NewExhibit reads content through once and says what it is. It refuses it with
// [ErrExhibitType], [ErrExhibitTooLarge], [ErrExhibitContent] or [ErrNoContent], and
// fails as content does.
func NewExhibit(mediaType string, content io.Reader) (Exhibit, error) {
	x := Exhibit{Type: mediaType}
	mark, ok := exhibitTypes[mediaType]
	if !ok {
		return Exhibit{}, ErrExhibitType
	}
	sum, form := sha256.New(), &exhibitForm{mark: mark}
	n, err := io.Copy(io.MultiWriter(form, sum), io.LimitReader(content, x.limit()+1))
	if err != nil {
		return Exhibit{}, err
	}
	x.Length = n
	if err := x.allowed(); err != nil {
		return Exhibit{}, err
	}
	if !form.good() {
		return Exhibit{}, ErrExhibitContent
	}
	x.Digest = [32]byte(sum.Sum(nil))
	return x, nil
}

// Check compares what was handed over with what the evidence declares: the length, the
// digest, and that the bytes are of the declared type, as far as their beginning shows
// it; a text is read to its end. It refuses with [ErrExhibitMismatch], [ErrExhibitContent]
// and what the declaration itself is refused with.
func (x Exhibit) Check(content []byte) error {
	if err := x.allowed(); err != nil {
		return err
	}
	if int64(len(content)) != x.Length || sha256.Sum256(content) != x.Digest {
		return ErrExhibitMismatch
	}
	form := &exhibitForm{mark: exhibitTypes[x.Type]}
	_, _ = form.Write(content) // only in memory
	if !form.good() {
		return ErrExhibitContent
	}
	return nil
}

func (x Exhibit) limit() int64 {
	if exhibitTypes[x.Type] == nil {
		return MaxTextExhibit
	}
	return MaxExhibit
}

// allowed judges what an exhibit declares.
func (x Exhibit) allowed() error {
	switch _, ok := exhibitTypes[x.Type]; {
	case !ok:
		return ErrExhibitType
	case x.Length == 0:
		return ErrNoContent
	case x.Length > x.limit():
		return ErrExhibitTooLarge
	}
	return nil
}

// exhibitForm looks at the bytes of a piece as they pass.
type exhibitForm struct {
	mark func(head []byte) bool
	head []byte // of the piece, or the bytes of a character of a text that is not whole yet
	bad  bool   // a text that is not UTF-8, or has a NUL in it
}

// Write implements io.Writer.
func (f *exhibitForm) Write(p []byte) (int, error) {
	if f.mark != nil {
		f.head = append(f.head, p[:min(len(p), headBytes-len(f.head))]...)
		return len(p), nil
	}
	rest := p
	for len(f.head) > 0 && len(rest) > 0 && !utf8.FullRune(f.head) {
		f.head, rest = append(f.head, rest[0]), rest[1:]
	}
	if utf8.FullRune(f.head) {
		f.bad, f.head = f.bad || !utf8.Valid(f.head), nil
	}
	whole := len(rest)
	for n := 1; n < utf8.UTFMax && n <= len(rest); n++ { // a character that the next bytes complete
		if last := rest[len(rest)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				whole -= n
			}
			break
		}
	}
	f.bad = f.bad || !utf8.Valid(rest[:whole]) || bytes.IndexByte(rest, 0) >= 0
	f.head = append(f.head, rest[whole:]...)
	return len(p), nil
}

// good is asked after the last byte.
func (f *exhibitForm) good() bool {
	if f.mark != nil {
		return f.mark(f.head)
	}
	return !f.bad && len(f.head) == 0
}
