package threshold

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/penname/penname/verifier/refusal"
)

// party is one participant on their own machine.
type party struct {
	key CeremonyKey
	old *KeyShare
	c   *Ceremony
}

func newParties(t tester, n int) []*party {
	out := make([]*party, n)
	for i := range out {
		key, err := GenerateCeremonyKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = &party{key: key}
	}
	return out
}

// join gives every party its own view of the plan.
func join(t tester, p Plan, parties []*party) {
	rand.Read(p.Nonce[:])
	for _, q := range parties {
		var err error
		if q.c, err = NewCeremony(p); err != nil {
			t.Fatal(err)
		}
	}
}

func generation(t tester, k, n int) []*party {
	parties := newParties(t, n)
	p := Plan{Threshold: k}
	for _, q := range parties {
		p.Receivers = append(p.Receivers, q.key.Public())
	}
	join(t, p, parties)
	return parties
}

// resharing seats dealers and receivers apart: first the one, then the other.
func resharing(t tester, pk PublicKey, old []KeyShare, k, n int) []*party {
	parties := newParties(t, len(old)+n)
	p := Plan{Threshold: k, Previous: pk}
	slices.SortFunc(old, func(a, b KeyShare) int { return a.index - b.index })
	for i := range old {
		parties[i].old = &old[i]
		p.Dealers = append(p.Dealers, Dealer{old[i].index, parties[i].key.Public()})
	}
	for _, q := range parties[len(old):] {
		p.Receivers = append(p.Receivers, q.key.Public())
	}
	join(t, p, parties)
	return parties
}

// said is every message that c has heard, by round and sender.
func said(c *Ceremony) (out [][]byte) {
	for r := range c.said {
		out = append(out, c.messages(r)...)
	}
	return out
}

// replay is what an outsider, or a participant after a crash, makes of messages.
func replay(t tester, p Plan, messages [][]byte) *Ceremony {
	c, err := NewCeremony(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if err := c.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// run lets everybody speak until nobody has anything to say. A culprit's bend
// changes what they say to others; what they then think themselves is ignored.
// It returns the first refusal that an honest participant met, and the message
// that was refused.
func run(parties []*party, culprit *party, bend func(m []byte) []byte) (evidence []byte, err error) {
	for spoke := true; spoke; {
		spoke = false
		for _, p := range parties {
			m, err := p.c.Next(p.key, p.old)
			if err != nil && p != culprit {
				return nil, err
			}
			if m == nil {
				continue
			}
			spoke = true
			if p == culprit {
				m = bend(m)
			}
			for _, q := range parties {
				if q == p {
					continue
				}
				if err := q.c.Add(m); err != nil && q != culprit {
					return m, err
				}
			}
		}
	}
	return nil, nil
}

func finish(t tester, parties []*party) (PublicKey, []KeyShare) {
	if _, err := run(parties, nil, nil); err != nil {
		t.Fatal(err)
	}
	pk, err := parties[0].c.Result()
	if err != nil {
		t.Fatal(err)
	}
	var keys []KeyShare
	for _, p := range parties {
		if again, err := p.c.Result(); err != nil || again.set != pk.set {
			t.Fatal("views differ", err)
		}
		if p.c.seat(RoleReceiver, p.key) == 0 {
			continue
		}
		ks, err := p.c.KeyShare(p.key)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, ks)
	}
	return pk, keys
}

func reshare(t tester, pk PublicKey, old []KeyShare, k, n int) (PublicKey, []KeyShare) {
	return finish(t, resharing(t, pk, slices.Clone(old), k, n))
}

func TestKeyGenerationWithoutADealer(t *testing.T) {
	parties := generation(t, 2, 3)
	pk, keys := finish(t, parties)
	if pk.Threshold() != 2 || pk.N() != 3 || pk.Epoch() != 1 || len(keys) != 3 {
		t.Fatal(pk)
	}
	ct := encrypt(t, pk, label)
	opens(t, pk, ct, release(t, pk, keys[1:], ct))
	_, err := pk.Combine(ct, release(t, pk, keys[:1], ct))
	refused(t, err, ErrTooFewShares)
	// An outsider learns the key from the messages alone, and no secret.
	c := replay(t, parties[0].c.plan, said(parties[0].c))
	if again, err := c.Result(); err != nil || again.set != pk.set {
		t.Fatal(err)
	}
	outsider := newParties(t, 1)[0]
	_, err = c.KeyShare(outsider.key)
	refused(t, err, ErrNotParticipant)
	_, err = c.Next(outsider.key, nil)
	refused(t, err, ErrNotParticipant)
	for _, p := range parties {
		if bytes.Contains(bytes.Join(said(c), nil), p.key.seed[:]) {
			t.Fatal("a seed is in a message")
		}
	}
}

func TestResharingChains(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 5).Draw(t, "n")
		k := rapid.IntRange(2, n).Draw(t, "t")
		pk, keys := finish(t, generation(t, k, n))
		first, ct := pk, encrypt(t, pk, label)
		for range rapid.IntRange(1, 3).Draw(t, "resharings") {
			n = rapid.IntRange(2, 5).Draw(t, "n")
			k = rapid.IntRange(2, n).Draw(t, "t")
			dealers := rapid.Permutation(keys).Draw(t, "dealers")[:pk.t]
			oldKeys, oldPK := keys, pk
			pk, keys = reshare(t, pk, dealers, k, n)
			if !pk.Same(first) || pk.epoch != oldPK.epoch+1 || pk.t != k || pk.N() != n {
				t.Fatal("not the same key", pk)
			}
			// Sealed before the first resharing, opened after the last.
			shares := rapid.Permutation(release(t, pk, keys, ct)).Draw(t, "shares")
			opens(t, pk, ct, shares[:k])
			_, err := pk.Combine(ct, shares[:k-1])
			refused(t, err, ErrTooFewShares)
			old := release(t, oldPK, oldKeys[:1], ct)[0]
			_, err = pk.Combine(ct, append(shares[1:k:k], old))
			if old.index > n {
				refused(t, err, ErrIndex, old.index)
			} else {
				refused(t, err, ErrEpoch, old.index)
			}
		}
		// And sealed after the last under the first public key.
		ct = encrypt(t, first, label)
		opens(t, pk, ct, release(t, pk, keys, ct))
	})
}

// Old custodians who stay keep their seat's key in both sets.
func TestResharingToAnOverlappingSet(t *testing.T) {
	f := newFixture(t, 2, 3)
	stay := newParties(t, 3)
	p := Plan{Threshold: 2, Previous: f.pk, Dealers: []Dealer{{1, stay[0].key.Public()}, {3, stay[1].key.Public()}}}
	stay[0].old, stay[1].old = &f.keys[0], &f.keys[2]
	for _, q := range stay {
		p.Receivers = append(p.Receivers, q.key.Public())
	}
	join(t, p, stay)
	pk, keys := finish(t, stay)
	opens(t, pk, f.ct, release(t, pk, keys[1:], f.ct))
}

// A participant who crashes anywhere goes on from what they had heard and says the
// same thing; messages may come again and, within a round, in any order.
func TestCeremonyResumes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parties := generation(t, 2, 3)
		var all [][]byte
		for len(all) < 9 {
			i := rapid.IntRange(0, 2).Draw(t, "speaker")
			p := parties[i]
			restored := replay(t, p.c.plan, said(p.c))
			m, err := p.c.Next(p.key, nil)
			if err != nil {
				t.Fatal(err)
			}
			again, err := restored.Next(p.key, nil)
			if err != nil || !bytes.Equal(m, again) {
				t.Fatal("said something else after a crash", err)
			}
			if m == nil {
				continue
			}
			all = append(all, m)
			for _, q := range parties {
				for _, m := range rapid.Permutation(all).Draw(t, "delivery") {
					if err := q.c.Add(m); err != nil && !errors.Is(err, ErrOrder) {
						t.Fatal(err)
					}
				}
				for _, m := range all {
					if err := q.c.Add(m); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if _, keys := finish(t, parties); len(keys) != 3 {
			t.Fatal("not finished")
		}
	})
}

// cheat alters and signs again a message of p: what a participant with a
// changed program could send.
func cheat(p *party, k kind, index int, change func(body []byte)) func([]byte) []byte {
	return func(m []byte) []byte {
		if kind(m[2]) != k {
			return m
		}
		body := bytes.Clone(m[36 : len(m)-64])
		change(body)
		return p.c.sign(p.key, k, index, body)
	}
}

// dealing makes p commit to and send another deal than it should, with the hash
// of what an honest participant heard.
func dealing(t *testing.T, p, honest *party, index int, change func(deal []byte)) func([]byte) []byte {
	return func(m []byte) []byte {
		k := kind(m[2])
		if k > kindDeal {
			return m
		}
		d, err := p.c.deal(p.key, index, p.old)
		if err != nil {
			t.Fatal(err)
		}
		change(d.encoded)
		if h := p.c.commitment(index, d); k == kindCommit {
			return p.c.sign(p.key, k, index, h[:])
		}
		heard := honest.c.heard(1)
		return p.c.sign(p.key, k, index, append(heard[:], d.encoded...))
	}
}

// wantVerdict checks that what c has heard and the message that it refused convict
// whom the participants blame, before everybody.
func wantVerdict(t *testing.T, c *Ceremony, evidence []byte, want *refusal.Error, role Role, index int) {
	t.Helper()
	_, err := c.Result()
	refused(t, err, want, index)
	var b *BlameError
	if errors.As(err, &b); b.Role != role {
		t.Fatalf("blames the %s", b.Role)
	}
	again := replay(t, c.plan, said(c))
	refused(t, again.Add(evidence), want, index)
	refused(t, again.Add(evidence), want, index) // it stays so
	_, err = again.Result()
	refused(t, err, want, index)
	_, err = again.KeyShare(CeremonyKey{})
	refused(t, err, want, index)
}

// A resharing in which dealer 2 sends receiver 2 a share that does not fit.
func TestC23DealerDealsAWrongShare(t *testing.T) {
	f := newFixture(t, 2, 3)
	parties := resharing(t, f.pk, f.keys[:2], 2, 3)
	culprit, victim, other := parties[1], parties[3], parties[2]
	bend := dealing(t, culprit, other, 2, func(b []byte) { b[lastPad(2, 2)] ^= 1 })
	evidence, err := run(parties, culprit, bend)
	refused(t, err, ErrDealtShare, 2)
	if kind(evidence[2]) != kindComplaint {
		t.Fatal("no complaint")
	}
	wantVerdict(t, victim.c, evidence, ErrDealtShare, RoleDealer, 2)
	_, err = victim.c.Next(victim.key, nil)
	refused(t, err, ErrDealtShare, 2)
	body := evidence[36 : len(evidence)-ed25519.SignatureSize]
	longer := victim.c.sign(victim.key, kindComplaint, 2, append(bytes.Clone(body), 0))
	refused(t, replay(t, other.c.plan, said(other.c)).Add(longer), ErrComplaint, 2)
	refused(t, other.c.Add(evidence), ErrDealtShare, 2) // it convinces the others
	wantVerdict(t, other.c, evidence, ErrDealtShare, RoleDealer, 2)
}

func TestI22CeremonyNamesTheCulprit(t *testing.T) {
	const a0, a1, e = 0, 32, 64
	five := bytesOf(mulGen(integer(5)))
	for _, c := range []struct {
		name  string
		index int
		bend  func(t *testing.T, p, honest *party) func([]byte) []byte
		want  *refusal.Error
		role  Role
	}{
		{"C09 dealer opens another commitment", 1, func(_ *testing.T, p, _ *party) func([]byte) []byte {
			return cheat(p, kindDeal, 1, func(b []byte) { b[32+lastPad(2, 3)] ^= 1 })
		}, ErrCommitment, RoleDealer},
		{"C23 dealer does not know f(0)", 2, func(t *testing.T, p, honest *party) func([]byte) []byte {
			return dealing(t, p, honest, 2, func(b []byte) { copy(b[a0:], five) })
		}, ErrDeal, RoleDealer},
		{"C23 dealer does not know the ephemeral key", 2, func(t *testing.T, p, honest *party) func([]byte) []byte {
			return dealing(t, p, honest, 2, func(b []byte) { copy(b[e:], five) })
		}, ErrDeal, RoleDealer},
		{"C23 dealer's polynomial has a lower degree", 3, func(t *testing.T, p, honest *party) func([]byte) []byte {
			return dealing(t, p, honest, 3, func(b []byte) { clear(b[a1 : a1+32]) })
		}, ErrDeal, RoleDealer},
		{"C23 dealer's commitments do not fit the shares", 3, func(t *testing.T, p, honest *party) func([]byte) []byte {
			return dealing(t, p, honest, 3, func(b []byte) { copy(b[a1:], five) })
		}, ErrDealtShare, RoleDealer},
		{"I22 receiver confirms without the share", 3, func(_ *testing.T, p, _ *party) func([]byte) []byte {
			return cheat(p, kindConfirm, 3, func(b []byte) { b[40] ^= 1 })
		}, ErrConfirm, RoleReceiver},
	} {
		t.Run(c.name, func(t *testing.T) {
			parties := generation(t, 2, 3)
			culprit := parties[c.index-1]
			bend := c.bend(t, culprit, parties[c.index%3])
			evidence, err := run(parties, culprit, bend)
			refused(t, err, c.want, c.index)
			judge := slices.IndexFunc(parties, func(p *party) bool { return p != culprit && p.c.fault != nil })
			wantVerdict(t, parties[judge].c, evidence, c.want, c.role, c.index)
		})
	}
}

// lastPad is where z_n begins in a deal: A_k, E, proofs, z_i.
func lastPad(t, n int) int { return t*32 + 32 + 128 + (n-1)*32 }

// The largest set of the promise, in one go: 8 of 15, then 15 of 15, then 2 of 3.
func TestFifteenCustodians(t *testing.T) {
	pk, keys := finish(t, generation(t, 8, 15))
	ct := encrypt(t, pk, label)
	opens(t, pk, ct, release(t, pk, keys[7:], ct))
	pk, keys = reshare(t, pk, keys[7:], 15, 15)
	opens(t, pk, ct, release(t, pk, keys, ct))
	_, err := pk.Combine(ct, release(t, pk, keys[:14], ct))
	refused(t, err, ErrTooFewShares)
	pk, keys = reshare(t, pk, keys, 2, 3)
	opens(t, pk, ct, release(t, pk, keys[1:], ct))
}

func TestI22DealerWithoutTheirOldShare(t *testing.T) {
	f := newFixture(t, 2, 3)
	parties := resharing(t, f.pk, f.keys[:2], 2, 3)
	culprit := parties[1]
	_, err := culprit.c.Next(culprit.key, parties[0].old) // another custodian's
	refused(t, err, ErrKeyShare)
	culprit.old.x = integer(99)
	if _, err := parties[0].c.Next(parties[0].key, parties[0].old); err != nil {
		t.Fatal(err)
	}
	_, err = culprit.c.Next(culprit.key, culprit.old) // our own program does not send it
	refused(t, err, ErrKeyShare, 2)
	_, err = culprit.c.Next(culprit.key, nil)
	refused(t, err, ErrKeyShare)
	// A changed program does: f(0) = 99, with right proofs.
	c, judge := culprit.c, parties[0].c
	d := c.dealOf(culprit.key, 2, polynomial{integer(99), integer(3)})
	h := c.commitment(2, d)
	if err := judge.Add(c.sign(culprit.key, kindCommit, 2, h[:])); err != nil {
		t.Fatal(err)
	}
	heard := judge.heard(1)
	body := append(heard[:], d.encoded...)
	evidence := c.sign(culprit.key, kindDeal, 2, body)
	refused(t, judge.Add(evidence), ErrDeal, 2)
	wantVerdict(t, judge, evidence, ErrDeal, RoleDealer, 2)
}

// If all dealers together cancel the leading coefficient, the key would open with
// fewer than t. There is no key then, and whoever reads the messages sees why.
func TestAllDealersTogetherCannotLowerTheThreshold(t *testing.T) {
	parties := generation(t, 2, 2)
	c := parties[0].c
	three := integer(3)
	fs := []polynomial{{integer(1), three}, {integer(2), curve.NewScalar().Neg(three)}}
	for i, p := range parties {
		h := c.commitment(i+1, c.dealOf(p.key, i+1, fs[i]))
		if err := c.Add(c.sign(p.key, kindCommit, i+1, h[:])); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for i, p := range parties {
		heard := c.heard(1)
		err = c.Add(c.sign(p.key, kindDeal, i+1, append(heard[:], c.dealOf(p.key, i+1, fs[i]).encoded...)))
	}
	refused(t, err, ErrPublicKey)
	again, err := NewCeremony(c.plan)
	for _, m := range said(c) {
		if err != nil {
			t.Fatal(err)
		}
		err = again.Add(m)
	}
	refused(t, err, ErrPublicKey)
	_, err = again.Result()
	refused(t, err, ErrPublicKey)
	heard := c.heard(2)
	refused(t, again.Add(c.sign(parties[0].key, kindConfirm, 1, append(heard[:], make([]byte, 64)...))), ErrPublicKey)
}

// untilAnswers runs a generation up to the answers.
func untilAnswers(t *testing.T) []*party {
	parties := generation(t, 2, 3)
	for range 2 {
		var ms [][]byte
		for _, p := range parties {
			m, err := p.c.Next(p.key, nil)
			if err != nil {
				t.Fatal(err)
			}
			ms = append(ms, m)
		}
		for _, p := range parties {
			for _, m := range ms {
				if err := p.c.Add(m); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return parties
}

func TestI22FalseComplaint(t *testing.T) {
	for name, lie := range map[string]func(c *Ceremony, liar *party, d deal) []byte{
		"about a right share": func(c *Ceremony, liar *party, d deal) []byte {
			shared := mul(d.e, liar.key.secret("encryption-key"))
			return slices.Concat([]byte{1}, bytesOf(shared), c.proveEqual(liar.key, d.e, shared, []byte{2, 1}).encode())
		},
		"with another key": func(c *Ceremony, liar *party, d deal) []byte {
			shared := mulGen(integer(5))
			return slices.Concat([]byte{1}, bytesOf(shared), c.proveEqual(liar.key, d.e, shared, []byte{2, 1}).encode())
		},
		"about nobody": func(c *Ceremony, liar *party, d deal) []byte {
			return slices.Concat([]byte{9}, bytesOf(d.e), c.proveEqual(liar.key, d.e, d.e, []byte{2, 9}).encode())
		},
		"cut short": func(*Ceremony, *party, deal) []byte { return []byte{1} },
	} {
		t.Run(name, func(t *testing.T) {
			parties := untilAnswers(t)
			liar, judge := parties[1], parties[2]
			heard := liar.c.heard(2)
			evidence := liar.c.sign(liar.key, kindComplaint, 2, append(heard[:], lie(liar.c, liar, liar.c.deals[1])...))
			refused(t, judge.c.Add(evidence), ErrComplaint, 2)
			wantVerdict(t, judge.c, evidence, ErrComplaint, RoleReceiver, 2)
		})
	}
}

func TestI22Equivocation(t *testing.T) {
	parties := generation(t, 2, 3)
	a, b, liar := parties[0], parties[1], parties[2]
	for _, p := range []*party{a, b} {
		m, err := p.c.Next(p.key, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range parties {
			if err := q.c.Add(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	one := liar.c.sign(liar.key, kindCommit, 3, make([]byte, 32))
	two := liar.c.sign(liar.key, kindCommit, 3, bytes.Repeat([]byte{1}, 32))
	if err := errors.Join(a.c.Add(one), b.c.Add(two)); err != nil {
		t.Fatal(err)
	}
	m, err := a.c.Next(a.key, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := said(b.c)
	refused(t, b.c.Add(m), ErrForked) // noticed, nobody blamed yet, nothing changed
	if !slices.EqualFunc(before, said(b.c), bytes.Equal) {
		t.Fatal("changed")
	}
	for _, m := range said(a.c) { // what another has heard finds who said two things
		if err = b.c.Add(m); err != nil {
			break
		}
	}
	refused(t, err, ErrEquivocation, 3)
	wantVerdict(t, b.c, one, ErrEquivocation, RoleDealer, 3)
}

// C22: what nobody signed, what another ceremony signed, and what comes too
// early changes nothing; there is no message that cancels.
func TestC22NobodyCancelsACeremony(t *testing.T) {
	parties, others := generation(t, 2, 3), generation(t, 2, 3)
	p, c := parties[0], parties[1].c
	m, err := p.c.Next(p.key, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := said(c)
	foreign, err := others[0].c.Next(others[0].key, nil)
	if err != nil {
		t.Fatal(err)
	}
	stranger := append([]byte{'M', version, byte(kindCommit)}, c.id[:]...)
	stranger = append(append(stranger, 1), make([]byte, 32+64)...)
	bad := [][]byte{nil, m[:10], foreign, stranger, p.c.sign(p.key, 0, 1, nil), p.c.sign(p.key, 9, 1, nil), p.c.sign(p.key, kindCommit, 2, make([]byte, 32)), p.c.sign(p.key, kindCommit, 0, nil), p.c.sign(p.key, kindCommit, 200, nil)}
	for i := range m {
		flipped := bytes.Clone(m)
		flipped[i] ^= 1
		bad = append(bad, flipped)
	}
	for _, b := range bad {
		refused(t, c.Add(b), ErrMessage)
	}
	refused(t, c.Add(p.c.sign(p.key, kindDeal, 1, nil)), ErrOrder)
	if !slices.EqualFunc(before, said(c), bytes.Equal) {
		t.Fatal("the ceremony changed")
	}
	_, err = c.Result()
	refused(t, err, ErrWaiting, 1, 2, 3)
	if err := c.Add(m); err != nil {
		t.Fatal(err)
	}
	_, err = c.Result()
	refused(t, err, ErrWaiting, 2, 3)
	_, err = c.KeyShare(p.key)
	refused(t, err, ErrWaiting)
}

// A ceremony that failed is planned again with the same keys: nothing that was
// said in the first fits the second, and nobody says the same commitment twice.
func TestReplayIntoAnotherCeremonyOfTheSameKeys(t *testing.T) {
	parties := generation(t, 2, 3)
	first := parties[0].c
	if _, err := run(parties, nil, nil); err != nil {
		t.Fatal(err)
	}
	join(t, first.plan, parties)
	for _, m := range said(first) {
		refused(t, parties[1].c.Add(m), ErrMessage)
	}
	m, err := parties[0].c.Next(parties[0].key, nil)
	if err != nil || bytes.Contains(m, first.body(0, 1)) {
		t.Fatal("the same commitment", err)
	}
}

// Whoever has one of a seat's two keys does not speak for it.
func TestSeatNeedsBothKeys(t *testing.T) {
	parties := newParties(t, 3)
	a, b, c := parties[0].key.Public(), parties[1].key.Public(), parties[2].key.Public()
	join(t, Plan{Threshold: 2, Receivers: []Participant{{a.sign, b.enc}, {b.sign, a.enc}, c}}, parties)
	for _, p := range parties[:2] {
		_, err := p.c.Next(p.key, nil)
		refused(t, err, ErrNotParticipant)
	}
}

func TestI22CommitmentOfAnotherLength(t *testing.T) {
	parties := generation(t, 2, 3)
	p, judge := parties[0], parties[1].c
	m := p.c.sign(p.key, kindCommit, 1, make([]byte, 33))
	refused(t, judge.Add(m), ErrDeal, 1)
	wantVerdict(t, judge, m, ErrDeal, RoleDealer, 1)
}

func TestBadPlans(t *testing.T) {
	f := newFixture(t, 2, 3)
	var seats []Participant
	for _, p := range newParties(t, 3) {
		seats = append(seats, p.key.Public())
	}
	d := func(i, seat int) Dealer { return Dealer{i, seats[seat]} }
	last := f.pk
	last.epoch = math.MaxUint32
	for name, p := range map[string]Plan{
		"C05 one custodian in two seats": {Threshold: 2, Receivers: []Participant{seats[0], seats[1], seats[0]}},
		"C05 one signing key twice":      {Threshold: 2, Receivers: []Participant{seats[0], seats[1], {seats[0].sign, seats[2].enc}}},
		"C05 one encryption key twice":   {Threshold: 2, Receivers: []Participant{seats[0], seats[1], {seats[2].sign, seats[0].enc}}},
		"C05 one custodian deals twice":  {Threshold: 2, Receivers: seats, Previous: f.pk, Dealers: []Dealer{d(1, 0), d(2, 0)}},
		"C05 one old share deals twice":  {Threshold: 2, Receivers: seats, Previous: f.pk, Dealers: []Dealer{d(1, 0), d(1, 1)}},
		"C02 fewer dealers than before":  {Threshold: 2, Receivers: seats, Previous: f.pk, Dealers: []Dealer{d(1, 0)}},
		"C01 a dealer at zero":           {Threshold: 2, Receivers: seats, Previous: f.pk, Dealers: []Dealer{d(0, 0), d(1, 1)}},
		"C03 a dealer of no old seat":    {Threshold: 2, Receivers: seats, Previous: f.pk, Dealers: []Dealer{d(1, 0), d(4, 1)}},
		"dealers out of order":           {Threshold: 2, Receivers: seats, Previous: f.pk, Dealers: []Dealer{d(2, 0), d(1, 1)}},
		"dealers in a generation":        {Threshold: 2, Receivers: seats, Dealers: []Dealer{d(1, 0), d(2, 1)}},
		"an empty dealer":                {Threshold: 2, Receivers: seats, Previous: f.pk, Dealers: []Dealer{d(1, 0), {Index: 2}}},
		"no epoch left":                  {Threshold: 2, Receivers: seats, Previous: last, Dealers: []Dealer{d(1, 0), d(2, 1)}},
		"an empty seat":                  {Threshold: 2, Receivers: []Participant{seats[0], {}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewCeremony(p)
			refused(t, err, ErrPlan)
			_, err = p.ID()
			refused(t, err, ErrPlan)
		})
	}
	text, err := seats[0].MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var p Participant
	if err := p.UnmarshalText(text); err != nil || !bytes.Equal(p.encode(), seats[0].encode()) {
		t.Fatal(err)
	}
	refused(t, p.UnmarshalText(append(text, '\n')), ErrNotParticipant)
	refused(t, p.UnmarshalText(text[:80]), ErrNotParticipant)
	_, err = Participant{}.MarshalText()
	refused(t, err, ErrNotParticipant)
	key := CeremonyKey{}
	refused(t, key.UnmarshalBinary([]byte("short")), ErrNotParticipant)
	_, err = key.MarshalBinary()
	refused(t, err, ErrNotParticipant)
	if key.Public().enc != nil {
		t.Fatal("the zero key has a public part")
	}
}
