// Package keep is the keeping side of Penname: it moves every record to a new
// key, and erases the records whose persons asked for it.
//
// It can rotate and rewrap. It can neither encrypt nor decrypt, and reads no
// sealed field: what it handles is text that the key service made for somebody
// else.
//
//	Rotate   new version → every first half rewrapped, in batches, while serving
//	         → no older one can come in → every old version destroyed
//	Erase    asked by the person, cleared by the disclosing side → fields and both
//	         halves blanked and leaf ERASED, in one transaction
//	Work     Erase, then Rotate if an erasure waits for it
//
// Erasure is a rotation that leaves records behind. A blanked row alone would
// come back with the next backup; but the first half in that backup is under a
// version of the key that no longer exists, so that the backup, today's keys and
// all custodians together do not open it (ATTACKS I28).
//
// The price: a backup of the database that is older than the last rotation opens
// no record. Pen names and cases in it are whole. Back up continuously (an archive of the
// write-ahead log restores to now), and take a base backup after each rotation.
//
// Trusted for: keeping. Whoever controls this side can destroy every record by
// destroying a key version too early, and learns nothing. Not covered: a backup
// of the key service itself that is older than the rotation opens what a
// database backup of the same age holds; keep the two apart, and the first no
// longer than a restore needs.
package keep

import (
	"context"
	"errors"
	"fmt"
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
		"records are under versions of the record key that were destroyed, as after the restore of a database from before the last rotation: nobody can open them; restore a newer copy of the database if there is one")
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

// Keys is the key service as the keeping side may use it, for the record key.
// It cannot wrap or open. Implementations return a refusal of kind Unavailable
// when the service is down, sealed or in doubt; every call may be repeated.
type Keys interface {
	Versions
	// Rotate makes a version, from which on new halves are wrapped under it.
	Rotate(ctx context.Context) error
	// Rewrap returns each half under the newest version, in order. All or
	// nothing: a half that does not belong to its label fails them all.
	Rewrap(ctx context.Context, halves []Half) ([]string, error)
	// Retire destroys every version below oldest, for good.
	Retire(ctx context.Context, oldest int) error
}

// Versions is the key service as each side may ask it.
type Versions interface {
	// Versions returns the oldest version of the record key that exists and the
	// newest.
	Versions(ctx context.Context) (oldest, newest int, err error)
}

// Past is what the database knows of the record key.
type Past interface {
	// UsedVersions returns the version below which every one was destroyed, and
	// the newest that was in use; 1 where there was no rotation.
	UsedVersions(ctx context.Context) (oldest, newest int, err error)
}

// Current refuses, with ErrRollback, a key service that was taken back behind what
// the database saw: a version that was made is missing, or one that was
// destroyed exists again (ATTACKS F15). It cannot tell that the database was
// taken back as well, which the witnesses of the log can, nor a version that
// somebody made a second time by hand, under which nothing opens.
func Current(ctx context.Context, keys Versions, past Past) error {
	// In this order: what is seen first is there when the key service is asked.
	oldest, newest, err := past.UsedVersions(ctx)
	if err != nil {
		return err
	}
	haveOldest, haveNewest, err := keys.Versions(ctx)
	if err != nil {
		return err
	}
	if haveOldest < oldest || haveNewest < newest {
		return ErrRollback.Because(fmt.Errorf("it has the versions %d to %d, where %d to %d were seen", haveOldest, haveNewest, oldest, newest))
	}
	return nil
}

// Openable fails with ErrUnopenable if records are under versions of the key that no
// longer exist. below is how many are under a version below one.
func Openable(ctx context.Context, keys Versions, below func(context.Context, int) (int64, error)) error {
	oldest, _, err := keys.Versions(ctx)
	if err != nil {
		return err
	}
	n, err := below(ctx, oldest)
	if err == nil && n > 0 {
		err = ErrUnopenable.Because(fmt.Errorf("%d records are below version %d", n, oldest))
	}
	return err
}

// State is where a rotation stands. It moves only forward.
type State string

// The states of a rotation.
const (
	Moving State = "moving" // records are rewrapped; new ones may still come in under an older version
	Closed State = "closed" // none come in; what came meanwhile is rewrapped
	Done   State = "done"   // the older versions no longer exist
)

// Rotation moves all records to a version of the key.
type Rotation struct {
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
	// Begin returns the rotation that is under way, or stores one to version; at
	// most one is under way. It holds it for this process until release is
	// called, or is ErrRunning.
	Begin(ctx context.Context, version int) (r Rotation, release func(), err error)
	// Older returns the next halves under a version below r's and not below oldest,
	// after r.Position in the order of labels, at most n. Erased records have none.
	Older(ctx context.Context, r Rotation, oldest, n int) ([]Half, error)
	// Move replaces each half by its rewrapped one, unless it is another by now,
	// and stores that r came so far, in one transaction.
	Move(ctx context.Context, r Rotation, from []Half, to []string) (Rotation, error)
	// Shut lets no record in under a version below r's, waits for those on
	// their way, and puts r's position back to the beginning.
	Shut(ctx context.Context, r Rotation) (Rotation, error)
	// Finish marks r as done. It is ErrLeftBehind if Older returns a half.
	Finish(ctx context.Context, r Rotation, oldest int) (Rotation, error)
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
	// Again blanks the records that came back, from a backup, although the log
	// says that they were erased.
	Again(ctx context.Context) error
	// Waiting reports whether a copy of an erased record can be under a version
	// that no finished rotation destroyed.
	Waiting(ctx context.Context) (bool, error)
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
}

// Rotate moves all records to a new version of the key and destroys the older
// ones. It continues a rotation that was interrupted, whoever began it, at the
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
func (k *Keeper) Rotate(ctx context.Context) (Rotation, error) {
	// A rotation of an older key service would make a version that has the number
	// of another one, and destroy what the newest snapshot still opens.
	if err := Current(ctx, k.Keys, k.Past); err != nil {
		return Rotation{}, err
	}
	_, newest, err := k.Keys.Versions(ctx)
	if err != nil {
		return Rotation{}, err
	}
	r, release, err := k.Rotations.Begin(ctx, newest+1)
	if err != nil {
		return Rotation{}, err
	}
	defer release()
	// Asked again: another process may have made the version before we got the rotation.
	oldest, newest, err := k.Keys.Versions(ctx)
	if err != nil {
		return r, err
	}
	switch {
	case newest == r.Version-1 && r.State == Moving && r.Position == "":
		if err := k.Keys.Rotate(ctx); err != nil {
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
	if left, err := k.Rotations.Older(ctx, Rotation{Version: r.Version}, oldest, 1); err != nil || len(left) > 0 {
		return r, errors.Join(err, behind(left))
	}
	if err := k.Keys.Retire(ctx, r.Version); err != nil {
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

// move rewraps what is left of a pass over all records.
func (k *Keeper) move(ctx context.Context, r Rotation, oldest int) (Rotation, error) {
	n := k.Batch
	if n == 0 {
		n = 500
	}
	for {
		from, err := k.Rotations.Older(ctx, r, oldest, n)
		if err != nil || len(from) == 0 {
			return r, err
		}
		to, err := k.Keys.Rewrap(ctx, from)
		if err != nil {
			return r, err
		}
		if r, err = k.Rotations.Move(ctx, r, from, to); err != nil {
			return r, err
		}
		k.progress(r, "records moved")
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
// fails is tried again by the next call, and keeps no other from its turn.
func (k *Keeper) Erase(ctx context.Context) (erased int, failed error) {
	if err := k.Erasures.Again(ctx); err != nil {
		return 0, err
	}
	for after := ""; ; {
		cleared, err := k.Erasures.Cleared(ctx, after, erasuresAtOnce)
		if err != nil {
			return erased, err
		}
		for _, e := range cleared {
			done, err := k.Erasures.Erase(ctx, e, proof.ErasedLeaf(k.Now(), e.Salt, e.Label))
			switch {
			case err != nil:
				failed = err
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

// Work carries out what is cleared, and rotates if a copy of an erased record
// could still be opened. Erasures that come during a rotation share the next.
func (k *Keeper) Work(ctx context.Context) (erased int, err error) {
	erased, err = k.Erase(ctx)
	if err != nil {
		return erased, err
	}
	waiting, err := k.Erasures.Waiting(ctx)
	if err != nil || !waiting {
		return erased, err
	}
	if _, err = k.Rotate(ctx); errors.Is(err, ErrRunning) {
		err = nil // the next call sees to what that rotation does not cover
	}
	return erased, err
}
