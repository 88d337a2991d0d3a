package command

import (
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// signingLog is a log with two witnesses that cosign whatever they are shown, and
// the bundle that trusts them.
type signingLog struct {
	t       *testing.T
	dir     string
	bundle  string // file
	signers []note.Signer
}

func newSigningLog(t *testing.T) *signingLog {
	t.Helper()
	raw, err := os.ReadFile("../../../verifier/opening/testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	var draft policy.Bundle
	if err := json.Unmarshal(raw, &draft); err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := note.GenerateKey(nil, draft.Log.Origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	l := &signingLog{t: t, dir: t.TempDir(), signers: []note.Signer{signer}}
	draft.Log.VKey = vkey
	for i := range draft.Log.Witnesses {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err := torchwood.NewCosignatureSigner(draft.Log.Witnesses[i].Name, key)
		if err != nil {
			t.Fatal(err)
		}
		draft.Log.Witnesses[i].VKey = w.Verifier().String()
		l.signers = append(l.signers, w)
	}
	if raw, err = draft.Marshal(); err != nil {
		t.Fatal(err)
	}
	l.bundle = l.write("bundle.json", raw)
	return l
}

func (l *signingLog) write(name string, b []byte) string {
	l.t.Helper()
	name = filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// checkpoint writes the checkpoint of a tree, cosigned now.
func (l *signingLog) checkpoint(name string, size int64, root byte) string {
	l.t.Helper()
	return l.tree(name, size, tlog.Hash{root})
}

func (l *signingLog) tree(name string, size int64, root tlog.Hash) string {
	l.t.Helper()
	c := torchwood.Checkpoint{Origin: l.signers[0].Name(), Tree: tlog.Tree{N: size, Hash: root}}
	b, err := note.Sign(&note.Note{Text: c.String()}, l.signers...)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.write(name, b)
}

// An honest mirror of yesterday gives no alarm, and nothing is written down about
// anybody; two histories do, and the file that proves it is named.
func TestFoundJ3AuditSinceAnOlderMirror(t *testing.T) {
	l := newSigningLog(t)
	l.checkpoint("mirror/checkpoint", 5, 1)
	mirror := filepath.Join(l.dir, "mirror")
	for name, c := range map[string]struct {
		size  int64
		root  byte
		code  string
		alarm bool
	}{
		"older":         {9, 2, "proof.older", false},
		"two histories": {5, 2, "proof.split_view", true},
	} {
		t.Run(name, func(t *testing.T) {
			since := l.checkpoint("since-"+c.code, c.size, c.root)
			args := []string{"log", "audit", "--bundle", l.bundle, "--mirror", mirror, "--since", since}
			r := run(t, nil, args...)
			if r.code != 1 || !strings.Contains(r.errs, c.code+": ") || strings.Contains(r.errs, "alarm") != c.alarm {
				t.Fatalf("%d %s", r.code, r.errs)
			}
			kept, err := os.ReadFile(since + ".refused")
			if (err == nil) != c.alarm {
				t.Errorf("kept as evidence: %v", err)
			}
			var said registrar.Problem
			if err := json.Unmarshal([]byte(run(t, nil, append(args, "--json")...).errs), &said); err != nil || said.Code != c.code || said.Cause == "" {
				t.Errorf("%+v, %v", said, err)
			}
			if shown, err := os.ReadFile(filepath.Join(mirror, "checkpoint")); err != nil || c.alarm && (string(kept) != string(shown) || said.Evidence != since+".refused") {
				t.Errorf("%q: %v", said.Evidence, err)
			}
		})
	}
}

// Two checkpoints of different sizes convict the log with what an audit or a mirror
// kept beside them, and not without, nor an honest one.
func TestFoundJ3DivergenceConvicts(t *testing.T) {
	l := newSigningLog(t)
	first, second := tlog.RecordHash([]byte("first")), tlog.RecordHash([]byte("second"))
	one, honest, two := l.checkpoint("one", 1, 7), l.tree("honest", 1, first), l.tree("two", 2, tlog.NodeHash(first, second))
	b, err := json.Marshal(proof.Divergence{Root: first, Path: tlog.TreeProof{second}})
	if err != nil {
		t.Fatal(err)
	}
	kept := l.write("two.divergence", b)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"with the divergence": {[]string{one, two, "--divergence", kept}, 1, "proof.split_view: "},
		"the other way round": {[]string{two, one, "--divergence", kept}, 1, "the tree of 2 leaves does not contain that of 1"},
		"without it":          {[]string{one, two}, 1, "log.split_unknown: "},
		"an honest log":       {[]string{honest, two, "--divergence", kept}, 0, "no split view: by "},
		"an honest one alone": {[]string{honest, two}, 1, "log.split_unknown: "},
		"no divergence":       {[]string{one, two, "--divergence", one}, 1, "proof.bad_proof: "},
	} {
		r := run(t, nil, append([]string{"log", "split", "--bundle", l.bundle}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.out+r.errs, c.says) {
			t.Errorf("%s: %d %s%s", name, r.code, r.out, r.errs)
		}
	}
}
