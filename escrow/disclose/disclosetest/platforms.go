package disclosetest

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// Registry is a registry in m, of which only the stores are set.
func (m *Memory) Registry() disclose.Registry {
	return disclose.Registry{Append: m.appendPlatform, Of: m.platformsOf, After: m.platformsAfter}
}

func (m *Memory) appendPlatform(_ context.Context, e disclose.PlatformEntry, leaf proof.Leaf, after int64) (policy.LoggedPlatform, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.platforms {
		if p.Signed == e.Signed {
			return p, nil
		}
	}
	newest := int64(-1)
	if n := len(m.platforms); n > 0 {
		newest = m.platforms[n-1].Leaf
	}
	if newest != after {
		return policy.LoggedPlatform{}, disclose.ErrRegistryMoved
	}
	index, err := m.append(leaf)
	p := policy.LoggedPlatform{Signed: e.Signed, Countersigned: append([]string{}, e.Countersigned...), Leaf: index, Day: leaf.Day}
	if err == nil {
		m.platforms = append(m.platforms, p)
	}
	return p, err
}

func (m *Memory) platformsOf(_ context.Context, ids ...string) (all []policy.LoggedPlatform, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.platforms {
		r, err := policy.ParsePlatform(p.Signed)
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 || slices.Contains(ids, r.ID) {
			all = append(all, p)
		}
	}
	return all, nil
}

func (m *Memory) platformsAfter(_ context.Context, leaf int64, n int) ([]policy.LoggedPlatform, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, _ := slices.BinarySearchFunc(m.platforms, leaf+1, func(p policy.LoggedPlatform, at int64) int { return cmp.Compare(p.Leaf, at) })
	return slices.Clone(m.platforms[from:min(from+n, len(m.platforms))]), nil
}

// Sign signs a record as the operator does: policy.SignPlatform with a registry key.
type Sign func(policy.PlatformRecord) (string, error)

// NewPlatform is the first record of a platform, and the settings of
// its client.
func NewPlatform(t testing.TB, sign Sign, id string, edit ...func(*policy.PlatformRecord)) disclose.PlatformEntry {
	t.Helper()
	client := []byte("settings of " + id)
	r := policy.PlatformRecord{Version: 1, ID: id, Number: 1, Name: "The " + id, Origins: []string{"https://" + id + ".example"}, Client: policy.ClientHash(client)}
	for _, e := range edit {
		e(&r)
	}
	signed, err := sign(r)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	parsed, err := policy.ParsePlatform(signed)
	if err != nil {
		t.Fatal(err)
	}
	return disclose.PlatformEntry{Record: parsed, Signed: signed, Client: client}
}

// TestPlatforms is the suite of the stores of a registry. Each that open returns is
// empty.
func TestPlatforms(t *testing.T, sign Sign, open func(*testing.T) (Store, disclose.Registry)) {
	s, r := open(t)
	ctx := t.Context()
	add := func(e disclose.PlatformEntry, after int64) policy.LoggedPlatform {
		t.Helper()
		return must[policy.LoggedPlatform](t)(r.Append(ctx, e, proof.PlatformLeaf(Day, e.Signed, e.Countersigned), after))
	}
	if all, err := r.Of(ctx); err != nil || len(all) != 0 {
		t.Fatalf("%v, %v", all, err)
	}
	first := NewPlatform(t, sign, "town-square")
	one := add(first, -1)
	second := NewPlatform(t, sign, "market")
	if _, err := r.Append(ctx, second, proof.PlatformLeaf(Day, second.Signed, second.Countersigned), -1); !errors.Is(err, disclose.ErrRegistryMoved) {
		t.Errorf("decided without the first: %v", err)
	}
	two := add(second, one.Leaf)
	next := NewPlatform(t, sign, "town-square", func(r *policy.PlatformRecord) { *r = first.Record.Successor(); r.Name = "The new square" })
	next.Countersigned = []string{"by nobody"}
	three := add(next, two.Leaf)
	// A repeat whose answer was lost appends nothing, whatever came since.
	if again := add(first, -1); !reflect.DeepEqual(again, one) {
		t.Errorf("%+v, not %+v", again, one)
	}
	if n := must[int64](t)(s.Size(ctx)); n != 3 {
		t.Errorf("%d leaves", n)
	}
	raw := must[[][]byte](t)(s.Leaves(ctx, three.Leaf, three.Leaf+1))
	if l := must[proof.Leaf](t)(proof.ParseLeaf(raw[0])); l.Kind != proof.KindPlatform || l.Package != proof.PlatformDigest(next.Signed, next.Countersigned) || l.Day != three.Day {
		t.Errorf("the leaf is %s", raw[0])
	}
	for name, c := range map[string]struct {
		got  func() ([]policy.LoggedPlatform, error)
		want []policy.LoggedPlatform
	}{
		"all":               {func() ([]policy.LoggedPlatform, error) { return r.Of(ctx) }, []policy.LoggedPlatform{one, two, three}},
		"one of them":       {func() ([]policy.LoggedPlatform, error) { return r.Of(ctx, "town-square", "none") }, []policy.LoggedPlatform{one, three}},
		"the first page":    {func() ([]policy.LoggedPlatform, error) { return r.After(ctx, -1, 2) }, []policy.LoggedPlatform{one, two}},
		"the page after it": {func() ([]policy.LoggedPlatform, error) { return r.After(ctx, two.Leaf, 2) }, []policy.LoggedPlatform{three}},
	} {
		if got := must[[]policy.LoggedPlatform](t)(c.got()); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, not %+v", name, got, c.want)
		}
	}
}
