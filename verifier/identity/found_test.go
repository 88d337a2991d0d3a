package identity

import (
	"net/url"
	"testing"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// E1: a proof that must be new is asked for as one, and an older one is refused,
// whatever the provider's clock says.
func TestFoundE1ProofMadeAnew(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	const read = 125 // seconds that the person takes there
	for name, c := range map[string]struct {
		lie  func(map[string]any)
		want *refusal.Error
	}{
		"at the end":                   {set("auth_time", start.Add(read*time.Second).Unix()), nil},
		"at once":                      {set("auth_time", start.Unix()), nil},
		"before the request":           {set("auth_time", start.Add(-3*time.Second).Unix()), ErrNotFresh},
		"an hour ago":                  {set("auth_time", start.Add(-time.Hour).Unix()), ErrNotFresh},
		"does not say":                 {drop("auth_time"), ErrNotFresh},
		"a day after it was issued":    {set("auth_time", start.Add(24*time.Hour).Unix()), ErrNotFresh},
		"a clock four minutes behind":  {func(c map[string]any) { set("iat", start.Unix()-240+read)(c); set("auth_time", start.Unix()-240)(c) }, nil},
		"behind, and an older session": {func(c map[string]any) { set("iat", start.Unix()-240+read)(c); set("auth_time", start.Unix()-243)(c) }, ErrNotFresh},
		"a clock four minutes ahead":   {func(c map[string]any) { set("iat", start.Unix()+240+read)(c); set("auth_time", start.Unix()+240)(c) }, nil},
		"ahead, and an older session":  {func(c map[string]any) { set("iat", start.Unix()+240+read)(c); set("auth_time", start.Unix()+237)(c) }, ErrNotFresh},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.claims = func(claims map[string]any) { set("iat", start.Unix()+read)(claims); c.lie(claims) }
			rp := op.party(t)
			f, authURL := rp.BeginAnew()
			u, err := url.Parse(authURL)
			if q := u.Query(); err != nil || q.Get("prompt") != "login" || q.Get("max_age") != "0" {
				t.Error(authURL)
			}
			op.offset.Store(read)
			id, err := rp.Finish(t.Context(), f, op.authorize(authURL))
			if c.want != nil {
				refused(t, id, err, c.want)
				return
			}
			accepted(t, id, err)
			if took := id.Proven.Sub(start); took < 0 || took > read*time.Second {
				t.Errorf("proven %v after the request", took)
			}
		})
	}
}

// E1: who is signed in at the provider already proved it earlier, and a provider that
// does not say when leaves it open.
func TestFoundE1MomentOfTheProof(t *testing.T) {
	op := newOP(t)
	op.claims = set("auth_time", op.start.Add(-time.Hour).Unix())
	rp := op.party(t)
	id, err := op.enrol(t, rp)
	accepted(t, id, err)
	if want := op.start.Add(-time.Hour); !id.Proven.Equal(want) {
		t.Errorf("proven %v, want %v", id.Proven, want)
	}
	op.claims = drop("auth_time")
	id, err = op.enrol(t, rp)
	accepted(t, id, err)
	if !id.Proven.IsZero() {
		t.Errorf("proven %v", id.Proven)
	}
	if _, authURL := rp.Begin(); hasAny(authURL, "prompt", "max_age") {
		t.Errorf("asked for more than it needs: %s", authURL)
	}
}

func hasAny(address string, names ...string) bool {
	u, err := url.Parse(address)
	for _, name := range names {
		if err != nil || u.Query().Has(name) {
			return true
		}
	}
	return false
}
