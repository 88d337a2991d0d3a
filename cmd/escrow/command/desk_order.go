package command

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Why a desk does not do what is asked of an order.
var (
	errNoStep = refusal.New(refusal.Conflict, "desk.no_step",
		"this is not asked any more, or not yet: what you typed is kept; go on with the first question that is left")
	errIsSigned = refusal.New(refusal.Conflict, "desk.order_signed",
		"this order is signed, and what is signed cannot be changed: nothing was saved; begin another order about the same evidence")
	errIsFiled = refusal.New(refusal.Conflict, "desk.order_filed",
		"this order is filed already: nothing was changed; what ends it is signed on the page of its case")
	errNotSigned = refusal.New(refusal.Conflict, "desk.order_unsigned",
		"this order is not signed yet: nothing was sent; have it signed first")
	errNoDraft = refusal.New(refusal.Conflict, "desk.no_draft",
		"there is no draft yet: nothing was checked or signed; answer the questions first")
	errOtherFile = refusal.New(refusal.Conflict, "desk.other_file",
		"the file that the cause names has the name of what is signed here, and is not of this order: nothing was signed or kept; move that file away first")
	errCheckRefuses = refusal.New(refusal.Invalid, "desk.check_refuses",
		"filing it would be refused, as the check on this page says: nothing was signed; mend that first")
	errOtherAuthority = refusal.New(refusal.Invalid, "desk.other_authority",
		"the key of this desk signs only for the authority that the cause names, and the order is of another one: nothing was signed; answer the question of the authority anew, or give the draft to that one")
	errByHand = refusal.New(refusal.Conflict, "desk.draft_by_hand",
		"the draft was changed by hand, in its file: nothing was saved; choose on the page of the order whether that file counts, or the answers")
)

// interview is the dialogue of `escrow warrant new` about an order.
func (s *officerSeat) interview(o order) (*interview, error) {
	d := &interview{program: s.program, folder: o.folder, out: shell.Out{File: o.draft()}}
	d.Bundle = s.bundle
	err := d.begin()
	d.Read = readRegular
	return d, err
}

// readRegular reads a file that an answer names, and nothing that could wait for somebody.
func readRegular(name string) ([]byte, error) {
	if !is(name) {
		return nil, fs.ErrNotExist
	}
	return shell.ReadFile(name)
}

// seen is how an order is shown in a list.
func (s *officerSeat) seen(o order) desk.Order {
	w := desk.Order{ID: o.id(), Folder: o.folder, Name: filepath.Base(o.folder), Number: o.number, Begun: o.begun(), Draft: o.draft(), File: o.signed(), Drafted: is(o.draft()), Signed: o.isSigned(), OtherFile: o.other}
	if st, ok := o.filedAsCase(); ok {
		w.Case, w.Said = st.Case, st.at(s.Now())
	}
	return w
}

// list is what a desk shows of all orders.
func (s *officerSeat) list() (all []desk.Order, err error) {
	orders, err := s.orders()
	if err != nil {
		return nil, err
	}
	for _, o := range orders {
		all = append(all, s.seen(o))
	}
	astray, err := s.astray(orders)
	for _, o := range astray {
		w := s.seen(o)
		w.Name, w.Astray = filepath.Base(o.base), true
		all = append(all, w)
	}
	return all, err
}

// show is what a desk shows of one.
func (s *officerSeat) show(id string) (*desk.Order, error) {
	o, err := s.order(id)
	if err != nil {
		return nil, err
	}
	w := s.seen(o)
	w.Verdict = s.verdictOf(o)
	if w.Signed {
		signed, err := shell.ReadFile(o.signed())
		if err != nil {
			return nil, err
		}
		if is, err := policy.ParseUnverified(strings.TrimSpace(string(signed))); err == nil {
			w.Says, w.Next = saysOf(s.bundle, is), s.nextOf(o, is, w.Case)
			if w.Case == "" {
				w.SignedBy = s.bundle.Countersigners(is)
			}
		}
		return &w, nil
	}
	d, err := s.interview(o)
	switch {
	case err != nil && w.Drafted && !is(o.answers()):
	case err != nil:
		w.Other = errors.Is(err, policy.ErrOtherPieces)
		return &w, err
	default:
		if w.Edited, err = edited(o, d); err != nil {
			return &w, err
		}
		if w.Evidence = d.Evidence(); !w.Edited {
			w.Steps = stepsOf(d, s.whose, s.requester)
		}
	}
	if w.Byhand = w.Drafted && (w.Edited || !is(o.answers())); w.Byhand {
		_, is, err := s.readDraft(o.draft())
		if err != nil {
			return &w, err
		}
		w.Says = saysOf(s.bundle, is)
	}
	return &w, nil
}

// stepsOf are the questions with what was answered. What the desk knows is filled in: the
// authority whose it is, and the file of the requester's key.
func stepsOf(d *interview, whose, key string) (all []desk.Step) {
	answers := d.Answers()
	for _, step := range d.Steps() {
		shown := desk.Step{Name: step.Questions[0].Name, Done: step.Answered}
		for _, q := range step.Questions {
			answer, given := answers[q.Name]
			asked := desk.Question{Name: q.Name, About: q.About, Text: q.Text, Example: q.Example, Several: q.Several, Most: q.Most, File: q.File, Answer: q.Shown(answer), Given: given}
			if err := step.Wrong[q.Name]; err != nil {
				asked.Wrong = wrongOf(q, err)
			}
			if !given && q.Name == "delivery_key" && key != "" {
				asked.Answer = key
			}
			if given && answer == "" {
				asked.Answer = q.Default
			}
			var chosen []string
			if !given && q.Name == "authority" && whose != "" {
				answer = whose
			}
			if answer = cmp.Or(answer, q.Default); answer != "" {
				chosen, _ = q.Chosen(answer)
			}
			for _, c := range q.Choices {
				asked.Choices = append(asked.Choices, desk.Choice{ID: c.ID, Title: c.Title, Chosen: slices.Contains(chosen, c.ID)})
			}
			shown.Questions = append(shown.Questions, asked)
		}
		all = append(all, shown)
	}
	return all
}

// wrongOf is what is wrong with the answer to a question, without what its page shows beside it.
func wrongOf(q *policy.Question, err error) string {
	why, _, _ := strings.Cut(strings.TrimPrefix(shell.ProblemOf(err).Cause, q.Name+": "), "; for example: ")
	return why
}

// answer takes the answers to a step, and keeps those that are right as `escrow warrant new` does.
// Once all is answered, the draft is made. next is the step that is asked then; "": none is left.
func (s *officerSeat) answer(id, step string, typed map[string]string, files map[string][]byte) (next string, wrong map[string]string, err error) {
	err = s.working(func() error {
		o, err := s.unsigned(id)
		if err != nil {
			return err
		}
		d, err := s.interview(o)
		if err != nil {
			return err
		}
		switch other, err := edited(o, d); {
		case err != nil:
			return err
		case other:
			return errByHand
		}
		steps := d.Steps()
		n := slices.IndexFunc(steps, func(x policy.Step) bool { return x.Questions[0].Name == step })
		if n < 0 {
			return errNoStep
		}
		wrong = make(map[string]string)
		for _, q := range steps[n].Questions {
			text := strings.ReplaceAll(typed[q.Name], "\r\n", "\n")
			if content := files[q.Name]; q.File && len(content) > 0 {
				if text, err = s.chosen(o, q, content); err != nil {
					return err
				}
			}
			if err := d.Answer(q, q.Literal(text)); err != nil {
				wrong[q.Name] = wrongOf(q, err)
			}
		}
		if !o.begun() {
			if err := s.bind(o); err != nil {
				return err
			}
		}
		if err := d.save(); err != nil {
			return err
		}
		next, err = s.drafted(o, d)
		return err
	})
	return next, wrong, err
}

// anew has the answers of an order be about the evidence that is in its folder now: all but those
// about single posts and pen names.
func (s *officerSeat) anew(id string) error {
	return s.working(func() error {
		o, err := s.unsigned(id)
		if err != nil {
			return err
		}
		raw, err := shell.ReadFile(o.answers())
		if err != nil {
			return err
		}
		answers := make(map[string]string)
		if json.Unmarshal(raw, &answers) != nil {
			return shell.InFile(o.answers(), 0, errAnswersFile)
		}
		maps.DeleteFunc(answers, func(name, _ string) bool { return policy.OfPieces(name) })
		if raw, err = json.MarshalIndent(answers, "", "  "); err != nil {
			return err
		}
		if have, err := readRegular(o.draft()); err == nil {
			sum := policy.Hash(string(have))
			if made, _ := readRegular(o.made()); strings.TrimSpace(string(made)) != hex.EncodeToString(sum[:]) { // it was changed by hand
				if _, err := putAside(o.draft()); err != nil {
					return err
				}
			}
		}
		if err := errors.Join(s.bind(o), forgetDraft(o), shell.WritePrivate(o.answers(), append(raw, '\n'))); err != nil {
			return err
		}
		d, err := s.interview(o)
		if err != nil {
			return err
		}
		return d.save() // of which evidence they are
	})
}

// chosen keeps a file that somebody chose for an answer beside the draft, and returns the answer:
// its name. A delivery key is answered by itself, the public one; a secret one is not kept a second
// time.
func (s *officerSeat) chosen(o order, q *policy.Question, content []byte) (string, error) {
	if q.Name == "delivery_key" {
		key := strings.TrimSpace(string(document.Typed(content)))
		if public, err := requester.PublicOf(key); err == nil {
			key = public
		}
		return key, nil
	}
	file := o.base + "." + q.Name
	return file, shell.WritePrivate(file, content)
}

// edited reports whether the draft is not what the desk made of the answers last: somebody changed
// it by hand, or a command made it.
func edited(o order, d *interview) (bool, error) {
	have, err := readRegular(o.draft())
	if errors.Is(err, fs.ErrNotExist) || err == nil && !is(o.answers()) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sum := policy.Hash(string(have))
	if made, err := readRegular(o.made()); err == nil && strings.TrimSpace(string(made)) == hex.EncodeToString(sum[:]) {
		return false, nil
	}
	if steps := d.Steps(); !steps[len(steps)-1].Answered {
		return true, nil
	}
	text, err := policy.MarshalDraft(d.Draft())
	return !bytes.Equal(have, text), err
}

// remake has the answers count again: a draft that was changed by hand is put aside.
func (s *officerSeat) remake(id string) (said string, err error) {
	err = s.working(func() error {
		o, err := s.unsigned(id)
		if err != nil {
			return err
		}
		if !is(o.answers()) || !is(o.draft()) {
			return errNoDraft
		}
		d, err := s.interview(o)
		if err != nil {
			return err
		}
		aside, err := putAside(o.draft())
		if err != nil {
			return err
		}
		said = "The answers count. What was changed by hand is kept: " + aside
		_, err = s.drafted(o, d)
		return err
	})
	return said, err
}

// forgetDraft removes the draft of answers that do not make one any more.
func forgetDraft(o order) error {
	if err := os.Remove(o.draft()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return secretfile.ErrUnwritable.Because(err)
	}
	return nil
}

// drafted makes the draft once all is answered, and returns the first step that is left.
func (s *officerSeat) drafted(o order, d *interview) (next string, err error) {
	steps := d.Steps()
	if last := steps[len(steps)-1]; !last.Answered {
		return last.Questions[0].Name, forgetDraft(o)
	}
	text, err := policy.MarshalDraft(d.Draft())
	if err != nil {
		return "", err
	}
	sum := policy.Hash(string(text))
	if err := shell.WritePrivate(o.made(), []byte(hex.EncodeToString(sum[:])+"\n")); err != nil {
		return "", err
	}
	if have, err := readRegular(o.draft()); err == nil && bytes.Equal(have, text) {
		return "", nil
	}
	return "", shell.WritePrivate(o.draft(), text)
}

// renewed makes the draft of the answers again, which may say more since, unless it was changed by
// hand.
func (s *officerSeat) renewed(o order) error {
	if o.isSigned() || !is(o.answers()) {
		return nil
	}
	d, err := s.interview(o)
	if err != nil {
		return err
	}
	if other, err := edited(o, d); err != nil || other {
		return err
	}
	_, err = s.drafted(o, d)
	return err
}

// textOf is what there is of an order, signed or a draft, and the signed warrant that it follows.
// It writes nothing.
func (s *officerSeat) textOf(o order) (file string, text []byte, earlier string, err error) {
	file = o.draft()
	switch {
	case o.isSigned():
		file = o.signed()
	case !is(o.draft()):
		return "", nil, "", errNoDraft
	case is(o.answers()):
		d, err := s.interview(o)
		if err != nil {
			return "", nil, "", err
		}
		earlier = d.earlier()
	}
	text, err = shell.ReadFile(file)
	return file, text, s.earlierOf(o, text, earlier), err
}

// earlierOf is the file with the signed warrant that an order names as an earlier one: the one of
// the answers, or one that lies beside it; "": there is none.
func (s *officerSeat) earlierOf(o order, text []byte, answered string) string {
	if answered != "" {
		return answered
	}
	w, err := policy.ParseUnverified(strings.TrimSpace(string(text)))
	if err != nil {
		if w, _ = policy.ReadDraft(text); w == nil {
			return ""
		}
	}
	if w.Earlier == "" {
		return ""
	}
	for file, text := range s.beside(o) {
		if hash := policy.Hash(text); hex.EncodeToString(hash[:]) == w.Earlier {
			return file
		}
	}
	return ""
}

// beside are the files beside an order in which there may be a signed warrant, with what is in
// them. A stranger filled the folder of the evidence: no link in it is followed.
func (s *officerSeat) beside(o order) iter.Seq2[string, string] {
	return func(yield func(file, text string) bool) {
		for _, dir := range []string{s.cases, o.folder} {
			for _, ending := range []string{".jws", ".earlier"} {
				files, _ := exhibit.Files(dir, ending)
				for _, file := range files {
					f, err := exhibit.OpenGiven(file)
					if err != nil {
						continue
					}
					if raw, err := shell.ReadOpen(f); err == nil && !yield(file, strings.TrimSpace(string(raw))) {
						return
					}
				}
			}
		}
	}
}

// globbed is a folder in a pattern that means just it.
func globbed(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// countersigned are the files beside a signed warrant in which other authorities sign it too.
func (s *officerSeat) countersigned(o order, signed string) (files []string) {
	hash := policy.Hash(signed)
	for file, text := range s.beside(o) {
		w, err := policy.ParseUnverified(text)
		if err == nil && w.Kind == policy.Validation && w.Earlier == hex.EncodeToString(hash[:]) {
			files = append(files, file)
		}
	}
	return files
}

// checking is what a check of an order looks at on this machine.
type checking struct {
	file string
	text []byte
	with checkable
	sum  [32]byte // of all of it, by which a verdict is known to be about it
}

// toCheck is what a check of an order would look at now. Of the folder of its evidence the names,
// sizes and times of files count: there can be films in it.
func (s *officerSeat) toCheck(o order) (c checking, err error) {
	earlier := ""
	if c.file, c.text, earlier, err = s.textOf(o); err != nil {
		return c, err
	}
	c.with = checkable{bundle: s.bundle, evidence: []string{o.folder}, exhibits: o.folder, earlier: earlier, online: s.server != "", revocation: s.revocation}
	if o.isSigned() {
		c.with.named = true
		c.with.countersigned = s.countersigned(o, strings.TrimSpace(string(c.text)))
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %q", s.bundle.Hash(), c.text)
	for _, name := range append(append([]string{earlier}, c.with.countersigned...), s.revocation...) {
		content, _ := os.ReadFile(name) // that it cannot be read, the check says
		fmt.Fprintf(sum, " %q %q", name, content)
	}
	files, err := os.ReadDir(o.folder)
	if err != nil {
		return c, asUnreadable(err)
	}
	for _, file := range files {
		if info, err := file.Info(); err == nil {
			fmt.Fprintf(sum, " %q %d %d", file.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	sum.Sum(c.sum[:0])
	return c, nil
}

// judged is what a check found of what has that sum.
type judged struct {
	of      [32]byte
	verdict *desk.Verdict
}

// verdictOf is what the last check of an order found; nil: there was none since it, its evidence or
// what else was checked with it changed, or since the desk was locked.
func (s *officerSeat) verdictOf(o order) *desk.Verdict {
	s.mu.Lock()
	last, ok := s.verdicts[o.id()]
	s.mu.Unlock()
	if !ok {
		return nil
	}
	if now, err := s.toCheck(o); err != nil || now.sum != last.of {
		return nil
	}
	return last.verdict
}

// check is `escrow warrant check` of the draft, or of the signed warrant once there is one.
func (s *officerSeat) check(ctx context.Context, id string) error {
	return s.working(func() error {
		o, err := s.order(id)
		if err != nil {
			return err
		}
		if err := s.renewed(o); err != nil {
			return err
		}
		_, err = s.judge(ctx, o, true)
		return err
	})
}

// judge checks an order, and keeps the verdict for its page. Without ask the registrar is asked
// nothing, and only faults are kept.
func (s *officerSeat) judge(ctx context.Context, o order, ask bool) (*desk.Verdict, error) {
	c, err := s.toCheck(o)
	if err != nil {
		return nil, err
	}
	c.with.online = c.with.online && ask
	v, err := s.program.check(ctx, c.file, c.text, c.with)
	if err != nil {
		return nil, err
	}
	shown := &desk.Verdict{At: s.Now(), Custodians: v.Custodians, NoticeDays: v.NoticeDays, SignedBy: v.SignedBy, Notes: v.Notes, NotChecked: v.NotChecked}
	for _, f := range v.Faults {
		shown.Faults = append(shown.Faults, desk.Fault{Place: f.Place(), Text: f.String(), Step: policy.QuestionOf(policy.Fault{At: f.Field})})
	}
	if w, _ := policy.ReadDraft(c.text); w != nil && !o.isSigned() {
		shown.SignsFor = s.signsFor(w)
	}
	if !ask {
		shown.NotChecked = []string{"what the registrar is asked, and what could not be checked before that: check it again"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open && (ask || len(shown.Faults) > 0) { // else it was locked meanwhile
		s.verdicts[o.id()] = judged{c.sum, shown}
	}
	return shown, nil
}

// signsFor is the name of the authority that the desk signs for, where an order is of another one;
// "": it is of that one, or the desk signs for nobody.
func (s *officerSeat) signsFor(w *policy.Warrant) string {
	if s.whose == "" || w.Authority == s.whose {
		return ""
	}
	if a := s.bundle.Authority(s.whose); a != nil {
		return a.Name + " (" + a.ID + ")"
	}
	return s.whose
}

// signable refuses an order that the check refuses: the one of before, if it was of this very draft,
// or one that asks the registrar nothing, so that an order is signed while that does not answer.
func (s *officerSeat) signable(ctx context.Context, o order, w *policy.Warrant) error {
	if o.other == o.signed() {
		return errOtherFile.Because(errors.New(o.other))
	}
	if whose := s.signsFor(w); whose != "" {
		return errOtherAuthority.Because(errors.New(whose))
	}
	v, err := s.verdictOf(o), error(nil)
	if v == nil {
		v, err = s.judge(ctx, o, false)
	}
	if err != nil || len(v.Faults) == 0 {
		return err
	}
	var all []string
	for _, f := range v.Faults {
		all = append(all, f.Text)
	}
	return errCheckRefuses.Because(errors.New(strings.Join(all, "; ")))
}

// ready is a draft that was completed, to be shown and then signed as it is.
type ready struct {
	draft   string
	at      time.Time
	warrant policy.Warrant
}

// readyFor is how long what was shown is signed as it was shown: the time of issue is in it.
const readyFor = time.Hour

// sign is `escrow warrant sign`.
func (s *officerSeat) sign(ctx context.Context, id string, confirm func(shown string) error) (said string, err error) {
	err = s.working(func() error {
		o, err := s.unsigned(id)
		if err != nil {
			return err
		}
		if err := s.renewed(o); err != nil {
			return err
		}
		_, _, earlierFile, err := s.textOf(o)
		if err != nil {
			return err
		}
		text, w, err := s.readDraft(o.draft())
		if err != nil {
			return err
		}
		if err := s.signable(ctx, o, w); err != nil {
			return err
		}
		earlier, err := s.earlierText(earlierFile, w)
		if err != nil {
			return err
		}
		return s.signing(func(k jose.JSONWebKey) error {
			r := s.preparedAs(id, string(text), *w)
			if err := complete(k, s.bundle, &r.warrant, earlier, text, s.Now()); err != nil {
				s.unprepare(id)
				return err
			}
			words, err := signedWords(s.bundle, &r.warrant)
			if err != nil {
				return err
			}
			if err := confirm(words); err != nil {
				return err
			}
			s.unprepare(id)
			signed, err := signWarrant(k, &r.warrant)
			if err != nil {
				return err
			}
			out := shell.Out{File: o.signed()}
			if err := out.WritePrivate([]byte(signed)); err != nil {
				return err
			}
			said = fmt.Sprintf("signed: %s, file %s, expires %s", o.signed(), document.Printable(r.warrant.FileNumber), r.warrant.Expiry.UTC().Format(time.DateOnly))
			return nil
		})
	})
	return said, err
}

// preparedAs is what was shown of a draft already, unless that is too long ago, or else the draft.
func (s *officerSeat) preparedAs(id, draft string, w policy.Warrant) *ready {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.prepared[id]
	if r == nil || r.draft != draft || s.Now().Sub(r.at) > readyFor {
		r = &ready{draft, s.Now(), w}
		s.prepared[id] = r
	}
	return r
}

func (s *officerSeat) unprepare(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.prepared, id)
}

// earlierText reads the warrant that w follows, and has w name it.
func (s *officerSeat) earlierText(file string, w *policy.Warrant) (string, error) {
	if file == "" {
		return "", nil
	}
	raw, err := s.readFile(file)
	if err != nil {
		return "", err
	}
	before := strings.TrimSpace(string(raw))
	hash := policy.Hash(before)
	w.Earlier = hex.EncodeToString(hash[:])
	return before, nil
}

// signedWords is a warrant as it is shown before it is signed: what it says, and then each word
// of the document.
func signedWords(b *policy.Bundle, w *policy.Warrant) (string, error) {
	text, err := policy.MarshalDraft(*w)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, said := range saysOf(b, w) {
		fmt.Fprintf(&out, "%s: %s\n", said.Name, document.Visible(said.Text))
	}
	if b.WithoutSecrecy(*w) {
		out.WriteString("note: " + noSecrecy(b) + "\n")
	}
	return out.String() + "\nThe document that is signed:\n" + document.Visible(string(text)), nil
}

// take keeps a warrant that somebody else signed, or what another authority signed about one, and
// says in what it differs from the draft. That the authority signed it is checked first.
func (s *officerSeat) take(_ context.Context, id string, content []byte) (said string, err error) {
	err = s.working(func() error {
		o, err := s.order(id)
		if err != nil {
			return err
		}
		signed := strings.TrimSpace(string(document.Decoded(content)))
		w, err := policy.ParseUnverified(signed)
		if err != nil {
			return err
		}
		file, differs := o.signed(), ""
		if w.Kind == policy.Validation {
			a := s.bundle.Authority(w.Authority)
			before, err := shell.ReadFile(o.signed())
			hash := policy.Hash(strings.TrimSpace(string(before)))
			if err != nil || a == nil || hex.EncodeToString(hash[:]) != w.Earlier {
				return errOtherOrder
			}
			file = o.base + "." + a.ID + ".jws"
		} else {
			if err := s.sameEvidence(o, w); err != nil {
				return err
			}
			if differs, err = differsFrom(o, w); err != nil {
				return err
			}
			if o.other == file {
				return errOtherFile.Because(errors.New(file))
			}
		}
		if _, err := s.bundle.VerifyWarrant(signed); err != nil {
			return err
		}
		out := shell.Out{File: file}
		if err := out.WritePrivate([]byte(signed)); err != nil {
			return err
		}
		said = "kept: " + file + differs
		return nil
	})
	return said, err
}

// differsFrom says in what a signed warrant says something else than the draft that was made here;
// "": in nothing but what is filled in when it is signed, or there is no draft.
func differsFrom(o order, signed *policy.Warrant) (string, error) {
	text, err := readRegular(o.draft())
	if err != nil {
		return "", nil //nolint:nilerr // it was not made here
	}
	draft, _ := policy.ReadDraft(text)
	if draft == nil {
		return "", nil
	}
	var of [2]map[string]any
	for i, w := range []*policy.Warrant{draft, signed} {
		text, err := policy.MarshalDraft(*w)
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(text, &of[i]); err != nil {
			return "", err
		}
		spare(of[i])
	}
	for _, filled := range []string{"id", "issued_at", "expiry", "bundle"} {
		if of[0][filled] == nil {
			delete(of[1], filled)
		}
	}
	members := maps.Clone(of[0])
	maps.Copy(members, of[1])
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if a, b := of[0][name], of[1][name]; !reflect.DeepEqual(a, b) {
			was, err := json.Marshal(a)
			is, jerr := json.Marshal(b)
			if err = errors.Join(err, jerr); err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "\n%s\n  draft:  %s\n  signed: %s", name, was, is)
		}
	}
	if out.Len() == 0 {
		return "", nil
	}
	return document.Visible("\nWhat was signed is not what the draft says. Read it, and put it away if it is not meant:" + out.String()), nil
}

// spare takes the empty lists out of a JSON object, and of all within it: they say what none says.
func spare(of map[string]any) {
	maps.DeleteFunc(of, func(_ string, member any) bool {
		switch m := member.(type) {
		case map[string]any:
			spare(m)
		case []any:
			for _, one := range m {
				if within, ok := one.(map[string]any); ok {
					spare(within)
				}
			}
			return len(m) == 0
		}
		return false
	})
}

// putBack puts aside what somebody else signed, while it is not filed: it is not this order.
func (s *officerSeat) putBack(id string) (said string, err error) {
	err = s.working(func() error {
		o, err := s.order(id)
		switch {
		case err != nil:
			return err
		case is(o.filed()):
			return errIsFiled
		case !o.isSigned():
			return errNotSigned
		}
		aside, err := putAside(o.signed())
		said = "It is not filed from here. It is signed, and whoever has the file can file it still: " + aside
		return err
	})
	return said, err
}

// errOtherOrder is of a file that belongs to another order.
var errOtherOrder = refusal.New(refusal.Conflict, "desk.other_order",
	"the file is about another order: nothing was kept; choose the one that was signed for this one")

// sameEvidence reports whether a warrant is about evidence of an order, and all that it names is
// in its folder.
func (s *officerSeat) sameEvidence(o order, w *policy.Warrant) error {
	if !signedAbout(w, s.digestsOf(o.folder)) {
		return errOtherOrder
	}
	return nil
}

// file is `escrow warrant file`.
func (s *officerSeat) file(ctx context.Context, id string) (said string, err error) {
	err = s.working(func() error {
		o, err := s.order(id)
		switch {
		case err != nil:
			return err
		case !o.isSigned():
			return errNotSigned
		}
		signed, err := shell.ReadFile(o.signed())
		if err != nil {
			return err
		}
		sub, err := s.submission(o.signed(), []string{o.folder}, s.countersigned(o, strings.TrimSpace(string(signed))), s.revocation)
		if err != nil {
			return err
		}
		w, err := policy.ParseUnverified(sub.Warrant)
		if err != nil {
			return err
		}
		wanted := wantedBy(w)
		if sub.Evidence = takeWanted(sub.Evidence, wanted); len(wanted) > 0 { // more may have come into the folder since, or less be left
			return errNoEvidenceHere
		}
		st, withheld, err := s.fileWarrant(ctx, sub, o.folder)
		if st.Case != "" {
			kept, jerr := json.Marshal(st)
			if err = errors.Join(err, jerr); jerr == nil {
				err = errors.Join(err, shell.WritePrivate(o.filed(), append(kept, '\n')))
			}
		}
		if err != nil && st.Case != "" {
			return errPartly{err, st.Case}
		}
		said = s.filed(sub, st, o.signed(), o.folder, withheld)
		return err
	})
	return said, err
}

// errPartly is why not all of a filed case reached the registrar.
type errPartly struct {
	error
	id string
}

func (e errPartly) Unwrap() error { return e.error }

// posts are some pieces of evidence, as `escrow evidence show` shows them.
func (s *officerSeat) posts(id string, from, most int) (page desk.Posts, err error) {
	o, err := s.order(id)
	if err != nil {
		return page, err
	}
	pieces, err := s.program.evidence([]string{o.folder})
	if err != nil {
		return page, err
	}
	page.All = len(pieces)
	var about []*token.Evidence
	var declared []token.Exhibit
	for n := from; n < len(pieces) && n < from+most; n++ {
		e, err := token.ParseUnverifiedEvidence(pieces[n])
		if err != nil {
			return page, inOneLine(pieces[n], err)
		}
		about, declared = append(about, e), append(declared, e.Post.Exhibits...)
	}
	have, err := exhibit.Among(o.folder, declared)
	if err != nil {
		return page, asUnreadable(err)
	}
	for i, e := range about {
		n := from + i
		x := shown(o.folder, n+1, pieces[n], e)
		post := desk.Post{Number: n + 1, SHA256: x.SHA256, Platform: x.Platform, PenName: x.PenName, URL: x.URL, At: e.Post.At, Proof: x.Proof, Suggests: x.Suggests}
		for _, declared := range e.Post.Exhibits {
			shown := desk.Exhibit{Type: declared.Type, SHA256: declared.Name(), Length: declared.Length}
			content, err := contentIn(have, declared)
			if err != nil {
				shown.Missing = shell.ProblemOf(err).Title
			} else if declared.Type == "text/plain" {
				shown.Text = string(content)
			}
			post.Exhibits = append(post.Exhibits, shown)
		}
		page.Posts = append(page.Posts, post)
	}
	return page, nil
}

// contentIn reads what was published from the files of a folder that [exhibit.Among] found. What is
// larger than a picture that is drawn is compared and not read.
func contentIn(have map[[32]byte]string, x token.Exhibit) ([]byte, error) {
	name, ok := have[x.Digest]
	if !ok {
		return nil, exhibit.ErrNotInFolder
	}
	if x.Length > desk.MaxPicture {
		if err := exhibit.IsIn(name, x); err != nil {
			return nil, asUnreadable(err)
		}
		return nil, nil
	}
	f, err := exhibit.OpenGiven(name)
	if err != nil {
		return nil, asUnreadable(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, x.Length+1))
	if err != nil {
		return nil, asUnreadable(err)
	}
	return content, x.Check(content)
}

// exhibit reads a piece of what was published, by its SHA-256.
func (s *officerSeat) exhibit(id, digest string) (x desk.Exhibit, content []byte, err error) {
	o, err := s.order(id)
	if err != nil {
		return x, nil, err
	}
	pieces, err := s.program.evidence([]string{o.folder})
	if err != nil {
		return x, nil, err
	}
	for _, raw := range pieces {
		e, err := token.ParseUnverifiedEvidence(raw)
		if err != nil {
			continue
		}
		for _, declared := range e.Post.Exhibits {
			if declared.Name() == digest {
				have, err := exhibit.Among(o.folder, []token.Exhibit{declared})
				if err != nil {
					return x, nil, asUnreadable(err)
				}
				content, err := contentIn(have, declared)
				return desk.Exhibit{Type: declared.Type, SHA256: digest, Length: declared.Length}, content, err
			}
		}
	}
	return x, nil, desk.ErrNoOrder
}

// asUnreadable is a refusal as it is, and any other failure to read one of that.
func asUnreadable(err error) error {
	if refusal.Of(err) != nil {
		return err
	}
	return secretfile.ErrUnreadable.Because(err)
}
