package main

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// TestUpgradeFromPlatformsOfTheBundle: a world of the version before, whose rules are of
// version 2 of the format and name the platforms, gets a registry by its next rules. The
// case that was filed before goes on, the evidence of before counts as it did, and people
// sign in at the same platforms, by the registry.
func TestUpgradeFromPlatformsOfTheBundle(t *testing.T) {
	folder := keepDir(t)
	start := func(o world.Options) *world.World {
		t.Helper()
		o.Listen, o.Keep, o.Log = "127.0.0.1:0", folder, &syncBuffer{}
		w, err := world.Start(t.Context(), programs, o)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	before := start(world.Options{Rules: func(b *policy.Bundle) {
		b.Version, b.Registry = 2, nil
		exhibittest.Forget(b)
		for id, name := range map[string]string{world.TownSquare: "Town Square", world.SchoolForum: "School Forum"} {
			key := readJWK(t, folder+"/evidence-"+id+".jwk")
			b.Platforms = append(b.Platforms, policy.Platform{ID: id, Name: name, Keys: marshal(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})})
		}
	}})
	if b := before.Service.Bundle; b.Version != 2 || b.Registry != nil || len(b.Platforms) != 2 {
		t.Fatalf("the first rules are of version %d", b.Version)
	}
	troll := sandbox.People()[1]
	threat := postBefore(t, before, troll)
	c := &world.Case{World: before, Post: threat, Author: troll}
	var err error
	c.Evidence, err = before.SaveEvidence("threat.jws", threat)
	do(err)
	do(c.File(t.Context()))
	do(c.Approve(t.Context(), "alba"))
	do(before.Close())

	after := start(world.Options{})
	defer func() { do(after.Close()) }()
	b, err := policy.ParseBundle([]byte(read(t, after.Path("bundle.json"))))
	do(err)
	if b.Version != policy.CurrentVersion || b.Number != 2 || b.Registry == nil || len(b.Platforms) != 2 {
		t.Fatalf("in force are rules %d of version %d", b.Number, b.Version)
	}
	c.World = after
	do(c.Approve(t.Context(), "bruno")) // under the rules of its day
	do(c.Open(t.Context()))

	again := &world.Case{World: after, Post: threat, Evidence: c.Evidence, Author: troll}
	do(again.File(t.Context()))
	do(again.Approve(t.Context(), "bruno"))
	do(again.Approve(t.Context(), "chidi"))
	do(again.Open(t.Context()))

	browser := world.NewBrowser()
	do(browser.Visit(t.Context(), after.Town, troll.Name))
	next := &world.Case{World: after, Author: troll}
	next.Post, err = browser.Say(t.Context(), after.Town, "I said that I will come.")
	do(err)
	if next.Post.Author != threat.Author {
		t.Error("another pen name than before")
	}
	next.Evidence, err = after.SaveEvidence("again.jws", next.Post)
	do(err)
	do(next.File(t.Context()))
	do(next.Approve(t.Context(), "alba"))
	do(next.Approve(t.Context(), "chidi"))
	do(next.Open(t.Context()))
}

// postBefore is a post by somebody who signed in at Town Square when the rules named it:
// this version signs in nobody at a platform that is not in the registry, so their token
// is made here as the version before made it.
func postBefore(t *testing.T, w *world.World, who sandbox.Person) world.Post {
	t.Helper()
	issuer := &issue.Issuer{Keys: w.Service.Issuing.Keys, Store: w.Service.Issuing.Store, Now: w.Clock.Now, Custodians: func() (seal.Custodians, error) {
		key, err := threshold.ParsePublicKey(w.Service.Bundle.ThresholdKey)
		return seal.Custodians{Key: key, Compartments: w.Service.Bundle.FieldsByCompartment()}, err
	}}
	now := w.Clock.Now().UTC()
	person, first, err := issuer.Enrol(t.Context(), identity.Identity{Issuer: identity.Private(w.Identity), Subject: identity.Private(who.Subject), Name: identity.Private(who.Name),
		Birthdate: identity.Private(who.Birthdate), Address: identity.Private(who.Address), Email: identity.Private(who.Email), ACR: sandbox.ACRVerified, VerifiedAt: now.Truncate(24 * time.Hour)})
	if err != nil || !first {
		t.Fatal(first, err)
	}
	name, commitment, err := issuer.Pseudonym(t.Context(), person, world.TownSquare, 0)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: readJWK(t, w.Path("token.jwk"))}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(marshal(t, map[string]any{
		"iss": w.Origin, "sub": name, "aud": world.TownSquare, "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(9 * time.Minute).Unix(),
		"jti": "a-sign-in-of-before", "acr": sandbox.ACRVerified, "penname_commitment": base64.RawURLEncoding.EncodeToString(commitment[:]),
	}))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return world.Post{Author: name, Text: "I will come for you tonight.", URL: w.Town.Origin + "/posts/1", At: now, Token: &token.Token{Subject: name, Raw: raw}}
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func readJWK(t *testing.T, file string) (k jose.JSONWebKey) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, file)), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

func marshal(t *testing.T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
