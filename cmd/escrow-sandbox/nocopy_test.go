package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/verifier/token"
)

// describe files a warrant about what nobody may copy, which the court describes.
func describe(t *testing.T, x *world.Case, description string) (id string) {
	t.Helper()
	draft, err := x.Draft("abuse.json", x.Post, x.Evidence, "child_sexual_abuse", "An offence of this class", 120)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(draft)
	if err != nil {
		t.Fatal(err)
	}
	var w map[string]any
	if err := json.Unmarshal(raw, &w); err != nil {
		t.Fatal(err)
	}
	target := w["targets"].([]any)[0].(map[string]any)
	target["descriptions"] = map[string]any{target["evidence"].(string): description}
	if raw, err = json.Marshal(w); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(draft, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	warrant, err := x.Sign(t.Context(), draft, "court.jwk")
	if err != nil {
		t.Fatal(err)
	}
	file := []string{"warrant", "file", warrant, "--evidence", x.Evidence, "--exhibits", x.Exhibits(), "--server", x.Origin}
	if said, code := x.Escrow(t.Context(), file...); code != 0 || !strings.Contains(said, "nothing of "+x.Exhibits()+" was sent") {
		t.Error(said)
	}
	said, code := x.Escrow(t.Context(), append(file, "--json")...)
	var filed struct{ Case string }
	if err := json.Unmarshal([]byte(said), &filed); err != nil || code != 0 {
		t.Fatal(said)
	}
	return filed.Case
}

// What nobody may copy is not sent by the program that files, and not taken from any other:
// the custodians read what the court describes, and the certificate says that it was withheld.
func TestWhatNobodyMayCopyIsNotStored(t *testing.T) {
	tb := startForTest(t)
	x := filedCase(t, tb)
	const described = "A picture of the abuse of a child, canary-nineteen."
	x.ID = describe(t, x, described)

	raw, err := os.ReadFile(x.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	e, err := token.ParseUnverifiedEvidence(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	declared := e.Post.Exhibits[0]
	content, err := os.ReadFile(filepath.Join(x.Exhibits(), declared.Name()))
	if err != nil {
		t.Fatal(err)
	}
	client := &registrar.Client{Server: tb.Origin, HTTP: http.DefaultClient, Now: tb.Clock.Now}
	to := append(tb.Service.Bundle.Recipients(), deliveryKey(t, x))
	err = exhibit.Send(declared, strings.NewReader(string(content)), to, func(sealed io.Reader, length int64) error {
		return client.PutExhibit(t.Context(), x.ID, declared.Digest, sealed, length)
	})
	var problem *registrar.Problem
	if !errors.As(err, &problem) || problem.Code != "exhibit.undeclared" {
		t.Error("the registrar takes it:", err)
	}
	stored, err := client.Exhibits(t.Context(), x.ID)
	if err != nil || stored.Stored != 0 || len(stored.Missing) != 0 {
		t.Error(stored, err)
	}

	for _, id := range []string{"alba", "bruno"} {
		folder := x.Path("read-by-" + id)
		var both strings.Builder
		code := programs.Escrow(t.Context(), tb.AsCustodian(id, "review", x.ID, "--exhibits-to", folder), tb.Clock.Now, &both, &both)
		said := both.String()
		if code != 0 || !strings.Contains(said, ": withheld, nobody may copy it\n    the court describes it:\n      | "+described) {
			t.Error(said)
		}
		if strings.Contains(said, "what was published is in") {
			t.Error("a folder that there is not:", said)
		}
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Error("something was saved:", err)
		}
		if said, code := tb.Escrow(t.Context(), tb.AsCustodian(id, "approve", x.ID)...); code != 0 {
			t.Fatal(said)
		}
	}
	said, code := tb.Escrow(t.Context(), x.OpenArgs()...)
	if code != 0 || !strings.Contains(said, "Dexter Crallow") || !strings.Contains(said, "withheld   sha256 "+declared.Name()) {
		t.Error(said)
	}
}

// deliveryKey is that of the case's requester.
func deliveryKey(t *testing.T, x *world.Case) string {
	t.Helper()
	b, err := os.ReadFile(x.Path("requester.pub"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
