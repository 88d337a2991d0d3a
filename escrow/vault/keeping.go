package vault

import (
	"context"
	"net/http"
	"net/url"

	"golang.org/x/sync/errgroup"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/escrow/keep"
)

var _ keep.Keys = (*Keeping)(nil)

// Keeping is the side that makes the keys of groups, moves what is wrapped to a new version
// of a record key, and destroys the older ones. It has no method that wraps or opens, and
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

// groupKey is all that the keeping side may say when it makes a key: its policy takes no
// other word and no other value.
var groupKey = url.Values{"type": {"aes256-gcm96"}, "derived": {"true"}, "exportable": {"false"}, "allow_plaintext_backup": {"false"}}

// Open implements [keep.Keys]. Vault leaves a key that is there as it is.
func (k *Keeping) Open(ctx context.Context, group int) error {
	if group < 1 {
		return keep.ErrInput
	}
	made := make(map[string]string)
	for name := range groupKey {
		made[name] = groupKey.Get(name)
	}
	var key struct{ Data keyFlags }
	if err := k.must(k.call(ctx, http.MethodPost, recordKey("keys", group), made, &key)); err != nil {
		return err
	}
	return k.safe(group, key.Data)
}

// Rotate implements [keep.Keys].
func (k *Keeping) Rotate(ctx context.Context, group int) error {
	if err := k.fit(ctx, group); err != nil {
		return err
	}
	return k.must(k.call(ctx, http.MethodPost, recordKey("keys", group)+"/rotate", map[string]any{}, nil))
}

// Rewrap implements [keep.Keys].
func (k *Keeping) Rewrap(ctx context.Context, group int, halves []keep.Half) ([]string, error) {
	if err := k.fit(ctx, group); err != nil {
		return nil, err
	}
	items := make([]openItem, len(halves))
	for i, h := range halves {
		of, wrapped := keep.GroupOf(h.Wrapped)
		if of != group {
			return nil, keep.ErrDecryptFailed
		}
		var err error
		if items[i], err = newOpenItem(h.Label, wrapped); err != nil {
			return nil, err
		}
	}
	out := make([]string, len(halves))
	var calls errgroup.Group
	calls.SetLimit(rewraps)
	for from := 0; from < len(items); from += coalesce.MaxItems {
		part := items[from:min(from+coalesce.MaxItems, len(items))]
		calls.Go(func() error { return k.rewrap(ctx, group, part, out[from:]) })
	}
	if err := calls.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// rewraps are the calls that are under way at once: as many as those of the other sides.
const rewraps = 2

func (k *Keeping) rewrap(ctx context.Context, group int, items []openItem, out []string) error {
	results, err := sendBatch(ctx, k.session, recordKey("rewrap", group), items, map[string]any{})
	if err != nil {
		return err
	}
	for i, r := range results {
		if err := r.failed(); err != nil {
			return err
		}
		if !wellFormed(r.Ciphertext) {
			return errBadResponse
		}
		out[i] = keep.InGroup(group, r.Ciphertext)
	}
	return nil
}

// Retire implements [keep.Keys]. The two bounds come first, since Vault trims
// nothing that may still be used; what is trimmed is gone from its storage.
func (k *Keeping) Retire(ctx context.Context, group, oldest int) error {
	f, err := k.flags(ctx, group)
	if err != nil || f.MinAvailable >= oldest {
		return err
	}
	if oldest > f.LatestVersion {
		return keep.ErrInput
	}
	key := recordKey("keys", group)
	if f.MinDecryption < oldest || f.MinEncryption < oldest {
		err := k.must(k.call(ctx, http.MethodPost, key+"/config", map[string]any{"min_decryption_version": oldest, "min_encryption_version": oldest}, nil))
		if err != nil {
			return err
		}
	}
	return k.must(k.call(ctx, http.MethodPost, key+"/trim", map[string]any{"min_available_version": oldest}, nil))
}
