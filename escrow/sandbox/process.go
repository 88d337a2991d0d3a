package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is a child that writes a log, and dies with us.
type Process struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when the awaited line was written
	done  chan struct{} // closed when the child has ended

	mu   sync.Mutex
	last []byte // the last lines of its log
}

// StartProcess starts cmd with what it says copied to a log file. The child's
// Pdeathsig is bound to the thread that made it, so one goroutine keeps that
// thread until the child ends.
func StartProcess(cmd *exec.Cmd, logFile, readyLine string) (*Process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, ready: make(chan struct{}), done: make(chan struct{})}
	out, in, err := os.Pipe()
	if err != nil {
		log.Close()
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = in, in
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		in.Close()
		started <- err
		if err == nil {
			cmd.Wait() //nolint:errcheck // it is only reaped
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		out.Close()
		log.Close()
		return nil, err
	}
	go p.follow(out, log, readyLine)
	return p, nil
}

func (p *Process) follow(out, log *os.File, readyLine string) {
	defer out.Close()
	defer log.Close()
	waiting := true
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadBytes('\n')
		log.Write(line) //nolint:errcheck // a lost log line stops no server
		p.mu.Lock()
		if p.last = append(p.last, line...); len(p.last) > 4096 {
			p.last = p.last[len(p.last)-4096:]
		}
		p.mu.Unlock()
		if waiting && bytes.Contains(line, []byte(readyLine)) {
			waiting = false
			close(p.ready)
		}
		if err != nil {
			return
		}
	}
}

// Tail is the end of its log.
func (p *Process) Tail() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.last)
}

// await returns when the child is ready, or kills it.
func (p *Process) await(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-p.done:
		return fmt.Errorf("%s ended at start: %s", filepath.Base(p.cmd.Path), lastLine(p.Tail()))
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	}
}

// Signal goes to the child alone: a server ends its own children.
func (p *Process) Signal(s syscall.Signal) { p.cmd.Process.Signal(s) } //nolint:errcheck // it may have ended

// Kill ends the child at once.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Ended reports whether the child ended within a time.
func (p *Process) Ended(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// Status is the exit status of a child that has ended, or -1 if a signal ended it.
func (p *Process) Status() int { return p.cmd.ProcessState.ExitCode() }

// Reap starts a shell that, once our end of its standard input is closed, which the
// system does if we are killed, gives what works below dir five seconds to end, ends
// what is left, and removes dir if remove says so.
func Reap(dir string, remove bool) (io.Closer, error) {
	cmd := exec.Command("/bin/sh", "-c", `read -r _; n=50
while left=$(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1/*" -printf '%h\n' 2>/dev/null | cut -d/ -f3); [ -n "$left" ] && [ $n -gt -50 ]; do
  [ $n -gt 0 ] || kill -9 $left
  sleep 0.1; n=$((n-1))
done
[ -z "$2" ] || rm -rf -- "$1"`, "sh", dir, map[bool]string{true: "remove"}[remove])
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us, not for it
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go cmd.Wait() //nolint:errcheck // it is only reaped
	return in, nil
}
