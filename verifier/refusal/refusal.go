// Package refusal is the closed set of ways in which Penname says no.
//
// Every refusal has a kind, which decides the HTTP status and the exit code, a
// machine code that is stable, and one constant sentence that says how to mend
// it. A refusal never carries request data: the texts are constants, so they
// cannot leak a name. The cause, for the operator's log only, is attached with
// [Error.Because].
package refusal

import (
	"errors"
	"slices"
)

// Kind is one of seven reasons to refuse. The zero Kind is not a refusal.
type Kind int

// The kinds, from the caller's fault to ours.
const (
	Invalid         Kind = iota + 1 // the request can never succeed as it is
	Unauthenticated                 // we do not know who asks, or cannot check it
	Denied                          // we know who asks, and the rules say no
	NotFound                        // there is no such thing, or not for this caller
	Conflict                        // it was done before, or differently
	NotYet                          // a precondition is still open; retrying later can succeed
	Unavailable                     // a dependency is down or in doubt: nothing was disclosed
)

var kindNames = [...]string{"", "invalid", "unauthenticated", "denied", "not found", "conflict", "not yet", "unavailable"}

// String returns the kind in words.
func (k Kind) String() string {
	if k < Invalid || k > Unavailable {
		return "unknown kind"
	}
	return kindNames[k]
}

// Error is a refusal. Values are declared once, as package variables, and are
// compared by code with [errors.Is].
type Error struct {
	Kind Kind
	Code string // dotted, lower case, stable: "warrant.unknown_authority"
	Mend string // one constant sentence: what is wrong and how to mend it

	cause error
}

// New declares a refusal. Code and mend must be constants.
func New(kind Kind, code, mend string) *Error {
	return &Error{Kind: kind, Code: code, Mend: mend}
}

// Error returns code and sentence, never the cause.
func (e *Error) Error() string { return e.Code + ": " + e.Mend }

// Because returns a copy of e with a cause for the operator's log. The cause
// must not hold personal data either: it is written to logs.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is a refusal with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Of returns the outermost refusal in err's chain, or nil.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Codes are those of every refusal in err, each once and the outermost first: of all errors that
// were joined, and of their causes. What an alarm rests on may stand behind any of them.
func Codes(err error) (codes []string) {
	if e, ok := err.(*Error); ok { //nolint:errorlint // every error of the tree has its turn
		codes = []string{e.Code}
	}
	var inner []error
	switch e := err.(type) { //nolint:errorlint // likewise
	case interface{ Unwrap() error }:
		inner = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		inner = e.Unwrap()
	}
	for _, err := range inner {
		codes = append(codes, slices.DeleteFunc(Codes(err), func(code string) bool { return slices.Contains(codes, code) })...)
	}
	return codes
}
