package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/secretfile"
)

func custodianReview(h *home) *cobra.Command {
	var folder string
	cmd := leaf("review CASE", "Check a case: rules, signatures, evidence, what was published, the public log and the sealed records",
		"escrow custodian review CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, err := h.seat(ctx)
			if err != nil {
				return err
			}
			f, since, err := c.fetch(ctx, args[0])
			if err != nil {
				return err
			}
			r, failed := c.Review(args[0], f, since, h.Now())
			if r == nil {
				return failed
			}
			if failed == nil {
				failed = c.read(ctx, h, r, folder)
			}
			return errors.Join(h.print(r, r.String()), failed)
		})
	cmd.Flags().StringVar(&folder, "exhibits-to", "", "folder for what was published, which is made if there is none (a new one for each review, of mode 0700, among the files of this machine that pass)")
	return cmd
}

// read fetches what was published, compares it and saves it for the custodian to look at.
func (s seat) read(ctx context.Context, h *home, r *custodian.Review, folder string) error {
	to := exhibitFolder(folder)
	err := s.CheckExhibits(r, s.exhibits(ctx, r.Case), s.copies(ctx, r.Case), to.save)
	if to != "" && !h.json {
		fmt.Fprintf(h.Stderr, "what was published is in %s: look at it there, and remove it when you have answered\n", to)
	}
	return err
}

// exhibitFolder is where exhibits are put, or "" before there is one. It is never the
// custodian's own folder, of which there are backups.
type exhibitFolder string

// save writes an exhibit under the name of its digest, for its owner alone.
func (f *exhibitFolder) save(x exhibit.Declared, content []byte) (err error) {
	dir := string(*f)
	if dir == "" {
		dir, err = os.MkdirTemp("", "exhibits-") // mode 0700
	} else {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return secretfile.ErrUnwritable.Because(err)
	}
	*f = exhibitFolder(dir)
	name := filepath.Join(dir, exhibit.FileName(x))
	err = secretfile.Create(name, content)
	if errors.Is(err, secretfile.ErrExists) { // of an earlier review
		before, unread := os.ReadFile(name)
		if unread == nil && x.Check(before) == nil {
			return nil
		}
	}
	return err
}
