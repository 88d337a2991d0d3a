package command

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

// forum is a platform's engineer: a folder with a key, a token of somebody who signed in,
// and an issuer with a discovery document.
type forum struct {
	t           *testing.T
	dir, issuer string
	at          time.Time
	token       string
}

func newForum(t *testing.T) *forum {
	t.Helper()
	f := &forum{t: t, dir: t.TempDir(), at: time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC)}
	signer, platform := f.key("issuer"), f.key("evidence")
	f.write("town.pub", string(f.json(platform.Public())))
	keys := f.json(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{signer.Public()}})
	f.write("issuer.jwks", string(keys))
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	f.issuer = server.URL
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(f.json(map[string]string{"issuer": f.issuer, "jwks_uri": f.issuer + "/jwks"})) //nolint:errcheck // a test's server
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Write(keys) //nolint:errcheck // a test's server
	})
	f.token = f.signIn(signer)
	f.write("token.jwt", f.token+"\n")
	f.write("post.txt", "I will find you.\u202e\x1b[2J\nevidence   forged line\n")
	return f
}

func (f *forum) signIn(issuer jose.JSONWebKey) string {
	f.t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: issuer}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		f.t.Fatal(err)
	}
	name, err := token.NewPseudonym([]byte("sixteen bytes..."))
	if err != nil {
		f.t.Fatal(err)
	}
	link := token.Commit(name, "ab3f", [32]byte{})
	signed, err := s.Sign(f.json(map[string]any{
		"iss": f.issuer, "aud": "town-square", "sub": name, "jti": "1", "acr": "urn:penname:proofed", "iat": f.at.Unix() - 60, "exp": f.at.Unix() + 240,
		"penname_commitment": base64.RawURLEncoding.EncodeToString(link[:]),
	}))
	if err != nil {
		f.t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		f.t.Fatal(err)
	}
	return raw
}

func (f *forum) key(name string) jose.JSONWebKey {
	f.t.Helper()
	k, err := document.NewKey()
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(name+".jwk", string(f.json(k)))
	return k
}

func (f *forum) json(v any) []byte {
	f.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *forum) path(name string) string { return filepath.Join(f.dir, name) }

func (f *forum) write(name, content string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *forum) read(name string) string {
	f.t.Helper()
	b, err := os.ReadFile(f.path(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// run runs a line of the shell, in which @ stands for the folder.
func (f *forum) run(stdin, line string) result {
	f.t.Helper()
	args := strings.Fields(line)
	for i := range args {
		args[i] = strings.Replace(args[i], "@", f.dir+"/", 1)
	}
	var out, errs bytes.Buffer
	code := Run(f.t.Context(), args, Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Now: func() time.Time { return f.at.Add(time.Hour) }, HTTP: http.DefaultClient})
	return result{out.String(), errs.String(), code}
}

func (f *forum) mustRun(stdin, line string) string {
	f.t.Helper()
	r := f.run(stdin, line)
	if r.code != 0 {
		f.t.Fatalf("%s: %d, %s", line, r.code, r.errs)
	}
	return r.out
}

const (
	makeOne = "evidence make @post.txt --url https://town.example/p/17 --at 2026-11-29T07:00:00Z --token @token.jwt --platform town-square"
	checked = " --platform-keys @town.pub --exhibits @exhibits"
)

// What an engineer makes is what a court can check, and what both see of it is the same.
func TestEvidenceIsMadeCheckedAndShown(t *testing.T) {
	f := newForum(t)
	f.mustRun("", makeOne+" --key @evidence.jwk --exhibits @exhibits --out @threat.jws")
	sum := sha256.Sum256([]byte(f.read("threat.jws")))
	digest := hex.EncodeToString(sum[:])
	for _, keys := range []string{"", " --issuer-keys @issuer.jwks"} {
		out := f.mustRun("", "evidence check @threat.jws --issuer "+f.issuer+checked+keys)
		for _, want := range []string{"good", "https://town.example/p/17", "2026-11-29T07:00:00Z", "pen1", "the platform's word alone", "exhibits compared: 1", digest} {
			if !strings.Contains(out, want) {
				t.Errorf("check does not say %q: %s", want, out)
			}
		}
	}
	out := f.mustRun(f.read("threat.jws"), "evidence show - --exhibits @exhibits")
	if !strings.Contains(out, "| I will find you.‹U+202E›‹U+001B›[2J\n         | evidence   forged line\n") || strings.ContainsAny(out, "\u202e\x1b") || !strings.Contains(out, digest) {
		t.Errorf("show says %s", out)
	}
	if out := f.mustRun("", "evidence schema"); out != token.EvidenceSchema {
		t.Errorf("schema prints %s", out)
	}
	var s shownEvidence
	if err := json.Unmarshal([]byte(f.mustRun("", "evidence show @threat.jws --exhibits @exhibits --json")), &s); err != nil || s.SHA256 != digest || *s.Exhibits[0].Text != f.read("post.txt") {
		t.Errorf("%v: %+v", err, s)
	}
}

// Nothing is said to be signed before it is in its file. What is said then is the next command.
func TestEvidenceIsWrittenBeforeItIsSaid(t *testing.T) {
	f := newForum(t)
	f.write("taken.jws", "something else")
	for name, code := range map[string]string{"@taken.jws": "file.exists", "@nosuch/threat.jws": "file.unwritable"} {
		for _, format := range []string{"", " --json"} {
			if r := f.run("", makeOne+" --key @evidence.jwk --out "+name+format); r.code != 1 || r.out != "" || !strings.Contains(r.errs, code) {
				t.Errorf("%s%s: %+v", name, format, r)
			}
		}
	}
	out := f.mustRun("", makeOne+" --key @evidence.jwk --exhibits @exhibits --out @threat.jws")
	if next := "Next: escrow evidence check " + f.path("threat.jws") + " --exhibits " + f.path("exhibits"); !strings.HasPrefix(out, "signed: "+f.path("threat.jws")) || !strings.Contains(out, next) {
		t.Error(out)
	}
}

// Each is refused with what is wrong with it and how to mend it.
func TestEvidenceIsRefused(t *testing.T) {
	f := newForum(t)
	f.mustRun("", makeOne+" --key @evidence.jwk --exhibits @exhibits --out @threat.jws")
	f.key("other")
	f.write("other.pub", f.mustRun("", "key new @x.jwk --json"))
	f.write("page.html", "<script>")
	f.write("not.png", "a text")
	f.write("secret.jwks", `{"keys":[`+f.read("evidence.jwk")+`]}`)
	f.write("joined.jws", f.read("threat.jws")+f.read("threat.jws"))
	f.write("post", "hello")
	f.write("two.jws", f.read("threat.jws")+"\n\nnonsense\n")
	check := "evidence check @threat.jws --issuer " + f.issuer
	for _, c := range []struct {
		line string
		code int
		says string
	}{
		{check + " --platform-keys @other.pub", 1, "evidence.unknown_key"},
		{"evidence check @threat.jws --issuer https://other.example --issuer-keys @issuer.jwks --platform-keys @town.pub", 1, "evidence.bad_token"},
		{"evidence check @threat.jws --issuer http://other.example --platform-keys @town.pub", 1, "token.keys_unavailable"},
		{"evidence check @threat.jws --issuer " + f.issuer + "/ --platform-keys @town.pub", 1, "invalid_token.bad_issuer"},
		{"evidence check @threat.jws --issuer http://localhost:8080 --platform-keys @town.pub", 1, "127.0.0.1 or [::1]"},
		{"evidence check @joined.jws --issuer " + f.issuer + checked, 1, "several pieces in one line"},
		{"evidence show @joined.jws", 1, "several pieces in one line"},
		{check, 2, "--platform-keys is needed"},
		{check + " --platform-keys @evidence.jwk", 1, "evidence.jwk: it is a secret key"},
		{check + " --platform-keys @town.pub --issuer-keys @secret.jwks", 1, "file.not_a_public_key"},
		{makeOne + " --public-key @evidence.jwk --signer @nosuch", 1, "evidence.jwk: it is a secret key"},
		{"evidence check @two.jws --issuer " + f.issuer + checked, 1, "evidence.some_refused"},
		{"evidence check @two.jws --json --issuer " + f.issuer + checked, 1, `"evidence.some_refused"`},
		{"evidence check @nosuch.jws --issuer " + f.issuer + checked, 1, "file.unreadable"},
		{check + " --platform-keys @town.pub --exhibits @", 1, "evidence.exhibit_missing"},
		{"evidence show @two.jws", 1, "two.jws, line 3"},
		{"evidence make --key @evidence.jwk --platform town-square", 2, "--token is needed"},
		{makeOne, 2, "name --key, or --signer with --public-key"},
		{makeOne + " --key @town.pub", 1, "file.not_a_key"},
		{strings.Replace(makeOne, "@post.txt", "@page.html", 1) + " --key @evidence.jwk", 1, "evidence.exhibit_type"},
		{strings.Replace(makeOne, "@post.txt", "@not.png", 1) + " --key @evidence.jwk", 1, "evidence.exhibit_content"},
		{strings.Replace(makeOne, "@post.txt", "@nosuch.txt", 1) + " --key @evidence.jwk", 1, "file.unreadable"},
		{strings.Replace(makeOne, "@post.txt", "@post", 1) + " --key @evidence.jwk", 1, "--type text/plain"},
		{strings.Replace(makeOne, "@post.txt", "@post.txt @post.txt", 1) + " --key @evidence.jwk", 1, "exhibits: the same bytes are there twice"},
		{strings.Replace(makeOne, "/p/17", "/p/é", 1) + " --key @evidence.jwk", 1, "evidence.bad_post"},
		{strings.Replace(makeOne, "/p/17", "/p/é", 1) + " --key @evidence.jwk", 1, "url: it must be in ASCII"},
		{strings.Replace(makeOne, "town-square", "town\u202esquare", 1) + " --key @evidence.jwk", 1, "iss: this is no client id"},
		{strings.Replace(makeOne, "T07:00:00Z", "", 1) + " --key @evidence.jwk", 2, "--at is a time such as"},
		{"evidence make --posts - @post.txt --key @evidence.jwk --platform town-square", 2, "--posts says all of each post"},
	} {
		r := f.run("", c.line)
		if r.code != c.code || !strings.Contains(r.errs, c.says) {
			t.Errorf("%s: %d, %s", c.line, r.code, r.errs)
		}
	}
	// An exhibit that is another one.
	entries, err := os.ReadDir(f.path("exhibits"))
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	f.write("exhibits/"+entries[0].Name(), "It was a joke.")
	if r := f.run("", check+checked); r.code != 1 || !strings.Contains(r.errs, "evidence.exhibit_mismatch") {
		t.Error(r)
	}
	for _, line := range []string{
		`{}`, `[]`, `{"token":"a","token":"b","url":"https://town.example/1","at":"2026-11-29T07:00:00Z","exhibits":[{"type":"text/plain","text":"x"}]}`,
		`{"token":"a","url":"https://town.example/1","at":"yesterday","exhibits":[{"type":"text/plain","text":"x"}]}`,
		`{"token":"a","url":"https://town.example/1","at":"2026-11-29T07:00:00Z","name":"Jo","exhibits":[{"type":"text/plain","text":"x"}]}`,
		`{"token":"a","url":"https://town.example/1","at":"2026-11-29T07:00:00Z","exhibits":[{"type":"text/plain","text":"x","file":"y"}]}`,
	} {
		if r := f.run(line, "evidence make --posts - --key @evidence.jwk --platform town-square"); r.code != 1 || !strings.Contains(r.errs, "evidence.bad_post") || !strings.Contains(r.errs, "line 1") || strings.Contains(r.errs, "Jo") {
			t.Errorf("%s: %v", line, r)
		}
	}
}

// A key that does not leave its keeper signs through a program.
func TestEvidenceBySigner(t *testing.T) {
	f := newForum(t)
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needed in CI: ", err)
		}
		t.Skip("skipped, because not CI: ", err)
	}
	for name, alg := range map[string]string{"ed25519": "pkeyutl -rawin -sign -inkey $D/ed25519.pem -in $D/in", "p256": "dgst -sha256 -sign $D/p256.pem $D/in"} {
		f.pem(name)
		f.write(name+".sh", "#!/bin/sh\nD="+f.dir+"\ncat > $D/in\nexec openssl "+alg+"\n")
		if err := os.Chmod(f.path(name+".sh"), 0o700); err != nil { //nolint:gosec // it has to run
			t.Fatal(err)
		}
		f.mustRun("", makeOne+" --signer @"+name+".sh --public-key @"+name+".pub --exhibits @exhibits --out @"+name+".jws")
		f.mustRun("", "evidence check @"+name+".jws --issuer "+f.issuer+" --platform-keys @"+name+".pub --exhibits @exhibits")
	}
	f.write("silent.sh", "#!/bin/sh\n")
	f.write("wrong.sh", "#!/bin/sh\nhead -c 64 /dev/zero\n")
	for _, name := range []string{"silent.sh", "wrong.sh"} {
		if err := os.Chmod(f.path(name), 0o700); err != nil { //nolint:gosec // it has to run
			t.Fatal(err)
		}
		if r := f.run("", makeOne+" --public-key @town.pub --signer @"+name); r.code != 1 || !strings.Contains(r.errs, "evidence.signer_failed") {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := f.run("", makeOne+" --public-key @town.pub --signer @nosuch"); r.code != 1 || !strings.Contains(r.errs, "evidence.signer_failed") {
		t.Error(r)
	}
}

// pem makes a key as PKCS #8, which openssl reads, and its public half as a JWK.
func (f *forum) pem(name string) {
	f.t.Helper()
	k, err := document.NewKeyFor(map[string]jose.SignatureAlgorithm{"ed25519": jose.EdDSA, "p256": jose.ES256}[name])
	if err != nil {
		f.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	f.write(name+".pub", string(f.json(k.Public())))
}

// posts writes lines of --posts without holding them.
type posts struct {
	line []byte
	left int
	rest []byte
}

func (p *posts) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if p.left == 0 {
			return 0, io.EOF
		}
		p.left--
		p.rest = p.line
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// 5,000 posts of 50 KB each pass through without being held: 250 MB in, and never more than
// a few at once.
func TestManyPostsAreStreamed(t *testing.T) {
	f := newForum(t)
	const many = 5000
	line := append(f.json(map[string]any{
		"token": f.token, "url": "https://town.example/p/17", "at": f.at.Format(time.RFC3339),
		"exhibits": []map[string]string{{"type": "text/plain", "text": strings.Repeat("I will find you.\n", 3200)}},
	}), '\n')
	var errs bytes.Buffer
	out := &countedLines{}
	code := Run(t.Context(), []string{"evidence", "make", "--posts", "-", "--platform", "town-square", "--key", f.path("evidence.jwk")},
		Env{Stdin: &posts{line: line, left: many}, Stdout: out, Stderr: &errs, Now: func() time.Time { return f.at }})
	if code != 0 || out.lines != many || out.most > 100<<20 {
		t.Errorf("%d, %d lines, %d bytes of memory: %s", code, out.lines, out.most, errs.String())
	}
}

// countedLines looks at the memory in use as evidence is written.
type countedLines struct {
	lines int
	most  uint64 // bytes
}

func (c *countedLines) Write(b []byte) (int, error) {
	c.lines += bytes.Count(b, []byte("\n"))
	if c.lines%50 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		c.most = max(c.most, m.HeapInuse+m.StackInuse)
	}
	return len(b), nil
}
