package clients

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/verifier/token"
)

// settings are the blocks of a language in a section of deploy/clients.md.
func settings(t *testing.T, section, language string) (blocks []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.FromSlash("../../../deploy/clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n## "+section)
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```\n").FindAllStringSubmatch(rest, -1) {
		blocks = append(blocks, m[1])
	}
	if !ok || len(blocks) == 0 {
		t.Fatal("the page has no settings for ", section)
	}
	return blocks
}

// without leaves out the lines of settings.
func without(text string, names ...string) string {
	for _, name := range names {
		text = regexp.MustCompile(`(?m)^`+name+` = .*\n`).ReplaceAllString(text, "")
	}
	return text
}

// A person signs in with each program that deploy/clients.md has settings for and that can
// be run here, with these settings: the program behind it learns pen name, handle, and where
// it is said so the address, and gets an ID token that can be evidence.
func TestRecipes(t *testing.T) {
	proxy, apache := settings(t, "oauth2-proxy 7", "toml"), settings(t, "mod_auth_openidc 2.4", "apache")
	if len(proxy) != 2 {
		t.Fatal("the settings of oauth2-proxy have another form: ", len(proxy))
	}
	recipes := []struct {
		client
		settings string
	}{
		{client{name: "oauth2-proxy", command: []string{"./oauth2-proxy.sh"}, start: "/", callback: "/oauth2/callback", button: "Sign in with Penname", username: true}, proxy[0]},
		{client{name: "oauth2-proxy with addresses", command: []string{"./oauth2-proxy.sh"}, start: "/", callback: "/oauth2/callback", button: "Sign in with Penname", username: true, email: true},
			without(proxy[0], "scope", "oidc_email_claim") + proxy[1]},
		{client{name: "mod_auth_openidc", command: []string{"./apache.sh"}, start: "/", callback: "/redirect_uri", username: true}, apache[0]},
	}
	var tried []client
	for i := range recipes {
		recipes[i].version = module("github.com/oauth2-proxy/oauth2-proxy/v7")
		if recipes[i].command[0] == "./apache.sh" {
			recipes[i].version = debian("libapache2-mod-auth-openidc")
			if _, err := os.Stat("/usr/lib/apache2/modules/mod_auth_openidc.so"); err != nil {
				unavailable(t, "make setup installs it: ", err)
			}
		}
		tried = append(tried, recipes[i].client)
	}
	tools := install(t, tried)
	var apps []*app
	var registered []world.Client
	for i, r := range recipes {
		a := reserve(t, r.client, tools, fmt.Sprintf("recipe-%d", i+1))
		apps, registered = append(apps, a), append(registered, a.registration())
	}
	w := startWorld(t, registered)
	behind := behindProxy(t)
	for i, r := range recipes {
		t.Run(r.name, func(t *testing.T) {
			a := apps[i]
			a.issuer, a.secret = w.Origin, w.Clients()[i].Secret
			text := strings.NewReplacer("https://penname.example", a.issuer, "https://town.example", a.origin, "town-square", a.id,
				"CLIENT-SECRET", a.secret, "COOKIE-SECRET", "abcdefghijklmnopqrstuvwxyz234567", "127.0.0.1:4180", "127.0.0.1:"+a.port, "http://127.0.0.1:8080", behind).Replace(r.settings)
			file := filepath.Join(openDir(t), "settings")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			said := a.run(t, []string{"RECIPE=" + file})
			page, err := a.inBrowser(t)
			if err != nil {
				t.Fatal(err, "\n", said)
			}
			checkSeen(t, r.client, page)
		})
	}
}

// behindProxy is a program that oauth2-proxy protects. Its page shows what it is told.
func behindProxy(t *testing.T) (address string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Forwarded-Email", "Authorization"} {
			fmt.Fprintln(w, r.Header.Get(name))
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// checkSeen looks for pen name, handle, address and ID token on a page.
func checkSeen(t *testing.T, c client, page string) {
	t.Helper()
	name, err := shown(page)
	if err != nil {
		t.Fatal(err)
	}
	if handle := string(name.Handle(token.MinHandle)); !regexp.MustCompile(`\b` + handle + `\b`).MatchString(page) {
		t.Errorf("no handle %s: %s", handle, page)
	}
	if strings.Contains(page, string(name)+"@penname.invalid") != c.email {
		t.Errorf("an address: %v: %s", !c.email, page)
	}
	jwt := regexp.MustCompile(`eyJ[\w-]+\.([\w-]+)\.[\w-]+`).FindStringSubmatch(page)
	if jwt == nil {
		t.Fatalf("no ID token: %s", page)
	}
	var claims struct {
		Subject    string `json:"sub"`
		Commitment string `json:"penname_commitment"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(jwt[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil || claims.Subject != string(name) || claims.Commitment == "" {
		t.Errorf("%v: %s", err, payload)
	}
}
