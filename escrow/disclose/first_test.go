package disclose_test

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// posted is a store whose mails have that outcome.
type posted struct {
	*disclosetest.Memory
	outcome disclose.MailOutcome
}

func (p *posted) Mailed(_ context.Context, _ string, _ disclose.Letter) (map[int]disclose.Mailed, error) {
	return map[int]disclose.Mailed{0: {Outcome: disclose.MailNoAddress}, 1: {Outcome: p.outcome}}, nil
}

// The days to object begin when the notice is on the pages and each mail was accepted, or
// there is no address; after three days without that, the persons were not reached.
func TestTheDaysBeginWhenAPersonCouldKnow(t *testing.T) {
	for name, row := range map[string]struct {
		outcome disclose.MailOutcome
		after   time.Duration
		told    bool
		reached bool
	}{
		"no address":               {disclose.MailNoAddress, 0, true, true},
		"accepted":                 {disclose.MailAccepted, 0, true, true},
		"waits":                    {disclose.MailWaiting, 71 * time.Hour, false, false},
		"waits for three days":     {disclose.MailWaiting, 72 * time.Hour, true, false},
		"refused by the server":    {disclose.MailRefused, 0, true, false},
		"accepted on the last day": {disclose.MailAccepted, 71 * time.Hour, true, true},
	} {
		now := disclosetest.Day
		store := &posted{new(disclosetest.Memory), row.outcome}
		c, leaf := disclosetest.FirstOrder(t, 2)
		c, err := store.File(t.Context(), c, leaf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Apply(t.Context(), c.ID, disclosetest.Shows); err != nil {
			t.Fatal(err)
		}
		r := &disclose.Registrar{Cases: store, Now: func() time.Time { return now.Add(row.after) }}
		for range 2 { // the second time there is nothing to do
			if _, err := r.Tell(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		got, err := store.Case(t.Context(), c.ID)
		if err != nil || (got.First.Leaf != 0) != row.told || got.First.Reached != row.reached {
			t.Errorf("%s: %+v, %v", name, got.First, err)
		}
		if size, err := store.Size(t.Context()); err != nil || size != c.RecordedLeaf+1+map[bool]int64{true: 1}[row.told] {
			t.Errorf("%s: %d leaves, %v", name, size, err)
		}
	}
}

// What was released while a person objects in time stays shut, and their objection is logged
// once, with a leaf that says neither who nor why.
func TestAnObjectionIsLoggedOnceAndKeepsTheCase(t *testing.T) {
	ctx, now := t.Context(), disclosetest.Day
	store := &posted{new(disclosetest.Memory), disclose.MailAccepted}
	c, leaf := disclosetest.FirstOrder(t, 2)
	c, err := store.File(ctx, c, leaf)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = store.Apply(ctx, c.ID, disclosetest.Shows); err != nil {
		t.Fatal(err)
	}
	r := &disclose.Registrar{Cases: store, Now: func() time.Time { return now }}
	tell := func() {
		t.Helper()
		if _, err := r.Tell(ctx); err != nil {
			t.Fatal(err)
		}
	}
	tell()
	if err := store.ObjectFor(ctx, c, 1, []byte("sealed"), now); err != nil {
		t.Fatal(err)
	}
	tell()
	tell()
	size, err := store.Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := store.Leaves(ctx, c.RecordedLeaf+1, size)
	if err != nil || len(raw) != 2 {
		t.Fatal(len(raw), err)
	}
	for i, want := range []proof.Leaf{proof.ToldLeaf(now, c.RecordedLeaf, true), proof.ObjectedLeaf(now, c.RecordedLeaf)} {
		if b, err := want.Marshal(); err != nil || string(b) != string(raw[i]) {
			t.Errorf("%s", raw[i])
		}
	}
	now = now.AddDate(0, 0, 11)
	if _, err := store.Apply(ctx, c.ID, disclosetest.Votes("bar", 0)); !errors.Is(err, policy.ErrObjection) {
		t.Errorf("authorised under an objection: %v", err)
	}
	got, err := store.Case(ctx, c.ID)
	what := func(d string) bool {
		return slices.ContainsFunc(got.Deadlines(), func(l opening.Deadline) bool { return l.What == d && !l.Met })
	}
	if err != nil || !what("a court rules on the objection, or the warrant runs out") {
		t.Errorf("%+v, %v", got.Deadlines(), err)
	}
	if what(opening.DeadlineSecrecy) {
		t.Error("secrecy ends of what the persons were told of first")
	}
	ruling, leaf := disclosetest.About(t, policy.Ruling, c, c.Authority)
	ruling.Warrant.Ruling = &policy.RulingOn{Digest: hex.EncodeToString(got.Objections[0].Digest[:]), Outcome: policy.Dismissed}
	if _, err := store.File(ctx, ruling, leaf); err != nil {
		t.Fatal(err)
	}
	if o, err := r.Objections(ctx, c.ID); err != nil || o[0].Outcome != policy.Dismissed || o[0].Ruling != "" || o[0].Revocation != nil {
		t.Errorf("who knows the id alone reads what a court says: %+v, %v", o, err)
	}
	if _, err := r.Coded(ctx, "no-such-code"); !errors.Is(err, policy.ErrNoNotice) {
		t.Error(err)
	}
	for _, sealed := range [][]byte{nil, make([]byte, policy.MaxObjection+1)} {
		if _, err := r.Object(ctx, "no-such-code", sealed); !errors.Is(err, policy.ErrObjectionText) {
			t.Errorf("%d bytes: %v", len(sealed), err)
		}
	}
}

// I25: once secrecy has ended a leaf says that the persons were told, within a minute of the
// scheduler being up, or an hour where the key service is away: whatever mail does, and however
// often the scheduler stops and starts.
func TestI25ANoticeWaitsForNoMail(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx, now := t.Context(), disclosetest.Day
		store := &posted{new(disclosetest.Memory), disclose.MailWaiting} // no mail server answers, ever
		r := &disclose.Registrar{Cases: store, Now: func() time.Time { return now }}
		ends := make(map[string]time.Time)
		for range rapid.IntRange(1, 6).Draw(rt, "cases") {
			c, leaf := disclosetest.NewCase(policy.Production)
			c.Warrant = &policy.Warrant{Targets: []policy.Target{{Pseudonym: "p", Platform: "q"}}} // of which the key service knows nothing
			c.SecrecyEnds = disclosetest.Day.Add(time.Duration(rapid.IntRange(0, 600).Draw(rt, "minutes")) * time.Minute)
			if _, err := store.File(ctx, c, leaf); err != nil {
				rt.Fatal(err)
			}
			for _, change := range []func(disclose.Case) (disclose.Change, error){disclosetest.Approve, disclosetest.Release} {
				if _, err := store.Apply(ctx, c.ID, change); err != nil {
					rt.Fatal(err)
				}
			}
			ends[c.ID] = c.SecrecyEnds
		}
		run := func(minutes int) {
			for range minutes {
				now = now.Add(time.Minute)
				_, _ = r.Notify(ctx) // it fails while the key service does, and goes on
			}
		}
		for range rapid.IntRange(0, 4).Draw(rt, "stops") {
			run(rapid.IntRange(0, 90).Draw(rt, "up"))
			now = now.Add(time.Duration(rapid.IntRange(1, 300).Draw(rt, "down")) * time.Minute)
		}
		up := now // from here on it stays up
		run(12 * 60)
		for id, end := range ends {
			c, err := store.Case(ctx, id)
			if err != nil || c.NoticedLeaf == 0 {
				rt.Fatalf("secret until %s, up since %s, never told: %v", end, up, err)
			}
		}
	})
}
