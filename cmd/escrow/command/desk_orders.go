package command

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
)

// order is an order in the making, by its files. All but evidence and case are those of the
// commands. Whose they are, no name says: a folder may be called as another was, or as files of
// orders are. They are of a folder if they are about evidence that is in it.
type order struct {
	folder string // of its evidence
	base   string // of its files
	number int    // of those about this evidence, from 1
	other  string // a file that has the name of a signed one of it, and is not of it; "": there is none
}

// id tells an order from all others, and from what another folder would have under its names.
func (o order) id() string {
	sum := sha256.Sum256([]byte(o.folder + "\x00" + o.base))
	return hex.EncodeToString(sum[:8])
}

func (o order) draft() string    { return o.base + ".json" }
func (o order) answers() string  { return o.draft() + ".answers" }
func (o order) made() string     { return o.draft() + ".made" }  // SHA-256 of the draft as it was made of the answers last, hex
func (o order) evidence() string { return o.base + ".evidence" } // SHA-256 of each piece that it was begun about, a line each
func (o order) signed() string   { return o.base + ".jws" }
func (o order) filed() string    { return o.base + ".case" } // what the registrar said, JSON

// endings are those of the files of an order, by which it is known that there is one.
var endings = []string{".json.answers", ".json.made", ".json", ".evidence", ".jws", ".case", ".waits"}

// is reports whether there is a file.
func is(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

func (o order) begun() bool { return is(o.answers()) || is(o.draft()) || o.isSigned() }

// isSigned reports whether it is signed, and not only another one under its name.
func (o order) isSigned() bool { return is(o.signed()) && o.other != o.signed() }

// otherSigned is the file that has the name of a signed order and is about none of the evidence that
// the order was begun about; "": there is none.
func (s *officerSeat) otherSigned(o order, digests map[string]bool) string {
	if !is(o.signed()) || !is(o.draft()) && !is(o.answers()) {
		return ""
	}
	_, w, err := readSigned(o.signed())
	if err != nil {
		return "" // it is said to be unreadable
	}
	about := maps.Clone(digests)
	if raw, err := readRegular(o.evidence()); err == nil {
		for _, digest := range strings.Fields(string(raw)) {
			about[digest] = true
		}
	}
	if w != nil && slices.ContainsFunc(evidenceNamed(w), func(d string) bool { return about[d] }) {
		return ""
	}
	return o.signed()
}

// folders are those with evidence: the named ones, and those in them.
func (s *officerSeat) folders() (all []string, err error) {
	add := func(folder string) {
		if files, err := exhibit.Files(folder, ".jws"); err == nil && len(files) > 0 && !isCourtFile(folder) && !slices.Contains(all, folder) {
			all = append(all, folder)
		}
	}
	for _, root := range s.evidence {
		add(root)
		inside, err := os.ReadDir(root)
		if err != nil {
			return nil, asUnreadable(err)
		}
		for _, e := range inside {
			if e.IsDir() {
				add(filepath.Join(root, e.Name()))
			}
		}
	}
	return all, nil
}

// evidenceSeen are the pieces of evidence in a file as it was read once.
type evidenceSeen struct {
	size    int64
	at      time.Time
	digests []string
}

// digestsOf are the SHA-256 of the pieces of evidence in a folder, hex. What cannot be read has
// none: its page says so. A file is read again when it has changed.
func (s *officerSeat) digestsOf(folder string) map[string]bool {
	all := make(map[string]bool)
	files, _ := exhibit.Files(folder, ".jws")
	for _, file := range files {
		info, err := os.Lstat(file)
		if err != nil {
			continue
		}
		s.mu.Lock()
		seen, known := s.pieces[file]
		s.mu.Unlock()
		if !known || seen.size != info.Size() || !seen.at.Equal(info.ModTime()) {
			seen = evidenceSeen{size: info.Size(), at: info.ModTime()}
			pieces, _ := evidenceIn(file)
			for _, piece := range pieces {
				hash := policy.Hash(piece)
				seen.digests = append(seen.digests, hex.EncodeToString(hash[:]))
			}
			s.mu.Lock()
			s.pieces[file] = seen
			s.mu.Unlock()
		}
		for _, digest := range seen.digests {
			all[digest] = true
		}
	}
	return all
}

// usedBases are the names in a folder that files of orders have, without its own.
func usedBases(folder string) (map[string]bool, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, asUnreadable(err)
	}
	used := make(map[string]bool)
	for _, e := range entries {
		for _, ending := range endings {
			if base, ok := strings.CutSuffix(e.Name(), ending); ok {
				used[base] = true
				break
			}
		}
	}
	return used, nil
}

// numbered is the number that a name has behind that of a folder: 1 for its own; 0: it has none.
func numbered(name, folder string) int {
	if name == folder {
		return 1
	}
	digits, ok := strings.CutPrefix(name, folder+".")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 2 || strconv.Itoa(n) != digits {
		return 0
	}
	return n
}

// orders are those of all folders, and of each the next that can be begun.
func (s *officerSeat) orders() (all []order, err error) {
	folders, err := s.folders()
	if err != nil || len(folders) == 0 {
		return nil, err
	}
	used, err := usedBases(s.cases)
	if err != nil {
		return nil, err
	}
	taken, names := make(map[string]bool), make(map[string]bool)
	for _, folder := range folders {
		names[filepath.Base(folder)] = true
	}
	for _, folder := range folders {
		name, last := filepath.Base(folder), order{}
		digests := s.digestsOf(folder)
		var mine []string
		others := make(map[string]string)
		for base := range used {
			if numbered(base, name) == 0 || taken[base] {
				continue
			}
			o := order{folder: folder, base: filepath.Join(s.cases, base)}
			o.other = s.otherSigned(o, digests)
			if s.isAbout(o, digests) || s.isAboutSome(o, digests, folders) {
				mine = append(mine, base)
				taken[base], others[base] = true, o.other
			}
		}
		slices.SortFunc(mine, func(a, b string) int { return cmp.Compare(numbered(a, name), numbered(b, name)) })
		for i, base := range mine {
			last = order{folder, filepath.Join(s.cases, base), i + 1, others[base]}
			all = append(all, last)
		}
		if len(mine) > 0 && !last.isSigned() {
			continue // one after the other
		}
		free, other := name, filepath.Join(s.cases, name+".jws")
		if taken[name] || !is(other) {
			other = ""
		}
		for n := 2; used[free] || taken[free] || free != name && names[free]; n++ {
			free = name + "." + strconv.Itoa(n)
		}
		taken[free] = true
		all = append(all, order{folder, filepath.Join(s.cases, free), len(mine) + 1, other})
	}
	return all, nil
}

// isAbout reports whether the files of an order are about evidence of which these are the digests:
// what is signed about all that it names; a draft, and answers, about some of it, as more can be
// added to a folder.
func (s *officerSeat) isAbout(o order, digests map[string]bool) bool {
	some := func(of []string) bool { return slices.ContainsFunc(of, func(d string) bool { return digests[d] }) }
	if o.isSigned() {
		_, w, err := readSigned(o.signed())
		return err == nil && w != nil && signedAbout(w, digests)
	}
	if raw, err := readRegular(o.evidence()); err == nil {
		return some(strings.Fields(string(raw)))
	}
	if raw, err := readRegular(o.draft()); err == nil {
		w, _ := policy.ReadDraft(raw)
		return w != nil && some(evidenceNamed(w))
	}
	if !is(o.answers()) {
		return false
	}
	_, err := s.interview(o) // of escrow warrant new, which nobody ended
	return !errors.Is(err, policy.ErrOtherPieces)
}

// isAboutSome reports whether an order is signed, some of the evidence that it names has these
// digests, and none of the folders of its name has all of that: a piece was taken away, or cannot
// be read. It is shown, so that nobody thinks it was never signed, and is not filed.
func (s *officerSeat) isAboutSome(o order, digests map[string]bool, folders []string) bool {
	if !o.isSigned() {
		return false
	}
	_, w, err := readSigned(o.signed())
	if err != nil || w == nil {
		return false
	}
	some := slices.ContainsFunc(evidenceNamed(w), func(d string) bool { return digests[d] })
	if !some || !signedAbout(w, wantedBy(w)) { // it is no order that begins with evidence
		return false
	}
	return !slices.ContainsFunc(folders, func(folder string) bool {
		return numbered(filepath.Base(o.base), filepath.Base(folder)) > 0 && signedAbout(w, s.digestsOf(folder))
	})
}

// evidenceNamed are the digests of the evidence that a warrant names.
func evidenceNamed(w *policy.Warrant) (all []string) {
	for _, t := range w.Targets {
		all = append(append(all, t.Evidence), t.Further...)
	}
	return all
}

// signedAbout reports whether a signed warrant is an order that begins with evidence, and all of
// that is among these digests.
func signedAbout(w *policy.Warrant, digests map[string]bool) bool {
	named := evidenceNamed(w)
	return policy.KindOf(w.Kind).Evidence && w.Kind != policy.Redelivery && len(named) > 0 &&
		!slices.ContainsFunc(named, func(d string) bool { return !digests[d] })
}

// bind notes which evidence an order is about, and where that is.
func (s *officerSeat) bind(o order) error {
	var all []string
	for digest := range s.digestsOf(o.folder) {
		all = append(all, digest)
	}
	slices.Sort(all)
	return shell.WritePrivate(o.evidence(), []byte(strings.Join(all, "\n")+"\n"+boundIn+o.folder+"\n"))
}

// boundIn begins the line of a folder among digests.
const boundIn = "in "

// astray are the orders that were begun here and are not filed, and that are about no evidence in
// any folder now, with the folders that it was in. found are all others.
func (s *officerSeat) astray(found []order) (all []order, err error) {
	if s.cases == "" {
		return nil, nil
	}
	used, err := usedBases(s.cases)
	if err != nil {
		return nil, err
	}
	for _, o := range found {
		delete(used, filepath.Base(o.base))
	}
	for _, base := range slices.Sorted(maps.Keys(used)) {
		o := order{base: filepath.Join(s.cases, base)}
		if !is(o.evidence()) && !is(o.answers()) || is(o.filed()) {
			continue
		}
		raw, _ := readRegular(o.evidence())
		if _, folder, ok := strings.Cut(string(raw), "\n"+boundIn); ok {
			o.folder = strings.TrimSuffix(folder, "\n")
		}
		all = append(all, o)
	}
	return all, nil
}

// filedAsCase is what the registrar said of an order when it was filed.
func (o order) filedAsCase() (st caseStatus, ok bool) {
	text, err := readRegular(o.filed())
	if err != nil || !o.isSigned() || json.Unmarshal(text, &st) != nil {
		return st, false
	}
	if hash, w, err := readSigned(o.signed()); err != nil || w == nil || st.Warrant != "" && st.Warrant != hash {
		return st, false // of another
	}
	return st, true
}

func (s *officerSeat) order(id string) (order, error) {
	all, err := s.orders()
	if err != nil {
		return order{}, err
	}
	for _, o := range all {
		if o.id() == id {
			return o, nil
		}
	}
	return order{}, desk.ErrNoOrder
}

// unsigned is an order whose text can still be changed, or signed.
func (s *officerSeat) unsigned(id string) (order, error) {
	o, err := s.order(id)
	if err == nil && o.isSigned() {
		err = errIsSigned
	}
	return o, err
}
