package document

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// LineWidth is how many columns a line of a stranger's text has, with its mark: no terminal
// breaks it, so that none of it stands at the margin.
const LineWidth = 78

// Folded breaks the lines of a text, the first behind first and all others behind next, where
// they are wider than a terminal.
func Folded(first, next, text string) string {
	var out strings.Builder
	var line []byte
	for whole := range strings.SplitSeq(text, "\n") {
		line = append(line[:0], first...)
		at, from := utf8.RuneCountInString(first), utf8.RuneCountInString(next)
		first = next
		fold := func(wide int) {
			if at+wide > LineWidth && at > from {
				out.Write(bytes.TrimRight(line, " "))
				out.WriteByte('\n')
				line, at = append(line[:0], next...), from
			}
		}
		for word := range strings.SplitAfterSeq(strings.ReplaceAll(whole, "\t", " "), " ") {
			wide := 0
			for _, r := range strings.TrimSuffix(word, " ") {
				wide += Columns(r)
			}
			fold(wide)
			for _, r := range word {
				if r == ' ' && at >= LineWidth {
					continue // the line ends here
				}
				fold(Columns(r))
				line, at = utf8.AppendRune(line, r), at+Columns(r)
			}
		}
		out.Write(line)
		out.WriteByte('\n')
	}
	return out.String()
}

// Columns is how many a character takes on a terminal.
func Columns(r rune) int {
	if r < 0x300 {
		return 1
	}
	switch kind := width.LookupRune(r).Kind(); {
	case unicode.IsMark(r):
		return 0
	case kind == width.EastAsianWide, kind == width.EastAsianFullwidth, r > 0xFFFF: // emoji are wide
		return 2
	}
	return 1
}
