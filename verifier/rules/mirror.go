package rules

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"filippo.io/torchwood"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// kept is a bundle in the folder of a mirror.
type kept struct {
	Bundle       []byte   `json:"bundle"` // base64
	Endorsements []string `json:"endorsements"`
}

func keptFile(dir, hash string) string { return filepath.Join(dir, "bundles", hash+".json") }

// readKept reads it. One whose bundle has another hash is as good as gone.
func readKept(dir, hash string) (k kept, ok bool) {
	text, err := os.ReadFile(keptFile(dir, hash))
	if err != nil {
		return k, false
	}
	return parseKept(text, hash)
}

func parseKept(text []byte, hash string) (k kept, ok bool) {
	if json.Unmarshal(text, &k) != nil {
		return k, false
	}
	sum := sha256.Sum256(k.Bundle)
	return k, hex.EncodeToString(sum[:]) == hash
}

// Mirror gets every bundle that a mirror of a log names, with its endorsements, and
// every record of a platform, and keeps them in the folder of the mirror, so that the
// log can be judged without its operator. The mirror was verified (proof.Log.Mirror)
// under log. What is there already, with the hash that the log names, is left alone, but that
// endorsements which do not verify are asked for again: who carries them can leave some out. It is
// [ErrUnavailable] if one cannot be had.
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
	return Beside(ctx, dir, c, fetch, records)
}

// Beside is [Mirror] of a checkpoint whose entries are in the folder, and which may not be there yet.
func Beside(ctx context.Context, dir string, c torchwood.Checkpoint, fetch Fetch, records Records) error {
	tiles, err := proof.Directory(dir)
	if err != nil {
		return err
	}
	var bundles, platforms []string
	if err := proof.EachEntry(ctx, tiles, c.Tree, 0, func(_ int64, l *proof.Leaf) error {
		switch {
		case l == nil: // an entry that only a newer program can read is kept all the same
		case l.Kind == proof.KindBundle:
			bundles = append(bundles, l.Bundle)
		case l.Kind == proof.KindPlatform:
			platforms = append(platforms, l.Package)
		}
		return nil
	}); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return proof.ErrMirror.Because(err)
	}
	defer root.Close()
	s := NewBundles(fetch)
	var before, b *policy.Bundle
	for _, hash := range bundles {
		k, have := readKept(dir, hash)
		if before = b; have {
			if b, err = policy.ParseBundle(k.Bundle); err != nil || !unendorsed(b, before, k.Endorsements) {
				continue
			}
		}
		e, err := s.withEndorsements(ctx, hash)
		if have && (err != nil || unendorsed(e.Bundle, before, e.endorsements)) {
			continue // an audit says what is missing
		}
		if err != nil {
			return err
		}
		b = e.Bundle
		raw, err := e.Marshal()
		if err != nil {
			return err
		}
		if err := keep(root, keptFile("", hash), kept{raw, e.endorsements}); err != nil {
			return err
		}
	}
	for _, digest := range platforms {
		if _, ok := readRecord(dir, digest); ok {
			continue
		}
		signed, countersigned, err := records.get(ctx, digest)
		if err != nil {
			return err
		}
		if err := keep(root, recordFile("", digest), keptRecord{signed, countersigned}); err != nil {
			return err
		}
	}
	return nil
}

// unendorsed reports whether a bundle comes after another, nil for none, and lacks endorsements.
func unendorsed(b, before *policy.Bundle, endorsements []string) bool {
	err := b.Follows(before, endorsements)
	return err != nil && refusal.Of(err).Code != policy.ErrNotNext.Code
}

// keep writes a file of the mirror as JSON.
func keep(root *os.Root, name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return proof.ErrMirror.Because(err)
	}
	return proof.ReplaceFile(root, filepath.ToSlash(name), text)
}

// FromMirror gets bundles from the folder of a mirror, and what is not there, or damaged, with
// next.
func FromMirror(dir string, next Fetch) Fetch {
	return func(ctx context.Context, hash string) ([]byte, []string, error) {
		if k, ok := readKept(dir, hash); ok {
			return k.Bundle, k.Endorsements, nil
		}
		return next(ctx, hash)
	}
}

// Site reads a file of an exported log, by its path beside the checkpoint.
type Site func(ctx context.Context, path string) ([]byte, error)

// Or gets from a site, which has the files of a mirror, what fetch does not have.
func (fetch Fetch) Or(site Site) Fetch {
	return func(ctx context.Context, hash string) ([]byte, []string, error) {
		bundle, endorsements, err := fetch(ctx, hash)
		if err == nil {
			return bundle, endorsements, nil
		}
		text, e := site(ctx, filepath.ToSlash(keptFile("", hash)))
		if k, ok := parseKept(text, hash); e == nil && ok {
			return k.Bundle, k.Endorsements, nil
		}
		return nil, nil, err
	}
}
