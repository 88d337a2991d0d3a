package issue_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func cpuOf() map[string]float64 {
	type p struct{ ppid int; comm string; cpu float64 }
	ps := map[int]p{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil { continue }
		s := string(b)
		o, c := strings.Index(s, "("), strings.LastIndex(s, ")")
		pid, _ := strconv.Atoi(strings.TrimSpace(s[:o]))
		r := strings.Fields(s[c+1:])
		pp, _ := strconv.Atoi(r[1])
		u, _ := strconv.ParseFloat(r[11], 64)
		k, _ := strconv.ParseFloat(r[12], 64)
		ps[pid] = p{pp, s[o+1:c], (u + k) / 100}
	}
	out := map[string]float64{}
	for pid, q := range ps {
		a := q.ppid
		for a > 1 && a != os.Getpid() { a = ps[a].ppid }
		if a == os.Getpid() && pid != os.Getpid() { out[q.comm] += q.cpu }
	}
	var ru syscall.Rusage
	syscall.Getrusage(0, &ru)
	out["self"] = float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
	return out
}

func BenchmarkTmp(b *testing.B) {
	w := newWorld(b)
	f := map[string]func(int) int{"enrol": w.enrol(b), "vault": w.vaultAlone(b), "insert": w.insertAlone(b), "seal": w.sealAlone(b)}
	for b.Loop() {
		for _, n := range []string{"enrol", "vault", "insert", "seal"} {
			c := 256
			if n == "vault" { c = 4 }
			rate(c, 300*time.Millisecond, f[n])
			before := cpuOf()
			r := rate(c, 3*time.Second, f[n])
			after := cpuOf()
			line := fmt.Sprintf("%-7s %7.0f/s", n, r)
			for k, v := range after {
				line += fmt.Sprintf("  %s %.0f µs", k, (v-before[k])/(r*3)*1e6)
			}
			fmt.Println(line)
		}
	}
}
