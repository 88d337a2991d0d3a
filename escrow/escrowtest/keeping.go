package escrowtest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/issue"

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
func TestKeeping(t *testing.T, issuing issue.Keys, disclosing disclose.Keys, keeping keep.Keys) {
	k := &keepingSuite{t, issuing, disclosing, keeping}
	k.versions(1, 1)
	var old []keep.Half
	for i := range 300 { // more than one batch
		label := fmt.Sprint("label-", i)
		old = append(old, keep.Half{Label: label, Wrapped: k.wrap(label, label+" half")})
	}
	ctx := t.Context()
	link, err := issuing.WrapLink(ctx, "pen1a", []byte("link"))
	k.must(err)
	macs, err := issuing.MAC(ctx, "pseudonym", []byte("person"))
	k.must(err)

	moved := k.rotated(old, link)
	k.retired(old)
	for i, h := range old[:3] {
		k.opens(h.Label, moved[i], h.Label+" half")
	}
	k.opens("fresh", k.wrap("fresh", "half"), "half")

	// The other keys did not move: a rotation renames nobody.
	if again, err := issuing.MAC(ctx, "pseudonym", []byte("person")); err != nil || !bytes.Equal(again[0], macs[0]) {
		t.Error("a pen name changed:", err)
	}
	if got, err := OpenLink(ctx, disclosing, "pen1a", link); err != nil || string(got) != "link" {
		t.Error("a link was lost:", err)
	}
	k.bounded(old)
	k.versions(2, 2)
}

// keepingSuite is the three sides of one key service.
type keepingSuite struct {
	*testing.T
	issuing    issue.Keys
	disclosing disclose.Keys
	keeping    keep.Keys
}

func (k *keepingSuite) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err, cause(err))
	}
}

func (k *keepingSuite) versions(oldest, newest int) {
	k.Helper()
	if o, n, err := k.keeping.Versions(k.Context()); err != nil || o != oldest || n != newest {
		k.Fatalf("versions %d to %d, %v; want %d to %d", o, n, err, oldest, newest)
	}
}

func (k *keepingSuite) wrap(label, half string) string {
	k.Helper()
	wrapped, err := k.issuing.WrapHalf(k.Context(), label, []byte(half))
	k.must(err)
	return wrapped
}

func (k *keepingSuite) opens(label, half, want string) {
	k.Helper()
	if got, err := UnwrapHalf(k.Context(), k.disclosing, label, half); err != nil || string(got) != want {
		k.Fatalf("%s: %x, %v", label, got, err)
	}
}

// rotated makes the second version and moves every half to it.
func (k *keepingSuite) rotated(old []keep.Half, link string) (moved []string) {
	ctx := k.Context()
	k.must(k.keeping.Rotate(ctx))
	k.versions(1, 2)
	k.opens("label-0", old[0].Wrapped, "label-0 half") // old data stays readable (F37)
	moved, err := k.keeping.Rewrap(ctx, old)
	k.must(err)
	for i, h := range old {
		if !strings.Contains(moved[i], ":v2:") || moved[i] == h.Wrapped {
			k.Fatalf("%s was not moved", h.Label)
		}
		k.opens(h.Label, moved[i], h.Label+" half")
	}
	if again, err := k.keeping.Rewrap(ctx, []keep.Half{{Label: "label-0", Wrapped: moved[0]}}); err != nil {
		k.Error("a half cannot be rewrapped twice:", err)
	} else {
		k.opens("label-0", again[0], "label-0 half")
	}
	k.Run("D07 another label's half is not moved", func(t *testing.T) {
		for _, h := range []keep.Half{{Label: "label-1", Wrapped: old[0].Wrapped}, {Label: "label-0", Wrapped: old[0].Wrapped[:40]}, {Label: "label-0", Wrapped: link}} {
			_, err := k.keeping.Rewrap(t.Context(), []keep.Half{old[2], h})
			refused(t, err, refusal.Invalid, "keys.decrypt_failed", h.Wrapped)
		}
		_, err := k.keeping.Rewrap(t.Context(), []keep.Half{{Label: "", Wrapped: old[0].Wrapped}})
		if refusal.Of(err) == nil {
			t.Error("no label")
		}
	})
	if k.keeping.Retire(ctx, 3) == nil {
		k.Error("the newest version was retired")
	}
	k.opens("label-0", moved[0], "label-0 half")
	return moved
}

// retired ends the first version: what is under it is gone.
func (k *keepingSuite) retired(old []keep.Half) {
	k.must(k.keeping.Retire(k.Context(), 2))
	k.versions(2, 2)
	k.must(k.keeping.Retire(k.Context(), 2)) // again, as after a lost answer
	k.versions(2, 2)
	k.Run("D08 an old half does not open at all", func(t *testing.T) {
		ctx := t.Context()
		for _, h := range old {
			if got, err := UnwrapHalf(ctx, k.disclosing, h.Label, h.Wrapped); err == nil {
				t.Fatalf("opened %x", got)
			}
			if _, err := k.keeping.Rewrap(ctx, []keep.Half{h}); err == nil {
				t.Fatal("an old half was moved")
			}
		}
		_, err := UnwrapHalf(ctx, k.disclosing, old[0].Label, old[0].Wrapped)
		refused(t, err, refusal.Invalid, "keys.archived", old[0].Wrapped)
	})
}

// bounded checks what the keeping side cannot do, and that it does nothing for a
// caller who gave up.
func (k *keepingSuite) bounded(old []keep.Half) {
	if _, ok := any(k.keeping).(interface {
		UnwrapHalves(context.Context, []disclose.Wrapped) ([][]byte, error)
	}); ok {
		k.Error("the keeping side can open a half")
	}
	if _, ok := any(k.keeping).(interface {
		WrapHalf(context.Context, string, []byte) (string, error)
	}); ok {
		k.Error("the keeping side can wrap")
	}
	cancelled, cancel := context.WithCancel(k.Context())
	cancel()
	_, _, err := k.keeping.Versions(cancelled)
	refused(k.T, err, refusal.Unavailable, "keys.unavailable")
	refused(k.T, k.keeping.Rotate(cancelled), refusal.Unavailable, "keys.unavailable")
	refused(k.T, k.keeping.Retire(cancelled, 2), refusal.Unavailable, "keys.unavailable")
	_, err = k.keeping.Rewrap(cancelled, old[:1])
	refused(k.T, err, refusal.Unavailable, "keys.unavailable")
}
