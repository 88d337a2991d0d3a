package token

import (
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

const maxToken = 8 << 10 // bytes, a whole compact token

// The kinds of signed document of this package.
var (
	idFormat       = tokenFormat(document.IDTokenAlgorithms, "jwt", "")
	accessFormat   = tokenFormat(document.SignatureAlgorithms, TypAccess)
	statusFormat   = &document.Format{Types: []string{"statuslist+jwt"}, MaxBytes: maxStatusToken, Algorithms: document.SignatureAlgorithms, Refusals: statusRefusals}
	proofFormat    = &document.Format{Types: []string{"dpop+jwt"}, MaxBytes: maxToken, Algorithms: document.SignatureAlgorithms, EmbeddedKey: true, Refusals: proofRefusals}
	evidenceFormat = &document.Format{Types: []string{"penname-evidence+jwt"}, MaxBytes: 64 << 10, Algorithms: evidenceAlgorithms, Refusals: evidenceRefusals}
)

// evidenceAlgorithms have the newer name of EdDSA too, which other languages' libraries write.
var evidenceAlgorithms = append(slices.Clip(document.SignatureAlgorithms), document.Ed25519)

func tokenFormat(algorithms []jose.SignatureAlgorithm, types ...string) *document.Format {
	return &document.Format{Types: types, MaxBytes: maxToken, Algorithms: algorithms, Refusals: tokenRefusals}
}

type refusals = map[document.Fault]*refusal.Error

var tokenRefusals = refusals{
	document.Malformed: ErrMalformed, document.TooLarge: ErrTooLarge, document.TooComplex: ErrTooLarge, document.AlgNotAllowed: ErrAlgNotAllowed,
	document.AlgKeyMismatch: ErrAlgKeyMismatch, document.UntrustedKey: ErrUntrustedKey, document.UnknownKey: ErrUnknownKid,
	document.AmbiguousKey: ErrAmbiguousKey, document.KeyUse: ErrKeyUse, document.BadSignature: ErrBadSignature,
	document.UnsupportedCrit: ErrUnsupportedCrit, document.WrongType: ErrWrongTyp, document.CannotSign: ErrCannotSign,
	document.BadKeySet: ErrBadKeySet, document.BadKey: ErrBadKey, document.WeakKey: ErrWeakKey,
}

// statusRefusals are causes of ErrStatusUnknown, but for what cannot be signed.
var statusRefusals = refusals{document.Malformed: ErrMalformed, document.TooLarge: ErrStatusListInvalid, document.CannotSign: ErrCannotSign}

var proofRefusals = refusals{
	document.Malformed: ErrProofMalformed, document.TooLarge: ErrProofTooLarge, document.TooComplex: ErrProofTooLarge, document.AlgNotAllowed: ErrProofAlg,
	document.AlgKeyMismatch: ErrProofKey, document.UntrustedKey: ErrProofKey, document.BadSignature: ErrProofSignature,
	document.UnsupportedCrit: ErrProofCrit, document.WrongType: ErrProofTyp, document.CannotSign: ErrCannotSign,
}

var evidenceRefusals = refusals{
	document.Malformed: ErrEvidenceMalformed, document.TooLarge: ErrEvidenceTooLarge, document.TooComplex: ErrEvidenceTooLarge,
	document.AlgNotAllowed: ErrEvidenceSignature, document.AlgKeyMismatch: ErrEvidenceKey, document.UntrustedKey: ErrEvidenceKey,
	document.UnknownKey: ErrEvidenceKey, document.AmbiguousKey: ErrEvidenceKey, document.KeyUse: ErrEvidenceKey,
	document.BadSignature: ErrEvidenceSignature, document.WrongType: ErrEvidenceTyp, document.CannotSign: ErrCannotSign,
}
