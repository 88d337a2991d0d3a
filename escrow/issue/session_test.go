package issue_test

import (
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
)

// ASVS 7.2.3: a session's id is 128 random bits. Its day is all that it has of the time.
func TestSessionIDsAreRandom(t *testing.T) {
	now := time.Date(2026, 11, 28, 23, 59, 59, 0, time.FixedZone("", -3600))
	seen, ones := map[[16]byte]bool{}, [128]int{}
	const n = 1000
	for range n {
		s := issue.NewSession("phone", now)
		if seen[s.ID] = true; s.Word != "phone" || !s.Day.Equal(time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)) {
			t.Fatalf("%+v", s)
		}
		for bit := range ones {
			ones[bit] += int(s.ID[bit/8]>>(bit%8)) & 1
		}
	}
	for bit, set := range ones {
		if set < n/3 || set > 2*n/3 {
			t.Errorf("bit %d is set in %d of %d", bit, set, n)
		}
	}
	if len(seen) != n {
		t.Errorf("%d ids of %d", len(seen), n)
	}
}
