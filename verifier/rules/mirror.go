package rules

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// kept is a bundle in the folder of a mirror.
type kept struct {
	Bundle       []byte   `json:"bundle"` // base64
	Endorsements []string `json:"endorsements"`
}

func keptFile(dir, hash string) string { return filepath.Join(dir, "bundles", hash+".json") }

// Mirror gets every bundle that a mirror of a log names, with its endorsements, and
// keeps it in the folder of the mirror, so that the log can be judged without its
// operator. The mirror was verified (proof.Log.Mirror) under log. What is there
// already is left alone. It is [ErrUnavailable] if one cannot be had.
func Mirror(ctx context.Context, dir string, log *proof.Log, fetch Fetch) error {
	tiles, err := proof.Directory(dir)
	if err != nil {
		return err
	}
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return proof.ErrFetch.Because(err)
	}
	c, err := log.OpenCheckpoint(signed)
	if err != nil {
		return err
	}
	hashes := map[string]bool{}
	if err := proof.EachLeaf(ctx, tiles, c.Tree, 0, func(_ int64, l proof.Leaf) {
		if l.Kind == proof.KindBundle {
			hashes[l.Bundle] = true
		}
	}); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "bundles"), 0o755); err != nil {
		return proof.ErrMirror.Because(err)
	}
	s := NewBundles(fetch)
	for hash := range hashes {
		if _, err := os.Stat(keptFile(dir, hash)); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return proof.ErrMirror.Because(err)
		}
		b, err := s.withEndorsements(ctx, hash)
		if err != nil {
			return err
		}
		if err := keep(dir, b.Bundle, b.endorsements); err != nil {
			return proof.ErrMirror.Because(err)
		}
	}
	return nil
}

// keep writes a bundle in one step.
func keep(dir string, b *policy.Bundle, endorsements []string) error {
	raw, err := b.Marshal()
	if err != nil {
		return err
	}
	text, err := json.Marshal(kept{raw, endorsements})
	if err != nil {
		return err
	}
	name := keptFile(dir, b.Hash())
	if err := os.WriteFile(name+".unfinished", text, 0o644); err != nil { //nolint:gosec // public
		return err
	}
	return os.Rename(name+".unfinished", name)
}

// FromMirror gets bundles from the folder of a mirror, and what is not there with
// next.
func FromMirror(dir string, next Fetch) Fetch {
	return func(ctx context.Context, hash string) ([]byte, []string, error) {
		var k kept
		text, err := os.ReadFile(keptFile(dir, hash))
		if err == nil {
			err = json.Unmarshal(text, &k)
		}
		if err != nil {
			return next(ctx, hash)
		}
		return k.Bundle, k.Endorsements, nil
	}
}
