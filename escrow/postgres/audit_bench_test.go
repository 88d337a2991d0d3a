package postgres

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/verifier/proof"
)

var logLeaves = flag.Int("log-leaves", 1_000_000, "how many leaves the log of BenchmarkLogAudit has")

// largeLog is a log of cases that went by the rules.
type largeLog struct {
	leaves [][]byte
	hashes []tlog.Hash
}

func (l *largeLog) add(b *testing.B, leaf proof.Leaf) {
	raw, err := leaf.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	hashes, err := tlog.StoredHashes(int64(len(l.leaves)), raw, tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(ids))
		for i, id := range ids {
			found[i] = l.hashes[id]
		}
		return found, nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	l.leaves, l.hashes = append(l.leaves, raw), append(l.hashes, hashes...)
}

// grow adds cases of three votes, a decision, a release and a notice.
func (l *largeLog) grow(b *testing.B, n int) {
	bundle := strings.Repeat("ab", 32)
	l.add(b, proof.BundleLeaf(day, bundle))
	for len(l.leaves) < n {
		var salt [32]byte
		binary.BigEndian.PutUint64(salt[:], uint64(len(l.leaves)))
		at := int64(len(l.leaves))
		steps := []proof.Leaf{proof.RecordedLeaf(day, proof.Facets{Jurisdiction: "GB", OffenceClass: "threats-to-kill", WarrantKind: proof.Production, Bundle: bundle,
			Salt: salt, Warrant: "warrant", Targets: []proof.Target{{Pseudonym: "pen1a", Platform: "town-square"}}})}
		for _, who := range []string{"bar", "press", "ombudsman"} {
			steps = append(steps, proof.ApprovalLeaf(day, at, who, "", salt, []byte("signed")))
		}
		steps = append(steps, proof.AuthorisedLeaf(day, at), proof.ReleasedLeaf(day, at, sha256.Sum256(salt[:]), nil), proof.NoticedLeaf(day, at, salt))
		for _, leaf := range steps[:min(len(steps), n-len(l.leaves))] {
			l.add(b, leaf)
		}
	}
}

// store puts the log into the database past its triggers.
func (l *largeLog) store(b *testing.B, admin string) {
	conn := connect(b, admin)
	if _, err := conn.Exec(b.Context(), `SET search_path = penname; SET session_replication_role = replica`); err != nil {
		b.Fatal(err)
	}
	leaves := pgx.CopyFromSlice(len(l.leaves), func(i int) ([]any, error) { return []any{int64(i), l.leaves[i]}, nil })
	hashes := pgx.CopyFromSlice(len(l.hashes), func(i int) ([]any, error) { return []any{int64(i), l.hashes[i][:]}, nil })
	_, err := conn.CopyFrom(b.Context(), pgx.Identifier{"log_leaves"}, []string{"index", "leaf"}, leaves)
	if err == nil {
		_, err = conn.CopyFrom(b.Context(), pgx.Identifier{"log_hashes"}, []string{"id", "hash"}, hashes)
	}
	if err == nil {
		_, err = conn.Exec(b.Context(), `VACUUM ANALYZE log_leaves, log_hashes`)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// publish has it signed and cosigned by one witness, as of now, and returns what trusts both.
func (l *largeLog) publish(b *testing.B, store translog.Store) (*proof.Log, *translog.Publisher) {
	const origin = "log.example/audit"
	skey, vkey, err := translog.NewKey(origin)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := translog.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	witness, err := torchwood.NewCosignatureSigner("witness.example/one", key)
	if err != nil {
		b.Fatal(err)
	}
	at := witness.Verifier().String()
	log, err := proof.NewLog(origin, vkey, []proof.WitnessKey{{Name: "one", Operator: "operator", VKey: at}}, 1)
	if err != nil {
		b.Fatal(err)
	}
	size := int64(len(l.leaves))
	root, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(ids []int64) (found []tlog.Hash, _ error) {
		for _, id := range ids {
			found = append(found, l.hashes[id])
		}
		return found, nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: size, Hash: root}}.String()}, signer, witness)
	if err == nil {
		err = store.SaveCheckpoint(b.Context(), size, signed)
	}
	if err != nil {
		b.Fatal(err, cause(err))
	}
	p, err := translog.New(b.Context(), store, signer, log, []translog.WitnessClient{{URL: "http://127.0.0.1", VKey: at}}, time.Now)
	if err != nil {
		b.Fatal(err, cause(err))
	}
	return log, p
}

// BenchmarkLogAudit is `escrow log audit` of a log in PostgreSQL, over HTTP on loopback, the
// server included, beside SHA-256 of the bytes of its leaves, in turns.
func BenchmarkLogAudit(b *testing.B) {
	admin := database(b)
	d := disclosing(b, admin, Options{})
	var l largeLog
	l.grow(b, *logLeaves)
	l.store(b, admin)
	log, publisher := l.publish(b, d.Log)
	server := httptest.NewServer(publisher.Handler())
	defer server.Close()
	tiles, err := proof.Fetch(server.URL, nil)
	if err != nil {
		b.Fatal(err)
	}
	var whole, plain []float64
	held := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most := held(), int64(0)
	for b.Loop() {
		began := time.Now()
		r, err := log.Audit(b.Context(), tiles, proof.AuditOptions{At: time.Now(), Rules: func(string) (proof.Rules, bool) {
			return proof.Rules{Threshold: 2, Custodians: []string{"bar", "press", "ombudsman"}}, true
		}, Progress: func(done, _ int64) {
			if len(whole) == 0 && done%(1<<18) == 0 {
				most = max(most, held()-before)
			}
		}})
		whole = append(whole, time.Since(began).Seconds())
		if err != nil || r.Leaves != int64(*logLeaves) {
			b.Fatal(fmt.Sprint(r.Leaves, r.Findings[:min(len(r.Findings), 5)]), err, cause(err))
		}
		began = time.Now()
		for _, leaf := range l.leaves {
			sha256.Sum256(leaf)
		}
		plain = append(plain, time.Since(began).Seconds())
	}
	b.ReportMetric(median(whole), "s")
	b.ReportMetric(float64(most)/(1<<20), "~MiB-held") // the server's included
	b.ReportMetric(median(whole)/median(plain), "ratio")
}
