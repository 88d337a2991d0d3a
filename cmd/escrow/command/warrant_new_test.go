package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening/openingtest"
)

// clerk is somebody at a desk with a folder of evidence.
type clerk struct {
	t     *testing.T
	world *openingtest.World
	dir   string
	asked []string // questions, as they were shown
}

func newClerk(t *testing.T) *clerk {
	t.Helper()
	c := &clerk{t: t, world: openingtest.New(t, nil), dir: t.TempDir()}
	filed := c.world.File(2, 2, nil)
	if err := os.Mkdir(c.path("case118"), 0o700); err != nil {
		t.Fatal(err)
	}
	bundle, err := c.world.Bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	c.write("bundle.json", bundle)
	c.write("requester.pub", []byte(c.world.Delivery.Public()+"\n"))
	key, err := c.world.Key("court").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	c.write("court.jwk", key)
	c.write("case118/threats.jws", []byte(strings.Join(filed.Submission.Evidence, "\n")+"\n"))
	c.write("case118/older.jws", []byte(filed.Submission.Warrant)) // a warrant is no evidence, and in nobody's way
	for digest, words := range filed.Words {
		c.write(fmt.Sprintf("case118/post-%x.txt", digest[:4]), []byte(words))
	}
	return c
}

func (c *clerk) write(name string, b []byte) {
	c.t.Helper()
	if err := os.WriteFile(c.path(name), b, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clerk) path(name string) string { return filepath.Join(c.dir, name) }

// run plays a command with a person who answers.
func (c *clerk) run(ctx context.Context, ask func(question string) (string, error), args ...string) (out, errs string, code int) {
	c.t.Helper()
	var o, e bytes.Buffer
	env := Env{HTTP: http.DefaultClient, Stdin: strings.NewReader(""), Stdout: &o, Stderr: &e, Now: func() time.Time { return openingtest.Now }}
	if ask != nil {
		env.Ask = func(_ context.Context, question string) (string, error) {
			c.asked = append(c.asked, question)
			return ask(question)
		}
	}
	var words []string
	for _, a := range args {
		words = append(words, strings.ReplaceAll(a, "@/", c.dir+"/"))
	}
	code = Run(ctx, words, env)
	return o.String(), e.String(), code
}

func (c *clerk) answers() map[string]string {
	return map[string]string{
		"kind": "", "offence": "threats to kill", "file_number": "TC 118 of 2026", "legal_basis": "Investigatory Powers Act 2016, Part 3", "grounds": "Threats were posted.",
		"necessity": "No other lead.", "proportionality": "The name alone.", "fields": "name", "secrecy": "60", "secrecy_reason": "The suspect could destroy evidence.",
		"organisation": "1", "contact": "DS R. Amari", "delivery_key": c.path("requester.pub"), "unusual": "",
	}
}

// questionIn is the name of the question, with which its last line begins.
func questionIn(question string) string {
	lines := strings.Split(question, "\n")
	name, _, _ := strings.Cut(lines[len(lines)-1], " ")
	return name
}

func from(answers map[string]string) func(question string) (string, error) {
	return func(question string) (string, error) {
		answer, ok := answers[questionIn(question)]
		if !ok {
			return "", fmt.Errorf("nobody knows: %w", io.ErrUnexpectedEOF)
		}
		return answer, nil
	}
}

var newArgs = []string{"warrant", "new", "--dir", "@/case118", "--bundle", "@/bundle.json", "--out", "@/draft.json"}

func with(more ...string) []string { return append(append([]string{}, newArgs...), more...) }

// TestNewWarrant counts what it takes a clerk from a folder of evidence to a warrant that can
// be filed.
func TestNewWarrant(t *testing.T) {
	c := newClerk(t)
	began := time.Now()
	out, errs, code := c.run(t.Context(), from(c.answers()), newArgs...)
	if code != 0 || !strings.Contains(out, "nothing is wrong with it") || !strings.Contains(out, "custodians that have to approve: 2") || !strings.Contains(out, "Next: ") {
		t.Fatal(code, out, errs)
	}
	if info, err := os.Stat(c.path("draft.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	if info, err := os.Stat(c.path("draft.json.answers")); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the answers are gone, or others read them:", err)
	}
	if !strings.Contains(c.asked[0], "The evidence is of 4 posts by 2 pen names.") {
		t.Error(c.asked[0])
	}
	for _, args := range [][]string{
		{"warrant", "check", "@/draft.json", "--bundle", "@/bundle.json", "--evidence", "@/case118"},
		{"warrant", "sign", "@/draft.json", "--key", "@/court.jwk", "--bundle", "@/bundle.json", "--out", "@/warrant.jws"},
		{"warrant", "check", "@/warrant.jws", "--bundle", "@/bundle.json", "--evidence", "@/case118"},
	} {
		if out, errs, code := c.run(t.Context(), nil, args...); code != 0 || strings.Contains(out, "not checked:\n  the") {
			t.Fatal(code, out, errs)
		}
	}
	signed, err := os.ReadFile(c.path("warrant.jws"))
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := (&program{Env: Env{Stdin: strings.NewReader("")}}).evidence([]string{c.path("case118")})
	if err != nil {
		t.Fatal(err)
	}
	if d := policy.Decide(policy.Submission{Warrant: string(signed), Evidence: evidence}, c.world.Bundle, policy.Facts{}, openingtest.Now); !d.Allowed {
		t.Fatal(d.Refusal, d.Rules)
	}
	typed := 0
	for _, answer := range c.answers() {
		typed += len(answer)
	}
	t.Logf("from a folder of evidence to an order that can be filed: 3 commands (new, sign, file), and check; %d answers with %d characters; the programs take %s",
		len(c.asked), typed, time.Since(began).Round(time.Millisecond))
	if n := len(c.asked); n > 15 {
		t.Errorf("%d questions", n)
	}
}

// A good draft is corrected by its questions, and what is pasted is taken whole and shown.
func TestNewWarrantIsCorrectedByItsQuestions(t *testing.T) {
	c := newClerk(t)
	if out, errs, code := c.run(t.Context(), from(c.answers()), newArgs...); code != 0 || !strings.Contains(out, "the answers are kept in "+c.path("draft.json.answers")) {
		t.Fatal(code, out, errs)
	}
	c.asked = nil
	answers := map[string]string{"grounds": "Threats were posted.\n\nThe second paragraph.\nThe last.\n", "necessity": "None."}
	out, errs, code := c.run(t.Context(), from(answers), with("--force", "--ask", "grounds", "--ask", "necessity")...)
	if code != 0 || len(c.asked) != 2 || !strings.Contains(c.asked[1], "grounds: all 4 lines were taken:\nThreats were posted.\n\nThe second paragraph.\nThe last.") {
		t.Fatal(code, out, errs, c.asked)
	}
	draft, err := os.ReadFile(c.path("draft.json"))
	if err != nil || !strings.Contains(string(draft), `Threats were posted.\n\nThe second paragraph.\nThe last.`) || !strings.Contains(string(draft), "DS R. Amari") {
		t.Errorf("%v: %s", err, draft)
	}
}

// Whatever interrupts it, no answer is lost, and the same command goes on.
func TestNewWarrantGoesOnWhereItWasInterrupted(t *testing.T) {
	c := newClerk(t)
	all := c.answers()
	some := maps.Clone(all)
	delete(some, "necessity")
	_, errs, code := c.run(t.Context(), from(some), newArgs...)
	if code != 1 || !strings.Contains(errs, "draft.answers_missing: ") || !strings.Contains(errs, "the next question is necessity") || !strings.Contains(errs, "draft.json.answers") {
		t.Fatal(code, errs)
	}
	if info, err := os.Stat(c.path("draft.json.answers")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	// Ctrl-C.
	ctx, stop := context.WithCancel(t.Context())
	n := len(c.asked)
	_, errs, code = c.run(ctx, func(q string) (string, error) {
		if questionIn(q) == "fields" {
			stop()
			return "", ctx.Err()
		}
		return from(all)(q)
	}, newArgs...)
	if code != 130 || !strings.Contains(errs, "is saved in ") || len(c.asked) != n+3 || !strings.Contains(c.asked[n], "Answers that are there already: 5") {
		t.Fatal(code, errs, c.asked[n:])
	}
	// Nobody at a terminal, and the rest in the file.
	raw, err := os.ReadFile(c.path("draft.json.answers"))
	if err != nil {
		t.Fatal(err)
	}
	saved := map[string]string{}
	if err := json.Unmarshal(raw, &saved); err != nil || saved["grounds"] != all["grounds"] {
		t.Fatal(saved, err)
	}
	maps.Copy(saved, all)
	if raw, err = json.Marshal(saved); err != nil {
		t.Fatal(err)
	}
	c.write("answers.json", raw)
	out, errs, code := c.run(t.Context(), nil, with("--answers", "@/answers.json", "--json")...)
	if code != 0 || !strings.Contains(out, `"faults": []`) || !strings.Contains(out, `"custodians": 2`) {
		t.Fatal(code, out, errs)
	}
	// A draft that is there is not lost either, before anybody answers.
	if _, errs, code := c.run(t.Context(), from(all), newArgs...); code != 1 || !strings.Contains(errs, "file.exists: ") {
		t.Error(code, errs)
	}
}

// A wrong answer is said with an example, and with what was typed; the answers before stay.
func TestNewWarrantSaysWhatIsWrong(t *testing.T) {
	c := newClerk(t)
	wrong := map[string]string{"offence": "heresy", "secrecy": "soon", "contact": "DS\u202e", "grounds": strings.Repeat("x", maxTyped)}
	still := maps.Clone(wrong)
	out, errs, code := c.run(t.Context(), func(q string) (string, error) {
		name := questionIn(q)
		if bad, ok := still[name]; ok {
			delete(still, name)
			return bad, nil
		}
		return from(c.answers())(q)
	}, newArgs...)
	if code != 0 {
		t.Fatal(code, out, errs)
	}
	all := strings.Join(c.asked, "\n")
	for _, says := range []string{"That is no answer. offence: no choice has these words; for example: 1, or ", "You typed: heresy", "secrecy: it is a day, a number of days or the word none; for example: 90",
		"contact: the text, character 3, is U+202E: it cannot be displayed", "A terminal takes no more than that in one line"} {
		if !strings.Contains(all, says) {
			t.Errorf("not said: %s", says)
		}
	}
	if strings.Contains(all, "\u202e") || len(c.asked) != len(c.answers())+len(wrong) {
		t.Error(len(c.asked), "questions")
	}
	// In a file of answers it is named, with the file.
	c.write("answers.json", []byte(`{"kind": "wiretap"}`))
	_, errs, code = c.run(t.Context(), nil, with("--force", "--answers", "@/answers.json")...)
	if code != 1 || !strings.Contains(errs, "draft.answer: ") || !strings.Contains(errs, "answers.json: kind: no choice has these words") {
		t.Error(code, errs)
	}
	for _, bad := range []string{`[]`, `{"kind": 7}`, `{"colour": "red"}`} {
		c.write("answers.json", []byte(bad))
		if _, errs, code := c.run(t.Context(), nil, with("--force", "--answers", "@/answers.json")...); code != 1 || !strings.Contains(errs, "draft.") {
			t.Error(bad, code, errs)
		}
	}
}

// A program that answers the same for ever does not ask for ever.
func TestNewWarrantDoesNotAskForEver(t *testing.T) {
	c := newClerk(t)
	_, errs, code := c.run(t.Context(), func(string) (string, error) { return "yes", nil }, newArgs...)
	if code != 1 || !strings.Contains(errs, "draft.") || len(c.asked) != maxWrong {
		t.Error(code, errs, len(c.asked))
	}
}

// What the rules refuse is said at the end, with the question to answer anew.
func TestNewWarrantThatTheRulesRefuse(t *testing.T) {
	c := newClerk(t)
	answers := c.answers()
	answers["unusual"] = "journalist"
	posts, err := filepath.Glob(c.path("case118/post-*.txt"))
	if err != nil || len(posts) != 4 {
		t.Fatal(posts, err)
	}
	if err := os.Remove(posts[0]); err != nil {
		t.Fatal(err)
	}
	out, errs, code := c.run(t.Context(), from(answers), newArgs...)
	if code != 1 || !strings.Contains(errs, "warrant.faults: ") || !strings.Contains(out, "rule press-freedom") || !strings.Contains(out, "--ask unusual") || !strings.Contains(out, "exhibit.not_in_folder") {
		t.Fatal(code, out, errs)
	}
	n := len(c.asked)
	out, errs, code = c.run(t.Context(), from(c.answers()), with("--force", "--ask", "unusual")...)
	if code != 1 || strings.Contains(out, "press-freedom") || len(c.asked) != n+1 {
		t.Fatal(code, out, errs)
	}
}

// TestCheckNotesWhatRefusesNothing: what the catalogue says otherwise, of which custodians are
// shown both.
func TestCheckNotesWhatRefusesNothing(t *testing.T) {
	c := newClerk(t)
	if out, errs, code := c.run(t.Context(), from(c.answers()), newArgs...); code != 0 {
		t.Fatal(code, out, errs)
	}
	check := []string{"warrant", "check", "@/draft.json", "--bundle", "@/bundle.json"}
	if out, errs, code := c.run(t.Context(), nil, check...); code != 0 || strings.Contains(out, "note:") {
		t.Errorf("of a draft as the catalogue has it: %d %s%s", code, out, errs)
	}
	raw, err := os.ReadFile(c.path("draft.json"))
	if err != nil {
		t.Fatal(err)
	}
	c.write("draft.json", []byte(strings.NewReplacer(`"max_penalty_months": 120`, `"max_penalty_months": 1`, `"offence": "Threats to kill`, `"offence": "Murder`).Replace(string(raw))))
	out, errs, code := c.run(t.Context(), nil, check...)
	for _, says := range []string{"nothing is wrong with it", "note: max_penalty_months: the order states 1, the catalogue of the rules 120 for ", "note: offence: the order does not have the words of the catalogue"} {
		if !strings.Contains(out, says) || code != 0 {
			t.Errorf("%s: %d %s%s", says, code, out, errs)
		}
	}
}

// TestCheckSaysWhereEachFaultIs: all at once, with line and character, in text and JSON.
func TestCheckSaysWhereEachFaultIs(t *testing.T) {
	c := newClerk(t)
	if out, errs, code := c.run(t.Context(), from(c.answers()), newArgs...); code != 0 {
		t.Fatal(code, out, errs)
	}
	raw, err := os.ReadFile(c.path("draft.json"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(`"max_penalty_months": 120`, `"max_penalty_months": 1200`, `"ten_days"`, `"eight_hours"`, `"kind": "production"`, `"kind": "production", "knid": ""`).Replace(string(raw))
	c.write("draft.json", []byte(text))
	out, errs, code := c.run(t.Context(), nil, "warrant", "check", "@/draft.json", "--bundle", "@/bundle.json")
	for _, says := range []string{"faults: 3", "line 2, character 33, knid\n", "max_penalty_months\n     warrant.penalty: ", "deadline\n     warrant.deadline: ", "not checked:", "the evidence: name it with --evidence"} {
		if !strings.Contains(out, says) || code != 1 || !strings.Contains(errs, "warrant.faults: ") {
			t.Errorf("%s: %d %s%s", says, code, out, errs)
		}
	}
	out, _, code = c.run(t.Context(), nil, "warrant", "check", "@/draft.json", "--bundle", "@/bundle.json", "--json")
	var v verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 1 || len(v.Faults) != 3 || v.Faults[0].Line != 2 || v.Faults[0].Field != "/knid" {
		t.Error(code, out, err)
	}
	// Signing says the same.
	c.write("draft.json", []byte(strings.Replace(text, `, "knid": ""`, "", 1)))
	_, errs, code = c.run(t.Context(), nil, "warrant", "sign", "@/draft.json", "--key", "@/court.jwk", "--bundle", "@/bundle.json")
	if code != 1 || !strings.Contains(errs, "warrant.deadline: ") || !strings.Contains(errs, "max_penalty_months: warrant.penalty: ") || strings.Count(errs, "\n") != 1 {
		t.Error(code, errs)
	}
}
