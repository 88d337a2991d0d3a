package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var errSomeUnread = refusal.New(refusal.Denied, "custodian.not_all_resealed",
	"some exhibits could not be read, so nobody was given a copy of them: the report names the code of each target; the others were sent, and the same command again sends what is missing")

func custodianReseal(h *home) *cobra.Command {
	c := leaf("reseal CASE", "Encrypt the exhibits of a case again, for who became a custodian after it was filed",
		"escrow custodian reseal CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, err := h.seat(ctx)
			if err != nil {
				return err
			}
			done, err := c.reseal(ctx, h.Now, args[0], nil, h.progress)
			if err != nil && !errors.Is(err, errSomeUnread) {
				return err
			}
			return errors.Join(h.print(done, resealed(done)), err)
		})
	c.Long = "Encrypts the exhibits of a case again, for who became a custodian after it was filed: their key opens\n" +
		"nothing that was encrypted to the custodians of its day. Each exhibit is fetched, opened and compared with\n" +
		"the evidence on this machine first, and each copy is signed with your key. Nothing is decided by it, and\n" +
		"nothing is overwritten: the same command again sends what is missing."
	return c
}

// reseal encrypts what was published of a case again, once confirm agrees to what is shown of it;
// nil: it is meant. It is errSomeUnread with what was done.
func (s seat) reseal(ctx context.Context, now func() time.Time, id string, confirm func(shown string) error, progress func(format string, args ...any)) (done custodian.Resealed, err error) {
	f, since, err := s.fetch(ctx, id)
	if err != nil {
		return done, err
	}
	if confirm != nil {
		to, err := s.Newcomers(id, f, since, now())
		if err == nil && len(to) > 0 {
			err = confirm(document.Printable(fmt.Sprintf("What was published of case %s is read on this machine, compared with its evidence, and encrypted again for %s, whom it was not encrypted to when it was filed, to their keys in the rules %s. "+
				"Each copy is signed with your key: that it is of this case, for whom, and by you. Nothing is decided by it, and nothing is overwritten.\n", id, strings.Join(to, ", "), since[len(since)-1].Hash())))
		}
		if err != nil {
			return done, err
		}
	}
	sent := 0
	done, err = s.Reseal(id, f, since, now(), s.exhibits(ctx, id), s.copies(ctx, id), func(digest [32]byte, recipient string, copied []byte) error {
		err := s.client.PutCopy(ctx, id, digest, recipient, copied)
		var said *registrar.Problem
		if errors.As(err, &said) && said.Code == "exhibit.stored" {
			return nil // of an earlier run, or of another custodian
		}
		if sent++; err == nil && sent%100 == 0 {
			progress("sent %d copies\n", sent)
		}
		return err
	})
	if err != nil {
		return done, err
	}
	for _, code := range done.Refused {
		if code != "" {
			err = errSomeUnread
		}
	}
	return done, err
}

func resealed(done custodian.Resealed) string {
	if len(done.Custodians) == 0 {
		return "every custodian in force has been one since the case was filed, or it has no exhibits: nothing to encrypt again"
	}
	s := fmt.Sprintf("exhibits that %s can read now: %d\n", strings.Join(done.Custodians, ", "), done.Exhibits)
	for i, code := range done.Refused {
		if code != "" {
			s += fmt.Sprintf("✗ target %d: %s\n", i+1, code)
		}
	}
	return document.Printable(s)
}

// exhibits and copies fetch what custodians read of a case.
func (s seat) exhibits(ctx context.Context, id string) exhibit.Fetch {
	return func(digest [32]byte) (io.ReadCloser, error) {
		sealed, err := s.client.Exhibit(ctx, id, digest)
		return sealed, missing(err)
	}
}

// shortExhibits asks for several at once.
func shortExhibits(ctx context.Context, r *registrar.Client, id string) exhibit.FetchShort {
	return func(digests [][32]byte) (map[[32]byte][]byte, error) { return r.ShortExhibits(ctx, id, digests) }
}

func (s seat) copies(ctx context.Context, id string) custodian.FetchCopy {
	return func(digest [32]byte, recipient string) ([]byte, error) {
		copied, err := s.client.Copy(ctx, id, digest, recipient)
		return copied, missing(err)
	}
}

// missing is exhibit.ErrMissing of a registrar's answer that something is not stored; other
// errors stay as they are.
func missing(err error) error {
	var said *registrar.Problem
	if errors.As(err, &said) && said.Code == "exhibit.not_stored" {
		return exhibit.ErrMissing.Because(err)
	}
	return err
}
