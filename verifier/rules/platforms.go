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
// of the log, and goes on where it was: what is asked for can have come since.
func RecordsOf(pages Pages) Records {
	var mu sync.Mutex
	have, last := make(map[string]policy.LoggedPlatform), int64(-1)
	return func(ctx context.Context, digest string) (string, []string, error) {
		mu.Lock()
		defer mu.Unlock()
		for more := true; ; {
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
	missing bool // the record of some entry could not be had
}

// registers returns the code of the finding about a record that was logged under the last
// of bundles. One that follows a record which could not be had, or is countersigned by a
// platform whose record could not, is as good as missing: that accuses nobody.
func (s *Bundles) registers(ctx context.Context, bundles []*policy.Bundle, have *registered, index int64, leaf proof.Leaf) string {
	signed, countersigned, err := s.platforms.get(ctx, leaf.Package)
	if err != nil {
		have.missing = true
		return proof.FindingRecord
	}
	err = have.Add(policy.LoggedPlatform{Signed: signed, Countersigned: countersigned, Leaf: index, Day: leaf.Day}, bundles...)
	switch {
	case err == nil:
		return ""
	case have.missing && (errors.Is(err, policy.ErrPlatformNotNext) || errors.Is(err, policy.ErrCountersignature)):
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

// readRecord reads it. One with another digest is as good as gone.
func readRecord(dir, digest string) (k keptRecord, ok bool) {
	text, err := os.ReadFile(recordFile(dir, digest))
	if err != nil {
		return k, false
	}
	return parseRecord(text, digest)
}

func parseRecord(text []byte, digest string) (k keptRecord, ok bool) {
	if json.Unmarshal(text, &k) != nil {
		return k, false
	}
	return k, proof.PlatformDigest(k.Signed, k.Countersigned) == digest
}

// RecordsFromMirror gets records from the folder of a mirror, and what is not there, or damaged,
// with next.
func RecordsFromMirror(dir string, next Records) Records {
	return func(ctx context.Context, digest string) (string, []string, error) {
		if k, ok := readRecord(dir, digest); ok {
			return k.Signed, k.Countersigned, nil
		}
		return next(ctx, digest)
	}
}

// Or gets from a site, which has the files of a mirror, what records does not have.
func (records Records) Or(site Site) Records {
	return func(ctx context.Context, digest string) (string, []string, error) {
		signed, countersigned, err := records(ctx, digest)
		if err == nil {
			return signed, countersigned, nil
		}
		text, e := site(ctx, filepath.ToSlash(recordFile("", digest)))
		if k, ok := parseRecord(text, digest); e == nil && ok {
			return k.Signed, k.Countersigned, nil
		}
		return "", nil, err
	}
}
