package command

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/rules"
)

// auditFlags are what an audit takes.
type auditFlags struct {
	trustFlags
	mirror      string
	since, save string
	at          string

	registered map[string]bool // ids of the platforms that the log registers, which audit fills in; nil: not wanted
}

func (f *auditFlags) add(c *cobra.Command) {
	f.trustFlags.add(c)
	c.Flags().StringVar(&f.mirror, "mirror", "", "folder of a mirror to read instead of the server")
	c.Flags().StringVar(&f.since, "since", "", "checkpoint that an earlier audit saved: the log must contain it")
	c.Flags().StringVar(&f.save, "save", "", "file to save the checkpoint to, for --since next time")
	c.Flags().StringVar(&f.at, "at", "", "time to judge overdue notices at, RFC 3339 (default now)")
}

// noting returns records that put the ids of their platforms into f.registered.
func (f *auditFlags) noting(records rules.Records) rules.Records {
	if f.registered == nil {
		return records
	}
	return func(ctx context.Context, digest string) (string, []string, error) {
		signed, countersigned, err := records(ctx, digest)
		if err == nil {
			if r, err := policy.ParsePlatform(signed); err == nil && proof.PlatformDigest(signed, countersigned) == digest {
				f.registered[r.ID] = true
			}
		}
		return signed, countersigned, err
	}
}

// maxAge is how old the witnesses' cosignatures on a served log may be. The
// registrar has it cosigned every minute.
const maxAge = 24 * time.Hour

// audit reads the whole log and checks everything. It trusts the newest bundle that
// it is given, which the log must hold; others are got by their hash.
func audit(ctx context.Context, p *program, f auditFlags) (*proof.Report, error) {
	bundles, err := f.load(p)
	if err != nil {
		return nil, err
	}
	source, err := tiles(p, f.mirror)
	if err != nil {
		return nil, err
	}
	fetch, records := p.fetchRules(), p.fetchRecords()
	if f.mirror != "" {
		fetch, records = rules.FromMirror(f.mirror, fetch), rules.RecordsFromMirror(f.mirror, records)
	}
	judged := rules.NewBundles(fetch, bundles...).WithPlatforms(f.noting(records)).Audit(ctx)
	held := false
	o := proof.AuditOptions{At: p.Now(), Progress: p.leaves, Rules: func(hash string) (proof.Rules, bool) {
		held = held || hash == bundles[0].Hash()
		return judged(hash)
	}}
	if f.at != "" {
		if o.At, err = time.Parse(time.RFC3339, f.at); err != nil {
			return nil, shell.UsageError("--at takes a time like 2026-11-21T12:00:00Z")
		}
	}
	if f.at == "" && f.mirror == "" {
		o.MaxAge = maxAge // a server that shows an old log hides what came since
	}
	log, err := p.logOf(ctx, bundles[0], f.mirror, o.MaxAge)
	if err != nil {
		return nil, err
	}
	if f.since != "" {
		if o.Trusted, err = p.readFile(f.since); err != nil {
			return nil, err
		}
	}
	report, err := log.Audit(ctx, source, o)
	if !held && (err == nil || errors.Is(err, proof.ErrAudit)) {
		err = errors.Join(err, rules.ErrNotInLog)
	}
	var seen *proof.SeenError
	if (errors.Is(err, proof.ErrRollback) || errors.Is(err, proof.ErrSplitView)) && errors.As(err, &seen) {
		// The log could deny tomorrow what it signed today.
		seen.Keep(f.since+".refused", report.Signed, shell.WriteFile)
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

func logAudit(p *program) *cobra.Command {
	var f auditFlags
	c := leaf("audit", "Check every entry, every hash and every case of the public log, and recompute the statistics",
		"escrow log audit --bundle bundle.json --server https://penname.example --save checkpoint", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			report, err := audit(ctx, p, f)
			if err != nil {
				return err
			}
			return p.print(struct {
				Size       int64            `json:"size"`
				Root       string           `json:"root"`
				Overdue    []int64          `json:"overdue"`   // cases whose persons were not told
				Deadlines  []proof.Deadline `json:"deadlines"` // those and all others that passed
				Statistics proof.Statistics `json:"statistics"`
				Years      []proof.Year     `json:"years"`
			}{report.Checkpoint.N, report.Checkpoint.Hash.String(), report.Overdue(), append([]proof.Deadline{}, report.Deadlines...),
				report.Statistics, append([]proof.Year{}, report.Years...)}, report.String())
		})
	f.add(c)
	return c
}

// logOf returns the log under the policy of the bundle in force: its witnesses can
// be others than those of the bundle that is trusted. If they are not, or if it
// cannot be told, that one's policy has to do: the audit says what is wrong.
func (p *program) logOf(ctx context.Context, trusted *policy.Bundle, mirror string, maxAge time.Duration) (*proof.Log, error) {
	log, err := trusted.TrustedLog()
	if err != nil {
		return nil, err
	}
	source, err := tiles(p, mirror)
	if err != nil {
		return nil, err
	}
	signed, err := source.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return nil, proof.ErrFetch.Because(err)
	}
	if _, err := log.OpenCheckpoint(signed); !errors.Is(err, proof.ErrQuorum) {
		return log, nil
	}
	h, _, err := p.follow(ctx, trusted, nil, mirror, maxAge)
	if err != nil {
		return log, nil
	}
	return h.Log(), nil
}
