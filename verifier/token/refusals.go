package token

import "github.com/penname/penname/verifier/refusal"

const (
	invalid         = refusal.Invalid
	unauthenticated = refusal.Unauthenticated
	unavailable     = refusal.Unavailable
)

// Why a token, or a set of keys to check it with, was refused.
var (
	ErrMalformed       = refusal.New(unauthenticated, "invalid_token.malformed", "The token is not a compact JWS with strict base64url and strict JSON; send it exactly as the issuer made it.")
	ErrTooLarge        = refusal.New(unauthenticated, "invalid_token.too_large", "The token is larger than 8 KiB, its header than 2 KiB, or its JSON deeper than 16 levels; ask the issuer for a new one.")
	ErrAlgNotAllowed   = refusal.New(unauthenticated, "invalid_token.alg_not_allowed", "The signature algorithm is not EdDSA or ES256, nor RS256 of an ID token; ask the issuer for a new token.")
	ErrAlgKeyMismatch  = refusal.New(unauthenticated, "invalid_token.alg_key_mismatch", "The signature algorithm does not belong to the key; use the algorithm that the key set names.")
	ErrUntrustedKey    = refusal.New(unauthenticated, "invalid_token.untrusted_key", "The header brings its own key or points to one; sign with a key of the issuer's key set and name it by kid only.")
	ErrUnknownKid      = refusal.New(unauthenticated, "invalid_token.unknown_kid", "The issuer's key set has no such key; refresh the key set or ask the issuer for a new token.")
	ErrAmbiguousKey    = refusal.New(unauthenticated, "invalid_token.ambiguous_key", "The header names no kid and several keys could be meant; the issuer must set kid.")
	ErrKeyUse          = refusal.New(unauthenticated, "invalid_token.key_use", "The key is not meant for verifying signatures; the issuer must sign with a key whose use is sig.")
	ErrKeyNotValidAt   = refusal.New(unauthenticated, "invalid_token.key_not_valid_at", "The key was not in force when the token was issued; ask the issuer for a new token.")
	ErrBadKeySet       = refusal.New(unauthenticated, "invalid_token.bad_key_set", "The key set is not a strict JWK Set of public keys with distinct kids; the issuer must mend it.")
	ErrBadKey          = refusal.New(unauthenticated, "invalid_token.bad_key", "A key of the set is not a valid public key; the issuer must mend the key set.")
	ErrWeakKey         = refusal.New(unauthenticated, "invalid_token.weak_key", "A key of the set is too weak to sign anything; the issuer must replace it.")
	ErrBadSignature    = refusal.New(unauthenticated, "invalid_token.bad_signature", "The signature does not verify; send the token exactly as the issuer made it.")
	ErrUnsupportedCrit = refusal.New(unauthenticated, "invalid_token.unsupported_crit", "The header demands an extension that is not supported here; issue the token without crit and b64.")
	ErrWrongTyp        = refusal.New(unauthenticated, "invalid_token.wrong_typ", "This is another kind of token than the one expected here; send the right one.")
	ErrMissingExp      = refusal.New(unauthenticated, "invalid_token.missing_exp", "The token has no exp; the issuer must set one.")
	ErrBadExp          = refusal.New(unauthenticated, "invalid_token.bad_exp", "The token's exp is not a time; the issuer must write it in seconds since 1970.")
	ErrExpired         = refusal.New(unauthenticated, "invalid_token.expired", "The token has expired; sign in again.")
	ErrBadIat          = refusal.New(unauthenticated, "invalid_token.bad_iat", "The token's iat is absent, in the future or too long ago; check the clocks or sign in again.")
	ErrNotYetValid     = refusal.New(unauthenticated, "invalid_token.not_yet_valid", "The token's nbf is not a time or still to come; check the clocks or wait.")
	ErrBadAudience     = refusal.New(unauthenticated, "invalid_token.bad_audience", "The token is not for this platform alone; sign in to this platform.")
	ErrBadIssuer       = refusal.New(unauthenticated, "invalid_token.bad_issuer", "The token is not from the configured issuer; compare the issuer's name letter by letter.")
	ErrBadSubject      = refusal.New(unauthenticated, "invalid_token.bad_subject", "The token's subject is not a pseudonym; the issuer must put the pseudonym of this platform there.")
	ErrMissingClaim    = refusal.New(unauthenticated, "invalid_token.missing_claim", "The token lacks jti, acr or penname_commitment, or one is not well formed; the issuer must set them.")
	ErrReplayed        = refusal.New(unauthenticated, "invalid_token.replayed", "The token can be used once and was used; sign in again.")
	ErrInactive        = refusal.New(unauthenticated, "invalid_token.inactive", "The token was withdrawn by its issuer; sign in again.")
	ErrStatusUnknown   = refusal.New(unauthenticated, "invalid_token.status_unknown", "The token's status cannot be established; try again when the status list can be read.")

	ErrBadPseudonym = refusal.New(invalid, "pseudonym.malformed", "This is not a pseudonym; compare it letter by letter with the original, all in lower case.")

	ErrKeysUnavailable   = refusal.New(unavailable, "token.keys_unavailable", "The issuer's keys cannot be read now; try again later.")
	ErrReplayUnavailable = refusal.New(unavailable, "token.replay_unavailable", "Whether this was used before cannot be established now; try again later.")
	ErrNoStatusSource    = refusal.New(unavailable, "token.no_status_source", "The token carries a status and the verifier has no source for it; its operator must set Status, see NewHTTPStatusSource.")
	ErrMisconfigured     = refusal.New(unavailable, "token.misconfigured", "The verifier lacks Issuer, Audience, Keys or (for DPoP) Origin; its operator must set them.")
	ErrCannotSign        = refusal.New(invalid, "token.cannot_sign", "The key cannot sign; use an Ed25519 or P-256 private key.")
	ErrStatusListInvalid = refusal.New(invalid, "token.bad_status_list", "The status list lacks its URI or a time, or is too large; mend it before signing.")
)

// Why a DPoP proof was refused.
var (
	ErrProofMissing       = refusal.New(unauthenticated, "invalid_dpop_proof.missing", "The token is bound to a key and came without proof of it; send one DPoP header and the DPoP scheme.")
	ErrProofMalformed     = refusal.New(unauthenticated, "invalid_dpop_proof.malformed", "The DPoP header is not exactly one strict compact JWS; send one proof a request.")
	ErrProofTooLarge      = refusal.New(unauthenticated, "invalid_dpop_proof.too_large", "The DPoP proof is too large; send a proof of less than 8 KiB.")
	ErrProofTyp           = refusal.New(unauthenticated, "invalid_dpop_proof.wrong_typ", "The proof's typ is not dpop+jwt; make a proof, do not send another token in its place.")
	ErrProofAlg           = refusal.New(unauthenticated, "invalid_dpop_proof.alg_not_allowed", "The proof's algorithm is not EdDSA or ES256; sign with one of these.")
	ErrProofKey           = refusal.New(unauthenticated, "invalid_dpop_proof.bad_jwk", "The proof's jwk is absent, not a public Ed25519 or P-256 key, or not alone; put only the public key there.")
	ErrProofSignature     = refusal.New(unauthenticated, "invalid_dpop_proof.bad_signature", "The proof's signature does not verify with its own key; sign it again.")
	ErrProofCrit          = refusal.New(unauthenticated, "invalid_dpop_proof.unsupported_crit", "The proof demands an extension that is not supported here; make it without crit and b64.")
	ErrProofID            = refusal.New(unauthenticated, "invalid_dpop_proof.bad_jti", "The proof's jti is absent, empty or longer than 256 bytes; set a random one.")
	ErrProofMethod        = refusal.New(unauthenticated, "invalid_dpop_proof.wrong_method", "The proof is for another HTTP method; make one for each request.")
	ErrProofURL           = refusal.New(unauthenticated, "invalid_dpop_proof.wrong_url", "The proof is for another URL; make one for each request.")
	ErrProofIat           = refusal.New(unauthenticated, "invalid_dpop_proof.bad_iat", "The proof's iat is absent, too old or in the future; check the clock and make a new proof.")
	ErrProofAth           = refusal.New(unauthenticated, "invalid_dpop_proof.wrong_ath", "The proof does not hash the access token that it came with; set ath.")
	ErrProofOtherKey      = refusal.New(unauthenticated, "invalid_dpop_proof.wrong_key", "The proof is made with another key than the token is bound to; sign with the token's key.")
	ErrProofReplayed      = refusal.New(unauthenticated, "invalid_dpop_proof.replayed", "This proof was used before; make a new one for each request.")
	ErrProofNonce         = refusal.New(unauthenticated, "invalid_dpop_proof.use_dpop_nonce", "The proof must hold the nonce of the DPoP-Nonce header; make a new one with it.")
	ErrBoundTokenAsBearer = refusal.New(unauthenticated, "invalid_dpop_proof.bound_token_as_bearer", "The token is bound to a key; send it with the DPoP scheme and a proof.")
	ErrTokenNotBound      = refusal.New(unauthenticated, "invalid_dpop_proof.token_not_bound", "The token is not bound to a key; send it with the Bearer scheme.")
)

// Why evidence was refused.
var (
	ErrEvidenceMalformed = refusal.New(invalid, "evidence.malformed", "This is not evidence of the published form (escrow evidence schema); ask the platform for it again.")
	ErrEvidenceTooLarge  = refusal.New(invalid, "evidence.too_large", "The evidence bundle is larger than 64 KiB; one bundle holds one post.")
	ErrEvidenceTyp       = refusal.New(invalid, "evidence.wrong_typ", "This is another kind of document than evidence; submit the evidence bundle.")
	ErrEvidenceKey       = refusal.New(invalid, "evidence.unknown_key", "The evidence is not signed with a key of this platform that was in force; ask the platform for it again.")
	ErrEvidenceSignature = refusal.New(invalid, "evidence.bad_signature", "The platform's signature does not verify; submit the bundle exactly as the platform made it.")
	ErrEvidenceToken     = refusal.New(invalid, "evidence.bad_token", "The token in the evidence was not a valid token of this platform when the post was made; it proves nothing.")
	ErrEvidenceProof     = refusal.New(invalid, "evidence.bad_proof", "The DPoP proof in the evidence is not one of the key that the token is bound to, made for it within a minute of the post; leave it out or record the right one.")
	ErrEvidenceVersion   = refusal.New(invalid, "evidence.unknown_version", "The evidence is of a later version of the format than this program reads; use a newer program.")
	ErrNoContent         = refusal.New(invalid, "evidence.no_content", "The evidence declares nothing of what was published; the platform must name at least one exhibit, which is not empty.")
	ErrExhibitType       = refusal.New(invalid, "evidence.exhibit_type", "An exhibit is of a type that is not taken, such as HTML, SVG or an archive; show it as text, picture, sound, film or PDF, and name the type without parameters.")
	ErrExhibitTooLarge   = refusal.New(invalid, "evidence.exhibit_too_large", "An exhibit is larger than 20 MiB, or a text larger than 1 MiB; cut out what matters, or use a smaller picture.")
	ErrExhibitContent    = refusal.New(invalid, "evidence.exhibit_content", "The bytes of an exhibit are not of the type that it declares; a text must be UTF-8 without NUL. Whoever makes evidence declares the type that they are; whoever was handed it asks the platform for it again.")
	ErrExhibitMismatch   = refusal.New(invalid, "evidence.exhibit_mismatch", "An exhibit is not the one that the platform signed: its length or digest differs; hand over the bytes exactly as published.")
)
