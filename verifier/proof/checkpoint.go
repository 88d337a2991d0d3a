package proof

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// MaxCheckpoint bounds what is parsed, in bytes: [note.Open] stops at 100
	// signatures, which fit.
	MaxCheckpoint = 64 << 10
	// MaxSkew is how far a witness's clock may run ahead of ours, and how far the clocks of
	// a registrar's machines may differ in what an emergency's leaves say: the five minutes
	// that clocks are forgiven everywhere else.
	MaxSkew = 5 * time.Minute
)

// WitnessKey is one witness of a log's trust policy.
type WitnessKey struct {
	Name     string // for people
	Operator string // who runs it; the quorum counts operators
	VKey     string // for [NewCosignatureVerifier]
}

// Log is a log that is trusted under a policy: its own signature and the
// cosignatures of a quorum of witnesses. Make one with [NewLog]; it is
// immutable and safe for concurrent use. The fields are for display.
type Log struct {
	Origin    string
	Key       note.Verifier
	Witnesses []WitnessKey
	Quorum    int

	witnesses []note.Verifier  // as Witnesses
	signed    torchwood.Policy // origin and log key
	policy    torchwood.Policy // signed, and the quorum at any time
	opened    opened
}

// opened remembers the checkpoints that were verified under a policy, by the SHA-256 of their
// bytes: one that was right stays right.
type opened struct {
	mu sync.Mutex
	by map[[32]byte]openedCheckpoint
}

type openedCheckpoint struct {
	torchwood.Checkpoint
	note *note.Note
}

const maxOpened = 64 // checkpoints that are remembered

func (o *opened) get(digest [32]byte) (openedCheckpoint, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, ok := o.by[digest]
	return c, ok
}

func (o *opened) put(digest [32]byte, c openedCheckpoint) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by == nil || len(o.by) == maxOpened {
		o.by = make(map[[32]byte]openedCheckpoint)
	}
	o.by[digest] = c
}

// NewLog returns the trust policy for a log with the given origin and
// signed-note verifier key, whose name is the origin. It is [ErrPolicy] if the
// quorum is below 1 or above the number of witnesses, or if two parties share
// an operator, a public key or a name: a threshold counts distinct
// authorities, not signatures.
func NewLog(origin, logVKey string, witnesses []WitnessKey, quorum int) (*Log, error) {
	key, err := note.NewVerifier(logVKey)
	if err != nil {
		return nil, ErrPolicy.Because(err)
	}
	if key.Name() != origin {
		return nil, ErrPolicy.Because(errors.New("log key has another name than the origin"))
	}
	// "At least one witness": neither an empty group nor failing open exists.
	if quorum < 1 || quorum > len(witnesses) {
		return nil, ErrPolicy.Because(errors.New("quorum out of range"))
	}
	l := &Log{Origin: origin, Key: key, Witnesses: witnesses, Quorum: quorum,
		signed: torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(key))}
	seen := map[string]bool{"name " + origin: true, "key " + rawKey(logVKey): true}
	for _, w := range witnesses {
		v, err := NewCosignatureVerifier(w.VKey)
		if err != nil {
			return nil, ErrPolicy.Because(err)
		}
		operator := strings.ToLower(strings.Join(strings.Fields(w.Operator), " "))
		// C2SP tlog-policy: two vkeys that wrap one public key are duplicates.
		for _, id := range []string{"operator " + operator, "key " + rawKey(w.VKey), "name " + v.Name()} {
			if operator == "" || seen[id] {
				return nil, ErrPolicy.Because(errors.New("two parties share an operator, key or name"))
			}
			seen[id] = true
		}
		l.witnesses = append(l.witnesses, v)
	}
	l.policy = torchwood.ThresholdPolicy(2, l.signed, l.quorum(1, math.MaxInt64))
	return l, nil
}

// rawKey returns the public key inside a vkey, without name, hash and
// algorithm. The vkey has been parsed before.
func rawKey(vkey string) string {
	_, rest, _ := strings.Cut(vkey, "+")
	_, key64, _ := strings.Cut(rest, "+") // base64 may hold more of them
	b, err := base64.StdEncoding.DecodeString(key64)
	if err != nil || len(b) == 0 {
		return ""
	}
	return string(b[1:])
}

// quorum is the policy that enough witnesses cosigned at a time in [from, to],
// in seconds since the epoch. C2SP tlog-cosignature: a timestamp "MUST NOT
// exceed 2^63 - 1"; zero is no time at all.
func (l *Log) quorum(from, to int64) torchwood.Policy {
	policies := make([]torchwood.Policy, len(l.witnesses))
	for i, v := range l.witnesses {
		policies[i] = timedPolicy{torchwood.SingleVerifierPolicy(v), v, from, to}
	}
	return torchwood.ThresholdPolicy(l.Quorum, policies...)
}

// timedPolicy counts a witness only if its cosignature is of the right time.
type timedPolicy struct {
	torchwood.Policy
	v        note.Verifier
	from, to int64
}

func (p timedPolicy) Check(origin string, sigs []note.Signature) error {
	if err := p.Policy.Check(origin, sigs); err != nil {
		return err
	}
	for _, s := range sigs {
		if s.Name == p.v.Name() && s.Hash == p.v.KeyHash() {
			if t, err := torchwood.CosignatureTimestamp(s); err != nil || t < p.from || t > p.to {
				return errors.New("cosignature is of another time")
			}
		}
	}
	return nil
}

// OpenCheckpoint verifies a checkpoint: signed by the log and cosigned by a
// quorum of distinct operators at any time. Signatures of unknown keys, and so those of
// algorithms and kinds of cosignatures that are unknown, are ignored, as C2SP signed-note
// demands, and a wrong signature of a known key
// is [ErrSignature]. The other refusals are [ErrMalformed], [ErrLog] and
// [ErrQuorum].
//
// It does NOT check that the checkpoint is recent, or consistent with others:
// see [Log.OpenFresh] and [Consistency].
func (l *Log) OpenCheckpoint(signed []byte) (torchwood.Checkpoint, error) {
	c, _, err := l.openCosigned(signed)
	return c, err
}

// OpenFresh is [Log.OpenCheckpoint], and the quorum must have cosigned within
// maxAge before now and not in the future: it is [ErrStale] for a log that
// shows an old tree (a freeze).
func (l *Log) OpenFresh(signed []byte, now time.Time, maxAge time.Duration) (torchwood.Checkpoint, error) {
	c, n, err := l.openCosigned(signed)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	if err := l.quorum(max(1, now.Add(-maxAge).Unix()), now.Add(MaxSkew).Unix()).Check(c.Origin, n.Sigs); err != nil {
		return torchwood.Checkpoint{}, ErrStale.Because(err)
	}
	return c, nil
}

// openCosigned verifies the signatures of one checkpoint once. The note is not to be changed.
func (l *Log) openCosigned(signed []byte) (torchwood.Checkpoint, *note.Note, error) {
	if l == nil || len(signed) > MaxCheckpoint {
		return l.open(signed, true) // which refuses it
	}
	digest := sha256.Sum256(signed)
	if known, ok := l.opened.get(digest); ok {
		return known.Checkpoint, known.note, nil
	}
	c, n, err := l.open(signed, true)
	if err == nil {
		l.opened.put(digest, openedCheckpoint{c, n})
	}
	return c, n, err
}

func (l *Log) open(signed []byte, cosigned bool) (torchwood.Checkpoint, *note.Note, error) {
	refuse := func(err error) (torchwood.Checkpoint, *note.Note, error) { return torchwood.Checkpoint{}, nil, err }
	if l == nil || l.policy == nil {
		return refuse(ErrPolicy) // not made by NewLog
	}
	policy := l.policy
	if !cosigned {
		policy = l.signed
	}
	if len(signed) > MaxCheckpoint {
		return refuse(ErrMalformed)
	}
	c, n, err := torchwood.VerifyCheckpoint(signed, policy)
	var bad *note.InvalidSignatureError
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &bad):
		return refuse(ErrSignature)
	case errors.As(err, &unverified):
		origin, _, _ := strings.Cut(unverified.Note.Text, "\n")
		if l.signed.Check(origin, unverified.Note.Sigs) != nil {
			return refuse(ErrLog)
		}
		return refuse(ErrQuorum)
	case err != nil:
		return refuse(ErrMalformed)
	}
	// One form for one statement: no extensions, since witnesses do not vouch
	// for them, and no second spelling of a hash or signature.
	if c.Extension != "" || c.String() != n.Text {
		return refuse(ErrMalformed)
	}
	for _, s := range append(n.Sigs, n.UnverifiedSigs...) {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return refuse(ErrMalformed)
		}
	}
	return c, n, nil
}

// CosignedAt returns the latest time since which a quorum has cosigned a
// checkpoint, that is, how old its news are. It does not count what lies in the
// future. The refusals are those of [Log.OpenCheckpoint] and [ErrStale].
func (l *Log) CosignedAt(signed []byte, now time.Time) (time.Time, error) {
	_, n, err := l.openCosigned(signed)
	if err != nil {
		return time.Time{}, err
	}
	var times []int64
	for _, v := range l.witnesses {
		latest := int64(0)
		for _, s := range n.Sigs {
			if t, err := torchwood.CosignatureTimestamp(s); s.Name == v.Name() && s.Hash == v.KeyHash() && err == nil && t <= now.Add(MaxSkew).Unix() {
				latest = max(latest, t)
			}
		}
		times = append(times, latest)
	}
	slices.Sort(times)
	if at := times[len(times)-l.Quorum]; at > 0 {
		return time.Unix(at, 0), nil
	}
	return time.Time{}, ErrStale
}

// Inclusion checks that proof leads from the leaf at index to the root of c,
// which the caller has opened. It is [ErrBadProof] if the proof cannot be one
// for that index and size, and [ErrMismatch] if it is one for another leaf.
func Inclusion(index int64, leaf []byte, proof tlog.RecordProof, c torchwood.Checkpoint) error {
	if index < 0 || index >= c.N || len(proof) != pathLength(index, c.N) {
		return ErrBadProof
	}
	if err := tlog.CheckRecord(proof, c.N, c.Hash, index, tlog.RecordHash(leaf)); err != nil {
		return ErrMismatch
	}
	return nil
}

// pathLength is the length of an audit path, RFC 9162, 2.1.3.2: one hash per
// level up to where the path meets the right edge, then one per full subtree
// to the left.
func pathLength(index, size int64) int {
	inner := bits.Len64(uint64(index ^ (size - 1)))
	return inner + bits.OnesCount64(uint64(index)>>inner)
}

// Consistency checks that newer, with proof, only adds to older. Both must
// have been opened. It is [ErrOlder] if newer is smaller, [ErrSplitView] if they are
// of one size but differ, and [ErrBadProof] if the proof does not show it; only a
// split view accuses the log.
func Consistency(older, newer torchwood.Checkpoint, proof tlog.TreeProof) error {
	switch {
	case older.Origin != newer.Origin:
		return ErrLog
	case newer.N < older.N:
		return ErrOlder
	case newer.N == older.N && newer.Hash != older.Hash:
		return ErrSplitView
	case newer.N == older.N || older.N == 0:
		if len(proof) != 0 {
			return ErrBadProof
		}
		return nil
	}
	if err := tlog.CheckTree(proof, newer.N, newer.Hash, older.N, older.Hash); err != nil {
		return ErrBadProof
	}
	return nil
}

// VerifyProof checks a c2sp.org/tlog-proof@v1 for the leaf and returns where
// it is and under which checkpoint. Only the canonical form without extra
// data is accepted: nothing in an accepted proof is unauthenticated.
func (l *Log) VerifyProof(leaf, proof []byte) (index int64, c torchwood.Checkpoint, err error) {
	head, signed, ok := strings.Cut(string(proof), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 2 || len(lines) > 2+63 || len(proof) > MaxCheckpoint+8<<10 {
		return 0, c, ErrMalformed
	}
	number, _ := strings.CutPrefix(lines[1], "index ")
	if index, err = strconv.ParseInt(number, 10, 64); err != nil {
		return 0, c, ErrMalformed
	}
	path := tlog.RecordProof{}
	for _, line := range lines[2:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			return 0, c, ErrMalformed
		}
		path = append(path, h)
	}
	if string(torchwood.FormatProof(index, path, []byte(signed))) != string(proof) {
		return 0, c, ErrMalformed
	}
	if c, err = l.OpenCheckpoint([]byte(signed)); err != nil {
		return 0, torchwood.Checkpoint{}, err
	}
	if err := Inclusion(index, leaf, path, c); err != nil {
		return 0, torchwood.Checkpoint{}, err
	}
	return index, c, nil
}

// VerifySplitView checks evidence against a log: two checkpoints, both signed
// by its key, of one size and different roots. It returns nil if they convict
// it. Cosignatures do not matter: the log alone answers for what it signs.
func VerifySplitView(origin, logVKey string, first, second []byte) error {
	a, err := OpenUncosigned(origin, logVKey, first)
	if err != nil {
		return err
	}
	b, err := OpenUncosigned(origin, logVKey, second)
	if err != nil {
		return err
	}
	if a.N != b.N || a.Hash == b.Hash {
		return ErrBadProof
	}
	return nil
}

// OpenUncosigned verifies the log's own signature on a checkpoint and no
// cosignature: it shows what the log says, not that others have seen the same.
// It is [ErrPolicy] if logVKey is not a verifier key, [ErrMalformed], [ErrLog] or
// [ErrSignature].
func OpenUncosigned(origin, logVKey string, signed []byte) (torchwood.Checkpoint, error) {
	key, err := note.NewVerifier(logVKey)
	if err != nil {
		return torchwood.Checkpoint{}, ErrPolicy.Because(err)
	}
	if len(signed) > MaxCheckpoint {
		return torchwood.Checkpoint{}, ErrMalformed
	}
	c, n, err := torchwood.VerifyCheckpoint(signed,
		torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(key)))
	var bad *note.InvalidSignatureError
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &bad):
		return torchwood.Checkpoint{}, ErrSignature
	case errors.As(err, &unverified):
		return torchwood.Checkpoint{}, ErrLog
	case err != nil || c.Extension != "" || c.String() != n.Text:
		return torchwood.Checkpoint{}, ErrMalformed
	}
	return c, nil
}
