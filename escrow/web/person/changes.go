package person

import (
	"context"
	"net/http"
	"time"

	"github.com/penname/penname/escrow/issue"
)

// changesPath is where people see what changed in their account.
const changesPath = "/me/changes"

// maxChanges is how many the page shows, the newest ones; the file has all that are kept.
const maxChanges = 64

// shownChange is one thing that changed, as its person sees it.
type shownChange struct {
	issue.Change
	Name  string `json:"-"` // of the platforms
	Alias string `json:"-"` // what the person calls the pen name
}

// changesPage is what changed in somebody's account, by day, for them alone.
type changesPage struct {
	Days    []changesOfADay // the newest first
	More    bool            // than are shown
	Kept    int             // days
	Leaving leaving
}

type changesOfADay struct {
	Day time.Time
	All []shownChange
}

// changes are what changed in the account of somebody who has these pen names, with their
// notes, and these notices.
func (s *side) changes(ctx context.Context, p issue.Person, names []issue.PenName, notices []issue.Notice) ([]shownChange, error) {
	once := make([]issue.PenName, 0, len(names))
	seen := map[string]issue.PenName{}
	for _, n := range names { // each once, however many records its person had
		if _, ok := seen[string(n.Pseudonym)]; !ok {
			once = append(once, n)
		}
		seen[string(n.Pseudonym)] = n
	}
	all, err := s.Issuer.Changes(ctx, p, once, notices)
	if err != nil {
		return nil, err
	}
	shown := make([]shownChange, 0, len(all))
	for _, c := range all {
		name := ""
		if c.PenName != "" {
			name = s.called(c.Sector)
		}
		shown = append(shown, shownChange{c, name, seen[string(c.PenName)].Alias})
	}
	return shown, nil
}

func (s *side) showChanges(w http.ResponseWriter, r *http.Request) error {
	who, asked, err := s.lately(w, r)
	if err != nil || asked {
		return err
	}
	names, err := s.Issuer.PenNames(r.Context(), who.Person, s.sectors())
	if err != nil {
		return err
	}
	if err := s.Issuer.Notes(r.Context(), who.Person, names); err != nil {
		return err
	}
	notices, err := s.Issuer.Store.Notices(r.Context(), issue.Pseudonyms(names))
	if err != nil {
		return err
	}
	all, err := s.changes(r.Context(), who.Person, names, notices)
	if err != nil {
		return err
	}
	page := changesPage{More: len(all) > maxChanges, Kept: issue.ChangeDays, Leaving: s.sessions.leaving(who, "/me/stay")}
	page.Days = byDay(all[:min(len(all), maxChanges)])
	if err := s.sessions.keep(w, who); err != nil {
		return err
	}
	return s.edge.Render(w, r, http.StatusOK, "changes.html", page)
}

// byDay puts what is in the order of days together by day.
func byDay(all []shownChange) (days []changesOfADay) {
	for _, c := range all {
		if last := len(days) - 1; last >= 0 && days[last].Day.Equal(c.Day) {
			days[last].All = append(days[last].All, c)
			continue
		}
		days = append(days, changesOfADay{c.Day, []shownChange{c}})
	}
	return days
}
