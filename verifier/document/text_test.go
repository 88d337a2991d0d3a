package document

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
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

// What a terminal would obey, and what a reader would not see, is written as what it
// is; what people write is left alone.
func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"I will find you.\r\nTonight.\t!":              "I will find you.\nTonight.\t!",
		"\x1b[2J\x1b]0;x\a\b":                          "‹U+001B›[2J‹U+001B›]0;x‹U+0007›‹U+0008›",
		"over\rwritten":                                "over‹U+000D›written",
		"\u202Eevil\u202C \u2066x\u2069":               "‹U+202E›evil‹U+202C› ‹U+2066›x‹U+2069›",
		"zero\u200Bwidth\u200Dx\u00AD\uFEFF":           "zero‹U+200B›width‹U+200D›x‹U+00AD›‹U+FEFF›",
		"p\u0430ypal":                                  "p‹U+0430›ypal",
		"\u0440\u03B1":                                 "\u0440‹U+03B1›",
		"\u0441\u043B\u043E\u0432\u0430":               "\u0441\u043B\u043E\u0432\u0430",
		"I will \u0441\u0430\u0440\u0435 her":          "I will ‹U+0441›‹U+0430›‹U+0440›‹U+0435› her",
		"\u03A1\u0391\u039F\u039D, he said \u0441":     "‹U+03A1›‹U+0391›‹U+039F›‹U+039D›, he said \u0441",
		"iPhone \u0441\u043E\u0440 \u0436\u0434\u0443": "iPhone \u0441\u043E\u0440 \u0436\u0434\u0443",
		"a\xffb\uFFFD":                                 "a‹0xFF›b\uFFFD",
		"\u2028\u0085\u3164\u2800":                     "‹U+2028›‹U+0085›‹U+3164›‹U+2800›",
		"a\U000E0061\U000E0101":                        "a‹U+E0061›‹U+E0101›",
		"é e\u0301 ç 日本語\u3000한국어":                     "é e\u0301 ç 日本語\u3000한국어",
		"می\u200Cخواهم क्\u200Dष":                      "می\u200Cخواهم क्\u200Dष",
		"👩\u200D👧 🏳️\u200D🌈 1️⃣ ❤️ 👍🏽":                 "👩\u200D👧 🏳️\u200D🌈 1️⃣ ❤️ 👍🏽",
		"z" + strings.Repeat("\u0300", 6):              "z" + strings.Repeat("\u0300", 4) + "‹U+0300›‹U+0300›",
	} {
		if got := Visible(in); got != want {
			t.Errorf("%q is shown as %q, not %q", in, got, want)
		}
	}
}

// Whatever comes in: nothing of what goes out moves the cursor, and no byte is dropped
// without a trace.
func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "a\x1b[2J", "\u202Ex", "p\u0430y\xff", "👩\u200D👧", "z\u0300\u0300\u0300\u0300\u0300", "a\u200D\u200D", "\r\n\r"} {
		f.Add(s)
	}
	fuzzing.Run(f, func(t *testing.T, s string) {
		got := Visible(s)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) < utf8.RuneCountInString(strings.ReplaceAll(s, "\r\n", "\n")) {
			t.Fatalf("%q became %q", s, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q lets %U through", s, r)
			}
		}
	})
}
