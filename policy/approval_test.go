package policy

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
)

func (w *world) approval() Approval {
	return Approval{Case: "k3x", Custodian: "custodian-1", WarrantHash: digest("w"), Bundle: w.bundle.Hash(), LeafIndex: 7, CheckpointSize: 8,
		Decision: Approve, Shares: []EncryptedShare{{0, []byte("sealed")}, {1, []byte("sealed")}}, At: now}
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
		{"C05 under another's name", func(a *Approval) { a.Custodian = "custodian-2" }, ErrUnknownCustodian},
		{"a stranger's", func(a *Approval) { a.Custodian = "crown-court" }, ErrUnknownCustodian},
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
			payload, err := marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			raw := signBytes(t, w.custodians[0], approvalFormat.Types[0], payload)
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

// C10: an approval is bound to its case and warrant by the signature; moved to
// another, it does not verify.
func TestC10ApprovalMovedToAnotherCase(t *testing.T) {
	w := newWorld(t)
	raw, err := SignApproval(w.custodians[0], w.approval())
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(raw, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	for _, swap := range [][2]string{{`"case":"k3x"`, `"case":"k3y"`}, {digest("w"), digest("v")}, {`"leaf_index":7`, `"leaf_index":6`}, {`"target":1`, `"target":2`}} {
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
	next := newWorld(t, func(b *Bundle) { b.Custodians[0].Key = public(t, key("alice-2")) })
	a.Bundle = next.bundle.Hash()
	raw, err := SignApproval(w.custodians[0], a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyApproval(raw, next.bundle); refusal.Of(err) == nil || refusal.Of(err).Code != ErrUnknownCustodian.Code {
		t.Fatal(err)
	}
}

// T43: no document passes in another's slot.
func TestT43CrossDocument(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	approval, _ := SignApproval(w.custodians[0], w.approval())
	endorsed, _ := SignEndorsement(w.custodians[0], "custodian-1", w.bundle.Hash(), now)
	warrant := sign(t, w.court, v)
	for name, raw := range map[string]string{"approval": approval, "endorsement": endorsed, "evidence": evidence[0]} {
		if d := Decide(Submission{raw, evidence}, w.bundle, now); d.Allowed || d.Refusal.Code != ErrMalformed.Code {
			t.Error(name, "as a warrant:", d.Refusal)
		}
	}
	for name, raw := range map[string]string{"warrant": warrant, "endorsement": endorsed, "evidence": evidence[0]} {
		if _, err := VerifyApproval(raw, w.bundle); refusal.Of(err) == nil || refusal.Of(err).Code != ErrApprovalMalformed.Code {
			t.Error(name, "as an approval:", err)
		}
	}
}

func TestSigningKeyMustBeUsable(t *testing.T) {
	w := newWorld(t)
	v, _ := w.production(t)
	nameless := w.court
	nameless.KeyID = ""
	symmetric := w.court
	symmetric.Key = []byte("0123456789abcdef0123456789abcdef")
	for name, k := range map[string]jose.JSONWebKey{"public": w.court.Public(), "nameless": nameless, "symmetric": symmetric} {
		if _, err := SignWarrant(k, v); refusal.Of(err) == nil || refusal.Of(err).Code != ErrKey.Code {
			t.Error(name, err)
		}
	}
	v.ID = ""
	if _, err := SignWarrant(w.court, v); refusal.Of(err) == nil || refusal.Of(err).Code != ErrMalformed.Code {
		t.Error(err)
	}
}
