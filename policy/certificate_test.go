package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// A court that has a certificate and no other key can do what every court can.
func TestCourtWithACertificate(t *testing.T) {
	c := newCertified(t)
	s := c.filing(t)
	d := Decide(s, c.bundle, Facts{}, now)
	if !d.Allowed || !d.Certificate.Equal(c.leaf) || d.Authority.ID != "crown-court" || !d.Opens {
		t.Fatal(d.Refusal, d.Rules)
	}
	if ids := c.bundle.AsksFor(s); len(ids) != 0 {
		t.Fatal(ids) // this bundle has no registry; the next line shows that it is not for the signature
	}
	if _, err := c.bundle.registered(opened(t, s.Warrant), "crown-court"); err != nil {
		t.Fatal(err)
	}
	k, err := document.CertifiedKey(c.key, []*x509.Certificate{c.leaf, c.between.Certificate}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.bundle.Signer(k); err != nil || a.ID != "crown-court" {
		t.Fatal(a, err)
	}
	w, _ := c.production(t)
	if d := BeforeSigning(w, "", k, c.bundle, now); !d.Allowed {
		t.Fatal(d.Refusal)
	}
	// A countersignature by certificate: the magistrates' order, given with the court.
	w.Authority, w.Jurisdiction, w.Jointly = "magistrates", "GB-ENG", []string{"crown-court"}
	order := sign(t, key("magistrates"), w)
	v, err := FollowUp(Validation, order, c.bundle.Authority("crown-court"), "I have read the post.")
	if err != nil {
		t.Fatal(err)
	}
	v.Complete(c.bundle, [16]byte{}, now)
	both := Submission{Warrant: order, Evidence: s.Evidence, Countersigned: []string{signCertified(t, k, *v)}, Revocation: s.Revocation}
	if d := Decide(both, c.bundle, Facts{}, now); !d.Allowed {
		t.Fatal(d.Refusal)
	}
	both.Revocation = nil
	wantRefused(t, Decide(both, c.bundle, Facts{}, now), ErrCountersigned)
}

func opened(t testing.TB, raw string) *document.Signed {
	signed, _, err := openWarrant(raw)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Each key and algorithm that is taken, and no other: which one a header names never decides
// how a key of another kind is used.
func TestT02AlgorithmOfACertificate(t *testing.T) {
	c := newCertified(t)
	w, evidence := c.production(t)
	k := rsaKey(t, 2048)
	leaf := c.between.signerFor(t, k.Public(), courtsIdentifier)
	c.world = fifth(t, c.register(KeyDigest(leaf), KeyDigest(c.leaf)))
	w.Bundle = c.bundle.Hash()
	file := func(raw string) Decision {
		return Decide(Submission{Warrant: raw, Evidence: evidence, Revocation: []string{c.between.list(t), c.root.list(t)}}, c.bundle, Facts{}, now)
	}
	raw := signWith(t, k, now, w, leaf, c.between.Certificate)
	if d := file(raw); !d.Allowed || opened(t, raw).Algorithm != "PS256" {
		t.Fatal(d.Refusal)
	}
	for _, alg := range []string{"ES256", "RS256", "none", "HS256", "PS512", "EdDSA"} {
		parts := strings.Split(raw, ".")
		parts[0] = strings.Replace(decode(t, parts[0]), `"PS256"`, `"`+alg+`"`, 1)
		parts[0] = base64.RawURLEncoding.EncodeToString([]byte(parts[0]))
		if d := file(strings.Join(parts, ".")); d.Allowed || d.Warrant != nil {
			t.Error("taken as", alg)
		}
	}
	// What has no certificate is verified by a registered JWK alone.
	if _, err := document.CertifiedKey(rsaKey(t, 1024), []*x509.Certificate{leaf}, time.Now); err == nil {
		t.Error("a key that the certificate is not about")
	}
}

func decode(t testing.TB, s string) string {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Who certified a key gives it no power, and a registered key none without its certificate.
func TestL02CertificateOfSomebodyElse(t *testing.T) {
	c := newCertified(t)
	w, evidence := c.production(t)
	lists := []string{c.between.list(t), c.root.list(t)}
	file := func(leaf *x509.Certificate, more ...*x509.Certificate) Decision {
		return Decide(Submission{Warrant: signWith(t, c.key, now, w, append([]*x509.Certificate{leaf}, more...)...), Evidence: evidence, Revocation: lists}, c.bundle, Facts{}, now)
	}
	other := p256(t)
	theirs := c.between.signerFor(t, other.Public(), "GOVGB-PARISH-COUNCIL")
	stranger := (*certifier)(nil).authorityUnder(t, "Root of Trust")
	below := stranger.authorityUnder(t, "Seals of Courts")
	noAuthority := &certifier{c.between.signerFor(t, other.Public(), "NTRGB-1"), other}
	for _, raw := range []string{
		signWith(t, other, now, w, theirs, c.between.Certificate),                                                   // another organisation
		signWith(t, other, now, w, c.between.signerFor(t, other.Public(), courtsIdentifier), c.between.Certificate), // another key
	} {
		wantRefused(t, Decide(Submission{Warrant: raw, Evidence: evidence, Revocation: lists}, c.bundle, Facts{}, now), ErrCertificateKey)
	}
	wantRefused(t, file(c.between.signerFor(t, c.key.Public(), "GOVGB-PARISH-COUNCIL"), c.between.Certificate), ErrCertificateKey)
	wantRefused(t, file(below.signerFor(t, c.key.Public(), courtsIdentifier), below.Certificate), ErrCertificate)
	wantRefused(t, file(below.signerFor(t, c.key.Public(), courtsIdentifier), below.Certificate, stranger.Certificate), ErrCertificate)
	wantRefused(t, file(noAuthority.signerFor(t, c.key.Public(), courtsIdentifier), noAuthority.Certificate, c.between.Certificate), ErrCertificate)
	twice := c.between.signerFor(t, c.key.Public(), courtsIdentifier, func(l *x509.Certificate) {
		l.Subject.ExtraNames = append(l.Subject.ExtraNames, l.Subject.ExtraNames[1])
	})
	wantRefused(t, file(twice, c.between.Certificate), ErrCertificateKey)
}

// A chain is what it says, in its order, and short.
func TestL03ChainOfCertificates(t *testing.T) {
	c := newCertified(t)
	w, evidence := c.production(t)
	lists := []string{c.between.list(t), c.root.list(t)}
	file := func(chain ...*x509.Certificate) Decision {
		return Decide(Submission{Warrant: signWith(t, c.key, now, w, chain...), Evidence: evidence, Revocation: lists}, c.bundle, Facts{}, now)
	}
	for name, chain := range map[string][]*x509.Certificate{
		"up to below the registered one": {c.leaf, c.between.Certificate},
		"with the registered one":        {c.leaf, c.between.Certificate, c.root.Certificate},
	} {
		if d := file(chain...); !d.Allowed {
			t.Error(name, d.Refusal)
		}
	}
	third := c.root.authorityUnder(t, "Third")
	for name, chain := range map[string][]*x509.Certificate{
		"one is missing":                             {c.leaf},
		"one that is no part":                        {c.leaf, third.Certificate, c.between.Certificate},
		"its end is elsewhere":                       {c.leaf, c.between.Certificate, third.Certificate},
		"the registered one is first of those above": {c.leaf, c.root.Certificate, c.between.Certificate},
	} {
		if d := file(chain...); d.Allowed || !ErrCertificate.Is(d.Refusal) {
			t.Error(name, d.Refusal)
		}
	}
	constrained := c.root.authorityUnder(t, "Constrained", func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"courts.example"}
	})
	of := func(by *certifier, change func(*x509.Certificate)) []*x509.Certificate {
		return []*x509.Certificate{by.signerFor(t, c.key.Public(), courtsIdentifier, change), by.Certificate}
	}
	for name, row := range map[string]struct {
		chain []*x509.Certificate
		want  *refusal.Error
	}{
		"a name outside those allowed": {of(constrained, func(l *x509.Certificate) { l.DNSNames = []string{"police.example"} }), ErrCertificate},
		"a certificate of servers":     {of(c.between, func(l *x509.Certificate) { l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), ErrCertificate},
		"for key agreement":            {of(c.between, func(l *x509.Certificate) { l.KeyUsage = x509.KeyUsageKeyAgreement }), ErrCertificate},
		"for anything":                 {of(c.between, func(l *x509.Certificate) { l.KeyUsage = 0 }), ErrCertificate},
		"a certificate authority":      {of(c.between, func(l *x509.Certificate) { l.IsCA = true }), ErrCertificate},
		"over":                         {of(c.between, func(l *x509.Certificate) { l.NotBefore, l.NotAfter = now.AddDate(-1, 0, 0), now.Add(-time.Second) }), ErrCertificateTime},
		"not valid yet":                {of(c.between, func(l *x509.Certificate) { l.NotBefore, l.NotAfter = now.Add(time.Second), now.AddDate(1, 0, 0) }), ErrCertificateTime},
		"an authority that is over": {of(c.root.authorityUnder(t, "Over", func(a *x509.Certificate) { a.NotBefore, a.NotAfter = now.AddDate(-2, 0, 0), now.AddDate(0, 0, -1) }),
			func(*x509.Certificate) {}), ErrCertificateTime},
		"no more authorities below": {of(c.root.authorityUnder(t, "Flat", func(a *x509.Certificate) { a.KeyUsage = x509.KeyUsageCRLSign }), func(*x509.Certificate) {}), ErrCertificate},
	} {
		if d := file(row.chain...); d.Allowed || !row.want.Is(d.Refusal) {
			t.Error(name, d.Refusal)
		}
	}
	if _, err := document.CertifiedKey(c.key, slices.Repeat([]*x509.Certificate{c.leaf}, 100), time.Now); err == nil {
		t.Error("a chain of 100 certificates is signed with")
	}
}

// Keys and signatures that can be forged count for nobody, an authority's neither.
func TestT14WeakCertificates(t *testing.T) {
	good := newCertified(t).leaf
	n := func(bits uint) *big.Int { return new(big.Int).SetBit(big.NewInt(1), int(bits)-1, 1) }
	for name, row := range map[string]struct {
		change func(*x509.Certificate)
		want   bool
	}{
		"P-256":              {func(*x509.Certificate) {}, true},
		"RSA":                {func(c *x509.Certificate) { c.PublicKey = &rsa.PublicKey{N: n(2048), E: 65537} }, true},
		"SHA-1":              {func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }, false},
		"MD5":                {func(c *x509.Certificate) { c.SignatureAlgorithm = x509.MD5WithRSA }, false},
		"short":              {func(c *x509.Certificate) { c.PublicKey = &rsa.PublicKey{N: n(1024), E: 65537} }, false},
		"long beyond use":    {func(c *x509.Certificate) { c.PublicKey = &rsa.PublicKey{N: n(16384), E: 65537} }, false},
		"small exponent":     {func(c *x509.Certificate) { c.PublicKey = &rsa.PublicKey{N: n(2048), E: 3} }, false},
		"P-224":              {func(c *x509.Certificate) { c.PublicKey = &ecdsa.PublicKey{Curve: elliptic.P224()} }, false},
		"P-521, a signer's":  {func(c *x509.Certificate) { c.PublicKey = &ecdsa.PublicKey{Curve: elliptic.P521()} }, false},
		"P-521, authority's": {func(c *x509.Certificate) { c.PublicKey, c.IsCA = &ecdsa.PublicKey{Curve: elliptic.P521()}, true }, true},
		"no key that counts": {func(c *x509.Certificate) { c.PublicKey = nil }, false},
	} {
		c := *good
		if row.change(&c); strong(&c) != row.want {
			t.Error(name)
		}
	}
}

// What the header says beside the certificates contradicts nothing and promises nothing.
func TestT07HeaderOfACertificate(t *testing.T) {
	c := newCertified(t)
	s := c.filing(t)
	parts := strings.Split(s.Warrant, ".")
	head := decode(t, parts[0])
	leaf := base64.StdEncoding.EncodeToString(c.leaf.Raw)
	replace := func(from, to string) string {
		if !strings.Contains(head, from) {
			t.Fatal(head)
		}
		return strings.Replace(head, from, to, 1)
	}
	iat := fmt.Sprintf(`"iat":%d`, now.Add(-time.Hour).Unix())
	for name, row := range map[string]struct {
		head string
		want *refusal.Error
	}{
		"the digest of another certificate": {replace(`"x5t#S256":"`, `"x5t#S256":"A`), ErrCertificateHeader},
		"no digest":                         {replace(`"x5t#S256"`, `"x5t"`), ErrCertificateHeader},
		"no time":                           {replace(iat+",", ""), ErrCertificateHeader},
		"two times":                         {replace(iat, iat+`,"sigT":"2026-03-02T11:00:00Z"`), ErrCertificateHeader},
		"parts of seconds":                  {replace(iat, iat+".5"), ErrCertificateHeader},
		"crit of b64":                       {replace(`{`, `{"b64":false,"crit":["b64"],`), ErrCertificateHeader},
		"crit that nobody knows":            {replace(`{`, `{"crit":["x"],"x":1,`), ErrCertificateHeader},
		"crit of sigT without it":           {replace(`{`, `{"crit":["sigT"],`), ErrCertificateHeader},
		"a detached payload":                {replace(`{`, `{"sigD":{},`), ErrCertificateHeader},
		"a signature policy":                {replace(`{`, `{"sigPId":{},`), ErrCertificateHeader},
		"a JWK beside":                      {replace(`{`, `{"jwk":{},`), ErrCertificateHeader},
		"an address of certificates beside": {replace(`{`, `{"x5u":"https://evil.example",`), ErrCertificateHeader},
		"no certificate":                    {`{"alg":"ES256",` + iat + `,"typ":"penname-warrant+jwt","x5c":[],"x5t#S256":""}`, ErrCertificateHeader},
		"100 certificates":                  {replace(`"x5c":["`, `"x5c":["`+strings.Repeat(leaf[:200]+`","`, 100)), ErrCertificateHeader},
		"a certificate that is none":        {replace(leaf, "AAAA"), ErrCertificateHeader},
		"a header of 40 KiB":                {replace(`{`, `{"kid":"`+strings.Repeat("k", 40<<10)+`",`), ErrMalformed},
		"another kind of document":          {replace("penname-warrant", "penname-approval"), ErrMalformed},
		"x5c is null":                       {replace(`"x5c":["`+leaf, `"x5c":null,"kid":["`+leaf), ErrMalformed},
		"the same name twice":               {replace(`{`, `{"alg":"ES256",`), ErrMalformed},
		"another time, after signing":       {replace(iat, fmt.Sprintf(`"iat":%d`, now.Unix())), ErrBadSignature},
	} {
		raw := base64.RawURLEncoding.EncodeToString([]byte(row.head)) + "." + parts[1] + "." + parts[2]
		if d := Decide(Submission{Warrant: raw, Evidence: s.Evidence, Revocation: s.Revocation}, c.bundle, Facts{}, now); d.Allowed || !row.want.Is(d.Refusal) {
			t.Error(name, d.Refusal)
		}
	}
}

// JAdES before July 2025, as other programs write it: sigT, and crit that lists it.
func TestCertificateWithSigT(t *testing.T) {
	c := newCertified(t)
	s := c.filing(t)
	parts := strings.Split(s.Warrant, ".")
	digest := opened(t, s.Warrant)
	sum := sha256.Sum256(c.leaf.Raw)
	thumb := base64.RawURLEncoding.EncodeToString(sum[:])
	head := fmt.Sprintf(`{"x5c":["%s","%s"],"x5t#S256":"%s","cty":"json","typ":"penname-warrant+jwt","crit":["sigT"],"sigT":"2026-03-02T11:00:00Z","kid":"MIGb+/=","alg":"ES256"}`,
		base64.StdEncoding.EncodeToString(c.leaf.Raw), base64.StdEncoding.EncodeToString(c.between.Raw), thumb)
	if digest.SignedAt != now.Add(-time.Hour) {
		t.Fatal(digest.SignedAt)
	}
	input := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + parts[1]
	k, err := document.CertifiedKey(c.key, []*x509.Certificate{c.leaf}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := k.Key.(interface {
		SignPayload([]byte, jose.SignatureAlgorithm) ([]byte, error)
	}).SignPayload([]byte(input), "ES256")
	if err != nil {
		t.Fatal(err)
	}
	s.Warrant = input + "." + base64.RawURLEncoding.EncodeToString(signature)
	if d := Decide(s, c.bundle, Facts{}, now); !d.Allowed {
		t.Fatal(d.Refusal)
	}
}

// A signer's own time binds nobody: the leaf's decides, and what is said beside has to fit.
func TestL03BackdatedByCertificate(t *testing.T) {
	c := newCertified(t)
	w, evidence := c.production(t)
	over := c.between.signerFor(t, c.key.Public(), courtsIdentifier, func(l *x509.Certificate) { l.NotBefore, l.NotAfter = now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1) })
	w.IssuedAt, w.DatedBack = now.AddDate(0, 0, -2), "The judge was ill."
	file := func(leaf *x509.Certificate, signed time.Time, known Facts) Decision {
		return Decide(Submission{Warrant: signWith(t, c.key, signed, w, leaf, c.between.Certificate), Evidence: evidence,
			Revocation: []string{c.between.list(t), c.root.list(t)}}, c.bundle, known, now)
	}
	if d := file(c.leaf, now.AddDate(0, 0, -2), Facts{}); !d.Allowed {
		t.Fatal(d.Refusal)
	}
	wantRefused(t, file(over, now.AddDate(0, 0, -2), Facts{}), ErrCertificateTime)
	wantRefused(t, file(c.leaf, now.AddDate(-3, 0, 0), Facts{}), ErrSigningTime)
	wantRefused(t, file(c.leaf, now.Add(time.Hour), Facts{}), ErrSigningTime)
	// Years later the leaf says when it was recorded: the certificate may have ended since.
	recorded, leaf := now.Truncate(day), int64(7)
	short := c.between.signerFor(t, c.key.Public(), courtsIdentifier, func(l *x509.Certificate) { l.NotBefore, l.NotAfter = now.Add(-time.Hour), now.Add(time.Hour) })
	if d := file(short, now, Facts{Recorded: &leaf, RecordedAt: recorded}); !d.Allowed {
		t.Fatal(d.Refusal)
	}
	wantRefused(t, file(short, now, Facts{Recorded: &leaf, RecordedAt: recorded.AddDate(0, 0, 1)}), ErrCertificateTime)
}

// Unknown is refused: only a list that speaks for this certificate, of that time, by who
// issued it, says that it is not revoked.
func TestL03Revocation(t *testing.T) {
	c := newCertified(t)
	s := c.filing(t)
	good := c.root.list(t)
	stranger := (*certifier)(nil).authorityUnder(t, "Seals of Courts")
	at := func(this, next time.Time) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = this, next }
	}
	extension := func(critical bool, id []int, der ...byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: der})
		}
	}
	forged, _ := base64.StdEncoding.DecodeString(c.between.list(t))
	forged[len(forged)-1] ^= 1
	for name, row := range map[string]struct {
		lists []string
		want  *refusal.Error // nil: it is taken
	}{
		"lists of both":    {[]string{c.between.list(t), good}, nil},
		"in another order": {[]string{good, c.between.list(t)}, nil},
		"another certificate is revoked": {[]string{c.between.list(t, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(1 << 40), RevocationTime: now.AddDate(-1, 0, 0)}}
		}), good}, nil},
		"none":                             {nil, ErrRevocationUnknown},
		"of the signer alone":              {[]string{c.between.list(t)}, ErrRevocationUnknown},
		"of the authority alone":           {[]string{good}, ErrRevocationUnknown},
		"revoked a year ago":               {[]string{c.between.list(t, revoking(c.leaf, now.AddDate(-1, 0, 0))), good}, ErrRevoked},
		"revoked now":                      {[]string{c.between.list(t, revoking(c.leaf, now)), good}, ErrRevoked},
		"one list says so, another not":    {[]string{c.between.list(t), c.between.list(t, revoking(c.leaf, now.AddDate(0, 0, -1))), good}, ErrRevoked},
		"the authority is revoked":         {[]string{c.between.list(t), c.root.list(t, revoking(c.between.Certificate, now.AddDate(0, 0, -1)))}, ErrRevoked},
		"by another of the same name":      {[]string{stranger.list(t), good}, ErrRevocationUnknown},
		"forged":                           {[]string{base64.StdEncoding.EncodeToString(forged), good}, ErrRevocationUnknown},
		"over":                             {[]string{c.between.list(t, at(now.AddDate(0, 0, -3), now.Add(-time.Second))), good}, ErrRevocationUnknown},
		"eleven days old, in force":        {[]string{c.between.list(t, at(now.AddDate(0, 0, -11), now.AddDate(0, 1, 0))), good}, ErrRevocationUnknown},
		"of the future":                    {[]string{c.between.list(t, at(now.Add(time.Hour), now.AddDate(0, 0, 7))), good}, ErrRevocationUnknown},
		"changes alone (delta)":            {[]string{c.between.list(t, extension(true, idDelta, 2, 1, 1)), good}, ErrRevocationUnknown},
		"of authorities alone":             {[]string{c.between.list(t, extension(true, idDistributionPoint, 0x30, 3, 0x82, 1, 0xff)), good}, ErrRevocationUnknown},
		"of signers alone":                 {[]string{c.between.list(t, extension(true, idDistributionPoint, 0x30, 3, 0x81, 1, 0xff)), good}, nil},
		"for some reasons alone":           {[]string{c.between.list(t, extension(true, idDistributionPoint, 0x30, 4, 0x83, 2, 5, 0x20)), good}, ErrRevocationUnknown},
		"indirect":                         {[]string{c.between.list(t, extension(true, idDistributionPoint, 0x30, 3, 0x84, 1, 0xff)), good}, ErrRevocationUnknown},
		"of another distribution point":    {[]string{c.between.list(t, extension(true, idDistributionPoint, 0x30, 9, 0xa0, 7, 0xa0, 5, 0x86, 3, 'u', ':', 'x')), good}, ErrRevocationUnknown},
		"with what nobody knows, critical": {[]string{c.between.list(t, extension(true, []int{1, 2, 3}, 5, 0)), good}, ErrRevocationUnknown},
		"no list":                          {[]string{"AAAA", good}, ErrRevocationList},
		"nine lists":                       {slices.Repeat([]string{good}, 9), ErrRevocationList},
	} {
		s.Revocation = row.lists
		d := Decide(s, c.bundle, Facts{}, now)
		if d.Allowed != (row.want == nil) || row.want != nil && !row.want.Is(d.Refusal) {
			t.Error(name, d.Refusal)
		}
	}
	// Lists are for certificates: with another signature nobody needs them.
	w, evidence := c.production(t)
	w.Authority, w.Jurisdiction = "magistrates", "GB-ENG"
	wantRefused(t, Decide(Submission{Warrant: sign(t, key("magistrates"), w), Evidence: evidence, Revocation: []string{good}}, c.bundle, Facts{}, now), ErrRevocationList)
}

// What is revoked after it signed keeps what it signed: the lists are those of the day.
func TestRevokedAfterwards(t *testing.T) {
	c := newCertified(t)
	s, leaf := c.filing(t), int64(7)
	later := now.AddDate(0, 0, 3)
	s.Revocation = append(s.Revocation, c.between.list(t, revoking(c.leaf, later), func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = later, later.AddDate(0, 0, 7) }))
	if d := Decide(s, c.bundle, Facts{Recorded: &leaf, RecordedAt: now.Truncate(day)}, now.AddDate(0, 0, 10)); !d.Allowed {
		t.Fatal(d.Refusal)
	}
	wantRefused(t, Decide(s, c.bundle, Facts{Recorded: &leaf, RecordedAt: later.Truncate(day)}, now.AddDate(0, 0, 10)), ErrRevoked)
}

// What a bundle says of certificates is whole, and no key has two owners in two spellings.
func TestBundleOfCertificates(t *testing.T) {
	c := newCertified(t)
	root := base64.StdEncoding.EncodeToString(c.root.Raw)
	jwk := key("court-2")
	custodian := c.bundle.Custodians[0]
	for name, row := range map[string]struct {
		change func(*Bundle)
		want   *refusal.Error
	}{
		"no certificate authority": {func(b *Bundle) { b.CertificateAuthorities = nil }, ErrBundleCertificate},
		"listed twice": {func(b *Bundle) {
			b.CertificateAuthorities = append(b.CertificateAuthorities, CertificateAuthority{root})
		}, ErrBundleCertificate},
		"a signer's as authority": {func(b *Bundle) {
			b.CertificateAuthorities[0].Certificate = base64.StdEncoding.EncodeToString(c.leaf.Raw)
		}, ErrBundleCertificate},
		"no certificate":              {func(b *Bundle) { b.CertificateAuthorities[0].Certificate = "AAAA" }, ErrBundleCertificate},
		"no identifier":               {func(b *Bundle) { b.Authorities[0].OrganisationIdentifier = "" }, ErrBundleCertificate},
		"no key":                      {func(b *Bundle) { b.Authorities[0].CertificateKeys = nil }, ErrBundleCertificate},
		"a digest that is none":       {func(b *Bundle) { b.Authorities[0].CertificateKeys = []string{"x"} }, ErrBundleCertificate},
		"neither key nor certificate": {func(b *Bundle) { b.Authorities[0].OrganisationIdentifier, b.Authorities[0].CertificateKeys = "", nil }, ErrBundleKey},
		"the key of a custodian":      {func(b *Bundle) { b.Authorities[0].CertificateKeys = []string{digestOf(t, custodian.Key)} }, ErrBundleSharedKey},
		"of two authorities": {func(b *Bundle) {
			b.Authorities[1].OrganisationIdentifier, b.Authorities[1].CertificateKeys = "X", b.Authorities[0].CertificateKeys
		}, ErrBundleSharedKey},
		"the same key as JWK of the same": {func(b *Bundle) {
			b.Authorities[0].Keys = []Key{{public(t, jwk), now, now.AddDate(1, 0, 0)}}
			b.Authorities[0].CertificateKeys = []string{digestOf(t, public(t, jwk))}
		}, ErrBundleSharedKey},
		"in a bundle that knows of no such": {func(b *Bundle) { uncatalogued(b) }, ErrBundleMalformed},
	} {
		b := *c.bundle
		b.raw, b.Authorities, b.CertificateAuthorities = nil, slices.Clone(b.Authorities), slices.Clone(b.CertificateAuthorities)
		b.Custodians, b.OffenceClasses = slices.Clone(b.Custodians), slices.Clone(b.OffenceClasses)
		row.change(&b)
		if _, err := b.Marshal(); !row.want.Is(err) {
			t.Error(name, err, refusal.Of(err).Unwrap())
		}
	}
}

func digestOf(t testing.TB, jwk []byte) string {
	k, err := document.ParseSigner(jwk)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(infoOf(k, ""), spki(""))
}

// Who endorses a bundle reads what certificates it takes, and a change says so.
func TestLinesOfCertificates(t *testing.T) {
	c := newCertified(t)
	said := strings.Join(c.bundle.Lines(), "\n")
	for _, want := range []string{Fingerprint(c.root.Certificate), courtsIdentifier, KeyDigest(c.leaf)} {
		if !strings.Contains(said, want) {
			t.Error("not shown:", want)
		}
	}
	without := fifth(t)
	changed := strings.Join(c.bundle.Changes(without.bundle), "\n")
	for _, want := range []string{"Certificates by CN=Root of Trust", "now signs with certificates of key: " + KeyDigest(c.leaf), courtsIdentifier} {
		if !strings.Contains(changed, want) {
			t.Error("not said:", want, "in", changed)
		}
	}
	if f := c.bundle.Lint(now.AddDate(0, 11, 0)); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "certificate_authority_ends_soon" }) {
		t.Error("a certificate authority that ends soon is no finding")
	}
}

// An inquiry is signed as a warrant is: with a certificate too, which is not revoked now.
func TestAnInquiryWithACertificate(t *testing.T) {
	c := newCertified(t)
	k, err := document.CertifiedKey(c.key, []*x509.Certificate{c.leaf, c.between.Certificate}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		lists []string
		at    time.Time
		want  bool
	}{
		"not revoked":  {[]string{c.between.list(t), c.root.list(t)}, now, true},
		"revoked":      {[]string{c.between.list(t, revoking(c.leaf, now.Add(-time.Hour))), c.root.list(t)}, now, false},
		"nobody knows": {nil, now, false},
		"asked before": {[]string{c.between.list(t), c.root.list(t)}, now.Add(time.Hour), false},
	} {
		raw, err := SignInquiry(k, Inquiry{At: now, Audience: c.bundle.Registrar, Authority: "crown-court", ID: name, Revocation: x.lists})
		if err != nil {
			t.Fatal(err)
		}
		if q, err := c.bundle.VerifyInquiry(raw, x.at); (err == nil) != x.want || err == nil && q.Authority != "crown-court" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkCertificate is a decision about an order that a certificate signed, with lists for
// the two of its chain, beside one about the same order that a JWK signed.
func BenchmarkCertificate(b *testing.B) {
	c := newCertified(b)
	by := c.filing(b)
	plain := fifth(b)
	v, evidence := plain.production(b)
	jwk := Submission{Warrant: sign(b, plain.court, v), Evidence: evidence}
	best := func(bundle *Bundle, s Submission) func() time.Duration {
		least := time.Hour
		return func() time.Duration {
			start := time.Now()
			if d := Decide(s, bundle, Facts{}, now); !d.Allowed {
				b.Fatal(d.Refusal)
			}
			least = min(least, time.Since(start))
			return least
		}
	}
	certified, bare := best(c.bundle, by), best(plain.bundle, jwk)
	var took, beside time.Duration
	for b.Loop() {
		took, beside = certified(), bare()
	}
	b.ReportMetric(float64(took)/float64(beside), "ratio")
	b.ReportMetric(float64(took), "~best-ns")
}

// What a court asks for itself is answered to its certificate too, while that counts.
func TestInquiryByCertificate(t *testing.T) {
	c := newCertified(t)
	k, err := document.CertifiedKey(c.key, []*x509.Certificate{c.leaf, c.between.Certificate}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	q := Inquiry{At: now, Audience: c.bundle.Registrar, Authority: "crown-court", Case: strings.Repeat("a", 26), Revocation: []string{c.between.list(t), c.root.list(t)}}
	raw, err := SignInquiry(k, q)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.bundle.VerifyInquiry(raw, now); err != nil || got.Authority != "crown-court" {
		t.Fatal(err)
	}
	q.Revocation[0] = c.between.list(t, revoking(c.leaf, now))
	if raw, err = SignInquiry(k, q); err != nil {
		t.Fatal(err)
	}
	if _, err := c.bundle.VerifyInquiry(raw, now); !ErrRevoked.Is(err) {
		t.Fatal(err)
	}
	q.Revocation = nil
	if raw, err = SignInquiry(k, q); err != nil {
		t.Fatal(err)
	}
	if _, err := c.bundle.VerifyInquiry(raw, now); !ErrRevocationUnknown.Is(err) {
		t.Fatal(err)
	}
}
