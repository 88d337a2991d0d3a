package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Where metrics ask for a certificate, so does the status; and whoever asks believes
// nobody but who has the certificate of the configuration.
func TestStatusOverTLS(t *testing.T) {
	r := newReloading(t)
	authority := newAuthority(t)
	r.put("metrics-ca.pem", authority.pem())
	r.put("escrowd.toml", `metrics_listen = "127.0.0.1:9464"`+"\nmetrics_client_ca_file = \""+r.folder+"/metrics-ca.pem\"\n"+r.config(`{file = "first.jwk"}`))
	r.log.until(t, readAgain("authority of those who read metrics"))
	c := *r.s.live.seen
	c.MetricsListen = "127.0.0.1:0"
	ln, err := r.s.listenForMetrics(&c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"version": "v1", "parts": [{"mark": "ok", "part": "rules"}]}`)
		}))
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	c.MetricsListen = ln.Addr().String()
	good := authority.issue(t, x509.ExtKeyUsageClientAuth)
	if s, err := c.Status(ctx, good); err != nil || len(s.Parts) != 1 || !strings.Contains(s.String(), "\nok         rules") {
		t.Error(s, err)
	}
	for name, client := range map[string][]tls.Certificate{"none": nil, "of another authority": {newAuthority(t).issue(t, x509.ExtKeyUsageClientAuth)}} {
		if _, err := c.Status(ctx, client...); !errors.Is(err, errStatusCertificate) {
			t.Errorf("certificate %s: %v", name, err)
		}
	}
	r.putCertificate(".", 9, time.Now().AddDate(0, 3, 0))
	r.log.until(t, readAgain("certificate"))
	c.TLSCert, c.TLSKey = r.s.live.seen.TLSCert, r.s.live.seen.TLSKey
	if _, err := c.Status(ctx, good); err != nil {
		t.Error("the renewed certificate:", err, errors.Unwrap(err))
	}
	r.s.live.certificate.Store(&good)
	if _, err := c.Status(ctx, good); !errors.Is(err, errStatus) {
		t.Error("another certificate than the configuration's:", err)
	}
}
