package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/verifier/identity/oidcprovider"
)

// outsiders are who deploys nothing: the identity provider, the platform Town Square
// and a person with a browser. They are this process, at an address of their own, with a
// certificate of an authority of their own.
type outsiders struct {
	cert     tls.Certificate
	identity http.Handler
	town     *world.Platform
}

// newOutsiders starts the identity provider, as if it had been registered with: the redirect
// URI that the handbook names, a client id, a secret.
func newOutsiders(t *testing.T, w *surroundings) *outsiders {
	t.Helper()
	o := &outsiders{cert: selfSigned(t, "identity.example", "town.example")}
	target, err := url.Parse(oidcprovider.Start(t, "https://penname.example/enrol/callback/national", "https://identity.example"))
	if err != nil {
		t.Fatal(err)
	}
	o.identity = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}
	w.must(t, "identity", "mkdir ~/penname")
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.cert.Certificate[0]})
	write(t, w.path("identity", "identity-ca.pem"), authority)
	write(t, w.path("identity", "identity-provider.secret"), []byte(oidcprovider.Secret+"\n"))
	ln, err := tls.Listen("tcp", net.JoinHostPort(outside, "443"), &tls.Config{Certificates: []tls.Certificate{o.cert}})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: o}
	go srv.Serve(ln) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { srv.Close() })
	return o
}

// ServeHTTP is the identity provider and the platform, by their names.
func (o *outsiders) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Host == "town.example" && o.town != nil {
		o.town.Handler().ServeHTTP(rw, r)
		return
	}
	o.identity.ServeHTTP(rw, r)
}

// do is what happens outside.
func (o *outsiders) do(t *testing.T, w *surroundings, s step) {
	t.Helper()
	switch s.outside {
	case "sign in":
		o.signIn(t, w)
	case "the name is opened":
		if said := w.machines["police"].last; !strings.Contains(said, "Alice Weathervane") || strings.Contains(said, "1980") {
			t.Errorf("the name, and no more, is opened: %s", said)
		}
	case "a namesake comes", "the namesake comes back":
		o.namesake(t, w, s.outside == "a namesake comes")
	case "each path leads to its side":
		pathsLeadToSides(t)
	default:
		t.Fatalf("README.md:%d: nobody outside does %q", s.line, s.outside)
	}
}

// threat is what is published, and what no machine of the operator keeps in clear.
const threat = "I know where you live."

// signIn is a person who enrols, signs in to Town Square and threatens somebody there,
// and Town Square, which keeps what it needs for evidence of it.
func (o *outsiders) signIn(t *testing.T, w *surroundings) {
	t.Helper()
	roots := x509.NewCertPool()
	for _, file := range []string{w.path("desk", "ca.pem"), w.path("identity", "identity-ca.pem")} {
		if !roots.AppendCertsFromPEM(read(t, file)) {
			t.Fatal("no authority in ", file)
		}
	}
	http.DefaultTransport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	pathsLeadToSides(t)
	var evidence jose.JSONWebKey
	if err := json.Unmarshal(read(t, w.path("town", "evidence.jwk")), &evidence); err != nil {
		t.Fatal(err)
	}
	o.town = &world.Platform{ID: "town-square", Name: "Town Square", Origin: "https://town.example", EvidenceKey: evidence,
		Issuer: "https://penname.example", IssuerKeys: get(t, "https://penname.example/jwks"), Now: time.Now}
	if err := o.town.Connect(t.Context(), strings.TrimSpace(string(read(t, w.path("town", "town-square.secret"))))); err != nil {
		t.Fatal(err)
	}
	browser := world.NewBrowser()
	if err := browser.Visit(t.Context(), o.town, "Alice Weathervane"); err != nil {
		t.Fatal(err)
	}
	post, err := browser.Say(t.Context(), o.town, threat)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := json.Marshal(map[string]any{
		"token": post.Token.Raw, "url": post.URL, "at": post.At.UTC().Format(time.RFC3339), "exhibits": []map[string]string{{"type": "text/plain", "text": post.Text}},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.path("town", "post.json"), kept)
	write(t, w.path("town", "pen-name"), []byte(post.Author))
}

// namesake is somebody with the name and birth date of who is enrolled. They are held, and
// enrolled once the reviewers have decided.
func (o *outsiders) namesake(t *testing.T, w *surroundings, held bool) {
	t.Helper()
	browser := world.NewBrowser()
	if err := browser.Enrol(t.Context(), "https://penname.example", "Alice Weathervane, carol"); err != nil {
		t.Fatal(err)
	}
	reference := regexp.MustCompile(`Your reference ?([a-z2-7]{12})`).FindStringSubmatch(browser.Page.Text())
	if held != (reference != nil) {
		t.Fatalf("held: %v; the page says: %s", held, browser.Page.Text())
	}
	if held {
		write(t, w.path("desk", "reference"), []byte(reference[1]))
	}
}

func get(t *testing.T, address string) []byte {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(address, res.Status, err)
	}
	return body
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// selfSigned is a certificate that is its own authority.
func selfSigned(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
