package document

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Displayable reports whether s can be shown to a custodian without showing
// something else than what it is: at most max characters, no controls but line
// feed, nothing invisible or bidirectional, no word that mixes scripts which
// look alike, no second spelling of an accent (NFC): a name would be another one
// for the rules that compare it.
func Displayable(s string, max int) bool {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > max || !norm.NFC.IsNormalString(s) {
		return false
	}
	for _, r := range s {
		if r != '\n' && !unicode.IsGraphic(r) {
			return false
		}
	}
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if scripts(word) > 1 {
			return false
		}
	}
	return true
}

// scripts counts which of the three scripts that share letter shapes occur.
func scripts(word string) int {
	n := 0
	for _, script := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek} {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.Is(script, r) }) {
			n++
		}
	}
	return n
}

// Blank reports whether any text has nothing to read in it.
func Blank(texts ...string) bool {
	for _, s := range texts {
		if strings.TrimSpace(s) == "" {
			return true
		}
	}
	return false
}

// Fold makes two spellings of one name equal: case and spacing do not count.
func Fold(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// Printable replaces control characters and direction marks, line feeds left
// out: text from elsewhere must not move the cursor or turn a sentence round
// (ATTACKS X18, L24).
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return '\uFFFD'
		}
		return r
	}, s)
}
