package document

import "testing"

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
