package policy

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
