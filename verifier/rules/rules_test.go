package rules

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// The rules in force are followed from one bundle to the next, and only what is
// new is read.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	first := w.bundle(nil, nil)
	second := w.bundle(first, nil)
	third := w.bundle(second, nil)
	w.log(first)
	w.others(300)
	h := w.history(first)
	expect := func(want *policy.Bundle) {
		t.Helper()
		got, err := h.Follow(t.Context(), noon, maxAge)
		if err != nil || got.Hash() != want.Hash() {
			t.Fatal(got, err, errors.Unwrap(err))
		}
		if got, err := h.InForce(noon.Add(maxAge), maxAge); err != nil || got.Hash() != want.Hash() {
			t.Fatal(err)
		}
	}
	expect(first)
	w.log(second)
	expect(second)
	w.others(5)
	w.log(third)
	expect(third)
	if len(w.fetched) != 2 {
		t.Error("bundles are fetched again", w.fetched)
	}
	if e := h.Entries(); len(e) != 3 || e[1].Leaf != 301 || e[2].Leaf != 307 || e[2].Day != "2026-11-28" {
		t.Error(e)
	}
	// Once cosignatures are too old, nobody knows any more.
	if _, err := h.InForce(noon.Add(maxAge+time.Second), maxAge); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	for _, trusted := range []*policy.Bundle{first, second, third} {
		if got, err := w.history(trusted).Follow(t.Context(), noon, maxAge); err != nil || got.Hash() != third.Hash() {
			t.Error(err)
		}
	}
	// A case of the first day is judged by what was in force then, and after.
	for i, b := range []*policy.Bundle{first, second, third} {
		h := w.history(third)
		if _, err := h.Follow(t.Context(), noon, maxAge); err != nil {
			t.Fatal(err)
		}
		since, err := h.Since(t.Context(), b.Hash())
		if err != nil || len(since) != 3-i || since[0].Hash() != b.Hash() || since[2-i].Hash() != third.Hash() {
			t.Error(i, len(since), err)
		}
	}
	if _, err := h.Since(t.Context(), strings.Repeat("0", 64)); !errors.Is(err, ErrNotInLog) {
		t.Error(err)
	}
}

// Who kept how far they came reads only what is new, and finds a log that changed its story
// meanwhile; what they kept of something else is left aside.
func TestResume(t *testing.T) {
	w := newWorld(t)
	first := w.bundle(nil, nil)
	second := w.bundle(first, nil)
	w.log(first)
	w.others(1000)
	w.log(second)
	if _, err := w.history(first).Followed(); err != nil {
		t.Fatal(err)
	}
	h := w.history(first)
	if _, err := h.Follow(t.Context(), noon, maxAge); err != nil {
		t.Fatal(err)
	}
	read, err := h.Followed()
	check(t, err)
	changed := func(old, with string) string {
		raw := strings.Replace(string(read[sha256.Size:]), old, with, 1)
		sum := sha256.Sum256([]byte(raw))
		return string(sum[:]) + raw
	}
	fork := w.fork(900)
	fork.others(200)
	third := w.bundle(second, nil)
	w.others(300)
	w.log(third)
	for name, c := range map[string]struct {
		on      *world
		trusted *policy.Bundle
		read    string
		entries int // tiles of leaves that are read
		want    error
	}{
		"from the beginning":      {w, first, "", 6, nil},
		"from there on":           {w, first, string(read), 3, nil}, // the one that had begun is read again
		"from a later bundle":     {w, second, string(read), 3, nil},
		"from one that is newer":  {w, third, string(read), 6, nil},
		"no file of ours":         {w, first, "{", 6, nil},
		"of another log":          {w, first, changed(origin, "log.example/other"), 6, nil},
		"a root that is too long": {w, first, changed(`"root":"`, `"root":"AAAA`), 6, nil},
		"verified from a later":   {w, first, changed(`"trusted":"`+first.Hash(), `"trusted":"`+second.Hash()), 6, nil},
		"verified from nowhere":   {w, first, changed(`"trusted":"`, `"trusted":"00`), 6, nil},
		"a bit that flipped":      {w, first, strings.Replace(string(read), `"size":1`, `"size":0`, 1), 6, nil},
		"a log that forked":       {fork, first, string(read), 0, proof.ErrSplitView},
	} {
		h, err := New(c.trusted, c.on, w.fetch)
		check(t, err)
		h.Resume([]byte(c.read))
		c.on.entries = 0
		inForce, err := h.Follow(t.Context(), noon, maxAge)
		if !errors.Is(err, c.want) || c.on.entries != c.entries || err == nil && (inForce.Hash() != third.Hash() || len(h.Entries()) != 3) {
			t.Errorf("%s: %v, %d tiles", name, err, c.on.entries)
		}
		if since, err := h.Since(t.Context(), first.Hash()); c.want == nil && (err != nil || len(since) != 3) {
			t.Errorf("%s: %d, %v", name, len(since), err)
		}
	}
}

// A server that lies about anything gets nobody to act.
func TestALyingServer(t *testing.T) {
	changed := func(b *policy.Bundle) { b.MaxTargets-- }
	for name, c := range map[string]struct {
		lie  func(w *world, first, second *policy.Bundle)
		want *refusal.Error
		at   int64 // of the entry at fault; 0: nobody is named
	}{
		"bytes that hash to something else": {func(w *world, first, second *policy.Bundle) {
			w.bundles[second.Hash()] = w.bundles[w.bundle(first, changed).Hash()]
		}, ErrUnknown, 0},
		"a bundle that is not served":    {func(w *world, _, second *policy.Bundle) { delete(w.bundles, second.Hash()) }, ErrUnknown, 0},
		"endorsements that are withheld": {func(w *world, _, second *policy.Bundle) { delete(w.endorsements, second.Hash()) }, ErrUnknown, 0},
		"one custodian twice": {func(w *world, _, second *policy.Bundle) {
			w.endorsements[second.Hash()] = []string{w.endorse(second, 0), w.endorse(second, 0)}
		}, ErrUnknown, 0},
		"endorsements of another bundle": {func(w *world, first, second *policy.Bundle) {
			w.endorsements[second.Hash()] = w.endorsements[first.Hash()]
		}, ErrUnknown, 0},
		"O2 an old bundle again":     {func(w *world, first, _ *policy.Bundle) { w.log(first) }, ErrBroken, 2},
		"the newest bundle again":    {func(w *world, _, second *policy.Bundle) { w.log(second) }, ErrBroken, 2},
		"a rival that came too late": {func(w *world, first, _ *policy.Bundle) { w.log(w.bundle(first, changed)) }, ErrBroken, 2},
		"a second first bundle":      {func(w *world, _, _ *policy.Bundle) { w.log(w.bundle(nil, changed)) }, ErrBroken, 2},
		"a number that is left out": {func(w *world, _, second *policy.Bundle) {
			w.log(w.bundle(second, func(b *policy.Bundle) { b.Number++ }))
		}, ErrBroken, 2},
		"version 1 after version 2":     {func(w *world, _, _ *policy.Bundle) { w.log(w.bundle(nil, placeless)) }, ErrBroken, 2},
		"one witness":                   {func(w *world, _, _ *policy.Bundle) { w.cosigners = []string{"a"} }, ErrUnknown, 0},
		"witnesses that nobody trusts":  {func(w *world, _, _ *policy.Bundle) { w.cosigners = []string{"c", "d"} }, ErrUnknown, 0},
		"the newest leaf hidden: stale": {func(w *world, _, _ *policy.Bundle) { *w = *w.fork(1); w.cosignedAt = noon.Add(-maxAge - time.Second) }, ErrUnknown, 0},
		"cosignatures of the future":    {func(w *world, _, _ *policy.Bundle) { w.cosignedAt = noon.Add(time.Hour) }, ErrUnknown, 0},
		"another log's key":             {func(w *world, _, _ *policy.Bundle) { w.signer = newWorldSigner(w.t) }, ErrUnknown, 0},
		"no log at all":                 {func(w *world, _, _ *policy.Bundle) { *w = *w.fork(0) }, ErrNotInLog, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.bundle(nil, nil)
			second := w.bundle(first, nil)
			w.log(first, second)
			c.lie(w, first, second)
			h := w.history(first)
			_, err := h.Follow(t.Context(), noon, maxAge)
			var at *proof.IndexError
			if !errors.Is(err, c.want) || errors.As(err, &at) != (c.at != 0) || at != nil && at.Index != c.at {
				t.Fatal(err, errors.Unwrap(err))
			}
			if _, err := h.InForce(noon, maxAge); err == nil {
				t.Error("it is in force all the same")
			}
		})
	}
}

func placeless(b *policy.Bundle) {
	b.Version, b.Number, b.Predecessor, b.Authorities[0].DailyWarrants = 1, 0, "", 0
	exhibittest.Forget(b)
}

// A1: what stands in no leaf is not in force, whatever the file says.
func TestFoundA1ABundleThatIsInNoLeaf(t *testing.T) {
	w := newWorld(t)
	first := w.bundle(nil, nil)
	second := w.bundle(first, nil)
	w.log(first)
	forged := w.bundle(nil, func(b *policy.Bundle) { b.MaxTargets-- })
	if _, err := w.history(forged).Follow(t.Context(), noon, maxAge); !errors.Is(err, ErrNotInLog) {
		t.Error(err)
	}
	// Endorsed, and not installed yet.
	h := w.history(second)
	if _, err := h.Follow(t.Context(), noon, maxAge); !errors.Is(err, ErrNotInLog) {
		t.Error(err)
	}
	w.log(second)
	inForce, err := h.Follow(t.Context(), noon, maxAge)
	if err != nil {
		t.Fatal(err)
	}
	for hash, want := range map[string]error{second.Hash(): nil, first.Hash(): ErrSuperseded, forged.Hash(): ErrNotInLog} {
		if err := h.Is(inForce, hash); !errors.Is(err, want) {
			t.Error(err, want)
		}
	}
}

// Who followed a log notices when it tells another story, and is not misled by a
// copy that merely lags.
func TestALogThatChangesItsStory(t *testing.T) {
	w := newWorld(t)
	first := w.bundle(nil, nil)
	second := w.bundle(first, nil)
	w.log(first)
	w.others(4)
	before, elsewhere := w.fork(3), w.fork(3)
	w.log(second)
	h := w.history(first)
	if _, err := h.Follow(t.Context(), noon, maxAge); err != nil {
		t.Fatal(err)
	}
	elsewhere.others(2)
	elsewhere.cosignedAt = noon.Add(time.Second)
	elsewhere.leaf(proof.ErasedLeaf(noon, [32]byte{2}, "elsewhere"))
	for name, c := range map[string]struct {
		show *world
		want error
	}{
		"a copy that lags":  {before, ErrUnknown},
		"another of a size": {elsewhere, proof.ErrSplitView},
	} {
		h.tiles = c.show
		if _, err := h.Follow(t.Context(), noon, maxAge); !errors.Is(err, c.want) {
			t.Error(name, err, errors.Unwrap(err))
		}
	}
	elsewhere.others(300)
	h.tiles = elsewhere
	if _, err := h.Follow(t.Context(), noon, maxAge); !errors.Is(err, proof.ErrSplitView) {
		t.Error(err)
	}
	h.tiles = w
	if got, err := h.Follow(t.Context(), noon, maxAge); err != nil || got.Hash() != second.Hash() {
		t.Error("the true log is not believed any more", err)
	}
}

// New witnesses take over: the tree that first shows their bundle may be
// cosigned by the old ones or by the new, any later one by the new alone.
func TestWitnessesChange(t *testing.T) {
	w := newWorld(t)
	first := w.bundle(nil, nil)
	second := w.bundle(first, func(b *policy.Bundle) { w.watch(b, "c", "d") })
	w.log(first)
	h, late := w.history(first), w.history(first)
	follow := func(h *History) error { _, err := h.Follow(t.Context(), noon, maxAge); return err }
	check(t, follow(h))
	w.log(second)
	check(t, follow(h)) // cosigned by a and b
	w.others(1)
	if err := follow(h); !errors.Is(err, ErrUnknown) {
		t.Error("the old witnesses are believed", err)
	}
	w.cosigners = []string{"c", "d"}
	check(t, follow(h))
	check(t, follow(late))
}

// Bundles of version 1 name no place; the log has them in theirs.
func TestVersion1IsReadForEver(t *testing.T) {
	w := newWorld(t)
	first := w.bundle(nil, placeless)
	second := w.bundle(nil, func(b *policy.Bundle) { placeless(b); b.MaxTargets-- })
	third := w.bundle(second, nil)
	w.log(first, second, third)
	h := w.history(third)
	got, err := h.Follow(t.Context(), noon, maxAge)
	if err != nil || got.Number != 2 {
		t.Fatal(got, err)
	}
	since, err := h.Since(t.Context(), first.Hash())
	if err != nil || len(since) != 3 {
		t.Fatal(len(since), err)
	}
	if got, err := w.history(first).Follow(t.Context(), noon, maxAge); err != nil || got.Hash() != third.Hash() {
		t.Error(err)
	}
	w.log(first)
	if _, err := w.history(second).Follow(t.Context(), noon, maxAge); !errors.Is(err, ErrBroken) {
		t.Error(err)
	}
}

// O2 and J2: an audit names each bundle that should not be in force, and does
// not call a bundle that it could not get a crime.
func TestFoundO2AndJ2AnAuditJudgesBundles(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, first, second *policy.Bundle)
		code   string
		want   error
	}{
		"all is well":         {func(*world, *policy.Bundle, *policy.Bundle) {}, "", nil},
		"O2 an old one again": {func(w *world, first, _ *policy.Bundle) { w.log(first) }, proof.FindingRepeated, proof.ErrAudit},
		"a place left out": {func(w *world, _, second *policy.Bundle) {
			w.log(w.bundle(second, func(b *policy.Bundle) { b.Number++ }))
		}, proof.FindingNotNext, proof.ErrAudit},
		"endorsed by nobody": {func(w *world, _, second *policy.Bundle) {
			third := w.bundle(second, nil)
			w.endorsements[third.Hash()] = nil
			w.log(third)
		}, proof.FindingNotEndorsed, proof.ErrIncomplete},
		"J endorsements changed on their way": {func(w *world, _, second *policy.Bundle) {
			w.endorsements[second.Hash()][0] += "x"
		}, proof.FindingNotEndorsed, proof.ErrIncomplete},
		"J2 one that cannot be had":       {func(w *world, first, _ *policy.Bundle) { delete(w.bundles, first.Hash()) }, proof.FindingUnavailable, proof.ErrIncomplete},
		"J2 one that has other bytes":     {func(w *world, first, second *policy.Bundle) { w.bundles[first.Hash()] = w.bundles[second.Hash()] }, proof.FindingUnavailable, proof.ErrIncomplete},
		"a crime beside a missing bundle": {func(w *world, first, second *policy.Bundle) { delete(w.bundles, first.Hash()); w.log(second) }, proof.FindingRepeated, proof.ErrAudit},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.bundle(nil, nil)
			second := w.bundle(first, nil)
			w.log(first, second)
			c.change(w, first, second)
			log, err := second.TrustedLog()
			check(t, err)
			r, err := log.Audit(t.Context(), w, proof.AuditOptions{At: noon, Rules: NewBundles(w.fetch, second).Audit(t.Context())})
			if !errors.Is(err, c.want) {
				t.Fatal(err, r)
			}
			if c.code != "" && !strings.Contains(fmt.Sprint(r.Findings), c.code) {
				t.Error(r.Findings)
			}
		})
	}
}

// stuck is a log that gives no answer until it is let go.
type stuck struct {
	*world
	asked, answer chan struct{}
}

func (s stuck) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	s.asked <- struct{}{}
	<-s.answer
	return s.world.ReadEndpoint(ctx, path)
}

// G3: who asks which rules are in force waits for no log that gives no answer.
func TestFoundG3WhoAsksWaitsForNoLog(t *testing.T) {
	w := newWorld(t)
	first := w.bundle(nil, nil)
	w.log(first)
	log := stuck{w, make(chan struct{}), make(chan struct{})}
	h, err := New(first, log, w.fetch)
	if err != nil {
		t.Fatal(err)
	}
	follow := func() <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := h.Follow(t.Context(), noon, maxAge)
			done <- err
		}()
		<-log.asked
		return done
	}
	done := follow()
	if !h.Cosigned().IsZero() {
		t.Error("cosigned before anything was read")
	}
	log.answer <- struct{}{}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	done = follow()
	if b, err := h.InForce(noon, maxAge); err != nil || b.Hash() != first.Hash() || !h.Cosigned().Equal(noon) || len(h.Entries()) != 1 {
		t.Error(b, err, h.Cosigned())
	}
	log.answer <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
