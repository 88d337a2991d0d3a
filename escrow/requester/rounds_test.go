package requester_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// rounds is a case of three targets, each with a post: the first is released, then the second;
// custodians decline the third.
func rounds(t *testing.T) (*openingtest.Case, opening.Delivery) {
	t.Helper()
	c := openingtest.New(t, nil).File(3, 1, nil)
	c.Decide(c.Answer("alba", 0, 1))
	c.Decide(c.Answer("bruno", 0))
	c.Authorise(0)
	first := c.Release(c.Package(0), 0)
	c.Decide(c.Answer("chidi", 0, 1))
	c.Authorise(1)
	d := c.Deliver(first, c.Release(c.Package(1), 1))
	d.States = []opening.TargetState{{State: "released"}, {State: "released"}, {State: "declined", Code: "press_freedom"}}
	return c, d
}

// reads is what the registrar stores of a case.
func reads(c *openingtest.Case) exhibit.Reader {
	return exhibit.Reader{Save: func(token.Exhibit, []byte) error { return nil }, Fetch: func(digest [32]byte) (io.ReadCloser, error) {
		var sealed bytes.Buffer
		err := exhibit.Seal(&sealed, []string{c.Delivery.Public()}, strings.NewReader(c.Words[digest]))
		return io.NopCloser(&sealed), err
	}}
}

// All rounds are opened, and of a target that was not released it says where that stands.
func TestOpensAllRounds(t *testing.T) {
	c, d := rounds(t)
	opened, err := requester.Open(c.ID, d, c.Delivery, reads(c), c.Bundle)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	for i, want := range []string{"Person 0", "Person 1", ""} {
		if got := opened.Targets[i].Identity["name"]; got != want {
			t.Errorf("target %d is %q", i+1, got)
		}
	}
	said := opened.String()
	for _, want := range []string{" on town-square stays sealed: declined, press_freedom\n", "authorised at ", " by alba, chidi; package sha256 ", "not opened, the registrar says: declined\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in\n%s", want, said)
		}
	}
	if len(opened.Certificate.Targets[2].Custodians) != 0 || !opened.Certificate.Targets[1].Posts[0].Exhibits[0].Compared {
		t.Errorf("%+v", opened.Certificate)
	}
	other, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := requester.Open(c.ID, d, other, reads(c), c.Bundle); !errors.Is(err, requester.ErrWrongKey) {
		t.Error(err)
	}
}

// What a higher court annulled is not opened, and the refusal says that its use is forbidden.
func TestAnnulledIsNotOpened(t *testing.T) {
	for name, row := range map[string]struct {
		which []int
		want  error
		names []string
	}{
		"all": {nil, opening.ErrAnnulled, nil},
		"one": {[]int{1}, requester.ErrBarred, []string{"Person 0", "", ""}},
	} {
		c, d := rounds(t)
		l := proof.RecordedLeaf(openingtest.Now, proof.Facets{Jurisdiction: "GB", OffenceClass: "threat_to_life", WarrantKind: policy.Annulment,
			Bundle: c.Bundle.Hash(), Salt: [32]byte{1}, Warrant: "w"})
		l.Case = &c.Recorded
		if row.which != nil {
			l.Which = c.Marks(row.which...)
		}
		d.Bars = []opening.LoggedLeaf{c.Prove(c.Append(l))}
		opened, err := requester.Open(c.ID, d, c.Delivery, reads(c), c.Bundle)
		if !errors.Is(err, row.want) || !strings.Contains(err.Error(), "must not be used") || len(opened.Targets) != len(row.names) {
			t.Fatal(name, err)
		}
		for i, want := range row.names {
			if got := opened.Targets[i].Identity["name"]; got != want {
				t.Errorf("target %d is %q", i+1, got)
			}
		}
	}
}
