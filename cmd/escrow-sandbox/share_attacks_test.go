package main

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/token"
)

// rogue is a custodian who does not use the escrow program: it has the keys of
// its folder, and signs whatever it likes.
type rogue struct {
	t    *testing.T
	tb   *world.World
	id   string
	key  jose.JSONWebKey
	file opening.CaseFile // of the case it looks at
}

func newRogue(t *testing.T, tb *world.World, id, caseID string) *rogue {
	t.Helper()
	r := &rogue{t: t, tb: tb, id: id}
	if err := json.Unmarshal(secretOf(t, tb.Path("custodians", id), "signing.jwk"), &r.key); err != nil {
		t.Fatal(err)
	}
	a := r.send("GET", "/v1/cases/"+caseID, "")
	if err := json.Unmarshal([]byte(a.body), &r.file); err != nil || a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	return r
}

func (r *rogue) send(method, path, body string) answer {
	r.t.Helper()
	proof, err := token.SignDPoP(r.key, method, r.tb.Origin+path, "", "", r.tb.Clock.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	contentType := ""
	if body != "" {
		contentType = "application/json"
	}
	return send(r.t, method, r.tb.Origin+path, contentType, body, withHeader("DPoP", proof))
}

// compartment is the one that the warrant's fields are in.
func (r *rogue) compartment() string {
	w, err := policy.ParseUnverified(r.file.Submission.Warrant)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.file.Targets[0].Needed(w.Fields)[0]
}

// approval is a correct one, but for its shares, which are junk.
func (r *rogue) approval() opening.Approval {
	hash := policy.Hash(r.file.Submission.Warrant)
	return opening.Approval{
		Case: r.file.Case, Custodian: r.id, WarrantHash: hex.EncodeToString(hash[:]), Bundle: r.file.Bundle,
		LeafIndex: r.file.Leaf.Index, CheckpointSize: r.file.Leaf.Index + 1, Decision: opening.Approve,
		Shares: []opening.EncryptedShare{{Target: 0, Compartment: r.compartment(), Ciphertext: []byte(strings.Repeat("junk", 300))}}, At: r.tb.Clock.Now(),
		Questions: []string{"Does each of these posts show this offence?"}, Answers: []opening.Answer{{Target: 0, Vote: opening.Approve, Says: []string{opening.Yes}}},
	}
}

func (r *rogue) decide(caseID string, a opening.Approval) answer {
	r.t.Helper()
	signed, err := opening.SignApproval(r.key, a)
	if err != nil {
		r.t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"decision": signed})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.send("POST", "/v1/cases/"+caseID+"/decisions", string(body))
}

// secondCase files another warrant against the same pen name.
func secondCase(t *testing.T, st *world.Case) string {
	t.Helper()
	first := st.ID
	if err := st.File(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := st.ID
	st.ID = first
	return second
}

// TestRogueApprovals: what a custodian signs counts for the case, warrant,
// bundle and leaf that it names, once, and in time.
func TestRogueApprovals(t *testing.T) {
	tb := startForTest(t)
	st := filedCase(t, tb)
	second := secondCase(t, st)
	r := newRogue(t, tb, "alba", st.ID)
	for _, c := range []struct {
		name string
		to   string
		edit func(*opening.Approval)
		code string
	}{
		{"C10 replayed on another case", second, func(*opening.Approval) {}, "custodian.wrong_case"},
		{"C08 names another case than its own warrant's", second, func(a *opening.Approval) { a.Case = second }, "custodian.wrong_case"},
		{"C13 names another leaf", st.ID, func(a *opening.Approval) { a.LeafIndex--; a.CheckpointSize-- }, "custodian.wrong_case"},
		{"C13 dated before the leaf was witnessed", st.ID, func(a *opening.Approval) { a.CheckpointSize = a.LeafIndex }, "custodian.not_logged"},
		{"C07 under another bundle", st.ID, func(a *opening.Approval) { a.Bundle = strings.Repeat("ab", 32) }, "custodian.wrong_bundle"},
		{"C05 in another custodian's name", st.ID, func(a *opening.Approval) { a.Custodian = "bruno" }, "custodian.unknown"},
		{"C06 for a target that is not in the warrant", st.ID, func(a *opening.Approval) { a.Shares[0].Target, a.Questions, a.Answers = 1, nil, nil }, "custodian.shares_incomplete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.approval()
			c.edit(&a)
			if got := r.decide(c.to, a); got.StatusCode < 400 || got.code(t) != c.code {
				t.Fatalf("%d %s, want %s", got.StatusCode, got.body, c.code)
			}
		})
	}
	if got := leaves(t, tb)["decision"]; got != 0 {
		t.Fatalf("%d approvals were recorded", got)
	}
	tb.Clock.Advance(31 * 24 * time.Hour)
	if got := r.decide(st.ID, r.approval()); got.code(t) != "warrant.expired" {
		t.Fatalf("C11 after the warrant expired: %s", got.body)
	}
}

// TestC18WrongShareNamesItsMaker: a custodian signs for a share that is junk,
// for another record, or another custodian's. The requester learns who, and a
// third custodian steps in.
func TestC18WrongShareNamesItsMaker(t *testing.T) {
	tb := startForTest(t)
	for name, wrong := range map[string]func(t *testing.T, r *rogue, delivery string) []byte{
		"C18 sealed to another key": func(t *testing.T, r *rogue, _ string) []byte {
			other, err := seal.GenerateDeliveryKey()
			if err != nil {
				t.Fatal(err)
			}
			return r.share(t, "alba", other.Public())
		},
		"C04 one bit flipped": func(t *testing.T, r *rogue, delivery string) []byte {
			return r.sealShare(t, delivery, func(b []byte) { b[len(b)-1] ^= 1 })
		},
		"C05 another custodian's share": func(t *testing.T, r *rogue, delivery string) []byte { return r.share(t, "chidi", delivery) },
		"junk":                          func(*testing.T, *rogue, string) []byte { return []byte(strings.Repeat("junk", 300)) },
	} {
		t.Run(name, func(t *testing.T) {
			st := filedCase(t, tb)
			w, err := policy.ParseUnverified(readWarrant(t, st))
			if err != nil {
				t.Fatal(err)
			}
			r := newRogue(t, tb, "alba", st.ID)
			a := r.approval()
			a.Shares[0].Ciphertext = wrong(t, r, w.Requester.DeliveryKey)
			if got := r.decide(st.ID, a); got.StatusCode != 200 {
				t.Fatalf("%d %s", got.StatusCode, got.body) // the registrar cannot see what is in it
			}
			if err := st.Approve(t.Context(), "bruno"); err != nil {
				t.Fatal(err)
			}
			said, code := tb.Escrow(t.Context(), st.OpenArgs()...)
			if code != 1 || !strings.Contains(said, "package.bad_share") || !strings.Contains(said, "alba (") || strings.Contains(said, "bruno (") {
				t.Fatalf("exit %d: %s", code, said)
			}
			if err := st.Approve(t.Context(), "chidi"); err != nil {
				t.Fatal(err)
			}
			said, code = tb.Escrow(t.Context(), st.OpenArgs()...)
			if code != 0 || !strings.Contains(said, "Dexter Crallow") || !strings.Contains(said, "wrong shares alba (") {
				t.Fatalf("exit %d: %s", code, said)
			}
		})
	}
}

// share is a custodian's correct share of the rogue's case, sealed to a key
// under the rogue's name.
func (r *rogue) share(t *testing.T, of, delivery string) []byte {
	t.Helper()
	return r.sealShareOf(t, of, delivery, func([]byte) {})
}

func (r *rogue) sealShare(t *testing.T, delivery string, edit func([]byte)) []byte {
	t.Helper()
	return r.sealShareOf(t, r.id, delivery, edit)
}

func (r *rogue) sealShareOf(t *testing.T, of, delivery string, edit func([]byte)) []byte {
	t.Helper()
	pk, err := threshold.ParsePublicKey(r.tb.Service.Bundle.ThresholdKey)
	if err != nil {
		t.Fatal(err)
	}
	var ks threshold.KeyShare
	if err := ks.UnmarshalBinary(secretOf(t, r.tb.Path("custodians", of), "share.key")); err != nil {
		t.Fatal(err)
	}
	target := r.file.Targets[0]
	compartment := r.compartment()
	share, err := target.DecryptShare(target.Label, compartment, pk, ks)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := share.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	edit(raw)
	sealed, err := seal.SealTo(delivery, seal.ShareInfo(policy.Hash(r.file.Submission.Warrant), target.Label, compartment, r.id), raw)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// TestC24NoShareInAnyLog: neither a key share nor a released share is in what
// the service logs or answers.
func TestC24NoShareInAnyLog(t *testing.T) {
	logs := &syncBuffer{}
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: logs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	}()
	st := filedCase(t, tb)
	for _, c := range world.Custodians[:world.Quorum] {
		if err := st.Approve(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
	}
	said, code := tb.Escrow(t.Context(), st.OpenArgs()...)
	if code != 0 {
		t.Fatal(said)
	}
	for _, c := range world.Custodians {
		raw := secretOf(t, tb.Path("custodians", c.ID), "share.key")
		for _, form := range encodings([]string{string(raw[len(raw)-32:])}) {
			if strings.Contains(logs.String()+said, string(form)) {
				t.Errorf("the key share of %s was logged or printed", c.ID)
			}
		}
	}
}

// readWarrant returns the JWS of the story's warrant.
func readWarrant(t *testing.T, st *world.Case) string {
	t.Helper()
	b, err := os.ReadFile(st.Warrant)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func withHeader(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}
