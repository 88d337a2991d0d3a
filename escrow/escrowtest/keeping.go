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

// RecordKey is Vault's path of an operation with the record key that wrapped a half, and the
// half as Vault made it.
func RecordKey(operation, half string) (path, wrapped string) {
	group, wrapped := keep.GroupOf(half)
	if group == 0 {
		return "penname-transit/" + operation + "/penname-record", wrapped
	}
	return fmt.Sprintf("penname-groups/%s/penname-record-%d", operation, group), wrapped
}

// TestKeeping is the conformance suite of the keeping side of a key service,
// whose other two sides share its keys. It uses up versions of the record keys of group 0,
// which must be at its first, and of groups 7 and 17, which must have none.
func TestKeeping(t *testing.T, issuing interface {
	issue.Keys
	WrapHalfIn(ctx context.Context, group int, label string, k1 []byte) (string, error)
}, disclosing disclose.Keys, keeping keep.Keys) {
	other := &keepingSuite{t, issuing, issuing.WrapHalfIn, disclosing, keeping, 7}
	other.opened()
	elsewhere := other.wrap("elsewhere", "half")
	for _, group := range []int{0, 17} {
		t.Run(fmt.Sprint("group ", group), func(t *testing.T) {
			k := &keepingSuite{t, issuing, issuing.WrapHalfIn, disclosing, keeping, group}
			if group > 0 {
				k.opened()
			}
			k.rotates()
			k.grouped(elsewhere)
		})
	}
	// What happened to two groups is nothing to a third: a copy of before it opens.
	other.versions(1, 1)
	other.opens("elsewhere", elsewhere, "half")
}

// keepingSuite is the three sides of one key service, and a group.
type keepingSuite struct {
	*testing.T
	issuing    issue.Keys
	wrapIn     func(ctx context.Context, group int, label string, k1 []byte) (string, error)
	disclosing disclose.Keys
	keeping    keep.Keys
	group      int
}

// opened makes the key of a group, under which nothing could be wrapped before.
func (k *keepingSuite) opened() {
	ctx := k.Context()
	k.versions(0, 0)
	_, err := k.wrapIn(ctx, k.group, "label", []byte("half"))
	refused(k.T, err, refusal.Unavailable, "keys.rollback")
	refused(k.T, k.keeping.Open(ctx, 0), refusal.Invalid, "keys.bad_input")
	k.must(k.keeping.Open(ctx, k.group))
	half := k.wrap("label", "half")
	k.must(k.keeping.Open(ctx, k.group)) // again, as after a lost answer: it stays
	k.versions(1, 1)
	k.opens("label", half, "half")
}

// rotates takes a group through a whole rotation.
func (k *keepingSuite) rotates() {
	k.versions(1, 1)
	var old []keep.Half
	for i := range 300 { // more than one batch
		label := fmt.Sprint("label-", i)
		old = append(old, keep.Half{Label: label, Wrapped: k.wrap(label, label+" half")})
	}
	ctx := k.Context()
	link, err := k.issuing.WrapLink(ctx, "pen1a", []byte("link"))
	k.must(err)
	macs, err := k.issuing.MAC(ctx, "pseudonym", []byte("person"))
	k.must(err)

	moved := k.rotated(old, link)
	k.retired(old)
	for i, h := range old[:3] {
		k.opens(h.Label, moved[i], h.Label+" half")
	}
	k.opens("fresh", k.wrap("fresh", "half"), "half")

	// The other keys did not move: a rotation renames nobody.
	if again, err := k.issuing.MAC(ctx, "pseudonym", []byte("person")); err != nil || !bytes.Equal(again[0], macs[0]) {
		k.Error("a pen name changed:", err)
	}
	if got, err := OpenLink(ctx, k.disclosing, "pen1a", link); err != nil || string(got) != "link" {
		k.Error("a link was lost:", err)
	}
	k.bounded(old)
	k.versions(2, 2)
}

// grouped checks that a half is of one group, and names it in one way.
func (k *keepingSuite) grouped(elsewhere string) {
	ctx := k.Context()
	_, wrapped := keep.GroupOf(k.wrap("label", "half"))
	k.opens("label", keep.InGroup(k.group, wrapped), "half")
	number := fmt.Sprint(k.group)
	wrong := []string{"g0:" + wrapped, "g0" + number + ":" + wrapped, "g+" + number + ":" + wrapped, "G" + number + ":" + wrapped, "g" + number + "::" + wrapped,
		"g7:" + wrapped, "g999:" + wrapped, "g9999999999:" + wrapped, "g7:g" + number + ":" + wrapped, " " + wrapped}
	if k.group > 0 {
		wrong = append(wrong, wrapped)
	}
	for _, text := range wrong {
		_, err := UnwrapHalf(ctx, k.disclosing, "label", text)
		refused(k.T, err, refusal.Invalid, "keys.decrypt_failed", text)
		_, err = k.keeping.Rewrap(ctx, k.group, []keep.Half{{Label: "label", Wrapped: text}})
		refused(k.T, err, refusal.Invalid, "keys.decrypt_failed", text)
	}
	_, err := k.keeping.Rewrap(ctx, k.group, []keep.Half{{Label: "elsewhere", Wrapped: elsewhere}})
	refused(k.T, err, refusal.Invalid, "keys.decrypt_failed", elsewhere)
	halves, err := k.disclosing.UnwrapHalves(ctx, []disclose.Wrapped{{Name: "label", Text: keep.InGroup(k.group, wrapped)}, {Name: "elsewhere", Text: elsewhere}, {Name: "label", Text: keep.InGroup(k.group, wrapped)}})
	if err != nil || len(halves) != 3 || string(bytes.Join(halves, []byte(" "))) != "half half half" {
		k.Errorf("halves of two groups: %q, %v", halves, err)
	}
	if halves, err = k.disclosing.UnwrapHalves(ctx, []disclose.Wrapped{{Name: "elsewhere", Text: elsewhere}, {Name: "label", Text: "g999:" + wrapped}}); err == nil || halves != nil {
		k.Errorf("one of a group that is not there: %q, %v", halves, err)
	}
}
func (k *keepingSuite) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err, cause(err))
	}
}

func (k *keepingSuite) versions(oldest, newest int) {
	k.Helper()
	if o, n, err := k.keeping.Versions(k.Context(), k.group); err != nil || o != oldest || n != newest {
		k.Fatalf("versions %d to %d, %v; want %d to %d", o, n, err, oldest, newest)
	}
}

func (k *keepingSuite) wrap(label, half string) string {
	k.Helper()
	wrapped, err := k.wrapIn(k.Context(), k.group, label, []byte(half))
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
	k.must(k.keeping.Rotate(ctx, k.group))
	k.versions(1, 2)
	k.opens("label-0", old[0].Wrapped, "label-0 half") // old data stays readable (F37)
	moved, err := k.keeping.Rewrap(ctx, k.group, old)
	k.must(err)
	for i, h := range old {
		if !strings.Contains(moved[i], ":v2:") || moved[i] == h.Wrapped {
			k.Fatalf("%s was not moved", h.Label)
		}
		k.opens(h.Label, moved[i], h.Label+" half")
	}
	if again, err := k.keeping.Rewrap(ctx, k.group, []keep.Half{{Label: "label-0", Wrapped: moved[0]}}); err != nil {
		k.Error("a half cannot be rewrapped twice:", err)
	} else {
		k.opens("label-0", again[0], "label-0 half")
	}
	k.Run("D07 another label's half is not moved", func(t *testing.T) {
		for _, h := range []keep.Half{{Label: "label-1", Wrapped: old[0].Wrapped}, {Label: "label-0", Wrapped: old[0].Wrapped[:40]}, {Label: "label-0", Wrapped: link}} {
			_, err := k.keeping.Rewrap(t.Context(), k.group, []keep.Half{old[2], h})
			refused(t, err, refusal.Invalid, "keys.decrypt_failed", h.Wrapped)
		}
		_, err := k.keeping.Rewrap(t.Context(), k.group, []keep.Half{{Label: "", Wrapped: old[0].Wrapped}})
		if refusal.Of(err) == nil {
			t.Error("no label")
		}
	})
	if k.keeping.Retire(ctx, k.group, 3) == nil {
		k.Error("the newest version was retired")
	}
	k.opens("label-0", moved[0], "label-0 half")
	return moved
}

// retired ends the first version: what is under it is gone.
func (k *keepingSuite) retired(old []keep.Half) {
	k.must(k.keeping.Retire(k.Context(), k.group, 2))
	k.versions(2, 2)
	k.must(k.keeping.Retire(k.Context(), k.group, 2)) // again, as after a lost answer
	k.versions(2, 2)
	k.Run("D08 an old half does not open at all", func(t *testing.T) {
		ctx := t.Context()
		for _, h := range old {
			if got, err := UnwrapHalf(ctx, k.disclosing, h.Label, h.Wrapped); err == nil {
				t.Fatalf("opened %x", got)
			}
			if _, err := k.keeping.Rewrap(ctx, k.group, []keep.Half{h}); err == nil {
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
	_, _, err := k.keeping.Versions(cancelled, k.group)
	refused(k.T, err, refusal.Unavailable, "keys.unavailable")
	refused(k.T, k.keeping.Open(cancelled, 1), refusal.Unavailable, "keys.unavailable")
	refused(k.T, k.keeping.Rotate(cancelled, k.group), refusal.Unavailable, "keys.unavailable")
	refused(k.T, k.keeping.Retire(cancelled, k.group, 2), refusal.Unavailable, "keys.unavailable")
	_, err = k.keeping.Rewrap(cancelled, k.group, old[:1])
	refused(k.T, err, refusal.Unavailable, "keys.unavailable")
}
