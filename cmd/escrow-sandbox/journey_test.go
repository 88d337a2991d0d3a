package main

import (
	"testing"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/web/pagetest"
)

// TestJourneyByKeyboard: somebody without a mouse enrols from a platform, checks what was
// sealed, signs in, reads their own page and deletes themself, in a real browser. What has the
// focus is always marked, and each page on the way, the sandbox's too, holds what axe-core can
// tell on a desktop and on a phone in the dark. Somebody who reads Welsh does likewise.
func TestJourneyByKeyboard(t *testing.T) {
	w := startForTest(t)
	b := pagetest.Open(t)
	hold := func(page string) {
		t.Helper()
		for _, v := range pagetest.Views[:2] {
			s, err := b.Here(v)
			if err != nil {
				t.Fatalf("%s: %v", page, err)
			}
			for _, violation := range s.Violations {
				t.Errorf("%s, %s: %s", page, v.Name, violation)
			}
			if s.Wider > 0 {
				t.Errorf("%s, %s: %d pixels wider than the view", page, v.Name, s.Wider)
			}
		}
	}
	walk := func(from string, steps ...[2]string) {
		t.Helper()
		if _, err := b.Look(from, pagetest.Views[0]); err != nil {
			t.Fatal(err)
		}
		hold(from)
		for _, step := range steps {
			if err := b.Press(step[0], step[1]); err != nil {
				t.Fatal(err)
			}
			hold(step[1])
		}
	}
	jo, other := sandbox.People()[0].Name, sandbox.People()[1].Name
	walk(w.Town.Origin,
		[2]string{"Sign in with Penname", "To sign in, prove your identity"},
		[2]string{"Prove my identity", jo},
		[2]string{jo, "Check it now"},
		[2]string{"Go on", "Sign in to " + w.Town.Name},
		[2]string{"Sign in to " + w.Town.Name, "You are signed in as pen1"})
	walk(w.Origin+"/",
		[2]string{"My pen names", "Only you see them side by side"},
		[2]string{"My receipt", "It has no name on it"},
		[2]string{"Back to my pen names", "Only you see them side by side"},
		[2]string{"Delete me", "Delete my identity"},
		[2]string{"Delete my identity", "Your request is recorded"},
		[2]string{"Privacy", "Who is responsible"})
	walk(w.Origin+"/",
		[2]string{"Cymraeg", "Siaradwch dan ffugenw"},
		[2]string{"Profi fy hunaniaeth", other},
		[2]string{other, "Gwiriwch ef nawr"},
		[2]string{"Ymlaen", "Fy ffugenwau"},
		[2]string{"Fy nerbynneb", "Nid oes enw arni"},
		[2]string{"Yn ôl i’m ffugenwau", "Fy nata"},
		[2]string{"Fy nileu i", "Dileu fy hunaniaeth"},
		[2]string{"Dileu fy hunaniaeth", "Mae eich cais wedi’i gofnodi"},
		[2]string{"Preifatrwydd", "Pwy sy’n gyfrifol"})
}
