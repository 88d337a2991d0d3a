package disclosetest

import (
	"errors"
	"maps"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
)

// duties: they are stored with the change that causes them or not at all, and each once.
func duties(t *testing.T, s Store) {
	ctx := t.Context()
	mailed := func(id string, letter disclose.Letter) map[int]disclose.Mailed {
		t.Helper()
		return must[map[int]disclose.Mailed](t)(s.Mailed(ctx, id, letter))
	}
	owing := func(change func(disclose.Case) (disclose.Change, error), letter disclose.Letter) func(disclose.Case) (disclose.Change, error) {
		return func(c disclose.Case) (disclose.Change, error) {
			ch, err := change(c)
			ch.Duties = []disclose.Duty{{Letter: letter, Target: 0, Labels: []string{"label"}, Since: Day}, {Letter: letter, Target: 3, Since: Day}}
			return ch, err
		}
	}
	c, leaf := NewCase(policy.Production)
	c = file(t, s, c, leaf)
	if _, err := s.Apply(ctx, c.ID, owing(Notify, disclose.LetterNotice)); !errors.Is(err, disclose.ErrCaseClosed) {
		t.Errorf("told before it was decided: %v", err)
	}
	if got := mailed(c.ID, disclose.LetterNotice); len(got) != 0 {
		t.Errorf("a change that did not happen left %v", got)
	}
	for _, change := range []func(disclose.Case) (disclose.Change, error){owing(Approve, disclose.LetterFirst), owing(Release, disclose.LetterFirst), owing(Notify, disclose.LetterNotice)} {
		must[disclose.Case](t)(s.Apply(ctx, c.ID, change))
	}
	waiting := map[int]disclose.Mailed{0: {Outcome: disclose.MailWaiting}, 3: {Outcome: disclose.MailWaiting}}
	for _, letter := range []disclose.Letter{disclose.LetterFirst, disclose.LetterNotice} {
		if got := mailed(c.ID, letter); !maps.Equal(got, waiting) {
			t.Errorf("%s: %v", letter, got)
		}
	}
	if got := mailed("nothing", disclose.LetterNotice); len(got) != 0 {
		t.Errorf("of no case: %v", got)
	}
}
