package proof

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/refusal"
)

// Why the log does not show what somebody looks for.
var (
	ErrReceipt = refusal.New(refusal.Invalid, "log.bad_receipt",
		"the file is not a whole receipt of a deletion: save the page that showed it, or copy its line of proof")
	ErrFalseReceipt = refusal.New(refusal.Denied, "log.false_receipt",
		"the parts of the receipt do not fit each other: it was copied wrongly, or no entry of the log can ever match it; keep it and complain")
	ErrNotErased = refusal.New(refusal.NotYet, "log.not_erased",
		"what was read of the log shows no such deletion: it takes an hour or two, and may take a month; the law can require a record to be kept for longer")
)

// receiptLine is the line of proof of a receipt: label, salt and commitment.
var receiptLine = regexp.MustCompile(`\b([a-z2-7]{26})\.([0-9a-f]{64})\.([0-9a-f]{64})\b`)

// ParseReceipt returns what the leaf of an erasure must hold, recomputed from the
// label and the salt of a receipt: the page that showed it, saved, or its line of
// proof, copied. Pages of before showed its parts by name. It is [ErrReceipt] if a part is
// missing, and [ErrFalseReceipt] if the commitment that the page shows is another.
func ParseReceipt(page []byte) (commitment string, err error) {
	text := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(string(page), "")
	label, hexSalt, shown := receiptPart(text, "Label", "[a-z2-7]{26}"), receiptPart(text, "Salt", "[0-9a-f]{64}"), receiptPart(text, "Commitment", "[0-9a-f]{64}")
	if m := receiptLine.FindStringSubmatch(text); m != nil {
		label, hexSalt, shown = m[1], m[2], m[3]
	}
	salt, err := hex.DecodeString(hexSalt)
	if err != nil || len(salt) != 32 || label == "" {
		return "", ErrReceipt
	}
	commitment = Commit([32]byte(salt), "erasure", []byte(label))
	if shown != "" && shown != commitment {
		return "", ErrFalseReceipt
	}
	return commitment, nil
}

func receiptPart(text, name, form string) string {
	if m := regexp.MustCompile(`\b` + name + `:?\s*(` + form + `)\b`).FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// FindErasure returns the index and the day of the erasure with that commitment
// in a tree that was audited, or [ErrNotErased].
func FindErasure(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, commitment string) (index int64, day string, err error) {
	index = -1
	err = EachLeaf(ctx, tiles, tree, 0, func(i int64, l Leaf) {
		if l.Kind == KindErased && l.Commitment == commitment {
			index, day = i, l.Day
		}
	})
	if err == nil && index < 0 {
		err = ErrNotErased
	}
	return index, day, err
}

// Notices are the recorded warrants, by index, that served notices show to name a pen
// name on a platform.
type Notices struct {
	Opened []int64 // whose package opens it
	Named  []int64 // that opened others, or suspended it

	// Of those: what was learned must not be used, and what was ordered goes on no more.
	Annulled []int64 // by a higher court
	Lapsed   []int64 // emergencies that nobody validated
}

// FindNotices returns what the served notices in a tree that was audited show of a pen
// name on any of the platforms. It is compared on this machine. A case that is still secret
// does not show.
func FindNotices(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, penName string, platforms ...string) (Notices, error) {
	found := Notices{[]int64{}, []int64{}, []int64{}, []int64{}}
	recorded, released := make(map[int64]Leaf), make(map[int64]Marks)
	annulled, whole, lapsed := make(map[int64]Marks), make(map[int64]bool), make(map[int64]bool)
	place := make(map[int64]int) // of the pen name, by case
	err := EachLeaf(ctx, tiles, tree, 0, func(index int64, l Leaf) {
		switch l.Kind {
		case KindRecorded:
			recorded[index] = l
			if l.Annuls() {
				annulled[*l.Case], whole[*l.Case] = annulled[*l.Case].Or(l.Which), whole[*l.Case] || len(l.Which) == 0
			}
		case KindReleased:
			which := l.Which
			if len(which) == 0 { // before format 5 of the bundle
				which = AllMarks(recorded[*l.Case].Targets)
			}
			released[*l.Case] = released[*l.Case].Or(which)
		case KindLapsed:
			lapsed[*l.Case] = true
		case KindNoticed:
			at := -1
			for _, platform := range platforms {
				if i := named(recorded[*l.Case], l, penName, platform); i >= 0 && (at < 0 || released[*l.Case].Has(i)) {
					at = i
				}
			}
			place[*l.Case] = at
			switch {
			case released[*l.Case].Has(at):
				found.Opened = append(found.Opened, *l.Case)
			case at >= 0:
				found.Named = append(found.Named, *l.Case)
			}
			delete(recorded, *l.Case)
			delete(released, *l.Case)
		}
	})
	for _, index := range slices.Sorted(maps.Keys(place)) {
		switch at := place[index]; {
		case at < 0:
		case whole[index] || annulled[index].Has(at):
			found.Annulled = append(found.Annulled, index)
		case lapsed[index]:
			found.Lapsed = append(found.Lapsed, index)
		}
	}
	return found, err
}

// EachLeaf hands the leaves of a tree to each, in order, from an index on. Every
// one is verified against the tree, which the caller has authenticated; one that
// is not a leaf is [ErrLeaf], and what cannot be read or does not verify is
// [ErrFetch] or [ErrTile].
func EachLeaf(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, from int64, each func(index int64, l Leaf)) error {
	return eachEntry(ctx, tiles, tree, from, func(index int64, e entry) error {
		if e.err == nil {
			each(index, e.Leaf)
		}
		return e.err
	})
}

// EachEntry is [EachLeaf] for whoever goes on at an entry that this program cannot read: each
// is then given nil. An error of each ends it, and is returned.
func EachEntry(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, from int64, each func(index int64, l *Leaf) error) error {
	return eachEntry(ctx, tiles, tree, from, func(index int64, e entry) error {
		if e.err != nil {
			return each(index, nil)
		}
		return each(index, &e.Leaf)
	})
}

// ReadEntry returns the bytes of one entry of a tree, which the caller has authenticated, and
// its inclusion proof, RFC 6962, 2.1.1, which was checked. It is [ErrNoEntry], [ErrFetch] or
// [ErrTile].
func ReadEntry(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, index int64) ([]byte, tlog.RecordProof, error) {
	if index < 0 || index >= tree.N {
		return nil, nil, ErrNoEntry.Because(fmt.Errorf("its size is %d", tree.N))
	}
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return nil, nil, ErrFetch.Because(err)
	}
	raw, path, err := client.Entry(ctx, tree, index)
	if err != nil {
		return nil, nil, locate(ctx, tiles, tree, index, err)
	}
	return raw, path, nil
}
