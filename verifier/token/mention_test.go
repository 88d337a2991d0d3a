package token_test

import (
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/token"
)

// Whoever is named is found, however the name is spelled; nobody else is.
func TestMentions(t *testing.T) {
	jo, err := token.NewPseudonym([]byte("jjjjjjjjjjjjjjjj"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := token.NewPseudonym([]byte("oooooooooooooooo"))
	if err != nil {
		t.Fatal(err)
	}
	handle := string(jo.Handle(token.MinHandle))
	spelled := map[string]string{
		"with @":             "hello @" + handle + "!",
		"bare":               "ask " + handle + ", please",
		"capitals":           "@" + strings.ToUpper(handle),
		"longer handle":      "@" + string(jo.Handle(token.MinHandle+3)),
		"whole pen name":     "it was " + string(jo) + ".",
		"pen name, capitals": strings.ToUpper(string(jo)),
		"zero-width joiners": "@" + strings.Join(strings.Split(handle, ""), "\u200d"),
		"accents":            "@" + strings.Join(strings.Split(handle, ""), "\u0307"),
		"with dashes":        "@" + strings.Join(strings.Split(handle, ""), "-"),
		"with other letters": "@" + strings.Join(strings.Split(handle, ""), "ж"),
		"Hangul fillers":     "@" + strings.Join(strings.Split(handle, ""), "\u3164"),
		"mathematical": "@" + strings.Map(func(r rune) rune {
			if r >= 'a' {
				return r - 'a' + 0x1d5ba
			}
			return r - '0' + 0x1d7e2
		}, handle),
		"within a word":       "qq" + handle + "qq",
		"no check character":  "@" + handle[:token.MinHandle],
		"full width":          "@" + strings.Map(func(r rune) rune { return r - 0x21 + 0xff01 }, handle),
		"Cyrillic, Greek":     "@" + strings.NewReplacer("a", "а", "c", "с", "e", "е", "x", "х", "p", "р", "y", "у", "v", "ν").Replace(handle),
		"between punctuation": "(" + handle + ")/" + string(other),
	}
	if spelled["Cyrillic, Greek"] == "@"+handle || handle == strings.ToUpper(handle) {
		t.Fatal("this pen name tests nothing: choose another")
	}
	for how, text := range spelled {
		if !jo.MentionedIn(text) {
			t.Errorf("%s: %q names nobody", how, text)
		}
	}
	for _, text := range []string{"", "@", "hello", "@" + handle[:token.MinHandle-1], "@" + string(other.Handle(token.MinHandle)), string(jo)[:4+token.MinHandle-1], "\xff\xfe" + handle[:4], handle[:5] + "q" + handle[5:]} {
		if jo.MentionedIn(text) {
			t.Errorf("%q names somebody", text)
		}
	}
}

// For every text, not only that one: no panic, and what surrounds a name changes nothing.
func FuzzMentions(f *testing.F) {
	f.Add("and @")
	f.Add("\xff\u202e<script>")
	f.Add(strings.Repeat("Ⅷ\u0307", 100))
	jo, err := token.NewPseudonym([]byte("0123456789abcdef"))
	if err != nil {
		f.Fatal(err)
	}
	fuzzing.Run(f, func(t *testing.T, text string) {
		if !jo.MentionedIn(text+"@"+string(jo.Handle(token.MinHandle))) || !jo.MentionedIn(string(jo)+text) {
			t.Errorf("%q hides a name", text)
		}
	})
}
