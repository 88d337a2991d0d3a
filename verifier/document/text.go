package document

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// Displayable reports whether s can be shown to a custodian without showing
// something else than what it is: at most max characters, no controls but line
// feed, nothing invisible or bidirectional, no word that mixes scripts which
// look alike, no second spelling of an accent (NFC): a name would be another one
// for the rules that compare it.
func Displayable(s string, max int) bool {
	if printable(s) { // and hides nothing
		return len(s) <= max
	}
	return utf8.RuneCountInString(s) <= max && obstacle(s) == len(s)
}

// Obstacle says for which character a text is not [Displayable], counting from 1, and which
// it is; 0 if for none.
func Obstacle(s string) (place int, r rune) {
	at := obstacle(s)
	if at == len(s) {
		return 0, 0
	}
	r, _ = utf8.DecodeRuneInString(s[at:])
	return utf8.RuneCountInString(s[:at]) + 1, r
}

// obstacle is where the first character is that cannot be shown, or the end of s. Of a word
// that mixes scripts it is the first letter that is not Latin.
func obstacle(s string) int {
	first := len(s)
	var segments norm.Iter
	for segments.InitString(norm.NFC, s); !segments.Done() && first == len(s); {
		if from := segments.Pos(); string(segments.Next()) != s[from:segments.Pos()] {
			first = from
		}
	}
	hidden := func(i int, r rune) bool {
		return r != '\n' && !unicode.IsGraphic(r) || r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError))
	}
	for i, r := range s[:first] {
		if hidden(i, r) {
			first = i
			break
		}
	}
	from := 0
	for word := range strings.FieldsFuncSeq(s[:first], func(r rune) bool { return !unicode.IsLetter(r) }) {
		from += strings.Index(s[from:], word)
		if scripts(word) > 1 {
			return from + strings.IndexFunc(word, func(r rune) bool { return unicode.In(r, unicode.Cyrillic, unicode.Greek) })
		}
		from += len(word)
	}
	return first
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

// Fold makes spellings of one name equal: case, spacing, composed or decomposed
// accents, width and ligatures, and what is invisible do not count. It is the
// canonical form by which people, parties and organisations are compared.
//
// The Unicode Standard 17.0, 3.13, D147, "identifier caseless match":
// toNFKC_Casefold(NFD(X)), with D146's NFKD in place of NFD; and spaces joined as RFC 8266,
// 2.1 does. A character that stands for two is taken apart before what is invisible goes:
// that can keep two marks from changing places. Folding can
// undo a composition and composing can undo a folding, so both are repeated until
// nothing changes (RFC 8266, 2.3): Fold(Fold(s)) is Fold(s).
func Fold(s string) string {
	if printable(s) {
		return strings.Join(strings.Fields(strings.ToLower(s)), " ")
	}
	for range 8 { // no character needs more than three
		lower := strings.ToLower(visible(norm.NFKD.String(s))) // the Cherokee capitals that package cases exchanges with the small ones
		folded := strings.Join(strings.Fields(norm.NFKC.String(cases.Fold().String(lower))), " ")
		if folded == s {
			break
		}
		s = folded
	}
	return s
}

// Written reports whether s is one line of text as people write it, in any script
// and with any space between words: the FreeformClass of RFC 8264, 4.3, by the
// profile for texts that are kept as they came (RFC 8265, 4.2). It has no controls
// and nothing invisible, but what a script needs to join letters. Variation selectors,
// which registers of names in Japan use, are let through: [Fold] drops them.
func Written(s string) bool {
	_, err := precis.OpaqueString.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Variation_Selector, r) {
			return -1
		}
		return r
	}, s))
	return err == nil
}

// visible drops what has no width and no meaning of its own, as NFKC_Casefold
// does: joiners, direction marks, soft hyphens, variation selectors.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, s)
}

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

// maxMarks is how many accents are shown on one letter. No script needs more, and a
// heap of them covers the lines above.
const maxMarks = 4

// Visible makes a stranger's text safe to read on a terminal, and shows what hides in
// it: controls but line feed and tab, direction marks, what has no width, accents heaped
// on one letter and bytes that are no UTF-8 are written as what they are, "‹U+202E›";
// so are the Cyrillic and Greek letters of a word that has Latin ones too, and the Greek
// ones of a Cyrillic word; and a whole word in Cyrillic or Greek letters that look like
// Latin ones, in a text that has Latin words and no other words in that script. Joiners stay
// where a script or an emoji needs them.
func Visible(s string) string {
	var out strings.Builder
	s = strings.ReplaceAll(s, "\r\n", "\n")
	disguised := disguises(s)
	before, marks, wordEnds, foreign := ' ', 0, 0, noLetter
	for i, r := range s {
		if i >= wordEnds {
			word := s[i : i+wordLength(s[i:])]
			wordEnds, foreign = i+len(word), foreignIn(word)
			if disguised && looksLatin(word) {
				foreign = unicode.IsLetter
			}
		}
		marks++
		if !unicode.IsMark(r) {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&out, "‹0x%02X›", s[i])
		case hidden(before, r), foreign(r), marks > maxMarks:
			fmt.Fprintf(&out, "‹U+%04X›", r)
		default:
			out.WriteRune(r)
		}
		before = r
	}
	return out.String()
}

// wordLength is how many bytes at the beginning of s are one word; 0: none begins there.
func wordLength(s string) int {
	end := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) && !joiner(r) })
	if end < 0 {
		return len(s)
	}
	return end
}

// latinLooks are the Cyrillic and Greek letters that are written as Latin ones are (Unicode
// Technical Standard 39, confusables).
const latinLooks = "аеорсухіјѕһԁԛԝАВЕКМНОРСТУХІЈЅԚԜ" + "ονΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"

// looksLatin reports whether a word of two letters or more has only such letters.
func looksLatin(word string) bool {
	n := 0
	for _, r := range word {
		if !strings.ContainsRune(latinLooks, r) {
			return false
		}
		n++
	}
	return n > 1
}

// disguises reports whether the words of a text that are not Latin all look like Latin ones,
// beside words that are.
func disguises(s string) bool {
	latin, disguised := false, false
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return !unicode.IsLetter(r) }) {
		switch {
		case looksLatin(word):
			disguised = true
		case strings.Contains(latinLooks, word): // a letter alone says nothing
		case scripts(word) == 1 && !strings.ContainsFunc(word, func(r rune) bool { return unicode.Is(unicode.Latin, r) }):
			return false
		case scripts(word) == 1:
			latin = true
		}
	}
	return latin && disguised
}

func joiner(r rune) bool { return r == '\u200C' || r == '\u200D' }

func noLetter(rune) bool { return false }

// foreignIn returns which letters of a word are not of its script.
func foreignIn(word string) func(rune) bool {
	if scripts(word) < 2 {
		return noLetter
	}
	latin := strings.ContainsFunc(word, func(r rune) bool { return unicode.Is(unicode.Latin, r) })
	return func(r rune) bool { return unicode.Is(unicode.Greek, r) || latin && unicode.Is(unicode.Cyrillic, r) }
}

// hidden reports whether r is not seen, or turns what is, unless it joins an emoji or
// the letters of a script that has joiners.
func hidden(before, r rune) bool {
	emoji := unicode.IsSymbol(before) || before == '\uFE0F'
	switch {
	case r == '\n', r == '\t':
		return false
	case r == '\uFE0F': // shows the sign before it as a picture
		return !emoji && !unicode.IsDigit(before)
	case joiner(r):
		return !emoji && (!unicode.IsLetter(before) && !unicode.IsMark(before) || scripts(string(before)) > 0)
	case r == '\u2800': // a sign without dots
		return true
	}
	return !unicode.IsGraphic(r) || unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}
