package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/verifier/refusal"
)

var _ keep.Versions = (*session)(nil)

// Versions implements [keep.Versions], for every side: each may read the flags
// of the record keys.
func (s *session) Versions(ctx context.Context, group int) (oldest, newest int, err error) {
	f, err := s.flags(ctx, group)
	if errors.Is(err, errNoKey) {
		return 0, 0, nil
	}
	return max(f.MinAvailable, 1), f.LatestVersion, err
}

// errNoKey is of a group whose key is not there. Who wraps under it has an older key
// service than the database, in which a group is open.
var errNoKey = keep.ErrRollback.Because(errors.New("it has no key for a group"))

// flags returns what a record key is. One of a group that is not safe is [ErrUnsafeKey];
// the other is looked at by Verify.
func (s *session) flags(ctx context.Context, group int) (keyFlags, error) {
	var key struct{ Data keyFlags }
	var query any
	if group > 0 && s.side == SideKeeping {
		query = groupKey // Vault wants the parameters that it requires on a path of whoever reads it, too
	}
	err := s.call(ctx, http.MethodGet, recordKey("keys", group), query, &key)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound && group > 0 {
		return keyFlags{}, errNoKey
	}
	if err = s.must(err); err != nil {
		return keyFlags{}, err
	}
	return key.Data, s.safe(group, key.Data)
}

// safe refuses the flags of a group's key that is not as it must be, and remembers one that is.
func (s *session) safe(group int, f keyFlags) error {
	if f.LatestVersion < 1 {
		return errBadResponse
	}
	if flag := f.wrong(keyRecord); group > 0 && flag != "" {
		return ErrUnsafeKey.Because(fmt.Errorf("%s of the key of group %d", flag, group))
	}
	s.known.Store(group, true)
	return nil
}

// fit looks at the key of a group once, before its first use.
func (s *session) fit(ctx context.Context, group int) error {
	if _, known := s.known.Load(group); known || group == 0 {
		return nil
	}
	_, err := s.flags(ctx, group)
	return err
}

// must gives a bare status a meaning: Vault did not do it, or says so.
func (s *session) must(err error) error {
	var status *statusError
	if errors.As(err, &status) && refusal.Of(err) == nil {
		return keep.ErrUnavailable.Because(status)
	}
	return err
}
