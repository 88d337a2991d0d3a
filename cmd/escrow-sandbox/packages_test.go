package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penname/penname/escrow/postgres"
)

// debian is a machine with Debian 12 under its own systemd, in a container: systemd-nspawn
// boots what debootstrap installed, over which everything is written into a folder that goes.
// It has the network of this machine.
type debian struct {
	t      *testing.T
	root   string
	leader int // its process 1, as this machine counts
}

func boot(t *testing.T) *debian {
	t.Helper()
	unavailable := func(why any) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	if os.Geteuid() != 0 {
		unavailable("only root boots a container")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	lower := filepath.Join(cache, "penname", "bookworm") // .ci/setup
	for _, err := range []error{second(exec.LookPath("systemd-nspawn")), second(exec.LookPath("dpkg-deb")), second(os.Stat(lower))} {
		if err != nil {
			unavailable(err)
		}
	}
	dir := t.TempDir()
	d := &debian{t: t, root: filepath.Join(dir, "root")}
	for _, name := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount("overlay", d.root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, dir, dir)); err != nil {
		unavailable(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.root, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d.alone(lower)
	var said bytes.Buffer
	cmd := exec.Command("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--machine=penname-packages", "--directory="+d.root,
		"--console=pipe", "--link-journal=no", "--resolv-conf=off", "--timezone=off")
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // that signal comes when this thread ends
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() //nolint:errcheck // it is killed
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.leader != 0 {
			syscall.Kill(d.leader, syscall.SIGKILL) //nolint:errcheck // all of its processes end with it
		} else {
			cmd.Process.Kill() //nolint:errcheck // likewise
		}
		<-ended
	})
	d.find(cmd.Process.Pid, &said)
	return d
}

// second is the error of a call of which nothing else is looked at.
func second[T any](_ T, err error) error { return err }

// alone waits for another container of this kind: systemd-nspawn has one place in this
// machine's tree of processes for those that are not registered. It leaves none behind.
func (d *debian) alone(file string) {
	d.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		for _, tree := range []string{"systemd", "unified"} {
			for _, name := range []string{"payload", "supervisor"} {
				exec.Command("find", filepath.Join("/sys/fs/cgroup", tree, name), "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run() //nolint:errcheck // as far as it is there
			}
		}
		f.Close()
	})
}

// find waits until the container's systemd has booted.
func (d *debian) find(nspawn int, said *bytes.Buffer) {
	d.t.Helper()
	for range 300 {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
		if err != nil {
			d.t.Fatal(err, said.String())
		}
		for child := range strings.FieldsSeq(string(children)) {
			if comm, _ := os.ReadFile("/proc/" + child + "/comm"); strings.TrimSpace(string(comm)) == "systemd" { //nolint:errcheck // it is gone
				d.leader, _ = strconv.Atoi(child) //nolint:errcheck // a number
			}
		}
		if d.leader != 0 {
			if out, _ := d.try("systemctl is-system-running --wait"); strings.Contains(out, "running") || strings.Contains(out, "degraded") { //nolint:errcheck // 1 is degraded
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	d.t.Fatal("it did not boot: ", said.String())
}

// try runs a script of sh on the machine.
func (d *debian) try(script string) (string, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(d.leader), "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wdns=/", "--", "/bin/sh", "-ec", script)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *debian) run(script string) string {
	d.t.Helper()
	out, err := d.try(script)
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// refused is a script that fails with all these words, and changes nothing: packages,
// programs, configuration, users and what runs are as they were.
func (d *debian) refused(script string, says ...string) {
	d.t.Helper()
	before := d.state()
	out, err := d.try(script)
	for _, word := range says {
		if err == nil || !strings.Contains(out, word) {
			d.t.Errorf("%s: %v, without %q: %s", script, err, word, out)
		}
	}
	if after := d.state(); after != before {
		d.t.Errorf("%s changed something:\n%s\n%s", script, before, after)
	}
}

func (d *debian) state() string {
	d.t.Helper()
	return d.run(`dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' 'penname-*'
		find /usr/bin/escrow /usr/bin/escrowd /etc/penname /var/lib/penname /lib/systemd/system/penname-* /etc/passwd -type f -exec sha256sum {} + | sort -k 2
		stat -c '%n %U %a' /etc/penname/* /var/lib/penname/*
		for unit in issuing disclosing keeping; do systemctl show -p MainPID,ActiveState penname-$unit@1; done`)
}

// put copies a file of this machine, for a user of that one alone.
func (d *debian) put(name string, content []byte, user string) {
	d.t.Helper()
	full := filepath.Join(d.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, content, 0o600)); err != nil {
		d.t.Fatal(err)
	}
	d.run("chown " + user + ": " + name)
}

// packed are packages of this tree.
func packed(t *testing.T) (service, tools string) {
	t.Helper()
	dir := t.TempDir()
	tool := filepath.Join(dir, "release")
	for _, cmd := range []*exec.Cmd{
		exec.CommandContext(t.Context(), "go", "build", "-C", "../../.ci/release", "-o", tool, "."),
		exec.CommandContext(t.Context(), tool, "-trial", "-arch", runtime.GOARCH, "-out", filepath.Join(dir, "dist"), "v1.4.0"),
	} {
		cmd.Dir = "../.."
		if strings.HasSuffix(cmd.Path, "/go") {
			cmd.Dir = ""
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", cmd, err, out)
		}
	}
	return filepath.Join(dir, "dist/penname-escrowd_1.4.0-1_"+runtime.GOARCH+".deb"), filepath.Join(dir, "dist/penname-tools_1.4.0-1_"+runtime.GOARCH+".deb")
}

// variant is the package of another version, for a database of another schema.
func variant(t *testing.T, deb, version string, schema int64) []byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "deb")
	must := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
	}
	must("dpkg-deb", "-R", deb, dir)
	must("sed", "-i", "s/^Version: .*/Version: "+version+"/", dir+"/DEBIAN/control")
	must("sed", "-i", fmt.Sprintf("s/^version=.*/version=%s/;s/^schema=[0-9]*/schema=%d/", version, schema), dir+"/DEBIAN/preinst", dir+"/DEBIAN/postinst")
	must("dpkg-deb", "-Znone", "-b", dir, dir+".deb")
	b, err := os.ReadFile(dir + ".deb")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// installed is a machine with the packages, and a world for their service.
type installed struct {
	*debian
	setup  *setup
	schema int64
	listen map[string]string // by side
}

var quotedPath = regexp.MustCompile(`"(/[^"]+)"`)

// configure gives a side its configuration, of which every secret is its own alone.
func (i *installed) configure(side, section string) {
	i.t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		i.t.Fatal(err)
	}
	i.listen[side] = free.Addr().String()
	free.Close()
	head, sections, _ := strings.Cut(i.setup.text, "\n[issue]\n")
	var kept []string
	for part := range strings.SplitSeq("issue]\n"+sections, "\n[") {
		part = "[" + part
		if name := strings.TrimLeft(strings.SplitN(part, "]", 2)[0], "["); strings.EqualFold(name, section) || strings.HasPrefix(name, section+".") {
			kept = append(kept, part)
		}
	}
	head = strings.Replace(head, i.setup.listen, i.listen[side], 1)
	head = strings.Replace(head, `metrics_listen = "127.0.0.1:0"`, fmt.Sprintf("public_log = \"https://penname.example:%s/log\"", port(i.listen["disclosing"])), 1)
	user := "penname-" + side
	text := quotedPath.ReplaceAllStringFunc(head+"\n"+strings.Join(kept, "\n"), func(quoted string) string {
		source := strings.Trim(quoted, `"`)
		name := filepath.Base(filepath.Dir(source)) + "-" + filepath.Base(source)
		if strings.Contains(name, "secret-id") {
			name = "/var/lib/penname/" + side + "/" + name
		} else {
			name = "/etc/penname/" + side + "/" + name
		}
		b, err := os.ReadFile(source)
		if err != nil {
			i.t.Fatal(err)
		}
		i.put(name, b, user)
		return strconv.Quote(name)
	})
	i.put("/etc/penname/"+side+"-1.toml", []byte(text), user)
}

func port(address string) string { return address[strings.LastIndex(address, ":")+1:] }

// ready asks a side, by its certificate, whether it serves.
func (i *installed) ready(side string) {
	i.t.Helper()
	roots := x509.NewCertPool()
	authorities, err := os.ReadFile(filepath.Join(i.setup.folder, "authorities.pem"))
	if err != nil || !roots.AppendCertsFromPEM(authorities) {
		i.t.Fatal(err)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "penname.example"}, DisableKeepAlives: true}}
	said := ""
	for range 100 {
		resp, err := client.Get("https://" + i.listen[side] + "/readyz")
		if err == nil {
			resp.Body.Close()
			if said = resp.Status; resp.StatusCode == http.StatusOK {
				return
			}
		} else {
			said = err.Error()
		}
		time.Sleep(100 * time.Millisecond)
	}
	i.t.Fatal(side, " is not ready: ", said, i.run("journalctl --no-pager -u penname-"+side+"@1 | tail -n 20"))
}

var sides = []string{"disclosing", "issuing", "keeping"}

// TestPackages installs the packages on a Debian, starts each side under its unit, as its
// user, confined by systemd, and does to them what operators do, rightly and wrongly.
func TestPackages(t *testing.T) {
	d := boot(t)
	service, tools := packed(t)
	i := &installed{debian: d, setup: newSetup(t), listen: map[string]string{}}
	var err error
	if i.schema, err = postgres.SchemaVersion(); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"service.deb": service, "tools.deb": tools} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d.put("/root/"+name, b, "root")
	}
	began := time.Now()
	d.run("dpkg -i /root/service.deb /root/tools.deb")
	took := time.Since(began)
	if running := d.run("systemctl list-units --no-legend 'penname-*'"); running != "" {
		t.Error("something was started: " + running)
	}
	d.run("echo '127.0.0.1 penname.example' >> /etc/hosts")
	for _, side := range sides {
		i.configure(side, map[string]string{"disclosing": "disclose", "issuing": "issue", "keeping": "keep"}[side])
	}
	second := time.Now()
	for _, side := range sides {
		if out, err := d.try("systemctl enable --now penname-" + side + "@1"); err != nil {
			t.Fatal(err, out, d.run("journalctl --no-pager -u penname-"+side+"@1 | tail -n 20"))
		}
		i.ready(side)
	}
	t.Logf("figure: from dpkg -i to serving, three sides one after another: %.1f s, of which dpkg %.1f s; the configuration was at hand", (took + time.Since(second)).Seconds(), took.Seconds())

	t.Run("confined", i.confined)
	t.Run("supervised", i.supervised)
	t.Run("snapshot", i.snapshot)
	t.Run("witness", i.witness)
	t.Run("content of the image", i.image)
	t.Run("half-written configuration", func(t *testing.T) { i.halfWritten(t, service) })
	t.Run("unknown schema", func(t *testing.T) { i.unknownSchema(t, service) })
	t.Run("removed user", func(t *testing.T) { i.removedUser(t, service) })
	t.Run("half unpacked", func(t *testing.T) { i.halfUnpacked(t, service) })
	t.Run("silent", func(t *testing.T) { i.silent(t, service) })
	t.Run("upgrade and downgrade", func(t *testing.T) { i.upgrade(t, service) })
	t.Run("removed and an older one", func(t *testing.T) { i.removed(t, service) })
	t.Run("removed and purged", i.purged)
}

// with is d for a part of a test.
func (i *installed) with(t *testing.T) *debian { return &debian{t: t, root: i.root, leader: i.leader} }

// confined: each side runs as its own user, with no capability, and cannot read what is
// another side's, nor write but where it keeps its secret ids.
func (i *installed) confined(t *testing.T) {
	d := i.with(t)
	for _, side := range sides {
		pid := strings.TrimSpace(d.run("systemctl show -P MainPID penname-" + side + "@1"))
		status := d.run("cat /proc/" + pid + "/status")
		for _, line := range []string{"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(status, line+"\n") {
				t.Errorf("%s: not %q: %s", side, line, status)
			}
		}
		if user := strings.TrimSpace(d.run("stat -c %U /proc/" + pid)); user != "penname-"+side {
			t.Errorf("%s runs as %s", side, user)
		}
		// What the process sees and may, by its own mounts and number.
		as := func(what string) bool {
			_, err := d.try(fmt.Sprintf("nsenter --target %s --mount -- setpriv --reuid=penname-%s --regid=penname-%s --clear-groups sh -c '%s'", pid, side, side, what))
			return err == nil
		}
		for _, other := range sides {
			if reads := as("ls /etc/penname/" + other); reads != (other == side) {
				t.Errorf("%s reads the folder of %s: %v", side, other, reads)
			}
		}
		for what, may := range map[string]bool{
			"touch /var/lib/penname/" + side + "/x": true, "touch /etc/penname/" + side + "/x": false, "touch /tmp/x": true, "test -e /root/service.deb": false, "test -e /dev/sda -o -e /dev/kmsg": false,
		} {
			if as(what) != may {
				t.Errorf("%s: %s: %v", side, what, !may)
			}
		}
	}
	for unit, most := range map[string]string{"penname-issuing@1": "20", "penname-disclosing@1": "20", "penname-keeping@1": "20", "penname-snapshot": "20"} {
		if out, err := d.try("systemd-analyze security --threshold=" + most + " " + unit); err != nil {
			t.Error(err, out)
		}
	}
	d.run("systemd-analyze verify /lib/systemd/system/penname-*@.service /lib/systemd/system/penname-snapshot.* 2>&1 | grep penname && exit 1 || true; XDG_RUNTIME_DIR=/run systemd-analyze --user verify /usr/lib/systemd/user/escrow-witness.service")
}

// supervised: a reload is answered, and a killed process is started again.
func (i *installed) supervised(t *testing.T) {
	d := i.with(t)
	d.run("systemctl reload penname-issuing@1")
	before := d.run("systemctl show -P MainPID penname-issuing@1")
	d.run("kill -9 " + before)
	i.ready("issuing")
	if after := d.run("systemctl show -P MainPID penname-issuing@1"); after == before || after == "0\n" {
		t.Errorf("process %s, then %s", before, after)
	}
}

// snapshot: the package's unit takes one of Vault, told where Vault is as `systemctl edit` tells
// it, with a token that may do no more.
func (i *installed) snapshot(t *testing.T) {
	d, of := i.with(t), "/etc/penname/keeping/"
	i.vault(t, "sys/policies/acl/penname-snapshot", map[string]any{"policy": d.run("cat /usr/share/doc/penname-escrowd/examples/vault-policies/penname-snapshot.hcl")})
	var token struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	if err := json.Unmarshal(i.vault(t, "auth/token/create-orphan", map[string]any{"policies": []string{"penname-snapshot"}, "no_default_policy": true, "period": "720h"}), &token); err != nil {
		t.Fatal(err)
	}
	d.put(of+"snapshot.token", []byte(token.Auth.Token), "penname-keeping")
	d.run("cp -p " + of + "*penname_keeping.dsn " + of + "database.dsn")
	line := strings.TrimSpace(d.run("grep ^ExecStart= /lib/systemd/system/penname-snapshot.service"))
	told := strings.NewReplacer("https://vault.penname.example:8200", i.setup.setting("address"), "/etc/penname/ca.pem", of+"vault.pem").Replace(line)
	ca, err := os.ReadFile(i.setup.setting("ca_file"))
	if err != nil {
		t.Fatal(err)
	}
	d.put(of+"vault.pem", ca, "penname-keeping")
	edited := "/etc/systemd/system/penname-snapshot.service.d/override.conf"
	d.put(edited, []byte("[Service]\nExecStart=\n"+told+"\n"), "root")
	d.run("systemctl daemon-reload; systemctl enable --now penname-snapshot.timer")
	if out, err := d.try("systemctl start penname-snapshot"); err != nil {
		t.Error(err, out, d.run("journalctl --no-pager -u penname-snapshot | tail -n 20"))
	}
	if taken := d.run("stat -c '%U %a' /var/lib/penname/keeping/vault-*.snap"); !regexp.MustCompile("^(penname-keeping 600\n)+$").MatchString(taken) {
		t.Error("taken: ", taken)
	}
	d.run("rm -r " + filepath.Dir(edited) + "; systemctl daemon-reload")
}

// vault is what Vault's administrator tells it.
func (i *installed) vault(t *testing.T, path string, said map[string]any) []byte {
	t.Helper()
	body, err := json.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	out, err := vaultCall(t.Context(), i.setup.world.Vault, http.MethodPost, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// witness: the package's unit runs a custodian's witness under the custodian's own systemd,
// which is started here without PAM.
func (i *installed) witness(t *testing.T) {
	d := i.with(t)
	d.run(`useradd --create-home alba
		mkdir -p /etc/systemd/system/user@.service.d
		printf '[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' > /etc/systemd/system/user@.service.d/alone.conf
		systemctl daemon-reload
		systemctl start user@$(id -u alba)`)
	as := func(script string) string {
		t.Helper()
		return d.run("exec setpriv --reuid=alba --regid=alba --init-groups env -C /home/alba/penname HOME=/home/alba XDG_RUNTIME_DIR=/run/user/$(id -u alba) sh -ec '" + script + "'")
	}
	certificate, key := i.setup.certificate("alba.example", time.Now().AddDate(1, 0, 0))
	for name, text := range map[string]string{"witness.crt": certificate, "witness.key": key, "passphrase": "correct horse battery staple of alba"} {
		d.put("/home/alba/penname/"+name, []byte(text), "alba")
	}
	d.run("chown alba: /home/alba/penname")
	as(`escrowd log keygen log.key --origin penname.example/log > log.vkey
		escrow custodian init --id alba --name Alba --organisation Bar --server https://penname.example --passphrase-file passphrase > alba.json
		escrow custodian witness init --name alba.example --log-origin penname.example/log --log-vkey "$(cat log.vkey)" --passphrase-file passphrase > alba.vkey
		systemctl --user start escrow-witness`)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(certificate))
	answers := false
	for range 100 {
		c, err := tls.Dial("tcp", "127.0.0.1:8470", &tls.Config{RootCAs: roots, ServerName: "alba.example"})
		if answers = err == nil; answers {
			c.Close()
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if state := as("systemctl --user show -P NRestarts,ActiveState escrow-witness"); !answers || state != "0\nactive\n" {
		t.Error(answers, state, d.run("journalctl --no-pager | tail -n 20"))
	}
	d.run("systemctl stop user@$(id -u alba); userdel --remove alba; rm -r /etc/systemd/system/user@.service.d; systemctl daemon-reload")
}

// image: a side serves where nothing else is but what deploy/container/Dockerfile puts into
// its image and compose.yaml mounts there. No container engine made or ran it.
func (i *installed) image(t *testing.T) {
	d := i.with(t)
	d.run(`systemctl stop penname-keeping@1
		mkdir -p /srv/image/usr/bin /srv/image/etc/penname /srv/image/var/lib/penname/keeping
		cp /usr/bin/escrowd /srv/image/usr/bin/
		cp /etc/hosts /srv/image/etc/ # as an engine does
		mount --bind /etc/penname /srv/image/etc/penname
		mount -o remount,bind,ro /srv/image/etc/penname
		mount --bind /var/lib/penname/keeping /srv/image/var/lib/penname/keeping
		systemd-run --quiet --unit=image chroot --userspec=$(id -u penname-keeping):$(id -g penname-keeping) /srv/image /usr/bin/escrowd serve --config /etc/penname/keeping-1.toml`)
	i.ready("keeping")
	d.run(`systemctl stop image
		umount /srv/image/etc/penname /srv/image/var/lib/penname/keeping
		rm -r /srv/image
		systemctl start penname-keeping@1`)
	i.ready("keeping")
}

func (i *installed) next(t *testing.T, service, version string, schema int64) string {
	name := "/root/" + version + ".deb"
	i.with(t).put(name, variant(t, service, version, schema), "root")
	return "dpkg -i " + name
}

func (i *installed) halfWritten(t *testing.T, service string) {
	d, install := i.with(t), i.next(t, service, "1.5.0-1", i.schema)
	config := filepath.Join(i.root, "/etc/penname/issuing-1.toml")
	whole, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, len(whole) / 3, bytes.Index(whole, []byte("cookie_key_file")) + 20} {
		d.put("/etc/penname/issuing-1.toml", whole[:cut], "penname-issuing")
		d.refused(install, "/etc/penname/issuing-1.toml: escrowd: config.", "Nothing was changed")
	}
	d.put("/etc/penname/issuing-1.toml", whole, "penname-issuing")
}

func (i *installed) unknownSchema(t *testing.T, service string) {
	d, install := i.with(t), i.next(t, service, "1.5.0-1", i.schema)
	statement(t, i.setup.world.Postgres.DSN, "INSERT INTO penname.goose_db_version (version_id, is_applied) VALUES (99999, true)")
	d.refused(install, "database.schema_newer", "schema 99999 does not say which programs may run on it", "Nothing was changed")
	statement(t, i.setup.world.Postgres.DSN, "DELETE FROM penname.goose_db_version WHERE version_id = 99999")

	// A database that cannot be asked has a schema that nobody knows.
	dsn := strings.TrimSpace(d.run("ls /etc/penname/issuing/*penname_issuing.dsn"))
	whole, err := os.ReadFile(filepath.Join(i.root, dsn))
	if err != nil {
		t.Fatal(err)
	}
	d.put(dsn, regexp.MustCompile(`:\d+/`).ReplaceAll(whole, []byte(":1/")), "penname-issuing")
	d.refused(install, "/etc/penname/issuing-1.toml: escrowd: database.", "Nothing was changed")
	d.put(dsn, whole, "penname-issuing")
	for _, side := range sides {
		i.ready(side)
	}
}

// removedUser: who took a user away is told how it is made again, by its number, and what
// they are told is enough.
func (i *installed) removedUser(t *testing.T, service string) {
	d, install := i.with(t), i.next(t, service, "1.5.0-1", i.schema)
	number := strings.TrimSpace(d.run("id -u penname-keeping"))
	for _, row := range []struct {
		what, says, after string
		lines             int
	}{
		{"userdel penname-keeping", "the user penname-keeping is gone, and /etc/penname/keeping still belongs to its number, " + number, number, 2},
		{"userdel penname-keeping; useradd --uid " + number + " mallory", "the user penname-keeping is gone, and its number, " + number + ", was given to mallory", "", 3},
		{"userdel mallory; chown -R --from=penname-keeping " + number + " /etc/penname /var/lib/penname", "/etc/penname/keeping belongs to UNKNOWN, number " + number + ", and not to penname-keeping", "", 1},
		{"useradd --uid " + number + " mallory; chown -R --from=penname-keeping mallory /var/lib/penname", "/var/lib/penname/keeping belongs to mallory, number " + number + ", and not to penname-keeping", "", 1},
	} {
		d.run("systemctl stop penname-keeping@1; " + row.what)
		d.refused(install, row.says, "Nothing was changed")
		out, _ := d.try(install) //nolint:errcheck // it is refused
		remedy := regexp.MustCompile(`(?m)^penname-escrowd:   (.*)$`).FindAllStringSubmatch(out, -1)
		if len(remedy) != row.lines {
			t.Fatal(out)
		}
		for _, line := range remedy {
			d.run(line[1])
		}
		if now := strings.TrimSpace(d.run("id -u penname-keeping")); (now == number) != (row.after == number) {
			t.Errorf("%s: it has the number %s", row.what, now)
		}
		d.run("systemctl start penname-keeping@1")
		i.ready("keeping")
	}
	d.run("userdel mallory")
}

// halfUnpacked: an upgrade that fails half-way leaves what was here as it was: dpkg takes its
// steps back, and the scripts of the version that stays let it.
func (i *installed) halfUnpacked(t *testing.T, service string) {
	d, install := i.with(t), i.next(t, service, "1.6.0-1", i.schema)
	d.run(`cp -p /var/lib/dpkg/info/penname-escrowd.postrm /root/
		dpkg-deb -R /root/1.6.0-1.deb /root/new
		sed -i '2i case $1 in upgrade | failed-upgrade) exit 1 ;; esac' /root/new/DEBIAN/postrm /var/lib/dpkg/info/penname-escrowd.postrm
		dpkg-deb -Znone -b /root/new /root/1.6.0-1.deb`)
	d.refused(install, "post-removal script subprocess returned error exit status 1")
	d.run("cp -p /root/penname-escrowd.postrm /var/lib/dpkg/info/")
	if audit := d.run("dpkg --audit"); audit != "" {
		t.Error(audit)
	}
}

// silent: systemd that does not answer, and a database that says nothing, leave no package half
// installed, and nobody waiting.
func (i *installed) silent(t *testing.T, service string) {
	d := i.with(t)
	d.run("mv /usr/bin/systemctl /usr/bin/systemctl.here; printf '#!/bin/sh\\nexit 1\\n' > /usr/bin/systemctl; chmod 755 /usr/bin/systemctl")
	d.run("dpkg -i /root/service.deb; mv /usr/bin/systemctl.here /usr/bin/systemctl")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dsn := strings.TrimSpace(d.run("ls /etc/penname/issuing/*penname_issuing.dsn"))
	whole, err := os.ReadFile(filepath.Join(i.root, dsn))
	if err != nil {
		t.Fatal(err)
	}
	d.put(dsn, regexp.MustCompile(`@[^/]+/`).ReplaceAll(whole, []byte("@"+l.Addr().String()+"/")), "penname-issuing")
	d.refused("timeout 60 "+i.next(t, service, "1.5.0-1", i.schema), "/etc/penname/issuing-1.toml: escrowd: database.", "Nothing was changed")
	d.put(dsn, whole, "penname-issuing")
}

// upgrade: one that may be, restarts nothing by itself; one version back is refused until
// somebody says so, and stays refused where the schema has no place for it.
func (i *installed) upgrade(t *testing.T, service string) {
	d := i.with(t)
	pids := func() string {
		return d.run("systemctl show -P MainPID penname-issuing@1 penname-disclosing@1 penname-keeping@1")
	}
	before := pids()
	d.run("touch /usr/local/bin/escrowd /etc/systemd/system/penname-snapshot.timer")
	out := d.run(i.next(t, service, "1.5.0-1", i.schema))
	if after := pids(); after != before {
		t.Errorf("processes %q, then %q: %s", before, after, out)
	}
	d.run("rm /usr/local/bin/escrowd /etc/systemd/system/penname-snapshot.timer")
	saysAll(t, out, "when they started: penname-disclosing@1 penname-issuing@1 penname-keeping@1.", "escrowd migrate --database-file owner.dsn --plan", "/usr/local/bin/escrowd hides", "penname-snapshot.timer hides")
	for _, side := range sides {
		d.run("systemctl restart penname-" + side + "@1")
		i.ready(side)
	}
	if strings.Contains(pids(), strings.Split(before, "\n")[0]) {
		t.Error("nothing was restarted")
	}

	back := "dpkg -i /root/service.deb"
	d.refused(back, "1.4.0-1 is older than 1.5.0-1", "/etc/penname/downgrade", "Nothing was changed")
	d.run("echo 1.3.0-1 > /etc/penname/downgrade")
	d.refused(back, "1.4.0-1 is older than 1.5.0-1")
	d.refused(i.next(t, service, "1.3.0-1", 1), "database.schema_newer", "Nothing was changed")
	out = d.run("echo 1.4.0-1 > /etc/penname/downgrade; " + back + "; test ! -e /etc/penname/downgrade")
	saysAll(t, out, "when they started: penname-disclosing@1", "Leave the schema as it is.")
	if strings.Contains(out, "migrate") || strings.Contains(out, " hides ") {
		t.Error(out)
	}
	d.refused("setpriv --reuid=penname-issuing --regid=penname-issuing --init-groups escrowd schema --config /etc/penname/issuing-1.toml --for 1", "database.schema_newer")
}

func saysAll(t *testing.T, out string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(out, word) {
			t.Errorf("without %q: %s", word, out)
		}
	}
}

// removed: to remove it and install an older one is a downgrade as well, and one that the
// schema has no place for is not configured.
func (i *installed) removed(t *testing.T, service string) {
	d := i.with(t)
	d.run(i.next(t, service, "1.5.0-1", i.schema) + "; dpkg --remove penname-escrowd")
	back := "dpkg -i /root/service.deb"
	out, err := d.try(back)
	if err == nil {
		t.Error(out)
	}
	saysAll(t, out, "1.4.0-1 is older than 1.5.0-1", "Nothing was changed")
	d.run("test ! -e /usr/bin/escrowd; echo 1.4.0-1 > /etc/penname/downgrade")
	statement(t, i.setup.world.Postgres.DSN, "INSERT INTO penname.goose_db_version (version_id, is_applied) VALUES (99999, true)")
	out, err = d.try(back)
	if err == nil || strings.Contains(out, "no side runs") {
		t.Error(err, out)
	}
	saysAll(t, out, "issuing-1.toml: escrowd: database.schema_newer", "install the version that the schema is for", "dpkg --configure penname-escrowd")
	statement(t, i.setup.world.Postgres.DSN, "DELETE FROM penname.goose_db_version WHERE version_id = 99999")
	out = d.run("dpkg --configure penname-escrowd")
	saysAll(t, out, "no side runs here", "Leave the schema as it is.", "systemctl start penname-issuing@1 penname-disclosing@1 penname-keeping@1")
	d.run("systemctl start penname-disclosing@1 penname-issuing@1 penname-keeping@1")
}

// purged: what nobody can make again goes only if it was said twice.
func (i *installed) purged(t *testing.T) {
	d := i.with(t)
	kept := "find /etc/penname /var/lib/penname -type f -exec sha256sum {} + | sort -k 2"
	before := d.run(kept)
	if strings.Count(before, "\n") < 10 {
		t.Fatal(before)
	}
	d.run("dpkg --remove penname-escrowd penname-tools")
	if running := d.run("systemctl list-units --no-legend --state=active 'penname-*.service'"); running != "" {
		t.Error(running)
	}
	out := d.run("dpkg --purge penname-escrowd penname-tools 2>&1")
	if after := d.run(kept); after != before || !strings.Contains(out, "are still there") {
		t.Error(out, before, after)
	}
	d.run("getent passwd penname-issuing penname-disclosing penname-keeping; test ! -e /etc/systemd/system/multi-user.target.wants/penname-issuing@1.service")

	d.run("dpkg -i /root/service.deb; systemctl start penname-disclosing@1; echo no > /etc/penname/purge; dpkg --purge penname-escrowd; rm /etc/penname/purge")
	if after := d.run(kept); after != before {
		t.Error(before, after)
	}
	// What was there before is read by the program that was installed, before anything starts.
	d.run("cp -p /etc/penname/keeping-1.toml /root/; head -c 99 /root/keeping-1.toml > /etc/penname/keeping-1.toml")
	if out, err := d.try("dpkg -i /root/service.deb"); err == nil || !strings.Contains(out, "/etc/penname/keeping-1.toml: escrowd: config.") || !strings.Contains(out, "dpkg --configure penname-escrowd") {
		t.Error(err, out)
	}
	d.run("cp -p /root/keeping-1.toml /etc/penname/; dpkg --configure penname-escrowd")

	d.run("echo delete > /etc/penname/purge; dpkg --purge penname-escrowd; test ! -e /etc/penname; test ! -e /var/lib/penname")
	if left := strings.Fields(d.run("find / -xdev -name '*penname*' -not -path '/root/*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/var/log/*' -not -path '/tmp/*' -not -path '/run/*'")); !slices.Equal(left, nil) {
		t.Error("left behind: ", left)
	}
}
