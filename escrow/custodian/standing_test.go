package custodian

import (
	"errors"
	"slices"
	"testing"
)

// TestCeremoniesThatGoOn: a folder tells which ceremonies wait, and for whom, without asking
// anybody; not those that are over, in which somebody was at fault, or of another key.
func TestCeremoniesThatGoOn(t *testing.T) {
	v := newCircle(t, "alba", "bruno", "chidi")
	in := func(id string) []Ceremony {
		t.Helper()
		all, err := v.open(id).Ceremonies()
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := in("alba"); len(all) != 0 {
		t.Fatalf("before there was any: %+v", all)
	}
	file, hash := v.plan(2, nil, nil, "alba", "bruno", "chidi")
	v.turn("alba", file, hash)
	all := in("alba")
	if len(all) != 1 || string(all[0].Plan) != string(v.read(file)) || all[0].Status.Plan != hash || all[0].Status.State != "waiting" || !slices.Equal(all[0].Status.WaitingFor, []string{"bruno", "chidi"}) {
		t.Fatalf("%+v", all)
	}
	if all := in("bruno"); len(all) != 0 {
		t.Errorf("bruno agreed to nothing: %+v", all)
	}
	s := v.hold(file, hash, "alba", "bruno", "chidi")
	if all := in("alba"); len(all) != 1 || all[0].Status.State != "complete" {
		t.Fatalf("its share is safe: %+v", all)
	}
	next, b := v.bundle(v.read(s.File))
	v.endorse("alba", next, "")
	if all := in("alba"); len(all) != 0 {
		t.Errorf("the rules have its key: %+v", all)
	}
	lacks := func(id string) []error {
		t.Helper()
		all, err := v.open(id).Lacks(b)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := lacks("alba"); len(all) != 0 {
		t.Errorf("alba lacks %v", all)
	}
	c := v.open("alba")
	if err := errors.Join(c.folder.disk.Remove(c.folder.path(shareFile)), c.folder.disk.Remove(c.folder.path(exhibitFile))); err != nil {
		t.Fatal(err)
	}
	if all := lacks("alba"); len(all) != 2 || !errors.Is(all[0], ErrNoShare) || !errors.Is(all[1], ErrNoExhibitKey) {
		t.Errorf("alba lacks %v", all)
	}
	other := newCircle(t, "dora")
	if all, err := other.open("dora").Lacks(b); err != nil || len(all) != 1 || !errors.Is(all[0], ErrNotInForce) {
		t.Errorf("dora lacks %v, %v", all, err)
	}
}
