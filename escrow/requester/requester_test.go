package requester_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// A key is made once, read by its owner, and opens nobody else's delivery.
func TestAnotherKeyOpensNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requester.key")
	public, err := requester.CreateKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := requester.CreateKey(file); !errors.Is(err, secretfile.ErrExists) {
		t.Fatal("a key was overwritten:", err)
	}
	private, err := requester.ReadKey(file)
	if err != nil || private.Public() != public {
		t.Fatal(err)
	}
	rules, err := policy.ParseBundle(read("../../verifier/opening/testdata/bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d opening.Delivery
	if err := json.Unmarshal(read("../../verifier/opening/testdata/delivery.json"), &d); err != nil {
		t.Fatal(err)
	}
	opened, err := requester.Open(d, private, rules)
	var shares *requester.SharesError
	if !errors.As(err, &shares) || len(shares.Custodians) != 2 || len(opened.Targets) != 0 || refusal.Of(err).Code != "package.bad_share" {
		t.Fatal(err)
	}
}
