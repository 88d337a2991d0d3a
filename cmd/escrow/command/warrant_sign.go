package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

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

// noSecrecy is said of a warrant whose secrecy is over when it begins: it may be meant,
// or a wrong year.
const noSecrecy = "note: the secrecy of this warrant ends before it begins, so there is none: whoever it names is told before anything is opened"

// signFlags are what signing a warrant takes.
type signFlags struct {
	key, bundle string
	out         shell.Out
}

func (f *signFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.key, "key", "", "file with the court's secret signing key (JWK, mode 0600)")
	c.Flags().StringVar(&f.bundle, "bundle", "", "bundle of rules that the warrant is made under; fills in its hash, and what it would refuse is not signed")
	f.out.Flags(c, "", "file to write the signed warrant to, instead of printing it")
}

// sign completes a warrant, signs it and prints it.
func sign(p *program, k jose.JSONWebKey, f signFlags, w *policy.Warrant) error {
	var b *policy.Bundle
	if f.bundle != "" {
		var err error
		if b, err = p.readBundle(f.bundle); err != nil {
			return err
		}
	}
	var id [16]byte
	rand.Read(id[:])
	w.Complete(b, id, p.Now())
	if b != nil { // what filing will refuse is not signed
		if d := policy.BeforeSigning(*w, k, b, p.Now()); d.Refusal != nil {
			said := shell.ProblemOf(d.Refusal)
			said.Rules = d.Rules
			return said
		}
	}
	signed, err := policy.SignWarrant(k, *w)
	if errors.Is(err, policy.ErrMalformed) {
		err = policy.ErrDraft.Because(errors.Unwrap(err))
	}
	if err != nil {
		return err
	}
	said, text := map[string]string{"warrant": signed}, signed
	if b.WithoutSecrecy(*w) {
		said["note"] = noSecrecy
		if !p.json {
			fmt.Fprintln(p.Stderr, noSecrecy)
		}
	}
	if f.out.File != "" {
		if err := f.out.WritePrivate([]byte(signed)); err != nil {
			return err
		}
		evidence := ""
		if policy.KindOf(w.Kind).Targets {
			evidence = " --evidence …"
		}
		if policy.KindOf(w.Kind).Opens && (b == nil || !b.ForbidsCopies(w)) {
			evidence += " --exhibits …"
		}
		text = fmt.Sprintf("signed: %s, file %s, expires %s\nNext: escrow warrant file %s%s --server …",
			f.out.File, document.Printable(w.FileNumber), w.Expiry.UTC().Format(time.DateOnly), f.out.File, evidence)
	}
	return p.print(said, text)
}

func warrantSign(p *program) *cobra.Command {
	var f signFlags
	c := leaf("sign DRAFT", "Sign a warrant: the draft is JSON, - is standard input",
		"escrow warrant sign draft.json --key court.jwk --bundle bundle.json --out warrant.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			if err := require([2]string{"key", f.key}); err != nil {
				return err
			}
			k, err := secretfile.ReadKey(f.key)
			if err != nil {
				return err
			}
			b, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			w, err := policy.ParseDraft(b)
			if err != nil {
				return shell.InFile(args[0], 0, err)
			}
			return sign(p, k, f, w)
		})
	c.Long = "Signs a warrant. The draft is JSON; - is standard input. Authority, offence\n" +
		"class, platform and fields must be named as the bundle names them. This one\n" +
		"asks for the name behind one pen name; id, times and the bundle's hash are filled in:\n\n" + exampleDraft +
		"\nevidence is the SHA-256 of the file that the platform gave: sha256sum threats.jws.\n" +
		"delivery_key is what escrow warrant keygen printed for the requester.\n\n" +
		"About an offence of which nobody may make a copy (no_copy in the bundle's offence_classes), nothing of\n" +
		"what was published is sent: custodians judge what the court says of it. Describe the post of each\n" +
		"piece of evidence beside evidence, under the same SHA-256, and of further evidence too:\n\n" +
		`  "targets": [{"pseudonym": "pen1…", "platform": "town-square", "evidence": "db708c87…",` + "\n" +
		`               "descriptions": {"db708c87…": "A picture of the abuse of a child."}}]` + "\n\n" +
		"No other warrant has descriptions.\n\n" +
		"Where evidence was preserved before, or is under a key that was reported stolen since, add\n" +
		"\"earlier\": the SHA-256 of the signed file of your earlier warrant about the same evidence,\n" +
		"64 hex digits (sha256sum warrant.jws), not its id and not that of its case."
	f.add(c)
	return c
}
