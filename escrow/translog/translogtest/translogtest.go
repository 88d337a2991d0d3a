// Package translogtest is the test kit of escrow/translog: a log in memory
// and the conformance suite that every implementation of its ports must pass.
package translogtest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/translog"
)

// Memory is a log in memory. The zero value is empty and ready for use.
type Memory struct {
	writer sync.Mutex // held by a transaction from LockSize to its end

	mu     sync.RWMutex
	leaves [][]byte
	hashes []tlog.Hash
	size   int64
	signed []byte
}

var _ translog.Store = (*Memory)(nil)

// Update runs f in a transaction: what it inserted is committed if f returns
// nil, and gone otherwise.
func (m *Memory) Update(ctx context.Context, f func(translog.Tx) error) error {
	tx := &memoryTx{m: m}
	defer func() {
		if tx.locked {
			m.writer.Unlock()
		}
	}()
	if err := f(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaves = append(m.leaves, tx.leaves...)
	m.hashes = append(m.hashes, tx.hashes...)
	return nil
}

// Size implements [translog.Store].
func (m *Memory) Size(context.Context) (int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return int64(len(m.leaves)), nil
}

// ReadHashes implements [translog.Store].
func (m *Memory) ReadHashes(_ context.Context, ids []int64) ([]tlog.Hash, error) {
	return m.read(ids, nil)
}

func (m *Memory) read(ids []int64, pending []tlog.Hash) ([]tlog.Hash, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	hashes := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		switch n := int64(len(m.hashes)); {
		case id >= 0 && id < n:
			hashes[i] = m.hashes[id]
		case id >= n && id < n+int64(len(pending)):
			hashes[i] = pending[id-n]
		default:
			return nil, errors.New("no such hash")
		}
	}
	return hashes, nil
}

// Leaves implements [translog.Store].
func (m *Memory) Leaves(_ context.Context, from, to int64) ([][]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if from < 0 || from > to || to > int64(len(m.leaves)) {
		return nil, translog.ErrNoLeaf
	}
	return slices.Clone(m.leaves[from:to]), nil
}

// SaveCheckpoint implements [translog.Store].
func (m *Memory) SaveCheckpoint(_ context.Context, size int64, signed []byte) error {
	head, err := translog.Head(signed)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if size < m.size {
		return translog.ErrRollback
	}
	if size == m.size && m.signed != nil {
		if saved, err := translog.Head(m.signed); err != nil || saved != head {
			return translog.ErrFork
		}
	}
	m.size, m.signed = size, slices.Clone(signed)
	return nil
}

// Checkpoint implements [translog.Store].
func (m *Memory) Checkpoint(context.Context) (int64, []byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.size, slices.Clone(m.signed), nil
}

// Tamper calls f with the stored leaves and hashes, for tests of what happens
// when the storage lies. f may also shorten the slices.
func (m *Memory) Tamper(f func(leaves *[][]byte, hashes *[]tlog.Hash)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.leaves, &m.hashes)
}

// memoryTx buffers what it inserts until Update commits it.
type memoryTx struct {
	m      *Memory
	locked bool
	leaves [][]byte
	hashes []tlog.Hash
}

func (t *memoryTx) LockSize(ctx context.Context) (int64, error) {
	if !t.locked {
		t.m.writer.Lock()
		t.locked = true
	}
	size, err := t.m.Size(ctx)
	return size + int64(len(t.leaves)), err
}

func (t *memoryTx) Leaf(_ context.Context, index int64) ([]byte, error) {
	t.m.mu.RLock()
	defer t.m.mu.RUnlock()
	n := int64(len(t.m.leaves))
	switch {
	case index >= 0 && index < n:
		return t.m.leaves[index], nil
	case index >= n && index < n+int64(len(t.leaves)):
		return t.leaves[index-n], nil
	}
	return nil, translog.ErrNoLeaf
}

func (t *memoryTx) ReadHashes(_ context.Context, ids []int64) ([]tlog.Hash, error) {
	return t.m.read(ids, t.hashes)
}

func (t *memoryTx) Insert(ctx context.Context, index int64, leaves [][]byte, hashes []tlog.Hash) error {
	size, err := t.LockSize(ctx)
	if err != nil {
		return err
	}
	if index != size || int64(len(hashes)) != tlog.StoredHashCount(index+int64(len(leaves)))-tlog.StoredHashCount(index) {
		return errors.New("index is taken or leaves a gap, or not the hashes of the leaves")
	}
	for _, leaf := range leaves {
		t.leaves = append(t.leaves, slices.Clone(leaf))
	}
	t.hashes = append(t.hashes, hashes...)
	return nil
}
