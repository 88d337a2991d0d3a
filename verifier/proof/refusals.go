package proof

import (
	"strconv"

	"github.com/penname/penname/verifier/refusal"
)

// The refusals of this package. None repeats what was refused.
var (
	ErrLeaf       = refusal.New(refusal.Invalid, "leaf.malformed", "The leaf is not in the canonical form of its kind: build it with Leaf.Marshal and only the fields that its kind allows.")
	ErrLeafSize   = refusal.New(refusal.Invalid, "leaf.too_large", "The leaf is larger than the log takes: name fewer targets in one warrant.")
	ErrPolicy     = refusal.New(refusal.Invalid, "proof.weak_policy", "The trust policy of the log is unsafe: give one log key and distinct witnesses of distinct operators, with a quorum of at least one and at most all of them.")
	ErrMalformed  = refusal.New(refusal.Invalid, "proof.malformed", "This is not a checkpoint or proof in canonical C2SP form: fetch it again from the log.")
	ErrLog        = refusal.New(refusal.Unauthenticated, "proof.untrusted_log", "The checkpoint is not signed by the log you trust: compare origin and key with the bundle.")
	ErrSignature  = refusal.New(refusal.Unauthenticated, "proof.bad_signature", "A signature by a known key does not verify, so that the checkpoint was damaged or changed on its way: fetch it again, and keep it if it stays so.")
	ErrQuorum     = refusal.New(refusal.NotYet, "proof.quorum_not_met", "Too few distinct witnesses have cosigned the checkpoint: wait for the quorum.")
	ErrStale      = refusal.New(refusal.NotYet, "proof.stale", "The quorum's cosignatures are too old or lie in the future: fetch a newer checkpoint and compare the clocks.")
	ErrBadProof   = refusal.New(refusal.Invalid, "proof.bad_proof", "The proof has the wrong shape for this index and tree: fetch it again for this checkpoint.")
	ErrMismatch   = refusal.New(refusal.Denied, "proof.proof_mismatch", "The proof does not lead from this leaf to the checkpoint: it belongs to something else.")
	ErrOlder      = refusal.New(refusal.NotYet, "proof.older", "What was read of the log is older than what is known of it, which accuses nobody: bring the mirror up to date, or ask the log again later.")
	ErrNewer      = refusal.New(refusal.NotYet, "proof.newer_log", "The log has an entry that this program cannot read, as a newer one may have written it: update the program and try again; the cause names the first.")
	ErrRollback   = refusal.New(refusal.Conflict, "proof.rollback", "A quorum of witnesses cosigned a smaller tree of the log after a larger one: keep both checkpoints and raise the alarm.")
	ErrSplitView  = refusal.New(refusal.Conflict, "proof.split_view", "The log has signed two histories: keep both checkpoints and raise the alarm.")
	ErrTile       = refusal.New(refusal.Denied, "proof.bad_tile", "What was read does not hash to its checkpoint, so that the log, a mirror or a disk changed it: read it again, or from another mirror; the cause names the first index that is wrong.")
	ErrFetch      = refusal.New(refusal.Unavailable, "proof.unreachable", "The log could not be read: try again, or use a mirror.")
	ErrAudit      = refusal.New(refusal.Denied, "proof.audit_failed", "The log is authentic but records something that the rules forbid: the report names the indexes.")
	ErrSums       = refusal.New(refusal.Conflict, "proof.sums_differ", "The numbers of the periods do not add up to those of the whole log, so that one of the two is wrong: keep the checkpoint and what was printed, publish neither, and report it; the cause names the first number.")
	ErrNoEntry    = refusal.New(refusal.NotFound, "proof.no_entry", "The log has no entry of that number: they count from 0 to one less than its size, which the cause names.")
	ErrMirror     = refusal.New(refusal.Conflict, "proof.mirror", "The folder is not a mirror of this log, or cannot be read or written: name an empty folder or the mirror of this log.")
	ErrIncomplete = refusal.New(refusal.Unavailable, "proof.audit_incomplete", "The log is authentic and nothing in it was found to break a rule, but some rules, or endorsements of them that verify, could not be had, so that what was done under them is not judged: give their bundle with --bundle, or try again.")
)

// IndexError names the first index of the log that is wrong. It is the cause
// of [ErrTile] and [ErrAudit].
type IndexError struct {
	Index int64
	Cause error // may be nil
}

func (e *IndexError) Error() string {
	s := "leaf " + strconv.FormatInt(e.Index, 10)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *IndexError) Unwrap() error { return e.Cause }
