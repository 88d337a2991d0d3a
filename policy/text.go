package policy

import (
	"regexp"
	"time"
)

var (
	idPattern           = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?$`)
	warrantIDPattern    = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?$`)
	wordPattern         = regexp.MustCompile(`^[a-z][a-z0-9]*([._-][a-z0-9]+)*$`)
	hashPattern         = regexp.MustCompile(`^[0-9a-f]{64}$`)
	countryPattern      = regexp.MustCompile(`^[A-Z]{2}$`) // ISO 3166-1 alpha-2
	tellingPattern      = regexp.MustCompile(`[0-9]{4}|pen1`)
	jurisdictionPattern = regexp.MustCompile(`^[A-Z]{2}(-[A-Z0-9]{1,3})?$`) // ISO 3166-1 alpha-2, or 3166-2
)

// word reports whether s may stand in the public log as the name of a custodian,
// an offence class or a reason: verifier/proof refuses to log anything else, so a
// case with another name could never be filed. Four digits in a row could be a
// date of birth, and pen1 begins a pen name.
func word(s string) bool {
	return len(s) <= 64 && wordPattern.MatchString(s) && !tellingPattern.MatchString(s)
}

// seconds is the normal form of a time in a document.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// plausible reports whether t can stand in a document: RFC 3339 has four digits
// for the year.
func plausible(t time.Time) bool { return t.Year() >= 2000 && t.Year() <= 9999 }
