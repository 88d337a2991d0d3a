package postgres

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

// trips counts round trips to the database: a message of ours that was answered.
type trips struct {
	mu sync.Mutex
	n  int
}

func (c *trips) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := dialer(ctx, network, addr)
	return &tripConn{Conn: conn, trips: c}, err
}

func (c *trips) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

type tripConn struct {
	net.Conn
	trips *trips
	asked bool // since the last answer; guarded by trips.mu
}

func (c *tripConn) Write(b []byte) (int, error) {
	c.trips.mu.Lock()
	c.asked = true
	c.trips.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *tripConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.trips.mu.Lock()
	defer c.trips.mu.Unlock()
	if n > 0 && c.asked {
		c.asked = false
		c.trips.n++
	}
	return n, err
}

// storedLog is the public log without witnesses.
type storedLog struct {
	leaves func(ctx context.Context, from, to int64) ([][]byte, error)
}

func (storedLog) Await(context.Context, int64) error { return nil }

func (l storedLog) Prove(ctx context.Context, index int64) (leaf, proof []byte, err error) {
	leaves, err := l.leaves(ctx, index, index+1)
	if err != nil {
		return nil, nil, err
	}
	return leaves[0], []byte("proof"), nil
}

func signingKey(t testing.TB, id string) jose.JSONWebKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: "EdDSA", Use: "sig"}
}

func jsonOf(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// largeWarrant is a court, its custodians, and a warrant against n people who
// are enrolled: sealed, linked and with a post each.
type largeWarrant struct {
	bundle       *policy.Bundle
	raw          []byte
	endorsements []string
	custodians   []jose.JSONWebKey
	submission   policy.Submission
	label        string // of the first target
	now          time.Time
}

func newLargeWarrant(t testing.TB, s *Issuing, keys *vault.Issuing, n int) *largeWarrant {
	t.Helper()
	w := &largeWarrant{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	court, issuer, square := signingKey(t, "court"), signingKey(t, "issuer"), signingKey(t, "square")
	pk, _, err := threshold.Deal(rand.Reader, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	public, err := pk.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	set := func(k jose.JSONWebKey) json.RawMessage {
		return jsonOf(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.Public()}})
	}
	vkey := func(name string) string {
		return name + "+0a1b2c3d+" + base64.StdEncoding.EncodeToString(append([]byte{4}, random(32)...))
	}
	b := &policy.Bundle{
		Version: 1, Registrar: "https://penname.example", Issuer: "https://penname.example", IssuerKeys: set(issuer),
		Log:       policy.Log{Origin: "penname.example/log", VKey: vkey("log"), Quorum: 1, Witnesses: []policy.Witness{{Name: "w1", Operator: "Law Society", VKey: vkey("w1")}}},
		Platforms: []policy.Platform{{ID: "town-square", Name: "Town Square", Keys: set(square)}},
		Authorities: []policy.Authority{{ID: "court", Name: "Court", Kind: "court", Jurisdiction: "GB",
			Keys:           []policy.Key{{JWK: jsonOf(t, court.Public()), From: w.now.AddDate(-1, 0, 0), Until: w.now.AddDate(1, 0, 0)}},
			OffenceClasses: []string{"threat_of_sexual_violence"}}},
		OffenceClasses: policy.DefaultOffenceClasses(), Fields: policy.DefaultFields(), Policies: policy.DefaultRules(),
		Threshold: 2, ThresholdKey: base64.RawURLEncoding.EncodeToString(public), MaxTargets: 600, MaxSecrecyDays: 365, MaxValidityDays: 30,
	}
	for i := range 3 {
		k := signingKey(t, fmt.Sprint("custodian-", i+1))
		w.custodians = append(w.custodians, k)
		b.Custodians = append(b.Custodians, policy.Custodian{ID: k.KeyID, Name: k.KeyID, Organisation: k.KeyID, Index: i + 1, Key: jsonOf(t, k.Public())})
	}
	if w.raw, err = b.Marshal(); err != nil {
		t.Fatal(err, cause(err))
	}
	if w.bundle, err = policy.ParseBundle(w.raw); err != nil {
		t.Fatal(err, cause(err))
	}
	for _, k := range w.custodians {
		e, err := policy.SignEndorsement(k, k.KeyID, w.bundle.Hash(), w.now)
		if err != nil {
			t.Fatal(err, cause(err))
		}
		w.endorsements = append(w.endorsements, e)
	}
	delivery, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	warrant := policy.Warrant{
		ID: "T20260600", Kind: policy.Production, Authority: "court", Jurisdiction: "GB", FileNumber: "T20260600",
		LegalBasis: "Online Safety Act 2023, s. 181", OffenceClass: "threat_of_sexual_violence", Offence: "Threatening communications",
		MaxPenaltyMonths: 60, Grounds: "A threat was posted.", Necessity: "No other lead.", Proportionality: "Those who posted it.",
		Requester: policy.Requester{Name: "DC Example", Organisation: "Police", DeliveryKey: delivery.Public()}, Fields: []string{"name"},
		Deadline: policy.TenDays, Secrecy: policy.Secrecy{Ends: w.now.AddDate(0, 0, 30), Reason: "The investigation would be frustrated."},
		Bundle: w.bundle.Hash(), Audience: "https://penname.example", IssuedAt: w.now.Add(-time.Hour), Expiry: w.now.AddDate(0, 0, 14),
	}
	for range n {
		target, evidence := w.target(t, s, keys, pk, issuer, square)
		warrant.Targets = append(warrant.Targets, target)
		w.submission.Evidence = append(w.submission.Evidence, evidence)
	}
	if w.submission.Warrant, err = policy.SignWarrant(court, warrant); err != nil {
		t.Fatal(err, cause(err))
	}
	return w
}

// target enrols somebody, gives them a pen name, and signs what they posted.
func (w *largeWarrant) target(t testing.TB, s *Issuing, keys *vault.Issuing, pk threshold.PublicKey, issuer, square jose.JSONWebKey) (policy.Target, string) {
	t.Helper()
	e := enrolment()
	label := e.Person.Label
	if w.label == "" {
		w.label = label
	}
	fields := map[string][]byte{"name": []byte("Jo Teacher"), "birthdate": []byte("1988-02-29")}
	var err error
	if e.Record, err = seal.Seal(t.Context(), label, fields, pk, keys.WrapHalf); err != nil {
		t.Fatal(err, cause(err))
	}
	if e.Person.Digest, err = e.Record.Digest(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Enrol(t.Context(), e); err != nil {
		t.Fatal(err, cause(err))
	}
	a := issue.Assignment{Pseudonym: pseudonym(t), Platform: "town-square", Day: day}
	salt := [32]byte(random(32))
	a.Commitment = token.Commit(a.Pseudonym, seal.Reference(label, e.Person.Digest), salt)
	link := append(append(append([]byte(nil), salt[:]...), e.Person.Digest[:]...), label...)
	if a.Link, err = keys.WrapLink(t.Context(), string(a.Pseudonym), link); err != nil {
		t.Fatal(err, cause(err))
	}
	if _, err := s.Assign(t.Context(), a); err != nil {
		t.Fatal(err, cause(err))
	}
	at := w.now.AddDate(0, 0, -3)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: issuer}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(jsonOf(t, map[string]any{
		"iss": "https://penname.example", "sub": a.Pseudonym, "aud": "town-square", "iat": at.Add(-time.Minute).Unix(), "exp": at.Add(time.Hour).Unix(),
		"jti": label, "acr": "high", "penname_commitment": base64.RawURLEncoding.EncodeToString(a.Commitment[:]),
	}))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := token.SignEvidence(square, token.Evidence{Platform: "town-square", Token: compact,
		Post: token.Post{URL: "https://town-square.example/post/" + label, Digest: sha256.Sum256([]byte(label)), At: at}})
	if err != nil {
		t.Fatal(err, cause(err))
	}
	sum := sha256.Sum256([]byte(evidence))
	return policy.Target{Pseudonym: a.Pseudonym, Platform: "town-square", Evidence: hex.EncodeToString(sum[:])}, evidence
}

// approval is a custodian's, with a share for each target that nobody opens.
func (w *largeWarrant) approval(t testing.TB, k jose.JSONWebKey, c disclose.Case, targets int) string {
	t.Helper()
	a := policy.Approval{Case: c.ID, Custodian: k.KeyID, WarrantHash: hex.EncodeToString(c.WarrantHash[:]), Bundle: c.Bundle,
		LeafIndex: c.RecordedLeaf, CheckpointSize: c.RecordedLeaf + 1, Decision: policy.Approve, At: w.now}
	for i := range targets {
		a.Shares = append(a.Shares, policy.EncryptedShare{Target: i, Ciphertext: random(300)})
	}
	signed, err := policy.SignApproval(k, a)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	return signed
}

// steps runs the steps of a case with n targets, and returns how many round
// trips each took to the database and to Vault, and how long.
func steps(t testing.TB, n int) map[string]step {
	t.Helper()
	admin := database(t)
	s := issuing(t, admin, Options{})
	v := escrowtest.Vault(t)
	wrap, _ := v.Sides(t)
	w := newLargeWarrant(t, s, wrap, n)
	db := new(trips)
	d := disclosing(t, admin, Options{Dial: db.dial, MaxConns: 1})
	proxy := escrowtest.NewProxy(t, v.Address)
	config := v.Config(t, vault.SideDisclosing)
	config.Address = proxy.URL
	keys, err := vault.OpenDisclosing(t.Context(), config)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	r := largeRegistrar(d, keys, w)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, cause(err))
		}
	}
	must(r.Rules.Install(t.Context(), w.raw, w.endorsements))
	all := make(map[string]step)
	measure := func(name string, f func()) {
		t.Helper()
		before, asked, start := db.count(), proxy.Forwarded(), time.Now()
		f()
		all[name] = step{db.count() - before, proxy.Forwarded() - asked, time.Since(start)}
	}
	var c disclose.Case
	measure("file", func() { c, _, err = r.File(t.Context(), w.submission); must(err) })
	measure("review", func() { _, err = r.Review(t.Context(), c.ID); must(err) })
	for i, name := range []string{"approve", "approve and release"} {
		signed := w.approval(t, w.custodians[i], c, n)
		measure(name, func() { c, err = r.Decide(t.Context(), c.ID, signed); must(err) })
	}
	if c.State != disclose.Released {
		t.Fatalf("%s", c.State)
	}
	measure("deliver", func() { _, err = r.Deliver(t.Context(), c.ID); must(err) })
	if _, err := s.Ask(t.Context(), issue.Receipt{Label: w.label, Salt: [32]byte(random(32)), Day: day}); err != nil {
		t.Fatal(err, cause(err))
	}
	measure("clear", func() {
		if n, err := r.Clear(t.Context()); n != 0 || err != nil {
			t.Fatalf("cleared %d that a case holds, %v", n, err)
		}
	})
	return all
}

type step struct {
	database, vault int
	took            time.Duration
}

func BenchmarkLargeCase(b *testing.B) {
	for b.Loop() {
		for name, s := range steps(b, 600) {
			b.Logf("%-20s %5d to the database, %5d to Vault, %v", name, s.database, s.vault, s.took.Round(time.Millisecond))
		}
	}
}

func largeRegistrar(d *Disclosing, keys disclose.Keys, w *largeWarrant) *disclose.Registrar {
	now := func() time.Time { return w.now }
	return &disclose.Registrar{Keys: keys, Cases: d.Cases, Records: d.Records, Erasures: d.Erasures, Log: storedLog{d.Log.Leaves}, Now: now,
		Rules: &disclose.Rules{Bundles: d.Bundles, Ceremonies: d.Ceremonies, Now: now}}
}
