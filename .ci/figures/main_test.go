package main

import (
	"bytes"
	"strings"
	"testing"
)

const output = `goos: linux
pkg: github.com/penname/penname/escrow/seal
BenchmarkSeal-2   	 2378	    243221 ns/op	 866.0 ~B/person	 4111 seals/s	 1.110 ratio	 1.3 aim-max
BenchmarkPlain/a=1-16	10	5 ns/op	0 B/op	0 allocs/op
BenchmarkSlow-2 1 7 ns/op 0.1 ratio 0.6 aim-min 3 ~vault-alone/s 9 enrolments/s
ok  	github.com/penname/penname/escrow/seal	1.4s
`

func TestFigures(t *testing.T) {
	figures, failed, err := read(strings.NewReader(output))
	if err != nil || failed || len(figures) != 3 {
		t.Fatal(figures, failed, err)
	}
	var b bytes.Buffer
	if err := write(&b, figures, false); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "figure value unit ratio aim", "seal/Seal 4111 seals/s 1.11 ≤ 1.3", "seal/Plain/a=1 5 ns/op", "seal/Slow 9 enrolments/s 0.1 ≥ 0.6 missed"} {
		if got := strings.Join(strings.Fields(strings.Split(b.String(), "\n")[i]), " "); got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
	if err := write(&b, figures, true); err != nil {
		t.Fatal(err)
	}
}

func TestAFailedBenchmarkFailsTheFigures(t *testing.T) {
	for _, line := range []string{"FAIL\tgithub.com/x\t1s", "    --- FAIL: BenchmarkX", "panic: x"} {
		if _, failed, _ := read(strings.NewReader(line + "\n")); !failed {
			t.Errorf("%q passes", line)
		}
	}
}
