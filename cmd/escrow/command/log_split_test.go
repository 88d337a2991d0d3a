package command

import (
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

// Two observers compare what they kept: two roots at one size, both signed by the
// log, are a split view whatever else is on the files.
func TestLogSplit(t *testing.T) {
	dir := t.TempDir()
	const origin = "log.example/penname"
	skey, vkey, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	impostor, err := note.NewSigner(other)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	checkpoint := func(name string, by note.Signer, size int64, root byte) string {
		c := torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: size, Hash: tlog.Hash{root}}}
		b, err := note.Sign(&note.Note{Text: c.String()}, by)
		if err != nil {
			t.Fatal(err)
		}
		return write(name, b)
	}
	raw, err := os.ReadFile("../../../verifier/opening/testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	var draft policy.Bundle
	if err := json.Unmarshal(raw, &draft); err != nil {
		t.Fatal(err)
	}
	draft.Log.Origin, draft.Log.VKey = origin, vkey
	if raw, err = draft.Marshal(); err != nil {
		t.Fatal(err)
	}
	bundle := write("bundle.json", raw)
	five, again := checkpoint("five", signer, 5, 1), checkpoint("again", signer, 5, 1)
	for name, c := range map[string]struct {
		second string
		code   int
		says   string
	}{
		"two histories":      {checkpoint("fork", signer, 5, 2), 1, "proof.split_view: "},
		"the same tree":      {again, 0, "no split view: both are the tree of 5 leaves"},
		"another size":       {checkpoint("nine", signer, 9, 3), 1, "log.split_unknown: "},
		"an impostor's":      {checkpoint("impostor", impostor, 5, 2), 1, "proof.untrusted_log: "},
		"not a checkpoint":   {bundle, 1, "proof.malformed: "},
		"a file that is not": {filepath.Join(dir, "none"), 1, "file.unreadable: "},
	} {
		args := []string{"log", "split", five, c.second, "--bundle", bundle}
		if r := run(t, nil, args...); r.code != c.code || !strings.Contains(r.out+r.errs, c.says) {
			t.Errorf("%s: %d %s%s", name, r.code, r.out, r.errs)
		}
		r := run(t, nil, append(args, "--json")...)
		var said registrar.Problem
		var found splitFinding
		switch {
		case r.code != c.code:
			t.Errorf("%s: --json changes the exit code to %d", name, r.code)
		case c.code == 0:
			if err := json.Unmarshal([]byte(r.out), &found); err != nil || found.SplitView || found.Sizes[0] != 5 {
				t.Errorf("%s: %s", name, r.out)
			}
		default:
			if err := json.Unmarshal([]byte(r.errs), &said); err != nil || !strings.HasPrefix(c.says, said.Code) {
				t.Errorf("%s: %s", name, r.errs)
			}
		}
	}
	// The finding is the proof: both roots stand in it.
	r := run(t, nil, "log", "split", five, filepath.Join(dir, "fork"), "--bundle", bundle)
	for _, root := range []tlog.Hash{{1}, {2}} {
		if !strings.Contains(r.errs, "two trees of 5 leaves") || !strings.Contains(r.errs, root.String()) {
			t.Error(r.errs)
		}
	}
}

// Nobody can know of two checkpoints of different sizes without a divergence, and one that is
// about others does not help.
func TestLogSplitWithoutDivergence(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	o.served.opened(o.now.AddDate(1, 0, 0))
	w.quiet("a case")
	o.served = o.served.fork(3)
	for len(o.served.leaves) < 30 {
		o.served.add(proof.ErasedLeaf(o.now, [32]byte{1}, "label "+itoa(int64(len(o.served.leaves)))))
	}
	r := w.round("another history", "fork")
	kept, err := filepath.Glob(filepath.Join(w.dir, "refused-*.divergence"))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	refused := strings.TrimSuffix(kept[0], ".divergence")
	// The alarm says the command that convicts, and it does.
	args := []string{"log", "split", refused, refused + ".known", "--divergence", kept[0], "--bundle", o.file}
	if !strings.Contains(r.errs, "escrow "+strings.Join(args, " ")) || !strings.Contains(r.out, "escrow "+strings.Join(args, " ")) {
		t.Errorf("%s%s", r.out, r.errs)
	}
	if r := run(t, nil, args...); r.code != 1 || !strings.Contains(r.errs, "proof.split_view: ") {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	if r := o.run("log", "split", refused, refused+".known"); r.code != 1 || r.out != "" || !strings.Contains(r.errs, "log.split_unknown: ") || !strings.Contains(r.errs, "--divergence FILE") {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, o.served.checkpoint(4), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := o.run("log", "split", refused, other, "--divergence", kept[0]); r.code != 1 || !strings.Contains(r.errs, "log.split_unknown: ") || !strings.Contains(r.errs, "is not about these two") {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	for command, says := range map[string]string{"monitor": "--divergence refused-X.divergence", "split": "--divergence FILE"} {
		if r := o.run("log", command, "--help"); !strings.Contains(r.out, says) {
			t.Errorf("%s: %s", command, r.out)
		}
	}
}
