package policy

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/document"
)

// However an allowed warrant is varied in what the rules leave free, it stays
// allowed; and one forbidden change, anywhere on top of that, refuses it with the
// code of that change. The decision is the same each time, and neither the
// arguments nor the bundle change.
func TestPropertyDecide(t *testing.T) {
	w := newWorld(t)
	base, evidence := w.production(t)
	bundle, _ := w.bundle.Marshal()
	rapid.Check(t, func(rt *rapid.T) {
		v := base
		v.Targets = slices.Clone(base.Targets)
		v.Fields = rapid.SampledFrom([][]string{{"name"}, {"address", "name"}, {"birthdate"}}).Draw(rt, "fields")
		v.MaxPenaltyMonths = rapid.IntRange(12, 1200).Draw(rt, "penalty")
		v.OffenceClass = rapid.SampledFrom([]string{"threat_to_life", "threat_of_sexual_violence", "terrorism"}).Draw(rt, "class")
		v.Deadline = rapid.SampledFrom([]string{TenDays, EightHours}).Draw(rt, "deadline")
		v.Secrecy.Ends = v.IssuedAt.Add(time.Duration(rapid.IntRange(1, 365*24).Draw(rt, "secrecy")) * time.Hour)
		v.IssuedAt = v.IssuedAt.Add(-time.Duration(rapid.IntRange(0, 3600).Draw(rt, "age")) * time.Second)
		v.Secrecy.Ends = v.Secrecy.Ends.Add(v.IssuedAt.Sub(base.IssuedAt))
		v.Expiry = now.Add(time.Duration(rapid.IntRange(1, 20*24*3600).Draw(rt, "validity")) * time.Second)
		v.Grounds = rapid.StringMatching(`[A-Za-z][A-Za-z .,;"\\<>&\n]{0,200}`).Draw(rt, "grounds")
		at := now.Add(-time.Duration(rapid.IntRange(0, 3600).Draw(rt, "decided")) * time.Second)

		s := Submission{Warrant: sign(t, w.court, v), Evidence: slices.Clone(evidence)}
		d := Decide(s, w.bundle, Facts{}, at)
		if !d.Allowed || d.Quorum < w.bundle.Threshold {
			rt.Fatalf("%v because %v, rules %v", d.Refusal, cause(d.Refusal), d.Rules)
		}
		if again := Decide(s, w.bundle, Facts{}, at); !reflect.DeepEqual(again, d) {
			rt.Fatal("not deterministic")
		}
		if s.Evidence[0] != evidence[0] {
			rt.Fatal("the submission was changed")
		}
		m := rapid.SampledFrom(mutations).Draw(rt, "mutation")
		m.change(&v)
		refused := Decide(Submission{Warrant: sign(t, w.court, v), Evidence: evidence}, w.bundle, Facts{}, now)
		if refused.Allowed || refused.Refusal.Code != m.want.Code || refused.Quorum != 0 || refused.Opens || grants(refused.Targets) {
			rt.Fatalf("%s: %v, want %v", m.name, refused.Refusal, m.want.Code)
		}
	})
	if after, _ := w.bundle.Marshal(); string(after) != string(bundle) || !reflect.DeepEqual(w.bundle.Policies, DefaultRules()) {
		t.Fatal("deciding changed the bundle")
	}
}

// However an order under a catalogue is varied in what its rules leave free, it stays
// allowed, whatever is said before the rules decide; more pen names, now or in the 30 days
// before, never want fewer custodians; and each target that is spoiled is refused alone,
// while the others are decided as they are without it.
func TestPropertyEachTargetIsDecidedAlone(t *testing.T) {
	w := fifth(t, func(b *Bundle) {
		find(b.Offences, func(o *Offence) bool { return o.ID == "threat_of_rape" }).Quorums = []TargetQuorum{{3, 3}}
	})
	const most = 4
	var targets []Target
	var evidence []string
	for i := range most {
		who := fmt.Sprint("troll ", i)
		e := w.evidence(t, square, who, i, now.AddDate(0, 0, -3))
		targets, evidence = append(targets, Target{Pseudonym: pseudonym(t, who), Platform: square, Evidence: digest(e)}), append(evidence, e)
	}
	spoil := []func(*Target){
		func(t *Target) { t.Platform = "elsewhere" }, func(t *Target) { t.Platform = forum }, func(t *Target) { t.Evidence = "" },
		func(t *Target) { t.Pseudonym = t.Pseudonym[:20] }, func(t *Target) { t.Role = "friend" }, func(t *Target) { t.Further = []string{t.Evidence} },
		func(t *Target) { t.Descriptions = map[string]string{t.Evidence: "It was worse."} },
	}
	rapid.Check(t, func(rt *rapid.T) {
		f := w.filing(t)
		n := rapid.IntRange(1, most).Draw(rt, "targets")
		f.Targets, f.evidence = slices.Clone(targets[:n]), slices.Clone(evidence[:n])
		f.MaxPenaltyMonths = rapid.IntRange(0, 60).Draw(rt, "stated penalty")
		f.Secrecy.Ends = f.IssuedAt.Add(time.Duration(rapid.IntRange(0, 300*24).Draw(rt, "secrecy")) * time.Hour)
		f.known.Filed = &Filed{Today: rapid.IntRange(0, 20).Draw(rt, "today"), Authority30: rapid.IntRange(0, 4).Draw(rt, "authority"), Requester30: rapid.IntRange(0, 4).Draw(rt, "requester")}
		wrong := make(map[int]bool)
		for i := range f.Targets {
			if rapid.Bool().Draw(rt, "spoiled") {
				wrong[i] = true
				rapid.SampledFrom(spoil).Draw(rt, "how")(&f.Targets[i])
			}
		}
		d := f.decided(t)
		if len(wrong) == n {
			if d.Allowed || d.Quorum != 0 || grants(d.Targets) || d.Refusal.Code != d.Targets[0].Refusal.Code {
				rt.Fatalf("all are wrong: %v, %v", d.Refusal, d.Targets)
			}
			return
		}
		if !d.Allowed || len(d.Targets) != n || len(d.Exhibits) != n-len(wrong) {
			rt.Fatalf("%v because %v, rules %v", d.Refusal, cause(d.Refusal), d.Rules)
		}
		for i, target := range d.Targets {
			if wrong[i] != (target.Refusal != nil) || wrong[i] != (target.Token == nil) {
				rt.Fatalf("target %d: %v", i, target.Refusal)
			}
			alone := w.filing(t)
			alone.Targets, alone.evidence = targets[i:i+1], evidence[i:i+1]
			if said := alone.decided(t); !wrong[i] && !reflect.DeepEqual(said.Targets[0], target) {
				rt.Fatalf("target %d is decided otherwise alone: %+v, %+v", i, said.Targets[0], target)
			}
		}
		filed := n + max(f.known.Filed.Authority30, f.known.Filed.Requester30)
		if over := f.known.Filed.Today >= 10; d.OverDaily != over || (d.Quorum == 3) != (over || filed >= 3) {
			rt.Fatalf("%d filed, %+v: quorum %d, %v", filed, f.known.Filed, d.Quorum, d.OverDaily)
		}
		if short := f.Secrecy.Ends.Before(f.IssuedAt.Add(7 * day)); (d.NoticePeriod > 0) != short {
			rt.Fatalf("secret until %v, notice %v", f.Secrecy.Ends, d.NoticePeriod)
		}
	})
}

// Every bit of a warrant counts: flip any one, and it is refused.
func TestPropertyBitFlip(t *testing.T) {
	w := newWorld(t)
	v, evidence := w.production(t)
	signed := sign(t, w.court, v)
	rapid.Check(t, func(rt *rapid.T) {
		raw := []byte(signed)
		raw[rapid.IntRange(0, len(raw)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		if d := Decide(Submission{Warrant: string(raw), Evidence: evidence}, w.bundle, Facts{}, now); d.Allowed {
			rt.Fatal("a changed warrant is allowed")
		}
		piece := []byte(evidence[0])
		piece[rapid.IntRange(0, len(piece)-1).Draw(rt, "evidence byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "evidence bit")
		if d := Decide(Submission{Warrant: signed, Evidence: []string{string(piece)}}, w.bundle, Facts{}, now); d.Allowed {
			rt.Fatal("changed evidence is allowed")
		}
		n := rapid.IntRange(0, len(signed)-1).Draw(rt, "length")
		if d := Decide(Submission{Warrant: signed[:n], Evidence: evidence}, w.bundle, Facts{}, now); d.Allowed {
			rt.Fatal("a truncated warrant is allowed")
		}
	})
}

// Decide cannot read a clock, a file, the network or randomness: nothing in the
// package imports them, and time.Now does not occur.
func TestDecideIsPure(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		looked++
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range parsed.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			if slices.Contains([]string{"os", "io", "net", "net/http", "context", "crypto/rand", "math/rand", "math/rand/v2", "log", "log/slog", "syscall"}, path) {
				t.Error(f.Name(), "imports", path)
			}
		}
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, clock := range []string{"time.Now", "time.Since", "time.Until", "time.Local"} {
			if strings.Contains(string(text), clock) {
				t.Error(f.Name(), "reads the clock with", clock)
			}
		}
	}
	if looked < 5 {
		t.Fatal("the sources were not found")
	}
}

// fuzzDocument checks that what parses is written again with the same bytes.
func fuzzDocument[T any, P normaliser[T]](f *testing.F, seeds ...T) {
	n := 0
	for _, s := range seeds {
		b, err := marshal[T, P](s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add([]byte(strings.Replace(string(b), ":", ": ", 1)))
		n++
	}
	if n == 0 {
		f.Fatal("no seeds")
	}
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		v, err := parse[T, P](b)
		if err != nil {
			return
		}
		again, err := marshal[T, P](*v)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%q is written as %q, %v", b, again, err)
		}
	})
}

func FuzzWarrantPayload(f *testing.F) {
	w := newWorld(f)
	v, _ := w.production(f)
	full := fifth(f).filing(f).Warrant
	full.Recognises, full.DatedBack, full.Jointly = &ForeignOrder{"Tribunal", "FR", "1/26", digest("order")}, "The clerk was ill.", []string{"tribunal"}
	full.Targets[0].Role, full.Targets[0].Descriptions = RoleChild, map[string]string{full.Targets[0].Evidence: "A picture."}
	fuzzDocument(f, v, full, Warrant{}, Warrant{Kind: Withdrawal, Grounds: "<&>\u00e9\n\"\\"})
}

func FuzzEndorsementPayload(f *testing.F) {
	fuzzDocument(f, endorsement{now, digest("x"), "custodian-1"})
}

// FuzzBundle: one bundle has one spelling, in every version of the format.
func FuzzBundle(f *testing.F) {
	small := func(b *Bundle) { // most of the text of the others is prose, and what is there twice finds no more
		b.Policies = map[string]string{"one.cedar": `@id("one") @title("One") @quorum("2") @notice_days("0") permit (principal, action, resource);`}
		b.OffenceClasses = b.OffenceClasses[:1]
		b.Authorities, b.Authorities[0].OffenceClasses = b.Authorities[:1], []string{b.OffenceClasses[0].ID}
		b.Custodians, b.Threshold = b.Custodians[:2], 2
	}
	w := newWorld(f, small)
	first := newWorld(f, small, func(b *Bundle) { b.Succeed(nil) })
	leaf := int64(3)
	after := func(change func(*Bundle)) *Bundle { return first.after(f, small, change) }
	third := after(func(b *Bundle) { contentless(b); b.Version = 3 })
	stops := after(func(b *Bundle) { b.Stops = []Stop{{Case: &leaf}, {Authority: "crown-court"}} })
	registry := after(func(b *Bundle) {
		b.Registry, b.Stops = &Registry{jwks(f, key("registry")), 7}, []Stop{{Platform: forum}}
	})
	powers := after(func(b *Bundle) {
		b.OffenceClasses[0].NoticeFirst, b.OffenceClasses[0].Emergency = true, false
		b.Offences, b.Compartments = DefaultOffences()[:1], DefaultCompartments()
		b.Offences[0].Compartments, b.Offences[0].NoCopy, b.Offences[0].MaxPenaltyMonths = []string{"identity", "contact"}, true, 0
		b.Authorities = append(b.Authorities, b.Authorities[0])
		b.Authorities[0].ID, b.Authorities[0].Keys = "magistrates", []Key{{public(f, key("magistrates")), b.Authorities[1].Keys[0].From, b.Authorities[1].Keys[0].Until}}
		b.Authorities[1].Over, b.Authorities[0].ValidatedBy = []string{"magistrates"}, []string{"crown-court"}
	})
	for _, b := range []*Bundle{w.bundle, first.bundle, third, stops, registry, powers} {
		raw, err := b.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		for _, version := range []string{`"version":4`, `"version":3`, `"version":2`, `"version":1`} {
			f.Add([]byte(strings.Replace(string(raw), fmt.Sprintf(`"version":%d`, b.Version), version, 1)))
		}
		f.Add([]byte(strings.Replace(string(raw), `"threshold":`, `"stops":[],"threshold":`, 1)))
	}
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		bundle, err := ParseBundle(b)
		if err != nil {
			return
		}
		again, err := marshal(*bundle) // anew: Marshal gives back what was read
		if err != nil || string(again) != string(b) {
			t.Fatalf("%q is written as %q, %v", b, again, err)
		}
		if (bundle.Version == 1) != (bundle.Number == 0) || (bundle.Number > 1) != (bundle.Predecessor != "") {
			t.Fatalf("number %d after %q in version %d", bundle.Number, bundle.Predecessor, bundle.Version)
		}
	})
}

// FuzzEnvelope looks for a second spelling of one signed document.
func FuzzEnvelope(f *testing.F) {
	w := newWorld(f)
	v, _ := w.production(f)
	f.Add(sign(f, w.court, v))
	f.Add("..")
	fuzzing.Run(f, func(t *testing.T, raw string) {
		signed, err := warrantFormat.Open(raw)
		if err != nil {
			return
		}
		b64 := base64.RawURLEncoding.EncodeToString
		parts := strings.Split(raw, ".")
		again, _ := document.Canonical(map[string]any{"alg": signed.Algorithm, "kid": signed.KeyID, "typ": warrantFormat.Types[0]})
		if parts[0] != b64(again) || parts[1] != b64(signed.Payload) {
			t.Fatalf("%q has a second spelling", raw)
		}
		ParseUnverified(raw) // must not panic
	})
}

// BenchmarkDecide reports, beside the time, what the bare signature checks in
// the same decision cost: of the warrant, and of each piece of evidence and its token.
func BenchmarkDecide(b *testing.B) {
	w := newWorld(b, func(b *Bundle) { b.Succeed(nil) }) // the rules of today
	for _, size := range []struct{ targets, posts int }{{1, 1}, {600, 5000}} {
		b.Run(fmt.Sprintf("targets=%d/posts=%d", size.targets, size.posts), func(b *testing.B) {
			v, _ := w.production(b)
			v.Targets = nil
			var evidence []string
			for i := range size.targets {
				who := fmt.Sprint("troll", i)
				var digests []string
				for n := i; n < size.posts; n += size.targets {
					e := w.evidence(b, square, who, n, now.AddDate(0, 0, -3))
					evidence, digests = append(evidence, e), append(digests, digest(e))
				}
				v.Targets = append(v.Targets, Target{Pseudonym: pseudonym(b, who), Platform: square, Evidence: digests[0], Further: digests[1:]})
			}
			s := Submission{Warrant: sign(b, w.court, v), Evidence: evidence}
			bytes := len(s.Warrant)
			for _, e := range evidence {
				bytes += len(e)
			}
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			best, bare := time.Hour, time.Hour // of all runs, so that a busy machine counts less
			for b.Loop() {
				start := time.Now()
				if d := Decide(s, w.bundle, Facts{}, now); !d.Allowed {
					b.Fatal(d.Refusal, cause(d.Refusal))
				}
				best = min(best, time.Since(start))
			}
			messages := []string{s.Warrant}
			for _, e := range evidence {
				messages = append(messages, e, tokenIn(b, e))
			}
			for range min(b.N, 500) {
				bare = min(bare, bareVerification(w, messages))
			}
			b.ReportMetric(float64(best)/float64(bare), "ratio")
			b.ReportMetric(1.5, "aim-max")
			b.ReportMetric(float64(best), "~best-ns")
		})
	}
}

// bareVerification is the time of one Ed25519 verification of each message.
func bareVerification(w *world, messages []string) time.Duration {
	private := w.square.Key.(ed25519.PrivateKey)
	public := private.Public().(ed25519.PublicKey)
	signatures := make([][]byte, len(messages))
	for i, m := range messages {
		signatures[i] = ed25519.Sign(private, []byte(m))
	}
	start := time.Now()
	for i, m := range messages {
		if !ed25519.Verify(public, []byte(m), signatures[i]) {
			panic("a sound signature does not verify")
		}
	}
	return time.Since(start)
}

func BenchmarkParseBundle(b *testing.B) {
	w := newWorld(b)
	raw, err := w.bundle.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ParseBundle(raw); err != nil {
			b.Fatal(err)
		}
	}
}
