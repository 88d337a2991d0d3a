package postgres

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

// What is noted of a pen name is found again by kind, the newest text of each; only the day
// of its retirement stays as it was first.
func TestNotesAreFoundByPenNameAndKind(t *testing.T) {
	s, ctx := issuing(t, database(t), Options{}), t.Context()
	mine, other := pseudonym(t), pseudonym(t)
	for _, n := range []issue.Note{
		{Name: mine, Kind: issue.NoteAlias, Text: []byte("work")}, {Name: mine, Kind: issue.NoteAlias, Text: []byte("football")},
		{Name: mine, Kind: issue.NoteRetired, Text: []byte("2026-01-01")}, {Name: mine, Kind: issue.NoteRetired, Text: []byte("2020-01-01")},
		{Name: other, Kind: issue.NoteBanned, Text: []byte("banned")}, {Name: other, Kind: issue.NoteBanned},
	} {
		n.Day = day
		if err := s.Note(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Noted(ctx, mine, pseudonym(t), other)
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	if string(got[0][issue.NoteAlias]) != "football" || string(got[0][issue.NoteRetired]) != "2026-01-01" || got[0][issue.NoteBanned] != nil {
		t.Errorf("%q", got[0])
	}
	if len(got[1]) != 0 || len(got[2]) != 1 || len(got[2][issue.NoteBanned]) != 0 {
		t.Errorf("%q", got[1:])
	}
	if err := s.Note(ctx, issue.Note{Name: mine, Kind: issue.NoteAlias, Text: bytes.Repeat([]byte("x"), 125), Day: day}); err == nil {
		t.Error("a note of 125 bytes was stored")
	}
}

// A copy of the rows names no pen name and no text, has one length for all kinds, and no
// value twice: also not where two pen names are called the same.
func TestRowsOfNotesSayNothing(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	names := []token.Pseudonym{pseudonym(t), pseudonym(t)}
	for _, name := range names {
		for kind, text := range map[issue.NoteKind]string{issue.NoteAlias: "at the school", issue.NoteRetired: "2026-11-22", issue.NoteBanned: "banned"} {
			if err := s.Note(ctx, issue.Note{Name: name, Kind: kind, Text: []byte(text), Day: day}); err != nil {
				t.Fatal(err)
			}
		}
	}
	rows := value[[]string](t, admin, `SELECT array_agg(encode(v, 'escape')) FROM (SELECT place v FROM notes UNION ALL SELECT hidden FROM notes) x`)
	if len(rows) != 12 || len(slices.Compact(slices.Sorted(slices.Values(rows)))) != 12 {
		t.Errorf("values: %q", rows)
	}
	for _, said := range []string{string(names[0])[4:14], "school", "banned", "2026"} {
		if strings.Contains(strings.Join(rows, "\n"), said) {
			t.Errorf("%q is in a row", said)
		}
	}
	if n := value[int](t, admin, `SELECT count(DISTINCT octet_length(hidden)) FROM notes`); n != 1 {
		t.Errorf("%d lengths", n)
	}
}
