package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
)

// after is a draft of the bundle that comes after w's, parsed.
func (w *world) after(t testing.TB, changes ...func(*Bundle)) *Bundle {
	t.Helper()
	return newWorld(t, append([]func(*Bundle){func(b *Bundle) { b.Succeed(w.bundle) }}, changes...)...).bundle
}

func (w *world) endorse(t testing.TB, b *Bundle) (all []string) {
	t.Helper()
	for i, k := range w.custodians[:2] {
		raw, err := SignEndorsement(k, w.bundle.Custodians[i].ID, b.Hash(), now)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw)
	}
	return all
}

// A bundle says which place it is for, and its custodians endorse it for that one.
func TestABundleFollowsOneOther(t *testing.T) {
	v1 := newWorld(t)
	first := newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	second := &world{bundle: first.after(t), custodians: first.custodians}
	third := second.after(t)
	for name, c := range map[string]struct {
		b, previous *Bundle
		want        error
	}{
		"the first":                       {first.bundle, nil, nil},
		"the second":                      {second.bundle, first.bundle, nil},
		"the third":                       {third, second.bundle, nil},
		"a second as the first":           {second.bundle, nil, ErrNotNext},
		"a first after another":           {newWorld(t, func(b *Bundle) { b.Succeed(nil); b.MaxTargets-- }).bundle, first.bundle, ErrNotNext},
		"O2 the older one again":          {first.bundle, second.bundle, ErrNotNext},
		"itself":                          {second.bundle, second.bundle, ErrNotNext},
		"one left out":                    {third, first.bundle, ErrNotNext},
		"a rival, when the other is in":   {first.after(t, func(b *Bundle) { b.MaxTargets-- }), second.bundle, ErrNotNext},
		"the number of another":           {first.after(t, func(b *Bundle) { b.Number = 3 }), first.bundle, ErrNotNext},
		"version 1, first":                {v1.bundle, nil, nil},
		"version 1 after version 1":       {newWorld(t, func(b *Bundle) { b.MaxTargets-- }).bundle, v1.bundle, nil},
		"version 1 twice":                 {v1.bundle, v1.bundle, ErrNotNext},
		"version 1 after version 2":       {v1.bundle, first.bundle, ErrNotNext},
		"version 2 after version 1":       {v1.after(t), v1.bundle, nil},
		"version 2 as if nothing were in": {first.bundle, v1.bundle, ErrNotNext},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.b.Follows(c.previous, first.endorse(t, c.b)); !errors.Is(err, c.want) {
				t.Fatal(err, "not", c.want)
			}
			if err := c.b.Follows(c.previous, nil); c.want == nil && !errors.Is(err, ErrNotEndorsed) {
				t.Fatal("endorsed by nobody:", err)
			}
		})
	}
	err := third.IsNext(first.bundle)
	if cause := errors.Unwrap(err); cause == nil || !strings.Contains(cause.Error(), "number 2") || !strings.Contains(cause.Error(), first.bundle.Hash()) {
		t.Error("nobody is told what is expected:", cause)
	}
}

// What says nothing, or two things, about its place is no bundle.
func TestAPlaceThatIsNone(t *testing.T) {
	first := newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	leaf, other := int64(7), int64(-1)
	for name, change := range map[string]func(*Bundle){
		"no number":                 func(b *Bundle) { b.Number = 0 },
		"a negative number":         func(b *Bundle) { b.Number = -1 },
		"number 1 with predecessor": func(b *Bundle) { b.Number = 1 },
		"number 2 without":          func(b *Bundle) { b.Predecessor = "" },
		"no hash":                   func(b *Bundle) { b.Predecessor = "yesterday's" },
		"version 0":                 func(b *Bundle) { b.Version = 0 },
		"version 1 with a number":   func(b *Bundle) { b.Version = 1 },
		"version 1 with a stop":     func(b *Bundle) { b.Version, b.Number, b.Predecessor, b.Stops = 1, 0, "", []Stop{{Case: &leaf}} },
		"a first one that stops":    func(b *Bundle) { b.Succeed(nil); b.Stops = []Stop{{Case: &leaf}} },
		"version 1 with a daily number": func(b *Bundle) {
			b.Version, b.Number, b.Predecessor, b.Authorities[0].DailyWarrants = 1, 0, "", 5
		},
		"a stop of nothing":          func(b *Bundle) { b.Stops = []Stop{{}} },
		"a stop of two things":       func(b *Bundle) { b.Stops = []Stop{{Case: &leaf, Authority: "crown-court"}} },
		"a stop of no leaf":          func(b *Bundle) { b.Stops = []Stop{{Case: &other}} },
		"a stop of no id":            func(b *Bundle) { b.Stops = []Stop{{Authority: "The Court"}} },
		"one stop twice":             func(b *Bundle) { b.Stops = []Stop{{Case: &leaf}, {Case: &leaf}} },
		"one authority's stop twice": func(b *Bundle) { b.Stops = []Stop{{Authority: "crown-court"}, {Authority: "crown-court"}} },
	} {
		draft := first.draft(t)
		draft.Succeed(first.bundle)
		change(draft)
		if _, err := draft.Marshal(); !errors.Is(err, ErrBundleMalformed) {
			t.Error(name, err)
		}
	}
}

func TestStops(t *testing.T) {
	first := newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	leaf := int64(7)
	second := &world{bundle: first.after(t, func(b *Bundle) { b.Stops = []Stop{{Case: &leaf}, {Authority: "prosecutor"}} })}
	third := second.after(t)
	later := []*Bundle{second.bundle, third} // it stays stopped under those that do not name it
	for name, c := range map[string]struct {
		later     []*Bundle
		leaf      int64
		authority string
		want      error
	}{
		"the case":                    {later, 7, "crown-court", ErrStopped},
		"a case of that authority":    {later, 9, "prosecutor", ErrStopped},
		"another case":                {later, 8, "crown-court", nil},
		"a case recorded afterwards":  {later[1:], 9, "prosecutor", nil},
		"a case under the first rule": {nil, 7, "crown-court", nil},
	} {
		if err := Stopped(c.later, c.leaf, c.authority, nil); !errors.Is(err, c.want) {
			t.Error(name, err)
		}
	}
	if r := second.bundle.AuditRules(); len(r.Stops) != 1 || r.Stops[0] != 7 || !r.SaysQuorum {
		t.Errorf("%+v", r)
	}
}

// An endorsement is for one place: what custodians signed for version 2 counts
// for no other spelling of the same rules.
func TestAnEndorsementIsForOnePlace(t *testing.T) {
	first := newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	second := first.after(t)
	elsewhere := newWorld(t, func(b *Bundle) { b.Succeed(second) }).bundle // the same rules, one place on
	if err := elsewhere.Follows(second, first.endorse(t, second)); !errors.Is(err, ErrBadEndorsement) {
		t.Error(err)
	}
}

// The members of a version are what its reader knows: no more.
func TestUnknownMembersOfABundleAreRefused(t *testing.T) {
	first := newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	raw, err := first.bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	members["compartments"] = json.RawMessage(`[]`)
	more, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseBundle(more); !errors.Is(err, ErrBundleMalformed) {
		t.Error(err)
	}
}

// A bundle of a later version of the format is refused as that, whatever else is in it: who
// reads it needs a newer program, and nobody did anything wrong. It is never read as if it
// were of a version that is known.
func TestABundleOfALaterFormatIsRefused(t *testing.T) {
	raw, err := newWorld(t, func(b *Bundle) { b.Succeed(nil) }).bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		version int
		member  string
		want    error
	}{
		"this version":               {CurrentVersion, "", nil},
		"a later one":                {CurrentVersion + 1, "", ErrBundleVersion},
		"a later one, with a member": {CurrentVersion + 1, "quorums", ErrBundleVersion},
		"with a member":              {CurrentVersion, "quorums", ErrBundleMalformed},
		"of none":                    {0, "", ErrBundleMalformed},
		"below all":                  {-1, "", ErrBundleMalformed},
	} {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			t.Fatal(err)
		}
		members["version"] = json.RawMessage(strconv.Itoa(tc.version))
		if tc.member != "" {
			members[tc.member] = json.RawMessage(`[]`)
		}
		other, err := json.Marshal(members)
		if err == nil && tc.member == "" { // in the order that is canonical
			other = bytes.Replace(raw, []byte(`"version":`+strconv.Itoa(CurrentVersion)), []byte(`"version":`+strconv.Itoa(tc.version)), 1)
		}
		if _, perr := ParseBundle(other); err != nil || !errors.Is(perr, tc.want) {
			t.Errorf("%s: %v, %v", name, err, perr)
		}
	}
}

// R3: since version 2 every authority has a daily number; no limit is none.
func TestFoundR3EveryAuthorityHasADailyNumber(t *testing.T) {
	for number, want := range map[int]error{-1: ErrBundleLimits, 0: ErrBundleLimits, 1: nil, maxDailyWarrants: nil, maxDailyWarrants + 1: ErrBundleLimits} {
		draft := newWorld(t).draft(t)
		draft.Succeed(nil)
		withRecipients(t, draft)
		draft.Authorities[1].DailyWarrants = number
		if _, err := draft.Marshal(); !errors.Is(err, want) {
			t.Errorf("%d: %v", number, err)
		}
	}
	before := newWorld(t).bundle
	draft := *before
	draft.Succeed(before)
	if before.Authorities[0].DailyWarrants != 0 || draft.Authorities[0].DailyWarrants != DefaultDailyWarrants {
		t.Error("a draft changes the bundle that it follows, or has no number")
	}
}
