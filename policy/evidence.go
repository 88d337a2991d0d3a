package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// AsksFor returns the platforms whose records [Decide] needs for a submission: those
// that its warrant names, if it is signed with a key of its authority and b has a registry.
func (b *Bundle) AsksFor(s Submission) []string {
	if b.Registry == nil {
		return nil
	}
	signed, w, err := openWarrant(s.Warrant)
	if err != nil {
		return nil
	}
	if _, err := b.registered(signed, w.Authority); err != nil {
		return nil
	}
	ids := make(map[string]bool)
	for _, t := range w.Targets {
		ids[t.Platform] = true
	}
	return slices.Sorted(maps.Keys(ids))
}

// verification is that of the evidence of one warrant.
type verification struct {
	*order
	keys     map[string]*evidenceKeys // by platform
	pieces   map[string]string        // that no target has used yet, by digest
	verified map[verifiedAs]*verified
	exhibits []token.Exhibit // of all pieces, each once
}

// verifiedAs is a piece with the platform that a target says it is of.
type verifiedAs struct{ digest, platform string }

// verified is what the signatures of a piece come to, by that platform's keys.
type verified struct {
	*token.Evidence
	token *token.Token
	err   error
}

// verify checks the signatures of all pieces that a target names, as many at a time as there
// are processors: of thousands of posts they are nearly all that a decision takes.
func (v *verification) verify() {
	v.verified = make(map[verifiedAs]*verified, len(v.pieces))
	type job struct {
		verifiedAs
		*verified
	}
	var jobs []job
	for i, t := range v.Targets {
		if v.targets[i].Refusal != nil {
			continue
		}
		for _, digest := range append([]string{t.Evidence}, t.Further...) {
			as := verifiedAs{digest, t.Platform}
			if raw, ok := v.pieces[digest]; ok && len(raw) <= maxEvidenceBytes && v.verified[as] == nil {
				v.verified[as] = new(verified)
				jobs = append(jobs, job{as, v.verified[as]})
			}
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(len(jobs), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(jobs); i = int(next.Add(1)) - 1 {
				j := jobs[i]
				j.Evidence, j.token, j.err = token.VerifyEvidence(v.pieces[j.digest], token.EvidenceRules{Issuer: v.b.Issuer, IssuerKeys: v.b.issuerKeys,
					PlatformKeys: v.keys[j.platform].set, Span: v.b.PostSpan(), Contentless: v.b.Version < 4})
			}
		})
	}
	wg.Wait()
}

// platform is known, and the custodians have not stopped it.
func (v *verification) platform(id string) error {
	if _, read := v.keys[id]; !read {
		v.keys[id] = v.b.evidenceKeys(id, v.known.Platforms, v.known.until())
	}
	switch {
	case v.keys[id] == nil:
		return ErrBadTarget
	case v.b.StopsPlatform(id):
		return ErrPlatformStopped
	}
	return nil
}

// evidence checks every piece and notes the first token of each target, its posts
// and since when its platform is registered.
// Evidence that no target names is refused too: nobody needs it here.
func (v *verification) evidence(evidence []string) error {
	if !v.needsEvidence() {
		if len(evidence) > 0 {
			return ErrNoEvidenceHere
		}
		return nil
	}
	for i, t := range v.Targets {
		if err := v.platform(t.Platform); err != nil {
			v.refuse(i, err)
		}
	}
	if err := v.wholly(); err != nil && v.b.Version < 5 {
		return err
	}
	missing, err := v.takePieces(evidence)
	if err != nil {
		return err
	}
	if err := v.whole(missing); err != nil {
		return err
	}
	v.verify()
	for i, t := range v.Targets {
		if v.targets[i].Refusal != nil {
			continue
		}
		found, exhibits, err := v.target(t, missing)
		if err != nil {
			v.refuse(i, err)
			continue
		}
		v.targets[i] = found
		v.exhibits = append(v.exhibits, exhibits...)
	}
	v.exhibits, err = uniqueExhibits(v.exhibits)
	return err
}

// takePieces reads the pieces, and returns the refusal of a target whose piece is not
// among them. Before version 5 they are exactly those that the warrant names; since then
// there are no more than it names that nobody names.
func (v *verification) takePieces(evidence []string) (missing error, _ error) {
	named, wanted := 0, make(map[string]bool)
	for _, t := range v.Targets {
		named += 1 + len(t.Further)
		for _, digest := range append([]string{t.Evidence}, t.Further...) {
			wanted[digest] = true
		}
	}
	if named > maxEvidence || len(evidence) > maxEvidence {
		return nil, ErrBadEvidence.Because(errors.New("too many pieces"))
	}
	if v.b.Version < 5 && len(evidence) < named {
		return nil, ErrNoEvidence
	}
	unnamed := 0
	v.pieces = make(map[string]string, len(evidence))
	for _, raw := range evidence {
		if v.b.Version < 5 && len(raw) > maxEvidenceBytes {
			return nil, errTooLarge
		}
		sum := sha256.Sum256([]byte(raw))
		digest := hex.EncodeToString(sum[:])
		if v.pieces[digest] = raw; !wanted[digest] {
			unnamed++
		}
	}
	if v.b.Version < 5 && (len(v.pieces) != named || len(evidence) != named) || len(v.pieces) != len(evidence) || len(evidence) > named {
		return nil, ErrEvidenceMismatch
	}
	if v.b.Version < 5 || unnamed > 0 {
		return ErrEvidenceMismatch, nil
	}
	return ErrNoEvidence, nil
}

// whole refuses, since version 5, a submission that lacks a piece of a target with which
// nothing else is wrong. That is the fault of whoever files it, which can be anybody who has
// the warrant, and not the target's: the court files it once more, whole.
func (v *verification) whole(missing error) error {
	if v.b.Version < 5 {
		return nil
	}
	for i, t := range v.Targets {
		for _, digest := range append([]string{t.Evidence}, t.Further...) {
			if _, here := v.pieces[digest]; !here && hashPattern.MatchString(digest) && v.targets[i].Refusal == nil {
				return refusal.Of(missing).Because(&Ground{Title: fmt.Sprintf("a piece of the evidence of target %d", i+1), Field: "targets",
					Cure: "file each piece that the warrant names by its SHA-256, and no other in its place"})
			}
		}
	}
	return nil
}

var errTooLarge = ErrBadEvidence.Because(errors.New("a piece is too large"))

// target checks the pieces of one.
func (v *verification) target(t Target, missing error) (d TargetDecision, exhibits []token.Exhibit, err error) {
	used := make(map[string]bool, 1+len(t.Further))
	for j, digest := range append([]string{t.Evidence}, t.Further...) {
		raw, ok := v.pieces[digest]
		if !ok || used[digest] {
			return d, nil, missing
		}
		used[digest] = true
		e, tok, reg, err := v.piece(raw, digest, t)
		if err != nil {
			return d, nil, err
		}
		exhibits = append(exhibits, e.Post.Exhibits...)
		d.Posts = append(d.Posts, Post{e.Post, digest, e.ProvenByKey, t.Descriptions[digest]})
		if j == 0 {
			d.Token, d.Registered = tok, reg
		} else if tok.Commitment != d.Token.Commitment {
			return d, nil, ErrEvidenceMismatch // which record would be opened?
		}
		d.Registered.Stolen = cmp.Or(d.Registered.Stolen, reg.Stolen)
	}
	for digest := range used {
		delete(v.pieces, digest) // one piece speaks for one post of one target
	}
	return d, exhibits, nil
}

// piece checks one, and returns since when its platform and its key are registered, too.
func (v *verification) piece(raw, digest string, t Target) (e *token.Evidence, tok *token.Token, reg Registered, err error) {
	if len(raw) > maxEvidenceBytes {
		return nil, nil, reg, errTooLarge
	}
	k, found := v.keys[t.Platform], v.verified[verifiedAs{digest, t.Platform}]
	e, tok, err = found.Evidence, found.token, found.err
	switch {
	case errors.Is(err, token.ErrNoContent):
		return nil, nil, reg, token.ErrNoContent
	case err != nil:
		return nil, nil, reg, ErrBadEvidence.Because(err)
	}
	if tok.Subject != t.Pseudonym || e.Platform != t.Platform || tok.Audience != t.Platform {
		return nil, nil, reg, ErrEvidenceMismatch
	}
	if e.Post.At.After(v.IssuedAt.Add(clockSkew)) {
		return nil, nil, reg, ErrBadEvidence.Because(errors.New("the post is younger than the warrant"))
	}
	if v.b.Registry != nil {
		reg.Platform, reg.Stolen = k.registered, k.stolen[e.KeyID].day
		reg.Key, err = k.judge(e, v.at, v.b.Registry.WaitingDays, func(leaf int64) bool { return v.known.holdsBefore(leaf, v.Warrant, digest) })
	}
	return e, tok, reg, err
}
