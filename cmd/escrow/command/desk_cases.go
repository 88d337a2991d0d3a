package command

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errNotHere = refusal.New(refusal.NotFound, "desk.not_here",
		"the signed order that this is about is not in the folder of this desk: nothing was signed or sent; put its file there, or name its folder with --cases")
	errNoJWS = refusal.New(refusal.Invalid, "desk.no_jws",
		"the file has the name of a signed one and holds nothing that was signed: it counts for nothing here; if an order was in it, take that from a copy")
	errSavedNotFiled = refusal.New(refusal.Unavailable, "desk.saved_not_filed",
		"it is signed and saved in the file that the cause names, and was not filed: file it on the page of the case, which files that very file; it stays there until it is filed or the file is removed")
	errRefusedSigned = refusal.New(refusal.Conflict, "desk.signed_refused",
		"it is signed and saved in the file that the cause names, and the registrar refused it, for the reason that stands there: nothing was filed, and nothing stops or changes by it; throw it away on the page of the case, or keep it")
	errFiledUnknown = refusal.New(refusal.Unavailable, "desk.filed_unknown",
		"it is signed and saved in the file that the cause names, and whether the registrar has it is not known: file it again on the page of the case, which files that very file and changes nothing if the registrar has it; keep the file until then")
	errWaits = refusal.New(refusal.Conflict, "desk.signed_already",
		"the same was signed for this case already and is not filed, in the file that the cause names: nothing was signed now; file it on the page of the case, or remove that file to sign another")
	errOtherCase = refusal.New(refusal.Conflict, "desk.other_case",
		"the signed order that this is about is not the one that was filed as this case: nothing was signed or sent; choose the order of this case, or open the case of that order")
	errOtherObjector = refusal.New(refusal.Invalid, "desk.other_objector",
		"the objection would be upheld for others than who made it, whose pen name would stay open: nothing was signed or sent; choose that pen name too, which the cause names, or all of them")
	errNoneWaits = refusal.New(refusal.NotFound, "desk.none_waits",
		"nothing signed waits to be filed as this: nothing was sent; it was filed meanwhile, or its file was removed")
)

// caseDesk is what a desk knows of cases between two presses. It forgets all of it when it is
// locked.
type caseDesk struct {
	mu     sync.Mutex
	listed map[string]registrar.CaseStatus // by case, as the list had it last
	ready  map[string]*readyStep           // what was shown, and waits to be agreed to, by what was typed
	opened map[string]*desk.Opened         // by case
	known  map[string]string               // folders of openings that were named, by ref; these are kept
	of     map[string]string               // cases of the folders that were opened here, by ref; these too
	files  map[string]fileSeen             // of the folders of warrants, by name
	pages  map[string][32]byte             // digests of the certificates that were checked, by ref
}

// readyStep is a warrant about another one that is complete, and shown.
type readyStep struct {
	warrant *policy.Warrant
	signed  string // once it was
	file    string
}

// forget drops all that was read and opened.
func (c *caseDesk) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed, c.ready, c.opened, c.files, c.pages = nil, nil, nil, nil, nil
}

// officerCases is what the desk does with cases that were filed.
func (s *officerSeat) officerCases() desk.Cases {
	return desk.Cases{Signs: s.by.given(), Opens: s.requester != "", List: s.ownCases, Read: s.readCase, Signed: s.signedOrders, Follow: s.followUp,
		Unfiled: s.unfiled, File: s.fileUnfiled, Drop: s.dropUnfiled}
}

// quiet is the program without a terminal: a desk says on its pages what there is to say.
func (s *officerSeat) quiet() *program {
	p := *s.program
	p.Stdout, p.Stderr, p.Terminal = io.Discard, io.Discard, false
	return &p
}

// unlocked is [desk.ErrLocked] while the desk is locked.
func (s *officerSeat) unlocked() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return desk.ErrLocked
	}
	return nil
}

// fileSeen is a file as it was read once.
type fileSeen struct {
	size   int64
	at     time.Time    // when it was written
	signed *desk.Signed // nil: it is no signed warrant
}

// filedHere are all signed warrants in the folder of cases, by their hashes. Of a folder with
// evidence none is read: strangers gave what is in it. A file is read again when it has changed:
// there can be thousands. unread is why some of them could not be read.
func (s *officerSeat) filedHere() (all map[string]desk.Signed, unread []error) {
	files, _ := filepath.Glob(filepath.Join(globbed(cmp.Or(s.cases, ".")), "*.jws"))
	all = make(map[string]desk.Signed)
	seen := make(map[string]fileSeen)
	s.atCases.mu.Lock()
	before := s.atCases.files
	s.atCases.mu.Unlock()
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		f, known := before[file]
		if !known || f.size != info.Size() || !f.at.Equal(info.ModTime()) {
			f = fileSeen{size: info.Size(), at: info.ModTime()}
			hash, w, err := readSigned(file)
			if err != nil {
				unread = append(unread, err)
				continue
			}
			if w != nil {
				o := s.orderFrom(hash, file, w)
				f.signed = &o
			} else if raw, err := readRegular(file); err == nil {
				if _, err := piecesOf(file, raw); err != nil {
					unread = append(unread, errNoJWS.Because(errors.New(file)))
					continue
				}
			}
		}
		if seen[file] = f; f.signed != nil {
			all[f.signed.Hash] = *f.signed
		}
	}
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	s.atCases.files = seen
	return all, unread
}

// ownCases is `escrow warrant list`.
func (s *officerSeat) ownCases(ctx context.Context, from string) (out desk.OwnCases, err error) {
	filed, unread := s.filedHere()
	out.Unread = unread
	lists, err := s.revocationLists(s.revocation)
	if err != nil {
		return out, err
	}
	var page ownCases
	var now []registrar.CaseStatus // of those that were released: the list does not say what is barred
	err = s.signing(func(k jose.JSONWebKey) error {
		r, err := s.registrar()
		if err != nil {
			return err
		}
		authority, err := authorityOf(ctx, r, k)
		if err != nil {
			return err
		}
		if page, err = ownCasesOf(ctx, r, k, authority, from, lists, nil); err != nil {
			return err
		}
		now = make([]registrar.CaseStatus, len(page.Cases))
		for i, c := range page.Cases {
			if c.State != "released" && c.State != "noticed" {
				continue
			}
			now[i], _ = r.Status(ctx, c.Case) // whether it may be used; where that is not known the opening asks
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	if s.atCases.listed == nil {
		s.atCases.listed = make(map[string]registrar.CaseStatus)
	}
	for i, c := range page.Cases {
		s.atCases.listed[c.Case] = c.CaseStatus
		own := desk.OwnCase{CaseStatus: c.CaseStatus}
		own.Barred, own.Deleted = now[i].Barred, now[i].Deleted
		if o, ok := filed[c.Warrant]; ok {
			own.Order = &o
		}
		s.nextSteps(&own)
		out.Cases = append(out.Cases, own)
	}
	out.Next = page.Next
	return out, nil
}

// stepKinds are the kinds of the warrants that steps sign.
var stepKinds = map[string]string{
	desk.StepValidate: policy.Validation, desk.StepAnswer: policy.Ruling, desk.StepRule: policy.Ruling, desk.StepWithdraw: policy.Withdrawal, desk.StepAnnul: policy.Annulment,
	desk.StepExtend: policy.Extension, desk.StepSecrecy: policy.SecrecyChange, desk.StepRedeliver: policy.Redelivery,
}

// signedOrders are the signed warrants that are here and that a step of a case can be about, as far
// as that is known, the newest first.
func (s *officerSeat) signedOrders(step string, c *desk.OwnCase) (all []desk.Signed, unread []error) {
	here, unread := s.filedHere()
	filed, about := s.filedCases(), policy.KindOf(stepKinds[step]).Earliers
	for _, o := range here {
		if slices.Contains(about, o.Kind) && (c == nil || !isOther(filed, c.CaseStatus, o)) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b desk.Signed) int { return cmp.Or(b.Issued.Compare(a.Issued), cmp.Compare(a.File, b.File)) })
	return all, unread
}

func (s *officerSeat) orderFrom(hash, file string, w *policy.Warrant) desk.Signed {
	o := desk.Signed{Hash: hash, Kind: w.Kind, Authority: w.Authority, FileNumber: w.FileNumber, File: file, Issued: w.IssuedAt, Expires: w.Expiry}
	if a := s.bundle.Authority(w.Authority); a != nil {
		o.Authority = a.Name
	}
	o.Targets = namesOf(w)
	return o
}

// namesOf are the pen names of a warrant, PENNAME@PLATFORM.
func namesOf(w *policy.Warrant) (all []string) {
	for _, t := range w.Targets {
		all = append(all, string(t.Pseudonym)+"@"+t.Platform)
	}
	return all
}

// filedCases are the hashes of the warrants that were filed as cases, as far as that is known here:
// by the list of the authority, or since an order of this desk was filed.
func (s *officerSeat) filedCases() map[string]string {
	filed := make(map[string]string)
	files, _ := filepath.Glob(filepath.Join(globbed(cmp.Or(s.cases, ".")), "*.case"))
	for _, file := range files {
		var st registrar.CaseStatus
		if raw, err := readRegular(file); err == nil && json.Unmarshal(raw, &st) == nil && st.Warrant != "" {
			filed[st.Case] = st.Warrant
		}
	}
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	for id, st := range s.atCases.listed {
		if st.Warrant != "" {
			filed[id] = st.Warrant
		}
	}
	return filed
}

// isOther reports whether it is known that a case was not filed with an order: it was with another,
// the order was as another case, or the registrar says of the case what does not fit the order.
func isOther(filed map[string]string, st registrar.CaseStatus, o desk.Signed) bool {
	if hash := filed[st.Case]; hash != "" {
		return hash != o.Hash
	}
	for _, hash := range filed {
		if hash == o.Hash {
			return true
		}
	}
	n := len(st.Targets)
	return n > 0 && n != len(o.Targets) || slices.ContainsFunc(st.Deadlines, func(d opening.Deadline) bool {
		return d.What == opening.DeadlineExpiry && !d.At.Equal(o.Expires)
	})
}

// fits refuses an order that a case was not filed with. What cannot be asked now is left to the
// registrar, which says of what is filed which case it is about.
func (s *officerSeat) fits(ctx context.Context, id string, o desk.Signed) (st registrar.CaseStatus, err error) {
	st.Case = id
	if r, err := s.registrar(); err == nil {
		var said *registrar.Problem
		switch now, err := r.Status(ctx, id); {
		case err == nil:
			st = now
		case errors.As(err, &said) && said.Status == http.StatusNotFound:
			return st, err
		}
	}
	if isOther(s.filedCases(), st, o) {
		return st, errOtherCase.Because(errors.New(o.File))
	}
	return st, nil
}

// reached are the pen names of an order that a step which ends it would still reach: not those that
// are refused, declined or withdrawn. All of them, if where the case stands is not known.
func reached(kind string, st registrar.CaseStatus, o desk.Signed) (penNames []string) {
	for i, name := range o.Targets {
		if len(st.Targets) == len(o.Targets) {
			switch st.Targets[i].State {
			case "refused", "declined", "withdrawn", "stopped", "lapsed", "expired":
				continue
			case "released":
				if kind == policy.Withdrawal || st.Targets[i].Code != "" {
					continue
				}
			}
		}
		penNames = append(penNames, name)
	}
	return penNames
}

// signedOrder is a signed warrant by its hash, with its text.
func (s *officerSeat) signedOrder(hash string) (o desk.Signed, signed string, err error) {
	filed, unread := s.filedHere()
	o, ok := filed[hash]
	if !ok {
		return o, "", errNotHere.Because(errors.Join(unread...))
	}
	raw, err := shell.ReadFile(o.File)
	if err != nil {
		return o, "", err
	}
	signed = strings.TrimSpace(string(raw))
	if sum := policy.Hash(signed); hex.EncodeToString(sum[:]) != hash { // it has changed since
		return o, "", errNotHere
	}
	return o, signed, nil
}

// readCase is `escrow warrant status`, with what custodians say and persons object. What of it
// cannot be read is said, and the rest is shown.
func (s *officerSeat) readCase(ctx context.Context, id string) (*desk.OwnCase, error) {
	if err := s.unlocked(); err != nil {
		return nil, err
	}
	r, err := s.registrar()
	if err != nil {
		return nil, err
	}
	st, err := r.Status(ctx, id)
	if err != nil {
		return nil, err
	}
	c := &desk.OwnCase{CaseStatus: st}
	if st.Deleted != nil {
		s.gone(id)
		c.Kept = s.keptOf(id)
	}
	unread := func(err error) {
		if err != nil {
			c.Unread = append(c.Unread, err)
		}
	}
	all, err := withExhibits(ctx, r, st)
	unread(err)
	if all.Exhibits != nil {
		c.Exhibits = all.Exhibits.String()
	}
	if s.by.given() {
		lists, err := s.revocationLists(s.revocation)
		if err == nil {
			err = s.signing(func(k jose.JSONWebKey) error {
				c.Said, err = s.saidTo(ctx, id, k, lists)
				return err
			})
		}
		unread(err)
	}
	unread(s.readObjections(ctx, r, c))
	listed, err := s.listedAs(ctx, id)
	unread(err)
	if c.Kind, c.Authority, c.Warrant, c.Next = listed.Kind, listed.Authority, listed.Warrant, nextOf(st); c.Warrant != "" {
		if o, _, err := s.signedOrder(c.Warrant); err == nil {
			c.Order, c.Kind = &o, o.Kind
		}
	}
	s.nextSteps(c)
	return c, nil
}

// nextOf is the first date of a case that is not met.
func nextOf(st registrar.CaseStatus) *opening.Deadline {
	for _, d := range st.Deadlines {
		if !d.Met {
			return &d
		}
	}
	return nil
}

// readObjections adds to a case what was objected, read with the requester's key if it is here.
func (s *officerSeat) readObjections(ctx context.Context, r *registrar.Client, c *desk.OwnCase) error {
	identity := ""
	if s.requester != "" {
		private, err := requester.ReadKey(s.requester)
		if err != nil {
			return err
		}
		if identity, err = private.Reveal(); err != nil {
			return err
		}
	}
	all, err := objections(ctx, r, c.Case, identity)
	for _, o := range all {
		c.Objections = append(c.Objections, s.atDesk(o))
	}
	return err
}

// atDesk is an objection as a desk shows it.
func (s *officerSeat) atDesk(o objection) desk.Objection {
	by, became := "the person", o.Outcome
	if o.Lawyer {
		by = "a lawyer"
	}
	switch {
	case became != "":
	case o.Suspends:
		became = "no court has ruled on it yet, and nothing goes on before"
	default:
		became = "no court has ruled on it yet"
	}
	text := custodian.Quoted(document.Visible(o.Text))
	switch {
	case text != "":
	case strings.Contains(o.unread, "--key"):
		text = "its words are not read here: they are sealed, for the requester's key, which this desk does not have, and for custodians\n"
	default:
		text = o.unread + "\n"
	}
	head := document.Printable(fmt.Sprintf("The objection of %s, pen name %d of the order, on %s", by, o.Target+1, o.Day))
	return desk.Objection{Digest: o.Digest, Target: o.Target, Words: head + ": " + became + "\n" + text, Says: head + ":\n" + text, Ruled: o.Outcome != ""}
}

// listedAs is what the list of the authority says of a case: of which kind it is, and which
// warrant was filed. The zero value: nobody here may know, or it is on no page of the list that
// was read.
func (s *officerSeat) listedAs(ctx context.Context, id string) (registrar.CaseStatus, error) {
	listed := func() (registrar.CaseStatus, bool) {
		s.atCases.mu.Lock()
		defer s.atCases.mu.Unlock()
		return s.atCases.listed[id], s.atCases.listed != nil
	}
	st, read := listed()
	var err error
	if !read && s.by.given() {
		_, err = s.ownCases(ctx, "")
		st, _ = listed()
	}
	if st.Case == "" {
		st = registrar.CaseStatus{Case: id, Warrant: s.filedCases()[id]}
	}
	return st, err
}

// nextSteps are what can be done about a case: what waits for the officer, the most urgent first, and
// the rest. Whether the rules allow it, they say when it is signed.
func (s *officerSeat) nextSteps(c *desk.OwnCase) {
	waits := strings.Split(c.Waits, ", ")
	is := func(kinds ...string) bool { return c.Kind == "" || slices.Contains(kinds, c.Kind) }
	released := c.State == "released" || c.State == "noticed"
	signs, over := s.by.given(), c.Over()
	a := s.bundle.Authority(s.whose)
	above := a != nil && c.Authority != s.whose && len(a.Over) > 0 && (c.Authority == "" || slices.Contains(a.Over, c.Authority))
	unvalidated := slices.Contains(waits, registrar.WaitsValidation) ||
		slices.ContainsFunc(c.Deadlines, func(d opening.Deadline) bool { return !d.Met && d.What == opening.DeadlineValidation })
	others := s.validators(c.Authority)
	if unvalidated && !over && len(others) > 0 {
		c.Hints = append(c.Hints, desk.Say("It has to be validated, or it lapses, and not by you: give its signed order to %s, and ask them to validate it.", strings.Join(others, " / ")))
	}
	asked := slices.Contains(waits, registrar.WaitsQuestion)
	for _, said := range c.Said {
		asked = asked || said.Kind == opening.Question && said.Answer == ""
	}
	objected := slices.Contains(waits, registrar.WaitsObjection) || slices.ContainsFunc(c.Objections, func(o desk.Objection) bool { return !o.Ruled })
	for _, step := range []struct {
		kind      string
		now, able bool
	}{
		{desk.StepDeleted, c.Barred != nil, c.Deleted == nil && released && s.requester != ""},
		{desk.StepValidate, true, signs && unvalidated && !over && len(others) == 0},
		{desk.StepRule, true, signs && objected},
		{desk.StepAnswer, true, signs && asked && !over},
		{desk.StepOpen, c.State == "released", released && c.Barred == nil && c.Deleted == nil && s.requester != ""},
		{desk.StepWithdraw, false, signs && !over && (s.whose == "" || c.Authority == "" || c.Authority == s.whose) && (c.State == "recorded" || c.State == "authorised")},
		{desk.StepAnnul, false, signs && above && (!over || released) && c.Barred == nil && c.Deleted == nil},
		{desk.StepExtend, false, signs && !over && is(policy.Preservation, policy.Extension) && c.Quorum == 0},
		{desk.StepSecrecy, false, signs && !over && c.State != "noticed"},
		{desk.StepRedeliver, false, signs && !over && is(policy.Production) && c.Quorum > 0 && c.Barred == nil && c.Deleted == nil},
	} {
		switch {
		case step.able && step.now:
			c.Now = append(c.Now, step.kind)
		case step.able:
			c.Later = append(c.Later, step.kind)
		}
	}
}

// validators are who has to validate the emergencies of an authority whose own are listed here,
// where that is somebody else.
func (s *officerSeat) validators(authority string) (names []string) {
	a := s.bundle.Authority(authority)
	if a == nil || slices.Contains(a.ValidatedBy, authority) {
		return nil
	}
	for _, id := range a.ValidatedBy {
		if by := s.bundle.Authority(id); by != nil {
			names = append(names, by.Name)
		}
	}
	return names
}

// followUp is `escrow warrant withdraw` and its like, and then `escrow warrant file`; and
// `escrow warrant deleted`.
func (s *officerSeat) followUp(ctx context.Context, step desk.FollowUp, confirm func(shown string) error) (said string, err error) {
	if step.Kind == desk.StepDeleted {
		return s.sayDeleted(ctx, step, confirm)
	}
	o, earlier, err := s.signedOrder(step.Order)
	if err != nil {
		return "", err
	}
	st, err := s.fits(ctx, step.Case, o)
	if err != nil {
		return "", err
	}
	var ready *readyStep
	on, err := s.ruledAbout(ctx, step, o)
	if err != nil {
		return "", err
	}
	about := signing{o, earlier, on, reached(stepKinds[step.Kind], st, o)}
	err = s.working(func() error {
		return s.signing(func(k jose.JSONWebKey) (err error) {
			ready, err = s.signedStep(ctx, k, step, about, confirm)
			return err
		})
	})
	if err != nil {
		return "", err
	}
	return s.fileStep(ctx, step.Case, ready, about)
}

// signing is what a step is about.
type signing struct {
	order   desk.Signed
	earlier string   // its text
	on      string   // what is answered or ruled on, word for word; "": nothing
	reached []string // pen names that it can still end for
}

// signedStep is what is signed for a step, and saved: now, or by a press before.
func (s *officerSeat) signedStep(ctx context.Context, k jose.JSONWebKey, step desk.FollowUp, about signing, confirm func(shown string) error) (*readyStep, error) {
	ready, err := s.readied(k, step, about.earlier)
	if err != nil {
		return nil, err
	}
	for _, u := range s.unfiled() {
		if u.Case == step.Case && u.Kind == step.Kind && u.Digest == step.Digest && u.File != ready.file {
			return nil, errWaits.Because(errors.New(u.File))
		}
	}
	words, err := s.wordsOfStep(step.Case, ready.warrant, about)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(confirm(words), ctx.Err()); err != nil {
		return nil, err
	}
	if ready.signed == "" {
		if ready.signed, err = signWarrant(k, ready.warrant); err != nil {
			return nil, err
		}
	}
	return ready, s.save(ready, step, about.order)
}

// readied is the complete warrant of a step. It is the same one until the desk is locked, so that
// what is signed is what was shown.
func (s *officerSeat) readied(k jose.JSONWebKey, step desk.FollowUp, earlier string) (*readyStep, error) {
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	typed := keyOf(step)
	if ready := s.atCases.ready[typed]; ready != nil && (ready.signed != "" || s.Now().Sub(ready.warrant.IssuedAt) < readyFor) {
		return ready, nil
	}
	w, err := s.draftOf(k, step, earlier)
	if err != nil {
		return nil, err
	}
	if err := complete(k, s.bundle, w, earlier, nil, s.Now()); err != nil {
		return nil, err
	}
	if s.atCases.ready == nil {
		s.atCases.ready = make(map[string]*readyStep)
	}
	s.atCases.ready[typed] = &readyStep{warrant: w}
	return s.atCases.ready[typed], nil
}

// keyOf tells what was typed for one step from what was typed for another.
func keyOf(step desk.FollowUp) string {
	b, _ := json.Marshal(step) // of texts and numbers
	sum := sha256.Sum256(b)
	return string(sum[:])
}

// draftOf drafts what a step signs, as its command does.
func (s *officerSeat) draftOf(k jose.JSONWebKey, step desk.FollowUp, earlier string) (*policy.Warrant, error) {
	f := followUp{grounds: step.Text, targets: step.Targets, other: slices.Contains([]string{desk.StepValidate, desk.StepAnswer, desk.StepRule, desk.StepAnnul}, step.Kind)}
	var more func(w *policy.Warrant)
	var err error
	switch step.Kind {
	case desk.StepRedeliver:
		if document.CheckDeliveryKey(step.Key) != nil { // the command also takes the name of a file, which may be a pipe
			return nil, policy.ErrDeliveryKey
		}
		return redeliveryOf(earlier, step.Key, step.Name, step.Text)
	case desk.StepExtend:
		more = longer(step.Days)
	case desk.StepSecrecy:
		if more, err = f.secrecy(step.Until, step.Until == "", s.Now()); err != nil {
			return nil, err
		}
	case desk.StepAnswer:
		more = ruledOn(step.Digest, policy.Answered)
	case desk.StepRule:
		more = ruledOn(step.Digest, policy.Dismissed)
		if step.Upheld {
			more = ruledOn(step.Digest, policy.Upheld)
		}
	}
	return f.draftOf(k, s.bundle, stepKinds[step.Kind], earlier, more)
}

// errNotRead is of a question or an objection that is ruled on without having been read.
var errNotRead = refusal.New(refusal.NotFound, "desk.ruled_unread",
	"the question or the objection that this is about could not be read now, so the page that asks cannot show it: nothing was signed; open the case again, and choose one that stands there")

// ruledAbout is what a step about an order answers or rules on, word for word; "": it does neither.
func (s *officerSeat) ruledAbout(ctx context.Context, step desk.FollowUp, about desk.Signed) (string, error) {
	if step.Kind != desk.StepAnswer && step.Kind != desk.StepRule {
		return "", nil
	}
	c, err := s.readCase(ctx, step.Case)
	if err != nil {
		return "", err
	}
	if step.Kind == desk.StepAnswer {
		for _, said := range c.Said {
			if said.Kind == opening.Question && said.Digest == step.Digest {
				return fmt.Sprintf("The question of %s:\n%s", said.By, custodian.Quoted(document.Visible(said.Text))), nil
			}
		}
	}
	for _, o := range c.Objections {
		if step.Kind == desk.StepRule && o.Digest == step.Digest {
			return o.Says, upheldFor(o, step, about)
		}
	}
	if len(c.Unread) > 0 {
		return "", errNotRead.Because(c.Unread[0])
	}
	return "", errNotRead
}

// upheldFor refuses to uphold an objection for others than who made it.
func upheldFor(o desk.Objection, step desk.FollowUp, about desk.Signed) error {
	if !step.Upheld || len(step.Targets) == 0 || o.Target >= len(about.Targets) || slices.Contains(step.Targets, about.Targets[o.Target]) {
		return nil
	}
	return errOtherObjector.Because(errors.New(about.Targets[o.Target]))
}

// wordsOfStep are what a person reads of a warrant before it is signed: which case and order it is
// about, what it answers or rules on, for which pen names something ends, what it says, and every
// word of it.
func (s *officerSeat) wordsOfStep(id string, w *policy.Warrant, of signing) (string, error) {
	about := of.order
	words, err := signedWords(s.bundle, w)
	if w.Ruling != nil {
		words = fmt.Sprintf("%s\nRuling: %s, on %s\n", of.on, w.Ruling.Outcome, w.Ruling.Digest) + words
	}
	ends := endsBy(w)
	whom := ""
	switch n := len(about.Targets); {
	case ends && len(w.Targets) > 0:
		whom = fmt.Sprintf("\nAbout: %d of %d pen names, which are named below.", len(w.Targets), n)
	case ends && n == 1:
		whom = "\nAbout: the only pen name, " + about.Targets[0] + "."
	case ends && len(of.reached) < n:
		whom = fmt.Sprintf("\nAbout: all pen names that it still reaches, %d of %d: %s.", len(of.reached), n, cmp.Or(strings.Join(of.reached, ", "), "none"))
	case ends:
		whom = fmt.Sprintf("\nAbout: all %d pen names.", n)
	}
	return document.Printable(fmt.Sprintf("This %s will be signed and filed. It is about the case %s: the %s %s of %s, issued on %s, %s.%s\n\n%s",
		w.Kind, id, about.Kind, document.Visible(about.FileNumber), about.Authority, about.Issued.UTC().Format(time.DateOnly), about.File, whom, words)), err
}

// endsBy reports whether something ends by a warrant for pen names.
func endsBy(w *policy.Warrant) bool {
	return w.Kind == policy.Withdrawal || w.Kind == policy.Annulment || w.Ruling != nil && w.Ruling.Outcome == policy.Upheld
}

// toFile is what a file beside one that was signed for a step says until that is filed, JSON.
type toFile struct {
	Case   string `json:"case"`
	Kind   string `json:"kind"` // of the [desk.FollowUp]
	Order  string `json:"order"`
	Digest string `json:"digest,omitempty"`
	Signed string `json:"signed"` // SHA-256 of what was signed, hex

	Filed string `json:"filed,omitempty"` // the case that it is, once it is filed and not all of what was published is

	Refused string `json:"refused,omitempty"` // why the registrar refused it; "": it did not
}

// markOf is the name of that file, beside a signed one.
func markOf(file string) string { return strings.TrimSuffix(file, ".jws") + ".waits" }

// save keeps a signed warrant beside the one that it is about, and that it is to be filed.
func (s *officerSeat) save(ready *readyStep, step desk.FollowUp, about desk.Signed) error {
	if ready.file != "" {
		return nil
	}
	used, err := usedBases(filepath.Dir(about.File))
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(about.File, ".jws") + "-" + ready.warrant.Kind
	free := base
	for n := 2; used[filepath.Base(free)]; n++ {
		free = fmt.Sprintf("%s-%d", base, n)
	}
	hash := policy.Hash(ready.signed)
	mark, err := json.Marshal(toFile{Case: step.Case, Kind: step.Kind, Order: step.Order, Digest: step.Digest, Signed: hex.EncodeToString(hash[:])})
	if err != nil {
		return err
	}
	out := shell.Out{File: free + ".jws"}
	if err := shell.WritePrivate(markOf(out.File), append(mark, '\n')); err != nil {
		return err
	}
	if err := out.WritePrivate([]byte(ready.signed)); err != nil {
		return err
	}
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	ready.file = out.File // fileStep reads that of all that is ready
	return nil
}

// unfiled are the files that were signed for steps and are not filed, as the files in the folder
// of cases say: a desk that ended has them, too.
func (s *officerSeat) unfiled() (all []desk.Unfiled) {
	marks, _ := exhibit.Files(cmp.Or(s.cases, "."), ".waits")
	for _, mark := range marks {
		raw, err := readRegular(mark)
		file := strings.TrimSuffix(mark, ".waits") + ".jws"
		var w toFile
		if err != nil || json.Unmarshal(raw, &w) != nil || !is(file) {
			continue
		}
		hash, signed, err := readSigned(file)
		if err != nil || signed == nil || hash != w.Signed {
			continue
		}
		all = append(all, desk.Unfiled{Case: w.Case, Kind: w.Kind, Digest: w.Digest, Order: w.Order, Hash: hash, File: file, Filed: w.Filed, Refused: w.Refused, Says: saysOf(s.bundle, signed)})
	}
	return all
}

// waiting is what was signed for a step of a case before, and waits to be filed.
func (s *officerSeat) waiting(id, hash string) (u desk.Unfiled, err error) {
	if err := s.unlocked(); err != nil {
		return u, err
	}
	all := s.unfiled()
	i := slices.IndexFunc(all, func(u desk.Unfiled) bool { return u.Case == id && u.Hash == hash })
	if i < 0 {
		return u, errNoneWaits
	}
	return all[i], nil
}

// fileUnfiled files what was signed for a step of a case before, as it is.
func (s *officerSeat) fileUnfiled(ctx context.Context, id, hash string) (string, error) {
	u, err := s.waiting(id, hash)
	if err != nil {
		return "", err
	}
	o, earlier, err := s.signedOrder(u.Order)
	if err != nil {
		return "", err
	}
	st, err := s.fits(ctx, id, o)
	if err != nil {
		return "", err
	}
	raw, err := readRegular(u.File)
	if err != nil {
		return "", err
	}
	ready := &readyStep{signed: strings.TrimSpace(string(raw)), file: u.File}
	if sum := policy.Hash(ready.signed); hex.EncodeToString(sum[:]) != hash {
		return "", errNoneWaits
	}
	if ready.warrant, err = policy.ParseUnverified(ready.signed); err != nil {
		return "", err
	}
	return s.fileStep(ctx, id, ready, signing{order: o, earlier: earlier, reached: reached(ready.warrant.Kind, st, o)})
}

// dropUnfiled has what was signed for a step wait no more. The signature counts still, so that the
// file is kept, under a name by which the desk does not take it.
func (s *officerSeat) dropUnfiled(id, hash string) (said string, err error) {
	err = s.working(func() error {
		u, err := s.waiting(id, hash)
		switch {
		case err != nil:
			return err
		case u.Filed != "":
			return errNoneWaits
		}
		aside, err := putAside(u.File)
		if err != nil {
			return err
		}
		s.settled(u.File)
		said = "It waits no more, and was not filed now. It is signed, and whoever has the file can file it still: " + aside
		return nil
	})
	return said, err
}

// putAside gives a signed file a name that the desk and the commands take for no signed one.
func putAside(file string) (aside string, err error) {
	for n := 1; ; n++ {
		if aside = file + ".aside"; n > 1 {
			aside += "-" + strconv.Itoa(n)
		}
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err := os.Rename(file, aside); err != nil {
		return "", secretfile.ErrUnwritable.Because(err)
	}
	return aside, nil
}

// settled forgets that what was signed for a step waits to be filed. If its mark stays it is filed
// again, which changes nothing.
func (s *officerSeat) settled(file string) {
	os.Remove(markOf(file))
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	maps.DeleteFunc(s.atCases.ready, func(_ string, r *readyStep) bool { return r.file == file })
}

// partlyFiled notes as which case something is filed of which not all of what was published is.
func partlyFiled(file, id string) error {
	return remark(file, func(w *toFile) { w.Filed, w.Refused = id, "" })
}

// remark changes what is noted of a file that waits to be filed.
func remark(file string, change func(w *toFile)) error {
	raw, err := readRegular(markOf(file))
	if err != nil {
		return err
	}
	var w toFile
	if err := json.Unmarshal(raw, &w); err != nil {
		return err
	}
	change(&w)
	if raw, err = json.Marshal(w); err != nil {
		return err
	}
	return shell.WritePrivate(markOf(file), append(raw, '\n'))
}

// fileStep files what was signed for a step of a case.
func (s *officerSeat) fileStep(ctx context.Context, id string, ready *readyStep, about signing) (string, error) {
	sub := policy.Submission{Warrant: ready.signed}
	var folder string
	var err error
	if sub.Revocation, err = s.revocationLists(s.revocation); err == nil && policy.KindOf(ready.warrant.Kind).Evidence {
		sub.Evidence, folder, err = s.evidenceOf(about.earlier)
	}
	var st caseStatus
	if err == nil {
		st, _, err = s.quiet().fileWarrant(ctx, sub, folder)
	}
	switch {
	case err != nil && st.Case != "":
		return "", errPartly{errors.Join(err, partlyFiled(ready.file, st.Case)), st.Case}
	case err != nil:
		said, why, refused := *shell.ProblemOf(explained(err)), errSavedNotFiled, ""
		if isRefused(err) {
			why, refused = errRefusedSigned, said.Error()
		}
		if errors.As(unanswered(err), &errLost{}) || errors.Is(err, registrar.ErrOtherAnswer) {
			why = errFiledUnknown
		}
		cause := fmt.Errorf("%s: %s", ready.file, said.Error())
		return "", why.Because(errors.Join(cause, remark(ready.file, func(w *toFile) { w.Refused = refused })))
	}
	s.settled(ready.file)
	if st.About != nil && st.About.Case != id {
		return "", desk.ErrFiledElsewhere.Because(fmt.Errorf("%s: it is about case %s", ready.file, st.About.Case))
	}
	text := fmt.Sprintf("The %s is signed, saved in %s, and filed.\n", ready.warrant.Kind, ready.file)
	if endsBy(ready.warrant) {
		whom := about.reached
		if len(ready.warrant.Targets) > 0 {
			whom = namesOf(ready.warrant)
		}
		text += "It is about " + cmp.Or(strings.Join(whom, ", "), "no pen name that it still reaches") + ".\n"
	}
	if ready.warrant.Kind == policy.Redelivery {
		return text + "It is a case of its own, which custodians decide again:\n" + st.At(s.Now()), nil
	}
	return text + "It is case " + st.Case + ", and opens nothing; where this case stands now is below.", nil
}

// isRefused reports whether the registrar refused what was sent, and does so again until something
// else changes.
func isRefused(err error) bool {
	var said *registrar.Problem
	return errors.As(err, &said) && said.Status >= 400 && said.Status < 500 &&
		!slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, said.Status)
}

// evidenceOf are the pieces of evidence of a signed warrant, and the folder that they are in.
func (s *officerSeat) evidenceOf(signed string) (all []string, folder string, err error) {
	w, err := policy.ParseUnverified(signed)
	if err != nil {
		return nil, "", err
	}
	wanted := wantedBy(w)
	dirs, err := s.folders()
	if err != nil {
		return nil, "", err
	}
	for _, dir := range dirs {
		files, err := exhibit.Files(dir, ".jws")
		if err != nil {
			return nil, "", asUnreadable(err)
		}
		for _, file := range files {
			pieces, err := evidenceIn(file)
			if err != nil {
				continue // another case's: what is wanted is missed below
			}
			if found := takeWanted(pieces, wanted); len(found) > 0 {
				all, folder = append(all, found...), cmp.Or(folder, dir)
			}
		}
	}
	if len(wanted) > 0 {
		return nil, "", errNoEvidenceHere
	}
	return all, folder, nil
}

// wantedBy are the SHA-256 of the pieces of evidence that a warrant names, hex.
func wantedBy(w *policy.Warrant) map[string]bool {
	wanted := make(map[string]bool)
	for _, digest := range evidenceNamed(w) {
		wanted[digest] = true
	}
	return wanted
}

// takeWanted are the pieces that are wanted, each once: it is not wanted any more.
func takeWanted(pieces []string, wanted map[string]bool) (found []string) {
	for _, text := range pieces {
		if sum := sha256.Sum256([]byte(text)); wanted[hex.EncodeToString(sum[:])] {
			delete(wanted, hex.EncodeToString(sum[:]))
			found = append(found, text)
		}
	}
	return found
}

// sayDeleted is `escrow warrant deleted`.
func (s *officerSeat) sayDeleted(ctx context.Context, step desk.FollowUp, confirm func(shown string) error) (string, error) {
	if err := s.unlocked(); err != nil {
		return "", err
	}
	if s.requester == "" {
		return "", desk.ErrNoRequester
	}
	if err := opening.CheckDeletion(step.Text); err != nil {
		return "", err
	}
	private, err := requester.ReadKey(s.requester)
	if err != nil {
		return "", err
	}
	r, err := s.registrar()
	if err != nil {
		return "", err
	}
	words := "This is stated once, and cannot be changed or taken back. It stands with case " + step.Case +
		",\nwhere whoever knows the case's id can read it, and the public log says that there is a statement:\n\n" + document.Visible(step.Text)
	if kept := s.keptOf(step.Case); len(kept) > 0 {
		words += "\n\nIt is not true yet: what was delivered is still in these folders of this machine. Remove them first, and each copy of them.\n"
		for _, folder := range kept {
			words += document.Printable(folder) + "\n"
		}
	}
	_, err = sayDeleted(ctx, r, step.Case, private, step.Text, func() error { return confirm(words) })
	if err != nil {
		return "", err
	}
	s.gone(step.Case)
	return "It is stated that what was delivered is deleted.", nil
}

var errNoEvidenceHere = refusal.New(refusal.NotFound, "desk.no_evidence",
	"the platform's evidence that the order names is not in the folders of this desk: the order is not filed; name its folder with --evidence, or file it with escrow warrant file")
