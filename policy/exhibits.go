package policy

import (
	"bytes"
	"errors"
	"slices"

	"github.com/penname/penname/verifier/token"
)

// maxExhibitBytes bounds all exhibits of a warrant together: 5,000 posts of 200 KB.
const maxExhibitBytes = 1 << 30

// ForbidsCopies reports whether custodians are to decide about what nobody may copy.
func (b *Bundle) ForbidsCopies(w *Warrant) bool {
	class, offence := b.OffenceClass(w.OffenceClass), b.Offence(w.OffenceID)
	return KindOf(w.Kind).Decided && (class != nil && class.NoCopy || offence != nil && offence.NoCopy)
}

// wantsExhibits reports whether what the posts showed is filed with a warrant, for
// custodians to read: not before version 4, nor where they decide nothing, nor where nobody
// may make a copy.
func (b *Bundle) wantsExhibits(w *Warrant) bool {
	return b.Version >= 4 && KindOf(w.Kind).Decided && b.OffenceClass(w.OffenceClass) != nil && !b.ForbidsCopies(w)
}

// uniqueExhibits returns each exhibit once, in the order of their digests.
func uniqueExhibits(all []token.Exhibit) ([]token.Exhibit, error) {
	slices.SortStableFunc(all, func(x, y token.Exhibit) int { return bytes.Compare(x.Digest[:], y.Digest[:]) })
	all = slices.CompactFunc(all, func(x, y token.Exhibit) bool { return x.Digest == y.Digest })
	total := int64(0)
	for _, x := range all {
		total += x.Length
	}
	if total > maxExhibitBytes {
		return nil, ErrBadEvidence.Because(errors.New("the exhibits are too large together"))
	}
	return all, nil
}

// ExhibitsUnverified are those that [Decide] will want with a submission, if it allows it
// under b ([Decision].Exhibits). It verifies nothing: it is for whoever files.
func ExhibitsUnverified(s Submission, b *Bundle) ([]token.Exhibit, error) {
	w, err := ParseUnverified(s.Warrant)
	if err != nil || !b.wantsExhibits(w) {
		return nil, err
	}
	var all []token.Exhibit
	for _, raw := range s.Evidence {
		e, err := token.ParseUnverifiedEvidence(raw)
		if err != nil {
			return nil, ErrBadEvidence.Because(err)
		}
		all = append(all, e.Post.Exhibits...)
	}
	return uniqueExhibits(all)
}
