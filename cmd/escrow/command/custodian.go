package command

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

var (
	errHome = refusal.New(refusal.Invalid, "custodian.bad_home",
		"the custodian's folder is not there or incomplete: make one with escrow custodian init")
	errOtherBundle = refusal.New(refusal.Denied, "custodian.other_bundle",
		"the case was decided under rules that this custodian has not endorsed: read the new bundle, and endorse it or decline")
	errCaseMismatch = refusal.New(refusal.Denied, "custodian.case_mismatch",
		"what the registrar shows is not what the public log recorded: do not approve, and tell the other custodians")
	errRecordMismatch = refusal.New(refusal.Denied, "custodian.record_mismatch",
		"the sealed record is not the one that the token in the evidence commits to: somebody may be framed, do not approve")
	errReason = refusal.New(refusal.Invalid, "custodian.reason_needed",
		"declining needs --reason, one of: "+strings.Join(policy.DeclineReasons, ", "))
)

// Custodian is a custodian's folder on their own machine, mode 0700. What is
// secret is encrypted with age, see [folder]:
//
//	custodian.json  who they are, and the bundle they endorsed
//	bundle.json     that bundle
//	identity.age    opens the other secrets; itself encrypted with the passphrase
//	signing.jwk     signs approvals, endorsements and messages of ceremonies
//	share.key       their share of the threshold key; share.key.epoch-N an
//	                older one, until a bundle with the newer key is endorsed
//	ceremony.key    for the next ceremony; destroyed when its share is safe
//	ceremony-….state, transcript-….json  what was said in a ceremony
//	witness.key     cosigns checkpoints, with witness-state
type Custodian struct {
	ID           string `json:"custodian"`
	Name         string `json:"name"`
	Organisation string `json:"organisation"`
	Server       string `json:"server,omitempty"`
	Bundle       string `json:"bundle"` // hash of the bundle that was endorsed, hex

	*folder
	key jose.JSONWebKey
	b   *policy.Bundle
}

func (p *program) openHome(ctx context.Context, dir string) (*Custodian, error) {
	raw, err := p.readFile(filepath.Join(dir, "custodian.json"))
	if err != nil {
		return nil, errHome.Because(err)
	}
	c := &Custodian{}
	if err := json.Unmarshal(raw, c); err != nil || c.ID == "" {
		return nil, errHome.Because(err)
	}
	if c.folder, err = p.unlock(ctx, dir); err != nil {
		return nil, err
	}
	if c.key, err = c.jwk(signingFile); err != nil {
		return nil, err
	}
	if p.server == "" {
		p.server = c.Server
	}
	return c, nil
}

// save writes custodian.json.
func (c *Custodian) save() error {
	meta, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return c.put("custodian.json", meta)
}

// endorsed is the custodian's own copy of the rules: only a case under exactly
// these is looked at.
func (p *program) endorsed(c *Custodian) (err error) {
	if c.b, err = p.readBundle(filepath.Join(c.dir, "bundle.json")); err != nil {
		return err
	}
	if c.b.Hash() != c.Bundle {
		return errOtherBundle
	}
	return nil
}

func (p *program) readBundle(name string) (*policy.Bundle, error) {
	raw, err := p.readFile(name)
	if err != nil {
		return nil, err
	}
	return policy.ParseBundle(raw)
}

func (p *program) custodian() *cobra.Command {
	var home string
	c := group("custodian", "Check cases on your own machine and release shares",
		p.custodianList(&home), p.custodianReview(&home), p.custodianApprove(&home), p.custodianRefuse(&home),
		p.custodianEndorse(&home), p.custodianWitness(&home),
		p.custodianInit(&home), p.custodianPassphrase(&home), p.custodianCard(&home), p.custodianCeremony(&home))
	config, _ := os.UserConfigDir()
	c.PersistentFlags().StringVar(&home, "home", filepath.Join(config, "escrow"), "the custodian's folder")
	c.MarkPersistentFlagDirname("home") //nolint:errcheck // it exists
	c.PersistentFlags().StringVar(&p.passphraseFile, "passphrase-file", "", "file (mode 0600) with the folder's passphrase; else it is asked for")
	return c
}

func (p *program) custodianList(home *string) *cobra.Command {
	return leaf("list", "List the cases that wait for custodians", "escrow custodian list", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			c, err := p.openHome(ctx, *home)
			if err != nil {
				return err
			}
			var out registrar.Cases
			if err := p.call(ctx, "GET", "/v1/cases", &c.key, nil, &out); err != nil {
				return err
			}
			var text strings.Builder
			for _, s := range out.Cases {
				fmt.Fprintf(&text, "%s  %d of %d approved, expires %s\n", s.Case, s.Approvals, s.Quorum, s.Expires.UTC().Format(time.DateOnly))
			}
			if len(out.Cases) == 0 {
				text.WriteString("nothing waits for you")
			}
			return p.print(out, text.String())
		})
}

// review is what a custodian's own checks found.
type review struct {
	Case     string          `json:"case"`
	Findings []string        `json:"findings"`
	Warrant  *policy.Warrant `json:"warrant"`
	Posts    []post          `json:"posts"` // by target

	file       policy.CaseFile // what the registrar showed
	checkpoint int64           // size of the cosigned tree that holds the leaf
	from       time.Time       // when the notice period is over
}

func (p *program) custodianReview(home *string) *cobra.Command {
	return leaf("review CASE", "Check a case: rules, signatures, evidence, the public log and the sealed records",
		"escrow custodian review CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, err := p.openHome(ctx, *home)
			if err != nil {
				return err
			}
			r, err := p.reviewCase(ctx, c, args[0])
			if err != nil {
				return err
			}
			return p.print(r, r.String())
		})
}

func (r *review) String() string {
	w := r.Warrant
	s := fmt.Sprintf("case %s\n%s of %s (%s), file %s\nlegal basis: %s\noffence: %s (%s), at most %d months\ngrounds: %s\nnecessity: %s\nproportionality: %s\nasked for: %s, by %s, %s\nsecret until %s: %s\n",
		r.Case, w.Kind, w.Authority, w.Jurisdiction, w.FileNumber, w.LegalBasis, w.Offence, w.OffenceClass, w.MaxPenaltyMonths,
		w.Grounds, w.Necessity, w.Proportionality, strings.Join(w.Fields, ", "), w.Requester.Name, w.Requester.Organisation,
		w.Secrecy.Ends.UTC().Format(time.DateOnly), w.Secrecy.Reason)
	for i, t := range w.Targets {
		s += fmt.Sprintf("target: %s on %s\n", t.Pseudonym, t.Platform)
		if i < len(r.Posts) {
			p := r.Posts[i]
			s += fmt.Sprintf("  for the post %s of %s, sha256 %s\n", p.URL, p.At.Format(time.RFC3339), p.SHA256)
		}
	}
	for _, f := range r.Findings {
		s += "✓ " + f + "\n"
	}
	return document.Printable(s)
}

// post is what a target's evidence is about: where a custodian can read it, and
// what it has to hash to.
type post struct {
	URL    string    `json:"url"`
	SHA256 string    `json:"sha256"` // hex, as sha256sum prints it
	At     time.Time `json:"at"`
}

func posts(of []token.Post) (all []post) {
	for _, p := range of {
		all = append(all, post{p.URL, hex.EncodeToString(p.Digest[:]), p.At})
	}
	return all
}

// reviewCase is promise 3 and promise 8 on the custodian's own machine: it
// trusts the registrar for nothing.
func (p *program) reviewCase(ctx context.Context, c *Custodian, id string) (*review, error) {
	if err := p.endorsed(c); err != nil {
		return nil, err
	}
	var f policy.CaseFile
	if err := p.call(ctx, "GET", "/v1/cases/"+pathEscape(id), &c.key, nil, &f); err != nil {
		return nil, err
	}
	if f.Bundle != c.Bundle {
		return nil, errOtherBundle
	}
	// 1. The rules, decided again here.
	d := policy.Decide(f.Submission, c.b, p.Now())
	if !d.Allowed {
		return nil, &registrar.Problem{Code: d.Refusal.Code, Title: d.Refusal.Mend, Rules: d.Rules}
	}
	r := &review{Case: f.Case, Warrant: d.Warrant, Posts: posts(d.Posts), file: f}
	r.found("the warrant is signed by %s and the rules allow it (%s)", d.Warrant.Authority, strings.Join(d.Rules, ", "))
	r.found("every target has evidence signed by its platform, with the token as presented")
	// 2. The public log holds it, under a quorum of witnesses.
	log, err := c.b.TrustedLog()
	if err != nil {
		return nil, err
	}
	leaf, err := checkLeaf(log, f.Leaf, proof.KindRecorded, -1)
	if err != nil {
		return nil, err
	}
	_, checkpoint, err := log.VerifyProof(f.Leaf.Bytes, f.Leaf.Proof)
	if err != nil {
		return nil, err
	}
	r.checkpoint = checkpoint.N
	if d.NoticePeriod > 0 {
		day, err := time.Parse(time.DateOnly, leaf.Day)
		if err != nil {
			return nil, errCaseMismatch
		}
		r.from = day.AddDate(0, 0, 1).Add(d.NoticePeriod) // whole days after the day of the leaf
	}
	if len(f.Salt) != 32 {
		return nil, errCaseMismatch
	}
	want, err := policy.RecordedLeaf(f.Submission.Warrant, d.Warrant, [32]byte(f.Salt), c.Bundle, leaf.Day).Marshal()
	if err != nil || !bytes.Equal(want, f.Leaf.Bytes) {
		return nil, errCaseMismatch
	}
	r.found("the public log recorded it at entry %d, cosigned by a quorum of witnesses", f.Leaf.Index)
	// 3. Each sealed record is the one that the token committed to when it was issued.
	if len(f.Targets) != len(d.Warrant.Targets) {
		return nil, errCaseMismatch
	}
	for i, t := range f.Targets {
		want := d.Warrant.Targets[i]
		if t.Pseudonym != want.Pseudonym || t.Platform != want.Platform || !commits(t, nil, d.Tokens[i].Commitment) {
			return nil, errRecordMismatch
		}
	}
	r.found("each sealed record is the one that the token committed to: nobody is framed")
	return r, nil
}

// commits recomputes the commitment of a token from what the registrar shows:
// the digest of the sealed record, handed over or hashed field by field, the
// label and the salt.
func commits(t policy.OpenedTarget, fields map[string][]byte, commitment [32]byte) bool {
	digest, err := seal.Record{Label: t.Label, SecondHalf: t.SecondHalf, Fields: fields, Withheld: t.Withheld}.Digest()
	return err == nil && len(t.LinkSalt) == 32 &&
		token.Commit(t.Pseudonym, seal.Reference(t.Label, digest), [32]byte(t.LinkSalt)) == commitment
}

func (r *review) found(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}

func (p *program) custodianApprove(home *string) *cobra.Command {
	return leaf("approve CASE", "Check a case as review does, then release a share for each target, encrypted to the requester",
		"escrow custodian approve CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, err := p.openHome(ctx, *home)
			if err != nil {
				return err
			}
			r, err := p.reviewCase(ctx, c, args[0])
			if err != nil {
				return err
			}
			if p.Now().Before(r.from) {
				return policy.ErrNoticePeriod
			}
			shares, err := p.shares(c, r)
			if err != nil {
				return err
			}
			return p.send(ctx, c, r, policy.Approve, "", shares)
		})
}

// shares makes one share for each target, readable by the requester alone and
// bound to this warrant, record and custodian.
func (p *program) shares(c *Custodian, r *review) ([]policy.EncryptedShare, error) {
	pk, err := threshold.ParsePublicKey(c.b.ThresholdKey)
	if err != nil {
		return nil, err
	}
	ks, err := c.share(pk)
	if err != nil {
		return nil, err
	}
	warrantHash := policy.Hash(r.file.Submission.Warrant)
	var out []policy.EncryptedShare
	for i, t := range r.file.Targets {
		share, err := seal.DecryptShare(t.Label, t.SecondHalf, pk, ks)
		if err != nil {
			return nil, err
		}
		clearShare, err := share.MarshalBinary()
		if err != nil {
			return nil, err
		}
		sealed, err := seal.SealTo(r.Warrant.Requester.DeliveryKey, seal.ShareInfo(warrantHash, t.Label, c.ID), clearShare)
		clear(clearShare)
		if err != nil {
			return nil, err
		}
		out = append(out, policy.EncryptedShare{Target: i, Ciphertext: sealed})
	}
	return out, nil
}

func (p *program) send(ctx context.Context, c *Custodian, r *review, decision, reason string, shares []policy.EncryptedShare) error {
	warrantHash := policy.Hash(r.file.Submission.Warrant)
	signed, err := policy.SignApproval(c.key, policy.Approval{
		Case: r.Case, Custodian: c.ID, WarrantHash: hex.EncodeToString(warrantHash[:]), Bundle: c.Bundle,
		LeafIndex: r.file.Leaf.Index, CheckpointSize: r.checkpoint, Decision: decision, Reason: reason, Shares: shares, At: p.Now(),
	})
	if err != nil {
		return err
	}
	var st registrar.CaseStatus
	in := map[string]string{"decision": signed}
	if err := p.call(ctx, "POST", "/v1/cases/"+pathEscape(r.Case)+"/decisions", &c.key, in, &st); err != nil {
		return err
	}
	return p.print(st, r.String()+st.String())
}

func (p *program) custodianRefuse(home *string) *cobra.Command {
	var reason string
	c := leaf("refuse CASE", "Decline a case, with a reason that goes into the public log",
		"escrow custodian refuse CASE --reason disproportionate", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if !slices.Contains(policy.DeclineReasons, reason) {
				return errReason
			}
			c, err := p.openHome(ctx, *home)
			if err != nil {
				return err
			}
			if err := p.endorsed(c); err != nil {
				return err
			}
			// Not checked: one may decline what does not even pass review.
			r := &review{}
			if err := p.call(ctx, "GET", "/v1/cases/"+pathEscape(args[0]), &c.key, nil, &r.file); err != nil {
				return err
			}
			if r.Warrant, err = policy.ParseUnverified(r.file.Submission.Warrant); err != nil {
				return err
			}
			r.Case, r.checkpoint = r.file.Case, r.file.Leaf.Index+1
			return p.send(ctx, c, r, policy.Decline, reason, nil)
		})
	c.Flags().StringVar(&reason, "reason", "", "one of: "+strings.Join(policy.DeclineReasons, ", "))
	c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(policy.DeclineReasons, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // it exists
	return c
}

// Serve is [witness.Serve].
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	return witness.Serve(ctx, ln, h)
}
