package proof_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/penname/penname/verifier/proof"
)

// released is a log with one case that was released and noticed, and the files of
// that log before the notice.
func released(t *testing.T) (w *world, before torchwood.TileReader) {
	t.Helper()
	w = newWorld(t)
	x := examples()
	w.add(x[0])
	c := x[2]
	c.SecrecyEnds = "2026-11-20"
	i := w.add(c)
	w.add(at(x[3], c.Day, i), at(x[5], c.Day, i), at(x[6], c.Day, i), at(x[7], c.Day, i))
	files := w.files()
	files["checkpoint"].Data = w.cosignedAt(int64(len(w.leaves)), noon.AddDate(0, 0, -2), 0, 1)
	before = w.tiles(files)
	w.add(at(x[8], "2026-11-21", i))
	return w, before
}

// Each row is the smallest input that is merely old, and what is said of it: the
// truth, and nothing against anybody. The smallest case found was an honest mirror
// of yesterday, which made an auditor raise the alarm.
func TestFoundJ3WhatIsMerelyOldAccusesNobody(t *testing.T) {
	w := newWorld(t).grow(300)
	yesterday := newWorld(t).grow(250)
	old := yesterday.files()
	old["checkpoint"].Data = yesterday.cosignedAt(250, noon.Add(-25*time.Hour), 0, 1)
	today := w.cosigned(300, 0, 1)
	told, untold := released(t)
	newer := newWorld(t).grow(3)
	newer.addBytes([]byte(`{"v":2,"kind":"bundle","day":"2026-11-21","bundle":{}}`), []byte(`{"v":1,"kind":"weather","day":"2026-11-21"}`))
	for name, c := range map[string]struct {
		tiles   torchwood.TileReader
		edit    func(*proof.AuditOptions)
		want    error
		says    string
		overdue bool
	}{
		"a mirror older than what is trusted": {w.tiles(old), func(o *proof.AuditOptions) { o.Trusted = today },
			proof.ErrOlder, "shown are 250 leaves, cosigned 2026-11-20T11:00:00Z; known are 300 leaves, cosigned 2026-11-21T12:00:00Z", false},
		"a server within its freshness": {w.tiles(old), func(o *proof.AuditOptions) { o.Trusted, o.MaxAge = today, 26*time.Hour }, proof.ErrOlder, "known are 300 leaves", false},
		"a server beyond it":            {w.tiles(old), func(o *proof.AuditOptions) { o.Trusted, o.MaxAge = today, 24*time.Hour }, proof.ErrStale, "known are 300 leaves", false},
		"and nothing is known":          {w.tiles(old), func(o *proof.AuditOptions) { o.MaxAge = 24 * time.Hour }, proof.ErrStale, "shown are 250 leaves, cosigned 2026-11-20T11:00:00Z", false},
		"clocks of witnesses that differ": {w.tiles(yesterday.files()), func(o *proof.AuditOptions) { o.Trusted = w.cosignedAt(300, noon.Add(-2*proof.MaxSkew), 0, 1) },
			proof.ErrOlder, "known are 300 leaves", false},
		"trusted under earlier witnesses":             {w.tiles(w.files()), func(o *proof.AuditOptions) { o.Trusted = w.cosigned(250, 2) }, nil, "", false},
		"larger, under earlier witnesses":             {w.tiles(old), func(o *proof.AuditOptions) { o.Trusted = w.cosigned(300) }, proof.ErrOlder, "known are 300 leaves", false},
		"a mirror from before a notice":               {untold, func(*proof.AuditOptions) {}, nil, "", false},
		"the log without that notice, today":          {told.tiles(withoutNotice(told)), func(*proof.AuditOptions) {}, nil, "", true},
		"a program that is older than the log's form": {newer.tiles(newer.files()), func(*proof.AuditOptions) {}, proof.ErrNewer, "leaf 3: leaf_not_understood", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.At = noon.Add(time.Minute)
			c.edit(&o)
			r, err := w.log.Audit(t.Context(), c.tiles, o)
			if !errors.Is(err, c.want) || c.want != nil && !strings.Contains(errors.Unwrap(err).Error(), c.says) {
				t.Fatalf("%v (%v)", err, errors.Unwrap(err))
			}
			if c.want == nil && c.overdue != (len(r.Overdue()) > 0) {
				t.Errorf("overdue %v", r.Overdue())
			}
			var seen *proof.SeenError
			if errors.As(err, &seen) && seen.Kept != "" {
				t.Errorf("kept as evidence: %s", seen.Kept)
			}
		})
	}
}

// withoutNotice are the files of a log without its last leaf, cosigned today.
func withoutNotice(w *world) fstest.MapFS {
	shorter := newWorld(w.t)
	shorter.addBytes(w.leaves[:len(w.leaves)-1]...)
	return shorter.files()
}

// A mirror whose source is older stays as it is and keeps no evidence; what is
// evidence is kept, and the file is named.
func TestFoundJ3AMirrorKeepsEvidenceOnly(t *testing.T) {
	w := newWorld(t).grow(300)
	smaller := newWorld(t).grow(250)
	again := smaller.files()
	again["checkpoint"].Data = smaller.cosignedAt(250, noon.Add(2*proof.MaxSkew+time.Second), 0, 1)
	fork := newWorld(t)
	fork.add(bundleLeaf(999))
	fork.grow(250)
	grown := newWorld(t)
	grown.add(bundleLeaf(999))
	grown.grow(350)
	for name, c := range map[string]struct {
		source fstest.MapFS
		want   error
		kept   bool
	}{
		"an older source":                       {smaller.files(), proof.ErrOlder, false},
		"cosigned smaller after it was larger":  {again, proof.ErrRollback, true},
		"an older source, of another history":   {fork.files(), proof.ErrSplitView, true},
		"a larger one, of another history":      {grown.files(), proof.ErrSplitView, true},
		"as it was":                             {w.files(), nil, false},
		"a mirror of the time before witnesses": {w.files(), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mirrored(t, w, w.tiles(w.files()), dir)
			if strings.HasSuffix(name, "before witnesses") { // that are trusted today
				if err := os.WriteFile(dir+"/checkpoint", w.cosigned(300, 2), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := onDisk(t, dir)
			_, err := w.log.Mirror(t.Context(), w.tiles(c.source), dir, nil)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatal(err)
			}
			var seen *proof.SeenError
			if !c.kept {
				if errors.As(err, &seen) && seen.Kept != "" || len(onDisk(t, dir)) != len(before) {
					t.Error("evidence of nothing is kept")
				}
				return
			}
			if !errors.As(err, &seen) {
				t.Fatal(err)
			}
			shown, err := os.ReadFile(seen.Kept)
			if err != nil || !slices.Equal(shown, c.source["checkpoint"].Data) {
				t.Errorf("%s: %v", seen.Kept, err)
			}
			if c.want == proof.ErrRollback {
				convictsWitnesses(t, w, []byte(before["checkpoint"]), shown)
			}
			if c.want != proof.ErrSplitView {
				return
			}
			// It convicts the log before anybody, and no other checkpoint.
			raw, err := os.ReadFile(seen.Kept + ".divergence")
			var d proof.Divergence
			if err == nil {
				err = json.Unmarshal(raw, &d)
			}
			if err != nil || d.Verify(origin, w.vkey, []byte(before["checkpoint"]), shown) != nil {
				t.Errorf("the evidence does not convict: %v", err)
			}
			if err := d.Verify(origin, w.vkey, []byte(before["checkpoint"]), w.cosigned(250)); !errors.Is(err, proof.ErrBadProof) {
				t.Errorf("it convicts an honest log: %v", err)
			}
		})
	}
}

// convictsWitnesses checks the evidence of a rollback as anybody would, in both orders, and that no
// honest pair, and no other policy, convicts anybody.
func convictsWitnesses(t *testing.T, w *world, larger, smaller []byte) {
	t.Helper()
	if err := errors.Join(w.log.VerifyRollback(larger, smaller), w.log.VerifyRollback(smaller, larger)); err != nil {
		t.Errorf("the evidence does not convict: %v", err)
	}
	shrunk := newWorld(t).grow(250)
	one := must(proof.NewLog(origin, w.vkey, []proof.WitnessKey{w.witnesses[2]}, 1))(t)
	for name, c := range map[string]struct {
		log     *proof.Log
		smaller []byte
		want    error
	}{
		"M23 one of long before":        {w.log, shrunk.cosignedAt(250, noon.Add(-time.Hour), 0, 1), proof.ErrBadProof},
		"M23 within what clocks differ": {w.log, shrunk.cosignedAt(250, noon.Add(2*proof.MaxSkew), 0, 1), proof.ErrBadProof},
		"M23 by fewer than the quorum":  {w.log, shrunk.cosignedAt(250, noon.Add(time.Hour), 0), proof.ErrBadProof},
		"M23 the larger again":          {w.log, w.cosignedAt(300, noon.Add(time.Hour), 0, 1), proof.ErrBadProof},
		"M23 under other witnesses":     {one, smaller, proof.ErrBadProof},
		"M12 no checkpoint":             {w.log, []byte("x"), proof.ErrMalformed},
	} {
		if err := c.log.VerifyRollback(larger, c.smaller); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.log.VerifyRollback(c.smaller, larger); !errors.Is(err, c.want) {
			t.Errorf("%s, the other way round: %v", name, err)
		}
	}
}

// Two observers exchange checkpoints: what the log signed for one of them, with or without
// cosignatures, is held against the mirror of the other.
func TestExchangeOfCheckpoints(t *testing.T) {
	w := newWorld(t).grow(300)
	fork := newWorld(t).grow(4)
	fork.add(bundleLeaf(999))
	fork.grow(400)
	skey, _ := logKey(t, origin, 7)
	stranger := must(note.Sign(&note.Note{Text: fork.checkpoint(300).String()}, must(note.NewSigner(skey))(t)))(t)
	grown := newWorld(t).grow(400)
	for name, c := range map[string]struct {
		other []byte
		want  error
	}{
		"the same tree":                    {w.cosigned(300, 0, 1), nil},
		"the same tree, not cosigned":      {w.sign(w.checkpoint(300).String()), nil},
		"a smaller one":                    {w.cosigned(9, 1, 2), nil},
		"the empty one":                    {w.sign(w.checkpoint(0).String()), nil},
		"a larger one":                     {grown.cosigned(400, 0, 1), proof.ErrOlder},
		"M24 another, as large":            {fork.cosigned(300, 0, 1), proof.ErrSplitView},
		"M24 another, not cosigned":        {fork.sign(fork.checkpoint(300).String()), proof.ErrSplitView},
		"M24 another, smaller":             {fork.sign(fork.checkpoint(200).String()), proof.ErrSplitView},
		"of another history, and larger":   {fork.cosigned(400, 0, 1), proof.ErrOlder}, // it is not known yet
		"M22 signed by somebody":           {stranger, proof.ErrLog},
		"M12 no checkpoint":                {[]byte("x"), proof.ErrMalformed},
		"a smaller part of both histories": {fork.cosigned(4, 0, 1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mirrored(t, w, w.tiles(w.files()), dir)
			before := onDisk(t, dir)
			err := w.log.Exchange(t.Context(), dir, c.other)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatal(err)
			}
			var seen *proof.SeenError
			if c.want != proof.ErrSplitView {
				if len(onDisk(t, dir)) != len(before) {
					t.Error("evidence of nothing is kept")
				}
				return
			}
			if !errors.As(err, &seen) {
				t.Fatal(err)
			}
			other, known := must(os.ReadFile(seen.Kept))(t), must(os.ReadFile(seen.Kept+".known"))(t)
			if string(other) != string(c.other) || string(known) != before["checkpoint"] {
				t.Error("the evidence is other")
			}
			if seen.Divergence != nil {
				err = seen.Divergence.Verify(origin, w.vkey, other, known)
			} else {
				err = proof.VerifySplitView(origin, w.vkey, other, known)
			}
			if err != nil {
				t.Error("it does not convict:", err)
			}
		})
	}
	if err := w.log.Exchange(t.Context(), t.TempDir(), w.cosigned(9, 0, 1)); !errors.Is(err, proof.ErrMirror) {
		t.Error(err)
	}
}
