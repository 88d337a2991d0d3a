package disclosetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// orders are courts, custodians, a requester and people around a store: whatever they do
// goes through a [disclose.Registrar], and the store, the key service and the log fail now
// and then, before or after they did what they were asked.
type orders struct {
	store  Store
	bundle *policy.Bundle
	people []*person
	asks   seal.DeliveryPrivate
	clock  atomic.Int64 // seconds since 1970

	mu        sync.Mutex
	random    *rand.Rand
	failing   bool
	meanwhile []deed  // done one by one while the key service opens halves
	done      []error // of those
	tree      tree    // of what is cosigned
	cosigned  int64   // size of the log that witnesses have cosigned
	unsealed  []unsealed
	erased    map[string]bool // labels
	filed     []filed
}

// person has one pen name, and said one thing under it.
type person struct {
	pseudonym token.Pseudonym
	record    seal.Record
	link      []byte
	evidence  string
}

// filed is a warrant that was sent, and its case once it is known.
type filed struct {
	policy.Submission
	warrant policy.Warrant
	id      string
}

// unsealed is a first half that the key service opened, and how much of the log was
// cosigned then.
type unsealed struct {
	label string
	size  int64
}

const (
	platform  = "town-square"
	registrar = "https://penname.example"
)

// custodians of the bundle, of whom two open together.
var custodians = []string{"alba", "bruno", "chidi", "dora"}

var errCrash = refusal.New(refusal.Unavailable, "test.crash", "The process died, or the answer was lost.")

// keyOf makes a key from a name, so that tests are reproducible.
func keyOf(name string) jose.JSONWebKey {
	seed := sha256.Sum256([]byte(name))
	return jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(seed[:]), KeyID: name, Algorithm: string(jose.EdDSA), Use: "sig"}
}

func publicKey(name string) json.RawMessage {
	k := keyOf(name)
	b, _ := json.Marshal(k.Public()) // an Ed25519 key has one
	return b
}

func keySet(name string) json.RawMessage {
	k := keyOf(name)
	b, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.Public()}})
	return b
}

// newOrders founds it all on an empty store, and puts its bundle in force.
func newOrders(ctx context.Context, s Store) (*orders, error) {
	o := &orders{store: s, erased: make(map[string]bool)}
	o.clock.Store(Day.Add(9 * time.Hour).Unix())
	var err error
	if o.asks, err = seal.GenerateDeliveryKey(); err != nil {
		return nil, err
	}
	if err := o.found(); err != nil {
		return nil, err
	}
	for n := range 6 {
		p, err := newPerson(fmt.Sprint("person ", n))
		if err != nil {
			return nil, err
		}
		o.people = append(o.people, p)
	}
	raw, err := o.bundle.Marshal()
	if err != nil {
		return nil, err
	}
	return o, s.Install(ctx, raw, nil, proof.BundleLeaf(o.now(), o.bundle.Hash()), "")
}

// found makes the bundle: a court, one above it, and a prosecutor whose orders the court
// has to validate.
func (o *orders) found() error {
	var classes []string
	for _, c := range policy.DefaultOffenceClasses() {
		classes = append(classes, c.ID)
	}
	authority := func(id, kind string) policy.Authority {
		return policy.Authority{ID: id, Name: "The " + id, Kind: kind, Jurisdiction: "GB", OffenceClasses: classes, DailyWarrants: 1000,
			Keys: []policy.Key{{JWK: publicKey(id), From: Day.AddDate(-1, 0, 0), Until: Day.AddDate(500, 0, 0)}}}
	}
	log, _ := logKeys()
	draft := &policy.Bundle{
		Registrar: registrar, Issuer: registrar, IssuerKeys: keySet("issuer"), Log: policy.Log{Origin: logOrigin, VKey: log.Verifier, Quorum: 1,
			Witnesses: []policy.Witness{{Name: "witness.example", Operator: "Witness", VKey: log.Witness}}},
		Platforms:      []policy.Platform{{ID: platform, Name: "Town Square", Keys: keySet("square")}},
		Authorities:    []policy.Authority{authority("court", "court"), authority("appeal", "court"), authority("prosecutor", "public_prosecutor")},
		OffenceClasses: policy.DefaultOffenceClasses(), Offences: policy.DefaultOffences(), Fields: policy.DefaultFields(), Policies: policy.DefaultRules(),
		Threshold: 2, ThresholdKey: base64.RawURLEncoding.EncodeToString(make([]byte, 40)), MaxTargets: 600, MaxSecrecyDays: 365, MaxValidityDays: 60,
		Organisations: []policy.Organisation{{ID: "police", Name: "Metropolitan Police"}},
	}
	draft.Authorities[1].Over = []string{"court", "prosecutor"}
	draft.Authorities[2].ValidatedBy = []string{"court"}
	for i, id := range custodians {
		seed := sha256.Sum256([]byte("exhibits of " + id))
		exhibits, err := document.DeliveryKEM().NewPrivateKey(seed[:])
		if err != nil {
			return err
		}
		draft.Custodians = append(draft.Custodians, policy.Custodian{ID: id, Name: "Officer " + id, Organisation: "Body of " + id, Index: i + 1,
			Key: publicKey(id), Recipient: document.Recipient(exhibits.PublicKey())})
	}
	draft.Succeed(nil)
	raw, err := draft.Marshal()
	if err != nil {
		return errors.Join(err, errors.Unwrap(err))
	}
	o.bundle, err = policy.ParseBundle(raw)
	return err
}

// newPerson enrols somebody, who posts something a day before the first warrant.
func newPerson(name string) (*person, error) {
	sum := sha256.Sum256([]byte(name))
	pseudonym, err := token.NewPseudonym(sum[:16])
	if err != nil {
		return nil, err
	}
	p := &person{pseudonym: pseudonym, record: seal.Record{Label: seal.NewLabel(), FirstHalf: "half of " + name,
		Custody: seal.Custody{SecondHalf: sum[:]}, Fields: map[string][]byte{"name": append([]byte("sealed "), sum[:]...)}}}
	digest, err := p.record.Digest()
	if err != nil {
		return nil, err
	}
	p.link = slices.Concat(sum[:], digest[:], []byte(p.record.Label))
	at := Day.Add(-time.Hour)
	commitment := token.Commit(pseudonym, seal.Reference(p.record.Label, digest), sum) // as before there was a salt for each sign-in
	claims, err := json.Marshal(map[string]any{"iss": registrar, "sub": pseudonym, "aud": platform, "iat": at.Unix(), "exp": at.Add(time.Hour).Unix(),
		"jti": name, "acr": "high", "penname_commitment": base64.RawURLEncoding.EncodeToString(commitment[:])})
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: keyOf("issuer")}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return nil, err
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		return nil, err
	}
	words, err := token.NewExhibit("text/plain", strings.NewReader("I will find you, says "+name))
	if err != nil {
		return nil, err
	}
	p.evidence, err = token.SignEvidence(keyOf("square"), token.Evidence{Platform: platform, Token: raw,
		Post: token.Post{URL: "https://town.example/posts/1", At: at, Exhibits: []token.Exhibit{words}}})
	return p, err
}

func (o *orders) now() time.Time { return time.Unix(o.clock.Load(), 0).UTC() }

// crashes is asked before and after whatever can fail.
func (o *orders) crashes() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failing && o.random.IntN(25) == 0
}

// process is a fresh one, with nothing in its memory.
func (o *orders) process() *disclose.Registrar {
	cases := crashing{o.store, o}
	return &disclose.Registrar{Keys: keys{o}, Cases: cases, Records: records{o}, Erasures: asked{o}, Log: ledger{o}, Now: o.now,
		Rules: &disclose.Rules{Bundles: o.store, Now: o.now, Logged: func(context.Context, string) (*policy.Bundle, error) { return o.bundle, nil }}}
}

// crashing is the store of a process that may die before a transaction, or after it and
// before anybody was told.
type crashing struct {
	Store
	o *orders
}

// File implements [disclose.Cases].
func (s crashing) File(ctx context.Context, c disclose.Case, leaf proof.Leaf) (disclose.Case, error) {
	return crashed(s.o, func() (disclose.Case, error) { return s.Store.File(ctx, c, leaf) })
}

// Apply implements [disclose.Cases].
func (s crashing) Apply(ctx context.Context, id string, decide func(disclose.Case) (disclose.Change, error)) (disclose.Case, error) {
	return crashed(s.o, func() (disclose.Case, error) { return s.Store.Apply(ctx, id, decide) })
}

func crashed[T any](o *orders, do func() (T, error)) (none T, _ error) {
	if o.crashes() {
		return none, errCrash
	}
	v, err := do()
	if err == nil && o.crashes() {
		return none, errCrash
	}
	return v, err
}

// keys is a key service that notes what it opens.
type keys struct{ o *orders }

// UnwrapHalves implements [disclose.Keys].
func (k keys) UnwrapHalves(_ context.Context, halves []disclose.Wrapped) ([][]byte, error) {
	if d := k.o.next(); d != nil {
		err := d()
		k.o.mu.Lock()
		k.o.done = append(k.o.done, err)
		k.o.mu.Unlock()
	}
	return crashed(k.o, func() ([][]byte, error) {
		k.o.mu.Lock()
		defer k.o.mu.Unlock()
		opened := make([][]byte, len(halves))
		for i, h := range halves {
			k.o.unsealed = append(k.o.unsealed, unsealed{h.Name, k.o.cosigned})
			sum := sha256.Sum256([]byte(h.Text))
			opened[i] = sum[:]
		}
		return opened, nil
	})
}

// next takes a deed that is to be done meanwhile; nil if there is none.
func (o *orders) next() (d deed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.meanwhile) > 0 {
		d, o.meanwhile = o.meanwhile[0], o.meanwhile[1:]
	}
	return d
}

// OpenLinks implements [disclose.Keys].
func (k keys) OpenLinks(_ context.Context, links []disclose.Wrapped) ([][]byte, error) {
	return crashed(k.o, func() ([][]byte, error) {
		opened := make([][]byte, len(links))
		for i, l := range links {
			opened[i] = k.o.named(token.Pseudonym(l.Name)).link
		}
		return opened, nil
	})
}

func (o *orders) named(p token.Pseudonym) *person {
	return o.people[slices.IndexFunc(o.people, func(one *person) bool { return one.pseudonym == p })]
}

// records are those of the people, until they are erased.
type records struct{ o *orders }

// Links implements [disclose.Records].
func (r records) Links(_ context.Context, targets []disclose.Target) ([]disclose.Found[[]string], error) {
	return crashed(r.o, func() ([]disclose.Found[[]string], error) {
		links := make([]disclose.Found[[]string], len(targets))
		for i := range targets {
			links[i].Value = []string{"link"}
		}
		return links, nil
	})
}

// Records implements [disclose.Records].
func (r records) Records(_ context.Context, labels []string) ([]disclose.Found[seal.Record], error) {
	return crashed(r.o, func() ([]disclose.Found[seal.Record], error) {
		r.o.mu.Lock()
		defer r.o.mu.Unlock()
		found := make([]disclose.Found[seal.Record], len(labels))
		for i, label := range labels {
			if found[i].Err = disclose.ErrDataErased; !r.o.erased[label] {
				at := slices.IndexFunc(r.o.people, func(p *person) bool { return p.record.Label == label })
				found[i] = disclose.Found[seal.Record]{Value: r.o.people[at].record}
			}
		}
		return found, nil
	})
}

// asked are requests to be deleted: everybody asks, and nobody is erased by it.
type asked struct{ o *orders }

// Pending implements [disclose.Erasures].
func (a asked) Pending(_ context.Context, after string, n int) (labels []string, err error) {
	for _, p := range a.o.people {
		if p.record.Label > after {
			labels = append(labels, p.record.Label)
		}
	}
	slices.Sort(labels)
	return labels[:min(n, len(labels))], nil
}

// Newest implements [disclose.Erasures].
func (a asked) Newest(ctx context.Context) (int64, error) { return a.o.store.Newest(ctx) }

// Holding implements [disclose.Erasures].
func (a asked) Holding(ctx context.Context, now time.Time, after int64, n int) ([]disclose.Case, error) {
	return a.o.store.Holding(ctx, now, after, n)
}

// Clear implements [disclose.Erasures].
func (a asked) Clear(context.Context, []string, int64) error { return nil }

// ledger is the public log as its witnesses cosign it.
type ledger struct{ o *orders }

// Await implements [disclose.Log].
func (l ledger) Await(ctx context.Context, index int64) error {
	_, err := crashed(l.o, func() (int64, error) {
		size, err := l.o.store.Size(ctx)
		switch {
		case err != nil:
			return 0, err
		case index >= size:
			return 0, ErrNoLeaf
		}
		l.o.mu.Lock()
		defer l.o.mu.Unlock()
		l.o.cosigned = max(l.o.cosigned, size)
		return size, nil
	})
	return err
}

// Prove implements [disclose.Log].
func (l ledger) Prove(ctx context.Context, index int64) (leaf, proof []byte, err error) {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	leaves, err := l.o.store.Leaves(ctx, l.o.tree.size(), l.o.cosigned)
	if err == nil {
		err = l.o.tree.add(leaves)
	}
	if err != nil || index >= l.o.tree.size() {
		return nil, nil, errors.Join(err, ErrNoLeaf)
	}
	proof, err = l.o.tree.prove(index)
	return l.o.tree.leaves[index], proof, err
}

// sign signs a warrant of a kind by an authority, which says all that such a one must.
func (o *orders) sign(kind, authority string, edit func(*policy.Warrant)) (filed, error) {
	now := o.now()
	k := policy.KindOf(kind)
	o.mu.Lock()
	w := policy.Warrant{ID: fmt.Sprintf("W%d", len(o.filed)), Kind: kind, Authority: authority, Jurisdiction: "GB", FileNumber: "T1", LegalBasis: "Act 1",
		OffenceClass: "threat_to_life", OffenceID: "threat_to_kill", Offence: "Threats to kill", MaxPenaltyMonths: 60, Grounds: "A threat was posted.",
		Necessity: "No other lead.", Proportionality: "These pen names alone.", Bundle: o.bundle.Hash(), Audience: registrar, IssuedAt: now, Expiry: now.AddDate(0, 0, 20)}
	o.filed = append(o.filed, filed{}) // takes the number
	at := len(o.filed) - 1
	o.mu.Unlock()
	if k.Clock != policy.ClockNone {
		w.Deadline, w.Secrecy = policy.TenDays, policy.Secrecy{Ends: now.AddDate(0, 0, 30), Reason: "The suspect could flee."}
	}
	if kind == policy.Emergency {
		w.Deadline = policy.EightHours
	}
	if k.Answered {
		w.Requester = policy.Requester{Name: "DC Example", Organisation: "Metropolitan Police", OrganisationID: "police", DeliveryKey: o.asks.Public()}
	}
	if k.Opens {
		w.Fields = []string{"name"}
	}
	edit(&w)
	signed, err := policy.SignWarrant(keyOf(authority), w)
	f := filed{Submission: policy.Submission{Warrant: signed}, warrant: w}
	for _, t := range w.Targets {
		if piece := o.named(t.Pseudonym).evidence; k.Evidence && t.Evidence == digestOf(piece) {
			f.Evidence = append(f.Evidence, piece)
		} else if k.Evidence {
			f.Evidence = append(f.Evidence, broken+string(t.Pseudonym))
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.filed[at] = f
	return f, err
}

// file files a warrant, and notes its case.
func (o *orders) file(ctx context.Context, f filed) error {
	c, _, err := o.process().File(ctx, f.Submission)
	if c.ID == "" {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.filed, func(one filed) bool { return one.Warrant == f.Warrant })
	if was := o.filed[i].id; was != "" && was != c.ID {
		return fmt.Errorf("one warrant is the cases %s and %s", was, c.ID)
	}
	o.filed[i].id = c.ID
	return err
}

// target is somebody as a warrant names them.
func (p *person) target() policy.Target {
	return policy.Target{Pseudonym: p.pseudonym, Platform: platform, Evidence: digestOf(p.evidence)}
}

// broken begins a piece of evidence that nobody can read: its target is refused.
const broken = "broken "

func digestOf(piece string) string {
	sum := sha256.Sum256([]byte(piece))
	return hex.EncodeToString(sum[:])
}

// decide lets a custodian answer for each target that was not refused: yes to those that
// votes names.
func (o *orders) decide(ctx context.Context, id, custodian string, votes func(target int) bool) error {
	c, err := o.store.Case(ctx, id)
	if err != nil {
		return err
	}
	a := opening.Approval{Case: id, Custodian: custodian, WarrantHash: hex.EncodeToString(c.WarrantHash[:]), Bundle: c.Bundle, LeafIndex: c.RecordedLeaf,
		CheckpointSize: c.RecordedLeaf + 1, Decision: opening.Decline, Reason: policy.DeclineReasons[0], At: o.now(), Questions: []string{"Does this post show this offence?"}}
	for i, t := range c.Targets {
		switch {
		case t.Code != "": // a tool asks about neither
		case votes(i):
			a.Decision, a.Reason = opening.Approve, ""
			a.Answers = append(a.Answers, opening.Answer{Target: i, Says: []string{opening.Yes}, Vote: opening.Approve})
			if policy.KindOf(c.Kind).Opens {
				a.Shares = append(a.Shares, opening.EncryptedShare{Target: i, Ciphertext: []byte("share")})
			}
		default:
			a.Answers = append(a.Answers, opening.Answer{Target: i, Says: []string{opening.No}, Vote: opening.Decline, Reason: policy.DeclineReasons[0]})
		}
	}
	signed, err := opening.SignApproval(keyOf(custodian), a)
	if err != nil {
		return errors.Join(err, errors.Unwrap(err))
	}
	_, err = o.process().Decide(ctx, id, signed)
	return err
}

// deliver asks for what was released, and opens it: nil if there is nothing.
func (o *orders) deliver(ctx context.Context, id string) (*opening.Delivery, error) {
	sealed, err := o.process().Deliver(ctx, id)
	if err != nil {
		return nil, err
	}
	clear, err := o.asks.Open(seal.DeliveryInfo(id), sealed)
	if err != nil {
		return nil, err
	}
	d := new(opening.Delivery)
	return d, json.Unmarshal(bytes.TrimSpace(clear), d)
}
