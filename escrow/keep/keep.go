// Package keep is the keeping side of Penname: it moves records to new keys, and
// erases the records whose persons asked for it.
//
// It can make keys, rotate and rewrap. It can neither encrypt nor decrypt, and reads no
// sealed field: what it handles is text that the key service made for somebody
// else.
//
//	OpenGroups   on the day before: the keys for those who enrol
//	RotateGroup  new version → every first half of the group rewrapped, while serving
//	             → no older one can come in → every old version destroyed
//	Erase        asked by the person, cleared by the disclosing side → fields and both
//	             halves blanked and leaf ERASED, in one transaction
//	Work         Erase, then RotateGroup of each group that an erasure waits for
//
// Erasure is a rotation that leaves records behind. A blanked row alone would
// come back with the next backup; but the first half in that backup is under a
// version of a key that no longer exists, so that the backup, today's keys and
// all custodians together do not open it (ATTACKS I28).
//
// The price: a backup of the database opens no record of a group whose key was rotated
// since. Pen names and cases in it are whole, and so are the records of all other
// groups. Back up continuously: an archive of the write-ahead log restores to now.
//
// Trusted for: keeping. Whoever controls this side can destroy every record by
// destroying key versions too early, and learns nothing. Not covered: a backup
// of the key service itself that is older than the rotation opens what a
// database backup of the same age holds of that group; keep the two apart, and the
// first no longer than a restore needs.
package keep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// The refusals of this package. Stores return them too.
var (
	ErrRunning = refusal.New(refusal.Conflict, "keys.rotation_running",
		"another process is moving the records at this moment: wait for it, or run this again to follow it up")
	ErrLeftBehind = refusal.New(refusal.Unavailable, "keys.left_behind",
		"a record is still under an old key: nothing was destroyed, run the rotation again")
	ErrVersion = refusal.New(refusal.Unavailable, "keys.version",
		"the key service is at another version than the rotation in the database: restore both to one moment before anything is destroyed")
	ErrRollback = refusal.New(refusal.Unavailable, "keys.rollback",
		"the key service lacks key versions that the database saw, or has some that were destroyed, as after the restore of an old snapshot, or as another one: check its address, and restore the newest snapshot, taken after the last rotation; until then nothing is opened and nothing destroyed")
	ErrUnopenable = refusal.New(refusal.NotYet, "keys.records_unopenable",
		"records are under versions of a record key that were destroyed, as after the restore of a database from before a rotation of their group: nobody can open them; restore a newer copy of the database if there is one")
)

// What every side of a key service refuses. They stand here for all three ports,
// so that nobody can tell Vault from the keyring that takes its place by how they
// refuse.
var (
	// ErrUnavailable: no answer, or none that makes sense. The service may have
	// done the work.
	ErrUnavailable = refusal.New(refusal.Unavailable, "keys.unavailable", "The key service gave no answer: nothing was disclosed; try again later.")
	// ErrInput: the caller's arguments are outside the limits.
	ErrInput = refusal.New(refusal.Invalid, "keys.bad_input", "Give a label and a value that are neither empty nor over the limit, and a known purpose.")
	// ErrDecryptFailed: another label, another key, or an altered value. Which
	// of them is not said.
	ErrDecryptFailed = refusal.New(refusal.Invalid, "keys.decrypt_failed", "The value does not open under this label: it was altered, moved, or made by another key.")
	// ErrArchived: the version of the key that wrapped this may no longer open.
	ErrArchived = refusal.New(refusal.Invalid, "keys.archived", "The key version of this value is below min_decryption_version: rewrap it from a backup, or lower the bound in Vault.")
)

// Half is a wrapped first half and the label that it is bound to.
type Half struct{ Label, Wrapped string }

// Keys is the key service as the keeping side may use it, for the record keys, one of
// each group. It cannot wrap or open. Implementations return a refusal of kind Unavailable
// when the service is down, sealed or in doubt; every call may be repeated.
type Keys interface {
	Versions
	// Open makes the key of a group, which is not 0, unless it is there.
	Open(ctx context.Context, group int) error
	// Rotate makes a version, from which on new halves are wrapped under it.
	Rotate(ctx context.Context, group int) error
	// Rewrap returns each half under the newest version, in order. All or
	// nothing: a half that does not belong to its label or to the group fails them all.
	// It runs while Rotations stores others.
	Rewrap(ctx context.Context, group int, halves []Half) ([]string, error)
	// Retire destroys every version below oldest, for good.
	Retire(ctx context.Context, group, oldest int) error
}

// Versions is the key service as each side may ask it.
type Versions interface {
	// Versions returns the oldest version of a group's record key that exists and the
	// newest; 0 and 0 if it has no key.
	Versions(ctx context.Context, group int) (oldest, newest int, err error)
}

// Past is what the database knows of the record keys.
type Past interface {
	// UsedVersions returns what is known of those of the groups that there are, and of
	// those that changed last, of which any older key service lacks something: group 0,
	// the group that was made last, and those whose rotation is under way or ended last.
	UsedVersions(ctx context.Context, groups ...int) ([]Used, error)
}

// Used is what was seen of a group's key: the version below which every one was
// destroyed, and the newest that was in use; 1 where there was no rotation.
type Used struct{ Group, Oldest, Newest int }

// Current refuses, with ErrRollback, a key service that was taken back behind what
// the database saw: a version that was made is missing, or one that was
// destroyed exists again (ATTACKS F15). A snapshot is of one moment for all keys, so
// it asks for those that changed last, and for those of the groups that the caller uses.
// It cannot tell that the database was taken back as well, which the witnesses of the log
// can, nor a version that somebody made a second time by hand, under which nothing opens.
func Current(ctx context.Context, keys Versions, past Past, groups ...int) error {
	// In this order: what is seen first is there when the key service is asked.
	used, err := past.UsedVersions(ctx, groups...)
	if err != nil {
		return err
	}
	for _, u := range used {
		oldest, newest, err := keys.Versions(ctx, u.Group)
		if err != nil {
			return err
		}
		if oldest < u.Oldest || newest < u.Newest {
			return ErrRollback.Because(fmt.Errorf("of group %d it has the versions %d to %d, where %d to %d were seen", u.Group, oldest, newest, u.Oldest, u.Newest))
		}
	}
	return nil
}

// State is where a rotation stands. It moves only forward.
type State string

// The states of a rotation.
const (
	Moving State = "moving" // records are rewrapped; new ones may still come in under an older version
	Closed State = "closed" // none come in; what came meanwhile is rewrapped
	Done   State = "done"   // the older versions no longer exist
)

// Rotation moves the records of a group to a version of its key.
type Rotation struct {
	Group    int    `json:"group"`
	Version  int    `json:"version"`
	State    State  `json:"state"`
	Position string `json:"-"`       // the last label that was rewrapped
	Records  int64  `json:"records"` // rewrapped so far
}

// Erasure is a request to be deleted that was cleared: see package disclose, Clear.
type Erasure struct {
	Label string
	Salt  [32]byte // opens the commitment in the log, for whoever has the receipt
}

// Rotations is where rotations are kept. What returned without error survives
// a crash.
type Rotations interface {
	// Begin returns the rotation of the group that is under way, or stores one to
	// version; at most one is under way. It holds it for this process until release is
	// called, or is ErrRunning.
	Begin(ctx context.Context, group, version int) (r Rotation, release func(), err error)
	// Under returns the groups of which a rotation is under way.
	Under(ctx context.Context) ([]int, error)
	// Older returns the next halves of the group under a version below r's and not below
	// oldest, after r.Position in the order of labels, at most n. Erased records have none.
	Older(ctx context.Context, r Rotation, oldest, n int) ([]Half, error)
	// Move replaces each half by its rewrapped one, unless it is another by now,
	// and stores that r came so far, in one transaction.
	Move(ctx context.Context, r Rotation, from []Half, to []string) (Rotation, error)
	// Shut lets no record in under a version below r's, waits for those on
	// their way, and puts r's position back to the beginning.
	Shut(ctx context.Context, r Rotation) (Rotation, error)
	// Finish marks r as done. It is ErrLeftBehind if Older returns a half.
	Finish(ctx context.Context, r Rotation, oldest int) (Rotation, error)

	// Groups returns the groups behind that one, in their order, at most n. 0 is none of them.
	Groups(ctx context.Context, after, n int) ([]int, error)
	// OpenGroups returns the groups that are open on that day or from the next on, and the
	// last number that there is. first: there is none, and no record.
	OpenGroups(ctx context.Context, day time.Time) (open []Group, last int, first bool, err error)
	// AddGroups stores that these groups, which have keys, are open from a day on.
	AddGroups(ctx context.Context, first, last int, from time.Time) error
	// CloseGroups stores that these groups are closed from a day on.
	CloseGroups(ctx context.Context, groups []int, from time.Time) error
}

// Erasures is where the requests to be deleted are kept.
type Erasures interface {
	// Cleared returns requests that can be carried out, in the order of their
	// labels, behind that label, at most n.
	Cleared(ctx context.Context, after string, n int) ([]Erasure, error)
	// Erase blanks the record and appends the leaf in one transaction, unless it
	// is done already. erased is false if a case was recorded since the
	// clearing: nothing happened, and the request has to be cleared again.
	Erase(ctx context.Context, e Erasure, leaf proof.Leaf) (erased bool, err error)
	// Again looks at records of which the log says that they were erased, at most n
	// behind that label, and blanks those that came back, from a backup. It returns the
	// last label that it looked at; "": it is through.
	Again(ctx context.Context, after string, n int) (last string, err error)
	// Waiting returns the groups behind that one, in their order, at most n, of which a
	// copy of an erased record can be under a version that no finished rotation destroyed.
	Waiting(ctx context.Context, after, n int) ([]int, error)
}

// Keeper runs the keeping side. Progress and Batch may be left out.
type Keeper struct {
	Keys      Keys
	Past      Past
	Rotations Rotations
	Erasures  Erasures
	Now       func() time.Time
	Batch     int                        // halves in one call of the key service; 0: 500
	Progress  func(r Rotation, s string) // called after every step and every batch

	looked string // see Erasures.Again
}

// RotateGroup moves the records of a group to a new version of its key and destroys the
// older ones. It continues a rotation that was interrupted, whoever began it, at the
// batch where it stopped. Records can be sealed and opened all the while.
//
// Each step is written down before it is taken, and can be taken twice: the
// version is the one that the rotation names, a half is replaced only if it is
// still the one that was rewrapped, and nothing is destroyed while a single
// half is below it.
//
// A half whose version no longer exists stays as it is. An older copy of the database
// brings such halves back: nobody can move or open them, and those of today would
// otherwise never move again.
func (k *Keeper) RotateGroup(ctx context.Context, group int) (Rotation, error) {
	// A rotation of an older key service would make a version that has the number
	// of another one, and destroy what the newest snapshot still opens.
	if err := Current(ctx, k.Keys, k.Past, group); err != nil {
		return Rotation{}, err
	}
	_, newest, err := k.Keys.Versions(ctx, group)
	if err != nil {
		return Rotation{}, err
	}
	r, release, err := k.Rotations.Begin(ctx, group, newest+1)
	if err != nil {
		return Rotation{}, err
	}
	defer release()
	// Asked again: another process may have made the version before we got the rotation.
	oldest, newest, err := k.Keys.Versions(ctx, group)
	if err != nil {
		return r, err
	}
	switch {
	case newest == r.Version-1 && r.State == Moving && r.Position == "":
		if err := k.Keys.Rotate(ctx, group); err != nil {
			return r, err
		}
	case newest < r.Version:
		return r, ErrVersion
	}
	k.progress(r, "a new version of the key")
	if r.State == Moving {
		if r, err = k.move(ctx, r, oldest); err != nil {
			return r, err
		}
		if r, err = k.Rotations.Shut(ctx, r); err != nil {
			return r, err
		}
		k.progress(r, "no record comes in under an older version")
	}
	if r, err = k.move(ctx, r, oldest); err != nil {
		return r, err
	}
	// Nothing can be left behind: no half below r.Version comes in, and the pass
	// just made went over all there are. Finish says so once more; Retire first,
	// because "done" means that the old versions no longer exist.
	if left, err := k.Rotations.Older(ctx, Rotation{Group: group, Version: r.Version}, oldest, 1); err != nil || len(left) > 0 {
		return r, errors.Join(err, behind(left))
	}
	if err := k.Keys.Retire(ctx, group, r.Version); err != nil {
		return r, err
	}
	if r, err = k.Rotations.Finish(ctx, r, oldest); err != nil {
		return r, err
	}
	k.progress(r, "the older versions no longer exist")
	return r, nil
}

func behind(left []Half) error {
	if len(left) == 0 {
		return nil
	}
	return ErrLeftBehind
}

// batch is some halves, and the same under the newest version.
type batch struct {
	from []Half
	to   []string
	err  error
}

// move rewraps what is left of a pass over the records of a group. While one batch is
// stored, the next is read and rewrapped, which may be done again: only Move changes
// anything.
func (k *Keeper) move(ctx context.Context, r Rotation, oldest int) (Rotation, error) {
	ctx, stop := context.WithCancel(ctx)
	rewrapped := make(chan batch)
	go k.rewrap(ctx, r, oldest, rewrapped)
	defer func() {
		stop()
		for range rewrapped { // until nothing of it is under way
		}
	}()
	for b := range rewrapped {
		if b.err != nil {
			return r, b.err
		}
		var err error
		if r, err = k.Rotations.Move(ctx, r, b.from, b.to); err != nil {
			return r, err
		}
		k.progress(r, "records moved")
	}
	return r, nil
}

// rewrap sends the batches behind r's position in their order, up to the first error.
func (k *Keeper) rewrap(ctx context.Context, r Rotation, oldest int, to chan<- batch) {
	defer close(to)
	n := k.Batch
	if n == 0 {
		n = 500
	}
	for {
		var b batch
		if b.from, b.err = k.Rotations.Older(ctx, r, oldest, n); b.err == nil && len(b.from) == 0 {
			return
		}
		if b.err == nil {
			b.to, b.err = k.Keys.Rewrap(ctx, r.Group, b.from)
		}
		to <- b
		if b.err != nil {
			return
		}
		r.Position = b.from[len(b.from)-1].Label
	}
}

func (k *Keeper) progress(r Rotation, step string) {
	if k.Progress != nil {
		k.Progress(r, step)
	}
}

// erasuresAtOnce is how many requests are read at a time.
const erasuresAtOnce = 1000

// Erase carries out every request that is cleared and returns how many. One that
// fails is tried again by the next call, and keeps no other from its turn. Of those that
// were carried out before, it looks at the next, whether one came back.
func (k *Keeper) Erase(ctx context.Context) (erased int, failed error) {
	last, err := k.Erasures.Again(ctx, k.looked, erasuresAtOnce)
	if err != nil {
		return 0, err
	}
	k.looked = last
	for after := ""; ; {
		cleared, err := k.Erasures.Cleared(ctx, after, erasuresAtOnce)
		if err != nil {
			return erased, errors.Join(failed, err)
		}
		for _, e := range cleared {
			done, err := k.Erasures.Erase(ctx, e, proof.ErasedLeaf(k.Now(), e.Salt, e.Label))
			switch {
			case err != nil:
				failed = errors.Join(failed, err)
			case done:
				erased++
			}
			after = e.Label
		}
		if len(cleared) < erasuresAtOnce {
			return erased, failed
		}
	}
}

// Work carries out what is cleared, and rotates the groups of which a copy of an erased
// record could still be opened, besides those of which a rotation was interrupted. Erasures
// that come during a rotation of their group share the next.
func (k *Keeper) Work(ctx context.Context) (erased int, err error) {
	erased, err = k.Erase(ctx)
	if err != nil {
		return erased, err
	}
	groups, err := k.Rotations.Under(ctx)
	if err != nil {
		return erased, err
	}
	for page := []int{-1}; len(page) > 0; groups = append(groups, page...) {
		if page, err = k.Erasures.Waiting(ctx, page[len(page)-1], groupsAtOnce); err != nil {
			return erased, err
		}
	}
	slices.Sort(groups)
	_, err = k.rotateGroups(ctx, slices.Compact(groups))
	return erased, err
}

// rotateGroups rotates groups one after the other. One that fails keeps no other from its
// turn; one that another process rotates is left to it.
func (k *Keeper) rotateGroups(ctx context.Context, groups []int) (all Rotated, failed error) {
	for _, group := range groups {
		r, err := k.RotateGroup(ctx, group)
		switch {
		case errors.Is(err, ErrRunning):
			all.Running++
		case err != nil:
			failed = errors.Join(failed, err)
		default:
			all.Groups++
			all.Records += r.Records
		}
		if ctx.Err() != nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRollback) {
			return all, failed
		}
	}
	return all, failed
}
