package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// certificateShown is what a bundle says of a certificate.
type certificateShown struct {
	Subject                string    `json:"subject"`
	Fingerprint            string    `json:"fingerprint"` // hex SHA-256
	OrganisationIdentifier string    `json:"organisation_identifier,omitempty"`
	Key                    string    `json:"certificate_key"` // hex SHA-256 of the SubjectPublicKeyInfo
	Authority              bool      `json:"authority"`
	From                   time.Time `json:"from"`
	Until                  time.Time `json:"until"`
}

func (c certificateShown) String() string {
	text := fmt.Sprintf("%s\nfrom %s until %s\nSHA-256 of the certificate: %s", document.Printable(c.Subject), c.From.Format(time.DateOnly), c.Until.Format(time.DateOnly), c.Fingerprint)
	if c.Authority {
		return text + "\na certificate authority: its PEM goes into certificate_authorities of the bundle"
	}
	identifier := c.OrganisationIdentifier
	if identifier == "" {
		identifier = "none, so that no bundle can register it: ask for a certificate with 2.5.4.97 in its subject (ETSI EN 319 412-1)"
	}
	return text + "\norganisation_identifier: " + document.Printable(identifier) + "\ncertificate_keys: " + c.Key
}

func keyCertificate(p *program) *cobra.Command {
	return leaf("certificate FILE", "Say what a bundle needs of a certificate (PEM): the organisation's identifier and the digest of its key",
		"escrow key certificate court.pem", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			chain, err := secretfile.ReadCertificates(args[0])
			if err != nil {
				return err
			}
			c := chain[0]
			shown := certificateShown{Subject: c.Subject.String(), Fingerprint: policy.Fingerprint(c), OrganisationIdentifier: policy.OrganisationIdentifier(c),
				Key: policy.KeyDigest(c), Authority: c.IsCA, From: c.NotBefore.UTC(), Until: c.NotAfter.UTC()}
			return p.print(shown, shown.String())
		})
}
