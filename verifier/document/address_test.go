package document

import (
	"net/url"
	"testing"
)

func TestLoopbackAndLocalhost(t *testing.T) {
	for host, want := range map[string][2]bool{
		"127.0.0.1": {true, true}, "127.9.9.9": {true, true}, "::1": {true, true}, "::ffff:127.0.0.1": {true, true},
		"localhost": {false, true}, "LOCALHOST": {}, "localhost.": {}, "localhost.evil.example": {}, "127.0.0.1.evil.example": {},
		"": {}, "10.0.0.1": {}, "::ffff:10.0.0.1": {}, "0.0.0.0": {}, "::": {}, "127.1": {}, "0x7f000001": {}, "2130706433": {}, "penname.example": {},
	} {
		if got := [2]bool{Loopback(host), Localhost(host)}; got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestSecure(t *testing.T) {
	for s, want := range map[string][2]bool{
		"https://penname.example": {true, true}, "https://10.0.0.1:8200/x": {true, true}, "http://127.0.0.1:1": {true, true}, "http://[::1]": {true, true},
		"http://localhost:1": {false, true}, "http://penname.example": {}, "http://10.0.0.1": {}, "ftp://127.0.0.1": {}, "//127.0.0.1": {}, "https:127.0.0.1": {}, "https://": {}, "": {},
	} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{Secure(u, Loopback), Secure(u, Localhost)}; got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestOrigin(t *testing.T) {
	for s, want := range map[string][2]bool{ // without and with a path
		"https://penname.example": {true, true}, "https://penname.example:8443": {true, true}, "http://localhost:1": {true, true},
		"https://penname.example/a": {false, true}, "https://penname.example/a/": {}, "https://penname.example/": {},
		"https://u@penname.example": {}, "https://penname.example?x": {}, "https://penname.example#x": {}, "HTTPS://penname.example": {},
		"http://penname.example": {}, "https://p\u0430yname.example": {}, "penname.example": {}, "%": {}, "": {},
	} {
		if got := [2]bool{Origin(s, false, Localhost), Origin(s, true, Localhost)}; got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}
