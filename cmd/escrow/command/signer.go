package command

import (
	"bytes"
	"context"
	"crypto"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/pkcs11"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
)

// signer is how an authority says what it signs with: a key of its own, a key with a
// certificate, or a certificate whose key is on a device.
type signer struct {
	key, certificate, device, passphrase string
}

// add adds the flags; name is that of the first, and what says whose key it is.
func (s *signer) add(c *cobra.Command, name, what string) {
	c.Flags().StringVar(&s.key, name, "", "file with "+what+": a JWK, or with --certificate PEM (PKCS #8); mode 0600")
	c.Flags().StringVar(&s.certificate, "certificate", "", "PEM file of the certificate to sign with, and after it those that it leads to; the rules must register its key")
	c.Flags().StringVar(&s.device, "pkcs11", "", "with --certificate, a key on a device, instead of --"+name+": pkcs11:token=LABEL;object=LABEL?module-path=FILE (RFC 7512)")
	c.Flags().StringVar(&s.passphrase, "passphrase-file", "", "file (mode 0600) with the passphrase of an encrypted key, or the PIN of the device; else it is asked for")
}

// given reports whether there is anything to sign with.
func (s *signer) given() bool { return s.key != "" || s.device != "" }

// needed fails with usage if nothing says what to sign with; name is that of the first flag.
func (s *signer) needed(name string) error {
	switch {
	case s.device == "":
		return require([2]string{name, s.key})
	case s.key != "":
		return shell.UsageError("--%s and --pkcs11 name two keys: leave one out", name)
	}
	return require([2]string{"certificate", s.certificate})
}

// open returns the key, and what gives its device back. A key with a certificate signs with
// the time of p.
func (s *signer) open(ctx context.Context, p *program) (jose.JSONWebKey, func(), error) {
	done := func() {}
	if s.certificate == "" {
		k, err := secretfile.ReadKey(s.key)
		return k, done, err
	}
	chain, err := secretfile.ReadCertificates(s.certificate)
	if err != nil {
		return jose.JSONWebKey{}, done, err
	}
	var by crypto.Signer
	if s.device != "" {
		by, done, err = s.onDevice(ctx, p)
	} else {
		by, err = secretfile.ReadCertifiedKey(s.key, func() ([]byte, error) { return p.passphraseFrom(s.passphrase)(ctx, s.key, false) })
	}
	if err != nil {
		return jose.JSONWebKey{}, done, err
	}
	k, err := document.CertifiedKey(by, chain, p.Now)
	if err != nil {
		done()
		return k, func() {}, secretfile.ErrNotCertified.Because(fmt.Errorf("of %s: %w", s.certificate, err))
	}
	return k, done, nil
}

// onDevice logs in to the device that --pkcs11 names.
func (s *signer) onDevice(ctx context.Context, p *program) (crypto.Signer, func(), error) {
	none := func() {}
	k, err := pkcs11.ParseURI(s.device)
	if err != nil {
		return nil, none, err
	}
	file := s.passphrase
	if file == "" {
		file = k.PINFile
	}
	pin, err := p.passphraseFrom(file)(ctx, "the token "+k.Token+k.Serial+", its PIN", false)
	if err != nil {
		return nil, none, err
	}
	defer clear(pin)
	by, device, err := pkcs11.Open(k, bytes.TrimRight(pin, "\r\n"))
	if err != nil {
		return nil, none, err
	}
	return by, func() { device.Close() }, nil
}
