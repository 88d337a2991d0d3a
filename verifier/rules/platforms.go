package rules

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// Records gets the signed record of a platform and its countersignatures that have that
// digest ([proof.PlatformDigest]). Whoever answers is not trusted. What cannot be had is
// [ErrUnavailable].
type Records func(ctx context.Context, digest string) (signed string, countersigned []string, err error)

// Pages gets the records of the registry whose leaves are behind one, and whether there
// are more.
type Pages func(ctx context.Context, after int64) (page []policy.LoggedPlatform, more bool, err error)

// RecordsOf reads the registry page by page as its records are asked for, in the order
// of the log.
func RecordsOf(pages Pages) Records {
	var mu sync.Mutex
	have, last, more := make(map[string]policy.LoggedPlatform), int64(-1), true
	return func(ctx context.Context, digest string) (string, []string, error) {
		mu.Lock()
		defer mu.Unlock()
		for {
			if p, ok := have[digest]; ok {
				return p.Signed, p.Countersigned, nil
			}
			if !more {
				return "", nil, ErrUnavailable.Because(errors.New("no such record of a platform"))
			}
			page, behind, err := pages(ctx, last)
			if err != nil {
				return "", nil, ErrUnavailable.Because(err)
			}
			more = behind && len(page) > 0 && page[len(page)-1].Leaf > last // or a liar would keep us for ever
			for _, p := range page {
				have[proof.PlatformDigest(p.Signed, p.Countersigned)], last = p, p.Leaf
			}
		}
	}
}

// get is records, checked against the digest.
func (records Records) get(ctx context.Context, digest string) (signed string, countersigned []string, err error) {
	signed, countersigned, err = records(ctx, digest)
	if err == nil && proof.PlatformDigest(signed, countersigned) != digest {
		err = ErrUnavailable.Because(errors.New("the answer has another hash"))
	}
	return signed, countersigned, err
}

// registered is what an audit has read of the registry.
type registered struct {
	policy.Platforms
	bundles []*policy.Bundle // that came into force so far
	missing bool             // the record of some entry could not be had
}

// registers returns the code of the finding about a record that was logged under the last
// bundle. One that follows a record which could not be had is as good as missing: that
// accuses nobody.
func (s *Bundles) registers(ctx context.Context, have *registered, index int64, leaf proof.Leaf) string {
	signed, countersigned, err := s.platforms.get(ctx, leaf.Package)
	if err != nil {
		have.missing = true
		return proof.FindingRecord
	}
	err = have.Add(policy.LoggedPlatform{Signed: signed, Countersigned: countersigned, Leaf: index, Day: leaf.Day}, have.bundles...)
	switch {
	case err == nil:
		return ""
	case have.missing && errors.Is(err, policy.ErrPlatformNotNext):
		return proof.FindingRecord
	}
	return proof.FindingPlatform
}

// keptRecord is the record of a platform in the folder of a mirror.
type keptRecord struct {
	Signed        string   `json:"signed"`
	Countersigned []string `json:"countersigned,omitempty"`
}

func recordFile(dir, digest string) string { return filepath.Join(dir, "platforms", digest+".json") }

// RecordsFromMirror gets records from the folder of a mirror, and what is not there
// with next.
func RecordsFromMirror(dir string, next Records) Records {
	return func(ctx context.Context, digest string) (string, []string, error) {
		var k keptRecord
		text, err := os.ReadFile(recordFile(dir, digest))
		if err == nil {
			err = json.Unmarshal(text, &k)
		}
		if err != nil {
			return next(ctx, digest)
		}
		return k.Signed, k.Countersigned, nil
	}
}
