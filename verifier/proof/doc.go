// Package proof answers "did this really happen?": the leaves of the public
// log, its checkpoints, proofs, an audit of everything, and a mirror. It contains
// no line of the server.
//
// The log is a Merkle tree as in RFC 6962, served as C2SP tlog-tiles under
// C2SP tlog-checkpoints. A checkpoint counts if the log signed it and a quorum
// of witnesses, run by distinct operators, cosigned it (C2SP
// tlog-cosignature). Two readers can be shown two histories only if every witness
// that two quorums have in common is dishonest or forgot: with n witnesses and a
// quorum of q that takes 2q - n of them, so one of 3 if the quorum is 2.
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
