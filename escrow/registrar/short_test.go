package registrar

import (
	"bytes"
	"maps"
	"slices"
	"testing"
)

func TestJoinExhibits(t *testing.T) {
	all := map[[32]byte][]byte{{1}: []byte("one"), {2}: {}, {3}: bytes.Repeat([]byte{3}, 300)}
	joined := JoinExhibits(all)
	if got, ok := SplitExhibits(joined); !ok || !maps.EqualFunc(got, all, bytes.Equal) {
		t.Error(got, ok)
	}
	if got, ok := SplitExhibits(nil); !ok || len(got) > 0 {
		t.Error(got, ok)
	}
	one := JoinExhibits(map[[32]byte][]byte{{1}: []byte("one")})
	for name, b := range map[string][]byte{
		"cut": one[:len(one)-1], "cut before the length": one[:34], "more": append(slices.Clone(one), 0), "twice": slices.Concat(one, one),
		"a length of 4 GB": slices.Concat(one[:32], []byte{255, 255, 255, 255}),
	} {
		if got, ok := SplitExhibits(b); ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}
