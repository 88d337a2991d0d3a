package mailtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/mail"
)

// Certificate is one for 127.0.0.1, with who trusts it.
func Certificate(t testing.TB) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mailtest"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

// Started is a mail server that a suite talks to: it wants STARTTLS with this certificate
// and the user "penname" with the password "secret", and knows no address at nowhere.example.
type Started struct {
	Address   string
	Delivered func() []Delivered
}

// TestServer is the suite of mail servers: [Server] behaves as a real one does.
func TestServer(t *testing.T, start func(*testing.T, *tls.Certificate) Started) {
	certificate, roots := Certificate(t)
	s := start(t, certificate)
	client := mail.Server{Address: s.Address, Roots: roots, User: "penname", Password: "secret", From: "penname@penname.example", Host: "penname.example"}
	ctx := t.Context()
	text := mail.Message(mail.Letter{ID: [16]byte{1}, Kind: mail.Notice, To: "jo@example.org"}, client.From, "https://penname.example", time.Unix(1_790_000_000, 0))
	text = append(text, "..\r\n.\r\n.x\r\n"...) // lines that SMTP itself uses
	if err := client.Check(ctx); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	for range 2 {
		if err := client.Send(ctx, "jo@example.org", text); err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
	}
	got := s.Delivered()
	if len(got) != 2 || got[0] != got[1] || got[0].From != "penname@penname.example" || got[0].To != "jo@example.org" || got[0].Text != string(text) {
		t.Errorf("delivered %q", got)
	}
	if err := client.Send(ctx, "jo@nowhere.example", text); !errors.Is(err, mail.ErrRefused) {
		t.Errorf("an unknown address: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*mail.Server)
		want   error
	}{
		"a wrong password":     {func(m *mail.Server) { m.Password = "wrong" }, mail.ErrLogin},
		"no login":             {func(m *mail.Server) { m.User = "" }, mail.ErrSender},
		"a strange authority":  {func(m *mail.Server) { m.Roots = x509.NewCertPool() }, mail.ErrNoTLS},
		"another host":         {func(m *mail.Server) { m.Address = strings.Replace(m.Address, "127.0.0.1", "localhost", 1) }, mail.ErrNoTLS},
		"TLS from the start":   {func(m *mail.Server) { m.TLS = mail.Implicit }, mail.ErrNoTLS},
		"nobody listens there": {func(m *mail.Server) { m.Address = "127.0.0.1:1" }, mail.ErrServer},
	} {
		wrong := client
		c.change(&wrong)
		if err := wrong.Check(ctx); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := wrong.Send(ctx, "jo@example.org", text); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(s.Delivered()); n != 2 {
		t.Errorf("%d delivered", n)
	}
}
