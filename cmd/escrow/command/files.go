package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errKeyFile = refusal.New(refusal.Invalid, "file.not_a_key",
		"the file does not hold a secret key of the kind that is needed: make one with escrow key new or escrow warrant keygen")
)

// readFile is [shell.ReadFile] with - for the standard input.
func (p *program) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(p.Stdin, shell.MaxFile))
	}
	return shell.ReadFile(name)
}

func (p *program) readJWK(name string) (jose.JSONWebKey, error) {
	b, err := secretfile.Read(name)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	return parseJWK(b)
}

func parseJWK(b []byte) (jose.JSONWebKey, error) {
	var k jose.JSONWebKey
	if err := json.Unmarshal(b, &k); err != nil || k.IsPublic() || !k.Valid() {
		return jose.JSONWebKey{}, errKeyFile // the cause could quote the key
	}
	return k, nil
}

func (p *program) readDelivery(name string) (seal.DeliveryPrivate, error) {
	b, err := secretfile.Read(name)
	if err != nil {
		return seal.DeliveryPrivate{}, err
	}
	return seal.ParseDeliveryKey(string(trimNewline(b)))
}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}

// key is `escrow key`: signing keys of courts, custodians and platforms.
func (p *program) key() *cobra.Command {
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
