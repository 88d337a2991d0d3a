package command

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/verifier/proof"
)

// logStatistics prints the statistics of whole years, which an audit recomputes.
func logStatistics(p *program) *cobra.Command {
	var f auditFlags
	var year int
	var asCSV bool
	c := leaf("statistics", "Recompute the statistics of a year from the public log, as Regulation (EU) 2023/1543, Art. 28, wants them",
		"escrow log statistics --bundle bundle.json --year 2026 --csv", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if asCSV && p.json {
				return shell.UsageError("--csv and --json are two forms: choose one")
			}
			report, err := audit(ctx, p, f)
			if err != nil {
				return err
			}
			years := slices.DeleteFunc(report.Years, func(y proof.Year) bool { return year != 0 && y.Year != year })
			text, err := yearsText(report, years, asCSV)
			if err != nil {
				return err
			}
			return p.print(struct {
				Addressee string       `json:"addressee"`
				Years     []proof.Year `json:"years"`
			}{report.Checkpoint.Origin, append([]proof.Year{}, years...)}, text)
		})
	f.add(c)
	c.Flags().IntVar(&year, "year", 0, "the year (UTC); 0: all")
	c.Flags().BoolVar(&asCSV, "csv", false, "print a table of comma-separated values")
	return c
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
