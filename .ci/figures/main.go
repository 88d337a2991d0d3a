// Figures reads the output of `go test -bench` and ends with one line a figure:
// name, value, unit, ratio, aim. With -json it prints them as JSON instead.
//
// A benchmark says what its figure is by what it reports (b.ReportMetric):
//
//	its own unit          the figure; ns/op if it has none
//	"ratio"               the figure to its limit or peer, of the same run
//	"aim-min", "aim-max"  what that ratio should reach, or not exceed
//	"~" and a unit        what stands beside the figure, such as the peer
//
// The sizes of the programs and the number of direct dependencies are measured
// here. Figures fails if a benchmark did; an aim that is missed is shown, and
// left to the reader: the machine may be busy.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/mod/modfile"
)

// figure is one line.
type figure struct {
	Name  string             `json:"name"`
	Value float64            `json:"value"`
	Unit  string             `json:"unit"`
	Ratio *float64           `json:"ratio,omitempty"`
	Aim   string             `json:"aim,omitempty"` // of the ratio, as "≥ 0.6"
	Met   *bool              `json:"met,omitempty"`
	More  map[string]float64 `json:"more,omitempty"` // whatever else was reported
}

func main() {
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	echo := io.Writer(os.Stdout)
	if *asJSON {
		echo = os.Stderr
	}
	figures, failed, err := read(io.TeeReader(os.Stdin, echo))
	more, buildErr := programs()
	err = errors.Join(err, buildErr, write(os.Stdout, append(figures, more...), *asJSON))
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
	}
	if err != nil || failed {
		os.Exit(1)
	}
}

var procs = regexp.MustCompile(`-\d+$`) // GOMAXPROCS, behind a benchmark's name

// read returns the figures, and whether anything failed.
func read(r io.Reader) (figures []figure, failed bool, err error) {
	pkg := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "pkg: "):
			pkg = path.Base(words[1])
		case strings.HasPrefix(line, "FAIL"), strings.Contains(line, "--- FAIL"), strings.HasPrefix(line, "panic:"):
			failed = true
		case strings.HasPrefix(line, "Benchmark") && len(words) >= 4:
			if f, ok := parse(words); ok {
				f.Name = pkg + "/" + f.Name
				figures = append(figures, f)
			}
		}
	}
	return figures, failed, lines.Err()
}

func parse(words []string) (f figure, ok bool) {
	if _, err := strconv.Atoi(words[1]); err != nil {
		return f, false
	}
	f.Name = procs.ReplaceAllString(strings.TrimPrefix(words[0], "Benchmark"), "")
	f.More = map[string]float64{}
	var units []string
	for i := 2; i+1 < len(words); i += 2 {
		v, err := strconv.ParseFloat(words[i], 64)
		if err != nil {
			return f, false
		}
		f.More[words[i+1]] = v
		units = append(units, words[i+1])
	}
	f.Unit = "ns/op"
	for _, u := range units {
		switch u {
		case "ns/op", "MB/s", "B/op", "allocs/op", "ratio", "aim-min", "aim-max":
		default:
			if !strings.HasPrefix(u, "~") {
				f.Unit = u
			}
		}
	}
	f.Value = f.More[f.Unit]
	if ratio, has := f.More["ratio"]; has {
		f.Ratio = &ratio
		if aim, has := f.More["aim-min"]; has {
			f.aim("≥", aim, ratio >= aim)
		}
		if aim, has := f.More["aim-max"]; has {
			f.aim("≤", aim, ratio <= aim)
		}
	}
	for _, u := range []string{f.Unit, "ratio", "aim-min", "aim-max"} {
		delete(f.More, u)
	}
	return f, true
}

func (f *figure) aim(sign string, aim float64, met bool) {
	f.Aim, f.Met = fmt.Sprintf("%s %g", sign, aim), &met
}

// programs are the sizes of the two programs, built as for a release, and the
// number of modules that go.mod requires directly.
func programs() ([]figure, error) {
	dir, err := os.MkdirTemp("", "figures-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s", "-o", dir+"/", "./cmd/...")
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("building the programs: %w", err)
	}
	built, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, program := range built {
		info, err := os.Stat(program)
		if err != nil {
			return nil, err
		}
		figures = append(figures, figure{Name: "size of " + info.Name(), Value: float64(info.Size()) / (1 << 20), Unit: "MiB"})
	}
	raw, err := os.ReadFile("go.mod")
	if err != nil {
		return nil, err
	}
	mod, err := modfile.ParseLax("go.mod", raw, nil)
	if err != nil {
		return nil, err
	}
	direct := 0
	for _, r := range mod.Require {
		if !r.Indirect {
			direct++
		}
	}
	return append(figures, figure{Name: "direct dependencies", Value: float64(direct), Unit: "modules"}), nil
}

func write(w io.Writer, figures []figure, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(figures)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nfigure\tvalue\tunit\tratio\taim")
	for _, f := range figures {
		ratio := ""
		if f.Ratio != nil {
			ratio = strconv.FormatFloat(*f.Ratio, 'g', 3, 64)
		}
		aim := f.Aim
		if f.Met != nil && !*f.Met {
			aim += "  missed"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", f.Name, strconv.FormatFloat(f.Value, 'g', 4, 64), f.Unit, ratio, aim)
	}
	return t.Flush()
}
