package policy

import (
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

// FuzzCertificateHeader: whatever a header says of certificates, the authority signed the
// document only under the very header that it signed.
func FuzzCertificateHeader(f *testing.F) {
	c := newCertified(f)
	s := c.filing(f)
	head, rest, _ := strings.Cut(s.Warrant, ".")
	good := decode(f, head)
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, `"iat":`, `"sigT":"2026-03-02T11:00:00Z","crit":["sigT"],"x":`, 1)))
	f.Add([]byte(`{"alg":"ES256","iat":1,"typ":"penname-warrant+jwt","x5c":["AAAA"],"x5t#S256":"AAAA"}`))
	seen := Seen{Span{now, now}, s.Revocation}
	fuzzing.Run(f, func(t *testing.T, changed []byte) {
		signed, w, err := openWarrant(base64.RawURLEncoding.EncodeToString(changed) + "." + rest)
		if err != nil {
			return
		}
		if _, err := c.bundle.VerifyAuthority(signed, w.Authority, w.IssuedAt, seen); err == nil && string(changed) != good {
			t.Fatalf("signed under another header: %q", changed)
		}
	})
}

// FuzzCertificateChain: a certificate that is not, byte for byte, one that the authority made
// is not one by it.
func FuzzCertificateChain(f *testing.F) {
	c := newCertified(f)
	f.Add(c.leaf.Raw)
	f.Add(c.between.Raw)
	f.Add(c.root.Raw)
	fuzzing.Run(f, func(t *testing.T, der []byte) {
		changed, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		OrganisationIdentifier(changed)
		path, err := c.bundle.path([]*x509.Certificate{changed, c.between.Certificate}, Span{now, now})
		if err == nil && string(path[0].Raw) != string(c.leaf.Raw) {
			t.Fatalf("%x is a certificate by the authority", der)
		}
	})
}

// FuzzRevocationList: a list that is not, byte for byte, one that the authority made never
// says that a certificate is not revoked.
func FuzzRevocationList(f *testing.F) {
	c := newCertified(f)
	good := make(map[string]bool)
	for _, text := range []string{c.between.list(f), c.between.list(f, revoking(c.leaf, now)), c.between.list(f, revoking(c.between.Certificate, now.Add(-time.Hour)))} {
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		good[string(der)] = true
		f.Add(der)
	}
	fuzzing.Run(f, func(t *testing.T, der []byte) {
		sameScope(der, c.leaf) // must not panic
		lists, err := parseRevocation([]string{base64.StdEncoding.EncodeToString(der)})
		if err == nil && revoked(c.leaf, c.between.Certificate, lists, Span{now, now}) == nil && !good[string(der)] {
			t.Fatalf("%x speaks for the certificate", der)
		}
	})
}
