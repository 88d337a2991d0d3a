package robustness

import (
	"sync"
	"time"
)

// Act is something that a client asks for.
type Act string

// What clients do. The first nine change something.
const (
	Enrol    Act = "enrol"    // a person proves who they are
	SignIn   Act = "sign in"  // a person signs in to a platform
	File     Act = "file"     // a court's order is filed
	Decide   Act = "decide"   // a custodian decides
	Withdraw Act = "withdraw" // the court takes its order back
	Object   Act = "object"   // a person who was told first objects
	Erase    Act = "erase"    // a person leaves
	Rotate   Act = "rotate"   // a key of the key service moves on
	Reshare  Act = "reshare"  // the custodians renew their shares
	Open     Act = "open"     // the requester opens the package
	Look     Act = "look"     // anybody reads the newest checkpoint of the log
)

// Acts are all of them, in that order.
var Acts = []Act{Enrol, SignIn, File, Decide, Withdraw, Object, Erase, Rotate, Reshare, Open, Look}

// Outcome is what a client knows of its act.
type Outcome string

// An act that was refused did nothing. Of one whose answer did not come, or that says
// that it does not know, the client knows nothing.
const (
	OK      Outcome = "ok"
	Refused Outcome = "refused"
	Unknown Outcome = "unknown"
)

// Checkpoint is the size of the public log with the hash of its tree.
type Checkpoint struct {
	Size int64
	Root [32]byte
}

// Operation is one act of one client. Fields that its act has no use for are empty.
type Operation struct {
	Client            int
	Act               Act
	Invoked, Returned time.Time
	Outcome           Outcome
	Code              string // of a refusal, or of an answer that is not known

	Person     string // who enrols, signs in, leaves, or is behind the pen name of an order
	Platform   string
	PenName    string
	Warrant    string // the court's number: one order is one case, however often it is filed
	Case       string
	Leaf       int64 // of the order in the log
	Custodian  string
	Record     string        // label of the record that is to be erased, from the receipt
	Receipt    string        // the commitment that the receipt opens
	Versions   map[int]int64 // that a rotation came to, by group, or a resharing: they only grow
	Checkpoint Checkpoint
}

// History is what all clients saw. Its methods can be called concurrently.
type History struct {
	mu  sync.Mutex
	ops []Operation
	now func() time.Time
}

// NewHistory is one in which nothing happened yet.
func NewHistory(now func() time.Time) *History { return &History{now: now} }

// Run notes an act, does it, and notes what became of it: do fills in what was
// answered, its outcome among that.
func (h *History) Run(op Operation, do func(*Operation)) Operation {
	op.Invoked, op.Outcome = h.now(), Unknown
	h.mu.Lock()
	i := len(h.ops)
	h.ops = append(h.ops, op) // an act that never returns stays unknown
	h.mu.Unlock()
	do(&op)
	op.Returned = h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops[i] = op
	return op
}

// Operations are a copy of what is known now, in the order in which they began.
func (h *History) Operations() []Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Operation(nil), h.ops...)
}
