package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/proof"
)

// childEnv makes the test binary the issuing side of the service and nothing
// else: a process of its own, of which a memory image can be taken.
const childEnv = "PENNAME_TEST_ISSUING_PROCESS"

// tidy runs the tests with a folder for what custodians look at, and removes it.
func tidy(m *testing.M) int {
	dir, err := os.MkdirTemp("", "t")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// PostgreSQL, which runs as another user than root, has its files below it.
	if err := errors.Join(os.Chmod(dir, 0o711), os.Setenv("TMPDIR", dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func TestMain(m *testing.M) {
	child := issuingProcess
	switch {
	case os.Getenv(sandboxEnv) != "":
		main()
	case os.Getenv(shortLivedEnv) != "":
		child = shortLivedProcess
	case os.Getenv(childEnv) == "":
		os.Exit(tidy(m))
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childConfig is what the child reads from its standard input. No identity is
// in it, and the test people of the binary's constants are not those who enrol.
type childConfig struct {
	Origin, Identity, Secret string
	Log                      string // address of the public log
	Database                 string
	VaultAddress, VaultRole  string
	VaultSecretFile          string
	Bundle                   []byte
	TokenKey                 jose.JSONWebKey
}

func issuingProcess() error {
	// The signal asks for nothing but an end: no cleaning up before an image.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var c childConfig
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		return err
	}
	ln, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	i := &service.Issuing{TokenKeys: []openid.Key{{JWK: c.TokenKey}}}
	i.CookieKeys = [][32]byte{{}}
	rand.Read(i.CookieKeys[0][:])
	w := service.Parts{Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)), Now: time.Now, Origin: c.Origin, Issuing: i}
	if w.Bundle, err = policy.ParseBundle(c.Bundle); err != nil {
		return err
	}
	if w.PublicLog.Tiles, err = proof.Fetch(c.Log, nil); err != nil {
		return err
	}
	if i.Keys, err = vault.OpenIssuing(ctx, vault.Config{Address: c.VaultAddress, RoleID: c.VaultRole, SecretIDFile: c.VaultSecretFile}); err != nil {
		return err
	}
	if err := i.OpenStore(ctx, c.Database, postgres.Options{}); err != nil {
		return err
	}
	party, err := identity.NewRelyingParty(ctx, identity.Provider{
		Issuer: c.Identity, ClientID: "penname", ClientSecret: c.Secret, RedirectURL: c.Origin + person.CallbackPath("sandbox"),
		Scopes: []string{"profile", "address", "email"}, ACRValues: []string{sandbox.ACRVerified}, SingleUse: i.Store, AllowLoopback: true,
	}, time.Now)
	if err != nil {
		return err
	}
	i.Providers = []person.Provider{{ID: "sandbox", ACRs: []string{sandbox.ACRVerified}, Proving: party}}
	s, err := service.New(ctx, w)
	if err != nil {
		return err
	}
	usr := make(chan os.Signal, 1)
	signal.Notify(usr, syscall.SIGUSR1)
	go func() {
		for range usr {
			s.DropFreedMemory(ctx) //nolint:errcheck // it cannot fail
			fmt.Println("dropped")
		}
	}()
	fmt.Println("ready")
	return s.Run(ctx, ln, service.Machine{})
}

// issuer is a running child and the identity provider of its people.
type issuer struct {
	origin string
	people []sandbox.Person
	cmd    *exec.Cmd
	out    *bufio.Reader
}

// startIssuer runs the issuing side of tb's world in a process of its own.
func startIssuer(t *testing.T, tb *world.World) *issuer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{origin: "http://" + ln.Addr().String()}
	for range 3 {
		i.people = append(i.people, randomPerson())
	}
	side := sideConfig(t, tb, vault.SideIssuing)
	c := childConfig{Origin: i.origin, Log: tb.Origin + registrar.PathLog, Secret: rand.Text(), VaultAddress: side.Address, VaultRole: side.RoleID, VaultSecretFile: side.SecretIDFile}
	provider := httptest.NewUnstartedServer(nil)
	c.Identity = "http://" + provider.Listener.Addr().String()
	provider.Config.Handler = sandbox.NewProvider(c.Identity, sandbox.Client{ID: "penname", Secret: c.Secret, RedirectURI: i.origin + person.CallbackPath("sandbox")}, i.people, time.Now).Handler()
	provider.Start()
	t.Cleanup(provider.Close)
	if c.Database, err = postgres.Login(t.Context(), tb.Postgres.DSN, "penname_issuing"); err != nil {
		t.Fatal(err)
	}
	if c.Bundle, err = os.ReadFile(tb.Path("bundle.json")); err != nil {
		t.Fatal(err)
	}
	if c.TokenKey, err = document.NewKey(); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	i.cmd = exec.Command(os.Args[0])
	i.cmd.Env = append(os.Environ(), childEnv+"=1", "GODEBUG=clobberfree=1")
	i.cmd.ExtraFiles, i.cmd.Stdin, i.cmd.Stderr = []*os.File{file}, bytes.NewReader(config), os.Stderr
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		i.cmd.Process.Kill() //nolint:errcheck // it may have ended
		i.cmd.Wait()         //nolint:errcheck // killed
	})
	file.Close()
	ln.Close()
	i.out = bufio.NewReader(out)
	if line, err := i.out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the issuing process said %q: %v", line, err)
	}
	return i
}

// sideConfig is how a further process logs in to tb's Vault.
func sideConfig(t *testing.T, tb *world.World, side vault.Side) vault.Config {
	t.Helper()
	id, err := vault.NewCredentials(t.Context(), vault.Admin{Address: tb.Vault.Address, Token: tb.Vault.RootToken}, side, 0)
	if err != nil {
		t.Fatal(err)
	}
	return vault.Config{Address: tb.Vault.Address, RoleID: id.RoleID, SecretIDFile: write(t, string(side)+".secret-id", id.Secret, 0o600)}
}

// randomPerson is nobody that a constant of this binary names.
func randomPerson() sandbox.Person {
	return sandbox.Person{
		Subject: "sub-" + rand.Text(), Role: "somebody", Name: rand.Text()[:13] + " " + rand.Text()[:13], Birthdate: "1970-01-01",
		Address: "7 " + rand.Text() + "\nNowhere", Email: rand.Text() + "@mail.example", ACR: sandbox.ACRVerified,
	}
}

// secretsOf are the values of a person that a memory image is searched for.
// The birthdate is left out: ten characters that could be there by chance.
func secretsOf(p sandbox.Person) []string {
	street, _, _ := strings.Cut(p.Address, "\n")
	return []string{p.Name, p.Subject, p.Email, street}
}

// enrol has everybody prove their identity at the child, in a browser.
func (i *issuer) enrol(t *testing.T) {
	t.Helper()
	for _, who := range i.people {
		b := world.NewBrowser()
		if err := b.Open(t.Context(), i.origin); err != nil {
			t.Fatal(err)
		}
		for _, button := range []string{"Prove my identity", who.Name} {
			if err := b.Press(t.Context(), button, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Shows(200, "Welcome"); err != nil {
			t.Fatal(err)
		}
	}
}

// dropFreedMemory has the child do what it does every minute.
func (i *issuer) dropFreedMemory(t *testing.T) {
	t.Helper()
	if err := i.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if line, err := i.out.ReadString('\n'); err != nil || line != "dropped\n" {
		t.Fatalf("the issuing process said %q: %v", line, err)
	}
}

// image is the content of a process's memory.
type image [][]byte

// memory stops the child and reads everything of it that can be read.
func (i *issuer) memory(t *testing.T) image {
	t.Helper()
	pid := i.cmd.Process.Pid
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT) //nolint:errcheck // it may have ended
	maps, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "maps"))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "mem"))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	var all image
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(mode, "r") || strings.Contains(line, "[v") { // the kernel's own pages
			continue
		}
		region := make([]byte, to-from)
		if n, err := mem.ReadAt(region, int64(from)); n > 0 || err == nil {
			all = append(all, region[:n])
		}
	}
	if len(all) == 0 {
		t.Fatal("nothing of the process's memory could be read")
	}
	return all
}

// count returns how often one of the needles is in the image.
func (m image) count(needles [][]byte) (n int) {
	for _, region := range m {
		for _, needle := range needles {
			n += bytes.Count(region, needle)
		}
	}
	return n
}

// around returns what stands around each find, for a human.
func (m image) around(needle []byte) (all []string) {
	for _, region := range m {
		for rest, at := region, 0; ; {
			j := bytes.Index(rest[at:], needle)
			if j < 0 {
				break
			}
			from, to := max(0, at+j-120), min(len(rest), at+j+len(needle)+80)
			all = append(all, fmt.Sprintf("%q", rest[from:to]))
			at += j + len(needle)
		}
	}
	return all
}

// keyForms are the forms in which 32 bytes of a key could lie in memory.
func keyForms(key []byte) [][]byte {
	return append(encodings([]string{string(key)}), key, []byte(hex.EncodeToString(key)))
}
