package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	escrowd "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/verifier/token"
	"github.com/penname/penname/verifier/token/evidencetest"

	"github.com/rogpeppe/go-internal/testscript"

	escrow "github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

// TestWalkthroughs plays testdata/*.txtar: one script for each promise of
// SECURITY.md, under its name, and the whole story. Each runs against a world
// of its own, over HTTP, with the local keyring; TestWalkthroughsVault plays
// the same scripts on a real Vault.
//
// The words of the scripts:
//
//	person NAME enrol | visit PLATFORM | post WORDS | sees WORDS   a browser
//	person NAME picks PLATFORM PEN-NAME|new [ALIAS]                signs in under a pen name
//	person NAME answers BUTTON | led-to PATTERN                    presses it; where that led
//	person NAME retires PEN-NAME | calls PEN-NAME ALIAS            on their own page
//	platform ID report PEN-NAME banned|lifted | key FILE           to Penname; its evidence key
//	person NAME objects-to WORDS | makes-code VAR | reads-notice   at the first notice on their own page
//	person NAME reference VARIABLE | objects                       an enrolment that is held
//	person NAME asked PLATFORM | tells PLATFORM [CLAIM…]           goes to the page that asks; ticks claims there
//	crowd N                                                        people who are over 18 enrol
//	platform ID ban | evidence FILE | renew                        about the newest post, or its author's sign-in
//	platform ID steal FILE                                         evidence with the other platform's token
//	platform ID post FILE | key FILE | public FILE                 what its own programs make evidence of, and with
//	maker LANGUAGE ID POST FILE                                    the program of deploy/evidence.md in that language
//	draft FILE EVIDENCE[,…] [KIND:]CLASS MONTHS [FIELD…]           a court clerk writes a warrant, a production unless it says what else
//	edit FILE NAME=VALUE|sha256:FILE|days:N …                      and changes it; NAME can be of a member in another, secrecy.ends
//	escrow …                                                       the program of everybody outside
//	escrowd …                                                      the operator's program
//	capture NAME REGEXP                                            keeps what was just printed
//	database backup FILE | restore FILE | alter SQL | swap   start  the operator's database
//	database stop | start      key-service down | up               a power cut, a sealed Vault, and their ends
//	standby cut | back | promote                                   a synchronous standby, in the script that has one
//	mirror tamper DIR | stranger DIR                               a mirror of the log in bad hands
//	witness ID down | up      clock DAYS      dump FILE            what happens around them
//	day VARIABLE DAYS                                              the day that is DAYS from now
//	vault snapshot FILE | restore FILE | broaden | bootstrap       the operator's Vault, under the condition [vault]
//	keys rotate                                                    what escrowd keys rotate does
//	record keep | restore                                          a record's row, as a backup has it; kept again, that of another record
//	registrar shows CASE as CASE | relabels CASE as CASE | honest   a registrar that answers with another case
//	registry sign PLATFORM FILE KEY | record FILE [SIGNED]         the operator's registry of platforms; sign … stolen reports a key
//	registry insert FILE                                           a record that is written into the database
//	half opens                                                     asks the key service for that row's half
//	board …                                                        the sample platform: see boardWord
//	seats OUT role:ID=ROLE alternate:ID=CARD required=ROLE program=NAME  new rules about who decides, and with what
//	clerk FILE                                                     at the terminal from now on, who knows these answers and no more
//	cheater ID PLAN                                                a custodian whose program deals wrong shares
func TestWalkthroughs(t *testing.T) { walkthroughs(t, false) }

// TestWalkthroughsVault is TestWalkthroughs with the first halves in Vault.
func TestWalkthroughsVault(t *testing.T) { walkthroughs(t, true) }

func walkthroughs(t *testing.T, vault bool) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			s := &scene{t: t, people: map[string]*world.Browser{}, logs: &syncBuffer{}}
			var err error
			o := world.Options{Listen: "127.0.0.1:0", Vault: vault, Log: s.logs, Progress: io.Discard, People: everybody}
			if strings.HasSuffix(e.WorkDir, "an-age-is-not-a-name") {
				o.People, o.PerSender = slices.Concat(everybody, theCrowd), 10_000
			}
			if strings.HasSuffix(e.WorkDir, "a-standby-holds-it") {
				if s.pair, err = startPair(e); err != nil {
					return err
				}
				o.Server, o.Stores = s.pair.Primary, s.pair.options()
			}
			if s.World, err = world.Start(context.Background(), programs, o); err != nil {
				return err
			}
			s.keys = &keyOutage{Keys: s.Service.Registrar.Keys}
			s.Service.Registrar.Keys = s.keys
			e.Defer(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			e.Values[sceneKey{}] = s
			for name, value := range map[string]string{
				"SERVER": s.Origin, "DIR": s.Dir, "BUNDLE": s.Path("bundle.json"), "ALBA": s.Path("custodians", "alba"),
				"BRUNO": s.Path("custodians", "bruno"), "CHIDI": s.Path("custodians", "chidi"),
				"TOWN": s.Town.Origin,
			} {
				e.Setenv(name, value)
			}
			if vault {
				e.Setenv("VAULT_AUDIT_FILE", s.Vault.Audit)
			}
			return nil
		},
		Condition: func(c string) (bool, error) {
			switch c {
			case "vault":
				return vault, nil
			case "ci":
				return os.Getenv("CI") == "true", nil
			}
			return false, errors.New("unknown condition " + c)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"person": wrap(personWord), "platform": wrap(platformWord), "maker": wrap(makerWord), "draft": wrap(draftWord), "edit": wrap(editWord), "sign-unchecked": wrap(signUncheckedWord),
			"escrow": program((*scene).escrowProgram), "escrowd": program((*scene).escrowdProgram), "capture": capture,
			"witness": wrap(witnessWord), "clock": wrap(clockWord), "day": wrap(dayWord), "dump": wrap(dumpWord),
			"database": wrap(databaseWord), "vault": wrap(vaultWord), "start": wrap(startWord), "mirror": wrap(mirrorWord),
			"rules": wrap(rulesWord), "seats": wrap(seatsWord), "leaks": leaks, "key-service": wrap(keyServiceWord),
			"standby": wrap(standbyWord), "keys": wrap(keysWord), "record": wrap(recordWord), "half": wrap(halfWord), "cheater": wrap(cheaterWord),
			"registrar": wrap(registrarWord), "crowd": wrap(crowdWord), "events": wrap(eventsWord), "registry": wrap(registryWord), "board": wrap(boardWord), "clerk": wrap(clerkWord),
		},
	})
}

// scene is a world with the people of one script.
type scene struct {
	*world.World
	t      *testing.T
	people map[string]*world.Browser
	logs   *syncBuffer
	backup backup
	keys   *keyOutage                                    // of the disclosing side
	lie    liar                                          // nil: the registrar is honest
	pair   *pair                                         // nil: one server
	board  *sample                                       // nil: none yet
	clerk  func(context.Context, string) (string, error) // at the terminal; nil: somebody who agrees to all

	streams streams
}

type sceneKey struct{}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func sceneOf(ts *testscript.TestScript) *scene { return ts.Value(sceneKey{}).(*scene) }

// wrap makes a word of the scripts that can be negated.
func wrap(f func(*scene, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		err := f(sceneOf(ts), ts, args)
		switch {
		case err != nil && !neg:
			ts.Fatalf("%v", err)
		case err == nil && neg:
			ts.Fatalf("it was expected to fail")
		case err != nil:
			fmt.Fprintln(ts.Stderr(), err)
		}
	}
}

// program makes a word that is a program: it prints, and its exit code decides.
func program(f func(s *scene, ts *testscript.TestScript, args []string) int) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		code := f(sceneOf(ts), ts, args)
		if neg && code != 1 {
			ts.Fatalf("exit code %d, where a refusal (1) was expected", code)
		}
		if !neg && code != 0 {
			ts.Fatalf("exit code %d", code)
		}
	}
}

func (s *scene) escrowProgram(ts *testscript.TestScript, args []string) int {
	// As in any process, a relative path is below the script's folder.
	env := escrow.System()
	env.Stdin, env.Stdout, env.Stderr, env.Now = strings.NewReader(""), ts.Stdout(), ts.Stderr(), s.Clock.Now
	env.Passphrase, env.Ask = typed, agrees
	if s.clerk != nil {
		env.Ask = s.clerk
	}
	if s.lie != nil {
		env.HTTP = &http.Client{Transport: s.lie}
	}
	return escrow.Run(context.Background(), inFolder(ts, args), env)
}

func (s *scene) escrowdProgram(ts *testscript.TestScript, args []string) int {
	code := escrowd.Run(context.Background(), inFolder(ts, args), ts.Stdout(), ts.Stderr())
	if args[0] == "platform" { // the service's own job does it seconds later
		ts.Check(s.Service.LoadPlatforms(context.Background()))
	}
	return code
}

// inFolder makes the names of files that exist, or end in an extension,
// absolute: the scripts share one process.
func inFolder(ts *testscript.TestScript, args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		if ext := filepath.Ext(a); !strings.HasPrefix(a, "-") && !strings.Contains(a, "://") && slices.Contains([]string{".json", ".jws", ".key", ".jwk", ".pub", ".secret", ".txt", ".dir", ".pem"}, ext) {
			out[i] = ts.MkAbs(a)
		}
	}
	return out
}

func capture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("nothing to capture for %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

var testPeople = map[string]int{"jo": 0, "troll": 1, "mp": 2, "neighbour": 3, "nobody": 4, "double": 5}

// everybody are the people of the scripts: the sandbox's, and a second account
// of the troll, whose provider writes his name otherwise.
var everybody = append(sandbox.People(), sandbox.Person{Subject: "sandbox-9b20e7d1", Role: "the troll again", Name: "DEXTER CRALLOW",
	Birthdate: sandbox.People()[1].Birthdate, Address: sandbox.People()[1].Address, Email: "dc@mail.example", ACR: sandbox.ACRVerified})

func personWord(s *scene, ts *testscript.TestScript, args []string) error {
	ctx := context.Background()
	who := everybody[testPeople[strings.TrimRight(args[0], "'234")]] // jo' and jo2 are jo on other devices
	b := s.people[args[0]]
	if b == nil {
		b = world.NewBrowser()
		s.people[args[0]] = b
	}
	switch args[1] {
	case "enrol":
		return cmp.Or(b.Enrol(ctx, s.Origin, who.Name), b.Shows(200, "Welcome"))
	case "visit":
		if err := b.Visit(ctx, s.platformOf(args[2]), who.Name); err != nil {
			return err
		}
		return b.Shows(200, "You are signed in as pen1")
	case "tells": // ticks claims, whether or not the page offers them
		return b.Visit(ctx, s.platformOf(args[2]), who.Name, args[3:]...)
	case "asked":
		return b.Ask(ctx, s.platformOf(args[2]), who.Name)
	case "picks", "answers", "led-to", "retires", "calls":
		return s.personaWord(ctx, b, who.Name, args[1:])
	case "post":
		_, err := b.Say(ctx, s.platformOn(b), args[2])
		return err
	case "returns":
		if err := b.Enrol(ctx, s.Origin, who.Name); err != nil {
			return err
		}
		return b.Shows(200, "You are the same person as before")
	case "comes-back":
		if err := b.Enrol(ctx, s.Origin, who.Name); err != nil {
			return err
		}
		if err := b.Shows(200, "You asked us to delete you"); err != nil {
			return err
		}
		if err := b.ProveIdentity(ctx, who.Name); err != nil {
			return err
		}
		return b.Shows(200, "You are the same person as before")
	case "deletes": // optionally by another button
		return s.deletes(ts, b, append(args[2:], "Delete my identity")[0])
	case "leaves": // PEN-NAME, by a button
		if err := b.Open(ctx, s.Origin+"/me/name?pen_name="+args[2]); err != nil {
			return err
		}
		if err := b.Press(ctx, "Leave", nil); err != nil {
			return err
		}
		return b.Press(ctx, args[3], nil)
	case "signs-out-everywhere":
		if err := b.Open(ctx, s.Origin+"/me"); err != nil {
			return err
		}
		if err := b.Press(ctx, "Sign out everywhere", nil); err != nil {
			return err
		}
		return b.Shows(200, "Your sign-ins at all platforms have ended")
	case "objects":
		if err := b.Open(ctx, s.Origin+"/me"); err != nil {
			return err
		}
		if err := b.Press(ctx, "That is not me", nil); err != nil {
			return err
		}
		return b.Shows(200, "You objected")
	case "reference":
		m := regexp.MustCompile(`Your reference</dt><dd><code>([a-z2-7]{12})<`).FindStringSubmatch(b.Page.Body)
		if m == nil {
			return errors.New("no reference on the page")
		}
		ts.Setenv(args[2], m[1])
		ts.Setenv(args[2]+"_IN_CAPITALS", strings.ToUpper(m[1])) // as some people copy it
		return nil
	case "opens":
		return b.Open(ctx, args[2])
	case "objects-to", "makes-code", "reads-notice":
		return s.noticeWord(ctx, ts, b, args[1:])
	case "sees":
		return b.Shows(b.Page.Status, args[2])
	case "saves":
		return os.WriteFile(ts.MkAbs(args[2]), []byte(b.Page.Body), 0o600)
	case "handle":
		m := regexp.MustCompile(`shown as <code>([0-9a-z]+)</code>`).FindStringSubmatch(b.Page.Body)
		if m == nil || !token.IsHandle(m[1]) {
			return fmt.Errorf("no handle on the page")
		}
		ts.Setenv(args[2], m[1])
		return nil
	case "pen-name":
		m := regexp.MustCompile(`pen1[0-9a-z]+`).FindString(b.Page.Body)
		if m == "" {
			return fmt.Errorf("no pen name on the page")
		}
		ts.Setenv(args[2], m)
		return nil
	}
	return fmt.Errorf("unknown deed %q", args[1])
}

// crowdWord enrols the next people of the crowd.
func crowdWord(s *scene, _ *testscript.TestScript, args []string) error {
	n, err := strconv.Atoi(args[0])
	for _, who := range theCrowd[:max(0, n)] {
		b := world.NewBrowser()
		if err == nil {
			err = b.Enrol(context.Background(), s.Origin, who.Name)
		}
		if err == nil {
			err = b.Shows(200, "Welcome")
		}
	}
	return err
}

// theCrowd are people who have everything in common but their names.
var theCrowd = func() (people []sandbox.Person) {
	for i := range 120 {
		people = append(people, sandbox.Person{Subject: fmt.Sprint("sandbox-crowd-", i), Role: "one of many", Name: fmt.Sprintf("One of Many %03d", i), Birthdate: "1990-01-01",
			Address: "1 High Street", Email: "many@mail.example", ACR: sandbox.ACRVerified, Country: "GB", Profession: "riveter", Organisation: "Gasworks"})
	}
	return people
}()

// personaWord is what people do with several pen names.
// noticeWord is what a person does at the first notice on their page.
func (s *scene) noticeWord(ctx context.Context, ts *testscript.TestScript, b *world.Browser, args []string) error {
	err := b.Open(ctx, s.Origin+"/me")
	if err == nil {
		err = b.Follow(ctx, "/me/notice")
	}
	if err != nil || args[0] == "reads-notice" {
		return err
	}
	if args[0] == "objects-to" {
		if err := b.Press(ctx, "Check it, then send it", url.Values{"text": {args[1]}}); err != nil || !b.Offers("Send the objection") {
			return err
		}
		return b.Press(ctx, "Send the objection", nil)
	}
	if err := b.Press(ctx, "Make a code for my lawyer", nil); err != nil {
		return err
	}
	m := regexp.MustCompile(`<code>([a-z2-7]{6}(?:-[a-z2-7]+)+)</code>`).FindStringSubmatch(b.Page.Body)
	if m == nil {
		return errors.New("no code on the page")
	}
	ts.Setenv(args[1], m[1])
	return nil
}

func (s *scene) personaWord(ctx context.Context, b *world.Browser, name string, args []string) error {
	if args[0] == "led-to" {
		if address := b.Page.URL.String(); !regexp.MustCompile(args[1]).MatchString(address) {
			return fmt.Errorf("led to %s", address)
		}
		return nil
	}
	if args[0] == "answers" {
		return b.Press(ctx, args[1], nil)
	}
	if args[0] == "picks" {
		p, fill := s.platformOf(args[1]), url.Values{"persona": {args[2]}}
		if len(args) > 3 {
			fill.Set("alias", args[3])
		}
		if err := b.Open(ctx, p.Origin); err != nil {
			return err
		}
		if b.Offers("Sign out") {
			if err := b.Press(ctx, "Sign out", nil); err != nil {
				return err
			}
		}
		if err := b.Ask(ctx, p, name); err != nil {
			return err
		}
		if err := b.Press(ctx, "Sign in to "+p.Name, fill); err != nil {
			return err
		}
		return b.Shows(200, "You are signed in as pen1")
	}
	if err := b.Open(ctx, s.Origin+"/me/name?pen_name="+args[1]); err != nil {
		return err
	}
	if args[0] == "calls" {
		return b.Press(ctx, "Save the name", url.Values{"alias": {args[2]}})
	}
	if err := b.Press(ctx, "Retire", nil); err != nil {
		return err
	}
	return b.Press(ctx, "Retire it", nil)
}

// deletes has a person delete themselves by a button, and the erasure carried out.
func (s *scene) deletes(ts *testscript.TestScript, b *world.Browser, button string) error {
	ctx := context.Background()
	if err := b.Open(ctx, s.Origin+"/me/delete"); err != nil {
		return err
	}
	if err := b.Press(ctx, button, nil); err != nil {
		return err
	}
	if err := b.Shows(200, "It will be complete by"); err != nil {
		return err
	}
	fmt.Fprintln(ts.Stdout(), b.Page.Text())
	return s.Service.CarryOutErasures(ctx)
}

func (s *scene) platformOf(id string) *world.Platform {
	if id == s.School.ID {
		return s.School
	}
	return s.Town
}

func (s *scene) platformOn(b *world.Browser) *world.Platform {
	u, err := url.Parse(s.School.Origin)
	if err == nil && b.Page.URL.Host == u.Host {
		return s.School
	}
	return s.Town
}

func platformWord(s *scene, ts *testscript.TestScript, args []string) error {
	p := s.platformOf(args[0])
	switch args[1] {
	case "report":
		return p.Report(context.Background(), token.Pseudonym(args[2]), args[3])
	case "key":
		raw, err := json.Marshal(p.EvidenceKey)
		if err != nil {
			return err
		}
		return os.WriteFile(ts.MkAbs(args[2]), raw, 0o600)
	}
	about, err := p.Last()
	if err != nil {
		return err
	}
	switch args[1] {
	case "ban":
		p.Ban(about.Author, "threats")
		return nil
	case "renew":
		return p.Renew(context.Background(), about.Author)
	case "evidence":
		signed, err := p.Evidence(about)
		if err != nil {
			return err
		}
		ts.Setenv("PEN_NAME", string(about.Author))
		if err := s.SaveExhibit(about); err != nil {
			return err
		}
		return os.WriteFile(ts.MkAbs(args[2]), []byte(signed), 0o600)
	case "steal":
		other, err := s.Town.Last()
		if err != nil {
			return err
		}
		about.Token = other.Token
		signed, err := p.Evidence(about)
		if err != nil {
			return err
		}
		if err := s.SaveExhibit(about); err != nil {
			return err
		}
		return os.WriteFile(ts.MkAbs(args[2]), []byte(signed), 0o600)
	case "token":
		return os.WriteFile(ts.MkAbs(args[2]), about.Claims(), 0o600)
	case "key":
		return writeJSON(ts.MkAbs(args[2]), p.EvidenceKey)
	case "public":
		return writeJSON(ts.MkAbs(args[2]), p.EvidenceKey.Public())
	case "post":
		ts.Setenv("PEN_NAME", string(about.Author))
		return writeJSON(ts.MkAbs(args[2]), map[string]any{
			"token": about.Token.Raw, "url": about.URL, "at": about.At.UTC().Format(time.RFC3339), "exhibits": []map[string]string{{"type": "text/plain", "text": about.Text}},
		})
	}
	return fmt.Errorf("unknown deed %q", args[1])
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}

func makerWord(s *scene, ts *testscript.TestScript, args []string) error {
	p := s.platformOf(args[1])
	made, err := evidencetest.Make(context.Background(), args[0], filepath.Dir(ts.MkAbs(args[3])), p.EvidenceKey, p.ID, []byte(ts.ReadFile(args[2])))
	if err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[3]), []byte(made), 0o600)
}

// signUncheckedWord signs what the rules refuse, as a program could that checks
// nothing.
func signUncheckedWord(s *scene, ts *testscript.TestScript, args []string) error {
	return s.SignUnchecked(ts.MkAbs(args[0]), "court.jwk", ts.MkAbs(args[1]))
}

// draftWord writes a warrant about the newest post on Town Square, and about each post that
// further evidence is of.
func draftWord(s *scene, ts *testscript.TestScript, args []string) error {
	about, err := s.Town.Last()
	if err != nil {
		return err
	}
	months, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	evidence := strings.Split(args[1], ",")
	kind, class, ok := strings.Cut(args[2], ":")
	if !ok {
		kind, class = policy.Production, kind
	}
	written, err := s.Draft("draft-"+filepath.Base(args[0]), about, ts.MkAbs(evidence[0]), class, "An offence of this class", months)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(written)
	if err != nil {
		return err
	}
	w := map[string]any{}
	if err := json.Unmarshal(raw, &w); err != nil {
		return err
	}
	if fields := args[4:]; len(fields) > 0 || !policy.KindOf(kind).Opens {
		w["fields"] = fields
	}
	if w["kind"] = kind; !policy.KindOf(kind).Answered {
		delete(w["requester"].(map[string]any), "delivery_key")
	}
	if len(evidence) > 1 {
		var targets []any
		for _, name := range evidence {
			t, err := targetOf(ts.ReadFile(name))
			if err != nil {
				return err
			}
			targets = append(targets, t)
		}
		w["targets"] = targets
	}
	return writeJSON(ts.MkAbs(args[0]), w)
}

// targetOf is what a warrant names of a piece of evidence.
func targetOf(evidence string) (map[string]any, error) {
	e, err := token.ParseUnverifiedEvidence(evidence)
	if err != nil {
		return nil, err
	}
	var claims struct{ Sub token.Pseudonym }
	if err := json.Unmarshal(world.Post{Token: &token.Token{Raw: e.Token}}.Claims(), &claims); err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(evidence))
	return map[string]any{"pseudonym": claims.Sub, "platform": e.Platform, "evidence": hex.EncodeToString(digest[:])}, nil
}

// editWord changes members of a draft. A value is JSON or else a text; sha256:FILE is the
// digest of a file, and days:N the time N days from now.
func editWord(s *scene, ts *testscript.TestScript, args []string) error {
	w := map[string]any{}
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &w); err != nil {
		return err
	}
	for _, change := range args[1:] {
		name, text, _ := strings.Cut(change, "=")
		var value any
		if days, ok := strings.CutPrefix(text, "days:"); ok {
			n, err := strconv.Atoi(days)
			if err != nil {
				return err
			}
			value = s.Clock.Now().UTC().Truncate(time.Second).AddDate(0, 0, n)
		} else if file, ok := strings.CutPrefix(text, "sha256:"); ok {
			digest := sha256.Sum256([]byte(strings.TrimSpace(ts.ReadFile(file))))
			value = hex.EncodeToString(digest[:])
		} else if json.Unmarshal([]byte(text), &value) != nil {
			value = text
		}
		in := w
		for outer, inner, ok := strings.Cut(name, "."); ok; outer, inner, ok = strings.Cut(name, ".") {
			in, name = in[outer].(map[string]any), inner
		}
		in[name] = value
	}
	return writeJSON(ts.MkAbs(args[0]), w)
}

func witnessWord(s *scene, _ *testscript.TestScript, args []string) error {
	s.Witnesses[args[0]].Down.Store(args[1] == "down")
	return nil
}

// dayWord sets a variable to the day that is so many days from now.
func dayWord(s *scene, ts *testscript.TestScript, args []string) error {
	days, err := strconv.Atoi(args[1])
	ts.Setenv(args[0], s.Clock.Now().UTC().AddDate(0, 0, days).Format(time.DateOnly))
	return err
}

func clockWord(s *scene, _ *testscript.TestScript, args []string) error {
	days, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	s.Clock.Advance(time.Duration(days) * 24 * time.Hour)
	ctx := context.Background()
	return errors.Join(s.Service.SendMails(ctx), s.Service.ServeCases(ctx), s.Service.FollowRules(ctx), s.Service.FollowRecord(ctx), s.Service.CarryOutErasures(ctx), s.Service.CarryOutReviews(ctx),
		s.Service.DropExhibits(ctx), s.Service.CarryOutSuspensions(ctx), s.Service.AnswerLinks(ctx))
}

// dumpWord writes everything that the database holds, rows in stored order.
func dumpWord(s *scene, ts *testscript.TestScript, args []string) error {
	if err := s.Service.ShuffleRows(context.Background()); err != nil {
		return err
	}
	out, err := exec.Command("pg_dump", "--inserts", "--dbname", s.Postgres.DSN).Output()
	if err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[0]), out, 0o600)
}

// rules OUT without FILE | stopping PLATFORM | rekeying AUTHORITY | certifying AUTHORITY ROOT CERTIFICATE
// writes a bundle that lacks a file of rules, that stops a platform, or that has another key, or
// a certificate, in place of those of an authority, to follow the one in force.
func rulesWord(s *scene, ts *testscript.TestScript, args []string) error {
	raw, err := os.ReadFile(s.Path("bundle.json"))
	if err != nil {
		return err
	}
	var b policy.Bundle
	if err := json.Unmarshal(raw, &b); err != nil {
		return err
	}
	switch _, ok := b.Policies[args[2]]; {
	case args[1] == "rekeying":
		key, err := document.NewKey()
		if err != nil {
			return err
		}
		public, err := key.Public().MarshalJSON()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(b.Authorities, func(a policy.Authority) bool { return a.ID == args[2] })
		now := s.Clock.Now()
		b.Authorities[i].Keys = []policy.Key{{JWK: public, From: now, Until: now.AddDate(5, 0, 0)}}
	case args[1] == "certifying":
		c, err := policy.ParseCertificate(ts.ReadFile(args[4]))
		if err != nil {
			return err
		}
		b.CertificateAuthorities = []policy.CertificateAuthority{{Certificate: ts.ReadFile(args[3])}}
		a := b.Authority(args[2])
		a.Keys, a.OrganisationIdentifier, a.CertificateKeys = nil, policy.OrganisationIdentifier(c), []string{policy.KeyDigest(c)}
	case args[1] == "stopping":
		b.Stops = append(b.Stops, policy.Stop{Platform: args[2]})
	case !ok:
		return fmt.Errorf("no rules %q", args[2])
	}
	delete(b.Policies, args[2])
	b.Succeed(s.Service.Bundle)
	if raw, err = b.Marshal(); err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[0]), raw, 0o600)
}

// leaks fails if a file, or everything printed and logged so far, holds a field
// of any test person; `! leaks` is how a script ends.
func leaks(ts *testscript.TestScript, neg bool, args []string) {
	s := sceneOf(ts)
	searched := []string{s.logs.String(), ts.ReadFile("stderr")}
	for _, name := range args {
		searched = append(searched, ts.ReadFile(name))
	}
	found := false
	for _, text := range searched {
		for _, secret := range canaries() {
			found = found || strings.Contains(text, secret)
		}
	}
	if found == neg {
		ts.Fatalf("identities found: %v", found)
	}
}

// canaries are the values that went in and must come out nowhere.
func canaries() []string {
	var all []string
	for _, p := range sandbox.People() {
		all = append(all, p.Name, p.Birthdate, p.Email, p.Subject, strings.Split(p.Address, "\n")[0])
	}
	return all
}
