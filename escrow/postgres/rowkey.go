package postgres

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

// A RowKey gives the key under which rows of pen names and sign-ins are hidden:
// 32 bytes that are not in the database. left is what the issuing side left there
// for the disclosing side, wrapped under name, or "" if nothing yet; leave is what it
// leaves then.
//
// Under the key a row says neither in its columns nor in its length whose it is, or
// of which platform. So what else a copy tells of it (its place in the file, the
// number of the transaction that wrote it, its neighbours in the write-ahead log)
// is about nobody. Whoever can have the key can make every pen name from the ids of
// persons anyway: it is derived in the same place ([issue.RowKey]).
type RowKey func(ctx context.Context, name, left string) (key [32]byte, leave string, err error)

// rowsName is what the row key is wrapped under. No pen name is like it.
const rowsName = "rows"

// rowKey is the key in use: one for handles, one for what is sealed.
type rowKey struct {
	name, seal *macs
	none       bool // it is of a database in which nobody ever signed in
}

func newRowKey(key [32]byte) rowKey {
	k := newMACs(key[:])
	return rowKey{newMACs(k.of([]byte("penname/row/name/v1"))), newMACs(k.of([]byte("penname/row/seal/v1"))), key == [32]byte{}}
}

// macs makes HMAC-SHA-256 under one key, whose hashes are begun once: a page needs dozens.
type macs struct{ begun sync.Pool }

func newMACs(key []byte) *macs {
	return &macs{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

func (m *macs) of(parts ...[]byte) []byte {
	h, _ := m.begun.Get().(hash.Hash)
	defer m.begun.Put(h)
	h.Reset()
	var length [4]byte
	for _, part := range parts {
		binary.BigEndian.PutUint32(length[:], uint32(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

// handle is the 32 bytes by which a row is found: of no use to whom has not the key.
func (k rowKey) handle(kind string, parts ...[]byte) []byte {
	return k.name.of(append([][]byte{[]byte(kind)}, parts...)...)
}

// lock seals text for the row with that handle. Its length is a multiple of block,
// and 28 bytes.
func (k rowKey) lock(handle, text []byte, block int) []byte {
	padded := make([]byte, (4+len(text)+block-1)/block*block)
	binary.BigEndian.PutUint32(padded, uint32(len(text)))
	copy(padded[4:], text)
	return k.of(handle).Seal(nil, nil, padded, handle)
}

// unlock is the inverse of lock, or ErrDamaged.
func (k rowKey) unlock(handle, locked []byte) ([]byte, error) {
	padded, err := k.of(handle).Open(nil, nil, locked, handle)
	if err != nil || len(padded) < 4 || uint64(binary.BigEndian.Uint32(padded)) > uint64(len(padded)-4) {
		return nil, ErrDamaged
	}
	return padded[4:][:binary.BigEndian.Uint32(padded)], nil
}

// of is the cipher of one row: its random nonces do not run out, whatever the
// number of rows (NIST SP 800-38D, 8.3).
func (k rowKey) of(handle []byte) cipher.AEAD {
	block, err := aes.NewCipher(k.seal.of(handle))
	if err != nil {
		panic(err) // cannot be: the key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // cannot be: AES has blocks of 16 bytes
	}
	return aead
}

// left is what the issuing side left of the key, "" if it did not start yet.
func (d *db) left(ctx context.Context) (left string, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT wrapped FROM row_key`).Scan(&left)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return left, err
}

// openRows gets the key, and leaves it for the disclosing side.
func (s *Issuing) openRows(ctx context.Context, source RowKey) error {
	if source == nil {
		return ErrRowKey
	}
	left, err := s.left(ctx)
	if err != nil {
		return err
	}
	key, leave, err := source(ctx, rowsName, left)
	if err != nil || key == [32]byte{} {
		return ErrRowKey.Because(err)
	}
	s.rows = newRowKey(key)
	if left == "" {
		err = s.settle(ctx, func(ctx context.Context, _ bool) error {
			_, err := s.exec(ctx, `INSERT INTO row_key (wrapped) VALUES ($1) ON CONFLICT DO NOTHING`, leave)
			return err
		})
	}
	if err != nil {
		return err
	}
	return s.hideNamed(ctx)
}

// namedAtOnce is how many pen names are hidden at a time.
const namedAtOnce = 1000

// hideNamed hides the pen names of a database that was made before rows were hidden.
func (s *Issuing) hideNamed(ctx context.Context) error {
	for {
		var named []issue.PenName
		if err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			rows, err := c.Query(ctx, `SELECT pseudonym, platform, commitment FROM pseudonyms_named ORDER BY pseudonym, commitment LIMIT $1`, namedAtOnce)
			if err != nil {
				return err
			}
			named, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (n issue.PenName, err error) {
				var commitment []byte
				err = row.Scan((*string)(&n.Pseudonym), &n.Platform, &commitment)
				copy(n.Commitment[:], commitment)
				return n, err
			})
			return err
		}); err != nil || len(named) == 0 {
			return err
		}
		var names []string
		var commitments, handles, hidden [][]byte
		for i, n := range named {
			there, err := s.Assigned(ctx, []token.Pseudonym{n.Pseudonym}) // from an earlier page
			if err != nil {
				return err
			}
			at := len(there)
			for before := i - 1; before >= 0 && named[before].Pseudonym == n.Pseudonym; before-- {
				at++
			}
			handle := s.rows.place(string(n.Pseudonym), at)
			names, commitments, handles = append(names, string(n.Pseudonym)), append(commitments, n.Commitment[:]), append(handles, handle)
			hidden = append(hidden, s.rows.lock(handle, name{n.Commitment, n.Platform}.pack(), nameBlock))
		}
		if err := s.settle(ctx, func(ctx context.Context, _ bool) error {
			_, err := s.exec(ctx, `SELECT hide($1::text[], $2::bytea[], $3::bytea[], $4::bytea[])`, names, commitments, handles, hidden)
			return err
		}); err != nil {
			return err
		}
	}
}

// sharedRows is the key on the disclosing side, which gets it when it first needs it:
// the issuing side may start later.
type sharedRows struct {
	source RowKey
	mu     sync.Mutex
	key    *rowKey
}

func (r *sharedRows) get(ctx context.Context, d *db) (rowKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key != nil {
		return *r.key, nil
	}
	if r.source == nil {
		return rowKey{}, ErrRowKey
	}
	left, err := d.left(ctx)
	if err != nil {
		return rowKey{}, err
	}
	if left == "" { // nobody ever signed in
		return newRowKey([32]byte{}), nil
	}
	key, _, err := r.source(ctx, rowsName, left)
	if err != nil {
		return rowKey{}, err
	}
	made := newRowKey(key)
	r.key = &made
	return made, nil
}

// name is what a row of a pen name hides.
type name struct {
	commitment [32]byte
	platform   string
}

// nameBlock is what the row of a pen name is padded to: platforms of up to 28
// bytes, as good as all, look the same.
const nameBlock = 64

func (n name) pack() []byte { return append(bytes.Clone(n.commitment[:]), n.platform...) }

func (k rowKey) unlockName(handle, hidden []byte) (name, error) {
	b, err := k.unlock(handle, hidden)
	if err != nil || len(b) < 32 {
		return name{}, ErrDamaged
	}
	return name{[32]byte(b[:32]), string(b[32:])}, nil
}

// place is the n-th row of a pen name: it has one for each record that its person
// had. How many they are does not show without the key.
func (k rowKey) place(pseudonym string, n int) []byte {
	return k.handle("pseudonym", []byte(pseudonym), binary.BigEndian.AppendUint32(nil, uint32(n)))[:16]
}
