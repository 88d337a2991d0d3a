package world

import (
	"bytes"
	"context"
	"encoding/base64"
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
	"github.com/penname/penname/verifier/token"
)

// Story is the world played against itself over HTTP, with the code that users
// run: browsers for people, the escrow program for everybody else.
type Story struct {
	*Case // against the troll, for a threat
	out   io.Writer

	jo, troll      *Browser
	joPost, praise Post
	joEvidence     string // file
}

// step is one line of the story: what happens, and what that proves.
type step struct {
	title, proves string
	play          func(*Story, context.Context) error
}

var steps = []step{
	{"Jo, a teacher, proves her identity, once", "enrolling again gives the same person, not a second one", (*Story).enrol},
	{"Jo signs in to Town Square and posts about school cuts", "the platform checks her sign-in by itself, and learns a pen name, nothing else", (*Story).signIn},
	{"Jo signs in to School Forum", "another pen name; nothing that the two platforms hold matches but who issued it", (*Story).otherPlatform},
	{"A troll threatens an MP and is banned", "the ban holds when he comes back: one person, one pen name", (*Story).ban},
	{"Town Square makes an evidence bundle of the threat", "sign-in, post and time, signed by the platform; a court checks it without asking anybody", (*Story).makeEvidence},
	{"Police ask without a warrant", "refused: only a court's signature starts anything", (*Story).noWarrant},
	{"A court that is not in the rules signs a warrant", "refused: the rules name who may ask", (*Story).unknownCourt},
	{"A warrant against Jo for criticising school cuts", "refused by the rule criticism-is-not-a-crime, which everyone can read", (*Story).criticism},
	{"The court's warrant against the troll is filed", "the rules allow it; it is recorded in the public log, cosigned by witnesses", (*Story).File},
	{"The court tries to open it at once", "it stays shut: 0 decided, 2 must approve", (*Story).openTooEarly},
	{"One custodian checks everything on their own side and approves", "it stays shut: 1 decided, 2 must approve", (*Story).firstApproval},
	{"A second custodian approves", "now it is released, encrypted to the police officer who asked, and to nobody else", (*Story).secondApproval},
	{"The officer opens it with their own key", "the troll's name, with a certificate for the court file; Penname never saw the name again", (*Story).Open},
	{"Anyone audits the public log", "every entry and every proof holds; the statistics are recomputed", (*Story).audit},
	{"One bit in the log is changed", "the audit finds it", (*Story).tamper},
	{"Secrecy ends: the troll is told", "who opened his name, by which warrant, for what", (*Story).notify},
	{"Jo checks that no served notice concerns her", "on her page, and in the log on her own machine", (*Story).notMe},
}

// StoryTime is how long secrecy lasts in the story, and two days. A sandbox that
// stays up begins the story that long ago, so that its clock is everybody's at
// the end: what is tried next runs on this machine's.
const StoryTime = 63 * 24 * time.Hour

// NewStory is the story in a world where nobody has enrolled yet. It is told on
// out.
func NewStory(w *World, out io.Writer) *Story {
	return &Story{Case: &Case{World: w, Author: sandbox.People()[1]}, out: out, jo: NewBrowser(), troll: NewBrowser()}
}

// Play plays all steps, one plain line each. It stops at the first that does not
// hold.
func (s *Story) Play(ctx context.Context) error {
	for i, st := range steps {
		if err := st.play(s, ctx); err != nil {
			fmt.Fprintf(s.out, "✗ %2d  %s\n      did not hold: %v\n", i+1, st.title, err)
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		fmt.Fprintf(s.out, "✓ %2d  %s\n      shows: %s\n", i+1, st.title, st.proves)
	}
	return nil
}

func (s *Story) enrol(ctx context.Context) error {
	name := sandbox.People()[0].Name
	if err := s.jo.Enrol(ctx, s.Origin, name); err != nil {
		return err
	}
	if err := s.jo.Shows(http.StatusOK, "Welcome. Your identity was verified and sealed."); err != nil {
		return err
	}
	again := NewBrowser() // another device
	if err := again.Enrol(ctx, s.Origin, name); err != nil {
		return err
	}
	return again.Shows(http.StatusOK, "You are the same person as before")
}

func (s *Story) signIn(ctx context.Context) (err error) {
	if err := s.jo.Visit(ctx, s.Town, sandbox.People()[0].Name); err != nil {
		return err
	}
	s.joPost, err = s.jo.Say(ctx, s.Town, "The cuts to our school's library are short-sighted, and the council knows it.")
	if err != nil {
		return err
	}
	if _, err := token.ParsePseudonym(string(s.joPost.Author)); err != nil {
		return err
	}
	return s.jo.Shows(http.StatusOK, string(s.joPost.Author))
}

func (s *Story) otherPlatform(ctx context.Context) (err error) {
	if err := s.jo.Visit(ctx, s.School, sandbox.People()[0].Name); err != nil {
		return err
	}
	if s.praise, err = s.jo.Say(ctx, s.School, "Does anyone have a spare microscope?"); err != nil {
		return err
	}
	return unlinkable(s.joPost.Token, s.praise.Token)
}

// unlinkable compares every claim of two tokens: only what the issuer and its
// key are called, and what every token of the day shares, may be equal.
func unlinkable(a, b *token.Token) error {
	claims := func(t *token.Token) (map[string]any, error) {
		var c map[string]any
		return c, json.Unmarshal(claimsOf(t.Raw), &c)
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

func (s *Story) ban(ctx context.Context) (err error) {
	if err := s.troll.Visit(ctx, s.Town, s.Author.Name); err != nil {
		return err
	}
	if s.Post, err = s.troll.Say(ctx, s.Town, "I know where you live, and I will come for you tonight."); err != nil {
		return err
	}
	s.Town.Ban(s.Post.Author, "threats")
	comeback := NewBrowser() // a "new" account: another device, signing up afresh
	if err := comeback.Visit(ctx, s.Town, s.Author.Name); err != nil {
		return err
	}
	return comeback.Shows(http.StatusForbidden, "this pen name is banned: threats")
}

func (s *Story) makeEvidence(context.Context) (err error) {
	if s.Evidence, err = s.SaveEvidence("evidence-threat.jws", s.Post); err != nil {
		return err
	}
	s.joEvidence, err = s.SaveEvidence("evidence-criticism.jws", s.joPost)
	return err
}

func (s *Story) noWarrant(ctx context.Context) error {
	draft, err := s.Draft("request.json", s.Post, s.Evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		return err
	}
	return s.Refused(ctx, "warrant.unsigned", "warrant", "file", draft, "--evidence", s.Evidence, "--exhibits", s.Exhibits(), "--server", s.Origin)
}

func (s *Story) unknownCourt(ctx context.Context) error {
	draft, err := s.Draft("foreign.json", s.Post, s.Evidence, "threats-to-life", "Threats to kill", 120)
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
	// The court's own program says so before it signs, and the registrar whatever signed.
	if err := s.Refused(ctx, "warrant.unknown_authority", s.signArgs(draft, "unknown-court.jwk")...); err != nil {
		return err
	}
	signed := s.Path("foreign.jws")
	if err := s.SignUnchecked(draft, "unknown-court.jwk", signed); err != nil {
		return err
	}
	return s.Refused(ctx, "warrant.unknown_authority", "warrant", "file", signed, "--evidence", s.Evidence, "--exhibits", s.Exhibits(), "--server", s.Origin)
}

func (s *Story) criticism(ctx context.Context) error {
	draft, err := s.Draft("criticism.json", s.joPost, s.joEvidence, "criticism", "Criticising the council over school cuts", 0)
	if err != nil {
		return err
	}
	if err := s.Refused(ctx, "criticism-is-not-a-crime", s.signArgs(draft, "court.jwk")...); err != nil {
		return err
	}
	signed := s.Path("criticism.jws")
	if err := s.SignUnchecked(draft, "court.jwk", signed); err != nil {
		return err
	}
	return s.Refused(ctx, "criticism-is-not-a-crime", "warrant", "file", signed, "--evidence", s.joEvidence, "--exhibits", s.Exhibits(), "--server", s.Origin)
}

func (s *Story) openTooEarly(ctx context.Context) error {
	return s.Refused(ctx, "0 decided, 2 must approve", s.OpenArgs()...)
}

func (s *Story) firstApproval(ctx context.Context) error {
	if err := s.Approve(ctx, "alba"); err != nil {
		return err
	}
	// The same custodian again still counts once.
	if err := s.Approve(ctx, "alba"); err != nil {
		return err
	}
	return s.Refused(ctx, "1 decided, 2 must approve", s.OpenArgs()...)
}

func (s *Story) secondApproval(ctx context.Context) error {
	if err := s.Approve(ctx, "bruno"); err != nil {
		return err
	}
	said, code := s.Escrow(ctx, "warrant", "status", s.ID, "--server", s.Origin)
	if code != 0 || !strings.Contains(said, "released: 2 of 2") {
		return errors.New(said)
	}
	return nil
}

func (s *Story) auditArgs(server string) []string {
	return []string{"log", "audit", "--bundle", s.Path("bundle.json"), "--server", server}
}

func (s *Story) audit(ctx context.Context) error {
	said, err := s.do(ctx, append(s.auditArgs(s.Origin), "--json")...)
	if err != nil {
		return err
	}
	var report struct {
		Statistics struct {
			ByKind map[string]int64 `json:"by_kind"`
		}
	}
	if err := json.Unmarshal([]byte(said), &report); err != nil {
		return err
	}
	// Only the court of the rules leaves a refusal: what others filed is counted, not recorded.
	for kind, want := range map[string]int64{"bundle": 1, "refused": 1, "recorded": 1, "decision": 2, "decided": 1, "released": 1} {
		if got := report.Statistics.ByKind[kind]; got != want {
			return fmt.Errorf("the log has %d %s, not %d", got, kind, want)
		}
	}
	return nil
}

// tamper audits the log through a proxy that changes one bit of one entry.
func (s *Story) tamper(ctx context.Context) error {
	target, err := url.Parse(s.Origin)
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
	address, err := s.serve(func(string) (http.Handler, error) { return proxy, nil })
	if err != nil {
		return err
	}
	return s.Refused(ctx, "first wrong entry", s.auditArgs(address)...)
}

func (s *Story) notify(ctx context.Context) error {
	if s.Cluster != nil {
		return s.liftSecrecy(ctx)
	}
	if err := s.troll.Open(ctx, s.Origin+"/me"); err != nil {
		return err
	}
	if err := s.troll.Shows(http.StatusOK, "No served notice concerns you"); err != nil {
		return err
	}
	s.Clock.Advance(StoryTime)
	if err := s.Service.ServeCases(ctx); err != nil {
		return err
	}
	if err := s.Service.FollowRules(ctx); err != nil {
		return err
	}
	if err := s.comesBack(ctx, s.troll, s.Author.Name); err != nil {
		return err
	}
	return s.told(ctx)
}

// told: the troll's page says who opened his name.
func (s *Story) told(ctx context.Context) error {
	if err := s.troll.Shows(http.StatusOK, "Your pen name on Town Square was opened"); err != nil {
		return err
	}
	if err := s.troll.Shows(http.StatusOK, "Thornley County Court, file TC 118"); err != nil {
		return err
	}
	if err := s.troll.Follow(ctx, "/me/notice"); err != nil {
		return err
	}
	return s.troll.Shows(http.StatusOK, "Thornley Police")
}

// comesBack shows a person their page. Who was here months ago is signed out, and proves
// who they are again.
func (s *Story) comesBack(ctx context.Context, b *Browser, name string) error {
	if s.Cluster != nil {
		return b.Open(ctx, s.Origin+"/me")
	}
	return b.Enrol(ctx, s.Origin, name)
}

func (s *Story) notMe(ctx context.Context) error {
	if err := s.comesBack(ctx, s.jo, sandbox.People()[0].Name); err != nil {
		return err
	}
	if err := s.jo.Shows(http.StatusOK, "No served notice concerns you"); err != nil {
		return err
	}
	notices := func(name token.Pseudonym) (string, error) {
		said, code := s.Escrow(ctx, "log", "notices", "--pen-name", string(name), "--platform", s.Town.ID,
			"--bundle", s.Path("bundle.json"), "--server", s.Origin)
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
	if said, err = notices(s.Post.Author); err != nil {
		return err
	}
	if !strings.Contains(said, "this pen name was opened") {
		return errors.New("the log does not show the troll's own notice: " + said)
	}
	return nil
}

// Claims returns the claims of the post's token without checking it: it was
// verified when it was presented.
func (p Post) Claims() []byte {
	return claimsOf(p.Token.Raw)
}

func claimsOf(raw string) []byte {
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
