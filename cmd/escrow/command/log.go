package command

import (
	"strings"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// log is `escrow log`: what anyone can check.
func log(p *program) *cobra.Command {
	return group("log", "Check the public log yourself", logAudit(p), logList(p), logShow(p), logStatistics(p), logNotices(p), logReceipt(p), logMirror(p), logMonitor(p), logExport(p), logSplit(p))
}

// trustFlags are what every command here needs to trust anything.
type trustFlags struct{ bundles []string }

func (f *trustFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.bundles, "bundle", nil, "bundle of rules that you trust; others are fetched by their hash, or can be given with it, the newest first")
}

// load returns the bundles, the newest first. That one's registrar is the default
// of --server.
func (f *trustFlags) load(p *program) ([]*policy.Bundle, error) {
	if len(f.bundles) == 0 {
		return nil, shell.UsageError("--bundle is needed: the rules, witnesses and custodians that you trust")
	}
	all := make([]*policy.Bundle, len(f.bundles))
	for i, name := range f.bundles {
		var err error
		if all[i], err = p.readBundle(name); err != nil {
			return nil, err
		}
	}
	if p.server == "" {
		p.server = all[0].Registrar
	}
	return all, nil
}

// tiles reads the log from a mirror, or from the server if there is none.
func tiles(p *program, mirror string) (torchwood.TileReader, error) {
	if mirror != "" {
		return proof.Directory(mirror)
	}
	return proof.Fetch(strings.TrimRight(p.server, "/")+registrar.PathLog, p.HTTP.Transport)
}

// leaves is the progress of what reads the whole log.
func (p *program) leaves(done, size int64) { p.progress("%d of %d leaves\n", done, size) }
