package ceremony

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// saved is the transcript of a ceremony of three, with its plan and messages.
func saved(t testing.TB) (raw []byte, plan *policy.CeremonyPlan, messages []string) {
	t.Helper()
	raw, err := os.ReadFile("testdata/transcript.json")
	if err != nil {
		t.Fatal(err)
	}
	plan, messages, err = policy.ParseCeremonyTranscript(raw)
	if err != nil {
		t.Fatal(err)
	}
	return raw, plan, messages
}

func TestTranscriptIsStrict(t *testing.T) {
	raw, plan, messages := saved(t)
	write := func(messages []string) []byte {
		b, err := plan.Transcript(func(string, string) string { return "" }, messages...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(write(messages), raw) {
		t.Fatal("not its own transcript")
	}
	swapped := slices.Clone(messages)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	early := slices.Clone(messages)
	early[0], early[4] = early[4], early[0]
	for name, c := range map[string]struct {
		raw  []byte
		code string
	}{
		"in another order":     {write(swapped), "ceremony.bad_transcript"},
		"a round too early":    {write(early), "ceremony.bad_transcript"},
		"a message twice":      {write(append(slices.Clone(messages), messages[0])), "ceremony.bad_transcript"},
		"the last one missing": {write(messages[:len(messages)-1]), "custodian.ceremony_waiting"},
		"truncated":            {raw[:len(raw)-1], "ceremony.bad_transcript"},
		"nothing":              {nil, "ceremony.bad_transcript"},
	} {
		if _, _, err := Result(c.raw); refusal.Of(err) == nil || refusal.Of(err).Code != c.code {
			t.Errorf("%s: not %s but %v", name, c.code, err)
		}
	}
}

// A view takes messages in any order and again, opens a round when everybody has
// spoken in the one before, and names whom it waits for.
func TestViewWaitsForEverybody(t *testing.T) {
	raw, plan, messages := saved(t)
	v, err := NewView(plan)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Add(messages[3]); !errors.Is(err, threshold.ErrOrder) { // of the second round
		t.Fatal(err)
	}
	for _, m := range messages[:2] {
		if err := v.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	round, missing := v.Waiting()
	if third := IDs(plan.Receivers)[2]; round != policy.RoundAgree || !slices.Equal(IDs(missing), []string{third}) {
		t.Fatal(round, missing)
	}
	var waiting *Failure
	if _, err := v.Result(); !errors.As(err, &waiting) || !errors.Is(err, threshold.ErrWaiting) || waiting.Culprits != nil {
		t.Fatal(err)
	}
	backwards := slices.Clone(messages)
	slices.Reverse(backwards)
	if err := v.AddAll(append(backwards, messages...)); err != nil {
		t.Fatal(err)
	}
	again, err := v.Transcript()
	if err != nil || !bytes.Equal(again, raw) {
		t.Fatal("another transcript", err)
	}
}

// A plan that no ceremony could follow is refused before anybody is asked.
func TestCheckPlan(t *testing.T) {
	_, plan, _ := saved(t)
	if err := CheckPlan(plan); err != nil {
		t.Fatal(err)
	}
	broken := *plan
	broken.Receivers = slices.Clone(plan.Receivers)
	broken.Receivers[1].Ceremony = strings.Repeat("A", len(broken.Receivers[1].Ceremony))
	if err := CheckPlan(&broken); err == nil {
		t.Error("a participant's key is none")
	}
	broken = *plan
	broken.Previous = "no key"
	if err := CheckPlan(&broken); err == nil {
		t.Error("the previous key is none")
	}
}
