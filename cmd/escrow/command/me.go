package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

var errOtherRecord = refusal.New(refusal.Denied, "receipt.other_record",
	"under that pen name the folder opens another record than your receipts name: either it was sealed before or after them, at another enrolment of yours, or it is not yours; show both to your lawyer")

var errNoNames = refusal.New(refusal.Invalid, "receipt.no_pen_names",
	"no record in the folder is one of your receipts, and whether one was put in the place of yours is not known without your pen names: type them, or give them with --names")

func me(p *program) *cobra.Command {
	return group("me", "Check for yourself what Penname says of you, for a person with a pen name", meCheck(p))
}

// signedReceipt is a receipt whose signature holds.
type signedReceipt struct {
	File   string `json:"file"`
	Issuer string `json:"issuer"`
	Day    string `json:"day"`
	Record string `json:"record"`
}

// openedRecord is a pen name that a court file opens.
type openedRecord struct {
	PenName string `json:"pen_name"`
	Record  string `json:"record"`
	Receipt string `json:"receipt,omitempty"` // day of the one that names that record; "": none does
}

// myCheck is what escrow me check found.
type myCheck struct {
	Receipts []signedReceipt `json:"receipts"`
	Opened   []openedRecord  `json:"opened"`          // null: no folder was given
	Others   []string        `json:"opens,omitempty"` // pen names that the folder opens, where none was typed
	Notices  *noticesOf      `json:"notices,omitempty"`
}

func meCheck(p *program) *cobra.Command {
	var f auditFlags
	var receipts []string
	var folder, names string
	c := leaf("check", "Check receipts of your enrolment, and whether a notice concerns your pen names, on your own machine",
		"escrow me check --receipt penname-receipt.jws --bundle bundle.json", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			mine, err := p.myNames(ctx, names)
			if err != nil {
				return err
			}
			switch {
			case len(receipts) == 0 && folder != "":
				return shell.UsageError("--opening is held against --receipt: give it too")
			case len(receipts) == 0 && len(mine) == 0:
				return shell.UsageError("--receipt is needed, or pen names to look for: type them, or give a file that has some with --names")
			}
			var found myCheck
			if found.Receipts, err = p.myReceipts(f.trustFlags, receipts); err != nil {
				return err
			}
			if folder != "" {
				if err := p.myOpening(ctx, f.trustFlags, folder, mine, &found); err != nil {
					return errors.Join(p.print(found, found.String()), err)
				}
			}
			if len(mine) > 0 {
				n, err := p.findNotices(ctx, f, mine)
				if err != nil {
					return err
				}
				found.Notices = &n
			}
			return p.print(found, found.String())
		})
	c.Long = "Checks receipts of your enrolment, and whether a served notice concerns your pen names.\n\n" +
		"A receipt is the file, or the long line, of your own page: it says which sealed record was yours on a day.\n" +
		"--opening is the folder of a court file, as escrow warrant open --out made it: then the record that it opens\n" +
		"under a pen name of yours has to be that of a receipt.\n\n" +
		"Pen names are asked for, or come with --names, one a line, the platform's id behind it or not: so they are\n" +
		"in no history. They do not leave this machine; with pen names the whole public log is audited."
	f.add(c)
	c.Flags().StringArrayVar(&receipts, "receipt", nil, "file with a receipt, or - for the standard input; can be given again")
	c.Flags().StringVar(&folder, "opening", "", "folder of a court file, to hold against the receipts")
	c.Flags().StringVar(&names, "names", "", "file with your pen names, one a line, or -")
	return c
}

// myNames are the pen names that a person types, or that lie in a file.
func (p *program) myNames(ctx context.Context, file string) (all []noticed, err error) {
	if file != "" {
		b, err := p.readFile(file)
		if err != nil {
			return nil, err
		}
		return parseNames(string(document.Typed(b)))
	}
	for p.Terminal && p.Ask != nil {
		text, err := p.Ask(ctx, fmt.Sprintf("Pen name %d of yours, as your page shows it (only Enter: no more)", len(all)+1))
		if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && strings.TrimSpace(text) == "" { // Ctrl-D
			break
		}
		if err != nil {
			return nil, err
		}
		more, err := parseNames(text)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// parseNames reads pen names, one a line. What your page shows has the platform's id behind it,
// which is checked and not needed.
func parseNames(text string) (all []noticed, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		copied, err := token.CopiedPseudonym(words[0])
		if err != nil || len(words) > 2 {
			return nil, errPenName.Because(fmt.Errorf("line %d has to be a pen name, and may have the id of its platform behind it", n))
		}
		all = append(all, noticed{PenName: copied.String(), Platform: strings.Join(words[1:], "")})
	}
	return all, nil
}

// myReceipts verifies receipts by any of the bundles.
func (p *program) myReceipts(f trustFlags, files []string) (all []signedReceipt, err error) {
	bundles, err := f.load(p)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		b, err := p.readFile(file)
		if err != nil {
			return nil, err
		}
		raw := strings.Join(strings.Fields(string(document.Typed(b))), "") // a printed line was broken
		var r token.Receipt
		for _, bundle := range bundles {
			if r, err = bundle.VerifyReceipt(raw); err == nil {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, signedReceipt{file, r.Issuer, r.Day.Format(time.DateOnly), r.Record})
	}
	return all, nil
}

// myOpening holds a court file against the receipts: what it opens under one of the names has
// to be the record of one of them.
func (p *program) myOpening(ctx context.Context, f trustFlags, folder string, names []noticed, found *myCheck) error {
	trusted, err := f.load(p)
	if err != nil {
		return err
	}
	checked, err := checkFile(ctx, requester.OpenCourtFile(folder), trusted...)
	if err != nil {
		return err
	}
	if err := checked.Refused(); err != nil {
		return err
	}
	return found.hold(checked, names)
}

// hold fails with errOtherRecord if a record under one of the names is that of no receipt.
func (m *myCheck) hold(checked *opening.CourtCheck, names []noticed) error {
	mine := map[string]bool{}
	for _, n := range names {
		if copied, err := token.CopiedPseudonym(n.PenName); err == nil {
			mine[copied.String()] = true
		}
	}
	var err error
	m.Opened = []openedRecord{}
	for _, name := range slices.Sorted(maps.Keys(checked.Records)) {
		for _, record := range checked.Records[name] {
			o := openedRecord{PenName: string(name), Record: record}
			for _, r := range m.Receipts {
				if r.Record == record {
					o.Receipt = r.Day
				}
			}
			if o.Receipt == "" && !mine[string(name)] {
				continue // somebody else's
			}
			if m.Opened = append(m.Opened, o); o.Receipt == "" {
				err = errOtherRecord
			}
		}
	}
	if len(m.Opened) == 0 && len(names) == 0 && len(checked.Records) > 0 {
		for _, name := range slices.Sorted(maps.Keys(checked.Records)) {
			m.Others = append(m.Others, string(name))
		}
		return errNoNames
	}
	return err
}

func (m myCheck) String() string {
	var lines []string
	for _, r := range m.Receipts {
		lines = append(lines, fmt.Sprintf("the receipt holds: on %s %s signed that this sealed record was its holder's\n  %s", r.Day, r.Issuer, r.Record))
	}
	for _, o := range m.Opened {
		says := "the record of your receipt of " + o.Receipt
		if o.Receipt == "" {
			says = "a record that no receipt of yours names"
		}
		lines = append(lines, fmt.Sprintf("opened under %s: %s", o.PenName, says))
	}
	if len(m.Others) > 0 {
		lines = append(lines, "the folder opens: "+strings.Join(m.Others, ", "))
	} else if m.Opened != nil && len(m.Opened) == 0 {
		lines = append(lines, "the folder opens none of the records that your receipts name, and none of the pen names that you typed")
	}
	if m.Notices != nil {
		for _, of := range m.Notices.Names {
			lines = append(lines, of.PenName+": "+m.Notices.text(of))
		}
		lines = append(lines, fmt.Sprintf("in the log of %v", m.Notices.seen))
	}
	return strings.Join(lines, "\n")
}
