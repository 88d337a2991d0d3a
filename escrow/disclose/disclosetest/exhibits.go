package disclosetest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/exhibit"
)

// exhibits are stored once each, in the case that declares them and at the length that
// they must have, and stay until the time to appeal is over.
func exhibits(t *testing.T, s Store) {
	ctx := t.Context()
	declare := func(digests ...byte) disclose.Case {
		c, leaf := NewCase("production")
		c.KeepDays = 30
		for _, d := range digests {
			c.Exhibits = append(c.Exhibits, disclose.SealedExhibit{Digest: [32]byte{d}, Length: 4})
		}
		return file(t, s, c, leaf)
	}
	a, b, none := declare(2, 1), declare(3), declare()
	putExhibits(t, s, a, b)
	found := must[disclose.StoredExhibits](t)(s.Exhibits(ctx, a.ID))
	until := Day.AddDate(0, 3, 30) // secrecy ends after the warrant
	if found.Stored != 1 || !slices.Equal(found.Missing, [][32]byte{{2}}) || !found.Until.Equal(until) {
		t.Errorf("stored: %+v", found)
	}
	if found := must[disclose.StoredExhibits](t)(s.Exhibits(ctx, none.ID)); found.Stored+len(found.Missing) != 0 || !found.Until.IsZero() {
		t.Errorf("of a case without: %+v", found)
	}
	if _, err := s.Exhibits(ctx, "none"); !errors.Is(err, disclose.ErrNoCase) {
		t.Error(err)
	}

	putShort(t, s, declare(4, 5, 6))
	putCopies(t, s, a, b)

	// What is told late is kept the longer, and what is open is kept.
	for _, step := range []func(disclose.Case) (disclose.Change, error){Approve, Release} {
		must[disclose.Case](t)(s.Apply(ctx, a.ID, step))
	}
	if err := s.PutCopy(ctx, a.ID, [32]byte{1}, [32]byte{9}, []byte("late")); !errors.Is(err, disclose.ErrCaseClosed) {
		t.Error(err)
	}
	must[disclose.Case](t)(s.Apply(ctx, b.ID, Expire))
	dropped(t, s, until.Add(-time.Second), 0)
	dropped(t, s, until, 1) // b, which ran out; a is still released
	late := until.AddDate(0, 0, 7)
	must[disclose.Case](t)(s.Apply(ctx, a.ID, func(c disclose.Case) (disclose.Change, error) {
		change, err := Notify(c)
		change.Notice.Day = late
		return change, err
	}))
	dropped(t, s, late, 0)
	dropped(t, s, late.AddDate(0, 0, 30), 1)
	dropped(t, s, late.AddDate(0, 0, 30), 0)
	if _, err := s.Exhibit(ctx, a.ID, [32]byte{1}); !errors.Is(err, disclose.ErrNoExhibit) {
		t.Error(err)
	}
	if err := s.PutExhibit(ctx, a.ID, [32]byte{1}, []byte("good")); !errors.Is(err, disclose.ErrExhibitUndeclared) {
		t.Error(err)
	}
	if _, err := s.Copy(ctx, a.ID, [32]byte{1}, [32]byte{8}); !errors.Is(err, disclose.ErrNoExhibit) {
		t.Error(err)
	}
	if err := s.PutCopy(ctx, a.ID, [32]byte{1}, [32]byte{8}, []byte("copy")); !errors.Is(err, disclose.ErrExhibitUndeclared) {
		t.Error(err)
	}
}

// putCopies are stored once each, beside the exhibit, for one recipient.
func putCopies(t *testing.T, s Store, a, b disclose.Case) {
	t.Helper()
	ctx := t.Context()
	for _, c := range []struct {
		name       string
		id         string
		digest, to byte
		copied     string
		want       error
	}{
		{"not declared", a.ID, 9, 8, "copy", disclose.ErrExhibitUndeclared},
		{"declared in another case", a.ID, 3, 8, "copy", disclose.ErrExhibitUndeclared},
		{"of no case", "none", 1, 8, "copy", disclose.ErrExhibitUndeclared},
		{"too long", a.ID, 1, 8, strings.Repeat("x", 4+exhibit.MaxSignature+1), disclose.ErrExhibitLength},
		{"of a declared one", a.ID, 1, 8, "copy", nil},
		{"the same again", a.ID, 1, 8, "copy", nil},
		{"other bytes", a.ID, 1, 8, "evil", disclose.ErrExhibitStored},
		{"for another", a.ID, 1, 7, "more", nil},
	} {
		if err := s.PutCopy(ctx, c.id, [32]byte{c.digest}, [32]byte{c.to}, []byte(c.copied)); !errors.Is(err, c.want) {
			t.Errorf("a copy, %s: %v", c.name, err)
		}
	}
	for to, want := range map[byte]string{8: "copy", 7: "more"} {
		if got, err := s.Copy(ctx, a.ID, [32]byte{1}, [32]byte{to}); err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	for name, c := range map[string]struct {
		id         string
		digest, to byte
	}{"for nobody": {a.ID, 1, 6}, "of another": {a.ID, 2, 8}, "of another case": {b.ID, 1, 8}, "of no case": {"none", 1, 8}} {
		if _, err := s.Copy(ctx, c.id, [32]byte{c.digest}, [32]byte{c.to}); !errors.Is(err, disclose.ErrNoExhibit) {
			t.Errorf("a copy, %s: %v", name, err)
		}
	}
	if got, err := s.Exhibit(ctx, a.ID, [32]byte{1}); err != nil || string(got) != "good" {
		t.Errorf("beside its copies: %q, %v", got, err)
	}
}

func putExhibits(t *testing.T, s Store, a, b disclose.Case) {
	t.Helper()
	ctx := t.Context()
	for _, c := range []struct {
		name   string
		id     string
		digest byte
		sealed string
		want   error
	}{
		{"not declared", a.ID, 9, "good", disclose.ErrExhibitUndeclared},
		{"declared in another case", a.ID, 3, "good", disclose.ErrExhibitUndeclared},
		{"of no case", "none", 1, "good", disclose.ErrExhibitUndeclared},
		{"too short", a.ID, 1, "goo", disclose.ErrExhibitLength},
		{"too long", a.ID, 1, "goods", disclose.ErrExhibitLength},
		{"empty", a.ID, 1, "", disclose.ErrExhibitLength},
		{"as declared", a.ID, 1, "good", nil},
		{"the same again", a.ID, 1, "good", nil},
		{"other bytes", a.ID, 1, "evil", disclose.ErrExhibitStored},
	} {
		if err := s.PutExhibit(ctx, c.id, [32]byte{c.digest}, []byte(c.sealed)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got, err := s.Exhibit(ctx, a.ID, [32]byte{1}); err != nil || !bytes.Equal(got, []byte("good")) {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range []struct {
		id     string
		digest byte
	}{{a.ID, 2}, {b.ID, 1}, {"none", 1}} {
		if _, err := s.Exhibit(ctx, c.id, [32]byte{c.digest}); !errors.Is(err, disclose.ErrNoExhibit) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// putShort: several are stored together, or none of them, and what is stored stays.
func putShort(t *testing.T, s Store, c disclose.Case) {
	t.Helper()
	ctx := t.Context()
	type all = map[[32]byte][]byte
	four, five, six := [32]byte{4}, [32]byte{5}, [32]byte{6}
	for _, put := range []struct {
		name   string
		id     string
		sealed all
		want   error
	}{
		{"none", c.ID, nil, nil},
		{"one is not declared", c.ID, all{four: []byte("evil"), {9}: []byte("evil")}, disclose.ErrExhibitUndeclared},
		{"one is declared in another case", c.ID, all{four: []byte("evil"), {1}: []byte("good")}, disclose.ErrExhibitUndeclared},
		{"of no case", "none", all{four: []byte("evil")}, disclose.ErrExhibitUndeclared},
		{"one is too long", c.ID, all{four: []byte("evil"), five: []byte("goods")}, disclose.ErrExhibitLength},
		{"as declared", c.ID, all{four: []byte("four"), five: []byte("five")}, nil},
		{"one is stored", c.ID, all{five: []byte("evil"), six: []byte("six!")}, nil},
	} {
		if err := s.PutExhibits(ctx, put.id, put.sealed); !errors.Is(err, put.want) {
			t.Errorf("together, %s: %v", put.name, err)
		}
	}
	got, err := s.ShortExhibits(ctx, c.ID, [][32]byte{six, five, {9}, {1}, four})
	if want := (all{four: []byte("four"), five: []byte("five"), six: []byte("six!")}); err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("together: %q, %v", got, err)
	}
	for id, of := range map[string][][32]byte{c.ID: nil, "none": {four}} {
		if got, err := s.ShortExhibits(ctx, id, of); err != nil || len(got) > 0 {
			t.Errorf("together, of %s: %q, %v", id, got, err)
		}
	}
}

func dropped(t *testing.T, s Store, now time.Time, want int) {
	t.Helper()
	if n, err := s.DropExhibits(t.Context(), now); err != nil || n != want {
		t.Errorf("at %v dropped of %d cases, %v", now, n, err)
	}
}
