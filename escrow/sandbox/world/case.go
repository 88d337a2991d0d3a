package world

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/policy"
)

// Case is a warrant against the author of a post, and what becomes of it.
type Case struct {
	*World
	Post     Post           // the post in evidence
	Evidence string         // file with the evidence
	Warrant  string         // file with the court's order
	ID       string         // once it is filed
	Author   sandbox.Person // whose name it opens
}

// Exhibits is the folder with the words of the posts in evidence.
func (w *World) Exhibits() string { return w.Path("exhibits") }

// SaveExhibit writes the words of a post into Exhibits, as its platform hands them over.
func (w *World) SaveExhibit(about Post) error {
	if err := os.MkdirAll(w.Exhibits(), 0o700); err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(about.Text))
	return os.WriteFile(w.Path("exhibits", hex.EncodeToString(digest[:])), []byte(about.Text), 0o600)
}

// SaveEvidence writes Town Square's evidence about a post to a file below Dir, and the
// words of the post into Exhibits.
func (w *World) SaveEvidence(name string, about Post) (string, error) {
	signed, err := w.Town.Evidence(about)
	if err != nil {
		return "", err
	}
	if err := w.SaveExhibit(about); err != nil {
		return "", err
	}
	return w.Path(name), os.WriteFile(w.Path(name), []byte(signed), 0o600)
}

// Draft writes a warrant about a post on Town Square to a file below Dir, as a
// court clerk would. months is the maximum penalty.
func (w *World) Draft(name string, about Post, evidence, offence, description string, months int) (string, error) {
	signed, err := os.ReadFile(evidence)
	if err != nil {
		return "", err
	}
	delivery, err := os.ReadFile(w.Path("requester.pub"))
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(signed)
	requester := map[string]any{"name": "DS R. Amari", "organisation": police.Name, "delivery_key": string(delivery)}
	warrant := map[string]any{
		"kind": policy.Production, "authority": "county-court", "jurisdiction": "GB", "file_number": "TC 118 of " + w.Clock.Now().Format("2006"),
		"legal_basis": "Investigatory Powers Act 2016, Part 3", "offence_class": offence, "offence": description, "max_penalty_months": months,
		"grounds": "The post in evidence, made under the pen name.", "necessity": "No other way to find its author is known.",
		"proportionality": "One pen name, and only who holds it.",
		"targets":         []map[string]any{{"pseudonym": about.Author, "platform": w.Town.ID, "evidence": hex.EncodeToString(digest[:])}},
		"requester":       requester,
		"fields":          []string{"name"}, "deadline": policy.TenDays, "audience": w.Origin,
		"secrecy": map[string]any{"ends": w.Clock.Now().AddDate(0, 2, 0).UTC().Truncate(24 * time.Hour), "reason": "The suspect could destroy evidence."},
	}
	rules, err := w.readRules()
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(rules.Offences, func(o policy.Offence) bool { return o.Class == offence }); i >= 0 { // since format 5
		warrant["offence_id"], requester["organisation_id"] = rules.Offences[i].ID, police.ID
	}
	b, err := json.Marshal(warrant)
	if err != nil {
		return "", err
	}
	return w.Path(name), os.WriteFile(w.Path(name), b, 0o600)
}

// readRules reads the bundle in Dir, and parses it if it is another than last.
func (w *World) readRules() (*policy.Bundle, error) {
	b, err := os.ReadFile(w.Path("bundle.json"))
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(b)
	if last := w.bundle.Load(); last != nil && last.Hash() == hex.EncodeToString(hash[:]) {
		return last, nil
	}
	parsed, err := policy.ParseBundle(b)
	w.bundle.Store(parsed)
	return parsed, err
}

// Sign signs a draft with a court's key, a file below Dir.
func (w *World) Sign(ctx context.Context, draft, key string) (string, error) {
	out := strings.TrimSuffix(draft, ".json") + ".jws"
	_, err := w.do(ctx, append(w.signArgs(draft, key), "--out", out, "--force")...)
	return out, err
}

func (w *World) signArgs(draft, key string) []string {
	return []string{"warrant", "sign", draft, "--key", w.Path(key), "--bundle", w.Path("bundle.json")}
}

// SignUnchecked signs a draft with a program that checks nothing, as a court could
// that wants what the rules forbid.
func (w *World) SignUnchecked(draft, key, out string) error {
	raw, err := os.ReadFile(draft)
	if err != nil {
		return err
	}
	warrant, err := policy.ParseDraft(raw)
	if err != nil {
		return err
	}
	rules, err := w.readRules()
	if err != nil {
		return err
	}
	id := sha256.Sum256(raw)
	warrant.Complete(rules, [16]byte(id[:16]), w.Clock.Now())
	var k jose.JSONWebKey
	b, err := os.ReadFile(w.Path(key))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &k); err != nil {
		return err
	}
	signed, err := policy.SignWarrant(k, *warrant)
	if err != nil {
		return err
	}
	return os.WriteFile(out, []byte(signed), 0o600)
}

// Refused runs the escrow program and fails unless it exits 1 with that text.
func (w *World) Refused(ctx context.Context, want string, args ...string) error {
	said, code := w.Escrow(ctx, args...)
	switch {
	case code == 0:
		return errors.New("it was not refused")
	case code != 1 || !strings.Contains(said, want):
		return fmt.Errorf("refused otherwise than with %q (exit %d): %s", want, code, said)
	}
	return nil
}

// File drafts, signs and files the warrant: threats to life, for the name.
func (c *Case) File(ctx context.Context) error {
	draft, err := c.Draft("warrant.json", c.Post, c.Evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		return err
	}
	if c.Warrant, err = c.Sign(ctx, draft, "court.jwk"); err != nil {
		return err
	}
	said, err := c.do(ctx, "warrant", "file", c.Warrant, "--evidence", c.Evidence, "--exhibits", c.Exhibits(), "--server", c.Origin, "--json")
	if err != nil {
		return err
	}
	var st struct{ Case, State string }
	if err := json.Unmarshal([]byte(said), &st); err != nil {
		return err
	}
	if c.ID = st.Case; st.State != "recorded" {
		return errors.New("the case is " + st.State)
	}
	return nil
}

// OpenArgs are the arguments of `escrow warrant open` for the officer who asked.
func (c *Case) OpenArgs() []string {
	return []string{"warrant", "open", c.ID, "--key", c.Path("requester.key"), "--bundle", c.Path("bundle.json"), "--server", c.Origin}
}

// Approve has a custodian review the case and approve it.
func (c *Case) Approve(ctx context.Context, custodian string) error {
	if _, err := c.do(ctx, c.AsCustodian(custodian, "review", c.ID, "--exhibits-to", c.Path("read-by-"+custodian))...); err != nil {
		return err
	}
	_, err := c.do(ctx, c.AsCustodian(custodian, "approve", c.ID)...)
	return err
}

// Open opens the released package: to the author's name, and to no more.
func (c *Case) Open(ctx context.Context) error {
	said, err := c.do(ctx, c.OpenArgs()...)
	if err != nil {
		return err
	}
	if !strings.Contains(said, c.Author.Name) {
		return errors.New("the package opens, but not to its author's name")
	}
	if strings.Contains(said, c.Author.Birthdate) || strings.Contains(said, c.Author.Email) {
		return errors.New("the package opens to more than the warrant names")
	}
	return nil
}
