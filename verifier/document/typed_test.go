package document

import "testing"

// I1: what a person's editor saved is read as what they wrote.
func TestFoundI1HumanBytes(t *testing.T) {
	for name, c := range map[string]struct{ saved, want string }{
		"as written":             {"{}", "{}"},
		"a line break":           {"{}\n", "{}"},
		"CRLF":                   {"{}\r\n", "{}"},
		"a byte order mark":      {"\ufeff{}\r\n", "{}"},
		"UTF-16, little endian":  {"\xff\xfe{\x00}\x00\r\x00\n\x00", "{}"},
		"UTF-16, big endian":     {"\xfe\xff\x00{\x00}", "{}"},
		"an accent by itself":    {"Jose\u0301", "Jos\u00e9"},
		"a mark that is no mark": {"a\ufeffb", "a\ufeffb"},
	} {
		if got := Typed([]byte(c.saved)); string(got) != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	signed := "Jose\u0301\r\n"
	if got := Decoded([]byte(signed)); string(got) != signed {
		t.Errorf("what may be signed was changed: %q", got)
	}
	if got := Line([]byte("a\nb\nc"), 4); got != 3 {
		t.Errorf("line %d", got)
	}
}

// I1: a passphrase is one, however it was spelled (RFC 8265, 4.3, table 4).
func TestFoundI1Passphrases(t *testing.T) {
	for typed, want := range map[string]string{
		"correct horse battery staple":        "correct horse battery staple",
		"Correct Horse Battery Staple":        "Correct Horse Battery Staple",
		"\u03c0\u00df\u00e5":                  "\u03c0\u00df\u00e5",
		"Jack of \u2666s":                     "Jack of \u2666s",
		"foo\u1680bar":                        "foo bar",
		"correct horse\r\n":                   "correct horse",
		"correct horse\n":                     "correct horse",
		"\ufeffcorrect horse":                 "correct horse",
		"Jose\u0301":                          "Jos\u00e9",
		" a space at either end is typed so ": " a space at either end is typed so ",
	} {
		if got, err := Passphrase([]byte(typed)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", typed, got, err)
		}
	}
	for _, bad := range []string{"", "\r\n", "my cat is a \u0009by", "two\n\n"} {
		if got, err := Passphrase([]byte(bad)); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}
