package token

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/penname/penname/verifier/refusal"
)

// goodContent is the shortest of each type that its mark takes.
var goodContent = map[string][]byte{
	"text/plain":      []byte("a threat"),
	"application/pdf": []byte("%PDF-2.0\n"),
	"image/gif":       []byte("GIF89a"),
	"image/jpeg":      []byte("\xff\xd8\xff\xe0"),
	"image/png":       []byte("\x89PNG\r\n\x1a\n"),
	"image/webp":      []byte("RIFF\x04\x00\x00\x00WEBPVP8 "),
	"audio/mp4":       []byte("\x00\x00\x00\x10ftypM4A "),
	"audio/mpeg":      []byte("\xff\xfb\x90\x00"),
	"audio/ogg":       []byte("OggS\x00"),
	"audio/wav":       []byte("RIFF\x04\x00\x00\x00WAVE"),
	"video/mp4":       []byte("\x00\x00\x00\x10ftypisom"),
	"video/webm":      []byte("\x1a\x45\xdf\xa3"),
}

// withExhibits is good evidence of version 2: a text and a picture.
func withExhibits(token string) Evidence {
	e := goodEvidence(token)
	e.Version, e.Post.Digest = EvidenceVersion, [32]byte{}
	for _, name := range []string{"text/plain", "image/png"} {
		e.Post.Exhibits = append(e.Post.Exhibits, declared(name, goodContent[name]))
	}
	return e
}

// declared is what a platform says that checks nothing.
func declared(name string, content []byte) Exhibit {
	return Exhibit{Type: name, Digest: sha256.Sum256(content), Length: int64(len(content))}
}

// Each type takes its own bytes and refuses those of every other, but for the two that one
// container has.
func TestExhibitTypes(t *testing.T) {
	sameForm := map[string]string{"audio/mp4": "video/mp4", "video/mp4": "audio/mp4"}
	for _, name := range ExhibitTypes() {
		for of, content := range goodContent {
			x, err := NewExhibit(name, iotest.OneByteReader(bytes.NewReader(content)))
			checked := declared(name, content).Check(content)
			isText := utf8.Valid(content) && bytes.IndexByte(content, 0) < 0 // a short piece may be both
			if name == of || sameForm[name] == of || name == "text/plain" && isText {
				if err != nil || x != declared(name, content) || checked != nil {
					t.Errorf("%s as %s: %+v, %v, %v", of, name, x, err, checked)
				}
				continue
			}
			if x != (Exhibit{}) || !errors.Is(err, ErrExhibitContent) || !errors.Is(checked, ErrExhibitContent) {
				t.Errorf("%s as %s: %+v, %v, %v", of, name, x, err, checked)
			}
		}
	}
}

// inUTF16 is a text as a Windows program saves it.
func inUTF16(s string) []byte {
	b := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(s)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return b
}

func TestHostileExhibits(t *testing.T) {
	zip := []byte("PK\x03\x04\x14\x00\x00\x00\x08\x00")
	svg := []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)
	for name, row := range map[string]struct {
		mediaType string
		content   []byte
		want      *refusal.Error
	}{
		"SVG":                               {"image/svg+xml", svg, ErrExhibitType},
		"SVG as a picture":                  {"image/png", svg, ErrExhibitContent},
		"HTML":                              {"text/html", []byte("<script>"), ErrExhibitType},
		"HTML as PDF":                       {"application/pdf", []byte("<html>%PDF-"), ErrExhibitContent},
		"an archive":                        {"application/zip", zip, ErrExhibitType},
		"an archive as PDF":                 {"application/pdf", append(bytes.Clone(zip), "%PDF-1.7"...), ErrExhibitContent},
		"an archive as a text":              {"text/plain", zip, ErrExhibitContent},
		"gzip as a picture":                 {"image/jpeg", []byte("\x1f\x8b\x08\x00"), ErrExhibitContent},
		"a program as a film":               {"video/mp4", []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00"), ErrExhibitContent},
		"a type with a parameter":           {"text/plain; charset=utf-16", []byte("x"), ErrExhibitType},
		"a type in capitals":                {"Text/Plain", []byte("x"), ErrExhibitType},
		"no type":                           {"", []byte("x"), ErrExhibitType},
		"UTF-16":                            {"text/plain", inUTF16("a threat"), ErrExhibitContent},
		"UTF-16 in Greek, with no NUL":      {"text/plain", inUTF16("απειλή"), ErrExhibitContent},
		"Latin-1":                           {"text/plain", []byte("Sch\xf6n"), ErrExhibitContent},
		"an overlong slash":                 {"text/plain", []byte("a\xc0\xafb"), ErrExhibitContent},
		"an overlong NUL":                   {"text/plain", []byte("a\xc0\x80b"), ErrExhibitContent},
		"half a surrogate":                  {"text/plain", []byte("a\xed\xa0\x80b"), ErrExhibitContent},
		"beyond Unicode":                    {"text/plain", []byte("a\xf4\x90\x80\x80b"), ErrExhibitContent},
		"a character that does not end":     {"text/plain", []byte("a\xe2\x82"), ErrExhibitContent},
		"a NUL":                             {"text/plain", []byte("a\x00b"), ErrExhibitContent},
		"empty":                             {"text/plain", nil, ErrNoContent},
		"an empty picture":                  {"image/png", nil, ErrNoContent},
		"a picture that ends in its mark":   {"image/png", []byte("\x89PNG"), ErrExhibitContent},
		"a text that is too large":          {"text/plain", bytes.Repeat([]byte("a"), MaxTextExhibit+1), ErrExhibitTooLarge},
		"a picture that is too large":       {"image/gif", append([]byte("GIF89a"), make([]byte, MaxExhibit)...), ErrExhibitTooLarge},
		"the largest text":                  {"text/plain", bytes.Repeat([]byte("a"), MaxTextExhibit), nil},
		"the largest picture":               {"image/gif", append([]byte("GIF89a"), make([]byte, MaxExhibit-6)...), nil},
		"a text that turns round":           {"text/plain", []byte("a\u202ethreat"), nil}, // a person may publish it; whoever shows it writes it out
		"PDF with a script, not looked for": {"application/pdf", []byte("%PDF-1.7\n<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>"), nil},
		"a picture with an archive behind":  {"image/gif", append([]byte("GIF89a"), zip...), nil}, // not looked for
	} {
		t.Run(name, func(t *testing.T) {
			x, err := NewExhibit(row.mediaType, bytes.NewReader(row.content))
			checked := declared(row.mediaType, row.content).Check(row.content)
			if row.want == nil {
				if err != nil || checked != nil || x != declared(row.mediaType, row.content) {
					t.Errorf("got %+v, %v, %v", x, err, checked)
				}
				return
			}
			expectRefusal(t, err, row.want)
			expectRefusal(t, checked, row.want)
		})
	}
}

func TestExhibitIsTheOneThatWasSigned(t *testing.T) {
	content := goodContent["text/plain"]
	x := declared("text/plain", content)
	for name, other := range map[string][]byte{"another": []byte("b threat"), "longer": []byte("a threat "), "shorter": content[1:], "nothing": nil} {
		if err := x.Check(other); !errors.Is(err, ErrExhibitMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	x.Length++ // of a digest that is right
	expectRefusal(t, x.Check(content), ErrExhibitMismatch)
	failing := errors.New("the disk is gone")
	if _, err := NewExhibit("text/plain", iotest.ErrReader(failing)); !errors.Is(err, failing) {
		t.Errorf("got %v", err)
	}
	// Characters of every length, cut at every place.
	text := strings.Repeat("aé€😀", 3)
	for cut := range len(text) {
		form := &exhibitForm{}
		for _, part := range []string{text[:cut], text[cut:]} {
			if _, err := form.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if !form.good() {
			t.Errorf("cut at %d it is no UTF-8", cut)
		}
	}
}
