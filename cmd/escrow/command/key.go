package command

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
)

// key is `escrow key`: signing keys of courts, custodians and platforms, and of an
// issuer's tokens.
func key(p *program) *cobra.Command {
	alg := string(jose.EdDSA)
	c := leaf("new FILE", "Make a signing key, and print its public part for the bundle", "escrow key new court.jwk\n  escrow key new token-rsa.jwk --algorithm RS256",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			if !slices.Contains(document.IDTokenAlgorithms, jose.SignatureAlgorithm(alg)) {
				return shell.UsageError("--algorithm is EdDSA, ES256 or RS256")
			}
			k, err := document.NewKeyFor(jose.SignatureAlgorithm(alg))
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
		})
	c.Flags().StringVar(&alg, "algorithm", alg, "EdDSA, ES256, or RS256, which is for ID tokens only")
	return group("key", "Make signing keys, and show what is registered of a certificate", c, keyCertificate(p))
}
