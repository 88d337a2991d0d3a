package vault

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/verifier/refusal"
)

// ErrSnapshot is returned for a snapshot that could not be had, or is not whole.
var ErrSnapshot = refusal.New(refusal.Unavailable, "vault.snapshot",
	"no snapshot that could be restored was taken: Vault must run on its Raft storage, the token must be allowed to read sys/storage/raft/snapshot and the record keys, and there must be room for it; take it again")

// snapshotTime bounds the taking of a snapshot.
const snapshotTime = 10 * time.Minute

// TakeSnapshot writes a snapshot of all of Vault to w, and checks that it is whole, and of a
// Vault that has what the database saw. What it holds is encrypted: whoever restores it
// needs the unseal keys of the Vault it was taken of.
func TakeSnapshot(ctx context.Context, a Admin, w io.Writer, past keep.Past) error {
	e, err := newEndpoint(a.Address, a.CAFile, snapshotTime)
	if err != nil {
		return err
	}
	// A token with a period lives on by being renewed. One that cannot be ends by itself.
	e.do(ctx, a.Token, http.MethodPost, "auth/token/renew-self", 0, map[string]any{}, nil) //nolint:errcheck // see above
	err = keep.Current(ctx, snapshotVersions{e, a.Token}, past)
	if errors.Is(err, ErrSealed) || errors.Is(err, ErrAddress) || errors.Is(err, keep.ErrRollback) {
		return err
	}
	if err != nil {
		return ErrSnapshot.Because(err)
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotTime)
	defer cancel()
	req := e.client.NewRequest(http.MethodGet, "/v1/sys/storage/raft/snapshot")
	req.ClientToken = a.Token
	//nolint:staticcheck // as in do
	resp, err := e.client.RawRequestWithContext(ctx, req)
	if resp == nil || resp.Response == nil {
		return ErrSnapshot.Because(transportError(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return ErrSnapshot.Because(&statusError{resp.StatusCode, http.MethodGet, "sys/storage/raft/snapshot"})
	}
	if err := wholeSnapshot(io.TeeReader(resp.Body, w)); err != nil {
		return ErrSnapshot.Because(err)
	}
	return nil
}

// snapshotVersions implements [keep.Versions] with the token that takes the snapshot.
type snapshotVersions struct {
	*endpoint
	token string
}

func (v snapshotVersions) Versions(ctx context.Context, group int) (oldest, newest int, err error) {
	var key struct{ Data keyFlags }
	err = v.do(ctx, v.token, http.MethodGet, recordKey("keys", group), 0, nil, &key)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound && group > 0 {
		return 0, 0, nil
	}
	return max(key.Data.MinAvailable, 1), key.Data.LatestVersion, err
}

// wholeSnapshot reads a snapshot to its end and compares its parts with the sums in it.
// An archive that was cut off has none: they come last.
func wholeSnapshot(r io.Reader) error {
	archive, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	sums, listed := make(map[string]string), ""
	for files := tar.NewReader(archive); ; {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		h, text := sha256.New(), new(strings.Builder)
		if head.Name == "SHA256SUMS" {
			_, err = io.Copy(text, io.LimitReader(files, 1<<16))
			listed = text.String()
		} else {
			_, err = io.Copy(h, files) //nolint:gosec // it comes from Vault, and nothing of it is kept in memory
		}
		if err != nil {
			return err
		}
		sums[head.Name] = hex.EncodeToString(h.Sum(nil))
	}
	// What follows the archive is padding, and the last bytes of the answer.
	if _, err := io.Copy(io.Discard, archive); err != nil { //nolint:gosec // likewise
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	compared := 0
	for line := range strings.Lines(listed) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if sums[name] != sum {
			return fmt.Errorf("%s is not what the snapshot's own sums say", name)
		}
		compared++
	}
	if _, ok := sums["state.bin"]; !ok || compared < 2 {
		return errors.New("it is not a snapshot of Raft storage")
	}
	return nil
}
