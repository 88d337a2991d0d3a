package translog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

type proofTiles = torchwood.TileReader

func TestSequenceRefusesLeavesOutOfOrder(t *testing.T) {
	digest := strings.Repeat("a1", 32)
	ref := func(i int64) *int64 { return &i }
	recorded := proof.Leaf{Version: 1, Kind: proof.KindRecorded, Day: "2026-11-21", Jurisdiction: "GB", OffenceClass: "stalking", WarrantKind: "production",
		Targets: 1, Bundle: digest, Commitment: digest, SaltCommitment: digest, TargetCommitments: []string{digest}}
	authorised := proof.Leaf{Version: 1, Kind: proof.KindAuthorised, Day: "2026-11-22", Case: ref(1)}
	change := func(l proof.Leaf, f func(*proof.Leaf)) proof.Leaf { f(&l); return l }
	for name, c := range map[string]struct {
		leaf proof.Leaf
		want error
	}{
		"in order":                     {authorised, nil},
		"M31 not canonical":            {change(authorised, func(l *proof.Leaf) { l.Code = "jo" }), proof.ErrLeaf},
		"M31 with a name":              {change(recorded, func(l *proof.Leaf) { l.OffenceClass = "Jo Bloggs" }), proof.ErrLeaf},
		"M34 too many targets":         {change(recorded, func(l *proof.Leaf) { l.TargetCommitments = make([]string, proof.MaxTargets+1) }), proof.ErrLeafSize},
		"M38 the day goes back":        {change(authorised, func(l *proof.Leaf) { l.Day = "2026-11-20" }), translog.ErrOrder},
		"a case that is not there":     {change(authorised, func(l *proof.Leaf) { l.Case = ref(2) }), translog.ErrOrder},
		"a case that is not a warrant": {change(authorised, func(l *proof.Leaf) { l.Case = ref(0) }), translog.ErrOrder},
		"a case before the beginning":  {change(authorised, func(l *proof.Leaf) { l.Case = ref(-1) }), proof.ErrLeaf},
	} {
		t.Run(name, func(t *testing.T) {
			m, ctx := new(translogtest.Memory), t.Context()
			sequence := func(l proof.Leaf) error {
				return m.Update(ctx, func(tx translog.Tx) error {
					_, err := translog.Sequence(ctx, tx, l)
					return err
				})
			}
			if err := errors.Join(sequence(translogtest.Leaf(0)), sequence(recorded)); err != nil {
				t.Fatal(err)
			}
			if err := sequence(c.leaf); !errors.Is(err, c.want) {
				t.Error(err)
			}
			want := int64(2)
			if c.want == nil {
				want = 3
			}
			if tree := translogtest.CheckLog(t, m); tree.N != want {
				t.Errorf("size %d", tree.N)
			}
		})
	}
}

// brokenTx fails in one method.
type brokenTx struct {
	translog.Tx
	on string
}

func (b brokenTx) LockSize(ctx context.Context) (int64, error) {
	if b.on == "LockSize" {
		return 0, errFault
	}
	return b.Tx.LockSize(ctx)
}

func (b brokenTx) Leaf(ctx context.Context, i int64) ([]byte, error) {
	if b.on == "Leaf" {
		return nil, errFault
	}
	return b.Tx.Leaf(ctx, i)
}

func (b brokenTx) ReadHashes(ctx context.Context, ids []int64) ([]tlog.Hash, error) {
	if b.on == "ReadHashes" {
		return nil, errFault
	}
	return b.Tx.ReadHashes(ctx, ids)
}

func (b brokenTx) Insert(ctx context.Context, i int64, leaves [][]byte, hs []tlog.Hash) error {
	if b.on == "Insert persisted" {
		if err := b.Tx.Insert(ctx, i, leaves, hs); err != nil {
			return err
		}
	}
	if strings.HasPrefix(b.on, "Insert") {
		return errFault
	}
	return b.Tx.Insert(ctx, i, leaves, hs)
}

func TestF40SequenceFaultsLeaveNoLeaf(t *testing.T) {
	for _, on := range []string{"LockSize", "Leaf", "ReadHashes", "Insert", "Insert persisted"} {
		t.Run("F40 "+on+" fails", func(t *testing.T) {
			m, ctx := new(translogtest.Memory), t.Context()
			translogtest.Append(t, m.Update, 0, 3)
			before := translogtest.CheckLog(t, m)
			err := m.Update(ctx, func(tx translog.Tx) error {
				_, err := translog.Sequence(ctx, brokenTx{tx, on}, translogtest.Leaf(3))
				return err
			})
			if !errors.Is(err, translog.ErrStore) || refusal.Of(err).Kind != refusal.Unavailable {
				t.Error(err)
			}
			if after := translogtest.CheckLog(t, m); after != before {
				t.Error("the log changed")
			}
			translogtest.Append(t, m.Update, 3, 5)
		})
	}
}

func TestM39KeyOriginOrWitnessesChangedRefusesToStart(t *testing.T) {
	w := newWorld(t)
	w.append(0, 3)
	if _, err := w.publisher.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	otherSkey, otherVKey, err := translog.NewKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	otherSigner := must(translog.NewSigner(otherSkey))(t)
	otherLog := must(proof.NewLog(origin, otherVKey, w.log.Witnesses, 2))(t)
	elseSkey, elseVKey, err := translog.NewKey("log.example/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	elseSigner := must(translog.NewSigner(elseSkey))(t)
	elseLog := must(proof.NewLog("log.example/elsewhere", elseVKey, w.log.Witnesses, 2))(t)
	older := new(translogtest.Memory)
	translogtest.Append(t, older.Update, 0, 2)
	_, signed, err := w.mem.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := older.SaveCheckpoint(t.Context(), 3, signed); err != nil {
		t.Fatal(err)
	}
	forked := new(translogtest.Memory)
	translogtest.Append(t, forked.Update, 0, 4)
	forked.Tamper(func(_ *[][]byte, hashes *[]tlog.Hash) { (*hashes)[0][0] ^= 1; (*hashes)[2][0] ^= 1 })
	if err := forked.SaveCheckpoint(t.Context(), 3, signed); err != nil {
		t.Fatal(err)
	}
	stranger := w.clients[0]
	stranger.VKey = newWorld(t).clients[0].VKey
	noURL := w.clients[0]
	noURL.URL = "witness.example"
	query := w.clients[0]
	query.URL += "?x=1"
	for name, try := range map[string]struct {
		err  func() error
		want error
	}{
		"M39 another signing key":                    {start(t, w.mem, otherSigner, w.log, w.clients), translog.ErrConfig},
		"M39 another key and policy":                 {start(t, w.mem, otherSigner, otherLog, w.clients), translog.ErrConfig},
		"M39 another origin":                         {start(t, w.mem, elseSigner, elseLog, w.clients), translog.ErrConfig},
		"M36 no witnesses":                           {start(t, w.mem, w.signer, w.log, nil), translog.ErrConfig},
		"M36 fewer witnesses than the quorum":        {start(t, w.mem, w.signer, w.log, w.clients[:1]), translog.ErrConfig},
		"M25 one witness twice":                      {start(t, w.mem, w.signer, w.log, []translog.WitnessClient{w.clients[0], w.clients[0]}), translog.ErrConfig},
		"M25 a witness outside the policy":           {start(t, w.mem, w.signer, w.log, append(w.clients[:2:2], stranger)), translog.ErrConfig},
		"a witness without a URL":                    {start(t, w.mem, w.signer, w.log, append(w.clients[:2:2], noURL)), translog.ErrConfig},
		"a witness URL with a query":                 {start(t, w.mem, w.signer, w.log, append(w.clients[:2:2], query)), translog.ErrConfig},
		"F20 the store is older than the checkpoint": {start(t, older, w.signer, w.log, w.clients), translog.ErrRollback},
		"F22 the store is another history":           {start(t, forked, w.signer, w.log, w.clients), translog.ErrFork},
		"as it was":                                  {start(t, w.mem, w.signer, w.log, w.clients), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if err := try.err(); !errors.Is(err, try.want) {
				t.Error(err)
			}
		})
	}
}

// A policy that needs more witnesses is not another log: it starts, and has
// the tree cosigned again before anything counts as published.
func TestWitnessPolicyMayChange(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	down := func(rw http.ResponseWriter, _ *http.Request, _ http.Handler) { rw.WriteHeader(http.StatusBadGateway) }
	w.posts[2].misbehave(down)
	w.append(0, 3)
	must(w.publisher.Publish(ctx))(t)
	w.log = must(proof.NewLog(origin, w.vkey, w.log.Witnesses, 3))(t)
	p := w.open(w.mem)
	if err := p.Await(ctx, 0); !errors.Is(err, translog.ErrQuorum) {
		t.Error("published under the old policy counts under the new:", err)
	}
	if _, _, err := p.Prove(ctx, 0); !errors.Is(err, translog.ErrNotYet) {
		t.Error(err)
	}
	w.posts[2].misbehave(nil)
	if err := p.Await(ctx, 0); err != nil || w.saved() != 3 {
		t.Error(err)
	}
}

func start(t *testing.T, s translog.Store, signer interface {
	Name() string
	KeyHash() uint32
	Sign([]byte) ([]byte, error)
}, log *proof.Log, clients []translog.WitnessClient) func() error {
	return func() error {
		_, err := translog.New(t.Context(), s, signer, log, clients, clock)
		return err
	}
}

func TestPublishAwaitAndProve(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	if _, err := w.publisher.Publish(ctx); err != nil {
		t.Fatal("the empty log:", err)
	}
	if err := w.publisher.Await(ctx, 0); !errors.Is(err, translog.ErrNoLeaf) {
		t.Error("a leaf that nobody appended:", err)
	}
	if err := w.publisher.Await(ctx, -1); !errors.Is(err, translog.ErrNoLeaf) {
		t.Error(err)
	}
	for _, size := range []int{1, 2, 7, 300} {
		w.append(int(w.saved()), size)
		last := int64(size - 1)
		if _, _, err := w.publisher.Prove(ctx, last); !errors.Is(err, translog.ErrNotYet) {
			t.Errorf("proved %d before it was cosigned: %v", last, err)
		}
		if err := w.publisher.Await(ctx, last); err != nil || w.saved() != int64(size) {
			t.Fatalf("%d: %v", size, err)
		}
		for index := range int64(size) {
			leaf, file, err := w.publisher.Prove(ctx, index)
			if err != nil {
				t.Fatal(err)
			}
			if i, c, err := w.log.VerifyProof(leaf, file); err != nil || i != index || c.N <= index || c.N > int64(size) {
				t.Fatalf("%d: %d, %v", index, i, err)
			}
		}
	}
	asked := w.posts[0].asked.Load()
	if err := w.publisher.Await(ctx, 5); err != nil || w.posts[0].asked.Load() != asked {
		t.Error("a published leaf asks the witnesses again:", err)
	}
	if r, err := w.audit(translog.Tiles(w.mem)); err != nil || r.Leaves != 300 {
		t.Error(err)
	}
}

// A leaf is proven once under a trust policy, and again under the next.
func TestProvenOnce(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.append(0, 3)
	if err := w.publisher.Await(ctx, 2); err != nil {
		t.Fatal(err)
	}
	_, first, err := w.publisher.Prove(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.append(3, 9)
	if err := w.publisher.Await(ctx, 8); err != nil {
		t.Fatal(err)
	}
	if _, again, err := w.publisher.Prove(ctx, 1); err != nil || !bytes.Equal(again, first) {
		t.Error("proven twice:", err)
	}
	if err := w.publisher.Trust(w.log, w.clients); err != nil {
		t.Fatal(err)
	}
	leaf, again, err := w.publisher.Prove(ctx, 1)
	if err != nil || bytes.Equal(again, first) {
		t.Error("under another policy it is not proven again:", err)
	}
	if _, c, err := w.log.VerifyProof(leaf, again); err != nil || c.N != 9 {
		t.Error(c.N, err)
	}
}

// Those who wait at the same time share rounds: this is what makes a
// witnessed log fast enough.
func TestAwaitSharesRounds(t *testing.T) {
	w := newWorld(t)
	w.append(0, 64)
	var wg sync.WaitGroup
	for i := range int64(64) {
		wg.Go(func() {
			if err := w.publisher.Await(t.Context(), i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := w.posts[0].asked.Load(); n > 2 {
		t.Errorf("64 waiters asked a witness %d times", n)
	}
}

// F17 and M36: what a witness can do wrong. In every row two of three do it;
// nothing is published, nothing may be disclosed, and afterwards the log goes
// on. With one of three it goes on at once.
func TestF17WitnessFaults(t *testing.T) {
	relay := func(change func(string) string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			rw.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
			rw.WriteHeader(rec.Code)
			_, _ = rw.Write([]byte(change(rec.Body.String())))
		}
	}
	other := newWorld(t) // whose witnesses sign with other keys
	for name, bad := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"F17 down": func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
			conn, _, _ := http.NewResponseController(rw).Hijack()
			_ = conn.Close()
		},
		"F17 500": func(rw http.ResponseWriter, r *http.Request, h http.Handler) { rw.WriteHeader(500) },
		"F17 403": func(rw http.ResponseWriter, r *http.Request, h http.Handler) { rw.WriteHeader(403) },
		"F17 404": func(rw http.ResponseWriter, r *http.Request, h http.Handler) { rw.WriteHeader(404) },
		"F17 redirect": func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
			http.Redirect(rw, r, "/add-checkpoint", 302)
		},
		"F17 empty answer": func(rw http.ResponseWriter, r *http.Request, h http.Handler) {},
		"F17 garbage":      func(rw http.ResponseWriter, r *http.Request, h http.Handler) { _, _ = rw.Write([]byte("garbage\n")) },
		"F17 endless answer": func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
			for range 100 {
				_, _ = rw.Write([]byte(strings.Repeat("— someone.example AAAAAAAA\n", 100)))
			}
		},
		"F17 409 for ever": func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
			rw.Header().Set("Content-Type", "text/x.tlog.size")
			rw.WriteHeader(409)
			_, _ = rw.Write([]byte("1\n"))
		},
		"M06 409 without a size, as some answer a fork": func(rw http.ResponseWriter, r *http.Request, h http.Handler) { http.Error(rw, "3", 409) },
		"M06 422": func(rw http.ResponseWriter, r *http.Request, h http.Handler) { rw.WriteHeader(422) },
		"M11 409 with a size in another form": func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
			rw.Header().Set("Content-Type", "text/x.tlog.size")
			rw.WriteHeader(409)
			_, _ = rw.Write([]byte("+3\n"))
		},
		"F17 a cosignature of nothing": func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
			_, _ = rw.Write([]byte("— witness.example/0 " + strings.Repeat("A", 100) + "==\n"))
		},
		"M18 only other signatures": relay(func(s string) string { return strings.Replace(s, "witness.example", "other.example", 1) }),
		"M26 one bit of the cosignature": relay(func(s string) string {
			if !strings.HasPrefix(s, "— ") {
				return s // a 409
			}
			b := []byte(s)
			b[len(b)-20] ^= 1
			return string(b)
		}),
		"M25 the cosignature of an unknown key": func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
			_, _ = rw.Write([]byte("— " + strings.Replace(other.clients[0].VKey, "+", " ", 1) + "\n"))
		},
		"M05 says it has seen more": func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
			rw.Header().Set("Content-Type", "text/x.tlog.size")
			rw.WriteHeader(409)
			_, _ = rw.Write([]byte("1000\n"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), t.Context()
			w.append(0, 3)
			if _, err := w.publisher.Publish(ctx); err != nil {
				t.Fatal(err)
			}
			w.append(3, 8)
			for _, i := range []int{0, 1} {
				w.posts[i].misbehave(bad)
			}
			if _, err := w.publisher.Publish(ctx); !errors.Is(err, translog.ErrQuorum) {
				t.Fatalf("published: %v", err)
			}
			if err := w.publisher.Await(ctx, 7); !errors.Is(err, translog.ErrQuorum) {
				t.Errorf("a leaf without quorum may be disclosed: %v", err)
			}
			if err := w.publisher.Await(ctx, 2); err != nil {
				t.Errorf("what was published before is gone: %v", err)
			}
			if _, _, err := w.publisher.Prove(ctx, 7); !errors.Is(err, translog.ErrNotYet) {
				t.Error(err)
			}
			if w.saved() != 3 {
				t.Errorf("saved %d", w.saved())
			}
			if len(w.alarms) < 2 {
				t.Errorf("%d witnesses were reported", len(w.alarms))
			}
			if strings.HasPrefix(name, "M05") && w.alarmed(translog.ErrRollback) != 2 || name == "M06 422" && w.alarmed(translog.ErrFork) != 2 {
				t.Errorf("no alarm: %v", w.alarms)
			}
			w.posts[1].misbehave(nil) // one of three is still bad
			if err := w.publisher.Await(ctx, 7); err != nil || w.saved() != 8 {
				t.Errorf("%v", err)
			}
		})
	}
}

// M26: two of three witnesses answer with what they did cosign, at this moment and with their own
// keys: every older tree of the log, another as large, and that of another log. None counts for
// this tree, however many there are.
func TestM26CosignaturesOfOtherTrees(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.append(0, 3)
	must(w.publisher.Publish(ctx))(t)
	w.append(3, 80)
	checkpoint := func(origin string, size int64) string {
		root := must(tlog.TreeHash(size, tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) { return w.mem.ReadHashes(ctx, ids) })))(t)
		return torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: size, Hash: root}}.String()
	}
	var older []string
	for size := int64(1); size < 80; size++ {
		older = append(older, checkpoint(origin, size))
	}
	this := checkpoint(origin, 80)
	for name, texts := range map[string][]string{
		"M26 every older tree":                   older,
		"M26 another as large":                   {torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: 80, Hash: tlog.Hash{1}}}.String()},
		"M26 the tree of another log":            {checkpoint("log.example/other", 80)},
		"M26 this tree behind every older":       append(older[:len(older):len(older)], this),
		"M26 this tree with a line more":         {this + "extension\n"},
		"M26 this tree without its last newline": {strings.TrimSuffix(this, "\n")},
	} {
		for _, p := range w.posts[:2] {
			var answer strings.Builder
			for _, text := range texts {
				answer.WriteString(p.cosignature(text))
			}
			p.misbehave(func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
				discard(r)
				_, _ = rw.Write([]byte(answer.String()))
			})
		}
		if _, err := w.publisher.Publish(ctx); !errors.Is(err, translog.ErrQuorum) || w.saved() != 3 {
			t.Errorf("%s: %v, saved %d", name, err, w.saved())
		}
	}
	for _, p := range w.posts[:2] { // these lines are in order: of this tree they count
		p.misbehave(func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
			discard(r)
			_, _ = rw.Write([]byte(p.cosignature(this)))
		})
	}
	if c, err := w.publisher.Publish(ctx); err != nil || c.N != 80 {
		t.Error(c.N, err)
	}
}

func TestF17SlowWitnessDoesNotHoldUpTheQuorum(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.append(0, 3)
	release := make(chan struct{})
	slow := func(rw http.ResponseWriter, r *http.Request, h http.Handler) {
		discard(r) // so that the server sees the client give up
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	w.posts[0].misbehave(slow)
	w.publisher.Timeout, w.publisher.Grace = time.Hour, time.Millisecond
	if err := w.publisher.Await(ctx, 2); err != nil {
		t.Fatal("one slow witness:", err)
	}
	w.append(3, 5)
	w.posts[1].misbehave(slow)
	w.publisher.Timeout = 50 * time.Millisecond
	if err := w.publisher.Await(ctx, 4); !errors.Is(err, translog.ErrQuorum) {
		t.Error("two slow witnesses:", err)
	}
	w.publisher.Timeout = time.Hour
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := w.publisher.Await(ctx, 4); !errors.Is(err, translog.ErrQuorum) {
		t.Error("the caller gives up:", err)
	}
	close(release)
}

// F18: the state of a witness is lost or set back. It may cosign again, for
// our history is the same, but its operator must hear of it.
func TestF18WitnessStateLostOrRolledBack(t *testing.T) {
	for name, c := range map[string]struct {
		back func(old []byte) []byte
	}{
		"F18 lost":        {func([]byte) []byte { return nil }},
		"F18 rolled back": {func(old []byte) []byte { return old }},
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), t.Context()
			w.append(0, 3)
			must(w.publisher.Publish(ctx))(t)
			var old [][]byte
			for _, p := range w.posts {
				old = append(old, must(p.state.Load(ctx))(t))
			}
			w.append(3, 6)
			must(w.publisher.Publish(ctx))(t)
			for i, p := range w.posts {
				p.state.mu.Lock()
				p.state.state = c.back(old[i])
				p.state.mu.Unlock()
			}
			w.append(6, 9)
			if err := w.publisher.Await(ctx, 8); err != nil || w.saved() != 9 {
				t.Error(err)
			}
			if w.alarmed(translog.ErrForgot) < 2 {
				t.Errorf("nobody hears of it: %v", w.alarms)
			}
		})
	}
}

// F20: the log's own storage is rolled back, checkpoint and all, and goes on
// with other leaves. The publisher cannot know; the witnesses do.
func TestF20RolledBackLogIsRefusedByTheWitnesses(t *testing.T) {
	for name, c := range map[string]struct {
		size int
		want error
	}{
		"F20 smaller than what was cosigned": {4, translog.ErrRollback},
		"M24 as large as what was cosigned":  {6, translog.ErrFork},
		"F20 larger than what was cosigned":  {9, translog.ErrFork},
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), t.Context()
			w.append(0, 6)
			must(w.publisher.Publish(ctx))(t)
			w.mem = new(translogtest.Memory)
			for n := range c.size {
				if err := w.mem.Update(ctx, func(tx translog.Tx) error {
					_, err := translog.Sequence(ctx, tx, translogtest.Leaf(1000+n))
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.open(w.mem).Await(ctx, 0); !errors.Is(err, translog.ErrQuorum) {
				t.Fatal(err)
			}
			if w.alarmed(c.want) != 3 {
				t.Errorf("alarms: %v", w.alarms)
			}
			if kept := w.posts[0].state.kept; (kept == 1) != strings.HasPrefix(name, "M24") {
				t.Errorf("%d pieces of evidence", kept)
			}
		})
	}
}

// Who checks a set-up learns whether each witness would cosign, before anything is
// published and after, and changes neither the log nor what a witness keeps.
func TestTryAsksAWitnessAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	name := func(i int) string { return fmt.Sprintf("witness.example/%d", i) }
	answer := func(status int) *func(http.ResponseWriter, *http.Request, http.Handler) {
		f := func(rw http.ResponseWriter, r *http.Request, _ http.Handler) { discard(r); rw.WriteHeader(status) }
		return &f
	}
	try := func(when string, want error) {
		t.Helper()
		for i, p := range w.posts {
			before := p.state.state
			_, signed, err := w.mem.Checkpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.publisher.Try(t.Context(), name(i)); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: witness %d: %v", when, i, err)
			}
			if _, after, err := w.mem.Checkpoint(t.Context()); err != nil || !bytes.Equal(signed, after) || !bytes.Equal(before, p.state.state) {
				t.Errorf("%s: something changed (%v)", when, err)
			}
		}
	}
	faults := func(when string) {
		t.Helper()
		for status, says := range map[int]string{404: "does not know the log", 403: "another key", 200: "witness answered", 503: "503"} {
			for _, p := range w.posts {
				p.bad.Store(answer(status))
			}
			try(fmt.Sprint(when, ", answered ", status), translog.ErrWitness)
			if err := w.publisher.Try(t.Context(), name(0)); !strings.Contains(errors.Unwrap(err).Error(), says) {
				t.Errorf("%s: %v", when, errors.Unwrap(err))
			}
		}
		for _, p := range w.posts {
			p.misbehave(nil)
		}
	}
	try("nothing is published", nil)
	faults("nothing is published")
	w.append(0, 5)
	try("there are leaves, and none is published", nil)
	if _, err := w.publisher.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.append(5, 9)
	try("published", nil)
	faults("published")
	if err := w.publisher.Try(t.Context(), "nobody"); !errors.Is(err, translog.ErrConfig) {
		t.Error("nobody:", err)
	}

	older := new(translogtest.Memory)
	translogtest.Append(t, older.Update, 0, 9)
	size, signed, err := w.mem.Checkpoint(t.Context())
	if err == nil {
		err = older.SaveCheckpoint(t.Context(), size, signed)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.publisher.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mem = older
	w.publisher = w.open(older)
	try("an older backup", translog.ErrRollback)
}

// F40: each call of the store fails, and the write also "fails but persisted".
// Whatever happened, the next attempt converges and no reader ever sees a
// checkpoint without quorum.
func TestF40StoreFaults(t *testing.T) {
	for _, c := range []struct{ on, fault string }{
		{"Size", "fails"}, {"Checkpoint", "fails"}, {"SaveCheckpoint", "fails"}, {"SaveCheckpoint", "fails but persisted"},
	} {
		t.Run("F40 "+c.on+" "+c.fault, func(t *testing.T) {
			w, ctx := newWorld(t), t.Context()
			f := &faulty{Memory: w.mem}
			p := w.open(f)
			w.append(0, 5)
			must(p.Publish(ctx))(t)
			w.append(5, 9)
			f.on, f.fault = c.on, c.fault
			if err := p.Await(ctx, 8); !errors.Is(err, translog.ErrStore) {
				t.Fatal(err)
			}
			want := int64(5)
			if c.fault == "fails but persisted" {
				want = 9
			}
			if w.saved() != want {
				t.Errorf("saved %d", w.saved())
			}
			f.on = ""
			if err := w.open(f).Await(ctx, 8); err != nil || w.saved() != 9 {
				t.Errorf("does not converge: %v", err)
			}
		})
	}
}

// Two processes publish one store: both succeed, and what is saved only grows.
func TestTwoPublishersOfOneStore(t *testing.T) {
	w := newWorld(t)
	second := w.open(w.mem)
	var wg sync.WaitGroup
	for n := range 30 {
		w.append(n, n+1)
		for _, p := range []*translog.Publisher{w.publisher, second} {
			wg.Go(func() {
				if err := p.Await(t.Context(), int64(n)); err != nil {
					t.Error(err)
				}
			})
		}
		if n%5 == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
	if w.saved() != 30 {
		t.Errorf("saved %d", w.saved())
	}
}

// M37 and F23: the stored rows themselves are wrong. The publisher refuses to
// prove them and the audit names the leaf.
func TestM37StorageThatLies(t *testing.T) {
	for name, c := range map[string]struct {
		lie   func(*[][]byte, *[]tlog.Hash)
		index int64 // that the audit names
	}{
		"F23 one bit of a leaf":    {func(l *[][]byte, _ *[]tlog.Hash) { b := []byte(string((*l)[5])); b[60] ^= 1; (*l)[5] = b }, 5},
		"F23 one bit of a hash":    {func(_ *[][]byte, h *[]tlog.Hash) { (*h)[tlog.StoredHashIndex(0, 5)][0] ^= 1 }, 5},
		"M37 two leaves exchanged": {func(l *[][]byte, _ *[]tlog.Hash) { (*l)[5], (*l)[6] = (*l)[6], (*l)[5] }, 5},
		"M37 a leaf with its hash rewritten": {func(l *[][]byte, h *[]tlog.Hash) {
			(*l)[5] = must(translogtest.Leaf(77).Marshal())(t)
			(*h)[tlog.StoredHashIndex(0, 5)] = tlog.RecordHash((*l)[5])
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), t.Context()
			w.append(0, 9)
			must(w.publisher.Publish(ctx))(t)
			w.mem.Tamper(c.lie)
			_, _, err4 := w.publisher.Prove(ctx, 4) // needs the hash of 5
			_, _, err5 := w.publisher.Prove(ctx, 5) // needs the leaf
			if !errors.Is(err4, translog.ErrFork) && !errors.Is(err5, translog.ErrFork) {
				t.Error("proved:", err4, err5)
			}
			r, err := w.audit(translog.Tiles(w.mem))
			var where *proof.IndexError
			if !errors.Is(err, proof.ErrTile) || !errors.As(err, &where) || where.Index != c.index {
				t.Errorf("%v, %v after %d", err, where, r.Leaves)
			}
		})
	}
	t.Run("M37 the last rows are gone", func(t *testing.T) {
		w, ctx := newWorld(t), t.Context()
		w.append(0, 9)
		must(w.publisher.Publish(ctx))(t)
		w.mem.Tamper(func(l *[][]byte, h *[]tlog.Hash) { *l, *h = (*l)[:7], (*h)[:tlog.StoredHashIndex(0, 7)] })
		if _, err := w.publisher.Publish(ctx); !errors.Is(err, translog.ErrRollback) {
			t.Error(err)
		}
	})
	t.Run("M37 published rows are rewritten and the log goes on", func(t *testing.T) {
		w, ctx := newWorld(t), t.Context()
		w.append(0, 8)
		must(w.publisher.Publish(ctx))(t)
		w.mem.Tamper(func(_ *[][]byte, h *[]tlog.Hash) { (*h)[tlog.StoredHashIndex(3, 0)][0] ^= 1 })
		w.append(8, 9)
		if _, err := w.publisher.Publish(ctx); !errors.Is(err, translog.ErrFork) {
			t.Error(err)
		}
		if w.saved() != 8 {
			t.Errorf("saved %d", w.saved())
		}
	})
}

func TestHandlerServesThePublishedLogOnly(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	h := w.publisher.Handler()
	get := func(method, path string) *httptest.ResponseRecorder {
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequest(method, path, nil))
		return r
	}
	if r := get("GET", "/checkpoint"); r.Code != 404 {
		t.Errorf("checkpoint of a log that was never published: %d", r.Code)
	}
	w.append(0, 300)
	must(w.publisher.Publish(ctx))(t)
	w.append(300, 600) // committed, but not cosigned: not to be seen
	for path, status := range map[string]int{
		"/checkpoint":            200,
		"/tile/0/000":            200,
		"/tile/0/001.p/44":       200,
		"/tile/0/001.p/1":        200,
		"/tile/1/000.p/1":        200,
		"/tile/entries/000":      200,
		"/tile/entries/001.p/44": 200,
		"/tile/entries/001.p/45": 404,
		"/tile/entries/001":      404,
		"/tile/0/001":            404,
		"/tile/0/001.p/0":        404,
		"/tile/0/001.p/256":      404,
		"/tile/0/1":              404,
		"/tile/00/000":           404,
		"/tile/63/000.p/1":       404,
		"/tile/7/000.p/1":        404,
		"/tile/0/x999/x999/x999/x999/x999/x999/999": 404,
		"/tile/-1/000":   404,
		"/tile/data/000": 404,
		"/tile/":         404,
		"/":              404,
	} {
		r := get("GET", path)
		if r.Code != status {
			t.Errorf("%s: %d", path, r.Code)
		}
		if open := r.Header().Get("Access-Control-Allow-Origin"); status == 200 && open != "*" {
			t.Errorf("%s: Access-Control-Allow-Origin %q", path, open)
		}
		if status == 200 && strings.Contains(r.Header().Get("Cache-Control"), "immutable") != strings.HasPrefix(path, "/tile/") {
			t.Errorf("%s: Cache-Control %q", path, r.Header().Get("Cache-Control"))
		}
		if get("POST", path).Code == 200 {
			t.Errorf("POST %s", path)
		}
	}
	if r := get("HEAD", "/tile/0/000"); r.Code != 200 || r.Header().Get("Content-Length") != "8192" {
		t.Errorf("HEAD: %d %v", r.Code, r.Header())
	}
	srv := httptest.NewServer(http.StripPrefix("/log", h))
	defer srv.Close()
	r, err := w.audit(must(proof.Fetch(srv.URL+"/log", nil))(t))
	if err != nil || r.Leaves != 300 {
		t.Errorf("%v after %d", err, r.Leaves)
	}
	broken := translog.Tiles(&faulty{Memory: w.mem, on: "Checkpoint"})
	if _, err := broken.ReadTiles(ctx, []tlog.Tile{{H: 8, L: 0, N: 0, W: 1}}); !errors.Is(err, translog.ErrStore) {
		t.Error(err)
	}
}

func TestHeadReadsWhatWasSigned(t *testing.T) {
	w := newWorld(t)
	w.append(0, 5)
	c := must(w.publisher.Publish(t.Context()))(t)
	_, signed, err := w.mem.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if head, err := translog.Head(signed); err != nil || head != c.Tree {
		t.Errorf("%v, %v", head, err)
	}
	for _, bad := range []string{"", "\n\n", "a\n\n", "a\n1\n\n", string(signed[:20]), "a\n01\n" + c.Hash.String() + "\n\n— a AAAAAAAA\n"} {
		if _, err := translog.Head([]byte(bad)); !errors.Is(err, proof.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestKeys(t *testing.T) {
	if _, err := translog.NewSigner("PRIVATE+KEY+secret"); !errors.Is(err, translog.ErrConfig) || strings.Contains(fmt.Sprint(err, errors.Unwrap(err)), "secret") {
		t.Error(err)
	}
	if _, _, err := translog.NewKey("an origin with spaces"); err == nil {
		t.Error("accepted")
	}
}

// BenchmarkSequence appends to a log in memory: what the code itself costs,
// beside which comes the database.
func BenchmarkSequence(b *testing.B) {
	m, ctx := new(translogtest.Memory), b.Context()
	leaf := translogtest.Leaf(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Update(ctx, func(tx translog.Tx) error {
			_, err := translog.Sequence(ctx, tx, leaf)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// BenchmarkPublish is one round with three witnesses over loopback HTTP.
func BenchmarkPublish(b *testing.B) {
	w := newWorld(b)
	w.append(0, 1000)
	n := 1000
	for b.Loop() {
		w.append(n, n+1)
		n++
		if err := w.publisher.Await(b.Context(), int64(n-1)); err != nil {
			b.Fatal(err)
		}
	}
}
