package disclosetest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing/fstest"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// history is what the public log alone says became of each target: a model of a case, small
// enough to be read, that knows nothing of package disclose but the names of the states.
type history struct {
	size   int64
	day    string
	cases  map[int64]*pastCase // by recorded leaf
	faults []string
}

// pastCase is one case. Targets stand in the order of its recorded leaf.
type pastCase struct {
	leaf      proof.Leaf
	targets   []disclose.TargetState
	decisions map[int64]bool         // by leaf: is it opened
	votes     map[string]proof.Marks // by custodian
	decided   map[int]int64          // by target: the leaf that authorised it
	released  map[int64]string       // by leaf: the hash of the package
	barred    map[int]bool           // by target: its use is forbidden
	validated bool
	last      string // day of the last leaf that authorised something
	over      bool   // nothing follows but what is said of it
}

func (h *history) fault(index int64, format string, args ...any) {
	h.faults = append(h.faults, fmt.Sprintf("leaf %d: ", index)+fmt.Sprintf(format, args...))
}

// read takes the leaves that were appended since.
func (h *history) read(leaves [][]byte) {
	for _, raw := range leaves {
		l, err := proof.ParseLeaf(raw)
		if err != nil {
			h.fault(h.size, "%v", err)
		}
		if l.Day < h.day { // I18: time in the log never goes back
			h.fault(h.size, "of %s, after %s", l.Day, h.day)
		}
		h.day = l.Day
		h.add(h.size, l)
		h.size++
	}
}

func (h *history) add(index int64, l proof.Leaf) {
	if l.Kind == proof.KindRecorded {
		h.record(index, l)
		return
	}
	if l.Case == nil {
		return
	}
	c := h.cases[*l.Case]
	if c == nil {
		h.fault(index, "of the case %d, which nobody recorded", *l.Case)
		return
	}
	switch l.Kind {
	case proof.KindDecision:
		c.decisions[index] = false
	case proof.KindDecided:
		h.decide(index, c, l)
	case proof.KindReleased:
		c.released[index] = l.Package
		h.move(index, c, l.Which, disclose.TargetAuthorised, disclose.TargetReleased)
	case proof.KindLapsed:
		if c.validated {
			h.fault(index, "a validated emergency lapses")
		}
		if n := c.opened(); n != l.Targets {
			h.fault(index, "%d targets were delivered, and not %d", n, l.Targets)
		}
		c.bar(nil)
		c.end(disclose.TargetLapsed)
	case proof.KindExpired:
		if c.opened() > 0 {
			h.fault(index, "a case expires of which something was released")
		}
		c.end(disclose.TargetExpired)
	case proof.KindNoticed:
		if c.opened() == 0 {
			h.fault(index, "somebody is told of nothing")
		}
		c.end(disclose.TargetExpired)
	}
}

// bar forbids the use of what was released of those targets, or of all.
func (c *pastCase) bar(which proof.Marks) {
	for i, s := range c.targets {
		if s == disclose.TargetReleased && (which == nil || which.Has(i)) {
			c.barred[i] = true
		}
	}
}

func (c *pastCase) opened() (n int) {
	for _, t := range c.targets {
		if t == disclose.TargetReleased {
			n++
		}
	}
	return n
}

// end is what time does to targets of which nothing came yet.
func (c *pastCase) end(as disclose.TargetState) {
	c.over = true
	for i, s := range c.targets {
		if s == disclose.TargetWaiting || s == disclose.TargetAuthorised {
			c.targets[i] = as
		}
	}
}

func (h *history) record(index int64, l proof.Leaf) {
	h.cases[index] = &pastCase{leaf: l, targets: slices.Repeat([]disclose.TargetState{disclose.TargetWaiting}, len(l.TargetCommitments)),
		decisions: map[int64]bool{}, votes: map[string]proof.Marks{}, decided: map[int]int64{}, barred: map[int]bool{}, released: map[int64]string{}}
	if l.Case == nil {
		return
	}
	earlier := h.cases[*l.Case]
	if l.WarrantKind == policy.Ruling && l.Annuls() {
		l.WarrantKind = policy.Annulment
	}
	stopped := map[string]disclose.TargetState{policy.Withdrawal: disclose.TargetWithdrawn, policy.Annulment: disclose.TargetStopped}[l.WarrantKind]
	switch {
	case earlier == nil:
		h.fault(index, "about the case %d, which nobody recorded", *l.Case)
	case l.WarrantKind == policy.Validation:
		earlier.validated = true
	case stopped != "":
		if l.WarrantKind == policy.Annulment {
			earlier.bar(l.Which)
		}
		for i, s := range earlier.targets {
			if (s == disclose.TargetWaiting || s == disclose.TargetAuthorised) && (l.Which == nil || l.Which.Has(i)) {
				earlier.targets[i] = stopped
			}
		}
	}
}

// decide opens decisions. I3: the targets that it authorises have the quorum, of distinct
// custodians.
func (h *history) decide(index int64, c *pastCase, l proof.Leaf) {
	for _, d := range l.Opened {
		opened, is := c.decisions[d.Leaf]
		switch {
		case !is || opened:
			h.fault(index, "opens %d, which is no decision of the case, or opened", d.Leaf)
		case c.votes[d.Custodian] != nil:
			h.fault(index, "%s decided twice", d.Custodian)
		case !slices.Contains(custodians, d.Custodian):
			h.fault(index, "%s is no custodian", d.Custodian)
		}
		c.decisions[d.Leaf], c.votes[d.Custodian] = true, d.Votes
	}
	for i := range c.targets {
		yes := 0
		for _, votes := range c.votes {
			if votes.Has(i) {
				yes++
			}
		}
		switch reachable := len(custodians) - len(c.votes) + yes; {
		case l.Which.Has(i) && yes < c.leaf.Quorum:
			h.fault(index, "target %d has %d of %d", i, yes, c.leaf.Quorum)
		case l.Which.Has(i):
			c.decided[i], c.last = index, l.Day
		case c.targets[i] == disclose.TargetWaiting && reachable < c.leaf.Quorum:
			c.targets[i] = disclose.TargetDeclined
		case c.targets[i] == disclose.TargetWaiting && l.Which.Count() == 0:
			h.fault(index, "target %d is declined, and can have %d of %d", i, reachable, c.leaf.Quorum)
		}
	}
	h.move(index, c, l.Which, disclose.TargetWaiting, disclose.TargetAuthorised)
}

// move takes targets a step. I8, I17: from another state, as where it was stopped, there is none.
func (h *history) move(index int64, c *pastCase, which proof.Marks, from, to disclose.TargetState) {
	for i, s := range c.targets {
		switch {
		case !which.Has(i):
		case s != from || c.over:
			h.fault(index, "target %d is %s and becomes %s", i, s, to)
		default:
			c.targets[i] = to
		}
	}
}

// compare holds a row of the store against the log. Where a row is ahead of it, the log does
// not say so by a leaf of its own: who declined is opened later, a record that cannot be
// opened is the requester's to know, and what still waits ends with the warrant.
func (h *history) compare(c disclose.Case, now time.Time) {
	past := h.cases[c.RecordedLeaf]
	if past == nil {
		h.fault(c.RecordedLeaf, "a case that is not in the log")
		return
	}
	var named []proof.Target
	for _, t := range c.Warrant.Targets {
		named = append(named, proof.Target{Pseudonym: string(t.Pseudonym), Platform: t.Platform})
	}
	if ran := c.Expires.UTC().Format(time.DateOnly); past.last > ran {
		h.fault(c.RecordedLeaf, "authorised on %s, and the warrant ran out on %s", past.last, ran)
	}
	if len(c.Targets) == 0 {
		return // it was carried out when it came
	}
	for i, at := range proof.Positions(past.leaf, c.Salt, named) {
		row, logged := c.Targets[i], past.targets[at]
		unopened := logged != disclose.TargetReleased && logged != disclose.TargetAuthorised
		switch {
		case row.State == logged && row.State != disclose.TargetRefused:
		case row.State == disclose.TargetRefused && row.Code != "" && logged != disclose.TargetReleased:
		case row.State == disclose.TargetDeclined && unopened:
		case row.State == disclose.TargetExpired && !now.Before(c.Expires) && logged != disclose.TargetReleased:
		case row.State == disclose.TargetExpired && past.over && unopened:
		default:
			h.fault(c.RecordedLeaf, "target %d is %s in the store, and %s in the log", i, row.State, logged)
		}
	}
}

const logOrigin = "log.example/penname"

// logKey are the keys of the log and of its one witness.
type logKey struct {
	Verifier, Witness string
	witness           *torchwood.CosignatureSigner
}

// logKeys makes them, the same each time.
func logKeys() (k logKey, signer note.Signer) {
	private := keyOf("log").Key.(ed25519.PrivateKey)
	public := append([]byte{1}, private.Public().(ed25519.PublicKey)...)
	id := sha256.Sum256(append([]byte(logOrigin+"\n"), public...))
	text := base64.StdEncoding.EncodeToString
	k.Verifier = fmt.Sprintf("%s+%x+%s", logOrigin, id[:4], text(public)) // C2SP signed-note
	signer, err := note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", logOrigin, id[:4], text(append([]byte{1}, private.Seed()...))))
	if err == nil {
		k.witness, err = torchwood.NewCosignatureSigner("witness.example", keyOf("witness").Key.(ed25519.PrivateKey))
	}
	if err != nil {
		panic(err) // the keys are constants
	}
	k.Witness = k.witness.Verifier().String()
	return k, signer
}

// tree is the Merkle tree of a log.
type tree struct {
	leaves [][]byte
	hashes []tlog.Hash
}

func (t *tree) size() int64 { return int64(len(t.leaves)) }

// ReadHashes implements [tlog.HashReader].
func (t *tree) ReadHashes(ids []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		found[i] = t.hashes[id]
	}
	return found, nil
}

func (t *tree) add(leaves [][]byte) error {
	for _, leaf := range leaves {
		more, err := tlog.StoredHashes(t.size(), leaf, t)
		if err != nil {
			return err
		}
		t.leaves, t.hashes = append(t.leaves, leaf), append(t.hashes, more...)
	}
	return nil
}

// checkpoint is signed by the log and cosigned by its witness.
func (t *tree) checkpoint() ([]byte, error) {
	root, err := tlog.TreeHash(t.size(), t)
	if err != nil {
		return nil, err
	}
	k, signer := logKeys()
	return note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: logOrigin, Tree: tlog.Tree{N: t.size(), Hash: root}}.String()}, signer, k.witness)
}

// prove is the tlog-proof of a leaf.
func (t *tree) prove(index int64) ([]byte, error) {
	signed, err := t.checkpoint()
	if err != nil {
		return nil, err
	}
	path, err := tlog.ProveRecord(t.size(), index, t)
	return torchwood.FormatProof(index, path, signed), err
}

// files lays it out as C2SP tlog-tiles.
func (t *tree) files() (fstest.MapFS, error) {
	signed, err := t.checkpoint()
	if err != nil {
		return nil, err
	}
	files := fstest.MapFS{"checkpoint": {Data: signed}}
	for level := 0; t.size()>>(8*level) > 0; level++ {
		n := t.size() >> (8 * level)
		for from := int64(0); from < n; from += torchwood.TileWidth {
			tile := tlog.Tile{H: torchwood.TileHeight, L: level, N: from / torchwood.TileWidth, W: int(min(torchwood.TileWidth, n-from))}
			data, err := tlog.ReadTileData(tile, t)
			if err != nil {
				return nil, err
			}
			files[torchwood.TilePath(tile)] = &fstest.MapFile{Data: data}
			if level > 0 {
				continue
			}
			var entries []byte
			for _, leaf := range t.leaves[from : from+int64(tile.W)] {
				if entries, err = torchwood.AppendTileEntry(entries, leaf); err != nil {
					return nil, err
				}
			}
			tile.L = -1
			files[torchwood.TilePath(tile)] = &fstest.MapFile{Data: entries}
		}
	}
	return files, nil
}

// audit is what an auditor finds in a log of these leaves under a bundle.
func audit(ctx context.Context, leaves [][]byte, b *policy.Bundle, now time.Time) (*proof.Report, error) {
	k, _ := logKeys()
	log, err := proof.NewLog(logOrigin, k.Verifier, []proof.WitnessKey{{Name: "witness.example", Operator: "Witness", VKey: k.Witness}}, 1)
	if err != nil {
		return nil, err
	}
	var t tree
	if err := t.add(leaves); err != nil {
		return nil, err
	}
	files, err := t.files()
	if err != nil {
		return nil, err
	}
	tiles, err := torchwood.NewTileFS(files)
	if err != nil {
		return nil, err
	}
	return log.Audit(ctx, tiles, proof.AuditOptions{At: now, Rules: func(hash string) (proof.Rules, bool) { return b.AuditRules(), hash == b.Hash() }})
}

// decidedAt is the leaf that authorised a target; 0 if none did.
func (h *history) decidedAt(t target) int64 {
	past := h.cases[t.RecordedLeaf]
	var named []proof.Target
	for _, w := range t.Warrant.Targets {
		named = append(named, proof.Target{Pseudonym: string(w.Pseudonym), Platform: w.Platform})
	}
	return past.decided[proof.Positions(past.leaf, t.Salt, named)[t.at]]
}

// storyOf is every leaf of the case that one leaf is of, for people.
func storyOf(leaves [][]byte, index int64) string {
	of := func(at int64) (int64, bool) {
		l, err := proof.ParseLeaf(leaves[at])
		if err != nil || l.Case == nil {
			return at, err == nil && l.Kind == proof.KindRecorded
		}
		return *l.Case, true
	}
	story := ""
	it, _ := of(index)
	for at := range leaves {
		if c, is := of(int64(at)); is && (c == it || int64(at) == it) {
			story += fmt.Sprintf("\n%d %s", at, leaves[at])
		}
	}
	return story
}

// openedPackages are what a requester finds in a delivery.
type openedPackages struct {
	packages map[int64]string // by released leaf: SHA-256, hex
	targets  map[int]bool     // as the warrant counts: does it open
}

func openedBy(d *opening.Delivery) (o openedPackages, err error) {
	o.packages, o.targets = map[int64]string{}, map[int]bool{}
	for _, round := range d.Rounds {
		var p opening.Package
		if err := json.Unmarshal(round.Package, &p); err != nil {
			return o, err
		}
		sum := sha256.Sum256(round.Package)
		o.packages[round.Released.Index] = hex.EncodeToString(sum[:])
		for _, t := range p.Targets {
			if _, twice := o.targets[t.Index]; twice {
				return o, fmt.Errorf("target %d is in two packages", t.Index)
			}
			o.targets[t.Index] = len(round.Keys[t.Index]) > 0
		}
	}
	maps.DeleteFunc(o.targets, func(_ int, opens bool) bool { return !opens })
	return o, nil
}
