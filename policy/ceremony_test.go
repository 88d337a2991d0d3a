package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/refusal"
)

func seat(t testing.TB, i int, id string) Seat {
	return Seat{
		ID: id, Name: "N " + id, Organisation: "O " + id, Index: i,
		Key: public(t, key(id)), Ceremony: strings.Repeat(id[:1], 86),
	}
}

// resharing moves a key from alba and bruno to bruno, chidi and dora.
func resharing(t testing.TB) CeremonyPlan {
	return CeremonyPlan{
		Version: 1, Nonce: strings.Repeat("0f", 32), Threshold: 2, Previous: "key",
		Receivers: []Seat{seat(t, 1, "bruno"), seat(t, 2, "chidi"), seat(t, 3, "dora")},
		Dealers:   []Seat{seat(t, 1, "alba"), seat(t, 3, "bruno")},
	}
}

func parsed(t testing.TB, p CeremonyPlan) *CeremonyPlan {
	t.Helper()
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseCeremonyPlan(raw)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func code(err error) string {
	if e := refusal.Of(err); e != nil {
		return e.Code
	}
	return fmt.Sprint(err)
}

func TestCeremonyPlanRefused(t *testing.T) {
	parsed(t, resharing(t))
	for name, change := range map[string]func(*CeremonyPlan){
		"no version":                             func(p *CeremonyPlan) { p.Version = 0 },
		"no nonce":                               func(p *CeremonyPlan) { p.Nonce = "" },
		"C17 threshold 1":                        func(p *CeremonyPlan) { p.Threshold = 1 },
		"C17 threshold above n":                  func(p *CeremonyPlan) { p.Threshold = 4 },
		"C05 one custodian in two seats":         func(p *CeremonyPlan) { p.Receivers[2] = p.Receivers[1]; p.Receivers[2].Index = 3 },
		"C05 one key under two names":            func(p *CeremonyPlan) { p.Receivers[2].Key = p.Receivers[1].Key },
		"C05 one organisation twice":             func(p *CeremonyPlan) { p.Receivers[2].Organisation = "o  CHIDI" },
		"C01 index 0":                            func(p *CeremonyPlan) { p.Receivers[0].Index = 0 },
		"indices out of order":                   func(p *CeremonyPlan) { p.Dealers[0].Index = 3 },
		"a dealer with another key in each seat": func(p *CeremonyPlan) { p.Dealers[1].Key = public(t, key("other")) },
		"dealers without a key":                  func(p *CeremonyPlan) { p.Previous = "" },
		"a key without dealers":                  func(p *CeremonyPlan) { p.Dealers = nil },
		"a private key":                          func(p *CeremonyPlan) { p.Receivers[0].Key = encode(t, key("bruno")) },
		"no ceremony key":                        func(p *CeremonyPlan) { p.Receivers[0].Ceremony = "" },
	} {
		p := resharing(t)
		p.Receivers, p.Dealers = slices.Clone(p.Receivers), slices.Clone(p.Dealers)
		change(&p)
		if _, err := p.Marshal(); code(err) != ErrCeremonyPlan.Code {
			t.Errorf("%s: %v", name, err)
		}
	}
	good, err := parsed(t, resharing(t)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "truncated": good[:len(good)-1], "trailing": append(slices.Clone(good), '\n'),
		"unknown field": bytes.Replace(good, []byte(`"nonce"`), []byte(`"extra":1,"nonce"`), 1),
		"too large":     make([]byte, maxPlan+1),
	} {
		if _, err := ParseCeremonyPlan(b); code(err) != ErrCeremonyPlan.Code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func say(t testing.TB, k jose.JSONWebKey, m CeremonyMessage) string {
	t.Helper()
	raw, err := SignCeremonyMessage(k, m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestCeremonyMessageIsBoundToPlanRoundAndSender(t *testing.T) {
	p := parsed(t, resharing(t))
	good := CeremonyMessage{Plan: p.Hash(), Round: RoundDeal, Sender: "alba", Body: []byte{1}}
	if m, err := p.VerifyMessage(say(t, key("alba"), good)); err != nil || m.Sender != "alba" {
		t.Fatal(err)
	}
	with := func(f func(*CeremonyMessage)) CeremonyMessage { m := good; f(&m); return m }
	raw := say(t, key("alba"), good)
	approval := func() string {
		payload, err := marshal(good)
		if err != nil {
			t.Fatal(err)
		}
		s, err := as(ceremonyFormat, "penname-approval+jwt").Sign(key("alba"), payload)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, c := range map[string]struct{ raw, want string }{
		"another's name":            {say(t, key("alba"), with(func(m *CeremonyMessage) { m.Sender = "bruno" })), ErrCeremonySender.Code},
		"a stranger":                {say(t, key("eve"), with(func(m *CeremonyMessage) { m.Sender = "eve" })), ErrCeremonySender.Code},
		"replayed from another":     {say(t, key("alba"), with(func(m *CeremonyMessage) { m.Plan = strings.Repeat("0", 64) })), ErrCeremonyOther.Code},
		"a round that is none":      {say(t, key("alba"), with(func(m *CeremonyMessage) { m.Round = "abort" })), ErrCeremonySender.Code},
		"a dealer only, answering":  {say(t, key("alba"), with(func(m *CeremonyMessage) { m.Round = RoundAnswer })), ErrCeremonySender.Code},
		"a receiver only, dealing":  {say(t, key("dora"), with(func(m *CeremonyMessage) { m.Sender = "dora" })), ErrCeremonySender.Code},
		"nothing said":              {say(t, key("alba"), with(func(m *CeremonyMessage) { m.Body = nil })), ErrCeremonyMessage.Code},
		"more than agreed":          {say(t, key("alba"), with(func(m *CeremonyMessage) { m.Round = RoundAgree })), ErrCeremonyMessage.Code},
		"truncated":                 {raw[:len(raw)-4], ErrCeremonyMessage.Code},
		"no signature":              {raw[:strings.LastIndex(raw, ".")+1], ErrCeremonyMessage.Code},
		"of another kind":           {approval(), ErrCeremonyMessage.Code},
		"not a JWS":                 {"x", ErrCeremonyMessage.Code},
		"too large":                 {strings.Repeat("x", 17<<10), ErrCeremonyMessage.Code},
		"a body under another sign": {raw[:strings.LastIndex(raw, ".")] + say(t, key("alba"), with(func(m *CeremonyMessage) { m.Body = []byte{2} }))[strings.LastIndex(raw, "."):], ErrCeremonySender.Code},
	} {
		if _, err := p.VerifyMessage(c.raw); code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCeremonyRoundsAndTranscript(t *testing.T) {
	p := parsed(t, resharing(t))
	said := map[string]string{}
	var order []string
	for {
		round, missing := p.Missing(func(r, s string) bool { return said[r+s] != "" })
		if round == "" {
			break
		}
		order = append(order, round+" "+missing[0].ID)
		m := CeremonyMessage{Plan: p.Hash(), Round: round, Sender: missing[0].ID}
		if round != RoundAgree {
			m.Body = []byte(round)
		}
		said[round+m.Sender] = say(t, key(m.Sender), m)
	}
	want := []string{"agree bruno", "agree chidi", "agree dora", "agree alba", "commit alba", "commit bruno",
		"deal alba", "deal bruno", "answer bruno", "answer chidi", "answer dora"}
	if !slices.Equal(order, want) {
		t.Fatal(order)
	}
	b, err := p.Transcript(func(r, s string) string { return said[r+s] })
	if err != nil {
		t.Fatal(err)
	}
	q, messages, err := ParseCeremonyTranscript(b)
	if err != nil || q.Hash() != p.Hash() || len(messages) != len(want) {
		t.Fatal(err)
	}
	for _, m := range messages {
		if _, err := q.VerifyMessage(m); err != nil {
			t.Fatal(err)
		}
	}
	for name, bad := range map[string][]byte{
		"truncated": b[:len(b)-2], "trailing": append(slices.Clone(b), ' '), "too large": make([]byte, maxTranscript+1),
	} {
		if _, _, err := ParseCeremonyTranscript(bad); code(err) != ErrCeremonyTranscript.Code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBundleNamesACeremonyByItsHashOnly(t *testing.T) {
	w := newWorld(t)
	for value, want := range map[string]string{"": "<nil>", strings.Repeat("ab", 32): "<nil>", "ab": ErrBundleMalformed.Code, strings.Repeat("AB", 32): ErrBundleMalformed.Code} {
		b := w.draft(t)
		b.Ceremony = value
		raw, err := b.Marshal()
		if code(err) != want {
			t.Errorf("%q: %v", value, err)
		}
		if err == nil && bytes.Contains(raw, []byte(`"ceremony"`)) != (value != "") {
			t.Error("an empty hash is left out, so that older bundles keep their address")
		}
	}
}

// Two encodings of one statement would be two plans, messages or transcripts.
func FuzzCeremonyMalleability(f *testing.F) {
	p := parsed(f, resharing(f))
	raw, err := p.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	transcript, err := p.Transcript(func(_, s string) string { return "m" + s })
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(transcript)
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		if p, err := ParseCeremonyPlan(b); err == nil {
			p.raw = nil
			if again, err := p.Marshal(); err != nil || !bytes.Equal(again, b) {
				t.Fatal("a plan has two encodings", err)
			}
		}
		if p, messages, err := ParseCeremonyTranscript(b); err == nil {
			again, err := marshal(CeremonyTranscript{Plan: json.RawMessage(p.raw), Messages: messages})
			if err != nil || !bytes.Equal(again, b) {
				t.Fatal("a transcript has two encodings", err)
			}
		}
	})
}
