// Package rules answers: which rules are in force? It asks the public log itself,
// and believes nobody who serves it.
//
// Trust begins with one bundle that somebody was handed by a person: an operator
// in a file, a custodian in their folder, an auditor from a friend. From there:
//
//	forward   each bundle that the log records after it must follow the one before
//	          (place and endorsements: policy.Bundle.Follows)
//	backward  each bundle is the one whose hash its successor names
//
// all in a tree that is cosigned by the quorum of witnesses of the bundle that
// is in force, or was when this tree was published. Bundles are fetched by their
// hash from anybody.
//
// What a liar can do: withhold. Then nobody acts ([ErrUnknown]), until the quorum
// of witnesses shows a tree that is fresh. A quorum of witnesses that lies together
// with the operator can hide a newer bundle from somebody for as long as they keep
// them away from everybody else.
package rules

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"filippo.io/torchwood"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Why it is not known which rules are in force, or others are.
var (
	ErrUnknown = refusal.New(refusal.Unavailable, "rules.unknown",
		"it cannot be told which rules are in force, because the public log, its witnesses or a bundle cannot be had or are too old: nothing is done until they are back")
	ErrNotInLog = refusal.New(refusal.Denied, "rules.not_in_log",
		"the public log does not hold this bundle: nobody endorsed it, it was not installed yet, or the file was changed; use the one that the custodians endorsed")
	ErrSuperseded = refusal.New(refusal.Denied, "rules.superseded",
		"newer rules are in force than this bundle: use those")
	ErrBroken = refusal.New(refusal.Denied, "rules.broken",
		"the public log holds a bundle that does not follow the one before it, or came before: the cause names its entry; do nothing under it, keep the log and tell the custodians")
	ErrUnavailable = refusal.New(refusal.Unavailable, "rules.bundle_not_available",
		"a bundle that the public log names could not be had, or not with its hash: this accuses nobody; try again, or give the bundle yourself")
)

// Entry is a bundle in the public log.
type Entry struct {
	Bundle string `json:"bundle"` // hex SHA-256
	Leaf   int64  `json:"leaf"`   // index of its leaf
	Day    string `json:"day"`    // of its leaf
}

// History is the bundles of one log, as somebody has followed them. It keeps
// where it was, so that following again reads only what is new, and notices a log
// that changed its story. It is safe for concurrent use.
type History struct {
	trusted *policy.Bundle
	tiles   torchwood.TileReader
	bundles *Bundles

	following sync.Mutex // held while the log is read, by the one who writes what follows

	mu       sync.Mutex           // held for a moment: who asks waits for no network
	tree     torchwood.Checkpoint // verified; empty at first
	cosigned time.Time            // when a quorum had last cosigned it
	log      *proof.Log           // under whose policy
	entries  []Entry              // all bundle leaves in it
	records  []Record             // all leaves of platforms in it
	begin    int                  // entries[begin] is the trusted bundle; -1: not there
}

// New returns the history of the log that the trusted bundle names. tiles reads
// that log, bundles is where its bundles are got; neither is believed. It is the
// error of [policy.Bundle.TrustedLog] if the bundle names no such log.
func New(trusted *policy.Bundle, tiles torchwood.TileReader, bundles Fetch) (*History, error) {
	log, err := trusted.TrustedLog()
	return &History{trusted: trusted, tiles: tiles, bundles: NewBundles(bundles, trusted), begin: -1, log: log}, err
}

// Follow reads what the log has that was not read yet, and returns the bundle
// that is in force now. The quorum must have cosigned the tree within maxAge
// before now; 0 is any age, for a mirror.
//
// It is [ErrUnknown], [ErrNotInLog], [ErrBroken] with a [proof.IndexError], or
// [proof.ErrSplitView] if the log contradicts what was read before. On an error
// the history stays as it was.
func (h *History) Follow(ctx context.Context, now time.Time, maxAge time.Duration) (*policy.Bundle, error) {
	h.following.Lock()
	defer h.following.Unlock()
	signed, err := h.checkpoint(ctx)
	if err != nil {
		return nil, ErrUnknown.Because(err)
	}
	// At first only as the log's own word: who must have cosigned it, is what
	// the bundles in it say.
	c, err := proof.OpenUncosigned(h.log.Origin, h.trusted.Log.VKey, signed)
	if err != nil {
		return nil, ErrUnknown.Because(err)
	}
	next := *h.copy()
	next.tree = c
	if err := next.read(ctx, h.tree); err != nil {
		return nil, err
	}
	candidates, err := next.verify(ctx, len(h.entries))
	if err != nil {
		return nil, err
	}
	if err := next.authenticate(signed, candidates, now, maxAge); err != nil {
		return nil, ErrUnknown.Because(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tree, h.cosigned, h.log, h.entries, h.records, h.begin = next.tree, next.cosigned, next.log, next.entries, next.records, next.begin
	if h.begin < 0 {
		return nil, ErrNotInLog
	}
	return candidates[len(candidates)-1], nil
}

// followed is how far somebody followed a log.
type followed struct {
	Trusted   string   `json:"trusted"` // hash of the bundle behind which bundles were verified
	Origin    string   `json:"origin"`
	Size      int64    `json:"size"` // leaves
	Root      []byte   `json:"root"` // of the tree of that size
	Bundles   []Entry  `json:"bundles"`
	Platforms []Record `json:"platforms"`
}

// Followed returns how far the history came, for [History.Resume]. Who keeps it to themself
// reads only what is new the next time, and notices a log that changed its story meanwhile.
func (h *History) Followed() ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	raw, err := json.Marshal(followed{h.trusted.Hash(), h.tree.Origin, h.tree.N, h.tree.Hash[:], h.entries, h.records})
	sum := sha256.Sum256(raw)
	return append(sum[:], raw...), err
}

// Resume goes on where a history ended, before anything was followed. What is of another log,
// was verified from a later bundle than the trusted one, does not hold that or was changed is left
// aside: then all is read from the beginning.
func (h *History) Resume(read []byte) {
	if len(read) < sha256.Size {
		return
	}
	var f followed
	sum := sha256.Sum256(read[sha256.Size:])
	if !bytes.Equal(sum[:], read[:sha256.Size]) || json.Unmarshal(read[sha256.Size:], &f) != nil || f.Origin != h.log.Origin || len(f.Root) != sha256.Size {
		return
	}
	of := func(hash string) int {
		return slices.IndexFunc(f.Bundles, func(e Entry) bool { return e.Bundle == hash })
	}
	from, begin := of(f.Trusted), of(h.trusted.Hash())
	if from < 0 || begin < from {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tree.Origin, h.tree.N = f.Origin, f.Size
	copy(h.tree.Hash[:], f.Root)
	h.entries, h.records, h.begin = f.Bundles, f.Platforms, begin
}

// checkpointTime is how long a checkpoint is waited for: readers of tiles ask again
// for minutes.
const checkpointTime = 15 * time.Second

func (h *History) checkpoint(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, checkpointTime)
	defer cancel()
	return h.tiles.ReadEndpoint(ctx, "checkpoint")
}

// copy is h without its lock, to be changed.
func (h *History) copy() *History {
	return &History{trusted: h.trusted, tiles: h.tiles, bundles: h.bundles, tree: h.tree, cosigned: h.cosigned, log: h.log, entries: slices.Clone(h.entries), records: slices.Clone(h.records), begin: h.begin}
}

// read notes the bundle leaves between an older tree and h.tree.
func (h *History) read(ctx context.Context, older torchwood.Checkpoint) error {
	from, tiles := int64(0), proof.Keep(h.tiles)
	if older.Origin != "" {
		switch err := proof.Extends(ctx, tiles, older, h.tree); {
		case errors.Is(err, proof.ErrSplitView):
			return err
		case errors.Is(err, proof.ErrOlder):
			return ErrUnknown.Because(errors.New("what is shown is older than what was shown before"))
		case err != nil:
			return ErrUnknown.Because(err)
		}
		from = older.N
	}
	err := proof.EachLeaf(ctx, tiles, h.tree.Tree, from, func(index int64, l proof.Leaf) {
		if l.Kind == proof.KindBundle {
			h.entries = append(h.entries, Entry{l.Bundle, index, l.Day})
		}
		if l.Kind == proof.KindPlatform {
			h.records = append(h.records, Record{index, l.Package})
		}
	})
	if err != nil {
		return ErrUnknown.Because(err)
	}
	return nil
}

// verify checks that the bundles from entry number seen on follow one another,
// and returns those whose witnesses may have cosigned the tree: the last is in
// force.
func (h *History) verify(ctx context.Context, seen int) ([]*policy.Bundle, error) {
	inForce := h.trusted
	if h.begin < 0 {
		h.begin = slices.IndexFunc(h.entries, func(e Entry) bool { return e.Bundle == h.trusted.Hash() })
		if h.begin < 0 {
			return []*policy.Bundle{h.trusted}, nil
		}
		seen = h.begin + 1
	} else if seen > 0 {
		var err error
		if inForce, err = h.bundles.Get(ctx, h.entries[seen-1].Bundle); err != nil {
			return nil, ErrUnknown.Because(err)
		}
	}
	all := []*policy.Bundle{inForce}
	for i := seen; i < len(h.entries); i++ {
		e := h.entries[i]
		if slices.ContainsFunc(h.entries[:i], func(before Entry) bool { return before.Bundle == e.Bundle }) {
			return nil, broken(e, errors.New("it was in force before"))
		}
		b, err := h.bundles.withEndorsements(ctx, e.Bundle)
		if err != nil {
			return nil, ErrUnknown.Because(err)
		}
		previous := all[len(all)-1]
		if err := b.IsNext(previous); err != nil {
			return nil, broken(e, err)
		}
		// Endorsements are beside the bundle: who serves too few may withhold them.
		if err := b.Follows(previous, b.endorsements); err != nil {
			return nil, ErrUnknown.Because(err)
		}
		all = append(all, b.Bundle)
	}
	return all, nil
}

func broken(e Entry, cause error) error {
	return ErrBroken.Because(&proof.IndexError{Index: e.Leaf, Cause: cause})
}

// authenticate checks that a quorum cosigned the tree: the witnesses of the
// bundle that is in force in it, or of one that this very tree shows to be
// replaced.
func (h *History) authenticate(signed []byte, candidates []*policy.Bundle, now time.Time, maxAge time.Duration) (err error) {
	for _, b := range slices.Backward(candidates) {
		log, refused := b.TrustedLog()
		if refused == nil {
			if h.cosigned, refused = cosigned(log, signed, now, maxAge); refused == nil {
				h.log = log
				return nil
			}
		}
		if err == nil {
			err = refused // that of the one in force says most
		}
	}
	return err
}

func cosigned(log *proof.Log, signed []byte, now time.Time, maxAge time.Duration) (time.Time, error) {
	if maxAge == 0 {
		_, err := log.OpenCheckpoint(signed)
		return now, err
	}
	if _, err := log.OpenFresh(signed, now, maxAge); err != nil {
		return time.Time{}, err
	}
	return log.CosignedAt(signed, now)
}

// InForce returns the bundle that was in force in the newest tree that was
// followed, as long as the quorum's cosignatures on it are not older than maxAge
// (0: any age). It reads nothing. Else it is [ErrUnknown], or [ErrNotInLog].
func (h *History) InForce(now time.Time, maxAge time.Duration) (*policy.Bundle, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.tree.Origin == "", maxAge > 0 && now.Sub(h.cosigned) > maxAge:
		return nil, ErrUnknown.Because(proof.ErrStale)
	case h.begin < 0:
		return nil, ErrNotInLog
	}
	// It was got when it was verified.
	b, err := h.bundles.Get(context.Background(), h.entries[len(h.entries)-1].Bundle)
	if err != nil {
		return nil, ErrUnknown.Because(err)
	}
	return b, nil
}

// Is checks that the bundle with that hash is the one in force: else it is
// [ErrSuperseded] if it was, and [ErrNotInLog].
func (h *History) Is(inForce *policy.Bundle, hash string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case inForce.Hash() == hash:
		return nil
	case slices.ContainsFunc(h.entries, func(e Entry) bool { return e.Bundle == hash }):
		return ErrSuperseded.Because(errors.New("in force is " + inForce.Hash()))
	}
	return ErrNotInLog
}

// Since returns the bundle with that hash and all that came into force after it,
// in their order: what judges a case of its day. It is [ErrNotInLog] if the
// history holds no such bundle, and [ErrUnavailable] if an older one cannot be
// had.
func (h *History) Since(ctx context.Context, hash string) ([]*policy.Bundle, error) {
	h.mu.Lock()
	entries, begin := h.entries, h.begin
	h.mu.Unlock()
	from := slices.IndexFunc(entries, func(e Entry) bool { return e.Bundle == hash })
	if begin < 0 || from < 0 {
		return nil, ErrNotInLog
	}
	var all []*policy.Bundle
	for i := len(entries) - 1; i >= begin; i-- { // verified when they were followed
		b, err := h.bundles.Get(ctx, entries[i].Bundle)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
		if i == from {
			break
		}
	}
	for at := begin; at > from; {
		// Backward: the successor names the hash. One of version 1 names none; what
		// came before it is known from the log alone.
		before := at - 1
		if b := all[len(all)-1]; b.Version > 1 {
			before = slices.IndexFunc(entries[:at], func(e Entry) bool { return e.Bundle == b.Predecessor })
		}
		if before < from { // what hash names was never what others followed
			return nil, ErrNotInLog
		}
		b, err := h.bundles.Get(ctx, entries[before].Bundle)
		if err != nil {
			return nil, err
		}
		all, at = append(all, b), before
	}
	slices.Reverse(all)
	return all, nil
}

// Until returns the bundles that came into force before a leaf, in their order: the last
// of them judges what was logged there. The errors are those of [History.Since].
func (h *History) Until(ctx context.Context, leaf int64) ([]*policy.Bundle, error) {
	entries := h.Entries()
	if len(entries) == 0 {
		return nil, ErrNotInLog
	}
	all, err := h.Since(ctx, entries[0].Bundle)
	return slices.DeleteFunc(all, func(b *policy.Bundle) bool {
		return slices.ContainsFunc(entries, func(e Entry) bool { return e.Bundle == b.Hash() && e.Leaf > leaf })
	}), err
}

// Entries returns the bundles that the log was seen to hold, in their order.
func (h *History) Entries() []Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.entries)
}

// Record is the leaf of the record of a platform.
type Record struct {
	Leaf   int64  `json:"leaf"`   // index
	Digest string `json:"digest"` // [proof.PlatformDigest]
}

// HoldsRecord reports whether the newest tree that was followed holds, at that leaf, the
// record of a platform with that digest ([proof.PlatformDigest]). It reads nothing.
func (h *History) HoldsRecord(leaf int64, digest string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, found := slices.BinarySearchFunc(h.records, Record{leaf, digest}, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Leaf, b.Leaf), cmp.Compare(a.Digest, b.Digest))
	})
	return found
}

// Bundles is where the history gets its bundles.
func (h *History) Bundles() *Bundles { return h.bundles }

// Cosigned is when a quorum had last cosigned the newest tree that was followed; zero
// if none was yet.
func (h *History) Cosigned() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cosigned
}

// Size is how many entries the newest tree has that was followed.
func (h *History) Size() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tree.N
}

// Log returns the log under the policy by which it was last verified.
func (h *History) Log() *proof.Log {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log
}
