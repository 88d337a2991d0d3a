package escrowtest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/refusal"
)

// Keeping opens the keeping side and closes it at the end of the test.
func (v *VaultFixture) Keeping(t testing.TB) *vault.Keeping {
	t.Helper()
	keeping, err := vault.OpenKeeping(t.Context(), v.Config(t, vault.SideKeeping))
	if err != nil {
		t.Fatal(err, cause(err))
	}
	t.Cleanup(func() { keeping.Close(context.Background()) })
	return keeping
}

// TestKeeping is the conformance suite of the keeping side of a key service,
// whose other two sides share its keys. It uses up versions of the record key,
// which must be at its first.
func TestKeeping(t *testing.T, issuing IssuingKeys, disclosing disclose.Keys, keeping keep.Keys) {
	ctx := t.Context()
	versions := func(oldest, newest int) {
		t.Helper()
		if o, n, err := keeping.Versions(ctx); err != nil || o != oldest || n != newest {
			t.Fatalf("versions %d to %d, %v; want %d to %d", o, n, err, oldest, newest)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, cause(err))
		}
	}
	opens := func(label, half string, want []byte) {
		t.Helper()
		if got, err := UnwrapHalf(ctx, disclosing, label, half); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %x, %v", label, got, err)
		}
	}
	versions(1, 1)
	var old []keep.Half
	for i := range 300 { // more than one batch
		label := fmt.Sprint("label-", i)
		wrapped, err := issuing.WrapHalf(ctx, label, []byte(label+" half"))
		must(err)
		old = append(old, keep.Half{Label: label, Wrapped: wrapped})
	}
	link, err := issuing.WrapLink(ctx, "pen1a", []byte("link"))
	must(err)
	macs, err := issuing.MAC(ctx, "pseudonym", []byte("person"))
	must(err)

	must(keeping.Rotate(ctx))
	versions(1, 2)
	opens("label-0", old[0].Wrapped, []byte("label-0 half")) // old data stays readable (F37)
	moved, err := keeping.Rewrap(ctx, old)
	must(err)
	for i, h := range old {
		if !strings.Contains(moved[i], ":v2:") || moved[i] == h.Wrapped {
			t.Fatalf("%s was not moved", h.Label)
		}
		opens(h.Label, moved[i], []byte(h.Label+" half"))
	}
	if again, err := keeping.Rewrap(ctx, []keep.Half{{Label: "label-0", Wrapped: moved[0]}}); err != nil {
		t.Error("a half cannot be rewrapped twice:", err)
	} else {
		opens("label-0", again[0], []byte("label-0 half"))
	}

	t.Run("D07 another label's half is not moved", func(t *testing.T) {
		for _, h := range []keep.Half{{Label: "label-1", Wrapped: old[0].Wrapped}, {Label: "label-0", Wrapped: old[0].Wrapped[:40]}, {Label: "label-0", Wrapped: link}} {
			_, err := keeping.Rewrap(ctx, []keep.Half{old[2], h})
			refused(t, err, refusal.Invalid, "keys.decrypt_failed", h.Wrapped)
		}
		_, err := keeping.Rewrap(ctx, []keep.Half{{Label: "", Wrapped: old[0].Wrapped}})
		if refusal.Of(err) == nil {
			t.Error("no label")
		}
	})
	if keeping.Retire(ctx, 3) == nil {
		t.Error("the newest version was retired")
	}
	opens("label-0", moved[0], []byte("label-0 half"))

	must(keeping.Retire(ctx, 2))
	versions(2, 2)
	must(keeping.Retire(ctx, 2)) // again, as after a lost answer
	versions(2, 2)
	t.Run("D08 an old half does not open at all", func(t *testing.T) {
		for _, h := range old {
			if got, err := UnwrapHalf(ctx, disclosing, h.Label, h.Wrapped); err == nil {
				t.Fatalf("opened %x", got)
			}
			if _, err := keeping.Rewrap(ctx, []keep.Half{h}); err == nil {
				t.Fatal("an old half was moved")
			}
		}
		_, err := UnwrapHalf(ctx, disclosing, old[0].Label, old[0].Wrapped)
		refused(t, err, refusal.Invalid, "keys.archived", old[0].Wrapped)
	})
	for i, h := range old[:3] {
		opens(h.Label, moved[i], []byte(h.Label+" half"))
	}
	fresh, err := issuing.WrapHalf(ctx, "fresh", []byte("half"))
	must(err)
	opens("fresh", fresh, []byte("half"))

	// The other keys did not move: a rotation renames nobody.
	if again, err := issuing.MAC(ctx, "pseudonym", []byte("person")); err != nil || !bytes.Equal(again[0], macs[0]) {
		t.Error("a pen name changed:", err)
	}
	if got, err := OpenLink(ctx, disclosing, "pen1a", link); err != nil || string(got) != "link" {
		t.Error("a link was lost:", err)
	}
	if _, ok := any(keeping).(interface {
		UnwrapHalves(context.Context, []disclose.Wrapped) ([][]byte, error)
	}); ok {
		t.Error("the keeping side can open a half")
	}
	if _, ok := any(keeping).(interface {
		WrapHalf(context.Context, string, []byte) (string, error)
	}); ok {
		t.Error("the keeping side can wrap")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, _, err = keeping.Versions(cancelled)
	refused(t, err, refusal.Unavailable, "keys.unavailable")
	refused(t, keeping.Rotate(cancelled), refusal.Unavailable, "keys.unavailable")
	refused(t, keeping.Retire(cancelled, 2), refusal.Unavailable, "keys.unavailable")
	_, err = keeping.Rewrap(cancelled, old[:1])
	refused(t, err, refusal.Unavailable, "keys.unavailable")
	versions(2, 2)
}
