package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/registrar"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

var large = flag.Bool("dogpile", false, "play TestDogpile with 600 accounts and 5,000 posts")

// TestDogpile answers an order against the many accounts of a dogpile, with several posts each.
// With -dogpile it has the size that Penname is made for.
func TestDogpile(t *testing.T) {
	accounts, posts := 12, 40
	if *large {
		accounts, posts = 600, 5000
	}
	tb := startForTest(t)
	playDogpile(t, tb, accounts, posts, func(_ string, args ...string) string {
		said, code := tb.Escrow(t.Context(), args...)
		if code != 0 {
			t.Fatalf("%.2000s", said)
		}
		return said
	})
}

// BenchmarkDogpile files 5,000 posts of 50 KB each against 600 accounts, and checks them,
// each by a process of its own: the figures are the most memory that it had, or that this
// process had when it began it, which Linux counts with it.
func BenchmarkDogpile(b *testing.B) {
	program := escrowProgram(b)
	tb := startForTest(b)
	warrant, evidence, exhibits := dogpile(b, tb, 600, 5000, 50_000, false)
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
func escrowProgram(b testing.TB) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "escrow")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", program, "../escrow").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return program
}

// BenchmarkDogpileSteps plays TestDogpile at its full size, each step by a process of its own:
// the figures are the seconds that people wait for it, and beside them its memory. The ratio is
// to two seconds.
func BenchmarkDogpileSteps(b *testing.B) {
	const aim = 2 * time.Second
	program := escrowProgram(b)
	playDogpile(b, startForTest(b), 600, 5000, func(step string, args ...string) string {
		c := exec.CommandContext(b.Context(), program, args...)
		began := time.Now()
		out, err := c.Output() // once: what is done again is only looked up
		took := time.Since(began)
		if err != nil {
			b.Fatalf("%s: %v: %.2000s", step, err, out)
		}
		if step != "" {
			b.Run(step, func(b *testing.B) {
				b.ReportMetric(took.Seconds(), "s")
				b.ReportMetric(float64(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/(1<<10), "~MiB")
				b.ReportMetric(float64(took)/float64(aim), "ratio")
				b.ReportMetric(1, "aim-max")
			})
		}
		return string(out)
	})
}

// playDogpile takes an order against accounts through all that people wait for. The first
// account is erased and the evidence against the second is wrong: each is named with its place,
// and hurts no other. Custodians say no to every tenth. The rest is opened, each to its own
// name. run runs the program, and measures what has a name.
func playDogpile(t testing.TB, tb *world.World, accounts, posts int, run func(step string, args ...string) string) {
	t.Helper()
	warrant, evidence, exhibits := dogpile(t, tb, accounts, posts, 100, true)
	said := run("intake", "warrant", "file", warrant, "--evidence", evidence, "--exhibits", exhibits, "--server", tb.Origin, "--json")
	var filed registrar.CaseStatus
	if err := json.Unmarshal([]byte(said), &filed); err != nil {
		t.Fatal(err)
	}
	var answers []custodian.Answer
	refused, declined := map[int]string{0: disclose.ErrDataErased.Code, 1: policy.ErrBadEvidence.Code}, map[int]bool{}
	for i, target := range filed.Targets {
		if target.Code != refused[i] || (target.Mend == "") != (refused[i] == "") {
			t.Fatalf("target %d: %+v", i+1, target)
		}
		if refused[i] != "" {
			continue
		}
		answer := custodian.Answer{Target: strconv.Itoa(i + 1), Says: []string{"yes"}}
		if i%10 == 9 {
			declined[i] = true
			answer.Says, answer.Reason = []string{"no"}, "manifest_errors"
		}
		answers = append(answers, answer)
	}
	written, err := json.Marshal(answers)
	if err != nil {
		t.Fatal(err)
	}
	file := writeIn(t, tb, "answers.json", string(written))
	for i, names := range [][2]string{{"review", "approval"}, {"", "release"}} {
		who := world.Custodians[i].ID
		shown := run(names[0], tb.AsCustodian(who, "review", filed.Case)...)
		for _, code := range refused {
			if !strings.Contains(shown, code) {
				t.Errorf("%s is not shown that %s", who, code)
			}
		}
		run(names[1], tb.AsCustodian(who, "approve", filed.Case, "--yes", "--answers", file)...)
	}
	want := fmt.Sprintf("targets: %d refused, %d released, %d declined", len(refused), accounts-len(refused)-len(declined), len(declined))
	if said := run("", "warrant", "status", filed.Case, "--server", tb.Origin); !strings.Contains(said, want) {
		t.Errorf("not %q: %s", want, said)
	}
	said = run("opening", "warrant", "open", filed.Case, "--key", tb.Path("requester.key"), "--bundle", tb.Path("bundle.json"), "--server", tb.Origin)
	for i := range accounts {
		if opened := strings.Contains(said, fmt.Sprintf("Piler Number %d\n", i)); opened != (refused[i] == "" && !declined[i]) {
			t.Errorf("account %d: opened is %v", i, opened)
		}
	}
}

// dogpile enrols people, lets each post texts of some bytes, and writes the warrant, the
// file of evidence against them all and the folder of what was published. If it is hurt, the
// first account is erased and the evidence against the second is wrong. The tokens are signed as
// the OpenID provider signs them; the sign-ins themselves are played elsewhere.
func dogpile(t testing.TB, tb *world.World, accounts, posts, size int, hurt bool) (warrant, evidence, exhibits string) {
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
			if hurt && n == 1 {
				signed = signed[:len(signed)-6] + "AAAAAA"
			}
			digest := sha256.Sum256([]byte(signed))
			if all = append(all, signed); target.Evidence == "" {
				target.Evidence = hex.EncodeToString(digest[:])
			} else {
				target.Further = append(target.Further, hex.EncodeToString(digest[:]))
			}
		}
		targets = append(targets, target)
		if hurt && i == 0 {
			if _, err := issuer.Erase(ctx, person, nil, nil, func(context.Context, ...token.Pseudonym) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tb.Service.CarryOutErasures(ctx); err != nil {
		t.Fatal(err)
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
