//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package command

// hush is for the systems whose terminals can be told in one step.
func hush(int) error { return nil }
