package vault

import (
	"context"
	"errors"
	"net/http"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/verifier/refusal"
)

var _ keep.Versions = (*session)(nil)

// Versions implements [keep.Versions], for every side: each may read the flags
// of the record key.
func (s *session) Versions(ctx context.Context) (oldest, newest int, err error) {
	f, err := s.flags(ctx)
	return max(f.MinAvailable, 1), f.LatestVersion, err
}

func (s *session) flags(ctx context.Context) (keyFlags, error) {
	var key struct{ Data keyFlags }
	err := s.must(s.call(ctx, http.MethodGet, mount+"/keys/"+keyRecord, nil, &key))
	if err == nil && key.Data.LatestVersion < 1 {
		err = errBadResponse
	}
	return key.Data, err
}

// must gives a bare status a meaning: Vault did not do it, or says so.
func (s *session) must(err error) error {
	var status *statusError
	if errors.As(err, &status) && refusal.Of(err) == nil {
		return keep.ErrUnavailable.Because(status)
	}
	return err
}
