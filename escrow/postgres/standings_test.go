package postgres

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

// Standing says what Live, Assigned, Noted, Suspensions and Acceptances say, of whoever asks and
// however many ask at once.
func TestStandingIsWhatEachSays(t *testing.T) {
	admin, s, d := bothSides(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, cause(err))
		}
	}
	enrolled := func() issue.Person {
		t.Helper()
		p, _, err := s.Enrol(ctx, enrolment())
		must(err)
		return p
	}
	begun := func(p issue.Person) issue.Session { return began(t, s, p, "") }
	assigned := func(platform string, commitments int) token.Pseudonym {
		t.Helper()
		a := assignment(t)
		for range commitments {
			a.Platform, a.Commitment = platform, [32]byte(random(32))
			_, err := s.Assign(ctx, a)
			must(err)
		}
		return a.Pseudonym
	}
	noted := func(name token.Pseudonym, kind issue.NoteKind, text string) {
		t.Helper()
		must(s.Note(ctx, issue.Note{Name: name, Kind: kind, Text: []byte(text), Day: day}))
	}
	none, once, often, stopped := pseudonym(t), assigned("town-square", 1), assigned("school-forum", rowsAtOnce+2), assigned("town-square", rowsAtOnce)
	noted(once, issue.NoteAlias, "work")
	noted(once, issue.NoteRetired, "2026-01-01")
	noted(none, issue.NoteBanned, "banned") // of one that does not exist, too
	c := apply(t, d, suspending(t, d, "town-square", stopped, once).ID, approve("bar"))
	apply(t, d, suspending(t, d, "school-forum", stopped).ID, approve("bar"))
	whose := random(32)
	sql(t, admin, fmt.Sprintf(`SET session_replication_role = replica; INSERT INTO penname.reviews (id, mark, whose, account, several, state, due, objected, day)
		SELECT repeat(c, 12), sha256(c::bytea), '\x%x', false, false, CASE c WHEN 'd' THEN 'held' ELSE 'waiting' END, CASE c WHEN 'd' THEN NULL ELSE '2026-12-06'::date END, c = 'e', '2026-11-28'
		FROM unnest('{b,a,d,e}'::text[]) c`, whose))

	person, ended, generation, erased := enrolled(), enrolled(), enrolled(), enrolled()
	sessions := map[string]issue.Question{
		"signed in":            {Person: person, Session: begun(person)},
		"session ended":        {Person: ended, Session: begun(ended)},
		"all sessions ended":   {Person: generation, Session: begun(generation)},
		"to be erased":         {Person: erased, Session: begun(erased)},
		"somebody else's word": {Person: person, Session: issue.Session{ID: begun(ended).ID}},
	}
	must(s.EndSession(ctx, sessions["session ended"].Session))
	must(s.EndSessions(ctx, generation))
	_, err := s.Ask(ctx, issue.Receipt{Label: erased.Label, Salt: [32]byte(random(32)), Day: day})
	must(err)

	lives := map[string][2]bool{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for who, q := range sessions {
		for n, names := range [][]token.Pseudonym{nil, {none}, {once}, {once, none, often, stopped}, {stopped, often, none}, {often}} {
			for _, at := range []time.Time{day, c.Expires.Add(-time.Second), c.Expires} {
				q := q
				if q.Names = names; n%2 == 1 {
					q.Whose = whose
				}
				wg.Go(func() {
					got := standingAsSaid(t, s, fmt.Sprintf("%s, list %d", who, n), at, q)
					mu.Lock()
					defer mu.Unlock()
					lives[who] = [2]bool{got.Live, got.Asked}
				})
			}
		}
	}
	wg.Wait()
	for who, want := range map[string][2]bool{"signed in": {true, false}, "session ended": {false, false}, "all sessions ended": {false, false}, "to be erased": {true, true}} {
		if lives[who] != want {
			t.Errorf("%s: live, asked %v", who, lives[who])
		}
	}
	all, err := s.Standing(ctx, day, issue.Question{Person: person, Names: []token.Pseudonym{once, none, often, stopped}, Whose: whose})
	if err != nil || len(all.Assigned) != 1+rowsAtOnce+2+rowsAtOnce || len(all.Suspensions) != 3 || len(all.Acceptances) != 2 || len(all.Noted) != 4 || len(all.Noted[0]) != 2 {
		t.Errorf("too little to compare: %v, %v", all, err)
	}
}

// standingAsSaid is what Standing answers, which is what its parts answer.
func standingAsSaid(t *testing.T, s *Issuing, who string, at time.Time, q issue.Question) issue.Standing {
	ctx := t.Context()
	var want issue.Standing
	var errs [5]error
	want.Live, want.Asked, errs[0] = s.Live(ctx, q.Person, q.Session)
	want.Assigned, errs[1] = s.Assigned(ctx, q.Names)
	want.Noted, errs[2] = s.Noted(ctx, q.Names...)
	want.Suspensions, errs[3] = s.Suspensions(ctx, at, q.Names...)
	if q.Whose != nil {
		want.Acceptances, errs[4] = s.Acceptances(ctx, q.Whose)
	}
	got, err := s.Standing(ctx, at, q)
	if i := slices.IndexFunc(errs[:], func(err error) bool { return err != nil }); i >= 0 || err != nil {
		t.Error(err, errs)
	}
	for _, st := range []*issue.Standing{&got, &want} { // in which order one name's rows are is not said
		slices.SortFunc(st.Assigned, func(a, b issue.PenName) int {
			return cmp.Or(cmp.Compare(slices.Index(q.Names, a.Pseudonym), slices.Index(q.Names, b.Pseudonym)), bytes.Compare(a.Commitment[:], b.Commitment[:]))
		})
		slices.SortStableFunc(st.Suspensions, func(a, b issue.Suspension) int {
			return cmp.Or(cmp.Compare(a.InForce, b.InForce), cmp.Compare(a.Name, b.Name))
		})
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s at %v:\n%v\n%v", who, at, got, want)
	}
	return got
}
