package custodian

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

var caseDay = time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC) // of testdata/case.json

// reviewer is a custodian who holds no share, in a seat of the bundle that came
// into force after that of testdata/case.json.
func reviewer(t testing.TB) (*circle, opening.CaseFile) {
	t.Helper()
	v := newCircle(t, "gerd")
	raw := v.read("../../verifier/opening/testdata/bundle.json")
	b, err := policy.ParseBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	v.since = []*policy.Bundle{b, v.seats("gerd", b, "chidi")}
	return v, shownCase(v)
}

// seats is the bundle that follows b with a custodian in another's seat, and with the
// recipient of that seat.
func (v *circle) seats(id string, b *policy.Bundle, in string) *policy.Bundle {
	v.t.Helper()
	raw, err := b.Marshal()
	if err != nil {
		v.t.Fatal(err)
	}
	var draft policy.Bundle
	if err := json.Unmarshal(raw, &draft); err != nil {
		v.t.Fatal(err)
	}
	exhibittest.Name(&draft)
	draft.Succeed(b)
	c := draft.Custodian(in)
	c.ID = id
	if c.Key, err = v.open(id).key.Public().MarshalJSON(); err != nil {
		v.t.Fatal(err)
	}
	if raw, err = draft.Marshal(); err != nil {
		v.t.Fatal(err, errors.Unwrap(err))
	}
	next, err := policy.ParseBundle(raw)
	if err != nil {
		v.t.Fatal(err)
	}
	return next
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
	if _, err := c.Review(f.Case, f, v.since, caseDay); err != nil {
		return "", err
	}
	if signed, err := c.Decision(f.Case, opening.Decline, policy.DeclineReasons[0], v.since[len(v.since)-1]); err != nil || signed != "" {
		return signed, err
	}
	r, err := c.Reviewed(f.Case, f, v.since, caseDay)
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
	if again, err := c.Decision(f.Case, opening.Decline, policy.DeclineReasons[0], v.since[len(v.since)-1]); len(kept) != 3 || err != nil || again != signed {
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
		if all, err := c.keptReviews(at, nil); err != nil || len(all) != 1-i {
			t.Fatal(at, len(all), err)
		}
	}
	left := v.files("gerd")
	if delete(left, briefsFile); len(left) != len(before) {
		t.Errorf("%d files, not %d", len(left), len(before))
	}
}

// A kept review that was changed, or moved here from another case or folder, is no
// review.
func TestKeptReviewIsTheFoldersOwn(t *testing.T) {
	v, f := reviewer(t)
	c := v.open("gerd")
	if _, err := c.Review(f.Case, f, v.since, caseDay); err != nil {
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
		_, err := v.open("gerd").Reviewed(f.Case, f, v.since, caseDay)
		v.expect(code, err)
	}
	if signed, err := c.signedIn(f.Case); len(signed) > 0 || err != nil {
		t.Error("something was signed", err)
	}
}

// J4: new rules end no case. The answer is signed again by a custodian who may,
// and it is the same answer; the case is judged by the rules of its day.
func TestFoundJ4TheSameAnswerUnderNewRules(t *testing.T) {
	v, f := reviewer(t)
	if _, err := v.declines(nil, f); err != nil {
		t.Fatal(err)
	}
	first := v.since
	v.since = append(v.since, v.seats("gerd", v.since[1], "gerd"))
	again, err := v.declines(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	a, err := opening.VerifyApproval(again, v.since[2])
	if err != nil || a.Bundle != f.Bundle || a.InForce != v.since[2].Hash() {
		t.Fatalf("%+v, %v", a, err)
	}
	// It is for the rules in force then, and for no others.
	if _, err := opening.VerifyApproval(again, first...); !errors.Is(err, opening.ErrApprovalBundle) {
		t.Error(err)
	}
	c := v.open("gerd")
	if _, err := c.Decision(f.Case, opening.Approve, "", v.since[2]); !errors.Is(err, ErrSignedOtherwise) {
		t.Error("new rules make another answer possible:", err)
	}
	// Under rules that seat somebody else, or that stop the case, nothing is signed.
	r, err := c.Reviewed(f.Case, f, v.since[:1], caseDay)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decline(r, policy.DeclineReasons[0], caseDay); !errors.Is(err, ErrNotInForce) {
		t.Error(err)
	}
	if _, err := c.Review(f.Case, f, v.since[1:], caseDay); !errors.Is(err, ErrOtherBundle) {
		t.Error("judged by other rules than those of its day:", err)
	}
}

// What later reviews need of kept ones is read from one file, and is always what the files
// themselves say: of a review that was made again, or that is gone, too.
func TestBriefsAreOfTheFilesThatAreThere(t *testing.T) {
	v, _ := reviewer(t)
	c := v.open("gerd")
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	put := func(id, authority string, expires time.Time) {
		t.Helper()
		raw, err := json.Marshal(kept{Shown: shown{Case: id, Warrant: digest([]byte(id))}, At: at, Expires: expires, ordered: ordered{Authority: authority, Names: []string{id}}})
		if err == nil {
			err = c.folder.replace(reviewFile(id), raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	reads := func(want map[string]string) {
		t.Helper()
		for range 2 { // without the briefs, or behind them, and with them
			all, err := c.keptReviews(at, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, b := range all {
				got[b.Case] = b.Authority
			}
			if !maps.Equal(got, want) {
				t.Fatalf("%v, not %v", got, want)
			}
		}
	}
	want := map[string]string{}
	for i := range 3 {
		id := fmt.Sprint("case ", i)
		put(id, "court", at)
		want[id] = "court"
	}
	reads(want)
	put("one more", "court", at)
	want["one more"] = "court"
	reads(want)
	briefs := func() (known map[string]briefed) {
		t.Helper()
		raw, err := c.folder.read(briefsFile)
		if err == nil {
			err = json.Unmarshal(raw, &known)
		}
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	if n := len(briefs()); n != len(want) {
		t.Error(n, "briefs")
	}
	put("one more", "another court", at)
	want["one more"] = "another court"
	reads(want)
	put("case 0", "court", at.Add(-recordStays))
	delete(want, "case 0")
	reads(want)
	for _, b := range briefs() {
		if b.Case == "case 0" {
			t.Error("the brief of what is gone stays")
		}
	}
	for _, lost := range []string{"changed", ""} {
		if err := os.WriteFile(c.folder.path(briefsFile), []byte(lost), 0o600); err != nil {
			t.Fatal(err)
		}
		reads(want)
		if n := len(briefs()); n != len(want) {
			t.Error(n, "briefs after they were lost")
		}
	}
	k, err := c.folder.kept(reviewFile("one more"))
	if err == nil {
		err = c.folder.disk.Remove(c.folder.path(briefsFile))
	}
	if err != nil {
		t.Fatal(err)
	}
	k.Authority = "as it was read"
	all, err := c.keptReviews(at, k)
	if err != nil || !slices.ContainsFunc(all, func(b brief) bool { return b.Case == "one more" && b.Authority == k.Authority }) {
		t.Error("what was read already is read again:", all, err)
	}
}

// A review is written once what was published was read, and also if that fails.
func TestReviewIsKeptWithWhatWasRead(t *testing.T) {
	v, f := reviewer(t)
	c := v.open("gerd")
	failed := errors.New("the line broke")
	r, err := c.ReviewAndRead(f.Case, f, v.since, caseDay, func(r *Review) error {
		if exists(c.folder.path(reviewFile(f.Case))) || r.kept == nil {
			t.Error("it is written before, or there is nothing to write")
		}
		r.kept.Checked = []string{ErrUnread.Code}
		return failed
	})
	if r == nil || !errors.Is(err, failed) {
		t.Fatal(r, err)
	}
	if k, err := c.folder.kept(reviewFile(f.Case)); err != nil || !slices.Equal(k.Checked, []string{ErrUnread.Code}) || k.Shown.Case != f.Case {
		t.Errorf("%+v, %v", k, err)
	}
}
