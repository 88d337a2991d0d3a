package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// A lawyer reads what the person reads: what is wanted, of whom, by what law, what became of
// it, and whether an objection still stops it.
func TestANoticeAtATerminal(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	waits := policy.Coded{Authority: "Northtown Court", FileNumber: "7/2026", PenName: "pen1x", Platform: "town-square", LegalBasis: "the law", Requester: "Thornley Police", Fields: []string{"name"},
		Kind: "production", State: "waiting", Days: 10, Until: now.AddDate(0, 0, 5), Told: policy.Told{Offence: "Defamation"}}
	notBegun, late, stopped, opened := waits, waits, waits, waits
	notBegun.Until = time.Time{}
	late.Until = now.Truncate(24 * time.Hour)
	stopped.State, stopped.Days, stopped.Until = "stopped", 0, time.Time{}
	opened.State, opened.Days, opened.Until = "released", 0, time.Time{}
	opened.Told = policy.Told{Opened: now, Secrecy: "it would have failed", SecretUntil: now, Agreed: []policy.ToldAgreed{{Name: "Alba, Bar"}}, Order: &policy.ToldOrder{Grounds: "She wrote it."}}
	for name, c := range map[string]struct {
		told     policy.Coded
		suspends bool
		says     []string
	}{
		"waits":     {waits, true, []string{"pen name pen1x on town-square", "legal basis: the law", "asked for by: Thornley Police", "what they learn: name", "nothing is done yet", "last day to object: 2026-03-06; an objection before 2026-03-06T12:00:00Z suspends it"}},
		"not begun": {notBegun, true, []string{"the 10 days to object have not begun"}},
		"late":      {late, false, []string{"the last day to object was 2026-02-28", "still taken", "suspends nothing"}},
		"stopped":   {stopped, false, []string{"a court stopped the order", "suspends nothing, and is no appeal"}},
		"opened":    {opened, false, []string{"opened on 2026-03-01", "agreed: Alba, Bar", "secret until 2026-03-01: it would have failed", "grounds: She wrote it.", "suspends nothing"}},
	} {
		if c.told.Suspends(now) != c.suspends {
			t.Errorf("%s: suspends %v", name, !c.suspends)
		}
		for _, want := range c.says {
			if text := toldText(c.told, now); !strings.Contains(text, want) {
				t.Errorf("%s does not say %q:\n%s", name, want, text)
			}
		}
	}
}

// A code need not stand in the command, where a history keeps it.
func TestOneTimeCodeIsAskedFor(t *testing.T) {
	for typed, want := range map[string]string{"abc-def\nrest": "abc-def", " abc ": "abc", "": ""} {
		var asked strings.Builder
		p := &program{Env: Env{Stdin: strings.NewReader(typed), Stderr: &asked, Terminal: true}}
		if code, err := p.oneTimeCode("-"); err != nil || code != want || asked.String() != "One-time code: " {
			t.Errorf("%q: %q %v %q", typed, code, err, asked.String())
		}
	}
	if code, err := (&program{}).oneTimeCode("x"); code != "x" || err != nil {
		t.Error(code, err)
	}
}

// What a court has ruled on is not to be ruled on again.
func TestObjectionSaysWhatIsToDo(t *testing.T) {
	for outcome, want := range map[string]string{"": "rule on it with --objection aa", policy.Upheld: "upheld; its digest is aa"} {
		if line := (objection{Objection: opening.Objection{Digest: "aa", Outcome: outcome}}).String(); !strings.Contains(line, want) {
			t.Error(line)
		}
	}
}

// A text in another encoding is refused with what to do, before anybody is asked.
func TestObjectionIsUTF8(t *testing.T) {
	name := filepath.Join(t.TempDir(), "objection.txt")
	if err := os.WriteFile(name, []byte("caf\xe9"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := run(t, nil, "notice", "object", "--code", "x", "--text", name, "--server", "http://127.0.0.1:1")
	if said.code == 0 || !strings.Contains(said.errs, "UTF-8") || !strings.Contains(said.errs, policy.ErrObjectionText.Code) {
		t.Errorf("%+v", said)
	}
}
