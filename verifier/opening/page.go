package opening

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/penname/penname/verifier/document"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"short": short,
	"join":  func(all []string) string { return strings.Join(all, ", ") },
	"more":  func(n, shown int) int { return n - shown },
	"day":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"time":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
}).Parse(pageText))

// How much of one person is on the page: what it says of each is bounded too, by [short], so
// that a person has one page of A4.
const (
	shownPosts  = 2
	shownFields = 6
)

// short is the beginning of a text on one line, as wide as n small letters at most.
func short(s string, n int) string {
	s = strings.Join(strings.Fields(document.Visible(s)), " ")
	wide := 0.0
	for i, r := range s {
		switch {
		case r >= 0x1100 || strings.ContainsRune("WMwm@%", r):
			wide += 2
		case unicode.IsUpper(r) || r > unicode.MaxASCII:
			wide += 1.4
		default:
			wide++
		}
		if wide > float64(n) {
			return s[:i] + "…"
		}
	}
	return s
}

type page struct {
	CourtCertificate
	People     []pagePerson
	RuleTitles string
	Known      []string
}

type pagePerson struct {
	Person
	Fields                []pageField
	Shown                 []pagePost
	Who                   string
	DecidedAt, ReleasedAt int64
	PackageHash           string
}

type pageField struct{ Name, Value string }

type pagePost struct{ At, URL, Text, Proof, Evidence, Exhibits string }

// page renders the certificate of those persons, as a page without scripts that needs nothing
// else and prints to one A4 sheet for each.
func (s CourtCertificate) page(persons ...Person) ([]byte, error) {
	view := page{CourtCertificate: s}
	var titles []string
	for _, r := range s.Rules {
		titles = append(titles, r.Title)
	}
	view.RuleTitles = strings.Join(titles, "; ")
	for _, said := range s.Proofs.Stolen {
		view.Known = append(view.Known, "Stolen key: "+said)
	}
	for _, said := range s.Proofs.BadShares {
		view.Known = append(view.Known, "Signed for a wrong share, says the requester: "+said)
	}
	if n := len(view.Known); n > 1 {
		view.Known = []string{fmt.Sprintf("%d warnings, in certificate.json, of which the first: %s", n, view.Known[0])}
	}
	for _, p := range persons {
		view.People = append(view.People, s.pagePerson(p))
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, view)
	return b.Bytes(), err
}

func (s CourtCertificate) pagePerson(p Person) pagePerson {
	v := pagePerson{Person: p, Who: s.names(p.Custodians), DecidedAt: p.Authorised, ReleasedAt: p.Released, PackageHash: p.Package}
	if p.Package == "" { // of before targets were decided one by one, or not released
		v.DecidedAt, v.ReleasedAt, v.PackageHash = s.Proofs.Authorised, s.Proofs.Released, s.Proofs.Package
		if p.IsOpened() {
			v.Who = s.names(s.Proofs.Custodians)
		}
	}
	names := p.fields()
	for _, name := range names[:min(len(names), shownFields)] {
		v.Fields = append(v.Fields, pageField{name, p.Identity[name]})
	}
	for i, post := range p.Posts[:min(len(p.Posts), shownPosts)] {
		shown := pagePost{At: post.At.UTC().Format("2006-01-02 15:04:05 UTC"), URL: post.URL, Proof: post.proof(), Evidence: p.Words[i].Evidence}
		if shown.Text = p.Words[i].Text; p.Words[i].Description != "" {
			shown.Text = "Described by the court, since nobody may copy it: " + p.Words[i].Description
		}
		if shown.Text == "" && len(post.Exhibits) > 0 {
			x := post.Exhibits[0]
			shown.Text = fmt.Sprintf("%s, %d bytes, sha256 %s", x.Type, x.Length, x.SHA256)
		}
		if n := len(post.Exhibits); n > 1 {
			shown.Exhibits = fmt.Sprintf("; %d exhibits", n)
		}
		v.Shown = append(v.Shown, shown)
	}
	return v
}

// fields are the names of what was opened, the person's name first.
func (p Person) fields() []string {
	names := slices.Sorted(maps.Keys(p.Identity))
	if i := slices.Index(names, "name"); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "name")
	}
	return names
}

// proof says on whose word it rests who made a post.
func (p CertifiedPost) proof() string {
	if p.ProvenByKey {
		return "proven by its author's key"
	}
	return "the platform's word alone"
}

// results is a table for spreadsheets (RFC 4180): a row for each target.
func (s CourtCertificate) results() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	fields := slices.Clone(s.Fields)
	rows := [][]string{append([]string{"number", "pen_name", "platform", "role", "opened", "why_not", "code"}, append(fields,
		"linked", "posts", "first_post", "first_post_at", "on_whose_word", "evidence_sha256", "recorded", "decided", "released", "agreed")...)}
	for _, p := range s.Persons {
		v := s.pagePerson(p)
		row := []string{strconv.Itoa(p.Number), string(p.PenName), p.Platform, p.Role, map[bool]string{true: "yes", false: "no"}[p.IsOpened()], p.Why, p.Refused}
		for _, f := range fields {
			row = append(row, p.Identity[f])
		}
		var linked []string
		for _, l := range p.Linked {
			linked = append(linked, fmt.Sprintf("%s on %s", l.PenName, strings.Join(l.Platforms, " and ")))
		}
		first := pagePost{}
		if len(v.Shown) > 0 {
			first = v.Shown[0]
		}
		decided, released := "", ""
		if p.IsOpened() {
			decided, released = strconv.FormatInt(v.DecidedAt, 10), strconv.FormatInt(v.ReleasedAt, 10)
		}
		rows = append(rows, append(row, strings.Join(linked, "; "), strconv.Itoa(len(p.Posts)), first.URL, first.At, first.Proof, first.Evidence,
			strconv.FormatInt(s.Proofs.Recorded, 10), decided, released, v.Who))
	}
	for _, row := range rows {
		for i := range row {
			row[i] = cell(row[i])
		}
	}
	err := w.WriteAll(rows)
	return b.Bytes(), err
}

// cell keeps a spreadsheet from taking a text for a formula, whose first character says so
// (OWASP, CSV Injection), or in another width; and shows what hides in it.
func cell(s string) string {
	s = document.Visible(s)
	if strings.ContainsAny(firstOf(strings.TrimLeft(s, " \u00a0")), "=+-@\t\r\n＝＋－＠") {
		return "'" + s
	}
	return s
}

func firstOf(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}

// derived are the files of the folder that say again what the certificate says, by name: the
// page, the table, and a sheet for each suspect who was opened. signed is the certificate with
// its signature, "" without.
func (s CourtCertificate) derived(signed string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	canonical, err := s.marshal()
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	if err := json.Indent(&said, canonical, "", "  "); err != nil {
		return nil, err
	}
	files[FileStatement] = append(said.Bytes(), '\n')
	if signed != "" {
		files[FileSigned] = []byte(signed + "\n")
	}
	if files[FilePage], err = s.page(s.Persons...); err != nil {
		return nil, err
	}
	if files[resultsFile], err = s.results(); err != nil {
		return nil, err
	}
	for _, p := range s.Persons {
		if !p.IsOpened() || p.Role != "" {
			continue
		}
		if files[fmt.Sprintf("%s/%03d-%s.html", suspectsFolder, p.Number, p.PenName)], err = s.page(p); err != nil {
			return nil, err
		}
	}
	return files, nil
}
