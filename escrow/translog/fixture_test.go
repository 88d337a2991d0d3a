package translog_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/proof"
)

const origin = "log.example/penname"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// witnessState is a witness.Store in memory, which a test can set back.
type witnessState struct {
	mu    sync.Mutex
	state []byte
	kept  int
}

func (s *witnessState) Load(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, nil
}

func (s *witnessState) Swap(_ context.Context, old, new []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(s.state, old) {
		return witness.ErrChanged
	}
	s.state = new
	return nil
}

func (s *witnessState) Keep(context.Context, witness.Evidence) error { s.kept++; return nil }

// post is a real witness behind a real server, with a way to misbehave.
type post struct {
	*witness.Witness
	state *witnessState
	key   ed25519.PrivateKey
	url   string
	bad   atomic.Pointer[func(http.ResponseWriter, *http.Request, http.Handler)]
	asked atomic.Int64
}

func (p *post) misbehave(f func(http.ResponseWriter, *http.Request, http.Handler)) {
	if f == nil {
		p.bad.Store(nil)
		return
	}
	p.bad.Store(&f)
}

// cosignature is a line of the witness under any text, at noon, as C2SP tlog-cosignature has it.
func (p *post) cosignature(text string) string {
	name, rest, _ := strings.Cut(p.VKey(), "+")
	b, _ := hex.DecodeString(rest[:8]) //nolint:errcheck // the hash of a key
	b = binary.BigEndian.AppendUint64(b, uint64(noon.Unix()))
	b = append(b, ed25519.Sign(p.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", noon.Unix(), text))...)
	return fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(b))
}

// world is a store, a publisher and three witnesses with a quorum of two.
type world struct {
	t         testing.TB
	mem       *translogtest.Memory
	signer    note.Signer
	vkey      string
	log       *proof.Log
	posts     []*post
	clients   []translog.WitnessClient
	publisher *translog.Publisher

	mu     sync.Mutex
	alarms map[string]error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	skey, vkey, err := translog.NewKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, mem: new(translogtest.Memory), vkey: vkey, signer: must(translog.NewSigner(skey))(t), alarms: map[string]error{}}
	var keys []proof.WitnessKey
	for i := range 3 {
		p := &post{state: new(witnessState)}
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		p.key = key
		p.Witness = must(witness.New(t.Context(), fmt.Sprintf("witness.example/%d", i), key, origin, vkey, p.state, clock))(t)
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			p.asked.Add(1)
			if bad := p.bad.Load(); bad != nil {
				(*bad)(rw, r, p.Witness)
				return
			}
			p.ServeHTTP(rw, r)
		}))
		t.Cleanup(srv.Close)
		p.url = srv.URL
		w.posts = append(w.posts, p)
		keys = append(keys, proof.WitnessKey{Name: fmt.Sprint(i), Operator: fmt.Sprint("operator ", i), VKey: p.VKey()})
		w.clients = append(w.clients, translog.WitnessClient{URL: srv.URL, VKey: p.VKey(), HTTP: srv.Client()})
	}
	w.log = must(proof.NewLog(origin, vkey, keys, 2))(t)
	w.publisher = w.open(w.mem)
	return w
}

func (w *world) open(s translog.Store) *translog.Publisher {
	w.t.Helper()
	p := must(translog.New(w.t.Context(), s, w.signer, w.log, w.clients, clock))(w.t)
	p.Timeout, p.Grace = 2*time.Second, time.Second
	p.OnWitness = func(name string, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.alarms[name] = err
	}
	return p
}

func (w *world) alarmed(want error) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, err := range w.alarms {
		if errors.Is(err, want) {
			n++
		}
	}
	return n
}

func (w *world) append(from, to int) {
	w.t.Helper()
	translogtest.Append(w.t, w.mem.Update, from, to)
}

// saved opens what readers are served.
func (w *world) saved() int64 {
	w.t.Helper()
	size, signed, err := w.mem.Checkpoint(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if signed == nil {
		return 0
	}
	c, err := w.log.OpenFresh(signed, noon, time.Minute)
	if err != nil || c.N != size {
		w.t.Fatalf("a checkpoint was saved that nobody accepts: %v", err)
	}
	return size
}

func (w *world) audit(t proofTiles) (*proof.Report, error) {
	return w.log.Audit(w.t.Context(), t, proof.AuditOptions{At: noon, Rules: func(string) (proof.Rules, bool) {
		return proof.Rules{Threshold: 2}, true
	}})
}

// faulty is a store whose every write and read can fail, in two ways.
type faulty struct {
	*translogtest.Memory
	on    string // the method
	fault string // "fails" or "fails but persisted"
}

var errFault = errors.New("injected fault")

func (f *faulty) hit(method string) bool { return f.on == method }

func (f *faulty) Size(ctx context.Context) (int64, error) {
	if f.hit("Size") {
		return 0, errFault
	}
	return f.Memory.Size(ctx)
}

func (f *faulty) Checkpoint(ctx context.Context) (int64, []byte, error) {
	if f.hit("Checkpoint") {
		return 0, nil, errFault
	}
	return f.Memory.Checkpoint(ctx)
}

func (f *faulty) SaveCheckpoint(ctx context.Context, size int64, signed []byte) error {
	if !f.hit("SaveCheckpoint") {
		return f.Memory.SaveCheckpoint(ctx, size, signed)
	}
	if f.fault == "fails but persisted" {
		if err := f.Memory.SaveCheckpoint(ctx, size, signed); err != nil {
			return err
		}
	}
	return errFault
}

func discard(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
