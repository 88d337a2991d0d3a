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
	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
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

// court signs warrants under a bundle of its own.
type court struct {
	key, issuer, square jose.JSONWebKey
	custodians          []jose.JSONWebKey
	public              threshold.PublicKey
	bundle              *policy.Bundle
	raw                 []byte
	endorsements        []string
	now                 time.Time
}

func newCourt(t testing.TB, changes ...func(*policy.Bundle)) *court {
	t.Helper()
	w := &court{key: signingKey(t, "court"), issuer: signingKey(t, "issuer"), square: signingKey(t, "square"),
		now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	var err error
	if w.public, _, err = escrowtest.ThresholdKey(2, 3); err != nil {
		t.Fatal(err)
	}
	public, err := w.public.MarshalBinary()
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
		Version: 1, Registrar: "https://penname.example", Issuer: "https://penname.example", IssuerKeys: set(w.issuer),
		Log:       policy.Log{Origin: "penname.example/log", VKey: vkey("log"), Quorum: 1, Witnesses: []policy.Witness{{Name: "w1", Operator: "Law Society", VKey: vkey("w1")}}},
		Platforms: []policy.Platform{{ID: "town-square", Name: "Town Square", Keys: set(w.square)}},
		Authorities: []policy.Authority{{ID: "court", Name: "Court", Kind: "court", Jurisdiction: "GB",
			Keys:           []policy.Key{{JWK: jsonOf(t, w.key.Public()), From: w.now.AddDate(-1, 0, 0), Until: w.now.AddDate(1, 0, 0)}},
			OffenceClasses: []string{"threat_of_sexual_violence"}}},
		OffenceClasses: policy.DefaultOffenceClasses(), Fields: policy.DefaultFields(), Policies: policy.DefaultRules(),
		Threshold: 2, ThresholdKey: base64.RawURLEncoding.EncodeToString(public), MaxTargets: 600, MaxSecrecyDays: 365, MaxValidityDays: 30,
	}
	for i := range 3 {
		k := signingKey(t, fmt.Sprint("custodian-", i+1))
		w.custodians = append(w.custodians, k)
		b.Custodians = append(b.Custodians, policy.Custodian{ID: k.KeyID, Name: k.KeyID, Organisation: k.KeyID, Index: i + 1, Key: jsonOf(t, k.Public())})
	}
	exhibittest.Forget(b)
	for _, change := range changes {
		change(b)
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
	return w
}

// warrant is one against n people who are enrolled: sealed, linked and with a
// post each. labels are their records.
func (w *court) warrant(t testing.TB, s *Issuing, keys *vault.Issuing, id string, n int, edits ...func(*policy.Warrant)) (sub policy.Submission, labels []string) {
	t.Helper()
	delivery, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	warrant := policy.Warrant{
		ID: id, Kind: policy.Production, Authority: "court", Jurisdiction: "GB", FileNumber: id,
		LegalBasis: "Online Safety Act 2023, s. 181", OffenceClass: "threat_of_sexual_violence", Offence: "Threatening communications",
		MaxPenaltyMonths: 60, Grounds: "A threat was posted.", Necessity: "No other lead.", Proportionality: "Those who posted it.",
		Requester: policy.Requester{Name: "DC Example", Organisation: "Police", DeliveryKey: delivery.Public()}, Fields: []string{"name"},
		Deadline: policy.TenDays, Secrecy: policy.Secrecy{Ends: w.now.AddDate(0, 0, 30), Reason: "The investigation would be frustrated."},
		Bundle: w.bundle.Hash(), Audience: "https://penname.example", IssuedAt: w.now.Add(-time.Hour), Expiry: w.now.AddDate(0, 0, 14),
	}
	for range n {
		target, evidence, label := w.target(t, s, keys)
		labels = append(labels, label)
		warrant.Targets = append(warrant.Targets, target)
		sub.Evidence = append(sub.Evidence, evidence)
	}
	for _, edit := range edits {
		edit(&warrant)
	}
	if sub.Warrant, err = policy.SignWarrant(w.key, warrant); err != nil {
		t.Fatal(err, cause(err))
	}
	return sub, labels
}

// target enrols somebody, gives them a pen name, and signs what they posted.
func (w *court) target(t testing.TB, s *Issuing, keys *vault.Issuing) (target policy.Target, evidence, label string) {
	t.Helper()
	e := enrolment()
	label = e.Person.Label
	fields := map[string][]byte{"name": []byte("Jo Teacher"), "birthdate": []byte("1988-02-29")}
	var err error
	if e.Record, err = seal.Seal(t.Context(), label, fields, seal.Custodians{Key: w.public}, keys.WrapHalf); err != nil {
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
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: w.issuer}, (&jose.SignerOptions{}).WithType("JWT"))
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
	post := token.Post{URL: "https://town-square.example/post/" + label, At: at}
	words := token.Exhibit{Type: "text/plain", Digest: sha256.Sum256([]byte(label)), Length: int64(len(label))}
	version := 1
	if w.bundle.Version < 4 {
		post.Digest = words.Digest
	} else {
		version, post.Exhibits = 2, []token.Exhibit{words}
	}
	evidence, err = token.SignEvidence(w.square, token.Evidence{Version: version, Platform: "town-square", Token: compact, Post: post})
	if err != nil {
		t.Fatal(err, cause(err))
	}
	sum := sha256.Sum256([]byte(evidence))
	return policy.Target{Pseudonym: a.Pseudonym, Platform: "town-square", Evidence: hex.EncodeToString(sum[:])}, evidence, label
}

// approval is a custodian's, with a share for each target that nobody opens.
func (w *court) approval(t testing.TB, k jose.JSONWebKey, c disclose.Case, targets int) string {
	t.Helper()
	a := opening.Approval{Case: c.ID, Custodian: k.KeyID, WarrantHash: hex.EncodeToString(c.WarrantHash[:]), Bundle: c.Bundle,
		LeafIndex: c.RecordedLeaf, CheckpointSize: c.RecordedLeaf + 1, Decision: opening.Approve, At: w.now}
	for i := range targets {
		a.Shares = append(a.Shares, opening.EncryptedShare{Target: i, Ciphertext: random(300)})
	}
	signed, err := opening.SignApproval(k, a)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	return signed
}

// step is what one step of a case took: round trips to the database and to
// Vault, and time.
type step struct {
	database, vault int
	took            time.Duration
}

// stepsOfCase runs the steps of a case with few targets, so that every statement
// is prepared, and of one with 600, and returns what each took.
func stepsOfCase(t testing.TB) (few, many map[string]step) {
	t.Helper()
	admin := database(t)
	s := issuing(t, admin, Options{})
	v := escrowtest.Vault(t)
	wrap, _ := v.Sides(t)
	db := new(trips)
	d := disclosing(t, admin, Options{Dial: db.dial, MaxConns: 1})
	proxy := escrowtest.NewProxy(t, v.Address)
	config := v.Config(t, vault.SideDisclosing)
	config.Address = proxy.URL
	keys, err := vault.OpenDisclosing(t.Context(), config)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	w := newCourt(t)
	r := largeRegistrar(d, keys, w)
	if err := r.Rules.Install(t.Context(), w.raw, w.endorsements); err != nil {
		t.Fatal(err, cause(err))
	}
	measured := func(f func()) step {
		before, asked, start := db.count(), proxy.Forwarded(), time.Now()
		f()
		return step{db.count() - before, proxy.Forwarded() - asked, time.Since(start)}
	}
	w.steps(t, s, wrap, r, "T20260001", 2, measured) // prepares the statements
	return w.steps(t, s, wrap, r, "T20260002", 2, measured), w.steps(t, s, wrap, r, "T20260600", 600, measured)
}

func (w *court) steps(t testing.TB, s *Issuing, wrap *vault.Issuing, r *disclose.Registrar, id string, n int, measured func(func()) step) map[string]step {
	t.Helper()
	submission, labels := w.warrant(t, s, wrap, id, n)
	all := make(map[string]step)
	measure := func(name string, f func() error) {
		t.Helper()
		all[name] = measured(func() {
			if err := f(); err != nil {
				t.Fatal(name, err, cause(err))
			}
		})
	}
	ctx := t.Context()
	var c disclose.Case
	var err error
	measure("file", func() error { c, _, err = r.File(ctx, submission); return err })
	measure("review", func() error {
		f, err := r.Review(ctx, c.ID)
		if len(f.Targets) != n {
			t.Errorf("%d targets in the case file", len(f.Targets))
		}
		return err
	})
	for i, name := range []string{"approve", "approve and release"} {
		signed := w.approval(t, w.custodians[i], c, n)
		measure(name, func() error { c, err = r.Decide(ctx, c.ID, signed); return err })
	}
	if c.State != disclose.Released {
		t.Fatalf("%s", c.State)
	}
	measure("deliver", func() error { _, err := r.Deliver(ctx, c.ID); return err })
	if _, err := s.Ask(ctx, issue.Receipt{Label: labels[0], Salt: [32]byte(random(32)), Day: day}); err != nil {
		t.Fatal(err, cause(err))
	}
	measure("clear", func() error {
		n, err := r.Clear(ctx)
		if n != 0 {
			t.Errorf("cleared %d that a case holds", n)
		}
		return err
	})
	return all
}

// A case with 600 targets costs as many round trips in each step as one with two:
// a handful. Of halves there are no more in clear at a time than one call opens.
func TestLargeCaseTakesAHandfulOfRoundTrips(t *testing.T) {
	const handful = 16 // transactions with a leaf take the most: BEGIN, locks, log, row, COMMIT
	few, many := stepsOfCase(t)
	for name, got := range many {
		t.Logf("%-20s %3d to the database, %d to Vault, %v; with two targets %d and %d", name, got.database, got.vault, got.took.Round(time.Millisecond), few[name].database, few[name].vault)
		// A message that does not fit into one packet may be answered in parts.
		if got.database > few[name].database+4 || got.vault > few[name].vault+1 {
			t.Errorf("%s: %d and %d round trips with 600 targets, %d and %d with two", name, got.database, got.vault, few[name].database, few[name].vault)
		}
		if all := few[name].database + few[name].vault; name != "approve and release" && all > handful || all > 2*handful {
			t.Errorf("%s: %d round trips with two targets", name, all)
		}
	}
}

func largeRegistrar(d *Disclosing, keys disclose.Keys, w *court) *disclose.Registrar {
	now := func() time.Time { return w.now }
	return &disclose.Registrar{Keys: keys, Cases: d.Cases, Records: d.Records, Erasures: d.Erasures, Log: storedLog{d.Log.Leaves}, Now: now,
		Rules: &disclose.Rules{Bundles: d.Bundles, Ceremonies: d.Ceremonies, Now: now,
			Logged: func(context.Context, string) (*policy.Bundle, error) { return w.bundle, nil }}}
}
