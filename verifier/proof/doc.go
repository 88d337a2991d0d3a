// Package proof answers "did this really happen?": the leaves of the public
// log, its checkpoints, proofs, an audit of everything, and the witness that a
// custodian runs. It contains no line of the server.
//
// The log is a Merkle tree as in RFC 6962, served as C2SP tlog-tiles under
// C2SP tlog-checkpoints. A checkpoint counts if the log signed it and a quorum
// of witnesses, run by distinct operators, cosigned it (C2SP
// tlog-cosignature): then no two readers can be shown two histories unless
// that many operators lie together.
//
//	log, err := proof.NewLog(origin, logKey, witnesses, 2)
//	checkpoint, err := log.OpenCheckpoint(signed)       // one checkpoint
//	index, checkpoint, err := log.VerifyProof(leaf, p)  // one leaf
//	report, err := log.Audit(ctx, tiles, options)       // everything
//
// A leaf holds a kind, a day, coarse public facets and salted commitments; see
// [Leaf]. When secrecy ends the salt is published, and [Concerns] tells a
// person whether a warrant named them.
package proof
