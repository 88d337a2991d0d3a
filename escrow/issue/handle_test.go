package issue_test

import (
	"testing"
	"time"
)

// Who deletes themself and comes back is called as before, and their page shows it at each
// platform. Until then, and for ever if they stay away, the rows are as they were: nobody
// else can have the handle.
func TestHandleOutlivesADeletion(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	tb.begin()
	p := tb.players[0]
	tb.visit(p, 0)
	tb.visit(p, 1)
	called := func() (words [2]string) {
		for platform := range words {
			words[platform], _ = p.newest(platform).called(t)
		}
		return words
	}
	rows := func() string {
		return string(tb.one(`SELECT string_agg(place || owner, '' ORDER BY place) FROM handles`))
	}
	before, stored := called(), rows()
	if before[0] == before[1] || len(stored) == 0 {
		t.Fatal(before, stored)
	}
	tb.press(p, "/me/delete", nil)
	tb.now = tb.now.Add(2 * time.Hour)
	tb.erase()
	if rows() != stored {
		t.Error("the rows changed with the deletion")
	}
	tb.prove(p)
	tb.visit(p, 0)
	tb.visit(p, 1)
	if after := called(); after != before || rows() != stored {
		t.Errorf("called %v, before %v", after, before)
	}
	who, _, err := tb.issuer.Enrol(t.Context(), p.id)
	tb.check(err)
	names, err := tb.issuer.PenNames(t.Context(), who, []string{tb.platforms[0].SectorID(), tb.platforms[1].SectorID()})
	tb.check(err)
	tb.check(tb.issuer.Handles(t.Context(), names))
	if len(names) != 2 || string(names[0].Handle) != before[0] || string(names[1].Handle) != before[1] {
		t.Errorf("%+v", names)
	}
}
