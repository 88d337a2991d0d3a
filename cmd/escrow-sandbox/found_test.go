package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// update writes the delivery that other packages test with.
var update = flag.Bool("update", false, "write verifier/opening/testdata, escrow/requester/testdata and deploy/prometheus/testdata")

// ask returns what a stranger is answered, who has no key.
func ask(t *testing.T, address string) (status int, body []byte) {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// TestFoundK2AStrangerLearnsStateAndCounts asks about a case, in each of its states,
// all that can be asked with its id and without a key. It used to be answered with
// grounds, pen name and officer.
func TestFoundK2AStrangerLearnsStateAndCounts(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := filedCase(t, tb)
	st.Author = sandbox.People()[1]
	warrant, err := os.ReadFile(st.Warrant)
	if err != nil {
		t.Fatal(err)
	}
	needles := encodings([]string{string(st.Post.Author), "DS R. Amari", "Thornley Police", "The post in evidence", "county-court", "Investigatory Powers Act",
		"threats-to-life", "TC 118", policy.Production, strings.Split(string(warrant), ".")[1], tb.Service.Bundle.Hash()})
	stranger := func(state string) {
		t.Helper()
		code, body := ask(t, tb.Origin+registrar.Fill(registrar.PathWarrant, st.ID))
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil || code != http.StatusOK || fields["state"] != state {
			t.Fatalf("%d %s", code, body)
		}
		if names := slices.Sorted(maps.Keys(fields)); !slices.Equal(names, []string{"approvals", "case", "deadlines", "decided", "declined", "quorum", "state", "targets"}) {
			t.Errorf("%s: the status has %v", state, names)
		}
		report(t, state+": the status", body, needles)
		_, body = ask(t, tb.Origin+registrar.Fill(registrar.PathPackage, st.ID))
		report(t, state+": the package", body, needles)
		for _, path := range []string{registrar.Fill(registrar.PathCase, st.ID), registrar.PathCases} {
			if code, body = ask(t, tb.Origin+path); code != http.StatusUnauthorized {
				t.Errorf("%s: %s answers a stranger %d", state, path, code)
			}
			report(t, state+": "+path, body, needles)
		}
	}
	stranger("recorded")
	for _, custodian := range []string{"alba", "bruno"} {
		if err := st.Approve(ctx, custodian); err != nil {
			t.Fatal(err)
		}
	}
	stranger("released")

	// Base64 inside base64 would hide from the search; what can be read can be packed.
	_, sealed := ask(t, tb.Origin+registrar.Fill(registrar.PathPackage, st.ID))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(sealed); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	if packed.Len() < len(sealed) {
		t.Errorf("%d bytes can be packed into %d", len(sealed), packed.Len())
	}
	if err := st.Open(ctx); err != nil {
		t.Fatal(err)
	}
	tb.Clock.Advance(70 * 24 * time.Hour)
	if err := tb.Service.ServeCases(ctx); err != nil {
		t.Fatal(err)
	}
	stranger("noticed")
}

// TestSavedDelivery: what a requester saves is all that an appeal court needs beside
// the rules, it is theirs alone to read, and it is never written over.
//
//	go test ./cmd/escrow-sandbox -run TestSavedDelivery -update
//
// makes the delivery, the rules and the key that other packages test with.
func TestSavedDelivery(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := filedCase(t, tb)
	for _, custodian := range []string{"alba", "bruno"} {
		if err := st.Approve(ctx, custodian); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "delivery.json")
	args := append(st.OpenArgs(), "--save", file)
	if said, code := tb.Escrow(ctx, args...); code != 0 {
		t.Fatal(said)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := st.Refused(ctx, "file.exists", args...); err != nil {
		t.Error(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var saved opening.Delivery
	if err := json.Unmarshal(raw, &saved); err != nil {
		t.Fatal(err)
	}
	if o, err := opening.Verify(saved, tb.Service.Bundle); err != nil || len(o.Certificate.Custodians) != 2 {
		t.Fatal(err)
	}
	if *update {
		for from, to := range map[string]string{
			file: "../../verifier/opening/testdata/delivery.json", tb.Path("bundle.json"): "../../verifier/opening/testdata/bundle.json",
			tb.Path("requester.key"): "../../escrow/requester/testdata/requester.key",
		} {
			b, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFoundK1StrangersWriteNothing: over HTTP, what no court of the rules signed
// leaves the log as it was, and one line in the operator's.
func TestFoundK1StrangersWriteNothing(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := filedCase(t, tb)
	before := leaves(t, tb)
	draft, err := st.Draft("mine.json", st.Post, st.Evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		t.Fatal(err)
	}
	selfMade := st.Path("mine.jws")
	if err := st.SignUnchecked(draft, "unknown-court.jwk", selfMade); err != nil {
		t.Fatal(err)
	}
	for code, file := range map[string]string{"warrant.unsigned": st.Path("bundle.json"), "warrant.": selfMade} {
		for range 2 {
			if err := st.Refused(ctx, code, "warrant", "file", file, "--evidence", st.Evidence, "--exhibits", st.Exhibits(), "--server", tb.Origin); err != nil {
				t.Error(err)
			}
		}
	}
	if after := leaves(t, tb); !maps.Equal(before, after) {
		t.Errorf("the log had %v and has %v", before, after)
	}
}
