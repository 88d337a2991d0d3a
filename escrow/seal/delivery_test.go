package seal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

func newDelivery(t tester) seal.DeliveryPrivate {
	d, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDelivery(t *testing.T) {
	d := newDelivery(t)
	info := seal.ShareInfo([32]byte{1}, seal.NewLabel(), "ombudsman")
	ct, err := seal.SealTo(d.Public(), info, []byte("a share"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := d.Open(info, ct); err != nil || string(p) != "a share" {
		t.Fatal(err)
	}
	// From the key file too.
	text, err := d.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := seal.ParseDeliveryKey(text)
	if err != nil || again.Public() != d.Public() {
		t.Fatal(err)
	}
	if p, err := again.Open(info, ct); err != nil || string(p) != "a share" {
		t.Fatal(err)
	}
}

func TestC18SealedToTheWrongKey(t *testing.T) {
	d, other := newDelivery(t), newDelivery(t)
	info := seal.HalvesInfo([32]byte{1}, "record")
	ct, err := seal.SealTo(other.Public(), info, []byte("halves"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Open(info, ct)
	refused(t, err, seal.ErrDelivery)
}

// A package for one warrant, record, custodian or purpose is no package for
// another.
func TestI13DeliveryIsBoundToItsPurpose(t *testing.T) {
	d := newDelivery(t)
	w, x := [32]byte{1}, [32]byte{2}
	infos := map[string][]byte{
		"a share":           seal.ShareInfo(w, "record", "a"),
		"another custodian": seal.ShareInfo(w, "record", "b"),
		"another record":    seal.ShareInfo(w, "other", "a"),
		"another warrant":   seal.ShareInfo(x, "record", "a"),
		"parts flow over":   seal.ShareInfo(w, "recor", "da"),
		"halves":            seal.HalvesInfo(w, "record"),
		"a delivery":        seal.DeliveryInfo("case"),
		"delivery, case":    seal.DeliveryInfo("other"),
		"halves, warrant":   seal.HalvesInfo(x, "record"),
		"halves, record":    seal.HalvesInfo(w, "other"),
		"nothing in info":   nil,
	}
	for sent, info := range infos {
		ct, err := seal.SealTo(d.Public(), info, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		for asked, info := range infos {
			p, err := d.Open(info, ct)
			if asked == sent {
				if err != nil || string(p) != "secret" {
					t.Fatal(sent, err)
				}
				continue
			}
			refused(t, err, seal.ErrDelivery)
		}
	}
}

func TestEachByteOfAPackageFlipped(t *testing.T) {
	d := newDelivery(t)
	ct, err := seal.SealTo(d.Public(), nil, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range ct {
		bad := bytes.Clone(ct)
		bad[i] ^= 1
		_, err := d.Open(nil, bad)
		refused(t, err, seal.ErrDelivery)
	}
	for _, n := range []int{0, 1, 31, 1119, 1120, 1121, len(ct) - 1} {
		_, err := d.Open(nil, ct[:n])
		refused(t, err, seal.ErrDelivery)
	}
	_, err = d.Open(nil, append(ct, 0))
	refused(t, err, seal.ErrDelivery)
}

func TestDeliveryKeysAreCanonical(t *testing.T) {
	d := newDelivery(t)
	text, err := d.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.SealTo(d.Public(), nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "pendk1.", d.Public()[:100], d.Public() + "A", d.Public() + "\n", " " + d.Public(), strings.Replace(d.Public(), "pendk1.", "pendk2.", 1), text} {
		_, err := seal.SealTo(bad, nil, nil)
		refused(t, err, seal.ErrDeliveryKey)
	}
	for _, bad := range []string{"", "pendsk1.", text[:20], text + "A", text + "\n", strings.Replace(text, "pendsk1.", "pendk1.", 1), d.Public()} {
		_, err := seal.ParseDeliveryKey(bad)
		refused(t, err, seal.ErrDeliveryKey)
	}
	var zero seal.DeliveryPrivate
	if zero.Public() != "" {
		t.Fatal("the zero key has a public part")
	}
	_, err = zero.Reveal()
	refused(t, err, seal.ErrDeliveryKey)
	_, err = zero.Open(nil, nil)
	refused(t, err, seal.ErrDeliveryKey)
}

func TestC24DeliveryKeyDoesNotPrint(t *testing.T) {
	d := newDelivery(t)
	text, err := d.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("key", "k", d)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb, d)
		fmt.Fprintf(&out, verb, &d)
		fmt.Fprintf(&out, verb, struct{ K seal.DeliveryPrivate }{d})
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	if s := out.String(); strings.Contains(s, text[8:20]) || !strings.Contains(s, "[redacted]") {
		t.Fatal(s)
	}
}

func FuzzDeliveryKey(f *testing.F) {
	d := newDelivery(f)
	text, err := d.Reveal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(d.Public())
	fuzzing.Run(f, func(t *testing.T, s string) {
		if k, err := seal.ParseDeliveryKey(s); err == nil {
			if again, err := k.Reveal(); err != nil || again != s {
				t.Fatal("a second encoding of a private key")
			}
		} else if refusal.Of(err) == nil {
			t.Fatal(err)
		}
		if _, err := document.ParseDeliveryKey(s); err == nil {
			if _, err := seal.SealTo(s, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}
