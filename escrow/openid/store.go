package openid

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Kind says what a [Row] is.
type Kind string

// The kinds of rows.
const (
	KindSession Kind = "session" // a sign-in that is under way, from PAR or /authorize to the person's answer
	KindGrant   Kind = "grant"   // what the person agreed to: one pseudonym at one platform
	KindKey     Kind = "key"     // at which platform a DPoP key is used
	KindLogout  Kind = "logout"  // a grant that ended, of which its platform is to be told: see Store.Logouts
)

// Row is one piece of protocol state.
//
// Nothing in a row is a secret that could be presented: handles (codes, refresh
// tokens, request_uris, session ids) are stored as SHA-256 only. A grant holds
// the pseudonym and the platform, never the person.
type Row struct {
	Kind    Kind
	ID      [32]byte        // SHA-256 of the handle, unique with Kind
	Holder  token.Pseudonym // of a grant, set when it is inserted; empty once Ended
	Version int64           // as it was read; 0 if it was not stored yet
	Body    []byte          // JSON; empty once Ended
	Expires time.Time       // UTC, on the full hour: from then on the row may be forgotten. Finer deadlines are in the body
	Ended   bool            // answered, used up or revoked; no Put ever takes this back
	Tell    bool            // of a grant: its platform is to be told when it ends
	Ends    time.Time       // UTC, of a grant: see Store.EndAt; zero if nobody asked. Put does not store it
	Entries []Entry         // of a grant: entries of status lists that Put gives to it; Get does not return them
}

// Entry is one of a status list, for one token.
type Entry struct {
	List, Index int
	Expires     time.Time // UTC, on the full hour: until then or longer it is taken
}

// Refusals of a [Store].
var (
	// ErrNotFound: there is no such row, or it has expired.
	ErrNotFound = refusal.New(refusal.NotFound, "openid.not_found", "This sign-in is not known here or has expired: start again from the platform.")
	// ErrTaken: an entry of a status list is another token's.
	ErrTaken = refusal.New(refusal.Conflict, "openid.taken", "This place in the status list is taken: another one is looked for.")
	// ErrStale: somebody else wrote or ended the row first, and this caller lost.
	ErrStale = refusal.New(refusal.Conflict, "openid.stale", "This was answered or used already: start again from the platform.")
)

// Store keeps protocol state. Every method is one atomic statement: what is
// promised to one caller holds against all callers on all machines, and is
// durable when the method returns. A read followed by a delete is not enough:
// two callers would both win. Any other error means that the outcome is unknown,
// and the provider then issues nothing.
//
// Implemented by escrow/postgres; held to package openidtest's suite.
type Store interface {
	// Put writes a row under these guards:
	//
	//	Ended        ends the row whatever its stored version, or stores it as
	//	             ended if it is new; body and holder are dropped, a stored expiry
	//	             is kept. Exactly one caller ever gets nil, the others ErrStale.
	//	Version 0    inserts (the stored version becomes 1), or ErrStale if there is one.
	//	Version n    replaces body, Tell and expiry if the stored version is n and the
	//	             row has not ended (the stored version becomes n+1), else ErrStale.
	//
	// Of a row with Entries it is ErrTaken, and nothing is stored, if one of them is taken,
	// even by the same grant: "double allocation" is refused here.
	Put(ctx context.Context, row Row) error

	// Claim is Put of rows of KindLogout, each with the version that it was read with: all
	// are stored in one write, or none.
	Claim(ctx context.Context, rows []Row) error

	// Answer is Put of a session and of the new grant that it leads to: both are stored, or
	// neither.
	Answer(ctx context.Context, session, grant Row) error

	// Get returns a row as it was stored last, ended or not, or ErrNotFound. It
	// reads from the primary, never from a replica.
	Get(ctx context.Context, kind Kind, id [32]byte) (Row, error)

	// EndAll ends every grant of a holder that theirs picks by its Body (nil: all), as Put
	// would, in a transaction of its own. What it leaves in the rows tells of no two that they ended together. Of each
	// that is to be told it makes a row of KindLogout, with its Holder and Body, that
	// expires (a full hour, UTC).
	EndAll(ctx context.Context, holder token.Pseudonym, theirs func(body []byte) bool, expires time.Time) error

	// EndAt sets Ends of every grant that the holders have now and that has none yet, at
	// once for all holders. Put keeps it. What it stores tells without a key neither
	// which grants these are, nor how many each holder had, nor when they end, and may be
	// forgotten from expires on (a full hour, UTC).
	//
	// Each of events, rows of KindLogout with ID, Holder and Body, is made at the moment of
	// its holder likewise, once for an ID; not if the holder has a grant then that EndAt
	// did not find: they came back.
	EndAt(ctx context.Context, holders map[token.Pseudonym]time.Time, events []Row, expires time.Time) error

	// Logouts makes a row of KindLogout, likewise, of each whose Ends is due, once, and
	// then returns all of that kind that have not ended, in the order of their ids.
	// These ids are the store's own; Put takes them for that kind. due may be nil: then it
	// makes none. What EndAt stored to be forgotten at since or before is not looked at.
	Logouts(ctx context.Context, due func(ends time.Time) bool, since, expires time.Time) ([]Row, error)

	// Use makes proofs and client assertions single-use, also across restarts. It
	// stores no time finer than the full hour: round up.
	token.ReplayGuard

	// Revoked returns of each list, in ascending order, the indexes whose grant has
	// Ended, but for those that have expired. Ends shows in no list. It costs by what
	// ended of late, not by how many sign-ins there are.
	Revoked(ctx context.Context, now time.Time) (lists map[int][]int, err error)
}

// hashOf is the only form in which a handle reaches a [Store]. The purpose keeps
// a handle of one sort from being found as another sort.
func hashOf(purpose, handle string) [32]byte {
	return sha256.Sum256([]byte("penname/openid/v1\x00" + purpose + "\x00" + handle))
}

// hour rounds up to the full hour, so that no expiry tells when a sign-in was.
func hour(t time.Time) time.Time {
	return t.UTC().Add(time.Hour - 1).Truncate(time.Hour)
}
