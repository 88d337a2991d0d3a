package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	escrow "github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// liar is a registrar that changes a case file on its way to a custodian.
type liar func(*opening.CaseFile)

func (l liar) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || !strings.HasPrefix(r.URL.Path, "/v1/cases/") || r.Method != http.MethodGet {
		return res, err
	}
	defer res.Body.Close()
	var f opening.CaseFile
	if err := json.NewDecoder(res.Body).Decode(&f); err != nil {
		return nil, err
	}
	l(&f)
	b, err := json.Marshal(f)
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return res, err
}

// registrarWord makes the registrar answer every question about a case with another
// one's file, as it is or under the id that was asked for.
func registrarWord(s *scene, _ *testscript.TestScript, args []string) error {
	if s.lie = nil; args[0] == "honest" {
		return nil
	}
	other, err := s.Service.Registrar.Review(context.Background(), args[1])
	s.lie = func(f *opening.CaseFile) {
		asked := f.Case
		if *f = other; args[0] == "relabels" && asked == args[3] {
			f.Case = asked
		}
	}
	return err
}

// posted notes what a custodian's program sends, and answers it with answer, if
// that is not "".
type posted struct {
	lie    liar
	sent   []string
	answer string
}

func (p *posted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost {
		return p.lie.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p.sent = append(p.sent, string(body))
	r.Body = io.NopCloser(bytes.NewReader(body))
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && p.answer != "" {
		res.Body.Close()
		res.Body, res.ContentLength = io.NopCloser(strings.NewReader(p.answer)), int64(len(p.answer))
	}
	return res, err
}

// signedBy is what a custodian's program sent, read.
func signedBy(t *testing.T, sent string) *opening.Approval {
	t.Helper()
	var in struct{ Decision string }
	if err := json.Unmarshal([]byte(sent), &in); err != nil {
		t.Fatal(err)
	}
	a, err := opening.ParseApprovalUnverified(in.Decision)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// custodianSays runs a custodian's command against a registrar behind p.
func custodianSays(t *testing.T, tb *world.World, p *posted, id string, args ...string) (said string, code int) {
	t.Helper()
	var out strings.Builder
	env := escrow.System()
	env.Stdout, env.Stderr, env.Now, env.HTTP, env.Ask = &out, &out, tb.Clock.Now, &http.Client{Transport: p}, agrees
	code = escrow.Run(t.Context(), tb.AsCustodian(id, args...), env)
	return out.String(), code
}

func honest(*opening.CaseFile) {}

// swaps is a case with another one beside it, as good, whose words differ.
func swaps(t *testing.T, tb *world.World) (x *world.Case, y opening.CaseFile) {
	t.Helper()
	x = filedCase(t, tb)
	draft, err := x.Draft("other.json", x.Post, x.Evidence, "threats-to-life", "An offence of the other case", 120)
	if err != nil {
		t.Fatal(err)
	}
	warrant, err := x.Sign(t.Context(), draft, "court.jwk")
	if err != nil {
		t.Fatal(err)
	}
	said, code := tb.Escrow(t.Context(), "warrant", "file", warrant, "--evidence", x.Evidence, "--exhibits", x.Exhibits(), "--server", tb.Origin, "--json")
	var filed struct{ Case string }
	if err := json.Unmarshal([]byte(said), &filed); err != nil || code != 0 {
		t.Fatal(said)
	}
	if y, err = tb.Service.Registrar.Review(t.Context(), filed.Case); err != nil {
		t.Fatal(err)
	}
	return x, y
}

// The smallest case: `review X` shows X, and the registrar answers `approve X` with
// the file of Y. The approval and the share for Y left, and Y's grounds were
// printed. Whatever differs from the review, nothing is signed, sent or printed.
func TestFoundO1WhatIsSignedIsWhatWasShown(t *testing.T) {
	tb := startForTest(t)
	x, y := swaps(t, tb)
	p := &posted{lie: honest}
	if said, code := custodianSays(t, tb, p, "alba", "review", x.ID); code != 0 {
		t.Fatal(said)
	}
	for name, c := range map[string]struct {
		lie  liar
		code string
	}{
		"the other case":                  {func(f *opening.CaseFile) { *f = y }, "custodian.other_case"},
		"the other case, under this id":   {func(f *opening.CaseFile) { *f = y; f.Case = x.ID }, "custodian.not_what_was_reviewed"},
		"without its evidence":            {func(f *opening.CaseFile) { f.Submission.Evidence = nil }, "custodian.not_what_was_reviewed"},
		"other evidence beside its own":   {func(f *opening.CaseFile) { f.Submission.Evidence = append(f.Submission.Evidence, "x.y.z") }, "custodian.not_what_was_reviewed"},
		"another bundle":                  {func(f *opening.CaseFile) { f.Bundle = strings.Repeat("ab", 32) }, "custodian.other_bundle"},
		"the other case's leaf":           {func(f *opening.CaseFile) { f.Leaf = y.Leaf }, "custodian.case_mismatch"},
		"the other case's salt":           {func(f *opening.CaseFile) { f.Salt = y.Salt }, "custodian.case_mismatch"},
		"the other case's proof":          {func(f *opening.CaseFile) { f.Leaf.Proof = y.Leaf.Proof }, "package.not_logged"},
		"another record's label":          {func(f *opening.CaseFile) { f.Targets[0].Label = strings.Repeat("a", 26) }, "custodian.not_what_was_reviewed"},
		"another second half":             {func(f *opening.CaseFile) { anySecondHalf(f)[9] ^= 1 }, "custodian.not_what_was_reviewed"},
		"another link":                    {func(f *opening.CaseFile) { f.Targets[0].LinkSalt[0] ^= 1 }, "custodian.not_what_was_reviewed"},
		"no targets":                      {func(f *opening.CaseFile) { f.Targets = nil }, "custodian.not_what_was_reviewed"},
		"the other warrant and its proof": {func(f *opening.CaseFile) { f.Submission, f.Leaf, f.Salt = y.Submission, y.Leaf, y.Salt }, "custodian.not_what_was_reviewed"},
	} {
		for _, verb := range [][]string{{"approve", x.ID}, {"refuse", x.ID, "--reason", policy.DeclineReasons[0]}} {
			t.Run(verb[0]+" "+name, func(t *testing.T) {
				p.lie = c.lie
				said, code := custodianSays(t, tb, p, "alba", verb...)
				if code != 1 || !strings.Contains(said, c.code+":") || len(p.sent) != 0 || strings.Contains(said, "other case\n") || strings.Contains(said, "grounds") {
					t.Errorf("exit %d, %d answers sent: %s", code, len(p.sent), said)
				}
			})
		}
	}
	// What others answered is not what she answers to: it may grow, and is not signed.
	p.lie = func(f *opening.CaseFile) { f.Approvals = []string{"x.y.z"} }
	said, code := custodianSays(t, tb, p, "alba", "approve", x.ID)
	if code != 0 || len(p.sent) != 1 {
		t.Fatalf("exit %d, %d answers sent: %s", code, len(p.sent), said)
	}
	hash := policy.Hash(readWarrant(t, x))
	if a := signedBy(t, p.sent[0]); a.Case != x.ID || a.WarrantHash != hex.EncodeToString(hash[:]) || len(a.Shares) != 1 {
		t.Errorf("signed: %+v", a)
	}
}

// A registrar that shows Y under the id of X from the beginning has a custodian read
// Y and sign Y, which counts for nothing but Y. It cannot show both.
func TestFoundO1OneWarrantOneCase(t *testing.T) {
	tb := startForTest(t)
	x, y := swaps(t, tb)
	p := &posted{lie: func(f *opening.CaseFile) { *f = y; f.Case = x.ID }}
	said, code := custodianSays(t, tb, p, "alba", "review", x.ID)
	if code != 0 || !strings.Contains(said, "An offence of the other case") {
		t.Fatalf("exit %d: %s", code, said)
	}
	said, code = custodianSays(t, tb, p, "alba", "approve", x.ID)
	hash := policy.Hash(y.Submission.Warrant)
	if code != 1 || !strings.Contains(said, "custodian.wrong_case") || len(p.sent) != 1 || signedBy(t, p.sent[0]).WarrantHash != hex.EncodeToString(hash[:]) {
		t.Fatalf("exit %d: %s", code, said)
	}
	// The honest file of X, later, is not what she was shown, and Y as Y is a case that she knows.
	p.lie, p.sent = honest, nil
	if said, code = custodianSays(t, tb, p, "alba", "review", x.ID); code != 1 || !strings.Contains(said, "custodian.not_what_was_reviewed") {
		t.Errorf("exit %d: %s", code, said)
	}
	if said, code = custodianSays(t, tb, p, "alba", "review", y.Case); code != 1 || !strings.Contains(said, "custodian.warrant_of_another_case") {
		t.Errorf("exit %d: %s", code, said)
	}
	// Bruno has read both as they are. No label makes one of them the other.
	for _, id := range []string{x.ID, y.Case} {
		if said, code := custodianSays(t, tb, p, "bruno", "review", id); code != 0 {
			t.Fatal(said)
		}
	}
	p.lie = func(f *opening.CaseFile) { *f = y; f.Case = x.ID }
	for _, verb := range []string{"review", "approve"} {
		if said, code := custodianSays(t, tb, p, "bruno", verb, x.ID); code != 1 || !strings.Contains(said, "custodian.not_what_was_reviewed") || len(p.sent) != 0 {
			t.Errorf("%s: exit %d: %s", verb, code, said)
		}
	}
}

// An acknowledgement that is lost, or is another case's, changes nothing: the same
// answer goes out again byte for byte, and no other one in its place.
func TestFoundO1LostAcknowledgement(t *testing.T) {
	tb := startForTest(t)
	x, y := swaps(t, tb)
	p := &posted{lie: honest}
	if said, code := custodianSays(t, tb, p, "alba", "approve", x.ID); code != 1 || !strings.Contains(said, "custodian.not_reviewed") || len(p.sent) != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	if said, code := custodianSays(t, tb, p, "alba", "review", x.ID); code != 0 {
		t.Fatal(said)
	}
	p.answer = `{"case":"` + y.Case + `","state":"recorded","approvals":1,"quorum":2}`
	if said, code := custodianSays(t, tb, p, "alba", "approve", x.ID); code != 1 || !strings.Contains(said, "server.other_answer") || strings.Contains(said, "1 decided") {
		t.Fatalf("exit %d: %s", code, said)
	}
	p.answer = ""
	custodianSays(t, tb, p, "alba", "approve", x.ID) // what the registrar says to a repeat is its own test
	if len(p.sent) != 2 || p.sent[0] != p.sent[1] {
		t.Fatal("the repeat is another answer")
	}
	if said, code := custodianSays(t, tb, p, "alba", "refuse", x.ID, "--reason", policy.DeclineReasons[0]); code != 1 || !strings.Contains(said, "custodian.signed_otherwise") || len(p.sent) != 2 {
		t.Errorf("exit %d: %s", code, said)
	}
	if said, code := custodianSays(t, tb, p, "alba", "review", x.ID); code != 0 {
		t.Error("a second look: " + said)
	}
}

// A review is of the day: after a month the case is read again first.
func TestFoundO1ReviewGetsOld(t *testing.T) {
	tb := startForTest(t)
	st := filedCase(t, tb)
	p := &posted{lie: honest}
	if said, code := custodianSays(t, tb, p, "alba", "review", st.ID); code != 0 {
		t.Fatal(said)
	}
	tb.Clock.Advance(30*24*time.Hour + time.Second)
	if err := tb.Service.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said, code := custodianSays(t, tb, p, "alba", "refuse", st.ID, "--reason", policy.DeclineReasons[0]); code != 1 || !strings.Contains(said, "custodian.not_reviewed") || len(p.sent) != 0 {
		t.Errorf("exit %d: %s", code, said)
	}
}

// The smallest case: a custodian who declines signed a checkpoint that they never
// saw. A case whose leaf does not verify is not answered at all, and what is signed
// is the tree that the review saw.
func TestFoundA2DeclineSignsWhatWasVerified(t *testing.T) {
	tb := startForTest(t)
	x, y := swaps(t, tb)
	decline := []string{"refuse", x.ID, "--reason", policy.DeclineReasons[0]}
	p := &posted{lie: func(f *opening.CaseFile) { f.Leaf.Proof = y.Leaf.Proof }}
	for _, verb := range [][]string{{"review", x.ID}, decline} {
		if said, code := custodianSays(t, tb, p, "alba", verb...); code != 1 || !strings.Contains(said, "nothing was opened or signed") || len(p.sent) != 0 {
			t.Fatalf("exit %d: %s", code, said)
		}
	}
	p.lie = honest
	f, err := tb.Service.Registrar.Review(t.Context(), x.ID)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := opening.Logs(tb.Service.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	_, tree, err := opening.CheckRecorded(logs, f.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	// One that is on the record and does not pass the review can be declined.
	p.lie = func(f *opening.CaseFile) { f.Submission.Evidence = nil }
	said, code := custodianSays(t, tb, p, "alba", "review", x.ID)
	if code != 1 || !strings.Contains(said, "✗ warrant.") || !strings.Contains(said, "grounds:") {
		t.Fatalf("exit %d: %s", code, said)
	}
	if said, code = custodianSays(t, tb, p, "alba", decline...); code != 0 || len(p.sent) != 1 {
		t.Fatalf("exit %d: %s", code, said)
	}
	if a := signedBy(t, p.sent[0]); a.CheckpointSize != tree.Size || a.Decision != opening.Decline || a.LeafIndex != f.Leaf.Index {
		t.Errorf("signed %d, the review saw %d", a.CheckpointSize, tree.Size)
	}
}

// TestCustodianCatchesALyingRegistrar: what the registrar shows must be what the
// public log recorded, word for word, and what the token committed to.
func TestCustodianCatchesALyingRegistrar(t *testing.T) {
	tb := startForTest(t)
	st := filedCase(t, tb)
	other := newRogue(t, tb, "chidi", secondCase(t, st)).file // as good a case, of another warrant
	for name, c := range map[string]struct {
		lie  liar
		code string
	}{
		"honest":                  {func(*opening.CaseFile) {}, ""},
		"another case's leaf":     {func(f *opening.CaseFile) { f.Leaf = other.Leaf }, "custodian.case_mismatch"},
		"another salt":            {func(f *opening.CaseFile) { f.Salt = other.Salt }, "custodian.case_mismatch"},
		"no salt":                 {func(f *opening.CaseFile) { f.Salt = nil }, "custodian.case_mismatch"},
		"another warrant":         {func(f *opening.CaseFile) { f.Submission = other.Submission }, "custodian.case_mismatch"},
		"one target left out":     {func(f *opening.CaseFile) { f.Targets = nil }, "custodian.case_mismatch"},
		"another record's label":  {func(f *opening.CaseFile) { f.Targets[0].Label = strings.Repeat("a", 26) }, "custodian.record_mismatch"},
		"another second half":     {func(f *opening.CaseFile) { anySecondHalf(f)[9] ^= 1 }, "custodian.record_mismatch"},
		"a proof of another leaf": {func(f *opening.CaseFile) { f.Leaf.Proof = other.Leaf.Proof }, "package.not_logged"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			env := escrow.System()
			env.Stdout, env.Stderr, env.Now = &out, &errs, tb.Clock.Now
			env.HTTP = &http.Client{Transport: c.lie}
			code := escrow.Run(t.Context(), tb.AsCustodian("alba", "review", st.ID), env)
			if c.code == "" && code != 0 || c.code != "" && (code != 1 || !strings.Contains(errs.String(), c.code)) {
				t.Fatalf("exit %d: %s", code, errs.String())
			}
		})
	}
}

// platformFacts are what a registrar knows of all platforms when it decides.
func platformFacts(t *testing.T, w *world.World) policy.Facts {
	t.Helper()
	logged, err := w.Service.Registrar.Registry.Of(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	platforms, err := policy.NewPlatforms(logged, w.Service.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	return policy.Facts{Platforms: platforms}
}

// TestCustodianWaitsThoughTheRegistrarDoesNot: a registrar records a warrant whose
// person must be told first, tells nobody, and shows it to custodians at once. They look for
// the entry of the public log that says that the person was told.
func TestCustodianWaitsThoughTheRegistrarDoesNot(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := filedCase(t, tb)
	name, err := st.Draft("told-first.json", st.Post, st.Evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var draft map[string]any
	if err := json.Unmarshal(raw, &draft); err != nil {
		t.Fatal(err)
	}
	draft["secrecy"] = map[string]any{"ends": tb.Clock.Now().UTC().Truncate(24 * time.Hour), "reason": ""}
	if raw, err = json.Marshal(draft); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	signed := st.Path("told-first.jws")
	if err := st.SignUnchecked(name, "court.jwk", signed); err != nil {
		t.Fatal(err)
	}
	warrant, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := os.ReadFile(st.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	s := policy.Submission{Warrant: strings.TrimSpace(string(warrant)), Evidence: []string{strings.TrimSpace(string(evidence))}}
	now := tb.Clock.Now()
	d := policy.Decide(s, tb.Service.Bundle, platformFacts(t, tb), now)
	c := disclose.Case{
		ID: strings.Repeat("a", 26), WarrantHash: d.WarrantHash, Authority: d.Warrant.Authority, WarrantID: d.Warrant.ID, Submission: s,
		Bundle: tb.Service.Bundle.Hash(), Salt: [32]byte{1}, Quorum: d.Quorum, State: disclose.Recorded,
		SecrecyEnds: d.Warrant.Secrecy.Ends, Expires: d.Warrant.Expiry, ApproveFrom: now, // at once
		KeepDays:     tb.Service.Bundle.AppealDays,
		Compartments: [][]string{{"identity"}}, Kind: d.Warrant.Kind, Targets: []disclose.CaseTarget{{State: disclose.TargetWaiting}},
	}
	readers := append(tb.Service.Bundle.Recipients(), d.Warrant.Requester.DeliveryKey)
	for _, x := range d.Exhibits {
		c.Exhibits = append(c.Exhibits, disclose.SealedExhibit{Digest: x.Digest, Length: exhibit.SealedSize(x.Length, len(readers))})
	}
	leaf := policy.RecordedLeaf(s.Warrant, d.Warrant, c.Salt, c.Bundle, c.Quorum, proof.Day(now), d.RecordedFacets(tb.Service.Bundle)...)
	c.First = disclose.First{Days: d.NoticeDays(), TellBy: now.AddDate(1, 0, 0)}
	leaf.NoticeDays = c.First.Days // or no custodian would look at it
	if _, err := tb.Service.Registrar.Cases.File(ctx, c, leaf); err != nil {
		t.Fatal(err)
	}
	found, err := exhibit.Find(st.Exhibits(), d.Exhibits)
	if err != nil {
		t.Fatal(err)
	}
	for digest, name := range found {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		var sealed bytes.Buffer
		if err := errors.Join(exhibit.Seal(&sealed, readers, f), f.Close(), tb.Service.Registrar.Cases.PutExhibit(ctx, c.ID, digest, sealed.Bytes())); err != nil {
			t.Fatal(err)
		}
	}
	if said, code := tb.Escrow(ctx, tb.AsCustodian("alba", "review", c.ID)...); code != 0 {
		t.Fatal(said)
	}
	for _, days := range []int{0, 5, 5} { // nobody was told, and no day begins
		tb.Clock.Advance(time.Duration(days) * 24 * time.Hour)
		if err := tb.Service.Publish(ctx); err != nil {
			t.Fatal(err)
		}
		if err := st.Refused(ctx, "custodian.notice_period", tb.AsCustodian("alba", "approve", c.ID)...); err != nil {
			t.Errorf("after %d days: %v", days, err)
		}
	}
}

// anySecondHalf is one of the first target, of either version.
func anySecondHalf(f *opening.CaseFile) []byte {
	for _, half := range f.Targets[0].SecondHalves {
		return half
	}
	return f.Targets[0].SecondHalf
}
