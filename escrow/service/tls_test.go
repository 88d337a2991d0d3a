package service

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
)

// TestTLSOfTheProfile: what the modules of FAPI 2.0 want of TLS (escrow/web/person has the
// others). TLS 1.3 is preferred; of 1.2 only the suites that RFC 9325, 4.2, recommends pass.
func TestTLSOfTheProfile(t *testing.T) {
	certificate := newAuthority(t).issue(t, x509.ExtKeyUsageServerAuth)
	config := serverTLS(func() *tls.Certificate { return &certificate })
	speak := func(client *tls.Config) (tls.ConnectionState, error) {
		here, there := net.Pipe()
		defer here.Close()
		client.InsecureSkipVerify = true
		go func() {
			defer there.Close()
			_ = tls.Server(there, config).Handshake() // the client hears of it
		}()
		conn := tls.Client(here, client)
		err := conn.Handshake()
		return conn.ConnectionState(), err
	}
	if state, err := speak(&tls.Config{MinVersion: tls.VersionTLS10}); err != nil || state.Version != tls.VersionTLS13 {
		t.Errorf("with a client that takes all: %x %v", state.Version, err)
	}
	for _, old := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if _, err := speak(&tls.Config{MinVersion: old, MaxVersion: old}); err == nil {
			t.Errorf("version %x passes", old)
		}
	}
	passed := 0
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		recommended := map[string]bool{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": true, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": true,
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": true, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": true}[suite.Name]
		_, err := speak(&tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
		if err == nil && !recommended {
			t.Errorf("%s passes", suite.Name)
		}
		if err == nil {
			passed++
		}
	}
	if passed != 2 { // of the certificate's kind of key
		t.Errorf("%d suites pass", passed)
	}
}
