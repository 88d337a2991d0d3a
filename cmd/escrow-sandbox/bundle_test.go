package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	escrowd "github.com/penname/penname/cmd/escrowd/command"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
)

// TestFirstBundle: an operator comes from nothing to rules that custodians can
// endorse with the programs alone: a log's key, a draft, and the transcript of
// the custodians' first ceremony.
func TestFirstBundle(t *testing.T) {
	tb := startForTest(t)
	operator := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := escrowd.Run(t.Context(), args, &out, &errs); code != 0 {
			t.Fatalf("%v: %d %s", args, code, errs.String())
		}
		return strings.TrimSpace(out.String())
	}
	refused := func(code string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if c := escrowd.Run(t.Context(), args, &out, &errs); c != 1 || !strings.HasPrefix(errs.String(), "escrowd: "+code+": ") {
			t.Errorf("%v: %d %s", args, c, errs.String())
		}
	}
	dir := t.TempDir()
	key, draft, next := filepath.Join(dir, "log.key"), filepath.Join(dir, "draft.json"), filepath.Join(dir, "next.json")
	vkey := operator("log", "keygen", key, "--origin", "penname.example/log")
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the log's key:", info.Mode(), err)
	}
	refused("file.exists", "log", "keygen", key, "--origin", "penname.example/log")
	refused("log.config", "log", "keygen", key+"2", "--origin", "with space")

	raw, err := os.ReadFile(tb.Path("bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	var b map[string]any
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"custodians", "threshold", "threshold_key", "ceremony", "policies", "fields", "compartments", "version"} {
		delete(b, name)
	}
	b["log"].(map[string]any)["origin"], b["log"].(map[string]any)["vkey"] = "penname.example/log", vkey
	save := func() {
		text, err := json.MarshalIndent(b, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(draft, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	save()
	refused("bundle.bad_key", "bundle", "write", draft, "--out", next) // no ceremony yet
	transcripts, err := filepath.Glob(tb.Path("custodians", "alba", "transcript-*.json"))
	if err != nil || len(transcripts) != 1 {
		t.Fatal(transcripts, err)
	}
	operator("ceremony", "bundle", transcripts[0], "--from", draft, "--out", next)
	made, err := os.ReadFile(next)
	if err != nil {
		t.Fatal(err)
	}
	first, err := policy.ParseBundle(made)
	if err != nil {
		t.Fatal(err)
	}
	if in := tb.Service.Bundle; first.ThresholdKey != in.ThresholdKey || first.Threshold != world.Quorum || len(first.Custodians) != len(world.Custodians) || len(first.Policies) == 0 {
		t.Error("the bundle is not that of the ceremony")
	}

	// Later rules are a copy with a change, however a person has spaced it.
	if err := json.Unmarshal(made, &b); err != nil {
		t.Fatal(err)
	}
	b["max_targets"] = 10
	save()
	said := operator("bundle", "write", draft, "--out", next, "--force", "--json")
	if made, err = os.ReadFile(next); err != nil {
		t.Fatal(err)
	}
	if second, err := policy.ParseBundle(made); err != nil || second.MaxTargets != 10 || !strings.Contains(said, second.Hash()) {
		t.Error(said, err)
	}
	b["max_target"] = 10
	save()
	refused("bundle.bad_draft", "bundle", "write", draft, "--out", next)
}
