package identity

import "github.com/penname/penname/verifier/refusal"

// Refusals at configuration: the identity provider is not used at all.
var (
	ErrConfig         = refusal.New(refusal.Invalid, "identity.bad_config", "the identity provider's configuration is incomplete or unsafe; give issuer, client id, redirect URL, the scope profile and a required assurance, all over https")
	ErrIssuerMismatch = refusal.New(refusal.Invalid, "proofing_failed.issuer_mismatch", "the identity provider names another issuer than the configured one; configure the issuer exactly as it names itself")
	ErrNoPKCE         = refusal.New(refusal.Invalid, "proofing_failed.no_pkce", "the identity provider does not offer PKCE with S256; use one that does")
	ErrClient         = refusal.New(refusal.Unavailable, "proofing_failed.bad_client", "the identity provider does not accept our client id and secret; the operator corrects client_id and client_secret_file")
	ErrNoSuchLevel    = refusal.New(refusal.Invalid, "proofing_failed.no_such_level", "the identity provider does not have one of the demanded acr_values; configure levels that its discovery document names")
	ErrBadDiscovery   = refusal.New(refusal.Invalid, "proofing_failed.bad_discovery", "the identity provider's discovery document or key set is not usable; ask its operator to mend it")
)

// Refusals of the network between us and the identity provider.
var (
	ErrRedirectRefused = refusal.New(refusal.Invalid, "proofing_failed.redirect_refused", "the identity provider redirected us to another host; ask its operator to publish final addresses")
	ErrSSRFRefused     = refusal.New(refusal.Invalid, "proofing_failed.ssrf_refused", "the identity provider's address is not a public https address; configure one that is, or name its host or network in private_networks")
	// ErrPrivateAddress is of a platform's address, where the others are of an identity provider's.
	ErrPrivateAddress = refusal.New(refusal.Invalid, "platform.private_address", "an address that a platform gave is not on the public internet: correct it with the platform, or name its host or network in issue.platform_private_networks")
	ErrTooLarge       = refusal.New(refusal.Invalid, "proofing_failed.too_large", "the identity provider answered with more than we read; ask its operator to mend it")
	ErrTimeout        = refusal.New(refusal.Unavailable, "proofing_failed.timeout", "the identity provider did not answer in time; try again later")
	ErrUnavailable    = refusal.New(refusal.Unavailable, "proofing_failed.idp_unavailable", "the identity provider is not reachable or failed; try again later")
	ErrCertificate    = refusal.New(refusal.Unavailable, "proofing_failed.bad_certificate", "the identity provider's certificate does not verify; try again later, or tell the operator, who names a private authority in ca_file")
	ErrDisabled       = refusal.New(refusal.Invalid, "proofing_failed.idp_disabled", "this identity provider is no longer accepted; start again with another one")
)

// Refusals of one callback. Nothing is stored, and the flow must begin again.
var (
	ErrMalformed    = refusal.New(refusal.Invalid, "proofing_failed.malformed", "the identity provider's answer is not one well-formed code response; start again")
	ErrBadState     = refusal.New(refusal.Invalid, "proofing_failed.bad_state", "this answer belongs to no sign-in that began in this browser: start again from the first page")
	ErrMixup        = refusal.New(refusal.Invalid, "proofing_failed.mixup", "the answer names another identity provider, or none, where ours must be named; start again")
	ErrExpired      = refusal.New(refusal.Invalid, "proofing_failed.expired", "the sign-in took longer than ten minutes: start again from the first page")
	ErrUsed         = refusal.New(refusal.Conflict, "proofing_failed.already_used", "this answer of the identity provider was used before: start again from the first page")
	ErrDeclined     = refusal.New(refusal.Invalid, "proofing_failed.declined", "the identity provider reported that the sign-in was declined or failed; start again")
	ErrPKCEFailed   = refusal.New(refusal.Invalid, "proofing_failed.pkce_failed", "the identity provider would not exchange this code for the flow of this browser; start again")
	ErrBadSignature = refusal.New(refusal.Invalid, "proofing_failed.bad_signature", "the id token is not signed by a current key of the identity provider; start again")
	ErrWrongType    = refusal.New(refusal.Invalid, "proofing_failed.wrong_typ", "the identity provider sent another kind of token in the place of an id token; ask its operator to mend it")
	ErrBadIssuer    = refusal.New(refusal.Invalid, "proofing_failed.bad_issuer", "the id token was issued by another identity provider; start again")
	ErrBadAudience  = refusal.New(refusal.Invalid, "proofing_failed.bad_audience", "the id token was not issued to us alone; check the client registration")
	ErrBadNonce     = refusal.New(refusal.Invalid, "proofing_failed.bad_nonce", "the id token does not belong to this sign-in; start again")
	ErrBadHash      = refusal.New(refusal.Invalid, "proofing_failed.bad_hash", "the id token does not belong to the code or access token beside it; start again")
	ErrBadTime      = refusal.New(refusal.Invalid, "proofing_failed.bad_time", "the id token is expired, or the clocks differ by more than five minutes; ask the operators to set them")
	ErrMissingClaim = refusal.New(refusal.Invalid, "proofing_failed.missing_claim", "the identity provider left out something that proves who you are; release your verified name and date of birth to us and start again")
	ErrSubMismatch  = refusal.New(refusal.Invalid, "proofing_failed.sub_mismatch", "UserInfo speaks of another person than the id token; start again")
	ErrAssurance    = refusal.New(refusal.Invalid, "proofing_failed.insufficient_assurance", "the identity provider did not verify you to the level that we require; sign in with its stronger method")
	ErrNotFresh     = refusal.New(refusal.Invalid, "proofing_failed.not_fresh", "the identity provider did not ask you anew who you are: sign out there, then prove your identity again")
)
