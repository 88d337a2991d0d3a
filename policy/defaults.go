package policy

import "github.com/penname/penname/verifier/proof"

// DefaultDailyWarrants is the daily number of an authority whose draft names none.
const DefaultDailyWarrants = 100

// DefaultWaitingDays is how long a new platform waits unless a draft says otherwise.
const DefaultWaitingDays = 7

// DefaultPostSpanHours is how long after the sign-in a post is evidence: people stay
// signed in for a day.
const DefaultPostSpanHours = 24

// DefaultAppealDays is how long the words of a case are kept after its end: longer than
// the time to appeal a decision in criminal matters, which is at most two months where
// Penname's profiles of warrants come from, and then a month for the file to get there.
const DefaultAppealDays = 90

// The clocks of orders: secrecy shorter than a week is over before anybody could be told,
// and so is none; a preservation and its extension are those of Regulation (EU) 2023/1543,
// Art. 10(1) and 11(1), and an emergency is validated as in its Art. 4(5).
const (
	DefaultMinSecrecyDays  = 7
	DefaultHoldDays        = 60
	DefaultExtensionDays   = 30
	DefaultValidationHours = 48
)

// DefaultFields is what a sealed identity can hold (verifier/identity).
func DefaultFields() []string { return []string{"name", "birthdate", "address", "email"} }

// DefaultOffenceClasses is a closed list to start a bundle from. The minimum is
// the least maximum custodial penalty for which a court may ask at all. Where
// Regulation (EU) 2023/1543, Art. 5(4), lists an offence whatever its
// penalty (fraud with means of payment, child sexual abuse, attacks on
// information systems, terrorism), a year is enough; otherwise it is three, the
// threshold of that paragraph, except for threats and stalking, which are why
// Penname exists.
func DefaultOffenceClasses() []OffenceClass {
	who := []string{"name", "birthdate", "address"}
	return []OffenceClass{
		{ID: "threat_to_life", Title: "Threat to kill or to cause serious injury", MinPenaltyMonths: 12, Fields: DefaultFields(), Emergency: true},
		{ID: "threat_of_sexual_violence", Title: "Threat of rape or other sexual violence", MinPenaltyMonths: 12, Fields: who, Emergency: true},
		{ID: "stalking", Title: "Stalking, or harassment that puts in fear of violence", MinPenaltyMonths: 12, Fields: who},
		{ID: "incitement_to_violence", Title: "Public incitement to violence or hatred", MinPenaltyMonths: 12, Fields: who},
		{ID: "child_sexual_abuse", Title: "Sexual abuse or exploitation of children", MinPenaltyMonths: 12, Fields: who, Emergency: true, NoCopy: true},
		{ID: "terrorism", Title: "Terrorist offences", MinPenaltyMonths: 12, Fields: who, Emergency: true},
		{ID: "payment_fraud", Title: "Fraud with and counterfeiting of means of payment", MinPenaltyMonths: 12, Fields: who},
		{ID: "attack_on_information_systems", Title: "Attacks against information systems", MinPenaltyMonths: 12, Fields: who},
		{ID: "other_serious_offence", Title: "Another offence with a maximum penalty of at least three years", MinPenaltyMonths: 36, Fields: []string{"name"}},
		{ID: "insult_or_criticism", Title: "Insult, criticism or unwelcome opinion", Speech: true},
	}
}

// DefaultOffences is a catalogue for [DefaultOffenceClasses] to start a bundle from: the
// offences of England and Wales that fit them, with the maximum of each statute. A bundle
// for courts of other places lists their own law.
func DefaultOffences() []Offence {
	judges := []string{"court", "judge", "investigating_judge", "public_prosecutor"}
	who := []string{"name", "birthdate", "address"}
	many := []TargetQuorum{{50, 3}}
	return []Offence{
		{ID: "threat_to_kill", Title: "Threats to kill", Statute: "Offences against the Person Act 1861, s. 16", MaxPenaltyMonths: 120,
			Class: "threat_to_life", Authorities: judges, Fields: DefaultFields(), Quorums: many},
		{ID: "threat_of_rape", Title: "Threatening communication: rape or another serious harm", Statute: "Online Safety Act 2023, s. 181", MaxPenaltyMonths: 60,
			Class: "threat_of_sexual_violence", Authorities: judges, Fields: who, Quorums: many},
		{ID: "stalking", Title: "Stalking involving fear of violence or serious alarm or distress", Statute: "Protection from Harassment Act 1997, s. 4A", MaxPenaltyMonths: 120,
			Class: "stalking", Authorities: judges, Fields: who, Quorums: many},
		{ID: "incitement_to_hatred", Title: "Publishing material that is intended or likely to stir up hatred", Statute: "Public Order Act 1986, ss. 19 and 29C", MaxPenaltyMonths: 84,
			Class: "incitement_to_violence", Authorities: judges, Fields: who, Quorums: many},
		{ID: "indecent_photographs_of_children", Title: "Distributing indecent photographs of children", Statute: "Protection of Children Act 1978, s. 1", MaxPenaltyMonths: 120,
			Class: "child_sexual_abuse", Authorities: judges, Fields: who, NoCopy: true, Quorums: many},
		{ID: "encouragement_of_terrorism", Title: "Encouragement of terrorism", Statute: "Terrorism Act 2006, s. 1", MaxPenaltyMonths: 180,
			Class: "terrorism", Authorities: judges, Fields: who, Quorums: many},
		{ID: "fraud", Title: "Fraud", Statute: "Fraud Act 2006, s. 1", MaxPenaltyMonths: 120,
			Class: "payment_fraud", Authorities: judges, Fields: who, Quorums: many},
		{ID: "computer_misuse", Title: "Unauthorised acts that impair the operation of a computer", Statute: "Computer Misuse Act 1990, s. 3", MaxPenaltyMonths: 120,
			Class: "attack_on_information_systems", Authorities: judges, Fields: who, Quorums: many},
		{ID: "blackmail", Title: "Blackmail", Statute: "Theft Act 1968, s. 21", MaxPenaltyMonths: 168,
			Class: "other_serious_offence", Authorities: judges, Fields: []string{"name"}, Quorums: many},
		{ID: "insult_or_criticism", Title: "Insult, criticism or unwelcome opinion: no offence", Statute: "Human Rights Act 1998, Sch. 1, Art. 10",
			Class: "insult_or_criticism", Authorities: judges},
	}
}

// DefaultSmallCount is the number under which the statistics of a year tell no count.
const DefaultSmallCount = proof.SmallCount
