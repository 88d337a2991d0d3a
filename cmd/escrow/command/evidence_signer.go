package command

import (
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"math/big"
	"os/exec"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var errSigner = refusal.New(refusal.Unavailable, "evidence.signer_failed", "The program of --signer gave no signature of what it got on its standard input: 64 bytes for Ed25519; 64 bytes or DER for P-256. Run it by hand to see why.")

// signerTime is how long a signer may take: a person may have to touch a token.
const signerTime = time.Minute

// signerFlags say what signs: a key in a file, or a program that has the key.
type signerFlags struct{ key, program, public string }

func (f *signerFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.key, "key", "", "file with the platform's secret evidence key (JWK, mode 0600)")
	c.Flags().StringVar(&f.program, "signer", "", "program that signs in its place: it gets what is to be signed on standard input and writes the signature, as bytes")
	c.Flags().StringVar(&f.public, "public-key", "", "file with the public evidence key (JWK) of --signer")
}

// signer is the key that signs.
func (f *signerFlags) signer(ctx context.Context) (jose.JSONWebKey, error) {
	switch {
	case f.key != "" && f.program == "" && f.public == "":
		return secretfile.ReadKey(f.key)
	case f.key != "" || f.program == "" || f.public == "":
		return jose.JSONWebKey{}, shell.UsageError("name --key, or --signer with --public-key")
	}
	raw, err := shell.ReadFile(f.public)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	public, err := document.ParseSigner(raw)
	if err != nil {
		if secret := secretfile.RefuseSecret(f.public, raw); secret != nil {
			return jose.JSONWebKey{}, secret
		}
		return jose.JSONWebKey{}, secretfile.ErrNotPublic.Because(errors.New(f.public + " is not one public key with a kid"))
	}
	return jose.JSONWebKey{Key: &external{ctx: ctx, program: f.program, public: public}, KeyID: public.KeyID}, nil
}

// external is a program that has the key.
type external struct {
	ctx     context.Context // of the command: a signer has no argument for it
	program string
	public  *document.Key
}

// Public implements jose.OpaqueSigner.
func (s *external) Public() *jose.JSONWebKey {
	return &jose.JSONWebKey{Key: s.public.Public, KeyID: s.public.KeyID, Algorithm: string(s.public.Algorithm), Use: "sig"}
}

// Algs implements jose.OpaqueSigner.
func (s *external) Algs() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{s.public.Algorithm}
}

// SignPayload implements jose.OpaqueSigner. payload is the signing input (RFC 7515, 5.1).
func (s *external) SignPayload(payload []byte, alg jose.SignatureAlgorithm) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.ctx, signerTime)
	defer cancel()
	c := exec.CommandContext(ctx, s.program)
	c.Stdin, c.WaitDelay = bytes.NewReader(payload), time.Second
	signature, err := c.Output()
	if err != nil {
		return nil, errSigner.Because(err)
	}
	if alg == jose.ES256 && len(signature) != 64 {
		signature = joined(signature)
	}
	if !s.public.Verifies(payload, signature) {
		return nil, errSigner.Because(errors.New("what it wrote is not a signature by the key of --public-key"))
	}
	return signature, nil
}

// joined is r and s of an ECDSA signature in DER (RFC 3279, 2.2.3), 32 bytes each as
// RFC 7518, 3.4, has them; nil if it is none.
func joined(der []byte) []byte {
	var pair struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &pair)
	if err != nil || len(rest) > 0 || pair.R.Sign() <= 0 || pair.S.Sign() <= 0 || pair.R.BitLen() > 256 || pair.S.BitLen() > 256 {
		return nil
	}
	return append(pair.R.FillBytes(make([]byte, 32)), pair.S.FillBytes(make([]byte, 32))...)
}
