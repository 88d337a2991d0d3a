package proof_test

import (
	"compress/gzip"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/torchwood"
	"pgregory.net/rapid"

	"github.com/penname/penname/verifier/proof"
)

var custodians = []string{"bar-council", "press-council", "ombudsman.example"}

// rules knows the bundle of examples, and every bundle of grow.
func rules(string) (proof.Rules, bool) {
	return proof.Rules{Threshold: 2, Custodians: custodians, OffenceClasses: []string{"threats_to_kill", "stalking"}}, true
}

func options() proof.AuditOptions { return proof.AuditOptions{Rules: rules, At: noon} }

func TestAuditOfACaseFromBundleToNotice(t *testing.T) {
	w := newWorld(t)
	w.add(examples()...)
	second := examples()[2]
	second.Day, second.SecrecyEnds = "2026-03-01", "2026-04-01"
	c := w.add(second) // released, never noticed: overdue
	w.add(at(examples()[3], "2026-03-02", c), at(examples()[5], "2026-03-02", c), at(examples()[6], "2026-03-02", c), at(examples()[7], "2026-03-06", c))
	third := second
	third.Day, third.OffenceClass, third.Jurisdiction = "2026-03-07", "stalking", "FR"
	w.add(third) // open
	r, err := w.log.Audit(t.Context(), w.tiles(w.files()), options())
	if err != nil {
		t.Fatal(err, r)
	}
	s := r.Statistics
	if r.Leaves != 15 || r.Checkpoint.N != 15 || len(r.Findings) != 0 || s.Targets != 6 || s.Open != 1 || s.Unnoticed != 1 ||
		s.Overdue != 1 || !slices.Equal(r.Overdue(), []int64{c}) || s.MedianDays != 4 ||
		!maps.Equal(s.ByKind, map[proof.Kind]int64{"bundle": 1, "refused": 1, "recorded": 3, "approved": 4, "declined": 1, "authorised": 2, "released": 2, "noticed": 1}) ||
		!maps.Equal(s.Refusals, map[string]int64{"warrant.unknown_authority": 1}) || !maps.Equal(s.Declines, map[string]int64{"not_necessary": 1}) ||
		!maps.Equal(s.Jurisdictions, map[string]int64{"GB-SCT": 2, "FR": 1}) || !maps.Equal(s.Offences, map[string]int64{"threats_to_kill": 2, "stalking": 1}) ||
		!maps.Equal(s.Warrants, map[string]int64{"production": 3}) {
		t.Errorf("%s", r)
	}
	for _, want := range []string{"15 leaves", "findings    0", "approved 4  authorised 2", "1 overdue, median 4.0 days", "overdue     [9]"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, r)
		}
	}
	// An extension of a case does not put off its notice.
	extension := third
	extension.Day, extension.Case, extension.WarrantKind, extension.SecrecyEnds = "2026-03-08", &c, "extension", "2029-01-01"
	w.add(extension)
	if r, err := w.log.Audit(t.Context(), w.tiles(w.files()), options()); err != nil || !slices.Equal(r.Overdue(), []int64{c}) {
		t.Errorf("%s, %v", r, err)
	}
	early := options()
	early.At = time.Date(2026, 4, 1, 23, 0, 0, 0, time.UTC) // the last day of secrecy
	if r, err := w.log.Audit(t.Context(), w.tiles(w.files()), early); err != nil || r.Statistics.Overdue != 0 || r.Statistics.Unnoticed != 1 {
		t.Errorf("%s, %v", r, err)
	}
}

// What ran out is not open any more, whether custodians had approved it or not.
func TestAuditCountsWhatExpired(t *testing.T) {
	x := examples()
	w := newWorld(t)
	w.add(x[0])
	approved := w.add(x[2])
	w.add(at(x[3], "2026-01-04", approved), at(x[5], "2026-01-05", approved), at(x[6], "2026-01-05", approved))
	waiting, open := w.add(x[2].On("2026-01-06")), w.add(x[2].On("2026-01-06"))
	w.add(proof.ExpiredLeaf(noon, approved), proof.ExpiredLeaf(noon, waiting))
	r, err := w.log.Audit(t.Context(), w.tiles(w.files()), options())
	if s := r.Statistics; err != nil || s.Open != 1 || s.Expired != 2 || s.ByKind[proof.KindExpired] != 2 || s.Overdue != 0 {
		t.Fatalf("%v\n%s", err, r)
	}
	if !strings.Contains(r.String(), "1 open, 2 expired, 0 unnoticed") {
		t.Errorf("%s", r)
	}
	w.add(proof.ExpiredLeaf(noon, open))
	if r, err := w.log.Audit(t.Context(), w.tiles(w.files()), options()); err != nil || r.Statistics.Open != 0 || r.Statistics.Expired != 3 {
		t.Fatalf("%v\n%s", err, r)
	}
}

// at moves a leaf to another day and case.
func at(l proof.Leaf, day string, c int64) proof.Leaf {
	l.Day, l.Case = day, &c
	return l
}

// Each row is a log that is authentic and wrong; the audit names the leaf.
func TestAuditNamesTheFirstLeafThatBreaksARule(t *testing.T) {
	x := examples()
	bundle, recorded, approvedA, declinedB, approvedC, authorised, released, noticed := x[0], x[2], x[3], x[4], x[5], x[6], x[7], x[8]
	second := approvedA
	second.Commitment = hexC
	ghost := approvedC
	ghost.Custodian = "ghost"
	declinedA := declinedB
	declinedA.Custodian = approvedA.Custodian
	otherBundle := recorded
	otherBundle.Bundle = hexC
	class := recorded
	class.OffenceClass = "criticism"
	withdrawal := proof.Leaf{Version: 1, Kind: proof.KindRecorded, Day: "2026-01-05", Case: ref(1), Jurisdiction: "GB", OffenceClass: "stalking",
		WarrantKind: "withdrawal", Bundle: hexA, Commitment: hexB, SaltCommitment: saltC}
	strayWithdrawal := withdrawal
	strayWithdrawal.Case = ref(0)
	expired := proof.ExpiredLeaf(noon, 1)
	otherSalt := noticed
	otherSalt.Salt = hexB
	preservation := recorded
	preservation.WarrantKind = "preservation"
	on := func(ls ...proof.Leaf) []proof.Leaf { // on case 1, in the order given
		for i := range ls {
			if ls[i].Kind != proof.KindRecorded && ls[i].Kind != proof.KindBundle && ls[i].Kind != proof.KindRefused {
				ls[i] = at(ls[i], "2026-01-05", 1)
			}
		}
		return ls
	}
	for name, c := range map[string]struct {
		leaves []proof.Leaf
		index  int64
		code   string
	}{
		"M38 the day goes back":                      {[]proof.Leaf{bundle, recorded, at(approvedA, "2026-01-02", 1)}, 2, proof.FindingDay},
		"a warrant before any bundle":                {on(recorded), 0, proof.FindingBundle},
		"a warrant under another bundle":             {on(bundle, otherBundle), 1, proof.FindingBundle},
		"an offence class that the bundle lacks":     {on(bundle, class), 1, proof.FindingWord},
		"an approval of a case that is none":         {on(bundle, x[1], approvedA), 2, proof.FindingCase},
		"an approval of a later case":                {[]proof.Leaf{bundle, at(approvedA, "2026-01-03", 2), recorded}, 1, proof.FindingCase},
		"a custodian that the bundle lacks":          {on(bundle, recorded, ghost), 2, proof.FindingWord},
		"authorised by nobody":                       {on(bundle, recorded, authorised), 2, proof.FindingQuorum},
		"M25 authorised by one custodian":            {on(bundle, recorded, approvedA, authorised), 3, proof.FindingQuorum},
		"M25 authorised by one custodian twice":      {on(bundle, recorded, approvedA, second, authorised), 4, proof.FindingQuorum},
		"authorised by one for and one against":      {on(bundle, recorded, approvedA, declinedB, authorised), 4, proof.FindingQuorum},
		"authorised by one who withdrew":             {on(bundle, recorded, approvedA, declinedA, approvedC, authorised), 5, proof.FindingQuorum},
		"authorised twice":                           {on(bundle, recorded, approvedA, approvedC, authorised, authorised), 5, proof.FindingReopened},
		"released before it was authorised":          {on(bundle, recorded, approvedA, approvedC, released, authorised), 4, proof.FindingOrder},
		"released twice":                             {on(bundle, recorded, approvedA, approvedC, authorised, released, released), 6, proof.FindingOrder},
		"noticed before it was released":             {on(bundle, recorded, approvedA, approvedC, authorised, noticed), 5, proof.FindingOrder},
		"noticed twice":                              {on(bundle, recorded, approvedA, approvedC, authorised, released, noticed, noticed), 7, proof.FindingOrder},
		"noticed with a salt that opens nothing":     {on(bundle, recorded, approvedA, approvedC, authorised, released, otherSalt), 6, proof.FindingSalt},
		"released after the court withdrew":          {on(bundle, recorded, approvedA, approvedC, authorised, withdrawal, released), 6, proof.FindingWithdrawn},
		"authorised after the court withdrew":        {on(bundle, recorded, approvedA, approvedC, withdrawal, authorised), 5, proof.FindingWithdrawn},
		"authorised after its warrant ran out":       {on(bundle, recorded, approvedA, approvedC, expired, authorised), 5, proof.FindingExpired},
		"released after its warrant ran out":         {on(bundle, recorded, approvedA, approvedC, authorised, expired, released), 6, proof.FindingExpired},
		"expired after it was released":              {on(bundle, recorded, approvedA, approvedC, authorised, released, expired), 6, proof.FindingOrder},
		"expired twice":                              {on(bundle, recorded, expired, expired), 3, proof.FindingOrder},
		"expired that was never recorded":            {on(bundle, x[1], expired), 2, proof.FindingCase},
		"a withdrawal of no case":                    {on(bundle, strayWithdrawal), 1, proof.FindingCase},
		"a preservation order that opened something": {on(bundle, preservation, approvedA, approvedC, authorised), 4, proof.FindingSuperfluous},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.add(c.leaves...)
			r, err := w.log.Audit(t.Context(), w.tiles(w.files()), options())
			var where *proof.IndexError
			if !errors.Is(err, proof.ErrAudit) || !errors.As(err, &where) || where.Index != c.index {
				t.Fatalf("%v\n%s", err, r)
			}
			if !strings.Contains(r.String(), c.code) || !strings.Contains(where.Error(), c.code) {
				t.Errorf("nobody is told why: %s, %v", r, where)
			}
			if f := r.Findings[0]; f.Index != c.index || f.Code != c.code || r.Leaves != int64(len(c.leaves)) {
				t.Errorf("%+v, %d leaves", r.Findings, r.Leaves)
			}
		})
	}
	t.Run("M31 a leaf that is not a leaf", func(t *testing.T) {
		w := newWorld(t).grow(3)
		w.addBytes([]byte(`{"v":1,"name":"Jo Bloggs"}`))
		w.grow(6)
		r, err := w.log.Audit(t.Context(), w.tiles(w.files()), options())
		if !errors.Is(err, proof.ErrAudit) || !slices.Equal(r.Findings, []proof.Finding{{Index: 3, Code: proof.FindingMalformed}}) || r.Leaves != 6 {
			t.Errorf("%v\n%s", err, r)
		}
	})
}

// O3: the quorum that a rule wanted above the threshold stands in the leaf, and an
// audit holds the authorisation against it. Leaves of the first release say none.
func TestFoundO3TheQuorumOfARule(t *testing.T) {
	recorded, approved := examples()[2], examples()[3]
	by := func(custodian string) proof.Leaf {
		l := at(approved, "2026-01-03", 1)
		l.Custodian = custodian
		return l
	}
	authorised := at(proof.AuthorisedLeaf(noon, 1), "2026-01-03", 1)
	says := func(quorum int) proof.Leaf {
		l := recorded
		l.Quorum = quorum
		return l
	}
	a, b, c := by(custodians[0]), by(custodians[1]), by(custodians[2])
	for name, x := range map[string]struct {
		leaves     []proof.Leaf
		saysQuorum bool
		index      int64
		code       string // "": nothing is found
	}{
		"two, and the rules require the third":     {[]proof.Leaf{bundleLeaf(2), says(2), a, b, authorised}, true, 4, proof.FindingQuorum},
		"two, with whom the rules require":         {[]proof.Leaf{bundleLeaf(2), says(2), a, c, authorised}, true, 0, ""},
		"three of three":                           {[]proof.Leaf{bundleLeaf(1), says(3), a, b, c, authorised}, true, 0, ""},
		"two of three":                             {[]proof.Leaf{bundleLeaf(1), says(3), a, b, authorised}, true, 4, proof.FindingQuorum},
		"the threshold, from an old leaf":          {[]proof.Leaf{bundleLeaf(1), says(0), a, b, authorised}, false, 0, ""},
		"less than the threshold, by the leaf":     {[]proof.Leaf{bundleLeaf(1), says(1), a, b, authorised}, true, 1, proof.FindingQuorum},
		"no quorum where the rules want it said":   {[]proof.Leaf{bundleLeaf(1), says(0), a, b, authorised}, true, 1, proof.FindingQuorum},
		"one custodian twice, for a quorum of two": {[]proof.Leaf{bundleLeaf(1), says(2), a, a, authorised}, true, 4, proof.FindingQuorum},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i, l := range x.leaves {
				if l.Bundle != "" {
					l.Bundle = x.leaves[0].Bundle
				}
				l.Day = "2026-11-20"
				x.leaves[i] = l
			}
			w.add(x.leaves...)
			o := options()
			o.Rules = func(bundle string) (proof.Rules, bool) {
				r, _ := rules("")
				r.SaysQuorum = x.saysQuorum
				if bundle == bundleLeaf(2).Bundle { // the third of them is a judge
					r.Required = []proof.Required{{OffenceClasses: []string{recorded.OffenceClass}, Role: "judge", Organisations: 2}, {Offences: []string{"another"}, Role: "bishop"}}
					r.Seats = map[string]proof.Seat{custodians[0]: {Organisation: "a"}, custodians[1]: {Organisation: "b"}, custodians[2]: {Role: "judge", Organisation: "c"}}
				}
				return r, true
			}
			r, err := w.log.Audit(t.Context(), w.tiles(w.files()), o)
			if x.code == "" {
				if err != nil {
					t.Fatal(err, r)
				}
				return
			}
			if !errors.Is(err, proof.ErrAudit) || len(r.Findings) != 1 || r.Findings[0] != (proof.Finding{Index: x.index, Code: x.code}) {
				t.Fatal(err, r.Findings)
			}
		})
	}
}

// J4: whoever signs is a custodian of the bundle in force; approvals with shares of
// a key that was moved since do not count with newer ones; what newer rules stop is
// not opened.
func TestFoundJ4AnAuditAcrossRules(t *testing.T) {
	recorded, approved := examples()[2], examples()[3]
	recorded.Bundle = bundleLeaf(1).Bundle
	by := func(custodian string) proof.Leaf {
		l := at(approved, "2026-11-20", 1)
		l.Custodian = custodian
		return l
	}
	authorised := at(proof.AuthorisedLeaf(noon, 1), "2026-11-20", 1)
	a, b, c := by("alba"), by("bruno"), by("dora")
	for name, x := range map[string]struct {
		leaves []proof.Leaf
		next   proof.Rules // of the second bundle
		index  int64
		code   string
	}{
		"another court, the same key": {[]proof.Leaf{bundleLeaf(1), recorded, a, bundleLeaf(2), b, authorised},
			proof.Rules{Threshold: 2, Key: "k1", Custodians: []string{"alba", "bruno"}}, 0, ""},
		"a moved key": {[]proof.Leaf{bundleLeaf(1), recorded, a, bundleLeaf(2), b, authorised},
			proof.Rules{Threshold: 2, Key: "k2", Custodians: []string{"bruno", "dora"}}, 5, proof.FindingQuorum},
		"two with the moved key": {[]proof.Leaf{bundleLeaf(1), recorded, a, bundleLeaf(2), b, c, authorised},
			proof.Rules{Threshold: 2, Key: "k2", Custodians: []string{"bruno", "dora"}}, 0, ""},
		"a custodian of before": {[]proof.Leaf{bundleLeaf(1), recorded, b, bundleLeaf(2), a, authorised},
			proof.Rules{Threshold: 2, Key: "k1", Custodians: []string{"bruno", "dora"}}, 4, proof.FindingWord},
		"a case that was stopped": {[]proof.Leaf{bundleLeaf(1), recorded, a, bundleLeaf(2), b, authorised},
			proof.Rules{Threshold: 2, Key: "k1", Custodians: []string{"alba", "bruno"}, Stops: []int64{1}}, 5, proof.FindingStopped},
		"rules that cannot be had accuse nobody": {[]proof.Leaf{bundleLeaf(1), recorded, a, bundleLeaf(2), b, authorised}, proof.Rules{}, 3, proof.FindingUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i := range x.leaves {
				x.leaves[i].Day = "2026-11-20"
			}
			w.add(x.leaves...)
			o := options()
			o.Rules = func(bundle string) (proof.Rules, bool) {
				if bundle == bundleLeaf(2).Bundle {
					return x.next, x.next.Threshold > 0
				}
				return proof.Rules{Threshold: 2, Key: "k1", Custodians: []string{"alba", "bruno", "chidi"}}, true
			}
			r, err := w.log.Audit(t.Context(), w.tiles(w.files()), o)
			switch {
			case x.code == "" && err != nil, x.code != "" && (err == nil || len(r.Findings) == 0 || r.Findings[0] != (proof.Finding{Index: x.index, Code: x.code})):
				t.Fatal(err, r.Findings)
			case x.code == proof.FindingUnavailable && (!errors.Is(err, proof.ErrIncomplete) || len(r.Findings) != 1):
				t.Fatal(err, r.Findings)
			}
		})
	}
}

func TestAuditAgainstWhatWasSeenBefore(t *testing.T) {
	w := newWorld(t).grow(300)
	fork := newWorld(t).grow(200)
	fork.add(bundleLeaf(999))
	fork.grow(300)
	larger := newWorld(t).grow(301)
	elsewhere := w.checkpoint(200)
	elsewhere.Origin = "log.example/elsewhere"
	for name, c := range map[string]struct {
		trusted []byte
		want    error
	}{
		"an older checkpoint of it":        {w.cosigned(250, 0, 1), nil},
		"the same checkpoint":              {w.cosigned(300, 0, 1), nil},
		"M23 a larger one":                 {larger.cosigned(301, 0, 1), proof.ErrOlder},
		"M23 a larger one, of long before": {larger.cosignedAt(301, noon.Add(-time.Hour), 0, 1), proof.ErrRollback},
		"M24 another of the same size":     {fork.cosigned(300, 0, 1), proof.ErrSplitView},
		"M24 an older one of another tree": {fork.cosigned(250, 0, 1), proof.ErrSplitView},
		"M22 of another log":               {w.sign(elsewhere.String()), proof.ErrLog},
		"of witnesses of before":           {w.cosigned(250), nil},
		"one bit changed":                  {flip(w.cosigned(250, 0, 1), 8*100), proof.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.Trusted = c.trusted
			if _, err := w.log.Audit(t.Context(), w.tiles(w.files()), o); !errors.Is(err, c.want) {
				t.Error(err)
			}
		})
	}
	o := options()
	o.MaxAge, o.At = time.Hour, noon.Add(2*time.Hour)
	if r, err := w.log.Audit(t.Context(), w.tiles(w.files()), o); !errors.Is(err, proof.ErrStale) || r.Leaves != 0 {
		t.Error("M30:", err)
	}
	if _, err := w.log.Audit(t.Context(), w.tiles(w.files()), proof.AuditOptions{}); !errors.Is(err, proof.ErrPolicy) {
		t.Error("an audit without rules:", err)
	}
}

// M28, GO-2026-6179: one bit changed in any tile, entry bundle or checkpoint
// is found, and if it is in an entry or its hash the audit names the leaf.
func TestM28OneBitChangedAnywhereInTheLogIsFound(t *testing.T) {
	const size = 600 // two full tiles and a partial one, and a level above
	w := newWorld(t).grow(size)
	strict := must(proof.NewLog(origin, w.vkey, w.witnesses[:2], 2))(t)
	files := w.files()
	if r, err := strict.Audit(t.Context(), w.tiles(files), options()); err != nil || r.Leaves != size {
		t.Fatal(err)
	}
	paths := slices.Sorted(maps.Keys(files))
	if len(paths) != 8 {
		t.Fatalf("unexpected layout: %v", paths)
	}
	leafSize := 2 + len(w.leaves[0])
	rapid.Check(t, func(rt *rapid.T) {
		path := rapid.SampledFrom(paths).Draw(rt, "file")
		changed := maps.Clone(files)
		bit := rapid.IntRange(0, 8*len(files[path].Data)-1).Draw(rt, "bit")
		changed[path] = &fstest.MapFile{Data: flip(files[path].Data, bit)}
		r, err := strict.Audit(t.Context(), w.tiles(changed), options())
		if err == nil {
			rt.Fatalf("bit %d of %s may be changed", bit, path)
		}
		tile, parseErr := torchwood.ParseTilePath(path)
		if parseErr != nil || tile.L > 0 {
			return
		}
		width := leafSize
		if tile.L == 0 {
			width = 32
		}
		want := tile.N*256 + int64(bit/8/width)
		var where *proof.IndexError
		if !errors.Is(err, proof.ErrTile) || !errors.As(err, &where) || where.Index != want {
			rt.Fatalf("leaf %d is wrong; the audit says %v, %v, after %d", want, err, errors.Unwrap(err), r.Leaves)
		}
	})
}

func TestM28TilesOfTheWrongShape(t *testing.T) {
	w := newWorld(t).grow(300)
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	for name, c := range map[string]struct {
		path   string
		change func([]byte) []byte
		want   error
	}{
		"M28 empty tile":                                      {"tile/0/000", cut(0), proof.ErrTile},
		"M28 tile a hash short":                               {"tile/0/000", cut(255 * 32), proof.ErrTile},
		"M28 tile a byte long":                                {"tile/0/000", func(b []byte) []byte { return append(slices.Clone(b), 0) }, proof.ErrTile},
		"M28 partial tile a hash long":                        {"tile/0/001.p/44", func(b []byte) []byte { return append(slices.Clone(b), b[:32]...) }, proof.ErrTile},
		"M28 entries of another tile":                         {"tile/entries/000", func([]byte) []byte { return w.files()["tile/entries/001.p/44"].Data }, proof.ErrTile},
		"M28 entries cut short":                               {"tile/entries/001.p/44", cut(100), proof.ErrTile},
		"M28 entries with more at the end":                    {"tile/entries/001.p/44", func(b []byte) []byte { return append(slices.Clone(b), 0, 0) }, proof.ErrTile},
		"M28 hashes and entries agree, but not with the root": {"", nil, proof.ErrTile},
		"M28 tile missing":                                    {"tile/0/000", nil, proof.ErrFetch},
		"M28 checkpoint missing":                              {"checkpoint", nil, proof.ErrFetch},
		"M28 checkpoint empty":                                {"checkpoint", cut(0), proof.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			files := w.files()
			switch {
			case c.path == "": // a whole other history under the old checkpoint
				other := newWorld(t)
				other.add(bundleLeaf(7777))
				files = other.grow(300).files()
				files["checkpoint"] = w.files()["checkpoint"]
			case c.change == nil:
				delete(files, c.path)
			default:
				files[c.path] = &fstest.MapFile{Data: c.change(files[c.path].Data)}
			}
			if r, err := w.log.Audit(t.Context(), w.tiles(files), options()); !errors.Is(err, c.want) {
				t.Errorf("%v, after %d", err, r.Leaves)
			}
		})
	}
}

func TestAuditOverHTTP(t *testing.T) {
	w := newWorld(t).grow(300)
	files := w.files()
	srv := httptest.NewServer(http.FileServerFS(files))
	defer srv.Close()
	for _, base := range []string{srv.URL, srv.URL + "/"} {
		r, err := w.log.Audit(t.Context(), must(proof.Fetch(base, nil))(t), options())
		if err != nil || r.Leaves != 300 {
			t.Errorf("%v after %d", err, r.Leaves)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.log.Audit(ctx, must(proof.Fetch(srv.URL, nil))(t), options()); !errors.Is(err, proof.ErrFetch) {
		t.Error(err)
	}
}

// GO-2023-1754: a few kilobytes that unpack to gigabytes.
func TestM35CompressedTileIsNotUnpacked(t *testing.T) {
	w := newWorld(t).grow(3)
	files := w.files()
	served := 0
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/tile/entries/") {
			http.FileServerFS(files).ServeHTTP(rw, r)
			return
		}
		if r.Header.Get("Accept-Encoding") == "gzip" {
			t.Error("the auditor asks for compressed tiles")
		}
		rw.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(rw)
		for range 64 << 10 { // 64 MiB of zeroes, 64 KiB on the wire
			_, _ = z.Write(make([]byte, 1024))
		}
		_ = z.Close()
		served++
	}))
	defer srv.Close()
	if _, err := w.log.Audit(t.Context(), must(proof.Fetch(srv.URL, nil))(t), options()); !errors.Is(err, proof.ErrTile) {
		t.Error(err)
	}
	if served == 0 {
		t.Error("the bomb was not served")
	}
}

// BenchmarkAudit audits 65,536 leaves from memory, per leaf.
func BenchmarkAudit(b *testing.B) {
	w := newWorld(b).grow(1 << 16)
	tiles := w.tiles(w.files())
	for b.Loop() {
		if _, err := w.log.Audit(b.Context(), tiles, options()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1<<16), "ns/leaf")
}

// A log that is asked to wait for a year is asked again: an auditor waits for nobody for ever.
func TestAuditDoesNotWaitForEver(t *testing.T) {
	w := newWorld(t).grow(3)
	files := http.FileServerFS(w.files())
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			rw.Header().Set("Retry-After", "31536000")
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		files.ServeHTTP(rw, r)
	}))
	defer s.Close()
	tiles, err := proof.Fetch(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := tiles.ReadEndpoint(ctx, "checkpoint"); err != nil || asked != 2 {
		t.Error(asked, err)
	}
}
