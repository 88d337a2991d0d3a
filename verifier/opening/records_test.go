package opening

import (
	"testing"

	"github.com/penname/penname/verifier/token"
)

// TestEveryRecordOfAPenNameCounts: the platforms of a sector know a person by one pen name, and
// a warrant may name it for each. None hides another's record.
func TestEveryRecordOfAPenNameCounts(t *testing.T) {
	var o Opening
	for platform, label := range map[string]string{"p1": "abcdefghijklmnopqrstuvwxya", "p2": "bbcdefghijklmnopqrstuvwxya", "p3": "bbcdefghijklmnopqrstuvwxya"} {
		sealed := &PackageTarget{Fields: map[string][]byte{"name": []byte("sealed")}}
		sealed.Pseudonym, sealed.Platform, sealed.Label, sealed.SecondHalf = "penx", platform, label, []byte("half")
		o.Targets = append(o.Targets, Target{Sealed: sealed})
	}
	if all := o.records()[token.Pseudonym("penx")]; len(all) != 2 {
		t.Errorf("%d records, not 2: %q", len(all), all)
	}
}
