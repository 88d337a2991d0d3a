package proof_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/proof"
)

// What C2SP signed-note, tlog-checkpoint, tlog-cosignature and tlog-proof demand of whoever
// verifies, by their own sentences. Rows that stand elsewhere by the number of an attack (M03,
// M12, M17, M22, M25 to M27) are not here again.
func TestC2SPVerifier(t *testing.T) {
	w := newWorld(t).grow(6)
	text := w.checkpoint(6).String()
	signed, at := string(w.sign(text)), uint64(noon.Unix())
	cosign := func(i int) string { return cosignature(t, w.names[i], w.keys[i], at, text) }
	both := cosign(0) + cosign(1)
	line := signed[strings.Index(signed, "— "):]
	key := must(base64.StdEncoding.DecodeString(strings.Fields(line)[2]))(t)
	sharing := func(name string, id []byte) string {
		return "— " + name + " " + base64.StdEncoding.EncodeToString(append(id[:4:4], make([]byte, 64)...)) + "\n"
	}
	strangers := func(n int) (all string) {
		for i := range n {
			all += fmt.Sprintf("— stranger.example/%d AAAAAAAA\n", i)
		}
		return all
	}
	refuses := func(signed string) bool { _, err := w.log.OpenCheckpoint([]byte(signed)); return err != nil }
	takes := func(signed string) bool { _, err := w.log.OpenCheckpoint([]byte(signed)); return err == nil }
	body := func(text string) string { // signed and cosigned whatever it is
		all := text + "\n" + string(lineOver(t, w, text))
		for i := range 2 {
			all += cosignature(t, w.names[i], w.keys[i], at, text)
		}
		return all
	}
	if !takes(body(text)) {
		t.Fatal("the good one is refused")
	}
	lines := strings.Split(text, "\n")
	for must, holds := range map[string]bool{
		"signed-note: MUST accept at least up to 16 signatures":                                             takes(signed + strangers(13) + both),
		"signed-note: MUST ignore signatures from unknown keys, even if they share a name with a known key": takes(signed + sharing(origin, []byte{1, 2, 3, 4}) + sharing(w.names[2], []byte{1, 2, 3, 4}) + both),
		"signed-note: MUST ignore signatures from unknown keys, even if they share an ID with a known key":  takes(signed + sharing("stranger.example", key) + both),
		"signed-note: if the key name and ID match a known key, MUST verify the signature":                  refuses(signed + both + sharing(w.names[2], cosignatureID(t, w, 2))),
		"signed-note: if no signature from a known key verifies, clients MUST reject the note":              refuses(text + "\n" + strangers(3)),
		"signed-note: MUST NOT contain any ASCII control characters other than newline":                     refuses(body(text + "\x00\n")),
		"signed-note: a tab is a control character":                                                         refuses(body(text + "a\tb\n")),
		"signed-note: MUST be valid UTF-8":                                                                  refuses(body(text + "\xc3\x28\n")),
		"signed-note: key names MUST be non-empty":                                                          refuses(signed + "—  AAAAAAAA\n" + both),
		"tlog-checkpoint: at least three non-empty lines":                                                   refuses(body(lines[0] + "\n" + lines[1] + "\n")),
		"tlog-checkpoint: the origin MUST be non-empty":                                                     refuses(body("\n" + lines[1] + "\n" + lines[2] + "\n")),
		"tlog-checkpoint: the size in decimal with no leading zeroes":                                       refuses(body(lines[0] + "\n06\n" + lines[2] + "\n")),
		"tlog-checkpoint: the size has no sign":                                                             refuses(body(lines[0] + "\n+6\n" + lines[2] + "\n")),
		"tlog-checkpoint: the root is the base64 of 32 bytes":                                               refuses(body(lines[0] + "\n6\nAAAA\n")),
		"tlog-checkpoint: extension lines, if any, MUST be non-empty":                                       refuses(body(text + "\n\n")),
		"tlog-cosignature: the timestamp MUST NOT exceed 2^63 - 1":                                          refuses(signed + cosign(0) + cosignature(t, w.names[1], w.keys[1], 1<<63, text)),
		"tlog-cosignature: the signature MUST be a timestamped_signature structure":                         refuses(signed + cosign(0) + strings.Replace(cosign(1), "\n", "AAAA\n", 1)),
		"tlog-cosignature: a signature of the note itself by a cosigner's key is none":                      refuses(signed + cosign(0) + sharing(w.names[1], cosignatureID(t, w, 1))),
		"tlog-cosignature: what was signed is another timestamp than what is said":                          refuses(signed + cosign(0) + later(t, cosign(1))),
	} {
		if !holds {
			t.Error(must)
		}
	}
}

// lineOver is the log's signature line on any text.
func lineOver(t *testing.T, w *world, text string) []byte {
	t.Helper()
	sig := must(w.signer.Sign([]byte(text)))(t)
	h := w.signer.KeyHash()
	return fmt.Appendf(nil, "— %s %s\n", w.signer.Name(), base64.StdEncoding.EncodeToString(append([]byte{byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}, sig...)))
}

func cosignatureID(t *testing.T, w *world, i int) []byte {
	t.Helper()
	h := must(torchwood.NewCosignatureVerifier(w.witnesses[i].VKey))(t).KeyHash()
	return []byte{byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}
}

// later moves the timestamp of a line by a second, and leaves the signature.
func later(t *testing.T, line string) string {
	t.Helper()
	fields := strings.Fields(line)
	raw := must(base64.StdEncoding.DecodeString(fields[2]))(t)
	raw[4+7]++
	return fmt.Sprintf("— %s %s\n", fields[1], base64.StdEncoding.EncodeToString(raw))
}

// tlog-checkpoint: "A log MUST not sign any checkpoint which is inconsistent with any
// checkpoint it previously signed." Whoever has two such convicts it, if they are of one size,
// or with what a mirror keeps; two consistent ones convict nobody.
func TestC2SPInconsistentCheckpointsConvict(t *testing.T) {
	w := newWorld(t).grow(9)
	fork := newWorld(t).grow(4)
	fork.add(bundleLeaf(99))
	fork.grow(12)
	convicts := func(first, second []byte, d *proof.Divergence) bool {
		if d == nil {
			return proof.VerifySplitView(origin, w.vkey, first, second) == nil
		}
		return d.Verify(origin, w.vkey, first, second) == nil
	}
	divergence := func(of *world, smaller, larger int64) *proof.Divergence {
		return &proof.Divergence{Root: of.checkpoint(smaller).Hash, Path: must(tlog.ProveTree(larger, smaller, of.HashReader()))(t)}
	}
	sign := func(of *world, n int64) []byte { return of.sign(of.checkpoint(n).String()) }
	if !convicts(sign(w, 9), sign(fork, 9), nil) || !convicts(sign(w, 9), sign(fork, 12), divergence(fork, 9, 12)) || !convicts(sign(fork, 12), sign(w, 9), divergence(fork, 9, 12)) {
		t.Error("two histories convict nobody")
	}
	if convicts(sign(w, 9), sign(w, 9), nil) || convicts(sign(w, 5), sign(w, 9), divergence(w, 5, 9)) || convicts(sign(w, 4), sign(fork, 12), divergence(fork, 4, 12)) || convicts(sign(w, 5), sign(fork, 12), nil) {
		t.Error("one history convicts")
	}
	skey, _ := logKey(t, origin, 7)
	stranger := must(note.Sign(&note.Note{Text: fork.checkpoint(9).String()}, must(note.NewSigner(skey))(t)))(t)
	if err := proof.VerifySplitView(origin, w.vkey, sign(w, 9), stranger); !errors.Is(err, proof.ErrLog) {
		t.Error(err)
	}
}

// tlog-proof, read by hand from its text: each line is where it says, the hashes lead "from the
// leaf's sibling hash up to the root's child hash", and the checkpoint is "included verbatim".
func TestC2SPProofFormat(t *testing.T) {
	w := newWorld(t).grow(11)
	for index := range int64(11) {
		text := string(w.proof(index, 11))
		head, checkpoint, ok := strings.Cut(text, "\n\n")
		lines := strings.Split(head, "\n")
		if !ok || lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != fmt.Sprintf("index %d", index) || checkpoint != string(w.cosigned(11, 0, 1)) {
			t.Fatal(text)
		}
		// RFC 9162, 2.1.3.2, beside tlog's own.
		hash, fn, sn := tlog.RecordHash(w.leaves[index]), index, int64(10)
		for _, line := range lines[2:] {
			sibling := must(tlog.ParseHash(line))(t)
			if fn&1 == 1 || fn == sn {
				hash = tlog.NodeHash(sibling, hash)
				for fn&1 == 0 && fn != 0 {
					fn, sn = fn>>1, sn>>1
				}
			} else {
				hash = tlog.NodeHash(hash, sibling)
			}
			fn, sn = fn>>1, sn>>1
		}
		if hash != w.checkpoint(11).Hash || sn != 0 {
			t.Errorf("the hashes of %d lead elsewhere", index)
		}
	}
}
