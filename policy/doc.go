// Package policy holds the documents of a disclosure and the one decision about
// them.
//
// A court signs a [Warrant]; the rules in force are a [Bundle], addressed by the
// SHA-256 of its bytes and endorsed by its custodians; a custodian answers with
// an [Approval]. [Decide] is pure: the registrar runs it on intake, each
// custodian runs it again on their own machine, an auditor can run it years
// later, and all three get the same [Decision] from the same bytes.
//
// # Format
//
// Every signed document is a JWS in compact serialization (RFC 7515, 7.1) whose
// protected header has exactly the members alg (EdDSA or ES256), kid and typ,
// and whose payload is canonical JSON: the members sorted, no white space, no
// duplicates, no second way to write anything (RFC 8785). Times are RFC 3339 in
// UTC with whole seconds. Parsing a document and marshalling it again gives the
// same bytes, or the document is refused.
//
// A bundle is the same canonical JSON without a signature of its own.
//
// # Rules
//
// The rules are Cedar policies in rules/*.cedar, written for a lawyer to read,
// with the vocabulary in rules/vocabulary.cedarschema. [DefaultRules] returns
// them for a new bundle. Decide only ever uses the rules that the bundle
// carries. What no rule can switch off is in Go: signatures, evidence, the
// delivery key, the end of secrecy, the threshold.
package policy
