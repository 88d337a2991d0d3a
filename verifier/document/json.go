package document

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth is how deep JSON objects and arrays may be nested.
const maxDepth = 16

var base64url = base64.RawURLEncoding.Strict()

// DecodeBase64 decodes base64url strictly: no padding, no line breaks (which
// encoding/base64 skips silently), unused bits zero, not empty (RFC 7515, 2). The
// error is [Malformed].
func DecodeBase64(s string) ([]byte, error) {
	if s == "" || strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 {
		return nil, Malformed
	}
	b, err := base64url.DecodeString(s)
	if err != nil {
		return nil, Malformed
	}
	return b, nil
}

// Canonical encodes v as RFC 8785 does: members sorted, no white space, no
// needless escapes. Every number in our formats is an integer, and member names
// are ASCII. U+2028 and U+2029, which encoding/json escapes and RFC 8785 does
// not, are refused in every text by [Displayable]. It fails as package json does, with
// [Malformed] for raw JSON that is not UTF-8, and with [TooComplex] for more than 16 levels.
func Canonical(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := stdjson.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	written := Value(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
	switch {
	case !utf8.ValidString(string(written)): // as raw JSON can be
		return nil, Malformed
	case written.depth() > maxDepth:
		return nil, TooComplex
	}
	return written.appendCanonical(make([]byte, 0, len(written))), nil
}

// CheckJSON checks that b is one JSON object in UTF-8 (RFC 8725, section 3.7),
// without duplicate members (RFC 7515, section 4), lone surrogates or more than
// 16 levels. The error is [Malformed] or [TooComplex].
func CheckJSON(b []byte) error {
	if !utf8.Valid(b) || !stdjson.Valid(b) || loneSurrogate(b) || bytes.TrimLeft(b, " \t\r\n")[0] != '{' {
		return Malformed
	}
	// From here on b is a JSON object, so that only brackets, commas and strings matter.
	var few [2 * fewNames]string
	v := Value(b)
	open := names{short: few[:0]}
	name := false // the next string is a member's name
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '{', '[':
			if open.depth == maxDepth {
				return TooComplex
			}
			name = v[i] == '{'
			open.begin(name)
		case '}', ']':
			open.end()
			name = false
		case ',':
			name = open.object[open.depth]
		case '"':
			end := v.stringEnd(i)
			if name {
				if text, _ := v[i:end].Text(); !open.add(text) { // "sub" and "s\u0075b" are one name
					return Malformed
				}
				name = false
			}
			i = end - 1
		}
	}
	return nil
}

// names are those of the objects that are open while a text is read, the innermost
// last. Depth 0 is outside of all.
type names struct {
	depth  int
	object [maxDepth + 1]bool            // it is an object, and no array
	first  [maxDepth + 1]int             // where its names begin in short
	many   [maxDepth + 1]map[string]bool // all of its names, once they are more than a few
	short  []string
}

// fewNames are compared one by one, without a map.
const fewNames = 16

func (n *names) begin(object bool) {
	n.depth++
	n.object[n.depth], n.first[n.depth], n.many[n.depth] = object, len(n.short), nil
}

func (n *names) end() {
	n.short = n.short[:n.first[n.depth]]
	n.depth--
}

// add reports whether the name is new in the innermost object.
func (n *names) add(name string) bool {
	if many := n.many[n.depth]; many != nil {
		before := many[name]
		many[name] = true
		return !before
	}
	own := n.short[n.first[n.depth]:]
	if slices.Contains(own, name) {
		return false
	}
	if n.short = append(n.short, name); len(own) < fewNames {
		return true
	}
	n.many[n.depth] = make(map[string]bool)
	for _, name := range n.short[n.first[n.depth]:] {
		n.many[n.depth][name] = true
	}
	return true
}

// loneSurrogate reports whether an escape sequence in b is half a UTF-16 pair,
// which Go's decoders would replace silently.
func loneSurrogate(b []byte) bool {
	for i := bytes.IndexByte(b, '\\'); i >= 0 && i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		i++
		switch u, ok := escape(b, i); {
		case !ok || u < 0xd800 || u > 0xdfff:
			continue
		case u >= 0xdc00:
			return true
		}
		if low, ok := escape(b, i+6); !ok || b[i+5] != '\\' || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 10
	}
	return false
}

// escape reads uXXXX at b[i:].
func escape(b []byte, i int) (u uint32, ok bool) {
	if i+5 > len(b) || b[i] != 'u' {
		return 0, false
	}
	for _, c := range b[i+1 : i+5] {
		switch {
		case '0' <= c && c <= '9':
			u = u<<4 | uint32(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			u = u<<4 | uint32(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return u, true
}

// LastSecond is the end of the year 9999.
const LastSecond = 253402300799

// NumericDate reads a NumericDate (RFC 7519, section 2): a JSON number of
// seconds, perhaps with a fraction, which is cut off. Nothing before 1970 or
// after the year 9999 is a time here.
func NumericDate[T ~[]byte | ~string](raw T) (time.Time, bool) {
	if len(raw) == 0 || raw[0] < '0' || raw[0] > '9' {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(string(raw), 64) // a number of JSON is one of Go
	if err != nil || seconds > LastSecond {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0).UTC(), true
}
