package exhibit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"filippo.io/age"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// ErrNotInFolder is one exhibit or more of which a folder has no file.
var ErrNotInFolder = refusal.New(refusal.NotFound, "exhibit.not_in_folder",
	"the folder lacks an exhibit that the evidence declares: nothing was sent; put the platform's file there, byte for byte as it was published, under any name")

// Find returns, by its digest, the file of each wanted exhibit in a folder, whatever the
// files are called; folders inside it are not searched. It streams. What is missing is
// [ErrNotInFolder], and a file whose bytes are not of the declared type
// token.ErrExhibitContent.
func Find(folder string, want []token.Exhibit) (map[[32]byte]string, error) {
	have, err := Among(folder, want)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, x := range want {
		name, ok := have[x.Digest]
		if !ok {
			missing = append(missing, x.Name())
			continue
		}
		if err := IsIn(name, x); err != nil {
			return nil, err
		}
	}
	if len(missing) > 0 {
		return nil, ErrNotInFolder.Because(fmt.Errorf("%d of %d, with the SHA-256 %s", len(missing), len(want), strings.Join(missing[:min(10, len(missing))], ", ")))
	}
	return have, nil
}

// Among returns, by its digest, each file of a folder that is as long as a wanted exhibit. Each is
// read once, and what is missing is in it as little as what is of another type: see [IsIn].
func Among(folder string, want []token.Exhibit) (map[[32]byte]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	lengths := make(map[int64]bool, len(want))
	for _, x := range want {
		lengths[x.Length] = true
	}
	have := make(map[[32]byte]string, len(want))
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() || !lengths[info.Size()] {
			continue
		}
		name := filepath.Join(folder, e.Name())
		digest, err := digestOf(name)
		if err != nil {
			return nil, err
		}
		have[digest] = name
	}
	return have, nil
}

// OpenGiven opens a file of a folder that a stranger filled: a file itself, no link, and nothing that
// could wait for somebody, as a pipe does. What is none is [fs.ErrNotExist].
func OpenGiven(name string) (*os.File, error) {
	is, err := os.Lstat(name)
	if err == nil && !is.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if opened, err := f.Stat(); err != nil || !os.SameFile(is, opened) { // it was replaced meanwhile
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f, nil
}

// Files are the whole names of the files of a folder that [OpenGiven] opens and whose names end so.
func Files(folder, ending string) (names []string, err error) {
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasSuffix(e.Name(), ending) {
			names = append(names, filepath.Join(folder, e.Name()))
		}
	}
	return names, err
}

func digestOf(name string) (digest [32]byte, err error) {
	f, err := OpenGiven(name)
	if err != nil {
		return digest, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return [32]byte(sum.Sum(nil)), err
}

// IsIn judges the file as who opens the exhibit will (token.Exhibit.Check).
func IsIn(name string, want token.Exhibit) error {
	f, err := OpenGiven(name)
	if err != nil {
		return err
	}
	defer f.Close()
	x, err := token.NewExhibit(want.Type, f)
	if err == nil && x != want {
		err = token.ErrExhibitMismatch // the file changed while it was read
	}
	return err
}

// Send encrypts an exhibit to recipients while put takes it: length bytes.
func Send(x token.Exhibit, content io.Reader, recipients []string, put func(sealed io.Reader, length int64) error) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Seal(w, recipients, content)
		w.CloseWithError(err)
		done <- err
	}()
	err := put(r, SealedSize(x.Length, len(recipients)))
	r.Close()
	if sealing := <-done; err != nil && sealing != nil && !errors.Is(sealing, io.ErrClosedPipe) {
		return sealing // why put failed
	}
	return err
}

// SealShort encrypts short exhibits to recipients, several at a time, from their files as
// [Find] returned them. What is no longer as long as declared is token.ErrExhibitMismatch.
func SealShort(some []token.Exhibit, files map[[32]byte]string, recipients []string) (map[[32]byte][]byte, error) {
	to, err := parseRecipients(recipients)
	if err != nil {
		return nil, err
	}
	sealed := make([][]byte, len(some))
	failed := make([]error, len(some))
	each(len(some), func(i int) { sealed[i], failed[i] = sealFile(some[i], files[some[i].Digest], to) })
	all := make(map[[32]byte][]byte, len(some))
	for i, x := range some {
		all[x.Digest] = sealed[i]
	}
	return all, errors.Join(failed...)
}

func sealFile(x token.Exhibit, name string, to []age.Recipient) ([]byte, error) {
	f, err := OpenGiven(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var sealed bytes.Buffer
	length := SealedSize(x.Length, len(to))
	sealed.Grow(int(length))
	if err := sealTo(&sealed, to, io.LimitReader(f, x.Length+1)); err != nil {
		return nil, err
	}
	if int64(sealed.Len()) != length {
		return nil, token.ErrExhibitMismatch
	}
	return sealed.Bytes(), nil
}

// each does n things, as many at a time as there are processors.
func each(n int, do func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}
