package token

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func drawPseudonym(t *rapid.T) Pseudonym {
	p, err := NewPseudonym(rapid.SliceOfN(rapid.Byte(), pseudonymSize, pseudonymSize).Draw(t, "raw"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// One wrong character and two that changed places are found, wherever they are.
func TestHandleFindsOneSlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPseudonym(t)
		h := p.Handle(rapid.IntRange(MinHandle, MaxHandle).Draw(t, "n"))
		if !IsHandle(string(h)) || !p.Has(h) {
			t.Fatalf("%s is no handle of %s", h, p)
		}
		if !strings.HasPrefix(string(p), prefix+string(h[:len(h)-1])) || strings.Trim(string(h), "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Fatalf("%s of %s", h, p)
		}
		for i := range h {
			for _, c := range alphabet {
				if wrong := string(h[:i]) + string(c) + string(h[i+1:]); wrong != string(h) && (IsHandle(wrong) || p.Has(Handle(wrong))) {
					t.Fatalf("%s for %s", wrong, h)
				}
			}
			for j := range i {
				swapped := []byte(h)
				if swapped[i], swapped[j] = swapped[j], swapped[i]; string(swapped) != string(h) && IsHandle(string(swapped)) {
					t.Fatalf("%s for %s", swapped, h)
				}
			}
		}
	})
}

func TestHandleIsNothingElse(t *testing.T) {
	p, err := NewPseudonym(make([]byte, pseudonymSize))
	if err != nil {
		t.Fatal(err)
	}
	h := string(p.Handle(MinHandle))
	for _, bad := range []string{"", "q", string(p), h[1:], "q" + h, strings.ToUpper(h), "@" + h, h + " ", h[:9] + "b" + h[10:], strings.Repeat("q", 40)} {
		if IsHandle(bad) || p.Has(Handle(bad)) {
			t.Errorf("%q is a handle", bad)
		}
	}
	if other := Pseudonym("pen1zz"); other.Has(Handle(h)) {
		t.Error("of what is no pen name")
	}
	// A vector, for whoever checks handles in another language.
	if h != "qqqqqqqqqq0" {
		t.Errorf("%s", h)
	}
}
