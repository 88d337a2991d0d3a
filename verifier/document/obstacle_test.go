package document

import "testing"

// What cannot be displayed is named by its place and code, so that it can be found and typed anew.
func TestObstacleIsNamed(t *testing.T) {
	for s, want := range map[string]struct {
		place int
		r     rune
	}{
		"The account th\u043eught of it": {15, 0x43e}, "\u043aopt": {1, 0x43a}, "a\u202eb": {2, 0x202e}, "e\u0301t\u00e9": {1, 'e'}, "a\xffb": {2, 0xfffd},
		"": {}, "caf\u00e9 \u041f\u0440\u0438\u0432\u0435\u0442": {}, "one\ntwo": {},
	} {
		if place, r := Obstacle(s); place != want.place || r != want.r {
			t.Errorf("%q: character %d, U+%04X; want %d, U+%04X", s, place, r, want.place, want.r)
		}
		if Displayable(s, 100) != (want.place == 0) {
			t.Errorf("%q is displayable: %v", s, Displayable(s, 100))
		}
	}
}
