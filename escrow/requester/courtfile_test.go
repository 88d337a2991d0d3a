package requester_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
	"github.com/penname/penname/verifier/refusal"
)

// courtFile saves the case of rounds, signed by key if that is not nil.
func courtFile(t *testing.T, c *openingtest.Case, d opening.Delivery, key *jose.JSONWebKey) (string, *requester.CourtFile) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "court", "file")
	f, err := requester.CreateCourtFile(dir)
	must(t, err)
	must(t, f.SaveSealed([]byte("as it came")))
	must(t, f.SaveDelivery(d))
	must(t, f.SaveBundles([]*policy.Bundle{c.Bundle}, func(hash string) (signed []string, err error) {
		for _, id := range []string{"alba", "bruno"} {
			s, err := policy.SignEndorsement(c.Key(id), id, hash, openingtest.Now)
			must(t, err)
			signed = append(signed, s)
		}
		return signed, nil
	}))
	read := reads(c)
	read.Save = f.SaveExhibit
	o, err := requester.Open(c.ID, d, c.Delivery, read, c.Bundle)
	must(t, err)
	must(t, f.Finish(o.Revealed, key, openingtest.Now))
	return dir, f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
}

// A folder proves itself, whoever holds it and with no secret key: M7.
func TestFoundM7ACourtFileProvesItself(t *testing.T) {
	c, d := rounds(t)
	court := c.Key("court")
	for name, key := range map[string]*jose.JSONWebKey{"signed": &court, "unsigned": nil} {
		dir, f := courtFile(t, c, d, key)
		found := f.Check(c.Bundle)
		if !found.Holds || found.Refused() != nil {
			t.Fatal(name, "\n"+found.String())
		}
		signed := strings.Contains(found.String(), "✓ the certificate is signed by Crown Court")
		if signed != (key != nil) || signed == strings.Contains(found.String(), "nobody signed the certificate") {
			t.Error(name, "\n"+found.String())
		}
		page := string(read(filepath.Join(dir, "certificate.html")))
		for _, want := range []string{"Crown Court", "T20260017", "Threats to kill", "Person 0", "Person 1", "never who typed", "I will find you, 0",
			"N alba, O alba", "the platform&#39;s word alone", "custodians declined it", "2026-03-02"} {
			if !strings.Contains(page, want) {
				t.Errorf("%q is not on the page", want)
			}
		}
		if n := strings.Count(page, "<article>"); n != 3 || strings.Contains(page, "<script") || strings.Contains(page, "src=") || strings.Contains(page, "href=") {
			t.Errorf("%d sheets, or something from elsewhere", n)
		}
		must(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			must(t, err)
			info, err := e.Info()
			must(t, err)
			if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[e.IsDir()]; info.Mode().Perm() != want {
				t.Errorf("%s has mode %o", name, info.Mode().Perm())
			}
			return nil
		}))
		if sheets, err := os.ReadDir(filepath.Join(dir, "suspects")); err != nil || len(sheets) != 2 {
			t.Errorf("%d sheets of suspects: %v", len(sheets), err)
		}
		if _, err := requester.CreateCourtFile(dir); !errors.Is(err, secretfile.ErrExists) {
			t.Error("a court file was overwritten:", err)
		}
	}
}

// Whatever is changed in a folder is found and named, and a certificate that somebody typed is
// called forged or false.
func TestFoundM7WhatWasChangedIsNamed(t *testing.T) {
	c, d := rounds(t)
	court := c.Key("court")
	stranger, err := document.NewKey()
	must(t, err)
	replace := func(old, by string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(old), []byte(by)) }
	}
	for name, row := range map[string]struct {
		key    *jose.JSONWebKey
		file   string // "": removed
		change func([]byte) []byte
		want   string
		cause  string
	}{
		"the page":                {&court, "certificate.html", replace("Person 0", "Somebody Else"), "opening.file_changed", "certificate.html"},
		"the table":               {&court, "results.csv", replace("Person 0", "Somebody Else"), "opening.file_changed", "results.csv"},
		"the certificate to read": {&court, "certificate.json", replace("Person 0", "Somebody Else"), "opening.file_changed", "certificate.json"},
		"a typed certificate":     {nil, "certificate.json", replace("Person 0", "Somebody Else"), "opening.certificate_false", "person 1, name"},
		"another court":           {nil, "certificate.json", replace("Crown Court", "High Court"), "opening.certificate_false", "court"},
		"other words":             {nil, "certificate.json", replace("I will find you, 0", "Have a nice day"), "opening.certificate_false", "person 1, posts"},
		"proven by nobody":        {nil, "certificate.json", replace(`"proven_by_key": false`, `"proven_by_key": true`), "opening.certificate_false", "person 1, posts"},
		"a stranger's signature":  {&court, "certificate.jws", func(b []byte) []byte { return resign(t, b, stranger, nil) }, "opening.certificate_forged", "authority"},
		"a custodian's signature": {&court, "certificate.jws", func(b []byte) []byte { return resign(t, b, c.Key("alba"), nil) }, "opening.certificate_forged", ""},
		"signed, and untrue": {&court, "certificate.jws", func(b []byte) []byte { return resign(t, b, court, replace("Person 0", "Somebody Else")) },
			"opening.certificate_false", "person 1, name"},
		"a flipped signature": {&court, "certificate.jws", func(b []byte) []byte {
			b[len(b)-9] = map[bool]byte{true: 'B', false: 'A'}[b[len(b)-9] == 'A'] // of base64url, as all of it
			return b
		}, "opening.certificate_forged", ""},
		"the package":         {&court, "delivery.json", replace(`"states"`, `"State"`), "opening.file_changed", "delivery.json"},
		"what the key showed": {&court, "opened.json", replace(`"custodian":"bruno"`, `"custodian":"chidi"`), "opening.file_changed", "opened.json"},
		"rules":               {&court, "bundles/0001.json", replace(`"max_targets":900`, `"max_targets":901`), "opening.file_changed", "bundles/0001.json"},
		"no page":             {&court, "certificate.html", nil, "opening.file_missing", "certificate.html"},
		"no ciphertext":       {&court, "delivery.sealed", nil, "opening.file_missing", "delivery.sealed"},
		"no rules":            {&court, "bundles/0001.json", nil, "opening.file_missing", "bundles/0001.json"},
		"no signature":        {&court, "certificate.jws", nil, "opening.file_missing", "certificate.jws"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, f := courtFile(t, c, d, row.key)
			at := filepath.Join(dir, row.file)
			if row.change == nil {
				must(t, os.Remove(at))
			} else {
				before := read(at)
				after := row.change(bytes.Clone(before))
				if bytes.Equal(before, after) {
					t.Fatal("nothing was changed")
				}
				must(t, os.WriteFile(at, after, 0o600))
			}
			found := f.Check(c.Bundle)
			e := refusal.Of(found.Refused())
			if found.Holds || e == nil || e.Code != row.want || e.Unwrap() == nil || !strings.Contains(e.Unwrap().Error(), row.cause) {
				t.Errorf("%v, %v\n%s", e, errors.Unwrap(found.Refused()), found)
			}
		})
	}
}

// resign signs the payload of a certificate anew, changed.
func resign(t *testing.T, signed []byte, key jose.JSONWebKey, change func([]byte) []byte) []byte {
	t.Helper()
	jws, err := jose.ParseSigned(strings.TrimSpace(string(signed)), document.SignatureAlgorithms)
	must(t, err)
	payload := jws.UnsafePayloadWithoutVerification()
	if change != nil {
		payload = change(payload)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, (&jose.SignerOptions{}).WithType("penname-certificate+jwt"))
	must(t, err)
	again, err := s.Sign(payload)
	must(t, err)
	raw, err := again.CompactSerialize()
	must(t, err)
	return []byte(raw + "\n")
}

// A sheet that somebody slips in, rules that lead nowhere, and a name that opens for nobody.
func TestFoundM7WhatDoesNotBelongIsNamed(t *testing.T) {
	c, d := rounds(t)
	court := c.Key("court")
	dir, f := courtFile(t, c, d, &court)
	for _, name := range []string{"suspects/004-pen1x.html", "certificate-corrected.html", "note.txt", ".hidden", "more/x", "bundles/more/x", "certificate.jws.old"} {
		added := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(added), 0o700))
		must(t, os.WriteFile(added, []byte("Jo"), 0o600))
		if found := f.Check(); !errors.Is(found.Refused(), opening.ErrFileAdded) || !strings.Contains(found.String(), name) {
			t.Errorf("%s was added\n%s", name, found)
		}
		must(t, os.Remove(added))
	}
	table := filepath.Join(dir, "results.csv")
	must(t, os.Rename(table, filepath.Join(t.TempDir(), "results.csv")))
	must(t, os.Symlink(filepath.Join(dir, "certificate.html"), table))
	if found := f.Check(); !errors.Is(found.Refused(), opening.ErrFileChanged) || !strings.Contains(found.String(), "results.csv is a link") {
		t.Error(found)
	}
	must(t, os.Remove(table))
	must(t, f.Certify(&court, openingtest.Now))
	if found := requester.OpenCourtFile(filepath.Join(dir, "nowhere")).Check(); !errors.Is(found.Refused(), opening.ErrFileMissing) || !strings.Contains(found.String(), "no such folder") {
		t.Error(found)
	}
	other := openingtest.New(t, nil)
	if found := f.Check(other.Bundle); !errors.Is(found.Refused(), opening.ErrOtherAnchor) {
		t.Error(found)
	}
	if found := f.Check(); !found.Holds || !strings.Contains(found.String(), "! no rules that you trust were named") {
		t.Error(found)
	}
	if err := f.Certify(ptr(c.Key("alba")), openingtest.Now); !errors.Is(err, opening.ErrSigner) {
		t.Error("a custodian signed a certificate:", err)
	}
	if err := f.Certify(&court, openingtest.Now.AddDate(2, 0, 0)); !errors.Is(err, opening.ErrSigner) {
		t.Error("a key signed after its time:", err)
	}
	// Whoever holds the folder writes another name into it, and counts its files anew.
	var shown opening.Revealed
	must(t, json.Unmarshal(read(filepath.Join(dir, "opened.json")), &shown))
	shown.Targets[0].Halves, shown.Targets[1].Halves = shown.Targets[1].Halves, shown.Targets[0].Halves
	if err := f.Finish(shown, nil, openingtest.Now); err == nil {
		t.Error("another name was certified")
	}
	shown.Targets = shown.Targets[:1]
	if err := f.Finish(shown, nil, openingtest.Now); err == nil {
		t.Error("a name that was released is left out")
	}
}

// A folder that somebody else made keeps nobody waiting, and writes nothing to the terminal but
// what the check says.
func TestFoundM7AFolderDoesNoHarm(t *testing.T) {
	c, d := rounds(t)
	court := c.Key("court")
	for name, replace := range map[string]func(string) error{
		"a pipe":      func(at string) error { return syscall.Mkfifo(at, 0o600) },
		"all zeros":   func(at string) error { return os.Symlink("/dev/zero", at) },
		"a huge file": func(at string) error { return errors.Join(os.WriteFile(at, nil, 0o600), os.Truncate(at, 512<<20+1)) },
	} {
		for _, file := range []string{"certificate.jws", "opened.json", "bundles/0001.json", "exhibits/aa", "suspects/x.html"} {
			if name == "a huge file" && file == "suspects/x.html" {
				continue // it is never read
			}
			dir, f := courtFile(t, c, d, &court)
			at := filepath.Join(dir, file)
			if err := os.Remove(at); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			must(t, replace(at))
			if found := f.Check(); !errors.Is(found.Refused(), opening.ErrFileChanged) || !strings.Contains(found.String(), file+" is ") {
				t.Errorf("%s at %s\n%s", name, file, found)
			}
		}
	}
	dir, f := courtFile(t, c, d, &court)
	must(t, os.WriteFile(filepath.Join(dir, "x\n\x1b[2J✓ all is well"), nil, 0o600))
	if found := f.Check().String(); strings.Contains(found, "\x1b") || strings.Contains(found, "\n✓ all is well") || !strings.Contains(found, "✓ all is well") {
		t.Errorf("%q", found)
	}
}

func ptr[T any](v T) *T { return &v }

// A spreadsheet takes nothing for a formula (ATTACKS: CSV injection), and each target has a row.
func TestResultsAreATable(t *testing.T) {
	c := openingtest.New(t, nil)
	c.Say = func(int, int) string { return "=HYPERLINK(\"x\")" }
	one := c.File(2, 1, func(w *policy.Warrant) { w.Requester.Name = "=1+1" })
	one.Decide(one.Answer("alba", 0, 1))
	one.Decide(one.Answer("bruno", 0, 1))
	one.Authorise(0, 1)
	dir, _ := courtFile(t, one, one.Deliver(one.Release(one.Package(0, 1), 0, 1)), nil)
	raw := read(filepath.Join(dir, "results.csv"))
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][7] != "Person 0" || rows[2][4] != "yes" || !bytes.Contains(raw, []byte("\r\n")) {
		t.Errorf("%v: %q", err, rows)
	}
	for _, row := range rows {
		for _, cell := range row {
			if strings.HasPrefix(strings.TrimSpace(cell), "=") {
				t.Errorf("%q is a formula", cell)
			}
		}
	}
}
