package custodian

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

var caseDay = time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC) // of testdata/case.json

// reviewer is a custodian who holds no share and has endorsed the bundle of
// testdata/case.json.
func reviewer(t testing.TB) (*circle, opening.CaseFile) {
	t.Helper()
	v := newCircle(t, "gerd")
	if _, err := v.open("gerd").Endorse(v.read("../../verifier/opening/testdata/bundle.json"), v.read("../seal/ceremony/testdata/transcript.json"), caseDay); err != nil {
		t.Fatal(err)
	}
	return v, shownCase(v)
}

func shownCase(v *circle) (f opening.CaseFile) {
	v.t.Helper()
	if err := json.Unmarshal(v.read("testdata/case.json"), &f); err != nil {
		v.t.Fatal(err)
	}
	return f
}

// declines reviews the case and declines it, as two runs of the program do.
func (v *circle) declines(faults *faults, f opening.CaseFile) (signed string, err error) {
	c, err := v.home("gerd", faults).Open(v.t.Context())
	if err != nil {
		return "", err
	}
	if _, err := c.Review(f.Case, f, caseDay); err != nil {
		return "", err
	}
	if signed, err := c.Decision(f.Case, opening.Decline, policy.DeclineReasons[0]); err != nil || signed != "" {
		return signed, err
	}
	r, err := c.Reviewed(f.Case, f, caseDay)
	if err != nil {
		return "", err
	}
	return c.Decline(r, policy.DeclineReasons[0], caseDay)
}

// The power fails at each step from the review to the signed answer, before it or
// after. What was returned is what every repeat returns, and the folder holds no
// second answer.
func TestFoundO1PowerCutBetweenReviewAndDecision(t *testing.T) {
	cuts := 0
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			v, f := reviewer(t)
			power := &faults{at: at, after: after}
			first, err := v.declines(power, f)
			if !power.off {
				break
			}
			cuts++
			if err == nil || first != "" {
				t.Fatal("a decision was returned in spite of the power cut")
			}
			signed, err := v.declines(nil, f)
			if err != nil || signed == "" {
				t.Fatal(at, err)
			}
			if again, err := v.declines(nil, f); err != nil || again != signed {
				t.Fatal(at, "the repeat is another answer", err)
			}
		}
	}
	if cuts < 8 {
		t.Fatal("the walk is broken", cuts)
	}
}

// What the folder keeps is encrypted, names nobody in its names, and is dropped a
// year after the warrant expired.
func TestReviewIsKeptForItsTime(t *testing.T) {
	v, f := reviewer(t)
	before := v.files("gerd")
	signed, err := v.declines(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	kept := v.files("gerd")
	maps.DeleteFunc(kept, func(name, _ string) bool { _, old := before[name]; return old })
	for name, content := range kept {
		if strings.Contains(name, f.Case) || !strings.HasPrefix(content, "age-encryption.org/v1\n") {
			t.Errorf("%s is not an encrypted file without a name", name)
		}
	}
	c := v.open("gerd")
	if again, err := c.Decision(f.Case, opening.Decline, policy.DeclineReasons[0]); len(kept) != 2 || err != nil || again != signed {
		t.Fatal(len(kept), err)
	}
	a, err := opening.ParseApprovalUnverified(signed)
	if err != nil {
		t.Fatal(err)
	}
	k, err := c.folder.kept(reviewFile(f.Case))
	if err != nil || a.CheckpointSize != k.Tree.Size || a.LeafIndex != k.Shown.LeafIndex || len(k.Shown.Evidence) != 1 || len(k.Shown.Targets) != 1 || k.Shown.DeliveryKey == "" {
		t.Fatalf("%+v, %v", k, err)
	}
	ends := k.Expires.Add(recordStays)
	for i, at := range []time.Time{ends.Add(-time.Second), ends} {
		if all, err := c.keptReviews(at); err != nil || len(all) != 1-i {
			t.Fatal(at, len(all), err)
		}
	}
	if left := v.files("gerd"); len(left) != len(before) {
		t.Errorf("%d files, not %d", len(left), len(before))
	}
}

// A kept review that was changed, or moved here from another case or folder, is no
// review.
func TestKeptReviewIsTheFoldersOwn(t *testing.T) {
	v, f := reviewer(t)
	c := v.open("gerd")
	if _, err := c.Review(f.Case, f, caseDay); err != nil {
		t.Fatal(err)
	}
	name := reviewFile(f.Case)
	whole := v.read(v.path("gerd", name))
	flipped := append([]byte{}, whole...)
	flipped[len(flipped)-1] ^= 1
	k, err := c.folder.kept(name)
	if err != nil {
		t.Fatal(err)
	}
	k.Shown.Case = "k3x"
	other, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	for code, change := range map[string]func() error{
		"custodian.bad_secret":            func() error { v.write("gerd", name, flipped); return nil },
		"custodian.not_what_was_reviewed": func() error { return c.folder.replace(name, other) },
		"custodian.not_reviewed":          func() error { v.remove("gerd", name); return nil },
	} {
		v.write("gerd", name, whole)
		if err := change(); err != nil {
			t.Fatal(err)
		}
		_, err := v.open("gerd").Reviewed(f.Case, f, caseDay)
		v.expect(code, err)
	}
	if _, err := c.folder.read(decisionFile(f.Case)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was signed", err)
	}
}
