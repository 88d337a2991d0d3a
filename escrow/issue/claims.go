package issue

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/penname/penname/verifier/identity"
)

// Shared is how many people who are enrolled must have a combination of claims in common
// before a platform is told any of them.
const Shared = 100

// Attested are a person's claims, and the month in which an identity provider vouched for
// them. They are told for twelve months.
//
// Only a proof of identity by the same account opens what is stored of them: the key is
// made from the account, which stands nowhere here, and then goes with the session.
//
//	key = HMAC("claims" ‖ issuer ‖ subject) under the key of the fingerprints
type Attested struct {
	Claims identity.Claims
	Month  time.Time // its first day, UTC

	past [pasts][len(identity.ClaimNames)]mark // what was attested before, the newest first
}

// pasts is how many earlier attestations are remembered, as marks.
const pasts = 7

// mark is a digest of what a platform is told of a claim: its name, its value, which may be
// none, and the month. The zero value is that of no attestation.
type mark [16]byte

// marks are those of a's claims.
func (a Attested) marks() (m [len(identity.ClaimNames)]mark) {
	for at, name := range identity.ClaimNames {
		sum := sha256.Sum256(lengthPrefixed("claim", name, a.Claims[at].Reveal(), a.Month.Format("2006-01")))
		m[at] = mark(sum[:16])
	}
	return m
}

// after is a, attested once more than before, which may be the zero value.
func (a Attested) after(before Attested) Attested {
	if a.past = before.past; before != (Attested{}) {
		copy(a.past[1:], before.past[:pasts-1])
		a.past[0] = before.marks()
	}
	return a
}

// Until is when they are told no more.
func (a Attested) Until() time.Time { return a.Month.AddDate(1, 0, 0) }

// Taken replaces what is stored of a person's claims.
type Taken struct {
	Was, Now []byte // sealed, as Store.Claims returned it; nil: nothing
	Until    time.Time
	Up, Down [][]byte // combinations that one person more, or one less, has: 32 bytes each
	Noting   Change   // with it, as Store.Change does; the zero value: nothing
}

// ToldClaim is that a sector was told a claim for the first time. Neither part says what,
// whom or whose.
type ToldClaim struct {
	Place []byte // 32 bytes, of person, sector and claim, by whichever account they come
	Value []byte // 16 bytes, of sector, claim, value and month, under the key of the claims
}

// Attest takes the claims that came with a proof of identity, unless those that are there
// still count and the person did not ask to renew them: the month would else tell
// platforms when they come. It returns the key of what is stored, for the session; nil if
// the provider vouches for nothing.
func (s *Issuer) Attest(ctx context.Context, p Person, id identity.Identity, renew bool) (key []byte, err error) {
	if id.Claims == (identity.Claims{}) {
		return nil, nil
	}
	if key, err = s.mac(ctx, "claims", id.Issuer.Reveal(), id.Subject.Reveal()); err != nil {
		return nil, err
	}
	today := day(s.Now())
	fresh := Attested{Claims: id.Claims, Month: today.AddDate(0, 0, 1-today.Day())}
	for range 3 { // of those who come at once, one is first
		was, before, err := s.attested(ctx, p, key)
		if err != nil || before.Claims == fresh.Claims && before.Month.Equal(fresh.Month) || !renew && s.Now().Before(before.Until()) {
			return key, err
		}
		after := fresh.after(before)
		t, err := s.taking(ctx, was, before, after)
		if err != nil {
			return nil, err
		}
		t.Now = sealClaims(key, p, after)
		if was != nil {
			t.Noting = Change{Day: today, Kind: ChangeClaims}
		}
		if done, err := s.Store.TakeClaims(ctx, p, t); err != nil || done {
			return key, err
		}
	}
	return key, nil
}

// forgetClaims deletes them. Without the key, which a session by another account has not,
// the combinations count this person until their month ends.
func (s *Issuer) forgetClaims(ctx context.Context, p Person, key []byte) error {
	for range 3 {
		was, before, err := s.attested(ctx, p, key)
		if err != nil || was == nil {
			return err
		}
		t, err := s.taking(ctx, was, before, Attested{})
		if err != nil {
			return err
		}
		if done, err := s.Store.TakeClaims(ctx, p, t); err != nil || done {
			return err
		}
	}
	return ErrRecorded
}

// Attested returns p's claims, for p alone to see: the zero value if there are none, or if it is
// not that key which opens them.
func (s *Issuer) Attested(ctx context.Context, p Person, key []byte) (Attested, error) {
	_, a, err := s.attested(ctx, p, key)
	return a, err
}

// attested is what is stored of p's claims, as it is and opened: the zero value if it is
// not under that key, or not there.
func (s *Issuer) attested(ctx context.Context, p Person, key []byte) (sealed []byte, a Attested, err error) {
	if sealed, err = s.Store.Claims(ctx, p); err != nil || sealed == nil || key == nil {
		return sealed, a, err
	}
	return sealed, openClaims(key, p, sealed), nil
}

// taking is how before becomes after; either may be the zero value.
func (s *Issuer) taking(ctx context.Context, was []byte, before, after Attested) (Taken, error) {
	t := Taken{Was: was, Until: after.Until()}
	var err error
	if after != (Attested{}) {
		t.Up, err = s.combinations(ctx, after)
	}
	if err == nil && before != (Attested{}) {
		t.Down, err = s.combinations(ctx, before)
	}
	return t, err
}

// combinations are those that count a person, two for each set of claims that a platform
// could ask for: so everybody is in as many, and that somebody lacks a claim is part of
// what is counted.
func (s *Issuer) combinations(ctx context.Context, a Attested) ([][]byte, error) {
	var inputs [][]byte
	for set := identity.ClaimSet(1); set <= identity.AllClaims; set++ {
		inputs = append(inputs, combination(a, set, false), combination(a, set, true))
	}
	return s.Keys.MAC(ctx, PurposePseudonym, inputs...)
}

// combination is what people have in common of a set of claims: those of now and, if it is
// asked for, of all attestations before.
func combination(a Attested, set identity.ClaimSet, before bool) []byte {
	parts := []string{"combination", a.Month.Format("2006-01"), string(rune(set))}
	for _, value := range a.Claims.Only(set) {
		parts = append(parts, value.Reveal())
	}
	if !before {
		return lengthPrefixed(parts...)
	}
	parts[0] = "combination, and before"
	for _, marks := range a.past {
		for at, m := range marks {
			if set.Has(at) {
				parts = append(parts, string(m[:]))
			}
		}
	}
	return lengthPrefixed(parts...)
}

// Tellable is what of a person's claims the platforms of a sector may be told.
type Tellable struct {
	Attested                   // all that are stored; the zero value: none
	Ended    bool              // their twelve months are over
	May      identity.ClaimSet // of those that the sector may ask for
	Rare     bool              // fewer than Shared people have what it may ask for in common
	Unlike   bool              // it was told what cannot be counted with what is now
	Before   identity.ClaimSet // the sector was told these already, of now or of a month before

	places [][]byte // see ToldClaim
}

// Tellable judges what a sector, whose platforms together may ask for a set of claims, may
// be told of p. Judged is everything that they know already or may ask for, whatever they
// ask this time: so nothing narrows a person down bit by bit. Where they know something of
// an earlier attestation, those are counted who have all attestations in common. What they
// know is of none that is remembered where it came by another account, or before p was
// deleted: then they are told nothing.
func (s *Issuer) Tellable(ctx context.Context, p Person, key []byte, sector string, asks identity.ClaimSet) (t Tellable, err error) {
	if key == nil || asks == 0 {
		return t, nil
	}
	_, t.Attested, err = s.attested(ctx, p, key)
	if err != nil || t.Attested == (Attested{}) {
		return t, err
	}
	if t.Ended = !s.Now().Before(t.Until()); t.Ended {
		return t, nil
	}
	var before bool
	if before, err = s.compare(ctx, p, key, sector, &t); err != nil || t.Unlike {
		return t, err
	}
	judged := asks | t.Before
	if t.May = asks & t.Claims.Known(); t.May == 0 {
		return t, nil
	}
	macs, err := s.Keys.MAC(ctx, PurposePseudonym, combination(t.Attested, judged, before))
	if err != nil {
		return t, err
	}
	n, err := s.Store.Sharing(ctx, macs[0])
	if t.Rare = n < Shared; t.Rare || err != nil {
		t.May = 0
	}
	return t, err
}

// compare reads what a sector was told into t, and reports whether some of it is of an
// earlier attestation.
func (s *Issuer) compare(ctx context.Context, p Person, key []byte, sector string, t *Tellable) (before bool, err error) {
	var inputs [][]byte
	for _, name := range identity.ClaimNames {
		inputs = append(inputs, lengthPrefixed("claim told", string(p.ID[:]), sector, name))
	}
	if t.places, err = s.Keys.MAC(ctx, PurposePseudonym, inputs...); err != nil {
		return false, err
	}
	told, err := s.Store.ToldClaims(ctx, t.places)
	if err != nil {
		return false, err
	}
	now := t.marks()
	for at, value := range told {
		if value == nil {
			continue
		}
		t.Before |= 1 << at
		if bytes.Equal(value, toldValue(key, sector, now[at])) {
			continue
		}
		before = true
		t.Unlike = t.Unlike || !slices.ContainsFunc(t.past[:], func(marks [len(identity.ClaimNames)]mark) bool {
			return marks[at] != mark{} && bytes.Equal(value, toldValue(key, sector, marks[at]))
		})
	}
	return before, nil
}

// Tell notes, before it is told, that a sector is told a set of claims.
func (s *Issuer) Tell(ctx context.Context, key []byte, sector string, t Tellable, set identity.ClaimSet) error {
	var fresh []ToldClaim
	for at, m := range t.marks() {
		if (set & t.May &^ t.Before).Has(at) {
			fresh = append(fresh, ToldClaim{t.places[at], toldValue(key, sector, m)})
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return s.Store.TellClaims(ctx, fresh, day(s.Now()))
}

// toldValue is how it is noted that a sector was told a claim.
func toldValue(key []byte, sector string, m mark) []byte {
	return derived(key, "told value", sector, string(m[:]))[:16]
}

// derived is a key, or a value to compare, under a person's key of claims.
func derived(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(lengthPrefixed(parts...)) // never fails (hash.Hash)
	return h.Sum(nil)
}

// claimsSize is what everybody's claims are as bytes: month, then each with its length,
// then the marks of what was before.
const (
	claimsSize = pastAt + pasts*len(identity.ClaimNames)*len(mark{})
	pastAt     = 4 + len(identity.ClaimNames)*(1+identity.MaxClaim)
)

// sealClaims encrypts them for the row of p (AES-256-GCM, NIST SP 800-38D).
func sealClaims(key []byte, p Person, a Attested) []byte {
	text := make([]byte, claimsSize)
	binary.BigEndian.PutUint32(text, uint32(a.Month.Unix()/86400)) // days since 1970
	for at, value := range a.Claims {
		field := text[4+at*(1+identity.MaxClaim):]
		field[0] = byte(len(value))
		copy(field[1:1+identity.MaxClaim], value.Reveal())
	}
	text = text[:pastAt]
	for _, marks := range a.past {
		for _, m := range marks {
			text = append(text, m[:]...)
		}
	}
	return claimsCipher(key, p).Seal(nil, nil, text, nil)
}

// openClaims is the inverse; the zero value if it was made under another key.
func openClaims(key []byte, p Person, sealed []byte) (a Attested) {
	text, err := claimsCipher(key, p).Open(nil, nil, sealed, nil)
	if err != nil || len(text) != claimsSize {
		return a
	}
	a.Month = time.Unix(int64(binary.BigEndian.Uint32(text))*86400, 0).UTC()
	for at := range a.Claims {
		field := text[4+at*(1+identity.MaxClaim):]
		a.Claims[at] = identity.Private(field[1 : 1+min(field[0], identity.MaxClaim)])
	}
	rest := text[pastAt:]
	for i := range a.past {
		for at := range a.past[i] {
			rest = rest[copy(a.past[i][at][:], rest):]
		}
	}
	return a
}

// claimsCipher is of one record of one person: what is sealed opens nowhere else.
func claimsCipher(key []byte, p Person) cipher.AEAD {
	block, err := aes.NewCipher(derived(key, "seal", string(p.ID[:]), p.Label))
	if err != nil {
		panic(err) // cannot be: the key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // cannot be: AES has blocks of 16 bytes
	}
	return aead
}
