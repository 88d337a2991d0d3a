package command

import (
	"strings"
	"testing"

	"filippo.io/torchwood"

	"github.com/penname/penname/verifier/proof"
)

// The statistics of a year in words and as a table that a spreadsheet reads: a number
// that is too small is not told in either.
func TestLogStatisticsTexts(t *testing.T) {
	report := &proof.Report{Checkpoint: torchwood.Checkpoint{Origin: "log.example/penname"}}
	years := []proof.Year{{Year: 2025, Under: 5,
		Orders:  []proof.AnnualRow{{Kind: proof.Emergency, Data: proof.DataSubscriber, Outcome: "complied", Count: 7, Hours: 2.25}},
		Refused: []proof.AnnualRow{{Outcome: proof.AnnualOther}}}}
	for asCSV, want := range map[bool]string{
		false: "addressee   log.example/penname\nyear        2025\n  orders         7  emergency subscriber complied, in 2.2 hours on average\n  refused       <5  other\n",
		true: "addressee," + strings.Join(proof.AnnualHeader, ",") + "\n" +
			"log.example/penname,2025,false,orders,emergency,subscriber,false,complied,false,7,2.2\n" +
			"log.example/penname,2025,false,refused,,,false,other,false,<5,\n",
	} {
		if got, err := yearsText(report, years, asCSV); err != nil || got != want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, want)
		}
	}
	if r := run(t, nil, "log", "statistics", "--bundle", newSigningLog(t).bundle, "--csv", "--json"); r.code != 2 {
		t.Errorf("two forms at once: %d %s", r.code, r.errs)
	}
}
