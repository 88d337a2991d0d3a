package opening

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// The files of a court file. What the certificate is made of:
const (
	FileSealed   = "delivery.sealed" // as the registrar handed it over, a ciphertext to the requester
	FileDelivery = "delivery.json"   // a [Delivery]
	FileRevealed = "opened.json"     // a [Revealed]
	DirExhibits  = "exhibits"        // what posts showed, each under its SHA-256
	// FileRevocation holds the lists of revoked certificates, as in policy.Submission, by which
	// the certificate of who signs is judged. Their own signatures prove them.
	FileRevocation = "revocation.json"
	dirBundles     = "bundles" // the rules from the first on, each with its endorsements
)

// What it comes to:
const (
	FileSigned     = "certificate.jws"  // the certificate with its signature
	FilePage       = "certificate.html" // it as a page, of A4 for each pen name
	FileStatement  = "certificate.json" // what it says, without a signature
	resultsFile    = "results.csv"
	suspectsFolder = "suspects"
)

// Why a court file is not believed.
var (
	ErrFileMissing = refusal.New(refusal.NotFound, "opening.file_missing",
		"a file of the folder is missing, which the cause names: what it would show is not proven; get another copy of the folder")
	ErrFileChanged = refusal.New(refusal.Denied, "opening.file_changed",
		"a file of the folder is not the one that was saved, or not what the certificate says: do not rely on it; get another copy of the folder")
	ErrFileAdded = refusal.New(refusal.Denied, "opening.file_added",
		"a file lies in the folder that is none of its own, which the cause names: do not rely on it, and keep notes elsewhere")
	ErrOtherAnchor = refusal.New(refusal.Denied, "opening.other_rules",
		"nothing leads from the rules that you trust to those in the folder: the folder may be of another service, or be made up; name the bundles between them too, each with --bundle")
)

const maxFile = 512 << 20 // bytes

// BundleFiles are the files of a court file that hold a bundle, the nth of its log counted
// from 0, and its endorsements, by name.
func BundleFiles(n int, bundle []byte, endorsements []string) (map[string][]byte, error) {
	signed, err := json.Marshal(endorsements)
	name := fmt.Sprintf("%s/%04d", dirBundles, n+1)
	return map[string][]byte{name + ".json": bundle, name + ".endorsements.json": signed}, err
}

// courtFile is a folder as it is read.
type courtFile struct {
	fs.FS
	delivery Delivery
	bundles  []*policy.Bundle // from the first of the log on
	since    []*policy.Bundle // from that of the case on
	revealed Revealed
	exhibits map[string]string // file by digest
	digests  map[string]string // hex SHA-256 of what the certificate is made of, by name
	others   []string          // all else that lies in the folder
}

// open opens a file of the folder. What is none, such as a link or a pipe that never ends, is
// never what was saved, and is not opened.
func (f *courtFile) open(name string) (fs.File, error) {
	info, err := fs.Lstat(f.FS, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrFileMissing.Because(errors.New(name))
	case err != nil:
		return nil, ErrFileMissing.Because(err)
	case !info.Mode().IsRegular():
		return nil, ErrFileChanged.Because(fmt.Errorf("%s is a link, or no file", name))
	case info.Size() > maxFile:
		return nil, ErrFileChanged.Because(fmt.Errorf("%s is larger than 512 MiB", name))
	}
	file, err := f.Open(name)
	if err != nil {
		return nil, ErrFileMissing.Because(err)
	}
	return file, nil
}

func (f *courtFile) read(name string) ([]byte, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, ErrFileMissing.Because(err)
	}
	return b, nil
}

func (f *courtFile) readJSON(name string, v any) error {
	b, err := f.read(name)
	if err == nil && json.Unmarshal(b, v) != nil {
		err = ErrFileChanged.Because(errors.New(name))
	}
	return err
}

// count notes the digests of all that a certificate is made of, and what else is there. What is
// no file, such as a link, is never what was saved.
func (f *courtFile) count() error {
	f.digests, f.exhibits = make(map[string]string), make(map[string]string)
	err := fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		dir := path.Dir(name)
		switch {
		case err != nil || d.IsDir():
			return err
		case !d.Type().IsRegular():
			return ErrFileChanged.Because(fmt.Errorf("%s is a link, or no file", name))
		case dir != dirBundles && dir != DirExhibits && !slices.Contains([]string{FileSealed, FileDelivery, FileRevealed}, name):
			f.others = append(f.others, name)
			return nil
		}
		file, err := f.open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, io.LimitReader(file, maxFile)); err != nil {
			return err
		}
		f.digests[name] = hex.EncodeToString(sum.Sum(nil))
		if digest, _, _ := strings.Cut(path.Base(name), "."); dir == DirExhibits && digest == f.digests[name] {
			f.exhibits[digest] = name
		}
		return nil
	})
	if err != nil && refusal.Of(err) == nil {
		err = ErrFileMissing.Because(err)
	}
	return err
}

// readRules reads the bundles, each of which must follow the one before it, endorsed by its
// custodians.
func (f *courtFile) readRules() error {
	for n := 0; ; n++ {
		name := fmt.Sprintf("%s/%04d", dirBundles, n+1)
		raw, err := f.read(name + ".json")
		if n > 0 && errors.Is(err, ErrFileMissing) {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := policy.ParseBundle(raw)
		if err != nil {
			return ErrFileChanged.Because(fmt.Errorf("%s.json: %w", name, err))
		}
		var endorsements []string
		if err := f.readJSON(name+".endorsements.json", &endorsements); err != nil {
			return err
		}
		var before *policy.Bundle
		if n > 0 {
			before = f.bundles[n-1]
		}
		if err := b.Follows(before, endorsements); err != nil {
			return err
		}
		f.bundles = append(f.bundles, b)
	}
}

// revocation are the lists of revoked certificates; none: who signed had no certificate.
func (f *courtFile) revocation() (lists []string, err error) {
	if err := f.readJSON(FileRevocation, &lists); err != nil && !errors.Is(err, ErrFileMissing) {
		return nil, err
	}
	return lists, nil
}

// restate makes the certificate of what is in the folder, unsigned and undated.
func (f *courtFile) restate() (*Opening, CourtCertificate, error) {
	if err := f.readJSON(FileDelivery, &f.delivery); err != nil {
		return nil, CourtCertificate{}, err
	}
	hash, err := CaseBundle(f.delivery)
	if err != nil {
		return nil, CourtCertificate{}, err
	}
	i := slices.IndexFunc(f.bundles, func(b *policy.Bundle) bool { return b.Hash() == hash })
	if i < 0 {
		return nil, CourtCertificate{}, ErrOtherRules.Because(errors.New(hash))
	}
	f.since = f.bundles[i:]
	o, err := Verify(f.delivery, f.since...)
	if err != nil {
		return nil, CourtCertificate{}, err
	}
	if err := f.readJSON(FileRevealed, &f.revealed); err != nil {
		return o, CourtCertificate{}, err
	}
	s, err := o.state(f.revealed, func(x CertifiedExhibit) []byte {
		content, err := f.read(f.exhibits[x.SHA256])
		if err != nil {
			return nil
		}
		return content
	})
	s.Files = f.digests
	return o, s, err
}

// Certify makes the certificate of a court file, which has everything but that: what else the
// folder shall hold, by name. key signs it, at a time, and is one by the rules in the folder and
// by inForce; nil: nobody does. The refusals are those of [Verify], [ErrFileMissing],
// [ErrFileChanged] and [ErrSigner].
func Certify(folder fs.FS, key *jose.JSONWebKey, at time.Time, inForce ...*policy.Bundle) (map[string][]byte, error) {
	f := &courtFile{FS: folder}
	if err := f.count(); err != nil {
		return nil, err
	}
	if err := f.readRules(); err != nil {
		return nil, err
	}
	_, s, err := f.restate()
	if err != nil {
		return nil, err
	}
	revocation, err := f.revocation()
	if err != nil {
		return nil, err
	}
	s.Made = at.UTC().Truncate(time.Second)
	signed := ""
	if key != nil {
		if s, signed, err = s.sign(*key, revocation, append(slices.Clip(inForce), f.bundles[len(f.bundles)-1])...); err != nil {
			return nil, err
		}
	}
	return s.derived(signed)
}

// CourtCheck is what a check of a court file found.
type CourtCheck struct {
	Holds       bool              `json:"holds"` // every step
	Steps       []CourtStep       `json:"steps"`
	Unknown     []string          `json:"cannot_be_known"`
	Certificate *CourtCertificate `json:"certificate,omitempty"` // as it is in the folder, believed or not

	// Records are what the targets that were released commit to, by pen name and as
	// seal.Reference has them: what a receipt of an enrolment names. A pen name may be there
	// for each platform of its sector. Believed if Holds.
	Records map[token.Pseudonym][]string `json:"records,omitempty"`

	refused error // of the first step that does not hold
}

// CourtStep is one step of a check.
type CourtStep struct {
	Says  string `json:"says"`            // what holds, or what was looked at
	Code  string `json:"code,omitempty"`  // of why it does not hold
	Cause string `json:"cause,omitempty"` // which file, which member
}

// Refused is why the court file is not believed, by the first step that does not hold; nil:
// all hold.
func (c *CourtCheck) Refused() error { return c.refused }

func (c *CourtCheck) step(err error, format string, args ...any) bool {
	s := CourtStep{Says: fmt.Sprintf(format, args...)}
	if err != nil {
		e := refusal.Of(err)
		if e == nil {
			e = ErrFileMissing.Because(err)
		}
		s.Code, c.refused = e.Code, cmp.Or(c.refused, error(e))
		if cause := errors.Unwrap(e); cause != nil {
			s.Cause = cause.Error()
		}
	}
	c.Steps = append(c.Steps, s)
	return err == nil
}

// CheckCourtFile checks a court file as an appeal court does, years later: it needs nothing
// but the folder, and bundles of rules that the court trusts: one of those in the folder, or
// later ones, the newest first, that lead back to them. Without any, the answer rests on the
// rules in the folder, and it says so.
func CheckCourtFile(folder fs.FS, trusted ...*policy.Bundle) *CourtCheck {
	f, c := &courtFile{FS: folder}, &CourtCheck{Unknown: slices.Clone(unknown)}
	defer func() { c.Holds = c.refused == nil }()
	if _, err := fs.ReadDir(folder, "."); err != nil {
		c.step(ErrFileMissing.Because(errors.New("there is no such folder, or it cannot be read")), "the folder is there")
		return c
	}
	said, signed, err := f.statement()
	c.Certificate = said
	if !c.step(err, "the folder has a certificate") {
		return c
	}
	if err := f.count(); err != nil {
		c.step(err, "the files of the folder can be read")
		return c
	}
	c.files(f, said)
	if !c.step(f.readRules(), "the rules in the folder follow one another, each endorsed by custodians of those before") {
		return c
	}
	c.anchor(f.bundles, trusted)
	if signed == "" {
		c.step(nil, "nobody signed the certificate: what it says was made again of the package, and that it was this requester who made it is not proven")
	} else {
		revocation, err := f.revocation()
		if err == nil {
			err = verifyCertificate(signed, revocation, f.bundles...)
		}
		c.step(err, "the certificate is signed by %s, with a key that the rules name for it on the day that it gives", said.CourtName)
	}
	o, want, err := f.restate()
	if o == nil {
		c.step(err, "the opening was lawful")
		return c
	}
	c.lawful(o, len(f.delivery.Approvals))
	if !c.step(err, "the sealed records open again with the shares and halves in the folder, every share proves itself, and each record is the one that its token commits to") {
		return c
	}
	c.Records = o.records()
	want.Made, want.By, want.Files = said.Made, said.By, said.Files
	if what := said.differs(want); what != "" {
		err = ErrFalse.Because(errors.New(what))
	}
	c.step(err, "the certificate says what the package proves, and nothing else")
	c.derived(f, want, signed)
	return c
}

// records are those of the targets that were released, which certify held against their tokens.
func (o *Opening) records() map[token.Pseudonym][]string {
	all := map[token.Pseudonym][]string{}
	for _, t := range o.Targets {
		if t.Sealed == nil {
			continue
		}
		record := "unreadable" // it was not, a moment before
		if digest, err := t.Sealed.Record(t.Sealed.Fields).Digest(); err == nil {
			record = seal.Reference(t.Sealed.Label, digest)
		}
		if name := t.Sealed.Pseudonym; !slices.Contains(all[name], record) {
			all[name] = append(all[name], record)
		}
	}
	return all
}

// unknown is what no check of a folder can tell.
var unknown = []string{
	"who typed: it is proven who enrolled under the pen name",
	"whether a post marked as the platform's word alone was made by that account: its platform signed that it was, and no key of the author did",
	"what the registrar says of the pen names that were not opened, and whether all pen names of a person are there where an order asked for them",
	"when the certificate was made: its date is the signer's word",
	"what came after the package was saved, such as an annulment: ask the registrar, or audit the public log",
	"whether other rules were logged in place of these: that takes the public log, escrow log audit",
}

// statement reads the certificate, signed if there is a signed one, and verifies nothing.
func (f *courtFile) statement() (s *CourtCertificate, signed string, err error) {
	raw, err := f.read(FileSigned)
	switch {
	case err == nil:
		signed = strings.TrimSpace(string(raw))
		opened, err := certificateFormat.Open(signed)
		if err != nil {
			return nil, "", err
		}
		s, err = readCertificate(opened.Payload)
		return s, signed, err
	case !errors.Is(err, ErrFileMissing):
		return nil, "", err
	}
	s = new(CourtCertificate)
	if err := f.readJSON(FileStatement, s); err != nil {
		return nil, "", err
	}
	if s.By != "" { // it says that it is signed
		return s, "", ErrFileMissing.Because(errors.New(FileSigned))
	}
	return s, "", nil
}

// files holds what the certificate was made of against the digests in it.
func (c *CourtCheck) files(f *courtFile, said *CourtCertificate) {
	whole := true
	for _, name := range slices.Sorted(maps.Keys(said.Files)) {
		is, there := f.digests[name]
		switch {
		case !there:
			whole = c.step(ErrFileMissing.Because(errors.New(name)), "%s is there", name)
		case is != said.Files[name]:
			whole = c.step(ErrFileChanged.Because(errors.New(name)), "%s is as it was saved", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.digests)) {
		if _, known := said.Files[name]; !known {
			whole = c.step(ErrFileAdded.Because(errors.New(name)), "%s belongs to the folder", name)
		}
	}
	if whole {
		c.step(nil, "all %d files that the certificate was made of are there, as they were saved", len(said.Files))
	}
}

// anchor looks whether rules that somebody trusts lead to those in the folder.
func (c *CourtCheck) anchor(bundles, trusted []*policy.Bundle) {
	newest := bundles[len(bundles)-1]
	if len(trusted) == 0 {
		c.step(nil, "! no rules that you trust were named: all of this rests on rules number %d in the folder, sha256 %s; compare that with what custodians or the public log say", newest.Number, newest.Hash())
		return
	}
	held := make(map[string]bool)
	for _, b := range bundles {
		held[b.Hash()] = true
	}
	later := make(map[string]*policy.Bundle)
	for _, b := range trusted {
		later[b.Hash()] = b
	}
	at := trusted[0]
	for at != nil && !held[at.Hash()] {
		if held[at.Predecessor] {
			break
		}
		at = later[at.Predecessor]
	}
	var err error
	if at == nil {
		err = ErrOtherAnchor.Because(errors.New(trusted[0].Hash()))
	}
	c.step(err, "the rules that you trust, number %d, lead to those in the folder", trusted[0].Number)
}

// lawful says what was checked of a lawful opening.
func (c *CourtCheck) lawful(o *Opening, approvals int) {
	s := o.Certificate
	c.step(nil, "the warrant is signed by %s, and rules number %d allow it", o.Warrant.Authority, o.since[0].Number)
	c.step(nil, "the public log %s recorded it at entry %d before anything was opened, under a checkpoint that the witnesses of the rules cosigned", s.Log, s.Recorded)
	c.step(nil, "%d decisions of custodians are signed by them, and each pen name that was opened has a quorum whose decisions the log opened", approvals)
	c.step(nil, "the log holds the release of these very packages after that")
	c.step(nil, "the evidence is signed by its platforms, with the tokens as presented")
}

// derived holds what people read against the certificate.
func (c *CourtCheck) derived(f *courtFile, s CourtCertificate, signed string) {
	files, err := s.derived(signed)
	if err != nil {
		c.step(err, "the page, the table and the sheets can be made again")
		return
	}
	whole := true
	for _, name := range slices.Sorted(maps.Keys(files)) {
		have, err := f.read(name)
		if err == nil && string(have) != string(files[name]) {
			err = ErrFileChanged.Because(errors.New(name))
		}
		if err != nil {
			whole = c.step(err, "%s says what the certificate says", name)
		}
	}
	for _, name := range f.others {
		if files[name] == nil && name != FileRevocation {
			whole = c.step(ErrFileAdded.Because(errors.New(name)), "%s belongs to the folder", name)
		}
	}
	if whole {
		c.step(nil, "the page, the table and each sheet say what the certificate says")
	}
}

// String is for a person at a terminal. What a folder says of itself cannot write a line of its
// own.
func (c *CourtCheck) String() string {
	var b strings.Builder
	line := strings.NewReplacer("\n", "\uFFFD")
	for _, s := range c.Steps {
		s.Says, s.Cause = line.Replace(s.Says), line.Replace(s.Cause)
		switch {
		case s.Code != "":
			fmt.Fprintf(&b, "✗ %s: %s", s.Says, s.Code)
			if s.Cause != "" {
				fmt.Fprintf(&b, " (%s)", s.Cause)
			}
			b.WriteString("\n")
		case strings.HasPrefix(s.Says, "! "):
			b.WriteString(s.Says + "\n")
		default:
			b.WriteString("✓ " + s.Says + "\n")
		}
	}
	b.WriteString("what cannot be known from the folder:\n")
	for _, s := range c.Unknown {
		b.WriteString("  " + s + "\n")
	}
	return document.Printable(b.String())
}
