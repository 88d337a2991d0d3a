package custodian

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// Why a case is not decided on.
var (
	ErrNotReviewed = refusal.New(refusal.Denied, "custodian.not_reviewed",
		"this folder has not reviewed the case within 30 days, so nothing was signed: review it first with escrow custodian review CASE")
	ErrNotAsReviewed = refusal.New(refusal.Conflict, "custodian.not_what_was_reviewed",
		"the registrar shows something else than when this folder reviewed the case: nothing was signed or sent; ask it again, and read the case again before you decide")
	ErrOtherCase = refusal.New(refusal.Conflict, "custodian.other_case",
		"the registrar answered with another case than the one that was asked for: nothing was kept or signed; ask it again")
	ErrWarrantTwice = refusal.New(refusal.Conflict, "custodian.warrant_of_another_case",
		"this folder has reviewed the same warrant as another case: nothing was kept or signed; answer there, or the court files a new warrant if that case was lost")
	ErrSignedOtherwise = refusal.New(refusal.Conflict, "custodian.signed_otherwise",
		"this folder has signed another answer in this case, which counts once: nothing was sent; give that answer again if it may not have arrived")
)

// How long a review counts, because a person signs what they remember, and how
// long the folder keeps its record after the warrant expired.
const (
	reviewCounts = 30 * 24 * time.Hour
	recordStays  = 365 * 24 * time.Hour
)

// kept is what the folder keeps of a review: what was shown, when, under which
// tree of the log, and which check failed. It is the custodian's record, and
// nothing else is signed.
type kept struct {
	Shown   shown     `json:"shown"`
	At      time.Time `json:"at"`
	Expires time.Time `json:"expires"` // the warrant
	Failed  string    `json:"failed"`  // code of the check that did not pass, or ""

	// Where the leaf was verified. Proof holds the signed checkpoint.
	Tree  opening.Tree `json:"tree"`
	Proof []byte       `json:"proof"`

	// Checked is by target the code of what was wrong with what it published, that of
	// ErrUnread if it did not wait and was not read, or ""; empty: nobody has read any.
	Checked []string `json:"checked,omitempty"`

	ordered

	sum string // SHA-256 of the encrypted file that it was read from, hex
}

// ordered is what later reviews are shown of one, beside which case it was and when: who
// ordered it for whom, when it was recorded, and the digest of each target's pen name and
// platform.
type ordered struct {
	Authority string    `json:"authority,omitempty"`
	Requester string    `json:"requester,omitempty"` // id of the organisation
	Recorded  time.Time `json:"recorded,omitzero"`
	Names     []string  `json:"names,omitempty"`
	Repeats   bool      `json:"repeats,omitempty"` // a redelivery: its targets were counted with the order that it repeats
}

// brief is what later reviews need of one that the folder keeps.
type brief struct {
	Case      string    `json:"case"`
	Warrant   string    `json:"warrant"`
	LeafIndex int64     `json:"leaf_index"`
	At        time.Time `json:"at"`
	Expires   time.Time `json:"expires"`
	ordered
}

func (k *kept) brief() brief {
	return brief{k.Shown.Case, k.Shown.Warrant, k.Shown.LeafIndex, k.At, k.Expires, k.ordered}
}

// shown is what identifies a case as it was shown. Digests are hex SHA-256.
type shown struct {
	Case        string        `json:"case"`
	Warrant     string        `json:"warrant"` // digest of the JWS
	Bundle      string        `json:"bundle"`
	LeafIndex   int64         `json:"leaf_index"`
	Leaf        []byte        `json:"leaf"` // its commitments open with the salt that was shown
	Evidence    []string      `json:"evidence"`
	Targets     []shownTarget `json:"targets"`
	DeliveryKey string        `json:"delivery_key"`
}

// shownTarget is an opened target: shares are made for its label and second halves.
type shownTarget struct {
	Label      string `json:"label"`
	SecondHalf string `json:"second_half"` // digest, of a record of version 1
	Record     string `json:"record"`      // digest of all that was opened: pen name, platform, salt, second halves and fields
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// shownIn is what f shows.
func shownIn(f opening.CaseFile, deliveryKey string) (shown, error) {
	warrant := policy.Hash(f.Submission.Warrant)
	s := shown{
		Case: f.Case, Warrant: hex.EncodeToString(warrant[:]), Bundle: f.Bundle,
		LeafIndex: f.Leaf.Index, Leaf: f.Leaf.Bytes, DeliveryKey: deliveryKey,
	}
	for _, e := range f.Submission.Evidence {
		s.Evidence = append(s.Evidence, digest([]byte(e)))
	}
	for _, t := range f.Targets {
		whole, err := json.Marshal(t)
		if err != nil {
			return shown{}, err
		}
		s.Targets = append(s.Targets, shownTarget{t.Label, digest(t.SecondHalf), digest(whole)})
	}
	return s, nil
}

// shows reports whether the case is shown as it was: a target that does not wait any longer
// may look otherwise, because nothing is signed about it.
func (r *Review) shows(was shown) bool {
	is := r.shown
	is.Targets, was.Targets = slices.Clone(is.Targets), slices.Clone(was.Targets)
	for i, t := range r.Targets {
		if !t.Waits() && i < len(is.Targets) && i < len(was.Targets) {
			is.Targets[i], was.Targets[i] = shownTarget{}, shownTarget{}
		}
	}
	return reflect.DeepEqual(is, was)
}

// The files of a case: what was shown, which a later review of the same case
// replaces, and what was signed while a bundle was in force, which nothing
// replaces. An id is hashed, because it is the registrar's text.
func reviewFile(id string) string            { return reviewPrefix + digest([]byte(id))[:32] }
func decisionFile(id, inForce string) string { return decisions(id) + inForce[:16] }

// decisions begins the name of whatever was signed in a case.
func decisions(id string) string { return "decision-" + digest([]byte(id))[:32] + "-" }

// signedIn returns what the folder has signed in a case, by file.
func (c *Custodian) signedIn(id string) (map[string]string, error) {
	names, err := c.folder.files(decisions(id))
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	for _, name := range names {
		raw, err := c.folder.read(name)
		if err != nil {
			return nil, err
		}
		all[name] = string(raw)
	}
	return all, nil
}

const reviewPrefix = "review-"

// mayKeep says what the folder is to keep of a review. It refuses a case that this folder knows
// with another warrant, and a warrant that it knows as another case: one of the
// two was shown in the place of the other.
func (c *Custodian) mayKeep(r *Review, at time.Time) error {
	r.kept = &kept{Shown: r.shown, At: at, Expires: r.Warrant.Expiry, Failed: r.Failed, Tree: r.tree, Proof: r.file.Leaf.Proof,
		ordered: ordered{Authority: r.Warrant.Authority, Requester: r.Warrant.Requester.OrganisationID, Recorded: r.recorded,
			Repeats: policy.KindOf(r.Warrant.Kind).As != ""}}
	for _, t := range r.Targets {
		r.kept.Names = append(r.kept.Names, t.name())
	}
	before, err := c.keptReviews(at, nil)
	if err != nil {
		return err
	}
	if err := c.recall(r, before); err != nil {
		return err
	}
	if err := c.mayReplace(r); err != nil {
		return err
	}
	for _, old := range before {
		if old.Case != r.shown.Case && old.Warrant == r.shown.Warrant {
			return ErrWarrantTwice.Because(errors.New(old.Case))
		}
	}
	return nil
}

// mayReplace refuses to replace what the folder keeps of a case that was shown otherwise then.
func (c *Custodian) mayReplace(r *Review) error {
	signed, err := c.signedIn(r.Case)
	if err != nil {
		return err
	}
	switch old, err := c.folder.kept(reviewFile(r.Case)); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case old.Shown.Warrant != r.shown.Warrant || old.Shown.LeafIndex != r.shown.LeafIndex, !r.shows(old.Shown) && len(signed) > 0:
		return ErrNotAsReviewed.Because(fmt.Errorf("to begin anew, keep %s and %s* elsewhere", reviewFile(r.Case), decisions(r.Case)))
	}
	return nil
}

// keep writes a review into the folder.
func (c *Custodian) keep(r *Review) error {
	raw, err := json.Marshal(r.kept)
	if err != nil {
		return err
	}
	return c.folder.replace(reviewFile(r.Case), raw)
}

// briefsFile holds the briefs of kept reviews by the names of their files, so that these are not
// read each time. If it is lost, all are.
const briefsFile = "briefs.age"

// briefed is a brief and the file that it was read from, which [folder.replace] never changes:
// one of the same name that is not it is younger.
type briefed struct {
	Sum     string    `json:"sum"` // SHA-256, hex
	Size    int64     `json:"size"`
	Written time.Time `json:"written"`
	brief
}

// briefs returns what is in briefsFile, and when it was written.
func (f *folder) briefs() (known map[string]briefed, written time.Time) {
	info, err := os.Stat(f.path(briefsFile))
	if err != nil {
		return nil, written
	}
	if raw, err := f.read(briefsFile); err != nil || json.Unmarshal(raw, &known) != nil {
		known = nil
	}
	return known, info.ModTime()
}

// briefOf reads the brief of a kept review. known is what was read of that name before, and one
// a review that was read just now, or nil.
func (f *folder) briefOf(name string, info fs.FileInfo, known briefed, one *kept) (b briefed, err error) {
	sealed, err := f.sealed(name)
	if err != nil {
		return b, err
	}
	b = briefed{digest(sealed), info.Size(), info.ModTime(), known.brief}
	switch {
	case known.Sum == b.Sum:
	case one != nil && one.sum == b.Sum:
		b.brief = one.brief()
	default:
		k, err := f.parseKept(sealed)
		if err != nil {
			return b, err
		}
		b.brief = k.brief()
	}
	return b, nil
}

// keptReviews reads what the folder keeps, and drops what it need not keep any
// longer. one is of a review that was read already, or nil.
func (c *Custodian) keptReviews(at time.Time, one *kept) (all []brief, err error) {
	files, err := c.folder.files(reviewPrefix)
	if err != nil {
		return nil, err
	}
	known, written := c.folder.briefs()
	briefs, changed := make(map[string]briefed), false
	for _, name := range files {
		info, err := os.Lstat(c.folder.path(name))
		if err != nil {
			return nil, secretfile.ErrUnreadable.Because(err)
		}
		b := known[name]
		// What was written while the briefs were may have been written once more since.
		if b.Size != info.Size() || !b.Written.Equal(info.ModTime()) || !b.Written.Before(written) || info.Mode() != 0o600 {
			if b, err = c.folder.briefOf(name, info, b, one); err != nil {
				return nil, err
			}
			changed = true
		}
		if at.Before(b.Expires.Add(recordStays)) {
			all, briefs[name] = append(all, b.brief), b
			continue
		}
		signed, err := c.signedIn(b.Case)
		if err != nil {
			return nil, err
		}
		for _, old := range append(slices.Collect(maps.Keys(signed)), name) {
			if err := c.folder.disk.Remove(c.folder.path(old)); err != nil {
				return nil, err
			}
		}
	}
	if len(briefs) == len(known) && !changed {
		return all, nil
	}
	raw, err := json.Marshal(briefs)
	if err == nil {
		raw, err = encrypt(c.folder.id.Recipient(), raw)
	}
	if err == nil {
		c.folder.note(briefsFile, raw)
	}
	return all, err
}

// kept reads one kept review; fs.ErrNotExist: there is none.
func (f *folder) kept(name string) (*kept, error) {
	sealed, err := f.sealed(name)
	if err != nil {
		return nil, err
	}
	return f.parseKept(sealed)
}

func (f *folder) parseKept(sealed []byte) (*kept, error) {
	raw, err := f.decrypt(sealed)
	if err != nil {
		return nil, err
	}
	k := &kept{sum: digest(sealed)}
	if err := json.Unmarshal(raw, k); err != nil {
		return nil, ErrSecret
	}
	return k, nil
}

// Did says when this folder reviewed a case and when it answered it last; zero: it did not.
func (c *Custodian) Did(id string) (reviewed, answered time.Time, err error) {
	k, err := c.folder.kept(reviewFile(id))
	switch {
	case err == nil:
		reviewed = k.At
	case !errors.Is(err, fs.ErrNotExist):
		return reviewed, answered, err
	}
	signed, err := c.signedIn(id)
	for _, raw := range signed {
		a, err := opening.ParseApprovalUnverified(raw)
		if err != nil {
			return reviewed, answered, ErrSecret
		}
		if a.At.After(answered) {
			answered = a.At
		}
	}
	return reviewed, answered, err
}

// LastAnswer is what this folder signed last in a case; nil: nothing. older says that it has seen
// newer rules in force since, under which the same answer can be signed again.
func (c *Custodian) LastAnswer(id string) (last *opening.Approval, signed string, older bool, err error) {
	all, err := c.signedIn(id)
	for _, raw := range all {
		a, err := opening.ParseApprovalUnverified(raw)
		if err != nil {
			return nil, "", false, ErrSecret
		}
		if last == nil || a.At.After(last.At) {
			last, signed = a, raw
		}
	}
	return last, signed, last != nil && all[decisionFile(id, c.Bundle)] == "", err
}

// Reviewed checks a case again, as the registrar shows it now, before it is
// decided on: it is [ErrNotReviewed] without a review within 30 days, and
// [ErrNotAsReviewed] unless all that identifies the case is what the folder kept
// then. A log that shows two trees of one size is proof.ErrSplitView. The other
// refusals are those of [Custodian.Review].
func (c *Custodian) Reviewed(id string, f opening.CaseFile, since []*policy.Bundle, at time.Time) (*Review, error) {
	r, err := c.check(id, f, since, at)
	if err != nil {
		return nil, err
	}
	k, err := c.folder.kept(reviewFile(id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotReviewed
	case err != nil:
		return nil, err
	case at.After(k.At.Add(reviewCounts)):
		return nil, ErrNotReviewed
	case !r.shows(k.Shown):
		return nil, ErrNotAsReviewed
	}
	before, err := c.keptReviews(at, k)
	if err != nil {
		return nil, err
	}
	if err := c.recall(r, before); err != nil {
		return nil, err
	}
	r.kept = k
	r.compared(k.Checked)
	return r, k.Tree.Contradicts(r.tree)
}

// Decision returns the answer that this folder has signed in a case while the
// bundle inForce was, to be sent again byte for byte: a lost acknowledgement
// changes nothing. It is "" if there is none, and [ErrSignedOtherwise] if it is not
// the decision and the reason that were asked for, whatever was in force: under new
// rules the same answer is signed again, by a custodian who may, and with a share
// that fits. [opening.Approve] asks for whatever was answered about the targets.
func (c *Custodian) Decision(id, decision, reason string, inForce *policy.Bundle) (signed string, err error) {
	return c.decision(id, &opening.Approval{Decision: decision, Reason: reason}, inForce)
}

func (c *Custodian) decision(id string, want *opening.Approval, inForce *policy.Bundle) (signed string, err error) {
	all, err := c.signedIn(id)
	if err != nil {
		return "", err
	}
	for _, raw := range all {
		a, err := opening.ParseApprovalUnverified(raw)
		switch {
		case err != nil || a.Case != id:
			return "", ErrSecret
		case want.Decision == opening.Approve && len(want.Answers) == 0 && len(a.Answers) > 0:
		case !sameVotes(a, want):
			return "", ErrSignedOtherwise
		}
	}
	return all[decisionFile(id, inForce.Hash())], nil
}

// sameVotes reports whether two decisions come to the same for each target that both are
// about: one may have ended between them. An approval of before there were answers is one for
// all.
func sameVotes(was, is *opening.Approval) bool {
	if len(was.Answers) == 0 || len(is.Answers) == 0 {
		return was.Decision == is.Decision && was.Reason == is.Reason && len(was.Answers) == 0 &&
			!slices.ContainsFunc(is.Answers, func(a opening.Answer) bool { return a.Vote != opening.Approve })
	}
	return !slices.ContainsFunc(is.Answers, func(a opening.Answer) bool {
		return slices.ContainsFunc(was.Answers, func(b opening.Answer) bool {
			return a.Target == b.Target && (a.Vote != b.Vote || a.Reason != b.Reason)
		})
	})
}
