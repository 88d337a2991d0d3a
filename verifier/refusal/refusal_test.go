package refusal_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/penname/penname/verifier/refusal"
)

// What is behind the first refusal, joined or as its cause, is found too.
func TestCodes(t *testing.T) {
	a, b, c := refusal.New(refusal.Denied, "test.a", ""), refusal.New(refusal.Unavailable, "test.b", ""), refusal.New(refusal.Conflict, "test.c", "")
	for _, try := range []struct {
		err  error
		want []string
	}{
		{nil, nil},
		{errors.New("no refusal"), nil},
		{fmt.Errorf("where: %w", a), []string{"test.a"}},
		{errors.Join(errors.New("first"), a, nil, b), []string{"test.a", "test.b"}},
		{a.Because(fmt.Errorf("why: %w", errors.Join(b.Because(c), a, c))), []string{"test.a", "test.b", "test.c"}},
		{errors.Join(b.Because(a), a.Because(errors.Join(b, c))), []string{"test.b", "test.a", "test.c"}},
	} {
		if got := refusal.Codes(try.err); !slices.Equal(got, try.want) {
			t.Errorf("%v: %v, not %v", try.err, got, try.want)
		}
	}
}
