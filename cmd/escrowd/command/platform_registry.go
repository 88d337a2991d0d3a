package command

import (
	"context"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// registry is what the database holds, under the bundle in force.
type registry struct {
	disclose.Registry
	bundle  *policy.Bundle
	key     string // file of the registry key
	sandbox bool   // everybody is on this machine
	entries func(ctx context.Context) ([]entry, error)

	algorithms []jose.SignatureAlgorithm // of the keys by which the bundle knows ID tokens
}

// entry is a platform that is registered.
type entry struct {
	postgres.Registered
	record *policy.PlatformRecord // the newest
	counts map[string]time.Time   // as policy.Bundle.CountsFrom has them
}

// open opens the registry for f.
func (at *registryFlags) open(cmd *cobra.Command, f func(ctx context.Context, r *registry) error) error {
	if err := shell.Require(cmd, "database-file"); err != nil {
		return err
	}
	store, err := service.OpenDisclosingStore(cmd.Context(), at.dsn)
	if err != nil {
		return err
	}
	defer store.Close()
	rules := &disclose.Rules{Bundles: store.Bundles, Ceremonies: store.Ceremonies, Now: time.Now}
	r := &registry{Registry: store.Platforms.Registry(rules, time.Now), key: at.key}
	if r.bundle, err = rules.Current(cmd.Context()); err != nil {
		return err
	}
	if r.bundle.Registry == nil {
		return policy.ErrNoRegistry
	}
	keys, err := document.ParseKeySet(r.bundle.IssuerKeys)
	if err != nil {
		return err
	}
	for i := range keys {
		if keys[i].Expiry.IsZero() || time.Now().Before(keys[i].Expiry) {
			r.algorithms = append(r.algorithms, keys[i].Algorithm)
		}
	}
	r.sandbox = service.OnThisMachine(r.bundle.Registrar)
	r.entries = func(ctx context.Context) ([]entry, error) {
		all, err := r.Of(ctx)
		if err != nil {
			return nil, err
		}
		newest, err := store.Platforms.Newest(ctx)
		if err != nil {
			return nil, err
		}
		records := map[string][]policy.LoggedPlatform{}
		for _, l := range all {
			if record, err := policy.ParsePlatform(l.Signed); err == nil {
				records[record.ID] = append(records[record.ID], l)
			}
		}
		bundles, err := rules.All(ctx)
		if err != nil {
			return nil, err
		}
		var entries []entry
		for _, n := range newest {
			record, err := policy.ParsePlatform(n.Signed)
			if err != nil {
				return nil, err
			}
			one, err := policy.NewPlatforms(records[record.ID], bundles...)
			if err != nil {
				one = nil // its evidence counts for nobody, and view says why
			}
			entries = append(entries, entry{n, record, r.bundle.CountsFrom(record.ID, one)})
		}
		return entries, nil
	}
	return f(cmd.Context(), r)
}
