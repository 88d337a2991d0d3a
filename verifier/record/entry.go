package record

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// ErrEntryFile is of a file that is not the text of an entry.
var ErrEntryFile = refusal.New(refusal.Invalid, "record.bad_entry_file",
	"the file is not an entry of the public record with its whole proof: save the two texts that the entry's page names, one behind the other, whole and unchanged")

// unprintable begins the line of an entry that is no line of text.
const unprintable = "base64:"

// EntryText is an entry with its proof, as one text: the entry on a line of its own, as the log
// has it or, behind "base64:", in that encoding (RFC 4648, 4) if it is no line of text; an empty
// line; and the proof, c2sp.org/tlog-proof@v1. [ParseEntryText] reads it. The record gives it out
// in two parts, which stand one behind the other: entries/N.txt has the entry and the beginning of
// its proof, and proofs/N.txt what ends it, which is that of 256 entries.
func EntryText(p proof.Proven) []byte {
	line := string(p.Leaf)
	if !isLine(p.Leaf) {
		line = unprintable + base64.StdEncoding.EncodeToString(p.Leaf)
	}
	return fmt.Appendf(nil, "%s\n\n%s", line, p.Proof)
}

// isLine reports whether an entry can stand on a line of its own. It is judged by its bytes
// alone: a program that does not know its kind writes the same.
func isLine(leaf []byte) bool {
	return len(leaf) > 0 && utf8.Valid(leaf) && !bytes.HasPrefix(leaf, []byte(unprintable)) && !bytes.ContainsFunc(leaf, unicode.IsControl)
}

// ParseEntryText reads what [EntryText] writes. It checks neither the entry nor the proof: that
// is for [proof.Log.VerifyProof]. It fails with [ErrEntryFile].
func ParseEntryText(text []byte) (p proof.Proven, err error) {
	line, rest, ok := bytes.Cut(text, []byte("\n\n"))
	if !ok || len(text) > proof.MaxLeaf*3/2+2*proof.MaxCheckpoint {
		return p, ErrEntryFile
	}
	p = proof.Proven{Leaf: line, Proof: rest}
	if !bytes.Contains(rest, []byte("\n\n")) {
		return p, ErrEntryFile.Because(errors.New("the second part of its proof is not there"))
	}
	if encoded, ok := bytes.CutPrefix(line, []byte(unprintable)); ok {
		if p.Leaf, err = base64.StdEncoding.DecodeString(string(encoded)); err != nil {
			return proof.Proven{}, ErrEntryFile
		}
		if base64.StdEncoding.EncodeToString(p.Leaf) != string(encoded) {
			return proof.Proven{}, ErrEntryFile
		}
	} else if !isLine(line) {
		return proof.Proven{}, ErrEntryFile
	}
	return p, nil
}

// proofAddress is that of the second part of the proof of an entry.
func proofAddress(n int64) string { return fmt.Sprintf("proofs/%d.txt", n/proof.RangeWidth) }

func (x *index) entryText(n int64, p proof.Proven) (Page, error) {
	page := Page{Type: typeText, Body: EntryText(p), Lasts: Newest}
	if x.settled(n) {
		page.Lasts = Forever
	}
	return page, nil
}

// settled reports whether the range of an entry is full.
func (x *index) settled(n int64) bool { return n/proof.RangeWidth < x.ranges.Full() }

// proofPage is the second part of the proofs of a range's entries.
func (x *index) proofPage(name string) (Page, error) {
	n, ok := ordinal(name)
	if !ok || n >= x.ranges.Count() {
		return Page{}, ErrNoPage
	}
	rest, err := x.ranges.Rest(n)
	page := Page{Type: typeText, Body: rest}
	if n >= x.ranges.Full() {
		page.Lasts = Newest
	}
	return page, err
}

// entry is the page of one.
type entry struct {
	frame
	N           int64
	Day, Words  string
	Code        string // that the words mean, or ""
	Facts       []proof.Fact
	More        int // facts that are not shown
	Case, Rules string
	Platform    bool
	Findings    []meaning
	Before      string // the entry before, or ""
	After       string
	Raw         string // "": too long for a page
	Size        int
	Proof       string // address of the second part of its proof
	Registrar   string
}

// How much of an entry its page shows.
const (
	maxFacts   = 24
	maxFact    = 400
	maxRaw     = 2_400
	maxSigned  = 4_000 // of a checkpoint, on its page
	maxRecords = 9_000 // bytes of what a page with parts shows in one
)

func (x *index) entryPage(n int64, p proof.Proven) (Page, error) {
	e := entry{frame: x.frame(fmt.Sprintf("entries/%d.html", n), x.say("Entry %s", strconv.FormatInt(n, 10))), N: n, Registrar: x.registrar(), Size: len(p.Leaf), Proof: proofAddress(n)}
	for _, code := range x.found[n] {
		e.Findings = append(e.Findings, x.finding(code))
	}
	l, err := proof.ParseLeaf(p.Leaf)
	raw := string(p.Leaf)
	if err != nil {
		e.Words = x.say("This program cannot read this entry. A newer one may have written it; an audit says more.")
		raw = strconv.QuoteToASCII(raw)
	} else {
		m := x.records(l)
		e.Day, e.Words, e.Code = l.Day, m.Words, m.Code
		for _, f := range l.FactsIn(x.say) {
			f.Text = cut(f.Text, maxFact)
			e.Facts = append(e.Facts, f)
		}
	}
	if len(raw) <= maxRaw {
		e.Raw = raw
	}
	if len(e.Facts) > maxFacts {
		e.Facts, e.More = e.Facts[:maxFacts], len(e.Facts)-maxFacts
	}
	switch {
	case l.Kind == proof.KindRecorded:
		e.Case = strconv.FormatInt(n, 10)
	case l.Case != nil && *l.Case < n && x.recorded(*l.Case):
		e.Case = strconv.FormatInt(*l.Case, 10)
	}
	if at := x.bundle(l.Bundle); at > 0 && x.bundles[at-1].leaf <= n {
		e.Rules = strconv.Itoa(at)
	}
	_, e.Platform = x.platform(n)
	if n > 0 {
		e.Before = strconv.FormatInt(n-1, 10)
	}
	if n+1 < x.N {
		e.After = strconv.FormatInt(n+1, 10)
	}
	page, err := x.render("entry", e)
	if x.settled(n) && e.After != "" {
		page.Lasts = Long
	}
	return page, err
}

// recorded reports whether an entry began a case.
func (x *index) recorded(n int64) bool {
	return n >= 0 && n < int64(len(x.rows)) && x.words[x.rows[n].kind] == string(proof.KindRecorded)
}

// timeline is the page of a case.
type timeline struct {
	frame
	N             int64
	Words, Of     string
	About         string // the earlier case that it is about, or ""
	Items         []item
	Before, After string
	Named         bool   // it names persons
	Noticed       string // the entry that opened the commitments, or ""
	Deadlines     []string
}

func (x *index) casePage(name string, part int) (Page, error) {
	n, ok := ordinal(name)
	if !ok || !x.recorded(n) {
		return Page{}, ErrNoPage
	}
	some, at, parts, ok := parted(x.cases[n], perPage, part)
	if !ok {
		return Page{}, ErrNoPage
	}
	first := x.item(n)
	path := "cases/" + name
	c := timeline{frame: x.frame(path+".html", x.say("Case %s", name)), N: n, Words: first.Words, Of: first.Of, Named: x.rows[n].targets > 0}
	if of := x.rows[n].of; of >= 0 && of != n && x.recorded(of) {
		c.About = strconv.FormatInt(of, 10)
	}
	for _, of := range some {
		i := x.item(int64(of))
		if i.Case == name {
			i.Case = "" // this page
		}
		c.Items = append(c.Items, i)
	}
	for _, of := range x.cases[n] {
		if x.words[x.rows[of].kind] == string(proof.KindNoticed) {
			c.Noticed = strconv.FormatInt(int64(of), 10)
		}
	}
	if c.Before, c.After = around(path, at, parts); at > 1 {
		c.part(x, at)
	}
	for _, d := range x.missed[n] {
		c.Deadlines = append(c.Deadlines, x.missedWords(d))
	}
	return x.render("case", c)
}

// due are the words for a deadline that passed, by what it was of.
var due = map[string]string{
	proof.DeadlineNotice:     "The persons were to be told by %s.",
	proof.DeadlineValidation: "A judge was to confirm the emergency, or it to lapse, by %s.",
	proof.DeadlineTold:       "The persons were to be told, before anything is opened, by %s.",
	proof.DeadlineExpiry:     "The records were to be kept until %s.",
}

func (x *index) missedWords(d proof.Deadline) string { return x.say(due[d.What], d.Due) }
