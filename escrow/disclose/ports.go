package disclose

import (
	"context"
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// Wrapped is what the key service made of a first half or of a link: text that
// opens again under the same name only, the label of the record or the
// pseudonym.
type Wrapped struct{ Name, Text string }

// Keys is the key service as the disclosing side may use it: it decrypts, and
// cannot encrypt, rotate or export. Implementations are safe for concurrent
// use and return a refusal of kind Unavailable when in doubt. They take many
// values at a time, in as few calls as the service allows.
type Keys interface {
	// UnwrapHalves returns the 32-byte first half of each record. All or nothing:
	// with an error it returns none, and has cleared what was opened.
	UnwrapHalves(ctx context.Context, halves []Wrapped) ([][]byte, error)
	// OpenLinks returns the links of pseudonyms: 32 bytes of seed (seal.Salts), 32
	// bytes of record digest, then the record label. With an error it returns the
	// links before the first that does not open, and why that one does not.
	OpenLinks(ctx context.Context, links []Wrapped) ([][]byte, error)
}

// Cases is where cases are kept. Each method that takes leaves appends them to
// the public log in the transaction that stores the case: both happen or
// neither.
type Cases interface {
	// Together returns a context in which what is read, of any port, need not survive a failover,
	// and a function that returns nil once all of that does. It is called before anybody is asked
	// or told anything that follows from it. What was stored since has survived already.
	Together(ctx context.Context) (context.Context, func() error)

	// File stores c and appends leaf, whose kind of warrant is that of the case.
	// If a case with that Authority and WarrantID is on file it is returned as it
	// is, and nothing is appended. It is policy.ErrWrongBundle if another bundle
	// came into force since the decision, and ErrDailyNumber if Case.Daily cases of
	// that Authority have a recorded leaf of the day of leaf already; withdrawals are
	// neither counted nor held to it. It is ErrFiledMeanwhile if what [Cases].Filed
	// counts is not Case.Filed any more.
	//
	// With a ruling that answers a question it stores that, or is ErrNoQuestion.
	//
	// With c.Earlier it locks the case of that warrant (else ErrNoEarlier), does to it what
	// [Case.Later] says, and leaf concerns it: all in the same transaction, so that it comes
	// before or after a release.
	File(ctx context.Context, c Case, leaf proof.Leaf) (Case, error)
	// Filed counts what was filed by an authority and for a requester, an id of an
	// organisation, with a recorded leaf before that one: warrants that run out on that UTC
	// day, and targets of those that custodians decide on, on that day and on the 30 before,
	// but for those of redeliveries.
	Filed(ctx context.Context, authority, requester string, day time.Time, before int64) (policy.Filed, error)
	// Earlier returns the case of the warrant with that policy.Hash, or ErrNoEarlier.
	Earlier(ctx context.Context, warrant [32]byte) (Case, error)
	// Refuse appends leaf, once for each warrant, which is an id of an authority,
	// and refusal code.
	Refuse(ctx context.Context, authority, warrantID string, leaf proof.Leaf) error
	// Case returns one case, or ErrNoCase.
	Case(ctx context.Context, id string) (Case, error)
	// Summary returns the summary of one case, or ErrNoCase.
	Summary(ctx context.Context, id string) (Summary, error)
	// Package returns the package of a round, counted from 0, of a case; nil if there is
	// none, or if a restored backup did not have it.
	Package(ctx context.Context, id string, round int) ([]byte, error)
	// List returns the cases that are in the queue at now ([Queue.Due]), in its
	// order, behind a place in it, at most n. What it costs does not depend on how
	// many other cases are on file.
	List(ctx context.Context, q Queue, now time.Time, after Cursor, n int) ([]Summary, error)
	// CasesOf returns the cases of an authority that have a date to come ([Summary.Due]), the first
	// first, behind a place in that order ([AfterDue]), at most n. What it costs does not depend
	// on how many other cases are on file.
	CasesOf(ctx context.Context, authority string, after Cursor, n int) ([]Summary, error)
	// Apply locks the case, appends the leaves of the change that decide returns,
	// and stores what [Case.After] makes of it. An error of decide is returned as
	// it is, and nothing is stored. It is ErrRulesChanged if another bundle than
	// Change.InForce is in force when the leaves are appended. Two concurrent calls for one case run one
	// after the other.
	Apply(ctx context.Context, id string, decide func(Case) (Change, error)) (Case, error)
	// Mailed says what became of the duties of a case of that kind ([Change].Duties), by
	// target. A duty is one, however often a change has it.
	Mailed(ctx context.Context, id string, kind Letter) (map[int]Mailed, error)

	// Objections returns what was objected in a case, in the order of Case.Objections, or
	// ErrNoCase. It has the texts of the first MaxObjectionTexts, those without an answer first.
	Objections(ctx context.Context, id string) ([]Objected, error)
	// Object stores what a lawyer objects with a one-time code, of which that is the SHA-256,
	// once, and uses the code up. It is policy.ErrNoNotice for a code that is not good at that
	// day, and policy.ErrObjections.
	Object(ctx context.Context, code [32]byte, sealed []byte, now time.Time) error
	// Coded returns what the notice of a code says that is good then, or was and is used up, or
	// policy.ErrNoNotice.
	Coded(ctx context.Context, code [32]byte, now time.Time) (policy.Coded, error)
	// Say stores what a custodian said in the case that it names, once: the same digest again
	// changes nothing. may is asked under the lock of the case, with what was said in it before,
	// and its error is returned as it is.
	Say(ctx context.Context, s Statement, may func(c Case, before []Statement) error) error
	// Said returns what was said in a case, in the order in which it was.
	Said(ctx context.Context, id string) ([]Statement, error)
	// Stands says where one custodian stands in those of the cases in which they decided or
	// recused themselves, and in those under objection, by id.
	Stands(ctx context.Context, ids []string, custodian string) (map[string]Stand, error)
	// Asked counts what no ruling answers in those of the cases in which there is something, by
	// id.
	Asked(ctx context.Context, ids []string) (map[string]Asked, error)
	// Announce stores an absence, once. It is ErrManyQuestions if the custodian has announced
	// most that are not over at now.
	Announce(ctx context.Context, s Statement, now time.Time, most int) error
	// Absences returns those that are not over at now, the one that begins first first.
	Absences(ctx context.Context, now time.Time) ([]Statement, error)

	// PutExhibit stores what is encrypted of an exhibit that was filed with the case
	// ([Case].Exhibits), once. It is ErrExhibitUndeclared, ErrExhibitLength, or
	// ErrExhibitStored if other bytes are stored.
	PutExhibit(ctx context.Context, id string, digest [32]byte, sealed []byte) error
	// Exhibit returns those bytes, or ErrNoExhibit.
	Exhibit(ctx context.Context, id string, digest [32]byte) ([]byte, error)
	// PutExhibits is PutExhibit for several, all or none, but what is stored already stays as
	// it is, and that is no error.
	PutExhibits(ctx context.Context, id string, sealed map[[32]byte][]byte) error
	// ShortExhibits returns what is stored of these, if it has no more than exhibit.MaxShort
	// bytes.
	ShortExhibits(ctx context.Context, id string, digests [][32]byte) (map[[32]byte][]byte, error)
	// PutCopy stores an exhibit that was encrypted again (exhibit.Reseal) to the recipient
	// with that SHA-256, once, while the case waits for custodians: else ErrCaseClosed. It is
	// ErrExhibitUndeclared, ErrExhibitLength, or ErrExhibitStored if other bytes are stored.
	PutCopy(ctx context.Context, id string, digest, recipient [32]byte, copied []byte) error
	// Copy returns those bytes, or ErrNoExhibit.
	Copy(ctx context.Context, id string, digest, recipient [32]byte) ([]byte, error)
	// Exhibits says which are stored, or ErrNoCase.
	Exhibits(ctx context.Context, id string) (StoredExhibits, error)
	// DropExhibits deletes the exhibits, with their copies, the texts of objections and what custodians said, of every case that is over (in none of the states
	// Recorded, Authorised and Released) and whose [StoredExhibits].Until has come, and
	// returns of how many cases.
	DropExhibits(ctx context.Context, now time.Time) (cases int, err error)
}

// Target is a pen name on a platform, and what the token in the evidence commits
// to ([token.Commit]).
type Target struct {
	Pseudonym token.Pseudonym
	Platform  string
	policy.Committed
}

// Records is what the disclosing side may read of what the issuing side wrote.
// Each method reads many rows at a time, and says of each that it cannot give why: no
// row hides another.
type Records interface {
	// Links returns the sealed links of each target: one for each record that its
	// person had, none if there is no such pseudonym there. The platform
	// of these targets is the sector of the one that a warrant names. A row that somebody
	// changed is ErrCommitment, of that target.
	Links(ctx context.Context, targets []Target) ([]Found[[]string], error)
	// Records returns sealed records by their labels; of each that it cannot,
	// ErrDataNotHeld, ErrDataErased or that it is damaged.
	Records(ctx context.Context, labels []string) ([]Found[seal.Record], error)
}

// Found is what was asked for, or why there is none.
type Found[T any] struct {
	Value T
	Err   error
}

// Erasures is what the disclosing side does about requests to be deleted: it says
// which of them no case prevents. A hold has no row of its own, because a row would
// say which record a pen name belongs to.
type Erasures interface {
	// Pending returns the labels of the records that are to be erased, are not
	// erased yet, and are not cleared up to the newest case, in their order, behind
	// that label, at most n.
	Pending(ctx context.Context, after string, n int) (labels []string, err error)
	// Newest returns the recorded leaf of the newest case; -1 if there is none.
	Newest(ctx context.Context) (int64, error)
	// Holding returns the cases that hold their targets at now: recorded,
	// authorised or lost and not expired, or released and not noticed; in the order
	// of their recorded leaves, behind that leaf, at most n.
	Holding(ctx context.Context, now time.Time, after int64, n int) ([]Case, error)
	// Clear says that no case up to newest holds any of the labels.
	Clear(ctx context.Context, labels []string, newest int64) error
}

// Bundles is where the rules are kept, all that were ever in force.
type Bundles interface {
	// Install stores the bundle with its endorsements and appends leaf, in one
	// transaction, and makes it the one in force. The bundle that is in force
	// already is left alone. It is policy.ErrNotNext if another one than that with
	// the hash after is in force (any, if that is empty), or if this bundle was in
	// force before.
	Install(ctx context.Context, bundle []byte, endorsements []string, leaf proof.Leaf, after string) error
	// Current returns the bundle in force with its endorsements, or ErrNoBundle.
	Current(ctx context.Context) (bundle []byte, endorsements []string, err error)
	// History returns the hashes of all bundles in the order of their leaves: the
	// last is in force.
	History(ctx context.Context) ([]string, error)
	// Bundle returns the bundle with that hash and its endorsements, or
	// ErrUnknownBundle.
	Bundle(ctx context.Context, hash string) (bundle []byte, endorsements []string, err error)
}

// Log is the public log as the registrar needs it: see translog.Publisher.
type Log interface {
	// Await returns nil only once the leaf is under a checkpoint that a quorum
	// of witnesses cosigned; it publishes one if need be.
	Await(ctx context.Context, index int64) error
	// Prove returns the leaf and its c2sp.org/tlog-proof under that checkpoint.
	Prove(ctx context.Context, index int64) (leaf, proof []byte, err error)
}
