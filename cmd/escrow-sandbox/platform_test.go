package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	escrowd "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
)

// platforms are the operator's commands at a world.
type platforms struct {
	*testing.T
	*world.World
}

// run returns what a command printed, JSON if it was done.
func (p platforms) run(command string, args ...string) (said string, code int) {
	p.Helper()
	var out, errs bytes.Buffer
	args = slices.Concat([]string{"platform", command}, args, []string{"--database-file", p.Path("disclosing.dsn"), "--registry-key", p.Path("registry.jwk"), "--json"})
	if code := escrowd.Run(p.Context(), args, &out, &errs); code != 0 {
		return errs.String(), code
	}
	return out.String(), 0
}

func (p platforms) done(command string, args ...string) string {
	p.Helper()
	said, code := p.run(command, args...)
	if code != 0 {
		p.Fatalf("%s %v: %s", command, args, said)
	}
	return said
}

func (p platforms) refused(code int, says, command string, args ...string) {
	p.Helper()
	if said, got := p.run(command, args...); got != code || !strings.Contains(said, says) {
		p.Errorf("%s %v: exit code %d, %s", command, args, got, said)
	}
}

func (p platforms) show(id string) (v struct {
	Name         string   `json:"name"`
	Sector       string   `json:"sector"`
	Number       int      `json:"number"`
	Origins      []string `json:"origins"`
	Stolen       []string `json:"stolen"`
	RedirectURIs []string `json:"redirect_uris"`
	Secrets      int      `json:"secrets"`
}) {
	p.Helper()
	if err := json.Unmarshal([]byte(p.done("show", id)), &v); err != nil {
		p.Fatal(err)
	}
	return v
}

// key makes a key, and returns the files of its secret and its public half.
func (p platforms) key(name string) (secret, public string) {
	p.Helper()
	secret = filepath.Join(p.TempDir(), name+".jwk")
	said, code := p.Escrow(p.Context(), "key", "new", secret, "--json")
	if code != 0 {
		p.Fatal(said)
	}
	return secret, write(p.T, name+".pub", said, 0o644)
}

// kidOf is the id of the key in a file.
func kidOf(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var key struct {
		ID string `json:"kid"`
	}
	if err := json.Unmarshal(raw, &key); err != nil {
		t.Fatal(err)
	}
	return key.ID
}

// An address that lists all redirect URIs gives a platform its sector, the address's host,
// for ever. What is wrong with it, or with its list, is named, and nothing is registered.
func TestPlatformSectorURI(t *testing.T) {
	p := platforms{t, startForTest(t)}
	const redirect = "https://forum.example/callback"
	lists := map[string]string{"/good": `["https://other.example/cb","` + redirect + `"]`, "/others": `["https://other.example/cb"]`, "/page": "<html>", "/object": `{"redirect_uris":[]}`}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := lists[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, text)
	}))
	defer srv.Close()
	add := []string{"my-forum", "--name", "My Forum", "--redirect-uri", redirect, "--secret-sha256", strings.Repeat("ab", 32)}
	for path, says := range map[string]string{"/others": "its list lacks " + redirect, "/page": "no JSON list", "/object": "no JSON list", "/none": "it answers 404"} {
		p.refused(1, "platform.sector_uri", "add", append(add, "--sector-uri", srv.URL+path)...)
		p.refused(1, says, "add", append(add, "--sector-uri", srv.URL+path)...)
	}
	for _, address := range []string{"http://forum.example/sector.json", "nonsense", "https://forum.example/*"} {
		p.refused(1, "it is no https address", "add", append(add, "--sector-uri", address)...)
	}
	p.refused(2, "--sector and --sector-uri: say one", "add", append(add, "--sector", "forum.example", "--sector-uri", srv.URL+"/good")...)
	p.refused(1, "platform.unknown", "show", "my-forum")
	p.done("add", append(add, "--sector-uri", srv.URL+"/good")...)
	host, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.show("my-forum"); got.Sector != host.Hostname() || got.Secrets != 1 {
		t.Errorf("%+v", got)
	}
	p.refused(2, "unknown flag: --sector-uri", "edit", "my-forum", "--sector-uri", srv.URL+"/good")
	p.refused(1, "platform.sector_taken", "add", "thief", "--name", "Thief", "--redirect-uri", redirect, "--sector-uri", srv.URL+"/good")
}

// What an edit does not say stays, what it empties is gone, and a report stays for ever.
func TestPlatformEdit(t *testing.T) {
	p := platforms{t, startForTest(t)}
	_, first := p.key("first")
	_, second := p.key("second")
	p.done("add", "my-forum", "--name", "My Forum", "--redirect-uri", "https://forum.example/a", "--redirect-uri", "https://forum.example/b", "--origin", "https://cdn.forum.example", "--key", first)
	p.done("edit", "my-forum", "--name", "Our Forum")
	if got := p.show("my-forum"); got.Name != "Our Forum" || len(got.RedirectURIs) != 2 || !slices.Equal(got.Origins, []string{"https://cdn.forum.example", "https://forum.example"}) || got.Secrets != 1 || got.Number != 2 {
		t.Errorf("%+v", got)
	}
	p.done("edit", "my-forum", "--redirect-uri", "https://forum.example/c", "--origin", "")
	if got := p.show("my-forum"); got.Name != "Our Forum" || !slices.Equal(got.RedirectURIs, []string{"https://forum.example/c"}) || !slices.Equal(got.Origins, []string{"https://forum.example"}) {
		t.Errorf("%+v", got)
	}
	stolen, next := kidOf(t, first), kidOf(t, second)
	p.refused(1, "no record of my-forum has a key of this kid", "edit", "my-forum", "--stolen", next)
	p.done("edit", "my-forum", "--stolen", stolen, "--key", second)
	p.done("edit", "my-forum", "--stolen", stolen, "--stolen", next)
	if got := p.show("my-forum"); !slices.Equal(got.Stolen, []string{stolen, next}) {
		t.Errorf("%+v", got)
	}
	before := p.show("my-forum").Number
	p.refused(1, "platform.bad_settings", "edit", "my-forum", "--redirect-uri", "")
	p.refused(1, "platform.bad_settings", "edit", "my-forum", "--jwks-uri", "https://forum.example/jwks")
	p.refused(1, "the name is one line of text", "edit", "my-forum", "--name", "")
	p.refused(1, "platform.unknown", "edit", "nobody", "--name", "Nobody")
	p.refused(1, "file.unreadable", "edit", "my-forum", "--key", p.Path("none"))
	p.refused(1, "a kind stays for ever", "edit", "my-forum", "--kind", "spa")
	p.refused(2, "the usage is escrowd platform edit ID", "edit")
	if got := p.show("my-forum").Number; got != before {
		t.Errorf("a refused edit made record %d of %d", got, before)
	}
}

// Whoever countersigns reads on the standard error what, and has it on the standard output;
// the operator's command takes it for that record alone.
func TestPlatformCountersign(t *testing.T) {
	p := platforms{t, startForTest(t)}
	secret, public := p.key("first")
	_, second := p.key("second")
	_, third := p.key("third")
	p.done("add", "my-forum", "--name", "My Forum", "--redirect-uri", "https://forum.example/a", "--key", public)
	record := filepath.Join(t.TempDir(), "record.jws")
	p.done("edit", "my-forum", "--key", second, "--record-out", record)
	countersign := func(args ...string) (string, int) {
		return p.Escrow(t.Context(), slices.Concat([]string{"platform", "countersign"}, args)...)
	}
	bundle := p.Path("bundle.json")
	strange := write(t, "strange.jws", "no.record.here", 0o600)
	for _, c := range []struct {
		says string
		code int
		args []string
	}{
		{"the usage is escrow platform countersign RECORD", 2, nil},
		{"--key is needed", 2, []string{record, "--bundle", bundle}},
		{"--bundle is needed", 2, []string{record, "--key", secret}},
		{"file.unreadable", 1, []string{record + "x", "--key", secret, "--bundle", bundle}},
		{"file.unreadable", 1, []string{record, "--key", secret + "x", "--bundle", bundle}},
		{"file.not_a_key", 1, []string{record, "--key", public, "--bundle", bundle}},
		{"platform.malformed", 1, []string{strange, "--key", secret, "--bundle", bundle}},
		{"bundle.", 1, []string{record, "--key", secret, "--bundle", record}},
	} {
		if said, code := countersign(c.args...); code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%v: exit code %d, %s", c.args, code, said)
		}
	}
	said, code := countersign(record, "--key", secret, "--bundle", bundle, "--json", "--server", p.Origin)
	var made struct{ Countersignature, Record string }
	if err := json.Unmarshal([]byte(said), &made); err != nil || code != 0 {
		t.Fatal(err, said)
	}
	signed, err := policy.ParsePlatform(strings.TrimSpace(read(t, record)))
	if err != nil || made.Record != signed.Digest() {
		t.Errorf("%v: it names record %s", err, made.Record)
	}
	plain, code := countersign(record, "--key", secret, "--bundle", bundle)
	if code != 0 || plain != made.Countersignature {
		t.Errorf("exit code %d, %s", code, plain)
	}
	mine := write(t, "mine.jws", plain, 0o600)
	p.refused(1, "platform.bad_countersignature", "edit", "my-forum", "--key", third, "--countersigned", mine)
	p.refused(1, "platform.bad_countersignature", "edit", "my-forum", "--key", second, "--name", "Their Forum", "--countersigned", mine)
	p.done("edit", "my-forum", "--key", second, "--countersigned", mine)
	if said, code := countersign(record, "--key", secret, "--bundle", bundle, "--server", p.Origin); code != 1 || !strings.Contains(said, "platform.not_next") {
		t.Errorf("a record that is registered already: %d %s", code, said)
	}
}
