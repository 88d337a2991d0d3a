package command

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errOpeningPlace = refusal.New(refusal.Invalid, "desk.opening_place",
		"the folder is inside one with evidence, whose files others gave: names are not kept there; nothing was fetched or opened; name a folder outside of it")
	errLockedMeanwhile = refusal.New(refusal.Conflict, "desk.locked_meanwhile",
		"the desk was locked while the case was opened: what was opened is saved, with all that proves it, and is not shown; its folder is checked under Openings")
	errIsDeleted = refusal.New(refusal.Conflict, "desk.stated_deleted",
		"it is stated that what was delivered in this case is deleted: nothing was fetched or opened")
)

// officerOpenings is what the desk does with what was delivered.
func (s *officerSeat) officerOpenings() desk.Openings {
	return desk.Openings{
		Free: s.freeFolder, Open: s.openCase, Opened: s.openedCase, PutAway: s.putAway,
		Folders: s.courtFiles, Folder: s.courtFile, Name: s.nameFolder, Check: s.checkFolder, Sign: s.signFolder, Certificate: s.certificatePage,
	}
}

// inCases is a folder that was typed: below that of cases, unless it says where it is.
func (s *officerSeat) inCases(folder string) string {
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(s.cases, folder)
	}
	if whole, err := filepath.Abs(folder); err == nil {
		return whole
	}
	return filepath.Clean(folder)
}

// freeFolder is one that is not there yet.
func (s *officerSeat) freeFolder(id string) string {
	base := s.inCases("opening-" + id)
	for n := 1; ; n++ {
		folder := base
		if n > 1 {
			folder = fmt.Sprintf("%s-%d", base, n)
		}
		if _, err := os.Lstat(folder); err != nil {
			return folder
		}
	}
}

// openCase is `escrow warrant open --out`.
func (s *officerSeat) openCase(ctx context.Context, id, folder string) (kept string, err error) {
	if err := s.unlocked(); err != nil {
		return "", err
	}
	if s.requester == "" {
		return "", desk.ErrNoRequester
	}
	private, err := requester.ReadKey(s.requester)
	if err != nil {
		return "", err
	}
	r, err := s.registrar()
	if err != nil {
		return "", err
	}
	folder = s.inCases(folder)
	if s.amongEvidence(folder) {
		return "", errOpeningPlace.Because(errors.New(folder))
	}
	switch st, err := r.Status(ctx, id); {
	case err != nil:
		return "", err
	case st.Deleted != nil:
		s.gone(id)
		return "", errIsDeleted
	}
	file, err := requester.CreateCourtFile(folder)
	if err != nil {
		return "", err
	}
	ref := s.know(folder)
	s.keeps(ref, id)
	f := openFlags{out: folder}
	o, err := f.open(ctx, s.quiet(), r, id, private, s.bundle, file, nil, nil)
	if o.Targets == nil {
		if os.Remove(folder) == nil { // it is empty: nothing came
			folder = ""
		}
		return folder, err
	}
	s.checked(ref)
	shown := &desk.Opened{Ref: ref, Folder: folder, Proofs: o.Certificate.String(), Refused: err}
	for _, t := range o.Targets {
		shown.Targets = append(shown.Targets, openedTarget(t))
	}
	return folder, errors.Join(s.shows(id, shown), err)
}

// shows puts what was opened on the desk, unless that was locked meanwhile.
func (s *officerSeat) shows(id string, opened *desk.Opened) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return errLockedMeanwhile
	}
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	if s.atCases.opened == nil {
		s.atCases.opened = make(map[string]*desk.Opened)
	}
	s.atCases.opened[id] = opened
	return nil
}

// amongEvidence reports whether a folder is, or would be, inside one of those with evidence.
func (s *officerSeat) amongEvidence(folder string) bool {
	whole := folder
	for up := folder; ; up = filepath.Dir(up) { // where it leads, as far as it is there
		if at, err := filepath.EvalSymlinks(up); err == nil {
			rest, err := filepath.Rel(up, folder)
			if err == nil {
				whole = filepath.Join(at, rest)
			}
			break
		}
		if up == filepath.Dir(up) {
			break
		}
	}
	return slices.ContainsFunc(s.evidence, func(evidence string) bool {
		in, err := filepath.Rel(evidence, whole)
		return err == nil && filepath.IsLocal(in)
	})
}

// keeps notes that a folder holds what was delivered in a case.
func (s *officerSeat) keeps(ref, id string) {
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	if s.atCases.of == nil {
		s.atCases.of = make(map[string]string)
	}
	s.atCases.of[ref] = id
}

// keptOf are the folders with what was delivered in a case that the desk knows, or finds in the
// folder of cases.
func (s *officerSeat) keptOf(id string) (folders []string) {
	for _, f := range s.courtFiles() {
		s.atCases.mu.Lock()
		of := s.atCases.of[f.Ref]
		s.atCases.mu.Unlock()
		if of == id || caseOfFile(f.Path) == id {
			folders = append(folders, f.Path)
		}
	}
	return folders
}

// caseOfFile is the case that the certificate in a folder names; "": there is none.
func caseOfFile(folder string) string {
	raw, err := readRegular(filepath.Join(folder, opening.FileStatement))
	var said struct {
		Case string `json:"case"`
	}
	if err != nil || json.Unmarshal(raw, &said) != nil {
		return ""
	}
	return said.Case
}

// gone takes what was opened of a case off the desk, with the certificates that say it: it is
// stated that it is deleted.
func (s *officerSeat) gone(id string) {
	s.putAway(id)
	for _, folder := range s.keptOf(id) {
		ref := s.know(folder)
		s.atCases.mu.Lock()
		delete(s.atCases.pages, ref)
		s.atCases.mu.Unlock()
	}
}

func openedTarget(t requester.OpenedTarget) desk.OpenedTarget {
	shown := desk.OpenedTarget{PenName: t.PenName, Platform: t.Platform, Sealed: strings.Trim(t.State+", "+t.Refused, ", ")}
	names := slices.Sorted(maps.Keys(t.Identity))
	if i := slices.Index(names, "name"); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "name")
	}
	for _, name := range names {
		shown.Identity = append(shown.Identity, [2]string{name, t.Identity[name]})
	}
	for _, n := range t.Linked {
		shown.Linked = append(shown.Linked, fmt.Sprintf("%s on %s", n.PenName, strings.Join(n.Platforms, ", ")))
	}
	return shown
}

func (s *officerSeat) openedCase(id string) *desk.Opened {
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	return s.atCases.opened[id]
}

func (s *officerSeat) putAway(id string) {
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	delete(s.atCases.opened, id)
}

// know makes a folder known to the desk, by what its addresses name it.
func (s *officerSeat) know(folder string) (ref string) {
	sum := sha256.Sum256([]byte(folder))
	ref = hex.EncodeToString(sum[:8])
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	if s.atCases.known == nil {
		s.atCases.known = make(map[string]string)
	}
	s.atCases.known[ref] = folder
	return ref
}

// courtFiles are the folders of openings in that of cases, and those that were named.
func (s *officerSeat) courtFiles() (all []desk.Folder) {
	dir := s.inCases("")
	if entries, err := os.ReadDir(dir); err == nil {
		for _, e := range entries {
			if folder := filepath.Join(dir, e.Name()); e.IsDir() && isCourtFile(folder) {
				s.know(folder)
			}
		}
	}
	s.atCases.mu.Lock()
	refs := slices.Collect(maps.Keys(s.atCases.known))
	s.atCases.mu.Unlock()
	for _, ref := range refs {
		if f, ok := s.courtFile(ref); ok {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b desk.Folder) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// isCourtFile reports whether an opening was saved in a folder.
func isCourtFile(folder string) bool {
	info, err := os.Lstat(filepath.Join(folder, opening.FileSealed))
	return err == nil && info.Mode().IsRegular()
}

func (s *officerSeat) courtFile(ref string) (f desk.Folder, ok bool) {
	s.atCases.mu.Lock()
	folder, ok := s.atCases.known[ref]
	s.atCases.mu.Unlock()
	if !ok || !isCourtFile(folder) {
		return f, false
	}
	_, err := os.Lstat(filepath.Join(folder, opening.FileSigned))
	return desk.Folder{Ref: ref, Path: folder, Signed: err == nil}, true
}

func (s *officerSeat) nameFolder(path string) (string, error) {
	folder := s.inCases(path)
	if path == "" || !isCourtFile(folder) {
		return "", secretfile.ErrUnreadable.Because(errors.New(folder + ": there is no package in it"))
	}
	return s.know(folder), nil
}

// checkFolder is `escrow opening check`.
func (s *officerSeat) checkFolder(ctx context.Context, ref string) (string, error) {
	if err := s.unlocked(); err != nil {
		return "", err
	}
	f, ok := s.courtFile(ref)
	if !ok {
		return "", opening.ErrFileMissing
	}
	found, err := checkFile(ctx, requester.OpenCourtFile(f.Path), s.bundle)
	if err != nil {
		return "", err
	}
	if err = found.Refused(); err == nil {
		s.checked(ref)
	}
	return document.Printable(found.String()), err
}

// signFolder is `escrow opening sign`.
func (s *officerSeat) signFolder(ctx context.Context, ref string, confirm func(shown string) error) (said string, err error) {
	f, ok := s.courtFile(ref)
	if !ok {
		return "", opening.ErrFileMissing
	}
	lists, err := s.revocationLists(s.revocation)
	if err != nil {
		return "", err
	}
	if err := s.unlocked(); err != nil {
		return "", err
	}
	barred := s.mayBeUsed(ctx, f.Path)
	err = s.signing(func(k jose.JSONWebKey) error {
		_, err := s.certify(ctx, f.Path, k, s.bundle, lists, func(found string) error {
			s.checked(ref)
			_, page, err := s.readPage(ref)
			if err != nil {
				return err
			}
			return confirm(document.Printable(barred + fmt.Sprintf("The certificate of this folder is signed, as its page shows it, with the time of the signature:\n%s\nThe page has the SHA-256 %x.\n\nIt was checked:\n%s", f.Path, page, found)))
		})
		return err
	})
	if err != nil {
		return "", err
	}
	s.checked(ref)
	return "Signed: certificate.jws in " + f.Path + ". The page, the table and the sheets say so.", nil
}

// mayBeUsed says of what was opened into a folder that it may not be used, or that this could not
// be asked; "": nothing is against it.
func (s *officerSeat) mayBeUsed(ctx context.Context, folder string) string {
	r, err := s.registrar()
	var st registrar.CaseStatus
	if err == nil {
		st, err = r.Status(ctx, caseOfFile(folder))
	}
	switch {
	case err != nil:
		return "The registrar could not be asked whether what was opened may still be used: whether a court annulled the order meanwhile is not known here.\n\n"
	case st.Barred != nil:
		return fmt.Sprintf("WHAT WAS OPENED MAY NOT BE USED. Entry %d of the public log: %s. Sign this only to prove what was opened.\n\n", st.Barred.Leaf, st.Forbidden())
	case st.Deleted != nil:
		return fmt.Sprintf("It is stated that what was opened is deleted, entry %d of the public log.\n\n", st.Deleted.Leaf)
	}
	return ""
}

// readPage reads that of a certificate, and its digest.
func (s *officerSeat) readPage(ref string) (content []byte, digest [32]byte, err error) {
	f, ok := s.courtFile(ref)
	if !ok {
		return nil, digest, opening.ErrFileMissing
	}
	name := filepath.Join(f.Path, opening.FilePage)
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return nil, digest, opening.ErrFileMissing.Because(errors.New(opening.FilePage))
	}
	if content, err = os.ReadFile(name); err != nil {
		return nil, digest, secretfile.ErrUnreadable.Because(err)
	}
	return content, sha256.Sum256(content), nil
}

// checked notes that the page of a folder says what its package proves.
func (s *officerSeat) checked(ref string) {
	_, digest, err := s.readPage(ref)
	if err != nil {
		return
	}
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	if s.atCases.pages == nil {
		s.atCases.pages = make(map[string][32]byte)
	}
	s.atCases.pages[ref] = digest
}

// certificatePage is the page of a certificate, as it was when the folder was checked.
func (s *officerSeat) certificatePage(ref string) ([]byte, error) {
	if err := s.unlocked(); err != nil {
		return nil, err
	}
	content, digest, err := s.readPage(ref)
	if err != nil {
		return nil, err
	}
	s.atCases.mu.Lock()
	defer s.atCases.mu.Unlock()
	if known, ok := s.atCases.pages[ref]; !ok || known != digest {
		return nil, desk.ErrUnchecked
	}
	return content, nil
}
