package clients

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	escrow "github.com/penname/penname/cmd/escrow/command"
	escrowd "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/integration"
	"github.com/penname/penname/verifier/token"
)

var (
	all    = flag.Bool("all", false, "try every client, not only the light ones")
	update = flag.Bool("update", false, "write the results into README, with the date")
	table  = flag.String("table", "", "file to write the results to")
)

// TestClients signs a person in with each client. README has the results.
func TestClients(t *testing.T) {
	tried := slices.DeleteFunc(slices.Clone(matrix), func(c client) bool { return !c.light && !*all })
	tools := install(t, tried)
	reserved := make([]*app, len(tried))
	var registered []world.Client
	for i, c := range tried {
		reserved[i] = reserve(t, c, tools, fmt.Sprintf("client-%d", i+1))
		registered = append(registered, reserved[i].registration())
	}
	w := startWorld(t, registered)
	var rows []row
	names := map[token.Pseudonym]string{} // to whom one person is known by it
	for i, c := range tried {
		a := reserved[i]
		a.issuer, a.secret = w.Origin, w.Clients()[i].Secret
		r := row{client: c, installed: c.version.of(t, tools)}
		t.Run(c.name, func(t *testing.T) {
			name, said, err := a.signIn(t)
			r.works = err == nil
			switch {
			case c.fails == "" && err != nil:
				t.Errorf("%v\n%s", err, said)
			case c.fails != "" && err == nil:
				t.Error("it signs in by default now: say so in the matrix")
			case c.fails != "" && !strings.Contains(err.Error()+said.String(), c.fails):
				t.Errorf("another reason than %q: %v\n%s", c.fails, err, said)
			case c.set != "":
				if name, said, err = a.signIn(t, c.set+"=1"); err != nil {
					t.Errorf("with %s: %v\n%s", c.setting, err, said)
				}
			}
			if other, known := names[name]; known && name != "" {
				t.Errorf("%s knows the person by the same pen name", other)
			}
			names[name] = c.name
			a.examine(t)
		})
		rows = append(rows, r)
	}
	report(t, rows)
}

// startWorld is the service with everything around it, and with these platforms.
func startWorld(t *testing.T, clients []world.Client) *world.World {
	t.Helper()
	programs := world.Programs{
		Escrow: func(ctx context.Context, args []string, now func() time.Time, out, errs io.Writer) int {
			env := escrow.System()
			env.Stdin, env.Stdout, env.Stderr, env.Now = strings.NewReader(""), out, errs, now
			return escrow.Run(ctx, args, env)
		},
		Escrowd: escrowd.Run,
	}
	w, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: io.Discard, Progress: io.Discard, Clients: clients, PerSender: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	// Who signs in is enrolled: whoever is not sees once what was sealed, and then goes on.
	if err := world.NewBrowser().Enrol(t.Context(), w.Origin, sandbox.People()[0].Name); err != nil {
		t.Fatal(err)
	}
	return w
}

// app is a client's app: one process while a person signs in.
type app struct {
	client
	tools              tools
	id, issuer, secret string
	port, origin       string
	held               net.Listener // keeps the port until the app starts
	key                jose.JSONWebKey
	steps              []string // in a Chromium, if they are others than a sign-in's
}

func reserve(t *testing.T, c client, tools tools, id string) *app {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a := &app{client: c, tools: tools, id: id, port: port, origin: "http://localhost:" + port, held: ln}
	if a.callback == "" {
		a.callback = "/callback"
	}
	if a.start == "" {
		a.start = "/login"
	}
	if c.keys {
		a.key, err = document.NewKey() // Ed25519, whose algorithm has two names: RFC 9864
		if err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// registration is what a platform has to give: no client here needs more.
func (a *app) registration() world.Client {
	c := world.Client{ID: a.id, Name: "The app " + a.id, RedirectURIs: []string{a.origin + a.callback}, Native: a.public, Username: a.username, Email: a.email}
	if a.keys {
		c.Keys = []jose.JSONWebKey{a.key.Public()}
	}
	return c
}

// run starts the app and returns what it prints, once it takes connections.
func (a *app) run(t *testing.T, set []string) *output {
	t.Helper()
	key, err := json.Marshal(a.key)
	if err != nil && a.keys {
		t.Fatal(err)
	}
	a.held.Close() // the second time it is closed already
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, a.command[0], a.command[1:]...)
	cmd.Dir = a.tools.dir
	cmd.Env = append(a.tools.environ(), "ISSUER="+a.issuer, "CLIENT_ID="+a.id, "CLIENT_SECRET="+a.secret, "CLIENT_KEY="+string(key),
		"PORT="+a.port, "ORIGIN="+a.origin, "REDIRECT_URI="+a.origin+a.callback, "SECRET="+strings.Repeat(rand.Text(), 3), "DIR="+openDir(t))
	cmd.Env = append(cmd.Env, set...)
	said := &output{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() //nolint:errcheck // it is told to end
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	a.await(t, said, ended)
	return said
}

// await returns once the app takes connections.
func (a *app) await(t *testing.T, said *output, ended <-chan struct{}) {
	t.Helper()
	for again := time.NewTicker(20 * time.Millisecond); ; {
		conn, err := net.Dial("tcp", "127.0.0.1:"+a.port)
		if err == nil {
			itself := conn.LocalAddr().String() == conn.RemoteAddr().String() // TCP can reach itself where nobody listens
			conn.Close()
			if !itself {
				return
			}
		}
		select {
		case <-again.C:
		case <-ended:
			t.Fatalf("it ended at start: %s", said)
		}
	}
}

// openDir is an app's own folder: one that another user, as Apache's workers are, may read.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "penname-client-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		t.Fatal(err)
	}
	return dir
}

// output is what an app prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// examine has the client examined from outside, as its own documentation sets it up. What
// signs people in has nothing wrong, and what does not is told why.
func (a *app) examine(t *testing.T) {
	t.Helper()
	var report *integration.Report
	t.Run("examined", func(t *testing.T) { // the process ends with it
		said := a.run(t, nil)
		var err error
		if report, err = integration.Examine(t.Context(), integration.Subject{Start: a.origin + a.start, Button: a.button, Now: time.Now}); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	})
	if report == nil {
		return
	}
	var wrong []string
	for _, f := range report.Findings {
		if f.Grade == integration.Wrong {
			wrong = append(wrong, f.Check)
		}
	}
	if want := a.wrong; !slices.Equal(wrong, want) {
		t.Errorf("wrong: %q, want %q:\n%s", wrong, want, report)
	}
}

var penName = regexp.MustCompile(`pen1[a-z0-9]+`)

// signIn signs a person in with a new process and a new browser. It returns the pen name that
// the app shows, and what it printed. The error is of a page that shows none.
func (a *app) signIn(t *testing.T, set ...string) (name token.Pseudonym, said *output, err error) {
	var page string
	t.Run("sign-in", func(t *testing.T) { // the process ends with it
		said = a.run(t, set)
		if a.browser {
			page, err = a.inChromium(t)
		} else {
			page, err = a.inBrowser(t)
		}
	})
	if said == nil {
		return "", &output{}, errors.New("the app did not start")
	}
	if err != nil {
		return "", said, err
	}
	name, err = shown(page)
	return name, said, err
}

// shown is the pen name that an app's page shows.
func shown(page string) (token.Pseudonym, error) {
	name, err := token.ParsePseudonym(penName.FindString(page))
	if err != nil {
		err = fmt.Errorf("the app shows no pen name: %.900s", page)
	}
	return name, err
}

// inBrowser presses the buttons on the way, and returns the app's page.
func (a *app) inBrowser(t *testing.T) (string, error) {
	b := world.NewBrowser()
	if err := b.Open(t.Context(), a.origin+a.start); err != nil {
		return "", err
	}
	// The last one is of an answer that is posted (form_post), without scripts.
	buttons := append(a.buttons(), "Continue")
	if a.button != "" {
		buttons = append([]string{a.button}, buttons...)
	}
	for _, label := range buttons {
		if !b.Offers(label) {
			continue
		}
		if err := b.Press(t.Context(), label, nil); err != nil {
			return "", err
		}
	}
	if b.Page.Status != http.StatusOK || b.Page.URL.Host != "localhost:"+a.port {
		return "", fmt.Errorf("%s answered %d: %.900s", b.Page.URL, b.Page.Status, b.Page.Text())
	}
	return b.Page.Text(), nil
}

// buttons are those of Penname and of the identity provider.
func (a *app) buttons() []string {
	return []string{"Prove my identity", sandbox.People()[0].Name, "Sign in to The app " + a.id}
}

func (a *app) inChromium(t *testing.T) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	steps := a.steps
	if steps == nil {
		steps = append([]string{a.origin + a.start}, a.buttons()...)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(a.tools.dir, "bin", "chromium"), steps...)
	cmd.Env = append(os.Environ(), "CHROMIUM="+a.tools.chromium)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return string(out), nil
}
