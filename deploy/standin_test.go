package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestMain makes this program a stand-in for two that a machine of the test cannot
// have: systemctl, because a namespace has no systemd, and scp, because it has no sshd.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "systemctl":
		os.Exit(standIn(systemctl(os.Args[1:])))
	case "scp":
		os.Exit(standIn(scp(os.Args[1:])))
	}
	os.Exit(m.Run())
}

func standIn(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
		return 1
	}
	return 0
}

// scp copies between machines: HOST:PATH is below the home of root there, or absolute
// in one of the folders that are the machine's own.
func scp(args []string) error {
	place := func(arg string) string {
		host, path, ok := strings.Cut(arg, ":")
		if !ok {
			return arg
		}
		if !strings.HasPrefix(path, "/") {
			path = "/root/" + path
		}
		return filepath.Join(os.Getenv("MACHINES"), host) + path
	}
	var places []string
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			places = append(places, place(arg))
		}
	}
	out, err := exec.Command("cp", append([]string{"--no-preserve=ownership"}, places...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// unit is a systemd unit as far as the stand-in heeds it: what runs, as whom, in which
// order. What confines the service is for TestUnit, and for a machine that has systemd.
type unit struct {
	name     string
	settings map[string][]string
}

// readUnit finds a unit as systemd.unit(5) says, and replaces its specifiers.
func readUnit(name string) (u unit, err error) {
	if !strings.Contains(name, ".") {
		name += ".service"
	}
	u = unit{name: name, settings: map[string][]string{}}
	bare, _, _ := strings.Cut(name, ".")
	prefix, instance, template := strings.Cut(bare, "@")
	file := name
	if template {
		file = prefix + "@" + filepath.Ext(name)
	}
	last := prefix[strings.LastIndex(prefix, "-")+1:]
	specifiers := strings.NewReplacer("%i", instance, "%I", strings.ReplaceAll(instance, "-", "/"), "%p", prefix, "%j", last, "%n", name, "%h", "/root", "%%", "%")
	for _, dir := range []string{"/root/.config/systemd/user", "/etc/systemd/system", "/lib/systemd/system"} {
		raw, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return u, err
		}
		for line := range strings.Lines(string(raw)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
				u.settings[key] = append(u.settings[key], specifiers.Replace(value))
			}
		}
		return u, nil
	}
	return u, fmt.Errorf("Unit %s could not be found", name)
}

func (u unit) get(key string) string {
	if all := u.settings[key]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

func (u unit) path(suffix string) string { return filepath.Join("/run/services", u.name+suffix) }

// systemctl does what the handbook asks of it.
func systemctl(args []string) error {
	args = slices.DeleteFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") && a != "--now" })
	verb, now := args[0], slices.Contains(args, "--now")
	names := slices.DeleteFunc(args[1:], func(a string) bool { return a == "--now" })
	for _, name := range names {
		u, err := readUnit(name)
		if err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(u.name, ".timer"): // nobody waits here for a week to pass
		case verb == "start", verb == "enable" && now:
			err = u.start()
		case verb == "stop", verb == "disable" && now:
			err = u.stop()
		case verb == "restart":
			err = errors.Join(u.stop(), u.start())
		case verb == "reload":
			err = u.each("ExecReload")
		case verb == "supervise":
			return u.supervise()
		case verb == "is-active" && !u.running():
			err = errors.New("inactive")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", u.name, err)
		}
	}
	return nil
}

// start starts a unit and returns when it is ready, by its own word.
func (u unit) start() error {
	if u.running() {
		return nil
	}
	if err := u.each("ExecStartPre"); err != nil {
		return err
	}
	if t := u.get("Type"); t == "forking" || t == "oneshot" {
		return u.each("ExecStart")
	}
	ready, written, err := os.Pipe()
	if err != nil {
		return err
	}
	log, err := os.OpenFile("/var/log/"+u.name+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "supervise", u.name)
	cmd.Args[0] = "systemctl"
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{written}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	written.Close()
	if said, err := io.ReadAll(ready); err != nil || string(said) != "ready" {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("Job for %s failed: %s%s", u.name, said, text[max(0, len(text)-3000):])
	}
	return nil
}

// supervise is the process that watches over a service, and is alive for as long.
func (u unit) supervise() error {
	syscall.CloseOnExec(3)
	ready := os.NewFile(3, "ready")
	if err := os.WriteFile(u.path(".pid"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return err
	}
	lock, err := os.OpenFile(u.path(".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // else a garbage collection lets go of it, after two minutes at the latest
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	socket := u.path(".notify")
	os.Remove(socket)
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err == nil {
		err = os.Chmod(socket, 0o777)
	}
	if err != nil {
		return err
	}
	cmd, err := u.command(u.get("ExecStart"))
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(u.path(".main"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return err
	}
	tell := func() { ready.WriteString("ready"); ready.Close() } //nolint:errcheck // who waited has gone
	if u.get("Type") != "notify" {
		tell()
	}
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := notify.Read(b)
			if err != nil {
				return
			}
			if bytes.Contains(b[:n], []byte("READY=1")) {
				tell()
			}
		}
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; cmd.Process.Signal(syscall.SIGTERM) }() //nolint:errcheck // it may have ended
	err = cmd.Wait()
	fmt.Fprintln(os.Stderr, u.name, "ended:", err)
	os.Remove(u.path(".pid"))
	return nil
}

// stop ends a service and returns when it has ended.
func (u unit) stop() error {
	if !u.running() {
		return nil
	}
	if u.get("ExecStop") != "" {
		return u.each("ExecStop")
	}
	raw, err := os.ReadFile(u.path(".pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(raw))
	if err != nil {
		return err
	}
	lock, err := os.Open(u.path(".lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
}

// running tells whether a supervisor holds the unit's lock, or its PID file names a
// process.
func (u unit) running() bool {
	if u.get("PIDFile") != "" {
		pid, err := strconv.Atoi(u.mainPID())
		return err == nil && syscall.Kill(pid, 0) == nil
	}
	lock, err := os.Open(u.path(".lock"))
	if err != nil {
		return false
	}
	defer lock.Close()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
}

// mainPID is the unit's main process.
func (u unit) mainPID() string {
	for _, file := range []string{u.get("PIDFile"), u.path(".main")} {
		if raw, err := os.ReadFile(file); err == nil {
			pid, _, _ := strings.Cut(string(raw), "\n")
			return pid
		}
	}
	return ""
}

// each runs the commands of a setting, one after the other. What fails after a - is ignored.
func (u unit) each(setting string) error {
	for _, line := range u.settings[setting] {
		line, ignored := strings.CutPrefix(line, "-")
		cmd, err := u.command(line)
		if err != nil {
			return err
		}
		said, err := os.CreateTemp("", "systemctl-") // a pipe would stay open for as long as what it starts
		if err != nil {
			return err
		}
		os.Remove(said.Name())
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Run(); err != nil && !ignored {
			text := make([]byte, 4096)
			n, _ := said.ReadAt(text, 0)
			return fmt.Errorf("%s: %w: %s", line, err, text[:n])
		}
		said.Close()
	}
	return nil
}

// command is one line of a unit: systemd.service(5), "Command lines".
func (u unit) command(line string) (*exec.Cmd, error) {
	env := map[string]string{"MAINPID": u.mainPID(), "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
	for _, setting := range u.settings["Environment"] {
		for _, pair := range words(setting) {
			key, value, _ := strings.Cut(pair, "=")
			env[key] = value
		}
	}
	var args []string
	for _, word := range words(line) {
		if name, ok := strings.CutPrefix(word, "$"); ok {
			args = append(args, strings.Fields(env[name])...)
			continue
		}
		args = append(args, word)
	}
	if len(args) == 0 {
		return nil, errors.New("nothing to run")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = "/", []string{}
	for key, value := range env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	return cmd, u.asUser(cmd)
}

// asUser runs a command as the unit's user, who gets the state folder.
func (u unit) asUser(cmd *exec.Cmd) error {
	name := u.get("User")
	if name == "" {
		return nil
	}
	who, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(who.Uid)
	gid, err2 := strconv.Atoi(who.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if state := u.get("StateDirectory"); state != "" {
		dir := filepath.Join("/var/lib", state)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return errors.Join(os.Chown(dir, uid, gid), os.Chmod(dir, 0o700))
	}
	return nil
}

// words splits a line at spaces, but for those in quotes.
func words(line string) []string {
	all := quoted.FindAllString(line, -1)
	for i := range all {
		all[i] = strings.NewReplacer(`"`, "", "'", "").Replace(all[i])
	}
	return all
}

var quoted = regexp.MustCompile(`(?:"[^"]*"|'[^']*'|[^\s"'])+`)
