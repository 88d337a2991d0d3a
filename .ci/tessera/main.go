// Tessera appends to a log of Tessera's POSIX driver, the peer of BenchmarkAppend in
// escrow/postgres. It is a module of its own: in ours, which would require it for a benchmark
// alone, it would be seven modules more that every build has to account for.
//
//	tessera DIR
//
// For each line "CALLERS MILLISECONDS BYTES" on its standard input it lets so many callers
// append leaves of so many bytes for so long, each waiting for its index before the next, and
// prints how many were appended a second. An index is given once the leaf is in the tree, and
// both are on disk. A batch is full when each caller waits, so that none waits for its age.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "tessera:", err)
		os.Exit(1)
	}
}

func serve(dir string) error {
	lines := bufio.NewScanner(os.Stdin)
	for n := 0; lines.Scan(); n++ {
		var callers, ms, size int
		if _, err := fmt.Sscan(lines.Text(), &callers, &ms, &size); err != nil {
			return err
		}
		rate, err := run(filepath.Join(dir, strconv.Itoa(n)), callers, time.Duration(ms)*time.Millisecond, size)
		if err != nil {
			return err
		}
		fmt.Println(rate)
	}
	return lines.Err()
}

func run(dir string, callers int, long time.Duration, size int) (rate float64, err error) {
	ctx := context.Background()
	skey, _, err := note.GenerateKey(rand.Reader, "log.example/tessera")
	if err != nil {
		return 0, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return 0, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return 0, err
	}
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).WithBatching(uint(callers), 10*time.Millisecond).WithCheckpointInterval(time.Second))
	if err != nil {
		return 0, err
	}
	var appended atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			leaf := make([]byte, size)
			for time.Since(began) < long {
				rand.Read(leaf)
				if _, err := appender.Add(ctx, tessera.NewEntry(leaf))(); err != nil {
					failed.Store(&err)
					return
				}
				appended.Add(1)
			}
		})
	}
	wg.Wait()
	rate = float64(appended.Load()) / time.Since(began).Seconds()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return rate, shutdown(ctx)
}
