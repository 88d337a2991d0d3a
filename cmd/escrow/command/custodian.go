package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/rules"
)

// home is how the commands of `escrow custodian` find and open a folder.
type home struct {
	*program
	dir            string
	passphraseFile string
}

// custodians is `escrow custodian`: what a custodian does on their own machine.
func custodians(p *program) *cobra.Command {
	h := &home{program: p}
	c := group("custodian", "Check cases on your own machine and release shares",
		custodianList(h), custodianReview(h), custodianApprove(h), custodianRefuse(h), custodianAsk(h), custodianRecuse(h), custodianAway(h), custodianDeputise(h), custodianReceive(h), custodianReseal(h),
		endorsement(h, "escrow custodian endorse bundle.json"), custodianWitness(h),
		custodianInit(h), custodianPassphrase(h), custodianCard(h), custodianCeremony(h))
	h.flags(c)
	return c
}

// flags say where the folder is and what opens it.
func (h *home) flags(c *cobra.Command) {
	c.PersistentFlags().StringVar(&h.dir, "home", defaultHome(), "the custodian's folder")
	c.PersistentFlags().StringVar(&h.passphraseFile, "passphrase-file", "", "file (mode 0600) with the folder's passphrase; else it is asked for")
	c.MarkPersistentFlagDirname("home") //nolint:errcheck // it exists
}

// defaultHome is where a custodian's folder is who does not say.
func defaultHome() string {
	config, _ := os.UserConfigDir()
	return filepath.Join(config, "escrow")
}

// at is the folder's place.
func (h *home) at() custodian.Home {
	return custodian.Home{Dir: h.dir, Passphrase: h.passphraseFrom(h.passphraseFile)}
}

// open unlocks the folder. What it says about the registrar is the default of
// --server.
func (h *home) open(ctx context.Context) (*custodian.Custodian, error) {
	c, err := h.at().Open(ctx)
	if err == nil && h.server == "" {
		h.server = c.Server
	}
	return c, err
}

// inForce asks the public log which rules are in force, beginning with those in the
// folder.
func (h *home) inForce(ctx context.Context, c *custodian.Custodian) (history *rules.History, inForce *policy.Bundle, err error) {
	if _, err := h.registrar(); err != nil {
		return nil, nil, err
	}
	inForce, err = c.Follow(func(from *policy.Bundle, read []byte) (b *policy.Bundle, now []byte, err error) {
		if history, b, err = h.follow(ctx, from, read, "", maxAge); err == nil {
			now, err = history.Followed()
		}
		return b, now, err
	})
	return history, inForce, err
}

// seat is a custodian whose folder is unlocked, who has read in the public log
// which rules are in force, with the client for their registrar.
type seat struct {
	*custodian.Custodian
	client  *registrar.Client
	history *rules.History
	inForce *policy.Bundle
}

func (h *home) seat(ctx context.Context) (s seat, err error) {
	c, err := h.open(ctx)
	if err != nil {
		return s, err
	}
	return h.seatOf(ctx, c)
}

// seatOf is the seat of a folder that is unlocked already.
func (h *home) seatOf(ctx context.Context, c *custodian.Custodian) (s seat, err error) {
	s.Custodian = c
	if s.client, err = h.registrar(); err != nil {
		return s, err
	}
	s.history, s.inForce, err = h.inForce(ctx, s.Custodian)
	return s, err
}

// fetch asks the registrar for a case. since are the bundles from that of the case
// to the one in force.
func (s seat) fetch(ctx context.Context, id string) (f opening.CaseFile, since []*policy.Bundle, err error) {
	if f, err = s.client.CaseFile(ctx, s.Key(), id); err != nil {
		return f, nil, err
	}
	since, err = s.history.Since(ctx, f.Bundle)
	if errors.Is(err, rules.ErrNotInLog) {
		err = custodian.ErrOtherBundle
	}
	return f, since, err
}

// errUnsent is why a signed answer did not reach the registrar, or nobody knows whether it did.
type errUnsent struct{ error }

func (e errUnsent) Unwrap() error { return e.error }

// unsent is what a person is told of it.
const (
	unsent       = "your answer was signed and is kept in this folder; whether the registrar has it is not known: the same "
	unsentAtDesk = "your answer was signed and is kept in your folder; whether the registrar has it is not known: send it again from the page of the case"
)

// answer prints what came of an answer in a case: see [seat.answer].
func (h *home) answer(ctx context.Context, id, decision, reason, text string, answers []custodian.Answer, sign func(seat, *custodian.Review) (string, error)) error {
	text, err := words(text)
	if err != nil {
		return err // before anybody types a passphrase
	}
	c, err := h.seat(ctx)
	if err != nil {
		return err
	}
	st, about, said, err := c.answer(ctx, h.Now, id, decision, reason, text, answers, sign)
	if err != nil {
		if errors.As(err, &errUnsent{}) && !h.json {
			fmt.Fprintln(h.Stderr, unsent+"command sends it again")
		}
		return err
	}
	return h.print(st, about+said+st.String())
}

// words are reasons in words without the spaces around them, if they can be said.
func words(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", nil
	}
	return text, opening.CheckText(text)
}

// answer gives a custodian's answer in a case: the one that the folder has signed
// already, unless the answers of a file are others, or what sign makes of the case as it was
// reviewed. It returns the case as it stands then, and what a person reads before that: about
// what was answered, and what was said.
func (s seat) answer(ctx context.Context, now func() time.Time, id, decision, reason, text string, answers []custodian.Answer, sign func(seat, *custodian.Review) (string, error)) (st registrar.CaseStatus, about, said string, err error) {
	signed, err := s.Decision(id, decision, reason, s.inForce)
	if err != nil {
		return st, "", "", err
	}
	if signed != "" {
		about, err = s.again(ctx, id, signed, answers)
	} else {
		about, signed, err = s.judged(ctx, now, id, sign)
	}
	if err != nil {
		return st, "", "", err
	}
	st, said, err = s.send(ctx, now, id, signed, text)
	if err != nil {
		return st, "", "", errUnsent{err}
	}
	if forget(s.exhibitsOf(id)) > 0 {
		said += "what was published of this case is removed again from this machine's folder for what is temporary\n"
	}
	said += "where the case stands now:\n"
	return st, about, said, nil
}

// judged is what sign makes of a case as it was reviewed, behind the review.
func (s seat) judged(ctx context.Context, now func() time.Time, id string, sign func(seat, *custodian.Review) (string, error)) (about, signed string, err error) {
	f, since, err := s.fetch(ctx, id)
	if err != nil {
		return "", "", err
	}
	r, err := s.Reviewed(id, f, since, now())
	if err != nil {
		return "", "", err
	}
	if _, err := s.MayAnswer(r, now()); err != nil {
		return "", "", err
	}
	signed, err = sign(s, r)
	return r.String(), signed, err
}

// send sends a signed answer, behind the words that belong to it: it cannot be given without them.
func (s seat) send(ctx context.Context, now func() time.Time, id, signed, text string) (st registrar.CaseStatus, said string, err error) {
	if said, err = custodian.Says(signed); err != nil {
		return st, "", err
	}
	a, err := opening.ParseApprovalUnverified(signed)
	if err != nil {
		return st, "", err
	}
	if text != "" {
		_, err := s.say(ctx, now, id, opening.Reasons, text)
		var problem *registrar.Problem
		switch {
		case err == nil:
		case errors.As(err, &problem) && problem.Code == "statement.said": // in an attempt before
			f, since, err := s.fetch(ctx, id)
			if err != nil {
				return st, "", err
			}
			if !slices.ContainsFunc(custodian.Statements(id, f.Submission.Warrant, f.Said, nil, since...), func(x custodian.Said) bool {
				return x.Kind == opening.Reasons && x.Text == text
			}) {
				said += "the words of --text were not stored: you gave others in this case before, and they stand\n"
			}
		default:
			return st, "", err
		}
	}
	if st, err = s.client.Decide(ctx, s.Key(), signed); err != nil {
		return st, "", err
	}
	stored := "your answer is stored\n"
	if a.Decision == opening.Decline {
		if stored = "your refusal is stored: you declined, and that counts\n"; a.Reason != "" {
			stored = "your refusal is stored: you declined, " + a.Reason + "\n"
		}
	}
	return st, stored + said, nil
}

// again is what a person reads when an answer that was signed before is sent again.
func (s seat) again(ctx context.Context, id, signed string, answers []custodian.Answer) (string, error) {
	if len(answers) > 0 {
		f, err := s.client.CaseFile(ctx, s.Key(), id)
		if err != nil {
			return "", err
		}
		if err := custodian.Same(signed, f, answers); err != nil {
			return "", err
		}
	}
	a, err := opening.ParseApprovalUnverified(signed)
	if err != nil {
		return "", err
	}
	return "you answered on " + a.At.Format(time.DateTime) + " UTC, and that answer was sent again:\n", nil
}

func checkWorkFactor(n int) error {
	if n < 1 || n > custodian.MaxWorkFactor {
		return shell.UsageError("--work-factor is between 1 and %d", custodian.MaxWorkFactor)
	}
	return nil
}

func addWorkFactor(c *cobra.Command, n *int) {
	c.Flags().IntVar(n, "work-factor", custodian.DefaultWorkFactor, "scrypt's cost, as a power of two; 18 takes about a second")
}
