package command

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
)

// Rules whose registry key is another one end platforms, and a stop of a platform that
// there is not stops nothing: both are seen at install.
func TestWhatRulesDoToPlatforms(t *testing.T) {
	d := drafting{t, t.TempDir()}
	draft := filepath.Join(d.dir, "draft.toml")
	operator(t, 0, append(d.flags(), "--out", draft)...)
	rules := func(change func(*policy.Bundle)) *policy.Bundle {
		t.Helper()
		b, err := readDraft(draft)
		if err != nil {
			t.Fatal(err)
		}
		seats(d, b)
		b.Succeed(nil)
		change(b)
		raw, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if b, err = policy.ParseBundle(raw); err != nil {
			t.Fatal(err)
		}
		return b
	}
	inForce := rules(func(*policy.Bundle) {})
	key, err := secretfile.ReadKey(filepath.Join(d.dir, "registry.jwk"))
	if err != nil {
		t.Fatal(err)
	}
	var registered []policy.LoggedPlatform
	for i, id := range []string{"forum", "gone", "square"} {
		signed, err := policy.SignPlatform(key, policy.PlatformRecord{Version: 1, ID: id, Number: 1, Name: id, Client: policy.ClientHash(nil), Retired: id == "gone"})
		if err != nil {
			t.Fatal(err)
		}
		registered = append(registered, policy.LoggedPlatform{Signed: signed, Leaf: int64(i), Day: time.Now().UTC().Format(time.DateOnly)})
	}
	_, other := d.key("other")
	swap := func(b *policy.Bundle) {
		if b.Registry.Keys, err = os.ReadFile(other); err != nil {
			t.Fatal(err)
		}
		b.Registry.Keys = []byte(`{"keys":[` + string(b.Registry.Keys) + `]}`)
	}
	stop := func(b *policy.Bundle) {
		b.Number, b.Predecessor = 2, inForce.Hash()
		b.Stops = []policy.Stop{{Platform: "square"}, {Platform: "town-square"}, {Platform: "squair"}}
	}
	for name, c := range map[string]struct {
		next           *policy.Bundle
		inForce        *policy.Bundle
		ended, unknown []string
	}{
		"the same key":          {next: rules(func(*policy.Bundle) {}), inForce: inForce},
		"another key":           {next: rules(swap), inForce: inForce, ended: []string{"forum", "square"}},
		"no rules were before":  {next: rules(swap)},
		"no registry":           {next: rules(func(b *policy.Bundle) { b.Registry = nil }), inForce: inForce, ended: []string{"forum", "square"}},
		"ended before":          {next: rules(swap), inForce: rules(swap)},
		"stops, one is unknown": {next: rules(stop), inForce: inForce, unknown: []string{"squair"}},
	} {
		if ended, unknown := platformsUnder(c.next, c.inForce, registered); !slices.Equal(ended, c.ended) || !slices.Equal(unknown, c.unknown) {
			t.Errorf("%s: %v %v", name, ended, unknown)
		}
	}
}
