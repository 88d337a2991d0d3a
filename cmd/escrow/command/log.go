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
	return group("log", "Check the public log yourself", logAudit(p), logNotices(p), logReceipt(p), logMirror(p), logSplit(p))
}

// trustFlags are what every command here needs to trust anything.
type trustFlags struct{ bundles []string }

func (f *trustFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.bundles, "bundle", nil, "bundle of rules that you trust, the newest first; can be given again for older ones")
}

// load returns the log that the newest bundle names, and the bundles by hash. That
// bundle's registrar is the default of --server.
func (f *trustFlags) load(p *program) (*proof.Log, map[string]*policy.Bundle, error) {
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
func tiles(p *program, mirror string) (torchwood.TileReader, error) {
	if mirror != "" {
		return proof.Directory(mirror)
	}
	return proof.Fetch(strings.TrimRight(p.server, "/") + registrar.PathLog)
}

// leaves is the progress of what reads the whole log.
func (p *program) leaves(done, size int64) { p.progress("%d of %d leaves\n", done, size) }
