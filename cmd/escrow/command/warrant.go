package command

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errPackage = refusal.New(refusal.Invalid, "package.malformed",
		"the package is not what the public log recorded: keep it, do not use it, and tell the custodians")
	errBadShare = refusal.New(refusal.Denied, "package.bad_share",
		"too few shares are right to open this; keep the package as evidence against whoever signed for a wrong one, and ask another custodian")
	errPackageLeaf = refusal.New(refusal.Denied, "package.not_logged",
		"the package has no proof in the public log under this bundle: do not use it, and tell the custodians")
)

// warrant is `escrow warrant`: what a court and a requester do.
func (p *program) warrant() *cobra.Command {
	return group("warrant", "Sign, file, follow and open warrants",
		p.warrantKeygen(), p.warrantSign(), p.warrantWithdraw(), p.warrantFile(), p.warrantStatus(), p.warrantOpen())
}

func (p *program) warrantKeygen() *cobra.Command {
	return leaf("keygen FILE", "Make the delivery key that a package is encrypted to", "escrow warrant keygen requester.key",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			k, err := seal.GenerateDeliveryKey()
			if err != nil {
				return err
			}
			secret, err := k.Reveal()
			if err != nil {
				return err
			}
			if err := secretfile.Create(args[0], []byte(secret+"\n")); err != nil {
				return err
			}
			return p.print(map[string]string{"delivery_key": k.Public()}, k.Public())
		})
}

const exampleDraft = `{
  "kind": "production", "authority": "county-court", "jurisdiction": "GB",
  "file_number": "TC 118 of 2026", "legal_basis": "Investigatory Powers Act 2016, Part 3",
  "offence_class": "threats-to-life", "offence": "Threats to kill", "max_penalty_months": 120,
  "grounds": "The post in evidence, made under the pen name.",
  "necessity": "No other way to find its author is known.",
  "proportionality": "One pen name, and only who holds it.",
  "targets": [{"pseudonym": "pen1…", "platform": "town-square", "evidence": "db708c87…"}],
  "requester": {"name": "DS R. Amari", "organisation": "Thornley Police", "delivery_key": "pendk1.…"},
  "fields": ["name"], "deadline": "ten_days", "audience": "https://penname.example",
  "secrecy": {"ends": "2027-01-21T00:00:00Z", "reason": "The suspect could destroy evidence."}
}
`

// signFlags are what signing a warrant takes.
type signFlags struct{ key, bundle, out string }

func (f *signFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.key, "key", "", "file with the court's secret signing key (JWK, mode 0600)")
	c.Flags().StringVar(&f.bundle, "bundle", "", "bundle of rules that the warrant is made under; fills in its hash")
	c.Flags().StringVar(&f.out, "out", "", "file to write the signed warrant to, instead of printing it")
}

// sign completes a warrant, signs it and prints it.
func (p *program) sign(k jose.JSONWebKey, f signFlags, w *policy.Warrant) error {
	if err := p.complete(w, f.bundle); err != nil {
		return err
	}
	signed, err := policy.SignWarrant(k, *w)
	if errors.Is(err, policy.ErrMalformed) {
		err = policy.ErrDraft.Because(errors.Unwrap(err))
	}
	if err != nil {
		return err
	}
	text := signed
	if f.out != "" {
		if err := shell.WriteFile(f.out, []byte(signed)); err != nil {
			return err
		}
		evidence := ""
		if policy.KindOf(w.Kind).Targets {
			evidence = " --evidence …"
		}
		text = fmt.Sprintf("signed: %s, file %s, expires %s\nNext: escrow warrant file %s%s --server …",
			f.out, document.Printable(w.FileNumber), w.Expiry.UTC().Format(time.DateOnly), f.out, evidence)
	}
	return p.print(map[string]string{"warrant": signed}, text)
}

// warrantWithdraw repeats of the earlier warrant what tells which one it is, and
// no word about whom it named.
func (p *program) warrantWithdraw() *cobra.Command {
	var f signFlags
	var grounds string
	c := leaf("withdraw WARRANT", "Sign that a warrant of your own is withdrawn; file it as any warrant, before the other is released",
		"escrow warrant withdraw warrant.jws --grounds 'The complaint was withdrawn.' --key court.jwk --bundle bundle.json --out stop.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			if err := require([2]string{"key", f.key}, [2]string{"grounds", grounds}); err != nil {
				return err
			}
			k, err := p.readJWK(f.key)
			if err != nil {
				return err
			}
			b, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			raw := strings.TrimSpace(string(b))
			earlier, err := policy.ParseUnverified(raw)
			if err != nil {
				return err
			}
			hash := policy.Hash(raw)
			return p.sign(k, f, &policy.Warrant{
				Kind: policy.Withdrawal, Earlier: hex.EncodeToString(hash[:]), Authority: earlier.Authority, Jurisdiction: earlier.Jurisdiction,
				FileNumber: earlier.FileNumber, OffenceClass: earlier.OffenceClass, Grounds: grounds, Audience: earlier.Audience, Secrecy: earlier.Secrecy,
			})
		})
	f.add(c)
	c.Flags().StringVar(&grounds, "grounds", "", "why it is withdrawn")
	return c
}

func (p *program) warrantSign() *cobra.Command {
	var f signFlags
	c := leaf("sign DRAFT", "Sign a warrant: the draft is JSON, - is standard input",
		"escrow warrant sign draft.json --key court.jwk --bundle bundle.json --out warrant.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			if err := require([2]string{"key", f.key}); err != nil {
				return err
			}
			k, err := p.readJWK(f.key)
			if err != nil {
				return err
			}
			b, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			w, err := policy.ParseDraft(b)
			if err != nil {
				return err
			}
			return p.sign(k, f, w)
		})
	c.Long = "Signs a warrant. The draft is JSON; - is standard input. What the bundle calls\n" +
		"things has to be used for authority, offence class, platform and fields. This one\n" +
		"asks for the name behind one pen name; id, times and the bundle's hash are filled in:\n\n" + exampleDraft +
		"\nevidence is the SHA-256 of the file that the platform gave: sha256sum threats.jws.\n" +
		"delivery_key is what escrow warrant keygen printed for the requester."
	f.add(c)
	return c
}

// complete fills in what a draft may leave out.
func (p *program) complete(w *policy.Warrant, bundle string) error {
	if w.ID == "" {
		var id [16]byte
		rand.Read(id[:])
		w.ID = hex.EncodeToString(id[:])
	}
	if w.IssuedAt.IsZero() {
		w.IssuedAt = p.Now()
	}
	if w.Expiry.IsZero() {
		w.Expiry = w.IssuedAt.AddDate(0, 0, 30)
	}
	if bundle != "" {
		b, err := p.readBundle(bundle)
		if err != nil {
			return err
		}
		w.Bundle = b.Hash()
	}
	return nil
}

func (p *program) warrantFile() *cobra.Command {
	var evidence []string
	c := leaf("file WARRANT", "File a signed warrant with the registrar",
		"escrow warrant file warrant.jws --evidence threats.jws --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			b, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			s := policy.Submission{Warrant: strings.TrimSpace(string(b))}
			for _, name := range evidence {
				e, err := p.readFile(name)
				if err != nil {
					return err
				}
				s.Evidence = append(s.Evidence, strings.Fields(string(e))...)
			}
			var st registrar.CaseStatus
			if err := p.call(ctx, "POST", "/v1/warrants", nil, s, &st); err != nil {
				return err
			}
			return p.print(st, st.String())
		})
	c.Flags().StringArrayVar(&evidence, "evidence", nil, "file with evidence bundles, one a line; can be given again")
	return c
}

func (p *program) warrantStatus() *cobra.Command {
	return leaf("status CASE", "Say where a case stands", "escrow warrant status CASE --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			var st registrar.CaseStatus
			if err := p.call(ctx, "GET", "/v1/warrants/"+pathEscape(args[0]), nil, nil, &st); err != nil {
				return err
			}
			return p.print(st, st.String())
		})
}

// opened is what the requester learns, with the certificate for the court file.
type opened struct {
	Case        string           `json:"case"`
	Targets     []openedIdentity `json:"targets"`
	Certificate certificate      `json:"certificate"`
}

type openedIdentity struct {
	PenName  string            `json:"pen_name"`
	Platform string            `json:"platform"`
	Identity map[string]string `json:"identity"`
}

// certificate says what was checked, against which public record.
type certificate struct {
	Warrant    string   `json:"warrant_sha256"`
	Package    string   `json:"package_sha256"`
	Bundle     string   `json:"bundle_sha256"`
	Log        string   `json:"log"`
	Recorded   int64    `json:"recorded"`
	Authorised int64    `json:"authorised"`
	Released   int64    `json:"released"`
	Custodians []string `json:"custodians"`
	BadShares  []string `json:"bad_shares,omitempty"` // custodians who signed for a share that is wrong
}

func (p *program) warrantOpen() *cobra.Command {
	var key, bundle string
	c := leaf("open CASE", "Fetch the package of a case, check every proof and open it with the requester's key",
		"escrow warrant open CASE --key requester.key --bundle bundle.json --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := require([2]string{"key", key}, [2]string{"bundle", bundle}); err != nil {
				return err
			}
			private, err := p.readDelivery(key)
			if err != nil {
				return err
			}
			b, err := p.readBundle(bundle)
			if err != nil {
				return err
			}
			var d policy.Delivery
			if err := p.call(ctx, "GET", "/v1/warrants/"+pathEscape(args[0])+"/package", nil, nil, &d); err != nil {
				return err
			}
			o, err := openDelivery(d, b, private)
			if err != nil {
				return err
			}
			return p.print(o, o.String())
		})
	c.Flags().StringVar(&key, "key", "", "file with the requester's secret delivery key (mode 0600)")
	c.Flags().StringVar(&bundle, "bundle", "", "bundle of rules in force, whose log and custodians are trusted")
	return c
}

func (o opened) String() string {
	var s strings.Builder
	for _, t := range o.Targets {
		fmt.Fprintf(&s, "%s on %s is\n", t.PenName, t.Platform)
		for _, name := range slices.Sorted(maps.Keys(t.Identity)) {
			fmt.Fprintf(&s, "  %-12s %s\n", name, document.Printable(t.Identity[name]))
		}
	}
	c := o.Certificate
	fmt.Fprintf(&s, "certificate\n  case         %s\n  warrant      sha256 %s\n  package      sha256 %s\n  rules        sha256 %s\n"+
		"  public log   %s: recorded at %d, authorised at %d, released at %d\n  custodians   %s\n",
		o.Case, c.Warrant, c.Package, c.Bundle, c.Log, c.Recorded, c.Authorised, c.Released, strings.Join(c.Custodians, ", "))
	if len(c.BadShares) > 0 {
		fmt.Fprintf(&s, "  wrong shares %s\n", strings.Join(c.BadShares, ", "))
	}
	return s.String()
}

// openDelivery checks a delivery against the log and the custodians of the
// bundle, and opens it. Any doubt opens nothing.
func openDelivery(d policy.Delivery, b *policy.Bundle, private seal.DeliveryPrivate) (opened, error) {
	var p policy.Package
	if err := json.Unmarshal(d.Package, &p); err != nil {
		return opened{}, errPackage.Because(err)
	}
	log, err := b.TrustedLog()
	if err != nil {
		return opened{}, err
	}
	hash := sha256.Sum256(d.Package)
	released, err := checkLeaf(log, d.Released, proof.KindReleased, p.Recorded.Index)
	if err != nil {
		return opened{}, err
	}
	if released.Package != hex.EncodeToString(hash[:]) {
		return opened{}, errPackageLeaf
	}
	if _, err := checkLeaf(log, p.Authorised, proof.KindAuthorised, p.Recorded.Index); err != nil {
		return opened{}, err
	}
	recorded, err := checkLeaf(log, p.Recorded, proof.KindRecorded, -1)
	if err != nil {
		return opened{}, err
	}
	if len(p.Salt) != 32 || recorded.Commitment != proof.Commit([32]byte(p.Salt), "warrant", []byte(p.Submission.Warrant)) {
		return opened{}, errPackageLeaf
	}
	// Decided once more, as of when it was issued: it may have expired by now.
	unverified, err := policy.ParseUnverified(p.Submission.Warrant)
	if err != nil {
		return opened{}, err
	}
	decision := policy.Decide(p.Submission, b, unverified.IssuedAt)
	if !decision.Allowed || !decision.Opens {
		return opened{}, errPackage.Because(decision.Refusal)
	}
	w, warrantHash := decision.Warrant, decision.WarrantHash
	approvals, names, err := verifiedApprovals(d.Approvals, p, b, warrantHash)
	if err != nil {
		return opened{}, err
	}
	if len(approvals) < decision.Quorum {
		return opened{}, errPackage // the rules wanted more than the key needs
	}
	c := &court{private: private, bundle: b, warrant: warrantHash, approvals: approvals}
	if c.key, err = threshold.ParsePublicKey(b.ThresholdKey); err != nil {
		return opened{}, err
	}
	o := opened{Case: p.Case, Certificate: certificate{
		Warrant: hex.EncodeToString(warrantHash[:]), Package: released.Package, Bundle: b.Hash(), Log: log.Origin,
		Recorded: p.Recorded.Index, Authorised: p.Authorised.Index, Released: d.Released.Index, Custodians: names,
	}}
	if len(p.Targets) != len(w.Targets) {
		return opened{}, errPackage
	}
	for i, t := range p.Targets {
		if t.Pseudonym != w.Targets[i].Pseudonym || t.Platform != w.Targets[i].Platform {
			return opened{}, errPackage
		}
		if !commits(t.OpenedTarget, t.Fields, decision.Tokens[i].Commitment) {
			return opened{}, errRecordMismatch
		}
		fields, err := c.openTarget(t, i)
		if err != nil {
			return opened{}, err
		}
		id := openedIdentity{PenName: string(t.Pseudonym), Platform: t.Platform, Identity: make(map[string]string)}
		for name, value := range fields {
			id.Identity[name] = string(value)
		}
		o.Targets = append(o.Targets, id)
	}
	o.Certificate.BadShares = c.culprits
	return o, nil
}

// court is what a requester opens a package with.
type court struct {
	private   seal.DeliveryPrivate
	bundle    *policy.Bundle
	key       threshold.PublicKey
	warrant   [32]byte // hash
	approvals []*policy.Approval
	culprits  []string // custodians whose shares were wrong, with the code
}

// checkLeaf verifies a leaf's proof under the quorum of witnesses, its kind and
// its case.
func checkLeaf(log *proof.Log, l policy.LoggedLeaf, kind proof.Kind, recorded int64) (proof.Leaf, error) {
	parsed, err := proof.ParseLeaf(l.Bytes)
	if err != nil {
		return proof.Leaf{}, err
	}
	index, _, err := log.VerifyProof(l.Bytes, l.Proof)
	if err != nil {
		return proof.Leaf{}, errPackageLeaf.Because(err)
	}
	if index != l.Index || parsed.Kind != kind || recorded >= 0 && (parsed.Case == nil || *parsed.Case != recorded) {
		return proof.Leaf{}, errPackageLeaf
	}
	return parsed, nil
}

func verifiedApprovals(all []string, p policy.Package, b *policy.Bundle, warrantHash [32]byte) ([]*policy.Approval, []string, error) {
	var approvals []*policy.Approval
	var names []string
	for _, signed := range all {
		a, err := policy.VerifyApproval(signed, b)
		if err != nil {
			return nil, nil, err
		}
		if a.Case != p.Case || a.LeafIndex != p.Recorded.Index || a.WarrantHash != hex.EncodeToString(warrantHash[:]) || slices.Contains(names, a.Custodian) {
			return nil, nil, errPackage
		}
		approvals, names = append(approvals, a), append(names, a.Custodian)
	}
	return approvals, names, nil
}

// openTarget opens one sealed identity. A share that is wrong names the
// custodian who signed for it, and the others are enough if they are a quorum.
func (c *court) openTarget(t policy.PackageTarget, index int) (map[string][]byte, error) {
	var shares []threshold.Share
	for _, a := range c.approvals {
		share, err := c.share(a, t, index)
		if err != nil {
			c.blame(a.Custodian, err)
			continue
		}
		shares = append(shares, share)
	}
	if len(shares) < c.bundle.Threshold && len(c.culprits) > 0 {
		return nil, &registrar.Problem{Code: errBadShare.Code, Title: errBadShare.Mend + ": " + strings.Join(c.culprits, ", ")}
	}
	raw, err := c.private.Open(seal.HalvesInfo(c.warrant, t.Label), t.Halves)
	if err != nil {
		return nil, err
	}
	halves := make(map[string][]byte)
	if err := json.Unmarshal(raw, &halves); err != nil {
		return nil, errPackage // the cause could quote a half
	}
	return seal.Open(seal.Record{Label: t.Label, SecondHalf: t.SecondHalf, Fields: t.Fields, Withheld: t.Withheld}, halves, c.key, shares)
}

// share decrypts and checks the share of one custodian for one target: made
// with that custodian's part of the key, for this record.
func (c *court) share(a *policy.Approval, t policy.PackageTarget, index int) (threshold.Share, error) {
	var share threshold.Share
	i := slices.IndexFunc(a.Shares, func(s policy.EncryptedShare) bool { return s.Target == index })
	if i < 0 {
		return share, errPackage
	}
	raw, err := c.private.Open(seal.ShareInfo(c.warrant, t.Label, a.Custodian), a.Shares[i].Ciphertext)
	if err != nil {
		return share, err
	}
	if err := share.UnmarshalBinary(raw); err != nil {
		return share, err
	}
	if share.Index() != c.bundle.Custodian(a.Custodian).Index {
		return share, threshold.ErrForeign // somebody else's share under this signature
	}
	return share, seal.VerifyShare(t.Label, t.SecondHalf, c.key, share)
}

func (c *court) blame(custodian string, err error) {
	code := "unknown"
	if e := refusal.Of(err); e != nil {
		code = e.Code
	}
	if who := custodian + " (" + code + ")"; !slices.Contains(c.culprits, who) {
		c.culprits = append(c.culprits, who)
	}
}
