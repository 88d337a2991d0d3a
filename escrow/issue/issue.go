// Package issue is the issuing side of Penname: it enrols a person once, seals
// the identity, and derives one pseudonym for each platform.
//
// It can only encrypt. Nothing in this package, in the ports it declares or in
// the database and Vault roles behind them opens a sealed identity or a link;
// that is what package disclose is for, and the two do not import each other.
//
//	identity ── MAC ──► fingerprint ──► the same person, if seen before
//	    │
//	    └── seal (two halves) ──► record under a random label
//	person ‖ platform ── MAC ──► pseudonym, with a link to the label
//	                             that only the disclosing side can open
package issue

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// The refusals of this package. Stores return them too.
var (
	ErrAlreadyEnrolled = refusal.New(refusal.Conflict, "proofing_failed.already_enrolled",
		"somebody with your name and birth date is enrolled already, by another account: two people of the operator will find out whether it is you, and nothing is lost until then")
	ErrRecycledSubject = refusal.New(refusal.Denied, "proofing_failed.sub_recycled",
		"this account belongs to somebody who is enrolled with another birth date: two people of the operator will find out whether it is you, and nothing is lost until then")
	ErrAcceptanceWaits = refusal.New(refusal.Conflict, "proofing_failed.acceptance_waits",
		"it was decided that you are the person who is enrolled already: come back when the time to object is over, your pen names stay the same")
	ErrObjected = refusal.New(refusal.Conflict, "proofing_failed.acceptance_objected",
		"the person who is enrolled says that it is not you: nothing of theirs is changed; contact the operator again, who can decide that you are two people")
	ErrTooLate = refusal.New(refusal.Conflict, "review.too_late",
		"there is nothing to object to under that reference: the time is over, or it was objected to already")
	ErrOlderKey = refusal.New(refusal.Unavailable, "keys.retired",
		"the key was retired while the identity was sealed under it: try again")
	ErrErased = refusal.New(refusal.Unauthenticated, "session.erased",
		"this person asked to be deleted: prove your identity again to come back, your pen names stay the same")
	ErrDeleted = refusal.New(refusal.Conflict, "person.deleted",
		"this person asked to be deleted: go on only to be sealed anew")
	ErrPersonUnknown = refusal.New(refusal.NotFound, "person.unknown",
		"nobody is enrolled under this session: enrol again, which keeps every pen name")
)

// Purposes of the MAC keys. Each is a key of its own in Vault: one key, one
// purpose (ATTACKS V21).
const (
	PurposeFingerprint = "fingerprint"
	PurposePseudonym   = "pseudonym" // never rotates: a rotation would rename everybody
)

// Keys is the key service as the issuing side may use it: it encrypts and
// authenticates, and has no way to decrypt. Implementations are safe for
// concurrent use, honour the context's deadline and return a refusal of kind
// Unavailable when the service is down, sealed or in doubt.
type Keys interface {
	// WrapHalf encrypts the first half of a record key under a key derived for
	// label. The result is opaque text, at most 256 bytes for 32 bytes of half.
	WrapHalf(ctx context.Context, label string, half []byte) (string, error)
	// WrapLink encrypts a link under a key derived for pseudonym.
	WrapLink(ctx context.Context, pseudonym string, link []byte) (string, error)
	// MAC returns the 32-byte HMAC-SHA-256 of each input under the key of that
	// purpose. All or nothing: a partial answer is an error.
	MAC(ctx context.Context, purpose string, inputs ...[]byte) ([][]byte, error)
}

// Person is who is signed in: a random id, and the label and digest of the
// sealed record. None of them says who it is.
type Person struct {
	ID     [16]byte
	Label  string
	Digest [32]byte // seal.Record.Digest: what every commitment is to
}

// Reference names the person's sealed record, as commitments do.
func (p Person) Reference() string { return seal.Reference(p.Label, p.Digest) }

// Enrolment is what is stored of a person, next to the sealed record. The
// MACs are 32 bytes each, under a key that is not in the database, and no two
// persons have an equal one but namesakes.
type Enrolment struct {
	Person      Person
	Fingerprint []byte // over issuer and subject: the same account is the same person
	Likeness    []byte // over normalised name and birthdate: the same human through another account
	Birth       []byte // over issuer, subject and birthdate: tells a recycled account
	Marks       []byte // 96 bytes, three MACs that tell what agrees with somebody alike: name and year of birth, of the account; provider, of the likeness
	Record      seal.Record
	Day         time.Time // UTC midnight: no time finer than a day is stored
}

// Assignment is a pseudonym, its platform, its sealed link and a commitment to what
// is in the link, which tells the links of one pseudonym apart.
type Assignment struct {
	Pseudonym  token.Pseudonym
	Platform   string
	Link       string   // opaque; see Keys.WrapLink
	Commitment [32]byte // token.Commit with the seed as its salt: no token carries it
	Day        time.Time
}

// PenName is one of a person's pseudonyms, for that person's own page. What is called a
// platform in this package is a sector: the platforms of one know a person by one pen name,
// and most have a sector of their own, which is then called by their id.
type PenName struct {
	Pseudonym token.Pseudonym `json:"pen_name"`
	Platform  string          `json:"platform"`
	Since     time.Time       `json:"since"`            // day
	Handle    token.Handle    `json:"handle,omitempty"` // by which the platform may show them; set by Handles alone

	// Set by Notes alone.
	Alias   string    `json:"alias,omitempty"`  // what the person calls it, whom alone it is told
	Retired time.Time `json:"retired,omitzero"` // day
	Banned  bool      `json:"banned,omitempty"` // the platform reports it

	Suspended []Suspension `json:"suspended,omitempty"` // set by Suspensions alone

	Persona int `json:"-"` // its number among those that the person ever had there, from 0 on; set by PenNames alone

	Commitment [32]byte `json:"-"` // see Assignment; another for each record that its person had
}

// Notice tells a person that a pen name of theirs was opened, by whom and under
// which warrant. It exists only once secrecy has ended.
type Notice struct {
	Pseudonym  token.Pseudonym `json:"pen_name"`
	Platform   string          `json:"platform"`
	Authority  string          `json:"authority"`
	FileNumber string          `json:"file_number"`
	LegalBasis string          `json:"legal_basis"`
	Requester  string          `json:"requester"`
	Fields     []string        `json:"fields"`
	Leaf       int64           `json:"leaf"` // index of the recorded warrant in the public log
	Day        time.Time       `json:"day"`
	Kind       string          `json:"kind"`           // of the warrant: by one of kind suspension nothing was opened
	Until      time.Time       `json:"until,omitzero"` // day, of a suspension: it was ordered until then

	// What has become of it since.
	State   string `json:"state,omitempty"`   // of the pen name in the case: "released", "authorised", "withdrawn", "stopped"; "" is of old cases
	Barred  string `json:"barred,omitempty"`  // code of why what was learned must not be used: "warrant.annulled" or "warrant.lapsed"
	Deleted bool   `json:"deleted,omitempty"` // the requester states that what was delivered is deleted

	First      *First       `json:"first,omitempty"`      // told before anything is done; nil: afterwards
	About      *policy.Told `json:"about,omitempty"`      // the rest of what they are told; nil in notices from before
	Objections []Objection  `json:"objections,omitempty"` // what they objected, or a lawyer for them
}

// First is of a notice before custodians have decided: nothing was done yet.
type First struct {
	Days     int       `json:"days"`               // that they have to object, whole
	ObjectBy time.Time `json:"object_by,omitzero"` // an objection before suspends the case; zero: the days do not count yet
	Expires  time.Time `json:"expires"`            // of the order
}

// Objection is what became of one; its words are read by the custodians and the requester.
type Objection struct {
	Lawyer   bool      `json:"lawyer"` // with the one-time code of the notice
	Day      time.Time `json:"day"`
	Suspends bool      `json:"suspends"`          // it came in time: nothing goes on before a court has ruled
	Outcome  string    `json:"outcome,omitempty"` // policy.Upheld or policy.Dismissed; empty: no court has ruled yet
	Ruling   int64     `json:"ruling,omitempty"`  // its entry in the public log
	Said     string    `json:"said,omitempty"`    // what the court said
}

// Ended reports whether a court ended what was ordered: a suspension, before its day.
func (n Notice) Ended() bool { return n.State == "withdrawn" || n.State == "stopped" }

// Store is where people and pseudonyms are kept. Every method is one
// transaction; what it returned without error survives a crash. It cannot read
// back a sealed field or a link. Requests to be deleted are written down here;
// whether and when they are carried out this side does not learn.
type Store interface {
	// Enrol stores e with its record, unless the fingerprint is known: then it
	// stores nothing and returns the person that is there, whose id stays and
	// whose record e's replaces if its erasure was asked for. It returns
	// ErrAlreadyEnrolled if the likeness belongs to another fingerprint,
	// ErrRecycledSubject if the fingerprint has another birth and ErrOlderKey if
	// the first half is under a key that was retired meanwhile. Two concurrent
	// calls for one fingerprint return the same person.
	Enrol(ctx context.Context, e Enrolment) (p Person, first bool, err error)
	// Person returns the person with that fingerprint, or ErrPersonUnknown; it
	// returns ErrRecycledSubject if birth is another.
	Person(ctx context.Context, fingerprint, birth []byte) (Person, error)
	// PersonOf returns the person with that id, or ErrPersonUnknown.
	PersonOf(ctx context.Context, id [16]byte) (Person, error)
	// Assign stores a, unless the pseudonym has that commitment already: then
	// it changes nothing. It returns the commitment that is stored.
	Assign(ctx context.Context, a Assignment) ([32]byte, error)
	// Assigned returns those of the pseudonyms that exist, in the order asked;
	// one with several commitments comes once for each.
	Assigned(ctx context.Context, candidates []token.Pseudonym) ([]PenName, error)
	// Reserve returns the handle of a pen name at a platform, for ever the same: the
	// shortest that no other pen name has there. It needs to know of no person, so
	// whoever is shown a pen name alone can reserve for it.
	Reserve(ctx context.Context, platform string, name token.Pseudonym, day time.Time) (token.Handle, error)
	// Reserved returns the handles of pen names, in their order, "" where there is none.
	Reserved(ctx context.Context, names []PenName) ([]token.Handle, error)
	// Note stores n in place of what was noted before of that kind. What says that a pen
	// name is retired stays as it was first.
	Note(ctx context.Context, n Note) error
	// Noted returns what is noted of names, by kind, in their order. What Note stored
	// before it was called, it finds.
	Noted(ctx context.Context, names ...token.Pseudonym) ([]map[NoteKind][]byte, error)
	// Notices returns the notices served on any of the pseudonyms.
	Notices(ctx context.Context, pseudonyms []token.Pseudonym) ([]Notice, error)
	// ObjectTo stores what a person objects to the order of a notice of theirs, encrypted. The
	// same bytes again are stored once. It is policy.ErrNoNotice, or policy.ErrObjections.
	ObjectTo(ctx context.Context, n Notice, sealed []byte, now time.Time) error
	// MakeCode stores the SHA-256 of a code by which a lawyer objects once, for 30 days, in
	// place of the one of before.
	MakeCode(ctx context.Context, n Notice, hash [32]byte, now time.Time) error

	// Suspensions returns the suspensions of any of the names that are in force at now, in
	// the order in which they came into force.
	Suspensions(ctx context.Context, now time.Time, names ...token.Pseudonym) ([]Suspension, error)
	// SuspendedAfter returns those of whatever name that came into force by a leaf behind
	// that one, likewise. What comes later has a higher leaf.
	SuspendedAfter(ctx context.Context, now time.Time, leaf int64) ([]Suspension, error)

	// LinkOrders returns the orders to link that wait for an answer.
	LinkOrders(ctx context.Context) ([]LinkOrder, error)
	// AnswerLink stores what one is answered, once, and forgets the order: a ciphertext for
	// its requester, or the code of why it is refused.
	AnswerLink(ctx context.Context, caseID string, answer []byte, refused string) error
	// Labelled returns the person whose record has that label now, or ErrLinkNobody. It reads
	// every row: nothing but an order to link asks for it.
	Labelled(ctx context.Context, label string) (Person, error)

	// Review returns what was stored by Hold under that mark, the zero value if
	// nothing was or if the review is over.
	Review(ctx context.Context, mark []byte) (Review, error)
	// Alike returns who has that account, else the persons with that likeness.
	Alike(ctx context.Context, fingerprint, likeness []byte) ([]Known, error)
	// Hold stores h, unless a review with that mark exists, and returns what is stored.
	Hold(ctx context.Context, h Hold) (Review, error)
	// Admit carries a decision in force out, in one transaction, and ends its review:
	// see Admission. It reports whether there was one.
	Admit(ctx context.Context, a Admission) (bool, error)
	// Acceptances returns those that wait, and were not objected to.
	Acceptances(ctx context.Context, whose []byte) ([]Review, error)
	// Object marks one of them, or is ErrTooLate.
	Object(ctx context.Context, whose []byte, reference string) error

	// Claims returns what is stored of p's claims, nil if nothing is.
	Claims(ctx context.Context, p Person) (sealed []byte, err error)
	// TakeClaims replaces it, and counts, in one transaction. It does nothing and reports
	// false if something else than t.Was is stored, or if t.Now is something and the
	// erasure of p's label was asked for. From t.Until on it counts no more, and a year later
	// it may be forgotten.
	TakeClaims(ctx context.Context, p Person, t Taken) (bool, error)
	// Sharing returns how many people have a combination.
	Sharing(ctx context.Context, combination []byte) (int64, error)
	// ToldClaims returns the values that TellClaims stored at the places, nil where none is.
	ToldClaims(ctx context.Context, places [][]byte) ([][]byte, error)
	// TellClaims stores them, for ever, where nothing is stored at their place.
	TellClaims(ctx context.Context, told []ToldClaim, day time.Time) error

	// Contact returns what is stored of p's address, the zero value if nothing is. It finds
	// what SetContact stored before it was called.
	Contact(ctx context.Context, p Person) (Contact, error)
	// SetContact replaces it, and puts mails about it into the outbox, in one transaction. It
	// does nothing and reports false if something else than was is stored, or if now is
	// something and the erasure of p's label was asked for. The zero value is no row. What
	// [Contact.ChangeOf] says is noted with it, as Change does.
	SetContact(ctx context.Context, p Person, was, now Contact, at time.Time, told ...Told) (bool, error)

	// Passkeys returns p's, in the order of their places: at most MaxPasskeys.
	Passkeys(ctx context.Context, p Person) ([]Passkey, error)
	// PasskeyOf returns the one with that credential id, and whose it is; false if there is none.
	PasskeyOf(ctx context.Context, id []byte) (p Person, k Passkey, there bool, err error)
	// AddPasskey stores one more of p's, and ends a recovery of theirs that was not used: see
	// [Recovery.Left]. If it is the first one, their sessions end as by EndSessions: they were begun by
	// the provider alone, which does not do from now on. It stores nothing and reports false if a
	// passkey with its id is there, of whomever; it is ErrPasskeys if p has MaxPasskeys, and ErrErased
	// if the erasure of p's label was asked for. What is told is told with it, here and below.
	AddPasskey(ctx context.Context, p Person, k Passkey, t Telling) (added, first bool, err error)
	// RenamePasskey gives it another word. It is ErrNoPasskey if p has none with that id.
	RenamePasskey(ctx context.Context, p Person, id []byte, word string, t Telling) error
	// RemovePasskey removes that of p's with this id, and the recovery with the last one, and ends
	// p's sessions as EndSessions does: one may have been begun by it. To remove it again is no error,
	// and ends nothing.
	RemovePasskey(ctx context.Context, p Person, id []byte, t Telling) error
	// RemovePasskeys removes all of p's, with the recovery.
	RemovePasskeys(ctx context.Context, p Person) error
	// CountPasskey notes the counter that a passkey showed on a day, unless it is not higher
	// than at every use before, and than since: then it notes nothing and reports false.
	// Two zeros are of one that does not count. It changes no row that is there, and says in
	// none whose it is: see package postgres. It may forget what was a year before.
	CountPasskey(ctx context.Context, id []byte, since, now uint32, day time.Time) (rises bool, err error)

	// BeginRecovery stores one that begins at t.At, see [Recovery.Next], or changes nothing, tells
	// nobody and returns the one that stands.
	BeginRecovery(ctx context.Context, p Person, t Telling) (Recovery, error)
	// UseRecovery marks the one that is open at t.At as used in the first of these browsers, and
	// returns that moment: of several at once one gets it. Of one that was used in any of them, see
	// [Recovery.Again], it returns when, changes nothing and tells nobody. Else it reports false.
	UseRecovery(ctx context.Context, p Person, t Telling, in ...Browser) (at time.Time, used bool, err error)
	// Recovery returns the one that was begun and not ended, also if it has lapsed or was used.
	Recovery(ctx context.Context, p Person) (Recovery, error)
	// EndRecovery ends it, also what is left of it, and p's sessions as EndSessions does, and returns
	// what it was. If there is none it ends nothing, and tells nobody.
	EndRecovery(ctx context.Context, p Person, t Telling) (Recovery, error)

	// Change notes c, which concerns p alone, for ChangeDays, and the first ChangesADay of a
	// day; of what [ChangeKind.Lets] in as many more. It does nothing if the erasure of p's label was asked for.
	Change(ctx context.Context, p Person, c Change) error
	// Changes returns what is noted of p since p's label was stored, the oldest first. Today is
	// UTC midnight. That somebody was enrolled, or sealed anew, is noted by Enrol and Admit.
	Changes(ctx context.Context, p Person, today time.Time) ([]Change, error)
	// ChangeName notes one of NameChanges of a pen name, once for each day. The last ones are kept.
	ChangeName(ctx context.Context, name token.Pseudonym, kind ChangeKind, day time.Time) error
	// ChangesOfNames returns them, the oldest first, in the order of the names.
	ChangesOfNames(ctx context.Context, names ...token.Pseudonym) ([][]Change, error)

	// Ask stores r, unless the erasure of that label was asked for: then it
	// changes nothing. It returns the receipt that is stored. What Change noted under that
	// label can be found no more.
	Ask(ctx context.Context, r Receipt) (Receipt, error)
	// Asked reports whether the erasure of that label was asked for.
	Asked(ctx context.Context, label string) (bool, error)

	// BeginSession stores a new session of p, and returns it with its generation. A
	// session lasts for a day at most: the store may forget it at the end of the next.
	BeginSession(ctx context.Context, p Person, s Session) (Session, error)
	// Sessions returns those of p's that began today or the day before and have not
	// been ended, in the order of their beginning. Today is UTC midnight.
	Sessions(ctx context.Context, p Person, today time.Time) ([]Session, error)
	// Live reports of s, a session of p, whether neither it nor its generation has been
	// ended, and whether the erasure of p's label was asked for: it counts only if not.
	// It asks the primary, so that an end counts everywhere as soon as it is stored.
	Live(ctx context.Context, p Person, s Session) (live, asked bool, err error)
	// Standing answers q at now in one go: as Live, Assigned, Noted, Suspensions and
	// Acceptances do.
	Standing(ctx context.Context, now time.Time, q Question) (Standing, error)
	// EndSession ends one session. To end it again is no error.
	EndSession(ctx context.Context, s Session) error
	// EndSessions ends the generation of sessions that p has now, with those that are
	// being begun. What begins afterwards counts. With it some changes are noted, as Change does.
	EndSessions(ctx context.Context, p Person, noting ...Change) error

	// Withdraw notes that p withdrew, at a moment, what they agreed to on a platform. It
	// may be forgotten at the end of the next day, when no session is left that remembers it.
	Withdraw(ctx context.Context, p Person, platform string, at time.Time) error
	// Withdrawn returns the last such moment of today and the day before, the zero time if
	// there is none. Today is UTC midnight. It asks the primary, as Live does.
	Withdrawn(ctx context.Context, p Person, platform string, today time.Time) (time.Time, error)
}

// Issuer enrols people and gives them pseudonyms. All fields are required.
type Issuer struct {
	Keys       Keys
	Store      Store
	Custodians func() (seal.Custodians, error) // whom the second halves are encrypted to: by the rules in force, or why those are not known
	Now        func() time.Time
}

// Enrol makes a verified identity a person. The same account again is the same
// person (first is false): that is how somebody who lost a device keeps the
// pseudonyms. Nothing is stored if any step fails. Whoever looks like somebody who is
// enrolled is [Held]. Somebody who asked to be deleted is not sealed again without a
// word: [ErrDeleted]. In are those who are signed in already, by more than a provider: without
// that nobody gets another account who has passkeys, and *Waits says so.
func (s *Issuer) Enrol(ctx context.Context, id identity.Identity, in ...Person) (p Person, first bool, err error) {
	return s.enrol(ctx, id, false, in)
}

// Return is Enrol also for somebody who asked to be deleted and was told so: they come
// back as the same person, freshly sealed.
//
// Their pseudonyms on the platforms lead to the new record at once, all together. At
// the next sign-in at each platform the database would otherwise get a row more than
// at others' sign-ins, which tells platforms that help with a copy of it who was away.
//
// Their devices of before the deletion are signed out: a new record does not revive them.
func (s *Issuer) Return(ctx context.Context, id identity.Identity, platforms []string, in ...Person) (p Person, sealed bool, err error) {
	if p, sealed, err = s.enrol(ctx, id, true, in); err != nil {
		return p, sealed, err
	}
	if sealed {
		if err := s.Store.EndSessions(ctx, p); err != nil {
			return p, sealed, err
		}
	}
	names, err := s.PenNames(ctx, p, platforms)
	for _, n := range names {
		if err == nil {
			_, _, err = s.Pseudonym(ctx, p, n.Platform, n.Persona)
		}
	}
	return p, sealed, err
}

// enrol reports whether it sealed the person just now.
func (s *Issuer) enrol(ctx context.Context, id identity.Identity, returns bool, in []Person) (p Person, sealed bool, err error) {
	if id.Name.Reveal() == "" || id.Birthdate.Reveal() == "" {
		return Person{}, false, identity.ErrMissingClaim
	}
	m, err := s.macs(ctx, id)
	if err != nil {
		return Person{}, false, err
	}
	// The common return first: recovery costs no seal.
	switch p, err = s.Store.Person(ctx, m.fingerprint, m.birth); {
	case err == nil:
		switch asked, err := s.Store.Asked(ctx, p.Label); {
		case err != nil || !asked:
			return p, false, err
		case !returns:
			return Person{}, false, ErrDeleted
		}
	case errors.Is(err, ErrRecycledSubject):
		return s.held(ctx, id, m, ErrRecycledSubject, returns, in)
	case !errors.Is(err, ErrPersonUnknown):
		return Person{}, false, err
	}
	p, sealed, err = s.sealed(ctx, id, m, s.Store.Enrol)
	if errors.Is(err, ErrAlreadyEnrolled) || errors.Is(err, ErrRecycledSubject) {
		return s.held(ctx, id, m, refusal.Of(err), returns, in)
	}
	return p, sealed, err
}

// sealed seals an identity and stores it, and reports whether it is this record that the
// person has now. A key that is retired between the two costs
// a second sealing; a rotation comes by far too rarely for a third.
func (s *Issuer) sealed(ctx context.Context, id identity.Identity, m macs, store func(context.Context, Enrolment) (Person, bool, error)) (Person, bool, error) {
	e, err := s.seal(ctx, id, m)
	if err != nil {
		return Person{}, false, err
	}
	p, _, err := store(ctx, e)
	if errors.Is(err, ErrOlderKey) {
		if e, err = s.seal(ctx, id, m); err != nil {
			return Person{}, false, err
		}
		p, _, err = store(ctx, e)
	}
	return p, err == nil && p.Label == e.Person.Label, err
}

func (s *Issuer) seal(ctx context.Context, id identity.Identity, m macs) (e Enrolment, err error) {
	custodians, err := s.Custodians()
	if err != nil {
		return e, err
	}
	e = m.enrolment(day(s.Now()))
	e.Person.Label = seal.NewLabel()
	if e.Record, err = seal.Seal(ctx, e.Person.Label, id.Fields(), custodians, s.Keys.WrapHalf); err != nil {
		return e, err
	}
	if e.Person.Digest, err = e.Record.Digest(); err != nil {
		return e, err
	}
	rand.Read(e.Person.ID[:]) // never fails (crypto/rand)
	return e, nil
}

// Pseudonym returns one of the person's pseudonyms on a platform by its number, which is
// the same for life, and the commitment that the tokens of this sign-in carry.
//
//	pseudonym  = bech32m("pen", HMAC(person ‖ platform ‖ persona)[:16])
//	seed       = HMAC("salt" ‖ person ‖ platform ‖ persona ‖ label)
//	link       = seed ‖ digest ‖ label of the sealed record, sealed for the disclosing side
//	commitment = token.Commit(pseudonym, reference of that record, seal.Salt(seed, day, random))
//
// The commitment is to what was sealed, not only to where it lies: whoever can
// write the database cannot put another person under the pseudonym later. The
// seed is derived, so that it is known without a link that this side cannot open.
//
// Everybody's commitment is another one at every sign-in, so that none shows that a
// person moved, or was deleted and came back: what happens to all their pen names
// at once would link them. One link opens them all.
//
// Not checked: that the platform allows that many, and that it is neither retired nor suspended.
func (s *Issuer) Pseudonym(ctx context.Context, p Person, platform string, persona int) (token.Pseudonym, [32]byte, error) {
	macs, err := s.Keys.MAC(ctx, PurposePseudonym, nameInput(p, platform, persona), seedInput(p, platform, persona))
	if err != nil {
		return "", [32]byte{}, err
	}
	name, err := token.NewPseudonym(macs[0][:nameLen])
	if err != nil {
		return "", [32]byte{}, err
	}
	// A session on another device outlives the record: no pen name without one.
	if asked, err := s.Store.Asked(ctx, p.Label); err != nil || asked {
		if err == nil {
			err = ErrErased
		}
		return "", [32]byte{}, err
	}
	have, err := s.Store.Assigned(ctx, []token.Pseudonym{name})
	if err != nil {
		return "", [32]byte{}, err
	}
	return s.assign(ctx, p, platform, name, [seedLen]byte(macs[1]), have)
}

// Handle returns the short name of a pen name at its platform, reserved for ever: also if
// the person is deleted, for the pen name is still theirs.
func (s *Issuer) Handle(ctx context.Context, platform string, name token.Pseudonym) (token.Handle, error) {
	return s.Store.Reserve(ctx, platform, name, day(s.Now()))
}

// Handles adds to pen names the handles that are reserved for them.
func (s *Issuer) Handles(ctx context.Context, names []PenName) error {
	if len(names) == 0 {
		return nil
	}
	handles, err := s.Store.Reserved(ctx, names)
	for i, h := range handles {
		names[i].Handle = h
	}
	return err
}

// RowKey gives the key that hides whose the rows of the database are, and what to
// leave there of it, wrapped under name, for the disclosing side, which opens links.
//
//	key = HMAC("rows") under the key that pen names are made with
//
// So it never rotates, needs no place of its own, and gives nobody more than they
// had: who can make it can make every pen name.
func RowKey(k Keys) func(ctx context.Context, name, left string) (key [32]byte, leave string, err error) {
	return func(ctx context.Context, name, left string) (key [32]byte, leave string, err error) {
		macs, err := k.MAC(ctx, PurposePseudonym, lengthPrefixed("rows"))
		if err != nil {
			return key, "", err
		}
		if key = [32]byte(macs[0]); left == "" {
			leave, err = k.WrapLink(ctx, name, key[:])
		}
		return key, leave, err
	}
}

// personasAtOnce is how many pen names at a platform are asked for at a time: nearly all
// people have one.
const personasAtOnce = 2

// PenNames returns the pseudonyms that p holds on any of the platforms, each once, in the
// order of the platforms and of their numbers. The database cannot answer this: only p's
// session and the key service together. Where there is none of a number there is none of a
// higher one.
func (s *Issuer) PenNames(ctx context.Context, p Person, platforms []string) ([]PenName, error) {
	return s.penNames(ctx, p, platforms, s.Store.Assigned)
}

// penNames is PenNames with what says which of some pen names exist.
func (s *Issuer) penNames(ctx context.Context, p Person, platforms []string, assigned func(context.Context, []token.Pseudonym) ([]PenName, error)) ([]PenName, error) {
	found, open := make([][]PenName, len(platforms)), make([]int, len(platforms))
	for i := range platforms {
		open[i] = i
	}
	for first := 0; first < maxPersonas && len(open) > 0; first += personasAtOnce {
		candidates, err := s.derive(ctx, p, platforms, open, first)
		if err != nil {
			return nil, err
		}
		have, err := assigned(ctx, candidates)
		if err != nil {
			return nil, err
		}
		of := make(map[token.Pseudonym]int, len(candidates))
		for at, name := range candidates {
			of[name] = at
		}
		var more []int
		for _, n := range have {
			at := of[n.Pseudonym]
			names := &found[open[at/personasAtOnce]]
			n.Persona = first + at%personasAtOnce
			*names = earliest(*names, n)
		}
		for _, i := range open {
			if len(found[i]) == first+personasAtOnce {
				more = append(more, i)
			}
		}
		open = more
	}
	return slices.Concat(found...), nil
}

// derive returns the pen names of personasAtOnce numbers, from first on, that p can have at
// those of the platforms.
func (s *Issuer) derive(ctx context.Context, p Person, platforms []string, at []int, first int) ([]token.Pseudonym, error) {
	var inputs [][]byte
	for _, i := range at {
		for n := range personasAtOnce {
			inputs = append(inputs, nameInput(p, platforms[i], first+n))
		}
	}
	macs, err := s.Keys.MAC(ctx, PurposePseudonym, inputs...)
	if err != nil {
		return nil, err
	}
	names := make([]token.Pseudonym, len(macs))
	for i, m := range macs {
		if names[i], err = token.NewPseudonym(m[:nameLen]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func nameInput(p Person, platform string, persona int) []byte {
	return lengthPrefixed(string(p.ID[:]), platform, string([]byte{byte(persona)}))
}

func seedInput(p Person, platform string, persona int) []byte {
	return lengthPrefixed("salt", string(p.ID[:]), platform, string([]byte{byte(persona)}), p.Label)
}

// lengthPrefixed joins parts so that no two lists of parts give the same bytes.
func lengthPrefixed(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
