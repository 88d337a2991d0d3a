package command

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
)

// key is `escrow key`: signing keys of courts, custodians and platforms.
func key(p *program) *cobra.Command {
	return group("key", "Make signing keys",
		leaf("new FILE", "Make a signing key, and print its public part for the bundle", "escrow key new court.jwk",
			cobra.ExactArgs(1), func(_ context.Context, args []string) error {
				k, err := document.NewKey()
				if err != nil {
					return err
				}
				b, err := k.MarshalJSON()
				if err != nil {
					return err
				}
				if err := secretfile.Create(args[0], append(b, '\n')); err != nil {
					return err
				}
				public, err := k.Public().MarshalJSON()
				if err != nil {
					return err
				}
				return p.print(json.RawMessage(public), fmt.Sprintf("%s: secret, keep it\npublic part, for the bundle:\n%s", filepath.Base(args[0]), public))
			}))
}
