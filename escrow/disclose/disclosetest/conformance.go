package disclosetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// Store is what the suite is about: cases, what holds erasures up, the rules in
// force, and the log that all of them append to.
type Store interface {
	disclose.Cases
	// ObjectFor and CodeFor are what the person of a target does on their own page: they object,
	// or let a lawyer object once, with a code of which that is the SHA-256.
	ObjectFor(ctx context.Context, c disclose.Case, target int, sealed []byte, now time.Time) error
	CodeFor(ctx context.Context, c disclose.Case, target int, hash [32]byte, now time.Time) error
	disclose.Bundles
	Newest(ctx context.Context) (int64, error)
	Holding(ctx context.Context, now time.Time, after int64, n int) ([]disclose.Case, error)
	Size(ctx context.Context) (int64, error)
	Leaves(ctx context.Context, from, to int64) ([][]byte, error)
}

// Day is the day on which the cases of the suite are filed.
var Day = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// TestCases is the suite. Each store that open returns is empty.
func TestCases(t *testing.T, open func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"Filed once": filedOnce, "Unknown": unknown, "Rules of before": rulesOfBefore, "Rules follow one another": rulesFollowOneAnother, "Decided under rules of before": decidedUnderRulesOfBefore, "Withdrawal": withdrawal, "Daily number": dailyNumber,
		"Refused once for each code": refusedOnce, "A case goes its way": goesItsWay, "All or nothing": allOrNothing,
		"One after the other": oneAfterTheOther, "Queues": queues, "Of an authority": ofAnAuthority, "Exhibits": exhibits,
		"Rounds": rounds, "Taken back in part": partly, "Stopped by a superior court": stopped, "Ruled": ruled, "Said": said, "Absences": absences, "Emergencies": emergencies, "Prolonged": prolonged,
		"At the same moment": races, "What was filed": filedCounts, "Duties to write": duties, "Told first": toldFirst, "Read together": readTogether,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// NewCase is a warrant of that kind that nobody filed yet, for a quorum of one,
// and its leaf.
func NewCase(kind string) (disclose.Case, proof.Leaf) {
	var random [64]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	warrant := hex.EncodeToString(random[:32])
	sum := sha256.Sum256([]byte("{}"))
	c := disclose.Case{
		ID: seal.NewLabel(), WarrantHash: sha256.Sum256([]byte(warrant)), Authority: "court", WarrantID: warrant[:16], Kind: kind,
		Submission: policy.Submission{Warrant: warrant, Evidence: []string{"evidence"}},
		Bundle:     hex.EncodeToString(sum[:]), Salt: [32]byte(random[32:]), Quorum: 1, State: disclose.Recorded,
		SecrecyEnds: Day.AddDate(0, 3, 0), Expires: Day.AddDate(0, 0, 10), ApproveFrom: Day,
	}
	f := proof.Facets{Jurisdiction: "GB", OffenceClass: "threats-to-kill", WarrantKind: kind, SecrecyEnds: c.SecrecyEnds,
		Bundle: c.Bundle, Salt: c.Salt, Warrant: warrant}
	if proof.WarrantKindOf(kind).Targets {
		f.Targets = []proof.Target{{Pseudonym: "p", Platform: "q"}}
		c.Targets = []disclose.CaseTarget{{State: disclose.TargetWaiting}}
	}
	return c, proof.RecordedLeaf(Day, f)
}

// Approve is one custodian's approval, which is the quorum.
func Approve(c disclose.Case) (disclose.Change, error) {
	return disclose.Change{
		Approval: &disclose.Approval{Custodian: "bar", Approved: true, Signed: "signed", Bundle: c.Bundle},
		Steps: []disclose.Step{
			{Event: disclose.Approve, Leaf: proof.ApprovalLeaf(Day, c.RecordedLeaf, "bar", "", c.Salt, []byte("signed"))},
			{Event: disclose.Authorise, Leaf: proof.AuthorisedLeaf(Day, c.RecordedLeaf)},
		},
	}, nil
}

// Decline is one custodian's refusal, after which there is no quorum.
func Decline(c disclose.Case) (disclose.Change, error) {
	return disclose.Change{
		Approval: &disclose.Approval{Custodian: "bar", Signed: "signed", Bundle: c.Bundle},
		Steps: []disclose.Step{
			{Event: disclose.Decline, Leaf: proof.ApprovalLeaf(Day, c.RecordedLeaf, "bar", "declined.other", c.Salt, []byte("signed"))},
			{Event: disclose.Fail},
		},
	}, nil
}

// Release makes a package.
func Release(c disclose.Case) (disclose.Change, error) {
	pack := []byte("package of " + c.ID)
	return disclose.Change{Package: pack, Steps: []disclose.Step{
		{Event: disclose.Release, Leaf: proof.ReleasedLeaf(Day, c.RecordedLeaf, sha256.Sum256(pack), nil)}}}, nil
}

// Notify tells one person.
func Notify(c disclose.Case) (disclose.Change, error) {
	return disclose.Change{
		Notice: &disclose.Notice{To: []policy.Target{{Pseudonym: "pen1qqqqqqqqqqqqqqqqqqqqqqqqqq", Platform: "town-square"}}, Authority: "court",
			FileNumber: "1", LegalBasis: "1", Requester: "police", Fields: []string{"name"}, Leaf: c.RecordedLeaf, Day: Day},
		Steps: []disclose.Step{{Event: disclose.Notify, Leaf: proof.NoticedLeaf(Day, c.RecordedLeaf, c.Salt)}},
	}, nil
}

// Expire ends a case.
func Expire(c disclose.Case) (disclose.Change, error) {
	return disclose.Change{Steps: []disclose.Step{{Event: disclose.Expire, Leaf: proof.ExpiredLeaf(Day, c.RecordedLeaf)}}}, nil
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
		return v
	}
}

// file files a case and takes it through changes.
func file(t *testing.T, s Store, c disclose.Case, leaf proof.Leaf, changes ...func(disclose.Case) (disclose.Change, error)) disclose.Case {
	t.Helper()
	c = must[disclose.Case](t)(s.File(t.Context(), c, leaf))
	for _, change := range changes {
		c = must[disclose.Case](t)(s.Apply(t.Context(), c.ID, change))
	}
	return c
}

func filedOnce(t *testing.T, s Store) {
	c, leaf := NewCase(policy.Production)
	filed := file(t, s, c, leaf)
	if got := must[disclose.Case](t)(s.Case(t.Context(), c.ID)); !reflect.DeepEqual(got, filed) || got.Kind != policy.Production {
		t.Errorf("read as\n%+v, filed as\n%+v", got, filed)
	}
	again := c
	again.ID, again.WarrantHash, again.Salt = seal.NewLabel(), [32]byte{1}, [32]byte{2} // another signature of the same warrant
	if got := file(t, s, again, leaf); !reflect.DeepEqual(got, filed) {
		t.Errorf("filed again as %+v", got)
	}
	other, otherLeaf := NewCase(policy.Preservation)
	if got := file(t, s, other, otherLeaf); got.RecordedLeaf != filed.RecordedLeaf+1 || got.Kind != policy.Preservation {
		t.Errorf("the next leaf is %d, of a %s", got.RecordedLeaf, got.Kind)
	}
	if newest := must[int64](t)(s.Newest(t.Context())); newest != filed.RecordedLeaf+1 {
		t.Errorf("the newest case is %d", newest)
	}
}

// readTogether: what is read together, and what is stored between, is as it is otherwise.
func readTogether(t *testing.T, s Store) {
	installed(t, s, "{}")
	c, leaf := NewCase(policy.Production)
	c = file(t, s, c, leaf)
	ctx, confirm := s.Together(t.Context())
	if err := confirm(); err != nil {
		t.Error("nothing was read:", err)
	}
	for approvals := range 2 {
		got, err := s.Case(ctx, c.ID)
		if err != nil || got.ID != c.ID || len(got.Approvals) != approvals {
			t.Errorf("%d approvals, %v", len(got.Approvals), err)
		}
		if err := confirm(); err != nil {
			t.Error(err)
		}
		if _, err := s.Apply(ctx, c.ID, Approve); approvals == 0 && err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Case(ctx, "none"); !errors.Is(err, disclose.ErrNoCase) || confirm() != nil {
		t.Error(err)
	}
}

func unknown(t *testing.T, s Store) {
	ctx, id := t.Context(), seal.NewLabel()
	_, err1 := s.Case(ctx, id)
	_, err2 := s.Summary(ctx, id)
	_, err3 := s.Package(ctx, id, 0)
	_, err4 := s.Apply(ctx, id, Approve)
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, disclose.ErrNoCase) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if newest, err := s.Newest(ctx); newest != -1 || err != nil {
		t.Errorf("newest of none: %d, %v", newest, err)
	}
	if _, _, err := s.Current(ctx); !errors.Is(err, disclose.ErrNoBundle) {
		t.Errorf("no rules: %v", err)
	}
}

// installed puts bundles in force, each after the one before, and returns their
// hashes.
func installed(t *testing.T, s Store, bundles ...string) (hashes []string) {
	t.Helper()
	after := ""
	for _, b := range bundles {
		sum := sha256.Sum256([]byte(b))
		hash := hex.EncodeToString(sum[:])
		if err := s.Install(t.Context(), []byte(b), []string{"of " + b}, proof.BundleLeaf(Day, hash), after); err != nil {
			t.Fatal(err)
		}
		after, hashes = hash, append(hashes, hash)
	}
	return hashes
}

func rulesOfBefore(t *testing.T, s Store) {
	hashes := installed(t, s, "{}", `{"next":1}`)
	c, leaf := NewCase(policy.Production) // under {}
	if _, err := s.File(t.Context(), c, leaf); !errors.Is(err, policy.ErrWrongBundle) {
		t.Errorf("decided under the rules of before: %v", err)
	}
	if n := must[int64](t)(s.Size(t.Context())); n != 2 {
		t.Errorf("%d leaves", n)
	}
	if have := must[[]string](t)(s.History(t.Context())); !slices.Equal(have, hashes) {
		t.Errorf("%v, installed as %v", have, hashes)
	}
	raw, endorsements, err := s.Bundle(t.Context(), hashes[0])
	if err != nil || string(raw) != "{}" || !slices.Equal(endorsements, []string{"of {}"}) {
		t.Errorf("%s, %v, %v", raw, endorsements, err)
	}
	if _, _, err := s.Bundle(t.Context(), strings.Repeat("0", 64)); !errors.Is(err, disclose.ErrUnknownBundle) {
		t.Error(err)
	}
}

// O2: no bundle comes back, and of two that follow one the first wins.
func rulesFollowOneAnother(t *testing.T, s Store) {
	hashes := installed(t, s, "{}", `{"next":1}`)
	for name, x := range map[string]struct{ bundle, after string }{
		"an older one again": {"{}", ""}, "an older one after the newest": {"{}", hashes[1]}, "a rival": {`{"next":2}`, hashes[0]},
	} {
		sum := sha256.Sum256([]byte(x.bundle))
		err := s.Install(t.Context(), []byte(x.bundle), nil, proof.BundleLeaf(Day, hex.EncodeToString(sum[:])), x.after)
		if !errors.Is(err, policy.ErrNotNext) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A repeat of the one in force, whose answer was lost, appends nothing.
	if err := s.Install(t.Context(), []byte(`{"next":1}`), nil, proof.BundleLeaf(Day, hashes[1]), hashes[0]); err != nil {
		t.Error(err)
	}
	if n := must[int64](t)(s.Size(t.Context())); n != 2 {
		t.Errorf("%d leaves", n)
	}
}

// What was decided under rules that newer ones replaced meanwhile is not stored.
func decidedUnderRulesOfBefore(t *testing.T, s Store) {
	first := installed(t, s, "{}")
	c, leaf := NewCase(policy.Production)
	c = file(t, s, c, leaf)
	sum := sha256.Sum256([]byte(`{"next":1}`))
	if err := s.Install(t.Context(), []byte(`{"next":1}`), nil, proof.BundleLeaf(Day, hex.EncodeToString(sum[:])), first[0]); err != nil {
		t.Fatal(err)
	}
	under := func(hash string) func(disclose.Case) (disclose.Change, error) {
		return func(c disclose.Case) (disclose.Change, error) {
			change, err := Approve(c)
			change.InForce, change.Approval.Bundle = hash, hash
			return change, err
		}
	}
	if _, err := s.Apply(t.Context(), c.ID, under(first[0])); !errors.Is(err, disclose.ErrRulesChanged) {
		t.Errorf("by a custodian of before: %v", err)
	}
	if n := must[int64](t)(s.Size(t.Context())); n != 3 {
		t.Errorf("%d leaves", n)
	}
	after := must[disclose.Case](t)(s.Apply(t.Context(), c.ID, under(hex.EncodeToString(sum[:]))))
	if read := must[disclose.Case](t)(s.Case(t.Context(), c.ID)); after.State != disclose.Authorised || !reflect.DeepEqual(read, after) {
		t.Errorf("read as\n%+v, returned as\n%+v", read, after)
	}
}

func withdrawal(t *testing.T, s Store) {
	stop := func(c disclose.Case) (disclose.Case, proof.Leaf) {
		w, leaf := NewCase(policy.Withdrawal)
		w.Earlier = &c.WarrantHash
		return w, leaf
	}
	c, leaf := NewCase(policy.Production)
	recorded := file(t, s, c, leaf)
	c, leaf = NewCase(policy.Production)
	released := file(t, s, c, leaf, Approve, Release)
	size := must[int64](t)(s.Size(t.Context()))
	for name, x := range map[string]struct {
		of   disclose.Case
		edit func(*disclose.Case)
		want error
	}{
		"another court's":   {recorded, func(c *disclose.Case) { c.Authority = "other" }, disclose.ErrNoEarlier},
		"unknown":           {recorded, func(c *disclose.Case) { c.Earlier = &[32]byte{1} }, disclose.ErrNoEarlier},
		"after its release": {released, func(*disclose.Case) {}, disclose.ErrTooLate},
	} {
		w, leaf := stop(x.of)
		x.edit(&w)
		if _, err := s.File(t.Context(), w, leaf); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
		if got := must[disclose.Case](t)(s.Case(t.Context(), x.of.ID)); got.State != x.of.State || must[int64](t)(s.Size(t.Context())) != size {
			t.Errorf("%s: %s", name, got.State)
		}
	}
	w, leaf := stop(recorded)
	filed := file(t, s, w, leaf)
	if got := must[disclose.Case](t)(s.Case(t.Context(), recorded.ID)); got.State != disclose.Withdrawn {
		t.Errorf("withdrawn: %s", got.State)
	}
	raw := must[[][]byte](t)(s.Leaves(t.Context(), filed.RecordedLeaf, filed.RecordedLeaf+1))
	if l := must[proof.Leaf](t)(proof.ParseLeaf(raw[0])); l.Case == nil || *l.Case != recorded.RecordedLeaf {
		t.Errorf("the leaf concerns %v", l.Case)
	}
}

// dailyNumber: of warrants filed at the same moment exactly the number of the day
// is recorded, for each authority and day anew. What is on file is found again,
// and a court can always withdraw.
func dailyNumber(t *testing.T, s Store) {
	const daily = 3
	under := func(authority, kind, day string) (disclose.Case, proof.Leaf) {
		c, leaf := NewCase(kind)
		c.Authority, c.Daily, leaf.Day = authority, daily, day
		return c, leaf
	}
	days := []string{Day.Format(time.DateOnly), Day.AddDate(0, 0, 1).Format(time.DateOnly)}
	var first disclose.Case
	for _, day := range days {
		for _, authority := range []string{"court", "other"} {
			var wg sync.WaitGroup
			var mu sync.Mutex
			recorded, refused := 0, 0
			for range 3 * daily {
				wg.Go(func() {
					c, leaf := under(authority, policy.Production, day)
					c, err := s.File(context.WithoutCancel(t.Context()), c, leaf)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						recorded++
						first = c
					case errors.Is(err, disclose.ErrDailyNumber):
						refused++
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if recorded != daily || refused != 2*daily {
				t.Errorf("%s, %s: %d recorded, %d refused", authority, day, recorded, refused)
			}
		}
	}
	if n := must[int64](t)(s.Size(t.Context())); n != 4*daily {
		t.Errorf("%d leaves", n)
	}
	_, leaf := under(first.Authority, policy.Production, days[1])
	if again, err := s.File(t.Context(), first, leaf); err != nil || again.ID != first.ID {
		t.Errorf("filed again: %v", err)
	}
	w, leaf := under(first.Authority, policy.Withdrawal, days[1])
	w.Earlier = &first.WarrantHash
	file(t, s, w, leaf)
}

func refusedOnce(t *testing.T, s Store) {
	for _, r := range []struct {
		authority, warrant, code string
		size                     int64
	}{
		{"court", "1", "warrant.a", 1}, {"court", "1", "warrant.a", 1}, {"court", "1", "warrant.b", 2}, {"court", "2", "warrant.a", 3},
		{"other", "1", "warrant.a", 4}, {"other", "1", "warrant.a", 4}, {"cour", "t1", "warrant.a", 5},
	} {
		if err := s.Refuse(t.Context(), r.authority, r.warrant, proof.RefusedLeaf(Day, r.code)); err != nil {
			t.Fatal(err)
		}
		if n := must[int64](t)(s.Size(t.Context())); n != r.size {
			t.Errorf("%d leaves, want %d", n, r.size)
		}
	}
}

func goesItsWay(t *testing.T, s Store) {
	c, leaf := NewCase(policy.Production)
	c = file(t, s, c, leaf)
	for i, step := range []struct {
		change func(disclose.Case) (disclose.Change, error)
		state  disclose.State
		leaves [4]int64 // authorised, released, expired, noticed
	}{
		{Approve, disclose.Authorised, [4]int64{2}}, {Release, disclose.Released, [4]int64{2, 3}}, {Notify, disclose.Noticed, [4]int64{2, 3, 0, 4}},
	} {
		got := must[disclose.Case](t)(s.Apply(t.Context(), c.ID, step.change))
		if got.State != step.state || len(got.Rounds) != 1 ||
			[4]int64{got.Rounds[0].AuthorisedLeaf, got.Rounds[0].ReleasedLeaf, got.ExpiredLeaf, got.NoticedLeaf} != step.leaves {
			t.Errorf("step %d: %+v", i, got)
		}
		if read := must[disclose.Case](t)(s.Case(t.Context(), c.ID)); !reflect.DeepEqual(read, got) {
			t.Errorf("step %d: read as\n%+v, returned as\n%+v", i, read, got)
		}
		if sum := must[disclose.Summary](t)(s.Summary(t.Context(), c.ID)); sum != got.Summary() || sum.Approved != 1 {
			t.Errorf("step %d: summary %+v", i, sum)
		}
		want := ""
		if got.Rounds[0].ReleasedLeaf != 0 {
			want = "package of " + c.ID
		}
		if pack := must[[]byte](t)(s.Package(t.Context(), c.ID, 0)); string(pack) != want {
			t.Errorf("step %d: package %q", i, pack)
		}
	}
	if n := must[int64](t)(s.Size(t.Context())); n != 5 {
		t.Errorf("%d leaves", n)
	}
}

func allOrNothing(t *testing.T, s Store) {
	c, leaf := NewCase(policy.Production)
	c = file(t, s, c, leaf)
	stop := errors.New("stop")
	for name, change := range map[string]func(disclose.Case) (disclose.Change, error){
		"its own error":   func(c disclose.Case) (disclose.Change, error) { ch, _ := Approve(c); return ch, stop },
		"a state skipped": Release,
		"the second step": func(c disclose.Case) (disclose.Change, error) {
			ch, err := Approve(c)
			ch.Steps[1].Event = disclose.Release
			return ch, err
		},
		"a leaf that is none": func(c disclose.Case) (disclose.Change, error) {
			ch, err := Approve(c)
			ch.Steps[1].Leaf.Salt = "x"
			return ch, err
		},
	} {
		if _, err := s.Apply(t.Context(), c.ID, change); err == nil || name == "its own error" && !errors.Is(err, stop) {
			t.Errorf("%s: %v", name, err)
		}
		if got := must[disclose.Case](t)(s.Case(t.Context(), c.ID)); !reflect.DeepEqual(got, c) || must[int64](t)(s.Size(t.Context())) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func oneAfterTheOther(t *testing.T, s Store) {
	c, leaf := NewCase(policy.Production)
	c = file(t, s, c, leaf)
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range 6 {
		wg.Go(func() {
			_, err := s.Apply(t.Context(), c.ID, func(c disclose.Case) (disclose.Change, error) {
				if _, err := c.State.May(disclose.Authorise); err != nil {
					return disclose.Change{}, err
				}
				return Approve(c)
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case !errors.Is(err, disclose.ErrCaseClosed):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := must[int64](t)(s.Size(t.Context())); done != 1 || n != 3 {
		t.Errorf("authorised %d times, %d leaves", done, n)
	}
}

// ofAnAuthority holds the list of an authority against [disclose.Summary.Due], with cases of
// every kind and state of two, in pages.
func ofAnAuthority(t *testing.T, s Store) {
	all := make(map[string][]disclose.Summary)
	for _, kind := range []string{policy.Production, policy.Preservation, policy.Withdrawal, policy.Emergency, policy.Suspension} {
		lives := [][]func(disclose.Case) (disclose.Change, error){
			{}, {Approve}, {Decline}, {Expire}, {Approve, Expire}, {Approve, Release}, {Approve, Release, Notify},
		}
		if kind == policy.Suspension {
			lives = lives[:4]
		}
		for n, changes := range lives {
			for days := range 3 {
				c, leaf := NewCase(kind)
				if c.Authority = "court"; (n+days)%2 == 1 {
					c.Authority = "tribunal"
				}
				if kind == policy.Emergency {
					c.ValidateBy = Day.AddDate(0, 0, 4+days)
				}
				c.Expires, c.SecrecyEnds = Day.AddDate(0, 0, 9-2*days), Day.AddDate(0, 0, 5*days)
				c.ApproveFrom = Day.AddDate(0, 0, -3*days).Add(700 * time.Millisecond)
				if kind == policy.Withdrawal {
					earlier, of := NewCase(policy.Production)
					file(t, s, earlier, of)
					c.Earlier, c.Authority = &earlier.WarrantHash, "court"
					all["court"] = append(all["court"], must[disclose.Summary](t)(s.Summary(t.Context(), earlier.ID)))
				}
				all[c.Authority] = append(all[c.Authority], must[disclose.Summary](t)(s.Summary(t.Context(), file(t, s, c, leaf, changes...).ID)))
			}
		}
	}
	for authority, cases := range all {
		var want, got []disclose.Summary
		for _, c := range cases {
			c = must[disclose.Summary](t)(s.Summary(t.Context(), c.ID)) // a later one may have ended it
			if _, due := c.Due(); due {
				want = append(want, c)
			}
		}
		slices.SortFunc(want, func(a, b disclose.Summary) int {
			x, y := disclose.AfterDue(a), disclose.AfterDue(b)
			return cmp.Or(x.Due.Compare(y.Due), cmp.Compare(x.Leaf, y.Leaf))
		})
		for from, more := (disclose.Cursor{}), true; more; {
			page := must[[]disclose.Summary](t)(s.CasesOf(t.Context(), authority, from, 4))
			for _, c := range page {
				got, from = append(got, c), disclose.AfterDue(c)
			}
			more = len(page) == 4
		}
		if len(want) < 10 || !slices.Equal(got, want) {
			t.Errorf("%s: %s, want %s", authority, brief(got), brief(want))
		}
	}
	if page, err := s.CasesOf(t.Context(), "nobody", disclose.Cursor{}, 4); err != nil || len(page) != 0 {
		t.Errorf("of nobody: %s, %v", brief(page), err)
	}
}

// queues holds every list against [disclose.Queue.Due] and [disclose.Case.Holds],
// with cases of every kind and state, in pages.
func queues(t *testing.T, s Store) {
	var ids []string
	for _, kind := range []string{policy.Production, policy.Preservation, policy.Withdrawal, policy.Emergency, policy.Suspension} {
		lives := [][]func(disclose.Case) (disclose.Change, error){
			{}, {Approve}, {Decline}, {Expire}, {Approve, Expire}, {Approve, Release}, {Approve, Release, Notify},
		}
		if kind == policy.Suspension { // nothing of it is released, and in force it does not run out
			lives = lives[:4]
		}
		for _, changes := range lives {
			for days := range 3 {
				c, leaf := NewCase(kind)
				if kind == policy.Emergency {
					c.ValidateBy = Day.AddDate(0, 0, 4+days)
				}
				c.Expires, c.SecrecyEnds, c.ApproveFrom = Day.AddDate(0, 0, 9-2*days), Day.AddDate(0, 0, 3*days), Day.AddDate(0, 0, days)
				if kind == policy.Withdrawal {
					earlier, of := NewCase(policy.Production)
					file(t, s, earlier, of)
					c.Earlier, ids = &earlier.WarrantHash, append(ids, earlier.ID)
				}
				ids = append(ids, file(t, s, c, leaf, changes...).ID)
			}
		}
	}
	all := make([]disclose.Case, len(ids)) // in the order of their recorded leaves
	for i, id := range ids {
		all[i] = must[disclose.Case](t)(s.Case(t.Context(), id))
	}
	for _, now := range []time.Time{Day.Add(-time.Hour), Day, Day.AddDate(0, 0, 5), Day.AddDate(0, 0, 6), Day.AddDate(1, 0, 0)} {
		for _, q := range disclose.Queues {
			listed(t, s, all, q, now)
		}
		var want, got []string
		for _, c := range all {
			if c.Holds(now) {
				want = append(want, c.ID)
			}
		}
		for after, more := int64(-1), true; more; {
			page := must[[]disclose.Case](t)(s.Holding(t.Context(), now, after, 5))
			for _, c := range page {
				got, after = append(got, c.ID), c.RecordedLeaf
			}
			more = len(page) == 5
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d cases hold, want %d", now, len(got), len(want))
		}
	}
}

// listed checks one queue at one time, in pages of four.
func listed(t *testing.T, s Store, all []disclose.Case, q disclose.Queue, now time.Time) {
	t.Helper()
	var want, got []disclose.Summary
	for _, c := range all {
		if _, in := q.Due(c, now); in {
			want = append(want, c.Summary())
		}
	}
	slices.SortStableFunc(want, func(a, b disclose.Summary) int {
		return cmp.Or(q.After(a).Due.Compare(q.After(b).Due), cmp.Compare(a.Leaf, b.Leaf))
	})
	for from, more := (disclose.Cursor{}), true; more; {
		page := must[[]disclose.Summary](t)(s.List(t.Context(), q, now, from, 4))
		for _, c := range page {
			got, from = append(got, c), q.After(c)
		}
		more = len(page) == 4
	}
	if !slices.Equal(got, want) {
		t.Errorf("queue %d at %s: %s, want %s", q, now, brief(got), brief(want))
	}
}

func brief(list []disclose.Summary) (text string) {
	for _, s := range list {
		text += fmt.Sprintf("%d %s %s, ", s.Leaf, s.Kind, s.State)
	}
	return text
}
