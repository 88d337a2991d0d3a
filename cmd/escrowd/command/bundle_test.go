package command

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/escrow/seal/threshold"
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

// Cards give custodians of older rules a recipient, and change nothing else of them.
func TestCardsNameRecipients(t *testing.T) {
	d := drafting{t, t.TempDir()}
	draft := filepath.Join(d.dir, "draft.toml")
	operator(t, 0, append(d.flags(), "--out", draft)...)
	b, err := readDraft(draft)
	if err != nil {
		t.Fatal(err)
	}
	seats(d, b)
	named := slices.Clone(b.Custodians)
	b.Succeed(nil)
	exhibittest.Forget(b)
	b.Version = 3
	older, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	inForce := d.file("bundle.json", older)
	ceremony, err := threshold.GenerateCeremonyKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	card := func(name string, seat policy.Seat) string {
		raw, err := json.Marshal(seat)
		if err != nil {
			t.Fatal(err)
		}
		return d.file(name+".json", raw)
	}
	public, err := ceremony.Public().MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	seat := func(c policy.Custodian) policy.Seat {
		return policy.Seat{ID: c.ID, Name: c.Name, Organisation: c.Organisation, Key: c.Key, Ceremony: string(public), Recipient: c.Recipient}
	}
	alba, chidi, stranger, thief, bare := seat(named[0]), seat(named[1]), seat(named[0]), seat(named[0]), seat(named[1])
	stranger.ID, thief.Key, bare.Recipient = "mallory", named[1].Key, ""
	out := filepath.Join(d.dir, "next.json")
	for name, c := range map[string]struct {
		cards []string
		want  string // of the refusal; "": written
	}{
		"both":                      {[]string{card("alba", alba), card("chidi", chidi)}, ""},
		"none":                      {nil, "bundle.recipient"},
		"one":                       {[]string{card("alba", alba)}, "bundle.recipient"},
		"of nobody in these rules":  {[]string{card("alba", alba), card("mallory", stranger)}, "bundle.other_card"},
		"of another key":            {[]string{card("thief", thief), card("chidi", chidi)}, "bundle.other_card"},
		"made before there was one": {[]string{card("alba", alba), card("bare", bare)}, "bundle.recipient"},
	} {
		args := []string{"bundle", "write", inForce, "--after", inForce, "--out", out, "--force"}
		for _, file := range c.cards {
			args = append(args, "--card", file)
		}
		if c.want != "" {
			if said := operator(t, 1, args...); !strings.Contains(said, c.want) {
				t.Errorf("%s: %s", name, said)
			}
			continue
		}
		operator(t, 0, args...)
		raw, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		next, err := policy.ParseBundle(raw)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range next.Custodians {
			if c.Recipient != named[i].Recipient || c.ID != named[i].ID || !sameJSON(c.Key, named[i].Key) {
				t.Errorf("%s: %v", name, c)
			}
		}
	}
}
