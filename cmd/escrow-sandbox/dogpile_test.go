package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// TestDogpile opens every account of a dogpile with one warrant: many pen
// names, several posts each, one decision, one release. BenchmarkDogpile has
// the size that Penname is made for, 600 accounts and 5,000 posts.
func TestDogpile(t *testing.T) {
	tb := startForTest(t)
	playDogpile(t, tb, 12, 60)
}

// BenchmarkDogpile files 5,000 posts of 50 KB each against 600 accounts, and checks them,
// each by a process of its own: the figures are the most memory that it had, or that this
// process had when it began it, which Linux counts with it.
func BenchmarkDogpile(b *testing.B) {
	program := escrowProgram(b)
	tb := startForTest(b)
	warrant, evidence, exhibits := dogpile(b, tb, 600, 5000, 50_000)
	public, err := tb.Town.EvidenceKey.Public().MarshalJSON()
	if err != nil {
		b.Fatal(err)
	}
	keys := writeIn(b, tb, "town-square.pub", string(public))
	for _, deed := range []struct {
		name string
		args []string
	}{
		{"check", []string{"evidence", "check", evidence, "--issuer", tb.Origin, "--platform-keys", keys, "--exhibits", exhibits}},
		{"file", []string{"warrant", "file", warrant, "--evidence", evidence, "--exhibits", exhibits, "--server", tb.Origin}},
	} {
		b.Run(deed.name, func(b *testing.B) {
			peak := int64(0)
			for b.Loop() {
				c := exec.CommandContext(b.Context(), program, deed.args...)
				if out, err := c.CombinedOutput(); err != nil {
					b.Fatalf("%v: %.2000s", err, out)
				}
				peak = max(peak, c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10)
			}
			b.ReportMetric(float64(peak)/(1<<20), "MiB")
			b.ReportMetric(float64(peak)/(100<<20), "ratio") // to the aim
			b.ReportMetric(1, "aim-max")
		})
	}
}

// escrowProgram is the program of everybody outside, as it is installed.
func escrowProgram(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "escrow")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", program, "../escrow").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return program
}

// BenchmarkDogpileSteps takes an order against 600 accounts with 5,000 posts through all that
// people wait for, each step by a process of its own: the figures are the seconds that it
// takes, and beside them its memory. The second custodian's approval releases. The ratio is to
// two seconds.
func BenchmarkDogpileSteps(b *testing.B) {
	const accounts, posts, aim = 600, 5000, 2 * time.Second
	program := escrowProgram(b)
	tb := startForTest(b)
	warrant, evidence, exhibits := dogpile(b, tb, accounts, posts, 100)
	type answer struct {
		Target  int      `json:"target"`
		Answers []string `json:"answers"`
	}
	answers := make([]answer, accounts)
	for i := range answers {
		answers[i] = answer{i + 1, []string{"yes"}}
	}
	said, err := json.Marshal(answers)
	if err != nil {
		b.Fatal(err)
	}
	file := writeIn(b, tb, "answers.json", string(said))
	var filed struct{ Case string }
	first, second := world.Custodians[0].ID, world.Custodians[1].ID
	for _, step := range []struct {
		name string // "": it is not measured
		args func() []string
	}{
		{"intake", func() []string {
			return []string{"warrant", "file", warrant, "--evidence", evidence, "--exhibits", exhibits, "--server", tb.Origin, "--json"}
		}},
		{"review", func() []string { return tb.AsCustodian(first, "review", filed.Case) }},
		{"approval", func() []string { return tb.AsCustodian(first, "approve", filed.Case, "--answers", file) }},
		{"", func() []string { return tb.AsCustodian(second, "review", filed.Case) }},
		{"approval and release", func() []string { return tb.AsCustodian(second, "approve", filed.Case, "--answers", file) }},
		{"opening", func() []string {
			return []string{"warrant", "open", filed.Case, "--key", tb.Path("requester.key"), "--bundle", tb.Path("bundle.json"), "--server", tb.Origin}
		}},
	} {
		c := exec.CommandContext(b.Context(), program, step.args()...)
		began := time.Now()
		out, err := c.Output() // once: what is done again is only looked up
		took := time.Since(began)
		if err != nil {
			b.Fatalf("%s: %v: %.2000s", step.name, err, out)
		}
		if filed.Case == "" {
			if err := json.Unmarshal(out, &filed); err != nil {
				b.Fatal(err)
			}
		}
		if step.name == "" {
			continue
		}
		b.Run(step.name, func(b *testing.B) {
			b.ReportMetric(took.Seconds(), "s")
			b.ReportMetric(float64(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/(1<<10), "~MiB")
			b.ReportMetric(float64(took)/float64(aim), "ratio")
			b.ReportMetric(1, "aim-max")
		})
	}
}

func playDogpile(t testing.TB, tb *world.World, accounts, posts int) {
	t.Helper()
	ctx := t.Context()
	warrant, evidence, exhibits := dogpile(t, tb, accounts, posts, 100)
	said, code := tb.Escrow(ctx, "warrant", "file", warrant, "--evidence", evidence, "--exhibits", exhibits, "--server", tb.Origin, "--json")
	if code != 0 {
		t.Fatal(said)
	}
	var filed struct{ Case string }
	if err := json.Unmarshal([]byte(said), &filed); err != nil {
		t.Fatal(err)
	}
	for _, c := range world.Custodians[:world.Quorum] {
		for _, verb := range []string{"review", "approve"} {
			if said, code := tb.Escrow(ctx, tb.AsCustodian(c.ID, verb, filed.Case)...); code != 0 {
				t.Fatal(said)
			}
		}
	}
	said, code = tb.Escrow(ctx, "warrant", "open", filed.Case, "--key", tb.Path("requester.key"), "--bundle", tb.Path("bundle.json"), "--server", tb.Origin)
	if code != 0 {
		t.Fatal(said)
	}
	for i := range accounts {
		if want := fmt.Sprintf("Piler Number %d\n", i); !strings.Contains(said, want) {
			t.Fatalf("account %d was not opened to its own name", i)
		}
	}
}

// dogpile enrols people, lets each post texts of some bytes, and writes the warrant, the
// file of evidence against them all and the folder of what was published. The tokens are signed as the OpenID provider signs
// them; the sign-ins themselves are played elsewhere.
func dogpile(t testing.TB, tb *world.World, accounts, posts, size int) (warrant, evidence, exhibits string) {
	t.Helper()
	ctx := t.Context()
	exhibits = t.TempDir()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: tb.Service.Issuing.TokenKeys[0].JWK}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	issuer := issuerOf(t, tb)
	var all []string
	var targets []policy.Target
	now := tb.Clock.Now()
	for i := range accounts {
		person, _, err := issuer.Enrol(ctx, identity.Identity{
			Issuer: identity.Private(tb.Identity), Subject: identity.Private(fmt.Sprintf("piler-%d", i)),
			Name: identity.Private(fmt.Sprintf("Piler Number %d", i)), Birthdate: "1990-01-01", Address: "Nowhere", ACR: "high",
		})
		if err != nil {
			t.Fatal(err)
		}
		name, commitment, err := issuer.Pseudonym(ctx, person, tb.Town.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		raw := signedToken(t, signer, map[string]any{
			"iss": tb.Origin, "sub": name, "aud": tb.Town.ID, "jti": fmt.Sprint("jti-", i), "acr": "high",
			"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
			"penname_commitment": base64.RawURLEncoding.EncodeToString(commitment[:]),
		})
		target := policy.Target{Pseudonym: name, Platform: tb.Town.ID}
		for n := i; n < posts; n += accounts {
			said := fmt.Append(nil, "threat ", n, strings.Repeat(".", size))[:size]
			words, err := token.NewExhibit("text/plain", bytes.NewReader(said))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(exhibits, words.Name()), said, 0o600); err != nil {
				t.Fatal(err)
			}
			signed, err := token.SignEvidence(tb.Town.EvidenceKey, token.Evidence{Platform: tb.Town.ID, Token: raw, Post: token.Post{
				URL: fmt.Sprintf("%s/posts/%d", tb.Town.Origin, n), At: now, Exhibits: []token.Exhibit{words},
			}})
			if err != nil {
				t.Fatal(err)
			}
			digest := sha256.Sum256([]byte(signed))
			if all = append(all, signed); target.Evidence == "" {
				target.Evidence = hex.EncodeToString(digest[:])
			} else {
				target.Further = append(target.Further, hex.EncodeToString(digest[:]))
			}
		}
		targets = append(targets, target)
	}
	return dogpileWarrant(t, tb, targets), writeIn(t, tb, "evidence-dogpile.txt", strings.Join(all, "\n")), exhibits
}

// issuerOf is the issuing side as the service has it.
func issuerOf(t testing.TB, tb *world.World) *issue.Issuer {
	t.Helper()
	custodians, err := threshold.ParsePublicKey(tb.Service.Bundle.ThresholdKey)
	if err != nil {
		t.Fatal(err)
	}
	i := tb.Service.Issuing
	return &issue.Issuer{Keys: i.Keys, Store: i.Store, Custodians: func() (seal.Custodians, error) { return seal.Custodians{Key: custodians}, nil }, Now: tb.Clock.Now}
}

func dogpileWarrant(t testing.TB, tb *world.World, targets []policy.Target) string {
	t.Helper()
	delivery, err := os.ReadFile(tb.Path("requester.pub"))
	if err != nil {
		t.Fatal(err)
	}
	draft, err := json.Marshal(policy.Warrant{
		Kind: policy.Production, Authority: "county-court", Jurisdiction: "GB", FileNumber: "TC 119", LegalBasis: "Investigatory Powers Act 2016, Part 3",
		OffenceClass: "threats-to-life", OffenceID: "threats-to-life", Offence: "Threats to kill", MaxPenaltyMonths: 120, Grounds: "The posts in evidence.",
		Necessity: "No other way is known.", Proportionality: "Only who holds the pen names.", Targets: targets,
		Requester: policy.Requester{Name: "DS R. Amari", Organisation: "Thornley Police", OrganisationID: "thornley-police", DeliveryKey: string(delivery)},
		Fields:    []string{"name"}, Deadline: policy.TenDays, Audience: tb.Origin,
		Secrecy: policy.Secrecy{Ends: tb.Clock.Now().AddDate(0, 2, 0).UTC().Truncate(24 * time.Hour), Reason: "The suspects could destroy evidence."},
	})
	if err != nil {
		t.Fatal(err)
	}
	st := &world.Case{World: tb}
	signed, err := st.Sign(t.Context(), writeIn(t, tb, "dogpile.json", string(draft)), "court.jwk")
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func signedToken(t testing.TB, signer jose.Signer, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func writeIn(t testing.TB, tb *world.World, name, content string) string {
	t.Helper()
	if err := os.WriteFile(tb.Path(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return tb.Path(name)
}
