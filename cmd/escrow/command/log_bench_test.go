//go:build unix

package command

import (
	"flag"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/penname/penname/verifier/proof"
)

var logEntries = flag.Int("log-entries", 1_000_000, "how many entries the log of BenchmarkLogCommands has")

// BenchmarkLogCommands is what the commands take for a whole log, a tenth of it entries of cases,
// over HTTP on loopback, the server in the same process, or from a mirror on disk.
func BenchmarkLogCommands(b *testing.B) {
	o := newObserved(b)
	o.now = time.Now()
	for len(o.served.leaves) < *logEntries/10 {
		o.served.opened(o.now.AddDate(1, 0, 0))
	}
	for len(o.served.leaves) < *logEntries {
		o.served.add(proof.ErasedLeaf(o.now, [32]byte{1}, fmt.Sprint(len(o.served.leaves))))
	}
	dir := b.TempDir()
	for _, c := range []struct {
		name string
		args func(i int) []string
	}{
		{"mirror", func(i int) []string { return []string{"mirror", filepath.Join(dir, "mirror", fmt.Sprint(i))} }},
		{"list", func(int) []string { return []string{"list"} }},
		{"list from a mirror", func(int) []string { return []string{"list", "--mirror", filepath.Join(dir, "mirror/0")} }},
		{"show", func(int) []string { return []string{"show", "12345"} }},
		{"export", func(i int) []string { return []string{"export", filepath.Join(dir, "site", fmt.Sprint(i))} }},
		{"export again", func(int) []string { return []string{"export", filepath.Join(dir, "site/0")} }},
		{"stats by month", func(int) []string {
			return []string{"stats", "--by", "month", "--mirror", filepath.Join(dir, "mirror/0")}
		}},
		{"monitor, a round", func(int) []string { return []string{"monitor", filepath.Join(dir, "mirror/0"), "--once"} }},
	} {
		b.Run(c.name, func(b *testing.B) {
			before := processorTime(b)
			for i := range b.N {
				if r := o.run(append([]string{"log"}, c.args(i)...)...); r.code != 0 {
					b.Fatal(r.errs)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
			b.ReportMetric((processorTime(b)-before).Seconds()/float64(b.N), "cpu-s") // which other work changes little
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
