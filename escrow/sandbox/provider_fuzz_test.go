package sandbox

import (
	"net/url"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

// Whatever the query holds, an answer only ever goes to the registered redirect
// URI, and a request is only accepted with all that makes it safe.
func FuzzAuthorizationRequest(f *testing.F) {
	good := url.Values{"client_id": {"c"}, "redirect_uri": {"http://127.0.0.1:9/cb"}, "response_type": {"code"}, "state": {"s"}, "nonce": {"n"},
		"scope": {"openid profile"}, "code_challenge": {strings.Repeat("a", 43)}, "code_challenge_method": {"S256"}}
	client := Client{ID: "c", RedirectURI: "http://127.0.0.1:9/cb"}
	if _, trusted, code := parseAuthRequest(good.Encode(), client); !trusted || code != "" {
		f.Fatalf("the seed is refused: %v %s", trusted, code)
	}
	f.Add(good.Encode())
	f.Add(good.Encode() + "&state=2")
	f.Add(good.Encode() + ";a=b")
	f.Add("redirect_uri=%68ttp://127.0.0.1:9/cb&client_id=c")
	fuzzing.Run(f, func(t *testing.T, query string) {
		a, trusted, code := parseAuthRequest(query, client)
		if !trusted {
			return
		}
		if a.redirectURI != client.RedirectURI {
			t.Fatal("an answer would go elsewhere")
		}
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal("an ill-formed query was taken")
		}
		if code == "" && (a.state == "" || a.nonce == "" || len(a.challenge) != 43 || q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || repeated(q)) {
			t.Fatalf("accepted without all that makes it safe: %q", query)
		}
	})
}
