package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/token"
)

// Exhibits are wanted where a name is opened under rules that have recipients, and never
// of what nobody may copy; each once, and bounded together.
func TestExhibitsAreWanted(t *testing.T) {
	w := newWorld(t, func(b *Bundle) { b.Succeed(nil) })
	warrant, _ := w.production(t)
	if !w.bundle.wantsExhibits(&warrant) {
		t.Fatal("of a threat to life")
	}
	for name, change := range map[string]func(*Bundle, *Warrant){
		"older rules":            func(b *Bundle, _ *Warrant) { b.Version = 3 },
		"a class without copies": func(b *Bundle, w *Warrant) { b.OffenceClass(w.OffenceClass).NoCopy = true },
		"an unknown class":       func(_ *Bundle, w *Warrant) { w.OffenceClass = "none" },
		"nothing to open":        func(_ *Bundle, w *Warrant) { w.Kind = Preservation },
	} {
		b, other := *w.bundle, warrant
		b.OffenceClasses = slices.Clone(b.OffenceClasses)
		if change(&b, &other); b.wantsExhibits(&other) {
			t.Error(name)
		}
	}
	x, err := token.NewExhibit("text/plain", strings.NewReader("words"))
	if err != nil {
		t.Fatal(err)
	}
	y := token.Exhibit{Type: "video/mp4", Digest: [32]byte{1}, Length: token.MaxExhibit}
	if all, err := uniqueExhibits([]token.Exhibit{x, y, x}); err != nil || !slices.Equal(all, []token.Exhibit{y, x}) && !slices.Equal(all, []token.Exhibit{x, y}) {
		t.Error(all, err)
	}
	var many []token.Exhibit
	for i := range maxExhibitBytes/token.MaxExhibit + 1 {
		y.Digest = [32]byte{byte(i), 2}
		many = append(many, y)
	}
	if _, err := uniqueExhibits(many); err == nil {
		t.Error("as many as anybody likes")
	}
}
