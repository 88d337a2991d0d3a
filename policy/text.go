package policy

import (
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

var (
	idPattern           = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?$`)
	warrantIDPattern    = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?$`)
	wordPattern         = regexp.MustCompile(`^[a-z][a-z0-9]*([._-][a-z0-9]+)*$`)
	hashPattern         = regexp.MustCompile(`^[0-9a-f]{64}$`)
	tellingPattern      = regexp.MustCompile(`[0-9]{4}|pen1`)
	jurisdictionPattern = regexp.MustCompile(`^[A-Z]{2}(-[A-Z0-9]{1,3})?$`) // ISO 3166-1 alpha-2, or 3166-2
)

// word reports whether s may stand in the public log as the name of a custodian,
// an offence class or a reason: verifier/proof refuses to log anything else, so a
// case with another name could never be filed. Four digits in a row could be a
// date of birth, and pen1 begins a pen name.
func word(s string) bool {
	return len(s) <= 64 && wordPattern.MatchString(s) && !tellingPattern.MatchString(s)
}

// displayable reports whether s can be shown to a custodian without showing
// something else than what it is: at most max characters, no controls but line
// feed, nothing invisible or bidirectional, no word that mixes scripts which
// look alike, no second spelling of an accent (NFC): a name would be another one
// for the rules that compare it.
func displayable(s string, max int) bool {
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

// blank reports whether any text has nothing to read in it.
func blank(texts ...string) bool {
	for _, s := range texts {
		if strings.TrimSpace(s) == "" {
			return true
		}
	}
	return false
}

// fold makes two spellings of one name equal: case and spacing do not count.
func fold(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// seconds is the normal form of a time in a document.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// plausible reports whether t can stand in a document: RFC 3339 has four digits
// for the year.
func plausible(t time.Time) bool { return t.Year() >= 2000 && t.Year() <= 9999 }
