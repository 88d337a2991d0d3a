package proof_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/proof"
)

// Each entry is proven in two steps, whatever the size of the tree; the first step of one in a full
// range fits to every later tree, and what was changed on the way does not come at all.
func TestProofsByRanges(t *testing.T) {
	w := newWorld(t).grow(1100)
	var r proof.Ranges
	early := map[int64]proof.Proven{}
	for n := int64(0); n < 1100; n++ {
		if err := r.Add(w.leaves[n]); err != nil {
			t.Fatal(err)
		}
		size := n + 1
		if !slices.Contains([]int64{1, 2, 255, 256, 257, 511, 512, 513, 700, 768, 1023, 1024, 1025, 1100}, size) {
			continue
		}
		signed := w.cosigned(size, 0, 1)
		c := must(w.log.OpenCheckpoint(signed))(t)
		before := r
		if err := r.Under(c.Tree, signed); err != nil {
			t.Fatal(size, err)
		}
		if err := before.Under(tlog.Tree{N: size, Hash: tlog.Hash{1}}, signed); !errors.Is(err, proof.ErrTile) {
			t.Errorf("under another root: %v", err)
		}
		if err := before.Under(tlog.Tree{N: size + 1, Hash: c.Hash}, signed); !errors.Is(err, proof.ErrTile) {
			t.Errorf("under another size: %v", err)
		}
		tiles := w.tiles(w.filesAt(size))
		for number := range r.Count() {
			of := must(r.Read(t.Context(), tiles, number))(t)
			rest := must(r.Rest(number))(t)
			for i := of.From; i < of.To; i++ {
				p := must(of.Entry(i))(t)
				if was, ok := early[i]; ok && !bytes.Equal(was.Proof, p.Proof) {
					t.Fatalf("entry %d of %d: its part of the proof changed", i, size)
				}
				if number < r.Full() {
					early[i] = p
				}
				at, under, err := w.log.VerifyProof(p.Leaf, append(bytes.Clone(p.Proof), rest...))
				if err != nil || at != i || under.N != size || !bytes.Equal(p.Leaf, w.leaves[i]) {
					t.Fatalf("entry %d of %d is proven as %d: %v", i, size, at, err)
				}
			}
			if _, err := of.Entry(of.To); err == nil {
				t.Error("an entry of another range")
			}
		}
		for _, number := range []int64{-1, r.Count()} {
			if of, err := r.Read(t.Context(), tiles, number); !errors.Is(err, proof.ErrFetch) {
				t.Errorf("%v, %v", of, err)
			}
			if rest, err := r.Rest(number); err == nil {
				t.Errorf("range %d: %s", number, rest)
			}
		}
	}
	files := w.files()
	for number, name := range []string{"tile/entries/000", "tile/entries/001", "tile/entries/002", "tile/entries/003", "tile/entries/004.p/76"} {
		kept := files[name].Data
		files[name].Data = flip(kept, 100)
		if of, err := r.Read(t.Context(), w.tiles(files), int64(number)); !errors.Is(err, proof.ErrTile) && !errors.Is(err, proof.ErrFetch) {
			t.Errorf("%s was changed: %v, %v", name, of, err)
		}
		files[name].Data = kept
	}
}

// Who cosigned, and when, is said by the checkpoint alone.
func TestCosignersOfACheckpoint(t *testing.T) {
	w := newWorld(t).grow(3)
	signed := w.cosigned(3, 0, 2)
	by, err := w.log.Cosigners(signed)
	if err != nil || len(by) != 3 || !by[0].At.Equal(noon) || !by[1].At.IsZero() || !by[2].At.Equal(noon) || by[1].Operator != "Operator 1" {
		t.Errorf("%+v, %v", by, err)
	}
	if at, err := w.log.QuorumAt(w.cosignedAt(3, noon.Add(24*time.Hour), 0, 1)); err != nil || !at.Equal(noon.Add(24*time.Hour)) {
		t.Errorf("%v, %v", at, err)
	}
	if by, err := w.log.Cosigners(w.cosigned(3, 0)); !errors.Is(err, proof.ErrQuorum) {
		t.Errorf("%+v, %v", by, err)
	}
}
