package proof

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Say says an English text in some language, with its arguments as [fmt.Sprintf] has them.
type Say func(english string, args ...any) string

// Words says in a sentence or two, for people, what a leaf records. It holds nothing that the
// leaf does not.
func (l Leaf) Words() string { return l.WordsIn(fmt.Sprintf) }

// WordsIn is Words in the language of say.
func (l Leaf) WordsIn(say Say) string {
	switch l.Kind {
	case KindBundle:
		return say("New rules came into force.")
	case KindRecorded:
		return l.recordedWords(say)
	case KindRefused:
		if l.WarrantKind != "" {
			return say("An order was refused as %s: %s.", l.WarrantKind, l.Code)
		}
		return say("An order was refused: %s.", l.Code)
	case KindTold:
		if l.Code == NotReached {
			return say("The persons of the case were to be told before anything is opened. Nobody can say that they were reached.")
		}
		return say("The persons of the case were told, before anything is opened. Their days to object began.")
	case KindObjected:
		return say("One of the persons objected. Nothing is opened until that is answered.")
	case KindApproved:
		return say("The custodian %s agreed.", l.Custodian)
	case KindDeclined:
		return say("The custodian %s did not agree: %s.", l.Custodian, l.Code)
	case KindAuthorised:
		return say("Enough custodians agreed.")
	case KindDecision:
		return say("A custodian decided. Who, and how, stays closed until the case is decided.")
	case KindDecided:
		if l.Which.Count() == 0 {
			return say("The custodians decided: nothing more is opened.")
		}
		return say("The custodians decided: enough of them agreed to %s.", penNames(say, l.Which.Count()))
	case KindReleased:
		if n := l.Which.Count(); n > 0 {
			return say("What opens %s was handed over.", penNames(say, n))
		}
		return say("What opens the pen names of the case was handed over.")
	case KindLapsed:
		if l.Targets == 0 {
			return say("The emergency lapsed: no judge confirmed it in time. Nothing had been opened.")
		}
		return say("The emergency lapsed: no judge confirmed it in time. %s had been opened by then.", penNames(say, l.Targets))
	case KindDeleted:
		return say("The requester stated that what was handed over is deleted.")
	case KindNoticed:
		return say("The persons concerned were told, and the secret number of the case is published.")
	case KindExpired:
		return say("The order ran out.")
	case KindErased:
		return say("A person deleted a sealed record. Only they know which.")
	case KindCeremony:
		return say("The custodians made their key together, or moved it.")
	case KindPlatform:
		return say("A platform was registered, or its entry changed.")
	case KindReviewed:
		return say(map[string]string{
			Accepted:  "Two reviewers decided that somebody who came is enrolled already. It waits for an objection.",
			Separated: "Two reviewers decided that somebody who came is another person than the one who is enrolled.",
			Objected:  "The person who is enrolled objected to what two reviewers had decided, which ended it.",
		}[l.Code])
	}
	return say("This program does not know entries of this kind.")
}

// penNames is a number of them.
func penNames(say Say, n int) string {
	if n == 1 {
		return say("1 pen name")
	}
	return say("%s pen names", strconv.Itoa(n))
}

// whatWarrantsDo are the sentences about a warrant that was accepted, by its kind.
var whatWarrantsDo = map[string]string{
	Production:    "An order to open %s was accepted.",
	Emergency:     "An emergency order to open %s was accepted, before a judge confirmed it.",
	Preservation:  "An order to keep the records of %s was accepted.",
	Extension:     "An order to keep the records of %s for longer was accepted.",
	SecrecyChange: "Another end of the secrecy of an earlier case was set.",
	Withdrawal:    "An earlier order was taken back by whoever gave it.",
	Annulment:     "An authority above annulled an earlier order.",
	Validation:    "An earlier emergency order was confirmed, or another authority joined in an order.",
	Suspension:    "An order to suspend %s was accepted.",
	Ruling:        "What was asked or objected in an earlier case was answered.",
	Link:          "An order to name all pen names of one person, by %s, was accepted.",
	Redelivery:    "An order to hand over again what opens %s was accepted.",
}

// confirmed is said of an emergency order that a judge had confirmed.
const confirmed = "An emergency order to open %s was accepted; a judge had confirmed it."

func (l Leaf) recordedWords(say Say) string {
	kind := WarrantKindOf(l.WarrantKind)
	english := whatWarrantsDo[kind.Name]
	if kind.Name == Emergency && l.Validated {
		english = confirmed
	}
	words := "."
	switch {
	case kind.Targets:
		words = say(english, penNames(say, l.Targets))
	case english != "":
		words = say(english)
	}
	if n := l.Which.Count(); n > 0 {
		words = say("%s, for %s of it.", strings.TrimSuffix(words, "."), penNames(say, n))
	}
	return words
}

// Fact is one thing that a leaf says, for people.
type Fact struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Facts are the rest of what a leaf says, beside its kind, its day and [Leaf.Words]: what it
// is about, numbers, days and digests, in a fixed order. Only what is there.
func (l Leaf) Facts() []Fact { return l.FactsIn(fmt.Sprintf) }

// FactsIn is Facts in the language of say.
func (l Leaf) FactsIn(say Say) (facts []Fact) {
	add := func(name, text string) {
		if text != "" {
			facts = append(facts, Fact{say(name), text})
		}
	}
	number := func(name string, n int) {
		if n != 0 {
			add(name, strconv.Itoa(n))
		}
	}
	add("to the second", l.At)
	switch {
	case l.Case != nil && l.Kind == KindRecorded:
		add("about the case", strconv.FormatInt(*l.Case, 10))
	case l.Case != nil:
		add("case", strconv.FormatInt(*l.Case, 10))
	}
	add("kind of order", l.WarrantKind)
	add("jurisdiction", l.Jurisdiction)
	add("offence class", l.OffenceClass)
	add("offence", l.Offence)
	add("data asked for", l.Data)
	number("pen names", l.Targets)
	number("custodians who must agree", l.Quorum)
	number("days to object", l.NoticeDays)
	add("secret until", l.SecrecyEnds)
	add("records kept until", l.HoldEnds)
	add("fields that were opened", strings.Join(l.Fields, ", "))
	if len(l.Which) > 0 {
		add("which of its pen names", cmp.Or(l.Which.places(), say("none")))
	}
	add("code", l.Code)
	add("rules that refused", strings.Join(l.Rules, ", "))
	add("custodian", l.Custodian)
	for _, o := range l.Opened {
		text := say("entry %s: %s agreed to %s", strconv.FormatInt(o.Leaf, 10), o.Custodian, cmp.Or(o.Votes.places(), say("none")))
		if len(o.Grounds) > 0 {
			text = say("%s; why not the others: %s", text, strings.Join(o.Grounds, ", "))
		}
		add("decision", text)
	}
	add("rules in force", l.Bundle)
	add("commitment", l.Commitment)
	add("commitment of the secret number", l.SaltCommitment)
	add("digest", l.Package)
	add("secret number", l.Salt)
	for i, c := range l.TargetCommitments {
		facts = append(facts, Fact{say("pen name %s", strconv.Itoa(i+1)), c})
	}
	return facts
}

// places are the marked targets, counted from 1, as "1, 2, 5"; empty if there is none.
func (m Marks) places() string {
	var at []string
	for i := range len(m) * 8 {
		if m.Has(i) {
			at = append(at, strconv.Itoa(i+1))
		}
	}
	return strings.Join(at, ", ")
}
