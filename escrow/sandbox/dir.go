package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/penname/penname/verifier/refusal"
)

// Why a folder cannot hold a sandbox.
var (
	ErrInUse = refusal.New(refusal.Conflict, "sandbox.in_use",
		"A sandbox runs on this folder: use it, end it, or name another folder with --keep.")
	ErrNotASandbox = refusal.New(refusal.Invalid, "sandbox.not_a_sandbox",
		"What was named is neither a sandbox's folder nor an empty one, and nothing of it was touched: name an empty or a new folder.")
	ErrOtherVersion = refusal.New(refusal.Invalid, "sandbox.other_version",
		"The folder holds a sandbox of another version, and nothing of it was touched: name a new one, or use the version that made it.")
	ErrOtherSettings = refusal.New(refusal.Invalid, "sandbox.other_settings",
		"The sandbox in this folder was made with other settings, which cannot change: leave them out, or name a new folder.")
	// ErrAddressTaken is returned when somebody else listens where the sandbox of a folder was.
	ErrAddressTaken = refusal.New(refusal.Unavailable, "sandbox.address_taken",
		"Something else listens at an address of the sandbox in this folder, which cannot move to another: stop what listens there, or start a new sandbox with a new folder.")
	ErrUnreachable = refusal.New(refusal.Invalid, "sandbox.unreachable",
		"The folder cannot hold the database: root's PostgreSQL runs as another user, who must be able to pass through all folders above it, and DATABASE_URL must not be set.")
)

// Dir is a folder that one sandbox has for itself, as long as its process lives.
type Dir struct {
	Path string

	lock      *os.File
	temporary bool
}

// taken are the folders of this process. A lock ends with its file, and a file that
// nobody refers to is closed by the garbage collector; who has a server for as long as
// the process lives may well forget its folder.
var taken sync.Map

// lockName is the file by whose lock a folder is known as one in use.
const lockName = "sandbox.lock"

// TemporaryDir makes a folder below the system's, with that prefix, and removes those
// of sandboxes that were killed.
func TemporaryDir(prefix string) (*Dir, error) {
	dead, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range dead {
		if lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0); err == nil {
			if hold(lock) == nil {
				os.RemoveAll(path)
			}
			lock.Close()
		}
	}
	path, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, err
	}
	// Locked before it has its name: nobody takes it for a dead one.
	fresh := filepath.Join(path, lockName+".new")
	lock, err := os.OpenFile(fresh, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = errors.Join(hold(lock), os.Rename(fresh, filepath.Join(path, lockName)))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close(), os.RemoveAll(path))
	}
	d := &Dir{path, lock, true}
	taken.Store(d, true)
	return d, nil
}

func hold(lock *os.File) error { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// KeptDir takes the folder called name, or makes it. done is a file below it that its
// sandbox writes once it is made: without it, what an interrupted start left is removed.
// The refusals are [ErrInUse] and [ErrNotASandbox].
func KeptDir(name, done string) (_ *Dir, err error) {
	d := &Dir{}
	if d.Path, err = filepath.Abs(name); err != nil {
		return nil, err
	}
	if info, err := os.Stat(d.Path); err == nil && !info.IsDir() {
		return nil, ErrNotASandbox.Because(errors.New(d.Path + " is no folder"))
	}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return nil, ErrNotASandbox.Because(err)
	}
	here, err := os.ReadDir(d.Path)
	if err != nil {
		return nil, ErrNotASandbox.Because(err)
	}
	lockFile := filepath.Join(d.Path, lockName)
	if _, err := os.Lstat(lockFile); err != nil && len(here) > 0 {
		return nil, ErrNotASandbox.Because(errors.New(d.Path))
	}
	if d.lock, err = os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, ErrNotASandbox.Because(err)
	}
	if err := hold(d.lock); err != nil {
		return nil, errors.Join(ErrInUse.Because(errors.New(d.Path)), d.lock.Close())
	}
	if os.Geteuid() == 0 { // the database's user passes through, and reads nothing
		err = os.Chmod(d.Path, 0o711)
	}
	if _, missing := os.Lstat(filepath.Join(d.Path, done)); missing != nil {
		for _, e := range here {
			if e.Name() != lockName {
				err = errors.Join(err, os.RemoveAll(filepath.Join(d.Path, e.Name())))
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, d.lock.Close())
	}
	taken.Store(d, true)
	return d, nil
}

// Close lets others take the folder, and removes a temporary one.
func (d *Dir) Close() error {
	taken.Delete(d)
	var err error
	if d.temporary {
		err = os.RemoveAll(d.Path)
	}
	return errors.Join(err, d.lock.Close())
}
