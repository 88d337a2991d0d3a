package disclose

import (
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// The refusals of this package. Stores return them too.
var (
	ErrNoCase = refusal.New(refusal.NotFound, "warrant.no_case",
		"there is no case with that id: use the id that filing the warrant printed")
	ErrNoBundle = refusal.New(refusal.Unavailable, "bundle.none_in_force",
		"no rules are in force: install a bundle that the custodians endorsed")
	ErrUnknownBundle = refusal.New(refusal.NotFound, "bundle.unknown",
		"no bundle with that hash was ever in force here: take the hash from a leaf of the public log")
	ErrUnknownPlatform = refusal.New(refusal.NotFound, "platform.unknown",
		"no platform with that id is registered here: the list of all is at /v1/platforms, and operators have it from escrowd platform list")
	ErrRegistryMoved = refusal.New(refusal.Conflict, "platform.registry_moved",
		"other platforms were registered at this moment: try again")
	ErrClientSettings = refusal.New(refusal.Invalid, "platform.client_settings",
		"the settings of the client are not those whose hash the record has: sign the record again with these settings")
	ErrRegistryDamaged = refusal.New(refusal.Conflict, "platform.registry_damaged",
		"nothing is registered while the database holds a record of a platform that cannot be believed: compare the database with the public log by escrowd log check, see who can write it, and put the row back that the log has, from a backup or from /v1/platforms of a mirror")
	ErrRulesChanged = refusal.New(refusal.Conflict, "rules.changed",
		"new rules came into force at this moment: try again")
	ErrDataNotHeld = refusal.New(refusal.NotFound, "warrant.data_not_held",
		"no record is held for one of the targets, or none holds a field that the warrant names: check pen name and platform against the evidence")
	ErrNotAsLogged = refusal.New(refusal.Denied, "warrant.not_as_logged",
		"the case on file is not the one that the public log holds: nothing was disclosed, tell the custodians and check the database")
	ErrCommitment = refusal.New(refusal.Denied, "warrant.commitment_mismatch",
		"the record that is held is not the one that the token in the evidence commits to: nothing was disclosed, tell the custodians")
	ErrNotLogged = refusal.New(refusal.NotYet, "warrant.not_logged",
		"the warrant is on file but no quorum of witnesses has cosigned its leaf yet: try again")
	ErrLinkWaits = refusal.New(refusal.NotYet, "warrant.link_waits",
		"the custodians have decided, and the issuing side has not answered yet, which it does within a minute or two: try again")
	ErrLinkRefused = refusal.New(refusal.Denied, "warrant.link_refused",
		"the issuing side checked the order by itself and refused it, with the code that the operator finds in its log: nothing was linked, tell the custodians")
	ErrQuorumNotMet = refusal.New(refusal.NotYet, "warrant.quorum_not_met",
		"not enough custodians have approved yet: ask for the status to see how many")
	ErrDeclined = refusal.New(refusal.Denied, "warrant.declined",
		"so many custodians declined that this warrant cannot be opened: the log holds their reasons")
	ErrWarrantID = refusal.New(refusal.Conflict, "warrant.id_used",
		"the authority has filed another document under this warrant id: a new warrant needs a new id")
	ErrDataErased = refusal.New(refusal.NotFound, "warrant.data_erased",
		"the person deleted the record of one of the targets before this warrant: there is nothing left to open")
	ErrLost = refusal.New(refusal.Denied, "warrant.interrupted",
		"part of this case was lost with the database, so nothing more can be done with it: the court must issue a new warrant")
	ErrKindNotServed = refusal.New(refusal.Invalid, "warrant.kind_not_served",
		"under rules of a format before 5 a preservation cannot be extended: file a new preservation warrant")
	ErrNoEarlier = policy.ErrNoEarlier
	ErrTooLate   = refusal.New(refusal.Conflict, "warrant.too_late",
		"the earlier warrant was released, declined, withdrawn, annulled or expired before, or was for nothing but that moment: there is nothing left to stop; what was released only a court above can forbid to use")
	ErrOrderOver = refusal.New(refusal.Conflict, "warrant.order_over",
		"the order that this one repeats does not stand any more for this pen name: it was refused, declined, withdrawn, stopped or annulled, or has expired; nothing is delivered again of it")
	ErrDailyNumber = refusal.New(refusal.NotYet, "warrant.daily_number",
		"as many warrants of this authority were recorded today as the rules allow: file it again after midnight UTC")
	ErrOver = refusal.New(refusal.Conflict, "warrant.over",
		"the earlier warrant is over, or of another kind than this one can be about: nothing of it was changed, ask for its status")
	ErrOtherTargets = refusal.New(refusal.Invalid, "warrant.other_targets",
		"the warrant names a pen name that the earlier one, which it takes back, does not name: nothing was changed, name targets of the earlier warrant, or none for all of them")
	ErrShorter = refusal.New(refusal.Invalid, "warrant.not_longer",
		"an extension must end later than what it extends, with the extensions that were filed before: sign it again with more --days, which count from the expiry in the preservation itself")
	ErrValidated = refusal.New(refusal.Conflict, "warrant.needs_no_validation",
		"the earlier warrant is no emergency that waits to be validated: it was validated before, or needs nobody's validation")
	ErrAnnulled = refusal.New(refusal.Denied, "warrant.annulled",
		"a court has annulled this warrant, or upheld an objection to it: nothing is released any more, and what was released may not be used (Regulation (EU) 2023/1543, Art. 18)")
	ErrLapsed = refusal.New(refusal.Denied, "warrant.lapsed",
		"nobody validated this emergency in time: nothing is released any more, and what was released may not be used and must be deleted (Regulation (EU) 2023/1543, Art. 4(5))")
	ErrNothingDelivered = refusal.New(refusal.Conflict, "warrant.nothing_delivered",
		"nothing of this case was released: there is nothing to delete")
	ErrReceipt = refusal.New(refusal.Unauthenticated, "warrant.wrong_receipt",
		"the statement is not proven by the receipt that is in the package of this case: make it from the package as it was delivered")
	ErrStated = refusal.New(refusal.Conflict, "warrant.already_stated",
		"another statement of deletion is on file for this case, and it never changes")
	ErrFiledMeanwhile = refusal.New(refusal.Conflict, "warrant.filed_meanwhile",
		"other warrants of this authority or for this requester were recorded at this moment, and they count: try again")
	ErrWithdrawn = refusal.New(refusal.Denied, "warrant.withdrawn",
		"the court has withdrawn this warrant: nothing is released any more")
	ErrNothingToOpen = refusal.New(refusal.Conflict, "warrant.opens_nothing",
		"this warrant opens no name: a preservation keeps records from erasure, a suspension suspends a pen name, and one about an earlier warrant changes that; file a production warrant to open a name")
	ErrReason = refusal.New(refusal.Invalid, "custodian.reason_unknown",
		"the reason for declining must be one of the published list")
	ErrAllOrNone = refusal.New(refusal.Invalid, "custodian.all_or_none",
		"under the rules of this case all of its targets are opened or none, and this approval declines one of them: nothing of it counts; approve all, or decline the case")
	ErrDecided = refusal.New(refusal.Conflict, "custodian.already_decided",
		"this custodian has approved this case, and a decision counts once: it cannot be declined any more")
	ErrCaseClosed = refusal.New(refusal.Conflict, "custodian.case_not_open",
		"the case is not waiting for custodians any more")
	ErrWrongCase = refusal.New(refusal.Denied, "custodian.wrong_case",
		"the approval is for another case, warrant, bundle or leaf: review the case again and sign what it shows")
	ErrShares = refusal.New(refusal.Invalid, "custodian.shares_incomplete",
		"an approval carries exactly one share for each target of the warrant and each compartment that holds a field it names")
	ErrCursor = refusal.New(refusal.Invalid, "list.bad_place",
		"the list has no such place: go on from the place that the last answer named, or begin again")
)
