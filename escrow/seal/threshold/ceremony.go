package threshold

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math/bits"
	"slices"

	"github.com/cloudflare/circl/group"

	"github.com/penname/penname/verifier/refusal"
)

// Refusals of a ceremony. Those with a culprit carry a [*BlameError]; the message
// that [Ceremony.Add] refused is signed, and proves it with those before.
var (
	ErrPlan           = refusal.New(refusal.Invalid, "custodian.bad_plan", "The ceremony's plan is malformed, seats somebody twice, or does not name exactly the old threshold of dealers; plan again.")
	ErrNotParticipant = refusal.New(refusal.Invalid, "custodian.not_a_participant", "The ceremony key is malformed or has no seat in this ceremony; use the key whose public part is in the plan.")
	ErrMessage        = refusal.New(refusal.Invalid, "custodian.bad_message", "The message is malformed, unsigned or of another ceremony; nothing was changed, fetch it again from its sender.")
	ErrOrder          = refusal.New(refusal.NotYet, "custodian.out_of_order", "An earlier round is not complete; add the missing messages first.")
	ErrWaiting        = refusal.New(refusal.NotYet, "custodian.ceremony_waiting", "Some participants have not spoken yet; the cause names them.")
	ErrForked         = refusal.New(refusal.Conflict, "custodian.ceremony_forked", "The sender has heard other messages than we have; add their transcript to find who said two things.")
	ErrEquivocation   = refusal.New(refusal.Conflict, "custodian.equivocation", "A participant signed two different messages for one round; plan again without them.")
	ErrDeal           = refusal.New(refusal.Invalid, "custodian.bad_deal", "A dealer's message is malformed, its proofs do not hold, or it is not of their old share; plan again without them.")
	ErrCommitment     = refusal.New(refusal.Invalid, "custodian.commitment_mismatch", "A dealer opened something else than they committed to; plan again without them.")
	ErrDealtShare     = refusal.New(refusal.Invalid, "custodian.bad_dealt_share", "A complaint proves that a dealer sent a share that does not fit their commitments; plan again without them.")
	ErrComplaint      = refusal.New(refusal.Invalid, "custodian.false_complaint", "A receiver complained about a share that is right; plan again without them.")
	ErrConfirm        = refusal.New(refusal.Invalid, "custodian.bad_confirmation", "A receiver's confirmation is malformed or does not prove that they hold their share; plan again without them.")
)

// A message is 'M', version 1, kind, ceremony (32), sender (1), body, Ed25519
// signature (64) over "penname/tdh2/v1/ceremony/message" and all before it.
type kind byte

const (
	kindCommit    kind = 1 // SHA-256 of the deal to come
	kindDeal      kind = 2 // Feldman commitments, encrypted shares, proofs
	kindConfirm   kind = 3 // proof that the receiver holds x_i
	kindComplaint kind = 4 // proof that a dealt share is wrong
)

// round of a kind; complaint and confirmation are the two answers to the deals.
func (k kind) round() int { return min(int(k), 3) - 1 }

func (k kind) role() Role {
	if k <= kindDeal {
		return RoleDealer
	}
	return RoleReceiver
}

// Ceremony makes a threshold key without a dealer, or moves it to another set
// of custodians or another threshold, as a state that messages are added to:
//
//	commit    each dealer publishes the hash of their deal, so that nobody can
//	          choose their part after they saw the others'; in a resharing, so
//	          that the last to speak cannot cancel a coefficient.
//	deal      each dealer j publishes Feldman commitments A_k = g^{a_k} to a
//	          polynomial f_j of degree t-1, the shares f_j(i) encrypted to the
//	          receivers, and proofs that they know f_j(0) and the encryption's
//	          secret. In a resharing f_j(0) is their old share [DJ], which can be
//	          verified [WWW]: A_0 must be their h_j.
//	answer    each receiver confirms by proving that they know x_i, or complains
//	          about one dealer by publishing the key that share was encrypted
//	          with and a proof of equality of logarithms: anyone sees who lied.
//
// Key generation: x_i = Σ f_j(i). Resharing: x_i = Σ λ_j f_j(i), so x, and h,
// stay, and nobody ever holds x.
//
// A fault ends the ceremony: it names the culprit, and the others plan another
// without them. So the generation is joint Feldman sharing [F, P] with
// commitments, encryption on a broadcast channel and "stop, kill and rewind".
// [GJKR], section 3, shows how an attacker biases the key of joint Feldman, and
// its appendix that none of the three prevents all of it: whoever opens last sees
// h first, and can have it drawn again by cheating or falling silent, and is
// named for it. Our remedy is that the named is left out of the next plan: t-1
// colluding dealers choose among t uniform keys at most, which makes no attack on
// TDH2 more than t times as likely to succeed. The honest do not finish on their
// own, as they would in the protocol of [GJKR], section 4.
//
// Confidentiality holds while fewer than t receivers (and fewer than the old
// threshold of dealers) collude.
//
//	[F]    P. Feldman, A Practical Scheme for Non-interactive Verifiable Secret
//	       Sharing, FOCS 1987
//	[P]    T. Pedersen, A Threshold Cryptosystem without a Trusted Party,
//	       EUROCRYPT 1991
//	[GJKR] R. Gennaro, S. Jarecki, H. Krawczyk, T. Rabin, Secure Distributed Key
//	       Generation for Discrete-Log Based Cryptosystems, J. Cryptology 20(1),
//	       51–83, 2007
//	[DJ]   Y. Desmedt, S. Jajodia, Redistributing Secret Shares to New Access
//	       Structures and Its Applications, ISSE-TR-97-01, George Mason
//	       University, 1997
//	[WWW]  T. Wong, C. Wang, J. Wing, Verifiable Secret Redistribution for Archive
//	       Systems, IEEE Security in Storage Workshop 2002
//	[CP]   D. Chaum, T. Pedersen, Wallet Databases with Observers, CRYPTO 1992
//
// Messages go over any public channel and can be replayed, delayed and
// reordered within a round; every later message carries the hash of what its
// sender has heard. Nobody can cancel (ATTACKS C22): there is no such message.
// A Ceremony is not safe for concurrent use.
type Ceremony struct {
	plan  Plan
	id    [32]byte
	said  [3]map[int][]byte // by round and sender
	deals map[int]deal
	pk    PublicKey // set when all deals are in
	fault error
}

// deal is the parsed core of a deal message.
type deal struct {
	as      []group.Element // A_0 … A_{t-1}
	e       group.Element   // E = g^e, ephemeral
	pokA0   proof           // of a_0
	pokE    proof           // of e
	zs      []group.Scalar  // f(i) + pad_i
	encoded []byte
}

// proof is a Schnorr proof (challenge, response) of a discrete logarithm, or of
// the equality of two.
type proof struct{ e, f group.Scalar }

// NewCeremony starts an empty ceremony.
func NewCeremony(p Plan) (*Ceremony, error) {
	id, err := p.ID()
	if err != nil {
		return nil, err
	}
	c := &Ceremony{plan: p, id: id, deals: map[int]deal{}}
	for i := range c.said {
		c.said[i] = map[int][]byte{}
	}
	return c, nil
}

// speakers of a round.
func (c *Ceremony) speakers(round int) []Dealer { return c.plan.seats(kind(round + 1).role()) }

func (c *Ceremony) missing(round int) (out []int) {
	for _, s := range c.speakers(round) {
		if c.said[round][s.Index] == nil {
			out = append(out, s.Index)
		}
	}
	return out
}

// heard is the hash of all messages of the rounds before round.
func (c *Ceremony) heard(round int) [32]byte {
	parts := [][]byte{c.id[:]}
	for r := range round {
		parts = append(parts, c.messages(r)...)
	}
	return digest("ceremony/heard", parts...)
}

// messages of a round in the senders' order.
func (c *Ceremony) messages(round int) (out [][]byte) {
	for _, s := range c.speakers(round) {
		if m := c.said[round][s.Index]; m != nil {
			out = append(out, m)
		}
	}
	return out
}

// sender is the participant who has the seat, or nil.
func (c *Ceremony) sender(role Role, index int) *Participant {
	for _, s := range c.plan.seats(role) {
		if s.Index == index {
			return &s.Participant
		}
	}
	return nil
}

func (c *Ceremony) sign(key CeremonyKey, k kind, index int, body []byte) []byte {
	m := slices.Concat([]byte{'M', version, byte(k)}, c.id[:], []byte{byte(index)}, body)
	return append(m, ed25519.Sign(key.signer(), signed(m))...)
}

func signed(m []byte) []byte { return append([]byte(domain+"ceremony/message"), m...) }

// Add takes a message of any participant, our own included. The same message
// again changes nothing; a message that nobody signed changes nothing and is
// refused. A signed message that breaks the protocol ends the ceremony, and the
// refusal names its culprit.
func (c *Ceremony) Add(m []byte) error {
	if c.fault != nil {
		return c.fault
	}
	const head, tail = 3 + 32 + 1, ed25519.SignatureSize
	if len(m) < head+tail || m[0] != 'M' || m[1] != version || !bytes.Equal(m[3:35], c.id[:]) {
		return ErrMessage
	}
	k, index := kind(m[2]), int(m[35])
	if k < kindCommit || k > kindComplaint {
		return ErrMessage
	}
	from := c.sender(k.role(), index)
	if from == nil || !ed25519.Verify(from.sign, signed(m[:len(m)-tail]), m[len(m)-tail:]) {
		return ErrMessage
	}
	m = bytes.Clone(m)
	if old := c.said[k.round()][index]; bytes.Equal(old, m) {
		return nil
	} else if old != nil {
		c.fault = blameAs(k.role(), ErrEquivocation, index)
		return c.fault
	}
	for r := range k.round() {
		if len(c.missing(r)) > 0 {
			return ErrOrder
		}
	}
	err := c.take(k, index, m[head:len(m)-tail])
	if b := (*BlameError)(nil); errors.As(err, &b) {
		c.fault = err
	}
	if err != nil {
		return err
	}
	c.said[k.round()][index] = m
	if k == kindDeal && len(c.missing(1)) == 0 {
		// After the commitments only all dealers together can make this fail,
		// and then there is nobody left to tell.
		c.pk, c.fault = c.publicKey()
	}
	return c.fault
}

// Envelope reads in which round ("commit", "deal", "answer") and from which index
// a message says it is. It checks nothing else: compare it with who delivered the
// message, and [Ceremony.Add] it.
func Envelope(m []byte) (round string, index int, err error) {
	if len(m) < 36 || m[0] != 'M' || m[1] != version || kind(m[2]) < kindCommit || kind(m[2]) > kindComplaint {
		return "", 0, ErrMessage
	}
	return [...]string{"commit", "deal", "answer"}[kind(m[2]).round()], int(m[35]), nil
}

// take checks a signed body.
func (c *Ceremony) take(k kind, index int, body []byte) error {
	r := reader{b: body}
	var heard [32]byte
	if k != kindCommit {
		r.fill(heard[:])
		if !r.bad && heard != c.heard(k.round()) {
			return ErrForked
		}
	}
	switch k {
	case kindCommit:
		if len(body) != 32 {
			return blameAs(RoleDealer, ErrDeal, index)
		}
		return nil
	case kindDeal:
		return c.takeDeal(index, r)
	case kindConfirm:
		p := proof{r.scalar(), r.scalar()}
		if !r.done() || !c.proven("holds", c.pk.hs[index-1], p, []byte{byte(index)}, heard[:]) {
			return blameAs(RoleReceiver, ErrConfirm, index)
		}
		return nil
	default:
		return c.takeComplaint(index, r)
	}
}

func (c *Ceremony) takeDeal(index int, r reader) error {
	var d deal
	d.encoded = bytes.Clone(r.b)
	for range c.plan.Threshold {
		d.as = append(d.as, r.element())
	}
	d.e = r.element()
	d.pokA0 = proof{r.scalar(), r.scalar()}
	d.pokE = proof{r.scalar(), r.scalar()}
	for range c.plan.Receivers {
		d.zs = append(d.zs, r.scalar())
	}
	who := []byte{byte(index)}
	// The proofs keep a dealer from building on what another published: a
	// rogue A_0, or an E whose complaint would open the other's shares.
	if !r.done() || !c.proven("dealt secret", d.as[0], d.pokA0, who) || !c.proven("dealt key", d.e, d.pokE, who) {
		return blameAs(RoleDealer, ErrDeal, index)
	}
	if c.plan.resharing() && !d.as[0].IsEqual(c.plan.Previous.hs[index-1]) {
		return blameAs(RoleDealer, ErrDeal, index)
	}
	if h := c.commitment(index, d); !bytes.Equal(h[:], c.body(0, index)) {
		return blameAs(RoleDealer, ErrCommitment, index)
	}
	c.deals[index] = d
	return nil
}

func (c *Ceremony) commitment(index int, d deal) [32]byte {
	return digest("ceremony/commitment", c.id[:], []byte{byte(index)}, d.encoded)
}

func (c *Ceremony) body(round, index int) []byte {
	m := c.said[round][index]
	return m[36 : len(m)-ed25519.SignatureSize]
}

// takeComplaint judges: its result always names somebody.
func (c *Ceremony) takeComplaint(index int, r reader) error {
	dealer, shared := int(r.byte()), r.element()
	p := proof{r.scalar(), r.scalar()}
	d, ok := c.deals[dealer]
	to := c.plan.Receivers[index-1]
	if !r.done() || !ok || !c.provenEqual(to.enc, d.e, shared, p, []byte{byte(index), byte(dealer)}) {
		return blameAs(RoleReceiver, ErrComplaint, index)
	}
	if c.fits(d, index, c.unpad(d, dealer, index, shared)) {
		return blameAs(RoleReceiver, ErrComplaint, index)
	}
	return blameAs(RoleDealer, ErrDealtShare, dealer)
}

// pad hides f_j(i): a hash of the Diffie-Hellman value of D_i and E.
func (c *Ceremony) pad(e group.Element, dealer, receiver int, shared group.Element) group.Scalar {
	return challenge("ceremony/pad", c.id[:], []byte{byte(dealer), byte(receiver)}, bytesOf(e), bytesOf(c.plan.Receivers[receiver-1].enc), bytesOf(shared))
}

func (c *Ceremony) unpad(d deal, dealer, receiver int, shared group.Element) group.Scalar {
	return curve.NewScalar().Sub(d.zs[receiver-1], c.pad(d.e, dealer, receiver, shared))
}

// fits is Feldman's check: g^s = Π A_k^{i^k}.
func (c *Ceremony) fits(d deal, i int, s group.Scalar) bool {
	return mulGen(s).IsEqual(evaluate(d.as, i))
}

// evaluate is Horner's rule in the exponent, at a small public place i, by
// doubling and adding: all of it is public, and six times faster than mul.
func evaluate(as []group.Element, i int) group.Element {
	sum := as[len(as)-1]
	for k := len(as) - 2; k >= 0; k-- {
		p := curve.Identity()
		for b := bits.Len(uint(i)) - 1; b >= 0; b-- {
			p.Dbl(p)
			if i>>b&1 == 1 {
				p.Add(p, sum)
			}
		}
		sum = p.Add(p, as[k])
	}
	return sum
}

// weights are what each dealer's polynomial counts, in the dealers' order.
func (c *Ceremony) weights() ([]int, []group.Scalar) {
	var xs []int
	var ws []group.Scalar
	for _, d := range c.plan.seats(RoleDealer) {
		xs, ws = append(xs, d.Index), append(ws, integer(1))
	}
	if c.plan.resharing() {
		ws = lagrange(xs)
	}
	return xs, ws
}

func (c *Ceremony) publicKey() (PublicKey, error) {
	sum := make([]group.Element, c.plan.Threshold)
	xs, ws := c.weights()
	for k := range sum {
		sum[k] = curve.Identity()
		for j, x := range xs {
			sum[k].Add(sum[k], mul(c.deals[x].as[k], ws[j]))
		}
	}
	hs := make([]group.Element, len(c.plan.Receivers))
	for i := range hs {
		hs[i] = evaluate(sum, i+1)
	}
	pk, err := newPublicKey(c.plan.Threshold, c.plan.epoch(), sum[0], hs)
	if err == nil && c.plan.resharing() && !pk.Same(c.plan.Previous) {
		return PublicKey{}, ErrPublicKey
	}
	return pk, err
}

// Result is the new public key, once every receiver has confirmed. Before, it
// is [ErrWaiting] with the missing as cause; after a fault, that fault.
func (c *Ceremony) Result() (PublicKey, error) {
	if c.fault != nil {
		return PublicKey{}, c.fault
	}
	for r := range c.said {
		if missing := c.missing(r); len(missing) > 0 {
			return PublicKey{}, blameAs(kind(r+1).role(), ErrWaiting, missing...)
		}
	}
	return c.pk, nil
}

// KeyShare is the receiver's new secret, once the ceremony is complete.
func (c *Ceremony) KeyShare(key CeremonyKey) (KeyShare, error) {
	pk, err := c.Result()
	if err != nil {
		return KeyShare{}, err
	}
	index := c.seat(RoleReceiver, key)
	if index == 0 {
		return KeyShare{}, ErrNotParticipant
	}
	x, _, _ := c.collect(key, index)
	ks := pk.keyShare(index, x)
	return ks, ks.Check(pk)
}

// collect decrypts what was dealt to us. bad is the first dealer whose share
// does not fit their commitments, or 0; shared is the key it was encrypted with.
func (c *Ceremony) collect(key CeremonyKey, index int) (x group.Scalar, bad int, shared group.Element) {
	x = curve.NewScalar()
	xs, ws := c.weights()
	for j, dealer := range xs {
		d := c.deals[dealer]
		k := mul(d.e, key.secret("encryption-key"))
		s := c.unpad(d, dealer, index, k)
		if !c.fits(d, index, s) {
			return nil, dealer, k
		}
		x.Add(x, curve.NewScalar().Mul(s, ws[j]))
	}
	return x, 0, nil
}

func (c *Ceremony) seat(role Role, key CeremonyKey) int {
	p := key.Public()
	if p.enc == nil {
		return 0
	}
	for _, s := range c.plan.seats(role) {
		if p.sign.Equal(s.sign) && p.enc.IsEqual(s.enc) {
			return s.Index
		}
	}
	return 0
}

// Next makes the message that the holder of key owes now, adds it, and returns
// it to be published; nil when nothing is owed until others have spoken. old is
// the dealer's present key share in a resharing, otherwise nil. Keep all that was
// heard, and the message, before publishing it; after a crash Add them again first.
//
// A complaint ends the ceremony: it is returned, and Result names the dealer.
func (c *Ceremony) Next(key CeremonyKey, old *KeyShare) ([]byte, error) {
	if c.fault != nil {
		return nil, c.fault
	}
	dealer, receiver := c.seat(RoleDealer, key), c.seat(RoleReceiver, key)
	var m []byte
	switch {
	case dealer == 0 && receiver == 0:
		return nil, ErrNotParticipant
	case dealer != 0 && c.said[0][dealer] == nil:
		d, err := c.deal(key, dealer, old)
		if err != nil {
			return nil, err
		}
		h := c.commitment(dealer, d)
		m = c.sign(key, kindCommit, dealer, h[:])
	case len(c.missing(0)) > 0:
		return nil, nil
	case dealer != 0 && c.said[1][dealer] == nil:
		d, err := c.deal(key, dealer, old)
		if err != nil {
			return nil, err
		}
		heard := c.heard(1)
		m = c.sign(key, kindDeal, dealer, append(heard[:], d.encoded...))
	case len(c.missing(1)) > 0:
		return nil, nil
	case receiver != 0 && c.said[2][receiver] == nil:
		m = c.answer(key, receiver)
	default:
		return nil, nil
	}
	if err := c.Add(m); err != nil && !errors.Is(err, ErrDealtShare) {
		return nil, err
	}
	return m, nil
}

func (c *Ceremony) deal(key CeremonyKey, index int, old *KeyShare) (deal, error) {
	who := []byte{byte(index)}
	f := make(polynomial, c.plan.Threshold)
	for k := range f {
		f[k] = key.secret("coefficient", c.id[:], who, []byte{byte(k)})
	}
	if c.plan.resharing() {
		if old == nil || old.index != index {
			return deal{}, ErrKeyShare
		}
		if err := old.Check(c.plan.Previous); err != nil {
			return deal{}, err
		}
		f[0] = old.x
	}
	return c.dealOf(key, index, f), nil
}

// dealOf commits to f and encrypts its values.
func (c *Ceremony) dealOf(key CeremonyKey, index int, f polynomial) deal {
	who := []byte{byte(index)}
	e := key.secret("ephemeral", c.id[:], who)
	d := deal{e: mulGen(e)}
	for _, a := range f {
		d.encoded = append(d.encoded, bytesOf(mulGen(a))...)
	}
	d.encoded = slices.Concat(d.encoded, bytesOf(d.e), c.prove(key, "dealt secret", f[0], who).encode(), c.prove(key, "dealt key", e, who).encode())
	for i, to := range c.plan.Receivers {
		z := curve.NewScalar().Add(f.at(i+1), c.pad(d.e, index, i+1, mul(to.enc, e)))
		d.encoded = append(d.encoded, bytesOf(z)...)
	}
	return d
}

func (c *Ceremony) answer(key CeremonyKey, index int) []byte {
	heard := c.heard(2)
	x, bad, shared := c.collect(key, index)
	if bad == 0 {
		p := c.prove(key, "holds", x, []byte{byte(index)}, heard[:])
		return c.sign(key, kindConfirm, index, append(heard[:], p.encode()...))
	}
	p := c.proveEqual(key, c.deals[bad].e, shared, []byte{byte(index), byte(bad)})
	return c.sign(key, kindComplaint, index, slices.Concat(heard[:], []byte{byte(bad)}, bytesOf(shared), p.encode()))
}

func (p proof) encode() []byte { return append(bytesOf(p.e), bytesOf(p.f)...) }

// prove shows that we know x = log_g P. The nonce is a hash of all that the
// challenge takes (as in RFC 6979), so no two challenges meet one nonce.
func (c *Ceremony) prove(key CeremonyKey, what string, x group.Scalar, context ...[]byte) proof {
	point := mulGen(x)
	s := key.secret("nonce", []byte(what), c.id[:], bytesOf(x), frame(context...))
	e := c.statement(what, point, mulGen(s), context...)
	f := curve.NewScalar().Mul(x, e)
	return proof{e, f.Add(f, s)}
}

func (c *Ceremony) statement(what string, point, commitment group.Element, context ...[]byte) group.Scalar {
	return challenge("ceremony/proof", []byte(what), c.id[:], bytesOf(point), bytesOf(commitment), frame(context...))
}

func (c *Ceremony) proven(what string, point group.Element, p proof, context ...[]byte) bool {
	r := sub(mulGen(p.f), mul(point, p.e))
	return c.statement(what, point, r, context...).IsEqual(p.e)
}

// proveEqual shows log_g D = log_E K for our D: the proof of [CP], made
// non-interactive.
func (c *Ceremony) proveEqual(key CeremonyKey, base, shared group.Element, context []byte) proof {
	x := key.secret("encryption-key")
	s := key.secret("nonce", []byte("complaint"), c.id[:], bytesOf(base), bytesOf(shared), context)
	e := c.equality(mulGen(x), base, shared, mulGen(s), mul(base, s), context)
	f := curve.NewScalar().Mul(x, e)
	return proof{e, f.Add(f, s)}
}

func (c *Ceremony) equality(d, base, shared, r1, r2 group.Element, context []byte) group.Scalar {
	return challenge("ceremony/equality", c.id[:], bytesOf(d), bytesOf(base), bytesOf(shared), bytesOf(r1), bytesOf(r2), context)
}

func (c *Ceremony) provenEqual(d, base, shared group.Element, p proof, context []byte) bool {
	r1 := sub(mulGen(p.f), mul(d, p.e))
	r2 := sub(mul(base, p.f), mul(shared, p.e))
	return c.equality(d, base, shared, r1, r2, context).IsEqual(p.e)
}
