package command

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

const exampleDraft = `{
  "kind": "production", "authority": "county-court", "jurisdiction": "GB",
  "file_number": "TC 118 of 2026", "legal_basis": "Investigatory Powers Act 2016, Part 3",
  "offence_class": "threats-to-life", "offence_id": "threats-to-kill", "offence": "Threats to kill",
  "max_penalty_months": 120,
  "grounds": "The post in evidence, made under the pen name.",
  "necessity": "No other way to find its author is known.",
  "proportionality": "One pen name, and only who holds it.",
  "targets": [{"pseudonym": "pen1…", "platform": "town-square", "evidence": "db708c87…"}],
  "requester": {"name": "DS R. Amari", "organisation": "Thornley Police",
    "organisation_id": "thornley-police", "delivery_key": "pendk1.…"},
  "fields": ["name"], "deadline": "ten_days", "audience": "https://penname.example",
  "secrecy": {"ends": "2027-01-21T00:00:00Z", "reason": "The suspect could destroy evidence."}
}
`

var kinds = strings.Join(policy.KindNames(func(policy.Kind) bool { return true }), ", ")

// noSecrecy is said of a warrant whose secrecy is over when it begins, or counts as none: it
// may be meant, or a wrong year. Without a bundle nobody knows how many days count.
func noSecrecy(b *policy.Bundle) string {
	text := "this warrant has no secrecy: it ends before it begins"
	if b != nil && b.MinSecrecyDays > 0 {
		text += fmt.Sprintf(", or less than %d days after the issue, and less counts as none under the bundle (min_secrecy_days)", b.MinSecrecyDays)
	}
	return text + ". Whoever it names is told before anything is opened"
}

// signFlags are what signing a warrant takes.
type signFlags struct {
	signer
	bundle string
	draft  []byte // the text of it, for places in it to be named; nil: a program made it
	out    shell.Out
}

func (f *signFlags) add(c *cobra.Command) {
	f.signer.add(c, "key", "the court's secret signing key")
	c.Flags().StringVar(&f.bundle, "bundle", "", "bundle of rules that the warrant is made under; fills in its hash, and what it would refuse is not signed")
	f.out.Flags(c, "", "file to write the signed warrant to, instead of printing it")
}

// rules are those of --bundle; nil without it.
func (f *signFlags) rules(p *program) (*policy.Bundle, error) {
	if f.bundle == "" {
		return nil, nil
	}
	return p.readBundle(f.bundle)
}

// readDraft reads the draft of a warrant from a file.
func (p *program) readDraft(name string) (text []byte, w *policy.Warrant, err error) {
	if text, err = p.readFile(name); err != nil {
		return nil, nil, err
	}
	w, faults := policy.ReadDraft(text)
	if len(faults) > 0 {
		said := faulty(nil, faults)
		said.Cause = shell.ProblemOf(shell.InFile(name, 0, faults[0].Error)).Cause
		return nil, nil, said
	}
	return text, w, nil
}

// sign completes a warrant, signs it and prints it. b may be nil. earlier is the warrant that
// it is about or follows up, as far as it is at hand.
func (f *signFlags) sign(p *program, k jose.JSONWebKey, b *policy.Bundle, w *policy.Warrant, earlier string) error {
	if err := complete(k, b, w, earlier, f.draft, p.Now()); err != nil {
		return err
	}
	signed, err := signWarrant(k, w)
	if err != nil {
		return err
	}
	said, text := map[string]string{"warrant": signed}, signed
	if b.WithoutSecrecy(*w) {
		said["note"] = noSecrecy(b)
		if !p.json {
			fmt.Fprintln(p.Stderr, "note: "+noSecrecy(b))
		}
	}
	if f.out.File != "" {
		if err := f.out.WritePrivate([]byte(signed)); err != nil {
			return err
		}
		text = fmt.Sprintf("signed: %s, file %s, expires %s\n%s",
			f.out.File, document.Printable(w.FileNumber), w.Expiry.UTC().Format(time.DateOnly), f.next(b, w, earlier))
	}
	return p.print(said, text)
}

// complete fills in what a warrant lacks when it is signed, and refuses one that filing will
// refuse, if there are rules to judge it by. draft is its text, as in [signFlags].
func complete(k jose.JSONWebKey, b *policy.Bundle, w *policy.Warrant, earlier string, draft []byte, now time.Time) error {
	var id [16]byte
	rand.Read(id[:])
	w.Complete(b, id, now)
	if b == nil {
		return nil
	}
	c := b.Check(*w, policy.Given{Key: &k, Earlier: earlier}, now)
	d := c.Decision(len(w.Targets))
	if d.Refusal == nil {
		return nil
	}
	said := faulty(draft, c.Faults)
	said.Rules, said.Grounds = d.Rules, registrar.GroundsOf(d)
	return said
}

// signWarrant signs a warrant that is complete.
func signWarrant(k jose.JSONWebKey, w *policy.Warrant) (string, error) {
	signed, err := policy.SignWarrant(k, *w)
	if errors.Is(err, policy.ErrMalformed) {
		err = policy.ErrDraft.Because(errors.Unwrap(err))
	}
	return signed, err
}

// faulty is the first of the faults, with all of them and where they are in a text; nil: in none.
func faulty(text []byte, faults []policy.Fault) *registrar.Problem {
	if text != nil {
		policy.Locate(text, faults)
	}
	said := shell.ProblemOf(faults[0].Error)
	said.Faults = registrar.FaultsOf(faults)
	return said
}

// next says what is done with a signed warrant. A validation of anything but an emergency is no
// case of its own.
func (f *signFlags) next(b *policy.Bundle, w *policy.Warrant, earlier string) string {
	if e, err := policy.ParseUnverified(earlier); err == nil && w.Kind == policy.Validation && e.Kind != policy.Emergency {
		return "Next: whoever files the warrant files this with it: escrow warrant file WARRANT --countersigned " + f.out.File + " … --server …"
	}
	kind, with := policy.KindOf(w.Kind), ""
	if kind.Evidence {
		with = " --evidence …"
	}
	if kind.Decided && (b == nil || !b.ForbidsCopies(w)) {
		with += " --exhibits …"
	}
	before := ""
	if who := b.Countersigners(w); len(who) > 0 {
		before, with = "Before it is filed, it is signed by "+strings.Join(who, ", and by ")+": escrow warrant validate "+f.out.File+" …\n", with+" --countersigned …"
	}
	after := ""
	if w.Kind == policy.Emergency {
		after = "\n" + haveValidated(f.out.File)
	}
	return before + "Next: escrow warrant file " + f.out.File + with + " --server …" + after
}

// haveValidated says what becomes of an emergency that nobody validates.
func haveValidated(file string) string {
	return "Have it validated within the bundle's validation_hours from its filing, or it lapses: escrow warrant validate " + file + " …"
}

func warrantSign(p *program) *cobra.Command {
	var f signFlags
	var earlier string
	c := leaf("sign DRAFT", "Sign a warrant of any kind: the draft is JSON, - is standard input",
		"escrow warrant sign draft.json --key court.jwk --bundle bundle.json --out warrant.jws\n"+
			"  escrow warrant sign draft.json --key court.pem --certificate chain.pem --bundle bundle.json --out warrant.jws",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := f.needed("key"); err != nil {
				return err
			}
			k, done, err := f.open(ctx, p)
			if err != nil {
				return err
			}
			defer done()
			draft, w, err := p.readDraft(args[0])
			if err != nil {
				return err
			}
			f.draft = draft
			b, err := f.rules(p)
			if err != nil {
				return err
			}
			if earlier == "" {
				return f.sign(p, k, b, w, "")
			}
			raw, err := p.readFile(earlier)
			if err != nil {
				return err
			}
			before := strings.TrimSpace(string(raw))
			hash := policy.Hash(before)
			w.Earlier = hex.EncodeToString(hash[:])
			return f.sign(p, k, b, w, before)
		})
	c.Long = "Signs a warrant. The draft is JSON; - is standard input. Authority, offence and its class, organisation,\n" +
		"platform and fields must be named as the bundle names them. This one\n" +
		"asks for the name behind one pen name; id, times and the bundle's hash are filled in:\n\n" + exampleDraft +
		"\nevidence is the SHA-256 of the file that the platform gave: sha256sum threats.jws.\n" +
		"delivery_key is what escrow warrant keygen printed for the requester.\n\n" +
		"About an offence of which nobody may make a copy (no_copy in the bundle's offence_classes), nothing of\n" +
		"what was published is sent: custodians judge what the court says of it. Describe the post of each\n" +
		"piece of evidence beside evidence, under the same SHA-256, and of further evidence too:\n\n" +
		`  "targets": [{"pseudonym": "pen1…", "platform": "town-square", "evidence": "db708c87…",` + "\n" +
		`               "descriptions": {"db708c87…": "A picture of the abuse of a child."}}]` + "\n\n" +
		"No other warrant has descriptions.\n\n" +
		"Where evidence was preserved before, or is under a key that was reported stolen since, name the signed\n" +
		"file of your earlier warrant about the same evidence with --earlier. In the draft that is \"earlier\":\n" +
		"the SHA-256 of that file, 64 hex digits (sha256sum warrant.jws), not its id and not that of its case.\n\n" +
		"The kinds: " + kinds + ".\n" +
		"A suspension asks for no field and has no delivery_key; a preservation neither; a link names one pen\n" +
		"name and no field. An emergency is a production that no judge has signed yet: it alone has the\n" +
		"deadline eight_hours. \"jointly\": [\"appeal-court\"] names authorities that sign too, \"recognises\"\n" +
		"the order of another state (authority, country, file_number, sha256), \"role\": \"witness\" in a target\n" +
		"somebody who is no suspect (victim, child). A warrant of an earlier day has that day in \"issued_at\"\n" +
		"(\"2027-01-05T09:00:00Z\") and says why in \"dated_back\"; an emergency cannot be dated back.\n" +
		"Without secrecy the person is told first: \"secrecy\": {\"ends\": DAY, \"reason\": \"\"} with the day of\n" +
		"the issue; what ends before the bundle's min_secrecy_days counts as none too. Then custodians\n" +
		"decide when the days to object are over: let it be valid for three weeks at least.\n" +
		"Those about an earlier warrant have commands that draft them: escrow warrant --help."
	f.add(c)
	c.Flags().StringVar(&earlier, "earlier", "", "signed file of the warrant that this one follows up or is about: fills in its SHA-256, and what it does not allow is not signed")
	return c
}
