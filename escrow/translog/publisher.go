package translog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Publisher publishes one log. It is safe for concurrent use; several
// processes may publish the same store, for what it saves only grows.
type Publisher struct {
	// Timeout is how long a round of cosigning may take; Grace is how long it
	// still waits for the other witnesses once the quorum is there.
	Timeout, Grace time.Duration
	// OnWitness, if not nil, is told of each witness that did not cosign, by
	// the name of its key, for the operator's log. Three errors are for an operator
	// to look at: [ErrRollback], the witness says it has seen a larger log than
	// ours; [ErrFork], or another one; [ErrForgot], it names a smaller size than
	// before. All three are the witness's word: it signs none of them. Set it before
	// the first use; it is called concurrently.
	OnWitness func(witness string, err error)

	store  Store
	signer note.Signer
	now    func() time.Time

	trusted  atomic.Pointer[trusted]
	cosigned atomic.Int64                     // of the last round
	away     atomic.Pointer[map[string]error] // likewise

	round chan struct{} // holds one token: one round at a time

	newest atomic.Pointer[published] // the newest that this process saw in the store
	proofs proofs
}

// published is a checkpoint of the store that a quorum has cosigned, under a trust policy.
type published struct {
	torchwood.Checkpoint
	signed []byte
	by     *trusted
}

// proofs remembers leaves with their proofs under a trust policy: a leaf that is in a cosigned
// tree is in every later one.
type proofs struct {
	mu sync.Mutex
	by *trusted
	of map[int64]proven
}

type proven struct{ leaf, proof []byte }

const maxProofs = 1024 // some 2 KB each

func (p *proofs) get(by *trusted, index int64) (proven, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.of[index]
	return known, ok && p.by == by
}

func (p *proofs) put(by *trusted, index int64, l proven) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by != by || len(p.of) == maxProofs {
		p.by, p.of = by, make(map[int64]proven)
	}
	p.of[index] = l
}

// trusted is the trust policy under which the log is published.
type trusted struct {
	*proof.Log
	witnesses []*cosigner
}

// New returns a publisher that signs with signer and asks those witnesses,
// which must be in the log's trust policy. It is [ErrConfig] if the signer is
// not the key of the log, if fewer witnesses can be asked than the quorum
// needs, or if what the store has published was not signed under this policy
// (another key or origin), and [ErrRollback] or [ErrFork] if the store is
// older than what it published or disagrees with it.
func New(ctx context.Context, store Store, signer note.Signer, log *proof.Log, witnesses []WitnessClient, now func() time.Time) (*Publisher, error) {
	p := &Publisher{Timeout: 5 * time.Second, Grace: 250 * time.Millisecond,
		store: store, signer: signer, now: now, round: make(chan struct{}, 1)}
	if err := p.Trust(log, witnesses); err != nil {
		return nil, err
	}
	size, err := store.Size(ctx)
	if err != nil {
		return nil, ErrStore.Because(err)
	}
	_, signed, err := store.Checkpoint(ctx)
	if err != nil {
		return nil, ErrStore.Because(err)
	}
	_, err = p.checkSaved(signed, size, p.reader(ctx))
	return p, err
}

// Trust replaces the trust policy and the witnesses, while the publisher works: a
// newer bundle names others. It is [ErrConfig] as [New] is, and changes nothing
// then.
func (p *Publisher) Trust(log *proof.Log, witnesses []WitnessClient) error {
	if p.signer.Name() != log.Origin || p.signer.KeyHash() != log.Key.KeyHash() {
		return ErrConfig.Because(errors.New("the signer is not the log's key"))
	}
	t := &trusted{Log: log}
	for _, c := range witnesses {
		w, err := newCosigner(c, log)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(t.witnesses, func(other *cosigner) bool { return other.verifier.KeyHash() == w.verifier.KeyHash() }) {
			return ErrConfig.Because(errors.New("a witness is listed twice"))
		}
		t.witnesses = append(t.witnesses, w)
	}
	if len(t.witnesses) < log.Quorum {
		return ErrConfig.Because(errors.New("fewer witnesses than the quorum"))
	}
	p.trusted.Store(t)
	return nil
}

// checkSaved opens the saved checkpoint, after checking that the store with its size leaves,
// whose hashes reader reads, still contains it.
func (p *Publisher) checkSaved(signed []byte, size int64, reader tlog.HashReader) (torchwood.Checkpoint, error) {
	if signed == nil {
		return torchwood.Checkpoint{}, nil
	}
	saved, err := p.trusted.Load().OpenCheckpoint(signed)
	if errors.Is(err, proof.ErrQuorum) {
		// Signed by the log, and cosigned under an earlier policy perhaps: it
		// binds us, though it proves nothing to others any more.
		saved.Tree, err = Head(signed)
	}
	if err != nil {
		return torchwood.Checkpoint{}, ErrConfig.Because(err)
	}
	if saved.N > size {
		return torchwood.Checkpoint{}, ErrRollback
	}
	root, err := tlog.TreeHash(saved.N, reader)
	if err != nil {
		return torchwood.Checkpoint{}, ErrStore.Because(err)
	}
	if root != saved.Hash {
		return torchwood.Checkpoint{}, ErrFork
	}
	return saved, nil
}

func (p *Publisher) reader(ctx context.Context) tlog.HashReader {
	return tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) {
		if len(ids) == 0 {
			return nil, nil
		}
		return p.store.ReadHashes(ctx, ids)
	})
}

// roundReader reads the hashes of one round of publishing: each once, and those that a tree of
// size leaves behind one of before needs at once.
type roundReader struct {
	tlog.HashReader
	mu   sync.Mutex
	have map[int64]tlog.Hash
}

func (p *Publisher) roundReader(ctx context.Context, before, size int64) (*roundReader, error) {
	r := &roundReader{HashReader: p.reader(ctx), have: make(map[int64]tlog.Hash)}
	var ids []int64
	asks := tlog.HashReaderFunc(func(some []int64) ([]tlog.Hash, error) {
		ids = append(ids, some...)
		return make([]tlog.Hash, len(some)), nil
	})
	_, err := tlog.TreeHash(size, asks)
	if err == nil && 0 < before && before <= size {
		if _, err = tlog.TreeHash(before, asks); err == nil {
			_, err = tlog.ProveTree(size, before, asks)
		}
	}
	if err == nil {
		slices.Sort(ids)
		_, err = r.ReadHashes(slices.Compact(ids))
	}
	return r, err
}

// ReadHashes implements tlog.HashReader.
func (r *roundReader) ReadHashes(ids []int64) ([]tlog.Hash, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var unread []int64
	for _, id := range ids {
		if _, ok := r.have[id]; !ok {
			unread = append(unread, id)
		}
	}
	read, err := r.HashReader.ReadHashes(unread)
	if err != nil {
		return nil, err
	}
	for i, id := range unread {
		r.have[id] = read[i]
	}
	hashes := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		hashes[i] = r.have[id]
	}
	return hashes, nil
}

// Publish signs the tree as it is now, has it cosigned and saves it. It
// returns the checkpoint that is saved when it returns, which another process
// may have made larger. Call it regularly: a quorum of fresh cosignatures is
// what tells a quiet log from a frozen one.
//
// It is [ErrQuorum] if too few witnesses cosigned in time, [ErrStore] if the
// store failed or its answer was lost, [ErrRollback] or [ErrFork] if the store
// contradicts what it published. In all cases the saved checkpoint is the old
// one or a good new one, and the call can be repeated.
func (p *Publisher) Publish(ctx context.Context) (torchwood.Checkpoint, error) {
	if err := p.lock(ctx); err != nil {
		return torchwood.Checkpoint{}, err
	}
	defer p.unlock()
	return p.publishAgain(ctx)
}

// publishAgain is publish, behind what is saved by now.
func (p *Publisher) publishAgain(ctx context.Context) (torchwood.Checkpoint, error) {
	_, signed, err := p.store.Checkpoint(ctx)
	if err != nil {
		return torchwood.Checkpoint{}, ErrStore.Because(err)
	}
	return p.publish(ctx, signed)
}

func (p *Publisher) lock(ctx context.Context) error {
	select {
	case p.round <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ErrStore.Because(ctx.Err())
	}
}

func (p *Publisher) unlock() { <-p.round }

// publish makes a round behind the checkpoint before, as it was saved.
func (p *Publisher) publish(ctx context.Context, before []byte) (torchwood.Checkpoint, error) {
	refuse := func(err error) (torchwood.Checkpoint, error) { return torchwood.Checkpoint{}, err }
	size, err := p.store.Size(ctx)
	if err != nil {
		return refuse(ErrStore.Because(err))
	}
	was := tlog.Tree{}
	if before != nil {
		if was, err = Head(before); err != nil {
			return refuse(ErrConfig.Because(err))
		}
	}
	reader, err := p.roundReader(ctx, was.N, size)
	if err != nil {
		return refuse(ErrStore.Because(err))
	}
	saved, err := p.checkSaved(before, size, reader)
	if err != nil {
		return refuse(err)
	}
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		return refuse(ErrStore.Because(err))
	}
	log := p.trusted.Load()
	c := torchwood.Checkpoint{Origin: log.Origin, Tree: tlog.Tree{N: size, Hash: root}}
	n := &note.Note{Text: c.String()}
	signed, err := note.Sign(n, p.signer)
	if err != nil {
		return refuse(ErrConfig.Because(err))
	}
	signed = append(signed, p.gather(ctx, log, saved.N, c, signed, reader)...)
	// What readers will check is checked before it is kept: the quorum, the
	// operators and the times of the cosignatures.
	if _, err := log.OpenFresh(signed, p.now(), p.Timeout+proof.MaxSkew); err != nil {
		// Another process may have had a larger tree cosigned meanwhile, and the
		// witnesses then rightly refuse ours: this round was for a tree of the past.
		if grown, serr := p.store.Size(ctx); serr == nil && grown > size && ctx.Err() == nil {
			return p.publishAgain(ctx)
		}
		return refuse(ErrQuorum.Because(err))
	}
	err = p.store.SaveCheckpoint(ctx, size, signed)
	if errors.Is(err, ErrRollback) {
		// Another process has published a larger tree meanwhile.
		if size, err = p.store.Size(ctx); err != nil {
			return refuse(ErrStore.Because(err))
		}
		_, larger, err := p.store.Checkpoint(ctx)
		if err != nil {
			return refuse(ErrStore.Because(err))
		}
		return p.checkSaved(larger, size, p.reader(ctx))
	}
	if errors.Is(err, ErrFork) {
		return refuse(err)
	} else if err != nil {
		return refuse(ErrStore.Because(err))
	}
	p.newest.Store(&published{c, signed, log})
	return c, nil
}

// Try asks a witness, by the name of its key, whether it would cosign. It is shown what
// the store has published; if that is nothing yet, an empty tree with a size that cannot
// be, which a witness refuses after it has looked whose log it is. Nothing is saved, and
// nobody learns of a leaf that is not published. It is [ErrRollback] or [ErrFork], as
// with OnWitness, else [ErrWitness].
func (p *Publisher) Try(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	log := p.trusted.Load()
	at := slices.IndexFunc(log.witnesses, func(w *cosigner) bool { return w.verifier.Name() == name })
	if at < 0 {
		return ErrConfig.Because(errors.New("there is no witness " + name))
	}
	w := log.witnesses[at]
	_, signed, err := p.store.Checkpoint(ctx)
	if err != nil {
		return ErrStore.Because(err)
	}
	if signed == nil {
		return w.knows(ctx, log.Origin, p.signer)
	}
	saved, err := p.checkSaved(signed, math.MaxInt64, p.reader(ctx))
	if err != nil {
		return err
	}
	saved.Origin = log.Origin
	_, err = w.cosign(ctx, saved.N, saved, signed, p, p.reader(ctx))
	return w.refused(err)
}

// refused is err with what an operator can do about it.
func (w *cosigner) refused(err error) error {
	if err != nil && refusal.Of(err) == nil {
		err = ErrWitness.Because(fmt.Errorf("%s: %w", w.url, err))
	}
	return err
}

// gather asks all witnesses at once and returns the verified signature lines
// that came back within Timeout, or within Grace after the quorum.
func (p *Publisher) gather(ctx context.Context, log *trusted, from int64, c torchwood.Checkpoint, signed []byte, reader tlog.HashReader) []byte {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	var wg sync.WaitGroup
	lines := make(chan []byte, len(log.witnesses))
	var mu sync.Mutex
	away := make(map[string]error)
	for _, w := range log.witnesses {
		wg.Go(func() {
			line, err := w.cosign(ctx, from, c, signed, p, reader)
			if err != nil {
				mu.Lock()
				away[w.verifier.Name()] = w.refused(err)
				mu.Unlock()
			}
			p.report(w, err)
			lines <- line
		})
	}
	var all []byte
	cosigned := 0
	for range log.witnesses {
		line := <-lines
		if line == nil {
			continue
		}
		all = append(all, line...)
		if cosigned++; cosigned == log.Quorum {
			// The slowest witness does not set the pace, but it may catch up.
			timer := time.AfterFunc(p.Grace, cancel)
			defer timer.Stop()
		}
	}
	wg.Wait()
	p.cosigned.Store(int64(cosigned))
	p.away.Store(&away)
	return all
}

// Away says which witnesses did not cosign in this process's last round, by the names of
// their keys, and why, as [Publisher.Try] does; false if there was no round yet.
func (p *Publisher) Away() (map[string]error, bool) {
	away := p.away.Load()
	if away == nil {
		return nil, false
	}
	return *away, true
}

// Cosigned says how many witnesses cosigned in this process's last round, how many it
// takes, and how many are asked.
func (p *Publisher) Cosigned() (cosigned, quorum, witnesses int) {
	log := p.trusted.Load()
	return int(p.cosigned.Load()), log.Quorum, len(log.witnesses)
}

func (p *Publisher) report(w *cosigner, err error) {
	if err != nil && p.OnWitness != nil {
		p.OnWitness(w.verifier.Name(), err)
	}
}

// Await returns nil only if the leaf at index is under a saved checkpoint with
// the quorum of witnesses, and publishes one if there is none yet. Callers
// that wait at the same time share a round. It is [ErrNoLeaf] if no such leaf
// is committed, and otherwise as [Publisher.Publish]: on any error nothing may
// be disclosed.
func (p *Publisher) Await(ctx context.Context, index int64) error {
	saved, ok, err := p.published(ctx, index)
	if ok || err != nil {
		return err
	}
	select {
	case p.round <- struct{}{}: // nobody is at it
		defer p.unlock()
	default:
		if err := p.lock(ctx); err != nil {
			return err
		}
		defer p.unlock()
		if saved, ok, err = p.published(ctx, index); ok || err != nil {
			return err // the round that we waited for had it
		}
	}
	c, err := p.publish(ctx, saved)
	if err != nil {
		return err
	}
	if index >= c.N {
		return ErrNoLeaf
	}
	return nil
}

// published trusts what is saved only as far as its signatures go.
func (p *Publisher) published(ctx context.Context, index int64) (saved []byte, ok bool, err error) {
	if index < 0 {
		return nil, false, ErrNoLeaf
	}
	c, err := p.cosignedNow(ctx)
	if errors.Is(err, proof.ErrQuorum) {
		err = nil // cosigned under an earlier policy: ask again
	}
	return c.signed, err == nil && index < c.N, err
}

// cosignedNow is the saved checkpoint; nothing, if there is none. The refusals are [ErrStore],
// [ErrConfig], and proof.ErrQuorum with what is saved.
func (p *Publisher) cosignedNow(ctx context.Context) (c published, err error) {
	log := p.trusted.Load()
	_, signed, err := p.store.Checkpoint(ctx)
	if err != nil {
		return c, ErrStore.Because(err)
	}
	if signed == nil {
		return c, nil
	}
	c.signed, c.by = signed, log
	if c.Checkpoint, err = log.OpenCheckpoint(signed); errors.Is(err, proof.ErrQuorum) {
		return c, err
	} else if err != nil {
		return c, ErrConfig.Because(err)
	}
	p.newest.Store(&c)
	return c, nil
}

// Prove returns the leaf at index and its c2sp.org/tlog-proof@v1 under a
// checkpoint that was saved, or [ErrNotYet]. [proof.Log.VerifyProof] checks them, and
// Prove has checked them already: it is [ErrFork] if the store's leaf is not
// the one that was published. Neither is to be changed: a leaf is proven once under a trust
// policy.
func (p *Publisher) Prove(ctx context.Context, index int64) (leaf, tlogProof []byte, err error) {
	log := p.trusted.Load()
	if known, ok := p.proofs.get(log, index); ok {
		return known.leaf, known.proof, nil
	}
	c := published{}
	if known := p.newest.Load(); known != nil && known.by == log && index < known.N {
		c = *known
	} else if c, err = p.cosignedNow(ctx); errors.Is(err, proof.ErrQuorum) {
		return nil, nil, ErrNotYet.Because(err)
	} else if err != nil {
		return nil, nil, err
	}
	if index < 0 || index >= c.N {
		return nil, nil, ErrNotYet
	}
	leaves, err := p.store.Leaves(ctx, index, index+1)
	if err != nil || len(leaves) != 1 {
		return nil, nil, ErrStore.Because(err)
	}
	path, err := tlog.ProveRecord(c.N, index, p.reader(ctx))
	if err != nil {
		return nil, nil, ErrStore.Because(err)
	}
	if err := proof.Inclusion(index, leaves[0], path, c.Checkpoint); err != nil {
		return nil, nil, ErrFork.Because(err)
	}
	tlogProof = torchwood.FormatProof(index, path, c.signed)
	p.proofs.put(c.by, index, proven{leaves[0], tlogProof})
	return leaves[0], tlogProof, nil
}

// NewKey returns a new key pair for the log with that origin: the signer's
// encoding, which is the secret, and the verifier key for the bundle.
func NewKey(origin string) (skey, vkey string, err error) {
	if skey, vkey, err = note.GenerateKey(rand.Reader, origin); err == nil {
		_, err = note.NewVerifier(vkey) // an origin with a space makes no key
	}
	if err != nil {
		return "", "", ErrConfig.Because(err)
	}
	return skey, vkey, nil
}

// NewSigner returns the signer for [New] from the first result of [NewKey].
func NewSigner(skey string) (note.Signer, error) {
	s, err := note.NewSigner(skey)
	if err != nil {
		return nil, ErrConfig // the cause could quote the key
	}
	return s, nil
}
