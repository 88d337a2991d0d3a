package identity

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/document"
)

// ClaimNames are what a person may let a platform know, in the order in which it is
// written everywhere. The ages are named as in the EU's proof of age and ISO/IEC 18013-5,
// 7.2.5 (age_over_NN).
var ClaimNames = [...]string{"age_over_16", "age_over_18", "country", "profession", "organisation"}

// The places of the claims in [ClaimNames] and in [Claims].
const (
	over16 = iota
	over18
	inCountry
	profession
	organisation
)

// Claims are what an identity provider vouches for beside who somebody is, in the order of
// [ClaimNames]. What is not so, or not known, is empty:
//
//	age_over_16, age_over_18  "true", from the day on which that birthday has begun everywhere
//	country                   of ISO 3166-1, two capital letters
//	profession, organisation  a line of text, NFC, of at most MaxClaim bytes
type Claims [len(ClaimNames)]Private

// Wire returns the claim at a place of [ClaimNames] as platforms get it: true, or text.
func (c Claims) Wire(at int) any {
	if at == over16 || at == over18 {
		return c[at] != ""
	}
	return c[at].Reveal()
}

// MaxClaim is the longest value of a claim, in bytes of UTF-8.
const MaxClaim = 128

// ClaimSources says where a provider has [Claims] that it has verified. Nothing else of
// what it sends is taken. A name is that of a claim, or of a member of one after a dot
// ("address.country"); empty: not taken.
type ClaimSources struct {
	Ages         bool   `toml:"ages"` // from the birth date
	Country      string `toml:"country"`
	Profession   string `toml:"profession"`
	Organisation string `toml:"organisation"`
}

// named are the sources of text, by the place of the claim that they are for.
func (s ClaimSources) named() map[int]string {
	named := map[int]string{inCountry: s.Country, profession: s.Profession, organisation: s.Organisation}
	maps.DeleteFunc(named, func(_ int, source string) bool { return source == "" })
	return named
}

// requested are the claims to ask the provider for.
func (s ClaimSources) requested() []string {
	var names []string
	for _, source := range s.named() {
		name, _, _ := strings.Cut(source, ".")
		names = append(names, name)
	}
	return names
}

// in returns what the sources name among the claims in raw, as it came.
func (s ClaimSources) in(raw json.RawMessage) map[int]json.RawMessage {
	found := map[int]json.RawMessage{}
	for place, source := range s.named() {
		at := raw
		for member := range strings.SplitSeq(source, ".") {
			var object map[string]json.RawMessage
			if decode(at, &object) != nil {
				object = nil
			}
			at = object[member]
		}
		if at != nil && string(at) != "null" { // Core, 5.3.2
			found[place] = at
		}
	}
	return found
}

// claims are those of somebody who was born on that day. What is not what it should be is
// left out: it must not decide who may be enrolled.
func (s ClaimSources) claims(born string, came map[int]json.RawMessage, now time.Time) (c Claims) {
	for at, years := range map[int]int{over16: 16, over18: 18} {
		if s.Ages && olderThan(born, years, now) {
			c[at] = "true"
		}
	}
	for at, raw := range came {
		var value string
		if decode(raw, &value) != nil {
			continue
		}
		if value = line(value); at == inCountry {
			value = country(value)
		}
		c[at] = Private(value)
	}
	return c
}

// olderThan reports whether somebody has that many years wherever on Earth they are. Of a
// birth date that is a year alone, they were born on its last day; who was born on a leap
// day is a year older on 1 March.
func olderThan(born string, years int, now time.Time) bool {
	if len(born) == len("2006") {
		born += "-12-31"
	}
	day, err := time.Parse(time.DateOnly, born)
	behind := now.UTC().Add(-12 * time.Hour) // UTC-12, where a day begins last
	return err == nil && day.Year() > 0 && !behind.Before(day.AddDate(years, 0, 0))
}

// line is a value in its one spelling, or "" if it is none that can be shown.
func line(value string) string {
	value = strings.Join(strings.Fields(string(document.Typed([]byte(value)))), " ")
	if len(value) > MaxClaim || !document.Displayable(value, MaxClaim) || value != "" && !document.Written(value) {
		return ""
	}
	return value
}

// country is a code of ISO 3166-1 alpha-2 in capital letters, or "".
func country(value string) string {
	if value = strings.ToUpper(value); len(value) == 2 && slices.Contains(strings.Fields(countries), value) {
		return value
	}
	return ""
}

// countries are the officially assigned code elements of ISO 3166-1 alpha-2.
const countries = `AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF
GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW
KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL
NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST
SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW`

// ClaimSet is a set of places in [ClaimNames], one bit each.
type ClaimSet uint8

// AllClaims is the set of all.
const AllClaims ClaimSet = 1<<len(ClaimNames) - 1

// ClaimsNamed is the set of the claims with these names; other names count for nothing.
func ClaimsNamed(names ...string) (set ClaimSet) {
	for at, name := range ClaimNames {
		if slices.Contains(names, name) {
			set |= 1 << at
		}
	}
	return set
}

// Has reports whether the claim at a place is in the set.
func (s ClaimSet) Has(at int) bool { return s&(1<<at) != 0 }

// Names are those of the set, in order.
func (s ClaimSet) Names() (names []string) {
	for at, name := range ClaimNames {
		if s.Has(at) {
			names = append(names, name)
		}
	}
	return names
}

// Known is the set of those that are not empty.
func (c Claims) Known() (set ClaimSet) {
	for at, value := range c {
		if value != "" {
			set |= 1 << at
		}
	}
	return set
}

// Only are those of c that are in the set.
func (c Claims) Only(set ClaimSet) Claims {
	for at := range c {
		if !set.Has(at) {
			c[at] = ""
		}
	}
	return c
}
