package identity

import (
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

var allSources = ClaimSources{Ages: true, Country: "address.country", Profession: "job", Organisation: "employer.name"}

// A birthday counts from the moment at which it has begun everywhere; a leap day's on 1 March.
func TestAgesCountFromTheBirthday(t *testing.T) {
	for _, c := range []struct {
		born, now string
		want      bool
	}{
		{"2008-11-30", "2026-11-30T11:59:59Z", false}, {"2008-11-30", "2026-11-30T12:00:00Z", true}, {"2008-11-30", "2026-11-30T23:00:00+14:00", false},
		{"2008-02-29", "2026-02-28T23:59:00Z", false}, {"2008-02-29", "2026-03-01T11:59:59Z", false}, {"2008-02-29", "2026-03-01T12:00:00Z", true},
		{"2008", "2026-12-31T11:00:00Z", false}, {"2008", "2026-12-31T12:00:00Z", true},
		{"0000-11-30", "2026-11-30T12:00:00Z", false}, {"0000", "2026-11-30T12:00:00Z", false}, {"", "2026-11-30T12:00:00Z", false}, {"2008-13-01", "2027-11-30T12:00:00Z", false},
		{"1900-01-01", "2026-11-30T12:00:00Z", true},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := olderThan(c.born, 18, now); got != c.want {
			t.Errorf("born %q, on %s: over 18 is %v", c.born, c.now, got)
		}
	}
	// The 16th birthday of a leap day is one.
	if !olderThan("2008-02-29", 16, time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)) {
		t.Error("a 16th birthday on a leap day")
	}
}

// A claim that is not what it should be is left out, and nothing else.
func TestHostileClaimsAreLeftOut(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for raw, want := range map[string]Claims{
		`{"address":{"country":"de"},"job":" Teacher  of\tmaths ","employer":{"name":"Scho\u0308n"}}`: {"true", "true", "DE", "Teacher of maths", "Sch\u00f6n"},
		`{"address":{"country":"XX"},"job":null,"employer":"Schule"}`:                                 {"true", "true"},
		`{"address":{"country":"ZZ"},"job":7,"employer":{"name":["a"]}}`:                              {"true", "true"},
		`{"address":"Germany","job":"","employer":{"name":{}}}`:                                       {"true", "true"},
		`{"address":{"country":"Germany"},"job":"a\u202eb","employer":{"name":"a\u0000b"}}`:           {"true", "true"},
		`{"address.country":"DE","job":"t\u0435acher"}`:                                               {"true", "true"},
		`{"job":"` + strings.Repeat("x", MaxClaim+1) + `"}`:                                           {"true", "true"},
		`[]`: {"true", "true"}, `7`: {"true", "true"}, ``: {"true", "true"},
	} {
		if got := allSources.claims("1980-02-29", allSources.in(json.RawMessage(raw)), now); got != want {
			t.Errorf("%s: not what is wanted, known %v", raw, got.Known().Names())
		}
	}
	if got := (ClaimSources{}).claims("1980-02-29", (ClaimSources{}).in(json.RawMessage(`{"job":"x","country":"DE"}`)), now); got != (Claims{}) {
		t.Error("a provider that is not configured to vouches for something")
	}
}

// Where a trust framework is demanded, what is not under it is smuggled in, and counts for nothing.
func TestClaimsOutsideTheFrameworkCountForNothing(t *testing.T) {
	rp := &RelyingParty{provider: Provider{TrustFrameworks: []string{"eidas"}, Claims: allSources}}
	for raw, want := range map[string]int{
		`{"verification":{"trust_framework":"eidas"},"claims":{"job":"teacher"}}`:                                                       1,
		`{"verification":{"trust_framework":"none"},"claims":{"job":"teacher"}}`:                                                        0,
		`{"verification":{"trust_framework":"eidas"},"job":"teacher","claims":{}}`:                                                      0,
		`[{"verification":{"trust_framework":"none"},"claims":{"job":"x"}},{"verification":{"trust_framework":"eidas"},"claims":null}]`: 0,
	} {
		verified := json.RawMessage(raw)
		got, err := rp.underFramework(&verified)
		if err != nil || len(got.vouched) != want {
			t.Errorf("%s: %d claims, %v", raw, len(got.vouched), err)
		}
	}
}

func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"birthdate":"1980-02-29","address":{"country":"DE"},"job":"teacher","employer":{"name":"School"}}`))
	f.Add([]byte(`{"birthdate":"0000-02-29","address":"DE","job":["teacher"],"employer":{"name":"\u202e"}}`))
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	fuzzing.Run(f, func(t *testing.T, raw []byte) {
		var born struct {
			Birthdate string `json:"birthdate"`
		}
		if decode(raw, &born) != nil {
			born.Birthdate = string(raw)
		}
		for at, value := range allSources.claims(born.Birthdate, allSources.in(raw), now) {
			v := value.Reveal()
			if at == inCountry && country(v) != v || at > inCountry && line(v) != v || at < inCountry && v != "" && v != "true" || len(v) > MaxClaim {
				t.Errorf("%s: %q", ClaimNames[at], v)
			}
		}
	})
}
