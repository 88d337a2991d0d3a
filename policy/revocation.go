package policy

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"slices"
)

// Whether a certificate was revoked is judged by lists that were filed with the document, so
// that everybody finds the same, whenever they look. What no list says is unknown, and
// refused.

func parseRevocation(revocation []string) ([]*x509.RevocationList, error) {
	if len(revocation) > MaxRevocationLists {
		return nil, ErrRevocationList
	}
	lists := make([]*x509.RevocationList, len(revocation))
	for i, text := range revocation {
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(der) > MaxRevocationList {
			return nil, ErrRevocationList
		}
		if lists[i], err = x509.ParseRevocationList(der); err != nil || len(lists[i].Raw) != len(der) { // bytes behind it are no error there
			return nil, ErrRevocationList
		}
	}
	return lists, nil
}

// revoked is [ErrRevoked] if a list of its issuer revokes a certificate before the end of the
// day on which the document was recorded, and [ErrRevocationUnknown] if none of
// that time says that it does not.
func revoked(c, issuer *x509.Certificate, lists []*x509.RevocationList, recorded Span) error {
	known := false
	// The day in which the leaf is, as later readers know it: at intake as at an audit.
	until := recorded.Last.UTC().Truncate(day).Add(day)
	for _, l := range lists {
		if !speaksFor(l, c, issuer) {
			continue
		}
		for _, entry := range l.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(c.SerialNumber) == 0 && entry.RevocationTime.Before(until) {
				return ErrRevoked
			}
			if slices.ContainsFunc(entry.Extensions, critical) { // RFC 5280, 5.3: of an indirect list
				return ErrRevocationUnknown
			}
		}
		known = known || !l.ThisUpdate.After(recorded.Last.Add(clockSkew)) && !l.NextUpdate.IsZero() && !recorded.First.After(l.NextUpdate) &&
			recorded.First.Sub(l.ThisUpdate) <= maxRevocationAge
	}
	if !known {
		return ErrRevocationUnknown
	}
	return nil
}

var (
	idDelta             = asn1.ObjectIdentifier{2, 5, 29, 27}
	idDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
)

func critical(e pkix.Extension) bool { return e.Critical }

// speaksFor reports whether a list is one by the issuer that is about certificates like c
// (RFC 5280, 6.3.3): signed by it, whole, for all reasons, and of the same distribution point
// if it is of one.
func speaksFor(l *x509.RevocationList, c, issuer *x509.Certificate) bool {
	if !bytes.Equal(l.RawIssuer, issuer.RawSubject) || !slices.Contains(signatureAlgorithms, l.SignatureAlgorithm) || l.CheckSignatureFrom(issuer) != nil {
		return false
	}
	for _, e := range l.Extensions {
		switch {
		case e.Id.Equal(idDelta):
			return false
		case e.Id.Equal(idDistributionPoint):
			if !sameScope(e.Value, c) {
				return false
			}
		case e.Critical:
			return false
		}
	}
	return true
}

// sameScope reads an issuing distribution point (RFC 5280, 5.2.5).
func sameScope(der []byte, c *x509.Certificate) bool {
	var scope struct {
		Point struct {
			Full []asn1.RawValue `asn1:"optional,tag:0"`
			Name asn1.RawValue   `asn1:"optional,tag:1"`
		} `asn1:"optional,tag:0"`
		Users    bool           `asn1:"optional,tag:1"`
		CAs      bool           `asn1:"optional,tag:2"`
		Reasons  asn1.BitString `asn1:"optional,tag:3"`
		Indirect bool           `asn1:"optional,tag:4"`
		Others   bool           `asn1:"optional,tag:5"`
	}
	rest, err := asn1.Unmarshal(der, &scope)
	if err != nil || len(rest) > 0 || scope.Users && c.IsCA || scope.CAs && !c.IsCA || scope.Reasons.BitLength > 0 || scope.Indirect || scope.Others || scope.Point.Name.FullBytes != nil {
		return false
	}
	return len(scope.Point.Full) == 0 || slices.ContainsFunc(scope.Point.Full, func(name asn1.RawValue) bool {
		return name.Class == asn1.ClassContextSpecific && name.Tag == 6 && slices.Contains(c.CRLDistributionPoints, string(name.Bytes))
	})
}
