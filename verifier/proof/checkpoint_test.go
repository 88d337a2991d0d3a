package proof_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/proof"
)

// A threshold counts distinct authorities, not items: one compromised party
// once satisfied N > 1 because entries were counted (CVE-2026-49834).
func TestM25WeakWitnessPolicyIsRefused(t *testing.T) {
	w := newWorld(t)
	a, b := w.witnesses[0], w.witnesses[1]
	sameKey := proof.WitnessKey{Name: "other", Operator: "other", VKey: witnessVKey(t, "witness.example/other", w.keys[0])}
	sameName := proof.WitnessKey{Name: "other", Operator: "other", VKey: witnessVKey(t, w.names[0], w.keys[2])}
	sameOperator := proof.WitnessKey{Name: "other", Operator: " operator  0", VKey: w.witnesses[2].VKey}
	asLog := proof.WitnessKey{Name: "other", Operator: "other", VKey: witnessVKey(t, origin, w.keys[2])}
	noOperator := proof.WitnessKey{Name: "other", VKey: w.witnesses[2].VKey}
	logType := proof.WitnessKey{Name: "other", Operator: "other", VKey: w.vkey}
	_, otherLog := logKey(t, "log.example/other", 9)
	for name, c := range map[string]struct {
		vkey   string
		ws     []proof.WitnessKey
		quorum int
	}{
		"M25 no witnesses, quorum 0":             {w.vkey, nil, 0},
		"M25 quorum 0 (fail open)":               {w.vkey, []proof.WitnessKey{a, b}, 0},
		"M25 negative quorum":                    {w.vkey, []proof.WitnessKey{a, b}, -1},
		"M25 quorum above the number":            {w.vkey, []proof.WitnessKey{a, b}, 3},
		"M25 one witness twice":                  {w.vkey, []proof.WitnessKey{a, a}, 2},
		"M25 two names one key":                  {w.vkey, []proof.WitnessKey{a, sameKey}, 2},
		"M25 two keys one name":                  {w.vkey, []proof.WitnessKey{a, sameName}, 2},
		"M25 one operator in two spellings":      {w.vkey, []proof.WitnessKey{a, sameOperator}, 2},
		"M25 no operator":                        {w.vkey, []proof.WitnessKey{a, noOperator}, 1},
		"M25 a log key as witness key":           {w.vkey, []proof.WitnessKey{a, logType}, 1},
		"M25 a witness key as log key":           {a.VKey, []proof.WitnessKey{b}, 1},
		"M16 a witness with the name of the log": {w.vkey, []proof.WitnessKey{a, asLog}, 1},
		"M22 a log key with another name":        {otherLog, []proof.WitnessKey{a, b}, 2},
		"M22 no log key":                         {"", []proof.WitnessKey{a, b}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := proof.NewLog(origin, c.vkey, c.ws, c.quorum); !errors.Is(err, proof.ErrPolicy) {
				t.Errorf("accepted: %v", err)
			}
		})
	}
	// A Log that was not made by NewLog trusts nothing.
	if _, err := (&proof.Log{Origin: origin, Key: w.log.Key}).OpenCheckpoint(w.grow(1).cosigned(1, 0, 1)); !errors.Is(err, proof.ErrPolicy) {
		t.Error(err)
	}
	if _, err := (*proof.Log)(nil).OpenCheckpoint(nil); !errors.Is(err, proof.ErrPolicy) {
		t.Error(err)
	}
}

func TestCheckpointAttacks(t *testing.T) {
	w := newWorld(t).grow(5)
	text := w.checkpoint(5).String()
	signed := string(w.sign(text))
	at := uint64(noon.Unix())
	cosign := func(i int) string { return cosignature(t, w.names[i], w.keys[i], at, text) }
	good := signed + cosign(0) + cosign(1)
	if c, err := w.log.OpenCheckpoint([]byte(good)); err != nil || c.N != 5 {
		t.Fatal(err)
	}
	skey, _ := logKey(t, origin, 7)
	impostor := must(note.NewSigner(skey))(t)
	byImpostor := string(must(note.Sign(&note.Note{Text: text}, impostor))(t))
	otherText := strings.Replace(text, "\n5\n", "\n4\n", 1)
	otherOrigin := strings.Replace(text, origin, "log.example/elsewhere", 1)
	// The log's key name and hash over a signature that is not its own.
	line := signed[strings.Index(signed, "— "):]
	raw := must(base64.StdEncoding.DecodeString(strings.Fields(line)[2]))(t)
	raw[20] ^= 1
	forged := "— " + origin + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
	with := func(text string, lines ...string) string {
		return string(w.sign(text)) + strings.Join(lines, "")
	}
	extended := text + "extension\n"
	var many strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&many, "— someone.example/%d AAAAAAAA\n", i)
	}
	for name, c := range map[string]struct {
		signed string
		want   error
	}{
		"M03 forged log signature before a good one": {text + "\n" + forged + line + cosign(0) + cosign(1), proof.ErrSignature},
		"M03 forged log signature alone":             {text + "\n" + forged + cosign(0) + cosign(1), proof.ErrSignature},
		"M03 forged cosignature":                     {signed + cosign(0) + strings.Replace(cosign(1), "A", "B", 1), nil /* any refusal */},
		"M12 no blank line":                          {strings.Replace(good, "\n\n", "\n", 1), proof.ErrMalformed},
		"M12 CRLF":                                   {strings.ReplaceAll(good, "\n", "\r\n"), proof.ErrMalformed},
		"M12 control character":                      {strings.Replace(good, "penname", "pen\x01name", 1), proof.ErrMalformed},
		"M12 not UTF-8":                              {strings.Replace(good, "penname", "pen\xffname", 1), proof.ErrMalformed},
		"M12 empty":                                  {"", proof.ErrMalformed},
		"M13 extension lines":                        {with(extended, cosignature(t, w.names[0], w.keys[0], at, extended), cosignature(t, w.names[1], w.keys[1], at, extended)), proof.ErrMalformed},
		"M17 cosignature at time 0":                  {signed + cosign(0) + cosignature(t, w.names[1], w.keys[1], 0, text), proof.ErrQuorum},
		"M17 cosignature beyond 63 bits":             {signed + cosign(0) + cosignature(t, w.names[1], w.keys[1], math.MaxInt64+1, text), proof.ErrQuorum},
		"M22 unknown log key":                        {byImpostor + cosign(0) + cosign(1), proof.ErrLog},
		"M22 cosigned, but not signed by the log":    {text + "\n" + cosign(0) + cosign(1), proof.ErrLog},
		"M22 other origin, same key":                 {with(otherOrigin, cosignature(t, w.names[0], w.keys[0], at, otherOrigin), cosignature(t, w.names[1], w.keys[1], at, otherOrigin)), proof.ErrLog},
		"M25 one cosignature":                        {signed + cosign(0), proof.ErrQuorum},
		"M25 one witness twice":                      {signed + cosign(0) + cosignature(t, w.names[0], w.keys[0], at+1, text), proof.ErrQuorum},
		"M25 one key under a second name":            {signed + cosign(0) + cosignature(t, w.names[1], w.keys[0], at, text), proof.ErrQuorum},
		"M25 unknown witnesses":                      {signed + cosign(0) + cosignature(t, "witness.example/dogwood", w.keys[1], at, text), proof.ErrQuorum},
		"M25 the log signs twice":                    {signed + line + cosign(0), proof.ErrQuorum},
		"M26 cosignature over another checkpoint":    {signed + cosign(0) + cosignature(t, w.names[1], w.keys[1], at, otherText), proof.ErrSignature},
		"M26 plain signature by a witness's key":     {signed + cosign(0) + "— " + w.names[1] + line[strings.LastIndex(line, " "):], proof.ErrQuorum},
		"M35 a hundred thousand signatures":          {good + many.String(), proof.ErrMalformed},
		"M35 101 signatures":                         {signed + many.String()[:many.Len()/1000] + cosign(0) + cosign(1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.log.OpenCheckpoint([]byte(c.signed))
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	for name, pass := range map[string]string{
		"unknown signatures are ignored":  signed + "— someone.example AAAAAAAA\n" + cosign(0) + cosign(1),
		"M03 a repeated line counts once": good + cosign(0) + line,
		"any two of three, in any order":  signed + cosign(2) + cosign(0),
		"all three":                       good + cosign(2),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := w.log.OpenCheckpoint([]byte(pass)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestM30StaleOrFutureCheckpoint(t *testing.T) {
	w := newWorld(t).grow(3)
	text := w.checkpoint(3).String()
	at := func(a, b time.Duration) []byte {
		return append(w.sign(text), cosignature(t, w.names[0], w.keys[0], uint64(noon.Add(a).Unix()), text)+
			cosignature(t, w.names[1], w.keys[1], uint64(noon.Add(b).Unix()), text)...)
	}
	const maxAge = time.Hour
	for name, c := range map[string]struct {
		signed []byte
		want   error
	}{
		"fresh":                             {at(0, -59*time.Minute), nil},
		"M30 frozen an hour ago":            {at(-61*time.Minute, -61*time.Minute), proof.ErrStale},
		"M30 one fresh of a quorum of two":  {at(0, -61*time.Minute), proof.ErrStale},
		"a clock a little ahead":            {at(0, proof.MaxSkew), nil},
		"M17 a cosignature from the future": {at(0, proof.MaxSkew+time.Second), proof.ErrStale},
		"M17 cosignatures of the year 2126": {at(100*365*24*time.Hour, 100*365*24*time.Hour), proof.ErrStale},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := w.log.OpenFresh(c.signed, noon, maxAge); !errors.Is(err, c.want) {
				t.Error(err)
			}
			if _, err := w.log.OpenCheckpoint(c.signed); err != nil {
				t.Error("an old checkpoint is still a checkpoint:", err)
			}
		})
	}
}

func TestM20InclusionProofsOfTheWrongShape(t *testing.T) {
	w := newWorld(t).grow(7)
	c := w.checkpoint(7)
	path := must(tlog.ProveRecord(7, 3, w.HashReader()))(t)
	leaf := w.leaves[3]
	if err := proof.Inclusion(3, leaf, path, c); err != nil {
		t.Fatal(err)
	}
	swapped := append(tlog.RecordProof{}, path...)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	for name, x := range map[string]struct {
		index int64
		path  tlog.RecordProof
		want  error
	}{
		"M20 negative index":      {-1, path, proof.ErrBadProof},
		"M20 index = size":        {7, path, proof.ErrBadProof},
		"M20 index beyond":        {math.MaxInt64, path, proof.ErrBadProof},
		"M20 off by one":          {2, path, proof.ErrMismatch},
		"M20 off by one, shorter": {6, path, proof.ErrBadProof},
		"M20 path too short":      {3, path[:2], proof.ErrBadProof},
		"M20 path too long":       {3, append(path[:3:3], tlog.Hash{}), proof.ErrBadProof},
		"M20 path swapped":        {3, swapped, proof.ErrMismatch},
		"M20 no path":             {3, nil, proof.ErrBadProof},
	} {
		t.Run(name, func(t *testing.T) {
			if err := proof.Inclusion(x.index, leaf, x.path, c); !errors.Is(err, x.want) {
				t.Error(err)
			}
		})
	}
	// Lesson 6, CVE-2026-22703: a proof that is right, of something else.
	if err := proof.Inclusion(3, w.leaves[4], path, c); !errors.Is(err, proof.ErrMismatch) {
		t.Error("M19:", err)
	}
	if err := proof.Inclusion(0, nil, nil, torchwood.Checkpoint{}); !errors.Is(err, proof.ErrBadProof) {
		t.Error("M20 empty tree:", err)
	}
}

// RFC 6962, 2.1: leaves and nodes are hashed with different prefixes, or a
// leaf that consists of two hashes could pose as the node above them.
func TestM21LeafThatLooksLikeANode(t *testing.T) {
	w := newWorld(t).grow(2)
	a, b := tlog.RecordHash(w.leaves[0]), tlog.RecordHash(w.leaves[1])
	posing := append(a[:], b[:]...)
	c := w.checkpoint(2)
	c.N = 1 // the tree of one leaf whose root would be that node
	if err := proof.Inclusion(0, posing, nil, c); !errors.Is(err, proof.ErrMismatch) {
		t.Error(err)
	}
	if tlog.RecordHash(posing) == tlog.NodeHash(a, b) {
		t.Error("no domain separation")
	}
}

// The lengths are checked against tlog for every index of every small tree,
// and the proofs with them.
func TestInclusionAcceptsEveryLeafOfEverySmallTree(t *testing.T) {
	w := newWorld(t).grow(70)
	for n := int64(1); n <= 70; n++ {
		c := w.checkpoint(n)
		for i := range n {
			path := must(tlog.ProveRecord(n, i, w.HashReader()))(t)
			if err := proof.Inclusion(i, w.leaves[i], path, c); err != nil {
				t.Fatalf("%d of %d, %d hashes, at most %d: %v", i, n, len(path), bits.Len64(uint64(n)), err)
			}
		}
	}
}

func TestConsistency(t *testing.T) {
	w := newWorld(t).grow(9)
	fork := newWorld(t).grow(4)
	fork.add(bundleLeaf(99))
	fork.grow(9)
	prove := func(w *world, n, m int64) tlog.TreeProof { return must(tlog.ProveTree(n, m, w.HashReader()))(t) }
	empty := torchwood.Checkpoint{Origin: origin}
	other := w.checkpoint(9)
	other.Origin = "log.example/elsewhere"
	for name, c := range map[string]struct {
		older, newer torchwood.Checkpoint
		path         tlog.TreeProof
		want         error
	}{
		"grows":                      {w.checkpoint(4), w.checkpoint(9), prove(w, 9, 4), nil},
		"same":                       {w.checkpoint(4), w.checkpoint(4), nil, nil},
		"from nothing":               {empty, w.checkpoint(9), nil, nil},
		"M23 smaller than last seen": {w.checkpoint(9), w.checkpoint(4), prove(w, 9, 4), proof.ErrOlder},
		"M24 two roots at one size":  {w.checkpoint(9), fork.checkpoint(9), nil, proof.ErrSplitView},
		"M07 proof of the fork":      {w.checkpoint(5), fork.checkpoint(9), prove(fork, 9, 5), proof.ErrBadProof},
		"M07 no proof":               {w.checkpoint(4), w.checkpoint(9), nil, proof.ErrBadProof},
		"M07 proof too long":         {w.checkpoint(4), w.checkpoint(9), append(prove(w, 9, 4), tlog.Hash{}), proof.ErrBadProof},
		"M08 a proof from nothing":   {empty, w.checkpoint(9), prove(w, 9, 4), proof.ErrBadProof},
		"M22 another log":            {w.checkpoint(4), other, prove(w, 9, 4), proof.ErrLog},
	} {
		t.Run(name, func(t *testing.T) {
			if err := proof.Consistency(c.older, c.newer, c.path); !errors.Is(err, c.want) {
				t.Error(err)
			}
		})
	}
}

func TestProofFileAttacks(t *testing.T) {
	w := newWorld(t).grow(6)
	good := string(w.proof(2, 6))
	if i, c, err := w.log.VerifyProof(w.leaves[2], []byte(good)); err != nil || i != 2 || c.N != 6 {
		t.Fatal(i, c, err)
	}
	// The reference implementation accepts it too.
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(w.log.Key))
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(w.leaves[2]), []byte(good)); err != nil {
		t.Fatal(err)
	}
	hash := strings.Split(good, "\n")[2]
	for name, c := range map[string]struct {
		leaf  []byte
		proof string
		want  error
	}{
		"M19 another leaf":                          {w.leaves[3], good, proof.ErrMismatch},
		"M19 the proof of another leaf":             {w.leaves[2], string(w.proof(3, 6)), proof.ErrMismatch},
		"M19 another index":                         {w.leaves[2], strings.Replace(good, "index 2", "index 3", 1), proof.ErrMismatch},
		"M20 index = size":                          {w.leaves[2], strings.Replace(good, "index 2", "index 6", 1), proof.ErrBadProof},
		"M20 a hash less":                           {w.leaves[2], strings.Replace(good, hash+"\n", "", 1), proof.ErrBadProof},
		"M20 a hash more":                           {w.leaves[2], strings.Replace(good, hash+"\n", hash+"\n"+hash+"\n", 1), proof.ErrBadProof},
		"M27 wrong header":                          {w.leaves[2], strings.Replace(good, "@v1", "@v2", 1), proof.ErrMalformed},
		"M27 no header":                             {w.leaves[2], good[strings.Index(good, "\n")+1:], proof.ErrMalformed},
		"M27 extra data, which nothing vouches for": {w.leaves[2], strings.Replace(good, "index", "extra AAAA\nindex", 1), proof.ErrMalformed},
		"M27 two extra lines":                       {w.leaves[2], strings.Replace(good, "index", "extra AAAA\nextra AAAA\nindex", 1), proof.ErrMalformed},
		"M27 no index":                              {w.leaves[2], strings.Replace(good, "index 2\n", "", 1), proof.ErrMalformed},
		"M27 leading zero":                          {w.leaves[2], strings.Replace(good, "index 2", "index 02", 1), proof.ErrMalformed},
		"M27 sign":                                  {w.leaves[2], strings.Replace(good, "index 2", "index +2", 1), proof.ErrMalformed},
		"M27 negative":                              {w.leaves[2], strings.Replace(good, "index 2", "index -2", 1), proof.ErrBadProof},
		"M27 hash of 31 bytes":                      {w.leaves[2], strings.Replace(good, hash, base64.StdEncoding.EncodeToString(make([]byte, 31)), 1), proof.ErrMalformed},
		"M27 no checkpoint":                         {w.leaves[2], good[:strings.Index(good, "\n\n")+2], proof.ErrMalformed},
		"M27 empty":                                 {w.leaves[2], "", proof.ErrMalformed},
		"M25 without the quorum":                    {w.leaves[2], good[:strings.LastIndex(good, "— ")], proof.ErrQuorum},
		"M35 ten million hashes":                    {w.leaves[2], strings.Replace(good, hash, strings.Repeat(hash+"\n", 1e5), 1), proof.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := w.log.VerifyProof(c.leaf, []byte(c.proof)); !errors.Is(err, c.want) {
				t.Error(err)
			}
		})
	}
}

// One bit changed anywhere in leaf, proof or checkpoint is found. With a
// quorum of all witnesses each bit is needed, so that none may be ignored.
func TestOneBitChangedInALeafOrProofIsFound(t *testing.T) {
	w := newWorld(t).grow(100)
	strict := must(proof.NewLog(origin, w.vkey, w.witnesses[:2], 2))(t)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.Int64Range(1, 100).Draw(rt, "size")
		index := rapid.Int64Range(0, n-1).Draw(rt, "index")
		leaf, file := bytes.Clone(w.leaves[index]), w.proof(index, n)
		part := file
		if rapid.Bool().Draw(rt, "in the leaf") {
			part = leaf
		}
		bit := rapid.IntRange(0, 8*len(part)-1).Draw(rt, "bit")
		part[bit/8] ^= 1 << (bit % 8)
		if _, _, err := strict.VerifyProof(leaf, file); err == nil {
			rt.Fatalf("bit %d of byte %d (%q) may be changed", bit%8, bit/8, part[max(0, bit/8-8):min(len(part), bit/8+8)])
		}
	})
}

func FuzzVerifyProof(f *testing.F) {
	w := newWorld(f).grow(6)
	for i := range int64(6) {
		f.Add(w.leaves[i], w.proof(i, 6))
	}
	root := w.checkpoint(6).Hash
	fuzzing.Run(f, func(t *testing.T, leaf, p []byte) {
		index, c, err := w.log.VerifyProof(leaf, p)
		if err != nil {
			return
		}
		if c.N != 6 || c.Hash != root || !bytes.Equal(leaf, w.leaves[index]) {
			t.Errorf("forged: %q", p)
		}
	})
}

func TestM24SplitViewEvidenceConvictsTheLog(t *testing.T) {
	w := newWorld(t).grow(5)
	fork := newWorld(t).grow(4)
	fork.add(bundleLeaf(99))
	a, b := w.cosigned(5), fork.cosigned(5)
	if err := proof.VerifySplitView(origin, w.vkey, a, b); err != nil {
		t.Error(err)
	}
	_, other := logKey(t, origin, 7)
	forged := bytes.Replace(b, []byte("\n5\n"), []byte("\n6\n"), 1)
	for name, c := range map[string]struct {
		vkey          string
		first, second []byte
		want          error
	}{
		"the same checkpoint twice":        {w.vkey, a, a, proof.ErrBadProof},
		"the same with other cosignatures": {w.vkey, a, w.cosigned(5, 1), proof.ErrBadProof},
		"two sizes":                        {w.vkey, a, w.cosigned(4), proof.ErrBadProof},
		"M22 not this log's key":           {other, a, b, proof.ErrLog},
		"M03 not signed by the log":        {w.vkey, a, forged, proof.ErrSignature},
		"M35 oversize":                     {w.vkey, a, bytes.Repeat(b, 1000), proof.ErrMalformed},
		"M22 no key":                       {"", a, b, proof.ErrPolicy},
	} {
		t.Run(name, func(t *testing.T) {
			if err := proof.VerifySplitView(origin, c.vkey, c.first, c.second); !errors.Is(err, c.want) {
				t.Error(err)
			}
		})
	}
}

// What a custodian or a court pays for one proof: two cosignatures and one
// log signature, and the path.
func BenchmarkVerifyProof(b *testing.B) {
	w := newWorld(b)
	for i := range 1 << 14 {
		w.addBytes(fmt.Appendf(nil, "leaf %d", i))
	}
	p := w.proof(12345, int64(len(w.leaves)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := w.log.VerifyProof(w.leaves[12345], p); err != nil {
			b.Fatal(err)
		}
	}
}
