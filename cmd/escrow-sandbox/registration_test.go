package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	escrowd "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/verifier/document"
)

// TestRegistrationToFirstToken: at a service that runs, and goes on running, one command
// registers a newcomer, whose ordinary client then verifies a first token. Another one
// retires it, and from then on it signs nobody in.
func TestRegistrationToFirstToken(t *testing.T) {
	client := startOwnClient(t)
	r := startSandbox(t, "--platform", "id=my-app,redirect=http://localhost:3000/callback")
	operator := func(args ...string) operatorSaid { return operate(t, r, args...) }
	signsIn := func() bool {
		t.Helper()
		v := url.Values{"client_id": {"newcomer"}, "redirect_uri": {client.redirect}, "response_type": {"code"}, "scope": {"openid"}, "nonce": {"n"}}
		code, body := ask(t, r.Issuer+"/authorize?"+v.Encode())
		return code == http.StatusOK && !bytes.Contains(body, []byte(openid.ErrUnknownPlatform.Mend))
	}
	until := func(want bool) {
		t.Helper()
		looks := time.NewTicker(200 * time.Millisecond) // more often is a flood to it
		defer looks.Stop()
		for n := 0; signsIn() != want; n++ {
			if n == 100 {
				t.Fatal("the service did not follow the registry")
			}
			<-looks.C
		}
	}
	if signsIn() {
		t.Fatal("it signs people in before it is registered")
	}
	began := time.Now()
	secret := operator("add", "newcomer", "--name", "Newcomer", "--redirect-uri", client.redirect).Secret
	registered := time.Since(began)
	until(true)
	known := time.Since(began)
	r.Clients = []readyClient{{Client: world.Client{ID: "newcomer", Name: "Newcomer", Secret: secret}}}
	client.signIn(t, r, sandbox.People()[0].Name)
	t.Logf("figure: registration to first verified token: 1 command; registered after %.1f s, known to the service after %.1f s, verified after %.1f s", registered.Seconds(), known.Seconds(), time.Since(began).Seconds())
	operator("retire", "newcomer", "--yes")
	until(false)
}

// operatorSaid is what escrowd platform says, as far as it is looked at here.
type operatorSaid struct {
	Secret       string   `json:"client_secret"`
	Number       int      `json:"number"`
	RedirectURIs []string `json:"redirect_uris"`
}

// operate runs escrowd platform with the flags that a sandbox prints.
func operate(t *testing.T, r running, args ...string) (said operatorSaid) {
	t.Helper()
	var out, errs bytes.Buffer
	args = slices.Concat([]string{"platform"}, args, strings.Fields(r.Registry), []string{"--json"})
	if code := escrowd.Run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	return said
}

// What the operator's program changed of a client stays when a sandbox starts again, a
// secret that was forgotten too. Only another --platform changes it, and that is said.
func TestEditsOfAClientStay(t *testing.T) {
	dir := keepDir(t)
	const platform, other = "id=my-app,redirect=http://localhost:1/callback", "id=my-app,redirect=http://localhost:2/callback"
	first := startSandbox(t, "--platform", platform, "--keep", dir)
	operate(t, first, "edit", "my-app", "--redirect-uri", "http://localhost:3/edited")
	operate(t, first, "rotate-secret", "my-app")
	operate(t, first, "rotate-secret", "my-app", "--forget-old")
	edited := operate(t, first, "show", "my-app")
	if code := first.stop(); code != 0 || edited.Number != 4 || first.Clients[0].Edited {
		t.Fatalf("exit code %d, %+v", code, edited)
	}
	for _, args := range [][]string{{}, {"--platform", platform}} {
		again := startSandbox(t, append(args, "--keep", dir)...)
		if now := operate(t, again, "show", "my-app"); now.Number != edited.Number || !slices.Equal(now.RedirectURIs, edited.RedirectURIs) || !again.Clients[0].Edited {
			t.Errorf("%v: %+v, %+v", args, now, again.Clients)
		}
		again.stop()
	}
	changed := startSandbox(t, "--platform", other, "--keep", dir)
	if now := operate(t, changed, "show", "my-app"); now.Number != 5 || !slices.Equal(now.RedirectURIs, []string{"http://localhost:2/callback"}) || changed.Clients[0].Edited {
		t.Errorf("%+v", now)
	}
	changed.stop()
	if !strings.Contains(changed.errs.String(), "my-app is registered anew, as --platform says now") {
		t.Error(changed.errs.String())
	}
}

// A client can publish its keys on the machine of a sandbox.
func TestKeysByAddressInASandbox(t *testing.T) {
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	}))
	t.Cleanup(srv.Close)
	r := startSandbox(t)
	operate(t, r, "add", "keyed", "--name", "Keyed", "--kind", "keys", "--redirect-uri", "http://localhost:1/callback", "--jwks-uri", srv.URL+"/jwks")
	looks := time.NewTicker(200 * time.Millisecond)
	defer looks.Stop()
	for n := 0; ; n++ {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		assertion, err := jwt.Signed(signer).Claims(map[string]any{"iss": "keyed", "sub": "keyed", "aud": r.Issuer, "jti": now.String(), "exp": now.Add(time.Minute).Unix()}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.PostForm(r.Issuer+"/par", url.Values{"response_type": {"code"}, "scope": {"openid"}, "nonce": {"n"}, "redirect_uri": {"http://localhost:1/callback"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}})
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode == http.StatusCreated {
			return
		}
		if n == 100 {
			t.Fatal(string(body))
		}
		<-looks.C
	}
}
