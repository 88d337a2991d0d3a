package issue_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

// What changed in an account is told to its person alone, the newest first: what concerns
// them, and what concerns each of their pen names.
func TestChangesOfAnAccount(t *testing.T) {
	s, ctx := newIssuer(t), t.Context()
	now := time.Date(2026, 11, 20, 23, 59, 0, 0, time.UTC)
	s.Now = func() time.Time { return now }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p, _, err := s.Enrol(ctx, zoe())
	must(err)
	name, _, err := s.Pseudonym(ctx, p, "town", 0)
	must(err)
	now = now.AddDate(0, 0, 2)
	end := func(context.Context, ...token.Pseudonym) error { return nil }
	penName := issue.PenName{Pseudonym: name, Platform: "town"}
	must(s.Call(ctx, p, penName, "work"))
	must(s.ChangedName(ctx, name, issue.ChangeLeft))
	must(s.SignOutEverywhere(ctx, p, []string{"town"}, end))
	must(s.Changed(ctx, p, issue.ChangePasskeyAdded, "phone"))
	now = now.AddDate(0, 0, 1)
	must(s.Retire(ctx, penName, end))
	names, err := s.PenNames(ctx, p, []string{"town"})
	must(err)
	must(s.Notes(ctx, p, names))
	all, err := s.Changes(ctx, p, names, []issue.Notice{{Pseudonym: name, Platform: "town", Objections: []issue.Objection{{Day: now, Lawyer: true}}}})
	must(err)
	var got []string
	for _, c := range all {
		got = append(got, strings.TrimSpace(c.Day.Format("02 ")+string(c.Kind)+" "+c.Detail+c.Sector))
		if !c.Day.Equal(c.Day.Truncate(24 * time.Hour)) {
			t.Errorf("%s: %s is a time of day", c.Kind, c.Day)
		}
	}
	want := "23 retired town, 23 objected lawyertown, 22 passkey_added phone, 22 signed_out_everywhere, 22 left town, 22 renamed town, 20 enrolled, 20 made town"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ", "), want)
	}
	_, err = s.Erase(ctx, p, nil, []string{"town"}, end)
	must(err)
	if all, err = s.Changes(ctx, p, nil, nil); err != nil || len(all) != 0 {
		t.Errorf("after a deletion: %v, %v", all, err)
	}
}
