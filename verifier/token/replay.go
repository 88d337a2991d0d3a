package token

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// ReplayGuard remembers what may be used once. A platform of several processes
// needs one that they share, such as a table with a unique key.
//
// Use records id until the given time, and reports whether it was not recorded
// before: of concurrent calls with one id exactly one reports true, on all nodes
// and across restarts. If that cannot be established, it returns an error, and
// the token or proof is refused. It forgets an id after its time, never before.
type ReplayGuard interface {
	Use(ctx context.Context, id [32]byte, until time.Time) (first bool, err error)
}

// useOnce asks the guard about parts, which are hashed so that an id has a fixed
// size whatever a client sends.
func useOnce(ctx context.Context, g ReplayGuard, replayed error, until time.Time, parts ...string) error {
	var msg []byte
	for _, p := range parts {
		msg = binary.BigEndian.AppendUint32(msg, uint32(len(p)))
		msg = append(msg, p...)
	}
	first, err := g.Use(ctx, sha256.Sum256(msg), until)
	if err != nil {
		return ErrReplayUnavailable.Because(err)
	}
	if !first {
		return replayed
	}
	return nil
}

// MemoryReplayGuard is a [ReplayGuard] for one process, of bounded size. What it
// knows is lost with the process: let proofs be younger than a restart takes.
type MemoryReplayGuard struct {
	max int
	now func() time.Time

	mu    sync.Mutex
	used  map[[32]byte]struct{}
	queue expiries
}

// NewMemoryReplayGuard returns a guard that remembers at most max ids, about 150
// bytes each. When it is full of ids whose time has not come it answers with
// [ErrReplayUnavailable] rather than forget one: limit the requests of one
// pseudonym, or whoever holds one token can fill it for all.
func NewMemoryReplayGuard(max int, now func() time.Time) *MemoryReplayGuard {
	return &MemoryReplayGuard{max: max, now: now, used: map[[32]byte]struct{}{}}
}

// Use implements [ReplayGuard].
func (g *MemoryReplayGuard) Use(_ context.Context, id [32]byte, until time.Time) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for now := g.now(); len(g.queue) > 0 && g.queue[0].until.Before(now); {
		delete(g.used, heap.Pop(&g.queue).(expiring).id)
	}
	if _, seen := g.used[id]; seen {
		return false, nil
	}
	if len(g.used) >= g.max {
		return false, ErrReplayUnavailable
	}
	g.used[id] = struct{}{}
	heap.Push(&g.queue, expiring{id, until})
	return true, nil
}

// expiring is an id and when it can be forgotten.
type expiring struct {
	id    [32]byte
	until time.Time
}

// expiries is a heap, earliest first.
type expiries []expiring

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].until.Before(e[j].until) }
func (e expiries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *expiries) Push(x any)        { *e = append(*e, x.(expiring)) }
func (e *expiries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}
