package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// I3: what filing will refuse is not signed: each refusal that the bundle can tell is
// told before, and is the same.
func TestFoundI3RefusedBeforeItIsSigned(t *testing.T) {
	w := newWorld(t)
	allowed, _ := w.production(t)
	if d := BeforeSigning(allowed, "", w.court, w.bundle, now); !d.Allowed || d.Refusal != nil {
		t.Fatalf("%v because %v", d.Refusal, cause(d.Refusal))
	}
	byEvidence := []*refusal.Error{ErrNoEvidence, ErrEvidenceMismatch, ErrBadEvidence}
	told := 0
	for _, m := range mutations {
		v, evidence := w.production(t)
		m.change(&v)
		filed := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, w.bundle, Facts{}, now)
		before := BeforeSigning(v, "", w.court, w.bundle, now)
		switch {
		case slices.ContainsFunc(byEvidence, func(e *refusal.Error) bool { return e.Is(filed.Refusal) }):
		case filed.Refusal.Is(ErrMalformed) && before.Refusal.Is(ErrDraft):
			told++
		case before.Refusal == nil || !filed.Refusal.Is(before.Refusal) || !slices.Equal(filed.Rules, before.Rules):
			t.Errorf("%s: filed %v %v, before it is signed %v %v", m.name, filed.Refusal, filed.Rules, before.Refusal, before.Rules)
		default:
			told++
		}
	}
	if told < len(mutations)/2 {
		t.Errorf("only %d of %d are told", told, len(mutations))
	}
}

func TestFoundI3TheKeyIsTheAuthoritys(t *testing.T) {
	w := newWorld(t)
	v, _ := w.production(t)
	impostor := key("impostor")
	impostor.KeyID = w.court.KeyID
	if d := BeforeSigning(v, "", impostor, w.bundle, now); !ErrSignerKey.Is(d.Refusal) {
		t.Errorf("another key of that name: %v", d.Refusal)
	}
	if d := BeforeSigning(v, "", key("nobody"), w.bundle, now); !ErrSignerKey.Is(d.Refusal) {
		t.Errorf("a key that the bundle does not know: %v", d.Refusal)
	}
	for name, evidence := range map[string]string{"none": "", "no digest": "the screenshot"} {
		v, _ := w.production(t)
		if v.Targets[0].Evidence = evidence; !ErrNoEvidence.Is(BeforeSigning(v, "", w.court, w.bundle, now).Refusal) {
			t.Errorf("%s: not told", name)
		}
	}
}

// I1: what a clerk copies is read as what it is.
func TestFoundI1DraftAsAPersonWritesIt(t *testing.T) {
	w := newWorld(t)
	v, _ := w.production(t)
	name, hash := string(v.Targets[0].Pseudonym), v.Targets[0].Evidence
	draft := "\ufeff{\"authority\": \"crown-court\",\r\n\"grounds\": \"Jose\u0301 was threatened.\", \"targets\": [{\"pseudonym\": \" " +
		strings.ToUpper(name) + "\", \"platform\": \"square\", \"evidence\": \"" + strings.ToUpper(hash) + "\"}],\r\n\"requester\": {\"name\": \"x\", \"organisation\": \"y\", \"delivery_key\": \"" + w.delivery + "\\n\"}}\r\n"
	got, err := ParseDraft([]byte(draft))
	if err != nil {
		t.Fatal(err, cause(refusal.Of(err)))
	}
	if string(got.Targets[0].Pseudonym) != name || got.Targets[0].Evidence != hash || got.Requester.DeliveryKey != w.delivery || !document.Displayable(got.Grounds, 100) {
		t.Errorf("%+v", got)
	}
	_, err = ParseDraft([]byte("{\r\n\"authority\": \"crown-court\",\r\n\"grounds\" \"x\"}"))
	if e := refusal.Of(err); e == nil || !strings.Contains(e.Unwrap().Error(), "line 3") {
		t.Errorf("the line is not named: %v, %v", err, cause(refusal.Of(err)))
	}
}
