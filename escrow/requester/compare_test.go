package requester

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/token"
)

// filed is the saved opening as if its warrant had a second target, and each had posted
// what x declares.
func filed(t *testing.T, x ...token.Exhibit) *opener {
	t.Helper()
	var d opening.Delivery
	var o opener
	raw := make(map[string][]byte)
	for _, name := range []string{"../../verifier/opening/testdata/delivery.json", "../../verifier/opening/testdata/bundle.json", "testdata/requester.key"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		raw[name[strings.LastIndex(name, "/")+1:]] = b
	}
	rules, err := policy.ParseBundle(raw["bundle.json"])
	if err == nil {
		err = json.Unmarshal(raw["delivery.json"], &d)
	}
	if err == nil {
		o.private, err = seal.ParseDeliveryKey(strings.TrimSpace(string(raw["requester.key"])))
	}
	if err == nil {
		o.Opening, err = opening.Verify(d, rules)
	}
	if err != nil {
		t.Fatal(err)
	}
	one := o.Targets[0]
	key, err := threshold.ParsePublicKey(one.Key)
	if err != nil {
		t.Fatal(err)
	}
	o.keys = map[string]threshold.PublicKey{one.Key: key}
	first := o.Certificate.Targets[0]
	if o.Filed || len(first.Posts) != 1 || first.PenName != one.Sealed.Pseudonym || o.Certificate.Says != opening.Says {
		t.Fatalf("%+v", first)
	}
	o.Filed, o.Targets, o.Certificate.Targets = true, nil, nil
	for _, x := range x {
		c := first
		c.Posts = []opening.CertifiedPost{{Exhibits: []opening.CertifiedExhibit{{Type: x.Type, SHA256: x.Name(), Length: x.Length}}}}
		one.Posts = []policy.Post{{Post: token.Post{Exhibits: []token.Exhibit{x}}}}
		o.Targets = append(o.Targets, one)
		o.Certificate.Targets = append(o.Certificate.Targets, c)
	}
	return &o
}

// A target whose words are missing, or are others, stays sealed; the other is opened, and
// the certificate says of each what was compared.
func TestWhatWasNotSaidOpensNothing(t *testing.T) {
	const threat, harmless = "I will come for you tonight.", "Good evening to everybody."
	var x []token.Exhibit
	for _, words := range []string{threat, harmless} {
		declared, err := token.NewExhibit("text/plain", strings.NewReader(words))
		if err != nil {
			t.Fatal(err)
		}
		x = append(x, declared)
	}
	full := errors.New("no space left")
	for name, c := range map[string]struct {
		second string // what was filed for the second target
		disk   error
		want   string
	}{
		"another post": {threat, nil, "evidence.exhibit_mismatch"},
		"nothing":      {"", nil, "exhibit.missing"},
		"a full disk":  {harmless, full, ""},
	} {
		o := filed(t, x...)
		saved := 0
		opened, err := o.open(exhibit.Reader{Fetch: func(digest [32]byte) (io.ReadCloser, error) {
			words := threat
			if digest == x[1].Digest {
				words = c.second
			}
			if words == "" {
				return nil, exhibit.ErrMissing
			}
			var sealed bytes.Buffer
			err := exhibit.Seal(&sealed, []string{o.private.Public()}, strings.NewReader(words))
			return io.NopCloser(&sealed), err
		}, Save: func(exhibit.Declared, []byte) error { saved++; return c.disk }})
		if c.disk != nil {
			if !errors.Is(err, full) || len(opened.Targets) != 0 {
				t.Error(name, err)
			}
			continue
		}
		if !errors.Is(err, ErrExhibits) || len(opened.Targets) != 2 || saved != 1 {
			t.Fatal(name, err, saved)
		}
		first, second := opened.Targets[0], opened.Targets[1]
		if first.Refused != "" || first.Identity["name"] != "Dexter Crallow" || second.Refused != c.want || len(second.Identity) != 0 {
			t.Errorf("%s: %+v, %+v", name, first, second)
		}
		said := opened.Certificate.Targets
		if said[0].Refused != "" || !said[0].Posts[0].Exhibits[0].Compared || said[1].Refused != c.want || said[1].Posts[0].Exhibits[0].Compared {
			t.Errorf("%s: %+v", name, said)
		}
		for _, want := range []string{" stays sealed: " + c.want, "compared   sha256 " + x[0].Name(), "declared   sha256 " + x[1].Name(),
			"the platform's word alone", "never who typed"} {
			if !strings.Contains(opened.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, opened)
			}
		}
	}
}
