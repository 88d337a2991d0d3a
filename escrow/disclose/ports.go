package disclose

import (
	"context"
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// State is where a case stands. It moves only forward:
//
//	recorded → authorised → released → noticed
//	recorded → declined
//	recorded, authorised → withdrawn
//	recorded, authorised → lost → noticed
type State string

// The states of a case.
const (
	Recorded   State = "recorded"   // the warrant is on file and its leaf is in the log
	Authorised State = "authorised" // a quorum of custodians approved
	Released   State = "released"   // the package exists, encrypted to the requester
	Noticed    State = "noticed"    // secrecy ended and the persons concerned were told
	Declined   State = "declined"   // so many custodians declined that no quorum can be reached
	Withdrawn  State = "withdrawn"  // its court took it back before it was released
	// Interrupted: the log says that more became of it than a backup that was
	// restored knows. It goes on with nothing but the notice, if it was released.
	Interrupted State = "lost"
)

// Case is one warrant and all that became of it.
type Case struct {
	ID          string   // 16 random bytes, base32: knowing it lets one ask for the status
	WarrantHash [32]byte // policy.Hash of the warrant
	Authority   string   // with WarrantID: what makes two warrants the same one,
	WarrantID   string   // since an ES256 signature can be varied by anyone who sees it
	Submission  policy.Submission
	Bundle      string   // hash of the bundle it was decided under
	Salt        [32]byte // opens the commitments in the log; secret until noticed
	Quorum      int      // distinct custodians that must approve
	State       State
	SecrecyEnds time.Time // UTC day
	Expires     time.Time // of the warrant
	ApproveFrom time.Time // end of the notice period: no custodian's approval counts before
	Approvals   []Approval

	// Indices of the leaves in the public log; Recorded is always set, the
	// others are 0 until the state is reached (no case is recorded before a bundle is).
	RecordedLeaf, AuthorisedLeaf, ReleasedLeaf, NoticedLeaf int64

	// Earlier is set only to file a withdrawal: policy.Hash of what it ends.
	Earlier *[32]byte

	Package []byte   // what the requester receives; nil before Released, and if it was lost
	Notices []Notice // set when Noticed
}

// Approval is one custodian's signed decision on a case.
type Approval struct {
	Custodian string
	Approved  bool
	Signed    string // the JWS, opening.VerifyApproval
	Leaf      int64
}

// Notice is what the person behind a pseudonym is told.
type Notice struct {
	Pseudonym  token.Pseudonym
	Platform   string
	Authority  string // its id; its name in the bundle that decided, once stored
	FileNumber string
	LegalBasis string
	Requester  string
	Fields     []string
	Leaf       int64
	Day        time.Time
}

// Entry is a leaf to append. Index, if not nil, receives where it went before
// the case is stored: it points into the case.
type Entry struct {
	Leaf  proof.Leaf
	Index *int64
}

// Keys is the key service as the disclosing side may use it: it decrypts, and
// cannot encrypt, rotate or export. Implementations are safe for concurrent
// use and return a refusal of kind Unavailable when in doubt.
type Keys interface {
	// UnwrapHalf returns the 32-byte first half of the record with that label.
	UnwrapHalf(ctx context.Context, label, wrapped string) ([]byte, error)
	// OpenLink returns the link of that pseudonym: 32 bytes of salt, 32 bytes of
	// record digest, then the record label.
	OpenLink(ctx context.Context, pseudonym, wrapped string) ([]byte, error)
}

// Cases is where cases are kept. Each method that takes leaves appends them to
// the public log in the transaction that stores the case: both happen or
// neither.
type Cases interface {
	// File stores c and appends leaf. If a case with that Authority and
	// WarrantID is on file it is returned as it is, and nothing is appended. It is
	// policy.ErrWrongBundle if another bundle came into force since the decision.
	//
	// With c.Earlier it locks the case of that warrant, which must be of the same
	// Authority (else ErrNoEarlier), ends it by Case.Withdraw, and leaf concerns it:
	// all in the same transaction, so that it comes before or after a release.
	File(ctx context.Context, c Case, leaf proof.Leaf) (Case, error)
	// Refuse appends leaf, once for each warrant and refusal code.
	Refuse(ctx context.Context, warrantHash [32]byte, leaf proof.Leaf) error
	// Case returns one case, or ErrNoCase.
	Case(ctx context.Context, id string) (Case, error)
	// List returns the cases in a state, oldest first, at most 1000.
	List(ctx context.Context, s State) ([]Case, error)
	// Apply locks the case, lets change edit it, and stores the edit with the
	// entries it returned. If change fails nothing is stored, and its error is
	// returned as it is. The state may only move forward. Two concurrent calls
	// for one case run one after the other.
	Apply(ctx context.Context, id string, change func(*Case) ([]Entry, error)) (Case, error)
}

// Records is what the disclosing side may read of what the issuing side wrote.
type Records interface {
	// Link returns the sealed link of a pseudonym on a platform with that
	// commitment. It is ErrDataNotHeld if there is no such pseudonym, and
	// ErrCommitment if it has other commitments only.
	Link(ctx context.Context, p token.Pseudonym, platform string, commitment [32]byte) (link string, err error)
	// Record returns a sealed record, or ErrDataNotHeld, or ErrDataErased.
	Record(ctx context.Context, label string) (seal.Record, error)
}

// Erasures is what the disclosing side does about wishes to be deleted: it says
// which of them no case stands against. A hold is no row anywhere, because a row
// would say which record a pen name belongs to.
type Erasures interface {
	// Pending returns the labels that were asked to be erased and neither are,
	// nor are cleared up to the newest case.
	Pending(ctx context.Context) (labels []string, err error)
	// Holding returns the cases that hold their targets at now: recorded and not
	// expired, authorised or lost and not expired, or released and not noticed. newest is
	// the recorded leaf of a case that is among those looked at, with every case
	// before it; -1 if there is none.
	Holding(ctx context.Context, now time.Time) (cases []Case, newest int64, err error)
	// Clear says that no case up to newest holds any of the labels.
	Clear(ctx context.Context, labels []string, newest int64) error
}

// Bundles is where the rules in force are kept.
type Bundles interface {
	// Install stores the bundle with its endorsements and appends leaf, in one
	// transaction, and makes it the one in force. The bundle that is in force
	// already is left alone.
	Install(ctx context.Context, bundle []byte, endorsements []string, leaf proof.Leaf) error
	// Current returns the bundle in force with its endorsements, or ErrNoBundle.
	Current(ctx context.Context) (bundle []byte, endorsements []string, err error)
}

// Log is the public log as the registrar needs it: see translog.Publisher.
type Log interface {
	// Await returns nil only once the leaf is under a checkpoint that a quorum
	// of witnesses cosigned; it publishes one if need be.
	Await(ctx context.Context, index int64) error
	// Prove returns the leaf and its c2sp.org/tlog-proof under that checkpoint.
	Prove(ctx context.Context, index int64) (leaf, proof []byte, err error)
}
