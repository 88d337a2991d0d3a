package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/secretfile"
)

func custodianReview(h *home) *cobra.Command {
	var folder string
	cmd := leaf("review CASE", "Check a case: rules, signatures, evidence, what was published, the public log and the sealed records",
		"escrow custodian review CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := h.outside(folder); err != nil {
				return err
			}
			c, err := h.seat(ctx)
			if err != nil {
				return err
			}
			f, since, err := c.fetch(ctx, args[0])
			if err != nil {
				return err
			}
			r, failed := c.ReviewAndRead(args[0], f, since, h.Now(), func(r *custodian.Review) error {
				_, err := c.read(ctx, h, r, folder)
				return err
			})
			if r == nil {
				return failed
			}
			return errors.Join(h.print(r, r.String()), failed)
		})
	addExhibitsTo(cmd, &folder)
	return cmd
}

// read fetches what was published, compares it and saves it for the custodian to look at.
// It returns the new folder that it was saved in; "": there is none, or it is the one that was
// asked for.
func (s seat) read(ctx context.Context, h *home, r *custodian.Review, folder string) (fresh string, err error) {
	h.sweep(false)
	to := exhibitFolder{dir: folder, of: s.exhibitsOf(r.Case)}
	err = s.save(ctx, r, &to)
	if to.made && !h.json {
		fmt.Fprintf(h.Stderr, "what was published is in %s: look at it there; %s\n", to.dir, leftTo(folder))
	}
	if folder == "" {
		fresh = to.dir
	}
	return fresh, err
}

// save fetches what was published, compares it and puts it into a folder.
func (s seat) save(ctx context.Context, r *custodian.Review, to *exhibitFolder) error {
	return s.CheckExhibits(r, s.exhibits(ctx, r.Case), s.copies(ctx, r.Case), to.save, shortExhibits(ctx, s.client, r.Case))
}

// within reports whether dir is home or lies in it, by whatever links it is named.
func within(dir, home string) bool {
	of, err := os.Stat(home)
	if err != nil {
		return false
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false
	}
	for {
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			dir = target
		}
		if is, err := os.Stat(dir); err == nil && os.SameFile(is, of) {
			return true
		}
		above := filepath.Dir(dir)
		if above == dir {
			return false
		}
		dir = above
	}
}

// exhibitFolder is where exhibits are put; dir is "" for a new one. It is made once there is
// something to put into it.
type exhibitFolder struct {
	dir  string
	of   string // what the name of a new one begins with: see seat.exhibitsOf
	made bool
}

// leftTo says who removes the exhibits in a folder that was asked for, or in a new one.
func leftTo(folder string) string {
	if folder == "" {
		return "your answer and your next review of this case remove it"
	}
	return "remove it when you have answered"
}

// exhibitsOf begins the name of each new folder with what was published of a case.
func (s seat) exhibitsOf(id string) string {
	sum := sha256.Sum256([]byte(s.ID + " " + id))
	return fmt.Sprintf("exhibits-%x-", sum[:8])
}

// exhibitsIn is a name that begins as exhibitsOf or deskExhibits says.
var exhibitsIn = regexp.MustCompile(`^exhibits-[0-9a-f]{16}-(desk[0-9a-f]{16}-)?[0-9]+$`)

// forget removes the new folders whose names begin so: nothing that was published stays behind
// in clear. What cannot be read or removed is another's, and so is what no review named.
func forget(of string) (removed int) {
	return removeOurs(os.TempDir(), exhibitsIn, func(name []string, _ time.Duration) bool { return of != "" && strings.HasPrefix(name[0], of) })
}

// save writes an exhibit under the name of its digest, for its owner alone.
func (f *exhibitFolder) save(x exhibit.Declared, content []byte) (err error) {
	switch {
	case f.made:
	case f.dir == "":
		forget(f.of)
		f.dir, err = os.MkdirTemp("", f.of) // mode 0700
	default:
		err = os.MkdirAll(f.dir, 0o700)
	}
	if err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	f.made = true
	name := filepath.Join(f.dir, exhibit.FileName(x))
	// It waits for no disk, as there can be thousands: what a crash loses is fetched again.
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) { // of an earlier review
		before, unread := os.ReadFile(name)
		if unread == nil && x.Check(before) == nil {
			return nil
		}
		return secretfile.ErrExists.Because(err)
	}
	if err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	return nil
}
