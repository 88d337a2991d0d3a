// Package openingtest makes whole cases in memory, as a court, a platform, custodians and a
// registrar make them together, for tests of who checks them: with a log and its witness,
// under a bundle in which each target is decided for itself.
package openingtest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// Now is the day of every case.
var Now = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// Platform is where everybody posts.
const Platform = "town-square"

// World is a bundle with the secrets of everybody in it, and its log.
type World struct {
	*log
	Bundle   *policy.Bundle
	Delivery seal.DeliveryPrivate // of the requester
	Shares   map[string]threshold.KeyShare
	Say      func(target, n int) string // the words of a post; nil: threats
	Suggests map[int][]string           // what the account of a target suggests
	Clock    time.Time                  // of the leaves of an emergency

	keys map[string]jose.JSONWebKey
	pk   threshold.PublicKey
}

// New makes a world with three custodians, alba, bruno and chidi, two of whom open; change
// may seat others, whose shares then are not in Shares.
func New(t testing.TB, change func(draft *policy.Bundle)) *World {
	t.Helper()
	w := &World{log: newLog(t), Clock: Now, keys: make(map[string]jose.JSONWebKey), Shares: make(map[string]threshold.KeyShare)}
	pk, shares, err := escrowtest.ThresholdKey(2, 3)
	check(t, err)
	text, err := pk.MarshalText()
	check(t, err)
	w.Delivery, err = seal.GenerateDeliveryKey()
	check(t, err)
	draft := w.draft(string(text))
	for i, id := range []string{"alba", "bruno", "chidi"} {
		w.Shares[id] = shares[i]
		draft.Custodians = append(draft.Custodians, policy.Custodian{ID: id, Name: "N " + id, Organisation: "O " + id, Index: i + 1, Key: w.public(id)})
	}
	if change != nil {
		change(draft)
	}
	exhibittest.Name(draft)
	draft.Succeed(nil)
	raw, err := draft.Marshal()
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	w.Bundle, err = policy.ParseBundle(raw)
	check(t, err)
	w.pk, err = threshold.ParsePublicKey(w.Bundle.ThresholdKey)
	check(t, err)
	w.Append(proof.BundleLeaf(Now, w.Bundle.Hash()))
	return w
}

func (w *World) draft(thresholdKey string) *policy.Bundle {
	var classes []string
	for _, c := range policy.DefaultOffenceClasses() {
		classes = append(classes, c.ID)
	}
	return &policy.Bundle{
		Registrar: "https://penname.example", Issuer: "https://penname.example", IssuerKeys: w.set("issuer"), Log: w.said,
		Platforms: []policy.Platform{{ID: Platform, Name: "Town Square", Keys: w.set("square")}},
		Authorities: []policy.Authority{{ID: "court", Name: "Crown Court", Kind: "court", Jurisdiction: "GB", OffenceClasses: classes,
			Keys: []policy.Key{{JWK: w.public("court"), From: Now.AddDate(-1, 0, 0), Until: Now.AddDate(1, 0, 0)}}}},
		Organisations:  []policy.Organisation{{ID: "police", Name: "Thornley Police"}},
		OffenceClasses: policy.DefaultOffenceClasses(), Offences: policy.DefaultOffences(), Fields: policy.DefaultFields(),
		Compartments: []policy.Compartment{{ID: "identity", Fields: []string{"name", "birthdate"}}, {ID: "contact", Fields: []string{"address", "email"}}},
		Threshold:    2, ThresholdKey: thresholdKey, Policies: policy.DefaultRules(), MaxTargets: 900, MaxSecrecyDays: 365, MaxValidityDays: 30,
	}
}

// Key is the signing key of somebody in the world, made when it is first asked for.
func (w *World) Key(name string) jose.JSONWebKey {
	w.t.Helper()
	if _, known := w.keys[name]; !known {
		k, err := document.NewKey()
		check(w.t, err)
		w.keys[name] = k
	}
	return w.keys[name]
}

func (w *World) public(name string) json.RawMessage {
	key := w.Key(name)
	raw, err := key.Public().MarshalJSON()
	check(w.t, err)
	return raw
}

func (w *World) set(name string) json.RawMessage {
	key := w.Key(name)
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	check(w.t, err)
	return raw
}

// Case is a recorded warrant with all that is on file about it.
type Case struct {
	*World
	ID         string
	Warrant    policy.Warrant
	Submission policy.Submission
	Salt       [32]byte
	Recorded   int64 // leaf
	Words      map[[32]byte]string

	sealed    []seal.Record
	halves    [][]byte
	linkSalts [][32]byte
	positions []int
	opened    []proof.Opened
	decided   []int64
	approvals []string
}

// File records a production warrant about so many pen names with so many posts each: threats,
// "I will find you, N", where N counts. Countersigned are the authorities that validated it
// before.
func (w *World) File(targets, posts int, change func(*policy.Warrant), countersigned ...string) *Case {
	w.t.Helper()
	c := &Case{World: w, ID: fmt.Sprint("case-", len(w.leaves)), Salt: sha256.Sum256([]byte("salt")), Words: make(map[[32]byte]string)}
	c.Warrant = policy.Warrant{
		ID: c.ID, Kind: policy.Production, Authority: "court", Jurisdiction: "GB", FileNumber: "T20260017", LegalBasis: "Online Safety Act 2023, s. 181",
		OffenceClass: "threat_to_life", OffenceID: "threat_to_kill", Offence: "Threats to kill", MaxPenaltyMonths: 120,
		Grounds: "Threats were posted.", Necessity: "No other lead.", Proportionality: "The name alone.",
		Requester: policy.Requester{Name: "DC Example", Organisation: "Thornley Police", OrganisationID: "police", DeliveryKey: w.Delivery.Public()},
		Fields:    []string{"name"}, Deadline: policy.TenDays, Secrecy: policy.Secrecy{Ends: Now.AddDate(0, 0, 30), Reason: "The investigation would be frustrated."},
		Bundle: w.Bundle.Hash(), Audience: w.Bundle.Registrar, IssuedAt: Now.Add(-time.Hour), Expiry: Now.AddDate(0, 0, 14),
	}
	for i := range targets {
		c.target(i, posts)
	}
	if change != nil {
		change(&c.Warrant)
	}
	var err error
	c.Submission.Warrant, err = policy.SignWarrant(w.Key("court"), c.Warrant)
	check(w.t, err)
	for _, id := range countersigned {
		c.Submission.Countersigned = append(c.Submission.Countersigned, c.Validation(id))
	}
	d := policy.Decide(c.Submission, w.Bundle, policy.Facts{}, Now)
	if !d.Allowed {
		w.t.Fatal(d.Refusal, d.Rules, errors.Unwrap(d.Refusal))
	}
	leaf := policy.RecordedLeaf(c.Submission.Warrant, &c.Warrant, c.Salt, w.Bundle.Hash(), d.Quorum, policy.KindOf(c.Warrant.Kind).When(Now), d.RecordedFacets(w.Bundle)...)
	leaf.NoticeDays = d.NoticeDays()
	c.Recorded = w.Append(leaf)
	var named []proof.Target
	for _, t := range c.Warrant.Targets {
		named = append(named, proof.Target{Pseudonym: string(t.Pseudonym), Platform: t.Platform})
	}
	c.positions = proof.Positions(leaf, c.Salt, named)
	return c
}

// Validate logs a validation of the case at the clock, and returns its leaf.
func (c *Case) Validate(by string) int64 {
	c.t.Helper()
	raw := c.Validation(by)
	v, err := policy.ParseUnverified(raw)
	check(c.t, err)
	leaf := policy.RecordedLeaf(raw, v, sha256.Sum256([]byte(by)), c.Bundle.Hash(), 0, policy.KindOf(v.Kind).When(c.Clock))
	leaf.Case = &c.Recorded
	return c.Append(leaf)
}

// Validation is a warrant by which an authority validates that of the case.
func (c *Case) Validation(by string) string {
	c.t.Helper()
	v, err := policy.FollowUp(policy.Validation, c.Submission.Warrant, c.Bundle.Authority(by), "It was needed at once.")
	check(c.t, err)
	v.ID, v.Bundle, v.IssuedAt, v.Expiry, v.Secrecy = c.ID+"-validated", c.Bundle.Hash(), Now.Add(-time.Hour), c.Warrant.Expiry, policy.Secrecy{}
	signed, err := policy.SignWarrant(c.Key(by), *v)
	check(c.t, err)
	return signed
}

// target enrols somebody, lets them post, and names them in the warrant.
func (c *Case) target(i, posts int) {
	who := sha256.Sum256(fmt.Append(nil, "person ", i))
	name, err := token.NewPseudonym(who[:16])
	check(c.t, err)
	fields := map[string][]byte{"name": fmt.Append(nil, "Person ", i), "birthdate": []byte("1990-01-01"), "email": []byte("p@mail.example")}
	label, half := seal.NewLabel(), []byte(nil)
	record, err := seal.Seal(c.t.Context(), label, fields, seal.Custodians{Key: c.pk, Compartments: c.Bundle.FieldsByCompartment()},
		func(_ context.Context, _ string, k1 []byte) (string, error) {
			half = append(half, k1...)
			return "wrapped", nil
		})
	check(c.t, err)
	digest, err := record.Digest()
	check(c.t, err)
	c.sealed, c.halves, c.linkSalts = append(c.sealed, record), append(c.halves, half), append(c.linkSalts, who)
	signedIn := c.token(name, token.Commit(name, seal.Reference(label, digest), who))
	t := policy.Target{Pseudonym: name, Platform: Platform}
	for n := range posts {
		words := fmt.Sprintf("I will find you, %d", len(c.Words))
		if c.Say != nil {
			words = c.Say(i, n)
		}
		x, err := token.NewExhibit("text/plain", strings.NewReader(words))
		check(c.t, err)
		c.Words[x.Digest] = words
		post := token.Post{URL: fmt.Sprintf("https://town-square.example/%d/%d", i, n), At: Now.AddDate(0, 0, -1), Exhibits: []token.Exhibit{x}, AuthorSuggests: c.Suggests[i]}
		signed, err := token.SignEvidence(c.Key("square"), token.Evidence{Platform: Platform, Token: signedIn, Post: post})
		check(c.t, err)
		c.Submission.Evidence = append(c.Submission.Evidence, signed)
		if n == 0 {
			t.Evidence = hexDigest(signed)
		} else {
			t.Further = append(t.Further, hexDigest(signed))
		}
	}
	c.Warrant.Targets = append(c.Warrant.Targets, t)
}

func (c *Case) token(name token.Pseudonym, commitment [32]byte) string {
	at := Now.AddDate(0, 0, -1).Add(-time.Minute)
	claims, err := json.Marshal(map[string]any{"iss": c.Bundle.Issuer, "sub": name, "aud": Platform, "iat": at.Unix(), "exp": at.Add(time.Hour).Unix(),
		"jti": string(name), "acr": "high", "penname_commitment": base64.RawURLEncoding.EncodeToString(commitment[:])})
	check(c.t, err)
	key := c.Key("issuer")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	check(c.t, err)
	jws, err := signer.Sign(claims)
	check(c.t, err)
	raw, err := jws.CompactSerialize()
	check(c.t, err)
	return raw
}

func hexDigest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
