package policy

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

const waiting = 7

// registered is a world whose platforms are in the registry. The bundle lists none but
// the forum, which is carried over.
func registered(t testing.TB, changes ...func(*Bundle)) *world {
	return newWorld(t, append([]func(*Bundle){func(b *Bundle) {
		b.Succeed(nil)
		b.Platforms = b.Platforms[1:]
		b.Registry = &Registry{jwks(t, key("registry")), waiting}
	}}, changes...)...)
}

// entry is a record as it shall be logged: so many days ago, at a leaf.
type entry struct {
	days int
	leaf int64
	by   []jose.JSONWebKey // who countersigns
	edit func(*PlatformRecord)
}

// at is an entry of the town square.
func at(days int, leaf int64, edit func(*PlatformRecord), by ...jose.JSONWebKey) entry {
	return entry{days, leaf, by, edit}
}

// record is the first of the town square.
func record(t testing.TB, edit ...func(*PlatformRecord)) PlatformRecord {
	r := PlatformRecord{Version: 1, ID: square, Number: 1, Name: "Town Square", Origins: []string{"https://town-square.example"},
		Keys: jwks(t, key("square")), Client: ClientHash([]byte("{}"))}
	for _, e := range edit {
		e(&r)
	}
	return r
}

func parsedRecord(t testing.TB, signed string) *PlatformRecord {
	t.Helper()
	r, err := ParsePlatform(signed)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return r
}

func signedRecord(t testing.TB, k jose.JSONWebKey, r PlatformRecord) string {
	t.Helper()
	signed, err := SignPlatform(k, r)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return signed
}

// logged makes the records of entries, each after the one before it of its platform.
func logged(t testing.TB, entries ...entry) (all []LoggedPlatform) {
	t.Helper()
	newest := make(map[string]*PlatformRecord)
	for _, e := range entries {
		r := record(t)
		if e.edit != nil {
			e.edit(&r)
		}
		if before := newest[r.ID]; before != nil {
			r = before.Successor()
			if e.edit != nil {
				e.edit(&r)
			}
		}
		signed := signedRecord(t, key("registry"), r)
		newest[r.ID] = parsedRecord(t, signed)
		l := LoggedPlatform{Signed: signed, Leaf: e.leaf, Day: proof.Day(now.AddDate(0, 0, -e.days))}
		for _, k := range e.by {
			c, err := CountersignPlatform(k, signed)
			if err != nil {
				t.Fatal(err)
			}
			l.Countersigned = append(l.Countersigned, c)
		}
		all = append(all, l)
	}
	return all
}

func keys(t testing.TB, names ...string) func(*PlatformRecord) {
	var all []jose.JSONWebKey
	for _, n := range names {
		all = append(all, key(n))
	}
	return func(r *PlatformRecord) {
		if r.Keys = noKeys; len(all) > 0 {
			r.Keys = jwks(t, all...)
		}
	}
}

func stolen(kids ...string) func(*PlatformRecord) {
	return func(r *PlatformRecord) { r.Stolen = append(r.Stolen, kids...) }
}

func retired(r *PlatformRecord) { r.Retired = true }

// Evidence of three days ago under the key "square" is judged by what the registry says
// of its platform.
func TestEvidenceIsJudgedByTheRegistry(t *testing.T) {
	w := registered(t)
	v, evidence := w.production(t)
	v.DatedBack = "The evidence of the platform did not count yet."
	stop := &world{bundle: w.after(t, func(b *Bundle) {
		b.Platforms, b.Registry, b.Stops = b.Platforms[1:], w.bundle.Registry, []Stop{{Platform: square}}
	})}
	preserved := v
	preserved.ID, preserved.Kind, preserved.Fields, preserved.Requester.DeliveryKey = "T1", Preservation, nil, ""
	other := preserved
	other.Targets = []Target{{Pseudonym: v.Targets[0].Pseudonym, Platform: square, Evidence: digest("another")}}
	early, late := int64(40), int64(60)
	report := []entry{at(30, 10, nil), at(1, 50, func(r *PlatformRecord) { stolen("square")(r); keys(t)(r) })}
	for name, c := range map[string]struct {
		records     []entry
		recorded    *int64
		earlier     *Recorded
		bundle      *Bundle
		want        *refusal.Error
		names, from string // the earlier warrant that is named, and when to come back
	}{
		"a platform of long ago":                    {records: []entry{at(30, 10, nil)}},
		"one that nobody registered":                {want: ErrBadTarget},
		"another one":                               {records: []entry{at(30, 10, func(r *PlatformRecord) { r.ID = "market" })}, want: ErrBadTarget},
		"a young one":                               {records: []entry{at(6, 10, nil)}, want: ErrPlatformTooNew, from: "2026-03-03"},
		"on the day that it is old enough":          {records: []entry{at(7, 10, nil)}},
		"registered after the evidence":             {records: []entry{at(2, 10, nil)}, want: ErrBadEvidence},
		"without a key":                             {records: []entry{at(30, 10, keys(t))}, want: ErrBadEvidence},
		"a swapped key":                             {records: []entry{at(30, 10, keys(t, "old")), at(4, 20, keys(t, "square"))}, want: ErrKeyTooNew, from: "2026-03-05"},
		"a swapped key that waited":                 {records: []entry{at(30, 10, keys(t, "old")), at(8, 20, keys(t, "square"))}},
		"a new key that the old one countersigned":  {records: []entry{at(30, 10, keys(t, "old")), at(4, 20, keys(t, "square"), key("old"))}},
		"that an old key of a young platform did":   {records: []entry{at(5, 10, keys(t, "old")), at(4, 20, keys(t, "square"), key("old"))}, want: ErrPlatformTooNew, from: "2026-03-04"},
		"that a stranger countersigned":             {records: []entry{at(30, 10, keys(t, "old")), at(4, 20, keys(t, "square"), key("thief"))}, want: ErrKeyTooNew, from: "2026-03-05"},
		"that it countersigned itself":              {records: []entry{at(30, 10, keys(t, "old")), at(4, 20, keys(t, "square"), key("square"))}, want: ErrKeyTooNew, from: "2026-03-05"},
		"that a stolen key countersigned":           {records: []entry{at(30, 10, keys(t, "old")), at(4, 20, func(r *PlatformRecord) { keys(t, "square")(r); r.Stolen = []string{"old"}[:min(1, r.Number-1)] }, key("old"))}, want: ErrKeyTooNew, from: "2026-03-05"},
		"a key that went later":                     {records: []entry{at(30, 10, nil), at(2, 20, keys(t, "new"))}},
		"a key that went on that day":               {records: []entry{at(30, 10, nil), at(3, 20, keys(t, "new"))}},
		"a key that had gone":                       {records: []entry{at(30, 10, nil), at(4, 20, keys(t, "new"))}, want: ErrBadEvidence},
		"a platform that retired later":             {records: []entry{at(30, 10, nil), at(2, 20, retired)}},
		"one that had retired":                      {records: []entry{at(30, 10, nil), at(4, 20, func(r *PlatformRecord) { r.Retired = r.Number > 1 })}, want: ErrPlatformRetired},
		"one that is stopped":                       {records: []entry{at(30, 10, nil)}, bundle: stop.bundle, want: ErrPlatformStopped},
		"a stolen key":                              {records: report, want: ErrKeyStolen},
		"a stolen key, recorded before":             {records: report, recorded: &early},
		"a stolen key, recorded afterwards":         {records: report, recorded: &late, want: ErrKeyStolen},
		"a stolen key, preserved before":            {records: report, recorded: &late, earlier: &Recorded{Warrant: sign(t, w.court, preserved), Leaf: early}, names: "preserved"},
		"a stolen key, preserved afterwards":        {records: report, earlier: &Recorded{Warrant: sign(t, w.court, preserved), Leaf: late}, names: "preserved", want: ErrKeyStolen},
		"a stolen key, something else preserved":    {records: report, earlier: &Recorded{Warrant: sign(t, w.court, other), Leaf: early}, names: "other", want: ErrKeyStolen},
		"a stolen key, preserved and not named":     {records: report, earlier: &Recorded{Warrant: sign(t, w.court, preserved), Leaf: early}, want: ErrKeyStolen},
		"a stolen key, another warrant than named":  {records: report, earlier: &Recorded{Warrant: sign(t, w.court, preserved), Leaf: early}, names: "other", want: ErrNoEarlier},
		"a key reported stolen that is still there": {records: []entry{at(30, 10, nil), at(1, 50, func(r *PlatformRecord) { r.Stolen = []string{"square"}[:min(1, r.Number-1)] })}, want: ErrKeyStolen},
	} {
		t.Run(name, func(t *testing.T) {
			b, v := c.bundle, v
			if b == nil {
				b = w.bundle
			}
			v.Bundle = b.Hash()
			switch c.names {
			case "preserved":
				v.Earlier = digest(sign(t, w.court, preserved))
			case "other":
				v.Earlier = digest(sign(t, w.court, other))
			}
			p, err := NewPlatforms(logged(t, c.records...), b)
			if err != nil {
				t.Fatal(err, errors.Unwrap(err))
			}
			s := Submission{Warrant: sign(t, w.court, v), Evidence: evidence}
			if asks := b.AsksFor(s); !slices.Equal(asks, []string{square}) {
				t.Errorf("asks for %v", asks)
			}
			d := Decide(s, b, Facts{Platforms: p, Recorded: c.recorded, Earlier: c.earlier}, now)
			if c.want == nil {
				if !d.Allowed || len(d.Targets) != 1 || d.Targets[0].Registered.Platform.IsZero() {
					t.Fatal(d.Refusal, cause(d.Refusal), d.Targets)
				}
				return
			}
			wantRefused(t, d, c.want)
			var wait *WaitError
			if errors.As(d.Refusal, &wait) != (c.from != "") || wait != nil && wait.From.Format(time.DateOnly) != c.from {
				t.Errorf("to come back %v, not from %s", wait, c.from)
			}
			if wait == nil {
				return
			}
			// On the day that was named the same counts.
			v.Expiry = wait.From.AddDate(0, 0, 1)
			if d := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, b, Facts{Platforms: p, Recorded: c.recorded, Earlier: c.earlier}, wait.From); !d.Allowed {
				t.Error("and then:", d.Refusal)
			}
			wantRefused(t, Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, b, Facts{Platforms: p, Recorded: c.recorded, Earlier: c.earlier}, wait.From.Add(-time.Second)), c.want)
		})
	}
	t.Run("nobody's warrant asks for nothing", func(t *testing.T) {
		if asks := w.bundle.AsksFor(Submission{Warrant: sign(t, key("stranger"), v), Evidence: evidence}); asks != nil {
			t.Error(asks)
		}
	})
}

// A thief countersigns a key of theirs with the stolen one, before anybody reports it: from
// the report on that key waits like any new one, but for what the log held before.
func TestAStolenKeyVouchesForNoOther(t *testing.T) {
	w := registered(t)
	v, evidence := w.production(t)
	v.Bundle = w.bundle.Hash()
	report, early, late := at(1, 50, stolen("old")), int64(40), int64(60)
	old, next := at(30, 10, keys(t, "old")), at(4, 20, keys(t, "square"), key("old"))
	for name, c := range map[string]struct {
		records  []entry
		recorded *int64
		from     string // when to come back
	}{
		"before the report":            {records: []entry{old, next}},
		"after it":                     {records: []entry{old, next, report}, from: "2026-03-05"},
		"recorded before it":           {records: []entry{old, next, report}, recorded: &early},
		"recorded after it":            {records: []entry{old, next, report}, recorded: &late, from: "2026-03-05"},
		"after its own waiting time":   {records: []entry{old, at(8, 20, keys(t, "square"), key("old")), report}},
		"another key countersigned it": {records: []entry{at(30, 10, keys(t, "old", "other")), at(4, 20, keys(t, "square"), key("old"), key("other")), report}},
		"a key of the thief did, that waits too": {records: []entry{old, at(5, 15, keys(t, "middle"), key("old")), at(4, 20, keys(t, "square"), key("middle")), report},
			from: "2026-03-04"},
	} {
		p, err := NewPlatforms(logged(t, c.records...), w.bundle)
		if err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
		d := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, w.bundle, Facts{Platforms: p, Recorded: c.recorded, Earlier: nil}, now)
		if c.from == "" {
			if !d.Allowed {
				t.Error(name, d.Refusal)
			}
			continue
		}
		wantRefused(t, d, ErrKeyTooNew)
		var wait *WaitError
		if !errors.As(d.Refusal, &wait) || wait.From.Format(time.DateOnly) != c.from {
			t.Errorf("%s: to come back %v", name, wait)
		}
	}
}

// What a bundle lists was endorsed and need not wait, and what the registry says of it
// later counts all the same.
func TestPlatformsThatAreCarriedOver(t *testing.T) {
	w := registered(t)
	e := w.evidence(t, forum, "troll", 1, now.AddDate(0, 0, -3))
	v, _ := w.production(t)
	v.Targets = []Target{{Pseudonym: pseudonym(t, "troll"), Platform: forum, Evidence: digest(e)}}
	s := Submission{Warrant: sign(t, w.court, v), Evidence: []string{e}}
	id := func(edits ...func(*PlatformRecord)) func(*PlatformRecord) {
		return func(r *PlatformRecord) {
			r.ID = forum
			for _, edit := range edits {
				edit(r)
			}
		}
	}
	for name, c := range map[string]struct {
		records []entry
		key     bool // since when the key counts is known
		want    *refusal.Error
	}{
		"listed alone":                     {},
		"registered with its key":          {records: []entry{at(1, 10, id(keys(t, "wiki")))}},
		"registered with another key":      {records: []entry{at(2, 10, id(keys(t, "new")))}},
		"of which it was rid before":       {records: []entry{at(4, 10, id(keys(t, "new")))}, want: ErrBadEvidence},
		"reported stolen":                  {records: []entry{at(1, 10, id(stolen("wiki"), keys(t)))}, want: ErrKeyStolen},
		"retired before":                   {records: []entry{at(4, 10, id(retired, keys(t, "wiki")))}, want: ErrPlatformRetired},
		"another key under the kid it had": {records: []entry{at(30, 10, id(func(r *PlatformRecord) { k := key("thief"); k.KeyID = "wiki"; r.Keys = jwks(t, k) }))}},
	} {
		p, err := NewPlatforms(logged(t, c.records...), w.bundle)
		if err != nil {
			t.Fatal(name, err)
		}
		d := Decide(s, w.bundle, Facts{Platforms: p}, now)
		if c.want != nil {
			wantRefused(t, d, c.want)
		} else if !d.Allowed || !d.Targets[0].Registered.Platform.IsZero() || !d.Targets[0].Registered.Key.IsZero() {
			t.Error(name, d.Refusal, cause(d.Refusal), d.Targets)
		}
	}
	// Under rules without a registry nobody asks it.
	old := newWorld(t)
	v.Bundle, v.OffenceID, v.Requester.OrganisationID = old.bundle.Hash(), "", ""
	p, err := NewPlatforms(logged(t, at(1, 10, id(stolen("wiki"), keys(t)))), w.bundle)
	if err != nil {
		t.Fatal(err)
	}
	s.Warrant = sign(t, w.court, v)
	if d := Decide(s, old.bundle, Facts{Platforms: p}, now); !d.Allowed || old.bundle.AsksFor(s) != nil {
		t.Error("version 1:", d.Refusal)
	}
}

// A key that the bundle lists counts as the bundle says when the registry names it too,
// and a case as it was recorded.
func TestAKeyThatTheBundleListsIsEndorsed(t *testing.T) {
	w := registered(t)
	listed := registered(t, func(b *Bundle) {
		b.Platforms = append(b.Platforms, Platform{ID: square, Name: "Town Square", Keys: jwks(t, key("square"))})
	})
	has := func(names ...string) func(*PlatformRecord) { return keys(t, names...) }
	none, other, both := at(0, 10, has()), at(0, 10, has("new")), at(0, 20, has("new", "square"))
	early, late := int64(15), int64(60)
	for name, c := range map[string]struct {
		records  []entry
		recorded *int64
		want     *refusal.Error
		stolen   bool
	}{
		"the registry has another":             {records: []entry{other}},
		"it is added to another":               {records: []entry{other, both}},
		"the same, of a case from before":      {records: []entry{other, both}, recorded: &early},
		"the same, of a case from after it":    {records: []entry{other, both}, recorded: &late},
		"added first without keys, then with":  {records: []entry{none, at(0, 20, has("square"))}},
		"long ago without keys, now with":      {records: []entry{at(30, 10, has()), at(0, 20, has("square"))}},
		"long ago without, and still without":  {records: []entry{at(30, 10, has("new"))}, want: ErrBadEvidence},
		"added, and gone before the evidence":  {records: []entry{at(30, 10, has("new")), at(20, 20, has("new", "square")), at(4, 30, has("new"))}, want: ErrBadEvidence},
		"the same, of a case from between":     {records: []entry{at(30, 10, has("new")), at(20, 20, has("new", "square")), at(4, 30, has("new"))}, recorded: &[]int64{25}[0]},
		"added, and gone afterwards":           {records: []entry{other, both, at(0, 30, has("new"))}},
		"added, and reported stolen":           {records: []entry{other, both, at(0, 50, stolen("square"))}, want: ErrKeyStolen},
		"the same, recorded before the report": {records: []entry{other, both, at(0, 50, stolen("square"))}, recorded: &early, stolen: true},
		"the same, recorded after the report":  {records: []entry{other, both, at(0, 50, stolen("square"))}, recorded: &late, want: ErrKeyStolen},
		"reported stolen by the record adding it": {records: []entry{other, at(0, 50, func(r *PlatformRecord) {
			has("new", "square")(r)
			r.Stolen = []string{"square"}[:min(1, r.Number-1)]
		})}, want: ErrKeyStolen},
	} {
		v, evidence := w.production(t)
		v.Bundle = listed.bundle.Hash()
		p, err := NewPlatforms(logged(t, c.records...), w.bundle)
		if err != nil {
			t.Fatal(name, err, errors.Unwrap(err))
		}
		d := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, listed.bundle, Facts{Platforms: p, Recorded: c.recorded, Earlier: nil}, now)
		if c.want != nil {
			wantRefused(t, d, c.want)
		} else if !d.Allowed || !d.Targets[0].Registered.Platform.IsZero() || !d.Targets[0].Registered.Key.IsZero() || (d.Targets[0].Registered.Report() != "") != c.stolen {
			t.Error(name, d.Refusal, cause(d.Refusal), d.Targets)
		}
	}
}

// A record is of no use that does not follow the one before, or whose signer has no say.
func TestRecordsFollowOneAnother(t *testing.T) {
	w := registered(t)
	good := logged(t, at(30, 10, nil), at(20, 20, func(r *PlatformRecord) { r.Name = "The Square" }), at(10, 30, stolen("square")))
	forged := func(k jose.JSONWebKey, n int, edit func(*PlatformRecord)) []LoggedPlatform {
		all := slices.Clone(good[:n])
		r := parsedRecord(t, good[n-1].Signed).Successor()
		edit(&r)
		return append(all, LoggedPlatform{Signed: signedRecord(t, k, r), Leaf: 99, Day: "2026-03-01"})
	}
	registry := key("registry")
	gone := append(good[:1:1], LoggedPlatform{Leaf: 20, Day: "2026-02-10"})
	next := parsedRecord(t, good[0].Signed).Successor()
	next.Keys = jwks(t, key("new"))
	gone[1].Signed = signedRecord(t, registry, next)
	back := parsedRecord(t, gone[1].Signed).Successor()
	back.Keys = jwks(t, key("square"))
	renamed := key("square")
	renamed.KeyID = "other"
	for name, c := range map[string]struct {
		records []LoggedPlatform
		want    error
	}{
		"all of them":                    {good, nil},
		"in another order":               {[]LoggedPlatform{good[2], good[0], good[1]}, nil},
		"none":                           {nil, nil},
		"a gap":                          {[]LoggedPlatform{good[0], good[2]}, ErrPlatformNotNext},
		"without the first":              {good[1:], ErrPlatformNotNext},
		"one twice":                      {append(good[:2:2], good[1]), ErrPlatformNotNext},
		"after another one":              {forged(registry, 3, func(r *PlatformRecord) { r.Previous = digest("x") }), ErrPlatformNotNext},
		"by another key":                 {forged(key("thief"), 3, func(*PlatformRecord) {}), ErrPlatformSignature},
		"in the name of the key":         {forged(func() jose.JSONWebKey { k := key("thief"); k.KeyID = "registry"; return k }(), 3, func(*PlatformRecord) {}), ErrPlatformSignature},
		"by a custodian":                 {forged(w.custodians[0], 3, func(*PlatformRecord) {}), ErrPlatformSignature},
		"another sector":                 {forged(registry, 3, func(r *PlatformRecord) { r.Sector = "elsewhere" }), ErrPlatformFixed},
		"another sector's address":       {forged(registry, 3, func(r *PlatformRecord) { r.SectorURI = "https://elsewhere.example/s.json" }), ErrPlatformFixed},
		"a report taken back":            {forged(registry, 3, func(r *PlatformRecord) { r.Stolen = nil }), ErrPlatformFixed},
		"a kid for another key":          {forged(registry, 3, func(r *PlatformRecord) { k := key("thief"); k.KeyID = "square"; r.Keys = jwks(t, k) }), ErrPlatformFixed},
		"one key under two kids":         {forged(registry, 3, func(r *PlatformRecord) { r.Keys = jwks(t, renamed) }), ErrPlatformFixed},
		"a key that comes back":          {append(gone[:2:2], LoggedPlatform{Signed: signedRecord(t, registry, back), Leaf: 30, Day: "2026-02-20"}), ErrPlatformFixed},
		"no record":                      {[]LoggedPlatform{{Signed: "a.b.c", Leaf: 1, Day: "2026-02-20"}}, ErrPlatform},
		"a countersignature as a record": {[]LoggedPlatform{{Signed: must(CountersignPlatform(key("square"), good[0].Signed)), Leaf: 1, Day: "2026-02-20"}}, ErrPlatform},
		"no day":                         {[]LoggedPlatform{{Signed: good[0].Signed, Leaf: 1}}, ErrPlatform},
	} {
		if _, err := NewPlatforms(c.records, w.bundle); !errors.Is(err, c.want) {
			t.Error(name, err, errors.Unwrap(err))
		}
	}
	if _, err := NewPlatforms(good, newWorld(t).bundle); !errors.Is(err, ErrNoRegistry) {
		t.Error("no registry:", err)
	}
	if _, err := NewPlatforms(good); !errors.Is(err, ErrNoRegistry) {
		t.Error("no rules:", err)
	}
	// Whoever signs the newest vouches for all before.
	moved := registered(t, func(b *Bundle) { b.Registry.Keys = jwks(t, key("registry-2")) })
	if _, err := NewPlatforms(good, moved.bundle); !errors.Is(err, ErrPlatformSignature) {
		t.Error("a registry key that was replaced:", err)
	}
	if _, err := NewPlatforms(good, w.bundle, moved.bundle); err != nil {
		t.Error("one of two bundles:", err)
	}
	if _, err := NewPlatforms(forged(key("registry-2"), 3, func(*PlatformRecord) {}), moved.bundle); err != nil {
		t.Error("signed anew:", err)
	}
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

// A registry key vouches for the days that its nbf and exp allow.
func TestARegistryKeyHasItsDays(t *testing.T) {
	bounded := func(from, until time.Time) json.RawMessage {
		var jwk map[string]any
		if err := json.Unmarshal(public(t, key("registry")), &jwk); err != nil {
			t.Fatal(err)
		}
		jwk["nbf"], jwk["exp"] = from.Unix(), until.Unix()
		return encode(t, map[string]any{"keys": []any{jwk}})
	}
	w := registered(t, func(b *Bundle) { b.Registry.Keys = bounded(now.AddDate(0, 0, -20), now.AddDate(0, 0, -10)) })
	for days, want := range map[int]error{21: ErrPlatformSignature, 20: nil, 15: nil, 10: nil, 9: ErrPlatformSignature} {
		if _, err := NewPlatforms(logged(t, at(days, 10, nil)), w.bundle); !errors.Is(err, want) {
			t.Error(days, "days ago:", err)
		}
	}
}

// What the registrar refuses before it is logged, each beside what it takes.
func TestRegister(t *testing.T) {
	w := registered(t)
	have := logged(t, at(30, 10, nil), at(29, 11, func(r *PlatformRecord) { r.ID, r.Sector = "market", "shops.example"; keys(t, "market")(r) }),
		at(28, 12, func(r *PlatformRecord) { r.ID = "closed"; keys(t, "closed")(r); r.Retired = r.Number > 1 }), at(27, 13, func(r *PlatformRecord) { r.ID = "closed"; keys(t, "closed")(r); r.Retired = r.Number > 1 }))
	p, err := NewPlatforms(have, w.bundle)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	first := func(edit func(*PlatformRecord)) PlatformRecord {
		r := record(t, func(r *PlatformRecord) { r.ID = "new" }, keys(t, "new"))
		edit(&r)
		return r
	}
	next := func(edit func(*PlatformRecord)) PlatformRecord {
		r := parsedRecord(t, have[0].Signed).Successor()
		edit(&r)
		return r
	}
	same := func(*PlatformRecord) {}
	in := func(sector string) func(*PlatformRecord) { return func(r *PlatformRecord) { r.Sector = sector } }
	registry, mine := key("registry"), key("square")
	for name, c := range map[string]struct {
		by     jose.JSONWebKey
		record PlatformRecord
		co     []jose.JSONWebKey
		want   error
	}{
		"a new one":                        {registry, first(same), nil, nil},
		"a new version":                    {registry, next(func(r *PlatformRecord) { r.Name = "The Square" }), nil, nil},
		"a new key":                        {registry, next(keys(t, "square", "square-2")), []jose.JSONWebKey{mine}, nil},
		"a new key that nobody signed for": {registry, next(keys(t, "square-2")), nil, nil}, // and waits
		"an invented one":                  {key("thief"), first(same), nil, ErrPlatformSignature},
		"by the platform itself":           {mine, first(same), nil, ErrPlatformSignature},
		"number 1 again":                   {registry, record(t), nil, ErrPlatformNotNext},
		"number 3":                         {registry, next(func(r *PlatformRecord) { r.Number = 3 }), nil, ErrPlatformNotNext},
		"an id that is not there":          {registry, next(func(r *PlatformRecord) { r.ID = "new" }), nil, ErrPlatformNotNext},
		"another sector":                   {registry, next(in("shops.example")), []jose.JSONWebKey{key("market")}, ErrPlatformFixed},
		"who retired comes back":           {registry, func() PlatformRecord { r := parsedRecord(t, have[3].Signed).Successor(); r.Retired = false; return r }(), nil, ErrPlatformFixed},
		"a stranger's countersignature":    {registry, next(keys(t, "square-2")), []jose.JSONWebKey{key("thief")}, ErrCountersignature},
		"beside a good one":                {registry, next(keys(t, "square-2")), []jose.JSONWebKey{mine, key("thief")}, ErrCountersignature},
		"a stolen key's":                   {registry, next(func(r *PlatformRecord) { keys(t, "square-2")(r); stolen("square")(r) }), []jose.JSONWebKey{mine}, ErrCountersignature},
		"the new key's own":                {registry, next(keys(t, "square-2")), []jose.JSONWebKey{key("square-2")}, ErrCountersignature},
		"a sector grab":                    {registry, first(in("shops.example")), nil, ErrSectorTaken},
		"a sector grab by its own key":     {registry, first(in("shops.example")), []jose.JSONWebKey{key("new")}, ErrCountersignature},
		"a sector that a member shares":    {registry, first(in("shops.example")), []jose.JSONWebKey{key("market")}, nil},
		"another platform's id as sector":  {registry, first(in(square)), nil, ErrSectorTaken},
		"an id that is a sector":           {registry, first(func(r *PlatformRecord) { r.ID = "shops.example" }), nil, ErrSectorTaken},
		"a listed platform's id as sector": {registry, first(in(forum)), nil, ErrSectorTaken},
		"which it shares":                  {registry, first(in(forum)), []jose.JSONWebKey{key("wiki")}, nil},
		"a retired one's sector":           {registry, first(in("closed")), []jose.JSONWebKey{key("closed")}, ErrCountersignature},
		"one that takes over":              {registry, first(takesOver(square)), []jose.JSONWebKey{mine}, nil},
		"that nobody let in":               {registry, first(takesOver(square)), nil, ErrSucceeds},
		"that let itself in":               {registry, first(takesOver(square)), []jose.JSONWebKey{key("new")}, ErrCountersignature},
		"from a platform of no sector":     {registry, first(func(r *PlatformRecord) { r.Succeeds, r.Sector = "nobody", "nobody.example" }), nil, ErrSucceeds},
		"from one of another sector":       {registry, first(func(r *PlatformRecord) { r.Succeeds, r.Sector = square, "shops.example" }), []jose.JSONWebKey{key("market")}, ErrCountersignature},
		"from one that has retired":        {registry, first(takesOver("closed")), []jose.JSONWebKey{key("closed")}, ErrCountersignature},
		"from a listed one":                {registry, first(takesOver(forum)), []jose.JSONWebKey{key("wiki")}, nil},
		"a listed one":                     {registry, first(func(r *PlatformRecord) { r.ID = forum; keys(t, "wiki")(r) }), nil, nil},
		"its kid for another key":          {registry, first(func(r *PlatformRecord) { r.ID = forum; k := key("thief"); k.KeyID = "wiki"; r.Keys = jwks(t, k) }), nil, ErrPlatformFixed},
		"another platform's key":           {registry, first(keys(t, "market")), nil, ErrBundleSharedKey},
		"a listed platform's key":          {registry, first(keys(t, "wiki")), nil, ErrBundleSharedKey},
		"a custodian's key":                {registry, first(keys(t, "alice")), nil, ErrBundleSharedKey},
		"the court's key":                  {registry, first(keys(t, "court")), nil, ErrBundleSharedKey},
		"the registry's key":               {registry, first(keys(t, "registry")), nil, ErrBundleSharedKey},
	} {
		t.Run(name, func(t *testing.T) {
			signed := signedRecord(t, c.by, c.record)
			var co []string
			for _, k := range c.co {
				co = append(co, must(CountersignPlatform(k, signed)))
			}
			r, err := w.bundle.Register(signed, co, p, now)
			if !errors.Is(err, c.want) || err == nil && r.Digest() != digest(signed) {
				t.Error(err, errors.Unwrap(err))
			}
			if err != nil {
				return
			}
			if _, err := w.bundle.Register(signed, co, p, now); err != nil {
				t.Error("asking changed what is known:", err)
			}
			l := LoggedPlatform{Signed: signed, Countersigned: co, Leaf: 99, Day: proof.Day(now)}
			if _, err := NewPlatforms(append(have[:4:4], l), w.bundle); err != nil {
				t.Error("nobody takes what was logged:", err)
			}
		})
	}
}

// A key that was added to a member of a sector lets nobody into it before its waiting time
// is over: the registry key alone takes no sector.
func TestAKeyThatWaitsLetsNobodyIn(t *testing.T) {
	w := registered(t)
	first := at(30, 10, func(r *PlatformRecord) { r.Sector = "town.example" })
	adds := func(days int, by ...jose.JSONWebKey) entry { return at(days, 50, keys(t, "square", "second"), by...) }
	joins := record(t, func(r *PlatformRecord) { r.ID, r.Sector = "market", "town.example" }, keys(t, "market"))
	signed := signedRecord(t, key("registry"), joins)
	for name, c := range map[string]struct {
		records []entry
		by      string
		want    error
	}{
		"a key of the first record":               {[]entry{first}, "square", nil},
		"of a platform of today":                  {[]entry{at(0, 10, first.edit)}, "square", nil},
		"a new key":                               {[]entry{first, adds(0)}, "second", ErrCountersignature},
		"one day before its time":                 {[]entry{first, adds(6)}, "second", ErrCountersignature},
		"after its time":                          {[]entry{first, adds(7)}, "second", nil},
		"a new key of a platform of today":        {[]entry{at(0, 10, first.edit), adds(0)}, "second", ErrCountersignature},
		"a new key that the old one vouches for":  {[]entry{first, adds(0, key("square"))}, "second", nil},
		"the same, the old one reported stolen":   {[]entry{first, adds(1, key("square")), at(0, 60, stolen("square"))}, "second", ErrCountersignature},
		"a key reported stolen":                   {[]entry{first, adds(9), at(0, 60, stolen("second"))}, "second", ErrCountersignature},
		"a new key that a young one vouches for":  {[]entry{first, adds(1), at(0, 60, keys(t, "square", "second", "third"), key("second"))}, "third", ErrCountersignature},
		"the old key, beside one that nobody has": {[]entry{first, adds(0)}, "square", nil},
	} {
		have := logged(t, c.records...)
		p, err := NewPlatforms(have, w.bundle)
		if err != nil {
			t.Fatal(name, err, errors.Unwrap(err))
		}
		co := []string{must(CountersignPlatform(key(c.by), signed))}
		if _, err := w.bundle.Register(signed, co, p, now); !errors.Is(err, c.want) {
			t.Error(name, err)
		}
		// And so says an audit, which takes one after the other.
		var audited Platforms
		for _, l := range append(have, LoggedPlatform{Signed: signed, Countersigned: co, Leaf: 99, Day: proof.Day(now)}) {
			err = audited.Add(l, w.bundle)
		}
		if !errors.Is(err, c.want) {
			t.Error(name, "in an audit:", err)
		}
	}
}

// takesOver makes a record one of who takes over from a platform that has its id as sector.
func takesOver(id string) func(*PlatformRecord) {
	return func(r *PlatformRecord) { r.Succeeds, r.Sector = id, id }
}

// Who took over from a platform goes on when that one has retired, but adds no origin that
// nobody vouched for, and says for ever whom it took over from: the registry key alone takes
// no sector. Nobody takes over from whom the custodians have stopped.
func TestASuccessorKeepsItsPlace(t *testing.T) {
	w := registered(t)
	moved := func(r *PlatformRecord) {
		r.ID, r.Origins = "new", []string{"https://new.example"}
		takesOver(square)(r)
		keys(t, "new")(r)
	}
	have := logged(t, at(30, 10, nil), at(9, 11, moved, key("square")))
	have = append(have, logged(t, at(30, 10, nil), at(1, 12, func(r *PlatformRecord) { r.Retired = r.Number > 1 }))[1])
	p, err := NewPlatforms(have, w.bundle)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	for name, c := range map[string]struct {
		edit func(*PlatformRecord)
		by   string
		want error
	}{
		"another name":                  {func(r *PlatformRecord) { r.Name = "New Square" }, "", nil},
		"another origin":                {func(r *PlatformRecord) { r.Origins = append(r.Origins, "https://evil.example") }, "", ErrSectorTaken},
		"another origin, which it says": {func(r *PlatformRecord) { r.Origins = append(r.Origins, "https://app.new.example") }, "new", nil},
		"another predecessor":           {func(r *PlatformRecord) { r.Succeeds = forum }, "", ErrPlatformFixed},
		"no predecessor":                {func(r *PlatformRecord) { r.Succeeds = "" }, "", ErrPlatformFixed},
	} {
		next := parsedRecord(t, have[1].Signed).Successor()
		c.edit(&next)
		signed := signedRecord(t, key("registry"), next)
		var co []string
		if c.by != "" {
			co = append(co, must(CountersignPlatform(key(c.by), signed)))
		}
		if _, err := w.bundle.Register(signed, co, p, now); !errors.Is(err, c.want) {
			t.Error(name, err, errors.Unwrap(err))
		}
	}
	stopped := registered(t, func(b *Bundle) { b.Number, b.Predecessor, b.Stops = 2, digest("x"), []Stop{{Platform: square}} })
	q, err := NewPlatforms(have[:1], stopped.bundle)
	if err != nil {
		t.Fatal(err)
	}
	signed := signedRecord(t, key("registry"), record(t, moved))
	if _, err := stopped.bundle.Register(signed, []string{must(CountersignPlatform(key("square"), signed))}, q, now); !errors.Is(err, ErrSucceeds) {
		t.Error("from one that is stopped:", err)
	}
}

// A member of a sector that is an address, not a domain, adds no origin that nobody of the
// sector vouched for.
func TestAMemberThatMoves(t *testing.T) {
	w := registered(t)
	in := func(r *PlatformRecord) { r.Sector, r.SectorURI = "town.example", "https://town.example/s.json" }
	have := logged(t, at(30, 10, in), at(29, 20, func(r *PlatformRecord) { r.ID = "app"; in(r); keys(t, "app")(r) }),
		at(28, 30, func(r *PlatformRecord) {
			r.ID, r.Sector, r.SectorURI = "alone", "alone.example", "https://alone.example/s.json"
			keys(t, "alone")(r)
		}))
	have = append(have, logged(t, at(27, 20, func(r *PlatformRecord) { r.ID = "late"; in(r); keys(t, "late")(r) }), at(1, 40, func(r *PlatformRecord) { r.ID = "late"; in(r); keys(t, "late", "thief")(r) }))...)
	p, err := NewPlatforms(have, w.bundle)
	if err != nil {
		t.Fatal(err)
	}
	moved := func(r *PlatformRecord) { r.Origins = append(r.Origins, "https://evil.example") }
	for name, c := range map[string]struct {
		place int
		edit  func(*PlatformRecord)
		by    string
		want  error
	}{
		"by the registry key alone": {1, moved, "", ErrSectorTaken},
		"with its own key":          {1, moved, "app", nil},
		"with a member's":           {1, moved, "square", nil},
		"with one that waits":       {4, moved, "thief", ErrSectorTaken},
		"with one that is stolen":   {1, func(r *PlatformRecord) { moved(r); stolen("app")(r) }, "app", ErrCountersignature},
		"an origin less":            {1, func(r *PlatformRecord) { r.Origins = nil }, "", nil},
		"alone in its sector":       {2, moved, "", nil},
	} {
		r := parsedRecord(t, have[c.place].Signed).Successor()
		c.edit(&r)
		signed := signedRecord(t, key("registry"), r)
		var co []string
		if c.by != "" {
			co = []string{must(CountersignPlatform(key(c.by), signed))}
		}
		if _, err := w.bundle.Register(signed, co, p, now); !errors.Is(err, c.want) {
			t.Error(name, err)
		}
	}
}

// A platform that a bundle lists, or listed once, is nobody else's: neither its id, nor its
// sector, nor its keys.
func TestListedPlatformsAreNobodyElses(t *testing.T) {
	w := registered(t)
	gone := w.after(t, func(b *Bundle) { b.Registry = w.bundle.Registry; b.Platforms = nil })
	is := func(edits ...func(*PlatformRecord)) PlatformRecord {
		return record(t, append([]func(*PlatformRecord){func(r *PlatformRecord) { r.ID = forum }, keys(t, "new")}, edits...)...)
	}
	grab := func(edits ...func(*PlatformRecord)) PlatformRecord {
		return record(t, append([]func(*PlatformRecord){func(r *PlatformRecord) { r.ID, r.Sector = "evil", forum }, keys(t, "new")}, edits...)...)
	}
	for name, c := range map[string]struct {
		record PlatformRecord
		by     string
		want   error
	}{
		"with its keys":                     {is(keys(t, "wiki")), "", nil},
		"with one more":                     {is(keys(t, "wiki", "new")), "", nil},
		"with others":                       {is(), "", ErrPlatformListed},
		"without any":                       {is(keys(t)), "", ErrPlatformListed},
		"with others that it vouches for":   {is(), "wiki", nil},
		"that somebody else vouches for":    {is(), "thief", ErrCountersignature},
		"in another sector":                 {is(keys(t, "wiki"), func(r *PlatformRecord) { r.Sector = "forum.example" }), "", ErrPlatformListed},
		"another sector, which it wants":    {is(func(r *PlatformRecord) { r.Sector = "forum.example" }), "wiki", ErrPlatformListed},
		"its sector, by name":               {is(keys(t, "wiki"), func(r *PlatformRecord) { r.Sector = forum }), "", nil},
		"its sector for somebody else":      {grab(), "", ErrSectorTaken},
		"its sector, which it shares":       {grab(), "wiki", nil},
		"its key for somebody else":         {grab(keys(t, "wiki"), func(r *PlatformRecord) { r.Sector = "" }), "", ErrBundleSharedKey},
		"another key under the kid of its":  {is(func(r *PlatformRecord) { k := key("thief"); k.KeyID = "wiki"; r.Keys = jwks(t, k) }), "", ErrPlatformFixed},
		"its keys, one of them not its own": {is(keys(t, "wiki", "thief")), "", nil}, // which waits
	} {
		signed := signedRecord(t, key("registry"), c.record)
		var co []string
		if c.by != "" {
			co = []string{must(CountersignPlatform(key(c.by), signed))}
		}
		l := LoggedPlatform{Signed: signed, Countersigned: co, Leaf: 10, Day: proof.Day(now)}
		for _, bundles := range [][]*Bundle{{w.bundle}, {w.bundle, gone}} {
			p, err := NewPlatforms(nil, bundles...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bundles[len(bundles)-1].Register(signed, co, p, now); !errors.Is(err, c.want) {
				t.Errorf("%s, %d bundles: %v", name, len(bundles), err)
			}
			var audited Platforms
			if err := audited.Add(l, bundles...); !errors.Is(err, c.want) {
				t.Errorf("%s, %d bundles, in an audit: %v", name, len(bundles), err)
			}
			if c.want != nil || c.record.ID != forum {
				continue
			}
			// Whoever came with it lets nobody in at once.
			late := signedRecord(t, key("registry"), record(t, func(r *PlatformRecord) { r.ID, r.Sector = "evil", forum }, keys(t, "evil")))
			for _, by := range []string{"new", "thief"} {
				if err := audited.Add(LoggedPlatform{Signed: late, Countersigned: []string{must(CountersignPlatform(key(by), late))}, Leaf: 20, Day: proof.Day(now)}, bundles...); !errors.Is(err, ErrCountersignature) && c.by == "" {
					t.Errorf("%s, %d bundles: %s lets others in: %v", name, len(bundles), by, err)
				}
			}
		}
	}
}

// What says nothing, or too much, is no record, and is not signed either.
func TestRecordsThatAreNone(t *testing.T) {
	for name, edit := range map[string]func(*PlatformRecord){
		"another version":                 func(r *PlatformRecord) { r.Version = 2 },
		"no number":                       func(r *PlatformRecord) { r.Number = 0 },
		"number 1 after one":              func(r *PlatformRecord) { r.Previous = digest("x") },
		"number 2 after none":             func(r *PlatformRecord) { r.Number = 2 },
		"no hash":                         func(r *PlatformRecord) { r.Number, r.Previous = 2, "yesterday's" },
		"no id":                           func(r *PlatformRecord) { r.ID = "" },
		"a long id":                       func(r *PlatformRecord) { r.ID = strings.Repeat("a", 65) },
		"an id in capitals":               func(r *PlatformRecord) { r.ID = "Town" },
		"no name":                         func(r *PlatformRecord) { r.Name = " " },
		"a name of two lines":             func(r *PlatformRecord) { r.Name = "Town\nSquare" },
		"an open origin":                  func(r *PlatformRecord) { r.Origins = []string{"http://town-square.example"} },
		"an origin twice":                 func(r *PlatformRecord) { r.Origins = append(r.Origins, r.Origins[0]) },
		"an origin's path":                func(r *PlatformRecord) { r.Origins = []string{"https://town-square.example/x"} },
		"a sector in words":               func(r *PlatformRecord) { r.Sector = "my sector" },
		"an open sector":                  func(r *PlatformRecord) { r.SectorURI = "http://town-square.example/s.json" },
		"no client":                       func(r *PlatformRecord) { r.Client = "" },
		"takes over from nobody's sector": func(r *PlatformRecord) { r.Succeeds = "old" },
		"takes over from itself":          func(r *PlatformRecord) { r.Succeeds, r.Sector = r.ID, "town.example" },
		"takes over from words":           func(r *PlatformRecord) { r.Succeeds, r.Sector = "The Old", "town.example" },
		"takes over and has an address": func(r *PlatformRecord) {
			r.Succeeds, r.Sector, r.SectorURI = "old", "town.example", "https://town.example/s.json"
		},
		"one pen name, said": func(r *PlatformRecord) { r.Personas = 1 },
		"fewer than none":    func(r *PlatformRecord) { r.Personas = -1 },
		"a crowd":            func(r *PlatformRecord) { r.Personas = MaxPersonas + 1 },
		"no kid":             func(r *PlatformRecord) { r.Stolen = []string{""} },
		"a report twice":     func(r *PlatformRecord) { r.Stolen = []string{"a", "a"} },
		"a secret key": func(r *PlatformRecord) {
			r.Keys = encode(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key("square")}})
		},
		"no JWKS": func(r *PlatformRecord) { r.Keys = json.RawMessage(`[]`) },
	} {
		if _, err := SignPlatform(key("registry"), record(t, edit)); !errors.Is(err, ErrPlatform) {
			t.Error(name, err)
		}
	}
	if _, err := ParsePlatform(strings.Repeat("x", maxPlatform+1)); !errors.Is(err, ErrPlatformTooLarge) {
		t.Error(err)
	}
	signed := signedRecord(t, key("registry"), record(t))
	if _, err := CountersignPlatform(key("square"), signed[1:]); !errors.Is(err, ErrPlatform) {
		t.Error(err)
	}
}

// Whatever changes in a record is seen in its lines.
func TestWhatARecordChangesIsShown(t *testing.T) {
	before := parsedRecord(t, signedRecord(t, key("registry"), record(t)))
	for name, edit := range map[string]func(*PlatformRecord){
		"name": func(r *PlatformRecord) { r.Name = "The Square" }, "origins": func(r *PlatformRecord) { r.Origins = nil },
		"sector": func(r *PlatformRecord) { r.Sector = "s.example" }, "address": func(r *PlatformRecord) { r.SectorURI = "https://s.example/x" },
		"keys": keys(t, "new"), "stolen": stolen("square"), "retired": retired, "client": func(r *PlatformRecord) { r.Client = digest("x") },
		"number": func(r *PlatformRecord) { r.Number, r.Previous = 2, digest("x") }, "id": func(r *PlatformRecord) { r.ID = "market" },
		"predecessor": takesOver("old"), "pen names": func(r *PlatformRecord) { r.Personas = 3 },
	} {
		after := parsedRecord(t, signedRecord(t, key("registry"), record(t, edit)))
		if len(after.Changes(before)) == 0 {
			t.Error(name, "is not shown")
		}
	}
	if c := before.Changes(before); len(c) > 0 {
		t.Error(c)
	}
}

// A registry is of version 3, has a key of its own, and lets nobody in at once but in a
// sandbox.
func TestBundlesWithARegistry(t *testing.T) {
	first := registered(t)
	for name, c := range map[string]struct {
		change func(*Bundle)
		want   error
	}{
		"as it is":                  {func(*Bundle) {}, nil},
		"at once":                   {func(b *Bundle) { b.Registry.WaitingDays = 0 }, ErrBundleRegistry},
		"at once, in a sandbox":     {func(b *Bundle) { b.Registry.WaitingDays, b.Registrar = 0, "http://127.0.0.1:8080" }, nil},
		"before":                    {func(b *Bundle) { b.Registry.WaitingDays = -1 }, ErrBundleRegistry},
		"after a year":              {func(b *Bundle) { b.Registry.WaitingDays = 365 }, ErrBundleRegistry},
		"without a key":             {func(b *Bundle) { b.Registry.Keys = noKeys }, ErrBundleKey},
		"a custodian's key":         {func(b *Bundle) { b.Registry.Keys = jwks(t, key("alice")) }, ErrBundleSharedKey},
		"the issuer's key":          {func(b *Bundle) { b.Registry.Keys = jwks(t, key("issuer")) }, ErrBundleSharedKey},
		"in version 2":              {func(b *Bundle) { b.Version = 2 }, ErrBundleMalformed},
		"a stop in version 2":       {func(b *Bundle) { b.Version, b.Registry, b.Stops = 2, nil, []Stop{{Platform: square}} }, ErrBundleMalformed},
		"a stop":                    {func(b *Bundle) { b.Stops = []Stop{{Platform: square}} }, nil},
		"a stop of no id":           {func(b *Bundle) { b.Stops = []Stop{{Platform: "The Square"}} }, ErrBundleMalformed},
		"a stop of two":             {func(b *Bundle) { b.Stops = []Stop{{Platform: square, Authority: "crown-court"}} }, ErrBundleMalformed},
		"one platform's stop twice": {func(b *Bundle) { b.Stops = []Stop{{Platform: square}, {Platform: square}} }, ErrBundleMalformed},
		"version 2 without":         {func(b *Bundle) { b.Version, b.Registry = 2, nil; contentless(b); withoutRecipients(b) }, nil},
	} {
		draft := first.draft(t)
		draft.Succeed(first.bundle)
		withRecipients(t, draft)
		draft.Registry = &Registry{jwks(t, key("registry")), waiting}
		c.change(draft)
		if _, err := draft.Marshal(); !errors.Is(err, c.want) {
			t.Error(name, err, errors.Unwrap(err))
		}
	}
	stops := []*Bundle{first.after(t, func(b *Bundle) { b.Number, b.Predecessor, b.Stops = 2, digest("x"), []Stop{{Platform: square}} })}
	if err := Stopped(stops, 3, "crown-court", []Target{{Platform: forum}, {Platform: square}}); !errors.Is(err, ErrStopped) {
		t.Error("a case about a stopped platform:", err)
	}
	if err := Stopped(stops, 3, "crown-court", []Target{{Platform: forum}}); err != nil {
		t.Error("another one:", err)
	}
}

func FuzzPlatformPayload(f *testing.F) {
	fuzzDocument(f, record(f), record(f, keys(f), stolen("square"), retired, func(r *PlatformRecord) {
		r.Number, r.Previous, r.Sector, r.SectorURI, r.Name = 2, digest("x"), "s.example", "https://s.example/x", "<&>\u00e9"
	}))
}

// FuzzPlatform: one record has one spelling, and no countersignature is a record.
func FuzzPlatform(f *testing.F) {
	w := registered(f)
	signed := signedRecord(f, key("registry"), record(f))
	f.Add(signed)
	f.Add(must(CountersignPlatform(key("square"), signed)))
	f.Add("..")
	fuzzing.Run(f, func(t *testing.T, raw string) {
		r, err := ParsePlatform(raw)
		if err != nil {
			return
		}
		if again, err := r.payload(); err != nil || len(again) == 0 {
			t.Fatalf("%q is not written again: %v", raw, err)
		}
		if raw != signed {
			if _, err := w.bundle.VerifyPlatform(raw, now); err == nil {
				t.Fatalf("%q has a second spelling", raw)
			}
		}
	})
}

// CountsFrom is what a warrant is judged by: the waiting time after the day of the record,
// or none for a key that the bundle lists.
func TestCountsFrom(t *testing.T) {
	for name, listed := range map[string]bool{"registered": false, "listed": true} {
		w := registered(t, func(b *Bundle) {
			if listed {
				b.Platforms = append(b.Platforms, Platform{"wiki-x", "Wiki", jwks(t, key("listed"))})
			}
		})
		p, err := NewPlatforms(logged(t, at(3, 10, func(r *PlatformRecord) { r.ID = "wiki-x"; keys(t, "listed", "later")(r) })), w.bundle)
		if err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
		from := w.bundle.CountsFrom("wiki-x", p)
		waits := now.AddDate(0, 0, -3+w.bundle.Registry.WaitingDays).UTC().Truncate(24 * time.Hour)
		want := map[string]time.Time{"listed": waits, "later": waits}
		if listed {
			want["listed"] = time.Time{}
		}
		if len(from) != 2 || !from[key("later").KeyID].Equal(want["later"]) || !from[key("listed").KeyID].Equal(want["listed"]) {
			t.Errorf("%s: %v, not %v", name, from, want)
		}
	}
	if (&Bundle{}).CountsFrom("nobody", nil) != nil {
		t.Error("of nobody")
	}
}
