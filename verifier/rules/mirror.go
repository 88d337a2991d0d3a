package rules

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penname/penname/verifier/proof"
)

// kept is a bundle in the folder of a mirror.
type kept struct {
	Bundle       []byte   `json:"bundle"` // base64
	Endorsements []string `json:"endorsements"`
}

func keptFile(dir, hash string) string { return filepath.Join(dir, "bundles", hash+".json") }

// Mirror gets every bundle that a mirror of a log names, with its endorsements, and
// every record of a platform, and keeps them in the folder of the mirror, so that the
// log can be judged without its operator. The mirror was verified (proof.Log.Mirror)
// under log. What is there already is left alone. It is [ErrUnavailable] if one cannot
// be had.
func Mirror(ctx context.Context, dir string, log *proof.Log, fetch Fetch, records Records) error {
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
	var bundles, platforms []string
	if err := proof.EachLeaf(ctx, tiles, c.Tree, 0, func(_ int64, l proof.Leaf) {
		switch l.Kind {
		case proof.KindBundle:
			bundles = append(bundles, l.Bundle)
		case proof.KindPlatform:
			platforms = append(platforms, l.Package)
		}
	}); err != nil {
		return err
	}
	s := NewBundles(fetch)
	if err := keepEach(bundles, func(hash string) string { return keptFile(dir, hash) }, func(hash string) (any, error) {
		e, err := s.withEndorsements(ctx, hash)
		if err != nil {
			return nil, err
		}
		raw, err := e.Marshal()
		return kept{raw, e.endorsements}, err
	}); err != nil {
		return err
	}
	return keepEach(platforms, func(digest string) string { return recordFile(dir, digest) }, func(digest string) (any, error) {
		signed, countersigned, err := records.get(ctx, digest)
		return keptRecord{signed, countersigned}, err
	})
}

// keepEach keeps what get gets for each name that has no file yet.
func keepEach(names []string, file func(name string) string, get func(name string) (any, error)) error {
	for _, name := range names {
		if _, err := os.Stat(file(name)); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return proof.ErrMirror.Because(err)
		}
		v, err := get(name)
		if err != nil {
			return err
		}
		if err := keep(file(name), v); err != nil {
			return proof.ErrMirror.Because(err)
		}
	}
	return nil
}

// keep writes a file in one step.
func keep(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
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
