package policy

import "github.com/penname/penname/verifier/refusal"

// Why a warrant is refused, in the order in which [Decide] looks.
var (
	ErrTooLarge         = refusal.New(refusal.Invalid, "warrant.too_large", "The document is larger than any warrant can be; send the compact JWS only.")
	ErrUnsigned         = refusal.New(refusal.Unauthenticated, "warrant.unsigned", "The warrant must be a compact JWS, signed with EdDSA or ES256 by the issuing authority.")
	ErrDraft            = refusal.New(refusal.Invalid, "warrant.bad_draft", "The draft is not the JSON of a warrant: correct what stands at the place named here; `escrow warrant sign --help` shows a whole one.")
	ErrMalformed        = refusal.New(refusal.Invalid, "warrant.malformed", "The warrant is not canonical JSON of the published form; make it with `escrow warrant sign`.")
	ErrUnknownAuthority = refusal.New(refusal.Unauthenticated, "warrant.unknown_authority", "The issuing authority is not in the bundle in force; only courts and authorities named there can sign.")
	ErrSignerKey        = refusal.New(refusal.Unauthenticated, "warrant.signer_key_not_valid", "The key that signed is not one of the authority's, or was not valid when it signed.")
	ErrBadSignature     = refusal.New(refusal.Unauthenticated, "warrant.bad_signature", "The signature does not match these bytes; send the document exactly as it was signed.")
	ErrWrongAudience    = refusal.New(refusal.Denied, "warrant.wrong_audience", "The warrant is addressed to another registrar.")
	ErrWrongBundle      = refusal.New(refusal.Denied, "warrant.wrong_bundle", "The warrant was made under other rules than those in force; sign it again with the current bundle.")
	ErrUnknownKind      = refusal.New(refusal.Invalid, "warrant.unknown_kind", "The kind must be "+kindNames()+".")
	ErrNotYetValid      = refusal.New(refusal.Denied, "warrant.not_yet_valid", "The warrant is dated in the future; check the clock of whoever signed it.")
	ErrExpired          = refusal.New(refusal.Denied, "warrant.expired", "The warrant has expired; ask the authority for a new one.")
	ErrValidity         = refusal.New(refusal.Invalid, "warrant.validity_too_long", "The warrant must expire after it was issued, and within the days that the bundle allows.")
	ErrReasons          = refusal.New(refusal.Invalid, "warrant.reasons_missing", "State the file number, legal basis, offence, grounds, necessity and proportionality.")
	ErrEarlier          = refusal.New(refusal.Invalid, "warrant.earlier_missing", "An extension or a withdrawal must name the hash of the warrant that it is about; a preservation must not.")
	ErrNoTargets        = refusal.New(refusal.Invalid, "warrant.no_targets", "The warrant must name at least one pen name and its platform; a withdrawal names none.")
	ErrTooManyTargets   = refusal.New(refusal.Invalid, "warrant.too_many_targets", "The warrant names more pen names than the bundle allows in one; split it.")
	ErrBadTarget        = refusal.New(refusal.Invalid, "warrant.bad_target", "Each target is one whole pen name on one platform of the bundle or of the registry, once; there are no wildcards.")
	ErrHandleTarget     = refusal.New(refusal.Invalid, "warrant.handle_target", "A target is a handle, the short name that a platform shows: name the whole pen name, which is the sub of the token in the platform's evidence, and ask the platform for that.")
	ErrAddressTarget    = refusal.New(refusal.Invalid, "warrant.address_target", "A target is an e-mail address: the pen name stands before the @, name that alone.")
	ErrDescriptions     = refusal.New(refusal.Invalid, "warrant.descriptions", "A production warrant about an offence of which nobody may make a copy describes the post of each piece of evidence, by its digest, and no other warrant has descriptions: in targets, beside evidence, \"descriptions\": {\"SHA-256 of the evidence\": \"what the post shows, in the court's words\"}; escrow warrant sign --help has an example.")
	ErrNoEvidence       = refusal.New(refusal.Invalid, "warrant.evidence_missing", "Every target needs the platform's signed evidence whose digest the warrant names: name its file with --evidence.")
	ErrEvidenceMismatch = refusal.New(refusal.Invalid, "warrant.evidence_mismatch", "The evidence is about another pen name, platform or record, or its digest is not the one in the warrant.")
	ErrBadEvidence      = refusal.New(refusal.Invalid, "warrant.evidence_invalid", "A piece of evidence does not verify with the keys of its platform and of the issuer.")
	ErrDeliveryKey      = refusal.New(refusal.Invalid, "warrant.delivery_key", "The requester needs a delivery key made by `escrow warrant keygen`, and a name and organisation.")
	ErrSecrecy          = refusal.New(refusal.Invalid, "warrant.secrecy", "Secrecy must have an end within the days that the bundle allows, and a reason.")
	ErrFields           = refusal.New(refusal.Invalid, "warrant.fields", "A production warrant names each field it needs, once, from the bundle's list; no other kind names any.")
	ErrDeadline         = refusal.New(refusal.Invalid, "warrant.deadline", "The deadline must be ten_days or eight_hours.")
	ErrFlags            = refusal.New(refusal.Invalid, "warrant.flags", "The flags are journalist and privileged, each at most once.")
	ErrRuleFailed       = refusal.New(refusal.Denied, "warrant.rule_failed", "A rule of the bundle could not be evaluated, so nothing is allowed; the custodians must mend the bundle.")
	ErrRefusedByRule    = refusal.New(refusal.Denied, "warrant.refused_by_rule", "A rule of the bundle forbids this warrant; the decision names the rule.")
	ErrNotPermitted     = refusal.New(refusal.Denied, "warrant.not_permitted", "No rule of the bundle permits this warrant.")
)

// Why a bundle, or its endorsement, is refused.
var (
	ErrBundleTooLarge     = refusal.New(refusal.Invalid, "bundle.too_large", "The bundle is larger than 4 MiB.")
	ErrBundleMalformed    = refusal.New(refusal.Invalid, "bundle.malformed", "The bundle is not canonical JSON of the published form; make it with `escrowd bundle write`.")
	ErrBundleNames        = refusal.New(refusal.Invalid, "bundle.bad_name", "Every party needs a unique id of lower case letters, digits, dots and dashes, and a displayable name.")
	ErrBundleOrigin       = refusal.New(refusal.Invalid, "bundle.bad_origin", "Registrar and issuer must be https origins (http only on loopback), and the log needs an origin and a key.")
	ErrBundleWitnesses    = refusal.New(refusal.Invalid, "bundle.weak_witness_quorum", "The witness quorum must be at least 1 and at most the number of distinct witness operators and keys.")
	ErrBundleWitnessName  = refusal.New(refusal.Invalid, "bundle.witness_name", "The name of a witness must be the first part of its verifier key; copy it from there.")
	ErrBundleThreshold    = refusal.New(refusal.Invalid, "bundle.weak_threshold", "At least 2 custodians must be needed, and no more than there are.")
	ErrBundleCustodians   = refusal.New(refusal.Invalid, "bundle.custodians", "Custodians must be distinct organisations, none of them an authority, that hold the share indices 1 to n, each once.")
	ErrBundleKey          = refusal.New(refusal.Invalid, "bundle.bad_key", "Keys must be public Ed25519 or P-256 JWKs with a kid, and authorities' keys must say from when until when they are valid.")
	ErrBundleRecipient    = refusal.New(refusal.Invalid, "bundle.recipient", "Every custodian needs an age recipient of their own, to which exhibits are encrypted: have them run `escrow custodian card`, and name the cards with --card.")
	ErrBundleSharedKey    = refusal.New(refusal.Invalid, "bundle.shared_key", "One key may belong to one party only: nobody signs in two roles.")
	ErrBundleAuthority    = refusal.New(refusal.Invalid, "bundle.authority", "An authority needs a kind, an ISO 3166 jurisdiction and the listed offence classes it is competent for.")
	ErrBundleOffences     = refusal.New(refusal.Invalid, "bundle.offence_classes", "Offence classes need a title, a minimum maximum penalty of at least one month, and fields from the bundle's list.")
	ErrBundleCompartments = refusal.New(refusal.Invalid, "bundle.compartments", "Compartments need unique names of a to z and _, at most 32 characters, and hold each field of the bundle in exactly one.")
	ErrBundleLimits       = refusal.New(refusal.Invalid, "bundle.limits", "Targets must be limited to 1 to 900, secrecy to 1 to 1096 days, validity to 1 to 90 days, and the warrants of each authority to 1 to 10,000 a day.")
	ErrBundleRules        = refusal.New(refusal.Invalid, "bundle.rules", "Every rule must compile, use the published vocabulary, and carry a unique @id and a @title; a permit also @quorum and @notice_days.")
	ErrBundleRegistry     = refusal.New(refusal.Invalid, "bundle.registry", "A registry needs a key, and a new platform waits 1 to 90 days; 0 only where the registrar is this machine.")
	ErrBundleReviewers    = refusal.New(refusal.Invalid, "bundle.reviewers", "Reviewers must be at least two different people, or none, and none of them a custodian.")
	ErrNotEndorsed        = refusal.New(refusal.Denied, "bundle.not_endorsed", "Too few distinct custodians have endorsed this bundle.")
	ErrNotNext            = refusal.New(refusal.Conflict, "bundle.not_next", "The bundle does not follow the one in force: it must name that one's hash and the next number. Write it with `escrowd bundle write --after`, and let the custodians endorse what was written.")
	ErrStopped            = refusal.New(refusal.Denied, "warrant.stopped", "The custodians have stopped this case, its authority or its platform, by newer rules: nothing is decided or released any more.")
	ErrBadEndorsement     = refusal.New(refusal.Unauthenticated, "bundle.bad_endorsement", "An endorsement is not a custodian's signature over this bundle.")
)

// Why a custodian is not heard, or not yet.
var (
	ErrUnknownCustodian = refusal.New(refusal.Unauthenticated, "custodian.unknown", "No custodian of the bundle in force has signed this.")
	ErrNoticePeriod     = refusal.New(refusal.NotYet, "custodian.notice_period", "The rules give the person time to object, counted from the public log; approve when the notice period is over.")
)

// Why the decision of a reviewer does not count.
var (
	ErrReview          = refusal.New(refusal.Invalid, "review.malformed", "The decision is not a reviewer's statement of the published form: make it with `escrowd review accept` or `escrowd review separate`.")
	ErrUnknownReviewer = refusal.New(refusal.Unauthenticated, "review.unknown_reviewer", "No reviewer of the bundle in force has signed this, under this bundle: name the reviewer as the bundle does, and use their key.")
)

// ErrKey says that a private key cannot sign documents.
var ErrKey = refusal.New(refusal.Invalid, "key.unusable", "The signing key must be a private Ed25519 or P-256 JWK with a kid.")

// errNearHandle is ErrBadTarget, for what looks like a handle.
var errNearHandle = func() *refusal.Error {
	e := *ErrBadTarget
	e.Mend = "A target is no pen name, and looks like a handle with a typing error. A handle names nobody here: name the whole pen name, which is the sub of the token in the platform's evidence."
	return &e
}()
