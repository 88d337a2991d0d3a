package policy

import "github.com/penname/penname/verifier/refusal"

// Why a warrant is refused, in the order in which [Decide] looks.
var (
	ErrTooLarge         = refusal.New(refusal.Invalid, "warrant.too_large", "The document is larger than any warrant can be; send the compact JWS only.")
	ErrUnsigned         = refusal.New(refusal.Unauthenticated, "warrant.unsigned", "The warrant must be a compact JWS, signed by the issuing authority with EdDSA or ES256, or by a certificate with ES256, ES384, PS256 or RS256.")
	ErrDraft            = refusal.New(refusal.Invalid, "warrant.bad_draft", "The draft is not the JSON of a warrant: correct what stands at the place named here; `escrow warrant sign --help` shows a whole one.")
	ErrMalformed        = refusal.New(refusal.Invalid, "warrant.malformed", "The warrant is not canonical JSON of the published form; make it with `escrow warrant sign`.")
	ErrUnknownAuthority = refusal.New(refusal.Unauthenticated, "warrant.unknown_authority", "The issuing authority is not in the bundle in force; only courts and authorities named there can sign.")
	ErrSignerKey        = refusal.New(refusal.Unauthenticated, "warrant.signer_key_not_valid", "The key that signed is not one of the authority's, or was not valid when it signed.")
	ErrInquiry          = refusal.New(refusal.Unauthenticated, "warrant.inquiry", "What only the court and custodians may read is shown to who asks with the court's key, now, and once: ask with `escrow warrant status CASE --key` again, and set the clock if it stays so.")
	ErrBadSignature     = refusal.New(refusal.Unauthenticated, "warrant.bad_signature", "The signature does not match these bytes; send the document exactly as it was signed.")

	ErrCertificateHeader = refusal.New(refusal.Invalid, "warrant.certificate_header", "What the header says of certificates is not JAdES baseline B (ETSI TS 119 182-1): x5c with at most 5 certificates, x5t#S256 of the first, iat or sigT, and no other key, no signature policy and no detached payload; escrow warrant sign --certificate writes one.")
	ErrCertificateKey    = refusal.New(refusal.Unauthenticated, "warrant.certificate_not_registered", "The bundle does not register this certificate for the authority: its organisation identifier (2.5.4.97 in the subject) and the SHA-256 of its SubjectPublicKeyInfo must be the authority's organisation_identifier and one of its certificate_keys. Who certified it gives no power.")
	ErrSigningTime       = refusal.New(refusal.Invalid, "warrant.signing_time", "The time of signature in the header does not fit: it is not before the day on which the warrant says that it was issued, and not after it was filed; check the clock of whoever signed, and sign again.")
	ErrCertificate       = refusal.New(refusal.Unauthenticated, "warrant.certificate_not_valid", "The certificate does not lead to a certificate authority of the bundle by the rules of RFC 5280, or is not for signing documents; sign with the whole chain, in its order, the signer's certificate first.")
	ErrCertificateTime   = refusal.New(refusal.Unauthenticated, "warrant.certificate_expired", "A certificate of the chain was not valid yet, or no longer, when the warrant was recorded, whatever time the signer states; sign with one that is valid.")
	ErrRevocationList    = refusal.New(refusal.Invalid, "warrant.revocation_list", "revocation: at most 8 lists of revoked certificates (CRL), each base64 of DER of at most 1 MiB, and only where a certificate signed; name their files with --revocation.")
	ErrRevoked           = refusal.New(refusal.Unauthenticated, "warrant.certificate_revoked", "A certificate of the chain is revoked; the authority signs again with another one, whose key the bundle registers.")
	ErrRevocationUnknown = refusal.New(refusal.Unauthenticated, "warrant.revocation_unknown", "Nobody can tell whether the certificate is revoked, and what is unknown is refused: file a list of revoked certificates (CRL) for each certificate of the chain but the registered one, whole, signed by who issued that certificate, in force, and at most 10 days old, with --revocation.")

	ErrWrongAudience    = refusal.New(refusal.Denied, "warrant.wrong_audience", "audience: the warrant is addressed to another registrar; name the registrar of the bundle, and sign again.")
	ErrWrongBundle      = refusal.New(refusal.Denied, "warrant.wrong_bundle", "The warrant was made under other rules than those in force; sign it again with the current bundle.")
	ErrUnknownKind      = refusal.New(refusal.Invalid, "warrant.unknown_kind", "The kind must be "+kindNames()+".")
	ErrNotYetValid      = refusal.New(refusal.Denied, "warrant.not_yet_valid", "The warrant is dated in the future; check the clock of whoever signed it.")
	ErrExpired          = refusal.New(refusal.Denied, "warrant.expired", "The warrant has expired; ask the authority for a new one.")
	ErrValidity         = refusal.New(refusal.Invalid, "warrant.validity_too_long", "expiry: the warrant must expire after it was issued, and within the days that the bundle allows: max_validity_days, and of a preservation hold_days (Regulation (EU) 2023/1543, Art. 10(1)).")
	ErrDatedBack        = refusal.New(refusal.Invalid, "warrant.dated_back", "issued_at: a warrant that was issued over a day before it is filed says why in dated_back, which custodians read, and its issued_at is that earlier day; an emergency cannot be dated back. Make the two fit, and sign again.")
	ErrReasons          = refusal.New(refusal.Invalid, "warrant.reasons_missing", "State file_number, legal_basis, offence, grounds, necessity and proportionality (Regulation (EU) 2023/1543, Art. 5(2) and (5)); a warrant about an earlier one file_number, offence_class and grounds, and a ruling in ruling what it rules on and how.")
	ErrEarlier          = refusal.New(refusal.Invalid, "warrant.earlier_missing", "earlier: an extension, a change of secrecy, a withdrawal, an annulment, a ruling and a validation name the SHA-256 of the warrant that they are about; a preservation, a suspension and a link name none.")
	ErrRecognises       = refusal.New(refusal.Invalid, "warrant.recognises", "recognises: an order of another state is named by its authority, that state's ISO 3166-1 code, its file number and the SHA-256 of the order as it was received; only an order recognises one.")
	ErrJointly          = refusal.New(refusal.Invalid, "warrant.jointly", "jointly: name the ids of other authorities of the bundle, each once.")
	ErrDeadline         = refusal.New(refusal.Invalid, "warrant.deadline", "deadline: it is ten_days or eight_hours; since format 5 of the bundle eight_hours is that of every emergency, and of no other kind (Regulation (EU) 2023/1543, Art. 10(4)).")
	ErrFlags            = refusal.New(refusal.Invalid, "warrant.flags", "flags: they are journalist and privileged, each at most once (Regulation (EU) 2023/1543, Art. 12(1)(a)).")
	ErrOffence          = refusal.New(refusal.Invalid, "warrant.offence", "offence_id: the warrant names no offence of the bundle's catalogue, and for nothing else is an order given; name one of its ids, which the bundle lists in offences.")
	ErrOffenceClass     = refusal.New(refusal.Invalid, "warrant.offence_class", "offence_class: the offence in offence_id is of another class in the bundle's catalogue; name that class.")
	ErrPenalty          = refusal.New(refusal.Denied, "warrant.penalty", "max_penalty_months: the warrant states a higher maximum than the statute in the bundle's catalogue has (Regulation (EU) 2023/1543, Art. 5(4)); state that of the statute.")
	ErrOffenceAuthority = refusal.New(refusal.Denied, "warrant.offence_authority", "authority: the bundle's catalogue lets another kind of authority ask for this offence (Regulation (EU) 2023/1543, Art. 4); have one of those sign it.")
	ErrNoTargets        = refusal.New(refusal.Invalid, "warrant.no_targets", "targets: the warrant must name at least one pen name and its platform; a validation and a change of secrecy name none.")
	ErrTooManyTargets   = refusal.New(refusal.Invalid, "warrant.too_many_targets", "targets: the warrant names more pen names than the bundle allows in one; split it. What is filed in 30 days counts together.")
	ErrOneTarget        = refusal.New(refusal.Invalid, "warrant.one_target", "targets: a link names one pen name, whose holder's other pen names are asked for; sign one for each.")
	ErrBadTarget        = refusal.New(refusal.Invalid, "warrant.bad_target", "targets: each is one whole pen name on one platform of the bundle or of the registry, once; there are no wildcards.")
	ErrHandleTarget     = refusal.New(refusal.Invalid, "warrant.handle_target", "A target is a handle, the short name that a platform shows: name the whole pen name, which is the sub of the token in the platform's evidence, and ask the platform for that.")
	ErrAddressTarget    = refusal.New(refusal.Invalid, "warrant.address_target", "A target is an e-mail address: the pen name stands before the @, name that alone.")
	ErrDescriptions     = refusal.New(refusal.Invalid, "warrant.descriptions", "A warrant that custodians decide about an offence of which nobody may make a copy describes the post of each piece of evidence, by its digest, and no other warrant has descriptions: in targets, beside evidence, \"descriptions\": {\"SHA-256 of the evidence\": \"what the post shows, in the court's words\"}; escrow warrant sign --help has an example.")
	ErrRole             = refusal.New(refusal.Invalid, "warrant.role", "role: a target is a witness, a victim or a child, or a suspect, of whom nothing is said.")
	ErrNoEvidenceHere   = refusal.New(refusal.Invalid, "warrant.evidence_not_needed", "targets: a warrant about an earlier one names pen names of that one by pseudonym and platform alone; leave out evidence, further and role, and file no evidence with it.")
	ErrNoEarlier        = refusal.New(refusal.NotFound, "warrant.earlier_unknown", "earlier: no warrant with that hash is on file that a warrant of this kind by this authority can be about. An authority follows up, extends, withdraws and changes the secrecy of what it filed itself, a court annuls what one below it filed, either rules on what is asked or objected, and what is validated is filed first if it is an emergency, else together with its countersignature: escrow warrant file WARRANT --countersigned …")
	ErrEarlierKind      = refusal.New(refusal.Invalid, "warrant.earlier_kind", "earlier: a warrant of this kind cannot be about one of that kind: an extension is about a preservation, a validation about an emergency, and what takes back an extension names the preservation that it extends; name the right one.")
	ErrEarlierAuthority = refusal.New(refusal.Denied, "warrant.earlier_authority", "earlier: another authority issued that warrant. Its own authority follows it up, changes its secrecy and withdraws it; one over it annuls it; either rules on what is asked or objected; one that the bundle names for it validates it (Regulation (EU) 2023/1543, Art. 4(5)).")
	ErrExtension        = refusal.New(refusal.Invalid, "warrant.extension", "expiry: an extension is filed before the preservation has expired, and ends after it, by at most the bundle's extension_days, counted from the expiry in the preservation itself, however often it is extended (Regulation (EU) 2023/1543, Art. 11(1)).")
	ErrRedelivery       = refusal.New(refusal.Invalid, "warrant.redelivery", "A redelivery repeats a production of the same authority word for word, with the same targets, evidence, fields and secrecy and no later expiry: only the requester's delivery key, which must be another one, and their name differ, and the grounds say at the end why. Draft it with escrow warrant redeliver; for anything else sign a new order.")
	ErrNotInEarlier     = refusal.New(refusal.Invalid, "warrant.not_in_earlier", "targets: the earlier warrant does not name this pen name on this platform; leave it out.")
	ErrCountersigned    = refusal.New(refusal.Unauthenticated, "warrant.countersignature", "countersigned: each countersignature is a warrant of kind validation about this very warrant, under the same bundle, by an authority in jointly or by one that validates the issuing one; leave out others.")
	ErrNotJoint         = refusal.New(refusal.Denied, "warrant.not_joint", "jointly: an authority that is named there has not signed; file its countersignature with the warrant.")
	ErrNotValidated     = refusal.New(refusal.Denied, "warrant.not_validated", "authority: the bundle wants the warrants of this authority validated by a judge, a court or a prosecutor (Regulation (EU) 2023/1543, Art. 4), and none of those that it names has signed; file the countersignature with the warrant, or, where life or limb is in danger, an emergency.")
	ErrNoEvidence       = refusal.New(refusal.Invalid, "warrant.evidence_missing", "Every target needs the platform's signed evidence whose digest the warrant names: name its file with --evidence.")
	ErrEvidenceMismatch = refusal.New(refusal.Invalid, "warrant.evidence_mismatch", "The evidence is about another pen name, platform or record, or its digest is not the one in the warrant.")
	ErrBadEvidence      = refusal.New(refusal.Invalid, "warrant.evidence_invalid", "A piece of evidence does not verify with the keys of its platform and of the issuer.")
	ErrDeliveryKey      = refusal.New(refusal.Invalid, "warrant.delivery_key", "requester: where something is answered it needs a delivery key made by `escrow warrant keygen`, and a name and organisation; no other kind of warrant has a delivery key.")
	ErrRequester        = refusal.New(refusal.Invalid, "warrant.requester", "requester.organisation_id: the requester's organisation is none of the bundle, or organisation is not the name that the bundle has for that id; name id and name as the bundle does, or have the custodians endorse a bundle that lists it.")
	ErrCustodianAsks    = refusal.New(refusal.Denied, "warrant.custodian_asks", "requester: this organisation, or this delivery key, is a custodian's, and nobody decides about their own request; have another body ask.")
	ErrSecrecy          = refusal.New(refusal.Invalid, "warrant.secrecy", "secrecy: it must have an end within the days that the bundle allows, counted from the first issue, and a reason (Regulation (EU) 2023/1543, Art. 13(2)).")
	ErrToldFirst        = refusal.New(refusal.Denied, "warrant.told_first", "secrecy: for an offence of this class the person is told first, and there is no secrecy: let secrecy end when the warrant is issued.")
	ErrFields           = refusal.New(refusal.Invalid, "warrant.fields", "fields: a production or an emergency warrant names each field it needs, once, from the bundle's list; no other kind names any.")
	ErrOffenceFields    = refusal.New(refusal.Denied, "warrant.offence_fields", "fields: the bundle's catalogue opens fewer fields or compartments for this offence; ask for those alone.")
	ErrNoticeFirst      = refusal.New(refusal.Invalid, "warrant.notice_first_not_served", "the rules want the person told before this is opened, which this registrar cannot do yet: it serves warrants under secrecy only. Where the bundle allows secrecy, let it end its min_secrecy_days after the issue or later; shorter secrecy counts as none. For an offence of a class with notice_first there is no cure yet.")
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
	ErrBundleCertificate  = refusal.New(refusal.Invalid, "bundle.certificate", "certificate_authorities are at most 64 certificates of authorities, PEM or base64 of DER, RSA of 2048 bits or more, P-256, P-384 or P-521, and none with SHA-1; an authority that signs with certificates has organisation_identifier and certificate_keys, the SHA-256 of each SubjectPublicKeyInfo.")
	ErrBundleSharedKey    = refusal.New(refusal.Invalid, "bundle.shared_key", "One key may belong to one party only: nobody signs in two roles.")
	ErrBundleAuthority    = refusal.New(refusal.Invalid, "bundle.authority", "An authority needs a kind, an ISO 3166 jurisdiction and the listed offence classes it is competent for.")
	ErrBundleOffences     = refusal.New(refusal.Invalid, "bundle.offence_classes", "Offence classes need a title, a minimum maximum penalty of at least one month, and fields from the bundle's list.")
	ErrBundleCatalogue    = refusal.New(refusal.Invalid, "bundle.offences", "Each entry of the catalogue of offences needs an id, a title, its statute, the statute's maximum, a listed class, the kinds of authority that may ask, fields of its class, and quorums that rise.")
	ErrBundleOrganisation = refusal.New(refusal.Invalid, "bundle.organisation", "Organisations need an id and a name that no other has, and each authority and custodian the id of one in organisation_id.")
	ErrBundleCompartments = refusal.New(refusal.Invalid, "bundle.compartments", "Compartments need unique names of a to z and _, at most 32 characters, and hold each field of the bundle in exactly one.")
	ErrBundleLimits       = refusal.New(refusal.Invalid, "bundle.limits", "Targets must be limited to 1 to 900, secrecy to 1 to 1096 days, validity to 1 to 90 days, and the warrants of each authority to 1 to 10,000 a day.")
	ErrBundleAlternates   = refusal.New(refusal.Invalid, "bundle.alternates", "An alternate of a custodian is somebody of their own, with a key and an age recipient that nobody else has, of an organisation that is neither an authority nor another custodian's: have them run `escrow custodian init` and `escrow custodian card`, and name at most four for a custodian.")
	ErrBundleRequired     = refusal.New(refusal.Invalid, "bundle.required", "What is required of those who approve is a role that a custodian has, or a number of organisations that there are, about offence classes and offences of the bundle.")
	ErrBundlePrograms     = refusal.New(refusal.Invalid, "bundle.programs", "A program has a name, a version, a platform such as linux/amd64 and the SHA-256 of its file in 64 hex digits, each release once.")
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
