package proof_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/proof"
)

func TestReceiptIsFoundInThePage(t *testing.T) {
	const (
		label      = "abcdefghijklmnopqrstuvwxya"
		salt       = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
		commitment = "a6a24b5f0d1f9e4a0e8e4c4e3a4c5f1f0f9d3c6b1b8a9c7d6e5f4a3b2c1d0e9f"
	)
	want, err := proof.ParseReceipt([]byte("Label " + label + "\nSalt " + salt + "\n"))
	if err != nil || len(want) != 64 {
		t.Fatal(want, err)
	}
	for _, page := range []string{
		"Commitment\n" + want + "\nLabel\n" + label + "\nSalt\n" + salt,
		"your proof:\n" + label + "." + salt + "." + want + "\n",
		"<p><code>" + label + "." + salt + "." + want + "</code></p>",
		"Salt: " + salt + "\r\nLabel: " + label,
		"<dl>\n<dt>Commitment</dt><dd><code>" + want + "</code></dd>\n<dt>Label</dt><dd><code>" + label + "</code></dd>\n<dt>Salt</dt><dd><code>" + salt + "</code></dd>\n</dl>",
	} {
		if got, err := proof.ParseReceipt([]byte(page)); err != nil || got != want {
			t.Errorf("%q: %s %v", page, got, err)
		}
	}
	for page, want := range map[string]error{
		"": proof.ErrReceipt, "Label " + label: proof.ErrReceipt, "Salt " + salt: proof.ErrReceipt,
		"Label " + label + " Salt " + salt[1:]:              proof.ErrReceipt,
		"Label " + label + " Salt " + salt + "0":            proof.ErrReceipt,
		"Label " + strings.ToUpper(label) + " Salt " + salt: proof.ErrReceipt,
		label + "." + salt:                                  proof.ErrReceipt, label + "." + salt + "." + commitment: proof.ErrFalseReceipt,
		"b" + label[1:] + "." + salt + "." + want:                        proof.ErrFalseReceipt,
		"Commitment " + commitment + " Label " + label + " Salt " + salt: proof.ErrFalseReceipt,
		"Commitment " + want + " Label b" + label[1:] + " Salt " + salt:  proof.ErrFalseReceipt,
	} {
		if _, err := proof.ParseReceipt([]byte(page)); !errors.Is(err, want) {
			t.Errorf("%q: %v", page, err)
		}
	}
}

// A warrant that named a pen name need not have opened it: custodians decide for each
// target, and the log shows a person which it was.
func TestNoticesTellWhoWasOpened(t *testing.T) {
	salt := [32]byte{9}
	targets := []proof.Target{{Pseudonym: "pen1opened", Platform: "forum"}, {Pseudonym: "pen1named", Platform: "forum"}}
	recorded := proof.RecordedLeaf(noon, proof.Facets{Jurisdiction: "GB", OffenceClass: "stalking", WarrantKind: proof.Production, Quorum: 2, Bundle: bundleLeaf(0).Bundle,
		Salt: salt, Warrant: "a.b.c", Targets: targets})
	which, _ := proof.MarksOf(recorded, salt, targets[0])
	w := newWorld(t)
	w.add(bundleLeaf(0))
	c := w.add(recorded)
	w.add(proof.ReleasedLeaf(noon, c, [32]byte{1}, which), proof.NoticedLeaf(noon, c, salt))
	old := w.add(recorded) // before format 5 a release opened all
	w.add(proof.ReleasedLeaf(noon, old, [32]byte{1}, nil), proof.NoticedLeaf(noon, old, salt))
	annulled := proof.RecordedLeaf(noon, proof.Facets{Jurisdiction: "GB", OffenceClass: "stalking", WarrantKind: proof.Annulment, Bundle: bundleLeaf(0).Bundle,
		Salt: salt, Warrant: "a.b.d"})
	annulled.Case, annulled.Which = &c, which
	w.add(annulled)
	annulled.Case, annulled.Which = &old, nil // all of it
	w.add(annulled)
	for name, want := range map[string]proof.Notices{
		"pen1opened": {Opened: []int64{c, old}, Named: []int64{}, Annulled: []int64{c, old}},
		"pen1named":  {Opened: []int64{old}, Named: []int64{c}, Annulled: []int64{old}},
		"pen1other":  {Opened: []int64{}, Named: []int64{}},
	} {
		got, err := proof.FindNotices(t.Context(), w.tiles(w.files()), w.checkpoint(int64(len(w.leaves))).Tree, name, "forum")
		if err != nil || !slices.Equal(got.Opened, want.Opened) || !slices.Equal(got.Named, want.Named) || !slices.Equal(got.Annulled, want.Annulled) || len(got.Lapsed) > 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
