package document

import (
	"testing"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// X18: text from elsewhere moves no cursor and turns no sentence round.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"Ada Łuk\nÉa":              "Ada Łuk\nÉa",
		"\x1b[2Jgone":              "\uFFFD[2Jgone",
		"over\rwritten\b":          "over\uFFFDwritten\uFFFD",
		"\u202egnp.exe":            "\uFFFDgnp.exe",
		"\u009b31m, \u200b\u2066x": "\uFFFD31m, \uFFFD\uFFFDx",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

func TestDisplayable(t *testing.T) {
	for in, want := range map[string]bool{
		"Thornley Police\nUnit 3": true, "": true, "Łódź, Αθήνα, Київ": true,
		"p\u0430ypal": false, "e\u0301": false, "a\tb": false, "\u202ex": false, "\xff": false, "nineteen letters ok": true, "twenty-three characters": false,
	} {
		if Displayable(in, 22) != want {
			t.Errorf("%q: want %v", in, want)
		}
	}
}

// S1: two spellings of one name have one canonical form. Folding the Greek ΐ gives
// three characters that compose again, and the two forms were two people.
func TestFoundS1OneNameHasOneForm(t *testing.T) {
	for _, spellings := range [][]string{
		{"Κα\u0390σα", "Κα\u1fd3σα", "Κα\u03b9\u0308\u0301σα", "ΚΑ\u0399\u0308\u0301ΣΑ", "κα\u03ca\u0301σα"},
		{"Zo\u00eb  \u00c5str\u00f6m", "ZOE\u0308 A\u030aSTRO\u0308M", " zo\u00eb\u00a0\u00e5str\u00f6m\n", "Zo\u200d\u00eb \u212bstr\u00f6m"},
		{"Stra\u00dfe", "STRASSE", "stra\u1e9ee", "ＳＴＲＡＳＳＥ"},
		{"Οδυσσέας", "ΟΔΥΣΣΈΑΣ"}, {"\ufb01nn", "FINN"}, {"\u0149x", "\u02bcNX"},
		{"\u037a\U000e0178\u0306", " \u0345\U000e0178\u0306", "\u03b9\u0306"}, {"\u1f80\U000e0100\u0300", "\u1f00\u03b9\U000e0100\u0300"}, // a selector between marks
	} {
		for _, s := range spellings {
			if Fold(s) != Fold(spellings[0]) {
				t.Errorf("%q becomes %q, not %q", s, Fold(s), Fold(spellings[0]))
			}
		}
	}
	if Fold("Zo\u00eb") == Fold("Zoe") || Fold("J\u00f3zef") == Fold("Jozef") {
		t.Error("an accent does not count")
	}
}

// The canonical form is a fixed point, and the same for every way to write one text.
func TestFoldIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom(nil, unicode.Latin, unicode.Greek, unicode.Mn, unicode.Cherokee)),
			rapid.StringOf(rapid.SampledFrom([]rune("ΐΰŉǰẖẗẘẙẚßſﬁǅİıΣςσ\u0345\u0308\u0301\u0307 \u00ad\ufe0f")))).Draw(t, "name")
		want := Fold(s)
		for how, other := range map[string]string{
			"again": want, "NFC": norm.NFC.String(s), "NFD": norm.NFD.String(s), "NFKC": norm.NFKC.String(s), "NFKD": norm.NFKD.String(s),
			"folded": cases.Fold().String(norm.NFD.String(s)), "spaced": "\t" + s + " ",
		} {
			if got := Fold(other); got != want {
				t.Fatalf("%s: %+q becomes %+q, not %+q", how, s, got, want)
			}
		}
	})
	for r := rune(0); r < 0x30000; r++ {
		if s := Fold(string(r)); Fold(s) != s || Fold(norm.NFD.String(string(r))) != s {
			t.Errorf("%+q", r)
		}
	}
}
