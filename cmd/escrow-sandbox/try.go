package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

// clientID is how a client may be called: as the rules name platforms.
var clientID = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$`)

// readClients reads the values of --platform.
func readClients(given []string) ([]world.Client, error) {
	var clients []world.Client
	for _, value := range given {
		v, err := shell.Pairs("platform", value, []string{"id", "redirect"}, "name", "native", "id_token_alg", "username", "email", "logout", "post_logout")
		if err != nil {
			return nil, err
		}
		c := world.Client{ID: v.Get("id"), Name: v.Get("name"), RedirectURIs: v["redirect"], Native: v.Get("native") == "true", IDTokenAlg: v.Get("id_token_alg"),
			Username: v.Get("username") == "true", Email: v.Get("email") == "true", BackchannelLogoutURI: v.Get("logout"), PostLogoutRedirectURIs: v["post_logout"]}
		if !clientID.MatchString(c.ID) {
			return nil, shell.UsageError("--platform: id is of small letters, digits, dots and dashes")
		}
		for _, name := range []string{"native", "username", "email"} {
			if !slices.Contains([]string{"", "true", "false"}, v.Get(name)) {
				return nil, shell.UsageError("--platform: %s is true or false", name)
			}
		}
		if !slices.Contains([]string{"", "RS256", "EdDSA"}, c.IDTokenAlg) {
			return nil, shell.UsageError("--platform: id_token_alg is RS256 or EdDSA")
		}
		for _, uri := range c.RedirectURIs {
			if !c.Registrable(uri) {
				return nil, shell.UsageError("--platform: redirect=%s cannot be a redirect URI: give the whole address, with https://, or with http:// on localhost, and without #, * and ..; an app (native=true) may have a scheme like com.example.app:/", uri)
			}
		}
		for _, uri := range c.PostLogoutRedirectURIs {
			if !c.Registrable(uri) {
				return nil, shell.UsageError("--platform: post_logout=%s cannot be where people are led back to: give the whole address, with https://, or with http:// on localhost", uri)
			}
		}
		if uri := c.BackchannelLogoutURI; uri != "" && (!c.Registrable(uri) || !strings.HasPrefix(uri, "http")) {
			return nil, shell.UsageError("--platform: logout=%s cannot be a logout address: give the whole address, with http:// on localhost", uri)
		}
		if c.ID == world.TownSquare || c.ID == world.SchoolForum {
			return nil, shell.UsageError("--platform: %s is a demo platform of the sandbox: choose another id", c.ID)
		}
		if slices.ContainsFunc(clients, func(other world.Client) bool { return other.ID == c.ID }) {
			return nil, shell.UsageError("--platform: id=%s is given twice: one with several redirect= has several redirect URIs", c.ID)
		}
		if c.Name == "" {
			c.Name = c.ID
		}
		clients = append(clients, c)
	}
	return clients, nil
}

// invocation is how a person here calls one of the programs: by go run if the sandbox was
// started by it, else by name, with its folder if it lies beside the sandbox.
func invocation(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	if strings.Contains(filepath.ToSlash(self), "/go-build") {
		return "go run ./cmd/" + name
	}
	if beside := filepath.Join(filepath.Dir(self), name); exists(beside) {
		return beside
	}
	return name
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// ready is a running sandbox as --json tells it.
type ready struct {
	Issuer    string            `json:"issuer"`
	Discovery string            `json:"discovery"`
	Clients   []readyClient     `json:"clients"`
	Providers []string          `json:"identity_providers"`
	People    []readyPerson     `json:"people"`
	Platforms map[string]string `json:"platforms"` // address by name
	Folder    string            `json:"folder"`
	Exhibits  string            `json:"exhibits,omitempty"` // folder with the words of the demo's posts in evidence
	Keys      map[string]string `json:"evidence_keys"`      // of the demo platforms: file of a private JWK by name
	Audit     string            `json:"audit_command"`      // for a shell
	Registry  string            `json:"registry_flags"`     // of escrowd platform, which registers and changes platforms here
	Case      string            `json:"case,omitempty"`
}

type readyClient struct {
	world.Client
	EvidenceKey string `json:"evidence_key"` // file of a private JWK
	SecretFile  string `json:"client_secret_file,omitempty"`
	Edited      bool   `json:"edited,omitempty"` // with escrowd platform: what is said here can be old
}

// readyPerson is a test person: there are no passwords, their button has their name.
type readyPerson struct {
	Name string `json:"name"`
	Role string `json:"role"`
}

func readyOf(w *world.World) ready {
	r := ready{
		Issuer: w.Origin, Discovery: w.Origin + "/.well-known/openid-configuration", Clients: []readyClient{},
		Providers: []string{w.Identity, w.SecondIdentity}, Folder: w.Dir, Case: w.Case(),
		Keys:      map[string]string{w.Town.Name: w.Path("evidence-" + w.Town.ID + ".jwk"), w.School.Name: w.Path("evidence-" + w.School.ID + ".jwk")},
		Platforms: map[string]string{w.Town.Name: w.Town.Origin, w.School.Name: w.School.Origin},
		Audit:     fmt.Sprintf("%s log audit --bundle %s --server %s", invocation("escrow"), w.Path("bundle.json"), w.Origin),
		Registry:  fmt.Sprintf("--registry-key %s --database-file %s", w.Path("registry.jwk"), w.Path("disclosing.dsn")),
	}
	if exists(w.Exhibits()) {
		r.Exhibits = w.Exhibits()
	}
	for _, c := range w.Clients() {
		client := readyClient{Client: c, EvidenceKey: w.Path("evidence-" + c.ID + ".jwk"), Edited: w.Edited(c.ID)}
		if c.Secret != "" {
			client.SecretFile = w.Path("client-secret-" + c.ID)
		}
		r.Clients = append(r.Clients, client)
	}
	for _, p := range sandbox.People() {
		r.People = append(r.People, readyPerson{p.Name, p.Role})
	}
	return r
}

// tell prints what there is to try, and how: last what whoever started it came for.
func tell(out io.Writer, w *world.World) {
	r := readyOf(w)
	fmt.Fprintf(out, "The sandbox stays up; stop it with Ctrl-C.\n  %-18s %s\n  %-18s %s\n  %-18s %s\n  %-18s %s, %s\n  %-18s %s\n",
		"Penname", r.Issuer, w.Town.Name, w.Town.Origin, w.School.Name, w.School.Origin, "identity providers", w.Identity, w.SecondIdentity, "its folder", w.Dir)
	fmt.Fprintf(out, "  %-18s %s, %s\n", "evidence keys", r.Keys[w.Town.Name], r.Keys[w.School.Name])
	if r.Exhibits != "" {
		fmt.Fprintf(out, "  %-18s %s\n", "exhibits", r.Exhibits)
	}
	var people []string
	for _, p := range r.People {
		people = append(people, p.Name+" ("+p.Role+")")
	}
	fmt.Fprintf(out, "Test people: %s.\nThey have no passwords: the identity provider has a button for each.\nThings to try next:\n", strings.Join(people, ", "))
	for _, c := range r.Clients {
		fmt.Fprintf(out, "  - sign in to %s as %s: what to set up, and the steps, are below\n", c.Name, r.People[0].Name)
	}
	fmt.Fprintf(out, "  - open %s in a browser and sign in as %s\n  - read the public log in a browser: %s/record/\n  - audit it yourself:\n    %s\n", w.Town.Origin, r.People[0].Name, w.Origin, r.Audit)
	if r.Case != "" {
		chidi := w.Path("custodians", "chidi")
		fmt.Fprintf(out, "  - be the custodian Chidi: a second warrant waits. Check it, then approve or refuse it:\n    %s custodian review %s --home %s --passphrase-file %s\n",
			invocation("escrow"), r.Case, chidi, world.PassphraseFile(chidi))
	}
	fmt.Fprintf(out, "  - register a client of any kind, or change one, as the operator does (platform add, edit, show, …, each with --help):\n    %s platform list %s\n",
		invocation("escrowd"), r.Registry)
	if len(r.Clients) == 0 {
		fmt.Fprintf(out, "  - try your own client: start again with --platform id=my-app,redirect=http://localhost:3000/callback --keep %s\n", "my-sandbox")
		return
	}
	for _, c := range r.Clients {
		fmt.Fprintf(out, "Your client %s:\n  issuer             %s\n  discovery          %s\n  client_id          %s\n", c.Name, r.Issuer, r.Discovery, c.ID)
		if !c.Native {
			fmt.Fprintf(out, "  client_secret      %s\n                     also in %s\n", c.Secret, c.SecretFile)
		}
		for _, uri := range c.RedirectURIs {
			fmt.Fprintf(out, "  redirect_uri       %s\n", uri)
		}
		if c.Edited {
			fmt.Fprintf(out, "  edited             with %s platform, so the above can be old: platform show %s\n", invocation("escrowd"), c.ID)
		}
		fmt.Fprintf(out, "  evidence key       %s\n                     makes a post evidence for a court: see token.Recorder, README, For a platform\n", c.EvidenceKey)
	}
	fmt.Fprintf(out, `A sign-in, step by step:
  1. your client sends the browser to the authorization endpoint: code flow, PKCE with S256, scope openid
  2. on Penname's page press "Prove my identity", and at the identity provider "%s"
  3. back on Penname's page press "Sign in to %s"
  4. your client exchanges the code; sub in the ID token is the pen name, the same at every sign-in
`, r.People[0].Name, r.Clients[0].Name)
}
