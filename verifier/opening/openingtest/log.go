package openingtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

const origin = "penname.example/log"

// log is a public log in memory with one witness.
type log struct {
	t       testing.TB
	signer  note.Signer
	said    policy.Log
	witness *torchwood.CosignatureVerifier
	key     ed25519.PrivateKey
	leaves  [][]byte
	hashes  []tlog.Hash
}

func newLog(t testing.TB) *log {
	t.Helper()
	secret, vkey, err := note.GenerateKey(rand.Reader, origin)
	check(t, err)
	l := &log{t: t}
	l.signer, err = note.NewSigner(secret)
	check(t, err)
	_, l.key, err = ed25519.GenerateKey(rand.Reader)
	check(t, err)
	s, err := torchwood.NewCosignatureSigner("witness.example", l.key)
	check(t, err)
	l.witness = s.Verifier()
	l.said = policy.Log{Origin: origin, VKey: vkey, Quorum: 1, Witnesses: []policy.Witness{{Name: "witness.example", Operator: "W", VKey: l.witness.String()}}}
	return l
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Append appends a leaf and returns its index.
func (l *log) Append(leaf proof.Leaf) int64 {
	l.t.Helper()
	b, err := leaf.Marshal()
	check(l.t, err)
	index := int64(len(l.leaves))
	hs, err := tlog.StoredHashes(index, b, l)
	check(l.t, err)
	l.leaves, l.hashes = append(l.leaves, b), append(l.hashes, hs...)
	return index
}

// Prove returns a leaf with its proof under the cosigned tree as it is now.
func (l *log) Prove(index int64) opening.LoggedLeaf {
	l.t.Helper()
	n := int64(len(l.leaves))
	root, err := tlog.TreeHash(n, l)
	check(l.t, err)
	path, err := tlog.ProveRecord(n, index, l)
	check(l.t, err)
	text := torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: n, Hash: root}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, l.signer)
	check(l.t, err)
	at := uint64(Now.Unix())
	cosigned := binary.BigEndian.AppendUint32(nil, l.witness.KeyHash())
	cosigned = binary.BigEndian.AppendUint64(cosigned, at)
	cosigned = append(cosigned, ed25519.Sign(l.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text))...)
	signed = append(signed, fmt.Sprintf("— witness.example %s\n", base64.StdEncoding.EncodeToString(cosigned))...)
	return opening.LoggedLeaf{Index: index, Bytes: l.leaves[index], Proof: torchwood.FormatProof(index, path, signed)}
}

// ReadHashes implements tlog.HashReader.
func (l *log) ReadHashes(ids []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		hs[i] = l.hashes[id]
	}
	return hs, nil
}
