package command

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

var (
	errPenName = refusal.New(refusal.Invalid, "log.bad_pen_name",
		"the pen name is not whole: copy it again, it begins with pen1 and its last six characters are a checksum")
	errPlatform = refusal.New(refusal.Invalid, "log.unknown_platform",
		"no bundle that was named knows a platform of that id, so the log could never show a notice: copy the id from your page of pen names")
	errReceipt = refusal.New(refusal.Invalid, "log.bad_receipt",
		"the file is no whole receipt of a deletion: save the page that showed it, or copy its lines Label and Salt")
	errReceiptFalse = refusal.New(refusal.Denied, "log.false_receipt",
		"the receipt's commitment is not that of its label and salt: it was copied wrongly, or no entry of the log can ever match it; keep it and complain")
	errNotErased = refusal.New(refusal.NotYet, "log.not_erased",
		"the log shows no such deletion: it takes some minutes, and may take a month; the law can require a record to be kept for longer")
)

func pathEscape(s string) string { return url.PathEscape(s) }

// log is `escrow log`: what anyone can check.
func (p *program) log() *cobra.Command {
	return group("log", "Check the public log yourself", p.logAudit(), p.logNotices(), p.logReceipt(), p.logMirror())
}

// trustFlags are what every command here needs to trust anything.
type trustFlags struct{ bundles []string }

func (f *trustFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.bundles, "bundle", nil, "bundle of rules that you trust, the newest first; can be given again for older ones")
}

// trust returns the log that the newest bundle names, and the bundles by hash.
func (p *program) trust(f trustFlags) (*proof.Log, map[string]*policy.Bundle, error) {
	if len(f.bundles) == 0 {
		return nil, nil, shell.UsageError("--bundle is needed: the rules, witnesses and custodians that you trust")
	}
	byHash := make(map[string]*policy.Bundle)
	var newest *policy.Bundle
	for _, name := range f.bundles {
		b, err := p.readBundle(name)
		if err != nil {
			return nil, nil, err
		}
		byHash[b.Hash()] = b
		if newest == nil {
			newest = b
		}
	}
	if p.server == "" {
		p.server = newest.Registrar
	}
	log, err := newest.TrustedLog()
	return log, byHash, err
}

// tiles reads the log from a mirror, or from the server if there is none.
func (p *program) tiles(mirror string) (torchwood.TileReader, error) {
	if mirror != "" {
		return proof.Directory(mirror)
	}
	return proof.Fetch(strings.TrimRight(p.server, "/") + "/log")
}

// auditFlags are what an audit takes.
type auditFlags struct {
	trustFlags
	mirror      string
	since, save string
	at          string
}

func (f *auditFlags) add(c *cobra.Command) {
	f.trustFlags.add(c)
	c.Flags().StringVar(&f.mirror, "mirror", "", "folder of a mirror to read instead of the server")
	c.Flags().StringVar(&f.since, "since", "", "checkpoint that an earlier audit saved: the log must contain it")
	c.Flags().StringVar(&f.save, "save", "", "file to save the checkpoint to, for --since next time")
	c.Flags().StringVar(&f.at, "at", "", "time to judge overdue notices at, RFC 3339 (default now)")
}

// maxAge is how old the witnesses' cosignatures on a served log may be. The
// registrar has it cosigned every minute.
const maxAge = 24 * time.Hour

// audit reads the whole log and checks everything.
func (p *program) audit(ctx context.Context, f auditFlags) (*proof.Report, error) {
	log, byHash, err := p.trust(f.trustFlags)
	if err != nil {
		return nil, err
	}
	tiles, err := p.tiles(f.mirror)
	if err != nil {
		return nil, err
	}
	o := proof.AuditOptions{At: p.Now(), Progress: p.leaves, Rules: func(hash string) (proof.Rules, bool) {
		b, ok := byHash[hash]
		if !ok {
			return proof.Rules{}, false
		}
		return b.AuditRules(), true
	}}
	if f.at != "" {
		if o.At, err = time.Parse(time.RFC3339, f.at); err != nil {
			return nil, shell.UsageError("--at takes a time like 2026-11-21T12:00:00Z")
		}
	}
	if f.at == "" && f.mirror == "" {
		o.MaxAge = maxAge // a server that shows an old log hides what came since
	}
	if f.since != "" {
		signed, err := p.readFile(f.since)
		if err != nil {
			return nil, err
		}
		trusted, err := log.OpenCheckpoint(signed)
		if err != nil {
			return nil, err
		}
		o.Trusted = &trusted
	}
	report, err := log.Audit(ctx, tiles, o)
	if f.since != "" && (errors.Is(err, proof.ErrRollback) || errors.Is(err, proof.ErrSplitView)) {
		// The log could deny tomorrow what it signed today.
		err = errors.Join(err, shell.WriteFile(f.since+".refused", report.Signed))
	}
	if err != nil {
		return report, err
	}
	if f.save != "" {
		if err := shell.WriteFile(f.save, report.Signed); err != nil {
			return nil, err
		}
	}
	return report, nil
}

func (p *program) logAudit() *cobra.Command {
	var f auditFlags
	c := leaf("audit", "Check every entry, every hash and every case of the public log, and recompute the statistics",
		"escrow log audit --bundle bundle.json --server https://penname.example --save checkpoint", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			report, err := p.audit(ctx, f)
			if err != nil {
				return explained(err)
			}
			return p.print(struct {
				Size       int64            `json:"size"`
				Root       string           `json:"root"`
				Overdue    []int64          `json:"overdue"`
				Statistics proof.Statistics `json:"statistics"`
			}{report.Checkpoint.N, report.Checkpoint.Hash.String(), append([]int64{}, report.Overdue...), report.Statistics}, report.String())
		})
	f.add(c)
	return c
}

// explained adds the index to a refusal that has one: it is public.
func explained(err error) error {
	var at *proof.IndexError
	if e := refusal.Of(err); e != nil && errors.As(err, &at) {
		return &registrar.Problem{Code: e.Code, Title: fmt.Sprintf("%s (first wrong entry: %d)", e.Mend, at.Index)}
	}
	return err
}

func (p *program) logMirror() *cobra.Command {
	var f trustFlags
	c := leaf("mirror DIR", "Keep a verified copy of the public log that outlives its operator, and bring it up to date",
		"escrow log mirror /srv/mirror --bundle bundle.json --server https://penname.example", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			log, _, err := p.trust(f)
			if err != nil {
				return err
			}
			tiles, err := p.tiles("")
			if err != nil {
				return err
			}
			r, err := log.Mirror(ctx, tiles, args[0], p.leaves)
			if err != nil {
				return explained(err)
			}
			text := fmt.Sprintf("%d leaves verified, %d of them new\nroot %s", r.Size, r.Size-r.Before, r.Root)
			if r.Mended > 0 {
				text += fmt.Sprintf("\n%d files were wrong on this disk and were fetched again", r.Mended)
			}
			return p.print(r, text)
		})
	f.add(c)
	return c
}

func (p *program) leaves(done, size int64) { p.progress("%d of %d leaves\n", done, size) }

// receiptPart finds one part of the receipt of an erasure in the page that
// showed it: its text, as it is copied, or the page itself, as it is saved.
func receiptPart(text, name, form string) string {
	if m := regexp.MustCompile(`\b` + name + `:?\s*(` + form + `)\b`).FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// receipt returns what the leaf of an erasure must hold, recomputed from the
// label and the salt of a receipt.
func receipt(page []byte) (commitment string, err error) {
	text := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(string(page), "")
	salt, err := hex.DecodeString(receiptPart(text, "Salt", "[0-9a-f]{64}"))
	label := receiptPart(text, "Label", "[a-z2-7]{26}")
	if err != nil || len(salt) != 32 || label == "" {
		return "", errReceipt
	}
	commitment = proof.Commit([32]byte(salt), "erasure", []byte(label))
	if shown := receiptPart(text, "Commitment", "[0-9a-f]{64}"); shown != "" && shown != commitment {
		return "", errReceiptFalse
	}
	return commitment, nil
}

func (p *program) logReceipt() *cobra.Command {
	var f auditFlags
	c := leaf("receipt FILE", "Check with the receipt of a deletion that it was carried out, on your own machine",
		"escrow log receipt receipt.txt --bundle bundle.json", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			page, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			commitment, err := receipt(page)
			if err != nil {
				return err
			}
			report, err := p.audit(ctx, f)
			if err != nil {
				return explained(err)
			}
			at, day := int64(-1), ""
			err = p.entries(ctx, report, f.mirror, func(index int64, l proof.Leaf) {
				if l.Kind == proof.KindErased && l.Commitment == commitment {
					at, day = index, l.Day
				}
			})
			switch {
			case err != nil:
				return err
			case at < 0:
				return errNotErased
			}
			return p.print(map[string]any{"entry": at, "day": day, "commitment": commitment},
				fmt.Sprintf("the record was erased on %s: log entry %d says so, cosigned by a quorum of witnesses", day, at))
		})
	c.Long = "Checks with the receipt of a deletion that it was carried out.\n\n" +
		"FILE is the page that showed the receipt, saved, or its lines Label and Salt,\n" +
		"copied; - is standard input. The whole log is audited; the receipt does not leave\n" +
		"this machine."
	f.add(c)
	return c
}

func (p *program) logNotices() *cobra.Command {
	var f auditFlags
	var name, platform string
	c := leaf("notices", "Check that no served notice concerns a pen name of yours, on your own machine",
		"escrow log notices --pen-name pen1… --platform town-square --bundle bundle.json", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := require([2]string{"pen-name", name}, [2]string{"platform", platform}); err != nil {
				return err
			}
			if _, err := token.ParsePseudonym(name); err != nil {
				return errPenName
			}
			if _, known, err := p.trust(f.trustFlags); err != nil {
				return err
			} else if !slices.ContainsFunc(slices.Collect(maps.Values(known)), func(b *policy.Bundle) bool { return b.Platform(platform) != nil }) {
				return errPlatform
			}
			report, err := p.audit(ctx, f)
			if err != nil {
				return explained(err)
			}
			found, secret, err := p.concerns(ctx, report, f.mirror, name, platform)
			if err != nil {
				return err
			}
			text := fmt.Sprintf("no served notice concerns this pen name; %d cases are still secret", secret)
			if len(found) > 0 {
				text = fmt.Sprintf("this pen name was opened: the warrant is at log entry %v; %d cases are still secret", found, secret)
			}
			return p.print(map[string]any{"opened_at": found, "still_secret": secret}, text)
		})
	f.add(c)
	c.Flags().StringVar(&name, "pen-name", "", "your pen name; it does not leave this machine")
	c.Flags().StringVar(&platform, "platform", "", "the platform's id, as your page of pen names shows it")
	return c
}

// entries hands every leaf that was audited to each, in order.
func (p *program) entries(ctx context.Context, report *proof.Report, mirror string, each func(index int64, l proof.Leaf)) error {
	tiles, err := p.tiles(mirror)
	if err != nil {
		return err
	}
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return err
	}
	for index, raw := range client.AllEntries(ctx, report.Checkpoint.Tree, 0) {
		l, err := proof.ParseLeaf(raw)
		if err != nil {
			return err
		}
		each(index, l)
	}
	if err := client.Err(); err != nil {
		return proof.ErrFetch.Because(err)
	}
	return nil
}

// concerns returns the recorded warrants, opened by a notice, that name the pen
// name, and how many released ones are still secret. The pen name is compared
// on this machine.
func (p *program) concerns(ctx context.Context, report *proof.Report, mirror, name, platform string) (found []int64, secret int64, err error) {
	found = []int64{}
	recorded := make(map[int64]proof.Leaf)
	err = p.entries(ctx, report, mirror, func(index int64, l proof.Leaf) {
		switch l.Kind {
		case proof.KindRecorded:
			recorded[index] = l
		case proof.KindNoticed:
			if proof.Concerns(recorded[*l.Case], l, name, platform) {
				found = append(found, *l.Case)
			}
			delete(recorded, *l.Case)
		}
	})
	return found, report.Statistics.Unnoticed, err
}
