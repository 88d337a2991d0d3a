package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// listing is a log with a bundle, a case that opened, a refusal, and an erasure in a later month.
func listing(t *testing.T) *observed {
	o := newObserved(t)
	o.served.opened(o.now.AddDate(1, 0, 0))
	refused := proof.RefusedLeaf(o.now, "warrant.unknown_authority")
	refused.Jurisdiction = "FR"
	o.served.add(refused)
	o.at(o.now.AddDate(0, 1, 0))
	o.served.add(proof.ErasedLeaf(o.now, [32]byte{1}, "label"))
	return o
}

func TestLogList(t *testing.T) {
	o := listing(t)
	mirror := filepath.Join(t.TempDir(), "mirror")
	if r := o.run("log", "mirror", mirror); r.code != 0 {
		t.Fatal(r.errs)
	}
	for args, want := range map[string][]string{
		"":                                  {"0", "1", "2", "3", "4", "5", "6", "7"},
		"--day 2026-03-02":                  {"0", "1", "2", "3", "4", "5", "6"},
		"--from 2026-03-03":                 {"7"},
		"--to 2026-03-02":                   {"0", "1", "2", "3", "4", "5", "6"},
		"--from 2026-01-01 --to 2026-02-01": nil,
		"--kind decision":                   {"2", "3"},
		"--jurisdiction GB":                 {"1", "2", "3", "4", "5"}, // all of its case
		"--jurisdiction FR":                 {"6"},
		"--offence-class threats-to-life":   {"1", "2", "3", "4", "5"},
		"--offence-class criticism":         nil,
		"--jurisdiction FR --offence-class threats-to-life": nil,
		"--case 1":                 {"1", "2", "3", "4", "5"},
		"--case 1 --kind released": {"5"},
	} {
		for _, from := range [][]string{nil, {"--mirror", mirror}} {
			command := append(append([]string{"log", "list"}, strings.Fields(args)...), from...)
			r := o.run(command...)
			if r.code != 0 || r.errs != "" {
				t.Fatalf("%s: %d %s", args, r.code, r.errs)
			}
			var got []string
			lines := strings.Split(strings.TrimSpace(r.out), "\n")
			for _, line := range lines[:len(lines)-1] {
				got = append(got, strings.Fields(line)[0])
			}
			if strings.Join(got, " ") != strings.Join(want, " ") || want == nil != strings.HasPrefix(r.out, "no such entry in the log of ") {
				t.Errorf("%s: %v, want %v\n%s", args, got, want, r.out)
			}
			var said struct {
				Size    int64
				Entries []listedEntry
			}
			if r := o.run(append(command, "--json")...); json.Unmarshal([]byte(r.out), &said) != nil || said.Size != 8 || len(said.Entries) != len(want) {
				t.Errorf("%s: %s", args, r.out)
			}
			for _, e := range said.Entries {
				if e.Leaf == nil || e.Words == "" || e.Day != e.Leaf.Day || e.Kind != e.Leaf.Kind {
					t.Errorf("%+v", e)
				}
			}
		}
	}
	r := o.run("log", "list", "--kind", "recorded")
	if !strings.Contains(r.out, "       1  2026-03-02  recorded    An order to open 1 pen name was accepted.\n") {
		t.Error(r.out)
	}
	for args, says := range map[string]string{
		"--kind nosuch":                     `there is no entry of kind "nosuch"`,
		"--day 2.3.2026":                    "--day takes a day like 2026-11-21",
		"--from x":                          "--from takes a day",
		"--to 2026-02-30":                   "--to takes a day",
		"--day 2026-03-02 --to 2026-03-02":  "choose one",
		"--from 2026-03-03 --to 2026-03-02": "no day is both",
		"--case x":                          "invalid argument",
		"--mirror " + mirror + "/none":      "proof.mirror",
	} {
		want := 2
		if strings.HasPrefix(says, "proof.") {
			want = 1
		}
		if r := o.run(append([]string{"log", "list"}, strings.Fields(args)...)...); r.code != want || !strings.Contains(r.errs, says) || r.out != "" {
			t.Errorf("%s: %d %s%s", args, r.code, r.out, r.errs)
		}
	}
}

// What was changed on its way is not shown; a log that is frozen is not read, a mirror of any
// age is, and an entry of a later program is named as one.
func TestLogListShowsOnlyWhatIsVerified(t *testing.T) {
	o := listing(t)
	o.served.bytes([]byte("{\"v\":2,\x1b[2Jhostile"))
	if r := o.run("log", "list"); r.code != 0 || !strings.Contains(r.out, "       8                          "+unreadable) || strings.Contains(r.out, "\x1b") {
		t.Errorf("%d %q%s", r.code, r.out, r.errs)
	}
	if r := o.run("log", "show", "8"); r.code != 0 || !strings.Contains(r.out, unreadable) || !strings.Contains(r.out, `\x1b[2Jhostile`) || strings.Contains(r.out, "\x1b") {
		t.Errorf("%d %q%s", r.code, r.out, r.errs)
	}
	mirror := filepath.Join(t.TempDir(), "mirror")
	if r := o.run("log", "mirror", mirror); r.code != 0 {
		t.Fatal(r.errs)
	}
	o.at(o.now.Add(25 * time.Hour))
	for _, command := range [][]string{{"log", "list"}, {"log", "show", "1"}} {
		if r := o.run(command...); r.code != 1 || !strings.Contains(r.errs, "proof.stale") || r.out != "" {
			t.Errorf("%v: %d %s%s", command, r.code, r.out, r.errs)
		}
		if r := o.run(append(command, "--mirror", mirror)...); r.code != 0 || !strings.Contains(r.out, "cosigned 2026-04-02T12:00:00Z") {
			t.Errorf("%v: %d %s%s", command, r.code, r.out, r.errs)
		}
	}
	name := filepath.Join(mirror, "tile/entries/000.p/9")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"log", "list"}, {"log", "show", "8"}} {
		if r := o.run(append(command, "--mirror", mirror)...); r.code != 1 || !strings.Contains(r.errs, "proof.bad_tile") || strings.Contains(r.out, "hostile") {
			t.Errorf("%v: %d %s%s", command, r.code, r.out, r.errs)
		}
	}
}

func TestLogShow(t *testing.T) {
	o := listing(t)
	kept := filepath.Join(t.TempDir(), "1.tlog-proof")
	r := o.run("log", "show", "1", "--save-proof", kept)
	for _, want := range []string{"entry 1, 2026-03-02, recorded\nAn order to open 1 pen name was accepted.\n", "  jurisdiction: GB\n", "  secret until: 2027-03-02\n",
		string(o.served.leaves[1]), "checked: 3 hashes lead from it to the root ", "escrow log list --case 1 shows what became of it"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%d, not %q:\n%s%s", r.code, want, r.out, r.errs)
		}
	}
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	log, err := o.bundle.TrustedLog()
	if err != nil {
		t.Fatal(err)
	}
	if index, c, err := log.VerifyProof(o.served.leaves[1], text); err != nil || index != 1 || c.N != 8 {
		t.Error(index, c, err)
	}
	var said shownEntry
	if r := o.run("log", "show", "5", "--json"); json.Unmarshal([]byte(r.out), &said) != nil || said.Entry != 5 || said.Raw != string(o.served.leaves[5]) ||
		said.Leaf == nil || len(said.Facts) == 0 || said.Size != 8 || !strings.HasPrefix(said.Proof, "c2sp.org/tlog-proof@v1\nindex 5\n") {
		t.Errorf("%s%s", r.out, r.errs)
	}
	for arg, c := range map[string]struct {
		code int
		says string
	}{
		"8": {1, "proof.no_entry: "}, "9223372036854775807": {1, "(its size is 8)"},
		"x": {2, "N is the number of an entry"}, "9223372036854775808": {2, "N is the number"}, "0x1": {2, "N is the number"},
	} {
		if r := o.run("log", "show", arg); r.code != c.code || !strings.Contains(r.errs, c.says) || r.out != "" {
			t.Errorf("%s: %d %s%s", arg, r.code, r.out, r.errs)
		}
	}
}

// The numbers of the periods are those of the entries, in every form.
func TestLogStatisticsByPeriod(t *testing.T) {
	o := listing(t)
	text := o.run("log", "stats", "--by", "month")
	for _, want := range []string{"2026-03\n  entries                7  \n", "2026-04\n  entries                1  \n", "  refused                1  warrant.unknown_authority\n", "the numbers add up"} {
		if text.code != 0 || !strings.Contains(text.out, want) {
			t.Errorf("%d, not %q:\n%s%s", text.code, want, text.out, text.errs)
		}
	}
	r := o.run("log", "statistics", "--by", "year", "--csv")
	origin := o.bundle.Log.Origin
	for _, want := range []string{"addressee,period,table,name,count\n", origin + ",2026,entries,,8\n", origin + ",2026,entries by kind,decision,2\n", origin + ",2026,pen names,,1\n"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%d, not %q:\n%s%s", r.code, want, r.out, r.errs)
		}
	}
	var said struct {
		By      string
		Size    int64
		Periods []proof.Period
	}
	if r := o.run("log", "stats", "--by", "month", "--json"); json.Unmarshal([]byte(r.out), &said) != nil || said.By != "month" || said.Size != 8 || len(said.Periods) != 2 ||
		said.Periods[0].Entries+said.Periods[1].Entries != 8 || said.Periods[0].Warrants[proof.Production] != 1 {
		t.Errorf("%s%s", r.out, r.errs)
	}
	if r := o.run("log", "stats", "--by", "month", "--year", "2025", "--json"); r.code != 0 || !strings.Contains(r.out, `"periods": []`) {
		t.Error(r.out, r.errs)
	}
	if r := o.run("log", "stats", "--by", "week"); r.code != 2 || !strings.Contains(r.errs, "--by is year or month") {
		t.Error(r.code, r.errs)
	}
	// A log that breaks a rule has its statistics, and is named: a finding stays in it for ever.
	o.served.add(proof.ReleasedLeaf(o.now, 1, [32]byte{9}, nil))
	for args, says := range map[string]string{"--by year": "  entries                9  \n", "--by month --json": `"size": 9`, "--csv": "addressee,year,so_far,", "": "addressee   " + origin} {
		r := o.run(append([]string{"log", "stats"}, strings.Fields(args)...)...)
		if r.code != 1 || !strings.Contains(r.errs, "proof.audit_failed") || !strings.Contains(r.errs, "entry 8: ") || !strings.Contains(r.out, says) {
			t.Errorf("%s: %d %s%s", args, r.code, r.out, r.errs)
		}
	}
	for range mostFindings {
		o.served.add(proof.ReleasedLeaf(o.now, 1, [32]byte{9}, nil))
	}
	if r := o.run("log", "stats"); r.code != 1 || !strings.Contains(r.errs, "entry 8: ") || strings.Contains(r.errs, "entry 28: ") || !strings.Contains(r.errs, ", and ") {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	// It has none where something could not be judged, or not be read.
	unjudged := o.endorse
	o.endorse = nil
	if r := o.run("log", "stats", "--by", "year"); r.code != 1 || !strings.Contains(r.errs, "proof.audit_failed") || r.out != "" {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	o.endorse = unjudged
	// Nor under rules that the log does not hold.
	raw, err := os.ReadFile(o.file)
	next, file := new(policy.Bundle), o.file
	if err == nil {
		err = json.Unmarshal(raw, next)
	}
	if err == nil {
		next.Succeed(o.bundle)
		raw, err = next.Marshal()
	}
	if err != nil {
		t.Fatal(err)
	}
	o.file = filepath.Join(t.TempDir(), "next.json")
	if err := os.WriteFile(o.file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := o.run("log", "stats", "--by", "year"); r.code != 1 || !strings.Contains(r.errs, "proof.audit_failed") || r.out != "" {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	o.file = file
	o.served.bytes([]byte(`{"v":2,"kind":"tomorrow"}`))
	if r := o.run("log", "stats", "--by", "year"); r.code != 1 || !strings.Contains(r.errs, "proof.audit_failed") || r.out != "" {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
}
