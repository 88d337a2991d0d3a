package translog_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/proof"
)

// C2SP tlog-tiles, tlog-proof, tlog-policy: torchwood, which none of this is written from, reads
// our log over HTTP, to the end and as it grows, with a cache on disk; it checks our proofs under
// a policy in words.
func TestC2SPTorchwoodReadsOurLog(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	srv := httptest.NewServer(http.StripPrefix("/log", w.publisher.Handler()))
	defer srv.Close()
	var text strings.Builder
	fmt.Fprintf(&text, "log %s\n", w.vkey)
	for i, p := range w.posts {
		fmt.Fprintf(&text, "witness w%d %s\n", i, p.VKey())
	}
	text.WriteString("group g 2 w0 w1 w2\nquorum g\n")
	policy := must(torchwood.ParsePolicy([]byte(text.String())))(t)
	fetcher := must(torchwood.NewTileFetcher(srv.URL + "/log"))(t)
	cache := must(torchwood.NewPermanentCache(fetcher, t.TempDir()))(t)
	client := must(torchwood.NewClient(cache))(t)
	before := 0
	for _, size := range []int{1, 255, 256, 257, 700} {
		w.append(before, size)
		must(w.publisher.Publish(ctx))(t)
		signed := must(fetcher.ReadEndpoint(ctx, "checkpoint"))(t)
		c, _, err := torchwood.VerifyCheckpoint(signed, policy)
		if err != nil || c.N != int64(size) {
			t.Fatal(c.N, err)
		}
		next := int64(before)
		for i, entry := range client.AllEntries(ctx, c.Tree, next) {
			leaf := must(w.mem.Leaves(ctx, i, i+1))(t)
			if i != next || !bytes.Equal(entry, leaf[0]) {
				t.Fatalf("entry %d is read as %d", i, next)
			}
			next++
		}
		if err := client.Err(); err != nil || next != c.N {
			t.Fatalf("read up to %d of %d: %v", next, c.N, err)
		}
		for _, i := range []int64{0, c.N / 2, c.N - 1} {
			entry, path, err := client.Entry(ctx, c.Tree, i)
			if err != nil || tlog.CheckRecord(path, c.N, c.Hash, i, tlog.RecordHash(entry)) != nil {
				t.Errorf("entry %d of %d: %v", i, c.N, err)
			}
			leaf, proven, err := w.publisher.Prove(ctx, i)
			if err != nil || !bytes.Equal(leaf, entry) || torchwood.VerifyProof(policy, tlog.RecordHash(leaf), proven) != nil {
				t.Errorf("proof of %d: %v", i, err)
			}
			if err := torchwood.VerifyProof(policy, tlog.RecordHash([]byte("another")), proven); err == nil {
				t.Error("a proof of anything")
			}
		}
		before = size
	}
}

// program installs one of torchwood's at the version of go.mod.
func program(t *testing.T, name string) string {
	t.Helper()
	if os.Getenv("PENNAME_PEERS") == "" {
		t.Skip("PENNAME_PEERS=1 builds and runs torchwood's own programs")
	}
	bin := t.TempDir()
	c := exec.CommandContext(t.Context(), "go", "install", "filippo.io/torchwood/cmd/"+name+"@v0.9.0")
	c.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(bin, name)
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// litewitness runs torchwood's witness for our log, and returns its address and key.
func litewitness(t *testing.T, vkey string) (address, witnessKey string) {
	t.Helper()
	program, dir := program(t, "litewitness"), t.TempDir()
	start := func(name string, args ...string) *bufio.Scanner {
		c := exec.CommandContext(t.Context(), name, args...)
		said, err := c.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			c.Process.Kill() // SIGINT is ignored by what a shell runs in the background
			c.Wait()
		})
		return bufio.NewScanner(said)
	}
	socket, key, db := filepath.Join(dir, "s"), filepath.Join(dir, "key"), filepath.Join(dir, "db")
	start("ssh-agent", "-a", socket, "-D")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	tool(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	t.Setenv("SSH_AUTH_SOCK", socket)
	tool(t, "ssh-add", "-q", key)
	fingerprint := strings.Fields(tool(t, "ssh-keygen", "-l", "-f", key))[1]
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := ln.Addr().String()
	ln.Close()
	log := start(program, "-db", db, "-name", "litewitness.example/w", "-ssh-agent", socket, "-key", fingerprint, "-listen", listen)
	for witnessKey == "" && log.Scan() {
		if m := regexp.MustCompile(`vkey="?([^" ]+)`).FindStringSubmatch(log.Text()); m != nil {
			witnessKey = m[1]
		}
	}
	go func() {
		for log.Scan() {
		}
	}()
	// What `witnessctl add-log` does.
	empty := must(tlog.TreeHash(0, nil))(t)
	tool(t, "sqlite3", db, fmt.Sprintf("PRAGMA busy_timeout = 5000; INSERT INTO log VALUES ('%s', 0, '%s'); INSERT INTO key VALUES ('%s', '%s');", origin, empty, origin, vkey))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", listen); err == nil {
			conn.Close()
			return "http://" + listen, witnessKey
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Litewitness cosigns our log as it grows, and what it answers about a log that forked, that
// was rolled back, or that it does not know is understood: C2SP tlog-witness, from both ends.
func TestLitewitnessCosignsOurLog(t *testing.T) {
	skey, vkey, err := translog.NewKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	signer := must(translog.NewSigner(skey))(t)
	address, key := litewitness(t, vkey)
	log := must(proof.NewLog(origin, vkey, []proof.WitnessKey{{Name: "lite", Operator: "somebody", VKey: key}}, 1))(t)
	clients := []translog.WitnessClient{{URL: address, VKey: key}}
	mem := new(translogtest.Memory)
	p := must(translog.New(t.Context(), mem, signer, log, clients, time.Now))(t)
	p.Timeout = 10 * time.Second
	var said []error
	p.OnWitness = func(_ string, err error) { said = append(said, err) }
	before := 0
	for _, size := range []int{0, 1, 7, 7, 300} {
		translogtest.Append(t, mem.Update, before, size)
		c, err := p.Publish(t.Context())
		if err != nil || c.N != int64(size) || len(said) > 0 {
			t.Fatalf("%d: %v, %v, %v", size, c.N, err, said)
		}
		_, signed, err := mem.Checkpoint(t.Context())
		if err == nil {
			_, err = log.OpenFresh(signed, time.Now(), time.Minute)
		}
		if err != nil {
			t.Fatal(err)
		}
		before = size
	}
	// Another process begins where the witness is not: its size is asked for.
	second := must(translog.New(t.Context(), mem, signer, log, clients, time.Now))(t)
	translogtest.Append(t, mem.Update, 300, 301)
	if c, err := second.Publish(t.Context()); err != nil || c.N != 301 {
		t.Error(c.N, err)
	}
	for name, c := range map[string]struct {
		size int
		want error
	}{"rolled back": {5, translog.ErrRollback}, "forked": {301, translog.ErrFork}, "forked, and larger": {320, translog.ErrFork}} {
		other := new(translogtest.Memory)
		for n := range c.size {
			if err := other.Update(t.Context(), func(tx translog.Tx) error {
				_, err := translog.Sequence(t.Context(), tx, translogtest.Leaf(1000+n))
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		p := must(translog.New(t.Context(), other, signer, log, clients, time.Now))(t)
		var said error
		p.OnWitness = func(_ string, err error) { said = err }
		if _, err := p.Publish(t.Context()); !errors.Is(err, translog.ErrQuorum) || !errors.Is(said, c.want) {
			t.Errorf("%s: %v, %v", name, err, said)
		}
	}
	strangeSkey, strange, err := translog.NewKey("log.example/unknown")
	if err != nil {
		t.Fatal(err)
	}
	unknown := must(proof.NewLog("log.example/unknown", strange, []proof.WitnessKey{{Name: "lite", Operator: "somebody", VKey: key}}, 1))(t)
	p = must(translog.New(t.Context(), new(translogtest.Memory), must(translog.NewSigner(strangeSkey))(t), unknown, clients, time.Now))(t)
	var answer error
	p.OnWitness = func(_ string, err error) { answer = err }
	if _, err := p.Publish(t.Context()); !errors.Is(err, translog.ErrQuorum) || answer == nil || !strings.Contains(answer.Error(), "404") {
		t.Error(err, answer)
	}
}

// Our witness cosigns the log that torchwood's spicy keeps, as it grows; with that cosignature
// spicy's proofs are proofs of tlog-proof under a quorum. It refuses spicy's log after that was
// begun anew.
func TestOurWitnessCosignsALogOfSpicy(t *testing.T) {
	spicy, dir := program(t, "spicy"), t.TempDir()
	assets, key := filepath.Join(dir, "assets"), filepath.Join(dir, "key")
	const name = "spicy.example/log"
	if err := os.Mkdir(assets, 0o700); err != nil {
		t.Fatal(err)
	}
	said := tool(t, spicy, "-init", name, "-assets", assets, "-key", key)
	_, public, _ := strings.Cut(said, "Public key: ")
	public, _, _ = strings.Cut(public, "\n")
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	alba := must(witness.New(t.Context(), "witness.example/alba", private, name, public, new(witnessState), clock))(t)
	log := must(proof.NewLog(name, public, []proof.WitnessKey{{Name: "alba", Operator: "alba", VKey: alba.VKey()}}, 1))(t)
	var all [][]byte
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(ids []int64) (found []tlog.Hash, _ error) {
		for _, id := range ids {
			found = append(found, hashes[id])
		}
		return found, nil
	})
	old := int64(0)
	for round := range 4 {
		var files []string
		for i := range round + 1 {
			file := filepath.Join(dir, fmt.Sprintf("file-%d-%d", round, i))
			if err := os.WriteFile(file, []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
			hashes = append(hashes, must(tlog.StoredHashes(int64(len(all)), []byte(file), reader))(t)...)
			all = append(all, []byte(file))
		}
		tool(t, spicy, append([]string{"-assets", assets, "-key", key}, files...)...)
		signed := must(os.ReadFile(filepath.Join(assets, "latest")))(t)
		size := int64(len(all))
		var path tlog.TreeProof
		if old > 0 {
			path = must(tlog.ProveTree(size, old, reader))(t)
		}
		line, err := alba.AddCheckpoint(t.Context(), witness.FormatRequest(old, path, signed))
		if err != nil {
			t.Fatal(round, err)
		}
		old = size
		spiced := must(os.ReadFile(files[round] + ".spicy"))(t)
		proven := append(append([]byte("c2sp.org/tlog-proof@v1\n"), bytes.TrimPrefix(spiced, []byte("c2sp.org/tlog-proof@v1\n"))...), line...)
		if index, c, err := log.VerifyProof([]byte(files[round]), proven); err != nil || index != size-1 || c.N != size {
			t.Errorf("%d %d: %v\n%s", index, c.N, err, proven)
		}
		if _, _, err := log.VerifyProof([]byte(files[round]), bytes.TrimSuffix(proven, line)); !errors.Is(err, proof.ErrQuorum) {
			t.Error(err)
		}
	}
	// The same key, begun anew: what was seen is not forgotten.
	text := torchwood.Checkpoint{Origin: name, Tree: tlog.Tree{N: old, Hash: tlog.Hash{1}}}.String()
	signer := must(note.NewSigner(strings.TrimSpace(string(must(os.ReadFile(key))(t)))))(t)
	forked := must(note.Sign(&note.Note{Text: text}, signer))(t)
	if _, err := alba.AddCheckpoint(t.Context(), witness.FormatRequest(old, nil, forked)); !errors.Is(err, proof.ErrSplitView) {
		t.Error(err)
	}
}
