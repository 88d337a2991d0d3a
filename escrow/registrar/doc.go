// Package registrar is the wire between the disclosing side and everybody
// outside it: paths, documents and the client that outsiders use. The server in
// escrow/web speaks the same types, so that neither side can drift.
package registrar
