package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
)

// TestMessageBoardStoresOnlyWhatParticipantsSigned: the board is open to the
// world, and holds nothing but one message for each participant and round of a
// plan that the operator opened.
func TestMessageBoardStoresOnlyWhatParticipantsSigned(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	plan, raw, keys := planOfAll(t, tb)
	address := tb.Origin + "/v1/ceremonies/" + plan.Hash() + "/messages"
	message := func(key, sender, round, about string, body []byte) string {
		t.Helper()
		signed, err := policy.SignCeremonyMessage(keys[key], policy.CeremonyMessage{Plan: about, Round: round, Sender: sender, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		return `{"message":` + strconv.Quote(signed) + `}`
	}
	say := func(body string) answer { return send(t, "POST", address, "application/json", body) }
	if a := say(message("alba", "alba", policy.RoundAgree, plan.Hash(), nil)); a.code(t) != "ceremony.none" || a.StatusCode != 404 {
		t.Fatal("before the operator opened it:", a.body)
	}
	if _, err := tb.Service.Board.Open(ctx, raw); err != nil {
		t.Fatal(err)
	}
	if a := say(message("alba", "alba", policy.RoundAgree, plan.Hash(), nil)); a.StatusCode != http.StatusCreated {
		t.Fatal(a.body)
	}
	for name, c := range map[string]struct {
		body, code string
	}{
		"again":                     {message("alba", "alba", policy.RoundAgree, plan.Hash(), nil), "ceremony.already_said"},
		"a round too early":         {message("alba", "alba", policy.RoundCommit, plan.Hash(), []byte{1}), "ceremony.out_of_order"},
		"in another's name":         {message("alba", "bruno", policy.RoundAgree, plan.Hash(), nil), "ceremony.not_a_participant"},
		"replayed from another":     {message("bruno", "bruno", policy.RoundAgree, strings.Repeat("0", 64), nil), "ceremony.other_plan"},
		"no such round":             {message("bruno", "bruno", "cancel", plan.Hash(), []byte{1}), "ceremony.not_a_participant"},
		"more than 16 KiB":          {`{"message":"` + strings.Repeat("a", 17<<10) + `"}`, "ceremony.bad_message"},
		"not a message":             {`{"message":"x"}`, "ceremony.bad_message"},
		"an unknown field":          {`{"message":"x","round":"agree"}`, "server.malformed_body"},
		"H04 a field twice":         {`{"message":"x","message":"y"}`, "server.malformed_body"},
		"truncated":                 {`{"message":"`, "server.malformed_body"},
		"a changed signature":       {strings.Replace(message("bruno", "bruno", policy.RoundAgree, plan.Hash(), nil), `"}`, `A"}`, 1), "ceremony.not_a_participant"},
		"an agreement with a cargo": {message("bruno", "bruno", policy.RoundAgree, plan.Hash(), []byte("cargo")), "ceremony.bad_message"},
	} {
		if a := say(c.body); a.code(t) != c.code {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if a := send(t, "POST", address, "text/plain", message("bruno", "bruno", policy.RoundAgree, plan.Hash(), nil)); a.code(t) != "server.unsupported_media_type" {
		t.Error(a.body)
	}
	for _, bad := range []string{"x", strings.Repeat("0", 64), "..%2f..%2fcases"} {
		if a := send(t, "GET", tb.Origin+"/v1/ceremonies/"+bad+"/messages", "", ""); a.code(t) != "ceremony.none" {
			t.Error(a.body)
		}
	}
	// One message is there, and the transcript is not before everybody has spoken.
	a := send(t, "GET", address, "", "")
	var board struct {
		Messages []string
		Closed   bool
	}
	if err := json.Unmarshal([]byte(a.body), &board); err != nil || len(board.Messages) != 1 || board.Closed {
		t.Fatal(a.body, err)
	}
	transcript := tb.Origin + "/v1/ceremonies/" + plan.Hash() + "/transcript"
	if a := send(t, "GET", transcript, "", ""); a.code(t) != "ceremony.none" {
		t.Error(a.body)
	}
	// The operator closes it; nothing is said after that, and a second closing
	// changes nothing.
	for range 2 {
		if _, err := tb.Service.Board.Publish(ctx, plan.Hash()); err != nil {
			t.Fatal(err)
		}
	}
	if a := say(message("bruno", "bruno", policy.RoundAgree, plan.Hash(), nil)); a.code(t) != "ceremony.closed" {
		t.Error(a.body)
	}
	a = send(t, "GET", transcript, "", "")
	name := filepath.Join(t.TempDir(), "transcript.json")
	if err := os.WriteFile(name, []byte(a.body), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, code := tb.Escrow(ctx, "custodian", "ceremony", "verify", name); code != 1 || !strings.Contains(said, "still to be heard: bruno, chidi (agree)") {
		t.Error(said)
	}
	refusesUnloggedCeremony(t, tb, keys)
}

// planOfAll is a plan of all custodians, with their signing keys.
func planOfAll(t *testing.T, tb *world.World) (plan *policy.CeremonyPlan, raw []byte, keys map[string]jose.JSONWebKey) {
	t.Helper()
	var nonce [32]byte
	rand.Read(nonce[:])
	plan = &policy.CeremonyPlan{Version: 1, Nonce: hex.EncodeToString(nonce[:]), Threshold: 2}
	keys = map[string]jose.JSONWebKey{}
	for i, c := range world.Custodians {
		said, code := tb.Escrow(t.Context(), tb.AsCustodian(c.ID, "card")...)
		if code != 0 {
			t.Fatal(said)
		}
		var s policy.Seat
		if err := json.Unmarshal([]byte(said), &s); err != nil {
			t.Fatal(err)
		}
		s.Index = i + 1
		plan.Receivers = append(plan.Receivers, s)
		var key jose.JSONWebKey
		if err := json.Unmarshal(secretOf(t, tb.Path("custodians", c.ID), "signing.jwk"), &key); err != nil {
			t.Fatal(err)
		}
		keys[c.ID] = key
	}
	raw, err := plan.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if plan, err = policy.ParseCeremonyPlan(raw); err != nil {
		t.Fatal(err)
	}
	return plan, raw, keys
}

// refusesUnloggedCeremony: a bundle that names what is not in the log does not
// come into force, whoever endorses it.
func refusesUnloggedCeremony(t *testing.T, tb *world.World, keys map[string]jose.JSONWebKey) {
	t.Helper()
	ctx := t.Context()
	b, err := tb.Service.Registrar.Rules.Current(ctx)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var draft policy.Bundle
	if err := json.Unmarshal(raw, &draft); err != nil {
		t.Fatal(err)
	}
	draft.Ceremony = strings.Repeat("ab", 32)
	draft.Succeed(b)
	changed, err := draft.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	next, err := policy.ParseBundle(changed)
	if err != nil {
		t.Fatal(err)
	}
	var endorsements []string
	for _, c := range world.Custodians {
		e, err := policy.SignEndorsement(keys[c.ID], c.ID, next.Hash(), tb.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		endorsements = append(endorsements, e)
	}
	if err := tb.Service.Registrar.Rules.Install(ctx, changed, endorsements); err == nil || !strings.HasPrefix(err.Error(), "bundle.ceremony_not_logged") {
		t.Error(err)
	}
}
