package opening

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

// Each person has one sheet of A4 when the page is printed, however much there is to say.
func TestFoundM7OneSheetForEachPerson(t *testing.T) {
	i := slices.IndexFunc([]string{"chromium-headless-shell", "chromium"}, func(name string) bool { _, err := exec.LookPath(name); return err == nil })
	if i < 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("no Chromium")
		}
		t.Skip("no Chromium to print with")
	}
	for name, letters := range map[string]string{"little": "", "wide": "W", "words": "mm ", "CJK": "漢", "lines": "\n a"} {
		t.Run(name, func(t *testing.T) {
			s := muchToSay(letters)
			page, err := s.page(s.Persons...)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			html, pdf := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.pdf")
			if err := os.WriteFile(html, page, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), []string{"chromium-headless-shell", "chromium"}[i], "--no-sandbox", "--headless", "--disable-gpu",
				"--no-pdf-header-footer", "--user-data-dir="+dir, "--print-to-pdf="+pdf, html).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			printed, err := os.ReadFile(pdf)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(printed, []byte("/Type /Page\n")); n != len(s.Persons) {
				t.Errorf("%d sheets for %d persons", n, len(s.Persons))
			}
		})
	}
}

// muchToSay is a certificate that is as long as it can be, of those letters; short if there
// are none.
func muchToSay(letters string) CourtCertificate {
	say := func(text string, n int) string {
		if letters == "" {
			return text
		}
		return strings.Repeat(letters, n)
	}
	digest, at := strings.Repeat("db708c87", 8), time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	s := CourtCertificate{Case: "ayajv7klfmjqqaymngz2coqv4m", Made: at, By: "court", Court: "court", CourtName: say("Thornley County Court", 200), Place: "GB",
		FileNumber: say("TC 118 of 2026", 200), LegalBasis: say("Investigatory Powers Act 2016, Part 3", 4000), Offence: say("Threats to kill", 200), Statute: say("OAPA 1861, s. 16", 200),
		Grounds: say("The post in evidence.", 4000), Requester: say("DS R. Amari", 200), For: say("Thornley Police", 200), Fields: []string{"name", "address", say("email", 200)},
		Issued: at, Recorded: "2026-03-02T12:00:00Z", Rules: []Rule{{"production", say("A judicial authority may have named pen names opened", 200)}},
		Agreed: []Agreed{{"alba", say("Alba Rossi", 200), say("Ombudsman", 200), say("Dora Lind", 200)}, {"bruno", say("Bruno Keller", 200), say("Bar Association", 200), ""}},
		Proofs: Certificate{Warrant: digest, Package: digest, Bundle: digest, Log: say("penname.example/log", 200), Recorded: 123456}}
	if letters != "" {
		s.Proofs.Stolen, s.Proofs.BadShares = []string{say("", 300), say("", 300)}, []string{say("", 200)}
	}
	for i := range 3 {
		p := Person{Number: i + 1, Site: say("Town Square", 200), Day: "2026-03-04", Role: "witness", Identity: make(map[string]string),
			CertifiedTarget: CertifiedTarget{PenName: token.Pseudonym("pen1" + strings.Repeat("q", 32)), Platform: say("town-square", 64), Package: digest,
				Authorised: 1234567, Released: 1234568, Custodians: []string{"alba", "bruno"}}}
		for n, field := range []string{"name", "address", "birthdate", "email", "phone", "nationality", "profession", "school"} {
			if n < 3 || letters != "" {
				p.Identity[field] = say("1 High Street\nThornley", 1000)
			}
		}
		for range 1 + 8*len(letters) {
			p.Posts = append(p.Posts, CertifiedPost{URL: say("https://town-square.example/1", 2000), At: at, Exhibits: []CertifiedExhibit{{}, {}}})
			p.Words = append(p.Words, Words{Evidence: digest, Text: say("I will come for you tonight.", maxWords)})
		}
		s.Persons = append(s.Persons, p)
	}
	s.Persons[2].Identity, s.Persons[2].Why = nil, whyNot["declined"]+saysRegistrar
	return s
}

// Who stepped in for a custodian is named as who they are.
func TestAnAlternateIsNamedAsOne(t *testing.T) {
	b := &policy.Bundle{Custodians: []policy.Custodian{{ID: "alba", Name: "Alba Rossi", Organisation: "Ombudsman", Alternates: []policy.Alternate{{ID: "dora", Name: "Dora Lind"}}},
		{ID: "bruno", Name: "Bruno Keller", Organisation: "Bar Association"}}}
	o := &Opening{Signers: map[string]*policy.Bundle{"": b}, Targets: []Target{{Approvals: []*Approval{{Custodian: "alba", Alternate: "dora"}, {Custodian: "bruno"}}},
		{Approvals: []*Approval{{Custodian: "bruno"}}}}}
	said := CourtCertificate{Agreed: o.agreed()}.names([]string{"alba", "bruno"})
	if want := "Alba Rossi, Ombudsman, by their alternate Dora Lind; Bruno Keller, Bar Association"; said != want {
		t.Errorf("%q", said)
	}
}
