package vault

import (
	"context"
	"net/http"
	"slices"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/escrow/keep"
)

var _ keep.Keys = (*Keeping)(nil)

// Keeping is the side that moves what is wrapped to a new version of the record
// key and destroys the older ones. It has no method that wraps or opens, and
// its token may not. It is safe for concurrent use.
type Keeping struct{ *session }

// OpenKeeping logs in as the keeping side and verifies that its rights and keys
// are exactly those of bootstrap.
func OpenKeeping(ctx context.Context, c Config) (*Keeping, error) {
	s, err := open(ctx, c, SideKeeping)
	if err != nil {
		return nil, err
	}
	return &Keeping{s}, nil
}

// Rotate implements [keep.Keys].
func (k *Keeping) Rotate(ctx context.Context) error {
	return k.must(k.call(ctx, http.MethodPost, mount+"/keys/"+keyRecord+"/rotate", map[string]any{}, nil))
}

// Rewrap implements [keep.Keys].
func (k *Keeping) Rewrap(ctx context.Context, halves []keep.Half) ([]string, error) {
	items := make([]openItem, len(halves))
	for i, h := range halves {
		var err error
		if items[i], err = newOpenItem(h.Label, h.Wrapped); err != nil {
			return nil, err
		}
	}
	out := make([]string, 0, len(halves))
	for part := range slices.Chunk(items, coalesce.MaxItems) {
		results, err := sendBatch(ctx, k.session, "rewrap/"+keyRecord, part, map[string]any{})
		if err != nil {
			return nil, err
		}
		for _, r := range results {
			if err := r.failed(); err != nil {
				return nil, err
			}
			if !wellFormed(r.Ciphertext) {
				return nil, errBadResponse
			}
			out = append(out, r.Ciphertext)
		}
	}
	return out, nil
}

// Retire implements [keep.Keys]. The two bounds come first, since Vault trims
// nothing that may still be used; what is trimmed is gone from its storage.
func (k *Keeping) Retire(ctx context.Context, oldest int) error {
	f, err := k.flags(ctx)
	if err != nil || f.MinAvailable >= oldest {
		return err
	}
	if oldest > f.LatestVersion {
		return keep.ErrInput
	}
	key := mount + "/keys/" + keyRecord
	if f.MinDecryption < oldest || f.MinEncryption < oldest {
		err := k.must(k.call(ctx, http.MethodPost, key+"/config", map[string]any{"min_decryption_version": oldest, "min_encryption_version": oldest}, nil))
		if err != nil {
			return err
		}
	}
	return k.must(k.call(ctx, http.MethodPost, key+"/trim", map[string]any{"min_available_version": oldest}, nil))
}
