package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

// story is the sandbox played against itself over HTTP, with the code that
// users run: browsers for people, the escrow program for everybody else.
type story struct {
	*testbed
	out io.Writer

	jo, troll            *browser
	joPost, praise       post
	threat               post
	evidence, joEvidence string // files
	warrant, caseID      string
	who                  sandbox.Person // the troll
}

// step is one line of the story: what happens, and what that proves.
type step struct {
	title, proves string
	play          func(*story, context.Context) error
}

var steps = []step{
	{"Jo, a teacher, proves her identity, once", "enrolling again gives the same person, not a second one", (*story).enrol},
	{"Jo signs in to Town Square and posts about school cuts", "the platform checks her sign-in by itself, and learns a pen name, nothing else", (*story).signIn},
	{"Jo signs in to School Forum", "another pen name; nothing that the two platforms hold matches but who issued it", (*story).otherPlatform},
	{"A troll threatens an MP and is banned", "the ban holds when he comes back: one person, one pen name", (*story).ban},
	{"Town Square makes an evidence bundle of the threat", "sign-in, post and time, signed by the platform; a court checks it without asking anybody", (*story).makeEvidence},
	{"Police ask without a warrant", "refused: only a court's signature starts anything", (*story).noWarrant},
	{"A court that is not in the rules signs a warrant", "refused: the rules name who may ask", (*story).unknownCourt},
	{"A warrant against Jo for criticising school cuts", "refused by the rule criticism-is-not-a-crime, which everyone can read", (*story).criticism},
	{"The court's warrant against the troll is filed", "the rules allow it; it is recorded in the public log, cosigned by witnesses", (*story).file},
	{"The court tries to open it at once", "it stays shut: 0 of 2 custodians agree", (*story).openTooEarly},
	{"One custodian checks everything on their own side and approves", "it stays shut: 1 of 2", (*story).firstApproval},
	{"A second custodian approves", "now it is released, encrypted to the police officer who asked, and to nobody else", (*story).secondApproval},
	{"The officer opens it with their own key", "the troll's name, with a certificate for the court file; Penname never saw the name again", (*story).openPackage},
	{"Anyone audits the public log", "every entry and every proof holds; the statistics are recomputed", (*story).audit},
	{"One bit in the log is changed", "the audit finds it", (*story).tamper},
	{"Secrecy ends: the troll is told", "who opened his name, by which warrant, for what", (*story).notify},
	{"Jo checks that no served notice concerns her", "on her page, and in the log on her own machine", (*story).notMe},
}

// storyTime is how long secrecy lasts in the story, and two days. `escrowd dev`
// begins the story that long ago, so that its clock is everybody's at the end:
// what is tried next runs on this machine's.
const storyTime = 63 * 24 * time.Hour

// playStory plays all steps, one plain line each. It stops at the first that
// does not hold.
func playStory(ctx context.Context, t *testbed, out io.Writer) error {
	return newStory(t, out).play(ctx)
}

func newStory(t *testbed, out io.Writer) *story {
	return &story{testbed: t, out: out, jo: newBrowser(), troll: newBrowser(), who: sandbox.People()[1]}
}

func (s *story) play(ctx context.Context) error {
	for i, st := range steps {
		if err := st.play(s, ctx); err != nil {
			fmt.Fprintf(s.out, "✗ %2d  %s\n      did not hold: %v\n", i+1, st.title, err)
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		fmt.Fprintf(s.out, "✓ %2d  %s\n      shows: %s\n", i+1, st.title, st.proves)
	}
	return nil
}

// signUp proves an identity at the identity provider, from a page of Penname
// that offers it.
func (s *story) signUp(ctx context.Context, b *browser, name string) error {
	if err := b.press(ctx, "Prove my identity", nil); err != nil {
		return err
	}
	return b.press(ctx, name, nil)
}

func (s *story) enrol(ctx context.Context) error {
	if err := s.jo.open(ctx, s.origin); err != nil {
		return err
	}
	name := sandbox.People()[0].Name
	if err := s.signUp(ctx, s.jo, name); err != nil {
		return err
	}
	if err := s.jo.shows(http.StatusOK, "Welcome. Your identity was verified and sealed."); err != nil {
		return err
	}
	again := newBrowser() // another device
	if err := again.open(ctx, s.origin); err != nil {
		return err
	}
	if err := s.signUp(ctx, again, name); err != nil {
		return err
	}
	return again.shows(http.StatusOK, "You are the same person as before")
}

// visit signs a person in to a platform through the consent page.
func (s *story) visit(ctx context.Context, b *browser, p *platform, name string) error {
	if err := b.open(ctx, p.origin); err != nil {
		return err
	}
	if err := b.press(ctx, "Sign in with Penname", nil); err != nil {
		return err
	}
	if strings.Contains(b.page.body, "Prove my identity") {
		if err := s.signUp(ctx, b, name); err != nil {
			return err
		}
	}
	return b.press(ctx, "Sign in to "+p.name, nil)
}

func (s *story) say(ctx context.Context, b *browser, p *platform, words string) (post, error) {
	if err := b.press(ctx, "Post", url.Values{"text": {words}}); err != nil {
		return post{}, err
	}
	if err := b.shows(http.StatusOK, words); err != nil {
		return post{}, err
	}
	return p.last()
}

func (s *story) signIn(ctx context.Context) (err error) {
	if err := s.visit(ctx, s.jo, s.town, sandbox.People()[0].Name); err != nil {
		return err
	}
	s.joPost, err = s.say(ctx, s.jo, s.town, "The cuts to our school's library are short-sighted, and the council knows it.")
	if err != nil {
		return err
	}
	if _, err := token.ParsePseudonym(string(s.joPost.Author)); err != nil {
		return err
	}
	return s.jo.shows(http.StatusOK, string(s.joPost.Author))
}

func (s *story) otherPlatform(ctx context.Context) (err error) {
	if err := s.visit(ctx, s.jo, s.school, sandbox.People()[0].Name); err != nil {
		return err
	}
	if s.praise, err = s.say(ctx, s.jo, s.school, "Does anyone have a spare microscope?"); err != nil {
		return err
	}
	return unlinkable(s.joPost.token, s.praise.token)
}

// unlinkable compares every claim of two tokens: only what the issuer and its
// key are called, and what every token of the day shares, may be equal.
func unlinkable(a, b *token.Token) error {
	claims := func(t *token.Token) (map[string]any, error) {
		var c map[string]any
		return c, json.Unmarshal(payload(t.Raw), &c)
	}
	ca, err := claims(a)
	if err != nil {
		return err
	}
	cb, err := claims(b)
	if err != nil {
		return err
	}
	for name, value := range ca {
		switch name {
		case "iss", "acr", "iat", "exp", "auth_time": // the issuer, its one assurance level, and the clock
			continue
		}
		if other, ok := cb[name]; ok && fmt.Sprint(other) == fmt.Sprint(value) {
			return errors.New("the two tokens share the claim " + name)
		}
	}
	return nil
}

func (s *story) ban(ctx context.Context) (err error) {
	if err := s.visit(ctx, s.troll, s.town, s.who.Name); err != nil {
		return err
	}
	if s.threat, err = s.say(ctx, s.troll, s.town, "I know where you live, and I will come for you tonight."); err != nil {
		return err
	}
	s.town.ban(s.threat.Author, "threats")
	comeback := newBrowser() // a "new" account: another device, signing up afresh
	if err := s.visit(ctx, comeback, s.town, s.who.Name); err != nil {
		return err
	}
	return comeback.shows(http.StatusForbidden, "this pen name is banned: threats")
}

func (s *story) makeEvidence(context.Context) (err error) {
	if s.evidence, err = s.saveEvidence("evidence-threat.jws", s.threat); err != nil {
		return err
	}
	s.joEvidence, err = s.saveEvidence("evidence-criticism.jws", s.joPost)
	return err
}

func (s *story) saveEvidence(name string, about post) (string, error) {
	signed, err := s.town.evidence(about)
	if err != nil {
		return "", err
	}
	return s.path(name), os.WriteFile(s.path(name), []byte(signed), 0o600)
}

// draft writes a warrant as a court clerk would.
func (s *story) draft(name string, about post, evidence, offence, description string, months int) (string, error) {
	signed, err := os.ReadFile(evidence)
	if err != nil {
		return "", err
	}
	delivery, err := os.ReadFile(s.path("requester.pub"))
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(signed)
	w := map[string]any{
		"kind": policy.Production, "authority": "county-court", "jurisdiction": "GB", "file_number": "TC 118 of " + s.clock.Now().Format("2006"),
		"legal_basis": "Investigatory Powers Act 2016, Part 3", "offence_class": offence, "offence": description, "max_penalty_months": months,
		"grounds": "The post in evidence, made under the pen name.", "necessity": "No other way to find its author is known.",
		"proportionality": "One pen name, and only who holds it.",
		"targets":         []map[string]any{{"pseudonym": about.Author, "platform": s.town.id, "evidence": hex.EncodeToString(digest[:])}},
		"requester":       map[string]any{"name": "DS R. Amari", "organisation": "Thornley Police", "delivery_key": string(delivery)},
		"fields":          []string{"name"}, "deadline": policy.TenDays, "audience": s.origin,
		"secrecy": map[string]any{"ends": s.clock.Now().AddDate(0, 2, 0).UTC().Truncate(24 * time.Hour), "reason": "The suspect could destroy evidence."},
	}
	b, err := json.Marshal(w)
	if err != nil {
		return "", err
	}
	return s.path(name), os.WriteFile(s.path(name), b, 0o600)
}

// sign signs a draft with a court's key.
func (s *story) sign(ctx context.Context, draft, key string) (string, error) {
	out := strings.TrimSuffix(draft, ".json") + ".jws"
	said, code := s.escrow(ctx, "warrant", "sign", draft, "--key", s.path(key), "--bundle", s.path("bundle.json"), "--out", out)
	if code != 0 {
		return "", errors.New(said)
	}
	return out, nil
}

// refused runs the escrow program and fails unless it exits 1 with that text.
func (s *story) refused(ctx context.Context, want string, args ...string) error {
	said, code := s.escrow(ctx, args...)
	switch {
	case code == 0:
		return errors.New("it was not refused")
	case code != 1 || !strings.Contains(said, want):
		return fmt.Errorf("refused otherwise than with %q (exit %d): %s", want, code, said)
	}
	return nil
}

func (s *story) noWarrant(ctx context.Context) error {
	draft, err := s.draft("request.json", s.threat, s.evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		return err
	}
	return s.refused(ctx, "warrant.unsigned", "warrant", "file", draft, "--evidence", s.evidence, "--server", s.origin)
}

func (s *story) unknownCourt(ctx context.Context) error {
	draft, err := s.draft("foreign.json", s.threat, s.evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(draft)
	if err != nil {
		return err
	}
	raw = bytes.Replace(raw, []byte("county-court"), []byte("somewhere-court"), 1)
	if err := os.WriteFile(draft, raw, 0o600); err != nil {
		return err
	}
	signed, err := s.sign(ctx, draft, "unknown-court.jwk")
	if err != nil {
		return err
	}
	return s.refused(ctx, "warrant.unknown_authority", "warrant", "file", signed, "--evidence", s.evidence, "--server", s.origin)
}

func (s *story) criticism(ctx context.Context) error {
	draft, err := s.draft("criticism.json", s.joPost, s.joEvidence, "criticism", "Criticising the council over school cuts", 0)
	if err != nil {
		return err
	}
	signed, err := s.sign(ctx, draft, "court.jwk")
	if err != nil {
		return err
	}
	return s.refused(ctx, "criticism-is-not-a-crime", "warrant", "file", signed, "--evidence", s.joEvidence, "--server", s.origin)
}

func (s *story) file(ctx context.Context) error {
	draft, err := s.draft("warrant.json", s.threat, s.evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		return err
	}
	if s.warrant, err = s.sign(ctx, draft, "court.jwk"); err != nil {
		return err
	}
	said, code := s.escrow(ctx, "warrant", "file", s.warrant, "--evidence", s.evidence, "--server", s.origin, "--json")
	if code != 0 {
		return errors.New(said)
	}
	var st struct{ Case, State string }
	if err := json.Unmarshal([]byte(said), &st); err != nil {
		return err
	}
	if s.caseID = st.Case; st.State != "recorded" {
		return errors.New("the case is " + st.State)
	}
	return nil
}

func (s *story) openArgs() []string {
	return []string{"warrant", "open", s.caseID, "--key", s.path("requester.key"), "--bundle", s.path("bundle.json"), "--server", s.origin}
}

func (s *story) openTooEarly(ctx context.Context) error {
	return s.refused(ctx, "0 of 2", s.openArgs()...)
}

func (s *story) approve(ctx context.Context, custodian string) error {
	for _, verb := range []string{"review", "approve"} {
		if said, code := s.escrow(ctx, s.asCustodian(custodian, verb, s.caseID)...); code != 0 {
			return errors.New(said)
		}
	}
	return nil
}

func (s *story) firstApproval(ctx context.Context) error {
	if err := s.approve(ctx, "alba"); err != nil {
		return err
	}
	// The same custodian again still counts once.
	if err := s.approve(ctx, "alba"); err != nil {
		return err
	}
	return s.refused(ctx, "1 of 2", s.openArgs()...)
}

func (s *story) secondApproval(ctx context.Context) error {
	if err := s.approve(ctx, "bruno"); err != nil {
		return err
	}
	said, code := s.escrow(ctx, "warrant", "status", s.caseID, "--server", s.origin)
	if code != 0 || !strings.Contains(said, "released: 2 of 2") {
		return errors.New(said)
	}
	return nil
}

func (s *story) openPackage(ctx context.Context) error {
	said, code := s.escrow(ctx, s.openArgs()...)
	if code != 0 {
		return errors.New(said)
	}
	if !strings.Contains(said, s.who.Name) {
		return errors.New("the package opens, but not to the troll's name")
	}
	if strings.Contains(said, s.who.Birthdate) || strings.Contains(said, s.who.Email) {
		return errors.New("the package opens to more than the warrant names")
	}
	return nil
}

func (s *story) auditArgs(server string) []string {
	return []string{"log", "audit", "--bundle", s.path("bundle.json"), "--server", server}
}

func (s *story) audit(ctx context.Context) error {
	said, code := s.escrow(ctx, append(s.auditArgs(s.origin), "--json")...)
	if code != 0 {
		return errors.New(said)
	}
	var report struct {
		Statistics struct {
			ByKind map[string]int64 `json:"by_kind"`
		}
	}
	if err := json.Unmarshal([]byte(said), &report); err != nil {
		return err
	}
	for kind, want := range map[string]int64{"bundle": 1, "refused": 3, "recorded": 1, "approved": 2, "authorised": 1, "released": 1} {
		if got := report.Statistics.ByKind[kind]; got != want {
			return fmt.Errorf("the log has %d %s, not %d", got, kind, want)
		}
	}
	return nil
}

// tamper audits the log through a proxy that changes one bit of one entry.
func (s *story) tamper(ctx context.Context) error {
	target, err := url.Parse(s.origin)
	if err != nil {
		return err
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if strings.Contains(r.Request.URL.Path, "/tile/entries/") {
			body[len(body)/2] ^= 1
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return nil
	}
	ln, address, err := s.listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: proxy, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln) //nolint:errcheck // closed below
	defer srv.Close()
	return s.refused(ctx, "first wrong entry", s.auditArgs(address)...)
}

func (s *story) notify(ctx context.Context) error {
	if err := s.troll.open(ctx, s.origin+"/me"); err != nil {
		return err
	}
	if err := s.troll.shows(http.StatusOK, "No served notice concerns you"); err != nil {
		return err
	}
	s.clock.Advance(storyTime)
	if err := s.service.heartbeat(ctx); err != nil {
		return err
	}
	if err := s.comeBack(ctx, s.troll, s.who.Name); err != nil {
		return err
	}
	if err := s.troll.shows(http.StatusOK, "Your pen name on Town Square was opened"); err != nil {
		return err
	}
	if err := s.troll.shows(http.StatusOK, "Thornley County Court, file TC 118"); err != nil {
		return err
	}
	return s.troll.shows(http.StatusOK, "Thornley Police")
}

// comeBack signs in again: two months have passed.
func (s *story) comeBack(ctx context.Context, b *browser, name string) error {
	if err := b.open(ctx, s.origin); err != nil {
		return err
	}
	return s.signUp(ctx, b, name)
}

func (s *story) notMe(ctx context.Context) error {
	if err := s.comeBack(ctx, s.jo, sandbox.People()[0].Name); err != nil {
		return err
	}
	if err := s.jo.shows(http.StatusOK, "No served notice concerns you"); err != nil {
		return err
	}
	notices := func(name token.Pseudonym) (string, error) {
		said, code := s.escrow(ctx, "log", "notices", "--pen-name", string(name), "--platform", s.town.id,
			"--bundle", s.path("bundle.json"), "--server", s.origin)
		if code != 0 {
			return "", errors.New(said)
		}
		return said, nil
	}
	said, err := notices(s.joPost.Author)
	if err != nil {
		return err
	}
	if !strings.Contains(said, "no served notice concerns this pen name") {
		return errors.New(said)
	}
	if said, err = notices(s.threat.Author); err != nil {
		return err
	}
	if !strings.Contains(said, "this pen name was opened") {
		return errors.New("the log does not show the troll's own notice: " + said)
	}
	return nil
}

// payload returns the claims of a compact JWS without checking it: the token
// was verified when it was presented.
func payload(raw string) []byte {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	return b
}
