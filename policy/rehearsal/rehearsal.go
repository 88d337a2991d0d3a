// Package rehearsal decides on orders that no court has made, so that people see what rules
// do before they endorse them.
//
// A case is a file beside the rules: an order as its authority would write it, and what the
// right decision is. [New] puts a bundle on a stage: its rules, classes, catalogue, limits
// and parties are as they are, and keys that the stage has made stand in the place of the
// authorities', the issuer's and a platform's. So the case is signed, has its evidence, and
// is decided by [policy.Decide] itself. Nothing that a stage signs counts anywhere else.
package rehearsal

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// platform is the one on which all pen names of a rehearsal post.
const platform = "town-square"

// moment is when every case is decided.
var moment = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// Cast are the parties that cases speak of. Of those that the bundle has itself, its own
// count.
type Cast struct {
	Organisations []policy.Organisation `json:"organisations"`
	Authorities   []policy.Authority    `json:"authorities"` // without keys; no offence classes: competent for all
}

// Stage is a bundle whose cases can be decided.
type Stage struct {
	bundle *policy.Bundle
}

// New puts a bundle on a stage with a cast. An error is one of the bundle with that cast.
func New(b *policy.Bundle, cast Cast) (*Stage, error) {
	raw, err := b.Marshal()
	if err != nil {
		return nil, err
	}
	staged, _, err := policy.ParseBundleDraft(raw, raw)
	if err != nil {
		return nil, err
	}
	staged.IssuerKeys, staged.Registry = keySet("issuer"), nil
	staged.Platforms = []policy.Platform{{ID: platform, Name: "Town Square", Keys: keySet(platform)}}
	staged.Stops = nil
	for _, o := range cast.Organisations {
		if slices.ContainsFunc(staged.Organisations, func(known policy.Organisation) bool { return known.ID == o.ID }) {
			continue
		}
		if slices.ContainsFunc(staged.Organisations, func(known policy.Organisation) bool { return document.Fold(known.Name) == document.Fold(o.Name) }) {
			o.Name += " (rehearsal)" // the bundle knows it by another id
		}
		staged.Organisations = append(staged.Organisations, o)
	}
	for _, a := range cast.Authorities {
		if staged.Authority(a.ID) != nil {
			continue
		}
		if a.OffenceClasses == nil {
			for _, c := range staged.OffenceClasses {
				a.OffenceClasses = append(a.OffenceClasses, c.ID)
			}
		}
		if a.DailyWarrants == 0 {
			a.DailyWarrants = policy.DefaultDailyWarrants
		}
		staged.Authorities = append(staged.Authorities, a)
	}
	for i := range staged.Authorities {
		staged.Authorities[i].Keys = []policy.Key{{JWK: public(staged.Authorities[i].ID), From: moment.AddDate(-1, 0, 0), Until: moment.AddDate(1, 0, 0)}}
	}
	staged, err = reread(staged)
	if err != nil {
		return nil, err
	}
	return &Stage{staged}, nil
}

// reread makes a draft a bundle that decides.
func reread(draft *policy.Bundle) (*policy.Bundle, error) {
	raw, err := draft.Marshal()
	if err != nil {
		return nil, err
	}
	return policy.ParseBundle(raw)
}

// Bundle is a bundle of a profile with five custodians who stand in, two of whom open
// together, and no authority: to try the profile's cases without one's own bundle.
func Bundle(p *policy.Profile) (*policy.Bundle, error) {
	b := &policy.Bundle{
		Registrar: "https://penname.example", Issuer: "https://penname.example", IssuerKeys: keySet("issuer"),
		Log: policy.Log{Origin: "penname.example/log", VKey: verifierKey("penname.example/log"), Quorum: 1,
			Witnesses: []policy.Witness{{Name: "witness.example", Operator: "Witness", VKey: verifierKey("witness.example")}}},
		Threshold: 2, ThresholdKey: encoded(make([]byte, 40)), MaxTargets: 600, MaxSecrecyDays: 366, MaxValidityDays: 90,
	}
	p.Fill(b)
	for i, name := range []string{"alba", "bruno", "chidi", "dora", "emre"} {
		secret, err := document.DeliveryKEM().NewPrivateKey(seed("recipient of " + name))
		if err != nil {
			return nil, err
		}
		b.Custodians = append(b.Custodians, policy.Custodian{ID: name, Name: "Custodian " + name, Organisation: "Organisation of " + name, Index: i + 1,
			Key: public(name), Recipient: document.Recipient(secret.PublicKey())})
	}
	b.Succeed(nil)
	return reread(b)
}

// Decide signs the order of a case, makes its evidence and decides.
func (s *Stage) Decide(c Case) (policy.Decision, error) {
	known := policy.Facts{Filed: c.Filed}
	if c.Earlier != nil {
		earlier, err := s.submission(*c.Earlier, nil)
		if err != nil {
			return policy.Decision{}, err
		}
		known.Earlier = &policy.Recorded{Warrant: earlier.Warrant, Leaf: 1}
	}
	submission, err := s.submission(c.Filing, known.Earlier)
	if err != nil {
		return policy.Decision{}, err
	}
	return policy.Decide(submission, s.bundle, known, moment), nil
}

// key is what a party of a rehearsal signs with. Anybody can make it: it counts on a
// stage only.
func key(party string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(seed(party)), KeyID: "rehearsal-" + party, Algorithm: string(jose.EdDSA), Use: "sig"}
}

func seed(party string) []byte {
	sum := sha256.Sum256([]byte("penname rehearsal: " + party))
	return sum[:]
}

func public(party string) json.RawMessage {
	k := key(party)
	raw, err := k.Public().MarshalJSON()
	if err != nil {
		panic("rehearsal: " + err.Error()) // cannot happen: it is a key of ours
	}
	return raw
}

func keySet(party string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"keys":[%s]}`, public(party)))
}
