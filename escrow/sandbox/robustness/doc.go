// Package robustness is the evidence that a Penname loses nothing: what its clients
// saw, compared with what is there at the end, as Jepsen and etcd's robustness tests do.
//
//	history.go  what clients asked for, and what they were answered
//	check.go    the rules that hold between a history and the end, as one table
//	summary.go  what a run tells: acts, faults, seconds of refusal, violations
//	disk.go     a file system that loses what was not synced, when its power fails; node.go is its files
//
// Nothing here knows a server: the tests that break one bring it.
package robustness
