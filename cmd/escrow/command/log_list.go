package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/verifier/proof"
)

// readFlags are what reads the log without judging it.
type readFlags struct {
	trustFlags
	mirror string
}

func (f *readFlags) add(c *cobra.Command) {
	f.trustFlags.add(c)
	c.Flags().StringVar(&f.mirror, "mirror", "", "folder of a mirror to read instead of the server")
	c.MarkFlagDirname("mirror") //nolint:errcheck // it exists
}

// openLog is a tree of the log that a quorum cosigned, and what reads it.
type openLog struct {
	*proof.Log
	torchwood.Checkpoint
	signed   []byte
	cosigned time.Time
	tiles    torchwood.TileReader
}

// open reads and checks the newest checkpoint. One that a server shows must be fresh; a
// mirror is as old as it is, which [openLog.String] says.
func (f *readFlags) open(ctx context.Context, p *program) (*openLog, error) {
	bundles, err := f.load(p)
	if err != nil {
		return nil, err
	}
	age := maxAge
	if f.mirror != "" {
		age = 0
	}
	o := new(openLog)
	if o.Log, err = p.logOf(ctx, bundles[0], f.mirror, age); err != nil {
		return nil, err
	}
	if o.tiles, err = tiles(p, f.mirror); err != nil {
		return nil, err
	}
	if o.signed, err = o.tiles.ReadEndpoint(ctx, "checkpoint"); err != nil {
		return nil, proof.ErrFetch.Because(err)
	}
	o.Checkpoint, err = o.OpenCheckpoint(o.signed)
	if err == nil && age > 0 {
		_, err = o.OpenFresh(o.signed, p.Now(), age)
	}
	if err == nil {
		o.cosigned, err = o.CosignedAt(o.signed, p.Now())
	}
	return o, err
}

func (o *openLog) String() string {
	return fmt.Sprintf("%s, %v", o.Checkpoint.Origin, proof.Seen{Size: o.N, At: o.cosigned})
}

// listedEntry is what --json prints of an entry.
type listedEntry struct {
	Entry int64       `json:"entry"`
	Day   string      `json:"day,omitempty"`
	Kind  proof.Kind  `json:"kind,omitempty"`
	Words string      `json:"words"`
	Leaf  *proof.Leaf `json:"leaf,omitempty"` // absent: this program cannot read it
}

// unreadable is what is said of an entry that a newer program may have written.
const unreadable = "This program cannot read this entry: a newer one may have written it."

func listed(index int64, l *proof.Leaf) listedEntry {
	if l == nil {
		return listedEntry{Entry: index, Words: unreadable}
	}
	return listedEntry{index, l.Day, l.Kind, l.Words(), l}
}

// entryFilter is which entries are listed.
type entryFilter struct {
	day, from, to, kind, jurisdiction, offenceClass string
	of                                              int64 // case; -1: any

	cases map[int64]bool // of the jurisdiction and offence class asked for
}

func (f *entryFilter) add(c *cobra.Command) {
	c.Flags().StringVar(&f.day, "day", "", "only of this day (UTC), as 2026-11-21")
	c.Flags().StringVar(&f.from, "from", "", "only of this day (UTC) or later")
	c.Flags().StringVar(&f.to, "to", "", "only of this day (UTC) or earlier")
	var kinds []string
	for _, k := range proof.Kinds() {
		kinds = append(kinds, string(k))
	}
	c.Flags().StringVar(&f.kind, "kind", "", "only of this kind: "+strings.Join(kinds, ", "))
	c.Flags().StringVar(&f.jurisdiction, "jurisdiction", "", "only of cases of this jurisdiction, as GB or GB-SCT")
	c.Flags().StringVar(&f.offenceClass, "offence-class", "", "only of cases of this class of offences, a word of the rules")
	c.Flags().Int64Var(&f.of, "case", -1, "only of this case: the number of the entry that opened it")
	c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // it exists
}

func (f *entryFilter) check() error {
	for _, d := range [][2]string{{"day", f.day}, {"from", f.from}, {"to", f.to}} {
		if _, err := time.Parse(time.DateOnly, d[1]); d[1] != "" && err != nil {
			return shell.UsageError("--%s takes a day like 2026-11-21", d[0])
		}
	}
	if f.day != "" && f.from+f.to != "" {
		return shell.UsageError("--day is one day, --from and --to are several: choose one")
	}
	if f.from != "" && f.to != "" && f.to < f.from {
		return shell.UsageError("--to is before --from: no day is both")
	}
	if f.kind != "" && !slices.Contains(proof.Kinds(), proof.Kind(f.kind)) {
		return shell.UsageError("there is no entry of kind %q: --help lists them", f.kind)
	}
	f.cases = make(map[int64]bool)
	return nil
}

// takes reports whether an entry is listed. It is asked about every entry, in order: those
// of a case are of the jurisdiction and class that its first entry says. A warrant that was
// not accepted says no class.
func (f *entryFilter) takes(index int64, l *proof.Leaf) bool {
	if l == nil {
		return f.day+f.from+f.to+f.kind+f.jurisdiction+f.offenceClass == "" && f.of < 0
	}
	said := (f.jurisdiction == "" || l.Jurisdiction == f.jurisdiction) && (f.offenceClass == "" || l.OffenceClass == f.offenceClass)
	if f.jurisdiction+f.offenceClass != "" && l.Case != nil && f.cases[*l.Case] {
		said = true
	}
	if said && l.Kind == proof.KindRecorded && f.jurisdiction+f.offenceClass != "" {
		f.cases[index] = true
	}
	return said && (f.day == "" || l.Day == f.day) && (f.from == "" || l.Day >= f.from) && (f.to == "" || l.Day <= f.to) &&
		(f.kind == "" || string(l.Kind) == f.kind) && (f.of < 0 || index == f.of || l.Case != nil && *l.Case == f.of)
}

func logList(p *program) *cobra.Command {
	var read readFlags
	var filter entryFilter
	c := leaf("list", "List the entries of the public log: number, day, kind, and what each says in words",
		"escrow log list --bundle bundle.json --from 2026-11-01 --kind lapsed", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := filter.check(); err != nil {
				return err
			}
			o, err := read.open(ctx, p)
			if err != nil {
				return err
			}
			return p.list(ctx, o, &filter)
		})
	c.Long = "Lists the entries of the public log, or those of days, a kind, a jurisdiction, a class\n" +
		"of offences or a case, as far as the log says them.\n\n" +
		"Each entry was verified against the newest checkpoint, which a quorum of witnesses\n" +
		"cosigned, before it is shown. Whether what it says went by the rules is for\n" +
		"escrow log audit. An entry that cannot be verified ends the list with exit code 1;\n" +
		"what was shown before it is right, and JSON is then not whole."
	read.add(c)
	filter.add(c)
	return c
}

// list prints entries as they are verified: a log can be larger than this machine's memory.
func (p *program) list(ctx context.Context, o *openLog, filter *entryFilter) error {
	w := bufio.NewWriterSize(p.Stdout, 64<<10)
	n := 0
	if p.json {
		fmt.Fprintf(w, "{\n  \"origin\": %q,\n  \"size\": %d,\n  \"root\": %q,\n  \"cosigned\": %q,\n  \"entries\": [", o.Checkpoint.Origin, o.N, o.Hash, o.cosigned.UTC().Format(time.RFC3339))
	}
	err := proof.EachEntry(ctx, o.tiles, o.Tree, 0, func(index int64, l *proof.Leaf) error {
		if !filter.takes(index, l) {
			return nil
		}
		n++
		e := listed(index, l)
		if !p.json {
			_, err := fmt.Fprintf(w, "%8d  %-10s  %-10s  %s\n", e.Entry, e.Day, e.Kind, e.Words)
			return err
		}
		raw, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if n > 1 {
			w.WriteByte(',') //nolint:errcheck // the next write tells
		}
		_, err = fmt.Fprintf(w, "\n    %s", raw)
		return err
	})
	switch {
	case err != nil:
	case p.json:
		_, err = w.WriteString("\n  ]\n}\n")
	case n == 0:
		_, err = fmt.Fprintf(w, "no such entry in the log of %v\n", o)
	default:
		_, err = fmt.Fprintf(w, "%d of the entries of %v\n", n, o)
	}
	return errors.Join(err, w.Flush())
}
