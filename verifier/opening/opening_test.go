package opening

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// delivery is one that a registrar handed over, saved with the bundle of its day.
func delivery(t testing.TB) (d Delivery, b *policy.Bundle) {
	t.Helper()
	raw, err := os.ReadFile("testdata/delivery.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d, parsed(t, *saved(t))
}

func contents(t testing.TB, d Delivery) (p Package) {
	t.Helper()
	if err := json.Unmarshal(d.Package, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// What was changed after the fact, left out or put under other rules is not
// lawful, whatever it was.
func TestWhatIsNotLawful(t *testing.T) {
	d, b := delivery(t)
	if o, err := Verify(d, b); err != nil || len(o.Targets[0].Approvals) != 2 || len(o.Certificate.Custodians) != 2 {
		t.Fatal(err)
	}
	p := contents(t, d)
	stranger, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := SignApproval(stranger, Approval{Case: p.Case, Custodian: b.Custodians[2].ID, WarrantHash: digest(p.Submission.Warrant), Bundle: b.Hash(),
		LeafIndex: p.Recorded.Index, CheckpointSize: p.Recorded.Index + 1, Decision: Approve, Shares: []EncryptedShare{{0, "", []byte("x")}}, At: now})
	if err != nil {
		t.Fatal(err)
	}
	other := *saved(t)
	other.MaxTargets++
	for name, c := range map[string]struct {
		change func(d *Delivery, b **policy.Bundle)
		want   error
	}{
		"one byte of the package":          {func(d *Delivery, _ **policy.Bundle) { d.Package[len(d.Package)-2] ^= 1 }, ErrPackage},
		"another case's name on it":        {func(d *Delivery, _ **policy.Bundle) { d.Package = edited(t, d, func(p *Package) { p.Case += "x" }) }, ErrNotLogged},
		"a release that was not logged":    {func(d *Delivery, _ **policy.Bundle) { d.Released = p.Authorised }, ErrNotLogged},
		"a proof of another leaf":          {func(d *Delivery, _ **policy.Bundle) { d.Released.Proof = p.Recorded.Proof }, ErrNotLogged},
		"another index":                    {func(d *Delivery, _ **policy.Bundle) { d.Released.Index++ }, ErrNotLogged},
		"one custodian alone":              {func(d *Delivery, _ **policy.Bundle) { d.Approvals = d.Approvals[:1] }, ErrPackage},
		"one custodian twice":              {func(d *Delivery, _ **policy.Bundle) { d.Approvals = []string{d.Approvals[0], d.Approvals[0]} }, ErrPackage},
		"nobody":                           {func(d *Delivery, _ **policy.Bundle) { d.Approvals = nil }, ErrPackage},
		"a stranger in a custodian's name": {func(d *Delivery, _ **policy.Bundle) { d.Approvals[1] = forged }, policy.ErrUnknownCustodian},
		"other rules":                      {func(_ *Delivery, b **policy.Bundle) { *b = parsed(t, other) }, ErrOtherRules},
		"other custodians":                 {func(_ *Delivery, b **policy.Bundle) { *b = newWorld(t).bundle }, ErrOtherRules},
		"cut short":                        {func(d *Delivery, _ **policy.Bundle) { d.Package = d.Package[:len(d.Package)/2] }, ErrPackage},
	} {
		t.Run(name, func(t *testing.T) {
			d, b := delivery(t)
			c.change(&d, &b)
			if _, err := Verify(d, b); !errors.Is(err, c.want) {
				t.Errorf("%v, not %v", err, c.want)
			}
		})
	}
}

// A package whose release was logged all the same is still held to its warrant,
// its evidence and its tokens.
func TestCommitsToOneRecord(t *testing.T) {
	d, b := delivery(t)
	p := contents(t, d)
	o, err := Verify(d, b)
	if err != nil {
		t.Fatal(err)
	}
	commitment := policy.Decide(p.Submission, b, policy.Facts{}, o.Warrant.IssuedAt).Targets[0].Token.Commitment
	for name, change := range map[string]func(t *PackageTarget){
		"another label":       func(t *PackageTarget) { t.Label = "abcdefghijklmnopqrstuvwxya" },
		"another salt":        func(t *PackageTarget) { t.LinkSalt[0] ^= 1 },
		"a short salt":        func(t *PackageTarget) { t.LinkSalt = t.LinkSalt[1:] },
		"another second half": func(t *PackageTarget) { t.SecondHalf[9] ^= 1 },
		"another pen name":    func(t *PackageTarget) { t.Pseudonym += "x" },
		"a field more":        func(t *PackageTarget) { t.Fields["more"] = []byte("x") },
		"a field less":        func(t *PackageTarget) { clear(t.Fields) },
	} {
		target := contents(t, d).Targets[0]
		if !Commits(target.OpenedTarget, target.Fields, commitment) {
			t.Fatal("the record itself is refused")
		}
		change(&target)
		if Commits(target.OpenedTarget, target.Fields, commitment) {
			t.Error(name, "is taken for the record of the token")
		}
	}
}

func edited(t testing.TB, d *Delivery, change func(*Package)) []byte {
	t.Helper()
	p := contents(t, *d)
	change(&p)
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A certificate says of each post whose word it is, and one of before reads and writes as it did.
func TestCertificateOfPosts(t *testing.T) {
	d, b := delivery(t)
	o, err := Verify(d, b)
	if err != nil {
		t.Fatal(err)
	}
	c := o.Certificate
	if len(c.Targets) != 1 || len(c.Targets[0].Posts) != 1 || c.Targets[0].Posts[0].URL != o.Targets[0].Posts[0].URL || o.Filed {
		t.Fatalf("%+v", c.Targets)
	}
	for _, proven := range []bool{false, true} {
		c.Targets[0].Posts[0].ProvenByKey = proven
		if said := c.String(); strings.Contains(said, "the platform's word alone") == proven || !strings.Contains(said, "never who typed") {
			t.Errorf("proven by key %v:\n%s", proven, said)
		}
	}
	c.Says, c.Targets = "", nil
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var old map[string]any
	if err := json.Unmarshal(raw, &old); err != nil {
		t.Fatal(err)
	}
	if len(old) != 8 || strings.Contains(c.String(), "target") {
		t.Errorf("a certificate of before has %v:\n%s", old, c)
	}
}
