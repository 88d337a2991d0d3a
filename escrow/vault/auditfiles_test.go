package vault_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penname/penname/escrow/vault"
)

// written is the record of an audit device that was enabled at start: what the keeping
// side asks every hour, and first halves that were opened.
type written struct {
	start time.Time
	lines []string
}

func (w *written) add(at time.Duration, kind, path, id, data string) {
	w.lines = append(w.lines, fmt.Sprintf(`{"auth":{"policies":["penname-disclosing"]},"request":{"id":%q,"path":%q,"operation":"update","remote_address":"192.0.2.1","data":{%s}},"time":%q,"type":%q}`,
		id, path, data, w.start.Add(at).Format(time.RFC3339Nano), kind))
}

func (w *written) ask(at time.Duration, path, data string) {
	id := fmt.Sprint(at)
	w.add(at, "request", path, id, data)
	w.add(at+time.Millisecond, "response", path, id, data)
}

// days is a record of that many days, with a half opened at each noon.
func days(start time.Time, n int) *written {
	w := &written{start: start}
	w.add(0, "request", "sys/audit/test", "first-"+start.String(), "")
	w.add(time.Millisecond, "response", "sys/audit/file", "enabled", "")
	for hour := range n * 24 {
		w.ask(time.Duration(hour)*time.Hour+time.Minute, "penname-transit/keys/penname-record", "")
		if hour%24 == 12 {
			w.ask(time.Duration(hour)*time.Hour+30*time.Minute, "penname-transit/decrypt/penname-record", fmt.Sprintf(`"context":"hmac-sha256:%d"`, hour))
		}
	}
	return w
}

// file writes lines, in a file of its own.
func file(t testing.TB, name string, lines ...string) string {
	t.Helper()
	text := []byte(strings.Join(lines, "\n") + "\n")
	if strings.HasSuffix(name, ".gz") {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		z.Write(text) //nolint:errcheck // into memory
		z.Close()
		text = packed.Bytes()
	}
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// N4: the record of a device is whole in however many files, in whatever order; and what
// is missing of it is named, as far as Vault's lines show it.
func TestFoundN4WhatIsMissingIsNamed(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	w := days(start, 4)
	const per = 24*2 + 2 // lines of a day, but for the two of the first
	day := func(n int) []string { return w.lines[min(n, 1)*2+n*per : 2+(n+1)*per] }
	first, second := file(t, "audit.log.3.gz", day(0)...), file(t, "audit.log.2.gz", day(1)...)
	third, newest := file(t, "audit.log.1", day(2)...), file(t, "audit.log", day(3)...)
	now := start.AddDate(0, 0, 4)
	again := days(start.AddDate(0, 0, 1), 3)
	for name, c := range map[string]struct {
		files  []string
		since  time.Time
		now    time.Time
		want   string // of the cause; "": whole
		opened int
	}{
		"in order":                        {files: []string{first, second, third, newest}, opened: 4},
		"in another order":                {files: []string{newest, first, third, second}, opened: 4},
		"some twice":                      {files: []string{third, newest, first, third, second, newest}, opened: 4},
		"that overlap":                    {files: []string{newest, file(t, "a", w.lines[:2*per+7]...), file(t, "b", w.lines[per-9:]...)}, opened: 4},
		"in one":                          {files: []string{file(t, "all", w.lines...)}, opened: 4},
		"a pattern":                       {files: []string{filepath.Join(filepath.Dir(file(t, "audit.log", w.lines...)), "audit.*")}, opened: 4},
		"rotated just now":                {files: []string{first, second, third, newest, file(t, "empty")}, opened: 4},
		"the first is missing":            {files: []string{second, third, newest}, want: "before 2026-03-02T00:01:00Z nothing is there"},
		"the first counts no more":        {files: []string{second, third, newest}, since: start.AddDate(0, 0, 1), opened: 3},
		"the first two count no more":     {files: []string{second, third, newest}, since: start.AddDate(0, 0, 2), opened: 2},
		"one that counts is missing":      {files: []string{third, newest}, since: start.AddDate(0, 0, 1), want: "from 2026-03-02T00:00:00Z to 2026-03-03T00:01:00Z nothing is there"},
		"one in the middle is missing":    {files: []string{first, third, newest}, want: "from 2026-03-01T23:01:00Z to 2026-03-03T00:01:00Z nothing is there"},
		"the newest is missing":           {files: []string{first, second, third}, want: "from 2026-03-03T23:01:00Z to 2026-03-05T00:00:00Z nothing is there"},
		"it stopped":                      {files: []string{first, second, third, newest}, now: now.Add(5 * time.Hour), want: "from 2026-03-04T23:01:00Z to 2026-03-05T05:00:00Z nothing is there"},
		"a request was cut out":           {files: []string{file(t, "all", append(append([]string{}, w.lines[:62]...), w.lines[63:]...)...)}, want: "of an answer at 2026-03-02T05:01:00Z the request is missing"},
		"it was enabled a second time":    {files: []string{file(t, "all", append(append([]string{}, w.lines...), again.lines[0])...)}, want: "the device was enabled again"},
		"of two devices":                  {files: []string{file(t, "all", w.lines...), file(t, "other", days(start.AddDate(0, 0, 1), 3).lines...)}, want: "the device was enabled again"},
		"of two devices, the same halves": {files: []string{file(t, "all", w.lines...), file(t, "other", strings.Split(strings.ReplaceAll(strings.Join(w.lines, "\n"), "hmac-sha256:", "hmac-sha256:b"), "\n")...)}, want: "two devices"},
		"a damaged line":                  {files: []string{file(t, "all", w.lines[0], `{"auth":{"pol`, w.lines[1])}, want: "all, line 3: a line is not an entry"},
		"a damaged line that counts not":  {files: []string{file(t, "all", append(append(append([]string{}, w.lines[:9]...), `{"auth":{"pol`), w.lines[9:]...)...)}, since: start.AddDate(0, 0, 1), opened: 3},
		"nothing":                         {files: []string{file(t, "none")}, want: "there is no entry in it"},
		"no file":                         {files: []string{filepath.Join(t.TempDir(), "audit.*")}, want: "there is no file"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.now.IsZero() {
				c.now = now
			}
			audit, err := vault.ReadAudit(t.Context(), c.files, c.since, nil)
			if err == nil {
				err = audit.Whole(c.now)
			}
			switch cause := fmt.Sprint(errors.Unwrap(err)); {
			case c.want == "" && err != nil, c.want != "" && !strings.Contains(cause, c.want):
				t.Errorf("%v (%s), want %q", err, cause, c.want)
			case c.want == "" && len(audit.Opened) != c.opened:
				t.Errorf("%d opened, want %d", len(audit.Opened), c.opened)
			}
		})
	}
}

// The file that is being written may end in the middle of a line; no other one may.
func TestFoundN4ALineThatIsBeingWritten(t *testing.T) {
	w := days(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), 2)
	cut := func(lines []string) string {
		name := file(t, "audit.log", lines...)
		info, err := os.Stat(name)
		if err == nil {
			err = os.Truncate(name, info.Size()-50)
		}
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	half := len(w.lines) / 2
	older := file(t, "older", w.lines[:half]...)
	audit, err := vault.ReadAudit(t.Context(), []string{cut(w.lines[half:]), older}, time.Time{}, nil)
	if err != nil || audit.Entries != int64(len(w.lines)-1) || audit.Files != 2 {
		t.Errorf("%d entries in %d files, %v", audit.Entries, audit.Files, err)
	}
	if err := audit.Whole(w.start.AddDate(0, 0, 2)); err != nil {
		t.Error(err, errors.Unwrap(err))
	}
	_, err = vault.ReadAudit(t.Context(), []string{cut(w.lines[:half]), file(t, "newer", w.lines[half:]...)}, time.Time{}, nil)
	wantRefusal(t, err, vault.ErrAuditFile, "ends in the middle of a line, and is not the newest")
}

// What is no file is not read, and a line that no Vault writes is not kept: neither a pipe
// nor what unpacks to more than the machine has stops the check.
func TestAuditReadsFilesAndLinesOfVault(t *testing.T) {
	pipe, zeros := filepath.Join(t.TempDir(), "pipe"), filepath.Join(t.TempDir(), "zeros")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink("/dev/zero", zeros)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pipe, zeros, t.TempDir()} {
		_, err := vault.ReadAudit(t.Context(), []string{name}, time.Time{}, nil)
		wantRefusal(t, err, vault.ErrAuditFile, name+" is not a file")
	}
	_, err := vault.ReadAudit(t.Context(), []string{file(t, "bomb.gz", "", strings.Repeat("\x00", 65<<20))}, time.Time{}, nil)
	wantRefusal(t, err, vault.ErrAuditFile, "bomb.gz, line 2: it is longer than 64 MiB")

	long := days(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), 300)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = vault.ReadAudit(ctx, []string{file(t, "audit.log", long.lines...)}, time.Time{}, func(read, size int64) {
		if cancel(); read == size {
			t.Fatal("the file is too short to be left in the middle")
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("went on after its context had ended: %v", err)
	}
}

// BenchmarkReadAudit reads a record of a million lines as long as Vault's are, of which
// one in a thousand opens a half.
func BenchmarkReadAudit(b *testing.B) {
	const lines = 1_000_000
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	name := filepath.Join(b.TempDir(), "audit.log")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	w := &written{start: start}
	w.add(0, "request", "sys/audit/test", "first", "")
	for i := range lines / 2 {
		path := "penname-transit/encrypt/penname-record"
		if i%500 == 0 {
			path = "penname-transit/decrypt/penname-record"
		}
		w.ask(time.Duration(i)*time.Second, path, fmt.Sprintf(`"context":"hmac-sha256:%064d","padding":%q`, i, strings.Repeat("x", 1200)))
		if len(w.lines) > 10_000 || i == lines/2-1 {
			if _, err := f.WriteString(strings.Join(w.lines, "\n") + "\n"); err != nil {
				b.Fatal(err)
			}
			w.lines = w.lines[:0]
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		highest := uint64(0)
		audit, err := vault.ReadAudit(b.Context(), []string{name}, time.Time{}, func(int64, int64) {
			runtime.ReadMemStats(&after)
			highest = max(highest, after.HeapAlloc)
		})
		if err != nil || len(audit.Opened) != lines/1000 || audit.Whole(audit.To) != nil {
			b.Fatalf("%d opened, %v", len(audit.Opened), err)
		}
		b.ReportMetric(float64(highest-before.HeapAlloc)/(1<<20), "MB-held")
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
