package command

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/rules"
)

// logStatistics prints the statistics of whole years, or counts by month or year, which an
// audit recomputes.
func logStatistics(p *program) *cobra.Command {
	var f auditFlags
	var year int
	var asCSV bool
	var by string
	c := leaf("statistics", "Recompute the statistics of a year from the public log, as Regulation (EU) 2023/1543, Art. 28, wants them",
		"escrow log statistics --bundle bundle.json --year 2026 --csv", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if asCSV && p.json {
				return shell.UsageError("--csv and --json are two forms: choose one")
			}
			if by != "" && by != byMonth && by != byYear {
				return shell.UsageError("--by is %s or %s", byYear, byMonth)
			}
			report, refused := audit(ctx, p, f)
			if refused != nil && !countable(report, refused) {
				return refused
			}
			var err error
			if by != "" {
				err = p.periods(report, by, year, asCSV)
			} else {
				err = p.years(report, year, asCSV)
			}
			if err != nil || refused == nil {
				return err
			}
			return findingsOf(report)
		})
	c.Aliases = []string{"stats"}
	c.Long = "Recomputes statistics from the public log, after an audit of all of it.\n\n" +
		"Without --by they are those of whole years in the form of Regulation (EU) 2023/1543,\n" +
		"Art. 28: what became of the orders, with no number that is so small that it names a\n" +
		"case. With --by year or --by month they count the entries as they stand in the log,\n" +
		"one by one, small numbers too. They are refused (proof.sums_differ) if they do not add\n" +
		"up to what the audit counted case by case.\n\n" +
		"A log that breaks a rule has its numbers, too: they are printed, the standard error names\n" +
		"the entries, and the exit code is 1. Where something could not be judged, nothing is\n" +
		"printed."
	c.Example += "\n  escrow log stats --bundle bundle.json --by month --csv"
	f.add(c)
	c.Flags().StringVar(&by, "by", "", "count entries by year or month")
	c.RegisterFlagCompletionFunc("by", cobra.FixedCompletions([]string{byMonth, byYear}, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // it exists
	c.Flags().IntVar(&year, "year", 0, "the year (UTC); 0: all")
	c.Flags().BoolVar(&asCSV, "csv", false, "print a table of comma-separated values")
	return c
}

// countable reports whether the numbers of a log can be told though an audit refused it: it found
// what breaks rules, but judged all of it, and the numbers add up.
func countable(report *proof.Report, refused error) bool {
	return errors.Is(refused, proof.ErrAudit) && !errors.Is(refused, rules.ErrNotInLog) &&
		!slices.ContainsFunc(report.Findings, func(f proof.Finding) bool { return !f.Accuses() }) && report.AddUp(report.Periods.Months()) == nil
}

// mostFindings is how many are named; escrow log audit counts them all.
const mostFindings = 20

// findingsOf is what is said beside numbers of a log that breaks rules.
func findingsOf(report *proof.Report) error {
	var named []string
	for _, f := range report.Findings[:min(len(report.Findings), mostFindings)] {
		named = append(named, fmt.Sprintf("entry %d: %s", f.Index, f.Code))
	}
	if more := len(report.Findings) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return &registrar.Problem{Code: proof.ErrAudit.Code, Title: "The log is authentic but records something that the rules forbid. The numbers count it, as they count everything: " + strings.Join(named, ", ")}
}

// What --by takes.
const byMonth, byYear = "month", "year"

// periods prints what the entries say, counted by month or year.
func (p *program) periods(report *proof.Report, by string, year int, asCSV bool) error {
	periods := report.Periods.Years()
	if by == byMonth {
		periods = report.Periods.Months()
	}
	if err := report.AddUp(periods); err != nil {
		return err
	}
	periods = slices.DeleteFunc(periods, func(of proof.Period) bool { return year != 0 && !strings.HasPrefix(of.Name, strconv.Itoa(year)) })
	text, err := periodsText(report, periods, asCSV)
	if err != nil {
		return err
	}
	return p.print(countedPeriods{Addressee: report.Checkpoint.Origin, Size: report.Checkpoint.N, By: by, Periods: append([]proof.Period{}, periods...)}, text)
}

// years prints what became of the orders of whole years.
func (p *program) years(report *proof.Report, year int, asCSV bool) error {
	years := slices.DeleteFunc(report.Years, func(y proof.Year) bool { return year != 0 && y.Year != year })
	text, err := yearsText(report, years, asCSV)
	if err != nil {
		return err
	}
	return p.print(struct {
		Addressee string       `json:"addressee"`
		Years     []proof.Year `json:"years"`
	}{report.Checkpoint.Origin, append([]proof.Year{}, years...)}, text)
}

func periodsText(report *proof.Report, periods []proof.Period, asCSV bool) (string, error) {
	var b bytes.Buffer
	if asCSV {
		w := csv.NewWriter(&b)
		err := w.Write(append([]string{"addressee"}, proof.PeriodHeader...))
		for _, of := range periods {
			for _, row := range of.Records() {
				err = errors.Join(err, w.Write(append([]string{report.Checkpoint.Origin}, row...)))
			}
		}
		w.Flush()
		return b.String(), errors.Join(err, w.Error())
	}
	fmt.Fprintf(&b, "addressee   %s\n", report.Checkpoint.Origin)
	for _, of := range periods {
		fmt.Fprintf(&b, "%s\n", of.Name)
		for _, row := range of.Records() {
			fmt.Fprintf(&b, "  %-16s%8s  %s\n", row[1], row[3], row[2])
		}
	}
	fmt.Fprintf(&b, "from the log of %v; the numbers add up to those of its audit\n", report.Seen())
	return b.String(), nil
}

func yearsText(report *proof.Report, years []proof.Year, asCSV bool) (string, error) {
	var b bytes.Buffer
	if !asCSV {
		fmt.Fprintf(&b, "addressee   %s\n", report.Checkpoint.Origin)
		for _, y := range years {
			b.WriteString(y.String())
		}
		return b.String(), nil
	}
	w := csv.NewWriter(&b)
	err := w.Write(append([]string{"addressee"}, proof.AnnualHeader...))
	for _, y := range years {
		for _, row := range y.Records() {
			err = errors.Join(err, w.Write(append([]string{report.Checkpoint.Origin}, row...)))
		}
	}
	w.Flush()
	return b.String(), errors.Join(err, w.Error())
}
