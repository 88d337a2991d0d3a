package record

import (
	"strings"

	"github.com/penname/penname/verifier/proof"
)

// What the words mean by which the log and its audit call something. The word itself, by which
// programs find it, stands small beside it.

// findingWords say of an entry what an audit finds of it, by the code of the finding.
var findingWords = map[string]string{
	proof.FindingMalformed:   "It does not have the form that entries of this log have.",
	proof.FindingNewer:       "It is of a version or kind that this program does not know.",
	proof.FindingDay:         "It is dated before the entry before it.",
	proof.FindingBundle:      "It was recorded under other rules than those in force.",
	proof.FindingRepeated:    "Rules that were in force before came into force again.",
	proof.FindingNotNext:     "Rules came into force in another place than the one that they name.",
	proof.FindingNotEndorsed: "No endorsements that verify could be had of these rules.",
	proof.FindingUnavailable: "The rules could not be had.",
	proof.FindingPlatform:    "The platform's record is not signed by the registry of the rules in force, or does not follow the one before.",
	proof.FindingRecord:      "The platform's record, or the one before it, could not be had.",
	proof.FindingWord:        "It names an offence class or a custodian that the rules do not name.",
	proof.FindingCase:        "It is about a case that no earlier entry began.",
	proof.FindingQuorum:      "Fewer custodians agreed, or were to agree, than the rules want.",
	proof.FindingOrder:       "Something else has to come before it, or it came once already.",
	proof.FindingWithdrawn:   "Custodians agreed, or something was handed over, after the order was taken back.",
	proof.FindingAnnulled:    "Custodians agreed, or something was handed over, after the order was annulled.",
	proof.FindingStopped:     "Custodians agreed, or something was handed over, after newer rules had stopped the case.",
	proof.FindingExpired:     "Custodians agreed, or something was handed over, after the order had run out.",
	proof.FindingLapsed:      "The order was confirmed, custodians agreed, or something was handed over after the emergency had lapsed, or its hours were over and nobody had confirmed it.",
	proof.FindingLate:        "An emergency order was confirmed after its hours were over.",
	proof.FindingLapseTold:   "It tells another number of pen names than had been opened by then.",
	proof.FindingReopened:    "One pen name was agreed to twice, or after nobody could agree to it any more.",
	proof.FindingFormat:      "It has a form that the rules of its case do not have.",
	proof.FindingMarks:       "It marks pen names that its case does not have.",
	proof.FindingOpening:     "It opens no closed decision of its case, or another than the one that was closed.",
	proof.FindingClosed:      "It decides a case and leaves one of its decisions closed.",
	proof.FindingTime:        "It says the second where only the day is to be said, or the other way round.",
	proof.FindingFacet:       "It says more of an order than the rules let it.",
	proof.FindingSecrecy:     "Secrecy ends later than the rules allow.",
	proof.FindingHold:        "Records are kept without an end or for longer than the rules allow, or again after that was over.",
	proof.FindingNotice:      "The persons got fewer days to object than the rules give, were told twice or of nothing to object to, or custodians agreed before those days were over.",
	proof.FindingObjection:   "Custodians agreed, or something was handed over, while an objection had no answer.",
	proof.FindingCeremony:    "The rules name a making of the key that no earlier entry holds.",
	proof.FindingErased:      "An earlier entry had deleted the same record.",
	proof.FindingSuperfluous: "Custodians agreed, or something was handed over, though nothing was to be opened.",
	proof.FindingSalt:        "The secret number that it publishes does not open what the case holds closed.",
}

// kindWords say what an entry of a kind records.
var kindWords = map[string]string{
	unreadable:                   "This program cannot read this entry.",
	string(proof.KindBundle):     "New rules came into force.",
	string(proof.KindRecorded):   "An order was accepted: a case begins.",
	string(proof.KindRefused):    "An order was refused.",
	string(proof.KindTold):       "The persons of a case were told before anything is opened, or could not be reached.",
	string(proof.KindObjected):   "One of the persons objected. Nothing is opened until that is answered.",
	string(proof.KindApproved):   "A custodian agreed. Older rules wanted one entry for each.",
	string(proof.KindDeclined):   "A custodian did not agree. Older rules wanted one entry for each.",
	string(proof.KindAuthorised): "Enough custodians agreed.",
	string(proof.KindDecision):   "A custodian decided. Who, and how, stays closed until the case is decided.",
	string(proof.KindDecided):    "The custodians decided a case: what is opened, or that nothing more is.",
	string(proof.KindReleased):   "What opens the pen names of the case was handed over.",
	string(proof.KindLapsed):     "An emergency lapsed: no judge confirmed it in time.",
	string(proof.KindDeleted):    "The requester stated that what was handed over is deleted.",
	string(proof.KindNoticed):    "The persons concerned were told, and the secret number of the case is published.",
	string(proof.KindExpired):    "The order ran out.",
	string(proof.KindErased):     "A person deleted a sealed record. Only they know which.",
	string(proof.KindCeremony):   "The custodians made their key together, or moved it.",
	string(proof.KindPlatform):   "A platform was registered, or its entry changed.",
	string(proof.KindReviewed):   "Two reviewers decided whether somebody who came is enrolled already, or the person who is enrolled objected to that.",
}

// orderWords say what an order of a kind is.
var orderWords = map[string]string{
	proof.Production:    "Opens pen names.",
	proof.Emergency:     "Opens pen names where life or limb is in danger, before a judge has confirmed it.",
	proof.Preservation:  "Keeps the records of pen names. Nothing is opened.",
	proof.Extension:     "Keeps the records of an earlier order for longer.",
	proof.SecrecyChange: "Sets another end of the secrecy of an earlier case.",
	proof.Withdrawal:    "Takes an earlier order back.",
	proof.Annulment:     "Annuls an earlier order of an authority below.",
	proof.Validation:    "Confirms an earlier emergency order, or joins in an order.",
	proof.Suspension:    "Suspends pen names on their platform. Nothing is opened.",
	proof.Ruling:        "Answers what was asked or objected in an earlier case.",
	proof.Link:          "Names all pen names of one person. Nothing else is opened.",
	proof.Redelivery:    "Hands over again what opens pen names.",
}

// whyRefused says why an order was refused, by the codes of refusals without "warrant.".
var whyRefused = map[string]string{
	"unknown_authority": "no authority of the rules in force signed it",
	"unsigned bad_signature signer_key_not_valid certificate_header certificate_not_registered certificate_not_valid certificate_expired certificate_revoked": "its signature does not hold, or the key or certificate behind it does not",
	"revocation_list revocation_unknown":    "nobody can tell whether its certificate is revoked",
	"signing_time not_yet_valid dated_back": "its dates do not fit",
	"wrong_audience":                        "it was addressed to another service",
	"wrong_bundle":                          "it was made under other rules than those in force",
	"expired":                               "it had run out",
	"expires_before_objection":              "it runs out before the days to object are over",
	"validity_too_long":                     "it was to hold for longer than the rules allow",
	"too_large bad_draft malformed unknown_kind deadline flags role recognises jointly descriptions evidence_not_needed": "it does not have the form that orders have",
	"reasons_missing":   "it does not give all the reasons that it needs",
	"offence":           "it names no offence of those in the rules",
	"offence_class":     "its offence is of another class in the rules",
	"offence_authority": "this kind of authority may not ask about this offence",
	"penalty":           "it states a higher penalty than the law has",
	"no_targets bad_target one_target handle_target address_target": "it does not name pen names as an order does",
	"too_many_targets": "it names more pen names than the rules allow",
	"earlier_missing earlier_unknown earlier_kind":               "it names no earlier order that it can be about",
	"earlier_authority":                                          "the earlier order is another authority's",
	"not_in_earlier other_targets":                               "it names a pen name that the earlier order does not name",
	"over order_over too_late stopped annulled withdrawn lapsed": "the earlier order is over, or was stopped",
	"extension not_longer":                                       "it does not extend what it is about, or by more than the rules allow",
	"redelivery":                                                 "it does not repeat the earlier order word for word",
	"countersignature not_joint not_validated":                   "an authority that had to sign it besides has not, or another has",
	"needs_no_validation":                                        "the earlier order waits for no confirmation",
	"no_question no_objection other_person under_objection":      "it answers nothing that was asked or objected, or that has no answer yet",
	"evidence_missing evidence_mismatch evidence_invalid":        "its evidence is missing, is about something else, or does not hold",
	"platform_too_new platform_key_too_new":                      "the platform, or its key, is too new for its evidence to count",
	"platform_key_stolen":                                        "the platform's key was reported stolen",
	"platform_retired":                                           "the platform had retired before it signed the evidence",
	"platform_stopped":                                           "the custodians have stopped the platform",
	"delivery_key requester":                                     "it does not name the requester as an order does",
	"custodian_asks":                                             "its requester is a custodian, and nobody decides about their own request",
	"secrecy":                                                    "its secrecy has no end or no reason, or lasts for longer than the rules allow",
	"told_first":                                                 "the person is to be told first, and it orders secrecy",
	"fields offence_fields":                                      "it asks for other data than the rules open",
	"data_not_held data_erased commitment_mismatch":              "no record is held that has what it asks for",
	"kind_not_served":                                            "the rules know no orders of this kind",
	"daily_number":                                               "its authority had given as many orders that day as the rules allow",
	"refused_by_rule":                                            "a rule forbids it",
	"not_permitted":                                              "no rule permits it",
	"rule_failed":                                                "a rule could not be judged, so nothing was allowed",
}

// refusalWords are those by one whole code each.
var refusalWords = func() map[string]string {
	all := map[string]string{}
	for codes, words := range whyRefused {
		for _, code := range strings.Fields(codes) {
			all["warrant."+code] = words
		}
	}
	return all
}()

// meaning is what a code of the log means, with the code.
type meaning struct {
	Words, Code string
	Unjudged    bool // of a finding: it accuses nobody
}

// finding is what an audit finds of an entry.
func (x *index) finding(code string) meaning {
	return meaning{x.say(findingWords[code]), code, !proof.Finding{Code: code}.Accuses()}
}

// records is what a leaf records; of a refusal with its code, if there are words for it.
func (x *index) records(l proof.Leaf) meaning {
	why, ok := refusalWords[l.Code]
	switch {
	case !ok || l.Kind != proof.KindRefused:
		return meaning{Words: l.WordsIn(x.say)}
	case l.WarrantKind != "":
		return meaning{Words: x.say("An order was refused as %s: %s.", x.name(l.WarrantKind), x.say(why)), Code: l.Code}
	}
	return meaning{Words: x.say("An order was refused: %s.", x.say(why)), Code: l.Code}
}
