package opening

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// world is the bundle of the saved delivery, with custodians whose keys we have.
type world struct {
	bundle     *policy.Bundle
	custodians []jose.JSONWebKey
}

var now = time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC)

func newWorld(t testing.TB) *world {
	t.Helper()
	draft := *saved(t)
	w := &world{}
	for i := range draft.Custodians {
		k, err := document.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		public, err := k.Public().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		draft.Custodians[i].ID, draft.Custodians[i].Key = fmt.Sprint("custodian-", i+1), public
		w.custodians = append(w.custodians, k)
	}
	w.bundle = parsed(t, draft)
	return w
}

// saved is the bundle of the saved delivery, as a draft.
func saved(t testing.TB) *policy.Bundle {
	t.Helper()
	raw, err := os.ReadFile("testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	draft := new(policy.Bundle)
	if err := json.Unmarshal(raw, draft); err != nil {
		t.Fatal(err)
	}
	return draft
}

func parsed(t testing.TB, draft policy.Bundle) *policy.Bundle {
	t.Helper()
	raw, err := draft.Marshal()
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	b, err := policy.ParseBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (w *world) approval() Approval {
	return Approval{Case: "k3x", Custodian: "custodian-1", WarrantHash: digest("w"), Bundle: w.bundle.Hash(), LeafIndex: 7, CheckpointSize: 8,
		Decision: Approve, Shares: []EncryptedShare{{0, "", []byte("sealed")}, {1, "", []byte("sealed")}}, At: now}
}

func TestApproval(t *testing.T) {
	w := newWorld(t)
	raw, err := SignApproval(w.custodians[0], w.approval())
	if err != nil {
		t.Fatal(err)
	}
	a, err := VerifyApproval(raw, w.bundle)
	if err != nil || a.Case != "k3x" || len(a.Shares) != 2 || !a.At.Equal(now) {
		t.Fatal(a, err)
	}
	decline := w.approval()
	decline.Decision, decline.Shares, decline.Reason = Decline, nil, "disproportionate"
	if raw, err = SignApproval(w.custodians[0], decline); err != nil {
		t.Fatal(err)
	}
	if a, err = VerifyApproval(raw, w.bundle); err != nil || a.Reason != "disproportionate" || len(a.Shares) != 0 {
		t.Fatal(a, err)
	}
}

func TestApprovalRefused(t *testing.T) {
	w := newWorld(t)
	for _, row := range []struct {
		name   string
		change func(*Approval)
		want   *refusal.Error
	}{
		{"C05 under another's name", func(a *Approval) { a.Custodian = "custodian-2" }, policy.ErrUnknownCustodian},
		{"a stranger's", func(a *Approval) { a.Custodian = "crown-court" }, policy.ErrUnknownCustodian},
		{"C07 another bundle", func(a *Approval) { a.Bundle = digest("old") }, ErrApprovalBundle},
		{"C13 the leaf is not in the checkpoint", func(a *Approval) { a.CheckpointSize = 7 }, ErrApprovalUnlogged},
		{"C13 no checkpoint", func(a *Approval) { a.CheckpointSize = 0 }, ErrApprovalUnlogged},
		{"negative leaf", func(a *Approval) { a.LeafIndex = -1 }, ErrApprovalMalformed},
		{"no case", func(a *Approval) { a.Case = "" }, ErrApprovalMalformed},
		{"no warrant", func(a *Approval) { a.WarrantHash = "" }, ErrApprovalMalformed},
		{"hash in upper case", func(a *Approval) { a.WarrantHash = strings.ToUpper(a.WarrantHash) }, ErrApprovalMalformed},
		{"neither yes nor no", func(a *Approval) { a.Decision = "maybe" }, ErrApprovalMalformed},
		{"approval without shares", func(a *Approval) { a.Shares = nil }, ErrApprovalMalformed},
		{"refusal with shares", func(a *Approval) { a.Decision, a.Reason = Decline, "x" }, ErrApprovalMalformed},
		{"refusal without reason", func(a *Approval) { a.Decision, a.Shares = Decline, nil }, ErrApprovalMalformed},
		{"L23 refusal with prose that would be public", func(a *Approval) { a.Decision, a.Shares, a.Reason = Decline, nil, "Jane Doe is innocent" }, ErrApprovalMalformed},
		{"L23 refusal with a name spelt as a code", func(a *Approval) { a.Decision, a.Shares, a.Reason = Decline, nil, "jane.doe" }, ErrApprovalMalformed},
		{"C06 empty share", func(a *Approval) { a.Shares[0].Ciphertext = nil }, ErrApprovalMalformed},
		{"two shares for one target", func(a *Approval) { a.Shares[1].Target = 0 }, ErrApprovalMalformed},
		{"share for target -1", func(a *Approval) { a.Shares[0].Target = -1 }, ErrApprovalMalformed},
		{"huge share", func(a *Approval) { a.Shares[0].Ciphertext = make([]byte, 16<<10+1) }, ErrApprovalMalformed},
		{"no time", func(a *Approval) { a.At = time.Time{} }, ErrApprovalMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := w.approval()
			row.change(&a)
			payload, err := a.marshal()
			if err != nil {
				t.Fatal(err)
			}
			raw, err := approvalFormat.Sign(w.custodians[0], payload)
			if err != nil {
				t.Fatal(err)
			}
			got, err := VerifyApproval(raw, w.bundle)
			if got != nil || refusal.Of(err) == nil || refusal.Of(err).Code != row.want.Code {
				t.Fatal(err, "want", row.want.Code)
			}
			if row.want == ErrApprovalMalformed {
				if _, err := SignApproval(w.custodians[0], a); refusal.Of(err) == nil || refusal.Of(err).Code != row.want.Code {
					t.Fatal("signed all the same:", err)
				}
			}
		})
	}
}

// answered is w.approval of somebody who approves the first target and declines the second.
func (w *world) answered() Approval {
	a := w.approval()
	a.Shares = a.Shares[:1]
	a.Questions = []string{"Does each of these posts show this offence, Threats to kill?", "Is it compatible with press freedom?"}
	a.Answers = []Answer{{0, []string{Yes, NotAsked}, Approve, ""}, {1, []string{Yes, No}, Decline, "press_freedom"}}
	return a
}

// What was asked and answered is signed with the decision, and the decision is what it comes
// to: one that is not is read by nobody.
func TestAnswersAreSigned(t *testing.T) {
	w := newWorld(t)
	raw, err := SignApproval(w.custodians[0], w.answered())
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	a, err := VerifyApproval(raw, w.bundle)
	if err != nil || len(a.Questions) != 2 || len(a.Answers) != 2 || a.Answers[1].Says[1] != No {
		t.Fatal(a, err)
	}
	if votes, err := a.Votes(3); err != nil || !slices.Equal(votes, []string{Approve, Decline, ""}) {
		t.Error(votes, err)
	}
	if _, err := a.Votes(1); !errors.Is(err, ErrApprovalTargets) {
		t.Error("a warrant of one target:", err)
	}
	for name, change := range map[string]func(*Approval){
		"a share of a declined target":   func(a *Approval) { a.Shares = w.approval().Shares },
		"a share of no target":           func(a *Approval) { a.Shares[0].Target = 2 },
		"approved in spite of a no":      func(a *Approval) { a.Answers[1].Vote, a.Answers[1].Reason = Approve, "" },
		"approved with a reason":         func(a *Approval) { a.Answers[0].Reason = "press_freedom" },
		"declined without a reason":      func(a *Approval) { a.Answers[1].Reason = "" },
		"a reason of no list":            func(a *Approval) { a.Answers[1].Reason = "jane.doe" },
		"neither yes nor no":             func(a *Approval) { a.Answers[0].Says[0] = "perhaps" },
		"no vote":                        func(a *Approval) { a.Answers[0].Vote = "" },
		"nothing asked":                  func(a *Approval) { a.Answers[0].Says = []string{NotAsked, NotAsked} },
		"an answer to no question":       func(a *Approval) { a.Answers[0].Says = append(a.Answers[0].Says, Yes) },
		"a question without an answer":   func(a *Approval) { a.Answers[0].Says = a.Answers[0].Says[:1] },
		"a target twice":                 func(a *Approval) { a.Answers[1].Target = 0 },
		"target -1":                      func(a *Approval) { a.Answers[0].Target = -1 },
		"in another order":               func(a *Approval) { a.Answers[0], a.Answers[1] = a.Answers[1], a.Answers[0] },
		"no questions":                   func(a *Approval) { a.Questions = nil },
		"questions alone":                func(a *Approval) { a.Answers = nil },
		"many questions":                 func(a *Approval) { a.Questions = make([]string, 9) },
		"a question that hides":          func(a *Approval) { a.Questions[0] += "\u202e" },
		"an empty question":              func(a *Approval) { a.Questions[0] = " " },
		"declined, and one is approved":  func(a *Approval) { a.Decision, a.Reason, a.Shares = Decline, "press_freedom", nil },
		"approved, and none is approved": func(a *Approval) { a.Answers, a.Shares = a.Answers[1:], nil },
		"declined for another reason": func(a *Approval) {
			a.Decision, a.Reason, a.Answers, a.Shares = Decline, "recused", a.Answers[1:], nil
		},
	} {
		a := w.answered()
		change(&a)
		payload, err := a.marshal()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := approvalFormat.Sign(w.custodians[0], payload)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := VerifyApproval(raw, w.bundle); got != nil || refusal.Of(err) == nil || refusal.Of(err).Code != ErrApprovalMalformed.Code {
			t.Error(name, err)
		}
	}
}

// C10: an approval is bound to its case and warrant by the signature; moved to
// another, it does not verify.
func TestC10ApprovalMovedToAnotherCase(t *testing.T) {
	w := newWorld(t)
	raw, err := SignApproval(w.custodians[0], w.answered())
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(raw, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	for _, swap := range [][2]string{{`"case":"k3x"`, `"case":"k3y"`}, {digest("w"), digest("v")}, {`"leaf_index":7`, `"leaf_index":6`}, {`"target":1`, `"target":2`}, {`"press_freedom"`, `"recused"`}, {"press freedom", "public order"}} {
		moved := strings.Replace(string(payload), swap[0], swap[1], 1)
		if moved == string(payload) {
			t.Fatal("nothing moved")
		}
		_, err := VerifyApproval(parts[0]+"."+base64.RawURLEncoding.EncodeToString([]byte(moved))+"."+parts[2], w.bundle)
		if refusal.Of(err) == nil || refusal.Of(err).Code != ErrApprovalSignature.Code {
			t.Fatal(err)
		}
	}
}

// C14: a custodian whose key is not in the bundle any more has no say.
func TestC14RevokedCustodian(t *testing.T) {
	w := newWorld(t)
	a := w.approval()
	next := newWorld(t) // has other keys
	a.Bundle = next.bundle.Hash()
	raw, err := SignApproval(w.custodians[0], a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyApproval(raw, next.bundle); refusal.Of(err) == nil || refusal.Of(err).Code != policy.ErrUnknownCustodian.Code {
		t.Fatal(err)
	}
}

// T43: no document passes in another's slot.
func TestT43CrossDocument(t *testing.T) {
	w := newWorld(t)
	d, _ := delivery(t)
	endorsed, err := policy.SignEndorsement(w.custodians[0], "custodian-1", w.bundle.Hash(), now)
	if err != nil {
		t.Fatal(err)
	}
	logout, err := (&document.Format{Types: []string{"logout+jwt"}, MaxBytes: 1 << 10, Algorithms: document.SignatureAlgorithms}).Sign(w.custodians[0], []byte(`{"sub":"pen1x"}`))
	if err != nil {
		t.Fatal(err)
	}
	p := contents(t, d)
	for name, raw := range map[string]string{"logout token": logout, "warrant": p.Submission.Warrant, "endorsement": endorsed, "evidence": p.Submission.Evidence[0]} {
		if _, err := VerifyApproval(raw, w.bundle); refusal.Of(err) == nil || refusal.Of(err).Code != ErrApprovalMalformed.Code {
			t.Error(name, "as an approval:", err)
		}
	}
	if d := policy.Decide(policy.Submission{Warrant: d.Approvals[0], Evidence: p.Submission.Evidence}, w.bundle, policy.Facts{}, now); d.Allowed || d.Refusal.Code != policy.ErrMalformed.Code {
		t.Error("an approval as a warrant:", d.Refusal)
	}
}

// FuzzApprovalPayload checks that what parses is written again with the same
// bytes.
func FuzzApprovalPayload(f *testing.F) {
	w := newWorld(f)
	for _, a := range []Approval{w.approval(), w.answered(), {Decision: Decline, Reason: "disproportionate"}} {
		b, err := a.marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add([]byte(strings.Replace(string(b), ":", ": ", 1)))
	}
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		a := new(Approval)
		if err := approvalFormat.Read(b, a, a.marshal); err != nil {
			return
		}
		again, err := a.marshal()
		if err != nil || string(again) != string(b) {
			t.Fatalf("%q is written as %q, %v", b, again, err)
		}
	})
}
