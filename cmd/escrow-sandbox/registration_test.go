package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	escrowd "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

// TestRegistrationToFirstToken: at a service that runs, and goes on running, one command
// registers a newcomer, whose ordinary client then verifies a first token. Another one
// retires it, and from then on it signs nobody in.
func TestRegistrationToFirstToken(t *testing.T) {
	client := startOwnClient(t)
	r := startSandbox(t, "--platform", "id=my-app,redirect=http://localhost:3000/callback")
	operator := func(args ...string) (said struct {
		Secret string `json:"client_secret"`
	}) {
		t.Helper()
		var out, errs bytes.Buffer
		args = append(append([]string{"platform"}, args...), "--registry-key", filepath.Join(r.Folder, "registry.jwk"), "--database-file", filepath.Join(r.Folder, "disclosing.dsn"), "--json")
		if code := escrowd.Run(t.Context(), args, &out, &errs); code != 0 {
			t.Fatal(errs.String())
		}
		if err := json.Unmarshal(out.Bytes(), &said); err != nil {
			t.Fatal(err)
		}
		return said
	}
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
