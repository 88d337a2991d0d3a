package token

import _ "embed" // the schema

// EvidenceSchema is the form of evidence of [EvidenceVersion], a JSON Schema (draft
// 2020-12) of its payload. Its description says what a schema cannot.
//
//go:embed testdata/evidence.schema.json
var EvidenceSchema string
