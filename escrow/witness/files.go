package witness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/penname/penname/verifier/proof"
)

const (
	stateName   = "checkpoint"
	stateHeader = "penname witness state v1\n" // so that a truncated file is not "nothing seen yet"
)

// Files is a [Store] in a directory:
//
//	checkpoint           the newest checkpoint, under a header line
//	split-view-*.json    evidence
//	lock                 held while a process uses the directory
//
// Every file is written aside, synced and renamed, and the directory is
// synced: what was promised survives a power cut.
type Files struct {
	dir  string
	lock *os.File
	sync func(*os.File) error // (*os.File).Sync, or what a test puts in its place

	mu     sync.Mutex
	broken error // the first failed write: what is on disk is in doubt until the next start
}

// InitFiles makes the directory of a witness that has seen nothing. It
// refuses with [ErrState] if there is one: a witness starts from zero only
// once, or it would sign a second history.
func InitFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ErrState.Because(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, stateName)); !errors.Is(err, fs.ErrNotExist) {
		return ErrState.Because(fs.ErrExist)
	}
	w := &Files{dir: dir, sync: (*os.File).Sync}
	if err := w.write(stateName, []byte(stateHeader)); err != nil {
		return ErrState.Because(err)
	}
	return nil
}

// OpenFiles opens the directory that [InitFiles] made and locks
// it against other processes until Close. It is [ErrState] if the state is
// missing: a lost state is restored, never begun anew.
func OpenFiles(dir string) (*Files, error) {
	w := &Files{dir: dir, sync: (*os.File).Sync}
	if _, err := w.read(); err != nil {
		return nil, ErrState.Because(err) // before anything is created
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, ErrState.Because(err)
	}
	if err := LockFile(f); err != nil {
		return nil, ErrState.Because(errors.Join(err, f.Close()))
	}
	w.lock = f
	// What is read may be in the cache only, after a failed sync: write it
	// again, so that what we build on is on disk.
	state, err := w.read()
	if err == nil {
		err = w.write(stateName, append([]byte(stateHeader), state...))
	}
	if err != nil {
		return nil, ErrState.Because(errors.Join(err, f.Close()))
	}
	return w, nil
}

// Close releases the lock.
func (w *Files) Close() error { return w.lock.Close() }

// Load implements [Store].
func (w *Files) Load(context.Context) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.read()
}

func (w *Files) read() ([]byte, error) {
	if w.broken != nil {
		return nil, w.broken
	}
	b, err := os.ReadFile(filepath.Join(w.dir, stateName))
	if err != nil {
		return nil, err
	}
	state, ok := bytes.CutPrefix(b, []byte(stateHeader))
	if !ok {
		return nil, errors.New("state file is truncated or of another version")
	}
	if len(state) == 0 {
		return nil, nil
	}
	return state, nil
}

// Swap implements [Store].
func (w *Files) Swap(_ context.Context, old, new []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	stored, err := w.read()
	if err != nil {
		return err
	}
	if !bytes.Equal(stored, old) {
		return ErrChanged
	}
	return w.write(stateName, append([]byte(stateHeader), new...))
}

// Keep implements [Store]. The name is the digest of the evidence, so
// that repeating a request does not fill the disk.
func (w *Files) Keep(_ context.Context, e Evidence) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := e.Marshal()
	sum := sha256.Sum256(b)
	return w.write("split-view-"+hex.EncodeToString(sum[:8])+".json", b)
}

// write replaces a file so that after a crash there is the old or the new one.
// After a failure nothing is read or written any more: a sync that failed once
// and then succeeds proves nothing.
func (w *Files) write(name string, b []byte) error {
	if w.broken == nil {
		w.broken = w.replace(name, b)
	}
	return w.broken
}

func (w *Files) replace(name string, b []byte) error {
	f, err := os.CreateTemp(w.dir, "tmp-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone after the rename
	_, err = f.Write(b)
	if err == nil {
		err = w.sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(w.dir, name)); err != nil {
		return err
	}
	d, err := os.Open(w.dir)
	if err != nil {
		return err
	}
	return errors.Join(w.sync(d), d.Close()) // the rename itself is durable only now
}

// State is what a look at a witness's directory tells, whether a process uses it or not.
type State struct {
	Size     int64     // of the newest tree that it cosigned; 0: none yet
	At       time.Time // when; zero with the size
	Running  bool      // a process uses the directory
	Evidence []string  // files that prove that the log showed two histories
}

// Look reads the directory of a witness of that log, and changes nothing in it. It is [ErrState]
// if the state is missing or is of another log.
func Look(dir, origin, vkey string) (s State, err error) {
	w := &Files{dir: dir}
	stored, err := w.read()
	if err != nil {
		return s, ErrState.Because(err)
	}
	if stored != nil {
		c, err := proof.OpenUncosigned(origin, vkey, stored)
		if err != nil {
			return s, ErrState.Because(err)
		}
		info, err := os.Stat(filepath.Join(dir, stateName))
		if err != nil {
			return s, ErrState.Because(err)
		}
		s.Size, s.At = c.N, info.ModTime()
	}
	if s.Evidence, err = filepath.Glob(filepath.Join(dir, "split-view-*.json")); err != nil {
		return s, ErrState.Because(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil // no process ever did
	}
	if err != nil {
		return s, ErrState.Because(err)
	}
	defer f.Close()
	s.Running = held(f)
	return s, nil
}
