package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// VaultVersion is the version that deploy/vault pins.
const VaultVersion = "1.21.1"

// ErrVault is returned when no Vault could be had or started here.
var ErrVault = refusal.New(refusal.Unavailable, "sandbox.vault",
	"No Vault could be started: put the vault binary of version "+VaultVersion+" on PATH, or run in a checkout whose deploy/vault builds.")

// VaultBinary returns the path of a Vault server of VaultVersion: that of PATH,
// else the one in the user's cache, else one built into the cache from
// deploy/vault, which takes minutes and is reported line by line on progress.
func VaultBinary(ctx context.Context, progress io.Writer) (string, error) {
	if path, err := exec.LookPath("vault"); err == nil {
		out, err := exec.CommandContext(ctx, path, "version").Output()
		if rest, ok := bytes.CutPrefix(out, []byte("Vault v"+VaultVersion)); err == nil && ok && bytes.ContainsAny(rest[:min(1, len(rest))], " ,\n") {
			return path, nil
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", ErrVault.Because(err)
	}
	binary := filepath.Join(cache, "penname", "vault-"+VaultVersion, "vault")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := buildVault(ctx, binary, progress); err != nil {
		return "", ErrVault.Because(err)
	}
	return binary, nil
}

// buildVault builds under a lock, so that tests of several packages which
// start together build once.
func buildVault(ctx context.Context, binary string, progress io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(binary+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(binary); err == nil {
		return nil
	}
	source, err := vaultSource()
	if err != nil {
		return err
	}
	if progress == nil {
		progress = io.Discard
	}
	fmt.Fprintf(progress, "vault %s is not on this machine: building it once, which takes minutes\n", VaultVersion)
	began, built := time.Now(), make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() {
		every := time.NewTicker(15 * time.Second)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				fmt.Fprintf(progress, "still building vault %s (%s)\n", VaultVersion, time.Since(began).Round(time.Second))
			case <-built:
				return
			}
		}
	})
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "minimal", "-o", binary+".new", "github.com/hashicorp/vault")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	close(built)
	reporting.Wait()
	if err != nil {
		return fmt.Errorf("go build: %w: %s", err, lastLine(out))
	}
	fmt.Fprintf(progress, "built vault %s in %s\n", VaultVersion, time.Since(began).Round(time.Second))
	return os.Rename(binary+".new", binary)
}

// vaultSource finds deploy/vault above the working directory, or beside this
// source file.
func vaultSource() (string, error) {
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if _, file, _, ok := runtime.Caller(0); ok {
		starts = append(starts, filepath.Dir(file))
	}
	for _, dir := range starts {
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			source := filepath.Join(dir, "deploy", "vault")
			if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
				return source, nil
			}
		}
	}
	return "", errors.New("no deploy/vault/go.mod above the working directory")
}

// VaultServer is a Vault server for the sandbox and the tests: the real
// program, with Raft storage and a file audit device, on a loopback address
// without TLS, with one unseal key that lies beside the data.
type VaultServer struct {
	Address   string // http://127.0.0.1:port
	RootToken string // for bootstrap and for tests; no service gets it
	Storage   string // directory of the Raft storage
	Audit     string // file of the audit device
	Log       string // file of the server's log

	unsealKey string
	client    *http.Client // http.DefaultClient, or one that knows the authority of its certificate
	joins     bool         // one that is initialised, where to be a standby is as good
	stop      func() error
	hangUp    func()
}

// OpenVaultNode initialises, if keyFile is not there yet, and opens one of several servers
// on one Raft, which somebody else started at an https address. keyFile has the unseal key
// and the root token of all of them. audit is where each writes its audit record: a name
// below the directory that it runs in, since its path is the same for all. It repeats for as long as ctx
// lives: a server knows what it is one of a moment after it listens.
func OpenVaultNode(ctx context.Context, address, keyFile, audit string, client *http.Client) (*VaultServer, error) {
	_, missing := os.Stat(keyFile)
	v := &VaultServer{Address: address, Audit: audit, client: client, joins: missing == nil, stop: func() error { return nil }, hangUp: func() {}}
	for {
		err := v.open(ctx, keyFile)
		if err == nil {
			return v, nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return nil, ErrVault.Because(err)
		}
	}
}

// VaultAt is a server that is open already, and that nobody stops by it.
func VaultAt(address, token string, client *http.Client) *VaultServer {
	return &VaultServer{Address: address, RootToken: token, client: client, joins: true, stop: func() error { return nil }, hangUp: func() {}}
}

// Stabilise says for how long a server has to be well before it votes on who is active.
func (v *VaultServer) Stabilise(ctx context.Context, after time.Duration) error {
	_, err := v.put(ctx, "sys/storage/raft/autopilot/configuration", fmt.Sprintf(`{"server_stabilization_time":"%s"}`, after))
	return err
}

// Voters returns how many servers vote on who is active.
func (v *VaultServer) Voters(ctx context.Context) (n int, err error) {
	var said struct {
		Data struct {
			Config struct {
				Servers []struct{ Voter bool }
			}
		}
	}
	resp, err := v.send(ctx, http.MethodGet, "sys/storage/raft/configuration", "")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&said); err != nil {
		return 0, err
	}
	for _, s := range said.Data.Config.Servers {
		if s.Voter {
			n++
		}
	}
	return n, nil
}

// Stop ends the server, and removes its directory if StartVault made it.
func (v *VaultServer) Stop() error { return v.stop() }

// StartVault runs a Vault server, initialised, unsealed and with its audit
// device on. The data stays in dir, and a later start with the same dir finds
// it again; with dir "" it goes to a temporary directory and is removed at the
// end, also when this process is killed. ctx bounds the start, not the
// server's life.
func StartVault(ctx context.Context, dir string, progress io.Writer) (*VaultServer, error) {
	binary, err := VaultBinary(ctx, progress)
	if err != nil {
		return nil, err
	}
	var temporary *Dir
	if dir == "" {
		if temporary, err = TemporaryDir("penname-vault-"); err != nil {
			return nil, ErrVault.Because(err)
		}
		dir = temporary.Path
	}
	v, err := startVault(ctx, binary, dir, temporary)
	if err != nil {
		if temporary != nil {
			temporary.Close()
		}
		return nil, ErrVault.Because(err)
	}
	return v, nil
}

func startVault(ctx context.Context, binary, dir string, temporary *Dir) (*VaultServer, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	v := &VaultServer{client: http.DefaultClient, Storage: filepath.Join(dir, "raft"), Audit: filepath.Join(dir, "audit.log"), Log: filepath.Join(dir, "vault.log")}
	if err := os.MkdirAll(v.Storage, 0o700); err != nil {
		return nil, err
	}
	var server *Process
	for range 5 { // another process can take the free port before vault does
		if server, err = v.run(ctx, binary, dir); err == nil || !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	var reaper io.Closer
	if temporary != nil {
		if reaper, err = Reap(dir, true); err != nil {
			server.Kill()
			return nil, err
		}
	}
	v.hangUp = func() { server.Signal(syscall.SIGHUP) }
	v.stop = sync.OnceValue(func() error {
		server.Signal(syscall.SIGTERM)
		if !server.Ended(10 * time.Second) {
			server.Kill()
		}
		if reaper == nil {
			return nil
		}
		reaper.Close()
		return temporary.Close()
	})
	if err := v.open(ctx, filepath.Join(dir, "sandbox-keys.json")); err != nil {
		v.Stop() //nolint:errcheck // the first error says more
		return nil, err
	}
	return v, nil
}

// run starts the server and returns when it listens.
func (v *VaultServer) run(ctx context.Context, binary, dir string) (*Process, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	cluster, err := FreePort()
	if err != nil {
		return nil, err
	}
	v.Address = fmt.Sprintf("http://127.0.0.1:%d", port)
	config, err := json.Marshal(map[string]any{
		"storage":  map[string]any{"raft": map[string]any{"path": v.Storage, "node_id": "sandbox", "performance_multiplier": "1"}},
		"listener": map[string]any{"tcp": map[string]any{"address": fmt.Sprintf("127.0.0.1:%d", port), "cluster_address": fmt.Sprintf("127.0.0.1:%d", cluster), "tls_disable": true}},
		"api_addr": v.Address, "cluster_addr": fmt.Sprintf("https://127.0.0.1:%d", cluster), "disable_mlock": true, "log_level": "warn",
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "vault.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "server", "-config", file)
	cmd.Dir, cmd.Env = v.Storage, []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	server, err := StartProcess(cmd, v.Log, "Vault server started!")
	if err != nil {
		return nil, err
	}
	if err := server.await(ctx); err != nil {
		if bytes.Contains(server.Tail(), []byte("address already in use")) {
			return nil, errPortTaken
		}
		return nil, err
	}
	return server, nil
}

// open initialises the server if it is new, unseals it and turns the audit
// device on.
func (v *VaultServer) open(ctx context.Context, keyFile string) error {
	var keys struct {
		Keys  []string `json:"keys_base64"`
		Token string   `json:"root_token"`
	}
	text, err := os.ReadFile(keyFile)
	if errors.Is(err, os.ErrNotExist) {
		if text, err = v.put(ctx, "sys/init", `{"secret_shares":1,"secret_threshold":1}`); err == nil {
			err = os.WriteFile(keyFile, text, 0o600)
		}
	}
	if err == nil {
		err = json.Unmarshal(text, &keys)
	}
	if err == nil && len(keys.Keys) != 1 {
		err = errors.New("no unseal key")
	}
	if err != nil {
		return err
	}
	v.RootToken, v.unsealKey = keys.Token, keys.Keys[0]
	if err := v.Unseal(ctx); err != nil {
		return err
	}
	audit, err := json.Marshal(map[string]any{"type": "file", "options": map[string]string{"file_path": v.Audit, "mode": "0600"}})
	if err != nil {
		return err
	}
	if _, err := os.Stat(v.Audit); err == nil || v.joins {
		return nil // of an earlier start, or of the first one
	}
	_, err = v.put(ctx, "sys/audit/file", string(audit))
	return err
}

// ReopenAudit has the server write its audit record into a new file, once the one of
// before was given another name, as logrotate does. It returns when the file is there.
func (v *VaultServer) ReopenAudit(ctx context.Context) error {
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for v.hangUp(); ; {
		if _, err := os.Stat(v.Audit); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unseal opens the server after its start or after a test has sealed it, and
// returns when it is active.
func (v *VaultServer) Unseal(ctx context.Context) error {
	if _, err := v.put(ctx, "sys/unseal", `{"key":"`+v.unsealKey+`"}`); err != nil {
		return err
	}
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		// 200 is active; 429 standby, which a single node is for a moment.
		resp, err := v.send(ctx, http.MethodGet, "sys/health", "")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK || v.joins && resp.StatusCode == http.StatusTooManyRequests {
			return nil
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Restore puts a snapshot of another server, or of an earlier state of this one, in
// place of all that this one has, and opens it with the unseal key and the root token
// of the one that it was taken of.
func (v *VaultServer) Restore(ctx context.Context, snapshot []byte, of *VaultServer) error {
	if _, err := v.put(ctx, "sys/storage/raft/snapshot-force", string(snapshot)); err != nil {
		return err
	}
	v.unsealKey, v.RootToken = of.unsealKey, of.RootToken
	return v.Unseal(ctx)
}

func (v *VaultServer) put(ctx context.Context, path, body string) ([]byte, error) {
	resp, err := v.send(ctx, http.MethodPut, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("vault answered %d to %s", resp.StatusCode, path)
	}
	return text, err
}

func (v *VaultServer) send(ctx context.Context, method, path, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, v.Address+"/v1/"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", v.RootToken)
	return v.client.Do(req)
}
