package sandbox

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strconv"
	"sync"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/keep"
)

// wrapped is the form of every value of the sandbox keyring, so that one found
// in a production database is recognised at sight.
var wrapped = regexp.MustCompile(`^sandbox:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})$`)

// ring is the keys: a record key for each group has versions, of which the oldest are
// dropped, and the other keys have one.
type ring struct {
	secret [32]byte

	mu      sync.RWMutex
	records map[int]*recordKey // by group

	file string // in which it is kept; empty: nowhere
}

// recordKey is the versions of a record key that exist.
type recordKey struct {
	Versions map[int][32]byte `json:"versions"`
	Oldest   int              `json:"oldest"`
	Newest   int              `json:"newest"`
}

// ringFile is how a ring is kept. What is at its top is group 0.
type ringFile struct {
	Secret [32]byte `json:"secret"`
	recordKey
	Groups map[int]*recordKey `json:"groups,omitempty"`
}

// save writes the ring to its file, with r.mu held.
func (r *ring) save() error {
	if r.file == "" {
		return nil
	}
	groups := maps.Clone(r.records)
	delete(groups, 0)
	b, err := json.Marshal(ringFile{r.secret, *r.records[0], groups}) //nolint:gosec // this is where the sandbox keeps it
	if err == nil {
		err = os.WriteFile(r.file+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(r.file+".new", r.file)
	}
	if err != nil {
		return keep.ErrUnavailable.Because(err)
	}
	return nil
}

// record returns the newest version of a record key, or the one asked for.
func (r *ring) record(group, version int) (v int, secret [32]byte, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	key := r.records[group]
	if key == nil {
		return 0, secret, errNoKey
	}
	if version == 0 {
		version = key.Newest
	}
	secret, ok := key.Versions[version]
	switch {
	case version < key.Oldest:
		err = keep.ErrArchived
	case !ok:
		err = keep.ErrDecryptFailed
	}
	return version, secret, err
}

// errNoKey is of a group whose key is not there: the ring is older than the database.
var errNoKey = keep.ErrRollback.Because(errors.New("it has no key for a group"))

// Limits of one value and one label, in bytes; the same as escrow/vault's.
const (
	maxKeyLabel = 512
	maxKeyValue = 64 << 10
)

// IssuingKeyring is the issuing side of the sandbox keyring: it wraps and
// authenticates, and has no method that opens. It is safe for concurrent use.
//
// It is a stand-in for Vault on a developer's machine. What it does not give:
// a process that holds it holds the secret, so the separation of the two sides
// is one of Go types and not of machines.
type IssuingKeyring struct{ ring *ring }

// DisclosingKeyring is the disclosing side of the sandbox keyring: it opens,
// and has no method that wraps. It is safe for concurrent use.
type DisclosingKeyring struct{ ring *ring }

// KeepingKeyring is the keeping side of the sandbox keyring: it moves to a new
// version of a record key, and has no method that wraps or opens. It is safe
// for concurrent use.
type KeepingKeyring struct{ ring *ring }

// NewKeyring makes the sides of a sandbox keyring from one secret of 32 bytes.
// Nothing is written anywhere: what was wrapped opens again with the same secret
// only and, after a rotation, in this process alone.
func NewKeyring(secret [32]byte) (*IssuingKeyring, *DisclosingKeyring, *KeepingKeyring) {
	return sidesOf(&ring{secret: secret, records: map[int]*recordKey{0: firstVersion(secret)}})
}

func firstVersion(secret [32]byte) *recordKey {
	return &recordKey{Versions: map[int][32]byte{1: secret}, Oldest: 1, Newest: 1}
}

func sidesOf(r *ring) (*IssuingKeyring, *DisclosingKeyring, *KeepingKeyring) {
	return &IssuingKeyring{r}, &DisclosingKeyring{r}, &KeepingKeyring{r}
}

// KeptKeyring is [NewKeyring] with a secret that is kept in a file, as are the versions of
// the record keys: it is made if there is none.
func KeptKeyring(file string) (*IssuingKeyring, *DisclosingKeyring, *KeepingKeyring, error) {
	kept := ringFile{Secret: NewSecret()}
	kept.recordKey = *firstVersion(kept.Secret)
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil, keep.ErrUnavailable.Because(err)
	}
	r := &ring{secret: kept.Secret, records: map[int]*recordKey{0: &kept.recordKey}, file: file}
	maps.Copy(r.records, kept.Groups)
	i, d, k := sidesOf(r)
	return i, d, k, r.save()
}

// String names the keyring for what it is; it never shows the secret.
func (*IssuingKeyring) String() string { return "sandbox keyring, not for real identities" }

// GoString is String.
func (k *IssuingKeyring) GoString() string { return k.String() }

// String names the keyring for what it is; it never shows the secret.
func (*DisclosingKeyring) String() string { return "sandbox keyring, not for real identities" }

// GoString is String.
func (k *DisclosingKeyring) GoString() string { return k.String() }

// String names the keyring for what it is; it never shows the secret.
func (*KeepingKeyring) String() string { return "sandbox keyring, not for real identities" }

// GoString is String.
func (k *KeepingKeyring) GoString() string { return k.String() }

// WrapHalf is WrapHalfIn of group 0.
func (k *IssuingKeyring) WrapHalf(ctx context.Context, label string, k1 []byte) (string, error) {
	return k.WrapHalfIn(ctx, 0, label, k1)
}

// WrapHalfIn encrypts the first half k1 of the record that label names, with the key of a
// group, which the result names.
func (k *IssuingKeyring) WrapHalfIn(ctx context.Context, group int, label string, k1 []byte) (string, error) {
	return wrap(ctx, k.ring, "record", group, label, k1)
}

// WrapLink encrypts the link of a pseudonym to its record.
func (k *IssuingKeyring) WrapLink(ctx context.Context, pseudonym string, link []byte) (string, error) {
	return wrap(ctx, k.ring, "link", 0, pseudonym, link)
}

// MAC returns one HMAC-SHA-256 of 32 bytes for each input, under the key of
// the purpose: "fingerprint" or "pseudonym".
func (k *IssuingKeyring) MAC(ctx context.Context, purpose string, inputs ...[]byte) ([][]byte, error) {
	if ctx.Err() != nil {
		return nil, keep.ErrUnavailable.Because(ctx.Err())
	}
	if purpose != "fingerprint" && purpose != "pseudonym" {
		return nil, keep.ErrInput
	}
	key := derive(&k.ring.secret, purpose, "")
	sums := make([][]byte, len(inputs))
	for i, input := range inputs {
		if len(input) == 0 || len(input) > maxKeyValue {
			return nil, keep.ErrInput
		}
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		sums[i] = mac.Sum(nil)
	}
	return sums, nil
}

// UnwrapHalves implements [disclose.Keys].
func (k *DisclosingKeyring) UnwrapHalves(ctx context.Context, halves []disclose.Wrapped) ([][]byte, error) {
	opened, err := k.open(ctx, "record", halves)
	if errors.Is(err, errNoKey) {
		err = keep.ErrDecryptFailed.Because(errors.New("its group has no key"))
	}
	if err != nil {
		for _, half := range opened {
			clear(half)
		}
		return nil, err
	}
	return opened, nil
}

// OpenLinks implements [disclose.Keys].
func (k *DisclosingKeyring) OpenLinks(ctx context.Context, links []disclose.Wrapped) ([][]byte, error) {
	return k.open(ctx, "link", links)
}

func (k *DisclosingKeyring) open(ctx context.Context, purpose string, values []disclose.Wrapped) (opened [][]byte, err error) {
	for _, v := range values {
		value, err := unwrap(ctx, k.ring, purpose, v.Name, v.Text)
		if err != nil {
			return opened, err
		}
		opened = append(opened, value)
	}
	return opened, nil
}

// derive returns the key for one purpose and one label (RFC 5869), as Vault's
// derived keys do.
func derive(secret *[32]byte, purpose, label string) []byte {
	key, err := hkdf.Key(sha256.New, secret[:], nil, "penname/sandbox-keyring/v1/"+purpose+"\x00"+label, 32)
	if err != nil { // only for lengths above 255 hashes
		panic(err)
	}
	return key
}

func sealer(secret *[32]byte, purpose, label string) (cipher.AEAD, error) {
	block, err := aes.NewCipher(derive(secret, purpose, label))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func wrap(ctx context.Context, r *ring, purpose string, group int, label string, value []byte) (string, error) {
	if ctx.Err() != nil {
		return "", keep.ErrUnavailable.Because(ctx.Err())
	}
	if label == "" || len(label) > maxKeyLabel || len(value) == 0 || len(value) > maxKeyValue {
		return "", keep.ErrInput
	}
	version, secret := 1, r.secret
	if purpose == "record" {
		var err error
		if version, secret, err = r.record(group, 0); err != nil {
			return "", err
		}
	}
	aead, err := sealer(&secret, purpose, label)
	if err != nil {
		return "", keep.ErrUnavailable.Because(err)
	}
	return keep.InGroup(group, fmt.Sprint("sandbox:v", version, ":")+base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, value, []byte(label)))), nil
}

func unwrap(ctx context.Context, r *ring, purpose, label, text string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, keep.ErrUnavailable.Because(ctx.Err())
	}
	if label == "" || len(label) > maxKeyLabel || text == "" || len(text) > 2*maxKeyValue {
		return nil, keep.ErrInput
	}
	group := 0
	if purpose == "record" {
		group, text = keep.GroupOf(text)
	}
	m := wrapped.FindStringSubmatch(text)
	if m == nil {
		return nil, keep.ErrDecryptFailed
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(m[2])
	if err != nil {
		return nil, keep.ErrDecryptFailed
	}
	version, err := strconv.Atoi(m[1])
	if err != nil {
		return nil, keep.ErrDecryptFailed
	}
	secret := r.secret
	if purpose == "record" {
		if _, secret, err = r.record(group, version); err != nil {
			return nil, err
		}
	} else if version != 1 {
		return nil, keep.ErrDecryptFailed
	}
	aead, err := sealer(&secret, purpose, label)
	if err != nil {
		return nil, keep.ErrUnavailable.Because(err)
	}
	value, err := aead.Open(nil, nil, sealed, []byte(label))
	if err != nil {
		return nil, keep.ErrDecryptFailed
	}
	return value, nil
}

// Versions implements keep.Versions.
func (k *IssuingKeyring) Versions(ctx context.Context, group int) (oldest, newest int, err error) {
	return k.ring.bounds(ctx, group)
}

// Versions implements keep.Versions.
func (k *DisclosingKeyring) Versions(ctx context.Context, group int) (oldest, newest int, err error) {
	return k.ring.bounds(ctx, group)
}

// Versions implements keep.Versions.
func (k *KeepingKeyring) Versions(ctx context.Context, group int) (oldest, newest int, err error) {
	return k.ring.bounds(ctx, group)
}

func (r *ring) bounds(ctx context.Context, group int) (oldest, newest int, err error) {
	if ctx.Err() != nil {
		return 0, 0, keep.ErrUnavailable.Because(ctx.Err())
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if key := r.records[group]; key != nil {
		return key.Oldest, key.Newest, nil
	}
	return 0, 0, nil
}

// change changes the record key of a group and keeps the ring, or leaves both as they were.
func (k *KeepingKeyring) change(ctx context.Context, group int, change func(*recordKey) error) error {
	if ctx.Err() != nil {
		return keep.ErrUnavailable.Because(ctx.Err())
	}
	k.ring.mu.Lock()
	defer k.ring.mu.Unlock()
	before, after := k.ring.records[group], &recordKey{Versions: map[int][32]byte{}}
	if before != nil {
		*after = recordKey{maps.Clone(before.Versions), before.Oldest, before.Newest}
	}
	if err := change(after); err != nil {
		return err
	}
	k.ring.records[group] = after
	err := k.ring.save()
	if err != nil {
		k.ring.records[group] = before
	}
	return err
}

// Open implements keep.Keys.
func (k *KeepingKeyring) Open(ctx context.Context, group int) error {
	return k.change(ctx, group, func(key *recordKey) error {
		switch {
		case group < 1:
			return keep.ErrInput
		case key.Newest == 0:
			*key = *firstVersion(NewSecret())
		}
		return nil
	})
}

// Rotate implements keep.Keys. The new version is random: it follows from
// nothing that was there before.
func (k *KeepingKeyring) Rotate(ctx context.Context, group int) error {
	return k.change(ctx, group, func(key *recordKey) error {
		if key.Newest == 0 {
			return errNoKey
		}
		key.Newest++
		key.Versions[key.Newest] = NewSecret()
		return nil
	})
}

// Rewrap implements keep.Keys.
func (k *KeepingKeyring) Rewrap(ctx context.Context, group int, halves []keep.Half) ([]string, error) {
	out := make([]string, len(halves))
	for i, h := range halves {
		if of, _ := keep.GroupOf(h.Wrapped); of != group {
			return nil, keep.ErrDecryptFailed
		}
		value, err := unwrap(ctx, k.ring, "record", h.Label, h.Wrapped)
		if err != nil {
			return nil, err
		}
		out[i], err = wrap(ctx, k.ring, "record", group, h.Label, value)
		clear(value)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Retire implements keep.Keys.
func (k *KeepingKeyring) Retire(ctx context.Context, group, oldest int) error {
	return k.change(ctx, group, func(key *recordKey) error {
		if oldest > key.Newest {
			return keep.ErrInput
		}
		for v := key.Oldest; v < oldest; v++ {
			delete(key.Versions, v)
		}
		key.Oldest = max(key.Oldest, oldest)
		return nil
	})
}

// NewSecret draws the secret of a new sandbox keyring.
func NewSecret() (secret [32]byte) {
	rand.Read(secret[:])
	return secret
}
