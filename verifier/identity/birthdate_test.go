package identity

import (
	"testing"
	"time"
)

// S1: a birth date is a day of the calendar that a person alive can be born on.
func TestFoundS1BirthdatesAreDates(t *testing.T) {
	now := time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC)
	for s, want := range map[string]bool{
		"1980-02-29": true, "2000-02-29": true, "1900-01-01": true, "1980": true, "0000-02-29": true, "0000-12-31": true, "2026-11-29": true, "2026": true,
		"1990-02-30": false, "1981-02-29": false, "1900-02-29": false, "1980-04-31": false, "0000-02-30": false,
		"2999-01-01": false, "2026-11-30": false, "2027": false, "1899-12-31": false, "1899": false, "0000": false, "0001-01-01": false,
		"1980-13-01": false, "1980-00-01": false, "1980-1-1": false, "80-01-01": false, "1980-02": false, "yesterday": false, "1980-02-29Z": false, " 1980": false, "": false, "-001": false,
	} {
		if isBirthdate(s, now) != want {
			t.Errorf("%q: want %v", s, want)
		}
	}
}
