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
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process is a child that writes a log, and dies with us.
type process struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when the awaited line was written
	done  chan struct{} // closed when the child has ended

	mu   sync.Mutex
	last []byte // the last lines of its log
}

// run starts cmd with its standard error copied to a log file. The child's
// Pdeathsig is bound to the thread that made it, so one goroutine keeps that
// thread until the child ends.
func run(cmd *exec.Cmd, logFile, readyLine string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ready: make(chan struct{}), done: make(chan struct{})}
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

func (p *process) follow(out, log *os.File, readyLine string) {
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

func (p *process) tail() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.last)
}

// await returns when the child is ready, or kills it.
func (p *process) await(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-p.done:
		return fmt.Errorf("%s ended at start: %s", filepath.Base(p.cmd.Path), lastLine(p.tail()))
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
}

// signal goes to the child alone: a server ends its own children.
func (p *process) signal(s syscall.Signal) { p.cmd.Process.Signal(s) } //nolint:errcheck // it may have ended

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

func (p *process) ended(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// reap starts a shell that removes dir once our end of its standard input is
// closed, which the system does if we are killed, and the server pid has had
// five seconds to end.
func reap(dir string, pid int) (io.Closer, error) {
	cmd := exec.Command("/bin/sh", "-c", `read -r _; n=50; while [ $n -gt 0 ] && kill -0 "$2" 2>/dev/null; do sleep 0.1; n=$((n-1)); done; rm -rf -- "$1"`,
		"sh", dir, strconv.Itoa(pid))
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
