package token

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// MentionedIn reports whether a text names p, by a [Handle] or the whole pen name: in
// capitals or other styles of letters, with accents, with characters between its own that
// are seen or not, or with characters that look alike. It is for a platform that spares
// people what they do not want to read. So it rather finds too much: the check character of
// a handle may be missing. It does not know every character that looks like another.
func (p Pseudonym) MentionedIn(text string) bool {
	if len(p) != pseudonymLen {
		return false
	}
	name := string(p)[len(prefix):][:MinHandle]
	return strings.Contains(skeleton(text), skeleton(name))
}

// alike replaces what looks like a character of a pen name, which has no b, i, o and 1.
var alike = strings.NewReplacer("1", "l", "i", "l", "ı", "l", "і", "l", "ӏ", "l", "o", "0", "о", "0", "ο", "0", "а", "a", "α", "a", "с", "c", "ԁ", "d",
	"е", "e", "ε", "e", "ɡ", "g", "һ", "h", "ј", "j", "к", "k", "κ", "k", "м", "m", "п", "n", "р", "p", "ρ", "p", "ԛ", "q", "г", "r", "ѕ", "s", "т", "t",
	"ս", "u", "υ", "u", "ν", "v", "ѵ", "v", "ԝ", "w", "х", "x", "χ", "x", "у", "y")

// skeleton is what a text has of characters of pen names, and of what looks like them. It
// takes each character by itself, so that nothing beside a name can hide it.
func skeleton(text string) string {
	lower := strings.Map(unicode.ToLower, norm.NFKD.String(text))
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(alphabet, r) {
			return r
		}
		return -1
	}, alike.Replace(lower))
}
